"""System 1's config: every field, what the paper says of it, and what is our choice."""

import optax
from ml_collections import ConfigDict

from mtl import methods
from mtl.data import datasets, scaling
from mtl.engine import spec
from mtl.host import fields
from mtl.host.checks import PRECISIONS, at_least, get, one_of, require
from mtl.tasks import corruption, losses, network

# A run continues with other values of these; data.json has a checksum of the data.
FREE = ("data.path", "save_every", "save_minutes")
OPTIMIZERS = {"sgd": optax.sgd, "adam": optax.adam}


def default() -> ConfigDict:
    """The config of the ESANN 2016 experiment, on scikit-learn's digits.

    "Ours" marks what the paper leaves open. `docs/results/mtl.md` shows how those were
    chosen, on the validation set.
    """
    c = ConfigDict()
    c.seed = 0  # Initial parameters, labelled set, order and noise.
    c.method = "exponential"  # One of methods.METHODS.
    c.epochs = 5000  # Each takes all labelled and unlabelled images once.
    c.batch_size = 600  # Labelled and unlabelled images of a step.
    c.order = "alternate"  # Algorithm 1; also "joint", "alternate_then_joint".
    c.unsupervised = "reconstruct"  # The paper's task; one of methods.UNSUPERVISED.

    c.data = ConfigDict()
    c.data.source = "digits"  # One of data.SOURCES.
    c.data.path = ""  # A folder, or a file for "npz".
    c.data.labelled = 100  # l, the number of images with a label; -1: all.
    c.data.unlabelled = -1  # u, the number without one; -1: all that are left.
    c.data.valid = 297  # So many training images validate; see datasets.load.
    c.data.valid_seed = 0  # Ours: draws those of your own data.
    # Ours: "unit" takes bytes, and floats in [0, 1]; "minmax" and "standardise" scale
    # the features of your own data by the training images.
    c.data.scaling = "unit"
    c.data.balanced = True  # Ours: as many labels of each class.

    c.model = ConfigDict()
    c.model.hidden = (50,)  # NN1; NN4 is (80, 70, 60, 50).
    c.model.activation = "relu"  # Ours: of hidden layers; one of network.ACTIVATIONS.
    c.model.tied = True  # Ours: a decoder has its encoder's matrix, transposed.
    c.model.norm = "none"  # Or "batch" normalisation, for tasks but reconstruction.
    c.model.noise = 0.0  # On the input and all that is normalised; the ladder's: 0.3.

    c.reconstruct = ConfigDict()
    # Ours: of the input layer, summed over the dimensions.
    c.reconstruct.loss = "cross_entropy"
    c.reconstruct.hidden_loss = "squared_error"  # Ours: of the other layers.
    c.reconstruct.scale = 0.1  # Ours: multiplies the costs, also in the logs.
    c.reconstruct.noise = "mask"  # The paper's binomial mask.
    c.reconstruct.level = 0.2  # Ours: the share of the inputs that is masked.
    c.reconstruct.reaches_below = (
        True  # Ours: layer k's cost also trains the layers below.
    )

    c.vat = ConfigDict()  # Miyato et al. 2015; the values of its semi-supervised MNIST.
    c.vat.epsilon = 0.3  # Length of the perturbation of an image.
    c.vat.iterations = 1  # Of the power method.
    c.vat.xi = 0.0  # Of its finite difference, the papers' code: 1e-6; 0: exact (ours).
    c.vat.entropy = 0.0  # Weight of the predictions' entropy; 2017's VAT+EntMin: 1.
    c.vat.scale = 1.0  # Multiplies the costs, also in the logs.

    c.ladder = ConfigDict()  # Rasmus et al. 2015; the values for 100 labels.
    c.ladder.costs = (1000.0, 10.0, 0.1)  # Of the input, layer 1, and each one above.
    c.gamma = ConfigDict()
    c.gamma.cost = 0.5  # Of the top layer, the only one.

    c.classify = ConfigDict()
    c.classify.reduction = "mean"  # Ours: over the labelled rows of a batch, or "sum".
    c.classify.draws = 0  # Labelled rows a step; 0: those in the batch, as in 2016.

    c.schedule = ConfigDict()
    c.schedule.t1 = 100  # stairs, abridged; pretraining: epochs a layer.
    c.schedule.sigma = 40.0  # exponential
    c.schedule.weight = 0.5  # constant: of the unsupervised task.
    c.schedule.cutoff = (
        1e-6  # Ours: exponential, plateau: 0 below, which costs no time.
    )

    c.weighting = ConfigDict()
    c.weighting.temperature = 2.0  # dwa
    c.weighting.alpha = 1.5  # gradnorm
    c.weighting.rate = 0.025  # gradnorm, famo: of the weights' own steps.
    c.weighting.decay = 0.01  # famo: gamma
    c.weighting.factor = 0.5  # plateau: multiplies the weight of reconstruction (ours)
    c.weighting.wait = 2  # after so many evaluations without a better one (ours).

    c.optim = ConfigDict()
    c.optim.name = "sgd"  # Plain, the paper's; or "adam", with the usual betas.
    c.optim.learning_rate = 0.01  # The paper's, of all tasks.
    c.optim.decay_epochs = 500  # Over the last so many, linearly (ours) towards 0.

    c.eval_every = 50  # Epochs.
    c.save_every = 500  # Epochs between checkpoints.
    c.save_minutes = 10.0  # The longest time between checkpoints, in minutes.
    c.monitor = "valid/error"  # Its lowest value marks the best epoch; or "valid/loss".
    c.patience = 0  # Epochs without a better one; 0: train to the end.
    c.precision = "default"  # Of matrix products; "highest" is float32 on any chip.
    return c


