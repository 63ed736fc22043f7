"""Over the network: what is taken and what is refused, and a receiver that is down or refuses."""

import io
import threading
import time

import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComprehensiveSRStorage, Verification

from xray_tf.clinic.extra import quiet_libraries
from xray_tf.clinic.listener import sender as sending
from xray_tf.clinic.listener.queue import DEAD, SENDING, WAITING, Queue
from xray_tf.clinic.listener.receiver import start_receiver
from xray_tf.clinic.listener.sender import BackOff, Sender
from xray_tf.clinic.listener.vault import Vault
from xray_tf.clinic.objects.source import CR, DX
from xray_tf.options import ListenOptions

CT = "1.2.840.10008.5.1.4.1.1.2"
SEEN = {"image_size": 32, "resize": "crop"}


@pytest.fixture
def queue(tmp_path):
    with quiet_libraries(), Queue(tmp_path / "queue", Vault(tmp_path / "key"), "m").held() as made:
        yield made


@pytest.fixture
def receiver(queue):
    """A function that starts a receiver and returns its port."""
    servers = []

    def start(callers=(), most_waiting=9):
        server = start_receiver(queue, ("127.0.0.1", 0), "XRAY", callers, most_waiting, SEEN)
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()


def call(port, *data, title="XRAY", calling="PACS"):
    """Send files; return a status for each, and of C-ECHO first. None: not associated."""
    node = AE(ae_title=calling)
    for kind in (Verification, CR, DX, CT):
        node.add_requested_context(kind)
    association = node.associate("127.0.0.1", port, ae_title=title)
    if not association.is_established:
        return None
    found = [association.send_c_echo()]
    for one in data:
        found.append(association.send_c_store(pydicom.dcmread(io.BytesIO(one))))
    association.release()
    return found


def test_radiographs_are_taken_once_and_others_refused_with_the_reason(
    queue, receiver, dicom, chest, caplog
):
    port = receiver()
    made = [
        dicom(),
        dicom(),
        dicom(SOPClassUID=DX, Modality="DX", SOPInstanceUID="1.2.826.77.8"),
        dicom(SOPClassUID=CT, Modality="CT"),
        dicom(ViewPosition="LL"),
        dicom(BodyPartExamined="HAND"),
        dicom(image=chest * 0, SOPInstanceUID="1.2.826.77.7"),
    ]
    with caplog.at_level("INFO", "xray_tf"):
        echo, *stored = call(port, *made)
    assert echo.Status == 0
    assert [s.Status for s in stored] == [0, 0, 0, *[0xC000] * 4]
    reasons = [s.ErrorComment for s in stored[3:]]
    for reason, word in zip(reasons, ("CR or DX", "frontal", "chest", "grey level"), strict=True):
        assert word in reason and len(reason) <= 64
    assert len(queue.items(WAITING)) == 2
    assert "accepted" in caplog.text and "known already" in caplog.text
    for word in ("Planted", "HOSP", "1.2.826", "20210704"):
        assert word not in caplog.text


def test_a_full_queue_and_a_full_disk_send_the_sender_away_for_later(
    queue, receiver, dicom, monkeypatch
):
    port = receiver(most_waiting=1)
    other = dicom(SOPInstanceUID="1.2.826.77.5")
    assert [s.Status for s in call(port, dicom(), other)] == [0, 0, 0xA700]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(queue, "put", full)
    assert call(receiver(), other)[1].Status == 0xA700


def test_only_those_who_are_named_may_call_and_only_by_the_right_name(receiver, dicom):
    port = receiver(callers=("PACS",))
    assert call(port)[0].Status == 0
    assert call(port, calling="OTHER") is None and call(port, title="WRONG") is None


