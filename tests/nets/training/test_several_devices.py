"""Several devices: a mirrored run trains, checkpoints and answers as one; tried on two virtual CPUs
in a process of its own.
"""

import subprocess
import sys

CODE = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from xray_tf.nets.classifier import build_classifier
from xray_tf.nets.images import batches
from xray_tf.nets.inference import forward
from xray_tf.nets.training.objective import loss_net, targets_of
from xray_tf.nets.training.loop import Optimisation, Phase, Training
from xray_tf.options import ModelOptions, TrainOptions

rng = np.random.default_rng(0)
pixels, labels = rng.integers(0, 256, (16, 32, 32), np.uint8), np.arange(16) % 2
options = TrainOptions(augment="none", batch_size=8, ema=0.9)

def run(strategy, dropout):
    with strategy.scope():
        model = build_classifier(ModelOptions(weights=None, image_size=32, region="whole", dropout=dropout), ("normal", "pneumonia"))
        for layer in model.layers:  # batch norm sees half a batch on each device; frozen it computes the same on one or two
            layer.trainable = layer.name == "logits"
        phase = Phase("head", loss_net(model, options, (1.0, 1.0)), lambda e: batches(pixels, range(16), targets_of(labels, 2), 8, (0, e)), 2, 2, 1e-2,
                      lambda: {"val_loss": float(np.square(forward(model, pixels)["logits"]).mean())})
        Training(model, Optimisation(ema=0.9, keep="last"), Path(sys.argv[1])).run([phase])
    return model

one = run(tf.distribute.OneDeviceStrategy("/cpu:0"), 0.0)
two = run(tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]), 0.0)
np.testing.assert_allclose(forward(one, pixels)["logits"], forward(two, pixels)["logits"], atol=1e-3)  # Adam magnifies the rounding of a sum taken in halves
print("alike")
"""


def test_a_mirrored_run_equals_a_run_on_one_device(tmp_path):
    done = subprocess.run([sys.executable, "-c", CODE, tmp_path], capture_output=True, text=True)
    assert done.stdout.strip().endswith("alike"), done.stderr[-3000:]
