"""Score runs: kept whole or not at all, together with their line in the audit; read within a scope only."""

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import repeat
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
from sqlalchemy import ColumnElement, delete, false, func, insert, or_, select, tuple_
from sqlalchemy.orm import Session

from dropout_risk.access import Principal, Reach
from dropout_risk.reasons import Reasons, divided
from dropout_risk.scores import Scores
from dropout_risk.store.audit import Access, append
from dropout_risk.store.database import Database
from dropout_risk.store.schema import WORDINGS_A_ROW, Replay, Run, RunPlace, Score, Secret, Wordings

_PSEUDONYM_SECRET = "pseudonyms"


@dataclass(frozen=True)
class Answer:
    """An answer that was given to a request with an idempotency key; `body` is sealed with that key."""

    request_digest: str
    run_id: str
    media_type: str
    body: bytes


Named = Callable[[str], str]
"""Gives a student the pseudonym."""


def new_id() -> str:
    """Return an id for a run that nobody can guess."""
    return secrets.token_hex(16)


class Pseudonyms:
    """Makes the ids under which lists name students: the same for one student, and of no use without the store.

    Examples
    --------
    >>> Pseudonyms(b"of this store")("S1") == Pseudonyms(b"of this store")("S1")
    True
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod="sha256")

    def __call__(self, student_id: str) -> str:
        """Return the pseudonym of a student."""
        digest = self._keyed.copy()
        digest.update(student_id.encode())
        return f"P-{digest.digest()[:8].hex()}"


def pseudonyms(database: Database) -> Pseudonyms:
    """Return what makes the pseudonyms of this store; its secret is made with the first call."""
    with database.reading() as session:
        found = session.get(Secret, _PSEUDONYM_SECRET)
    if found is None:
        with database.writing() as session:
            found = session.get(Secret, _PSEUDONYM_SECRET)
            if found is None:
                found = Secret(name=_PSEUDONYM_SECRET, value=secrets.token_bytes(32))
                session.add(found)
    return Pseudonyms(found.value)


# Writing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Told:
    """The students of a run as they are kept and as they are answered: made once for both.

    Attributes
    ----------
    columns
        The scores by column, a value for each student, in the order of an answer; `reasons` and `data_gaps` are
        texts of JSON. There is a `pseudonym`, but for the rows of a flat table, which are nobody's by name.
    wordings
        What the reasons say, each once, as texts of JSON.
    reasons
        Which of them are each student's.

    Examples
    --------
    >>> students = {"student_id": ["S1"], "risk": [0.5]}
    >>> scores = Scores(students, Reasons.of([[]]), [["grade"]], {"row": []}, 1, "2022-07-08", None)
    >>> Told.of(scores, lambda student: f"P-{student}").columns["pseudonym"]
    ['P-S1']
    >>> Told.of(scores, None).columns["data_gaps"]
    ['["grade"]']
    """

    columns: dict[str, list[Any]]
    wordings: list[str]
    reasons: Reasons

    @classmethod
    def of(cls, scores: Scores, named: Named | None) -> Self:
        """Return what is told of the students of a roster; `named` gives them their pseudonyms."""
        columns = {name: list(values) for name, values in scores.students.items()}
        named_so = {} if named is None else {"pseudonym": [named(student) for student in columns["student_id"]]}
        wordings = as_json(scores.reasons.wordings)
        told = {"reasons": _reasons_as_json(wordings, scores.reasons), "data_gaps": as_json(scores.gaps)}
        return cls({**named_so, **columns, **told}, wordings, scores.reasons)


def _reasons_as_json(wordings: Sequence[str], reasons: Reasons) -> list[str]:
    """Return the reasons of each student as JSON, each as `Reason.to_dict` gives it."""
    beginnings = [f'{wording[:-1]},"contribution":' for wording in wordings]
    said = zip(reasons.place.tolist(), _numbers_as_json(reasons.contribution), strict=True)
    return _as_lists([f"{beginnings[place]}{contribution}}}" for place, contribution in said], reasons)


def _as_lists(texts: list[str], reasons: Reasons) -> list[str]:
    """Return texts of JSON, one for each reason, as a list for each student."""
    return [f"[{','.join(own)}]" for own in divided(texts, reasons.ends)]


def _numbers_as_json(numbers: npt.NDArray[np.float64]) -> list[str]:
    return orjson.dumps(numbers.tolist()).decode()[1:-1].split(",") if len(numbers) else []


def as_json(values: Iterable[Any]) -> list[str]:
    """Return each value as JSON, which knows no NaN and no infinity: they become null.

    Examples
    --------
    >>> as_json([["家访"], {"value": float("nan")}])
    ['["家访"]', '{"value":null}']
    """
    return [orjson.dumps(value).decode() for value in values]


def keep(database: Database, run: Run, told: Told, access: Access, *, replay: tuple[str, Answer] | None = None) -> None:
    """Keep a run, its scores, its line in the audit and, if asked, its answer under an idempotency key.

    Scores without pseudonyms are nobody's by name: they are not kept.
    When this returns, all of it is on the disk; when it raises, none of it is kept, but for an `UnknownOutcomeError`.
    """
    rows = _rows(run.id, told) if "pseudonym" in told.columns else []
    with database.turn() as connection:
        connection.execute(insert(Run), run.values())
        if rows:
            connection.execute(insert(RunPlace), _places(run.id, told))
            database.add(connection, "wordings", ("run_id", "number", "told"), _wordings(run.id, told.wordings))
            database.add(connection, "scores", ("run_id", "position", *_SCORE, "reasons", "gaps"), rows)
        if replay is not None:
            key, answer = replay
            given = {
                "subject": run.subject,
                "idempotency_key": key,
                "request_digest": answer.request_digest,
                "run_id": run.id,
                "media_type": answer.media_type,
                "body": answer.body,
                "at": run.at,
            }
            connection.execute(insert(Replay), given)
        append(connection, replace(access, run_id=run.id))


_SCORE = (
    "rank", "student_id", "pseudonym", "school_id", "county_id", "class_id", "grade", "risk", "band"
)  # fmt: skip
"""The columns of a score that are told under the same name."""


def _rows(run_id: str, told: Told) -> list[tuple[Any, ...]]:
    """Return the scores as rows to be kept."""
    columns = [told.columns[name] for name in _SCORE]
    reasons, gaps = _places_as_json(told.reasons), told.columns["data_gaps"]
    positions = range(1, len(reasons) + 1)
    return list(zip(repeat(run_id, len(reasons)), positions, *columns, reasons, gaps, strict=True))


def _places_as_json(reasons: Reasons) -> list[str]:
    """Return the reasons of each student as `Score` keeps them."""
    said = zip(reasons.place.tolist(), _numbers_as_json(reasons.contribution), strict=True)
    return _as_lists([f"[{place},{contribution}]" for place, contribution in said], reasons)


def _wordings(run_id: str, wordings: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return what reasons say as rows to be kept."""
    rows = (wordings[start : start + WORDINGS_A_ROW] for start in range(0, len(wordings), WORDINGS_A_ROW))
    return [(run_id, number, f"[{','.join(row)}]") for number, row in enumerate(rows)]


