"""A data scientist's own flat table through the same model, judgement and bundle: any columns, no schema."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.assessment import assess
from dropout_risk.bundle import Bundle, data_digest
from dropout_risk.descriptions import Lang
from dropout_risk.errors import ColumnsError, SettingsError, TableError
from dropout_risk.evaluation import evaluate
from dropout_risk.explanation import explain
from dropout_risk.judgement import MAX_TEST_TERMS, MIN_FOLDS, Progress, Split, Trial, silent
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.peers import PEERS
from dropout_risk.schema import NEVER_READ_HEADERS, REFUSED_HEADERS, TABLES
from dropout_risk.scores import Scores, nobody_refused, ranks
from dropout_risk.split import TermSplit
from dropout_risk.tables import read_flat
from dropout_risk.training import Note, Training, band_cutoffs

IDENTITY_HEADERS = frozenset(
    header.lower()
    for table in TABLES.values()
    for column in table.columns
    if column.role == "identity"
    for header in column.headers
) | frozenset(header.lower() for header in (*REFUSED_HEADERS, *NEVER_READ_HEADERS))
"""Headers that no model may learn from, whatever the table: names, ID numbers, addresses, religion, …"""

MAX_LEVELS = 100
"""A text column with more levels than this, most of them seen once or twice, is an identifier or free text."""

NOTES: dict[str, Note] = {
    "no_label": {
        "en": "{missing} of {rows} rows have no label and were left out.",
        "zh": "{rows} 行中有 {missing} 行没有结果标签，未使用。",
    },
    "audit_feature": {
        "en": "{column} is among the features; an audit attribute is not one by default: --drop {column}.",
        "zh": "特征中包含“{column}”；核查用属性默认不作特征，可用 --drop {column} 去掉。",
    },
    "crossing": {
        "en": "{crossing} training rows belong to groups that are also in the test part; they were not learned from, "
        "so that no model is judged on a group that it knows.",
        "zh": "{crossing} 行训练数据所在的组也出现在测试部分，未用于训练，以免用已见过的组来评判模型。",
    },
}
"""What was left out, and what to look at."""


def _note(name: str, **facts: str) -> Note:
    return {lang: text.format(**facts) for lang, text in NOTES[name].items()}


@dataclass(frozen=True, eq=False)
class FlatTable:
    """A flat table divided by role.

    Attributes
    ----------
    X : DataFrame (n, n_features)
    y : int array (n,)
    groups : array (n,) or None, the unit that never crosses a split
    term : array (n,) or None, the time order
    splits : list of (train, test) row positions
    validation : how the rows were split, as a sentence by language
    baseline : float array (n,) or None, the score of a simple rule, never a feature
    notes : sentences about what was left out, by language
    unlabelled : int, rows without a label, which are not among the n
    """

    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray | None
    term: np.ndarray | None
    splits: list[Split]
    validation: Mapping[Lang, str]
    baseline: np.ndarray | None
    notes: tuple[Note, ...]
    unlabelled: int = 0

    @property
    def trial(self) -> Trial:
        """The rows to learn from and to judge by."""
        return Trial(self.X, self.y, self.groups, self.term, self.splits, self.validation)

    @classmethod
    def of(
        cls,
        table: pd.DataFrame | str | Path,
        *,
        label: str,
        group: str | None = None,
        fold: str | None = None,
        split: str | None = None,
        time: str | None = None,
        baseline: str | None = None,
        drop: Sequence[str] = (),
        seed: int = 0,
    ) -> "FlatTable":
        """Divide `table` into features, label and everything that only serves the judgement.

        Parameters
        ----------
        table
            A frame, or the path of a CSV, Parquet or XLSX file.
        label
            Column with 0/1 (or no/yes as booleans); rows without a label are left out and counted.
        group
            Column with the unit that must never cross a split: village, school, student.
        fold, split, time
            At most one of: a column with fold numbers (each fold is scored by a model of the others), with
            ``train``/``test``, or with the time order (the newest times are scored by models of the earlier
            ones). None: five folds of groups.
        baseline
            Column with the score of a simple rule to compare with; never a feature.
        drop
            Further columns that are no features.

        Raises
        ------
        ColumnsError
            If columns are missing, or one looks like a name or an identifier.
        SettingsError
            If the columns named do not fit together.
        TableError
            If the label is not 0/1.
        """
        frame = read_flat(table) if isinstance(table, (str, Path)) else table
        named = {"label": label, "group": group, "fold": fold, "split": split, "time": time, "baseline": baseline}
        _check_columns(frame, named, drop)
        missing, rows_in = int(frame[label].isna().sum()), len(frame)
        notes = [_note("no_label", missing=f"{missing:,}", rows=f"{rows_in:,}")] if missing else []
        frame = frame[frame[label].notna()].reset_index(drop=True)
        y = _labels(frame[label], label)
        groups = frame[group].to_numpy() if group else None
        term = frame[time].to_numpy() if time else None
        features = [column for column in frame.columns if column not in {*named.values(), *drop}]
        X = _features(frame[features])
        splits, validation = _splits(frame, y, groups, fold=fold, split=split, time=time, seed=seed)
        if groups is not None and not time:
            splits, crossing = _without_crossing(groups, splits)
            notes += crossing
        notes += [
            _note("audit_feature", column=column) for column in X.columns if column.lower() in ("sex", "gender", "性别")
        ]
        rule = frame[baseline].astype(float).to_numpy() if baseline else None
        return cls(X, y, groups, term, splits, validation, rule, tuple(notes), missing)


def _check_columns(frame: pd.DataFrame, named: dict[str, str | None], drop: Sequence[str]) -> None:
    """Refuse columns that are named but missing, named twice, or that no model may learn from."""
    wanted = [(f"--{role}", name) for role, name in named.items() if name] + [("--drop", name) for name in drop]
    faults = [f"{option} names {name!r}, which the table lacks" for option, name in wanted if name not in frame.columns]
    roles: dict[str, list[str]] = {}
    for role, name in named.items():
        if name:
            roles.setdefault(name, []).append(role)
    faults += [f"{name!r} is named as {' and '.join(used)}" for name, used in roles.items() if len(used) > 1]
    spoken_for = {*roles, *drop}
    for column in frame.columns.difference(list(spoken_for)):
        if str(column).lower() in IDENTITY_HEADERS:
            faults.append(f"{column!r} is never a feature; leave it out with --drop {column}")
        elif _looks_like_an_identifier(frame[column]):
            faults.append(f"{column!r} looks like an identifier or free text; leave it out with --drop {column}")
    if faults:
        raise ColumnsError(f"The columns cannot be used like this: {'; '.join(faults)}.")
    if len([name for name in ("fold", "split", "time") if named[name]]) > 1:
        raise SettingsError("Choose one of --fold, --split and --time: they are three ways to judge a model.")


def _looks_like_an_identifier(column: pd.Series) -> bool:
    if not isinstance(column.dtype, pd.CategoricalDtype) and not pd.api.types.is_string_dtype(column):
        return False
    levels = column.nunique()
    return bool(levels > MAX_LEVELS and levels > len(column) / 3)


def _labels(column: pd.Series, name: str) -> np.ndarray:
    text = column.astype("str").str.strip().str.lower().str.replace(r"\.0$", "", regex=True)
    value = text.map({"1": 1, "0": 0, "true": 1, "false": 0})
    if value.isna().any():
        position = int(value.isna().to_numpy().argmax())
        raise TableError(
            f"Column {name}, row {position + 1} of the rows with a label: {column.iloc[position]!r} is neither 0 "
            "nor 1; 1 means that the student left."
        )
    if value.nunique() < 2:
        raise TableError(f"Column {name} holds only {value.iloc[0]:.0f}; a model needs students of both kinds.")
    return value.to_numpy(dtype=np.int64)


def _features(frame: pd.DataFrame) -> pd.DataFrame:
    """Return numbers, booleans and categories; text becomes a category, a column without any value goes."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            raise ColumnsError(f"Column {name!r} holds dates, which are no feature; leave it out with --drop {name}.")
        if column.notna().any():
            columns[str(name)] = column.astype("category") if pd.api.types.is_string_dtype(column) else column
    if not columns:
        raise ColumnsError("No column is left to learn from; name fewer columns in --drop.")
    return pd.DataFrame(columns, index=frame.index)


