"""How a model was trained, in words, from the options on its card; an option without words of its
own is listed by name.
"""

from __future__ import annotations

from typing import Any

from xray_tf.artifact import Card
from xray_tf.pages.kit.words import options_of

_METHODS = {
    "warm": "the last layer alone, on stored features of the frozen trunk",
    "head": "the last layer alone, with augmentation, behind the frozen trunk",
}
_SCHEDULES = {
    "cosine": "warm-up over {warmup:.0%} of the steps, then a cosine to zero",
    "plateau": "lowered where the validation loss stays",
}
_SAID = (
    "backbone",
    "weights",
    "image_size",
    "resize",
    "adapter",
    "standardize",
    "dropout",
    "task",
    "method",
    "epochs",
    "fine_tune",
    "fine_tune_epochs",
    "batch_size",
    "learning_rate",
    "fine_tune_learning_rate",
    "layer_decay",
    "weight_decay",
    "label_smoothing",
    "class_weight",
    "schedule",
    "warmup",
    "augment",
    "mixup",
    "ema",
    "keep",
    "steady_rows",
    "precision",
    "seed",
)


def recipe_lines(card: Card) -> list[str]:
    """Return one sentence a subject; a single one where the card has no options."""
    net, how = options_of(card, "ModelOptions"), options_of(card, "TrainOptions")
    if not how:
        return ["Not recorded on the card."]
    more = [
        f"{k.replace('_', ' ')} {v}"
        for k, v in sorted({**net, **how}.items())
        if k not in _SAID and v not in (None, False)
    ]
    return [
        line
        for line in (
            _net(net),
            *_phases(how),
            _objective(how),
            _regularisation(net, how),
            _rest(how),
            f"Further options: {', '.join(more)}." if more else "",
        )
        if line
    ]


def _net(net: dict[str, Any]) -> str:
    weights = net.get("weights")
    start = (
        "random weights"
        if weights in (None, "none")
        else "ImageNet weights"
        if weights == "imagenet"
        else ("the weights of a file")
    )
    extras = [
        text
        for key, text in (
            ("standardize", "each image standardised inside the graph"),
            ("adapter", "a learnable convolution in front of it"),
        )
        if net.get(key)
    ]
    return (
        f"Net: `{net.get('backbone', 'not recorded')}` from {start}"
        + "".join(f", {e}" for e in extras)
        + "."
        if net
        else ""
    )


def _phases(how: dict[str, Any]) -> list[str]:
    out = []
    if how.get("method") in _METHODS:
        out.append(_METHODS[how["method"]] + _extent(how, "epochs", "learning_rate"))
    stages = how.get("fine_tune", "none")
    if stages != "none":
        which = "all stages" if stages == "all" else f"the last {stages} stages"
        slower = (
            f", each earlier stage at {how['layer_decay']:g} of the next one's rate"
            if how.get("layer_decay", 1) != 1
            else ""
        )
        out.append(which + _extent(how, "fine_tune_epochs", "fine_tune_learning_rate") + slower)
    schedule = _SCHEDULES.get(how.get("schedule", ""), "").format(warmup=how.get("warmup", 0))
    names = ("First, ", "Then, ")
    lines = [(names[i] if len(out) > 1 else "Trained: ") + line + "." for i, line in enumerate(out)]
    return [
        *lines,
        f"Optimizer AdamW, batches of {how.get('batch_size')}; the rate: {schedule}."
        if schedule
        else "",
    ]


def _extent(how: dict[str, Any], epochs: str, rate: str) -> str:
    parts = ([f"{how[epochs]} epochs"] if epochs in how else []) + (
        [f"learning rate up to {how[rate]:g}"] if rate in how else []
    )
    return f": {', '.join(parts)}" if parts else ""


def _objective(how: dict[str, Any]) -> str:
    parts = ["cross-entropy"]
    parts += ["classes weighed inversely to their frequency"] if how.get("class_weight") else []
    parts += [f"label smoothing {how['label_smoothing']:g}"] if how.get("label_smoothing") else []
    return f"Objective: {', '.join(parts)}."


def _regularisation(net: dict[str, Any], how: dict[str, Any]) -> str:
    parts = [f"augmentation `{how.get('augment', 'none')}`"]
    parts += [f"mixup with alpha {how['mixup']:g}"] if how.get("mixup") else []
    parts += [f"dropout {net['dropout']:g}"] if net.get("dropout") else []
    parts += [f"weight decay {how['weight_decay']:g}"] if how.get("weight_decay") else []
    return f"Against overfitting: {', '.join(parts)}."


def _rest(how: dict[str, Any]) -> str:
    kept = (
        "the last epoch"
        if how.get("keep") == "last"
        else ("the epoch of the lowest validation loss")
    )
    averaged = (
        f", as a moving average of the weights (momentum {how['ema']:g})" if how.get("ema") else ""
    )
    return (
        f"Kept: {kept}{averaged}. Seed {how.get('seed')}, precision "
        f"{how.get('precision', 'float32')}."
    )
