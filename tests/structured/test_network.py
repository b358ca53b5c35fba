import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mtl.engine.task import flatten
from mtl.host import exporting
from structured import assemble
from structured import config as configs
from structured.autoencoder import ConvAutoEncoder
from tests.structured import reference
from tests.structured.reference import Side

PARTS = {"encoder_in", "decoder_in", "link", "encoder_out", "decoder_out"}
SHAPE, OUTPUTS = (8, 4), 6
# (half that has the kernels of a tied auto-encoder, other half); M uses the first.
HALVES = {"in": ("encoder_in", "decoder_in"), "out": ("decoder_out", "encoder_out")}


def model(encoder="mlp", **fields):
    c = configs.default().model
    c.encoder, c.input, c.link, c.output = encoder, (7, 5), (6, 4), (5, 3)
    c.channels, c.strides = (3, 2), (2, 1)
    c.update(fields)
    return c


def untied(encoder="mlp", **fields):
    return model(encoder, tied_input=False, tied_output=False, **fields)


def values(net, seed=0):
    """Returns random parameters, so that no bias is 0."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.5, a.shape)), shapes)


@functools.partial(jax.jit, static_argnums=0)
def init(net, key):
    return net.init(key)


def initial(net, seed=0):
    return init(net, jax.random.key(seed))


def make(c, shape=SHAPE, outputs=OUTPUTS):
    return assemble.build_network(ConfigDict({"model": c}), shape, outputs)


def examples(rows=3):
    rng = np.random.default_rng(1)
    return rng.uniform(size=(rows, *SHAPE)), rng.uniform(size=(rows, OUTPUTS))


def sides(c):
    strides = tuple(c.strides) if c.encoder == "cnn" else None
    return (
        Side("in", c.input_activation, c.x_activation, strides, SHAPE),
        Side("out", c.output_activation, c.y_activation, None, (OUTPUTS,)),
    )


@pytest.mark.parametrize(("encoder", "code"), [("mlp", 5), ("cnn", 4 * 2 * 2)])
@pytest.mark.parametrize("tied", [True, False])
def test_shapes_of_the_parts(encoder, code, tied):
    net = make(model(encoder, tied_input=tied, tied_output=tied))
    params = jax.eval_shape(net.init, jax.random.key(0))
    assert set(params) == PARTS

    def shape(part, *rows):
        args = [jax.ShapeDtypeStruct(row, np.float32) for row in rows]
        return jax.eval_shape(part, params, *args).shape

    assert shape(net.encoder_in, (9, *SHAPE)) == (9, code)
    assert shape(net.decoder_in, (9, code)) == (9, *SHAPE)
    assert shape(net.link, (9, code)) == (9, 3)
    assert shape(net.encoder_out, (9, OUTPUTS)) == (9, 3)
    assert shape(net.decoder_out, (9, 3)) == (9, OUTPUTS)
    assert shape(net.main, (9, *SHAPE)) == (9, OUTPUTS)


def test_the_papers_network():
    net = make(configs.default().model, (50, 50), 136)
    params = jax.eval_shape(net.init, jax.random.key(0))
    assert {k: v.shape for k, v in flatten(params).items() if "kernel" in k} == {
        "encoder_in/1/kernel": (2500, 1025),
        "link/1/kernel": (1025, 512),
        "link/2/kernel": (512, 64),
        "decoder_out/1/kernel": (64, 136),
    }
    assert {k: v.shape for k, v in flatten(params).items() if "bias" in k} == {
        "encoder_in/1/bias": (1025,),
        "decoder_in/1/bias": (2500,),
        "link/1/bias": (512,),
        "link/2/bias": (64,),
        "encoder_out/1/bias": (64,),
        "decoder_out/1/bias": (136,),
    }


UNITS = [
    {},
    {"input_activation": "relu", "link_activation": "linear"},
    {"x_activation": "linear", "y_activation": "sigmoid", "output_activation": "relu"},
]


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("units", UNITS, ids=str)
def test_the_parts_equal_the_reference(x64, encoder, tied, units):
    c = model(encoder, tied_input=tied, tied_output=tied, **units)
    net, (x, y) = make(c), examples()
    params = values(net)
    p = {k: np.asarray(v) for k, v in flatten(params).items()}
    side_in, side_out = sides(c)
    acts = [c.link_activation, c.link_activation, c.output_activation]
    code_x, code_y = reference.encode(p, side_in, x), reference.encode(p, side_out, y)
    expected_values = {
        net.encoder_in: (x, code_x),
        net.decoder_in: (code_x.real, reference.decode(p, side_in, code_x)),
        net.link: (code_x.real, reference.link(p, code_x, acts)),
        net.encoder_out: (y, code_y),
        net.decoder_out: (code_y.real, reference.decode(p, side_out, code_y)),
        net.main: (x, reference.main(p, x, side_in, side_out, acts)),
    }
    for part, (given, expected) in expected_values.items():
        ours = part(params, jnp.asarray(given))
        np.testing.assert_allclose(ours, expected.real, 1e-10, 1e-12)


def test_a_reconstruction_has_the_shape_of_x():
    """One row of x has one dimension or three."""
    for shape in ((10,), (2, 3, 2)):
        net = make(model(), shape, OUTPUTS)

        def back(key, x, net=net):
            params = net.init(key)
            return net.decoder_in(params, net.encoder_in(params, x))

        shape_of_x = jax.eval_shape(back, jax.random.key(0), jnp.ones((1, *shape)))
        assert shape_of_x.shape == (1, *shape)


# Tied halves


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
@pytest.mark.parametrize("side", HALVES)
def test_only_the_half_in_the_main_network_has_matrices(encoder, side):
    c = untied(encoder)
    c[f"tied_{side}put"] = True
    params = flatten(jax.eval_shape(make(c).init, jax.random.key(0)))
    free = flatten(jax.eval_shape(make(untied(encoder)).init, jax.random.key(0)))
    other = HALVES[side][1]
    assert len([k for k in free if k.startswith(other) and "kernel" in k]) == 2
    lost = {f"{other}/1/kernel", f"{other}/2/kernel"}
    assert free.keys() - params.keys() == lost
    assert {k: v.shape for k, v in params.items()} == {
        k: v.shape for k, v in free.items() if k not in lost
    }


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
@pytest.mark.parametrize("side", HALVES)
@pytest.mark.parametrize("layer", ["1", "2"])
def test_a_change_of_the_shared_matrix_changes_both_halves(encoder, side, layer):
    net = make(model(encoder))
    params = values(net)
    rows = dict(zip(("in", "out"), map(jnp.asarray, examples()), strict=True))[side]
    encode, decode = getattr(net, f"encoder_{side}"), getattr(net, f"decoder_{side}")
    code = encode(params, rows)
    changed = jax.tree.map(lambda a: a, params)
    changed[HALVES[side][0]][layer]["kernel"] += 0.1
    assert np.abs(encode(changed, rows) - code).max() > 1e-3
    assert np.abs(decode(changed, code) - decode(params, code)).max() > 1e-3


def separated(params, encoder):
    """Returns untied parameters of the same functions."""
    params = jax.tree.map(lambda a: a, params)
    for side, (half, other) in HALVES.items():
        for k, layer in params[half].items():
            dense = side == "out" or encoder == "mlp"
            kernel = layer["kernel"].T if dense else layer["kernel"]
            params[other][k]["kernel"] = kernel
    return params


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
def test_tied_gradients_are_the_sum_of_both_halves(x64, encoder):
    nets = make(model(encoder)), make(untied(encoder))
    x, y = map(jnp.asarray, examples())
    tied = values(nets[0])
    free = separated(tied, encoder)

    def loss(params, net):
        back_x = net.decoder_in(params, net.encoder_in(params, x))
        back_y = net.decoder_out(params, net.encoder_out(params, y))
        return jnp.square(back_x - x).sum() + jnp.square(back_y - y).sum()

    ours, theirs = (
        jax.value_and_grad(loss)(p, net)
        for p, net in zip((tied, free), nets, strict=True)
    )
    np.testing.assert_allclose(ours[0], theirs[0], 1e-12)
    for side, (half, other) in HALVES.items():
        for k in ("1", "2"):
            one, two = theirs[1][half][k]["kernel"], theirs[1][other][k]["kernel"]
            two = two.T if side == "out" or encoder == "mlp" else two
            assert min(np.abs(one).max(), np.abs(two).max()) > 1e-3
            tied_gradient = ours[1][half][k]["kernel"]
            np.testing.assert_allclose(tied_gradient, one + two, 1e-10, 1e-12)
            for name in (half, other):
                biases = [g[1][name][k]["bias"] for g in (ours, theirs)]
                np.testing.assert_allclose(*biases, 1e-10, 1e-12)


# Initial values


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
def test_parameters_are_float32_with_x64(x64, encoder):
    shapes = jax.eval_shape(make(untied(encoder)).init, jax.random.key(0))
    assert {a.dtype for a in jax.tree.leaves(shapes)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
def test_an_exported_network_takes_any_number_of_examples(encoder, tmp_path):
    net = make(model(encoder))
    params, path = values(net), tmp_path / "network.jax"
    exporting.write(path, lambda x: net.main(params, x), SHAPE)
    exported = jax.export.deserialize(path.read_bytes())
    for rows in (1, 20):
        x = jnp.asarray(np.random.default_rng(rows).normal(size=(rows, *SHAPE)))
        found = exported.call(x.astype(jnp.float32))
        np.testing.assert_allclose(found, net.main(params, x), 1e-4, 1e-6)


def check_range(kernel, bound):
    """Checks that a kernel looks like draws from U(-bound, bound)."""
    assert np.abs(kernel).max() <= bound * (1 + 1e-6)
    assert kernel.max() > 0.97 * bound
    assert kernel.min() < -0.97 * bound
    np.testing.assert_allclose(kernel.std(), bound / 3**0.5, rtol=0.05)
    assert abs(kernel.mean()) < 0.05 * bound


def glorot(below, above, scale):
    return scale * (6 / (below + above)) ** 0.5


def test_dense_ranges():
    c = untied(input=(60, 50), link=(40, 45), output=(30, 35))
    params = initial(make(c, (5, 8), 64))
    kernels = {k: v for k, v in flatten(params).items() if k.endswith("kernel")}
    expected_values = {
        # The factor is 4 for sigmoid units; the codes of y are tanh units.
        "encoder_in/1": (40, 60, 4),
        "encoder_in/2": (60, 50, 4),
        "decoder_in/2": (50, 60, 4),
        "decoder_in/1": (60, 40, 4),
        "link/1": (50, 40, 4),
        "link/2": (40, 45, 4),
        "link/3": (45, 35, 1),
        "encoder_out/1": (64, 30, 1),
        "encoder_out/2": (30, 35, 1),
        "decoder_out/2": (35, 30, 1),
        "decoder_out/1": (30, 64, 1),
    }
    assert {k.removesuffix("/kernel") for k in kernels} == set(expected_values)
    for name, (below, above, scale) in expected_values.items():
        kernel = np.asarray(kernels[f"{name}/kernel"])
        assert kernel.shape == (below, above)
        check_range(kernel, glorot(below, above, scale))


def test_ranges_for_other_activations():
    c = untied(input=(60,), link=(), output=(40,), x_activation="linear")
    c.input_activation, c.output_activation, c.y_activation = "relu", "tanh", "sigmoid"
    params = initial(make(c, (50,), 64))
    expected_values = {
        "encoder_in": (50, 60, 2**0.5),
        "decoder_in": (60, 50, 1),
        "link": (60, 40, 1),
        "encoder_out": (64, 40, 1),
        "decoder_out": (40, 64, 4),
    }
    for name, shape in expected_values.items():
        check_range(np.asarray(params[name]["1"]["kernel"]), glorot(*shape))


def test_convolutions_start_in_the_range_of_their_activations():
    """sqrt(3 / fan-in), times sqrt(2) for relu (He) and 4 for sigmoid."""
    c = untied("cnn", channels=(32, 16), strides=(2, 1), input_activation="relu")
    params = initial(make(c, SHAPE, 2))
    expected_values = {
        "encoder_in/1": ((9, 32), (6 / 9) ** 0.5),
        "encoder_in/2": ((9 * 32, 16), (6 / (9 * 32)) ** 0.5),
        # A pixel of the reconstruction has 9 inputs; at stride 2, a quarter of them.
        "decoder_in/2": ((9 * 32, 16), (6 / (9 * 16)) ** 0.5),
        "decoder_in/1": ((9, 32), 4 * (3 / (9 * 32 / 4)) ** 0.5),
    }
    for name, (shape, bound) in expected_values.items():
        kernel = np.asarray(flatten(params)[f"{name}/kernel"])
        assert kernel.shape == shape
        check_range(kernel, bound)


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
def test_biases_start_at_0(encoder):
    params = flatten(initial(make(untied(encoder))))
    biases = [v for k, v in params.items() if k.endswith("bias")]
    assert len(biases) == 11
    assert not any(np.any(b) for b in biases)


@pytest.mark.parametrize("encoder", ["mlp", "cnn"])
def test_a_seed_gives_the_same_matrices_tied_or_not(encoder):
    tied = flatten(initial(make(model(encoder)), 3))
    free = flatten(initial(make(untied(encoder)), 3))
    for name, value in tied.items():
        np.testing.assert_array_equal(value, free[name])
    other = flatten(initial(make(model(encoder)), 4))
    names = [k for k in tied if k.endswith("kernel")]
    assert all(np.abs(other[k] - tied[k]).max() > 1e-3 for k in names)


def test_no_two_matrices_start_alike():
    c = untied(input=(5, 5, 5), link=(5, 5), output=(5, 5))
    params = flatten(initial(make(c, (5,), 5)))
    kernels = [v for k, v in params.items() if k.endswith("kernel")]
    bare = [np.asarray(k / np.abs(k).max()).ravel() for k in kernels]
    assert len(bare) == 13
    shared = np.abs(np.corrcoef(bare)) - np.eye(13)
    assert shared.max() < 0.9


@pytest.mark.parametrize("kernel_half", [None, "encoder", "decoder"])
def test_convolutional_auto_encoders_with_kernels_in_each_half(kernel_half):
    made = ConvAutoEncoder((8, 4), "relu", "sigmoid", kernel_half, (3, 5), (2, 2))
    params = initial(made)
    assert made.code_size == 2 * 1 * 5
    for name, half in params.items():
        has = {"kernel" in layer for layer in half.values()}
        assert has == {kernel_half in (None, name)}
    x = jnp.asarray(np.random.default_rng(5).normal(size=(2, 8, 4)))
    code = made.encode(params, x)
    assert code.shape == (2, made.code_size)
    back = made.decode(params, code)
    assert back.shape == x.shape
    assert 0 < float(back.min()) < float(back.max()) < 1
