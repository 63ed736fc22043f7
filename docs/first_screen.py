"""python docs/first_screen.py [--model DIR]

Make the README's picture again: docs/first_screen.png, and docs/first_screen.json with the probabilities it shows.

Without --model a classifier is trained first on phantoms of seed 0, as `make demo` does (two to four minutes on two idle cores); a model that it left
can be given instead. The radiographs drawn are the first child of another seed as normal, bacterial and viral, whatever the answer is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from xray_tf.data.decoding import resize_pixels
from xray_tf.data.phantom import KINDS, draw_phantom
from xray_tf.jobs.loaded import Classifier, load
from xray_tf.jobs.train_classifier import train_classifier
from xray_tf.nets.gradcam import GradCAM
from xray_tf.options import DataOptions, ModelOptions, TrainOptions
from xray_tf.pages import overlays

HERE = Path(__file__).parent
SEED = 1  # of the phantoms shown; training's are drawn from seed 0
SIDE = 256  # of a picture, pixels


def train(folder: Path) -> Classifier:
    """Train a binary classifier on phantoms."""
    return train_classifier("phantom:300", folder, DataOptions(test=0.25), ModelOptions(image_size=128),
                            TrainOptions(epochs=20, fine_tune="all", fine_tune_epochs=12, fine_tune_learning_rate=3e-4),
                            command_line="python docs/first_screen.py")


def draw(classifier: Classifier) -> tuple[np.ndarray, dict]:
    """Return the picture, (H, W, 3) uint8 RGB, and the probabilities of pneumonia it shows."""
    prep, columns, shown = classifier.card.preprocessing, [], {}
    net = GradCAM(classifier.model)
    for kind in KINDS:
        phantom = draw_phantom(kind, SEED)
        image, lesion = (resize_pixels(a, SIDE, prep["resize"]) for a in (phantom.image, phantom.lesion.astype(np.uint8) * 255))
        answer = classifier.predict(phantom.image)[0]
        heat = net(resize_pixels(phantom.image, prep["image_size"], prep["resize"])[None], class_index=1)[0]
        truth = overlays.contour(image, (lesion >= 128).astype(np.float32), share=0.99)
        left = overlays.titled(truth, f"drawn as {kind}")
        right = overlays.titled(overlays.overlay(image, heat), f"pneumonia {answer.probabilities[1]:.2f}")
        columns.append(overlays.stacked([left, right]))
        shown[kind] = {"probability": answer.probabilities[1], "decided": answer.predicted}
    return overlays.beside(columns), shown


def main(args=None) -> None:
    """Train if asked to, draw, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1], prog="python docs/first_screen.py")
    parser.add_argument("--model", metavar="DIR", help="a binary artifact trained on phantoms, instead of training one")
    given = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        classifier = load(given.model) if given.model else train(Path(folder) / "model")
        picture, shown = draw(classifier)
    png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    (HERE / "first_screen.png").write_bytes(png.tobytes())
    about = {"shown": shown, "seed": SEED, "model": classifier.card.provenance["command_line"]}
    (HERE / "first_screen.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
