"""The capacity contract: how many students each place can support, and who is listed under it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dropout_risk.descriptions import Lang
from dropout_risk.errors import SettingsError

Place = Literal["county_id", "township_id", "school_id"]

PLACES: dict[Place, dict[Lang, str]] = {
    "county_id": {"zh": "县", "en": "county"},
    "township_id": {"zh": "乡镇", "en": "township"},
    "school_id": {"zh": "学校", "en": "school"},
}
"""The units that can have a capacity."""

PER_WORKER = 15
"""Students that one support worker takes on, where nothing else is said."""


@dataclass(frozen=True)
class Capacity:
    """How many students can be supported: workers times students per worker, or a number of students.

    Attributes
    ----------
    workers, students
        One of the two: one number for every place, or a number per place.
    per_worker
        Students that one worker supports; also the size of "one worker more" where `students` is given.

    Examples
    --------
    >>> Capacity(workers=3, per_worker=12).limits(["x", "y"])
    {'x': 36, 'y': 36}
    >>> Capacity(students={"x": 5}).limits(["x", "y"])
    Traceback (most recent call last):
    dropout_risk.errors.SettingsError: Give every place a capacity of 1 or more: y has no capacity.
    """

    workers: int | Mapping[str, int] | None = None
    students: int | Mapping[str, int] | None = None
    per_worker: int = PER_WORKER

    @classmethod
    def of(cls, capacity: "int | Mapping[str, int] | Capacity") -> "Capacity":
        """Return a capacity as it is, and a number or mapping as students."""
        return capacity if isinstance(capacity, Capacity) else cls(students=capacity)

    def limits(self, places: Collection[str]) -> dict[str, int]:
        """Return the number of students that each place, and each other place named, can support.

        Raises
        ------
        SettingsError
            If a place has no capacity or one below 1; the text holds every such place.
        """
        limits, faults = self.read(places)
        if faults:
            raise SettingsError(capacity_sentence(faults))
        return limits

    def read(self, places: Collection[str]) -> tuple[dict[str, int], list[str]]:
        """Return what the capacity says of each place, and what is wrong with it."""
        given, size = (self.students, 1) if self.workers is None else (self.workers, self.per_worker)
        if given is None or None not in (self.workers, self.students):
            return {}, ["give either workers or students"]
        each = dict(given) if isinstance(given, Mapping) else dict.fromkeys(places, given)
        wrong = [f"the capacity of {name} is {count}" for name, count in each.items() if not _is_positive(count)]
        if not isinstance(given, Mapping) and wrong:
            wrong = [f"the capacity is {given}"]
        wrong = [f"{name} has no capacity" for name in places if name not in each] + wrong
        if not _is_positive(self.per_worker):
            wrong.append(f"students per worker is {self.per_worker}")
        return {} if wrong else {name: count * size for name, count in each.items()}, wrong


@dataclass(frozen=True, eq=False)
class Cut:
    """Who is listed by one score under the capacity contract; arrays are aligned with the rows.

    Every school gets its floor first, by rank; the rest of the place's capacity goes by rank alone. Rank is by score,
    equal scores by the number drawn, lowest first.
    """

    rows: pd.DataFrame
    score: NDArray[np.float64]
    draw: NDArray[np.float64]
    names: NDArray[Any]  # of the places
    place: NDArray[np.intp]
    school: NDArray[np.intp]
    limit: NDArray[np.intp]  # of each place
    order: NDArray[np.intp]  # rank in the place, from 0
    in_floor: NDArray[np.bool_]
    priority: NDArray[np.intp]  # rank in the place with the floors first

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame,
        score: NDArray[np.float64],
        draw: NDArray[np.float64],
        place: Place,
        limits: Mapping[str, int],
        floor: int,
    ) -> "Cut":
        """Rank by score, then draw; give each school its floor, and the rest of the capacity by rank."""
        names, places = np.unique(rows[place].to_numpy(dtype=str), return_inverse=True)
        schools = np.unique(_schools(rows, place), return_inverse=True)[1]
        ids = rows["student_id"].to_numpy(dtype=str)
        best_first = np.lexsort((ids, draw, -score))
        in_floor = _rank_within(schools, best_first) < floor
        return cls(
            rows=rows,
            score=score,
            draw=draw,
            names=names,
            place=places,
            school=schools,
            limit=np.array([limits[name] for name in names], dtype=np.intp),
            order=_rank_within(places, best_first),
            in_floor=in_floor,
            priority=_rank_within(places, best_first[np.argsort(~in_floor[best_first], kind="stable")]),
        )

    @cached_property
    def listed(self) -> NDArray[np.bool_]:
        """Who is on the list."""
        return self.priority < self.limit[self.place]

    @property
    def by_floor(self) -> NDArray[np.bool_]:
        """Who is on the list but would not be without the floor."""
        return self.listed & (self.order >= self.limit[self.place])

    def parts(self, per_worker: int) -> NDArray[np.intp]:
        """Return 0 for who stays listed with one worker fewer, 1 for who does not, 2 for who comes with one more."""
        floors = np.bincount(self.place, self.in_floor, len(self.names)).astype(np.intp)
        fewer = np.maximum(self.limit - per_worker, floors)[self.place]
        more = self.limit[self.place] + per_worker
        return np.select([self.priority < fewer, self.listed, self.priority < more], [0, 1, 2], 3).astype(np.intp)

    def ties(self) -> pd.DataFrame:
        """Return who shares the score at a cut which some of them missed."""
        by_rank = ~self.in_floor
        columns = [
            name for name in ("student_id", "county_id", "township_id", "school_id", "risk") if name in self.rows
        ]
        rows = self.rows[columns].assign(draw=self.draw, listed=self.listed)
        at_place = rows[self._tied(self.place, by_rank, winners=by_rank & self.listed)]
        at_school = rows[self._tied(self.school, np.ones(len(rows), dtype=bool), winners=self.in_floor)]
        ties = pd.concat([at_place.assign(cut="place"), at_school.assign(cut="school")])
        return ties.iloc[np.lexsort((ties["draw"], -ties["risk"], ties["cut"], self.place[ties.index]))]

    def _tied(
        self, unit: NDArray[np.intp], among: NDArray[np.bool_], *, winners: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return who, among some, has the score of the last winner of the unit, where somebody else missed it."""
        at_cut = np.full(int(unit.max(initial=0)) + 1, np.inf)
        np.minimum.at(at_cut, unit[winners], self.score[winners])
        tied: NDArray[np.bool_] = among & (self.score == at_cut[unit])
        missed = np.bincount(unit[tied & ~winners], minlength=len(at_cut)) > 0
        return tied & missed[unit]


