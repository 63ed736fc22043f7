"""Whatever a Keras, scikit-learn or Jupyter user holds is read, and answers as its pixels do."""

import io

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.models.asked.pictures import as_stack, number_axis, paths_in, single

SIZE = {"height": 90, "width": 100}
STACK = np.stack([draw_phantom("bacterial", seed=i, patient=i, **SIZE).image for i in range(24)])
COLOUR = np.repeat(STACK[:3, ..., None], 3, axis=-1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three PNG files of the first three phantoms."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [str(folder / f"{i}.png") for i in range(3)]
    for path, image in zip(paths, STACK, strict=False):
        assert cv2.imwrite(path, image)
    return paths


def _bytes(path):
    with open(path, "rb") as stream:
        return stream.read()


def _dicom(image):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = meta[0x20002].value, meta[0x20003].value
    found.Modality, found.PhotometricInterpretation = "DX", "MONOCHROME2"
    found.Rows, found.Columns = image.shape
    found.SamplesPerPixel, found.PixelRepresentation = 1, 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 8, 8, 7
    found.PixelData = image.tobytes()
    return found


FORMS = {
    "a list of paths": lambda files: files,
    "an array of paths": np.array,
    "a series of paths": pd.Series,
    "a data frame": lambda files: pd.DataFrame({"path": files, "age": 3}),
    "(N, H, W)": lambda files: STACK[:3],
    "(N, H, W, 1)": lambda files: STACK[:3, ..., None],
    "(N, H, W, 3)": lambda files: COLOUR,
    "floats": lambda files: COLOUR.astype(np.float32),
    "int64": lambda files: STACK[:3].astype(np.int64),
    "a tensor": lambda files: tf.constant(COLOUR),
    "a list of arrays": lambda files: [STACK[0], STACK[1, ..., None], COLOUR[2]],
    "PIL images": lambda files: [Image.open(path) for path in files],
    "the bytes of files": lambda files: [_bytes(path) for path in files],
    "pydicom data sets": lambda files: [_dicom(image) for image in STACK[:3]],
    "a mixed list": lambda files: [files[0], Image.open(files[1]), COLOUR[2]],
    "a generator": lambda files: (image for image in STACK[:3]),
    "tf.data of pictures": lambda files: tf.data.Dataset.from_tensor_slices(COLOUR),
    "tf.data of batches with labels": lambda files: tf.data.Dataset.from_tensor_slices(
        (COLOUR.astype(np.float32), [0, 1, 1])
    ).batch(2),
    "tf.data of bytes": lambda files: tf.data.Dataset.from_tensor_slices(
        [_bytes(path) for path in files]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gets_the_answers_of_its_pixels(form, files, binary):
    table = binary.predict(FORMS[form](files))
    assert np.abs(table.probabilities - binary.predict(STACK[:3]).probabilities).max() < 1e-6
    assert len(table) == 3 and not any(table.errors)


SINGLE = {
    "(H, W)": STACK[0],
    "(H, W, 1)": STACK[0][..., None],
    "(H, W, 3)": COLOUR[0],
    "a PIL image": Image.fromarray(COLOUR[0]),
    "a DICOM data set": _dicom(STACK[0]),
}


@pytest.mark.parametrize("form", SINGLE)
def test_one_radiograph_is_predicted_and_read(form, binary):
    expected = binary.predict(STACK[:1]).probabilities
    for answer in (
        binary.predict(SINGLE[form]).probabilities[0],
        binary.read(SINGLE[form]).prediction.probabilities,
    ):
        assert np.abs(answer - expected).max() < 1e-6


def test_red_green_and_blue_become_grey_as_in_files(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "colour.png"), image[..., ::-1])
    expected = cv2.cvtColor(cv2.imread(str(tmp_path / "colour.png")), cv2.COLOR_BGR2GRAY)
    assert np.array_equal(single(image), expected)
    assert np.array_equal(single(Image.fromarray(image)), expected)


def test_a_pil_image_is_turned_upright_as_its_file_is(tmp_path, binary):
    picture, exif = Image.fromarray(STACK[0].T.copy()), Image.Exif()
    exif[0x0112] = 5
    picture.save(tmp_path / "turned.png", exif=exif)  # JPEG decoders differ by a grey level
    with Image.open(tmp_path / "turned.png") as opened:
        answers = binary.predict([opened, str(tmp_path / "turned.png")]).probabilities
    assert np.abs(answers[0] - answers[1]).max() < 1e-6


WRONG = {
    "pixels in [0, 1]": (STACK[:2] / 255.0, r"Scale pixels to \[0, 255\]"),
    "negative pixels": (STACK[:2] / 127.5 - 1, r"Scale pixels to \[0, 255\]"),
    "not a number": (np.full((2, 64, 64), np.nan), r"Scale pixels to \[0, 255\]"),
    "16 bits": (STACK[:2].astype(np.uint16) * 257, r"Scale pixels to \[0, 255\]"),
    "a PIL image of 16 bits": ([Image.fromarray(STACK[0].astype(np.uint16))], "must be of 8 bits"),
    "channels first": (np.moveaxis(COLOUR, -1, 1), "second axis looks like channels"),
    "four channels": (np.zeros((2, 64, 64, 4), np.uint8), "last axis looks like channels"),
    "five axes": (np.zeros((2, 2, 2, 64, 64), np.uint8), "Received: shape"),
    "nothing": ([], "no radiograph was given"),
    "an empty array": (np.zeros((0, 64, 64), np.uint8), "Received: shape"),
    "a number": (3, "Received: int"),
    "a list of numbers": ([3, 4], "Received: int"),
    "no path": (pd.DataFrame({"file": ["a.png"]}), "must have the column path"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_read_is_told(what, binary):
    images, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        binary.predict(images)


def test_a_data_frame_gets_one_row_for_each_of_its_own(files, binary):
    with pytest.raises(ValueError, match="3 rows, 2 files"):
        binary.predict(pd.DataFrame({"path": [files[0], files[1], files[0]]}))


def test_paths_are_told_from_everything_else(files):
    assert paths_in(files) == paths_in(np.array(files)) == paths_in(pd.Series(files)) == files
    for other in (STACK, [STACK[0]], [files[0], STACK[0]], b"\x89PNG", 3, [], tf.constant(STACK)):
        assert paths_in(other) is None


@pytest.mark.parametrize("count", [1, 2, 15, 16, 24])
def test_the_number_comes_first(count):
    assert as_stack(STACK[:count]) is not None and number_axis(STACK[:count]) == 0
    for axis in (1, 2) if count not in (1, 3, 4) else ():
        moved = np.moveaxis(STACK[:count], 0, axis)
        with pytest.raises(ValueError, match=rf"np.moveaxis\(images, {axis}, 0\)"):
            as_stack(moved)


def test_copies_noise_and_stripes_are_no_other_order():
    copies = np.stack([STACK[0]] * 20)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 40), np.uint8)
    stripes = np.tile(np.arange(40) % 2 * 255, (40, 40, 1)).astype(np.uint8)
    for images in (copies, noise, stripes, STACK[:, :, ::-1], STACK.transpose(0, 2, 1)):
        assert number_axis(images) == 0


def test_bytes_io_is_read_as_bytes(files, binary):
    data = io.BytesIO(_bytes(files[0])).getbuffer()
    assert binary.predict(data).probabilities.shape == (1, 2)
