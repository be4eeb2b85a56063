"""Every feature against a slow, obvious computation for one student after another."""

import numpy as np
import pandas as pd
import pytest
from county_builder import (
    AUTUMN,
    SPRING,
    build_tables,
    enrol,
    shuffle,
    term_end,
    weekday_calendar,
)

from dropout_risk.asof import at_risk, on_roll, to_day
from dropout_risk.descriptions import FEATURES, GROUPS, MEASURES, RULE_LABELS, SHOWN
from dropout_risk.features import MONOTONE, RANDOM_RULE, RULES, build_features, rule_scores
from dropout_risk.reference import Reference, build_reference
from dropout_risk.schema import Tables
from dropout_risk.synthetic import make_county

END = term_end(AUTUMN)
DATES = ["2020-05-08", *(pytest.param(d, marks=pytest.mark.slow) for d in ("2019-11-20", "2020-01-17", "2021-01-15"))]

# --- the oracle ---------------------------------------------------------------------------------------
# Plain loops over rows, written from the descriptions. The simulated county has one record per key and a
# county-wide calendar, so that corrections and schools' own days are left to the tests by hand below.


def seen(frame, event, day):
    """Return the rows that had happened and were recorded by `day`, as dicts."""
    frame = frame[(frame[event] <= day) & (frame["recorded_at"] <= day)]
    return frame.to_dict("records")


class County:
    """What was known of a county on a day, in plain dicts."""

    def __init__(self, tables, day):
        self.day = day = pd.Timestamp(day)
        self.terms = tables["terms"].sort_values("start").to_dict("records")
        self.names = [term["term"] for term in self.terms]
        begun = [term["term"] for term in self.terms if term["start"] <= day]
        self.now = begun[-1]
        self.last = begun[-2] if len(begun) > 1 else None
        self.county_of = dict(zip(tables["schools"]["school_id"], tables["schools"]["county_id"], strict=True))
        self.birth = dict(zip(tables["students"]["student_id"], tables["students"]["birth_date"], strict=True))
        self.school_days = [
            row["date"] for row in seen(tables["calendar"].assign(known=day), "known", day) if row["is_school_day"]
        ]
        self.enrolments = {
            (row["term"], row["student_id"]): row for row in seen(tables["enrolments"], "enrolled_on", day)
        }
        self.households = seen(tables["households"], "valid_from", day)
        self.codes = {(r["student_id"], r["date"]): r["code"] for r in seen(tables["attendance"], "date", day)}
        self.grades = seen(tables["grades"], "exam_date", day)
        self.changes = sorted(seen(tables["status_changes"], "date", day), key=lambda row: row["date"])

    def term(self, name):
        return self.terms[self.names.index(name)]

    def gone(self, student, term, by):
        """Return whether a student of `term` had left for good by the day `by`."""
        begun = self.enrolments[term, student]["enrolled_on"]
        mine = [c for c in self.changes if c["student_id"] == student and c["date"] <= by and c["recorded_at"] <= by]
        if not mine or mine[-1]["date"] < begun:
            return False
        if mine[-1]["change"] == "transfer_out":
            return not pd.isna(mine[-1]["arrival_date"]) and mine[-1]["arrival_date"] <= by
        return mine[-1]["change"] in ("dropout", "suspended", "graduated", "died", "emigrated")

    def at_risk(self, term, by):
        summer = term.endswith("-2")
        return sorted(
            student
            for (name, student), row in self.enrolments.items()
            if name == term
            and row["enrolled_on"] <= by
            and row["recorded_at"] <= by
            and not (summer and row["grade"] == 9)
            and not self.gone(student, term, by)
        )

    def days(self, student, term):
        """Return (day, code) of each school day of `term` up to today that was not closed."""
        start, end = self.term(term)["start"], min(self.day, self.term(term)["end"])
        codes = [(day, self.codes.get((student, day))) for day in sorted(self.school_days) if start <= day <= end]
        return [(day, code) for day, code in codes if code != "X"]

    def absence_rate(self, student, term):
        if term is None or (term, student) not in self.enrolments:
            return np.nan
        reported = [code for _, code in self.days(student, term) if code not in (None, "N")]
        return sum(code in "SAU" for code in reported) / len(reported) if reported else np.nan

    def household(self, student):
        mine = [row for row in self.households if row["student_id"] == student]
        return max(mine, key=lambda row: row["valid_from"]) if mine else None

    def poverty(self, student):
        row = self.household(student)
        if row is None:
            return np.nan
        if not pd.isna(row["valid_to"]) and row["valid_to"] < self.day:
            return 0.0
        return {"none": 0.0, "marginal": 1.0, "sudden": 1.0, "minimum_living": 2.0, "registered": 2.0}[row["poverty"]]

    def marks(self):
        """Return for each (student, term, subject, exam) the place among those who took the same exam."""
        taken: dict = {}
        for row in self.grades:
            at = self.enrolments.get((row["term"], row["student_id"]))
            if at is None or row["absent"] or pd.isna(row["score"]):
                continue
            exam = (self.county_of[at["school_id"]], row["term"], at["grade"], row["subject"], row["exam"])
            taken.setdefault(exam, {})[row["student_id"]] = row["score"] / row["full_mark"]
        places = {}
        for (_, term, _, subject, exam), marks in taken.items():
            for student, mark in marks.items():
                others = [m for s, m in marks.items() if s != student]
                below = sum(m < mark for m in others) + sum(m == mark for m in others) / 2
                places[student, term, subject, exam] = below / len(others) if others else 0.5
        return places

    def leaving_rates(self):
        """Return episodes per student and term of each school over four terms, drawn to the county's rate."""
        outcomes = []
        for past in self.names[max(0, self.names.index(self.now) - 4) : self.names.index(self.now)]:
            window = self.term(self.names[self.names.index(past) + 1])
            outcomes += self.past_outcomes(past, window)
        schools = {row["school_id"] for row in self.enrolments.values()}
        left = [episode for _, episode in outcomes]
        overall = sum(left) / len(left) if left else np.nan
        rates = {}
        for school in schools:
            own = [episode for at, episode in outcomes if at == school]
            rates[school] = (sum(own) + 20 * overall) / (len(own) + 20)
        return rates

    def past_outcomes(self, past, window):
        end = self.term(past)["end"]
        tenth = [day for day in sorted(self.school_days) if window["start"] <= day <= window["end"]][9]
        for student in self.at_risk(past, end):
            school = self.enrolments[past, student]["school_id"]
            mine = [c for c in self.changes if c["student_id"] == student and c["date"] <= window["end"]]
            after = [c["change"] for c in mine if c["date"] > end]
            moved = [
                c for c in mine if c["change"] == "transfer_out" and (c["date"] > end or not c["arrival_date"] <= end)
            ]
            back = self.enrolments.get((window["term"], student))
            if "dropout" in after:
                yield school, 1
            elif set(after) & {"graduated", "died", "emigrated", "suspended"}:
                yield school, 0
            elif back is None and moved:
                if any(c["arrival_date"] <= self.day for c in moved):
                    yield school, 0
            elif back is None:
                yield school, 1
            else:
                yield school, int(back["enrolled_on"] > tenth)


