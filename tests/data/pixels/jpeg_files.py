"""JPEG files of every common kind, whole and damaged in ways that libjpeg only warns of."""

import cv2
import numpy as np

from xray_tf.data.synthetic.phantom import draw_phantom

END = b"\xff\xd9"


def picture(height=300, width=340, colour=False):
    image = draw_phantom("bacterial", seed=1, patient=3, height=height, width=width).image
    return np.repeat(image[..., None], 3, -1) if colour else image


def encoded(image, **options):
    names = {f"IMWRITE_JPEG_{k.upper()}": v for k, v in options.items()}
    flags = [x for name, value in names.items() for x in (getattr(cv2, name), value)]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


WHOLE = {
    "plain": lambda: encoded(picture()),
    "colour": lambda: encoded(picture(colour=True)),
    "progressive": lambda: encoded(picture(), progressive=1),
    "optimised": lambda: encoded(picture(), optimize=1),
    "restarts": lambda: encoded(picture(), rst_interval=7),
    "large": lambda: encoded(picture(900, 1100)),
    "low quality": lambda: encoded(picture(), quality=12),
}
HOLED = ("plain", "colour", "large", "low quality")  # the others need not notice


def cut(data, share):
    """Drop the end of the scan, and keep the end marker."""
    return data[: int(share * len(data))] + END


def holed(data):
    """Overwrite the second half with zeros."""
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half - 2) + END


def grey_below(grey, **options):
    """A whole picture whose lower third has one grey level."""
    image = picture()
    image[200:] = grey
    return encoded(image, **options)
