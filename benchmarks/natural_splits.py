"""Divide the Kermany radiographs along acquisition shifts that are in them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

from xray_tf.data.records import Record, Records
from xray_tf.data.split import groups_of, split_records


def natural_splits(
    records: Records, share: float = 0.18, validation: float = 0.20, seed: int = 0
) -> dict[str, Records]:
    """Divide the Kermany radiographs along shifts that are in them, patients and duplicate groups
    together.

    `early`: the lowest-numbered patients of each family of patient keys (IM-, NORMAL2-IM-,
    bacterial and viral persons) are the test part; numbers follow the order of acquisition, and the
    official test part was cut off the low end in the same way. `acquisition-im` and
    `acquisition-normal2`: the normals of that family are the test part, the other family's train
    and validate; of pneumonia, `share` is drawn for the test part by patient. Validation rows are
    drawn by patient from what is not test.

    Args:
        records: labelled rows with patient keys that end in a number; sha256 filled in, to keep
            duplicates together.
        share: of each family's radiographs (`early`), or of the pneumonia radiographs, that become
            test, in (0, 1).
        validation: share of the radiographs outside the test part.
        seed: of what is drawn.

    Returns:
        name -> records with `split` set, as `data.split.write_split` writes and `train --split`
        reads them.

    Raises:
        ValueError: keys without a number, or no normals of one of the two acquisitions.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1). Received: share={share!r}")
    records = records.with_rows(replace(r, split="") for r in records)
    families = [_family(r) for r in records]
    odd = [r.path for r, f in zip(records, families, strict=True) if f is None]
    if odd:
        raise ValueError(
            "natural splits need patient keys that end in a number, such as IM-0115 "
            f"or bacteria:person1. Received {len(odd)} rows "
            f"without one, such as {odd[0]!r}"
        )
    family_of = {r.path: f for r, f in zip(records, families, strict=True)}
    normal = {name for (label, name), _ in families if label == "normal"}
    if normal != {"IM-", "NORMAL2-IM-"}:
        raise ValueError(
            "natural splits need normals of both acquisitions, IM- and NORMAL2-IM-. "
            f"Received: {sorted(normal)}"
        )
    groups = groups_of(list(records), "patient")
    out = {"early": _finish(records, _early(groups, family_of, share), validation, seed)}
    drawn, _ = split_records(records, validation, share, seed)
    random = {r.path for r in drawn if r.split == "test" and r.label == "pneumonia"}
    for name, family in (("acquisition-im", "IM-"), ("acquisition-normal2", "NORMAL2-IM-")):
        wanted = random | {
            path
            for path, ((label, prefix), _) in family_of.items()
            if (label, prefix) == ("normal", family)
        }
        out[name] = _finish(
            records,
            {r.path for group in groups if any(r.path in wanted for r in group) for r in group},
            validation,
            seed,
        )
    return out


def _family(row: Record) -> tuple[tuple[str, str], int] | None:
    """Return ((label or sub-type, the patient key's prefix), its number), or None where it does not
    end in one.
    """
    found = re.fullmatch(r"(.*?)(\d+)", row.patient)
    return ((row.subtype or row.label, found[1]), int(found[2])) if found else None


def _early(groups: list[list[Record]], family_of: dict[str, tuple], share: float) -> set[str]:
    """Return the paths of each family's lowest-numbered groups, without a gap, until they hold
    `share` of its radiographs.
    """
    families = defaultdict(list)
    for group in groups:
        family, number = min(family_of[r.path] for r in group)
        families[family].append((number, group))
    taken: set[str] = set()
    for members in families.values():
        left = share * sum(len(group) for _, group in members)
        for _, group in sorted(members, key=lambda m: m[0]):
            if left > 0:
                taken.update(r.path for r in group)
                left -= len(group)
    return taken


def _finish(records: Records, test: set[str], validation: float, seed: int) -> Records:
    marked = records.with_split("test" if r.path in test else "train" for r in records)
    return split_records(marked, validation, seed=seed)[0]
