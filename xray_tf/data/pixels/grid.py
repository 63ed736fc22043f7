"""Rows of a pixel array under several changes, made when they are read: nothing but the batch is in
memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class PixelGrid:
    """N rows under C changes, indexed as an array of C x N images would be: the N rows under the
    first change, then under the second, and so on.

    A subclass says in `changed` what one change does to one radiograph.

    Attributes:
        shape: (C * N, S, S).
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: Sequence[int],
        keys: Sequence[str],
        cells: Sequence[Any],
        seed: int = 0,
    ):
        """Keep what is needed to make any row.

        Args:
            pixels: (M, S, S) uint8, most often memory-mapped.
            rows: N rows of it.
            keys: N texts that name them, for chance.
            cells: C changes; None leaves the row as it is.
            seed: of chance.
        """
        self.pixels, self.rows = pixels, np.asarray(rows, np.int64)
        self.keys, self.cells, self.seed = list(keys), list(cells), seed
        self.shape = (len(self.cells) * len(self.rows), *pixels.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray:
        """Return the images (n, S, S) uint8 of the integer positions `index` (n,)."""
        return np.stack([self.image(*self.at(i)) for i in np.atleast_1d(np.asarray(index))])

    def at(self, index: int) -> tuple[int, int]:
        """Return (which of the C changes, which of the N rows) one position holds."""
        return divmod(int(index), len(self.rows))

    def image(self, cell: int, row: int) -> np.ndarray:
        """Return one row (S, S) uint8 under one change."""
        image = np.asarray(self.pixels[self.rows[row]])
        return image if self.cells[cell] is None else self.changed(image, self.cells[cell], row)

    def changed(self, image: np.ndarray, cell: Any, row: int) -> np.ndarray:
        """Return the image (S, S) uint8 of row number `row` under a change."""
        raise NotImplementedError


def keyed_rng(seed: int, *words: str) -> np.random.Generator:
    """Return a stream that the seed and the words alone decide, the same in every process."""
    sums = [zlib.crc32(word.encode("utf-8", "surrogateescape")) for word in words]
    return np.random.default_rng([int(seed), *sums])
