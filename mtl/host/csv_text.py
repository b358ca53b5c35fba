"""Cells and files of CSV, as spreadsheets read and write them."""

import codecs
import csv
import io
from pathlib import Path

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
DELIMITERS = ",;\t"


def protect(cell: object) -> object:
    """Returns a cell that no spreadsheet takes for a formula: "'" precedes the text."""
    if not isinstance(cell, str) or not cell.lstrip("'").startswith(FORMULA_STARTS):
        return cell
    return cell if _is_number(cell) else f"'{cell}"


def unprotect(cell: str) -> str:
    """Returns the text that `protect` received."""
    quoted = cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS)
    return cell[1:] if quoted else cell


def open_table(path: Path, errors: str = "strict") -> "csv.DictReader[str]":
    """Opens a CSV file with a header; spaces around the names of columns are dropped.

    It may be UTF-8 or UTF-16 with a byte order mark, be separated by commas, semicolons
    or tabs, and begin with the line "sep=;" that Excel reads.

    Args:
      path: the file.
      errors: how bytes that are not UTF-8 are decoded.

    Raises:
      OSError: the file cannot be read.
      UnicodeDecodeError: it is no such text.
    """
    text = _decode(path.read_bytes(), errors)
    if text[:4].lower() == "sep=":
        text = text.partition("\n")[2]
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    table.fieldnames = [name.strip() for name in table.fieldnames or []]
    return table


def number(text: str) -> float:
    """Returns a number, with a point or a decimal comma.

    Raises:
      ValueError: the text is no number.
    """
    return float(text.replace(",", ".") if "." not in text else text)


def _decode(data: bytes, errors: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", errors)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
