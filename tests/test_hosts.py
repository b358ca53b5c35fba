"""What Gloo prints is taken out of a process's output, and nothing else."""

import pytest

from tests.hosts import without_gloo

ONE = (
    "[Gloo] Rank 0 is connected to 1 peer ranks. "
    "Expected number of connected peer ranks is : 1\n"
)
# Two threads in turn, as JAX 0.10.2 was seen to print.
MIXED = (
    "[Gloo] Rank 3 is connected to 3 peer ranks. [Gloo] Rank 2 is connected to 3 peer "
    "ranks. Expected number of connected peer ranks is : 3\n"
    "Expected number of connected peer ranks is : 3\n"
)
WORDS = (
    "[Gloo] Rank [Gloo] Rank 32 is connected to  is connected to 33 peer ranks.  peer "
    "ranks. Expected number of connected peer ranks is : Expected number of connected "
    "peer ranks is : 33\n\n"
)


@pytest.mark.parametrize("said", [ONE, MIXED, WORDS, ONE + MIXED + ONE])
def test_whole_sentences_are_taken_out_even_if_mixed(said):
    assert without_gloo(said) == ""
    assert without_gloo(f"a\n1\n{said}12 epochs\n") == "a\n1\n12 epochs\n"


@pytest.mark.parametrize("said", [ONE, MIXED, WORDS])
@pytest.mark.parametrize("stray", ["3\n", "\n", "3", "a line\n", "[Gloo] Rank "])
def test_any_other_line_stays(said, stray):
    assert without_gloo(said + stray) == stray
    assert without_gloo(stray + said) != ""


@pytest.mark.parametrize("at", range(len(MIXED)))
def test_a_sentence_that_is_not_whole_stays(at):
    assert without_gloo(MIXED[:at] + MIXED[at + 1 :]) != ""
