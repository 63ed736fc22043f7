"""The pages of anomaly detection: a detector's report and README, from its folder alone, and the
page of scored radiographs.
"""

from __future__ import annotations

import base64
import csv
import html
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from xray_tf.artifact import Card, refuse_existing, write_text
from xray_tf.data.records import Findings
from xray_tf.data.scores import Scores
from xray_tf.operating_point import DetectorPoint
from xray_tf.pages.classifier.credits import data_credit, weights_credit
from xray_tf.pages.detector import figures as anomaly_figures
from xray_tf.pages.kit import figures
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import (
    IMAGE_SPLIT,
    NAMES,
    NOTICE,
    count_text,
    data_facts,
    enumerate_text,
    interval_text,
    meanings_text,
    origin,
    range_text,
    rows_text,
    value_text,
)
from xray_tf.stats.detector.or_rule import Statistics

REPORT, PAGE, EXAMPLES, STATISTICS = "report.html", "scores.html", "examples.png", "statistics.csv"
HEADLINE = ("auroc", "sensitivity", "false_alarms", "auprc")
LIMITS = (
    "Anomalous means unlike the normal radiographs learnt from, not pneumonia: another "
    "machine, exposure, age or posture is unlike them too. Normal "
    "means within what those normals show, not healthy. A map shows where a radiograph is "
    "unlike normals there; it is no finding."
)
MAPS = (
    "Maps: reconstruction is how far the smoothed difference of image and reconstruction is "
    "from the normals' at the same pixel; features, where "
    "there is one, how unusual each patch is; lungs, how much brighter the lungs, as "
    "estimated, are than normal lungs at the same place. One scale for "
    "all radiographs: 0 is the median pixel of calibration normals, 1 what one pixel in a "
    "thousand of theirs exceeds."
)
_PANELS = (
    '<div class="figures" '
    'style="grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr))">'
)
_FINDINGS = 50


@dataclass(frozen=True)
class Shown:
    """One radiograph on the page of scores: its `row` in the table and its panel (H, W, 3) uint8
    RGB.
    """

    row: int
    picture: np.ndarray


def write_detector_report(folder: str | os.PathLike, card: Card) -> Path:
    """Write `report.html` into a detector's folder, from what lies there, and return its path.

    Raises:
        FileExistsError: there is one already.
    """
    folder = Path(folder)
    refuse_existing(folder / REPORT)
    metrics, scores = _json(folder / "metrics.json"), Scores.read_csv(folder / "scores.csv")
    examples = cv2.imread(os.fspath(folder / EXAMPLES)) if (folder / EXAMPLES).is_file() else None
    with (folder / "history.csv").open(encoding="utf-8", newline="") as stream:
        history = list(csv.DictReader(stream))
    sections = [
        (key, title, body)
        for key, title, body in (
            ("rule", "The rule", _rule(card)),
            ("measured", "What was measured", _measured(metrics)),
            (
                "statistics",
                "Scores of batches",
                _statistics(folder, scores, card.point().thresholds),
            ),
            ("examples", "Where", _examples(examples)),
            ("training", "Data and training", _training(card, history)),
            ("findings", "Findings", _findings(Findings.read_csv(folder / "audit.csv"))),
            ("provenance", "Provenance", _provenance(card)),
        )
        if body
    ]
    links = "".join(f'<a href="#{key}">{_e(title)}</a>' for key, title, _ in sections)
    parts = "\n".join(_section(key, title, body) for key, title, body in sections)
    head = [
        f'<header><p class="eyebrow">xray_tf anomaly detector</p><h1>{_e(card.name)}</h1><p '
        'class="lead">It has learnt normal chest radiographs only, and '
        "calls anomalous what departs from them.</p></header>",
        f'<p class="notice">{_e(NOTICE)}</p>',
        f'<p class="warning" role="note">{_e(LIMITS)}</p>',
    ]
    head += (
        [f'<p class="warning" role="note"><strong>Warning.</strong> {_e(IMAGE_SPLIT)}</p>']
        if card.split_by == "image"
        else []
    )
    head += [f'<p class="warning" role="note">{_e(note)}</p>' for note in card.notes]
    content = "\n".join(
        [*head, _tiles(metrics), f'<nav aria-label="Parts of this page">{links}</nav>', parts]
    )
    write_text(folder / REPORT, html_page(f"{card.name}: anomaly detector", content, NOTICE))
    return folder / REPORT


