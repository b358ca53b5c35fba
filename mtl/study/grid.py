"""Which runs a study has, and which of them share compiled programs."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from mtl import config as configs
from mtl import methods
from mtl.host import fields
from mtl.host.checks import at_least, get, one_of, require
from mtl.host.errors import ConfigError

# What two runs in the same program may differ in: it enters as data.
DATA = ("method", "seed")
# Methods that are two tasks and a table of weights; others have a program each.
TABLES = (*methods.BASELINES, *methods.EVOLVING)


class Run(NamedTuple):
    """One line of the results: a cell of the table, and a seed.

    labelled and unlabelled are l and u. The baseline has u = 0, whatever the cell.
    """

    hidden: tuple[int, ...]
    labelled: int
    unlabelled: int
    method: str
    seed: int

    def __str__(self) -> str:
        hidden = "-".join(map(str, self.hidden))
        sizes = f"l={self.labelled} u={self.unlabelled}"
        return f"{hidden} {sizes} {self.method} seed={self.seed}"


class RunGroup(NamedTuple):
    """Runs that train in one program. config: of the first of them."""

    config: ConfigDict
    runs: list[Run]


def runs(config: ConfigDict, total: int) -> list[Run]:
    """All runs, each once: blocks of seeds, in them cell by cell.

    Args:
      config: `config.study` has the grid (see `configs/mtl/table1.py`).
      total: images to train on; an unlabelled of -1 is what l leaves of them.

    Raises:
      ConfigError: a cell needs more images than there are.
    """
    study, found = config.study, []
    us = {l: unlabelled(study, l, total) for l in study.labelled}
    for first in range(0, study.seeds, study.seeds_per_program):
        for seed in range(first, min(first + study.seeds_per_program, study.seeds)):
            for part in study.parts.values():
                found += [
                    Run(tuple(hidden), l, u, method, seed)
                    for hidden in part.hidden
                    for l in study.labelled
                    for method in part.methods
                    for u in ([0] if method == "baseline" else us[l])
                ]
    return list(dict.fromkeys(found))


def one_config(config: ConfigDict, run: Run) -> ConfigDict:
    """The config with which `mtl.main` trains the same run."""
    c = configs.of_a_run(config)
    c.model.hidden = run.hidden
    c.data.labelled, c.data.unlabelled = run.labelled, run.unlabelled
    c.method, c.seed = run.method, run.seed
    return c


def check(config: ConfigDict) -> None:
    """Checks the grid and the config of every cell, before any work.

    Raises:
      ConfigError: names the field, its value and what it may be.
    """
    if "study" not in config:
        raise ConfigError(
            "config.study is missing: a config of one run; `--config table1` has a "
            "study"
        )
    _check_fields(config.study)
    for name, least in {"seeds": 1, "seeds_per_program": 1, "save_minutes": 0}.items():
        at_least(config, f"study.{name}", least)
    for name, part in config.study.parts.items():
        for method in part.methods:
            known = method in methods.METHODS
            require(known, config, f"study.parts.{name}.methods",
                    "some of " + ", ".join(methods.METHODS))  # fmt: skip
        fits = all(isinstance(hidden, tuple) for hidden in part.hidden)
        what = "a tuple for each network, as ((50,), (60, 50))"
        require(fits, config, f"study.parts.{name}.hidden", what)
    for name in ("labelled", "unlabelled"):
        fits = len(get(config, f"study.{name}")) > 0
        require(fits, config, f"study.{name}", "one number or more")
    for u in config.study.unlabelled:
        require(u >= -1, config, "study.unlabelled", "numbers from -1")
    for l in config.study.labelled:
        require(l >= 1, config, "study.labelled", "numbers from 1")
    require(config.patience == 0, config, "patience", "0 in a study")
    in_memory = config.data.source != "shards"
    require(in_memory, config, "data.source", "data that fit into memory, in a study")
    one_of(config, "monitor", ("valid/error", "valid/loss"))
    one_of(config, "monitor_mode", ("auto", "min"))
    require(not config.metrics, config, "metrics", "() in a study")
    require(not config.init_from, config, "init_from", "'' in a study")
    _check_set_by_grid(config)
    cells = {run._replace(seed=0) for run in runs(config, 2**31)}
    for run in cells:
        configs.check(one_config(config, run))


def _check_fields(study: ConfigDict) -> None:
    part = {"hidden": (), "methods": ()}
    known = {
        "seeds": 0, "seeds_per_program": 0, "labelled": (100,), "unlabelled": (-1,),
        "parts": dict.fromkeys(study.get("parts", {}), part), "save_minutes": 0.0,
    }  # fmt: skip
    fields.check(study, ConfigDict(known), "config.study")


def _check_set_by_grid(c: ConfigDict) -> None:
    """Refuses values of the grid's fields that the grid lacks; they would be ignored.

    The default values are accepted, because nobody asked for them.
    """
    parts = [part for part in c.study.parts.values() if part.hidden and part.methods]
    require(bool(parts), c, "study.parts", "one with networks and methods, or more")
    grid = {
        "model.hidden": [hidden for part in parts for hidden in part.hidden],
        "method": [method for part in parts for method in part.methods],
        "data.labelled": c.study.labelled,
        "data.unlabelled": c.study.unlabelled,
        "seed": range(c.study.seeds),
    }
    default = configs.default()
    for name, values in grid.items():
        known = get(c, name) in (*values, get(default, name))
        what = f"one of config.study's, {', '.join(map(str, values))}, which it trains"
        require(known, c, name, what)


def run_groups(
    config: ConfigDict, wanted: Iterable[Run], vmapped: bool
) -> list[RunGroup]:
    """Groups the runs that can share a program; the order stays.

    Args:
      config: of the study.
      wanted: the runs that are not done.
      vmapped: whether another run in a program costs little, as on an accelerator. Then
        methods share a program, and so do any l and u of the same sum. Methods that
        reconstruct for more than half of the training have programs of their own, so
        that the others need not wait. Otherwise each cell has its own program.
    """
    found: dict[str, list[Run]] = defaultdict(list)
    for run in wanted:
        c = one_config(config, run)
        alike = {k: v for k, v in c.to_dict().items() if k not in DATA}
        if vmapped:
            alike["data"] = {"rows": run.labelled + run.unlabelled}
        how = unsupervised_share(c) > 0.5 if vmapped else run.method
        block = run.seed // config.study.seeds_per_program
        own = run.method if run.method not in TABLES else ""
        key = json.dumps([alike, own, how, block])
        found[key].append(run)
    return [RunGroup(one_config(config, each[0]), each) for each in found.values()]


def unsupervised_share(c: ConfigDict) -> float:
    """The share of the epochs in which another task than J_s has a weight."""
    others = methods.loss_weights(c)[:, :-1]  # The last one is that of J_s.
    return float(np.mean(np.any(others != 0, axis=1)))


def unlabelled(study: ConfigDict, l: int, total: int) -> list[int]:
    """The u of a row of cells.

    Raises:
      ConfigError: there are not so many images.
    """
    found = [total - l if u < 0 else u for u in study.unlabelled]
    for u in found:
        if u < 0 or u + l > total:
            raise ConfigError(
                f"config.study asks for {l} labelled and {max(u, 0)} unlabelled "
                f"images, but there are {total} to train on"
            )
    return found
