"""No patient and no copy is ever on two sides; the same seed gives the same split; split.csv gives
it back.
"""

import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from xray_tf.data.pixels.cache import build_cache
from xray_tf.data.records import Record, Records
from xray_tf.data.sources.scan import scan
from xray_tf.data.split import overlap, split_records
from xray_tf.data.tables.split_file import SplitError, apply_split, known_to, write_split

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CLASSES = (("normal", ""), ("pneumonia", "bacterial"), ("pneumonia", "viral"))


def make(patients=60, seed=0, split="", start=0):
    """Records of `patients` patients a class with one to four images each; every file has its own
    bytes.
    """
    rng, rows = random.Random(seed), []
    for label, subtype in CLASSES:
        for number in range(start, start + patients):
            for image in range(rng.randint(1, 4)):
                name = f"{subtype or label}{number}-{image}.png"
                rows.append(
                    Record(
                        name,
                        label,
                        subtype,
                        f"{subtype or label}:{number}",
                        sha256=f"sha {name}",
                        split=split,
                    )
                )
    return Records(rows, "somewhere")


def parts_of(records, column):
    found = defaultdict(set)
    for row in records:
        found[getattr(row, column)].add(row.split)
    return found


def kinds(findings):
    return Counter((f.kind, f.severity) for f in findings)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_parts_and_every_class_has_its_share(seed):
    records, findings = split_records(make(seed=seed), validation=0.2, test=0.15, seed=seed)
    assert (
        all(len(parts) == 1 for parts in parts_of(records, "patient").values())
        and not findings.rows
    )
    for kind in CLASSES:
        counts = Counter(r.split for r in records if (r.label, r.subtype) == kind)
        total = sum(counts.values())
        assert counts["test"] == pytest.approx(0.15 * total, abs=2)
        assert counts["val"] == pytest.approx(0.2 * (total - counts["test"]), abs=2)


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    records = make()
    first = {r.path: r.split for r in split_records(records, seed=1)[0]}
    shuffled = records.with_rows(random.Random(3).sample(records.rows, len(records)))
    assert {r.path: r.split for r in split_records(shuffled, seed=1)[0]} == first
    assert {r.path: r.split for r in split_records(shuffled, seed=2)[0]} != first
    by_image = {r.path: r.split for r in split_records(records, seed=1, split_by="image")[0]}
    assert (
        {r.path: r.split for r in split_records(shuffled, seed=1, split_by="image")[0]}
        == by_image
        != first
    )


@pytest.mark.parametrize("split_by", ["patient", "image"])
def test_copies_stay_together_across_patients(split_by):
    records = make()
    chain = [r.path for r in records if r.label == "normal"][:40:4]
    records = records.with_rows(
        replace(r, sha256="one file") if r.path in chain else r for r in records
    )
    parts = parts_of(split_records(records, split_by=split_by, seed=4)[0], "sha256")
    assert len(parts["one file"]) == 1


def test_groups_join_through_patients_and_copies_in_turn():
    rows = list(make(20))
    rows += [
        Record("a1", "normal", "", "A", "x"),
        Record("a2", "normal", "", "A", "y"),
        Record("b1", "normal", "", "B", "y"),
        Record("b2", "normal", "", "B", "z"),
        Record("c1", "pneumonia", "viral", "C", "z"),
    ]
    for seed in range(20):
        records, _ = split_records(Records(rows), seed=seed)
        assert len({r.split for r in records if r.path in ("a1", "a2", "b1", "b2", "c1")}) == 1


def test_a_val_part_is_folded_back_and_a_test_part_is_kept():
    train, val, test = (
        make(split="train"),
        make(2, split="val", start=100),
        make(10, split="test", start=200),
    )
    records, findings = split_records(Records([*train, *val, *test]))
    assert {r.path for r in records if r.split == "test"} == set(test.column("path"))
    assert kinds(findings) == {("val-folded", "note"): 1}
    outside = [r for r in records if r.split != "test"]
    assert sum(r.split == "val" for r in outside) == pytest.approx(0.2 * len(outside), abs=4)
    assert any(r.split == "train" for r in records if r.path in val.column("path"))


