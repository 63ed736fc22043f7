"""Made-up evidence on one radiograph, with HTML in its names."""

from types import SimpleNamespace

import numpy as np

from xray_tf.artifact import Card
from xray_tf.data.predictions import Prediction
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.evidence.page import Anomaly, Caveat, Evidence, Neighbors

CARD = Card(
    "classifier",
    "lite0",
    "binary",
    ("normal", "pneumonia"),
    {"image_size": 32, "resize": "crop"},
    1.2,
    {"balanced": OperatingPoint("balanced", "x", threshold=0.25)},
    "balanced",
)


def neighbor(rank, **more):
    return SimpleNamespace(
        **{
            "rank": rank,
            "label": "pneumonia",
            "subtype": "viral",
            "distance": 0.1 * rank,
            "patient": f"virus:person{rank}",
            "path": f"train/PNEUMONIA/p{rank}.jpeg",
            "sha256": str(rank),
            **more,
        }
    )


def make_evidence():
    rng = np.random.default_rng(0)
    heat = np.zeros((32, 32), np.float32)
    heat[2:6, 26:30] = 1
    pictures = {"1": rng.integers(0, 255, (16, 16), dtype=np.uint8)}
    vote = Prediction("x", "", "", "", (0.4, 0.6), "pneumonia")
    near = Neighbors(
        (neighbor(1), neighbor(2)), vote, ("normal", "pneumonia"), 97.4, "2 nearest", pictures, True
    )
    return Evidence(
        "folder/<b>&.jpeg",
        CARD,
        Prediction("x", "", "", "", (0.2, 0.8), "pneumonia"),
        "balanced",
        (0.75, 0.25),
        rng.integers(0, 255, (32, 32), dtype=np.uint8),
        heat,
        near,
        Anomaly("detector", True, 0.83, "<reason>", (("log_density", -3.0, 99.0),)),
        (Caveat("unusual", "It is <odd>.", True), Caveat("colour", "It is in colour.", False)),
        (640, 480),
        "L",
        "ab" * 32,
    )
