"""Runs the code cells of a notebook, as Jupyter does, and says where figures appear.

python -P tests/run_notebook.py NOTEBOOK REPOSITORY

REPOSITORY replaces the empty text of the first code cell. The file imports nothing of
the repository, which the notebook installs.
"""

import json
import sys
import time
from pathlib import Path


def main(notebook, repository):
    """Prints a line for each cell that draws; figures then close, as in Jupyter."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    names = {"__name__": "__main__"}
    start = time.monotonic()
    for i, cell in enumerate(c for c in cells if c["cell_type"] == "code"):
        code = "".join(cell["source"])
        if i == 0:
            code = code.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}")
        exec(compile(code, f"{notebook}[{i}]", "exec"), names)
        if "matplotlib.pyplot" in sys.modules:
            import matplotlib.pyplot as plt

            if plt.get_fignums():
                print(f"FIGURE cell {i} after {time.monotonic() - start:.1f} s")
                plt.close("all")
    print(f"END after {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