def _places(run_id: str, told: Told) -> list[dict[str, Any]]:
    """Return how many of the students are of each school."""
    counts = Counter(zip(told.columns["school_id"], told.columns["county_id"], strict=True))
    return [
        {"run_id": run_id, "number": number, "school_id": school, "county_id": county, "students": students}
        for number, ((school, county), students) in enumerate(counts.items(), start=1)
    ]


def note(database: Database, access: Access) -> None:
    """Write a line of the audit for an access that keeps nothing else."""
    with database.turn() as connection:
        append(connection, access)


def answer_of(database: Database, subject: str, idempotency_key: str) -> Answer | None:
    """Return the answer that was given to this request before."""
    with database.reading() as session:
        found = session.scalar(
            select(Replay).where(Replay.subject == subject, Replay.idempotency_key == idempotency_key)
        )
    if found is None:
        return None
    return Answer(found.request_digest, found.run_id, found.media_type, found.body)


def purge(database: Database, today: str, *, replays_before: datetime | None = None) -> int:
    """Remove the scores of runs that have expired before `today` (ISO) and old answers; return how many scores.

    Those without a day of expiry, as earlier versions could keep them, go a year after their as-of date.
    The runs and the audit stay: they hold no child.
    """
    with database.writing() as session:
        year_before = str(date.fromisoformat(today) - timedelta(days=365))
        old = select(Run.id).where(func.coalesce(Run.expires < today, Run.as_of < year_before))
        session.execute(delete(Replay).where(Replay.run_id.in_(old)))
        if replays_before is not None:
            session.execute(delete(Replay).where(Replay.at < replays_before))
        count = session.scalar(select(func.count()).select_from(Score).where(Score.run_id.in_(old))) or 0
        session.execute(delete(Score).where(Score.run_id.in_(old)))
        session.execute(delete(Wordings).where(Wordings.run_id.in_(old)))
        session.execute(delete(RunPlace).where(RunPlace.run_id.in_(old)))
    database.write_through()
    return count


# Reading within a scope ------------------------------------------------------------------------------


def within(reach: Reach, rows: type[Score] | type[RunPlace] = Score) -> ColumnElement[bool]:
    """Return the condition that a score, or a place of a run, is within reach: `Reach.holds` as SQL."""
    if reach.column is None:
        return false()
    column = rows.school_id if reach.column == "school_id" else rows.county_id
    beginnings = (func.substr(column, 1, len(one)) == one for one in reach.prefixes)  # LIKE ignores case in SQLite
    return or_(column.in_(sorted(reach.exact)), *beginnings)


