"""The whole study in one call: stages that go on where they were killed, are skipped when done, and are never overwritten unasked.

    OUT/study.json          what study it is: options, data, stages
    OUT/stages/<name>.json  one record a stage: what went into it, and whether it is finished
    OUT/audit, split, models/*, embeddings/*, ...   what the stages left
    OUT/results.json, results.csv, report.html      made anew whenever a stage was run
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from xray_tf.artifact import refuse_existing, write_text
from xray_tf.data.sources import recognise, scan
from xray_tf.jobs.corpus import read_corpus
from xray_tf.jobs.provenance import fingerprint, provenance
from xray_tf.jobs.stage_runs import WORKSHOP
from xray_tf.jobs.stages import Recipe, Stage, Study, make_preset, stages_of
from xray_tf.jobs.study_results import collect_results, write_results
from xray_tf.options import DataOptions, ReproduceOptions, is_pretrained

STUDY, RECORDS, REPORT = "study.json", "stages", "report"
KERAS_FILE = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"


def reproduce_study(data: str, out: str | os.PathLike, options: ReproduceOptions = ReproduceOptions(), data_options: DataOptions = DataOptions(), *,  # noqa: B008
                    only: Sequence[str] = (), force: bool = False, dry_run: bool = False, command_line: str = "",
                    progress: bool = True) -> list[dict[str, Any]]:
    """Run the report's study: audit, split, classifiers, neighbours, shift bench, anomaly detector, explanations; end with a table and a page.

    A stage whose record says that it is finished, with the same options and the same radiographs, is skipped; a training that was killed goes on
    from its checkpoint.

    Args:
        data: as in training.
        out: the study's folder: a new one, or one of an earlier call.
        options: preset, trunk, weights, rows; see `ReproduceOptions`.
        data_options: as in training; `split` gives nothing here, since the study divides once for all stages.
        only: names of stages, or of their kinds (train, embed, ...); all when empty.
        force: make again the stages named in `only`, or without it those whose options or data changed; and what rests on them.
        dry_run: print the plan with estimates of its time, measured on this machine, and do nothing.
        command_line: kept with the results.
        progress: say what is going on.

    Returns:
        The table: one dict a figure, see `study_results.collect_results`.

    Raises:
        FileExistsError: the folder holds something else, or stages made with other options or data.
        ValueError: an unknown stage, or one whose input is not there.
        WeightsUnavailable: ImageNet weights are neither here nor to be had; said before anything is run.
    """
    say = partial(print, flush=True) if progress else (lambda *_: None)
    out = Path(out)
    if not (out / STUDY).is_file():
        refuse_existing(out)
    if data_options.split:
        raise ValueError("A study divides the data itself, once for all its stages. Leave out --split.")
    study = Study(out, data, data_options, options, make_preset(options), command_line=command_line, progress=progress)
    records, study = _look_at(study, dry_run, say)
    stages = stages_of(study)
    wanted = _wanted(stages, only)
    plan = _Plan(out, stages, None if dry_run else fingerprint(records))
    plan.choose(wanted, force, bool(only))
    if dry_run:
        from xray_tf.jobs.study_estimates import describe_plan

        say(describe_plan(study, records, stages, plan.todo, plan.states))
        return []
    _check_weights([s.recipe for s in stages if s.kind == "train" and s.name in plan.todo], say)
    with _locked(out):
        plan.settle()
        _write_study(study, records, stages)
        started = time.monotonic()
        for number, stage in enumerate(plan.todo, 1):
            say(f"== {number}/{len(plan.todo)} {stage}")
            plan.run(stage)
        rows = _finish(study, stages, bool(plan.todo) or REPORT in only)
    say(f"{len(plan.todo)} stages run in {(time.monotonic() - started) / 60:.1f} minutes, {len(stages) - len(plan.todo)} not run now")
    return rows


def _look_at(study: Study, names_only: bool, say: Callable) -> tuple[Any, Study]:
    """Read the data, or with `names_only` list them, and count them."""
    options, model = study.data_options, study.preset.recipes[0].model
    if names_only:
        records = scan(study.data, options.source, options.patient_key, options.cache).records
    else:
        records = read_corpus(study.data, "binary", options, model.image_size, model.resize, study.progress).records
    study = replace(study, total=len(records))
    say(f"{len(records):,} radiographs" + (f", of which {study.options.rows:,} are used" if study.limited else ""))
    return records, study


def _wanted(stages: list[Stage], only: Sequence[str]) -> list[str]:
    known = {s.name for s in stages} | {s.kind for s in stages} | {REPORT}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(f"only must name stages of this study ({', '.join(s.name for s in stages)}, {REPORT}) or their kinds "
                         f"({', '.join(dict.fromkeys(s.kind for s in stages))}). Received: {unknown[0]!r}")
    return [s.name for s in stages if not only or s.name in only or s.kind in only]


class _Plan:
    """Which stages are done, which are to be run, and their records on disk."""

    def __init__(self, out: Path, stages: list[Stage], data: str | None):
        self.out, self.stages, self.data = out, {s.name: s for s in stages}, data
        self.keys: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.differences: dict[str, list[str]] = {}
        self.todo: list[str] = []
        for stage in stages:
            inputs = {"options": stage.options, "after": {name: self.keys[name] for name in stage.after}}
            self.keys[stage.name] = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
            self.states[stage.name] = self._state(stage)

    def choose(self, wanted: list[str], force: bool, named: bool) -> None:
        """Decide what is run, or raise where that would overwrite something or lack its input."""
        changed = [n for n in wanted if self.states[n] == "changed"]
        if changed and not force:
            own = [f"{n} ({', '.join(self.differences[n][:4])})" for n in changed if self.differences[n]]
            rest = f"; {len(changed) - len(own)} more rest on them" if len(changed) > len(own) else ""
            raise FileExistsError(f"{self.out} holds stages made with other options or data: {'; '.join(own)}{rest}. Add --force to make them again, or "
                                  "name another --out.")
        again = set((wanted if named else changed) if force else ())
        for stage in self.stages.values():  # what rests on a stage made again is made again; the order is the order of running
            if again & set(stage.after):
                again.add(stage.name)
        self.todo = [n for n in self.stages if n in again or n in wanted and self.states[n] != "done"]
        for name in self.todo:
            lacking = [n for n in self.stages[name].after if n not in self.todo and self.states[n] != "done"]
            if lacking:
                raise ValueError(f"stage {name} reads what {lacking[0]} leaves, which is not there. Run that first, or leave out --only.")
        self.states.update((n, "again") for n in again if self.states[n] != "to do")

    def run(self, name: str) -> None:
        """Run a stage between its two records; what it replaces is put back if it fails."""
        stage = self.stages[name]
        target = self.out / stage.folder
        aside = target.with_name(f".{target.name}.replaced")
        self._sweep(stage, aside)
        if target.exists():
            os.rename(target, aside)
        before = self._record(name)
        self._write(stage)
        started = time.monotonic()
        try:
            stage.run()
        except BaseException:
            if aside.exists() and not target.exists():
                os.rename(aside, target)
                write_text(self._path(name), json.dumps(before, indent=1) + "\n")
            elif target.exists():
                self._write(stage, time.monotonic() - started, True)
            raise
        self._write(stage, time.monotonic() - started, True)
        shutil.rmtree(aside, ignore_errors=True)

    def _sweep(self, stage: Stage, aside: Path) -> None:
        """Remove what a killed run of this stage left half-made; a checkpoint stays unless its options changed."""
        target = self.out / stage.folder
        for left in target.parent.glob(f".{target.name}.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        if stage.kind in ("train", "detector") and self.states[stage.name] == "again":
            shutil.rmtree(self.out / WORKSHOP, ignore_errors=True)

    def _state(self, stage: Stage) -> str:
        record = self._record(stage.name)
        there = (self.out / stage.folder).exists()
        if record is None:
            self.differences[stage.name] = [f"{stage.folder}/ has no record"] if there else []
            return "changed" if there else "to do"
        was, now = _flat(record["options"]), _flat(stage.options)
        self.differences[stage.name] = [f"{k} {was.get(k)} -> {now.get(k)}" for k in {**was, **now} if was.get(k) != now.get(k)]
        if self.data and record["data"] != self.data:
            self.differences[stage.name].append("the radiographs")
        if self.differences[stage.name] or record["key"] != self.keys[stage.name]:
            return "changed"
        return "done" if there else "begun"  # a folder appears whole or not at all, whatever became of the record

    def _path(self, name: str) -> Path:
        return self.out / RECORDS / f"{name}.json"

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads(self._path(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self._path(name)} is damaged ({error}). Remove it and run again with --force: the stage {name} is then made again.") from error

    def settle(self) -> None:
        """Finish the records of stages that were killed between their folder and their record."""
        for name, state in self.states.items():
            if state == "done" and not self._record(name)["finished"]:
                self._write(self.stages[name], None, True)

    def _write(self, stage: Stage, seconds: float | None = None, done: bool = False) -> None:
        finished = datetime.now(UTC).isoformat(timespec="seconds") if done else ""
        record = {"stage": stage.name, "kind": stage.kind, "folder": stage.folder, "key": self.keys[stage.name], "data": self.data, "options": stage.options,
                  "finished": finished, "seconds": None if seconds is None else round(seconds, 1)}
        self._path(stage.name).parent.mkdir(exist_ok=True)
        write_text(self._path(stage.name), json.dumps(record, indent=1) + "\n")


def _check_weights(recipes: list[Recipe], say: Callable) -> None:
    """Make sure that every trunk's weights are to be had before hours are spent on the first.

    Raises:
        WeightsUnavailable: they are not; the message says what to put where.
    """
    from xray_tf.nets.classifier import build_classifier
    from xray_tf.nets.weights import WeightsUnavailable
    from xray_tf.registry import TASKS

    for model in {(r.model.backbone, r.model.weights): r.model for r in recipes if is_pretrained(r.model.weights)}.values():
        say(f"Looking for the {model.weights} weights of {model.backbone}")
        try:
            build_classifier(model, TASKS["binary"], 0)
        except WeightsUnavailable as error:
            name = model.backbone
            place = f"put {KERAS_FILE.format(name)} (Keras's download) into ~/.keras/models, or give it as --weights {name}=FILE" \
                if name.startswith("resnet") and name != "resnet18" else f"give a .weights.h5 or .keras file of that trunk as --weights {name}=FILE"
            raise WeightsUnavailable(f"Nothing was run: the ImageNet weights of {name} are not here and could not be downloaded. Either {place}; or take "
                                     "--backbone efficientnet_lite0 or --preset best, whose weights come with the offline extra; or --weights none (random "
                                     "weights, which every page then says).") from error


def _write_study(study: Study, records: Any, stages: list[Stage]) -> None:
    given = any(r.split == "test" for r in records)
    about = {
        "preset": study.options.preset, "words": study.preset.words,
        "data": {"source": recognise(study.data) if study.data_options.source == "auto" else study.data_options.source, "radiographs": study.total,
                 "used": study.options.rows if study.limited else study.total, "limited": study.limited, "fingerprint": fingerprint(records),
                 "test_part": "given with the data" if given else f"carved out by {study.data_options.split_by}"},
        "notes": study.notes(), "split_by": study.data_options.split_by,
        "stages": [{"name": s.name, "kind": s.kind, "folder": s.folder, "model": s.recipe.name if s.recipe else "",
                    "task": s.recipe.train.task if s.recipe else "", "backbone": s.recipe.model.backbone if s.recipe else "",
                    "weights": (s.recipe.model.weights or "none") if s.recipe else ""} for s in stages],
        "provenance": provenance(study.command_line, records, study.options, study.data_options),
    }
    write_text(study.out / STUDY, json.dumps(about, indent=1) + "\n")


def _finish(study: Study, stages: list[Stage], changed: bool) -> list[dict[str, Any]]:
    from xray_tf.pages.study_page import render_study

    rows = collect_results(study.out)
    if changed or not (study.out / "report.html").is_file():
        write_results(rows, study.out)
        write_text(study.out / "report.html", render_study(study.out))
    return rows


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the study's folder, so that two runs never write into it at once; the system lets go of it when a run is killed."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a") as stream:
        with suppress(ImportError):  # where there is no fcntl (Windows), nothing is held
            import fcntl

            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(f"Another run is working in {out}. Wait for it, or name another --out.") from None
        yield


def _flat(options: dict[str, Any], name: str = "") -> dict[str, Any]:
    out = {}
    for key, value in options.items():
        out.update(_flat(value, f"{name}{key}.") if isinstance(value, dict) else {f"{name}{key}": value})
    return json.loads(json.dumps(out))
