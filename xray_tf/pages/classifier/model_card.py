"""The model card: an artifact's README.md, from what lies in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, write_text
from xray_tf.pages.classifier.credits import data_credit, stated_attribution, weights_credit
from xray_tf.pages.classifier.recipe import recipe_lines
from xray_tf.pages.classifier.shift_card import shift_markdown
from xray_tf.pages.heatmaps.measures import faithfulness_markdown, shortcut_markdown
from xray_tf.pages.kit.words import (
    IMAGE_SPLIT,
    NAMES,
    NOTICE,
    data_facts,
    enumerate_text,
    interval_kind,
    options_of,
    origin,
    range_text,
    rows_text,
    rule_text,
    value_text,
)

README, METRICS = "README.md", "metrics.json"
# A file that may lie in the folder -> the lines of Markdown about what is in it. What is measured
# after training gets its part of the card here.
SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "shift.json": shift_markdown,
    "shortcuts.json": shortcut_markdown,
    "faithfulness.json": faithfulness_markdown,
}


def write_model_card(folder: str | os.PathLike, card: Card) -> Path:
    """Write README.md from the folder's card, metrics.json and the files named in `SECTIONS`, and
    return its path.
    """
    found = {
        name: json.loads((Path(folder) / name).read_text(encoding="utf-8"))
        for name in (METRICS, *SECTIONS)
        if (Path(folder) / name).is_file()
    }
    write_text(Path(folder) / README, render_model_card(card, found.pop(METRICS, None), found))
    return Path(folder) / README


def render_model_card(
    card: Card,
    metrics: dict[str, Any] | None = None,
    found: dict[str, dict[str, Any]] | None = None,
) -> str:
    """Return the artifact's README.md: what the model is, of what it was made, on what it was
    measured, its limits, and how to make it again.

    Args:
        card: of the artifact.
        metrics: what `stats.metrics.score` returned, in the layout of metrics.json; None leaves the
            numbers out.
        found: file name -> content, of the files named in `SECTIONS` that are there.
    """
    lines = [f"# {_m(card.name)}", "", f"> {NOTICE}", ""]
    if card.split_by == "image":
        lines += [f"> **Warning.** {IMAGE_SPLIT}", ""]
    lines += [*_task(card), *_data(card), *_recipe(card), *_points(card), *_numbers(card, metrics)]
    for name, markdown in SECTIONS.items():
        lines += markdown(found[name]) if found and name in found else []
    return "\n".join([*lines, *_limits(card), *_use(card), *_again(card)])


def _task(card: Card) -> list[str]:
    model, prep = options_of(card, "ModelOptions"), card.preprocessing
    return [
        "## Task",
        "",
        f"`{card.task}`: one chest radiograph in, one probability each for "
        f"{enumerate_text(card.class_names)} out.",
        "",
        f"* Net: {_m(model.get('backbone', 'see the card'))}, weights "
        f"{_m(model.get('weights', 'see the card'))}",
        f"* Input: grey pixels in [0, 255], {prep.get('image_size')} x "
        f"{prep.get('image_size')}, resized by `{prep.get('resize')}`",
        f"* Temperature {card.temperature:.4g}: logits are divided by it (Guo et al. 2017), "
        "fitted on validation rows",
        "",
    ]


def _data(card: Card) -> list[str]:
    stated = stated_attribution(card)
    return [
        "## Data and split",
        "",
        f"* {enumerate_text(data_facts(card))}",
        f"* Split by **{card.split_by}**; the rows are in `split.csv`",
        "",
        "## Credits and licences",
        "",
        f"* Radiographs: {data_credit(card)}",
        *([f"* Stated in training: {_m(stated)}"] if stated else []),
        f"* Weights it started from: {weights_credit(card)}",
        "",
    ]


def _recipe(card: Card) -> list[str]:
    return [
        "## Recipe",
        "",
        *(f"* {x[0].upper()}{x[1:]}" for x in recipe_lines(card)),
        "",
        "Every option is in `card.json`.",
        "",
    ]


def _points(card: Card) -> list[str]:
    order = sorted(card.operating_points, key=lambda n: (n != card.default_operating_point, n))
    rows = []
    for name in order:
        point, default = (
            card.operating_points[name],
            " (default)" if name == card.default_operating_point else "",
        )
        rows.append(
            f"| {_m(name)}{default} | {_m(point.words(card.class_names))} | "
            f"{_m(point.criterion)} | {point.reached() or '–'} |"
        )
    return [
        "## Operating points",
        "",
        "Fitted on validation rows only, and frozen.",
        "",
        "| name | rule | criterion | reached on those rows |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _numbers(card: Card, metrics: dict[str, Any] | None) -> list[str]:
    if metrics is None:
        return []
    fitted = (
        " These are the rows to which temperature and thresholds were fitted."
        if metrics.get("split") == "val"
        else ""
    )
    lines = [
        "## Metrics",
        "",
        f"On {rows_text(metrics)}, at the operating point "
        f"`{_m(metrics.get('operating_point'))}`; {interval_kind(metrics)}.{fitted} "
        f"Always saying {_m(metrics['chance']['class'])} has an accuracy of "
        f"{metrics['chance']['accuracy']:.3f}.",
        "",
        "| metric | value | 95 % interval |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {NAMES.get(n, n)} | {value_text(c)} | {_m(range_text(c))} |"
        for n, c in metrics["metrics"].items()
    ]
    lines += [
        "",
        "| class | rows | "
        f"{' | '.join(NAMES[n] for n in next(iter(metrics['per_class'].values())))} |",
        "| --- " * 7 + "|",
    ]
    lines += [
        f"| {_m(k)} | {metrics['class_counts'][k]} | "
        f"{' | '.join(value_text(c) for c in cells.values())} |"
        for k, cells in metrics["per_class"].items()
    ]
    names = metrics["class_names"]
    lines += [
        "",
        "Confusion matrix (rows true, columns decided):",
        "",
        f"| | {' | '.join(_m(n) for n in names)} |",
        "| --- " * (len(names) + 1) + "|",
    ]
    return [
        *lines,
        *(
            f"| {_m(n)} | {' | '.join(map(str, r))} |"
            for n, r in zip(names, metrics["confusion_matrix"], strict=True)
        ),
        "",
    ]


def _limits(card: Card) -> list[str]:
    return [
        "## Intended use and limits",
        "",
        "* For research and teaching on chest radiographs like those it was trained on. It is "
        "not a medical device.",
        "* Measured on held-out rows of the same source. On radiographs of another hospital, "
        "age group or machine it keeps much of its ranking but "
        "often loses its calibration and its specificity: measure it there, on labelled rows, "
        "before believing a decision.",
        "* It can use shortcuts (burned-in markers, exposure, borders). A high score does not "
        "show that it looked at the lungs.",
        "* Patient keys come from file names and are no verified identities.",
        *(f"* {_m(n)}" for n in card.notes),
        "",
    ]


def _use(card: Card) -> list[str]:
    name, prep = _m(card.name), card.preprocessing
    squash = "sigmoid" if len(card.class_names) == 2 else "softmax"
    last = f"of {card.class_names[-1]}" if len(card.class_names) == 2 else "one a class"
    return [
        "## Use it",
        "",
        "With xray_tf, from files: decoded, calibrated and decided as it was trained.",
        "",
        "```python",
        "import xray_tf",
        "",
        f'model = xray_tf.load("{name}")',
        'answer = model.predict(["radiograph.jpeg"])',
        "```",
        "",
        f"With plain Keras, from pixels (B, {prep.get('image_size')}, "
        f"{prep.get('image_size')}, 1) float32 in [0, 255]. What the model returns is not "
        "calibrated; its logits, divided by the temperature, are.",
        "",
        "```python",
        "import keras",
        "",
        f'net = keras.saving.load_model("{name}/model.keras")',
        'logits = keras.Model(net.input, net.get_layer("logits").output)',
        f"probability = keras.ops.{squash}(logits(pixels) / {card.temperature!r})  # {last}",
        "```",
        "",
        "With plain TensorFlow, from the bytes of JPEG or PNG files of any size (where "
        "`saved_model/` is not there, "
        f"`python -m xray_tf.export --model {name}` makes it).",
        "",
        "```python",
        "import tensorflow as tf",
        "",
        f'served = tf.saved_model.load("{name}/saved_model")',
        'answer = served.encoded(tf.io.read_file("radiograph.jpeg")[None])',
        "```",
        "",
    ]


def _again(card: Card) -> list[str]:
    # the first of all comes first
    made_from = [
        row.get("command_line", "") for row in reversed(card.provenance.get("started_from") or [])
    ]
    command = "\n".join(
        str(line).strip() for line in [*made_from, card.provenance.get("command_line", "")] if line
    )
    return [
        "## Make it again",
        "",
        *(
            f"    {x}"
            for x in (command or "# made from Python with the options in card.json").splitlines()
        ),
        "",
        f"{_m(origin(card))} Default decision: {_m(rule_text(card))}.",
        "",
    ]


def _m(value: Any) -> str:
    """Escape for one Markdown table cell or line."""
    text = " ".join(str(value).encode("utf-8", "backslashreplace").decode("utf-8").split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