@dataclass(frozen=True)
class Seen:
    """A run, and how many of its scores somebody may see."""

    run: Run
    students: int


def runs(database: Database, principal: Principal, *, limit: int = 50, before: str | None = None) -> list[Seen]:
    """Return the runs that hold a student within the principal's reach, and its own, the newest first.

    An auditor sees all runs, and of no student more than that it is one among many.

    Parameters
    ----------
    limit
        How many at most.
    before
        Id of the last run of the page before; after one that is not among them there is nothing.
    """
    with database.reading() as session:
        return _seen(session, principal, limit=limit, before=before)


def run(database: Database, principal: Principal, run_id: str) -> Seen | None:
    """Return one run if the principal may see it; None otherwise, whether it is there or not."""
    with database.reading() as session:
        found = _seen(session, principal, limit=1, only=run_id)
    return found[0] if found else None


def _seen(
    session: Session, principal: Principal, *, limit: int, before: str | None = None, only: str | None = None
) -> list[Seen]:
    newest, places = (Run.at.desc(), Run.id.desc()), RunPlace.run_id == Run.id
    listed = select(Run.id)
    if principal.role != "auditor":
        is_within = within(principal.reach, RunPlace)
        places &= is_within
        listed = listed.where(
            or_(Run.subject == principal.subject, Run.id.in_(select(RunPlace.run_id).where(is_within)))
        )
    if only is not None:
        listed = listed.where(Run.id == only)
    if before is not None:
        last = session.scalar(select(Run).where(Run.id == before, Run.id.in_(listed)))
        if last is None:  # also where it is there beyond the reach: when it was made is not theirs to know
            return []
        listed = listed.where(or_(Run.at < last.at, (Run.at == last.at) & (Run.id < last.id)))
    page = listed.order_by(*newest).limit(limit)  # what follows is worked out for these alone
    students = select(func.coalesce(func.sum(RunPlace.students), 0)).where(places).scalar_subquery()
    rows = session.execute(select(Run, students).where(Run.id.in_(page)).order_by(*newest))
    return [Seen(found, seen) for found, seen in rows]


def scores_of(database: Database, principal: Principal, run_id: str) -> pd.DataFrame:
    """Return the scores of a run within the principal's reach, highest risk first."""
    with database.reading() as session:
        rows = session.scalars(
            select(Score).where(Score.run_id == run_id, within(principal.reach)).order_by(Score.position)
        ).all()
        said = _said(session, rows)
    return _frame(rows, said)


class Past(NamedTuple):
    """A score that was kept, the run that it is of, and its reasons, each as `Reason.to_dict` gives it."""

    run: Run
    score: Score
    reasons: list[dict[str, Any]]


def history(database: Database, principal: Principal, name: str, named: Named) -> list[Past]:
    """Return the scores of one student within the principal's reach, the newest run first.

    Parameters
    ----------
    name
        Pseudonym or student id.
    named
        Gives the pseudonym of a student id, by which scores are found.
    """
    is_meant = or_(Score.pseudonym == name, Score.student_id == name)
    in_reach = select(RunPlace.run_id).where(within(principal.reach, RunPlace))
    with database.reading() as session:
        rows = session.execute(
            select(Run, Score)
            .join(Run, Run.id == Score.run_id)
            .where(Score.run_id.in_(in_reach), Score.pseudonym.in_([name, named(name)]))
            .where(is_meant, within(principal.reach))
            .order_by(Run.at.desc(), Run.id.desc())
        ).all()
        said = _said(session, [score for _, score in rows])
    return [Past(found, score, reasons) for (found, score), reasons in zip(rows, said, strict=True)]


def _said(session: Session, scores: Sequence[Score]) -> list[list[dict[str, Any]]]:
    """Return the reasons of scores."""
    needed = sorted({(score.run_id, place // WORDINGS_A_ROW) for score in scores for place, _ in score.reasons})
    told: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for start in range(0, len(needed), _AT_A_TIME):
        rows = tuple_(Wordings.run_id, Wordings.number).in_(needed[start : start + _AT_A_TIME])
        told |= {(row.run_id, row.number): row.told for row in session.scalars(select(Wordings).where(rows))}

    def reason(run_id: str, place: int, contribution: float) -> dict[str, Any]:
        row, at = divmod(place, WORDINGS_A_ROW)
        return {**told[run_id, row][at], "contribution": contribution}

    return [[reason(score.run_id, *one) for one in score.reasons] for score in scores]


_AT_A_TIME = 1000
"""Rows of wordings that one statement asks for: databases take so many values and no more."""

_COLUMNS = ("student_id", "pseudonym", "school_id", "county_id", "class_id", "grade", "risk", "band", "rank")


def _frame(rows: Sequence[Score], reasons: list[list[dict[str, Any]]]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    columns |= {"reasons": reasons, "data_gaps": [row.gaps for row in rows]}
    return pd.DataFrame(columns)
