"""Turn what a Python program holds (PIL images, tensors, colour arrays, DICOM data sets, lists,
`tf.data`, data frames) into what is read: paths, the bytes of files, and grey arrays.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import cv2
import numpy as np

from xray_tf.data.pixels.header import MIN_SIDE

CHANNELS = (1, 3)  # of pictures in arrays: grey, or red, green and blue
# positions an axis at which neighbours are compared, and how many times as much they must differ
# along the axis that numbers radiographs as along those of a picture, which are alike within the
# same factor
SAMPLED, ROUGHER = 32, 3.0
PIXELS = "grey or RGB pixels in [0, 255]"


def is_frame(images: Any) -> bool:
    """Tell whether it is a data frame, of pandas or like those."""
    return hasattr(images, "columns") and hasattr(images, "iloc")


def paths_in(images: Any) -> list[str] | None:
    """Return the paths that `images` is made of; None if it is anything else.

    Args:
        images: a path, a list or array of paths, or a data frame with the column `path`.

    Raises:
        ValueError: a data frame has no column `path`.
    """
    if isinstance(images, str | os.PathLike):
        return [os.fspath(images)]
    if is_frame(images):
        if "path" not in images.columns:
            raise ValueError(
                "a data frame must have the column path, one file a row. Received: "
                f"{list(images.columns)}"
            )
        return [os.fspath(p) for p in images["path"]]
    if isinstance(images, np.ndarray):
        images = images.ravel().tolist() if images.dtype.kind in "UO" else ()
    if isinstance(images, list | tuple) or type(images).__module__.split(".")[0] == "pandas":
        found = list(images)
        if found and all(isinstance(p, str | os.PathLike) for p in found):
            return list(map(os.fspath, found))
    return None


def columns_of_frame(images: Any, labels: Any, patients: Any) -> tuple[Any, Any]:
    """Return labels and patients as given, or those of a data frame."""
    if is_frame(images):
        labels = images["label"] if labels is None and "label" in images.columns else labels
        given = patients is None and "patient" in images.columns
        patients = images["patient"] if given else patients
    return labels, patients


def single(image: Any) -> str | bytes | np.ndarray:
    """Return one picture as a path, the bytes of a file, or grey pixels (H, W) uint8.

    Args:
        image: a path; the bytes of a file; a PIL image; a pydicom data set with its pixels; or an
            array or tensor (H, W), (H, W, 1) or (H, W, 3), RGB, of values in [0, 255], integers or
            floats, which are rounded. RGB becomes grey as in files (ITU-R BT.601).

    Raises:
        ValueError: it is anything else, or its values are of another range.
    """
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if type(image).__module__.split(".")[0] == "PIL":
        return _of_pil(image)
    if hasattr(image, "PixelData") and hasattr(image, "save_as"):
        data = io.BytesIO()
        image.save_as(data, enforce_file_format=True)
        return data.getvalue()
    array = as_array(image)
    if array is None or not (array.ndim == 2 or array.ndim == 3 and array.shape[2] in CHANNELS):
        raise ValueError(
            "image must be a path, the bytes of a file, a PIL image, a pydicom data set, or "
            f"{PIXELS}, (H, W) or (H, W, 3). Received: {described(image)}"
        )
    check_range(array)
    return grey(array)


def several(images: Any) -> Iterator[Any]:
    """Yield the pictures of a list, of any iterable, or of a `tf.data.Dataset` of pictures or
    batches, alone or as the first of a pair (image, label); each is taken by `single`.
    """
    if isinstance(images, bytes | bytearray | memoryview) or not isinstance(images, Iterable):
        yield images
    elif type(images).__module__.split(".")[0] == "PIL" or hasattr(images, "PixelData"):
        yield images
    elif hasattr(images, "element_spec"):
        yield from chain.from_iterable(map(_in_element, images.as_numpy_iterator()))
    else:
        yield from images


def _in_element(element: Any) -> Iterator[np.ndarray]:
    """Yield the pictures of one element of a `tf.data.Dataset`."""
    if isinstance(element, dict):
        element = element.get("image", next(iter(element.values())))
    if isinstance(element, tuple | list):
        element = element[0]
    if not isinstance(element, np.ndarray):
        yield element
    elif element.dtype.kind in "OS":  # files' bytes
        yield from np.ravel(element)
    else:
        yield from as_stack(element)


def as_array(image: Any) -> np.ndarray | None:
    """Return an array or tensor of any framework as a NumPy array; None if it is anything else."""
    if hasattr(image, "detach"):
        image = image.detach().cpu()
    if isinstance(image, list | tuple) or not hasattr(image, "__array__"):
        return None
    array = np.asarray(image)
    return array if array.dtype.kind in "buif" else None


def as_stack(images: np.ndarray) -> np.ndarray:
    """Return an array of radiographs as (N, H, W) or (N, H, W, 1 or 3) of its own type, checked.

    Args:
        images: (H, W), (H, W, 1 or 3), (N, H, W) or (N, H, W, 1 or 3), pixels in [0, 255], RGB.

    Raises:
        ValueError: the type, range or shape is another. A last axis of 1, 3 or 4 is taken for
            channels: it could be mistaken for H radiographs as narrow as that.
    """
    stack = images[None] if images.ndim == 2 or _one_in_colour(images) else images
    advice = _what_is_wrong(images)
    if advice or stack.ndim not in (3, 4) or not stack.size:
        raise ValueError(
            f"images must be {PIXELS} of one or more radiographs, an array (H, W), (H, W, 1 or 3), "
            f"(N, H, W) or (N, H, W, 1 or 3). Received: {described(images)}. {advice}".rstrip()
        )
    check_range(images)
    return stack


def check_range(images: np.ndarray) -> None:
    """Raise ValueError unless pixels lie in [0, 255] and not all in [0, 1]."""
    if images.dtype == np.uint8 or not images.size:
        return
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and 1 < high <= 255):
        raise ValueError(
            f"images must be {PIXELS}. Received: {images.dtype} from {low:g} to {high:g}, shape "
            f"{images.shape}. Scale pixels to [0, 255] and round them to uint8, or pass the path "
            "of the file."
        )


def grey(image: np.ndarray) -> np.ndarray:
    """Return pixels (H, W), (H, W, 1) or (H, W, 3) in [0, 255] as (H, W) uint8."""
    if image.dtype != np.uint8:
        image = np.floor(image.astype(np.float64) + 0.5).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 3:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return image if image.ndim == 2 else image[..., 0]


def described(image: Any) -> str:
    """Describe what was received: an array's shape and type, or a type's name."""
    if isinstance(image, np.ndarray):
        return f"shape {image.shape}, {image.dtype}"
    more = f"{getattr(image, 'shape', '')} {getattr(image, 'dtype', '')}".strip()
    return f"{type(image).__name__} {more}".strip()


def _of_pil(image: Any) -> np.ndarray:
    from PIL import ImageOps

    if image.mode[:1] in "IF":
        raise ValueError(
            f"a PIL image must be of 8 bits. Received: mode {image.mode}. Pass the path of the "
            "file, which is scaled by its own depth."
        )
    image = ImageOps.exif_transpose(image)
    return grey(np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")))


def _one_in_colour(images: np.ndarray) -> bool:
    return images.ndim == 3 and images.shape[2] in CHANNELS


def _what_is_wrong(images: np.ndarray) -> str:
    """Return what to do about an array of another order of axes; empty where it is as it should
    be.
    """
    shape, channels = images.shape, (*CHANNELS, 4)
    if images.ndim == 4 and shape[1] in channels and shape[3] not in channels:
        return (
            "The second axis looks like channels: move them to the end, for example with "
            "np.moveaxis(images, 1, -1), or pass the paths of the files."
        )
    if images.ndim == 4 and shape[3] not in CHANNELS or images.ndim == 3 and shape[2] == 4:
        return (
            "The last axis looks like channels: 1 or 3 are read. Leave the transparency out, for "
            "example with image[..., :3], or pass the path of the file."
        )
    if images.ndim == 3 and not _one_in_colour(images) and images.dtype == np.uint8:
        if axis := number_axis(images):
            name = ("first", "second", "last")[axis]
            return (
                f"The {name} axis looks like the number of radiographs: neighbours along it are "
                f"other pictures, or fewer than {MIN_SIDE}. Use np.moveaxis(images, {axis}, 0)."
            )
    return ""


def number_axis(images: np.ndarray) -> int:
    """Return the axis of a stack (3 axes, uint8) that numbers its radiographs: the one with fewer
    than `MIN_SIDE` entries where the other two have more, or along which neighbours differ most,
    where the other two are alike and smooth. 0 where nothing speaks against the first.
    """
    short = [axis for axis in (1, 2) if images.shape[axis] < MIN_SIDE]
    if len(short) == 1 and images.shape[0] >= MIN_SIDE:
        return short[0]
    if min(images.shape) < 2:
        return 0
    places = [np.unique(np.linspace(0, n - 2, SAMPLED).astype(int)) for n in images.shape]
    here = images[np.ix_(*places)].astype(np.int16)
    steps = []
    for axis in range(3):
        moved = [p + 1 if k == axis else p for k, p in enumerate(places)]
        steps.append(float(np.abs(images[np.ix_(*moved)] - here).mean()))
    axis = int(np.argmax(steps))
    smooth = sorted(steps[:axis] + steps[axis + 1 :])
    return axis if steps[axis] > ROUGHER * smooth[1] and smooth[1] < ROUGHER * smooth[0] else 0
