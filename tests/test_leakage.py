"""Landmines: what lies after the as-of date is changed, deleted or planted, and nothing may show it.

Every test takes the features, labels or scores of a clean county, buries something in its tables, and asks
for exactly the same numbers again.
"""

import numpy as np
import pandas as pd
import pytest
from county_builder import AUTUMN, NEXT_AUTUMN, SPRING, build_table, term_end

from dropout_risk.asof import event_dates
from dropout_risk.cohort import cohorts
from dropout_risk.descriptions import FEATURES
from dropout_risk.features import MONOTONE, build_features
from dropout_risk.labels import label_outcomes
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.schema import NEVER_READ_HEADERS, REFUSED_HEADERS, TABLES, Tables
from dropout_risk.tables import make_tables

DAYS = ("2020-01-17", "2020-04-15", "2020-07-10")
EVERY_DAY = [pytest.param(DAYS[0], marks=pytest.mark.slow), DAYS[1], pytest.param(DAYS[2], marks=pytest.mark.slow)]
DATED = [name for name, table in TABLES.items() if table.has_recorded_at]
TELLING = {
    "attendance": {"code": "U"},
    "grades": {"score": 0.0, "absent": True},
    "households": {"poverty": "registered", "mother_away": True, "siblings": 9.0},
    "status_changes": {"change": "dropout"},
    "enrolments": {"distance_km": 99.0, "travel_minutes": 300.0, "boarding": True, "grade": 9.0, "migrant": True},
    "calendar": {"is_school_day": False},
}
"""What a leak would look like: values that no model could overlook."""


@pytest.fixture(scope="module")
def model(county):
    X, y, groups, term = cohorts(county, as_of=[term_end(AUTUMN)])
    return DropoutRiskClassifier(monotone=MONOTONE, n_estimators=20).fit(X, y, groups=groups, term=term)


class Clean(dict):
    """Features and scores of the untouched county by day, computed when first asked for."""

    def __init__(self, county, model):
        self.county, self.model = county, model

    def __missing__(self, day):
        self[day] = numbers_of(self.county, day, self.model)
        return self[day]


@pytest.fixture(scope="module")
def clean(county, model):
    return Clean(county, model)


def numbers_of(tables, day, model):
    X = build_features(tables, day)
    return X, model.predict_proba(X)[:, 1]


def assert_same(actual, expected):
    pd.testing.assert_frame_equal(actual[0], expected[0], check_exact=True)
    assert actual[1].tolist() == expected[1].tolist()


def is_later(tables, name, day):
    """Return which rows of a table had not happened or had not been recorded by `day`."""
    return (event_dates(tables, name) > day) | (tables[name]["recorded_at"] > day)


def later_rows_changed(tables, day, change):
    """Return the tables with the rows after `day` of every dated table passed through `change`."""
    frames = {}
    for name in tables:
        if name in DATED:
            later = is_later(tables, name, day)
            frames[name] = pd.concat([tables[name][~later], change(name, tables[name][later])], ignore_index=True)
    return tables.replace(**frames)


def scrambled(name, rows):
    """Return rows in which every column but the keys, dates and terms is dealt anew."""
    rng = np.random.default_rng(0)
    fixed = {*TABLES[name].key, TABLES[name].event, "recorded_at", "term"}
    return rows.assign(
        **{column: rng.permutation(rows[column].array) for column in rows.columns if column not in fixed}
    ).astype(rows.dtypes)


def told(name, rows):
    return rows.assign(**TELLING.get(name, {})).astype(rows.dtypes)


CHANGES = {
    "changed at random": scrambled,
    "deleted": lambda name, rows: rows.iloc[:0],
    "doubled": lambda name, rows: pd.concat([rows, rows]),
    "planted": told,
}


