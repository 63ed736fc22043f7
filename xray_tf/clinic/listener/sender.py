"""Send finished objects on: one C-STORE association at a time, again and again until the receiver
has them.
"""

from __future__ import annotations

import io
import random
import threading
import time
import zipfile
from dataclasses import dataclass, field
from typing import Any

import pydicom
from pynetdicom import AE
from pynetdicom.sop_class import (
    ComprehensiveSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
)

from xray_tf.clinic.listener.queue import SENDING, Item, Queue
from xray_tf.progress import LOG

SENT = (ComprehensiveSRStorage, SecondaryCaptureImageStorage)
SENT_TOO = (GrayscaleSoftcopyPresentationStateStorage,)
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
MOST_REFUSALS = 8  # of one radiograph's objects, before they are given up
WARNINGS = (0xB000, 0xB006, 0xB007)  # stored, with a remark
BUSY = 0xA700  # and the 255 codes after it: out of resources


class Unreachable(Exception):
    """The receiver is down, busy or rejects the association: nothing is wrong with the objects."""


@dataclass
class BackOff:
    """Waits that double, each shortened by up to a quarter at random."""

    tries: int = 0

    def next(self) -> float:
        """Return the seconds to wait."""
        self.tries += 1
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self.tries - 1, 16))
        return longest * random.uniform(0.75, 1)


@dataclass
class Sender:
    """Sends what is in `sending`.

    Attributes:
        queue: where the objects are.
        receiver: AE title, host and port.
        title: the own AE title.
    """

    queue: Queue
    receiver: tuple[str, str, int]
    title: str
    _later: dict[str, tuple[float, BackOff]] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set."""
        waits, down = BackOff(), False
        while not stop.is_set():
            due = [i for i in self.queue.items(SENDING) if self._is_due(i)]
            if not due:
                stop.wait(0.2)
                continue
            try:
                self.send(due, stop)
                if down:
                    LOG.info("the receiver is back")
                waits, down = BackOff(), False
            except Unreachable as error:
                wait, down = waits.next(), True
                LOG.warning("%s; %d wait, next try in %.0f s", error, len(due), wait)
                stop.wait(wait)

    def send(self, items: list[Item], stop: threading.Event) -> None:
        """Send the objects of some radiographs over one association.

        Raises:
            Unreachable: the receiver takes none at the moment.
        """
        title, host, port = self.receiver
        node = AE(ae_title=self.title)
        for kind in (*SENT, *SENT_TOO):
            node.add_requested_context(kind, SYNTAXES)
        association = node.associate(host, port, ae_title=title)
        if not association.is_established:
            why = "rejects the association" if association.is_rejected else "does not answer"
            raise Unreachable(f"the receiver {why}")
        try:
            for item in items:
                if stop.is_set():
                    return
                self._send_one(association, item)
        finally:
            association.release()

    def _send_one(self, association: Any, item: Item) -> None:
        try:
            objects = self.queue.objects(item)
        except (ValueError, zipfile.BadZipFile):
            self.queue.bury(item, "the file of its objects is damaged")
            LOG.warning("given up: %s, its file is damaged", item.short)
            return
        for data in objects.values():
            made = pydicom.dcmread(io.BytesIO(data))
            try:
                status = association.send_c_store(made).get("Status")
            except (ValueError, RuntimeError) as error:  # no context for it; or not connected
                if not association.is_established:
                    raise Unreachable("the receiver has gone") from None
                self._refused(item, f"cannot be sent ({type(error).__name__})")
                return
            if status is None or BUSY <= status < BUSY + 256:
                raise Unreachable("the receiver has gone" if status is None else "it is busy")
            if status != 0 and status not in WARNINGS:
                self._refused(item, f"the receiver answered {status:#06x} to {made.Modality}")
                return
        self.queue.sent(item)
        self._later.pop(item.key, None)
        LOG.info("sent %s", item.short)

    def _refused(self, item: Item, reason: str) -> None:
        """Count a refusal; after `MOST_REFUSALS` the objects are given up."""
        item = self.queue.tried(item)
        if item.tries >= MOST_REFUSALS:
            self.queue.bury(item, reason)
            self._later.pop(item.key, None)
            LOG.warning("given up: %s, %s", item.short, reason)
            return
        _, waits = self._later.get(item.key, (0, BackOff()))
        self._later[item.key] = time.monotonic() + waits.next(), waits
        LOG.warning("%s: %s (%d of %d)", item.short, reason, item.tries, MOST_REFUSALS)

    def _is_due(self, item: Item) -> bool:
        return time.monotonic() >= self._later.get(item.key, (0, None))[0]
