"""Choose, without sick radiographs, what a detector of abnormal lungs is made of, and measure what
its budget survives.

python benchmarks/anomaly.py choose    scores, committees and the rule on normals and on lesions
                                       pasted into normals: what the choice is based on
python benchmarks/anomaly.py groups    false alarms on acquisition groups that are left out of fit
                                       and calibration, and how many normals of a group calibrate
python benchmarks/anomaly.py outside   how far scores move when all outside the lungs is replaced
python benchmarks/anomaly.py where     heat maps against the lesions, inside the lungs
python benchmarks/anomaly.py ablation  autoencoder and density in other forms, on lesions
python benchmarks/anomaly.py ranking   held-out pneumonia against held-out normals of each
                                       acquisition group, with the group in the fit and without;
                                       and which score catches what

All take --data DIR (the public data, ../shared/data/chest_xray) and --cache DIR for features;
`groups` and `ranking` also --records FILE, the records.csv of `xray-tf audit --acquisitions`. Each
writes a part of benchmarks/results/anomaly.json. Rows are split by patient as those of normal-chest
(seed 0): detectors are fitted on training normals; validation normals calibrate and get the
lesions. No part but `ranking` reads a row with pneumonia, and it was written when all was chosen.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RESULT = HERE / "results" / "anomaly.json"
SIZE, RESIZE = 224, "squash"  # the 224 copies of the public data are squashed already
LESION_ROWS, OUTSIDE_ROWS, FEWEST_OF_GROUP = 50, 60, 60
BUDGET = 0.05
FEWEST_TESTED = 10
COMMITTEES = (
    ("lungs", "lungs_nearest"),
    ("lungs", "zones"),
    ("lungs", "lungs_nearest", "zones"),
)
WEIGHTS = (1.0, 0.5, 0.25, 0.125, 0.0625)  # of the pair's scores beside the committee
CALIBRATIONS, DRAWS = (19, 39, 79), 200


class Data:
    """The corpus divided by patient, and features of named sets of rows, kept in a folder."""

    def __init__(self, data: str, cache: Path):
        from xray_tf.jobs.corpus import divide, read_corpus
        from xray_tf.models.features import LungReader
        from xray_tf.models.lungs import find_fields
        from xray_tf.nets.feature_maps import build_feature_model
        from xray_tf.options import DataOptions

        options = DataOptions()
        corpus = read_corpus(data, "binary", options, SIZE, RESIZE)
        self.corpus = divide(corpus, options, seed=0)
        self.cache, self.reader = cache, LungReader(build_feature_model(), find_fields)
        cache.mkdir(parents=True, exist_ok=True)

    def normals(self, part: str) -> list[int]:
        return [i for i in self.corpus.of_split(part) if self.corpus.labels[i] == 0]

    def patients(self, rows) -> np.ndarray:
        return np.array([self.corpus.records[i].patient for i in rows])

    def features(self, name: str, pixels, rows=None) -> dict[str, np.ndarray]:
        """Return the features of rows of a pixel array, from the folder where they are there."""
        path = self.cache / f"{name}.npz"
        if not path.is_file():
            started = time.perf_counter()
            np.savez(path, **self.reader.read(pixels, rows))
            print(f"  features of {name}: {time.perf_counter() - started:.0f} s", flush=True)
        with np.load(path) as arrays:
            return dict(arrays)

    def of_part(self, part: str) -> dict[str, np.ndarray]:
        rows = self.corpus.rows[self.normals(part)]
        return self.features(f"normals_{part}", self.corpus.pixels, rows)

    def lesions(self):
        """Return a grid of lesions in validation normals."""
        from lesions import LesionGrid

        from xray_tf.models.lungs import find_fields

        normals = self.normals("val")
        drawn = sorted(np.random.default_rng(0).permutation(len(normals))[:LESION_ROWS])
        rows = self.corpus.rows[[normals[i] for i in drawn]]
        keys = [self.corpus.records[normals[i]].sha256 for i in drawn]
        lungs = find_fields(self.corpus.pixels[rows]).masks
        return LesionGrid(self.corpus.pixels, rows, keys, lungs)

    def acquisitions(self, records: Path) -> dict[str, np.ndarray]:
        """Return which rows of the corpus, (N,) bool, are of each acquisition group of an audit,
        and of each family of the normals' file names.
        """
        with records.open(encoding="utf-8") as stream:
            known = {r["path"]: r["acquisition"] for r in csv.DictReader(stream)}
        group = np.array([known[r.path] for r in self.corpus.records])
        newer = np.array([r.patient.startswith("NORMAL2") for r in self.corpus.records])
        found = {str(name): group == name for name in np.unique(group)}
        return found | {"IM": ~newer, "NORMAL2-IM": newer}

    def fit_normals(self):
        """Return rows of the corpus, their features and patients, and which of them are held out
        to calibrate, (n,) bool: the training normals, then the validation normals.
        """
        rows = self.normals("train") + self.normals("val")
        held = np.arange(len(rows)) >= len(self.normals("train"))
        features = joined(self.of_part("train"), self.of_part("val"))
        return np.array(rows), features, self.patients(rows), held


def take(features: dict[str, np.ndarray], keep) -> dict[str, np.ndarray]:
    return {name: values[keep] for name, values in features.items()}


def joined(*features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: np.concatenate([f[k] for f in features]) for k in features[0]}


def auroc(normal: np.ndarray, sick: np.ndarray) -> float:
    """Return the chance that a sick row is the more unusual one, ties half."""
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.zeros(len(normal)), np.ones(len(sick))]
    return float(roc_auc_score(truth, np.r_[normal, sick]))


def fitted(features: dict, patients: np.ndarray, names=None, options=None):
    """Return a `NormalChest` without pixels, fitted on normals' features: autoencoder, density and
    committee as `detect fit` fits them.
    """
    import tempfile

    from xray_tf.models.normal_chest import NormalChest
    from xray_tf.nets.autoencoder import (
        build_autoencoder,
        codes_and_errors,
        reconstruction_phase,
    )
    from xray_tf.nets.training.loop import Optimisation, Training
    from xray_tf.options import DetectOptions
    from xray_tf.stats.detector.committee import CHOSEN, Committee
    from xray_tf.stats.detector.density import Density

    options, zones = options or DetectOptions(), features["zones"]
    keys = np.unique(patients)
    drawn = np.random.default_rng(0).permutation(len(keys))[: round(options.watched * len(keys))]
    watch = np.isin(patients, keys[drawn])
    learn, watch = np.flatnonzero(~watch), np.flatnonzero(watch)
    model = build_autoencoder(zones[learn], options)
    phase = reconstruction_phase(model, zones, learn, watch, options)
    with tempfile.TemporaryDirectory() as folder:
        Training(model, Optimisation(keep="best"), Path(folder), progress=False).run([phase])
    density = Density(options.components, folds=options.folds, seed=options.seed)
    density.fit(codes_and_errors(model, zones)[0], patients)
    committee = Committee(names or CHOSEN).fit(features, patients, folds=options.folds)
    return NormalChest(None, model, density, committee, None)


def calibrated(features: dict, patients: np.ndarray, held: np.ndarray):
    """Return a `NormalChest` fitted on the normals that are not held out, and the rule that those
    held out calibrate.
    """
    from xray_tf.models.normal_chest import NAMES
    from xray_tf.stats.detector.or_rule import BESIDE_COMMITTEE, calibrate

    chest = fitted(take(features, ~held), patients[~held])
    values, own = chest.scores_of(take(features, held)), list(patients[held])
    weights = dict.fromkeys(NAMES, BESIDE_COMMITTEE)
    return chest, calibrate(chest.names, values, own, BUDGET, weights=weights)


def choose(given, data: Data) -> dict:
    """Score every detector, committee and weight on what may be looked at."""
    from xray_tf.models.normal_chest import NAMES
    from xray_tf.stats.detector.committee import DETECTORS, Committee
    from xray_tf.stats.detector.or_rule import calibrate, turned

    train, val = data.of_part("train"), data.of_part("val")
    grid = data.lesions()
    pasted = data.features("lesions", grid)
    kinds = np.array([grid.about(i)[1] for i in range(len(grid))])
    severities = np.array([grid.about(i)[2] for i in range(len(grid))])
    patients = {p: data.patients(data.normals(p)) for p in ("train", "val")}

    def row(held: np.ndarray, sick: np.ndarray) -> dict:
        by_kind = {str(k): auroc(held, sick[kinds == k]) for k in np.unique(kinds)}
        by_severity = {str(s): auroc(held, sick[severities == s]) for s in np.unique(severities)}
        return {
            "lesions": float(np.mean(list(by_kind.values()))),
            "by_kind": by_kind,
            "by_severity": by_severity,
        }

    table = {}
    for names in [(n,) for n in DETECTORS] + list(COMMITTEES):
        committee = Committee(names).fit(train, patients["train"])
        table["+".join(names)] = row(
            -committee.score_samples(val), -committee.score_samples(pasted)
        )
        print("+".join(names), table["+".join(names)]["lesions"], flush=True)
    chest = fitted(train, patients["train"])
    held, sick = chest.scores_of(val), chest.scores_of(pasted)
    for k, name in enumerate(NAMES):
        table[name] = row(*(turned(v[:, : len(NAMES)], NAMES)[:, k] for v in (held, sick)))
    pair = calibrate(NAMES, held[:, :2], list(patients["val"]), BUDGET)
    table["the pair"] = row(*(pair.judge(v[:, :2]).anomaly for v in (held, sick)))
    weights = {}
    for weight in WEIGHTS:
        shares = dict.fromkeys(NAMES, weight)
        rule = calibrate(chest.names, held, list(patients["val"]), BUDGET, weights=shares)
        judged = rule.judge(sick)
        weights[str(weight)] = {
            "sensitivity": mean_by(kinds, judged.anomalous),
            "auroc": row(rule.judge(held).anomaly, judged.anomaly)["lesions"],
        }
    return {
        "split": "by patient, seed 0",
        "fit_normals": len(train["zones"]),
        "validation_normals": len(val["zones"]),
        "lesions": len(grid),
        "table": table,
        "weights": weights,
        "columns": {
            "lesions": "mean over kinds of lesion of the AUROC of lesions pasted into validation "
            "normals against validation normals",
            "weights": "of reconstruction error and log density beside the committee; sensitivity "
            "to pasted lesions at the 5 % budget, mean over kinds",
        },
    }


def mean_by(kinds: np.ndarray, values: np.ndarray) -> float:
    return float(np.mean([values[kinds == k].mean() for k in np.unique(kinds)]))


def groups(given, data: Data) -> dict:
    """Leave each acquisition group out; say what the budget becomes there, and after calibrating
    on some of its normals.
    """
    rows, features, patients, held = data.fit_normals()
    table = {}
    for name, mask in data.acquisitions(given.records).items():
        out = mask[rows]
        if out.sum() < FEWEST_OF_GROUP:
            continue
        chest, rule = calibrated(take(features, ~out), patients[~out], held[~out])
        there = chest.scores_of(take(features, out))
        flagged = rule.judge(there).anomalous
        one = {"normals": int(out.sum()), "false_alarms": float(flagged.mean())}
        one["calibrated_there"] = {
            str(n): moved(rule, there, patients[out], n)
            for n in CALIBRATIONS
            if len(np.unique(patients[out])) >= n + 40
        }
        table[name] = one
        print(name, one, flush=True)
    return {"budget": BUDGET, "draws": DRAWS, "table": table}


def moved(rule, values: np.ndarray, patients: np.ndarray, count: int) -> dict[str, float]:
    """Return the false alarms on a group's other patients when `count` of its patients calibrate:
    mean, and the range of nine draws in ten.
    """
    keys, alarms = np.unique(patients), []
    for draw in range(DRAWS):
        chosen = np.isin(patients, np.random.default_rng(draw).permutation(keys)[:count])
        new = rule.moved(values[chosen], list(patients[chosen]), BUDGET)
        alarms.append(new.judge(values[~chosen]).anomalous.mean())
    low, high = np.percentile(alarms, [5, 95])
    return {"mean": float(np.mean(alarms)), "low": float(low), "high": float(high)}


def outside(given, data: Data) -> dict:
    """Replace all outside the lungs and their rim, and read the shipped detector's percentiles."""
    from xray_tf.data.chest.regions import SURROUNDINGS, MaskedGrid
    from xray_tf.models.load import load

    detector = load(given.model, kind="detector")
    rows = data.normals("test")[:OUTSIDE_ROWS]
    pixels, places = data.corpus.pixels, data.corpus.rows[rows]
    masks = detector.normal_chest.reader.find_lungs(pixels[places]).masks
    keys = [data.corpus.records[i].sha256 for i in rows]
    cells = [("outside", "mean"), ("outside", "smooth"), ("outside", "noise"), SURROUNDINGS]
    grid = MaskedGrid(pixels, places, masks, keys, cells)

    def percentiles(images: np.ndarray, lungs=None) -> np.ndarray:
        chest = detector.normal_chest
        if lungs is not None:  # where the lungs are is known, so only what is seen there counts
            from dataclasses import replace

            from xray_tf.data.chest.lung_fields import LungFields, places_of

            found = LungFields(lungs, lungs.mean((1, 2)), places_of(lungs), lungs.any((1, 2)))
            chest = replace(chest, reader=replace(chest.reader, find_lungs=lambda _: found))
        return detector.rule.judge(chest.scores(images)).percentiles

    before, table = percentiles(pixels[places]), {}
    for c, cell in enumerate(cells):
        images = np.stack([grid.image(c, i) for i in range(len(rows))])
        name = cell if isinstance(cell, str) else f"outside, {cell[1]}"
        table[name] = {}
        for what, lungs in (("lungs known", masks), ("lungs found again", None)):
            change = np.abs(percentiles(images, lungs) - before)
            table[name][what] = {
                n: {"median": float(np.median(v)), "mean": float(v.mean())}
                for n, v in zip(detector.rule.names, change.T, strict=True)
            }
        print(name, table[name], flush=True)
    return {"rows": len(rows), "model": detector.card.name, "table": table}


