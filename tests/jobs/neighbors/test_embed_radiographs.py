"""Embedding a data set: vectors aligned with their records, neighbours fitted on training rows
only, the same rows for both readers.
"""

import csv
import json
import shutil
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from xray_tf.artifact import ArtifactError
from xray_tf.data.embeddings import read_embeddings, write_embeddings
from xray_tf.data.predictions import Predictions
from xray_tf.data.records import Record
from xray_tf.data.sources.phantom_folder import write_phantoms
from xray_tf.jobs.classifier.evaluate_model import evaluate_model
from xray_tf.jobs.neighbors import embed_radiographs as job
from xray_tf.jobs.neighbors.embed_radiographs import embed_radiographs, parts_of
from xray_tf.models.load import load
from xray_tf.models.reference import Reference
from xray_tf.options import DataOptions, EmbedOptions, EvaluateOptions

NUMBERS = EvaluateOptions(bootstrap=20)
OPTIONS = EmbedOptions(map_rows=40)


@pytest.fixture(scope="module")
def done(binary, phantoms, cache, tmp_path_factory):
    """An artifact with a reference, the folder of results and their metrics."""
    place = tmp_path_factory.mktemp("embed")
    model = shutil.copytree(binary.folder, place / "model")
    metrics = embed_radiographs(
        model,
        str(phantoms),
        place / "out",
        DataOptions(cache=str(cache)),
        OPTIONS,
        NUMBERS,
        save_reference=True,
        command_line="python -m xray_tf.embed",
        progress=False,
    )
    return load(model), place / "out", metrics


def split_of(classifier):
    with (classifier.folder / "split.csv").open() as stream:
        return {r["path"]: r["split"] for r in csv.DictReader(stream)}


