"""A trunk of four blocks, which all tests find in the registry as `tiny`.

What a test promises of a training seldom depends on the trunk, and this one costs a third of the
time of the smallest shipped one. Its last map is as coarse as theirs: an input of 32 pixels leaves
one cell.
"""

from pathlib import Path

from xray_tf.registry import BACKBONES, Backbone

TINY = Backbone(
    "resnet",
    "torch",
    embedding=16,
    stages=("conv1", "conv2", "conv3", "conv4", "conv5"),
    blocks=((8, 1, 1), (8, 1, 2), (16, 1, 2), (16, 1, 2)),
)
# how the code of a process of its own begins
WITH_TINY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tiny import add_tiny
add_tiny()
"""


def add_tiny() -> None:
    """Add the row; `tests/conftest.py` does it for the tests."""
    BACKBONES["tiny"] = TINY
