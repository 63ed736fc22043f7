"""Python and the served graph read the same inputs alike and refuse the same others, as
docs/inputs.md says.

`python tests/nets/test_inputs.py` writes that page anew: after a kind of input was added, or what
is said of one was changed on purpose.
"""

import io
import re
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
if __name__ == "__main__":
    places = ("tests/data/pixels", "tests/nets", "")
    sys.path[:0] = [str(PAGE.parents[1] / place) for place in places]

import tensorflow as tf  # noqa: E402
from image_files import SIDE, arrays, jpegs, others, pngs, saved, smooth  # noqa: E402

from xray_tf.artifact import Card  # noqa: E402
from xray_tf.data.pixels.decoding import DECODING_RULE, decode, read_header  # noqa: E402
from xray_tf.data.pixels.header import DecodeError  # noqa: E402
from xray_tf.models.asked.pictures import as_stack, grey  # noqa: E402
from xray_tf.models.classifier import Classifier  # noqa: E402
from xray_tf.nets.serving import export_serving  # noqa: E402
from xray_tf.operating_point import OperatingPoint  # noqa: E402

HEAD = """# What is read, and what is refused

Each row is a file or an array that a test makes in memory and gives to Python (`predict`) and to
an exported SavedModel. Where both say *read*, their probabilities differ by less than 0.00001. The
test compares its answers with this page; `python tests/nets/test_inputs.py` writes the page anew.

A file is recognised by its first bytes, whatever its name. A refused file is a row with `error` in
`predict`, and a finding in `audit` and `train`; it never ends a run. The graph raises an error for
the whole batch, and gives the reason in its own words.

TIFF, BMP, WebP and other formats are refused by name. Convert them to PNG:
`python -c "import cv2; cv2.imwrite('x.png', cv2.imread('x.tif', cv2.IMREAD_UNCHANGED))"`. OpenCV
keeps 8 and 16 bits; scale samples of 12 bits to the whole range first, or the file is refused.
"""
DICOM_NOTE = """
The graph's `encoded` reads no DICOM. Where Python reads a file, `pixels` was given the grey pixels
that `xray_tf.data.pixels.dicom.decode_grey` makes of it.
"""
ARRAY_NOTE = """
Arrays were given to `predict`, and as tensors to the endpoint `pixels`, a single picture (H, W) as
(1, H, W). TensorFlow casts a NumPy array of another type to uint8 without a word: give tensors.
"""


def tiny_classifier(folder):
    """A net of two dense layers, whose answer depends on every part of the picture."""
    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.AveragePooling2D(4, name="features")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(8, name="embedding")(x)
    x = keras.layers.Dense(1, name="logits")(x)
    model = keras.Model(image, keras.layers.Activation("sigmoid", name="probability")(x))
    prep = {"image_size": SIDE, "resize": "squash", "decoding": DECODING_RULE}
    points = {"balanced": OperatingPoint("balanced", "test", threshold=0.5)}
    card = Card(
        "classifier", "tiny", "binary", ("normal", "pneumonia"), prep, 1.0, points, "balanced"
    )
    classifier = Classifier(folder, card)
    classifier.model = model
    return classifier


def with_its_graph(classifier):
    folder = classifier.folder / "saved_model"
    export_serving(classifier.model, folder, classifier.card)
    return classifier, tf.saved_model.load(folder)


def files():
    """(section, name, bytes) of every file."""
    sections = {"JPEG": jpegs(), "PNG": pngs(), "Neither JPEG, PNG nor DICOM": others()}
    for section, found in sections.items():
        yield from ((section, name, data) for name, data in found.items())
    dicom_files = pytest.importorskip("dicom_files")
    found = {n: data for n, (data, *_) in (dicom_files.VARIANTS | dicom_files.REFUSED).items()}
    yield from (("DICOM", name, data) for name, data in found.items())


def probability(classifier, squares):
    logits = classifier.forward(np.asarray(squares), batch_size=len(squares))["logits"]
    return classifier.probabilities_of(logits)[:, 1]


def served_answer(endpoint, values):
    """Probabilities (N,) of the graph, or None where it refuses."""
    try:
        return endpoint(values)["probability"].numpy()[:, 1]
    except (tf.errors.InvalidArgumentError, ValueError, TypeError):
        return None


