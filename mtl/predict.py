"""Labels new images with a trained run of system 1.

python -m mtl.predict --workdir runs/digits --input images.npz --output labels

`images.npz` holds `x` [N, ...], uint8 or floats in [0, 1], of the size that the run was
trained on. Writes labels.csv (row, label, probability) and labels.npz (`label` [N],
`probability` [N, classes]).
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from mtl import experiment
from mtl.data import readers
from mtl.engine.task import Params
from mtl.host import checkpoint, launch, workdir
from mtl.host.errors import DataError, WorkdirError
from mtl.tasks.network import Mlp


def load(folder: Path) -> tuple[ConfigDict, Mlp, Params, tuple[int, ...]]:
    """Config, network, best parameters and image shape of a trained run.

    Raises:
      WorkdirError: the folder holds no run, or one without a checkpoint yet.
    """
    config = workdir.load_config(folder)
    data = workdir.read_json(folder / "data.json")
    network = experiment.build_network(config, data["shape"], data["classes"])
    start = network.init(jax.random.key(0))
    params = checkpoint.restore_best(folder, start, "mtl.main")
    return config, network, params, tuple(data["shape"])


def predict(folder: str | Path, x: np.ndarray, where: str = "x") -> np.ndarray:
    """[N, classes] probabilities of images [N, ...], uint8 or floats in [0, 1].

    Raises:
      DataError: the images have another size, type or range than the run's.
      WorkdirError: the folder holds no trained run.
    """
    config, network, params, shape = load(Path(folder))
    x = readers.unit(x, where)
    flat = x.reshape(len(x), -1)
    if x.shape[1:] not in (shape, (int(np.prod(shape)),)):
        raise DataError(
            f"{where} has images of shape {list(x.shape[1:])}, but {folder} was "
            f"trained on {list(shape)}"
        )
    with jax.default_matmul_precision(config.precision):
        z = jax.jit(network.logits)(params, jnp.asarray(flat))
    return np.asarray(jax.nn.softmax(z))


def write(output: Path, probability: np.ndarray) -> None:
    """Writes output.csv and output.npz atomically."""
    label = probability.argmax(1)
    rows = [(i, c, f"{probability[i, c]:.6f}") for i, c in enumerate(label)]
    table = output.with_name(f"{output.name}.csv")
    workdir.write_csv(table, ("row", "label", "probability"), rows)
    arrays = output.with_name(f"{output.name}.npz")
    workdir.write_npz(arrays, label=label, probability=probability)


def label(arguments: Sequence[str]) -> str:
    """Labels images from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if not Path(args.output).name:
        raise WorkdirError(f"--output={args.output!r} must end in a file name")
    x = readers.load_npz(args.input, ("x",))["x"]
    write(Path(args.output), predict(args.workdir, x, f"{args.input}: x"))
    return f"{len(x)} labels in {args.output}.csv and {args.output}.npz"


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "The folder of a trained run.")
    flags.DEFINE_string("input", None, "An .npz with images `x` [N, ...].")
    flags.DEFINE_string("output", "labels", "Writes OUTPUT.csv and OUTPUT.npz.")
    launch.launch(label, "workdir", "input")
