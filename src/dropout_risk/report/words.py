"""How the report says things: sentences, names and figures in one language."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dropout_risk.audit import AUDIT
from dropout_risk.descriptions import FEATURES, RULE_LABELS, Lang
from dropout_risk.intervals import NOT_RECORDED
from dropout_risk.report.figures import Estimate
from dropout_risk.report.texts import TEXTS
from dropout_risk.support import TREATMENTS

UNKNOWN = "—"


@dataclass(frozen=True)
class Words:
    r"""The words of one language.

    Examples
    --------
    >>> Words("en")("as_of", date="2021-07-10"), Words("zh").percent(0.125)
    ('as of 2021-07-10', '12.5\xa0%')
    """

    lang: Lang

    def __call__(self, key: str, **values: Any) -> str:
        """Return the text called `key`, its gaps filled."""
        return TEXTS[key][self.lang].format(**values)

    def number(self, value: float | None, digits: int = 3, *, signed: bool = False) -> str:
        """Return a number with a true minus sign."""
        if value is None:
            return UNKNOWN
        rounded = round(value, digits) + 0.0
        return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")

    def count(self, value: float | None) -> str:
        """Return a whole number."""
        return UNKNOWN if value is None else f"{value:,.0f}"

    def about(self, value: float | None) -> str:
        """Return a number of people: whole from 10 upwards, else with one digit."""
        return UNKNOWN if value is None else f"{value:,.0f}" if abs(value) >= 9.95 else f"{value:.1f}"

    def signed_cases(self, value: float | None) -> str:
        """Return a difference of numbers of people, with its sign."""
        return self.number(value, 1, signed=True)

    def percent(self, share: float | None) -> str:
        """Return a share in percent, with at most one digit behind the point."""
        if share is None:
            return UNKNOWN
        return f"{100 * share:.1f}".removesuffix(".0").replace("-", "−") + "\u00a0%"

    def people(self, share: float | None) -> str:
        """Return how many of 100 people a share is."""
        return self("people", n=self.about(None if share is None else 100 * share))

    def share(self, share: float | None) -> str:
        """Return a share in percent without the sign, for columns and axes that carry it."""
        return UNKNOWN if share is None else self.number(100 * share, 1)

    def points(self, difference: float | None) -> str:
        """Return a difference of shares in percentage points."""
        return UNKNOWN if difference is None else self.number(100 * difference, 1, signed=True)

    def signed(self, difference: float | None) -> str:
        """Return a difference with its sign."""
        return self.number(difference, signed=True)

    def with_range(self, figure: Estimate | None, show: Callable[[float | None], str]) -> str:
        """Return a figure and its interval in brackets."""
        if figure is None or not figure.bounded:
            return show(figure.value if figure else None)
        return self("with_range", value=show(figure.value), low=show(figure.low), high=show(figure.high))

    def interval(self, figure: Estimate | None, show: Callable[[float | None], str], confidence: float | None) -> str:
        """Return what the interval of a figure is, as a phrase."""
        if figure is None or not figure.bounded:
            return self("interval_unknown")
        return self("interval_of", confidence=self.percent(confidence), low=show(figure.low), high=show(figure.high))

    def joined(self, names: Iterable[str]) -> str:
        """Return a list of names."""
        return ("、" if self.lang == "zh" else ", ").join(names)

    def pick(self, texts: Mapping[Any, Any] | None, default: str = "") -> str:
        """Return the text of this language out of a pair that the figures carry."""
        return str((texts or {}).get(self.lang) or default)

    def metric(self, name: str) -> str:
        """Return the name of a figure such as ``recall_at_10``."""
        kind, _, capacity = name.partition("_at_")
        key = f"metric_{kind}"
        return name if key not in TEXTS else self(key, k=f"{capacity}\u00a0%")

    def ranking(self, name: str) -> str:
        """Return the name of the model, a rule or a standard model; others are called as they are."""
        if name in RULE_LABELS:
            label = RULE_LABELS[name][self.lang]
            return label[:1].upper() + label[1:]
        return self(f"peer_{name}") if f"peer_{name}" in TEXTS else name

    def column(self, name: str) -> str:
        """Return the name of an audit column."""
        return self.pick({"zh": AUDIT[name].zh, "en": AUDIT[name].en}) if name in AUDIT else name

    def level(self, column: str, level: str) -> str:
        """Return the name of a value of an audit column."""
        if level == NOT_RECORDED:
            return self("not_recorded")
        known = AUDIT[column].levels if column in AUDIT else {}
        return self.pick(known.get(level), level)

    def cell(self, column: str, level: str) -> str:
        """Return the name of a group of students."""
        return self("cell", column=self.column(column), level=self.level(column, level))

    def feature(self, name: str) -> str:
        """Return the name of a feature."""
        return FEATURES[name].label(self.lang) if name in FEATURES else name

    def band(self, name: str | None) -> str:
        """Return the name of a band of risk."""
        return self(f"band_{name}") if f"band_{name}" in TEXTS else str(name or UNKNOWN)

    def treatment(self, name: str | None) -> str:
        """Return how rows of helped students are treated, in words."""
        return self.pick(TREATMENTS.get(name or ""), str(name or UNKNOWN))
