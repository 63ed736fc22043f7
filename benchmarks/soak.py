"""Kill, race, fill up, edit and damage, again and again, and count what is lost.

python benchmarks/soak.py [--minutes N] [--seed SEED] [--write]

Each round draws one kind of trouble and its moment from the seed, lets it happen, and checks the
promise of `docs/trust.md` that covers it. The table at the end counts rounds by kind: what was
tried, how often a process was stopped half-way, and what was lost or silently wrong. The exit
status is 1 if anything was. It needs POSIX (fork and signals).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from xray_tf.artifact import ArtifactError, Card, new_piece, read_card, seal
from xray_tf.data.pixels.decoding import decode
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.scan import scan
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.data.tables.arrays import read_arrays, write_arrays
from xray_tf.data.tables.table import TableWriter
from xray_tf.operating_point import OperatingPoint
from xray_tf.writing import draft_of, new_folder, renewed_folder, write_json

RESULTS = Path(__file__).parent / "results" / "soak.json"
NAMES = ("normal", "pneumonia")
SECONDS = 20  # a file that takes longer hangs
STOPS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Lost(AssertionError):
    """A promise was broken."""


def promise(kept: bool, what: str) -> None:
    """Raise Lost unless a promise was kept."""
    if not kept:
        raise Lost(what)


def forked(job: Callable[[], None]) -> int:
    """Run a job in a process of its own, silent; return its number.

    Signals wait until the child is inside its `try`, and a second `finally` stands behind the
    first: an interrupt at any moment ends the child and never runs on as the parent's code.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        return child
    status = 1
    try:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            job()
            status = 0
        finally:
            os._exit(status)
    finally:
        os._exit(1)


def stopped(job: Callable[[], None], rng: random.Random, longest: float = 0.04) -> bool:
    """Run a job and stop it by a signal at a random moment; return whether that came in time."""
    child = forked(job)
    time.sleep(rng.uniform(0, longest))
    os.kill(child, rng.choice(STOPS))
    return os.waitpid(child, 0)[1] != 0


def make_artifact(folder: Path) -> None:
    """Make a small classifier's folder, with a model that nobody can open."""
    with new_folder(folder) as draft:
        (draft / "model.keras").write_bytes(os.urandom(200_000))
        (draft / "metrics.json").write_text("{}")
        points = {"steady": OperatingPoint("steady", threshold=0.5)}
        prep = {"image_size": 48, "resize": "crop", "decoding": 2}
        seal(draft, Card("classifier", "m", "binary", NAMES, prep, 1.0, points, "steady"))


def renew(folder: Path, name: str) -> None:
    """Add a file to an artifact."""
    with renewed_folder(folder) as draft:
        card = read_card(draft)
        (draft / name).write_text(name)
        seal(draft, replace(card, notes=(*card.notes[-3:], name), files={}))


def batch(start: int, count: int = 64) -> Predictions:
    """Return some rows of answers."""
    paths = [f"=scan {start + i}\n.png" for i in range(count)]
    return Predictions(NAMES, paths, [[0.25, 0.75]] * count, [1] * count)


def hidden_below(folder: Path) -> list[str]:
    """Return the names of drafts below a folder."""
    return [p.name for p in folder.rglob(".*") if ".tmp-" in p.name]


# ---- kinds of trouble: each returns whether something was stopped half-way


def kill_renewal(place: Path, rng: random.Random) -> bool:
    """An artifact opens under its name whatever stops its renewal, and nothing is left over."""
    folder = place / "m"
    make_artifact(folder)
    hit = stopped(lambda: [renew(folder, f"a{i}") for i in range(50)] and None, rng)
    read_card(folder)
    renew(folder, "last")
    promise((folder / "last").is_file(), "the next renewal was lost")
    promise(not hidden_below(place), f"left over: {hidden_below(place)}")
    return hit


