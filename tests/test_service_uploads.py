"""What schools export, over HTTP: every form gives the same answer, and every bad file a sentence that helps."""

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx2
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from roster_builder import (
    as_columns,
    as_records,
    csv_of,
    lines_of,
    parquet_of,
    settings,
    small_roster,
    wide,
    workbook_of,
    zip_of,
)
from starlette.testclient import TestClient

from dropout_risk.schema import TABLES
from dropout_risk.service.answers import MEDIA_TYPES
from dropout_risk.service.app import create_app
from dropout_risk.service.schemas import Problem, ScoreAnswer

JSON = {"content-type": "application/json"}
PARQUET = {"content-type": "application/vnd.apache.parquet"}
TITLE = "2020-2021学年义务教育学生花名册"
Files = dict[str, bytes]
Request = dict[str, Any]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings())) as client:
        yield client


def form(files: Files, **fields: str) -> Request:
    return {"files": [("file", (name, content)) for name, content in files.items()], "data": fields}


def in_json(tables: Any, **fields: Any) -> Request:
    return {"content": json.dumps({"tables": tables, **fields}), "headers": JSON}


def post(client: TestClient, request: Request, path: str = "/score", **headers: str) -> httpx2.Response:
    return client.post(path, **{**request, "headers": {**request.get("headers", {}), **headers}})


def scored(client: TestClient, request: Request, path: str = "/score") -> dict[str, Any]:
    response = post(client, request, path)
    assert response.status_code == 200, response.text
    answer = response.json()
    ScoreAnswer.model_validate(answer)
    assert answer["rows_in"] == answer["scored"] + answer["refused_count"]
    return answer


def scores(answer: dict[str, Any]) -> dict[str, tuple[float, str, int]]:
    return {row["student_id"]: (row["risk"], row["band"], row["rank"]) for row in answer["students"]}


