"""What the county office keeps: schools, calendar, students, enrolments, households, status changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.schema import DTYPES, TABLES, Column
from dropout_risk.synthetic._life import NEVER, Changes, Snapshot
from dropout_risk.synthetic._world import Children, Dates, Ints, Plan, Rng, Schools, Term, in_days

# fmt: off
SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
GIVEN = "伟芳娜敏静丽强磊军洋艳勇杰娟涛明超秀霞平刚桂英华玉兰文斌鹏飞雪梅红波宁佳欣怡晨曦子涵梓轩浩宇思雨嘉琪俊雅婷"
ID_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])   # GB 11643
SCHOOLS_PER_TOWNSHIP = 5                                                       # at most
HELP_KINDS = {"home_visit": .40, "phone": .20, "tutoring": .15, "subsidy": .15, "transport": .05, "boarding_place": .05}
ID_CHECKS = np.frombuffer(b"10X98765432", np.uint8)
# fmt: on


def frame(name: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return table `name` with exactly the schema's columns and dtypes; categories may come as codes."""
    data = {
        column.name: _category(column, columns[column.name])
        if column.kind == "category"
        else pd.array(columns[column.name], dtype=DTYPES[column.kind])
        for column in TABLES[name].columns
    }
    return pd.DataFrame(data)


def _category(column: Column, values: Any) -> Any:
    dtype = pd.CategoricalDtype(list(column.allowed))
    is_coded = np.asarray(values).dtype.kind == "i"
    return pd.Categorical.from_codes(values, dtype=dtype) if is_coded else pd.Categorical(values, dtype=dtype)


def tables(
    plan: Plan,
    schools: Schools,
    children: Children,
    calendar: Sequence[Term],
    history: Sequence[Snapshot],
    changes: Sequence[Changes],
) -> dict[str, pd.DataFrame]:
    """Return all tables that the county office keeps."""
    frames = {
        "schools": _schools(schools),
        "terms": _terms(calendar),
        "calendar": _calendar(calendar),
        "students": _students(plan, schools, children),
        "enrolments": pd.concat([_enrolments(plan, schools, children, now) for now in history], ignore_index=True),
        "households": _households(plan, children, calendar, history),
        "status_changes": _status_changes(children, changes),
    }
    if plan.help_from is not None:
        frames["interventions"] = _interventions(plan, children, calendar, history)
    return frames


def oracle(plan: Plan, children: Children, history: Sequence[Snapshot]) -> pd.DataFrame:
    """Return the true risk of everybody who has a next term, what was drawn, and what help changed."""
    parts = []
    for now in history:
        has_next = ~np.isnan(now.risk)
        columns = {
            "student_id": children.ids.take(now.who[has_next]),
            "term": pd.array([now.term.name] * has_next.sum(), dtype="str"),
            "risk": now.risk[has_next],
            "leaves": now.leaves[has_next],
        }
        if plan.help_from is not None:
            columns["risk_without_help"] = now.risk_without_help[has_next]
            columns["leaves_without_help"] = now.leaves_without_help[has_next]
            columns["helped"] = now.helped[has_next]
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _schools(schools: Schools) -> pd.DataFrame:
    columns = {
        "school_id": schools.ids,
        "county_id": np.array(schools.county_ids, object)[schools.county],
        "township_id": _township_ids(schools),
        "name": schools.names,
        "stage": schools.stage,
        "mountain": schools.mountain[schools.county],
    }
    return frame("schools", columns)


