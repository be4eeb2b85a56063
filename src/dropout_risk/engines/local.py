"""The cores of one machine: threads, or processes, of Python's own pools."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from dropout_risk.engines import RETRIES, Function
from dropout_risk.errors import EngineError


@dataclass(frozen=True)
class Local:
    """The cores of this machine."""

    workers: int
    processes: bool
    name: str = "local"

    def run(self, function: Function, partitions: Sequence[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run `function` on every partition (see `Engine.run`)."""
        if self.workers == 1 and not self.processes:
            yield from ((place, function(partition)) for place, partition in enumerate(partitions))
            return
        left = dict(enumerate(partitions))
        for _ in range(RETRIES + 1):
            try:
                with self._pool() as pool:
                    for place, result in _as_done(pool, function, left, at_once=2 * self.workers):
                        del left[place]
                        yield place, result
                return
            except BrokenProcessPool:  # a worker died; what it had not brought back is run again
                continue
        raise EngineError(
            f"A worker process died {RETRIES + 1} times; {len(left)} partitions are not done. Often memory has run "
            "out: use fewer workers."
        )

    def _pool(self) -> Executor:
        if self.processes:  # a fork would copy the threads of LightGBM and Arrow in mid-air
            return ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn"))
        return ThreadPoolExecutor(self.workers)


def _as_done(
    pool: Executor, function: Function, partitions: dict[int, pa.RecordBatch], *, at_once: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield results as they are done, with never more than `at_once` partitions handed in."""
    waiting = iter(list(partitions.items()))
    running: dict[Future[pa.RecordBatch], int] = {}
    try:
        while True:
            for place, partition in islice(waiting, at_once - len(running)):
                running[pool.submit(function, partition)] = place
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()


@contextmanager
def local(workers: int | None, *, processes: bool) -> Iterator[Local]:
    """Give the cores of this machine."""
    yield Local(workers or os.cpu_count() or 1, processes)
