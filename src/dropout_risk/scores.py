"""The risks of one roster, and every row that got none with its cause: rows in = scored + refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.applicability import Withheld
from dropout_risk.arrays import row_labels, spread, texts
from dropout_risk.asof import OnRoll, Terms, cut, in_order, on_roll
from dropout_risk.county import County
from dropout_risk.descriptions import FEATURES, Lang
from dropout_risk.plain import rows_of
from dropout_risk.reasons import Reason, Reasons, divided, ends_of
from dropout_risk.schema import TABLES, Tables

NOT_SCORED: dict[str, dict[Lang, str]] = {
    "graduating": {
        "en": "graduates at the end of this term; nothing follows in compulsory school, no score is needed.",
        "zh": "本学期末毕业，义务教育阶段结束，无需评分。",
    },
    "dropout": {
        "en": "is recorded as having left school; open or follow up the case instead of scoring.",
        "zh": "已登记为辍学；请建立或跟进个案，不再评分。",
    },
    "transfer_out": {
        "en": "has moved to another school, which confirmed the arrival; that school scores the student.",
        "zh": "已转学并经转入学校确认到校，由转入学校评分。",
    },
    "suspended": {
        "en": "has an approved suspension; score again when it ends.",
        "zh": "已批准休学；休学期满后再评分。",
    },
    "graduated": {"en": "has graduated.", "zh": "已毕业。"},
    "died": {"en": "has died.", "zh": "已死亡。"},
    "emigrated": {"en": "has moved abroad.", "zh": "已出国。"},
    "replaced": {
        "en": "is replaced by another record of the same student and term.",
        "zh": "被同一学生同一学期的另一条记录取代。",
    },
    "too_late": {"en": "was recorded after the as-of date.", "zh": "登记时间晚于评分日期。"},
}
"""Why a roster row gets no score though nothing is wrong with it."""

CHANGES = TABLES["status_changes"]["change"].allowed
"""Changes of status and what they are called in Chinese."""

NEEDS_A_SCORE = frozenset({"fault", "too_late"})
"""Causes that leave a child without the score that it should have."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The risks of one roster.

    Attributes
    ----------
    students
        By column a value for each scored student, highest risk first: `student_id`, `school_id`, `county_id`,
        `class_id`, `grade`, `risk`, `band`, `rank` (1 more than the number of students with a higher
        risk: equal risks share it, and follow one another in the order of ids).
    reasons
        For each of them the reasons, strongest first.
    gaps
        For each of them the labels of the facts that are not recorded.
    refusals
        By column a value for each row without a score: `table`, `file`, `row`, `student_id`, `column`, `value`,
        `message`.
    rows_in
        Roster rows that came in; equals ``len(frame) + len(refused)``.
    as_of, expires
        The day whose knowledge counts, and the end of the outcome window, after which the scores mean nothing; None
        for a flat table, whose days are not known.
    notes
        Sentences about the whole roster.
    """

    students: Mapping[str, Sequence[Any]]
    reasons: Reasons
    gaps: list[list[str]]
    refusals: Mapping[str, Sequence[Any]]
    rows_in: int
    as_of: str
    expires: str | None
    notes: tuple[str, ...] = field(default=())

    @property
    def scored(self) -> int:
        """How many students have a score."""
        return len(self.gaps)

    @property
    def refused_count(self) -> int:
        """How many rows have none."""
        return len(self.refusals["row"])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The scored students, a row each."""
        return as_frame(self.students)

    @cached_property
    def refused(self) -> pd.DataFrame:
        """The rows without a score."""
        return pd.DataFrame(self.refusals)

    def to_frame(self) -> pd.DataFrame:
        """Return one flat row per student with its reasons spread over columns, for files."""
        flat = pd.concat([self.frame.reset_index(drop=True), reason_columns(self.reasons)], axis=1)
        return flat.assign(data_gaps=["; ".join(gaps) for gaps in self.gaps], as_of=self.as_of, expires=self.expires)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON."""
        students = [
            {**row, "reasons": [reason.to_dict() for reason in reasons], "data_gaps": gaps}
            for row, reasons, gaps in zip(rows_of(self.students), self.reasons, self.gaps, strict=True)
        ]
        return self.around(students)

    def around(self, students: Any) -> dict[str, Any]:
        """Return what `to_dict` does, with the students as they are given."""
        return {
            "as_of": self.as_of,
            "expires": self.expires,
            "rows_in": self.rows_in,
            "scored": self.scored,
            "refused_count": self.refused_count,
            "students": students,
            "refused": rows_of(self.refusals),
            "notes": list(self.notes),
        }


def as_frame(students: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return students by column as a frame.

    Examples
    --------
    >>> as_frame({"student_id": ["S1"], "grade": [None], "risk": [0.5]}).dtypes.astype(str).to_dict()
    {'student_id': 'str', 'grade': 'Int64', 'risk': 'float64'}
    """
    frame = pd.DataFrame(students)
    return frame.astype({name: dtype for name, dtype in _DTYPES.items() if name in frame})


