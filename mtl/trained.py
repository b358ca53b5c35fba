"""A trained run of system 1, read from its folder."""

from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from mtl import config as configs
from mtl import networks
from mtl.data import scaling
from mtl.data.scaling import Scaling
from mtl.engine.task import Params
from mtl.host import checkpoint, fields, remote, workdir
from mtl.tasks.network import Mlp


class Model(NamedTuple):
    """A trained run: its best parameters, and what it takes and gives.

    names: of the classes. scaling: None if x is to be in [0, 1].
    """

    config: ConfigDict
    network: Mlp
    params: Params
    shape: tuple[int, ...]
    names: list[int | str]
    scaling: Scaling | None


def load(folder: str | Path) -> Model:
    """Loads a trained run from its folder, or from an address.

    Raises:
      ConfigError: the run is of another program or version.
      WorkdirError: the folder holds no run, or one without a checkpoint yet.
    """
    with remote.local_folder(folder, None) as local:
        return _load(local)


def _load(folder: Path) -> Model:
    saved = workdir.load_config(folder)
    config = fields.complete(saved, configs.default(), str(folder / "config.json"))
    with workdir.damaged(folder / "data.json"):
        data = workdir.read_json(folder / "data.json")
        shape, classes = tuple(map(int, data["shape"])), int(data["classes"])
        names = list(data.get("names", range(classes)))
    network = networks.build(config, shape, classes)
    start = network.init(jax.random.key(0))
    params = checkpoint.restore_best(folder, start, "mtl.main")
    unit = config.data.scaling == scaling.UNIT
    kept = None if unit else scaling.load(folder)
    return Model(config, network, params, shape, names, kept)
