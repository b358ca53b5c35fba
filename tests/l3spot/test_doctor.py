"""`l3spot.doctor`, where all works, and where a decoder or the answer is wrong."""

import pytest

from l3spot import doctor
from l3spot.ct import sample_frames
from l3spot.report import locating
from tests import program
from tests.l3spot import compressed


def test_each_kind_of_compression_is_tried():
    syntaxes = {sample.transfer_syntax for sample in sample_frames.SAMPLES.values()}
    assert syntaxes == {str(uid) for uid, _ in compressed.ENCODERS.values()}
    for sample in sample_frames.SAMPLES.values():
        assert sample.check() == "decodes"


def test_a_picture_that_is_decoded_to_other_values_fails():
    names = list(sample_frames.SAMPLES)
    one, other = (sample_frames.SAMPLES[name] for name in names[-2:])
    with pytest.raises((sample_frames.DataError, ValueError)):
        one._replace(content=other.content).check()


@pytest.mark.slow
def test_all_works_here(monkeypatch):
    done = program.call("l3spot.doctor")
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout
    assert done.stdout.count("decodes") == 4
    assert "L3 in a phantom" in done.stdout

    def elsewhere(path):
        found = locate(path)
        return found._replace(z_mm=found.z_mm + 9)

    locate = locating.locate
    monkeypatch.setattr(locating, "locate", elsewhere)
    rows, works = doctor.examine()
    assert not works
    assert rows[-1][1].startswith("FAILED: L3 was found")
