"""Group the radiographs of an audit by how they look outside the lungs, and say which groups lack a
class: a net can learn the acquisition there instead of the disease.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import cv2
import numpy as np

from xray_tf.data.chest.regions import outside_of_chest
from xray_tf.data.pixels.reading import stream_pixels
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.jobs.audit.audit_data import Audit
from xray_tf.models.lungs import find_fields
from xray_tf.pages.kit.overlays import in_rows
from xray_tf.progress import ProgressLine
from xray_tf.stats.acquisition_groups import (
    AcquisitionGroups,
    find_groups,
    outside_only_auroc,
    rare_classes,
)

SIDE = 224  # pixels, squashed, as the lung segmenter knows them
BATCH = 32
TELLING_AUROC = 0.7  # a probe of the surroundings that reaches more deserves a warning
SHEET_COLUMNS, SHEET_SIDE = 10, 96


def add_acquisitions(
    audit: Audit, seed: int = 0, progress: bool = True
) -> tuple[Audit, np.ndarray]:
    """Find the acquisition groups of audited radiographs.

    The lungs, what lies between them and a rim are filled with the mean of the rest; an ImageNet
    trunk (EfficientNet-Lite0, the mean of its last feature map) looks at what remains; see
    `stats.acquisition_groups` for how groups are made of that.

    Args:
        audit: its records are read again, at 224 pixels.
        seed: of the clustering.
        progress: show a line on stderr.

    Returns:
        (the audit with groups in its records, findings on groups and probe, and `acquisitions` in
        its summary; a contact sheet (H, W, 3) uint8 RGB with one row per group).
    """
    records = audit.records
    features, small = _look_outside(records, progress)
    found = find_groups(features, seed)
    names, labels = _classes(records)
    patients = [r.patient or r.path for r in records]
    sick = labels != (names.index("normal") if "normal" in names else 0)
    known = labels >= 0
    auroc = float("nan")
    if known.any():
        auroc = outside_only_auroc(features[known], sick[known], list(np.array(patients)[known]))
    counts = np.zeros((found.count, len(names)), np.int64)
    np.add.at(counts, (found.groups[known], labels[known]), 1)
    summary = {
        "groups": {str(g): dict(zip(names, n.tolist(), strict=True)) for g, n in enumerate(counts)},
        "stability": {str(k): round(v, 4) for k, v in found.stability.items()},
        "auroc": None if np.isnan(auroc) else round(auroc, 4),
        "seed": seed,
    }
    findings = [*audit.findings, *_findings(found, labels, names, auroc)]
    grouped = [replace(r, acquisition=str(g)) for r, g in zip(records, found.groups, strict=True)]
    ranked, told = Findings(findings).worst_first(), {**audit.summary, "acquisitions": summary}
    return Audit(records.with_rows(grouped), ranked, told), _sheet(found, small, counts, names)


def acquisition_groups(records: Records, seed: int = 0, progress: bool = True) -> AcquisitionGroups:
    """Return the groups of radiographs that look alike outside the lungs, as `add_acquisitions`
    finds them.
    """
    return find_groups(_look_outside(records, progress)[0], seed)


def _look_outside(records: Sequence[Record], progress: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D) float32 of the surroundings, and small pictures (N, s, s) uint8."""
    from xray_tf.nets.feature_maps import build_mean_features

    net = build_mean_features(image_size=SIDE)
    features, small = [], np.zeros((len(records), SHEET_SIDE, SHEET_SIDE), np.uint8)
    with ProgressLine("Looking outside the lungs", len(records), progress) as line:
        done = 0
        for images in _batches(records):
            masks = find_fields(images).masks
            outside = [outside_of_chest(i, m) for i, m in zip(images, masks, strict=True)]
            batch = np.stack(outside).astype(np.float32)[..., None]
            features.append(np.asarray(net.predict_on_batch(batch)))
            for image in images:
                small[done] = cv2.resize(image, (SHEET_SIDE,) * 2, interpolation=cv2.INTER_AREA)
                done += 1
            line.step(len(images))
    return np.concatenate([np.zeros((0, net.output.shape[-1]), np.float32), *features]), small


def _batches(records) -> Iterator[np.ndarray]:
    """Yield the pixels (B, S, S) uint8; a file that vanished since the audit is grey."""
    stream = stream_pixels([records.file(r) for r in records], SIDE, "squash")
    while part := list(islice(stream, BATCH)):
        grey = np.full((SIDE, SIDE), 127, np.uint8)
        yield np.stack([p if isinstance(p, np.ndarray) else grey for _, p in part])


def _classes(records: Sequence[Record]) -> tuple[list[str], np.ndarray]:
    """Return the class names, normal first, and the class index of each record, or -1."""
    words = [r.subtype or r.label for r in records]
    names = sorted({w for w in words if w}, key=lambda w: (w != "normal", w))
    return names, np.array([names.index(w) if w else -1 for w in words])


def _findings(
    found: AcquisitionGroups, labels: np.ndarray, names: list[str], auroc: float
) -> list[Finding]:
    findings = []
    rare = rare_classes(found.groups, labels, len(names))
    for group in sorted({g for g, *_ in rare}):
        lacks = ", ".join(
            f"{names[k]} ({count:,} where {expected:,.0f} would be expected)"
            for g, k, count, expected in rare
            if g == group
        )
        said = (
            f"In acquisition group {group} ({np.sum(found.groups == group):,} radiographs that "
            f"look alike outside the lungs) a class is rare: {lacks}. A network can learn the "
            "acquisition instead of the disease; look at its figures group by group."
        )
        findings.append(Finding("acquisition-lacks-class", "warning", "", said))
    if auroc >= TELLING_AUROC:
        said = (
            "The surroundings of the lungs alone tell normal from sick with an AUROC of "
            f"{auroc:.3f} (linear probe, patients held out; chance is 0.5). A good figure of a "
            "network proves nothing about lungs in this data set."
        )
        findings.append(Finding("outside-tells-class", "warning", "", said))
    return findings


def _sheet(
    found: AcquisitionGroups, small: np.ndarray, counts: np.ndarray, names: list[str]
) -> np.ndarray:
    rng, rows = np.random.default_rng(0), {}
    for group, row in enumerate(counts):
        members = np.flatnonzero(found.groups == group)
        shown = np.sort(rng.permutation(members)[:SHEET_COLUMNS])
        classes = ", ".join(f"{n} {c:,}" for n, c in zip(names, row, strict=True))
        title = f"group {group}: {len(members):,} radiographs" + (f"; {classes}" if classes else "")
        rows[title] = [np.repeat(small[i][..., None], 3, -1) for i in shown]
    like = small[0] if len(small) else np.zeros((SHEET_SIDE, SHEET_SIDE), np.uint8)
    return in_rows(rows, like)
