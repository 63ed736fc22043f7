"""A classifier answers as a Keras or scikit-learn user would guess."""

import numpy as np
import pandas as pd
import pytest

from xray_tf.data.predictions import Predictions
from xray_tf.data.synthetic.phantom import draw_phantom
from xray_tf.pages.kit import figures

IMAGES = np.stack(
    [
        draw_phantom(kind, seed=i, patient=i, height=64, width=64).image
        for i, kind in enumerate(("normal", "bacterial") * 4)
    ]
)
LABELS = [0, 1] * 4

GUESSES = {
    "m.class_names": lambda m: m.class_names == ("normal", "pneumonia"),
    "m.predict(x, verbose=0)": lambda m: len(m.predict(IMAGES, verbose=0)) == 8,
    "m.predict(x, batch_size=3)": lambda m: len(m.predict(IMAGES, batch_size=3)) == 8,
    "m.predict_proba(x)": lambda m: np.allclose(m.predict_proba(IMAGES).sum(axis=1), 1),
    "table['predicted']": lambda m: set(m.predict(IMAGES)["predicted"]) <= set(m.class_names),
    "table['prob_pneumonia']": lambda m: np.array_equal(
        m.predict(IMAGES)["prob_pneumonia"], m.predict_proba(IMAGES)[:, 1]
    ),
    "table['path']": lambda m: m.predict(IMAGES)["path"][7] == "image 7",
    "table.to_frame()": lambda m: isinstance(m.predict(IMAGES).to_frame(), pd.DataFrame),
    "m.predict(x, threshold=0)": lambda m: (
        set(m.predict(IMAGES, threshold=0)["predicted"]) == {"pneumonia"}
    ),
    "m.predict(x, threshold=1)": lambda m: (
        set(m.predict(IMAGES, threshold=1)["predicted"]) == {"normal"}
    ),
    "m.read(x, threshold=0.3)": lambda m: (
        m.read(IMAGES[0], threshold=0.3).operating_point == "threshold"
    ),
    "m.embed(x)": lambda m: (
        m.embed(IMAGES).shape == (8, m.model.get_layer("embedding").output.shape[1])
    ),
    "m.explain(x)": lambda m: m.explain(IMAGES).heatmaps.shape == (8, *m.model.input.shape[1:3]),
    "m.explain(x).plot()": lambda m: m.explain(IMAGES)._repr_jpeg_().startswith(b"\xff\xd8"),
    "m.evaluate(x, y)": lambda m: m.evaluate(IMAGES, LABELS, replicates=20)["rows"] == 8,
    "m.evaluate(x, names)": lambda m: (
        m.evaluate(IMAGES, [m.class_names[k] for k in LABELS], replicates=0)
        == m.evaluate(IMAGES, np.array(LABELS), replicates=0)
    ),
    "m.evaluate(x, y, patients)": lambda m: (
        m.evaluate(IMAGES, LABELS, list("aabbccdd"))["patients"] == 4
    ),
    "m.summary()": lambda m: m.summary() is None,
}


@pytest.mark.parametrize("line", GUESSES)
def test_the_line_that_a_keras_or_scikit_learn_user_guesses_works(line, binary, capsys):
    assert GUESSES[line](binary)
    if line == "m.summary()":
        assert "normal, pneumonia" in capsys.readouterr().out


def test_a_folder_s_names_and_a_frame_s_columns_are_labels(binary, phantoms):
    folder = binary.evaluate(str(phantoms), replicates=0)
    assert folder["rows"] > 36 and folder["patients"] == 36
    table = binary.predict(str(phantoms))
    frame = table.to_frame()[["path", "label", "patient"]]
    assert binary.evaluate(frame, replicates=0)["confusion_matrix"] == folder["confusion_matrix"]


def test_wrong_thresholds_and_labels_are_told(binary, three_class):
    with pytest.raises(ValueError, match="not both"):
        binary.predict(IMAGES, operating_point="balanced", threshold=0.5)
    with pytest.raises(ValueError, match="threshold"):
        binary.predict(IMAGES, threshold=3)
    with pytest.raises(ValueError, match="threshold decides between two classes"):
        three_class.predict(IMAGES, threshold=0.5)
    with pytest.raises(ValueError, match="labels"):
        binary.evaluate(IMAGES, [0, 1])
    with pytest.raises(ValueError, match="has a label"):
        binary.evaluate(IMAGES)
    with pytest.raises(KeyError, match="no column 'answer'"):
        binary.predict(IMAGES)["answer"]


PAIRS = {
    "names": (["a", "b", "b", "a"], ["a", "a", "b", "a"]),
    "indices": ([0, 1, 1, 0], [0, 0, 1, 0]),
    "probabilities": ([0, 1, 1, 0], [0.2, 0.4, 0.9, 0.1]),
    "a column of probabilities": ([0, 1, 1, 0], [[0.2], [0.4], [0.9], [0.1]]),
    "rows of probabilities": ([0, 1, 1, 0], [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.9, 0.1]]),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_figures_take_what_scikit_learn_takes(kind):
    table = Predictions.of(*PAIRS[kind])
    assert table.labels.tolist() == [0, 1, 1, 0] and table.predicted.tolist() == [0, 0, 1, 0]
    drawn = [figures.confusion_matrix(*PAIRS[kind]), figures.roc(*PAIRS[kind], replicates=5)]
    assert [t.get_text() for t in drawn[0].axes[0].texts][::2] == ["2", "0", "1", "1"]
    with pytest.raises(ValueError):
        Predictions.of([0, 1], [0.5, 0.5, 0.5])
