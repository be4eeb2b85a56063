"""Who is asking: the key or the token of a request, or nobody needed on this machine."""

from dataclasses import dataclass

from starlette.requests import Request

from dropout_risk.access import Principal
from dropout_risk.errors import SignInError
from dropout_risk.service.tokens import Tokens
from dropout_risk.store.keys import PREFIX, Doorkeeper

LOCAL = Principal("local", "province", ("*",))
"""Who asks from this machine, where the settings let it in without a key."""

_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "testclient"})
_NO_KEY = (
    "Send a key with the header `Authorization: Bearer KEY` (or `X-API-Key: KEY`). Whoever runs the service makes one "
    "with `dropout-risk keys create`."
)
_NOT_LOCAL = (
    "This service is set up for trials (access = local): it answers requests from its own machine only, and not "
    "through a proxy."
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
        origin = request.client.host if request.client else ""
        credential = _credential(request)
        if credential is None:
            if self.local:
                return _from_this_machine(request, origin)
            raise SignInError(_NO_KEY)
        if self.tokens is not None and not credential.startswith(f"{PREFIX}_"):
            return self.tokens.admit(credential)
        return self.doorkeeper.admit(credential, origin=origin)


def _credential(request: Request) -> str | None:
    """Return the key or token of a request."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("x-api-key") or None


def _from_this_machine(request: Request, origin: str) -> Principal:
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    if origin not in _THIS_MACHINE or forwarded:
        raise SignInError(_NOT_LOCAL)
    return LOCAL
