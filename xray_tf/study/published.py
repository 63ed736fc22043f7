"""The figures that a study's results are set beside: the course report this project started from,
and the best published ones with their protocol.

Literal copies from the sources named in each row; none of them was measured here. Unless a row says
otherwise, published figures are of the official 624-image test split of the Kermany chest
radiographs (234 normal, 242 bacterial, 148 viral; 95 % interval near 0.93 about +-2 points).
"""

from __future__ import annotations

from dataclasses import dataclass

OFFICIAL = "official 624-image test split"
RESNET18 = (
    "ResNet-18 at 224 on PneumoniaMNIST, random resized crop 0.85-1, jitter, Youden "
    "threshold frozen on validation"
)
CONVNEXT = "kiselyovd, ConvNeXtV2-Tiny"
DINO = "DINO ViT-B, frozen, k = 11 (MedMNIST+)"
REPORT = (
    "The course report's figures: transfer learning with ResNet-101 and ResNet-18, one "
    "division of the same data, no interval given."
)


@dataclass(frozen=True)
class Published:
    """One figure of the comparison.

    Attributes:
        task: binary, three-class, or the name of a task without classes of its own.
        reader: who answers: `head` (the classifier), `knn`, `detector` or `maps`.
        metric: its name in the study's result files.
        words: the same for a person.
        report: the course report's figure as it was written; empty where it gave none.
        best: the best published figure; None where none is known.
        by: who published it, and how it was made.
        protocol: on which rows it was measured.
    """

    task: str
    reader: str
    metric: str
    words: str
    report: str = ""
    best: float | None = None
    by: str = ""
    protocol: str = ""


PUBLISHED: tuple[Published, ...] = (
    Published("binary", "head", "accuracy", "Accuracy", "0.87", 0.963, RESNET18, OFFICIAL),
    Published("binary", "head", "auroc", "AUROC", "", 0.994, RESNET18, OFFICIAL),
    Published("binary", "head", "sensitivity", "Sensitivity", "", 0.992, RESNET18, OFFICIAL),
    Published("binary", "head", "specificity", "Specificity", "", 0.915, RESNET18, OFFICIAL),
    Published("binary", "knn", "accuracy", "Accuracy", "0.86", 0.905, DINO, OFFICIAL),
    Published(
        "three-class", "head", "accuracy", "Accuracy", "0.80-0.82", 0.9135, CONVNEXT, OFFICIAL
    ),
    Published("three-class", "head", "f1", "Macro F1", "", 0.903, CONVNEXT, OFFICIAL),
    Published("three-class", "head", "auroc", "Macro AUROC", "", 0.975, CONVNEXT, OFFICIAL),
    Published("three-class", "knn", "accuracy", "Accuracy", "0.76-0.78"),
    Published(
        "anomaly",
        "detector",
        "auroc",
        "AUROC",
        "",
        0.91,
        "SimSID (about .91; SQUID .876), normals only, from scratch",
        OFFICIAL,
    ),
    Published(
        "explanation",
        "maps",
        "hit_rate",
        "Hit rate of Grad-CAM",
        "",
        0.575,
        "CheXlocalize (Saporta 2022), mean of ten findings",
        "expert masks of other data; this data set has none",
    ),
)
