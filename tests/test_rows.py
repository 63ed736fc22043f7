"""A backbone, a source, a detector or a metric is one row: this file alone adds one of each, and
they run. (A command is one file: see commands/test_main.py.)
"""

from pathlib import Path

import numpy as np
import pytest

from xray_tf.data.records import Findings, Record, Records
from xray_tf.data.sources.names import Scan
from xray_tf.data.sources.scan import recognise, scan
from xray_tf.jobs.classifier.train_classifier import train_classifier
from xray_tf.models.load import load
from xray_tf.options import DataOptions, EvaluateOptions, ModelOptions, TrainOptions
from xray_tf.pages.kit.words import headline, metric_name
from xray_tf.registry import BACKBONES, SOURCES, Backbone, Credit, Source
from xray_tf.stats.detector.committee import DETECTORS, Committee, DetectorRow, detectors_of
from xray_tf.stats.metric_rows import METRICS, Metric
from xray_tf.stats.metrics import score


def scan_listing(request):
    """Read `label path` lines."""
    path = request.path(".lst")
    rows = [line.split(" ", 1) for line in path.read_text().splitlines()]
    patients = {p: Path(p).stem.rsplit("-", 1)[0] for _, p in rows}
    return Scan(
        Records([Record(p, label, patient=patients[p]) for label, p in rows], path.parent),
        Findings([]),
    )


@pytest.fixture
def listing(monkeypatch, phantoms):
    """A data set that only a source of this file can read."""
    row = Source(lambda data: data.endswith(".lst"), scan_listing)
    monkeypatch.setitem(SOURCES, "listing", row)
    path = phantoms / "phantoms.lst"
    files = sorted(phantoms.glob("train/*/*.png"))
    lines = (f"{p.parent.name.lower()} {p.relative_to(phantoms)}" for p in files)
    path.write_text("\n".join(lines))
    yield path
    path.unlink()


def test_one_row_makes_a_backbone_and_one_makes_a_source_and_a_training_takes_both(
    listing, monkeypatch, cache, tmp_path
):
    credit = Credit("Tiny", "nobody", "this file", "CC0", "https://example.org", "Made up.")
    row = Backbone(
        "resnet",
        "torch",
        16,
        ("conv1", "conv2", "conv3"),
        blocks=((8, 1, 1), (16, 1, 2)),
        credit=credit,
    )
    monkeypatch.setitem(BACKBONES, "resnet_tiny", row)
    assert recognise(listing) == "listing" and len(scan(listing).records) > 30
    made = train_classifier(
        str(listing),
        tmp_path / "tiny",
        DataOptions(cache=str(cache)),
        ModelOptions(backbone="resnet_tiny", weights=None, image_size=32, region="whole"),
        TrainOptions(
            **{"method": "none", "fine_tune": "2", "fine_tune_epochs": 1},
            **{"steady_rows": 0, "precision": "float32"},
        ),
        EvaluateOptions(bootstrap=20),
        progress=False,
    )
    assert load(made.folder).model.get_layer("features").output.shape[-1] == 16
    assert "`resnet_tiny` from random weights" in (made.folder / "README.md").read_text()


class FarFromTheMean:
    """Scores rows by their distance from the mean of those it was fitted on."""

    def fit(self, x):
        self.mean_ = np.asarray(x, np.float64).mean(axis=0)
        return self

    def score_samples(self, x):
        return -np.linalg.norm(np.asarray(x, np.float64) - self.mean_, axis=1)

    def to_arrays(self):
        return {"mean": self.mean_}

    @classmethod
    def from_arrays(cls, arrays):
        self = cls()
        self.mean_ = arrays["mean"]
        return self


def test_one_row_makes_a_detector(monkeypatch):
    row = DetectorRow(FarFromTheMean, {}, "zones", "distance from the mean")
    monkeypatch.setitem(DETECTORS, "far", row)
    assert detectors_of("far,zones") == ("far", "zones")
    normals = {"zones": np.random.default_rng(0).normal(size=(40, 6))}
    patients = [f"p{i // 2}" for i in range(40)]
    committee = Committee(("far", "zones")).fit(normals, patients)
    again = Committee.from_arrays(committee.to_arrays())
    odd = {"zones": normals["zones"][:5] + 9}
    assert committee.score_samples(odd).max() < committee.score_samples(normals).min()
    np.testing.assert_array_equal(again.score_samples(odd), committee.score_samples(odd))


def test_one_row_makes_a_metric(monkeypatch):
    row = Metric(
        "Error rate",
        "share of rows decided wrongly",
        overall=lambda tally: 1 - tally.hits.sum(axis=1) / tally.total,
        of=("classifier",),
        headline=("two classes",),
        lower_is_better=True,
    )
    monkeypatch.setitem(METRICS, "error_rate", row)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    labels, decided = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    result = score(probabilities, labels, decided, None, ("normal", "pneumonia"), replicates=50)
    cell = result["metrics"]["error_rate"]
    assert cell["value"] == 0.25 and 0 <= cell["low"] <= cell["high"] <= 1
    assert result["definitions"]["error_rate"] == "share of rows decided wrongly"
    assert metric_name("error_rate", result["class_names"]) == "Error rate"
    assert ("Error rate", cell) in headline(result)
