"""The cache: every promise of decode once, and streaming without it."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from xray_tf.data.pixels import cache as cache_module
from xray_tf.data.pixels.cache import CacheError, build_cache, default_directory
from xray_tf.data.pixels.decoding import decode
from xray_tf.data.pixels.header import DecodeError
from xray_tf.data.pixels.reading import LOOK_AHEAD, MAX_BYTES, each, read_file, stream_pixels
from xray_tf.data.records import Finding, Record, Records

ROOT = Path(__file__).parents[3]
SIZE = 32


def encoded(seed, suffix=".png", height=48, width=64):
    image = cv2.GaussianBlur(
        np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8), (7, 7), 0
    )
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(6):
        (tmp_path / "data" / f"{i}.jpeg").write_bytes(
            encoded(i, ".jpg" if i % 2 else ".png", 48 + i, 70 - i)
        )
    return tmp_path / "data"


def table(folder):
    files = sorted(folder.rglob("*"))
    return Records(
        [
            Record(f.relative_to(folder).as_posix(), "normal", patient=f"p{i}")
            for i, f in enumerate(files)
        ],
        folder,
        split_by="image",
    )


def build(records, directory, **options):
    return build_cache(
        records,
        **{"size": SIZE, "resize": "crop", "directory": directory, "progress": False, **options},
    )


def folders(directory):
    return sorted(p.name for p in directory.iterdir() if p.name != "stamps")


@pytest.fixture
def unread(monkeypatch):
    """Fail when a file is read."""
    return lambda: monkeypatch.setattr(
        cache_module, "read_file", lambda file, *_: pytest.fail(f"{file} was read")
    )


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_pixels_are_those_of_the_decoding_rule_and_rows_stay_aligned(folder, tmp_path, resize):
    records = table(folder)
    cache = build(records, tmp_path / "cache", resize=resize)
    assert isinstance(cache.pixels, np.memmap) and not cache.pixels.flags.writeable
    assert (
        cache.pixels.shape == (6, SIZE, SIZE)
        and cache.pixels.dtype == np.uint8
        and not len(cache.findings)
    )
    for before, row, pixels in zip(records, cache.records, cache.pixels, strict=True):
        data = records.file(before).read_bytes()
        np.testing.assert_array_equal(pixels, decode(data, SIZE, resize))
        assert (row.path, row.label, row.patient) == (before.path, before.label, before.patient)
        assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert (cache.records[1].width, cache.records[1].height, cache.records[1].mode) == (69, 49, "L")
    assert cache.records.root == folder and cache.records.split_by == "image"
    np.testing.assert_array_equal(np.load(cache.path / "pixels.npy"), cache.pixels)


def test_a_second_call_reads_no_file_and_follows_the_table_it_is_given(folder, tmp_path, unread):
    first = build(table(folder), tmp_path / "cache")
    unread()
    relabelled = table(folder).with_rows(
        Record(r.path, "pneumonia", "viral") for r in table(folder)
    )
    second = build(relabelled, tmp_path / "cache")
    assert second.path == first.path and second.records.column("sha256") == first.records.column(
        "sha256"
    )
    assert set(second.records.column("subtype")) == {"viral"}
    np.testing.assert_array_equal(second.pixels, first.pixels)


def test_a_changed_file_is_noticed_even_with_its_old_length_and_date(folder, tmp_path):
    file = folder / "2.jpeg"
    old = encoded(1, ".png") + bytes(50)
    file.write_bytes(old)
    first, about = build(table(folder), tmp_path / "cache"), file.stat()
    new = encoded(9, ".png")
    file.write_bytes(new + bytes(len(old) - len(new)))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (about.st_size, about.st_mtime_ns)
    second = build(table(folder), tmp_path / "cache")
    assert second.path != first.path
    np.testing.assert_array_equal(second.pixels[2], decode(new, SIZE, "crop"))
    np.testing.assert_array_equal(first.pixels[2], decode(old, SIZE, "crop"))


def test_the_key_is_the_content_the_size_and_the_resize_mode(folder, tmp_path):
    directory = tmp_path / "cache"
    first = build(table(folder), directory)
    moved = folder.rename(tmp_path / "moved")
    assert build(table(moved), directory).path == first.path
    records = table(moved)
    others = {
        build(records, directory, size=24).path,
        build(records, directory, resize="pad").path,
        build(records.with_rows(records.rows[::-1]), directory).path,
        build(records.with_rows(records.rows[1:]), directory).path,
    }
    assert len(others | {first.path}) == 5 == len(folders(directory))


def test_duplicates_keep_their_rows(folder, tmp_path):
    (folder / "twin.jpeg").write_bytes((folder / "0.jpeg").read_bytes())
    records = table(folder)
    cache = build(records.with_rows([*records.rows, records[0]]), tmp_path / "cache")
    assert (
        cache.records.column("path")[-2:] == ["twin.jpeg", "0.jpeg"]
        and len(set(cache.records.column("sha256"))) == 6
    )
    np.testing.assert_array_equal(cache.pixels[6], cache.pixels[0])
    np.testing.assert_array_equal(cache.pixels[7], cache.pixels[0])


def test_spaced_and_foreign_paths_are_read(folder, tmp_path):
    names = ["lung left.jpeg", "Größe/肺 炎.jpeg", 'a|b,"c"\n.jpeg', os.fsdecode(b"\xff.jpeg")]
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(encoded(20 + i))
    records = Records([Record(name) for name in names], folder)
    for _ in range(2):
        cache = build(records, tmp_path / "ein Ordner", strict=True)
        np.testing.assert_array_equal(
            cache.pixels, [decode(encoded(20 + i), SIZE, "crop") for i in range(4)]
        )


BAD = {
    "empty": (lambda f: f.write_bytes(b""), "empty", "no bytes"),
    "text": (lambda f: f.write_text("no radiograph"), "not-an-image", "neither JPEG nor PNG"),
    "truncated": (
        lambda f: f.write_bytes(encoded(1, ".jpg")[:700]),
        "truncated",
        "without its end marker",
    ),
    "bmp": (lambda f: f.write_bytes(encoded(1, ".bmp")), "unsupported-format", "BMP"),
    "one pixel": (lambda f: f.write_bytes(encoded(1, ".png", 1, 1)), "too-small", "1 x 1"),
    "folder": (lambda f: f.mkdir(), "unreadable", "regular file"),
    "dangling link": (lambda f: f.symlink_to("nowhere"), "missing", "No such file"),
    "link to itself": (lambda f: f.symlink_to(f.name), "unreadable", "symbolic links"),
    "pipe": (lambda f: os.mkfifo(f), "unreadable", "not a regular file"),
}


@pytest.mark.parametrize("make, kind, message", BAD.values(), ids=BAD)
def test_a_bad_file_becomes_a_finding_and_the_run_goes_on_unless_strict(
    folder, tmp_path, make, kind, message, unread
):
    (folder / "3.jpeg").unlink()
    records = table(folder)
    make(folder / "3.jpeg")
    records = records.with_rows([*records.rows[:3], Record("3.jpeg"), *records.rows[3:]])
    cache = build(records, tmp_path / "cache")
    assert (
        cache.records.column("path") == ["0.jpeg", "1.jpeg", "2.jpeg", "4.jpeg", "5.jpeg"]
        and len(cache.pixels) == 5
    )
    np.testing.assert_array_equal(
        cache.pixels[3], decode(records.file(records[4]).read_bytes(), SIZE, "crop")
    )
    (finding,) = cache.findings
    assert (
        (finding.kind, finding.severity, finding.path) == (kind, "error", "3.jpeg")
        and message in finding.detail
        and str(tmp_path) not in finding.detail
    )
    for directory in (tmp_path / "new", tmp_path / "cache"):  # built now, and found
        with pytest.raises(DecodeError, match="3.jpeg: ") as caught:
            build(records, directory, strict=True)
        assert caught.value.kind == kind
    assert folders(tmp_path / "new") == []
    unread()
    assert build(records, tmp_path / "cache").findings == cache.findings


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    with (tmp_path / "large.jpeg").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    reading, pixels = read_file(tmp_path / "large.jpeg", SIZE, "crop")
    assert reading.kind == "too-large" and pixels is None and reading.sha256 == ""


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(size=0), "size=0"),
        (dict(size=2.5), "size=2.5"),
        (dict(resize="stretch"), "'stretch'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(folder, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        build(table(folder), tmp_path / "cache", **change)
    with pytest.raises(ValueError, match=message):
        stream_pixels([], **{"size": SIZE, "resize": "crop", **change})
    assert not (tmp_path / "cache").exists()


def test_no_usable_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        build(Records([]), tmp_path / "cache")
    with pytest.raises(
        ValueError, match="None of the 2 files.*a.jpeg: The file cannot be read: No such file"
    ):
        build(Records([Record("a.jpeg"), Record("b.jpeg")], tmp_path), tmp_path / "cache")
    assert folders(tmp_path / "cache") == []


def test_an_interrupted_build_leaves_nothing(folder, tmp_path, monkeypatch):
    def interrupt(file, *_):
        if file.name == "4.jpeg":
            raise KeyboardInterrupt
        return read_file(file, SIZE, "crop")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "read_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(table(folder), tmp_path / "cache")
    assert folders(tmp_path / "cache") == [] and not list((tmp_path / "cache" / "stamps").iterdir())
    assert len(build(table(folder), tmp_path / "cache").pixels) == 6


def test_what_a_killed_build_left_is_removed_after_a_day_and_a_running_one_is_not(
    folder, tmp_path, caplog
):
    caplog.set_level("INFO", "xray_tf")
    drafts = [tmp_path / "cache" / f"{cache_module.DRAFT}{name}" for name in ("old", "young")]
    for draft, age_s in zip(drafts, (25 * 3600, 60), strict=True):
        draft.mkdir(parents=True)
        (draft / "pixels.npy").write_bytes(b"half")
        for path in (draft / "pixels.npy", draft):
            os.utime(path, (time.time() - age_s,) * 2)
    build(table(folder), tmp_path / "cache")
    assert [d.exists() for d in drafts] == [False, True]
    assert f"removed {drafts[0]}, which a killed process left" in caplog.text


def cut(path):
    os.truncate(path / "pixels.npy", 3000)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda path: (path / "pixels.npy").unlink(),
        lambda path: (path / "pixels.npy").write_bytes(b"not NumPy's" * 1000),
        lambda path: (path / "rows.csv").unlink(),
        lambda path: (path / "cache.json").write_text("{"),
        lambda path: (path / "cache.json").write_text(
            (path / "cache.json").read_text().replace('"size": 32', '"size": 16')
        ),
    ],
    ids=["cut", "gone", "other", "no rows", "half json", "other size"],
)
def test_a_damaged_cache_is_built_again(folder, tmp_path, damage):
    expected = np.array(build(table(folder), tmp_path / "cache").pixels)
    (key,) = folders(tmp_path / "cache")
    damage(tmp_path / "cache" / key)
    again = build(table(folder), tmp_path / "cache")
    np.testing.assert_array_equal(again.pixels, expected)
    assert folders(tmp_path / "cache") == [key] and len(again.records) == 6


def test_threads_and_processes_that_build_at_once_get_the_same(folder, tmp_path):
    script = (
        "import sys; from xray_tf.data.pixels.cache import build_cache; from "
        "xray_tf.data.records import Records, Record;"
        "r = Records([Record(f'{i}.jpeg') for i in range(6)], sys.argv[1]);"
        "c = build_cache(r, 32, 'crop', sys.argv[2], progress=False); print(c.path.name, "
        "int(c.pixels.sum()))"
    )
    start = threading.Barrier(4)
    results = []

    def work():
        start.wait()
        cache = build(table(folder), tmp_path / "cache")
        results.append(f"{cache.path.name} {int(cache.pixels.sum())}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "cache")]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results += [process.communicate()[0].strip() for process in processes]
    assert len(results) == 6 and len(set(results)) == 1
    assert folders(tmp_path / "cache") == [results[0].split()[0]]


def test_a_cache_folder_that_cannot_be_used_names_the_way_out(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        CacheError, match=r"file/cache cannot be used: Not a directory.*--cache DIR"
    ):
        build(table(folder), tmp_path / "file" / "cache")


def test_a_full_disk_names_the_way_out_and_leaves_nothing(folder, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # a file that may not grow: EFBIG instead of ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(CacheError, match="File too large.*--cache DIR.*image_size"):
            build(table(folder), tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert folders(tmp_path / "cache") == []


def test_the_default_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "own"))
    assert default_directory() == tmp_path / "own"
    monkeypatch.delenv("XRAY_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_directory() == tmp_path / "xdg" / "xray_tf"
    # the XDG specification has relative paths ignored
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_directory() == Path.home() / ".cache" / "xray_tf"


def test_opencv_keeps_its_number_of_threads(folder, tmp_path):
    before = cv2.getNumThreads()
    build(table(folder), tmp_path / "cache", workers=3)
    assert cv2.getNumThreads() == before


# ---- streaming


def test_streaming_keeps_the_order_and_gives_pixels_or_a_finding(folder):
    (folder / "3.jpeg").write_bytes(b"")
    files = [*sorted(folder.iterdir()), folder / "0.jpeg", str(folder / "none.jpeg")]
    results = list(stream_pixels(files, SIZE, "pad", workers=2))
    assert [path for path, _ in results] == files
    for path, result in results:
        if isinstance(result, Finding):
            assert (Path(path).name, result.kind) in {
                ("3.jpeg", "empty"),
                ("none.jpeg", "missing"),
            } and result.path == str(path)
        else:
            np.testing.assert_array_equal(result, decode(Path(path).read_bytes(), SIZE, "pad"))
    assert sum(isinstance(result, Finding) for _, result in results) == 2


def test_streaming_looks_only_a_bounded_way_ahead():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = each(lambda item: item * 2, endless(), workers=2)
    for i in range(100):
        assert next(results) == 2 * i
        assert len(taken) <= i + 1 + 2 * LOOK_AHEAD
    results.close()


def test_a_missing_decoder_is_not_remembered(folder, tmp_path, monkeypatch):
    records, missing = table(folder), True
    read = cache_module.read_file

    def read_file(file, size, resize):
        reading, pixels = read(file, size, resize)
        if missing and file.name == "2.jpeg":
            return replace(reading, kind="no-decoder", detail="It needs another package."), None
        return reading, pixels

    monkeypatch.setattr(cache_module, "read_file", read_file)
    whole = len(records)
    before = build(records, tmp_path / "cache")
    assert len(before.pixels) == whole - 1 and before.findings[0].kind == "no-decoder"
    missing = False
    assert len(build(records, tmp_path / "cache").pixels) == whole
