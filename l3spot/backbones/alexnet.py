"""AlexNet as torchvision has it ("one weird trick", no local normalisation).

params = {"conv1": {kernel [11, 11, 3, 64], bias [64]}, ..., "conv5": ...,
          and with classes "dense1", "dense2", "dense3"}
"""

import flax.linen as nn
import jax

from l3spot.backbones.layers import Conv, dense_head, max_pool

# Channels, kernel, and whether a pool follows, of the layers after the first.
LAYERS = ((192, 5, True), (384, 3, False), (256, 3, False), (256, 3, True))


class AlexNet(nn.Module):
    """The convolutions; with `classes` above 0 the classifier."""

    classes: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, h, w, 256], or logits [B, classes], from x [B, H, W, 3]."""
        first = Conv(64, 11, 4, padding=2, name="conv1")
        x = max_pool(nn.relu(first(x)), 3, 2)
        for k, (channels, size, pools) in enumerate(LAYERS, start=2):
            x = nn.relu(Conv(channels, size, name=f"conv{k}")(x))
            x = max_pool(x, 3, 2) if pools else x
        return dense_head(x, 6, self.classes) if self.classes else x
