"""Send radiographs to the listener, kill it again and again, and count what arrives.

python benchmarks/listener.py [--objects N] [--kills K] [--model MODEL] [--write]

`storescu` (Debian dcmtk) sends N synthetic radiographs over several associations to `xray-tf
listen`, which is killed with SIGKILL K times and started again: every other time while it receives,
and otherwise at random moments after it answered some. Senders that were cut off send again, as a
PACS does. The listener sends its objects to Orthanc (Debian orthanc,
orthanc-dicomweb), which is down at the start and is restarted once half-way. At the end DICOMweb
says what Orthanc has: every radiograph must have one report, one picture and one presentation
state, and the queue must be empty. The exit status is 1 otherwise. Without --model a small
classifier is trained first: the queue is what is tested.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "listener.json"
TITLE = "XRAY"
PROGRAMS = ("storescu", "echoscu", "Orthanc")
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins")
KINDS = ("SR", "OT", "PR")  # modalities of report, picture and outlines
START_S = 180


def missing() -> str:
    """Return what is not installed here; empty where everything is."""
    gone = [name for name in PROGRAMS if not (shutil.which(name) or _sbin(name))]
    return ", ".join(gone + ["orthanc-dicomweb"] * (not dicomweb_plugin()))


def _sbin(name: str) -> str:
    path = Path("/usr/sbin") / name
    return str(path) if path.exists() else ""


def dicomweb_plugin() -> str:
    """Return the path of Orthanc's DICOMweb plugin; empty where there is none."""
    found = [p for place in PLUGINS for p in sorted(Path(place).glob("libOrthancDicomWeb.so*"))]
    return str(found[0]) if found else ""


def free_port() -> int:
    """Return a port of the loopback address that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """An Orthanc on the loopback address, with its storage in a folder."""

    def __init__(self, folder: Path):
        self.folder, self.process = folder, None
        self.dicom, self.http = free_port(), free_port()
        folder.mkdir()
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom,
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "Plugins": [dicomweb_plugin()],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "OverwriteInstances": False,
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("Orthanc") or _sbin("Orthanc")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [program, str(self.folder / "orthanc.json")], stdout=log, stderr=log
            )
        for _ in range(START_S * 10):
            with suppress(OSError):
                self.get("/system")
                return
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        raise RuntimeError("Orthanc does not answer")

    def stop(self) -> None:
        """Stop it as a service manager does."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def get(self, path: str) -> object:
        """Return the JSON that a path answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", headers={"Accept": "application/dicom+json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "[]")

    def instances(self) -> list[dict]:
        """Return every instance that it has, as DICOMweb tells (QIDO-RS)."""
        rows = []
        while part := self.get(
            f"/dicom-web/instances?limit=500&offset={len(rows)}&includefield=0020000D"
        ):
            rows += part
        return rows


class Listener:
    """`xray-tf listen` as a process, with its log in a file."""

    def __init__(self, folder: Path, receiver_port: int, *more: str):
        self.folder, self.port, self.process = folder, free_port(), None
        self.line = [sys.executable, "-m", "xray_tf.listen", "--port", str(self.port)]
        self.line += ["--aet", TITLE, "--send", f"ORTHANC@127.0.0.1:{receiver_port}"]
        self.line += ["--queue", str(folder / "queue"), "--key", str(folder / "key"), *more]
        folder.mkdir()

    @property
    def log(self) -> str:
        """All that its processes wrote so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.line, stdout=log, stderr=log)
        for _ in range(START_S * 10):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self.process.poll() is not None:
                raise RuntimeError(self.log[-3000:])
            time.sleep(0.1)
        raise RuntimeError("the listener does not listen")

    def kill(self, how: int = signal.SIGKILL) -> int:
        """Stop it by a signal; return its exit status."""
        self.process.send_signal(how)
        return self.process.wait(90)

    def left(self) -> Counter:
        """Count the files of its queue by folder."""
        queue = self.folder / "queue"
        names = ("waiting", "sending", "done", "dead")
        return Counter({n: sum(p.is_file() for p in (queue / n).rglob("*")) for n in names})


def send(port: int, files: list[Path]) -> bool:
    """Send files over one association; return whether all were taken."""
    line = ["storescu", "-aec", TITLE, "-to", "10", "-ta", "60", "-td", "60", "127.0.0.1"]
    done = subprocess.run([*line, str(port), *map(str, files)], capture_output=True, timeout=600)
    return done.returncode == 0


def arrived(orthanc: Orthanc) -> Counter:
    """Count what arrived, {(study, modality): instances}."""

    def value(row: dict, tag: str) -> str:
        return row.get(tag, {}).get("Value", [""])[0]

    return Counter((value(r, "0020000D"), value(r, "00080060")) for r in orthanc.instances())


def wait_until_done(listener: Listener, count: int, longest_s: float) -> None:
    """Wait until the queue has noted `count` radiographs as done."""
    end = time.monotonic() + longest_s
    while time.monotonic() < end:
        left = listener.left()
        if left["done"] >= count and not left["sending"] and not left["waiting"]:
            return
        if listener.process.poll() is not None:
            raise RuntimeError(listener.log[-3000:])
        time.sleep(0.2)
    raise RuntimeError(f"not done after {longest_s} s: {listener.left()}\n{listener.log[-3000:]}")


