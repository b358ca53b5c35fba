"""Labels new images with a trained run of system 1.

python -m mtl.predict --workdir runs/digits --input images.npz --output labels

`images.npz` holds `x` [N, ...] of the size and kind that the run was trained on. Writes
labels.csv (row, label, probability) and labels.npz (`label` [N], `probability` [N,
classes]); labels are those of the training data, also if they are strings. It replaces
such files of an earlier prediction, and no other local file; in a store, it replaces
any file of these names.
"""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from mtl.data import readers
from mtl.host import launch, remote, remote_flags, remote_store, workdir
from mtl.host.errors import DataError, WorkdirError
from mtl.trained import Model, load

COLUMNS = ("row", "label", "probability")
KINDS = ("csv", "npz")
ARRAYS = ("label", "probability")


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
    table, arrays = _files(output)
    workdir.write_csv(table, COLUMNS, rows)
    values = np.array(names)[place], probability
    workdir.write_npz(arrays, **dict(zip(ARRAYS, values, strict=True)))


def prepare_output(output: Path) -> None:
    """Makes the folder of the output, and refuses to replace the user's other files.

    Raises:
      WorkdirError: a file of that name, such as the training data, is no output; or the
        folder cannot be made.
    """
    workdir.make(output.parent, f"{output.parent}, the folder of --output={output}")
    for path in _files(output):
        if path.exists() and not _is_output(path):
            raise WorkdirError(
                f"--output={output} would replace {path}, which holds no labels of a "
                "prediction; take another name"
            )


def _files(output: Path) -> tuple[Path, Path]:
    """The table and the arrays of an output."""
    table, arrays = (output.with_name(f"{output.name}.{kind}") for kind in KINDS)
    return table, arrays


def _is_output(path: Path) -> bool:
    """Whether a file is the table or the arrays of an earlier prediction."""
    if path.suffix == ".csv":
        with open(path, "rb") as file:
            return file.readline().strip() == ",".join(COLUMNS).encode()
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return set(file.namelist()) == {f"{name}.npy" for name in ARRAYS}


def label(arguments: Sequence[str]) -> str:
    """Labels images from command-line flags and returns a summary.

    Raises:
      WorkdirError: the run is missing, or the output would replace another file.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if not Path(args.output).name:
        raise WorkdirError(f"--output={args.output!r} must end in a file name")
    if not remote_store.is_address(args.output):
        prepare_output(Path(args.output))
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
