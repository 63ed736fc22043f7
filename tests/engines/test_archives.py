"""Archives: any engine gives what one machine gives, and an interrupted run goes on."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xray_tf
from xray_tf import embed, predict
from xray_tf.data.pixels.reading import read_file
from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.names import SourceError
from xray_tf.data.sources.scan import scan
from xray_tf.engines import score_archive as archive
from xray_tf.engines.listing import list_rows, read_part
from xray_tf.engines.places import Folder
from xray_tf.registry import TASKS

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, of the extra ray")
IN_PARTS = {"engine": "parts", "rows_per_part": 3, "progress": False}


@pytest.fixture(scope="module")
def files(phantoms, tmp_path_factory) -> Path:
    """Seven radiographs in class folders, and one file that is none."""
    folder = tmp_path_factory.mktemp("archive") / "scans"
    for kind in ("NORMAL", "PNEUMONIA"):
        (folder / kind).mkdir(parents=True)
        for file in sorted((phantoms / "train" / kind).iterdir())[:4]:
            (folder / kind / file.name).write_bytes(file.read_bytes())
    sorted((folder / "NORMAL").iterdir())[1].write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def local(binary, files, tmp_path_factory) -> Predictions:
    """What one machine says."""
    out = tmp_path_factory.mktemp("local") / "out"
    assert predict.main([str(files), "--model", str(binary.folder), "--out", str(out)]) == 0
    return Predictions.read_csv(out / "predictions.csv")


def read(folder) -> dict:
    return parquet.read_table(folder).to_pydict()


def check_equal(found: dict, local: Predictions) -> None:
    """Fail unless the Parquet columns hold what the CSV file does."""
    wanted = local.to_columns()
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        if np.asarray(values).dtype.kind == "f":
            numbers = np.array(found[name], float)  # null is NaN
            np.testing.assert_allclose(numbers, values, atol=1e-6)
        else:
            assert found[name] == list(values)


def test_a_function_of_bytes_answers_as_predict_does_and_can_be_pickled(binary, files, local):
    ask = xray_tf.make_predict_fn(binary)
    batch = [Path(path).read_bytes() for path in local.paths]
    found = pickle.loads(pickle.dumps(ask))([*batch, None])
    assert not {"path", "patient", "split", "label", "acquisition"} & set(found)
    np.testing.assert_allclose(found["prob_pneumonia"][:-1], local.probabilities[:, 1], atol=1e-6)
    assert list(found["error"][:-1]) == list(local.errors) and "no bytes" in found["error"][-1]
    assert found["predicted"].tolist()[:-1] == [local.class_name(i) for i in local.predicted]
    assert all(len(column) == 0 for column in ask([]).values())


def test_what_a_function_cannot_answer_is_refused_before_it_travels(binary):
    with pytest.raises(ValueError, match="Expected a detector"):
        xray_tf.make_predict_fn(binary, answers="scores")
    with pytest.raises(ValueError, match="no_such_point"):
        xray_tf.make_predict_fn(binary, operating_point="no_such_point")
    with pytest.raises(ValueError, match="answers must be one of"):
        xray_tf.make_predict_fn(binary, answers="heat")


def test_parts_hold_the_columns_and_rows_of_predictions_csv(binary, files, local, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--model", str(binary.folder), "--out", str(out), "--engine", "parts"]
    assert predict.main([str(files), *flags, "--rows-per-part", "3"]) == 0
    said = capsys.readouterr().out
    assert "8 radiographs" in said and "1 could not be read" in said and "/predictions" in said
    assert [p.name for p in out.iterdir()] == ["predictions"]
    assert len(list((out / "predictions").iterdir())) == 3
    check_equal(read(out / "predictions"), local)


def test_an_interrupted_archive_goes_on_with_nothing_twice_and_nothing_lost(
    binary, files, local, tmp_path, monkeypatch
):
    out, answered = tmp_path / "out", []

    def answer_part(ask, folder, number, strict):
        if len(answered) == 1:
            raise KeyboardInterrupt
        answered.append(number)
        return original(ask, folder, number, strict)

    original = archive.answer_part
    with monkeypatch.context() as patch:
        patch.setattr(archive, "answer_part", answer_part)
        with pytest.raises(KeyboardInterrupt):
            archive.score_archive(binary, [files], out, **IN_PARTS)
    # a draft that a killed writer left, and a file that came since: the listing is what it was
    left = tmp_path / "out.partial" / "predictions"
    (left / ".part-000001.parquet.0").write_bytes(b"torn")
    written = {p.name: p.stat().st_mtime_ns for p in left.glob("part-*")}
    with pytest.raises(FileExistsError, match="rows_per_part"):
        archive.score_archive(binary, [files], out, **{**IN_PARTS, "rows_per_part": 4})
    found = archive.score_archive(binary, [files], out, **IN_PARTS)
    assert (found.before, found.counts.rows, found.counts.failed) == (3, 8, 1)
    assert sorted(p.name for p in (out / "predictions").iterdir()) == [
        f"part-00000{i}.parquet" for i in range(3)
    ]
    for name, when in written.items():
        assert (out / "predictions" / name).stat().st_mtime_ns == when
    check_equal(read(out / "predictions"), local)
    with pytest.raises(FileExistsError, match="never overwritten"):
        archive.score_archive(binary, [files], out, **IN_PARTS)


def test_an_address_is_read_and_written_like_a_folder(binary, files, local, tmp_path):
    out = f"file://{tmp_path}/out"
    found = archive.score_archive(binary, [f"file://{files}"], out, **IN_PARTS)
    table = read(tmp_path / "out" / "predictions")
    names = [path.rsplit("/", 1)[1] for path in table["path"]]
    by_name = dict(zip(names, table["prob_normal"], strict=True))
    for path, row in zip(local.paths, local.probabilities, strict=True):
        known = by_name[path.rsplit("/", 1)[1]]
        assert known is None and np.isnan(row[0]) or abs(known - row[0]) < 1e-6
    assert table["label"].count("normal") == 4 and found.counts.rows == 8
    assert (tmp_path / "out" / "_SUCCESS").is_file()
    with pytest.raises(FileExistsError, match="never overwritten"):
        archive.score_archive(binary, [f"file://{files}"], out, **IN_PARTS)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest_names_files_and_what_is_known_of_them(suffix, files, tmp_path, monkeypatch):
    import pyarrow

    monkeypatch.setenv("XRAY_TF_CACHE", str(tmp_path / "cache"))
    paths = [str(p) for p in sorted((files / "NORMAL").iterdir())[:2]]
    columns = {"path": [paths[0], "b.dcm"], "label": ["Normal", ""], "patient": ["p1", None]}
    if suffix == "csv":
        text = f'path;label;patient\n"{paths[0]}";Normal;p1\nb.dcm;;\n'
        (tmp_path / "list.csv").write_text(text, encoding="utf-8-sig")
    else:
        parquet.write_table(pyarrow.table(columns), tmp_path / "list.parquet")
    rows = list(list_rows([tmp_path / f"list.{suffix}"], TASKS["binary"]))
    assert [row.file for row in rows] == [paths[0], str(tmp_path / "b.dcm")]
    assert [(r.record.path, r.record.label) for r in rows] == [(paths[0], "normal"), ("b.dcm", "")]
    # the key that a training on the same manifest keeps, and not what the column holds
    same = tmp_path / "same.csv"
    same.write_text(f"path,label,patient\n{paths[0]},normal,p1\n", encoding="utf-8")
    records, _ = scan(same, cache=tmp_path / "cache")
    assert re.fullmatch("manifest:[0-9a-f]{16}", records[0].patient)
    assert [r.record.patient for r in rows] == [records[0].patient, ""]


def test_a_manifest_is_read_by_the_same_rules_with_and_without_an_engine(tmp_path):
    for column, word in (("label", "sick?"), ("subtype", "fungal"), ("split", "fold 1")):
        (tmp_path / "list.csv").write_text(f"path,{column}\na.png,{word}\n", encoding="utf-8")
        with pytest.raises(SourceError, match=f"row 1: {column} must be .*{re.escape(word)}"):
            list(list_rows([tmp_path / "list.csv"], TASKS["binary"]))


def test_strict_stops_and_keeps_what_was_answered(binary, files, tmp_path):
    good, bad = sorted((files / "PNEUMONIA").iterdir())[0], sorted((files / "NORMAL").iterdir())[1]
    how = {**IN_PARTS, "rows_per_part": 1}
    with pytest.raises(ValueError, match="--strict"):
        archive.score_archive(binary, [good, bad], tmp_path / "out", strict=True, **how)
    assert len(list((tmp_path / "out.partial" / "predictions").iterdir())) == 1


def test_embeddings_are_the_networks(binary, files, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--model", str(binary.folder), "--data", str(files), "--out", str(out)]
    assert embed.main([*flags, "--engine", "parts", "--rows-per-part", "3"]) == 0
    table = read(out / "embeddings")
    good = [i for i, error in enumerate(table["error"]) if not error]
    assert len(good) == 7 and table["embedding"][table["error"].index(max(table["error"]))] is None
    squares = np.stack([read_file(table["path"][i], 32, "crop")[1] for i in good])
    wanted = binary.forward(squares, ("embedding",))["embedding"]
    found = np.array([table["embedding"][i] for i in good], np.float32)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert "/embeddings" in capsys.readouterr().out


def test_flags_that_do_not_fit_an_engine_are_told(binary, files, tmp_path, capsys):
    for flags in (["--engine", "parts"], ["--engine", "ray", "--out", "x", "--report"]):
        with pytest.raises(SystemExit):
            predict.main([str(files), *flags])
        assert "needs --out" in capsys.readouterr().err


def test_a_name_that_is_not_utf8_is_read_and_written_with_escapes(binary, files, tmp_path):
    name = os.fsdecode(b"sc\xe4n.jpeg")
    good = sorted((files / "PNEUMONIA").iterdir())[0]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(good.read_bytes())
    archive.score_archive(binary, [tmp_path / "in"], tmp_path / "out", **IN_PARTS)
    table = read(tmp_path / "out" / "predictions")
    assert table["path"][0].endswith("sc\\xe4n.jpeg") and table["error"] == [""]


def test_a_listing_keeps_its_order(files, tmp_path):
    from xray_tf.engines.listing import write_listing

    folder = Folder(tmp_path)
    assert write_listing(folder, [files], TASKS["binary"], 5) == {"rows": 8, "parts": 2}
    rows = [row for number in range(2) for row in read_part(folder, number)]
    assert [r.file for r in rows] == [r.file for r in list_rows([files], TASKS["binary"])]


def test_a_ray_cluster_that_loses_a_node_answers_everything_once(binary, files, local, tmp_path):
    pytest.importorskip("ray", reason="needs ray, of the extra ray")
    links = tmp_path / "links"
    links.mkdir()
    good = [p for p, e in zip(local.paths, local.errors, strict=True) if not e]
    for i in range(24):
        (links / f"{i:03d}.png").symlink_to(good[i % len(good)])
    script = Path(__file__).with_name("lose_a_node.py")
    # Ray's workers are nice to others, who may take all of a busy machine
    here = {"RAY_worker_niceness": "0", "PYTHONPATH": str(Path(xray_tf.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script), str(binary.folder), str(links), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, **here},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["writers_before"] == 2 and seen["parts_before"] == 2 and seen["lost"] >= 1, seen
    assert (seen["rows"], seen["failed"], seen["parts"]) == (24, 0, 24)
    table = read(tmp_path / "out" / "predictions")
    assert table["path"] == [str(links / f"{i:03d}.png") for i in range(24)]
    known = dict(zip(local.paths, local.probabilities[:, 1], strict=True))
    wanted = [known[good[i % len(good)]] for i in range(24)]
    np.testing.assert_allclose(table["prob_pneumonia"], wanted, atol=1e-6)


def test_a_part_that_comes_back_late_goes_to_a_worker_that_waits():
    """Where every free core belongs to a worker that waits, no other one is ever placed."""
    from xray_tf.engines.ray_pool import _Pool

    class Remote:
        def remote(self, *given):
            return object()

    class Worker:
        def __init__(self):
            self.open, self.answer = Remote(), Remote()

    pool = _Pool(Worker, [0, 1], 2)
    one, other = pool.workers
    pool.busy.clear()  # both are ready
    pool.go_on(one)
    pool.go_on(other)
    assert sorted(number for _, number in pool.busy.values()) == [0, 1]
    (lost,) = (future for future, (worker, _) in pool.busy.items() if worker is other)
    _, number = pool.busy.pop(lost)
    pool.busy.clear()  # the first one has answered its part
    pool.go_on(one)
    pool.lost(other, number)
    assert (one, number) in pool.busy.values() and pool.unfinished
