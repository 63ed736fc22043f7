"""Choose detectors that learn from normals alone, without sick radiographs, then report once on
sick ones.

python benchmarks/anomaly.py choose     normals, lesions pasted into normals, and phantoms: the data
                                        on which the choice is based
python benchmarks/anomaly.py report     patient-wise test rows with real pneumonia: run once, after
                                        the choice is committed
python benchmarks/anomaly.py weights    how the committee and the autoencoder's two scores share the
                                        budget: fit normals alone

All take --data DIR (the public data, ../shared/data/chest_xray), the first two also --cache DIR for
features, and each writes its part of benchmarks/results/anomaly.json. Rows are split by patient
(seed 0). Detectors are fitted on training normals; `choose` scores validation normals and lesions
pasted into them, `report` the test rows. `choose` reads no row with pneumonia. `report` refuses to
run if xray_tf/ or this script differ from the last commit, whose hash it records. `weights` uses
the training normals alone, split once more by patient: detectors are fitted on one part, calibrated
on another under every weight, and tested on lesions pasted into a third.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RESULT = HERE / "results" / "anomaly.json"
SIZE, RESIZE = 224, "squash"  # the 224 copies of the public data are squashed already
# radiographs that get every kind of lesion; normal phantoms, a third held out; sick ones
LESION_ROWS, PHANTOMS, SICK_PHANTOMS = 50, 90, 30
BUDGET = 0.05
# of the two scores beside the committee; nested divisions
WEIGHTS, WEIGHT_SEEDS, WEIGHT_EPOCHS = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125), (0, 1, 2), 30
# they take long to fit, and there are two more fits for each acquisition
WITHOUT_SHIFT = ("patch_memory", "kde")
COMMITTEES = (
    ("lungs", "lung_maps"),
    ("lungs", "lungs_nearest", "lung_maps"),
    ("lungs", "lung_maps", "patch_gaussian"),
    ("lungs", "lung_maps", "mahalanobis"),
    ("lungs", "lung_maps", "nearest"),
    ("lungs", "mahalanobis"),
    ("mahalanobis", "patch_gaussian"),
)


def corpus_of(data: str):
    """Return the corpus divided by patient."""
    from xray_tf.jobs.corpus import divide, read_corpus
    from xray_tf.options import DataOptions

    options = DataOptions()
    return divide(read_corpus(data, "binary", options, SIZE, RESIZE), options, seed=0)


class Features:
    """Features of named sets of radiographs, kept in a folder."""

    def __init__(self, cache: Path):
        from xray_tf.models.lungs import find_fields
        from xray_tf.nets.feature_maps import FeatureExtractor

        self.cache, self.extractor = cache, FeatureExtractor(find_lungs=find_fields)
        cache.mkdir(parents=True, exist_ok=True)

    def of(self, name: str, pixels, rows=None) -> dict[str, np.ndarray]:
        """Return the features of rows, from the folder where they are there."""
        path = self.cache / f"{name}.npz"
        if not path.is_file():
            started = time.perf_counter()
            np.savez(path, **self.extractor.extract(pixels, rows))
            print(f"  features of {name}: {time.perf_counter() - started:.0f} s", flush=True)
        with np.load(path) as arrays:
            return dict(arrays)


def take(features: dict[str, np.ndarray], keep) -> dict[str, np.ndarray]:
    return {name: values[keep] for name, values in features.items()}


def auroc(normal: np.ndarray, sick: np.ndarray) -> float:
    """Return the chance that a sick row scores lower than a normal one, ties half."""
    from sklearn.metrics import roc_auc_score

    return float(
        roc_auc_score(np.r_[np.zeros(len(normal)), np.ones(len(sick))], -np.r_[normal, sick])
    )


def calibrated(members: dict[str, np.ndarray], names, own: dict[str, np.ndarray]) -> np.ndarray:
    """Return the committee's score from its members' raw scores, on the scale of their cross-fitted
    training scores `own`.
    """
    from xray_tf.stats.detector.vectors import Combination

    return (
        Combination()
        .fit(np.stack([own[n] for n in names], 1))
        .score_samples(np.stack([members[n] for n in names], 1))
    )


def fitted_scores(train: dict, patients, names, *others: dict) -> tuple[dict, list[dict]]:
    """Return cross-fitted scores of the training rows, and the scores of other rows by a detector
    fitted on all of them, by detector.
    """
    from xray_tf.stats.detector.committee import DETECTORS, cross_fit_scores

    own, scored = {}, [{} for _ in others]
    for name in names:
        row = DETECTORS[name]
        own[name] = cross_fit_scores(row.build, train[row.eats], patients, folds=3)
        detector = row.build().fit(train[row.eats], patients)
        for out, features in zip(scored, others, strict=True):
            out[name] = detector.score_samples(features[row.eats])
        print(f"  {name}", flush=True)
    return own, scored


def choose(options) -> dict:
    """Score every detector and committee on what may be looked at; return the table."""
    from lesions import LESIONS, SEVERITIES, LesionGrid

    from xray_tf.models.lungs import find_fields
    from xray_tf.stats.detector.committee import DETECTORS

    corpus, features = corpus_of(options.data), Features(options.cache)
    records = list(corpus.records)
    parts = {p: [i for i in corpus.of_split(p) if corpus.labels[i] == 0] for p in ("train", "val")}
    patients = {p: np.array([records[i].patient for i in rows]) for p, rows in parts.items()}
    normal = {
        p: features.of(f"normals_{p}", corpus.pixels, corpus.rows[rows])
        for p, rows in parts.items()
    }
    drawn = sorted(np.random.default_rng(0).permutation(len(parts["val"]))[:LESION_ROWS])
    rows = [parts["val"][i] for i in drawn]
    lungs = find_fields(corpus.pixels[corpus.rows[rows]]).masks
    grid = LesionGrid(corpus.pixels, corpus.rows[rows], [records[i].sha256 for i in rows], lungs)
    lesions = features.of("lesions", grid)
    about = [grid.about(i) for i in range(len(grid))]
    kinds, severities = np.array([a[1] for a in about]), np.array([a[2] for a in about])
    own, (held, pasted) = fitted_scores(
        normal["train"], patients["train"], DETECTORS, normal["val"], lesions
    )
    shifts = shift_scores(normal, patients)
    seen, (well, sick) = phantom_scores(features)
    table = {}
    for names in [(n,) for n in DETECTORS] + list(COMMITTEES):
        a, b, c = (calibrated(s, names, own) for s in (held, pasted, own))
        by_kind = {k: auroc(a, b[kinds == k]) for k in LESIONS}
        row = {
            "lesions": float(np.mean(list(by_kind.values()))),
            "by_kind": by_kind,
            "by_severity": {str(s): auroc(a, b[severities == s]) for s in SEVERITIES},
            "phantoms": auroc(calibrated(well, names, seen), calibrated(sick, names, seen)),
            "false_alarms_validation": float((a < np.quantile(c, BUDGET)).mean()),
        }
        if not set(names) & set(WITHOUT_SHIFT):
            row |= {
                f"false_alarms_fit_{f}": float(
                    (calibrated(o, names, w) < np.quantile(calibrated(w, names, w), BUDGET)).mean()
                )
                for f, (w, o) in shifts.items()
            }
        table["+".join(names)] = rounded(row)
    return {
        "split": "by patient, seed 0",
        "fit_normals": len(parts["train"]),
        "validation_normals": len(parts["val"]),
        "lesions": len(grid),
        "severities": list(SEVERITIES),
        "table": table,
        "columns": {
            "lesions": "mean over kinds of lesion of the AUROC of lesions pasted into "
            "validation normals against validation normals",
            "phantoms": "AUROC of sick against held-out normal phantoms, detectors "
            "fitted on normal phantoms",
            "false_alarms_validation": "share of validation normals below the 5 % "
            "quantile of cross-fitted training normals",
            "false_alarms_fit_X": "fitted and calibrated (cross-fitted, 5 %) on one "
            "acquisition of normals, false alarms on the other",
        },
    }


def shift_scores(normal: dict, patients: dict) -> dict:
    """Fit on each of the two acquisitions; return {family: (its own cross-fitted scores, the
    other's scores)}, each by detector.
    """
    from xray_tf.stats.detector.committee import DETECTORS

    both = {k: np.concatenate([normal["train"][k], normal["val"][k]]) for k in normal["train"]}
    keys = np.concatenate([patients["train"], patients["val"]])
    second = np.array([k.startswith("NORMAL2-") for k in keys])
    names, out = [n for n in DETECTORS if n not in WITHOUT_SHIFT], {}
    for family, here in (("IM", ~second), ("NORMAL2-IM", second)):
        own, (other,) = fitted_scores(take(both, here), keys[here], names, take(both, ~here))
        out[family] = own, other
    return out


def phantom_scores(features: Features) -> tuple[dict, list[dict]]:
    """Fit on normal phantoms; return cross-fitted scores, and the scores of held-out normal and of
    sick phantoms.
    """
    from xray_tf.data.synthetic.phantom import draw_phantom
    from xray_tf.stats.detector.committee import DETECTORS

    kinds = ["normal"] * PHANTOMS + ["bacterial", "viral"] * (SICK_PHANTOMS // 2)
    have = (features.cache / "phantoms.npz").is_file()
    images = (
        None
        if have
        else np.stack(
            [draw_phantom(k, 11, i, height=SIZE, width=SIZE).image for i, k in enumerate(kinds)]
        )
    )
    found = features.of("phantoms", images)
    fit = PHANTOMS * 2 // 3
    parts = [take(found, s) for s in (slice(fit), slice(fit, PHANTOMS), slice(PHANTOMS, None))]
    return fitted_scores(parts[0], [str(i) for i in range(fit)], DETECTORS, *parts[1:])


def weights(options) -> dict:
    """Measure every weight of reconstruction and density beside the committee, on lesions pasted
    into normals of the fit part.
    """
    corpus = corpus_of(options.data)
    normals = [corpus.records[i] for i in corpus.of_split("train") if corpus.labels[i] == 0]
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "normals.csv"
        with manifest.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(
                [
                    ("path", "label", "patient"),
                    *((corpus.records.file(r).resolve(), "normal", r.patient) for r in normals),
                ]
            )
        for seed in WEIGHT_SEEDS:
            turns.append(nested(str(manifest), Path(folder) / f"detector-{seed}", seed))
    table = {
        str(w): {k: float(np.mean([t[str(w)][k] for t in turns])) for k in turns[0][str(w)]}
        for w in WEIGHTS
    }
    for w in WEIGHTS:
        table[str(w)]["sensitivity_each_seed"] = [t[str(w)]["sensitivity"] for t in turns]
    best = max(WEIGHTS, key=lambda w: (table[str(w)]["sensitivity"], w))
    return {
        "normals": len(normals),
        "seeds": list(WEIGHT_SEEDS),
        "epochs": WEIGHT_EPOCHS,
        "budget": BUDGET,
        "chosen": best,
        "rule": "highest sensitivity to pasted lesions (mean over kinds, then seeds); of "
        "equals the larger weight",
        "table": rounded(table),
    }


def nested(manifest: str, folder: Path, seed: int) -> dict[str, dict[str, float]]:
    """Fit one detector on a part of the normals of a manifest; return what each weight reaches on
    its other parts.
    """
    from lesions import LESIONS, LesionGrid

    from xray_tf.jobs.detector.fit_detector import fit_detector
    from xray_tf.jobs.detector.normals import parts_of, read_normals
    from xray_tf.models.lungs import find_fields
    from xray_tf.models.normal_chest import NAMES
    from xray_tf.options import DataOptions, DetectOptions
    from xray_tf.stats.detector.or_rule import calibrate

    data, how = (
        DataOptions(validation=0.3, test=0.2),
        DetectOptions(resize=RESIZE, seed=seed, epochs=WEIGHT_EPOCHS, locate="none"),
    )
    chest = fit_detector(manifest, folder, data, how).normal_chest
    corpus, _ = read_normals(manifest, data, how, progress=False)
    parts = parts_of(corpus, how)
    rows = corpus.rows[parts.test]
    grid = LesionGrid(
        corpus.pixels,
        rows[: 2 * LESION_ROWS],
        [corpus.records[i].sha256 for i in parts.test[: 2 * LESION_ROWS]],
        find_fields(corpus.pixels[rows[: 2 * LESION_ROWS]]).masks,
        seed=seed,
    )
    kinds = np.array([grid.about(i)[1] for i in range(len(grid))])
    held, healthy = (
        chest.scores(corpus.pixels, corpus.rows[part]) for part in (parts.calibrate, parts.test)
    )
    pasted = chest.scores(grid)
    out = {}
    for weight in WEIGHTS:
        rule = calibrate(
            chest.names,
            held,
            [corpus.records[i].patient for i in parts.calibrate],
            BUDGET,
            seed,
            weights=dict.fromkeys(NAMES, weight),
        )
        well, sick = rule.judge(healthy), rule.judge(pasted)
        out[str(weight)] = {
            "sensitivity": float(np.mean([sick.anomalous[kinds == k].mean() for k in LESIONS])),
            "auroc": float(
                np.mean([auroc(-well.anomaly, -sick.anomaly[kinds == k]) for k in LESIONS])
            ),
            "false_alarms": float(well.anomalous.mean()),
            "calibration_patients": len(rule.normals),
        }
    print(seed, rounded(out), flush=True)
    return out


def report(options) -> dict:
    """Score the test rows, pneumonia included, by what the last commit chose."""
    from xray_tf.stats.detector.committee import CHOSEN, DETECTORS
    from xray_tf.stats.metrics import score

    commit = committed()
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    if "report" in before:
        raise SystemExit(
            f"{RESULT} holds a report already, of commit "
            f"{before['report']['commit']}. It is made once; remove it by hand if the choice is "
            "new."
        )
    corpus, features = corpus_of(options.data), Features(options.cache)
    records = list(corpus.records)
    parts = {
        p: [i for i in corpus.of_split(p) if p == "test" or corpus.labels[i] == 0]
        for p in ("train", "val", "test")
    }
    found = {
        p: features.of("test" if p == "test" else f"normals_{p}", corpus.pixels, corpus.rows[rows])
        for p, rows in parts.items()
    }
    patients = {p: np.array([records[i].patient for i in rows]) for p, rows in parts.items()}
    own, (held, tested) = fitted_scores(
        found["train"], patients["train"], DETECTORS, found["val"], found["test"]
    )
    labels, table = corpus.labels[parts["test"]], {}
    for names in dict.fromkeys([CHOSEN, *((n,) for n in DETECTORS), *COMMITTEES]):
        a, b = calibrated(held, names, own), calibrated(tested, names, own)
        _, first = np.unique(patients["val"], return_index=True)  # one radiograph a patient
        # conformal: at most 5 % of new patients' normals, on average
        threshold = np.sort(a[first])[int(BUDGET * (len(first) + 1)) - 1]
        # metrics take probabilities; only their order counts here
        odd = np.argsort(np.argsort(-b)) / len(b)
        made = score(
            np.stack([1 - odd, odd], 1),
            labels,
            (b < threshold).astype(int),
            patients["test"].tolist(),
            ("normal", "pneumonia"),
        )
        m = made["metrics"]
        table["+".join(names)] = {
            "auroc": m["auroc"],
            "auprc": m["auprc"],
            "sensitivity_at_budget": m["sensitivity"],
            "false_alarm_rate": {
                "value": 1 - m["specificity"]["value"],
                "low": 1 - m["specificity"]["high"],
                "high": 1 - m["specificity"]["low"],
            },
        }
        chance = made["chance"]
    return {
        "commit": commit,
        "chosen": list(CHOSEN),
        "not_used_in_any_choice": True,
        "test_rows": len(labels),
        "pneumonia_rows": int(labels.sum()),
        "patients": len(set(patients["test"])),
        "chance": {**chance, "auroc": 0.5, "auprc": float(labels.mean())},
        "interval": "95 % percentile bootstrap by patient",
        "table": {k: rounded(v) for k, v in table.items()},
    }


def committed() -> str:
    """Return the last commit's hash; stop where the detectors or this script differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, cwd=HERE.parent
        ).stdout.strip()

    ours = [
        "benchmarks/anomaly.py",
        "xray_tf/stats/detector",
        "xray_tf/nets/feature_maps.py",
        "xray_tf/data/chest/lung_numbers.py",
        "xray_tf/nets/lungs.py",
    ]
    if changed := git("status", "--porcelain", "--", *ours):
        raise SystemExit(f"the choice is not committed yet:\n{changed}\nCommit it, then report.")
    return git("rev-parse", "HEAD")


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items() if k != "replicates"}
    return round(value, 4) if isinstance(value, float) else value


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("part", choices=("choose", "report", "weights"))
    parser.add_argument(
        "--data", default=str(HERE.parent.parent / "shared" / "data" / "chest_xray")
    )
    parser.add_argument("--cache", type=Path, help="where `choose` and `report` keep features")
    options = parser.parse_args(args)
    if options.cache is None and options.part != "weights":
        parser.error(f"{options.part} needs --cache DIR")
    found = {"choose": choose, "report": report, "weights": weights}[options.part](options)
    RESULT.parent.mkdir(exist_ok=True)
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    RESULT.write_text(json.dumps(before | {options.part: found}, indent=1) + "\n", encoding="utf-8")
    for name, row in found["table"].items():
        print(
            f"{name:44s}",
            {
                k: v if not isinstance(v, dict) else v.get("value", "")
                for k, v in row.items()
                if k != "by_kind"
            },
        )


if __name__ == "__main__":
    main()
