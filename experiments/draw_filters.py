"""Draws filters.png: VGG16's filters, and their output for a photograph.

    python -m experiments.draw_filters --weights vgg16.safetensors

The file is one of l3spot.convert. Wrong channels, axes or means are visible: correct
filters show smooth colours and edges, and correct features show edges and then parts of
the photograph.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

from experiments import DOCS
from l3spot import backbones
from l3spot.backbones.pretrained import converted
from l3spot.backbones.pretrained.converted import Pretrained
from mtl.host import launch

LAYERS = ("conv1_2", "conv3_3", "conv5_3")
MAPS = 4  # Of each layer.
SIDE_PX = 212  # Of the photograph.


def draw(arguments: Sequence[str]) -> str:
    """Draws the figure from command-line flags and returns its path."""
    launch.reject_extra_args(arguments)
    pretrained = converted.load(flags.FLAGS.weights)
    photograph = load_sample_image("china.jpg")[:, 100:528][: 2 * SIDE_PX : 2, ::2][
        :, :SIDE_PX
    ]
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 1.6])
    top, bottom = left.subplots(2, 1)
    top.imshow(photograph)
    top.set_title("photograph", fontsize=9)
    bottom.imshow(filters(pretrained))
    bottom.set_title("conv1_1, 64 filters", fontsize=9)
    axes = right.subplots(len(LAYERS), MAPS)
    for row, (name, maps) in zip(
        axes, features(pretrained, photograph).items(), strict=True
    ):
        for ax, image in zip(row, maps, strict=True):
            ax.imshow(image, cmap="gray")
        row[0].set_title(name, fontsize=9, loc="left")
    for ax in (top, bottom, *axes.ravel()):
        ax.set_axis_off()
    path = DOCS / "filters.png"
    figure.savefig(path, dpi=90)
    return str(path)


def filters(pretrained: Pretrained) -> np.ndarray:
    """Returns the first layer's filters as 8x8 RGB tiles from black to white."""
    kernel = np.asarray(pretrained.params["conv1_1"]["kernel"])  # [3, 3, C, 64]
    if pretrained.normalisation.channels == "BGR":
        kernel = kernel[:, :, ::-1]
    low, high = kernel.min((0, 1, 2)), kernel.max((0, 1, 2))
    tiles = np.pad((kernel - low) / (high - low), [(0, 1), (0, 1), (0, 0), (0, 0)],
                   constant_values=1)  # fmt: skip
    rows = tiles.transpose(3, 0, 1, 2).reshape(8, 8, 4, 4, 3)
    return rows.swapaxes(1, 2).reshape(32, 32, 3)


def features(pretrained: Pretrained, photograph: np.ndarray) -> dict[str, np.ndarray]:
    """Returns by layer the maps with most variation, after ReLU, before the pool."""
    b = backbones.make(pretrained.backbone)
    x = pretrained.normalisation(jnp.asarray(photograph[None] / 255, jnp.float32))
    _, outputs = b.module().apply(
        {"params": pretrained.params},
        x,
        capture_intermediates=True,
        mutable="intermediates",
    )
    strongest = {}
    for name in LAYERS:
        maps = np.maximum(
            np.asarray(outputs["intermediates"][name]["__call__"][0][0]), 0
        )
        best = np.argsort(maps.std((0, 1)))[::-1][:MAPS]
        strongest[name] = maps[..., best].transpose(2, 0, 1)
    return strongest


if __name__ == "__main__":
    flags.DEFINE_string("weights", None, "A file of l3spot.convert.")
    launch.launch(draw, "weights")