def render_scores(
    card: Card,
    scores: Scores,
    shown: Sequence[Shown],
    metrics: dict[str, Any] | None,
    thresholds: dict[str, float],
    folder: Path,
) -> str:
    """Return the page of scored radiographs.

    Args:
        card: of the detector.
        scores: all rows.
        shown: the radiographs with pictures, in the order of the page.
        metrics: the layout of metrics.json; None where nothing is labelled.
        thresholds: score -> value, as used.
        folder: holds statistics.csv.
    """
    read = scores.where(scores.read)
    flagged = int((read.verdicts == "anomalous").sum())
    notes = [
        f'<p class="warning" role="note">{_e(note)}</p>'
        for note in (LIMITS, *(metrics or {}).get("notes", ()))
    ]
    parts = [
        f'<header><p class="eyebrow">xray_tf anomaly scores</p><h1>{_e(card.name)}</h1><p '
        'class="lead">'
        f"{_e(f'{len(read):,} radiographs scored, {flagged:,} called anomalous.')}</p></header>",
        f'<p class="notice">{_e(NOTICE)}</p>',
        *notes,
        _tiles(metrics),
    ]
    if metrics:
        parts.append(_section("measured", "What was measured", _measured(metrics)))
    if len(read):
        parts.append(
            _section(
                "statistics",
                "Scores of batches",
                _statistics(folder, scores, thresholds),
            )
        )
    if shown:
        some = (
            f"The {len(shown):,} most anomalous of {len(read):,}; scores.csv holds all."
            if len(shown) < len(read)
            else ("The most anomalous first.")
        )
        cards = "".join(_card(scores, one) for one in shown)
        parts.append(
            _section(
                "radiographs", "Radiographs", f"<p>{_e(some)} {MAPS}</p>{_PANELS}{cards}</div>"
            )
        )
    errors = scores.where(~scores.read)
    if len(errors):
        parts.append(
            _section(
                "errors",
                f"Not scored ({len(errors):,})",
                _table(
                    "Not scored", ("file", "why"), zip(errors.paths, errors.errors, strict=True)
                ),
            )
        )
    return html_page(f"{card.name}: anomaly scores", "\n".join(p for p in parts if p), NOTICE)


def render_detector_summary(card: Card) -> str:
    """Return a small HTML table about a detector, for a notebook."""
    point = card.point()
    rows = [
        ("detector", card.name),
        ("rule", point.words()),
        *(
            (f"{NAMES.get(k, k)}, {card.metrics_split} rows", interval_text(v))
            for k, v in card.metrics.items()
        ),
    ]
    body = "".join(
        f"<tr><th style='text-align:left'>{_e(a)}</th><td style='text-align:left'>{_e(b)}</td></tr>"
        for a, b in rows
    )
    return f"<table>{body}</table><p>{_e(NOTICE)}</p>"


