"""From --data and --masks to radiographs with their drawn lungs, divided by patient.

The parts, as `split.csv` names them:
    train   radiographs with a mask, of patients that are not held out
    val     radiographs without a mask, of patients who have none at all and are not held out: they
            set the threshold of the score
    test    radiographs with a mask, of held-out patients: looked at for final figures only
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xray_tf.artifact import sha256_of
from xray_tf.data.chest.lung_masks import HELD_OUT, SELECTION, divide, read_mask
from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Finding, Findings, Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.tables.split_file import read_split
from xray_tf.jobs.provenance import fingerprint, hash_of_hashes
from xray_tf.options.lungs import TrainLungsOptions
from xray_tf.shipped import find_model

SIDE = 224  # pixels of radiographs and masks


@dataclass(frozen=True)
class MaskedRows:
    """Radiographs ready for the segmenter.

    Attributes:
        records: N rows, those with a mask first.
        pixels: (M, 224, 224) uint8, memory-mapped; the whole radiograph squashed.
        rows: (N,) int64, each record's row in `pixels`.
        masks: (K, 224, 224) uint8 of the first K records: 255 lung, 127 ignore, 0 the rest.
        findings: what was set aside.
        sources: fingerprints of all radiographs that were there, and of all masks.
    """

    records: Records
    pixels: np.ndarray
    rows: np.ndarray
    masks: np.ndarray
    findings: Findings
    sources: dict[str, str]

    def of_split(self, *splits: str) -> np.ndarray:
        """Return the positions (n,) of the records of these parts."""
        return np.flatnonzero([r.split in splits for r in self.records])

    def images(self, positions: np.ndarray) -> np.ndarray:
        """Return radiographs (n, 224, 224) uint8."""
        return np.asarray(self.pixels[self.rows[positions]])

    def column(self, name: str, positions: np.ndarray) -> np.ndarray:
        """Return one column of the records (n,)."""
        return np.array(self.records.column(name), object)[positions]


def read_masked_rows(
    data: str,
    masks: str | os.PathLike,
    options: TrainLungsOptions,
    progress: bool = True,
) -> MaskedRows:
    """Scan and decode the radiographs, find their masks by name, and divide both by patient.

    Args:
        data: what `--data` takes.
        masks: a folder with NAME.png, or NAME_lungs.png, for some radiographs NAME.*.
        options: which patients are held out.
        progress: show a line.

    Raises:
        ValueError: no radiograph has a mask, two radiographs of that name, or no patient key; a
            mask with other greys.
    """
    found = scan(data, cache=options.cache, progress=progress)
    cache = build_cache(found.records, SIDE, "squash", options.cache, progress=progress)
    records = [r for r in cache.records if r.split != "test"]
    position = {r.path: i for i, r in enumerate(cache.records)}
    files = mask_files(records, masks)
    parts = divide([r.patient for r in records], held_out_patients(options.held_out))
    split = {r.path: part for r, part in zip(records, parts, strict=True)}
    used, unmasked, findings = _divided(records, files, split, options.selection)
    chosen = Records([r for r, _ in (*used, *unmasked)], found.records.root)
    return MaskedRows(
        chosen.with_split(part for _, part in (*used, *unmasked)),
        cache.pixels,
        np.array([position[r.path] for r in chosen], np.int64),
        np.stack([read_mask(files[r.path], SIDE) for r, _ in used]),
        found.findings + cache.findings + findings,
        {
            "radiographs": fingerprint(cache.records),
            "masks": hash_of_hashes(map(sha256_of, files.values())),
        },
    )


def mask_files(records: list, masks: str | os.PathLike) -> dict[str, Path]:
    """Return path -> mask file, of the radiographs that have one.

    Raises:
        ValueError: none has, one mask fits two radiographs, or a radiograph has no patient key.
    """
    there = {p.stem.removesuffix("_lungs"): p for p in sorted(Path(masks).glob("*.png"))}
    files, taken = {}, {}
    for record in records:
        stem = Path(record.path).stem
        if stem not in there:
            continue
        if stem in taken:
            raise ValueError(
                f"{there[stem]} fits two radiographs, {taken[stem]} and {record.path}. Expected "
                "one radiograph of each name."
            )
        if not record.patient:
            raise ValueError(f"{record.path} has no patient key, so it cannot be divided.")
        files[record.path], taken[stem] = there[stem], record.path
    if not files:
        raise ValueError(
            f"{masks} holds no mask of these radiographs. Expected NAME.png for a radiograph "
            f"NAME.jpeg. Received: {len(there)} PNG files, {len(records)} radiographs."
        )
    return files


def held_out_patients(which: str) -> set[str]:
    """Return the patients of the validation rows that a split.csv, or a model's, names."""
    path = Path(which)
    if not path.is_file():
        path = find_model(which) / "split.csv"
    return {line["patient"] for line in read_split(path) if line["split"] == "val"}


def _divided(records, files, split, selection) -> tuple[list, list, Findings]:
    """Return [(record, part)] of rows with a mask and of rows without, and what was set aside."""
    masked = [r for r in records if r.path in files]
    held = {r.sha256 for r in records if split[r.path] == HELD_OUT}
    twins = [r for r in masked if split[r.path] != HELD_OUT and r.sha256 in held]
    drawn = {r.patient for r in masked}
    used = []
    for record in masked:
        part = split[record.path]
        if record in twins or part == SELECTION and selection == "measure":
            continue
        used.append((record, "test" if part == HELD_OUT else "train"))
    if selection == "measure":
        used = [(r, part) for r, part in used if part != "test"]
        used += [(r, "test") for r in masked if split[r.path] == SELECTION and r not in twins]
    unmasked = [
        (r, "val")
        for r in records
        if split[r.path] != HELD_OUT and r.patient not in drawn and r.sha256 not in held
    ]
    said = "A held-out radiograph. Set aside."
    findings = Findings(Finding("duplicate-of-test", "error", r.path, said) for r in twins)
    return used, unmasked, findings
