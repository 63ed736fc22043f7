"""What a person should know of a data set before training on it: broken files, duplicates, patient keys, and leaks of the label.

One pass: every file is read once and decoded once, to a 64 x 64 thumbnail; 4 KB an image is all that stays in memory.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from xray_tf.data.cache import ProgressLine, each, read_file
from xray_tf.data.names import PATIENT_KEYS
from xray_tf.data.records import SPLITS, Finding, Findings, Record, Records
from xray_tf.data.sources import recognise, scan
from xray_tf.data.split import overlap

THUMBNAIL = 64
# Calibrated on the 5,216 training radiographs: distinct ones correlate at most 0.971; the same one at another size or JPEG quality at
# least 0.998, with another tone curve 0.995, turned by a degree 0.98.
NEAR_CORRELATION = 0.985
SCREEN = 0.975
LEAK_AUROC = 0.6  # and 1 - 0.6: a number alone that orders the classes better than this is worth a warning
LEAK_LEAST = 10  # radiographs of each class, below which such an AUROC says nothing
WHERE = {"": "no part given", "train": "train", "val": "val", "test": "test"}


@dataclass(frozen=True)
class Audit:
    """What `audit_records` found.

    Attributes:
        records: the usable radiographs, sha256, width, height and mode filled in.
        findings: everything worth saying, the worst first.
        summary: the counts behind `text`, fit for JSON.
    """

    records: Records
    findings: Findings
    summary: dict[str, Any]

    def text(self) -> str:
        """Return the readable summary, Markdown that also reads well as plain text."""
        return describe(self.summary, self.findings)

    def _repr_markdown_(self) -> str:
        return self.text()


def audit_records(data: str | os.PathLike, source: str = "auto", patient_key: str = "namespaced", cache: str | os.PathLike | None = None,
                  progress: bool = True, workers: int | None = None) -> Audit:
    """Read a data set once and say what is wrong with it.

    Args:
        data, source, patient_key, cache: as for `sources.scan`.
        progress: show a line on stderr.
        workers: threads; None for one a CPU core.

    Raises:
        FileNotFoundError, SourceError: as `sources.scan`.
    """
    scanned, said = scan(data, source, patient_key, cache, progress)
    thumbnails = np.zeros((len(scanned), THUMBNAIL, THUMBNAIL), np.uint8)
    rows, findings = [], list(said)
    with ProgressLine("Auditing", len(scanned), progress) as line:
        for row, (reading, pixels) in zip(scanned, each(lambda r: read_file(scanned.file(r), THUMBNAIL, "squash"), scanned, workers), strict=True):
            if pixels is None:
                findings.append(reading.finding(row.path))
            else:
                thumbnails[len(rows)] = pixels
                rows.append(reading.fill(row))
            line.step()
    thumbnails = thumbnails[: len(rows)]
    exact = exact_groups(rows)
    near = near_groups(rows, thumbnails)
    findings += [f for group in exact for f in _describe_group(group, "exact-duplicate", "the same, byte for byte")]
    findings += [f for group in near for f in _describe_group(group, "near-duplicate", "one picture in different bytes; keep one, the split does not know")]
    keys = {key: scanned if key == patient_key else scan(data, source, key, cache).records for key in PATIENT_KEYS}
    one_key = len({tuple(table.column("patient")) for table in keys.values()}) == 1
    summary = {
        "data": os.fspath(data), "source": recognise(data) if source == "auto" else source, "patient_key": "as given" if one_key else patient_key,
        "files": len(scanned), "usable": len(rows), "set_aside": dict(Counter(f.kind for f in findings if f.severity == "error")),
        "classes": _count_classes(rows), "duplicates": {"exact": _count_groups(exact), "near": _count_groups(near)},
        "patients": _count_patients(rows, {"as given": scanned} if one_key else keys), "modes": _count_modes(rows), "sizes": _compare_sizes(rows),
    }
    findings += _find_leaks(summary)
    order = {"error": 0, "warning": 1, "note": 2}
    return Audit(scanned.with_rows(rows), Findings(sorted(findings, key=lambda f: order[f.severity])), summary)


# ---- duplicates

def exact_groups(rows: Iterable[Record]) -> list[list[Record]]:
    """Group rows of equal sha256, two or more in each."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.sha256].append(row)
    return [group for group in groups.values() if len(group) > 1]


