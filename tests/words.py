"""Lists the banned phrases in the text of the repository, and fails if there are any.

    python -m tests.words

Markdown files are read whole. In Python files only docstrings, comments and strings
are read. CONTRIBUTING.md says which words to use instead.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

SUFFIXES = (".py", ".md")
IGNORED_FOLDERS = ("build", "data", "runs", "shared")  # At the root; not tracked.
# Files that must hold the phrases.
EXEMPT = ("tests/words.py", "tests/test_words.py")

BANNED = (
    *("told", "tells", "comes to", "came to", "but for", "is lacking", "are lacking"),
    *("of which", "whose", "aside", "anew", "goes on", "looks at", "what there is"),
    *("that it is", "settles", "moves"),
)
# A phrase may continue on the next line, after a comment sign or a quotation mark.
PHRASES = "|".join(phrase.replace(" ", r"""[\s"'#]+""") for phrase in BANNED)
PATTERN = re.compile(rf"(?<!\w)({PHRASES})(?!\w)", re.IGNORECASE)
# Python 3.11 has one token for an f-string; the names in its braces are code.
FIELD = re.compile(r"\{[^{}\n]*\}")
TEXT_TOKENS = {tokenize.COMMENT, tokenize.STRING} | {
    getattr(tokenize, name)  # f-strings have tokens of their own since Python 3.12.
    for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    if hasattr(tokenize, name)
}


def prose(source: str) -> str:
    """Python source with spaces in place of code, so that lines keep their numbers."""
    lines = source.splitlines(keepends=True)
    kept = [" " * (len(line) - 1) + "\n" for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in TEXT_TOKENS:
            continue
        (first, start), (last, end) = token.start, token.end
        for row in range(first - 1, last):
            line = lines[row]
            a = start if row == first - 1 else 0
            b = end if row == last - 1 else len(line)
            part = line[a:b]
            if token.type == tokenize.STRING and "f" in token.string[:2].lower():
                part = FIELD.sub(lambda field: " " * len(field[0]), part)
            kept[row] = kept[row][:a] + part + kept[row][b:]
    return "".join(kept)


def banned(text: str) -> Iterator[tuple[int, str]]:
    """The line number, from 1, and the words of each banned phrase."""
    for match in PATTERN.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split())


def checked() -> list[str]:
    """The Python and Markdown files of the repository, by their path from the root."""
    names = []
    for entry in ROOT.iterdir():
        files = entry.rglob("*") if entry.is_dir() else [entry]
        if not entry.name.startswith(".") and entry.name not in IGNORED_FOLDERS:
            names += [str(p.relative_to(ROOT)) for p in files if p.suffix in SUFFIXES]
    return sorted(set(names) - set(EXEMPT))


def main() -> int:
    """Prints file:line and phrase; returns how many there are."""
    count = 0
    for name in checked():
        text = (ROOT / name).read_text(encoding="utf-8")
        for line, phrase in banned(prose(text) if name.endswith(".py") else text):
            print(f"{name}:{line}: {phrase!r}")
            count += 1
    return count


if __name__ == "__main__":
    sys.exit(min(main(), 1))
