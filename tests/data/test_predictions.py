"""The prediction table comes back exactly as it was written, whole or streamed, and refuses what it
cannot mean.
"""

import os
import signal

import numpy as np
import pytest

from xray_tf.data.predictions import Prediction, Predictions
from xray_tf.data.tables.table import TableWriter

NAMES = ("normal", "bacterial", "viral")
HEADER = (
    "path,patient,split,label,prob_normal,prob_bacterial,prob_viral,predicted,warning,error,"
    "acquisition,subtype"
)
AWKWARD = [
    "plain.png",
    'a "quoted", comma.png',
    "Röntgen thorax/ü 胸.png",
    "line\nfeed.png",
    "Icon\r",
    "bad\udcff byte.png",
    " spaces ",
]


def table(n=7, seed=0, failed=()):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), n)
    predicted = p.argmax(axis=1)
    errors = [""] * n
    for i in failed:
        p[i], predicted[i], errors[i] = np.nan, -1, "truncated, after 12 bytes"
    paths = [f"{i}{AWKWARD[i % len(AWKWARD)]}" for i in range(n)]
    return Predictions(
        NAMES,
        paths,
        p,
        predicted,
        patients=[f"p{i // 2}" if i % 3 else "" for i in range(n)],
        splits=[("train", "val", "test", "")[i % 4] for i in range(n)],
        labels=rng.integers(-1, 3, n),
        errors=errors,
    )


@pytest.mark.parametrize("failed", [(), (0, 4)])
def test_csv_reads_back_bit_for_bit(tmp_path, failed):
    want = table(14, failed=failed)
    got = Predictions.read_csv(want.write_csv(tmp_path / "p.csv"))
    assert got == want
    assert got.probabilities.tobytes() == want.probabilities.tobytes() or failed
    header = (
        (tmp_path / "p.csv").read_text(encoding="utf-8", errors="surrogateescape").split("\n")[0]
    )
    assert header == HEADER


def test_a_file_without_the_error_column_as_they_were_once_written_reads_alike(tmp_path):
    want = table(14)
    lines = want.write_csv(tmp_path / "p.csv").read_bytes()
    lines = lines.replace(b",error,acquisition,subtype\n", b"\n", 1)
    # no row of this table has an error, a group or a sub-type: each ends in three empty cells
    (tmp_path / "old.csv").write_bytes(lines.replace(b",,,\n", b"\n"))
    assert b"error" not in (tmp_path / "old.csv").read_bytes()
    assert Predictions.read_csv(tmp_path / "old.csv") == want


def test_an_empty_table_keeps_its_classes(tmp_path):
    empty = Predictions(NAMES, [], [], [])
    assert Predictions.read_csv(empty.write_csv(tmp_path / "p.csv")) == empty
    assert empty.probabilities.shape == (0, 3)


@pytest.mark.parametrize("failed", [(), (0,), (3, 9), (13,)])
def test_streamed_files_equal_whole_ones(tmp_path, failed):
    whole = table(14, failed=failed)
    with TableWriter(tmp_path / "s.csv", Predictions, NAMES) as writer:
        for start in range(0, 14, 4):
            writer.append(whole.where(np.arange(start, min(14, start + 4))))
        assert not (tmp_path / "s.csv").exists()
    whole.write_csv(tmp_path / "w.csv")
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "w.csv").read_bytes()
    assert writer.rows == 14
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "w.csv"]


@pytest.mark.parametrize("tail", ["", "half a row", '"a name\nof two lines,x'])
def test_a_stream_that_breaks_keeps_its_rows_and_goes_on_after_them(tmp_path, tail):
    whole = table(14, failed=(3,))
    with (
        pytest.raises(KeyboardInterrupt),
        TableWriter(tmp_path / "s.csv", Predictions, NAMES) as writer,
    ):
        writer.append(whole.where(np.arange(9)))
        raise KeyboardInterrupt
    (left,) = tmp_path.iterdir()
    assert left.name == "s.csv.partial"
    with left.open("a") as stream:
        stream.write(tail)  # a kill in the middle of a row
    with TableWriter(tmp_path / "s.csv", Predictions, NAMES) as writer:
        assert writer.rows == 9 and writer.before == whole.where(np.arange(9))
        writer.append(whole.where(np.arange(9, 14)))
    whole.write_csv(tmp_path / "w.csv")
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "w.csv").read_bytes()
    assert not left.exists()


