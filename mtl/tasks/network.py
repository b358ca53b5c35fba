"""The network of system 1: an MLP classifier; its layers also encode and decode.

    params = {"encoder":    {"1": {kernel [784, 80], bias [80]}, "2": ...},
              "decoder":    {"1": {bias [784], and kernel [80, 784] if untied}, ...},
              "classifier": {kernel [50, 10], bias [10]}}

Layer k codes x_{k-1} to x_k; decoder k leads from x_k back to x_{k-1}. A tied decoder
has no matrix of its own and uses the transpose of its layer's.

With batch normalisation there is beside, for each layer up to the classifier, K + 1,

    "statistics": {"1": {mean [80], variance [80]}, ...}

of its products with the kernel. No task trains them: in training, mini-batches have
statistics of their own (`normed`). The classifier then has a `gain` [10], too.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from mtl.engine.cpu.products import matmul
from mtl.engine.task import Params

NORMS = ("none", "batch")
EPSILON = 1e-5  # Ours: is added to variances.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
}


def init(
    key: jax.Array,
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    activation: str = "tanh",
    tied: bool = True,
    dtype: jnp.dtype = jnp.float32,
    norm: str = "none",
) -> Params:
    """Weights from U(±sqrt(6 / (fan_in + fan_out))), four times that for sigmoid units.

    Biases are 0, gains 1. Each matrix has a key of its own, so encoder and classifier
    are the same with tied and with untied decoders.
    """
    scale = 4.0 if activation == "sigmoid" else 1.0
    sizes = [inputs, *hidden]
    encoder, decoder = {}, {}
    for k, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        forth, back = jax.random.split(jax.random.fold_in(key, k))
        encoder[str(k)] = dense(forth, fan_in, fan_out, scale, dtype)
        decoder[str(k)] = dense(back, fan_out, fan_in, scale, dtype)
        if tied:
            del decoder[str(k)]["kernel"]
    # Softmax is no sigmoid: the classifier keeps the plain range.
    classifier = dense(jax.random.fold_in(key, 0), sizes[-1], classes, 1.0, dtype)
    params = {"encoder": encoder, "decoder": decoder, "classifier": classifier}
    if norm == "batch":
        classifier["gain"] = jnp.ones(classes, dtype)
        params["statistics"] = {
            str(k): {"mean": jnp.zeros(n, dtype), "variance": jnp.ones(n, dtype)}
            for k, n in enumerate([*hidden, classes], start=1)
        }
    return params


def layers(params: Params) -> list[Params]:
    """The layers from the input to the logits, each with its statistics, if any."""
    found = [*(params["encoder"][str(k)] for k in range(1, len(params["encoder"]) + 1))]
    found.append(params["classifier"])
    if "statistics" not in params:
        return found
    return [f | params["statistics"][str(k)] for k, f in enumerate(found, start=1)]


def encode(params: Params, x: jax.Array, activation: str) -> list[jax.Array]:
    """[x_0, x_1, ..., x_K] from x [B, inputs]: the input and every hidden layer."""
    act, coded = ACTIVATIONS[activation], [x]
    for layer in layers(params)[:-1]:
        coded.append(act(affine(layer, coded[-1])))
    return coded


def decode(params: Params, k: int, code: jax.Array) -> jax.Array:
    """Pre-activations [B, size of x_{k-1}] of decoder k from codes [B, size of x_k]."""
    decoder = params["decoder"][str(k)]
    kernel = decoder.get("kernel", params["encoder"][str(k)]["kernel"].T)
    return code @ kernel + decoder["bias"]


def code(params: Params, k: int, x: jax.Array, activation: str) -> jax.Array:
    """Layer k alone: [B, size of x_k] from [B, size of x_{k-1}]."""
    return ACTIVATIONS[activation](affine(params["encoder"][str(k)], x))


def logits(params: Params, x: jax.Array, activation: str) -> jax.Array:
    """[B, classes] from x [B, inputs], before the softmax."""
    return affine(layers(params)[-1], encode(params, x, activation)[-1])


def affine(layer: Params, x: jax.Array) -> jax.Array:
    """[B, fan_out] pre-activations from x [B, fan_in], normalised if there is how."""
    z = matmul(x, layer["kernel"])
    if "variance" in layer:
        z = (z - layer["mean"]) / jnp.sqrt(layer["variance"] + EPSILON)
    z = z + layer["bias"]
    return z * layer["gain"] if "gain" in layer else z


def dense(
    key: jax.Array,
    fan_in: int,
    fan_out: int,
    scale: float = 1.0,
    dtype: jnp.dtype = jnp.float32,
) -> Params:
    """A layer: kernel from U(±scale sqrt(6 / (fan_in + fan_out))), bias 0."""
    kernel = jax.nn.initializers.glorot_uniform()(key, (fan_in, fan_out), dtype)
    return {"kernel": scale * kernel, "bias": jnp.zeros(fan_out, dtype)}
