"""The config of system 2: all fields, with the paper's values and our additions."""

import math
from collections.abc import Sequence

from ml_collections import ConfigDict

from mtl import optimizers, own_metrics
from mtl.engine import spec
from mtl.host import fields, named_configs
from mtl.host.checks import check_run, get, one_of, require
from mtl.tasks import precision
from structured import autoencoder, data, scoring, tasks
from structured.faces.points import POINTS

# A run continues with other values of these; data.json has a checksum of the data.
FREE = (
    *("data.path", "data.cache", "save_every", "save_minutes", "patience", "devices"),
    "shard_data",
)
# Fields that change arrays alone: runs that differ in them share compiled programs.
DATA_FIELDS = (
    *("seed", "variant", "epochs", "optim.learning_rate", "optim.decay_epochs"),
    *("optim.schedule", "optim.warmup_epochs"),
    *("schedule.input", "schedule.output", "data.path", "data.cache"),
    *("eval_every", "save_every", "save_minutes", "patience"),
)


def default() -> ConfigDict:
    """Returns the config of the landmark experiment of arXiv 1504.07550.

    "Ours" marks a field that the paper does not have, or a value that it leaves open.
    """
    c = ConfigDict()
    # Seeds the initial parameters, the order of examples, noise and augmentation.
    c.seed = 0
    # Ours: the folder of a finished run of the same network; this run starts from its
    # best parameters. "" starts from random ones.
    c.init_from = ""
    # One of tasks.VARIANTS.
    c.variant = "mlp_in_out"
    # Each takes every example once.
    c.epochs = 1000
    # Examples of an update; some may lack x or y.
    c.batch_size = 10
    # "alternate" is Algorithm 2 of the paper, "alternate_then_joint" is the authors'
    # program, and "joint" updates all tasks in one step.
    c.order = "alternate"

    c.data = ConfigDict()
    # One of data.SOURCES.
    c.data.source = "300w"
    # A folder, or a file if the source is "npz".
    c.data.path = ""
    # Folders of training faces. If the source is "wflw", they are list files. If it is
    # "the300w_lp", they are splits, which share photographs: see its module.
    c.data.train = ("helen/trainset",)
    # Folders of test faces.
    c.data.test = ("helen/testset",)
    # Folders of faces that are used as x alone and as y alone.
    c.data.unlabelled = ()
    # Ours: the number of training pairs. Each other pair becomes an x alone and a y
    # alone. -1 keeps all pairs.
    c.data.pairs = -1
    # The share of the training pairs that becomes the validation set.
    c.data.valid = 0.1
    # True validates on the first pairs, as for LFPW; False on the last pairs (ours), or
    # on drawn ones if the source is "npz".
    c.data.valid_first = False
    # Ours: seeds the draw of the validation set, if the source is "npz".
    c.data.valid_seed = 0
    # The number of points of a face.
    c.data.points = POINTS
    # Ours: pairs of points, from 0, that a mirror exchanges. If this and the two fields
    # below are empty, faces.schemes has those of 5, 68 (300-W) and 98 (WFLW) points.
    c.data.mirror_pairs = ()
    # Ours: the outer corners of the left and the right eye in the image, or empty.
    c.data.eye_corners = ()
    # Ours: the points of the left eye and those of the right eye, or empty. The mean of
    # an eye's points is its middle.
    c.data.eyes = ()
    # Ours: whether a row of y may lack some of its values (NaN), or a face some of its
    # points. False refuses such a row, because a NaN is often a mistake. Missing values
    # count in no error, and P_out gets their mean over the training examples.
    c.data.partial_y = False
    # The side of x, in pixels.
    c.data.size = 50
    # Ours: see crops.Crop.
    c.data.margin = 0.0
    # Ours: see crops.Crop.
    c.data.context = 0
    # Ours: see crops.Crop.
    c.data.square = False
    # Ours: a CSV file of boxes. "" uses the tight boxes of the points. If the source is
    # "wflw", "list" uses the boxes of the lists.
    c.data.boxes = ""
    # True leaves out faces that cannot be used; False raises an error.
    c.data.skip_bad = False
    # A folder that keeps the crops. "" keeps none.
    c.data.cache = ""

    # Ours: all fields; see faces.augmentation.draw_transforms.
    c.augmentation = ConfigDict()
    # Whether to change the training faces.
    c.augmentation.on = False
    # The standard deviation of the rotation, in degrees.
    c.augmentation.rotation = 10.0
    # The standard deviation of the scale's logarithm.
    c.augmentation.scale = 0.05
    # The standard deviation of the shift, as a share of the frame.
    c.augmentation.shift = 0.03
    # Whether to mirror each face with probability 1/2.
    c.augmentation.mirror = True

    c.model = ConfigDict()
    # The type of P_in: "mlp" or "cnn".
    c.model.encoder = "mlp"
    # The layer sizes of P_in from x to its code, if the encoder is "mlp".
    c.model.input = (1025,)
    # The sizes of m's hidden layers, between the two codes.
    c.model.link = (512,)
    # The layer sizes of P_out from y to its code.
    c.model.output = (64,)
    # Ours: the channels of P_in's 3x3 convolutions, if the encoder is "cnn".
    c.model.channels = (32, 64, 128)
    # Ours: the strides of these convolutions.
    c.model.strides = (2, 2, 2)
    # The activation of P_in's layers.
    c.model.input_activation = "sigmoid"
    # The activation of m's hidden layers.
    c.model.link_activation = "sigmoid"
    # The activation of P_out's layers, the code of y among them.
    c.model.output_activation = "tanh"
    # The activation of the reconstruction of x.
    c.model.x_activation = "sigmoid"
    # The activation of y.
    c.model.y_activation = "tanh"
    # Whether P_in and P'_in share their matrices.
    c.model.tied_input = True
    # Whether P_out and P'_out share their matrices.
    c.model.tied_output = True
    # Ours: the type of matrix products and activations, one of precision.DTYPES.
    # Parameters, optimizer states and losses stay float32.
    c.model.dtype = "float32"

    c.reconstruct_in = _task_defaults("sum", l2=1e-2)
    # One of corruption.KINDS.
    c.reconstruct_in.noise = "mask"
    # The share of x's entries that noise changes; if "gaussian", its deviation.
    c.reconstruct_in.level = 0.2
    # Whether to subtract the mini-batch mean from the code.
    c.reconstruct_in.center_code = True
    c.reconstruct_out = _task_defaults("sum", l2=1e-2)
    # One of corruption.KINDS.
    c.reconstruct_out.noise = "none"
    # The share of y's entries that noise changes; if "gaussian", its deviation.
    c.reconstruct_out.level = 0.0
    # Whether to subtract the mini-batch mean from the code.
    c.reconstruct_out.center_code = True
    c.supervised = _task_defaults("mean", l2=0.0)

    c.schedule = ConfigDict()
    # λ_in is 1 up to the first epoch, and falls linearly to 0 at the second.
    c.schedule.input = (100.0, 500.0)
    # λ_out is 1 up to the first epoch, and falls linearly to 0 at the second.
    c.schedule.output = (100.0, 700.0)

    c.optim = ConfigDict()
    # One of mtl.optimizers.NAMES; the paper has "sgd".
    c.optim.name = "sgd"
    # Ours: arguments of optax's function, such as "b2=0.99, nesterov=True".
    c.optim.arguments = ""
    # The learning rate.
    c.optim.learning_rate = 1e-3
    # The momentum of "sgd", and b1 of "adam".
    c.optim.momentum = 0.9
    # Ours: the decoupled weight decay of kernels (Loshchilov and Hutter 2019).
    c.optim.weight_decay = 0.0
    # Ours: the largest norm of an update's gradient. 0 does not clip.
    c.optim.clip = 0.0
    # Ours: the form of the learning rate's fall to 0, one of mtl.optimizers.SCHEDULES.
    c.optim.schedule = "cosine"
    # Ours: the number of last epochs in which the learning rate falls.
    c.optim.decay_epochs = 0
    # Ours: the number of first epochs in which the learning rate rises.
    c.optim.warmup_epochs = 0

    # In epochs.
    c.eval_every = 5
    # In epochs.
    c.save_every = 100
    # The longest time between checkpoints, in minutes.
    c.save_minutes = 10.0
    # The metric of the validation set that chooses the best epoch: "valid/mse", or
    # "valid/" and the name of a function in `metrics` (ours).
    c.monitor = "valid/mse"
    # Ours: whether the best epoch has the lowest ("min") or highest ("max") value;
    # "auto" is the lowest MSE.
    c.monitor_mode = "auto"
    # Ours: metrics of your own, such as ("package.module:function",); see extending.md.
    c.metrics = ()
    # The number of epochs without a better one after which training stops. 0 trains for
    # all epochs.
    c.patience = 0
    # The precision of matrix products. "highest" is float32 on every device.
    c.precision = "default"
    # Ours: the number of devices that share the rows of each mini-batch. 0 takes all
    # devices if they divide batch_size, and one of each process otherwise.
    c.devices = 0
    # Ours: whether each of several devices holds its part of the rows of the training
    # data alone, and not all of them. The result is the same; see docs/scaling.md.
    c.shard_data = False
    return c


