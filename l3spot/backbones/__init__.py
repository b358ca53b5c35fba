"""The convolutions that features of a projection come from.

    b = backbones.make("vgg16")
    params = b.init(key)                     # or pretrained.load(path).params
    y = b.features(params, b.normalisation(x))

Weights that were trained elsewhere bring their own normalisation (`pretrained`).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from l3spot.backbones import normalisation
from l3spot.backbones.alexnet import AlexNet
from l3spot.backbones.cnn4 import CNN4
from l3spot.backbones.googlenet import GoogLeNet
from l3spot.backbones.layers import WHOLE
from l3spot.backbones.normalisation import Normalisation
from l3spot.backbones.res4 import Res4
from l3spot.backbones.vgg import VGG16, VGG19
from mtl.engine.task import Flat, Params, flatten, unflatten

CLASSES = 1000  # ImageNet's.
SIDE = 224  # Pixels; any that all networks take will do for their parameters.


class Backbone(NamedTuple):
    """A network without its dense layers, and how it was made to be used.

    Attributes:
      build: `(classes=0) -> module`: the trunk, or the classifier of so many classes.
      stride: pixels from a feature to the next.
      finest: pixels from a row to the next before the first pool.
      channels: of the features.
      normalisation: of the input.
    """

    name: str
    build: Callable[..., nn.Module]
    stride: int
    finest: int
    channels: int
    normalisation: Normalisation

    def init(self, key: jax.Array) -> Params:
        """Random float32 parameters of the trunk: kernels from N(0, 2 / fan_in).

        Biases are 0, norms change nothing. All kernels come from one draw: XLA takes
        a minute to compile the sixty draws of GoogLeNet.
        """
        return jax.jit(_draw, static_argnums=0)(self, key)

    def shapes(self, classifier: bool = False) -> Flat:
        """Shapes and dtypes of the parameters, by their names joined by "/"."""
        return dict(_shapes(self, CLASSES if classifier else 0))

    def features(self, params: Params, x: jax.Array, step: int = WHOLE) -> jax.Array:
        """[B, h, w, channels] from normalised x [B, H, W, 1 or 3].

        With a `step`, a divisor of the stride and `finest` or more, they are
        [stride / step * B, h, w, channels]: those of x from row 0, from row `step`, and
        so on, in much less time than as many passes take. The last rows may be lacking.
        """
        return self._apply(self.module().clone(step=step), params, x)

    def logits(self, params: Params, x: jax.Array) -> jax.Array:
        """[B, 1000] from normalised x [B, H, W, 3], of what has a classifier."""
        return self._apply(self.module(CLASSES), params, x)

    def _apply(self, module: nn.Module, params: Params, x: jax.Array) -> Any:
        return module.apply({"params": params}, x)

    def module(self, classes: int = 0) -> nn.Module:
        """The trunk, or the classifier."""
        return self.build(classes=classes) if classes else self.build()


@functools.cache
def _shapes(b: Backbone, classes: int) -> Flat:
    x = jax.ShapeDtypeStruct((1, SIDE, SIDE, len(b.normalisation.mean)), jnp.float32)
    return flatten(
        jax.eval_shape(b.module(classes).init, jax.random.key(0), x)["params"]
    )


def _draw(b: Backbone, key: jax.Array) -> Params:
    shapes = b.shapes()
    total = sum(s.size for k, s in shapes.items() if k.endswith("kernel"))
    draw, used, params = jax.random.normal(key, (total,), jnp.float32), 0, {}
    for name, like in shapes.items():
        if name.endswith("kernel"):
            scale = math.sqrt(2 / math.prod(like.shape[:-1]))
            params[name] = scale * draw[used : used + like.size].reshape(like.shape)
            used += like.size
        else:
            one = name.endswith(("scale", "var"))
            params[name] = jnp.full(like.shape, one, jnp.float32)
    return unflatten(params)


_ALL = {
    b.name: b
    for b in (
        Backbone("cnn4", CNN4, 16, 1, 96, normalisation.PLAIN),
        Backbone("res4", Res4, 16, 2, 128, normalisation.PLAIN),
        Backbone("alexnet", AlexNet, 32, 4, 256, normalisation.IMAGENET),
        Backbone("vgg16", VGG16, 32, 1, 512, normalisation.IMAGENET),
        Backbone("vgg19", VGG19, 32, 1, 512, normalisation.IMAGENET),
        Backbone("googlenet", GoogLeNet, 32, 2, 1024, normalisation.HALVES),
    )
}
NAMES = tuple(_ALL)
PRETRAINED = NAMES[2:]  # Those that others have trained on ImageNet.


def make(name: str) -> Backbone:
    """The backbone of a name, one of NAMES."""
    return _ALL[name]
