"""Writes a person's answer into the files of a scan, beside the first answer."""

import contextlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from l3spot.ct import source_file
from l3spot.ct.slices import ScanFile
from l3spot.report import dicom_sr, files
from l3spot.report.corrections import ACCEPTED, CANNOT_TELL, Correction
from l3spot.report.dicom_sr import Reading
from l3spot.report.files import MarkupPlace
from l3spot.report.result import IN_VIEW, NOT_IN_VIEW
from l3spot.report.review_files import ReviewData
from l3spot.vertebrae import levels
from mtl.host import workdir
from mtl.host.errors import DataError

MARKUPS, COPY, REPORT = ".mrk.json", ".dcm", ".sr.dcm"
FINAL_LEVEL = "final_level"  # The column that is added to levels.csv.
Cell: TypeAlias = float | str | None


class FinalAnswer(NamedTuple):
    """The columns that are added to results.csv: the answer to use.

    Attributes:
      final_status: "found", "not in view", "cannot tell" or "failed".
      final_z_mm: of the middle of the vertebra's body, LPS; None unless it is found.
      final_slice_index: the slice nearest to it, counted from the feet, from 0.
      final_slice_z_mm: z of this slice.
      final_file: the file of this slice.
      final_sop_instance_uid: the UID of this slice.
      verdict: of the person, one of `corrections.VERDICTS`; "" without a review.
      reader: the person.
      note: of the person.
    """

    final_status: str
    final_z_mm: Cell
    final_slice_index: Cell
    final_slice_z_mm: Cell
    final_file: str
    final_sop_instance_uid: str
    verdict: str = ""
    reader: str = ""
    note: str = ""


# Of results.csv, in the order of the final ones.
FIRST_COLUMNS = (
    *("status", "z_mm", "slice_index", "slice_z_mm"),
    *("file", "sop_instance_uid"),
)


class Scan(NamedTuple):
    """A scan with a correction, before it is written.

    stem: of its files. content: of NAME.json. data: of NAME.review.json.
    """

    stem: str
    content: dict[str, Any]
    data: ReviewData
    correction: Correction


def file_names(scan: Scan) -> list[str]:
    """Returns the names of the files that hold the position, if it is found."""
    ends = [MARKUPS] + [COPY] * scan.data.copy_slice + [REPORT] * scan.data.dicom
    return [scan.stem + end for end in ends]


def final_answer(
    correction: Correction, content: Mapping[str, Any], data: ReviewData
) -> FinalAnswer:
    """Returns the answer of a person.

    Args:
      correction: of the scan.
      content: of NAME.json, with the first answer.
      data: the scan's positions and files.
    """
    review = correction.verdict, correction.reader, correction.note
    if correction.verdict == ACCEPTED:
        return FinalAnswer._make([*(content[k] for k in FIRST_COLUMNS), *review])
    if correction.z_mm is None:
        status = CANNOT_TELL if correction.verdict == CANNOT_TELL else NOT_IN_VIEW
        return FinalAnswer(status, None, None, None, "", "", *review)
    index = data.nearest_slice(correction.z_mm)
    file = data.slices[index]
    z_mm, uid = round(correction.z_mm, 2), file.sop_instance_uid
    return FinalAnswer(IN_VIEW, z_mm, index, data.z_mm[index], str(file), uid, *review)


