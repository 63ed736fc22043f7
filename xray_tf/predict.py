"""xray-tf predict FILES... [--model MODEL] [--out DIR] [options]

Predict radiographs: calibrated probabilities and a decision for each.

FILES are radiographs, labelled or not: files, folders or globs. The answers are printed in the
order given, with a word of warning where one is due: no lungs, unusual, close call, known, or
disagreement (of the network and the nearest training cases). The new folder --out holds
predictions.csv, one row per file; a file that cannot be read becomes a row with its error. With
--report it also holds evidence.html, a page on the first 60 files: heat map, nearest cases,
anomaly, and what to distrust. Research software, not a medical device.

With --engine ray a Ray cluster answers, and FILES may also be addresses (s3://, gs://, hdfs://) and
manifests (.csv, .parquet) with a column path. --out then holds predictions/, Parquet files with the
columns of predictions.csv; --engine parts does the same on this machine alone.

Examples:
  xray-tf predict --example
  xray-tf predict scan.jpeg
  xray-tf predict scans/ 'more/*.dcm' --model runs/first --out runs/answers
  xray-tf predict scan.jpeg --out runs/evidence --report
  xray-tf predict study/ --dicom-out runs/objects
  xray-tf predict s3://archive/chests --out s3://archive/answers --engine ray --address auto
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_tf.commands import (
    DOUBTFUL,
    UNREAD,
    CommandParser,
    add_batch_size,
    add_evidence_arguments,
    add_file_arguments,
    add_machine,
    answer_archive,
    finished,
    on_machine,
)
from xray_tf.data.examples import example_radiographs
from xray_tf.exit_status import run
from xray_tf.options import LOCAL, EngineOptions, add_flags
from xray_tf.progress import printable

if TYPE_CHECKING:
    from xray_tf.data.predictions import Predictions

SHOWN = 10
OTHERWISE = "with a warning"


def main(args: Sequence[str] | None = None) -> int:
    """Parse, predict, and print all rows, or the first ones where all are written."""
    parser = _parser()
    given = parser.parse_args(args)
    if given.example == bool(given.files):
        parser.error("give FILES, or --example for the radiographs that travel with the package")
    given.files = example_radiographs() if given.example else given.files
    if given.engine != LOCAL:
        if given.report or given.dicom_out or not given.out:
            parser.error(
                f"--engine {given.engine} needs --out, and makes neither --report nor --dicom-out"
            )
        archive = given, given.files, "predictions", given.operating_point
        return run(on_machine(given, lambda: answer_archive(*archive)))
    if given.report and not given.out:
        parser.error("--report needs --out, the folder in which to leave evidence.html")
    if not given.report and (given.pictures or given.detector or given.keep_identifiers):
        parser.error("--pictures, --detector and --keep-identifiers need --report")
    return run(on_machine(given, lambda: _predict(given)))


def _parser() -> CommandParser:
    parser = CommandParser(__doc__)
    add_file_arguments(parser, out_required=False, nargs="*")
    parser.add_argument(
        "--example",
        action="store_true",
        help="predict the twelve radiographs that travel with the package, instead of FILES",
    )
    add_batch_size(parser, 64)
    page = parser.add_argument_group("Page of evidence")
    page.add_argument(
        "--report",
        action="store_true",
        help="also write evidence.html on the first 60 radiographs",
    )
    add_evidence_arguments(page)
    page.add_argument(
        "--keep-identifiers",
        action="store_true",
        help="show the names of DICOM files, which may identify a patient; otherwise a part of "
        "their SHA-256 stands for them",
    )
    hospital = parser.add_argument_group("In a hospital")
    hospital.add_argument(
        "--dicom-out",
        metavar="DIR",
        help="also write a DICOM report, picture and outlines on each DICOM radiograph here, a "
        "folder that must not exist (needs the extra clinic)",
    )
    add_flags(parser, EngineOptions)
    add_machine(parser)
    return parser


def _predict(given: argparse.Namespace) -> int:
    """Predict here and now, with the page and the DICOM objects that are asked for."""
    from xray_tf.jobs.classifier.predict_files import predict_files
    from xray_tf.models.load import load
    from xray_tf.writing import refuse_target

    if given.dicom_out:
        from xray_tf.clinic.extra import check_extra

        check_extra()
    for place in filter(None, (given.out, given.dicom_out)):
        refuse_target(place)
    classifier = load(given.model)
    point = classifier.card.point(given.operating_point).name
    write_page = _page_writer(given, classifier) if given.report else lambda folder: None
    told = _Told(given)
    print(f"Model: {printable(classifier.card.name)}, operating point {printable(point)}")
    how = {"operating_point": given.operating_point, "strict": given.strict}
    rows, failed = predict_files(
        classifier,
        given.files,
        given.out,
        batch_size=given.batch_size,
        report=told.show,
        finish=write_page,
        **how,
    )
    told.end(rows, failed)
    if given.dicom_out:
        from xray_tf.clinic.write_objects import write_objects

        done = write_objects(classifier, given.files, given.dicom_out, **how)
        print(f"DICOM: {done}, in {given.dicom_out}")
    return 1 if failed == rows else 0


def _page_writer(given: argparse.Namespace, classifier: Any) -> Callable[[Path], None]:
    """Return what writes the page of evidence into a folder; what it asks is opened here."""
    from xray_tf.models.load import load_detector
    from xray_tf.models.reader import PAGE, Reader, write_evidence

    reader = Reader(
        classifier,
        data=given.pictures,
        detector=load_detector(given.detector),
        operating_point=given.operating_point,
    )

    def write_page(folder: Path) -> None:
        page = folder / PAGE
        page.unlink(missing_ok=True)  # of a run that was stopped after it
        write_evidence(reader, given.files, page, keep_identifiers=given.keep_identifiers)

    return write_page


class _Told:
    """Prints answers: all of them, or the first where all are written; counts those in doubt."""

    def __init__(self, given: argparse.Namespace):
        self.given, self.doubtful = given, Counter()
        self.left = SHOWN if given.out and not given.example else None  # None: all

    def show(self, batch: Predictions) -> None:
        """Print the rows of a batch that are still to be shown."""
        from xray_tf.data.chest.lung_table import NO_LUNGS
        from xray_tf.models.decided import answer_text

        for row in islice(batch, self.left):
            last = "/".join(Path(row.path).parts[-2:])  # enough of where the package lies
            path = printable(last if self.given.example else row.path)
            print(f"  {path}: {printable(row.error) or answer_text(row, batch.class_names)}")
        self.left = None if self.left is None else max(0, self.left - len(batch))
        lungless = sum(NO_LUNGS in text for text in batch.warnings)
        self.doubtful[DOUBTFUL] += lungless
        self.doubtful[OTHERWISE] += int((batch.warnings != "").sum()) - lungless

    def end(self, rows: int, failed: int) -> None:
        """Print the counts, and where the rest is."""
        out = self.given.out
        if self.left is not None and rows > SHOWN:
            print(f"  ... and {rows - SHOWN} more")
        table = f"{out}/predictions.csv" if out else ""
        print(finished(rows, {**self.doubtful, UNREAD: failed}, table))
        if self.given.report:
            from xray_tf.models.reader import PAGE

            print(f"Evidence: {out}/{PAGE}")


if __name__ == "__main__":
    raise SystemExit(main())
