"""The network that estimates the offset of L3 for all windows of an image at once.

A window is `HEIGHT_PX` high and as wide as the image. A trunk of convolutions computes
features of the whole image, one row of features for each `stride` pixels. A dense layer
is applied to the features of each window. Overlapping windows share the trunk, so the
features near a window's edge also depend on pixels outside the window, where a window
that is computed on its own has zeros.

    params = {"trunk": the backbone's, "head": {kernel [rows, w * channels], bias []}}
"""

import dataclasses
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from l3spot import backbones
from l3spot.backbones import Backbone, normalisation
from l3spot.backbones.layers import UNSPLIT
from l3spot.backbones.normalisation import Normalisation
from l3spot.localize.preprocess import HEIGHT_PX, WIDTH_PX
from mtl.engine.task import Params


@dataclasses.dataclass(frozen=True)
class Network:
    """A backbone with one dense layer, without parameters.

    Attributes:
      name: of the backbone, one of `backbones.NAMES`.
      input: the normalisation of the trunk's input.
      dtype: of the trunk's computations; parameters and outputs are float32.
    """

    name: str = "cnn4"
    input: Normalisation = normalisation.GREY
    dtype: str = "float32"

    @property
    def backbone(self) -> Backbone:
        """The trunk's convolutions."""
        return backbones.make(self.name)

    @property
    def stride(self) -> int:
        """Pixels from one row of features to the next."""
        return self.backbone.stride

    @cached_property
    def window_features(self) -> tuple[int, int]:
        """Rows and columns of the features of one window."""
        x = jax.ShapeDtypeStruct((1, HEIGHT_PX, WIDTH_PX), jnp.float32)
        trunk = jax.eval_shape(self.backbone.init, jax.random.key(0))
        _, rows, columns, _ = jax.eval_shape(self.features, trunk, x).shape
        return rows, columns

    def init(self, key: Key[Array, ""], trunk: Params | None = None) -> Params:
        """Returns random parameters; `trunk` replaces the trunk's."""
        trunk_key, head = jax.random.split(key)
        rows, columns = self.window_features
        size = columns * self.backbone.channels
        kernel = jax.random.normal(head, (rows, size)) * (rows * size) ** -0.5
        return {
            "trunk": trunk or self.backbone.init(trunk_key),
            "head": {"kernel": kernel, "bias": jnp.zeros(())},
        }

    def outputs(
        self, params: Params, x: Float[Array, "batch height width"]
    ) -> Float[Array, "batch windows"]:
        """Returns the offsets for windows at rows 0, stride, ... of images.

        Args:
          params: see the module.
          x: in [0, 1]; the width is WIDTH_PX.

        Returns:
          Offsets in units of a (`window_search.MAX_OFFSET_MM`): 1 means that L3 is a
          below the window's centre.
        """
        return self.apply_head(params["head"], self.features(params["trunk"], x))

    def outputs_by_phase(
        self, params: Params, x: Float[Array, "height width"], output_stride: int
    ) -> Float[Array, "{self.stride//output_stride} windows"]:
        """Returns the offsets of one image, for windows output_stride pixels apart.

        Row p holds `outputs` of the image from row p * output_stride on.
        """
        y = self.features(params["trunk"], x[None], output_stride)
        return self.apply_head(params["head"], y)

    def features(
        self,
        trunk: Params,
        x: Float[Array, "batch height width"],
        output_stride: int = UNSPLIT,
    ) -> Float[Array, "phases_batch rows columns {self.backbone.channels}"]:
        """Returns the features of x in [0, 1].

        See `Backbone.features` for `output_stride`.
        """
        normalised = self.input(x[..., None]).astype(self.dtype)
        cast = jax.tree.map(lambda p: p.astype(self.dtype), trunk)
        return self.backbone.features(cast, normalised, output_stride).astype(x.dtype)

    def apply_head(
        self, head: Params, y: Float[Array, "batch rows columns channels"]
    ) -> Float[Array, "batch windows"]:
        """Returns the offsets of features."""
        size = len(head["kernel"])
        # [B, h, rows]: the contribution of each feature row as each row of a window.
        rows = y.reshape(*y.shape[:2], -1) @ head["kernel"].T
        count = y.shape[1] - size + 1
        total = sum(rows[:, i : i + count, i] for i in range(size))
        return total + head["bias"]


CNN4 = Network()


def make(name: str, dtype: str = "float32") -> Network:
    """Returns the network on a backbone, with that backbone's normalisation."""
    return Network(name, backbones.make(name).normalisation, dtype)