def kill_piece(place: Path, rng: random.Random) -> bool:
    """A piece is there whole or not at all."""
    folder = place / "m"
    make_artifact(folder)

    def add() -> None:
        with new_piece(folder, "saved_model") as draft:
            for i in range(20):
                (draft / f"v{i}").write_bytes(os.urandom(50_000))

    hit = stopped(add, rng)
    read_card(folder)
    if (folder / "saved_model").exists():
        promise(len(list((folder / "saved_model").iterdir())) == 21, "half a piece")
    renew(folder, "last")
    promise(not hidden_below(place), f"left over: {hidden_below(place)}")
    promise(not [n for n in read_card(folder).files if ".tmp-" in n], "a draft was sealed")
    return hit


def kill_answers(place: Path, rng: random.Random) -> bool:
    """Answers that were reported are on the disk, and the same writer goes on after them."""
    path, told = place / "p.csv", place / "told"

    def answer() -> None:
        with TableWriter(path, Predictions, NAMES) as writer:
            for start in range(writer.rows, 64 * 200, 64):
                writer.append(batch(start))
                told.write_text(str(start + 64))

    hit = stopped(answer, rng, 0.2)
    before = int(told.read_text() or 0) if told.exists() else 0
    with TableWriter(path, Predictions, NAMES) if not path.exists() else nothing() as writer:
        if writer:
            promise(writer.rows >= before, f"{before - writer.rows} reported answers are lost")
            writer.append(batch(writer.rows, 64 * 200 - writer.rows))
    back = Predictions.read_csv(path)
    promise(list(back.paths) == list(batch(0, 64 * 200).paths), "rows are missing or twice")
    return hit


@contextmanager
def nothing() -> Iterator[None]:
    """Yield nothing."""
    yield None


def kill_checkpoint(place: Path, rng: random.Random) -> bool:
    """A checkpoint is the old one or the new one."""
    path = place / "checkpoint.npz"

    def save() -> None:
        for step in range(200):
            with draft_of(path) as draft:
                write_arrays(draft, {"step": np.full(20_000, step, np.int64)})

    hit = stopped(save, rng, 0.1)
    if path.exists():
        steps = read_arrays(path)["step"]
        promise(len(steps) == 20_000 and len(set(steps.tolist())) == 1, "a torn checkpoint")
    return hit


def race(place: Path, rng: random.Random) -> bool:
    """What every process added is there, and readers never meet half an exchange."""
    folder, names = place / "m", [f"r{i}" for i in range(rng.randint(2, 4))]
    make_artifact(folder)
    jobs = [forked(lambda name=name: renew(folder, name)) for name in names]
    left = set(jobs)
    while left:
        read_card(folder)
        left -= {job for job in left if os.waitpid(job, os.WNOHANG)[0]}
    read_card(folder)
    gone = [n for n in names if not (folder / n).is_file()]
    promise(not gone, f"lost updates: {gone}")
    return True


