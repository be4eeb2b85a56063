"""Score a roster."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import Response

from dropout_risk.errors import SettingsError
from dropout_risk.service import examples
from dropout_risk.service.answers import MEDIA_TYPES, format_of
from dropout_risk.service.bodies import FORM, JSON, PARQUET, AnyBody
from dropout_risk.service.callers import Caller, allowed
from dropout_risk.service.described import form_schema, links, problems, ref, settings_in_address
from dropout_risk.service.runs import score_and_answer
from dropout_risk.service.schemas import ScoreAnswer
from dropout_risk.service.state import state_of

router = APIRouter()

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="idempotency-key",
        description="Any text of your own: the same request under the same key is scored once and answered alike.",
        min_length=1,
        max_length=100,
    ),
]

_ANSWERS: dict[str, Any] = {
    JSON: {"examples": {"county": {"value": examples.SCORE_ANSWER}}},
    "text/csv": {"schema": {"type": "string"}},
    MEDIA_TYPES["xlsx"]: {"schema": {"type": "string", "format": "binary"}},
}
_LINKS: dict[str, Any] = {
    **links(show_run="/run_id", export_scores="/run_id"),
    "student": {"operationId": "student", "parameters": {"name": "$response.body#/students/0/pseudonym"}},
    "targets": {"operationId": "targets", "requestBody": {"run_id": "$response.body#/run_id", "capacity": 10}},
}
_BODIES: dict[str, Any] = {
    JSON: {"schema": ref("ScoreRequest"), "examples": examples.SCORE_REQUESTS},
    FORM: {"schema": form_schema()},
    PARQUET: {"schema": {"type": "string", "format": "binary"}},
}


@router.post(
    "/score",
    summary="Score a roster",
    response_model=ScoreAnswer,
    responses={
        200: {"content": _ANSWERS, "links": _LINKS},
        **problems(400, 401, 403, 406, 408, 413, 415, 422, 429, 500, 503),
    },
    openapi_extra={"parameters": settings_in_address(), "requestBody": {"required": True, "content": _BODIES}},
)
async def score(
    request: Request,
    caller: Annotated[Caller, allowed("score")],
    body: AnyBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Return the risk, the band and the reasons of every student at risk, highest risk first.

    Send JSON, the files that a school exports (CSV or Excel, with Chinese or English headers) as a form, or a roster
    as one Parquet file; `Accept` chooses JSON, CSV or a workbook for the answer. A row that cannot be scored, or lies
    outside the scope of the key, is listed in `refused` with its place and its cause, and the others are scored:
    `rows_in` is always `scored` + `refused_count`. A roster of one school gets the numbers that the county's own run
    gives its students, because the model carries the county's reference values. The run is kept under `run_id`.
    """
    state = state_of(request)
    wanted = format_of(request.headers.get("accept"))
    if idempotency_key is not None and not idempotency_key.isprintable():
        raise SettingsError("An Idempotency-Key is a text of 1 to 100 characters that can be printed.")
    loaded = state.models.require()
    return await state.line.run(
        partial(score_and_answer, state, caller, loaded, body, wanted=wanted, key=idempotency_key), size=body.size
    )
