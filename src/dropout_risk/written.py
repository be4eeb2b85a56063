"""One value as people write it, read as its column wants it."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache

from dropout_risk.schema import Column
from dropout_risk.words import clean, fold

LONGEST_NAME = 80
"""Characters that an id, or what something is called, may have; the store keeps no more."""


class UnreadableError(ValueError):
    """A value that cannot be read; its text is the kind of problem."""


_MISSING = {"", "-", "--", "/", "null", "none", "nan", "nat", "<na>", "n/a", "na", "#n/a", "不详", "未知", "空"}
_YES = {"是", "1", "true", "yes", "y", "t", "有", "√"}
_NO = {"否", "0", "false", "no", "n", "f", "无", "没有", "非", "×"}
_BOARDS = {"住校", "寄宿", "住宿", "住校生", "寄宿生", "boarding", "boarder"}
_BY_DAY = {"走读", "走读生", "day", "daypupil", "daystudent"}
_NO_DISABILITY = {"非残疾人", "无残疾", "健全"}
_DISABILITY = re.compile("残疾|视力|听力|言语|肢体|智力|精神|多重")
_CODE_AND_LABEL = re.compile(r"\w{1,3}[-:.、](.+)")
_NUMBER = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?"
)  # one way only to read a digit: else a long text hangs
_DATE = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[ T]\d{1,2}:\d{2}.*)?")
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_SERIAL_DATE = re.compile(r"([2-6]\d{4})(?:\.\d+)?")
_DAY_0 = date(1970, 1, 1).toordinal()
_SERIAL_EPOCH = date(1899, 12, 30)  # day 0 of a spreadsheet, for dates after February 1900
_NUMERALS = {numeral: number for number, numeral in enumerate("一二三四五六七八九", start=1)}
_GRADE = re.compile(
    r"(?P<stage>小学?|初中?|高中?)?(?P<n>[一二三四五六七八九1-9])(?P<grade>年级)?(?P<room>\(\w{1,3}\)班?|\w{1,2}班)?"
)
_ENGLISH_GRADE = re.compile(r"(?:grade|year|g)?(\d{1,2})(?:(?:st|nd|rd|th)grade)?")
ENTRY_YEAR = re.compile(r"(?P<stage>小|初)?\D{0,2}(?P<year>20\d\d)级.*")
_PLAIN = re.compile("[0-9A-Za-wyz_\u4e00-\u9fff-]*")  # no kind of text reads it as another
FIRST_DAY, LAST_DAY = (day.toordinal() - _DAY_0 for day in (date(1900, 1, 1), date(2100, 12, 31)))
FIRST_YEAR, LAST_YEAR = date.min.toordinal() - _DAY_0, date.max.toordinal() - _DAY_0
_MIDDLE_DOT = re.compile(r"(?<=[\u3400-\u9fff])\s*[·•‧・∙⋅●.]\s*(?=[\u3400-\u9fff])")


def _read_string(text: str, column: Column) -> object:
    text = clean(text)
    if column.name == "name":
        return _MIDDLE_DOT.sub("·", text) or None
    if column.role in ("key", "identity"):
        text = text.lstrip("' ")  # the mark by which spreadsheets keep a number as text
    if column.role in ("key", "label") and len(text) > LONGEST_NAME:
        raise UnreadableError("too_long")
    return (text.replace("x", "X") if column.name == "id_number" else text) or None


def _read_number(text: str, column: Column) -> object:
    word = clean(text).casefold()  # not folded: "1_0" and "1 0" are no numbers
    if word in _MISSING:
        return None
    if not _NUMBER.fullmatch(word) or not math.isfinite(float(word)):
        raise UnreadableError("not_a_number")
    if column.kind == "integer" and not float(word).is_integer():
        raise UnreadableError("not_an_integer")
    return float(word)


def _read_boolean(text: str, column: Column) -> object:
    word = fold(text)
    yes = _YES | _BOARDS if column.name == "boarding" else _YES
    no = _NO | _BY_DAY if column.name == "boarding" else _NO
    labelled = _CODE_AND_LABEL.fullmatch(word)
    for candidate in (word, labelled[1] if labelled else word):
        if candidate in yes or candidate in no:
            return candidate in yes
        if column.name == "disability" and candidate in _NO_DISABILITY:
            return False
    if column.name == "disability" and _DISABILITY.search(word):
        return True
    if word in _MISSING:
        return None
    raise UnreadableError("not_a_boolean")


def _read_date(text: str, column: Column) -> object:
    text = clean(text)
    written = _DATE.fullmatch(text) or _COMPACT_DATE.fullmatch(text)
    try:
        if written:
            day = date(*(int(part) for part in written.groups()))
        elif serial := _SERIAL_DATE.fullmatch(text):
            day = _SERIAL_EPOCH + timedelta(days=int(serial[1]))
        elif fold(text) in _MISSING:
            return None
        else:
            raise UnreadableError("not_a_date")
    except ValueError as error:
        raise UnreadableError("not_a_date") from error
    if not FIRST_DAY <= (read := day.toordinal() - _DAY_0) <= LAST_DAY:
        raise UnreadableError("not_a_date")
    return read


def _read_category(text: str, column: Column) -> object:
    word = fold(text)
    labelled = _CODE_AND_LABEL.fullmatch(word)
    values = values_by_spelling(tuple(column.allowed.items()))
    for candidate in (word, labelled[1] if labelled else word):
        if candidate in values:
            return values[candidate]
    if word in _MISSING:
        return None
    raise UnreadableError("not_allowed")


@cache
def values_by_spelling(allowed: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, str]:
    """Return for each spelling that a category may have, as texts are compared, the value that it means.

    Examples
    --------
    >>> values_by_spelling((("male", ("男", "M")), ("female", ("女", "F"))))
    {'male': 'male', '男': 'male', 'm': 'male', 'female': 'female', '女': 'female', 'f': 'female'}
    """
    values: dict[str, str] = {}
    for value, spellings in allowed:
        for spelling in (value, *spellings):
            values.setdefault(fold(spelling), value)
    return values


def _read_grade(text: str, column: Column) -> object:
    word = fold(text)
    if word in _MISSING:
        return None
    if english := _ENGLISH_GRADE.fullmatch(word.removesuffix(".0")):
        return float(english[1])
    if ENTRY_YEAR.fullmatch(word):
        raise UnreadableError("entry_year")
    found = _GRADE.fullmatch(word)
    # "3班" names a class and "12班" too: a bare digit is a grade only beside a stage, 年级 or "(2)班"
    if not found or not (found["stage"] or found["grade"] or (found["room"] or "").startswith("(")):
        raise UnreadableError("not_a_grade")
    number = _NUMERALS.get(found["n"]) or int(found["n"])
    years_before = {"初": 6, "高": 9}.get((found["stage"] or " ")[0], 0)
    return float(number + years_before if number < 6 else number)


_READERS: dict[str, Callable[[str, Column], object]] = {
    "string": _read_string,
    "integer": _read_number,
    "number": _read_number,
    "boolean": _read_boolean,
    "date": _read_date,
    "category": _read_category,
}


def read_value(text: str, column: Column) -> object:
    """Return what a text says as a value of `column`; None where it says that there is none.

    Raises
    ------
    UnreadableError
        If it cannot be read.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> read_value("初二(3)班", TABLES["enrolments"]["grade"]), read_value("不详", TABLES["enrolments"]["grade"])
    (8.0, None)
    """
    return (_read_grade if column.name == "grade" else _READERS[column.kind])(text, column)


def are_plain(texts: Sequence[str]) -> bool:
    """Whether no kind of text reads one of these as another: looked at in one go.

    Examples
    --------
    >>> are_plain(["S000001", "学生"]), are_plain(["S 000001"])
    (True, False)
    """
    return not texts or bool(
        all(texts) and len(max(texts, key=len)) <= LONGEST_NAME and _PLAIN.fullmatch("".join(texts))
    )
