"""The scripts that made the result pages and figures in `docs`."""

from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
