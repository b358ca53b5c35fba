"""The tasks of system 3: localization of L3, and reconstruction of clean images.

    params = {"trunk", "head"}, and with reconstruction
             "decoder": {kernel [channels, stride^2], bias [stride^2]}

Reconstruction needs no label. It combines two of the papers: a denoising task on shared
layers (ESANN 2016), on a network with filters that can come from ImageNet.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from l3spot.localize.network import Network
from l3spot.training import augmentation
from l3spot.training.augmentation import Strip
from l3spot.training.augmentation_ranges import AugmentationRanges
from mtl.engine import schedules
from mtl.engine.task import Params, Task

NEAR_OFFSET = 1.2  # In units of a. Windows with smaller offsets have the weight 1.
NO_SCHEDULE = "none"
SCHEDULES = (NO_SCHEDULE, "constant", "stairs", "linear", "abridged", "exponential")
BATCH_FIELDS = ("hu", "height_mm", "l3_mm")  # Fields of the dataset, in this order.


def build(config: ConfigDict, net: Network) -> tuple[list[Task], np.ndarray]:
    """Returns the tasks, and their loss weights [epochs, tasks]."""
    tasks = [localization(config, net)]
    if config.reconstruct.schedule != NO_SCHEDULE:
        tasks.insert(0, reconstruction(config, net))
    return tasks, loss_weights(config)


def loss_weights(config: ConfigDict) -> np.ndarray:
    """Returns the loss weights of the tasks, [epochs, tasks]."""
    c, epochs = config.reconstruct, config.epochs
    if c.schedule == NO_SCHEDULE:
        return schedules.table([schedules.constant], epochs)
    weights: dict[str, schedules.Schedule] = {
        "constant": partial(schedules.constant, value=c.value),
        "stairs": partial(schedules.stairs, t1=c.t1),
        "linear": partial(schedules.linear, epochs=epochs),
        "abridged": partial(schedules.abridged, t1=c.t1),
        "exponential": partial(schedules.exponential, sigma=c.sigma),
    }
    weight = weights[c.schedule]
    return schedules.table([weight, schedules.complement(weight)], epochs)


def localization(config: ConfigDict, net: Network) -> Task:
    """Returns the Huber loss of the window offsets, for scans with a label.

    Offsets are in units of a (`config.max_offset_mm`), clipped to -1 and 1.
    """

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        strips = cut_strips(config, net, batch, key)
        outputs = net.outputs(params, strips.x)
        offset = strips.offset_mm / config.max_offset_mm
        target = jnp.clip(offset, -1, 1)
        error = optax.losses.huber_loss(outputs, target, delta=config.huber_delta)
        near = jnp.where(jnp.abs(offset) < NEAR_OFFSET, 1.0, config.far_weight)
        weight = strips.counted * near
        return (error * weight).sum(1) / jnp.maximum(weight.sum(1), 1e-6)

    trained = ("head",) if config.model.frozen else ("trunk", "head")
    return Task("spot", loss, trained, rows=lambda data: ~jnp.isnan(data["l3_mm"]))


def reconstruction(config: ConfigDict, net: Network) -> Task:
    """Returns the mean squared error of reconstructed clean strips, for all scans."""
    decoder = make_decoder(net)

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        strips = cut_strips(config, net, batch, key)
        features = net.features(params["trunk"], strips.x)
        output = decoder.decode(params["decoder"], features)
        top = (strips.clean.shape[1] - output.shape[1]) // 2
        left = (strips.clean.shape[2] - output.shape[2]) // 2
        rows, columns = output.shape[1:]
        target = strips.clean[:, top:, left:][:, :rows, :columns]
        return config.reconstruct.scale * ((output - target) ** 2).mean((1, 2))

    return Task("reconstruct", loss, params=("trunk", "decoder"))


def cut_strips(
    config: ConfigDict, net: Network, batch: dict[str, jax.Array], key: jax.Array
) -> Strip:
    """Cuts a random strip out of each scan of a batch."""
    ranges = AugmentationRanges(**config.augmentation)
    one = partial(
        augmentation.random_strip,
        windows=config.windows,
        stride_px=net.stride,
        ranges=ranges,
    )
    keys = jax.random.split(key, len(batch["hu"]))
    return jax.vmap(one)(keys, *(batch[k] for k in BATCH_FIELDS))


@dataclasses.dataclass(frozen=True)
class PatchDecoder:
    """A dense layer from a feature to the pixels of its stride.

    Attributes:
      channels: of the features.
      stride_px: pixels from one feature to the next, in rows and in columns.
    """

    channels: int
    stride_px: int

    def init(self, key: jax.Array) -> Params:
        """Returns random parameters; a decoded image is grey on average."""
        patch = self.stride_px**2
        kernel = jax.random.normal(key, (self.channels, patch), jnp.float32)
        bias = jnp.full(patch, 0.5, jnp.float32)
        return {"kernel": kernel * self.channels**-0.5, "bias": bias}

    def decode(self, params: Params, y: jax.Array) -> jax.Array:
        """Returns images [B, h stride, w stride] of features [B, h, w, channels]."""
        (b, h, w, _), s = y.shape, self.stride_px
        patches = y @ params["kernel"] + params["bias"]
        tiled = patches.reshape(b, h, w, s, s).swapaxes(2, 3)
        return tiled.reshape(b, h * s, w * s)


def make_decoder(net: Network) -> PatchDecoder:
    """Returns the decoder of a network's features."""
    return PatchDecoder(net.backbone.channels, net.stride)