def test_copies_of_test_rows_are_set_aside_from_training():
    train, test = make(split="train"), make(10, split="test", start=200)
    twin, original = replace(train[0], sha256=test[5].sha256), test[5]
    records, findings = split_records(Records([twin, *train.rows[1:], *test]))
    assert twin.path not in records.column("path") and len(records) == len(train) - 1 + len(test)
    assert [(f.kind, f.severity, f.path, f.related) for f in findings] == [
        ("duplicate-of-test", "error", twin.path, original.path)
    ]


def test_patients_on_both_sides_of_a_given_test_part_are_counted_and_kept():
    train, test = make(split="train"), make(10, split="test")
    test = Records(replace(r, path=f"test/{r.path}", sha256=f"other {r.path}") for r in test)
    records, findings = split_records(Records([*train, *test]))
    outside = sum(r.patient in set(test.column("patient")) for r in train)
    assert kinds(findings) == {("patient-in-test", "warning"): 1} and len(records) == len(
        train
    ) + len(test)
    assert (
        f"30 patient keys are in the given test part ({len(test)} radiographs) and outside it "
        f"({outside})"
    ) in findings[0].detail


def test_a_few_rows_without_patient_are_set_aside():
    rows = [*make(), Record("odd.png", "normal", sha256="odd")]
    records, findings = split_records(Records(rows))
    assert len(records) == len(rows) - 1 and [(f.kind, f.severity, f.path) for f in findings] == [
        ("no-patient-key", "error", "odd.png")
    ]
    kept, findings = split_records(
        Records(
            [
                *make(),
                Record("odd.png", "normal", sha256="odd", split="test"),
                *make(3, split="test", start=90),
            ]
        )
    )
    assert "odd.png" in kept.column("path") and kinds(findings) == {
        ("no-patient-key", "warning"): 1
    }


def test_by_image_is_recorded():
    rows = Records(replace(r, patient="") for r in make())
    records, _ = split_records(rows, split_by="image")
    assert records.split_by == "image" and set(records.column("split")) == {"train", "val", "test"}


def test_a_part_that_is_not_wanted_is_not_drawn():
    assert set(split_records(make(), validation=0)[0].column("split")) == {"train", "test"}
    assert set(split_records(make(), test=0)[0].column("split")) == {"train", "val"}


def test_three_patients_a_class_are_just_enough():
    records, _ = split_records(make(3))
    for kind in CLASSES:
        assert Counter(
            parts
            for patient, p in parts_of(records, "patient").items()
            if patient.startswith(kind[1] or kind[0])
            for parts in p
        ) == {"train": 1, "val": 1, "test": 1}


def test_a_subtype_that_cannot_be_spread_is_a_warning():
    rows = [r for r in make() if r.subtype != "viral" or r.patient == "viral:0"]
    findings = split_records(Records(rows))[1]
    assert (
        kinds(findings) == {("subtype-missing", "warning"): 1}
        and ("No viral radiograph is in val, test") in findings[0].detail
    )


def test_unread_files_are_a_warning():
    findings = split_records(Records(replace(r, sha256="") for r in make()))[1]
    assert kinds(findings) == {("not-read", "warning"): 1}


def without_patients():
    return Records(replace(r, patient="") for r in make())


def one_class():
    return make().where(lambda r: r.label == "normal")


def unlabelled():
    return Records([*make(), Record("x.png", patient="p")])


def only_test():
    return make(split="test")


def one_family():
    return Records(replace(r, patient="one") if r.label == "normal" else r for r in make())


