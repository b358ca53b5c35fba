"""The networks of system 1, from the fields of `config.model`."""

import math
from collections.abc import Sequence

from ml_collections import ConfigDict

from mtl.host.checks import at_least, get, one_of, require
from mtl.tasks import module_network, network, precision
from mtl.tasks.batch_norm import BatchNormMlp
from mtl.tasks.conv_network import ConvNet
from mtl.tasks.ladder import Ladder, cost_weights
from mtl.tasks.network import Mlp

NAMES = ("mlp", "cnn")


def check(c: ConfigDict) -> None:
    """Checks the fields that define the network.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    one_of(c, "model.activation", tuple(network.ACTIVATIONS))
    one_of(c, "model.norm", network.NORMS)
    one_of(c, "model.dtype", precision.DTYPES)
    for name in ("model.hidden", "model.channels", "model.strides"):
        sizes = get(c, name)
        fits = len(sizes) > 0 and min(sizes) > 0
        require(fits, c, name, "one whole number or more, each above 0")
    name = c.model.network
    if ":" in name:
        module_network.load(name)
    else:
        one_of(c, "model.network", NAMES)
    fits = name != "cnn" or len(c.model.strides) == len(c.model.channels)
    require(fits, c, "model.strides", "as many as model.channels")
    fits = name == "mlp" or c.model.norm == "none"
    require(fits, c, "model.norm", f"'none' with model.network={name!r}")
    at_least(c, "model.noise", 0)
    fits = c.model.noise == 0 or c.model.norm == "batch"
    require(fits, c, "model.noise", "0 without model.norm='batch'")


def depth(config: ConfigDict) -> int:
    """K, the number of layers that code: convolutions or a module, and hidden ones."""
    c = config.model
    below = {"mlp": 0, "cnn": len(c.channels)}.get(c.network, 1)
    return below + len(c.hidden)


def build(config: ConfigDict, shape: Sequence[int], classes: int) -> Mlp:
    """Builds the network of `config.model`.

    Args:
      config: of the run; the ladder's decoder depends on its costs.
      shape: of one image.
      classes: the number of classes.

    Raises:
      ConfigError: the network does not fit images of this shape.
    """
    c = config.model
    fields = math.prod(shape), tuple(c.hidden), classes, c.activation, c.tied
    if c.network == "cnn":
        image = _image_shape(config, shape)
        convolutions = tuple(c.channels), tuple(c.strides)
        return ConvNet(*fields, image, *convolutions, dtype=c.dtype)
    if c.network != "mlp":
        return module_network.build(c.network, tuple(shape), fields, c.dtype)
    if c.norm == "none":
        return Mlp(*fields, dtype=c.dtype)
    if config.unsupervised in ("gamma", "ladder"):
        return Ladder(*fields, c.noise, cost_weights(config), dtype=c.dtype)
    return BatchNormMlp(*fields, c.noise, dtype=c.dtype)


def _image_shape(config: ConfigDict, shape: Sequence[int]) -> tuple[int, int, int]:
    """Rows, columns and channels of images [H, W] or [H, W, C]."""
    what = f"'mlp' for x of shape {tuple(shape)}: 'cnn' needs images [H, W], [H, W, C]"
    require(len(shape) in (2, 3), config, "model.network", what)
    height, width, channels = (*shape, 1)[:3]
    return height, width, channels
