"""xray-tf detect fit --data DATA --out DIR [options]
xray-tf detect score FILES... --model MODEL --out DIR [options]
xray-tf detect calibrate NORMALS... --model MODEL --out DIR [options]

Learn what normal lungs look like, and flag radiographs whose lungs do not.

`fit` learns from normals alone, and sets the thresholds of all scores on held-out normals by one
false-alarm budget. `score` applies a detector to radiographs, labelled or not. `calibrate` makes
the budget hold at another site, with normals from there. `xray-tf detect fit --help` and so on show
the options of each.

Examples:
  xray-tf detect fit --data chest_xray --out runs/detector --report-on-pneumonia
  xray-tf detect score scans/ --model runs/detector --out runs/scores
  xray-tf detect calibrate our_normals/ --model normal-chest --out runs/ours
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import (
    DOUBTFUL,
    CommandParser,
    add_machine,
    add_shared,
    answer_archive,
    command_line,
    counted,
    on_machine,
)
from xray_tf.exit_status import run
from xray_tf.options import (
    LOCAL,
    CalibrateOptions,
    DataOptions,
    DetectOptions,
    EngineOptions,
    EvaluateOptions,
    ScoreOptions,
    add_flags,
    from_flags,
)
from xray_tf.progress import printable

FIT_TEXT = """xray-tf detect fit --data DATA --out DIR [options]

Learn normal chest radiographs, and set thresholds on held-out normals.

Data with pneumonia in it is refused unless --report-on-pneumonia says that it is there to be
reported on. The new folder --out holds the detector: model.keras (the autoencoder), features.keras
(the frozen trunk before it), reference.npz (density, committee, calibration), card.json, split.csv,
scores.csv, metrics.json, statistics.csv, history.csv, audit.csv, report.html, README.md and, with
--examples, examples.json.

Examples:
  xray-tf detect fit --data normals/ --all-normal --out runs/detector
  xray-tf detect fit --data chest_xray --out runs/detector --report-on-pneumonia --budget 0.1
"""
SCORE_TEXT = """xray-tf detect score FILES... --model MODEL --out DIR [options]

Score radiographs with a detector: FILES, or a labelled data set as --data.

The new folder --out holds scores.csv (raw scores, percentiles among normals, anomaly_score with 0.5
at the threshold, verdict and reason), scores.html, audit.csv, overlays/ and maps.npz, and, where
there are labels, metrics.json and statistics.csv.

With --engine ray, or parts, it holds only scores/, Parquet files with the columns of scores.csv,
and FILES may be addresses or manifests, as for predict.

Examples:
  xray-tf detect score scans/ --model normal-chest --out runs/scores
  xray-tf detect score --model runs/detector --data chest_xray --split runs/detector/split.csv \\
      --part test --out runs/test
"""
CALIBRATE_TEXT = """xray-tf detect calibrate NORMALS... --model MODEL --out DIR [options]

Move a detector's thresholds so that its false-alarm budget holds among normals of another site.

NORMALS are radiographs from there that are known to be normal and that nothing was fitted to; a
budget of 5 % needs 19 patients; the more there are, the less the false alarms that follow vary.
benchmarks/README.md has a table.

The new folder --out holds a detector that has learned the same normal lungs.

Examples:
  xray-tf detect calibrate our_normals/ --model normal-chest --out runs/ours
  xray-tf detect score scans/ --model runs/ours --out runs/scores