def slow_features(tables, day):
    county = County(tables, day)
    students = county.at_risk(county.now, county.day)
    places, leaving = county.marks(), county.leaving_rates()
    rows = {student: one_student(county, student, places) for student in students}
    by_school: dict = {}
    for student in students:
        by_school.setdefault(county.enrolments[county.now, student]["school_id"], []).append(student)
    for school, members in by_school.items():
        absence = [rows[s]["absence_rate"] for s in members if not np.isnan(rows[s]["absence_rate"])]
        poverty = [rows[s]["poverty_level"] == 2 for s in members if not np.isnan(rows[s]["poverty_level"])]
        for student in members:
            rows[student] |= {
                "school_leaving_rate": leaving[school],
                "school_absence_rate": np.mean(absence) if absence else np.nan,
                "school_poverty_share": np.mean(poverty) if poverty else np.nan,
                "school_size": len(members),
            }
    return pd.DataFrame.from_dict(rows, orient="index")[list(FEATURES)].astype("float64")


def one_student(county, student, places):
    at = county.enrolments[county.now, student]
    return {
        **attendance_of(county, student),
        **learning_of(county, student, places),
        **home_of(county, student),
        "distance_km": at["distance_km"],
        "travel_minutes": at["travel_minutes"],
        "boarding": float(at["boarding"]),
        "migrant": float(at["migrant"]),
        "parents_away": {"none": 0, "one_parent": 1, "both_parents": 2}[at["left_behind"]],
        "grade": at["grade"],
        "years_over_age": age_on(pd.Timestamp(f"{county.now[:4]}-09-01"), county.birth[student]) - at["grade"] - 5,
        "before_summer": float(county.now.endswith("-2")),
    }


