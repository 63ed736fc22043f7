"""What the names of folders and files say besides class and patient: which part they are, and
whether they hold radiographs or what was made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "traindata", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "validate"), "val"),
    **dict.fromkeys(
        (
            *("test", "tests", "testing", "tst", "testset", "testdata", "holdout", "heldout"),
            *("eval", "evaluation", "unseen", "blind", "external", "benchmark", "hidden"),
        ),
        "test",
    ),
}
_JOINED = {("hold", "out"): "holdout", ("held", "out"): "heldout"}
# what people and tools keep beside radiographs: drawn outlines, pictures of models, changed copies
_BYPRODUCT_FOLDERS = {
    *("mask", "masks", "segmentation", "segmentations", "segmented", "seg", "segs", "contour"),
    *("contours", "annotation", "annotations", "annotated", "groundtruth", "gt", "overlay"),
    *("overlays", "heatmap", "heatmaps", "saliency", "gradcam", "cam", "cams", "augmented"),
    *("augmentation", "augmentations", "aug", "augs", "augment", "thumb", "thumbs", "thumbnail"),
    *("thumbnails", "preview", "previews", "flipped", "rotated", "synthetic", "generated"),
}
_BYPRODUCT_NAMES = {
    *("mask", "masks", "seg", "segmentation", "overlay", "heatmap", "gradcam", "aug", "augmented"),
    *("flip", "flipped", "hflip", "vflip", "rot", "rotated", "thumb", "thumbnail", "contour"),
}


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: runs of letters, taken apart where a capital
    follows a small letter; `held out` is one.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [w.lower() for w in re.findall(r"[^\W\d_]+", apart)]
    for (first, second), joined in _JOINED.items():
        for i in range(len(words) - 1):
            if words[i : i + 2] == [first, second]:
                words[i : i + 2] = [joined]
    return words


def part_of(name: str) -> str:
    """Return the part that a folder's name says: train, val or test; empty if none, or several."""
    parts = {_PART_WORDS[word] for word in words_of(name) if word in _PART_WORDS}
    return parts.pop() if len(parts) == 1 else ""


def part_of_folders(folders: Iterable[str]) -> str:
    """Return the part of a file below these folders. What is called a test at any depth is one,
    so that nothing held out is trained on.
    """
    parts = {part_of(folder) for folder in folders}
    return next((part for part in ("test", "val", "train") if part in parts), "")


def byproduct(path: str) -> str:
    """Return the folder, or the file's name, that says that this is not a radiograph but was made
    of one (a mask, a heat map, an augmented copy); empty if none does.
    """
    *folders, name = path.split("/")
    for depth, folder in enumerate(folders, 1):
        if _BYPRODUCT_FOLDERS & set(words_of(folder)):
            return "/".join(folders[:depth])
    stem = name.rsplit(".", 1)[0]
    return name if _BYPRODUCT_NAMES & set(words_of(stem)) else ""
