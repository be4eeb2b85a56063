"""From what was sent to an answer: read, score within a scope, say what was wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.exceptions import HTTPException

from dropout_risk.access import Reach
from dropout_risk.applicability import Limits, check_day
from dropout_risk.arrays import first_rows, row_labels, texts
from dropout_risk.asof import Terms, rows_in_term, to_day
from dropout_risk.bundle import Bundle
from dropout_risk.county import County, check_county, newest_day, refuse
from dropout_risk.descriptions import FEATURES, Feature, Lang
from dropout_risk.errors import BundleError, SettingsError, TableError
from dropout_risk.explanation import explain
from dropout_risk.features import build_features
from dropout_risk.flat import score_flat
from dropout_risk.pipeline import score
from dropout_risk.plain import columns_of
from dropout_risk.precompile import compile_attendance, compile_exams
from dropout_risk.reference import Reference
from dropout_risk.registry import load_model
from dropout_risk.schema import Problem, Tables
from dropout_risk.scores import Scores
from dropout_risk.service.problems import RowsError
from dropout_risk.service.rows import read_rows
from dropout_risk.service.schemas import ScoreRequest
from dropout_risk.service.settings import Settings
from dropout_risk.service.uploads import settings_of, tables_of
from dropout_risk.store.runs import Told
from dropout_risk.tables import ROSTER, ROSTER_TABLES, tables_from_records
from dropout_risk.validation import validate

Request = TypeVar("Request", bound=BaseModel)

MAX_PROBLEMS = 200
"""How many problems an answer lists; the others are counted."""

MAX_ROWS_A_STUDENT = 20
"""How many enrolments or household records a student may have, on average: more are no roster."""

DISCLAIMER: dict[Lang, str] = {
    "zh": "风险只是提供帮助的理由，绝不是结论；由人作出决定。",
    "en": "A risk is a reason to help, never a verdict; a person decides.",
}

_NOTHING_TO_SCORE = "There is no row that can be scored; send rows, and correct those listed in problems."


# The model -------------------------------------------------------------------------------------------


def load(settings: Settings) -> Bundle:
    """Fetch the model, check it, and score once so that the first request finds everything in place.

    Raises
    ------
    BundleError
        If the model is damaged, or has learned other features than this version builds.
    RegistryError
        If MLflow does not answer or lacks the model.
    """
    bundle = load_model(settings.model, tracking_uri=settings.tracking_uri)
    names = bundle.model.feature_names
    if bundle.kind == "county" and set(names) != set(FEATURES):
        differing = ", ".join(sorted(set(names) ^ set(FEATURES)))
        raise BundleError(
            f"The model {settings.model} has learned other features than this version builds ({differing}): train "
            f"it again, or install dropout-risk {bundle.versions.get('dropout-risk')}, which made it."
        )
    bundle.model.set_params(n_jobs=1)
    compile_attendance()
    compile_exams()
    row = {name: [np.nan] for name in names} | {name: pd.Categorical([None]) for name in bundle.model.categories_}
    explain(bundle.model, pd.DataFrame(row)[names])
    return bundle


def model_version(bundle: Bundle) -> dict[str, Any]:
    """Return which model it is, in four values."""
    return {
        "version": bundle.version_label,
        "created": bundle.created,
        "preset": bundle.preset,
        "horizon": bundle.horizon,
    }


def describe_model(bundle: Bundle) -> dict[str, Any]:
    """Return what people may want to know about the model before they trust it."""
    levels = bundle.model.categories_
    return {
        **model_version(bundle),
        "kind": bundle.kind,
        "bands": dict(bundle.bands),
        "features": [_describe(name, FEATURES.get(name), levels.get(name)) for name in bundle.model.feature_names],
        "data": {name: value for name, value in bundle.data.items() if name != "profile"},
        "metrics": dict(bundle.metrics),
        "release": dict(bundle.release),
        "card": bundle.card(),
    }


def _describe(name: str, feature: Feature | None, levels: list[Any] | None) -> dict[str, Any]:
    if feature is None:
        return {"name": name, "zh": name, "en": name, "levels": levels}
    return {field: getattr(feature, field) for field in ("name", "zh", "en", "group", "unit", "changeable")}


# The request -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Roster:
    """What a request brings to be scored: canonical tables, or the rows of a flat table."""

    as_of: str | None
    lang: Lang
    reasons: int
    tables: Tables | None = None
    rows: Sequence[Mapping[str, Any]] | None = None


def read_json(body: bytes, max_students: int) -> Roster:
    """Read a JSON body.

    Raises
    ------
    HTTPException
        If it is no JSON, or brings too many students.
    RowsError
        If it is no `ScoreRequest`; every problem is listed.
    TableError
        If a table is none.

    Examples
    --------
    >>> read_json(b'{"tables": {}, "reasons": 3}', 10).reasons
    3
    """
    request = checked(ScoreRequest, body)
    return roster_of(request, max_students)


def checked(model: type[Request], body: bytes) -> Request:
    """Return a JSON body as a model of `schemas`; raises as `read_json` does."""
    with suppress(ValueError):
        return model.model_validate(from_json(body, cache_strings="keys"))  # in a third of the time
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise HTTPException(400, f"The body is no JSON that can be read. {found[0]['msg']}.") from None
        raise _rows_error(found) from None


def _rows_error(found: Sequence[ErrorDetails]) -> RowsError:
    told = islice(_in_one_form(found), MAX_PROBLEMS)
    problems = [{**_place(fault["loc"]), "message": f"{fault['msg'].removeprefix('Value error, ')}."} for fault in told]
    return RowsError("The request is not as /docs describes it; see problems.", problems)


def _in_one_form(found: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Yield the faults but for those that only say that a table is not in the other of its two forms.

    A table is a list of records or an object of columns, and pydantic tells what is wrong with it as either.
    """
    told = {
        fault["loc"][1] for fault in found if fault["loc"][:1] == ("tables",) and len(fault["loc"]) > _FORM_OF_A_TABLE
    }
    for fault in found:
        if fault["loc"][:1] == ("tables",) and len(fault["loc"]) == _FORM_OF_A_TABLE:
            if (table := fault["loc"][1]) in told:
                continue
            told.add(table)
        yield fault


