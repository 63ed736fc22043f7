"""Take the README's picture: docs/first_screen.png, the page on one example radiograph, and
docs/first_screen.json with what it shows.

python docs/first_screen.py [--pictures DIR]

It is what `xray-tf predict FILE --report` writes, in a headless Chromium. The radiograph is the
first of the bacterial examples, whatever the answer is. DIR has the training radiographs, for the
neighbours' pictures where the model keeps none.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2

from xray_tf.data.examples import example_radiographs
from xray_tf.models.load import load, load_detector
from xray_tf.models.reader import PAGE, Reader, write_evidence

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=2000".split()
SIZE = 1180, 900  # pixels of the window: one screen


def main(args=None) -> None:
    """Read, take the picture, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], prog="python docs/first_screen.py"
    )
    parser.add_argument("--pictures", metavar="DIR", help="a folder with the training radiographs")
    given = parser.parse_args(args)
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    file = example_radiographs("bacterial")[0]
    reader = Reader(load(), data=given.pictures, detector=load_detector())
    row = reader.classifier.predict(file)[0]
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / PAGE, Path(folder) / "page.png"
        write_evidence(reader, [file], page)
        subprocess.run(
            [browser, *FLAGS, f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={shot}"]
            + [f"--user-data-dir={folder}/profile", page.as_uri()],
            check=True,
            capture_output=True,
        )
        picture = cv2.imread(str(shot))
    png = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    (HERE / "first_screen.png").write_bytes(png.tobytes())
    about = {
        "model": reader.classifier.card.name,
        "radiograph": file.name,
        "decided": row.predicted,
        "probabilities": row.probabilities,
    }
    (HERE / "first_screen.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
