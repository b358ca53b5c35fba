"""The five large matrix products of NN1's reconstruction step, and nothing else.

    python -m benchmarks.mtl_products

Seconds for as many as an epoch has, in PyTorch and in XLA: no epoch takes less. Medians
of nine.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.mtl_contenders import BATCH, HIDDEN, INPUTS, load_torch
from mtl.engine.cpu import compiling
from mtl.host import launch

STEPS = 84


def products(x: Any, w: Any, h: Any, dz: Any, da: Any) -> tuple[Any, ...]:
    """Forward: x w, h w'. Backward: dz w, dz' h, x' da. Any framework's arrays."""
    return x @ w, h @ w.T, dz @ w, dz.T @ h, x.T @ da


@partial(compiling.compiled, batch_size=BATCH)
def in_xla(x: Any, w: Any, h: Any, dz: Any, da: Any) -> jax.Array:
    """All steps; adding what they carry keeps XLA from leaving them out."""

    def step(carry: jax.Array, _: None) -> tuple[jax.Array, None]:
        done = products(x, w + carry, h + carry, dz, da + carry)
        return 1e-30 * sum(p.ravel()[0] for p in done), None

    return jax.lax.scan(step, jnp.float32(0), None, length=STEPS)[0]


def in_torch(arrays: Sequence[Any]) -> None:
    """All steps."""
    for _ in range(STEPS):
        products(*arrays)


def work(arguments: Sequence[str]) -> str:
    """Measures and returns the two medians."""
    launch.reject_extra_args(arguments)
    torch, rng = load_torch(), np.random.default_rng(0)
    wide, narrow, kernel = (BATCH, INPUTS), (BATCH, HIDDEN), (INPUTS, HIDDEN)
    shapes = wide, kernel, narrow, wide, narrow
    arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
    held = [jnp.asarray(a) for a in arrays]
    contenders: dict[str, Callable[[], object]] = {
        "PyTorch": partial(in_torch, [torch.tensor(a) for a in arrays]),
        "XLA": lambda: in_xla(*held).block_until_ready(),
    }
    took = measure.seconds(contenders, 9)
    rows = [(name, statistics.median(each)) for name, each in took.items()]
    return measure.table(("", "s"), rows, (".3f",))


if __name__ == "__main__":
    launch.launch(work)
