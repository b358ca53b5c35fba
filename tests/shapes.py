"""Checks the annotated types and array shapes of each call.

An int may stand for a float.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

PACKAGES = (
    *("mtl.engine", "mtl.tasks", "l3spot.localize", "structured.network"),
    *("structured.autoencoder", "structured.faces.metrics"),
)
check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install() -> None:
    """Checks all packages that are imported from now on."""
    install_import_hook(PACKAGES, "tests.shapes.check")
