"""A checkpoint that a power cut or a disk error spoilt is refused by name, with what to do."""

import numpy as np
import pytest

from xray_tf.artifact import CHECKPOINT
from xray_tf.nets.lungs import LungNetShape
from xray_tf.nets.training.checkpoint import read_checkpoint, write_checkpoint
from xray_tf.nets.training.loop import Optimisation, Training
from xray_tf.nets.training.lung_loop import LungTraining
from xray_tf.options import TrainLungsOptions

SMALL = LungNetShape(widths=(8, 8, 12, 16), depths=(1, 1, 1, 1))


def test_a_note_and_lists_come_back_in_order(tmp_path):
    assert read_checkpoint(tmp_path, "kept") is None
    lists = [np.full(2, i, np.float32) for i in range(12)]
    write_checkpoint(tmp_path, {"epoch": 3}, kept=lists, state=[])
    note, kept, state = read_checkpoint(tmp_path, "kept", "state")
    assert note == {"epoch": 3} and state == [] and len(kept) == 12
    np.testing.assert_array_equal(kept, lists)


DAMAGE = {"empty": lambda b: b"", "cut": lambda b: b[: len(b) // 2], "garbage": lambda b: b"x" * 99}
RESUMED = {
    "classifier": lambda folder: Training(None, Optimisation(), folder, resume=True),
    "segmenter": lambda folder: LungTraining(TrainLungsOptions(), 1, folder, shape=SMALL),
}


@pytest.mark.parametrize(
    ("resumed", "damage"), [*(("classifier", d) for d in DAMAGE), ("segmenter", "cut")]
)
def test_a_damaged_checkpoint_is_refused_with_what_to_do(resumed, damage, tmp_path):
    path = tmp_path / CHECKPOINT
    write_checkpoint(tmp_path, {}, kept=[np.ones((9, 9))], state=[])
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ValueError, match="is damaged or of another run") as refusal:
        RESUMED[resumed](tmp_path)
    assert f"Remove {tmp_path}" in str(refusal.value) and "pickle" not in str(refusal.value)
