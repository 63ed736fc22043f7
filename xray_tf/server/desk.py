"""Answer radiographs one after the other, in one thread, in the order in which they came."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.asked.queries import read_query
from xray_tf.models.reader import Reader
from xray_tf.pages.kit.filters import png
from xray_tf.server.answers import EXPLAINED, PARTS, Answer, Failure, Packed, answer_of
from xray_tf.server.uploads import Limits, Refused, Upload, unpack

AT_ONCE = 8  # uploads in memory; the others wait on their connections
LOGGER = logging.getLogger("xray_tf")


class Desk:
    """A reader, and the queue before it.

    Attributes:
        reader: the model, with its reference and detector.
        limits: what an upload may be.
        ready: the networks are in memory.
        waiting: how many requests are under way.
    """

    def __init__(self, reader: Reader, limits: Limits):
        self.reader, self.limits = reader, limits
        self.ready, self.waiting = False, 0
        # TensorFlow uses all cores for one radiograph
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._seats = asyncio.Semaphore(AT_ONCE)

    async def warm_up(self) -> None:
        """Read a phantom with everything that can be asked for, so that nobody waits for it."""
        phantom = png(draw_phantom("normal", 0).image)
        try:
            await self._in_thread(self._read, Upload("phantom.png", phantom), tuple(PARTS))
        except Exception:  # the first request will say what is wrong
            LOGGER.exception("the warm-up failed")
        self.ready = True

    def close(self) -> None:
        """Drop what waits, and wait for what is being read."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def serve(self, take: Callable[[], Any], work: Callable[[Upload], Any]) -> Any:
        """Take an upload when it is its turn, and work on it in the reader's thread."""
        self.waiting += 1
        try:
            async with self._seats:
                return await self._in_thread(work, await take())
        finally:
            self.waiting -= 1

    def read(self, upload: Upload, parts: Collection[str]) -> Answer | list[Answer | Failure]:
        """Read a radiograph, or those in a ZIP one by one.

        Raises:
            Refused: it cannot be read, or the ZIP cannot be unpacked.
        """
        if not upload.is_zip:
            return self._read(upload, parts)
        answers = []
        for member in unpack(upload, self.limits):
            try:
                answers.append(self._read(member, parts))
            except Refused as error:
                answers.append(Failure(error=str(error), kind=error.kind, name=member.name))
        return answers

    def unpack(self, upload: Upload) -> list[Packed]:
        """Return the files in a ZIP.

        Raises:
            Refused: it is none, or cannot be unpacked.
        """
        if not upload.is_zip:
            raise Refused(422, "not-a-zip", "Expected a ZIP file.")
        return [
            Packed(name=member.name, data=base64.b64encode(member.data).decode("ascii"))
            for member in unpack(upload, self.limits)
        ]

    def _read(self, upload: Upload, parts: Collection[str]) -> Answer:
        start = time.perf_counter()
        self.limits.check(upload.data)
        try:
            query = read_query(upload.data, self.reader.classifier.card, upload.name)
            if query.pixels is None:
                kind, _, text = query.error.partition(": ")
                raise Refused(422, kind, text)
            evidence = self.reader.read(query, explain=bool(set(parts) & set(EXPLAINED)))
            answer = answer_of(evidence, upload.data, parts)
        except (DecodeError, ImportError) as error:
            kind = getattr(error, "kind", "no-decoder")
            raise Refused(422, kind, str(error)) from error
        answer.seconds = round(time.perf_counter() - start, 4)
        return answer

    async def _in_thread(self, function: Callable, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)
