"""The files of a scan that its review by a person needs.

NAME.frontal.png and NAME.sagittal.png show the scan without marks, one pixel a mm.
NAME.review.json has the positions of their pixels in the patient, the vertebrae, the
spine's line, and the file of each slice, so that an answer can be corrected without
reading the scan again. Of the headers it holds UIDs alone.
"""

import io
import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from l3spot.ct.volumes import Volume
from l3spot.projections.mip import Projection
from l3spot.report import picture
from l3spot.report.result import L3Result
from l3spot.vertebrae import slab
from l3spot.vertebrae.slab import Slab
from mtl.host import workdir
from mtl.host.errors import DataError, WorkdirError

FRONTAL, SAGITTAL, DATA = SUFFIXES = (".frontal.png", ".sagittal.png", ".review.json")
PIXEL_MM = 1.0
FRONTAL_HIGH_HU = 1500.0  # White; parts of the vertebrae stay visible.
LINE_STEP_MM = 10.0  # Between the stored points of the spine's line.


class Grid(NamedTuple):
    """The place of a picture in the patient.

    left_mm: x (frontal) or y (sagittal) of the left edge of the first column, LPS.
    columns: their number, `PIXEL_MM` wide.
    """

    left_mm: float
    columns: int


class Vertebra(NamedTuple):
    """A vertebra as the first answer names it; positions are LPS, mm."""

    name: str
    x_mm: float
    y_mm: float
    z_mm: float
    upper_mm: float
    lower_mm: float


class SliceFile(NamedTuple):
    """The file of a slice.

    path: the file, or the zip file with the member.
    zip_member: "" if `path` is the file itself.
    sop_instance_uid: "" if the file is NIfTI.
    """

    path: str
    zip_member: str
    sop_instance_uid: str

    def __str__(self) -> str:
        return f"{self.path}:{self.zip_member}" if self.zip_member else self.path


class ReviewData(NamedTuple):
    """The content of NAME.review.json.

    top_mm: z of the upper edge of the pictures, LPS.
    rows: number of rows of both pictures, `PIXEL_MM` high.
    frontal: the columns of the frontal picture.
    sagittal: those of the sagittal picture; None if there is none.
    vertebrae: from the head to the feet.
    line: [z, x, y] of the middle of the spine, mm, from the head to the feet.
    z_mm: of the slices, from the feet to the head.
    slices: their files, in this order.
    copy_slice: whether the slice's file was to be copied.
    dicom: whether DICOM objects were to be written.
    about: describes the model in one line.
    """

    top_mm: float
    rows: int
    frontal: Grid
    sagittal: Grid | None
    vertebrae: list[Vertebra]
    line: list[list[float]]
    z_mm: list[float]
    slices: list[SliceFile]
    copy_slice: bool
    dicom: bool
    about: str

    def place_mm(self, z_mm: float) -> tuple[float, float]:
        """Returns x and y of the middle of the spine's bodies at a height."""
        z, x, y = np.array(self.line).T
        z_of_y = z
        if self.vertebrae:
            z_of_y, y = np.array([(v.z_mm, v.y_mm) for v in self.vertebrae]).T
        return (
            float(np.interp(-z_mm, -z, x)),  # Both decrease from the head to the feet.
            float(np.interp(-z_mm, -z_of_y, y)),
        )

    def nearest_slice(self, z_mm: float) -> int:
        """Returns the index of the slice nearest to a height."""
        return int(np.abs(np.array(self.z_mm) - z_mm).argmin())


