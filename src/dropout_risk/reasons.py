"""Reasons in words: what is said of a student's risk, each saying once however many students it is true of.

A reason is an association, not a cause, and a reason to help, never a verdict.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from dropout_risk.descriptions import FEATURES, GROUPS, MEASURES, SHOWN, Feature, Lang

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Cell = float | str | None
T = TypeVar("T")


@dataclass(unsafe_hash=True)  # a frozen one takes ten times as long to make, and a roster has thousands
class Wording:
    """What a reason says of everybody who has the same value and the same comparison.

    Attributes
    ----------
    group
        Key of the group, or the column's own name in a flat table.
    label
        Name of the group in the chosen language.
    feature
        The feature that contributes most within the group; `text` is about it.
    value, median
        The student's own value and the comparison (None where missing or not a number).
    text
        The sentence.
    changeable
        Whether school or county can change it; None for columns that the package does not know.
    measure
        The support it points to, empty for unknown columns.
    """

    group: str
    label: str
    feature: str
    value: Cell
    median: Cell
    text: str
    changeable: bool | None
    measure: str

    def adding(self, contribution: float) -> "Reason":
        """Return the reason of a student to whose risk it adds this much."""
        return Reason(**vars(self), contribution=contribution)


@dataclass(unsafe_hash=True)
class Reason(Wording):
    """One reason for a student's risk.

    Attributes
    ----------
    contribution
        Log-odds that the whole group adds to the risk. The others are those of `Wording`.
    """

    contribution: float

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Reasons(Sequence[list[Reason]]):
    """The reasons of many students: for each of them a list, the strongest first.

    Of 441 students with 1,336 reasons many share a wording; each is there once.

    Attributes
    ----------
    wordings
        What is said.
    place : int array (m,)
        For each reason, one student's after the other's, the place of its wording.
    contribution : float64 array (m,)
        Log-odds that each adds to the risk.
    ends : int array (n,)
        Where the reasons of each student end.

    Examples
    --------
    >>> late = Wording("days", "days", "days", 3.0, 1.0, "days: 3 (median 1)", None, "")
    >>> reasons = Reasons([late], np.array([0, 0]), np.array([0.5, 0.25]), np.array([1, 1, 2]))
    >>> [[reason.contribution for reason in own] for own in reasons]
    [[0.5], [], [0.25]]
    >>> reasons.take(np.array([2]))[0][0].text
    'days: 3 (median 1)'
    """

    wordings: Sequence[Wording]
    place: Places
    contribution: Floats
    ends: Places

    @classmethod
    def told(
        cls,
        sayings: Sequence["Saying"],
        feature: Places,
        values: Iterable[Cell],
        medians: Iterable[Cell],
        *,
        contribution: Floats,
        ends: Places,
    ) -> Self:
        """Return reasons by the number of the feature that each is about, its value, and what this is compared with."""
        known: dict[tuple[int, Cell, Cell], int] = {}
        facts = zip(feature.tolist(), values, medians, strict=True)
        place = np.array([known.setdefault(fact, len(known)) for fact in facts], dtype=np.intp)
        wordings = [sayings[number].wording(value, median) for number, value, median in known]
        return cls(wordings, place, contribution, ends)

    @classmethod
    def of(cls, lists: Sequence[Sequence[Reason]]) -> Self:
        """Return the reasons of lists, one for each student."""
        one_by_one = [reason for own in lists for reason in own]
        wordings = [
            Wording(**{name: value for name, value in vars(reason).items() if name != "contribution"})
            for reason in one_by_one
        ]
        contribution = np.array([reason.contribution for reason in one_by_one], dtype=np.float64)
        return cls(wordings, np.arange(len(wordings)), contribution, np.cumsum([0, *map(len, lists)])[1:])

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> list[Reason]: ...
    @overload
    def __getitem__(self, row: slice) -> list[list[Reason]]: ...
    def __getitem__(self, row: int | slice) -> list[Reason] | list[list[Reason]]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        end = int(self.ends[row])
        own = slice(int(self.ends[row - 1]) if row % len(self) else 0, end)
        said = zip(self.place[own].tolist(), self.contribution[own].tolist(), strict=True)
        return [self.wordings[place].adding(contribution) for place, contribution in said]

    def __iter__(self) -> Iterator[list[Reason]]:
        said = zip(self.place.tolist(), self.contribution.tolist(), strict=True)
        return iter(divided([self.wordings[place].adding(contribution) for place, contribution in said], self.ends))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def take(self, rows: Places) -> Self:
        """Return the reasons of these students, in this order."""
        counts = np.diff(self.ends, prepend=0)[rows]
        ends = np.cumsum(counts)
        own = np.repeat(self.ends[rows] - ends, counts) + np.arange(int(counts.sum()))
        return type(self)(self.wordings, self.place[own], self.contribution[own], ends)


def divided(items: Sequence[T], ends: Places) -> list[list[T]]:
    """Return items as one list for each row, that ends where `ends` says.

    Examples
    --------
    >>> divided(["a", "b", "c"], np.array([1, 1, 3]))
    [['a'], [], ['b', 'c']]
    """
    return [list(items[start:end]) for start, end in pairwise([0, *ends.tolist()])]


def ends_of(row: Places, n_rows: int) -> Places:
    """Return where the items of each row end; `row` says whose each of them is, in order.

    Examples
    --------
    >>> ends_of(np.array([0, 2, 2]), 3).tolist()
    [1, 1, 3]
    """
    return np.cumsum(np.bincount(row, minlength=n_rows))


class Saying:
    """How reasons about one feature are said in one language."""

    def __init__(self, name: str, known: Feature | None, lang: Lang) -> None:
        self.feature = name
        self.group = known.group if known else name  # an unknown column is a group of its own
        self._label = GROUPS[known.group][lang] if known else name
        self._changeable = known.changeable if known else None
        self._measure = MEASURES[known.measure][lang] if known else ""
        self._measure_unrecorded = MEASURES["record"][lang] if known else ""
        self._sentence = partial(_sentence, known, lang) if known else partial(_unknown_sentence, name, lang)

    def wording(self, value: Cell, median: Cell) -> Wording:
        """Return what is said of whoever has this value, beside this comparison."""
        measure = self._measure_unrecorded if value is None else self._measure
        text = self._sentence(value, median)
        return Wording(self.group, self._label, self.feature, value, median, text, self._changeable, measure)


def in_language(reasons: Sequence[Mapping[str, Any]], lang: Lang) -> list[dict[str, Any]]:
    """Return reasons that were kept, each as `Reason.to_dict` gives it, in a language.

    A reason about a column that the package does not know stays as it is.

    Examples
    --------
    >>> kept = {"group": "attendance", "feature": "absence_rate", "contribution": 0.5, "value": 0.2, "median": 0.0}
    >>> [(reason["label"], reason["contribution"]) for lang in ("zh", "en") for reason in in_language([kept], lang)]
    [('出勤', 0.5), ('Attendance', 0.5)]
    """
    return [
        _saying(name, lang).wording(kept["value"], kept["median"]).adding(kept["contribution"]).to_dict()
        if (name := kept["feature"]) in FEATURES and FEATURES[name].group == kept["group"]
        else dict(kept)
        for kept in reasons
    ]


@cache
def _saying(name: str, lang: Lang) -> Saying:
    return Saying(name, FEATURES[name], lang)


def _sentence(feature: Feature, lang: Lang, value: Cell, median: Cell) -> str:
    if value is None:
        return f"没有登记：{feature.zh}" if lang == "zh" else f"not recorded: {feature.en.lower()}"
    show = SHOWN[feature.show]  # + 0.0: there is one zero
    template = feature.sentence_zh if lang == "zh" else feature.sentence_en
    typical = ("未知" if lang == "zh" else "unknown") if median is None else show(float(median) + 0.0, lang)
    return template.format(value=show(float(value) + 0.0, lang), median=typical)


def _unknown_sentence(name: str, lang: Lang, value: Cell, median: Cell) -> str:
    own, typical = (_short(item) for item in (value, median))
    if lang == "zh":
        return f"{name} 没有登记（中位数 {typical}）" if own is None else f"{name}：{own}（中位数 {typical}）"
    return f"{name} is not recorded (median {typical})" if own is None else f"{name}: {own} (median {typical})"


def _short(value: Cell) -> str | None:
    return f"{value + 0.0:.4g}" if isinstance(value, float) else value