def assert_problem(response: httpx2.Response, *words: str, status: int = 422) -> dict[str, Any]:
    """Check a problem document: its status, that it says what to do, and that it says nothing of the server."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert Problem.model_validate(document).status == status
    assert document["detail"].strip().endswith((".", "。")), document["detail"]
    for word in words:
        assert word in response.text, response.text
    for secret in (tempfile.gettempdir() + "/", "dropout-risk-", "Traceback", "site-packages"):
        assert secret not in response.text
    return document


# ---------------------------------------------------------------------------------------- every form, one answer


def files_of(tables: dict[str, Any], *, chinese: bool, encoding: str = "utf-8", title: str | None = None) -> Files:
    """Return one CSV file for each table."""
    return {
        f"{TABLES[name].zh if chinese and name in TABLES else name}.csv": csv_of(
            lines_of(name, rows, chinese=chinese), encoding=encoding, title=title
        )
        for name, rows in tables.items()
    }


def sheets_of(tables: dict[str, Any]) -> dict[str, list[list[Any]]]:
    return {
        TABLES[name].zh if name in TABLES else "花名册": lines_of(name, rows, chinese=True)
        for name, rows in tables.items()
    }


def some(tables: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: tables[name] for name in names}


FORMS: dict[str, Callable[[dict[str, Any]], Request]] = {
    "JSON columns": lambda t: in_json(as_columns(t)),
    "CSV in English": lambda t: form(files_of(t, chinese=False)),
    "CSV in Chinese with BOM": lambda t: form(files_of(t, chinese=True, encoding="utf-8-sig")),
    "CSV in GB18030 below a title": lambda t: form(files_of(t, chinese=True, encoding="gb18030", title=TITLE)),
    "one workbook, merged titles": lambda t: form({"导出.xlsx": workbook_of(sheets_of(t), title=TITLE)}),
    "Parquet files": lambda t: form({f"{name}.parquet": parquet_of(rows) for name, rows in t.items()}),
    "a mixture": lambda t: form(
        files_of(some(t, "terms", "calendar", "students"), chinese=True, encoding="gb18030")
        | {"名单.xlsx": workbook_of(sheets_of(some(t, "schools", "enrolments", "households")))}
        | {f"{n}-2021.parquet": parquet_of(t[n]) for n in t if n in ("attendance", "grades", "status_changes")}
    ),
    "paths before the names": lambda t: form(
        {f"../../C:\\export\\{name}": content for name, content in files_of(t, chinese=False).items()}
    ),
}


@pytest.fixture(scope="module")
def expected(client: TestClient) -> dict[str, Any]:
    answer = scored(client, in_json(as_records()))
    assert answer["scored"] == 24
    return answer


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_roster_gives_the_scores_of_its_json(
    client: TestClient, expected: dict[str, Any], name: str
) -> None:
    answer = scored(client, FORMS[name](as_records()))
    assert scores(answer) == scores(expected)
    assert (answer["as_of"], answer["rows_in"]) == (expected["as_of"], expected["rows_in"])
    assert [row["reasons"] for row in answer["students"]] == [row["reasons"] for row in expected["students"]]


WIDE_FORMS: dict[str, Callable[[dict[str, Any]], Request]] = {
    "CSV": lambda t: form(files_of(t, chinese=True, encoding="gb18030", title=TITLE)),
    "a workbook": lambda t: form({"花名册.xlsx": workbook_of(sheets_of(t), title=TITLE)}),
    "Parquet": lambda t: form({f"{name}.parquet": parquet_of(rows) for name, rows in t.items()}),
}


@pytest.mark.parametrize("name", WIDE_FORMS)
def test_a_register_export_beside_the_other_tables_gives_the_scores_of_its_json(client: TestClient, name: str) -> None:
    tables = wide(as_records())
    assert scores(scored(client, WIDE_FORMS[name](tables))) == scores(scored(client, in_json(tables)))


@pytest.fixture(scope="module")
def register() -> dict[str, Any]:
    """A register export and nothing else."""
    return some(wide(as_records()), "roster")


@pytest.fixture(scope="module")
def alone(client: TestClient, register: dict[str, Any]) -> dict[str, Any]:
    answer = scored(client, in_json(register))
    assert answer["scored"] == 24
    return answer


def test_a_register_export_alone_is_scored_with_the_schools_and_terms_of_the_county(
    client: TestClient, register: dict[str, Any], alone: dict[str, Any]
) -> None:
    records = as_records()
    told = scored(client, in_json({**register, **some(records, "schools", "terms")}))
    assert scores(alone) == scores(told)
    assert {row["county_id"] for row in alone["students"]} == {row["county_id"] for row in records["schools"]}


@pytest.mark.parametrize("name", WIDE_FORMS)
def test_a_register_export_alone_gives_the_same_scores_in_every_form(
    client: TestClient, register: dict[str, Any], alone: dict[str, Any], name: str
) -> None:
    assert scores(scored(client, WIDE_FORMS[name](register))) == scores(alone)


def test_a_register_export_may_be_the_body_as_parquet(
    client: TestClient, register: dict[str, Any], alone: dict[str, Any]
) -> None:
    body = {"content": parquet_of(register["roster"]), "headers": PARQUET}
    assert scores(scored(client, body)) == scores(alone)
    answer = scored(client, body, "/score?lang=en&reasons=1")
    assert all(len(row["reasons"]) <= 1 for row in answer["students"])
    assert answer["disclaimer"].isascii()


def test_the_term_of_rows_without_one_stands_beside_the_files(
    client: TestClient, register: dict[str, Any], alone: dict[str, Any]
) -> None:
    rows = [{name: value for name, value in row.items() if name != "term"} for row in register["roster"]]
    term = register["roster"][0]["term"]
    files = {"花名册.csv": csv_of(lines_of("roster", rows, chinese=True))}
    assert scores(scored(client, form(files, term=term))) == scores(alone)
    assert scores(scored(client, form(files), f"/score?term={term}")) == scores(alone)
    assert_problem(post(client, form(files)), "学期")


def test_the_settings_beside_files_are_those_of_json(client: TestClient, expected: dict[str, Any]) -> None:
    tables, day = as_records(), as_records()["terms"][-1]["start"]
    wanted = {"as_of": day, "lang": "en", "reasons": 2}
    told = scored(client, in_json(tables, **wanted))
    assert told["as_of"] == day != expected["as_of"]
    files = files_of(tables, chinese=False)
    answer = scored(client, form(files, as_of=day, lang="en", reasons="2"))
    assert {**answer, "run_id": None} == {**told, "run_id": None} | {
        "refused": answer["refused"], "problems": answer["problems"],  # which name files
    }  # fmt: skip
    assert [(row["student_id"], row["column"]) for row in answer["refused"]] == [
        (row["student_id"], row["column"]) for row in told["refused"]
    ]


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({"as_of": "yesterday"}, "as_of"),
        ({"as_of": "20210709"}, "as_of"),
        ({"as_of": "1625788800"}, "as_of"),  # a moment as a number is no date
        ({"lang": "fr"}, "lang"),
        ({"reasons": "many"}, "reasons"),
        ({"reasons": "99"}, "reasons"),
        ({"reasons": "２"}, "reasons"),
        ({"capacity": "5"}, "capacity"),
    ],
)
def test_a_wrong_setting_beside_files_is_named(client: TestClient, fields: dict[str, str], column: str) -> None:
    document = assert_problem(post(client, form({"students.csv": b"student_id\nG1\n"}, **fields)))
    assert [problem["column"] for problem in document["problems"]] == [column]


def test_settings_of_json_stand_in_its_body(client: TestClient) -> None:
    response = post(client, in_json(as_records()), "/score?lang=en&as_of=2021-07-09")
    assert_problem(response, "lang, as_of", "in the body")


# ---------------------------------------------------------------------------------------- the answer as a table


def csv_rows(response: httpx2.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def sheet_rows(response: httpx2.Response) -> list[dict[str, Any]]:
    book = openpyxl.load_workbook(io.BytesIO(response.content))
    header, *lines = book["scores"].iter_rows(values_only=True)
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.mark.parametrize(("accept", "read"), [("text/csv", csv_rows), (MEDIA_TYPES["xlsx"], sheet_rows)])
def test_a_table_holds_every_row_of_the_roster(
    client: TestClient, expected: dict[str, Any], accept: str, read: Callable[[httpx2.Response], list[dict[str, Any]]]
) -> None:
    tables = as_records()
    bad = next(n for n, row in enumerate(tables["enrolments"]) if row["term"] == tables["terms"][-1]["term"])
    tables["enrolments"][bad]["grade"] = 17
    response = post(client, in_json(tables), accept=accept)
    assert response.status_code == 200
    assert response.headers["content-type"] == MEDIA_TYPES["csv" if accept == "text/csv" else "xlsx"]
    assert "attachment" in response.headers["content-disposition"]
    rows = read(response)
    found = {row["student_id"]: (float(row["risk"]), row["band"]) for row in rows if row["risk"] not in ("", None)}
    refused = tables["enrolments"][bad]["student_id"]
    told = {s: (risk, band) for s, (risk, band, _) in scores(expected).items() if s != refused}
    assert {s: band for s, (_, band) in found.items()} == {s: band for s, (_, band) in told.items()}
    digits = {"rel": 0, "abs": 0} if accept == "text/csv" else {"rel": 1e-14}  # a workbook keeps 16 digits
    assert {s: risk for s, (risk, _) in found.items()} == pytest.approx(
        {s: risk for s, (risk, _) in told.items()}, **digits
    )
    (line,) = [row for row in rows if row["risk"] in ("", None)]
    assert line["student_id"] == refused
    assert "17" in line["not_scored"]


ACCEPTED = {
    "": "application/json",
    "*/*": "application/json",
    "application/*": "application/json",
    "text/*": "text/csv",
    "text/csv;q=0.4, application/json;q=0.3": "text/csv",
    "text/csv;q=0.4, */*": "application/json",
    "application/json;q=0, */*": "text/csv",
    "text/html, text/csv;q=0.1": "text/csv",
    "TEXT/CSV": "text/csv",
    f"{MEDIA_TYPES['xlsx']}, application/json;q=0.9": MEDIA_TYPES["xlsx"],
    "application/*;q=0.2, application/json;q=0.1": MEDIA_TYPES["xlsx"],
    "application/json;q=nan, text/csv;q=0.1": "text/csv",
    "text/csv;q=0, application/json;charset=utf-8": "application/json",
}


@pytest.mark.parametrize("accept", ACCEPTED)
def test_accept_chooses_the_format(client: TestClient, accept: str) -> None:
    response = post(client, in_json(as_records(2)), accept=accept)
    assert response.headers["content-type"].split(";")[0] == ACCEPTED[accept].split(";")[0]


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "*/*;q=0", ",", "json", "image/*"])
def test_a_format_that_there_is_not_is_406_and_nothing_is_scored(client: TestClient, accept: str) -> None:
    before = client.get("/runs").json()["runs"][:1]
    assert_problem(post(client, in_json(as_records(2)), accept=accept), "text/csv", status=406)
    assert client.get("/runs").json()["runs"][:1] == before


FORMULAS = ['=HYPERLINK("http://example.org","x")', "+1", "-1+2", "@SUM(A1)", "＝1+1"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_an_export_is_run_as_a_formula(client: TestClient, formula: str) -> None:
    tables = as_records(2)
    school, student = tables["schools"][0]["school_id"], tables["students"][0]["student_id"]
    renamed = json.loads(json.dumps(tables).replace(f'"{school}"', json.dumps(formula)))
    renamed = json.loads(json.dumps(renamed).replace(f'"{student}"', json.dumps(f"{formula}s")))
    for row in renamed["enrolments"]:
        row["class_id"] = formula
    renamed["enrolments"][-1]["grade"] = formula
    as_csv = post(client, in_json(renamed), accept="text/csv")
    cells = [cell for line in csv.reader(io.StringIO(as_csv.content.decode("utf-8-sig"))) for cell in line]
    book = openpyxl.load_workbook(io.BytesIO(post(client, in_json(renamed), accept=MEDIA_TYPES["xlsx"]).content))
    in_sheets = [cell for sheet in book for line in sheet.iter_rows() for cell in line]
    assert any("HYPERLINK" in cell or "1" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
    assert not [cell for cell in cells if cell.startswith("-") and not _is_number(cell)]
    assert not [cell.value for cell in in_sheets if cell.data_type == "f"]
    assert not [
        cell.value for cell in in_sheets if isinstance(cell.value, str) and cell.value.startswith(tuple("=+-@"))
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------------------------------- bad files

GOOD = csv_of(lines_of("students", as_records(2)["students"], chinese=True))


def word_file() -> bytes:
    return zip_of({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w:document/>"})


def zip_bomb() -> bytes:
    return zip_of({"xl/workbook.xml": b"<workbook/>", "xl/worksheets/sheet1.xml": b" " * 60_000_000})


def lying_zip_bomb() -> bytes:
    """Return a bomb whose directory says that it unpacks to ten bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/workbook.xml", b"<workbook/>")
        book.writestr("xl/worksheets/sheet1.xml", b" " * 60_000_000)
        book.filelist[-1].file_size = 10
    return file.getvalue()