def _splits(
    frame: pd.DataFrame,
    y: np.ndarray,
    groups: np.ndarray | None,
    *,
    fold: str | None,
    split: str | None,
    time: str | None,
    seed: int,
) -> tuple[list[Split], dict[Lang, str]]:
    if fold:
        splits, how, facts = _fold_splits(frame[fold], fold)
    elif split:
        splits, how, facts = _named_split(frame[split], split)
    elif time:
        splits, how, facts = _time_splits(frame[time], time)
    else:
        splits, how, facts = _group_folds(y, groups, seed)
    return splits, {lang: text.format(**facts) for lang, text in HOW[how].items()}


HOW: dict[str, dict[Lang, str]] = {
    "fold": {
        "en": "pooled over the {n} folds of {name}: each scored by a model of the others",
        "zh": "按“{name}”列的 {n} 折合并：每一折由用其余各折训练的模型评分",
    },
    "split": {
        "en": "rows marked test in {name}, scored by a model of those marked train",
        "zh": "“{name}”列标为 test 的行，由标为 train 的行训练的模型评分",
    },
    "time": {
        "en": "out of time by {name}: each of the last {n} scored by models of the earlier ones",
        "zh": "按“{name}”列的时间外推：最近 {n} 期，每期都由只用更早各期训练的模型评分",
    },
    "rows": {
        "en": "{n} random folds of rows: too kind where children of one place are alike; name --group or --time",
        "zh": "随机分成 {n} 折：同一地方的学生彼此相似时，数字会偏好；请指定 --group 或 --time",
    },
    "groups": {"en": "{n} folds of groups", "zh": "按组分成 {n} 折"},
}
"""How the rows were split, as a sentence."""

