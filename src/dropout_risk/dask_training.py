"""Train on a Dask cluster what does not fit into one machine: LightGBM's own Dask integration, a plain bundle back.

What `DropoutRiskClassifier.fit` does, over partitions: rows are dealt to folds by a hash of their group, each booster
learns from the rows outside its fold (`lightgbm.dask`), its scores of the fold calibrate. All workers bin by one
sample of the rows: by itself, LightGBM takes the bins and the categories of a feature from one worker's rows, which is
wrong where each file is a county or a term. Scores are predicted partition by partition with the plain booster, never
with LightGBM's own Dask prediction. Where the data fits into one machine, `train_flat` is as quick and judges the
model besides.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.special import expit
from sklearn.utils import check_random_state

from dropout_risk.bulk.partitions import Partition, county_folders, find_partitions
from dropout_risk.bundle import Bundle
from dropout_risk.calibration import Calibration
from dropout_risk.engines import Engine
from dropout_risk.engines.dask import Dask
from dropout_risk.errors import ColumnsError, EngineError, InputError, SettingsError
from dropout_risk.flat import IDENTITY_HEADERS, MAX_LEVELS
from dropout_risk.metrics import average_precision, log_loss, roc_auc
from dropout_risk.model import BOOSTED_EVENTS, BOOSTED_ROWS, DropoutRiskClassifier
from dropout_risk.training import band_cutoffs

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]
Levels = Mapping[str, list[str]]

SAMPLE_ROWS = 200_000
"""Rows from which bins and usual values are taken; as many as LightGBM itself takes for bins."""

_NETWORK = ("machines", "local_listen_port", "time_out", "num_machines")
"""What LightGBM is told about the other workers; no model keeps it."""

TOO_MANY_LEVELS = 10_000
"""A partition with more levels than this of one text column does not send them."""


class _Columns(NamedTuple):
    """The roles of the columns; features in sorted order, and which of them are text."""

    label: str
    group: str | None
    features: tuple[str, ...]
    text: tuple[str, ...]

    @property
    def roles(self) -> list[str]:
        """The columns that are no features."""
        return [self.label, *([self.group] if self.group else [])]


class _Rows(NamedTuple):
    """A partition as it stays on the cluster: features, whether the student left, and the fold of each row."""

    matrix: Floats
    event: Flags
    fold: Places


class _Seen(NamedTuple):
    """What must be known of a partition before learning; `counts` has a line a fold: stayed, left."""

    counts: Counts
    levels: dict[str, set[str]]
    n_levels: dict[str, int]
    faults: list[str]


def train_on_dask(
    source: str | Path,
    engine: Engine,
    *,
    label: str,
    group: str | None = None,
    drop: Sequence[str] = (),
    settings: DropoutRiskClassifier | None = None,
    created: date | None = None,
) -> Bundle:
    """Learn from a flat table in Parquet files on a Dask cluster.

    Parameters
    ----------
    source : path
        A Parquet file or a folder of them, which all workers can read. Text is a category.
    engine : Engine
        From `engine("dask")`; every worker should have memory for three times its share of the rows, as float64.
    label : str
        The column of 0 and 1 to learn.
    group : str, optional
        The unit that must not be in a training part and in its calibration rows, such as the school.
    drop : sequence of str
        Columns that are no features.
    settings : DropoutRiskClassifier, optional
        Settings of the model; its defaults otherwise.
    created : date, optional
        Day of training; today by default.

    Returns
    -------
    Bundle
        Of kind ``flat``, as from `train_flat`: nothing of Dask is in it, and its `model` is a plain
        `DropoutRiskClassifier`. `metrics` holds the figures of held-out groups (AUC, average precision, log-loss);
        it was not judged beside rules, so no release gate lets it pass. Two runs give slightly different trees:
        LightGBM draws the rows of a tree on each worker from those that lie there.

    Raises
    ------
    ColumnsError
        When columns are missing or cannot be used; all are named.
    InputError
        When labels are not 0 and 1, or there are too few rows, events or groups for trees.
    SettingsError
        When the settings make no sense or ask for a logistic model, or `engine` is not Dask's.
    EngineError
        When LightGBM's workers cannot work together.

    Examples
    --------
    >>> from dropout_risk.engines import engine
    >>> with engine("dask", workers=2) as cluster:  # doctest: +SKIP
    ...     bundle = train_on_dask("history", cluster, label="left", group="school_id", drop=["student_id"])
    """
    if not isinstance(engine, Dask):
        raise SettingsError('train_on_dask needs a Dask cluster: engine("dask").')
    if county_folders(Path(source)):
        raise SettingsError(f"{source} holds a county's tables; a flat table is needed: one row a student, one label.")
    partitions = find_partitions(Path(source), None)
    columns = _columns(partitions, label=label, group=group, drop=drop)
    job = _Job(engine.client, partitions, columns, _checked(settings, columns))
    levels, counts = job.survey()
    model, score, event = job.learn(levels, counts)
    risk = expit(model.calibration_.log_odds(score))
    return Bundle(
        model=model,
        kind="flat",
        bands=band_cutoffs(risk),
        created=str(created or date.today()),
        data={"rows": len(event), "events": int(event.sum()), "partitions": len(partitions)},
        metrics={
            "held_out": {
                "auc": roc_auc(event, risk),
                "average_precision": average_precision(event, risk),
                "log_loss": log_loss(event, risk),
            }
        },
    )


def _checked(settings: DropoutRiskClassifier | None, columns: _Columns) -> DropoutRiskClassifier:
    """Return the settings, refused now and not after hours of training if they make no sense."""
    wanted = DropoutRiskClassifier(**(settings.get_params(deep=False) if settings else {}))
    wanted.categories_ = {name: [] for name in columns.text}
    wanted._check_settings()
    if wanted.small_data == "logistic":
        raise SettingsError("A logistic model is trained on one machine; leave small_data as it is.")
    return wanted


@dataclass(frozen=True)
class _Job:
    """One training: where, on what, and how."""

    client: Any
    partitions: Sequence[Partition]
    columns: _Columns
    wanted: DropoutRiskClassifier

    def survey(self) -> tuple[dict[str, list[str]], Counts]:
        """Return the levels of the categories, and the counts of stayed and left in each fold, or refuse."""
        n_bags = self.wanted.n_bags
        tasks = self.client.map(_survey, self.partitions, columns=self.columns, n_bags=n_bags, pure=False)
        seen: list[_Seen] = self.client.gather(tasks)
        if faults := [fault for one in seen for fault in one.faults]:
            raise InputError(" ".join(faults[:5]))
        counts = np.sum([one.counts for one in seen], axis=0)
        _check_counts(counts)
        levels = {name: sorted(set().union(*(one.levels[name] for one in seen))) for name in self.columns.text}
        most = {name: max(len(levels[name]), *(one.n_levels[name] for one in seen)) for name in levels}
        limit = min(TOO_MANY_LEVELS, max(MAX_LEVELS, counts.sum() / 3))
        if many := [name for name in levels if most[name] > limit]:
            raise ColumnsError(f"These look like identifiers or free text; name them in drop: {', '.join(many)}.")
        return levels, counts

    def learn(self, levels: Levels, counts: Counts) -> tuple[DropoutRiskClassifier, Floats, Flags]:
        """Return the model, with each row's score by the booster that has not seen it and whether it is an event."""
        client, wanted, rows, places = self.client, self.wanted, int(counts.sum()), range(len(self.partitions))
        parts = client.map(
            _load, self.partitions, columns=self.columns, levels=levels, n_bags=wanted.n_bags, pure=False
        )
        share = min(1.0, SAMPLE_ROWS / rows)
        sample = _joined(client.gather(client.map(_sample, parts, places, share=share, pure=False)))
        (everywhere,) = client.scatter([sample], broadcast=True)
        seeds = check_random_state(wanted.random_state).randint(2**31 - 1, size=wanted.n_bags)
        folds = np.flatnonzero(counts.sum(axis=1))  # with few groups a fold may be empty
        texts = {int(k): self._boost(parts, everywhere, int(k), int(seeds[k]), rows) for k in folds}
        (boosters,) = client.scatter([texts], broadcast=True)
        held_out = client.gather(client.map(_held_out, parts, boosters=boosters, pure=False))
        score, event = (np.concatenate(each) for each in zip(*held_out, strict=True))
        model = DropoutRiskClassifier.from_bag(
            list(texts.values()),
            Calibration.fit(score, event, np.ones(len(score))),
            _frame(sample.matrix, self.columns, levels),
            categories=levels,
            reason=f"Boosted trees: trained on Dask from {rows:,} rows with {event.sum():,} events.",
            **wanted.get_params(deep=False),
        )
        return model, score, event

    def _boost(self, parts: Sequence[Any], sample: Any, fold: int, seed: int, rows: int) -> str:
        """Let LightGBM's Dask integration train one booster on the rows outside a fold; return its text."""
        from dask import array, delayed
        from lightgbm.dask import _train  # its estimators' own door: they do not take a common sample for the bins

        features = self.columns.features
        outside = self.client.map(_outside, parts, fold=fold, pure=False)
        sizes = self.client.gather(self.client.map(_size, outside, pure=False))
        pairs = [(delayed(one), size) for one, size in zip(outside, sizes, strict=True) if size]
        n_trees, settings = self.wanted.lightgbm_settings(
            rows, [(self.wanted.monotone or {}).get(name, 0) for name in features]
        )
        del settings["num_threads"]  # a worker uses the threads that Dask gave it
        X = array.concatenate([array.from_delayed(one[0], (size, len(features)), np.float64) for one, size in pairs])
        y = array.concatenate([array.from_delayed(one[1], (size,), np.float64) for one, size in pairs])
        try:
            with self.client.as_current():  # LightGBM waits by the current client; an engine's is nobody's default
                trained = _train(
                    client=self.client,
                    data=X,
                    label=y,
                    params={**settings, "seed": seed, "tree_learner": "data"},
                    model_factory=_Trainer,
                    sample=sample,
                    fold=fold,
                    n_trees=n_trees,
                    categories=[features.index(name) for name in self.columns.text],
                )
        except lgb.basic.LightGBMError as error:
            raise EngineError(f"LightGBM's workers could not train together: {error}") from error
        text: str = trained.text
        return text


