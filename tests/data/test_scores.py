"""Scores: what is written comes back bit for bit, and another file is refused by name."""

import numpy as np
import pytest

from xray_tf.data.scores import Scores

HEADER = "path,patient,split,label,a,a_percentile,anomaly_score,verdict,reason,error\n"


def test_every_number_and_text_comes_back(tmp_path):
    want = Scores(
        ["a", "b"],
        ["x,\r\n.png", "gone.png"],
        [[0.1 + 0.2, 1e-300], [np.nan, np.nan]],
        [[99.5, 0.0], [np.nan, np.nan]],
        [0.7, np.nan],
        ["anomalous", ""],
        ["a is high", ""],
        patients=["p1", ""],
        splits=["test", ""],
        labels=["normal", ""],
        errors=["", "no such file"],
    )
    got = Scores.read_csv(want.write_csv(tmp_path / "scores.csv"))
    assert got == want and got.names == want.names and got.read.tolist() == [True, False]
    assert got[0].values == (0.1 + 0.2, 1e-300) and got[1].error == "no such file"
    for column in (
        "values",
        "percentiles",
        "anomaly",
        "paths",
        "patients",
        "splits",
        "labels",
        "verdicts",
        "reasons",
        "errors",
    ):
        np.testing.assert_array_equal(getattr(got, column), getattr(want, column), err_msg=column)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must have the columns"),
        (HEADER.replace("a,a_percentile,", ""), "must have the columns"),  # no score at all
        (HEADER.replace(",verdict", ""), "must have the columns"),
        (HEADER.replace("a_percentile", "b_percentile"), "must have the columns"),
        (HEADER + "x,,,normal,1.0\n", "row 1: expected 10 cells"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        Scores.read_csv(tmp_path / "scores.csv")
