"""The program `l3spot`: commands of system 3."""

from mtl.host import commands

COMMANDS = {
    "predict": "l3spot.predict",
    "doctor": "l3spot.doctor",
    "merge": "l3spot.merge",
    "correct": "l3spot.correct",
    "evaluate": "l3spot.evaluate",
    "phantom": "l3spot.phantom.__main__",
    "project": "l3spot.project",
    "train": "l3spot.main",
    "crossval": "l3spot.crossval",
    "sweep": "l3spot.sweep",
    "convert": "l3spot.convert",
}


def main() -> None:
    """Runs a command from the command line."""
    about = "Finds the third lumbar vertebra (L3) in CT scans. It is no medical device."
    commands.run("l3spot", about, COMMANDS)


if __name__ == "__main__":
    main()
