"""Maps the names and axes of other programs' parameters to ours.

    our layer                   torchvision, timm             Keras
    conv1_2 (VGG)               features.2                    block1_conv2
    inception3a/branch2_1/conv  inception3a.branch2.1.conv
    dense1                      classifier.0, pre_logits.fc1  fc1

Our kernels are [H, W, I, O] and [I, O], as in Keras. Those of PyTorch are [O, I, H, W]
and [O, I]; a dense layer after the features has channels before rows and columns.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot import backbones
from l3spot.backbones import Backbone, normalisation
from l3spot.backbones.normalisation import Normalisation
from l3spot.backbones.vgg import BLOCKS
from mtl.engine.task import Params, unflatten
from mtl.host.errors import DataError


def _vgg(blocks: tuple[int, ...]) -> dict[str, str]:
    """Returns torchvision's layers by ours.

    Each convolution has a ReLU after it, and each block a pool.
    """
    layers, index = {}, 0
    for b, count in enumerate(blocks, start=1):
        for k in range(1, count + 1):
            layers[f"conv{b}_{k}"] = f"features.{index}"
            index += 2
        index += 1
    return layers | {f"dense{k}": f"classifier.{3 * k - 3}" for k in (1, 2, 3)}


# torchvision's layers by ours. GoogLeNet's have nearly the same names.
TORCH_LAYERS = {name: _vgg(blocks) for name, blocks in BLOCKS.items()} | {
    "alexnet": {
        **{f"conv{k}": f"features.{i}" for k, i in enumerate((0, 3, 6, 8, 10), 1)},
        **{f"dense{k}": f"classifier.{i}" for k, i in enumerate((1, 4, 6), 1)},
    }
}
TIMM_LAYERS = {
    "pre_logits.fc1": "classifier.0",
    "pre_logits.fc2": "classifier.3",
    "head.fc": "classifier.6",
}
KERAS_LAYERS = {"dense1": "fc1", "dense2": "fc2", "dense3": "predictions"}
TORCH_LEAVES = {
    **{"kernel": "weight", "bias": "bias", "scale": "weight"},
    **{"mean": "running_mean", "var": "running_var"},
}
# Arrays of torchvision's GoogLeNet that inference does not need.
TRAINING_ONLY = re.compile(r"aux[12]\.|.*\.num_batches_tracked$")
MAX_NAMES_SHOWN = 4  # In a message.


class WeightsFile(NamedTuple):
    """The arrays of a file.

    Attributes:
      path: of the file.
      arrays: by the names of torchvision and timm, or of Keras.
      keras: whether the file is Keras's.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    keras: bool

    def normalisation(self, b: Backbone) -> Normalisation:
        """Returns the normalisation of the input in training."""
        return normalisation.CAFFE if self.keras else b.normalisation


def arrange(b: Backbone, weights: WeightsFile, classifier: bool = False) -> Params:
    """Returns the parameters of a backbone, float32, with its classifier if wanted.

    Raises:
      DataError: the file is another network's, or arrays are missing, have other shapes
        or are not finite.
    """
    arrays = _used(weights)
    names = _names(b, weights.keras)
    if not names:
        raise DataError(f"{weights.path} is a file of Keras, which has no {b.name}")
    expected = b.shapes(classifier)
    missing = [names[ours] for ours in expected if names[ours] not in arrays]
    unexpected = arrays.keys() - names.values()
    if missing or unexpected:
        raise DataError(_misfit(b, weights, missing, sorted(unexpected)))
    params: Params = {}
    for ours, like in expected.items():
        theirs = names[ours]
        params[ours] = _array(b, weights, ours, theirs, arrays[theirs], like.shape)
    return unflatten(params)


def _used(weights: WeightsFile) -> dict[str, np.ndarray]:
    """Returns the arrays that inference needs, by torchvision's names."""
    arrays = {}
    for name, array in weights.arrays.items():
        layer, dot, leaf = name.rpartition(".")
        # timm stores a dense layer as a convolution.
        if layer in TIMM_LAYERS and array.ndim == 4:
            array = array.reshape(len(array), -1)
        if not TRAINING_ONLY.match(name):
            arrays[TIMM_LAYERS.get(layer, layer) + dot + leaf] = array
    return arrays


def _names(b: Backbone, keras: bool) -> dict[str, str]:
    """Returns the file's names by ours, with the classifier; empty if unknown."""
    if keras and b.name not in BLOCKS:
        return {}
    names = {}
    for ours in b.shapes(classifier=True):
        layer, leaf = ours.rsplit("/", 1)
        if keras:
            block = re.sub(r"conv(\d)_", r"block\1_conv", layer)
            names[ours] = f"{KERAS_LAYERS.get(layer, block)}/{leaf}"
        elif b.name == "googlenet":
            dotted = re.sub(r"/|(?<=\d)_", ".", layer)
            names[ours] = f"{'fc' if layer == 'dense' else dotted}.{TORCH_LEAVES[leaf]}"
        else:
            names[ours] = f"{TORCH_LAYERS[b.name][layer]}.{TORCH_LEAVES[leaf]}"
    return names


def _array(
    b: Backbone,
    weights: WeightsFile,
    ours: str,
    theirs: str,
    array: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Checks an array, and returns it as float32 with our axes."""
    expected = shape
    if not weights.keras:
        expected = (*shape[-1:], *shape[-2:-1], *shape[:-2])
    if array.shape != expected:
        what = f"{theirs} has the shape {array.shape}; that of {b.name} is {expected}"
        raise DataError(f"{weights.path}: {what}")
    if not np.isfinite(array).all():
        raise DataError(f"{weights.path}: {theirs} has values that are not finite")
    if not weights.keras and len(expected) == 4:
        array = array.transpose(2, 3, 1, 0)
    elif not weights.keras and len(expected) == 2:
        # The first dense layer has the features flattened with channels first.
        channels = b.channels if ours == "dense1/kernel" else expected[1]
        array = array.reshape(expected[0], channels, -1).transpose(2, 1, 0)
    return np.ascontiguousarray(array, np.float32).reshape(shape)


def _misfit(
    b: Backbone, weights: WeightsFile, missing: list[str], unexpected: list[str]
) -> str:
    """Returns a message: which arrays do not fit, and which backbone would."""
    parts = [
        f"{what} {', '.join(names[:MAX_NAMES_SHOWN])}"
        + (
            f" and {len(names) - MAX_NAMES_SHOWN} more"
            if len(names) > MAX_NAMES_SHOWN
            else ""
        )
        for what, names in (("lacks", missing), ("has also", unexpected))
        if names
    ]
    present = _used(weights).keys()
    for other in map(backbones.make, backbones.PRETRAINED):
        names = _names(other, weights.keras)
        trunk = {names[ours] for ours in other.shapes()} if names else set()
        if trunk and trunk <= present <= set(names.values()):
            parts.append(f"it has the layers of {other.name}")
    return f"{weights.path} does not fit {b.name}: it " + "; ".join(parts)
