"""Synthetic paediatric chest radiographs with exact lesion and lung masks, drawn from numbers; no patient is behind them.

A phantom is a map of attenuation: soft tissue of some thickness, less the air of the lungs, plus bone. A lesion gives back
part of the air (consolidation), so it is bounded by the lung, hides the border of the heart it touches, and never exceeds soft
tissue. Attenuation becomes grey through one tone curve; exposure, markers, collimation and noise follow, blind to the label.

Lengths are in thorax units: x runs from -1 to 1 between the inner chest walls (negative = the child's right, left in the image),
y from 0 at the lung apex downwards; the costophrenic angle lies near 1.5.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xray_tf.artifact import new_folder, write_text

KINDS = ("normal", "bacterial", "viral")
SHARES = (0.35, 0.40, 0.25)  # of the radiographs, in the order of KINDS; about Kaggle's, with more normals
LESION_THRESHOLD = 2.0  # grey levels: a lung pixel is lesion where the noise-free images with and without it differ by more
VERSION = 2  # of the drawing; a written folder names it, so that a changed drawing is not taken for the old one
PARAMETERS = "phantom.json"

_SCATTER = 0.85  # contrast that ribs lose for each unit of attenuation they lie on: scatter from thick parts drowns them

# Independent random streams: what each may decide is said where it is drawn.
_ANATOMY, _VIEW, _DECORATION, _NOISE, _LESION, _PLAN = range(6)

_WALL = np.array([(0.24, 0.00), (0.47, 0.06), (0.63, 0.17), (0.76, 0.35), (0.86, 0.58), (0.93, 0.84), (0.98, 1.12), (1.0, 1.38), (0.99, 1.55), (0.93, 1.9)])
_DOME = np.array([(0.985, 1.57), (0.95, 1.46), (0.86, 1.35), (0.73, 1.265), (0.56, 1.21), (0.38, 1.205), (0.22, 1.255), (0.08, 1.36)])
_HEART = np.array([(-0.17, -0.12), (-0.19, 0.10), (-0.20, 0.30), (-0.20, 0.50), (-0.23, 0.68), (-0.31, 0.84), (-0.35, 1.05), (-0.31, 1.27), (-0.16, 1.42),
                   (0.15, 1.50), (0.46, 1.46), (0.60, 1.33), (0.60, 1.14), (0.50, 0.94), (0.38, 0.76), (0.29, 0.62), (0.27, 0.52), (0.26, 0.36),
                   (0.25, 0.27), (0.19, 0.18), (0.17, 0.05), (0.16, -0.12)])
_TORSO = np.array([(0.26, -1.6), (0.27, -0.62), (0.31, -0.40), (0.46, -0.25), (0.86, -0.16), (1.12, -0.06), (1.20, 0.16), (1.15, 0.42), (1.13, 0.70),
                   (1.17, 1.0), (1.20, 1.5), (1.17, 1.9), (1.14, 3.2)])
_SCAPULA = np.array([(1.03, 0.06), (0.86, -0.02), (0.68, 0.06), (0.72, 0.32), (0.80, 0.60), (0.88, 0.76), (0.95, 0.62), (0.97, 0.36), (1.05, 0.18)])
_SCAPULA_RIDGES = (np.array([(1.04, 0.14), (0.975, 0.30), (0.955, 0.55), (0.90, 0.74)]), np.array([(0.72, 0.10), (0.88, 0.03), (1.04, -0.07)]))
_CLAVICLE = np.array([(0.10, 0.17), (0.20, 0.145), (0.36, 0.07), (0.55, 0.00), (0.75, -0.03), (0.93, -0.055), (1.03, -0.03)])
# Where a lobar consolidation sits: side, centre x and y, radii, and the fissure (a y the upper lobes end at, or nothing)
_LOBES = ((-1, 0.52, 0.36, 0.36, 0.30, 0.62), (-1, 0.45, 0.92, 0.34, 0.26, None), (-1, 0.62, 1.12, 0.40, 0.30, None),
          (1, 0.50, 0.36, 0.36, 0.30, None), (1, 0.58, 0.86, 0.30, 0.28, None), (1, 0.66, 1.12, 0.36, 0.30, None))


@dataclass(frozen=True)
class Phantom:
    """One synthetic radiograph and what is true of it.

    Attributes:
        image: (H, W) uint8 in [0, 255], bone white.
        lungs: (H, W) bool, lung not hidden by heart, mediastinum or diaphragm.
        lesion: (H, W) bool, the lung pixels that the lesion changes by more than `LESION_THRESHOLD` grey levels before noise.
        label: `normal` or `pneumonia`.
        subtype: `bacterial`, `viral` or empty.
        patient: the patient key a folder source reads from `name`.
        name: file stem in Kaggle's style.
    """

    image: np.ndarray
    lungs: np.ndarray
    lesion: np.ndarray
    label: str
    subtype: str
    patient: str
    name: str


def draw_phantom(kind: str, seed: int, patient: int = 0, view: int = 0, height: int = 256, width: int = 288) -> Phantom:
    """Draw one synthetic radiograph; the same arguments give the same pixels in every process.

    Anatomy follows from (seed, patient), rotation, exposure, inspiration, framing, markers and noise from (seed, patient, view), both
    whatever the `kind`: a patient drawn as another kind differs in the lesion alone.

    Args:
        kind: `normal`, `bacterial` (focal consolidation) or `viral` (diffuse, bilateral, interstitial).
        seed, patient, view: integers >= 0.
        height, width: pixels, at least 32.

    Raises:
        ValueError: an argument outside these ranges.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}. Received: kind={kind!r}")
    for word, value, least in (("seed", seed, 0), ("patient", patient, 0), ("view", view, 0), ("height", height, 32), ("width", width, 32)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{word} must be an integer >= {least}. Received: {word}={value!r}")
    body = _Anatomy(_stream(seed, patient, _ANATOMY))
    pose = _View(_stream(seed, patient, _VIEW, view))
    plane = _Plane(body, pose, height, width)
    air, lungs, vessels = _air(plane, body, pose)
    ribs = _ribs_seen(plane, body, pose)
    flesh = _flesh(plane, body, pose)
    seen = np.clip(1.25 - _SCATTER * (flesh - air), 0.35, 1.0)
    base = _sharpen(flesh + ribs * seen + _bone(plane, body, pose) - air, plane, pose)
    clean = _tone(base, pose)
    lesion = np.zeros((height, width), bool)
    picture = clean
    if kind != "normal":
        draw = _consolidation if kind == "bacterial" else _interstitial
        filled = draw(plane, _stream(seed, patient, _LESION, KINDS.index(kind)), vessels)
        picture = _tone(base + air * (1.0 - _SCATTER * ribs) * np.clip(filled, 0.0, 1.0) * lungs, pose)
        lesion = lungs & (np.abs(picture - clean) > LESION_THRESHOLD)
    image = _finish(picture, plane, pose, _stream(seed, patient, _DECORATION, view), _stream(seed, patient, _NOISE, view))
    return Phantom(image, lungs, lesion, "normal" if kind == "normal" else "pneumonia", "" if kind == "normal" else kind, *_names(kind, patient, view))


def write_phantoms(directory: str | os.PathLike, patients: int = 120, seed: int = 0, size: int = 256,
                   progress: Callable[[int, int], None] | None = None) -> Path:
    """Write synthetic radiographs in Kaggle's folder layout, whole or not at all, one image in memory at a time.

    The folder holds `train/{NORMAL,PNEUMONIA}/<name>.png`, `masks/<name>_lesion.png` and `masks/<name>_lungs.png` (0 or 255), and
    `phantom.json` with the parameters. A folder that was written with the same parameters is used again as it is.

    Args:
        directory: the folder to make.
        patients: how many children, with one to three radiographs each, at least 3.
        seed: of everything.
        size: side in pixels of a square as large as a typical radiograph; sizes and aspect ratios vary about it, at least 32.
        progress: called with (radiographs written, radiographs in all) after each.

    Returns:
        `directory` as a path.

    Raises:
        FileExistsError: the folder exists and holds something else.
        ValueError: an argument outside these ranges.
    """
    for word, value, least in (("patients", patients, 3), ("seed", seed, 0), ("size", size, 32)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{word} must be an integer >= {least}. Received: {word}={value!r}")
    directory = Path(directory)
    parameters = {"patients": int(patients), "seed": int(seed), "size": int(size), "version": VERSION}
    if (directory / PARAMETERS).is_file():
        found = _read_parameters(directory / PARAMETERS)
        if found == parameters:
            return directory
        raise FileExistsError(f"{directory} holds phantoms of other parameters. Expected {parameters}. Received: {found}. Name another folder, or remove it.")
    plan = list(_plan(patients, seed, size))
    with new_folder(directory) as draft:
        for folder in ("train/NORMAL", "train/PNEUMONIA", "masks"):
            (draft / folder).mkdir(parents=True)
        for done, (kind, patient, view, height, width) in enumerate(plan, 1):
            phantom = draw_phantom(kind, seed, patient, view, height, width)
            _write_png(draft / "train" / phantom.label.upper() / f"{phantom.name}.png", phantom.image)
            for part in ("lesion", "lungs"):
                _write_png(draft / "masks" / f"{phantom.name}_{part}.png", getattr(phantom, part).astype(np.uint8) * 255)
            if progress is not None:
                progress(done, len(plan))
        write_text(draft / PARAMETERS, json.dumps(parameters, indent=1, sort_keys=True) + "\n")
    return directory


def _plan(patients: int, seed: int, size: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield (kind, patient, view, height, width); shares hold by count, sizes are drawn without looking at the kind."""
    rng = _stream(seed, 0, _PLAN)
    kinds = np.repeat(np.arange(3), np.diff(np.round(np.cumsum((0.0, *SHARES)) * patients).astype(int)))
    for patient, kind in enumerate(rng.permutation(kinds)):
        for view in range(int(rng.choice((1, 2, 3), p=(0.55, 0.3, 0.15)))):
            scale, aspect = rng.uniform(0.88, 1.14), rng.uniform(1.0, 1.42)
            yield KINDS[kind], patient, view, max(32, round(size * scale / aspect**0.5)), max(32, round(size * scale * aspect**0.5))


def _names(kind: str, patient: int, view: int) -> tuple[str, str]:
    """Return (patient key, file stem) in Kaggle's style; all kinds share one number series."""
    number = patient + 1
    if kind == "normal":
        key = f"{'NORMAL2-' if number % 2 == 0 else ''}IM-{number:04d}"
        return key, f"{key}-0001" + (f"-{view:04d}" if view else "")
    word = {"bacterial": "bacteria", "viral": "virus"}[kind]
    return f"{word}:person{number}", f"person{number}_{word}_{number * 10 + view}"


def _read_parameters(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "an unreadable file"


def _write_png(path: Path, image: np.ndarray) -> None:
    # imencode and bytes: cv2.imwrite reports a full disk by returning False and cannot write every path
    path.write_bytes(cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes())


def _stream(*numbers: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([int(n) for n in numbers]))


class _Anatomy:
    """What a child brings to every view: proportions, and where vessels run."""

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
        self.markings = rng.uniform(0.03, 0.11)  # normal interstitium: what the viral pattern has to be told from
        self.vessel_density = rng.uniform(0.16, 0.32)
        self.hilum = rng.uniform(0.16, 0.34)
        self.gas = [(rng.uniform(0.25, 0.75), rng.uniform(1.62, 1.78), rng.uniform(0.08, 0.26), rng.uniform(0.05, 0.13)) for _ in range(rng.integers(0, 3))]
        self.gas += [(rng.uniform(-0.7, 0.8), rng.uniform(1.9, 2.4), rng.uniform(0.05, 0.16), rng.uniform(0.04, 0.1)) for _ in range(6)]
        self.texture = _octaves(rng, (24, 48, 96))
        self.fine = np.abs(_octaves(rng, (40, 80)))
        self.vessels = _tree(rng)

    def wall(self, y: np.ndarray | float) -> np.ndarray:
        """Return the half-width of the inner chest wall at height y (untilted, unstretched)."""
        return np.interp(y, _WALL[:, 1], _WALL[:, 0]) * (1.0 + self.bell * np.clip(1.2 - np.asarray(y), 0.0, 1.2))


class _View:
    """What one exposure brings: position, breath, framing, tube and detector. Nothing here knows the label."""

    def __init__(self, rng: np.random.Generator):
        self.turn = rng.normal(0.0, 0.35) if rng.random() < 0.8 else rng.normal(0.0, 0.9)  # about the long axis; ~1 = clearly rotated
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


class _Plane:
    """The image plane: takes thorax units to pixels and draws there."""

    def __init__(self, body: _Anatomy, pose: _View, height: int, width: int):
        self.shape = (height, width)
        self.unit = pose.zoom * max(min(height / 2.15, width / 2.60), 0.75 * max(height / 2.15, width / 2.60))
        angle = np.deg2rad(pose.tilt_degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.linear = (turn * self.unit) @ np.diag([1.0, body.tall])
        self.origin = np.array([width / 2, height / 2]) + pose.shift * self.unit - self.linear @ np.array([0.0, 0.78])
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        inverse = np.linalg.inv(self.linear).astype(np.float32)
        dx, dy = columns - np.float32(self.origin[0]), rows - np.float32(self.origin[1])
        self.x = inverse[0, 0] * dx + inverse[0, 1] * dy  # (H, W) thorax units
        self.y = inverse[1, 0] * dx + inverse[1, 1] * dy

    def fill(self, shapes: list[np.ndarray] | np.ndarray, soft: float = 0.0, weights: list[float] | None = None) -> np.ndarray:
        """Return the coverage (H, W) float32 in [0, 1] of closed outlines (..., M, 2), or a list of them, blurred by `soft` thorax units."""
        canvas = np.zeros(self.shape, np.uint8)
        outlines = self.pixels(shapes).reshape(-1, *shapes.shape[-2:]) if isinstance(shapes, np.ndarray) else [self.pixels(shape) for shape in shapes]
        for index, outline in enumerate(outlines):
            cv2.fillPoly(canvas, [outline], int(255 * weights[index]) if weights else 255, cv2.LINE_AA, 4)
        sigma = soft * self.unit
        if 0.3 <= sigma < 5.0:  # one pass from bytes to blurred floats; all strokes of a picture cost as much as its noise
            kernel = cv2.getGaussianKernel(2 * int(np.ceil(2.5 * sigma)) + 1, sigma, cv2.CV_32F)
            return cv2.sepFilter2D(canvas, cv2.CV_32F, kernel, kernel * np.float32(1 / 255))
        return self.blur(canvas.astype(np.float32) * np.float32(1 / 255), soft)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 2) as int32 sixteenths of a pixel."""
        return np.round((points @ self.linear.T + self.origin) * 16).astype(np.int32)

    def blur(self, field: np.ndarray, soft: float) -> np.ndarray:
        """Blur by a Gaussian whose standard deviation is `soft` thorax units; wide ones on a smaller copy, where nothing is lost."""
        sigma = soft * self.unit
        if sigma < 0.3:
            return field
        if sigma < 5.0:
            return cv2.GaussianBlur(field, (0, 0), sigma)
        small = cv2.resize(field, None, fx=2.0 / sigma, fy=2.0 / sigma, interpolation=cv2.INTER_AREA)
        return cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.0), field.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def texture(self, field: np.ndarray) -> np.ndarray:
        """Return a square field that lies over [-1.2, 1.2] x [-0.3, 2.1] in the body, seen in the image."""
        side = field.shape[0] / 2.4
        matrix = np.column_stack([self.linear / side, self.linear @ np.array([-1.2, -0.3]) + self.origin])
        return cv2.warpAffine(field, matrix, self.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    def thickness(self, mask: np.ndarray, reach: float) -> np.ndarray:
        """Return how thick a rounded body with this outline is, in [0, 1]; it is full `reach` thorax units from its edge."""
        half = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # thickness changes slowly: half the pixels will do
        depth = cv2.distanceTransform((half > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        depth = np.minimum(depth * np.float32(2.0 / (reach * self.unit)), 1.0)
        return cv2.resize(np.sqrt(depth * (2.0 - depth)), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _air(plane: _Plane, body: _Anatomy, pose: _View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the air's attenuation deficit (H, W) float32, the visible lungs (H, W) bool and the vessels (H, W) float32 in [0, 1]."""
    field = plane.fill([_lung(body, pose, side) for side in (-1, 1)])
    heart = plane.fill([_heart(body, pose)], 0.008)
    lungs = (field > 0.3) & (heart < 0.8)  # out to where a border fades, so that a lesion has no rim of air
    depth = plane.thickness(field, 0.34)
    # Some lung remains behind the heart, so that ribs and vessels go on faintly through it
    share = plane.blur(field * (0.35 + 0.65 * depth), 0.010) * (1.0 - 0.74 * heart)
    lean = 1.0 + 0.10 * np.float32(np.tanh(pose.turn)) * np.clip(plane.x, -1, 1)  # the lung turned from the plate is darker
    lean = lean * (0.90 + 0.10 * np.clip(plane.y, 0.0, 1.3))
    vessels = np.zeros(plane.shape, np.float32)
    for paths, widths, weight in body.vessels:
        vessels = np.maximum(vessels, plane.fill(_tube(_lean(body, pose, paths), widths), 0.006) * np.float32(weight))
    hila = plane.fill([_ellipse(side * 0.25 + 0.04 * pose.turn, 0.60, 0.09, 0.17) for side in (-1, 1)], 0.05)
    texture, fine = plane.texture(body.texture), plane.texture(body.fine)
    solid = body.vessel_density * vessels + body.hilum * hila * (0.7 + 0.6 * fine) + body.markings * (fine + 0.35 * texture)
    return (body.air * lean * share * np.clip(1.0 - solid, 0.15, 1.1)).astype(np.float32), lungs, vessels


def _flesh(plane: _Plane, body: _Anatomy, pose: _View) -> np.ndarray:
    """Return the attenuation of trunk, arms, jaw and belly, less windpipe and bowel gas."""
    torso = np.concatenate([_TORSO, _TORSO[::-1] * (-1, 1)]) * (1.0 + body.fat, 1.0)
    arms, _ = _arms(pose)
    trunk = plane.blur(plane.thickness(plane.fill([_smooth(torso, True)]), 0.75), 0.012)
    limbs = plane.blur(plane.thickness(plane.fill(arms), 0.30), 0.012)
    jaw = plane.fill([_ellipse(0.05 * pose.turn, pose.jaw - 0.5, 0.62, 0.5)], 0.02)
    flesh = np.maximum(0.80 * trunk, 0.45 * limbs) + 0.13 * _step((plane.y - 1.0) / 0.6) * trunk + 0.30 * jaw
    gas = plane.fill([_ellipse(*bubble) for bubble in body.gas], 0.03, [1.0, 0.8] + [0.5] * (len(body.gas) - 2))
    flesh -= 0.22 * gas * np.clip((plane.y - 1.45) * 4.0, 0.0, 1.0)
    windpipe = [_tube(np.array([(0.01, -1.4), (0.0, -0.2), (-0.015, 0.42)]) + (0.03 * pose.turn, 0), np.array([0.085, 0.08, 0.075]))]
    windpipe += [_tube(np.array([(-0.01, 0.40), (s * 0.12, 0.52), (s * 0.22, 0.62)]) + (0.02 * pose.turn, 0), np.array([0.06, 0.055, 0.04])) for s in (-1, 1)]
    return flesh - 0.085 * plane.fill(windpipe, 0.016)


def _bone(plane: _Plane, body: _Anatomy, pose: _View) -> np.ndarray:
    """Return the attenuation of spine, shoulder girdle and upper arms."""
    bone = _spine(plane, body, pose)
    for side in (-1, 1):
        bone += 0.16 * _shell(plane, *_clavicle(pose, side), 0.6)
    raised = np.array((0.12, -0.05) if pose.arms == "up" else (0.0, 0.02))
    bone += 0.035 * plane.fill([_smooth((_SCAPULA + raised) * (side, 1.0), True) for side in (-1, 1)], 0.012)
    ridges = [_tube(_smooth((ridge + raised) * (side, 1.0)), 0.05) for ridge in _SCAPULA_RIDGES for side in (-1, 1)]
    bone += 0.05 * plane.fill(ridges, 0.018)
    for path, widths in _arms(pose)[1]:
        bone += 0.15 * _shell(plane, path, widths, 0.6)
    return bone


def _sharpen(attenuation: np.ndarray, plane: _Plane, pose: _View) -> np.ndarray:
    """Lift fine detail over the coarse, as the consoles of computed radiography do."""
    return attenuation + np.float32(pose.sharpen) * (attenuation - plane.blur(attenuation, 0.035))


def _tone(attenuation: np.ndarray, pose: _View) -> np.ndarray:
    """Turn attenuation into grey levels, (H, W) float32 in [0, 255]: the toe is air, the shoulder bone."""
    dose = np.maximum(attenuation + np.float32(pose.scatter), 0.0) * np.float32(1.0 / pose.exposure)
    grey = -np.expm1(-cv2.pow(dose.astype(np.float32), pose.contrast))
    return np.float32(pose.white) * cv2.pow(grey, pose.gamma)


def _finish(picture: np.ndarray, plane: _Plane, pose: _View, rng: np.random.Generator, noise: np.random.Generator) -> np.ndarray:
    """Add what the tube, the detector and the technician add; return (H, W) uint8."""
    height, width = plane.shape
    beam = 1.0 + np.linspace(-1, 1, width, dtype=np.float32) * np.float32(pose.heel[0]) + np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(
        pose.heel[1])
    picture = picture * beam
    grain = noise.standard_normal(plane.shape, dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), pose.grain)
    picture = picture + grain * np.float32(pose.noise / max(float(grain.std()), 1e-6)) * (0.35 + picture * np.float32(0.65 / 255))
    if rng.random() < 0.55:
        picture = picture * _collimator(plane, rng)
    image = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    _burn_in(image, plane, rng)
    return image


def _consolidation(plane: _Plane, rng: np.random.Generator, vessels: np.ndarray) -> np.ndarray:
    """Return the share of air replaced (H, W) float32: one lobe, now and then two, fuzzy, sometimes with bronchi still full of air."""
    strength = 0.11 + 0.82 * rng.random() ** 0.65
    texture = plane.texture(_octaves(rng, (10, 20, 40)))
    filled = np.zeros(plane.shape, np.float32)
    for share in (1.0, 0.6)[:1 + (rng.random() < 0.25)]:
        side, x, y, wide, tall, fissure = _LOBES[rng.integers(len(_LOBES))]
        x, y, size = side * (x + rng.normal(0.0, 0.08)), y + rng.normal(0.0, 0.06), rng.uniform(0.80, 1.45)
        distance = np.hypot((plane.x - np.float32(x)) / np.float32(wide * size), (plane.y - np.float32(y)) / np.float32(tall * size))
        fuzzy = np.float32(rng.uniform(0.25, 0.6))
        blob = _step((1.0 - distance + 0.30 * texture) / fuzzy + 0.5)
        if fissure is not None and rng.random() < 0.6:  # the minor fissure stops it with a sharp edge
            blob = blob * _step((np.float32(fissure) + 0.06 * np.abs(plane.x) - plane.y) / 0.03 + 0.5)
        blob = blob * (plane.x * side > 0)
        filled = np.maximum(filled, np.float32(share) * blob)
    if rng.random() < 0.4:
        filled = filled * (1.0 - 0.55 * vessels)  # air bronchograms run where the vessels run
    return np.float32(strength) * filled * (1.0 + 0.15 * texture)


def _interstitial(plane: _Plane, rng: np.random.Generator, vessels: np.ndarray) -> np.ndarray:
    """Return the share of air replaced (H, W) float32: both lungs, a net of thickened septa, cuffed bronchi and perihilar haze."""
    strength = 0.18 + 0.87 * rng.random() ** 0.75
    haze, net, cuffs = rng.uniform(0.15, 0.55), rng.uniform(0.5, 1.2), rng.uniform(0.2, 0.9)
    patches = np.clip(0.75 + 0.6 * plane.texture(_octaves(rng, (5, 9))), 0.15, 1.5)
    ridges = sum(np.exp(-4.0 * np.abs(_octaves(rng, cells))) for cells in ((28, 56), (40,), (56,)))  # three nets of lines, one over the other
    septa = np.clip(plane.texture(ridges) * 0.7 - 0.35, 0.0, 1.0)
    nearness = np.exp(-((np.abs(plane.x) - np.float32(0.25)) / 0.42) ** 2 - ((plane.y - np.float32(rng.uniform(0.6, 0.85))) / 0.55) ** 2)
    sides = np.where(plane.x < 0, *np.float32(rng.uniform(0.7, 1.15, 2)))
    cuffed = np.clip(plane.blur(vessels, 0.018) * 1.6, 0.0, 1.0)
    filled = haze * nearness + net * septa * (0.45 + 0.55 * nearness) + cuffs * cuffed * (0.3 + 0.7 * nearness)
    return np.float32(0.75 * strength) * (filled * patches * sides).astype(np.float32)


def _ribs_seen(plane: _Plane, body: _Anatomy, pose: _View) -> np.ndarray:
    """Return the attenuation of the ribs, those behind and, fainter and hollower, those in front."""
    (back, back_widths), (front, front_widths) = _ribs(body, pose)
    return body.rib_density * (_shell(plane, back, back_widths, 0.45) + 0.75 * _shell(plane, front, front_widths, 0.6))


def _lung(body: _Anatomy, pose: _View, side: int) -> np.ndarray:
    """Return the closed outline (M, 2) of one lung, down to its dome, behind the heart nearly to the midline."""
    lift = body.dome[(side + 1) // 2] + (0.07 if side > 0 else 0.0) - pose.breath
    heights = np.linspace(0.0, 1.42, 16)
    wall = np.column_stack([body.wall(heights), heights * (1.0 - pose.breath * 0.5)])
    wall[-1] = (wall[-1, 0], 1.45 - pose.breath * 0.7)
    middle = np.array([(0.10, 1.20), (0.12, 0.80), (0.14, 0.40), (0.145, 0.14), (0.18, 0.04)])
    outline = np.concatenate([wall, _DOME + (0.0, lift), middle]) * (side, 1.0)
    return _smooth(_lean(body, pose, outline), True)


def _heart(body: _Anatomy, pose: _View) -> np.ndarray:
    """Return the closed outline of heart and mediastinum, with a thymus where the child has one."""
    outline = _HEART.copy()
    lower = np.clip((outline[:, 1] - 0.5) / 0.5, 0.0, 1.0)
    thymus = body.thymus / 0.18 * np.exp(-((outline[:, 1] - 0.35) / 0.3) ** 2)
    outline[:, 0] *= 1.0 + lower * (body.heart_width - 1.0 + 1.5 * pose.breath) + (1.0 - lower) * thymus
    outline[:, 1] -= lower * 0.7 * pose.breath
    return _smooth(outline + (0.06 * pose.turn, 0.0), True)


def _lean(body: _Anatomy, pose: _View, points: np.ndarray, depth: float = 1.0) -> np.ndarray:
    """Shift points (..., 2) as a turn about the long axis does: most at the middle, not at the chest wall, and to the other side
    behind (depth -1) than in front (depth 1); bend them with the spine.
    """
    x, y = points[..., 0], points[..., 1]
    return np.stack([x + 0.035 * depth * pose.turn * np.clip(1.0 - x * x, 0.0, 1.0) + body.spine_curve * np.sin(2.0 * y), y], axis=-1)


def _ribs(body: _Anatomy, pose: _View) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return posterior and anterior ribs as (paths (24 or 20, M, 2), widths): one arc each, from the spine along the wall to the cartilage."""
    rib = np.tile(np.arange(12), 2)
    side = np.repeat((-1, 1), 12)
    top = -0.01 + 0.145 * rib * (1.0 - 0.5 * pose.breath) + body.rib_jitter.T.ravel()
    drop = (body.rib_drop - 0.6 * pose.breath) * np.minimum(1.0, 0.45 + 0.11 * rib)
    reach = body.wall(top + drop) + 0.03

    def arc(start: float, stop: float, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = np.linspace(start, stop, 16)
        x = 0.04 + (reach[keep, None] - 0.04) * np.sin(angle) ** 0.9
        rise = -0.05 * np.sin(2.0 * np.minimum(angle, np.pi / 2))
        y = top[keep, None] + rise + drop[keep, None] * (1.0 - np.cos(angle)) * np.where(angle > np.pi / 2, 1.12, 1.0)
        width = body.rib_width * np.where(rib[keep, None] == 0, 0.75, 1.0) * np.interp(angle, (0.0, 0.5, 1.5, 2.4), (0.75, 0.95, 0.9, 1.15))
        return np.stack([side[keep, None] * x, y], axis=-1), width

    back, back_widths = arc(0.05, 1.62, rib >= 0)
    front, front_widths = arc(1.50, 2.40, rib < 10)
    return (_lean(body, pose, back, -1.0), back_widths), (_lean(body, pose, front), front_widths)


def _spine(plane: _Plane, body: _Anatomy, pose: _View) -> np.ndarray:
    """Return the attenuation of the vertebral column: bodies with end plates, pedicles, transverse and spinous processes."""
    y = np.arange(-0.99, 2.9, 0.15)
    x = body.spine_curve * np.sin(2.0 * y) - 0.03 * pose.turn
    half = 0.085 + 0.012 * np.maximum(0.0, y)
    at = np.stack([x, y], axis=-1)[:, None]
    bodies = at + np.array([(0.0, -0.058), (0.0, 0.058)])
    wings = at + half[:, None, None] * np.array([(-1.9, 0.0), (0.0, 0.0), (1.9, 0.0)]) + np.array([(0, -0.04), (0, -0.01), (0, -0.04)])
    dot = _ellipse(0.0, 0.0, 0.016, 0.028)
    pedicles = np.concatenate([at + dot + np.stack([s * half * 0.66, np.full_like(y, -0.02)], axis=-1)[:, None] for s in (-1, 1)])
    spinous = at + _ellipse(0.4 * float(np.tanh(pose.turn)) * 0.04, 0.03, 0.012, 0.03)
    column = plane.fill([_tube(at[:, 0], 2.4 * half)], 0.03)
    wide = np.repeat(2.0 * half[:, None], 2, axis=1)
    detail = 0.055 * _shell(plane, bodies, wide, 0.35) + 0.05 * plane.fill(np.concatenate([pedicles, spinous]), 0.008)
    return 0.12 * column + detail + 0.035 * plane.fill(_tube(wings, np.array([0.03, 0.045, 0.03])), 0.010)


def _clavicle(pose: _View, side: int) -> tuple[np.ndarray, np.ndarray]:
    path = _CLAVICLE.copy()
    if pose.arms == "up":  # a raised arm lifts the outer end
        path[:, 1] -= 0.14 * np.maximum(path[:, 0] - 0.1, 0.0) ** 1.3
        path[:, 0] *= 0.95
    path = _smooth(path * (side, 1.0) + (0.07 * pose.turn, 0.0))
    return path, np.interp(np.linspace(0, 1, len(path)), (0, 0.04, 0.15, 0.5, 0.96, 1.0), (0.04, 0.085, 0.062, 0.055, 0.072, 0.04))


def _arms(pose: _View) -> tuple[list[np.ndarray], list]:
    """Return the outlines of both upper arms, and their bones as (path, widths) with the epiphysis apart, as in children."""
    outlines, bones = [], []
    direction = {"up": -58.0, "out": 20.0, "down": 68.0}[pose.arms]
    for side, degrees in zip((-1, 1), pose.arm_degrees, strict=True):
        angle = np.deg2rad(direction + degrees)
        along = np.array([np.cos(angle), np.sin(angle)])
        joint = np.array([1.13, 0.06 if pose.arms != "up" else -0.02])
        stations = np.array([-0.25, 0.0, 0.3, 0.8, 1.4])
        outlines.append(_tube((joint + stations[:, None] * along) * (side, 1.0), np.array([0.32, 0.42, 0.40, 0.38, 0.34])))
        shaft = np.array([0.085, 0.16, 0.3, 0.6, 1.4])
        bones.append(((joint + shaft[:, None] * along) * (side, 1.0), np.array([0.17, 0.15, 0.10, 0.085, 0.09])))
        head = np.linspace(-0.075, 0.055, 8)
        bones.append(((joint + head[:, None] * along) * (side, 1.0), 0.165 * np.sqrt(np.linspace(0.04, 1.0, 8))))
    return outlines, bones


def _shell(plane: _Plane, paths: np.ndarray, widths: np.ndarray, hollow: float) -> np.ndarray:
    """Return the coverage of hollow bones with paths (..., M, 2) and widths (..., M): dense at the rim, less by 0.6 x `hollow` in the marrow."""
    outer = plane.fill(_tube(paths, widths), 0.007)
    return outer - np.float32(0.6 * hollow) * plane.fill(_tube(paths, widths * 0.62), 0.010)


def _collimator(plane: _Plane, rng: np.random.Generator) -> np.ndarray:
    """Return the factor (H, W) float32 of the collimator's blades: a slightly turned frame, dark outside."""
    height, width = plane.shape
    box = ((width / 2, height / 2), (width * rng.uniform(0.93, 1.04), height * rng.uniform(0.93, 1.04)), rng.normal(0.0, 0.7))
    canvas = np.zeros(plane.shape, np.uint8)
    cv2.fillPoly(canvas, [np.round(cv2.boxPoints(box) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    dark = rng.uniform(0.0, 0.12)
    return plane.blur(canvas.astype(np.float32) * np.float32((1 - dark) / 255) + np.float32(dark), 0.006)


def _burn_in(image: np.ndarray, plane: _Plane, rng: np.random.Generator) -> None:
    """Write into the image what technicians and consoles write: side marker, technique, electrodes. None of it knows the label."""
    height, width = image.shape
    base = min(height, width)
    if rng.random() < 0.88:
        right = rng.random() < 0.85
        at = (rng.uniform(0.02, 0.10) if right else rng.uniform(0.86, 0.93), rng.uniform(0.08, 0.45))
        _text(image, "R" if right else "L", at, base * rng.uniform(0.045, 0.085), int(rng.integers(215, 256)), bool(rng.random() < 0.3))
    if rng.random() < 0.18:
        word = str(rng.choice(("A-P", "P-A", "AP", "KV55", "KV60", "KV70", "mAs 2.0")))
        _text(image, word, (rng.uniform(0.01, 0.05) if rng.random() < 0.5 else 0.84, 0.05 if rng.random() < 0.5 else 0.985), base * 0.03, 225, False)
    if rng.random() < 0.12:
        clock = f"{rng.integers(8, 20):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}"
        _text(image, clock, (0.80, 0.045), base * 0.03, 235, False)
    if rng.random() < 0.10:
        _electrodes(image, plane, rng)


def _electrodes(image: np.ndarray, plane: _Plane, rng: np.random.Generator) -> None:
    """Lay one to three electrodes and their sagging wires on the chest."""
    t = np.linspace(0.0, 1.0, 24)[:, None]
    for _ in range(rng.integers(1, 4)):
        spot = np.array([rng.choice((-1, 1)) * rng.uniform(0.45, 1.1), rng.uniform(0.0, 1.9)])
        end = spot + (np.sign(spot[0]) * 2.0, rng.normal(0.0, 0.8))
        sag = (spot + end) / 2 + rng.normal(0.0, 0.35, 2)
        wire = plane.pixels((1 - t) ** 2 * spot + 2 * t * (1 - t) * sag + t ** 2 * end)
        cv2.polylines(image, [wire], False, 205, max(1, round(0.010 * plane.unit)), cv2.LINE_AA, 4)
        for radius, grey in ((0.045, 222), (0.018, 248)):
            cv2.circle(image, tuple(plane.pixels(spot).tolist()), round(radius * plane.unit * 16), grey, -1, cv2.LINE_AA, 4)


def _text(image: np.ndarray, word: str, at: tuple[float, float], tall: float, grey: int, serif: bool) -> None:
    font = cv2.FONT_HERSHEY_COMPLEX if serif else cv2.FONT_HERSHEY_SIMPLEX
    where = (round(at[0] * image.shape[1]), round(at[1] * image.shape[0]))
    cv2.putText(image, word, where, font, tall / 21.0, grey, max(1, round(tall / 9.0)), cv2.LINE_AA)


def _ellipse(x: float, y: float, wide: float, tall: float) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    return np.column_stack([x + wide * np.cos(angle), y + tall * np.sin(angle)])


def _tube(path: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return the outlines (..., 2M, 2) of paths (..., M, 2) with this width at each point."""
    along = np.empty_like(path)
    along[..., 1:-1, :] = path[..., 2:, :] - path[..., :-2, :]
    along[..., 0, :] = path[..., 1, :] - path[..., 0, :]
    along[..., -1, :] = path[..., -1, :] - path[..., -2, :]
    across = along[..., ::-1] * (-1.0, 1.0) / np.maximum(np.sqrt((along * along).sum(axis=-1, keepdims=True)), 1e-9)
    across = across * (0.5 * np.asarray(width)[..., None])
    return np.concatenate([path + across, (path - across)[..., ::-1, :]], axis=-2)


def _smooth(points: np.ndarray, closed: bool = False) -> np.ndarray:
    """Cut corners three times (Chaikin 1974): a smooth curve near the points."""
    for _ in range(3):
        after = np.roll(points, -1, axis=0) if closed else points[1:]
        before = points if closed else points[:-1]
        inner = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
        points = inner if closed else np.concatenate([points[:1], inner, points[-1:]])
    return points


def _step(field: np.ndarray) -> np.ndarray:
    """Return the smooth step from 0 at 0 to 1 at 1, float32."""
    t = np.clip(field, 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def _octaves(rng: np.random.Generator, cells: tuple[int, ...], side: int = 192) -> np.ndarray:
    """Return smooth noise (side, side) float32, mean near 0 and deviation near 0.5, each octave half as strong as the one before."""
    total = np.zeros((side, side), np.float32)
    for octave, count in enumerate(cells):
        coarse = rng.standard_normal((count, count), dtype=np.float32)
        total += np.float32(0.5 ** octave) * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return total * np.float32(0.6)


def _tree(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return both lungs' vessels, a generation each: (paths (K, 5, 2), widths (K, 5), density), fanning out from the hila."""
    side = np.repeat((-1.0, 1.0), 9)
    angle = np.deg2rad(np.tile(np.linspace(-78.0, 84.0, 9), 2) + rng.normal(0.0, 12.0, 18))
    down = np.tile(np.linspace(0.0, 1.0, 9), 2)  # the hilum is no point: upper branches leave it high, lower ones low
    start = np.stack([0.20 + 0.10 * down, 0.44 + 0.44 * down], axis=-1) + rng.normal(0.0, 0.03, (18, 2))
    wide, long = rng.uniform(0.018, 0.040, 18) * (0.75 + 0.35 * down), rng.uniform(0.12, 0.24, 18)
    generations = []
    for weight in (1.0, 0.7, 0.45, 0.3):
        bend = rng.normal(0.0, 0.35, len(side))
        turns = angle[:, None] + bend[:, None] * np.linspace(0.0, 1.0, 4)
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * (long / 4)[:, None, None]
        path = np.concatenate([start[:, None], start[:, None] + np.cumsum(steps, axis=1)], axis=1)
        generations.append((path * np.stack([side, np.ones_like(side)], axis=-1)[:, None], wide[:, None] * np.linspace(1.0, 0.7, 5), weight))
        side, start = np.repeat(side, 2), np.repeat(path[:, -1], 2, axis=0)
        fork = rng.uniform(0.15, 0.65, len(side)) * np.tile((-1.0, 1.0), len(side) // 2)
        angle, wide = np.repeat(angle + bend, 2) + fork, np.repeat(wide, 2) * rng.uniform(0.55, 0.75, len(side))
        long = np.repeat(long, 2) * rng.uniform(0.65, 1.0, len(side))
    return generations
