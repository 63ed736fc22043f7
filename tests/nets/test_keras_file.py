"""A saved net holds nothing that an older Keras refuses, and its weights."""

import json
import zipfile

import keras
import numpy as np
from two_blocks import two_block_net

from xray_tf.nets.keras_file import save_model, save_packed

# what Keras 3.15 writes, and 3.6 to 3.14 know no argument for
NEWER = ("input_axes", "output_axes", "renorm", "renorm_clipping", "renorm_momentum", "ragged")


def test_a_saved_net_names_no_argument_that_keras_3_6_does_not_know(tmp_path):
    net = two_block_net()
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype("float32")
    for save in (save_model, save_packed):
        save(net, tmp_path / "model.keras")
        with zipfile.ZipFile(tmp_path / "model.keras") as archive:
            config = archive.read("config.json").decode()
        assert not [key for key in (*NEWER, "quantization_config") if f'"{key}"' in config]
        assert json.loads(config)["class_name"] == "Functional"
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again(images), net(images))


def test_an_only_input_and_output_are_saved_without_a_list(tmp_path):
    net = two_block_net()
    listed = keras.Model([net.input], [net.output], name="listed")
    assert isinstance(listed.input, list)
    save_model(listed, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.input.shape == net.input.shape and again.output.shape == net.output.shape
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype("float32")
    np.testing.assert_array_equal(again(images), net(images))
