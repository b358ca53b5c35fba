"""Training data with a part of the rows on each device.

With `Training.shard_data`, a device of n holds one nth of each field, and a process
keeps on its devices their rows alone. The rows of a mini-batch lie on any devices: each
device gives those that it has and zeros for the others, and the sum is the mini-batch.
All addends but one are 0, so the sum is exact (a -0.0 becomes 0.0). XLA's partitioner
makes this of a gather from a split array.

Fields of one number an example, such as labels, stay whole on each device. They are
small, and say which rows a task takes.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Shaped

from mtl.engine import sharding
from mtl.engine.task import Data


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SplitRows:
    """A field of the data, with its rows split over the devices of a mesh.

    Attributes:
      padded: the rows, and zeros up to a number that the devices divide.
      total: the number of rows.
      mesh: the devices, on the axis "data".
    """

    padded: Shaped[Array, "padded ..."]
    total: int = dataclasses.field(metadata={"static": True})
    mesh: Mesh = dataclasses.field(metadata={"static": True})

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, rows: Int[Array, " rows"]) -> Shaped[Array, "rows ..."]:
        """The rows of these numbers, on each device; for use in `jit`."""
        return sharding.constrain(self.padded[rows], self.mesh, split=False)

    def array(self) -> Shaped[Array, "total ..."]:
        """All rows, still split, for what is computed of each row alone."""
        return self.padded[: self.total]


def arrays(fields: Data, on_host: bool) -> Data:
    """The fields on the host, or as arrays on the first device.

    Args:
      fields: arrays by name; on the host, also what `place` takes in their place.
      on_host: `Training.shard_data`; then no device holds them whole.
    """
    if not on_host:
        return {k: jnp.asarray(v) for k, v in fields.items()}
    return {
        k: np.asarray(v) if isinstance(v, jax.Array) else v for k, v in fields.items()
    }


def place(data: Data, mesh: Mesh | None) -> Data:
    """Puts on each device of this process its rows of each field.

    Args:
      data: fields [rows, ...]: arrays, or what gives rows for a slice and has `shape`
        and `dtype`, such as a file that is mapped. Fields of one number a row, which
        must be arrays, are put on each device whole.
      mesh: of all devices, on the axis "data"; None: one device, which holds all.

    Returns:
      The fields, as `SplitRows` or arrays.
    """
    if mesh is None:
        return {name: jnp.asarray(field[:]) for name, field in data.items()}

    def on_devices(field: Any) -> Any:
        if len(field.shape) > 1:
            return _split(field, mesh)
        return sharding.replicate(jnp.asarray(field), mesh)

    return {name: on_devices(field) for name, field in data.items()}


def are_split(data: Data) -> bool:
    """Whether `place` has split any field."""
    return any(isinstance(field, SplitRows) for field in data.values())


def whole_fields(data: Data) -> Data:
    """The data with arrays in place of `SplitRows`."""
    return {k: v.array() if isinstance(v, SplitRows) else v for k, v in data.items()}


def _split(field: Any, mesh: Mesh) -> SplitRows:
    total, each = len(field), -(-len(field) // mesh.size)

    def rows_of_device(index: Any) -> Any:
        start, stop, _ = index[0].indices(each * mesh.size)
        own = field[start:stop]
        missing = [(0, each - len(own))] + [(0, 0)] * (len(field.shape) - 1)
        return np.pad(own, missing) if missing[0][1] else own

    padded = jax.make_array_from_callback(
        (each * mesh.size, *field.shape[1:]),
        NamedSharding(mesh, PartitionSpec(sharding.DATA_AXIS)),
        rows_of_device,
    )
    return SplitRows(padded, total, mesh)