"""
SHOWN = 10
FIT = (DataOptions, DetectOptions, EvaluateOptions)
SCORE = (DataOptions, ScoreOptions, EvaluateOptions)
CALIBRATE = (DataOptions, CalibrateOptions, EvaluateOptions)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, fit, score or calibrate, and print the headline."""
    parser = CommandParser(__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="fit | score | calibrate")
    fit = actions.add_parser("fit", help="learn normal chest radiographs", text=FIT_TEXT)
    add_shared(fit, "--data", "--out", "--resume", "--tensorboard")
    score = actions.add_parser("score", help="score radiographs", text=SCORE_TEXT)
    add_shared(score, "--model")
    add_shared(score, "files", nargs="*")
    add_shared(score, "--data", required=False, help="a labelled data set instead of FILES")
    add_shared(score, "--out", "--part")
    score.add_argument(
        "--thresholds",
        metavar="NAME=VALUE,...",
        help="thresholds in place of the detector's own",
    )
    title = "set thresholds on normals of another site"
    calibrate = actions.add_parser("calibrate", help=title, text=CALIBRATE_TEXT)
    add_shared(calibrate, "--model")
    there = "normal radiographs from there: as for fit, or files, folders and globs"
    calibrate.add_argument("files", nargs="*", metavar="NORMALS", help=there)
    earlier = {"nargs": "+", "default": [], "help": argparse.SUPPRESS}
    calibrate.add_argument("--normals", **earlier)
    add_shared(calibrate, "--out")
    add_flags(fit, *FIT)
    add_flags(score, *SCORE, EngineOptions)
    add_flags(calibrate, *CALIBRATE)
    add_machine(fit, score, calibrate)
    given = parser.parse_args(args)
    if given.action == "calibrate" and not (given.files or given.normals):
        calibrate.error("give NORMALS, radiographs that are known to be normal")
    if given.action == "score" and bool(given.files) == bool(given.data):
        score.error("give FILES, or a labelled data set as --data")
    if given.action == "score" and given.engine != LOCAL:
        if given.data or given.split or given.part != "all":
            parser.error(
                f"--engine {given.engine} scores FILES: leave out --data, --split and --part"
            )
        return run(
            on_machine(
                given, lambda: answer_archive(given, given.files, "scores", given.thresholds)
            )
        )

    def job() -> int:
        if given.action == "fit":
            from xray_tf.jobs.detector.fit_detector import fit_detector

            fit_detector(
                given.data,
                given.out,
                *(from_flags(given, group) for group in FIT),
                resume=given.resume,
                tensorboard=given.tensorboard,
                command_line=command_line("detect", args),
            )
            return 0
        if given.action == "calibrate":
            from xray_tf.jobs.detector.calibrate_detector import calibrate_detector

            normals = [*given.files, *given.normals]
            calibrate_detector(
                given.model,
                normals[0] if len(normals) == 1 else normals,
                given.out,
                *(from_flags(given, group) for group in CALIBRATE),
                command_line=command_line("detect", args),
            )
            return 0
        from xray_tf.jobs.detector.score_files import score_files

        data = given.data or (given.files[0] if len(given.files) == 1 else given.files)
        scores, metrics = score_files(
            given.model,
            data,
            given.out,
            *(from_flags(given, group) for group in SCORE),
            part=given.part,
            thresholds=given.thresholds,
        )
        for i in range(min(len(scores), SHOWN)):
            said = (
                f"{scores.verdicts[i]}{f' ({scores.reasons[i]})' if scores.reasons[i] else ''}, "
                f"anomaly score {scores.anomaly[i]:.3f}"
                f"{f'; warning: {scores.warnings[i]}' if scores.warnings[i] else ''}"
            )
            print(printable(f"  {scores.paths[i]}: {scores.errors[i] or said}"))
        if len(scores) > SHOWN:
            print(f"  ... and {len(scores) - SHOWN} more")
        if metrics:
            print(_headline(metrics))
            for note in metrics["notes"]:
                print(f"  Note: {note}")
        anomalous, doubtful = (scores.verdicts == "anomalous").sum(), (scores.warnings != "").sum()
        failed = int((~scores.read).sum())
        told = counted({DOUBTFUL: doubtful, "could not be scored": failed})
        print(
            f"Finished: {len(scores)} radiographs, {anomalous} anomalous{told}, in "
            f"{given.out}/scores.html"
        )
        return 1 if failed == len(scores) else 0

    return run(on_machine(given, job))


def _headline(metrics: dict) -> str:
    """Say the headline numbers, and accuracy and F1 with what guessing would reach."""
    from xray_tf.pages.kit.words import measured_text
    from xray_tf.stats.metric_rows import METRICS

    chance = {
        "accuracy": f"chance {metrics['chance']['accuracy']:.3f}",
        "f1": f"chance {metrics['chance']['f1_always_pneumonia']:.3f}",
    }
    found = {**metrics["metrics"], "false_alarms": metrics["false_alarms"]}
    shown = [
        f"{row.label} {measured_text(found[k])}" + (f" ({chance[k]})" if k in chance else "")
        for k, row in METRICS.items()
        if ("detector" in row.headline or k in chance) and found[k]["value"] is not None
    ]
    return f"  {metrics['rows']} labelled radiographs: " + ", ".join(shown)


if __name__ == "__main__":
    raise SystemExit(main())
