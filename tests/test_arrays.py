"""Columns as arrays against the same columns of the frame, as pandas sees them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropout_risk.arrays import (
    NO_DAY,
    Coded,
    as_dates,
    as_text,
    coded,
    days,
    distinct_days,
    first_rows,
    flags,
    labels,
    matched,
    numbered,
    numbers,
    repeats,
    row_keys,
    span_of_days,
    spread,
    take_rows,
    texts,
    with_dates,
)
from dropout_risk.coercion import dtype_of
from dropout_risk.reference import QUANTILES, Marks, Reference
from dropout_risk.schema import TABLES, Tables

IDS = st.sampled_from(["a", "b", "学生", "", "a "]) | st.none()
DATES = st.sampled_from(["1969-12-31", "1970-01-01", "2020-02-29", "2100-12-31"]) | st.none()


def column(values: list[object], name: str, table: str) -> pd.Series:
    kind = dtype_of(TABLES[table][name])
    return pd.Series(values, dtype=kind) if kind != "datetime64[us]" else pd.Series(pd.to_datetime(values)).astype(kind)


@st.composite
def attendance(draw: st.DrawFn) -> Tables:
    rows = draw(
        st.lists(st.tuples(IDS, DATES, st.sampled_from(list("NXPOLESAU")) | st.none(), DATES), min_size=0, max_size=30)
    )
    names = ["student_id", "date", "code", "recorded_at"]
    values = list(zip(*rows, strict=True)) if rows else [[]] * 4
    frame = pd.DataFrame({name: column(list(own), name, "attendance") for name, own in zip(names, values, strict=True)})
    return Tables({"attendance": frame.set_axis(frame.index * 3 + 1)})


@given(attendance())
def test_arrays_hold_what_the_frame_holds(tables: Tables) -> None:
    frame = tables["attendance"]
    ids = pd.Series(as_text(texts(tables, "attendance", "student_id")))
    assert ids.equals(frame["student_id"].reset_index(drop=True))
    assert pd.Series(as_dates(days(tables, "attendance", "date"))).equals(frame["date"].reset_index(drop=True))
    assert labels(tables, "attendance", "code").tolist() == frame["code"].cat.codes.tolist()


@given(attendance())
def test_rows_are_equal_where_pandas_finds_them_equal(tables: Tables) -> None:
    for key in (["student_id", "date"], ["code"], ["student_id", "date", "code", "recorded_at"]):
        expected = tables["attendance"].duplicated(key, keep=False)
        assert repeats(row_keys(tables, "attendance", key)).tolist() == expected.tolist()


@given(attendance(), st.data())
def test_arrays_taken_along_are_those_of_the_rows_left(tables: Tables, data: st.DataObject) -> None:
    n = len(tables["attendance"])
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)) if n else st.just(set()))), dtype=np.int64)
    for name in ("student_id",):
        texts(tables, "attendance", name)
    for name in ("date", "recorded_at"):
        days(tables, "attendance", name)
    labels(tables, "attendance", "code")
    left = take_rows(tables, "attendance", rows)
    alone = Tables({"attendance": left["attendance"]})
    assert left["attendance"].equals(tables["attendance"].iloc[rows])
    assert pd.Series(as_text(texts(left, "attendance", "student_id"))).equals(
        pd.Series(as_text(texts(alone, "attendance", "student_id")))
    )
    for name in ("date", "recorded_at"):
        assert days(left, "attendance", name).tolist() == days(alone, "attendance", name).tolist()
    filled = with_dates(left, "attendance", "recorded_at", np.full(len(rows), 3))
    assert days(filled, "attendance", "recorded_at").tolist() == [3] * len(rows)
    assert filled["attendance"]["recorded_at"].eq(pd.Timestamp("1970-01-04")).all()
    assert days(left, "attendance", "recorded_at").tolist() == days(alone, "attendance", "recorded_at").tolist()


@given(st.lists(IDS, max_size=20), st.lists(IDS, max_size=20))
def test_texts_are_matched_as_a_search_matches_them(one: list[str | None], other: list[str | None]) -> None:
    left, right = (coded(pd.Series(values, dtype="str")) for values in (one, other))
    names = list(right.names)
    assert matched(left, right).tolist() == [names.index(text) if text in names else -1 for text in one]
    assert first_rows(right).tolist() == [other.index(name) for name in names]


def test_what_is_missing_is_spread_as_missing() -> None:
    some = Coded(np.array([1, -1, 0], dtype=np.int32), np.array(["a", "b"], dtype=object))
    assert spread(some, np.array([5, 6])).tolist() == [6, -1, 5]
    assert spread(some, np.array([0.5, 1.5]), np.nan).tolist()[::2] == [1.5, 0.5]


def test_numbers_and_flags_keep_what_is_missing_apart() -> None:
    frame = pd.DataFrame({"distance_km": [1.5, None], "boarding": pd.array([None, False], dtype="boolean")})
    tables = Tables({"enrolments": frame})
    assert np.array_equal(numbers(tables, "enrolments", "distance_km"), [1.5, np.nan], equal_nan=True)
    assert flags(tables, "enrolments", "boarding").tolist() == [-1, 0]


def test_keys_of_very_many_values_do_not_overflow() -> None:
    n = 40_000
    frame = pd.DataFrame(
        {
            "student_id": pd.Series([f"s{i}" for i in range(n)], dtype="str"),
            "term": pd.Series([f"t{i % 7}" for i in range(n)], dtype="str"),
            "subject": pd.Series([f"m{i}" for i in range(n)], dtype="str"),
            "exam_date": pd.Series(pd.to_datetime(["1900-01-01", "2100-12-31"] * (n // 2))).astype("datetime64[us]"),
            "exam": pd.Categorical(["final"] * n, list(TABLES["grades"]["exam"].allowed)),
        }
    )
    twice = pd.concat([frame, frame.tail(1)], ignore_index=True)
    keys = row_keys(Tables({"grades": twice}), "grades", list(twice.columns) * 2)
    assert (keys >= 0).all()
    assert np.flatnonzero(repeats(keys)).tolist() == [n - 1, n]


def test_an_array_is_made_once_for_all_copies_that_hold_the_frame() -> None:
    frame = pd.DataFrame({"term": pd.Series(["a"], dtype="str")})
    tables = Tables({"terms": frame, "schools": frame})
    copy = tables.replace(schools=frame.copy())
    assert texts(copy, "terms", "term") is texts(tables, "terms", "term")
    assert texts(copy, "schools", "term") is not texts(tables, "schools", "term")


def test_a_frame_is_made_when_it_is_asked_for_and_once() -> None:
    made = []

    def make() -> pd.DataFrame:
        made.append(1)
        return pd.DataFrame({"term": ["a"]})

    tables = Tables({}).with_frame("terms", make, {})
    copy = tables.replace(schools=pd.DataFrame())
    assert not made
    assert copy["terms"] is tables["terms"] is tables.only("terms")["terms"]
    assert made == [1]


def exams_of(marks: list[list[float]]) -> Marks:
    """Return marks of nobody, a list for each exam."""
    nobody = Coded(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=object))
    exam = np.repeat(np.arange(len(marks)), [len(own) for own in marks])
    names = [f"exam {place}" for place in range(len(marks))]
    return Marks(nobody, nobody, exam >= 0, exam, names, np.concatenate(marks), exam < 0)


@given(
    st.lists(
        st.lists(st.floats(0, 1).map(lambda mark: round(mark, 6)), min_size=1, max_size=30), min_size=1, max_size=5
    )
)
def test_quantiles_of_many_exams_are_those_of_numpy(exams: list[list[float]]) -> None:
    marks = exams_of(exams)
    assert {name: grid.tolist() for name, grid in marks.grids().items()} == {
        name: np.quantile(own, QUANTILES).round(6).tolist() for name, own in zip(marks.exams, exams, strict=True)
    }


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, np.nan]) | st.floats(0, 1), min_size=1, max_size=20),
        min_size=1,
        max_size=4,
    ),
    st.sets(st.integers(0, 3)),
)
def test_a_mark_is_placed_as_two_searches_on_its_grid_place_it(exams: list[list[float]], known: set[int]) -> None:
    marks = exams_of(exams)
    given = Reference("2020-01-17", {f"exam {place}": np.linspace(0, 1, 101).tolist() for place in known})
    grids = marks.grids() | {exam: given.grid(exam) for exam in given.exams}
    expected = [
        -1 if np.isnan(mark) else sum(int(np.searchsorted(grids[exam], mark, side)) for side in ("left", "right"))
        for exam, own in zip(marks.exams, exams, strict=True)
        for mark in own
    ]
    assert marks.places(given).tolist() == expected
    assert marks.places().tolist() == marks.places(Reference("2020-01-17")).tolist()


def test_an_exam_that_is_known_needs_no_grid_of_its_own() -> None:
    assert list(exams_of([[0.5], [0.25], [np.nan]]).grids(besides={"exam 0"})) == ["exam 1"]


@pytest.mark.parametrize("keys", [[], [4, 0, 4, 2], [10**15, 3, 10**15]])
def test_keys_are_numbered_in_their_order_however_large(keys: list[int]) -> None:
    place, distinct = numbered(np.array(keys, dtype=np.int64))
    assert distinct.tolist() == sorted(set(keys))
    assert distinct[place].tolist() == keys


@pytest.mark.parametrize("values", [[], [None], ["2020-01-03", None], ["2020-01-03", "2020-01-01", "2020-01-03"]])
def test_distinct_days_come_in_the_order_of_time(values: list[str | None]) -> None:
    frame = pd.DataFrame({"start": pd.to_datetime(pd.Series(values, dtype=object)).astype("datetime64[us]")})
    tables = Tables({"terms": frame})
    place, distinct = distinct_days(tables, "terms", "start")
    assert distinct[place].tolist() == days(tables, "terms", "start").tolist()
    assert distinct.tolist() == sorted(set(distinct.tolist()))


def test_the_span_of_days_says_where_days_are_missing() -> None:
    dates = pd.DataFrame({"start": pd.to_datetime(["1970-01-03", None]), "end": pd.to_datetime([None, None])})
    tables = Tables({"terms": dates.astype("datetime64[us]")})
    assert span_of_days(tables, "terms", "start") == (NO_DAY, 2)
    assert span_of_days(tables, "terms", "end") == (NO_DAY, NO_DAY)
    told = with_dates(tables, "terms", "end", np.array([5, 4]))
    assert [span_of_days(told, "terms", column) for column in ("start", "end")] == [(NO_DAY, 2), (4, 5)]
    first, last = span_of_days(take_rows(told, "terms", np.zeros(0, dtype=np.int64)), "terms", "end")
    assert first > last


@pytest.mark.parametrize("values", [[], [None], ["2020-01-01", None]])
def test_no_day_stands_for_a_missing_date(values: list[str | None]) -> None:
    frame = pd.DataFrame({"start": pd.to_datetime(pd.Series(values, dtype=object)).astype("datetime64[us]")})
    assert (days(Tables({"terms": frame}), "terms", "start") == NO_DAY).tolist() == [value is None for value in values]