class _Trainer:
    """What LightGBM's Dask integration makes and fits on each worker, in the place of its own estimators."""

    fitted_ = False

    def __init__(self, **settings: Any) -> None:
        self._other_params = settings

    def fit(
        self,
        matrix: Floats,
        event: Floats,
        *,
        sample: _Rows,
        fold: int,
        n_trees: int,
        categories: list[int],
        **_nothing: Any,
    ) -> None:
        """Train together with the other workers, all with the bins of `sample`."""
        alone = {name: value for name, value in self._other_params.items() if name not in _NETWORK}
        alike = lgb.Dataset(
            sample.matrix[sample.fold != fold],
            categorical_feature=categories,
            params={**alone, "feature_pre_filter": False},  # what is rare in the sample may be frequent enough in all
        ).construct()
        rows = lgb.Dataset(matrix, event, reference=alike, categorical_feature=categories)
        self.booster_ = lgb.train({**self._other_params, "feature_pre_filter": False}, rows, n_trees)
        self.fitted_ = True  # now LightGBM closes the network

    @property
    def text(self) -> str:
        """The booster's, without the addresses of the cluster."""
        return re.sub(rf"^\[({'|'.join(_NETWORK)}): .*\]\n", "", self.booster_.model_to_string(), flags=re.MULTILINE)


