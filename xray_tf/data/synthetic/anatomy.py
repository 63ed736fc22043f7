"""Draw the anatomy of a phantom: outlines in thorax units, the proportions of one child, the pose
of one exposure, and the curves between them.

x runs from -1 to 1 between the inner chest walls (negative = the child's right, left in the image),
y from 0 at the lung apex downwards; the costophrenic angle lies near 1.5.
"""

from __future__ import annotations

import cv2
import numpy as np

_WALL = np.array([
    (0.24, 0.00), (0.47, 0.06), (0.63, 0.17), (0.76, 0.35), (0.86, 0.58), (0.93, 0.84),
    (0.98, 1.12), (1.0, 1.38), (0.99, 1.55), (0.93, 1.9)
])  # fmt: skip
_DOME = np.array([
    (0.985, 1.57), (0.95, 1.46), (0.86, 1.35), (0.73, 1.265), (0.56, 1.21), (0.38, 1.205),
    (0.22, 1.255), (0.08, 1.36)
])  # fmt: skip
_HEART = np.array([
    (-0.17, -0.12), (-0.19, 0.10), (-0.20, 0.30), (-0.20, 0.50), (-0.23, 0.68), (-0.31, 0.84),
    (-0.35, 1.05), (-0.31, 1.27), (-0.16, 1.42), (0.15, 1.50), (0.46, 1.46), (0.60, 1.33),
    (0.60, 1.14), (0.50, 0.94), (0.38, 0.76), (0.29, 0.62), (0.27, 0.52), (0.26, 0.36),
    (0.25, 0.27), (0.19, 0.18), (0.17, 0.05), (0.16, -0.12)
])  # fmt: skip
TORSO = np.array([
    (0.26, -1.6), (0.27, -0.62), (0.31, -0.40), (0.46, -0.25), (0.86, -0.16), (1.12, -0.06),
    (1.20, 0.16), (1.15, 0.42), (1.13, 0.70), (1.17, 1.0), (1.20, 1.5), (1.17, 1.9), (1.14, 3.2)
])  # fmt: skip
SCAPULA = np.array([
    (1.03, 0.06), (0.86, -0.02), (0.68, 0.06), (0.72, 0.32), (0.80, 0.60), (0.88, 0.76),
    (0.95, 0.62), (0.97, 0.36), (1.05, 0.18)
])  # fmt: skip
SCAPULA_RIDGES = (
    np.array([(1.04, 0.14), (0.975, 0.30), (0.955, 0.55), (0.90, 0.74)]),
    np.array([(0.72, 0.10), (0.88, 0.03), (1.04, -0.07)]),
)
_CLAVICLE = np.array([
    (0.10, 0.17), (0.20, 0.145), (0.36, 0.07), (0.55, 0.00), (0.75, -0.03), (0.93, -0.055),
    (1.03, -0.03)
])  # fmt: skip


class Anatomy:
    """What all views of one child share: proportions, and the course of vessels."""

    def __init__(self, rng: np.random.Generator):
        self.tall = rng.uniform(0.90, 1.08)
        self.bell = rng.uniform(-0.06, 0.08)  # wide or narrow upper chest
        self.heart_width = rng.uniform(0.86, 1.16)
        self.thymus = rng.uniform(0.0, 0.13) * (rng.random() < 0.35)
        self.dome = rng.uniform(-0.05, 0.06, 2)
        self.rib_drop = rng.uniform(0.22, 0.40)
        self.rib_width = rng.uniform(0.062, 0.080)
        self.rib_density = rng.uniform(0.075, 0.125)
        self.rib_jitter = rng.normal(0.0, 0.010, (12, 2))
        self.spine_curve = rng.normal(0.0, 0.015)
        self.fat = rng.uniform(-0.02, 0.10)
        self.air = rng.uniform(0.46, 0.58)
        # normal interstitium, from which the viral pattern must be told apart
        self.markings = rng.uniform(0.03, 0.11)
        self.vessel_density = rng.uniform(0.16, 0.32)
        self.hilum = rng.uniform(0.16, 0.34)
        stomach = (0.25, 0.75), (1.62, 1.78), (0.08, 0.26), (0.05, 0.13)
        bowel = (-0.7, 0.8), (1.9, 2.4), (0.05, 0.16), (0.04, 0.1)
        bubbles = [stomach] * rng.integers(0, 3) + [bowel] * 6
        self.gas = [tuple(rng.uniform(*ends) for ends in bubble) for bubble in bubbles]
        self.texture = octaves(rng, (24, 48, 96))
        self.fine = np.abs(octaves(rng, (40, 80)))
        self.vessels = vessel_tree(rng)

    def wall(self, y: np.ndarray | float) -> np.ndarray:
        """Return the half-width of the inner chest wall at height y (untilted, unstretched)."""
        wider = 1.0 + self.bell * np.clip(1.2 - np.asarray(y), 0.0, 1.2)
        return np.interp(y, _WALL[:, 1], _WALL[:, 0]) * wider


