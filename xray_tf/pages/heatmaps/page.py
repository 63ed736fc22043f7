"""One self-contained page of heat maps: pictures and rows in, HTML out; nothing is loaded from
elsewhere, and no script runs.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import NOTICE

LIMITS = (
    "A heat map shows where the net's score came from. It shows neither that the net is "
    "right nor that a finding is there, and a map on a marker, "
    "a border or outside the lungs is a reason for distrust. Each map is scaled by its own "
    "maximum, so colours do not compare between radiographs."
)
_PANELS = (
    '<div class="figures" '
    'style="grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr))">'
)  # three pictures wide
_QUALITY = 88  # of JPEG; the folder holds every overlay without loss


@dataclass(frozen=True)
class Shown:
    """One radiograph on the page.

    Attributes:
        path: the file as it was asked for.
        decided: the class name decided, and its calibrated `probability`.
        explained: the class name the map is for.
        empty: whether the map holds no evidence.
        label: the true class name, empty where it is not known.
        picture: (H, W, 3) uint8 RGB.
    """

    path: str
    decided: str
    probability: float
    explained: str
    empty: bool
    label: str
    picture: np.ndarray


def render_explanations(
    title: str,
    facts: Sequence[str],
    shown: Sequence[Shown],
    total: int,
    errors: Sequence[tuple[str, str]] = (),
    grid: np.ndarray | None = None,
    rule: str = "",
) -> str:
    """Return the page.

    Args:
        title: the model's name.
        facts: sentences on the method, the layer and the class explained.
        shown: the radiographs to show, of `total`.
        errors: (path, why) of files that could not be read.
        grid: (H, W, 3) uint8 RGB, hits and misses chosen by `rule`; None where no label is known.
    """
    empty = [s.path for s in shown if s.empty]
    parts = [
        f'<header><p class="eyebrow">xray_tf explanations</p><h1>{_e(title)}</h1><p '
        f'class="lead">{_e(f"{total:,} radiographs explained.")}</p></header>',
        f'<p class="notice">{_e(NOTICE)}</p>',
        f'<p class="warning" role="note">{_e(LIMITS)}</p>',
        "<ul>" + "".join(f"<li>{_e(fact)}</li>" for fact in facts) + "</ul>",
    ]
    if empty:
        parts.append(
            f'<p class="warning" role="note"><strong>Empty maps: {len(empty)} of those '
            "shown.</strong> Nothing in the layer speaks for the class "
            "explained; the radiograph is shown as it is.</p>"
        )
    if grid is not None:
        said = f"<p>{_e(rule)} p is that probability.</p>"
        parts.append(
            _section(
                "outcomes",
                "Right and wrong",
                said
                + _figure(
                    grid,
                    "Overlays of true positives, "
                    "false positives, true negatives and false "
                    "negatives, one row "
                    "each.",
                ),
            )
        )
    more = (
        f"<p>{_e(f'The first {len(shown):,} of {total:,}; the folder holds all.')}</p>"
        if len(shown) < total
        else ""
    )
    parts.append(
        _section(
            "radiographs", "Radiographs", more + _PANELS + "".join(map(_card, shown)) + "</div>"
        )
    )
    if errors:
        rows = "".join(
            f'<tr><th scope="row">{_e(path)}</th><td>{_e(why)}</td></tr>' for path, why in errors
        )
        parts.append(
            _section(
                "errors",
                f"Not read ({len(errors):,})",
                '<div class="scroll" '
                'tabindex="0" role="region" aria-label="Files not read"><table>'
                "<caption>Files not "
                f"read</caption><tbody>{rows}</tbody></table></div>",
            )
        )
    return html_page(f"{title}: explanations", "\n".join(parts), NOTICE)


def _card(one: Shown) -> str:
    said = f"decided {one.decided} (probability {one.probability:.3f})" + (
        f", truly {one.label}" if one.label else ""
    )
    map_of = f"map for {one.explained}" + (", empty" if one.empty else "")
    caption = (
        "<figcaption "
        f"style='overflow-wrap:anywhere'><strong>{_e(one.path)}</strong><br>{_e(said)}<br>{_e(map_of)}</figcaption>"
    )
    return _figure(one.picture, f"Radiograph, overlay and top region. {said}; {map_of}.", caption)


def _figure(picture: np.ndarray, alt: str, caption: str = "") -> str:
    encoded = cv2.imencode(
        ".jpeg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, _QUALITY)
    )[1]
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    return (
        f'<figure style="color:#1f2933"><img loading="lazy" alt="{_e(alt)}" '
        f'src="data:image/jpeg;base64,{data}">{caption}</figure>'
    )


def _section(key: str, title: str, body: str) -> str:
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 '
        f'id="{key}-title">{_e(title)}</h2>\n{body}\n</section>'
    )


def _e(value: Any) -> str:
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)
