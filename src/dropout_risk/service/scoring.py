"""From a request body to an answer: parse, score, say what was wrong. The routes in `app` call nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from dropout_risk.bundle import Bundle
from dropout_risk.county import check_county
from dropout_risk.descriptions import FEATURES, Feature, Lang
from dropout_risk.errors import BundleError, SettingsError, TableError
from dropout_risk.explanation import explain
from dropout_risk.flat import score_flat
from dropout_risk.pipeline import score
from dropout_risk.precompile import compile_attendance
from dropout_risk.reference import Reference
from dropout_risk.registry import load_model
from dropout_risk.schema import Problem
from dropout_risk.scores import Scores
from dropout_risk.service.problems import RowsError
from dropout_risk.service.rows import read_rows
from dropout_risk.service.schemas import ScoreRequest
from dropout_risk.service.settings import Settings
from dropout_risk.tables import ROSTER, tables_from_records
from dropout_risk.validation import validate

MAX_PROBLEMS = 200
"""How many problems an answer lists; the others are counted."""

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
        "data": dict(bundle.data),
        "metrics": dict(bundle.metrics),
        "release": dict(bundle.release),
        "card": bundle.card(),
    }


def _describe(name: str, feature: Feature | None, levels: list[Any] | None) -> dict[str, Any]:
    if feature is None:
        return {"name": name, "zh": name, "en": name, "levels": levels}
    return {field: getattr(feature, field) for field in ("name", "zh", "en", "group", "unit", "changeable")}


# The request -----------------------------------------------------------------------------------------


def parse(body: bytes) -> ScoreRequest:
    """Read a request body, which must be JSON.

    Raises
    ------
    HTTPException
        If it is no JSON.
    RowsError
        If it is no `ScoreRequest`; every problem is listed.

    Examples
    --------
    >>> parse(b'{"tables": {}, "reasons": 3}').reasons
    3
    """
    try:
        return ScoreRequest.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise HTTPException(400, f"The body is no JSON that can be read. {found[0]['msg']}.") from None
        problems = [{**_place(fault["loc"]), "message": f"{fault['msg']}."} for fault in found[:MAX_PROBLEMS]]
        raise RowsError("The request is not as /docs describes it; see problems.", problems) from None


def _place(location: Sequence[str | int]) -> dict[str, Any]:
    """Return table, row and column of a place in the body: ``("tables", "grades", 4)`` is the fifth grade."""
    names = [part for part in location if isinstance(part, str)]
    table = names[1] if names[:1] == ["tables"] and len(names) > 1 else None
    row = next((part + 1 for part in location if isinstance(part, int)), None)
    return {"table": table, "row": row, "column": names[-1] if names and table is None else None}


def count_students(request: ScoreRequest) -> int:
    """Return how many students a request brings, at most."""
    tables = request.tables or {}
    return max(len(request.rows or []), len(tables.get("students", [])), len(tables.get(ROSTER, [])))


def answer(request: ScoreRequest, bundle: Bundle) -> dict[str, Any]:
    """Score the students of a request.

    Returns
    -------
    dict
        A `ScoreAnswer` as plain values for JSON; ``rows_in`` is always ``scored + refused_count``.

    Raises
    ------
    SettingsError
        If the request is not of the model's kind, or its as-of date fits no term.
    RowsError
        If nothing can be scored; it lists what was found.
    """
    wanted = "county" if request.rows is None else "flat"
    if bundle.kind != wanted:
        part = "tables" if bundle.kind == "county" else "rows"
        raise SettingsError(f"The model of this service takes {part}; send these, as /docs and GET /model describe.")
    scores, problems = _score_rows(request, bundle) if wanted == "flat" else _score_tables(request, bundle)
    return {
        **scores.to_dict(),
        "problems": [_data_problem(problem, request.lang) for problem in problems[:MAX_PROBLEMS]],
        "problems_left_out": max(len(problems) - MAX_PROBLEMS, 0),
        "model": model_version(bundle),
        "disclaimer": DISCLAIMER[request.lang],
    }


def _where(problem: Problem, lang: Lang) -> dict[str, Any]:
    """Return where something is wrong and what, in one language."""
    place = {name: getattr(problem, name) for name in ("table", "row", "column")}
    return {**place, "message": problem.message_zh if lang == "zh" else problem.message}


def _data_problem(problem: Problem, lang: Lang) -> dict[str, Any]:
    return {**_where(problem, lang), "level": problem.level, "value": problem.value, "count": problem.count}


# A county's tables -----------------------------------------------------------------------------------


def _score_tables(request: ScoreRequest, bundle: Bundle) -> tuple[Scores, list[Problem]]:
    """Score a roster beside the county's reference, so that it gets the numbers of the county's own run."""
    sent = request.tables or {}
    tables = tables_from_records({name: rows for name, rows in sent.items() if rows})  # an empty list has no columns
    reference = Reference.from_dict(bundle.reference) if bundle.reference else None
    try:
        county = check_county(tables)
        scores = score(
            county, bundle, as_of=request.as_of, reasons=request.reasons, lang=request.lang, reference=reference
        )
    except TableError as error:
        found = validate(tables).errors[:MAX_PROBLEMS]
        raise RowsError(str(error), [_where(problem, request.lang) for problem in found]) from error
    return scores, [problem for problem in county.report.problems if not _is_refused_row(problem)]


def _is_refused_row(problem: Problem) -> bool:
    """Whether the problem is told in `refused` already."""
    return problem.table == "enrolments" and problem.level == "error" and problem.row is not None


# Rows of a flat table --------------------------------------------------------------------------------


def _score_rows(request: ScoreRequest, bundle: Bundle) -> tuple[Scores, list[Problem]]:
    records = request.rows or []
    rows = read_rows(records, bundle.model, lang=request.lang)
    if not len(rows.frame):
        raise RowsError(_NOTHING_TO_SCORE, _refused_places(rows.refused))
    scores = score_flat(rows.frame, bundle, reasons=request.reasons, lang=request.lang)
    sent_as = rows.frame.index.to_numpy()[scores.frame["row"] - 1]
    scores = replace(
        scores,
        frame=scores.frame.assign(row=sent_as),
        refused=rows.refused,
        rows_in=len(records),
        notes=(*scores.notes, *rows.notes),
    )
    return scores, []


def _refused_places(refused: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ["table", "row", "column", "message"]
    return [dict(zip(columns, row, strict=True)) for row in refused[columns].itertuples(index=False)]
