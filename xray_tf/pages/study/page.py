"""The report of a whole study: its folder in, one self-contained HTML page out; no model is loaded,
no script runs, no file name or patient key is shown.

Parts go by topic, and within a topic by classifier, so that models stand beside each other.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.data.records import Findings
from xray_tf.pages.classifier import sections
from xray_tf.pages.classifier.sections import Contents, read_contents, tiles
from xray_tf.pages.kit.html import escape, flat, lay_out, table
from xray_tf.pages.kit.shell import html_page
from xray_tf.pages.kit.words import IMAGE_SPLIT, NOTICE, range_text, rows_text, value_text
from xray_tf.pages.study.parts import (
    anomaly_part,
    explain_part,
    faithfulness_part,
    neighbours_part,
    shortcut_part,
)

STYLE = """
.results ol { padding-left: 1.4rem; }
sup { line-height: 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 0.9rem; }
.gallery figure { margin: 0; }
figcaption { color: #1f2933; font-size: 0.87rem; padding: 0.3rem 0.2rem 0; overflow-wrap: anywhere; }
.missing { color: var(--muted); }
.model + .model { border-top: 1px solid var(--line); margin-top: 1.6rem; padding-top: 0.4rem; }
@media print { h4 { break-after: avoid; } details:not([open]) { display: none; } }
"""
READERS = {
    "head": "{task}, classifier",
    "knn": "{task}, nearest neighbours",
    "detector": "anomaly detector",
    "maps": "heat maps",
}


@dataclass(frozen=True)
class StudyFolder:
    """What the page reads: the folder, study.json, the finished stages by kind, and what the
    finished classifiers' folders hold.
    """

    folder: Path
    about: dict[str, Any]
    stages: dict[str, list[dict[str, Any]]]
    models: dict[str, Contents]

    def contents(self, stage: dict[str, Any]) -> Contents:
        """Return what the folder of a stage's classifier holds."""
        return self.models[stage["model"]]


def read_study(folder: str | os.PathLike) -> StudyFolder:
    """Read which stages of a study are finished.

    Raises:
        FileNotFoundError: there is no study.json.
    """
    folder = Path(folder)
    about = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    stages: dict[str, list[dict[str, Any]]] = {}
    for stage in about["stages"]:
        record = folder / "stages" / f"{stage['name']}.json"
        if (
            record.is_file()
            and (made := json.loads(record.read_text(encoding="utf-8")))["finished"]
            and (folder / stage["folder"]).is_dir()
        ):
            stages.setdefault(stage["kind"], []).append(
                {**stage, "finished": made["finished"], "seconds": made["seconds"]}
            )
    return StudyFolder(
        folder,
        about,
        stages,
        {s["model"]: read_contents(folder / s["folder"]) for s in stages.get("train", [])},
    )


def render_study(folder: str | os.PathLike) -> str:
    """Return the page about a study's folder; a part whose stage was not run is left out, and one
    line says so.

    Args:
        folder: with study.json, results.json and the stages' folders and records.

    Raises:
        FileNotFoundError: there is no study.json or no results.json.
    """
    study = read_study(folder)
    results = json.loads((study.folder / "results.json").read_text(encoding="utf-8"))
    parts = [(key, title, body(study)) for key, title, body in PARTS]
    missing = [title for _, title, body in parts if not body]
    said = "".join(
        f'<p class="missing small">{escape(title)}: not run in this study.</p>' for title in missing
    )
    content = f"{_summary(study, results)}\n{lay_out(parts)}\n{said}"
    return html_page(
        f"Study of {study.about['data']['used']:,} chest radiographs", content, NOTICE, STYLE
    )


def _summary(study: StudyFolder, results: list[dict[str, Any]]) -> str:
    data, about = study.about["data"], study.about
    lead = (
        f"Preset “{about['preset']}”: {about['words']}. {data['used']:,} radiographs"
        + (f" of {data['radiographs']:,}" if data["limited"] else "")
        + ", test rows "
        f"{data['test_part']}."
    )
    notes = [*about["notes"], *([IMAGE_SPLIT] if about["split_by"] == "image" else [])]
    out = [
        '<header><p class="eyebrow">xray_tf study '
        f"report</p><h1>{escape('Pneumonia on chest radiographs: the whole study')}</h1>"
        f'<p class="lead">{escape(lead)}</p></header><p class="notice">{escape(NOTICE)}</p>'
    ]
    out += [f'<p class="warning" role="note">{escape(n)}</p>' for n in notes]
    for stage in study.stages.get("train", []):
        contents = study.contents(stage)
        if contents.metrics:
            own = "".join(
                f'<p class="warning" role="note">{escape(n)}</p>'
                for n in contents.card.notes
                if n not in about["notes"] and "random weights" in n
            )
            out.append(
                f"<h2>{escape(_model_title(stage))}</h2>{own}{tiles(contents.metrics)}<p "
                f'class="small">On {escape(rows_text(contents.metrics))}; '
                f"in brackets {escape(contents.metrics['interval']['kind'])}. Always "
                f"saying {escape(contents.metrics['chance']['class'])} has an "
                f"accuracy of {contents.metrics['chance']['accuracy']:.3f}.</p>"
            )
    out.append("<h2>Beside the report and the best published figures</h2>" + results_table(results))
    return "\n".join(out)


def results_table(results: list[dict[str, Any]]) -> str:
    """Lay the rows of results.json out, with the published figures' sources as notes; what was not
    run stays empty.
    """
    rows, sources = [], []
    for r in results:
        source, best = f"{r['by']}; {r['protocol']}.", ""
        if r["best"] is not None:
            sources += [source] * (source not in sources)
            best = (
                f'<span class="number">{r["best"]:g}</span> <sup>{sources.index(source) + 1}</sup>'
            )
        cell = {k: r[k] for k in ("value", "low", "high")}
        ours = (
            ""
            if r["value"] is None
            else (
                f'<span class="number">{value_text(cell)}</span> '
                f'<span class="small whole">{escape(range_text(cell))}</span>'
            )
        )
        where = (
            ""
            if r["value"] is None
            else (f'<span class="small">{escape(r["model"])}; {escape(r["kind"])}</span>')
        )
        rows.append(
            [
                escape(READERS[r["reader"]].format(task=r["task"])),
                escape(r["words"]),
                ours,
                escape(r["report"]),
                best,
                where,
            ]
        )
    note = (
        "“The report” is the course report whose study this is. Figures on different rows do "
        "not compare: the published ones' are in the notes below, "
        "ours in the last column. Empty: not run, or not published."
    )
    return (
        f'<p class="small">{escape(note)}</p><div class="results">'
        + table(
            [
                "task",
                "figure",
                "this study, 95 % interval",
                "the report",
                "best published",
                "this study's model and rows",
            ],
            rows,
            "The report's, the best published and this study's figures",
            raw=True,
            wide=True,
        )
        + '<ol class="small">'
        + "".join(f"<li>{escape(s)}</li>" for s in sources)
        + "</ol></div>"
    )


def _model_title(stage: dict[str, Any]) -> str:
    weights = (
        ""
        if stage["weights"] == "imagenet"
        else ", random weights"
        if stage["weights"] == "none"
        else (", weights from a file")
    )
    return f"{stage['task'].capitalize()}, {stage['backbone']}{weights}"


def _each_model(
    kind: str, body: Callable[[StudyFolder, dict[str, Any]], str]
) -> Callable[[StudyFolder], str]:
    """Make a part of one body a finished stage of a kind, under the model's name."""

    def part(study: StudyFolder) -> str:
        bodies = [
            (stage, html) for stage in study.stages.get(kind, []) if (html := body(study, stage))
        ]
        lacking = [
            s
            for s in study.about["stages"]
            if s["kind"] == kind and s["name"] not in {stage["name"] for stage, _ in bodies}
        ]
        return (
            "\n".join(
                [
                    *(
                        f'<div class="model"><h3>{escape(_model_title(stage))}</h3>\n{html}</div>'
                        for stage, html in bodies
                    ),
                    *(
                        f'<p class="missing small">{escape(_model_title(s))}: not run.</p>'
                        for s in lacking
                    ),
                ]
            )
            if bodies
            else ""
        )

    return part


def _audit(study: StudyFolder) -> str:
    if "audit" not in study.stages:
        return ""
    folder = study.folder / "audit"
    s = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    out = [
        f"<p>{s['files']:,} radiographs (read as {escape(s['source'])}); {s['usable']:,} can "
        "be used.</p>"
    ]
    columns = list(next(iter(s["classes"].values()), {}))
    out.append(
        table(
            ["part as given", *columns],
            [[part, *(f"{n:,}" for n in counts.values())] for part, counts in s["classes"].items()],
            "Classes",
        )
    )
    patients = [
        [
            key,
            f"{p['patients']:,}",
            f"{p['with_several']:,}",
            f"{p['images_of_those']:,}",
            f"{p['without_key']:,}",
        ]
        for key, p in s["patients"].items()
    ]
    out.append(
        table(
            [
                "patient key",
                "patients",
                "with several images",
                "images of those",
                "images without key",
            ],
            patients,
            "Patient keys",
            wide=True,
        )
    )
    kinds = ("groups", "files", "across_labels", "across_patients", "across_splits")
    duplicates = [
        [words, *(f"{s['duplicates'][k][c]:,}" for c in kinds)]
        for k, words in (("exact", "byte for byte"), ("near", "same picture, other bytes"))
    ]
    out.append(
        table(
            [
                "duplicates",
                "groups",
                "files",
                "different labels",
                "different patients",
                "different parts",
            ],
            duplicates,
            "Duplicates",
            wide=True,
        )
    )
    sizes = [
        [
            name,
            *(f"{v.get(c, float('nan')):.4g}" for c in ("normal", "pneumonia")),
            "" if v["auroc"] is None else f"{v['auroc']:.3f}",
        ]
        for name, v in s["sizes"].items()
    ]
    out.append(
        "<p>How well size alone tells the classes apart (AUROC 0.5: not at all):</p>"
        + table(["", "median normal", "median pneumonia", "AUROC"], sizes, "Leaks of size")
    )
    findings = Findings.read_csv(folder / "audit.csv")
    counts = Counter((f.severity, f.kind) for f in findings)
    out.append(
        table(
            ["severity", "finding", "how many"],
            [[*k, f"{n:,}"] for k, n in counts.items()],
            "Findings by kind",
        )
        if counts
        else "<p>Nothing was found that needs attention.</p>"
    )
    return "\n".join(out)


def _training(study: StudyFolder, stage: dict[str, Any]) -> str:
    return sections.training_part(study.contents(stage))


def _provenance(study: StudyFolder) -> str:
    origin = dict(study.about["provenance"])
    command = str(origin.pop("command_line", "")).strip()
    out = (
        [f'<p>Made by this command:</p><pre tabindex="0">{escape(command)}</pre>']
        if command
        else []
    )
    rows = [
        [s["name"], s["finished"], "" if s["seconds"] is None else f"{s['seconds']:,.0f} s"]
        for kind in study.stages.values()
        for s in kind
    ]
    out.append(
        table(["stage", "finished", "took"], sorted(rows, key=lambda r: r[1]), "Stages", wide=True)
    )
    out.append(
        "<details><summary>Every option and version</summary>"
        + table(["what", "value"], flat({**origin, "data": study.about["data"]}), "Provenance")
        + "</details>"
    )
    return "\n".join(out)


PARTS: tuple[tuple[str, str, Callable[[StudyFolder], str]], ...] = (
    ("audit", "Data and audit", _audit),
    (
        "split",
        "Split",
        _each_model("train", lambda study, stage: sections.data_part(study.contents(stage))),
    ),
    ("training", "Training", _each_model("train", _training)),
    (
        "metrics",
        "Metrics",
        _each_model(
            "train", lambda study, stage: sections.metrics_part(study.contents(stage), "h4")
        ),
    ),
    (
        "decisions",
        "Decisions",
        _each_model(
            "train",
            lambda study, stage: sections.decisions_part(study.contents(stage), mistakes=False),
        ),
    ),
    (
        "curves",
        "Ranking and calibration",
        _each_model("train", lambda study, stage: sections.curves_part(study.contents(stage))),
    ),
    (
        "shift",
        "Under changes",
        _each_model(
            "shift",
            lambda study, stage: sections.shift_part(
                json.loads(
                    (study.folder / stage["folder"] / "shift.json").read_text(encoding="utf-8")
                )
            ),
        ),
    ),
    (
        "neighbours",
        "Nearest neighbours and t-SNE",
        _each_model("embed", lambda study, stage: neighbours_part(study.folder / stage["folder"])),
    ),
    (
        "anomaly",
        "Anomalies",
        lambda study: "".join(
            anomaly_part(study.folder / s["folder"]) for s in study.stages.get("detector", [])
        ),
    ),
    (
        "explanations",
        "Heat maps",
        _each_model("explain", lambda study, stage: explain_part(study.folder / stage["folder"])),
    ),
    (
        "faithfulness",
        "How faithful the maps are",
        _each_model(
            "examine", lambda study, stage: faithfulness_part(study.folder / stage["folder"])
        ),
    ),
    (
        "shortcuts",
        "Shortcuts",
        _each_model("examine", lambda study, stage: shortcut_part(study.folder / stage["folder"])),
    ),
    ("provenance", "Provenance", _provenance),
)
