"""Convolutions and Flax modules in system 1, against networks of plain XLA."""

import dataclasses
import re
import sys
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.mtl import digits
from mtl import config as configs
from mtl import experiment, methods, networks, predict
from mtl.data import datasets
from mtl.engine.task import flatten
from mtl.host.errors import ConfigError
from mtl.tasks import vat
from tests.conftest import ROOT
from tests.epoch_text import changed

CLASSES = 3
# Odd sides: 7 and 5 become 4 and 3 at stride 2.
COLOUR, GREY = (7, 5, 3), (8, 8)
KEY = jax.random.key(0)


def small(**fields):
    c = digits.get_config("smoke")
    layers = {"network": "cnn", "channels": (4, 6), "strides": (2, 1), "hidden": (5,)}
    return changed(c, {f"model.{k}": v for k, v in layers.items()} | fields)


def drawn(network):
    """Parameters with biases other than 0."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(network.init, KEY)
    return jax.tree.map(
        lambda a: rng.normal(0, 0.3, a.shape).astype(np.float32), shapes
    )


def plain(network, kernel, k, x):
    """Convolution k of rows x by XLA alone, without bias."""
    z = jax.lax.conv_general_dilated(
        x.reshape(len(x), *network.shapes[k - 1]),
        kernel,
        (network.strides[k - 1],) * 2,
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return z.reshape(len(x), -1)


def plain_logits(network, params, x):
    for k in range(1, network.depth + 1):
        layer = params["encoder"][str(k)]
        if k <= len(network.channels):
            z = plain(network, layer["kernel"], k, x)
            x = (z.reshape(len(x), -1, len(layer["bias"])) + layer["bias"]).reshape(
                len(x), -1
            )
        else:
            x = x @ layer["kernel"] + layer["bias"]
        x = jnp.tanh(x)
    return x @ params["classifier"]["kernel"] + params["classifier"]["bias"]


def plain_decode(network, params, k, code):
    """The transpose of convolution k, with the decoder's bias."""
    own, decoder = params["encoder"][str(k)], params["decoder"][str(k)]
    kernel = decoder.get("kernel", own["kernel"])
    below = jax.ShapeDtypeStruct((len(code), network.sizes[k - 1]), jnp.float32)
    reverse = jax.linear_transpose(lambda x: plain(network, kernel, k, x), below)
    z = reverse(code)[0].reshape(len(code), -1, len(decoder["bias"])) + decoder["bias"]
    return z.reshape(len(code), -1)


@pytest.mark.parametrize(
    ("shape", "tied"), [(GREY, True), (COLOUR, False)], ids=["grey", "colour, untied"]
)
def test_layers_and_decoders_are_those_of_plain_convolutions(shape, tied):
    """The direction of VAT passes the gradient of a gradient of the convolutions."""
    network = networks.build(small(**{"model.tied": tied}), shape, CLASSES)
    params, rng = drawn(network), np.random.default_rng(1)
    x = rng.uniform(size=(6, network.inputs)).astype(np.float32)
    d = jnp.asarray(rng.normal(size=x.shape).astype(np.float32))
    assert network.depth == 3
    assert all(("kernel" in p) is not tied for p in params["decoder"].values())

    @jax.jit
    def ours(params, x):
        codes = network.encode(params, x)[1:3]
        decoded = [network.decode(params, k, h) for k, h in enumerate(codes, start=1)]
        logits = partial(network.logits, params)
        given = x, jnp.arange(6) < 5, d, 2, 0.0, vat.by_gradient
        return codes, decoded, vat.adversarial(logits, *given)

    @jax.jit
    def theirs(params, x, codes):
        decoded = [
            plain_decode(network, params, k, h) for k, h in enumerate(codes, start=1)
        ]
        logits = partial(plain_logits, network, params)
        return decoded, vat.adversarial(logits, x, jnp.arange(6) < 5, d, 2)

    codes, *found = ours(params, x)
    jax.tree.map(
        partial(np.testing.assert_allclose, atol=1e-4),
        tuple(found),
        theirs(params, x, codes),
    )


OWN = "tests.mtl.test_networks:Dense"


@pytest.mark.parametrize("name", ["cnn", OWN])
def test_each_layer_has_an_auto_encoder_and_a_place_in_all_methods(name):
    c = small(**{"model.network": name, "schedule.t1": 3})
    network, depth = networks.build(c, COLOUR, CLASSES), networks.depth(c)
    params = jax.eval_shape(network.init, KEY)
    assert depth == network.depth == len(params["encoder"]) == len(params["decoder"])
    for method in ("exponential", "pretraining", "gradnorm"):
        c.method = method
        tasks = methods.make_tasks(c, network)
        assert methods.loss_weights(c).shape == (c.epochs, len(tasks))
    assert methods.weighting(c) is not None
    assert f"encoder/{depth}/kernel" in flatten(params)


