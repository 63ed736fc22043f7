"""Make the page of a whole study from its folder: radiographs first, the figures that matter, and
links to the pages of the stages, which have the rest.

It is one self-contained HTML file. No model is loaded, no script runs, and no file name or patient
key is shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_tf.pages.classifier.contents import Contents, read_contents
from xray_tf.pages.classifier.shift_card import shift_sentences
from xray_tf.pages.heatmaps.measures import (
    faithfulness_sentences,
    shortcut_sentences,
    shortcut_summary,
)
from xray_tf.pages.kit.parts import ProvenancePart, without_command
from xray_tf.pages.kit.render import Page, Part, Section, read_json, sections
from xray_tf.pages.study import parts

_WEIGHTS = {"imagenet": "", "none": ", random weights"}
SYNTHETIC = "phantom"  # the source whose figures are compared with nobody's


@dataclass(frozen=True)
class StudyFolder:
    """What the page reads: the folder, study.json, the finished stages by kind, what the finished
    classifiers' folders hold, and the place of the folder from the page.
    """

    folder: Path
    about: dict[str, Any]
    stages: dict[str, list[dict[str, Any]]]
    models: dict[str, Contents]
    place: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether the radiographs are phantoms."""
        return self.about["data"]["source"] == SYNTHETIC

    def links(self, *wanted: tuple[str, str, str]) -> list[tuple[str, str]]:
        """Return (title, place) of those pages (title, folder of a stage, file) that are there."""
        return [
            (title, f"{self.place}{folder}/{file}")
            for title, folder, file in wanted
            if (self.folder / folder / file).is_file()
        ]

    def first(self, kind: str) -> dict[str, Any] | None:
        """Return the first finished stage of a kind."""
        return next(iter(self.stages.get(kind, [])), None)


@dataclass(frozen=True)
class StudyPage(Page):
    """The page about a study.

    Attributes:
        about: the layout of study.json.
        synthetic: whether the radiographs are phantoms.
        sections: the parts that were run.
        missing: titles of those that were not.
    """

    template = "study/page.html.jinja"
    styles = ("study/study.css",)
    about: dict[str, Any]
    synthetic: bool
    sections: tuple[Section, ...]
    missing: list[str]


def read_study(folder: str | os.PathLike, place: str = "") -> StudyFolder:
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
    return StudyFolder(folder, about, stages, models, place)


def render_study(folder: str | os.PathLike) -> str:
    """Return the page of `study_page` as HTML."""
    return study_page(folder).render()


def study_page(folder: str | os.PathLike, place: str = "") -> StudyPage:
    """Return the page about a study's folder; a part whose stage has not run is replaced by one
    line that says so.

    Args:
        folder: with study.json, results.json and the stages' folders and records.
        place: where the folder lies from the page, such as `study/`.

    Raises:
        FileNotFoundError: there is no study.json or no results.json.
    """
    study = read_study(folder, place)
    shown = [(key, title, make(study)) for key, title, make in PARTS]
    missing = [title for key, title, part in shown if part is None and key != "results"]
    return StudyPage(study.about, study.synthetic, sections(shown), missing)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected the folder of a study.")
    return read_json(path)


def _title(stage: dict[str, Any]) -> str:
    weights = _WEIGHTS.get(stage["weights"], ", weights from a file")
    return f"{stage['task'].capitalize()}, {stage['backbone']}{weights}"


def _explanations(study: StudyFolder) -> Part | None:
    stage = study.first("explain")
    if stage is None:
        return None
    every = [
        (f"Every heat map: {_title(s)}", s["folder"], "explanations.html")
        for s in study.stages["explain"]
    ]
    folder = study.folder / stage["folder"]
    return parts.GalleryPart.of(folder, _title(stage), study.links(*every))


def _models(study: StudyFolder) -> Part | None:
    if "train" not in study.stages:
        return None
    return parts.ModelsPart([_model(study, s) for s in study.stages["train"]])


def _model(study: StudyFolder, stage: dict[str, Any]) -> parts.Model:
    contents, said = study.models[stage["model"]], []
    own = {
        kind: s
        for kind in ("shift", "examine", "embed", "explain")
        for s in study.stages.get(kind, [])
        if s["model"] == stage["model"]
    }
    if "shift" in own:
        shift = read_json(study.folder / own["shift"]["folder"] / "shift.json")
        said += shift_sentences(shift)[1:3] if shift else []
    if "examine" in own:
        found = shortcut_summary(study.folder / own["examine"]["folder"])
        if found["shortcuts"]:
            _, lungless, *_, heat = shortcut_sentences(found["shortcuts"])
            said += [lungless, heat]
        if found["faithfulness"]:
            said += faithfulness_sentences(found["faithfulness"])[1:2]
    links = study.links(
        ("Report, with the surest mistakes", stage["folder"], "report.html"),
        *(
            (title, own[kind]["folder"], file)
            for kind, title, file in (
                ("shift", "Under changes", "report.html"),
                ("examine", "Heat maps and shortcuts", "examination.html"),
                ("embed", "Every radiograph in t-SNE", "page.html"),
            )
            if kind in own
        ),
    )
    notes = [
        n for n in contents.card.notes if "random weights" in n and n not in study.about["notes"]
    ]
    return parts.Model(_title(stage), notes, contents.metrics, said, links)


def _neighbours(study: StudyFolder) -> Part | None:
    stage = study.first("embed")
    if stage is None:
        return None
    every = [
        (f"Every radiograph: {_title(s)}", s["folder"], "page.html") for s in study.stages["embed"]
    ]
    return parts.NeighboursPart.of(study.folder / stage["folder"], study.links(*every))


def _detector(study: StudyFolder) -> Part | None:
    stage = study.first("detector")
    if stage is None:
        return None
    links = study.links(("The detector's report", stage["folder"], "report.html"))
    return parts.DetectorPart.of(study.folder / stage["folder"], links)


def _results(study: StudyFolder) -> Part | None:
    results = _read(study.folder / "results.json")
    measured = any(row["value"] is not None for row in results)
    return parts.ResultsPart(results) if measured and not study.synthetic else None


def _audit(study: StudyFolder) -> Part | None:
    return parts.AuditPart.of(study.folder / "audit") if "audit" in study.stages else None


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
    ("explanations", "Right and wrong, and the heat maps", _explanations),
    ("models", "Classifiers", _models),
    ("anomaly", "Anomalies", _detector),
    ("neighbours", "Nearest neighbours and t-SNE", _neighbours),
    ("results", "Compared with the report and the best published numbers", _results),
    ("audit", "Data and audit", _audit),
    ("provenance", "Provenance", _provenance),
)
