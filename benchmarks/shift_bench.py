"""Prepare and read the shift bench, which `xray-tf evaluate --shift` runs.

python benchmarks/shift_bench.py splits --data DIR --out DIR
    early.csv, acquisition-im.csv and acquisition-normal2.csv, for `xray-tf train --split FILE`
python benchmarks/shift_bench.py sheet --data DIR --out FILE.png
    a picture of every stress at every severity, on one normal and one pneumonia radiograph
python benchmarks/shift_bench.py compare SHIFT.json [SHIFT.json ...]
    the shift.json of several models as one Markdown table with a row per stress: each model's mean
    over the severities, and the range of these means, which tells how well the stress separates
    models
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from natural_splits import natural_splits

from xray_tf.artifact import new_folder
from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.synthetic.stresses import STRESSES, apply_stress
from xray_tf.data.tables.split_file import write_split


def read(data: str, resize: str) -> tuple[np.ndarray, Records]:
    """Return pixels (N, 224, 224) uint8 and the records of a data folder, decoded once into the
    user's cache.
    """
    found = scan(data)
    cache = build_cache(found.records, 224, resize)
    return cache.pixels, Records(cache.records.rows, found.records.root)


def splits(given: argparse.Namespace) -> None:
    """Write one split.csv a natural shift."""
    _, records = read(given.data, given.resize)
    with new_folder(given.out) as draft:
        for name, split in natural_splits(records, given.share, seed=given.seed).items():
            write_split(split, draft / f"{name}.csv")
            print(f"{name}.csv")
            for part in ("train", "val", "test"):
                rows = [r for r in split if r.split == part]
                counts = Counter(r.subtype or r.label for r in rows)
                print(
                    f"  {part:5} {len(rows):5} radiographs, {len({r.patient for r in rows}):5} "
                    "patients: " + ", ".join(f"{k} {counts[k]}" for k in sorted(counts))
                )


def sheet(given: argparse.Namespace) -> None:
    """Draw every stress at every severity."""
    from xray_tf.pages.kit.figures import contact_sheet, to_png_bytes

    pixels, records = read(given.data, given.resize)
    rows = [
        next(i for i, r in enumerate(records) if r.label == label)
        for label in ("normal", "pneumonia")
    ]
    images, titles = [], []
    for name, stress in STRESSES.items():
        for severity in (None, *stress.severities):
            both = np.asarray(pixels[rows])
            images.append(
                np.hstack(
                    list(
                        both
                        if severity is None
                        else apply_stress(
                            both, name, severity, given.seed, [records[i].sha256 for i in rows]
                        )
                    )
                )
            )
            titles.append(name if severity is None else f"{severity:g} {stress.unit}")
    Path(given.out).write_bytes(
        to_png_bytes(contact_sheet(np.stack(images), titles, columns=4), dpi=110)
    )
    print(f"Finished: {given.out}")


def compare(given: argparse.Namespace) -> None:
    """Print the table of several models."""
    results = [json.loads(Path(p).read_text(encoding="utf-8")) for p in given.files]
    names = given.names.split(",") if given.names else [Path(p).parent.name for p in given.files]
    if len(names) != len(results):
        raise SystemExit(f"--names must name each of the {len(results)} files. Received: {names}")
    metrics = [m for m in results[0]["metrics"] if all(m in r["metrics"] for r in results)]
    wanted = [m for m in metrics if m not in ("accuracy", "balanced_accuracy")]
    print(
        "| stress | "
        + " | ".join(f"{m}: {' / '.join(names)}" for m in wanted)
        + " | balanced accuracy apart "
        "|"
    )
    print("| --- " * (len(wanted) + 2) + "|")
    rows = [
        (said, [{m: r[key][m]["value"] for m in metrics} for r in results])
        for said, key in (("unchanged", "clean"), ("mean", "mean"))
    ]
    for stress in results[0]["stresses"]:
        found = [
            next((s["mean"] for s in r["stresses"] if s["name"] == stress["name"]), None)
            for r in results
        ]
        if all(found):
            rows.append((stress["name"], found))
    for name, values in rows:
        apart = [v["balanced_accuracy"] for v in values]
        print(
            f"| {name} | "
            + " | ".join(" / ".join(f"{v[m]:.3f}" for v in values) for m in wanted)
            + " | "
            f"{max(apart) - min(apart):.3f} |"
        )


def main() -> None:
    """Parse, and run one of the three."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for job, text in ((splits, "write the natural splits"), (sheet, "draw every stress")):
        command = commands.add_parser(job.__name__, help=text)
        command.add_argument("--data", required=True, metavar="DIR")
        command.add_argument("--out", required=True)
        command.add_argument(
            "--resize",
            default="squash",
            choices=("crop", "pad", "squash"),
            help="how the cache is made (default: squash)",
        )
        command.add_argument("--seed", type=int, default=0)
        command.set_defaults(job=job)
        if job is splits:
            command.add_argument(
                "--share",
                type=float,
                default=0.18,
                help="of each family that becomes test (default: 0.18)",
            )
    command = commands.add_parser("compare", help="set several shift.json side by side")
    command.add_argument("files", nargs="+", metavar="SHIFT.json")
    command.add_argument(
        "--names", help="of the models, separated by commas (default: their folders' names)"
    )
    command.set_defaults(job=compare)
    given = parser.parse_args()
    given.job(given)


if __name__ == "__main__":
    main()
