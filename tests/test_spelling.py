"""A name spelt a little differently is understood, and the nearest one is suggested otherwise."""

import pytest

from xray_tf.spelling import did_you_mean, meant

METHODS = ("grad_cam", "grad_cam_plus_plus", "layer_cam")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grad_cam", "grad_cam"),
        ("gradcam", "grad_cam"),
        ("Grad-CAM", "grad_cam"),
        ("LAYER CAM", "layer_cam"),
        ("gradcamplusplus", "grad_cam_plus_plus"),
        ("grad_cm", "grad_cm"),
        ("", ""),
        ("--", "--"),
    ],
)
def test_case_and_punctuation_do_not_matter(name, expected):
    assert meant(name, METHODS) == expected


def test_an_ambiguous_spelling_is_left_to_the_caller():
    assert meant("ab", ("a-b", "a_b")) == "ab" and meant("a-b", ("a-b", "a_b")) == "a-b"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grad_cm", " Did you mean 'grad_cam'?"),
        ("layercam2", " Did you mean 'layer_cam'?"),
        ("tea_leaves", ""),
        ("", ""),
    ],
)
def test_only_a_near_name_is_suggested(name, expected):
    assert did_you_mean(name, METHODS) == expected
