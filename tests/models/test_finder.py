"""The artifact's memory of its training rows: refitted bit for bit, bound to its model, and able to
show what is nearest.
"""

import json
import os
import shutil

import numpy as np
import pytest

from xray_tf.artifact import ArtifactError
from xray_tf.data.embeddings import read_embeddings
from xray_tf.data.pixels.reading import read_file
from xray_tf.data.records import Records
from xray_tf.data.sources.by_content import find_by_sha256
from xray_tf.jobs.neighbors import nearest_cases as page_of_nearest
from xray_tf.jobs.neighbors.embed_radiographs import add_reference, embed_radiographs
from xray_tf.jobs.neighbors.nearest_cases import nearest_cases
from xray_tf.models.finder import NearestCaseFinder
from xray_tf.models.load import load
from xray_tf.models.reference import Reference, Thumbnails
from xray_tf.pages.neighbors.figures import draw_nearest


@pytest.fixture
def queries(remembered, phantoms):
    classifier, out = remembered
    _, records = read_embeddings(out / "embeddings.npz")
    return [phantoms / r.path for r in records if r.split == "test"][:3]


def test_a_reference_written_again_answers_bit_for_bit(remembered, tmp_path):
    classifier, out = remembered
    embeddings, records = read_embeddings(out / "embeddings.npz")
    first = Reference.read(out, classifier.card)
    first.write(tmp_path)
    for a, b in zip(
        vars(first.ask(embeddings, list(records), 9)).values(),
        vars(Reference.read(tmp_path).ask(embeddings, list(records), 9)).values(),
        strict=True,
    ):
        assert a.tobytes() == b.tobytes()


def test_nearest_names_training_rows_in_order_of_distance(remembered, queries):
    classifier, out = remembered
    finder = NearestCaseFinder(classifier)
    table, predictions = finder.nearest(queries, k=4)
    embeddings, records = read_embeddings(out / "embeddings.npz")
    train = [i for i, r in enumerate(records) if r.split == "train"]
    cases = finder.reference.cases
    space = cases.to_space(embeddings).astype(float)
    for query in queries:
        rows = table.of(os.fspath(query))
        assert [r.rank for r in rows] == [1, 2, 3, 4] and 0 <= rows[0].unusual <= 100
        at = next(i for i, r in enumerate(records) if query.as_posix().endswith(r.path))
        far = 1 - space[train] @ space[at]
        assert [r.path for r in rows] == [records[train[i]].path for i in np.argsort(far)[:4]]
        # the stored rows are float16
        np.testing.assert_allclose([r.distance for r in rows], np.sort(far)[:4], atol=2e-3)
    assert list(predictions.paths) == [os.fspath(q) for q in queries]
    assert list(table.to_frame().columns) == [
        "query",
        "rank",
        "label",
        "subtype",
        "distance",
        "patient",
        "path",
        "sha256",
        "unusual",
    ]


def test_a_training_radiograph_is_never_its_own_or_its_patients_neighbour(remembered, phantoms):
    classifier, _ = remembered
    finder = NearestCaseFinder(classifier)
    row = finder.reference.rows[0]
    table, _ = finder.nearest(phantoms / row.path, k=len(finder.reference.rows))
    kin = {r.sha256 for r in finder.reference.rows if r.patient == row.patient}
    assert len(table) == len(finder.reference.rows) - len(kin) and not kin & set(
        table.column("sha256")
    )


def test_unusual_is_the_rank_of_the_mean_distance_whatever_the_number_named(remembered, queries):
    finder = NearestCaseFinder(remembered[0])
    five, two = (finder.nearest(queries[0], k=k)[0] for k in (5, 2))  # five vote
    typical = finder.reference.cases.typical_
    assert five[0].unusual == pytest.approx(
        100 * np.mean(typical <= np.float32(np.mean(five.column("distance"))))
    )
    assert len(two) == 2 and two[0].unusual == five[0].unusual


@pytest.mark.parametrize("k", [0, -3])
def test_no_neighbour_asked_for_is_refused_before_anything_is_read(remembered, tmp_path, k):
    with pytest.raises(ValueError, match=f"above 0. Received: k={k}"):
        nearest_cases(remembered[0], tmp_path / "none.png", tmp_path / "out", k=k)
    reference = NearestCaseFinder(remembered[0]).reference
    dimensions = remembered[0].model.get_layer("embedding").output.shape[-1]
    with pytest.raises(ValueError, match=f"above 0. Received: k={k}"):
        reference.ask(np.zeros((1, dimensions), np.float32), reference.rows[:1], k)


