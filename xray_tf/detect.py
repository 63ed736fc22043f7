"""python -m xray_tf.detect fit --data DIR --out DIR, or python -m xray_tf.detect score --model DIR
--data DIR --out DIR

`fit` learns normal chest radiographs, sets thresholds on held-out normals by one false-alarm budget
and leaves a detector in --out: model.keras (the autoencoder), reference.npz (codes and
calibration), card.json, split.csv, scores.csv, metrics.json, statistics.csv, history.csv,
audit.csv, report.html, README.md. Pneumonia in --data is refused, unless --report-on-pneumonia says
that it is there to be reported on.

`score` applies a detector to radiographs, labelled or not, and leaves scores.csv (raw scores,
percentiles among normals, anomaly_score with 0.5 at the threshold, verdict, reason), scores.html,
overlays/ and maps.npz; metrics.json and statistics.csv where there are labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from xray_tf.commands import command_line, run
from xray_tf.options import (
    PARTS,
    DataOptions,
    DetectOptions,
    EvaluateOptions,
    ScoreOptions,
    add_flags,
    from_flags,
)

SHOWN = 10
FIT, SCORE = (
    (DataOptions, DetectOptions, EvaluateOptions),
    (DataOptions, ScoreOptions, EvaluateOptions),
)


def main(args: Sequence[str] | None = None) -> int:
    """Parse, fit or score, and print the headline."""
    parser = argparse.ArgumentParser(
        prog="python -m xray_tf.detect",
        description="Learn normal chests, flag what departs from them. Research software.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="fit | score")
    fit = actions.add_parser(
        "fit",
        help="learn normals",
        description="Learn normal chest radiographs, and set thresholds on held-out normals.",
    )
    fit.add_argument(
        "--data",
        required=True,
        help="folder, CSV manifest, MedMNIST .npz, phantom[:PATIENTS] or kaggle",
    )
    fit.add_argument(
        "--out", required=True, metavar="DIR", help="the folder to make; it must not exist"
    )
    fit.add_argument(
        "--resume", action="store_true", help="go on with an unfinished run of the same options"
    )
    fit.add_argument("--tensorboard", metavar="DIR", help="also write TensorBoard events there")
    score = actions.add_parser(
        "score",
        help="score radiographs",
        description="Score radiographs, labelled or not, with a detector.",
    )
    score.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="the detector that fit made, or a shipped one by its name: normal-chest",
    )
    score.add_argument(
        "--data", required=True, nargs="+", help="as for fit, or files, folders and globs"
    )
    score.add_argument(
        "--out", required=True, metavar="DIR", help="the folder to make; it must not exist"
    )
    score.add_argument(
        "--part",
        choices=PARTS,
        default="all",
        help="only rows of this part of the split (default: all)",
    )
    score.add_argument(
        "--thresholds", metavar="LIST", help="name=value,name=value in place of the detector's own"
    )
    for action, groups in ((fit, FIT), (score, SCORE)):
        for group in groups:
            add_flags(action, group)
    given = parser.parse_args(args)

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
        from xray_tf.jobs.detector.score_files import score_files

        data = given.data[0] if len(given.data) == 1 else given.data
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
            )
            print(f"  {scores.paths[i]}: {scores.errors[i] or said}")
        if len(scores) > SHOWN:
            print(f"  ... and {len(scores) - SHOWN} more")
        if metrics:
            print(_headline(metrics))
            for note in metrics["notes"]:
                print(f"  Note: {note}")
        failed = int((~scores.read).sum())
        print(
            f"Finished: {len(scores)} radiographs, "
            f"{int((scores.verdicts == 'anomalous').sum())} anomalous"
            + (f", {failed} could not be scored" if failed else "")
            + ", in "
            f"{given.out}/scores.csv"
        )
        return 1 if failed == len(scores) else 0

    return run(job)


def _headline(metrics: dict) -> str:
    """Say the headline numbers, with what no knowledge would reach beside those it flatters."""
    chance = {
        "accuracy": f"chance {metrics['chance']['accuracy']:.3f}",
        "f1": f"chance {metrics['chance']['f1_always_pneumonia']:.3f}",
    }
    cells = {
        "auroc": "AUROC",
        "sensitivity": "sensitivity",
        "false_alarms": "false alarms",
        "accuracy": "accuracy",
        "f1": "F1",
    }
    found = {**metrics["metrics"], "false_alarms": metrics["false_alarms"]}
    shown = [
        f"{words} {found[k]['value']:.3f}"
        + (
            f" [{found[k]['low']:.3f}, {found[k]['high']:.3f}]"
            if found[k]["low"] is not None
            else ""
        )
        + (f" ({chance[k]})" if k in chance else "")
        for k, words in cells.items()
        if found[k]["value"] is not None
    ]
    return f"  {metrics['rows']} labelled radiographs: " + ", ".join(shown)


if __name__ == "__main__":
    raise SystemExit(main())
