"""The check of banned phrases reads text, not code, and names the right line."""

from tests import words

SOURCE = '''"""Reads a file.

What it comes
to."""

told = f"a scan whose {told} slice"  # It goes
# on here.
label = ("all but " "for one",)
'''


def test_docstrings_comments_and_strings_are_checked_but_names_are_not():
    assert list(words.banned(words.prose(SOURCE))) == [
        (3, "comes to"),
        (6, "whose"),
        (6, "goes # on"),
        (8, 'but " "for'),
    ]


def test_a_phrase_is_found_across_lines_and_in_capitals_but_not_within_a_word():
    text = "Told once.\nIt is removed: it comes\nto 3. Nobody is untold.\n"
    assert list(words.banned(text)) == [(1, "Told"), (2, "comes to")]


def test_lines_keep_their_length():
    lines = zip(SOURCE.splitlines(), words.prose(SOURCE).splitlines(), strict=True)
    assert all(len(a) == len(b) for a, b in lines)


def test_all_files_but_those_that_hold_the_phrases_are_checked():
    files = words.checked()
    assert {"README.md", "docs/results/l3spot.md", "tests/conftest.py"} < set(files)
    assert not {"tests/words.py", "tests/test_words.py"} & set(files)
