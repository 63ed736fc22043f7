"""The evidence on one radiograph: what was decided and how close it was, where the score came from,
what it resembles, what to distrust.

One self-contained page for one radiograph or several; in a notebook the same, as a fragment that
keeps its styles to itself.
"""

from __future__ import annotations

import base64
import html
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xray_tf.artifact import Card, refuse_existing, write_text
from xray_tf.data.predictions import Prediction
from xray_tf.pages.evidence.style import EVIDENCE_STYLE
from xray_tf.pages.kit.overlays import contour, overlay
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.style import STYLE
from xray_tf.pages.kit.words import NOTICE, meanings_text

MAP_LIMITS = (
    "Red is where most of the score came from, blue where none did; each map is scaled "
    "by its own maximum. "
    "A map shows neither that the net is right nor that a finding is there."
)
_QUALITY = 90  # of JPEG


@dataclass(frozen=True)
class Caveat:
    """One thing that speaks against trusting an answer: a short `kind`, a sentence, and whether it
    is `serious` or worth knowing only.
    """

    kind: str
    text: str
    serious: bool


@dataclass(frozen=True)
class Neighbors:
    """What the nearest training radiographs say.

    Attributes:
        rows: nearest first, each with rank, label, subtype, distance, patient, path and sha256
            (`jobs.neighbors.NearestCase`).
        vote: their decision and shares, in the order of `class_names`.
        unusual: percentile in [0, 100] of the mean neighbour distance among training radiographs'
            own.
        recipe: how neighbours are found and vote, in words.
        pictures: sha256 -> (S, S) uint8, of those whose files were found.
        folder: whether a folder was named in which to look for them.
        known, same_patient: the same file, or radiographs with the same patient key, are among the
            training radiographs.
    """

    rows: tuple[Any, ...]
    vote: Prediction
    class_names: tuple[str, ...]
    unusual: float
    recipe: str
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    folder: bool = False
    known: bool = False
    same_patient: bool = False


@dataclass(frozen=True)
class Anomaly:
    """A detector's verdict.

    Attributes:
        name: of the detector.
        flagged: whether it finds the radiograph unlike normal ones.
        score: in [0, 1]; flagged from 0.5 on.
        reason: which scores raise it, in words; empty where none does.
        scores: (name, value, percentile in [0, 100] among held-out normals) of each raw score.
        picture: (H, W, 3) uint8, the radiograph under a map of where it is unusual; None where
            there is none.
    """

    name: str
    flagged: bool
    score: float
    reason: str = ""
    scores: tuple[tuple[str, float, float], ...] = ()
    picture: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Evidence:
    """All that was found out about one radiograph; a notebook shows it, `save` writes it as a page.

    Attributes:
        name: the file, or what it was called.
        card: of the model.
        prediction: calibrated probabilities and the decision.
        operating_point: the name of the point decided at.
        called_from: for each class, the probability it is decided from, the others keeping their
            proportions.
        pixels: (S, S) uint8 in [0, 255], what the model saw.
        heatmap: (S, S) float32 in [0, 1] for the class decided; all zero where nothing speaks for
            it.
        neighbors: nearest training radiographs, None where the artifact remembers none.
        anomaly: the detector's verdict, None where none was asked.
        caveats: what speaks against trusting it, the serious first.
        size: (width, height) of the file, pixels; (0, 0) where not known.
        mode, sha256: of the file.
    """

    name: str
    card: Card
    prediction: Prediction
    operating_point: str
    called_from: tuple[float, ...]
    pixels: np.ndarray = field(repr=False)
    heatmap: np.ndarray = field(repr=False)
    neighbors: Neighbors | None = None
    anomaly: Anomaly | None = None
    caveats: tuple[Caveat, ...] = ()
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    sha256: str = ""

    @property
    def probability(self) -> float:
        """The calibrated probability of the class decided."""
        return self.prediction.probabilities[self.card.class_names.index(self.prediction.predicted)]

    def save(self, path: str | os.PathLike) -> Path:
        """Write it as a self-contained page and return the path.

        Raises:
            FileExistsError: `path` is there; nothing is ever overwritten.
        """
        refuse_existing(path)
        write_text(path, render_evidence([self]))
        return Path(path)

    def __repr__(self) -> str:
        serious = sum(c.serious for c in self.caveats)
        minor = len(self.caveats) - serious
        return (
            f"Evidence({self.name!r}: {self.prediction.predicted} {self.probability:.3f}; "
            f"caveats: {serious} serious, {minor} minor)"
        )

    def _repr_html_(self) -> str:
        key = f"x{zlib.crc32(_text(self.name).encode()):08x}"  # several may stand in one notebook
        return (
            "<div "
            f'class="xray-evidence"><style>{scoped(STYLE + EVIDENCE_STYLE)}</style>{_article(self, 3, key)}<p '
            f'class="notice">{_e(NOTICE)}</p></div>'
        )


