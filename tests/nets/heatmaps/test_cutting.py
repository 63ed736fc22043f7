"""A model cut at a feature map: both pieces together are the model, wherever the cut lies."""

import keras
import numpy as np
import pytest
from two_blocks import two_block_net

from xray_tf.nets.heatmaps.cutting import cut_at

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1)).astype(np.float32)


def models():
    """The same net flat, with its trunk called as a layer, and whole inside another model."""
    flat = two_block_net(3)
    trunk = keras.Model(flat.input, flat.get_layer("features").output, name="trunk")
    image = keras.Input((16, 16, 1))
    x = trunk(image)
    for name in ("embedding", "logits", "probability"):
        x = flat.get_layer(name)(x)
    nested = keras.Model(image, x)
    return flat, {
        "flat": flat,
        "nested": nested,
        "around": keras.Sequential([keras.Input((16, 16, 1)), nested]),
    }


def test_the_pieces_give_the_logits_wherever_the_cut_lies():
    flat, made = models()
    expected = keras.Model(flat.input, flat.get_layer("logits").output)(IMAGES, training=False)
    for way, model in made.items():
        usable = cut_at(model).usable_layers
        assert {name.rsplit("/", 1)[-1] for name in usable} >= {
            "block0_conv",
            "block0_bn",
            "block0_relu",
            "block1_conv",
            "features",
        }, way
        for layer in usable:
            cut = cut_at(model, layer)
            assert (cut.layer, cut.units) == (layer, 3)
            np.testing.assert_allclose(
                cut.logits(cut.features(IMAGES), IMAGES),
                expected,
                rtol=1e-5,
                atol=1e-5,
                err_msg=f"{way}, {layer}",
            )


def test_features_is_cut_at_unless_another_layer_is_named():
    _, made = models()
    assert {
        way: cut_at(model).layer.rsplit("/", 1)[-1] for way, model in made.items()
    } == dict.fromkeys(made, "features")
    assert cut_at(made["nested"], "block0_conv").layer == "trunk/block0_conv"
    with pytest.raises(ValueError, match="Did you mean .*block0_conv"):
        cut_at(made["nested"], "trunk/block0_con")
