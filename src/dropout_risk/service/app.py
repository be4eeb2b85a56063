"""The service as an application: short routes; what they do is in `scoring`."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dropout_risk import __version__
from dropout_risk.bundle import Bundle
from dropout_risk.errors import BundleError, DropoutRiskError
from dropout_risk.service import examples, problems, scoring
from dropout_risk.service.docs import docs_page
from dropout_risk.service.schemas import Health, ModelAnswer, Problem, ScoreAnswer, ScoreRequest
from dropout_risk.service.settings import Settings

DESCRIPTION = """\
Send the roster of a school and get, for each student, the risk of leaving school in the next term, its band and \
the reasons for it. A risk is a reason to help, never a verdict; a person decides.

Nothing that is sent is kept, and neither names nor ID numbers are needed."""

_REF = "#/components/schemas/{model}"
_PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_NOT_STARTED = "the service is starting"

_log = logging.getLogger(__name__)


class _Service(FastAPI):
    """FastAPI whose OpenAPI document also describes the bodies that the routes read and write by hand."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; made once."""
        document = super().openapi()
        _, bodies = models_json_schema([(ScoreRequest, "validation"), (Problem, "serialization")], ref_template=_REF)
        document["components"]["schemas"] |= bodies["$defs"]
        return document


def create_app(settings: Settings) -> FastAPI:
    """Return the service; its model is loaded when it starts.

    Where the model cannot be loaded the service starts all the same: ``/health/ready`` and ``/score``
    answer 503 with the reason.

    Parameters
    ----------
    settings
        Which model to load, and the limits of a request.

    Examples
    --------
    >>> app = create_app(Settings(max_students=500))
    >>> sorted(app.openapi()["paths"])
    ['/health/live', '/health/ready', '/model', '/score']
    """
    app = _Service(
        title="dropout-risk", version=__version__, description=DESCRIPTION,
        docs_url=None, redoc_url=None, lifespan=_lifespan,
    )  # fmt: skip
    app.state.settings = settings
    app.state.bundle, app.state.reason = None, _NOT_STARTED
    # More requests at a time than cores would only take each other's memory.
    app.state.limiter = CapacityLimiter(os.cpu_count() or 1)
    app.include_router(_routes)
    problems.install(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = app.state.settings
    try:
        app.state.bundle = await to_thread.run_sync(scoring.load, settings)
        _log.info("model %s is loaded", app.state.bundle.version_label)
    except DropoutRiskError as error:
        app.state.reason = str(error)
        _log.error("no model is loaded: %s", error)
    yield


# What a request needs --------------------------------------------------------------------------------


async def _loaded_bundle(request: Request) -> Bundle:
    bundle: Bundle | None = request.app.state.bundle
    if bundle is None:
        raise BundleError(f"No model is loaded: {request.app.state.reason}")
    return bundle


LoadedBundle = Annotated[Bundle, Depends(_loaded_bundle)]


async def _json_body(request: Request) -> bytes:
    """Return the body of a JSON request, reading no more of it than the limit allows."""
    _require_json(request)
    limit = request.app.state.settings.max_body_bytes
    too_large = HTTPException(413, f"The request is over {limit:,} bytes; send fewer students at a time.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
    except ClientDisconnect:
        raise HTTPException(400, "The connection was closed before the request had come in.") from None
    return bytes(body)


def _require_json(request: Request) -> None:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "text/plain")
    charset = header.get_content_charset("utf-8")
    if header.get_content_type() != "application/json" or charset != "utf-8":
        raise HTTPException(415, "Send JSON in UTF-8, with the header Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "Send the request uncompressed, without the header Content-Encoding.")


JsonBody = Annotated[bytes, Depends(_json_body)]


# Routes ----------------------------------------------------------------------------------------------


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route, as OpenAPI describes them."""
    return {
        status: {
            "description": example["title"],
            "content": {
                problems.MEDIA_TYPE: {
                    "schema": {"$ref": _REF.format(model="Problem")},
                    "examples": {"problem": {"value": example}},
                }
            },
        }
        for status, example in ((status, examples.PROBLEMS[status]) for status in statuses)
    }


_routes = APIRouter()


@_routes.post(
    "/score",
    summary="Score a roster",
    response_model=ScoreAnswer,
    responses={
        200: {"content": {"application/json": {"examples": {"county": {"value": examples.SCORE_ANSWER}}}}},
        **_problems(400, 413, 415, 422, 500, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REF.format(model="ScoreRequest")},
                    "examples": examples.SCORE_REQUESTS,
                }
            },
        }
    },
)
async def score(request: Request, bundle: LoadedBundle, body: JsonBody) -> Response:
    """Return the risk, the band and the reasons of every student at risk, highest risk first.

    A row that cannot be scored is listed in `refused` with its place and its cause, and the others are scored:
    `rows_in` is always `scored` + `refused_count`. A roster of one school gets the numbers that the county's own
    run gives its students, because the model carries the county's reference values.
    """
    state = request.app.state
    return await to_thread.run_sync(_answer, body, bundle, state.settings, limiter=state.limiter)


def _answer(body: bytes, bundle: Bundle, settings: Settings) -> Response:
    """Parse, score and write the answer; runs in a thread, so that the event loop stays free."""
    wanted = scoring.parse(body)
    if (count := scoring.count_students(wanted)) > settings.max_students:
        raise HTTPException(413, f"{count:,} students are over the limit of {settings.max_students:,}; send fewer.")
    return JSONResponse(scoring.answer(wanted, bundle), headers={"cache-control": "no-store"})


@_routes.get("/model", summary="Describe the model", response_model=ModelAnswer, responses=_problems(503))
async def model(bundle: LoadedBundle) -> Response:
    """Return what the model is, what it learned from, how it was judged and which features it uses."""
    return JSONResponse(scoring.describe_model(bundle))


@_routes.get("/health/live", summary="Is the process alive?", response_model=Health)
async def live() -> Response:
    """Answer as long as the process runs; a model is not needed."""
    return JSONResponse({"status": "alive"})


@_routes.get("/health/ready", summary="Can it score?", response_model=Health, responses=_problems(503))
async def ready(bundle: LoadedBundle) -> Response:
    """Answer 200 once the model is loaded, checked and warm; 503 with the reason when it is not."""
    return JSONResponse({"status": "ready", "model": bundle.version_label})


@_routes.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Return the page that explains all of this, without anything from the network."""
    return HTMLResponse(docs_page(request.app.openapi()), headers=_PAGE_HEADERS)
