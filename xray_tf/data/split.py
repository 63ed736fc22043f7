"""Who trains, who validates, who tests: by patient, duplicate groups kept together, stratified, the
same for the same seed.

Kaggle's 16-image val folder is folded back into training; an official test part is kept as it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from xray_tf.data.kin import join, kin_groups, members
from xray_tf.data.records import Finding, Findings, Record, Records
from xray_tf.data.tables.split_file import SPLIT_BY, SplitError
from xray_tf.registry import SUBTYPES

# more rows than this without a patient key, and leaving them out would change what the data are
MAX_KEYLESS = 0.05


def split_records(
    records: Records,
    validation: float = 0.20,
    test: float = 0.15,
    seed: int = 0,
    split_by: str = "patient",
    copies: Iterable[tuple[str, str]] = (),
) -> tuple[Records, Findings]:
    """Give every row its part: train, val or test.

    Rows that share a patient key or a sha256, or are near copies (directly or through others), form
    a group and stay together. Within each mixture of (label, sub-type) groups are drawn in an order
    that depends on the seed and the group's name alone, never on the rows' order.

    Args:
        records: rows with labels; their sha256 filled in, if exact duplicates are to be kept
            together.
        validation: share of the radiographs outside the test part, in [0, 1).
        test: share carved out as test where no row comes as test, in [0, 1).
        seed: of the draw.
        split_by: `patient`, or `image` where the source has no patient key; recorded in the result.
        copies: pairs of paths of one picture in different bytes, as `duplicates.near_copies` finds.

    Returns:
        (records with `split` set, findings); rows set aside are left out and have an `error`
        finding.

    Raises:
        SplitError: patient keys are missing, one class only, or too few patients to give each class
            one in each part.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise SplitError(f"{name} must be a share in [0, 1). Received: {name}={share!r}")
    if split_by not in SPLIT_BY:
        raise SplitError(f"split_by must be one of {SPLIT_BY}. Received: split_by={split_by!r}")
    _refuse_labels(records)
    given = any(r.split == "test" for r in records)
    if all(r.split == "test" for r in records):
        raise SplitError(
            f"all {len(records)} radiographs are a test part, so there is nothing to split or "
            "train on. Give a folder with train/ too; evaluate takes this one."
        )
    findings: list[Finding] = []
    rows = list(records)
    if split_by == "patient":
        rows, said = _with_patients(rows)
        findings += said
    copies = list(copies)
    if given:
        rows, said = _clear_of_test(rows, copies)
        findings += said
    folded = sum(r.split == "val" for r in rows)
    if folded:
        text = (
            f"The source's val part ({folded} radiographs) is folded back into training; "
            f"validation is drawn anew from what is not test ({validation:.0%})."
        )
        findings.append(Finding("val-folded", "note", "", text))
    if not all(r.sha256 for r in rows):
        text = "Not all files were read before the split: exact duplicates may lie on both sides."
        findings.append(Finding("not-read", "warning", "", text))
    kept = [r for r in rows if not (given and r.split == "test")]
    parts = _draw(
        groups_of(kept, split_by, copies), split_by, 0.0 if given else test, validation, seed
    )
    split = ["test" if given and r.split == "test" else parts[r.path] for r in rows]
    result = Records(rows, records.root, split_by, records.traits).with_split(split)
    wanted = ["train", *(["val"] if validation else []), *(["test"] if test and not given else [])]
    findings += _tell_copies(kept, copies)
    return result, Findings(findings + _check_parts(result, wanted, split_by))


def overlap(
    rows: Iterable[Record], key: Callable[[Record], str], left: Iterable[str], right: Iterable[str]
) -> tuple[int, int, int]:
    """Count the non-empty keys found in both parts, and their radiographs in each.

    Returns:
        (keys shared, radiographs of those keys in `left`, in `right`).
    """
    left, right, counts = set(left), set(right), defaultdict(lambda: [0, 0])
    for row in rows:
        if key(row):
            counts[key(row)][0] += row.split in left
            counts[key(row)][1] += row.split in right
    both = [c for c in counts.values() if c[0] and c[1]]
    return len(both), sum(c[0] for c in both), sum(c[1] for c in both)


def _refuse_labels(records: Records) -> None:
    labels = Counter(records.column("label"))
    if labels[""]:
        raise SplitError(
            f"{labels['']} of {len(records)} rows have no label, so they cannot be "
            "split. Expected a class, such as normal or pneumonia, in every row."
        )
    if len(labels) < 2:
        raise SplitError(
            "a split needs two classes or more, such as normal and pneumonia. Received "
            f"{len(records)} rows, {dict(labels) or 'none'}."
        )


def _with_patients(rows: list[Record]) -> tuple[list[Record], list[Finding]]:
    """Set aside the few rows outside test that have no patient key; refuse where they are many."""
    keyless = [r for r in rows if not r.patient]
    outside = [r for r in keyless if r.split != "test"]
    if len(keyless) > MAX_KEYLESS * len(rows):
        raise SplitError(
            f"{len(keyless)} of {len(rows)} radiographs have no patient key, so a "
            "split by patient is impossible. Give a CSV manifest with a "
            'patient column, or split with --split-by image (split_by="image"); '
            "then one child may be on both sides, and every report says so."
        )
    text = "It has no patient key, so it could be the child of any part. It is set aside."
    findings = [Finding("no-patient-key", "error", r.path, text) for r in outside]
    if len(keyless) > len(outside):
        text = (
            f"{len(keyless) - len(outside)} test radiographs have no patient key; whether "
            "their children are in training too cannot be told."
        )
        findings.append(Finding("no-patient-key", "warning", "", text))
    dropped = {r.path for r in outside}
    return [r for r in rows if r.path not in dropped], findings


