"""Cohorts: labelled rows of several dates, nobody lost on the way."""

import numpy as np
import pandas as pd
import pytest
from county_builder import AUTUMN, NEXT_AUTUMN, SPRING, build_tables, enrol, shuffle, term_end, weekday_calendar

from dropout_risk.asof import Terms, at_risk
from dropout_risk.audit import AUDIT, audit_columns
from dropout_risk.cohort import cohorts
from dropout_risk.errors import InputError, TableError
from dropout_risk.features import build_features
from dropout_risk.labels import CENSORED, EPISODES, label_outcomes
from dropout_risk.support import help_given
from dropout_risk.synthetic import make_county


@pytest.fixture(scope="module")
def stacked(county):
    return cohorts(county)


def test_it_unpacks_in_four_of_one_length(stacked):
    X, y, groups, term = stacked
    assert len(X) == len(y) == len(groups) == len(term) == len(stacked.schools)
    assert X.index.names == ["term", "student_id"]
    assert X.index.is_unique
    assert set(np.unique(y)) == {0, 1}


def test_every_term_but_the_last_is_there_once(county, stacked):
    terms = Terms.of(county)
    assert sorted(set(stacked.term.tolist())) == list(range(len(terms.names) - 1))
    names = stacked.X.index.get_level_values("term")
    assert [terms.names[i] for i in stacked.term] == names.tolist()


def test_rows_are_those_of_features_and_labels(county, stacked):
    for name in (AUTUMN, NEXT_AUTUMN):
        end = Terms.of(county).end(name)
        labels = label_outcomes(county, end)
        known = labels[~labels["censored"]]
        pd.testing.assert_frame_equal(
            stacked.X.loc[name], build_features(county, end).loc[known.index], check_exact=True
        )
        rows = stacked.X.index.get_level_values("term") == name
        assert stacked.y[rows].tolist() == known["label"].tolist()


def test_rows_and_censored_make_up_everybody_at_risk(county, stacked):
    terms = Terms.of(county)
    censored = [reason for reason in CENSORED if reason in stacked.outcomes]
    for name, end in zip(terms.names, terms.ends, strict=True):
        everybody = len(at_risk(county, end))
        rows = int((stacked.X.index.get_level_values("term") == name).sum())
        assert stacked.outcomes.loc[name].sum() == everybody
        assert rows + stacked.outcomes.loc[name, censored].sum() == everybody
    episodes = [reason for reason in EPISODES if reason in stacked.outcomes]
    assert stacked.outcomes[episodes].to_numpy().sum() == stacked.y.sum()
    assert stacked.outcomes.loc[terms.names[-1], "not_over_yet"] == len(at_risk(county, terms.ends[-1]))


def test_all_rows_of_a_student_share_a_group(stacked):
    students = stacked.X.index.get_level_values("student_id")
    assert pd.Series(stacked.groups).groupby(students).nunique().max() == 1
    assert stacked.schools["school_id"].groupby(students).nunique().max() > 1  # some did change schools


def test_the_group_is_the_first_school_a_student_was_seen_in(county, stacked):
    first = county["enrolments"].sort_values("term").groupby("student_id")["school_id"].first()
    students = stacked.X.index.get_level_values("student_id")
    assert stacked.groups.tolist() == first[students].tolist()


def test_schools_are_those_of_the_day(county, stacked):
    end = term_end(AUTUMN)
    expected = at_risk(county, end)[["school_id", "county_id"]]
    actual = stacked.schools.loc[AUTUMN]
    pd.testing.assert_frame_equal(actual, expected.loc[actual.index], check_names=False)


@pytest.mark.slow
def test_the_order_of_rows_does_not_matter(county, stacked):
    again = cohorts(shuffle(county, 3))
    pd.testing.assert_frame_equal(again.X, stacked.X, check_exact=True)
    assert again.y.tolist() == stacked.y.tolist()
    assert again.groups.tolist() == stacked.groups.tolist()
    pd.testing.assert_frame_equal(again.schools, stacked.schools)


def test_a_school_corrected_later_is_not_that_of_the_day():
    first = enrol("x", AUTUMN, SPRING, recorded_at="2019-09-03")
    corrected = enrol("x", AUTUMN, school="B", recorded_at="2020-06-01")
    for rows in (first + corrected, corrected + first):
        made = cohorts(build_tables(enrolments=rows, calendar=weekday_calendar()), as_of=[term_end(AUTUMN)])
        assert made.schools["school_id"].tolist() == ["A"]


