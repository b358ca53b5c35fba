"""The losses of a reconstruction, from the decoder's pre-activations.

The range of the target, `Mlp.target_range`, decides the decoder's output activation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# The decoder's output activation for each `Mlp.target_range`.
OUTPUTS: dict[str, Callable[[Array], Array]] = {
    "unit": jax.nn.sigmoid,
    "symmetric": jnp.tanh,
    "positive": lambda z: z,
}


def squared_error(
    z: Float[Array, "*batch size"],
    target: Float[Array, "*batch size"],
    value_range: str,
) -> Float[Array, "*batch"]:
    """Summed over dimensions: sum (output(z) - target)^2."""
    return jnp.sum(jnp.square(OUTPUTS[value_range](z) - target), axis=-1)


def cross_entropy(
    z: Float[Array, "*batch size"],
    target: Float[Array, "*batch size"],
    value_range: str,
) -> Float[Array, "*batch"]:
    """Summed over dimensions: Bernoulli cross-entropy.

    A target in [-1, 1] is first mapped to [0, 1]; then the decoder's tanh(z) there is
    a sigmoid(2 z) here.
    """
    if value_range == "symmetric":
        z, target = 2 * z, (1 + target) / 2
    # softplus(z) - t z. XLA's own softplus is slower on a CPU; what its log1p would
    # add, at most 6e-8 in float32, is nothing in a sum over dimensions.
    # `where`, not abs and maximum: their gradients at z = 0 do not fit together.
    tail = jnp.log(1 + jnp.exp(jnp.where(z > 0, -z, z)))
    return jnp.sum(jnp.where(z > 0, z, 0) - target * z + tail, axis=-1)


RECONSTRUCTION = {"squared_error": squared_error, "cross_entropy": cross_entropy}