def _rank_within(unit: NDArray[np.intp], best_first: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return each row's rank, from 0, among the rows of its unit."""
    order = best_first[np.argsort(unit[best_first], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(unit))])
    rank = np.empty(len(unit), dtype=np.intp)
    rank[order] = np.arange(len(unit)) - starts[unit[order]]
    return rank


def draw_number(seed: int, student_id: str) -> float:
    """Return the number in [0, 1) that a student draws; it depends on the seed and the student alone.

    Examples
    --------
    >>> draw_number(0, "s001") == draw_number(0, "s001") != draw_number(1, "s001")
    True
    """
    return (hash_of(f"{seed}:{student_id}") >> 11) / 2**53


def hash_of(text: str) -> int:
    """Return the 64 bits of the BLAKE2b hash of a text as a number: the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _schools(rows: pd.DataFrame, place: Place) -> NDArray[Any]:
    """Return the school of each row within its place; where it is not known the place itself."""
    places = rows[place].astype(str)
    return (places + "\n" + rows["school_id"].astype(str) if "school_id" in rows else places).to_numpy(dtype=str)


def capacity_sentence(faults: list[str]) -> str:
    """Return the text of the error for a capacity with these faults."""
    return f"Give every place a capacity of 1 or more: {'; '.join(faults)}."


def _is_positive(count: object) -> bool:
    return isinstance(count, int | np.integer) and not isinstance(count, bool) and bool(count >= 1)
