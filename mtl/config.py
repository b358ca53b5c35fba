"""The config of system 1: all fields, with the paper's values and our choices."""

from ml_collections import ConfigDict

from mtl import methods, metrics, networks, optimizers, own_metrics
from mtl.data import datasets
from mtl.engine import spec
from mtl.host import fields, named_configs
from mtl.host.checks import check_run, one_of, require

# A run continues with other values of these; data.json has a checksum of the data.
FREE = (
    *("data.path", "save_every", "save_minutes", "patience", "devices"),
    "shard_data",
)
# Fields that change arrays alone: runs that differ in them share compiled programs.
DATA_FIELDS = (
    *("seed", "epochs", "optim.learning_rate", "optim.decay_epochs"),
    *("optim.schedule", "optim.warmup_epochs"),
    *("schedule.t1", "schedule.sigma", "schedule.weight", "data.path"),
    *("eval_every", "save_every", "save_minutes", "patience"),
)


def default() -> ConfigDict:
    """Returns the config of the ESANN 2016 experiment, on scikit-learn's digits.

    "Ours" marks what the paper leaves open. `docs/results/mtl.md` shows how those were
    chosen, on the validation set.
    """
    c = ConfigDict()
    # Seeds the initial parameters, the choice of labels, the order of rows and noise.
    c.seed = 0
    # Ours: the folder of a finished run of the same network; this run starts from its
    # best parameters. "" starts from random ones.
    c.init_from = ""
    # One of methods.METHODS.
    c.method = "exponential"
    # Each takes all labelled and unlabelled images once; for the source "shards", see
    # data.chunk_rows.
    c.epochs = 5000
    # The labelled and unlabelled images of a step.
    c.batch_size = 600
    # "alternate" is Algorithm 1 of the paper; or "joint", "alternate_then_joint".
    c.order = "alternate"
    # One of methods.UNSUPERVISED; the paper's task is "reconstruct".
    c.unsupervised = "reconstruct"

    c.data = ConfigDict()
    # One of datasets.SOURCES.
    c.data.source = "digits"
    # A folder, or a file if the source is "npz".
    c.data.path = ""
    # Ours, for "shards": the images of an epoch. They are all labelled images and the
    # next unlabelled ones. It takes no effect if all images fit.
    c.data.chunk_rows = 12_000
    # The number of labelled images, l. -1 takes all.
    c.data.labelled = 100
    # The number of unlabelled images, u. -1 takes all that are left.
    c.data.unlabelled = -1
    # The number of training images that become the validation set; see datasets.load.
    c.data.valid = 297
    # Ours: seeds the draw of the validation set of your own data.
    c.data.valid_seed = 0
    # Ours: "unit" takes bytes, and floats in [0, 1]; "minmax" and "standardise" scale
    # the features of your own data by the training images.
    c.data.scaling = "unit"
    # Ours: True draws as many labelled images of each class.
    c.data.balanced = True

    c.model = ConfigDict()
    # Ours: "mlp"; "cnn", with convolutions below the hidden layers; or the path of a
    # Flax module of your own, such as "package.module:Encoder"; see extending.md.
    c.model.network = "mlp"
    # Ours, for "cnn": the channels of the 3x3 convolutions.
    c.model.channels = (16, 32)
    # Ours, for "cnn": the strides of these convolutions.
    c.model.strides = (2, 2)
    # The sizes of the hidden layers. This is NN1; NN4 is (80, 70, 60, 50).
    c.model.hidden = (50,)
    # Ours: one of network.ACTIVATIONS.
    c.model.activation = "relu"
    # Ours: whether decoders use the transposed matrices of their layers.
    c.model.tied = True
    # "none", or "batch" normalisation, which "reconstruct" does not support.
    c.model.norm = "none"
    # The deviation of the noise on the input and on normalised layers. The ladder's
    # paper has 0.3.
    c.model.noise = 0.0
    # Ours: the type of matrix products and activations, one of precision.DTYPES.
    # Parameters, optimizer states and losses stay float32.
    c.model.dtype = "float32"

    c.reconstruct = ConfigDict()
    # Ours: the loss of the input layer, summed over its dimensions.
    c.reconstruct.loss = "cross_entropy"
    # Ours: the loss of the other layers, summed over their dimensions.
    c.reconstruct.hidden_loss = "squared_error"
    # Ours: the factor of the costs, also in the logs.
    c.reconstruct.scale = 0.1
    # One of corruption.KINDS; the paper has the binomial mask.
    c.reconstruct.noise = "mask"
    # Ours: the share of entries that noise changes; if "gaussian", its deviation.
    c.reconstruct.level = 0.2
    # Ours: True lets the cost of a layer also train the layers below it.
    c.reconstruct.reaches_below = True

    # Miyato et al. 2015, with the values of its semi-supervised MNIST.
    c.vat = ConfigDict()
    # The length of the perturbation of an image.
    c.vat.epsilon = 0.3
    # The iterations of the power method.
    c.vat.iterations = 1
    # The length of its finite difference; the papers' code has 1e-6. 0 is exact (ours).
    c.vat.xi = 0.0
    # The loss weight of the predictions' entropy; VAT+EntMin (2017) has 1.
    c.vat.entropy = 0.0
    # The factor of the costs, also in the logs.
    c.vat.scale = 1.0

    # Rasmus et al. 2015, with the values for 100 labels.
    c.ladder = ConfigDict()
    # The loss weights of the input, of layer 1, and of each layer above.
    c.ladder.costs = (1000.0, 10.0, 0.1)
    c.gamma = ConfigDict()
    # The loss weight of the top layer, which alone has a cost.
    c.gamma.cost = 0.5

    c.classify = ConfigDict()
    # Ours: reduces the losses of a mini-batch's labelled rows: "mean" or "sum".
    c.classify.reduction = "mean"
    # The number of labelled rows that each step draws. 0 takes those that are in the
    # mini-batch, as in the paper.
    c.classify.draws = 0

    c.schedule = ConfigDict()
    # "stairs" and "abridged": the first epoch where λ_r is 0. "pretraining": the number
    # of epochs of each layer.
    c.schedule.t1 = 100
    # For "exponential": λ_r is exp(-epoch / sigma).
    c.schedule.sigma = 40.0
    # For "constant": λ_r.
    c.schedule.weight = 0.5
    # Ours, for "exponential" and "plateau": λ_r is 0 below this value, so that its task
    # costs no time.
    c.schedule.cutoff = 1e-6

    c.weighting = ConfigDict()
    # For "dwa": the temperature of its softmax.
    c.weighting.temperature = 2.0
    # For "gradnorm": how much tasks are favoured if their loss falls slowly.
    c.weighting.alpha = 1.5
    # For "gradnorm" and "famo": the learning rate of the loss weights.
    c.weighting.rate = 0.025
    # For "famo": its weight decay, gamma.
    c.weighting.decay = 0.01
    # Ours, for "plateau": the factor of λ_r when the error stops falling.
    c.weighting.factor = 0.5
    # Ours, for "plateau": λ_r falls after this number of evaluations without a lower
    # error.
    c.weighting.wait = 2

    c.optim = ConfigDict()
    # One of optimizers.NAMES; the paper has "sgd", without momentum.
    c.optim.name = "sgd"
    # Ours: arguments of optax's function, such as "momentum=0.9, nesterov=True".
    c.optim.arguments = ""
    # The learning rate of all tasks, the paper's.
    c.optim.learning_rate = 0.01
    # Ours: the form of the learning rate's fall to 0, one of optimizers.SCHEDULES.
    c.optim.schedule = "linear"
    # Ours: the number of last epochs in which the learning rate falls.
    c.optim.decay_epochs = 500
    # Ours: the number of first epochs in which the learning rate rises.
    c.optim.warmup_epochs = 0
    # Ours: the decoupled weight decay of kernels (Loshchilov and Hutter 2019).
    c.optim.weight_decay = 0.0
    # Ours: the largest norm of an update's gradient. 0 does not clip.
    c.optim.clip = 0.0

    # In epochs.
    c.eval_every = 50
    # In epochs.
    c.save_every = 500
    # The longest time between checkpoints, in minutes.
    c.save_minutes = 10.0
    # The metric of the validation set that chooses the best epoch: "valid/" and a name
    # of metrics.METRICS, or that of a function in `metrics`.
    c.monitor = "valid/error"
    # Ours: whether the best epoch has the lowest ("min") or highest ("max") value;
    # "auto" knows which for metrics.METRICS.
    c.monitor_mode = "auto"
    # Ours: metrics of your own, such as ("package.module:function",); see extending.md.
    c.metrics = ()
    # The number of epochs without a better one after which training stops. 0 trains for
    # all epochs.
    c.patience = 0
    # The precision of matrix products. "highest" is float32 on every device.
    c.precision = "default"
    # The number of devices that share the rows of each mini-batch. 0 takes all
    # devices if they divide batch_size, and one of each process otherwise. Each run of
    # a study has one.
    c.devices = 0
    # Ours: whether each of several devices holds its part of the rows of the training
    # data alone, and not all of them. The result is the same; see docs/scaling.md.
    c.shard_data = False
    return c