def _clear_of_test(
    rows: list[Record], copies: list[tuple[str, str]]
) -> tuple[list[Record], list[Finding]]:
    """Set aside what is in the given test part too, byte for byte or as a near copy, and count the
    patient keys on both sides.
    """
    tested = {r.sha256: r.path for r in rows if r.split == "test" and r.sha256}
    twins = [r for r in rows if r.split != "test" and r.sha256 in tested]
    findings = []
    for r in twins:
        twin = tested[r.sha256]
        text = f"It is byte for byte the test radiograph {twin}. It is set aside from training."
        findings.append(Finding("duplicate-of-test", "error", r.path, text, twin))
    dropped = {r.path for r in twins}
    parts = {r.path: r.split for r in rows}
    for one, other in [*copies, *((b, a) for a, b in copies)]:
        if one in dropped or parts.get(other) != "test" or parts.get(one, "test") == "test":
            continue
        text = (
            f"It shows the picture of the test radiograph {other}, in other bytes. It is set aside "
            "from training."
        )
        findings.append(Finding("near-duplicate-of-test", "error", one, text, other))
        dropped.add(one)
    rows = [r for r in rows if r.path not in dropped]
    shared, outside, inside = overlap(rows, lambda r: r.patient, ("train", "val", ""), ("test",))
    if shared:
        text = (
            f"{shared} patient keys are in the given test part ({inside} radiographs) and "
            f"outside it ({outside}); the test part is kept as it was given. If one key is "
            "one child there, test figures are too good."
        )
        findings.append(Finding("patient-in-test", "warning", "", text))
    return rows, findings


def groups_of(
    rows: list[Record], split_by: str, copies: Iterable[tuple[str, str]] = ()
) -> list[list[Record]]:
    """Join rows that share a sha256 or, where split by patient, a patient key, and near copies."""
    patients = [r.patient if split_by == "patient" else "" for r in rows]
    numbers = kin_groups(patients, [r.sha256 for r in rows])
    place = {r.path: i for i, r in enumerate(rows)}
    pairs = [(place[a], place[b]) for a, b in copies if a in place and b in place]
    first = np.unique(numbers, return_index=True)[1]
    numbers = join(len(rows), [*enumerate(first[numbers].tolist()), *pairs])
    return [[rows[i] for i in group] for group in members(numbers)]


def _tell_copies(rows: list[Record], copies: list[tuple[str, str]]) -> list[Finding]:
    """Return a note on the near copies that only their pictures keep together."""
    of = {r.path: r for r in rows}
    apart = [
        (a, b)
        for a, b in copies
        if a in of and b in of and (not of[a].patient or of[a].patient != of[b].patient)
    ]
    if not apart:
        return []
    text = (
        f"{len(apart)} pair(s) of near copies (one picture in different bytes), such as "
        f"{apart[0][0]} and {apart[0][1]}, have no patient key in common; each pair is kept in one "
        "part of the split."
    )
    return [Finding("near-duplicates-together", "note", "", text)]


def _draw(
    groups: list[list[Record]], split_by: str, test: float, validation: float, seed: int
) -> dict[str, str]:
    """Return path -> part, drawn apart for each mixture of classes so that every part has its share
    of each.
    """
    mixtures = defaultdict(list)
    for group in groups:
        name = min(r.patient if split_by == "patient" else r.path for r in group)
        order = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).hexdigest()
        mixtures[tuple(sorted({(r.label, r.subtype) for r in group}))].append((order, name, group))
    parts = {r.path: "train" for group in groups for r in group}
    for mixture in sorted(mixtures):
        drawn = [group for _, _, group in sorted(mixtures[mixture], key=lambda g: g[:2])]
        tested, rest = _take(drawn, test, 1 + (validation > 0))
        validated, _ = _take(rest, validation, 1)
        for part, taken in (("test", tested), ("val", validated)):
            parts.update((r.path, part) for group in taken for r in group)
    return parts


def _take(
    groups: list[list[Record]], share: float, leave: int
) -> tuple[list[list[Record]], list[list[Record]]]:
    """Take groups in order until they hold `share` of the radiographs, one at least, but leave
    `leave` groups.
    """
    target, taken, rest = share * sum(map(len, groups)), [], []
    for group in groups:
        first = share > 0 and not taken and len(group) == min(map(len, groups))
        fits = first or sum(map(len, taken)) + len(group) / 2 <= target
        (taken if fits and len(groups) - len(taken) > leave else rest).append(group)
    return taken, rest


def _check_parts(records: Records, wanted: list[str], split_by: str) -> list[Finding]:
    """Raise unless every class has a group in every part drawn here; warn of a sub-type that has
    not.
    """
    counts = Counter(
        (part, kind) for r in records for part in [r.split] for kind in {r.label, r.subtype} if kind
    )
    findings = []
    for kind in sorted({kind for _, kind in counts}):
        lacking = [part for part in wanted if not counts[part, kind]]
        of_kind = (r for r in records if kind in (r.label, r.subtype) and r.split in wanted)
        groups = len({r.patient or r.path for r in of_kind})
        if lacking and kind not in SUBTYPES:
            unit = "patient" if split_by == "patient" else "radiograph"
            raise SplitError(
                f"there are too few {unit}s to split: {kind} has {groups} for the parts "
                f"{', '.join(wanted)}, and none is left for {', '.join(lacking)}. Expected at "
                f"least one {unit} a class in each part; add data, or set --test to 0."
            )
        if lacking:
            text = (
                f"No {kind} radiograph is in {', '.join(lacking)}: too few to spread "
                f"({groups}); the three-class task cannot be judged on this split."
            )
            findings.append(Finding("subtype-missing", "warning", "", text))
    return findings