def named(name: str) -> ConfigDict:
    """Returns the config that `--config NAME` takes, such as "helen:quick".

    Raises:
      ConfigError: there is none of this name.

    Examples:
      >>> named("helen:quick").epochs
      200
    """
    return named_configs.load("structured", name)


def check(c: ConfigDict) -> None:
    """Checks every field before any work.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    fields.check(c, default())
    check_run(c)
    one_of(c, "order", spec.ORDERS)
    require(0 <= c.optim.momentum < 1, c, "optim.momentum", "from 0 to below 1")
    optimizers.check(c, **tasks.momentum(c.optim))
    own_metrics.check(c, scoring.MODES, scoring.NAMES)
    data.check(c)
    _check_model(c)
    tasks.check(c)


def check_input_shape(c: ConfigDict, shape: Sequence[int]) -> None:
    """Checks that convolutions get images, and that the strides divide their sides.

    Args:
      c: the config of the run.
      shape: the shape of one x of the data.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    if c.model.encoder == "cnn":
        allowed = f"'mlp' for x of shape {tuple(shape)}: 'cnn' needs grey images [H, W]"
        require(len(shape) == 2, c, "model.encoder", allowed)
        stride = math.prod(c.model.strides)
        fits = all(side % stride == 0 for side in shape)
        allowed = f"such that their product divides the sides of images {tuple(shape)}"
        require(fits, c, "model.strides", allowed)


