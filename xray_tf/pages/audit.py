"""Put an audit into words."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from xray_tf.data.records import Findings


def describe(summary: dict[str, Any], findings: Findings) -> str:
    """Put an audit into plain words: Markdown that also reads well as plain text."""
    s, aside = summary, summary["files"] - summary["usable"]
    kinds = ", ".join(f"{n} {kind}" for kind, n in s["set_aside"].items())
    lines = [
        f"# Audit of {s['data']}",
        "",
        f"{s['files']:,} radiographs (read as {s['source']}); "
        f"{s['usable']:,} can be used, "
        + (
            f"{aside:,} cannot and are set aside: {kinds}."
            if aside
            else "every file could be read and decoded."
        ),
    ]
    act, know = (_bullets(findings, severities) for severities in (("error", "warning"), ("note",)))
    lines += ["", "## What to act on", "", *(act or ["Nothing."])]
    lines += ["", "## Good to know", "", *know] if know else []
    lines += [
        "",
        "## Classes",
        "",
        *_table(
            ["part", *next(iter(s["classes"].values()), {}), "all"],
            [
                [part, *counts.values(), sum(counts.values())]
                for part, counts in s["classes"].items()
            ],
        ),
    ]
    exact, near = s["duplicates"]["exact"], s["duplicates"]["near"]
    lines += [
        "",
        "## Duplicates",
        "",
        *_table(
            [
                "",
                "groups",
                "files",
                "with different labels",
                "different patients",
                "different parts",
            ],
            [["byte for byte", *exact.values()], ["same picture, other bytes", *near.values()]],
        ),
        "",
        "Byte-for-byte copies are kept in one part by the split. The same picture at "
        "another size, quality or tone is only reported here.",
    ]
    lines += [
        "",
        "## Patients",
        "",
        *_describe_patients(s["patients"], s["patient_key"], s["usable"]),
    ]
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
            lines.append(
                f"* {severity}: {kind}, {len(group)} x. "
                f"{'First of them' if len(group) > 1 else 'File'}: {group[0].path}. "
                f"{group[0].detail}"
            )
        else:
            lines += [f"* {severity}: {kind}. {f.detail}" for f in group]
    return lines


def _describe_patients(patients: dict[str, dict[str, Any]], chosen: str, usable: int) -> list[str]:
    if not any(p["patients"] for p in patients.values()):
        return [
            "The source gives no patient key. Two radiographs of one child cannot be told "
            "from those of two, so only --split-by image is possible,",
            "and its results look better than they are.",
        ]
    rows = [
        [
            name,
            p["patients"],
            p["with_several"],
            p["images_of_those"],
            p["most_images"],
            p["without_key"],
        ]
        for name, p in patients.items()
    ]
    lines = _table(
        [
            "key",
            "patients",
            "with several images",
            "images of those",
            "most of one",
            "images without key",
        ],
        rows,
    )
    share = patients[chosen]["images_of_those"] / max(1, usable)
    lines += [
        "",
        f"{share:.0%} of the radiographs are of patients with several. Divided image by "
        "image, many of them would be on both sides and results",
        "would look better than they are; the split goes by patient.",
    ]
    if len(patients) > 1:
        bare = patients["bare"]
        lines += [
            "",
            "The namespaced key takes person1 of bacteria and person1 of virus for two "
            "children, the bare key for one. Bare keys with both",
            f"sub-types: {bare['both_subtypes']:,} ({bare['images_of_both_subtypes']:,} "
            "radiographs). Neither key is a verified identity; here "
            f"the {chosen} one was used.",
        ]
    overlaps = [
        [name, parts, *o.values()]
        for name, p in patients.items()
        for parts, o in p["overlaps"].items()
    ]
    if overlaps:
        lines += [
            "",
            "Between the parts as they were given:",
            "",
            *_table(
                ["key", "parts", "patients in both", "their images in the first", "in the second"],
                overlaps,
            ),
        ]
    return lines


def _describe_leaks(s: dict[str, Any]) -> list[str]:
    labels = list(next(iter(s["modes"].values()), {}))
    lines = _table(
        ["colour mode", *labels], [[mode, *counts.values()] for mode, counts in s["modes"].items()]
    )
    sizes = {name: said for name, said in s["sizes"].items() if said["auroc"] is not None}
    if not sizes:
        return [*lines, "", "With one class only, nothing can be said of leaks."]
    lines += [
        "",
        *_table(
            ["", "median normal", "median pneumonia", "AUROC"],
            [
                [name, f"{v['normal']:.4g}", f"{v['pneumonia']:.4g}", f"{v['auroc']:.3f}"]
                for name, v in sizes.items()
            ],
        ),
        "",
        "AUROC says how well this number alone, without a look at the picture, ranks "
        "pneumonia above normal: 0.5 is not at all, near 0 or 1 a leak.",
    ]
    if all(v["normal"] == v["pneumonia"] and v["auroc"] == 0.5 for v in sizes.values()):
        lines.append(
            "All files seem to have one size: what sizes and shapes the originals had "
            "cannot be seen any more."
        )
    return lines


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Lay out a Markdown table with aligned columns."""
    cells = [head, *[[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]]
    width = [max(len(row[k]) for row in cells) for k in range(len(head))]
    line = [
        " | ".join(
            c.ljust(w) if k == 0 else c.rjust(w)
            for k, (c, w) in enumerate(zip(row, width, strict=True))
        )
        for row in cells
    ]
    rule = " | ".join("-" * w if k == 0 else "-" * (w - 1) + ":" for k, w in enumerate(width))
    return [f"| {text} |" for text in (line[0], rule, *line[1:])]
