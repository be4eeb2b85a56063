"""Bearer tokens of an OpenID provider: signature, issuer, audience and time are checked, then role and scope read."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, cast
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dropout_risk.access import Principal, Role
from dropout_risk.errors import DropoutRiskError, SettingsError, SignInError

ROLE_CLAIM = "dropout_risk_role"
SCOPE_CLAIM = "dropout_risk_scope"
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
"""Signatures with a public key; with a shared secret or none nobody comes in."""

_KEPT_SECONDS = 600.0
_AGAIN_SECONDS = 10.0
"""How soon keys are fetched again for a token whose key is not among them."""
_LARGEST = 1_000_000

_NOT_VALID = "This token does not count: it is expired, of another issuer or audience, or not signed by the issuer."


class Tokens:
    """Admits holders of tokens.

    Parameters
    ----------
    issuer, audience
        What the claims ``iss`` and ``aud`` must say.
    keys
        Address (``https://…``, or ``http://`` on this machine) or file of the issuer's JSON Web Key Set.

    Raises
    ------
    SettingsError
        If the address is not a safe one.
    """

    def __init__(self, issuer: str, audience: str, keys: str) -> None:
        parts = urlsplit(keys)
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme not in ("", "https") and not (parts.scheme == "http" and here):
            raise SettingsError(
                "oidc_keys must be a file or an https address: over http others could put in their keys."
            )
        self._keys_at = keys
        self._claims = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._issuer = issuer
        self._lock = Lock()
        self._keys: KeySet | None = None
        self._fetched = 0.0

    def admit(self, token: str) -> Principal:
        """Return who holds `token`.

        Raises
        ------
        SignInError
            If it does not count, or says neither role nor scope.
        """
        try:
            claims = self._decode(token)
        except (JoseError, ValueError, TypeError, KeyError):
            raise SignInError(_NOT_VALID) from None
        return self._principal(claims)

    def _decode(self, token: str) -> Mapping[str, Any]:
        try:
            decoded = jwt.decode(token, self._key_set(_KEPT_SECONDS), algorithms=ALGORITHMS)
        except (JoseError, ValueError):  # perhaps signed with a key that is newer than those kept
            decoded = jwt.decode(token, self._key_set(_AGAIN_SECONDS), algorithms=ALGORITHMS)
        self._claims.validate(decoded.claims)
        return decoded.claims

    def _key_set(self, kept_seconds: float) -> KeySet:
        with self._lock:
            if self._keys is None or time.monotonic() - self._fetched > kept_seconds:
                self._keys = KeySet.import_key_set(json.loads(self._fetch()))
                self._fetched = time.monotonic()
            return self._keys

    def _fetch(self) -> bytes:
        try:
            if urlsplit(self._keys_at).scheme:
                with urlopen(self._keys_at, timeout=5) as answer:
                    return cast(bytes, answer.read(_LARGEST))
            return Path(self._keys_at).read_bytes()
        except (URLError, OSError) as error:
            raise _KeysError("The keys of the token issuer cannot be read; try again, or use a key.") from error

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        scope = claims.get(SCOPE_CLAIM) or []
        places = scope.split() if isinstance(scope, str) else [str(place) for place in scope]
        try:
            role = cast(Role, claims.get(ROLE_CLAIM))
            return Principal(f"{self._issuer}|{claims['sub']}"[:200], role, tuple(places))
        except SettingsError as error:
            raise SignInError(f"The token names no role and scope of this service: {error}") from None


class _KeysError(DropoutRiskError):
    http_status = 503
    title = "The token issuer does not answer"
