"""Train on a Dask cluster what does not fit into one machine: LightGBM's own Dask integration, a plain bundle back.

What `DropoutRiskClassifier.fit` does, over partitions: rows are dealt to folds by a hash of their group, each booster
learns from the rows outside its fold (`lightgbm.dask`), its scores of the fold calibrate. Scores are predicted
partition by partition with the plain booster, never with LightGBM's own Dask prediction. Where the data fits into one
machine, `train_flat` is as quick and judges the model besides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.utils import check_random_state

from dropout_risk.bulk.partitions import Partition, find_partitions
from dropout_risk.bundle import Bundle
from dropout_risk.calibration import Calibration
from dropout_risk.columns import frame_to_numbers
from dropout_risk.engines.dask import Dask
from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.metrics import average_precision, log_loss, roc_auc
from dropout_risk.model import BOOSTED_EVENTS, BOOSTED_ROWS, DropoutRiskClassifier
from dropout_risk.training import band_cutoffs

SAMPLE_ROWS = 100_000
"""Rows from which the usual values are taken."""


@dataclass(frozen=True)
class _Columns:
    """The roles of the columns; features in sorted order."""

    label: str
    group: str | None
    features: tuple[str, ...]
    text: tuple[str, ...]


def train_on_dask(
    source: str | Path,
    engine: Dask,
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
        A Parquet file or a folder of them, which all workers can read.
    engine : Dask
        From `engines.engine("dask")`; every worker should have memory for its share of the rows.
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
        Of kind ``flat``, as from `train_flat`: nothing of Dask is in it. `metrics` holds the figures of held-out
        groups (AUC, average precision, log-loss); it was not judged beside rules, so no release gate lets it pass.

    Raises
    ------
    ColumnsError
        When columns are missing or cannot be used; all are named.
    InputError
        When labels are not 0 and 1, or there are too few rows or events for trees.
    SettingsError
        When the settings ask for a logistic model.

    Examples
    --------
    >>> from dropout_risk.engines import engine
    >>> with engine("dask", workers=2) as cluster:  # doctest: +SKIP
    ...     bundle = train_on_dask("history", cluster, label="left", group="school_id", drop=["student_id"])
    """
    wanted = settings or DropoutRiskClassifier()
    if wanted.small_data == "logistic":
        raise SettingsError("A logistic model is trained on one machine; leave small_data as it is.")
    partitions = find_partitions(Path(source), None)
    columns = _columns(partitions, label=label, group=group, drop=drop)
    client = engine.client
    seen = client.gather(client.map(_survey, partitions, columns=columns, pure=False))
    rows, events = sum(one["rows"] for one in seen), sum(one["events"] for one in seen)
    _check_counts(rows, events, [fault for one in seen for fault in one["faults"]])
    levels = {name: sorted(set().union(*(one["levels"][name] for one in seen))) for name in columns.text}
    parts = client.map(_load, partitions, columns=columns, levels=levels, n_bags=wanted.n_bags, pure=False)
    boosters = [_boost(client, parts, fold, wanted, columns, levels, rows) for fold in range(wanted.n_bags)]
    (everywhere,) = client.scatter([boosters], broadcast=True)
    held_out = client.gather(client.map(_held_out, parts, boosters=everywhere, pure=False))
    score, event = (np.concatenate(each) for each in zip(*held_out, strict=True))
    calibration = Calibration.fit(score, event, np.ones(len(score)))
    share = min(1.0, SAMPLE_ROWS / rows)
    sample = pd.concat(client.gather(client.map(_sample, partitions, columns=columns, share=share, pure=False)))
    model = DropoutRiskClassifier.from_bag(
        boosters,
        calibration,
        sample.assign(**{name: pd.Categorical(sample[name], categories=levels[name]) for name in levels}),
        categories=levels,
        reason=f"Boosted trees: trained on Dask from {rows:,} rows with {events:,} events.",
        **wanted.get_params(deep=False),
    )
    risk = 1 / (1 + np.exp(-calibration.log_odds(score)))
    return Bundle(
        model=model,
        kind="flat",
        bands=band_cutoffs(risk),
        created=str(created or date.today()),
        data={"rows": rows, "events": events, "partitions": len(partitions)},
        metrics={
            "held_out": {
                "auc": roc_auc(event, risk),
                "average_precision": average_precision(event, risk),
                "log_loss": log_loss(event, risk),
            }
        },
    )


def _columns(partitions: Sequence[Partition], *, label: str, group: str | None, drop: Sequence[str]) -> _Columns:
    """Return the roles of the columns, or name all that are missing or cannot be used."""
    schema = pq.read_schema(partitions[0].path)
    roles = [label, *([group] if group else []), *drop]
    problems = [f"There is no column {name!r}." for name in roles if name not in schema.names]
    for path in {partition.path for partition in partitions}:
        if (other := pq.read_schema(path)).names != schema.names:
            problems.append(f"{path} has other columns than {partitions[0].path}: {', '.join(other.names)}.")
    features = sorted(set(schema.names) - set(roles))
    text = []
    for name in features:
        kind = schema.field(name).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_string(value) or pa.types.is_large_string(value):
            text.append(name)
        elif not (pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value)):
            problems.append(f"Column {name!r} is {kind}, neither number nor text; leave it out.")
    if not features:
        problems.append("There is no column left to learn from.")
    if problems:
        raise ColumnsError(" ".join(problems))
    return _Columns(label, group, tuple(features), tuple(text))


