"""python -m xray_tf.audit --data DIR [--out DIR]

Says what is wrong with a data set before anything is trained on it: prints a readable summary. With
--out it leaves a new folder: audit.csv (one row a finding), summary.md (what was printed) and
records.csv (one row a usable radiograph: label, sub-type, patient, sha256, size, mode).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields

from xray_tf.commands import run
from xray_tf.options import DataOptions


def main(args: Sequence[str] | None = None) -> int:
    """Parse, audit, and print the summary."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.audit",
        description="Say what is wrong with a data set before anything is trained on it.",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="WHAT",
        help="a folder in Kaggle's layout, a .csv manifest, a MedMNIST .npz, phantom or kaggle",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="a new folder for audit.csv, summary.md and records.csv (default: print only)",
    )
    for item in fields(DataOptions):
        if item.name in ("source", "patient_key", "cache"):
            parser.add_argument(
                "--" + item.name.replace("_", "-"),
                default=item.default,
                choices=item.metadata["choices"],
                metavar=item.metadata["metavar"],
                help=item.metadata["help"]
                + (f" (default: {item.default})" if item.default else ""),
            )
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.artifact import new_folder, refuse_existing
        from xray_tf.jobs.audit_data import audit_records

        if given.out:
            refuse_existing(given.out)
        audit = audit_records(given.data, given.source, given.patient_key, given.cache)
        print(audit.text(), end="")
        if given.out:
            with new_folder(given.out) as folder:
                audit.findings.write_csv(folder / "audit.csv")
                audit.records.write_csv(folder / "records.csv")
                (folder / "summary.md").write_text(
                    audit.text(), encoding="utf-8", errors="surrogateescape"
                )
            print(f"\nFinished: {given.out}/ (audit.csv, summary.md, records.csv)")

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
