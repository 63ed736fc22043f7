"""A job's options by any road, its run, and what an unfinished training leaves."""

import inspect
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import xray_tf
from xray_tf.artifact import CHECKPOINT
from xray_tf.data.records import Record, Records
from xray_tf.jobs.run import Run, recorded, takes
from xray_tf.locks import BusyError
from xray_tf.options import DataOptions, EvaluateOptions, TrainOptions

RECORDS = Records([Record("a.png", sha256="1")])


@takes(DataOptions, TrainOptions, EvaluateOptions)
def job(data, out=None, *, options, part="all"):
    """Return what it was given."""
    return data, out, part, options


def test_options_come_in_any_order_under_any_name_or_one_by_one():
    numbers, how = EvaluateOptions(bootstrap=7), TrainOptions(epochs=3)
    expected = {
        DataOptions: DataOptions(cache="c"),
        TrainOptions: TrainOptions(epochs=3, seed=2),
        EvaluateOptions: numbers,
        Run: Run(progress=False),
    }
    for args, named in (
        ((numbers, how), {"cache": "c"}),
        ((DataOptions(cache="c"), how, numbers), {}),
        ((), {"train_options": how, "options": numbers, "data_options": DataOptions(cache="c")}),
        ((numbers,), {"epochs": 3, "cache": "c"}),
    ):
        *plain, options = job("d", None, *args, **named, seed=2, progress=False)
        assert plain == ["d", None, "all"] and options == expected
        assert list(options) == list(expected) and recorded(options) == list(expected.values())[:3]
    assert job("d", how, part="test", progress=False)[:3] == ("d", None, "test")


def test_an_option_that_is_not_there_is_named_with_one_that_is_near():
    with pytest.raises(TypeError, match="job.. has no option 'epoch'. Did you mean 'epochs'"):
        job("d", epoch=3)
    with pytest.raises(TypeError, match="twice"):
        job("d", TrainOptions(), train_options=TrainOptions())
    with pytest.raises(ValueError, match="validation must be"):
        job("d", validation=2.0)


@pytest.mark.parametrize("name", ["train_classifier", "fit_detector", "evaluate_model"])
def test_the_signature_shows_every_option_with_its_default(name):
    found = inspect.signature(getattr(xray_tf, name)).parameters
    assert found["bootstrap"].default == 2000 and found["progress"].default is True
    assert found["options"].kind is inspect.Parameter.VAR_POSITIONAL


def test_an_existing_folder_and_an_unfinished_run_are_refused_at_once(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(FileExistsError, match="never overwritten"):
        Run().at(tmp_path / "there")
    run = Run().at(tmp_path / "new")
    run.workshop.mkdir()
    (run.workshop / CHECKPOINT).touch()
    with pytest.raises(FileExistsError, match="--resume"):
        Run().at(tmp_path / "new")
    assert Run(resume=True).at(tmp_path / "new").out == tmp_path / "new"
    assert Run().at(None).out is None


def options_of(**more):
    return {DataOptions: DataOptions(cache="somewhere"), TrainOptions: TrainOptions(**more)}


def test_the_workshop_goes_with_the_training_and_stays_where_something_was_learnt(tmp_path):
    run = Run().at(tmp_path / "model")
    with pytest.raises(MemoryError), run.training(RECORDS, options_of()):
        raise MemoryError  # before the first checkpoint
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MemoryError), run.training(RECORDS, options_of()) as workshop:
        (workshop / CHECKPOINT).touch()
        raise MemoryError
    plan = json.loads((workshop / "plan.json").read_text())
    assert plan["TrainOptions"]["epochs"] == 20 and "cache" not in plan["DataOptions"]
    again = Run(resume=True).at(tmp_path / "model")
    with pytest.raises(ValueError, match="TrainOptions.epochs"):
        with again.training(RECORDS, options_of(epochs=4)):
            raise AssertionError("it must not start")
    others = Records([Record("a.png", sha256="2")])
    with pytest.raises(ValueError, match="other values of: data"):
        with again.training(others, options_of()):
            raise AssertionError("it must not start")
    with again.training(RECORDS, options_of()) as workshop:
        assert (workshop / CHECKPOINT).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_second_training_is_refused_and_leaves_the_first_ones_plan(tmp_path):
    first = Run(out=tmp_path / "m")
    with first.training(RECORDS, {TrainOptions: TrainOptions(seed=0)}) as workshop:
        plan = (workshop / "plan.json").read_bytes()

        def second():
            with Run(out=tmp_path / "m").training(RECORDS, {TrainOptions: TrainOptions(seed=1)}):
                pass

        with ThreadPoolExecutor(1) as other:
            for attempt in (second, lambda: Run().at(tmp_path / "m")):
                with pytest.raises(BusyError, match="is being written by process"):
                    other.submit(attempt).result()
        assert (workshop / "plan.json").read_bytes() == plan
    assert list(tmp_path.iterdir()) == []


def test_a_clock_of_before_zip_archives_is_refused_before_work_begins(tmp_path, monkeypatch):
    import time

    old = time.struct_time((1970, 1, 2, 0, 0, 0, 4, 2, 0))
    monkeypatch.setattr("xray_tf.jobs.run.time.localtime", lambda *_: old)
    with pytest.raises(OSError, match="clock says"):
        Run().at(tmp_path / "m")
