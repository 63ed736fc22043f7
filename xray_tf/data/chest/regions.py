"""Remove regions of a radiograph in which a shortcut may hide, and fill them in several ways.

No fill contains anything of the pixels it replaces: each is computed from the remaining pixels. It
does reveal the outline of the region, and the outline of a sick lung is different; `usual_lungs`
and `lungs_box` have outlines that do not depend on the disease. `displaced` removes as many pixels
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from xray_tf.data.chest.lung_fields import usual_lungs
from xray_tf.data.pixels.grid import PixelGrid, keyed_rng

REGIONS = {
    "lungs": "the lungs that the segmenter finds and a rim of 3 % of the side around them",
    "usual_lungs": "where most drawn lungs lie, with the same rim: one outline for all",
    "lungs_box": "a rectangle around the lungs and their usual place",
    "outside": "everything except the lungs and their rim",
    "border": "a frame, 10 % of the side wide",
    "inside_border": "everything except that frame",
    "markers": "letters and other small bright objects away from the lungs",
    "displaced": "the same area as the lungs, half the height further down: the cost of losing so "
    "many pixels",
}
FILLS = {
    "mean": "the mean of the remaining pixels",
    "smooth": "a smooth continuation of the remaining pixels",
    "noise": "Gaussian noise with their mean and standard deviation",
}
SURROUNDINGS = "surroundings"
SWAPPED = (
    "everything except the lungs and their rim comes from another of the radiographs, laid lung "
    "box on lung box"
)
BORDER, RIM = 0.10, 0.03  # shares of the side
_MARKER_SIZES = (0.012, 0.14)  # side of a burned-in letter, as a share of the image's side
_STROKE = 0.022  # half the width of the widest stroke, as a share of the side
# in grey levels: above the surroundings, and from a pixel's darkest neighbour to its brightest
_RAISED, _STEEP = 45, 70


def region_masks(image: np.ndarray, lungs: np.ndarray) -> dict[str, np.ndarray]:
    """Return every region in `REGIONS` of one radiograph, {name: (S, S) bool}.

    Args:
        image: (S, S) uint8 in [0, 255], bone white.
        lungs: (S, S) bool, such as `models.lungs.find_fields` gives.
    """
    side = len(image)
    wide, usual = _grown(lungs, RIM * side), _grown(usual_lungs(side), RIM * side)
    rows, columns = np.nonzero(wide | usual)
    box = np.zeros_like(wide)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    border = np.ones_like(wide)
    edge = max(1, round(BORDER * side))
    border[edge:-edge, edge:-edge] = False
    return {
        "lungs": wide,
        "usual_lungs": usual,
        "lungs_box": box,
        "outside": ~wide,
        "border": border,
        "inside_border": ~border,
        "markers": find_markers(image, lungs),
        "displaced": np.roll(wide, side // 2, axis=0),
    }


def find_markers(image: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Find what was burned in or laid on: small bright objects with sharp edges outside the lungs.

    They are found by a white top-hat, the size of connected components and the steepness of their
    edges (bones are softer). Faint objects, and objects on bright tissue, are missed. A sharp rib
    end in dark surroundings may be mistaken for a letter.

    Returns:
        (S, S) bool, slightly dilated.
    """
    side = len(image)
    # wider than a stroke of a letter
    brush = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * max(1, round(_STROKE * side)) + 1,) * 2)
    bright = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, brush) >= _RAISED
    bright &= ~_grown(lungs, 0.01 * side)
    steep = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    low, high = (v * side for v in _MARKER_SIZES)
    longer = facts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    area = facts[:, cv2.CC_STAT_AREA]
    letters = [
        i
        for i in range(1, count)
        if low <= longer[i] <= high
        and area[i] >= low * low
        and np.quantile(steep[labels == i], 0.75) >= _STEEP
    ]
    return _grown(np.isin(labels, letters), 0.02 * side)


def without(
    image: np.ndarray, region: np.ndarray, fill: str, rng: np.random.Generator
) -> np.ndarray:
    """Return a radiograph with one region filled from the remaining pixels.

    Args:
        image: (S, S) uint8.
        region: (S, S) bool; if it covers everything, mid-grey replaces the mean.
        fill: a key of `FILLS`.
        rng: the random generator of `noise`.

    Returns:
        (S, S) uint8, equal to the image outside the region.
    """
    if fill not in FILLS:
        raise ValueError(f"fill must be one of {tuple(FILLS)}. Received: {fill!r}")
    if not region.any():
        return image
    stays = image[~region]
    mean, spread = (float(stays.mean()), float(stays.std())) if len(stays) else (127.0, 0.0)
    if fill == "smooth":
        new = _continued(image, ~region, mean)[region]
    else:
        new = mean + (rng.normal(0.0, spread, int(region.sum())) if fill == "noise" else 0.0)
    out = image.copy()
    out[region] = np.clip(np.floor(new + 0.5), 0, 255)
    return out


