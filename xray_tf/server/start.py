"""Start the server: take a port, say where it listens, and answer until it is stopped."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import uvicorn

from xray_tf.models.load import load, load_detector
from xray_tf.models.reader import Reader
from xray_tf.server.app import create_app
from xray_tf.server.desk import Desk
from xray_tf.server.uploads import Limits


@dataclass(frozen=True)
class ServeOptions:
    """What to serve, and where.

    Attributes:
        model: as `load` takes it.
        detector: as `load_detector` takes it.
        data: a folder with the training radiographs, for the neighbours' pictures.
        operating_point: a name on the model's card; its default if None.
        host: the address to listen on.
        port: 0 for a free one.
        token: what clients must show; empty for nothing.
        megabytes, megapixels: the most that one upload, or one radiograph, may have.
    """

    model: str | os.PathLike | None = None
    detector: str | os.PathLike | None = None
    data: str | os.PathLike | None = None
    operating_point: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    megabytes: float = 64
    megapixels: float = 50


def serve(options: ServeOptions, listening: Callable[[str, str], None]) -> None:
    """Serve until a signal stops it.

    Args:
        options: what to serve, and where.
        listening: called with the address and the model's name once the port is taken.

    Raises:
        ArtifactError: the model or the detector cannot be opened.
        OSError: the port cannot be taken.
    """
    reader = open_reader(options)
    limits = Limits(round(options.megabytes * 1e6), round(options.megapixels * 1e6))
    with take_port(options.host, options.port) as taken:
        name = f"[{options.host}]" if ":" in options.host else options.host
        secret = f"?token={quote(options.token)}" if options.token else ""
        listening(f"http://{name}:{taken.getsockname()[1]}/{secret}", reader.classifier.card.name)
        config = uvicorn.Config(
            create_app(Desk(reader, limits), options.token),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[taken])


def open_reader(options: ServeOptions) -> Reader:
    """Open the model with its reference and a detector."""
    return Reader(
        load(options.model, kind="classifier"),
        data=options.data,
        detector=load_detector(options.detector),
        operating_point=options.operating_point,
    )


def take_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        OSError: it is taken, or the address is not this machine's; the message says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    try:
        if os.name == "posix":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        taken.listen(2048)  # who comes before the server answers waits
    except OSError as error:
        taken.close()
        raise OSError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. Name another --port "
            "(0 takes a free one) or --host."
        ) from error
    return taken
