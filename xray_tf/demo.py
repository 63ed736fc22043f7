"""xray-tf demo [--out DIR] [--children N]

Show the shipped models on real radiographs, then the whole study on synthetic ones.

First the twelve radiographs that travel with the package are read by the shipped classifiers: the
answers on the terminal, and for each model a page with heat maps, nearest cases, a detector's
verdict and what to distrust. Then a small study of phantoms, which are drawn, runs every stage from
audit to heat maps; its numbers say nothing about real radiographs. report.html shows both and leads
to the rest. Nothing is downloaded. Research software, not a medical device.

Examples:
  xray-tf demo
  xray-tf demo --out runs/demo --children 0
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xray_tf.commands import CommandParser, add_machine, add_shared, command_line, on_machine
from xray_tf.data.examples import example_radiographs
from xray_tf.exit_status import run
from xray_tf.shipped import CLASSIFIERS

if TYPE_CHECKING:
    from xray_tf.pages.evidence.page import EvidencePage

CHILDREN, REPORT = 150, "report.html"


def main(args: Sequence[str] | None = None) -> int:
    """Parse, read the examples, and run the study."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--out", required=False, then=" (default: runs/demo-DATE-TIME)")
    parser.add_argument(
        "--children",
        type=int,
        default=CHILDREN,
        metavar="N",
        help=f"phantom children of the study; 0: no study (default: {CHILDREN})",
    )
    add_machine(parser)
    given = parser.parse_args(args)
    out = Path(given.out or time.strftime("runs/demo-%Y%m%d-%H%M%S"))

    def job() -> None:
        from xray_tf.options import ReproduceOptions
        from xray_tf.pages.study.demo import DemoPage
        from xray_tf.pages.study.page import study_page
        from xray_tf.study.reproduce_study import reproduce_study
        from xray_tf.study.results import format_results
        from xray_tf.writing import refuse_target, write_text

        refuse_target(out)
        readings, study = [_read_examples(name, out) for name in CLASSIFIERS], None
        if given.children:
            print("== The whole study, small, on synthetic radiographs")
            rows = reproduce_study(
                f"phantom:{given.children}",
                out / "study",
                ReproduceOptions(preset="demo"),
                command_line=command_line("demo", args),
            )
            print(f"\n{format_results(rows)}\n")
            study = study_page(out / "study", "study/")
        write_text(out / REPORT, DemoPage(readings, study).render())
        print(f"Open {out / REPORT}, which leads to the other pages.")

    return run(on_machine(given, job))


def _read_examples(model: str, out: Path) -> tuple[str, EvidencePage]:
    """Read the examples with a shipped classifier, write the page about them, and return its place
    and the page.
    """
    from xray_tf.jobs.classifier.predict_files import predict_files
    from xray_tf.models.decided import answer_text
    from xray_tf.models.load import load, load_detector
    from xray_tf.models.reader import PAGE, Reader, gather_evidence
    from xray_tf.writing import write_text

    print(f"== {model} on radiographs of children whom it did not learn from")
    reader, files = Reader(load(model), detector=load_detector()), example_radiographs()
    made = []

    def show(batch) -> None:
        for row in batch:
            print(f"  {'/'.join(Path(row.path).parts[-2:])}: {answer_text(row, batch.class_names)}")

    def finish(folder: Path) -> None:
        made.append(gather_evidence(reader, files))
        write_text(folder / PAGE, made[0].render())

    predict_files(reader.classifier, files, out / model, report=show, finish=finish)
    return f"{model}/{PAGE}", made[0]


if __name__ == "__main__":
    raise SystemExit(main())