_DTYPES = dict.fromkeys(("student_id", "school_id", "county_id", "class_id", "band"), "str") | {"grade": "Int64"}


def ranks(risk: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the rank of each risk, the highest first: 1 more than how many are higher, so that equal ones share it.

    Examples
    --------
    >>> ranks(np.array([0.5, 0.25, 0.25, 0.125])).tolist()
    [1, 2, 2, 4]
    """
    return np.searchsorted(-risk, -risk) + 1


def reason_columns(reasons: Sequence[Sequence[Reason]]) -> pd.DataFrame:
    """Return the reasons of each student as columns: text, changeable and measure of each."""
    columns: dict[str, list[Any]] = {}
    for place in range(max((len(own) for own in reasons), default=0)):
        picked = [own[place] if place < len(own) else None for own in reasons]
        columns[f"reason_{place + 1}"] = [reason.text if reason else "" for reason in picked]
        columns[f"changeable_{place + 1}"] = [reason.changeable if reason else None for reason in picked]
        columns[f"measure_{place + 1}"] = [reason.measure if reason else "" for reason in picked]
    return pd.DataFrame(columns)


def gaps_of(X: pd.DataFrame, lang: Lang) -> list[list[str]]:
    """Return for each row of features the labels of those that are not recorded."""
    row, column = np.nonzero(np.isnan(X.to_numpy(np.float64)))
    labels = [FEATURES[name].label(lang) for name in X.columns.tolist()]
    return divided([labels[place] for place in column.tolist()], ends_of(row, len(X)))


def gaps_in_language(gaps: Sequence[str], said: Lang, lang: Lang) -> list[str]:
    """Return labels of `gaps_of`, which are in the language `said`, in another; others stay as they are.

    Examples
    --------
    >>> gaps_in_language([FEATURES["distance_km"].label("zh"), "?"], "zh", "en")
    ['Distance to school', '?']
    """
    labels = {feature.label(said): feature.label(lang) for feature in FEATURES.values()}
    return [labels.get(gap, gap) for gap in gaps]


TERM_DAYS = 200
"""Days from the end of a term to the end of the next one, at most: from the first of July to the last of January."""


def expiry(tables: Tables, day: pd.Timestamp, horizon: int) -> str:
    """Return the end of the outcome window; where the next terms are not in the table yet, the latest that it can be.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> tables = make_county(50, terms=2, seed=1)
    >>> [expiry(tables, end, 1) for end in tables["terms"]["end"]]
    ['2020-07-10', '2021-01-26']
    """
    terms = Terms.of(tables)
    window = [terms.at(day), *terms.after(terms.at(day), horizon)]
    days = (horizon + 1 - len(window)) * TERM_DAYS
    return str((terms.end(window[-1]) + pd.Timedelta(days=days)).date())


REFUSED_COLUMNS = ["table", "file", "row", "student_id", "column", "value", "message"]


def refused_rows(
    county: County,
    day: pd.Timestamp,
    *,
    scored: pd.Index,
    lang: Lang,
    withheld: Mapping[str, Withheld] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return every roster row of the term that got no score, each with one sentence."""
    return pd.DataFrame(refusals(county, day, scored=scored, lang=lang, withheld=withheld))


def refusals(
    county: County,
    day: pd.Timestamp,
    *,
    scored: pd.Index,
    lang: Lang,
    withheld: Mapping[str, Withheld] = MappingProxyType({}),
) -> dict[str, list[Any]]:
    """Return what `refused_rows` does, by column."""
    rows = [
        ("enrolments", *one.place, one.student_id, one.column, one.value, one.why[lang])
        for one in _refusals(county, day, scored, withheld)
    ]
    return dict(zip(REFUSED_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)) if rows else nobody_refused()


def nobody_refused() -> dict[str, list[Any]]:
    """Return the columns of rows without a score where there are none."""
    return {name: [] for name in REFUSED_COLUMNS}


def why_not_scored(
    county: County, day: pd.Timestamp, students: pd.Index, *, scored: pd.Index
) -> dict[str, dict[Lang, str]]:
    """Return for each of `students` without a score on `day` the reason, in both languages.

    Who is not on the term's roster at all is told with the last change of status that was known by then.
    """
    known = {str(refusal.student_id): refusal.why for refusal in _refusals(county, day, scored)}
    changes = in_order(cut(county.tables.only("status_changes", "terms"), day).get_frame("status_changes"))
    last = changes.drop_duplicates("student_id", keep="last").set_index("student_id")["change"].astype(str)
    off_roster = [str(student) for student in students if str(student) not in known and student not in scored]
    return known | {student: _off_roster(last.get(student)) for student in off_roster}


def _off_roster(change: str | None) -> dict[Lang, str]:
    """Return why a student is not on the roster, as far as the status changes say."""
    if change is None:
        return {
            "zh": "不在本学期名册上，也没有学籍异动记录，请核实去向。",
            "en": "not on the roster of this term, and no change of status says why; find out where the child is.",
        }
    return {
        "zh": f"不在本学期名册上，最近一次学籍异动：{CHANGES[change][0]}。",
        "en": f"not on the roster of this term; last change of status: {change.replace('_', ' ')}.",
    }


def coverage(county: County, day: pd.Timestamp, *, scored: pd.Index) -> dict[str, Any]:
    """Return how much of the roster was scored, and why the rest was not.

    Parameters
    ----------
    county
        As read and as checked.
    day
        The as-of date.
    scored
        The students with a score.

    Returns
    -------
    dict
        `rows_in`, `scored`, `share` (of the rows that should have a score: graduates and children who moved
        away need none), and `causes`: `zh`, `en`, `rows`, `needed`, the commonest first.
    """
    refused = _refusals(county, day, scored)
    counts = Counter((*_cause_texts(refusal), refusal.cause in NEEDS_A_SCORE) for refusal in refused)
    causes: list[dict[str, Any]] = [
        {"zh": zh, "en": en, "needed": needed, "rows": rows} for (zh, en, needed), rows in sorted(counts.items())
    ]
    should = len(scored) + sum(cause["rows"] for cause in causes if cause["needed"])
    return {
        "rows_in": len(scored) + len(refused),
        "scored": len(scored),
        "share": len(scored) / should if should else None,
        "causes": sorted(causes, key=lambda cause: -cause["rows"]),
    }


def _cause_texts(refusal: "_Refusal") -> tuple[str, str]:
    """Return the cause in Chinese and in English; of a fault the column is named and never the value."""
    if refusal.cause != "fault":
        return refusal.why["zh"], refusal.why["en"]
    if pd.isna(refusal.column):
        return "该行与另一行重复，不能使用。", "the row repeats another one and cannot be used."
    column = TABLES["enrolments"][str(refusal.column)]
    return f"“{column.zh}”一栏的内容不能使用。", f"the value in the column {column.name} cannot be used."


class _Refusal(NamedTuple):
    """A roster row without a score: where it stands, whose it is, the cause, and the sentence in both languages."""

    place: tuple[str | None, int]
    student_id: str
    cause: str
    column: str | None
    value: str | None
    why: dict[Lang, str]


def _refusals(
    county: County, day: pd.Timestamp, scored: pd.Index, withheld: Mapping[str, Withheld] = MappingProxyType({})
) -> list[_Refusal]:
    """Return every roster row of the term of `day` without a score, in the order of the roster."""
    roster, here = county.as_read, on_roll(county.tables, day)
    labels, found = row_labels(roster, "enrolments").to_numpy(), here.places_of(scored.tolist())
    left = np.flatnonzero(_is_of_term(county, day) & ~np.isin(labels, here.labels[found[found >= 0]]))
    if not left.size:
        return []
    faults, on_it = _faults(county), dict(zip(here.labels.tolist(), _causes(here), strict=True))
    student_id, students = texts(roster, "enrolments", "student_id"), set(here.ids.tolist())
    whose = spread(student_id, student_id.names, np.nan)[left]
    refusals = []
    for position, student in zip(labels[left].tolist(), whose.tolist(), strict=True):
        place = roster.locate("enrolments", position)
        if fault := faults.get(place):
            refusals.append(_Refusal(place, student, "fault", *fault))
        elif position in on_it and student in withheld:
            why = withheld[student]
            refusals.append(_Refusal(place, student, "withheld", why.column, why.value, {"zh": why.zh, "en": why.en}))
        else:
            lost = "replaced" if student in students else "too_late"
            cause = on_it.get(position, lost)
            refusals.append(_Refusal(place, student, cause, None, None, NOT_SCORED[cause]))
    return refusals


def _causes(here: OnRoll) -> list[str]:
    """Return why each student on roll is not at risk, and None for those who are."""
    causes: list[str] = spread(here.cause, here.cause.names, None).tolist()
    return causes


def _is_of_term(county: County, day: pd.Timestamp) -> npt.NDArray[np.bool_]:
    """Return which rows of the roster as read belong to the term of `day`; those of no known term do."""
    term, terms = texts(county.as_read, "enrolments", "term"), Terms.of(county.tables)
    elsewhere = set(terms.names) - {terms.at(day)}
    return spread(term, np.array([name not in elsewhere for name in term.names], dtype=bool), missing=True)


def _faults(county: County) -> dict[Any, tuple[str, str | None, dict[Lang, str]]]:
    """Return column, value and sentences of each enrolment that cannot be used, by its file and row."""
    if county.refused.empty:
        return {}
    refused = county.refused[county.refused["table"] == "enrolments"]
    columns = ("file", "row", "column", "value", "message_zh", "message")
    told = zip(*(refused[name].tolist() for name in columns), strict=True)
    return {(file, row): (column, value, {"zh": zh, "en": en}) for file, row, column, value, zh, en in told}
