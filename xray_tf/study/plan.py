"""Keep on disk which stages of a study are done, and decide which to run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xray_tf.artifact import write_json
from xray_tf.study.runs import WORKSHOP
from xray_tf.study.stages import Stage

STUDY, RECORDS, REPORT = "study.json", "stages", "report"


class Plan:
    """The stages that are done, those to run, and their records on disk."""

    def __init__(self, out: Path, stages: list[Stage], data: str | None):
        self.out, self.stages, self.data = out, {s.name: s for s in stages}, data
        self.keys: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.differences: dict[str, list[str]] = {}
        self.todo: list[str] = []
        for stage in stages:
            inputs = {
                "options": stage.options,
                "after": {name: self.keys[name] for name in stage.after},
            }
            self.keys[stage.name] = hashlib.sha256(
                json.dumps(inputs, sort_keys=True).encode()
            ).hexdigest()
            self.states[stage.name] = self._state(stage)

    def choose(self, wanted: list[str], force: bool, named: bool) -> None:
        """Decide what to run; raise if that would overwrite something or lack its input."""
        changed = [n for n in wanted if self.states[n] == "changed"]
        if changed and not force:
            own = [
                f"{n} ({', '.join(self.differences[n][:4])})"
                for n in changed
                if self.differences[n]
            ]
            others = len(changed) - len(own)
            rest = f"; {others} more depend on them" if others else ""
            raise FileExistsError(
                f"{self.out} has stages that ran with other options or data: "
                f"{'; '.join(own)}{rest}. Add --force to run them again, or name another --out."
            )
        again = set((wanted if named else changed) if force else ())
        # what depends on a stage that runs again runs again; the order is the order of running
        for stage in self.stages.values():
            if again & set(stage.after):
                again.add(stage.name)
        self.todo = [
            n for n in self.stages if n in again or n in wanted and self.states[n] != "done"
        ]
        for name in self.todo:
            lacking = [
                n
                for n in self.stages[name].after
                if n not in self.todo and self.states[n] != "done"
            ]
            if lacking:
                raise ValueError(
                    f"stage {name} needs the results of {lacking[0]}, which are "
                    "missing. Run that first, or leave out --only."
                )
        self.states.update((n, "again") for n in again if self.states[n] != "to do")

    def run(self, name: str) -> None:
        """Run a stage, with a record before and after it; if it fails, restore what it replaces."""
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
                write_json(self._path(name), before)
            elif target.exists():
                self._write(stage, time.monotonic() - started, True)
            raise
        self._write(stage, time.monotonic() - started, True)
        shutil.rmtree(aside, ignore_errors=True)

    def _sweep(self, stage: Stage, aside: Path) -> None:
        """Remove what a killed run of this stage left unfinished; a checkpoint stays unless its
        options changed.
        """
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
        self.differences[stage.name] = [
            f"{k} {was.get(k)} -> {now.get(k)}" for k in {**was, **now} if was.get(k) != now.get(k)
        ]
        if self.data and record["data"] != self.data:
            self.differences[stage.name].append("the radiographs")
        if self.differences[stage.name] or record["key"] != self.keys[stage.name]:
            return "changed"
        # a folder appears completely or not at all, whatever happened to the record
        return "done" if there else "begun"

    def _path(self, name: str) -> Path:
        return self.out / RECORDS / f"{name}.json"

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads(self._path(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(
                f"{self._path(name)} is damaged ({error}). Remove it and run again "
                f"with --force: the stage {name} will then run again."
            ) from error

    def settle(self) -> None:
        """Complete the records of stages that were killed after writing their folder."""
        for name, state in self.states.items():
            if state == "done" and not self._record(name)["finished"]:
                self._write(self.stages[name], None, True)

    def _write(self, stage: Stage, seconds: float | None = None, done: bool = False) -> None:
        finished = datetime.now(UTC).isoformat(timespec="seconds") if done else ""
        record = {
            "stage": stage.name,
            "kind": stage.kind,
            "folder": stage.folder,
            "key": self.keys[stage.name],
            "data": self.data,
            "options": stage.options,
            "finished": finished,
            "seconds": None if seconds is None else round(seconds, 1),
        }
        self._path(stage.name).parent.mkdir(exist_ok=True)
        write_json(self._path(stage.name), record)


def _flat(options: dict[str, Any], name: str = "") -> dict[str, Any]:
    out = {}
    for key, value in options.items():
        out.update(
            _flat(value, f"{name}{key}.") if isinstance(value, dict) else {f"{name}{key}": value}
        )
    return json.loads(json.dumps(out))
