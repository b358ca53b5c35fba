import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.structured import digits
from mtl import optimizers
from mtl.engine.task import flatten
from mtl.host import logs
from mtl.host.errors import ConfigError
from structured import assemble, data, experiment, tasks
from structured import config as configs

SHAPE, OUTPUTS, BATCH = (2, 3), 4, 5


def small(**fields):
    c = configs.default()
    c.model.input, c.model.link, c.model.output = (5,), (4,), (3,)
    c.update_from_flattened_dict(fields)
    return c


def batch(valid=BATCH):
    rng = np.random.default_rng(0)
    return {
        "x": jnp.asarray(rng.uniform(size=(BATCH, *SHAPE)), jnp.float32),
        "y": jnp.asarray(rng.uniform(-0.5, 0.5, (BATCH, OUTPUTS)), jnp.float32),
        "valid": jnp.arange(BATCH) < valid,
    }


@functools.cache
def initial(net):
    return jax.jit(net.init)(jax.random.key(0))


def setup(c, augment=None):
    net = assemble.build_network(c, SHAPE, OUTPUTS)
    return tasks.make_tasks(c, net, augment), initial(net)


def test_names_and_order():
    net = assemble.build_network(small(), SHAPE, OUTPUTS)
    assert [t.name for t in tasks.make_tasks(small(), net)] == list(tasks.TASK_NAMES)
    assert tasks.TASK_NAMES == ("in", "out", "supervised")
    assert tasks.VARIANTS == ("mean", "mlp", "mlp_in", "mlp_out", "mlp_in_out")


def test_strides_that_do_not_divide_the_sides_are_refused(tmp_path):
    """The shape is known from the data only; the digits' halves are 4 x 8."""
    c = digits.get_config("smoke")
    c.model.encoder = "cnn"
    with pytest.raises(ConfigError, match=r"model.strides.*\(4, 8\)"):
        experiment.train_and_evaluate(c, tmp_path / "run")


# Loss weights and learning rates


@pytest.mark.parametrize(
    ("variant", "has_in", "has_out"),
    [
        ("mlp", 0, 0),
        ("mlp_in", 1, 0),
        ("mlp_out", 0, 1),
        ("mlp_in_out", 1, 1),
    ],
)
def test_the_papers_loss_weights(variant, has_in, has_out):
    """1 until epoch 100, then linearly to 0 at 500 (in) and at 700 (out)."""
    table = tasks.loss_weights(small(variant=variant))
    assert table.shape == (1000, 3)
    np.testing.assert_array_equal(table[:, 2], 1)
    np.testing.assert_array_equal(table[:101, 0], has_in)
    np.testing.assert_array_equal(table[:101, 1], has_out)
    assert table[[101, 200, 300, 499], 0] == pytest.approx(
        [has_in * w for w in (0.9975, 0.75, 0.5, 0.0025)]
    )
    assert table[[200, 400, 550, 697], 1] == pytest.approx(
        [has_out * w for w in (5 / 6, 0.5, 0.25, 0.005)]
    )
    np.testing.assert_array_equal(table[500:, 0], 0)
    np.testing.assert_array_equal(table[700:, 1], 0)


def test_the_mean_has_no_loss_weights():
    assert set(tasks.VARIANT_TASKS) == set(tasks.VARIANTS) - {"mean"}


def test_callbacks_get_each_row_that_is_logged(tmp_path):
    c = digits.get_config("smoke")
    c.variant = "mlp"
    rows = []
    experiment.train_and_evaluate(c, tmp_path / "run", callbacks=[rows.append])
    assert rows
    assert rows == logs.read_rows(tmp_path / "run")


def test_the_mean_predicts_the_mean_of_all_y(tmp_path):
    """The mean includes examples without x; nothing is trained."""
    c = digits.get_config("smoke")
    c.variant = "mean"
    run = experiment.train_and_evaluate(c, tmp_path / "run")
    d = data.load(c)
    assert d.train.has_y.sum() > d.train.pairs.sum()
    mean = d.train.y[d.train.has_y].mean(axis=0)
    np.testing.assert_allclose(run.predicted, np.tile(mean, (len(d.test.x), 1)))
    assert run.summary["test"]["mse"] == pytest.approx(
        float(np.square(d.test.y - mean).mean()), rel=1e-4
    )
    assert run.summary["best"]["valid/mse"] == pytest.approx(
        float(np.square(d.validation.y - mean).mean()), rel=1e-4
    )
    assert run.summary["best"]["train/mse"] == pytest.approx(
        float(np.square(d.train.y[d.train.pairs] - mean).mean()), rel=1e-4
    )
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_each_variant_starts_from_the_same_parameters():
    c = digits.get_config("smoke")
    d = data.load(c)
    trainings = []
    for variant in tasks.VARIANT_TASKS:
        c.variant = variant
        trainings.append(assemble.make_training(c, d))
    first = flatten(trainings[0].params)
    for training in trainings[1:]:
        assert flatten(training.params).keys() == first.keys()
        for name, value in flatten(training.params).items():
            np.testing.assert_array_equal(value, first[name])
        assert (training.key == trainings[0].key).all()
    assert len({training.loss_weights.tobytes() for training in trainings}) == 4


def test_learning_rates_are_constant_without_decay():
    rates = optimizers.learning_rates(small(epochs=7))
    np.testing.assert_array_equal(rates, [1e-3] * 7)


