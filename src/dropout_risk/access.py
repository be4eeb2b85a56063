"""Who may do what with whose data, and why: the one place that decides.

Nothing is allowed that is not listed here. A decision carries its reason, which the audit keeps.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from dropout_risk.errors import SettingsError

Role = Literal["school", "county", "province", "auditor", "admin"]
Action = Literal[
    "score", "list", "read_student", "open_student", "read_runs", "read_model", "read_audit", "read_metrics"
]
Upkeep = Literal["create_key", "rotate_key", "revoke_key", "purge"]
"""What is done on the command line with a store; whoever may log in there may do it, and the audit says that it was."""
Purpose = Literal["support", "planning", "correction", "test"]
"""What a child's data is used for; free text would carry names into the audit."""

ROLES: tuple[Role, ...] = get_args(Role)
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

LOOKS_AT_CHILDREN: frozenset[Action] = frozenset({"score", "list", "read_student", "open_student"})
"""What shows one child, or several."""

_OF_CHILDREN: frozenset[Action] = frozenset({"score", "list", "read_student", "read_runs", "read_model"})
_OF_THE_SCHOOL: frozenset[Action] = _OF_CHILDREN | frozenset[Action]({"open_student"})
ALLOWED: dict[Role, frozenset[Action]] = {
    "school": _OF_THE_SCHOOL,
    "county": _OF_THE_SCHOOL,
    "province": _OF_CHILDREN,
    "auditor": frozenset({"read_runs", "read_model", "read_audit", "read_metrics"}),
    "admin": frozenset({"read_model", "read_metrics"}),
}
"""What each role may do. Keys are made on the command line only, by who runs the service."""

PLACE_COLUMN: dict[Role, Literal["school_id", "county_id"]] = {
    "school": "school_id",
    "county": "county_id",
    "province": "county_id",
}
"""The column of a student's row that says whether it lies within the scope of a role."""

ANY = "*"


@dataclass(frozen=True)
class Reach:
    """The rows that somebody may see: those whose `column` holds one of `exact` or begins with one of `prefixes`.

    A reach without a column holds no row at all.
    """

    column: Literal["school_id", "county_id"] | None
    exact: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def holds(self, school_id: str | None, county_id: str | None) -> bool:
        """Return whether a student of this school and county is within reach; an unknown place is not."""
        place = school_id if self.column == "school_id" else county_id
        if self.column is None or place is None:
            return False
        return place in self.exact or place.startswith(self.prefixes)

    def rows(self, frame: pd.DataFrame) -> np.ndarray:
        """Return for each row of `frame`, with the columns `school_id` and `county_id`, whether it is within reach."""
        if self.column is None:
            return np.zeros(len(frame), dtype=bool)
        places = frame[self.column]
        inside = {place for place in places.dropna().unique() if self.holds(str(place), str(place))}
        return places.isin(inside).to_numpy(dtype=bool)


NOTHING = Reach(None)


@dataclass(frozen=True)
class Decision:
    """Whether something is allowed, and why or why not, in a sentence without any child in it."""

    allowed: bool
    why: str


@dataclass(frozen=True)
class Principal:
    """Who is asking: the holder of a key or of a token.

    Attributes
    ----------
    subject
        Public id of the key, or issuer and subject of the token: what stands in the audit.
    role
        What may be done.
    scope
        Whose data: ids of schools or counties. For a province ids of counties, with ``51*`` for all that begin
        with 51. Empty for auditors and administrators, who see no child.

    Raises
    ------
    SettingsError
        If role and scope do not fit together; all faults are named.

    Examples
    --------
    >>> principal = Principal("k1", "school", ("S001",))
    >>> principal.may("read_audit").why
    'The role school may not read_audit.'
    >>> principal.reach.holds("S001", "C1"), principal.reach.holds("S002", "C1")
    (True, False)
    """

    subject: str
    role: Role
    scope: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if wrong := list(_faults(self.role, self.scope)):
            raise SettingsError(f"This role and scope do not fit together: {'; '.join(wrong)}.")

    def may(self, action: Action) -> Decision:
        """Decide whether this role may do `action` at all; which rows it reaches is in `reach`."""
        if action in ALLOWED[self.role]:
            return Decision(True, f"The role {self.role} may {action} within its scope {', '.join(self.scope) or '-'}.")
        return Decision(False, f"The role {self.role} may not {action}.")

    @property
    def reach(self) -> Reach:
        """The rows of students within the scope."""
        if self.role not in PLACE_COLUMN:
            return NOTHING
        prefixes = tuple(place.removesuffix(ANY) for place in self.scope if place.endswith(ANY))
        exact = frozenset(place for place in self.scope if not place.endswith(ANY))
        return Reach(PLACE_COLUMN[self.role], exact, prefixes)


def _faults(role: str, scope: Collection[str]) -> Iterator[str]:
    if role not in ROLES:
        yield f"{role!r} is no role; the roles are {', '.join(ROLES)}"
        return
    if role not in PLACE_COLUMN:
        if scope:
            yield f"the role {role} sees no child, so it takes no scope"
        return
    if not scope:
        yield f"the role {role} needs a scope"
    for place in scope:
        if not place.strip() or place != place.strip():
            yield f"{place!r} is no id"
        elif ANY in place.removesuffix(ANY) or (place.endswith(ANY) and role != "province"):
            yield f"{place} stands for several places; only a province takes 51* for all counties that begin with 51"
