"""The networks that find and name vertebral bodies, trained on phantoms.

    python -m l3spot.main --config vertebrae --workdir runs/vertebrae

The variant `:smoke` trains on a few phantoms in minutes, most of them compilation.
"""

from ml_collections import ConfigDict

from l3spot.training import vertebrae
from mtl.host import checks


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config, or a variant of it."""
    checks.check_variant(variant, "smoke")
    c = vertebrae.default()
    if variant == "smoke":
        c.data.count, c.data.validation, c.epochs = 24, 8, 1
        c.ribs.count, c.ribs.epochs = 6, 1
        c.surroundings.count, c.surroundings.epochs = 6, 1
        c.calibration.count = 3
    return c
