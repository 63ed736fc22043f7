"""Listen: take radiographs, answer them, and send the objects on, until it is stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from xray_tf.clinic.extra import check_extra, quiet_libraries
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.models.classifier import Classifier
from xray_tf.models.load import load
from xray_tf.options import ListenOptions

_LOOK_S = 0.2
_PATIENCE_S = 60  # for the radiograph under way when it is stopped


@takes(ListenOptions)
def listen(
    model: str | os.PathLike | Classifier | None,
    *,
    options: Options,
    ready: Callable[[str], None] = lambda where: None,
) -> None:
    """Run a DICOM node until an exception, such as KeyboardInterrupt, ends it.

    What was accepted stays in the queue folder, and the next call goes on with it.

    Args:
        model: as for `predict_files`.
        options: `ListenOptions`, or single options by name.
        ready: called with the address once it listens.

    Raises:
        BusyError: another process has the queue.
        ImportError: a package of the extra `clinic` is not installed.
        OSError: the port is taken.
        ValueError: an option does not fit, or the queue was written with another key.
    """
    run, how = options[Run], options[ListenOptions]
    check_extra()
    from xray_tf.clinic.listener.queue import Queue
    from xray_tf.clinic.listener.receiver import start_receiver
    from xray_tf.clinic.listener.sender import Sender
    from xray_tf.clinic.listener.vault import Vault, default_key_file
    from xray_tf.clinic.objects.identity import Maker

    classifier = load(model, kind="classifier")
    maker = Maker.of(classifier.card, how.operating_point)
    vault = Vault(how.key or default_key_file(), plain=how.keep_identifiers)
    with quiet_libraries(), Queue(how.queue, vault, maker.uid("queue")).held() as queue:
        if how.keep_identifiers:
            run.say(f"{how.queue} is not encrypted: it holds names and dates while they wait")
        server = start_receiver(
            queue,
            (how.host, how.port),
            how.aet,
            how.callers(),
            how.most_waiting,
            classifier.card.preprocessing,
        )
        try:
            sender = Sender(queue, how.receiver(), how.aet)
            ready(f"{how.host}:{server.server_address[1]}")
            _work(
                lambda stop: _answer(queue, classifier, how.operating_point, stop),
                sender.run,
            )
        finally:
            server.shutdown()


def _answer(queue: Any, classifier: Classifier, point: str | None, stop: threading.Event) -> None:
    from xray_tf.clinic.listener.answerer import answer_waiting
    from xray_tf.clinic.objects.answer import ask, warm_up
    from xray_tf.clinic.objects.bundle import objects_of
    from xray_tf.clinic.objects.source import read_source

    warm_up(classifier)
    answer_waiting(queue, lambda data: objects_of(ask(classifier, read_source(data), point)), stop)


def _work(*jobs: Callable[[threading.Event], None]) -> None:
    """Run jobs on threads until one of them fails, or this thread is interrupted."""
    stop, failures = threading.Event(), []

    def guarded(job: Callable[[threading.Event], None]) -> None:
        try:
            job(stop)
        except BaseException as error:  # raised again below
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    try:
        for thread in threads:
            thread.start()
        while not stop.wait(_LOOK_S):
            pass
    finally:
        stop.set()
        for thread in threads:
            thread.join(_PATIENCE_S)
    raise failures[0]
