"""System 3: finds the third lumbar vertebra (L3) in CT scans; uses `mtl`.

`locate("folder")` finds it in a scan.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l3spot.report.locating import Location, locate

__all__ = ["Location", "locate"]


def __getattr__(name: str) -> Any:
    """Imports what programs call when they ask for it; launchers start sooner so."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from l3spot.report import locating

    return getattr(locating, name)
