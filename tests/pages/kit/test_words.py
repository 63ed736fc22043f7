"""What pages say in words."""

from xray_tf.pages.kit.words import reason_text, verdict_text


def test_a_verdict_comes_with_its_reason_in_words():
    assert verdict_text("normal", "") == "normal"
    assert verdict_text("anomalous", "density") == (
        "anomalous: lungs like these are rare among normals"
    )
    both = reason_text("both")
    assert both == reason_text("reconstruction+density") and both.count(", and ") == 1
    assert "markings" in reason_text("density+features")
    assert reason_text("another_score") == "another score"