@pytest.mark.parametrize(
    "data, options, message",
    [
        (
            without_patients,
            {},
            r"have no patient key, so a split by patient is impossible.*--split-by "
            r"image",
        ),
        (one_class, {}, "needs two classes or more, such as normal and pneumonia"),
        (lambda: Records([]), {}, "needs two classes.*0 rows"),
        (unlabelled, {}, "1 of .* rows have no label"),
        (only_test, {}, "are a test part.*evaluate takes this one"),
        (
            one_family,
            {},
            "too few patients to split: normal has 1 for the parts train, val, test, and "
            "none is left for val, test.*set --test to 0",
        ),
        (lambda: make(2), {}, "too few patients to split"),
        (
            make,
            {"validation": 1.0},
            r"validation must be a share in \[0, 1\). Received: validation=1.0",
        ),
        (make, {"test": -0.1}, r"test must be a share in \[0, 1\). Received: test=-0.1"),
        (make, {"validation": float("nan")}, "validation must be a share"),
        (make, {"split_by": "hospital"}, "split_by must be one of .*Received: split_by='hospital'"),
    ],
)
def test_what_cannot_be_split_is_refused_with_a_way_out(data, options, message):
    with pytest.raises(SplitError, match=message):
        split_records(data(), **options)


def test_overlap_counts_keys_and_rows():
    rows = [
        Record("1", split="train", patient="a"),
        Record("2", split="train", patient="a"),
        Record("3", split="test", patient="a"),
        Record("4", split="test", patient="b"),
        Record("5", split="train"),
        Record("6", split="test"),
    ]
    assert overlap(rows, lambda r: r.patient, ["train"], ["test"]) == (1, 2, 1)


# ---- split.csv


@pytest.mark.parametrize("split_by", ["patient", "image"])
def test_a_split_given_back_is_the_same(tmp_path, split_by):
    records, _ = split_records(make(), seed=7, split_by=split_by)
    again, findings = apply_split(make(), write_split(records, tmp_path / "split.csv"))
    assert (
        again == records
        and again.split_by == split_by
        and again.root == records.root
        and not findings.rows
    )


def test_moved_and_renamed_files_are_found_by_their_bytes(tmp_path):
    records, _ = split_records(make(), seed=7)
    path = write_split(records, tmp_path / "split.csv")
    moved = Records([replace(r, path=f"moved/{i}") for i, r in enumerate(make())], "elsewhere")
    again, findings = apply_split(moved, path)
    assert [(r.sha256, r.split) for r in again] == [
        (r.sha256, r.split) for r in records
    ] and again.root == Path("elsewhere")


def test_copies_keep_one_row_each_when_found_by_their_bytes(tmp_path):
    records = Records(replace(r, sha256="same") if r.patient == "normal:0" else r for r in make())
    path = write_split(split_records(records)[0], tmp_path / "split.csv")
    again, _ = apply_split(Records(replace(r, path=f"m/{r.path}") for r in records), path)
    assert sorted(again.column("path")) == sorted(f"m/{r.path}" for r in records)


def test_rows_the_split_does_not_know_are_set_aside(tmp_path):
    path = write_split(split_records(make())[0], tmp_path / "split.csv")
    again, findings = apply_split(
        Records([*make(), Record("new.png", "normal", sha256="new")]), path
    )
    assert "new.png" not in again.column("path") and [
        (f.kind, f.severity, f.path) for f in findings
    ] == [("not-in-split", "error", "new.png")]


def test_changed_bytes_labels_and_patients_are_a_warning(tmp_path):
    records = make()
    path = write_split(split_records(records)[0], tmp_path / "split.csv")
    changed = [replace(records[0], sha256="other", patient="q"), *records.rows[1:]]
    _, findings = apply_split(Records(changed), path)
    assert [(f.kind, f.severity, f.path) for f in findings] == [
        ("split-differs", "warning", records[0].path)
    ]
    assert "Its sha256, patient is not what split.csv says" in findings[0].detail


