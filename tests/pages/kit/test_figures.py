"""Every figure shows the numbers it was given, as a Figure that touches no global state."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_auc_score

from xray_tf.data.predictions import Predictions
from xray_tf.pages.kit import figures
from xray_tf.pages.neighbors.figures import draw_nearest

TASKS = ("binary", "three-class")


def texts(axes):
    legend = axes.get_legend()
    return [t.get_text() for t in axes.texts] + (
        [t.get_text() for t in legend.get_texts()] if legend else []
    )


@pytest.mark.parametrize("name", [r"a$\frac$b", "price $5 and $6_x", "\udcff.png", r"$\bad$"])
def test_names_are_drawn_as_they_are(name):
    drawings = (
        lambda: figures.contact_sheet(np.zeros((2, 9, 9), np.uint8), [name, "other"]),
        lambda: figures.confusion_matrix([[3, 1], [0, 2]], (name, "b"), title=name),
        lambda: draw_nearest(np.zeros((9, 9), np.uint8), name, [None], [f"1. {name}"]),
    )
    for draw in drawings:
        assert figures.to_png_bytes(draw(), dpi=40).startswith(b"\x89PNG")
        assert "<svg" in figures.to_svg(draw())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "name", ["roc", "precision_recall", "calibration", "probability_histograms"]
)
def test_every_figure_of_a_table_renders(table, task, name):
    figure = getattr(figures, name)(table(task, n=60))
    assert isinstance(figure, Figure)
    assert figures.to_png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_the_same_drawing_gives_the_same_svg():
    first, second = (
        figures.to_svg(figures.confusion_matrix([[3, 1], [0, 2]], ("a", "b"))) for _ in range(2)
    )
    assert first == second and "<svg" in first


def test_a_notebook_shows_a_figure_as_png():
    assert (
        figures.confusion_matrix([[3, 1], [0, 2]], ("a", "b"))._repr_png_().startswith(b"\x89PNG")
    )


def test_drawing_imports_no_pyplot_and_leaves_the_settings_alone():
    # asking rcParams for its backend would itself import pyplot
    code = (
        "import sys, matplotlib; settings = lambda: {k: repr(matplotlib.rcParams[k]) for k in "
        "matplotlib.rcParams if k != 'backend'};"
        "before = settings(); from xray_tf.pages.kit import figures as f; "
        "f.to_svg(f.confusion_matrix([[3, 1], [0, 2]], ('a', 'b')));"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'; assert settings() == "
        "before, 'settings'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert matplotlib.rcParams["svg.hashsalt"] is None


def test_the_confusion_matrix_shows_counts_and_shares_of_the_true_class():
    axes = figures.confusion_matrix([[90, 10], [0, 0]], ("normal", "pneumonia")).axes[0]
    assert texts(axes) == ["90", "90.0%", "10", "10.0%", "0", "no row", "0", "no row"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["normal\nn = 100", "pneumonia\nn = 0"]


def test_the_confusion_matrix_of_a_table_counts_its_scorable_rows():
    p = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [np.nan] * 2]
    rows = Predictions(
        ("a", "b"),
        list("wxyz"),
        p,
        [0, 1, 1, -1],
        labels=[0, 0, -1, 1],
        errors=["", "", "", "broken"],
    )
    assert texts(figures.confusion_matrix(rows, rows.class_names).axes[0])[::2] == [
        "1",
        "1",
        "0",
        "0",
    ]


@pytest.mark.parametrize("task", TASKS)
def test_roc_and_precision_recall_state_the_areas_and_mark_the_decisions(table, task):
    rows = table(task, n=100)
    classes = [1] if task == "binary" else [0, 1, 2]
    roc, pr = (
        figures.roc(rows, replicates=20).axes[0],
        figures.precision_recall(rows, replicates=20).axes[0],
    )
    for k in classes:
        true, score, called = rows.labels == k, rows.probabilities[:, k], rows.predicted == k
        assert f"{rows.class_names[k]}  (area {roc_auc_score(true, score):.3f})" in texts(roc)
        assert (
            f"{rows.class_names[k]}  (average precision {average_precision_score(true, score):.3f})"
        ) in texts(pr)
        marks = {
            (round(float(x), 9), round(float(y), 9))
            for line in roc.lines
            if line.get_marker() == "o" and len(line.get_xdata())
            for x, y in [(line.get_xdata()[0], line.get_ydata()[0])]
        }
        assert (round(called[~true].mean(), 9), round(called[true].mean(), 9)) in marks
    colours = [
        to_hex(line.get_color()).upper() for line in roc.lines if " (area" in str(line.get_label())
    ]
    assert colours == [figures.CLASS_COLOURS[k] for k in classes]


def test_curves_of_one_class_only_say_so():
    rows = Predictions(
        ("normal", "pneumonia"), ["a", "b"], [[0.9, 0.1], [0.3, 0.7]], [0, 1], labels=[0, 0]
    )
    for figure in (figures.roc(rows), figures.precision_recall(rows)):
        assert "undefined: all rows are of one class" in texts(figure.axes[0])
    figures.to_png_bytes(figures.calibration(rows), dpi=30)


def test_calibration_draws_the_observed_share_of_each_bin():
    p = np.array([0.1] * 10 + [0.9] * 10)
    y = np.array([0] * 8 + [1] * 2 + [1] * 9 + [0])
    rows = Predictions(
        ("a", "b"),
        [str(i) for i in range(20)],
        np.stack([1 - p, p], axis=1),
        (p > 0.5).astype(int),
        labels=y,
    )
    axes, below = figures.calibration(rows).axes
    line = next(x for x in axes.lines if x.get_label() == "radiographs, by bin")
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.9])
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.9])
    # Wilson's interval of 2 of 10, from the printed tables
    segment = axes.collections[0].get_segments()[0]
    assert segment[:, 1] == pytest.approx([0.0567, 0.5098], abs=5e-4)
    assert sum(bar.get_height() for bar in below.patches) == 20


def test_training_curves_join_phases_and_mark_the_best_epoch(history):
    as_read = [{k: str(v) for k, v in row.items()} for row in history]
    figure = figures.training_curves(as_read)
    loss = figure.axes[0]
    assert loss.lines[0].get_xdata().tolist() == list(range(1, 21))
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [row["val_loss"] for row in history])
    best = next(line for line in loss.lines if line.get_label() == "lowest validation loss")
    assert best.get_xdata()[0] == 1 + int(np.argmin([row["val_loss"] for row in history]))
    assert [t.get_text() for t in loss.texts] == ["warm", "fine-tune"]
    figures.to_png_bytes(figure, dpi=30)


def test_training_curves_bear_one_epoch_and_missing_scores(history):
    for rows in ([{**history[0], "val_auroc": "nan"}], [{"phase": "warm", "loss": "1.0"}]):
        assert figures.to_png_bytes(figures.training_curves(rows), dpi=30).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "shape, columns, axes", [((5, 16, 16), 3, 6), ((2, 16, 24, 3), 6, 2), ((1, 8, 8), 1, 1)]
)
def test_a_contact_sheet_has_a_place_for_every_image(shape, columns, axes):
    images = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    figure = figures.contact_sheet(images, [f"image {i}" for i in range(len(images))], columns)
    assert len(figure.axes) == axes
    for i, image in enumerate(images):
        assert np.array_equal(figure.axes[i].images[0].get_array(), image) and figure.axes[
            i
        ].get_title() == (f"image {i}")
    assert figure._repr_jpeg_().startswith(b"\xff\xd8")


UNLABELLED = Predictions(("a", "b"), ["x"], [[0.5, 0.5]], [0])


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda: figures.confusion_matrix([[1, 2, 3]], ("a", "b")), r"matrix must be \(2, 2\)"),
        (lambda: figures.roc(UNLABELLED), "no labelled, readable row"),
        (lambda: figures.calibration(UNLABELLED), "no labelled, readable row"),
        (lambda: figures.training_curves([]), "history is empty"),
        (lambda: figures.contact_sheet(np.zeros((2, 4, 4))), r"uint8.*float64"),
        (lambda: figures.contact_sheet(np.zeros((0, 4, 4), np.uint8)), "one or more"),
        (
            lambda: figures.contact_sheet(np.zeros((2, 4, 4), np.uint8), ["one"]),
            "one entry per image, 2. Received: 1",
        ),
    ],
)
def test_figures_refuse(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
