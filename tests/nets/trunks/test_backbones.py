"""Every trunk is one flat graph of stock layers that scales pixels as its weights expect."""

import functools
import importlib
import importlib.util
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from xray_tf.nets.keras_file import save_model
from xray_tf.nets.trunks import weights as trunk_weights
from xray_tf.nets.trunks.backbones import APPLICATIONS, build_features, describe
from xray_tf.nets.trunks.stages import trunk_layers
from xray_tf.registry import BACKBONES


def grey_net(backbone, size=64, weights=None, **options):
    image = keras.Input((size, size, 1), name="image", dtype="float32")
    return keras.Model(image, build_features(image, backbone, weights, **options))


@functools.cache
def shared_net(backbone):
    """For tests that only look."""
    return grey_net(backbone)


def radiographs(count=2, size=64, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 1)).astype("float32")


def answers_of(model, images):
    return np.asarray(model(images))  # eager: compiling costs more than these images


def output_of(model, layer, images):
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_row_is_a_flat_stock_graph_that_reloads_to_the_same_answers(backbone, tmp_path):
    row = BACKBONES[backbone]
    model = grey_net(backbone, weights="imagenet" if row.file else None)
    assert model.output.shape == (None, 2, 2, row.embedding)
    assert model.get_layer("features").output is model.output
    for layer in model.operations:
        assert getattr(keras.layers, type(layer).__name__, None) is type(layer), layer.name
        assert re.fullmatch(r"[a-z0-9][a-z0-9_]*", layer.name), layer.name
    # The trunk's stages hold every layer once, in order, each beginning with a layer of its prefix
    # (after what prepares the pixels).
    stages = trunk_layers(model, backbone)
    names = [layer.name for stage in stages for layer in stage]
    assert sorted(names) == sorted(layer.name for layer in model.layers) and len(stages) == len(
        row.stages
    )
    for prefix, stage in zip(row.stages, stages, strict=True):
        assert next(layer for layer in stage if layer.weights).name.startswith(prefix + "_")
        assert not any(
            layer.name.startswith(tuple(p + "_" for p in row.stages if p != prefix))
            for layer in stage
        )
    images = radiographs()
    answers = answers_of(model, images)
    assert answers.std() > 1e-4  # alive, or the comparison would say nothing
    save_model(model, tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(answers_of(twin, images), answers)
    assert [[layer.name for layer in stage] for stage in trunk_layers(twin, backbone)] == [
        [layer.name for layer in stage] for stage in stages
    ]


@pytest.mark.parametrize(
    "backbone, module",
    [("resnet50", "resnet50"), ("MobileNetV2", "mobilenet_v2"), ("DenseNet121", "densenet")],
)
def test_pixels_are_scaled_as_keras_applications_scales_them(backbone, module):
    model, images = shared_net(backbone), radiographs()
    expected = importlib.import_module(f"keras.applications.{module}").preprocess_input(
        np.repeat(images, 3, axis=-1)
    )
    np.testing.assert_allclose(
        output_of(model, "preprocess", images), expected, atol=1e-5 * max(1, np.abs(expected).max())
    )


def test_efficientnet_divides_by_the_deviation_once_more_as_its_imagenet_graph_does():
    """Keras adds Rescaling(1/sqrt(deviation)) after Normalization only when it downloads the
    weights; ours is in front of both.
    """
    model, images = shared_net("EfficientNetB0"), radiographs()
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalization = next(
        layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)
    )
    normalization.set_weights([mean, deviation**2, np.array(0)])
    normalization.finalize_state()
    expected = (np.repeat(images, 3, axis=-1) / 255 - mean) / deviation / np.sqrt(deviation)
    np.testing.assert_allclose(output_of(model, normalization.name, images), expected, atol=1e-4)


def test_the_adapter_starts_as_the_exact_copy_and_learns():
    images = radiographs()
    with_adapter, without = (grey_net("resnet18", adapter=adapter) for adapter in (True, False))
    np.testing.assert_array_equal(
        output_of(with_adapter, "adapter", images), np.repeat(images, 3, axis=-1)
    )
    np.testing.assert_allclose(
        answers_of(with_adapter, images), answers_of(without, images), atol=1e-5
    )
    assert with_adapter.count_params() - without.count_params() == 3 * 3 * 3 + 3
    assert (
        with_adapter.get_layer("adapter") in trunk_layers(with_adapter, "resnet18")[0]
        and with_adapter.get_layer("adapter").trainable
    )


def test_standardising_makes_brightness_and_contrast_immaterial():
    model, images = grey_net("resnet18", standardize=True), radiographs()
    prepared = output_of(model, "standardize_rescale", images)
    np.testing.assert_allclose(prepared.mean(axis=(1, 2, 3)), 128, atol=0.01)
    np.testing.assert_allclose(prepared.std(axis=(1, 2, 3)), 50, atol=0.01)
    np.testing.assert_allclose(
        answers_of(model, images * 0.5 + 60), answers_of(model, images), rtol=1e-3, atol=1e-3
    )