def _columns(partitions: Sequence[Partition], *, label: str, group: str | None, drop: Sequence[str]) -> _Columns:
    """Return the roles of the columns, or name all that are missing or cannot be used."""
    schemas = {path: pq.read_schema(path) for path in dict.fromkeys(partition.path for partition in partitions)}
    (first, schema), *others = schemas.items()
    roles = [label, *([group] if group else []), *drop]
    problems = [f"There is no column {name!r}." for name in roles if name not in schema.names]
    problems += [f"{name!r} is named twice." for name in sorted(set(roles)) if roles.count(name) > 1]
    problems += [f"{first} holds {name!r} twice." for name in sorted(set(schema.names)) if schema.names.count(name) > 1]
    problems += [
        f"{path} has other columns than {first}: {', '.join(other.names)}."
        for path, other in others
        if sorted(other.names) != sorted(schema.names)
    ]
    if problems:
        raise ColumnsError(" ".join(problems))
    features = sorted(set(schema.names) - set(roles))
    kinds = {name: _kinds(name, schemas.values()) for name in (label, *features)}
    problems += [problem for name in features if (problem := _column_problem(name, kinds[name]))]
    if kinds[label] - {"number"}:
        problems.append(f"The label {label!r} is {', '.join(kinds[label])}; write 0 and 1.")
    learned = tuple(name for name in features if kinds[name])
    if not learned:
        problems.append("There is no column left to learn from.")
    if problems:
        raise ColumnsError(" ".join(problems))
    return _Columns(label, group, learned, tuple(name for name in learned if kinds[name] == {"text"}))


