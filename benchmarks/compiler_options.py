"""What each compiler option does to the results and the speed of a study on a CPU.

    python -m benchmarks.compiler_options --data DIR [--devices 1,2,8]

DIR has MNIST's IDX files. `baseline_matched` at l = 1000, u = 49,000 trains four seeds
for 40 epochs with an evaluation every ten, in a process of its own for each set of
options and number of devices. For each it prints

    wrong       reported errors that an evaluation of the same parameters in another
                program does not give, of all reported ones
    parameters  the largest difference of a parameter from that without options
    seconds     of the study's programs, over those without options on as many devices
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from configs.mtl import table1
from mtl import experiment, networks
from mtl.data import datasets
from mtl.engine.cpu import compiling
from mtl.host import launch, tables
from mtl.host.errors import ConfigError
from mtl.study import grid
from mtl.study.trainer import GroupTrainer

OPTIONS: dict[str, dict] = {
    "none": {},
    "region analysis": compiling.CPU_OPTIONS,
    "vectors of 512 bits": compiling.CPU_OPTIONS_LARGE,
    "both": compiling.CPU_OPTIONS | compiling.CPU_OPTIONS_LARGE,
    "no YNN fusion (not used)": {"xla_cpu_experimental_ynn_fusion_type": ""},
}
LABELLED, UNLABELLED, SEEDS = 1000, 49_000, 4


class Counts(NamedTuple):
    """How many reported errors are wrong, of all, and the seconds of the programs."""

    wrong: int
    reported: int
    seconds: float


def train_group(name: str, devices: int, path: str, out: Path) -> None:
    """Trains with one set of options; leaves parameters and counts in `out`."""
    jax.config.update("jax_num_cpu_devices", devices)
    compiling.CPU_OPTIONS, compiling.CPU_OPTIONS_LARGE = OPTIONS[name], {}
    c = table1.get_config("cpu")
    c.data.path, c.epochs, c.optim.decay_epochs = path, 40, 4
    images = datasets.load(c.data)
    runs = [
        grid.Run((50,), LABELLED, UNLABELLED, "baseline_matched", seed)
        for seed in range(SEEDS)
    ]
    (group,) = grid.run_groups(c, runs, vmapped=False)
    network = networks.build(group.config, images.shape, images.classes)
    held = {"valid": images.validation, "test": images.test}
    evaluate = experiment.make_evaluate(network, held)
    wrong = []
    for p in GroupTrainer(c, images).train(group, out / "checkpoints"):
        params = jax.device_get(p.state.params)
        for r in range(SEEDS if p.epoch else 0):
            true = evaluate(jax.tree.map(lambda x: x[r], params))  # noqa: B023
            errors = [k for k in true if k.endswith("error")]
            wrong += [abs(float(true[k]) - p.last[k][r]) > 1e-6 for k in errors]
    flat = np.concatenate([x[:SEEDS].ravel() for x in jax.tree.leaves(params)])
    np.save(out / "params.npy", flat)
    counts = Counts(int(sum(wrong)), len(wrong), p.seconds)
    (out / "counts.json").write_text(json.dumps(counts))


def measure(name: str, devices: int, folder: Path) -> tuple[np.ndarray, Counts]:
    """`train_group` in a process of its own."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.compiler_options"]
    child = json.dumps([name, devices, str(folder)])
    command += [f"--data={flags.FLAGS.data}", f"--child={child}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    counts = Counts(*json.loads((folder / "counts.json").read_text()))
    return np.load(folder / "params.npy"), counts


def compare(devices: int, folder: Path) -> list[list[str]]:
    """A line of the table for each set of options."""
    measured = {
        name: measure(name, devices, folder / f"{devices}-{number}")
        for number, name in enumerate(OPTIONS)
    }
    plain, base = measured["none"]
    lines = []
    for name, (params, counts) in measured.items():
        change = np.abs(params - plain).max()
        wrong = f"{counts.wrong} of {counts.reported}"
        ratio = f"{counts.seconds / base.seconds:.2f}"
        lines.append([str(devices), name, wrong, f"{change:.1g}", ratio])
    return lines


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.child:
        name, devices, out = json.loads(args.child)
        train_group(name, devices, args.data, Path(out))
        return ""
    c = table1.get_config("cpu")
    c.data.path = args.data
    datasets.load(c.data)  # Wrong data raise an error here, and not in a child.
    try:
        numbers = [int(devices) for devices in args.devices]
    except ValueError as e:
        raise ConfigError(f"--devices must be numbers, not {args.devices}") from e
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for n in numbers for line in compare(n, Path(folder))]
    heads = "devices", "options", "wrong", "parameters", "seconds, ratio"
    return tables.markdown(heads, lines)


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "The folder of MNIST's IDX files.")
    flags.DEFINE_list("devices", ["1", "2", "8"], "Numbers of CPU devices.")
    flags.DEFINE_string("child", "", "Set by the program for its processes.")
    launch.launch(work, "data")
