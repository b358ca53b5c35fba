"""Normalises images in [0, 1] to the input that a network was trained on."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Normalisation(NamedTuple):
    """Channels, the value of white, and mean and standard deviation of each channel.

    Attributes:
      channels: "grey", "RGB" or "BGR".
      white: 1, or 255 if mean and std are those of bytes.
      mean: of each channel.
      std: of each channel.
    """

    channels: str
    white: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., channels] of grey x [..., 1] or RGB x [..., 3] in [0, 1].

        A grey image is repeated in each channel, before mean and std are applied.
        """
        x = jnp.asarray(x)
        if self.channels == "BGR":
            x = x[..., ::-1]
        mean, std = jnp.asarray(self.mean, x.dtype), jnp.asarray(self.std, x.dtype)
        return (x * self.white - mean) / std

    def to_json(self) -> str:
        """Returns JSON for `from_json`."""
        return json.dumps(self._asdict())


def from_json(text: str) -> Normalisation:
    """Reads the JSON of `to_json`.

    Raises:
      ValueError: the text is no such JSON.
    """
    try:
        fields = json.loads(text)
        mean, std = (tuple(map(float, fields[k])) for k in ("mean", "std"))
        parsed = Normalisation(fields["channels"], float(fields["white"]), mean, std)
    except (KeyError, TypeError) as e:
        raise ValueError(f"no normalisation: {text}") from e
    count = {"grey": 1, "RGB": 3, "BGR": 3}.get(parsed.channels)
    if not len(parsed.mean) == len(parsed.std) == count or 0 in parsed.std:
        raise ValueError(f"no normalisation: {text}")
    return parsed


GREY = Normalisation("grey", 1.0, (0.0,), (1.0,))
IMAGENET = Normalisation("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# torchvision's GoogLeNet converts ImageNet's mean and std to these (transform_input).
HALF = Normalisation("RGB", 1.0, (0.5,) * 3, (0.5,) * 3)
# Keras and Caffe use it for VGG.
CAFFE = Normalisation("BGR", 255.0, (103.939, 116.779, 123.68), (1.0,) * 3)
