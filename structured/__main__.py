"""The program `structured-output`: commands of system 2."""

from mtl.host import commands

COMMANDS = {
    "train": "structured.main",
    "compare": "structured.compare",
    "sweep": "structured.sweep",
    "predict": "structured.predict",
}


def main() -> None:
    """Runs a command from the command line."""
    about = "Trains networks with structured outputs, such as the landmarks of a face."
    commands.run("structured-output", about, COMMANDS)


if __name__ == "__main__":
    main()
