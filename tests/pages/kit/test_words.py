"""What pages say in words."""

from xray_tf.pages.kit.words import metrics_text, reason_text, verdict_text
from xray_tf.stats.metrics import score


def test_a_verdict_comes_with_its_reason_in_words():
    assert verdict_text("normal", "") == "normal"
    assert verdict_text("anomalous", "density") == (
        "anomalous: lungs like these are rare among normals"
    )
    both = reason_text("both")
    assert both == reason_text("reconstruction+density") and both.count(", and ") == 1
    assert "markings" in reason_text("density+features")
    assert reason_text("another_score") == "another score"


def test_what_train_ends_with_names_the_rows_the_metrics_and_their_intervals():
    metrics = score([[0.9, 0.1], [0.2, 0.8]] * 4, [0, 1] * 4, [0, 1] * 4, None, ("a", "b"), 50)
    said = metrics_text({**metrics, "split": "val"})
    assert said.startswith("On 8 validation rows: ") and "AUROC 1.000 [1.000, 1.000]" in said
