"""Build the table at the end of a study: the course report's numbers, the best published ones with
their protocol, and ours.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from xray_tf.artifact import write_json
from xray_tf.data.tables.csv_files import csv_line, write_lines
from xray_tf.pages.kit.words import measured_text
from xray_tf.study.published import PUBLISHED, Published

JSON, CSV = "results.json", "results.csv"
COLUMNS = (
    *(field.name for field in fields(Published)),
    *("model", "value", "low", "high", "rows", "patients", "kind"),
)


def collect_results(folder: Path) -> list[dict[str, Any]]:
    """Return one dict (`COLUMNS`) per published number and model, from a study's files alone; what
    has not run stays None.

    `value`, `low` and `high` are our number with its 95 % interval, `rows` and `patients` the size
    of the sample, and `kind` describes its rows.
    """
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    rows = []
    nobodys = {"report": "", "best": None, "by": "", "protocol": ""}
    synthetic = study["data"]["source"] == "phantom"  # which compare with nobody's figures
    for figure in PUBLISHED:
        figures = asdict(figure) | (nobodys if synthetic else {})
        found = list(_found(folder, study, figure)) or [{}]
        empty = dict.fromkeys(("value", "low", "high", "rows", "patients"))
        rows += [{**figures, "model": "", "kind": "", **empty, **ours} for ours in found]
    return rows


def write_results(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write results.json and results.csv."""
    write_json(folder / JSON, rows)
    lines = (csv_line("" if row[k] is None else row[k] for k in COLUMNS) for row in rows)
    write_lines(folder / CSV, COLUMNS, lines)


def format_results(rows: list[dict[str, Any]]) -> str:
    """Lay the table out for a terminal."""
    head = ["task", "answered by", "figure", "report", "best published", "ours [95 % interval]"]
    lines = [[*head, "measured on", "model"]]
    compared = any(row["report"] or row["best"] for row in rows)
    for row in rows if compared else (row for row in rows if row["value"] is not None):
        best = "" if row["best"] is None else f"{row['best']:g}"
        asked = [row[k] for k in ("task", "reader", "words", "report")]
        lines.append([*asked, best, ours_text(row), row["kind"], row["model"]])
    if not compared:
        lines = [[*line[:3], *line[5:]] for line in lines]
    width = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, width, strict=True)).rstrip()
        for line in lines
    )


def ours_text(row: dict[str, Any]) -> str:
    """Write our number with its interval; empty if it was not measured."""
    return "" if row["value"] is None else measured_text(row)


def _found(folder: Path, study: dict[str, Any], figure: Published):
    """Yield what the study measured for one published number, one dict per model."""
    kind, file, key = {
        "head": ("train", "metrics.json", None),
        "knn": ("embed", "metrics.json", "knn"),
        "detector": ("detector", "metrics.json", None),
    }.get(figure.reader, ("", "", None))
    for stage in study["stages"]:
        path = folder / stage["folder"] / file
        asked = stage["kind"] == kind and stage["task"] in ("", figure.task)
        if not asked or not finished(folder, stage["name"]) or not path.is_file():
            continue
        metrics = json.loads(path.read_text(encoding="utf-8"))
        metrics = metrics[key] if key else metrics
        if metrics and metrics["metrics"].get(figure.metric, {}).get("value") is not None:
            cell = metrics["metrics"][figure.metric]
            yield {
                "model": stage["model"] or stage["name"],
                **{k: cell[k] for k in ("value", "low", "high")},
                **{k: metrics[k] for k in ("rows", "patients")},
                "kind": kind_of(study, metrics["rows"]),
            }


def kind_of(study: dict[str, Any], rows: int) -> str:
    """Say on which rows a number was measured."""
    data, limited = study["data"], ""
    if data["limited"]:
        limited = f", row-limited study ({data['used']:,} of {data['radiographs']:,})"
    synthetic = "synthetic " if data["source"] == "phantom" else ""
    return f"{rows:,} {synthetic}test rows, {data['test_part']}{limited}"


def finished(folder: Path, name: str) -> bool:
    """Tell whether a stage's record says that it is finished."""
    path = folder / "stages" / f"{name}.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["finished"])
