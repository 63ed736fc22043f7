"""xray-tf to-dicom FILES... --out DIR [--example]

Make DICOM files of JPEG or PNG radiographs, with synthetic identifiers.

FILES are files, folders or globs, or the word phantom:N, which draws N synthetic radiographs;
--example takes the twelve radiographs that travel with the package instead. The new folder --out
holds 0001.dcm and so on, each a study of its own: CR, chest, AP, on the first of January 2000. The
same radiograph always gets the same identifiers. Needs the extra clinic.

Examples:
  xray-tf to-dicom --example --out runs/dicom
  xray-tf to-dicom phantom:6 --out runs/dicom
  xray-tf to-dicom scan.jpeg chest_xray/ --out runs/dicom
"""

from __future__ import annotations

from collections.abc import Sequence

from xray_tf.commands import UNREAD, CommandParser, add_shared, finished
from xray_tf.data.examples import example_radiographs
from xray_tf.exit_status import run


def main(args: Sequence[str] | None = None) -> int:
    """Parse, convert, and say where the files are."""
    parser = CommandParser(__doc__)
    add_shared(parser, "files", nargs="*", help="files, folders or globs, or phantom:N")
    add_shared(parser, "--out")
    parser.add_argument(
        "--example",
        action="store_true",
        help="convert the twelve radiographs that travel with the package, instead of FILES",
    )
    given = parser.parse_args(args)
    if given.example == bool(given.files):
        parser.error("give FILES, or --example for the radiographs that travel with the package")
    files = example_radiographs() if given.example else given.files

    def job() -> int:
        from xray_tf.clinic.to_dicom import to_dicom

        written, failed = to_dicom(files, given.out)
        print(finished(written, {UNREAD: failed}, given.out))
        return 0

    return run(job)


if __name__ == "__main__":
    raise SystemExit(main())
