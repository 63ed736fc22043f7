"""Pages whose figures are not drawn, for tests that ask what a run computes and writes: drawing
takes half of the time of a training as small as theirs. `tests/pages` and the artifacts of
`tests/conftest.py` have all figures drawn.
"""

from contextlib import contextmanager

import pytest


@contextmanager
def undrawn():
    """Put a stand-in for the PNG of every figure into the pages that are made meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xray_tf.pages.kit.canvas.to_png_bytes", lambda figure, dpi=150: b"png")
        yield
