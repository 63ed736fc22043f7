"""Two processes train as one does, and a training of which one process was killed goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xray_tf
from xray_tf.options import ProcessOptions

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
jax_only = pytest.mark.skipif(
    BACKEND != "jax", reason="several processes train together only under JAX"
)
OPTIONS = {
    **{"image_size": 32, "weights": "none", "region": "whole", "backbone": "resnet18"},
    **{"method": "none", "fine_tune": "1", "fine_tune_epochs": 3, "batch_size": 8},
    **{"steady_rows": 0, "ema": 0.9, "keep": "last", "bootstrap": 20},
}
PATIENCE_S = 600


def start(data: Path, out: Path, cache: Path, *more: str) -> subprocess.Popen:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    line = ["train", "--data", str(data), "--out", str(out), "--cache", str(cache), *flags, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "xray_tf", *line], stderr=subprocess.PIPE, text=True
    )


def kill_process_1(parent: int) -> None:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if Path(f"/proc/{child}/cmdline").read_bytes().endswith(b"--process\x001\x00"):
            os.kill(int(child), signal.SIGKILL)


@jax_only
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes in /proc")
def test_two_processes_train_as_one_does_also_when_one_of_them_was_killed(
    phantoms, cache, tmp_path
):
    alone = xray_tf.train_classifier(
        str(phantoms), tmp_path / "alone", cache=str(cache), progress=False, **OPTIONS
    )
    together, checkpoint = tmp_path / "together", tmp_path / ".together.unfinished/checkpoint.npz"
    first, deadline = start(phantoms, together, cache, "--processes", "2"), time.time() + PATIENCE_S
    while first.poll() is None and not checkpoint.exists() and time.time() < deadline:
        time.sleep(0.05)
    kill_process_1(first.pid)
    said = first.communicate(timeout=PATIENCE_S)[1]
    assert first.returncode == 2 and "process 1 of 2 was ended by signal 9" in said, said
    assert checkpoint.exists() and not together.exists()

    again = start(phantoms, together, cache, "--processes", "2", "--resume")
    said = again.communicate(timeout=PATIENCE_S)[1]
    assert again.returncode == 0, said
    both = xray_tf.load(together)
    for ours, theirs in zip(both.model.get_weights(), alone.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    ours, theirs = (
        np.loadtxt(m.folder / "history.csv", delimiter=",", skiprows=1, usecols=(2, 3))
        for m in (both, alone)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert not checkpoint.exists() and "--coordinator" not in both.card.provenance["command_line"]

    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 1)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import numpy as np, keras; assert keras.backend.backend() == 'tensorflow'; "
        f"model = keras.models.load_model({str(together / 'model.keras')!r}); "
        f"found = model.predict(np.load({str(tmp_path / 'images.npy')!r}), verbose=0); "
        f"np.save({str(tmp_path / 'found.npy')!r}, found)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, both.model.predict(images, verbose=0), atol=1e-5)


def test_the_shares_of_all_processes_are_the_batches_of_one():
    from xray_tf.nets.images import batches

    pixels = np.arange(11, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 2), np.uint8)
    key = (0, 1)

    def seen(size, **more):
        found = batches(pixels, range(11), None, size, key, True, **more)
        return [np.asarray(batch)[:, 0, 0, 0] for batch in found]

    whole = seen(4)
    parts = [seen(4, share=(number, 2)) for number in (0, 1)]
    assert len(whole) == 2
    for batch, first, second in zip(whole, *parts, strict=True):
        assert (batch == np.concatenate([first, second])).all()


@pytest.mark.skipif(BACKEND == "jax", reason="under JAX they train")
def test_other_backends_refuse_several_processes(tmp_path, capsys):
    line = ["--data", "phantom:4", "--out", str(tmp_path / "model"), "--processes", "2"]
    from xray_tf import train

    assert train.main(line) == 2
    assert "KERAS_BACKEND=jax" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [{"processes": 2, "process": 2}, {"processes": 2, "coordinator": "here"}]
)
def test_process_options_that_fit_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=r"Received: (process|coordinator)="):
        ProcessOptions(**wrong)
