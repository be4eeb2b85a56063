"""Write each scored partition with its ranks."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dropout_risk.bulk.partitions import WORK, Partition, result, write_json
from dropout_risk.tables import atomic_path


@dataclass(frozen=True)
class Publishing:
    """Write one scored partition with its ranks."""

    out: str
    day: str | None

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Write the partition that `batch` describes; return its counts and digest."""
        position = Partition.of_batch(batch).position
        work, name = Path(self.out) / WORK, f"part-{position:05d}.parquet"
        left = json.loads((work / f"scored-{position:05d}.json").read_text("utf-8"))
        start = json.loads((work / "starts.json").read_text("utf-8"))[str(position)]
        ranks = np.load(work / "ranks.npy", mmap_mode="r")[start : start + left["rows_in"]]
        with ExitStack() as stack:
            reader = pa.ipc.open_stream(stack.enter_context(pa.memory_map(str(work / f"part-{position:05d}.arrow"))))
            fresh = stack.enter_context(atomic_path(Path(self.out) / "scores" / name))
            writer: pq.ParquetWriter | None = None
            told: list[pa.Table] = []
            at = 0
            for scored in reader:
                whole = _with_rank(scored, ranks[at : at + scored.num_rows])
                at += scored.num_rows
                if scored.column("refused").null_count < scored.num_rows:
                    lost = scored.column("refused").is_valid()
                    told.append(pa.table(scored.filter(lost)).select([*_who(scored), "refused"]))
                    whole = whole.filter(pc.invert(lost))
                if writer is None:
                    schema = whole.schema.with_metadata({"as_of": self.day} if self.day else None)
                    writer = stack.enter_context(
                        pq.ParquetWriter(fresh, schema, compression="zstd", compression_level=1)
                    )
                writer.write_batch(
                    whole.cast(schema) if self.day is None else whole.replace_schema_metadata(schema.metadata)
                )
        if told:
            with atomic_path(Path(self.out) / "refused" / name) as fresh:
                pq.write_table(pa.concat_tables(told), fresh)
        with (Path(self.out) / "scores" / name).open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        counts = {field: left[field] for field in ("position", "source", "rows_in", "scored", "refused")}
        write_json(work / f"written-{position:05d}.json", {**counts, "sha256": digest})
        return result(position, {**counts, "sha256": digest})


def _who(scored: pa.RecordBatch) -> list[str]:
    """Return the identity columns: those before the risk."""
    names: list[str] = scored.schema.names
    return names[: names.index("risk")]


def _with_rank(scored: pa.RecordBatch, ranks: np.ndarray) -> pa.RecordBatch:
    columns: dict[str, Any] = {}
    for name in scored.schema.names:
        if name != "refused":
            columns[name] = scored.column(name)
        if name == "band":
            columns["rank"] = pa.array(ranks)
    return pa.RecordBatch.from_pydict(columns)
