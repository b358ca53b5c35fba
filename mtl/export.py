"""Writes the network of a trained run of system 1 as one file (jax.export).

    python -m mtl.export --workdir runs/digits --out digits.jax

The file holds a function from images, float32 [N, ...] in [0, 1], to probabilities
[N, classes], for any N. If the run scaled its data, the images are not scaled yet. JAX
alone calls it:

    probabilities = jax.export.deserialize(open("digits.jax", "rb").read()).call(x)
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import flags
from jaxtyping import Array

from mtl.host import exporting, launch, remote, remote_flags
from mtl.host.errors import WorkdirError
from mtl.trained import Model, load


def probabilities(model: Model) -> Callable[[Array], Array]:
    """Returns `x [N, ...] -> [N, classes]` of a trained run."""

    def apply(x: Array) -> Array:
        flat = x.reshape(x.shape[0], model.network.inputs)
        if model.scaling:
            flat = model.scaling.apply(flat)
        with jax.default_matmul_precision(model.config.precision):
            return jax.nn.softmax(model.network.logits(model.params, flat))

    return apply


def write(arguments: Sequence[str]) -> str:
    """Writes the file from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if not Path(args.out).name or Path(args.out).is_dir():
        raise WorkdirError(f"--out={args.out!r} must be the name of a file")
    model = load(args.workdir)
    with remote.output(args.out) as out:
        exporting.write(out, probabilities(model), model.shape)
    shape = ", ".join(map(str, ("N", *model.shape)))
    return f"{args.out}: images [{shape}] to probabilities [N, {len(model.names)}]"


if __name__ == "__main__":
    remote_flags.define_workdir("The folder of a trained run.")
    remote_flags.define("out", None, "The file to write.")
    launch.launch(write, "workdir", "out")
