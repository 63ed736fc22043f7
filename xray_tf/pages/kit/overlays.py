"""Draw radiographs with heat maps as pixels: overlay, contour, colour bar, panels, and a grid of
hits and misses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

_MAP = "COLORMAP_"
COLORMAPS = tuple(sorted(n.removeprefix(_MAP).lower() for n in dir(cv2) if n.startswith(_MAP)))
TOP_SHARE = 0.1
OUTCOMES = ("true positive", "false positive", "true negative", "false negative")
RIGHT, WRONG = "decided rightly", "decided wrongly"
RULE = (
    "The most typical radiographs of each outcome are shown: those whose probability of an "
    "abnormal chest is nearest to the median of their group. Positive means any decision except "
    "the first class; ties go to the earlier file."
)
RULE_WITHOUT_NORMAL = (
    "Of right and of wrong decisions the typical ones: those whose probability of the class "
    "decided lies nearest to the median of their group; ties go to the earlier file."
)
_ASPECT_TOLERANCE = 0.02
_GAP, _BAR_WIDTH, _LABEL_WIDTH, _TITLE_HEIGHT = 8, 14, 34, 24  # pixels
_CONTOUR, _LUNGS = (255, 255, 255), (255, 0, 255)
_INK = (30, 30, 30)


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
        (H, W, 3) uint8 RGB: (1 - alpha) image + alpha colours. An empty heat map (all zero)
            leaves the radiograph unchanged.

    Raises:
        ValueError: a shape, range or name does not fit.
    """
    picture, heat = _rgb(image), _heat(image, heatmap)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1]. Received: alpha={alpha!r}")
    colours = heat_colours(heat, colormap)
    if not heat.any():
        return picture
    mixed = (1 - alpha) * picture + alpha * colours.astype(np.float64)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def check_colormap(colormap: str) -> None:
    """Raise ValueError unless it is one of `COLORMAPS`."""
    if colormap not in COLORMAPS:
        raise ValueError(
            f"colormap must be one of {', '.join(COLORMAPS)}. Received: colormap={colormap!r}"
        )


def heat_colours(heatmap: np.ndarray, colormap: str = "jet") -> np.ndarray:
    """Colour a heat map (H, W) of floats in [0, 1], as (H, W, 3) uint8 RGB.

    Raises:
        ValueError: there is no such colour map.
    """
    check_colormap(colormap)
    levels = np.rint(np.asarray(heatmap) * 255).astype(np.uint8)
    painted = cv2.applyColorMap(levels, getattr(cv2, _MAP + colormap.upper()))
    return cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)