def render_evidence(
    shown: Sequence[Evidence], unread: Sequence[tuple[str, str]] = (), total: int | None = None
) -> str:
    """Return one page.

    Args:
        shown: one radiograph or more; none only where `unread` says why.
        unread: (path, why) of files that could not be read.
        total: how many files were asked about, where not all are here.
    """
    count = len(shown) + len(unread)
    title = (
        os.path.basename(shown[0].name)
        if count == 1 and shown
        else (f"{len(shown):,} radiograph{'s' * (len(shown) != 1)}")
    )
    model = f" by {shown[0].card.name}" if shown else ""
    left_out = (
        f"<p>The first {count:,} of {total:,} files; predictions.csv holds all.</p>"
        if total and total > count
        else ""
    )
    parts = [
        f'<header><p class="eyebrow">xray_tf evidence</p><h1>{_e(title)}</h1><p '
        f'class="lead">What was decided{_e(model)}, why, and what to distrust.</p>'
        f"{left_out}</header>",
        f'<p class="notice">{_e(NOTICE)}</p>',
    ]
    if count > 1:
        parts.append(_contents(shown))
    if unread:
        rows = "".join(
            f'<tr><th scope="row">{_e(path)}</th><td>{_e(why)}</td></tr>' for path, why in unread
        )
        table = _scrolled("Files not read", rows, ("file", "why"))
        parts.append(
            '<section aria-labelledby="unread"><h2 id="unread">Not read '
            f"({len(unread):,})</h2>{table}</section>"
        )
    parts += [_article(e, 2, f"r{i}", count > 1) for i, e in enumerate(shown, 1)]
    return html_page(f"Evidence: {_text(title)}", "\n".join(parts), NOTICE, EVIDENCE_STYLE)


def scoped(style: str) -> str:
    """Return a style sheet that applies inside `.xray-evidence` only, by CSS nesting: its page-wide
    rules become that element's.
    """
    inner = re.sub(r"(?<![\w-])(?::root|body)(?=\s*\{)", "&", style)
    return (
        ".xray-evidence {"
        + re.sub(r"(?<![\w-])html\s*\{[^}]*\}", "", inner)
        + ("padding: 1rem; border-radius: 0.6rem; }")
    )


def _contents(shown: Sequence[Evidence]) -> str:
    rows = ""
    for i, e in enumerate(shown, 1):
        serious = ", ".join(c.kind for c in e.caveats if c.serious) or (
            "no rule found anything serious"
        )
        rows += (
            '<tr><th scope="row"><a '
            f'href="#r{i}">{_e(os.path.basename(e.name))}</a></th><td>{_e(e.prediction.predicted)}</td>'
            "<td><span "
            f'class="number">{e.probability:.3f}</span></td><td>{_e(serious)}</td></tr>'
        )
    table = _scrolled(
        "Radiographs on this page", rows, ("file", "decided", "its probability", "to distrust")
    )
    return f'<section aria-labelledby="all"><h2 id="all">On this page</h2>{table}</section>'


def _article(e: Evidence, level: int, key: str = "one", named: bool = True) -> str:
    title = f'<h{level} class="name">{_e(os.path.basename(e.name))}</h{level}>' if named else ""
    sub = level + 1 if named else level
    parts = [
        ("decision", "Decision", _decision(e)),
        ("distrust", "What to distrust", _caveats(e)),
        ("map", "Where the score came from", _map(e)),
        ("near", "Nearest training radiographs", _near(e)),
        ("anomaly", "Anomaly", _anomaly(e)),
        ("facts", "How this was made", _facts(e)),
    ]
    body = "".join(
        f'<section aria-labelledby="{key}-{name}"><h{sub} '
        f'id="{key}-{name}">{words}</h{sub}>{content}</section>'
        for name, words, content in parts
        if content
    )
    return f'<article id="{key}" class="evidence" aria-label="{_e(e.name)}">{title}{body}</article>'


