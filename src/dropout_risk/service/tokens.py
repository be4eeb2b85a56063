"""Bearer tokens of an OpenID provider: signature, issuer, audience and time are checked, then role and scope read."""

import json
import logging
import time
from collections.abc import Mapping
from http.client import HTTPException
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import urlopen

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dropout_risk.access import Principal, Role
from dropout_risk.errors import DropoutRiskError, SettingsError, SignInError

ROLE_CLAIM = "dropout_risk_role"
SCOPE_CLAIM = "dropout_risk_scope"
ALGORITHMS = ["RS256", "PS256", "ES256", "Ed25519"]
"""Signatures with a public key; with a shared secret or none nobody comes in."""

_KEPT_SECONDS = 600.0
_AGAIN_SECONDS = 10.0
"""How soon keys are fetched again: for a token whose key is not among them, and after a failure."""
_WAIT_SECONDS = 5
_LARGEST = 1_000_000
_LONGEST_SUBJECT = 200
"""As long as the store keeps; cut to it, two people could become one."""

_log = logging.getLogger(__name__)

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
        _check_address(keys)
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
        self._fetched = self._tried = -inf

    def admit(self, token: str) -> Principal:
        """Return who holds `token`.

        Raises
        ------
        SignInError
            If it does not count, or says neither role nor scope.
        IssuerError
            If the keys of the issuer cannot be had.
        """
        try:
            claims = self._decode(token)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):  # whatever a stranger's token leads to
            raise SignInError(_NOT_VALID) from None
        return self._principal(claims)

    def _decode(self, token: str) -> Mapping[str, Any]:
        try:
            decoded = jwt.decode(token, self._key_set(_KEPT_SECONDS), algorithms=ALGORITHMS)
        except (JoseError, ValueError):  # perhaps signed with a key that is newer than those kept
            decoded = jwt.decode(token, self._key_set(_AGAIN_SECONDS), algorithms=ALGORITHMS)
        self._claims.validate(decoded.claims)
        return decoded.claims

    def _key_set(self, oldest: float) -> KeySet:
        """Return the issuer's keys; they are fetched anew if those kept are older than `oldest` seconds."""
        with self._lock:
            now = time.monotonic()
            if now - self._fetched >= oldest and now - self._tried >= _AGAIN_SECONDS:
                self._tried = now
                self._fetch(now)
            if self._keys is None or now - self._fetched >= _KEPT_SECONDS:
                raise IssuerError
            return self._keys

    def _fetch(self, now: float) -> None:
        try:
            self._keys = KeySet.import_key_set(json.loads(self._read()))
        except (DropoutRiskError, OSError, HTTPException, JoseError, ValueError, TypeError, KeyError) as error:
            _log.error("the keys of the token issuer cannot be read (%s)", type(error).__name__)
        else:
            self._fetched = now

    def _read(self) -> bytes:
        if not urlsplit(self._keys_at).scheme:
            return Path(self._keys_at).read_bytes()
        with urlopen(self._keys_at, timeout=_WAIT_SECONDS) as answer:
            _check_address(answer.url)  # where it was led to
            return cast(bytes, answer.read(_LARGEST))

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        subject = f"{self._issuer}|{claims['sub']}"
        if len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
            raise SignInError(f"The token's iss and sub are over {_LONGEST_SUBJECT} characters, or cannot be printed.")
        scope = claims.get(SCOPE_CLAIM) or ()
        places = scope.split() if isinstance(scope, str) else scope
        if not isinstance(places, list | tuple) or not all(isinstance(place, str) for place in places):
            raise SignInError(f"The claim {SCOPE_CLAIM} is neither a text nor a list of texts.")
        try:
            return Principal(subject, cast(Role, claims.get(ROLE_CLAIM)), tuple(places))
        except SettingsError as error:
            raise SignInError(f"The token names no role and scope of this service: {error}") from None


def _check_address(address: str) -> None:
    """Refuse an address at which others could put in their keys."""
    parts = urlsplit(address)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in ("", "https") and not (parts.scheme == "http" and here):
        raise SettingsError("oidc_keys must be a file or an https address: over http others could put in their keys.")


class IssuerError(DropoutRiskError):
    """The keys of the token issuer cannot be had, so no token can be checked; keys of this service still count."""

    http_status = 503
    title = "The token issuer does not answer"

    def __init__(self) -> None:
        super().__init__("The keys of the token issuer cannot be read; try again, or use a key of this service.")
        self.retry_after = round(_AGAIN_SECONDS)
