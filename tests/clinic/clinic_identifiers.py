"""Look for planted identifiers in files, also inside archives and compressed pictures' metadata."""

import zipfile
from pathlib import Path

PLANTED_WORDS = (
    "Plantedname",
    "HOSP-4711",
    "20170319",
    "ACC-99-31",
    "Referrer",
    "Planted Hospital",
    "20210704",
    "081533",
    "ST-5512",
    "1.2.826.77",
)


def holding(folder: Path, words=PLANTED_WORDS) -> list[str]:
    """Return `file: word` for each file below a folder whose name or bytes hold a word, in UTF-8 or
    as NumPy stores text.
    """
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        said = str(path.relative_to(folder)).encode() + path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                said += b"".join(archive.read(name) for name in archive.namelist())
        for word in words:
            if any(word.encode(how) in said for how in ("utf-8", "utf-32-le", "utf-16-le")):
                found.append(f"{path.name}: {word}")
    return found
