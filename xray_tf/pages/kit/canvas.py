"""Create the figures that all plots are drawn on: matplotlib without pyplot and without global
state, with common colours, titles and grid.

A class has the same colour in every plot (the palette of Okabe & Ito, which colour-blind readers
can tell apart). Plots have a white background, so they look the same on light and dark pages.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, MUTED, FAINT = "#1f2933", "#5b6770", "#dfe4e8"
DASHED = (0, (4, 4))


class Picture(Figure):
    """A matplotlib Figure that a notebook shows as PNG even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return to_png_bytes(self)


class Photographs(Figure):
    """The same for photographs, which are several times smaller as JPEG."""

    def _repr_jpeg_(self) -> bytes:
        return to_jpeg_bytes(self)


def to_png_bytes(figure: Figure, dpi: int = 150) -> bytes:
    """Return the figure as PNG, without an alpha channel, since the ground is white."""
    plain = {"compress_level": 0}  # it is compressed below
    drawn = np.frombuffer(_to_bytes(figure, format="png", dpi=dpi, pil_kwargs=plain), np.uint8)
    pixels, how = cv2.imdecode(drawn, cv2.IMREAD_COLOR), [cv2.IMWRITE_PNG_COMPRESSION, 6]
    return cv2.imencode(".png", pixels, how)[1].tobytes()


def to_jpeg_bytes(figure: Figure, dpi: int = 150, quality: int = 85) -> bytes:
    """Return the figure as JPEG."""
    return _to_bytes(figure, format="jpeg", dpi=dpi, pil_kwargs={"quality": quality})


def _to_bytes(figure: Figure, **how: Any) -> bytes:
    stream = io.BytesIO()
    _take_literally(figure)
    FigureCanvasAgg(figure)
    figure.savefig(stream, **how)
    return stream.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG with text as outlines; equal drawings give equal bytes."""
    stream = io.StringIO()
    _take_literally(figure)
    with matplotlib.rc_context({"svg.hashsalt": "xray_tf"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _take_literally(figure: Figure) -> None:
    """Show names as they are: dollar signs begin no formula, and bytes that are not UTF-8 are
    escaped. The ticks of logarithmic axes keep their powers.
    """
    powers = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        names = [label.get_text() for label in axis.get_ticklabels()]
        if axis.get_scale() == "log":
            powers |= set(axis.get_ticklabels(which="both"))
        elif names != [_escaped(name) for name in names]:  # else drawing would write them anew
            axis.set_ticks(axis.get_majorticklocs(), [_escaped(name) for name in names])
    for text in figure.findobj(Text):
        if text not in powers:
            text.set_parse_math(False)
            text.set_text(_escaped(text.get_text()))


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def canvas(width: float, height: float, pad: float = 0.1, kind: type[Figure] = Picture) -> Figure:
    """Create an empty figure; sizes are in inches."""
    figure = kind(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=pad, h_pad=pad)
    return figure


def dress(
    axes, title: str, x_label: str = "", y_label: str = "", grid: bool = True, size: float = 12.5
) -> None:
    """Give axes a title, labels, spines and grid; `size` is that of the title in points, and other
    texts scale with it.
    """
    axes.set_title(title, loc="left", fontsize=size, fontweight="bold", color=INK, pad=0.72 * size)
    axes.set_xlabel(x_label, color=MUTED, fontsize=0.8 * size)
    axes.set_ylabel(y_label, color=MUTED, fontsize=0.8 * size)
    axes.tick_params(colors=INK, labelsize=0.76 * size, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab4bc")
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=FAINT, linewidth=0.8)
