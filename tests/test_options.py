"""Options: one declaration serves flags, defaults and provenance."""

import argparse
from dataclasses import fields

import pytest

from xray_tf import options
from xray_tf.options import (
    DataOptions,
    EmbedOptions,
    EvaluateOptions,
    ExplainOptions,
    ModelOptions,
    ShiftOptions,
    TrainOptions,
    add_flags,
    from_flags,
    is_pretrained,
    provenance,
)

ALL = (DataOptions, ModelOptions, TrainOptions, EvaluateOptions)


def parser_of(*classes):
    parser = argparse.ArgumentParser()
    for cls in classes:
        add_flags(parser, cls)
    return parser


def test_no_flags_give_the_declared_defaults_and_all_groups_fit_one_parser():
    parsed = parser_of(*ALL).parse_args([])
    for cls in ALL:
        assert from_flags(parsed, cls) == cls()


@pytest.mark.parametrize("name", [n for n in options.__all__ if n.endswith("Options")])
def test_help_shows_no_long_flat_list_of_options(name):
    cls = getattr(options, name)
    assert set(cls.headings) <= {item.name for item in fields(cls)}
    groups = parser_of(cls)._action_groups
    assert max(len(group._group_actions) for group in groups) <= 11
    assert all(group.title for group in groups)


def test_every_flag_reaches_its_field_with_its_type():
    parsed = parser_of(*ALL).parse_args(
        "--validation 0.3 --strict --no-class-weight --adapter "
        "--split s.csv --epochs 7 --weights none --seed 0".split()
    )
    assert from_flags(parsed, DataOptions) == DataOptions(
        validation=0.3, strict=True, split="s.csv"
    )
    assert from_flags(parsed, ModelOptions) == ModelOptions(adapter=True, weights="none")
    assert from_flags(parsed, TrainOptions) == TrainOptions(class_weight=False, epochs=7, seed=0)


@pytest.mark.parametrize(
    "line", ["--task four-class", "--epochs few", "--resize stretch", "--backbon"]
)
def test_values_that_do_not_fit_are_refused(line, capsys):
    with pytest.raises(SystemExit):
        parser_of(*ALL).parse_args(line.split())
    assert "error" in capsys.readouterr().err


def test_provenance_names_every_value():
    assert provenance(ModelOptions(dropout=0.5))["ModelOptions"] == {
        **{f.name: f.default for f in fields(ModelOptions)},
        "dropout": 0.5,
    }


def test_every_field_has_help():
    assert all(f.metadata["help"] for cls in ALL for f in fields(cls))


@pytest.mark.parametrize(
    ("cls", "value", "message"),
    [
        (TrainOptions, {"epochs": 0}, "epochs must be at least 1. Received: epochs=0"),
        (TrainOptions, {"label_smoothing": 1.0}, "at least 0 and below 1"),
        (TrainOptions, {"task": "four-class"}, "task must be one of"),
        (TrainOptions, {"batch_size": -3}, "batch_size"),
        (ModelOptions, {"image_size": 8}, "at least 32"),
        (ModelOptions, {"resize": "stretch"}, "crop"),
        (EvaluateOptions, {"bootstrap": -1}, "bootstrap"),
        (TrainOptions, {"learning_rate": float("nan")}, "learning_rate"),
        (EmbedOptions, {"metric": "manhattan"}, "cosine"),
        (ExplainOptions, {"grid_columns": 0}, "grid_columns must be at least 1"),
        (ExplainOptions, {"method": "tea_leaves"}, "grad_cam"),
        (
            DataOptions,
            {"validation": 1.5},
            "validation must be at least 0 and below 1. Received: validation=1.5",
        ),
        (DataOptions, {"test": -0.1}, "test must be at least 0"),
        (EmbedOptions, {"neighbors": -2}, "neighbors must be at least 0"),
        (EmbedOptions, {"perplexity": -5.0}, "perplexity must be at least 1"),
        (ExplainOptions, {"map_batch_size": 0}, "map_batch_size must be at least 1"),
        (ShiftOptions, {"shift_rows": -1}, "shift_rows must be at least 0"),
    ],
)
def test_values_outside_their_range_are_refused_in_python_too(cls, value, message):
    with pytest.raises(ValueError, match=message):
        cls(**value)


@pytest.mark.parametrize(
    "weights, expected", [("imagenet", True), ("trunk.h5", True), (None, False), ("none", False)]
)
def test_pretrained_is_everything_but_none(weights, expected):
    assert is_pretrained(weights) is expected


def test_a_choice_in_another_spelling_is_accepted_in_python_too():
    assert ExplainOptions(method="Grad-CAM") == ExplainOptions(method="grad_cam")
    with pytest.raises(ValueError, match="Did you mean 'layer_cam'"):
        ExplainOptions(method="layr_cam")
