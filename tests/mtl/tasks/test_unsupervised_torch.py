"""Batch normalisation, VAT and the ladder against PyTorch's autograd, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.tasks import classify, ladder, vat
from mtl.tasks.batch_norm import EPSILON
from tests.mtl import numpy_network
from tests.mtl.numpy_network import (
    CLASSES,
    INPUTS,
    KEY,
    ROWS,
    VALID,
    network,
    on_device,
    problem,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

pytestmark = pytest.mark.slow  # NumPy references guard the same.
F = torch.nn.functional


def small(**fields):
    return numpy_network.config(**({"vat__epsilon": 0.7} | fields))


def assert_same(task, c, theirs):
    """`theirs` costs the valid rows from tensors; all its gradients must be ours."""
    params, batch = problem(c)
    losses, grads = numpy_network.losses_and_gradient(task, params, batch)
    p = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    cost = theirs(p, torch.tensor(batch["image"][VALID]))
    np.testing.assert_allclose(losses, cost.detach(), 1e-9)
    cost.mean().backward()
    moved = 0
    for name, g in grads.items():
        other = 0 * p[name] if p[name].grad is None else p[name].grad
        np.testing.assert_allclose(g, other.detach(), 1e-7, 1e-11, err_msg=name)
        moved += bool(np.abs(g).max() > 1e-6)
    assert moved >= 6, "the test must see parameters move"


def standard(z):
    mean, variance = z.mean(0), z.var(0, unbiased=False)
    return (z - mean) / torch.sqrt(variance + EPSILON), mean, variance


def draws(key, shapes):
    """The noise of each layer, as `batch_norm` draws it."""
    keys = [jax.random.fold_in(key, k) for k in range(len(shapes))]
    noise = [jax.random.normal(k, s, float) for k, s in zip(keys, shapes, strict=True)]
    return [torch.tensor(np.array(n)[VALID]) for n in noise]


def encoder(p, x, noise, norm=True):
    """Logits, and (z, mean, variance) of each layer."""
    h = x + noise[0]
    found = [(h, 0.0, 1 - EPSILON)]
    for k, name in enumerate(("encoder/1", "encoder/2", "classifier"), start=1):
        z = h @ p[f"{name}/kernel"]
        mean, variance = 0.0, 1.0
        if norm:
            z, mean, variance = standard(z)
        z = z + noise[k]
        found.append((z, mean, variance))
        h = z + p[f"{name}/bias"]
        h = torch.relu(h) if k < 3 else h * p.get(f"{name}/gain", 1)
    return h, found


SHAPES = [(ROWS, n) for n in (INPUTS, 5, 4, CLASSES)]


def test_classifying_with_noise_equals_pytorch(x64):
    c = small()
    label = torch.tensor(problem(c)[1]["label"][VALID])

    def theirs(p, x):
        logits, _ = encoder(p, x, [0.3 * n for n in draws(KEY, SHAPES)])
        return F.cross_entropy(logits, label, reduction="none")

    assert_same(classify.task(c, network(c)), c, theirs)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("iterations", "entropy"), [(1, 0.0), (3, 0.5)])
def test_vat_equals_pytorch(x64, norm, iterations, entropy):
    noise = 0.3 if norm == "batch" else 0.0
    fields = dict(model__norm=norm, model__noise=noise, vat__scale=2.0)
    fields |= dict(vat__iterations=iterations, vat__entropy=entropy)
    c = small(unsupervised="vat", **fields)
    start, noise_key = jax.random.split(KEY)
    d = jax.random.normal(start, (ROWS, INPUTS), float)
    noises = [noise * n for n in draws(noise_key, SHAPES)]

    def theirs(p, x):
        def log_p(x, p=p):
            return F.log_softmax(encoder(p, x, noises, norm == "batch")[0], -1)

        def kl(r):
            fixed = {k: v.detach() for k, v in p.items()}
            clean = log_p(x, fixed).detach()
            return (clean.exp() * (clean - log_p(x + r, fixed))).sum()

        r = torch.tensor(np.array(d)[VALID])
        for _ in range(iterations):
            r = r / r.norm(dim=1, keepdim=True)
            # The Hessian's product by double backward, not by its formula.
            r = torch.autograd.functional.hvp(kl, torch.zeros_like(x), r)[1]
        r = r / r.norm(dim=1, keepdim=True)
        clean = log_p(x)
        fixed = clean.detach()
        cost = (fixed.exp() * (fixed - log_p(x + 0.7 * r))).sum(1)
        return 2 * (cost - entropy * (clean.exp() * clean).sum(1))

    assert_same(vat.task(c, network(c)), c, theirs)


def test_the_papers_finite_difference_leads_the_same_way(x64):
    c = small(unsupervised="vat", model__noise=0.0)
    params, batch = problem(c)
    x, valid = jnp.asarray(batch["image"]), jnp.asarray(VALID)

    def logits(x):
        return network(c).training_logits(on_device(params), x, valid, KEY)

    d = jax.random.normal(KEY, x.shape, float)
    clean, r = vat.adversarial(logits, x, valid, d, iterations=1)
    xi = 1e-6

    def moved(d):
        return jnp.where(valid, vat.divergence(clean, logits(x + xi * d)), 0).sum()

    finite = vat.unit(jax.grad(moved)(vat.unit(d)))
    np.testing.assert_allclose(finite[VALID], r[VALID], atol=1e-4)
    _, rough = vat.adversarial(logits, x, valid, d, iterations=1, xi=xi)
    np.testing.assert_allclose(rough[VALID], finite[VALID], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "costs"),
    [("ladder", (3.0, 2.0, 0.5)), ("ladder", (0.0, 2.0, 0.0, 1.0)), ("gamma", None)],
)
def test_the_ladder_equals_pytorch(x64, name, costs):
    c = small(unsupervised=name, gamma__cost=0.7)
    if costs:
        c.ladder.costs = costs
        weights = [*costs, *costs[-1:]][:4]
    else:
        weights = [0.0, 0.0, 0.0, 0.7]
    lowest = next(k for k, w in enumerate(weights) if w)

    def theirs(p, x):
        noise = [0.3 * n for n in draws(KEY, SHAPES)]
        _, clean = encoder(p, x, [0.0] * 4)
        logits, noisy = encoder(p, x, noise)
        u, total = torch.softmax(logits, -1), 0
        for k in range(3, lowest - 1, -1):
            if k < 3:
                u = u @ p[f"decoder/{k}/kernel"]
            u = standard(u)[0]
            a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = p[f"decoder/{k}/combinator"]
            m = a1 * torch.sigmoid(a2 * u + a3) + a4 * u + a5
            v = a6 * torch.sigmoid(a7 * u + a8) + a9 * u + a10
            u = (noisy[k][0] - m) * v + m
            z, mean, variance = clean[k]
            scaled = (u - mean) / (variance + EPSILON) ** 0.5
            total = total + weights[k] * ((scaled - z) ** 2).mean(1)
        return total

    task = ladder.task(c, network(c))
    assert task.name == name
    assert_same(task, c, theirs)
