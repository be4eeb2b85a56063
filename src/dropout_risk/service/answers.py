"""An answer as JSON, CSV or a workbook, in pieces, so that a large one is never held as one text."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Literal

import orjson
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from dropout_risk.errors import DropoutRiskError

Format = Literal["json", "csv", "xlsx"]

MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

_PIECE = 500
"""Students in one piece."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class NotAcceptableError(DropoutRiskError):
    """The client takes none of the formats that there are."""

    http_status = 406
    title = "There is no such format"


def format_of(accept: str | None) -> Format:
    """Return the format that a client likes best, by the header Accept; JSON if it takes any.

    What is said of one format counts more than what is said of all: ``application/json;q=0, */*`` is no JSON.

    Raises
    ------
    NotAcceptableError
        If it takes none of them.

    Examples
    --------
    >>> format_of("text/csv, application/json;q=0.5"), format_of("*/*")
    ('csv', 'json')
    """
    weights: dict[str, float] = {}
    for part in (accept or "*/*").split(","):
        wanted, *settings = (piece.strip().lower() for piece in part.split(";"))
        weight = next((_weight(one[2:]) for one in settings if one.startswith("q=")), 1.0)
        weights[wanted] = max(weights.get(wanted, 0.0), weight)
    liked: dict[Format, float] = {}
    for name, media_type in MEDIA_TYPES.items():
        kind = media_type.split(";")[0]
        ranges = (kind, f"{kind.split('/')[0]}/*", "*/*")
        liked[name] = next((weights[one] for one in ranges if one in weights), 0.0)
    if max(liked.values()) <= 0:
        raise NotAcceptableError(f"The answer comes as {', '.join(MEDIA_TYPES.values())}; name one in Accept.")
    # JSON where it is liked as much as another.
    return max(liked, key=lambda name: (liked[name], name == "json"))


def _weight(text: str) -> float:
    try:
        return min(max(0.0, float(text)), 1.0)
    except ValueError:
        return 0.0


def write(answer: Mapping[str, Any], wanted: Format) -> Iterator[bytes]:
    """Yield an answer with `students` and `refused` in pieces.

    Parameters
    ----------
    answer
        As `scoring.answer` makes it: `students` by column, with `reasons` and `data_gaps` as texts of JSON.
    wanted
        In which format. In CSV and workbooks every row of the roster is one line: with a risk, or with the reason
        why it has none.
    """
    if wanted == "json":
        yield from _json(answer)
    elif wanted == "csv":
        yield from _csv(_table(answer))
    else:
        yield _workbook(_table(answer), answer)


def _json(answer: Mapping[str, Any]) -> Iterator[bytes]:
    before = b"{"
    for name, value in answer.items():
        yield before + orjson.dumps(name) + b":"
        if name == "students":
            yield from _students(value)
        else:
            yield orjson.dumps(value)
        before = b","
    yield b"}"


def _students(columns: Mapping[str, Sequence[Any]]) -> Iterator[bytes]:
    """Yield the students as a list of objects; what is JSON already stays as it is."""
    cells = (map(orjson.Fragment, own) if name in _IN_JSON else own for name, own in columns.items())
    rows = zip(*cells, strict=True)
    before = b"["
    while piece := [dict(zip(columns, row, strict=True)) for row in islice(rows, _PIECE)]:
        yield before + orjson.dumps(piece)[1:-1]
        before = b","
    yield b"[]" if before == b"[" else b"]"


def safe_cell(value: object) -> object:
    """Return a value as a spreadsheet may hold it: a text that it would run as a formula gets an apostrophe.

    Examples
    --------
    >>> safe_cell("=HYPERLINK(1)"), safe_cell("S1"), safe_cell(-0.5)
    ("'=HYPERLINK(1)", 'S1', -0.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_IN_JSON = ("reasons", "data_gaps")
_COLUMNS = ("student_id", "pseudonym", "school_id", "county_id", "class_id", "grade", "row", "risk", "band", "rank")
_OF_REASON = ("text", "contribution", "changeable", "measure")


def _table(answer: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    """Yield header and lines: the students that have a score, then the rows that have none."""
    students, refused = answer["students"], answer["refused"]
    reasons, gaps = (list(map(orjson.loads, students[name])) for name in _IN_JSON)
    values = {name: students.get(name) or [None] * len(reasons) for name in _COLUMNS}
    present = [
        name
        for name in _COLUMNS
        if any(value is not None for value in chain(values[name], (row.get(name) for row in refused)))
    ]
    most = max(map(len, reasons), default=0)
    of_reasons = [f"{name}_{place + 1}" for place in range(most) for name in _OF_REASON]
    yield [*present, *of_reasons, "data_gaps", "as_of", "expires", "not_scored"]
    days = [answer.get("as_of"), answer.get("expires")]
    own = zip(*(values[name] for name in present), strict=True)
    for row, its_reasons, its_gaps in zip(own, reasons, gaps, strict=True):
        told = [reason.get(name) for reason in its_reasons for name in _OF_REASON]
        padding = [None] * (len(of_reasons) - len(told))
        yield [*row, *told, *padding, "; ".join(its_gaps), *days, None]
    for row in refused:
        yield [*map(row.get, present), *[None] * len(of_reasons), None, *days, row["message"]]


def _csv(lines: Iterable[Sequence[object]]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    yield b"\xef\xbb\xbf"  # Excel reads UTF-8 only with it
    for number, line in enumerate(lines):
        writer.writerow([safe_cell(value) for value in line])
        if number % _PIECE == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def _workbook(lines: Iterable[Sequence[object]], answer: Mapping[str, Any]) -> bytes:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("scores")
    sheet.freeze_panes = "B2"
    for line in lines:
        sheet.append([_cell(sheet, value) for value in line])
    about = book.create_sheet("about")
    for name in ("run_id", "as_of", "expires", "rows_in", "scored", "refused_count", "disclaimer"):
        about.append([name, _cell(about, answer.get(name))])
    for note in answer.get("notes", []):
        about.append(["note", _cell(about, note)])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _cell(sheet: Any, value: object) -> object:
    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(sheet, safe_cell("".join(one for one in value if one.isprintable() or one == "\n")))
    cell.data_type = "s"
    return cell
