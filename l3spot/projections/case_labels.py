"""Gives scans the labels of a CSV file."""

from collections import Counter
from pathlib import Path

from absl import logging

from l3spot.ct import nifti
from l3spot.labels.csv_labels import Row
from l3spot.projections.dataset_layouts import Case
from mtl.host.wording import counted

MAX_LISTED_NAMES = 10  # Of a message.


def add(cases: list[Case], rows: dict[str, Row], scans: Path) -> list[Case]:
    """Gives cases the labels of a CSV; its names may omit file suffixes.

    Labels that fit no scan get a warning.
    """
    stems = [nifti.stem(case.name).removesuffix(".zip") for case in cases]
    count = Counter(stems)
    labelled = []
    for case, stem in zip(cases, stems, strict=True):
        row = rows.get(stem) if count[stem] == 1 else None
        labelled.append(case._replace(label=rows.get(case.name, row)))
    used = {id(case.label) for case in labelled}
    unused = [name for name, row in rows.items() if id(row) not in used]
    if unused:
        names = ", ".join(unused[:MAX_LISTED_NAMES])
        names += ", ..." if len(unused) > MAX_LISTED_NAMES else ""
        labels = counted(len(unused), "label", "fits", "fit")
        logging.warning("%s no scan in %s: %s", labels, scans, names)
    return labelled