def outside_of_chest(image: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return a radiograph (S, S) uint8 whose lungs (S, S) bool, all that lies between them, and a
    rim are filled with the mean of the rest.
    """
    corners = np.argwhere(lungs)[:, ::-1].astype(np.int32)
    hull = np.zeros(lungs.shape, np.uint8)
    if len(corners):
        cv2.fillConvexPoly(hull, cv2.convexHull(corners), 1)
    region = _grown(hull.astype(bool), RIM * len(image))
    return without(image, region, "mean", np.random.default_rng(0))


def with_surroundings(
    image: np.ndarray, lungs: np.ndarray, other: np.ndarray, other_lungs: np.ndarray
) -> np.ndarray:
    """Return the lungs of one radiograph, with their rim, in the surroundings of another.

    The other is shifted and scaled so that the boxes around the lungs coincide, and reflected where
    it does not reach; its grey levels are shifted to equal means on the rim, where the two are
    mixed.

    Args:
        image, other: (S, S) uint8 in [0, 255].
        lungs, other_lungs: (S, S) bool; where one has no lungs the other is laid on as it is.

    Returns:
        (S, S) uint8, equal to the image in the lungs.
    """
    side, wide = len(image), _grown(lungs, RIM * len(image))
    if lungs.any() and other_lungs.any():
        scale, shift = [], []
        for axis in (0, 1):  # x, y
            (a, b), (c, d) = (
                np.flatnonzero(m.any(axis=axis))[[0, -1]] for m in (lungs, other_lungs)
            )
            scale.append((b - a + 1) / (d - c + 1))
            shift.append(a - scale[-1] * c)
        matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
        other = cv2.warpAffine(other, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    rim = wide & ~lungs
    step = float(image[rim].mean()) - float(other[rim].mean()) if rim.any() else 0.0
    soft = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 0.01 * side)
    alpha = np.where(lungs, 1.0, np.where(wide, soft, 0.0))
    mixed = alpha * image + (1 - alpha) * (other + step)
    return np.clip(np.floor(mixed + 0.5), 0, 255).astype(np.uint8)


class MaskedGrid(PixelGrid):
    """Rows with regions filled: a cell is a pair (region, fill), None for the row as it is, or
    `SURROUNDINGS` for its lungs in the surroundings of another row, drawn by the seed.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: Sequence[int],
        lungs: np.ndarray,
        keys: Sequence[str],
        cells: Sequence[tuple[str, str] | None],
        seed: int = 0,
    ):
        """Keep what is needed to compute any row: as `PixelGrid`, and the rows' lungs (N, S, S)
        bool.
        """
        super().__init__(pixels, rows, keys, cells, seed)
        self.lungs = lungs

    def changed(self, image: np.ndarray, cell: tuple[str, str] | str, row: int) -> np.ndarray:
        """Return the image (S, S) uint8 with one region filled, or in other surroundings."""
        if cell == SURROUNDINGS:
            rng, count = keyed_rng(self.seed, "surroundings", self.keys[row]), len(self.rows)
            one = (row + int(rng.integers(1, max(2, count)))) % count  # never itself
            other = np.asarray(self.pixels[self.rows[one]])
            return with_surroundings(image, self.lungs[row], other, self.lungs[one])
        region, fill = cell
        rng = keyed_rng(self.seed, region, self.keys[row])
        return without(image, region_masks(image, self.lungs[row])[region], fill, rng)


def _grown(mask: np.ndarray, by: float) -> np.ndarray:
    """Dilate a mask (S, S) bool by this many pixels."""
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(by)) + 1,) * 2)
    return cv2.dilate(mask.astype(np.uint8), brush).astype(bool)


def _continued(image: np.ndarray, stays: np.ndarray, mean: float) -> np.ndarray:
    """Continue the remaining pixels into the region by normalised convolution (Knutsson and Westin
    1993): wider and wider Gaussian means; each pixel takes the narrowest that reaches it.
    """
    weight = stays.astype(np.float32)
    result, reached = np.full(image.shape, mean, np.float32), np.zeros(image.shape, bool)
    for sigma in (share * len(image) for share in (0.02, 0.05, 0.12, 0.3)):
        shrink = max(1, int(sigma // 3))  # a wide blur loses nothing on a smaller image
        size = (-(-image.shape[1] // shrink), -(-image.shape[0] // shrink))
        parts = [
            cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            for part in (image * weight, weight)
        ]
        total, share = (
            cv2.resize(cv2.GaussianBlur(part, (0, 0), sigma / shrink), image.shape[::-1])
            for part in parts
        )
        here = (share > 0.05) & ~reached
        result[here] = total[here] / share[here]
        reached |= here
    return cv2.GaussianBlur(np.where(stays, image, result), (0, 0), 0.01 * len(image))