_Found = tuple[list[Split], str, dict[str, Any]]


def _fold_splits(column: pd.Series, name: str) -> _Found:
    if column.isna().any() or column.nunique() < 2:
        raise SettingsError(f"Column {name} must give every row a fold, and at least two folds.")
    rows = [np.flatnonzero(column == value) for value in sorted(column.unique())]
    everything = np.arange(len(column))
    return [(np.setdiff1d(everything, test), test) for test in rows], "fold", {"n": len(rows), "name": name}


def _named_split(column: pd.Series, name: str) -> _Found:
    values = column.astype("str").str.lower()
    if set(values) != {"train", "test"}:
        raise SettingsError(f"Column {name} must hold train and test, both and nothing else; it holds {set(values)}.")
    train, test = np.flatnonzero(values == "train"), np.flatnonzero(values == "test")
    return [(train, test)], "split", {"name": name}


def _time_splits(column: pd.Series, name: str) -> _Found:
    n = min(MAX_TEST_TERMS, column.nunique() - 1)
    if n < 1:
        raise SettingsError(f"Column {name} holds one time only; --time needs at least two.")
    return list(TermSplit(n).split(column, term=column.to_numpy())), "time", {"n": n, "name": name}


def _group_folds(y: np.ndarray, groups: np.ndarray | None, seed: int) -> _Found:
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    rows = np.zeros(len(y))
    if groups is None:
        folds = StratifiedKFold(MIN_FOLDS, shuffle=True, random_state=seed)
        return list(folds.split(rows, y)), "rows", {"n": MIN_FOLDS}
    n = min(MIN_FOLDS, len(pd.unique(groups)))
    if n < 2:
        raise SettingsError("--group names a column with one group only; nothing can be held out.")
    return list(GroupKFold(n, shuffle=True, random_state=seed).split(rows, y, groups)), "groups", {"n": n}


def _without_crossing(groups: np.ndarray, splits: list[Split]) -> tuple[list[Split], list[Note]]:
    """Take the groups of each test part out of its train part; say so where there were any."""
    kept = [(train[~np.isin(groups[train], groups[test])], test) for train, test in splits]
    crossing = sum(len(train) for train, _ in splits) - sum(len(train) for train, _ in kept)
    if not crossing:
        return splits, []
    return kept, [_note("crossing", crossing=f"{crossing:,}")]


def flat_model(*, seed: int = 0, threads: int = 1) -> DropoutRiskClassifier:
    """Return the untrained classifier for a flat table: the defaults, without constraints."""
    return DropoutRiskClassifier(random_state=seed, n_jobs=threads)


