"""Change a radiograph and its lung mask together, for the training of the lung segmenter.

Every choice comes from one generator per picture, so a resumed run draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIDE = 224  # pixels: lengths below are pixels of an image of this side
_BURNED_IN = "R L AP PA A-P SUPINE ERECT MOBILE KV55 10:42:07 PORTABLE D G 17/03"
WORDS = (*_BURNED_IN.split(), "mAs 2.0")


def augment(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Move, stretch, light and spoil a radiograph as other machines and people would.

    Args:
        image: (H, W) uint8.
        mask: (H, W) uint8: 255 lung, 127 ignore, 0 the rest.

    Returns:
        ((H, W) uint8, (H, W) uint8), black beyond the image, no lung there.
    """
    image, mask = move(image, mask, rng)
    if rng.random() < 0.25:
        image = whiten_lung(image, mask, rng)
    for change in (light, spoil, burn_in):
        image = change(image, rng)
    return image, mask


def move(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, gentle: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Flip, rotate, scale, stretch, shear, shift and bend both alike."""
    height, width = image.shape
    amount = 0.35 if gentle or rng.random() < 0.25 else 1.0
    angle = np.deg2rad(np.clip(rng.normal(0, 9 * amount), -25, 25))
    scale = np.exp(rng.uniform(-0.42, 0.34) * amount)
    aspect = np.exp(np.clip(rng.normal(0, 0.14 * amount), -0.36, 0.36))
    shear = np.clip(rng.normal(0, 0.05 * amount), -0.15, 0.15)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    forward = np.array([[cos, -sin], [sin, cos]]) @ np.array(
        [[flip * scale * aspect, shear], [0, scale / aspect]]
    )
    linear = np.linalg.inv(forward)  # output pixel -> input pixel
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre + rng.uniform(-0.12, 0.12, 2) * amount * (width, height)
    matrix = np.column_stack([linear, offset - linear @ centre])
    bend = bends(rng, (height, width), amount) if rng.random() < 0.4 else None
    return resample(image, mask, matrix, bend, rng)


def bends(
    rng: np.random.Generator, shape: tuple[int, int], amount: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return smooth displacements in pixels, two (H, W) float32."""
    knots = int(rng.integers(4, 9))
    size = amount * rng.uniform(1.0, 4.5) * shape[1] / SIDE * (5 / knots) ** 0.5
    drawn = rng.normal(0, size, (2, knots, knots)).astype(np.float32)
    bend_x, bend_y = (cv2.resize(d, shape[::-1], interpolation=cv2.INTER_CUBIC) for d in drawn)
    return bend_x, bend_y


def resample(image, mask, matrix, bend, rng) -> tuple[np.ndarray, np.ndarray]:
    """Read both through an affine matrix and a bend.

    Beyond the image lies black, now and then grey, or the border's own grey.
    """
    chance = rng.random()
    border = cv2.BORDER_REPLICATE if chance < 0.12 else cv2.BORDER_CONSTANT
    grey = int(rng.integers(0, 256)) if 0.12 <= chance < 0.22 else int(rng.integers(0, 12))
    moved = _read(image, matrix, bend, cv2.INTER_LINEAR, border, grey)
    # 127 is read apart from 0 and 255: what is ignored must not become half a lung
    lungs = _read((mask == 255).astype(np.uint8) * 255, matrix, bend, cv2.INTER_LINEAR)
    lungs = cv2.threshold(lungs, 127, 255, cv2.THRESH_BINARY)[1]
    if (mask == 127).any():
        lungs[_read((mask == 127).astype(np.uint8), matrix, bend, cv2.INTER_NEAREST) > 0] = 127
    return moved, lungs


def _read(image, matrix, bend, how, border=cv2.BORDER_CONSTANT, grey=0):
    if bend is None:
        how |= cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            image, matrix, image.shape[::-1], flags=how, borderMode=border, borderValue=grey
        )
    y, x = (np.arange(n, dtype=np.float32) for n in image.shape)
    x, y = bend[0] + x, bend[1] + y[:, None]
    (a, b, c), (d, e, f) = np.float32(matrix)
    return cv2.remap(
        image, a * x + (b * y + c), d * x + (e * y + f), how, borderMode=border, borderValue=grey
    )


