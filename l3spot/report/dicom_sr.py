"""What was found, as DICOM objects for an archive: a report and the picture.

The report is a Comprehensive SR by template TID 1500: the finding L3 vertebra, its z in
mm, and the slice's image; the picture is a secondary capture. Both say whose they are
and of which study, as the scan does, for an archive would refuse them otherwise. They
are preliminary and not verified. By highdicom, which is an extra.
"""

import importlib.metadata
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from l3spot.report.result import Found
from mtl.host import workdir
from mtl.host.errors import ConfigError, DataError

if TYPE_CHECKING:
    from highdicom.base import SOPClass

WHOSE = (
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate"),
    *("PatientSex", "StudyDate", "StudyTime", "StudyID", "StudyDescription"),
    *("AccessionNumber", "ReferringPhysicianName", "SpecificCharacterSet"),
)
NAMED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
BLANK = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
MAKER = "evolving-mtl"
SERIES = {"sr": 9301, "sc": 9302}  # Numbers that scanners hardly use.
# What pydicom and highdicom raise on headers that are odd.
ODD = (*dicom.READ_ERRORS, AttributeError, LookupError, TypeError, ArithmeticError)


def check() -> None:
    """Raises ConfigError if highdicom is not installed."""
    if importlib.util.find_spec("highdicom") is None:
        raise ConfigError(
            "--dicom needs highdicom, which is not installed: pip install "
            "'evolving-mtl[dicom]'"
        )


def write(
    out: Path, name: str, volume: Volume, spotted: Found, picture: bytes, about: str
) -> None:
    """NAME.sc.dcm, and NAME.sr.dcm if L3 is in view.

    Args:
      out: the folder.
      name: of the scan.
      volume: the scan.
      spotted: what was found in it.
      picture: a PNG.
      about: how the model was trained.

    Raises:
      DataError: no DICOM file holds the slice alone, or its header makes no sense.
      WorkdirError: a file cannot be written.
    """
    file = source_file.find(volume, spotted.plane)
    try:
        source = _header(file)
        made = {"sc": _capture(source, picture)}
        if spotted.status == result.IN:
            made["sr"] = _report(source, spotted.z, about)
        content = {end: _content(one, source) for end, one in made.items()}
    except ODD as e:
        why = " ".join(str(e).split())
        raise DataError(f"{file}: its header gives no DICOM report ({why})") from e
    for end, whole in content.items():
        workdir.write_bytes(out / f"{name}.{end}.dcm", whole)


def _header(file: ScanFile) -> Dataset:
    """What a slice says of itself, its patient and study, and nothing else."""
    with file.open() as stream:
        head = pydicom.dcmread(
            stream, stop_before_pixels=True, force=True, specific_tags=[*WHOSE, *NAMED]
        )
    lacking = [name for name in NAMED if not head.get(name)]
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    return head


def _reference(source: Dataset) -> Dataset:
    """The slice without the patient; highdicom would judge how names are spelled."""
    reference = Dataset()
    for name in BLANK:
        setattr(reference, name, "")
    for name in NAMED:
        setattr(reference, name, source[name].value)
    return reference


def _common(end: str) -> dict[str, Any]:
    return {
        "series_instance_uid": generate_uid(),
        "series_number": SERIES[end],
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": "l3spot",
        "software_versions": importlib.metadata.version(MAKER),
        "series_description": "L3 slice, not verified",
    }


def _capture(source: Dataset, picture: bytes) -> "SOPClass":
    """The picture, whose projection has the patient's left to the right."""
    from highdicom.sc import SCImage

    pixels = np.array(Image.open(io.BytesIO(picture)).convert("RGB"))
    made = SCImage.from_ref_dataset(
        _reference(source), pixels, photometric_interpretation="RGB", bits_allocated=8,
        coordinate_system="PATIENT", patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian, **_common("sc"),
    )  # fmt: skip
    made.BodyPartExamined = "LSPINE"  # Else an archive may ask for its side.
    return made


def _report(source: Dataset, z: float, about: str) -> "SOPClass":
    """L3, its z, the slice, and what found it."""
    from highdicom import sr

    kind, uid = source.SOPClassUID, source.SOPInstanceUID
    place = sr.Measurement(
        name=codes.DCM.ImagePositionPatientZ, value=round(z, 2),
        unit=codes.UCUM.Millimeter,
        referenced_images=[sr.SourceImageForMeasurement(kind, uid)],
    )  # fmt: skip
    l3 = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(), "L3"),
        finding_type=codes.SCT.L3Vertebra, measurements=[place],
        finding_sites=[sr.FindingSite(codes.SCT.L3Vertebra)],
        source_images=[sr.SourceImageForMeasurementGroup(kind, uid)],
        algorithm_id=sr.AlgorithmIdentification(
            "l3spot", importlib.metadata.version(MAKER), [about]
        ),
    )  # fmt: skip
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MAKER, about]), name="l3spot",
        manufacturer_name=MAKER, model_name="l3spot",
    )  # fmt: skip
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=codes.SCT.ComputedTomography,
        imaging_measurements=[l3],
    )
    return sr.ComprehensiveSR(
        [_reference(source)], content, is_complete=True, **_common("sr")
    )


def _content(made: "SOPClass", source: Dataset) -> bytes:
    """The bytes of its file, of the patient and study that the source names."""
    for name in WHOSE:
        if name in source:
            made.add(source[name])
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()
