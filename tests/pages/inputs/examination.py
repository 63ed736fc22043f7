"""A made-up shortcuts.json and faithfulness.json."""


def cell(value, change=None):
    low, high = (None, None) if value is None else (value - 0.02, value + 0.02)
    out = {"value": value, "low": low, "high": high}
    return (
        out
        if change is None
        else {**out, "change": change, "change_low": change - 0.01, "change_high": change + 0.01}
    )


def metrics(*more):
    return {m: cell(0.9, *more) for m in ("auroc", "sensitivity", "specificity")}


INSIDE = {
    "rows": 12,
    "chance": 0.2,
    **{k: {"value": 0.35, "over_chance": 0.15, "low": 0.1, "high": 0.2} for k in ("energy", "hit")},
}
NONE = {"rows": 0, "chance": None, "energy": None, "hit": None}
REGIONS = (
    "lungs",
    "usual_lungs",
    "lungs_box",
    "outside",
    "border",
    "inside_border",
    "markers",
    "displaced",
)
SHORTCUTS = {
    "rows": 12,
    "patients": 9,
    "class_names": ["normal", "pneumonia"],
    "class_counts": {"normal": 6, "pneumonia": 6},
    "split": "test",
    "operating_point": "balanced",
    "split_by": "patient",
    "seed": 0,
    "interval": {"kind": "95 % percentile bootstrap by patient", "replicates": 10},
    "metrics": ["auroc", "sensitivity", "specificity"],
    "lungs": {"flags": {"fitted": 11, "template": 1}, "share": 0.21, "limits": "Estimated."},
    "regions": {r: {"what": "", "share": 0.2, "rows": 12} for r in REGIONS},
    "fills": {"mean": "", "smooth": "", "noise": ""},
    "unchanged": metrics(),
    "cells": [
        {"region": r, "fill": f, **metrics(-0.05)}
        for r in REGIONS
        for f in ("mean", "smooth", "noise")
    ],
    "maps": {
        "method": "grad_cam",
        "layer": "features",
        "target": "",
        "of": {
            "grad_cam": {
                "empty": 1,
                "regions": {"lungs": INSIDE, "border": INSIDE, "markers": NONE},
            },
            "centre": {"empty": 0, "regions": {"lungs": INSIDE, "border": INSIDE, "markers": NONE}},
        },
    },
}
GOOD, BAD, OPEN = (
    {"difference": d, "low": d - 0.05, "high": d + 0.05, "p": 0.1, "groups": 9}
    for d in (-0.1, 0.1, 0.0)
)
FAITHFULNESS = {
    "rows": 5,
    "patients": None,
    "class_names": ["normal", "pneumonia"],
    "split": "all rows",
    "operating_point": "balanced",
    "split_by": "patient",
    "layer": "features",
    "score": "probability",
    "steps": 2,
    "seed": 0,
    "interval": {"kind": "95 % percentile bootstrap by image", "replicates": 10},
    "figures": {
        "deletion_mean": {"better": "low", "what": "area"},
        "gap_mean": {"better": "high", "what": "gap"},
    },
    "maps": {
        "grad_cam": {
            "kind": "method",
            "empty": 0,
            "figures": {"deletion_mean": cell(0.3), "gap_mean": cell(0.1)},
            "against": {
                "random": {"deletion_mean": GOOD, "gap_mean": BAD},
                "centre": {"deletion_mean": GOOD, "gap_mean": GOOD},
            },
        },
        "random": {
            "kind": "control",
            "empty": 0,
            "figures": {"deletion_mean": cell(0.4), "gap_mean": cell(0.0)},
            "against": {},
        },
        "centre": {
            "kind": "control",
            "empty": 0,
            "figures": {"deletion_mean": cell(0.4), "gap_mean": cell(0.2)},
            "against": {},
        },
    },
    "curves": {
        "shares": [0, 0.5, 1],
        **{
            m: {"mean_most": [0.9, 0.5, 0.1], "mean_least": [0.9, 0.8, 0.1]}
            for m in ("grad_cam", "random", "centre")
        },
    },
    "randomisation": {
        "rows": 4,
        "seed": 0,
        "layers": 9,
        "what": "shuffled",
        "methods": {
            "grad_cam": {
                "depths": [
                    {
                        "layer": "logits",
                        "share": 0.1,
                        "empty": 0,
                        "rank_correlation": cell(0.6),
                        "ssim": cell(0.5),
                    },
                    {
                        "layer": "stem<b>",
                        "share": 1.0,
                        "empty": 1,
                        "rank_correlation": cell(0.05),
                        "ssim": cell(0.1),
                    },
                ],
                "between_radiographs": {"rank_correlation": cell(0.4), "ssim": cell(0.4)},
                "random_maps": {"rank_correlation": cell(0.0), "ssim": cell(0.1)},
            }
        },
    },
}
