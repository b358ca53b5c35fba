"""System 2's config: every field, what the paper says of it, and what is our choice."""

import math
from collections.abc import Sequence

from ml_collections import ConfigDict

from mtl.engine import spec
from mtl.host.checks import PRECISIONS, at_least, get, one_of, require
from mtl.tasks import corruption
from structured import autoencoder, data, tasks
from structured.faces.points import POINTS


def default() -> ConfigDict:
    """The config of the landmark experiment of arXiv 1504.07550.

    "Ours" marks what the paper leaves open.
    """
    c = ConfigDict()
    c.seed = 0  # Initial weights, order, noise and jitter.
    c.variant = "mlp_in_out"  # One of tasks.VARIANTS.
    c.epochs = 1000
    c.batch_size = 10
    # Algorithm 2; "alternate_then_joint" is the authors' program; also "joint".
    c.order = "alternate"

    c.data = ConfigDict()
    c.data.source = "300w"  # One of data.SOURCES.
    c.data.path = ""  # A folder, or a file for "npz".
    # Folders; of "the300w_lp" splits, whose photographs are in each other (its module).
    c.data.train = ("helen/trainset",)
    c.data.test = ("helen/testset",)
    c.data.unlabelled = ()  # Folders whose faces are used as x alone and as y alone.
    c.data.pairs = -1  # Ours: the others become x alone and y alone; -1: all stay.
    c.data.valid = 0.1  # The share of the training pairs that validates,
    c.data.valid_first = False  # their first ones (LFPW) or their last (ours).
    c.data.points = POINTS
    c.data.size = 50  # Pixels of x, a side.
    c.data.margin = 0.0  # Ours: see crops.Crop,
    c.data.context = 0  # ours,
    c.data.square = False  # ours.
    c.data.boxes = ""  # Ours: a CSV file; "" takes the tight boxes of the points.
    c.data.skip_bad = False  # Leave out faces that cannot be used.
    c.data.cache = ""  # A folder to keep the crops in; "" keeps none.

    c.jitter = ConfigDict()  # Ours: see jitter.draw.
    c.jitter.on = False
    c.jitter.rotation = 10.0
    c.jitter.scale = 0.05
    c.jitter.shift = 0.03
    c.jitter.mirror = True

    c.model = ConfigDict()
    c.model.encoder = "mlp"  # P_in; or "cnn".
    c.model.input = (1025,)  # P_in's layers, from x to its code ("mlp").
    c.model.link = (512,)  # m's layers, between the two codes.
    c.model.output = (64,)  # P_out's layers, from y to its code.
    c.model.channels = (32, 64, 128)  # Ours: P_in's maps ("cnn"), 3x3 filters,
    c.model.strides = (2, 2, 2)  # and their strides.
    c.model.input_activation = "sigmoid"
    c.model.link_activation = "sigmoid"
    c.model.output_activation = "tanh"  # Of the code of y.
    c.model.x_activation = "sigmoid"  # Of the reconstruction of x.
    c.model.y_activation = "tanh"  # Of y.
    c.model.tied_input = True
    c.model.tied_output = True

    c.reconstruct_in = _task("sum", l2=1e-2)
    c.reconstruct_in.noise, c.reconstruct_in.level = "mask", 0.2
    c.reconstruct_in.center_code = True  # Subtract the mini-batch mean of the code.
    c.reconstruct_out = _task("sum", l2=1e-2)
    c.reconstruct_out.noise, c.reconstruct_out.level = "none", 0.0
    c.reconstruct_out.center_code = True
    c.supervised = _task("mean", l2=0.0)

    c.schedule = ConfigDict()
    c.schedule.input = (100.0, 500.0)  # λ_in: 1 up to the first epoch, 0 from the
    c.schedule.output = (100.0, 700.0)  # second; λ_out.

    c.optim = ConfigDict()
    c.optim.name = "sgd"  # Or "adam" (ours).
    c.optim.rate = 1e-3
    c.optim.momentum = 0.9
    c.optim.clip = 0.0  # Ours: largest norm of a step's gradient; 0: any.
    c.optim.decay_epochs = 0  # Ours: the rate falls to 0 over the last so many.

    c.eval_every = 5
    c.save_every = 100
    c.patience = 0  # Epochs without a better validation MSE; 0: train to the end.
    c.precision = "default"  # Of matrix products; "highest" is float32 on any chip.
    return c


