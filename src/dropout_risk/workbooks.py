r"""Look into a workbook before it is read: what it unpacks to, and how far its cells reach.

The reader of workbooks makes room for every cell between the first and the last one of a sheet: two cells, one of them
at the far end, and it asks for more memory than there is, which ends the whole process. A zip may also unpack to
thousands of times its size. Both are found here in one pass that holds a piece at a time.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

MAX_CELLS = 10_000_000
"""Most cells, empty ones included, between the first cell of a sheet and the last one."""

MAX_UNPACKED_BYTES = 500_000_000
"""Most bytes that a workbook may unpack to."""

MAX_RATIO = 200
"""Most bytes that a workbook may unpack to for each byte it has: above it, it is made to do harm."""

_SMALL = 1_000_000
"""Bytes that any workbook may unpack to, however small it is."""

_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
_START_OF_ZIP = b"PK"
_TAG = re.compile(rb"<(?:[\w.-]+:)?(c|row)\b([^<>]*)>")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{0,3})(\d{1,7})["']""")


def fault_of_workbook(content: bytes) -> str | None:
    """Return why a workbook is not to be read, and what to do, or None.

    Parameters
    ----------
    content
        The file: a zip (.xlsx) or the older format (.xls), which cannot do such harm.

    Examples
    --------
    >>> bomb = io.BytesIO()
    >>> with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as book:
    ...     book.writestr("xl/workbook.xml", " " * 5_000_000)
    >>> fault_of_workbook(bomb.getvalue())
    'the workbook unpacks to more than ... bytes, which is too much; send it as CSV.'
    """
    if not content.startswith(_START_OF_ZIP):
        return None
    most = min(MAX_UNPACKED_BYTES, max(_SMALL, MAX_RATIO * len(content)))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            if "xl/workbook.xml" not in book.namelist():
                return (
                    "this is not an Excel workbook (.xlsx), but something else in a zip, such as a Word file; open it "
                    "and save it as .xlsx or CSV."
                )
            return _fault_inside(book, most)
    except _DAMAGED:
        return None  # the reader of workbooks says that it is damaged


def _fault_inside(book: zipfile.ZipFile, most: int) -> str | None:
    unpacked = 0
    for entry in book.infolist():
        sheet = _Reach()
        with suppress(*_DAMAGED):
            for piece in _pieces(book, entry, most):
                unpacked += len(piece)
                if unpacked > most:
                    break
                sheet.see(piece)
        if unpacked > most:
            return f"the workbook unpacks to more than {most:,} bytes, which is too much; send it as CSV."
        if sheet.rows * sheet.columns > MAX_CELLS:
            return (
                f"a sheet reaches over {sheet.rows:,} rows and {sheet.columns:,} columns; delete the cells far below "
                "or to the right of the table, or save it as CSV."
            )
    return None


def _pieces(book: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
    """Unpack piece after piece, as far as more than `most` bytes."""
    entry.file_size = most + 2 * _CHUNK  # else reading ends where the entry says that it does, which may be a lie
    with book.open(entry) as packed:
        while piece := packed.read(_CHUNK):
            yield piece


@dataclass
class _Reach:
    """How far the cells with content reach in an XML file that is seen piece after piece."""

    rows: int = 0
    columns: int = 0
    _row: int = 0
    _column: int = 0
    _begun: bytes = b""

    def see(self, piece: bytes) -> None:
        """Look at the next piece; a tag may be divided between two."""
        text = self._begun + piece
        end = text.rfind(b">") + 1
        self._begun = text[end:][-_CHUNK:]
        for tag in _TAG.finditer(text, 0, end):
            self._see_tag(tag[1], tag[2])

    def _see_tag(self, kind: bytes, attributes: bytes) -> None:
        place = _REFERENCE.search(attributes)
        if kind == b"row":
            self._row, self._column = int(place[2]) if place else self._row + 1, 0
            return
        if place:
            self._row, self._column = int(place[2]), _number_of(place[1])
        else:
            self._column += 1
        if not attributes.endswith(b"/"):  # one with a format only holds nothing
            self.rows, self.columns = max(self.rows, self._row), max(self.columns, self._column)


def _number_of(letters: bytes) -> int:
    """Return the number of a column: 1 for A, 28 for AB."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number
