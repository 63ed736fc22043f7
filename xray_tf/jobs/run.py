"""Describe one run of a job: its options, its output folder, its progress, and the hidden folder of
an unfinished training.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from xray_tf.artifact import CHECKPOINT
from xray_tf.data.records import Records
from xray_tf.data.tables.csv_files import PARTIAL
from xray_tf.jobs.provenance import fingerprint
from xray_tf.locks import locked, refuse_busy
from xray_tf.options import provenance as options_by_name
from xray_tf.progress import LOG, ProgressLine, shown
from xray_tf.spelling import did_you_mean
from xray_tf.untrusted import anything, mapping, read_json
from xray_tf.writing import flush, new_folder, refuse_existing, refuse_target, settle, write_json

PLAN = "plan.json"
ANSWERED = (PARTIAL, ".parquet")  # ends the names of files with answers in an unfinished folder
UNRECORDED = ("strict", "cache")  # options that do not affect the result

Options = dict[type, Any]  # dataclass -> its instance


@dataclass(frozen=True)
class Run:
    """How a job runs.

    Attributes:
        resume: go on with an unfinished training with the same options.
        tensorboard: a folder for TensorBoard's event files.
        command_line: recorded with the result.
        progress: show progress.
        notes: what the card of a model that is made says first.
        process: the number of this process where several train together; only 0 writes.
        out: the folder to create; None if nothing is written.
    """

    resume: bool = False
    tensorboard: str | None = None
    command_line: str = ""
    progress: bool = True
    notes: tuple[str, ...] = ()
    process: int = 0
    out: Path | None = None

    def at(self, out: str | os.PathLike | None) -> Run:
        """Return the run that creates `out`; checked before anything is read.

        Raises:
            FileExistsError: it exists, or has an unfinished training and `resume` is false.
            OSError: it cannot be created.
            BusyError: another process is writing it.
        """
        if out is None:
            return self
        run = replace(self, out=Path(out))
        if self.process:
            return run
        refuse_target(run.out)
        refuse_busy(run.out)
        if time.localtime().tm_year < 1980:  # no zip archive, and so no model, can be dated before
            raise OSError(f"the machine's clock says {time.ctime()}. Set it, and run again.")
        if (run.workshop / CHECKPOINT).exists() and not self.resume:
            run._refuse_unfinished()
        return run

    def _refuse_unfinished(self) -> None:
        raise FileExistsError(
            f"{self.workshop} contains an unfinished run. Add --resume to go on with it, "
            "or remove it to start again."
        )

    def say(self, text: str) -> None:
        """Log one line."""
        LOG.info(text)

    def line(self, label: str, total: int) -> ProgressLine:
        """Return a progress line that counts up to `total`."""
        return ProgressLine(label, total, self.progress)

    def folder(self) -> AbstractContextManager[Path]:
        """Return a draft folder, which is renamed to `out` when it is complete."""
        return new_folder(self.out)

    @contextmanager
    def answers(self, plan: dict[str, Any]) -> Iterator[Path]:
        """Yield the visible folder `OUT.partial`, which becomes `out` when the block ends. After an
        error or a kill it stays, and a run with the same plan goes on in it.

        Args:
            plan: all that the answers depend on, JSON-serialisable.

        Raises:
            FileExistsError: the folder has the answers of another plan.
            BusyError: another process is writing there.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        folder, plan = self.out.with_name(self.out.name + PARTIAL), json.loads(json.dumps(plan))
        with locked(self.out):
            refuse_existing(self.out)
            settle(self.out)
            folder.mkdir(exist_ok=True)
            if any(folder.iterdir()):
                self._refuse_other_answers(folder, plan)
                self.say(f"Going on with what {folder} has")
            else:
                write_json(folder / PLAN, plan)
            try:
                yield folder
            except BaseException:
                if any(p.stat().st_size for p in folder.rglob("*") if p.suffix in ANSWERED):
                    self.say(f"{folder} keeps what was answered; the same line again goes on")
                else:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            flush(folder)
            os.rename(folder, self.out)
            (self.out / PLAN).unlink()

    @staticmethod
    def _refuse_other_answers(folder: Path, plan: dict[str, Any]) -> None:
        try:
            before = read_json(folder / PLAN)
        except (OSError, ValueError):
            before = None
        before = before if isinstance(before, dict) else {}
        changed = sorted(k for k in {*plan, *before} if plan.get(k) != before.get(k))
        if changed:
            raise FileExistsError(
                f"{folder} has the answers of a run with other values of: {', '.join(changed)}. "
                "Run that line again, or remove the folder, or name another --out."
            )

    @property
    def workshop(self) -> Path:
        """The hidden folder beside `out` in which a training keeps its checkpoint and its plan."""
        return self.out.parent / f".{self.out.name}.unfinished"

    @contextmanager
    def training(self, records: Records, options: Options) -> Iterator[Path]:
        """Yield the workshop. It is removed when the block ends, but stays after an error if there
        is a checkpoint to resume from.

        Args:
            records: the radiographs to learn from.
            options: the job's options; with the records they form the plan kept in the workshop.

        Raises:
            ValueError: the unfinished run has another plan; the message names the
                differences.
            BusyError: another process is training there.
        """
        if self.process:
            yield self.workshop
            return
        named = options_by_name(*recorded(options))
        plan = {
            name: {k: v for k, v in group.items() if k not in UNRECORDED}
            for name, group in named.items()
        }
        plan = json.loads(json.dumps({"data": fingerprint(records), **plan}))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.out):
            self._enter_workshop(plan)
            try:
                yield self.workshop
            except BaseException:
                if not (self.workshop / CHECKPOINT).exists():
                    shutil.rmtree(self.workshop, ignore_errors=True)
                raise
            shutil.rmtree(self.workshop)

    def _enter_workshop(self, plan: dict[str, Any]) -> None:
        path = self.workshop / PLAN
        if self.resume and path.is_file():
            before = read_json(path)
            mapping(anything)(before, str(path))
            self._refuse_other(plan, before)
        if (self.workshop / CHECKPOINT).exists() and not self.resume:
            self._refuse_unfinished()  # written while this process read its data
        if not self.resume:
            # left by a run that was killed before its first checkpoint
            shutil.rmtree(self.workshop, ignore_errors=True)
        self.workshop.mkdir(parents=True, exist_ok=True)
        write_json(path, plan)

    def _refuse_other(self, plan: dict[str, Any], before: dict[str, Any]) -> None:
        now, then = _flat(plan), _flat(before)
        changed = sorted(k for k in now if now[k] != then.get(k))
        if changed:
            raise ValueError(
                f"The unfinished run in {self.workshop} was started with other values of: "
                f"{', '.join(changed)}. Resume with the same options and data."
            )


