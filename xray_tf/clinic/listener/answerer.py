"""Answer what waits in the queue, one radiograph after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from xray_tf.clinic.listener.queue import WAITING, Item, Queue
from xray_tf.progress import LOG

MOST_TRIES = 5  # of one radiograph; a crash of the process counts as one
PAUSE_S = 5.0  # after trouble that is not the radiograph's

Answering = Callable[[bytes], dict[str, bytes]]


def answer_waiting(queue: Queue, answer: Answering, stop: threading.Event) -> None:
    """Answer until `stop` is set.

    Args:
        queue: where the radiographs are.
        answer: a DICOM file's bytes -> the objects on it, {UID: bytes}.
        stop: ends it after the radiograph under way.
    """
    while not stop.is_set():
        queue.changed.clear()
        for item in queue.items(WAITING):
            if stop.is_set():
                return
            answer_one(queue, item, answer, stop)
        queue.changed.wait(0.2)


def answer_one(queue: Queue, item: Item, answer: Answering, stop: threading.Event) -> None:
    """Answer one radiograph; one that fails again and again is given up."""
    if item.tries >= MOST_TRIES:
        queue.bury(item, f"not answered after {item.tries} tries, crashes among them")
        LOG.warning("given up: %s was not answered after %d tries", item.short, item.tries)
        return
    try:
        item = queue.tried(item)
    except FileNotFoundError:  # somebody took it away
        return
    try:
        queue.answered(item, answer(queue.open(item)))
        LOG.info("answered %s", item.short)
    except OSError as error:  # the disk is full or gone
        queue.untried(item)
        LOG.warning("waiting: %s", error.strerror or type(error).__name__)
        stop.wait(PAUSE_S)
    except Exception as error:  # its text may hold values of tags
        said = type(error).__name__
        LOG.warning("%s: %s (%d of %d)", item.short, said, item.tries, MOST_TRIES)
        if item.tries >= MOST_TRIES:
            queue.bury(item, f"not answered: {said}")
            LOG.warning("given up: %s", item.short)