def contour(
    picture: np.ndarray,
    heatmap: np.ndarray,
    share: float = TOP_SHARE,
    colour: tuple[int, int, int] = _CONTOUR,
) -> np.ndarray:
    """Draw the border of a heat map's top region onto a copy of a picture.

    Args:
        picture: (H, W) or (H, W, 3) in [0, 255].
        heatmap: as in `overlay`.
        share: the share of the pixels, hottest first; pixels without heat never belong to it.
        colour: RGB.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture, region = _rgb(picture), top_region(_heat(picture, heatmap), share).astype(np.uint8)
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(picture), outlines, -1, colour, 1)


def lung_outline(picture: np.ndarray, lungs: np.ndarray | None) -> np.ndarray:
    """Draw the borders of lungs onto a copy of a picture.

    Args:
        picture: (H, W) or (H, W, 3) in [0, 255].
        lungs: (H, W) bool; None draws nothing.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = _rgb(picture)
    if lungs is None:
        return picture
    outlines, _ = cv2.findContours(
        np.asarray(lungs, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    return cv2.drawContours(np.ascontiguousarray(picture), outlines, -1, _LUNGS, 1)


def outlines(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the borders of a mask (H, W) bool as closed lines, each a list of (x, y) in shares of
    width and height.
    """
    # the centre of pixel k lies at k + 0.5
    found, _ = cv2.findContours(
        np.asarray(mask, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    size = np.array(mask.shape[::-1], np.float64)
    lines = [((line[:, 0] + 0.5) / size).round(4).tolist() for line in found if len(line) > 2]
    return [[tuple(point) for point in line] for line in lines]


def top_region(heatmap: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """Return the hottest pixels (H, W) bool of a heat map: those at or above its (1 - share)
    quantile, and above 0.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1. Received: share={share!r}")
    return (heatmap >= np.quantile(heatmap, 1 - share)) & (heatmap > 0)


def color_bar(height: int, colormap: str = "jet") -> np.ndarray:
    """Draw a labelled colour bar from 1 (top) to 0 (bottom): (height, 56, 3) uint8 RGB on white."""
    bar = np.full((height, _GAP + _BAR_WIDTH + _LABEL_WIDTH, 3), 255, np.uint8)
    levels = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    bar[:, _GAP : _GAP + _BAR_WIDTH] = heat_colours(levels, colormap)
    for value in (0.0, 0.5, 1.0) if height >= 60 else (0.0, 1.0):
        line = min(max(round((1 - value) * (height - 1)) + 4, 10), height - 2)
        _write(bar, f"{value:g}", (_GAP + _BAR_WIDTH + 4, line), 0.35)
    return bar


def panel(
    image: np.ndarray,
    heatmap: np.ndarray,
    alpha: float = 0.5,
    colormap: str = "jet",
    titles: Sequence[str] = ("radiograph", "heat map", "top region"),
    lungs: np.ndarray | None = None,
) -> np.ndarray:
    """Draw side by side the radiograph, the overlay, the radiograph with the contour of the top
    region, and a colour bar; the lungs are outlined in the second and third.

    Args:
        image, heatmap, alpha, colormap: as in `overlay`.
        titles: three titles; that of an empty heat map says so.
        lungs: as in `lung_outline`.

    Returns:
        (24 + H, 3 W + 3 * 8 + 48, 3) uint8 RGB on white.
    """
    empty = not np.any(heatmap)
    plain = _rgb(image)
    titles = (titles[0], f"{titles[1]}: empty" if empty else titles[1], titles[2], "")
    pictures = (
        plain,
        lung_outline(overlay(image, heatmap, alpha, colormap), lungs),
        contour(lung_outline(image, lungs), heatmap),
        color_bar(len(plain), colormap),
    )
    return beside([titled(p, t) for p, t in zip(pictures, titles, strict=True)])


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """Write a line of text above a picture: (24 + H, W, 3) uint8 RGB; text that is too long is
    reduced.
    """
    top = np.full((_TITLE_HEIGHT, picture.shape[1], 3), 255, np.uint8)
    width = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)[0][0]
    _write(top, title, (2, 17), min(0.45, (picture.shape[1] - 4) / max(width, 1)))
    return np.vstack([top, picture])


def beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Join pictures (H_i, W_i, 3) uint8 from left to right, with aligned tops and 8 white pixels
    between them.
    """
    return _joined(list(pictures), 1)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Join pictures (H_i, W_i, 3) uint8 from top to bottom, with aligned left sides and 8 white
    pixels between them.
    """
    return _joined(list(pictures), 0)


def choose_outcomes(
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    count: int = 3,
    negative: int | None = 0,
) -> dict[str, np.ndarray]:
    """Choose radiographs to show for each outcome by `RULE`, not by how good they look.

    Args:
        labels: (N,) class indices; -1 if unknown, which is never chosen.
        predicted: (N,) class indices decided; -1 if there is none.
        probabilities: (N, K) floats; rows sum to 1.
        count: the most rows per outcome.
        negative: the class that stands for no finding; None if there is none.

    Returns:
        {outcome: rows, the most typical first}, in the order of `OUTCOMES`; a pneumonia taken for
        another kind of pneumonia is a true positive. Without a `negative` class the outcomes are
        `RIGHT` and `WRONG`.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    abnormal = _chosen_by(probabilities, negative)
    lengths = len(labels), len(predicted), len(abnormal)
    if count < 1 or len(set(lengths)) > 1:
        raise ValueError(
            "labels, predicted and probabilities must have one length, and count be at least 1. "
            f"Received: lengths {lengths} and count={count!r}"
        )
    known = (labels >= 0) & (predicted >= 0)
    sick, called = labels != negative, predicted != negative
    outcomes = dict(
        zip(OUTCOMES, (sick & called, ~sick & called, ~sick & ~called, sick & ~called), strict=True)
    )
    if negative is None:
        outcomes = {RIGHT: labels == predicted, WRONG: labels != predicted}
    chosen = {}
    for outcome, member in outcomes.items():
        rows = np.flatnonzero(member & known)
        away = np.abs(abnormal[rows] - np.median(abnormal[rows])) if len(rows) else []
        chosen[outcome] = rows[np.argsort(away, kind="stable")[:count]].astype(np.int64)
    return chosen


def _chosen_by(probabilities: np.ndarray, negative: int | None) -> np.ndarray:
    """Return (N,) the probability of any finding; of the likeliest class where none is
    `negative`.
    """
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities.max(axis=1) if negative is None else 1 - probabilities[:, negative]


def outcome_grid(
    images: Sequence[np.ndarray],
    maps: np.ndarray,
    chosen: dict[str, np.ndarray],
    probabilities: np.ndarray,
    alpha: float = 0.5,
    colormap: str = "jet",
    negative: int | None = 0,
) -> np.ndarray:
    """Draw what `choose_outcomes` chose, one row per outcome: overlays with the contour of their
    top region and the probability they were chosen by.

    Args:
        images, maps: N radiographs (S, S) and (N, h, w) maps, as in `overlay`.
        chosen: {outcome: rows}.
        probabilities: (N, K).
        negative: as in `choose_outcomes`.

    Returns:
        (H, W, 3) uint8 RGB on white; an outcome without a radiograph says none.
    """

    shown = _chosen_by(probabilities, negative)

    def cell(i: int) -> np.ndarray:
        picture = contour(overlay(images[i], maps[i], alpha, colormap), maps[i])
        return titled(picture, f"p = {shown[i]:.2f}")

    return in_rows({outcome: map(cell, rows) for outcome, rows in chosen.items()}, images[0])


def in_rows(groups: dict[str, Iterable[np.ndarray]], like: np.ndarray) -> np.ndarray:
    """Draw pictures in rows, one row per group under its title. An empty group says `none`, over
    two widths of the picture `like`.
    """
    nothing = np.full((_GAP, 2 * np.asarray(like).shape[1], 3), 255, np.uint8)
    lines = []
    for title, pictures in groups.items():
        cells = list(pictures)
        lines.append(titled(beside(cells), title) if cells else titled(nothing, f"{title}: none"))
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


def _write(picture: np.ndarray, text: str, place: tuple[int, int], scale: float) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, place, font, scale, _INK, 1, cv2.LINE_AA)


def _rgb(image: np.ndarray) -> np.ndarray:
    """Return a copy (H, W, 3) uint8 of a grey or RGB picture."""
    image = np.asarray(image)
    grey = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    fits = grey.ndim == 2 or grey.ndim == 3 and grey.shape[-1] == 3
    if not fits or grey.dtype.kind not in "uif" or not grey.size:
        raise ValueError(
            "image must be grey (H, W) or (H, W, 1), or RGB (H, W, 3). Received: "
            f"shape {image.shape}, {image.dtype}"
        )
    fraction = grey.dtype.kind == "f" and 0 < grey.max() <= 1
    if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 255 or fraction:
        raise ValueError(
            f"pixels must lie in [0, 255]. Received: [{grey.min():g}, {grey.max():g}], {grey.dtype}"
            + (": multiply them by 255" if fraction else "")
        )
    grey = np.rint(grey).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1) if grey.ndim == 2 else grey.copy()


def _heat(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Check a heat map (h, w) and return it at the image's size, (H, W) float32 in [0, 1]."""
    heat, (height, width) = np.asarray(heatmap, np.float32), np.asarray(image).shape[:2]
    if heat.ndim != 2 or not heat.size or not (np.isfinite(heat) & (heat >= 0) & (heat <= 1)).all():
        raise ValueError(
            f"heatmap must be (h, w) finite numbers in [0, 1]. Received: shape {heat.shape}"
            + (f", [{heat.min():g}, {heat.max():g}]" if heat.size else "")
        )
    if abs(heat.shape[0] / heat.shape[1] * width / height - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"heatmap {heat.shape} and image {(height, width)} have different aspect "
            "ratios: the heat map is of another crop of the radiograph. "
            "Draw it over the pixels it was computed from."
        )
    if heat.shape == (height, width):
        return heat
    return cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
