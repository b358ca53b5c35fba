"""How an epoch is compiled."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax

# `python -m benchmarks.compiler_options` shows that an option changes no result, on
# one, two and eight devices. One that did is described in docs/xla.md.
CPU_OPTIONS = {"xla_cpu_copy_insertion_use_region_analysis": True}
CPU_OPTIONS_LARGE = {"xla_cpu_prefer_vector_width": 512}  # As far as the CPU has them.
LARGE_BATCH = 100


def compiled(epoch: Callable, batch_size: int, **jit_options: Any) -> Any:
    """`jax.jit` with the compiler options that make an epoch faster on this backend.

    On a CPU, XLA copies the parameters in each step unless region analysis shows that
    it need not. Large batches gain from wide vectors (`benchmarks/README.md`).
    """
    wanted = CPU_OPTIONS | (CPU_OPTIONS_LARGE if batch_size >= LARGE_BATCH else {})
    options = {name: value for name, value in wanted.items() if _supported(name, value)}
    return jax.jit(epoch, compiler_options=options, **jit_options)


@cache
def _supported(option: str, value: str | bool | int) -> bool:
    """Whether this is a CPU, and its XLA has the option, which a release may drop."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
