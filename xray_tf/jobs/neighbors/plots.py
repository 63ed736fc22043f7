"""Plot embedded radiographs, and write the page to explore them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf.artifact import write_text
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record, Records, class_index
from xray_tf.jobs.corpus import Corpus
from xray_tf.jobs.run import Run
from xray_tf.models.classifier import Classifier
from xray_tf.models.reference import Neighborhood, Reference
from xray_tf.options import EmbedOptions

SHOWN = 5  # neighbours listed of each radiograph


@dataclass
class Embedded:
    """The results for each row of `records`, before they are written."""

    classifier: Classifier
    corpus: Corpus
    records: Records
    embeddings: np.ndarray
    reference: Reference
    found: Neighborhood
    tables: dict[str, Predictions]
    fitted: bool

    def nearest(self, i: int) -> list[tuple[Record, float]]:
        """Return the nearest training radiographs of a row, SHOWN of those that vote, with their
        distances.
        """
        indices, distances = self.found.indices[i, :SHOWN], self.found.distances[i, :SHOWN]
        near = zip(indices, distances, strict=True)
        return [(self.reference.rows[int(j)], float(d)) for j, d in near if j >= 0]


def lay_out(
    records: Records, embeddings: np.ndarray, options: EmbedOptions, run: Run
) -> dict[str, Any] | None:
    """Lay radiographs out on two planes: `rows` (n,), `pca` and `tsne` (n, 2) float32, and `about`,
    how that was done; None if no plot is wanted, or there are fewer than three.
    """
    from xray_tf.stats.neighbors.projection import map_pca, map_tsne

    if options.map_rows < 3 or len(records) < 3:
        return None
    # test rows first, then validation, then the rest, each in an order drawn from the seed, so that
    # a plot of some rows shows a fair sample
    drawn = np.random.default_rng(options.embed_seed).permutation(len(records))
    rank = {"test": 0, "val": 1, "": 2, "train": 3}
    chosen = np.sort(sorted(drawn, key=lambda i: rank[records[i].split])[: options.map_rows])
    run.say(f"Plotting {len(chosen)} radiographs")
    pca, explained = map_pca(embeddings[chosen])
    tsne, about = map_tsne(embeddings[chosen], options.perplexity, seed=options.embed_seed)
    return {
        "rows": chosen,
        "pca": pca,
        "tsne": tsne,
        "about": {"tsne": about, "pca": {"explained": [round(float(e), 4) for e in explained]}},
    }


def write_plots(
    draft: Path, embedded: Embedded, metrics: dict[str, Any], maps: dict[str, Any]
) -> None:
    """Write the plots and the page to explore them."""
    from xray_tf.pages.kit.figures import to_png_bytes
    from xray_tf.pages.kit.words import SPLIT_NAMES, enumerate_text
    from xray_tf.pages.neighbors.figures import draw_map
    from xray_tf.pages.neighbors.page import AtlasPage

    rows, knn = maps["rows"], embedded.tables["knn"]
    decided = embedded.tables.get("head", knn)
    whose = "the network's head" if "head" in embedded.tables else "nearest neighbours"
    parts = Counter(embedded.records[i].split for i in rows)
    names = {**SPLIT_NAMES, "": "new"}
    counts = enumerate_text([f"{parts[p]:,} {name}" for p, name in names.items() if parts[p]])
    titles = {name: map_title(name, maps["about"]) for name in ("tsne", "pca")}
    for name, title in titles.items():
        title = f"{title}; {counts} radiographs"
        labels, called, groups = knn.labels[rows], decided.predicted[rows], knn.acquisitions[rows]
        figure = draw_map(maps[name], labels, called, knn.class_names, title, whose, groups)
        (draft / f"{name}.png").write_bytes(to_png_bytes(figure))
    pixels = embedded.corpus.pixels[embedded.corpus.rows[rows]]
    points = _points(embedded, maps)
    page = AtlasPage(embedded.classifier.card, metrics, points, pixels, titles, whose)
    write_text(draft / "page.html", page.render())


def _points(embedded: Embedded, maps: dict[str, Any]) -> list:
    """Return what the page shows for each plotted radiograph."""
    from xray_tf.pages.neighbors.page import Point

    knn, task = embedded.tables["knn"], embedded.corpus.task
    decided = embedded.tables.get("head", knn)
    place = {embedded.records[i].sha256: at for at, i in enumerate(maps["rows"])}
    points = []
    for at, i in enumerate(maps["rows"]):
        near = tuple(
            (r.path, class_index(r, task), distance, place.get(r.sha256, -1))
            for r, distance in embedded.nearest(i)
        )
        points.append(
            Point(
                embedded.records[i],
                tuple(maps["tsne"][at].tolist()),
                tuple(maps["pca"][at].tolist()),
                int(knn.labels[i]),
                int(decided.predicted[i]),
                tuple(decided.probabilities[i].tolist()),
                tuple(knn.probabilities[i].tolist()),
                float(embedded.found.unusual[i]),
                near,
            )
        )
    return points


def map_title(name: str, about: dict[str, Any]) -> str:
    """Describe how a plot was made, in one line."""
    if name == "tsne":
        used = about["tsne"]
        return (
            f"t-SNE after {used['components']} principal components, perplexity "
            f"{used['perplexity']:g}, seed {used['seed']}"
        )
    first, second = (f"{100 * share:.0f} %" for share in about["pca"]["explained"])
    return f"Principal components, with {first} and {second} of the variance"
