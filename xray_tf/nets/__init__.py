"""The nets: the only room with TensorFlow and Keras.

Entering it loads TensorFlow with its start-up chatter held back: on a machine without a GPU it
announces, on stderr and past every log level, a dozen lines that read like failures. Only lines of
known kinds are dropped, and file descriptor 2 is put back.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile

_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl|To enable the following "
    rb"instructions|I0000 |E0000 .*(cuInit|factory for plugin)|"
    rb"W0000 .*(computation_placer|GPU libraries)|Skipping registering "
    rb"GPU)|^\d{4}-\d\d-\d\d .*: [IEW] (tensorflow|external)/"
)


def _start_tensorflow() -> None:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow as tf

            # the rest of the chatter comes when the devices are first looked at
            tf.config.list_physical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not _CHATTER.match(line)))


if (
    os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    and "tensorflow" not in sys.modules
):
    _start_tensorflow()
