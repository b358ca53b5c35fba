"""A report as one HTML file that needs neither network nor other files."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from mtl import figures
from mtl.host import workdir

Table = tuple[Sequence[Any], Sequence[Sequence[Any]]]

STYLE = """
:root { color-scheme: light dark; --line: #d0d0d0; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --line: #444; --quiet: #aaa; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: break-word; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
header p { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 1rem 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: bottom; }
td { white-space: nowrap; }
.number { text-align: right; }
figure { background: #fff; border: 1px solid var(--line); border-radius: 8px;
  margin: 1rem 0; padding: 0.5rem; text-align: center; }
img { max-width: 100%; height: auto; }
/* Lettering that shrinks to a phone's width cannot be read: scroll instead. */
@media (max-width: 40rem) {
  figure { overflow-x: auto; }
  img { max-width: 40rem; }
}
"""

# The policy lets the page load nothing: what is not in the file is not shown.
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{intro}
</header>
<main>
{sections}
</main>
</body>
</html>
"""


class Section(NamedTuple):
    """A part of a report, shown in this order; nothing in it is read as HTML.

    Fields:
      heading: one line.
      text: paragraphs, an empty line between them.
      table: (head, rows), cells of any type; None for no table.
      figure: a PNG's bytes or a matplotlib figure; None for no figure.
      alt: what the figure shows, in words.
    """

    heading: str
    text: str = ""
    table: Table | None = None
    figure: bytes | Figure | None = None
    alt: str = ""


def write(path: Path, title: str, intro: str, sections: Sequence[Section]) -> None:
    """Writes the report aside, then renames.

    Raises:
      ValueError: a figure has no alt text, or a row of a table has not as many cells as
        the head.
      WorkdirError: the file cannot be written.
    """
    page = PAGE.format(
        title=html.escape(title),
        style=STYLE,
        intro=_paragraphs(intro),
        sections="\n".join(map(_section, sections)),
    )
    workdir.write_text(path, page)


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.heading)}</h2>", _paragraphs(section.text)]
    if section.table is not None:
        parts.append(_table(*section.table))
    if section.figure is not None:
        parts.append(_figure(section.figure, section.alt))
    return "<section>\n" + "\n".join(filter(None, parts)) + "\n</section>"


def _paragraphs(text: str) -> str:
    parts = re.split(r"\n\s*\n", text.strip())
    return "\n".join(f"<p>{html.escape(part)}</p>" for part in parts if part)


def _table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells under a head of {len(head)}: {row}")
    # A column of numbers is flush right, its head too.
    flush = [all(_number(row[j]) for row in rows) for j in range(len(head))]
    lines = [_row("th", head, flush), *(_row("td", row, flush) for row in rows)]
    top, body = lines[0], "\n".join(lines[1:])
    # A keyboard must reach a table that is wider than the screen, to scroll it.
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table">\n'
        f"<table>\n<thead>\n{top}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _row(tag: str, cells: Sequence[Any], flush: Sequence[bool]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    parts = []
    for cell, right in zip(cells, flush, strict=True):
        kind = ' class="number"' if right else ""
        parts.append(f"<{tag}{scope}{kind}>{html.escape(str(cell))}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


def _number(cell: Any) -> bool:
    """Whether a cell is empty, a dash, or starts like a number ("1.5 ± 0.2")."""
    return re.match(r"[-+−]?\.?\d|[-–—]?$", str(cell).strip()) is not None


def _figure(figure: bytes | Figure, alt: str) -> str:
    if not alt.strip():
        raise ValueError("a figure needs an alt text")
    png = figure if isinstance(figure, bytes) else figures.png(figure)
    data = base64.b64encode(png).decode()
    source = f"data:image/png;base64,{data}"
    return f'<figure><img src="{source}" alt="{html.escape(alt)}"></figure>'
