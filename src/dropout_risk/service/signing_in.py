"""Who is asking: the key or the token of a request, or nobody needed on this machine."""

import re
from dataclasses import dataclass

from starlette.requests import Request

from dropout_risk.access import Principal
from dropout_risk.errors import SignInError
from dropout_risk.service.tokens import Tokens
from dropout_risk.store.keys import PREFIX, Doorkeeper

LOCAL = Principal("local", "province", ("*",))
"""Who asks from this machine, where the settings let it in without a key."""

_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "testclient"})
_PROXIED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_PORT = re.compile(r":\d*$")
_NO_KEY = (
    "Send a key with the header `Authorization: Bearer KEY` (or `X-API-Key: KEY`). Whoever runs the service makes one "
    "with `dropout-risk keys create`."
)
_NOT_LOCAL = (
    "This service is set up for trials (access = local): it answers requests from its own machine only, by an address "
    "such as http://127.0.0.1:8000, and not through a proxy."
)


@dataclass(frozen=True)
class Reception:
    """Tells who is asking.

    Attributes
    ----------
    doorkeeper
        Checks keys.
    tokens
        Checks bearer tokens of an OpenID provider; None where none is set.
    local
        Whether requests from this machine need neither.
    """

    doorkeeper: Doorkeeper
    tokens: Tokens | None
    local: bool

    def admit(self, request: Request) -> Principal:
        """Return who is asking.

        Raises
        ------
        SignInError
            If there is no key or token, or it does not count.
        """
        credential = _credential(request)
        if credential is None:
            if not self.local:
                raise SignInError(_NO_KEY)
            if not is_from_this_machine(request):
                raise SignInError(_NOT_LOCAL)
            return LOCAL
        if self.tokens is not None and not credential.startswith(f"{PREFIX}_"):
            return self.tokens.admit(credential)
        return self.doorkeeper.admit(credential, origin=_origin(request))


def _credential(request: Request) -> str | None:
    """Return the key or token of a request."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("x-api-key") or None


def _origin(request: Request) -> str:
    return request.client.host if request.client else ""


def is_from_this_machine(request: Request) -> bool:
    """Return whether a program on this machine is asking, and no proxy for others.

    A page of another site can make a browser here ask, by letting its own name point to this machine; such a name has
    a dot in it, unlike those that only this network knows.
    """
    asked_for = _PORT.sub("", request.headers.get("host", "")).strip("[]")
    return (
        _origin(request) in _THIS_MACHINE
        and (asked_for in _THIS_MACHINE or "." not in asked_for)
        and not any(name in request.headers for name in _PROXIED)
    )
