"""One run on several devices: they share the rows of each mini-batch.

The devices are a mesh of one axis, "data". Data, parameters and optimizer states are on
each device; the slots of each task in a mini-batch are split evenly. XLA's partitioner
adds the sums over devices.
"""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mtl.host.errors import ConfigError

DATA_AXIS = "data"
Tree = TypeVar("Tree")


def device_count(wanted: int, batch_size: int) -> int:
    """The number of local devices that a run uses.

    Args:
      wanted: config.devices; 0 takes all local devices if they divide `batch_size`, and
        one device otherwise.
      batch_size: rows of a mini-batch.

    Raises:
      ConfigError: there are fewer devices, or they do not divide `batch_size`.
    """
    local = jax.local_device_count()
    if wanted == 0:
        return 1 if batch_size % local else local
    if not 0 < wanted <= local:
        raise ConfigError(
            f"config.devices={wanted} must be 0, or from 1 to {local}, the number of "
            f"local devices ({jax.default_backend()})"
        )
    if batch_size % wanted:
        raise ConfigError(
            f"config.devices={wanted} must divide the batch size, {batch_size}; "
            "1 trains on one device"
        )
    return wanted


def data_mesh(wanted: int, batch_size: int) -> Mesh | None:
    """The devices of a run on the axis "data"; None for one device.

    See `device_count` for the arguments and the error.
    """
    devices = device_count(wanted, batch_size)
    if devices == 1:
        return None
    chosen = jax.local_devices()[:devices]
    return jax.make_mesh((devices,), (DATA_AXIS,), (AxisType.Auto,), devices=chosen)


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """Copies arrays to all devices of the mesh; without a mesh, they stay in place."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, _ALL))


def on_one_device(tree: Tree, mesh: Mesh | None) -> Tree:
    """Takes replicated arrays from the first device of the mesh."""
    return tree if mesh is None else jax.device_put(tree, mesh.devices.flat[0])


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


_ALL = PartitionSpec()