def _township_ids(schools: Schools) -> list[str]:
    """Return the township of each school: the primary, nine-year and junior schools go round in turn."""
    townships = -(-schools.per_county // SCHOOLS_PER_TOWNSHIP)
    number = np.arange(len(schools.county)) % schools.per_county % townships
    return [f"{schools.county_ids[c]}{k + 1:03d}" for c, k in zip(schools.county, number, strict=True)]


def _terms(calendar: Sequence[Term]) -> pd.DataFrame:
    columns = {
        "term": [term.name for term in calendar],
        "start": [term.start for term in calendar],
        "end": [term.end for term in calendar],
    }
    return frame("terms", columns)


def _calendar(calendar: Sequence[Term]) -> pd.DataFrame:
    days = np.concatenate([term.days for term in calendar])
    reasons = np.concatenate([term.reasons for term in calendar])
    columns = {
        "school_id": np.full(len(days), None),  # the whole county
        "date": days,
        "is_school_day": reasons == "",
        "reason": [reason or None for reason in reasons],
        "recorded_at": np.concatenate([np.full(len(term.days), term.start - in_days(30)) for term in calendar]),
    }
    return frame("calendar", columns)


def _students(plan: Plan, schools: Schools, children: Children) -> pd.DataFrame:
    rng = plan.rng("registers")
    n = len(children)
    # a child of normal age is grade + 5 years old on 1 September
    birth_year = plan.first_year - (children.first_grade + 5 + children.overage)
    birth_date = _first_of_september(birth_year) - in_days(rng.integers(0, 365, n))
    surname, given = np.array([*SURNAMES], object), np.array([*GIVEN], object)
    second = np.where(rng.random(n) < 0.75, rng.choice(given, n), "")
    columns = {
        "student_id": children.ids,
        "name": surname[(len(SURNAMES) * rng.random(n) ** 2).astype(int)] + rng.choice(given, n) + second,
        "id_number": _id_numbers(children, birth_date, np.array(schools.county_ids, int)),
        "sex": np.where(children.girl, "female", "male"),
        "birth_date": birth_date,
        "disability": children.disability,
    }
    return frame("students", columns)


def _first_of_september(year: Ints) -> Dates:
    months: Dates = (12 * (year - 1970) + 8).astype("M8[M]")
    return months.astype("M8[D]")


def _id_numbers(children: Children, birth_date: Dates, county_codes: Ints) -> Any:
    """Return 18-digit numbers by GB 11643: county, birth date, serial (odd for boys), check character."""
    day = birth_date.astype("M8[D]").astype(object)
    stamp = np.array([10_000 * d.year + 100 * d.month + d.day for d in day], np.int64)
    order = pd.DataFrame({"county": children.county, "day": stamp, "girl": children.girl})
    serial = 2 * order.groupby(["county", "day", "girl"]).cumcount().to_numpy() + ~children.girl
    number = (county_codes[children.county] * 10**8 + stamp) * 1000 + serial % 1000
    digits = number[:, None] // 10 ** np.arange(16, -1, -1) % 10
    check = ID_CHECKS[digits @ ID_WEIGHTS % 11]
    characters = np.column_stack([digits + ord("0"), check]).astype(np.uint8)
    return pd.array(characters.view("S18").ravel().astype(str), dtype="str")


def _enrolments(plan: Plan, schools: Schools, children: Children, now: Snapshot) -> pd.DataFrame:
    rng = plan.rng("registers", 1 + now.term.index)
    n = len(now.who)
    known = children.km_known[now.stage, now.who]
    columns = {
        "student_id": children.ids.take(now.who),
        "school_id": schools.ids.take(now.school),
        "term": pd.array([now.term.name] * n, dtype="str"),
        "grade": now.grade,
        "class_id": pd.array([f"G{g}C{c}" for g, c in zip(now.grade, now.class_no, strict=True)], dtype="str"),
        "boarding": now.boards,
        "distance_km": np.where(known, np.round(now.km, 1), np.nan),
        "travel_minutes": np.where(known, np.round(now.minutes), np.nan),
        "left_behind": now.mother_away.astype(int) + now.father_away,
        "migrant": children.migrant[now.who],
        "enrolled_on": now.enrolled_on,
        "recorded_at": now.enrolled_on + in_days(rng.integers(0, 4, n)),
    }
    return frame("enrolments", columns)


def _households(plan: Plan, children: Children, calendar: Sequence[Term], history: Sequence[Snapshot]) -> pd.DataFrame:
    rng = plan.rng("registers", 1 + len(calendar))
    n = len(children)
    last_term = np.zeros(n, int)
    for now in history:
        last_term[now.who] = now.term.index
    starts: Dates = np.array([term.start for term in calendar])
    entry = starts[children.entry_term]
    valid_from = entry - rng.integers(60, 1100, n)
    first_known = np.where(children.newcomer, entry + rng.integers(0, 20, n), valid_from)
    changed = np.flatnonzero(children.household_change <= last_term)
    change_date = starts[children.household_change[changed]] + in_days(rng.integers(0, 60, len(changed)))
    valid_to = np.full(n, NEVER)
    valid_to[changed] = change_date - in_days(1)
    before = _household_rows(children, 0, np.arange(n))
    before |= {"valid_from": valid_from, "valid_to": valid_to, "recorded_at": _later(rng, first_known)}
    after = _household_rows(children, 1, changed)
    after |= {
        "valid_from": change_date,
        "valid_to": np.full(len(changed), NEVER),
        "recorded_at": _later(rng, change_date),
    }
    rows = pd.concat([frame("households", before), frame("households", after)], ignore_index=True)
    return rows.sort_values(["student_id", "valid_from"], ignore_index=True)


def _household_rows(children: Children, state: int, who: Ints) -> dict[str, Any]:
    return {
        "student_id": children.ids.take(who),
        "poverty": children.poverty[state, who],
        "mother_away": children.mother_away[state, who],
        "father_away": children.father_away[state, who],
        "siblings": children.siblings[who],
    }


def _later(rng: Rng, date: Dates) -> Dates:
    return date + in_days(rng.integers(0, 31, len(date)))


def _status_changes(children: Children, changes: Sequence[Changes]) -> pd.DataFrame:
    columns = {
        "student_id": children.ids.take(np.concatenate([c.who for c in changes])),
        "date": np.concatenate([c.date for c in changes]),
        "change": np.concatenate([c.change for c in changes]),
        "arrival_date": np.concatenate([c.arrival for c in changes]),
        "recorded_at": np.concatenate([c.recorded_at for c in changes]),
    }
    return frame("status_changes", columns).sort_values(["date", "student_id"], ignore_index=True)


def _interventions(
    plan: Plan, children: Children, calendar: Sequence[Term], history: Sequence[Snapshot]
) -> pd.DataFrame:
    """Return the help given in the first five school days of each term, one entry for each child helped."""
    parts = []
    for before, term in zip(history, calendar[1:], strict=False):
        rng = plan.rng("help_records", term.index)
        who = before.who[before.helped]
        n = len(who)
        date = term.school_days[rng.integers(0, 5, n)]
        columns = {
            "student_id": children.ids.take(who),
            "date": date,
            "kind": rng.choice(list(HELP_KINDS), n, p=list(HELP_KINDS.values())),
            "recorded_at": date + in_days(rng.integers(0, 11, n)),
        }
        parts.append(frame("interventions", columns))
    return pd.concat(parts, ignore_index=True)