def named(name: str) -> ConfigDict:
    """Returns the config that `--config NAME` takes, such as "table1:cpu".

    Raises:
      ConfigError: there is none of this name.

    Examples:
      >>> named("table1:cpu").epochs
      250
    """
    return named_configs.load("mtl", name)


def of_a_run(c: ConfigDict) -> ConfigDict:
    """Returns a copy without `study`, the grid of a study, which no single run has."""
    return ConfigDict({k: v for k, v in c.to_dict().items() if k != "study"})


def check(c: ConfigDict) -> None:
    """Checks every field before any work.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    fields.check(of_a_run(c), default())
    check_run(c)
    one_of(c, "order", spec.ORDERS)
    datasets.check(c)
    networks.check(c)
    methods.check(c)
    optimizers.check(c)
    _check_monitor(c)
    fits = not c.shard_data or c.model.norm == "none"
    what = (
        "False with model.norm='batch', which takes the statistics of all rows at once"
    )
    require(fits, c, "shard_data", what)


def monitor_mode(c: ConfigDict) -> metrics.Mode:
    """Whether the best epoch has the lowest or the highest value of the monitor."""
    return own_metrics.mode(c, metrics.MODES)


def _check_monitor(c: ConfigDict) -> None:
    own_metrics.check(c, metrics.MODES, metrics.METRICS)
    fits = c.method != "plateau" or monitor_mode(c) == "min"
    require(fits, c, "monitor", "a metric to minimise, for method='plateau'")
