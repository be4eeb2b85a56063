"""Who is asking for what: signed in, asked for once in `access`, and refusals written down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, cast

from fastapi import Depends, Header
from starlette.requests import Request

from dropout_risk.access import PURPOSES, Action, Decision, Principal, Purpose
from dropout_risk.errors import AccessError, SettingsError, SignInError
from dropout_risk.service.problems import NotFoundError
from dropout_risk.service.signing_in import is_from_this_machine
from dropout_risk.service.state import State, state_of
from dropout_risk.store.audit import Access
from dropout_risk.store.runs import note
from dropout_risk.store.schema import Run


@dataclass(frozen=True)
class Caller:
    """Somebody who may do what they ask for."""

    principal: Principal
    action: Action
    purpose: Purpose
    decision: Decision
    started: float = field(default_factory=time.perf_counter)

    def access(self, run: Run | None = None, **told: Any) -> Access:
        """Return the line for the audit: what was seen of `run`, or of none; `told` are other fields of `Access`."""
        seconds = time.perf_counter() - self.started
        line = Access(self.principal, self.action, self.decision, self.purpose, seconds=seconds, **told)
        if run is None:
            return line
        return replace(line, run_id=run.id, model_version=run.model_version, data_digest=run.data_digest)

    def beyond(self, state: State, what: str) -> NotFoundError:
        """Return the error for something that is not there or lies beyond the scope, which is written down.

        Neither the error nor the line says which of both: they are made in one way.
        """
        scope = ", ".join(self.principal.scope) or "-"
        decision = Decision(False, f"There is no such {what} within the scope {scope}.")
        note(state.database, replace(self.access(), decision=decision))
        return NotFoundError(f"There is no such {what} within your scope.")

    def also(self, state: State, action: Action) -> "Caller":
        """Return the same caller for another action.

        Raises
        ------
        AccessError
            If the role may not do it; that is written down.
        """
        return _decided(state, self.principal, action, self.purpose)


PurposeHeader = Annotated[
    str,
    Header(
        alias="x-purpose",
        description=f"What the data is used for, for the audit: {', '.join(PURPOSES)}.",
        json_schema_extra={"enum": list(PURPOSES)},
    ),
]


def allowed(action: Action) -> Any:
    """Return the dependency of a route: the caller, who may do `action`."""

    def caller(request: Request, x_purpose: PurposeHeader = "support") -> Caller:
        state = state_of(request)
        principal = _admitted(request, state)
        if x_purpose not in PURPOSES:
            raise SettingsError(f"The header X-Purpose takes one of {', '.join(PURPOSES)}.")
        return _decided(state, principal, action, x_purpose)

    return Depends(cast(Callable[..., Any], caller))


def may_watch() -> Any:
    """Return the dependency of the figures: whoever asks from this machine, or may read them."""

    def watcher(request: Request) -> None:
        if not is_from_this_machine(request):
            state = state_of(request)
            _decided(state, _admitted(request, state), "read_metrics", "support")

    return Depends(watcher)


def _admitted(request: Request, state: State) -> Principal:
    state.open_store()  # a store that does not answer is told before keys are looked at
    try:
        return state.reception.admit(request)
    except SignInError as error:
        state.metrics.denied.labels(type(error).__name__).inc()
        raise


def _decided(state: State, principal: Principal, action: Action, purpose: Purpose) -> Caller:
    decision = principal.may(action)
    if not decision.allowed:
        state.metrics.denied.labels("role").inc()
        note(state.database, Access(principal, action, decision, purpose))
        raise AccessError(decision.why)
    return Caller(principal, action, purpose, decision)
