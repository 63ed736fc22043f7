"""A made-up page of dots."""

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.records import Record
from xray_tf.pages.neighbors.page import AtlasPage, Point
from xray_tf.stats.metrics import score

NAMES = ("normal", "pneumonia")


def make(n=12, name="x{i}.png", names=NAMES, model="demo", **card):
    rng = np.random.default_rng(0)
    points = []
    for i in range(n):
        p = float(rng.random())
        record = Record(
            f"train/{name.format(i=i)}",
            split=("train", "val", "test")[i % 3],
            patient=f"person{i // 2}",
            sha256=f"{i:064x}",
        )
        near = (
            ("train/elsewhere.png", 1, 0.25, -1),
            (f"train/{name.format(i=(i + 1) % n)}", 0, 0.5, (i + 1) % n),
        )
        points.append(
            Point(
                record,
                tuple(rng.normal(size=2)),
                tuple(rng.normal(size=2)),
                i % 2,
                int(p > 0.5),
                (1 - p, p),
                (0.25, 0.75),
                61.0,
                near,
            )
        )
    y, d, p = (
        np.array([getattr(q, a) for q in points]) for a in ("label", "decided", "probabilities")
    )
    cells = score(p, y, d, [q.record.patient for q in points], names, 20)
    metrics = {
        "class_names": list(names),
        "dimensions": 1280,
        "recipe_text": "9 nearest",
        "knn": cells,
        "head": cells,
        "notes": ["Fitted on <these> rows."],
    }
    pixels = rng.integers(0, 256, (n, 32, 32), np.uint8)
    return AtlasPage(
        Card("classifier", model, **card),
        metrics,
        points,
        pixels,
        {"tsne": "t-SNE, perplexity 30", "pca": "PCA"},
        "the network's head",
    ).render()