def age_on(day, birth):
    return day.year - birth.year - ((birth.month, birth.day) > (day.month, day.day))


def attendance_of(county, student):
    days = county.days(student, county.now)
    reported = [(day, code) for day, code in days if code not in (None, "N")]
    codes = [code for _, code in reported]
    recent = [code for day, code in days[-20:] if code not in (None, "N")]
    runs = "".join("A" if code in "SAU" else "." for code in codes).split(".")
    edge = [code in "SAU" for day, code in reported if day.day_name() in ("Monday", "Friday")]
    other = [code in "SAU" for day, code in reported if day.day_name() not in ("Monday", "Friday")]
    known = bool(codes)
    rate = county.absence_rate(student, county.now)
    return {
        "absence_rate": rate,
        "absent_days_20": sum(code in "SAU" for code in recent) if recent else np.nan,
        "unexcused_rate": codes.count("U") / len(codes) if known else np.nan,
        "longest_absence": max(map(len, runs)) if known else np.nan,
        "absence_run_now": len(runs[-1]) if known else np.nan,
        "absence_change": rate - county.absence_rate(student, county.last),
        "edge_day_gap": np.mean(edge) - np.mean(other) if edge and other else np.nan,
        "late_rate": sum(code in "LE" for code in codes) / len(codes) if known else np.nan,
        "not_reported_rate": 1 - len(reported) / len(days),
    }


def learning_of(county, student, places):
    mine = {key[1:]: place for key, place in places.items() if key[0] == student}

    def mean(term, subject=None):
        marks = [p for (t, s, _), p in mine.items() if t == term and subject in (None, s)]
        return np.mean(marks) if marks else np.nan

    def weakest(term):
        return min((mean(term, s) for t, s, _ in mine if t == term), default=np.nan)

    def or_last_term(value, earlier):
        return earlier if np.isnan(value) else value

    entered = [row for row in county.grades if row["student_id"] == student and row["term"] == county.now]
    return {
        "score_level": or_last_term(mean(county.now), mean(county.last)),
        "score_lowest": or_last_term(weakest(county.now), weakest(county.last)),
        "score_trend": mean(county.now) - mean(county.last),
        "exams_missed": sum(row["absent"] for row in entered) if entered else np.nan,
    }


def home_of(county, student):
    row = county.household(student)
    return {
        "poverty_level": county.poverty(student),
        "mother_away": float(row["mother_away"]) if row else np.nan,
        "siblings": row["siblings"] if row else np.nan,
    }


PERCENTILES = ["score_level", "score_lowest", "score_trend"]


@pytest.mark.slow
@pytest.mark.parametrize("day", DATES)
def test_every_column_equals_the_slow_way(small_county, day):
    actual, expected = build_features(small_county, day), slow_features(small_county, day)
    assert (expected.nunique() > 1).sum() >= 20  # there is something to compare
    assert actual.index.tolist() == expected.index.tolist()
    assert actual.columns.tolist() == expected.columns.tolist()
    exact = [name for name in FEATURES if name not in PERCENTILES]
    pd.testing.assert_frame_equal(actual[exact], expected[exact], rtol=0, atol=1e-6, check_names=False)
    # places are read off a grid of 101 quantiles
    pd.testing.assert_frame_equal(actual[PERCENTILES], expected[PERCENTILES], rtol=0, atol=0.025, check_names=False)


# --- by hand ------------------------------------------------------------------------------------------


def features_of(day=END, student="x", **tables):
    tables.setdefault("enrolments", enrol("x", AUTUMN))
    tables.setdefault("calendar", weekday_calendar())
    return build_features(build_tables(**tables), day).loc[student]


def test_what_nobody_wrote_down_is_missing_and_not_zero():
    row = features_of()
    known = {"grade", "before_summer", "not_reported_rate", "school_size"}
    assert set(row.index[row.notna()]) == known
    assert row["not_reported_rate"] == 1


def test_without_household_records_a_schools_share_of_poor_students_is_not_known():
    households = [{"student_id": "b", "poverty": "none", "valid_from": "2019-09-01"}]
    enrolments = enrol("x", AUTUMN) + enrol("b", AUTUMN, school="B")
    row = features_of(enrolments=enrolments, households=households)
    assert np.isnan(row["school_poverty_share"])
    assert features_of(student="b", enrolments=enrolments, households=households)["school_poverty_share"] == 0


