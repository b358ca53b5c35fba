"""The five large matrix products of NN1's reconstruction step, and nothing else.

    python -m benchmarks.mtl_products

Seconds for as many as an epoch has, in PyTorch and in XLA: no epoch takes less. Medians
of nine.
"""

import statistics
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.mtl_contenders import BATCH, HIDDEN, INPUTS, load_torch
from mtl.engine.cpu import compiling

STEPS = 84


def products(x, w, h, dz, da):
    """Forward: x w, h w'. Backward: dz w, dz' h, x' da. Any framework's arrays."""
    return x @ w, h @ w.T, dz @ w, dz.T @ h, x.T @ da


@partial(compiling.compiled, batch_size=BATCH)
def in_xla(x, w, h, dz, da):
    """All steps; adding what they carry keeps XLA from leaving them out."""

    def step(carry, _):
        done = products(x, w + carry, h + carry, dz, da + carry)
        return 1e-30 * sum(p.ravel()[0] for p in done), None

    return jax.lax.scan(step, jnp.float32(0), None, length=STEPS)[0]


def in_torch(arrays):
    """All steps."""
    for _ in range(STEPS):
        products(*arrays)


def main() -> None:
    """Prints the two medians."""
    torch, rng = load_torch(), np.random.default_rng(0)
    wide, narrow, kernel = (BATCH, INPUTS), (BATCH, HIDDEN), (INPUTS, HIDDEN)
    shapes = wide, kernel, narrow, wide, narrow
    arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
    held = [jnp.asarray(a) for a in arrays]
    work = {
        "PyTorch": partial(in_torch, [torch.tensor(a) for a in arrays]),
        "XLA": lambda: in_xla(*held).block_until_ready(),
    }
    for name, took in measure.seconds(work, 9).items():
        print(f"{name:8} {statistics.median(took):.3f}")


if __name__ == "__main__":
    main()
