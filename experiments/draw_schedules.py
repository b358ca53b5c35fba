"""Draws docs/schedules.png.

python -m experiments.draw_schedules
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from experiments import DOCS
from mtl import figures
from mtl.engine import schedules
from mtl.host import launch

EPOCHS = 600

WEIGHTS = {
    "stairs, t1 = 100": partial(schedules.stairs, t1=100),
    "linear": partial(schedules.linear, epochs=EPOCHS),
    "abridged linear, t1 = 100": partial(schedules.abridged, t1=100),
    "exponential, σ = 40": partial(schedules.exponential, sigma=40),
    "constant, 0.5": partial(schedules.constant, value=0.5),
    "piecewise, 1 until 100, 0 from 500": partial(
        schedules.piecewise, points=[(100, 1.0), (500, 0.0)]
    ),
}


def draw(arguments: Sequence[str]) -> str:
    """Draws the figure and returns its path."""
    launch.reject_extra_args(arguments)
    epochs, path = np.arange(EPOCHS), DOCS / "schedules.png"
    figure = figures.weight_curves({k: f(epochs) for k, f in WEIGHTS.items()}, epochs)
    figures.save(figure, path)
    return str(path)


if __name__ == "__main__":
    launch.launch(draw)
