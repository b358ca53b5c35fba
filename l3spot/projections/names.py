"""Names of scans as the names of files, and as text in pictures."""

import hashlib

# Of file names without suffix. Some encrypted file systems take 143 bytes with it.
MAX_STEM_BYTES = 120
# Files of the scan "a" end so; a scan "a.mrk" must not overwrite a.mrk.json.
RESERVED_ENDINGS = (".mrk", ".sr", ".sc", ".review", ".frontal", ".sagittal")
MAX_TEXT_CHARACTERS = 60
FIRST_UNDRAWN = "\u0530"  # The fonts of pictures have Latin, Greek and Cyrillic.


def file_stem(name: str) -> str:
    """Returns the name of a scan's files without suffix.

    This is the scan's name. If it is too long, or ends like the files of another scan,
    a checksum of it follows the name or its start.
    """
    raw = name.encode(errors="surrogateescape")
    if len(raw) <= MAX_STEM_BYTES and not name.lower().endswith(RESERVED_ENDINGS):
        return name
    start = raw[:MAX_STEM_BYTES].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(raw).hexdigest()[:8]}"


def text(name: str) -> str:
    """Returns a name as text for a picture; "" if its fonts lack a character.

    Bytes that are not UTF-8 become question marks. Long names are cut.
    """
    drawn = name.encode(errors="surrogateescape").decode(errors="replace")
    drawn = " ".join(drawn.replace("\ufffd", "?").split())
    if not drawn.isprintable() or any(c >= FIRST_UNDRAWN for c in drawn):
        return ""
    cut = len(drawn) > MAX_TEXT_CHARACTERS
    return drawn[: MAX_TEXT_CHARACTERS - 3] + "..." if cut else drawn
