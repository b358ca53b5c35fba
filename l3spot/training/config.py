"""The config of system 3: all fields, their defaults and their limits."""

from ml_collections import ConfigDict

from l3spot import backbones
from l3spot.localize import network, preprocess, window_search
from l3spot.phantom import draw
from l3spot.training import scoring, tasks
from l3spot.training.augmentation_ranges import AugmentationRanges
from mtl import optimizers, own_metrics
from mtl.host import fields, named_configs
from mtl.host.checks import PRECISIONS, at_least, get, one_of, require
from mtl.host.errors import ConfigError
from mtl.tasks import precision

SOURCES = ("phantoms", "projections")
# A run continues with other values of these; data.json has a checksum of the data.
FREE = ("data.path", "save_every", "save_minutes", "patience", "devices", "shard_data")
GROUPS = {"augmentation": AugmentationRanges}  # Classes that describe their fields.


def default() -> ConfigDict:
    """Returns the config of CNN4 on phantoms.

    Only max_offset_mm is the paper's; all other values are ours.
    """
    c = ConfigDict()
    # Seeds initial parameters, order of scans, augmentation and choice of labels.
    c.seed = 0
    # The folder of a finished run of the same network; this run starts from its best
    # parameters. "" starts from random ones, or from model.weights_file.
    c.init_from = ""
    c.epochs = 16  # Each takes every training scan once.
    c.batch_size = 16  # Strips of an update.
    c.precision = "default"  # Precision of matrix products, one of PRECISIONS.
    # The number of devices that share the rows of each mini-batch. 0 takes all
    # devices if they divide batch_size, and one of each process otherwise.
    c.devices = 0
    # Ours: whether each of several devices holds its part of the rows of the training
    # data alone, and not all of them. The result is the same; see docs/scaling.md.
    c.shard_data = False

    c.model = ConfigDict()
    c.model.backbone = "cnn4"  # One of backbones.NAMES.
    c.model.weights_file = ""  # A file of l3spot.convert; "" draws random parameters.
    c.model.frozen = False  # True does not train the trunk; the paper trains it.
    c.model.dtype = "float32"  # The trunk's computations; "bfloat16" is possible.

    c.data = ConfigDict()
    c.data.source = "phantoms"  # "projections" are those of l3spot.project.
    # The projection that the network takes, one of preprocess.VIEWS; the paper's are
    # both. "lateral" needs the source "projections", and no mirror images.
    c.data.view = preprocess.FRONTAL
    c.data.path = "runs/phantoms"  # The folder of the phantoms or projections.
    # A CSV file with the columns scan and patient; "" gives each scan its own patient.
    c.data.patients = ""
    # Seeds the phantoms; or draws the validation and test set of "projections".
    c.data.seed = 7
    c.data.proportions = "usual"  # Of phantoms, one of phantom.draw.PROPORTIONS.
    c.data.count = 3000  # Number of phantoms.
    # Size of the test set; of phantoms it is taken from the end.
    c.data.test = 0
    # Size of the validation set; of phantoms it is taken from the end of the others. It
    # also calibrates the confidence.
    c.data.validation = 300
    c.data.labelled = 0  # Number of training scans that keep their label; 0 keeps all.
    c.data.unlabelled = 0  # Number of training scans without a label; -1 uses all.
    # Scans with a label are repeated to at least so many strips in an epoch.
    c.data.strips = 0

    # Windows of a strip. They are a stride apart: 32 mm with CNN4 and Res4, 64 mm with
    # the others.
    c.windows = 8
    c.augmentation = ConfigDict(AugmentationRanges()._asdict())
    c.low_hu = 50.0  # Black at test time; augmentation draws it in training.
    c.high_hu = 950.0  # White at test time; augmentation draws it in training.
    c.window_stride_px = window_search.STRIDE_PX  # At test time; a pixel has 2 mm.
    # At test time, average the estimates for an image and for its mirror image.
    c.mirror = False
    # Loss weight of windows far from L3. The paper trains on near windows alone (0).
    c.far_weight = 0.3
    c.max_offset_mm = window_search.MAX_OFFSET_MM  # a, the paper's; it is fixed.
    c.huber_delta = 0.3  # The loss is linear above it, in units of a.

    # Reconstruction has the loss weight w, and localization 1 - w.
    c.reconstruct = ConfigDict()
    c.reconstruct.schedule = tasks.NO_SCHEDULE  # One of tasks.SCHEDULES.
    c.reconstruct.value = 0.5  # w of "constant".
    c.reconstruct.t1 = 8.0  # Epochs, of "stairs" and "abridged".
    c.reconstruct.sigma = 4.0  # Epochs, of "exponential".
    c.reconstruct.scale = 1.0  # Factor of the reconstruction loss, also in the logs.

    c.optim = ConfigDict()
    # One of mtl.optimizers.NAMES; adamw has a decoupled weight decay of 1e-4.
    c.optim.name = "adamw"
    # Arguments of optax's function, such as "b2=0.99, weight_decay=1e-3".
    c.optim.arguments = ""
    c.optim.learning_rate = 2e-3  # The learning rate after the warm-up.
    c.optim.trunk = 1.0  # Factor of the learning rate for the trunk.
    # The form of the learning rate's fall to 0, one of mtl.optimizers.SCHEDULES.
    # "warmup_cosine" rises from a tenth, and falls over all epochs after the warm-up.
    c.optim.schedule = "warmup_cosine"
    # The number of last epochs of the fall, for "linear" and "cosine".
    c.optim.decay_epochs = 0
    # The number of first epochs in which the learning rate rises.
    c.optim.warmup_epochs = 1
    # The decoupled weight decay of kernels, for optimizers without such an argument.
    c.optim.weight_decay = 0.0
    c.optim.clip = 1.0  # Largest norm of the gradient; 0 does not clip.
    c.eval_every = 4  # Epochs.
    c.save_every = 1  # Epochs.
    # The longest time between checkpoints, in minutes, if save_every is larger.
    c.save_minutes = 10.0
    # The metric of the validation set that chooses the best epoch: "valid/" and a name
    # of scoring.MODES, or that of a function in `metrics`.
    c.monitor = "valid/mean_mm"
    # Whether the best epoch has the lowest ("min") or highest ("max") value; "auto"
    # knows which for scoring.MODES.
    c.monitor_mode = "auto"
    # Metrics of your own, such as ("package.module:function",); see extending.md.
    c.metrics = ()
    # Epochs without a better one before training stops; 0 never stops.
    c.patience = 0
    return c


