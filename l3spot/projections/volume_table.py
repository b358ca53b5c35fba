"""Lists the volumes of a scan, and why each is chosen or not."""

from l3spot.ct import scan, volumes
from l3spot.ct.volumes import Volume
from l3spot.projections.dataset_layouts import Case
from mtl.host import tables
from mtl.host.errors import DataError

COLUMNS = ("series", "slices", "spacing", "coverage", "")


def table(case: Case, series: str = "") -> str:
    """Returns a table of a scan's volumes, the chosen one first, in mm.

    Rejected slices and unread files follow, with the reasons.

    Args:
      case: the scan.
      series: a SeriesInstanceUID or the name of a NIfTI file; "" means any.
    """
    rows: list[tuple[str, ...]] = []
    try:
        content = scan.read(case.path, recursive=not case.top_only)
    except DataError as e:
        return f"{case.name}\n  {e}"
    except OSError as e:
        return f"{case.name}\n  {case.path} cannot be read ({e})"
    try:
        chosen = scan.choose(content, case.path, series)
    except DataError as e:
        reason, *_ = str(e).splitlines()
        chosen, rows = None, [("", "", "", "", f"none is chosen: {reason}")]
    for volume in content.volumes:
        is_chosen = chosen is not None and volume.slices is chosen.slices
        reason = "chosen" if is_chosen else why_not_chosen(volume, chosen, series)
        rows.append(
            (
                _name(volume),
                str(len(volume.slices)),
                f"{volumes.slice_spacing_mm(volume):.2f}",
                f"{volumes.coverage_mm(volume):.0f}",
                "; ".join([reason, *volume.warnings]),
            )
        )
    for rejected in content.rejected:
        name = rejected.slices[0].series.series_uid
        count = str(len(rejected.slices))
        rows.append((name, count, "", "", f"no volume: {rejected.reason}"))
    rows += [("", "", "", "", f"not read: {u.reason}") for u in content.unread]
    lines = tables.aligned([COLUMNS, *rows], right=(1, 2, 3)).splitlines()
    return "\n".join([case.name, *(f"  {line}".rstrip() for line in lines)])


def _name(volume: Volume) -> str:
    return volume.slices[0].series.series_uid


def why_not_chosen(volume: Volume, chosen: Volume | None, series: str) -> str:
    """Returns why `scan.choose` did not choose a volume.

    Args:
      volume: the volume.
      chosen: the volume that was chosen, if any.
      series: the series that was asked for; "" means any.
    """
    if series and _name(volume) != series:
        return "not the series that is asked for"
    try:
        if scan.is_mask(volume):
            return scan.MASK_REASON
    except DataError as e:
        return str(e)
    if chosen is None:
        return "not chosen"
    keys = volumes.sort_key(volume), volumes.sort_key(chosen)
    reasons = (
        *("values in doubt", "covers less", "its slices are thicker"),
        "it has more gaps",
    )
    for reason, value, chosen_value in zip(reasons, *keys, strict=False):
        if value != chosen_value:
            return reason
    return "equal, but later by name"
