"""Read and write files wherever they lie: local paths, and s3://, gs://, hdfs:// and other
addresses that pyarrow or fsspec know.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from xray_tf.data.pixels.reading import check_length, read_bytes
from xray_tf.data.sources.names import natural_key

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
PLAN, FINISHED = "_plan.json", "_SUCCESS"  # of a folder that cannot be renamed; readers skip both


def pyarrow(module: str = "pyarrow") -> Any:
    """Import pyarrow, or one of its modules.

    Raises:
        ImportError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Parquet needs the package pyarrow: pip install 'xray_tf[ray]'. ({error})"
        ) from error


def is_address(path: str | os.PathLike) -> bool:
    """Tell whether it is an address such as s3://bucket/folder, and not a local path."""
    return bool(_ADDRESS.match(os.fspath(path)))


def file_system(path: str | os.PathLike) -> tuple[Any, str]:
    """Return the pyarrow file system of a path or an address, and the path in it.

    Raises:
        OSError, ImportError: nothing here can open addresses of this kind.
    """
    fs, path = pyarrow("pyarrow.fs"), os.fspath(path)
    if not is_address(path):
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    scheme, _, rest = path.partition("://")
    if scheme == "file":
        return fs.LocalFileSystem(), f"/{rest.lstrip('/')}"
    head, slash, tail = rest.partition("/")
    head, query = (head, "?" + rest.partition("?")[2]) if "?" in rest else (head, "")
    inside = (head + slash + tail).partition("?")[0]
    return _opened(f"{scheme}://{head}{query}"), inside.rstrip("/")


@lru_cache(maxsize=32)
def _opened(root: str) -> Any:
    """Open the file system of a bucket or a host, once."""
    fs = pyarrow("pyarrow.fs")
    try:
        return fs.FileSystem.from_uri(root)[0]
    except (ValueError, NotImplementedError) as error:
        scheme = root.partition("://")[0]
        try:
            import fsspec

            return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
        except (ImportError, ValueError) as why:
            raise OSError(
                f"{root} cannot be opened: pyarrow says {error}; fsspec says {why}."
            ) from why


def read_file_bytes(path: str) -> bytes:
    """Read a file whole, local or not; errors are those of `data.pixels.reading.read_bytes`."""
    if not is_address(path):
        return read_bytes(path)
    system, inside = file_system(path)
    with system.open_input_file(inside) as stream:
        check_length(stream.size())
        return stream.read()


def walk(address: str) -> list[str]:
    """List the files at an address, below it if it is a folder, in natural order."""
    system, inside = file_system(address)
    fs = pyarrow("pyarrow.fs")
    about = system.get_file_info(inside)
    if about.type == fs.FileType.File:
        return [address]
    if about.type == fs.FileType.NotFound:
        raise FileNotFoundError(f"{address} leads to no file and no folder.")
    found = system.get_file_info(fs.FileSelector(inside, recursive=True))
    root, _, query = address.partition("?")
    prefix = len(inside.rstrip("/")) + 1
    names = sorted((f.path[prefix:] for f in found if f.is_file), key=natural_key)
    end = f"?{query}" if query else ""
    return [f"{root.rstrip('/')}/{name}{end}" for name in names]


class Folder:
    """A folder, local or not, into which several processes write whole files.

    Args:
        path: a local path or an address.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self._system, self._inside = file_system(self.path)

    def __getstate__(self) -> dict[str, str]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["path"])

    def file(self, name: str) -> str:
        """Return the path of a file in the file system."""
        return f"{self._inside}/{name}"

    def names(self, folder: str = "") -> set[str]:
        """Return the names of the finished files in a folder below this one."""
        fs = pyarrow("pyarrow.fs")
        at = self.file(folder).rstrip("/")
        found = self._system.get_file_info(fs.FileSelector(at, allow_not_found=True))
        return {f.base_name for f in found if f.is_file and not f.base_name.startswith(".")}

    def read(self, name: str) -> bytes:
        """Read a file whole."""
        with self._system.open_input_file(self.file(name)) as stream:
            return stream.read()

    def read_json(self, name: str) -> Any:
        """Read a file of JSON; None if it is not there."""
        try:
            return json.loads(self.read(name))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that nobody sees a part of it, in place of an older one: under a hidden
        name first, which readers of Parquet folders pass over.
        """
        parent, _, last = name.rpartition("/")
        draft = self.file(f"{parent}/.{last}.{uuid.uuid4().hex}".lstrip("/"))
        self._system.create_dir(os.path.dirname(self.file(name)), recursive=True)
        with self._system.open_output_stream(draft) as stream:
            stream.write(data)
        self._system.move(draft, self.file(name))

    def remove(self, folder: str) -> None:
        """Remove a folder below this one."""
        fs = pyarrow("pyarrow.fs")
        if self._system.get_file_info(self.file(folder)).type != fs.FileType.NotFound:
            self._system.delete_dir(self.file(folder))

    def sweep(self, folder: str) -> None:
        """Remove the drafts that killed writers left in a folder below this one."""
        fs = pyarrow("pyarrow.fs")
        selector = fs.FileSelector(self.file(folder), allow_not_found=True)
        for about in self._system.get_file_info(selector):
            if about.is_file and about.base_name.startswith("."):
                self._system.delete_file(about.path)


@contextmanager
def answers_at(address: str, plan: dict[str, Any]) -> Iterator[Folder]:
    """Yield the folder at an address in which answers are collected. Folders there cannot be
    renamed at once, so it is finished when it holds `_SUCCESS`; until then a run with the same plan
    goes on in it. Nothing keeps two processes from writing there at once.

    Raises:
        FileExistsError: it is finished, or has the answers of another plan.
    """
    folder, plan = Folder(address), json.loads(json.dumps(plan))
    if folder.names() & {FINISHED}:
        raise FileExistsError(f"{address} exists, and a finished result is never overwritten.")
    before = folder.read_json(PLAN)
    if before is None:
        if folder.names():
            raise FileExistsError(f"{address} holds other files. Name an empty folder.")
        folder.write(PLAN, json.dumps(plan).encode())
    elif before != plan:
        changed = sorted(k for k in {*plan, *before} if plan.get(k) != before.get(k))
        raise FileExistsError(
            f"{address} has the answers of a run with other values of: {', '.join(changed)}. "
            "Run that line again, or name another --out."
        )
    yield folder
    folder.write(FINISHED, b"")