_FORM_OF_A_TABLE = 3
"""How long the place of a form of a table is: ``("tables", "grades", "list[dict]")``."""


def _place(location: Sequence[str | int]) -> dict[str, Any]:
    """Return table, row and column of a place in the body: row 4 of ``("tables", "grades", …)`` is the fifth grade."""
    names = [part for part in location if isinstance(part, str)]
    row = next((part + 1 for part in location if isinstance(part, int)), None)
    if names[:1] != ["tables"] or len(names) == 1:
        return {"table": None, "row": row, "column": names[-1] if names else None}
    return {"table": names[1], "row": row, "column": names[_FORM_OF_A_TABLE] if len(names) > _FORM_OF_A_TABLE else None}


def roster_of(request: ScoreRequest, max_students: int) -> Roster:
    """Return what a request brings."""
    tables = None if request.tables is None else _read_records(request.tables, max_students)
    _refuse_too_many(len(request.rows or []), max_students)
    day = None if request.as_of is None else request.as_of.isoformat()
    return Roster(day, request.lang, request.reasons, tables=tables, rows=request.rows)


def _read_records(sent: Mapping[str, Any], max_students: int) -> Tables:
    """Read the tables of a JSON body; what is far too long is refused before it is read."""
    for name in (*ROSTER_TABLES, ROSTER):
        _refuse_too_many(_length(sent.get(name, [])), max_students * (1 if name == "students" else MAX_ROWS_A_STUDENT))
    tables = tables_from_records({name: rows for name, rows in sent.items() if rows})  # an empty list has no columns
    _refuse_too_many(_count_students(tables), max_students)
    return tables


def _length(rows: Sequence[Any] | Mapping[str, Sequence[Any]]) -> int:
    return len(next(iter(rows.values()), [])) if isinstance(rows, Mapping) else len(rows)


def _count_students(tables: Tables) -> int:
    """Return how many students stand in the roster, those of whom only an enrolment is known included."""
    return len({id for name in ("students", "enrolments") for id in texts(tables, name, "student_id").names})


def _refuse_too_many(count: int, limit: int) -> None:
    if count > limit:
        raise HTTPException(413, f"{count:,} students are over the limit of {limit:,}; send fewer at a time.")