def far_cell() -> bytes:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["B1"], book.active["XFD1048576"] = "学籍号", "姓名", "x"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def damaged_workbook() -> bytes:
    content = bytearray(workbook_of({"学生": [["学籍号", "性别"], ["G1", "男"]]}))
    sheet = content.find(b"xl/worksheets/sheet1.xml") + 40
    content[sheet : sheet + 60] = b"\0" * 60
    return bytes(content)


def with_a_password() -> bytes:
    """Return what a workbook with a password is: the older container, with a package that nobody can read."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504 + "EncryptedPackage".encode("utf-16-le") * 40


def locked_entries() -> bytes:
    content = bytearray(workbook_of({"学生": [["学籍号", "性别"], ["G1", "男"]]}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(mark, start + 4)
    return bytes(content)


def merged_upon_each_other() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in range(1, 200):
        for column in range(1, 40):
            sheet.cell(row, column, "x")
    file = io.BytesIO()
    book.save(file)
    one = b'<mergeCell ref="A1:AM199"/>'
    entries = {name: zipfile.ZipFile(file).read(name) for name in zipfile.ZipFile(file).namelist()}
    sheet_file = "xl/worksheets/sheet1.xml"
    merged = b'<mergeCells count="5000">' + one * 5000 + b"</mergeCells>"
    entries[sheet_file] = entries[sheet_file].replace(b"</sheetData>", b"</sheetData>" + merged)
    return zip_of(entries)


def two_encodings() -> bytes:
    header, *rows = GOOD.split(b"\r\n")
    other = "G9,女,2009年1月1日".encode("gb18030")
    return b"\r\n".join([header, *rows, *["学籍号G8男".encode()] * 3, other, other])


def a_billion_rows() -> bytes:
    """Return a small Parquet file that says that it has 10^9 rows."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, pa.schema([("student_id", pa.null())])) as writer:
        for _ in range(100):
            writer.write_table(pa.table({"student_id": pa.nulls(10_000_000)}), row_group_size=10_000_000)
    return file.getvalue()