def where(given, data: Data) -> dict:
    """Measure the heat map of pasted lesions inside the lungs, against position alone."""
    from anomaly_maps import interval, pixel_auroc

    from xray_tf.models.load import load

    detector, grid = load(given.model, kind="detector"), data.lesions()
    found = {"heat map": [], "nearness to the centre of the lung": [], "brightness": []}
    hits, chance, rows = [], [], []
    for i in range(len(grid)):
        lesion, (row, _, _) = grid.lesion(i), grid.about(i)
        lungs = grid.lungs[row]
        inside = lesion.mask[lungs]
        if not 0 < inside.sum() < inside.size:
            continue
        heat = detector.maps(lesion.image[None])[0]
        y, x = np.nonzero(lungs)
        left = x < np.median(x)
        middle = -np.where(
            left,
            np.hypot(x - x[left].mean(), y - y[left].mean()),
            np.hypot(x - x[~left].mean(), y - y[~left].mean()),
        )
        shown = (heat[lungs], middle, lesion.image[lungs])
        for values, name in zip(shown, found, strict=True):
            found[name].append(pixel_auroc(values, inside))
        hits.append(bool(lesion.mask[np.unravel_index(heat.argmax(), heat.shape)]))
        chance.append(inside.mean())
        rows.append(row)
    rows = np.array(rows)
    table = {name: interval(np.array(v), rows) for name, v in found.items()}
    table["highest point in the lesion"] = interval(np.array(hits, float), rows)
    table["of a random point of the lungs"] = interval(np.array(chance), rows)
    return {"lesions": len(rows), "model": detector.card.name, "table": table}


