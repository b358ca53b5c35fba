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
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
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
SERIES_NUMBERS = {"sr": 9301, "sc": 9302}  # Scanners hardly use these.
# pydicom and highdicom raise these on unusual headers.
HEADER_ERRORS = (
    *dicom.READ_ERRORS,
    AttributeError,
    LookupError,
    TypeError,
    ArithmeticError,
)


def check() -> None:
    """Checks that highdicom is installed.

    Raises:
      ConfigError: it is not.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise ConfigError(
            "--dicom needs highdicom, which is not installed: pip install "
            "'evolving-mtl[dicom]'"
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
            made["sr"] = _report(source, l3_result, about)
        content = {end: _file_bytes(one, source) for end, one in made.items()}
    except HEADER_ERRORS as e:
        why = " ".join(str(e).split())
        raise DataError(f"{file}: its header gives no DICOM report ({why})") from e
    for end, whole in content.items():
        workdir.write_bytes(out / f"{name}.{end}.dcm", whole)


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


def _report(source: Dataset, l3_result: L3Result, about: str) -> "SOPClass":
    """Returns the report: z of each vertebra, the slice of the one searched."""
    from highdicom import sr

    algorithm = sr.AlgorithmIdentification(
        "l3spot", importlib.metadata.version(MANUFACTURER), [about]
    )
    uids = source.SOPClassUID, source.SOPInstanceUID
    heights = {level.name: level.z_mm for level in l3_result.levels}
    groups = []
    for name, z_mm in (heights | {l3_result.level: l3_result.z_mm}).items():
        code = getattr(codes.SCT, f"{name}Vertebra", None)
        if code is None:  # L6 and S1 have none.
            continue
        searched = name == l3_result.level
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
            algorithm_id=algorithm,
        ))  # fmt: skip
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, about]), name="l3spot",
        manufacturer_name=MANUFACTURER, model_name="l3spot",
    )  # fmt: skip
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=codes.SCT.ComputedTomography,
        imaging_measurements=groups,
    )
    return sr.ComprehensiveSR(
        [_without_patient(source)], content, is_complete=True, **_common_fields("sr")
    )


def _file_bytes(made: "SOPClass", source: Dataset) -> bytes:
    """Returns the file of an object, with the source's patient and study."""
    for name in PATIENT_AND_STUDY:
        if name in source:
            made.add(source[name])
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()
