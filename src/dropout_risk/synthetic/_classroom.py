"""What teachers write down: daily attendance (or its counts) and exam scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dropout_risk.schema import ATTENDANCE_CODES
from dropout_risk.synthetic._life import Snapshot
from dropout_risk.synthetic._registers import frame
from dropout_risk.synthetic._world import Children, Floats, Ints, Plan, Rng, Schools, in_days, logistic

Codes = NDArray[np.int8]

P, L, S, A, U, X, N = (list(ATTENDANCE_CODES).index(code) for code in "PLSAUXN")
GONE = -1  # no row: the child is no longer on roll

BASE_ABSENCE = -6.20  # log-odds of a day's absence
SAME_RUN = 0.80  # chance that one more absent day belongs to the run before
NOT_REPORTED, CLOSED, LATE_FOR_CLASS = 0.015, 0.0005, 0.003
REPORTED_LATE = 0.05  # of class-days, by 1-20 days
SUBJECTS = ("chinese", "math", "english")
ENGLISH_FROM = 3


def tables(
    plan: Plan, schools: Schools, children: Children, history: Sequence[Snapshot], *, daily: bool
) -> dict[str, pd.DataFrame]:
    """Return grades and, day by day or counted by term, attendance."""
    attendance = _attendance if daily else _attendance_counts
    return {
        "grades": pd.concat([_grades(plan, schools, children, now) for now in history], ignore_index=True),
        "attendance" if daily else "attendance_counts": pd.concat(
            [attendance(plan, schools, children, now) for now in history], ignore_index=True
        ),
    }


# --- attendance ---------------------------------------------------------------------------------------


def _attendance(plan: Plan, schools: Schools, children: Children, now: Snapshot) -> pd.DataFrame:
    codes, late = _codes(plan, schools, children, now)
    row, day = np.nonzero(codes != GONE)
    date = now.term.school_days[day]
    columns = {
        "student_id": children.ids.take(now.who[row]),
        "date": date,
        "code": codes[row, day],
        "recorded_at": date + in_days(late[row, day]),
    }
    return frame("attendance", columns)


def _attendance_counts(plan: Plan, schools: Schools, children: Children, now: Snapshot) -> pd.DataFrame:
    codes, late = _codes(plan, schools, children, now)
    absent = (codes == S) | (codes == A) | (codes == U)
    columns = {
        "student_id": children.ids.take(now.who),
        "term": pd.array([now.term.name] * len(now.who), dtype="str"),
        "days_reported": np.sum((codes != GONE) & (codes != N) & (codes != X), axis=1),
        "days_absent": np.sum(absent, axis=1),
        "days_unexcused": np.sum(codes == U, axis=1),
        "days_late": np.sum(codes == L, axis=1),
        "days_not_reported": np.sum(codes == N, axis=1),
        "longest_absence": _longest_run(absent),
        "recorded_at": now.term.end + in_days(late[:, -1]),
    }
    return frame("attendance_counts", columns)


def _longest_run(absent: NDArray[np.bool_]) -> Ints:
    longest = current = np.zeros(len(absent), int)
    for day in absent.T:
        current = (current + 1) * day
        longest = np.maximum(longest, current)
    return longest


def _codes(plan: Plan, schools: Schools, children: Children, now: Snapshot) -> tuple[Codes, NDArray[np.int8]]:
    """Return code and reporting delay in days of every child (row) on every school day (column)."""
    rng = plan.rng("attendance", now.term.index)
    n, days = len(now.who), len(now.term.school_days)
    codes: Codes = np.full((n, days), P, np.int8)
    lates = rng.poisson(LATE_FOR_CLASS * days * np.exp(0.4 * now.disengaged - 0.08))
    codes[np.repeat(np.arange(n), lates), rng.integers(0, days, lates.sum())] = L

    row, day, code = _absences(rng, now, habit=children.habit[now.who], recorded=schools.records[now.school])
    codes[row, day] = code

    is_gone = np.arange(days) >= now.stop_day[:, None]
    codes = np.where(is_gone, np.where(now.drops_out, U, GONE)[:, None], codes).astype(np.int8)

    one_class = (now.school * 10 + now.grade) * 100 + now.class_no
    _, class_no = np.unique(one_class, return_inverse=True)
    class_days = (class_no.max(initial=-1) + 1, days)
    is_silent = (rng.random(class_days) < NOT_REPORTED)[class_no]
    is_closed = (rng.random((len(schools.county), days)) < CLOSED)[now.school]
    codes[is_silent & (codes != GONE)] = N
    codes[is_closed & (codes != GONE)] = X
    delay = np.where(rng.random(class_days) < REPORTED_LATE, rng.integers(1, 21, class_days), 0)
    return codes, delay.astype(np.int8)[class_no]


def _absences(rng: Rng, now: Snapshot, *, habit: Floats, recorded: Floats) -> tuple[Ints, Ints, Ints]:
    """Return row, school day and code of every absence that the school writes down.

    Absence follows disengagement, habit, poverty and travel; never the outcome. Each school records its own
    share of what truly happens.
    """
    n, days = len(now.who), len(now.term.school_days)
    log_odds = BASE_ABSENCE + 1.5 * now.disengaged + 0.85 * habit + 0.12 * now.poor + 0.10 * now.travel_load
    chance = np.clip(logistic(log_odds) * rng.gamma(2.5, 1 / 2.5, n), 0, 0.6)
    absent = rng.binomial(rng.binomial(days, chance), recorded)

    row = np.repeat(np.arange(n), absent)
    order = np.arange(len(row)) - (np.cumsum(absent) - absent)[row]
    run = np.cumsum((order == 0) | (rng.random(len(row)) >= SAME_RUN)) - 1
    run_row = row[np.unique(run, return_index=True)[1]]
    weekday = now.term.school_days.astype(int) % 7  # 1970-01-01 was a Thursday: 1 is Friday, 4 is Monday
    is_edge = (weekday == 1) | (weekday == 4)
    usual, other = (
        _place_runs(rng, run_row, room=days - absent[run_row] + 1)[run] + order for _ in range(2)
    )  # fmt: skip
    gain = np.bincount(row, is_edge[other].astype(float) - is_edge[usual], minlength=n)
    prefers = (gain > 0) & (rng.random(n) < logistic(now.disengaged - 1))  # long weekends
    day = np.where(prefers[row], other, usual)
    return row, day, _reasons(rng, now, run_row)[run]


def _place_runs(rng: Rng, run_row: Ints, *, room: Ints) -> Ints:
    """Return for each run the number of days at school before it, rising within each row."""
    draw = rng.random(len(run_row))
    draw = draw[np.lexsort((draw, run_row))]
    return np.floor(draw * room).astype(int)


def _reasons(rng: Rng, now: Snapshot, run_row: Ints) -> Ints:
    """Return sick, leave or unexcused for each run of absence."""
    far = now.disengaged[run_row] - 1.3  # against a typical absent child
    older = now.stage[run_row] - 0.5
    weights = np.exp([np.zeros(len(far)), -0.25 + 0.2 * far + 0.4 * older, -1.5 + 0.5 * far + 0.5 * older])
    share = np.cumsum(weights, axis=0) / weights.sum(axis=0)
    draw = rng.random(len(far))
    return np.select([draw < share[0], draw < share[1]], [S, A], U)


# --- grades -------------------------------------------------------------------------------------------


def _grades(plan: Plan, schools: Schools, children: Children, now: Snapshot) -> pd.DataFrame:
    rng = plan.rng("grades", now.term.index)
    n, days = len(now.who), len(now.term.school_days)
    term_form = rng.normal(0, 1, n)
    junior_terms = np.maximum(2 * (now.grade - 7) + now.term.season, 0)
    level = np.where(now.stage == 1, 62 - 2 * junior_terms, 72)
    full_mark = np.where(now.stage == 1, schools.full_mark[schools.county[now.school]], 100)
    rows: list[dict[str, Any]] = []
    for subject in SUBJECTS:
        for exam, day in (("midterm", days // 2), ("final", days - 6)):
            form = 0.45 * (np.sqrt(0.4) * term_form + np.sqrt(0.6) * rng.normal(0, 1, n))
            score = level + 14 * (0.80 * now.achievement + form - 0.18 * now.disengaged)
            score = np.round(2 * np.clip(score, 0, 100) * full_mark / 100) / 2
            missed = (rng.random(n) < logistic(-5.0 + 0.9 * now.disengaged)) | (day >= now.stop_day)
            date = now.term.school_days[day]
            columns = {
                "who": now.who,
                "subject": np.full(n, SUBJECTS.index(subject)),
                "exam": np.full(n, exam == "final", int),
                "exam_date": np.full(n, date),
                "score": np.where(missed, np.nan, score),
                "full_mark": full_mark,
                "absent": missed,
                "recorded_at": date + in_days(rng.integers(1, 6, n)),
            }
            takes = (now.grade >= ENGLISH_FROM) | (subject != "english")
            takes &= (day < now.stop_day) | now.drops_out  # no longer on roll: no row
            rows.append({name: values[takes] for name, values in columns.items()})
    stacked = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    order = np.argsort(stacked["who"], kind="stable")
    stacked = {name: values[order] for name, values in stacked.items()}
    return frame(
        "grades",
        stacked
        | {
            "student_id": children.ids.take(stacked["who"]),
            "term": pd.array([now.term.name] * len(order), dtype="str"),
            "subject": pd.array(SUBJECTS, dtype="str").take(stacked["subject"]),
        },
    )
