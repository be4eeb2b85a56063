"""The runs that were kept, and their scores as a file."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dropout_risk.descriptions import Lang
from dropout_risk.plain import columns_of
from dropout_risk.scores import ranks
from dropout_risk.service.answers import MEDIA_TYPES, format_of, write
from dropout_risk.service.callers import Caller, allowed
from dropout_risk.service.described import WRITTEN, links, problems
from dropout_risk.service.schemas import RunAnswer, RunsAnswer
from dropout_risk.service.scoring import DISCLAIMER
from dropout_risk.service.state import state_of
from dropout_risk.service.wording import gaps_of, language_of, reasons_of
from dropout_risk.store import runs
from dropout_risk.store.runs import Seen

router = APIRouter()

RunId = Annotated[str, Path(description="Id of a run.", pattern=WRITTEN, max_length=64)]

_LINKS: dict[str, Any] = links(show_run="/runs/0/run_id", export_scores="/runs/0/run_id")


@router.get(
    "/runs",
    summary="List the runs",
    response_model=RunsAnswer,
    responses={200: {"links": _LINKS}, **problems(401, 403, 422, 429, 500, 503)},
)
def list_runs(
    request: Request,
    caller: Annotated[Caller, allowed("read_runs")],
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
    before: Annotated[
        str | None, Query(pattern=WRITTEN, max_length=64, description="`next` of the page before.")
    ] = None,
) -> Response:
    """Return the runs that you have made and those that hold a student within your scope, the newest first."""
    state = state_of(request)
    found = runs.runs(state.database, caller.principal, limit=limit + 1, before=before)
    page = found[:limit]
    runs.note(state.database, caller.access(students=0))
    more = page[-1].run.id if len(found) > limit else None
    return JSONResponse({"runs": [_answer(seen, caller) for seen in page], "next": more})


@router.get(
    "/runs/{run_id}",
    summary="Show one run",
    response_model=RunAnswer,
    responses=problems(401, 403, 404, 422, 429, 500, 503),
)
def show_run(request: Request, caller: Annotated[Caller, allowed("read_runs")], run_id: RunId) -> Response:
    """Return when a roster was scored, with which model, and how many of its scores are within your scope."""
    state = state_of(request)
    seen = runs.run(state.database, caller.principal, run_id)
    if seen is None:
        raise caller.beyond(state, "run")
    runs.note(state.database, caller.access(seen.run))
    return JSONResponse(_answer(seen, caller))


@router.get(
    "/runs/{run_id}/scores",
    summary="Export the scores of a run",
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/csv": {"schema": {"type": "string"}},
                MEDIA_TYPES["xlsx"]: {"schema": {"type": "string", "format": "binary"}},
            }
        },
        **problems(401, 403, 404, 406, 422, 429, 500, 503),
    },
)
def export_scores(
    request: Request,
    caller: Annotated[Caller, allowed("list")],
    run_id: RunId,
    lang: Annotated[
        Lang | None, Query(description="Language of the reasons; without it that in which the roster was scored.")
    ] = None,
) -> Response:
    """Return the scores of a run within your scope, by pseudonym, as JSON, CSV or a workbook (`Accept`)."""
    state = state_of(request)
    wanted = format_of(request.headers.get("accept"))
    seen = runs.run(state.database, caller.principal, run_id)
    scores = runs.scores_of(state.database, caller.principal, run_id)
    if seen is None:
        raise caller.beyond(state, "run")
    runs.note(state.database, caller.access(seen.run, students=len(scores)))
    shown = scores.drop(columns=["student_id", "reasons", "data_gaps"])
    shown["rank"] = ranks(scores["risk"].to_numpy(np.float64))  # that in the run would tell how many others there are
    lang = lang or language_of(seen.run)
    said = {
        "reasons": [reasons_of(seen.run, reasons, lang) for reasons in scores["reasons"]],
        "data_gaps": [gaps_of(seen.run, gaps, lang) for gaps in scores["data_gaps"]],
    }
    told: dict[str, Any] = {
        "run_id": run_id,
        "as_of": seen.run.as_of,
        "expires": seen.run.expires,
        "students": columns_of(shown) | {name: runs.as_json(values) for name, values in said.items()},
        "refused": [],
        "disclaimer": DISCLAIMER[lang],
    }
    named = {} if wanted == "json" else {"content-disposition": f'attachment; filename="scores.{wanted}"'}
    return StreamingResponse(write(told, wanted), media_type=MEDIA_TYPES[wanted], headers=named)


def _answer(seen: Seen, caller: Caller) -> dict[str, Any]:
    """Return what somebody may know of a run; how much others have sent is not theirs to know."""
    run, principal = seen.run, caller.principal
    own = run.subject == principal.subject or principal.role == "auditor"
    return {
        "run_id": run.id,
        "at": run.at.isoformat(),
        "as_of": run.as_of,
        "expires": run.expires,
        "purpose": run.purpose,
        "model_version": run.model_version,
        "model_digest": run.model_digest,
        "students": seen.students,
        **{name: getattr(run, name) if own else None for name in ("data_digest", "rows_in", "scored", "refused")},
    }
