"""One epoch of each system on one CPU device and on four, for `test_scaling.py`.

On four devices, it trains data that each device holds and data that are split.

    JAX_NUM_CPU_DEVICES=4 python -m tests.systems_on_devices FILE

It leaves the parameters and losses in FILE, an .npz file.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from benchmarks import scaling
from mtl.engine.fit import compile_epoch
from tests.mtl import tiny

KINDS = {"1": (1, False), "4": (4, False), "split": (4, True)}


def main(out: Path) -> None:
    found = {}
    for name, make in scaling.SYSTEMS.items():
        for kind, (devices, shard_data) in KINDS.items():
            t = make(devices, shard_data)
            assert (t.mesh.size if t.mesh else 1) == devices
            train_epoch = compile_epoch(t)
            state, metrics = train_epoch(
                train_epoch.engine.init(t.params), scaling.on_devices(t),
                t.loss_weights[0], t.learning_rates[0], jax.random.key(0),
            )  # fmt: skip
            result = tiny.arrays((state.params, metrics))
            found |= {f"{kind}/{name}{k}": v for k, v in result.items()}
            counts = scaling.collectives(*train_epoch.programs)
            found[f"{kind}/{name}/collectives"] = np.array(sorted(counts), str)
    np.savez(out, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
