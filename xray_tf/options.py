"""Every option of every command, once: frozen dataclasses <-> argparse flags <-> provenance.
Defaults live here only.
"""

from __future__ import annotations

import argparse
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from xray_tf.registry import TASKS

PARTS = ("all", "train", "val", "test")


def option(
    default: Any,
    help: str,
    choices: tuple | None = None,
    metavar: str | None = None,
    least: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare one field of an options dataclass: what `--help` says of it, its choices, or its
    range [least, below).
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "metavar": metavar,
            "least": least,
            "below": below,
        },
    )


class Checked:
    """What makes an options dataclass refuse values outside its fields' choices and ranges, however
    it is made.
    """

    def __post_init__(self):
        for item in fields(self):
            value, rule = getattr(self, item.name), item.metadata
            if rule["choices"] and value not in rule["choices"]:
                raise ValueError(
                    f"{item.name} must be one of {rule['choices']}. Received: {item.name}={value!r}"
                )
            least, below = rule["least"], rule["below"]
            if least is not None and not (value >= least and (below is None or value < below)):
                raise ValueError(
                    f"{item.name} must be at least "
                    f"{least}{'' if below is None else f' and below {below}'}. Received: "
                    f"{item.name}={value!r}"
                )


@dataclass(frozen=True)
class DataOptions(Checked):
    """Which radiographs, and which of them are for what."""

    source: str = option(
        "auto",
        "how to read --data; auto looks at it",
        ("auto", "kaggle-folder", "csv", "medmnist", "phantom", "kaggle"),
    )
    patient_key: str = option(
        "namespaced",
        "namespaced: person1 of bacteria and of virus are two children; bare: they are one",
        ("namespaced", "bare"),
    )
    split_by: str = option(
        "patient",
        "image only where the source has no patient key; it is recorded and shown",
        ("patient", "image"),
    )
    split: str | None = option(
        None, "a split.csv of an earlier run, to have the same rows again", metavar="FILE"
    )
    validation: float = option(
        0.20, "share of the radiographs outside the test part", metavar="SHARE", least=0, below=1
    )
    test: float = option(
        0.15,
        "share carved out as test where the source brings no test part",
        metavar="SHARE",
        least=0,
        below=1,
    )
    strict: bool = option(
        False, "stop at the first unusable file instead of reporting it and going on"
    )
    cache: str | None = option(
        None, "where decoded pixels are kept (default: the user's cache folder)", metavar="DIR"
    )
    attribution: str | None = option(
        None,
        "whose radiographs they are and under which licence, "
        "for the model card; known data sets need none",
        metavar="TEXT",
    )


@dataclass(frozen=True)
class ModelOptions(Checked):
    """What net."""

    backbone: str = option(
        "efficientnet_lite0",
        "a row of the registry, or the name of any trunk in keras.applications",
        metavar="NAME",
    )
    weights: str | None = option(
        "imagenet",
        "imagenet, none, the path of a weights file, or "
        "several paths joined by commas: the mean of their weights",
        metavar="WHICH",
    )
    image_size: int = option(
        224, "side of the square the net sees, pixels", metavar="PIXELS", least=32
    )
    resize: str = option(
        "crop",
        "how a radiograph becomes a square: crop (hides the aspect ratio), pad, squash",
        ("crop", "pad", "squash"),
    )
    adapter: bool = option(
        False, "put a learnable convolution between the grey channel and the trunk's three"
    )
    standardize: bool = option(
        True,
        "standardise each image (mean 0, variance 1) inside the "
        "graph before the trunk's own scaling",
    )
    dropout: float = option(
        0.2, "on the embedding, while training", metavar="RATE", least=0, below=1
    )


