"""VGG16 and VGG19 (configurations D and E), without batch normalisation.

params = {"conv1_1": {kernel [3, 3, 3, 64], bias [64]}, ..., "conv5_3": ...,
          and with classes "dense1", "dense2", "dense3"}
"""

from functools import partial

import flax.linen as nn
import jax

from l3spot.backbones.layers import UNSPLIT, Conv, dense_head, max_pool

CHANNELS = (64, 128, 256, 512, 512)
BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """Five blocks of 3x3 convolutions; with `classes` above 0 the classifier.

    Attributes:
      blocks: number of layers of each block.
      classes: number of outputs of the classifier; 0 for the trunk.
      output_stride: see `Backbone.features`.
    """

    blocks: tuple[int, ...]
    classes: int = 0
    output_stride: int = UNSPLIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features or logits of x [B, H, W, 3].

        Features are [B, H/32, W/32, 512], rounded down; logits are [B, classes].
        """
        for b, (layers, channels) in enumerate(
            zip(self.blocks, CHANNELS, strict=True), start=1
        ):
            for k in range(1, layers + 1):
                x = nn.relu(Conv(channels, 3, name=f"conv{b}_{k}")(x))
            x = max_pool(x, 2, 2, split=2 ** (b - 1) >= self.output_stride)
        return dense_head(x, 7, self.classes) if self.classes else x


VGG16 = partial(VGG, BLOCKS["vgg16"])
VGG19 = partial(VGG, BLOCKS["vgg19"])
