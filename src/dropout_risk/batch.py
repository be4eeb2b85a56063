"""Score rows of features in Arrow batches: one pure function, the same on every engine.

A `BatchScorer` is a function from a record batch to a record batch of as many rows. It can be sent to other
processes (it carries where the model is and its digest, not the model), which read the model once each; it uses one
thread and no frames. Risk and reasons come from one pass over compiled trees.

    spark_frame.mapInArrow(lambda batches: map(scorer, batches), ddl)      # PySpark
    dask_bag.map(scorer)                                                   # Dask
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dropout_risk.bundle import Bundle, load_bundle
from dropout_risk.descriptions import FEATURES, Lang
from dropout_risk.errors import BundleError, ColumnsError, SettingsError
from dropout_risk.explanation import largest_groups

Floats = npt.NDArray[np.float64]

IDENTITY = ("student_id", "school_id", "county_id", "township_id", "class_id")
"""Columns that say who and where, as far as a table has them; they are handed on as they are."""

NAME = pa.dictionary(pa.int8(), pa.string())
"""Type of bands, and of reasons for up to 127 features."""

NO_ID: dict[Lang, str] = {
    "en": "The {column} is empty; every row needs one.",
    "zh": "{column} 为空；每行都必须填写。",
}
INFINITE: dict[Lang, str] = {
    "en": "{column} is infinite; write a number, or leave it empty where it is not known.",
    "zh": "{column} 为无穷大；请填写数字，未知时请留空。",
}


@dataclass(frozen=True)
class BatchScorer:
    """The scoring function of one model.

    Parameters
    ----------
    model : str
        Folder of a saved bundle, readable wherever the function runs.
    digest : str
        The bundle's `digest`: any other model in the folder is refused.
    reasons : int
        Reasons per row, at most the number of groups of features.
    identity : tuple of str
        Columns to hand on; the first one names the row and may not be empty.
    lang : {"zh", "en"}
        Language of the sentences about rows that are refused.

    Examples
    --------
    >>> from dropout_risk.features import build_features
    >>> from dropout_risk.synthetic import make_county
    >>> X = build_features(make_county(200, terms=2, seed=1), "2020-01-17").reset_index()
    >>> bundle = load_bundle("models/demo")
    >>> scorer = BatchScorer("models/demo", bundle.digest, reasons=2, identity=("student_id",))
    >>> scored = scorer(pa.RecordBatch.from_pandas(X, preserve_index=False))
    >>> scored.schema.names[:4], scored.num_rows == len(X)
    (['student_id', 'risk', 'band', 'reason_1'], True)
    """

    model: str
    digest: str
    reasons: int = 5
    identity: tuple[str, ...] = ("student_id",)
    lang: Lang = "zh"

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return as many rows as came in, in their order.

        Parameters
        ----------
        batch : RecordBatch
            With the columns that the model learned, in any order, and those of `identity`.

        Returns
        -------
        RecordBatch
            `identity`; `risk` (float64) and `band`; for each reason the feature that contributes most in its
            group (`reason_1`, ...), the log-odds that the group adds (`contribution_1`, float32) and the row's
            value (`value_1`, float32; empty for categories); `refused`, a sentence where the row got no risk.

        Raises
        ------
        ColumnsError
            When columns are missing or of a kind that cannot be used; all are named.
        BundleError
            When the model's folder holds another model.
        """
        scoring = _scoring(self.model, self.digest)
        scoring.check(batch.schema, self.identity)
        refused = _refusals(batch, scoring.features, self.identity[0], self.lang)
        matrix = scoring.matrix(batch)
        index, value, risk = scoring.strongest(matrix, self.reasons)
        lost = refused.is_valid().to_numpy(zero_copy_only=False)
        columns: dict[str, Any] = {name: batch.column(name) for name in self.identity}
        columns["risk"] = pa.array(risk, mask=lost)
        columns["band"] = pa.DictionaryArray.from_arrays(
            pa.array(scoring.bundle.band_places(risk).astype(np.int8), mask=lost), scoring.bands
        )
        rows = np.arange(len(matrix))
        for place in range(self.reasons):
            own, none = index[:, place], lost | ~(value[:, place] > 0)
            columns[f"reason_{place + 1}"] = pa.DictionaryArray.from_arrays(
                pa.array(own.astype(np.int8), mask=none), scoring.names
            )
            columns[f"contribution_{place + 1}"] = pa.array(value[:, place].astype(np.float32), mask=none)
            told = matrix[rows, own]
            columns[f"value_{place + 1}"] = pa.array(
                told.astype(np.float32), mask=none | np.isnan(told) | scoring.is_category[own]
            )
        return pa.RecordBatch.from_pydict({**columns, "refused": refused})

    def warm_up(self) -> None:
        """Read the model and compile it in this process, so that the first batch does not wait."""
        scoring = _scoring(self.model, self.digest)
        scoring.strongest(np.zeros((1, len(scoring.features))), self.reasons)

    def check(self, schema: pa.Schema) -> None:
        """Raise the error that the first batch of this schema would raise."""
        _scoring(self.model, self.digest).check(schema, self.identity)

    @property
    def columns(self) -> list[str]:
        """The columns that a batch has to have."""
        features = _scoring(self.model, self.digest).features
        return list(dict.fromkeys([*self.identity, *features]))