def _kinds(name: str, schemas: Iterable[pa.Schema]) -> set[str]:
    """Return what a column is in the files: number, text or another type; nothing where it has no value at all."""
    return {_kind(schema.field(name).type) for schema in schemas} - {"null"}


def _kind(kind: pa.DataType) -> str:
    inside = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(inside) or pa.types.is_large_string(inside):
        return "text"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return "number"
    return str(kind)


def _column_problem(name: str, kinds: set[str]) -> str | None:
    if name.lower() in IDENTITY_HEADERS:
        return f"Column {name!r} is never a feature; name it in drop."
    if kinds - {"number", "text"}:
        return f"Column {name!r} is {', '.join(sorted(kinds))}, neither number nor text; name it in drop."
    if len(kinds) > 1:
        return f"Column {name!r} is a number in some files and text in others; write it alike."
    return None


def _check_counts(counts: Counts) -> None:
    """Refuse what trees cannot learn from, in all or outside a fold."""
    rows, events = int(counts.sum()), int(counts[:, 1].sum())
    if rows < BOOSTED_ROWS or min(events, rows - events) < BOOSTED_EVENTS:
        raise InputError(
            f"{rows:,} rows with {events:,} events are fewer than the {BOOSTED_ROWS:,} rows and {BOOSTED_EVENTS:,} "
            "events that trees need; train on one machine, where a logistic model takes over."
        )
    if not (counts.sum(axis=0) - counts)[counts.any(axis=1)].all():
        raise InputError(
            "All rows of an outcome are in groups of one fold: there are too few groups to hold any out. Name a "
            "group column of smaller units, such as the school."
        )


def _read(partition: Partition, names: Iterable[str]) -> pa.Table:
    return pq.ParquetFile(partition.path).read_row_groups(
        list(partition.row_groups), columns=list(names), use_threads=False
    )


def _survey(partition: Partition, *, columns: _Columns, n_bags: int) -> _Seen:
    """Return what must be known of all rows before learning."""
    table = _read(partition, [*columns.roles, *columns.text])
    file, label = Path(partition.path).name, _numbers(table[columns.label])
    faults = []
    if bad := int((~np.isin(label, (0, 1))).sum()):
        faults.append(f"{file}: {bad} values of {columns.label} are not 0 or 1.")
    if columns.group and (empty := table[columns.group].null_count):
        faults.append(f"{file}: {empty} rows have no {columns.group}.")
    if faults:
        return _Seen(np.zeros((n_bags, 2), dtype=np.int64), {}, {}, faults)
    cells = 2 * _folds(partition, table, columns, n_bags) + label.astype(np.intp)
    found = {name: set(pc.unique(_text(table[name])).drop_null().to_pylist()) for name in columns.text}
    few = {name: levels if len(levels) <= TOO_MANY_LEVELS else set() for name, levels in found.items()}
    counts = np.bincount(cells, minlength=2 * n_bags).reshape(n_bags, 2)
    return _Seen(counts, few, {name: len(levels) for name, levels in found.items()}, [])