def test_embeddings_are_float32_and_aligned_with_records(done, phantoms):
    classifier, out, metrics = done
    embeddings, records = read_embeddings(out / "embeddings.npz")
    assert embeddings.dtype == np.float32 and embeddings.shape == (
        len(records),
        classifier.model.get_layer("embedding").output.shape[-1],
    ) == (
        metrics["radiographs"],
        metrics["dimensions"],
    )
    assert {r.path: r.split for r in records} == split_of(classifier)
    for i in (0, len(records) // 2, len(records) - 1):
        pixels = classifier_pixels(classifier, phantoms / records[i].path)
        np.testing.assert_allclose(
            embeddings[i],
            classifier.forward(pixels, points=("embedding",))["embedding"][0],
            atol=1e-4,
        )


def classifier_pixels(classifier, path):
    from xray_tf.data.pixels.reading import read_file

    prep = classifier.card.preprocessing
    return read_file(path, prep["image_size"], prep["resize"])[1][None]


def test_the_reference_holds_training_rows_only_and_is_under_eight_megabytes(done):
    classifier, out, metrics = done
    reference = Reference.read(out, classifier.card)
    split = split_of(classifier)
    assert sorted(r.path for r in reference.rows) == sorted(
        p for p, s in split.items() if s == "train"
    )
    assert (
        metrics["reference_bytes"]
        == sum((out / n).stat().st_size for n in ("reference.npz", "reference.json"))
        < 8_000_000
    )
    assert (classifier.folder / "reference" / "reference.npz").read_bytes() == (
        out / "reference.npz"
    ).read_bytes()
    assert classifier.card == load(classifier.folder).card  # the artifact is still sound
    assert reference.about["provenance"]["command_line"] == "python -m xray_tf.embed"


def test_both_readers_are_scored_on_the_test_rows_and_the_head_as_evaluate_does(
    done, phantoms, cache
):
    classifier, out, metrics = done
    assert metrics["rows"] == dict(Counter(split_of(classifier).values()))
    assert (
        metrics["knn"]["rows"] == metrics["head"]["rows"] == metrics["rows"]["test"]
        and metrics["knn"]["split"] == "test"
    )
    stored = Predictions.read_csv(classifier.folder / "predictions.csv").of_split("test")
    head = Predictions.read_csv(out / "head_predictions.csv").of_split("test")
    np.testing.assert_allclose(
        sorted(stored.probabilities[:, 1]), sorted(head.probabilities[:, 1]), atol=1e-5
    )
    knn = Predictions.read_csv(out / "knn_predictions.csv").of_split("test")
    assert metrics["knn"]["metrics"]["accuracy"]["value"] == pytest.approx(
        (knn.predicted == knn.labels).mean()
    )
    np.testing.assert_array_equal(
        knn.predicted, knn.probabilities[:, 1] >= metrics["operating_point"]["threshold"]
    )
    gap = (
        metrics["knn"]["metrics"]["accuracy"]["value"]
        - metrics["head"]["metrics"]["accuracy"]["value"]
    )
    assert metrics["difference"]["accuracy"] == pytest.approx(gap, abs=1e-6)
    assert json.loads((out / "metrics.json").read_text()) == metrics


def test_the_operating_point_and_k_come_from_validation_and_training_rows(done):
    _, _, metrics = done
    point, rows = metrics["operating_point"], metrics["cross_validation"]
    assert point["fitted_on"] == "val" and point["rows"] == metrics["rows"]["val"]
    best = max(rows, key=lambda r: (round(r["auroc"] + r["balanced_accuracy"], 6), r["k"]))
    assert (
        metrics["recipe"]["k"] == best["k"]
        and metrics["storage"]["validation_rows"] == metrics["rows"]["val"]
    )


def test_no_training_row_has_its_own_patient_or_file_among_its_neighbours(done):
    _, out, metrics = done
    _, records = read_embeddings(out / "embeddings.npz")
    keys = {r.path: (r.patient, r.sha256) for r in records}
    with (out / "neighbors.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    shown = min(5, metrics["recipe"]["k"])
    assert len(rows) == shown * len(records)
    assert {r["split"] for r in rows} == {"train", "val", "test"}
    for row in rows:
        patient, sha256 = keys[row["path"]]
        assert row["patient"] != patient and keys[row["neighbor"]][1] != sha256


def test_every_promised_file_is_there_and_pictures_are_pictures(done):
    _, out, metrics = done
    assert {p.name for p in out.iterdir()} == {
        "embeddings.npz",
        "metrics.json",
        "audit.csv",
        "neighbors.csv",
        "knn_predictions.csv",
        "head_predictions.csv",
        "reference.npz",
        "reference.json",
        "confusion_knn.png",
        "confusion_head.png",
        "tsne.png",
        "pca.png",
        "page.html",
    }
    for name in ("tsne.png", "pca.png", "confusion_knn.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert metrics["maps"]["tsne"]["rows"] == 40 and 0 < metrics["maps"]["tsne"]["perplexity"] <= 13


def test_a_map_of_a_part_keeps_all_test_rows(done):
    _, out, metrics = done
    text = (out / "page.html").read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["points"]) == 40 and sum(p[6] == 2 for p in data["points"]) == min(
        40, metrics["rows"]["test"]
    )


def test_other_data_are_asked_against_the_artifacts_reference(done, tmp_path, cache):
    classifier, _, metrics = done
    fresh = write_phantoms(tmp_path / "fresh", patients=9, seed=77, size=64)
    out = embed_radiographs(
        classifier,
        str(fresh),
        tmp_path / "out",
        DataOptions(cache=str(cache)),
        EmbedOptions(map_rows=0),
        NUMBERS,
        progress=False,
    )
    assert (
        out["reference"] == "the artifact's"
        and out["recipe"] == metrics["recipe"]
        and out["operating_point"] == metrics["operating_point"]
    )
    assert (
        out["rows"] == {"new": out["radiographs"]}
        and out["knn"]["rows"] == out["radiographs"]
        and not (tmp_path / "out" / "page.html").exists()
    )
    plain, _ = evaluate_model(
        classifier, str(fresh), None, DataOptions(cache=str(cache)), NUMBERS, progress=False
    )
    assert out["head"]["metrics"]["auroc"]["value"] == pytest.approx(
        plain["metrics"]["auroc"]["value"]
    )


def test_without_training_rows_and_without_reference_it_says_what_to_do(
    binary, phantoms, tmp_path, cache
):
    part = tmp_path / "part" / "test" / "NORMAL"
    part.mkdir(parents=True)
    for file in sorted((phantoms / "train" / "NORMAL").iterdir())[:3]:
        shutil.copy(file, part)
    with pytest.raises(ArtifactError, match="--add-reference"):
        embed_radiographs(
            binary,
            str(tmp_path / "part"),
            tmp_path / "out",
            DataOptions(cache=str(cache)),
            OPTIONS,
            NUMBERS,
            progress=False,
        )
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_told_before_the_forward_passes(
    done, binary, phantoms, cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(job, "_forward", lambda *a: pytest.fail("the forward passes were begun"))
    fresh = write_phantoms(tmp_path / "fresh", patients=3, seed=77, size=64)
    train = done[2]["rows"]["train"]
    for classifier, data, options, task, error, message in (
        (
            binary,
            phantoms,
            EmbedOptions(neighbors=train),
            None,
            ValueError,
            f"less than the number of training rows, {train}",
        ),
        (binary, fresh, OPTIONS, None, ArtifactError, "has 0 of the"),
        (done[0], fresh, OPTIONS, "three-class", ValueError, "is for the task binary"),
    ):
        with pytest.raises(error, match=message):
            embed_radiographs(
                classifier,
                str(data),
                tmp_path / "out",
                DataOptions(cache=str(cache)),
                options,
                NUMBERS,
                task=task,
                progress=False,
            )
    assert not (tmp_path / "out").exists()


def test_notes_tell_what_makes_the_scores_flattering_or_unequal(done):
    classifier, out, metrics = done
    _, records = read_embeddings(out / "embeddings.npz")
    part = {name: [r for r in records if r.split == name] for name in ("train", "val", "test")}

    def notes(split, rows, points=("balanced", "balanced")):
        return job._notes(
            {
                k: {"split": split, "operating_point": p}
                for k, p in zip(("knn", "head"), points, strict=True)
            },
            rows,
            classifier,
        )

    assert (
        notes("test", part["test"]) == []
        and job._notes({"knn": None, "head": None}, [], classifier) == []
    )
    assert [n[:22] for n in notes("val", part["val"])] == ["There are no test rows"]
    # other copies of the same children
    foreign = [
        replace(r, sha256="0" * 64, split="")
        for r in (*part["train"][:2], *part["val"][:1], *part["test"][:1])
    ]
    assert [n[:21] for n in notes("all rows", foreign)] == ["3 of these 4 rows hav"]
    assert (
        "neighbours decide at the operating point balanced, the head at steady"
        in notes("test", part["test"], ("balanced", "steady"))[0].lower()
    )
    points = {metrics[k]["operating_point"] for k in ("knn", "head")}
    assert len(metrics["notes"]) == len(points) - 1


def test_another_task_is_answered_by_neighbours_alone(done, phantoms, cache, tmp_path):
    classifier, _, _ = done
    out = embed_radiographs(
        classifier,
        str(phantoms),
        tmp_path / "out",
        DataOptions(cache=str(cache)),
        EmbedOptions(map_rows=0, neighbors=3),
        NUMBERS,
        task="three-class",
        progress=False,
    )
    assert (
        out["head"] is None
        and out["difference"] is None
        and out["knn"]["class_names"] == ["normal", "bacterial", "viral"]
    )
    assert (
        out["cross_validation"] == []
        and out["recipe"]["k"] == 3
        and not (tmp_path / "out" / "head_predictions.csv").exists()
    )


def test_acquisition_groups_stand_beside_both_answers_and_on_the_maps(
    done, phantoms, cache, tmp_path
):
    classifier, before, _ = done
    groups = {path: str(i % 3) for i, path in enumerate(split_of(classifier))}
    lines = ["path,acquisition", *(f"{path},{group}" for path, group in groups.items())]
    (tmp_path / "groups.csv").write_text("\n".join(lines) + "\n")
    embed_radiographs(
        classifier,
        str(phantoms),
        tmp_path / "out",
        DataOptions(cache=str(cache), groups=str(tmp_path / "groups.csv")),
        EmbedOptions(map_rows=40, neighbors=3),
        NUMBERS,
        progress=False,
    )
    for name in ("knn", "head"):
        table = Predictions.read_csv(tmp_path / "out" / f"{name}_predictions.csv")
        assert [groups[p] for p in table.paths] == list(table.acquisitions)
    wide, narrow = (cv2.imread(str(f / "tsne.png")).shape[1] for f in (tmp_path / "out", before))
    assert wide > narrow


def test_results_and_references_are_never_overwritten(done, phantoms, cache, tmp_path):
    classifier, out, _ = done
    with pytest.raises(FileExistsError, match="never overwritten"):
        embed_radiographs(classifier, str(phantoms), out, progress=False)
    with pytest.raises(FileExistsError, match="reference"):
        embed_radiographs(
            classifier, str(phantoms), tmp_path / "new", save_reference=True, progress=False
        )
    with pytest.raises(ValueError, match="four-class"):
        embed_radiographs(
            classifier, str(phantoms), tmp_path / "new", task="four-class", progress=False
        )


def test_rows_are_found_in_the_split_by_their_bytes_whatever_they_are_called(done, tmp_path):
    classifier, out, _ = done
    _, records = read_embeddings(out / "embeddings.npz")
    renamed = records.with_rows(
        replace(r, path=f"elsewhere/{i}.png") for i, r in enumerate(records)
    )
    assert parts_of(renamed, classifier.folder / "split.csv") == records.column("split")
    changed = records.with_rows(replace(r, sha256="f" * 64) for r in records)
    # other bytes under a known name are another radiograph
    assert set(parts_of(changed, classifier.folder / "split.csv")) == {""}


def test_stored_embeddings_come_back_and_foreign_files_are_refused(done, tmp_path):
    _, out, _ = done
    embeddings, records = read_embeddings(out / "embeddings.npz")
    again, rows = read_embeddings(write_embeddings(tmp_path / "e.npz", embeddings, records))
    assert again.tobytes() == embeddings.tobytes() and rows == records
    np.savez(tmp_path / "x.npz", embedding=embeddings)
    with pytest.raises(ValueError, match="must hold embedding, path"):
        read_embeddings(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("splits", "fitted", "reported"),
    [
        (("train", "val", "test"), True, [False, False, True]),
        (("train", "val", "val"), True, [False, True, True]),
        (("train", "val", "test", ""), False, [False, False, True, True]),
        (("train", "val"), False, [False, False]),
    ],
)
def test_test_rows_are_scored_or_validation_rows_where_there_are_none(splits, fitted, reported):
    rows = [Record(f"{i}.png", "normal", split=split) for i, split in enumerate(splits)]
    assert job._reported(rows, fitted).tolist() == reported
