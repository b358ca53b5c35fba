"""Draws the picture of a result: frontal and sagittal view, with all vertebrae."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l3spot.localize.model import MIN_CONFIDENCE
from l3spot.projections.mip import Projection
from l3spot.report.result import IN_VIEW, L3Result
from l3spot.vertebrae.slab import Slab

LOW_HU, HIGH_HU = -100.0, 900.0  # Black and white in the frontal projection.
SLAB_LOW_HU, SLAB_HIGH_HU = -150.0, 450.0  # Black and white in the sagittal slab.
HEIGHT_INCHES = 4.6
SLAB_FRONT_MM, SLAB_BACK_MM = 95.0, 60.0  # Of the sagittal view, from the spine.
FOUND_COLOUR, OTHER_COLOUR, ABSENT_COLOUR = "tab:red", "gold", "0.6"


def draw_png(name: str, projection: Projection, result: L3Result) -> bytes:
    """Draws the views with the vertebra's row, and the correlation.

    Args:
      name: of the scan, as `names.text` returns it.
      projection: of the scan.
      result: of the scan.
    """
    rows, columns = projection.frontal.shape
    inches_per_mm = HEIGHT_INCHES / rows
    widths = [float(np.clip(inches_per_mm * columns, 2, 12))]
    if result.spine is not None:
        slab_mm = SLAB_FRONT_MM + SLAB_BACK_MM
        widths.append(float(np.clip(inches_per_mm * slab_mm, 1, 6)))
    figure = Figure(
        figsize=(sum(widths) + 2.6, HEIGHT_INCHES + 0.9), layout="constrained"
    )
    axes = figure.subplots(
        1, len(widths) + 1, sharey=True, width_ratios=[*widths, 1.4], squeeze=False
    )[0]
    grey = frontal_grey(projection)
    axes[0].imshow(grey, cmap="gray", extent=(0, columns, rows, 0), aspect="auto")
    if result.spine is not None:
        _draw_levels(axes[0], projection, result)
        _draw_slab(axes[1], projection, result)
    _draw_correlation(axes[-1], result, rows)
    _draw_row(axes, result)
    axes[0].set(xticks=[], ylabel="mm from the top")
    title = f"{name}: {_title(result)}" if name else _title(result)
    # Names with two dollar signs are no formulas.
    figure.suptitle(title, fontsize=10, parse_math=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def frontal_grey(projection: Projection, high_hu: float = HIGH_HU) -> np.ndarray:
    """Returns the frontal projection as grey values [R, C] from 0 to 1, at high_hu."""
    return np.clip((projection.frontal - LOW_HU) / (high_hu - LOW_HU), 0, 1)


def sagittal_grey(slab: Slab, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a sagittal picture around the spine, without marks.

    Args:
      slab: of the scan.
      pixel_mm: distance between columns; rows stay as they are.

    Returns:
      y [C] of the columns, mm, LPS, and grey values [R, C] from 0 to 1.
    """
    middle_mm = float(np.median(slab.spine_y))
    first_mm = max(middle_mm - SLAB_FRONT_MM, slab.y[0])
    last_mm = min(middle_mm + SLAB_BACK_MM, slab.y[-1])
    y = np.arange(first_mm, last_mm + 1e-6, pixel_mm)
    grey = _slab_grey(slab)
    return y, np.stack([np.interp(y, slab.y, row) for row in grey])


def _slab_grey(slab: Slab) -> np.ndarray:
    return np.clip((slab.hu - SLAB_LOW_HU) / (SLAB_HIGH_HU - SLAB_LOW_HU), 0, 1)


def _draw_row(axes: list[Axes], result: L3Result) -> None:
    in_view = result.status == IN_VIEW
    for ax in axes:
        ax.axhline(
            result.row_mm,
            color=FOUND_COLOUR if in_view else ABSENT_COLOUR,
            lw=1,
            ls="-" if in_view else ":",
        )


def _draw_correlation(ax: Axes, result: L3Result, rows: int) -> None:
    ax.plot(result.estimate.correlation, result.offsets.row_mm, lw=1)
    ax.set(xlabel="correlation", xlim=(-1.2, 1.2), ylim=(rows, 0))
    ax.axvline(0, color="0.7", lw=0.8)


def _draw_levels(ax: Axes, projection: Projection, result: L3Result) -> None:
    """Marks the vertebrae on the spine of the frontal view."""
    assert result.spine is not None
    for level in result.levels:
        x = result.spine.x_mm(level.z_mm) - projection.x[0]
        row = projection.z[0] + 0.5 - level.z_mm
        chosen = level.name == result.level and result.status == IN_VIEW
        ax.plot(x, row, "o", ms=2.5, color=FOUND_COLOUR if chosen else OTHER_COLOUR)


def _draw_slab(ax: Axes, projection: Projection, result: L3Result) -> None:
    """Draws the sagittal view, and in it each vertebra between its end plates."""
    assert result.spine is not None
    slab, rows = result.spine.slab, len(projection.z)
    grey = _slab_grey(slab)
    spacing = slab.y[1] - slab.y[0]
    extent = (slab.y[0] - spacing / 2, slab.y[-1] + spacing / 2, rows, 0)
    ax.imshow(grey, cmap="gray", extent=extent, aspect="auto")
    top_mm = projection.z[0] + 0.5
    named = {(level.z_mm, level.name) for level in result.levels}
    for body in result.spine.chain.bodies:
        names = [name for z_mm, name in named if z_mm == body.z_mm]
        chosen = result.level in names and result.status == IN_VIEW
        colour = FOUND_COLOUR if chosen else OTHER_COLOUR
        y, z = np.stack([body.upper, body.lower], 1)
        ax.plot(y, top_mm - z, color=colour, lw=1.2)
        for text in names:
            place = (y.mean() + 0.75 * body.height_mm, top_mm - z.mean())
            ax.annotate(text, place, color=colour, fontsize=7, va="center")
    heights = [body.z_mm for body in result.spine.chain.bodies]
    used = (slab.z <= max(heights)) & (slab.z >= min(heights))
    middle_mm = float(np.median(slab.spine_y[used]))
    ax.set(
        xticks=[],
        xlim=(middle_mm - SLAB_FRONT_MM, middle_mm + SLAB_BACK_MM),
        facecolor="black",
    )


def _title(result: L3Result) -> str:
    if result.status != IN_VIEW:
        confidence = f"confidence {result.confidence:.2f} is below {MIN_CONFIDENCE:g}"
        return f"{result.level} is not in view: {confidence}"
    numbering = ""
    if result.spine is not None:
        numbering = f" (numbering: {result.spine.numbering.basis})"
    return (
        f"{result.level} at z = {result.z_mm:.1f} mm, "
        f"confidence {result.confidence:.2f}{numbering}"
    )
