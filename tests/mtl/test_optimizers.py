"""Optimizers by name, with arguments, and learning rates by epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.mtl import digits
from mtl import config as configs
from mtl import optimizers
from mtl.host.errors import ConfigError

START = {"encoder/1/kernel": jnp.ones((3, 2)), "encoder/1/bias": jnp.full(2, 0.5)}


def config(**optim):
    c = digits.get_config("smoke")
    for name, value in optim.items():
        c.optim[name] = value
    return c


def trained(optimizer, rate=1.0, steps=5):
    """The parameters after some steps on a quadratic, in one compiled loop."""

    def step(carry, target):
        params, state = carry
        grads = jax.tree.map(lambda p: p - target, params)
        updates, state = optimizer.update(grads, state, params)
        updates = jax.tree.map(lambda u: rate * u, updates)
        return (optax.apply_updates(params, updates), state), None

    start = START, optimizer.init(START)
    return jax.lax.scan(step, start, jnp.linspace(-1, 2, steps))[0][0]


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), a, b)


@pytest.mark.parametrize("name", sorted(set(optimizers.NAMES) - {"momentum"}))
def test_a_learning_rate_of_1_times_the_rate_is_optax_with_that_rate(name):
    ours = trained(optimizers.make(config(name=name).optim), 0.03)
    theirs = trained(getattr(optax, name)(0.03))
    assert_same(ours, theirs)
    assert any((ours[k] != START[k]).any() for k in START)


def test_an_optimizer_that_is_not_linear_in_the_rate_is_left_out():
    ours, theirs = trained(optax.fromage(1.0), 0.03), trained(optax.fromage(0.03))
    assert not np.allclose(ours["encoder/1/kernel"], theirs["encoder/1/kernel"])
    assert "fromage" not in optimizers.NAMES


def test_arguments_reach_the_optimizer():
    c = config(name="adam", arguments="b1=0.5, nesterov=True")
    expected = optax.adam(0.1, b1=0.5, nesterov=True)
    assert_same(trained(optimizers.make(c.optim), 0.1), trained(expected))


def test_momentum_is_sgd_with_momentum():
    ours = trained(optimizers.make(config(name="momentum").optim), 0.1)
    assert_same(ours, trained(optax.sgd(0.1, momentum=0.9)))


def test_weight_decay_is_that_of_adamw_on_kernels_alone():
    c = config(name="adam", weight_decay=0.3)
    mask = {"encoder/1/kernel": True, "encoder/1/bias": False}
    expected = trained(optax.adamw(0.1, weight_decay=0.3, mask=mask))
    assert_same(trained(optimizers.make(c.optim), 0.1), expected)


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({"name": "adamm"}, "did you mean adam?"),
        ({"name": "adam", "arguments": "bet1=0.5"}, "did you mean b1?"),
        ({"arguments": "0.5"}, "must be arguments such as"),
        ({"arguments": "momentum=open('x')"}, "must be arguments such as"),
        ({"name": "sign_sgd", "arguments": "b1=1"}, "arguments of sign_sgd: none"),
        ({"name": "adam", "arguments": "b1='x'"}, "must be values that adam takes"),
        ({"name": "adamw", "weight_decay": 0.1}, "adamw has its own"),
        ({"schedule": "cosin"}, "did you mean cosine?"),
        ({"warmup_epochs": 41}, "must be at most epochs=40"),
    ],
)
def test_errors_come_before_work_and_name_the_field(optim, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")) as error:
        configs.check(config(**optim))
    assert str(error.value).startswith("config.optim.")


def test_the_learning_rate_warms_up_and_falls_by_a_cosine():
    c = config(learning_rate=0.4, schedule="cosine", decay_epochs=4, warmup_epochs=3)
    c.epochs = 10
    rates = optimizers.learning_rates(c)
    np.testing.assert_allclose(rates[:5], [0.1, 0.2, 0.3, 0.4, 0.4])
    np.testing.assert_allclose(rates[8], 0.2)
    reference = optax.cosine_decay_schedule(0.4, 4)
    np.testing.assert_allclose(rates[6:], [reference(t) for t in range(4)], rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_a_warm_up_and_cosine_is_optaxs(warmup):
    c = config(learning_rate=0.4, schedule="warmup_cosine", warmup_epochs=warmup)
    reference = optax.warmup_cosine_decay_schedule(0.04, 0.4, warmup, c.epochs)
    rates = optimizers.learning_rates(c)
    np.testing.assert_array_equal(rates, reference(np.arange(c.epochs)))
    assert rates.argmax() == warmup


def test_a_constant_learning_rate_ignores_the_decay():
    c = config(schedule="constant", decay_epochs=4)
    assert len(set(optimizers.learning_rates(c))) == 1
