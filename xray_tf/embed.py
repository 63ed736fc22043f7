"""python -m xray_tf.embed --model DIR --data DIR --out DIR

Embeds radiographs and classifies them by their nearest training radiographs, beside the network's
head; leaves in --out: embeddings.npz (float32 vectors, records aligned), metrics.json,
knn_predictions.csv, head_predictions.csv, neighbors.csv, reference.npz and reference.json
(--add-reference puts them into the artifact too), confusion matrices, tsne.png, pca.png and
page.html.

With --nearest FILES it asks the artifact's reference about those files instead, and leaves
nearest.csv, predictions.csv and nearest.html; --data is then the folder in which the neighbours'
pictures are looked for, and may be left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import command_line, run
from xray_tf.options import DataOptions, EmbedOptions, EvaluateOptions, add_flags, from_flags
from xray_tf.registry import TASKS


def main(args: Sequence[str] | None = None) -> int:
    """Parse, embed or ask, and print the headline."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.embed",
        description="Embeddings of radiographs: nearest neighbours, maps, a page to explore.",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="the folder that train made, or the name of a shipped model",
    )
    parser.add_argument("--data", help="radiographs, as in training")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the folder to make; it must not exist"
    )
    parser.add_argument(
        "--task",
        choices=tuple(TASKS),
        help="what the neighbours' labels tell apart (default: the artifact's task)",
    )
    parser.add_argument(
        "--add-reference",
        action="store_true",
        help="add the training embeddings to the artifact as reference/",
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
        help="neighbours named with --nearest (default: 5)",
    )
    for group in (EmbedOptions, EvaluateOptions, DataOptions):
        add_flags(parser, group)
    given = parser.parse_args(args)
    if not given.data and not given.nearest:
        parser.error("--data is required, unless --nearest names files")

    def job() -> None:
        if given.nearest:
            from xray_tf.jobs.neighbors.nearest_cases import nearest_cases

            table, predictions = nearest_cases(
                given.model, given.nearest, given.out, k=given.count, data=given.data
            )
            for row in predictions:
                near = table.of(row.path)
                print(
                    f"  {row.path}: {row.predicted}, nearest {near[0].path} "
                    f"({near[0].subtype or near[0].label}, distance {near[0].distance:.4f}), "
                    f"more unusual than {near[0].unusual:.0f} % of training radiographs"
                )
            print(f"Finished: {given.out}/nearest.html")
            return
        from xray_tf.jobs.neighbors.embed_radiographs import embed_radiographs
        from xray_tf.pages.kit.words import rows_text

        metrics = embed_radiographs(
            given.model,
            given.data,
            given.out,
            from_flags(given, DataOptions),
            from_flags(given, EmbedOptions),
            from_flags(given, EvaluateOptions),
            task=given.task,
            save_reference=given.add_reference,
            command_line=command_line("embed", args),
        )
        for name, words in (("knn", "nearest neighbours"), ("head", "the network's head")):
            if metrics[name]:
                cells = metrics[name]["metrics"]
                shown = ", ".join(
                    f"{m} {cells[m]['value']:.4f} [{cells[m]['low']:.4f}, {cells[m]['high']:.4f}]"
                    for m in ("accuracy", "f1", "auroc")
                    if cells[m]["low"] is not None
                )
                print(f"  {words:18} {shown} ({rows_text(metrics[name])})")
        for note in metrics["notes"]:
            print(f"  note: {note}")
        print(f"Finished: {given.out}/" + ("page.html" if metrics["maps"] else ""))

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
