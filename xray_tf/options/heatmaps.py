"""Options of drawing heat maps and of measuring them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xray_tf.options.declare import Checked, count, option


@dataclass(frozen=True)
class ExplainOptions(Checked):
    """Heat maps: how they are computed and drawn."""

    headings: ClassVar = {
        "method": "Heat maps: how they are computed",
        "alpha": "Pictures and page: how they are shown",
    }

    method: str = option(
        "grad_cam",
        "how a decision is explained",
        (
            "grad_cam",
            "grad_cam_plus_plus",
            "layer_cam",
            "hires_cam",
            "eigen_cam",
            "occlusion",
            "integrated_gradients",
            "grad_cam_flip",
        ),
    )
    layer: str | None = option(
        None,
        "the layer to explain (default: the one named features, else the last feature map)",
        metavar="NAME",
    )
    target: str | None = option(
        None, "the class to explain (default: the one decided)", metavar="CLASS"
    )
    map_batch_size: int = count(32, "radiographs per pass", least=1)
    alpha: float = option(
        0.5, "opacity of the colours over the radiograph, from 0 to 1", metavar="SHARE", least=0
    )
    colormap: str = option(
        "jet", "an OpenCV colour map, such as jet, viridis, inferno, turbo", metavar="NAME"
    )
    grid_columns: int = count(
        4, "radiographs shown for each outcome (hits and misses), if labels are known", least=1
    )
    page_rows: int = count(60, "the most radiographs on the page; the folder holds all")
    keep_identifiers: bool = option(
        False,
        "name DICOM files in the page and the pictures by their paths, which may identify a "
        "patient, instead of a part of their SHA-256",
    )


@dataclass(frozen=True)
class ExamineOptions(Checked):
    """Examination: how heat maps are measured and shortcuts looked for."""

    methods: str = option(
        "grad_cam",
        "the heat-map methods to measure; the first one is used to look for shortcuts",
        metavar="NAME,...",
    )
    layer: str | None = option(
        None,
        "the layer to explain (default: the one named features, else the last feature map)",
        metavar="NAME",
    )
    rows: int = count(
        100, "radiographs for faithfulness, drawn with the classes as even as possible; 0: all"
    )
    steps: int = count(10, "steps in which a heat map's pixels are removed", least=2)
    random_rows: int = count(40, "radiographs for the randomisation check; 0: all")
    depths: int = count(
        8, "stops of the randomisation check, from the last layer shuffled to all of them", least=2
    )
    shortcut_rows: int = count(300, "radiographs for shortcuts; 0: all")
    parts: str = option(
        "all",
        "what to measure: all, or some of faithfulness, randomisation, shortcuts",
        metavar="NAME,...",
    )
    bootstrap: int = count(1000, "bootstrap replicates behind each 95 % interval")
    batch_size: int = count(64, "radiographs per pass", least=1)
    seed: int = count(0, "seed of the radiographs drawn, controls, shuffling, noise and bootstrap")
