"""The text of a table's file, or what the file is if it is none."""

import re

from medrobust.exceptions import InvalidDataError

MARKED = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
"""What a text begins with, and how it is written: UTF-16 as Excel's "Unicode text".
A mark of UTF-32 begins as one of UTF-16 does."""

OTHERS = (
    (rb"PK\x03\x04", "a ZIP archive or an Excel or LibreOffice workbook"),
    (rb"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind (.xls)"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"BZh", "a bzip2 file"),
    (rb"\xfd7zXZ", "an xz file"),
    (rb"7z\xbc\xaf", "a 7-Zip archive"),
    (rb"PAR1", "a Parquet file without .parquet at the end of its name"),
    (rb"ARROW1|FEA1", "an Arrow or Feather file"),
    (rb"SQLite format 3", "an SQLite database"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"%PDF", "a PDF"),
    (rb"\$FL2", "an SPSS file"),
    (rb"\s*<(?:!doctype|html|\?xml)", "a page of HTML or XML, as of a login"),
    (rb"\s*[\[{]\s*[\"{\[]", "JSON"),
    (rb"version https://git-lfs", "a pointer of Git LFS, whose content is not here (git lfs pull)"),
)  # fmt: skip
"""First bytes of files that people take for a CSV, and what these are."""

HEAD = 4096
"""Bytes that tell how a text is written."""


def table_text(packed: bytes, name: str) -> str:
    """Decode a table: UTF-8, or UTF-16 with or without its mark, or UTF-32 with it.

    Args:
        packed: Content of the file.
        name: Of the file.

    Raises:
        InvalidDataError: If it is another kind of file, is empty, or is of another encoding.
    """
    for mark, kind in OTHERS:
        if re.match(mark, packed, re.IGNORECASE):
            raise InvalidDataError(f"{name} is {kind}, no table: save it as CSV UTF-8 or Parquet.")
    encoding = _encoding(packed[:HEAD])
    try:
        text = packed.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        line = packed[: error.start].count(b"\n") + 1
        raise InvalidDataError(
            f"{name} is not UTF-8 text (from line {line} on); save it as CSV UTF-8."
        ) from error
    if not text.strip():
        raise InvalidDataError(f"{name} is empty: it has no rows.")
    return text


def _encoding(head: bytes) -> str:
    """Say how a text is written: of UTF-16 without a mark, every second byte is 0 in Latin."""
    for mark, encoding in MARKED:
        if head.startswith(mark):
            return encoding
    first, second = (head[start::2].count(0) * 4 > len(head) for start in (0, 1))
    if first == second:
        return "utf-8"
    return "utf-16-be" if first else "utf-16-le"