def batch_scorer(
    model: str, bundle: Bundle, *, reasons: int = 5, identity: Sequence[str] = ("student_id",), lang: Lang = "zh"
) -> BatchScorer:
    """Return the scoring function of a bundle that is saved in the folder `model`.

    Parameters
    ----------
    model, reasons, identity, lang
        As in `BatchScorer`.
    bundle : Bundle
        What the folder holds.

    Returns
    -------
    BatchScorer

    Raises
    ------
    SettingsError
        When there are fewer groups of features than `reasons` (or none), or the model has more than 127 features.

    Examples
    --------
    >>> batch_scorer("models/demo", load_bundle("models/demo"), reasons=9)
    Traceback (most recent call last):
    dropout_risk.errors.SettingsError: reasons=9 has to be between 1 and 8, the number of groups of features.
    """
    names = bundle.model.feature_names
    groups = len(set(_groups(bundle, names)))
    if not 1 <= reasons <= groups:
        raise SettingsError(f"reasons={reasons} has to be between 1 and {groups}, the number of groups of features.")
    if len(names) > np.iinfo(np.int8).max:
        raise SettingsError(f"The model has {len(names)} features; batches are scored with up to 127.")
    _READY[bundle.digest] = _Scoring(bundle)
    return BatchScorer(model, bundle.digest, reasons, tuple(identity), lang)


def identity_of(schema: pa.Schema, named: str | None = None) -> tuple[str, ...]:
    """Return the columns that say who and where: the one that names a row first.

    Parameters
    ----------
    schema
        Of the table.
    named
        The column that names a row, where it is not `student_id`.

    Raises
    ------
    ColumnsError
        When the table has no such column.
    """
    key = named or IDENTITY[0]
    if key not in schema.names:
        raise ColumnsError(
            f"The table has no column {key!r} that says whose row it is; name the column that does (--id COLUMN). "
            f"It has: {', '.join(schema.names)}."
        )
    return (key, *(name for name in IDENTITY if name in schema.names and name != key))