def test_random_weights_follow_the_seed_alone():
    first, again, other = (grey_net("MobileNetV2", seed=seed) for seed in (0, 0, 1))
    kernels = [[w for w in model.get_weights() if w.ndim == 4] for model in (first, again, other)]
    for a, b, c in zip(*kernels, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert len({k.tobytes() for k in kernels[0]}) == len(kernels[0])  # no two layers share a draw


def test_any_size_is_accepted_when_none_is_given():
    model = grey_net("efficientnet_lite0", size=None)
    assert model(radiographs(1, 64)).shape == (1, 2, 2, 1280) and model(
        radiographs(1, 96)
    ).shape == (1, 3, 3, 1280)


@pytest.mark.parametrize(
    "backbone, shape, starts",
    [
        # the first layer with weights of every stage, read off the papers' tables of strides
        (
            "MobileNetV2",
            (2, 2, 1280),
            [
                "Conv1",
                "block_1_depthwise",
                "block_3_depthwise",
                "block_6_depthwise",
                "block_13_depthwise",
            ],
        ),
        (
            "VGG16",
            (2, 2, 512),
            ["block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"],
        ),
        (
            "DenseNet121",
            (2, 2, 1024),
            [
                "conv1_conv",
                "conv2_block1_0_bn",
                "conv3_block1_0_bn",
                "conv4_block1_0_bn",
                "conv5_block1_0_bn",
            ],
        ),
        (
            "EfficientNetB0",
            (2, 2, 1280),
            ["stem_conv", "block2a_dwconv", "block3a_dwconv", "block4a_dwconv", "block6a_dwconv"],
        ),
    ],
)
def test_a_trunk_without_a_row_is_cut_where_it_halves_the_map(backbone, shape, starts):
    model = grey_net(backbone, adapter=True) if backbone == "VGG16" else shared_net(backbone)
    assert model.output.shape[1:] == shape
    stages = trunk_layers(model, backbone)
    learning = [
        [
            x.name
            for x in stage
            if x.weights and x.name != "adapter" and not isinstance(x, keras.layers.Normalization)
        ]
        for stage in stages
    ]
    assert [names[0] for names in learning] == starts
    assert sorted(layer.name for stage in stages for layer in stage) == sorted(
        layer.name for layer in model.layers
    )


def test_features_stay_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = grey_net("efficientnet_lite0")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert (
        model.get_layer("preprocess").compute_dtype
        == model.get_layer("grey_to_three").compute_dtype
        == "float32"
    )
    assert model.output.dtype == "float32" and answers_of(model, radiographs()).dtype == np.float32


@pytest.mark.parametrize(
    "backbone, message",
    [
        (
            "resnet",
            "Unknown backbone. Did you mean 'ResNet50'.*Expected a row of the registry "
            "\\(efficientnet_lite0, resnet18, .*Received: backbone='resnet'",
        ),
        ("mobilenetv2", "Did you mean 'MobileNetV2'"),
        ("", "such as MobileNetV2, DenseNet121"),
        ("load_model", "Unknown backbone"),
        ("mobilenet", "Unknown backbone"),  # a module of keras.applications, no builder
        ("ConvNeXtTiny", "not stock Keras layers"),
        ("MobileNetV3Small", "not stock Keras layers"),
        ("InceptionResNetV2", "not stock Keras layers"),
    ],
)
def test_a_trunk_that_cannot_be_built_is_refused_with_the_names_that_can(backbone, message):
    with pytest.raises(ValueError, match=message):
        describe(backbone)


def test_the_table_of_applications_names_builders_that_exist_and_each_once():
    names = [name for group in APPLICATIONS.values() for name in group]
    assert len(set(names)) == len(names)
    assert all(callable(getattr(keras.applications, name)) for name in names)


def test_resnet18_gives_the_answers_of_the_keras_hub_resnet18_it_takes_over():
    keras_hub = pytest.importorskip("keras_hub")
    teacher = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    chance = np.random.default_rng(0)
    # batch norm must matter too
    teacher.set_weights(
        [chance.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in teacher.get_weights()]
    )
    model, images = grey_net("resnet18"), radiographs()
    trunk_weights.take_from_hub(
        [layer for stage in trunk_layers(model, "resnet18") for layer in stage], teacher
    )
    expected = answers_of(teacher, output_of(model, "preprocess", images))
    np.testing.assert_allclose(answers_of(model, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_saved_trunk_answers_alike_under_other_backends(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    model, images = grey_net("efficientnet_lite0", adapter=True, standardize=True), radiographs()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys, keras, numpy as np; from xray_tf.nets.trunks.backbones import "
        "build_features\n"
        "folder = sys.argv[1]; model = keras.saving.load_model(folder + '/model.keras', "
        "compile=False)\n"
        "np.save(folder + '/answers.npy', model.predict(np.load(folder + '/images.npy'), "
        "verbose=0))\n"
        "build_features(keras.Input((32, 32, 1), name='image'), 'resnet18', None, "
        "adapter=True)\n"
        "assert 'tensorflow' not in sys.modules or keras.backend.backend() != 'tensorflow'"
    )
    paths = os.pathsep.join(p for p in (os.getcwd(), *sys.path) if p)
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=True,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths},
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "answers.npy"), answers_of(model, images), atol=1e-4
    )
