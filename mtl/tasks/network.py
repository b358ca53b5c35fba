"""The network of system 1: an MLP classifier; its layers also encode and decode.

    params = {"encoder":    {"1": {kernel [784, 80], bias [80]}, "2": ...},
              "decoder":    {"1": {bias [784], and kernel [80, 784] if untied}, ...},
              "classifier": {kernel [50, 10], bias [10]}}

Layer k codes x_{k-1} to x_k, and the classifier is layer K + 1. Decoder k leads from
x_k to x_{k-1}. A tied decoder has no kernel and uses the transpose of its layer's.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from mtl.engine.cpu.products import matmul
from mtl.engine.task import Params
from mtl.tasks import precision

NORMS = ("none", "batch")
PARAM_DTYPE = jnp.float32  # Also where JAX has x64 enabled; Flax has the same default.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
}
# [-1, 1], [0, 1], and from 0 on.
RANGES = {"tanh": "symmetric", "sigmoid": "unit", "relu": "positive"}


@dataclasses.dataclass(frozen=True)
class Mlp:
    """An MLP classifier, without parameters.

    Attributes:
      inputs: the number of inputs.
      hidden: the sizes of the hidden layers 1 to K.
      classes: the number of classes.
      activation: of the hidden layers, one of ACTIVATIONS.
      tied: whether decoders use the kernels of their layers.
      dtype: of products and activations, one of `precision.DTYPES`. Logits and decoded
        layers are float32.
    """

    inputs: int
    hidden: tuple[int, ...]
    classes: int
    activation: str = "tanh"
    tied: bool = True
    dtype: str = dataclasses.field(default="float32", kw_only=True)
    # Whether layers may have gradients with gradients of their own (`jax.custom_vjp`).
    custom_gradients: ClassVar[bool] = False

    @property
    def depth(self) -> int:
        """K, the number of hidden layers."""
        return len(self.hidden)

    @property
    def init_scale(self) -> float:
        """The factor of the range of initial kernels, but not of the classifier's."""
        return 4.0 if self.activation == "sigmoid" else 1.0

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of layers 0 (the input) to K + 1 (the classifier)."""
        return (self.inputs, *self.hidden, self.classes)

    def init(self, key: Key[Array, ""]) -> Params:
        """Draws kernels from U(±sqrt(6 / (fan_in + fan_out))), sigmoid: 4 times that.

        Biases are 0. Each kernel has a key of its own, so encoder and classifier are
        the same with tied and with untied decoders.
        """
        encoder, decoder = {}, {}
        for k in range(1, self.depth + 1):
            layer, reverse = self.init_layer(jax.random.fold_in(key, k), k)
            if self.tied_layer(k):
                del reverse["kernel"]
            encoder[str(k)], decoder[str(k)] = layer, reverse
        # Softmax is no sigmoid: the classifier keeps the plain range.
        classifier = dense(jax.random.fold_in(key, 0), *self.sizes[-2:])
        return {"encoder": encoder, "decoder": decoder, "classifier": classifier}

    def init_layer(self, key: Key[Array, ""], k: int) -> tuple[Params, Params]:
        """Draws layer k, and its decoder as if it were untied."""
        encoder_key, decoder_key = jax.random.split(key)
        below, above, scale = self.sizes[k - 1], self.sizes[k], self.init_scale
        return (
            dense(encoder_key, below, above, scale),
            dense(decoder_key, above, below, scale),
        )

    def tied_layer(self, k: int) -> bool:
        """Whether decoder k uses the kernel of its layer."""
        return self.tied

    def encode(
        self, params: Params, x: Float[Array, "batch {self.inputs}"]
    ) -> list[Float[Array, "batch _"]]:
        """[x_0, x_1, ..., x_K]: the input and every hidden layer."""
        layers = [x]
        for k in range(1, self.depth + 1):
            layers.append(self.code(params, k, layers[-1]))
        return layers

    def code(
        self, params: Params, k: int, x: Float[Array, "batch {self.sizes[k-1]}"]
    ) -> Float[Array, "batch {self.sizes[k]}"]:
        """Layer k alone: x_k from x_{k-1}."""
        return ACTIVATIONS[self.activation](self.pre_activation(params, k, x))

    def decode(
        self, params: Params, k: int, code: Float[Array, "batch {self.sizes[k]}"]
    ) -> Float[Array, "batch {self.sizes[k-1]}"]:
        """Decoder k, before its activation: x_{k-1} from x_k."""
        decoder = params["decoder"][str(k)]
        tied = self.tied_layer(k)
        kernel = params["encoder"][str(k)]["kernel"].T if tied else decoder["kernel"]
        operands = code, kernel, decoder["bias"]
        code, kernel, bias = precision.narrow(operands, self.dtype)
        return precision.widen(code @ kernel + bias)

    def target_range(self, k: int) -> str:
        """The range of x_{k-1}, the target of decoder k; inputs lie in [0, 1]."""
        return "unit" if k == 1 else RANGES[self.activation]

    def logits(
        self, params: Params, x: Float[Array, "batch {self.inputs}"]
    ) -> Float[Array, "batch {self.classes}"]:
        """The classifier's outputs, before the softmax."""
        top = self.encode(params, x)[-1]
        return precision.widen(self.pre_activation(params, self.depth + 1, top))

    def training_logits(
        self,
        params: Params,
        x: Float[Array, "batch {self.inputs}"],
        valid: Bool[Array, " batch"],
        key: Key[Array, ""],
    ) -> Float[Array, "batch {self.classes}"]:
        """`logits` in training; here the same.

        Args:
          params: see the module.
          x: the images.
          valid: the rows that count in statistics of the mini-batch.
          key: of the noise.
        """
        del valid, key
        return self.logits(params, x)

    def layer(self, params: Params, k: int) -> Params:
        """The parameters of layer k; K + 1 is the classifier."""
        classifies = k > self.depth
        return params["classifier"] if classifies else params["encoder"][str(k)]

    def pre_activation(
        self, params: Params, k: int, x: Float[Array, "batch {self.sizes[k-1]}"]
    ) -> Float[Array, "batch {self.sizes[k]}"]:
        """Layer k before its activation, from x_{k-1}."""
        return affine(*precision.narrow((self.layer(params, k), x), self.dtype))


def affine(
    layer: Params, x: Float[Array, "batch fan_in"]
) -> Float[Array, "batch fan_out"]:
    """Multiplies x by the layer's kernel, and adds its bias."""
    return matmul(x, layer["kernel"]) + layer["bias"]


def dense(key: Key[Array, ""], fan_in: int, fan_out: int, scale: float = 1.0) -> Params:
    """A layer: kernel from U(±scale sqrt(6 / (fan_in + fan_out))), bias 0."""
    draw = jax.nn.initializers.glorot_uniform(dtype=PARAM_DTYPE)
    kernel = scale * draw(key, (fan_in, fan_out))
    return {"kernel": kernel, "bias": jnp.zeros(fan_out, PARAM_DTYPE)}