def render_detector_card(card: Card, metrics: dict[str, Any] | None) -> str:
    """Return a detector's README.md: what it is, its rule, what was measured, its limits, and how
    to make it again.
    """
    point, prep = card.point(), card.preprocessing
    lines = [f"# {card.name}", "", f"> {NOTICE}", ""] + (
        [f"> **Warning.** {IMAGE_SPLIT}", ""] if card.split_by == "image" else []
    )
    lines += [
        "An anomaly detector: it has learnt normal chest radiographs only, and calls "
        "anomalous what departs from them.",
        "",
        "## Rule",
        "",
        f"{_sentence(point.words())} {_promise(point)}",
        "",
        "## Input",
        "",
        f"Grey pixels in [0, 255], {prep['image_size']} x {prep['image_size']}, resized by "
        f"`{prep['resize']}`.",
        "",
        "## Data",
        "",
        f"{_sentence(enumerate_text(data_facts(card)))} Split by **{card.split_by}** in "
        "`split.csv`: train = learnt from, val = calibrated on, "
        "test = reported on.",
        "",
        f"* Radiographs: {data_credit(card)}",
        f"* Weights of the frozen trunk: {weights_credit(card)}",
        "",
    ]
    if metrics:
        chance = metrics["chance"]
        lines += [
            "## Measured",
            "",
            f"On {rows_text(metrics)}; {metrics['interval']['kind']}.",
            "",
            "| | value | 95 % interval | chance |",
            "| --- | --- | --- | --- |",
            *(
                f"| {name} | {value_text(c)} | {range_text(c)} | {_chance(key, chance)} |"
                for key, name, c in _numbers(metrics)
            ),
            "",
            "| score | AUROC | AUPRC |",
            "| --- | --- | --- |",
            *(
                f"| {n} | {interval_text(c['auroc'])} | {interval_text(c['auprc'])} |"
                for n, c in metrics["scores"].items()
            ),
            "",
        ]
    lines += [
        "## Limits",
        "",
        f"* {LIMITS}",
        "* Patient keys come from file names and are no verified identities.",
        "* The promise on false alarms is for patients like the calibration normals; "
        "elsewhere it has to be calibrated again, on normals from there.",
        *(f"* {note}" for note in card.notes),
        "",
        "## Use it",
        "",
        "```python",
        "import xray_tf",
        "",
        f'detector = xray_tf.load("{card.name}")',
        'detector.score(["radiograph.jpeg"])',
        "```",
        "",
        "`model.keras`, the autoencoder, also opens with plain Keras.",
        "",
        "## Make it again",
        "",
    ]
    command = str(card.provenance.get("command_line", "")).strip()
    command = command or "# made from Python with the options in card.json"
    return "\n".join([*lines, *(f"    {x}" for x in command.splitlines()), "", origin(card), ""])


def _promise(point: DetectorPoint) -> str:
    if point.budget is None:
        return "The thresholds were set by hand; no false-alarm rate is promised."
    return (
        f"Thresholds come from {point.calibration_patients:,} held-out normal patients, "
        "one radiograph each, by one false-alarm budget for all "
        "scores: if these and a new normal patient are exchangeable, the new one is called "
        f"anomalous with a probability of at most {point.budget:.3g}, "
        "over the draw of both."
    )


def _rule(card: Card) -> str:
    point = card.point()
    shares = point.calibration_false_alarms
    rows = [
        (n, f"{point.side(n)} {t:.5g}", f"{shares[n]:.2%}") for n, t in point.thresholds.items()
    ]
    density = point.density
    return (
        f"<p>{_e(_sentence(point.words()))} {_e(_promise(point))}</p>"
        + _table(
            "Thresholds",
            ("score", "anomalous", "calibration normals beyond"),
            [*rows, ("any of them", "", f"{shares['any']:.2%}")],
        )
        + "<p class='small'>Density: a Gaussian kernel of bandwidth "
        f"{density['bandwidth']:.3g} on {density['components']} whitened principal components "
        f"of the standardised codes ({density['variance']:.1%} of their variance); the "
        "bandwidth has the highest likelihood over folds of patients.</p>"
    )


def _numbers(metrics: dict[str, Any]) -> list[tuple[str, str, dict]]:
    names = NAMES | {"sensitivity": "Sensitivity", "specificity": "Specificity"}
    return [
        ("false_alarms", "False alarms among normals", metrics["false_alarms"]),
        *((k, names.get(k, k), c) for k, c in metrics["metrics"].items()),
    ]


def _chance(key: str, chance: dict[str, Any]) -> str:
    """Say what no knowledge at all would reach."""
    if key == "f1":
        return f"{chance['f1_always_pneumonia']:.3f} (always pneumonia)"
    if key == "accuracy":
        return f"{chance['accuracy']:.3f} (always {chance['class']})"
    return (
        f"{chance[key]:.3f}"
        if key in ("auroc", "auprc")
        else "0.500"
        if key == "balanced_accuracy"
        else ""
    )