def of_a_run(c: ConfigDict) -> ConfigDict:
    """A copy without the grid of a study, which is not part of what one run is."""
    return ConfigDict({k: v for k, v in c.to_dict().items() if k != "study"})


def check(c: ConfigDict) -> None:
    """Checks every field before any work.

    Raises:
      ConfigError: names the field, its value and what it may be.
    """
    fields.check(of_a_run(c), default())
    one_of(c, "method", methods.METHODS)
    one_of(c, "order", spec.ORDERS)
    one_of(c, "unsupervised", tuple(methods.UNSUPERVISED))
    one_of(c, "data.source", datasets.SOURCES)
    one_of(c, "data.scaling", scaling.KINDS)
    one_of(c, "model.activation", tuple(network.ACTIVATIONS))
    one_of(c, "model.norm", network.NORMS)
    one_of(c, "optim.name", tuple(OPTIMIZERS))
    one_of(c, "reconstruct.loss", tuple(losses.RECONSTRUCTION))
    one_of(c, "reconstruct.hidden_loss", tuple(losses.RECONSTRUCTION))
    one_of(c, "reconstruct.noise", corruption.KINDS)
    one_of(c, "classify.reduction", ("mean", "sum"))
    one_of(c, "precision", PRECISIONS)
    one_of(c, "monitor", ("valid/error", "valid/loss"))
    for name in ("epochs", "batch_size", "eval_every", "save_every"):
        at_least(c, name, 1)
    at_least(c, "vat.iterations", 1)
    for name in ("data.labelled", "data.unlabelled"):
        at_least(c, name, -1)
    require(c.data.labelled != 0, c, "data.labelled", "above 0, or -1")
    require(c.seed < 2**32, c, "seed", "below 2**32")
    for name in (
        *("seed", "data.valid_seed", "patience", "save_minutes"),
        *("optim.decay_epochs", "schedule.cutoff"),
    ):
        at_least(c, name, 0)
    _check_weighting(c)
    for name in ("classify.draws", "model.noise", "vat.entropy", "vat.xi"):
        at_least(c, name, 0)
    for name in (
        "optim.learning_rate",
        "schedule.t1",
        "schedule.sigma",
        "reconstruct.scale",
    ):
        require(get(c, name) > 0, c, name, "above 0")
    for name in ("vat.epsilon", "vat.scale", "gamma.cost"):
        require(get(c, name) > 0, c, name, "above 0")
    fits = 0 <= c.schedule.weight < 1
    require(fits, c, "schedule.weight", "from 0 to below 1")
    most = 1.0 if c.reconstruct.noise in ("mask", "salt_pepper") else float("inf")
    fits = 0 <= c.reconstruct.level <= most
    require(fits, c, "reconstruct.level", f"from 0 to {most:g}")
    fits = c.optim.decay_epochs <= c.epochs
    require(fits, c, "optim.decay_epochs", f"at most epochs={c.epochs}")
    sizes = c.model.hidden
    fits = len(sizes) > 0 and all(isinstance(n, int) and n > 0 for n in sizes)
    require(fits, c, "model.hidden", "one whole number or more, each above 0")
    needs_path = c.data.source != "digits"
    require(bool(c.data.path) or not needs_path, c, "data.path", "set for this source")
    bounded = c.model.activation != "relu"
    fits = bounded or c.reconstruct.hidden_loss == "squared_error"
    require(fits, c, "reconstruct.hidden_loss", "squared_error with relu, unbounded")
    fits = c.data.scaling != "standardise" or c.reconstruct.loss == "squared_error"
    what = "squared_error with data.scaling='standardise', unbounded"
    require(fits, c, "reconstruct.loss", what)
    _check_normed(c)
    _check_start(c)


def _check_weighting(c: ConfigDict) -> None:
    for name in ("weighting.temperature", "weighting.rate"):
        require(get(c, name) > 0, c, name, "above 0")
    for name in ("weighting.alpha", "weighting.decay"):
        at_least(c, name, 0)
    at_least(c, "weighting.wait", 1)
    require(0 < c.weighting.factor < 1, c, "weighting.factor", "between 0 and 1")


def _check_normed(c: ConfigDict) -> None:
    """Tasks, normalisation and noise must go together."""
    sizes, costs = c.model.hidden, c.ladder.costs
    fits = 0 < len(costs) <= len(sizes) + 2 and min(costs) >= 0 < max(costs)
    what = f"1 to {len(sizes) + 2} numbers, none below 0, one above"
    require(fits, c, "ladder.costs", what)
    normed = c.model.norm == "batch"
    fits = c.model.noise == 0 or normed
    require(fits, c, "model.noise", "0 without model.norm='batch'")
    fits = c.method != "pretraining" or c.unsupervised == "reconstruct"
    require(fits, c, "unsupervised", "'reconstruct' for pretraining")
    if c.method in methods.BASELINES:
        return
    needs = {"reconstruct": ("none",), "vat": network.NORMS}
    one_of(c, "model.norm", needs.get(c.unsupervised, ("batch",)))
    fits = c.model.noise > 0 or c.unsupervised in needs
    require(fits, c, "model.noise", "above 0: there is nothing to denoise")


def _check_start(c: ConfigDict) -> None:
    """The epoch in which the classifier starts to train must come, and in time."""
    depth = {"stairs": 1, "pretraining": len(c.model.hidden)}.get(c.method, 0)
    start = depth * c.schedule.t1
    require(start < c.epochs, c, "schedule.t1", f"below {c.epochs / max(depth, 1):g}")
    fits = c.patience == 0 or c.patience > start
    what = f"0, or above {start}, where the classifier starts to train"
    require(fits, c, "patience", what)
