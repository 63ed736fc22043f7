"""Options of fitting an anomaly detector and of scoring with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xray_tf.options.declare import Checked, count, option, rate, resizing, share
from xray_tf.registry import BACKBONES


@dataclass(frozen=True)
class DetectOptions(Checked):
    """Detector: what learns the normal chest, and how often it may raise a false alarm."""

    headings: ClassVar = {
        "report_on_pneumonia": "Detector: what it learns from, and what it sees",
        "latent": "Autoencoder and density",
        "detectors": "Committee: detectors beside autoencoder and density",
        "budget": "Thresholds: how often it may raise a false alarm",
        "examples": "Page and seed",
    }

    report_on_pneumonia: bool = option(
        False,
        "accept data with pneumonia in it: only normals are learned from and calibrated on, and "
        "the test part's pneumonia is scored in the report",
    )
    all_normal: bool = option(
        False, "radiographs without a label are normal, as is a folder without class folders"
    )
    image_size: int = option(
        224,
        "side of the square that is scored, in pixels; a multiple of 32",
        metavar="PIXELS",
        least=32,
    )
    resize: str = resizing()
    latent: int = count(32, "length of the autoencoder's code", least=2)
    epochs: int = count(16, "epochs of the autoencoder", least=1)
    batch_size: int = count(32, "radiographs per step", least=1)
    learning_rate: float = rate(1e-3, "peak learning rate")
    watched: float = share(
        0.1,
        "share of the normals, by patient, held out to monitor the autoencoder's training",
        least=0.01,
        below=0.9,
    )
    components: int = count(
        32, "whitened principal components of the codes in which density is estimated", least=1
    )
    folds: int = count(
        5, "folds over patients in which the density's bandwidth is chosen by likelihood", least=2
    )
    detectors: str = option(
        "default",
        "the committee's members, such as lungs,zones (a name that does not exist is answered with "
        "those that do); default: those chosen on synthetic lesions; none: autoencoder and density "
        "alone",
        metavar="NAME,...",
    )
    backbone: str = option(
        "efficientnet_lite0",
        "the frozen backbone whose features of the lungs' zones are compared",
        metavar="NAME",
        known=tuple(BACKBONES),
    )
    weights: str | None = option(
        "imagenet",
        "weights of that backbone: imagenet, none, or the path of a weights file",
        metavar="WHICH",
    )
    budget: float = share(
        0.05,
        "share of normal patients that all scores together may call anomalous",
        least=0.0001,
        below=0.9,
    )
    thresholds: str | None = option(
        None,
        "set the thresholds by hand instead; no false-alarm rate is guaranteed then",
        metavar="NAME=VALUE,...",
    )
    examples: bool = option(
        False,
        "draw test radiographs with their heat maps into the report; the detector's folder then "
        "contains radiographs",
    )
    seed: int = count(
        0, "seed of the split, weights, order, folds and the radiograph that represents its patient"
    )


@dataclass(frozen=True)
class CalibrateOptions(Checked):
    """Thresholds for another site, from its own normals."""

    budget: float | None = option(
        None,
        "share of normal patients that may be called anomalous; the detector's own if not given",
        metavar="SHARE",
        least=0.0001,
        below=0.9,
    )
    seed: int = count(0, "seed of the radiograph that represents its patient")


@dataclass(frozen=True)
class ScoreOptions(Checked):
    """Heat maps and page: how scores are shown."""

    maps: bool = option(True, "write a heat map of each radiograph: maps.npz and overlays/")
    alpha: float = option(
        0.5, "opacity of the colours over the radiograph, from 0 to 1", metavar="SHARE", least=0
    )
    colormap: str = option(
        "jet", "an OpenCV colour map, such as jet, viridis, inferno, turbo", metavar="NAME"
    )
    page_rows: int = count(
        60, "the most radiographs on the page, the most anomalous first; the folder holds all"
    )
