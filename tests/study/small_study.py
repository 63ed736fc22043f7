"""A study of every stage in its smallest size, for a process of its own and the tests' alike."""

from tiny import add_tiny

from xray_tf.options import (
    DataOptions,
    DetectOptions,
    EmbedOptions,
    ExamineOptions,
    ModelOptions,
    ReproduceOptions,
    ShiftOptions,
    TrainOptions,
)
from xray_tf.study.presets import PRESETS, Preset, Recipe
from xray_tf.study.reproduce_study import reproduce_study

SMALL = Preset(
    (
        Recipe(
            ModelOptions("tiny", image_size=32, weights=None, region="whole"),
            TrainOptions(
                **{"method": "head", "fine_tune": "none", "epochs": 6, "batch_size": 8},
                **{"steady_rows": 0, "precision": "float32"},
            ),
        ),
    ),
    "tiny",
    20,
    ShiftOptions(shift=True, stresses="noise", shift_rows=8, shift_bootstrap=5),
    EmbedOptions(neighbors=3),
    DetectOptions(
        report_on_pneumonia=True,
        detectors="none",
        image_size=32,
        epochs=1,
        latent=8,
        components=2,
        folds=2,
    ),
    6,
    ExamineOptions(rows=2, steps=2, random_rows=2, depths=2, shortcut_rows=4, bootstrap=5),
)


def run_small_study(data: str, out: str, cache: str) -> None:
    """Run it as the preset `quick`, limited to 54 rows."""
    add_tiny()
    PRESETS["quick"] = SMALL
    shares = DataOptions(cache=cache, validation=0.3, test=0.2)
    reproduce_study(data, out, ReproduceOptions(preset="quick", rows=54), shares)
