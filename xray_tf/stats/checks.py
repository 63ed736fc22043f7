"""Refuse arrays that do not fit, each kind in one place and with one message."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ROWS = 512  # at a time: memory does not grow with the number of rows


def finite_rows(x, name: str, inner: Sequence[int | str], least: int = 1) -> np.ndarray:
    """Return `x` as an array of finite numbers (N, *inner) with `least` rows or more.

    Args:
        x: anything NumPy takes.
        name: what it is called in messages.
        inner: the lengths of a row's axes; a text stands for any length from 1 on.
        least: rows.

    Raises:
        ValueError: it is not that.
    """
    x = np.asarray(x)
    fits = x.ndim == 1 + len(inner) and np.issubdtype(x.dtype, np.number)
    if fits:
        pairs = zip(inner, x.shape[1:], strict=True)
        fits = all(n > 0 if isinstance(wanted, str) else n == wanted for wanted, n in pairs)
    if not fits or len(x) < least:
        shape = ", ".join(["N", *map(str, inner)])
        raise ValueError(
            f"{name} must be ({shape}) finite numbers, N at least {least}. Received: shape "
            f"{x.shape}, {x.dtype}"
        )
    parts = (x[i : i + _ROWS] for i in range(0, len(x), _ROWS))
    if bad := sum(int((~np.isfinite(p.reshape(len(p), -1))).any(axis=1).sum()) for p in parts):
        raise ValueError(
            f"{name} must be finite. Received: {bad} of {len(x)} rows that are not finite"
        )
    return x


def class_indices(labels, name: str, rows: int, classes: int) -> np.ndarray:
    """Return `labels` as (rows,) integers in [0, classes).

    Raises:
        ValueError: they are not that.
    """
    labels = np.asarray(labels)
    fits = labels.shape == (rows,) and np.issubdtype(labels.dtype, np.integer)
    if not fits or rows and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"{name} must be ({rows},) integers in [0, {classes - 1}], one a row; leave out rows "
            f"that are unlabelled or unreadable. Received: shape {labels.shape}, {labels.dtype}, "
            f"values {np.unique(labels)[:8].tolist()}"
        )
    return labels


def whole(least: int = 1, **numbers) -> None:
    """Raise ValueError unless each of the numbers is a whole one from `least` on."""
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ValueError(
                f"{name} must be a whole number from {least} on. Received: {name}={value!r}"
            )