def poverty_on(day, *rows):
    rows = [dict(zip(("poverty", "valid_from", "valid_to", "recorded_at"), row, strict=False)) for row in rows]
    return features_of(day, households=[{"student_id": "x"} | row for row in rows])["poverty_level"]


@pytest.mark.parametrize(
    ("status", "level"), [("none", 0), ("marginal", 1), ("sudden", 1), ("minimum_living", 2), ("registered", 2)]
)
def test_poverty_is_an_ordered_level(status, level):
    assert poverty_on(END, (status, "2019-09-01")) == level


def test_poverty_is_that_of_the_day():
    became_poor = (("none", "2018-01-01"), ("registered", "2020-01-10"))
    assert poverty_on("2020-01-09", *became_poor) == 0
    assert poverty_on("2020-01-10", *became_poor) == 2
    left_poverty = ("registered", "2018-01-01", "2020-01-12")
    assert poverty_on("2020-01-10", left_poverty) == 2
    assert poverty_on("2020-01-13", left_poverty) == 0


def test_poverty_holds_to_the_last_day_of_its_validity():
    assert poverty_on("2020-01-12", ("registered", "2018-01-01", "2020-01-12")) == 2


def test_poverty_that_became_known_later_does_not_show():
    late = (("none", "2018-01-01"), ("registered", "2019-09-01", None, "2020-02-01"))
    assert poverty_on(END, *late) == 0
    assert poverty_on("2020-02-01", *late) == 2


def test_a_newer_record_without_a_status_makes_the_level_unknown():
    assert np.isnan(poverty_on(END, ("registered", "2018-01-01"), (None, "2019-10-01")))


@pytest.mark.parametrize(
    ("birth", "years"),
    [
        ("2006-09-01", 1),  # thirteen on the day
        ("2006-09-02", 0),  # twelve until the day after
        ("2007-08-31", 0),
        ("2007-09-02", -1),
        ("2004-01-15", 3),
    ],
)
def test_over_age_is_counted_on_the_first_of_september(birth, years):
    """Grade 7 is the grade of those who are twelve at the start of the school year."""
    students = [{"student_id": "x", "birth_date": birth}]
    for term in (AUTUMN, SPRING):
        row = features_of(term_end(term), enrolments=enrol("x", term), students=students)
        assert row["years_over_age"] == years


def exam(student, score, subject="math", exam="final", term=AUTUMN, **facts):
    row = {"student_id": student, "term": term, "subject": subject, "exam": exam, "score": score, "full_mark": 100}
    return row | facts


def test_marks_are_places_within_the_county_grade_and_exam():
    enrolments = [row for name in ("x", "a", "b") for row in enrol(name, AUTUMN)]
    enrolments += enrol("eighth", AUTUMN, grade=8) + enrol("far", AUTUMN, school="C")
    schools = [{"school_id": s, "county_id": c} for s, c in [("A", "990101"), ("C", "990102")]]
    grades = [exam("a", 50), exam("x", 60), exam("b", 70)]
    grades += [exam("eighth", 99), exam("far", 99), exam("a", 99, exam="midterm", subject="chinese")]
    row = features_of(enrolments=enrolments, schools=schools, grades=grades)
    assert row["score_level"] == pytest.approx(0.5)


def test_marks_are_compared_on_one_scale():
    enrolments = [row for name in ("x", "a", "b") for row in enrol(name, AUTUMN)]
    grades = [exam("a", 50), exam("x", 72, full_mark=120), exam("b", 70)]
    assert features_of(enrolments=enrolments, grades=grades)["score_level"] == pytest.approx(0.5)


@pytest.mark.parametrize("missed", [exam("x", None, absent=True), exam("x", 0, absent=True), exam("x", None)])
def test_a_missed_exam_is_not_zero(missed):
    enrolments = [row for name in ("x", "a", "b") for row in enrol(name, AUTUMN)]
    row = features_of(enrolments=enrolments, grades=[exam("a", 50), exam("b", 70), missed])
    assert np.isnan(row["score_level"])
    assert row["exams_missed"] == 1
    others = features_of(student="a", enrolments=enrolments, grades=[exam("a", 50), exam("b", 70), missed])
    assert others["score_level"] < 0.1  # still the lowest: the missed exam is not below it
    assert others["exams_missed"] == 0


def test_a_zero_that_was_written_is_a_zero():
    enrolments = [row for name in ("x", "a", "b") for row in enrol(name, AUTUMN)]
    row = features_of(enrolments=enrolments, grades=[exam("a", 50), exam("b", 70), exam("x", 0)])
    assert row["score_level"] < 0.1
    assert row["exams_missed"] == 0


