"""System 1 against PyTorch's autograd, in float64: four layers of relu units."""

import jax
import numpy as np
import pytest

from mtl.engine.task import flatten
from tests.mtl.test_algorithm1 import RATE, build, epoch_key, order, problem, run, small

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def forward(p, k, x, act):
    return act(x @ p[f"encoder/{k}/kernel"] + p[f"encoder/{k}/bias"])


def costs(p, depth, x, y, act):
    """(J_r, J_s): squared error of each layer without noise, and cross-entropy."""
    reconstruct, h = 0, x
    for k in range(1, depth + 1):
        code = forward(p, k, h, act)
        z = code @ p[f"decoder/{k}/kernel"] + p[f"decoder/{k}/bias"]
        decoded = torch.sigmoid(z) if k == 1 else z
        reconstruct = reconstruct + ((decoded - h.detach()) ** 2).sum(1).mean()
        h = code
    logits = h @ p["classifier/kernel"] + p["classifier/bias"]
    known = y >= 0
    return reconstruct, torch.nn.functional.cross_entropy(logits[known], y[known])


def test_a_deep_relu_network_equals_pytorch(x64):
    c = small(
        "linear",
        **{
            "model.hidden": (7, 6, 5, 4),
            "model.activation": "relu",
            "model.tied": False,
            "reconstruct.loss": "squared_error",
            "reconstruct.noise": "none",
        },
    )
    data, params = problem(c)
    ours, _ = run(c, data, params)
    p = {k: torch.tensor(np.array(v)) for k, v in flatten(params).items()}
    x, y = (torch.tensor(np.array(data[k])).to(t) for k, t in
            (("image", torch.float64), ("label", torch.int64)))  # fmt: skip
    tasks, weights = build(c)
    for t in range(c.epochs):
        key = jax.random.split(epoch_key(t))[0]
        for batch in map(torch.tensor, order(key)):
            for u, task in enumerate(tasks):
                if weights[t, u] == 0 or (u == 1 and not (y[batch] >= 0).any()):
                    continue
                moved = {k: v.requires_grad_() for k, v in p.items()
                         if k.startswith(task.params)}  # fmt: skip
                cost = costs(p, 4, x[batch], y[batch], torch.relu)[u]
                grads = torch.autograd.grad(cost, list(moved.values()))
                p = {k: v.detach() for k, v in p.items()}
                for k, g in zip(moved, grads, strict=True):
                    p[k] = p[k] - RATE * weights[t, u] * g
    for name, value in ours.items():
        np.testing.assert_allclose(value, p[name].numpy(), 1e-9, 1e-12, err_msg=name)
