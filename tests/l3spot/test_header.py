"""Headers that are cut short, broken or unusual."""

import io
import struct

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from l3spot.ct import header
from tests.l3spot import series as write

ITEM = b"\xfe\xff\x00\xe0"


def image(**fields):
    (ds,) = write.series(slices=1, **fields)
    return ds


def read(data):
    return header.read(io.BytesIO(data))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_header_cut_within_an_element_is_refused_at_every_byte(syntax):
    """Otherwise the rest may look like a whole file of another modality."""
    ds = image()
    ds.file_meta.TransferSyntaxUID, ds["PixelData"].VR = syntax, "OW"
    data = write.content(ds)
    whole = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    starts = [whole.get_item(tag).value_tell - 8 for tag in whole.keys()]  # noqa: SIM118
    pixels = data.index(b"\xe0\x7f\x10\x00")
    for size in {*range(132, pixels)} - {*starts[1:]}:
        with pytest.raises(ValueError, match="it ends within its header"):
            read(data[:size])
    assert read(data[:pixels]).length == header.NO_PIXELS
    assert read(data[: pixels + 12]).length == ds.Rows * ds.Columns * 2


def test_an_unknown_character_set_gives_neither_a_warning_nor_a_log(caplog):
    data = write.content(image(SpecificCharacterSet="ISO_IR 100", PatientID="é"))
    elements = read(data.replace(b"ISO_IR 100", b"ISO-IR 999")).elements
    assert elements["PatientID"] == "é"
    assert elements["Rows"] == write.ROWS
    assert caplog.records == []


@pytest.mark.parametrize("name", ["IconImageSequence", "PlanePositionSequence"])
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_an_unknown_character_set_within_a_sequence(name, undefined, syntax, caplog):
    """It gives neither a warning, which is an error in tests, nor a log."""
    item = pydicom.Dataset()
    item.SpecificCharacterSet = "ISO_IR 100"
    item.ImagePositionPatient = [1, 2, 3]
    ds = image(**{name: [item]})
    ds[name].is_undefined_length = item.is_undefined_length_sequence_item = undefined
    ds.file_meta.TransferSyntaxUID, ds["PixelData"].VR = syntax, "OW"
    data = write.content(ds)
    elements = read(data.replace(b"ISO_IR 100", b"ISO-IR 999")).elements
    assert elements == read(data).elements
    if name == "PlanePositionSequence":
        assert elements[name] == [{"ImagePositionPatient": "1.0\\2.0\\3.0"}]
    assert caplog.records == []


@pytest.mark.parametrize("name", ["IconImageSequence", "PlanePositionSequence"])
@pytest.mark.parametrize("undefined", [True, False])
def test_a_sequence_of_something_else_than_items_is_refused(name, undefined):
    """Sequences without a use are checked if their length is not known."""
    item = write.image(np.zeros((2, 2), np.int16), (0, 0, 0))
    item.file_meta = item.preamble = None
    ds = image(**{name: [item]})
    ds[name].is_undefined_length = undefined
    data = write.content(ds)
    assert read(data).elements["Rows"] == write.ROWS
    broken = data.replace(ITEM, b"\xfe\xff\x01\xe0", 1)
    if name == "IconImageSequence" and not undefined:
        assert read(broken).elements == read(data).elements
        return
    with pytest.raises(ValueError, match="else than whole items"):
        read(broken)


def test_an_item_that_is_longer_than_its_sequence_is_refused():
    data = write.content(write.enhanced(2.0, shared=True, slices=1))
    position = data.index(b"\x20\x00\x13\x91SQ") + 12
    item = data[position : position + 8]
    assert item[:4] == ITEM
    broken = data.replace(item, item[:7] + b"\x01")
    with pytest.raises(ValueError, match="else than whole items"):
        read(broken)


@pytest.mark.parametrize("tag", [(0x0020, 0x9113), (0x0088, 0x0200)])
@pytest.mark.parametrize("undefined", [True, False])
def test_deeply_nested_sequences_are_refused(tag, undefined):
    """0088,0200 has no use, so it is skipped if its length is known."""
    depth, nested = 3000, b""
    for _ in range(depth):
        size = 0xFFFFFFFF if undefined else len(nested)
        ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0) * undefined
        length = 0xFFFFFFFF if undefined else len(nested) + 8
        sequence = struct.pack("<HH2sHI", *tag, b"SQ", 0, length)
        nested = sequence + ITEM + struct.pack("<I", size) + nested + ends
    data = write.content(image())
    pixels = data.index(b"\xe0\x7f\x10\x00")
    data = data[:pixels] + nested + data[pixels:]
    if tag == (0x0088, 0x0200) and not undefined:
        assert read(data).length == write.ROWS * write.COLUMNS * 2
        return
    with pytest.raises(ValueError, match=r"nested too deeply|recursion depth"):
        read(data)


def test_a_broken_value_representation_is_refused():
    data = write.content(image()).replace(
        b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00U\xff"
    )
    with pytest.raises(ValueError, match="the value representation 'Uÿ'"):
        read(data)


def test_an_empty_last_item_is_read():
    """Whole segmentations have such an item."""
    ds = image()
    common = Dataset()
    common.PixelMeasuresSequence = [Dataset()]
    ds.SharedFunctionalGroupsSequence = [common]
    elements = read(write.content(ds)).elements
    assert elements["SharedFunctionalGroupsSequence"] == [
        {"PixelMeasuresSequence": [{}]}
    ]
