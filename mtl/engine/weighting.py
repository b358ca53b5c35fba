"""Loss weights that adapt during training.

The state of such a method is a tree of arrays, `engine.State.weighting_state`. A method
that adapts in each mini-batch sets its weights before the update steps, from the costs
J of all tasks there, and changes its state after them. With one joint step this is what
the papers do. With alternate steps, the same weights hold for all steps of the batch.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float

WeightingState = Any


class Batch(NamedTuple):
    """A mini-batch as a weighting gets it, an entry a task, in the tasks' order.

    cost: J before the steps, with the rows and noise of the task's step.
    present: whether the batch has a row of the task with a loss weight.
    learning_rate: of the mini-batch.
    norm: Euclidean norm of J's gradient for `Weighting.layer`, before the steps.
    after: J after the steps, if `Weighting.needs_cost_after`.
    """

    cost: Float[Array, " tasks"]
    present: Bool[Array, " tasks"]
    learning_rate: float | Float[Array, ""]
    norm: Float[Array, " tasks"]
    after: Float[Array, " tasks"]


def _keep(state: WeightingState, *_: Any) -> WeightingState:
    return state


class Weighting(NamedTuple):
    """A method, as pure functions, to be composed with `jit`, `vmap` and `scan`.

    The engine calls all of them but `observe`, which the training loop calls.

    init: `() -> state`.
    weights: `(state, batch) -> loss weights`.
    in_batch: whether each mini-batch gets weights of its own. Otherwise all batches of
      an epoch have the same weights, and `batch` is None.
    step: `(state, batch) -> state`, after each mini-batch, if `in_batch`.
    epoch: `(state, loss, rows) -> state`, after each epoch; sums, as in
      `engine.Metrics`.
    observe: `(state, {name: number}) -> state`, after each evaluation.
    layer: the parameter, as in "encoder/1/kernel". `step` needs the norms of the
      gradients for it.
    needs_cost_after: whether `step` needs the costs after the update steps.
    """

    init: Callable[[], WeightingState]
    weights: Callable[[WeightingState, Any], Float[Array, " tasks"]]
    in_batch: bool = False
    step: Callable[[WeightingState, Batch], WeightingState] = _keep
    epoch: Callable[[WeightingState, Array, Array], WeightingState] = _keep
    observe: Callable[[WeightingState, Mapping[str, Any]], WeightingState] = _keep
    layer: str | None = None
    needs_cost_after: bool = False
