"""Score one partition into the working folder: rows of features, or a county's folder of tables."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dropout_risk.asof import to_day
from dropout_risk.batch import IDENTITY, BatchScorer
from dropout_risk.bulk.daily import DailyAttendance
from dropout_risk.bulk.partitions import Partition, result, write_json
from dropout_risk.county import load_county
from dropout_risk.descriptions import FEATURES, Lang
from dropout_risk.errors import ColumnsError, SettingsError
from dropout_risk.pipeline import roster_features
from dropout_risk.scores import refused_rows
from dropout_risk.tables import atomic_path

BATCH_ROWS = 32_768
"""Rows that are scored at a time: what bounds the memory of a worker."""


@dataclass(frozen=True)
class Scoring:
    """Score one partition into the working folder."""

    scorer: BatchScorer
    work: str
    day: str | None
    daily: DailyAttendance | None = None

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Score the partition that `batch` describes; return how many rows it had."""
        partition = Partition.of_batch(batch)
        counts = {"rows_in": 0, "refused": 0}
        counties: set[str] = set()
        with ExitStack() as stack:
            fresh = stack.enter_context(atomic_path(Path(self.work) / f"part-{partition.position:05d}.arrow"))
            writer: pa.ipc.RecordBatchStreamWriter | None = None
            for scored in self._scored(partition):
                if writer is None:
                    writer = stack.enter_context(pa.ipc.new_stream(fresh, scored.schema))
                writer.write_batch(scored)
                counts["rows_in"] += scored.num_rows
                counts["refused"] += scored.num_rows - scored.column("refused").null_count
                if not partition.row_groups:
                    counties.update(pc.unique(scored.column("county_id").drop_null()).to_pylist())
        left = {
            "position": partition.position,
            "source": name_of(partition),
            **counts,
            "scored": counts["rows_in"] - counts["refused"],
            "counties": sorted(counties),
        }
        write_json(Path(self.work) / f"scored-{partition.position:05d}.json", left)
        return result(partition.position, left)

    def _scored(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        if not partition.row_groups:
            yield from _scored_county(partition.path, self.day, self.scorer)
            return
        file = pq.ParquetFile(partition.path)
        key = self.scorer.identity[0]
        groups = list(partition.row_groups)
        repeated = _repeated(file.read_row_groups(groups, columns=[key], use_threads=False).column(0))
        names = [name for name in self.scorer.columns if self.daily is None or name not in self.daily.features]
        first = partition.first_row
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=names, use_threads=False):
            if self.daily is not None:
                batch = self.daily.with_columns(batch, Path(self.work), first)
                first += batch.num_rows
            yield self.scorer(batch) if len(repeated) == 0 else _without_repeated(self.scorer, batch, repeated)


def name_of(partition: Partition) -> str:
    """Return the name of a partition's source, without the path of the machine."""
    groups = partition.row_groups
    return Path(partition.path).name + (f", row groups {groups[0]} to {groups[-1]}" if groups else "")


def _repeated(ids: pa.ChunkedArray) -> pa.Array:
    """Return the ids that stand more than once."""
    if pc.count_distinct(ids).as_py() == len(ids) - ids.null_count:
        return pa.array([], ids.type)
    counts = pc.value_counts(ids.drop_null())
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


REPEATED: dict[Lang, str] = {
    "en": "This {column} stands more than once; keep one row for each student.",
    "zh": "该 {column} 重复出现；每名学生只保留一行。",
}
PLACE: dict[Lang, str] = {"en": "{file}, row {row}: {message}", "zh": "{file} 第 {row} 行：{message}"}


def _without_repeated(scorer: BatchScorer, batch: pa.RecordBatch, repeated: pa.Array) -> pa.RecordBatch:
    """Score a batch, and take the risk from rows whose id is not theirs alone."""
    key = scorer.identity[0]
    doubled = pc.is_in(batch.column(key), value_set=repeated)
    return _refuse(scorer(batch), scorer.identity, doubled, REPEATED[scorer.lang].format(column=key))


def _refuse(scored: pa.RecordBatch, identity: Sequence[str], rows: pa.Array, words: str) -> pa.RecordBatch:
    """Return the batch with these rows refused: nothing but who they are and the sentence stays."""
    columns = {}
    for name in scored.schema.names:
        column = scored.column(name)
        if name == "refused":
            column = pc.coalesce(column, pc.if_else(rows, words, None))
        elif name not in identity:
            column = _masked(column, rows)
        columns[name] = column
    return pa.RecordBatch.from_pydict(columns, schema=scored.schema)


def _masked(column: pa.Array, rows: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(_masked(column.indices, rows), column.dictionary)
    return pc.if_else(rows, pa.scalar(None, column.type), column)


def _scored_county(folder: str, day: str | None, scorer: BatchScorer) -> Iterator[pa.RecordBatch]:
    """Score a county's folder of tables: those at risk, then the roster rows that need or can get no score."""
    if day is None:
        raise SettingsError("A county is scored as of a day.")
    county = load_county(folder)
    rows = roster_features(county, to_day(day))
    own = replace(scorer, identity=IDENTITY)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    schema = None
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        scored = own(batch)
        schema = scored.schema
        yield scored
    refused = refused_rows(county, to_day(day), scored=pd.Index(rows["student_id"]), lang=scorer.lang)
    if schema is not None and len(refused):
        places = zip(refused["table"], refused["file"], refused["row"], refused["message"], strict=True)
        where = [
            PLACE[scorer.lang].format(file=file or table, row=row, message=message)
            for table, file, row, message in places
        ]
        told = {"student_id": [None if pd.isna(one) else str(one) for one in refused["student_id"]], "refused": where}
        yield pa.RecordBatch.from_pydict(
            {
                field.name: pa.array(told[field.name], field.type)
                if field.name in told
                else _nulls(len(refused), field.type)
                for field in schema
            },
            schema=schema,
        )


def _nulls(n: int, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.nulls(n, kind.index_type), pa.array([], kind.value_type))
    return pa.nulls(n, kind)


def refuse_divided_counties(scored: Sequence[Mapping[str, Any]]) -> None:
    """Stop when the rows of one county stand in several partitions: its features would be those of a part of it."""
    places: dict[str, list[str]] = {}
    for part in scored:
        for county in part["counties"]:
            places.setdefault(county, []).append(part["source"])
    if divided := {county: sources for county, sources in places.items() if len(sources) > 1}:
        names = [name for name, feature in FEATURES.items() if name.startswith(("score_", "school_"))]
        told = "; ".join(f"{county} in {' and '.join(sources)}" for county, sources in divided.items())
        raise ColumnsError(
            f"The features {', '.join(names)} compare a student with the whole county, but the rows of a county stand "
            f"in several folders: {told}. Put the tables of each county into one folder."
        )
