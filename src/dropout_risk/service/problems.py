"""Errors as problem documents (RFC 9457), so that a client reads every one of them in the same way.

What a person has to change stands in the answer, not in the log: the log never holds a value that was
sent, because a value may be a student's.
"""

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropout_risk.errors import DropoutRiskError, InputError

MEDIA_TYPE = "application/problem+json"
BLANK = "about:blank"
"""Type of a problem that its HTTP status says all about."""

DETAILS = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take this method; /docs lists which it takes.",
}

_HAPPENED = "_happened"
"""Under which name an error carries a sentence of `also_saying`; its own text may be one that must not be told."""

_log = logging.getLogger(__name__)


class RowsError(InputError):
    """What was sent cannot be used, and it is known where.

    Parameters
    ----------
    detail
        One sentence about the whole.
    problems
        Where and what: ``table``, ``row``, ``column``, ``message``.
    """

    def __init__(self, detail: str, problems: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(detail)
        self.problems = list(problems)


class NotFoundError(DropoutRiskError):
    """There is nothing of that name, or it is not for this caller: the answer does not say which."""

    http_status = 404
    title = "There is no such thing"


@contextmanager
def also_saying(happened: str) -> Iterator[None]:
    """Let the answer say what has happened already, should the rest fail, whatever it fails of."""
    try:
        yield
    except Exception as error:
        setattr(error, _HAPPENED, happened)
        raise


def problem(status: int, detail: str, *, kind: type[DropoutRiskError] | None = None, **members: Any) -> JSONResponse:
    """Return a problem document.

    Parameters
    ----------
    status
        The HTTP status.
    detail
        What is wrong and what to do.
    kind
        The error of this package that it stands for, which gives it its type and title; None: the status does.
    members
        Further members, such as ``problems``; those that are empty are left out.

    Examples
    --------
    >>> problem(404, "There is no such page.").body.decode()
    '{"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such page."}'
    """
    document = {
        "type": f"/docs#{kind.__name__}" if kind else BLANK,
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **{name: value for name, value in members.items() if value},
    }
    return JSONResponse(document, status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(DropoutRiskError, _of_this_package)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_middleware(UnexpectedErrors)


async def _of_this_package(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DropoutRiskError)
    kind = InputError if isinstance(error, RowsError) else type(error)
    detail = " ".join([str(error), *filter(None, [_happened(error)])])
    answer = problem(error.http_status, detail, kind=kind, problems=getattr(error, "problems", []))
    if (seconds := getattr(error, "retry_after", None)) is not None:
        answer.headers["retry-after"] = str(seconds)
    elif error.http_status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    return answer


async def _of_parameters(request: Request, error: Exception) -> JSONResponse:
    """Say which parts of the address or the headers are wrong; what stands in them stays out."""
    assert isinstance(error, RequestValidationError)
    found = [{"column": str(fault["loc"][-1]), "message": f"{fault['msg']}."} for fault in error.errors()]
    return problem(422, "The request is not as /docs describes it; see problems.", kind=InputError, problems=found)


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, DETAILS.get(error.status_code, error.detail))
    answer.headers.update(error.headers or {})
    return answer


class UnexpectedErrors:
    """Middleware: an error that nobody foresaw is a 500 without detail, and a log line without values.

    The log line names the exception, where it came from and a number, which the answer carries as
    `instance`. The text of the exception is left out, for it may quote a student's record.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and answer in its place where it fails before it has answered."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http":
                raise
            number = uuid4().urn
            _log.error("%s: %s at %s", number, type(error).__name__, _place(error))
            if not started:
                failed = "The service has failed; nothing was scored."
                if happened := _happened(error):
                    failed = f"The service has failed. {happened}"
                detail = f"{failed} Tell whoever runs it this number: {number}."
                await problem(500, detail, kind=DropoutRiskError, instance=number)(scope, receive, send)


def _happened(error: Exception) -> str | None:
    return getattr(error, _HAPPENED, None)


def _place(error: Exception) -> str:
    """Return where an exception was raised, and the way there through this package, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames[:-1] if "dropout_risk" in frame.filename]
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed([*ours, frames[-1]]))