def test_no_radiograph_is_refused(remembered):
    with pytest.raises(ValueError, match="one or more radiographs"):
        NearestCaseFinder(remembered[0]).nearest(np.zeros((0, 32, 32), np.uint8))


def test_the_page_pictures_the_first_and_names_all(remembered, queries, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        page_of_nearest, "draw_nearest", lambda *a: drawn.append(a) or draw_nearest(*a)
    )
    monkeypatch.setattr(page_of_nearest, "PICTURED", 8)
    nearest_cases(remembered[0], queries[:1], tmp_path / "out", k=12)
    page = (tmp_path / "out" / "nearest.html").read_text()
    assert len(drawn[0][2]) == len(drawn[0][3]) == 8 and page.count('<th scope="row">') == 12
    assert draw_nearest(*drawn[0]).axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 6)


def test_thumbnails_are_found_by_their_bytes_under_other_names(remembered, phantoms, tmp_path):
    rows = Reference.read(remembered[1]).rows
    (tmp_path / "deep").mkdir()
    shutil.copy(phantoms / rows[0].path, tmp_path / "deep" / "renamed.png")
    (tmp_path / "decoy").mkdir()
    (tmp_path / "decoy" / os.path.basename(rows[1].path)).write_bytes(
        b"the name alone is not enough"
    )
    assert find_by_sha256(tmp_path, [(r.sha256, r.path) for r in rows]) == {
        rows[0].sha256: tmp_path / "deep" / "renamed.png"
    }
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        find_by_sha256(tmp_path / "none", [])


@pytest.mark.parametrize("with_data", [True, False])
def test_the_page_shows_neighbours_or_says_that_no_folder_was_named(
    remembered, queries, phantoms, tmp_path, with_data
):
    table, predictions = nearest_cases(
        remembered[0], queries[:1], tmp_path / "out", k=3, data=phantoms if with_data else None
    )
    page = (tmp_path / "out" / "nearest.html").read_text()
    assert ("no folder was given" in page) != with_data and "not a medical device" in page
    for row in table:
        assert os.path.basename(row.path) in page and f"{row.distance:.4f}" in page
    assert (tmp_path / "out" / "nearest.csv").read_text().count("\n") == 4 and len(predictions) == 1
    assert 'src="data:image/png' in page and "http" not in page.replace("http-equiv", "")


def test_the_page_says_that_a_training_radiograph_was_asked_about(
    remembered, phantoms, queries, tmp_path
):
    row = Reference.read(remembered[1]).rows[0]
    nearest_cases(remembered[0], phantoms / row.path, tmp_path / "a")
    assert (
        "The same file is among the training radiographs"
        in (tmp_path / "a" / "nearest.html").read_text()
    )
    changed = (phantoms / row.path).read_bytes() + b"other bytes"
    (tmp_path / os.path.basename(row.path)).write_bytes(changed)
    nearest_cases(remembered[0], tmp_path / os.path.basename(row.path), tmp_path / "b")
    assert (
        "Radiographs with its patient key are among"
        in (tmp_path / "b" / "nearest.html").read_text()
    )
    nearest_cases(remembered[0], queries[0], tmp_path / "c")
    assert "passed over" not in (tmp_path / "c" / "nearest.html").read_text()


def test_a_folder_without_the_files_is_named_as_such(remembered, queries, tmp_path):
    (tmp_path / "empty").mkdir()
    nearest_cases(remembered[0], queries[:1], tmp_path / "out", k=3, data=tmp_path / "empty")
    assert (
        "3 neighbours&#39; files are not in the given folder"
        in (tmp_path / "out" / "nearest.html").read_text()
    )


