"""Options of the DICOM listener."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option

_RECEIVER = re.compile(r"([^@\s][^@]{0,15})@(.+):(\d{1,5})")


@dataclass(frozen=True)
class ListenOptions(Checked):
    """Listener: where radiographs come from and where answers go."""

    send: str | None = option(None, "the DICOM node that gets the answers", metavar="AET@HOST:PORT")
    port: int = option(11112, "the port to listen on", metavar="PORT", least=0, below=65536)
    host: str = option(
        "127.0.0.1",
        "the address to listen on; 0.0.0.0 takes radiographs from other machines",
        metavar="HOST",
    )
    aet: str = option("XRAY", "the own AE title", metavar="AET")
    accept_from: str | None = option(
        None, "the AE titles that may send (default: all)", metavar="AET,..."
    )
    queue: str = option("xray-queue", "the folder of what waits", metavar="DIR")
    key: str | None = option(
        None,
        "the file with the queue's key, made on first use (default: xray_tf/queue-key in the "
        "user's settings)",
        metavar="FILE",
    )
    keep_identifiers: bool = option(
        False, "do not encrypt the queue: names and dates can then be read in it"
    )
    most_waiting: int = count(
        10_000, "radiographs in the queue, from which on senders are told to come again", least=1
    )
    operating_point: str | None = option(
        None, "the operating point that decides (default: the model's own default)", metavar="NAME"
    )

    def __post_init__(self):
        super().__post_init__()
        self.receiver()
        for title in (self.aet, *self.callers()):
            if not 0 < len(title.strip()) <= 16 or "\\" in title or not title.isascii():
                raise ValueError(f"an AE title has 1 to 16 characters. Received: {title!r}")

    def receiver(self) -> tuple[str, str, int]:
        """Return AE title, host and port of the receiver.

        Raises:
            ValueError: `send` is missing or of another form.
        """
        found = _RECEIVER.fullmatch(self.send or "")
        if not found or not 0 < int(found[3]) < 65536:
            raise ValueError(
                "send must be AET@HOST:PORT, such as ORTHANC@127.0.0.1:4242. Received: "
                f"send={self.send!r}"
            )
        return found[1], found[2].strip("[]"), int(found[3])

    def callers(self) -> tuple[str, ...]:
        """Return the AE titles that may send; empty for all."""
        return tuple(t.strip() for t in (self.accept_from or "").split(",") if t.strip())