def _tiles(metrics: dict[str, Any] | None) -> str:
    if not metrics:
        return ""
    cells = {key: (name, cell) for key, name, cell in _numbers(metrics)}
    tiles = "".join(
        "<div "
        f'class="tile"><dt>{_e(name)}</dt><dd><b>{_e(value_text(cell))}</b><small>{_e(range_text(cell))}</small></dd></div>'
        for name, cell in map(cells.get, HEADLINE)
    )
    return (
        f'<dl class="tiles">{tiles}</dl><p class="small">{_e(rows_text(metrics))}; '
        f"{_e(metrics['interval']['kind'])}.</p>"
    )


def _measured(metrics: dict[str, Any] | None) -> str:
    if not metrics:
        return ""
    chance, patients = metrics["chance"], count_text(metrics["patients"])
    rows = [
        (name, value_text(c), range_text(c), _chance(key, chance))
        for key, name, c in _numbers(metrics)
    ]
    counts = ", ".join(f"{n} {label}" for label, n in metrics["class_counts"].items())
    singles = [
        (n, interval_text(c["auroc"]), interval_text(c["auprc"]))
        for n, c in metrics["scores"].items()
    ]
    reasons = [
        (label, reason, n)
        for label, each in metrics["reasons"].items()
        for reason, n in each.items()
    ]
    return (
        f"<p>{_e(f'On {rows_text(metrics)} ({counts}; patients: {patients}); {metrics_interval(metrics)}.')} "
        "Chance is what no look at the radiograph "
        "would reach.</p>"
        + _table("Metrics", ("", "value", "95 % interval", "chance"), rows)
        + "<h3>Each score alone, and "
        "all together</h3>" + _table("Scores alone", ("score", "AUROC", "AUPRC"), singles) + "<p "
        f'class="small">{_e(meanings_text(list(metrics["scores"])))}</p>'
        + (
            "<h3>Why they were called anomalous</h3>"
            + _table("Reasons", ("group", "reason", "radiographs"), reasons)
            if reasons
            else ""
        )
    )


def metrics_interval(metrics: dict[str, Any]) -> str:
    """Say what the intervals are."""
    return f"{metrics['interval']['kind']}, {metrics['interval']['replicates']:,} replicates"


def _statistics(folder: Path, scores: Scores, thresholds: dict[str, float]) -> str:
    rows = [
        (
            s.group,
            s.score,
            f"{s.rows:,}",
            f"{s.mean:.5g}",
            f"{s.standard_deviation:.3g}",
            f"{s.beyond:.1%}",
        )
        for s in (
            Statistics.read_csv(folder / STATISTICS) if (folder / STATISTICS).is_file() else ()
        )
    ]
    table = (
        _table(
            "Statistics",
            ("batch", "score", "radiographs", "mean", "standard deviation", "beyond the threshold"),
            rows,
        )
        if rows
        else ""
    )
    tested = scores.where(scores.splits == "test") if (scores.splits == "test").any() else scores
    pictures = [
        (
            anomaly_figures.score_histograms(tested, thresholds),
            "Histograms of each score with its threshold",
        )
    ]
    if len(scores.names) > 1:
        pictures.append(
            (
                anomaly_figures.score_scatter(tested, thresholds),
                "The first two scores against each other, with both thresholds",
            )
        )
    table_of = anomaly_figures.as_predictions(tested)
    if len(set(table_of.labels.tolist())) == 2:
        pictures.append((figures.roc(table_of), "ROC curve of the anomaly score"))
    drawn = [
        f'<img alt="{_e(alt)}" src="data:image/png;base64,{_png(picture)}"></figure>'
        for picture, alt in pictures
    ]
    return (
        f'{table}<figure class="wide">{drawn[0]}<div '
        f'class="figures">{"".join(f"<figure>{d}" for d in drawn[1:])}</div>'
    )


