"""How others name and lay out the weights of the backbones.

    layer here                  torchvision, timm             Keras
    conv1_2 (VGG)               features.2                    block1_conv2
    inception3a/branch2_1/conv  inception3a.branch2.1.conv
    dense1                      classifier.0, pre_logits.fc1  fc1

A kernel is [O, I, H, W] or [O, I] there, with channels before rows and columns where it
takes features; Keras has them as they are here, [H, W, I, O] and [I, O].
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l3spot import backbones
from l3spot.backbones import Backbone, normalisation
from l3spot.backbones.normalisation import Normalisation
from l3spot.backbones.vgg import BLOCKS
from mtl.engine.task import Params, unflatten
from mtl.host.errors import DataError


def _vgg(blocks: tuple[int, ...]) -> dict[str, str]:
    """Each convolution is followed by its ReLU, each block by its pool."""
    layers, index = {}, 0
    for b, count in enumerate(blocks, start=1):
        for k in range(1, count + 1):
            layers[f"conv{b}_{k}"] = f"features.{index}"
            index += 2
        index += 1
    return layers | {f"dense{k}": f"classifier.{3 * k - 3}" for k in (1, 2, 3)}


# torchvision's layers; those of GoogLeNet have nearly the names that they have here.
TORCH = {name: _vgg(blocks) for name, blocks in BLOCKS.items()} | {
    "alexnet": {
        **{f"conv{k}": f"features.{i}" for k, i in enumerate((0, 3, 6, 8, 10), 1)},
        **{f"dense{k}": f"classifier.{i}" for k, i in enumerate((1, 4, 6), 1)},
    }
}
TIMM = {
    "pre_logits.fc1": "classifier.0",
    "pre_logits.fc2": "classifier.3",
    "head.fc": "classifier.6",
}
KERAS = {"dense1": "fc1", "dense2": "fc2", "dense3": "predictions"}
LEAVES = {
    **{"kernel": "weight", "bias": "bias", "scale": "weight"},
    **{"mean": "running_mean", "var": "running_var"},
}
# What torchvision's GoogLeNet has for training alone.
UNUSED = re.compile(r"aux[12]\.|.*\.num_batches_tracked$")
FEW = 4  # Names in a message.


class Weights(NamedTuple):
    """The arrays of a file, with the names of torchvision and timm, or of Keras."""

    path: Path
    arrays: dict[str, np.ndarray]
    keras: bool

    def normalisation(self, b: Backbone) -> Normalisation:
        """What the input was in training."""
        return normalisation.CAFFE if self.keras else b.normalisation


def arrange(b: Backbone, weights: Weights, classifier: bool = False) -> Params:
    """The parameters of a backbone, float32; of its classifier too if asked for.

    Raises:
      DataError: the weights are another network's, or some are missing, of other shapes
        or not finite.
    """
    arrays = _used(weights)
    names = _names(b, weights.keras)
    if not names:
        raise DataError(f"{weights.path} is Keras's, but --backbone={b.name} is not")
    due = b.shapes(classifier)
    lacking = [names[ours] for ours in due if names[ours] not in arrays]
    more = arrays.keys() - names.values()
    if lacking or more:
        raise DataError(_misfit(b, weights, lacking, sorted(more)))
    found: dict[str, Any] = {}
    for ours, like in due.items():
        theirs = names[ours]
        found[ours] = _array(b, weights, ours, theirs, arrays[theirs], like.shape)
    return unflatten(found)


def _used(weights: Weights) -> dict[str, np.ndarray]:
    """With torchvision's names for those of timm."""
    arrays = {}
    for name, array in weights.arrays.items():
        layer, dot, leaf = name.rpartition(".")
        if layer in TIMM and array.ndim == 4:  # Dense layers as convolutions.
            array = array.reshape(len(array), -1)
        if not UNUSED.match(name):
            arrays[TIMM.get(layer, layer) + dot + leaf] = array
    return arrays


def _names(b: Backbone, keras: bool) -> dict[str, str]:
    """Our names to theirs, of the whole classifier; empty where there are none."""
    if keras and b.name not in BLOCKS:
        return {}
    names = {}
    for ours in b.shapes(classifier=True):
        layer, leaf = ours.rsplit("/", 1)
        if keras:
            block = re.sub(r"conv(\d)_", r"block\1_conv", layer)
            names[ours] = f"{KERAS.get(layer, block)}/{leaf}"
        elif b.name == "googlenet":
            dotted = re.sub(r"/|(?<=\d)_", ".", layer)
            names[ours] = f"{'fc' if layer == 'dense' else dotted}.{LEAVES[leaf]}"
        else:
            names[ours] = f"{TORCH[b.name][layer]}.{LEAVES[leaf]}"
    return names


def _array(
    b: Backbone,
    weights: Weights,
    ours: str,
    theirs: str,
    array: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    """One that is found good, float32, with its axes in our order."""
    due = shape
    if not weights.keras:
        due = (*shape[-1:], *shape[-2:-1], *shape[:-2])
    if array.shape != due:
        what = f"{theirs} has the shape {array.shape}; that of {b.name} is {due}"
        raise DataError(f"{weights.path}: {what}")
    if not np.isfinite(array).all():
        raise DataError(f"{weights.path}: {theirs} has values that are not finite")
    if not weights.keras and len(due) == 4:
        array = array.transpose(2, 3, 1, 0)
    elif not weights.keras and len(due) == 2:
        # The first dense layer takes the features, channels first.
        channels = b.channels if ours == "dense1/kernel" else due[1]
        array = array.reshape(due[0], channels, -1).transpose(2, 1, 0)
    return np.ascontiguousarray(array, np.float32).reshape(shape)


def _misfit(b: Backbone, weights: Weights, lacking: list[str], more: list[str]) -> str:
    """What does not fit, and which backbone would."""
    told = [
        f"{what} {', '.join(names[:FEW])}"
        + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
        for what, names in (("lacks", lacking), ("has also", more))
        if names
    ]
    there = _used(weights).keys()
    for other in map(backbones.make, backbones.PRETRAINED):
        names = _names(other, weights.keras)
        trunk = {names[ours] for ours in other.shapes()} if names else there - there
        if trunk and trunk <= there <= set(names.values()):
            told.append(f"it has the layers of {other.name}")
    return f"{weights.path} does not fit {b.name}: it " + "; ".join(told)
