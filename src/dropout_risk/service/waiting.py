"""A bounded line before the cores: who finds it full is told at once when to come again.

A process runs as many requests at a time as it has cores to itself: threads that take turns in one interpreter only
cost time. One large request may run beside them, so that a school need not wait for the roster of a county.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from anyio import CapacityLimiter, fail_after, to_thread

from dropout_risk.errors import DropoutRiskError

T = TypeVar("T")

PROCESSES = "WEB_CONCURRENCY"
"""The environment variable that says how many processes share the cores, as uvicorn and gunicorn read it."""

LARGE = 5_000_000
"""Bytes from which on a request is a large one: about that of 3,000 students with a term of attendance and marks."""


def own_cores() -> int:
    """Return how many cores a process has to itself, at least one.

    Examples
    --------
    >>> own_cores() <= (os.cpu_count() or 1)
    True
    """
    told = os.environ.get(PROCESSES, "")
    return max(1, (os.cpu_count() or 1) // max(1, int(told) if told.isdecimal() else 1))


class BusyError(DropoutRiskError):
    """More requests are waiting than the service lets wait."""

    http_status = 503
    title = "The service is busy"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"The service is busy; nothing was scored. Send the same again in {seconds} seconds.")
        self.retry_after = seconds


class Line:
    """Requests that wait for a core, in the order in which they came.

    Parameters
    ----------
    cores
        How many run at a time, beside a large one; None: `own_cores`.
    max_waiting
        How many may wait.
    max_seconds
        How long one may wait.
    when_full
        Called for each request that finds the line full.
    """

    def __init__(
        self,
        cores: int | None = None,
        *,
        max_waiting: int,
        max_seconds: float,
        when_full: Callable[[], None] = lambda: None,
    ) -> None:
        cores = cores or own_cores()
        self._cores, self._core_of_large = CapacityLimiter(cores), CapacityLimiter(1)
        self._places, self._taken = cores + max_waiting, 0
        self._max_seconds, self._when_full = max_seconds, when_full
        self._typical = 1.0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(cores.statistics().tasks_waiting for cores in (self._cores, self._core_of_large))

    async def run(self, function: Callable[[], T], *, size: int = 0) -> T:
        """Run `function`, which works on a request of `size` bytes, in a thread when its turn comes.

        Raises
        ------
        BusyError
            If the turn does not come in time. `function` has not been run then.
        """
        is_large = size >= LARGE
        async with self._turn(self._core_of_large if is_large else self._cores):
            started = time.perf_counter()
            try:
                # The thread is not given up when the client goes: what it has begun to keep it keeps whole.
                return await to_thread.run_sync(function)
            finally:
                if not is_large:
                    self._typical += 0.1 * (time.perf_counter() - started - self._typical)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place, from before a body is read, which takes memory, until the request is done.

        Raises
        ------
        BusyError
            If all places are taken.
        """
        if self._taken >= self._places:
            raise self._busy()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @asynccontextmanager
    async def _turn(self, cores: CapacityLimiter) -> AsyncIterator[None]:
        try:
            with fail_after(self._max_seconds):
                await cores.acquire()
        except TimeoutError:
            raise self._busy() from None
        try:
            yield
        finally:
            cores.release()

    def _busy(self) -> BusyError:
        """Count a request that is sent away, and say in how many seconds the line is likely to have moved on."""
        self._when_full()
        return BusyError(max(1, round(self._typical * (self.waiting + 1) / self._cores.total_tokens)))
