"""Algorithm 1 of ESANN 2016 once more: NumPy, float64 and complex, nothing shared.

Slow and naive on purpose. A cost is a plain formula of the parameters; its gradient is
its complex-step derivative, Im f(p + ih) / h, exact to rounding and free of any rule of
differentiation. What must not get a gradient loses its imaginary part.
"""

import numpy as np

STEP = 1e-150


def gradient(cost, params: dict[str, np.ndarray], names: list[str]) -> dict:
    """d cost / d params[name] for the named parameters."""
    grads = {}
    for name in names:
        grads[name] = np.zeros_like(params[name])
        for i in np.ndindex(params[name].shape):
            probe = {k: v.astype(complex) for k, v in params.items()}
            probe[name][i] += 1j * STEP
            grads[name][i] = cost(probe).imag / STEP
    return grads


def layers(p, x, activation):
    """x_0 ... x_K."""
    out, k = [x.astype(complex)], 1
    while f"encoder/{k}/kernel" in p:
        out.append(code(p, k, out[-1], activation))
        k += 1
    return out


def code(p, k, x, activation):
    z = x @ p[f"encoder/{k}/kernel"] + p[f"encoder/{k}/bias"]
    return {"tanh": np.tanh, "sigmoid": sigmoid}[activation](z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def classification(p, x, y, activation, reduction):
    """J_s over labelled rows."""
    top = layers(p, x, activation)[-1]
    z = top @ p["classifier/kernel"] + p["classifier/bias"]
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    each = -log_p[np.arange(len(y)), y]
    return each.mean() if reduction == "mean" else each.sum()


def layer_cost(p, k, below, keep, activation, loss, reaches_below):
    """[B] denoising cost of layer k; `keep` says which entries the mask leaves."""
    target = below.real
    given = np.where(keep, below if reaches_below else target, 0)
    kernel = p.get(f"decoder/{k}/kernel", p[f"encoder/{k}/kernel"].T)
    z = code(p, k, given, activation) @ kernel + p[f"decoder/{k}/bias"]
    symmetric = k > 1 and activation == "tanh"
    if loss == "squared_error":
        back = np.tanh(z) if symmetric else sigmoid(z)
        return ((back - target) ** 2).sum(1)
    q = sigmoid(2 * z) if symmetric else sigmoid(z)
    t = (1 + target) / 2 if symmetric else target
    return -(t * np.log(q) + (1 - t) * np.log(1 - q)).sum(1)


def reconstruction(p, x, keeps, activation, losses, scale, reaches_below):
    """J_r: the mean over the batch of the sum over the layers k in `keeps`."""
    below = layers(p, x, activation)
    each = sum(
        layer_cost(p, k, below[k - 1], keep, activation, losses[k > 1], reaches_below)
        for k, keep in keeps.items()
    )
    return scale * each.mean()


def descend(params, cost, prefixes, size):
    """params - size * gradient, for the parameters under the prefixes."""
    names = [k for k in params if k.startswith(prefixes)]
    grads = gradient(cost, params, names)
    return params | {k: params[k] - size * grads[k] for k in names}
