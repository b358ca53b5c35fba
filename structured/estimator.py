"""System 2 as a scikit-learn estimator."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from mtl import fitting
from mtl.engine.training import Training
from mtl.host import fields
from mtl.host.checks import one_of
from structured import assemble, data, experiment, partial_outputs, tasks
from structured import config as configs
from structured.data import Dataset
from structured.examples import make_examples
from structured.network import Network

# Fields that a compiled program takes as data, or that are of the host alone.
DYNAMIC = (*configs.DATA_FIELDS, "data")
# A loss weight is 1 up to the first of these shares of all epochs, and falls linearly
# to 0 at the second.
SCHEDULES = {
    "hold_then_fall": (0.2, 0.6),
    "constant": (1.0, 2.0),
    "linear": (0.0, 1.0),
    "stairs": (0.5, 0.5),
}

Shares = tuple[float, float]


class StructuredRegressor(RegressorMixin, fitting.NetworkEstimator):
    """Predicts y from x; auto-encoders on x and y also train on rows without the other.

    A row of X or of y that is all NaN is missing. A row without y trains the
    auto-encoder on x, and a row without x that on y. Features and outputs are
    standardised by the training rows.

    Args:
      variant: which auto-encoders train, one of `structured.tasks.VARIANT_TASKS`.
      input_layers: the layer sizes from x to its code.
      link_layers: the sizes of the hidden layers between the two codes.
      output_layers: the layer sizes from y to its code.
      activation: of all hidden layers, "relu", "tanh", "sigmoid" or "linear".
      epochs: each takes every row once.
      batch_size: rows of an update step, at most all.
      order: "joint" makes one step for the weighted sum of the losses, "alternate" a
        step for each. Adam scales each step, so with "alternate" loss weights above 0
        make no difference to it; "sgd" obeys them.
      optimizer: one of `mtl.optimizers.NAMES`.
      learning_rate: of all tasks; it falls to 0 along a cosine.
        `config={"optim.schedule": "constant"}` keeps it.
      weight_decay: each step multiplies the matrices by 1 - weight_decay x learning
        rate. Optimizers that have their own, such as "adamw", need 0.
      schedule_input: the loss weight of the auto-encoder on x. "hold_then_fall" is 1
        for a fifth of the epochs, and falls to 0 until three fifths; "linear" falls
        from the start to the end; "stairs" is 1 for half of the epochs, then 0;
        "constant" is 1. Or two shares of the epochs, such as (0.2, 0.6): where the
        fall begins and ends.
      schedule_output: the same for the auto-encoder on y.
      noise: the share of x's entries that are set to 0 before x is reconstructed.
      partial_y: whether a row of y may lack some of its values (NaN). They count in no
        loss. False refuses such a row, because a NaN is often a mistake.
      early_stopping: False trains on all pairs, for all epochs, and keeps the last
        parameters. True holds some pairs out, and keeps the parameters with which these
        have the lowest mean squared error.
      validation_fraction: the share of pairs that are held out.
      patience: with early stopping, training ends after so many epochs without a lower
        error; 0 trains for all epochs.
      eval_every: with early stopping, the epochs between two evaluations.
      n_devices: devices that share the rows of each mini-batch; 0 takes all that divide
        `batch_size`.
      config: other fields of `structured.config.default` by dotted name, such as
        {"reconstruct_out.noise": "mask", "reconstruct_out.level": 0.1}.
      workdir: a folder that keeps the run's log and checkpoints, and from which an
        interrupted `fit` with the same data continues. None keeps none.
      random_state: seeds parameters, noise and the order of rows.
      verbose: whether to print the evaluations.

    Attributes:
      n_features_in_: the number of features.
      n_outputs_: the number of outputs.
      n_iter_: the number of epochs trained.
      best_iter_: the epoch of the parameters that are kept.
      history_: a dict for each evaluation: losses, loss weights, and the mean squared
        error of standardised outputs.
      params_: the parameters, NumPy arrays in nested dicts.

    Examples:
      >>> x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
      >>> y = x @ np.array([[1.0, -1.0], [0.5, 0.0], [0.0, 2.0]], np.float32)
      >>> y[60:] = np.nan  # These rows lack y.
      >>> model = StructuredRegressor(epochs=100, random_state=0).fit(x, y)
      >>> model.score(x[:60], y[:60]) > 0.9
      True
    """

    def __init__(
        self,
        *,
        variant: str = "mlp_in_out",
        input_layers: Sequence[int] = (64,),
        link_layers: Sequence[int] = (64,),
        output_layers: Sequence[int] = (32,),
        activation: str = "relu",
        epochs: int = 200,
        batch_size: int = 50,
        order: str = "joint",
        optimizer: str = "adam",
        learning_rate: float = 5e-3,
        weight_decay: float = 1.0,
        schedule_input: str | Shares = "constant",
        schedule_output: str | Shares = "constant",
        noise: float = 0.2,
        partial_y: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 0,
        eval_every: int = 5,
        n_devices: int = 1,
        config: Mapping[str, Any] | None = None,
        workdir: str | Path | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.variant = variant
        self.input_layers = input_layers
        self.link_layers = link_layers
        self.output_layers = output_layers
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.order = order
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule_input = schedule_input
        self.schedule_output = schedule_output
        self.noise = noise
        self.partial_y = partial_y
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.eval_every = eval_every
        self.n_devices = n_devices
        self.config = config
        self.workdir = workdir
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> "StructuredRegressor":  # noqa: N803
        """Trains on X [N, D] and y [N] or [N, outputs]; rows of NaN are missing.

        Raises:
          ValueError: a parameter or the data make no sense; the message says which.
          WorkdirError: `workdir` holds another run.
          DivergedError: a loss or a parameter is not finite.
        """
        nan = dict(dtype=np.float64, ensure_all_finite="allow-nan")
        either = dict(nan, ensure_2d=False)
        x, target = validate_data(self, X, y, validate_separately=(nan, either))
        check_consistent_length(x, target)
        self._one_axis = target.ndim == 1
        target = target.reshape(len(x), -1)
        self.n_outputs_ = target.shape[1]
        with fitting.value_errors():
            config = self._config(len(x))
            one_of(config, "variant", tuple(tasks.VARIANT_TASKS))
            configs.check(config)
            configs.check_input_shape(config, x.shape[1:])
            dataset = self._dataset(config, x, target)
            network = assemble.network(config, dataset)
            with jax.default_matmul_precision(config.precision):
                training = self._training(config, dataset)
                fitted = self._train(config, dataset, training, network)
        self._keep(config, network, fitted)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The outputs of rows X [N, D]: [N], or [N, outputs] if y had two axes."""
        check_is_fitted(self)
        y = self._outputs(validate_data(self, X, dtype=np.float64, reset=False))
        return y[:, 0] if self._one_axis else y

    def score(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """R², the mean over the outputs; rows without x, and missing y, do not count.

        Args:
          X: [N, D].
          y: [N] or [N, outputs].
          sample_weight: of the rows, [N].

        Raises:
          ValueError: there is no row with x and some y.
        """
        check_is_fitted(self)
        nan = dict(ensure_all_finite="allow-nan", dtype=np.float64)
        x = validate_data(self, X, reset=False, **nan)
        truth = np.asarray(y, np.float64).reshape(len(x), -1)
        weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight)
        predicted, known = self._outputs(np.nan_to_num(x)), ~np.isnan(truth)
        known &= ~np.isnan(x).all(axis=1, keepdims=True)
        each = zip(truth.T, predicted.T, known.T, strict=True)
        return float(
            np.mean([r2_score(t[k], p[k], sample_weight=weight[k]) for t, p, k in each])
        )

    def _outputs(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs [N, outputs] of rows x [N, D], in the units of y."""
        predict = assemble.make_predict(self.network_)
        scaled = self.x_scaler_.transform(x).astype(np.float32)
        with jax.default_matmul_precision(self.precision_):
            y = fitting.in_blocks(partial(predict, self.params_), scaled)
        return np.asarray(self.y_scaler_.inverse_transform(y))

    def _config(self, rows: int) -> ConfigDict:
        default = configs.default()
        for c in (default.reconstruct_in, default.reconstruct_out):
            c.dimensions, c.l2, c.center_code = "mean", 0.0, False
        default.optim.decay_epochs = self.epochs
        default.model.tied_input = default.model.tied_output = False
        default.model.x_activation = default.model.y_activation = "linear"
        own = {
            "variant": self.variant,
            "optim.weight_decay": self.weight_decay,
            "data.partial_y": self.partial_y,
            "model.input": self.input_layers,
            "model.link": self.link_layers,
            "model.output": self.output_layers,
            "model.input_activation": self.activation,
            "model.link_activation": self.activation,
            "model.output_activation": self.activation,
            "reconstruct_in.level": self.noise,
            "schedule.input": self._fall("schedule_input"),
            "schedule.output": self._fall("schedule_output"),
        }
        return self._make_config(default, rows, own)

    def _fall(self, name: str) -> tuple[float, float]:
        """The epochs in which the loss weight of a parameter begins and ends to fall.

        Raises:
          ValueError: it is no schedule.
        """
        given = getattr(self, name)
        shares = SCHEDULES.get(given) if isinstance(given, str) else tuple(given)
        if shares is None or len(shares) != 2 or shares[0] > shares[1]:
            raise ValueError(
                f"{name}={given!r} must be one of {', '.join(SCHEDULES)}, or two "
                "shares of the epochs, the first not above the second"
            )
        first, last = (share * self.epochs for share in shares)
        # A step falls before the first epoch of weight 0.
        return (first, last) if first < last else (np.ceil(first) - 1, np.ceil(first))

    def _dataset(
        self, config: ConfigDict, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> Dataset:
        """Standardises x and y, and holds pairs out to validate.

        Raises:
          DataError: rows lack values in another way than allowed, or no row has both.
          ValueError: there are too few pairs to hold some out.
        """
        names, field = ("X", "y"), "partial_y"
        whole = make_examples(x, y, names, self.partial_y, field)
        if not whole.pairs.any():
            raise ValueError("no row has both X and y; one is needed, or more")
        held = np.zeros(len(x), bool)
        if self.early_stopping:
            pairs = np.flatnonzero(whole.pairs)
            count = fitting.hold_out(len(pairs), self.validation_fraction, "pairs")
            held[np.random.default_rng(config.seed).permutation(pairs)[:count]] = True
        partial_outputs.check_known(whole.y[whole.has_y & ~held], "y")
        self.x_scaler_ = StandardScaler().fit(x[~held])
        self.y_scaler_ = StandardScaler().fit(y[~held])
        scaled = self.x_scaler_.transform(x), self.y_scaler_.transform(y)
        examples = make_examples(*scaled, names, self.partial_y, field)
        train = examples.select(~held)
        checked = examples.select(held if self.early_stopping else whole.pairs)
        data.check_output_ranges(config, train)
        none = checked.select(np.zeros(len(checked.x), bool))
        return Dataset(train, checked, none)

    def _training(self, config: ConfigDict, dataset: Dataset) -> Training:
        """The training; without early stopping, the last epoch alone is evaluated."""
        training = assemble.make_training(config, dataset)
        own = self.early_stopping  # Without a validation set, no metric is watched.
        monitor = training.monitor if own else "train/mse"
        return dataclasses.replace(
            training,
            evaluate=lambda params: {monitor: training.evaluate(params)[monitor]},
            monitor=monitor,
            monitor_mode=training.monitor_mode if own else "min",
            quiet=not self.verbose,
        )

    def _train(
        self, config: ConfigDict, dataset: Dataset, training: Training, network: Network
    ) -> fitting.Fitted:
        described, default = experiment.describe_dataset(dataset), configs.default()
        folder = fitting.Folder(self.workdir, config, default, described, configs.FREE)
        constants = assemble.constants(dataset.train)
        static = fields.text_without(config, DYNAMIC), network, constants
        return fitting.train(training, folder, static)

    def __sklearn_tags__(self) -> Any:
        """Several outputs are allowed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
