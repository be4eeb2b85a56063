"""A Dask cluster: one that exists, or one on this machine for as long as it is needed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from dropout_risk.engines import RETRIES, Function
from dropout_risk.engines.wire import Answer, answer, opened, pack
from dropout_risk.errors import EngineError


@dataclass(frozen=True)
class Dask:
    """A client of a Dask cluster."""

    client: Any
    name: str = "dask"

    def run(self, function: Function, partitions: Sequence[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run `function` on every partition (see `Engine.run`)."""
        from distributed import as_completed

        done = as_completed([], loop=self.client.loop)
        left = iter(range(len(partitions)))
        place_of: dict[str, int] = {}
        tasks: dict[str, Any] = {}
        try:
            while True:
                for place in islice(left, max(0, self._room() - len(tasks))):
                    # Not pure: a partition that is run again, or twice, is a task of its own.
                    task = self.client.submit(answer, function, pack(partitions[place]), retries=RETRIES, pure=False)
                    place_of[task.key], tasks[task.key] = place, task
                    done.add(task)
                if not tasks:
                    return
                task = tasks.pop(next(done).key)
                yield place_of[task.key], opened(_answer_of(task, place_of[task.key]))
        finally:
            self.client.cancel(list(tasks.values()))

    def _room(self) -> int:
        """Two partitions for each thread, so that none waits; a cluster that grows gets more."""
        threads: int = sum(self.client.nthreads().values())
        return max(2, 2 * threads)


def _answer_of(task: Any, place: int) -> Answer:
    """Return the worker's answer. What the function raises is in it: an error here is Dask's own."""
    try:
        found: Answer = task.result()
    except Exception as error:
        raise EngineError(f"Dask has given up partition {place}: {error}") from error
    return found


@contextmanager
def dask(workers: int | None, address: str | None) -> Iterator[Dask]:
    """Give a client of the cluster at `address`, or of one of `workers` processes with one thread each."""
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if address is None:
            count = workers or os.cpu_count() or 1
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                silence_logs=40,
            )
            stack.enter_context(cluster)
            # A worker that dies as it starts takes its nanny along; without this the last one leaves a run that waits.
            cluster.adapt(minimum=count, maximum=count)
            client = Client(cluster, set_as_default=False)
        else:
            try:
                client = Client(address, timeout=10, set_as_default=False)
            except (OSError, ValueError) as error:
                raise EngineError(f"No Dask scheduler answers at {address} ({error}); check the address.") from error
        yield Dask(stack.enter_context(client))