def python_file(classifier, data):
    """(probability or None, what is said, grey pixels that were read)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's on damaged values
            header = read_header(data)
            square = decode(data, SIDE, "squash")
    except DecodeError as error:
        return None, f"`{error.kind}`: {error}", None
    said = f"{header.mode}, {header.width} x {header.height}"
    if header.orientation != 1:
        said += f", turned upright from orientation {header.orientation}"
    return probability(classifier, square[None]), said, square


def python_array(classifier, images):
    try:
        answer = classifier.predict(images)
    except ValueError as error:
        return None, str(error)[str(error).index("Received:") :]
    if answer.errors[0]:
        return None, "`{}`:{}".format(*answer.errors[0].split(":", 1))
    return answer.probabilities[:, 1], f"{len(answer)} row{'s' if len(answer) > 1 else ''}"


def plain_grey(images):
    """Whether an array is what the graph takes; Python makes others grey."""
    colour = images.ndim == 3 and images.shape[2] == 3
    return images.dtype == np.uint8 and images.ndim < 4 and not colour


def compared(classifier, served):
    """(section, name, Python, graph, said), and the rows where the two differ."""
    rows, differing = [], []

    def add(section, name, here, there, said, endpoint=""):
        alike = (here is None) == (there is None)
        if alike and here is not None:
            alike = here.shape == there.shape and np.abs(here - there).max() < 1e-5
        if not alike:
            differing.append((section, name, here, there, said))
        words = ["refused" if one is None else "read" for one in (here, there)]
        rows.append((section, name, words[0], words[1] + endpoint, said))

    for section, name, data in files():
        here, said, square = python_file(classifier, data)
        there = served_answer(served.encoded, tf.constant([data]))
        if section == "DICOM" and here is not None:
            assert there is None, name
            there = served_answer(served.pixels, square[None])
            add(section, name, here, there, said, " as `pixels`")
        else:
            add(section, name, here, there, said)
    for name, images in arrays().items():
        here, said = python_array(classifier, images)
        given, more = images[None] if images.ndim == 2 else images, ""
        if here is not None and not plain_grey(images):
            given, more = np.stack([grey(image) for image in as_stack(images)]), " as grey uint8"
        add("Arrays", name, here, served_answer(served.pixels, tf.constant(given)), said, more)
    return rows, differing


def cell(text):
    text = re.sub(r"[\d,]+ bytes", "... bytes", text)  # the encoder's, as is what is installed
    text = re.sub(r"(needs another package).*", r"\1.", text)
    text = re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 200 else text[:197].rstrip() + "..."


def page_of(rows):
    page, notes = io.StringIO(), {"DICOM": DICOM_NOTE, "Arrays": ARRAY_NOTE}
    page.write(HEAD)
    last = None
    for section, *cells in rows:
        if section != last:
            page.write(f"\n## {section}\n{notes.get(section, '')}\n")
            page.write(
                "| kind of input | Python | served graph | what is said |\n|---|---|---|---|\n"
            )
            last = section
        page.write(f"| {' | '.join(map(cell, cells))} |\n")
    return page.getvalue()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return compared(*with_its_graph(tiny_classifier(tmp_path_factory.mktemp("tiny"))))


def test_python_and_the_graph_give_the_same_answer_or_both_refuse(answers):
    rows, differing = answers
    assert not differing and len(rows) >= 120


def test_the_page_says_what_is_read_and_what_is_refused(answers):
    assert page_of(answers[0]) == PAGE.read_text(encoding="utf-8"), (
        "run python tests/nets/test_inputs.py, and look at what changed"
    )


@pytest.mark.parametrize("files_of", [jpegs, pngs])
def test_a_turned_file_is_answered_as_the_upright_one(tmp_path, files_of):
    classifier = tiny_classifier(tmp_path)
    found = files_of()
    upright, *turned = [
        probability(classifier, decode(found[f"EXIF orientation {n}"], SIDE, "squash")[None])
        for n in range(1, 9)
    ]
    # JPEG's blocks lie otherwise in a turned picture
    np.testing.assert_allclose(turned, [upright] * 7, atol=1e-2 if files_of is jpegs else 1e-6)
    sideways = decode(saved(smooth().T, "PNG"), SIDE, "squash")
    assert abs(probability(classifier, sideways[None]) - upright) > 0.03


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        found, wrong = compared(*with_its_graph(tiny_classifier(Path(place))))
    for row in wrong:
        print("DIFFERS", *row)
    PAGE.write_text(page_of(found), encoding="utf-8")
    print(f"{len(found)} rows written to {PAGE}, {len(wrong)} of them differing")
