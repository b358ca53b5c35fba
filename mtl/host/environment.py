"""What a run was computed with: versions, number types and devices."""

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import logging

from mtl.host.errors import WorkdirError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(devices_used: int = 1) -> dict[str, str | int]:
    """Describes this process.

    Args:
      devices_used: the number of devices that share the rows of a mini-batch.
    """
    return {
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "devices_used": devices_used,
        "x64": jnp.result_type(float) == jnp.float64,
        "backend": jax.default_backend(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def check(
    folder: Path, before: Mapping[str, object], now: Mapping[str, object]
) -> None:
    """Refuses a run with other number types; warns if other devices continue it.

    Args:
      folder: of the run.
      before: what environment.json has. An earlier version lacks some fields.
      now: from `describe`.

    Raises:
      WorkdirError: the run has another JAX_ENABLE_X64.
    """
    x64 = before.get("x64", now["x64"])
    if x64 != now["x64"]:
        raise WorkdirError(
            f"{folder} holds a run with JAX_ENABLE_X64={x64}, which draws other random "
            f"numbers; set JAX_ENABLE_X64={x64}, or take another --workdir"
        )
    used = before.get("devices_used", now["devices_used"])
    if used != now["devices_used"]:
        logging.warning(
            "%s was trained on %s device(s), and continues on %s: sums over a "
            "mini-batch are rounded in another order",
            *(folder, used, now["devices_used"]),
        )
