"""xray_tf: chest radiographs and pneumonia with Keras. Research software, not a medical device.

The public names below are loaded on first use (PEP 562); importing the package brings nothing
heavy.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "scan": "xray_tf.data.sources.scan",
    "example_radiographs": "xray_tf.data.examples",
    "split_records": "xray_tf.data.split",
    "apply_stress": "xray_tf.data.synthetic.stresses",
    "audit_records": "xray_tf.jobs.audit.audit_data",
    "build_cache": "xray_tf.data.pixels.cache",
    "draw_phantom": "xray_tf.data.synthetic.phantom",
    "lung_box": "xray_tf.data.chest.lung_table",
    "segment_lungs": "xray_tf.models.lungs",
    "train_segmenter": "xray_tf.jobs.lungs.train_segmenter",
    "distil_trunk": "xray_tf.jobs.distil_trunk",
    "train_classifier": "xray_tf.jobs.classifier.train_classifier",
    "evaluate_model": "xray_tf.jobs.classifier.evaluate_model",
    "measure_explanations": "xray_tf.jobs.heatmaps.measure_explanations",
    "accept_model": "xray_tf.jobs.classifier.acceptance.accept_model",
    "export_model": "xray_tf.jobs.classifier.export_model",
    "embed_radiographs": "xray_tf.jobs.neighbors.embed_radiographs",
    "nearest_cases": "xray_tf.jobs.neighbors.nearest_cases",
    "add_reference": "xray_tf.jobs.neighbors.embed_radiographs",
    "fit_detector": "xray_tf.jobs.detector.fit_detector",
    "score_files": "xray_tf.jobs.detector.score_files",
    "calibrate_detector": "xray_tf.jobs.detector.calibrate_detector",
    "load": "xray_tf.models.load",
    "make_predict_fn": "xray_tf.engines.functions",
    "score_archive": "xray_tf.engines.score_archive",
    "reproduce_study": "xray_tf.study.reproduce_study",
    "shipped_models": "xray_tf.shipped",
    "GradCAM": "xray_tf.nets.heatmaps.gradcam",
    "overlay": "xray_tf.pages.kit.overlays",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'xray_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
