"""The network with batch normalisation and noise, written again in NumPy float64.

Rasmus et al. 2015, algorithm 1. All formulas also take complex numbers, so that
`reference.gradient` can differentiate them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mtl import config as configs
from mtl import networks
from mtl.engine.task import flatten, unflatten
from tests.mtl import reference

ROWS, INPUTS, HIDDEN, CLASSES = 9, 6, (5, 4), 3
VALID = np.arange(ROWS) < 7
KEY = jax.random.key(4)
EPSILON = 1e-5  # Is added to each variance.


def config(**fields):
    """A config of a small network; `model__noise=0.3` sets `model.noise`."""
    c = configs.default()
    c.method, c.unsupervised = "constant", "ladder"
    c.model.hidden, c.model.norm, c.model.noise = HIDDEN, "batch", 0.3
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    configs.check(c)
    return c


def network(c):
    return networks.build(c, (INPUTS,), CLASSES)


def on_device(params):
    """The parameters as the network takes them: nested, JAX arrays."""
    return jax.tree.map(jnp.asarray, unflatten(params))


def problem(c):
    """Random parameters, and a batch; its last two rows are not valid."""
    rng = np.random.default_rng(1)
    start = flatten(network(c).init(jax.random.key(2)))
    params = {k: rng.normal(size=v.shape) for k, v in start.items()}
    x = rng.uniform(size=(ROWS, INPUTS))
    x[~VALID] = 100.0
    y = rng.integers(0, CLASSES, ROWS)
    return params, {"image": x, "label": y, "valid": VALID}


def noises(key, level):
    """The noise on the valid rows of each layer: `batch_norm` folds k into the key."""
    keys = [jax.random.fold_in(key, k) for k in range(len(HIDDEN) + 2)]
    sizes = [INPUTS, *HIDDEN, CLASSES]
    draws = [
        jax.random.normal(k, (ROWS, n), float) for k, n in zip(keys, sizes, strict=True)
    ]
    return [level * np.asarray(d)[VALID] for d in draws]


def standard(z):
    """Normalised z [B, n], and its means and variances [n], unit by unit."""
    columns, means, variances = [], [], []
    for column in z.T:
        mean = sum(column) / len(column)
        variance = sum((column - mean) ** 2) / len(column)
        columns.append((column - mean) / (variance + EPSILON) ** 0.5)
        means.append(mean)
        variances.append(variance)
    return np.array(columns).T, np.array(means), np.array(variances)


def encode(p, x, noise, norm=True):
    """Logits, the z of layers 0 to K + 1, and the moments of layers 1 to K + 1."""
    h = x + noise[0]
    zs, moments = [h], []
    for k, name in enumerate(("encoder/1", "encoder/2", "classifier"), start=1):
        z = h @ p[f"{name}/kernel"]
        if norm:
            z, mean, variance = standard(z)
            moments.append((mean, variance))
        zs.append(z + noise[k])
        h = zs[-1] + p[f"{name}/bias"]
        if k < 3:
            h = np.where(h.real > 0, h, 0)
        elif norm:
            h = h * p["classifier/gain"]
    return h, zs, moments


def softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def divergence(p, q):
    """[B]: KL(p || q) of probabilities [B, classes]."""
    return (p * np.log(p / q)).sum(1)


def losses_and_gradient(task, params, batch):
    """The task's losses of the valid rows, and the gradient of their mean."""
    batch = {k: jnp.asarray(v) for k, v in batch.items()}

    @jax.jit
    def mean(flat):
        losses = task.loss(unflatten(flat), batch, KEY)
        return jnp.where(VALID, losses, 0).sum() / VALID.sum(), losses[VALID]

    gradient, losses = jax.grad(mean, has_aux=True)(params)
    return losses, gradient


def assert_same(task, c, costs):
    """The task's losses on the valid rows, and the gradient of their mean, are those of
    `costs`, `(params, x) -> [B]`."""
    params, batch = problem(c)
    losses, ours = losses_and_gradient(task, params, batch)
    x = batch["image"][VALID]
    np.testing.assert_allclose(losses, costs(params, x), 1e-7)
    names = [k for k in params if not k.startswith("statistics")]
    theirs = reference.gradient(lambda p: costs(p, x).mean(), params, names)
    for name in names:
        np.testing.assert_allclose(ours[name], theirs[name], 1e-6, 1e-8, err_msg=name)
    assert sum(np.abs(g).max() > 1e-6 for g in theirs.values()) >= 6
