"""All the volumes of scans, and which of them is meant."""

from l3spot.ct import scan, volumes
from l3spot.ct.volumes import Volume
from l3spot.projections.dataset_layouts import Case
from mtl.host.errors import DataError

COLUMNS = ("series", "planes", "step", "coverage", "")


def table(case: Case, series: str = "") -> str:
    """A line for each volume of a scan, the chosen one first, mm; and what is none."""
    rows: list[tuple[str, ...]] = []
    try:
        found = scan.read(case.path)
    except DataError as e:
        return f"{case.name}\n  {e}"
    except OSError as e:
        return f"{case.name}\n  {case.path} cannot be read ({e})"
    try:
        chosen = scan.choose(found, case.path, series)
    except DataError as e:
        why, *_ = str(e).splitlines()
        chosen, rows = None, [("", "", "", "", f"none is chosen: {why}")]
    for volume in found.volumes:
        measures = f"{volumes.step(volume):.2f}", f"{volumes.coverage(volume):.0f}"
        is_it = chosen is not None and volume.planes is chosen.planes
        why = "chosen" if is_it else why_not(volume, chosen, series)
        told = "; ".join([why, *volume.warnings])
        rows.append((_name(volume), str(len(volume.planes)), *measures, told))
    for rejected in found.rejected:
        first = rejected.planes[0]
        planes = str(len(rejected.planes))
        rows.append((first.series[-1], planes, "", "", f"no volume: {rejected.why}"))
    rows += [("", "", "", "", f"not read: {why}") for _, why, _ in found.unread]
    return "\n".join([case.name, *_aligned([COLUMNS, *rows])])


def _name(volume: Volume) -> str:
    return volume.planes[0].series[-1]


def why_not(volume: Volume, chosen: Volume | None, series: str) -> str:
    """Why a volume is not the chosen one."""
    if series and _name(volume) != series:
        return "not the series that is asked for"
    try:
        if scan.is_mask(volume):
            return scan.MASK
    except DataError as e:
        return str(e)
    if chosen is None:
        return "not chosen"
    ours, its = volumes.rank(volume), volumes.rank(chosen)
    reasons = "values in doubt", "covers less", "its planes are thicker"
    for reason, a, b in zip(reasons, ours, its, strict=False):
        if a != b:
            return reason
    return "as good, later by name"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers, told in rows:
        cells = [n.rjust(w) for n, w in zip(numbers, widths[1:], strict=False)]
        lines.append("  ".join(["", name.ljust(widths[0]), *cells, told]).rstrip())
    return lines