def read_files(files: Mapping[str, bytes], fields: Mapping[str, str], max_students: int) -> Roster:
    """Read uploaded files and the settings beside them.

    Raises
    ------
    RowsError
        If a setting cannot be used.
    TableError
        If a file cannot be used.
    HTTPException
        If they bring too many students.
    """
    settings = settings_of(fields)
    term = settings.pop("term", None)
    request = checked(ScoreRequest, json.dumps({**settings, "tables": {}}).encode())
    tables = tables_of(files, term=term)
    _refuse_too_many(_count_students(tables), max_students)
    day = None if request.as_of is None else request.as_of.isoformat()
    return Roster(day, request.lang, request.reasons, tables=tables)


# Scoring ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a roster, what else is wrong with its data, and the features that they come from."""

    scores: Scores
    problems: Sequence[Problem]
    lang: Lang
    features: pd.DataFrame


def score_roster(roster: Roster, bundle: Bundle, reach: Reach, limits: Limits) -> Scored:
    """Score the students of a roster that are within reach.

    Raises
    ------
    SettingsError
        If the roster is not of the model's kind, or its as-of date fits no term.
    RowsError
        If nothing can be scored; it lists what was found.
    """
    wanted = "county" if roster.rows is None else "flat"
    if bundle.kind != wanted:
        part = "tables" if bundle.kind == "county" else "rows"
        raise SettingsError(f"The model of this service takes {part}; send these, as /docs and GET /model describe.")
    return _score_rows(roster, bundle) if wanted == "flat" else _score_tables(roster, bundle, reach, limits)


def answer(scored: Scored, bundle: Bundle, students: Told, *, run_id: str) -> dict[str, Any]:
    """Return a `ScoreAnswer` as `answers.write` takes it; ``rows_in`` is always ``scored + refused_count``.

    Parameters
    ----------
    scored
        From `score_roster`.
    bundle
        The model.
    students
        The students of `scored` as they are kept.
    run_id
        Id of the run that was kept.
    """
    return {
        "run_id": run_id,
        **scored.scores.around(students.columns),
        "problems": [_data_problem(problem, scored.lang) for problem in scored.problems[:MAX_PROBLEMS]],
        "problems_left_out": max(len(scored.problems) - MAX_PROBLEMS, 0),
        "model": model_version(bundle),
        "disclaimer": DISCLAIMER[scored.lang],
    }


def _where(problem: Problem, lang: Lang) -> dict[str, Any]:
    """Return where something is wrong and what, in one language."""
    place = {name: getattr(problem, name) for name in ("table", "row", "column")}
    return {**place, "message": problem.message_zh if lang == "zh" else problem.message}


def _data_problem(problem: Problem, lang: Lang) -> dict[str, Any]:
    return {**_where(problem, lang), "level": problem.level, "value": problem.value, "count": problem.count}


# A county's tables -----------------------------------------------------------------------------------


def _score_tables(roster: Roster, bundle: Bundle, reach: Reach, limits: Limits) -> Scored:
    """Score a roster beside the county's reference, so that it gets the numbers of the county's own run."""
    assert roster.tables is not None
    reference = reference_of(bundle)
    limits = replace(limits, grades=bundle.data.get("grades"))
    tables = _completed(roster.tables, reference)
    try:
        county = check_county(tables)
        day = _day_of(roster, county)
        check_day(county.tables, day, today=_today(), learned_from=bundle.data.get("learned_from"))
        if foreign := outside(county, day, reach, reference):
            county = refuse(county, foreign)
        features = build_features(county.tables, day, reference=reference)
        scores = score(
            county,
            bundle,
            as_of=day.date(),
            reasons=roster.reasons,
            lang=roster.lang,
            reference=reference,
            features=features,
            limits=limits,
        )
    except TableError as error:
        found = validate(tables).errors[:MAX_PROBLEMS]
        raise RowsError(str(error), [_where(problem, roster.lang) for problem in found]) from error
    problems = [problem for problem in county.report.problems if not _is_refused_row(problem)]
    return Scored(scores, problems, roster.lang, features)


@lru_cache(maxsize=1)
def reference_of(bundle: Bundle) -> Reference | None:
    """Return what the model in use knows of the county, with all that is made from it once."""
    return Reference.from_dict(bundle.reference) if bundle.reference else None


def _completed(tables: Tables, reference: Reference | None) -> Tables:
    """Return the tables with the county's schools and terms where they come without: a register export has neither."""
    lacking = [name for name in ("schools", "terms") if not len(row_labels(tables, name))]
    if reference is None or not lacking:
        return tables
    known = reference.tables()
    return tables.replace(**{name: known[name] for name in lacking if name in known})


