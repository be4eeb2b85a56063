"""Who is asking for what: signed in, asked for once in `access`, and refusals written down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from fastapi import Depends, Header
from starlette.requests import Request

from dropout_risk.access import PURPOSES, Action, Decision, Principal, Purpose
from dropout_risk.errors import AccessError, SettingsError, SignInError
from dropout_risk.service.state import State, state_of
from dropout_risk.store.audit import Access
from dropout_risk.store.runs import note


@dataclass(frozen=True)
class Caller:
    """Somebody who may do what they ask for."""

    principal: Principal
    action: Action
    purpose: Purpose
    decision: Decision
    started: float = field(default_factory=time.perf_counter)

    def access(self, **told: Any) -> Access:
        """Return the line for the audit; `told` are the other fields of `Access`."""
        seconds = time.perf_counter() - self.started
        return Access(self.principal, self.action, self.decision, self.purpose, seconds=seconds, **told)

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
        state.database  # noqa: B018  a store that does not answer is told before keys are looked at
        try:
            principal = state.reception.admit(request)
        except SignInError as error:
            state.metrics.denied.labels(type(error).__name__).inc()
            raise
        if x_purpose not in PURPOSES:
            raise SettingsError(f"The header X-Purpose takes one of {', '.join(PURPOSES)}.")
        return _decided(state, principal, action, x_purpose)

    return Depends(cast(Callable[..., Any], caller))


def _decided(state: State, principal: Principal, action: Action, purpose: Purpose) -> Caller:
    decision = principal.may(action)
    if not decision.allowed:
        state.metrics.denied.labels("role").inc()
        note(state.database, Access(principal, action, decision, purpose))
        raise AccessError(decision.why)
    return Caller(principal, action, purpose, decision)
