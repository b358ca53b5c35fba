"""One epoch of each system on four CPU devices and on one, for `test_scaling.py`.

    JAX_NUM_CPU_DEVICES=4 python -m tests.systems_on_devices FILE

It leaves the parameters and losses of both in FILE, an .npz file.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from benchmarks import scaling
from mtl.engine.fit import compile_epoch
from tests.mtl import tiny

DEVICES = (1, 4)


def main(out: Path) -> None:
    found = {}
    for name, make in scaling.SYSTEMS.items():
        for devices in DEVICES:
            t = make(devices)
            assert (t.mesh.size if t.mesh else 1) == devices
            train_epoch = compile_epoch(t)
            state, metrics = train_epoch(
                train_epoch.engine.init(t.params), t.data, t.loss_weights[0],
                t.learning_rates[0], jax.random.key(0),
            )  # fmt: skip
            result = tiny.arrays((state.params, metrics))
            found |= {f"{devices}/{name}{k}": v for k, v in result.items()}
            counts = scaling.collectives(*train_epoch.programs)
            found[f"{devices}/{name}/collectives"] = np.array(sorted(counts), str)
    np.savez(out, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
