"""Answer an archive part by part into Parquet, here or on a Ray cluster, and go on where an earlier
run was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from xray_tf.card import CHECKSUM
from xray_tf.engines.functions import PREDICTIONS, SCORES, PredictFn, make_predict_fn
from xray_tf.engines.listing import FILES, part_name, write_listing
from xray_tf.engines.parts import Done, answer_part, finished_parts
from xray_tf.engines.places import Folder, answers_at, is_address, pyarrow
from xray_tf.jobs.run import Options, Run, takes
from xray_tf.options import RAY, EngineOptions

__all__ = ["Answered", "score_archive"]


@dataclass(frozen=True)
class Answered:
    """What an archive's run left behind.

    Attributes:
        folder: the folder of Parquet files.
        counts: of its rows.
        before: how many rows an earlier run had answered.
    """

    folder: str
    counts: Done
    before: int = 0


@takes(EngineOptions)
def score_archive(
    model: Any,
    sources: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    options: Options,
    answers: str | None = None,
    decide: str | None = None,
    strict: bool = False,
) -> Answered:
    """Answer radiographs in any number, and write Parquet with the columns of the CSV file that a
    single machine writes.

    Sources are listed once, in parts of `rows_per_part`; each part becomes one file, whole or not
    at all. Until all are there they lie in `OUT.partial` (at an address: in OUT, without
    `_SUCCESS`), and the same call goes on: no part is answered twice, and none is left out.

    Args:
        model: an artifact's folder, the name of a shipped model, or an opened artifact.
        sources: files, folders, globs, addresses (s3://, gs://, hdfs://, ...), or manifests (.csv,
            .parquet) with a column `path`.
        out: the folder to create, or an empty one at an address; with `engine="ray"` every node
            must reach it. It holds `predictions/`, `scores/` or `embeddings/`.
        options: `EngineOptions`, or single options by name; `engine="local"` is `parts` here.
        answers: as for `make_predict_fn`.
        decide: an operating point of a classifier, or thresholds of a detector.
        strict: stop at the first file that cannot be read.

    Returns:
        Where the answers lie, and their counts.

    Raises:
        FileExistsError: there is a result already, or an unfinished one of other options.
        ImportError: pyarrow, or for its engine Ray, is not installed.
        ValueError: there is no radiograph or, with `strict`, one cannot be read.
    """
    run, how = options[Run], options[EngineOptions]
    pyarrow()
    ask = _ask(model, answers, decide)
    sources = [os.fspath(s) for s in ([sources] if isinstance(sources, str) else sources)]
    plan = {
        "card": ask.card.to_dict()[CHECKSUM],
        "answers": ask.answers,
        "decide": ask.operating_point or ask.thresholds,
        "sources": [s if is_address(s) else os.path.abspath(s) for s in sources],
        "rows_per_part": how.rows_per_part,
    }
    with _folder(run, out, plan) as folder:
        listed = write_listing(folder, sources, ask.card.to_task(), how.rows_per_part)
        folder.sweep(ask.answers)
        counts, known = Done(), set()
        with run.line(f"writing {ask.answers}", listed["rows"]) as line:

            def finished(done: Done) -> None:
                nonlocal counts
                counts = counts.plus(done)
                line.step(done.rows)

            for number, done in finished_parts(folder, ask.answers):
                known.add(number)
                finished(done)
            before = counts.rows
            left = [n for n in range(listed["parts"]) if n not in known]
            _answer(ask, folder, left, how, strict, finished)
        _refuse_gaps(folder, ask.answers, listed, counts)
        folder.remove(FILES)
    place = f"{os.fspath(out).rstrip('/')}/{ask.answers}"
    return Answered(place, counts, before)


def _ask(model: Any, answers: str | None, decide: str | None) -> PredictFn:
    ask = make_predict_fn(model, answers=answers)
    if ask.answers == SCORES:
        return make_predict_fn(ask.opened, answers=SCORES, thresholds=decide)
    if ask.answers == PREDICTIONS:
        return make_predict_fn(ask.opened, answers=PREDICTIONS, operating_point=decide)
    return ask


@contextmanager
def _folder(run: Run, out: str | os.PathLike, plan: dict[str, Any]):
    if is_address(out):
        with answers_at(os.fspath(out), plan) as folder:
            yield folder
    else:
        with run.at(out).answers(plan) as place:
            yield Folder(place)


def _answer(
    ask: PredictFn,
    folder: Folder,
    parts: Sequence[int],
    how: EngineOptions,
    strict: bool,
    done: Callable[[Done], None],
) -> None:
    if how.engine == RAY and parts:
        from xray_tf.engines.ray_pool import answer_on_ray

        answer_on_ray(ask, folder, parts, how, strict, done)
        return
    for number in parts:
        done(answer_part(ask, folder, number, strict))


def _refuse_gaps(folder: Folder, answers: str, listed: dict[str, int], counts: Done) -> None:
    """Raise OSError unless every part is there: a node that writes to a disk of its own would leave
    a gap.
    """
    there, wanted = folder.names(answers), {part_name(n) for n in range(listed["parts"])}
    if there != wanted or counts.rows != listed["rows"]:
        raise OSError(
            f"{len(wanted - there)} of {len(wanted)} parts are not in {folder.path}. Every node "
            "must write to the same place: name an --out that all of them share."
        )
