"""The README's example of tasks of one's own runs as it stands."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from tests.conftest import ROOT


def test_example_of_tasks_of_ones_own():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)

    def denoise_loss(params, batch, key):
        given = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
        back = jnp.tanh(given @ params["encoder"]) @ params["decoder"]
        return jnp.square(back - batch["x"]).sum(1)

    def class_loss(params, batch, key):
        z = jnp.tanh(batch["x"] @ params["encoder"]) @ params["head"]
        return -jax.nn.log_softmax(z)[jnp.arange(len(z)), batch["y"]]

    x = jax.random.normal(jax.random.key(0), (60, 4))
    names = {
        "jax": jax,
        "denoise_loss": denoise_loss,
        "class_loss": class_loss,
        "falling": lambda t: np.exp(-t / 10),
        "rising": lambda t: 1 - np.exp(-t / 10),
        "data": {"x": x, "y": jnp.where(jnp.arange(60) < 30, x[:, 0] > 0, -1)},
        "rate": 0.1,
        "key": jax.random.key(1),
        "params": {
            "encoder": jax.random.normal(jax.random.key(2), (4, 3)),
            "decoder": jnp.zeros((3, 4)),
            "head": jnp.zeros((3, 2)),
        },
    }
    exec(code, names)
    assert names["metrics"].loss[1] / names["metrics"].rows[1] < 0.1
