"""Writes the result of a scan as DICOM objects for an archive: an SR and a capture.

The report is a Comprehensive SR (template TID 1500). Its findings are the vertebrae
with a code of SNOMED CT, each with its z in mm; L3, or the vertebra that was searched,
also has a reference to its slice. The picture is a secondary capture. Both copy the
patient and study of the scan, since an archive refuses them otherwise. They are marked
as preliminary and not verified. highdicom, an optional dependency, builds them.
"""

import importlib.metadata
import importlib.util
import io
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from l3spot.ct import dicom, source_file
from l3spot.ct.slices import ScanFile
from l3spot.ct.volumes import Volume
from l3spot.report import result
from l3spot.report.result import L3Result
from mtl.host import workdir
from mtl.host.errors import ConfigError, DataError

if TYPE_CHECKING:
    from highdicom.base import SOPClass
    from highdicom.sr import ObservationContext

PATIENT_AND_STUDY = (
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate"),
    *("PatientSex", "StudyDate", "StudyTime", "StudyID", "StudyDescription"),
    *("AccessionNumber", "ReferringPhysicianName", "SpecificCharacterSet"),
)
REFERENCE_UIDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
)
EMPTY_FIELDS = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
MANUFACTURER = "evolving-mtl"
MAX_NAME_CHARACTERS = 63  # DICOM allows 64, and one is the sign between names.
SERIES_NUMBERS = {"sr": 9301, "sc": 9302}  # Scanners hardly use these.
# pydicom and highdicom raise these on unusual headers.
HEADER_ERRORS = (
    *dicom.READ_ERRORS,
    AttributeError,
    LookupError,
    TypeError,
    ArithmeticError,
)


class Reading(NamedTuple):
    """A person's review of an answer.

    reader: the person; "" if unknown.
    is_own: whether the position is the person's own.
    about: describes the model in one line.
    """

    reader: str
    is_own: bool
    about: str


def check() -> None:
    """Checks that highdicom is installed.

    Raises:
      ConfigError: it is not.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise ConfigError(
            "--dicom needs highdicom, which is not installed: pip install highdicom"
        )


def write(
    out: Path, name: str, volume: Volume, l3_result: L3Result, png: bytes, about: str
) -> None:
    """Writes NAME.sc.dcm, and NAME.sr.dcm if L3 is in view.

    Args:
      out: the folder.
      name: the scan's.
      volume: the scan.
      l3_result: the result of the scan.
      png: the picture.
      about: how the model was trained.

    Raises:
      DataError: no DICOM file holds the slice alone, or its header is not valid.
      WorkdirError: a file cannot be written.
    """
    file = source_file.find(volume, l3_result.slice_index)
    try:
        source = _read_header(file)
        made = {"sc": _secondary_capture(source, png)}
        if l3_result.status == result.IN_VIEW:
            heights = {v.name: v.z_mm for v in l3_result.levels}
            heights |= {l3_result.level: l3_result.z_mm}
            made["sr"] = _report(source, l3_result.level, heights, about)
        content = {end: _file_bytes(one, source) for end, one in made.items()}
    except HEADER_ERRORS as e:
        raise _header_error(file, e) from e
    for end, whole in content.items():
        workdir.write_bytes(out / f"{name}.{end}.dcm", whole)


def write_corrected(
    to: Path, file: ScanFile, level: str, heights: Mapping[str, float], reading: Reading
) -> None:
    """Writes the report of an answer that a person has reviewed.

    Args:
      to: the report's path.
      file: the DICOM file of the vertebra's slice.
      level: the vertebra that was searched.
      heights: z in mm by the vertebra's name; `level` is among them.
      reading: by whom, and whether the position is his own.

    Raises:
      DataError: the file's header is not valid.
      WorkdirError: the report cannot be written.
    """
    try:
        source = _read_header(file)
        made = _report(source, level, heights, reading.about, reading)
        content = _file_bytes(made, source)
    except HEADER_ERRORS as e:
        raise _header_error(file, e) from e
    workdir.write_bytes(to, content)


def _header_error(file: ScanFile, e: Exception) -> DataError:
    why = " ".join(str(e).split())
    return DataError(f"{file}: its header gives no DICOM report ({why})")


def _read_header(file: ScanFile) -> Dataset:
    """Reads the UIDs, the patient and the study of a slice."""
    with file.open() as stream:
        header = pydicom.dcmread(
            stream,
            stop_before_pixels=True,
            force=True,
            specific_tags=[*PATIENT_AND_STUDY, *REFERENCE_UIDS],
        )
    missing = [name for name in REFERENCE_UIDS if not header.get(name)]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return header


def _without_patient(source: Dataset) -> Dataset:
    """Returns the slice's UIDs without the patient.

    highdicom rejects some spellings of patient names.
    """
    reference = Dataset()
    for name in EMPTY_FIELDS:
        setattr(reference, name, "")
    for name in REFERENCE_UIDS:
        setattr(reference, name, source[name].value)
    return reference


class _CommonFields(TypedDict):
    """Arguments of highdicom for both objects."""

    series_instance_uid: str
    series_number: int
    sop_instance_uid: str
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    series_description: str


def _common_fields(end: str) -> _CommonFields:
    return {
        "series_instance_uid": generate_uid(),
        "series_number": SERIES_NUMBERS[end],
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "l3spot",
        "software_versions": importlib.metadata.version(MANUFACTURER),
        "series_description": "L3 slice, not verified",
    }


def _secondary_capture(source: Dataset, png: bytes) -> "SOPClass":
    """Returns the picture as a capture; the patient's left is at its right."""
    from highdicom.sc import SCImage

    pixels = np.array(Image.open(io.BytesIO(png)).convert("RGB"))
    made = SCImage.from_ref_dataset(
        _without_patient(source), pixels,
        photometric_interpretation="RGB", bits_allocated=8,
        coordinate_system="PATIENT", patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian, **_common_fields("sc"),
    )  # fmt: skip
    made.BurnedInAnnotation = "YES"  # The name of the scan's folder may name a person.
    made.BodyPartExamined = "LSPINE"  # Some archives require a laterality otherwise.
    return made