@dataclass(frozen=True)
class TrainOptions(Checked):
    """How it is trained; the defaults are the recipe of docs/recipe.md."""

    task: str = option("binary", "what to tell apart", tuple(TASKS))
    method: str = option(
        "warm",
        "how the last layer is trained first: warm = on stored trunk "
        "features, head = with augmentation, none = not at all",
        ("warm", "head", "none"),
    )
    epochs: int = option(20, "epochs of the first phase (warm or head)", metavar="N", least=1)
    fine_tune: str = option(
        "all",
        "then train the last stages too: none, all, or how many stages from the end",
        metavar="STAGES",
    )
    fine_tune_epochs: int = option(14, "epochs of the second phase", metavar="N", least=1)
    batch_size: int = option(32, "radiographs a step", metavar="N", least=1)
    learning_rate: float = option(1e-3, "peak of the first phase", metavar="RATE", least=0)
    fine_tune_learning_rate: float = option(
        4e-4, "peak of the second phase", metavar="RATE", least=0
    )
    layer_decay: float = option(
        0.9, "each earlier stage learns this much slower than the next", metavar="FACTOR", least=0
    )
    weight_decay: float = option(0.01, "AdamW's decoupled weight decay", metavar="RATE", least=0)
    label_smoothing: float = option(
        0.05, "share of the label spread over all classes", metavar="SHARE", least=0, below=1
    )
    class_weight: bool = option(True, "weigh classes inversely to their frequency")
    schedule: str = option(
        "cosine",
        "warm-up and cosine, or reduce on plateau of the validation loss",
        ("cosine", "plateau"),
    )
    warmup: float = option(
        0.1, "share of the steps spent warming up", metavar="SHARE", least=0, below=1
    )
    augment: str = option(
        "robust",
        "strength of the augmentation; robust adds borders, blanks and shrinking",
        ("none", "light", "strong", "robust"),
    )
    mixup: float = option(
        0.0, "alpha of mixup's beta distribution (0 = off)", metavar="ALPHA", least=0
    )
    ema: float = option(
        0.995,
        "momentum of the weights' moving average over at most a tenth of the phase (0 = off)",
        metavar="MOMENTUM",
        least=0,
        below=1,
    )
    keep: str = option(
        "last",
        "which epoch's weights end in the artifact: the lowest validation loss, or the last",
        ("best", "last"),
    )
    steady_rows: int = option(
        300,
        "validation rows put under graded changes to fit the default "
        "operating point, steady; 0: it is balanced, fitted on them "
        "unchanged",
        metavar="N",
        least=0,
    )
    precision: str = option(
        "auto",
        "auto measures float32 against mixed precision and says what it chose",
        ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = option(
        0, "of the split, the weights, the order and the augmentation", metavar="N", least=0
    )


@dataclass(frozen=True)
class EvaluateOptions(Checked):
    """How predictions become numbers."""

    forward_batch_size: int = option(64, "radiographs a forward pass", metavar="N", least=1)
    bootstrap: int = option(2000, "replicates behind each 95 %% interval", metavar="N", least=0)
    bootstrap_seed: int = option(0, "of the bootstrap", metavar="N", least=0)


@dataclass(frozen=True)
class ShiftOptions(Checked):
    """How well decisions hold under graded changes of the same radiographs."""

    shift: bool = option(
        False,
        "also measure the same radiographs under graded changes (shift.json, shift.csv, shift.png)",
    )
    stresses: str = option(
        "all",
        "which changes: all, or names and groups (intensity, detail, "
        "geometry, additions), comma-separated",
        metavar="NAMES",
    )
    shift_rows: int = option(
        300,
        "at most so many radiographs under the changes, classes as even as can be (0 = all)",
        metavar="N",
        least=0,
    )
    shift_bootstrap: int = option(
        200, "replicates behind each interval of the shift bench", metavar="N", least=0
    )
    shift_seed: int = option(
        0, "of the rows drawn, the changes and their bootstrap", metavar="N", least=0
    )


@dataclass(frozen=True)
class EmbedOptions(Checked):
    """How embeddings are searched, voted on and drawn."""

    neighbors: int = option(
        0,
        "how many nearest training radiographs vote; 0: chosen by cross-validation over patients",
        metavar="K",
        least=0,
    )
    metric: str = option("cosine", "distance between embeddings", ("cosine", "euclidean"))
    weights: str = option(
        "distance", "each neighbour's vote: the same, or 1 / distance", ("uniform", "distance")
    )
    space: str = option(
        "standardised",
        "embeddings as they are, or each dimension at mean 0 and variance 1",
        ("raw", "standardised"),
    )
    components: int = option(
        512, "then reduced to so many principal components; 0: not reduced", metavar="N", least=0
    )
    perplexity: float = option(30.0, "of t-SNE", metavar="NUMBER", least=1)
    map_rows: int = option(
        6000,
        "the most radiographs on the maps and the page, test rows first; 0: no maps and no page",
        metavar="N",
        least=0,
    )
    embed_seed: int = option(0, "of the folds and of t-SNE", metavar="N", least=0)


@dataclass(frozen=True)
class ExplainOptions(Checked):
    """How heat maps are made and drawn."""

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
        "the feature map explained (default: the one named features, else the last)",
        metavar="NAME",
    )
    target: str | None = option(
        None, "the class explained (default: the one decided)", metavar="CLASS"
    )
    alpha: float = option(
        0.5, "weight of the colours over the radiograph, from 0 to 1", metavar="SHARE", least=0
    )
    colormap: str = option(
        "jet", "an OpenCV colour map, such as jet, viridis, inferno, turbo", metavar="NAME"
    )
    grid_columns: int = option(
        4,
        "radiographs shown of each outcome (hits and misses), where labels are known",
        metavar="N",
        least=1,
    )
    page_rows: int = option(
        60, "radiographs on the page; the folder holds all", metavar="N", least=0
    )
    map_batch_size: int = option(32, "radiographs a pass", metavar="N", least=1)


