"""xray-tf embed --model MODEL --data DATA --out DIR [options]
xray-tf embed FILES... --model MODEL --out DIR [--count N] [--pictures DIR]

Classify radiographs by their nearest training radiographs.

The new folder --out holds embeddings.npz (float32 vectors, aligned with their records),
knn_predictions.csv and head_predictions.csv (the neighbours' vote beside the network's head),
metrics.json, neighbors.csv, reference.npz and reference.json, confusion matrices, t-SNE and PCA
plots, and page.html. --add-reference also puts the reference into the model's folder.

With FILES the model's reference is asked about them instead: nearest.csv, predictions.csv and
nearest.html.

With --engine ray, or parts, FILES are embedded, and may be addresses or manifests, as for predict;
the folder then holds only embeddings/, Parquet files with a vector per radiograph.

Examples:
  xray-tf embed --model runs/first --data chest_xray --out runs/neighbors --add-reference
  xray-tf embed scan.jpeg --model pneumonia-binary --out runs/nearest
  xray-tf embed scan.jpeg --model runs/first --out runs/nearest --pictures chest_xray
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import (
    CommandParser,
    add_machine,
    add_shared,
    answer_archive,
    command_line,
    on_machine,
)
from xray_tf.exit_status import run
from xray_tf.options import (
    LOCAL,
    DataOptions,
    EmbedOptions,
    EngineOptions,
    EvaluateOptions,
    add_flags,
    from_flags,
    one_of,
)
from xray_tf.progress import printable
from xray_tf.registry import TASKS

GROUPS = (EmbedOptions, EvaluateOptions, DataOptions)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, embed or ask, and print the headline."""
    parser = CommandParser(__doc__)
    add_shared(parser, "files", nargs="*")
    add_shared(parser, "--model")
    add_shared(parser, "--data", required=False, help="labelled radiographs, as for train")
    add_shared(parser, "--out")
    near = parser.add_argument_group("With FILES: their nearest training radiographs")
    near.add_argument(
        "--count",
        type=int,
        default=5,
        metavar="N",
        help="nearest radiographs per file (default: 5)",
    )
    add_shared(near, "--pictures")
    near.add_argument("--nearest", nargs="+", default=[], help=argparse.SUPPRESS)  # earlier
    made = parser.add_argument_group("With --data: the vectors of a data set")
    made.add_argument(
        "--task",
        **one_of(tuple(TASKS)),
        help="the classes that the neighbours' labels tell apart (default: the model's task)",
    )
    made.add_argument(
        "--add-reference",
        action="store_true",
        help="add the training embeddings to the model's folder as reference/",
    )
    add_flags(parser, *GROUPS, EngineOptions)
    add_machine(parser)
    given = parser.parse_args(args)
    files, pictures = [*given.files, *given.nearest], given.pictures or given.data
    if not given.data and not files:
        parser.error("give FILES, or a labelled data set as --data")
    if given.engine != LOCAL:
        if given.nearest or given.add_reference:
            parser.error(f"--engine {given.engine} only embeds: leave out --add-reference")
        sources = files or [given.data]
        return run(on_machine(given, lambda: answer_archive(given, sources, "embeddings")))

    def job() -> None:
        if files:
            from xray_tf.jobs.neighbors.nearest_cases import nearest_cases

            table, predictions = nearest_cases(
                given.model, files, given.out, k=given.count, data=pictures
            )
            for row in predictions:
                near = table.of(row.path)
                said = (
                    f"  {row.path}: {row.predicted}, nearest {near[0].path} "
                    f"({near[0].subtype or near[0].label}, distance {near[0].distance:.4f}), "
                    f"more unusual than {near[0].unusual:.0f} % of training radiographs"
                )
                print(printable(said))
            print(f"Finished: {given.out}/nearest.html")
            return
        from xray_tf.jobs.neighbors.embed_radiographs import embed_radiographs
        from xray_tf.pages.kit.words import interval_text, rows_text
        from xray_tf.stats.metric_rows import headline

        metrics = embed_radiographs(
            given.model,
            given.data,
            given.out,
            *(from_flags(given, group) for group in GROUPS),
            task=given.task,
            save_reference=given.add_reference,
            command_line=command_line("embed", args),
        )
        for name, words in (("knn", "nearest neighbours"), ("head", "the network's head")):
            if metrics[name]:
                cells = metrics[name]["metrics"]
                shown = ", ".join(
                    f"{m} {interval_text(cells[m], digits=4)}"
                    for m in headline(len(metrics[name]["class_names"]))
                    if cells[m]["low"] is not None
                )
                print(f"  {words:18} {shown} ({rows_text(metrics[name])})")
        for note in metrics["notes"]:
            print(f"  note: {note}")
        print(f"Finished: {given.out}/" + ("page.html" if metrics["maps"] else ""))

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
