"""Keep radiographs on the disk until their answers have arrived where they belong.

A radiograph is one file that moves from folder to folder, always by writing the new file whole,
flushing it to the disk and only then removing the old one. So a kill or a power cut at any moment
leaves it in one folder or in two, and the later one counts:

    waiting/KEY-TRIES   received, and success was said after it was on the disk
    sending/KEY-TRIES   answered; the objects wait for the receiver
    done/KE/KEY         the receiver has everything: an empty file
    dead/waiting/KEY, dead/sending/KEY, and KEY.reason: given up

KEY is a keyed hash of the radiograph's SOP Instance UID and of what answers it.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from xray_tf.clinic.listener.vault import Vault
from xray_tf.locks import locked
from xray_tf.writing import sync

WAITING, SENDING, DONE, DEAD = "waiting", "sending", "done", "dead"
_DRAFT = ".draft-"
_CHECK = "key-check"
_KEY = 32  # hex digits


@dataclass(frozen=True)
class Item:
    """One file of the queue: which folder it is in, its key, and how often it was tried."""

    state: str
    key: str
    tries: int = 0

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.key}-{self.tries}"

    @property
    def short(self) -> str:
        """What the log calls it."""
        return self.key[:8]


class Queue:
    """The queue in a folder; one process at a time holds it, see `held`.

    Args:
        folder: is made if it does not exist.
        vault: closes the files.
        answerer: what answers the radiographs; another answerer answers the same one again.

    Raises:
        ValueError: the queue was written with another key.
    """

    def __init__(self, folder: str | os.PathLike, vault: Vault, answerer: str):
        self.folder, self.vault, self.answerer = Path(folder), vault, answerer
        self.changed = threading.Event()  # set when a file arrives in `waiting` or `sending`
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[Queue]:
        """Hold the queue while the block runs, after tidying up what a killed process left.

        Raises:
            BusyError: another process holds it.
            ValueError: it was written with another key.
        """
        for place in (WAITING, SENDING, DONE, f"{DEAD}/{WAITING}", f"{DEAD}/{SENDING}"):
            (self.folder / place).mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.folder):
            check = self.folder / _CHECK
            if check.exists():
                self.vault.open(check.read_bytes(), _CHECK)
            else:
                self._write(check, self.vault.close(b"", _CHECK), _CHECK)
            self._tidy()
            yield self

    def _tidy(self) -> None:
        for draft in self.folder.rglob(f"{_DRAFT}*"):
            draft.unlink()
        for item in self.items(SENDING):
            if self._done(item.key).exists():
                self._file(item).unlink()
        sending = {item.key for item in self.items(SENDING)}
        for item in self.items(WAITING):
            if item.key in sending or self._done(item.key).exists():
                self._file(item).unlink()

    def key(self, uid: str) -> str:
        """Return the key of a SOP Instance UID."""
        message = f"{uid}\0{self.answerer}".encode()
        return hmac.new(self.vault.secret, message, hashlib.sha256).hexdigest()[:_KEY]

    def items(self, state: str) -> list[Item]:
        """Return what is in a folder, the oldest first."""
        found = []
        with os.scandir(self.folder / state) as entries:
            for entry in entries:
                key, _, tries = entry.name.partition("-")
                if len(key) == _KEY and tries.isdigit():
                    with suppress(FileNotFoundError):  # it has moved on meanwhile
                        found.append((entry.stat().st_mtime_ns, Item(state, key, int(tries))))
        return [item for _, item in sorted(found, key=lambda pair: (pair[0], pair[1].key))]

    def __len__(self) -> int:
        """The number of radiographs that are not done."""
        return len(self.items(WAITING)) + len(self.items(SENDING))

    def put(self, key: str, data: bytes) -> bool:
        """Keep a radiograph; when this returns, it is on the disk. Return False, and keep what is
        there, where it is known already. One that was given up is tried again.
        """
        with self._lock:
            active = {item.key for state in (WAITING, SENDING) for item in self.items(state)}
            if key in active or self._done(key).exists():
                return False
            self._store(Item(WAITING, key), data)
            for state in (WAITING, SENDING):
                for path in (self.folder / DEAD / state).glob(f"{key}*"):
                    path.unlink()
        self.changed.set()
        return True

    def open(self, item: Item) -> bytes:
        """Return the content of a file.

        Raises:
            ValueError: it is damaged.
        """
        return self.vault.open(self._file(item).read_bytes(), item.key)

    def tried(self, item: Item) -> Item:
        """Count one more try in the file's name, before it begins: a crash counts too."""
        again = replace(item, tries=item.tries + 1)
        os.rename(self._file(item), self._file(again))
        return again

    def untried(self, item: Item) -> None:
        """Take back a try that was not the radiograph's fault."""
        os.rename(self._file(item), self._file(replace(item, tries=item.tries - 1)))

    def answered(self, item: Item, objects: dict[str, bytes]) -> None:
        """Let objects, {UID: bytes}, take the place of the radiograph they are about."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for uid, data in objects.items():
                archive.writestr(zipfile.ZipInfo(uid), data)
        self._store(Item(SENDING, item.key), packed.getvalue())
        self._file(item).unlink()
        self.changed.set()

    def objects(self, item: Item) -> dict[str, bytes]:
        """Return the objects of a file in `sending`, {UID: bytes}."""
        with zipfile.ZipFile(io.BytesIO(self.open(item))) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def sent(self, item: Item) -> None:
        """Note for good that everything has arrived."""
        done = self._done(item.key)
        done.parent.mkdir(exist_ok=True, mode=0o700)
        self._write(done, b"", item.key)
        self._file(item).unlink()

    def bury(self, item: Item, reason: str) -> None:
        """Give up on a file: keep it aside, with the reason, which identifies nobody."""
        place = self.folder / DEAD / item.state
        self._write(place / f"{item.key}.reason", f"{reason}\n".encode(), item.key)
        os.rename(self._file(item), place / f"{item.key}-0")
        sync(place)

    def _store(self, item: Item, data: bytes) -> None:
        self._write(self._file(item), self.vault.close(data, item.key), item.key)

    def _write(self, path: Path, data: bytes, name: str) -> None:
        draft = path.with_name(f"{_DRAFT}{name}-{threading.get_ident()}")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync(path.parent)

    def _file(self, item: Item) -> Path:
        return self.folder / item.state / item.name

    def _done(self, key: str) -> Path:
        return self.folder / DONE / key[:2] / key
