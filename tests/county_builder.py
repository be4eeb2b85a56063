"""Hand-made tables for the tests: rows as dicts, whatever is not named is missing."""

from functools import cache

import pandas as pd

from dropout_risk.schema import DTYPES, TABLES, Tables

TERM_DAYS = {
    "2019-2020-1": ("2019-09-02", "2020-01-17"),
    "2019-2020-2": ("2020-02-24", "2020-07-10"),
    "2020-2021-1": ("2020-09-01", "2021-01-15"),
    "2020-2021-2": ("2021-02-22", "2021-07-09"),
}
"""Four terms: each starts in the week and ends on the Friday that real ones do."""

AUTUMN, SPRING, NEXT_AUTUMN, NEXT_SPRING = TERM_DAYS


def term_start(term: str) -> pd.Timestamp:
    return pd.Timestamp(TERM_DAYS[term][0])


def term_end(term: str) -> pd.Timestamp:
    return pd.Timestamp(TERM_DAYS[term][1])


def build_table(name: str, rows: list[dict]) -> pd.DataFrame:
    """Return `rows` as table `name`, with the schema's columns and dtypes."""
    table = TABLES[name]
    assert not (unknown := {key for row in rows for key in row} - set(table.names)), unknown
    columns = {}
    for column in table.columns:
        values = pd.Series([row.get(column.name) for row in rows], dtype=object)
        if column.kind == "category":
            columns[column.name] = values.astype(pd.CategoricalDtype(list(column.allowed)))
        elif column.kind == "date":
            columns[column.name] = pd.to_datetime(values).astype(DTYPES["date"])
        else:
            columns[column.name] = values.astype(DTYPES[column.kind])
    return pd.DataFrame(columns)


def build_tables(**rows: list[dict]) -> Tables:
    """Return hand-made tables; terms are `TERM_DAYS` and schools A and B of county 990101 unless given."""
    rows.setdefault("terms", [{"term": t, "start": a, "end": b} for t, (a, b) in TERM_DAYS.items()])
    rows.setdefault("schools", [{"school_id": s, "county_id": "990101"} for s in "AB"])
    rows.setdefault("enrolments", [])
    return Tables({name: build_table(name, of_table) for name, of_table in rows.items()})


def weekdays(start: str, end: str) -> pd.DatetimeIndex:
    return pd.bdate_range(start, end)


def term_weekdays(term: str) -> pd.DatetimeIndex:
    return weekdays(*TERM_DAYS[term])


@cache
def _weekday_rows(terms: tuple[str, ...]) -> list[dict]:
    return [
        {"date": day, "is_school_day": day.day_of_week < 5} for term in terms for day in pd.date_range(*TERM_DAYS[term])
    ]


def weekday_calendar(*terms: str) -> list[dict]:
    """Return county-wide calendar rows: lessons from Monday to Friday in `terms` (all, if none is named)."""
    return list(_weekday_rows(terms or tuple(TERM_DAYS)))


def enrol(student: str, *terms: str, school: str = "A", grade: int = 7, **facts: object) -> list[dict]:
    """Return the registration of `student` in each of `terms`, a grade higher every autumn."""
    first_year = int(terms[0][:4])
    return [
        {"student_id": student, "term": term, "school_id": school, "grade": grade + int(term[:4]) - first_year} | facts
        for term in terms
    ]


def shuffle(tables: Tables, seed: int) -> Tables:
    """Return `tables` with the rows of every table in another order, labels of the rows kept."""
    return Tables({name: frame.sample(frac=1, random_state=seed) for name, frame in tables.items()})
