"""What a monitoring system reads at /metrics: counts and times, never a student.

With several processes on one machine set ``PROMETHEUS_MULTIPROC_DIR`` to an empty folder: their figures are added.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RISKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
SHARED = "PROMETHEUS_MULTIPROC_DIR"


class _Spread(Histogram):
    """A histogram that takes the values of a whole roster at once: one by one, each costs a lock or two.

    Examples
    --------
    >>> spread = _Spread("risk", "Risks.", buckets=(0.1, 1.0), registry=None)
    >>> spread.observe_all(np.array([0.05, 0.1, 0.2]))
    >>> [int(sample.value) for sample in spread.collect()[0].samples if sample.labels]
    [2, 3, 3]
    """

    def observe_all(self, amounts: npt.NDArray[np.float64]) -> None:
        """Count what `observe` would count of one value after another."""
        places = np.searchsorted(self._upper_bounds, amounts)
        for bucket, count in zip(self._buckets, np.bincount(places).tolist(), strict=False):
            bucket.inc(count)
        self._sum.inc(float(amounts.sum()))


class Metrics:
    """The figures of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        name = "dropout_risk_"
        self.requests = Counter(f"{name}requests", "Requests, by route and status.", ["route", "status"], **own)
        self.seconds = Histogram(f"{name}request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, **own)
        self.rows = Counter(f"{name}rows", "Roster rows that came in.", ["outcome"], **own)
        self.refusals = Counter(f"{name}refusals", "Rows without a score, by cause.", ["cause"], **own)
        self.denied = Counter(f"{name}denied", "Requests that were not allowed.", ["reason"], **own)
        self.busy = Counter(f"{name}busy", "Requests that found the line full.", **own)
        self.risks = _Spread(f"{name}risk", "Risks that were given.", buckets=_RISKS, **own)
        latest: dict[str, Any] = {**own, "multiprocess_mode": "livemax"}
        self.waiting = Gauge(f"{name}waiting", "Requests that wait for a core.", **latest)
        self.model_age = Gauge(f"{name}model_age_seconds", "Time since the model was trained.", **latest)
        self.model_stale = Gauge(
            f"{name}model_stale", "1 while the newest model cannot be loaded and an older one is in use.", **latest
        )
        self.model_swaps = Gauge(f"{name}model_swaps", "How often another model was put in use.", **latest)
        self.drift = Gauge(f"{name}drift_psi", "Population stability index against training.", ["group"], **latest)
        self.drift_alarm = Gauge(
            f"{name}drift_alarm", "1 where the index is over the alarm level.", ["group"], **latest
        )
        self._drifting: set[str] = set()

    def note_drift(self, indices: Mapping[str, float], alarm: float) -> None:
        """Set the index of each group, and take back those of a model that was in use before."""
        for group in self._drifting - set(indices):
            self.drift.labels(group).set(0)
            self.drift_alarm.labels(group).set(0)
        for group, index in indices.items():
            self.drift.labels(group).set(index)
            self.drift_alarm.labels(group).set(float(index >= alarm))
        self._drifting = set(indices)

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them, those of the other processes included."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        _forget_the_dead(Path(os.environ[SHARED]))
        whole = CollectorRegistry()
        MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
        return generate_latest(whole)


def _forget_the_dead(folder: Path) -> None:
    """Take out the present state of processes that have ended; what they have counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        process = int(file.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process was quicker
                mark_process_dead(process)  # type: ignore[no-untyped-call]
        except PermissionError:
            continue  # it is somebody else's, and alive


class Measured:
    """Middleware: count every request by route and status, and time it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application and note how it answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = route_of(scope)
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)


def route_of(scope: Scope) -> str:
    """Return the pattern of the address, without the ids in it; ``other`` for one that there is not."""
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
