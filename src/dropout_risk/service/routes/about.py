"""What the service is and how it is: the model, its health, its figures, its documentation."""

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from dropout_risk.errors import StoreError
from dropout_risk.service.callers import Caller, allowed, may_watch
from dropout_risk.service.described import problems
from dropout_risk.service.docs import docs_page
from dropout_risk.service.metrics import CONTENT_TYPE
from dropout_risk.service.routes.students import PAGE_HEADERS
from dropout_risk.service.schemas import Health, ModelAnswer
from dropout_risk.service.state import state_of

router = APIRouter()


@router.get(
    "/model",
    summary="Describe the model",
    response_model=ModelAnswer,
    responses=problems(401, 403, 422, 429, 500, 503),
)
def model(request: Request, caller: Annotated[Caller, allowed("read_model")]) -> Response:
    """Return what the model is, what it learned from, how it was judged and released, and which features it uses."""
    return Response(state_of(request).models.require().described, media_type="application/json")


@router.get("/health/live", summary="Is the process alive?", response_model=Health)
async def live() -> Response:
    """Answer as long as the process runs; neither model nor store is needed."""
    return JSONResponse({"status": "alive"})


@router.get("/health/ready", summary="Can it score?", response_model=Health, responses=problems(503))
def ready(request: Request) -> Response:
    """Answer 200 once model and store are in place; `trouble` tells why a newer model is not in use."""
    state = state_of(request)
    loaded = state.models.require()
    if (trouble := state.store_trouble()) is not None:
        raise StoreError(trouble)
    told = {"status": "ready", "model": loaded.bundle.version_label, "trouble": state.models.trouble}
    return JSONResponse(told)


@router.get(
    "/metrics",
    summary="Figures for monitoring",
    response_class=PlainTextResponse,
    responses=problems(401, 403, 422, 429, 500, 503),
)
def metrics(request: Request, watcher: Annotated[None, may_watch()]) -> Response:
    """Return counts, times, the age of the model and how far the students have moved from those in training.

    From this machine no key is needed. From others the figures would tell strangers what somebody's roster came to, so
    these need the key of an auditor or an administrator.
    """
    state = state_of(request)
    state.measure()
    return Response(state.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Return the page that explains all of this, without anything from the network."""
    return HTMLResponse(docs_page(request.app.openapi()), headers=PAGE_HEADERS)
