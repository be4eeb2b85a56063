"""A workbook is looked into before it is read: what would take the process down is refused."""

import io
import zipfile
from collections.abc import Callable, Sequence

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roster_builder import workbook_of, zip_of

from dropout_risk import workbooks
from dropout_risk.errors import TableError
from dropout_risk.tables import read_tables
from dropout_risk.workbooks import MAX_CELLS, fault_of_workbook

SHEET = "xl/worksheets/sheet1.xml"


def with_sheet(rows: str) -> bytes:
    """Return a workbook whose sheet holds `rows`, as XML."""
    whole = zipfile.ZipFile(io.BytesIO(workbook_of({"学生": [["学籍号"]]})))
    entries = {name: whole.read(name) for name in whole.namelist()}
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    entries[SHEET] = f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'.encode()
    return zip_of(entries)


def cell(place: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>x</t></is></c>'


FAR: dict[str, str] = {
    "the last cell of a sheet": f"<row>{cell('A1')}</row><row>{cell('XFD1048576')}</row>",
    "small letters and other quotes": f"<row>{cell('A1')}</row><row><c  r = 'xfd1048576'><v>1</v></c></row>",
    "a row far below": f"<row>{cell('A1')}{cell('AZ1')}</row><row r='1048576'><c><v>1</v></c></row>",
    "another prefix": "<x:row><x:c r='A1'><v>1</v></x:c><x:c r='ZZ999999'><v>1</v></x:c></x:row>",
    "a tag with much in it": f"<row>{cell('A1')}</row><row><c {'y' * 70_000}='1' r='XFD1048576'><v>1</v></c></row>",
}


@pytest.mark.parametrize("name", FAR)
def test_cells_far_apart_are_refused(name: str) -> None:
    fault = fault_of_workbook(with_sheet(FAR[name]))
    assert fault is not None
    assert "delete the cells far below" in fault


NEAR: dict[str, str] = {
    "cells without places": "<row><c><v>1</v></c><c><v>2</v></c></row>" * 3,
    "a format down to the end": f"<row>{cell('A1')}</row><row r='1048576' s='1'/><row><c r='XFD9' s='1'/></row>",
    "words that look like places": "<row><c r='A1' t='inlineStr'><is><t>r='XFD1048576'</t></is></c></row>",
}


@pytest.mark.parametrize("name", NEAR)
def test_other_workbooks_are_not(name: str) -> None:
    assert fault_of_workbook(with_sheet(NEAR[name])) is None


@given(rows=st.integers(1, 1_048_576), columns=st.integers(1, 16_384))
def test_as_many_cells_as_may_be_are_counted_from_the_first_row_and_column(rows: int, columns: int) -> None:
    place = f"{openpyxl.utils.get_column_letter(columns)}{rows}"
    fault = fault_of_workbook(with_sheet(f"<row>{cell(place)}</row>"))
    assert (fault is not None) == (rows * columns > MAX_CELLS)


@given(size=st.integers(1, 40))
def test_a_tag_is_seen_wherever_it_is_divided(size: int) -> None:
    seen = workbooks._Reach()
    text = FAR["the last cell of a sheet"].encode()
    for start in range(0, len(text), size):
        seen.see(text[start : start + size])
    assert (seen.rows, seen.columns) == (1_048_576, 16_384)


def with_texts(texts: list[str], cells: Sequence[object], around: str = "{}") -> bytes:
    """Return a workbook whose texts stand in the file once, and by number in the cells, one a row."""
    whole = zipfile.ZipFile(io.BytesIO(workbook_of({"学生": [["学籍号"]]})))
    entries = {name: whole.read(name) for name in whole.namelist()}
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rows = "".join(
        f'<row r="{row + 1}"><c r="A{row + 1}" t="s"><v>{text}</v></c></row>' for row, text in enumerate(cells)
    )
    entries[SHEET] = f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'.encode()
    items = around.format("".join(f"<si><t>{text}</t></si>" for text in texts))
    entries["xl/sharedStrings.xml"] = f'<sst xmlns="{space}">{items}</sst>'.encode()
    return zip_of(entries)


LONG = "".join(f"{number:x} " for number in range(6_000))
"""A text of 28,000 characters; 20,000 cells with it have more than `MAX_UNPACKED_BYTES`."""


@pytest.mark.parametrize("around", ["{}", "<!-- <si> -->{}", "<si/>{}"])
def test_a_long_text_in_many_cells_is_refused(around: str) -> None:
    number = 1 if around == "<si/>{}" else 0
    fault = fault_of_workbook(with_texts([LONG, "x"], [number] * 20_000, around))
    assert fault is not None
    assert "long texts stand in so many cells" in fault


@pytest.mark.parametrize(
    ("texts", "cells"), [([LONG, "x"], [0, *[1] * 20_000]), (["x", LONG], [1, *[0] * 20_000]), ([LONG], [0] * 1000)]
)
def test_a_long_text_in_few_cells_is_not(texts: list[str], cells: list[int]) -> None:
    assert fault_of_workbook(with_texts(texts, cells)) is None


def test_a_number_without_end_hides_no_text() -> None:
    assert fault_of_workbook(with_texts([LONG], ["9" * 5000, *[0] * 20_000])) is not None


@given(size=st.integers(1, 3000), lengths=st.lists(st.sampled_from([0, 5, 1500, 4000]), min_size=1, max_size=6))
def test_long_texts_are_counted_wherever_they_are_divided(size: int, lengths: list[int]) -> None:
    texts = "".join(f"<si><t>{'y' * length}</t></si>" for length in lengths).encode()
    sheet = "".join(f"<c t='s'><v>{number}</v></c>" for number in [*range(len(lengths)), 0]).encode() + b"</row>"
    seen = workbooks._LongTexts()
    for start in range(0, len(texts), size):
        seen.see(texts[start : start + size])
    cells = workbooks._CellsOfTexts(seen)
    for start in range(0, len(sheet), size):
        cells.see(sheet[start : start + size])
    tags = len("<t></t>")
    assert cells.size == sum(length + tags for length in [*lengths, lengths[0]] if length + tags > 1000)


def bomb(*, lie: bool = False, files: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/workbook.xml", b"<workbook/>")
        for number in range(files):
            book.writestr(f"xl/worksheets/sheet{number}.xml", b" " * (20_000_000 // files))
            if lie:
                book.filelist[-1].file_size = 10
    return file.getvalue()


@pytest.mark.parametrize(
    "make", [bomb, lambda: bomb(lie=True), lambda: bomb(files=50), lambda: bomb(lie=True, files=50)]
)
def test_a_zip_bomb_is_refused_whatever_it_says_of_its_size(make: Callable[[], bytes]) -> None:
    assert "unpacks to more than" in (fault_of_workbook(make()) or "")


def test_a_damaged_entry_does_not_hide_the_next_one() -> None:
    content = bytearray(bomb(lie=True))
    at = content.find(b"xl/workbook.xml") + len("xl/workbook.xml")
    content[at : at + 4] = b"\xff\xff\xff\xff"
    assert "unpacks to more than" in (fault_of_workbook(bytes(content)) or "")


@pytest.mark.parametrize("name", ["content.xml", "xl/workbook.bin", "word/document.xml"])
def test_other_files_in_a_zip_are_no_workbook(name: str) -> None:
    assert "not an Excel workbook" in (fault_of_workbook(zip_of({name: b"<x/>"})) or "")


def test_what_is_no_zip_is_left_to_the_reader() -> None:
    for content in (b"", b"PK", b"\xd0\xcf\x11\xe0", b"PK\x03\x04" + b"\0" * 99):
        assert fault_of_workbook(content) is None


def test_reading_a_folder_names_the_workbook(tmp_path) -> None:
    (tmp_path / "学生.xlsx").write_bytes(with_sheet(FAR["the last cell of a sheet"]))
    (tmp_path / "成绩.xlsx").write_bytes(bomb())
    with pytest.raises(
        TableError, match=r"学生.xlsx: a sheet reaches over 1,048,576 rows(.|\n)*成绩.xlsx: the workbook"
    ):
        read_tables(tmp_path)
