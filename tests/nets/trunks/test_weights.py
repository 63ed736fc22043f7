"""Weights come in from every kind of file the README names, whole and for the right architecture,
and no file gets to run code.
"""

import importlib.util
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from xray_tf.nets.keras_file import refuse_foreign_classes
from xray_tf.nets.trunks import weights as trunk_weights
from xray_tf.nets.trunks.backbones import build_features, describe
from xray_tf.nets.trunks.weights import WeightsUnavailable


def grey_net(backbone, weights, **options):
    image = keras.Input((32, 32, 1), name="image", dtype="float32")
    return keras.Model(
        image, build_features(image, backbone, None if weights is None else str(weights), **options)
    )


def load(backbone, weights):
    """Load into a trunk of no layers: for files that must not get that far."""
    trunk_weights.load_trunk([], backbone, describe(backbone), str(weights), donor=None)


def randomised(model, seed=0):
    """Give every weight, batch norm's included, a value of its own."""
    chance = np.random.default_rng(seed)
    model.set_weights(
        [
            chance.uniform(0.5, 1.5, w.shape) if w.ndim < 2 else chance.normal(0, 0.05, w.shape)
            for w in model.get_weights()
        ]
    )
    return model


def save_legacy(model, path):
    """Write the layout of the files that keras.applications downloads."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def same_trunk(ours, theirs):
    theirs = {layer.name: layer.get_weights() for layer in theirs.layers if layer.weights}
    compared = 0
    for layer in ours.layers:
        if layer.weights and layer.name != "adapter":
            for a, b in zip(layer.get_weights(), theirs[layer.name], strict=True):
                np.testing.assert_array_equal(a, b)
                compared += 1
    return compared


@pytest.fixture
def lite0_file(tmp_path):
    """A `.npz` of a trunk with values of its own, and that trunk."""
    own = randomised(grey_net("efficientnet_lite0", None))
    path = tmp_path / "lite0.npz"
    np.savez(path, **arrays_of(own))
    return path, own


def arrays_of(net):
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable)
        for layer in net.layers
        for variable in layer.weights
    }


def test_an_npz_gives_its_arrays_by_name(lite0_file):
    path, own = lite0_file
    # 49 convolutions, 49 batch norms of four
    assert same_trunk(grey_net("efficientnet_lite0", path, adapter=True), own) == 245


def test_an_npz_of_another_net_is_refused(lite0_file, tmp_path):
    path, own = lite0_file
    with pytest.raises(
        ValueError, match="lite0.npz has another architecture: it holds no array 'conv1_conv/ker"
    ):
        grey_net("resnet18", path)
    arrays = arrays_of(own) | {"stem_conv/kernel": np.zeros((3, 3, 3, 16))}
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(
        ValueError, match="other.npz has another architecture: layer 'stem_conv' expects"
    ):
        grey_net("efficientnet_lite0", tmp_path / "other.npz")


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"<html>not found</html>"),
        lambda path: path.write_bytes(b"PK\x03\x04half"),
        lambda path: np.savez(path, **{"stem_conv/kernel": np.array([Evil()], object)}),
    ],
)
def test_a_damaged_npz_is_named_and_one_with_pickles_runs_nothing(make, tmp_path):
    make(tmp_path / "broken.npz")
    with pytest.raises(ValueError, match="broken.npz is no complete .npz file of arrays"):
        load("resnet18", tmp_path / "broken.npz")


@pytest.mark.parametrize(
    "name, include_top", [("notop.h5", False), ("with_top.h5", True), ("with_top.weights.h5", True)]
)
def test_the_h5_files_of_keras_applications_fill_the_flat_graph(name, include_top, tmp_path):
    donor = randomised(
        keras.applications.MobileNetV2(
            include_top=include_top, weights=None, input_shape=None if include_top else (32, 32, 3)
        )
    )
    donor.save_weights(tmp_path / name) if name.endswith(".weights.h5") else save_legacy(
        donor, tmp_path / name
    )
    ours = grey_net("MobileNetV2", tmp_path / name, adapter=True, standardize=True)
    assert same_trunk(ours, donor) == 260


def test_resnet50_reads_the_file_that_keras_downloads(tmp_path):
    donor = randomised(keras.applications.ResNet50(include_top=False, weights=None))
    path = tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    save_legacy(donor, path)
    # kernel and bias, and batch norm's four
    assert same_trunk(grey_net("resnet50", path), donor) == 53 * 6
    with pytest.raises(ValueError, match="notop.h5 does not hold weights of resnet18"):
        grey_net("resnet18", path)


def test_a_trunk_without_names_of_its_own_is_filled_in_order_and_computes_alike(tmp_path):
    """Keras numbers the layers of EfficientNet's scaling anew in every process, and Normalization
    computes with copies of its weights.
    """
    donor = randomised(
        keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    )
    donor.save_weights(tmp_path / "b0.weights.h5")
    ours = grey_net("EfficientNetB0", tmp_path / "b0.weights.h5")
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 1)).astype("float32")
    prepared = keras.Model(ours.input, ours.get_layer("preprocess").output)(images)
    np.testing.assert_allclose(
        np.asarray(ours(images)), np.asarray(donor(prepared)), rtol=1e-4, atol=1e-5
    )
    ours.save(tmp_path / "own.keras")
    np.testing.assert_array_equal(
        np.asarray(grey_net("EfficientNetB0", tmp_path / "own.keras", adapter=True)(images)),
        np.asarray(ours(images)),
    )


def test_a_model_of_our_own_gives_its_trunk_by_name(tmp_path):
    own = randomised(grey_net("resnet18", None, adapter=True))
    head = keras.layers.Dense(2, name="logits")(
        keras.layers.GlobalAveragePooling2D(name="embedding")(own.output)
    )
    keras.Model(own.input, head).save(tmp_path / "own.keras")
    assert same_trunk(grey_net("resnet18", tmp_path / "own.keras"), own) == 20 * 5
    with pytest.raises(
        ValueError,
        match="own.keras has another architecture: 98 layers of the "
        "trunk are not in it, such as 'stem_conv'",
    ):
        grey_net("efficientnet_lite0", tmp_path / "own.keras")


@pytest.mark.parametrize(
    "change",
    [
        {"module": "os", "class_name": "system"},
        {"module": "keras.layers", "class_name": "Lambda"},
        {"module": "keras.layers", "class_name": "TFSMLayer"},
        {"module": "keras.layers", "class_name": "deserialize"},
        {"module": "keras.src.layers", "class_name": "Conv2D"},
        {"module": "keras.layers", "class_name": "Conv2D", "registered_name": "theirs>Conv2D"},
        {"module": "keras_hub.models", "class_name": "Backbone"},
        {"module": None, "class_name": "Mine"},
        {"module": "builtins", "class_name": "function", "registered_name": "function"},
    ],
)
def test_a_keras_file_with_foreign_classes_is_refused_before_it_is_loaded(change, tmp_path):
    path = tmp_path / "foreign.keras"
    image = keras.Input((8, 8, 1))
    keras.Model(image, keras.layers.Conv2D(2, 3, name="convolution")(image)).save(path)
    refuse_foreign_classes(path)  # as saved it is fine
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1].update(change)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    with pytest.raises(
        ValueError,
        match=f"foreign.keras names .*{change['class_name']}, which is not a stock Keras layer",
    ):
        load("resnet18", path)


@pytest.mark.parametrize(
    "name, content, error, message",
    [
        (
            "none.h5",
            None,
            FileNotFoundError,
            "no such file. Expected 'imagenet', None, or the path",
        ),
        ("image-net", None, FileNotFoundError, "no such file"),
        (
            "trunk.zip",
            b"PK",
            ValueError,
            "read from .h5, .weights.h5, .keras and .npz files. Received: .zip",
        ),
        (
            "trunk.pth",
            b"",
            ValueError,
            "read from .h5, .weights.h5, .keras and .npz files. Received: .pth",
        ),
        ("empty.h5", b"", ValueError, "empty.h5 is no complete HDF5 file"),
        ("page.weights.h5", b"<html>", ValueError, "page.weights.h5 is no complete HDF5 file"),
        ("half.keras", b"PK\x03\x04half", ValueError, "half.keras is no complete .keras file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(
    name, content, error, message, tmp_path
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        load("resnet18", tmp_path / name)


def test_a_half_downloaded_h5_is_named(tmp_path):
    path = tmp_path / "half.h5"
    save_legacy(keras.Sequential([keras.Input((100,)), keras.layers.Dense(100)]), path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ValueError, match="half.h5 is no complete HDF5 file .*truncated"):
        load("resnet18", path)


WAYS_OUT = "Three ways out: .*weights=PATH; .*efficientnet_lite0.*come with xray_tf.*weights=None"


def test_without_network_or_packages_the_error_names_three_ways_out(monkeypatch):
    def no_network(**_):
        raise Exception(
            "URL fetch failure on https://example.org/resnet50.h5: None -- Name or "
            "service not known"
        )

    with pytest.raises(
        WeightsUnavailable, match="ImageNet weights of resnet50 .*URL fetch failure.*" + WAYS_OUT
    ):
        trunk_weights.load_trunk([], "resnet50", describe("resnet50"), "imagenet", donor=no_network)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsUnavailable, match="keras-hub, which is not installed.*" + WAYS_OUT):
        grey_net("resnet18", "imagenet")


def test_what_is_no_failed_download_is_not_reported_as_one():
    def broken(**_):
        raise TypeError("a mistake in the builder")

    with pytest.raises(TypeError, match="a mistake in the builder"):
        trunk_weights.load_trunk([], "resnet50", describe("resnet50"), "imagenet", donor=broken)


def test_an_installation_without_the_shipped_file_says_so(monkeypatch):
    monkeypatch.setattr(trunk_weights, "shipped_file", lambda name: None)
    with pytest.raises(
        WeightsUnavailable, match="trunks/efficientnet_lite0.npz, and this .* lacks it.*" + WAYS_OUT
    ):
        grey_net("efficientnet_lite0", "imagenet")
