"""Draws filters.png: VGG16's filters, and what they make of a photograph.

    python -m experiments.draw_filters --weights vgg16.safetensors

The file is one that l3spot.convert wrote.

To be looked at: smooth colours and edges in the filters, edges and then parts of the
photograph in the features. Wrong channels, axes or means show at once.
"""

import argparse

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

from experiments import DOCS
from l3spot import backbones
from l3spot.backbones.pretrained import converted
from l3spot.backbones.pretrained.converted import Pretrained

LAYERS = ("conv1_2", "conv3_3", "conv5_3")
MAPS, SIDE = 4, 212  # Maps of a layer; pixels of the photograph.


def main() -> None:
    """Draws as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    found = converted.load(parser.parse_args().weights)
    photograph = load_sample_image("china.jpg")[:, 100:528][: 2 * SIDE : 2, ::2][
        :, :SIDE
    ]
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.6])
    top, bottom = left.subplots(2, 1)
    top.imshow(photograph)
    top.set_title("photograph", fontsize=9)
    bottom.imshow(filters(found))
    bottom.set_title("conv1_1, 64 filters", fontsize=9)
    axes = right.subplots(len(LAYERS), MAPS)
    for row, (name, maps) in zip(
        axes, features(found, photograph).items(), strict=True
    ):
        for ax, image in zip(row, maps, strict=True):
            ax.imshow(image, cmap="gray")
        row[0].set_title(name, fontsize=9, loc="left")
    for ax in (top, bottom, *axes.ravel()):
        ax.set_axis_off()
    figure.savefig(DOCS / "filters.png", dpi=90)


def filters(found: Pretrained) -> np.ndarray:
    """The first layer's, 8 by 8, each from black to white, in RGB."""
    kernel = np.asarray(found.params["conv1_1"]["kernel"])  # [3, 3, C, 64]
    if found.normalisation.channels == "BGR":
        kernel = kernel[:, :, ::-1]
    low, high = kernel.min((0, 1, 2)), kernel.max((0, 1, 2))
    tiles = np.pad((kernel - low) / (high - low), [(0, 1), (0, 1), (0, 0), (0, 0)],
                   constant_values=1)  # fmt: skip
    rows = tiles.transpose(3, 0, 1, 2).reshape(8, 8, 4, 4, 3)
    return rows.swapaxes(1, 2).reshape(32, 32, 3)


def features(found: Pretrained, photograph: np.ndarray) -> dict[str, np.ndarray]:
    """By layer, the maps that answer most; after ReLU, before the pool."""
    b = backbones.make(found.backbone)
    x = found.normalisation(jnp.asarray(photograph[None] / 255, jnp.float32))
    _, kept = b.module().apply(
        {"params": found.params}, x, capture_intermediates=True, mutable="intermediates"
    )
    made = {}
    for name in LAYERS:
        maps = np.maximum(np.asarray(kept["intermediates"][name]["__call__"][0][0]), 0)
        best = np.argsort(maps.std((0, 1)))[::-1][:MAPS]
        made[name] = maps[..., best].transpose(2, 0, 1)
    return made


if __name__ == "__main__":
    main()