def near_groups(rows: list[Record], thumbnails: np.ndarray) -> list[list[Record]]:
    """Group rows that show the same picture in different bytes; of byte-for-byte copies only the first is compared.

    Args:
        rows: N records.
        thumbnails: (N, 64, 64) uint8 in [0, 255].
    """
    first = {}
    for index, row in enumerate(rows):
        first.setdefault(row.sha256, index)
    chosen = np.array(list(first.values()), np.int64)
    parent = {}

    def find(i: int) -> int:
        while parent.setdefault(i, i) != i:
            i = parent[i]
        return i

    for i, j in near_pairs(thumbnails[chosen]):
        parent[find(int(chosen[j]))] = find(int(chosen[i]))
    groups = defaultdict(list)
    for i in sorted(parent):
        groups[find(i)].append(rows[i])
    return list(groups.values())


def near_pairs(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Find pairs of thumbnails that show the same picture: normalised correlation of at least `NEAR_CORRELATION`.

    All pairs are screened by the correlation of their low frequencies, in blocks of one matrix product. Where a share e of the
    variance of both pictures, at most, lies in the other frequencies, that is at least (NEAR_CORRELATION - e) / (1 - e) by
    Cauchy-Schwarz: `SCREEN` misses nothing while e <= 0.4 (radiographs: median 0.07, at most 0.34).

    Args:
        thumbnails: (N, 64, 64) uint8 in [0, 255].

    Returns:
        (i, j) with i < j, in order.
    """
    low = low_frequencies(thumbnails)
    pairs = []
    for top in range(0, len(low), 1024):
        for left in range(top, len(low), 8192):
            block = low[top:top + 1024] @ low[left:left + 8192].T
            i, j = np.unravel_index(np.flatnonzero(block >= SCREEN), block.shape)
            i, j = i + top, j + left
            i, j = i[i < j], j[i < j]
            for start in range(0, len(i), 1024):
                some = slice(start, start + 1024)
                same = correlation(thumbnails[i[some]], thumbnails[j[some]]) >= NEAR_CORRELATION
                pairs += zip(i[some][same].tolist(), j[some][same].tolist(), strict=True)
    return sorted(pairs)


def low_frequencies(thumbnails: np.ndarray) -> np.ndarray:
    """Return the 12 x 12 lowest coefficients of the orthonormal cosine transform (DCT-II) but the mean, scaled to length 1.

    Args:
        thumbnails: (N, 64, 64) uint8 in [0, 255].

    Returns:
        (N, 143) float32, zeros for a flat picture; the product of two rows is the correlation of the low-passed pictures.
    """
    basis = (np.sqrt(2 / THUMBNAIL) * np.cos(np.pi / (2 * THUMBNAIL) * np.arange(12)[:, None] * (2 * np.arange(THUMBNAIL) + 1))).astype(np.float32)  # (12, 64)
    low = np.zeros((len(thumbnails), 143), np.float32)
    for start in range(0, len(thumbnails), 1024):
        block = thumbnails[start:start + 1024].astype(np.float32)
        block -= block.mean((1, 2), keepdims=True)
        low[start:start + 1024] = (basis @ block @ basis.T).reshape(len(block), -1)[:, 1:]
    # the first row and column of the basis are longer by sqrt(2) than an orthonormal transform has them
    low /= np.array([np.sqrt(2) if k < 12 or k % 12 == 0 else 1 for k in range(1, 144)], np.float32)
    norm = np.linalg.norm(low, axis=1, keepdims=True)
    return np.divide(low, norm, out=np.zeros_like(low), where=norm > 0)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the normalised (Pearson) correlation of picture k of `a` with picture k of `b`; 0 where one of them is flat.

    Args:
        a, b: (n, H, W) uint8.

    Returns:
        (n,) float32 in [-1, 1].
    """
    a, b = (x.reshape(len(x), -1).astype(np.float32) for x in (a, b))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), norm, out=np.zeros_like(norm), where=norm > 0)


