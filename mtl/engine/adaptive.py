"""Methods with adaptive loss weights: published ones, and two of ours.

The loss weights change

    after a mini-batch   by the tasks' J or their gradients: `uncertainty`, `gradnorm`,
                         `famo`
    after an epoch       by the tasks' losses: `dwa`
    after an evaluation  by its numbers: `plateau`, `ratio`

The loss weights of the paper's schedules, of `famo`, `plateau` and `ratio` lie in
[0, 1] and sum to 1. Those of `dwa` and `gradnorm` sum to the number of tasks, and those
of `uncertainty` to any number, as published; so they also scale the learning rate.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mtl.engine.weighting import Batch, Weighting, WeightingState


def uncertainty(factors: Sequence[float]) -> Weighting:
    """A variance for each task, learnt with the network (Kendall et al., CVPR 2018).

    Minimises the sum over tasks of factor exp(-s) J + s / 2, s = log sigma^2, over the
    parameters and over s, which starts at 0 (equations 7 and 10). Plain
    gradient descent at the network's learning rate updates s of each task in the batch.

    Args:
      factors: for each task, 1/2 if J is a squared error, 1 if it is a cross-entropy.
    """
    factor = jnp.asarray(factors)

    def weights(s: Float[Array, " tasks"], batch: Any) -> Float[Array, " tasks"]:
        del batch
        return factor * jnp.exp(-s)

    def step(s: Float[Array, " tasks"], batch: Batch) -> Float[Array, " tasks"]:
        slope = 0.5 - weights(s, batch) * batch.cost
        return s - batch.learning_rate * jnp.where(batch.present, slope, 0)

    return Weighting(lambda: jnp.zeros(len(factors)), weights, True, step)


class Losses(NamedTuple):
    """The state of `dwa`: mean losses of the last epoch and of the one before."""

    last: Float[Array, " tasks"]
    before: Float[Array, " tasks"]


def dwa(tasks: int, temperature: float = 2.0) -> Weighting:
    """Dynamic weight average (Liu, Johns and Davison, CVPR 2019, equation 7).

    tasks * softmax(r / temperature), where r is a task's mean loss in the last epoch
    over that in the one before. In the first two epochs all weights are 1.
    """

    def weights(state: Losses, batch: None) -> Float[Array, " tasks"]:
        del batch
        measured = state.before > 0
        r = jnp.where(measured, state.last / jnp.where(measured, state.before, 1), 1)
        return tasks * jax.nn.softmax(r / temperature)

    def epoch(
        state: Losses, loss: Float[Array, " tasks"], rows: Int[Array, " tasks"]
    ) -> Losses:
        mean = jnp.where(rows > 0, loss / jnp.maximum(rows, 1), state.last)
        return Losses(mean, state.last)

    return Weighting(
        lambda: Losses(jnp.zeros(tasks), jnp.zeros(tasks)), weights, epoch=epoch
    )


class Norms(NamedTuple):
    """The state of `gradnorm`: weights, the first J, Adam's state."""

    weight: Float[Array, " tasks"]
    first: Float[Array, " tasks"]
    opt: optax.OptState


def gradnorm(
    tasks: int, layer: str, alpha: float = 1.5, rate: float = 0.025
) -> Weighting:
    """Gradients of like norm, or larger where a task lags (Chen et al., ICML 2018).

    Algorithm 1. G_i is the norm of the gradient of w_i J_i for a shared layer, r_i is
    J_i over what it was at first, over the mean of these ratios. The weights descend
    sum |G_i - mean(G) r_i^alpha|, with constant targets, by Adam (as in the
    paper's experiments), and are scaled to sum to the number of tasks. They start at 1.
    Mini-batches that lack a task change nothing. Ours: no weight falls below 0.001.

    Args:
      tasks: the number of tasks.
      layer: the name of the last parameter that the tasks share.
      alpha: how much a task that lags is favoured.
      rate: the learning rate of the loss weights.
    """
    optimizer = optax.adam(rate)

    def init() -> Norms:
        return Norms(jnp.ones(tasks), jnp.zeros(tasks), optimizer.init(jnp.ones(tasks)))

    def step(state: Norms, batch: Batch) -> Norms:
        first = jnp.where(state.first > 0, state.first, batch.cost)
        r = _over(batch.cost, first)
        scaled = state.weight * batch.norm
        target = scaled.mean() * _over(r, r.mean()) ** alpha
        slope = jnp.sign(scaled - target) * batch.norm
        moved, opt = optimizer.update(slope, state.opt)
        weight = jnp.maximum(state.weight + moved, 1e-3)
        new = Norms(weight * tasks / weight.sum(), first, opt)
        return _select(batch.present.all(), new, state)

    return Weighting(init, lambda m, batch: m.weight, True, step, layer=layer)


class Logits(NamedTuple):
    """The state of `famo`: logits, each task's last J, Adam's state."""

    xi: Float[Array, " tasks"]
    cost: Float[Array, " tasks"]
    opt: optax.OptState


