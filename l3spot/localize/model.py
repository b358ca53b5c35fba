"""A trained model: network, parameters, HU window and calibrated confidence.

`load()` returns the packaged model, which was trained on phantoms alone; see
docs/model_card.md. It is no medical device.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import expit

from l3spot import backbones
from l3spot.backbones import normalisation
from l3spot.backbones.pretrained import safetensors_file
from l3spot.localize import preprocess, window_search
from l3spot.localize.network import CNN4, Network
from l3spot.localize.window_search import WindowOffsets
from mtl.engine.task import Params
from mtl.host.errors import DataError

KIND = "l3spot model"
PACKAGED_FILE = Path(__file__).with_name("phantoms.safetensors")
FEATURE_COUNT = 5  # The number of confidence features.
MIN_CONFIDENCE = 0.5  # L3 is reported as in view from this confidence on.
# Keys of the file's metadata, and the fields of `Model` that they hold.
STORED = {
    "low": "low_hu",
    "high": "high_hu",
    "about": "about",
    "step": "stride_px",
    "mirror": "mirror",
    "view": "view",  # Absent in older files, which are frontal.
}


class Calibration(NamedTuple):
    """Logistic regression of `FEATURE_COUNT` confidence features.

    Attributes:
      coefficients: one for each feature.
      bias: the constant term.
    """

    coefficients: tuple[float, ...]
    bias: float

    def __call__(self, features: Float[np.ndarray, "5"]) -> float:
        """Returns the probability that L3 is in view, within 10 mm of the estimate."""
        return float(expit(np.dot(self.coefficients, features) + self.bias))


UNCALIBRATED = Calibration((0.0,) * FEATURE_COUNT, 0.0)


class Model(NamedTuple):
    """A network and all that its use requires.

    Attributes:
      params: see `network`.
      low_hu: the HU that become black.
      high_hu: the HU that become white.
      calibration: computes the confidence.
      about: how the model was trained.
      network: of the parameters.
      stride_px: between windows.
      mirror: average the estimates for an image and for its mirror image.
      view: the projection that the network takes, one of `preprocess.VIEWS`.
    """

    params: Params
    low_hu: float
    high_hu: float
    calibration: Calibration
    about: str
    network: Network = CNN4
    stride_px: int = window_search.STRIDE_PX
    mirror: bool = False
    view: str = preprocess.FRONTAL

    def window_offsets(self, x: Float[np.ndarray, "rows width"]) -> WindowOffsets:
        """Estimates the offset of L3 for all windows of x in [0, 1]."""
        return window_search.window_offsets(
            self.network, self.params, x, self.stride_px, self.mirror
        )


def save(path: Path, model: Model) -> None:
    """Writes a model as a safetensors file, atomically.

    The network's dtype is not stored: it holds for training alone.

    Raises:
      WorkdirError: the file cannot be written.
    """
    metadata = {key: getattr(model, field) for key, field in STORED.items()}
    metadata["calibration"] = {
        "weights": model.calibration.coefficients,
        "bias": model.calibration.bias,
    }
    metadata["network"] = {
        "name": model.network.name,
        "input": model.network.input.to_json(),
    }
    safetensors_file.save(path, KIND, model.params, {"model": json.dumps(metadata)})


def load(path: Path = PACKAGED_FILE) -> Model:
    """Reads a model.

    Raises:
      DataError: the file is missing, is broken or holds no model of this version.
    """
    params, metadata = safetensors_file.load(path, KIND)
    try:
        model = _from_metadata(params, json.loads(metadata["model"]))
        if path != PACKAGED_FILE:  # A test checks that one.
            _check(model)
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(f"{path} is no model of this version ({e})") from e
    return model


def load_frontal(path: Path) -> Model:
    """Reads a model of the frontal projection, for phantoms, which have no other.

    Raises:
      DataError: as `load`, or the model is of the lateral projection.
    """
    model = load(path)
    if model.view != preprocess.FRONTAL:
        raise DataError(
            f"{path} is a model of the {model.view} projection, and the phantoms have "
            "only a frontal one; give a frontal model, or use l3spot.predict on scans"
        )
    return model


def _from_metadata(params: Params, stored: dict[str, Any]) -> Model:
    fitted = stored.pop("calibration")
    calibration = Calibration(tuple(fitted["weights"]), float(fitted["bias"]))
    network = _network(**stored.pop("network"))
    fields = {STORED[key]: value for key, value in stored.items()}
    return Model(params=params, calibration=calibration, network=network, **fields)


def _check(model: Model) -> None:
    network = model.network
    expected = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    if model.view not in preprocess.VIEWS:
        raise ValueError(f"its view {model.view!r} is not known")
    if jax.tree.map(np.shape, model.params) != jax.tree.map(np.shape, expected):
        raise ValueError(f"its parameters do not fit {network.name}")
    if (
        not model.low_hu < model.high_hu
        or model.stride_px not in window_search.strides(network)
        or len(model.calibration.coefficients) != FEATURE_COUNT
    ):
        raise ValueError("its HU window, stride or calibration is not valid")


def _network(name: str, input: str) -> Network:
    if name not in backbones.NAMES:
        raise ValueError(f"there is no backbone {name!r}")
    return Network(name, normalisation.from_json(input))