@pytest.fixture
def pacs():
    """A function that starts a receiver of objects, which answers what `answers` says."""
    servers = []

    def start(answers, port=0):
        got = []

        def store(event):
            got.append(event.request.AffectedSOPInstanceUID)
            return answers(got)

        node = AE(ae_title="PACS")
        node.add_supported_context(ComprehensiveSRStorage)
        handlers = [(evt.EVT_C_STORE, store)]
        server = node.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        servers.append(server)
        return server.server_address[1], got

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def filled(queue, dicom):
    """The queue with three radiographs whose objects wait for the receiver."""
    for i in range(3):
        queue.put(queue.key(f"1.{i}"), b"radiograph")
        report = dicom(SOPClassUID=str(ComprehensiveSRStorage), SOPInstanceUID=f"2.25.{i}")
        queue.answered(queue.items(WAITING)[0], {f"2.25.{i}": report})
    return queue


def run_sender(queue, port, until, monkeypatch, longest=600):
    monkeypatch.setattr(sending, "FIRST_WAIT_S", 0.02)
    stop, failed = threading.Event(), []

    def work():
        try:
            Sender(queue, ("PACS", "127.0.0.1", port), "XRAY").run(stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    end = time.monotonic() + longest
    while not until() and time.monotonic() < end and not failed:
        time.sleep(0.02)
    stop.set()
    thread.join()
    assert not failed and until()


def test_a_receiver_that_is_down_busy_or_cut_off_gets_everything_once_it_is_back(
    filled, pacs, monkeypatch, caplog
):
    def busy_first(got):
        return 0xA701 if len(got) == 2 else 0

    port, got = pacs(busy_first)
    monkeypatch.setattr(sending, "MOST_REFUSALS", 1)
    real, calls = AE.associate, []

    def down_first(self, *rest, **more):
        calls.append(1)
        return real(self, "127.0.0.1", 1 if len(calls) < 4 else port, **more)

    monkeypatch.setattr(AE, "associate", down_first)
    with caplog.at_level("INFO", "xray_tf"):
        run_sender(filled, port, lambda: not filled.items(SENDING), monkeypatch)
    assert sorted(set(got)) == ["2.25.0", "2.25.1", "2.25.2"] and len(got) == 4
    assert "does not answer" in caplog.text and "the receiver is back" in caplog.text
    assert not list((filled.folder / DEAD / SENDING).iterdir())


def test_what_the_receiver_refuses_is_given_up_and_the_others_arrive(
    filled, pacs, monkeypatch, caplog
):
    port, got = pacs(lambda got: 0xA900 if got[-1] == "2.25.1" else 0)
    run_sender(filled, port, lambda: not filled.items(SENDING), monkeypatch)
    assert got.count("2.25.1") == sending.MOST_REFUSALS and got.count("2.25.2") == 1
    reason = next((filled.folder / DEAD / SENDING).glob("*.reason")).read_text()
    assert "0xa900 to CR" in reason and "given up" in caplog.text


def test_a_damaged_file_is_set_aside_and_the_others_arrive(filled, pacs, monkeypatch):
    port, got = pacs(lambda got: 0)
    first, second, _ = filled.items(SENDING)
    filled._file(first).write_bytes(filled._file(first).read_bytes()[:-9])
    filled._file(second).write_bytes(b"no archive")
    run_sender(filled, port, lambda: not filled.items(SENDING), monkeypatch)
    assert len(got) == 1 and len(list((filled.folder / DEAD / SENDING).glob("*.reason"))) == 2


def test_waits_double_up_to_five_minutes():
    waits, times = BackOff(), []
    times = [waits.next() for _ in range(30)]
    assert 0.75 <= times[0] <= 1 and 1.5 <= times[1] <= 2 and 225 <= times[-1] <= 300


@pytest.mark.parametrize("send", [None, "PACS", "PACS@host", "@host:1", "PACS@host:0", "A@b:99999"])
def test_a_receiver_of_another_form_is_refused(send):
    with pytest.raises(ValueError, match="AET@HOST:PORT"):
        ListenOptions(send=send)


def test_addresses_are_loopback_unless_told():
    options = ListenOptions(send="PACS@[::1]:104", accept_from="A, B")
    assert options.host == "127.0.0.1" and options.receiver() == ("PACS", "::1", 104)
    assert options.callers() == ("A", "B")
    with pytest.raises(ValueError, match="16 characters"):
        ListenOptions(send="PACS@h:1", aet="A" * 17)
