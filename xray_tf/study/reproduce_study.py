"""Run the whole study in one call. A stage that was killed goes on, one that is done is skipped,
and none is overwritten without being asked.

    OUT/study.json          which study it is: options, data, stages
    OUT/stages/<name>.json  one record per stage: what went into it, and whether it is finished
    OUT/audit, split, models/*, embeddings/*, ...   the results of the stages
    OUT/results.json, results.csv, report.html      written again whenever a stage has run
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xray_tf.artifact import refuse_existing, write_json, write_text
from xray_tf.data.sources.scan import recognise, scan
from xray_tf.data.tables.split_file import read_split
from xray_tf.jobs.corpus import read_corpus
from xray_tf.jobs.provenance import fingerprint, provenance, started_from
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.locks import locked
from xray_tf.options import DataOptions, ReproduceOptions, is_pretrained
from xray_tf.spelling import did_you_mean, meant
from xray_tf.study.plan import REPORT, STUDY, Plan
from xray_tf.study.presets import Recipe, make_preset
from xray_tf.study.results import collect_results, write_results
from xray_tf.study.stages import Stage, stages_of
from xray_tf.study.study import Study

KERAS_FILE = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"


@takes(ReproduceOptions, DataOptions)
def reproduce_study(
    data: str,
    out: str | os.PathLike,
    *,
    options: Options,
    only: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Run the course report's study: audit, split, classifiers, neighbours, shift bench, anomaly
    detector and heat maps; finish with a table and a page.

    A stage is skipped if its record says that it is finished, with the same options and the same
    radiographs. A training that was killed goes on from its checkpoint.

    Args:
        data: as for training.
        out: the study's folder: a new one, or that of an earlier call.
        options: `ReproduceOptions` and `DataOptions` in any order, or single options by name, such
            as `preset="quick"`. All stages use one split: that of `split`, or one made here.
        only: names of stages, or of their kinds (train, embed, ...); all if empty.
        force: run again the stages in `only`, or else those whose options or data changed, and what
            depends on them.
        dry_run: only print the plan, with times estimated from a measurement on this machine.

    Returns:
        The table, one dict per number; see `study.results.collect_results`.

    Raises:
        FileExistsError: the folder contains something else, or stages with other options or data.
        ValueError: a stage is unknown, or its input is missing.
        WeightsUnavailable: ImageNet weights are missing and cannot be downloaded; raised before
            anything runs.
    """
    run, how, data_options = (options[k] for k in (Run, ReproduceOptions, DataOptions))
    if how.backbone:
        from xray_tf.nets.trunks.backbones import describe

        describe(how.backbone)  # an unknown one is told before anything is read
    out = Path(out)
    if not (out / STUDY).is_file():
        refuse_existing(out)
    if data_options.split and how.rows:
        raise ValueError(
            "A split.csv names every radiograph, and --rows draws a few. Leave out one of them."
        )
    if data_options.split:
        read_split(data_options.split)  # what is wrong with it is told before anything runs
    study = Study(out, data, data_options, how, make_preset(how), run=run)
    records, study = _look_at(study, dry_run)
    stages = stages_of(study)
    wanted = _wanted(stages, only)
    plan = Plan(out, stages, None if dry_run else fingerprint(records))
    plan.choose(wanted, force, bool(only))
    if dry_run:
        from xray_tf.study.estimates import describe_plan

        run.say(describe_plan(study, stages, plan.todo, plan.states))
        return []
    _check_weights([s.recipe for s in stages if s.kind == "train" and s.name in plan.todo], run)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):  # two runs never write into one study
        plan.settle()
        _write_study(study, records, stages)
        started = time.monotonic()
        for number, stage in enumerate(plan.todo, 1):
            run.say(f"== {number}/{len(plan.todo)} {stage}")
            plan.run(stage)
        rows = _finish(study, stages, bool(plan.todo) or REPORT in only)
    run.say(
        f"{len(plan.todo)} stages run in {(time.monotonic() - started) / 60:.1f} minutes, "
        f"{len(stages) - len(plan.todo)} not run now"
    )
    return rows


