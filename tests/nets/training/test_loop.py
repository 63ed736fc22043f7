"""Training: the objective is the textbook's, and a killed run goes on bit for bit."""

import io
from dataclasses import replace

import keras
import numpy as np
import pytest
from two_blocks import two_block_net

from xray_tf.nets.images import batches
from xray_tf.nets.training.devices import choose_precision, policy
from xray_tf.nets.training.loop import Optimisation, Phase, Training, make_optimizer
from xray_tf.nets.training.objective import (
    Objective,
    StagewiseAdamW,
    class_weights_of,
    loss_net,
    open_stages,
    stage_factors,
    targets_of,
    vector_loss_net,
)
from xray_tf.options import ModelOptions, TrainOptions

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 16, 16), np.uint8)
LABELS = RNG.integers(0, 2, 40)
PIXELS[LABELS == 1, 4:12, 4:12] //= 2
OPTIONS = TrainOptions(augment="strong", ema=0.9, batch_size=8, label_smoothing=0.1, keep="best")


class PowerCut(RuntimeError):
    pass


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_one_logit_objective_is_weighted_binary_cross_entropy(smoothing):
    logits, targets = (
        RNG.normal(size=(6, 1)).astype(np.float32),
        np.array([[0], [1], [1], [0], [0.3], [1]], np.float32),
    )
    got = np.asarray(Objective((2.0, 0.5), smoothing)(logits, targets))
    p = 1 / (1 + np.exp(-logits))
    t = targets * (1 - smoothing) + smoothing / 2
    want = (2.0 * (1 - targets) + 0.5 * targets) * -(t * np.log(p) + (1 - t) * np.log(1 - p))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_one_logit_and_softmax_heads_are_treated_alike():
    logits, targets = (
        RNG.normal(size=(6, 1)).astype(np.float32),
        RNG.integers(0, 2, (6, 1)).astype(np.float32),
    )
    one = Objective((2.0, 0.5), 0.1)(logits, targets)
    two = Objective((2.0, 0.5), 0.1)(
        np.hstack([0 * logits, logits]), np.hstack([1 - targets, targets])
    )
    np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-5)


def test_class_weights_average_to_one_over_the_rows():
    weights = class_weights_of(np.array([0, 0, 0, 1]), 2, True)
    assert weights == pytest.approx((2 / 3, 2.0)) and class_weights_of(
        np.array([0, 1, 1]), 2, False
    ) == (1.0, 1.0)


