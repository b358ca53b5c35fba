"""What an engine trains, and in which steps."""

import dataclasses
from typing import Literal, get_args

import optax
from jax.sharding import Mesh

from mtl.engine.task import Task
from mtl.engine.weighting import Weighting

Order = Literal["alternate", "alternate_then_joint", "joint"]
ORDERS = get_args(Order)


@dataclasses.dataclass(frozen=True)
class Spec:
    """The static part of a training: no arrays, so it may be closed over by `jit`.

    Attributes:
      tasks: in the order of their update steps. With `alternate_then_joint` the main
        task comes last.
      batch_size: B, rows that each mini-batch draws from the data. The last one of an
        epoch may be shorter.
      optimizer: makes updates for a learning rate of 1.
      order: see `mtl.engine.engine`.
      max_rows_per_batch: for each task, how many of its examples a mini-batch can hold.
        A step computes as many losses. A task with 0 makes no step.
      never_empty: for each task, whether every mini-batch has an example of it.
      weighting: sets loss weights that multiply those of the schedule; or None.
      mesh: the devices that share the rows of a mini-batch; None: one device.
    """

    tasks: tuple[Task, ...]
    batch_size: int
    optimizer: optax.GradientTransformation
    order: Order
    max_rows_per_batch: tuple[int, ...]
    never_empty: tuple[bool, ...]
    weighting: Weighting | None = None
    mesh: Mesh | None = None

    @property
    def updates(self) -> tuple[tuple[int, ...], ...]:
        """The tasks of each update step of a mini-batch, by their numbers."""
        joint = tuple(range(len(self.tasks)))
        each = tuple((i,) for i in joint)
        return {
            "alternate": each,
            "alternate_then_joint": (*each[:-1], joint),
            "joint": (joint,),
        }[self.order]
