"""How an image in [0, 1] becomes what a network was trained on."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Normalisation(NamedTuple):
    """Channels, what white is, and mean and standard deviation of each channel.

    channels: "grey", "RGB" or "BGR".
    white: 1, or 255 where mean and std are those of bytes.
    """

    channels: str
    white: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., channels] from x [..., 1], or RGB [..., 3], in [0, 1].

        A grey image is the same in each channel, before mean and std are taken.
        """
        x = jnp.asarray(x)
        if self.channels == "BGR":
            x = x[..., ::-1]
        mean, std = jnp.asarray(self.mean, x.dtype), jnp.asarray(self.std, x.dtype)
        return (x * self.white - mean) / std

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(self._asdict())


def from_json(text: str) -> Normalisation:
    """What `to_json` wrote.

    Raises:
      ValueError: it is something else.
    """
    try:
        c = json.loads(text)
        mean, std = (tuple(map(float, c[k])) for k in ("mean", "std"))
        made = Normalisation(c["channels"], float(c["white"]), mean, std)
    except (KeyError, TypeError) as e:
        raise ValueError(f"no normalisation: {text}") from e
    count = {"grey": 1, "RGB": 3, "BGR": 3}.get(made.channels)
    if not len(made.mean) == len(made.std) == count or 0 in made.std:
        raise ValueError(f"no normalisation: {text}")
    return made


PLAIN = Normalisation("grey", 1.0, (0.0,), (1.0,))
IMAGENET = Normalisation("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# torchvision takes ImageNet's mean and std and turns them into these (transform_input).
HALVES = Normalisation("RGB", 1.0, (0.5,) * 3, (0.5,) * 3)
# Keras's VGG, as Caffe's.
CAFFE = Normalisation("BGR", 255.0, (103.939, 116.779, 123.68), (1.0,) * 3)