@pytest.mark.slow
def test_two_dates_of_one_term_are_two_sets_of_rows(county):
    days = ["2019-11-15", "2020-01-17"]
    X, y, groups, term = made = cohorts(county, as_of=days)
    assert len(X) == len(y) == len(groups) == len(term) == len(made.schools)
    alone = [cohorts(county, as_of=[day]) for day in days]
    assert len(X) == sum(len(part.X) for part in alone)
    assert y.tolist() == [label for part in alone for label in part.y]
    np.testing.assert_array_equal(X.to_numpy(), np.concatenate([part.X.to_numpy() for part in alone]))


def test_settings_are_passed_on(county):
    strict = cohorts(county, as_of=[term_end(AUTUMN)], preset="yunnan-2022")
    loose = cohorts(county, as_of=[term_end(AUTUMN)])
    assert strict.y.sum() > loose.y.sum()
    longer = cohorts(county, as_of=[term_end(AUTUMN)], horizon=2)
    assert longer.y.sum() > loose.y.sum()
    with pytest.raises(InputError):
        cohorts(county, preset="none")


def test_progress_names_each_term():
    done = []
    tables = build_tables(enrolments=enrol("x", AUTUMN, SPRING, NEXT_AUTUMN), calendar=weekday_calendar())
    cohorts(tables, progress=done.append)
    assert done == [AUTUMN, SPRING, NEXT_AUTUMN]


def test_without_any_known_outcome_the_reader_is_told_why(county):
    with pytest.raises(TableError, match=r"No student has a known outcome.*not_over_yet"):
        cohorts(county, as_of=[Terms.of(county).ends[-1]])


def test_who_transfers_for_nowhere_is_counted_and_left_out():
    rows = enrol("x", AUTUMN) + enrol("y", AUTUMN, SPRING, NEXT_AUTUMN)
    tables = build_tables(
        enrolments=rows,
        calendar=weekday_calendar(),
        status_changes=[{"student_id": "x", "date": "2020-02-20", "change": "transfer_out"}],
    )
    made = cohorts(tables, as_of=[term_end(AUTUMN)])
    assert made.X.index.get_level_values("student_id").tolist() == ["y"]
    assert made.outcomes.loc[AUTUMN].to_dict() == {"transfer_not_confirmed": 1, "stayed": 1}


@pytest.mark.slow
def test_audit_and_help_are_those_of_the_day():
    county = make_county(200, terms=4, grades=(6, 9), counties=2, seed=2, daily=False, help_from=2)
    made = cohorts(county)
    assert made.audit.index.equals(made.X.index) and list(made.audit) == list(AUDIT)
    assert not set(made.audit) & set(made.X) - {"boarding", "grade"}
    terms = Terms.of(county)
    for position, name in enumerate(terms.names[:3]):
        rows = made.term == position
        students = made.X.index[rows].get_level_values("student_id")
        end = terms.ends[position + 1]
        assert (made.window_end[rows] == end.to_datetime64()).all()
        expected = audit_columns(county, terms.ends[position], students)
        pd.testing.assert_frame_equal(made.audit.loc[name], expected, check_names=False)
        helped = help_given(county, terms.ends[position], end, students)
        assert made.helped[rows].tolist() == helped.tolist()
        assert made.helped[rows].any() == (position > 0)


def test_a_county_that_comes_later_is_a_level_of_the_audit_too():
    rows = enrol("x", AUTUMN, SPRING, NEXT_AUTUMN) + enrol("y", SPRING, NEXT_AUTUMN, school="B")
    schools = [{"school_id": "A", "county_id": "990102"}, {"school_id": "B", "county_id": "990101"}]
    made = cohorts(build_tables(enrolments=rows, schools=schools, calendar=weekday_calendar()))
    students = made.X.index.get_level_values("student_id")
    assert made.audit["county"].tolist() == [{"x": "990102", "y": "990101"}[student] for student in students]
    assert made.audit["county"].cat.categories.tolist() == ["990101", "990102"] and made.audit["county"].cat.ordered


@pytest.mark.slow
def test_the_export_date_and_the_horizon_bound_the_help_that_is_seen():
    tables = build_tables(
        enrolments=enrol("x", AUTUMN, SPRING, NEXT_AUTUMN) + enrol("y", AUTUMN, SPRING, NEXT_AUTUMN),
        calendar=weekday_calendar(),
        interventions=[
            {"student_id": "x", "date": "2020-09-10", "kind": "phone"},
            {"student_id": "y", "date": "2020-03-10", "kind": "phone", "recorded_at": "2021-06-01"},
        ],
    )
    assert cohorts(tables, as_of=[term_end(AUTUMN)]).helped.tolist() == [False, True]
    assert cohorts(tables, as_of=[term_end(AUTUMN)], horizon=2).helped.tolist() == [True, True]
    assert cohorts(tables, as_of=[term_end(AUTUMN)], known_by="2020-09-01").helped.tolist() == [False, False]
