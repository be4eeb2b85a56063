"""What changed between two support lists, and why each student is new on it or gone from it.

A reason here is what moved the score, not what happened in the child's life; it tells where to ask first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.descriptions import FEATURES, GROUPS, SHOWN, Lang
from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.explanation import Explanation
from dropout_risk.plain import plain, records

Text = Mapping[Lang, str]

CAUSES: dict[str, dict[Lang, str]] = {
    "entered": {
        "zh": "上学期没有评分（新入学、转入或当时资料不全），本学期风险为 {now}",
        "en": "had no score last term (new on the roll, or the record was incomplete); the risk is now {now}",
    },
    "risk_rose": {"zh": "风险由 {before} 升至 {now}", "en": "the risk rose from {before} to {now}"},
    "moved_up": {
        "zh": "本人风险没有上升（{before} 到 {now}），因他人退出或名额变化而进入名单"
        "（名单由 {listed_before} 人变为 {listed_now} 人）",
        "en": "the student's own risk did not rise ({before} to {now}); others made room, or the capacity changed "
        "(the list had {listed_before} students and has {listed_now})",
    },
    "left": {"zh": "本学期没有评分", "en": "has no score this term"},
    "risk_fell": {"zh": "风险由 {before} 降至 {now}", "en": "the risk fell from {before} to {now}"},
    "displaced": {
        "zh": "本人风险没有下降（{before} 到 {now}），因他人风险更高或名额变化而退出名单"
        "（名单由 {listed_before} 人变为 {listed_now} 人）",
        "en": "the student's own risk did not fall ({before} to {now}); others need support more, or the capacity "
        "changed (the list had {listed_before} students and has {listed_now})",
    },
}
"""Why a student is new (the first three) or gone (the last three)."""

_THROUGH: dict[Lang, str] = {
    "zh": "，主要来自“{group}”：{feature}由 {was} 变为 {now}",
    "en": ", most of it through {group}: {feature} was {was} and is {now}",
}
_THROUGH_SAME: dict[Lang, str] = {
    "zh": "，主要来自“{group}”：{feature}仍为 {now}，影响有所变化",
    "en": ", most of it through {group}: {feature} is {now} as before, but weighs differently",
}
_NOT_RECORDED: dict[Lang, str] = {"zh": "未登记", "en": "not recorded"}


@dataclass(frozen=True, eq=False)
class Churn:
    """How two lists differ.

    Attributes
    ----------
    frame
        One row per student who is new or gone: `student_id`, `change` (``new`` or ``gone``), `cause` (key of
        `CAUSES`), `risk_before`, `risk_now`, `group` and `feature` that moved the risk most (None where the risk is
        not the cause, or nothing was explained), and the sentences `zh` and `en`. New ones first, by risk.
    kept, new, gone
        Students on both lists, on this one only, and on the last one only.
    share_kept
        Share of the last list that is on this one; NaN if the last one was empty.
    """

    frame: pd.DataFrame
    kept: int
    new: int
    gone: int
    share_kept: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the rows as plain values for JSON."""
        counts = {"kept": self.kept, "new": self.new, "gone": self.gone, "share_kept": plain(self.share_kept)}
        return {**counts, "students": records(self.frame)}


def compare_lists(
    now: pd.DataFrame,
    before: pd.DataFrame,
    *,
    explained_now: Explanation | None = None,
    explained_before: Explanation | None = None,
    left: Mapping[str, Text] | None = None,
) -> Churn:
    """Say why students are new on the list or gone from it since last term.

    Parameters
    ----------
    now, before
        All scored students of this term and of the last: `student_id`, `risk`, `listed` (bool).
    explained_now, explained_before
        Explanations of the same students, rows named by student id, by one and the same model. With both, the
        group of reasons is named whose contribution moved most, and its strongest feature before and after.
    left
        Why a student without a score this term has none: student id -> sentence in both languages.

    Returns
    -------
    Churn

    Raises
    ------
    ColumnsError
        If a column is missing.
    InputError
        If a student repeats, or has no risk; the text holds every problem.
    SettingsError
        If the two explanations are of different features.

    Notes
    -----
    Risks are compared as they are printed, to a tenth of a percent.

    Examples
    --------
    >>> before = pd.DataFrame({"student_id": ["a", "b", "c"], "risk": [0.5, 0.1, 0.3], "listed": [True, False, True]})
    >>> now = pd.DataFrame({"student_id": ["a", "b"], "risk": [0.5, 0.4], "listed": [True, True]})
    >>> churn = compare_lists(now, before, left={"c": {"zh": "已转学", "en": "moved to another school"}})
    >>> churn.kept, churn.share_kept, churn.frame["cause"].tolist()
    (1, 0.5, ['risk_rose', 'left'])
    >>> print("; ".join(churn.frame["en"]))
    the risk rose from 10.0 % to 40.0 %; has no score this term: moved to another school
    """
    _check({"this term's": now, "last term's": before})
    then, today = (frame.set_index("student_id")[["risk", "listed"]] for frame in (before, now))
    both = then.merge(today, how="outer", left_index=True, right_index=True, suffixes=("_before", "_now"))
    was, is_ = both["listed_before"].eq(True), both["listed_now"].eq(True)
    changed = both[was != is_].assign(change=np.where(is_[was != is_], "new", "gone"))
    changed = changed.assign(cause=_causes(changed))
    moved = _moves(changed, explained_now, explained_before)
    sizes = {"listed_before": int(was.sum()), "listed_now": int(is_.sum())}
    told = [
        _sentences(row, moved.get(str(student)), sizes, (left or {}).get(str(student)))
        for student, row in changed.iterrows()
    ]
    frame = changed.assign(
        group=pd.Series({student: move.group for student, move in moved.items()}, dtype=object),
        feature=pd.Series({student: move.feature for student, move in moved.items()}, dtype=object),
        zh=[text["zh"] for text in told],
        en=[text["en"] for text in told],
    ).rename_axis("student_id")
    frame = frame.assign(gone=frame["change"] == "gone", by=-frame["risk_now"].fillna(frame["risk_before"]))
    frame = frame.reset_index().sort_values(["gone", "by", "student_id"], ignore_index=True)
    columns = ["student_id", "change", "cause", "risk_before", "risk_now", "group", "feature", "zh", "en"]
    kept = int((was & is_).sum())
    return Churn(
        frame=frame[columns].astype({"group": object, "feature": object}),
        kept=kept,
        new=int((is_ & ~was).sum()),
        gone=int((was & ~is_).sum()),
        share_kept=kept / sizes["listed_before"] if sizes["listed_before"] else float("nan"),
    )


