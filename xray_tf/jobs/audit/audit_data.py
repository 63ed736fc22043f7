"""Find what is wrong with a data set before training on it: broken files, duplicates, missing
patient keys, and properties that give the label away.

There is one pass: every file is read and decoded once, to a 64 x 64 thumbnail, so that 4 KB per
image stay in memory.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from xray_tf.data.duplicates import THUMBNAIL, exact_groups, near_groups
from xray_tf.data.pixels.reading import each, read_file
from xray_tf.data.records import SPLITS, Finding, Findings, Record, Records
from xray_tf.data.sources.names import PATIENT_KEYS
from xray_tf.data.sources.scan import recognise, scan
from xray_tf.data.split import overlap
from xray_tf.pages.audit import describe
from xray_tf.progress import ProgressLine
from xray_tf.registry import read_task
from xray_tf.stats.metrics import auroc

# and 1 - 0.6: a single number that separates the classes better than this deserves a warning
LEAK_AUROC = 0.6
LEAK_LEAST = 10  # radiographs of each class; with fewer, such an AUROC says nothing
ADVICE = {
    "aspect ratio": ("aspect-leak", "Resize with crop, which hides it from the network."),
    "": (
        "size-leak",
        "A network sees it as sharpness after resizing; results are reliable only if sizes are "
        "similar.",
    ),
}
WHERE = {"": "no part given", "train": "train", "val": "val", "test": "test"}


@dataclass(frozen=True)
class Audit:
    """What `audit_records` found.

    Attributes:
        records: the usable radiographs, sha256, width, height and mode filled in.
        findings: everything found, the worst first.
        summary: the counts behind `text`, JSON-serialisable.
    """

    records: Records
    findings: Findings
    summary: dict[str, Any]

    def text(self) -> str:
        """Return the summary as Markdown that also reads well as plain text."""
        return describe(self.summary, self.findings)

    def _repr_markdown_(self) -> str:
        return self.text()


def audit_records(
    data: str | os.PathLike,
    source: str = "auto",
    patient_key: str = "namespaced",
    cache: str | os.PathLike | None = None,
    progress: bool = True,
    workers: int | None = None,
    classes: str | None = None,
) -> Audit:
    """Read a data set once, and report what is wrong with it.

    Args:
        data, source, patient_key, cache: as for `sources.scan`.
        progress: show a line on stderr.
        workers: the number of threads; one per CPU core if None.
        classes: what folders and labels are called, see `DataOptions`.

    Raises:
        FileNotFoundError, SourceError: as `sources.scan`.
    """
    task = read_task("binary", classes)
    scanned, said = scan(data, source, patient_key, cache, progress, task)
    thumbnails = np.zeros((len(scanned), THUMBNAIL, THUMBNAIL), np.uint8)
    rows, findings = [], list(said)
    with ProgressLine("Auditing", len(scanned), progress) as line:
        for row, (reading, pixels) in zip(
            scanned,
            each(lambda r: read_file(scanned.file(r), THUMBNAIL, "squash"), scanned, workers),
            strict=True,
        ):
            if pixels is None:
                findings.append(reading.finding(row.path))
            else:
                thumbnails[len(rows)] = pixels
                rows.append(reading.fill(row))
            line.step()
    thumbnails = thumbnails[: len(rows)]
    exact = exact_groups(rows)
    near = near_groups(rows, thumbnails)
    for group in exact:
        findings += _describe_group(group, "exact-duplicate", "the same, byte for byte")
    for group in near:
        words = "one picture in different bytes; splits keep them together"
        findings += _describe_group(group, "near-duplicate", words)
    keys = {
        key: scanned if key == patient_key else scan(data, source, key, cache, task=task).records
        for key in PATIENT_KEYS
    }
    one_key = len({tuple(table.column("patient")) for table in keys.values()}) == 1
    summary = {
        "data": os.path.basename(os.path.abspath(data)),  # not where it lies on this machine
        "source": recognise(data) if source == "auto" else source,
        "patient_key": "as given" if one_key else patient_key,
        "files": len(scanned),
        "usable": len(rows),
        "set_aside": dict(Counter(f.kind for f in findings if f.severity == "error")),
        "classes": _count_classes(rows),
        "duplicates": {"exact": _count_groups(exact), "near": _count_groups(near)},
        "patients": _count_patients(rows, {"as given": scanned} if one_key else keys),
        "modes": _count_modes(rows),
        "sizes": _compare_sizes(rows),
    }
    findings += _find_leaks(summary)
    return Audit(scanned.with_rows(rows), Findings(findings).worst_first(), summary)


# ---- duplicates


def _conflicts(group: list[Record]) -> list[str]:
    """Return in which of label, patient and part the members of a group differ; unknown values do
    not count.
    """
    label, subtype, patient, split = (
        {getattr(r, c) for r in group} - {""} for c in ("label", "subtype", "patient", "split")
    )
    values = {"label": max(label, subtype, key=len), "patient": patient, "split": split}
    return [name for name, found in values.items() if len(found) > 1]


def _describe_group(group: list[Record], kind: str, words: str) -> list[Finding]:
    first, related = group[0].path, "|".join(r.path for r in group[1:])
    near = kind == "near-duplicate"
    severity, said = "warning" if near else "note", f"{len(group)} files are {words}."
    findings = [Finding(kind, severity, first, said, related)]
    means = {
        "label": ("classes", {r.subtype or r.label or "unlabelled" for r in group}),
        "patient": ("patient keys", {r.patient for r in group} - {""}),
        "split": ("given parts", {WHERE[r.split] for r in group}),
    }
    for name in _conflicts(group):
        what, values = means[name]
        said = (
            f"{'Near-duplicates' if near else 'Copies'} of one radiograph have different {what}: "
            f"{', '.join(sorted(values))}."
        )
        findings.append(Finding(f"duplicate-{name}", "warning", first, said, related))
    return findings


def _count_groups(groups: list[list[Record]]) -> dict[str, int]:
    conflicts = Counter(c for g in groups for c in _conflicts(g))
    return {
        "groups": len(groups),
        "files": sum(map(len, groups)),
        **{f"across_{c}s": conflicts[c] for c in ("label", "patient", "split")},
    }


# ---- counts


def _class_of(row: Record) -> str:
    return row.label if row.label != "pneumonia" else f"pneumonia, {row.subtype or 'no sub-type'}"


def _count_classes(rows: list[Record]) -> dict[str, dict[str, int]]:
    counts = Counter((row.split, _class_of(row) or "unlabelled") for row in rows)
    classes = sorted({c for _, c in counts})
    return {
        WHERE[s]: {c: counts[s, c] for c in classes}
        for s in ("", *SPLITS)
        if any(counts[s, c] for c in classes)
    }


def _count_patients(rows: list[Record], keys: dict[str, Records]) -> dict[str, dict[str, Any]]:
    """Count patients under each key, and their overlaps between the given parts."""
    counts = {}
    parts = [s for s in SPLITS if any(r.split == s for r in rows)]
    for name, table in keys.items():
        key = dict(zip(table.column("path"), table.column("patient"), strict=True))
        images, subtypes = Counter(key[r.path] for r in rows if key[r.path]), defaultdict(set)
        for row in rows:
            if row.subtype and key[row.path]:
                subtypes[key[row.path]].add(row.subtype)
        both = [k for k, kinds in subtypes.items() if len(kinds) > 1]
        counts[name] = {
            "patients": len(images),
            "without_key": len(rows) - sum(images.values()),
            "with_several": sum(n > 1 for n in images.values()),
            "images_of_those": sum(n for n in images.values() if n > 1),
            "most_images": max(images.values(), default=0),
            "both_subtypes": len(both),
            "images_of_both_subtypes": sum(images[k] for k in both),
            "overlaps": {
                f"{a} and {b}": _overlap(rows, key, a, b) for a, b in combinations(parts, 2)
            },
        }
    return counts


def _overlap(rows: list[Record], key: dict[str, str], a: str, b: str) -> dict[str, int]:
    found = overlap(rows, lambda row: key[row.path], [a], [b])
    return dict(zip(("patients", a, b), found, strict=True))


def _count_modes(rows: list[Record]) -> dict[str, dict[str, int]]:
    counts = Counter((row.mode, row.label or "unlabelled") for row in rows)
    return {
        m: {label: counts[m, label] for label in sorted({label for _, label in counts})}
        for m in sorted({m for m, _ in counts})
    }


def _compare_sizes(rows: list[Record]) -> dict[str, dict[str, float | None]]:
    """Return each class's median of width, height and aspect ratio, and their AUROC as predictors
    of pneumonia.
    """
    size = np.array([(r.width, r.height, r.width / r.height) for r in rows], np.float64)
    size = size.reshape(-1, 3)
    label = np.array([r.label for r in rows], dtype=object)
    labelled = label != ""
    classes = [c for c in ("normal", "pneumonia") if (label == c).any()]
    return {
        name: {
            **{c: float(np.median(size[label == c, k])) for c in classes},
            "auroc": auroc(size[labelled, k], label[labelled] == "pneumonia")
            if len(classes) == 2
            else None,
        }
        for k, name in enumerate(("width", "height", "aspect ratio"))
    }


def _find_leaks(summary: dict[str, Any]) -> list[Finding]:
    """Warn if the colour mode or the size alone separates the classes."""
    findings, modes = [], summary["modes"]
    totals = Counter()
    for counts in modes.values():
        totals.update(counts)
    labels = [label for label in ("normal", "pneumonia") if totals[label]]
    for mode, counts in modes.items():
        here = [label for label in labels if counts[label]]
        if len(modes) > 1 and len(labels) == 2 and len(here) == 1:
            n, label = counts[here[0]], here[0]
            either = totals["normal"] + totals["pneumonia"]
            chance = math.comb(totals[label], n) / math.comb(either, n)
            severity, said = (
                "warning" if chance < 0.05 else "note",
                f"All {n} radiographs of colour mode {mode} are {label} (probability by chance: "
                f"{chance:.2g}). A network that sees colour can read the answer from it; this "
                "package uses grey only.",
            )
            findings.append(Finding("mode-leak", severity, "", said))
    for name, said in summary["sizes"].items():
        few = min(totals["normal"], totals["pneumonia"]) < LEAK_LEAST
        if said["auroc"] is None or few or 1 - LEAK_AUROC <= said["auroc"] <= LEAK_AUROC:
            continue
        kind, advice = ADVICE.get(name, ADVICE[""])
        sentence = (
            f"The {name} alone separates the classes: it is "
            f"{'larger' if said['auroc'] > 0.5 else 'smaller'} in pneumonia (median "
            f"{said['pneumonia']:.4g} against {said['normal']:.4g}), with an AUROC of "
            f"{said['auroc']:.2f}, where 0.5 means no difference. {advice}"
        )
        findings.append(Finding(kind, "warning", "", sentence))
    return findings
