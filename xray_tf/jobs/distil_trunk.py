"""From radiographs, and a backbone with ImageNet weights, to another backbone's trained trunk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xray_tf.artifact import Card, seal, write_json, write_text
from xray_tf.card import MODEL
from xray_tf.data.tables.split_file import SPLIT, write_split
from xray_tf.jobs.corpus import Corpus, divide, read_corpus
from xray_tf.jobs.provenance import preprocessing, provenance
from xray_tf.jobs.run import Options, Run, recorded, takes
from xray_tf.jobs.training import train, write_history
from xray_tf.options import LUNGS, DataOptions, DistilOptions


@takes(DataOptions, DistilOptions)
def distil_trunk(data: Any, out: str | os.PathLike, *, options: Options) -> Path:
    """Teach one backbone the feature maps of another, and save its trunk as a start for `train`.

    During training the checkpoint is in a hidden folder beside `out`; `out` appears when it is
    complete. No label is learned from; labels only divide the rows as `train` divides them.

    Args:
        data: as `train_classifier` takes it.
        out: the folder to create.
        options: `DataOptions`, `DistilOptions` and `xray_tf.jobs.run.Run` in any order, or single
            options by name, such as `epochs=5` or `backbone="resnet50"`.

    Returns:
        The path of `model.keras` in it, for `weights=`.

    Raises:
        FileExistsError: `out` exists, or has an unfinished run and `resume` is false.
        ValueError: the data cannot be split, or an option does not fit; the message says which.
        WeightsUnavailable: the teacher's weights are not to be had.
    """
    from xray_tf.models.lungs import shipped_segmenter
    from xray_tf.nets.keras_file import save_model
    from xray_tf.nets.training.distil import build_student, distil_net, plan_distillation
    from xray_tf.nets.training.loop import Optimisation
    from xray_tf.nets.trunks.backbones import describe

    run, how = options[Run].at(out), options[DistilOptions]
    for name in (how.teacher, how.backbone):
        describe(name)  # an unknown one is told before anything is read
    corpus = _read(data, options, run)
    rows = {part: corpus.rows[corpus.of_split(part)] for part in ("train", "val")}

    def build() -> tuple:
        student = build_student(how)
        lungs = shipped_segmenter().model if how.region == LUNGS else None
        net = distil_net(student, how, lungs)
        run.say(f"{how.backbone} ({student.count_params() / 1e6:.1f} million) from {how.teacher}")
        phase = plan_distillation(net, how, corpus.pixels, rows["train"], rows["val"])
        return student, [phase], Optimisation(how.weight_decay, keep="last")

    with run.training(corpus.records, options) as workshop:
        trained = train(run, workshop, build)
        explained = 1 - trained.history[-1]["val_loss"]
        metrics = {"explained": explained, "rows": len(rows["val"])}
        with run.folder() as draft:
            save_model(trained.model, draft / MODEL)
            write_split(corpus.records, draft / SPLIT)
            write_history(trained.history, draft / "history.csv")
            write_json(draft / "metrics.json", metrics)
            corpus.findings.write_csv(draft / "audit.csv")
            _write_card(draft, corpus, {**options, Run: run}, trained.notes, metrics)
    run.say(f"  explains {explained:.3f} of the variance of {how.teacher}'s feature maps")
    run.say(f"Finished: {run.out}/ has the trunk; start from it with --weights")
    return run.out / MODEL


def _read(data: Any, options: Options, run: Run) -> Corpus:
    where, how = options[DataOptions], options[DistilOptions]
    corpus = read_corpus(data, "binary", where, how.image_size, how.resize, run.progress)
    corpus = divide(corpus, where, how.seed)
    for part in ("train", "val"):
        if not len(corpus.of_split(part)):
            raise ValueError(f"There is no radiograph in the part {part!r}; both are needed.")
    return corpus


def _write_card(
    draft: Path, corpus: Corpus, options: Options, notes: tuple[str, ...], metrics: dict[str, Any]
) -> None:
    from xray_tf.pages.trunks.trunk_card import render_trunk_card

    run, how = options[Run], options[DistilOptions]
    card = Card(
        kind="trunk",
        name=run.out.name,
        split_by=corpus.records.split_by,
        preprocessing=preprocessing(how.image_size, how.resize),
        provenance=provenance(run.command_line, corpus.records, *recorded(options)),
        metrics_split="val",
        notes=notes,
    )
    write_text(draft / "README.md", render_trunk_card(card, metrics))
    seal(draft, card)
