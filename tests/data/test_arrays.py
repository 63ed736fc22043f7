"""Arrays on disk: exact, equal for equal arrays, and bounded when read."""

import io
import zipfile

import numpy as np
import pytest

from xray_tf.data.tables.arrays import read_arrays, read_npy_header, write_arrays


def test_arrays_come_back_exactly_and_equal_arrays_give_equal_files(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "ÿ"]), "c": np.float32(3)}
    for packed in (False, True):
        first, second = tmp_path / f"1{packed}.npz", tmp_path / f"2{packed}.npz"
        write_arrays(first, arrays, packed)
        write_arrays(second, arrays, packed)
        assert first.read_bytes() == second.read_bytes()
        back = read_arrays(first)
        assert list(back) == list(arrays)
        assert all(np.array_equal(back[n], arrays[n]) for n in arrays)


def test_objects_are_never_pickled(tmp_path):
    with pytest.raises(ValueError):
        write_arrays(tmp_path / "a.npz", {"a": np.array([{}], object)})


def _whole() -> bytes:
    stream = io.BytesIO()
    write_arrays(stream, {"a": np.ones((9, 9))}, packed=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data", [b"", b"x" * 1000, _whole()[: len(_whole()) // 2], _whole()[:-30] + b"\0" * 30]
)
def test_a_damaged_file_is_refused_in_our_words(data, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError) as refusal:
        read_arrays(path)
    assert "pickle" not in str(refusal.value)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9, 9)",  # never closed
        "{'descr': '<f8', b'fortran_order': False, 'shape': (9, 9), }",  # keys of two kinds
        "{'descr': '<f8'\n  1\n 2}",
        "'" * 3,
        "[" * 4000,
    ],
)
def test_a_damaged_header_is_refused(header, tmp_path):
    line = header.ljust(117).encode() + b"\n"
    npy = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + bytes(8 * 81)
    with pytest.raises(ValueError):
        read_npy_header(io.BytesIO(npy))
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy)
    with pytest.raises(ValueError):
        read_arrays(path)


def test_a_bomb_is_refused_by_its_bound(tmp_path):
    path = tmp_path / "reference.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as stream,
    ):
        for _ in range(300):
            stream.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="at most 268,435,456 are read"):
        read_arrays(path)
