r"""Look into a workbook before it is read: what it unpacks to, how far its cells reach, and how long its texts are.

The reader of workbooks makes room for every cell between the first and the last one of a sheet: two cells, one of them
at the far end, and it asks for more memory than there is, which ends the whole process. A zip may also unpack to
thousands of times its size, and a long text that stands in the file once may stand in a million cells, each of which
gets a copy. All this is found here in passes that hold a piece at a time.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

MAX_CELLS = 10_000_000
"""Most cells, empty ones included, between the first cell of a sheet and the last one."""

MAX_UNPACKED_BYTES = 500_000_000
"""Most bytes that a workbook may unpack to."""

MAX_RATIO = 200
"""Most bytes that a workbook may unpack to for each byte it has: above it, it is made to do harm."""

_LONG_TEXT = 1000
"""Bytes from which on a text is counted as often as it stands in a cell."""

_DIGITS = 20
"""Digits that no number of a text has."""

_SMALL = 1_000_000
"""Bytes that any workbook may unpack to, however small it is."""

_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
_START_OF_ZIP = b"PK"
_TAG = re.compile(rb"<(?:[\w.-]+:)?(c|row)\b([^<>]*)>")
_OF_TEXT = re.compile(rb"<(/?)(?:[\w.-]+:)?si\b[^<>]*>")
_CELL_OR_VALUE = re.compile(rb"<(?:[\w.-]+:)?([cv])\b([^<>]*)>([^<]*)")
_IS_SHARED = re.compile(rb"""\st\s*=\s*["']s["']""")
_SHARED_TEXTS = "xl/sharedstrings.xml"
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
    if _bytes_of_long_texts(book, most) > MAX_UNPACKED_BYTES:
        return (
            f"long texts stand in so many cells that they have more than {MAX_UNPACKED_BYTES:,} bytes; delete their "
            "column, or save it as CSV."
        )
    return None


def _bytes_of_long_texts(book: zipfile.ZipFile, most: int) -> int:
    """Return how many bytes the long texts have in all the cells that hold them."""
    texts = _LongTexts()
    for entry in (one for one in book.infolist() if one.filename.lower() == _SHARED_TEXTS):
        with suppress(*_DAMAGED):
            for piece in _pieces(book, entry, most):
                texts.see(piece)
    cells = _CellsOfTexts(texts)
    for entry in book.infolist() if texts.lengths else ():
        with suppress(*_DAMAGED):
            for piece in _pieces(book, entry, most):
                cells.see(piece)
    return cells.size


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


@dataclass
class _LongTexts:
    """The lengths of the long ones among the shared texts, by number, from XML that is seen piece after piece."""

    lengths: dict[int, int] = field(default_factory=dict)
    _is_plain: bool = True
    _count: int = 0
    _seen: int = 0
    _since: int = 0
    _begun: bytes = b""

    def see(self, piece: bytes) -> None:
        """Look at the next piece; a tag may be divided between two."""
        text = self._begun + piece
        end = text.rfind(b">") + 1
        self._is_plain &= b"<!" not in text
        for tag in _OF_TEXT.finditer(text, 0, end):
            if not tag[1]:
                self._since = self._seen + tag.end()
            if tag[1] or tag[0].endswith(b"/>"):
                length = self._seen + tag.start() - self._since
                if length > _LONG_TEXT:
                    self.lengths[self._count] = length
                self._count += 1
        self._begun = text[end:][-_CHUNK:]
        self._seen += len(text) - len(self._begun)

    def length(self, number: bytes) -> int:
        """Return the length of a text, 0 of a short one; where its number may be another, that of the longest."""
        if self._is_plain and number.isdigit() and len(number) < _DIGITS:
            return self.lengths.get(int(number), 0)
        return max(self.lengths.values())


@dataclass
class _CellsOfTexts:
    """How many bytes the long texts have in all cells, from XML that is seen piece after piece."""

    texts: _LongTexts
    size: int = 0
    _is_shared: bool = False
    _begun: bytes = b""

    def see(self, piece: bytes) -> None:
        """Look at the next piece; a number may be divided between two."""
        text = self._begun + piece
        end = max(text.rfind(b"<"), 0)
        self._begun = text[end:][-_CHUNK:]
        for found in _CELL_OR_VALUE.finditer(text, 0, end):
            if found[1] == b"c":
                self._is_shared = _IS_SHARED.search(found[2]) is not None
            elif self._is_shared:
                self.size += self.texts.length(found[3].strip())


def _number_of(letters: bytes) -> int:
    """Return the number of a column: 1 for A, 28 for AB."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number
