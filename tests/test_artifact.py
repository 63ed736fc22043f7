"""Artifacts: whole or not at all, never overwritten, damage and newer formats refused."""

import json

import pytest

from xray_tf import artifact, writing
from xray_tf.artifact import (
    ArtifactError,
    Card,
    new_folder,
    new_piece,
    read_card,
    refuse_existing,
    renewed_folder,
    seal,
    write_text,
)


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "model"
    with new_folder(target) as draft:
        (draft / "weights.bin").write_bytes(b"12345")
        seal(
            draft,
            Card(
                kind="classifier", name="model", class_names=("normal", "pneumonia"), notes=("a",)
            ),
        )
    return target


def test_a_sealed_folder_reads_back_equal(folder):
    card = read_card(folder, kind="classifier")
    assert card.class_names == ("normal", "pneumonia") and card.notes == ("a",)
    assert set(card.files) == {"weights.bin"}


def test_nothing_is_left_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"), new_folder(tmp_path / "model") as draft:
        (draft / "half").write_text("x")
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(folder):
    with pytest.raises(FileExistsError, match="never overwritten"), new_folder(folder):
        pass
    assert (folder / "weights.bin").read_bytes() == b"12345"


def test_an_empty_folder_may_take_the_result(tmp_path):
    (tmp_path / "model").mkdir()
    assert refuse_existing(tmp_path / "model") is None


def _edit(folder, change):
    raw = json.loads((folder / "card.json").read_text())
    change(raw)
    (folder / "card.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "card.json").unlink(), "not an xray_tf artifact"),
        (lambda f: (f / "card.json").write_text("{"), "damaged"),
        (lambda f: (f / "card.json").write_text("[]"), "damaged"),
        (lambda f: (f / "weights.bin").write_bytes(b"12346"), "sha256"),
        (lambda f: (f / "weights.bin").unlink(), "missing"),
        (lambda f: _edit(f, lambda raw: raw.update(format_version=2)), "Upgrade"),
        (lambda f: _edit(f, lambda raw: raw.update(kind="spell")), "spell"),
        (
            lambda f: _edit(f, lambda raw: raw.update(kind="detector")),
            "Expected a classifier, such as `xray-tf train` creates",
        ),
        (lambda f: _edit(f, lambda raw: raw.update(surprise=1)), "surprise"),
        (
            lambda f: _edit(f, lambda raw: raw["files"].update({"../outside": "0"})),
            "outside the folder",
        ),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(folder, damage, message):
    damage(folder)
    with pytest.raises(ArtifactError, match=message):
        read_card(folder, kind="classifier")


def test_a_piece_is_added_whole_without_touching_the_card(folder):
    before = (folder / "card.json").read_bytes()
    with new_piece(folder, "saved_model") as draft:
        write_text(draft / "graph", "g")
    assert (folder / "card.json").read_bytes() == before
    assert set(json.loads((folder / "saved_model" / "manifest.json").read_text())["files"]) == {
        "graph"
    }
    read_card(folder)
    with pytest.raises(FileExistsError), new_piece(folder, "saved_model"):
        pass


def test_a_failed_piece_leaves_the_artifact_as_it_was(folder):
    with pytest.raises(RuntimeError), new_piece(folder, "saved_model"):
        raise RuntimeError
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.bin"]


def names_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_a_renewed_folder_takes_the_place_of_the_old_one_whole(folder, tmp_path):
    with renewed_folder(folder) as draft:
        (draft / "page").write_text("new")
        # a reader still sees the old one
        assert names_below(folder) == ["card.json", "weights.bin"]
    assert names_below(folder) == ["card.json", "page", "weights.bin"] and names_below(
        tmp_path
    ) == ["model", *(f"model/{n}" for n in names_below(folder))]


@pytest.mark.parametrize("fails_at", ["writing", "the first rename", "the second rename"])
def test_a_folder_that_could_not_be_renewed_is_as_it_was(fails_at, folder, tmp_path, monkeypatch):
    calls, rename = [], artifact.os.rename
    monkeypatch.setattr(writing, "exchange", lambda one, other: False)

    def failing(a, b):
        calls.append(a)
        if len(calls) == {"the first rename": 1, "the second rename": 2}.get(fails_at):
            raise OSError("disk gone")
        rename(a, b)

    monkeypatch.setattr(artifact.os, "rename", failing)
    with pytest.raises(OSError, match="disk gone"), renewed_folder(folder) as draft:
        (draft / "weights.bin").write_bytes(b"other")
        if fails_at == "writing":
            raise OSError("disk gone")
    assert names_below(tmp_path) == ["model", "model/card.json", "model/weights.bin"]
    assert read_card(folder).name == "model" and (folder / "weights.bin").read_bytes() == b"12345"


def test_both_copies_survive_an_interrupt_between_the_two_renames(folder, tmp_path, monkeypatch):
    rename = artifact.os.rename
    monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    monkeypatch.setattr(
        artifact.os,
        "rename",
        lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt) if a != folder else rename(a, b),
    )
    with pytest.raises(KeyboardInterrupt), renewed_folder(folder):
        pass
    assert sorted(p.parent.name for p in tmp_path.rglob("weights.bin")) == ["new", "old"]
    monkeypatch.undo()
    read_card(folder)  # whoever comes next finishes it
    assert names_below(tmp_path) == ["model", "model/card.json", "model/weights.bin"]


def test_a_seal_leaves_pieces_to_their_own_manifests(folder):
    with new_piece(folder, "saved_model") as draft:
        write_text(draft / "graph", "g")
    assert set(seal(folder, read_card(folder)).files) == {"weights.bin"}


def test_a_link_stays_a_link_when_its_folder_is_renewed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    with renewed_folder(tmp_path / "link") as draft:
        (draft / "page").write_text("new")
    assert (tmp_path / "link").is_symlink() and (folder / "page").read_text() == "new"
