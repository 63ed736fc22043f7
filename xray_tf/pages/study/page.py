"""Make the report of a whole study from its folder, as one self-contained HTML page.

No model is loaded, no script runs, and no file name or patient key is shown. Parts are ordered by
topic, and within a topic by classifier, so that models can be compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.pages.classifier import parts as classifier
from xray_tf.pages.classifier.contents import Contents, read_contents
from xray_tf.pages.heatmaps.parts import examination_parts
from xray_tf.pages.kit.parts import ProvenancePart, Several, without_command
from xray_tf.pages.kit.render import Page, Part, Section, read_json, sections
from xray_tf.pages.study import parts

_WEIGHTS = {"imagenet": "", "none": ", random weights"}


@dataclass(frozen=True)
class StudyFolder:
    """What the page reads: the folder, study.json, the finished stages by kind, and what the
    finished classifiers' folders hold.
    """

    folder: Path
    about: dict[str, Any]
    stages: dict[str, list[dict[str, Any]]]
    models: dict[str, Contents]


@dataclass(frozen=True)
class StudyPage(Page):
    """The page about a study.

    Attributes:
        about: the layout of study.json.
        models: title and contents of each finished classifier that was measured.
        results: our figures beside published ones.
        sections: the parts that were run.
        missing: titles of those that were not.
    """

    template = "study/page.html.jinja"
    styles = ("study/study.css",)
    about: dict[str, Any]
    models: list[tuple[str, Contents]]
    results: parts.ResultsPart
    sections: tuple[Section, ...]
    missing: list[str]


def read_study(folder: str | os.PathLike) -> StudyFolder:
    """Read which stages of a study are finished.

    Raises:
        FileNotFoundError: there is no study.json.
    """
    folder = Path(folder)
    about = _read(folder / "study.json")
    stages: dict[str, list[dict[str, Any]]] = {}
    for stage in about["stages"]:
        made = read_json(folder / "stages" / f"{stage['name']}.json") or {"finished": ""}
        if made["finished"] and (folder / stage["folder"]).is_dir():
            stages.setdefault(stage["kind"], []).append({**stage, **made})
    trained = stages.get("train", [])
    models = {s["model"]: read_contents(folder / s["folder"]) for s in trained}
    return StudyFolder(folder, about, stages, models)


def render_study(folder: str | os.PathLike) -> str:
    """Return the page about a study's folder; a part whose stage has not run is replaced by one
    line that says so.

    Args:
        folder: with study.json, results.json and the stages' folders and records.

    Raises:
        FileNotFoundError: there is no study.json or no results.json.
    """
    study = read_study(folder)
    shown = [(key, title, make(study)) for key, title, make in PARTS]
    trained = [(_title(s), study.models[s["model"]]) for s in study.stages.get("train", [])]
    return StudyPage(
        study.about,
        [(title, contents) for title, contents in trained if contents.metrics],
        parts.ResultsPart(_read(study.folder / "results.json")),
        sections(shown),
        [title for _, title, part in shown if part is None],
    ).render()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected the folder of a study.")
    return read_json(path)


def _title(stage: dict[str, Any]) -> str:
    weights = _WEIGHTS.get(stage["weights"], ", weights from a file")
    return f"{stage['task'].capitalize()}, {stage['backbone']}{weights}"


def _each_model(
    kind: str, make: Callable[[StudyFolder, dict[str, Any]], Part | None]
) -> Callable[[StudyFolder], Part | None]:
    """Make a part of one for each finished stage of a kind, under the model's name."""

    def part(study: StudyFolder) -> parts.ModelsPart | None:
        made = {s["name"]: (_title(s), make(study, s)) for s in study.stages.get(kind, [])}
        there = {name: pair for name, pair in made.items() if pair[1] is not None}
        lacking = [s for s in study.about["stages"] if s["kind"] == kind and s["name"] not in there]
        if not there:
            return None
        return parts.ModelsPart(dict(there.values()), [_title(s) for s in lacking])

    return part


def _of_model(make: Callable[[Contents], Part | None]) -> Callable[[StudyFolder], Part | None]:
    """The same from what a finished classifier's folder holds."""
    return _each_model("train", lambda study, stage: make(study.models[stage["model"]]))


def _of_folder(kind: str, make: Callable[[Path], Part | None]):
    """The same from the folder of the stage."""
    return _each_model(kind, lambda study, stage: make(study.folder / stage["folder"]))


def _audit(study: StudyFolder) -> Part | None:
    return parts.AuditPart.of(study.folder / "audit") if "audit" in study.stages else None


def _detectors(study: StudyFolder) -> Part | None:
    folders = [study.folder / stage["folder"] for stage in study.stages.get("detector", [])]
    return Several([parts.DetectorPart.of(folder) for folder in folders]) if folders else None


def _shift(folder: Path) -> Part | None:
    return classifier.ShiftPart.of(read_json(folder / "shift.json"))


def _faithfulness(folder: Path) -> Part | None:
    found = examination_parts(folder)
    there = [p for k in ("faithfulness", "randomisation") if (p := found[k]) is not None]
    return Several(there) if there else None


def _provenance(study: StudyFolder) -> Part:
    command, rows = without_command({**study.about["provenance"], "data": study.about["data"]})
    stages = [
        [s["name"], s["finished"], "" if s["seconds"] is None else f"{s['seconds']:,.0f} s"]
        for kind in study.stages.values()
        for s in kind
    ]
    tables = [
        ("Stages", (["stage", "finished", "took"], sorted(stages, key=lambda r: r[1]))),
        ("Provenance", (["what", "value"], rows)),
    ]
    return ProvenancePart(command, "", "Every stage, option and version", tables)


PARTS: tuple[tuple[str, str, Callable[[StudyFolder], Part | None]], ...] = (
    ("audit", "Data and audit", _audit),
    ("split", "Split", _of_model(classifier.DataPart.of)),
    ("training", "Training", _of_model(classifier.TrainingPart.of)),
    ("metrics", "Metrics", _of_model(lambda c: classifier.MetricsPart.of(c, level=4))),
    ("decisions", "Decisions", _of_model(lambda c: classifier.DecisionsPart.of(c, listed=False))),
    ("curves", "Ranking and calibration", _of_model(classifier.CurvesPart.of)),
    ("shift", "Under changes", _of_folder("shift", _shift)),
    ("neighbours", "Nearest neighbours and t-SNE", _of_folder("embed", parts.NeighboursPart.of)),
    ("anomaly", "Anomalies", _detectors),
    ("explanations", "Heat maps", _of_folder("explain", parts.GalleryPart.of)),
    ("faithfulness", "How faithful the heat maps are", _of_folder("examine", _faithfulness)),
    ("shortcuts", "Shortcuts", _of_folder("examine", lambda f: examination_parts(f)["shortcuts"])),
    ("provenance", "Provenance", _provenance),
)
