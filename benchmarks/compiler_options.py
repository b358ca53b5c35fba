"""What each compiler option does to the results and the speed of a study on a CPU.

    python -m benchmarks.compiler_options --data DIR [--devices 1,2,8]

DIR has MNIST's IDX files. `baseline_matched` at l = 1000, u = 49,000 trains four seeds
for 40 epochs with an evaluation every ten, in a process of its own for each set of
options and number of devices. For each it prints

    wrong       reported errors that an evaluation of the same parameters in another
                program does not give, of all reported ones
    parameters  the largest difference of a parameter from that without options
    seconds     of the sweep's programs, over those without options on as many devices
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from configs.mtl import table1
from mtl import experiment
from mtl.data import datasets
from mtl.engine.cpu import compiling
from mtl.host import markdown
from mtl.study import grid
from mtl.study.sweep import Sweep

DATA = flags.DEFINE_string("data", None, "Folder of MNIST's IDX files.", required=True)
DEVICES = flags.DEFINE_list("devices", ["1", "2", "8"], "Numbers of CPU devices.")
CHILD = flags.DEFINE_string("child", None, "Set by the program for its processes.")
OPTIONS = {
    "none": {},
    "region analysis": compiling.CPU_OPTIONS,
    "vectors of 512 bits": compiling.CPU_OPTIONS_LARGE,
    "both": compiling.CPU_OPTIONS | compiling.CPU_OPTIONS_LARGE,
    "no YNN fusion (not used)": {"xla_cpu_experimental_ynn_fusion_type": ""},
}
LABELLED, UNLABELLED, SEEDS = 1000, 49_000, 4


def sweep(name: str, devices: int, path: str, out: Path) -> None:
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
    network = experiment.build_network(group.config, images.shape, images.classes)
    held = {"valid": images.valid, "test": images.test}
    evaluate = experiment.make_evaluate(network, held)
    wrong = []
    for p in Sweep(c, images).train(group, out / "checkpoints"):
        params = jax.device_get(p.state.params)
        for r in range(SEEDS if p.epoch else 0):
            true = evaluate(jax.tree.map(lambda x: x[r], params))  # noqa: B023
            errors = [k for k in true if k.endswith("error")]
            wrong += [abs(float(true[k]) - p.last[k][r]) > 1e-6 for k in errors]
    flat = np.concatenate([x[:SEEDS].ravel() for x in jax.tree.leaves(params)])
    np.save(out / "params.npy", flat)
    counts = {"wrong": int(sum(wrong)), "reported": len(wrong), "seconds": p.seconds}
    (out / "counts.json").write_text(json.dumps(counts))


def measure(name: str, devices: int, folder: Path) -> tuple[np.ndarray, dict]:
    """`sweep` in a process of its own."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.compiler_options"]
    child = json.dumps([name, devices, str(folder)])
    subprocess.run([*command, f"--data={DATA.value}", f"--child={child}"], check=True)
    counts = json.loads((folder / "counts.json").read_text())
    return np.load(folder / "params.npy"), counts


def main(_: object) -> None:
    """Prints the table."""
    if CHILD.value:
        name, devices, out = json.loads(CHILD.value)
        sweep(name, devices, DATA.value, Path(out))
        return
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for devices in map(int, DEVICES.value):
            plain, base = None, None
            for number, name in enumerate(OPTIONS):
                at = Path(folder) / f"{devices}-{number}"
                params, counts = measure(name, devices, at)
                if plain is None:
                    plain, base = params, counts
                change = np.abs(params - plain).max()
                wrong = f"{counts['wrong']} of {counts['reported']}"
                ratio = f"{counts['seconds'] / base['seconds']:.2f}"
                lines.append([str(devices), name, wrong, f"{change:.1g}", ratio])
    heads = "devices", "options", "wrong", "parameters", "seconds, ratio"
    print(markdown.table(heads, lines))


if __name__ == "__main__":
    app.run(main)
