"""The lung segmenter's README.md: what it is, whose masks and radiographs made it, how well it
finds lungs, and where it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.classifier.credits import MASKS, data_credit
from xray_tf.pages.kit.render import Part, Table
from xray_tf.pages.kit.words import interval_text

# sha256 over the sorted sha256 of the mask files -> whose they are
MASK_SETS = {"5653c565b911f103e5e086c2eafe6f86957a32188f637e07d9da19bc5780be6f": MASKS}
STATISTICS = {"mean": "mean", "median": "median", "fifth_percentile": "5th percentile"}


@dataclass(frozen=True)
class LungCard(Part):
    """The card in Markdown.

    Attributes:
        card: of the artifact.
        metrics: the layout of its metrics.json.
    """

    template = "lungs/model_card.md.jinja"
    card: Card
    metrics: dict[str, Any]

    @property
    def credits(self) -> dict[str, str]:
        """Whose works the segmenter is made of."""
        masks = self.card.provenance.get("masks", {}).get("fingerprint", "")
        unknown = "Not recorded: no set of masks that xray_tf recognises."
        return {
            "Radiographs": Markup(data_credit(self.card)),
            "Masks": Markup(MASK_SETS.get(masks, unknown)),
            "Weights it started from": "random ones",
        }

    @property
    def overlaps(self) -> Table:
        """IoU of all rows and of each class."""
        groups = {"all": {**self.metrics, **self.metrics["iou"]}, **self.metrics["classes"]}
        rows = [
            [name, group["rows"], group["patients"], *(interval_text(group[k]) for k in STATISTICS)]
            for name, group in groups.items()
        ]
        return ["radiographs", "number", "patients", *STATISTICS.values()], rows

    @property
    def stressed(self) -> Table:
        """Mean IoU under each change, by severity, and the share refused under the strongest."""
        rows = []
        for s in self.metrics["stresses"]:
            means, strong = (f"{cell['mean']:.3f}" for cell in s["cells"]), s["cells"][-1]
            worst = f"{strong['fifth_percentile']:.3f}", f"{strong['refused']:.1%}"
            rows.append([s["name"], s["what"], *means, *worst])
        head = ["change", "what", "weak", "middle", "strong", "5th percentile, strong"]
        return [*head, "refused, strong"], rows

    @property
    def not_chests(self) -> Table:
        """What the score says of pictures that are no chest."""
        rows = []
        for kind in self.metrics["score"]["not_chests"]:
            what = kind["kind"], "yes" if kind["trained_on"] else "no", kind["pictures"]
            scores = f"{kind['median']:.3f}", f"{kind['highest']:.3f}"
            rows.append([*what, *scores, f"{kind['taken_for_chests']:.1%}"])
        return ["picture", "trained on", "number", "median", "highest", "taken for a chest"], rows


def render_lung_card(card: Card, metrics: dict[str, Any]) -> str:
    """Return the README.md of a lung segmenter."""
    return LungCard(card, metrics).render()
