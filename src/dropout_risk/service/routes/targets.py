"""Whom to help first with the people there are."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dropout_risk.descriptions import Lang
from dropout_risk.errors import SettingsError
from dropout_risk.plain import plain
from dropout_risk.service.bodies import JSON, JsonBody
from dropout_risk.service.callers import Caller, allowed
from dropout_risk.service.described import problems, ref
from dropout_risk.service.models import Loaded
from dropout_risk.service.problems import also_saying
from dropout_risk.service.runs import score_and_keep
from dropout_risk.service.schemas import TargetsAnswer, TargetsRequest
from dropout_risk.service.scoring import DISCLAIMER, checked, roster_of
from dropout_risk.service.state import State, state_of
from dropout_risk.service.wording import gaps_of, reasons_of
from dropout_risk.store import runs
from dropout_risk.store.schema import Run
from dropout_risk.targets import TargetList, target_list

router = APIRouter()

_COLUMNS = ("pseudonym", "school_id", "county_id", "class_id", "grade", "risk", "band", "reasons", "data_gaps")

_KEPT = (
    "The roster was scored before that and is kept as the run {run}: send run_id in place of tables, and it is not "
    "scored again."
)


@router.post(
    "/targets",
    summary="List whom to help first",
    response_model=TargetsAnswer,
    responses=problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503),
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": ref("TargetsRequest")}}}},
)
async def targets(request: Request, caller: Annotated[Caller, allowed("list")], body: JsonBody) -> Response:
    """Return the students within your scope with the highest risk, as many as can be supported, by pseudonym.

    `expected` says how many of them would leave without help, as far as past lists tell, with intervals. Equal risks
    at the cut are drawn by `seed`.
    """
    state = state_of(request)
    loaded = state.models.require()
    return await state.line.run(lambda: _list(state, caller, loaded, body), size=len(body))


def _list(state: State, caller: Caller, loaded: Loaded, body: bytes) -> Response:
    wanted = checked(TargetsRequest, body)
    if wanted.run_id is not None:
        return _list_run(state, caller, loaded, wanted, wanted.run_id)
    roster = roster_of(wanted, state.settings.max_students)
    made = score_and_keep(state, caller.also(state, "score"), loaded, roster, sha256(body).hexdigest())
    with also_saying(_KEPT.format(run=made.run.id)):
        if not made.run.scored:
            raise SettingsError("No student of this roster got a score; POST /score says of each row why.")
        return _list_run(state, caller, loaded, wanted, made.run.id)


def _list_run(state: State, caller: Caller, loaded: Loaded, wanted: TargetsRequest, run_id: str) -> Response:
    seen = runs.run(state.database, caller.principal, run_id)
    scores = runs.scores_of(state.database, caller.principal, run_id)
    if seen is None:
        raise caller.beyond(state, "run")
    if scores.empty:
        raise SettingsError("No score of this run is kept any more within your scope; score the roster again.")
    own = loaded.bundle.digest == seen.run.model_digest
    chosen = target_list(
        scores,
        capacity=wanted.capacity,
        place="school_id" if wanted.per == "school" else "county_id",
        floor_per_school=wanted.floor_per_school,
        backtest=loaded.backtest if own else None,
        seed=wanted.seed,
    )
    runs.note(state.database, caller.access(seen.run, students=len(chosen.frame)))
    return JSONResponse(_answer(seen.run, chosen, considered=len(scores), wanted=wanted))


def _answer(run: Run, chosen: TargetList, *, considered: int, wanted: TargetsRequest) -> dict[str, Any]:
    students = chosen.frame.assign(rank=range(1, len(chosen.frame) + 1))
    told = chosen.to_dict()
    return {
        "run_id": run.id,
        "as_of": run.as_of,
        "expires": run.expires,
        "students": [_student(run, row, wanted.lang) for row in _rows(students)],
        "considered": considered,
        "expected": {
            "basis": told["basis"],
            "confidence": told["confidence"],
            **told["overall"],
            "places": told["places"],
        },
        "notes": [note[wanted.lang] for note in chosen.notes],
        "disclaimer": DISCLAIMER[wanted.lang],
    }


def _student(run: Run, row: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    told: dict[str, Any] = plain({name: row[name] for name in (*_COLUMNS, "rank")})
    return told | {
        "reasons": reasons_of(run, told["reasons"], lang),
        "data_gaps": gaps_of(run, told["data_gaps"], lang),
    }


def _rows(frame: Any) -> list[dict[str, Any]]:
    known = frame.astype(object).where(frame.notna(), None)
    rows: list[dict[str, Any]] = known.to_dict("records")
    return rows
