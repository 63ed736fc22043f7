"""The model card: an artifact's README.md, from its card and its metrics."""

from __future__ import annotations

from typing import Any

from xray_tf.artifact import Card
from xray_tf.pages.shift_card import shift_markdown
from xray_tf.pages.words import IMAGE_SPLIT, NAMES, NOTICE, data_facts, enumerate_text, options_of, origin, range_text, rows_text, rule_text, value_text


def render_model_card(card: Card, metrics: dict[str, Any] | None = None, shift: dict[str, Any] | None = None) -> str:
    """Return the artifact's README.md: what the model is, on what it was measured, its limits, and how to make it again.

    Args:
        card: of the artifact.
        metrics: what `stats.metrics.score` returned, in the layout of metrics.json; None leaves the numbers out.
        shift: what `jobs.shift_bench.measure_shift` returned, in the layout of shift.json; None leaves the shift card out.
    """
    point = card.operating_points.get(card.default_operating_point, {})
    model, prep = options_of(card, "ModelOptions"), card.preprocessing
    lines = [f"# {_m(card.name)}", "", f"> {NOTICE}", ""]
    if card.split_by == "image":
        lines += [f"> **Warning.** {IMAGE_SPLIT}", ""]
    lines += ["## Task", "", f"`{card.task}`: one chest radiograph in, one probability each for {enumerate_text(card.class_names)} out.", "",
              f"* Net: {_m(model.get('backbone', 'see the card'))}, weights {_m(model.get('weights', 'see the card'))}",
              f"* Input: grey pixels in [0, 255], {prep.get('image_size')} x {prep.get('image_size')}, resized by `{prep.get('resize')}`",
              f"* Temperature {card.temperature:.4g}: logits are divided by it (Guo et al. 2017), fitted on validation rows", ""]
    lines += ["## Data and split", "", f"* {enumerate_text(data_facts(card))}", f"* Split by **{card.split_by}**; the rows are in `split.csv`", ""]
    lines += ["## Operating points", "", "Fitted on validation rows only.", "", "| name | rule | criterion |", "| --- | --- | --- |"]
    lines += [f"| {_m(n)}{' (default)' if n == card.default_operating_point else ''} | {_m(rule_text(p, card.class_names))} | {_m(p.get('criterion', ''))} |"
              for n, p in card.operating_points.items()]
    lines += ["", *_card_numbers(card, metrics), *(shift_markdown(shift) if shift else [])]
    lines += ["## Intended use and limits", "",
              "* For research and teaching on chest radiographs like those it was trained on. It is not a medical device.",
              "* Measured on held-out rows of the same source. On radiographs of another hospital, age group or machine it keeps much of its ranking but "
              "often loses its calibration and its specificity: measure it there, on labelled rows, before believing a decision.",
              "* It can use shortcuts (burned-in markers, exposure, borders). A high score does not show that it looked at the lungs.",
              "* Patient keys come from file names and are no verified identities.",
              *(f"* {_m(n)}" for n in card.notes), ""]
    lines += ["## Use it", "", "```python", "import xray_tf", "", f'model = xray_tf.load("{_m(card.name)}")',
              'model.predict(["radiograph.jpeg"])', "```", "", "`model.keras` also opens with plain Keras; it gives logits, and "
              f"{'a sigmoid' if len(card.class_names) == 2 else 'a softmax'} of logits / {card.temperature:.4g} is the probability.", ""]
    command = str(card.provenance.get("command_line", "")).strip()
    lines += ["## Make it again", "", *(f"    {x}" for x in (command or "# made from Python with the options in card.json").splitlines()), "",
              f"{_m(origin(card))} Default decision: {_m(rule_text(point, card.class_names))}.", ""]
    return "\n".join(lines)


def _card_numbers(card: Card, metrics: dict[str, Any] | None) -> list[str]:
    if metrics is None:
        return []
    lines = ["## Metrics", "", f"On {rows_text(metrics)}, at the operating point `{_m(metrics.get('operating_point'))}`; {metrics['interval']['kind']}. "
             f"Always saying {_m(metrics['chance']['class'])} has an accuracy of {metrics['chance']['accuracy']:.3f}.", "",
             "| metric | value | 95 % interval |", "| --- | --- | --- |"]
    lines += [f"| {NAMES.get(n, n)} | {value_text(c)} | {_m(range_text(c))} |" for n, c in metrics["metrics"].items()]
    lines += ["", f"| class | rows | {' | '.join(NAMES[n] for n in next(iter(metrics['per_class'].values())))} |", "| --- " * 7 + "|"]
    lines += [f"| {_m(k)} | {metrics['class_counts'][k]} | {' | '.join(value_text(c) for c in cells.values())} |" for k, cells in metrics["per_class"].items()]
    names = metrics["class_names"]
    lines += ["", "Confusion matrix (rows true, columns decided):", "", f"| | {' | '.join(_m(n) for n in names)} |", "| --- " * (len(names) + 1) + "|"]
    return [*lines, *(f"| {_m(n)} | {' | '.join(map(str, r))} |" for n, r in zip(names, metrics["confusion_matrix"], strict=True)), ""]


def _m(value: Any) -> str:
    """Escape for one Markdown table cell or line."""
    text = " ".join(str(value).encode("utf-8", "backslashreplace").decode("utf-8").split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
