"""Let one process at a time write a folder: a lock of the operating system, which ends with the
process that holds it, however that ends.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xray_tf.progress import LOG

PATIENCE_S = 600
_PAUSE_S = 0.1
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_held: dict[Path, int] = {}  # target -> the thread of this process that holds it


class BusyError(OSError):
    """Another process writes there; the message names it."""


@contextmanager
def locked(target: str | os.PathLike, patience: float = 0) -> Iterator[None]:
    """Hold the lock on a folder, which need not exist, while the block runs; inside a block of the
    same thread it is held already.

    Args:
        target: the folder. The lock is the hidden file `.NAME.lock` beside it.
        patience: seconds to wait for whoever holds it.

    Raises:
        BusyError: it is held by someone else.
    """
    target = _resolved(target)
    if _held.get(target) == threading.get_ident():
        yield
        return
    path = _lock_file(target)
    handle = _acquire(path, target, time.monotonic() + patience)
    _held[target] = threading.get_ident()
    try:
        yield
    finally:
        del _held[target]
        with suppress(OSError):  # Windows removes no open file; the next holder takes it over
            os.unlink(path)
        os.close(handle)


def refuse_busy(target: str | os.PathLike) -> None:
    """Raise BusyError if another process holds the lock on a folder."""
    target = _resolved(target)
    if _held.get(target) != threading.get_ident() and _lock_file(target).exists():
        with locked(target):
            pass


def _resolved(target: str | os.PathLike) -> Path:
    target = Path(target)
    return target.parent.resolve() / target.name


def _lock_file(target: Path) -> Path:
    return target.parent / f".{target.name}.lock"


def _acquire(path: Path, target: Path, deadline: float) -> int:
    """Return an open, locked lock file that still has its name."""
    said = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _try_lock(handle):
                # its last holder may have removed it between the two calls
                if _has_name(handle, path):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    return handle
                os.close(handle)
                continue
            holder = os.read(handle, 200).decode("utf-8", "replace") or "another process"
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if time.monotonic() >= deadline:
            raise BusyError(
                f"{target} is being written by {holder}. Wait for it to end, or name another "
                "folder."
            )
        if not said:
            LOG.info("waiting for %s, which writes %s", holder, target.name)
            said = True
        time.sleep(_PAUSE_S)


def _has_name(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


def _try_lock(handle: int) -> bool:
    """Lock an open file; return False if another holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the text, which others read
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in _NO_LOCKS:
            raise
        LOG.warning("this file system has no locks: run one command at a time on a folder")
    return True