def _look_at(study: Study, names_only: bool) -> tuple[Any, Study]:
    """Read the data, or only its names with `names_only`, and count it."""
    options, model = study.data_options, study.preset.recipes[0].model
    if names_only:
        records = scan(study.data, options.source, options.patient_key, options.cache).records
    else:
        records = read_corpus(
            study.data, "binary", options, model.image_size, model.resize, study.run.progress
        ).records
    study = replace(study, total=len(records))
    study.run.say(
        f"{len(records):,} radiographs"
        + (f", of which {study.options.rows:,} are used" if study.limited else "")
    )
    return records, study


def _wanted(stages: list[Stage], only: Sequence[str]) -> list[str]:
    known = {s.name for s in stages} | {s.kind for s in stages} | {REPORT}
    only = [meant(name, known) for name in only]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(
            f"only must name stages of this study ({', '.join(s.name for s in stages)}, {REPORT}) "
            f"or their kinds ({', '.join(dict.fromkeys(s.kind for s in stages))}). "
            f"Received: {unknown[0]!r}.{did_you_mean(unknown[0], known)}"
        )
    return [s.name for s in stages if not only or s.name in only or s.kind in only]


def _check_weights(recipes: list[Recipe], run: Run) -> None:
    """Check that every backbone's weights are available, before hours are spent on the first one.

    Raises:
        WeightsUnavailable: they are not; the message says what to put where.
        ArtifactError: they are in an artifact that is damaged.
    """
    from xray_tf.models.lungs import lungs_for
    from xray_tf.nets.classifier import build_classifier
    from xray_tf.nets.trunks.weights import WeightsUnavailable
    from xray_tf.registry import TASKS

    for model in {
        (r.model.backbone, r.model.weights): r.model
        for r in recipes
        if is_pretrained(r.model.weights)
    }.values():
        run.say(f"Looking for the {model.weights} weights of {model.backbone}")
        started_from(model.weights)  # raises where the artifact they lie in is damaged
        try:
            build_classifier(model, TASKS["binary"].class_names, 0, lungs_for(model))
        except WeightsUnavailable as error:
            name = model.backbone
            place = (
                (
                    f"put {KERAS_FILE.format(name)} (Keras's download) into ~/.keras/models, or "
                    f"pass it as --weights {name}=FILE"
                )
                if name.startswith("resnet") and name != "resnet18"
                else f"pass a .weights.h5 or .keras file of that backbone as --weights {name}=FILE"
            )
            raise WeightsUnavailable(
                f"Nothing was run: the ImageNet weights of {name} are not "
                f"here and could not be downloaded. Either {place}; or take "
                "--backbone efficientnet_lite0 or --preset best, whose "
                "weights come with xray_tf; or --weights none (random "
                "weights, which every page then says)."
            ) from error


def _write_study(study: Study, records: Any, stages: list[Stage]) -> None:
    if study.data_options.split:
        test_part = "given by a split.csv"
    elif any(r.split == "test" for r in records):
        test_part = "given with the data"
    else:
        test_part = f"carved out by {study.data_options.split_by}"
    about = {
        "preset": study.options.preset,
        "words": study.preset.words,
        "data": {
            "source": recognise(study.data)
            if study.data_options.source == "auto"
            else study.data_options.source,
            "radiographs": study.total,
            "used": study.used,
            "limited": study.limited,
            "fingerprint": fingerprint(records),
            "test_part": test_part,
        },
        "notes": study.notes(),
        "split_by": study.data_options.split_by,
        "stages": [
            {
                "name": s.name,
                "kind": s.kind,
                "folder": s.folder,
                "model": s.recipe.name if s.recipe else "",
                "task": s.recipe.train.task if s.recipe else "",
                "backbone": s.recipe.model.backbone if s.recipe else "",
                "weights": (s.recipe.model.weights or "none") if s.recipe else "",
            }
            for s in stages
        ],
        "provenance": provenance(
            study.run.command_line, records, study.options, study.data_options
        ),
    }
    write_json(study.out / STUDY, about)


def _finish(study: Study, stages: list[Stage], changed: bool) -> list[dict[str, Any]]:
    from xray_tf.pages.study.page import render_study

    rows = collect_results(study.out)
    if changed or not (study.out / "report.html").is_file():
        write_results(rows, study.out)
        write_text(study.out / "report.html", render_study(study.out))
    return rows
