"""A made-up shift.json."""

import numpy as np

from xray_tf.data.synthetic.stresses import STRESSES

RECALLS = {
    2: ["sensitivity", "specificity"],
    3: ["recall/normal", "recall/bacterial", "recall/viral"],
}


def made_up(classes=2, names=("darker", "noise", "jpeg"), missing=()):
    rng = np.random.default_rng(0)
    metrics = [*RECALLS[classes], "auroc", "balanced_accuracy", "accuracy"]

    def cells():
        values = {m: rng.uniform(0.72, 0.98) for m in metrics}
        return {
            m: {"value": None, "low": None, "high": None}
            if m in missing
            else {"value": v, "low": v - 0.02, "high": v + 0.02}
            for m, v in values.items()
        }

    stresses = [
        {
            "name": n,
            "group": STRESSES[n].group,
            "unit": STRESSES[n].unit,
            "what": STRESSES[n].what,
            "severities": list(STRESSES[n].severities),
            "cells": [cells() for _ in STRESSES[n].severities],
            "mean": {},
        }
        for n in names
    ]
    worst = {
        m: {"stress": "", "value": None} if m in missing else {"stress": names[0], "value": 0.7}
        for m in metrics
    }
    return {
        "rows": 300,
        "patients": 200,
        "class_names": ["normal", "pneumonia"]
        if classes == 2
        else ["normal", "bacterial", "viral"],
        "split": "test",
        "operating_point": "balanced",
        "interval": {"kind": "95 % percentile bootstrap by patient"},
        "metrics": metrics,
        "clean": cells(),
        "stresses": stresses,
        "mean": cells(),
        "drop": cells(),
        "worst": worst,
    }