def whiten_lung(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay one to three soft white shadows over the lungs: a consolidated lung is still lung."""
    rows, columns = np.nonzero(mask == 255)
    if not len(rows):
        return image
    height, width = image.shape
    shadow = np.zeros((height // 4, width // 4), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(rows)))
        axes = tuple(int(v) for v in rng.uniform(0.05, 0.2, 2) * (width // 4) + 1)
        cv2.ellipse(
            shadow,
            (int(columns[at]) // 4, int(rows[at]) // 4),
            axes,
            rng.uniform(0, 180),
            0,
            360,
            1.0,
            -1,
        )
    soft = cv2.resize(cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1.0, 4.0)), (width, height))
    if rng.random() < 0.7:
        soft *= cv2.GaussianBlur((mask == 255).astype(np.float32), (0, 0), 2.0)
    level = np.quantile(image, rng.uniform(0.6, 0.95))
    soft *= rng.uniform(0.4, 1.0)
    return to_uint8(image + soft * np.maximum(level - image.astype(np.float32), 0))


def to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


_LEVELS = np.arange(256, dtype=np.float64)


def light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change exposure: gamma, contrast, brightness and film curve as one look-up.

    Now and then the image is equalised too, or gets CLAHE or an uneven field.
    """
    curve = _LEVELS / 255
    if rng.random() < 0.5:
        curve = curve ** np.exp(rng.uniform(-0.95, 0.85))
    if rng.random() < 0.3:
        slope = rng.uniform(0.8, 2.3)
        low, high = 1 / (1 + np.exp(2 * slope)), 1 / (1 + np.exp(-2 * slope))
        if rng.random() < 0.5:
            curve = (1 / (1 + np.exp(-4 * slope * (curve - 0.5))) - low) / (high - low)
        else:
            p = low + curve * (high - low)
            curve = 0.5 + np.log(p / (1 - p)) / (4 * slope)
    if rng.random() < 0.5:
        mean = image.mean() / 255
        curve = (curve - mean) * np.exp(rng.uniform(-1.2, 0.8)) + mean
    if rng.random() < 0.5:
        curve = curve + rng.uniform(-0.25, 0.25)
    image = cv2.LUT(image, to_uint8(curve * 255))
    chance = rng.random()
    if chance < 0.08:
        share = rng.uniform(0.2, 1.0)
        return cv2.addWeighted(cv2.equalizeHist(image), share, image, 1 - share, 0)
    if chance < 0.16:
        tiles = int(rng.integers(4, 10))
        return cv2.createCLAHE(float(rng.uniform(1, 4)), (tiles, tiles)).apply(image)
    if chance < 0.32:
        return uneven(image, rng)
    return image


def uneven(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a plane or a smooth field of grey levels."""
    height, width = image.shape
    if rng.random() < 0.6:
        angle, levels = rng.uniform(0, 2 * np.pi), rng.uniform(8, 55)
        y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape)
        field = np.float32(levels) * (
            np.float32(np.cos(angle)) * x[None] + np.float32(np.sin(angle)) * y[:, None]
        )
    else:
        knots = rng.normal(0, rng.uniform(6, 24), (4, 4)).astype(np.float32)
        field = cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC)
    return to_uint8(image + field)


def spoil(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, sharpen, coarsen, add noise, compress: at most two of them."""
    changes: tuple[Callable, ...] = (blur, sharpen, coarsen, noise, compress)
    if rng.random() < 0.5:
        for at in rng.choice(len(changes), size=int(rng.integers(1, 3)), replace=False):
            image = changes[at](image, rng)
    return image


def blur(image, rng):
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.8) * image.shape[1] / SIDE)


def sharpen(image, rng):
    soft = cv2.GaussianBlur(image, (0, 0), 1.5 * image.shape[1] / SIDE)
    amount = rng.uniform(0.5, 3.0)
    return cv2.addWeighted(image, 1 + amount, soft, -amount, 0)


def coarsen(image, rng):
    height, width = image.shape
    factor = rng.uniform(1.5, 4.2)
    size = (round(width / factor), round(height / factor))
    small = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_NEAREST
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def noise(image, rng):
    return to_uint8(
        image + np.float32(rng.uniform(3, 26)) * rng.standard_normal(image.shape, np.float32)
    )


def compress(image, rng):
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 60))])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def burn_in(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Write words, lay leads, blacken corners or borders, lay a collimator's frame."""
    image = image.copy()
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 5))):
            write_word(image, rng)
    if rng.random() < 0.2:
        image = leads(image, rng)
    chance = rng.random()
    if chance < 0.08:
        height, width = (max(1, round(n * rng.uniform(0.05, 0.26))) for n in image.shape)
        image[:height, :width] = image[:height, -width:] = image[-height:, :width] = image[
            -height:, -width:
        ] = 0
    elif chance < 0.22:
        frame(image, rng)
    return image


def write_word(image, rng) -> None:
    height, width = image.shape
    size = height * rng.uniform(0.03, 0.11)
    at = (round(rng.uniform(0, 0.92) * width), round(rng.uniform(0.06, 1.0) * height))
    font = cv2.FONT_HERSHEY_SIMPLEX if rng.random() < 0.7 else cv2.FONT_HERSHEY_COMPLEX
    grey = int(rng.integers(190, 256)) if rng.random() < 0.9 else int(rng.integers(0, 40))
    cv2.putText(
        image,
        str(rng.choice(WORDS)),
        at,
        font,
        size / 21,
        grey,
        max(1, round(size / 9)),
        cv2.LINE_AA,
    )


def leads(image, rng):
    height, width = image.shape
    drawn = np.zeros_like(image)
    t = np.linspace(0, 1, 40)[:, None]
    for _ in range(int(rng.integers(1, 5))):
        start, bend, end = (
            rng.uniform((-0.05, -0.05), (1.05, 0.4)),
            rng.uniform(0, 1, 2),
            rng.uniform(0.1, 0.9, 2),
        )
        points = ((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end) * (width, height)
        grey, thick = int(rng.integers(30, 120)), int(rng.integers(1, 4))
        cv2.polylines(drawn, [np.round(points).astype(np.int32)], False, grey, thick, cv2.LINE_AA)
        centre = tuple(int(v) for v in np.round(points[-1]))
        cv2.circle(drawn, centre, int(rng.integers(2, 7)), min(255, grey + 25), -1, cv2.LINE_AA)
    return cv2.add(image, drawn)


def frame(image, rng) -> None:
    """Blacken (or whiten) the borders, each by its own width."""
    height, width = image.shape
    grey = 0 if rng.random() < 0.8 else int(rng.integers(0, 256))
    top, bottom, left, right = rng.uniform(0, 0.14, 4) * (rng.random(4) < 0.7)
    image[: round(top * height)] = grey
    image[height - round(bottom * height) :] = grey
    image[:, : round(left * width)] = grey
    image[:, width - round(right * width) :] = grey
