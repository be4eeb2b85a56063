"""The service as an application: routes, middleware, start and end."""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware

from dropout_risk import __version__
from dropout_risk.service import problems
from dropout_risk.service.described import REF_TEMPLATE
from dropout_risk.service.headers import SecurityHeaders
from dropout_risk.service.logs import HEADER, Logged, write_json_lines
from dropout_risk.service.metrics import Measured
from dropout_risk.service.routes import about, runs, score, students, targets
from dropout_risk.service.schemas import Problem, ScoreRequest, TargetsRequest
from dropout_risk.service.settings import Settings, load_settings
from dropout_risk.service.state import State

_COLLECT_AFTER = (20_000, 10, 10)
"""After how many new objects Python looks for garbage: a roster of 500 leaves some ten thousand, of which none is."""

_OF_MLFLOW = {
    "MLFLOW_CONFIGURE_LOGGING": "false",  # else it writes log lines of its own, and progress bars among them
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # else a registry that is down is noticed after minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI would tell whatever traces in this process the addresses, which may hold ids, and the texts of failures."""

DESCRIPTION = """\
Send the roster of a school and get, for each student, the risk of leaving school in the next term, its band and \
the reasons for it. A risk is a reason to help, never a verdict; a person decides.

Every request needs a key, which reaches the students of its own school, county or province and no others. Of what is \
sent, only the student ids, the places, the risks and their reasons are kept; names and ID numbers are not needed and \
never kept. Every access to a child's data is written down."""


class _Service(FastAPI):
    """FastAPI whose OpenAPI document also describes the bodies that the routes read and write by hand."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; made once."""
        document = super().openapi()
        _, bodies = models_json_schema(
            [(ScoreRequest, "validation"), (TargetsRequest, "validation"), (Problem, "serialization")],
            ref_template=REF_TEMPLATE,
        )
        document["components"]["schemas"] |= bodies["$defs"]
        document["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "A key, or a token of the OpenID provider."},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path, operations in document["paths"].items():
            if not path.startswith(("/health", "/metrics")):
                for operation in operations.values():
                    operation["security"] = [{"key": []}, {"header": []}]
        return document


def create_app(settings: Settings) -> FastAPI:
    """Return the service; its model is loaded when it starts.

    Where the model cannot be loaded, or the store does not answer, the service starts all the same:
    ``/health/ready`` and the others answer 503 with the reason, until it can.

    Parameters
    ----------
    settings
        Model, store, access, and the limits of a request.

    Examples
    --------
    >>> app = create_app(Settings(max_students=500))
    >>> sorted(app.openapi()["paths"])[-3:]
    ['/score', '/students/{name}', '/targets']
    """
    app = _Service(
        title="dropout-risk", version=__version__, description=DESCRIPTION,
        docs_url=None, redoc_url=None, lifespan=_lifespan, telemetry=_SILENT,
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    app.state.service = state = State(settings)
    for module in (score, targets, students, runs, about):
        app.include_router(module.router)
    problems.install(app)  # innermost: what stands below sees its answers
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "idempotency-key", "x-api-key", "x-purpose", HEADER],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Measured, metrics=state.metrics)
    app.add_middleware(Logged)
    return app


def from_environment() -> FastAPI:
    """Return the service by the settings of the environment, with its log as JSON lines: what a server starts."""
    for name, value in _OF_MLFLOW.items():
        os.environ.setdefault(name, value)
    write_json_lines()
    app = create_app(load_settings())
    _spare_collecting()
    return app


def _spare_collecting() -> None:
    """Let Python look for garbage in what requests leave, and not again and again in what was there before them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.service
    await to_thread.run_sync(state.models.start)
    await to_thread.run_sync(state.store_trouble)
    yield
    await to_thread.run_sync(state.close)
