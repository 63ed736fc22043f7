"""Draw docs/clinic.png: a study in Orthanc with the series that were added, and the picture added.

python docs/clinic_picture.py

It needs Orthanc with its DICOMweb plugin and Chromium (Debian orthanc, orthanc-dicomweb, chromium).
The radiograph is the first bacterial pneumonia of the examples, whatever the answer is, and
its identifiers are synthetic.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from listener import Orthanc  # noqa: E402

from xray_tf.clinic.to_dicom import to_dicom  # noqa: E402
from xray_tf.clinic.write_objects import write_objects  # noqa: E402
from xray_tf.data.examples import example_radiographs  # noqa: E402

WINDOW = (1290, 760)  # of the browser, pixels
WIDE = 980  # pixels of the picture
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


def store(orthanc: Orthanc, path: Path) -> str:
    """Put a DICOM file into Orthanc; return its study there."""
    address = f"http://127.0.0.1:{orthanc.http}/instances"
    request = urllib.request.Request(address, data=path.read_bytes(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["ParentStudy"]


def screenshot(address: str, place: Path) -> np.ndarray:
    """Return a page as pixels (H, W, 3) uint8 BGR."""
    line = ["chromium", *QUIET, f"--user-data-dir={place / 'profile'}"]
    line += [f"--window-size={WINDOW[0]},{WINDOW[1]}", "--virtual-time-budget=15000"]
    line += [f"--screenshot={place / 'page.png'}", address]
    subprocess.run(line, check=True, capture_output=True, timeout=240)
    return cv2.imread(str(place / "page.png"))


def main() -> None:
    """Fill an Orthanc, take the picture of its page, and set the added picture below it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        to_dicom(example_radiographs("bacterial")[:1], place / "dicom", progress=False)
        (source,) = (place / "dicom").iterdir()
        write_objects(None, [source], place / "objects", progress=False)
        orthanc = Orthanc(place / "orthanc")
        try:
            orthanc.start()
            for path in (source, *sorted((place / "objects").iterdir())):
                study = store(orthanc, path)
            address = f"http://127.0.0.1:{orthanc.http}/app/explorer.html#study?uuid={study}"
            page = screenshot(address, place)
            shown = [r for r in orthanc.instances() if r["00080060"]["Value"] == ["OT"]]
            found = orthanc.get(f"/studies/{study}/instances")
            uid = shown[0]["00080018"]["Value"][0]
            name = next(i["ID"] for i in found if i["MainDicomTags"]["SOPInstanceUID"] == uid)
            with urllib.request.urlopen(
                f"http://127.0.0.1:{orthanc.http}/instances/{name}/preview", timeout=30
            ) as answer:
                picture = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
        finally:
            orthanc.stop()
    rows = np.flatnonzero((page != page[-1, -1]).any(axis=(1, 2)))
    page = page[: rows[-1] + 12]
    wide = max(page.shape[1], picture.shape[1])
    both = [
        np.pad(p, [(0, 0), (0, wide - p.shape[1]), (0, 0)], constant_values=255)
        for p in (page, picture)
    ]
    whole = np.vstack(both)
    whole = cv2.resize(whole, (WIDE, round(WIDE * len(whole) / wide)), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(HERE / "clinic.png"), whole, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