def names_of(records: Records) -> dict[str, Any]:
    """Return, for a plan, which radiographs are answered, in order; the names stay out of it."""
    said = "\0".join(os.fspath(records.file(r)) for r in records)
    sha256 = hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()
    return {"radiographs": len(records), "names": sha256}


def recorded(options: Options) -> list[Any]:
    """Return the options that affect a result: all except how the job runs."""
    return [group for kind, group in options.items() if kind is not Run]


def takes(*groups: type) -> Callable[[Callable], Callable]:
    """Let a job take its options as dataclasses, in any order and under any name, or one by one as
    keywords, such as `epochs=5`; `Run` is always among them.

    The job itself has a parameter `options`, which holds one instance of each group.
    """
    groups = (*groups, Run)

    def wrap(job: Callable) -> Callable:
        own = [p for p in inspect.signature(job).parameters.values() if p.name != "options"]
        names = {p.name for p in own}
        free = {f.name for group in groups for f in fields(group)} - names - {"out"}

        @functools.wraps(job)
        def call(*args, **named):
            given = [v for v in (*args, *named.values()) if isinstance(v, groups)]
            args = [v for v in args if not isinstance(v, groups)]
            named = {k: v for k, v in named.items() if not isinstance(v, groups)}
            _refuse_unknown(job, named, free | names)
            single = {k: named.pop(k) for k in free & set(named)}
            options = _filled(job, groups, given, single)
            with shown(options[Run].progress):
                return job(*args, options=options, **named)

        call.__signature__ = _signature(own, groups, free)
        return call

    return wrap


def _filled(
    job: Callable, groups: tuple[type, ...], given: list[Any], single: dict[str, Any]
) -> Options:
    """Return an instance of each group: the one given or the default, with single options in it."""
    kinds = {type(v): v for v in given}
    if len(kinds) < len(given):
        raise TypeError(f"{job.__name__}() was given options of one kind twice: {given}")
    options = {}
    for group in groups:
        mine = {f.name: single[f.name] for f in fields(group) if f.name in single}
        options[group] = replace(kinds.get(group) or group(), **mine)
    return options


def _refuse_unknown(job: Callable, named: dict[str, Any], known: set[str]) -> None:
    for name in set(named) - known:
        raise TypeError(f"{job.__name__}() has no option {name!r}.{did_you_mean(name, known)}")


def _signature(own: list, groups: tuple[type, ...], free: set[str]) -> inspect.Signature:
    """Return the signature with every option in it, for help and completion."""
    kind = inspect.Parameter
    listed = [
        kind(f.name, kind.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for group in groups
        for f in fields(group)
        if f.name in free
    ]
    before = [p for p in own if p.kind is not kind.KEYWORD_ONLY]
    after = [p for p in own if p.kind is kind.KEYWORD_ONLY]
    return inspect.Signature([*before, kind("options", kind.VAR_POSITIONAL), *after, *listed])


def _flat(plan: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for group, values in plan.items():
        whole = isinstance(values, dict)
        out |= {f"{group}.{k}": v for k, v in values.items()} if whole else {group: values}
    return out
