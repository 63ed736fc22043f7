"""List the published numbers that a study is compared with: the course report's, and the best ones
with their protocol.

They are copied from the source named in each row; none was measured here. Unless a row says
otherwise, they refer to the official 624-image test split of the Kermany chest radiographs (234
normal, 242 bacterial, 148 viral; the 95 % interval of a value near 0.93 is about +-2 points).
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
    "The course report's numbers: transfer learning with ResNet-101 and ResNet-18, one "
    "split of the same data, without intervals."
)


@dataclass(frozen=True)
class Published:
    """One row of the comparison.

    Attributes:
        task: binary, three-class, or the name of a task without classes of its own.
        reader: what answers: `head` (the classifier), `knn`, `detector` or `maps`.
        metric: the metric's name in the study's result files.
        words: the metric's name for a reader.
        report: the course report's number as it was written; empty if there is none.
        best: the best published number; None if none is known.
        by: who published it, and by which method.
        protocol: the rows on which it was measured.
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
