"""Writing survives kills, races and full disks: whole or not at all, one writer at a time."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xray_tf import writing
from xray_tf.artifact import Card, new_piece, read_card, seal
from xray_tf.locks import BusyError, locked, refuse_busy
from xray_tf.writing import new_folder, refuse_target, renewed_folder, write_text

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs fork and signals")
ADDS = """
import sys, time
from pathlib import Path
from xray_tf.writing import renewed_folder
folder, mine, others = sys.argv[1:]
Path(folder + "." + mine).touch()
with renewed_folder(folder) as draft:
    (draft / mine).write_text("x")
    while not Path(folder + "." + others).exists():  # both are at it
        time.sleep(0.01)
"""
PATIENCE_S = 600  # only a hang takes as long


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "m"
    made.mkdir()
    (made / "weights.bin").write_bytes(b"x")
    seal(made, Card("classifier", "m"))
    return made


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def killed(block):
    """Run `block` in a process that is killed at the end of it."""
    child = os.fork()
    if not child:
        try:
            block()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def fill(manager):
    with manager as draft:
        (draft / "big").write_bytes(b"0" * 1000)
        os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_that_add_to_one_artifact_both_keep_what_they_added(folder, tmp_path):
    jobs = [
        subprocess.Popen([sys.executable, "-c", ADDS, str(folder), *names])
        for names in ("ab", "ba")
    ]
    assert [job.wait(PATIENCE_S) for job in jobs] == [0, 0]
    assert {"a", "b"} <= set(names(folder))


def test_a_second_writer_is_refused_at_once_and_told_who_the_first_is(tmp_path):
    code = (
        "import sys\nfrom xray_tf.locks import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    for attempt in (lambda: refuse_busy(tmp_path / "m"), new_folder(tmp_path / "m").__enter__):
        with pytest.raises(BusyError, match=f"process {holder.pid} on "):
            attempt()
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with new_folder(tmp_path / "m") as draft:  # a killed process holds nothing
        (draft / "made").touch()
    assert names(tmp_path) == ["m"]


def test_a_lock_is_held_again_inside_its_own_block(tmp_path):
    with locked(tmp_path / "m"), locked(tmp_path / "m"):
        assert names(tmp_path) == [".m.lock"]
    assert names(tmp_path) == []


@POSIX
@pytest.mark.parametrize("exchanges", [True, False])
def test_an_artifact_opens_after_a_kill_at_any_call(exchanges, folder, tmp_path, monkeypatch):
    """Kill at the first, second, ... call that changes the disk, until a renewal runs whole."""
    if not exchanges:
        monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    survived = 0
    for last in range(40):
        child = os.fork()
        if not child:
            counts = iter(range(100))

            def dying(call, counts=counts, last=last):
                def wrapped(*given, **named):
                    result = call(*given, **named)
                    if next(counts) == last:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

                return wrapped

            for name in ("rename", "replace", "fsync", "unlink", "rmdir"):
                setattr(os, name, dying(getattr(os, name)))
            writing.exchange = dying(writing.exchange)
            with renewed_folder(folder) as draft:
                seal(draft, replace(read_card(draft), notes=(f"{last}",)))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        card = read_card(folder)  # opens, the old one or the new one, whole
        assert card.notes in ((), *((f"{n}",) for n in range(last + 1)))
        if status == 0:
            break
        survived += 1
    assert survived >= 5 and status == 0
    assert names(tmp_path) == ["m"], "the last run swept what the killed ones left"


@POSIX
def test_the_next_run_of_the_same_kind_sweeps_what_killed_ones_left(folder, tmp_path, caplog):
    killed(lambda: fill(renewed_folder(folder)))
    killed(lambda: fill(new_folder(tmp_path / "new")))
    assert len([n for n in names(tmp_path) if ".tmp-" in n]) == 2
    caplog.set_level("INFO", "xray_tf")
    killed(lambda: fill(new_piece(folder, "saved_model")))
    assert any(".tmp-" in n for n in names(folder))
    with renewed_folder(folder) as draft:
        seal(draft, read_card(folder))
    with new_folder(tmp_path / "new"):
        pass
    assert names(tmp_path) == ["m", "new"] and names(folder) == ["card.json", "weights.bin"]
    assert set(json.loads((folder / "card.json").read_text())["files"]) == {"weights.bin"}
    assert caplog.text.count("which a killed process left") >= 3


def test_a_draft_is_neither_copied_nor_sealed(folder):
    (folder / ".saved_model.tmp-x").mkdir()
    (folder / ".saved_model.tmp-x" / "half").touch()
    assert set(seal(folder, read_card(folder)).files) == {"weights.bin"}


def test_a_reader_never_meets_half_an_exchange(folder):
    code = (
        "import os, sys\nfrom dataclasses import replace\n"
        "from xray_tf.artifact import read_card, renewed_folder, seal\n"
        "done = 0\n"
        "while not os.path.exists(sys.argv[1] + '.enough'):\n"
        "    done += 1\n"
        "    with renewed_folder(sys.argv[1]) as draft:\n"
        "        card = read_card(draft)\n"
        "        (draft / 'weights.bin').write_bytes(os.urandom(50_000))\n"
        "        seal(draft, replace(card, notes=(str(done),), files={}))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    reads = renewals = 0
    while reads < 200 or renewals < 40:
        renewals = int((read_card(folder, "classifier").notes or ("0",))[0])
        reads += 1
        assert writer.poll() is None
    Path(f"{folder}.enough").touch()
    assert writer.wait(PATIENCE_S) == 0


@POSIX
def test_nothing_is_left_where_a_file_cannot_be_written(tmp_path):
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        with pytest.raises(OSError):
            write_text(tmp_path / "page.html", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert names(tmp_path) == []


def test_a_link_is_never_followed_into_an_artifact(folder, tmp_path):
    (tmp_path / "id_rsa").write_text("PRIVATE")
    (folder / "extra.txt").symlink_to(tmp_path / "id_rsa")
    with pytest.raises(ValueError, match="symbolic link"), renewed_folder(folder):
        pass
    with pytest.raises(ValueError, match="symbolic link"):
        seal(folder, Card("classifier", "m"))
    (folder / "extra.txt").unlink()
    (folder / "weights.bin").rename(tmp_path / "elsewhere")
    (folder / "weights.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="symbolic link"):
        read_card(folder)


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path):
    refuse_target(tmp_path / "new" / "deep")
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "below", "/proc/nope", "/proc/nope/deeper"):
        if Path("/proc/self").exists() or "proc" not in str(place):
            with pytest.raises(OSError, match="cannot be created"):
                refuse_target(place)
