"""The packaged networks that find vertebral bodies and ribs, trained on phantoms."""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from scipy.special import expit, log_softmax

from l3spot.backbones.pretrained import safetensors_file
from l3spot.projections.mip import Projection
from l3spot.vertebrae import bodies, confidence, ribs, slab, surroundings
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.confidence import Calibration
from l3spot.vertebrae.levels import Signs
from l3spot.vertebrae.network import VertebraNetwork
from l3spot.vertebrae.ribs import RibNetwork
from l3spot.vertebrae.slab import COLUMNS, ROWS, Slab
from l3spot.vertebrae.surroundings import SurroundingsNetwork
from mtl.engine.task import Params
from mtl.host.errors import DataError

KIND = "l3spot vertebrae"
PACKAGED_FILE = Path(__file__).with_name("phantoms.safetensors")
PIXEL_MM = 1.5  # Of tiles, as in training.
# Of tiles, above the middle, in heights of a tile.
TILE_OFFSETS = (0.33, 0.0, -0.33)
BODIES_AT_ONCE = 24  # A chain is filled up to a multiple, so that programs are shared.


class VertebraModel(NamedTuple):
    """Networks and their parameters.

    Attributes:
      params: {"bodies": of `VertebraNetwork`, "ribs": of `RibNetwork`,
        "surroundings": of `SurroundingsNetwork`}.
      about: how the model was trained.
      calibration: gives the confidence.
    """

    params: Params
    about: str
    calibration: Calibration = confidence.UNCALIBRATED

    def find(self, picture: Slab, z_mm: float) -> Chain:
        """Finds the chain of bodies around height z_mm."""
        tiles = [
            slab.cut_tile(picture, z_mm + offset * ROWS * PIXEL_MM, PIXEL_MM)
            for offset in TILE_OFFSETS
        ]
        grey = np.stack([tile.grey for tile in tiles])
        maps = np.asarray(maps_of(self.params["bodies"], grey))
        chain = bodies.find(tiles, maps)
        ends = float(picture.z[0]), float(picture.z[-1])
        return chain._replace(bodies=bodies.complete(chain.bodies, *ends))

    def signs(self, projection: Projection, picture: Slab, chain: Chain) -> Signs:
        """Returns what lies beside the bodies of a chain, and around them."""
        halves = _pad(ribs.crops(projection, picture, chain), 2 * BODIES_AT_ONCE)
        logits = np.asarray(rib_logits(self.params["ribs"], halves))
        pairs = logits.reshape(-1, 2, ribs.SIGNS)
        own, above, sacrum = expit(pairs.mean(1)).T.tolist()
        count = sum(not body.is_s1 for body in chain.bodies)
        has_s1 = count < len(chain.bodies)
        around = _pad(surroundings.crops(projection, picture, chain), BODIES_AT_ONCE)
        names = log_softmax(name_logits(self.params["surroundings"], around), 1)
        return Signs(
            above[:1] + own[:count],
            sacrum[count] if has_s1 else 0.0,
            names[: len(chain.bodies)],
        )


def _pad(crops: np.ndarray, count: int) -> np.ndarray:
    """Adds empty crops up to a multiple of a count."""
    return np.pad(crops, [(0, -len(crops) % count), (0, 0), (0, 0)])


@jax.jit
def maps_of(params: Params, grey: jax.Array) -> jax.Array:
    """Returns the maps [B, ROWS / 2, COLUMNS / 2, MAPS] of tiles [B, ROWS, COLUMNS]."""
    return jnp.asarray(VertebraNetwork().apply({"params": params}, grey))


@jax.jit
def rib_logits(params: Params, crops: jax.Array) -> jax.Array:
    """Returns the logits [B, SIGNS] of crops [B, SIZE, SIZE]."""
    return jnp.asarray(RibNetwork().apply({"params": params}, crops))


@jax.jit
def name_logits(params: Params, crops: jax.Array) -> jax.Array:
    """Returns the logits [B, NAMES] of crops [B, ROWS, COLUMNS] and mirror images."""
    both = jnp.concatenate([crops, crops[:, :, ::-1]])
    logits = jnp.asarray(SurroundingsNetwork().apply({"params": params}, both))
    return logits.reshape(2, len(crops), -1).mean(0)


def save(path: Path, model: VertebraModel) -> None:
    """Writes a model as a safetensors file, atomically.

    Raises:
      WorkdirError: the file cannot be written.
    """
    metadata = {
        "about": model.about,
        "calibration": json.dumps(model.calibration.to_json()),
    }
    safetensors_file.save(path, KIND, model.params, metadata)


def load(path: Path = PACKAGED_FILE) -> VertebraModel:
    """Reads a model.

    Raises:
      DataError: the file is missing, is broken or holds no model of this version.
    """
    params, metadata = safetensors_file.load(path, KIND)
    try:
        _check(params)
        calibration = confidence.from_json(json.loads(metadata["calibration"]))
    except (KeyError, TypeError, ValueError, FlaxError) as e:
        raise DataError(f"{path} is no model of this version ({e!r})") from e
    return VertebraModel(params, metadata.get("about", ""), calibration)


def _check(params: Params) -> None:
    """Raises an error if parameters do not fit the networks.

    It traces the programs that `VertebraModel` calls, which JAX then has at hand.
    """
    tiles = jax.ShapeDtypeStruct((len(TILE_OFFSETS), ROWS, COLUMNS), np.float32)
    crops = jax.ShapeDtypeStruct((2 * BODIES_AT_ONCE, ribs.SIZE, ribs.SIZE), np.float32)
    jax.eval_shape(maps_of, params["bodies"], tiles)
    jax.eval_shape(rib_logits, params["ribs"], crops)
    shape = BODIES_AT_ONCE, surroundings.ROWS, surroundings.COLUMNS
    around = jax.ShapeDtypeStruct(shape, np.float32)
    jax.eval_shape(name_logits, params["surroundings"], around)


def init(key: jax.Array) -> Params:
    """Returns random parameters."""
    tiles, crops = jnp.zeros((1, ROWS, COLUMNS)), jnp.zeros((1, ribs.SIZE, ribs.SIZE))
    around = jnp.zeros((1, surroundings.ROWS, surroundings.COLUMNS))
    return {
        "bodies": VertebraNetwork().init(key, tiles)["params"],
        "ribs": RibNetwork().init(jax.random.fold_in(key, 1), crops)["params"],
        "surroundings": SurroundingsNetwork().init(jax.random.fold_in(key, 2), around)[
            "params"
        ],
    }
