"""The parts of a report, each from what a folder holds, as HTML; and the table, the picture and the
escaping that every part uses.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_tf import artifact
from xray_tf.artifact import Card
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import SPLITS, Finding, Findings, Record, class_index
from xray_tf.pages.classifier.shift_card import (
    shift_alt,
    shift_curves,
    shift_sentences,
    shift_summary,
    shift_table,
)
from xray_tf.pages.kit import figures
from xray_tf.pages.kit.html import escape, flat, image, read_rows, table
from xray_tf.pages.kit.words import (
    NAMES,
    SPLIT_NAMES,
    count_text,
    data_facts,
    enumerate_text,
    interval_kind,
    interval_text,
    options_of,
    origin,
    range_text,
    rows_text,
    value_text,
)

LOWER_IS_BETTER = ("brier", "ece")
HEADLINE = {
    2: ("auroc", "balanced_accuracy", "sensitivity", "specificity"),
    3: ("auroc", "balanced_accuracy", "accuracy", "f1"),
}
_MISTAKES, _FINDINGS = 15, 50  # rows shown; the files hold the rest


@dataclass(frozen=True)
class Contents:
    """What a folder holds, each None where the file is not there: the card, metrics, tables of
    rows, epochs and findings, the shift bench.
    """

    card: Card
    metrics: dict[str, Any] | None
    predictions: Predictions | None
    history: list[dict[str, str]] | None
    split: list[dict[str, str]] | None
    findings: Findings | None
    shift: dict[str, Any] | None = None


def read_contents(folder: str | os.PathLike, card: Card | None = None) -> Contents:
    """Read a folder's tables.

    Args:
        folder: an artifact, or the folder an evaluation wrote.
        card: of the model, for a folder that has none of its own.

    Raises:
        ArtifactError: no card was given and the folder has no sound one.
    """
    folder = Path(folder)
    card = card or artifact.read_card(folder)

    def found(name: str, read):
        return read(folder / name) if (folder / name).is_file() else None

    return Contents(
        card,
        found("metrics.json", lambda p: json.loads(p.read_text(encoding="utf-8"))),
        found("predictions.csv", Predictions.read_csv),
        found("history.csv", read_rows),
        found("split.csv", read_rows),
        found("audit.csv", Findings.read_csv),
        found("shift.json", lambda p: json.loads(p.read_text(encoding="utf-8"))),
    )


def tiles(metrics: dict[str, Any]) -> str:
    """Return the headline numbers, large, each with its interval."""
    cells = {
        n: metrics["metrics"][n] for n in HEADLINE[2 if len(metrics["class_names"]) == 2 else 3]
    }
    return (
        '<dl class="tiles">'
        + "".join(
            "<div "
            f"class='tile'><dt>{escape(metric_name(n, metrics))}</dt><dd><b>{value_text(c)}</b>"
            f"<small>{escape(range_text(c))}</small></dd></div>"
            for n, c in cells.items()
        )
        + "</dl>"
    )


def data_part(contents: Contents) -> str:
    """Radiographs and patients by part and class."""
    card, out = contents.card, []
    if contents.split is not None:
        classes = [_class_of(row, card) for row in contents.split]
        names = [*card.class_names, *(["class not known"] if "class not known" in classes else [])]
        counts = Counter(
            (row.get("split", ""), c) for row, c in zip(contents.split, classes, strict=True)
        )
        patients = {
            s: {r["patient"] for r in contents.split if r.get("split") == s and r.get("patient")}
            for s in SPLITS
        }
        rows = []
        for split in [s for s in SPLITS if any(key[0] == s for key in counts)]:
            rows.append(
                [
                    SPLIT_NAMES[split],
                    *(f"{counts[split, n]:,}" for n in names),
                    f"{sum(counts[split, n] for n in names):,}",
                    f"{len(patients[split]):,}" if patients[split] else "not known",
                ]
            )
        rows.append(
            [
                "all",
                *(f"{sum(counts[s, n] for s in SPLITS):,}" for n in names),
                f"{sum(counts[s, n] for s in SPLITS for n in names):,}",
                f"{len(set().union(*patients.values())):,}"
                if any(patients.values())
                else "not known",
            ]
        )
        out.append(
            table(
                ["part", *names, "radiographs", "patients"],
                rows,
                "Radiographs and patients by part and class",
            )
        )
        shared = sum(
            len(patients[a] & patients[b]) for i, a in enumerate(SPLITS) for b in SPLITS[i + 1 :]
        )
        known = (
            "No patient key lies in two parts."
            if not shared
            else (f"{shared:,} patient keys lie in two parts.")
        )
        out.append(
            f"<p>{escape(f'Split by {card.split_by}. ' + (known if any(patients.values()) else 'The source has no patient key.'))}</p>"
        )
    elif contents.metrics:
        counts = contents.metrics["class_counts"]
        out.append(
            table(
                [*counts, "radiographs", "patients"],
                [
                    [
                        *(f"{c:,}" for c in counts.values()),
                        f"{contents.metrics['rows']:,}",
                        count_text(contents.metrics["patients"]),
                    ]
                ],
                "Scored radiographs by class",
            )
        )
    facts = data_facts(card)
    if facts and out:
        made = "Divided from: " if contents.split else "The model was made from: "
        out.append(f"<p>{escape(made + enumerate_text(facts))}.</p>")
    return "\n".join(out)


def training_part(contents: Contents) -> str:
    """How the training went, epoch by epoch."""
    if not contents.history:
        return ""
    rows = contents.history
    best = min(rows, key=lambda r: float(r["val_loss"]))
    seconds = sum(float(r["seconds"]) for r in rows)
    text = (
        f"{len(rows)} epochs in {seconds / 60:.1f} minutes. Lowest validation loss: "
        f"{float(best['val_loss']):.4f}, {best['phase']} epoch {best['epoch']}, "
        f"with a validation accuracy of {float(best['val_accuracy']):.3f} and an AUROC of "
        f"{float(best['val_auroc']):.3f}."
    )
    options = {
        **options_of(contents.card, "ModelOptions"),
        **options_of(contents.card, "TrainOptions"),
    }
    shown = [
        (k, options[k])
        for k in (
            "backbone",
            "weights",
            "method",
            "fine_tune",
            "augment",
            "batch_size",
            "schedule",
            "precision",
            "seed",
        )
        if k in options
    ]
    chips = "".join(
        f"<span>{escape(k.replace('_', ' '))} <b>{escape(v)}</b></span>" for k, v in shown
    )
    alt = (
        "Training and validation loss, validation accuracy and AUROC, and the learning rate, "
        f"by epoch. {text}"
    )
    return f'<p>{escape(text)}</p>\n<p class="chips">{chips}</p>\n' + image(
        figures.training_curves(rows), alt, "wide"
    )


def metrics_part(contents: Contents, heading: str = "h3") -> str:
    """Every metric with its interval, and by class under a `heading`."""
    metrics = contents.metrics
    if not metrics:
        return ""
    rows = []
    for name, cell in metrics["metrics"].items():
        hint = " (lower is better)" if name in LOWER_IS_BETTER else ""
        rows.append(
            [
                f"<b>{escape(NAMES.get(name, name))}</b>",
                f'<span class="number">{value_text(cell)}</span>',
                _whole(cell),
                _bar(cell),
                f'<span class="small">{escape(metrics["definitions"].get(name, "") + hint)}</span>',
            ]
        )
    about = f"On {rows_text(metrics)}. Interval: {interval_kind(metrics)}."
    out = [
        f"<p>{escape(about)}</p>",
        table(
            ["metric", "value", "95 % interval", "from 0 to 1", "what it is"],
            rows,
            "Metrics with their intervals",
            raw=True,
            wide=True,
        ),
    ]
    columns = list(next(iter(metrics["per_class"].values())))
    body = [
        [
            escape(k),
            f"{metrics['class_counts'][k]:,}",
            *(
                "<span "
                f'class="number">{value_text(c)}</span> <span class="small">{_whole(c)}</span>'
                for c in cells.values()
            ),
        ]
        for k, cells in metrics["per_class"].items()
    ]
    out += [
        f"<{heading}>By class, each against the rest</{heading}>",
        table(
            ["class", "rows", *(NAMES[c] for c in columns)],
            body,
            "Metrics by class",
            raw=True,
            wide=True,
        ),
    ]
    return "\n".join(out)


def decisions_part(contents: Contents, mistakes: bool = True) -> str:
    """Operating points, confusion matrix, histograms of probabilities, and, if wanted, the files of
    the surest `mistakes`.
    """
    card, metrics, out = contents.card, contents.metrics, []
    used = (metrics or {}).get("operating_point") or card.default_operating_point
    if card.operating_points:
        rows = [
            [
                n + (" (used here)" if n == used else ""),
                p.words(card.class_names),
                p.criterion,
                p.reached(),
            ]
            for n, p in sorted(card.operating_points.items(), key=lambda item: item[0] != used)
        ]
        out += [
            "<p>Operating points were fitted on validation rows only and are frozen in the "
            "artifact.</p>",
            table(
                ["operating point", "rule", "criterion", "reached on validation rows"],
                rows,
                "Operating points",
                wide=True,
            ),
        ]
    pictures, scored = [], _scored(contents)
    if metrics:
        names, matrix = metrics["class_names"], metrics["confusion_matrix"]
        said = "; ".join(
            f"true {n}: " + ", ".join(f"{c} decided {m}" for m, c in zip(names, row, strict=True))
            for n, row in zip(names, matrix, strict=True)
        )
        pictures.append(
            image(figures.confusion_matrix(matrix, names), f"Confusion matrix. {said}.")
        )
    if scored is not None:
        alt = (
            "Histogram of the calibrated probabilities, coloured by true class, with the "
            "threshold where there is one."
        )
        pictures.append(
            image(figures.probability_histograms(scored, card.operating_points.get(used)), alt)
        )
    out += ['<div class="figures">', *pictures, "</div>"] if pictures else []
    if scored is not None and mistakes:
        wrong = np.flatnonzero(scored.labels != scored.predicted)
        sure = scored.probabilities[wrong, scored.predicted[wrong]]
        wrong = wrong[np.argsort(-sure, kind="stable")][:_MISTAKES]
        rows = [
            [
                r.path,
                r.label,
                r.predicted,
                f"{r.probabilities[scored.class_names.index(r.predicted)]:.3f}",
            ]
            for r in map(scored.__getitem__, wrong)
        ]
        if rows:
            out.append(
                f"<details><summary>The {len(rows)} mistakes it was surest of, of "
                f"{int((scored.labels != scored.predicted).sum()):,}</summary>"
                + table(
                    ["file", "true class", "decided", "probability of the decided class"],
                    rows,
                    "Mistakes",
                    wide=True,
                )
                + "</details>"
            )
    return "\n".join(out)


def curves_part(contents: Contents) -> str:
    """ROC, precision-recall and calibration."""
    scored = _scored(contents)
    if scored is None:
        return ""
    cells = (contents.metrics or {}).get("metrics", {})
    say = {
        n: f"{NAMES[n]} {interval_text(cells[n])}." if n in cells else ""
        for n in ("auroc", "auprc", "ece")
    }
    text = (
        "Bands are pointwise 95 % intervals, bootstrapped by patient. Circles mark the decisions."
        if any(scored.patients)
        else "Bands are pointwise 95 % intervals, bootstrapped by image. Circles mark the "
        "decisions."
    )
    return (
        f"<p>{escape(text)}</p>\n<div class='figures'>"
        + image(figures.roc(scored), f"ROC curve with its band. {say['auroc']}")
        + image(
            figures.precision_recall(scored),
            f"Precision-recall curve with its band. {say['auprc']}",
        )
        + image(
            figures.calibration(scored),
            "Reliability diagram: predicted against "
            f"observed frequency, with bin counts. {say['ece']}",
        )
        + "</div>"
    )


def shift_part(shift: dict[str, Any] | None) -> str:
    """The shift card; see `pages.shift_card`."""
    if not shift:
        return ""
    return "\n".join(
        [
            *(f"<p>{escape(s)}</p>" for s in shift_sentences(shift)[:1]),
            table(*shift_summary(shift), "Metrics unchanged and under changes", wide=True),
            image(shift_curves(shift), shift_alt(shift), "wide"),
            "<details><summary>Every change and severity</summary>"
            + table(*shift_table(shift), "Metrics by change", wide=True)
            + "</details>",
        ]
    )


def findings_part(contents: Contents) -> str:
    """What was found while the files were read and divided."""
    findings = contents.findings
    if findings is None:
        return ""
    if not len(findings):
        return (
            "<p>No finding was recorded while the files were read and divided; python -m "
            "xray_tf.audit looks further.</p>"
        )
    order = {"error": 0, "warning": 1, "note": 2}
    ranked = sorted(findings, key=lambda f: order.get(f.severity, 3))
    kinds = Counter((f.severity, f.kind) for f in ranked)
    out = [
        table(
            ["severity", "kind", "how many"],
            [[s, k, f"{c:,}"] for (s, k), c in kinds.items()],
            "Findings by kind",
        )
    ]
    shown: Sequence[Finding] = ranked[:_FINDINGS]
    title = (
        f"The findings ({len(findings):,})"
        if len(shown) == len(findings)
        else (f"The first {len(shown)} of {len(findings):,} findings; audit.csv holds all")
    )
    out.append(
        f"<details><summary>{escape(title)}</summary>"
        + table(
            ["severity", "kind", "file", "what was found"],
            [[f.severity, f.kind, f.path, f.detail] for f in shown],
            "Findings",
            wide=True,
        )
        + "</details>"
    )
    return "\n".join(out)


def provenance_part(card: Card) -> str:
    """Where a model comes from."""
    out, source = [], dict(card.provenance)
    command = str(source.pop("command_line", "")).strip()
    if command:
        out.append(
            f'<p>The model was made by this command:</p><pre tabindex="0">{escape(command)}</pre>'
        )
    out.append(f"<p>{escape(origin(card))}</p>")
    rows = (
        [[k, v] for k, v in flat(source)]
        + [[f"preprocessing.{k}", v] for k, v in flat(card.preprocessing)]
        + [["temperature", f"{card.temperature:.6g}"]]
    )
    out.append(
        "<details><summary>Every option, version and checksum</summary>"
        + table(["what", "value"], rows, "Provenance")
        + (
            table(["file", "sha256"], [[k, v] for k, v in card.files.items()], "Checksums")
            if card.files
            else ""
        )
        + "</details>"
    )
    return "\n".join(out)


def _scored(contents: Contents) -> Predictions | None:
    """Return the labelled rows that the metrics are about, or None where there is none."""
    table = contents.predictions
    if table is None:
        return None
    split = (contents.metrics or {}).get("split")
    keep = table.scorable & (
        (table.splits == split) if split in SPLITS and (table.splits == split).any() else True
    )
    return table.where(keep) if keep.any() else None


def _class_of(row: dict[str, str], card: Card) -> str:
    try:
        index = class_index(
            Record(row.get("path", ""), row.get("label", ""), row.get("subtype", "")), card.task
        )
    except ValueError:
        index = -1
    return card.class_names[index] if index >= 0 else "class not known"


def metric_name(name: str, metrics: dict[str, Any]) -> str:
    """Name a metric for a person."""
    macro = len(metrics["class_names"]) > 2 and name in ("auroc", "f1")
    return ("Macro " if macro else "") + NAMES[name]


def _whole(cell: dict[str, Any]) -> str:
    """Write an interval that does not break over two lines; a reason may."""
    text = escape(range_text(cell))
    return text if cell["low"] is None else f'<span class="whole">{text}</span>'


def _bar(cell: dict[str, Any]) -> str:
    if cell["value"] is None:
        return ""
    at = 100 * min(1.0, cell["value"])
    low, high = (
        (at, at)
        if cell["low"] is None
        else (100 * min(1.0, cell["low"]), 100 * min(1.0, cell["high"]))
    )
    return (
        '<span class="bar" aria-hidden="true"><i '
        f'style="left:{low:.1f}%;width:{high - low:.1f}%"></i><b style="left:{at:.1f}%"></b></span>'
    )
