"""The queue loses nothing, whenever it is stopped, and tells nothing to who finds it."""

import os

import pytest

from xray_tf.clinic.listener.answerer import MOST_TRIES, answer_one
from xray_tf.clinic.listener.queue import DEAD, SENDING, WAITING, Item, Queue
from xray_tf.clinic.listener.vault import Vault
from xray_tf.locks import BusyError

UID = "1.2.826.77.1"


@pytest.fixture
def place(tmp_path):
    """A function that opens the queue as a new process would."""

    def opened(plain=False, answerer="model", key="key"):
        return Queue(tmp_path / "queue", Vault(tmp_path / key, plain), answerer)

    return opened


def states(queue):
    return {s: len(queue.items(s)) for s in (WAITING, SENDING)}


def never(timeout=None):
    raise AssertionError("nobody waits")


class Stop:
    """An event that is never set and never waits."""

    wait = staticmethod(lambda seconds: False)
    is_set = staticmethod(lambda: False)


def test_a_radiograph_moves_from_waiting_over_sending_to_done(place):
    with place().held() as queue:
        key = queue.key(UID)
        assert queue.put(key, b"radiograph") and not queue.put(key, b"again")
        (item,) = queue.items(WAITING)
        assert queue.open(item) == b"radiograph"
        queue.answered(item, {"1.2": b"report", "1.3": b"picture"})
        (item,) = queue.items(SENDING)
        assert queue.objects(item) == {"1.2": b"report", "1.3": b"picture"}
        queue.sent(item)
        assert states(queue) == {WAITING: 0, SENDING: 0} and not queue.put(key, b"again")
    with place(answerer="newer model").held() as queue:
        assert queue.put(queue.key(UID), b"radiograph")  # another model answers it again


def test_what_is_written_twice_by_a_kill_counts_once(place):
    with place().held() as queue:
        for i in range(3):
            queue.put(queue.key(f"1.{i}"), b"radiograph")
        first, second, third = queue.items(WAITING)
        # killed after the new file was written, before the old one was removed
        queue._store(Item(SENDING, first.key), b"objects")
        queue._store(Item(SENDING, second.key), b"objects")
        queue._file(second).unlink()
        (done := queue._done(second.key)).parent.mkdir(exist_ok=True)
        done.write_bytes(b"")
        (queue.folder / WAITING / ".draft-x-1").write_bytes(b"half")
    with place().held() as queue:
        assert queue.items(WAITING) == [third]
        assert [i.key for i in queue.items(SENDING)] == [first.key]
        assert not list(queue.folder.rglob(".draft*"))


def test_nothing_is_said_to_be_kept_before_it_is_on_the_disk(place, monkeypatch):
    synced = []
    with place().held() as queue:
        real = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or real(handle))
        queue.put(queue.key(UID), b"radiograph")
        assert len(synced) == 2  # the file, and the folder with its name
        monkeypatch.setattr(os, "fsync", never)
        with pytest.raises(AssertionError):
            queue.put(queue.key("1.9"), b"radiograph")
        monkeypatch.undo()
        assert len(queue.items(WAITING)) == 1 and not list(queue.folder.rglob(".draft*"))


def test_one_that_crashes_the_process_is_given_up_and_taken_again_when_sent_again(place):
    def crash(data):
        raise KeyboardInterrupt

    for _ in range(MOST_TRIES):
        with place().held() as queue:
            queue.put(queue.key(UID), b"poison")
            with pytest.raises(KeyboardInterrupt):
                answer_one(queue, queue.items(WAITING)[0], crash, Stop)
    with place().held() as queue:
        answer_one(queue, queue.items(WAITING)[0], crash, Stop)
        assert states(queue) == {WAITING: 0, SENDING: 0}
        dead = queue.folder / DEAD / WAITING
        reason, body = sorted(dead.iterdir(), key=lambda p: p.suffix, reverse=True)
        assert "crashes" in reason.read_text() and body.name.endswith("-0")
        os.rename(body, queue.folder / WAITING / body.name)  # as docs/clinic.md says
        assert queue.open(queue.items(WAITING)[0]) == b"poison"
        answer_one(queue, queue.items(WAITING)[0], lambda data: {"1.2": data}, Stop)
        assert states(queue) == {WAITING: 0, SENDING: 1}


def test_errors_of_one_radiograph_are_counted_and_those_of_the_disk_are_not(place, caplog):
    def fails(data):
        raise ValueError("Plantedname")

    def full(data):
        raise OSError(28, "No space left on device")

    with place().held() as queue:
        queue.put(queue.key(UID), b"radiograph")
        answer_one(queue, queue.items(WAITING)[0], full, Stop)
        for tries in range(MOST_TRIES):
            (item,) = queue.items(WAITING)
            assert item.tries == tries
            answer_one(queue, item, fails, Stop)
        assert states(queue) == {WAITING: 0, SENDING: 0}
        reason = next((queue.folder / DEAD / WAITING).glob("*.reason")).read_text()
    assert "ValueError" in reason and "Planted" not in reason + caplog.text


def test_a_queue_is_held_by_one_process_and_opened_by_its_own_key_only(place):
    with place().held() as queue:
        queue.put(queue.key(UID), b"radiograph")
        other = place()
        other.folder = queue.folder  # another thread stands for another process
        import threading

        found = []

        def enter():
            try:
                with other.held():
                    found.append("entered")
            except BusyError:
                found.append("busy")

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert found == ["busy"]
    with pytest.raises(ValueError, match="another key"), place(key="other").held():
        pass


def test_the_queue_is_closed_to_others_and_plain_only_where_that_is_asked_for(place):
    secret = b"Plantedname^Jane HOSP-4711-77"
    with place().held() as queue:
        queue.put(queue.key(UID), secret)
        queue.put(queue.key("1.9"), secret)
        queue.answered(queue.items(WAITING)[0], {"1.2": secret})
        files = [p for p in queue.folder.rglob("*") if p.is_file()]
        assert len(files) == 3
        for path in files:
            assert b"Planted" not in path.read_bytes() and path.stat().st_mode & 0o077 == 0
            assert UID not in path.name
        damaged = queue._file(queue.items(WAITING)[0])
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        with pytest.raises(ValueError, match="damaged"):
            queue.open(queue.items(WAITING)[0])
    with place(plain=True).held() as queue:
        assert queue.objects(queue.items(SENDING)[0]) == {"1.2": secret}
        queue.put(queue.key("1.10"), secret)
        assert any(p.read_bytes() == secret for p in (queue.folder / WAITING).iterdir())
