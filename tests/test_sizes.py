"""What multiplies is refused before it fills the memory, and large honest tables are not."""

import datetime as dt
from collections.abc import Callable

import pandas as pd
import pytest

from dropout_risk.schema import Tables
from dropout_risk.sizes import MOST_PAIRS, too_many_pairs
from dropout_risk.synthetic import make_county
from dropout_risk.tables import tables_from_records
from dropout_risk.validation import validate

Sent = dict[str, dict[str, list[object]]]
MANY = 10_001
"""More than the root of `MOST_PAIRS`."""


def names(prefix: str, count: int) -> list[object]:
    return [f"{prefix}{number}" for number in range(count)]


def roster(students: int = 2, schools: int = 1) -> Sent:
    ids, school = names("S", students), names("K", schools)
    return {
        "schools": {"school_id": school, "county_id": ["990101"] * schools},
        "terms": {"term": ["t0"], "start": ["2020-09-01"], "end": ["2021-01-15"]},
        "students": {"student_id": ids},
        "enrolments": {
            "student_id": ids, "school_id": [school[number % schools] for number in range(students)],
            "term": ["t0"] * students, "grade": [7] * students,
        },
    }  # fmt: skip


def many_terms(students: int = MANY, terms: int = MANY) -> Sent:
    dates = {"start": ["2020-09-01"] * terms, "end": ["2021-01-15"] * terms}
    return roster(students) | {"terms": {"term": names("t", terms), **dates}}


def a_long_term() -> Sent:
    return roster(2 * MANY) | {"terms": {"term": ["t0"], "start": ["1920-01-01"], "end": ["2069-12-31"]}}


def many_subjects(students: int = MANY) -> Sent:
    marks = {"student_id": ["S1"] * MANY, "term": ["t0"] * MANY, "exam": ["final"] * MANY, "score": [50] * MANY}
    return roster(students) | {"grades": {**marks, "subject": names("s", MANY)}}


def many_subjects_of_many_terms() -> Sent:
    sent = many_subjects(2)
    sent["grades"]["term"] = names("t", MANY)
    return sent


def many_dates(schools: int = MANY) -> Sent:
    dates = [str(dt.date(1980, 1, 1) + dt.timedelta(days=number)) for number in range(MANY)]
    attendance = {"student_id": ["S1"] * MANY, "date": dates, "code": ["P"] * MANY}
    return roster(MANY, schools) | {"attendance": attendance}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (many_terms, "10,001 students times 10,001 terms"),
        (a_long_term, "20,002 students times 54,788 days of one term"),
        (many_subjects, "10,001 students times 10,001 subjects"),
        (many_subjects_of_many_terms, "10,001 terms times 10,001 subjects"),
        (many_dates, "10,001 schools times 10,001 dates of attendance"),
    ],
)
def test_what_multiplies_beyond_memory_is_told_and_not_worked_on(make: Callable[[], Sent], words: str) -> None:
    tables = tables_from_records(make())
    found = too_many_pairs(tables)
    assert any(words in problem.message for problem in found), [problem.message for problem in found]
    assert all(problem.level == "error" and problem.position is None for problem in found)
    assert not any("{" in problem.message + problem.message_zh for problem in found)
    told = [problem.kind for problem in validate(tables).errors]
    assert set(told) - {"missing_value", "not_a_date"} == {"too_many_pairs"}, "nothing else was looked at"


@pytest.mark.parametrize("make", [lambda: many_terms(2), lambda: many_subjects(2), lambda: many_dates(2)])
def test_many_of_one_kind_alone_are_worked_on(make: Callable[[], Sent]) -> None:
    assert too_many_pairs(tables_from_records(make())) == []


def test_a_county_is_far_from_the_limit() -> None:
    county = make_county(2000, terms=4, seed=1)
    assert too_many_pairs(county) == []
    students, subjects = county["enrolments"]["student_id"].nunique(), county["grades"]["subject"].nunique()
    assert 750 * students * subjects < MOST_PAIRS, "1.5 million students with the same subjects fit in"


def test_tables_that_are_missing_have_no_pairs() -> None:
    assert too_many_pairs(Tables({"terms": pd.DataFrame({"term": ["a"], "start": pd.NaT, "end": pd.NaT})})) == []
