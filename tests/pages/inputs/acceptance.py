"""A made-up site acceptance: the layout of acceptance.json, and its predictions."""

import numpy as np
from inputs.classifier import made_up_predictions

from xray_tf.data.predictions import Predictions
from xray_tf.stats.acceptance.net_benefit import THRESHOLDS, treat_all
from xray_tf.stats.acceptance.shares import Share
from xray_tf.stats.acceptance.verdict import judge, read_limits
from xray_tf.stats.metrics import score


def cell(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def make(name="site-model", sick="pneumonia", note="A note.", limits="sensitivity>=0.9"):
    """Give (told, predictions) of everything that can be asked for."""
    rows, _ = made_up_predictions(n=120)
    names = ("normal", sick)
    arrays = {"patients": rows.patients, "splits": rows.splits, "labels": rows.labels}
    rows = Predictions(names, rows.paths, rows.probabilities, rows.predicted, **arrays)
    metrics = score(rows.probabilities, rows.labels, rows.predicted, rows.patients, names, 20)
    right = rows.labels == rows.predicted
    recalls = {
        m: Share.of(right[rows.labels == k], None)
        for m, k in (("sensitivity", 1), ("specificity", 0))
    }
    shares = {m: share.to_dict() for m, share in recalls.items()}
    curve = {
        "prevalence": 0.7,
        "thresholds": THRESHOLDS.tolist(),
        "everybody": treat_all(0.7).tolist(),
    }
    line = np.full(99, 0.3).tolist()
    compared = {"one": cell(0.9, 0.8, 0.95), "other": cell(0.8, 0.7, 0.9)}
    compared["difference"] = cell(0.1, 0.02, 0.2)
    empty = {"group": note, "rows": 0, "patients": 0, "class_counts": {}, "warning": note}
    none = {m: Share(0, 0, 0, 0.0).to_dict() for m in recalls}
    group = {**empty, "group": "north", "rows": 120, "patients": 60, "shares": shares}
    told = {
        "model": {
            "name": name,
            "operating_point": "steady",
            "rule": f"{sick} from a probability of 0.4",
            "class_names": list(names),
            "split_by": "patient",
            "sha256": "0" * 64,
        },
        "rows": 130,
        "labelled": 120,
        "seen": 3,
        "verdict": {**judge(recalls, read_limits(limits)), "seen": 3},
        "metrics": metrics,
        "shares": shares,
        "groups": {
            "columns": [
                {"column": note, "groups": [group, {**empty, "shares": none}], "lowest": note},
                {"column": "acquisition", "groups": [group], "lowest": ""},
            ],
            "left_out": [{"column": note, "reason": "it is empty"}],
        },
        "sample_size": {
            "margin": 0.05,
            "sensitivity": {
                **{"class": sick, "now": 80, "half_length_now": 0.06, "likely": 140},
                "cautious": 220,
            },
            "specificity": {
                **{"class": "normal", "now": 0, "half_length_now": None, "likely": None},
                "cautious": None,
            },
        },
        "calibration": {
            "in_the_large": {
                sick: {**cell(0.05, 0.01, 0.09), "observed": 0.7, "mean_probability": 0.65}
            },
            "slope": cell(0.6, 0.4, 0.8),
            "definitions": {"in_the_large": "what it is", "slope": note},
        },
        "familiarity": {
            **{"rows": 130, "percentiles": [5.0, 95.0, 99.0], "reason": ""},
            **dict.fromkeys(("no_lungs", "inverted", "flat", "unusual"), shares["sensitivity"]),
            "farther": cell(0.7, 0.6, 0.8),
            "definitions": dict.fromkeys("no_lungs inverted flat unusual farther".split(), note),
        },
        "decision_curve": {**curve, "model": line},
        "comparison": {
            **{"one": name, "other": note, "operating_points": ["steady", note]},
            **{"rows": 120, "patients": 60, "metrics": {"sensitivity": compared}},
            "auroc": {sick: {"one": 0.9, "other": 0.8, **cell(0.1, 0.0, 0.2), "z": 2.0, "p": 0.04}},
            "agreement": dict.fromkeys(
                "both_right only_one_right only_other_right both_wrong".split(), 30
            ),
            "net_benefit": {**curve, "one": line, "other": line, "low": line, "high": line},
        },
        "recalibration": {
            "name": "recalibrated",
            "fitted_on": {"rows": 60, "patients": 30, "class_counts": {}},
            "judged_on": {"rows": 60, "patients": 30, "class_counts": {}},
            "temperature": [1.0, 1.4],
            "intercepts": [0.2],
            "points": {
                "balanced": {"threshold": 0.6, "criterion": note},
                note: {"offsets": [0.1, -0.1], "criterion": note},
            },
            "metrics": {"brier": compared, "ece": compared},
            "shares": shares,
            "verdict": judge(recalls, read_limits("specificity>=0.999")),
        },
        "prior_shift": {
            **{"name": "prior-shifted", "method": "em", "assumptions": [note], "warnings": [note]},
            "fitted": {"normal": 0.3, sick: 0.7},
            "here": {"normal": cell(0.8, 0.7, 0.9), sick: cell(0.2, 0.1, 0.3)},
            "observed": {"normal": 0.25, sick: 0.75},
            "mean_probability": [0.5, 0.2],
            **{"ppv": 0.6, "npv": 0.95, "shift": [-2.2], "points": {}},
        },
        "notes": [note],
        "provenance": {"command_line": f"xray-tf accept {note}", "time": "2026-11-27T00:00:00"},
    }
    return told, rows