def ablation(given, data: Data) -> dict:
    """Fit autoencoder and density in other forms; AUROC of lesions against validation normals."""
    from unittest.mock import patch

    from xray_tf.models.normal_chest import NAMES
    from xray_tf.nets import autoencoder
    from xray_tf.options import DetectOptions
    from xray_tf.stats.detector.or_rule import calibrate, turned

    train, val = data.of_part("train"), data.of_part("val")
    grid = data.lesions()
    pasted = data.features("lesions", grid)
    patients = {p: data.patients(data.normals(p)) for p in ("train", "val")}
    lesion_rows = np.array([grid.about(i)[0] for i in range(len(grid))])
    # a radiograph with its lesions is drawn as one, apart from the normals
    clusters = np.r_[patients["val"], [f"lesion {r}" for r in lesion_rows]]
    sick = np.arange(len(val["zones"]) + len(grid)) >= len(val["zones"])
    forms = {
        "as shipped": ({}, {}),
        "no noise, no dropout": ({"DROPOUT": 0.0, "NOISE": 0.0}, {}),
        "hidden layers of 64": ({"HIDDEN": 64}, {}),
        "code of 8": ({}, {"latent": 8, "components": 8}),
        "code of 128": ({}, {"latent": 128}),
        "4 epochs": ({}, {"epochs": 4}),
        "48 epochs": ({}, {"epochs": 48}),
        "density in 8 components": ({}, {"components": 8}),
    }
    table = {}
    for form, (constants, options) in forms.items():
        with patch.dict(vars(autoencoder), constants):
            chest = fitted(train, patients["train"], options=DetectOptions(**options))
        held, there = (chest.scores_of(f)[:, : len(NAMES)] for f in (val, pasted))
        rule = calibrate(NAMES, held, list(patients["val"]), BUDGET)
        columns = dict(zip(NAMES, turned(np.concatenate([held, there]), NAMES).T, strict=True))
        columns["the pair"] = rule.judge(np.concatenate([held, there])).anomaly
        table[form] = {n: area(v, sick, clusters) for n, v in columns.items()}
        table[form]["sensitivity at the budget"] = float(rule.judge(there).anomalous.mean())
        print(form, table[form], flush=True)
    return {"lesions": len(grid), "validation_normals": len(val["zones"]), "table": table}


