"""AlexNet as in torchvision ("one weird trick"), without local normalisation.

params = {"conv1": {kernel [11, 11, 3, 64], bias [64]}, ..., "conv5": ...,
          and with classes "dense1", "dense2", "dense3"}
"""

import flax.linen as nn
import jax

from l3spot.backbones.layers import UNSPLIT, Conv, dense_head, max_pool

# Channels and kernel size of the layers after the first.
LAYERS = ((192, 5), (384, 3), (256, 3), (256, 3))
POOLS = {
    1: 4,
    2: 8,
    5: 16,
}  # Layers with a pool after them, and the stride of its output.


class AlexNet(nn.Module):
    """The trunk; with `classes` above 0 the classifier."""

    classes: int = 0
    output_stride: int = UNSPLIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features [B, h, w, 256] or logits [B, classes] of x [B, H, W, 3]."""
        first = Conv(64, 11, 4, padding=2, name="conv1")
        others = [
            Conv(*layer, name=f"conv{k}") for k, layer in enumerate(LAYERS, start=2)
        ]
        for k, conv in enumerate((first, *others), start=1):
            x = nn.relu(conv(x))
            if k in POOLS:
                x = max_pool(x, 3, 2, split=POOLS[k] >= self.output_stride)
        return dense_head(x, 6, self.classes) if self.classes else x
