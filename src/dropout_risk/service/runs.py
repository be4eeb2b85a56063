"""From a request to a run that is kept: scored within the caller's scope, written down, then answered."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain
from typing import Any

import numpy as np
from starlette.responses import Response, StreamingResponse

from dropout_risk.errors import InputError, StoreError
from dropout_risk.service.answers import MEDIA_TYPES, Format, write
from dropout_risk.service.bodies import Body
from dropout_risk.service.callers import Caller
from dropout_risk.service.models import Loaded
from dropout_risk.service.scoring import Roster, Scored, answer, read_files, read_json, score_roster
from dropout_risk.service.sealing import name_of, seal, unseal
from dropout_risk.service.state import State
from dropout_risk.store import runs as kept
from dropout_risk.store.database import UnknownOutcomeError
from dropout_risk.store.schema import Run

_log = logging.getLogger(__name__)

REPLAYED = {"idempotency-replayed": "true"}

_AT_ONCE = 1_000_000
"""Bytes of an answer that are held as one: a school's answer is shorter."""

_NOT_KNOWN = (
    "The store was lost while the run {run} was being kept, so whether it was kept is not known. Send the same request "
    "again with the same Idempotency-Key, which keeps it once only; without such a key, look in GET /runs whether the "
    "run is there before you send it again. Tell whoever runs the service if it goes on."
)


@dataclass(frozen=True, eq=False)
class Made:
    """A run that was scored and kept."""

    run: Run
    scored: Scored
    told: kept.Told
    loaded: Loaded


class OtherRequestError(InputError):
    """The idempotency key was used for another request."""

    title = "The idempotency key was used before"


def read_roster(body: Body, state: State) -> Roster:
    """Return what the body of a request brings to be scored."""
    most = state.settings.max_students
    if body.json is not None:
        return read_json(body.json, most)
    return read_files(body.files, body.fields, most)


def score_and_answer(
    state: State, caller: Caller, loaded: Loaded, body: Body, *, wanted: Format, key: str | None
) -> Response:
    """Score a roster, keep the run and return the answer; the same request under the same key is scored once."""
    who = caller.principal
    # With role and scope: the same person may come back with a token of another scope.
    digest = sha256("\0".join((body.digest, wanted, who.role, *who.scope)).encode()).hexdigest()
    if key is not None and (before := _given_before(state, caller, key, digest)):
        return before
    scored = score_roster(read_roster(body, state), loaded.bundle, caller.principal.reach, state.limits)
    made = _made(state, caller, loaded, scored, body.digest)
    written = write(answer(scored, loaded.bundle, made.told, run_id=made.run.id), wanted)
    if key is None:
        given = _sent(written, wanted)
        _keep(state, caller, made)
        return given
    sealed = seal(written, key)
    replay = name_of(key), kept.Answer(digest, made.run.id, wanted, sealed)
    try:
        _keep(state, caller, made, replay=replay)
    except StoreError as error:  # perhaps the same request, sent twice at once, was quicker; or it was kept after all
        if before := _given_after_all(state, caller, key, digest, error):
            return before
        raise
    return _sent(unseal(sealed, key), wanted)


def score_and_keep(state: State, caller: Caller, loaded: Loaded, roster: Roster, digest: str) -> Made:
    """Score a roster and keep the run."""
    scored = score_roster(roster, loaded.bundle, caller.principal.reach, state.limits)
    made = _made(state, caller, loaded, scored, digest)
    _keep(state, caller, made)
    return made


def _made(state: State, caller: Caller, loaded: Loaded, scored: Scored, digest: str) -> Made:
    named = state.named if loaded.bundle.kind == "county" else None
    told = kept.Told.of(scored.scores, named)
    return Made(_run(caller, loaded, scored, digest), scored, told, loaded)


def _run(caller: Caller, loaded: Loaded, scored: Scored, digest: str) -> Run:
    scores = scored.scores
    return Run(
        id=kept.new_id(),
        subject=caller.principal.subject,
        role=caller.principal.role,
        purpose=caller.purpose,
        at=datetime.now(UTC),
        as_of=scores.as_of,
        expires=scores.expires,
        lang=scored.lang,
        model_version=loaded.bundle.version_label,
        model_digest=loaded.bundle.digest,
        data_digest=digest,
        rows_in=scores.rows_in,
        scored=scores.scored,
        refused=scores.refused_count,
    )


def _keep(state: State, caller: Caller, made: Made, *, replay: tuple[str, kept.Answer] | None = None) -> None:
    run = made.run
    access = caller.access(run, students=run.scored)
    try:
        kept.keep(state.database, run, made.told, access, replay=replay)
    except UnknownOutcomeError as error:
        raise UnknownOutcomeError(_NOT_KNOWN.format(run=run.id)) from error
    try:
        _count(state, made)
    except Exception as error:  # a figure that cannot be counted takes from nobody the answer to a run that is kept
        _log.error("the figures of the run %s cannot be counted (%s)", run.id, type(error).__name__)


def _count(state: State, made: Made) -> None:
    """Count what was scored for the figures: rows, causes, risks, drift."""
    metrics, scores = state.metrics, made.scored.scores
    metrics.rows.labels("scored").inc(scores.scored)
    metrics.rows.labels("refused").inc(scores.refused_count)
    for column, count in Counter(scores.refusals["column"]).items():
        metrics.refusals.labels("state" if column is None else column).inc(count)
    risks = np.array(scores.students["risk"], dtype=np.float64)
    metrics.risks.observe_all(risks)
    made.loaded.drift.note(made.scored.features, risks)


# Answers that were given before ------------------------------------------------------------------------


def _given_before(state: State, caller: Caller, key: str, digest: str) -> Response | None:
    before = kept.answer_of(state.database, caller.principal.subject, name_of(key))
    if before is None:
        return None
    if before.request_digest != digest:
        raise OtherRequestError(
            "This Idempotency-Key was used for another request; use a new key for each request, and the same key only "
            "to send the same request again."
        )
    seen = kept.run(state.database, caller.principal, before.run_id)
    assert seen is not None  # an answer is kept with its run, which is the caller's own
    kept.note(state.database, caller.access(seen.run, students=seen.run.scored))
    wanted: Any = before.media_type
    return _sent(unseal(before.body, key), wanted, REPLAYED)


def _given_after_all(state: State, caller: Caller, key: str, digest: str, error: StoreError) -> Response | None:
    """Return the answer that is kept though `error` was raised; what is wrong with a store that is gone was told."""
    try:
        return _given_before(state, caller, key, digest)
    except StoreError:
        raise error from None


def _sent(pieces: Iterator[bytes], wanted: Format, headers: dict[str, str] | None = None) -> Response:
    """Return an answer: whole if it is short, else piece after piece; a table comes as a file."""
    named = {} if wanted == "json" else {"content-disposition": f'attachment; filename="scores.{wanted}"'}
    told: dict[str, Any] = {"media_type": MEDIA_TYPES[wanted], "headers": {**named, **(headers or {})}}
    parts = _gathered(pieces)
    first = next(parts, b"")
    if len(first) < _AT_ONCE:
        return Response(first, **told)
    return StreamingResponse(chain([first], parts), **told)


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces of at least `_AT_ONCE`, and the rest: each that is sent waits for a thread of its own."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _AT_ONCE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
