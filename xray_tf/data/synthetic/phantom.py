"""Draw synthetic paediatric chest radiographs with exact lesion and lung masks.

They are drawn from random numbers; there is no patient behind them. A phantom is an image of
attenuation: soft tissue of some thickness, minus the air in the lungs, plus bone. A lesion replaces
part of the air (consolidation). So it is bounded by the lung, hides the border of the heart where
it touches it, and is never denser than soft tissue. One tone curve turns attenuation into grey.
Exposure, markers, collimation and noise are added last, independently of the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from xray_tf.data.synthetic.anatomy import (
    SCAPULA,
    SCAPULA_RIDGES,
    TORSO,
    Anatomy,
    Plane,
    View,
    arm_paths,
    clavicle_path,
    ellipse,
    heart_path,
    leaned,
    lung_path,
    octaves,
    rib_paths,
    shell,
    smooth,
    spine_field,
    step,
    tube,
)

KINDS = ("normal", "bacterial", "viral")
# grey levels: a lung pixel belongs to the lesion where the noise-free images with and without it
# differ by more
LESION_THRESHOLD = 2.0
# version of the drawing; folders record it, so that nobody mixes up an old and a new drawing
VERSION = 2

# contrast that ribs lose per unit of attenuation around them, through scatter from thick parts
_SCATTER = 0.85

# Independent random streams; what each one decides is stated where it is drawn.
_ANATOMY, _VIEW, _DECORATION, _NOISE, _LESION, PLAN = range(6)

# Places of a lobar consolidation: side, centre x and y, radii, and the fissure (the y at which the
# upper lobes end, or nothing)
_LOBES = (
    (-1, 0.52, 0.36, 0.36, 0.30, 0.62),
    (-1, 0.45, 0.92, 0.34, 0.26, None),
    (-1, 0.62, 1.12, 0.40, 0.30, None),
    (1, 0.50, 0.36, 0.36, 0.30, None),
    (1, 0.58, 0.86, 0.30, 0.28, None),
    (1, 0.66, 1.12, 0.36, 0.30, None),
)


@dataclass(frozen=True)
class Phantom:
    """One synthetic radiograph with its ground truth.

    Attributes:
        image: (H, W) uint8 in [0, 255], bone white.
        lungs: (H, W) bool, lung that heart, mediastinum and diaphragm do not hide.
        lesion: (H, W) bool, the lung pixels that the lesion changes by more than `LESION_THRESHOLD`
            grey levels before noise.
        label: `normal` or `pneumonia`.
        subtype: `bacterial`, `viral` or empty.
        patient: the patient key that a folder source reads from `name`.
        name: file stem in the style of the Kaggle data set.
    """

    image: np.ndarray
    lungs: np.ndarray
    lesion: np.ndarray
    label: str
    subtype: str
    patient: str
    name: str


def draw_phantom(
    kind: str, seed: int, patient: int = 0, view: int = 0, height: int = 256, width: int = 288
) -> Phantom:
    """Draw one synthetic radiograph; the same arguments give the same pixels in every process.

    Anatomy depends on (seed, patient); rotation, exposure, inspiration, framing, markers and noise
    depend on (seed, patient, view). Neither depends on `kind`, so the same patient drawn as another
    kind differs only in the lesion.

    Args:
        kind: `normal`, `bacterial` (focal consolidation) or `viral` (diffuse, bilateral,
            interstitial).
        seed, patient, view: integers >= 0.
        height, width: pixels, at least 32.

    Raises:
        ValueError: an argument outside these ranges.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}. Received: kind={kind!r}")
    numbers = {"seed": seed, "patient": patient, "view": view, "height": height, "width": width}
    for word, value in numbers.items():
        least = 32 if word in ("height", "width") else 0
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{word} must be an integer >= {least}. Received: {word}={value!r}")
    body = Anatomy(random_stream(seed, patient, _ANATOMY))
    pose = View(random_stream(seed, patient, _VIEW, view))
    plane = Plane(body, pose, height, width)
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
        filled = draw(plane, random_stream(seed, patient, _LESION, KINDS.index(kind)), vessels)
        given_back = air * (1.0 - _SCATTER * ribs) * np.clip(filled, 0.0, 1.0) * lungs
        picture = _tone(base + given_back, pose)
        lesion = lungs & (np.abs(picture - clean) > LESION_THRESHOLD)
    streams = (random_stream(seed, patient, what, view) for what in (_DECORATION, _NOISE))
    image = _finish(picture, plane, pose, *streams)
    said = ("normal", "") if kind == "normal" else ("pneumonia", kind)
    return Phantom(image, lungs, lesion, *said, *_names(kind, patient, view))


