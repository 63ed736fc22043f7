"""Draw the README's picture: docs/first_screen.png, and docs/first_screen.json with its numbers.

python docs/first_screen.py RUN

RUN is the folder from `make demo` (runs/demo-...), whose binary classifier and detector are used.
The radiographs are the first child of another seed as normal, bacterial and viral, whatever the
answers are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from xray_tf.data.pixels.square import resize_pixels
from xray_tf.data.synthetic.phantom import KINDS, draw_phantom
from xray_tf.models.classifier import Classifier
from xray_tf.models.detector import Detector
from xray_tf.models.load import load
from xray_tf.nets.heatmaps.gradcam import GradCAM
from xray_tf.pages.kit import overlays

HERE = Path(__file__).parent
SEED = 1  # of the phantoms shown; training's are drawn from seed 0
SIDE = 256  # of a picture, pixels


def draw(classifier: Classifier, detector: Detector) -> tuple[np.ndarray, dict]:
    """Return the picture, (H, W, 3) uint8 RGB, and the probabilities of pneumonia and anomaly
    scores it shows.
    """
    prep, columns, shown = classifier.card.preprocessing, [], {}
    other = detector.card.preprocessing
    net = GradCAM(classifier.model)
    for kind in KINDS:
        phantom = draw_phantom(kind, SEED)
        image, lesion = (
            resize_pixels(a, SIDE, prep["resize"])
            for a in (phantom.image, phantom.lesion.astype(np.uint8) * 255)
        )
        answer = classifier.predict(phantom.image)[0]
        heat = net(
            resize_pixels(phantom.image, prep["image_size"], prep["resize"])[None], class_index=1
        )[0]
        truth = overlays.contour(image, (lesion >= 128).astype(np.float32), share=0.99)
        left = overlays.titled(truth, f"drawn as {kind}")
        right = overlays.titled(
            overlays.overlay(image, heat), f"pneumonia {answer.probabilities[1]:.2f}"
        )
        where = detector.maps(
            resize_pixels(phantom.image, other["image_size"], other["resize"])[None]
        )[0]
        odd = float(detector.score(phantom.image).anomaly[0])
        last = overlays.titled(overlays.overlay(image, where), f"unlike normals {odd:.2f}")
        columns.append(overlays.stacked([left, right, last]))
        shown[kind] = {
            "probability": answer.probabilities[1],
            "decided": answer.predicted,
            "anomaly_score": odd,
        }
    return overlays.beside(columns), shown


def main(args=None) -> None:
    """Draw, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[1], prog="python docs/first_screen.py"
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder that make demo left")
    given = parser.parse_args(args)
    classifier = load(next(given.run.glob("models/binary-*")))
    picture, shown = draw(classifier, load(given.run / "detector"))
    png = cv2.imencode(
        ".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )[1]
    (HERE / "first_screen.png").write_bytes(png.tobytes())
    about = {"shown": shown, "seed": SEED, "model": classifier.card.provenance["command_line"]}
    (HERE / "first_screen.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