def named(name: str) -> ConfigDict:
    """Returns the config that `--config NAME` takes, such as "phantom:smoke".

    Raises:
      ConfigError: there is none of this name.

    Examples:
      >>> named("phantom:smoke").epochs
      2
    """
    return named_configs.load("l3spot", name)


def check(c: ConfigDict) -> None:
    """Checks all fields of a config.

    Raises:
      ConfigError: a value is not valid.
    """
    if "stage" in c:
        raise ConfigError(
            f"config.stage={c.stage!r} is trained by l3spot.main alone; give the "
            "config of a network of L3, such as phantom"
        )
    fields.check(c, default())
    one_of(c, "data.source", SOURCES)
    _check_view(c)
    one_of(c, "data.proportions", tuple(draw.PROPORTIONS))
    require(
        c.data.source == "phantoms" or c.data.proportions == "usual",
        c,
        "data.proportions",
        "usual with config.data.source=projections, which are no phantoms",
    )
    one_of(c, "precision", PRECISIONS)
    one_of(c, "model.backbone", backbones.NAMES)
    one_of(c, "model.dtype", precision.DTYPES)
    one_of(c, "reconstruct.schedule", tasks.SCHEDULES)
    for name, least in {
        "seed": 0, "epochs": 1, "batch_size": 1, "windows": 1, "data.count": 2,
        "data.validation": 1, "data.test": 0, "data.labelled": 0,
        "data.unlabelled": -1, "data.strips": 0, "eval_every": 1, "save_every": 1,
        "save_minutes": 0, "patience": 0, "devices": 0, "optim.trunk": 0,
        "far_weight": 0,
    }.items():  # fmt: skip
        at_least(c, name, least)
    for name in (
        *("huber_delta", "reconstruct.scale", "reconstruct.t1", "reconstruct.sigma"),
    ):
        require(get(c, name) > 0, c, name, "above 0")
    check_optim(c)
    own_metrics.check(c, scoring.MODES, scoring.NAMES)
    scoring.load_metrics(c.metrics)
    held_out = c.data.validation + c.data.test
    limit = "below data.count - data.test"
    require(held_out < c.data.count, c, "data.validation", limit)
    require(c.low_hu < c.high_hu, c, "low_hu", "below config.high_hu")
    fixed = window_search.MAX_OFFSET_MM
    require(c.max_offset_mm == fixed, c, "max_offset_mm", f"{fixed:g}")
    supported = window_search.strides(network.make(c.model.backbone))
    one_of(c, "window_stride_px", supported)
    require(0 < c.reconstruct.value < 1, c, "reconstruct.value", "between 0 and 1")
    pretrained = c.model.backbone in backbones.PRETRAINED
    require(
        pretrained or not c.model.weights_file,
        c,
        "model.weights_file",
        f"empty for {c.model.backbone}",
    )
    one_task = c.reconstruct.schedule == tasks.NO_SCHEDULE
    require(
        one_task or not c.model.frozen, c, "model.frozen", "False with reconstruction"
    )
    require(
        c.data.unlabelled == 0 or not one_task,
        c,
        "data.unlabelled",
        "0 without a schedule of config.reconstruct",
    )


def check_optim(c: ConfigDict) -> None:
    """Checks `config.optim` of a config.

    Raises:
      ConfigError: a value is not valid, or a learning rate that falls has no epochs.
    """
    optimizers.check(c)
    falls = c.optim.schedule in ("linear", "cosine")
    what = f"above 0 with optim.schedule={c.optim.schedule!r}: the epochs of its fall"
    require(c.optim.decay_epochs > 0 or not falls, c, "optim.decay_epochs", what)


def _check_view(c: ConfigDict) -> None:
    """Checks the fields that the lateral projection rules out; its front is left."""
    one_of(c, "data.view", preprocess.VIEWS)
    if c.data.view == preprocess.LATERAL:
        because = f"with config.data.view={c.data.view}:"
        require(
            c.data.source == "projections",
            c,
            "data.source",
            f"projections {because} these phantoms have a frontal projection alone. "
            "Write phantoms as scans with l3spot.phantom, and project them with "
            "l3spot.project",
        )
        unlike = f"{because} its front is always on the left"
        require(not c.mirror, c, "mirror", f"False {unlike}")
        share = "augmentation.mirror_share"
        require(c.augmentation.mirror_share == 0, c, share, f"0 {unlike}")