def _load(partition: Partition, *, columns: _Columns, levels: Levels, n_bags: int) -> _Rows:
    """Return a partition as numbers: categories as places among their levels."""
    table = _read(partition, [*columns.roles, *columns.features])
    matrix = np.empty((len(table), len(columns.features)))
    for place, name in enumerate(columns.features):
        column = table[name]
        if name in levels:
            column = pc.index_in(_text(column), value_set=pa.array(levels[name], pa.string()))
        matrix[:, place] = _numbers(column)
        if infinite := int(np.isinf(matrix[:, place]).sum()):
            raise ColumnsError(
                f"Column {name!r} of {Path(partition.path).name} has {infinite} infinite values; write a number, or "
                "leave them empty if they are not known."
            )
    return _Rows(matrix, _numbers(table[columns.label]) == 1, _folds(partition, table, columns, n_bags))


def _numbers(column: pa.ChunkedArray) -> Floats:
    """Return numbers with NaN in the gaps, from booleans and columns without any value as well."""
    numbers: Floats = column.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _folds(partition: Partition, table: pa.Table, columns: _Columns, n_bags: int) -> Places:
    """Return the fold of each row: that of its group, or a random one where there are no groups."""
    if columns.group is None:
        return np.random.default_rng(partition.position).integers(0, n_bags, len(table))
    groups = table[columns.group].cast(pa.string()).combine_chunks().dictionary_encode()
    fold_of = np.array([_fold(name, n_bags) for name in groups.dictionary.to_pylist()], dtype=np.intp)
    fold: Places = fold_of[groups.indices.to_numpy()]
    return fold


def _fold(group: str, n_bags: int) -> int:
    """Return the fold of a group: the same in every partition, on every machine."""
    return int.from_bytes(blake2b(group.encode(), digest_size=8).digest()) % n_bags


def _sample(rows: _Rows, position: int, *, share: float) -> _Rows:
    """Return a share of the rows."""
    n = len(rows.event)
    chosen = np.sort(np.random.default_rng(position).permutation(n)[: int(np.ceil(share * n))])
    return _Rows(rows.matrix[chosen], rows.event[chosen], rows.fold[chosen])


def _joined(parts: Iterable[_Rows]) -> _Rows:
    matrices, events, folds = zip(*parts, strict=True)
    return _Rows(np.concatenate(matrices), np.concatenate(events), np.concatenate(folds))


def _outside(rows: _Rows, fold: int) -> tuple[Floats, Floats]:
    """Return what a booster learns from: features and labels of the rows outside its fold."""
    outside = rows.fold != fold
    return rows.matrix[outside], rows.event[outside].astype(float)


def _size(pair: tuple[Floats, Floats]) -> int:
    return len(pair[1])


def _held_out(rows: _Rows, *, boosters: Mapping[int, str]) -> tuple[Floats, Flags]:
    """Return each row's score by the booster that has not seen its fold, and whether the student left."""
    score = np.full(len(rows.event), np.nan)
    for fold, text in boosters.items():
        inside = rows.fold == fold
        if inside.any():
            score[inside] = lgb.Booster(model_str=text).predict(rows.matrix[inside], raw_score=True, num_threads=1)
    return score, rows.event


def _frame(matrix: Floats, columns: _Columns, levels: Levels) -> pd.DataFrame:
    """Return rows as a frame, categories as such."""
    frame = pd.DataFrame(matrix, columns=list(columns.features))
    codes = {name: frame[name].fillna(-1).to_numpy(dtype=np.intp) for name in levels}
    return frame.assign(**{name: pd.Categorical.from_codes(codes[name], pd.Index(levels[name])) for name in levels})