def _decision(e: Evidence) -> str:
    names, p = e.card.class_names, e.prediction.probabilities
    classes = range(len(names)) if len(names) > 2 else (len(names) - 1,)
    scales = "".join(
        _scale(names[k], p[k], e.called_from[k], names[0] if len(names) == 2 else f"not {names[k]}")
        for k in classes
    )
    rule = e.card.point(e.operating_point).words(names)
    of = names[-1] if len(names) == 2 else e.prediction.predicted  # the class whose scale is drawn
    verdict = (
        f"Decided: <strong>{_e(e.prediction.predicted)}</strong>, calibrated probability of "
        f"{_e(of)} <strong>{p[names.index(of)]:.3f}</strong>"
    )
    return (
        f'<p class="verdict">{verdict}</p>{scales}'
        f'<p class="small">Operating point {_e(e.operating_point)}: {_e(rule)}; fitted on '
        "validation radiographs. The upright line is the probability, "
        "the coloured part where the class is called"
        + ("." if len(names) == 2 else ", the other classes keeping their proportions.")
        + "</p>"
    )


def _scale(
    name: str, probability: float, called_from: float, otherwise: str, what: str = ""
) -> str:
    """One class's probability from 0 to 1, with the part of the scale on which the class is
    called.
    """
    at, limit = 100 * probability, 100 * called_from
    said = (
        f"{what or f'Probability of {name}'} {probability:.3f} on a scale from 0 to 1; called "
        f"{name} from {called_from:.3f} on"
    )
    ends = f"<span>{_e(otherwise)}</span><span>{_e(name)} from {called_from:.3f}</span>"
    return (
        f'<div class="scale" role="img" aria-label="{_e(said)}"><div class="ends">{ends}</div>'
        f'<div class="track"><i style="left:{limit:.2f}%"></i><b '
        f'style="left:{at:.2f}%"></b></div>'
        '<div class="value"><span '
        f'style="left:{at:.2f}%;transform:translateX(-{at:.2f}%)">{probability:.3f}</span></div></div>'
    )


def _caveats(e: Evidence) -> str:
    if not e.caveats:
        return (
            "<p>None of the checks made found a reason. That is no proof that the answer is "
            "right, or that this is a chest radiograph.</p>"
        )
    return (
        '<ul class="caveats">'
        + "".join(
            "<li "
            f'class="{"serious" if c.serious else "minor"}"><strong>{_e(c.kind.capitalize())}.</strong> '
            f"{_e(c.text)}</li>"
            for c in e.caveats
        )
        + "</ul>"
    )


def _map(e: Evidence) -> str:
    decided, empty = e.prediction.predicted, not e.heatmap.any()
    pictures = [(e.pixels, "What the model saw", "The radiograph as the model saw it")]
    if not empty:
        pictures += [
            (
                overlay(e.pixels, e.heatmap),
                f"Grad-CAM for {decided}",
                f"The radiograph under a heat map of what speaks for {decided}",
            ),
            (
                contour(e.pixels, e.heatmap),
                "The hottest region",
                "The radiograph with the hottest region of the map outlined",
            ),
        ]
    figures = "".join(
        _figure(picture, words, f"{alt}: {place_text(e.heatmap)}" if i else alt)
        for i, (picture, words, alt) in enumerate(pictures)
    )
    said = (
        "<p>The map is empty: nothing in the feature map speaks for the class decided.</p>"
        if empty
        else (f'<p class="small">{_e(MAP_LIMITS)}</p>')
    )
    return f'<div class="pictures">{figures}</div>{said}'


