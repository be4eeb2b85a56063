"""Groups of students that a list may serve unequally well: bands for the report, never features.

`AUDIT` describes the columns as values; `audit_columns` fills them from facts known on the as-of date.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from dropout_risk.asof import Students, Terms, attendance_between, cut, roll, to_day
from dropout_risk.attendance import MEASURES
from dropout_risk.descriptions import Lang
from dropout_risk.features import years_over_age
from dropout_risk.reference import POVERTY_LEVELS, attendance_now, poverty_levels
from dropout_risk.schema import Tables

DISTANCE_EDGES = (0.0, 2.0, 5.0, 10.0, np.inf)
"""Kilometres at which the distance bands end, the upper end included."""

REPORTING_EDGES = (0.8, 0.98)
"""Share of school days reported from which a school's attendance counts as partial, and as complete."""


_POVERTY_NAMES = {
    POVERTY_LEVELS["none"]: "none",
    POVERTY_LEVELS["marginal"]: "near_poor",
    POVERTY_LEVELS["registered"]: "registered",
}


@dataclass(frozen=True)
class AuditColumn:
    """One column of the audit and what people call its levels.

    Attributes
    ----------
    name, zh, en
        Column name and its labels.
    levels
        Level -> its labels, in order; empty where the levels are ids.
    """

    name: str
    zh: str
    en: str
    levels: Mapping[str, Mapping[Lang, str]] = field(default_factory=dict)

    def label(self, lang: Lang) -> str:
        """Return the label of the column in `lang`."""
        return self.zh if lang == "zh" else self.en

    def level_label(self, level: str, lang: Lang) -> str:
        """Return the label of one level in `lang`; a level without labels is its own.

        Examples
        --------
        >>> AUDIT["poverty"].level_label("near_poor", "en"), AUDIT["county"].level_label("532301", "zh")
        ('near-poor', '532301')
        """
        return self.levels[level][lang] if level in self.levels else level


AUDIT: dict[str, AuditColumn] = {
    column.name: column
    for column in (
        AuditColumn("poverty", "家庭经济", "Poverty", {
            "none": {"zh": "非困难户", "en": "none"},
            "near_poor": {"zh": "边缘易致贫户", "en": "near-poor"},
            "registered": {"zh": "建档立卡或低保", "en": "registered poor"},
        }),
        AuditColumn("distance", "家校距离", "Distance to school", {
            "0-2": {"zh": "2公里以内", "en": "up to 2 km"},
            "2-5": {"zh": "2至5公里", "en": "2 to 5 km"},
            "5-10": {"zh": "5至10公里", "en": "5 to 10 km"},
            "over_10": {"zh": "10公里以上", "en": "over 10 km"},
        }),
        AuditColumn("sex", "性别", "Sex", {
            "female": {"zh": "女", "en": "girls"},
            "male": {"zh": "男", "en": "boys"},
        }),
        AuditColumn("boarding", "就读方式", "Boarding", {
            "day": {"zh": "走读", "en": "day pupils"},
            "boarder": {"zh": "住校", "en": "boarders"},
        }),
        AuditColumn("left_behind", "留守情况", "Left behind", {
            "none": {"zh": "非留守", "en": "no parent away"},
            "one_parent": {"zh": "一方外出", "en": "one parent away"},
            "both_parents": {"zh": "双方外出", "en": "both parents away"},
        }),
        AuditColumn("disability", "残疾情况", "Disability", {
            "no": {"zh": "无", "en": "no"},
            "yes": {"zh": "有", "en": "yes"},
        }),
        AuditColumn("age_for_grade", "年龄与年级", "Age for grade", {
            "on_age": {"zh": "适龄", "en": "on age"},
            "one_over": {"zh": "超龄1岁", "en": "one year over"},
            "two_or_more_over": {"zh": "超龄2岁及以上", "en": "two or more years over"},
        }),
        AuditColumn("reporting", "所在学校考勤上报", "Attendance reporting of the school", {
            "complete": {"zh": "完整（98 %及以上）", "en": "complete (98 % or more)"},
            "partial": {"zh": "部分（80 %至98 %）", "en": "partial (80 to 98 %)"},
            "poor": {"zh": "较差（不足80 %）", "en": "poor (below 80 %)"},
        }),
        AuditColumn("grade", "年级", "Grade", {
            str(grade): {"zh": f"{grade}年级", "en": f"grade {grade}"} for grade in range(1, 10)
        }),
        AuditColumn("county", "县（市、区）", "County"),
    )
}  # fmt: skip
"""Every column of the audit, in the order of the columns."""


