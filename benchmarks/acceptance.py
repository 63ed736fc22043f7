"""Check the statistics of site acceptance by simulation, where the truth is known.

python benchmarks/acceptance.py [--draws N]

Three questions: how often the 95 % interval of a share holds the truth, beside the percentile
bootstrap by patient; how often a verdict is wrong, beside what it says of itself; and how much of
Youden's J the threshold of a recalibrated model loses on new patients, beside the threshold of the
highest J. No radiograph is read.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logit
from scipy.stats import norm

from xray_tf.artifact import write_text
from xray_tf.stats.acceptance.recalibration import fit_logits
from xray_tf.stats.acceptance.shares import Share
from xray_tf.stats.acceptance.verdict import Limit, judge
from xray_tf.stats.metrics import cluster_weights, interval
from xray_tf.stats.operating_points import fit_operating_points, fit_site_points
from xray_tf.stats.temperature import calibrated_probabilities

RESULTS = Path(__file__).parent / "results" / "acceptance.json"
ROWS = (1, 1, 1, 2, 3, 5)  # of a patient, each as likely
# means and standard deviations of the logits of both classes; the site adds 1
SITES = {"equal": (2.0, 1.4, 1.4), "apart": (3.0, 2.0, 1.5), "unequal": (2.0, 1.0, 2.5)}
MOVED = 1.0


def hits(rng: np.random.Generator, share: float, patients: int, alike: float) -> tuple:
    """Draw (hit, patient) of rows whose intra-class correlation is `alike`."""
    rows = rng.choice(ROWS, patients)
    scale = (1 - alike) / max(alike, 1e-6)
    own = rng.beta(share * scale, (1 - share) * scale, patients)
    patient = np.repeat(np.arange(patients), rows)
    return rng.random(len(patient)) < own[patient], patient


def coverage(rng: np.random.Generator, draws: int) -> list[dict[str, float]]:
    """Return how often each interval holds the truth."""
    out = []
    for share, patients, alike in product((0.8, 0.9, 0.97), (20, 50, 150), (0.01, 0.3, 0.8)):
        held = {"interval": 0, "bootstrap": 0}
        for _ in range(draws):
            hit, patient = hits(rng, share, patients, alike)
            low, high = Share.of(hit, patient.astype(str)).interval
            held["interval"] += low <= share <= high
            weights = next(cluster_weights(patient, 300, 0))
            low, high = interval(weights @ hit / weights.sum(axis=1))
            held["bootstrap"] += low <= share <= high
        rates = {k: v / draws for k, v in held.items()}
        out.append({"share": share, "patients": patients, "alike": alike, **rates})
    return out


def verdicts(rng: np.random.Generator, draws: int) -> list[dict[str, Any]]:
    """Return how often verdicts are wrong, and what they say of themselves on average: of models
    whose sensitivity and specificity are drawn anew, and of models at their limits.
    """
    limits, out = [Limit("sensitivity", 0.9), Limit("specificity", 0.85)], []
    for patients in (50, 150, 400):
        for where in ("anywhere", "at the limits"):
            told = {"accepted": [], "rejected": [], "undecided": []}
            for _ in range(draws):
                truth = rng.beta(0.5, 0.5, 2) if where == "anywhere" else np.array([0.9, 0.85])
                found = [int(k) for k in rng.binomial(patients, truth)]
                names = [limit.metric for limit in limits]
                shares = {
                    n: Share(k, patients, patients, float(patients))
                    for n, k in zip(names, found, strict=True)
                }
                said = judge(shares, limits)
                met = truth[0] >= 0.9 and truth[1] >= 0.85
                wrong = met != (said["verdict"] == "accepted")
                told[said["verdict"]].append((said["chance_wrong"] or 0, wrong))
            row = {"patients_of_a_class": patients, "truth": where}
            for verdict, pairs in told.items():
                row[f"{verdict}_share"] = len(pairs) / draws
                if verdict != "undecided" and pairs:
                    chance, wrong = np.array(pairs, float).mean(axis=0)
                    row |= {f"{verdict}_says": float(chance), f"{verdict}_wrong": float(wrong)}
            out.append(row)
    return out


def thresholds(rng: np.random.Generator, draws: int) -> list[dict[str, Any]]:
    """Return Youden's J on new patients of the frozen threshold, of the highest J on the rows, and
    of the share of the sick, after recalibration on few rows.
    """
    names, out = ("normal", "pneumonia"), []
    for site, (mean, sd0, sd1) in SITES.items():
        grid = np.linspace(-8, 8, 4001)

        def youden(cut: np.ndarray, mean=mean, sd0=sd0, sd1=sd1) -> np.ndarray:
            sensitivity = norm.sf((cut - MOVED - mean) / sd1)
            return sensitivity + norm.cdf((cut - MOVED + mean) / sd0) - 1

        for rows in (30, 60, 120, 250):
            found = {"frozen": [], "highest": [], "share": []}
            while len(found["share"]) < draws:
                labels = (rng.random(rows) < rng.uniform(0.2, 0.7)).astype(int)
                if min(np.bincount(labels, minlength=2)) < 3:
                    continue
                middle, spread = np.where(labels, mean, -mean), np.where(labels, sd1, sd0)
                logits = rng.normal(middle + MOVED, spread)[:, None]
                temperature, intercept = fit_logits(logits, labels, 1.0)
                p = calibrated_probabilities(logits + intercept * temperature, temperature)
                how = p, labels, ["val"] * rows, names
                points = {
                    "highest": fit_operating_points(*how)["balanced"],
                    "share": fit_site_points(*how)["balanced"],
                }
                found["frozen"].append(float(youden(0.0)))
                for name, point in points.items():
                    t = np.clip(point.threshold, 1e-9, 1 - 1e-9)
                    found[name].append(float(youden((logit(t) - intercept[0]) * temperature)))
            best = float(youden(grid).max())
            lost = {name: round(best - float(np.mean(v)), 4) for name, v in found.items()}
            out.append({"site": site, "rows": rows, "best": round(best, 4), "lost": lost})
    return out


def main() -> None:
    """Parse, simulate, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=400)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    found = {
        "draws": given.draws,
        "coverage": coverage(rng, given.draws),
        "verdicts": verdicts(rng, 10 * given.draws),
        "thresholds": thresholds(rng, given.draws // 2),
    }
    write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    print(f"Finished: {RESULTS}")


if __name__ == "__main__":
    main()
