"""Computation in bfloat16; parameters, losses and sums stay float32.

A network casts its parameters and inputs where it computes, so that the gradients, and
with them the optimizer states, are float32 (Micikevicius et al. 2018, "Mixed precision
training"; bfloat16 needs no scale of the loss).
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

DTYPES = ("float32", "bfloat16")

T = TypeVar("T")


def narrow(tree: T, dtype: str) -> T:
    """Casts arrays to bfloat16; with "float32", they stay as they are."""
    if dtype == "float32":
        return tree
    return jax.tree.map(lambda x: x.astype(dtype), tree)


def widen(x: Array) -> Array:
    """Casts bfloat16 to float32; wider types stay."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
