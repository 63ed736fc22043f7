"""xray-tf audit --data DATA [--out DIR] [options]

Report what is wrong with a data set before anything is trained on it.

Every file is read once, and the summary is printed: unreadable files, duplicates, labels that
contradict each other, and properties of the files that give the class away. With --out it is also
saved in a new folder: audit.csv (one row per finding), summary.md (what was printed) and
records.csv (one row per usable radiograph: label, sub-type, patient, sha256, size, mode).
With --acquisitions it also has acquisitions.png, ten radiographs of each group.

Examples:
  xray-tf audit --data chest_xray
  xray-tf audit --data manifest.csv --out runs/audit
  xray-tf audit --data chest_xray --acquisitions --out runs/audit
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import CommandParser, add_machine, add_shared, on_machine
from xray_tf.exit_status import run
from xray_tf.options import DataOptions, add_flags
from xray_tf.progress import printable


def main(args: Sequence[str] | None = None) -> int:
    """Parse, audit, and print the summary."""
    parser = CommandParser(__doc__)
    add_shared(parser, "--data")
    out_help = "a new folder for audit.csv, summary.md and records.csv (default: only print)"
    add_shared(parser, "--out", required=False, help=out_help)
    parser.add_argument(
        "--acquisitions",
        action="store_true",
        help="group radiographs by how they look outside the lungs, and name groups in which a "
        "class is rare (minutes for thousands of them)",
    )
    add_flags(parser, DataOptions, only=("source", "classes", "patient_key", "cache"))
    add_machine(parser)
    given = parser.parse_args(args)

    def job() -> None:
        from xray_tf.artifact import new_folder
        from xray_tf.jobs.audit.audit_data import audit_records
        from xray_tf.jobs.heatmaps.heatmap_file import write_picture
        from xray_tf.writing import refuse_target

        if given.out:
            refuse_target(given.out)
        audit = audit_records(
            given.data, given.source, given.patient_key, given.cache, classes=given.classes
        )
        sheet = None
        if given.acquisitions:
            from xray_tf.jobs.audit.acquisitions import add_acquisitions

            audit, sheet = add_acquisitions(audit)
        print(printable(audit.text(), lines=True), end="")
        if given.out:
            with new_folder(given.out) as folder:
                audit.findings.write_csv(folder / "audit.csv")
                audit.records.write_csv(folder / "records.csv")
                (folder / "summary.md").write_text(
                    audit.text(), encoding="utf-8", errors="surrogateescape"
                )
                if sheet is not None:
                    write_picture(folder / "acquisitions.png", sheet)
            print(f"\nFinished: {given.out}/ (audit.csv, summary.md, records.csv)")

    return run(on_machine(given, job))


if __name__ == "__main__":
    raise SystemExit(main())