@dataclass(frozen=True)
class DetectOptions(Checked):
    """What learns the normal chest, and how often it may raise a false alarm."""

    report_on_pneumonia: bool = option(
        False,
        "accept data that hold pneumonia: only the normals "
        "are learnt from and calibrated on, "
        "pneumonia of the test part is scored in the report",
    )
    all_normal: bool = option(
        False,
        "radiographs without a label are normal, and a folder "
        "without class folders holds nothing else",
    )
    image_size: int = option(
        224,
        "side of the square that is scored, pixels; a multiple of 16 times --reduce",
        metavar="PIXELS",
        least=32,
    )
    resize: str = option(
        "crop",
        "how a radiograph becomes a square: crop (hides the aspect ratio), pad, squash",
        ("crop", "pad", "squash"),
    )
    reduce: int = option(
        2, "the autoencoder works on the square reduced by this factor", metavar="FACTOR", least=1
    )
    latent: int = option(128, "length of the autoencoder's code", metavar="N", least=2)
    loss: str = option(
        "mse",
        "what the autoencoder minimises; it is scored by its mean squared error in any case",
        ("mse", "mae"),
    )
    epochs: int = option(60, "epochs of the autoencoder", metavar="N", least=1)
    batch_size: int = option(32, "radiographs a step", metavar="N", least=1)
    learning_rate: float = option(2e-3, "peak of the schedule", metavar="RATE", least=0)
    augment: str = option("light", "strength of the augmentation", ("none", "light", "strong"))
    watched: float = option(
        0.1,
        "share of the fit normals, whole patients, that the autoencoder "
        "is watched on instead of trained on",
        metavar="SHARE",
        least=0.01,
        below=0.9,
    )
    components: int = option(
        32,
        "principal components of the standardised codes, whitened, in which density is estimated",
        metavar="N",
        least=1,
    )
    folds: int = option(
        5, "folds over patients of the bandwidth's cross-validated likelihood", metavar="N", least=2
    )
    detectors: str = option(
        "default",
        "the stronger detectors on frozen features, joined by "
        "commas; default: those chosen on synthetic lesions; none: "
        "autoencoder and density alone",
        metavar="NAMES",
    )
    locate: str = option(
        "patch_memory",
        "the detector on patches of the frozen features that "
        "draws the second map; it has no part in the scores; none",
        metavar="NAME",
    )
    backbone: str = option(
        "efficientnet_lite0", "the frozen trunk of these features", metavar="NAME"
    )
    weights: str | None = option(
        "imagenet", "of that trunk: imagenet, none, or the path of a weights file", metavar="WHICH"
    )
    budget: float = option(
        0.05,
        "the share of normal patients that all scores together may call anomalous",
        metavar="SHARE",
        least=0.0001,
        below=0.9,
    )
    thresholds: str | None = option(
        None,
        "set thresholds by hand instead: name=value,name=value; "
        "no false-alarm rate is promised then",
        metavar="LIST",
    )
    examples: bool = option(
        False,
        "draw test radiographs with their maps into the report; the "
        "artifact then carries radiographs",
    )
    seed: int = option(
        0,
        "of the split, the weights, the order, the folds and the radiograph "
        "that stands for its patient",
        metavar="N",
        least=0,
    )


@dataclass(frozen=True)
class ScoreOptions(Checked):
    """How scores are shown."""

    maps: bool = option(True, "write a map of each radiograph: maps.npz and overlays/")
    alpha: float = option(
        0.5, "weight of the colours over the radiograph, from 0 to 1", metavar="SHARE", least=0
    )
    colormap: str = option(
        "jet", "an OpenCV colour map, such as jet, viridis, inferno, turbo", metavar="NAME"
    )
    page_rows: int = option(
        60,
        "radiographs on the page, the most anomalous first; the folder holds all",
        metavar="N",
        least=0,
    )