def _names(kind: str, patient: int, view: int) -> tuple[str, str]:
    """Return (patient key, file stem) in Kaggle's style; all kinds share one number series."""
    number = patient + 1
    if kind == "normal":
        key = f"{'NORMAL2-' if number % 2 == 0 else ''}IM-{number:04d}"
        return key, f"{key}-0001" + (f"-{view:04d}" if view else "")
    word = {"bacterial": "bacteria", "viral": "virus"}[kind]
    return f"{word}:person{number}", f"person{number}_{word}_{number * 10 + view}"


def random_stream(*numbers: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([int(n) for n in numbers]))


def _air(plane: Plane, body: Anatomy, pose: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the air's attenuation deficit (H, W) float32, the visible lungs (H, W) bool and the
    vessels (H, W) float32 in [0, 1].
    """
    field = plane.fill([lung_path(body, pose, side) for side in (-1, 1)])
    heart = plane.fill([heart_path(body, pose)], 0.008)
    # includes the fading border, so that a lesion has no rim of air
    lungs = (field > 0.3) & (heart < 0.8)
    depth = plane.thickness(field, 0.34)
    # Some lung remains behind the heart, so that ribs and vessels stay faintly visible through it
    share = plane.blur(field * (0.35 + 0.65 * depth), 0.010) * (1.0 - 0.74 * heart)
    # the lung that is turned away from the plate is darker
    lean = 1.0 + 0.10 * np.float32(np.tanh(pose.turn)) * np.clip(plane.x, -1, 1)
    lean = lean * (0.90 + 0.10 * np.clip(plane.y, 0.0, 1.3))
    vessels = np.zeros(plane.shape, np.float32)
    for paths, widths, weight in body.vessels:
        drawn = plane.fill(tube(leaned(body, pose, paths), widths), 0.006)
        vessels = np.maximum(vessels, drawn * np.float32(weight))
    spots = [ellipse(side * 0.25 + 0.04 * pose.turn, 0.60, 0.09, 0.17) for side in (-1, 1)]
    hila = plane.fill(spots, 0.05)
    texture, fine = plane.texture(body.texture), plane.texture(body.fine)
    solid = body.vessel_density * vessels + body.hilum * hila * (0.7 + 0.6 * fine)
    solid = solid + body.markings * (fine + 0.35 * texture)
    air = body.air * lean * share * np.clip(1.0 - solid, 0.15, 1.1)
    return air.astype(np.float32), lungs, vessels


def _flesh(plane: Plane, body: Anatomy, pose: View) -> np.ndarray:
    """Return the attenuation of trunk, arms, jaw and abdomen, minus trachea and bowel gas."""
    torso = np.concatenate([TORSO, TORSO[::-1] * (-1, 1)]) * (1.0 + body.fat, 1.0)
    arms, _ = arm_paths(pose)
    trunk = plane.blur(plane.thickness(plane.fill([smooth(torso, True)]), 0.75), 0.012)
    limbs = plane.blur(plane.thickness(plane.fill(arms), 0.30), 0.012)
    jaw = plane.fill([ellipse(0.05 * pose.turn, pose.jaw - 0.5, 0.62, 0.5)], 0.02)
    belly = 0.13 * step((plane.y - 1.0) / 0.6) * trunk
    flesh = np.maximum(0.80 * trunk, 0.45 * limbs) + belly + 0.30 * jaw
    full = [1.0, 0.8] + [0.5] * (len(body.gas) - 2)
    gas = plane.fill([ellipse(*bubble) for bubble in body.gas], 0.03, full)
    flesh -= 0.22 * gas * np.clip((plane.y - 1.45) * 4.0, 0.0, 1.0)
    trachea = np.array([(0.01, -1.4), (0.0, -0.2), (-0.015, 0.42)]) + (0.03 * pose.turn, 0)
    windpipe = [tube(trachea, np.array([0.085, 0.08, 0.075]))]
    for s in (-1, 1):
        bronchus = np.array([(-0.01, 0.40), (s * 0.12, 0.52), (s * 0.22, 0.62)])
        bronchus = bronchus + (0.02 * pose.turn, 0)
        windpipe.append(tube(bronchus, np.array([0.06, 0.055, 0.04])))
    return flesh - 0.085 * plane.fill(windpipe, 0.016)


def _bone(plane: Plane, body: Anatomy, pose: View) -> np.ndarray:
    """Return the attenuation of spine, shoulder girdle and upper arms."""
    bone = spine_field(plane, body, pose)
    for side in (-1, 1):
        bone += 0.16 * shell(plane, *clavicle_path(pose, side), 0.6)
    raised = np.array((0.12, -0.05) if pose.arms == "up" else (0.0, 0.02))
    blades = [smooth((SCAPULA + raised) * (side, 1.0), True) for side in (-1, 1)]
    bone += 0.035 * plane.fill(blades, 0.012)
    sides = [(ridge + raised) * (s, 1.0) for ridge in SCAPULA_RIDGES for s in (-1, 1)]
    ridges = [tube(smooth(ridge), 0.05) for ridge in sides]
    bone += 0.05 * plane.fill(ridges, 0.018)
    for path, widths in arm_paths(pose)[1]:
        bone += 0.15 * shell(plane, path, widths, 0.6)
    return bone


def _sharpen(attenuation: np.ndarray, plane: Plane, pose: View) -> np.ndarray:
    """Enhance fine detail, as the consoles of computed radiography do."""
    return attenuation + np.float32(pose.sharpen) * (attenuation - plane.blur(attenuation, 0.035))


def _tone(attenuation: np.ndarray, pose: View) -> np.ndarray:
    """Turn attenuation into grey levels (H, W) float32 in [0, 255]; the toe of the curve is air,
    its shoulder bone.
    """
    dose = np.maximum(attenuation + np.float32(pose.scatter), 0.0) * np.float32(1.0 / pose.exposure)
    grey = -np.expm1(-cv2.pow(dose.astype(np.float32), pose.contrast))
    return np.float32(pose.white) * cv2.pow(grey, pose.gamma)


def _finish(
    picture: np.ndarray,
    plane: Plane,
    pose: View,
    rng: np.random.Generator,
    noise: np.random.Generator,
) -> np.ndarray:
    """Add the effects of tube, detector and technician; return (H, W) uint8."""
    down, across = (np.linspace(-1, 1, n, dtype=np.float32) for n in plane.shape)
    across, down = across * np.float32(pose.heel[0]), down[:, None] * np.float32(pose.heel[1])
    picture = picture * (1.0 + across + down)
    grain = noise.standard_normal(plane.shape, dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), pose.grain)
    grain = grain * np.float32(pose.noise / max(float(grain.std()), 1e-6))
    picture = picture + grain * (0.35 + picture * np.float32(0.65 / 255))
    if rng.random() < 0.55:
        picture = picture * _collimator(plane, rng)
    image = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    _burn_in(image, plane, rng)
    return image


def _consolidation(plane: Plane, rng: np.random.Generator, vessels: np.ndarray) -> np.ndarray:
    """Return the share of air replaced (H, W) float32: one lobe or occasionally two, fuzzy,
    sometimes with bronchi still full of air.
    """
    strength = 0.11 + 0.82 * rng.random() ** 0.65
    texture = plane.texture(octaves(rng, (10, 20, 40)))
    filled = np.zeros(plane.shape, np.float32)
    for share in (1.0, 0.6)[: 1 + (rng.random() < 0.25)]:
        side, x, y, wide, tall, fissure = _LOBES[rng.integers(len(_LOBES))]
        x, y = side * (x + rng.normal(0.0, 0.08)), y + rng.normal(0.0, 0.06)
        size = rng.uniform(0.80, 1.45)
        across = (plane.x - np.float32(x)) / np.float32(wide * size)
        distance = np.hypot(across, (plane.y - np.float32(y)) / np.float32(tall * size))
        fuzzy = np.float32(rng.uniform(0.25, 0.6))
        blob = step((1.0 - distance + 0.30 * texture) / fuzzy + 0.5)
        # the minor fissure stops it with a sharp edge
        if fissure is not None and rng.random() < 0.6:
            above = np.float32(fissure) + 0.06 * np.abs(plane.x) - plane.y
            blob = blob * step(above / 0.03 + 0.5)
        blob = blob * (plane.x * side > 0)
        filled = np.maximum(filled, np.float32(share) * blob)
    if rng.random() < 0.4:
        filled = filled * (1.0 - 0.55 * vessels)  # air bronchograms run where the vessels run
    return np.float32(strength) * filled * (1.0 + 0.15 * texture)


def _interstitial(plane: Plane, rng: np.random.Generator, vessels: np.ndarray) -> np.ndarray:
    """Return the share of air replaced (H, W) float32: in both lungs, a net of thickened septa,
    cuffed bronchi and perihilar haze.
    """
    strength = 0.18 + 0.87 * rng.random() ** 0.75
    haze, net, cuffs = rng.uniform(0.15, 0.55), rng.uniform(0.5, 1.2), rng.uniform(0.2, 0.9)
    patches = np.clip(0.75 + 0.6 * plane.texture(octaves(rng, (5, 9))), 0.15, 1.5)
    # three nets of lines, one over the other
    ridges = sum(np.exp(-4.0 * np.abs(octaves(rng, cells))) for cells in ((28, 56), (40,), (56,)))
    septa = np.clip(plane.texture(ridges) * 0.7 - 0.35, 0.0, 1.0)
    across = ((np.abs(plane.x) - np.float32(0.25)) / 0.42) ** 2
    nearness = np.exp(-across - ((plane.y - np.float32(rng.uniform(0.6, 0.85))) / 0.55) ** 2)
    sides = np.where(plane.x < 0, *np.float32(rng.uniform(0.7, 1.15, 2)))
    cuffed = np.clip(plane.blur(vessels, 0.018) * 1.6, 0.0, 1.0)
    filled = haze * nearness + net * septa * (0.45 + 0.55 * nearness)
    filled = filled + cuffs * cuffed * (0.3 + 0.7 * nearness)
    return np.float32(0.75 * strength) * (filled * patches * sides).astype(np.float32)


def _ribs_seen(plane: Plane, body: Anatomy, pose: View) -> np.ndarray:
    """Return the attenuation of the posterior ribs and of the fainter, hollower anterior ones."""
    (back, back_widths), (front, front_widths) = rib_paths(body, pose)
    behind = shell(plane, back, back_widths, 0.45)
    return body.rib_density * (behind + 0.75 * shell(plane, front, front_widths, 0.6))


def _collimator(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """Return the factor (H, W) float32 of the collimator: a slightly rotated frame, dark
    outside.
    """
    height, width = plane.shape
    sides = width * rng.uniform(0.93, 1.04), height * rng.uniform(0.93, 1.04)
    box = (width / 2, height / 2), sides, rng.normal(0.0, 0.7)
    canvas = np.zeros(plane.shape, np.uint8)
    cv2.fillPoly(canvas, [np.round(cv2.boxPoints(box) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    dark = rng.uniform(0.0, 0.12)
    light = canvas.astype(np.float32) * np.float32((1 - dark) / 255)
    return plane.blur(light + np.float32(dark), 0.006)


def _burn_in(image: np.ndarray, plane: Plane, rng: np.random.Generator) -> None:
    """Write into the image what technicians and consoles write: side marker, technique, electrodes.
    None of it depends on the label.
    """
    base = min(image.shape)
    if rng.random() < 0.88:
        word, ends = ("R", (0.02, 0.10)) if rng.random() < 0.85 else ("L", (0.86, 0.93))
        at = rng.uniform(*ends), rng.uniform(0.08, 0.45)
        tall, grey = base * rng.uniform(0.045, 0.085), int(rng.integers(215, 256))
        _text(image, word, at, tall, grey, bool(rng.random() < 0.3))
    if rng.random() < 0.18:
        word = str(rng.choice(("A-P", "P-A", "AP", "KV55", "KV60", "KV70", "mAs 2.0")))
        x = rng.uniform(0.01, 0.05) if rng.random() < 0.5 else 0.84
        _text(image, word, (x, 0.05 if rng.random() < 0.5 else 0.985), base * 0.03, 225, False)
    if rng.random() < 0.12:
        clock = f"{rng.integers(8, 20):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}"
        _text(image, clock, (0.80, 0.045), base * 0.03, 235, False)
    if rng.random() < 0.10:
        _electrodes(image, plane, rng)


def _electrodes(image: np.ndarray, plane: Plane, rng: np.random.Generator) -> None:
    """Lay one to three electrodes and their sagging wires on the chest."""
    t = np.linspace(0.0, 1.0, 24)[:, None]
    for _ in range(rng.integers(1, 4)):
        spot = np.array([rng.choice((-1, 1)) * rng.uniform(0.45, 1.1), rng.uniform(0.0, 1.9)])
        end = spot + (np.sign(spot[0]) * 2.0, rng.normal(0.0, 0.8))
        sag = (spot + end) / 2 + rng.normal(0.0, 0.35, 2)
        wire = plane.pixels((1 - t) ** 2 * spot + 2 * t * (1 - t) * sag + t**2 * end)
        cv2.polylines(image, [wire], False, 205, max(1, round(0.010 * plane.unit)), cv2.LINE_AA, 4)
        for radius, grey in ((0.045, 222), (0.018, 248)):
            at, size = tuple(plane.pixels(spot).tolist()), round(radius * plane.unit * 16)
            cv2.circle(image, at, size, grey, -1, cv2.LINE_AA, 4)


def _text(
    image: np.ndarray, word: str, at: tuple[float, float], tall: float, grey: int, serif: bool
) -> None:
    font = cv2.FONT_HERSHEY_COMPLEX if serif else cv2.FONT_HERSHEY_SIMPLEX
    where = (round(at[0] * image.shape[1]), round(at[1] * image.shape[0]))
    cv2.putText(image, word, where, font, tall / 21.0, grey, max(1, round(tall / 9.0)), cv2.LINE_AA)