def test_references_that_are_missing_damaged_or_of_another_model_are_refused(
    remembered, binary, three_class, tmp_path
):
    classifier, out = remembered
    with pytest.raises(ArtifactError, match="--add-reference"):
        NearestCaseFinder(binary)
    with pytest.raises(ArtifactError, match="another model"):
        add_reference(three_class, out)
    with pytest.raises(FileExistsError, match="never overwritten"):
        add_reference(classifier, out)
    copy = shutil.copytree(classifier.folder, tmp_path / "copy")
    with (copy / "reference" / "reference.npz").open("r+b") as stream:
        stream.seek(200)
        stream.write(b"XXXX")
    with pytest.raises(ArtifactError, match="sha256"):
        NearestCaseFinder(load(copy))
    broken = shutil.copytree(out, tmp_path / "broken")
    (broken / "reference.npz").write_bytes(b"PK no archive")
    with pytest.raises(ArtifactError, match="cannot be read as a reference"):
        Reference.read(broken)
    (broken / "reference.json").write_text(json.dumps({"task": "binary"}))
    shutil.copy(out / "reference.npz", broken / "reference.npz")
    with pytest.raises(ArtifactError, match="model_sha256"):
        Reference.read(broken)


def test_nothing_in_a_reference_is_unpickled(remembered, tmp_path):
    _, out = remembered
    with np.load(out / "reference.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    np.savez(
        tmp_path / "reference.npz",
        **{**arrays, "row_path": np.array([object()] * len(arrays["labels"]))},
    )
    shutil.copy(out / "reference.json", tmp_path)
    with pytest.raises(ArtifactError, match="allow_pickle"):
        Reference.read(tmp_path)


def test_an_unreadable_query_is_named(remembered, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match="bad.png cannot be read"):
        nearest_cases(remembered[0], tmp_path / "bad.png")


def test_undecodable_names_survive_the_reference(remembered, tmp_path):
    from dataclasses import replace

    reference = Reference.read(remembered[1])
    rows = Records([replace(reference.rows[0], path="a\udcff é.png"), *reference.rows.rows[1:]])
    Reference(reference.cases, rows, reference.about).write(tmp_path)
    assert Reference.read(tmp_path).rows[0].path == "a\udcff é.png"


def test_a_reference_keeps_small_pictures_where_they_are_asked_for(
    binary, phantoms, cache, tmp_path, monkeypatch
):
    model = shutil.copytree(binary.folder, tmp_path / "model")
    how = {"cache": str(cache), "map_rows": 0, "neighbors": 3, "bootstrap": 0, "progress": False}
    embed_radiographs(
        model, str(phantoms), tmp_path / "out", save_reference=True, thumbnails=24, **how
    )
    reference = Reference.read(model / "reference")
    classifier, row = load(model), reference.rows[5]
    assert len(reference.pictures) == len(reference.rows)
    assert reference.pictures[5].shape == (24, 24)
    evidence = classifier.read(str(phantoms / row.path))
    assert evidence.neighbors.rows and not evidence.neighbors.folder
    for near in evidence.neighbors.rows:
        seen = evidence.neighbors.pictures[near.sha256].astype(float)
        pixels = read_file(phantoms / near.path, 24, "crop")[1].astype(float)
        assert np.corrcoef(seen.ravel(), pixels.ravel())[0, 1] > 0.9
    assert "no picture" not in evidence._repr_html_()
    drawn = []
    monkeypatch.setattr(
        page_of_nearest, "draw_nearest", lambda *a: drawn.append(a) or draw_nearest(*a)
    )
    nearest_cases(model, phantoms / row.path, tmp_path / "near", k=3)
    asked, _, pictures, _ = drawn[0]
    assert len(pictures) == 3 and {p.shape for p in pictures} == {asked.shape}
    assert "no pictures" not in (tmp_path / "near" / "nearest.html").read_text()
    (model / "reference" / "thumbnails.npz").unlink()
    with pytest.raises(ArtifactError):
        Reference.read(model / "reference")


def test_damaged_thumbnails_are_told():
    good = Thumbnails.of([np.zeros((32, 32), np.uint8)] * 2, 16)
    assert good[1].shape == (16, 16) and len(good) == 2
    for starts in ([0, 3], [1, len(good.data)], [0, 99, 3, len(good.data)]):
        with pytest.raises(ValueError, match="where each of them starts"):
            Thumbnails(good.head, good.data, np.array(starts))
    assert Thumbnails(*[np.zeros(4, np.uint8)] * 2, np.array([0, 4]))[0] is None
