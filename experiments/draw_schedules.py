"""Draws docs/schedules.png.

python experiments/draw_schedules.py
"""

from functools import partial

import numpy as np

from experiments import DOCS
from mtl import figures
from mtl.engine import schedules

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

if __name__ == "__main__":
    epochs = np.arange(EPOCHS)
    figure = figures.weight_curves({k: f(epochs) for k, f in WEIGHTS.items()}, epochs)
    figures.save(figure, DOCS / "schedules.png")