def test_features_belong_to_one_county_at_a_time():
    """Two counties in one set of tables get what each of them gets alone."""
    both = make_county(240, terms=3, grades=(6, 9), counties=2, seed=1)
    day = both["terms"]["end"].iloc[1]
    everyone = build_features(both, day)
    assert everyone["school_leaving_rate"].nunique() > 1
    for county, schools in both["schools"].groupby("county_id"):
        alone = only_schools(both, schools["school_id"])
        mine = at_risk(both, day)["county_id"] == county
        pd.testing.assert_frame_equal(everyone[mine], build_features(alone, day), check_exact=True)


# --- a part of the county -----------------------------------------------------------------------------


def only_schools(tables, schools):
    """Return the tables of some schools, as these schools would send them."""
    enrolments = tables["enrolments"]
    enrolments = enrolments[enrolments["school_id"].isin(schools)]
    own = {"enrolments": enrolments}
    for name in tables:
        if name != "enrolments" and "student_id" in tables[name]:
            frame = tables[name]
            own[name] = frame[frame["student_id"].isin(enrolments["student_id"])]
    return tables.replace(**own)


@pytest.mark.parametrize("day", [pytest.param("2020-01-17", marks=pytest.mark.slow), "2020-05-08"])
def test_a_schools_roster_gets_the_very_features_of_the_countys_run(county, day):
    everyone, reference = build_features(county, day), build_reference(county, day)
    school_of = at_risk(county, day)["school_id"]
    for school in school_of.unique():
        rows = everyone[school_of == school]
        roster = county.replace(
            **{
                name: frame[frame["student_id"].isin(rows.index)]
                for name, frame in county.items()
                if "student_id" in frame
            }
        )
        again = Reference.from_dict(reference.to_dict())
        actual = build_features(roster, day, reference=again)
        pd.testing.assert_frame_equal(actual, rows, check_exact=True)


def test_the_reference_wins_over_what_the_roster_shows():
    grades = [exam("x", 60)]
    tables = build_tables(enrolments=enrol("x", AUTUMN), grades=grades, calendar=weekday_calendar())
    values = {"county_id": "990101", "leaving_rate": 0.07, "absence_rate": 0.01, "poverty_share": 0.3, "size": 412.0}
    exams = {f"990101|{AUTUMN}|7|math|final": np.linspace(0.59, 0.99, 101).tolist()}
    row = build_features(tables, END, reference=Reference("2020-01-17", exams, {"A": values})).loc["x"]
    assert row["score_level"] < 0.05
    assert row[["school_leaving_rate", "school_absence_rate", "school_poverty_share", "school_size"]].tolist() == [
        0.07,
        0.01,
        0.3,
        412,
    ]
    assert build_features(tables, END).loc["x", "score_level"] == pytest.approx(0.5)  # alone, the middle


def test_a_reference_survives_json(county):
    import json

    reference = build_reference(county, END)
    again = Reference.from_dict(json.loads(json.dumps(reference.to_dict(), allow_nan=False)))
    assert again == reference


# --- the leaving rate of a school ---------------------------------------------------------------------


def leaving_rate(rows, day):
    tables = build_tables(enrolments=rows, calendar=weekday_calendar())
    return build_features(tables, day)["school_leaving_rate"]


def test_a_schools_leaving_rate_is_drawn_towards_the_countys():
    """One of 20 left school A, none of 20 left B: the county's rate is 1 in 40, and each is believed half."""
    rows = [row for i in range(20) for row in enrol(f"a{i}", *([AUTUMN] if i == 0 else [AUTUMN, SPRING]))]
    rows += [row for i in range(20) for row in enrol(f"b{i}", AUTUMN, SPRING, school="B")]
    rate = leaving_rate(rows, term_end(SPRING))
    assert rate["a1"] == pytest.approx((1 / 20 + 1 / 40) / 2)
    assert rate["b1"] == pytest.approx(1 / 80)


def test_the_leaving_rate_waits_for_the_day_by_which_students_must_register():
    """On the second day of term half of the school has not registered yet, and nobody is late."""
    rows = [row for i in range(20) for row in enrol(f"a{i}", AUTUMN)]
    rows += [row for i in range(20) for row in enrol(f"a{i}", SPRING, enrolled_on=f"2020-02-2{4 + 3 * (i % 2)}")]
    rate = leaving_rate(rows, "2020-02-25")
    assert not (rate > 0).any()


