"""The figures of a run: curves, loss weights, reconstructions, the worst mistakes."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mtl import image_grid
from mtl.data.datasets import Dataset
from mtl.engine.task import Params
from mtl.engine.training import Training
from mtl.host import logs, workdir
from mtl.tasks import corruption, losses
from mtl.tasks.network import Mlp

WORST = 24  # Mistakes that are drawn.


def draw(
    folder: Path,
    config: ConfigDict,
    dataset: Dataset,
    network: Mlp,
    training: Training,
    params: Params,
) -> None:
    """Draws all figures of a run.

    The two that show images are left out if the data's rows are no images.

    Args:
      folder: of the run; its log is read.
      config: of the run.
      dataset: of the run.
      network: of the parameters.
      training: of the run.
      params: of the best epoch.
    """
    rows = logs.read_rows(folder)
    save(_curves(rows), folder / "curves.png")
    names, weights = [t.name for t in training.tasks], training.loss_weights
    epochs = np.arange(len(weights))
    if training.weighting:
        # The loss weights in the epochs that the run logged.
        weights = np.array([[row[f"weight/{name}"] for name in names] for row in rows])
        epochs = np.array([row["epoch"] - 1 for row in rows])
    named = dict(zip(names, weights.T, strict=True))
    save(weight_curves(named, epochs), folder / "weights.png")
    if len(dataset.shape) == 2 or dataset.shape[2:] in ((1,), (3,)):
        save(mistakes(dataset, network, params), folder / "mistakes.png")
        if names[0].startswith("reconstruct"):
            drawn = _reconstructions(config.reconstruct, dataset, network, params)
            save(drawn, folder / "reconstructions.png")


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG atomically."""
    workdir.write_bytes(path, png(figure))


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def weight_curves(weights: dict[str, np.ndarray], epochs: np.ndarray) -> Figure:
    """Draws loss weights [E] by name, against epochs [E]."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    ax = figure.subplots()
    for name, weight in weights.items():
        ax.plot(epochs, weight, label=name, lw=2)
    top = max(1, *map(max, weights.values()))
    ax.set(xlabel="epoch", ylabel="loss weight", ylim=(-0.03 * top, 1.05 * top))
    tidy(ax, legend=False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def mistakes(dataset: Dataset, network: Mlp, params: Params) -> Figure:
    """The test images with the highest loss among those that are classified wrong."""
    x, y = dataset.test
    names = dataset.names or range(dataset.classes)
    logits = network.logits(params, jnp.asarray(x))
    log_p = np.asarray(jax.nn.log_softmax(logits))
    guess, own = log_p.argmax(1), log_p[np.arange(len(y)), y]
    wrong = np.flatnonzero(guess != y)
    worst = wrong[np.argsort(own[wrong])][:WORST]
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(
        f"{len(wrong)} of {len(y)} test images are classified wrong; the worst of them"
    )
    ax = figure.subplots()
    images = _images(x[worst], dataset.shape)
    middles = image_grid.show(ax, images, WORST // 3, row_gap=0.35)
    for i, (left, middle) in zip(worst, middles, strict=True):
        sure = np.exp(log_p[i, guess[i]])
        title = f"{names[y[i]]} taken for {names[guess[i]]} ({sure:.0%})"
        top = middle - images.shape[1] / 2 - 0.5
        text = ax.text(left, top, title, fontsize=7, ha="center", va="bottom")
        text.set_parse_math(False)
    return figure


def _curves(rows: list[dict[str, float]]) -> Figure:
    """Errors, classification losses and the tasks' own losses against the epoch."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    errors, costs, own = figure.subplots(1, 3)
    for name in ("valid", "test"):
        _line(errors, rows, f"{name}/error", name, scale=100)
        _line(costs, rows, f"{name}/loss", name)
    for name in sorted({k for row in rows for k in row if k.startswith("loss/")}):
        _line(own, rows, name, name.removeprefix("loss/"))
    errors.set(ylabel="error, %")
    costs.set(ylabel="cross-entropy of the classifier")
    own.set(ylabel="training loss per example", yscale="log")
    for ax in (errors, costs, own):
        ax.set(xlabel="epoch")
        tidy(ax)
    return figure


def _reconstructions(
    c: ConfigDict, dataset: Dataset, network: Mlp, params: Params
) -> Figure:
    """Test images, corrupted, and decoded from the first and from the last layer.

    c: `config.reconstruct`, with the corruption.
    """
    x = jnp.asarray(dataset.test.x[:10])
    corrupted = corruption.corrupt(jax.random.key(0), x, c.noise, c.level)
    rows = {"input": x, "corrupted": corrupted}
    layers = network.encode(params, corrupted)
    for k in sorted({1, network.depth}):
        decoded = layers[k]
        for j in range(k, 0, -1):
            output = losses.OUTPUTS[network.target_range(j)]
            decoded = output(network.decode(params, j, decoded))
        rows[f"from layer {k}"] = decoded
    figure = Figure(figsize=(10, 1.05 * len(rows)), layout="constrained")
    ax = figure.subplots()
    images = np.clip(np.concatenate(list(rows.values())), 0, 1)
    image_grid.show(ax, _images(images, dataset.shape), len(x), row_names=rows)
    return figure


def _line(ax: Axes, rows: list[dict], key: str, label: str, scale: float = 1) -> None:
    points = [(row["epoch"], scale * row[key]) for row in rows if key in row]
    ax.plot(*np.array(points).T, label=label, lw=1.5)


def _images(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns images [K, H, W] or [K, H, W, 3] of rows x [K, ...]."""
    images = np.asarray(x).reshape(-1, *shape)
    return images[..., 0] if shape[2:] == (1,) else images


def tidy(ax: Axes, legend: bool = True) -> None:
    """The look of all the plots."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    if legend:
        ax.legend(frameon=False)
