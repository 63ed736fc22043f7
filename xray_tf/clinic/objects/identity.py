"""Name what is written: who made it, and UIDs by rule, so that a second run makes the same objects.

A UID is `2.25.` and a UUID of version 8 (RFC 9562) as a number (PS3.5, B.2), whose free bits are
the first of SHA-256 over what the object is about and what made it: the SOP Instance UID of the
radiograph, the kind of object, the model's fingerprint, the operating point and the version of this
package. Nothing of the patient is in it, and a newer model or version makes other objects.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from xray_tf import __version__
from xray_tf.card import CHECKSUM, Card

RESEARCH = "Research use only, not for diagnosis"
MANUFACTURER = "xray_tf"
SCHEME = "99XRAYTF"  # the designator of codes that no standard has
KINDS = ("SR", "SC", "PR")  # report, picture, outlines
FIRST_SERIES = 9901


@dataclass(frozen=True)
class Maker:
    """What makes the objects.

    Attributes:
        model: the model's name.
        fingerprint: sha256 of its card, which has the sha256 of every file of the model.
        point: the name of the operating point.
    """

    model: str
    fingerprint: str
    point: str

    @classmethod
    def of(cls, card: Card, operating_point: str | None = None) -> Maker:
        """Return the maker that a model with this card is.

        Raises:
            ValueError: the operating point is unknown.
        """
        return cls(card.name, card.to_dict()[CHECKSUM], card.point(operating_point).name)

    def uid(self, kind: str, *about: str) -> str:
        """Return the UID of what it makes of a kind about something, such as a SOP Instance UID."""
        return uid_of(kind, *about, self.fingerprint, self.point, __version__)


def uid_of(*said: str) -> str:
    """Return a UID that depends on some texts alone."""
    message = b"".join(len(t.encode()).to_bytes(4, "big") + t.encode() for t in said)
    free = int.from_bytes(hashlib.sha256(message).digest()[:16], "big")
    version, variant = 0x8 << 76, 0x2 << 62
    number = free & ~(0xF << 76) & ~(0x3 << 62) | version | variant
    return f"2.25.{uuid.UUID(int=number).int}"
