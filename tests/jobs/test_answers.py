"""No answer is lost: after Ctrl-C or a kill the same line goes on, and ends as if nothing was."""

import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from xray_tf.data.predictions import Predictions
from xray_tf.data.sources.files import find_files
from xray_tf.jobs.classifier.predict_files import predict_files
from xray_tf.jobs.heatmaps.explain_files import explain_files
from xray_tf.models.load import load

# whoever runs the tests in the background may have told its children to ignore Ctrl-C
STOPPED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from xray_tf.jobs.classifier.predict_files import predict_files
model, data, out, sign = sys.argv[1:]
reported = []
def report(batch):
    reported.append(batch)
    if len(reported) == 2:
        os.kill(os.getpid(), int(sign))
predict_files(model, [data], out, batch_size=4, progress=False, report=report)
"""


@pytest.fixture(scope="module")
def files(phantoms):
    return [r.path for r in find_files(phantoms / "train").records][:20]


def content(folder):
    """Every file's bytes; of archives what is in them, since they are dated."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                found[path.name] = {n: archive.read(n) for n in archive.namelist()}
        else:
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


class StopAfter:
    """Raises KeyboardInterrupt when it is called for the n-th time."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, *_):
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


def test_predict_goes_on_after_ctrl_c_and_ends_the_same(binary, files, tmp_path):
    predict_files(binary, files, tmp_path / "whole", batch_size=4, progress=False)
    with pytest.raises(KeyboardInterrupt):
        predict_files(
            binary, files, tmp_path / "a", batch_size=4, progress=False, report=StopAfter(3)
        )
    kept = (tmp_path / "a.partial" / "predictions.csv.partial").read_text()
    assert kept.count("\n") == 13 and not (tmp_path / "a").exists()
    answered = []
    rows, failed = predict_files(
        binary, files, tmp_path / "a", batch_size=4, progress=False, report=answered.append
    )
    assert (rows, failed) == (20, 0) and sum(map(len, answered)) == 20
    assert [len(batch) for batch in answered] == [12, 4, 4], "only what was left is predicted"
    assert content(tmp_path / "a") == content(tmp_path / "whole")
    assert not (tmp_path / "a.partial").exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_predict_goes_on_after_a_signal(sign, binary, files, phantoms, tmp_path):
    out = tmp_path / "a"
    args = [str(binary.folder), str(phantoms / "train"), str(out), str(int(sign))]
    stopped = subprocess.run([sys.executable, "-c", STOPPED, *args], stderr=subprocess.DEVNULL)
    assert stopped.returncode != 0
    partial = tmp_path / "a.partial" / "predictions.csv.partial"
    answered = partial.read_text().splitlines()[1:]
    rows, _ = predict_files(binary, [str(phantoms / "train")], out, batch_size=4, progress=False)
    whole = (out / "predictions.csv").read_text().splitlines()[1:]
    assert 8 <= len(answered) < rows == len(whole) and whole[: len(answered)] == answered


def test_answers_of_another_run_are_not_gone_on_with(binary, files, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_files(
            binary, files, tmp_path / "a", batch_size=4, progress=False, report=StopAfter(2)
        )
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match="other values of: names, radiographs"):
        predict_files(binary, files[:9], tmp_path / "a", progress=False)
    point = next(n for n in binary.card.operating_points if n != binary.card.point().name)
    with pytest.raises(FileExistsError, match="other values of: operating_point"):
        predict_files(binary, files, tmp_path / "a", operating_point=point, progress=False)
    assert content(tmp_path) == before


def test_explain_goes_on_after_ctrl_c_and_ends_the_same(binary, files, tmp_path, monkeypatch):
    from xray_tf.jobs.heatmaps import explain_files as module

    how = {"map_batch_size": 4, "progress": False}
    explain_files(binary, files, tmp_path / "whole", **how)
    stop, write = StopAfter(11), module.write_picture
    monkeypatch.setattr(module, "write_picture", lambda *a: (stop(), write(*a)))
    with pytest.raises(KeyboardInterrupt):
        explain_files(binary, files, tmp_path / "a", **how)
    monkeypatch.setattr(module, "write_picture", write)
    assert (tmp_path / "a.partial" / "predictions.csv.partial").read_text().count("\n") == 9
    explained, explain = [], module._Explaining._maps
    monkeypatch.setattr(
        module._Explaining,
        "_maps",
        lambda self, images, classes: (
            explained.append(len(images)),
            explain(self, images, classes),
        )[1],
    )
    explain_files(binary, files, tmp_path / "a", **how)
    assert explained[:3] == [4, 4, 4], "the first eight heat maps were kept"
    first, second = content(tmp_path / "a"), content(tmp_path / "whole")
    assert first.keys() == second.keys()
    different = {n for n in first if first[n] != second[n]}
    assert different <= {"explanations.html"}, different


def test_detect_score_goes_on_after_ctrl_c_and_ends_the_same(files, tmp_path, monkeypatch):
    from xray_tf.jobs.detector import score_files as module

    detector = load("normal-chest")
    how = {"forward_batch_size": 4, "progress": False, "bootstrap": 20}
    module.score_files(detector, files[:12], tmp_path / "whole", **how)
    stop, write = StopAfter(7), module.write_picture
    monkeypatch.setattr(module, "write_picture", lambda *a: (stop(), write(*a)))
    with pytest.raises(KeyboardInterrupt):
        module.score_files(detector, files[:12], tmp_path / "a", **how)
    monkeypatch.setattr(module, "write_picture", write)
    assert (tmp_path / "a.partial" / "scores.csv.partial").read_text().count("\n") == 5
    module.score_files(detector, files[:12], tmp_path / "a", **how)
    first, second = content(tmp_path / "a"), content(tmp_path / "whole")
    assert first.keys() == second.keys()
    maps = [np.load(tmp_path / name / "maps.npz")["maps"] for name in ("a", "whole")]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
    assert first["scores.csv"] == second["scores.csv"]


def test_a_run_that_was_stopped_while_it_finished_goes_on_with_its_answers(
    binary, phantoms, tmp_path
):
    files, out, seen = sorted(phantoms.rglob("*.png"))[:5], tmp_path / "out", []

    def stopped(folder):
        (folder / "page.html").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(binary, files, out, finish=stopped, progress=False)
    assert not out.exists()
    predict_files(
        binary, files, out, finish=lambda folder: seen.append(folder.name), progress=False
    )
    assert seen == ["out.partial"]
    again = Predictions.read_csv(out / "predictions.csv")
    assert again == binary.predict([str(f) for f in files])
