"""Radiographs with heat maps, as pixels: overlay, contour, colour bar, panels, and a grid of hits
and misses. OpenCV and NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

COLORMAPS = tuple(
    sorted(
        name.removeprefix("COLORMAP_").lower() for name in dir(cv2) if name.startswith("COLORMAP_")
    )
)
TOP_SHARE = 0.1
OUTCOMES = ("true positive", "false positive", "true negative", "false negative")
RULE = (
    "Of each outcome the radiographs whose decision was nearest to typical: those whose "
    "probability of an abnormal chest lies nearest to the "
    "median of their group. Positive means decided as any class but the first; ties go to the "
    "earlier file."
)
_ASPECT_TOLERANCE = 0.02
_GAP, _BAR_WIDTH, _LABEL_WIDTH, _TITLE_HEIGHT = 8, 14, 34, 24  # pixels
_CONTOUR = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay(
    image: np.ndarray, heatmap: np.ndarray, alpha: float = 0.5, colormap: str = "jet"
) -> np.ndarray:
    """Lay a heat map over a radiograph.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) RGB, numbers in [0, 255].
        heatmap: (h, w) floats in [0, 1], of the image's aspect ratio; it is resized bilinearly to
            the image.
        alpha: weight of the colours in [0, 1].
        colormap: a name in `COLORMAPS`.

    Returns:
        (H, W, 3) uint8 RGB: (1 - alpha) image + alpha colours. An empty map (all zero) leaves the
            radiograph as it is: there is nothing to show.

    Raises:
        ValueError: shapes, ranges or names that do not fit.
    """
    picture, heat = _rgb(image), _heat(image, heatmap)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1]. Received: alpha={alpha!r}")
    colours = _colours(heat, colormap)
    if not heat.any():
        return picture
    return np.clip(
        np.rint((1 - alpha) * picture + alpha * colours.astype(np.float64)), 0, 255
    ).astype(np.uint8)


def contour(
    picture: np.ndarray,
    heatmap: np.ndarray,
    share: float = TOP_SHARE,
    colour: tuple[int, int, int] = _CONTOUR,
    thickness: int = 1,
) -> np.ndarray:
    """Draw the border of a map's top region onto a copy of a picture.

    Args:
        picture: (H, W) or (H, W, 3) in [0, 255].
        heatmap: as in `overlay`.
        share: of the image's pixels, the hottest; pixels without heat never belong to it.
        colour: RGB.
        thickness: pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture, region = _rgb(picture), top_region(_heat(picture, heatmap), share)
    outlines, _ = cv2.findContours(
        region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    return cv2.drawContours(np.ascontiguousarray(picture), outlines, -1, colour, thickness)


def top_region(heatmap: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """Return the hottest pixels (H, W) bool of a map: those at or above its (1 - share) quantile,
    and above 0.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1. Received: share={share!r}")
    return (heatmap >= np.quantile(heatmap, 1 - share)) & (heatmap > 0)


def color_bar(height: int, colormap: str = "jet") -> np.ndarray:
    """Draw a colour bar, 1 at the top and 0 at the bottom, labelled: (height, 56, 3) uint8 RGB on
    white.
    """
    bar = np.full((height, _GAP + _BAR_WIDTH + _LABEL_WIDTH, 3), 255, np.uint8)
    bar[:, _GAP : _GAP + _BAR_WIDTH] = _colours(
        np.linspace(1, 0, height, dtype=np.float32)[:, None], colormap
    )
    for value in (0.0, 0.5, 1.0) if height >= 60 else (0.0, 1.0):
        line = min(max(round((1 - value) * (height - 1)) + 4, 10), height - 2)
        cv2.putText(
            bar,
            f"{value:g}",
            (_GAP + _BAR_WIDTH + 4, line),
            _FONT,
            0.35,
            (30, 30, 30),
            1,
            cv2.LINE_AA,
        )
    return bar


def panel(
    image: np.ndarray,
    heatmap: np.ndarray,
    alpha: float = 0.5,
    colormap: str = "jet",
    share: float = TOP_SHARE,
    titles: Sequence[str] = ("radiograph", "map", "top region"),
) -> np.ndarray:
    """Set side by side the radiograph, the overlay and the radiograph with the top region's
    contour, and a colour bar.

    Args:
        image, heatmap, alpha, colormap: as in `overlay`.
        share: as in `contour`.
        titles: three words above them; an empty map says so itself.

    Returns:
        (24 + H, 3 W + 3 * 8 + 48, 3) uint8 RGB on white.
    """
    empty = not np.any(heatmap)
    pictures = [
        _rgb(image),
        overlay(image, heatmap, alpha, colormap),
        contour(image, heatmap, share),
    ]
    titles = (titles[0], f"{titles[1]}: empty" if empty else titles[1], titles[2])
    return beside(
        [titled(p, t) for p, t in zip(pictures, titles, strict=True)]
        + [titled(color_bar(pictures[0].shape[0], colormap), "")]
    )


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """Put a line of text above a picture: (24 + H, W, 3) uint8 RGB; text that is too long is made
    smaller.
    """
    top = np.full((_TITLE_HEIGHT, picture.shape[1], 3), 255, np.uint8)
    width = cv2.getTextSize(title, _FONT, 1.0, 1)[0][0]
    cv2.putText(
        top,
        title,
        (2, 17),
        _FONT,
        min(0.45, (picture.shape[1] - 4) / max(width, 1)),
        (30, 30, 30),
        1,
        cv2.LINE_AA,
    )
    return np.vstack([top, picture])


def beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Join pictures (H_i, W_i, 3) uint8 from left to right, 8 white pixels between, tops
    aligned.
    """
    return _joined(list(pictures), 1)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Join pictures (H_i, W_i, 3) uint8 from top to bottom, 8 white pixels between, left sides
    aligned.
    """
    return _joined(list(pictures), 0)


def choose_outcomes(
    labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, count: int = 3
) -> dict[str, np.ndarray]:
    """Choose radiographs to show for each outcome, by `RULE` and not by how well they look.

    Args:
        labels: (N,) class indices, 0 is normal; -1 where not known, which is never chosen.
        predicted: (N,) class indices decided; -1 where there is none.
        probabilities: (N, K) floats, rows sum to 1.
        count: at most, for each outcome.

    Returns:
        {outcome: rows, the most typical first}, in the order of `OUTCOMES`; a pneumonia taken for
        another kind of pneumonia is a true positive.
    """
    labels, predicted, abnormal = (
        np.asarray(labels),
        np.asarray(predicted),
        1 - np.asarray(probabilities, np.float64)[:, 0],
    )
    if count < 1 or not len(labels) == len(predicted) == len(abnormal):
        raise ValueError(
            "labels, predicted and probabilities must be of one length and count at "
            "least 1. "
            f"Received: {len(labels)}, {len(predicted)}, {len(abnormal)} and "
            f"count={count!r}"
        )
    known = (labels >= 0) & (predicted >= 0)
    members = (
        (labels > 0) & (predicted > 0),
        (labels == 0) & (predicted > 0),
        (labels == 0) & (predicted == 0),
        (labels > 0) & (predicted == 0),
    )
    chosen = {}
    for outcome, member in zip(OUTCOMES, members, strict=True):
        rows = np.flatnonzero(member & known)
        away = np.abs(abnormal[rows] - np.median(abnormal[rows])) if len(rows) else []
        chosen[outcome] = rows[np.argsort(away, kind="stable")[:count]].astype(np.int64)
    return chosen


def outcome_grid(
    images: Sequence[np.ndarray],
    maps: np.ndarray,
    chosen: dict[str, np.ndarray],
    probabilities: np.ndarray,
    alpha: float = 0.5,
    colormap: str = "jet",
) -> np.ndarray:
    """Draw what `choose_outcomes` chose: one row an outcome, the overlays with the contour of their
    top region and the probability of an abnormal chest.

    Args:
        images, maps: N radiographs (S, S) and (N, h, w) maps, as in `overlay`.
        chosen: {outcome: rows}.
        probabilities: (N, K).

    Returns:
        (H, W, 3) uint8 RGB on white; an outcome without a radiograph says none.
    """
    nothing = np.full((_GAP, 2 * np.asarray(images[0]).shape[1], 3), 255, np.uint8)
    lines = []
    for outcome, rows in chosen.items():
        cells = [
            titled(
                contour(overlay(images[i], maps[i], alpha, colormap), maps[i]),
                f"p = {1 - probabilities[i][0]:.2f}",
            )
            for i in rows
        ]
        lines.append(
            titled(beside(cells), outcome) if cells else titled(nothing, f"{outcome}: none")
        )
    return stacked(lines)


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    if not pictures:
        raise ValueError("There is no picture to join. Expected at least one.")
    across = 1 - axis
    size = max(p.shape[across] for p in pictures)
    parts = []
    for i, picture in enumerate(pictures):
        padding = [(0, 0)] * 3
        padding[across] = (0, size - picture.shape[across])
        padding[axis] = (_GAP if i else 0, 0)
        parts.append(np.pad(picture, padding, constant_values=255))
    return np.concatenate(parts, axis)


def _rgb(image: np.ndarray) -> np.ndarray:
    """Return a copy (H, W, 3) uint8 of a grey or RGB picture."""
    image = np.asarray(image)
    grey = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if (
        grey.ndim not in (2, 3)
        or grey.ndim == 3
        and grey.shape[-1] != 3
        or grey.dtype.kind not in "uif"
        or not grey.size
    ):
        raise ValueError(
            "image must be grey (H, W) or (H, W, 1), or RGB (H, W, 3). Received: "
            f"shape {image.shape}, {image.dtype}"
        )
    if (
        not np.isfinite(grey).all()
        or grey.min() < 0
        or grey.max() > 255
        or (grey.dtype.kind == "f" and 0 < grey.max() <= 1)
    ):
        raise ValueError(
            f"pixels must lie in [0, 255]. Received: [{grey.min():g}, "
            f"{grey.max():g}], {grey.dtype}"
            + (": multiply them by 255" if grey.dtype.kind == "f" and 0 < grey.max() <= 1 else "")
        )
    grey = np.rint(grey).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1) if grey.ndim == 2 else grey.copy()


def _heat(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Check a map (h, w) and return it at the image's size, (H, W) float32 in [0, 1]."""
    heat, (height, width) = np.asarray(heatmap, np.float32), np.asarray(image).shape[:2]
    if (
        heat.ndim != 2
        or not heat.size
        or not np.isfinite(heat).all()
        or heat.min() < 0
        or heat.max() > 1
    ):
        raise ValueError(
            "heatmap must be (h, w) finite numbers in [0, 1]. "
            f"Received: shape {heat.shape}"
            + (f", [{heat.min():g}, {heat.max():g}]" if heat.size else "")
        )
    if abs(heat.shape[0] / heat.shape[1] * width / height - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"heatmap {heat.shape} and image {(height, width)} have different aspect "
            "ratios: the map is of another crop of the radiograph. "
            "Show it on the pixels it was made from."
        )
    return (
        heat
        if heat.shape == (height, width)
        else cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    )


def check_colormap(colormap: str) -> None:
    """Raise ValueError unless it is one of `COLORMAPS`."""
    if colormap not in COLORMAPS:
        raise ValueError(
            f"colormap must be one of {', '.join(COLORMAPS)}. Received: colormap={colormap!r}"
        )


def _colours(heat: np.ndarray, colormap: str) -> np.ndarray:
    check_colormap(colormap)
    levels = np.rint(heat * 255).astype(np.uint8)
    return cv2.cvtColor(
        cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{colormap.upper()}")), cv2.COLOR_BGR2RGB
    )
