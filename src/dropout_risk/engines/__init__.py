"""Run one pure function over partitions on an engine that is there already: this machine, Dask or Spark.

There is no scheduler here: each engine's own decides where and when, and runs a partition again when its worker is
lost. What is sent and what comes back are Arrow record batches. A task is one thread; a function that wants to be
done twice without harm has to write under a name that its partition decides.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

from dropout_risk.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENGINES", "RETRIES", "Engine", "EngineName", "Function", "engine"]

EngineName = Literal["local", "dask", "spark"]
ENGINES: tuple[EngineName, ...] = ("local", "dask", "spark")

RETRIES = 3
"""How often a partition is run again when its worker is lost."""

Function = Callable[["pa.RecordBatch"], "pa.RecordBatch"]
"""Has to be importable by name where it runs (a function of a module, or an object of such a class)."""


class Engine(Protocol):
    """Where partitions run."""

    @property
    def name(self) -> str:
        """What people call it."""

    def run(self, function: Function, partitions: Sequence["pa.RecordBatch"]) -> "Iterator[tuple[int, pa.RecordBatch]]":
        """Run `function` on every partition; yield the place of each and its result as they are done.

        Each partition is yielded exactly once, in any order. An error of the function ends the run and reaches the
        caller as itself.
        """


def engine(
    name: EngineName, *, workers: int | None = None, address: str | None = None, processes: bool = False
) -> AbstractContextManager[Engine]:
    """Return the engine of this name, which closes what it has opened.

    Parameters
    ----------
    name : {"local", "dask", "spark"}
        This machine, a Dask cluster (distributed), or Spark.
    workers : int, optional
        Partitions at a time on this machine; all cores by default. A cluster that exists has its own number.
    address : str, optional
        Of a cluster that exists: ``tcp://host:8786`` for Dask, a master URL for Spark.
    processes : bool
        For ``local``: processes, not threads. They are worth their start where partitions spend their time in
        Python, as a county's raw tables do.

    Raises
    ------
    SettingsError
        When there is no such engine, the number of workers makes no sense, or an address is given to ``local``.
    MissingExtraError
        When its library is not installed.

    Examples
    --------
    >>> import pyarrow as pa
    >>> batch = pa.RecordBatch.from_pydict({"x": [1, 2]})
    >>> with engine("local", workers=1) as local:
    ...     [(place, result.num_rows) for place, result in local.run(lambda rows: rows.slice(1), [batch, batch])]
    [(0, 1), (1, 1)]
    """
    if name not in ENGINES:
        raise SettingsError(f"There is no engine {name!r}; choose one of {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise SettingsError(f"workers={workers} has to be at least 1.")
    if name == "local":
        if address is not None:
            raise SettingsError(f"The address {address} needs --engine dask or --engine spark.")
        from dropout_risk.engines.local import local

        return local(workers, processes=processes)
    if name == "dask":
        if find_spec("distributed") is None:
            raise MissingExtraError.of("Dask", "dask")
        from dropout_risk.engines.dask import dask

        return dask(workers, address)
    if find_spec("pyspark") is None:
        raise MissingExtraError.of("PySpark", "spark")
    from dropout_risk.engines.spark import spark

    return spark(workers, address)
