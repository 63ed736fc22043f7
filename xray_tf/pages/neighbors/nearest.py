"""The page of nearest cases: each radiograph asked about, the training radiographs beside it, and
how unusual it is.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from xray_tf.artifact import Card
from xray_tf.data.predictions import Prediction
from xray_tf.pages.kit.figures import to_png_bytes
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import NOTICE

UNUSUAL = 95  # percentile from which a warning is shown


@dataclass(frozen=True)
class Query:
    """One radiograph asked about.

    Attributes:
        prediction: the neighbours' vote on it.
        near: its neighbours, nearest first: rows with rank, label, subtype, distance, patient, path
            and unusual.
        panel: the radiographs side by side.
        known: the same file is among the training radiographs; it and its patient's were passed
            over.
        same_patient: its patient key is among theirs; those were passed over.
    """

    prediction: Prediction
    near: Sequence[Any]
    panel: Figure
    known: bool
    same_patient: bool


def render_nearest(
    card: Card,
    class_names: Sequence[str],
    recipe: str,
    queries: Sequence[Query],
    folder: str,
    missing: int,
) -> str:
    """Return the page.

    Args:
        card: of the model.
        class_names: in the order of the votes.
        recipe: how neighbours vote, in words.
        queries: what was asked.
        folder: where the neighbours' files were looked for; empty where nobody named one.
        missing: how many neighbours' files were not found there.
    """
    note = ""
    if not folder:
        note = (
            "The artifact carries no radiographs, and no folder was named in which to look for "
            "them (--data), so the neighbours have no pictures."
        )
    elif missing:
        note = (
            f"{missing} neighbours' files are not in the folder named (they are looked for by "
            "their bytes), so those have no pictures."
        )
    body = "\n".join(_query(q, class_names) for q in queries)
    said = f'<p class="warning" role="note">{_e(note)}</p>' if note else ""
    content = f"""<header><p class="eyebrow">xray_tf nearest cases</p><h1>Nearest training radiographs</h1>
<p class="lead">What {_e(card.name)} was trained on that it sees as most alike. Votes: {_e(recipe)}.</p></header>
<p class="notice">{_e(NOTICE)}</p>
{said}
{body}"""
    return html_page(f"Nearest training radiographs: {card.name}", content, NOTICE)


def _query(query: Query, class_names: Sequence[str]) -> str:
    row, near = query.prediction, query.near
    shares = ", ".join(f"{n} {p:.3f}" for n, p in zip(class_names, row.probabilities, strict=True))
    unusual = near[0].unusual if near else float("nan")
    out = [
        f"<section><h2>{_e(row.path)}</h2>",
        "<p>The neighbours' vote: "
        f"<strong>{_e(row.predicted)}</strong> ({_e(shares)}). "
        f"Its neighbours are farther away than those of {unusual:.0f} % of the training "
        "radiographs.</p>",
    ]
    if unusual >= UNUSUAL:
        out.append(
            '<p class="warning" role="note">It is unlike the training radiographs; what '
            "the model says of it deserves little trust.</p>"
        )
    if query.known or query.same_patient:
        what = "The same file is" if query.known else "Radiographs with its patient key are"
        out.append(
            f'<p class="warning" role="note">{what} among the training radiographs; all of '
            "that patient's were passed over.</p>"
        )
    picture = base64.b64encode(to_png_bytes(query.panel)).decode("ascii")
    out.append(
        '<figure><img alt="The radiograph asked about and its nearest, in the order of '
        f'the table" src="data:image/png;base64,{picture}"></figure>'
    )
    cells = [(r.label, r.subtype, f"{r.distance:.4f}", r.patient, r.path) for r in near]
    body = "".join(
        f"<tr><th scope='row'>{r.rank}</th>" + "".join(f"<td>{_e(v)}</td>" for v in c) + "</tr>"
        for r, c in zip(near, cells, strict=True)
    )
    out.append(
        '<div class="scroll" tabindex="0" role="region" '
        'aria-label="Neighbours"><table><caption>Neighbours</caption><thead><tr>'
        + "".join(
            f'<th scope="col">{h}</th>'
            for h in ("rank", "label", "sub-type", "distance", "patient key", "file")
        )
        + f"</tr></thead><tbody>{body}</tbody></table></div></section>"
    )
    return "\n".join(out)


def _e(value: Any) -> str:
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)