def final_levels(
    correction: Correction, level: str, vertebrae: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Returns the names of the vertebrae after a correction; "" if they are unknown.

    If the person's position lies in a vertebral body, this one has the name that was
    searched, and its neighbours are counted from it. What was taken for S1 then has no
    name, unless the names stay.

    Args:
      correction: of the scan.
      level: the vertebra that was searched.
      vertebrae: rows of levels.csv, from the head to the feet.
    """
    first = [v["level"] for v in vertebrae]
    z_mm = correction.z_mm
    if correction.verdict == ACCEPTED:
        return first
    inside = [
        i
        for i, v in enumerate(vertebrae)
        if z_mm is not None and v["lower_mm"] <= z_mm <= v["upper_mm"]
    ]
    if not inside:
        return [""] * len(first)
    if first[inside[0]] == level:
        return first
    at = range(len(first))
    start = levels.NAMES.index(level) - inside[0]
    known = range(-start, len(levels.NAMES) - start)
    has_name = [i in known and (i == inside[0] or first[i] != "S1") for i in at]
    return [levels.NAMES[start + i] if has_name[i] else "" for i in at]


def write(results: Path, scan: Scan) -> dict[str, str]:
    """Writes the files of a scan, NAME.json last.

    Files that fit the correction already stay as they are.

    Returns:
      Why DICOM files could not be made, by their name.

    Raises:
      WorkdirError: a file cannot be written.
    """
    content = _corrected(scan)
    found = content["final_status"] == IN_VIEW
    json_file = results / f"{scan.stem}.json"
    others = [results / name for name in file_names(scan)]
    is_made = not found or all(path.exists() for path in others)
    if content == scan.content and is_made:
        return {}
    workdir.write_json(json_file, _first(scan.content))
    for path in others:
        path.unlink(missing_ok=True)
    not_made = {}
    if found:
        markups = files.slicer_markups(scan.stem, _places(scan, content))
        workdir.write_text(results / (scan.stem + MARKUPS), markups)
        not_made = _write_dicom(results, scan, content)
    workdir.write_json(json_file, content)
    return not_made


def _corrected(scan: Scan) -> dict[str, Any]:
    """Returns the content of NAME.json with the correction."""
    final = final_answer(scan.correction, scan.content, scan.data)
    level, vertebrae = scan.content["level"], scan.content["levels"]
    named = final_levels(scan.correction, level, vertebrae)
    content = _first(scan.content) | final._asdict()
    content["levels"] = [
        {**v, FINAL_LEVEL: name} for v, name in zip(vertebrae, named, strict=True)
    ]
    return content


def _first(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of NAME.json without an earlier correction."""
    kept = {k: v for k, v in content.items() if k not in FinalAnswer._fields}
    kept["levels"] = [
        {k: v for k, v in level.items() if k != FINAL_LEVEL}
        for level in content["levels"]
    ]
    return kept


def _places(scan: Scan, content: Mapping[str, Any]) -> list[MarkupPlace]:
    """Returns the places of the vertebrae with a name, from the head to the feet."""
    z_mm, level = float(content["final_z_mm"]), content["level"]
    names_and_places = zip(content["levels"], scan.data.vertebrae, strict=True)
    places = [
        MarkupPlace(v[FINAL_LEVEL], place.x_mm, place.y_mm, place.z_mm)
        for v, place in names_and_places
        if v[FINAL_LEVEL]
    ]
    if scan.correction.verdict == ACCEPTED and places:
        return places
    places = [place for place in places if place.level != level]
    own = MarkupPlace(level, *scan.data.place_mm(z_mm), z_mm)
    return sorted([*places, own], key=lambda place: -place.z_mm)


def _write_dicom(
    results: Path, scan: Scan, content: Mapping[str, Any]
) -> dict[str, str]:
    """Writes the slice's DICOM files, of the kinds that the first run writes."""
    heights = {v[FINAL_LEVEL]: v["z_mm"] for v in content["levels"] if v[FINAL_LEVEL]}
    heights[content["level"]] = float(content["final_z_mm"])
    is_own = scan.correction.verdict != ACCEPTED
    reading = Reading(scan.correction.reader, is_own, scan.data.about)
    index = content["final_slice_index"]
    not_made = {}
    for end, is_wanted in ((COPY, scan.data.copy_slice), (REPORT, scan.data.dicom)):
        to = results / (scan.stem + end)
        if not is_wanted:
            continue
        try:
            with _open(scan.data, index) as source:
                if end == COPY:
                    source_file.copy_file(source, to)
                else:
                    dicom_sr.write_corrected(
                        to, source, content["level"], heights, reading
                    )
        except DataError as e:
            not_made[to.name] = str(e)
    return not_made


@contextlib.contextmanager
def _open(data: ReviewData, index: int) -> Iterator[ScanFile]:
    """Yields the file that holds only the slice with this index.

    Raises:
      DataError: it is not there, or also holds other slices.
    """
    file = data.slices[index]
    count = sum(other[:2] == file[:2] for other in data.slices)
    if count > 1:
        raise DataError(f"{file} holds {count} slices, so no file holds this one alone")
    path = Path(file.path)
    if not path.exists():
        raise DataError(f"{file} is not there any more; restore the scan")
    if not file.zip_member:
        yield ScanFile(path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            yield ScanFile(path, file.zip_member, archive)
    except (OSError, KeyError, zipfile.BadZipFile) as e:
        raise DataError(f"{file} cannot be opened ({e}); restore the scan") from e
