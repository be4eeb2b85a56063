"""The release gate: what a model has to show before it replaces the one in use.

Pure functions of an assessment (`Assessment.to_dict`, as `Bundle.metrics` keeps it) and of a county's settings.
A part that the assessment lacks fails the condition that needs it, and the text says what to run: no figure, no
release. Every condition says its figure, its bound and what the figure rests on, in Chinese and English.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from dropout_risk.descriptions import RULE_LABELS
from dropout_risk.errors import SettingsError
from dropout_risk.figures import headline_percent, is_flat, is_number, number_of, part_of, rows_of
from dropout_risk.gate_text import JUDGED, LABELS, Lang, Text, join, percent, points, say

Kind = Literal["auc", "gain", "oracle"]

COUNTY_RULES = tuple(name for name in RULE_LABELS if name != "model")
"""The rules that a county's model has to be compared with; leaving one out would flatter."""

_AT_CAPACITY = re.compile(r"(?:recall|precision)_at_(\d+(?:\.\d+)?)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Settings of the release gate.

    Attributes
    ----------
    metric : str
        ``recall_at_…`` or ``precision_at_…``, with the capacity in percent at which the model has to beat every rule.
    max_ece : float
        Largest expected calibration error.
    max_risk_ratio : float
        How many times too high, or too low, the risks may be on the whole: the sum of the risks over the number of
        students who left has to lie between ``1 / max_risk_ratio`` and `max_risk_ratio`.
    worst_group_share : float
        Smallest recall of a judged group, as a share of the recall among all.
    min_coverage : float
        Smallest share with a score among the students on the roster who need one.
    auc_ceiling : float
        An AUC above it is too good to be true and raises a leak alarm.
    gain_ceiling : float
        Largest share of one feature in what the model gained by learning.
    min_events : int
        Fewest students who left among those that the model is judged on.
    judged : tuple of str
        Columns of `JUDGED` whose groups are judged.

    Raises
    ------
    SettingsError
        If values are out of range or of the wrong type; all of them are named.

    Notes
    -----
    An AUC of .95 for a whole term ahead has not been seen in honest work on school dropout; published models lie
    between .75 and .90. The risks of a coming term are judged, and how many leave differs from term to term by more
    than chance, therefore 1.25 and not 1.05.

    Examples
    --------
    >>> Gate(min_coverage=0.95).max_ece
    0.02
    """

    metric: str = "recall_at_10"
    max_ece: float = 0.02
    max_risk_ratio: float = 1.25
    worst_group_share: float = 0.8
    min_coverage: float = 0.9
    auc_ceiling: float = 0.95
    gain_ceiling: float = 0.6
    min_events: int = 50
    judged: tuple[str, ...] = tuple(JUDGED)

    def __post_init__(self) -> None:
        if wrong := list(self._wrong_values()):
            raise SettingsError(f"The release gate cannot work with these settings: {'; '.join(wrong)}.")

    def _wrong_values(self) -> Iterator[str]:
        given: dict[str, Any] = vars(self)  # a TOML file can hold any type
        if not isinstance(given["metric"], str) or not _AT_CAPACITY.fullmatch(given["metric"]):
            yield f"metric is {given['metric']!r}, not recall_at_10, precision_at_5 or the like"
        for name in ("max_ece", "worst_group_share", "min_coverage", "auc_ceiling", "gain_ceiling"):
            if not is_number(given[name]) or not 0 < given[name] <= 1:
                yield f"{name} is {given[name]!r}, not a number above 0 and up to 1"
        if not is_number(given["max_risk_ratio"]) or not given["max_risk_ratio"] > 1:
            yield f"max_risk_ratio is {given['max_risk_ratio']!r}, not a number above 1"
        if type(given["min_events"]) is not int or given["min_events"] < 1:
            yield f"min_events is {given['min_events']!r}, not a whole number of at least 1"
        columns = given["judged"]
        if not isinstance(columns, tuple) or not columns or any(name not in tuple(JUDGED) for name in columns):
            yield f"judged is {columns!r}, not one or more of {', '.join(JUDGED)}"

    @classmethod
    def from_toml(cls, path: str | Path) -> "Gate":
        """Return the settings in the table ``[gate]`` of a TOML file; what it leaves out has the default.

        Parameters
        ----------
        path : path

        Returns
        -------
        Gate

        Raises
        ------
        SettingsError
            If the file cannot be read or has no such table, or names are unknown or values wrong: all at once.

        Examples
        --------
        >>> Gate.from_toml("nowhere.toml")
        Traceback (most recent call last):
        dropout_risk.errors.SettingsError: The settings file nowhere.toml cannot be read (No such file or directory).
        """
        try:
            table = tomllib.loads(Path(path).read_text("utf-8")).get("gate")
        except OSError as error:
            raise SettingsError(f"The settings file {path} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise SettingsError(f"The settings file {path} is not proper TOML: {error}.") from error
        if not isinstance(table, dict):
            raise SettingsError(f"The settings file {path} has no table [gate]; add it, with min_coverage = 0.9 or so.")
        known = [setting.name for setting in fields(cls)]
        wrong = [f"{name} is no setting (they are {', '.join(known)})" for name in table if name not in known]
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in table.items() if name in known
        }
        try:
            gate = cls(**values)
        except SettingsError as error:
            raise SettingsError(" ".join([f"In {path}: {error}", *(f"And {fault}." for fault in wrong)])) from error
        if wrong:
            raise SettingsError(f"In {path}, table [gate]: {'; '.join(wrong)}.")
        return gate

    @property
    def percent(self) -> str:
        """The capacity of `metric` in percent, as it is written in the names of figures."""
        return self.metric.rpartition("_")[2]

    @property
    def metric_text(self) -> Text:
        """What people call `metric`."""
        return say(self.metric.partition("_")[0], percent=self.percent)


DEFAULT_GATE = Gate()


@dataclass(frozen=True)
class Alarm:
    """A sign that a model knows what it cannot know in use.

    Attributes
    ----------
    kind
        ``auc``, ``gain`` or ``oracle``.
    feature
        The feature with the largest share of the gain, the first to be looked at; None where shares are not known.
    figure, ceiling
        What was found, and what it may be at most.
    zh, en
        The alarm as a sentence.
    """

    kind: Kind
    feature: str | None
    figure: float
    ceiling: float
    zh: str
    en: str

    def to_dict(self) -> dict[str, Any]:
        """Return the alarm as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Condition:
    """One condition of a release.

    Attributes
    ----------
    name
        Key of `LABELS`.
    passed
        Whether it holds.
    figure, bound
        The figure that decides and its bound; None where there is no figure.
    zh, en
        The sentence with the figure, the bound and the name of the cause.
    """

    name: str
    passed: bool
    figure: float | None
    bound: float | None
    zh: str
    en: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model may be released, condition by condition."""

    conditions: tuple[Condition, ...]

    @property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if not condition.passed)

    @property
    def passed(self) -> bool:
        """Whether every condition holds."""
        return not self.failed

    def summary(self, lang: Lang) -> str:
        """Return one line: passed, or the names of the conditions that failed."""
        names = ("、" if lang == "zh" else ", ").join(LABELS[condition.name][lang] for condition in self.failed)
        key = "passed" if self.passed else "failed"
        return say(key, n=len(self.failed), total=len(self.conditions), names=names)[lang]

    def to_text(self, lang: Lang = "en") -> str:
        """Return the summary and a line for each condition.

        Parameters
        ----------
        lang : {"zh", "en"}

        Returns
        -------
        str
        """
        marks = {"zh": ("未通过", "通过　"), "en": ("FAILED", "passed")}[lang]
        lines = (
            f"  {marks[one.passed]}  {LABELS[one.name][lang]}{'：' if lang == 'zh' else ': '}{asdict(one)[lang]}"
            for one in self.conditions
        )
        return "\n".join([self.summary(lang), *lines])

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values for JSON."""
        return {"passed": self.passed, "conditions": [asdict(condition) for condition in self.conditions]}


def check_release(assessment: Mapping[str, Any], gate: Gate = DEFAULT_GATE) -> Verdict:
    """Return whether a model with this assessment may be released.

    Parameters
    ----------
    assessment : mapping
        As `Assessment.to_dict` makes it; any part may be missing or None.
    gate : Gate

    Returns
    -------
    Verdict
        Always all conditions of `LABELS`, in that order.

    Notes
    -----
    A flat table has no audit columns, no county and no school: its groups and unseen places are passed as not judged,
    and the texts say so.

    Recall in small groups is noisy, and the smallest of a dozen noisy figures is low even when all groups are served
    alike. Therefore a group fails only if its recall is below the share and its interval lies below the recall among
    all, widened so that it holds for all judged groups at once (Bonferroni, normal approximation). Simulated with 14
    groups that are served alike and 200 students who left, some group fails in 6 of 100 evaluations; without the
    widening it would in 28. A group of a fifth of the students that is served half as well fails in 44, and in 80
    with 400 who left.

    Examples
    --------
    >>> print(check_release({}).failed[0].en)
    How the model was judged on students it had not seen is not recorded; train again: dropout-risk train.
    """
    return Verdict(tuple(_CHECKS[name](assessment, gate) for name in LABELS))


def leak_alarms(
    auc: float | None,
    gain_shares: Mapping[str, float],
    oracle: Mapping[str, Any] | None = None,
    gate: Gate = DEFAULT_GATE,
    labels: Mapping[str, Text] | None = None,
) -> list[Alarm]:
    """Return the signs that a model has seen what happened after the as-of date.

    Parameters
    ----------
    auc : float or None
        Out of time.
    gain_shares : mapping of feature to share
        Share of each feature in what the model gained by learning.
    oracle : mapping, optional
        On synthetic data, the model's figures minus those of the true risk: name -> ``{"value", "low", "high"}``.
    gate : Gate
        With the ceilings.
    labels : mapping of feature to text, optional
        How features are called; without it by their names.

    Returns
    -------
    list of Alarm
        Each names the feature with the largest share, the first to be looked at.

    Examples
    --------
    >>> [(alarm.kind, alarm.feature) for alarm in leak_alarms(0.99, {"left_on": 0.9, "absence_rate": 0.1})]
    [('auc', 'left_on'), ('gain', 'left_on')]
    """
    feature = max(gain_shares, key=lambda name: (gain_shares[name], name), default=None)
    share = gain_shares[feature] if feature is not None else 0.0
    called = (labels or {}).get(feature or "", {"zh": feature, "en": feature})
    suspect = say("suspect", feature=called, share=percent(share)) if feature else say("no_suspect")
    found: list[tuple[Kind, float, float, Text]] = []
    if auc is not None and auc > gate.auc_ceiling:
        figures = {"figure": f"{auc:.3f}", "ceiling": f"{gate.auc_ceiling:g}"}
        found.append(("auc", auc, gate.auc_ceiling, say("alarm_auc", **figures, suspect=suspect)))
    if share > gate.gain_ceiling:
        figures = {"share": percent(share), "ceiling": percent(gate.gain_ceiling)}
        found.append(("gain", share, gate.gain_ceiling, say("alarm_gain", **figures, feature=called)))
    lows = [low for name in oracle or {} if (low := number_of(oracle, name, "low")) is not None]
    if lows and max(lows) > 0:
        found.append(("oracle", max(lows), 0.0, say("alarm_oracle", figure=f"{max(lows):.3f}", suspect=suspect)))
    return [Alarm(kind, feature, figure, ceiling, text["zh"], text["en"]) for kind, figure, ceiling, text in found]


# The conditions --------------------------------------------------------------------------------------


def _evidence(assessment: Any, gate: Gate) -> Condition:
    evaluation = part_of(assessment, "evaluation")
    rows, base_rate = number_of(evaluation, "rows"), number_of(evaluation, "base_rate")
    if rows is None or base_rate is None or not part_of(assessment, "validation"):
        return _condition("evidence", False, None, gate.min_events, "no_evidence")
    events = round(rows * base_rate)
    groups = number_of(evaluation, "groups")
    # Without a group every row is its own; without terms there is no time: then the rows were dealt at random.
    apart = bool(rows_of(evaluation, "per_term")) or (groups is not None and groups < rows)
    key = "evidence" if apart else "random_rows"
    facts = {"events": f"{events:,}", "least": f"{gate.min_events:,}"}
    return _condition("evidence", apart and events >= gate.min_events, events, gate.min_events, key, **facts)


def _unseen_places(assessment: Any, gate: Gate) -> Condition:
    chance = float(gate.percent) / 100
    if is_flat(assessment):
        return _condition("unseen_places", True, None, chance, "flat_places")
    held_out = part_of(assessment, "held_out")
    # In a place that the model has not seen, its list has to find more than as many students drawn at random.
    recall = part_of(held_out, "evaluation", "metrics", f"recall_at_{gate.percent}")
    value, low = number_of(recall, "value"), number_of(recall, "low")
    if value is None or low is None:
        return _condition("unseen_places", False, None, chance, "no_places", percent=gate.percent)
    unit = {"county": {"zh": "县", "en": "counties"}}.get(
        str(part_of(held_out, "unit")), {"zh": "学校", "en": "schools"}
    )
    facts = {"unit": unit, "value": percent(value), "low": percent(low), "percent": gate.percent}
    return _condition("unseen_places", low > chance, low, chance, "places", **facts)


def _rules(assessment: Any, gate: Gate) -> Condition:
    evaluation = part_of(assessment, "evaluation")
    given = part_of(evaluation, "rules")
    named = sorted(map(str, given)) if isinstance(given, Mapping) else []
    names = list(dict.fromkeys([*([] if is_flat(assessment) else COUNTY_RULES), *named]))
    if not named or not set(names) - {"random"}:
        return _condition("rules", False, None, 0.0, "no_rules")
    differences = {name: part_of(evaluation, "differences", name, gate.metric) for name in names}
    lows = {name: number_of(difference, "low") for name, difference in differences.items()}
    smallest = min((low for low in lows.values() if low is not None), default=None)
    if unbeaten := [_rule_text(name, differences[name]) for name in names if (lows[name] or 0.0) <= 0]:
        return _condition("rules", False, smallest, 0.0, "unbeaten", metric=gate.metric_text, rules=join(unbeaten))
    facts = {"n": len(names), "metric": gate.metric_text, "low": points(smallest or 0.0)}
    return _condition("rules", True, smallest, 0.0, "beaten", **facts)


def _rule_text(name: str, difference: Any) -> Text:
    value, low, high = (number_of(difference, end) for end in ("value", "low", "high"))
    label: Text = RULE_LABELS.get(name, {"zh": name, "en": name})
    if value is None or low is None or high is None:
        return say("not_compared", rule=label)
    return say("compared", rule=label, value=points(value), low=points(low), high=points(high))


def _calibration(assessment: Any, gate: Gate) -> Condition:
    error = number_of(assessment, "evaluation", "metrics", "ece", "value")
    if error is None:
        return _condition("calibration", False, None, gate.max_ece, "no_calibration")
    facts = {"error": f"{error:.4f}", "most": f"{gate.max_ece:g}"}
    return _condition("calibration", _reaches(gate.max_ece, error), error, gate.max_ece, "calibration", **facts)


def _risk_level(assessment: Any, gate: Gate) -> Condition:
    expected = observed = 0.0
    for row in rows_of(assessment, "evaluation", "calibration"):
        rows, risk, share = (number_of(row, name) for name in ("rows", "mean_risk", "observed"))
        overall = row.get("column") == "all" and row.get("level") == "all"
        if overall and rows is not None and risk is not None and share is not None:
            expected, observed = expected + rows * risk, observed + rows * share
    if expected <= 0 or observed < 1:
        return _condition("risk_level", False, None, gate.max_risk_ratio, "no_level")
    ratio = expected / observed
    facts = {"ratio": f"{ratio:.2f}", "least": f"{1 / gate.max_risk_ratio:.2f}", "most": f"{gate.max_risk_ratio:.2f}"}
    fits = _reaches(gate.max_risk_ratio, ratio) and _reaches(ratio, 1 / gate.max_risk_ratio)
    key = "level_fits" if fits else "level_high" if ratio > 1 else "level_low"
    return _condition("risk_level", fits, ratio, gate.max_risk_ratio, key, **facts)


def _subgroups(assessment: Any, gate: Gate) -> Condition:
    evaluation = part_of(assessment, "evaluation")
    cells = rows_of(evaluation, "per_group")
    if not cells and is_flat(assessment):
        return _condition("subgroups", True, None, gate.worst_group_share, "flat_groups")
    overall = number_of(evaluation, "metrics", f"recall_at_{headline_percent(evaluation)}", "value")
    groups, unjudged = _judged_groups(cells, gate.judged)
    if not groups or overall is None or overall <= 0:
        return _condition("subgroups", False, None, gate.worst_group_share, "no_groups")
    low = [one for one in groups if not _reaches(one.recall / overall, gate.worst_group_share)]
    wider = _simultaneous(number_of(evaluation, "confidence"), len(groups))
    failed = [one for one in low if one.high is None or one.recall + wider * (one.high - one.recall) < overall]
    worst = min(failed or groups, key=lambda one: one.recall)
    facts = {
        "group": worst.label,
        "ratio": f"{worst.recall / overall:.2f}",
        "recall": percent(worst.recall),
        "overall": percent(overall),
        "least": f"{gate.worst_group_share:g}",
        "n": len(groups),
        "failed": join([one.label for one in failed]),
        "unjudged": say("unjudged", groups=join(unjudged)) if unjudged else {"zh": "", "en": ""},
    }
    key = "groups_failed" if failed else "groups_noisy" if low else "groups_fit"
    return _condition("subgroups", not failed, worst.recall / overall, gate.worst_group_share, key, **facts)


class _Group(NamedTuple):
    """A judged group: its recall, the upper bound of that, and what it is called."""

    recall: float
    high: float | None
    label: Text


def _judged_groups(cells: list[Mapping[str, Any]], columns: Sequence[str]) -> tuple[list[_Group], list[Text]]:
    """Return the groups that can be judged, and the names of those without figures."""
    judged: list[_Group] = []
    unjudged: list[Text] = []
    for column in columns:
        for level, label in JUDGED[column].items():
            cell = next((c for c in cells if c.get("column") == column and c.get("level") == level), None)
            recall = None if part_of(cell, "suppressed") else number_of(cell, "recall")
            if recall is None:
                unjudged.append(label)
            else:
                judged.append(_Group(recall, number_of(cell, "recall_high"), label))
    return judged, unjudged


def _simultaneous(confidence: float | None, n: int) -> float:
    """Return by how much an interval has to be widened so that `n` of them hold at once."""
    tail = (1 - confidence) / 2 if confidence is not None and 0.5 <= confidence <= 0.999 else 0.025
    normal = NormalDist()
    return normal.inv_cdf(1 - tail / n) / normal.inv_cdf(1 - tail)


def _coverage(assessment: Any, gate: Gate) -> Condition:
    share = number_of(assessment, "coverage", "share")
    if share is None:
        return _condition("coverage", False, None, gate.min_coverage, "no_coverage")
    causes = [row for row in rows_of(assessment, "coverage", "causes") if row.get("needed") is not False]
    causes.sort(key=lambda row: -(number_of(row, "rows") or 0))
    cause: Text = {"zh": "", "en": ""}
    if causes:
        first: Text = {lang: str(causes[0].get(lang)) for lang in ("zh", "en")}
        cause = say("cause", cause=first, rows=f"{number_of(causes[0], 'rows') or 0:,.0f}")
    facts = {"share": percent(share), "least": percent(gate.min_coverage), "cause": cause}
    fits = _reaches(share, gate.min_coverage)
    return _condition("coverage", fits, share, gate.min_coverage, "coverage", **facts)


def _leak(assessment: Any, gate: Gate) -> Condition:
    auc = number_of(assessment, "evaluation", "metrics", "auc", "value")
    features = {str(row.get("feature")): row for row in rows_of(assessment, "drivers", "features")}
    shares = {name: share for name, row in features.items() if (share := number_of(row, "gain_share")) is not None}
    if auc is None or not shares:
        return _condition("leak", False, None, 0, "no_leak_figures")
    labels: dict[str, Text] = {
        name: {"zh": str(row.get("zh") or name), "en": str(row.get("en") or name)} for name, row in features.items()
    }
    oracle = part_of(assessment, "oracle")
    alarms = leak_alarms(auc, shares, oracle if isinstance(oracle, Mapping) else None, gate, labels)
    if alarms:
        texts: list[Text] = [{"zh": alarm.zh, "en": alarm.en} for alarm in alarms]
        return _condition("leak", False, len(alarms), 0, "alarms", alarms=join(texts, zh="", en=" "))
    top = max(shares, key=lambda name: (shares[name], name))
    facts = {
        "auc": f"{auc:.3f}", "auc_ceiling": f"{gate.auc_ceiling:g}",
        "feature": labels[top], "share": percent(shares[top]), "gain_ceiling": percent(gate.gain_ceiling),
    }  # fmt: skip
    return _condition("leak", True, 0, 0, "no_alarm", **facts)


_CHECKS: dict[str, Callable[[Any, Gate], Condition]] = {
    "evidence": _evidence,
    "unseen_places": _unseen_places,
    "rules": _rules,
    "calibration": _calibration,
    "risk_level": _risk_level,
    "subgroups": _subgroups,
    "coverage": _coverage,
    "leak": _leak,
}


def _reaches(figure: float, bound: float) -> bool:
    """Whether a figure is at its bound or above; the last digits of a division decide nothing."""
    return figure >= bound - 1e-9


def _condition(name: str, passed: bool, figure: float | None, bound: float | None, key: str, **facts: Any) -> Condition:
    text = say(key, **facts)
    return Condition(name, passed, figure if is_number(figure) else None, bound, text["zh"], text["en"])
