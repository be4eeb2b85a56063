"""API keys: made once, kept as a hash, checked in constant time, locked after repeated failures."""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import cast

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dropout_risk.access import Principal, Role
from dropout_risk.errors import SettingsError, SignInError
from dropout_risk.store.database import Database
from dropout_risk.store.schema import Attempt, Key

PREFIX = "dr"
DAYS = 365
"""How long a key counts, unless it is said otherwise."""
OVERLAP_DAYS = 7
"""How long the old key still counts after a rotation."""

MAX_FAILURES = 10
"""With one key from one place."""
MAX_FAILURES_OF_ORIGIN = 100
"""With any keys from one place, behind which there may be many people."""
WITHIN = timedelta(minutes=10)
LOCKED_FOR = timedelta(minutes=15)

_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32, "maxmem": 64 * 2**20}
_REMEMBERED = 1_000
_REMEMBERED_SECONDS = 300.0

_NOT_VALID = "This key does not count: it is unknown, wrong, revoked or expired. Ask whoever runs the service for one."


class LockedError(SignInError):
    """Too many failed attempts; the text says when to try again."""

    http_status = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many attempts with keys that do not count; try again in {seconds} seconds.")
        self.retry_after = seconds


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `token` is shown once and cannot be had again."""

    id: str
    token: str
    expires: datetime


def create(
    database: Database,
    role: Role,
    scope: Sequence[str] = (),
    *,
    label: str = "",
    days: int = DAYS,
    now: datetime | None = None,
) -> NewKey:
    """Make a key.

    Parameters
    ----------
    database
        The store.
    role, scope
        What the key may do, and with whose data; see `access.Principal`.
    label
        What people call it; never a child's name.
    days
        How long it counts.
    now
        The moment; None: this one.

    Raises
    ------
    SettingsError
        If role and scope do not fit together, or it would not count a day.

    Examples
    --------
    >>> import tempfile
    >>> from dropout_risk.store.migrations import upgrade
    >>> database = Database(f"sqlite:///{tempfile.mkdtemp()}/store.db")
    >>> upgrade(database)
    >>> key = create(database, "school", ["S001"], label="First school")
    >>> Doorkeeper(database).admit(key.token).scope
    ('S001',)
    """
    with database.writing() as session:
        return _add(session, role, scope, label=label, days=days, replaces=None, now=now or datetime.now(UTC))


def rotate(database: Database, key_id: str, *, overlap_days: int = OVERLAP_DAYS, days: int = DAYS) -> NewKey:
    """Make a new key with the role and the scope of another, which counts for `overlap_days` more."""
    now = datetime.now(UTC)
    with database.writing() as session:
        old = _get(session, key_id)
        if not _counts(old, now):
            raise SettingsError(f"The key {key_id} does not count any more; make a new one with `keys create`.")
        old.expires = min(old.expires, now + timedelta(days=overlap_days))
        return _add(session, old.role, old.scope, label=old.label, days=days, replaces=old.id, now=now)


def _add(
    session: Session, role: str, scope: Sequence[str], *, label: str, days: int, replaces: str | None, now: datetime
) -> NewKey:
    Principal("new", cast(Role, role), tuple(scope))
    if days < 1:
        raise SettingsError(f"A key has to count at least one day, not {days}.")
    key_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_bytes(16)
    key = Key(
        id=key_id,
        label=label,
        role=role,
        scope=list(scope),
        salt=salt,
        hash=_hash(secret, salt),
        created=now,
        expires=now + timedelta(days=days),
        replaces=replaces,
    )
    session.add(key)
    return NewKey(key_id, f"{PREFIX}_{key_id}_{secret}", key.expires)


def revoke(database: Database, key_id: str) -> None:
    """Make a key worthless from now on."""
    with database.writing() as session:
        key = _get(session, key_id)
        key.revoked = key.revoked or datetime.now(UTC)


def all_keys(database: Database) -> list[Key]:
    """Return all keys, the newest first; their secrets are not among what is known of them."""
    with database.reading() as session:
        return list(session.scalars(select(Key).order_by(Key.created.desc(), Key.id)))


def _get(session: Session, key_id: str) -> Key:
    key = session.get(Key, key_id)
    if key is None:
        raise SettingsError(f"There is no key {key_id}; `dropout-risk keys list` shows which there are.")
    return key


def _counts(key: Key, now: datetime) -> bool:
    return key.revoked is None and key.expires > now


def _hash(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **_SCRYPT)


class Doorkeeper:
    """Lets holders of keys in, and nobody after too many failures.

    What a token hashes to is remembered in this process for a few minutes, since the hash is slow on purpose. Whether
    the key was revoked or has expired is read from the store each time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._lock = Lock()

    def admit(self, token: str, *, origin: str = "", now: datetime | None = None) -> Principal:
        """Return who holds `token`.

        Parameters
        ----------
        token
            As `create` has shown it.
        origin
            Where the request comes from; failures are counted by origin and key.
        now
            The moment; None: this one.

        Raises
        ------
        SignInError
            If it does not count. The text does not say why: a stranger would learn which keys exist.
        LockedError
            After too many failures.
        """
        now = now or datetime.now(UTC)
        key_id, secret = _parts(token)
        with self._database.reading() as session:
            attempts = session.scalars(select(Attempt).where(Attempt.subject.in_(_subjects(key_id, origin)))).all()
            key = session.get(Key, key_id)
        locked = [one.locked_until for one in attempts if one.locked_until and one.locked_until > now]
        if locked:
            raise LockedError(max(1, round((max(locked) - now).total_seconds())))
        right = self._matches(token, secret, key)
        if key is None or not right or not _counts(key, now):
            self._note_failure(key_id, origin, now)
            raise SignInError(_NOT_VALID)
        return Principal(key.id, cast(Role, key.role), tuple(key.scope))

    def _matches(self, token: str, secret: str, key: Key | None) -> bool:
        """Compare with the hash that is kept; a key that is not there takes as long as one that is."""
        digest = hashlib.sha256(token.encode()).digest()
        with self._lock:
            known = self._remembered.get(digest)
        if known and key and known[0] == key.id and known[1] > time.monotonic():
            return True
        salt, expected = (key.salt, key.hash) if key else (b"\0" * 16, b"\0" * 32)
        same = hmac.compare_digest(_hash(secret, salt), expected)
        if same and key:
            with self._lock:
                self._remembered[digest] = (key.id, time.monotonic() + _REMEMBERED_SECONDS)
                while len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)
        return same and key is not None

    def _note_failure(self, key_id: str, origin: str, now: datetime) -> None:
        with self._database.writing() as session:
            session.execute(delete(Attempt).where(Attempt.first < now - max(WITHIN, LOCKED_FOR)))
            for subject, most in _subjects(key_id, origin).items():
                attempt = session.get(Attempt, subject) or Attempt(subject=subject, failures=0, first=now)
                if attempt.first < now - WITHIN:
                    attempt.failures, attempt.first = 0, now
                attempt.failures += 1
                if attempt.failures >= most:
                    attempt.locked_until, attempt.failures, attempt.first = now + LOCKED_FOR, 0, now
                session.add(attempt)


def _parts(token: str) -> tuple[str, str]:
    """Return id and secret of a token; what is none gives an id that no key has."""
    parts = token.split("_", 2)
    is_one = len(parts) == 3 and parts[0] == PREFIX and parts[1].isalnum()
    return (parts[1], parts[2]) if is_one else ("", token)


def _subjects(key_id: str, origin: str) -> dict[str, int]:
    """Return under what failures are counted, and how many there may be."""
    return {_digest(key_id, origin): MAX_FAILURES, _digest("*", origin): MAX_FAILURES_OF_ORIGIN}


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
