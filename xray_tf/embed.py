"""xray-tf embed --model MODEL --data DATA --out DIR [options]
xray-tf embed --model MODEL --nearest FILES... --out DIR [--count N] [--data DATA]

Classify radiographs by their nearest training radiographs.

The new folder --out holds embeddings.npz (float32 vectors, aligned with their records),
knn_predictions.csv and head_predictions.csv (the neighbours' vote beside the network's head),
metrics.json, neighbors.csv, reference.npz and reference.json, confusion matrices, t-SNE and PCA
plots, and page.html. --add-reference also puts the reference into the model's folder.

With --engine ray, or parts, the folder holds only embeddings/, Parquet files with a vector per
radiograph, and --data may be an address or a manifest, as for predict.

With --nearest the model's reference is asked about FILES instead: nearest.csv, predictions.csv and
nearest.html. The neighbours' pictures are then looked for in --data, which is optional.

Examples:
  xray-tf embed --model runs/first --data chest_xray --out runs/neighbors --add-reference
  xray-tf embed --model runs/first --nearest scan.jpeg --out runs/nearest --data chest_xray
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import (
    CommandParser,
    add_machine,
    add_shared,
    answer_archive,
    command_line,
    on_machine,
    run,
)
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
    add_shared(parser, "--model")
    add_shared(parser, "--data", required=False, help="radiographs, as for train")
    add_shared(parser, "--out")
    parser.add_argument(
        "--task",
        **one_of(tuple(TASKS)),
        help="the classes that the neighbours' labels tell apart (default: the model's task)",
    )
    parser.add_argument(
        "--add-reference",
        action="store_true",
        help="add the training embeddings to the model's folder as reference/",
    )
    parser.add_argument(
        "--nearest",
        nargs="+",
        metavar="FILES",
        help="only find the training radiographs nearest to these files",
    )
    parser.add_argument(
        "--count",
        type=int,
        default=5,
        metavar="N",
        help="nearest radiographs per file, with --nearest (default: 5)",
    )
    add_flags(parser, *GROUPS, EngineOptions)
    add_machine(parser)
    given = parser.parse_args(args)
    if not given.data and not given.nearest:
        parser.error("--data is required, unless --nearest names files")
    if given.engine != LOCAL:
        if given.nearest or given.add_reference:
            parser.error(f"--engine {given.engine} only embeds: leave out --nearest and the like")
        return run(on_machine(given, lambda: answer_archive(given, [given.data], "embeddings")))

    def job() -> None:
        if given.nearest:
            from xray_tf.jobs.neighbors.nearest_cases import nearest_cases

            table, predictions = nearest_cases(
                given.model, given.nearest, given.out, k=given.count, data=given.data
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
