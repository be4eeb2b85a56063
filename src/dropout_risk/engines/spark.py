"""Spark: the session or the master that exists, or one on this machine for as long as it is needed."""

import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dropout_risk.engines import RETRIES, Function
from dropout_risk.engines.wire import answer, in_flight, opened, pack
from dropout_risk.errors import EngineError

NO_JAVA = "Spark needs Java 17 or newer; install it (on Debian: apt-get install openjdk-17-jre-headless)."

SENT = pa.schema([("position", pa.int64()), ("payload", pa.binary())])
ANSWERED = pa.schema([("position", pa.int64()), ("is_batch", pa.bool_()), ("payload", pa.binary())])

TASKS_PER_CORE = 4
"""Partitions of one job for each core: starting a job takes as long as scoring some ten thousand students."""
JOBS = 2
"""Jobs at a time: while one waits for its last task, the other's run.

An iterator over the partitions of one job (`toLocalIterator`) keeps at most two cores busy, however many there are;
collecting one job for all partitions gives nothing before the last is done, and holds all results at once.
"""


@dataclass(frozen=True)
class Spark:
    """A Spark session."""

    session: Any
    name: str = "spark"

    def run(self, function: Function, partitions: Sequence[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run `function` on every partition (see `Engine.run`), each as a task of its own."""
        size = TASKS_PER_CORE * max(1, self.session.sparkContext.defaultParallelism)
        groups = (range(start, min(start + size, len(partitions))) for start in range(0, len(partitions), size))
        with ThreadPoolExecutor(JOBS) as pool:

            def submit(places: range) -> Future[list[Any]]:
                return pool.submit(self._frame(function, partitions, places).collect)

            for places, future in in_flight(submit, groups, JOBS):
                for position, is_batch, payload in _rows(future, places):
                    yield position, opened((is_batch, bytes(payload)))

    def _frame(self, function: Function, partitions: Sequence[pa.RecordBatch], places: range) -> Any:
        """Return the answers of these partitions, not worked out yet, each in a Spark partition of its own."""
        sent = [pa.record_batch([[place], [pack(partitions[place])]], schema=SENT) for place in places]
        with warnings.catch_warnings():  # about pandas, which nothing here uses
            warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
            frame = self.session.createDataFrame(pa.Table.from_batches(sent))
            return frame.mapInArrow(Unpacked(function), "position long, is_batch boolean, payload binary")


@dataclass(frozen=True)
class Unpacked:
    """The function as Spark calls it: on batches whose rows are packed partitions."""

    function: Function

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield a packed answer for each packed partition."""
        for batch in batches:
            for row in batch.to_pylist():
                is_batch, payload = answer(self.function, row["payload"])
                told = {"position": row["position"], "is_batch": is_batch, "payload": payload}
                yield pa.RecordBatch.from_pylist([told], schema=ANSWERED)


def _rows(future: "Future[list[Any]]", places: range) -> list[Any]:
    """Return the rows of a job. What the function raises is in them: an error here is Spark's own."""
    try:
        return future.result()
    except Exception as error:
        raise EngineError(
            f"Spark has given up one of the partitions {places[0]} to {places[-1]}: {_cause(str(error))}"
        ) from error


def _cause(text: str) -> str:
    """Return the line of Spark's text that says most: of a Python traceback, or why the job was given up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if "Error:" in line and not line.startswith(("at ", "org.", "Caused", "Traceback"))]
    aborted = [line for line in lines if "Job aborted" in line]
    return (said[-1:] or aborted[:1] or lines[:1] or ["no words"])[0]


@contextmanager
def spark(workers: int | None, address: str | None) -> Iterator[Spark]:
    """Give the running session, or one of the master at `address`, or one of `workers` threads on this machine."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("dropout-risk")
    if SparkContext._active_spark_context is not None:  # not getActiveSession: that knows this thread's only
        yield Spark(builder.getOrCreate())
        return
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise EngineError(NO_JAVA)
    builder = builder.master(address or f"local[{workers or os.cpu_count()},{RETRIES + 1}]")
    if address is None:
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
        # Workers find what the caller finds, in whatever way it came on the caller's path.
        builder = builder.config("spark.executorEnv.PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    shown = str(sys.stderr.isatty()).lower()
    builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", shown)
    session = _started(builder.config("spark.log.level", "ERROR"), same_python=address is None)
    try:
        yield Spark(session)
    finally:
        session.stop()


def _started(builder: Any, *, same_python: bool) -> Any:
    """Start a session whose workers run this Python; Spark reads that from the environment, once, as it starts."""
    before = os.environ.get("PYSPARK_PYTHON")
    if same_python or before is None:
        os.environ["PYSPARK_PYTHON"] = sys.executable
    try:
        return builder.getOrCreate()
    finally:
        os.environ.pop("PYSPARK_PYTHON", None)
        if before is not None:
            os.environ["PYSPARK_PYTHON"] = before
