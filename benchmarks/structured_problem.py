"""What all contenders of `structured_vs_torch` start from: sizes, pairs, weights."""

from typing import Any, NamedTuple

import numpy as np

# Weights of J_in, J_out, J_s.
VARIANTS = {
    "mlp": (0, 0, 1),
    "mlp_in": (1, 0, 1),
    "mlp_out": (0, 1, 1),
    "mlp_in_out": (1, 1, 1),
}


class Sizes(NamedTuple):
    """Of the network's layers; x is side by side."""

    side: int = 50
    code: int = 1025
    link: int = 512
    code_out: int = 64
    outputs: int = 136


class Problem(NamedTuple):
    """What all contenders start from, in NumPy."""

    sizes: Sizes
    x: np.ndarray
    y: np.ndarray
    params: dict[str, np.ndarray]
    batch: int
    noisy: bool = True


def make_problem(
    sizes: Sizes, rows: int, batch: int = 10, noisy: bool = True, dtype: Any = None
) -> Problem:
    """Random pairs and weights, the weights as in the paper."""
    rng, dtype, s = np.random.default_rng(0), dtype or np.float32, sizes
    inputs = s.side**2

    def kernel(below: int, above: int, scale: int) -> np.ndarray:
        bound = scale * (6 / (below + above)) ** 0.5
        return rng.uniform(-bound, bound, (below, above)).astype(dtype)

    params = {
        "encoder_in/1/kernel": kernel(inputs, s.code, 4),
        "encoder_in/1/bias": np.zeros(s.code, dtype),
        "decoder_in/1/bias": np.zeros(inputs, dtype),
        "link/1/kernel": kernel(s.code, s.link, 4),
        "link/1/bias": np.zeros(s.link, dtype),
        "link/2/kernel": kernel(s.link, s.code_out, 1),
        "link/2/bias": np.zeros(s.code_out, dtype),
        "encoder_out/1/bias": np.zeros(s.code_out, dtype),
        "decoder_out/1/kernel": kernel(s.code_out, s.outputs, 1),
        "decoder_out/1/bias": np.zeros(s.outputs, dtype),
    }
    x, y = rng.random((rows, inputs)), rng.random((rows, s.outputs)) - 0.5
    return Problem(s, x.astype(dtype), y.astype(dtype), params, batch, noisy)
