"""Options of judging a classifier at a site."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option, share


@dataclass(frozen=True)
class AcceptOptions(Checked):
    """Acceptance: limits, groups, and how the model is adapted to the site."""

    require: str | None = option(
        None,
        "what the model must reach here, such as sensitivity>=0.9,specificity>=0.85 "
        "(also ppv, npv, accuracy, recall/CLASS); the verdict judges it",
        metavar="LIMITS",
    )
    margin: float = share(
        0.05, "half the interval's length that the sample sizes on the page are for", least=0.005
    )
    acquisitions: bool = option(
        True, "group the radiographs by how they look around the lungs too, unless data says it"
    )
    recalibrate: bool = option(
        False,
        "fit temperature, intercept and threshold on one half of the patients, judge them on the "
        "other, and write the new model recalibrated/ into --out; the old one stays as it is",
    )
    prevalence: str | None = option(
        None,
        "adapt the probabilities to another prevalence and write the new model prior-shifted/ "
        "into --out: the share of the sick (0.1, or normal=0.9,bacterial=0.06,viral=0.04), or em "
        "to estimate it from the radiographs without their labels",
        metavar="SHARES",
    )
    accept_seed: int = count(0, "seed of the halves and of the groups")
