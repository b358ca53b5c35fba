"""How an epoch is compiled."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax

# What compiles an epoch well on a CPU, and what its large batches need beside.
CPU_OPTIONS = {"xla_cpu_copy_insertion_use_region_analysis": True}
CPU_OPTIONS_LARGE = {
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_cpu_prefer_vector_width": 512,  # As far as the CPU has them.
}
LARGE_BATCH = 100


def compiled(epoch: Callable, batch_size: int, **jit_options: Any) -> Any:
    """`jax.jit` with the compiler options that suit an epoch, where there are any.

    On a CPU, XLA copies what a step moves unless it looks closer whether it must. It
    hands matrix products to a library; its own ones are faster on batches of hundreds,
    and slower on batches of ten. The rest of a large batch gains from wide vectors if
    the CPU has them (`benchmarks/README.md`).
    """
    wanted = CPU_OPTIONS | (CPU_OPTIONS_LARGE if batch_size >= LARGE_BATCH else {})
    options = {name: value for name, value in wanted.items() if _known(name, value)}
    return jax.jit(epoch, compiler_options=options, **jit_options)


@cache
def _known(option: str, value: str | bool | int) -> bool:
    """Whether this is a CPU whose XLA knows the option, which it may drop any day."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
