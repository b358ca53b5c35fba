"""The network that tells how far L3 is, for all windows of a picture at once.

A window is `HEIGHT` pixels high and as wide as the picture. A trunk of convolutions
makes features of the whole picture, one row for each `STRIDE` pixels, and a dense layer
sees those of a window: windows that overlap share the trunk. The features near a
window's edge know what is beyond it, where a window of its own would end in zeros.

    params = {"trunk": CNN4's, "head": {kernel [ROWS, w * 96], bias []}}
"""

import jax
import jax.numpy as jnp

from l3spot import backbones
from l3spot.picture import WIDTH
from mtl import conv
from mtl.task import Params

STRIDE = 16  # Pixels from a feature to the next, and so from a window to the next.
ROWS = 12  # Rows of features in a window.
HEIGHT = ROWS * STRIDE  # 384 mm; the paper has 400.
CHANNELS = 96


def init(key: jax.Array) -> Params:
    """Random parameters."""
    trunk, head = jax.random.split(key)
    size = ROWS * (WIDTH // STRIDE) * CHANNELS
    kernel = jax.random.normal(head, (ROWS, size // ROWS)) * size**-0.5
    return {
        "trunk": backbones.make("cnn4").init(trunk),
        "head": {"kernel": kernel, "bias": jnp.zeros(())},
    }


def outputs(params: Params, x: jax.Array) -> jax.Array:
    """[B, T], for the windows whose first rows are 0, 16, 32, ... of x [B, H, WIDTH].

    In units of the reach a: 1 says that L3 is a below the window's middle.
    """
    y = features(params["trunk"], x[..., None])
    rows = y.reshape(*y.shape[:2], -1) @ params["head"]["kernel"].T  # [B, h, ROWS]
    count = y.shape[1] - ROWS + 1
    total = sum(rows[:, i : i + count, i] for i in range(ROWS))
    return total + params["head"]["bias"]


def features(params: Params, x: jax.Array) -> jax.Array:
    """[B, H/16, W/16, 96] of x [B, H, W, 1]: CNN4, with gradients for a CPU's loops."""
    for k in range(1, len(params) + 1):
        layer = params[f"conv{k}"]
        kernel = layer["kernel"].reshape(-1, layer["kernel"].shape[-1])
        x = jax.nn.relu(conv.conv(x, kernel, 1) + layer["bias"])
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
    return x
