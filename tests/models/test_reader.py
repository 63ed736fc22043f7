"""The evidence on one radiograph: what the model, its memory and a detector answer one by one, and
caveats that fire where they should.
"""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from xray_tf.artifact import Card
from xray_tf.data.chest.lung_table import NO_LUNGS
from xray_tf.data.embeddings import read_embeddings
from xray_tf.data.scores import Scores
from xray_tf.models.asked.queries import read_query
from xray_tf.models.caveats import caveats_of, differ, edge_share, looks_inverted
from xray_tf.models.reader import Reader, write_evidence
from xray_tf.operating_point import OperatingPoint
from xray_tf.pages.evidence.page import Anomaly
from xray_tf.registry import TASKS


@pytest.fixture(scope="module")
def remembered(remembered, phantoms):
    """A classifier with a reference, and a radiograph of its test and of its training part."""
    model, out = remembered
    _, records = read_embeddings(out / "embeddings.npz")
    return model, [
        phantoms / next(r.path for r in records if r.split == part) for part in ("test", "train")
    ]


HALF = OperatingPoint("half", threshold=0.5)


class EveryoneIsOdd:
    """A detector whose answer is known."""

    card = Card(kind="detector", name="odd", preprocessing={"image_size": 48, "resize": "pad"})

    def __init__(self, anomaly=0.9):
        self.anomaly, self.seen = anomaly, None

    def score(self, image):
        self.seen = image.shape
        odd = self.anomaly >= 0.5
        return Scores(
            ("reconstruction_error",),
            ["image 0"],
            [[0.02]],
            [[99.5]],
            [self.anomaly],
            ["anomalous" if odd else "normal"],
            ["reconstruction" if odd else ""],
        )

    def maps(self, pixels):
        return np.ones(pixels.shape, np.float32)


def test_it_says_what_the_parts_say_one_by_one(remembered, phantoms):
    classifier, (test, _) = remembered
    evidence = classifier.read(test, data=phantoms, neighbors=3)
    alone, (table, votes) = classifier.predict(test), classifier.nearest(test, 3)
    np.testing.assert_allclose(evidence.prediction.probabilities, alone.probabilities[0], atol=1e-6)
    assert evidence.prediction.predicted == alone[0].predicted
    assert (
        evidence.probability
        == evidence.prediction.probabilities[("normal", "pneumonia").index(alone[0].predicted)]
    )
    assert [r.sha256 for r in evidence.neighbors.rows] == table.column(
        "sha256"
    ) and evidence.neighbors.unusual == table[0].unusual
    assert evidence.neighbors.vote.predicted == votes[0].predicted and set(
        evidence.neighbors.pictures
    ) == set(table.column("sha256"))
    size = classifier.card.preprocessing["image_size"]
    assert (
        evidence.pixels.shape == evidence.heatmap.shape == (size, size)
        and len(evidence.sha256) == 64
    )
    assert evidence.size == cv2.imread(str(test)).shape[1::-1]
    explained = classifier.cam(
        evidence.pixels[None, :, :, None].astype(np.float32),
        [classifier.card.class_names.index(evidence.prediction.predicted)],
    )
    np.testing.assert_array_equal(evidence.heatmap, explained[0])


def test_a_path_its_bytes_and_its_pixels_give_the_same_answer(remembered):
    classifier, (test, _) = remembered
    answers = [
        classifier.read(i)
        for i in (test, test.read_bytes(), cv2.imread(str(test), cv2.IMREAD_GRAYSCALE))
    ]
    assert (
        len({a.prediction.probabilities for a in answers}) == 1
        and answers[0].sha256 == answers[1].sha256 != answers[2].sha256
    )
    assert [a.name for a in answers[1:]] == ["bytes", "array"]


def test_nearest_takes_pixels(remembered):
    classifier, (test, _) = remembered
    image = cv2.imread(str(test), cv2.IMREAD_GRAYSCALE)
    of_file, of_pixels = (
        classifier.nearest(test, 4)[0],
        classifier.nearest(np.stack([image, image]), 4)[0],
    )
    assert [r.sha256 for r in of_pixels.of("image 1")] == of_file.column("sha256")


def test_without_a_reference_and_a_detector_it_says_what_is_missing(three_class, remembered):
    evidence = three_class.read(remembered[1][0], detector="none")
    assert evidence.neighbors is None and evidence.anomaly is None
    assert "--add-reference" in next(c.text for c in evidence.caveats if c.kind == "not compared")


def test_a_training_radiograph_is_called_known(remembered):
    kinds = [c.kind for c in remembered[0].read(remembered[1][1]).caveats]
    assert "known" in kinds and "known" not in [
        c.kind for c in remembered[0].read(remembered[1][0]).caveats
    ]


def test_the_shipped_detector_is_asked_unless_it_is_switched_off(remembered):
    classifier, (test, _) = remembered
    evidence = classifier.read(test)
    assert evidence.anomaly.name == "normal-chest" and evidence.anomaly.picture is not None
    assert classifier.read(test, detector="none").anomaly is None