class View:
    """What one exposure adds: position, breath, framing, tube and detector. Nothing in it depends
    on the label.
    """

    def __init__(self, rng: np.random.Generator):
        # about the long axis; ~1 = clearly rotated
        self.turn = rng.normal(0.0, 0.35) if rng.random() < 0.8 else rng.normal(0.0, 0.9)
        self.tilt_degrees = rng.normal(0.0, 2.2)
        self.breath = rng.normal(0.0, 0.055) - 0.02  # diaphragm up (expiration) is positive
        self.zoom = rng.uniform(0.94, 1.28)
        self.shift = rng.normal(0.0, (0.035, 0.04))
        self.arms = rng.choice(("up", "out", "down"), p=(0.45, 0.25, 0.30))
        self.arm_degrees = rng.uniform(-12.0, 12.0, 2)
        self.jaw = rng.uniform(-0.95, -0.62)
        self.exposure = rng.uniform(0.60, 0.82)
        self.contrast = rng.uniform(1.20, 1.75)
        self.white = rng.uniform(215.0, 252.0)
        self.scatter = rng.uniform(0.0, 0.08)
        self.gamma = rng.uniform(0.88, 1.15)
        self.heel = rng.normal(0.0, 0.05, 2)  # slope of the beam over the field, x and y
        self.sharpen = rng.uniform(0.0, 0.9)
        self.noise = rng.uniform(1.0, 4.0)
        self.grain = rng.uniform(0.35, 0.9)  # pixels: correlation of the noise