def _conflicts(group: list[Record]) -> list[str]:
    """Say in which of label, patient and given part the members of a group differ; what is not known contradicts nothing."""
    label, subtype, patient, split = ({getattr(r, c) for r in group} - {""} for c in ("label", "subtype", "patient", "split"))
    return [name for name, differs in (("label", len(label) > 1 or len(subtype) > 1), ("patient", len(patient) > 1), ("split", len(split) > 1)) if differs]


def _describe_group(group: list[Record], kind: str, words: str) -> list[Finding]:
    related = "|".join(r.path for r in group[1:])
    near = kind == "near-duplicate"
    findings = [Finding(kind, "warning" if near else "note", group[0].path, f"{len(group)} files are {words}.", related)]
    means = {"label": ("classes", {r.subtype or r.label or "unlabelled" for r in group}), "patient": ("patient keys", {r.patient for r in group} - {""}),
             "split": ("given parts", {WHERE[r.split] for r in group})}
    for name in _conflicts(group):
        what, values = means[name]
        findings.append(Finding(f"duplicate-{name}", "warning", group[0].path,
                                f"{'Near-duplicates' if near else 'Copies'} of one radiograph have different {what}: {', '.join(sorted(values))}.", related))
    return findings


def _count_groups(groups: list[list[Record]]) -> dict[str, int]:
    conflicts = Counter(c for g in groups for c in _conflicts(g))
    return {"groups": len(groups), "files": sum(map(len, groups)), **{f"across_{c}s": conflicts[c] for c in ("label", "patient", "split")}}


# ---- counts

def _class_of(row: Record) -> str:
    return row.label if row.label != "pneumonia" else f"pneumonia, {row.subtype or 'no sub-type'}"


def _count_classes(rows: list[Record]) -> dict[str, dict[str, int]]:
    counts = Counter((row.split, _class_of(row) or "unlabelled") for row in rows)
    classes = sorted({c for _, c in counts})
    return {WHERE[s]: {c: counts[s, c] for c in classes} for s in ("", *SPLITS) if any(counts[s, c] for c in classes)}


def _count_patients(rows: list[Record], keys: dict[str, Records]) -> dict[str, dict[str, Any]]:
    """Count patients under each key, and what each implies between the parts as they were given."""
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
            "patients": len(images), "without_key": len(rows) - sum(images.values()), "with_several": sum(n > 1 for n in images.values()),
            "images_of_those": sum(n for n in images.values() if n > 1), "most_images": max(images.values(), default=0),
            "both_subtypes": len(both), "images_of_both_subtypes": sum(images[k] for k in both),
            "overlaps": {f"{a} and {b}": dict(zip(("patients", a, b), overlap(rows, lambda r, key=key: key[r.path], [a], [b]), strict=True))
                         for a, b in combinations(parts, 2)},
        }
    return counts


def _count_modes(rows: list[Record]) -> dict[str, dict[str, int]]:
    counts = Counter((row.mode, row.label or "unlabelled") for row in rows)
    return {m: {label: counts[m, label] for label in sorted({label for _, label in counts})} for m in sorted({m for m, _ in counts})}


def _compare_sizes(rows: list[Record]) -> dict[str, dict[str, float | None]]:
    """Give, for width, height and aspect ratio, each class's median and the AUROC as a predictor of pneumonia."""
    size = np.array([(r.width, r.height, r.width / r.height) for r in rows], np.float64).reshape(-1, 3)
    label = np.array([r.label for r in rows], dtype=object)
    classes = [c for c in ("normal", "pneumonia") if (label == c).any()]
    return {name: {**{c: float(np.median(size[label == c, k])) for c in classes},
                   "auroc": auroc(size[label == "normal", k], size[label == "pneumonia", k]) if len(classes) == 2 else None}
            for k, name in enumerate(("width", "height", "aspect ratio"))}


