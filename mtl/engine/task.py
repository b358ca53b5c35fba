"""A task: a loss on some of the parameters over some of the examples."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from flax import traverse_util
from jaxtyping import Array, Bool, Float, Key

Params = dict[str, Any]
Flat = dict[str, Any]  # Arrays, or shapes, by names such as "encoder/1/kernel".
# Fields with a row for each example: arrays, or `batches.Rows`.
Data = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """One term of the objective, J_task.

    Its loss weight is not here. Loss weights are data (`schedules.table`), so that
    another schedule runs in the same compiled program.

    Attributes:
      name: names the task in logs, weights and errors.
      loss: `(params, batch, key) -> losses`, one value an example. `batch` holds the
        rows of the data's fields, and the mask `batch["valid"]`. Rows that are not
        valid only fill the batch up, and their loss is ignored.
      params: path prefixes ("encoder", "decoder/1") of the parameters that the task
        trains. All others are constants to it.
      rows: `data -> mask` of the examples that take part (all, if None).
      reduction: how the losses of a batch become J: their `mean` or their `sum`.
      penalty: of the parameters, a term of J besides the losses, such as L2. Reported
        losses do not contain it.
      draws: 0: a step takes the task's examples that the mini-batch happens to hold.
        Above 0: it draws so many for this task alone, each example equally often.
    """

    name: str
    loss: Callable[[Params, dict[str, Array], Key[Array, ""]], Float[Array, " batch"]]
    params: tuple[str, ...]
    rows: Callable[[Data], Bool[Array, " examples"]] | None = None
    reduction: Literal["mean", "sum"] = "mean"
    penalty: Callable[[Params], Float[Array, ""]] | None = None
    draws: int = 0


def flatten(params: Params) -> Flat:
    """Nested dicts to one dict."""
    return traverse_util.flatten_dict(params, sep="/")


def unflatten(flat: Flat) -> Params:
    """The inverse of `flatten`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def trainable_params(tasks: Iterable[Task], params: Params) -> Flat:
    """The parameters that at least one of the tasks trains, flat.

    Raises:
      ValueError: a prefix of a task matches no parameter.
    """
    flat, chosen = flatten(params), set()
    for task in tasks:
        for prefix in task.params:
            found = {k for k in flat if k == prefix or k.startswith(prefix + "/")}
            if not found:
                raise ValueError(
                    f"task {task.name!r} trains {prefix!r}, but the parameters are "
                    + ", ".join(flat)
                )
            chosen |= found
    return {k: v for k, v in flat.items() if k in chosen}
