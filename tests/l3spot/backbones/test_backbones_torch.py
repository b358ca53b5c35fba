"""Each backbone against the same network in PyTorch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l3spot import backbones
from l3spot.backbones import layers, normalisation
from l3spot.backbones.pretrained import name_maps
from l3spot.backbones.pretrained.name_maps import WeightsFile

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from tests.l3spot.backbones import torch_networks  # noqa: E402

pytestmark = pytest.mark.slow  # It runs large networks.


def relative(actual, expected):
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


def image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, height, width, 3)).astype(np.float32)


@torch.no_grad()
def in_torch(part, x):
    return part(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()


def nhwc(features):
    return features.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", backbones.PRETRAINED)
def test_equals_pytorch(name):
    """float32 at the size of the paper's window, float64 at odd sizes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = name != "vgg19"  # Its dense layers are those of VGG16.
        network, b = torch_networks.make(name, whole), backbones.make(name)
        state = {k: v.numpy() for k, v in network.state_dict().items()}
        params = name_maps.arrange(b, WeightsFile(Path(name), state, False), whole)

        x = image(400, 512)
        expected = nhwc(in_torch(network.features, x))
        if whole:
            both = jax.jit(lambda p, x: (b.features(p, x), b.logits(p, x)))
            features, logits = both(params, x)
            assert relative(logits, in_torch(network.logits, x)) < 1e-5
        else:
            features = jax.jit(b.features)(params, x)
        assert features.dtype == np.float32
        assert relative(features, expected) < 1e-5

        trunk = {k: v for k, v in params.items() if not k.startswith("dense")}
        x = image(97, 131).astype(np.float64)
        for key in ("classifier", "fc", "aux1", "aux2"):
            setattr(network, key, None)
        expected = nhwc(in_torch(network.double().features, x))
        with jax.enable_x64(True):
            double = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), trunk)
            features = jax.jit(b.features)(double, x)
            assert features.dtype == np.float64
            assert relative(features, expected) < 1e-12
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["cnn4", "res4"])
def test_our_own_equal_pytorch(name):
    """At odd sizes: CNN4's layers; Res4's and its blocks."""
    b = backbones.make(name)
    params = b.init(jax.random.key(0))
    x = np.random.default_rng(0).uniform(size=(2, 83, 70, 1))
    with jax.enable_x64(True):
        double = jax.tree.map(
            lambda a: jnp.asarray(
                np.random.default_rng(a.size).normal(size=a.shape) / 9
            ),
            params,
        )
        expected = IN_TORCH[name](double, torch.tensor(x.transpose(0, 3, 1, 2)))
        features = b.features(double, jnp.asarray(x))
        assert relative(features, nhwc(expected.numpy())) < 1e-12


def conv_in_torch(layer, y, stride=1):
    kernel = torch.tensor(np.array(layer["kernel"]).transpose(3, 2, 0, 1))
    bias = torch.tensor(np.array(layer["bias"]))
    around = kernel.shape[-1] // 2
    return torch.nn.functional.conv2d(y, kernel, bias, stride, around)


def cnn4_in_torch(params, y):
    for k in range(1, 5):
        y = torch.relu(conv_in_torch(params[f"conv{k}"], y))
        y = torch.nn.functional.max_pool2d(y, 2)
    return y


def res4_in_torch(params, y):
    for k in range(1, 4):
        y = torch.relu(conv_in_torch(params[f"conv{k}"], y, 2 if k == 1 else 1))
        y = torch.nn.functional.max_pool2d(y, 2)
    for k in range(1, 5):
        block = params[f"block{k}"]
        z = torch.relu(conv_in_torch(block["down"], y))
        z = torch.relu(conv_in_torch(block["across"], z))
        y = torch.relu(y + conv_in_torch(block["up"], z))
    return y


IN_TORCH = {"cnn4": cnn4_in_torch, "res4": res4_in_torch}


@pytest.mark.parametrize("size", [7, 8, 9, 12])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2)])
@pytest.mark.parametrize("ceil", [False, True])
def test_max_pools_round_as_pytorchs(size, window, stride, ceil):
    x = -1 - np.random.default_rng(0).uniform(size=(1, size, size + 1, 2))  # Not 0.
    expected = in_torch(torch.nn.MaxPool2d(window, stride, ceil_mode=ceil), x)
    actual = layers.max_pool(jnp.asarray(x), window, stride, ceil)
    np.testing.assert_allclose(actual, nhwc(expected), rtol=1e-6)


@pytest.mark.parametrize("size", [(3, 5), (7, 7), (12, 16), (14, 6)])
def test_average_pools_are_pytorchs(x64, size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3))
    expected = in_torch(torch.nn.AdaptiveAvgPool2d(7), x)
    actual = layers.average_pool(jnp.asarray(x), 7)
    np.testing.assert_allclose(actual, nhwc(expected), atol=1e-14)


def test_googlenets_normalisation_is_transform_input():
    x = np.random.default_rng(0).uniform(size=(1, 4, 5, 3)).astype(np.float32)
    imagenet = np.array(normalisation.IMAGENET(x)).transpose(0, 3, 1, 2)
    expected = torch_networks.transform_input(torch.tensor(imagenet)).numpy()
    actual = backbones.make("googlenet").normalisation(x)
    np.testing.assert_allclose(actual, nhwc(expected), atol=1e-6)