@pytest.mark.parametrize("anomaly", [0.9, 0.1])
def test_a_detector_sees_its_own_size_and_disagreement_is_told(remembered, anomaly):
    detector = EveryoneIsOdd(anomaly)
    evidence = remembered[0].read(remembered[1][0], detector=detector)
    assert detector.seen == (48, 48) and evidence.anomaly.flagged == (anomaly > 0.5)
    contradicts = evidence.anomaly.flagged == (evidence.prediction.predicted == "normal")
    assert ("head and detector disagree" in [c.kind for c in evidence.caveats]) == contradicts
    assert evidence.anomaly.scores == (
        ("reconstruction_error", 0.02, 99.5),
    ) and evidence.anomaly.picture.shape == (48, 48, 3)


def test_the_page_names_every_file_once_and_those_not_read_with_the_reason(remembered, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    page = write_evidence(
        Reader(remembered[0]), [remembered[1][0], bad, remembered[1][1]], tmp_path / "page.html"
    ).read_text()
    assert (
        page.count('<article id="r') == 2
        and "Not read (1)" in page
        and "not-an-image" in page
        and page.count('href="#r') == 2
    )
    short = write_evidence(
        Reader(remembered[0]), [*remembered[1]], tmp_path / "short.html", rows=1
    ).read_text()
    assert "The first 1 of 2 files" in short
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_evidence(Reader(remembered[0]), remembered[1], tmp_path / "page.html")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\)"),
        (np.zeros((8, 8)), "float64"),
        (7, "int"),
        ("no such file", "no such file"),
        (b"no image", "not-an-image"),
    ],
)
def test_what_is_no_radiograph_is_refused(binary, image, message):
    with pytest.raises(ValueError, match=message):
        binary.read(image)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"neighbors": 0}, ValueError, "above 0"),
        ({"data": "no such folder"}, FileNotFoundError, "not a folder"),
        ({"operating_point": "x"}, ValueError, "'x'"),
        ({"detector": "no such detector"}, ValueError, "no such detector"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(binary, remembered, more, error, message):
    with pytest.raises(error, match=message):
        binary.read(remembered[1][0], **more)


def test_a_folder_is_not_one_radiograph(binary, phantoms):
    with pytest.raises(ValueError, match="names .* files"):
        binary.read(phantoms)


def test_edge_share_of_an_even_map_is_the_edges_area():
    assert edge_share(np.ones((100, 100), np.float32)) == pytest.approx(0.36)
    inside = np.zeros((100, 100), np.float32)
    inside[40:60, 40:60] = 1
    assert (
        edge_share(inside) == 0
        and edge_share(
            np.eye(100, dtype=np.float32)[:, ::-1] * 0
            + np.pad(np.ones((1, 100), np.float32), ((0, 99), (0, 0)))
        )
        == 1
    )


def test_decisions_contradict_within_their_classes_or_as_normal_against_not():
    assert differ("bacterial", "viral", ("normal", "bacterial", "viral")) and not differ(
        "viral", "viral", ("normal", "bacterial", "viral")
    )
    assert not differ("pneumonia", "viral", ("normal", "pneumonia")) and differ(
        "normal", "viral", ("normal", "pneumonia")
    )


def drawn(seed=3):
    from xray_tf.data.synthetic.phantom import draw_phantom

    return cv2.resize(
        draw_phantom("normal", seed=seed).image, (128, 128), interpolation=cv2.INTER_AREA
    )


def told(image, heat=None, probability=0.99, anomaly=None, resize="squash", warning="", **card):
    """Return the kinds of caveats about an image, all else being fine."""
    card = SimpleNamespace(
        to_task=lambda: TASKS["binary"],
        preprocessing={"image_size": 64, "resize": resize},
        class_names=("normal", "pneumonia"),
        split_by="patient",
        notes=(),
        **card,
    )
    query = read_query(image, card)
    heat = np.pad(np.ones((16, 16), np.float32), 24) if heat is None else heat
    prediction = SimpleNamespace(
        predicted="normal", probabilities=(probability, 1 - probability), warning=warning
    )
    found = caveats_of(card, query, prediction, HALF, heat, None, anomaly)
    return {c.kind for c in found} - {"not compared"}


def test_a_plain_radiograph_raises_no_caveat_and_each_defect_its_own():
    image = drawn()
    assert told(image) == set()
    assert (
        told(255 - image) == {"inverted"}
        and looks_inverted(255 - image)
        and not looks_inverted(image)
    )
    assert told((image // 4 + 90).astype(np.uint8)) == {"flat"}
    assert told(cv2.resize(image, (40, 40))) == {"small"}
    assert "cropped" in told(np.pad(image, ((0, 0), (60, 60))), resize="crop")
    assert "mostly black" in told(np.pad(image, 60)) and "much black" in told(np.pad(image, 24))
    assert told(image, warning=NO_LUNGS) == {"no lungs"}
    assert told(image, np.zeros((64, 64), np.float32)) == {"empty map"}
    assert told(image, np.pad(np.zeros((52, 52), np.float32), 6, constant_values=1)) == {
        "map on the border"
    }
    assert told(image, probability=0.55) == {"close call"} and told(image, probability=0.7) == set()
    assert (
        told(image, anomaly=Anomaly("d", True, 0.7, "x")) == {"head and detector disagree"}
        and told(image, anomaly=Anomaly("d", False, 0.3)) == set()
    )
    assert told(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))[1].tobytes()) == {
        "colour"
    }
