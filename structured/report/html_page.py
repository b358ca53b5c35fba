"""Writes a report as one HTML file that needs neither network nor other files."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mtl.host import html, workdir

Table = tuple[Sequence[object], Sequence[Sequence[object]]]  # Head and rows.


class Section(NamedTuple):
    """A section of a report; no field is read as HTML.

    Attributes:
      heading: one line.
      text: a paragraph, or "".
      table: (head, rows) with cells of any type; None for no table.
      png: the bytes of a PNG file; None for no figure.
      alt: describes the figure in words.
    """

    heading: str
    text: str = ""
    table: Table | None = None
    png: bytes | None = None
    alt: str = ""


def write(path: Path, title: str, intro: str, sections: Sequence[Section]) -> None:
    """Writes the report atomically, its sections in the given order.

    Args:
      path: the HTML file.
      title: one line.
      intro: a paragraph, or "".
      sections: the rest of the page.

    Raises:
      ValueError: a figure has no alt text, or a table's row and head have different
        numbers of cells.
      WorkdirError: the file cannot be written.
    """
    page = html.render(
        "structured/report/report.html",
        title=title,
        intro=intro,
        sections=[_section_data(section) for section in sections],
    )
    workdir.write_text(path, page)


def _section_data(section: Section) -> dict[str, object]:
    """The template's variables for one section."""
    table, png = section.table, section.png
    if png is not None and not section.alt.strip():
        raise ValueError("a figure needs an alt text")
    return {
        "heading": section.heading,
        "text": section.text,
        "table": None if table is None else _table_data(*table),
        "png": None if png is None else base64.b64encode(png).decode(),
        "alt": section.alt,
    }


def _table_data(
    head: Sequence[object], rows: Sequence[Sequence[object]]
) -> dict[str, object]:
    """The template's variables for a table; columns of numbers are right-aligned."""
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells under a head of {len(head)}: {row}")
    numeric = [all(_is_numeric(row[j]) for row in rows) for j in range(len(head))]
    return {"head": head, "rows": rows, "numeric": numeric}


def _is_numeric(cell: object) -> bool:
    """Whether a cell is empty, a dash, or starts like a number ("1.5 ± 0.2")."""
    return re.match(r"[-+−]?\.?\d|[-–—]?$", str(cell).strip()) is not None