@dataclass(frozen=True)
class ReproduceOptions(Checked):
    """Which study, and how large."""

    preset: str = option(
        "report",
        "report: the course report's recipe; best: the defaults of "
        "train and detect; quick: a few minutes on the phantom",
        ("report", "best", "quick"),
    )
    backbone: str | None = option(
        None, "one trunk for every classifier, instead of the preset's", metavar="NAME"
    )
    weights: str | None = option(
        None,
        "imagenet, none, a file, or NAME=VALUE,... one a trunk, instead of the preset's",
        metavar="WHICH",
    )
    rows: int = option(
        0,
        "only so many radiographs, the classes as even as can be; every page "
        "then says so (0 = all)",
        metavar="N",
        least=0,
    )
    epochs: int = option(
        0, "epochs of every phase of training, instead of the preset's (0)", metavar="N", least=0
    )
    seed: int = option(0, "of the rows drawn, the split and the trainings", metavar="N", least=0)


@dataclass(frozen=True)
class ExamineOptions(Checked):
    """How explanations are measured, and shortcuts looked for."""

    methods: str = option(
        "grad_cam",
        "the heat-map methods measured, comma-separated; the first is used for shortcuts",
        metavar="NAMES",
    )
    layer: str | None = option(
        None,
        "the feature map explained (default: the one named features, else the last)",
        metavar="NAME",
    )
    rows: int = option(
        100,
        "at most so many radiographs for faithfulness, classes as even as can be (0 = all)",
        metavar="N",
        least=0,
    )
    steps: int = option(10, "steps in which a map's pixels are removed", metavar="N", least=2)
    random_rows: int = option(
        40,
        "at most so many radiographs for the randomisation check (0 = all)",
        metavar="N",
        least=0,
    )
    depths: int = option(
        8,
        "stops of the randomisation check, from the top layer shuffled to all of them",
        metavar="N",
        least=2,
    )
    shortcut_rows: int = option(
        300, "at most so many radiographs for shortcuts (0 = all)", metavar="N", least=0
    )
    parts: str = option(
        "all",
        "what to measure: all, or some of faithfulness, randomisation, shortcuts, comma-separated",
        metavar="NAMES",
    )
    bootstrap: int = option(1000, "replicates behind each 95 %% interval", metavar="N", least=0)
    batch_size: int = option(64, "radiographs a pass", metavar="N", least=1)
    seed: int = option(
        0,
        "of the rows drawn, the controls, the shuffling, the noise and the bootstrap",
        metavar="N",
        least=0,
    )


def add_flags(parser: argparse.ArgumentParser, cls: type) -> None:
    """Give `parser` one flag a field of the options dataclass `cls`."""
    hints = get_type_hints(cls)
    group = parser.add_argument_group(" ".join(cls.__doc__.split()).rstrip("."))
    for item in fields(cls):
        flag = "--" + item.name.replace("_", "-")
        help_text, choices, metavar = (item.metadata[k] for k in ("help", "choices", "metavar"))
        if hints[item.name] is bool:
            group.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=item.default, help=help_text
            )
            continue
        kind = next(t for t in (int, float, str) if hints[item.name] in (t, t | None))
        default = "" if item.default in (None, MISSING) else f" (default: {item.default})"
        group.add_argument(
            flag,
            type=kind,
            default=item.default,
            choices=choices,
            metavar=metavar,
            help=help_text + default,
        )


def from_flags(namespace: argparse.Namespace, cls: type) -> Any:
    """Make the options dataclass `cls` from parsed flags."""
    return cls(**{item.name: getattr(namespace, item.name) for item in fields(cls)})


def is_pretrained(weights: str | None) -> bool:
    """Tell whether a trunk with these `weights` starts from learned ones (its batch norm is then
    frozen); `none`, as a flag says it, is None.
    """
    return weights not in (None, "none")


def weights_files(weights: str | None) -> list[str]:
    """Return the paths that a `weights` option names: one, or several joined by commas; none for
    `imagenet` and random weights.
    """
    if weights == "imagenet" or not is_pretrained(weights):
        return []
    return [weights] if Path(weights).is_file() else weights.split(",")


def provenance(*options: Any) -> dict[str, dict[str, Any]]:
    """Name every option's value, for the card: {dataclass name: {field: value}}."""
    return {type(o).__name__: asdict(o) for o in options}