def test_learning_rates_fall_by_half_a_cosine():
    c = small(**{"epochs": 10, "optim.decay_epochs": 4, "optim.learning_rate": 0.2})
    expected = [0.2] * 7 + [0.2 * (2 + 2**0.5) / 4, 0.1, 0.2 * (2 - 2**0.5) / 4]
    np.testing.assert_allclose(optimizers.learning_rates(c), expected, rtol=1e-12)
    c.optim.decay_epochs = 10
    rates = optimizers.learning_rates(c)
    np.testing.assert_allclose(rates[[0, 5]], [0.2, 0.1], rtol=1e-12)


def updates(c, grads):
    """Returns the updates of an optimizer for gradients one after the other."""
    made = tasks.make_optimizer(c)
    state, all_updates = made.init(jnp.zeros(2)), []
    for g in grads:
        update, state = made.update(jnp.asarray(g), state, jnp.zeros(2))
        all_updates.append(update)
    return np.array(all_updates)


def test_sgd_has_momentum():
    steps = updates(small(), [[1.0, 0], [1, 0], [0, 2]])
    np.testing.assert_allclose(steps, [[-1, 0], [-1.9, 0], [-1.71, -2]], rtol=1e-6)


def test_gradients_are_clipped_by_their_norm():
    c = small(**{"optim.clip": 1.0, "optim.momentum": 0.0})
    steps = updates(c, [[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(steps, [[-0.6, -0.8], [-0.3, -0.4]], rtol=1e-6)


def test_adam_updates_by_the_learning_rate():
    steps = updates(small(**{"optim.name": "adam"}), [[1e-2, -5.0]])
    np.testing.assert_allclose(steps, [[-1, 1]], rtol=1e-4)


# Rows and losses


def test_each_task_has_its_rows():
    has = {
        "has_x": jnp.array([True, True, False, False]),
        "has_y": jnp.array([True, False, True, False]),
    }
    rows_by_task = {t.name: t.rows(has).tolist() for t in setup(small())[0]}
    assert rows_by_task == {
        "in": [True, True, False, False],
        "out": [True, False, True, False],
        "supervised": [True, False, False, False],
    }


def test_reductions_come_from_the_config():
    c = small(**{"reconstruct_out.batch": "sum"})
    assert [t.reduction for t in setup(c)[0]] == ["mean", "sum", "mean"]


def test_a_task_needs_only_its_own_field():
    """The input task does not use y, and the output task does not use x."""
    (task_in, task_out, _), params = setup(small())
    rows, key = batch(), jax.random.key(1)
    for task, field in ((task_in, "y"), (task_out, "x")):
        bare = {k: v for k, v in rows.items() if k != field}
        expected = task.loss(params, rows, key)
        np.testing.assert_array_equal(task.loss(params, bare, key), expected)


def test_masked_rows_do_not_change_the_mean_code():
    (task_in, task_out, _), params = setup(small())
    key = jax.random.key(1)
    for task, field in ((task_in, "x"), (task_out, "y")):
        rows = batch(valid=3)
        other = rows | {field: rows[field].at[3:].set(0.9)}
        losses, expected = (task.loss(params, b, key)[:3] for b in (rows, other))
        np.testing.assert_allclose(losses, expected, rtol=1e-6)
        all_valid = rows | {"valid": jnp.ones(BATCH, bool)}
        assert np.abs(task.loss(params, all_valid, key)[:3] - losses).max() > 1e-4


def test_each_key_draws_other_noise():
    (task_in, task_out, _), params = setup(small())
    rows = batch()
    one, two = (task_in.loss(params, rows, jax.random.key(k)) for k in (1, 2))
    assert np.abs(one - two).max() > 1e-4
    # The paper's output task has no noise.
    one, two = (task_out.loss(params, rows, jax.random.key(k)) for k in (1, 2))
    np.testing.assert_array_equal(one, two)


# Augmentation


def stretched(rows, key):
    """Multiplies x and y by random factors."""
    factor = jax.random.uniform(key, (2,), minval=0.5, maxval=1.5)
    return rows | {"x": rows["x"] * factor[0], "y": rows["y"] * factor[1]}


def test_one_key_augments_x_and_y():
    """Each loss is that of augmented inputs and augmented targets."""
    c = small()
    plain, params = setup(c)
    changed, _ = setup(c, stretched)
    rows, key = batch(), jax.random.key(7)
    keys = jax.random.split(key)[0], jax.random.split(key)[0], key
    for a, b, look in zip(changed, plain, keys, strict=True):
        expected = b.loss(params, stretched(rows, look), key)
        np.testing.assert_allclose(a.loss(params, rows, key), expected, rtol=1e-5)
        assert np.abs(expected - b.loss(params, rows, key)).max() > 1e-3
        other = a.loss(params, rows, jax.random.key(8))
        assert np.abs(expected - other).max() > 1e-3


def test_augmentation_and_noise_have_different_keys():
    seen = []

    def augment(rows, key):
        seen.append(jax.random.key_data(key).tolist())
        return rows

    made, params = setup(small(), augment)
    key = jax.random.key(7)
    for task in made:
        task.loss(params, batch(), key)
    for_noise = jax.random.key_data(jax.random.split(key)[1]).tolist()
    assert len(seen) == 3
    assert for_noise not in seen
