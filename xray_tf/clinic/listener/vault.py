"""Encrypt what waits in the queue: it holds whole DICOM objects, with names and dates of patients.

AES-256-GCM. The key is a file outside the queue that only its owner can read, so that a copy or a
backup of the queue tells nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from xray_tf.writing import kept_secret

MAGIC = b"xray_tf queue 1\n"
_NONCE = 12  # bytes
KEY_NAME = "queue-key"


def default_key_file() -> Path:
    """Return the key's file in the user's settings."""
    place = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(place) / "xray_tf" / KEY_NAME


class Vault:
    """Closes and opens the bytes of queue files.

    Args:
        path: the file with the key; made on first use.
        plain: write files as they are. Closed ones are opened all the same.

    Raises:
        OSError, ValueError: the key cannot be made or read.
    """

    def __init__(self, path: str | os.PathLike, plain: bool = False):
        self.secret, self.plain = kept_secret(Path(path)), plain
        self._cipher = AESGCM(self.secret)

    def close(self, data: bytes, name: str) -> bytes:
        """Return data encrypted for the file `name`, or as it is where all is plain."""
        if self.plain:
            return data
        nonce = os.urandom(_NONCE)
        return MAGIC + nonce + self._cipher.encrypt(nonce, data, name.encode())

    def open(self, data: bytes, name: str) -> bytes:
        """Return what `close` was given.

        Raises:
            ValueError: another key closed it, or it was changed.
        """
        if not data.startswith(MAGIC):
            return data
        nonce = data[len(MAGIC) : len(MAGIC) + _NONCE]
        try:
            return self._cipher.decrypt(nonce, data[len(MAGIC) + _NONCE :], name.encode())
        except InvalidTag:
            raise ValueError(
                f"{name} in the queue cannot be opened: it was written with another key, or is "
                "damaged."
            ) from None
