"""The packaged network that finds vertebral bodies, trained on phantoms alone."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from l3spot.backbones.pretrained import safetensors_file
from l3spot.vertebrae import bodies, slab
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.network import VertebraNetwork
from l3spot.vertebrae.slab import COLUMNS, ROWS, Slab
from mtl.engine.task import Params
from mtl.host.errors import DataError

KIND = "l3spot vertebrae"
PACKAGED_FILE = Path(__file__).with_name("phantoms.safetensors")
# Pixels for adults and for small bodies; the surer chain counts.
PIXELS_MM = (1.5, 0.9)
# Of tiles, above the middle, in heights of a tile.
TILE_OFFSETS = (0.33, 0.0, -0.33)


class VertebraModel(NamedTuple):
    """A network and its parameters.

    Attributes:
      params: see `network`.
      about: how the model was trained.
      network: of the parameters.
    """

    params: Params
    about: str
    network: VertebraNetwork = VertebraNetwork()

    def find(self, picture: Slab, z_mm: float) -> Chain:
        """Finds the chain of bodies around height z_mm."""
        tiles = [
            slab.cut_tile(picture, z_mm + offset * ROWS * pixel_mm, pixel_mm)
            for pixel_mm in PIXELS_MM
            for offset in TILE_OFFSETS
        ]
        grey = np.stack([tile.grey for tile in tiles])
        maps = np.asarray(maps_of(self.network, self.params, grey))
        count = len(TILE_OFFSETS)
        chains = [
            bodies.find(tiles[i : i + count], maps[i : i + count])
            for i in range(0, len(tiles), count)
        ]
        return max(chains, key=lambda chain: chain.score)


@partial(jax.jit, static_argnums=0)
def maps_of(network: VertebraNetwork, params: Params, grey: jax.Array) -> jax.Array:
    """Returns the maps [B, ROWS / 2, COLUMNS / 2, MAPS] of tiles [B, ROWS, COLUMNS]."""
    return network.apply({"params": params}, grey)


def save(path: Path, model: VertebraModel) -> None:
    """Writes a model as a safetensors file, atomically.

    Raises:
      WorkdirError: the file cannot be written.
    """
    safetensors_file.save(path, KIND, model.params, {"about": model.about})


def load(path: Path = PACKAGED_FILE) -> VertebraModel:
    """Reads a model.

    Raises:
      DataError: the file is missing, is broken or holds no model of this version.
    """
    params, metadata = safetensors_file.load(path, KIND)
    expected = jax.eval_shape(init, jax.random.key(0))
    if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, expected):
        raise DataError(f"{path} is no model of this version")
    return VertebraModel(params, metadata.get("about", ""))


def init(key: jax.Array) -> Params:
    """Returns random parameters."""
    return VertebraNetwork().init(key, np.zeros((1, ROWS, COLUMNS)))["params"]