def write(
    out: Path,
    stem: str,
    projection: Projection,
    result: L3Result,
    volume: Volume,
    about: str,
    *,
    copy_slice: bool = False,
    dicom: bool = False,
) -> None:
    """Writes the two pictures, then NAME.review.json.

    Args:
      out: the folder.
      stem: the name of the scan's files.
      projection: of the scan, with pixels of `PIXEL_MM`.
      result: of the scan.
      volume: the scan.
      about: describes the model in one line.
      copy_slice: whether the slice's file is copied.
      dicom: whether DICOM objects are written.

    Raises:
      WorkdirError: a file cannot be written.
    """
    frontal = picture.frontal_grey(projection, FRONTAL_HIGH_HU)
    workdir.write_bytes(out / f"{stem}{FRONTAL}", _png(frontal))
    spine = _slab(projection, result)
    sagittal = None
    if spine is not None:
        y, grey = picture.sagittal_grey(spine, PIXEL_MM)
        workdir.write_bytes(out / f"{stem}{SAGITTAL}", _png(grey))
        sagittal = Grid(round(float(y[0]) - PIXEL_MM / 2, 2), len(y))
    data = ReviewData(
        top_mm=round(float(projection.z[0]) + PIXEL_MM / 2, 3),
        rows=len(frontal),
        frontal=Grid(round(float(projection.x[0]) - PIXEL_MM / 2, 2), frontal.shape[1]),
        sagittal=sagittal,
        vertebrae=_vertebrae(result),
        line=_line(projection, result),
        z_mm=[round(float(z), 3) for z in volume.z],
        slices=[
            SliceFile(str(s.file.path), s.file.zip_member, s.sop_instance_uid)
            for s in volume.slices
        ],
        copy_slice=copy_slice,
        dicom=dicom,
        about=about,
    )
    workdir.write_text(out / f"{stem}{DATA}", _dump(data))


def read(out: Path, stem: str) -> ReviewData:
    """Reads the NAME.review.json of a scan.

    Raises:
      DataError: there is none, or it is broken.
    """
    path = out / f"{stem}{DATA}"
    try:
        return _load(workdir.read_json(path))
    except (WorkdirError, LookupError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is missing or broken ({e}); run l3spot.predict again"
        ) from e


def _slab(projection: Projection, result: L3Result) -> Slab | None:
    if result.spine is not None:
        return result.spine.slab
    return None if projection.spine is None else slab.make(projection.spine)


def _vertebrae(result: L3Result) -> list[Vertebra]:
    if result.spine is None:
        return []
    return [
        Vertebra(
            v.name,
            *(
                round(mm, 3)
                for mm in (
                    *(result.spine.x_mm(v.z_mm), v.y_mm, v.z_mm),
                    *(v.upper_mm, v.lower_mm),
                )
            ),
        )
        for v in result.levels
    ]


def _line(projection: Projection, result: L3Result) -> list[list[float]]:
    """Returns some points of the spine's line; without it, of the pictures' middle."""
    top, bottom = float(projection.z[0]), float(projection.z[-1])
    z = np.append(np.arange(top, bottom, -LINE_STEP_MM), bottom)
    if result.spine is None:
        x = np.full(len(z), projection.x.mean())
        y = np.full(len(z), projection.y.mean())
    else:
        spine = result.spine.slab
        x, y = (np.interp(-z, -spine.z, v) for v in (spine.spine_x, spine.spine_y))
    return np.stack([z, x, y], 1).round(2).tolist()


def _png(grey: np.ndarray) -> bytes:
    """Encodes grey values [R, C] from 0 to 1."""
    stream = io.BytesIO()
    image = Image.fromarray((255 * grey).round().astype(np.uint8))
    # For noisy grey values this is five times as fast as zlib's default, and as small.
    image.save(stream, "PNG", compress_type=zlib.Z_RLE)
    return stream.getvalue()


def _dump(data: ReviewData) -> str:
    """Returns one line of JSON; the common starts of paths and UIDs are stored once."""
    paths, members, uids = (list(column) for column in zip(*data.slices, strict=True))
    content: Mapping[str, object] = data._asdict() | {
        "vertebrae": [v._asdict() for v in data.vertebrae],
        "slices": [_with_prefix(c) for c in (paths, members, uids)],
    }
    return json.dumps(content, separators=(",", ":")) + "\n"


def _load(content: Any) -> ReviewData:
    columns = [[c["start"] + end for end in c["ends"]] for c in content["slices"]]
    sagittal = content["sagittal"]
    changed = {
        "frontal": Grid(*content["frontal"]),
        "sagittal": None if sagittal is None else Grid(*sagittal),
        "vertebrae": [Vertebra(**v) for v in content["vertebrae"]],
        "slices": [SliceFile(*row) for row in zip(*columns, strict=True)],
    }
    return ReviewData(**content | changed)


def _with_prefix(texts: Sequence[str]) -> dict[str, object]:
    pairs = zip(min(texts), max(texts), strict=False)
    start = "".join(a for a, b in itertools.takewhile(lambda p: p[0] == p[1], pairs))
    return {"start": start, "ends": [text[len(start) :] for text in texts]}
