"""Reads the DICOM files of other packages' tests; prints what is said of them.

python -m experiments.public_dicom --folders pydicom,highdicom,dicom2nifti

Each file is read as a scan of its own, and each folder with DICOM files as a scan.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from l3spot.ct import dicom, scan
from l3spot.ct.slices import ScanFile
from mtl.host import launch, tables
from mtl.host.errors import DataError
from mtl.host.wording import counted

MAX_CHARACTERS = 110  # Of a message.


def evaluate(arguments: Sequence[str]) -> str:
    """Reads the files from command-line flags and returns a table."""
    launch.reject_extra_args(arguments)
    lines = []
    for folder in map(Path, flags.FLAGS.folders):
        for kind, paths in (("file", _files(folder)), ("folder", _folders(folder))):
            answers = Counter(_answer(path, folder) for path in paths)
            for answer, count in answers.most_common():
                lines.append([folder.name, counted(count, kind), answer])
    return tables.markdown(("package", "scans", "answer"), lines)


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder, followlinks=True):
        for name in sorted(names):
            path = Path(place, name)
            if dicom.is_dicom(ScanFile(path)):
                yield path


def _folders(folder: Path) -> list[Path]:
    return sorted({path.parent for path in _files(folder)})


def _answer(path: Path, folder: Path) -> str:
    """Returns what is said of a scan, without names and numbers of this scan."""
    try:
        content = scan.read(path, recursive=False)
        volume = scan.choose(content, path)
        volume.slices[len(volume.slices) // 2].hu()
    except DataError as e:
        lines = [line for line in str(e).splitlines() if "holds no usable" not in line]
        text = lines[0]
    else:
        text = f"a volume of {counted(len(volume.slices), 'slice')}"
    text = re.sub(rf"{re.escape(str(folder))}[^ :]*:? ?", "", text).strip()
    text = re.sub(r" +", " ", text)
    return text[:MAX_CHARACTERS]


if __name__ == "__main__":
    flags.DEFINE_list("folders", None, "The folders of the packages' test files.")
    launch.launch(evaluate, "folders")