def famo(tasks: int, rate: float = 0.025, decay: float = 0.01) -> Weighting:
    """All tasks' log J fall alike (Liu, Feng, Stone and Liu, NeurIPS 2023).

    Algorithm 1. With z = softmax(xi), the weights are z_i / J_i, scaled to sum to 1: a
    step on sum z_i log J_i, of bounded size. xi starts at 0 and descends by what log J
    fell in the mini-batch, times the derivative of z, with a weight decay; by Adam, as
    in the authors' program, which also adds 1e-8 to each J. A mini-batch that lacks a
    task leaves xi as it is; the last J of that task goes into the sum.

    Args:
      tasks: the number of tasks.
      rate: beta, the learning rate of xi.
      decay: gamma.
    """
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.adam(rate))

    def init() -> Logits:
        xi = jnp.zeros(tasks)
        return Logits(xi, jnp.full(tasks, jnp.inf, float), optimizer.init(xi))

    def last_cost(state: Logits, batch: Batch) -> Float[Array, " tasks"]:
        return jnp.where(batch.present, batch.cost + 1e-8, state.cost)

    def weights(state: Logits, batch: Batch) -> Float[Array, " tasks"]:
        share = jax.nn.softmax(state.xi) / last_cost(state, batch)
        return share / jnp.maximum(share.sum(), 1e-30)

    def step(state: Logits, batch: Batch) -> Logits:
        state = state._replace(cost=last_cost(state, batch))
        fell = jnp.log(batch.cost + 1e-8) - jnp.log(batch.after + 1e-8)
        (slope,) = jax.vjp(jax.nn.softmax, state.xi)[1](fell)
        moved, opt = optimizer.update(slope, state.opt, state.xi)
        new = state._replace(xi=state.xi + moved, opt=opt)
        return _select(batch.present.all(), new, state)

    return Weighting(init, weights, True, step, needs_cost_after=True)


class Watch(NamedTuple):
    """The state of `plateau`: lambda, the best number, evaluations since then."""

    weight: Float[Array, ""]
    best: Float[Array, ""]
    waited: Int[Array, ""]


def plateau(monitor: str, factor: float, wait: int, cutoff: float = 0.0) -> Weighting:
    """Less of the first of two tasks whenever the error stops falling. Ours.

    Weights lambda and 1 - lambda. lambda starts at 1/2, and is multiplied by `factor`
    when `wait` evaluations in a row have not brought a lower `monitor`. Once below
    `cutoff` it is 0, and the first task costs no time.
    """

    def init() -> Watch:
        return Watch(
            jnp.full((), 0.5, float), jnp.full((), jnp.inf, float), jnp.zeros((), int)
        )

    def observe(state: Watch, numbers: Mapping[str, Any]) -> Watch:
        value = numbers[monitor]
        waited = jnp.where(value < state.best, 0, state.waited + 1)
        weight = jnp.where(waited >= wait, factor * state.weight, state.weight)
        return Watch(
            jnp.where(weight < cutoff, 0, weight),
            jnp.fmin(state.best, value),  # A NaN is not the best.
            jnp.where(waited >= wait, 0, waited),
        )

    return Weighting(init, lambda state, batch: _pair(state.weight), observe=observe)


class Gap(NamedTuple):
    """The state of `ratio`: q, and the second task's mean loss in the last epoch."""

    share: Float[Array, ""]
    loss: Float[Array, ""]


def ratio(monitor: str = "valid/loss") -> Weighting:
    """More of the first of two tasks the more the second one overfits. Ours.

    Weights 1 - q and q, where q, in [0, 1], is the second task's mean loss in the last
    epoch before an evaluation over `monitor`, the same loss on other examples. Until
    the first evaluation q is 1/2.
    """

    def epoch(
        state: Gap, loss: Float[Array, " tasks"], rows: Int[Array, " tasks"]
    ) -> Gap:
        mean = jnp.where(rows > 0, loss / jnp.maximum(rows, 1), state.loss)
        return state._replace(loss=mean[1])

    def observe(state: Gap, numbers: Mapping[str, Any]) -> Gap:
        share = _over(state.loss, jnp.asarray(numbers[monitor]))
        return state._replace(share=jnp.clip(share, 0, 1))

    return Weighting(
        lambda: Gap(jnp.full((), 0.5, float), jnp.zeros(())),
        lambda state, batch: _pair(1 - state.share),
        epoch=epoch,
        observe=observe,
    )


def _over(part: Array, whole: Array) -> Array:
    """The ratio of two losses; 1 if the second one is 0, for there is no gap."""
    return jnp.where(whole == 0, 1, part / jnp.where(whole == 0, 1, whole))


def _select(holds: Array, new: WeightingState, old: WeightingState) -> WeightingState:
    return jax.tree.map(lambda a, b: jnp.where(holds, a, b), new, old)


def _pair(weight: Float[Array, ""]) -> Float[Array, "2"]:
    return jnp.stack([weight, 1 - weight])
