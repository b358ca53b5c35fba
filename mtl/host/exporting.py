"""Writes a trained network as a file that JAX runs without this package."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array

from mtl.host import workdir

PLATFORMS = ("cpu", "cuda", "tpu")  # The file runs on these.


def write(path: Path, function: Callable[[Array], Array], shape: Sequence[int]) -> None:
    """Writes `function(x)`, for float32 x [batch, *shape] with any size of the batch.

    `jax.export.deserialize(path.read_bytes()).call(x)` computes it.

    Args:
      path: of the file.
      function: its parameters are constants in the file.
      shape: of one example.

    Raises:
      WorkdirError: the file cannot be written.
    """
    (batch,) = export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    exported = export.export(jax.jit(function), platforms=PLATFORMS)(x)
    workdir.write_bytes(path, bytes(exported.serialize()))
