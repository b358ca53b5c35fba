"""The network of system 1 on a Flax module of the user's, which codes images (ours)."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mtl.engine.task import Params
from mtl.host import plugins
from mtl.host.errors import ConfigError
from mtl.tasks import precision
from mtl.tasks.network import PARAM_DTYPE, Mlp, dense

ROWS = 3  # Of the batch that finds out the size of codes.


@dataclasses.dataclass(frozen=True)
class ModuleNet(Mlp):
    """An `Mlp` with a Flax module as its first layer, without parameters.

    The activation is applied to the module's codes. Its decoder is a dense layer to the
    image, so that the module as a whole has a denoising auto-encoder.

    Attributes:
      shape: of an image.
      module: images [batch, *shape] -> codes [batch, code_size].
      code_size: of the module.
    """

    shape: tuple[int, ...] = ()
    module: nn.Module = dataclasses.field(default_factory=nn.Module)
    code_size: int = 0
    custom_gradients: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        """K: the module, and the hidden layers above it."""
        return 1 + len(self.hidden)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of layers 0 (the input) to K + 1 (the classifier)."""
        return (self.inputs, self.code_size, *self.hidden, self.classes)

    def pre_activation(
        self, params: Params, k: int, x: Float[Array, "batch {self.sizes[k-1]}"]
    ) -> Float[Array, "batch {self.sizes[k]}"]:
        """Layer k before its activation, from x_{k-1}."""
        if k > 1:
            return super().pre_activation(params, k, x)
        layer, x = precision.narrow((self.layer(params, k), x), self.dtype)
        images = x.reshape(x.shape[0], *self.shape)
        return jnp.asarray(self.module.apply({"params": layer}, images))

    def tied_layer(self, k: int) -> bool:
        """Whether decoder k uses the kernel of its layer; the module has none."""
        return k > 1 and self.tied

    def init_layer(self, key: Key[Array, ""], k: int) -> tuple[Params, Params]:
        """Draws layer k, and its decoder."""
        if k > 1:
            return super().init_layer(key, k)
        encoder_key, decoder_key = jax.random.split(key)
        image = jnp.zeros((1, *self.shape), PARAM_DTYPE)
        encoder = self.module.init(encoder_key, image)["params"]
        return encoder, dense(decoder_key, self.code_size, self.inputs, self.init_scale)


def build(
    path: str,
    shape: tuple[int, ...],
    fields: tuple[int, tuple[int, ...], int, str, bool],
    dtype: str,
) -> ModuleNet:
    """Builds the network on the module of `config.model.network`.

    Args:
      path: of the module's class, or of a function that returns one, such as
        "package.module:Encoder"; it is called without arguments.
      shape: of one image.
      fields: those of `Mlp`.
      dtype: that of `Mlp`.

    Raises:
      ConfigError: it is no such module, or maps images to no codes.
    """
    must = f"config.model.network={path!r} must be a Flax module"
    module = load(path)
    try:
        codes, variables = jax.eval_shape(
            module.init_with_output,
            jax.random.key(0),
            jax.ShapeDtypeStruct((ROWS, *shape), PARAM_DTYPE),
        )
    except Exception as e:  # It runs the user's code.
        raise ConfigError(f"{must} for images {[ROWS, *shape]}: {e}") from e
    others = sorted(set(variables) - {"params"})
    if others or "params" not in variables:
        what = f"also {', '.join(others)}" if others else "none"
        raise ConfigError(f"{must} with parameters alone; it has {what}")
    if getattr(codes, "ndim", None) != 2 or codes.shape[0] != ROWS:
        raise ConfigError(
            f"{must} that maps images {[ROWS, *shape]} to codes [{ROWS}, size]; it "
            f"returns {jax.tree.map(lambda a: list(a.shape), codes)}"
        )
    inputs, hidden, classes, activation, tied = fields
    return ModuleNet(
        *(inputs, hidden, classes, activation, tied),
        *(shape, module, codes.shape[1]),
        dtype=dtype,
    )


def load(path: str) -> nn.Module:
    """Makes the module of a path.

    Raises:
      ConfigError: there is none.
    """
    make = plugins.load(path, "model.network")
    try:
        module = make()
    except Exception as e:  # It runs the user's code.
        raise ConfigError(
            f"config.model.network={path!r} is called without arguments: {e}"
        ) from e
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"config.model.network={path!r} must be or return a Flax module "
            f"(flax.linen), not {type(module).__name__}"
        )
    return module
