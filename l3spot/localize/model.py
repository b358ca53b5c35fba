"""A trained model: its parameters, its window of HU, and how sure it may be.

`load()` gives the one in the package, which was trained on phantoms alone; see
docs/model_card.md. It is no medical device.
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import expit

from l3spot import backbones
from l3spot.backbones import normalisation
from l3spot.backbones.pretrained import safetensors_file
from l3spot.localize import window_search
from l3spot.localize.network import CNN4, Network
from l3spot.localize.window_search import Sequence
from mtl.engine.task import Params
from mtl.host.errors import DataError

KIND = "l3spot model"
PACKAGED = Path(__file__).with_name("phantoms.safetensors")
SIZE = 5  # Numbers of evidence.
SURE = 0.5  # Confidence from which L3 is said to be in view.


class Calibration(NamedTuple):
    """Logistic regression: `SIZE` weights of evidence, and a bias."""

    weights: tuple[float, ...]
    bias: float

    def __call__(self, evidence: np.ndarray) -> float:
        """The probability that L3 is in view and within 10 mm of what was found."""
        return float(expit(np.dot(self.weights, evidence) + self.bias))


UNSURE = Calibration((0.0,) * SIZE, 0.0)


class Model(NamedTuple):
    """params: see `network`. low, high: HU that are black and white.

    about: how it was trained. network: what the parameters are of.
    step: pixels between windows. mirror: whether mirror images are looked at as well.
    """

    params: Params
    low: float
    high: float
    calibration: Calibration
    about: str
    network: Network = CNN4
    step: int = window_search.STEP
    mirror: bool = False

    def look(self, x: np.ndarray) -> Sequence:
        """All windows of a picture [R, WIDTH] in [0, 1]."""
        return window_search.look(self.network, self.params, x, self.step, self.mirror)


def save(path: Path, model: Model) -> None:
    """Writes safetensors aside, then renames.

    Raises:
      WorkdirError: it cannot be written.
    """
    rest = model._asdict() | {"calibration": model.calibration._asdict()}
    del rest["params"]
    rest["network"] = {
        "name": model.network.name,
        "input": model.network.input.to_json(),
    }
    # What it computed in while training does not bind who uses it.
    safetensors_file.save(path, KIND, model.params, {"model": json.dumps(rest)})


def load(path: Path = PACKAGED) -> Model:
    """The model of a file.

    Raises:
      DataError: there is no such file, it is broken, or no such model.
    """
    params, metadata = safetensors_file.load(path, KIND)
    try:
        rest = json.loads(metadata["model"])
        fitted = rest.pop("calibration")
        calibration = Calibration(tuple(fitted["weights"]), float(fitted["bias"]))
        network = _network(**rest.pop("network"))
        model = Model(**rest, params=params, calibration=calibration, network=network)
        due = jax.eval_shape(network.init, jax.random.key(0))
        if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, due):
            raise ValueError(f"it has not the layers of {network.name}")
        good = model.low < model.high and model.step in window_search.steps(network)
        if len(calibration.weights) != SIZE or not good:
            raise ValueError("its numbers make no sense")
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(f"{path} is no model of this version ({e})") from e
    return model


def _network(name: str, input: str) -> Network:
    if name not in backbones.NAMES:
        raise ValueError(f"there is no backbone {name!r}")
    return Network(name, normalisation.from_json(input))
