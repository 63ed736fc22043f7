"""Leave out of a folder what would be counted as radiographs and is none, or is one twice, or was
held out; every file left out is told in a finding.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from xray_tf.artifact import sha256_of
from xray_tf.data.records import Finding, Record
from xray_tf.data.sources.folder_words import byproduct


@dataclass
class LeftOut:
    """Counts files by folder, and words one finding a folder.

    Attributes:
        kind: of the findings.
        text: with {count} and {where}.
    """

    kind: str
    text: str
    counts: Counter = field(default_factory=Counter)

    def add(self, where: str) -> None:
        """Count a file of a folder."""
        self.counts[where] += 1

    def findings(self) -> list[Finding]:
        """Return one warning a folder, in order."""
        return [
            Finding(self.kind, "warning", "", self.text.format(count=count, where=where))
            for where, count in sorted(self.counts.items())
        ]


def without_byproducts(files: list[str], known: Container[str]) -> tuple[list[str], list[Finding]]:
    """Leave out masks, heat maps, augmented copies and the like, by the names of their folders and
    their own; class folders (`known`) are never taken for one. If nothing else is there, all stay.
    """
    left = LeftOut(
        "by-product",
        "{count} file(s) of {where} are left out: the name says mask, segmentation, heat map, "
        "overlay, thumbnail or augmented copy. If they are radiographs, rename it.",
    )
    kept, names = [], Counter()
    for path in files:
        *folders, name = path.split("/")
        safe = ["-" if folder.lower() in known else folder for folder in folders]
        found = byproduct("/".join([*safe, name]))
        if not found:
            kept.append(path)
        elif found == name:
            names["/".join(folders) or "."] += 1
        else:
            left.add("/".join(folders[: found.count("/") + 1]) + "/")
    if not kept:
        return files, []
    for where, count in names.items():
        left.counts[f"{where}, by their own names,"] += count
    return kept, left.findings()


def without_unknown_parts(
    rows: list[Record], known: Container[str]
) -> tuple[list[Record], list[Finding]]:
    """Where a folder says train, leave out what lies beside it in a folder that is no class
    (`known`) and no part: it may have been held out, and is never pooled with training. What lies
    beside it in class folders alone is kept, and told.
    """
    if not any(row.split == "train" for row in rows):
        return rows, []
    left = LeftOut(
        "unknown-part",
        "{count} radiograph(s) in {where}/ lie beside a training folder, in none that is called "
        "train, val or test. They are left out, since they may have been held out. Rename the "
        "folder, or use a CSV manifest with a split column.",
    )
    told = LeftOut(
        "no-part",
        "{count} radiograph(s) in {where}/ lie beside a training folder and are in no part; they "
        "are divided with the training part. Move them away if they were held out.",
    )
    kept = []
    for row in rows:
        *folders, _ = row.path.split("/")
        unknown = not row.split and any(f.lower() not in known for f in folders)
        if not unknown:
            kept.append(row)
        if not row.split:
            (left if unknown else told).add("/".join(folders))
    return kept, left.findings() + told.findings()


def without_second_copies(root: Path, rows: list[Record]) -> tuple[list[Record], list[Finding]]:
    """Count a file once that is there twice: the same name, class, part and bytes in two folders.
    The one nearer to `root` stays. Only files of one name and length are read.
    """
    alike = defaultdict(list)
    for row in rows:
        alike[row.path.rsplit("/", 1)[-1], row.label, row.subtype, row.split].append(row)
    left = LeftOut(
        "second-copy",
        "{count} file(s) of {where}/ are left out: files of the same names and bytes in another "
        "folder are counted.",
    )
    dropped = set()
    for group in alike.values():
        if len(group) < 2:
            continue
        group.sort(key=lambda r: (r.path.count("/"), len(r.path)))
        seen = set()
        for row, content in zip(group, _contents([root / r.path for r in group]), strict=True):
            if content and content in seen:
                dropped.add(row.path)
                left.add(row.path.rsplit("/", 1)[0])
            seen.add(content)
    return [row for row in rows if row.path not in dropped], left.findings()


def _contents(files: list[Path]) -> list[str]:
    """Return what identifies each file's bytes among the others; empty where it is the only one of
    its length, or cannot be read.
    """
    sizes = []
    for file in files:
        try:
            sizes.append(os.stat(file).st_size)
        except OSError:
            sizes.append(-1)
    common = {size for size, count in Counter(sizes).items() if count > 1 and size > 0}
    return [_sha256(f) if size in common else "" for f, size in zip(files, sizes, strict=True)]


def _sha256(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return ""
