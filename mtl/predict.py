"""Labels new images with a trained run of system 1.

python -m mtl.predict --workdir runs/digits --input images.npz --output labels

`images.npz` holds `x` [N, ...] of the size and kind that the run was trained on. Writes
labels.csv (row, label, probability) and labels.npz (`label` [N], `probability` [N,
classes]); labels are those of the training data, also if they are strings.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from mtl.data import readers
from mtl.host import launch, remote, remote_flags, workdir
from mtl.host.errors import DataError, WorkdirError
from mtl.trained import Model, load


def predict(folder: str | Path, x: np.ndarray, where: str = "x") -> np.ndarray:
    """[N, classes] probabilities of images [N, ...]; see `load` and `probabilities`."""
    return probabilities(load(folder), x, where)


def probabilities(model: Model, x: np.ndarray, where: str = "x") -> np.ndarray:
    """[N, classes] probabilities of images.

    Args:
      model: of the run.
      x: [N, ...], bool, uint8 or floats in [0, 1]; if the run scaled its data, any
        finite numbers.
      where: the name of x in errors.

    Raises:
      DataError: the images have another size, type or range than the run's.
    """
    x = (
        readers.numbers(x, where)
        if model.scaling
        else readers.unit(x, where, ", as the images that the run was trained on")
    )
    flat = x.reshape(len(x), -1)
    if x.shape[1:] not in (model.shape, (math.prod(model.shape),)):
        raise DataError(
            f"{where} has images of shape {list(x.shape[1:])}, but the run was trained "
            f"on {list(model.shape)}"
        )
    if model.scaling:
        flat = model.scaling.apply(flat)
    with jax.default_matmul_precision(model.config.precision):
        z = jax.jit(model.network.logits)(model.params, jnp.asarray(flat))
    return np.asarray(jax.nn.softmax(z))


def write(output: Path, probability: np.ndarray, names: Sequence[int | str]) -> None:
    """Writes output.csv and output.npz atomically, labels by the names of classes."""
    place = probability.argmax(1)
    rows = [(i, names[c], f"{probability[i, c]:.6f}") for i, c in enumerate(place)]
    table = output.with_name(f"{output.name}.csv")
    workdir.write_csv(table, ("row", "label", "probability"), rows)
    arrays = output.with_name(f"{output.name}.npz")
    label = np.array(names)[place]
    workdir.write_npz(arrays, label=label, probability=probability)


def label(arguments: Sequence[str]) -> str:
    """Labels images from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if not Path(args.output).name:
        raise WorkdirError(f"--output={args.output!r} must end in a file name")
    model = load(args.workdir)
    with remote.local_copy(args.input) as path:
        x = readers.load_npz(path, ("x",))["x"]
    found = probabilities(model, x, f"{args.input}: x")
    with remote.output(args.output) as output:
        write(output, found, model.names)
    return f"{len(x)} labels in {args.output}.csv and {args.output}.npz"


if __name__ == "__main__":
    remote_flags.define_workdir("The folder of a trained run.")
    remote_flags.define("input", None, "An .npz with images `x` [N, ...].")
    remote_flags.define("output", "labels", "Writes OUTPUT.csv and OUTPUT.npz.")
    launch.launch(label, "workdir", "input")
