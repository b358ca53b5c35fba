"""Defines labels of L3, and reads them from CSV files.

The z of every label is that of the middle of the L3 vertebral body, in mm, LPS. If
users mark another point, such as the lower end plate, they give the distance from there
up to the middle as an offset.
"""

import csv
import math
from pathlib import Path
from typing import NamedTuple, Protocol

from l3spot.ct.volumes import Volume, slice_spacing_mm
from mtl.host import csv_text
from mtl.host.errors import DataError

IN_VIEW, NOT_IN_VIEW, UNKNOWN = "in view", "not in view", ""  # States of a label.
POSITION_COLUMNS = ("z_mm", "slice_index", "sop_instance_uid")
# A corrections.csv of a review is a CSV of labels with these columns.
VERDICT_COLUMN, LEVEL_COLUMN = "verdict", "level"
CANNOT_TELL = "cannot tell"  # The verdict on a scan that then has no label.
LABELLED_LEVEL = "L3"


class Label(NamedTuple):
    """The label of a scan.

    state: `IN_VIEW`, `NOT_IN_VIEW`, or `UNKNOWN` if the scan has no label.
    z: mm, of the middle of the L3 body; NaN unless L3 is in view.
    warnings: messages for the user.
    """

    state: str
    z: float = math.nan
    warnings: tuple[str, ...] = ()


class LabelSource(Protocol):
    """The origin of a scan's label.

    Its text, `str(source)`, names the label in a report. If a label changes, its text
    or its file changes.
    """

    @property
    def path(self) -> Path | None:
        """The label's file; None if the text states the whole label."""

    def __str__(self) -> str: ...

    def find(self, volume: Volume) -> Label:
        """Returns the label of L3 in a volume.

        Raises:
          DataError: the label does not fit the volume.
        """


class Row(NamedTuple):
    """A row of a CSV of labels.

    where: file and line. column: one of `POSITION_COLUMNS`.
    value: the position; "" if L3 is not in view.
    offset_mm: from the marked point up to the middle of the body.
    level: the vertebra, as a review states it; "" in other files, for L3.
    """

    where: str
    column: str
    value: str
    offset_mm: float
    level: str = ""

    @property
    def path(self) -> None:
        """None: the text states the whole label."""

    def __str__(self) -> str:
        if not self.value:
            return "not in view"
        offset = f"{self.offset_mm:+g} mm" if self.offset_mm else ""
        return f"{self.column}={self.value}{offset}"

    def find(self, volume: Volume) -> Label:
        """Returns the label of L3 in a volume.

        Raises:
          DataError: the position does not exist in the volume, or is that of another
            vertebra.
        """
        if self.level not in ("", LABELLED_LEVEL):
            raise DataError(
                f"{self.where}: {LEVEL_COLUMN}={self.level!r}, but labels are of "
                f"{LABELLED_LEVEL}; take the review of results of {LABELLED_LEVEL}"
            )
        if not self.value:
            return Label(NOT_IN_VIEW)
        label = Label(IN_VIEW, self._marked_z(volume) + self.offset_mm)
        return check_within(label, volume, self.where)

    def _marked_z(self, volume: Volume) -> float:
        if self.column == "z_mm":
            return float(self.value)
        if self.column == "slice_index":
            index = int(self.value)
            if index >= len(volume.slices):
                raise DataError(
                    f"{self.where}: slice_index={index}, but the scan has "
                    f"{len(volume.slices)} slices, counted from the feet, from 0"
                )
            return float(volume.z[index])
        indices = [
            i for i, s in enumerate(volume.slices) if s.sop_instance_uid == self.value
        ]
        if len(indices) != 1:
            raise DataError(
                f"{self.where}: {len(indices)} slices of series "
                f"{volume.slices[0].series.series_uid} have the SOPInstanceUID "
                f"{self.value}; name the series with --series, or give z_mm"
            )
        return float(volume.z[indices[0]])


def check_within(label: Label, volume: Volume, where: str) -> Label:
    """Returns the label, if it lies within the volume or half a slice beyond its ends.

    Args:
      label: the label.
      volume: the volume.
      where: the origin of the label, for messages.

    Raises:
      DataError: the label lies outside: it belongs to another scan, or has other
        coordinates.
    """
    low, high, margin = volume.z[0], volume.z[-1], slice_spacing_mm(volume) / 2
    if label.state == IN_VIEW and not low - margin <= label.z <= high + margin:
        raise DataError(
            f"{where}: L3 at z = {label.z:.1f} mm, but the scan spans {low:.1f} to "
            f"{high:.1f} mm; z must be DICOM's, increasing to the head. If L3 is not "
            "in view, leave the value empty"
        )
    return label