def place_text(heat: np.ndarray) -> str:
    """Say in words where a map (H, W) has its maximum, as seen on the picture."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    words = [
        ("upper", "middle", "lower")[min(2, 3 * int(row) // heat.shape[0])],
        ("left", "centre", "right")[min(2, 3 * int(column) // heat.shape[1])],
    ]
    return f"the maximum lies in the {words[0]} {words[1]} of the picture"


def _near(e: Evidence) -> str:
    near = e.neighbors
    if near is None or not near.rows:
        return ""
    shares = ", ".join(
        f"{n} {p:.3f}" for n, p in zip(near.class_names, near.vote.probabilities, strict=True)
    )
    cards = ""
    for r in near.rows:
        label, picture = r.subtype or r.label, near.pictures.get(r.sha256)
        shown = (
            _image(picture, f"Training radiograph {r.rank}: {label}")
            if picture is not None
            else ('<span class="none">no picture</span>')
        )
        cards += (
            f"<li>{shown}<strong>{_e(label)}</strong><span>distance {r.distance:.3f}</span>"
            f'<span class="small">{_e(r.patient or "patient not known")}</span><span '
            f'class="small">{_e(os.path.basename(r.path))}</span></li>'
        )
    without = (
        ""
        if len(near.pictures) == len({r.sha256 for r in near.rows})
        else (
            '<p class="small">'
            + (
                "Some neighbours' files are not in the folder named; they are "
                "looked for by their bytes."
                if near.folder
                else "Artifacts carry no radiographs; the folder with the training "
                "data, given as data, brings pictures."
            )
            + "</p>"
        )
    )
    return (
        f"<p>The neighbours' vote: <strong>{_e(near.vote.predicted)}</strong> ({_e(shares)}). "
        "They are farther away than those of "
        f"{near.unusual:.0f} % of the training radiographs.</p><ol "
        f'class="cases">{cards}</ol>{without}<p class="small">Votes: {_e(near.recipe)}. '
        "Patient keys come from file names and are no verified identities.</p>"
    )


def _anomaly(e: Evidence) -> str:
    if e.anomaly is None:
        return ""
    a = e.anomaly
    rows = "".join(
        f'<tr><th scope="row">{_e(name.replace("_", " "))}</th><td '
        f'class="number">{value:.4g}</td><td>{percentile:.1f}</td></tr>'
        for name, value, percentile in a.scores
    )
    table = (
        _scrolled("Anomaly scores", rows, ("score", "value", "percentile among normals"))
        if rows
        else ""
    )
    table += (
        f'<p class="small">{_e(meanings_text([name for name, *_ in a.scores]))}</p>' if rows else ""
    )
    picture = (
        ""
        if a.picture is None
        else (
            "<div "
            f'class="pictures">{_figure(a.picture, "Where it is unlike normals", "The radiograph under a map of what is unlike normal radiographs")}</div>'
        )
    )
    verdict = "unlike normal radiographs" if a.flagged else "like normal radiographs"
    why = f" (raised by {_e(a.reason)})" if a.reason else ""
    scale = _scale("anomalous", a.score, 0.5, "like normals", "Anomaly score")
    return (
        f"<p>The detector {_e(a.name)} finds it "
        f"<strong>{verdict}</strong>{why}.</p>{scale}{table}{picture}"
    )


def _facts(e: Evidence) -> str:
    prep = e.card.preprocessing
    size = f"{e.size[0]} x {e.size[1]} pixels" if all(e.size) else "not known"
    rows = [
        ("file", e.name),
        ("size and mode", f"{size}, {e.mode or 'mode not known'}"),
        ("sha256", e.sha256 or "not known"),
        ("model", f"{e.card.name} ({e.card.task}: {', '.join(e.card.class_names)})"),
        (
            "input",
            f"{prep.get('image_size')} x {prep.get('image_size')} pixels, {prep.get('resize')}",
        ),
        ("temperature", f"{e.card.temperature:.3f}"),
        (
            "probabilities",
            ", ".join(
                f"{n} {p:.4f}"
                for n, p in zip(e.card.class_names, e.prediction.probabilities, strict=True)
            ),
        ),
    ]
    return (
        "<details><summary>File, model and settings</summary>"
        + _scrolled(
            "How this was made",
            "".join(f'<tr><th scope="row">{_e(k)}</th><td>{_e(v)}</td></tr>' for k, v in rows),
            ("what", "value"),
        )
        + "</details>"
    )


def _scrolled(caption: str, rows: str, head: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{_e(h)}</th>' for h in head)
    return (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{_e(caption)}"><table><caption>{_e(caption)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _figure(picture: np.ndarray, words: str, alt: str) -> str:
    return f"<figure>{_image(picture, alt)}<figcaption>{_e(words)}</figcaption></figure>"


def _image(picture: np.ndarray, alt: str) -> str:
    """An <img> of grey (H, W) or RGB (H, W, 3) uint8."""
    stored = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    data = base64.b64encode(
        cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    ).decode()
    return (
        f'<img alt="{_e(alt)}" width="{picture.shape[1]}" height="{picture.shape[0]}" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _e(value: Any) -> str:
    return html.escape(_text(value), quote=True)
