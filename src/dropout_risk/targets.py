"""The support list: students by rank, cut where the support workers' capacity ends, and what it is worth."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dropout_risk.backtest import Backtest, Basis, Forecast, Worth
from dropout_risk.capacity import PLACES, Capacity, Cut, Place, capacity_sentence, draw_number, hash_of
from dropout_risk.descriptions import RULE_LABELS, Lang
from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.plain import plain, records

Text = dict[Lang, str]


@dataclass(frozen=True, eq=False)
class TargetList:
    """Students to support first, and what the list is worth.

    Attributes
    ----------
    frame
        The listed students, by place and rank: the columns of the scores, `list_place`, `drawn` (whether a tie at a
        cut was resolved by the draw), `by_floor` (listed only because of the floor of the school) and, where the
        previous list is known, `new`.
    places
        One row per place: `students`, `capacity`, `listed`, `expected` true cases on the list with `low` and `high`,
        `missed` true cases off the list, `found` (share of all cases that is listed), `one_more` (true cases among
        the students whom one more worker in this place would take on) and `one_fewer` (among those whom one worker
        fewer would drop), each with `_low` and `_high`, and `ties`. What cannot be (nobody left to list) is NaN.
    overall
        The same figures for all places together. One worker more goes where most cases are gained, one fewer
        where least are lost: `one_more_place`, `one_fewer_place`.
    rules
        One entry per simple rule: `name`, `zh`, `en`, `shared` (students on our list who are on the rule's list of the
        same capacity too; None if no scores of the rule were given) and `worth`, what lists of this length by the
        rule and by the model found in the backtest (None without one).
    ties
        Every student whose risk equals that at a cut which some of them missed: `student_id`, place, school, `risk`,
        `cut` (``place``, or ``school`` where the floor of a school ended), `draw` (lowest first) and `listed`.
    notes
        Sentences about places and capacities, in both languages.
    basis
        What the intervals rest on: ``backtest``, or ``risks alone``: then only the chance of each child is
        in them and they are too narrow.
    place, seed, confidence
        As asked. The same seed gives the same draw.
    kept, gone
        How many of the previous list are on this one, and how many are not; None without a previous list.
    """

    frame: pd.DataFrame
    places: pd.DataFrame
    overall: dict[str, Any]
    rules: tuple[dict[str, Any], ...]
    ties: pd.DataFrame
    notes: tuple[Text, ...]
    basis: Basis
    place: Place
    seed: int
    confidence: float
    kept: int | None = None
    gone: int | None = None

    @cached_property
    def verdict(self) -> Text:
        """Whether the model's list is better than every rule's, by the lower bound; the first line of any report."""
        return _verdict(self.rules, self.confidence)

    def to_lottery_record(self) -> dict[str, Any]:
        """Return the draw between equal risks as plain values, to be stored.

        Among students of one `cut`, place and school the draw alone decided who was listed. So those who missed
        it are a fair comparison for those who got support, whenever somebody asks what the support achieved.
        With a floor per school, repeat the draw under many seeds to learn each student's chance.
        """
        return {
            "method": "lowest blake2b-64 of '<seed>:<student_id>' first",
            "seed": self.seed,
            "place": self.place,
            "students": records(self.ties),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the list and its worth as plain values for JSON; what is not known is None."""
        rules = [{**rule, "worth": plain(asdict(rule["worth"])) if rule["worth"] else None} for rule in self.rules]
        return {
            "verdict": self.verdict,
            "basis": self.basis,
            "confidence": self.confidence,
            "seed": self.seed,
            "overall": plain(self.overall),
            "places": records(self.places.reset_index(names="place")),
            "rules": rules,
            "previous": None if self.kept is None else {"kept": self.kept, "gone": self.gone},
            "students": records(self.frame),
            "lottery": self.to_lottery_record(),
            "notes": list(self.notes),
        }