def test_rows_that_are_missing_are_an_error(tmp_path):
    records = make()
    path = write_split(split_records(records)[0], tmp_path / "split.csv")
    with pytest.raises(
        SplitError,
        match=rf"1 of the {len(records)} radiographs in .* such as "
        rf"'{re.escape(records[4].path)}'",
    ):
        apply_split(records.where(lambda r: r.path != records[4].path), path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must have the columns"),
        ("path,split\na,train\n", "must have the columns"),
        (
            "path,sha256,patient,label,subtype,split,split_by\na,,,normal,,train,patient\nb,,,normal,,train,image\n",
            "split_by must be the same in every row",
        ),
        (
            "path,sha256,patient,label,subtype,split,split_by\na,,,normal,,dev,patient\n",
            "line 2: split must be one of .*Received: 'dev'",
        ),
        (
            "path,sha256,patient,label,subtype,split,split_by\na,,,normal,,train,patient\na,,,normal,,val,patient\n",
            "names 'a' more than once",
        ),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, text, message):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(SplitError, match=message):
        apply_split(make(), tmp_path / "split.csv")


def test_a_missing_split_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected the split.csv of an earlier run"):
        apply_split(make(), tmp_path / "split.csv")


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real radiographs (../shared/data) are not here"
)
@pytest.mark.parametrize("patient_key", ["namespaced", "bare"])
def test_real_patients_and_copies_stay_on_one_side(patient_key, tmp_path):
    scanned = scan(SHARED / "chest_xray", patient_key=patient_key).records
    read = build_cache(scanned, 64, "squash", tmp_path, progress=False).records
    records, findings = split_records(read)
    assert len(records) == 5216 and not findings.rows
    for column in ("patient", "sha256"):
        assert all(len(parts) == 1 for parts in parts_of(records, column).values())
    counts = Counter(records.column("split"))
    assert counts["test"] == pytest.approx(0.15 * 5216, abs=5) and counts["val"] == pytest.approx(
        0.2 * (5216 - counts["test"]), abs=5
    )


def test_rows_that_a_split_knows_are_known_by_their_bytes_and_else_by_their_patient(tmp_path):
    records, _ = split_records(make(20), validation=0.2, test=0.2)
    path = write_split(records, tmp_path / "split.csv")
    trained, nothing = [r.split == "train" for r in records], [False] * len(records)
    renamed = [replace(r, path=f"elsewhere/{i}.png", patient="") for i, r in enumerate(records)]
    unread = [replace(r, sha256="") for r in records]
    for same in (records, renamed, unread):
        assert [known.tolist() for known in known_to(same, path, "train")] == [trained, nothing]
    resized = [replace(r, sha256=f"small {r.sha256}") for r in records]
    assert [known.tolist() for known in known_to(resized, path, "train")] == [nothing, trained]
    assert known_to(records, path, "train", "val")[0].tolist() == [
        r.split != "test" for r in records
    ]


def test_near_copies_stay_on_one_side_and_are_told():
    records = make()
    rows = [r for r in records if r.label == "normal"]
    pairs = list(zip([r.path for r in rows[::2]], [r.path for r in rows[1::2]], strict=False))
    for seed in range(3):
        split, findings = split_records(records, seed=seed, copies=pairs)
        side = {r.path: r.split for r in split}
        assert all(side[a] == side[b] for a, b in pairs)
        assert "near-duplicates-together" in {f.kind for f in findings}


def test_a_near_copy_of_a_given_test_radiograph_is_set_aside():
    records = make()
    given = records.with_split(["test" if i % 5 == 0 else "train" for i in range(len(records))])
    tested, trained = given[0].path, given[1].path
    for pair in ((tested, trained), (trained, tested)):
        split, findings = split_records(given, copies=[pair])
        assert trained not in split.column("path") and tested in split.column("path")
        (finding,) = [f for f in findings if f.kind == "near-duplicate-of-test"]
        assert finding.path == trained and finding.related == tested
