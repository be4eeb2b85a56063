"""The cores of one machine: threads, or processes, of Python's own pools."""

import multiprocessing
import os
import pickle
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from dropout_risk.engines import RETRIES, Function
from dropout_risk.engines.wire import Answer, answer_pickled, in_flight, opened, pack
from dropout_risk.errors import EngineError, SettingsError


@dataclass
class Local:
    """The cores of this machine."""

    workers: int
    processes: bool
    name: str = "local"
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)

    def run(self, function: Function, partitions: Sequence[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run `function` on every partition (see `Engine.run`)."""
        if self.processes:
            yield from self._in_processes(function, partitions)
        elif self.workers == 1:
            yield from ((place, function(partition)) for place, partition in enumerate(partitions))
        else:
            yield from self._in_threads(function, partitions)

    def close(self) -> None:
        """Let the worker processes end."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _in_threads(
        self, function: Function, partitions: Sequence[pa.RecordBatch]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        with ThreadPoolExecutor(self.workers) as pool:

            def submit(place: int) -> Future[pa.RecordBatch]:
                return pool.submit(function, partitions[place])

            for place, future in in_flight(submit, iter(range(len(partitions))), 2 * self.workers):
                yield place, future.result()

    def _in_processes(
        self, function: Function, partitions: Sequence[pa.RecordBatch]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Run again, one at a time, all that were handed in when a worker died: a pool does not say whose it was."""
        pickled = _pickled(function)
        untried, suspects = deque(range(len(partitions))), deque[int]()
        died_alone: Counter[int] = Counter()
        while untried or suspects:
            alone = bool(suspects)
            todo, width = (suspects, 1) if alone else (untried, 2 * self.workers)
            lost = yield from self._until_death(pickled, partitions, todo, width)
            suspects.extendleft(sorted(lost, reverse=True))
            died_alone.update(lost if alone else ())
            for place in lost:
                if died_alone[place] == RETRIES:
                    raise EngineError(
                        f"Partition {place} has killed its worker process {RETRIES + 1} times. Often memory has run "
                        "out: use smaller partitions. A script that starts processes has to do its work under "
                        'if __name__ == "__main__".'
                    )

    def _until_death(
        self, function: bytes, partitions: Sequence[pa.RecordBatch], todo: deque[int], width: int
    ) -> Generator[tuple[int, pa.RecordBatch], None, list[int]]:
        """Yield results until `todo` is empty or a worker has died; return what was handed in and has no result."""
        lost: list[int] = []

        def waiting() -> Iterator[int]:
            while todo and not lost:
                yield todo.popleft()

        for place, future in in_flight(partial(self._submit, function, partitions), waiting(), width):
            try:
                reply = future.result()
            except BrokenExecutor:
                lost.append(place)
            else:
                yield place, opened(reply)
        if lost:
            self.close()
        return lost

    def _submit(self, function: bytes, partitions: Sequence[pa.RecordBatch], place: int) -> Future[Answer]:
        """Hand a partition in. The pool stays for the next run, whose functions find what they have loaded."""
        if self._pool is None:  # a fork would copy the threads of LightGBM and Arrow in mid-air
            self._pool = ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn"))
        try:
            return self._pool.submit(answer_pickled, function, pack(partitions[place]))
        except BrokenExecutor as error:  # it died a moment ago: this partition is lost like the others
            failed: Future[Answer] = Future()
            failed.set_exception(error)
            return failed


def _pickled(function: Function) -> bytes:
    try:
        return pickle.dumps(function)
    except Exception as error:
        raise SettingsError(
            f"The function cannot be sent to other processes ({error}); define it at the top of a "
            "module, or use threads."
        ) from error


@contextmanager
def local(workers: int | None, *, processes: bool) -> Iterator[Local]:
    """Give the cores of this machine."""
    made = Local(workers or os.cpu_count() or 1, processes)
    try:
        yield made
    finally:
        made.close()