def audit_columns(tables: Tables, as_of: str | date | pd.Timestamp, students: pd.Index) -> pd.DataFrame:
    """Return the audit group of each student in every column of `AUDIT`, as known on `as_of`.

    Parameters
    ----------
    tables : Tables
        The canonical tables; they are cut at `as_of` here. Every student on roll counts for the reporting
        of a school, not only `students`.
    as_of : date
        The day whose knowledge counts.
    students : Index of student_id, shape (n,)

    Returns
    -------
    DataFrame of ordered categoricals, shape (n, columns), indexed by `students`
        NaN where the fact is not recorded, or the student is not on roll.

    Raises
    ------
    SettingsError
        If `as_of` lies before the first term.

    Examples
    --------
    >>> from dropout_risk.asof import at_risk
    >>> from dropout_risk.synthetic import make_county
    >>> tables = make_county(300, terms=2, seed=1)
    >>> audit = audit_columns(tables, "2020-01-17", at_risk(tables, "2020-01-17").index)
    >>> list(audit) == list(AUDIT), list(audit["distance"].cat.categories)
    (True, ['0-2', '2-5', '5-10', 'over_10'])

    Notes
    -----
    Sex and disability are asked for here and nowhere else: they are kept to see who is served, not to score.
    """
    day, terms = to_day(as_of), Terms.of(tables)
    start = terms.start(terms.at(day))
    known = cut(attendance_between(tables, start, day), day)
    on_roll = roll(known, day)
    people = known.get_frame("students").drop_duplicates("student_id").set_index("student_id").reindex(on_roll.index)
    over_age = years_over_age(known, on_roll, start)
    levels = {
        "poverty": pd.Series(poverty_levels(known, Students.of(on_roll), day), on_roll.index).map(_POVERTY_NAMES),
        "distance": pd.cut(
            on_roll["distance_km"], list(DISTANCE_EDGES), labels=_names("distance"), include_lowest=True
        ),
        "sex": people["sex"],
        "boarding": on_roll["boarding"].map({False: "day", True: "boarder"}),
        "left_behind": on_roll["left_behind"],
        "disability": people["disability"].map({False: "no", True: "yes"}),
        "age_for_grade": pd.cut(over_age, [-np.inf, 0, 1, np.inf], labels=_names("age_for_grade")),
        "reporting": _reporting(known, on_roll, day),
        "grade": on_roll["grade"].astype("Int64").astype("str"),
        "county": on_roll["county_id"],
    }
    return pd.DataFrame({name: _in_order(name, values) for name, values in levels.items()}).reindex(students)


def _reporting(known: Tables, on_roll: pd.DataFrame, day: pd.Timestamp) -> pd.Series:
    """Return how completely the school of each student has reported attendance in the running term."""
    present = on_roll[on_roll["not_at_risk"].isna() | (on_roll["not_at_risk"] == "graduating")]
    silent = attendance_now(known, Students.of(present), day)[MEASURES.index("not_reported_rate")]
    reported = pd.Series(1 - silent, present.index)
    of_school = on_roll["school_id"].map(reported.groupby(present["school_id"]).mean().round(6))
    edges = [-np.inf, *REPORTING_EDGES, np.inf]
    return pd.cut(of_school, edges, labels=_names("reporting")[::-1], right=False)


def _names(column: str) -> list[str]:
    return list(AUDIT[column].levels)


def _in_order(column: str, values: pd.Series) -> pd.Series:
    """Return `values` as an ordered categorical with the levels of `column`, or the sorted ids."""
    names = _names(column) or sorted(values.dropna().unique())
    return values.astype(object).astype(pd.CategoricalDtype(names, ordered=True))