def test_targets_are_one_column_for_two_classes_and_one_hot_for_more():
    assert targets_of(np.array([0, 1]), 2).tolist() == [[0], [1]]
    assert targets_of(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def loss_of(model) -> float:
    """The validation loss: binary cross-entropy over all 40 rows."""
    return float(
        np.mean(
            keras.ops.convert_to_numpy(
                keras.losses.binary_crossentropy(
                    LABELS[:, None].astype(np.float32),
                    model.predict_on_batch(PIXELS[..., None].astype(np.float32)),
                )
            )
        )
    )


def moved(options):
    """How the weights are moved under the options of a training."""
    return Optimisation(
        options.weight_decay,
        options.schedule,
        options.warmup,
        options.ema,
        options.keep,
        options.precision == "mixed_float16",
    )


def run(
    folder=None, resume=False, options=OPTIONS, cut=None, epochs=3, losses=None, progress=False
):
    """Train warm-up and fine-tuning phases of a two-block net; `cut` raises after so many epochs;
    `losses` are told instead of measured.
    """
    model = two_block_net()
    rows = []

    def report(row):
        rows.append(row)
        if cut is not None and len(rows) == cut:
            raise PowerCut

    told = iter(losses or ())

    def validate():
        return {"val_loss": next(told) if losses else loss_of(model)}

    def feed(epoch):
        return batches(PIXELS, range(40), targets_of(LABELS, 2), 8, (options.seed, epoch))

    def freeze():
        model.get_layer("block0_conv").trainable = False

    def thaw():
        model.get_layer("block0_conv").trainable = True

    phases = [
        Phase(
            "head",
            loss_net(model, options, (1.0, 1.0)),
            feed,
            5,
            epochs,
            1e-2,
            validate,
            prepare=freeze,
        ),
        Phase(
            "fine-tune",
            loss_net(model, options, (1.0, 1.0)),
            feed,
            5,
            epochs,
            1e-2,
            validate,
            prepare=thaw,
        ),
    ]
    training = Training(model, moved(options), folder, report, resume, progress)
    training.run(phases)
    return model.get_weights(), training


def loss_of_weights(weights) -> float:
    model = two_block_net(seed=5)
    model.set_weights(weights)
    return loss_of(model)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_run_killed_three_times_goes_on_bit_for_bit(tmp_path, schedule):
    options = replace(OPTIONS, schedule=schedule)
    whole, reference = run(options=options)
    # after the first epoch, after the first phase, and after an epoch of the second one
    for number, cut in enumerate((1, 2, 1)):
        with pytest.raises(PowerCut):
            run(tmp_path, resume=number > 0, options=options, cut=cut)
    resumed, training = run(tmp_path, resume=True, options=options)
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    drop = [{k: v for k, v in row.items() if k != "seconds"} for row in training.history]
    assert drop == [{k: v for k, v in row.items() if k != "seconds"} for row in reference.history]
    assert len(drop) == 6


@pytest.fixture(scope="module")
def one_epoch_each():
    """The weights after one epoch of each phase."""
    return run(epochs=1)[0]


def test_a_run_killed_before_its_first_epoch_starts_again(one_epoch_each, tmp_path):
    resumed, _ = run(tmp_path, resume=True, epochs=1)
    for a, b in zip(one_epoch_each, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_learns_and_keeps_the_best_epoch():
    options = TrainOptions(
        augment="none", batch_size=8, schedule="plateau", ema=0.0, keep="best", label_smoothing=0.0
    )
    weights, training = run(options=options, epochs=6)
    losses = [row["val_loss"] for row in training.history]
    assert training.kept["val_loss"] == min(losses) < losses[0]
    assert losses.index(min(losses)) not in (0, 11), (
        "the best must lie inside the run for this test to mean anything"
    )
    assert loss_of_weights(weights) == pytest.approx(min(losses), rel=1e-4)


def test_averaging_only_looks_on():
    plain, averaged = (
        run(options=replace(OPTIONS, ema=ema, keep="last"))[1].history for ema in (0.0, 0.9)
    )
    # a phase starts from the weights kept, which differ
    assert [row["loss"] for row in plain[:3]] == [row["loss"] for row in averaged[:3]]
    assert plain[2]["val_loss"] != averaged[2]["val_loss"]


@pytest.mark.parametrize("steps, epochs, want", [(100, 10, 0.99), (5, 3, 1 / 3), (2, 3, 0.0)])
def test_the_average_reaches_back_a_tenth_of_the_phase_at_most(steps, epochs, want):
    optimizer = make_optimizer(
        Optimisation(ema=0.99), Phase("head", None, None, steps, epochs, 1e-3, None)
    )
    assert optimizer.use_ema and optimizer.ema_momentum == pytest.approx(want)


def test_float16_scales_the_loss_and_its_average_is_validated_all_the_same():
    with policy("mixed_float16"):
        weights, training = run(
            options=TrainOptions(augment="none", batch_size=8, ema=0.9, precision="mixed_float16"),
            epochs=2,
        )
    assert (
        all(np.isfinite(w).all() for w in weights)
        and len({row["val_loss"] for row in training.history}) == 4
    )
    assert loss_of_weights(weights) == pytest.approx(training.history[-1]["val_loss"], abs=0.01)
    wrapped = make_optimizer(
        Optimisation(scale_loss=True), Phase("head", None, None, 5, 3, 1e-3, None)
    )
    assert isinstance(wrapped, keras.optimizers.LossScaleOptimizer) and isinstance(
        wrapped.inner_optimizer, StagewiseAdamW
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_last_epoch_is_kept_when_asked_for_and_it_is_the_average_that_was_validated(momentum):
    weights, training = run(
        options=TrainOptions(augment="none", batch_size=8, ema=momentum, keep="last"), epochs=6
    )
    losses = [row["val_loss"] for row in training.history]
    assert (
        training.kept == training.history[-1]
        and min(abs(loss - losses[-1]) for loss in losses[:-1]) > 1e-4
    )
    assert loss_of_weights(weights) == pytest.approx(losses[-1], rel=1e-5)


def test_an_epochs_batches_are_a_bar_on_a_terminal_and_change_nothing(one_epoch_each, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    watched, _ = run(epochs=1, progress=True)
    text = terminal.getvalue()
    assert "head epoch 1/1 0/5" in text and "fine-tune epoch 1/1" in text and " left" in text
    for a, b in zip(one_epoch_each, watched, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(
    "first, second, cuts",
    [
        # up and down above the lowest is waiting: one cut seen in each phase, the next comes too
        # late
        ([1.0, *[1.2, 1.1] * 3], [1.0] * 7, 2),
        # the second phase starts high and falls: nothing waits
        ([1.0, 0.9, 0.8, 0.7, 0.6], [2.0, 1.9, 1.8, 1.7, 1.6], 0),
    ],
)
def test_a_plateau_is_counted_from_the_phases_lowest_loss_whichever_epoch_is_kept(
    keep, first, second, cuts
):
    options = TrainOptions(augment="none", batch_size=8, schedule="plateau", ema=0.0, keep=keep)
    _, training = run(options=options, epochs=len(first), losses=first + second)
    rates = [row["learning_rate"] for row in training.history]
    falls = [a > b * 1.01 for a, b in zip(rates, rates[1:], strict=False)]
    assert sum(falls) == cuts


def test_ctrl_c_keeps_the_best_so_far(monkeypatch):
    calls = []
    fit = keras.Model.fit

    def interrupted_fit(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", interrupted_fit)
    weights, training = run()
    assert training.interrupted and len(training.history) == 2
    assert training.stopped.split(" epoch ")[1].startswith("3 of ")
    assert loss_of_weights(weights) == pytest.approx(
        min(row["val_loss"] for row in training.history), rel=1e-5
    )


def test_ctrl_c_before_the_first_epoch_goes_on_to_the_caller(monkeypatch):
    monkeypatch.setattr(
        keras.Model, "fit", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        run()


def test_a_checkpoint_of_another_net_is_refused(tmp_path):
    with pytest.raises(PowerCut):
        run(tmp_path, cut=1)
    with pytest.raises(ValueError, match="variables"):
        run(tmp_path, resume=True, options=replace(OPTIONS, ema=0.0))


def test_a_factor_slows_its_variable_and_biases_do_not_decay():
    first, second = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    optimizer = StagewiseAdamW({first.path: 0.1}, learning_rate=0.01, weight_decay=0.0)
    optimizer.apply([np.ones(1, np.float32)] * 2, [first, second])
    moved = [1 - float(v.numpy()[0]) for v in (first, second)]
    assert moved == pytest.approx([0.001, 0.01], rel=1e-3)
    decays = [keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")]
    StagewiseAdamW(learning_rate=0.1, weight_decay=0.5).apply([np.zeros(1, np.float32)] * 2, decays)
    assert [float(v.numpy()[0]) for v in decays] == pytest.approx([0.95, 1.0])


class CountedRate(keras.optimizers.schedules.CosineDecay):
    """A schedule that counts how often it is asked."""

    asked = 0

    def __call__(self, step):
        self.asked += 1
        return super().__call__(step)


def test_a_step_is_that_of_keras_and_asks_for_its_rate_once():
    def stepped(kind, **more):
        variables = [keras.Variable(RNG.normal(size=3), name=n) for n in ("kernel", "bias", "k2")]
        rate = CountedRate(0.1, 9)
        optimizer = kind(learning_rate=rate, weight_decay=0.3, global_clipnorm=1.0, **more)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        optimizer.build(variables)
        starts = [v.assign(np.arange(3.0) - i) for i, v in enumerate(variables)]
        for step in range(3):
            optimizer.apply([np.float32([step, -1, 2])] * len(starts), variables)
        return [v.numpy() for v in variables], rate.asked / 3

    theirs, asked_each = stepped(keras.optimizers.AdamW)
    ours, asked_once = stepped(StagewiseAdamW)
    assert asked_once == 1 < asked_each
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def lite():
    from xray_tf.nets.classifier import build_classifier

    return build_classifier(
        ModelOptions(weights=None, image_size=32, region="whole"), ("normal", "pneumonia")
    )


@pytest.mark.parametrize(
    ("stages", "pretrained", "open_layers"),
    [
        ("none", True, set()),
        ("1", True, {"top"}),
        ("2", False, {"stage7", "top"}),
        ("all", True, {"stem", *(f"stage{i}" for i in range(1, 8)), "top"}),
    ],
)
def test_the_last_stages_open_and_pretrained_batch_norm_stays_shut(
    lite, stages, pretrained, open_layers
):
    open_stages(lite, "efficientnet_lite0", stages, pretrained)
    layers = [layer for layer in lite.layers if layer.trainable_weights]
    opened = {name for layer in layers for name in open_layers if layer.name.startswith(name)}
    assert opened == open_layers and {
        layer.name for layer in layers if not any(layer.name.startswith(n) for n in open_layers)
    } <= {"logits"}
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert bool(norms) == (bool(open_layers) and not pretrained)


@pytest.mark.parametrize("stages", ["10", "-1", "some", "1.5"])
def test_stages_that_are_not_there_are_refused(lite, stages):
    with pytest.raises(ValueError, match="fine_tune must be none, all"):
        open_stages(lite, "efficientnet_lite0", stages, True)


def test_earlier_stages_learn_slower(lite):
    factors = stage_factors(lite, "efficientnet_lite0", 0.5)
    by_stage = {path.split("/")[0].split("_")[0]: factor for path, factor in factors.items()}
    assert by_stage["top"] == 0.5 and by_stage["stage7"] == 0.25 and by_stage["stem"] == 0.5**9


def test_the_fastest_policy_is_chosen_and_every_rate_told():
    def candidate(rows):
        net = vector_loss_net(
            keras.Model(vector := keras.Input((4,)), keras.layers.Dense(1)(vector)),
            TrainOptions(),
            (1.0, 1.0),
        )
        net.compile(optimizer="sgd", loss=lambda target, loss: keras.ops.mean(loss))
        target = np.zeros((rows, 1), np.float32)
        return net, ((np.zeros((rows, 4), np.float32), target), target)

    best, rates = choose_precision(
        {"few": lambda: candidate(2), "many": lambda: candidate(4000)}, seconds=0.1
    )
    assert best == "many" and set(rates) == {"few", "many"}


def test_a_policy_is_put_back():
    with pytest.raises(RuntimeError), policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise RuntimeError
    assert keras.config.dtype_policy().name == "float32"