def _day_of(roster: Roster, county: County) -> pd.Timestamp:
    """Return the day whose knowledge counts; a term that is still running is not scored as if it were over."""
    if roster.as_of is not None:
        return to_day(roster.as_of)
    end, terms = newest_day(county), Terms.of(county.tables)
    return min(end, max(terms.start(terms.at(end)), _today()))


def _today() -> pd.Timestamp:
    """Return the date where it is latest on earth: nobody's today is a day to come."""
    return to_day(datetime.now(UTC) + timedelta(hours=14))


def outside(county: County, day: pd.Timestamp, reach: Reach, reference: Reference | None) -> list[Problem]:
    """Return the roster rows of the term of `day` whose students are not within reach, each as a problem.

    Earlier terms are not asked: where a child has been before belongs to its own record. The county of a school is
    the one that the model knows it in, so that nobody brings a school within reach by writing another county beside it.
    """
    tables = county.tables
    rows, school = (
        rows_in_term(tables, "enrolments", Terms.of(tables).at(day)),
        texts(tables, "enrolments", "school_id"),
    )
    told, known = _counties(tables), {} if reference is None else reference.schools
    faults = [_fault_of(name, told.get(name), known.get(name), reach) for name in school.names]
    fault = np.array([*faults, "outside_scope"], dtype=object)[school.codes[rows]]
    position = row_labels(tables, "enrolments")
    return [
        _refused(county, row, kind)
        for kind in ("outside_scope", "other_county")
        for row in position[rows[fault == kind]].tolist()
    ]


def _fault_of(school: str, told: str | None, known: Mapping[str, Any] | None, reach: Reach) -> str | None:
    """Return what is wrong with a school that is told to be in one county and known in another; None if nothing is."""
    county = told if known is None or known["county_id"] is None else known["county_id"]
    if not reach.holds(school, county):
        return "outside_scope"
    return "other_county" if told is None or county != told else None


def _counties(tables: Tables) -> dict[str, str | None]:
    """Return the county that the table schools tells of each school."""
    school, county = texts(tables, "schools", "school_id"), texts(tables, "schools", "county_id")
    names, code = [*county.names, None], np.append(county.codes, -1)[first_rows(school)]
    return {name: names[place] for name, place in zip(school.names, code, strict=True)}


_REFUSED: dict[str, dict[Lang, str]] = {
    "outside_scope": {
        "zh": "该生所在学校不在您的密钥范围内；请删除该行，或使用该校的密钥。",
        "en": "this student is of a school outside the scope of your key; leave the row out, or use a key for that "
        "school.",
    },
    "other_county": {
        "zh": "学校表中该校的县（市、区）与模型所知的不一致；请更正学校表中的 county_id。",
        "en": "the model knows this school in another county than the table schools says; correct county_id there.",
    },
}


def _refused(county: County, position: int, kind: str) -> Problem:
    file, row = county.as_read.locate("enrolments", position)
    said = _REFUSED[kind]
    return Problem(
        "error", kind, "enrolments", said["en"], said["zh"], file=file, row=row, column="school_id", position=position
    )


def _is_refused_row(problem: Problem) -> bool:
    """Whether the problem is told in `refused` already."""
    return problem.table == "enrolments" and problem.level == "error" and problem.row is not None


# Rows of a flat table --------------------------------------------------------------------------------


def _score_rows(roster: Roster, bundle: Bundle) -> Scored:
    records = roster.rows or []
    rows = read_rows(records, bundle.model, lang=roster.lang)
    if not len(rows.frame):
        raise RowsError(_NOTHING_TO_SCORE, _refused_places(rows.refused))
    scores = score_flat(rows.frame, bundle, reasons=roster.reasons, lang=roster.lang)
    sent_as = rows.frame.index.to_numpy()[np.array(scores.students["row"]) - 1].tolist()
    scores = replace(
        scores,
        students={**scores.students, "row": sent_as},
        refusals=columns_of(rows.refused),
        rows_in=len(records),
        notes=(*scores.notes, *rows.notes),
    )
    return Scored(scores, [], roster.lang, rows.frame)


def _refused_places(refused: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ["table", "row", "column", "message"]
    return [dict(zip(columns, row, strict=True)) for row in refused[columns].itertuples(index=False)]
