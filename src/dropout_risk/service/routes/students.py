"""One student: the latest score, why, and the scores before."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from dropout_risk.descriptions import Lang
from dropout_risk.service.callers import Caller, allowed
from dropout_risk.service.described import WRITTEN, problems
from dropout_risk.service.pages import student_page
from dropout_risk.service.schemas import StudentAnswer
from dropout_risk.service.scoring import DISCLAIMER
from dropout_risk.service.state import state_of
from dropout_risk.service.wording import gaps_of, language_of, reasons_of
from dropout_risk.store import runs
from dropout_risk.store.runs import Past

router = APIRouter()

PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get(
    "/students/{name}",
    summary="Show one student",
    response_model=StudentAnswer,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problems(401, 403, 404, 422, 429, 500, 503),
    },
)
def student(
    request: Request,
    caller: Annotated[Caller, allowed("read_student")],
    name: Annotated[
        str, Path(description="The pseudonym of a list, or the student id.", pattern=WRITTEN, max_length=80)
    ],
    open: Annotated[bool, Query(description="Show the student id; asks for a role that may.")] = False,
    lang: Annotated[
        Lang | None, Query(description="Language of page and reasons; without it that of the latest score.")
    ] = None,
) -> Response:
    """Return the latest score of a student within your scope, its reasons, and the scores before.

    With `Accept: text/html` it is one page to print. The student id is shown only with `open=true`, which is written
    down apart.
    """
    state = state_of(request)
    if open:
        caller = caller.also(state, "open_student")
    found = runs.history(state.database, caller.principal, name, state.named)
    if not found:
        raise caller.beyond(state, "student")
    run, score, _ = found[0]
    runs.note(state.database, caller.access(run, students=1, pseudonym=score.pseudonym))
    lang = lang or language_of(run)
    told = _answer(found, caller, open=open, lang=lang)
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(student_page(told, lang), headers=PAGE_HEADERS)
    return JSONResponse(told)


def _answer(found: list[Past], caller: Caller, *, open: bool, lang: Lang) -> dict[str, Any]:
    run, score, _ = found[0]
    history = [_entry(past, caller, lang) for past in found]
    return {
        "pseudonym": score.pseudonym,
        "student_id": score.student_id if open else None,
        **{name: getattr(score, name) for name in ("school_id", "county_id", "class_id", "grade")},
        "expired": run.expires is not None and run.expires < str(datetime.now(UTC).date()),
        "latest": history[0],
        "history": history,
        "disclaimer": DISCLAIMER[lang],
    }


def _entry(past: Past, caller: Caller, lang: Lang) -> dict[str, Any]:
    run, score, reasons = past
    own = run.subject == caller.principal.subject  # in another's run the rank would tell of students beyond the scope
    return {
        "run_id": run.id,
        "at": run.at.isoformat(),
        "as_of": run.as_of,
        "expires": run.expires,
        "model_version": run.model_version,
        "risk": score.risk,
        "band": score.band,
        "reasons": reasons_of(run, reasons, lang),
        "rank": score.rank if own else None,
        "data_gaps": gaps_of(run, score.gaps, lang),
    }