@contextmanager
def running(place: Path, *more: str) -> Iterator[tuple[Orthanc, Listener]]:
    """Yield an Orthanc, not started, and a listener that is; both are stopped at the end."""
    orthanc = Orthanc(place / "orthanc")
    listener = Listener(place / "listener", orthanc.dicom, *more)
    try:
        listener.start()
        yield orthanc, listener
    finally:
        for process in (listener.process, orthanc.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def wait_for_answers(listener: Listener, count: int, longest_s: float = 300) -> None:
    """Wait until the listener has answered `count` more radiographs, or has none left."""
    before, end = listener.log.count("answered "), time.monotonic() + longest_s
    while time.monotonic() < end:
        if listener.log.count("answered ") >= before + count or not listener.left()["waiting"]:
            return
        time.sleep(0.1)


def trouble(place: Path, files: list[Path], kills: int, seed: int, *more: str) -> dict[str, object]:
    """Send files, kill the listener at random moments, let Orthanc be down for a while, and return
    what came of it.

    Args:
        place: an empty folder.
        files: DICOM files, each of a study of its own.
        kills: how often to kill.
        seed: of order and moments.
        more: options of `xray-tf listen`.
    """
    rng, started, resent = random.Random(seed), time.monotonic(), 0
    at = Counter()
    with running(place, *more) as (orthanc, listener):
        parts = [files[i :: kills + 1] for i in range(kills + 1)]
        for i, part in enumerate(parts):
            line = ["storescu", "-aec", TITLE, "-to", "10", "127.0.0.1", str(listener.port)]
            sender = subprocess.Popen(
                [*line, *map(str, part)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            if i == (kills + 1) // 2:  # the receiver was down until now
                orthanc.start()
            if i < kills:
                if i % 2 == 0:
                    wait_for_answers(listener, rng.randint(1, len(part) // 2))
                time.sleep(rng.uniform(0, 1))
                log = listener.log
                at["receiving"] += sender.poll() is None
                at["after answers"] += "answered " in log[log.rfind("Listening") :]
                listener.kill()
                listener.start()
            if sender.wait(600):  # cut off: all of its files again, as a PACS does
                resent += 1
                if not send(listener.port, part):
                    raise RuntimeError("the second try was not taken: " + listener.log[-2000:])
        wait_until_done(listener, len(files), 300 + 10 * len(files))
        status = listener.kill(signal.SIGTERM)
        found, left = arrived(orthanc), listener.left()
        studies = {study for study, _ in found}
        wrong = [s for s in studies for kind in KINDS if found[s, kind] != 1]
        return {
            "radiographs": len(files),
            "kills": kills,
            "kills_at": dict(at),
            "associations_cut": resent,
            "answered_once": len(studies) - len(set(wrong)),
            "instances": sum(found.values()),
            "left": {name: left[name] for name in ("waiting", "sending", "dead")},
            "status_after_term": status,
            "seconds": round(time.monotonic() - started),
        }


def small_model(place: Path) -> Path:
    """Train a small classifier on phantoms; return its folder."""
    from xray_tf.jobs.classifier.train_classifier import train_classifier

    small = {"image_size": 32, "weights": None, "region": "whole", "epochs": 1, "bootstrap": 20}
    how = {"fine_tune": "none", "steady_rows": 0, "cache": str(place / "cache")}
    train_classifier("phantom:30", place / "model", **small, **how, progress=False)
    return place / "model"


def radiographs(place: Path, count: int, drawn: int = 20) -> list[Path]:
    """Write `count` DICOM files of a few phantoms, each a study of its own; return their paths."""
    import pydicom

    from xray_tf.clinic.objects.identity import uid_of
    from xray_tf.clinic.to_dicom import to_dicom

    to_dicom([f"phantom:{drawn}"], place / "drawn", progress=False)
    phantoms = [pydicom.dcmread(path) for path in sorted((place / "drawn").iterdir())]
    (place / "dicom").mkdir()
    paths = [place / "dicom" / f"{i:04d}.dcm" for i in range(count)]
    for i, path in enumerate(paths):
        made = phantoms[i % drawn]
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(made, name, uid_of("benchmark", name, str(i)))
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.save_as(path, enforce_file_format=True)
    return paths


def main() -> int:
    """Parse, run, and say whether each radiograph was answered once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if gone := missing():
        print(f"not installed: {gone}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        model = given.model or small_model(Path(place))
        files = radiographs(Path(place), given.objects)
        more = ["--model", str(model)]
        result = trouble(Path(place), files, given.kills, given.seed, *more)
    print(json.dumps(result, indent=1))
    whole = result["answered_once"] == given.objects
    whole &= result["instances"] == len(KINDS) * given.objects and not any(result["left"].values())
    if given.write:
        RESULTS.write_text(json.dumps(result | {"cores": os.cpu_count()}, indent=1) + "\n")
    return 0 if whole else 1


if __name__ == "__main__":
    raise SystemExit(main())