def check(c: ConfigDict) -> None:
    """Looks at every field before any work.

    Raises:
      ConfigError: names the field, its value and what it may be.
    """
    one_of(c, "variant", tasks.VARIANTS)
    one_of(c, "order", spec.ORDERS)
    one_of(c, "precision", PRECISIONS)
    one_of(c, "optim.name", tuple(tasks.OPTIMIZERS))
    for name in ("epochs", "batch_size", "eval_every", "save_every"):
        at_least(c, name, 1)
    for name in ("seed", "patience", "optim.decay_epochs", "optim.clip"):
        at_least(c, name, 0)
    require(c.seed < 2**32, c, "seed", "below 2**32")
    require(c.optim.rate > 0, c, "optim.rate", "above 0")
    require(0 <= c.optim.momentum < 1, c, "optim.momentum", "from 0 to below 1")
    fits = c.optim.decay_epochs <= c.epochs
    require(fits, c, "optim.decay_epochs", f"at most epochs={c.epochs}")
    for name in ("schedule.input", "schedule.output"):
        span = get(c, name)
        fits = len(span) == 2 and span[0] < span[1]
        require(fits, c, name, "two epochs, the first below the second")
    _check_data(c)
    _check_model(c)
    for name in ("reconstruct_in", "reconstruct_out"):
        _check_task(c, name)
        one_of(c, f"{name}.noise", corruption.KINDS)
        most = 1.0 if c[name].noise in ("mask", "salt_pepper") else float("inf")
        fits = 0 <= c[name].level <= most
        require(fits, c, f"{name}.level", f"from 0 to {most:g}")
    _check_task(c, "supervised")


def check_shape(c: ConfigDict, shape: Sequence[int]) -> None:
    """Looks at what only the data can tell: whether its x, of a shape, suits the model.

    Raises:
      ConfigError: names the field, its value and what it may be.
    """
    if c.model.encoder == "cnn":
        whole = math.prod(c.model.strides)
        fits = len(shape) == 2 and all(side % whole == 0 for side in shape)
        told = f"such that their product divides the sides of images {tuple(shape)}"
        require(fits, c, "model.strides", told)


def _check_data(c: ConfigDict) -> None:
    one_of(c, "data.source", data.SOURCES)
    needs_path = c.data.source != "digits"
    require(bool(c.data.path) or not needs_path, c, "data.path", "set for this source")
    require(0 < c.data.valid < 1, c, "data.valid", "between 0 and 1")
    at_least(c, "data.pairs", -1)
    require(c.data.pairs != 0, c, "data.pairs", "1 or more, or -1 for all")
    at_least(c, "data.points", 2)
    data.crop_of(c)
    faces = c.data.source in data.FACES
    fits = faces or not c.data.unlabelled
    require(fits, c, "data.unlabelled", "empty, for this source is no faces")
    for name in ("data.train", "data.test"):
        require(not faces or len(get(c, name)) > 0, c, name, "one name or more")
    for name in ("data.train", "data.unlabelled"):
        fits = not faces or not set(get(c, name)) & set(c.data.test)
        require(fits, c, name, "apart from data.test")
    if c.data.source == "the300w_lp":
        for name, only in {"boxes": "", "cache": "", "points": POINTS}.items():
            fits = c.data[name] == only
            require(fits, c, f"data.{name}", f"{only!r}: the300w_lp has its own")
    require(faces or not c.jitter.on, c, "jitter.on", "False, for these are no faces")
    fits = not c.jitter.on or not c.jitter.mirror or c.data.points == POINTS
    require(fits, c, "jitter.mirror", f"False without {POINTS} points")
    for name in ("rotation", "scale", "shift"):
        at_least(c, f"jitter.{name}", 0)


def _check_model(c: ConfigDict) -> None:
    one_of(c, "model.encoder", ("mlp", "cnn"))
    for name in ("input", "link", "output", "x", "y"):
        one_of(c, f"model.{name}_activation", tuple(autoencoder.ACTIVATIONS))
    for name in ("input", "link", "output", "channels", "strides"):
        sizes = get(c, f"model.{name}")
        fits = all(isinstance(n, int) and n > 0 for n in sizes)
        fits = fits and (len(sizes) > 0 or name == "link")
        require(fits, c, f"model.{name}", "whole numbers above 0")
    if c.model.encoder == "cnn":
        fits = len(c.model.strides) == len(c.model.channels)
        require(fits, c, "model.strides", "as many as model.channels")
        faces = c.data.source in data.FACES
        whole = math.prod(c.model.strides)
        fits = not faces or c.data.size % whole == 0
        require(fits, c, "data.size", f"a multiple of {whole}, the product of strides")


def _check_task(c: ConfigDict, name: str) -> None:
    one_of(c, f"{name}.error", tuple(tasks.ERRORS))
    one_of(c, f"{name}.dimensions", ("sum", "mean"))
    one_of(c, f"{name}.batch", ("sum", "mean"))
    at_least(c, f"{name}.l2", 0)


def _task(dimensions: str, l2: float) -> ConfigDict:
    c = ConfigDict()
    c.error = "squared"  # Or "absolute" (ours).
    c.dimensions = dimensions  # How the errors of an example come together,
    c.batch = "mean"  # and how those of a mini-batch do: "sum" or "mean".
    c.l2 = l2
    return c
