"""ResNets take the files people have, and scale pixels exactly as the nets those files are of."""

import importlib
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from xray_tf.nets.trunks.backbones import build_features
from xray_tf.nets.trunks.weights import WeightsUnavailable
from xray_tf.registry import BACKBONES


def grey_net(backbone, weights=None):
    image = keras.Input((64, 64, 1), name="image", dtype="float32")
    return keras.Model(image, build_features(image, backbone, weights))


def randomised(model):
    """Give every weight, batch norm's included, a value of its own, such that signals keep their
    size through a hundred layers.
    """
    chance = np.random.default_rng(0)
    model.set_weights(
        [chance.uniform(0.5, 1.5, w.shape) if w.ndim < 2 else w for w in model.get_weights()]
    )
    return model


def prepared(model, images):
    return keras.Model(model.input, model.get_layer("preprocess").output)(images)


IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype("float32")


@pytest.mark.parametrize(
    ("backbone", "builder", "module", "layers"),
    [("resnet50", "ResNet50", "resnet50", 53), ("resnet101", "ResNet101", "resnet", 104)],
)
def test_pixels_and_the_file_that_keras_downloads_give_keras_applications_own_features(
    backbone, builder, module, layers, tmp_path
):
    donor = randomised(getattr(keras.applications, builder)(include_top=False, weights=None))
    path = tmp_path / f"{backbone}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:  # the layout of the files that keras.applications downloads
        legacy_h5_format.save_weights_to_hdf5_group(file, donor)
    model = grey_net(backbone, str(path))
    scaled = importlib.import_module(f"keras.applications.{module}").preprocess_input(
        np.repeat(IMAGES, 3, axis=-1)
    )
    np.testing.assert_allclose(np.asarray(prepared(model, IMAGES)), scaled, rtol=0, atol=1e-5)
    theirs = {layer.name: layer.get_weights() for layer in donor.layers if layer.weights}
    ours = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    assert ours.keys() == theirs.keys() and len(ours) == 2 * layers
    assert all(
        np.array_equal(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True)
    )
    if backbone == "resnet50":  # and so it computes alike, from the picture on
        features = np.asarray(donor(scaled))
        np.testing.assert_allclose(
            np.asarray(model(IMAGES)), features, rtol=1e-3, atol=1e-4 * np.abs(features).max()
        )


def test_resnet18_takes_the_weights_file_of_keras_hubs_preset(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    teacher = randomised(
        keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
        )
    )
    teacher.save_weights(tmp_path / "model.weights.h5")
    model = grey_net("resnet18", str(tmp_path / "model.weights.h5"))
    np.testing.assert_allclose(
        np.asarray(model(IMAGES)),
        np.asarray(teacher(prepared(model, IMAGES))),
        rtol=1e-4,
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="model.weights.h5 does not hold weights of resnet50"):
        grey_net("resnet50", str(tmp_path / "model.weights.h5"))


def test_resnet18_takes_the_weights_of_its_own_bare_trunk(tmp_path):
    own = randomised(grey_net("resnet18"))
    trunk = keras.Model(own.get_layer("preprocess").output, own.output)
    trunk.save_weights(tmp_path / "trunk.weights.h5")
    np.testing.assert_array_equal(
        np.asarray(grey_net("resnet18", str(tmp_path / "trunk.weights.h5"))(IMAGES)),
        np.asarray(own(IMAGES)),
    )


def test_resnet18_without_network_says_so_with_three_ways_out(monkeypatch):
    keras_hub = pytest.importorskip("keras_hub")

    def no_network(preset):
        raise ConnectionError(f"Failed to resolve 'api.kaggle.com' for {preset}")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", staticmethod(no_network))
    with pytest.raises(
        WeightsUnavailable,
        match="ImageNet weights of resnet18 are not on this "
        "machine and their download failed .*resnet_18_imagenet.*"
        "Three ways out: .*weights=PATH; "
        ".*efficientnet_lite0.*weights=None",
    ):
        grey_net("resnet18", "imagenet")


def test_a_row_that_names_an_unknown_preset_is_not_reported_as_a_failed_download(monkeypatch):
    pytest.importorskip("keras_hub")
    row = replace(BACKBONES["resnet18"], hub_preset="resnet_18_imagined")
    monkeypatch.setitem(BACKBONES, "resnet18", row)
    with pytest.raises(
        ValueError, match="row of resnet18 names the preset 'resnet_18_imagined', which keras-hub"
    ):
        grey_net("resnet18", "imagenet")
