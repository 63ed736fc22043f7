"""Classifiers: the named points for every backbone row, one step, saved and answering alike in a
new process.
"""

import subprocess
import sys

import keras
import numpy as np
import pytest

from xray_tf.nets.classifier import (
    POINTS,
    build_classifier,
    derive,
    head_of,
    seeded,
    sum_of_sick,
)
from xray_tf.nets.inference import forward
from xray_tf.nets.keras_file import in_float32, load_model, save_model
from xray_tf.nets.training.devices import policy
from xray_tf.nets.training.objective import StagewiseAdamW, loss_net
from xray_tf.options import ModelOptions, TrainOptions
from xray_tf.registry import BACKBONES, TASKS

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
IMAGES = PIXELS[..., None].astype(np.float32)


def build(backbone="tiny", classes="binary", **more):
    return build_classifier(
        ModelOptions(backbone=backbone, weights=None, image_size=32, region="whole", **more),
        TASKS[classes].class_names,
        seed=3,
    )


def test_every_backbone_row_is_built_learns_a_step_is_saved_and_answers_alike_in_a_new_process(
    tmp_path,
):
    expected = {}
    for number, backbone in enumerate(BACKBONES):
        task = list(TASKS)[number % 2]
        model = build(backbone, task, adapter=number % 2 == 1)
        assert all(model.get_layer(point) for point in POINTS)
        before = model.get_layer("logits").get_weights()[0]
        net = loss_net(model, TrainOptions(augment="light"), (1.0,) * len(TASKS[task].class_names))
        net.compile(
            optimizer=StagewiseAdamW(learning_rate=1e-3),
            loss=lambda target, loss: keras.ops.mean(loss),
            run_eagerly=True,
        )
        target = (
            np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
            if task == "three-class"
            else np.array([[0], [1], [1], [0]], np.float32)
        )
        assert np.isfinite(net.train_on_batch([IMAGES, target], target))
        assert np.abs(model.get_layer("logits").get_weights()[0] - before).max() > 0
        save_model(model, tmp_path / f"{backbone}.keras")
        expected[backbone] = np.asarray(model(IMAGES, training=False))
        keras.backend.clear_session()
    np.savez(tmp_path / "expected.npz", images=IMAGES, **expected)
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom xray_tf.nets.keras_file "
        "import load_model\n"
        "folder = Path(sys.argv[1]); e = np.load(folder / 'expected.npz')\n"
        "for path in sorted(folder.glob('*.keras')):\n"
        "    np.testing.assert_allclose(np.asarray(load_model(path)(e['images'], "
        "training=False)), e[path.stem], atol=1e-6)\n"
        "    print(path.stem)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.stdout.split() == sorted(BACKBONES), done.stderr[-2000:]


@pytest.mark.parametrize(("task", "width"), [("binary", 1), ("three-class", 3)])
def test_points_have_their_shapes_and_probability_follows_from_logits(task, width):
    points = forward(
        build(classes=task),
        PIXELS,
        points=("features", "embedding", "logits", "probability"),
        batch_size=3,
    )
    assert (
        points["features"].shape[0] == 4
        and points["embedding"].shape == (4, 16)
        and points["logits"].shape == (4, width)
    )
    np.testing.assert_allclose(
        points["embedding"], points["features"].mean((1, 2)), rtol=1e-4, atol=1e-5
    )
    logits = points["logits"].astype(np.float64)
    want = (
        1 / (1 + np.exp(-logits))
        if width == 1
        else np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    )
    np.testing.assert_allclose(points["probability"], want, atol=1e-6)


def test_forward_keeps_the_order_asked_for_and_counts_progress():
    model, counts = build(), []
    some = forward(model, PIXELS, [2, 0, 3], batch_size=2, progress=counts.append)["logits"]
    np.testing.assert_allclose(some, forward(model, PIXELS)["logits"][[2, 0, 3]], atol=1e-5)
    assert counts == [2, 1]


def test_the_head_on_stored_embeddings_is_the_models_own():
    model = build()
    points = forward(model, PIXELS, points=("embedding", "logits"))
    np.testing.assert_allclose(
        head_of(model).predict_on_batch(points["embedding"]), points["logits"], atol=1e-5
    )


def test_the_seed_decides_the_weights_and_other_random_streams_are_left_alone():
    import random

    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), np.random.random())
    random.seed(1)
    np.random.seed(1)
    first, again = build().get_weights(), build().get_weights()
    with seeded(9):
        pass
    assert (random.random(), np.random.random()) == expected
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = build_classifier(
        ModelOptions("tiny", weights=None, image_size=32, region="whole"),
        TASKS["binary"].class_names,
        seed=4,
    ).get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_mixed_precision_model_is_saved_in_float32_with_its_weights(tmp_path):
    with policy("mixed_bfloat16"):
        model = build()
    plain = in_float32(model)
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
    save_model(model, tmp_path / "m.keras")
    np.testing.assert_allclose(
        load_model(tmp_path / "m.keras").predict_on_batch(IMAGES),
        plain.predict_on_batch(IMAGES),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        plain.predict_on_batch(IMAGES), model.predict_on_batch(IMAGES), atol=0.05
    )


def test_a_missing_point_names_those_that_are_there():
    with pytest.raises(ValueError, match="no layer named \\['neck'\\].*embedding"):
        derive(build(), "neck")


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        build_classifier(ModelOptions(weights=None, region="whole"), ("normal",))


def test_a_layer_that_is_not_stock_is_not_saved(tmp_path):
    class Odd(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((4,))
    with pytest.raises(ValueError, match="Odd"):
        save_model(keras.Model(image, Odd()(image)), tmp_path / "m.keras")


def test_the_sum_of_sick_classes_is_their_probability_together(tmp_path):
    model = build(classes="three-class")
    dense = model.get_layer("logits")
    dense.set_weights([np.random.default_rng(0).normal(0, 2, w.shape) for w in dense.get_weights()])
    images = np.random.default_rng(1).uniform(0, 255, (9, 32, 32, 1)).astype(np.float32)
    three = model.predict(images, verbose=0)
    summed = sum_of_sick(model)
    np.testing.assert_allclose(summed.predict(images, verbose=0)[:, 0], 1 - three[:, 0], atol=1e-6)
    points = derive(summed, "subtype_logits", "embedding", "logits").predict(images, verbose=0)
    np.testing.assert_allclose(
        points[0], derive(model, "logits").predict(images, verbose=0), atol=1e-5
    )
    np.testing.assert_allclose(head_of(summed).predict(points[1], verbose=0), points[2], atol=1e-5)
    save_model(summed, tmp_path / "m.keras")
    opened = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(opened.predict(images, verbose=0)[:, 0], 1 - three[:, 0], atol=1e-6)


def test_two_classes_cannot_be_added_up():
    with pytest.raises(ValueError, match="classifier of 2 classes"):
        sum_of_sick(build())