def read(path: Path, offset_mm: float = 0.0) -> dict[str, Row]:
    r"""Reads the rows of a CSV of labels, by scan.

    The header has `scan` and one of `POSITION_COLUMNS`; other columns are ignored. z is
    DICOM's; slice indices count from the feet, from 0; an empty value means that L3 is
    not in view. Of a corrections.csv, scans with the verdict `CANNOT_TELL` are left
    out.

    Args:
      path: the CSV, see `csv_text.open_table`.
      offset_mm: from the marked point up to the middle of the L3 body.

    Raises:
      DataError: the CSV cannot be read, or a row is invalid.

    Examples:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
      >>> _ = path.write_text("scan,z_mm\nA,-67.2\nB,\n")
      >>> {scan: str(row) for scan, row in read(path).items()}
      {'A': 'z_mm=-67.2', 'B': 'not in view'}
    """
    if not math.isfinite(offset_mm):
        raise DataError(f"--label_offset={offset_mm} is no length in mm")
    table = _open_table(path)
    try:
        return _read_rows(table, path, offset_mm)
    except csv.Error as e:
        raise DataError(
            f"{path}, line {table.reader.line_num}: {e}; is there a stray quote?"
        ) from e


def read_column(path: Path, name: str) -> dict[str, str]:
    """Reads another column of a valid CSV of labels, by scan; "" if it is missing."""
    table = _open_table(path)
    return {
        csv_text.unprotect(r["scan"].strip()): (r.get(name) or "").strip()
        for r in table
    }


def is_review(path: Path) -> bool:
    """Returns whether a CSV has the verdicts of a review.

    Raises:
      OSError: the file cannot be read.
    """
    table = csv_text.open_table(path, errors="surrogateescape")
    return VERDICT_COLUMN in (table.fieldnames or [])


def _open_table(path: Path) -> "csv.DictReader[str]":
    try:
        return csv_text.open_table(path)
    except UnicodeDecodeError as e:
        if is_review(path):  # Its names of scans keep their bytes.
            return csv_text.open_table(path, errors="surrogateescape")
        raise DataError(
            f"{path} cannot be read as UTF-8 text ({e.reason}); save it as CSV UTF-8"
        ) from e
    except csv.Error as e:
        raise DataError(f"{path}, line 1: {e}; is there a stray quote?") from e
    except OSError as e:
        raise DataError(f"{path} cannot be read ({e.strerror})") from e


def _read_rows(
    table: "csv.DictReader[str]", path: Path, offset_mm: float
) -> dict[str, Row]:
    names = list(table.fieldnames or [])
    columns = [c for c in POSITION_COLUMNS if c in names]
    if "scan" not in names or len(columns) != 1:
        raise DataError(
            f"{path} must start with a header that has scan and one of "
            f"{', '.join(POSITION_COLUMNS)}; it has {', '.join(names) or 'nothing'}"
        )
    (column,) = columns
    is_reviewed = VERDICT_COLUMN in names
    rows: dict[str, Row] = {}
    unknown = set()
    for line in table:
        where = f"{path}, line {table.line_num}"
        if line["scan"] is None or line[column] is None:
            raise DataError(
                f"{where}: it has too few columns; if L3 is not in view, leave the "
                "value empty, and keep the comma"
            )
        name = csv_text.unprotect(line["scan"].strip())
        value = line[column].strip()
        if not name or name in rows:
            why = f"{name!r} is there twice" if name else "it names no scan"
            raise DataError(f"{where}: {why}; give each scan one line")
        if column == "z_mm" and table.reader.dialect.delimiter != ",":
            value = value.replace(",", ".")
        _check_value(value, column, where)
        rows[name] = Row(where, column, value, offset_mm)
        if is_reviewed:
            level = (line.get(LEVEL_COLUMN) or "").strip()
            rows[name] = rows[name]._replace(level=level)
            if (line[VERDICT_COLUMN] or "").strip() == CANNOT_TELL:
                unknown.add(name)
    return {name: row for name, row in rows.items() if name not in unknown}


def _check_value(value: str, column: str, where: str) -> None:
    if value and column == "z_mm":
        try:
            valid = math.isfinite(float(value))
        except ValueError:
            valid = False
        if not valid:
            raise DataError(f"{where}: z_mm={value!r} is no number, such as -67.2")
    if value and column == "slice_index" and not value.isdecimal():
        raise DataError(f"{where}: slice_index={value!r} is no number such as 0 or 12")
