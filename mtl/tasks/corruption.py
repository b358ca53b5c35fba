"""Corruption of the input of a denoising auto-encoder."""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8
from ml_collections import ConfigDict

from mtl.host.checks import one_of, require

Kind = Literal["mask", "salt_pepper", "gaussian", "none"]
KINDS = get_args(Kind)


def check(c: ConfigDict, group: str) -> None:
    """Checks `noise` and `level` of a group of the config; raises ConfigError."""
    one_of(c, f"{group}.noise", KINDS)
    most = 1.0 if c[group].noise in ("mask", "salt_pepper") else math.inf
    fits = 0 <= c[group].level <= most
    require(fits, c, f"{group}.level", f"from 0 to {most:g}")


def random_bytes(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt8[Array, "..."]:
    """Uniform bytes of any shape, four from each 32-bit word of the generator.

    `jax.random.bits(..., uint8)` hashes a counter for every byte; on a CPU that is
    a good part of a small auto-encoder's step. Same generator, a quarter of the hashes.
    """
    count = math.prod(shape)
    words = jax.random.bits(key, (-(-count // 4),), jnp.uint32)
    octets = jax.lax.bitcast_convert_type(words, jnp.uint8)
    return octets.reshape(-1)[:count].reshape(shape)


def corrupt(
    key: Key[Array, ""], x: Float[Array, "*shape"], kind: Kind, level: float
) -> Float[Array, "*shape"]:
    """A corrupted copy of x.

    Args:
      key: a PRNG key.
      x: of any shape.
      kind: `mask` sets entries to 0 (the paper's binomial mask), `salt_pepper` sets
        them to 0 or 1, `gaussian` adds noise, `none` returns x.
      level: the share of entries hit, to the nearest 1/256; for `gaussian` the
        standard deviation.
    """
    if kind == "none" or level == 0:
        return x
    if kind == "gaussian":
        return x + level * jax.random.normal(key, x.shape, x.dtype)
    hit = round(256 * level)
    dice = random_bytes(key, x.shape).astype(jnp.int32)
    if kind == "mask":
        return jnp.where(dice < hit, 0, x)
    salt = (dice >= hit // 2).astype(x.dtype)
    return jnp.where(dice < hit, salt, x)
