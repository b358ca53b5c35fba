"""The backbones: the convolutions that compute features of an image.

    b = backbones.make("vgg16")
    params = b.init(key)                     # or converted.load(path).params
    y = b.features(params, b.normalisation(x))

Pretrained parameters have their own normalisation (`pretrained.converted`).
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l3spot.backbones import normalisation
from l3spot.backbones.alexnet import AlexNet
from l3spot.backbones.cnn4 import CNN4
from l3spot.backbones.googlenet import GoogLeNet
from l3spot.backbones.layers import UNSPLIT
from l3spot.backbones.normalisation import Normalisation
from l3spot.backbones.res4 import Res4
from l3spot.backbones.vgg import VGG16, VGG19
from mtl.engine.task import Flat, Params, flatten, unflatten

CLASSES = 1000  # Of ImageNet.
INIT_SIDE_PX = 224  # Parameters do not depend on it.


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network without its dense layers.

    Attributes:
      name: one of `NAMES`.
      build: `(classes=0) -> module`: the trunk, or a classifier with `classes` outputs.
      stride: pixels from one row of features to the next.
      min_output_stride: pixels from one row to the next before the first pool.
      channels: of the features.
      normalisation: of the input.
    """

    name: str
    build: Callable[..., nn.Module]
    stride: int
    min_output_stride: int
    channels: int
    normalisation: Normalisation

    def init(self, key: jax.Array) -> Params:
        """Returns random float32 parameters of the trunk.

        Kernels are from N(0, 2 / fan_in), biases are 0, and norms are the identity.
        All kernels are cut from one array of random numbers: XLA takes a minute to
        compile GoogLeNet's sixty calls.
        """
        return jax.jit(_draw, static_argnums=0)(self, key)

    def shapes(self, classifier: bool = False) -> Flat:
        """Returns shapes and dtypes of the parameters by their names, joined by "/"."""
        return dict(_shapes(self, CLASSES if classifier else 0))

    def features(
        self, params: Params, x: jax.Array, output_stride: int = UNSPLIT
    ) -> jax.Array:
        """Returns features [B, h, w, channels] of normalised x [B, H, W, 1 or 3].

        With `output_stride`, a divisor of the stride and at least `min_output_stride`,
        the result is [stride / output_stride * B, h, w, channels]: the features of x
        from row 0 on, from row `output_stride` on, and so on. This is much faster than
        one pass for each. The last rows can be missing.
        """
        return self._apply(self.module().clone(output_stride=output_stride), params, x)

    def logits(self, params: Params, x: jax.Array) -> jax.Array:
        """Returns ImageNet logits [B, 1000] of normalised x [B, H, W, 3]."""
        return self._apply(self.module(CLASSES), params, x)

    def _apply(self, module: nn.Module, params: Params, x: jax.Array) -> Any:
        return module.apply({"params": params}, x)

    def module(self, classes: int = 0) -> nn.Module:
        """Returns the trunk, or the classifier."""
        return self.build(classes=classes) if classes else self.build()


@functools.cache
def _shapes(b: Backbone, classes: int) -> Flat:
    x = jax.ShapeDtypeStruct(
        (1, INIT_SIDE_PX, INIT_SIDE_PX, len(b.normalisation.mean)), jnp.float32
    )
    return flatten(
        jax.eval_shape(b.module(classes).init, jax.random.key(0), x)["params"]
    )


def _draw(b: Backbone, key: jax.Array) -> Params:
    shapes = b.shapes()
    total = sum(s.size for k, s in shapes.items() if k.endswith("kernel"))
    numbers, used, params = jax.random.normal(key, (total,), jnp.float32), 0, {}
    for name, like in shapes.items():
        if name.endswith("kernel"):
            scale = math.sqrt(2 / math.prod(like.shape[:-1]))
            params[name] = scale * numbers[used : used + like.size].reshape(like.shape)
            used += like.size
        else:
            one = name.endswith(("scale", "var"))
            params[name] = jnp.full(like.shape, one, jnp.float32)
    return unflatten(params)


_BACKBONES = {
    b.name: b
    for b in (
        Backbone("cnn4", CNN4, 16, 1, 96, normalisation.GREY),
        Backbone("res4", Res4, 16, 2, 128, normalisation.GREY),
        Backbone("alexnet", AlexNet, 32, 4, 256, normalisation.IMAGENET),
        Backbone("vgg16", VGG16, 32, 1, 512, normalisation.IMAGENET),
        Backbone("vgg19", VGG19, 32, 1, 512, normalisation.IMAGENET),
        Backbone("googlenet", GoogLeNet, 32, 2, 1024, normalisation.HALF),
    )
}
NAMES = tuple(_BACKBONES)
PRETRAINED = NAMES[2:]  # Parameters trained on ImageNet exist.


def make(name: str) -> Backbone:
    """Returns the backbone of a name, one of NAMES."""
    return _BACKBONES[name]
