"""No row is lost: every row of a roster is scored or has a cause, and what is reported of causes names nobody."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from county_builder import AUTUMN, NEXT_AUTUMN, NEXT_SPRING, SPRING, build_tables, enrol, term_end
from trained_county import junior, trained

from dropout_risk.asof import at_risk
from dropout_risk.county import check_county, newest_day
from dropout_risk.descriptions import FEATURES
from dropout_risk.pipeline import score
from dropout_risk.schema import Tables
from dropout_risk.scores import (
    NOT_SCORED,
    REFUSED_COLUMNS,
    TERM_DAYS,
    coverage,
    expiry,
    gaps_in_language,
    gaps_of,
    reason_columns,
    refused_rows,
    why_not_scored,
)
from dropout_risk.synthetic import make_county
from dropout_risk.tables import make_tables

CHINESE = re.compile(r"[\u4e00-\u9fff]")
DAY = term_end(SPRING)


def hand_made():
    """Ten students of one spring term, each without a score for a reason of its own, and six with one."""
    ids = [f"P{number:03}" for number in range(6)]
    enrolments = [row for student in ids for row in enrol(student, AUTUMN, SPRING)]
    for student, grade in (("GRAD1", 9), ("GRAD2", 9), ("GONE", 7), ("MOVED", 7), ("RESTS", 7), ("DEAD", 7)):
        enrolments += enrol(student, AUTUMN, SPRING, grade=grade)
    enrolments += enrol("LATE", SPRING, enrolled_on=DAY - pd.Timedelta(days=9), recorded_at=DAY + pd.Timedelta(days=9))
    changes = [
        {"student_id": "GONE", "change": "dropout"},
        {"student_id": "MOVED", "change": "transfer_out", "arrival_date": DAY - pd.Timedelta(days=5)},
        {"student_id": "RESTS", "change": "suspended"},
        {"student_id": "DEAD", "change": "died"},
    ]
    when = DAY - pd.Timedelta(days=20)
    students = [
        {"student_id": student, "sex": "female", "birth_date": "2006-05-05"}
        for student in dict.fromkeys(row["student_id"] for row in enrolments)
    ]
    return build_tables(
        students=students,
        enrolments=enrolments,
        status_changes=[{"date": when, "recorded_at": when, **change} for change in changes],
    )


@pytest.fixture(scope="module")
def county():
    return check_county(hand_made())


@pytest.fixture(scope="module")
def scored(county):
    return at_risk(county.tables, DAY).index


def test_every_row_of_the_term_is_scored_or_has_a_cause(county, scored):
    found = coverage(county, DAY, scored=scored)
    roster = county.as_read["enrolments"]
    assert found["rows_in"] == (roster["term"] == SPRING).sum() == 13
    assert found["rows_in"] == found["scored"] + sum(cause["rows"] for cause in found["causes"])
    rows = {cause["en"]: cause["rows"] for cause in found["causes"]}
    assert rows == {
        NOT_SCORED["graduating"]["en"]: 2,
        NOT_SCORED["dropout"]["en"]: 1,
        NOT_SCORED["transfer_out"]["en"]: 1,
        NOT_SCORED["suspended"]["en"]: 1,
        NOT_SCORED["died"]["en"]: 1,
        NOT_SCORED["too_late"]["en"]: 1,
    }
    assert list(rows.values()) == sorted(rows.values(), reverse=True)


def test_only_who_should_have_a_score_counts_against_the_coverage(county, scored):
    """Graduates and children who moved away need no score; a child recorded too late is missed."""
    found = coverage(county, DAY, scored=scored)
    assert found["share"] == pytest.approx(6 / 7)
    needed = {cause["en"] for cause in found["causes"] if cause["needed"]}
    assert needed == {NOT_SCORED["too_late"]["en"]}


def faulty(tables: Tables, student: str, column: str, value: object) -> Tables:
    frames = {name: frame.copy() for name, frame in tables.items()}
    enrolments = frames["enrolments"].astype({column: object})
    enrolments.loc[(enrolments["student_id"] == student) & (enrolments["term"] == SPRING), column] = value
    frames["enrolments"] = enrolments
    return make_tables(frames)


def test_a_faulty_row_counts_against_the_coverage_and_its_value_is_told_to_nobody():
    county = check_county(faulty(hand_made(), "P003", "grade", "seven and a half"))
    scored = at_risk(county.tables, DAY).index
    assert "P003" not in scored
    found = coverage(county, DAY, scored=scored)
    assert (found["rows_in"], found["scored"]) == (13, 5)
    assert found["share"] == pytest.approx(5 / 7)
    (fault,) = [cause for cause in found["causes"] if "grade" in cause["en"]]
    assert fault["rows"] == 1 and fault["needed"]
    assert "年级" in fault["zh"]
    text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    assert "half" not in text and "P003" not in text
    # The list of refused rows, which stays with the county, does say which row it is and what stands there.
    (row,) = refused_rows(county, DAY, scored=scored, lang="en").query("student_id == 'P003'").to_dict("records")
    assert row["value"] == "seven and a half" and row["column"] == "grade"
    place = int(county.as_read["enrolments"].query("student_id == 'P003' and term == @SPRING").index[0])
    assert (row["file"], row["row"]) == county.as_read.locate("enrolments", place)


def test_a_row_that_stands_twice_is_a_cause_of_its_own():
    """It is the row that is at fault, and no column of it."""
    tables = hand_made()
    twice = tables["enrolments"].query("student_id in ('P000', 'P001') and term == @SPRING")
    enrolments = pd.concat([tables["enrolments"], twice.assign(class_id="2")], ignore_index=True)
    for damaged in (
        tables.replace(enrolments=enrolments),
        faulty(tables.replace(enrolments=enrolments), "P002", "grade", "x"),
    ):
        county = check_county(damaged)
        found = coverage(county, DAY, scored=at_risk(county.tables, DAY).index)
        assert found["rows_in"] == 15
        (repeated,) = [cause for cause in found["causes"] if "repeats" in cause["en"]]
        assert repeated["rows"] == 2 and CHINESE.search(repeated["zh"])


def test_who_writes_into_an_empty_list_of_refused_rows_writes_into_no_other_list():
    only = check_county(build_tables(enrolments=enrol("A1", AUTUMN), students=[{"student_id": "A1"}]))
    lists = [refused_rows(only, term_end(AUTUMN), scored=pd.Index(["A1"]), lang="zh") for _ in range(2)]
    assert [list(rows) for rows in lists] == [REFUSED_COLUMNS] * 2 and all(rows.empty for rows in lists)
    lists[0]["seen_by"] = "somebody"
    assert "seen_by" not in lists[1]


def test_a_row_without_a_student_is_told_by_its_place():
    county = check_county(faulty(hand_made(), "P003", "student_id", None))
    rows = refused_rows(county, DAY, scored=at_risk(county.tables, DAY).index, lang="en")
    (nobody,) = rows[rows["student_id"].isna()].to_dict("records")
    place = int(county.as_read["enrolments"].query("student_id.isna() and term == @SPRING").index[0])
    assert nobody["column"] == "student_id" and nobody["row"] == county.as_read.locate("enrolments", place)[1]


def test_many_faults_of_one_kind_are_one_cause():
    tables = hand_made()
    for student, value in (("P001", "xi"), ("P002", "44")):
        tables = faulty(tables, student, "grade", value)
    county = check_county(tables)
    found = coverage(county, DAY, scored=at_risk(county.tables, DAY).index)
    assert [cause["rows"] for cause in found["causes"] if "grade" in cause["en"]] == [2]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_causes_are_said_in_the_language_asked_for(county, scored, lang):
    told = [*refused_rows(county, DAY, scored=scored, lang=lang)["message"]]
    told += [cause[lang] for cause in coverage(county, DAY, scored=scored)["causes"]]
    told += [texts[lang] for texts in why_not_scored(county, DAY, pd.Index(["NOBODY"]), scored=scored).values()]
    told += [texts[lang] for texts in NOT_SCORED.values()]
    assert all(bool(CHINESE.search(text)) == (lang == "zh") for text in told)
    assert not any(re.search(r"\b(P\d{3}|GRAD\d|GONE|MOVED|RESTS|DEAD|LATE)\b", text) for text in told)


def test_the_reason_of_each_student_is_that_of_its_row(county, scored):
    why = why_not_scored(county, DAY, pd.Index(["GONE"]), scored=scored)
    assert why["GRAD1"] == NOT_SCORED["graduating"] and why["GONE"] == NOT_SCORED["dropout"]
    assert set(why) == {"GRAD1", "GRAD2", "GONE", "MOVED", "RESTS", "DEAD", "LATE"}
    rows = refused_rows(county, DAY, scored=scored, lang="zh")
    assert dict(zip(rows["student_id"], rows["message"], strict=True)) == {s: text["zh"] for s, text in why.items()}


def test_a_correction_replaces_the_row_that_it_corrects():
    tables = hand_made()
    old = tables["enrolments"].query("student_id == 'P000' and term == @SPRING")
    corrected = old.assign(grade=8, recorded_at=DAY - pd.Timedelta(days=1))
    enrolments = pd.concat([tables["enrolments"], corrected], ignore_index=True)
    county = check_county(tables.replace(enrolments=enrolments))
    found = coverage(county, DAY, scored=at_risk(county.tables, DAY).index)
    assert (found["rows_in"], found["scored"]) == (14, 6)
    (replaced,) = [cause for cause in found["causes"] if cause["en"] == NOT_SCORED["replaced"]["en"]]
    assert replaced["rows"] == 1 and not replaced["needed"]


def test_nobody_to_score_has_no_share():
    only = build_tables(
        students=[{"student_id": "A1", "birth_date": "2005-05-05"}], enrolments=enrol("A1", SPRING, grade=9)
    )
    found = coverage(check_county(only), DAY, scored=pd.Index([]))
    assert (found["rows_in"], found["scored"], found["share"]) == (1, 0, None)


def test_the_order_of_rows_changes_no_cause(county, scored):
    frame = county.as_read["enrolments"].sample(frac=1, random_state=3)
    shuffled = check_county(county.as_read.replace(enrolments=frame.reset_index(drop=True)))
    assert coverage(shuffled, DAY, scored=scored) == coverage(county, DAY, scored=scored)


def test_scores_expire_with_the_outcome_window(county):
    assert expiry(county.tables, DAY, 1) == str(term_end(NEXT_AUTUMN).date())
    assert expiry(county.tables, DAY, 2) == str(term_end(NEXT_SPRING).date())
    last = term_end(NEXT_SPRING)
    for unknown in (1, 2):  # every score has a day on which it goes, whatever terms a roster brings
        assert expiry(county.tables, DAY, 2 + unknown) == str((last + pd.Timedelta(days=unknown * TERM_DAYS)).date())


def test_no_term_lasts_longer_than_a_score_whose_next_term_is_not_known():
    terms = make_county(50, terms=12, seed=1)["terms"].sort_values("start")
    assert terms["end"].diff().max() <= pd.Timedelta(days=TERM_DAYS)


def test_gaps_are_the_labels_of_what_is_not_recorded():
    X = pd.DataFrame({"absence_rate": [0.1, None], "distance_km": [None, None]}, dtype=float)
    for lang in ("zh", "en"):
        first, second = gaps_of(X, lang)
        assert len(first) == 1 and len(second) == 2 and first[0] == second[1]


@pytest.mark.slow
def test_gaps_read_in_another_language_as_if_told_in_it():
    X = pd.DataFrame(np.nan, index=["a"], columns=list(FEATURES))
    zh, en = (gaps_of(X, lang)[0] for lang in ("zh", "en"))
    assert len(set(zh)) == len(set(en)) == len(FEATURES), "no two features have one label"
    assert (gaps_in_language(zh, "zh", "en"), gaps_in_language(en, "en", "zh")) == (en, zh)


def test_reasons_become_columns_and_nobody_loses_any():
    assert reason_columns([]).empty
    assert reason_columns([[], []]).empty
    scores = score(junior(), trained().bundle, reasons=4, lang="en")
    columns = reason_columns(scores.reasons)
    for place in range(4):
        expected = [own[place].text if place < len(own) else "" for own in scores.reasons]
        assert columns[f"reason_{place + 1}"].tolist() == expected


def test_the_coverage_of_a_training_is_that_of_the_newest_roster():
    county = junior()
    scores = score(county, trained().bundle)
    found = trained().assessment.to_dict()["coverage"]
    assert (found["rows_in"], found["scored"]) == (scores.rows_in, len(scores.frame))
    assert scores.as_of == str(newest_day(county).date())
    json.dumps(scores.to_dict(), allow_nan=False)
