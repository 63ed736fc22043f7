"""A name spelt a little differently is understood, and the nearest one is suggested otherwise."""

import pytest

from xray_tf.spelling import did_you_mean, meant, pick, pick_several

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


def test_one_name_is_picked_or_refused_with_a_suggestion():
    assert pick("method", "GradCAM", METHODS) == "grad_cam"
    with pytest.raises(ValueError, match="method must be one of .*'layr_cam'. Did you mean 'layer"):
        pick("method", "layr_cam", METHODS)


def test_several_names_are_picked_each_once_in_their_order():
    assert pick_several("m", " layercam, grad_cam,Layer-CAM,", METHODS) == ["layer_cam", "grad_cam"]
    assert pick_several("m", "All", METHODS, alone=("all",)) == ["all"]


@pytest.mark.parametrize("text", ["", " , ", "grad_cam,tea", "all,grad_cam"])
def test_a_list_with_an_unknown_name_or_none_is_refused(text):
    with pytest.raises(ValueError, match="m must be all, or some of grad_cam, .*, separated by"):
        pick_several("m", text, METHODS, alone=("all",))
