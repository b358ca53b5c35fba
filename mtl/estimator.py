"""System 1 as a scikit-learn estimator."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.special
from ml_collections import ConfigDict
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mtl import config as configs
from mtl import experiment, fitting, methods, metrics, networks
from mtl.data import labels, scaling
from mtl.data.datasets import Dataset
from mtl.data.readers import Images
from mtl.engine.task import Params
from mtl.engine.training import Training
from mtl.host import fields
from mtl.tasks.network import Mlp

# These need a validation set during training.
OBSERVING = ("plateau", "ratio")
# Fields that a compiled program takes as data, or that are of the host alone.
DYNAMIC = (*configs.DATA_FIELDS, "data", "monitor", "monitor_mode")


class EvolvingMTLClassifier(ClassifierMixin, fitting.NetworkEstimator):
    """Trains a classifier with few labels; rows without a label train it too.

    `fit` takes y with -1 for "no label", as `sklearn.semi_supervised` does. If y holds
    strings, "-1" means the same, or -1 in an array of dtype object. Where -1 is a class
    of your own, set `unlabelled` to another value, or to None.

    X has rows of features [N, D], or images [N, H, W] or [N, H, W, C].

    Args:
      method: sets the loss weights, one of `mtl.methods.METHODS`.
      unsupervised: the task of all rows, one of `mtl.methods.UNSUPERVISED`.
      network: "mlp"; "cnn" for images, with 3x3 convolutions below the hidden layers:
        `config={"model.channels": (16, 32), "model.strides": (2, 2)}` sets them; or a
        Flax module, "package.module:Encoder".
      hidden: the sizes of the hidden layers.
      activation: of these, "relu", "tanh" or "sigmoid".
      epochs: each takes every row once.
      batch_size: rows of an update step, at most all.
      labels_per_step: labelled rows that each step draws, at most all; 0 takes those
        that are among the rows of the mini-batch.
      order: "joint" makes one step for the weighted sum of the losses, "alternate" a
        step for each. Adam scales each step, so with "alternate" loss weights above 0
        make no difference to it; "sgd" obeys them.
      optimizer: one of `mtl.optimizers.NAMES`.
      learning_rate: of all tasks.
      sigma: for the method "exponential".
      t1: for the methods "stairs", "abridged" and "pretraining", in epochs.
      weight: for the method "constant", the loss weight of the unsupervised task.
      early_stopping: False trains on all labels, for all epochs, and keeps the last
        parameters. True holds some labelled rows out, and keeps the parameters with
        which these have the lowest error.
      validation_fraction: the share of labelled rows that are held out.
      patience: with early stopping, training ends after so many epochs without a lower
        error; 0 trains for all epochs.
      eval_every: with early stopping, the epochs between two evaluations.
      scaling: "minmax" or "standardise" scales features by the training rows; "unit"
        takes x in [0, 1] as it is, which suits images, because the others scale each
        pixel by itself. "standardise" needs
        `config={"reconstruct.loss": "squared_error"}`.
      unlabelled: the label that means "no label"; None: every row has a label.
      n_devices: devices that share the rows of each mini-batch; 0 takes all that
        divide `batch_size`.
      config: other fields of `mtl.config.default` by dotted name, such as
        {"model.norm": "batch"}.
      workdir: a folder that keeps the run's files, and from which an interrupted `fit`
        with the same data continues; `mtl.predict` reads it. None keeps none.
      random_state: seeds parameters, noise and the order of rows.
      verbose: whether to print the evaluations.

    Attributes:
      classes_: the labels [classes], in order.
      n_features_in_: the number of features; of images, H.
      shape_: of a row of X, such as (D,) or (H, W).
      n_iter_: the number of epochs trained.
      best_iter_: the epoch of the parameters that are kept.
      history_: a dict for each evaluation: losses, loss weights, metrics.
      params_: the parameters, NumPy arrays in nested dicts.

    Examples:
      >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
      >>> y = np.where(x[:, 0] > 0, "right", "left")
      >>> few = np.where(np.arange(60) < 30, y, "-1")  # "-1": no label.
      >>> model = EvolvingMTLClassifier(epochs=100, random_state=0).fit(x, few)
      >>> model.predict([[3.0, 0.0], [-3.0, 0.0]]).tolist()
      ['right', 'left']
    """

    def __init__(
        self,
        *,
        method: str = "exponential",
        unsupervised: str = "reconstruct",
        network: str = "mlp",
        hidden: Sequence[int] = (50,),
        activation: str = "relu",
        epochs: int = 200,
        batch_size: int = 100,
        labels_per_step: int = 50,
        order: str = "joint",
        optimizer: str = "adam",
        learning_rate: float = 3e-3,
        sigma: float = 40.0,
        t1: int = 100,
        weight: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 0,
        eval_every: int = 5,
        scaling: str = "minmax",
        unlabelled: Any = -1,
        n_devices: int = 1,
        config: Mapping[str, Any] | None = None,
        workdir: str | Path | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.method = method
        self.unsupervised = unsupervised
        self.network = network
        self.hidden = hidden
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.labels_per_step = labels_per_step
        self.order = order
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.sigma = sigma
        self.t1 = t1
        self.weight = weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.eval_every = eval_every
        self.scaling = scaling
        self.unlabelled = unlabelled
        self.n_devices = n_devices
        self.config = config
        self.workdir = workdir
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> "EvolvingMTLClassifier":  # noqa: N803
        """Trains on X [N, D], or images, with labels y [N], some of them "no label".

        Raises:
          ValueError: a parameter or the data make no sense; the message says which.
          WorkdirError: `workdir` holds another run.
          DivergedError: a loss or a parameter is not finite.
        """
        x, given = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        self.shape_ = x.shape[1:]
        codes = self._encode(given)
        with fitting.value_errors():
            config = self._config(len(x), int((codes >= 0).sum()))
            configs.check(config)
            dataset = self._dataset(config, x, codes)
            network = networks.build(config, dataset.shape, dataset.classes)
            with jax.default_matmul_precision(config.precision):
                training = self._training(config, dataset, network)
                fitted = self._train(config, dataset, training, network)
        self.scaling_ = dataset.scaling
        self._keep(config, network, fitted)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The probabilities [N, classes] of rows X, ordered as `classes_`."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float32, reset=False, allow_nd=True)
        if x.shape[1:] != self.shape_:
            raise ValueError(
                f"X has rows of shape {x.shape[1:]}, but `fit` had {self.shape_}"
            )
        x = x.reshape(len(x), -1)
        x = self.scaling_.apply(x) if self.scaling_ else x
        with jax.default_matmul_precision(self.precision_):
            apply = partial(_logits, self.network_, self.params_)
            return scipy.special.softmax(fitting.in_blocks(apply, x), axis=1)

    def predict(self, X: ArrayLike) -> NDArray:  # noqa: N803
        """The labels [N] of rows X."""
        places = self.predict_proba(X).argmax(axis=1)  # Refuses an unfitted estimator.
        return self.classes_[places]

    def _encode(self, y: NDArray) -> NDArray[np.int32]:
        """The place of each label in `classes_`, which is set; -1 for "no label".

        Raises:
          ValueError: y holds no classes, or one alone.
        """
        labelled = ~labels.equals(y, self.unlabelled)
        check_classification_targets(y[labelled])
        self.classes_, places = np.unique(y[labelled], return_inverse=True)
        if len(self.classes_) < 2:
            name = f" ({self.classes_.tolist()[0]!r})" if len(self.classes_) else ""
            raise ValueError(
                f"y has {len(self.classes_)} class{name}, but two are needed. Labels "
                f"{self.unlabelled!r} mean 'no label'; the parameter `unlabelled` "
                "changes this"
            )
        codes = np.full(len(y), -1, np.int32)
        codes[labelled] = places
        return codes

    def _config(self, rows: int, labelled: int) -> ConfigDict:
        own = {
            "method": self.method,
            "unsupervised": self.unsupervised,
            "classify.draws": min(self.labels_per_step, labelled),
            "data.labelled": -1,
            "data.scaling": self.scaling,
            "model.network": self.network,
            "model.hidden": self.hidden,
            "model.activation": self.activation,
            "schedule.sigma": self.sigma,
            "schedule.t1": self.t1,
            "schedule.weight": self.weight,
        }
        default = configs.default()
        default.optim.decay_epochs = 0
        return self._make_config(default, rows, own)

    def _dataset(
        self, config: ConfigDict, x: NDArray[np.float32], codes: NDArray[np.int32]
    ) -> Dataset:
        """Splits rows to validate off, and scales all by the others; flattens X."""
        if self.method in OBSERVING and not self.early_stopping:
            raise ValueError(
                f"method={self.method!r} needs early_stopping=True, for it watches the "
                "error of a validation set"
            )
        x = x.reshape(len(x), -1)
        held = np.zeros(len(x), bool)
        if self.early_stopping:
            count = fitting.hold_out(
                int((codes >= 0).sum()), self.validation_fraction, "labelled rows"
            )
            held[labels.draw_validation(codes, count, config.seed)] = True
        fitted = None
        if config.data.scaling != scaling.UNIT:
            fitted = scaling.fit(config.data.scaling, x[~held])
            x = fitted.apply(x)
        elif not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(
                f"X spans {x.min():g} to {x.max():g}, but scaling='unit' takes numbers "
                "in [0, 1]; set scaling='minmax'"
            )
        train, validation = (Images(x[rows], codes[rows]) for rows in (~held, held))
        none = Images(x[:0], codes[:0])
        names = tuple(self.classes_.tolist())
        return Dataset(
            *(train, validation, none, self.shape_, len(names), names, fitted)
        )

    def _training(self, config: ConfigDict, dataset: Dataset, network: Mlp) -> Training:
        """The training; without early stopping, the last epoch alone is evaluated."""
        labelled = dataset.train.y >= 0
        train = Images(dataset.train.x[labelled], dataset.train.y[labelled])
        sets, monitor = {"train": train}, "train/loss"
        mode: metrics.Mode = "min"
        if self.early_stopping:
            sets, monitor = {"valid": dataset.validation}, config.monitor
            mode = configs.monitor_mode(config)
        return dataclasses.replace(
            experiment.make_training(config, dataset),
            evaluate=experiment.make_evaluate(network, sets, config.metrics),
            monitor=monitor,
            monitor_mode=mode,
            quiet=not self.verbose,
        )

    def _train(
        self, config: ConfigDict, dataset: Dataset, training: Training, network: Mlp
    ) -> fitting.Fitted:
        def keep(path: Path) -> None:
            if dataset.scaling:
                scaling.save(path, dataset.scaling)

        described, default = experiment.describe(dataset), configs.default()
        folder = fitting.Folder(self.workdir, config, default, described, configs.FREE)
        return fitting.train(training, folder, _static(config, network), keep)


def _static(config: ConfigDict, network: Mlp) -> tuple[str, Mlp]:
    """What the tasks of a run depend on, besides the data's shapes."""
    evolving = config.method in methods.EVOLVING
    names = (*DYNAMIC, "method") if evolving else DYNAMIC
    return fields.text_without(config, names), network


@partial(jax.jit, static_argnums=0)
def _logits(network: Mlp, params: Params, x: jax.Array) -> jax.Array:
    return network.logits(params, x)
