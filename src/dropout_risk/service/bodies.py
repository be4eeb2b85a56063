"""The body of a request: read no further than the limits allow, and told apart by its media type."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from typing import Annotated

from anyio import fail_after
from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from dropout_risk.errors import SettingsError
from dropout_risk.service.state import state_of
from dropout_risk.service.uploads import SETTINGS, read_form

JSON = "application/json"
FORM = "multipart/form-data"
PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Body:
    """What was sent: JSON, or files with settings beside them."""

    json: bytes | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes were sent."""
        return len(self.json or b"") + sum(map(len, self.files.values()))

    @cached_property
    def digest(self) -> str:
        """The sha256 of what was sent: the same for the same files, however the form is divided."""
        if self.json is not None:
            return sha256(self.json).hexdigest()
        parts = [f"{name}\0{sha256(content).hexdigest()}" for name, content in sorted(self.files.items())]
        parts += [f"{name}\0{value}" for name, value in sorted(self.fields.items())]
        return sha256("\n".join(parts).encode()).hexdigest()


async def _read(request: Request, limit: int, seconds: int) -> bytes:
    too_large = HTTPException(413, f"The request is over {limit:,} bytes; send fewer students at a time.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = BytesIO()  # gives its bytes without a copy, and is no larger than they are, however small the pieces
    try:
        with fail_after(seconds):
            async for chunk in request.stream():
                body.write(chunk)
                if body.tell() > limit:
                    raise too_large
    except ClientDisconnect:
        raise HTTPException(400, "The connection was closed before the request had come in.") from None
    except TimeoutError:
        raise HTTPException(408, f"The request did not come in within {seconds} seconds; send it again.") from None
    return body.getvalue()


def _media_type(request: Request) -> str:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "text/plain")
    kind = header.get_content_type()
    if kind == JSON and header.get_content_charset("utf-8") != "utf-8":
        raise HTTPException(415, "Send JSON in UTF-8, with the header Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "Send the request uncompressed, without the header Content-Encoding.")
    return kind


async def json_body(request: Request) -> AsyncIterator[bytes]:
    """Give the body of a JSON request, which holds a place in the line until it is done."""
    if _media_type(request) != JSON:
        raise HTTPException(415, "Send JSON in UTF-8, with the header Content-Type: application/json.")
    state = state_of(request)
    with state.line.place():
        yield await _read(request, state.settings.max_body_bytes, state.settings.max_seconds)


async def any_body(request: Request) -> AsyncIterator[Body]:
    """Give the body of a request that takes JSON, a form with files, or one Parquet file; it holds a place, too."""
    kind = _media_type(request)
    if kind not in (JSON, FORM, PARQUET):
        raise HTTPException(
            415, f"Send JSON ({JSON}), files as a form ({FORM}), or a roster as one Parquet file ({PARQUET})."
        )
    state = state_of(request)
    with state.line.place():
        content = await _read(request, state.settings.max_body_bytes, state.settings.max_seconds)
        yield await _taken_apart(kind, request, content)


async def _taken_apart(kind: str, request: Request, content: bytes) -> Body:
    given = {name: value for name, value in request.query_params.items() if name in SETTINGS}
    if kind == JSON:
        if given:
            raise SettingsError(f"With JSON, {', '.join(given)} stands in the body, not in the address.")
        return Body(json=content)
    if kind == PARQUET:
        return Body(files={"roster.parquet": content}, fields=given)
    form = await read_form(request.headers, content)
    return Body(files=form.files, fields={**given, **form.fields})


# Given back when the route is done, not when the client has taken its time to read the answer. A route asks for the
# caller first, so that nothing is read from a stranger.
JsonBody = Annotated[bytes, Depends(json_body, scope="function")]
AnyBody = Annotated[Body, Depends(any_body, scope="function")]