def _check_counts(rows: int, events: int, faults: Sequence[str]) -> None:
    if faults:
        raise InputError(" ".join(faults[:5]))
    if rows < BOOSTED_ROWS or min(events, rows - events) < BOOSTED_EVENTS:
        raise InputError(
            f"{rows:,} rows with {events:,} events are fewer than the {BOOSTED_ROWS:,} rows and {BOOSTED_EVENTS:,} "
            "events that trees need; train on one machine, where a logistic model takes over."
        )


def _read(partition: Partition, names: Sequence[str]) -> pa.Table:
    return pq.ParquetFile(partition.path).read_row_groups(
        list(partition.row_groups), columns=list(names), use_threads=False
    )


def _survey(partition: Partition, *, columns: _Columns) -> dict[str, Any]:
    """Return what must be known of all rows before learning: counts, levels, faults."""
    table = _read(partition, [columns.label, *([columns.group] if columns.group else []), *columns.text])
    label = table[columns.label].cast(pa.float64())
    faults = []
    if bad := label.null_count + pc.sum(pc.invert(pc.is_in(label.drop_null(), pa.array([0.0, 1.0])))).as_py():
        faults.append(f"{Path(partition.path).name}: {bad} values of {columns.label} are not 0 or 1.")
    if columns.group and table[columns.group].null_count:
        faults.append(f"{Path(partition.path).name}: {table[columns.group].null_count} rows have no {columns.group}.")
    levels = {name: set(pc.unique(_plain(table[name])).drop_null().to_pylist()) for name in columns.text}
    events = 0 if faults else int(pc.sum(label).as_py() or 0)
    return {"rows": len(table), "events": events, "levels": levels, "faults": faults}


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _frame(table: pa.Table, columns: _Columns, levels: dict[str, list[Any]] | None) -> pd.DataFrame:
    """Return the features of a table, text as categories."""
    frame: pd.DataFrame = table.select(list(columns.features)).to_pandas()
    return frame.assign(
        **{name: pd.Categorical(frame[name], categories=levels[name] if levels else None) for name in columns.text}
    )


def _load(
    partition: Partition, *, columns: _Columns, levels: dict[str, list[Any]], n_bags: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrix of a partition, its labels and the fold of each row."""
    table = _read(partition, [columns.label, *([columns.group] if columns.group else []), *columns.features])
    matrix = frame_to_numbers(_frame(table, columns, levels), levels).to_numpy()
    label = table[columns.label].cast(pa.float64()).to_numpy()
    if columns.group is None:
        return matrix, label, np.random.default_rng(partition.position).integers(0, n_bags, len(label))
    codes, names = pd.factorize(table[columns.group].to_pandas())
    return matrix, label, np.array([_fold(name, n_bags) for name in names])[codes]


def _fold(name: object, n_bags: int) -> int:
    """Return the fold of a group: the same in every partition, on every machine."""
    return int.from_bytes(blake2b(str(name).encode(), digest_size=8).digest()) % n_bags


def _outside(part: tuple[np.ndarray, np.ndarray, np.ndarray], fold: int) -> tuple[np.ndarray, np.ndarray]:
    matrix, label, folds = part
    return matrix[folds != fold], label[folds != fold]


def _boost(
    client: Any,
    parts: Sequence[Any],
    fold: int,
    wanted: DropoutRiskClassifier,
    columns: _Columns,
    levels: dict[str, list[Any]],
    rows: int,
) -> str:
    """Let LightGBM's Dask integration train one booster on the rows outside a fold; return its text."""
    from dask import array, delayed

    outside = client.map(_outside, parts, fold=fold, pure=False)
    sizes = client.gather(client.map(lambda pair: len(pair[1]), outside, pure=False))
    pairs = [(delayed(one), size) for one, size in zip(outside, sizes, strict=True) if size]
    width = len(columns.features)
    X = array.concatenate([array.from_delayed(one[0], (size, width), np.float64) for one, size in pairs])
    y = array.concatenate([array.from_delayed(one[1], (size,), np.float64) for one, size in pairs])
    signs = [(wanted.monotone or {}).get(name, 0) for name in columns.features]
    n_trees, settings = wanted.lightgbm_settings(rows, signs)
    seed = check_random_state(wanted.random_state).randint(2**31 - 1, size=wanted.n_bags)[fold]
    # As a regressor with the binary objective: the classifier would number the classes on each worker by itself.
    trainer = lgb.DaskLGBMRegressor(
        client=client, n_estimators=n_trees, random_state=int(seed), tree_learner="data", **settings
    )
    with client.as_current():
        trainer.fit(X, y, categorical_feature=[columns.features.index(name) for name in levels])
    return str(trainer.booster_.model_to_string())


def _held_out(
    part: tuple[np.ndarray, np.ndarray, np.ndarray], *, boosters: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's score by the booster that has not seen its fold, and whether the student left."""
    matrix, label, folds = part
    score = np.empty(len(label))
    for fold, text in enumerate(boosters):
        rows = folds == fold
        if rows.any():
            score[rows] = lgb.Booster(model_str=text).predict(matrix[rows], raw_score=True, num_threads=1)
    return score, label == 1


def _sample(partition: Partition, *, columns: _Columns, share: float) -> pd.DataFrame:
    """Return a share of the rows, text as it stands."""
    table = _read(partition, columns.features)
    random = np.random.default_rng(partition.position)
    rows = np.sort(random.permutation(len(table))[: int(np.ceil(share * len(table)))])
    frame: pd.DataFrame = table.take(pa.array(rows)).to_pandas()
    return frame.assign(**{name: frame[name].astype(object) for name in columns.text})
