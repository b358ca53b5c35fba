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

# Glob patterns, from the repository's root, of the files to check. Add yours.
CHECKED = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    *("docs/results/README.md", "docs/results/best.md", "docs/results/mtl.md"),
    "docs/results/structured.md",
    *("mtl/**/*.py", "structured/**/*.py", "configs/**/*.py", "experiments/*.py"),
    *("l3spot/ct/*.py", "l3spot/labels/*.py", "l3spot/projections/*.py"),
    *("l3spot/localize/*.py", "l3spot/training/*.py", "l3spot/phantom/*.py"),
)

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


def main() -> int:
    """Prints file:line and phrase; returns how many there are."""
    count = 0
    for path in sorted({p for pattern in CHECKED for p in ROOT.glob(pattern)}):
        text = path.read_text(encoding="utf-8")
        for line, phrase in banned(prose(text) if path.suffix == ".py" else text):
            print(f"{path.relative_to(ROOT)}:{line}: {phrase!r}")
            count += 1
    return count


if __name__ == "__main__":
    sys.exit(min(main(), 1))