BAD_FILES: dict[str, tuple[Callable[[], Files], str]] = {
    "an empty file": (lambda: {"学生.csv": b""}, "the file is empty"),
    "an empty workbook file": (lambda: {"学生.xlsx": b""}, "the file is empty"),
    "blanks only": (lambda: {"学生.csv": b" \r\n \r\n"}, "the file is empty"),
    "a header only": (lambda: {"学生.csv": GOOD.split(b"\r\n")[0]}, "missing"),
    "a Word file": (lambda: {"花名册.xlsx": word_file()}, "a Word file"),
    "a web page": (lambda: {"花名册.xls": b"<html><table><tr><td>1</td></tr></table></html>"}, "not an Excel workbook"),
    "a zip bomb": (lambda: {"花名册.xlsx": zip_bomb()}, "unpacks to more than"),
    "a zip bomb under another name": (lambda: {"花名册.xls": zip_bomb()}, "unpacks to more than"),
    "a zip bomb that lies": (lambda: {"花名册.xlsx": lying_zip_bomb()}, "unpacks to more than"),
    "a cell at the far end": (lambda: {"花名册.xlsx": far_cell()}, "1,048,576 rows and 16,384 columns"),
    "a damaged workbook": (lambda: {"花名册.xlsx": damaged_workbook()}, "damaged"),
    "half a workbook": (lambda: {"花名册.xlsx": workbook_of({"学生": [["学籍号"]]})[:900]}, "damaged"),
    "a password": (lambda: {"花名册.xlsx": with_a_password()}, "workbook"),
    "locked entries": (lambda: {"花名册.xlsx": locked_entries()}, "workbook"),
    "merged cells upon each other": (lambda: {"花名册.xlsx": merged_upon_each_other()}, "merged cells"),
    "two encodings": (lambda: {"学生.csv": two_encodings()}, "row 9"),
    "a program": (lambda: {"花名册.exe": b"MZ\x90\0"}, "are not read"),
    "a text file": (lambda: {"花名册.txt": GOOD}, "are not read"),
    "a program named .csv": (lambda: {"学生.csv": b"MZ\x90\0\x03\xff\xfe" * 40}, "学生.csv"),
    "a picture named .xlsx": (lambda: {"学生.xlsx": b"\x89PNG\r\n\x1a\n" + b"\0" * 99}, "not an Excel workbook"),
    "an open quotation mark": (lambda: {"学生.csv": GOOD + b'\r\n"G9,\r\nG10'}, "quotation mark"),
    "no known header": (lambda: {"学生.csv": b"a,b\r\n1,2"}, "no header"),
    "no known name": (lambda: {"whatever.csv": b"a,b\r\n1,2"}, "no table is recognised"),
    "a Parquet file that is none": (lambda: {"students.parquet": b"PAR1" + b"\0" * 40 + b"PAR1"}, "Parquet"),
    "no Parquet file": (lambda: {"students.parquet": GOOD}, "Parquet"),
    "10^9 rows": (lambda: {"students.parquet": a_billion_rows()}, "1,000,000,000 values"),
    "no file": (dict, "no file"),
    "a name without letters": (lambda: {"..": GOOD}, "no name that can be used"),
    "a name with a line end": (lambda: {"学生\n.csv": GOOD}, "csv"),
    "a very long name": (lambda: {"学" * 200 + ".csv": GOOD}, "no name that can be used"),
    "a path to the server": (lambda: {"../../../etc/passwd": b"root:x:0:0"}, "passwd"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_a_problem_that_says_what_to_do(client: TestClient, name: str) -> None:
    make, words = BAD_FILES[name]
    files = make()
    request = form(files) if files else {"files": [("lang", (None, "zh"))]}
    assert_problem(post(client, request), words)


def test_every_bad_file_is_named_at_once(client: TestClient) -> None:
    files = {"学生.csv": b"", "成绩.xlsx": word_file(), "a.exe": b"MZ", "花名册.csv": GOOD}
    assert_problem(post(client, form({**files, "b.parquet": b"x"})), "学生.csv", "a.exe", "b.parquet")


def test_two_files_of_one_name_are_refused(client: TestClient) -> None:
    twice = [("file", ("学生.csv", GOOD)), ("file", ("folder/学生.csv", GOOD))]
    assert_problem(post(client, {"files": twice}), "two files", "rename")


@pytest.mark.parametrize(("files", "fields", "words"), [(30, 0, "Too many files"), (1, 30, "Too many fields")])
def test_a_form_with_too_many_parts_is_refused(client: TestClient, files: int, fields: int, words: str) -> None:
    request = form({f"学生{n}.csv": GOOD for n in range(files)}, **{f"field{n}": "1" for n in range(fields)})
    assert_problem(post(client, request), words, status=400)


BOUNDARY = "multipart/form-data; boundary=abc"
WHOLE = b'--abc\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx\r\n--abc--\r\n'
BROKEN_FORMS = {
    "no boundary": ("multipart/form-data", WHOLE),
    "an empty boundary": ("multipart/form-data; boundary=", WHOLE),
    "another boundary": ("multipart/form-data; boundary=other", WHOLE),
    "no end": (BOUNDARY, WHOLE[:-9]),
    "half a header": (BOUNDARY, WHOLE[:30]),
    "nothing": (BOUNDARY, b""),
    "no name": (BOUNDARY, WHOLE.replace(b' name="file";', b"")),
    "no disposition": (BOUNDARY, b"--abc\r\nX: y\r\n\r\nx\r\n--abc--\r\n"),
    "noise": (BOUNDARY, bytes(range(256)) * 9),
    "a charset that there is not": (f"{BOUNDARY}; charset=klingon", WHOLE[:-9]),
}


@pytest.mark.parametrize("name", BROKEN_FORMS)
def test_a_broken_form_is_a_problem(client: TestClient, name: str) -> None:
    kind, body = BROKEN_FORMS[name]
    response = client.post("/score", content=body, headers={"content-type": kind})
    assert_problem(response, "form", status=400)


def test_a_form_that_was_cut_off_is_not_scored_without_its_last_file(client: TestClient) -> None:
    whole = client.build_request("POST", "/score", **form(files_of(as_records(2), chinese=False)))
    body = whole.read()
    cut = body[: body.rindex(b"\r\n--")]
    response = client.post("/score", content=cut, headers={"content-type": whole.headers["content-type"]})
    assert_problem(response, "send it again", status=400)


@pytest.mark.parametrize(
    "kind", ["", "text/csv", "application/xml", "application/x-www-form-urlencoded", "image/png", "nonsense", ";", "é"]
)
def test_other_media_types_are_refused(client: TestClient, kind: str) -> None:
    response = client.post("/score", content=GOOD, headers={"content-type": kind.encode("latin-1")})
    assert_problem(response, "multipart/form-data", status=415)


@pytest.mark.parametrize("headers", [JSON, PARQUET, {"content-type": BOUNDARY}])
def test_a_compressed_body_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/score", content=b"\x1f\x8b", headers={**headers, "content-encoding": "gzip"})
    assert_problem(response, "uncompressed", status=415)


def test_a_bad_cell_of_a_file_is_refused_with_its_file_row_and_column(client: TestClient) -> None:
    tables = as_records(2)
    lines = lines_of("enrolments", tables["enrolments"], chinese=True)
    bad = len(lines) - 1
    lines[bad][lines[0].index("年级")] = "十七"
    files = files_of(tables, chinese=True, title=TITLE) | {"在籍在校.csv": csv_of(lines, title=TITLE)}
    answer = scored(client, form(files, lang="zh"))
    (refused,) = [row for row in answer["refused"] if row["column"] == "grade"]
    assert (refused["file"], refused["row"], refused["value"]) == ("在籍在校.csv", 3 + bad + 1, "十七")
    assert "年级" in refused["message"]
    assert refused["student_id"] == tables["enrolments"][bad - 1]["student_id"]


# ---------------------------------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def strict() -> Iterator[TestClient]:
    """A service for five students and small bodies that has no time."""
    with TestClient(create_app(settings(max_students=5, max_body_bytes=400_000, max_seconds=1))) as client:
        yield client


def test_a_body_that_is_too_large_is_refused_in_every_form(strict: TestClient) -> None:
    large = b"x" * 400_001
    for headers in (JSON, PARQUET, {"content-type": BOUNDARY}):
        assert_problem(strict.post("/score", content=large, headers=headers), "send fewer", status=413)
        stream = iter([large[:300_000], large[300_000:]])
        assert_problem(strict.post("/score", content=stream, headers=headers), "send fewer", status=413)


def test_too_many_students_are_refused_in_every_form(strict: TestClient) -> None:
    tables = as_records(3)  # of each of two schools
    tables["attendance"] = tables["attendance"][:50]
    for request in (in_json(tables), in_json(as_columns(tables)), form(files_of(tables, chinese=True))):
        assert_problem(post(strict, request), "6 students are over the limit of 5", status=413)
    register = some(wide(tables), "roster")["roster"]
    assert_problem(post(strict, {"content": parquet_of(register), "headers": PARQUET}), "over the limit", status=413)
    without_students = {**tables, "students": tables["students"][:1]}
    assert_problem(post(strict, in_json(without_students)), "over the limit", status=413)


def test_earlier_terms_do_not_count_as_further_students(strict: TestClient) -> None:
    tables = as_records(2)
    tables["attendance"] = tables["attendance"][:50]
    assert len(tables["enrolments"]) > 5
    assert scored(strict, in_json(tables))["rows_in"] == 4


@pytest.mark.parametrize("name", ["students", "enrolments", "households", "roster"])
def test_a_million_rows_are_refused_before_they_are_read(client: TestClient, name: str) -> None:
    body = f'{{"tables": {{"{name}": {{"student_id": [' + "1," * 1_000_000 + "1]}}}"
    response = client.post("/score", content=body, headers=JSON)
    document = assert_problem(response, "over the limit", status=413)
    assert "1,000,001" in document["detail"]


def test_a_body_that_comes_too_slowly_is_given_up(strict: TestClient) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep(0.3)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"test")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/score",
        "raw_path": b"/score", "query_string": b"", "root_path": "", "scheme": "http", "headers": headers,
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    anyio.run(strict.app, scope, receive, send)
    assert sent[0]["status"] == 408
    assert "send it again" in json.loads(sent[1]["body"])["detail"]


def test_the_roster_of_these_tests_is_small() -> None:
    assert len(small_roster()["students"]) == 24