def test_a_stream_that_breaks_before_its_first_row_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), TableWriter(tmp_path / "s.csv", Predictions, NAMES):
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
@pytest.mark.parametrize("bound", range(3000, 3300, 60))
def test_a_full_disk_leaves_whole_rows_and_nothing_hidden(tmp_path, bound):
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    batches = [table(7, seed) for seed in range(9)]
    try:
        # a file that may not grow: EFBIG instead of ENOSPC
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, limit[1]))
        with (
            pytest.raises(OSError),
            TableWriter(tmp_path / "s.csv", Predictions, NAMES) as writer,
        ):
            for batch in batches:
                writer.append(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv.partial"]
    whole = Predictions.joined(batches)
    with TableWriter(tmp_path / "s.csv", Predictions, NAMES) as writer:
        assert writer.rows >= 7 and writer.before == whole.where(np.arange(writer.rows))
        writer.append(whole.where(np.arange(writer.rows, len(whole))))
    assert Predictions.read_csv(tmp_path / "s.csv") == whole


def test_rows_of_other_columns_are_not_gone_on_with(tmp_path):
    (tmp_path / "s.csv.partial").write_text("path,other\na,b\n")
    with (
        pytest.raises(ValueError, match="has other columns"),
        TableWriter(tmp_path / "s.csv", Predictions, NAMES),
    ):
        pass
    assert (tmp_path / "s.csv.partial").read_text() == "path,other\na,b\n"


def test_a_stream_overwrites_nothing_and_takes_only_its_classes(tmp_path):
    (tmp_path / "s.csv").write_text("mine")
    with (
        pytest.raises(FileExistsError, match="never overwritten"),
        TableWriter(tmp_path / "s.csv", Predictions, NAMES),
    ):
        pass
    assert (tmp_path / "s.csv").read_text() == "mine"
    with (
        pytest.raises(ValueError, match=r"must be Predictions of \('a', 'b'\)"),
        TableWriter(tmp_path / "t.csv", Predictions, ("a", "b")) as writer,
    ):
        writer.append(table())


def test_a_writer_without_a_path_counts_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with TableWriter(None, Predictions, NAMES) as writer:
        writer.append(table(failed=(1,)))
    assert writer.rows == 7 and list(tmp_path.iterdir()) == []


def test_tables_of_the_same_classes_are_joined():
    whole = table(14, failed=(3, 9))
    parts = [whole.where(np.arange(start, min(14, start + 4))) for start in range(0, 14, 4)]
    assert Predictions.joined(parts) == whole


def test_views_rows_and_selection():
    t = Predictions(
        ("normal", "pneumonia"),
        ["a", "b", "c"],
        [[0.25, 0.75], [0.5, 0.5], [np.nan, np.nan]],
        ["pneumonia", 0, ""],
        splits=["val", "test", "test"],
        labels=["normal", "", -1],
        errors=["", "", "empty file"],
    )
    assert t[0] == Prediction("a", "", "val", "normal", (0.25, 0.75), "pneumonia")
    assert (
        t.labels.tolist() == [0, -1, -1]
        and t.predicted.tolist() == [1, 0, -1]
        and t.labels.dtype == np.int64
    )
    assert t.scorable.tolist() == [True, False, False]
    assert t.of_split("test").paths.tolist() == ["b", "c"]
    assert list(t.to_frame().columns) == [
        "path",
        "patient",
        "split",
        "label",
        "prob_normal",
        "prob_pneumonia",
        "predicted",
        "warning",
        "error",
        "acquisition",
        "subtype",
    ]
    assert t.to_frame()["predicted"].tolist() == ["pneumonia", "normal", ""]
    assert repr(t) == "Predictions(3 rows, classes ('normal', 'pneumonia'))"
    with pytest.raises(ValueError, match="read-only"):
        t.probabilities[0, 0] = 1


GOOD = dict(
    class_names=("a", "b"),
    paths=["x", "y"],
    probabilities=[[0.5, 0.5], [0.2, 0.8]],
    predicted=[0, 1],
)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(class_names=("a",)), "two or more different names"),
        (dict(class_names=("a", "a")), "two or more different names"),
        (dict(probabilities=[[0.5, 0.5]]), r"probabilities must be \(2, 2\)"),
        (dict(probabilities=[[0.5, 0.6], [0.2, 0.8]]), "sum to 1 within 0.0001.*path='x'"),
        (dict(probabilities=[[0.5, 0.5], [-0.2, 1.2]]), r"lie in \[0, 1\].*path='y'"),
        (
            dict(probabilities=[[np.nan, np.nan], [0.2, 0.8]]),
            "must be finite where the row has no error",
        ),
        (dict(errors=["broken", ""]), "must have NaN probabilities"),
        (
            dict(errors=["broken", ""], probabilities=[[np.nan] * 2, [0.2, 0.8]]),
            "must have no predicted class",
        ),
        (dict(predicted=["a", ""]), "predicted must be a class"),
        (dict(predicted=["a", "c"]), "predicted must be class names.*Received: 'c'"),
        (dict(labels=[0, 2]), "labels must be class names.*Received: 2"),
        (dict(labels=[0]), "labels must have one entry a path, 2. Received: 1"),
        (dict(patients=["p"]), "patients must have one entry a path"),
        (dict(splits=["val", "dev"]), "split must be empty or one of.*split='dev'"),
    ],
)
def test_the_door_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        Predictions(**{**GOOD, **change})


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must have the columns"),
        ("path,label\n", "must have the columns"),
        ("path,patient,split,label,prob_a,predicted\n", "must have the columns"),
        (
            "path,patient,split,label,prob_a,prob_b,predicted\nx,,,a,0.5\n",
            "row 1: expected 7 cells",
        ),
        (
            "path,patient,split,label,prob_a,prob_b,predicted\nx,,,a,half,0.5,a\n",
            "prob_{} must be a number",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        Predictions.read_csv(tmp_path / "p.csv")