@pytest.mark.parametrize("day", EVERY_DAY)
@pytest.mark.parametrize("change", CHANGES)
def test_what_comes_later_changes_no_feature_and_no_score(county, clean, model, day, change):
    mined = later_rows_changed(county, day, CHANGES[change])
    assert_same(numbers_of(mined, day, model), clean[day])


def recorded_later(tables, day):
    """Return corrections of everything that was known on `day`: telling values, recorded the day after."""
    after = pd.Timestamp(day) + pd.Timedelta(days=1)
    frames = {}
    for name in TELLING:
        known = tables[name][~is_later(tables, name, day)]
        frames[name] = told(name, known).assign(recorded_at=after).astype(known.dtypes)
    return frames


@pytest.mark.parametrize("day", EVERY_DAY)
def test_what_happened_before_and_was_recorded_later_is_invisible(county, clean, model, day):
    late = recorded_later(county, day)
    mined = county.replace(**{name: pd.concat([county[name], rows], ignore_index=True) for name, rows in late.items()})
    assert_same(numbers_of(mined, day, model), clean[day])


@pytest.mark.slow
def test_the_same_landmines_go_off_once_they_are_known(county, clean):
    """A test of these tests: recorded on the day itself the corrections must show."""
    day = DAYS[1]
    late = {name: rows.assign(recorded_at=pd.Timestamp(day)) for name, rows in recorded_later(county, day).items()}
    for name, rows in late.items():
        rows = rows.astype(county[name].dtypes)
        mined = county.replace(**{name: pd.concat([county[name], rows], ignore_index=True)})
        assert not build_features(mined, day).equals(clean[day][0]), name


def outcome_codes(county, term, day):
    """Return rows that give away who will leave, in every table, recorded on the day after `day`."""
    oracle = county.oracle[(county.oracle["term"] == term) & county.oracle["leaves"]]
    after = pd.Timestamp(day) + pd.Timedelta(days=1)
    rows = {
        "attendance": {"date": day, "code": "U"},
        "grades": {"term": term, "subject": "math", "exam": "joint", "exam_date": day, "absent": True},
        "households": {"poverty": "registered", "mother_away": True, "siblings": 15, "valid_from": day},
        "status_changes": {"date": day, "change": "dropout"},
        "interventions": {"date": day, "kind": "home_visit"},
        "attendance_counts": {"term": term, "days_reported": 9, "days_absent": 9, "longest_absence": 9},
        "enrolments": {"term": term, "school_id": "GONE", "grade": 1, "distance_km": 300, "enrolled_on": day},
    }
    return {
        name: build_table(name, [{"student_id": s, "recorded_at": after} | row for s in oracle["student_id"]])
        for name, row in rows.items()
    }


@pytest.mark.parametrize(("term", "day"), [(AUTUMN, DAYS[0]), pytest.param(SPRING, DAYS[2], marks=pytest.mark.slow)])
def test_a_planted_outcome_is_not_found(county, clean, model, term, day):
    planted = outcome_codes(county, term, day)
    assert all(len(rows) >= 5 for rows in planted.values())
    mined = county.replace(
        **{
            name: pd.concat([county[name], rows], ignore_index=True) if name in county else rows
            for name, rows in planted.items()
        }
    )
    assert_same(numbers_of(mined, day, model), clean[day])


@pytest.mark.slow
def test_terms_to_come_change_nothing(county, clean, model):
    day = DAYS[1]
    terms = county["terms"]
    mined = county.replace(terms=terms[terms["start"] <= day])
    assert_same(numbers_of(mined, day, model), clean[day])


# --- outcomes -----------------------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize("change", ["planted", *(pytest.param(c, marks=pytest.mark.slow) for c in list(CHANGES)[:3])])
def test_later_terms_change_nothing_in_earlier_cohorts(county, change):
    known_by = term_end(SPRING) + pd.Timedelta(days=30)  # then the outcomes of the autumn cohort are in
    mined = later_rows_changed(county, known_by, CHANGES[change])
    before, after = (cohorts(tables, as_of=[term_end(AUTUMN)], known_by=known_by) for tables in (county, mined))
    pd.testing.assert_frame_equal(before.X, after.X, check_exact=True)
    assert before.y.tolist() == after.y.tolist()
    assert before.y.sum() > 5
    pd.testing.assert_frame_equal(before.outcomes, after.outcomes)