def _examples(picture: np.ndarray | None) -> str:
    if picture is None:
        return ""
    return (
        f"<p>{_e(anomaly_figures.CHOICE)} {MAPS}</p><figure class='wide'><img "
        "alt='Radiographs and maps, one row an outcome' "
        f"src='data:image/jpeg;base64,{_jpeg(picture)}'></figure>"
    )


def _training(card: Card, history: list[dict[str, str]]) -> str:
    facts = "".join(f"<span>{_e(f)}</span>" for f in data_facts(card))
    point = card.point().radiographs
    rows = [
        ("learnt from", "train", point["fit"]),
        ("thresholds calibrated on", "val", point["calibrate"]),
        ("reported on", "test", point["test"]),
    ]
    picture = (
        (
            '<figure><img alt="Loss by epoch" '
            f'src="data:image/png;base64,{_png(anomaly_figures.loss_curves(history))}"></figure>'
        )
        if history
        else ""
    )
    return (
        f'<div class="chips">{facts}</div>'
        + _table("Parts", ("part", "in split.csv", "radiographs"), rows)
        + "<p>Parts are divided by patient. The first two hold normals only.</p>"
        + "<div "
        f'class="figures">{picture}</div>'
    )


def _findings(findings: Findings) -> str:
    if not findings:
        return ""
    rows = [(f.severity, f.kind, f.path, f.detail) for f in list(findings)[:_FINDINGS]]
    more = (
        f"<p>The first {_FINDINGS} of {len(findings):,}; audit.csv holds all.</p>"
        if len(findings) > _FINDINGS
        else ""
    )
    return more + _table("Findings", ("severity", "kind", "file", "what"), rows)


def _provenance(card: Card) -> str:
    command = card.provenance.get("command_line", "")
    options = "".join(
        f"<h3>{_e(group)}</h3>" + _table(group, ("option", "value"), values.items())
        for group, values in card.provenance.get("options", {}).items()
    )
    return (
        f"<pre>{_e(command)}</pre>" if command else ""
    ) + f"<p>{_e(origin(card))}</p><details><summary>Options</summary>{options}</details>"


def _card(scores: Scores, one: Shown) -> str:
    i = one.row
    said = (
        f"{scores.verdicts[i]}"
        + (f" ({scores.reasons[i]})" if scores.reasons[i] else "")
        + (f", anomaly score {scores.anomaly[i]:.3f}")
    )
    raw = "; ".join(
        f"{n.replace('_', ' ')} {scores.values[i, k]:.4g}, more unusual than "
        f"{scores.percentiles[i, k]:.0f} % of normals"
        for k, n in enumerate(scores.names)
    )
    label = f"<br>truly {_e(scores.labels[i])}" if scores.labels[i] else ""
    return (
        '<figure style="color:#1f2933"><img loading="lazy" '
        f'alt="{_e(f"Radiograph and map. {said}.")}" src="data:image/jpeg;base64,'
        f'{_jpeg(cv2.cvtColor(one.picture, cv2.COLOR_RGB2BGR))}"><figcaption '
        f'style="overflow-wrap:anywhere"><strong>{_e(scores.paths[i])}</strong><br>'
        f"{_e(said)}{label}<br>{_e(raw)}</figcaption></figure>"
    )


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    body = "".join(
        "<tr>"
        + f'<th scope="row">{_e(first)}</th>'
        + "".join(f"<td>{_e(c)}</td>" for c in rest)
        + "</tr>"
        for first, *rest in rows
    )
    names = "".join(f'<th scope="col">{_e(h)}</th>' for h in head)
    return (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{_e(caption)}"><table><caption>{_e(caption)}</caption><thead><tr>{names}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _section(key: str, title: str, body: str) -> str:
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 '
        f'id="{key}-title">{_e(title)}</h2>\n{body}\n</section>'
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _png(figure: Figure) -> str:
    return base64.b64encode(figures.to_png_bytes(figure)).decode("ascii")


def _jpeg(picture: np.ndarray) -> str:
    return base64.b64encode(
        cv2.imencode(".jpeg", picture, (cv2.IMWRITE_JPEG_QUALITY, 86))[1].tobytes()
    ).decode("ascii")


def _e(value: Any) -> str:
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)
