"""The exported graph: what Python answers, from bytes and from pixels, without Keras or xray_tf."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from xray_tf.artifact import Card
from xray_tf.data.pixels.decoding import DECODING_RULE, decode
from xray_tf.data.pixels.square import RESIZE_MODES, resize_pixels
from xray_tf.nets import serving, serving_files
from xray_tf.nets.heatmaps.gradcam import GradCAM
from xray_tf.nets.serving import ParityError, check_parity, export_serving
from xray_tf.operating_point import OperatingPoint

ORIGINALS = Path(__file__).parents[3] / "shared" / "data" / "originals"
SIZE = 32
TEMPERATURE = 1.7


def image_of(seed, height, width):
    return cv2.GaussianBlur(
        np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8), (5, 5), 0
    )


def small_net(logits):
    """Two blocks with the points' names, and logits wide enough apart that decisions differ."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    for filters in (8, 64):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(256, 3, padding="same")(x)
    x = keras.layers.Identity(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Dense(
        logits,
        kernel_initializer=keras.initializers.RandomNormal(stddev=20.0, seed=1),
        name="logits",
    )(x)
    x = keras.layers.Activation("sigmoid" if logits == 1 else "softmax", name="probability")(x)
    return keras.Model(image, x)


def card_of(classes, resize="crop", point=None, **changes):
    names = ("normal", "pneumonia") if classes == 2 else ("normal", "bacterial", "viral")
    point = point or ({"threshold": 0.45} if classes == 2 else {"offsets": [-0.4, 0.3, 0.1]})
    preprocessing = {"image_size": SIZE, "resize": resize, "decoding": DECODING_RULE}
    return replace(
        Card(
            "classifier",
            "small",
            "binary" if classes == 2 else "three-class",
            names,
            preprocessing,
            TEMPERATURE,
            {
                "other": OperatingPoint("other", threshold=0.0),
                "balanced": OperatingPoint("balanced", "test", **point),
            },
            "balanced",
        ),
        **changes,
    )


def python_answer(model, squares, point=None):
    """The outputs by NumPy from Keras's own forward pass over (N, S, S) uint8."""
    points = keras.Model(
        model.input, [model.get_layer("embedding").output, model.get_layer("logits").output]
    )
    embedding, logits = (
        np.asarray(x) for x in points(squares[..., None].astype(np.float32), training=False)
    )
    scaled = logits.astype(np.float64) / TEMPERATURE
    scaled = np.hstack([np.zeros_like(scaled), scaled]) if scaled.shape[1] == 1 else scaled
    probability = np.exp(scaled - scaled.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    answer = {"probability": probability, "logits": logits, "embedding": embedding}
    if point and point.threshold is not None:
        answer["decision"] = (probability[:, 1] >= point.threshold).astype(int)
    elif point:
        answer["decision"] = np.argmax(np.log(probability) + point.offsets, 1)
    return answer


def dividing_point(probability):
    """An operating point that puts the rows into several classes, else two wrong answers could
    agree; between rows, for one on the border goes either way.
    """
    if probability.shape[1] == 2:
        return {"threshold": float(np.sort(probability[:, 1])[3:5].mean())}
    scores = np.log(probability)
    offsets = -np.sort(scores, axis=0)[3:5].mean(axis=0)
    first, second = np.sort(scores + offsets)[:, :-3:-1].T
    assert (first - second).min() > 1e-3
    return {"offsets": offsets.tolist()}


IMAGES = np.stack([image_of(20 + i, 50, 71) for i in range(9)])


@pytest.fixture(
    scope="module", params=["one logit, crop", "three logits, pad", "two logits, squash"]
)
def exported(request, tmp_path_factory):
    """(model, card, folder) of each kind of head, each with another resize mode."""
    head, resize = request.param.split(", ")
    logits = {"one logit": 1, "two logits": 2, "three logits": 3}[head]
    model = small_net(logits)
    squares = np.stack([resize_pixels(image, SIZE, resize) for image in IMAGES])
    card = card_of(
        max(2, logits), resize, dividing_point(python_answer(model, squares)["probability"])
    )
    folder = tmp_path_factory.mktemp("saved") / "saved_model"
    export_serving(model, folder, card)
    return model, card, folder


@pytest.fixture(scope="module")
def served(exported):
    """What TensorFlow makes of the exported folder, opened once."""
    return tf.saved_model.load(exported[2])


SHAPES = [
    (".jpg", 90, 70),
    (".png", 40, 51),
    (".jpg", 40, 33),
    (".png", 20, 24),
    (".jpg", 300, 128),
    (".png", 32, 32),
]
FILES = [
    cv2.imencode(suffix, image_of(i, height, width))[1].tobytes()
    for i, (suffix, height, width) in enumerate(SHAPES)
]


def test_bytes_and_pixels_of_any_size_are_answered_as_python_does(exported, served):
    model, card, _ = exported
    resize = card.preprocessing["resize"]
    squares, point = (
        np.stack([resize_pixels(image, SIZE, resize) for image in IMAGES]),
        card.operating_points["balanced"],
    )
    cases = {
        "pixels at model size": (served.pixels(squares), squares, 1e-5),
        "pixels of another size": (served.pixels(IMAGES), squares, 1e-2),
        "bytes": (served.encoded(FILES), np.stack([decode(f, SIZE, resize) for f in FILES]), 1e-2),
        "signature": (served.signatures["pixels"](pixels=tf.constant(squares)), squares, 1e-5),
        "serving_default": (
            served.signatures["serving_default"](encoded=tf.constant(FILES[5:])),
            decode(FILES[5], SIZE, resize)[None],
            1e-5,
        ),
    }
    decisions = set()
    for name, (answer, same, tolerance) in cases.items():
        expected = python_answer(model, same, point)
        assert set(answer) == set(expected), name
        for key, values in expected.items():
            actual = answer[key].numpy()
            assert actual.shape == values.shape and actual.dtype == (
                np.int64 if key == "decision" else np.float32
            ), (name, key)
            if key == "probability":
                np.testing.assert_allclose(actual, values, atol=tolerance, err_msg=name)
        if tolerance == 1e-5:
            np.testing.assert_array_equal(answer["decision"], expected["decision"])
            np.testing.assert_allclose(
                answer["embedding"], expected["embedding"], rtol=1e-4, atol=1e-5
            )
            np.testing.assert_allclose(answer["logits"], expected["logits"], rtol=1e-4, atol=1e-4)
            decisions |= set(expected["decision"].tolist())
    assert len(decisions) == len(card.class_names)


def test_weights_are_stored_once(exported):
    model, _, folder = exported
    stored = sum(p.stat().st_size for p in (folder / "variables").iterdir())
    assert model.count_params() * 4 < stored < 1.05 * model.count_params() * 4
    assert (
        folder / "saved_model.pb"
    ).stat().st_size < 500_000  # the graph holds no weights either, but a reader of JPEG scans


def test_the_endpoints_are_named(served):
    plain = {"probability", "decision", "logits", "embedding"}
    outputs = {
        name: set(signature.structured_outputs) for name, signature in served.signatures.items()
    }
    assert outputs == {
        **dict.fromkeys(("serving_default", "encoded", "pixels"), plain),
        **dict.fromkeys(("explain_encoded", "explain_pixels"), plain | {"heatmap", "explained"}),
    }


def test_the_decided_class_is_explained_as_grad_cam_does(exported, served):
    model, card, _ = exported
    explainer = GradCAM(model, "features")
    squares = np.stack(
        [resize_pixels(image, SIZE, card.preprocessing["resize"]) for image in IMAGES]
    )
    plain, answer = served.pixels(squares), served.explain_pixels(squares)
    for name, values in plain.items():
        np.testing.assert_allclose(answer[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    heat, explained = answer["heatmap"].numpy(), answer["explained"].numpy()
    assert (
        heat.shape == (len(IMAGES), SIZE, SIZE)
        and heat.dtype == np.float32
        and explained.dtype == np.int64
    )
    np.testing.assert_array_equal(explained, answer["decision"])
    assert (
        len(set(explained.tolist())) == len(card.class_names) and heat.any(axis=(1, 2)).sum() >= 3
    )
    np.testing.assert_allclose(heat, explainer(squares, explained), atol=1e-5)
    np.testing.assert_array_equal(
        served.signatures["explain_pixels"](pixels=tf.constant(squares))["heatmap"], heat
    )
    files = served.signatures["explain_encoded"](encoded=tf.constant(FILES[5:]))
    np.testing.assert_allclose(
        files["heatmap"],
        explainer(decode(FILES[5], SIZE, "crop")[None], files["explained"].numpy()),
        atol=1e-5,
    )
    for c in range(len(card.class_names)):
        named = served.explain_pixels(squares, tf.constant(c, tf.int64))
        assert (named["explained"].numpy() == c).all()
        np.testing.assert_allclose(named["heatmap"], explainer(squares, c), atol=1e-5)
    for c in (-2, len(card.class_names)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="class_index must be -1"):
            served.explain_pixels(squares, tf.constant(c, tf.int64))


def test_a_map_without_evidence_stays_empty_when_served(tmp_path):
    model = small_net(1)
    before = model.layers[model.layers.index(model.get_layer("features")) - 1]
    for layer in (model.get_layer("logits"), before):
        kernel, bias = layer.get_weights()
        # all >= 0 after the last ReLU: nothing speaks for normal
        layer.set_weights([np.abs(kernel), np.abs(bias)])
    export_serving(model, tmp_path / "saved_model", card_of(2))
    served = tf.saved_model.load(tmp_path / "saved_model")
    squares = np.stack([image_of(i, SIZE, SIZE) for i in range(3)])
    assert not served.explain_pixels(squares, tf.constant(0, tf.int64))["heatmap"].numpy().any()
    np.testing.assert_array_equal(
        served.explain_pixels(squares, tf.constant(1, tf.int64))["heatmap"]
        .numpy()
        .max(axis=(1, 2)),
        1.0,
    )


def test_no_radiograph_gives_no_answer(served):
    one = served.explain_pixels(image_of(0, 40, 50)[None])
    for answer in (
        served.pixels(np.zeros((0, 40, 50), np.uint8)),
        served.encoded(tf.constant([], tf.string)),
        served.explain_pixels(np.zeros((0, SIZE, SIZE), np.uint8)),
        served.explain_encoded(tf.constant([], tf.string)),
        served.signatures["serving_default"](encoded=tf.constant([], tf.string)),
    ):
        assert {k: (0, *one[k].shape[1:]) for k in answer} == {
            k: tuple(v.shape) for k, v in answer.items()
        }


def test_a_service_needs_neither_keras_nor_xray_tf(tmp_path):
    model = small_net(1)
    export_serving(model, tmp_path / "saved_model", card_of(2))
    (tmp_path / "radiograph.jpeg").write_bytes(FILES[0])
    script = """
import json, sys
sys.modules["keras"] = sys.modules["tf_keras"] = sys.modules["xray_tf"] = None
import tensorflow as tf
served = tf.saved_model.load("saved_model")
answer = served.explain_encoded([open("radiograph.jpeg", "rb").read()])
print(json.dumps({key: value.numpy().tolist() for key, value in answer.items()}))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    answer, square = json.loads(run.stdout), decode(FILES[0], SIZE, "crop")[None]
    np.testing.assert_allclose(
        answer["probability"], python_answer(model, square)["probability"], atol=1e-2
    )
    np.testing.assert_allclose(
        answer["heatmap"], GradCAM(model)(square, answer["explained"]), atol=2e-2
    )


def test_a_net_of_mixed_precision_is_exported_in_float32(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = small_net(1)
    finally:
        keras.config.set_dtype_policy(policy)
    plain = small_net(1)
    plain.set_weights(mixed.get_weights())
    export_serving(mixed, tmp_path / "saved_model", card_of(2))
    squares = np.stack([image_of(i, SIZE, SIZE) for i in range(4)])
    served = tf.saved_model.load(tmp_path / "saved_model")
    answer = served.pixels(squares)
    np.testing.assert_allclose(
        answer["logits"], python_answer(plain, squares)["logits"], rtol=1e-4, atol=1e-4
    )
    half = keras.Model(mixed.input, mixed.get_layer("logits").output)(
        squares[..., None], training=False
    )
    # float32 it is, not bfloat16
    assert np.abs(answer["logits"] - tf.cast(half, tf.float32)).max() > 1e-3


# ---- the graph's decoding rule


@pytest.fixture(scope="module")
def graph_decode():
    """(bytes, size, resize) -> (size, size) uint8 by the graph, each traced once."""
    traced = {}

    def run(data, size, resize):
        if (size, resize) not in traced:
            decode_one, _ = serving_files.decoder(size, resize)
            traced[size, resize] = tf.function(
                decode_one,
                input_signature=[tf.TensorSpec([], tf.string)],
            )
        square = traced[size, resize](data).numpy()
        assert np.array_equal(square, square.astype(np.uint8))  # whole grey levels in [0, 255]
        return square.astype(np.uint8)

    return run


def assert_alike(actual, expected, message="", most=0.005):
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() <= most, (
        message,
        difference.max(),
        (difference > 0).mean(),
    )


@pytest.mark.parametrize("resize", RESIZE_MODES)
def test_the_graph_resizes_as_the_rule_does(graph_decode, resize):
    for i, (height, width) in enumerate(
        [
            (32, 32),
            (50, 70),
            (71, 33),
            (20, 30),
            (16, 90),
            (64, 64),
            (65, 131),
            (63, 200),
            (33, 32),
            (400, 17),
        ]
    ):
        for suffix in (".png", ".jpg"):
            data = cv2.imencode(suffix, image_of(i, height, width))[1].tobytes()
            assert_alike(
                graph_decode(data, SIZE, resize),
                decode(data, SIZE, resize),
                (height, width, suffix),
            )


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_the_graph_decodes_every_mode_as_the_rule_does(graph_decode):
    grey = Image.fromarray(image_of(0, 40, 44))
    colour = Image.merge(
        "RGB", [grey, grey.rotate(180), grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    )
    clear = Image.merge("RGBA", [*colour.split(), grey])
    exif = Image.Exif()
    exif[0x0112] = 6
    table = {
        "progressive": saved(colour, "JPEG", progressive=True),
        "4:4:4": saved(colour, "JPEG", subsampling=0),
        "turned by EXIF": saved(grey, "JPEG", exif=exif),
        "JPEG with a tail": saved(grey, "JPEG") + b"tail",
        "RGB as stored": saved(colour, "JPEG", keep_rgb=True),
        "PNG RGB": saved(colour, "PNG"),
        "PNG RGBA": saved(clear, "PNG"),
        "PNG LA": saved(clear.convert("LA"), "PNG"),
        "PNG palette": saved(colour.quantize(16), "PNG"),
        "PNG clear palette": saved(colour.quantize(16), "PNG", transparency=3),
        "PNG one bit": saved(grey.convert("1"), "PNG"),
        "PNG 16 bits": cv2.imencode(".png", np.asarray(grey).astype(np.uint16) * 257 + 200)[
            1
        ].tobytes(),
        "PNG turned by EXIF": saved(grey, "PNG", exif=exif),
    }
    for name, data in table.items():
        assert_alike(graph_decode(data, SIZE, "pad"), decode(data, SIZE, "pad"), name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_graph_turns_a_file_upright_as_the_rule_does(graph_decode, kind):
    grey = Image.fromarray(image_of(3, 40, 70))
    squares = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0100], exif[0x0112] = 70, orientation
        data = saved(grey, kind, exif=exif)
        squares.append(graph_decode(data, SIZE, "pad"))
        assert_alike(squares[-1], decode(data, SIZE, "pad"), orientation)
    assert len({square.tobytes() for square in squares}) == 8


def deep(bits):
    image = cv2.resize(image_of(4, 60, 60), (120, 120)).astype(np.uint16)
    return cv2.imencode(".png", image << bits - 8)[1].tobytes()


def spoilt(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def animated():
    stream = io.BytesIO()
    frames = [Image.fromarray(image_of(i, 40, 44)) for i in range(2)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


PLAIN_PNG = cv2.imencode(".png", image_of(5, 60, 60))[1].tobytes()
PLAIN_JPEG = cv2.imencode(".jpg", image_of(5, 60, 60))[1].tobytes()
REFUSED = {
    "12 bits in 16": deep(12),
    "13 bits in 16": deep(13),
    "14 bits in 16": deep(14),
    "one grey level": cv2.imencode(".png", np.full((60, 60), 90, np.uint8))[1].tobytes(),
    "0 and 1": cv2.imencode(".png", (image_of(5, 60, 60) > 128).astype(np.uint8))[1].tobytes(),
    "0 to 15": cv2.imencode(".png", image_of(5, 60, 60) // 16)[1].tobytes(),
    "animated PNG": animated(),
    "PNG without an end": PLAIN_PNG[:-12],
    "PNG with a spoilt byte": spoilt(PLAIN_PNG, 60),
    "JPEG cut": PLAIN_JPEG[:-200],
    "JPEG coded arithmetically": PLAIN_JPEG.replace(b"\xff\xc0", b"\xff\xc9"),
    "lossless JPEG": PLAIN_JPEG.replace(b"\xff\xc0", b"\xff\xc3"),
    "TIFF": cv2.imencode(".tif", image_of(5, 60, 60))[1].tobytes(),
    "WebP": cv2.imencode(".webp", image_of(5, 60, 60))[1].tobytes(),
    "GIF": saved(Image.fromarray(image_of(5, 60, 60)), "GIF"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_python_and_the_graph_refuse_the_same(graph_decode, name):
    with pytest.raises(ValueError):
        decode(REFUSED[name], SIZE, "squash")
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph_decode(REFUSED[name], SIZE, "squash")


@pytest.mark.skipif(
    not ORIGINALS.is_dir(), reason="needs the real radiographs of ../shared/data/originals"
)
def test_real_radiographs_decode_alike(graph_decode):
    files = sorted(ORIGINALS.glob("*/*"))[::9]
    assert len(files) >= 20
    for resize in RESIZE_MODES:
        squares = [
            (graph_decode(file.read_bytes(), 224, resize), decode(file.read_bytes(), 224, resize))
            for file in files
        ]
        for file, (actual, expected) in zip(files, squares, strict=True):
            assert_alike(actual, expected, (file.name, resize), most=0.002)
        # exact ties, of which some sizes have many
        assert np.median([(actual != expected).sum() for actual, expected in squares]) <= 1


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "JPEG or PNG"),
        (b"Patient: anonymous", "JPEG or PNG"),
        (cv2.imencode(".bmp", image_of(0, 32, 32))[1].tobytes(), "JPEG or PNG"),
        (FILES[0][:-400], "(?i)jpeg"),
        (FILES[1][:-400], "(?i)png"),
        (saved(Image.new("CMYK", (60, 40)), "JPEG"), "(?i)jpeg"),
        (cv2.imencode(".png", image_of(0, 1, 1))[1].tobytes(), "no side below 16"),
        (
            FILES[1][:16] + (100_000).to_bytes(4, "big") * 2 + FILES[1][24:],
            "at most 100,000,000 pixels",
        ),
    ],
    ids=["empty", "text", "bmp", "cut jpeg", "cut png", "cmyk", "one pixel", "huge"],
)
def test_the_graph_refuses_what_the_rule_refuses(graph_decode, data, message, recwarn):
    with pytest.raises(ValueError):
        decode(data, SIZE, "crop")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph_decode(data, SIZE, "crop")


# ---- refusals and parity


@pytest.mark.parametrize(
    "card, message",
    [
        (card_of(3), "1 logits.*viral"),
        (card_of(2, default_operating_point="none"), "default operating point must have.*'none'"),
        (card_of(2, point={"offsets": [0, 0, 0]}), "one offset per class"),
        (card_of(2, preprocessing={}), "must name image_size 32.*Received: {}"),
        (
            card_of(
                2, preprocessing={"image_size": 64, "resize": "crop", "decoding": DECODING_RULE}
            ),
            "image_size 32.*'image_size': 64",
        ),
        (
            card_of(
                2,
                preprocessing={"image_size": SIZE, "resize": "crop", "decoding": DECODING_RULE + 1},
            ),
            "decoding rule",
        ),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, card, message):
    with pytest.raises(ValueError, match=message):
        export_serving(small_net(1), tmp_path / "saved_model", card)
    assert not (tmp_path / "saved_model").exists()


def test_a_net_without_the_points_is_refused(tmp_path):
    image = keras.Input((SIZE, SIZE, 1), name="image")
    with pytest.raises(ValueError, match="embedding"):
        export_serving(
            keras.Model(image, keras.layers.Flatten()(image)), tmp_path / "saved_model", card_of(2)
        )


def test_parity_is_measured_and_a_difference_is_refused(exported, served, tmp_path, monkeypatch):
    model, card, folder = exported
    monkeypatch.setattr(tf.saved_model, "load", {str(folder): served}.__getitem__)  # opened once
    explainer = GradCAM(model, "features")
    pixels = np.stack([image_of(i, SIZE, SIZE) for i in range(serving.PARITY_BATCH + 2)])
    (tmp_path / "file.png").write_bytes(FILES[1])
    files = [tmp_path / "file.png", *FILES]

    def python(squares, classes):
        return {**python_answer(model, squares), "heatmap": explainer(squares, classes)}

    found = check_parity(folder, card, python, files, pixels)
    assert all(found[f"pixels{name}"] < 1e-5 for name in ("", "_embedding", "_heatmap"))
    assert all(found[f"encoded{name}"] < 1e-2 for name in ("", "_embedding", "_heatmap")) and (
        found["pixel_rows"],
        found["encoded_files"],
    ) == (len(pixels), 7)
    assert json.loads(json.dumps(found)) == found

    def wrong_on(chosen, name, by):  # only one row is wrong, and for pixels it is in the last batch
        def changed(squares, classes):
            answer = python(squares, classes)
            row = (squares == chosen).all((1, 2)).reshape(-1, *[1] * (answer[name].ndim - 1))
            return {**answer, name: answer[name] + np.where(row, by, 0.0)}

        return changed

    last, decoded = pixels[-1], decode(FILES[3], SIZE, card.preprocessing["resize"])
    for chosen, name, by, message in [
        (
            last,
            "probability",
            2e-4,
            "probability differs from Python's by 0.0002 on pixels; at most 0.0001",
        ),
        (pixels[0], "probability", np.nan, "by nan on pixels"),
        (decoded, "probability", 0.03, "on encoded; at most 0.01"),
        (last, "heatmap", 2e-4, "heatmap differs from Python's by 0.0002 on pixels"),
        (last, "embedding", 1.0, "embedding differs.* on pixels"),
        (decoded, "heatmap", 0.03, "heatmap differs.*on encoded"),
    ]:
        with pytest.raises(ParityError, match=message):
            check_parity(folder, card, wrong_on(chosen, name, by), files, pixels)
    for nothing in ((files, pixels[:0]), ([], pixels)):
        with pytest.raises(ValueError, match="at least one file and one row"):
            check_parity(folder, card, python, *nothing)
