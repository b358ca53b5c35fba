"""The network that tells how far L3 is, for all windows of a picture at once.

A window is `HEIGHT` pixels high and as wide as the picture. A trunk of convolutions
makes features of the whole picture, one row for each `stride` pixels, and a dense layer
sees those of a window: windows that overlap share the trunk. The features near a
window's edge know what is beyond it, where a window of its own would end in zeros.

    params = {"trunk": the backbone's, "head": {kernel [rows, w * channels], bias []}}
"""

import dataclasses
from functools import cached_property

import jax
import jax.numpy as jnp

from l3spot import backbones
from l3spot.backbones import Backbone, normalisation
from l3spot.backbones.layers import WHOLE
from l3spot.backbones.normalisation import Normalisation
from l3spot.localize.preprocess import HEIGHT, WIDTH
from mtl.engine.task import Params

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Network:
    """A backbone and one dense layer; what it is, without parameters.

    Attributes:
      name: of the backbone, one of `backbones.NAMES`.
      input: what the trunk's input must be.
      dtype: that the trunk computes in; parameters and outputs are float32.
    """

    name: str = "cnn4"
    input: Normalisation = normalisation.PLAIN
    dtype: str = "float32"

    @property
    def backbone(self) -> Backbone:
        """The convolutions."""
        return backbones.make(self.name)

    @property
    def stride(self) -> int:
        """Pixels from a row of features to the next, and so between windows."""
        return self.backbone.stride

    @cached_property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the features of a window."""
        x = jax.ShapeDtypeStruct((1, HEIGHT, WIDTH), jnp.float32)
        trunk = jax.eval_shape(self.backbone.init, jax.random.key(0))
        _, rows, columns, _ = jax.eval_shape(self.features, trunk, x).shape
        return rows, columns

    def init(self, key: jax.Array, trunk: Params | None = None) -> Params:
        """Random parameters, or with a trunk that is given."""
        trunk_key, head = jax.random.split(key)
        rows, columns = self.sides
        size = columns * self.backbone.channels
        kernel = jax.random.normal(head, (rows, size)) * (rows * size) ** -0.5
        return {
            "trunk": trunk or self.backbone.init(trunk_key),
            "head": {"kernel": kernel, "bias": jnp.zeros(())},
        }

    def outputs(self, params: Params, x: jax.Array) -> jax.Array:
        """[B, T], for windows whose first rows are 0, stride, ... of x [B, H, WIDTH].

        In units of the reach a: 1 says that L3 is a below the window's middle.
        """
        return self.tell(params["head"], self.features(params["trunk"], x))

    def phases(self, params: Params, x: jax.Array, step: int) -> jax.Array:
        """[stride / step, T]: as `outputs`, of x [H, WIDTH] from row 0, `step`, ..."""
        y = self.features(params["trunk"], x[None], step)
        return self.tell(params["head"], y)

    def features(self, trunk: Params, x: jax.Array, step: int = WHOLE) -> jax.Array:
        """[B, h, w, channels] of x [B, H, W] in [0, 1]; see `Backbone.features`."""
        given = self.input(x[..., None]).astype(self.dtype)
        cast = jax.tree.map(lambda p: p.astype(self.dtype), trunk)
        return self.backbone.features(cast, given, step).astype(x.dtype)

    def tell(self, head: Params, y: jax.Array) -> jax.Array:
        """[B, T] of features [B, h, w, channels]."""
        size = self.sides[0]
        # [B, h, rows]: what each row of features adds as each row of a window.
        rows = y.reshape(*y.shape[:2], -1) @ head["kernel"].T
        count = y.shape[1] - size + 1
        total = sum(rows[:, i : i + count, i] for i in range(size))
        return total + head["bias"]


CNN4 = Network()


def make(name: str, dtype: str = "float32") -> Network:
    """The network on a backbone, with the input that the backbone is made for."""
    return Network(name, backbones.make(name).normalisation, dtype)