def areas(values: np.ndarray, sick: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return the AUROC and replicates of it, (1 + R,), patients drawn with replacement."""
    from xray_tf.stats.metrics import Ranking, cluster_weights

    _, clusters = np.unique(patients, return_inverse=True)
    ranking = Ranking(values, sick)
    draws = [np.ones((1, len(values))), *cluster_weights(clusters, 1000, 0)]
    return np.concatenate([ranking.areas(w)[0] for w in draws])


def area(values: np.ndarray, sick: np.ndarray, patients: np.ndarray) -> dict[str, float | None]:
    from xray_tf.stats.paired import with_interval

    return with_interval(areas(values, sick, patients))


def ranking(given, data: Data) -> dict:
    """Rank held-out pneumonia above held-out normals of a group that the fit knows or does not."""
    from xray_tf.stats.paired import with_interval

    corpus, test = data.corpus, np.array(data.corpus.of_split("test"))
    rows, features, fit_patients, held = data.fit_normals()
    there = data.features("test", corpus.pixels, corpus.rows[test])
    sick, patients = corpus.labels[test] != 0, data.patients(test)

    def judged(kept: np.ndarray):
        """Judge the test rows by a fit and a calibration on some of the normals."""
        chest, rule = calibrated(take(features, kept), fit_patients[kept], held[kept])
        return rule.judge(chest.scores_of(there))

    whole, table = judged(np.ones(len(rows), bool)), {}
    for name, out in data.acquisitions(given.records).items():
        normals = out[test] & ~sick
        if out[rows].sum() < FEWEST_OF_GROUP or normals.sum() < FEWEST_TESTED:
            continue
        asked, without = np.flatnonzero(normals | sick), judged(~out[rows])
        known, unknown = (
            areas(j.anomaly[asked], sick[asked], patients[asked]) for j in (whole, without)
        )
        table[name] = {
            "normals": int(normals.sum()),
            "in_the_fit": with_interval(known),
            "left_out": with_interval(unknown),
            "drop": with_interval(known - unknown),
            "false_alarms": float(without.anomalous[normals].mean()),
            "sensitivity": float(without.anomalous[sick].mean()),
        }
        print(name, table[name], flush=True)
    kinds = np.array([corpus.records[i].subtype or "normal" for i in test])
    reasons = np.array(whole.reasons)
    caught = {
        str(kind): {
            "radiographs": int((kinds == kind).sum()),
            "flagged": float(whole.anomalous[kinds == kind].mean()),
            **{
                str(r): float((reasons[kinds == kind] == r).mean())
                for r in np.unique(reasons[whole.anomalous])
            },
        }
        for kind in np.unique(kinds)
    }
    return {
        "sick": int(sick.sum()),
        "auroc": area(whole.anomaly, sick, patients),
        "table": table,
        "caught": caught,
    }


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parts = {f.__name__: f for f in (choose, ablation, groups, ranking, outside, where)}
    parser.add_argument("part", choices=parts)
    parser.add_argument(
        "--data", default=str(HERE.parent.parent / "shared" / "data" / "chest_xray")
    )
    parser.add_argument("--cache", type=Path, required=True, help="where features are kept")
    parser.add_argument("--records", type=Path, help="records.csv of the audit")
    parser.add_argument("--model", default="normal-chest", help="for `outside` and `where`")
    given = parser.parse_args(args)
    found = rounded(parts[given.part](given, Data(given.data, given.cache)))
    RESULT.parent.mkdir(exist_ok=True)
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    RESULT.write_text(json.dumps(before | {given.part: found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