def _report(
    source: Dataset,
    level: str,
    heights: Mapping[str, float],
    about: str,
    reading: Reading | None = None,
) -> "SOPClass":
    """Returns the report: z of each vertebra, the slice of the one searched."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    algorithm = sr.AlgorithmIdentification(
        "l3spot", importlib.metadata.version(MANUFACTURER), [about]
    )
    uids = source.SOPClassUID, source.SOPInstanceUID
    groups = []
    for name, z_mm in heights.items():
        code = getattr(codes.SCT, f"{name}Vertebra", None)
        if code is None:  # L6 and S1 have none.
            continue
        searched = name == level
        is_manual = searched and reading is not None and reading.is_own
        place = sr.Measurement(
            name=codes.DCM.ImagePositionPatientZ, value=round(z_mm, 2),
            unit=codes.UCUM.Millimeter,
            referenced_images=[sr.SourceImageForMeasurement(*uids)] * searched or None,
        )  # fmt: skip
        groups.append(sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(generate_uid(), name),
            finding_type=code, measurements=[place],
            finding_sites=[sr.FindingSite(code)],
            source_images=[sr.SourceImageForMeasurementGroup(*uids)] * searched or None,
            algorithm_id=None if is_manual else algorithm,
        ))  # fmt: skip
    content = sr.MeasurementReport(
        observation_context=_observers(about, reading.reader if reading else ""),
        procedure_reported=codes.SCT.ComputedTomography,
        imaging_measurements=groups,
    )
    return sr.ComprehensiveSR(
        [_without_patient(source)], content, is_complete=True, **_common_fields("sr")
    )


def _observers(about: str, reader: str) -> "ObservationContext":
    """Returns the program, and the reader if he gave a name."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, about]), name="l3spot",
        manufacturer_name=MANUFACTURER, model_name="l3spot",
    )  # fmt: skip
    person = None
    if name := _person_name(reader):
        observer = sr.PersonObserverIdentifyingAttributes(name)
        person = sr.ObserverContext(codes.DCM.Person, observer)
    return sr.ObservationContext(
        observer_person_context=person,
        observer_device_context=sr.ObserverContext(codes.DCM.Device, device),
    )


def _person_name(reader: str) -> str:
    """Returns a family name of ASCII characters, which fits all character sets."""
    plain = unicodedata.normalize("NFKD", reader).encode("ascii", "ignore").decode()
    words = "".join(c if c.isprintable() and c not in "\\^=" else " " for c in plain)
    name = " ".join(words.split())[:MAX_NAME_CHARACTERS]
    return f"{name}^" if name else ""


def _file_bytes(made: "SOPClass", source: Dataset) -> bytes:
    """Returns the file of an object, with the source's patient and study."""
    for name in PATIENT_AND_STUDY:
        if name in source:
            made.add(source[name])
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()