def target_list(
    scores: pd.DataFrame,
    *,
    capacity: int | Mapping[str, int] | Capacity,
    place: Place = "county_id",
    floor_per_school: int = 0,
    backtest: Backtest | None = None,
    rules: Mapping[str, ArrayLike] | None = None,
    previous: Collection[str] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> TargetList:
    """Return the students with the highest risk in each place, as many as its capacity allows.

    Parameters
    ----------
    scores
        One row per student: `student_id`, `risk` (probability), the column named by `place`, and `school_id` if there
        is a floor. Without `school_id` the intervals ignore that students of a school share what happens to it.
    capacity
        Students who can be supported, one number for every place or a number per place; or a `Capacity`.
    place
        The unit that has the capacity: ``county_id``, ``township_id`` or ``school_id``.
    floor_per_school
        At least so many students of every school are listed (all of a smaller school), taken off the capacity.
    backtest
        What past lists were worth, from the bundle. None: the intervals contain only the chance of each child.
    rules
        Simple rules to compare with: name -> score of each row of `scores`, higher is listed first.
    previous
        Student ids of the previous list.
    seed
        For the draw between students with equal risk at the cut, and for the intervals.
    confidence
        Of the intervals.

    Returns
    -------
    TargetList

    Raises
    ------
    ColumnsError
        If a column is missing.
    InputError
        If students repeat, have no place, or have no risk between 0 and 1.
    SettingsError
        If a capacity is below 1, a place has none, or the floors exceed it. Each text holds every problem.

    Notes
    -----
    Equal risks are ordered by a hash of the seed and the student id, so the draw depends neither on the order of the
    rows nor on other places. See `dropout_risk.backtest` for what the intervals contain.

    Examples
    --------
    >>> scores = pd.DataFrame({"student_id": ["a", "b", "c"], "county_id": "x", "risk": [0.1, 0.6, 0.3]})
    >>> chosen = target_list(scores, capacity=2)
    >>> chosen.frame["student_id"].tolist(), round(float(chosen.places.loc["x", "expected"]), 2), chosen.basis
    (['b', 'c'], 0.9, 'risks alone')
    """
    contract = Capacity.of(capacity)
    limits = _check(scores, contract, place, floor_per_school, rules or {}, confidence)
    rows = scores.reset_index(drop=True)
    draw = np.array([draw_number(seed, student) for student in rows["student_id"]])
    cut = Cut.of(rows, rows["risk"].to_numpy(dtype=np.float64), draw, place, limits, floor_per_school)
    ties = cut.ties()
    order = np.lexsort((cut.order, cut.place))
    frame = rows.iloc[order[cut.listed[order]]]
    frame = frame.assign(
        list_place=frame.groupby(place).cumcount() + 1,
        drawn=frame.index.isin(ties.index),
        by_floor=cut.by_floor[frame.index],
    )
    before = None if previous is None else set(previous)
    if before is not None:
        frame = frame.assign(new=~frame["student_id"].isin(before))
    kept = None if before is None else int((~frame["new"]).sum())
    forecast = Forecast(backtest, seed=seed)
    places, overall = _worth(rows, cut, ties, contract.per_worker, forecast, confidence)
    others = _compare(
        rows, cut, rules or {}, backtest, place=place, limits=limits, floor=floor_per_school, confidence=confidence,
        seed=seed,
    )  # fmt: skip
    return TargetList(
        frame=frame.reset_index(drop=True),
        places=places,
        overall=overall,
        rules=others,
        ties=ties.reset_index(drop=True),
        notes=_notes(limits, places, place),
        basis=forecast.basis,
        place=place,
        seed=seed,
        confidence=confidence,
        kept=kept,
        gone=None if before is None or kept is None else len(before) - kept,
    )


def _worth(
    rows: pd.DataFrame, cut: Cut, ties: pd.DataFrame, per_worker: int, forecast: Forecast, confidence: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the figures of every place and of all together."""
    risk, part = rows["risk"].to_numpy(dtype=np.float64), cut.parts(per_worker)
    tied = np.bincount(cut.place[np.unique(ties.index)], minlength=len(cut.names))
    members = np.split(np.argsort(cut.place, kind="stable"), np.cumsum(np.bincount(cut.place))[:-1])
    table, total, announced = [], np.zeros((2, forecast.n_draws)), np.zeros(2)
    for code, name in enumerate(cut.names):
        mine = members[code]
        expected, cases = forecast.simulate(
            risk[mine],
            cut.listed[mine],
            cut.school[mine] if "school_id" in rows else None,
            part=part[mine],
            parts=4,
            stream=hash_of(name),
        )
        size = np.bincount(part[mine], minlength=4)
        halves = np.stack([cases[:2].sum(axis=0), cases[2:].sum(axis=0)])
        sums = np.array([expected[:2].sum(), expected[2:].sum()])
        total, announced = total + halves, announced + sums
        figures: dict[str, float] = {"students": len(mine), "capacity": int(cut.limit[code])}
        figures["listed"] = int(size[:2].sum())
        figures |= _list_figures(sums, halves, confidence)
        figures |= _figure("one_more", expected[2] if size[2] else np.nan, cases[2], confidence)
        figures |= _figure("one_fewer", expected[1] if size[1] else np.nan, cases[1], confidence)
        table.append(figures | {"ties": int(tied[code])})
    places = pd.DataFrame(table, index=pd.Index(cut.names, dtype=object), columns=None if table else _columns())
    counts = places[["students", "capacity", "listed", "ties"]].sum()
    overall: dict[str, Any] = {str(name): int(count) for name, count in counts.items()}
    overall |= _list_figures(announced, total, confidence)
    for name, by_yield in (("one_more", -places["one_more"]), ("one_fewer", places["one_fewer"])):
        best = by_yield.idxmin() if by_yield.notna().any() else None
        row = places.reindex([best]).to_dict("records")[0]
        overall |= {column: row[column] for column in _bounds(name)}
        overall[f"{name}_place"] = best
    return places, overall


def _bounds(name: str) -> list[str]:
    return ["expected", "low", "high"] if name == "expected" else [name, f"{name}_low", f"{name}_high"]


def _columns() -> list[str]:
    figures = [column for name in ("expected", "missed", "found", "one_more", "one_fewer") for column in _bounds(name)]
    return ["students", "capacity", "listed", *figures, "ties"]


def _figure(name: str, value: float, draws: NDArray[np.float64], confidence: float) -> dict[str, float]:
    """Return a figure and its bounds; NaN where the figure cannot be."""
    low, high = np.full(2, np.nan)
    if not np.isnan(value):
        low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    return dict(zip(_bounds(name), (float(value), float(low), float(high)), strict=True))


def _list_figures(expected: NDArray[np.float64], cases: NDArray[np.float64], confidence: float) -> dict[str, float]:
    """Return true cases on the list and off it, and the share of them that the list holds."""
    both, everything = cases.sum(axis=0), expected.sum()
    found = np.divide(cases[0], both, out=np.zeros_like(both), where=both > 0)
    return {
        **_figure("expected", expected[0], cases[0], confidence),
        **_figure("missed", expected[1], cases[1], confidence),
        **_figure("found", expected[0] / everything if everything else np.nan, found, confidence),
    }


def _compare(
    rows: pd.DataFrame,
    cut: Cut,
    rules: Mapping[str, ArrayLike],
    backtest: Backtest | None,
    *,
    place: Place,
    limits: Mapping[str, int],
    floor: int,
    confidence: float,
    seed: int,
) -> tuple[dict[str, Any], ...]:
    """Return for each rule what its list shares with ours, and what such lists were worth in the backtest."""
    share = float(cut.listed.mean()) if len(rows) else 0.0
    worth = {} if backtest is None else backtest.worth(share, confidence=confidence, seed=seed)
    shared = {}
    for name, score in rules.items():
        other = Cut.of(rows, np.asarray(score, dtype=np.float64), cut.draw, place, limits, floor)
        shared[name] = int((cut.listed & other.listed).sum())
    labels: Mapping[str, Text] = RULE_LABELS
    return tuple(
        {
            "name": name,
            **labels.get(name, {"zh": name, "en": name}),
            "shared": shared.get(name),
            "worth": worth.get(name),
        }
        for name in dict.fromkeys([*rules, *worth])
    )


def _verdict(rules: tuple[dict[str, Any], ...], confidence: float) -> Text:
    known: list[tuple[dict[str, Any], Worth]] = [(rule, rule["worth"]) for rule in rules if rule["worth"]]
    if not known:
        return {
            "zh": "没有回测结果，无法判断这份名单是否优于按简单规则排出的名单。",
            "en": "Whether this list is better than one by a simple rule is not known: there is no backtest.",
        }
    level = f"{100 * confidence:g} %"
    if weak := [(rule, worth) for rule, worth in known if not worth.low > 0]:
        zh = "；".join(
            f"{rule['zh']}每百人 {worth.rule:.1f} 例，模型 {worth.model:.1f} 例，"
            f"相差 {worth.difference:+.1f}（{worth.low:+.1f} 至 {worth.high:+.1f}）"
            for rule, worth in weak
        )
        en = "; ".join(
            f"{rule['en']}: {worth.rule:.1f} cases per 100 listed, model {worth.model:.1f}, "
            f"difference {worth.difference:+.1f} ({worth.low:+.1f} to {worth.high:+.1f})"
            for rule, worth in weak
        )
        return {
            "zh": f"按 {level} 区间下限，模型名单在回测中并不优于以下简单规则：{zh}。",
            "en": f"By the lower bound of the {level} interval the model's list was not better in the backtest than "
            f"these simple rules: {en}.",
        }
    zh, en = (separator.join(rule[lang] for rule, _ in known) for lang, separator in (("zh", "、"), ("en", ", ")))
    return {
        "zh": f"按 {level} 区间下限，模型名单在回测中找到的辍学学生，多于同样长度的任何一种简单规则名单（{zh}）。",
        "en": f"By the lower bound of the {level} interval the model's list found more cases in the backtest than "
        f"a list of the same length by any simple rule ({en}).",
    }


def _notes(limits: Mapping[str, int], places: pd.DataFrame, place: Place) -> tuple[Text, ...]:
    """Return a sentence for every place whose capacity has no use."""
    zh, en = PLACES[place]["zh"], PLACES[place]["en"]
    notes: list[Text] = [
        {
            "zh": f"{zh} {name}：名额 {capacity} 个，学生只有 {students} 名，已全部列入名单。",
            "en": f"The {en} {name} can support {capacity} students but has {students}; all are listed.",
        }
        for name, students, capacity in places[["students", "capacity"]].itertuples()
        if capacity > students
    ]
    notes += [
        {
            "zh": f"{zh} {name}：设有名额，但没有已评分的学生，请核对代码或名册。",
            "en": f"The {en} {name} has a capacity but no scored student; check its code or its roster.",
        }
        for name in limits
        if name not in places.index
    ]
    return tuple(notes)


def _check(
    scores: pd.DataFrame,
    capacity: Capacity,
    place: Place,
    floor: int,
    rules: Mapping[str, ArrayLike],
    confidence: float,
) -> dict[str, int]:
    """Return the capacity of each place, or raise with every problem."""
    if place not in PLACES:
        raise SettingsError(f"There is no place {place!r}; choose {', '.join(PLACES)}.")
    needed = ["student_id", "risk", place, *(["school_id"] if floor else [])]
    if missing := [name for name in dict.fromkeys(needed) if name not in scores]:
        raise ColumnsError(f"The scores lack the columns {', '.join(missing)}.")
    faults = _faults_of(scores, needed, rules)
    limits, wrong = capacity.read(sorted(scores[place].dropna().astype(str).unique()))
    settings = [capacity_sentence(wrong)] if wrong else []
    if floor < 0:
        settings.append(f"The floor per school is {floor}; give 0 or more.")
    elif floor and not wrong and not faults:
        settings += _floors_beyond(scores, limits, place, floor)
    if not 0 < confidence < 1:
        settings.append(f"The confidence is {confidence}; give a share between 0 and 1.")
    if faults:
        raise InputError(" ".join(faults + settings))
    if settings:
        raise SettingsError(" ".join(settings))
    return limits


def _faults_of(scores: pd.DataFrame, needed: list[str], rules: Mapping[str, ArrayLike]) -> list[str]:
    faults = []
    for name in dict.fromkeys(needed):
        if name != "risk" and (count := int(scores[name].isna().sum())):
            faults.append(f"{count} students have no {name}; fill it in, or leave them out.")
    repeated = int(scores["student_id"].dropna().duplicated().sum())
    if repeated:
        faults.append(f"{repeated} rows repeat a student_id; keep one row per student.")
    no_risk = int(scores["risk"].isna().sum())
    if no_risk:
        faults.append(f"{no_risk} students have no risk; leave them out, they cannot be ranked.")
    if not scores["risk"].dropna().between(0, 1).all():
        faults.append("The column risk holds values that are no probabilities between 0 and 1.")
    for name, score in rules.items():
        values = np.asarray(score, dtype=np.float64)
        if values.shape != (len(scores),) or np.isnan(values).any():
            faults.append(f"The rule {name} needs one score for each of the {len(scores)} students, none missing.")
    return faults


def _floors_beyond(scores: pd.DataFrame, limits: Mapping[str, int], place: Place, floor: int) -> list[str]:
    """Return a sentence that names every place whose floors exceed its capacity."""
    floors = scores.groupby([place, "school_id"] if place != "school_id" else [place]).size().clip(upper=floor)
    needed = floors.groupby(level=0).sum()
    beyond = [
        f"{name} needs {need} but has {limits[str(name)]}" for name, need in needed.items() if need > limits[str(name)]
    ]
    if not beyond:
        return []
    return [f"A floor of {floor} per school does not fit: {'; '.join(beyond)}. Lower the floor, or add capacity there."]