@pytest.mark.slow
def test_outcomes_of_later_terms_change_no_earlier_label(county):
    known_by = term_end(SPRING) + pd.Timedelta(days=30)
    changes = county["status_changes"]
    later = changes["recorded_at"] > known_by
    rng = np.random.default_rng(1)
    dealt = changes.assign(student_id=changes["student_id"].mask(later, rng.permutation(changes["student_id"])))
    labels = [
        label_outcomes(tables, term_end(AUTUMN), known_by=known_by)
        for tables in (county, county.replace(status_changes=dealt))
    ]
    pd.testing.assert_frame_equal(*labels)
    last = [label_outcomes(tables, term_end(NEXT_AUTUMN)) for tables in (county, county.replace(status_changes=dealt))]
    assert not last[0].equals(last[1])  # the landmine was live


# --- what never is a feature --------------------------------------------------------------------------


def test_no_identity_and_no_audit_column_is_a_feature():
    private = {
        column.name
        for table in TABLES.values()
        for column in table.columns
        if column.role in ("identity", "audit", "label")
    }
    assert {"name", "id_number", "sex", "disability", "kind"} <= private
    assert not private & set(FEATURES)


@pytest.mark.slow
def test_identities_and_audit_columns_change_no_feature(county, clean, model):
    rng = np.random.default_rng(2)
    frames = {}
    for name, frame in county.items():
        columns = [c.name for c in TABLES[name].columns if c.role in ("identity", "audit", "label")]
        frames[name] = frame.assign(**{c: rng.permutation(frame[c].array) for c in columns})
    assert_same(numbers_of(county.replace(**frames), DAYS[1], model), clean[DAYS[1]])


@pytest.mark.slow
def test_help_that_was_given_changes_no_feature(county, clean, model):
    students = county["students"]["student_id"].sample(frac=0.5, random_state=0)
    helped = build_table(
        "interventions", [{"student_id": s, "date": "2019-12-02", "kind": "home_visit"} for s in students]
    )
    mined = county.replace(interventions=helped)
    assert_same(numbers_of(mined, DAYS[1], model), clean[DAYS[1]])


@pytest.mark.parametrize("header", [*REFUSED_HEADERS, *NEVER_READ_HEADERS, "宗教信仰(选填)", "Religion of family"])
def test_belief_ethnicity_and_address_never_get_in(header):
    frame = pd.DataFrame({"student_id": ["x"], "school_id": ["A"], "term": [AUTUMN], "grade": [7], header: ["z"]})
    tables = make_tables({"enrolments": frame})
    assert list(tables["enrolments"].columns) == TABLES["enrolments"].names
    assert not tables["enrolments"].isin(["z"]).any(axis=None)


@pytest.mark.slow
def test_a_column_that_got_in_by_force_is_not_read(county, clean, model):
    leaves = county.oracle.drop_duplicates("student_id", keep="last").set_index("student_id")["leaves"]
    frames = {}
    for name, frame in county.items():
        if "student_id" in frame:
            secret = frame["student_id"].map(leaves)
            frames[name] = frame.assign(religion=secret, ethnicity=secret, leaves=secret, label=secret)
    mined = Tables({**county, **frames})
    assert_same(numbers_of(mined, DAYS[1], model), clean[DAYS[1]])


def test_no_schema_column_is_called_like_a_refused_one():
    refused = {header.lower() for header in (*REFUSED_HEADERS, *NEVER_READ_HEADERS)}
    known = {h.lower() for table in TABLES.values() for column in table.columns for h in column.headers}
    assert not refused & known
    assert not refused & set(FEATURES)