def train_flat(
    table: FlatTable,
    *,
    seed: int = 0,
    threads: int = 1,
    created: date | None = None,
    progress: Progress | None = None,
) -> Training:
    """Learn from a flat table and judge the model beside the baseline and standard models.

    Parameters
    ----------
    table
        From `FlatTable.of`.
    seed, threads
        Random seed and number of threads.
    created
        Day written into the bundle; None: today.
    progress
        Called with a short text at each step.

    Returns
    -------
    Training
        With a bundle of kind ``flat``; `outcomes` counts the labels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"absent": rng.poisson(2, 600), "village": rng.integers(0, 30, 600)})
    >>> frame["left"] = (rng.random(600) < 1 / (1 + np.exp(4 - frame["absent"]))).astype(int)
    >>> training = train_flat(FlatTable.of(frame, label="left", group="village"))
    >>> training.bundle.kind, training.evaluation.metrics["auc"].value > 0.7
    ('flat', True)
    """
    tell = progress or silent
    model = flat_model(seed=seed, threads=threads)
    trial = table.trial
    tell("model")
    risk = trial.risks(model)
    peers = trial.peers(PEERS, threads=threads, seed=seed, progress=tell)
    tell("intervals")
    rules = {} if table.baseline is None else {"baseline": table.baseline}
    evaluation = evaluate(table.y, risk, groups=table.groups, term=table.term, rules=rules, peers=peers, seed=seed)
    tell("final fit")
    model.fit(table.X, table.y, groups=table.groups, term=table.term)
    rows, events = len(table.y), int(table.y.sum())
    data = {"rows": rows, "events": events, "digest": data_digest(table.X.assign(label=table.y))}
    bands = band_cutoffs(risk)
    assessment = assess(
        trial,
        model,
        evaluation=evaluation,
        risk=risk,
        rules=rules,
        sample=table.X,
        bands=bands,
        data=data,
        coverage={"rows_in": rows + table.unlabelled, "scored": rows + table.unlabelled, "share": 1.0, "causes": []},
        notes=list(table.notes),
    )
    bundle = Bundle(
        model=model,
        kind="flat",
        created=(created or date.today()).isoformat(),
        bands=bands,
        metrics=assessment.to_dict(),
        data=data,
        backtest=assessment.backtest.to_dict(),
    )
    outcomes = pd.DataFrame({"stayed": [rows - events], "left": [events]}, index=["all"])
    return Training(bundle, assessment, outcomes, refused=pd.DataFrame())


def score_flat(frame: pd.DataFrame, bundle: Bundle, *, reasons: int = 5, lang: Lang = "zh") -> Scores:
    """Return risk, band, rank and reasons of every row of a flat table; further columns are left alone.

    Parameters
    ----------
    frame
        Rows with at least the columns that the bundle's model learned, in any order.
    bundle
        A trained model of kind ``flat``.

    Returns
    -------
    Scores
        `frame` has `row` (1-based position in the input), `risk`, `band` and `rank`, highest risk first.

    Raises
    ------
    ColumnsError
        If columns are missing; all of them are named.
    SettingsError
        If the bundle was trained on a county's tables.
    """
    if bundle.kind != "flat":
        raise SettingsError("This bundle was trained on a county's tables; give it those instead of a flat table.")
    names = bundle.model.feature_names
    if missing := [name for name in names if name not in frame.columns]:
        raise ColumnsError(f"The table lacks columns that the model learned: {', '.join(missing)}.")
    X = _as_learned(frame[names], bundle.model)
    explanation = explain(bundle.model, X)
    order = np.argsort(-explanation.risk, kind="stable")
    gaps = [list(X.columns[row]) for row in X.isna().to_numpy()]
    risk = explanation.risk[order]
    scored = {"row": order + 1, "risk": risk, "band": bundle.band_of(risk), "rank": ranks(risk)}
    return Scores(
        students={name: values.tolist() for name, values in scored.items()},
        reasons=explanation.reasons(reasons, lang).take(order),
        gaps=[gaps[row] for row in order],
        refusals=nobody_refused(),
        rows_in=len(frame),
        as_of=bundle.created,
        expires=None,
    )


def _as_learned(X: pd.DataFrame, model: DropoutRiskClassifier) -> pd.DataFrame:
    """Return text columns as categories where the model learned categories."""
    learned = {name: X[name].astype("category") for name in model.categories_}
    return X.assign(**learned)
