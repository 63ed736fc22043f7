"""Draw what the convolution before a trunk learnt (`train --adapter`): its kernels beside the copy
that they began as, and what each channel adds to a drawn chest.

python benchmarks/resnet_adapter.py --model DIR [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import xray_tf
from xray_tf.pages.kit.canvas import INK, canvas, to_png_bytes

RESULT = Path(__file__).parent / "results" / "resnet_adapter.png"


def kernels_of(model) -> np.ndarray:
    """Return the kernels of the layer `adapter`, (3, 3, 3): channel, row, column."""
    names = [layer.name for layer in model.layers]
    if "adapter" not in names:
        raise SystemExit("This model has no convolution before its trunk: train it with --adapter.")
    return model.get_layer("adapter").get_weights()[0][:, :, 0].transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    classifier = xray_tf.load(given.model, kind="classifier")
    side = classifier.card.preprocessing["image_size"]
    chest = xray_tf.draw_phantom("bacterial", seed=3, height=side, width=side).image
    figure = canvas(10.0, 5.2, pad=0.03)
    panels = figure.subplots(2, 4)
    panels[0, 0].set_title("grey levels", loc="left", fontsize=10, color=INK)
    panels[0, 0].imshow(chest, cmap="gray", vmin=0, vmax=255)
    copy = np.zeros((3, 3))
    copy[1, 1] = 1
    changes = kernels_of(classifier.model) - copy
    most = np.abs(changes).max() or 1.0
    panels[1, 0].imshow(copy, cmap="RdBu_r", vmin=-1, vmax=1)
    panels[1, 0].set_title("copy, the start", loc="left", fontsize=10, color=INK)
    # filter2D correlates, as a convolution layer does, and is linear
    parts = [cv2.filter2D(chest.astype(np.float64), -1, c.astype(np.float64)) for c in changes]
    widest = max(np.percentile(np.abs(part), 99.5) for part in parts) or 1.0
    for channel, (part, change) in enumerate(zip(parts, changes, strict=True), 1):
        panels[0, channel].imshow(part, cmap="RdBu_r", vmin=-widest, vmax=widest)
        title = f"channel {channel} adds, ±{widest:.0f} levels"
        panels[0, channel].set_title(title, loc="left", fontsize=10, color=INK)
        panels[1, channel].imshow(change, cmap="RdBu_r", vmin=-most, vmax=most)
        for (y, x), value in np.ndenumerate(change):
            ink = {"color": "white" if abs(value) > 0.6 * most else INK, "fontsize": 8}
            panels[1, channel].text(x, y, f"{value:+.3f}", ha="center", va="center", **ink)
        panels[1, channel].set_title("change of its kernel", loc="left", fontsize=10, color=INK)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    given.out.write_bytes(to_png_bytes(figure, dpi=110))
    print(f"Finished: {given.out}; the largest change of a weight is {np.abs(changes).max():.3f}")


if __name__ == "__main__":
    main()
