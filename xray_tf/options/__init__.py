"""Every option of every command, with its default, its help and its range; one file per subject."""

from xray_tf.options.acceptance import AcceptOptions
from xray_tf.options.classifier import (
    LUNGS,
    SUM,
    WHOLE,
    EvaluateOptions,
    ModelOptions,
    PageOptions,
    PredictOptions,
    ShiftOptions,
    TrainOptions,
    is_pretrained,
    weights_file,
)
from xray_tf.options.clinic import ListenOptions
from xray_tf.options.data import PARTS, DataOptions
from xray_tf.options.declare import add_flags, from_flags, one_of, option, provenance
from xray_tf.options.detector import CalibrateOptions, DetectOptions, ScoreOptions
from xray_tf.options.distil import DistilOptions
from xray_tf.options.engine import LOCAL, RAY, EngineOptions
from xray_tf.options.heatmaps import ExamineOptions, ExplainOptions
from xray_tf.options.lungs import TrainLungsOptions
from xray_tf.options.machine import CPU, GPU, MachineOptions
from xray_tf.options.neighbors import EmbedOptions
from xray_tf.options.processes import ProcessOptions
from xray_tf.options.study import ReproduceOptions

__all__ = [
    "CPU",
    "GPU",
    "LOCAL",
    "LUNGS",
    "SUM",
    "WHOLE",
    "PARTS",
    "RAY",
    "AcceptOptions",
    "CalibrateOptions",
    "DataOptions",
    "DetectOptions",
    "DistilOptions",
    "EmbedOptions",
    "EngineOptions",
    "EvaluateOptions",
    "ExamineOptions",
    "ExplainOptions",
    "ListenOptions",
    "MachineOptions",
    "ModelOptions",
    "PageOptions",
    "PredictOptions",
    "ProcessOptions",
    "ReproduceOptions",
    "ScoreOptions",
    "ShiftOptions",
    "TrainLungsOptions",
    "TrainOptions",
    "add_flags",
    "from_flags",
    "is_pretrained",
    "one_of",
    "option",
    "provenance",
    "weights_file",
]
