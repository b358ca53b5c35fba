"""The page over all results: a table that sorts, and the pictures."""

import html
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from l3spot.localize.model import MIN_CONFIDENCE

HEAD = ("scan", "status", "confidence", "z_mm", "slice_index", "warnings", "why")
NUMBERS = ("confidence", "z_mm", "slice_index")
WORDS = ("warnings", "why")
SORTED = ' aria-sort="ascending"'  # The order that the page comes in.

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline';
  script-src 'unsafe-inline'">
<title>L3 in {count} scans</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: break-word; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.3rem 0.7rem; border-bottom: 1px solid #8886; text-align: left;
  vertical-align: top; white-space: nowrap; }}
.number {{ text-align: right; }}
.words {{ white-space: normal; min-width: 14rem; }}
th button {{ all: unset; cursor: pointer; font-weight: 600; }}
th button:focus-visible {{ outline: 2px solid; }}
th[aria-sort=ascending] button::after {{ content: " \\25B2"; }}
th[aria-sort=descending] button::after {{ content: " \\25BC"; }}
figure {{ margin: 1.5rem 0; }}
img {{ max-width: 100%; height: auto; background: #fff; }}
</style>
</head>
<body>
<h1>L3 in {count} scans</h1>
<p>{summary}. Worst confidence first; a heading sorts. Look at each picture before you
use a slice: this is no medical device.</p>
<p>Confidence is the probability that L3 is in view and found to 10 mm; below {sure:g}
it is said not to be in view. Model: {about}. z is of the middle of L3's body, mm,
DICOM's coordinates; slices count from the feet, from 0.</p>
<div class="scroll"><table><thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
{pictures}
<script>
document.querySelectorAll("th button").forEach(function (button) {{
  button.addEventListener("click", function () {{
    var th = button.parentNode, i = th.cellIndex;
    var body = document.querySelector("tbody");
    var up = th.getAttribute("aria-sort") !== "ascending";
    document.querySelectorAll("th").forEach(function (h) {{
      h.removeAttribute("aria-sort");
    }});
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    var number = th.classList.contains("number");
    function value(row) {{
      var text = row.cells[i].textContent;
      return number ? (text === "" ? -Infinity : parseFloat(text)) : text;
    }}
    Array.from(body.rows).sort(function (a, b) {{
      var x = value(a), y = value(b);
      return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    }}).forEach(function (row) {{ body.appendChild(row); }});
  }});
}});
</script>
</body>
</html>
"""


def render(rows: Sequence[dict[str, Any]], about: str) -> str:
    """HTML over rows of results.csv, whose pictures lie beside it."""
    worst = sorted(rows, key=lambda r: (r["confidence"] != "", r["confidence"] or 0.0))
    states = sorted({r["status"] for r in rows})
    count = ", ".join(f"{sum(r['status'] == s for r in rows)} {s}" for s in states)
    return PAGE.format(
        count=len(rows),
        summary=html.escape(count),
        about=html.escape(about),
        sure=MIN_CONFIDENCE,
        head="".join(map(_heading, HEAD)),
        body="\n".join(map(_row, worst)),
        pictures="\n".join(_picture(r) for r in worst if r["confidence"] != ""),
    )


def _kind(name: str) -> str:
    kinds = {"number": NUMBERS, "words": WORDS}
    return "".join(f' class="{k}"' for k, names in kinds.items() if name in names)


def _heading(name: str) -> str:
    text = name.replace("_", " ")
    order = SORTED if name == "confidence" else ""
    return f'<th{_kind(name)}{order}><button type="button">{text}</button></th>'


def _row(row: dict[str, Any]) -> str:
    cells = (f"<td{_kind(n)}>{html.escape(str(row[n]))}</td>" for n in HEAD[1:])
    name = html.escape(row["scan"])
    if row["confidence"] != "":
        name = f'<a href="#{quote(row["scan"])}">{name}</a>'
    return f"<tr><td>{name}</td>{''.join(cells)}</tr>"


def _picture(row: dict[str, Any]) -> str:
    name = html.escape(row["scan"])
    return (
        f'<figure id="{name}"><img loading="lazy" src="{quote(row["scan"])}.png" '
        f'alt="{name}: {row["status"]}"></figure>'
    )