class Plane:
    """The image plane: converts thorax units to pixels, and draws."""

    def __init__(self, body: Anatomy, pose: View, height: int, width: int):
        self.shape = (height, width)
        tall, wide = height / 2.15, width / 2.60
        self.unit = pose.zoom * max(min(tall, wide), 0.75 * max(tall, wide))
        angle = np.deg2rad(pose.tilt_degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.linear = (turn * self.unit) @ np.diag([1.0, body.tall])
        middle = np.array([width / 2, height / 2]) + pose.shift * self.unit
        self.origin = middle - self.linear @ np.array([0.0, 0.78])
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        inverse = np.linalg.inv(self.linear).astype(np.float32)
        dx, dy = columns - np.float32(self.origin[0]), rows - np.float32(self.origin[1])
        self.x = inverse[0, 0] * dx + inverse[0, 1] * dy  # (H, W) thorax units
        self.y = inverse[1, 0] * dx + inverse[1, 1] * dy

    def fill(self, shapes, soft: float = 0.0, weights: list[float] | None = None) -> np.ndarray:
        """Return the coverage (H, W) float32 in [0, 1] of closed outlines (..., M, 2), or a list of
        them, blurred by `soft` thorax units.
        """
        if isinstance(shapes, np.ndarray):
            shapes = shapes.reshape(-1, *shapes.shape[-2:])
        canvas = np.zeros(self.shape, np.uint8)
        for shape, weight in zip(shapes, weights or [1] * len(shapes), strict=True):
            cv2.fillPoly(canvas, [self.pixels(shape)], int(255 * weight), cv2.LINE_AA, 4)
        sigma = soft * self.unit
        # one pass from bytes to blurred floats: all strokes of an image cost as much as its noise
        if 0.3 <= sigma < 5.0:
            kernel = cv2.getGaussianKernel(2 * int(np.ceil(2.5 * sigma)) + 1, sigma, cv2.CV_32F)
            return cv2.sepFilter2D(canvas, cv2.CV_32F, kernel, kernel * np.float32(1 / 255))
        return self.blur(canvas.astype(np.float32) * np.float32(1 / 255), soft)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 2) as int32 sixteenths of a pixel."""
        return np.round((points @ self.linear.T + self.origin) * 16).astype(np.int32)

    def blur(self, field: np.ndarray, soft: float) -> np.ndarray:
        """Blur by a Gaussian with a standard deviation of `soft` thorax units; a wide one on a
        smaller copy, which loses nothing.
        """
        sigma = soft * self.unit
        if sigma < 0.3:
            return field
        if sigma < 5.0:
            return cv2.GaussianBlur(field, (0, 0), sigma)
        share = 2.0 / sigma
        small = cv2.resize(field, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        return cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.0), field.shape[::-1])

    def texture(self, field: np.ndarray) -> np.ndarray:
        """Return a square field over [-1.2, 1.2] x [-0.3, 2.1] in the body, as it appears in the
        image.
        """
        side = field.shape[0] / 2.4
        corner = self.linear @ np.array([-1.2, -0.3]) + self.origin
        matrix = np.column_stack([self.linear / side, corner])
        size = self.shape[::-1]
        return cv2.warpAffine(field, matrix, size, borderMode=cv2.BORDER_REFLECT_101)

    def thickness(self, mask: np.ndarray, reach: float) -> np.ndarray:
        """Return the thickness in [0, 1] of a rounded body with this outline; it is full `reach`
        thorax units from its edge.
        """
        # thickness changes slowly: half the resolution is enough
        half = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        depth = cv2.distanceTransform((half > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        depth = np.minimum(depth * np.float32(2.0 / (reach * self.unit)), 1.0)
        return cv2.resize(np.sqrt(depth * (2.0 - depth)), mask.shape[::-1])


def lung_path(body: Anatomy, pose: View, side: int) -> np.ndarray:
    """Return the closed outline (M, 2) of one lung, down to its dome, behind the heart nearly to
    the midline.
    """
    lift = body.dome[(side + 1) // 2] + (0.07 if side > 0 else 0.0) - pose.breath
    heights = np.linspace(0.0, 1.42, 16)
    wall = np.column_stack([body.wall(heights), heights * (1.0 - pose.breath * 0.5)])
    wall[-1] = (wall[-1, 0], 1.45 - pose.breath * 0.7)
    middle = np.array([(0.10, 1.20), (0.12, 0.80), (0.14, 0.40), (0.145, 0.14), (0.18, 0.04)])
    outline = np.concatenate([wall, _DOME + (0.0, lift), middle]) * (side, 1.0)
    return smooth(leaned(body, pose, outline), True)


def heart_path(body: Anatomy, pose: View) -> np.ndarray:
    """Return the closed outline of heart and mediastinum, with a thymus where the child has one."""
    outline = _HEART.copy()
    lower = np.clip((outline[:, 1] - 0.5) / 0.5, 0.0, 1.0)
    thymus = body.thymus / 0.18 * np.exp(-(((outline[:, 1] - 0.35) / 0.3) ** 2))
    wider = lower * (body.heart_width - 1.0 + 1.5 * pose.breath)
    outline[:, 0] *= 1.0 + wider + (1.0 - lower) * thymus
    outline[:, 1] -= lower * 0.7 * pose.breath
    return smooth(outline + (0.06 * pose.turn, 0.0), True)


def leaned(body: Anatomy, pose: View, points: np.ndarray, depth: float = 1.0) -> np.ndarray:
    """Shift points (..., 2) as a rotation about the long axis does, and bend them with the spine.

    The shift is largest in the middle and zero at the chest wall. At the back (depth -1) it goes to
    the other side than at the front (depth 1).
    """
    x, y = points[..., 0], points[..., 1]
    turned = x + 0.035 * depth * pose.turn * np.clip(1.0 - x * x, 0.0, 1.0)
    return np.stack([turned + body.spine_curve * np.sin(2.0 * y), y], axis=-1)


def rib_paths(
    body: Anatomy, pose: View
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return posterior and anterior ribs as (paths (24 or 20, M, 2), widths): one arc each, from
    the spine along the wall to the cartilage.
    """
    rib = np.tile(np.arange(12), 2)
    side = np.repeat((-1, 1), 12)
    top = -0.01 + 0.145 * rib * (1.0 - 0.5 * pose.breath) + body.rib_jitter.T.ravel()
    drop = (body.rib_drop - 0.6 * pose.breath) * np.minimum(1.0, 0.45 + 0.11 * rib)
    reach = body.wall(top + drop) + 0.03

    def arc(start: float, stop: float, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = np.linspace(start, stop, 16)
        x = 0.04 + (reach[keep, None] - 0.04) * np.sin(angle) ** 0.9
        rise = -0.05 * np.sin(2.0 * np.minimum(angle, np.pi / 2))
        fall = drop[keep, None] * (1.0 - np.cos(angle)) * np.where(angle > np.pi / 2, 1.12, 1.0)
        y = top[keep, None] + rise + fall
        width = body.rib_width * np.where(rib[keep, None] == 0, 0.75, 1.0)
        width = width * np.interp(angle, (0.0, 0.5, 1.5, 2.4), (0.75, 0.95, 0.9, 1.15))
        return np.stack([side[keep, None] * x, y], axis=-1), width

    back, back_widths = arc(0.05, 1.62, rib >= 0)
    front, front_widths = arc(1.50, 2.40, rib < 10)
    return (leaned(body, pose, back, -1.0), back_widths), (leaned(body, pose, front), front_widths)


def spine_field(plane: Plane, body: Anatomy, pose: View) -> np.ndarray:
    """Return the attenuation of the vertebral column: bodies with end plates, pedicles, transverse
    and spinous processes.
    """
    y = np.arange(-0.99, 2.9, 0.15)
    x = body.spine_curve * np.sin(2.0 * y) - 0.03 * pose.turn
    half = 0.085 + 0.012 * np.maximum(0.0, y)
    at = np.stack([x, y], axis=-1)[:, None]
    bodies = at + np.array([(0.0, -0.058), (0.0, 0.058)])
    wings = at + half[:, None, None] * np.array([(-1.9, 0.0), (0.0, 0.0), (1.9, 0.0)])
    wings = wings + np.array([(0, -0.04), (0, -0.01), (0, -0.04)])
    dot = at + ellipse(0.0, 0.0, 0.016, 0.028)
    beside = np.stack([half * 0.66, np.zeros_like(y)], axis=-1)[:, None]
    pedicles = np.concatenate([dot - beside, dot + beside]) + (0.0, -0.02)
    spinous = at + ellipse(0.4 * float(np.tanh(pose.turn)) * 0.04, 0.03, 0.012, 0.03)
    column = plane.fill([tube(at[:, 0], 2.4 * half)], 0.03)
    wide = np.repeat(2.0 * half[:, None], 2, axis=1)
    detail = 0.055 * shell(plane, bodies, wide, 0.35)
    detail = detail + 0.05 * plane.fill(np.concatenate([pedicles, spinous]), 0.008)
    processes = plane.fill(tube(wings, np.array([0.03, 0.045, 0.03])), 0.010)
    return 0.12 * column + detail + 0.035 * processes


def clavicle_path(pose: View, side: int) -> tuple[np.ndarray, np.ndarray]:
    path = _CLAVICLE.copy()
    if pose.arms == "up":  # a raised arm lifts the outer end
        path[:, 1] -= 0.14 * np.maximum(path[:, 0] - 0.1, 0.0) ** 1.3
        path[:, 0] *= 0.95
    path = smooth(path * (side, 1.0) + (0.07 * pose.turn, 0.0))
    places, widths = (0, 0.04, 0.15, 0.5, 0.96, 1.0), (0.04, 0.085, 0.062, 0.055, 0.072, 0.04)
    return path, np.interp(np.linspace(0, 1, len(path)), places, widths)


def arm_paths(pose: View) -> tuple[list[np.ndarray], list]:
    """Return the outlines of both upper arms, and their bones as (path, widths) with a
    separate epiphysis, as in children.
    """
    outlines, bones = [], []
    direction = {"up": -58.0, "out": 20.0, "down": 68.0}[pose.arms]
    for side, degrees in zip((-1, 1), pose.arm_degrees, strict=True):
        angle = np.deg2rad(direction + degrees)
        along = np.array([np.cos(angle), np.sin(angle)])
        joint = np.array([1.13, 0.06 if pose.arms != "up" else -0.02])
        flesh, shaft, head = (
            (joint + np.array(stations)[:, None] * along) * (side, 1.0)
            for stations in (
                (-0.25, 0.0, 0.3, 0.8, 1.4),
                (0.085, 0.16, 0.3, 0.6, 1.4),
                np.linspace(-0.075, 0.055, 8),
            )
        )
        outlines.append(tube(flesh, np.array([0.32, 0.42, 0.40, 0.38, 0.34])))
        bones.append((shaft, np.array([0.17, 0.15, 0.10, 0.085, 0.09])))
        bones.append((head, 0.165 * np.sqrt(np.linspace(0.04, 1.0, 8))))
    return outlines, bones


def shell(plane: Plane, paths: np.ndarray, widths: np.ndarray, hollow: float) -> np.ndarray:
    """Return the coverage of hollow bones with paths (..., M, 2) and widths (..., M): dense at the
    rim, and less dense by 0.6 x `hollow` in the marrow.
    """
    outer = plane.fill(tube(paths, widths), 0.007)
    return outer - np.float32(0.6 * hollow) * plane.fill(tube(paths, widths * 0.62), 0.010)


def ellipse(x: float, y: float, wide: float, tall: float) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    return np.column_stack([x + wide * np.cos(angle), y + tall * np.sin(angle)])


def tube(path: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return the outlines (..., 2M, 2) of paths (..., M, 2) with this width at each point."""
    along = np.empty_like(path)
    along[..., 1:-1, :] = path[..., 2:, :] - path[..., :-2, :]
    along[..., 0, :] = path[..., 1, :] - path[..., 0, :]
    along[..., -1, :] = path[..., -1, :] - path[..., -2, :]
    length = np.maximum(np.sqrt((along * along).sum(axis=-1, keepdims=True)), 1e-9)
    across = along[..., ::-1] * (-1.0, 1.0) / length * (0.5 * np.asarray(width)[..., None])
    return np.concatenate([path + across, (path - across)[..., ::-1, :]], axis=-2)


def smooth(points: np.ndarray, closed: bool = False) -> np.ndarray:
    """Return a smooth curve near the points, by cutting corners three times (Chaikin 1974)."""
    for _ in range(3):
        after = np.roll(points, -1, axis=0) if closed else points[1:]
        before = points if closed else points[:-1]
        inner = [0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after]
        inner = np.stack(inner, axis=1).reshape(-1, 2)
        points = inner if closed else np.concatenate([points[:1], inner, points[-1:]])
    return points


def step(field: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 at 0 to 1 at 1, float32."""
    t = np.clip(field, 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def octaves(rng: np.random.Generator, cells: tuple[int, ...]) -> np.ndarray:
    """Return smooth noise (192, 192) float32, mean near 0 and deviation near 0.5, each octave half
    as strong as the previous one.
    """
    total = np.zeros((192, 192), np.float32)
    for octave, count in enumerate(cells):
        coarse = rng.standard_normal((count, count), dtype=np.float32)
        fine = cv2.resize(coarse, total.shape, interpolation=cv2.INTER_CUBIC)
        total += np.float32(0.5**octave) * fine
    return total * np.float32(0.6)


def vessel_tree(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return the vessels of both lungs, fanning out from the hila, one entry per generation:
    (paths (K, 5, 2), widths (K, 5), density).
    """
    side = np.repeat((-1.0, 1.0), 9)
    angle = np.deg2rad(np.tile(np.linspace(-78.0, 84.0, 9), 2) + rng.normal(0.0, 12.0, 18))
    # the hilum is not a point: upper branches leave it high, lower ones low
    down = np.tile(np.linspace(0.0, 1.0, 9), 2)
    start = np.stack([0.20 + 0.10 * down, 0.44 + 0.44 * down], axis=-1)
    start = start + rng.normal(0.0, 0.03, (18, 2))
    wide, long = rng.uniform(0.018, 0.040, 18) * (0.75 + 0.35 * down), rng.uniform(0.12, 0.24, 18)
    generations = []
    for weight in (1.0, 0.7, 0.45, 0.3):
        bend = rng.normal(0.0, 0.35, len(side))
        turns = angle[:, None] + bend[:, None] * np.linspace(0.0, 1.0, 4)
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * (long / 4)[:, None, None]
        path = np.concatenate([start[:, None], start[:, None] + np.cumsum(steps, axis=1)], axis=1)
        sided = path * np.stack([side, np.ones_like(side)], axis=-1)[:, None]
        generations.append((sided, wide[:, None] * np.linspace(1.0, 0.7, 5), weight))
        side, start = np.repeat(side, 2), np.repeat(path[:, -1], 2, axis=0)
        fork = rng.uniform(0.15, 0.65, len(side)) * np.tile((-1.0, 1.0), len(side) // 2)
        angle = np.repeat(angle + bend, 2) + fork
        wide = np.repeat(wide, 2) * rng.uniform(0.55, 0.75, len(side))
        long = np.repeat(long, 2) * rng.uniform(0.65, 1.0, len(side))
    return generations
