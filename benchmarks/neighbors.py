"""Compare spaces, metrics and votes of the neighbours' classifier, and measure what it costs.

python benchmarks/neighbors.py recipes --embeddings FILE
    spaces, metrics, weights and k, by cross-validation over training patients
python benchmarks/neighbors.py rules --embeddings FILE --task TASK --natural
    ways from votes to decisions, on patient-wise and natural splits
python benchmarks/neighbors.py passes --model DIR --data DIR
    embedding and classifying against plain forward passes
python benchmarks/neighbors.py search
    2,000 queries among up to 100,000 x 1,280 vectors: time and memory

FILE is the embeddings.npz that `xray-tf embed` writes. Each command writes its part of
benchmarks/results/neighbors.json.

Recipes are compared on training rows only; validation and test rows are not used. Memory is
anonymous memory (RssAnon), sampled every 10 ms, in excess of that at the start of the search; the
vectors, which are there before, are listed separately.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sklearn

HERE = Path(__file__).parent
RESULT = HERE / "results" / "neighbors.json"
SPACES = (
    ("raw", 0),
    ("raw", 128),
    ("raw", 512),
    ("standardised", 0),
    ("standardised", 128),
    ("standardised", 512),
)
KS = (1, 5, 9, 15, 21, 31, 45, 65)


def recipes(options) -> dict:
    """Cross-validate every recipe on the training rows of both tasks; report the best k of each."""
    from xray_tf.data.embeddings import read_embeddings
    from xray_tf.data.kin import kin_groups
    from xray_tf.registry import TASKS
    from xray_tf.stats.neighbors.cases import METRICS, WEIGHTS, Recipe
    from xray_tf.stats.neighbors.choice import choose, compare_recipes

    embeddings, records = read_embeddings(options.embeddings)
    train = [i for i, r in enumerate(records) if r.split == "train"]
    rows = records.with_rows(records[i] for i in train)
    kin = kin_groups(rows.column("patient"), rows.column("sha256"))
    grid = [Recipe(k, m, w, s, c) for s, c in SPACES for m in METRICS for w in WEIGHTS for k in KS]
    out = {
        "training_rows": len(train),
        "patients_or_groups": int(kin.max()) + 1,
        "dimensions": embeddings.shape[1],
        "k": list(KS),
        "tasks": {},
    }
    for task, row in TASKS.items():
        print(f"  cross-validating {len(grid)} recipes for {task}", flush=True)
        scored = compare_recipes(
            embeddings[train], rows.class_indices(row), len(row.class_names), kin, grid
        )
        best = []
        for start in range(0, len(scored), len(KS)):
            group = scored[start : start + len(KS)]
            won = group[KS.index(choose(group).k)]
            best.append({k: round(v, 4) if isinstance(v, float) else v for k, v in won.items()})
        out["tasks"][task] = sorted(best, key=lambda r: -(r["auroc"] + r["balanced_accuracy"]))
    return out


def rules(options) -> dict:
    """Decide test rows by several rules, on the split of the file and, with --natural, on five more
    by patient and three along the data's own shifts.
    """
    from natural_splits import natural_splits

    from xray_tf.data.embeddings import read_embeddings
    from xray_tf.data.records import Records
    from xray_tf.data.split import split_records

    embeddings, records = read_embeddings(options.embeddings)
    splits: dict[str, Records] = {"the file's own": records}
    if options.natural:
        bare = records.with_split("" for _ in records)
        splits |= {
            f"by patient, seed {seed}": split_records(bare, 0.20, 0.15, seed)[0]
            for seed in range(1, 6)
        }
        splits |= natural_splits(bare)
    at = {r.path: i for i, r in enumerate(records)}
    out = {}
    for name, divided in splits.items():
        order = [at[r.path] for r in divided]
        out[name] = decided_by_rules(embeddings[order], divided, options.task)
        print(name, out[name], flush=True)
    return {
        "task": options.task,
        "dimensions": embeddings.shape[1],
        "mean_over_splits": averaged(out),
        "splits": out,
    }


def averaged(splits: dict) -> dict:
    """Return each rule's accuracy and balanced accuracy, the mean over the splits, and the lowest
    recall of normals in any of them.
    """
    out = {}
    for rule in next(iter(splits.values()))["rules"]:
        found = [s["rules"][rule] for s in splits.values()]
        out[rule] = {
            "accuracy": round(float(np.mean([f["accuracy"] for f in found])), 4),
            "balanced_accuracy": round(float(np.mean([np.mean(f["recall"]) for f in found])), 4),
            "lowest_recall_of_normals": min(f["recall"][0] for f in found),
        }
    return out


def decided_by_rules(
    embeddings: np.ndarray, records, task: str, k: int = 31, k_of_class: int = 9
) -> dict:
    """Fit on the training rows of one split, decide its test rows by each rule; accuracy and
    recalls of each.
    """
    from xray_tf.data.kin import kin_groups
    from xray_tf.registry import TASKS
    from xray_tf.stats.metrics import epoch_scores
    from xray_tf.stats.neighbors.cases import NearestCases, Recipe
    from xray_tf.stats.operating_points import fit_operating_points

    labels = np.array(records.class_indices(TASKS[task]))
    part = np.array(records.column("split"))
    train, val, test = (
        np.flatnonzero((part == p) & (labels >= 0)) for p in ("train", "val", "test")
    )
    names = TASKS[task].class_names
    kin = kin_groups(records.column("patient"), records.column("sha256"))
    cases = NearestCases(Recipe(k)).fit(
        embeddings[train], labels[train], len(names), kin[train], typical=False
    )
    votes = {
        p: cases.predict_proba(embeddings[rows], kin[rows])
        for p, rows in (("train", train), ("val", val), ("test", test))
    }
    frequency = np.bincount(labels[train], minlength=len(names)) / len(train)

    def decided(new: np.ndarray, p: np.ndarray, y: np.ndarray) -> np.ndarray:
        return fit_operating_points(p, y, ["val"] * len(y), names)["balanced"].decide(new)

    def balanced(p: np.ndarray) -> np.ndarray:
        weighed = p / frequency
        return weighed / weighed.sum(axis=1, keepdims=True)

    near = {
        p: class_wise(cases, embeddings[rows], kin[rows], k_of_class)
        for p, rows in (("val", val), ("test", test))
    }
    both, y_both = (
        np.concatenate([votes["train"], votes["val"]]),
        np.concatenate([labels[train], labels[val]]),
    )
    answers = {
        "most votes": votes["test"].argmax(axis=1),
        "most votes, each class weighing the same": balanced(votes["test"]).argmax(axis=1),
        "operating point of the validation rows": decided(votes["test"], votes["val"], labels[val]),
        "operating point of the training rows, own patients left out": decided(
            votes["test"], votes["train"], labels[train]
        ),
        "operating point of both": decided(votes["test"], both, y_both),
        f"the class whose {k_of_class} nearest are nearer": near["test"].argmax(axis=1),
        "the same, operating point of the validation rows": decided(
            near["test"], near["val"], labels[val]
        ),
    }
    y = labels[test]
    return {
        "rows": {"train": len(train), "val": len(val), "test": len(test)},
        "auroc": {
            "votes": round(epoch_scores(votes["test"], y)["auroc"], 4),
            "class by class": round(epoch_scores(near["test"], y)["auroc"], 4),
        },
        "rules": {
            rule: {
                "accuracy": round(float((a == y).mean()), 4),
                "recall": [round(float((a[y == c] == c).mean()), 4) for c in range(len(names))],
            }
            for rule, a in answers.items()
        },
    }


def class_wise(
    cases, embeddings: np.ndarray, kin: np.ndarray, k: int, sharpness: float = 20.0
) -> np.ndarray:
    """Return shares (M, K): the softmax of minus the mean distance to the k nearest strangers of
    each class, however frequent the class.
    """
    means = []
    for c in range(cases.classes_):
        own = np.flatnonzero(cases.labels_ == c)
        distances = 1 - cases.to_space(embeddings) @ cases.vectors_[own].astype(np.float32).T
        distances[kin[:, None] == cases.kin_[own]] = np.inf
        means.append(np.sort(distances, axis=1)[:, :k].mean(axis=1))
    scores = np.exp(-sharpness * (np.stack(means, axis=1) - np.min(means, axis=0)[:, None]))
    return scores / scores.sum(axis=1, keepdims=True)


def passes(options) -> dict:
    """Time forward passes to the logits alone, and with embeddings and votes, turn about, by the
    clock and by processor time.
    """
    from xray_tf.jobs.corpus import read_corpus
    from xray_tf.models.finder import NearestCaseFinder
    from xray_tf.models.load import load
    from xray_tf.nets.embedding import with_embedding
    from xray_tf.nets.inference import forward
    from xray_tf.options import DataOptions

    finder = NearestCaseFinder(load(options.model), options.reference)
    prep = finder.classifier.card.preprocessing
    corpus = read_corpus(
        options.data,
        finder.reference.task,
        DataOptions(),
        prep["image_size"],
        prep["resize"],
        False,
    )
    net, rows, records = (
        with_embedding(finder.classifier.model),
        corpus.rows[: options.rows],
        list(corpus.records)[: options.rows],
    )

    def plain(count: int = len(rows)) -> None:
        forward(finder.classifier.model, corpus.pixels, rows[:count], ("logits",))

    def whole(count: int = len(rows)) -> None:
        finder.reference.ask(
            forward(net, corpus.pixels, rows[:count], ("embedding", "logits"))["embedding"],
            records[:count],
        )

    for work in (plain, whole):  # both graphs are traced
        work(64)
    times = {plain: [], whole: []}
    for _ in range(options.repetitions):
        for work in times:
            clock, busy = time.perf_counter(), time.process_time()
            work()
            times[work].append((time.perf_counter() - clock, time.process_time() - busy))
    a, b = (np.array(t) for t in times.values())
    return {
        "radiographs": len(rows),
        "reference_rows": len(finder.reference.rows),
        "repetitions": options.repetitions,
        "seconds_forward": a[:, 0].round(2).tolist(),
        "seconds_with_embedding_and_votes": b[:, 0].round(2).tolist(),
        "overhead_by_clock": round(float(b[:, 0].min() / a[:, 0].min() - 1), 4),
        "overhead_by_processor_time": round(float(b[:, 1].min() / a[:, 1].min() - 1), 4),
    }


def search(options) -> dict:
    """Search 25,000 to 100,000 vectors; return seconds and memory of each."""
    from xray_tf.stats.neighbors.cases import NearestCases, Recipe

    rng, out = np.random.default_rng(0), []
    vectors = rng.standard_normal((100_000, 1280), np.float32)
    queries = rng.standard_normal((2000, 1280), np.float32)
    for count in (25_000, 50_000, 100_000):
        cases = NearestCases(Recipe(15, "cosine", "distance", "raw", 0)).fit(
            vectors[:count], np.arange(count) % 2, 2, typical=False
        )
        for asked in (500, 2000):
            with watched() as seen:
                cases.kneighbors(queries[:asked])
            out.append(
                {
                    "vectors": count,
                    "vectors_mib": round(cases.vectors_.nbytes / 2**20),
                    "queries": asked,
                    "seconds": round(seen["seconds"], 2),
                    "memory_beyond_vectors_mib": round(seen["mib"], 1),
                }
            )
            print(out[-1])
    return {"dimensions": 1280, "neighbours": 15, "runs": out}


@contextmanager
def watched():
    """Measure seconds and the growth of anonymous memory, in MiB, of a block."""
    seen, done = {}, threading.Event()
    before = peak = anonymous_kib()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, anonymous_kib())

    thread = threading.Thread(target=look)
    thread.start()
    started = time.perf_counter()
    yield seen
    seen["seconds"] = time.perf_counter() - started
    done.set()
    thread.join()
    seen["mib"] = (peak - before) / 1024


def anonymous_kib() -> int:
    """Return this process's anonymous resident memory in KiB (Linux)."""
    return next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("part", choices=("recipes", "rules", "passes", "search"))
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--task", default="binary")
    parser.add_argument("--natural", action="store_true")
    parser.add_argument("--name", help="what the part is called in the results (default: the part)")
    parser.add_argument("--model")
    parser.add_argument("--reference", help="where the reference lies, if not in the artifact")
    parser.add_argument("--data")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(args)
    found = {"recipes": recipes, "rules": rules, "passes": passes, "search": search}[options.part](
        options
    )
    found["machine"] = {
        "cpu_cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "load_1_min": round(os.getloadavg()[0], 2),
    }
    found["versions"] = {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    RESULT.parent.mkdir(exist_ok=True)
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    RESULT.write_text(
        json.dumps(before | {options.name or options.part: found}, indent=1) + "\n",
        encoding="utf-8",
    )
    print(json.dumps(found, indent=1)[:6000])


if __name__ == "__main__":
    main()