def _check_model(c: ConfigDict) -> None:
    one_of(c, "model.encoder", ("mlp", "cnn"))
    one_of(c, "model.dtype", precision.DTYPES)
    for name in ("input", "link", "output", "x", "y"):
        one_of(c, f"model.{name}_activation", tuple(autoencoder.ACTIVATIONS))
    for name in ("input", "link", "output", "channels", "strides"):
        sizes = get(c, f"model.{name}")
        fits = all(n > 0 for n in sizes) and (len(sizes) > 0 or name == "link")
        require(fits, c, f"model.{name}", "whole numbers above 0")
    if c.model.encoder == "cnn":
        fits = len(c.model.strides) == len(c.model.channels)
        require(fits, c, "model.strides", "as many as model.channels")
        faces = c.data.source in data.FACE_SOURCES
        stride = math.prod(c.model.strides)
        fits = not faces or c.data.size % stride == 0
        require(fits, c, "data.size", f"a multiple of {stride}, the product of strides")


def _task_defaults(dimensions: str, l2: float) -> ConfigDict:
    """The fields that all tasks have."""
    c = ConfigDict()
    # "squared", or "absolute" (ours).
    c.error = "squared"
    # Reduces the errors of one example: "sum" or "mean".
    c.dimensions = dimensions
    # Reduces the losses of a mini-batch: "sum" or "mean".
    c.batch = "mean"
    # The factor of the L2 penalty on the matrices.
    c.l2 = l2
    return c
