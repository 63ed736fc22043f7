"""Take radiographs over the network: C-ECHO and C-STORE, and success only for what is on the
disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from xray_tf.clinic.listener.queue import Queue
from xray_tf.clinic.objects.source import Refused, read_source
from xray_tf.data.pixels.dicom import decode_grey
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import MAX_BYTES
from xray_tf.data.pixels.square import see
from xray_tf.progress import LOG

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # PS3.4, table B.2-1
COMMENT = 64  # the most characters of an ErrorComment
ASSOCIATIONS = 16  # at a time
SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR little endian
    "1.2.840.10008.1.2",  # implicit VR little endian
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE
)


def start_receiver(
    queue: Queue,
    address: tuple[str, int],
    title: str,
    callers: tuple[str, ...],
    most_waiting: int,
    preprocessing: dict[str, Any],
) -> Any:
    """Start a server on threads of its own, and return it; `shutdown` ends it.

    Every kind of image is taken from the network, so that what is refused is told why.

    Args:
        queue: keeps what is accepted.
        address: host and port.
        title: its AE title; associations that call another are rejected.
        callers: the AE titles that may call; anybody if empty.
        most_waiting: above it the queue is full, and the sender is told to come again.
        preprocessing: of the model's card; pixels that it could not see are refused.
    """
    node = AE(ae_title=title)
    node.maximum_associations = ASSOCIATIONS
    node.require_called_aet = True
    node.require_calling_aet = list(callers)
    node.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        node.add_supported_context(context.abstract_syntax, list(SYNTAXES))

    def check_pixels(data: bytes) -> None:
        see(decode_grey(data), preprocessing["image_size"], preprocessing["resize"])

    def store(event: Any) -> Dataset:
        return _store(queue, event, most_waiting, check_pixels)

    return node.start_server(address, block=False, evt_handlers=[(evt.EVT_C_STORE, store)])


def _store(
    queue: Queue, event: Any, most_waiting: int, check_pixels: Callable[[bytes], None]
) -> Dataset:
    """Answer one C-STORE request."""
    try:
        data = event.encoded_dataset()
        if len(data) > MAX_BYTES:
            raise Refused(f"more than {MAX_BYTES} bytes")
        source = read_source(data)
        if str(event.request.AffectedSOPInstanceUID) != source.uid:
            raise Refused("the request names another SOP Instance UID")
        check_pixels(data)
        key = queue.key(source.uid)
        if len(queue) >= most_waiting:
            LOG.warning("full: %d radiographs wait, and a sender was told so", most_waiting)
            return _status(OUT_OF_RESOURCES, "The queue is full; send it again later")
        new = queue.put(key, data)
    except (Refused, DecodeError) as error:
        LOG.info("refused: %s", error)
        return _status(CANNOT_UNDERSTAND, str(error))
    except OSError as error:
        LOG.warning("not accepted: %s", error.strerror or type(error).__name__)
        return _status(OUT_OF_RESOURCES, "It cannot be kept; send it again later")
    except Exception as error:  # its text may hold values of tags
        LOG.warning("not accepted: %s", type(error).__name__)
        return _status(CANNOT_UNDERSTAND, f"Unexpected: {type(error).__name__}")
    LOG.info("accepted %s" if new else "known already: %s", key[:8])
    return _status(SUCCESS)


def _status(code: int, comment: str = "") -> Dataset:
    status = Dataset()
    status.Status = code
    if comment:
        status.ErrorComment = comment[:COMMENT]
    return status
