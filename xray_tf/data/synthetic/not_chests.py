"""Make pictures that do not show two upright lungs, to teach and to test the score that says so.

Two families: real or phantom chests shown wrongly (`TURNED`), and drawings of other things
(`DRAWN`): text pages, screenshots, hands, side views, textures and scenes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Draw = Callable[[int, np.random.Generator], np.ndarray]


def _quarter(image, rng):
    return np.ascontiguousarray(np.rot90(image, int(rng.choice((1, 3)))))


def _upside_down(image, rng):
    image = image[::-1]
    return np.ascontiguousarray(image[:, ::-1] if rng.random() < 0.6 else image)


def _negative(image, rng):
    return 255 - image


def _pieces(image, rng):
    """The tiles of the image in another order."""
    parts = int(rng.integers(2, 5))
    side = len(image) // parts
    tiles = [
        image[r * side : (r + 1) * side, c * side : (c + 1) * side]
        for r in range(parts)
        for c in range(parts)
    ]
    order = rng.permutation(len(tiles))
    if (order == np.arange(len(tiles))).mean() > 0.4:
        order = np.roll(order, 1)
    rows = [np.hstack([tiles[i] for i in order[r * parts : (r + 1) * parts]]) for r in range(parts)]
    return cv2.resize(np.vstack(rows), image.shape[::-1])


def _detail(image, rng):
    """A small part of the image, enlarged: at most a quarter of a lung pair is in it."""
    height, width = image.shape
    share = rng.uniform(0.15, 0.33)
    top, left = (int(rng.uniform(0, 1 - share) * n) for n in (height, width))
    part = image[top : top + int(share * height), left : left + int(share * width)]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)


TURNED: dict[str, Change] = {
    "turned by 90 degrees": _quarter,
    "upside down": _upside_down,
    "negative": _negative,
    "cut into pieces": _pieces,
    "a small detail": _detail,
}


def _blank(side, rng):
    image = np.full((side, side), int(rng.integers(0, 256)), np.uint8)
    if rng.random() < 0.4:
        ramp = np.linspace(0, rng.uniform(20, 255), side)
        image = np.clip(ramp[None] if rng.random() < 0.5 else ramp[:, None], 0, 255) * np.ones(
            (side, side)
        )
        image = image.astype(np.uint8)
    return image


def _noise(side, rng):
    coarse = int(side / rng.uniform(1, 30)) + 2
    drawn = rng.normal(rng.uniform(60, 190), rng.uniform(10, 80), (coarse, coarse)).astype(
        np.float32
    )
    if rng.random() < 0.3:
        drawn = rng.uniform(0, 255, (coarse, coarse)).astype(np.float32)
    return _uint8(
        cv2.resize(
            drawn, (side, side), interpolation=int(rng.choice((cv2.INTER_NEAREST, cv2.INTER_CUBIC)))
        )
    )


def _texture(side, rng):
    """Noise with a power-law spectrum, as natural scenes have."""
    power = rng.uniform(0.7, 2.0)
    frequency = np.hypot(
        np.fft.fftfreq(side)[:, None] * rng.uniform(0.5, 2), np.fft.rfftfreq(side)[None]
    )
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / (
        frequency + 1 / side
    ) ** power
    field = np.fft.irfft2(spectrum, (side, side))
    field = (field - field.mean()) / (field.std() + 1e-9)
    return _uint8(rng.uniform(80, 170) + rng.uniform(20, 70) * field)


def _page(side, rng):
    """A page of text, or a screenshot: windows, lines of words, a plot."""
    dark = rng.random() < 0.35
    paper, ink = (
        (int(rng.integers(0, 60)), 230)
        if dark
        else (int(rng.integers(200, 256)), int(rng.integers(0, 90)))
    )
    image = np.full((side, side), paper, np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        _window(image, rng)
    size = rng.uniform(0.02, 0.06) * side
    y = size * 2
    while y < side * 0.98 and rng.random() < 0.985:
        words = "".join(
            rng.choice(
                list("abcdefghijklmnopqrstuvwxyz      0123456789"), int(rng.integers(10, 60))
            )
        )
        at = (round(rng.choice((0.04, 0.1, 0.3)) * side), round(y))
        cv2.putText(
            image,
            words,
            at,
            cv2.FONT_HERSHEY_SIMPLEX,
            size / 30,
            ink,
            max(1, round(size / 14)),
            cv2.LINE_AA,
        )
        y += size * rng.uniform(1.4, 2.4)
    if rng.random() < 0.3:
        _plot(image, rng, ink)
    return image


def _window(image, rng):
    side = len(image)
    x, y, w, h = rng.uniform(0, 0.6, 2).tolist() + rng.uniform(0.1, 0.7, 2).tolist()
    corners = (round(x * side), round(y * side)), (round((x + w) * side), round((y + h) * side))
    cv2.rectangle(image, *corners, int(rng.integers(0, 256)), -1)
    cv2.rectangle(
        image,
        corners[0],
        (corners[1][0], corners[0][1] + side // 20),
        int(rng.integers(0, 256)),
        -1,
    )


def _plot(image, rng, ink):
    side = len(image)
    x = np.linspace(0.1, 0.9, 40)
    for _ in range(int(rng.integers(1, 5))):
        y = 0.5 + np.cumsum(rng.normal(0, 0.04, 40))
        points = np.round(np.stack([x, y], 1) * side).astype(np.int32)
        cv2.polylines(image, [points], False, ink, int(rng.integers(1, 3)), cv2.LINE_AA)


def _scene(side, rng):
    """Ellipses, boxes and polygons of any grey on a texture, blurred a little."""
    image = _texture(side, rng) if rng.random() < 0.6 else _blank(side, rng)
    for _ in range(int(rng.integers(2, 14))):
        grey, centre = int(rng.integers(0, 256)), tuple(int(v) for v in rng.uniform(0, side, 2))
        axes = tuple(int(v) + 2 for v in rng.uniform(0.02, 0.35, 2) * side)
        if rng.random() < 0.6:
            cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, grey, -1, cv2.LINE_AA)
        else:
            around = np.array(centre) + rng.normal(0, axes[0], (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(image, [around.astype(np.int32)], grey, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 3.0))


def _hand(side, rng):
    """A hand, foot or limb as an X-ray shows it: soft tissue around bright bones on black."""
    flesh, bone = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    wrist = np.array([rng.uniform(0.4, 0.6), rng.uniform(0.85, 1.0)])
    fingers = int(rng.choice((1, 2, 5, 5, 5, 5)))
    spread = rng.uniform(0.3, 0.75)
    for n in range(fingers):
        lean = (n - (fingers - 1) / 2) / max(1, fingers - 1) * 2 * spread + rng.normal(0, 0.04)
        length = rng.uniform(0.55, 0.8) * (0.75 if fingers == 5 and n in (0, 4) else 1.0)
        tip = wrist + length * np.array([np.sin(lean), -np.cos(lean)])
        joints = np.linspace(0, 1, int(rng.integers(4, 6)))[:, None] * (tip - wrist) + wrist
        thick = rng.uniform(0.05, 0.075) if fingers > 2 else rng.uniform(0.12, 0.25)
        _limb(flesh, bone, joints * side, thick * side, rng)
    palm = tuple(int(v) for v in (wrist + (0, -0.2)) * side)
    if fingers == 5:
        cv2.ellipse(flesh, palm, (int(0.17 * side), int(0.22 * side)), 0, 0, 360, 255, -1)
    image = 0.35 * cv2.GaussianBlur(flesh, (0, 0), side / 60) + 0.5 * cv2.GaussianBlur(
        bone, (0, 0), side / 200
    )
    turn = cv2.getRotationMatrix2D(
        (side / 2, side / 2), rng.uniform(-180, 180), rng.uniform(0.7, 1.2)
    )
    image = cv2.warpAffine(image.astype(np.float32), turn, (side, side))
    return _uint8(
        image * rng.uniform(0.8, 1.3) + rng.uniform(0, 25) + rng.normal(0, 3, image.shape)
    )


def _limb(flesh, bone, joints, thick, rng):
    points = np.round(joints).astype(np.int32)
    cv2.polylines(flesh, [points], False, 255, max(2, round(thick * 2)), cv2.LINE_AA)
    for start, end in zip(joints[:-1], joints[1:], strict=True):
        a, b = start + 0.08 * (end - start), end - 0.08 * (end - start)
        ends = [tuple(int(v) for v in p) for p in (a, b)]
        cv2.line(bone, *ends, 255, max(1, round(thick * 0.6)), cv2.LINE_AA)
        cv2.line(bone, *ends, int(rng.integers(110, 190)), max(1, round(thick * 0.25)), cv2.LINE_AA)


def _lateral(side, rng):
    """A chest from the side, roughly: one clear oval, spine behind, breast bone in front, belly."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    lean = rng.normal(0, 0.08)
    x = x - 0.5 - lean * (y - 0.5)
    trunk = np.clip(1.15 - np.abs(x) / rng.uniform(0.3, 0.42), 0, 1) ** 0.5
    clear = np.exp(
        -(((x - rng.normal(0, 0.03)) / rng.uniform(0.16, 0.22)) ** 4)
        - (((y - rng.uniform(0.4, 0.5)) / rng.uniform(0.26, 0.34)) ** 4)
    )
    heart = np.exp(-(((x + 0.09) / 0.11) ** 2) - (((y - rng.uniform(0.55, 0.65)) / 0.14) ** 2))
    spine = np.exp(-(((x - 0.2 - 0.06 * np.sin(3 * y)) / 0.045) ** 2)) * (
        0.75 + 0.25 * np.sign(np.sin(y * rng.uniform(70, 95)))
    )
    front = np.exp(-(((x + 0.25) / 0.02) ** 2)) * (y < 0.65)
    belly = 1 / (1 + np.exp(-(y - rng.uniform(0.68, 0.8) - 0.5 * x) / 0.02))
    ribs = 0.05 * np.sin((y - 0.8 * np.abs(x)) * rng.uniform(60, 80)) * clear
    image = (
        trunk * (0.75 - 0.5 * clear * (1 - 0.55 * heart))
        + 0.2 * spine
        + 0.15 * front
        + 0.3 * belly * trunk
        + ribs
    )
    if rng.random() < 0.5:
        image = image[:, ::-1]
    image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), side / 180)
    return _uint8(image / image.max() * rng.uniform(170, 250) + rng.normal(0, 4, image.shape))


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


DRAWN: dict[str, Draw] = {
    "blank": _blank,
    "noise": _noise,
    "texture": _texture,
    "page or screenshot": _page,
    "scene": _scene,
    "hand or limb": _hand,
    "side view, drawn": _lateral,
}
