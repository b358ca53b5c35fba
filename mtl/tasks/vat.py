"""Virtual adversarial training (Miyato et al., arXiv 1507.00677 and 1704.03976).

The cost of an image is KL(p(y | x) || p(y | x + r)), with r of length epsilon in the
direction that changes p the most. That is the first eigenvector of the divergence's
Hessian H at r = 0, found by power iteration from a random start. Here H d is exact: the
divergence is 0 and flat at r = 0, so H = Jᵀ (diag(p) − p pᵀ) J, with J the logits'
Jacobian.

The papers' code takes it from gradients a finite ξ d apart, and so does `xi` above 0.
In float32 its ξ = 1e-6 is lost on pixels that are not black, and much of the change of
the predictions is rounding. Jᵀ turns it into an r that changes them as much, but in a
direction of its own. It matters: docs/results/best.md.

Both p(y | x) and r are constants to the gradient (equation 10 of 1507.00677).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from mtl.engine.task import Params, Task
from mtl.host.checks import at_least, require
from mtl.tasks.network import Mlp

Transpose = Callable[[Callable, Array], Callable]


def check(c: ConfigDict) -> None:
    """Checks `config.vat`; raises ConfigError."""
    at_least(c, "vat.iterations", 1)
    for name in ("entropy", "xi"):
        at_least(c, f"vat.{name}", 0)
    for name in ("epsilon", "scale"):
        require(c.vat[name] > 0, c, f"vat.{name}", "above 0")
    fits = c.vat.xi == 0 or c.model.dtype == "float32"
    require(fits, c, "vat.xi", "0 with model.dtype='bfloat16', which rounds it away")


def task(config: ConfigDict, network: Mlp) -> Task:
    """The virtual adversarial cost of all examples, and their entropy if asked for."""
    c = config.vat

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        x, valid = batch["image"], batch["valid"]
        start, noise = jax.random.split(key)
        # The same noise each time, so that only r changes the predictions.
        logits = partial(network.training_logits, valid=valid, key=noise)
        d = jax.random.normal(start, x.shape, x.dtype)
        fixed = jax.lax.stop_gradient(params)
        clean, r = adversarial(
            *(partial(logits, fixed), x, valid, d, c.iterations, c.xi),
            by_gradient if network.custom_gradients else jax.linear_transpose,
        )
        cost = divergence(clean, logits(params, x + c.epsilon * r))
        if c.entropy > 0:
            z = logits(params, x)
            cost += c.entropy * -jnp.sum(jax.nn.softmax(z) * jax.nn.log_softmax(z), -1)
        return c.scale * cost

    return Task("vat", loss, params=("encoder", "classifier"))


def adversarial(
    logits: Callable[[Array], Array],
    x: Float[Array, "batch inputs"],
    valid: Bool[Array, " batch"],
    d: Float[Array, "batch inputs"],
    iterations: int,
    xi: float = 0.0,
    transpose: Transpose = jax.linear_transpose,
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch inputs"]]:
    """Logits of x, and directions of length 1.

    Args:
      logits: `x -> [batch, classes]`.
      x: the images.
      valid: the rows that count.
      d: where the power iteration starts, of any length.
      iterations: of it.
      xi: length of the difference of gradients that stands for H d; 0: none, exact.
      transpose: of the linear function Jᵀ, given an example of its argument.
    """
    clean, pull = jax.vjp(logits, x)  # Jᵀ, and J as its transpose:
    push = transpose(pull, clean)  # `products` has no forward mode.
    p = jax.nn.softmax(clean)
    for _ in range(iterations):
        if xi > 0:
            moved, pull = jax.vjp(logits, x + xi * unit(d))
            change = jax.nn.softmax(moved) - p
        else:
            change = p * push((unit(d),))[0]
            change -= p * change.sum(-1, keepdims=True)
        (d,) = pull(jnp.where(valid[:, None], change, 0))
    return clean, unit(d)


def by_gradient(linear: Callable, example: Array) -> Callable:
    """The transpose of a linear function, also of one that calls `jax.custom_vjp`."""
    return jax.vjp(linear, example)[1]


def unit(d: Float[Array, "batch inputs"]) -> Float[Array, "batch inputs"]:
    """Rows of length 1; rows of zeros stay.

    Where the network is sure, H d is so small that its square is 0: the largest entry
    becomes 1 first.
    """
    most = jnp.abs(d).max(-1, keepdims=True)
    d = d / jnp.maximum(most, jnp.finfo(d.dtype).tiny)
    return d / jnp.maximum(jnp.linalg.norm(d, axis=-1, keepdims=True), 1)


def divergence(
    clean: Float[Array, "batch classes"], moved: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """KL(softmax(clean) || softmax(moved)) of logits."""
    log_p, log_q = jax.nn.log_softmax(clean), jax.nn.log_softmax(moved)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)
