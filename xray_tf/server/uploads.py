"""Take radiographs out of a request: in memory only, and never more than the limits allow."""

from __future__ import annotations

import asyncio
import io
import zipfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from xray_tf.data.pixels.decoding import read_header
from xray_tf.data.pixels.header import DecodeError

FIELD = "file"
ZIP = b"PK\x03\x04"
MEMBERS = 500  # radiographs in a ZIP
LONGEST_NAME = 300
SECONDS = 60.0  # for a body to arrive
HEADERS = 1 << 16  # bytes that multipart adds
DROPPED = 1 << 30  # of a body that is too large, before the connection is closed
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(EOFError, OSError, ValueError),
)


class Refused(Exception):
    """A request that cannot be answered: its HTTP status, a short `kind`, and a sentence."""

    def __init__(self, status: int, kind: str, text: str):
        super().__init__(text)
        self.status, self.kind = status, kind


@dataclass(frozen=True)
class Limits:
    """What one upload may be: `size` bytes, as sent and unpacked, and `pixels` a radiograph."""

    size: int
    pixels: int

    def check(self, data: bytes) -> None:
        """Refuse a radiograph with too many pixels by its header, before it is decoded.

        Raises:
            Refused: it has too many, or the file is none that can be read.
        """
        try:
            header = read_header(data)
        except DecodeError as error:
            raise Refused(422, error.kind, str(error)) from error
        if header.width * header.height > self.pixels:
            raise Refused(
                413,
                "too-large",
                f"It has {header.width} x {header.height} pixels; this server reads at most "
                f"{self.pixels / 1e6:g} million (--max-megapixels).",
            )

    def too_large(self) -> Refused:
        """Return the refusal of too many bytes."""
        return Refused(
            413,
            "too-large",
            f"This server takes at most {self.size / 1e6:g} MB at once (--max-megabytes).",
        )


@dataclass(frozen=True)
class Upload:
    """One file that was sent."""

    name: str
    data: bytes

    @property
    def is_zip(self) -> bool:
        return self.data.startswith(ZIP)


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 62  # Starlette's would write what is larger than 1 MB to the disk


async def take_upload(request: Request, limits: Limits) -> Upload:
    """Read the file of a multipart request into memory.

    Raises:
        Refused: there is no file or several, it is too large, or it takes too long to arrive.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Refused(
            415,
            "not-multipart",
            f"Expected multipart/form-data with the radiograph as the field `{FIELD}`. Received: "
            f"{kind or 'no content type'}.",
        )
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max(DROPPED, limits.size + HEADERS):
        raise limits.too_large()
    try:
        async with asyncio.timeout(SECONDS):
            form = await _InMemory(request.headers, _bounded(request, limits)).parse()
    except MultiPartException as error:
        raise Refused(400, "bad-request", error.message) from error
    except TimeoutError as error:
        raise Refused(408, "too-slow", f"It did not arrive within {SECONDS:g} seconds.") from error
    try:
        files = [f for f in form.getlist(FIELD) if not isinstance(f, str)]
        if len(files) != 1:
            raise Refused(
                400,
                "bad-request",
                f"Expected one file in the field `{FIELD}`. Received: {len(files)}.",
            )
        data = await files[0].read()
        if len(data) > limits.size:
            raise limits.too_large()
        return Upload(clean_name(files[0].filename or ""), data)
    finally:
        await form.close()


async def _bounded(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body as far as it is allowed. The rest is read and dropped, because many clients
    read no answer before they have sent everything.
    """
    taken, allowed = 0, limits.size + HEADERS
    async for chunk in request.stream():
        taken += len(chunk)
        if taken <= allowed:
            yield chunk
        elif taken > DROPPED:
            break
    if taken > allowed:
        raise limits.too_large()


def clean_name(name: str) -> str:
    """Return a file's name without folders above it, control characters and undue length."""
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    text = "".join(c for c in "/".join(parts) if c.isprintable())
    return text[-LONGEST_NAME:] or "radiograph"


def unpack(upload: Upload, limits: Limits) -> list[Upload]:
    """Return the radiographs in a ZIP, in its order; hidden files and folders are left out.

    Raises:
        Refused: it is damaged or encrypted, or holds more than the limits allow.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(upload.data)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not _hidden(m.filename)]
            if len(members) > MEMBERS:
                raise Refused(
                    413,
                    "too-large",
                    f"It holds {len(members):,} files; at most {MEMBERS} are read.",
                )
            found, left = [], limits.size
            for member in members:
                with archive.open(member) as stream:
                    data = stream.read(left + 1)  # what the directory says is not relied on
                left -= len(data)
                if left < 0:
                    raise limits.too_large()
                found.append(Upload(clean_name(member.filename), data))
    except _DAMAGED as error:
        raise Refused(422, "unreadable", f"The ZIP cannot be unpacked: {error}.") from error
    if not found:
        raise Refused(422, "empty", "The ZIP holds no file.")
    return found


def _hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)
