"""What multiplies: pairs, such as each student in each term, for which a place is held. Too many of them are refused.

Rows by the million are no burden, but a mistaken column or a hostile roster can make each row another term or subject,
and what is held for pairs of these would fill the memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

from dropout_risk.arrays import NO_DAY, days, distinct_days, texts
from dropout_risk.notes import Notes
from dropout_risk.schema import Problem, Tables

MOST_PAIRS = 100_000_000
"""Pairs of one kind: a region of 1.5 million students has them with 60 terms, or with 60 subjects."""

MOST_STUDENT_DAYS = 1_000_000_000
"""Days of one term for all students, each a byte: a region of 1.5 million students has a quarter of them."""


class _Pairs(NamedTuple):
    """How many pairs of one kind there are, of what, and how many there may be."""

    table: str
    column: str
    one: int
    other: int
    words: tuple[str, str]
    words_zh: tuple[str, str]
    most: int = MOST_PAIRS


def too_many_pairs(tables: Tables) -> list[Problem]:
    """Return an error for each kind of pair of which there are too many.

    Parameters
    ----------
    tables
        Those that have rows and all columns.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> too_many_pairs(make_county(200, terms=2, seed=1))
    []
    """
    return [
        Notes(pairs.table, tables).whole(
            "too_many_pairs",
            column=pairs.column,
            one=pairs.one,
            other=pairs.other,
            words=pairs.words,
            words_zh=pairs.words_zh,
        )
        for pairs in _pairs(tables)
        if pairs.one * pairs.other > pairs.most
    ]


def _pairs(tables: Tables) -> Iterator[_Pairs]:
    students, terms = _count(tables, "enrolments", "student_id"), _count(tables, "terms", "term")
    yield _Pairs("terms", "term", students, terms, ("students", "terms"), ("名学生", "个学期"))
    longest = _longest_term(tables)
    words = ("students", "days of one term"), ("名学生", "天的学期")
    yield _Pairs("terms", "end", students, longest, *words, most=MOST_STUDENT_DAYS)
    subjects, tested = _count(tables, "grades", "subject"), _count(tables, "grades", "term")
    yield _Pairs("grades", "subject", students, subjects, ("students", "subjects"), ("名学生", "个科目"))
    yield _Pairs("grades", "subject", tested, subjects, ("terms", "subjects"), ("个学期", "个科目"))
    schools, dates = _count(tables, "enrolments", "school_id"), len(distinct_days(tables, "attendance", "date")[1])
    words = ("schools", "dates of attendance"), ("所学校", "个考勤日期")
    yield _Pairs("attendance", "date", schools, dates, *words)


def _count(tables: Tables, name: str, column: str) -> int:
    return len(texts(tables, name, column).names)


def _longest_term(tables: Tables) -> int:
    start, end = days(tables, "terms", "start"), days(tables, "terms", "end")
    dated = (start != NO_DAY) & (end != NO_DAY)
    return int((end[dated] - start[dated]).max(initial=0)) + 1
