"""The service as processes of its own, as an office runs it: started, asked, killed, stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2

import dropout_risk

SOURCES = str(Path(dropout_risk.__file__).parents[1])
DEMO = Path(__file__).parents[1] / "models" / "demo"
PATIENCE = 180.0
"""Seconds that a service may take to get ready on a busy machine."""


@dataclass
class Running:
    """A service that runs; its log is in `log`."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    @cached_property
    def http(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60, trust_env=False)

    def wait_until_ready(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.http.get("/health/ready").status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"the service did not get ready:\n{self.log.read_text()}")

    def workers(self) -> list[int]:
        """Return the ids of the processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) in (0, -signal.SIGTERM), self.log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log; every line has to be JSON."""
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(
    folder: Path,
    *,
    store: str,
    model: Path | str = DEMO,
    workers: int = 1,
    options: Sequence[str] = ("--no-keys",),
    environ: dict[str, str] | None = None,
    **more: Any,
) -> Iterator[Running]:
    """Run the service until the end of the block; nothing of it is left then.

    Parameters
    ----------
    folder
        Where it runs and writes its log.
    more
        For `subprocess.Popen`.
    """
    port, log = free_port(), folder / "service.log"
    words = [
        sys.executable,
        "-m",
        "dropout_risk.cli",
        "serve",
        "--port",
        str(port),
        "--workers",
        str(workers),
        *options,
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": SOURCES,
        "DROPOUT_RISK_MODEL": str(model),
        "DROPOUT_RISK_STORE": store,
        **(environ or {}),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=out, stderr=out, **more)
    service = Running(process, f"http://127.0.0.1:{port}", log)
    try:
        service.wait_until_ready()
        yield service
    finally:
        left = service.workers() if process.poll() is None else []
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                for one in left:
                    os.kill(one, signal.SIGKILL)
        service.http.close()
