"""Where L3 is, as users tell it.

Everywhere the z of a label is that of the middle of the L3 vertebral body, in mm, LPS.
Who marks something else, the lower end plate say, gives the way from there to the
middle as an offset.
"""

import csv
import math
from pathlib import Path
from typing import NamedTuple, Protocol

from l3spot.ct.volumes import Volume, step
from mtl.host.errors import DataError

IN, OUT, NONE = "in view", "not in view", ""  # Of a label: the states of L3.
KINDS = ("z_mm", "slice_index", "sop_instance_uid")


class Label(NamedTuple):
    """Of one scan.

    state: `IN`, `OUT`, or `NONE` where nothing is known.
    z: of the middle of the L3 body, mm; NaN unless it is in view.
    warnings: what a user should know of it.
    """

    state: str
    z: float = math.nan
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """Where the label of a scan comes from."""

    @property
    def path(self) -> Path | None:
        """Its file, if a change of it may change the label, but not the name."""

    def __str__(self) -> str:
        """What a report calls it; a label that changes has another, or its file."""

    def find(self, volume: Volume) -> Label:
        """The label of a volume; raises DataError where it does not fit it."""


class Row(NamedTuple):
    """A row of one's own CSV.

    where: file and line. kind: one of `KINDS`. value: "" if L3 is not in view.
    offset: mm from what is marked up to the middle of the body.
    """

    where: str
    kind: str
    value: str
    offset: float

    @property
    def path(self) -> None:
        """None: its name has all that it says."""

    def __str__(self) -> str:
        told = f"{self.kind}={self.value}" if self.value else "not in view"
        return f"{told}{self.offset:+g} mm" if self.value and self.offset else told

    def find(self, volume: Volume) -> Label:
        """The label of a volume.

        Raises:
          DataError: the volume has no such place.
        """
        if not self.value:
            return Label(OUT)
        return within(Label(IN, self._marked(volume) + self.offset), volume, self.where)

    def _marked(self, volume: Volume) -> float:
        if self.kind == "z_mm":
            return float(self.value)
        if self.kind == "slice_index":
            number = int(self.value)
            if number >= len(volume.planes):
                raise DataError(
                    f"{self.where}: slice_index={number}, but the scan has "
                    f"{len(volume.planes)} planes; they count from the feet, from 0"
                )
            return float(volume.z[number])
        found = [n for n, p in enumerate(volume.planes) if p.sop == self.value]
        if len(found) != 1:
            raise DataError(
                f"{self.where}: {len(found)} planes of series "
                f"{volume.planes[0].series[-1]} have the SOPInstanceUID {self.value}; "
                "name the series with --series, or give z_mm"
            )
        return float(volume.z[found[0]])


def within(label: Label, volume: Volume, where: str) -> Label:
    """The label, if it lies in the volume or half a step beyond its end.

    Raises:
      DataError: it does not: it is that of another scan, or in other coordinates.
    """
    low, high, beyond = volume.z[0], volume.z[-1], step(volume) / 2
    if label.state == IN and not low - beyond <= label.z <= high + beyond:
        raise DataError(
            f"{where}: L3 at z = {label.z:.1f} mm, but the scan spans {low:.1f} to "
            f"{high:.1f} mm; z is DICOM's, up to the head. If L3 is not in view, leave "
            "the value empty"
        )
    return label


def read(path: Path, offset: float = 0.0) -> dict[str, Row]:
    """The rows of a CSV by scan.

    It has a header: `scan`, and one of `KINDS`; other columns are not looked at. A z is
    DICOM's; planes count from the feet, from 0; an empty value says that L3 is not in
    view.

    Args:
      path: the CSV, separated by commas or semicolons.
      offset: mm from what it marks up to the middle of the L3 body.

    Raises:
      DataError: it cannot be read, or a row makes no sense.
    """
    if not math.isfinite(offset):
        raise DataError(f"--label_offset={offset} is no length in mm")
    table = _table(path)
    try:
        return _rows(table, path, offset)
    except csv.Error as e:
        raise DataError(
            f"{path}, line {table.reader.line_num}: {e}; is there a stray quote?"
        ) from e


def column(path: Path, name: str) -> dict[str, str]:
    """Another column of a CSV that `read` took, by scan; empty if it has none."""
    table = _table(path)
    table.fieldnames = [n.strip() for n in table.fieldnames or []]
    return {r["scan"].strip(): (r.get(name) or "").strip() for r in table}


def _table(path: Path) -> "csv.DictReader[str]":
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"--labels={path} cannot be read as UTF-8 text ({e})") from e
    head = lines[0] if lines else ""
    return csv.DictReader(lines, delimiter=";" if ";" in head else ",")


def _rows(table: "csv.DictReader[str]", path: Path, offset: float) -> dict[str, Row]:
    names = [n.strip() for n in table.fieldnames or []]
    kinds = [k for k in KINDS if k in names]
    if "scan" not in names or len(kinds) != 1:
        raise DataError(
            f"{path} must start with a header that has scan and one of "
            f"{', '.join(KINDS)}; it has {', '.join(names) or 'nothing'}"
        )
    table.fieldnames = names
    rows: dict[str, Row] = {}
    for line in table:
        where = f"{path}, line {table.line_num}"
        if line["scan"] is None or line[kinds[0]] is None:
            raise DataError(
                f"{where}: it has too few columns; if L3 is not in view, leave the "
                "value empty, but not the comma out"
            )
        name, value = line["scan"].strip(), line[kinds[0]].strip()
        if not name or name in rows:
            why = f"{name!r} is there twice" if name else "it names no scan"
            raise DataError(f"{where}: {why}; give each scan one line")
        rows[name] = Row(where, kinds[0], _checked(value, kinds[0], where), offset)
    return rows


def _checked(value: str, kind: str, where: str) -> str:
    if value and kind == "z_mm":
        try:
            good = math.isfinite(float(value))
        except ValueError:
            good = False
        if not good:
            raise DataError(f"{where}: z_mm={value!r} is no number, such as -67.2")
    if value and kind == "slice_index" and not value.isdecimal():
        raise DataError(f"{where}: slice_index={value!r} is no number such as 0 or 12")
    return value