@pytest.mark.parametrize("name", ["cnn", OWN])
def test_the_gradient_of_a_task_reaches_all_that_it_names(name):
    c = small(**{"model.network": name})
    network = networks.build(c, GREY, CLASSES)
    tasks = methods.make_tasks(c, network)
    x = np.random.default_rng(0).uniform(size=(20, 64)).astype(np.float32)
    batch = {"image": x, "label": np.arange(20) % CLASSES, "valid": np.ones(20, bool)}
    batch = jax.tree.map(jnp.asarray, batch)

    @jax.jit
    @jax.jacrev
    def slopes(params):
        return [task.loss(params, batch, KEY).sum() for task in tasks]

    for task, slope in zip(tasks, slopes(drawn(network)), strict=True):
        for place, array in flatten(slope).items():
            named = place.startswith(tuple(task.params))
            assert bool(np.abs(array).max() > 0) == named, (task.name, place)


class Dense(nn.Module):
    """Codes of images, for the tests."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(7)(images.reshape(images.shape[0], -1))


class Normed(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.BatchNorm(use_running_average=False)(images)


class Flat(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.Dense(4)(images)


class Empty(nn.Module):
    def __call__(self, images):
        return images.reshape(images.shape[0], -1)


class Sized(nn.Module):
    size: int


def number():
    return 7


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({}, (64,), "must be 'mlp' for x of shape (64,)"),
        ({"network": "tests.mtl.test_networks:Normed"}, GREY, "it has also batch_st"),
        ({"network": "tests.mtl.test_networks:Flat"}, GREY, "it returns [3, 8, 4]"),
        ({"network": "tests.mtl.test_networks:Empty"}, GREY, "it has none"),
        ({"network": "tests.mtl.test_networks:number"}, GREY, "not int"),
        ({"network": "tests.mtl.test_networks:Sized"}, GREY, "without arguments"),
        ({"network": "tests.mtl.test_networks:None_"}, GREY, "has no attribute"),
        ({"network": "no_such:Encoder"}, GREY, "No module named 'no_such'"),
        ({"network": "cmm"}, GREY, "must be one of mlp, cnn"),
        ({"strides": (2,)}, GREY, "must be as many as model.channels"),
        ({"channels": ()}, GREY, "one whole number or more"),
        ({"norm": "batch"}, GREY, "must be 'none' with model.network='cnn'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(fields, shape, message):
    c = small(**{f"model.{name}": value for name, value in fields.items()})

    def build():
        configs.check(c)
        networks.build(c, shape, CLASSES)

    with pytest.raises(ConfigError, match=re.escape(message)):
        build()


def test_equal_modules_make_equal_networks():
    c = small(**{"model.network": OWN})
    one, two = (networks.build(c, GREY, CLASSES) for _ in range(2))
    assert (one == two, hash(one) == hash(two)) == (True, True)
    assert dataclasses.replace(one, code_size=8) != one


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["cnn", "the example of the docs"])
def test_digits_are_learned_and_predicted_again(own, tmp_path, monkeypatch):
    c = small(**{"model.channels": (8, 16), "model.strides": (2, 2)})
    if own:
        page = (ROOT / "docs" / "extending.md").read_text()
        code = re.findall(r"```python\n(.*?)```", page, re.S)[5]
        assert code.count("\n") <= 20
        (tmp_path / "patches.py").write_text(code, encoding="utf-8")
        monkeypatch.chdir(tmp_path)  # Modules of the current folder are found.
        monkeypatch.setattr(sys, "path", [*sys.path])
        c.model.network = "patches:Patches"
    c.model.hidden, c.optim.name, c.optim.learning_rate = (30,), "adam", 3e-3
    run = experiment.train_and_evaluate(c, tmp_path / "run")
    assert run.summary["last"]["test/error"] < 0.35
    assert (tmp_path / "run" / "reconstructions.png").exists()
    test = datasets.load(c.data).test
    guess = predict.predict(tmp_path / "run", test.x.reshape(-1, 8, 8)).argmax(1)
    best = run.summary["best"]["test/error"]
    assert np.mean(guess != test.y) == pytest.approx(best, abs=1e-6)
