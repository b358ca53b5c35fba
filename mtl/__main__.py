"""The program `evolving-mtl`: commands of system 1."""

from mtl.host import commands

COMMANDS = {
    "train": "mtl.main",
    "study": "mtl.study.__main__",
    "sweep": "mtl.sweep",
    "predict": "mtl.predict",
    "compare": "mtl.compare",
    "export": "mtl.export",
}


def main() -> None:
    """Runs a command from the command line."""
    about = "Trains classifiers with few labels, and several losses on one network."
    commands.run("evolving-mtl", about, COMMANDS)


if __name__ == "__main__":
    main()