def auroc(negatives: np.ndarray, positives: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half: (R - n(n+1)/2) / (n m), R the positives' sum of mid-ranks.

    Hanley & McNeil, Radiology 143 (1982), the Wilcoxon statistic.

    Args:
        negatives: (m,) float.
        positives: (n,) float.
    """
    n, m = len(positives), len(negatives)
    _, inverse, counts = np.unique(np.concatenate([positives, negatives]), return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2
    return float((mid_rank[inverse[:n]].sum() - n * (n + 1) / 2) / (n * m))


def _find_leaks(summary: dict[str, Any]) -> list[Finding]:
    """Warn where the colour mode or the size alone tells the classes apart."""
    findings, modes = [], summary["modes"]
    totals = Counter()
    for counts in modes.values():
        totals.update(counts)
    labels = [label for label in ("normal", "pneumonia") if totals[label]]
    for mode, counts in modes.items():
        here = [label for label in labels if counts[label]]
        if len(modes) > 1 and len(labels) == 2 and len(here) == 1:
            n, label = counts[here[0]], here[0]
            chance = math.comb(totals[label], n) / math.comb(totals["normal"] + totals["pneumonia"], n)
            findings.append(Finding("mode-leak", "warning" if chance < 0.05 else "note", "",
                                    f"All {n} radiographs of colour mode {mode} are {label} (probability by chance: {chance:.2g}). A net that sees colour "
                                    "can read the answer from it; this package looks at grey only."))
    for name, said in summary["sizes"].items():
        if said["auroc"] is None or min(totals["normal"], totals["pneumonia"]) < LEAK_LEAST or 1 - LEAK_AUROC <= said["auroc"] <= LEAK_AUROC:
            continue
        kind, advice = ("aspect-leak", "Resize with crop, which hides it from the net.") if name == "aspect ratio" else (
            "size-leak", "A net sees it as sharpness after resizing; a result is safe only where sizes are alike.")
        than = f"{'larger' if said['auroc'] > 0.5 else 'smaller'} in pneumonia (median {said['pneumonia']:.4g} against {said['normal']:.4g})"
        findings.append(Finding(kind, "warning", "", f"The {name} alone tells the classes apart: it is {than}, AUROC {said['auroc']:.2f} where 0.5 would be "
                                f"no difference. {advice}"))
    return findings


# ---- words

def describe(summary: dict[str, Any], findings: Findings) -> str:
    """Put an audit into plain words: Markdown that also reads well as plain text."""
    s, aside = summary, summary["files"] - summary["usable"]
    kinds = ", ".join(f"{n} {kind}" for kind, n in s["set_aside"].items())
    lines = [f"# Audit of {s['data']}", "", f"{s['files']:,} radiographs (read as {s['source']}); {s['usable']:,} can be used, "
             + (f"{aside:,} cannot and are set aside: {kinds}." if aside else "every file could be read and decoded.")]
    act, know = (_bullets(findings, severities) for severities in (("error", "warning"), ("note",)))
    lines += ["", "## What to act on", "", *(act or ["Nothing."])]
    lines += ["", "## Good to know", "", *know] if know else []
    lines += ["", "## Classes", "", *_table(["part", *next(iter(s["classes"].values()), {}), "all"],
                                            [[part, *counts.values(), sum(counts.values())] for part, counts in s["classes"].items()])]
    exact, near = s["duplicates"]["exact"], s["duplicates"]["near"]
    lines += ["", "## Duplicates", "",
              *_table(["", "groups", "files", "with different labels", "different patients", "different parts"],
                      [["byte for byte", *exact.values()], ["same picture, other bytes", *near.values()]]),
              "", "Byte-for-byte copies are kept in one part by the split. The same picture at another size, quality or tone is only reported here."]
    lines += ["", "## Patients", "", *_describe_patients(s["patients"], s["patient_key"], s["usable"])]
    lines += ["", "## Does the file format give the label away?", "", *_describe_leaks(s)]
    return "\n".join(lines) + "\n"


def _bullets(findings: Findings, severities: tuple[str, ...]) -> list[str]:
    """Give one line a kind of finding, with the first of its kind in full."""
    kinds = defaultdict(list)
    for f in findings:
        if f.severity in severities:
            kinds[f.severity, f.kind, bool(f.path)].append(f)
    lines = []
    for (severity, kind, one_file), group in kinds.items():
        if one_file:
            lines.append(f"* {severity}: {kind}, {len(group)} x. {'First of them' if len(group) > 1 else 'File'}: {group[0].path}. {group[0].detail}")
        else:
            lines += [f"* {severity}: {kind}. {f.detail}" for f in group]
    return lines


def _describe_patients(patients: dict[str, dict[str, Any]], chosen: str, usable: int) -> list[str]:
    if not any(p["patients"] for p in patients.values()):
        return ["The source gives no patient key. Two radiographs of one child cannot be told from those of two, so only --split-by image is possible,",
                "and its results look better than they are."]
    rows = [[name, p["patients"], p["with_several"], p["images_of_those"], p["most_images"], p["without_key"]] for name, p in patients.items()]
    lines = _table(["key", "patients", "with several images", "images of those", "most of one", "images without key"], rows)
    share = patients[chosen]["images_of_those"] / max(1, usable)
    lines += ["", f"{share:.0%} of the radiographs are of patients with several. Divided image by image, many of them would be on both sides and results",
              "would look better than they are; the split goes by patient."]
    if len(patients) > 1:
        bare = patients["bare"]
        lines += ["", "The namespaced key takes person1 of bacteria and person1 of virus for two children, the bare key for one. Bare keys with both",
                  f"sub-types: {bare['both_subtypes']:,} ({bare['images_of_both_subtypes']:,} radiographs). Neither key is a verified identity; here "
                  f"the {chosen} one was used."]
    overlaps = [[name, parts, *o.values()] for name, p in patients.items() for parts, o in p["overlaps"].items()]
    if overlaps:
        lines += ["", "Between the parts as they were given:", "",
                  *_table(["key", "parts", "patients in both", "their images in the first", "in the second"], overlaps)]
    return lines


def _describe_leaks(s: dict[str, Any]) -> list[str]:
    labels = list(next(iter(s["modes"].values()), {}))
    lines = _table(["colour mode", *labels], [[mode, *counts.values()] for mode, counts in s["modes"].items()])
    sizes = {name: said for name, said in s["sizes"].items() if said["auroc"] is not None}
    if not sizes:
        return [*lines, "", "With one class only, nothing can be said of leaks."]
    lines += ["", *_table(["", "median normal", "median pneumonia", "AUROC"],
                          [[name, f"{v['normal']:.4g}", f"{v['pneumonia']:.4g}", f"{v['auroc']:.3f}"] for name, v in sizes.items()]),
              "", "AUROC says how well this number alone, without a look at the picture, ranks pneumonia above normal: 0.5 is not at all, near 0 or 1 a leak."]
    if all(v["normal"] == v["pneumonia"] and v["auroc"] == 0.5 for v in sizes.values()):
        lines.append("All files seem to have one size: what sizes and shapes the originals had cannot be seen any more.")
    return lines


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Lay out a Markdown table with aligned columns."""
    cells = [head, *[[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]]
    width = [max(len(row[k]) for row in cells) for k in range(len(head))]
    line = [" | ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, width, strict=True))) for row in cells]
    rule = " | ".join("-" * w if k == 0 else "-" * (w - 1) + ":" for k, w in enumerate(width))
    return [f"| {text} |" for text in (line[0], rule, *line[1:])]
