"""Systems 1 and 2 in bfloat16: types in the programs, and losses near float32's."""

import re

import jax
import jax.numpy as jnp
import pytest

from configs.mtl import digits
from configs.structured import digits as structured_digits
from mtl import config as configs
from mtl import experiment
from mtl.data import datasets
from mtl.engine.fit import compile_epoch
from mtl.host.errors import ConfigError
from structured import assemble
from structured import data as structured_data
from tests.epoch_text import epoch_text

PRODUCT = re.compile(r"stablehlo\.(?:dot_general|convolution).*?: \((.*?)\) ->")


def system_1(dtype, **changes):
    c = digits.get_config("smoke")
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    c.model.dtype = dtype
    configs.check(c)
    return experiment.make_training(c, datasets.load(c.data))


def ladder(dtype):
    return system_1(dtype, unsupervised="ladder", model__norm="batch", model__noise=0.3)


def vat(dtype):
    return system_1(dtype, unsupervised="vat")


def system_2(dtype, **changes):
    c = structured_digits.get_config("smoke")
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    c.model.dtype = dtype
    return assemble.make_training(c, structured_data.load(c))


def convolutions(dtype):
    return system_2(
        dtype, model__encoder="cnn", model__channels=(4,), model__strides=(2,)
    )


@pytest.mark.parametrize("make", [system_1, ladder, vat, system_2, convolutions])
def test_products_are_bfloat16_and_parameters_float32(make):
    assert "bf16" not in epoch_text(make("float32"))
    training = make("bfloat16")
    operands = PRODUCT.findall(epoch_text(training))
    assert operands
    others = [types for types in operands if types.count("bf16") != 2]
    # Sums over rows, weighted by whether they count, are float32: batch normalisation.
    assert all(re.search(r"tensor<\d+xf32>", types) for types in others), others
    if make is not ladder:
        assert not others
    train_epoch = compile_epoch(training)
    state = jax.eval_shape(train_epoch.engine.init, training.params)
    types = {str(x.dtype) for x in jax.tree.leaves(state) if x.dtype != jnp.int32}
    assert types == {"float32"}


@pytest.mark.parametrize("make", [system_1, system_2])
def test_an_epoch_gives_float32_losses_near_those_of_float32(make):
    found = {}
    for dtype in ("float32", "bfloat16"):
        t = make(dtype)
        train_epoch = compile_epoch(t)
        state, metrics = train_epoch(
            train_epoch.engine.init(t.params), t.data, t.loss_weights[0],
            t.learning_rates[0], t.key,
        )  # fmt: skip
        assert metrics.loss.dtype == "float32"
        assert {x.dtype.name for x in jax.tree.leaves(state.params)} == {"float32"}
        found[dtype] = metrics.loss
    assert (found["bfloat16"] != found["float32"]).any()
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.02)


@pytest.mark.slow
def test_digits_have_a_similar_error(tmp_path):
    errors = {}
    for dtype in ("float32", "bfloat16"):
        c = digits.get_config()
        c.model.dtype, c.epochs, c.optim.decay_epochs = dtype, 200, 20
        summary = experiment.train_and_evaluate(c, tmp_path / dtype).summary
        errors[dtype] = summary["last"]["test/error"]
    assert errors["bfloat16"] < 0.3
    assert abs(errors["bfloat16"] - errors["float32"]) < 0.02


def test_a_finite_difference_that_rounding_removes_is_refused():
    with pytest.raises(ConfigError, match=r"config\.vat\.xi=1e-06 must be 0 with"):
        system_1("bfloat16", unsupervised="vat", vat__xi=1e-6)
