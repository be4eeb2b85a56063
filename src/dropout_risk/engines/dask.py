"""A Dask cluster: one that exists, or one on this machine for as long as it is needed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dropout_risk.engines import RETRIES, Function
from dropout_risk.errors import EngineError


@dataclass(frozen=True)
class Dask:
    """A client of a Dask cluster."""

    client: Any
    name: str = "dask"

    def run(self, function: Function, partitions: Sequence[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run `function` on every partition (see `Engine.run`)."""
        from distributed import KilledWorker, as_completed

        # Not pure: a partition that is run again, or twice, is a task of its own.
        tasks = [self.client.submit(function, partition, retries=RETRIES, pure=False) for partition in partitions]
        place_of = {task.key: place for place, task in enumerate(tasks)}
        try:
            for task in as_completed(tasks):
                yield place_of[task.key], task.result()
                task.release()
        except KilledWorker as error:
            raise EngineError(f"A partition has killed its Dask worker again and again: {error}") from error
        finally:
            self.client.cancel(tasks)


@contextmanager
def dask(workers: int | None, address: str | None) -> Iterator[Dask]:
    """Give a client of the cluster at `address`, or of one of `workers` processes with one thread each."""
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if address is None:
            cluster = LocalCluster(
                n_workers=workers or os.cpu_count(),
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                silence_logs=40,
            )
            client = Client(stack.enter_context(cluster))
        else:
            try:
                client = Client(address, timeout=10)
            except (OSError, ValueError) as error:
                raise EngineError(f"No Dask scheduler answers at {address} ({error}); check the address.") from error
        yield Dask(stack.enter_context(client))
