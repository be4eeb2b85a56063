"""The audit: one line for every access to children's data, chained by hashes so that a change or a gap is found.

Each line holds the hash of the line before it. Who can write to the database could still make a whole new chain, so
the newest hash is logged and shown: kept elsewhere, it proves that the lines up to it are those that were written.
"""

import getpass
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from dropout_risk.access import Action, Decision, Principal, Purpose, Upkeep
from dropout_risk.store.database import Database
from dropout_risk.store.schema import AuditLine

FIRST = "0" * 64
"""What stands for the hash of the line before the first."""

_AT_A_TIME = 10_000

_LAST = select(AuditLine.number, AuditLine.hash).order_by(AuditLine.number.desc()).limit(1)


@dataclass(frozen=True)
class Access:
    """One access, as the audit keeps it.

    Attributes
    ----------
    students
        How many children's data were read or scored.
    """

    principal: Principal
    action: Action | Upkeep
    decision: Decision
    purpose: Purpose | Literal["upkeep"] = "support"
    students: int = 0
    run_id: str | None = None
    pseudonym: str | None = None
    model_version: str | None = None
    data_digest: str | None = None
    seconds: float = 0.0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def kept_up(action: Upkeep, what: str, *, students: int = 0) -> Access:
    """Return the line for what was done on the command line, by the user who is logged in there.

    Examples
    --------
    >>> kept_up("revoke_key", "The key k1 was revoked.").decision.why
    'The key k1 was revoked.'
    """
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    who = Principal(f"command line: {user}"[:200], "admin")
    return Access(who, action, Decision(True, what), purpose="upkeep", students=students)


def append(connection: Connection, access: Access) -> AuditLine:
    """Write one line after the last; the connection must be one of `Database.turn`."""
    last = connection.execute(_LAST).one_or_none()
    line = AuditLine(
        number=last.number + 1 if last else 1,
        at=access.at,
        subject=access.principal.subject,
        role=access.principal.role,
        scope=",".join(access.principal.scope),
        action=access.action,
        purpose=access.purpose,
        allowed=access.decision.allowed,
        why=access.decision.why,
        students=access.students,
        run_id=access.run_id,
        pseudonym=access.pseudonym,
        model_version=access.model_version,
        data_digest=access.data_digest,
        seconds=round(access.seconds, 6),
        previous=last.hash if last else FIRST,
    )
    line.hash = hash_of(line)
    connection.execute(insert(AuditLine), line.values())
    return line


def hash_of(line: AuditLine) -> str:
    """Return the hash of what a line says, the hash of the line before it included."""
    told = line.values()
    del told["hash"]
    told["at"] = line.at.astimezone(UTC).isoformat(timespec="microseconds")
    return sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """What a check of the chain has found.

    Attributes
    ----------
    lines
        How many lines there are.
    head
        Hash of the last one; keep it somewhere else.
    faults
        A sentence for each place where the chain is broken.
    """

    lines: int
    head: str
    faults: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as plain values for JSON."""
        return {"ok": self.ok, "lines": self.lines, "head": self.head, "faults": list(self.faults)}

    @property
    def ok(self) -> bool:
        """Whether no line was changed, added, moved or taken out."""
        return not self.faults


def verify(database: Database, *, known_head: str | None = None) -> Verdict:
    """Check every line against its hash and the line before it.

    Parameters
    ----------
    database
        The store.
    known_head
        A head that an earlier check or the log gave. It must still be there: that finds lines cut off at the end,
        and a chain that was written anew.

    Examples
    --------
    >>> import tempfile
    >>> from dropout_risk.store.migrations import upgrade
    >>> database = Database(f"sqlite:///{tempfile.mkdtemp()}/store.db")
    >>> upgrade(database)
    >>> verify(database).ok
    True
    """
    faults: list[str] = []
    previous, number = FIRST, 0
    known = known_head is None or known_head == FIRST
    for line in lines(database):
        number += 1
        if line.number != number:
            faults.append(f"Line {number} is missing: after line {number - 1} comes line {line.number}.")
            number = line.number
        elif line.previous != previous:
            faults.append(f"Line {number} does not continue line {number - 1}.")
        if hash_of(line) != line.hash:
            faults.append(f"Line {number} was changed after it was written.")
        previous = line.hash
        known = known or line.hash == known_head
    if not known:
        faults.append(
            f"No line has the known head {known_head}: lines were cut off at the end, or the chain was written anew."
        )
    return Verdict(number, previous, tuple(faults))


def lines(database: Database, *, after: int = 0) -> Iterator[AuditLine]:
    """Yield the lines in order, from the one after line number `after`."""
    with database.reading() as session:
        wanted = select(AuditLine).where(AuditLine.number > after).order_by(AuditLine.number)
        for line in session.scalars(wanted.execution_options(yield_per=_AT_A_TIME)):
            session.expunge(line)
            yield line