@dataclass(frozen=True)
class _Move:
    """What moved a student's risk most: a group, its strongest feature, and this feature's values."""

    group: str
    feature: str
    was: float | None
    now: float | None


def _check(lists: Mapping[str, pd.DataFrame]) -> None:
    missing = [
        f"{name} scores lack {column}"
        for name, frame in lists.items()
        for column in ("student_id", "risk", "listed")
        if column not in frame
    ]
    if missing:
        raise ColumnsError(f"The lists cannot be compared: {'; '.join(missing)}.")
    faults = []
    for name, frame in lists.items():
        if repeated := int(frame["student_id"].duplicated().sum()):
            faults.append(f"{name} scores repeat {repeated} students")
        if without := int(frame["risk"].isna().sum()):
            faults.append(f"{name} scores have {without} students without a risk")
    if faults:
        raise InputError(f"The lists cannot be compared: {'; '.join(faults)}. Keep one scored row per student.")


def _causes(changed: pd.DataFrame) -> np.ndarray:
    """Return the cause of every change."""
    before, now = changed["risk_before"].round(3), changed["risk_now"].round(3)
    is_new = changed["change"] == "new"
    conditions = [is_new & before.isna(), is_new & (now > before), is_new, now.isna(), now < before]
    return np.select(conditions, list(CAUSES)[:-1], list(CAUSES)[-1])


def _moves(changed: pd.DataFrame, now: Explanation | None, before: Explanation | None) -> dict[str, _Move]:
    """Return for each student whose risk is the cause what moved it most."""
    if now is None or before is None:
        return {}
    if now.feature_names != before.feature_names:
        raise SettingsError("The two explanations are of different features; explain both terms with the same model.")
    by_risk = changed.index[changed["cause"].isin(["risk_rose", "risk_fell"])]
    known = by_risk[by_risk.isin(now.data.index) & by_risk.isin(before.data.index)]
    at_now, at_before = now.data.index.get_indexer(known), before.data.index.get_indexer(known)
    names = np.array(now.feature_names)
    owner = np.array([FEATURES[name].group if name in FEATURES else name for name in names])
    groups = np.array(list(dict.fromkeys(owner)))
    sign = np.where(changed.loc[known, "cause"] == "risk_rose", 1.0, -1.0)
    steps = sign[:, None] * (now.values[at_now] - before.values[at_before])
    totals = np.stack([steps[:, owner == group].sum(axis=1) for group in groups], axis=1)
    moves = {}
    for i, student in enumerate(known):
        group = str(groups[totals[i].argmax()])
        column = int(np.where(owner == group, steps[i], -np.inf).argmax())
        values = _value(before, at_before[i], column), _value(now, at_now[i], column)
        moves[str(student)] = _Move(group, str(names[column]), *values)
    return moves


def _value(explanation: Explanation, row: int, column: int) -> float | None:
    value: Any = explanation.data.iat[row, column]
    return None if pd.isna(value) else float(value)


def _sentences(row: "pd.Series[Any]", move: _Move | None, sizes: Mapping[str, int], left: Text | None) -> Text:
    risks = {"before": f"{100 * row['risk_before']:.1f} %", "now": f"{100 * row['risk_now']:.1f} %"}
    texts = {lang: text.format(**risks, **sizes) for lang, text in CAUSES[row["cause"]].items()}
    if move is not None:
        return {lang: text + _through(move, lang) for lang, text in texts.items()}
    if left is not None and row["cause"] == "left":
        return {"zh": f"{texts['zh']}：{left['zh']}", "en": f"{texts['en']}: {left['en']}"}
    return texts


def _through(move: _Move, lang: Lang) -> str:
    """Return the half-sentence that names the group and its strongest feature before and after."""
    feature = FEATURES.get(move.feature)
    label = feature.label(lang) if feature else move.feature
    group = GROUPS[move.group][lang] if move.group in GROUPS else move.group
    was, now = (
        _NOT_RECORDED[lang] if value is None else SHOWN[feature.show](value, lang) if feature else f"{value:.4g}"
        for value in (move.was, move.now)
    )
    template = _THROUGH_SAME if was == now else _THROUGH
    if lang == "en":
        label, group = (text[:1].lower() + text[1:] for text in (label, group))
    return template[lang].format(group=group, feature=label, was=was, now=now)
