"""Spark: the session or the master that exists, or one on this machine for as long as it is needed."""

import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dropout_risk import errors
from dropout_risk.engines import RETRIES, Function
from dropout_risk.errors import DropoutRiskError, EngineError

NO_JAVA = "Spark needs Java 17 or newer; install it (on Debian: apt-get install openjdk-17-jre-headless)."


@dataclass(frozen=True)
class Spark:
    """A Spark session."""

    session: Any
    name: str = "spark"

    def run(self, function: Function, partitions: Sequence[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run `function` on every partition (see `Engine.run`), each as a task of its own."""
        if not partitions:
            return
        sent = [(place, _to_bytes(partition)) for place, partition in enumerate(partitions)]
        rows = self.session.sparkContext.parallelize(sent, len(sent))  # one task each
        with warnings.catch_warnings():  # about pandas, which nothing here uses
            warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
            frame = self.session.createDataFrame(rows, "position long, payload binary")
            frame = frame.mapInArrow(Unpacked(function), ANSWER)
        for position, payload, fault in _collected(frame):
            if fault is not None:
                raise _error(fault)
            yield position, _from_bytes(payload)


ANSWER = "position long, payload binary, fault string"


@dataclass(frozen=True)
class Unpacked:
    """The function as Spark calls it: on batches whose rows are packed partitions."""

    function: Function

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield a packed result, or what our function said against it, for each packed partition."""
        schema = pa.schema([("position", pa.int64()), ("payload", pa.binary()), ("fault", pa.string())])
        for batch in batches:
            for position, payload in zip(batch["position"].to_pylist(), batch["payload"].to_pylist(), strict=True):
                result, fault = None, None
                try:
                    result = _to_bytes(self.function(_from_bytes(payload)))
                except DropoutRiskError as error:  # running it again would not help
                    fault = f"{type(error).__name__}: {error}"
                answer = {"position": [position], "payload": [result], "fault": [fault]}
                yield pa.RecordBatch.from_pydict(answer, schema=schema)


def _collected(frame: Any) -> Iterator[tuple[int, bytes, str | None]]:
    """Yield the rows of a frame. One job for all: an iterator over partitions would run them one by one."""
    from pyspark.errors import PySparkException

    try:
        rows = frame.collect()
    except PySparkException as error:
        raise EngineError(f"Spark has given up: {_cause(str(error))}") from error
    for row in rows:
        yield row["position"], bytes(row["payload"] or b""), row["fault"]


def _error(fault: str) -> DropoutRiskError:
    """Return the error of this package that a worker told."""
    name, _, text = fault.partition(": ")
    kind = getattr(errors, name, EngineError)
    return kind(text) if isinstance(kind, type) and issubclass(kind, DropoutRiskError) else EngineError(fault)


def _cause(text: str) -> str:
    """Return the last line of a Python traceback in Spark's text: what the function said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if "Error:" in line and not line.startswith(("at ", "org.", "Caused", "Traceback"))]
    return said[-1] if said else lines[0]


def _to_bytes(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _from_bytes(payload: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_next_batch()


@contextmanager
def spark(workers: int | None, address: str | None) -> Iterator[Spark]:
    """Give the running session, or one of the master at `address`, or one of `workers` threads on this machine."""
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        yield Spark(active)
        return
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise EngineError(NO_JAVA)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("dropout-risk")
    builder = builder.master(address or f"local[{workers or os.cpu_count()},{RETRIES + 1}]")
    if address is None:
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    shown = str(sys.stderr.isatty()).lower()  # Spark's own progress bar: our results come at the end of a step
    builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", shown)
    session = builder.config("spark.log.level", "ERROR").getOrCreate()
    try:
        yield Spark(session)
    finally:
        session.stop()