def fill_disk(place: Path, rng: random.Random) -> bool:
    """Where a file cannot grow, an error is raised, no draft is left, and answers are kept."""
    limit = rng.randint(100, 60_000)

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            write_json(place / "big.json", "x" * 100_000)
        except OSError:
            pass
        with TableWriter(place / "p.csv", Predictions, NAMES) as writer:
            for start in range(0, 64 * 100, 64):
                writer.append(batch(start))

    child = forked(write)
    promise(os.waitpid(child, 0)[1] != 0, "a full disk was not noticed")
    promise(not hidden_below(place), f"left over: {hidden_below(place)}")
    promise(not (place / "big.json").exists(), "half a file has its name")
    with TableWriter(place / "p.csv", Predictions, NAMES) as writer:
        whole = writer.rows
        writer.append(batch(whole))
    promise(whole >= limit // 80 - 64, f"{whole} rows are kept of {limit} bytes")
    return True


def edit_card(place: Path, rng: random.Random) -> bool:
    """An edited card is refused in one sentence."""
    make_artifact(place / "m")
    path = place / "m" / "card.json"
    raw = json.loads(path.read_text())
    text = path.read_text()
    if rng.random() < 0.5:
        values = [None, -1, 1e9, True, [], {}, "x" * 20_000, [[0]], 0.123, "pneumonia"]
        raw[rng.choice(sorted(raw))] = rng.choice(values)
        text = json.dumps(raw)
    else:
        at = rng.randrange(len(text))
        text = text[:at] + chr(rng.randrange(1, 255)) + text[at + rng.randint(0, 5) :]
    before = json.loads(path.read_text())
    path.write_text(text)
    try:
        read_card(path.parent, "classifier")
    except ArtifactError as error:
        promise("\n" not in str(error), "more than a sentence")
        return True
    promise(json.loads(text) == before, "an edited card was opened")
    return False


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes of which some were changed, cut out, doubled or zeroed."""
    for _ in range(rng.randint(1, 4)):
        a, n = rng.randrange(max(1, len(data))), rng.choice((1, 2, 30, 5_000))
        middle = {
            "flip": bytes(b ^ (1 << rng.randrange(8)) for b in data[a : a + n]),
            "cut": b"",
            "zero": bytes(len(data[a : a + n])),
            "double": data[a : a + n] * 2,
            "noise": rng.randbytes(n),
        }[rng.choice(("flip", "cut", "zero", "double", "noise"))]
        data = data[:a] + middle + data[a + n :]
    return data


def damage_file(place: Path, rng: random.Random) -> bool:
    """A damaged file is answered or refused as one, in bounded time."""
    image = draw_phantom("viral", seed=rng.randrange(9), patient=1, height=160, width=150).image
    packed = io.BytesIO()
    write_arrays(packed, {"a": np.arange(999.0)}, packed=True)
    csv = "path,label,patient\n" + "".join(f"{i}.png,normal,p{i}\n" for i in range(99))
    kind = rng.choice((".jpg", ".png", ".npz", ".csv"))
    good = {
        ".npz": packed.getvalue(),
        ".csv": csv.encode(),
    }.get(kind) or cv2.imencode(kind, image)[1].tobytes()
    path, started = place / f"f{kind}", time.process_time()
    path.write_bytes(damaged(good, rng))
    reader = {
        ".npz": read_arrays,
        ".csv": lambda p: scan(p, cache=place / "cache"),
    }.get(kind, lambda p: decode(p.read_bytes(), 48, "crop"))
    try:
        reader(path)
        refused = False
    except (ValueError, DecodeError, OSError):
        refused = True
    promise(time.process_time() - started < SECONDS, f"{kind} takes too long")
    return refused


KINDS = {
    f.__name__.replace("_", " "): f
    for f in (
        *(kill_renewal, kill_piece, kill_answers, kill_checkpoint),
        *(race, fill_disk, edit_card, damage_file),
    )
}


def rounds_of(minutes: float) -> Iterator[int]:
    """Yield 0, 1, ... until the time is over."""
    deadline = time.monotonic() + 60 * minutes
    yield from itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count())


def soak(rounds: Iterable[int], seed: int) -> dict[str, dict[str, int]]:
    """Run the rounds of these numbers, and return the counts by kind of trouble."""
    rows = {name: {"tried": 0, "stopped or refused": 0, "lost": 0} for name in KINDS}
    for number in rounds:
        rng = random.Random(f"{seed} {number}")
        name = list(KINDS)[number % len(KINDS)]
        place = Path(tempfile.mkdtemp(prefix="soak-"))
        rows[name]["tried"] += 1
        try:
            rows[name]["stopped or refused"] += KINDS[name](place, rng)
        except Exception as error:  # any other error is a broken promise too
            rows[name]["lost"] += 1
            print(f"round {number}, {name}: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return rows


def main() -> int:
    """Parse, soak, print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    rows = soak(rounds_of(given.minutes), given.seed)
    print("| trouble | tried | stopped or refused | lost |\n| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:,}" for v in row.values()) + " |")
    if given.write:
        write_json(RESULTS, {"minutes": given.minutes, "seed": given.seed, "rows": rows})
    return int(any(row["lost"] for row in rows.values()))


if __name__ == "__main__":
    raise SystemExit(main())
