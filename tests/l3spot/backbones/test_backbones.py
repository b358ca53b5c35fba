"""Parameters, features and input of the backbones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l3spot import backbones
from l3spot.backbones import layers, normalisation
from mtl.engine.task import unflatten

# Parameters of the trunks, without the statistics of norms.
COUNTS = {
    "cnn4": 54_720,
    "res4": 307_200,
    "alexnet": 2_469_696,
    "vgg16": 14_714_688,
    "vgg19": 20_024_384,
    "googlenet": 5_599_904,
}
WINDOWS = {
    "cnn4": (25, 32, 96),
    "res4": (25, 32, 128),
    "alexnet": (11, 15, 256),
    "vgg16": (12, 16, 512),
    "vgg19": (12, 16, 512),
    "googlenet": (13, 16, 1024),
}


def features_shape(b, height, width, *step):
    x = jax.ShapeDtypeStruct((1, height, width, len(b.normalisation.mean)), np.float32)
    shapes = unflatten(b.shapes())
    return jax.eval_shape(lambda p, x: b.features(p, x, *step), shapes, x).shape


@pytest.mark.parametrize("name", backbones.NAMES)
def test_parameters_and_features_of_the_papers_window(name):
    b = backbones.make(name)
    moved = {k: v for k, v in b.shapes().items() if not k.endswith(("mean", "var"))}
    assert sum(v.size for v in moved.values()) == COUNTS[name]
    assert features_shape(b, 400, 512) == (1, *WINDOWS[name])
    assert b.channels == WINDOWS[name][-1]
    # A shift by one stride is a shift by one feature.
    assert features_shape(b, 400 + b.stride, 512)[1] == WINDOWS[name][0] + 1


@pytest.mark.parametrize("name", backbones.NAMES)
def test_features_of_all_phases(name):
    """`test_window_search.py` tests their values."""
    b = backbones.make(name)
    rows = features_shape(b, 400, 176)[1]
    for step in (max(b.min_output_stride, 2), 8, b.stride):
        phases, high, *_ = features_shape(b, 400, 176, step)
        assert phases == b.stride // step
        assert rows - 1 <= high <= rows


@pytest.mark.parametrize(("size", "ceil"), [(2, False), (3, False), (3, True)])
def test_a_split_pool_keeps_both_phases(size, ceil):
    x = jax.random.normal(jax.random.key(0), (3, 13, 9, 2))
    split = layers.max_pool(x, size, 2, ceil, split=True)
    for i, actual in enumerate((split[:3], split[3:])):
        expected = layers.max_pool(x[:, i:], size, 2, ceil)
        np.testing.assert_array_equal(actual, expected[:, : actual.shape[1]])
        assert expected.shape[1] - actual.shape[1] in (0, 1)


def test_norm_has_googlenets_epsilon_and_constant_statistics():
    """With a variance of 0, epsilon alone determines the scale."""
    params = {"scale": 2.0, "bias": 1.0, "mean": 3.0, "var": 0.0}
    tree = {k: jnp.full(4, v) for k, v in params.items()}

    def norm(p):
        return layers.Norm().apply({"params": p}, jnp.full((1, 4), 5.0)).sum()

    assert norm(tree) == pytest.approx(4 * (1 + 2 * 2 / 1e-3**0.5), rel=1e-5)
    slopes = {k: float(abs(v).sum()) for k, v in jax.grad(norm)(tree).items()}
    assert slopes["mean"] == slopes["var"] == 0
    assert slopes["scale"] > 0
    assert slopes["bias"] == 4


def test_grey_images_and_colours():
    grey = np.full((1, 2, 2, 1), 0.5, np.float32)
    caffe = normalisation.CAFFE(grey)[0, 0, 0]
    expected = 127.5 - np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(caffe, expected, rtol=1e-6)
    red = np.array([1.0, 0, 0], np.float32)
    np.testing.assert_allclose(
        normalisation.CAFFE(red), [-103.939, -116.779, 255 - 123.68], rtol=1e-6
    )
    np.testing.assert_allclose(
        normalisation.IMAGENET(red)[0], (1 - 0.485) / 0.229, rtol=1e-6
    )
    assert normalisation.GREY(grey).shape == (1, 2, 2, 1)
    assert normalisation.IMAGENET(grey).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"channels": "RGB"}'])
def test_broken_normalisations_are_refused(text):
    for n in (normalisation.CAFFE, normalisation.GREY):
        assert normalisation.from_json(n.to_json()) == n
    with pytest.raises(ValueError):  # noqa: PT011
        normalisation.from_json(text)


def test_random_parameters_let_signals_through():
    b = backbones.make("cnn4")
    params = b.init(jax.random.key(1))
    y = b.features(params, jax.random.normal(jax.random.key(2), (1, 64, 64, 1)))
    assert 0.3 < float(y.std()) < 3
    assert params["conv3"]["kernel"].std() == pytest.approx(
        (2 / 9 / 24) ** 0.5, rel=0.05
    )
    again = b.init(jax.random.key(1))
    assert (again["conv4"]["kernel"] == params["conv4"]["kernel"]).all()
