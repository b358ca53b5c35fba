"""One run on several devices: they share the rows of each mini-batch.

The devices are a mesh of one axis, "data"; they may belong to several processes. Data,
parameters and optimizer states are on each device; the slots of each task in a
mini-batch are split evenly. XLA's partitioner adds the sums over devices.
"""

import contextlib
import functools
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mtl.host import processes
from mtl.host.errors import ConfigError

DATA_AXIS = "data"
Tree = TypeVar("Tree")


def device_count(wanted: int, batch_size: int) -> int:
    """The number of devices that a run uses, of all its processes together.

    Process 0 warns, once a program, if `wanted` is 0 and devices stay idle.

    Args:
      wanted: config.devices; 0 takes all devices if they divide `batch_size`, and one
        device of each process otherwise.
      batch_size: rows of a mini-batch.

    Raises:
      ConfigError: there are fewer devices, or they do not divide `batch_size`, or the
        processes do not divide them.
    """
    local, hosts = jax.local_device_count(), jax.process_count()
    total = local * hosts
    if wanted == 0:
        wanted = hosts if batch_size % total else total
        if wanted < total and batch_size % wanted == 0 and processes.is_first():
            _warn_of_idle(wanted, total, batch_size)
    if not 0 < wanted <= total:
        where = "local devices" if hosts == 1 else "devices of all processes"
        raise ConfigError(
            f"config.devices={wanted} must be 0, or from 1 to {total}, the number of "
            f"{where} ({jax.default_backend()})"
        )
    if wanted % hosts:
        raise ConfigError(
            f"config.devices={wanted} must be a multiple of {hosts}, the number of "
            "processes; 0 takes all devices"
        )
    if batch_size % wanted:
        fix = "1 trains on one device"
        if hosts > 1:
            fix = f"change it, or take other devices of the {hosts} processes"
        raise ConfigError(
            f"config.devices={wanted} must divide the batch size, {batch_size}; {fix}"
        )
    return wanted


def data_mesh(wanted: int, batch_size: int) -> Mesh | None:
    """The devices of a run on the axis "data"; None for one device.

    Each process has equally many. See `device_count` for the arguments and the error.
    """
    devices = device_count(wanted, batch_size)
    if devices == 1:
        return None
    each = devices // jax.process_count()
    chosen = [
        device
        for process in range(jax.process_count())
        for device in jax.local_devices(process)[:each]
    ]
    return jax.make_mesh((devices,), (DATA_AXIS,), (AxisType.Auto,), devices=chosen)


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """Copies arrays to all devices of the mesh; without a mesh, they stay in place.

    Each process gives its own devices what it has: all must have the same.
    """
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, _ALL)
    if everywhere.is_fully_addressable:
        return jax.device_put(tree, everywhere)
    return jax.tree.map(partial(_replicate_own, everywhere=everywhere), tree)


def on_one_device(tree: Tree, mesh: Mesh | None) -> Tree:
    """Takes replicated arrays from the first device of this process in the mesh."""
    if mesh is None:
        return tree
    if mesh.is_multi_process:
        return jax.tree.map(lambda x: x.addressable_data(0), tree)
    return jax.device_put(tree, mesh.devices.flat[0])


def replicated_results(mesh: Mesh | None) -> dict[str, NamedSharding]:
    """The argument of `jax.jit` that leaves all results on each device of the mesh."""
    return {} if mesh is None else {"out_shardings": NamedSharding(mesh, _ALL)}


def constrain(tree: Tree, mesh: Mesh | None, split: bool) -> Tree:
    """Splits arrays [rows, ...] over the mesh, or replicates them; for use in `jit`."""
    if mesh is None:
        return tree
    spec = PartitionSpec(DATA_AXIS) if split else _ALL
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))


@contextlib.contextmanager
def splitting_rows(mesh: Mesh | None) -> Iterator[None]:
    """`rows_are_split` is true of functions that JAX traces in this context."""
    if mesh is None:
        yield
    else:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            yield


def rows_are_split() -> bool:
    """Whether the traced function computes mini-batches that devices share."""
    return DATA_AXIS in jax.sharding.get_abstract_mesh().axis_names


@functools.cache
def _warn_of_idle(used: int, total: int, batch_size: int) -> None:
    logging.warning(
        "the run uses %s of %s devices, because %s do not divide batch_size=%s; take a "
        "multiple of %s, or set config.devices",
        *(used, total, total, batch_size, total),
    )


def _replicate_own(x: Any, everywhere: NamedSharding) -> jax.Array:
    """`jax.device_put` for several processes, without its exchange to compare them."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return x
    copies = [jax.device_put(x, d) for d in everywhere.mesh.local_devices]
    return jax.make_array_from_single_device_arrays(np.shape(x), everywhere, copies)


_ALL = PartitionSpec()
