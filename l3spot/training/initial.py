"""The network of a config, and the parameters from which its training starts."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from l3spot.backbones.pretrained import converted
from l3spot.localize import network
from l3spot.localize.network import Network
from l3spot.training import tasks
from mtl.engine.task import Params, flatten, unflatten
from mtl.host.errors import ConfigError


def init_network(config: ConfigDict) -> tuple[Network, Params]:
    """Returns the network of a config, and its initial parameters.

    Raises:
      DataError: the weights file is missing or broken.
      ConfigError: it is of another backbone.
    """
    c, key = config.model, jax.random.split(jax.random.key(config.seed))[0]
    net = network.make(c.backbone, c.dtype)
    trunk, pretrained = None, _load_weights(config)
    if pretrained:
        # The dense layers of the classifier are dropped.
        flat, shapes = flatten(pretrained.params), net.backbone.shapes()
        trunk = unflatten({k: jnp.asarray(v) for k, v in flat.items() if k in shapes})
        net = Network(c.backbone, pretrained.normalisation, c.dtype)
    params = net.init(key, trunk)
    if config.reconstruct.schedule != tasks.NO_SCHEDULE:
        decoder = tasks.make_decoder(net)
        params = params | {"decoder": decoder.init(jax.random.fold_in(key, 1))}
    return net, params


def _load_weights(config: ConfigDict) -> converted.Pretrained | None:
    """Reads `config.model.weights_file`; None without one."""
    c = config.model
    if not c.weights_file:
        return None
    pretrained = converted.load(c.weights_file)
    if pretrained.backbone != c.backbone:
        raise ConfigError(
            f"config.model.weights_file={c.weights_file} is of {pretrained.backbone}; "
            f"set config.model.backbone to it, or give a file of {c.backbone}"
        )
    return pretrained