# --- any order of rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_rows_does_not_matter(small_county, seed):
    day = "2020-05-08"
    expected = build_features(small_county, day)
    pd.testing.assert_frame_equal(build_features(shuffle(small_county, seed), day), expected, check_exact=True)


def test_the_order_of_rows_does_not_matter_without_a_calendar(small_county):
    tables = small_county.replace(calendar=small_county["calendar"].iloc[:0])
    expected = build_features(tables, "2020-05-08")
    pd.testing.assert_frame_equal(build_features(shuffle(tables, 1), "2020-05-08"), expected, check_exact=True)


# --- descriptions and rules ---------------------------------------------------------------------------


def test_every_feature_is_described():
    for name, feature in FEATURES.items():
        assert feature.name == name
        assert feature.group in GROUPS
        assert feature.measure in MEASURES
        assert feature.show in SHOWN
        assert feature.sign in (-1, 0, 1)
        assert all([feature.zh, feature.en, feature.unit])
    assert {feature.group for feature in FEATURES.values()} == set(GROUPS)
    assert {name: feature.sign for name, feature in FEATURES.items() if feature.sign} == MONOTONE


def test_columns_are_numbers_in_the_order_of_the_descriptions(county):
    X = build_features(county, END)
    assert list(X.columns) == list(FEATURES)
    assert set(X.dtypes.astype(str)) == {"float64"}
    assert X.index.name == "student_id"
    assert X.index.equals(at_risk(county, END).index)
    shares = [name for name in X if name.endswith(("_rate", "_share", "_level", "_lowest"))]
    shares.remove("poverty_level")
    assert X[shares].min().min() >= 0
    assert X[shares].max().max() <= 1


def test_a_county_without_students_has_no_rows():
    tables = build_tables(calendar=weekday_calendar())
    X = build_features(tables, END)
    assert X.shape == (0, len(FEATURES))
    assert isinstance(tables, Tables)


@pytest.fixture
def ranked():
    """Rows with every column of the rules."""
    index = pd.MultiIndex.from_product([["2020-1", "2020-2"], [f"S{i}" for i in range(500)]], names=["term", "id"])
    return pd.DataFrame({column: np.linspace(0, 1, 1000) for column, _ in RULES.values()}, index=index)


def test_rules_rank_by_one_column_and_missing_last():
    X = pd.DataFrame({column: [0.2, np.nan, 0.0, 1.0] for column, _ in RULES.values()})
    scores = rule_scores(X)
    assert list(scores) == [*RULES, RANDOM_RULE]
    assert {"model", *scores} == set(RULE_LABELS)
    for rule, (_, sign) in RULES.items():
        assert np.argsort(-scores[rule]).tolist() == ([3, 0, 2, 1] if sign > 0 else [2, 0, 3, 1])
    nothing = rule_scores(X * np.nan)
    assert all(np.isfinite(score).all() for score in nothing.values())


def test_the_lot_of_a_student_depends_on_the_seed_and_the_name_alone(ranked):
    lots = pd.Series(rule_scores(ranked)[RANDOM_RULE], ranked.index)
    shuffled = ranked.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(lots[shuffled.index], pd.Series(rule_scores(shuffled)[RANDOM_RULE], shuffled.index))
    np.testing.assert_array_equal(rule_scores(ranked.iloc[:50])[RANDOM_RULE], lots[:50])
    assert lots.is_unique
    assert lots.between(0, 1).all()
    other = rule_scores(ranked, seed=1)[RANDOM_RULE]
    assert abs(np.corrcoef(lots, other)[0, 1]) < 0.1
    assert abs(np.corrcoef(lots["2020-1"], lots["2020-2"])[0, 1]) < 0.15
    assert abs(lots.mean() - 0.5) < 0.05


@pytest.mark.parametrize("day", ["2019-12-02", "2020-01-17"])
def test_the_roll_that_features_leave_for_the_scores_is_that_of_the_day(county, day):
    """Attendance of the long past is left out of features; the roll does not depend on it."""
    tables = county.replace(terms=county["terms"])
    build_features(tables, day)
    kept, own = on_roll(tables, to_day(day)), on_roll(county.replace(terms=county["terms"]), to_day(day))
    assert kept.ids.tolist() == own.ids.tolist()
    assert kept.labels.tolist() == own.labels.tolist()
    assert kept.cause.codes.tolist() == own.cause.codes.tolist()
