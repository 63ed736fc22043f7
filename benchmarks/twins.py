"""Compare predictions on full-size radiographs with those on their 224 x 224 copies, on which the
models were trained.

python benchmarks/twins.py [--originals DIR] [--copies DIR] [--models NAME,NAME]

The full-size radiographs are also reduced in other ways (another filter, JPEG compression of the
small image), to find where a difference comes from. Results are the mean over classes of the
absolute difference in probability, and the number of decisions that change.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import xray_tf
from xray_tf.artifact import write_text

RESULTS = Path(__file__).parent / "results" / "twins.json"
SIDE = (224, 224)


def triangle(path: Path) -> np.ndarray:
    """Return the image made small by a triangle filter over the source (antialiased bilinear)."""
    return np.array(Image.open(path).convert("L").resize(SIDE, Image.Resampling.BILINEAR))


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Return the image after a JPEG of that quality."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def main() -> None:
    """Parse, predict, compare, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--originals", type=Path, default=Path("../shared/data/originals"))
    parser.add_argument("--copies", type=Path, default=Path("../shared/data/chest_xray"))
    parser.add_argument("--models", default="pneumonia-binary,pneumonia-three-class")
    given = parser.parse_args()
    copies = {path.stem: path for path in given.copies.rglob("*.jpeg")}
    pairs = [
        (path, copies[path.stem])
        for path in sorted(given.originals.rglob("*.jpeg"))
        if path.stem in copies
    ]
    if not pairs:
        raise SystemExit(
            f"No radiograph of {given.originals} has a copy of its name in {given.copies}."
        )
    original, copied = ([str(path) for path in paths] for paths in zip(*pairs, strict=True))
    small = [triangle(path) for path, _ in pairs]
    area = [
        cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), SIDE, interpolation=cv2.INTER_AREA)
        for path, _ in pairs
    ]
    ways = {
        "the package's own decoding": original,
        "area filter of the full image": np.stack(area),
        "triangle filter": np.stack(small),
        **{
            f"triangle filter, JPEG of quality {q}": np.stack(
                [compressed(image, q) for image in small]
            )
            for q in (95, 85, 75)
        },
    }
    rows = []
    for name in given.models.split(","):
        model = xray_tf.load(name)
        wanted = model.predict(copied)
        for way, images in ways.items():
            found = model.predict(images)
            difference = float(np.abs(found.probabilities - wanted.probabilities).mean())
            flipped = int((np.array(found.predicted) != np.array(wanted.predicted)).sum())
            rows.append(
                {
                    "model": model.card.name,
                    "way": way,
                    "mean_difference": difference,
                    "flipped": flipped,
                    "radiographs": len(pairs),
                }
            )
            print(
                f"| {model.card.name} | {way} | {difference:.4f} | {flipped} of {len(pairs)} |",
                flush=True,
            )
    write_text(RESULTS, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