@dataclass(frozen=True, eq=False)
class _Scoring:
    """A bundle made ready for matrices whose columns are the features in sorted order."""

    bundle: Bundle

    @cached_property
    def features(self) -> list[str]:
        return sorted(self.bundle.model.feature_names)

    @cached_property
    def owner(self) -> npt.NDArray[np.int64]:
        """Number of each feature's group; groups are numbered in the order of the training columns."""
        of_feature = dict(
            zip(self.bundle.model.feature_names, _groups(self.bundle, self.bundle.model.feature_names), strict=True)
        )
        number = {group: place for place, group in enumerate(dict.fromkeys(of_feature.values()))}
        return np.array([number[of_feature[name]] for name in self.features])

    @cached_property
    def names(self) -> pa.Array:
        return pa.array(self.features)

    @cached_property
    def bands(self) -> pa.Array:
        return pa.array(self.bundle.band_names)

    @cached_property
    def is_category(self) -> npt.NDArray[np.bool_]:
        return np.array([name in self.bundle.model.categories_ for name in self.features])

    def check(self, schema: pa.Schema, identity: Sequence[str]) -> None:
        """Name every column that is missing or of a kind that cannot be used."""
        missing = [name for name in dict.fromkeys([*identity, *self.features]) if name not in schema.names]
        problems = [f"The table lacks columns that are needed: {', '.join(missing)}."] if missing else []
        if missing and self.bundle.kind == "county":
            problems.append(
                "A feature cannot be made up from the rows of one partition; build the features of the whole "
                "county first (dropout-risk features)."
            )
        for name in self.features:
            if name in schema.names and (words := self._unusable(name, schema.field(name).type)):
                problems.append(f"Column {name!r} {words}")
        if problems:
            raise ColumnsError(" ".join(problems))

    def _unusable(self, name: str, kind: pa.DataType) -> str | None:
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_number = pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value)
        if name not in self.bundle.model.categories_:
            decimal = pa.types.is_decimal(value) or pa.types.is_null(value)
            return None if is_number or decimal else f"is {kind}, but the model learned numbers."
        levels = self.bundle.model.categories_[name]
        is_text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
        learned_text = all(isinstance(level, str) for level in levels)
        return None if is_text == learned_text else f"is {kind}, but the model learned other kinds of levels."

    def matrix(self, batch: pa.RecordBatch) -> Floats:
        """Return the features as numbers, shape (n, n_features), each column in one piece of memory."""
        numbers = np.empty((len(self.features), batch.num_rows))
        for place, name in enumerate(self.features):
            numbers[place] = _numbers(batch.column(name), self.bundle.model.categories_.get(name))
        return numbers.T

    def strongest(self, matrix: Floats, k: int) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
        """Return for each row the features of its `k` strongest reasons, what their groups add, and the risk."""
        model = self.bundle.model
        if model.boosters_:
            places, value, log_odds = model.compiled().top(matrix, k, owner=self.owner)
            index = places.astype(np.intp)
        else:
            parts, base = model.sorted_contributions(matrix)
            index, value = largest_groups(parts, self.owner, k)
            log_odds = parts.sum(axis=1) + base
        return index, value, np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _groups(bundle: Bundle, names: Sequence[str]) -> list[str]:
    """Return the group of each feature; a column of somebody's own table is a group of its own."""
    return [FEATURES[name].group if bundle.kind == "county" else name for name in names]


def _numbers(column: pa.Array, levels: list[Any] | None) -> Floats:
    """Return a column as float64 with NaN for what is missing; a category as its place among the learned levels."""
    if levels is not None:
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        column = pc.index_in(plain, value_set=pa.array(levels, plain.type))
    elif pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type != pa.float64():
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _refusals(batch: pa.RecordBatch, features: Sequence[str], key: str, lang: Lang) -> pa.Array:
    """Return for each row why it can get no risk; null for the rows that can."""
    refused = pa.nulls(batch.num_rows, pa.string())
    faults = [(NO_ID[lang], key, batch.column(key).is_null())]
    for name in features:
        if pa.types.is_floating(batch.column(name).type):
            faults.append((INFINITE[lang], name, pc.is_inf(batch.column(name)).fill_null(False)))
    for words, name, is_bad in faults:
        if is_bad.true_count:
            refused = pc.coalesce(refused, pc.if_else(is_bad, words.format(column=name), None))
    return refused


_READY: dict[str, _Scoring] = {}
"""The models of this process by digest; each is read, checked and compiled once, wherever it lies."""


def _scoring(model: str, digest: str) -> _Scoring:
    """Return the model ready to score."""
    if digest not in _READY:
        bundle = load_bundle(model)
        if bundle.digest != digest:
            raise BundleError(
                f"The folder {model} holds the model {bundle.version_label}, not {digest[:12]} that this run began "
                "with; put it back, or begin a new run."
            )
        _READY[digest] = _Scoring(bundle)
    return _READY[digest]
