"""Group radiographs that are copies of one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import cv2
import numpy as np

from xray_tf.data.kin import join, members
from xray_tf.data.records import Record

THUMBNAIL = 64
# Calibrated on the 5,216 training radiographs: distinct ones correlate at most 0.971; the same one
# at another size or JPEG quality at least 0.998, with another tone curve 0.995, turned by a degree
# 0.98.
NEAR_CORRELATION = 0.985
SCREEN = 0.975
# Of low frequencies alone. On the same radiographs distinct ones reach 0.989; a copy at another
# size or JPEG quality has 0.9999, with a gamma of 1.3 0.993, turned by a degree 0.994.
SAME_LOOK = 0.992


def exact_groups(rows: Iterable[Record]) -> list[list[Record]]:
    """Group rows of equal sha256, two or more in each."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.sha256].append(row)
    return [group for group in groups.values() if len(group) > 1]


def near_groups(rows: list[Record], thumbnails: np.ndarray) -> list[list[Record]]:
    """Group rows that show the same picture in different bytes; of byte-for-byte copies only the
    first is compared.

    Args:
        rows: N records.
        thumbnails: (N, 64, 64) uint8 in [0, 255].
    """
    first = {}
    for index, row in enumerate(rows):
        first.setdefault(row.sha256, index)
    chosen = np.array(list(first.values()), np.int64)
    groups = members(join(len(chosen), near_pairs(thumbnails[chosen])))
    return [[rows[i] for i in chosen[group]] for group in groups if len(group) > 1]


def near_copies(rows: list[Record], thumbnails: np.ndarray) -> list[tuple[str, str]]:
    """Return the paths of each pair that shows the same picture in different bytes.

    Args:
        rows: N records.
        thumbnails: (N, 64, 64) uint8 in [0, 255].
    """
    groups = near_groups(rows, thumbnails)
    return [(group[0].path, row.path) for group in groups for row in group[1:]]


def near_pairs(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Find pairs of thumbnails that show the same picture: normalised correlation of at least
    `NEAR_CORRELATION`.

    All pairs are screened by the correlation of their low frequencies, in blocks of one matrix
    product. Where a share e of the variance of both pictures, at most, lies in the other
    frequencies, that is at least (NEAR_CORRELATION - e) / (1 - e) by Cauchy-Schwarz: `SCREEN`
    misses nothing while e <= 0.4 (radiographs: median 0.07, at most 0.34).

    Args:
        thumbnails: (N, 64, 64) uint8 in [0, 255].

    Returns:
        (i, j) with i < j, in order.
    """
    low = low_frequencies(thumbnails)
    pairs = []
    for top in range(0, len(low), 1024):
        for left in range(top, len(low), 8192):
            block = low[top : top + 1024] @ low[left : left + 8192].T
            i, j = np.unravel_index(np.flatnonzero(block >= SCREEN), block.shape)
            i, j = i + top, j + left
            i, j = i[i < j], j[i < j]
            for start in range(0, len(i), 1024):
                some = slice(start, start + 1024)
                same = correlation(thumbnails[i[some]], thumbnails[j[some]]) >= NEAR_CORRELATION
                pairs += zip(i[some][same].tolist(), j[some][same].tolist(), strict=True)
    return sorted(pairs)


def low_frequencies(thumbnails: np.ndarray) -> np.ndarray:
    """Return the 12 x 12 lowest coefficients of the orthonormal cosine transform (DCT-II) but the
    mean, scaled to length 1.

    Args:
        thumbnails: (N, 64, 64) uint8 in [0, 255].

    Returns:
        (N, 143) float32, zeros for a flat picture; the product of two rows is the correlation of
        the low-passed pictures.
    """
    # (12, 64)
    basis = (
        np.sqrt(2 / THUMBNAIL)
        * np.cos(np.pi / (2 * THUMBNAIL) * np.arange(12)[:, None] * (2 * np.arange(THUMBNAIL) + 1))
    ).astype(np.float32)
    low = np.zeros((len(thumbnails), 143), np.float32)
    for start in range(0, len(thumbnails), 1024):
        block = thumbnails[start : start + 1024].astype(np.float32)
        block -= block.mean((1, 2), keepdims=True)
        low[start : start + 1024] = (basis @ block @ basis.T).reshape(len(block), -1)[:, 1:]
    # the first row and column of the basis are longer by sqrt(2) than an orthonormal transform has
    # them
    low /= np.array([np.sqrt(2) if k < 12 or k % 12 == 0 else 1 for k in range(1, 144)], np.float32)
    norm = np.linalg.norm(low, axis=1, keepdims=True)
    return np.divide(low, norm, out=np.zeros_like(low), where=norm > 0)


def looks_of(pixels: Iterable[np.ndarray]) -> np.ndarray:
    """Return a perceptual hash of each picture: its low frequencies in 8 bits.

    Args:
        pixels: N pictures (S, S) uint8 in [0, 255].

    Returns:
        (N, 143) int8; see `look_alikes`.
    """
    side = (THUMBNAIL, THUMBNAIL)
    small = [cv2.resize(np.asarray(p), side, interpolation=cv2.INTER_AREA) for p in pixels]
    low = low_frequencies(np.array(small, np.uint8).reshape(-1, *side))
    peak = np.abs(low).max(axis=1, keepdims=True)
    return np.round(np.divide(127 * low, peak, out=np.zeros_like(low), where=peak > 0)).astype(
        np.int8
    )


def look_alikes(asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which of the known pictures each of those asked about is a copy of, by `looks_of`:
    (M,) int64, -1 for none.
    """
    if not len(known) or not len(asked):
        return np.full(len(asked), -1, np.int64)
    a, b = (
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        for x in (asked.astype(np.float32), known.astype(np.float32))
    )
    alike = a @ b.T
    return np.where(alike.max(axis=1) >= SAME_LOOK, alike.argmax(axis=1), -1).astype(np.int64)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the normalised (Pearson) correlation of picture k of `a` with picture k of `b`; 0
    where one of them is flat.

    Args:
        a, b: (n, H, W) uint8.

    Returns:
        (n,) float32 in [-1, 1].
    """
    a, b = (x.reshape(len(x), -1).astype(np.float32) for x in (a, b))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), norm, out=np.zeros_like(norm), where=norm > 0)
