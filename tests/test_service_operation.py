"""The service in operation: full, watched, stopped, killed, cut off from its database, out of disk."""

import io
import json
import logging
import math
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import anyio
import httpx2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from running_service import Running, running
from sqlalchemy import func, select, text
from starlette.testclient import TestClient
from stores import KINDS, new_store

from dropout_risk.access import Principal
from dropout_risk.bundle import Bundle, save_bundle
from dropout_risk.client import columns_of
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.profile import profile_of
from dropout_risk.service import runs
from dropout_risk.service.app import create_app
from dropout_risk.service.logs import JsonLines
from dropout_risk.service.metrics import Metrics
from dropout_risk.service.settings import Settings
from dropout_risk.service.waiting import LARGE, PROCESSES, BusyError, Line, own_cores
from dropout_risk.store import runs as kept
from dropout_risk.store.audit import verify
from dropout_risk.store.database import Database
from dropout_risk.store.migrations import prepare
from dropout_risk.store.schema import AuditLine, Run, Score, Wordings
from dropout_risk.synthetic import make_county

ROWS = [{"absent": 9.0, "km": 1.5}, {"absent": 0.0, "km": 12.0}]


@pytest.fixture(scope="module")
def training() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(1).gamma(2, 2, (400, 2)), columns=["absent", "km"])


@pytest.fixture(scope="module")
def folder(training: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    y = (np.random.default_rng(2).random(400) < training["absent"] / 15).astype(int)
    model = DropoutRiskClassifier(n_estimators=5).fit(training, y)
    profile = profile_of(training, model.predict_proba(training)[:, 1])
    bundle = Bundle(model=model, kind="flat", created="2026-11-22", data={"profile": profile})
    return save_bundle(bundle, tmp_path_factory.mktemp("models") / "flat")


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(model=str(folder), store=f"sqlite:///{tmp_path}/store.db", access="local")
    with TestClient(create_app(settings)) as client:
        yield client


def figures(client: Any) -> dict[tuple[str, ...], float]:
    """Return the figures by name and labels, as a monitoring system reads them."""
    return {
        (sample.name.removeprefix("dropout_risk_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


# The line --------------------------------------------------------------------------------------------


def test_a_full_line_sends_away_at_once_and_counts_whom() -> None:
    sent_away = []
    line = Line(1, max_waiting=1, max_seconds=5, when_full=partial(sent_away.append, 1))
    with line.place(), line.place():
        with pytest.raises(BusyError) as told, line.place():
            raise AssertionError("there was no place")
        assert told.value.retry_after >= 1
        assert sent_away == [1]
    with line.place():
        pass


def test_places_are_given_back_whatever_happens() -> None:
    line = Line(1, max_waiting=1, max_seconds=5)
    for _ in range(5):
        with pytest.raises(ValueError), line.place():
            raise ValueError
    with line.place(), line.place():
        pass


def test_who_waits_too_long_is_sent_away_and_nothing_was_run() -> None:
    line, go_on, ran = Line(1, max_waiting=5, max_seconds=0.2), threading.Event(), []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.run, partial(go_on.wait, 20))
            await anyio.sleep(0.05)
            with pytest.raises(BusyError):
                await line.run(partial(ran.append, 1))
            go_on.set()

    anyio.run(main)
    assert not ran


def test_a_school_does_not_wait_for_a_large_roster_and_large_ones_wait_for_each_other() -> None:
    line, go_on, ran = Line(1, max_waiting=5, max_seconds=30), threading.Event(), []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(line.run, partial(go_on.wait, 20), size=LARGE))
            await anyio.sleep(0.05)
            tasks.start_soon(partial(line.run, partial(ran.append, "large"), size=LARGE))
            await line.run(partial(ran.append, "school"), size=LARGE - 1)
            assert (ran, line.waiting) == (["school"], 1)
            go_on.set()

    anyio.run(main)
    assert ran == ["school", "large"]


@pytest.mark.parametrize(("told", "cores"), [(None, 8), ("2", 4), ("3", 2), ("64", 1), ("0", 8), ("many", 8)])
def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch, told: str | None, cores: int) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv(PROCESSES, raising=False)
    if told is not None:
        monkeypatch.setenv(PROCESSES, told)
    assert own_cores() == cores


class Held:
    """Keeps requests in the middle of their work until `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()
        self._really = runs.score_roster
        monkeypatch.setattr(runs, "score_roster", self._slowly)

    def _slowly(self, *given: Any) -> Any:
        self.begun.release()
        assert self.go_on.wait(30)
        return self._really(*given)


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came about")


def test_while_all_cores_are_busy_few_wait_the_others_are_told_when_to_come_and_health_answers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, state = Held(monkeypatch), client.app.state.service  # type: ignore[attr-defined]
    state.line = Line(1, max_waiting=2, max_seconds=30, when_full=state.metrics.busy.inc)
    with ThreadPoolExecutor(3) as threads:
        taken = [threads.submit(client.post, "/score", json={"rows": ROWS}) for _ in range(3)]
        assert held.begun.acquire(timeout=30)
        until(lambda: state.line.waiting == 2)
        for _ in range(5):
            refused = client.post("/score", json={"rows": ROWS})
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["title"] == "The service is busy"
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200
        told = figures(client)
        assert (told["busy_total",], told["waiting",]) == (5.0, 2.0)
        held.go_on.set()
        assert [one.result(30).status_code for one in taken] == [200] * 3
    assert client.post("/score", json={"rows": ROWS}).status_code == 200
    assert figures(client)["waiting",] == 0.0


def test_nothing_is_read_from_a_stranger(folder: Path, tmp_path: Path) -> None:
    app = create_app(Settings(model=str(folder), store=f"sqlite:///{tmp_path}/store.db"))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/score", "/targets"):
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
            "client": ("192.0.2.1", 1), "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        with TestClient(app):
            anyio.run(app, scope, receive, send)
        assert sent.pop(0)["status"] == 401
        sent.clear()


# Logs ------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What this package logs, as lines of JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("dropout_risk")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(before)


def lines_of(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_an_id_that_comes_with_a_request_goes_out_and_stands_in_its_log_lines(
    client: TestClient, log: io.StringIO
) -> None:
    answer = client.post("/score", json={"rows": ROWS}, headers={"x-request-id": "term-end.42"})
    assert answer.headers["x-request-id"] == "term-end.42"
    (line,) = [line for line in lines_of(log) if line["message"] == "request"]
    assert line["request_id"] == "term-end.42"
    assert (line["method"], line["route"], line["status"], line["level"]) == ("POST", "/score", 200, "info")
    assert line["milliseconds"] > 0
    pd.Timestamp(line["at"])


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "王", None])
def test_a_request_without_a_usable_id_gets_one(client: TestClient, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given.encode()}
    ids = {client.get("/health/live", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


def test_what_is_logged_while_a_request_is_answered_has_its_id(client: TestClient, log: io.StringIO) -> None:
    @client.app.get("/broken")  # type: ignore[attr-defined]
    def broken() -> None:
        raise KeyError("G513425201001011328")

    answer = client.get("/broken", headers={"x-request-id": "one"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "one")
    told = lines_of(log)
    assert {line["request_id"] for line in told} == {"one"}
    assert answer.json()["instance"] in told[0]["message"]
    assert "G513425" not in log.getvalue()


def test_the_address_of_a_student_is_not_logged(client: TestClient, log: io.StringIO) -> None:
    client.get("/students/G513425201001011328")
    client.get("/nowhere/G513425201001011328")
    assert [line["route"] for line in lines_of(log)] == ["/students/{name}", "other"]
    assert "G513425" not in log.getvalue() + client.get("/metrics").text


def test_an_exception_is_a_line_of_json_without_its_text() -> None:
    try:
        raise ValueError("王小明\nsecond line")
    except ValueError as error:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "第%d行", (7,), (ValueError, error, None))
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["message"], told["exception"]) == ("第7行", "ValueError")
    assert "王小明" not in line


# Figures ---------------------------------------------------------------------------------------------


def test_figures_count_requests_rows_causes_and_risks(client: TestClient) -> None:
    before = figures(client)
    client.post("/score", json={"rows": [*ROWS, {"absent": "9", "km": 1.0}, {"absent": 1.0, "km": "?"}]})
    client.post("/score", content=b"{", headers={"content-type": "application/json"})
    client.get("/nowhere")
    after = figures(client)
    new = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name)}
    assert new["requests_total", "/score", "200"] == 1
    assert new["requests_total", "/score", "400"] == 1
    assert new["requests_total", "other", "404"] == 1
    assert new["request_seconds_count", "/score"] == 2
    assert new["request_seconds_sum", "/score"] > 0
    assert (new["rows_total", "scored"], new["rows_total", "refused"]) == (2, 2)
    assert (new["refusals_total", "absent"], new["refusals_total", "km"]) == (1, 1)
    assert new["risk_count",] == 2
    assert after["model_age_seconds",] == pytest.approx(
        time.time() - pd.Timestamp("2026-11-22", tz="UTC").timestamp(), abs=60
    )


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.5, 1.0, math.nan, math.inf, -1.0])))
def test_risks_are_counted_at_once_as_one_by_one(risks: list[float]) -> None:
    at_once, one_by_one = Metrics(), Metrics()
    at_once.risks.observe_all(np.array(risks))
    for risk in risks:
        one_by_one.risks.observe(risk)

    def told(metrics: Metrics) -> dict[str, float]:
        samples = metrics.risks.collect()[0].samples
        return {sample.name + str(sample.labels): sample.value for sample in samples if "created" not in sample.name}

    assert told(at_once) == pytest.approx(told(one_by_one), nan_ok=True)


def test_figures_that_cannot_be_counted_take_no_answer_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    def fail(_: Any) -> None:
        raise OSError("no room for S1")

    monkeypatch.setattr(client.app.state.service.metrics.risks, "observe_all", fail)  # type: ignore[attr-defined]
    answer = client.post("/score", json={"rows": ROWS})
    assert answer.status_code == 200
    assert client.get(f"/runs/{answer.json()['run_id']}").status_code == 200
    (line,) = [line for line in lines_of(log) if line["level"] == "error"]
    assert line["message"].endswith("cannot be counted (OSError)")


def test_drift_is_told_by_group_and_alarms_above_its_level(client: TestClient, training: pd.DataFrame) -> None:
    def send(frame: pd.DataFrame) -> dict[tuple[str, ...], float]:
        assert client.post("/score", json={"rows": frame.to_dict("records")}).status_code == 200
        return figures(client)

    assert ("drift_psi", "absent") not in send(training.head(100)), "so few tell nothing"
    alike = send(training)
    assert alike["drift_psi", "absent"] < 0.1
    assert {alike["drift_alarm", name] for name in ("absent", "km", "risk")} == {0.0}
    moved = send(pd.concat([training.assign(km=training["km"] + 20)] * 5))
    assert moved["drift_psi", "km"] > 0.25
    assert (moved["drift_alarm", "km"], moved["drift_alarm", "absent"]) == (1.0, 0.0)


def test_the_drift_of_a_model_that_was_replaced_is_not_told_any_more(
    client: TestClient, training: pd.DataFrame, folder: Path
) -> None:
    moved = training.assign(km=training["km"] + 20)
    client.post("/score", json={"rows": moved.to_dict("records")})
    assert figures(client)["drift_alarm", "km"] == 1.0
    models = client.app.state.service.models  # type: ignore[attr-defined]
    models._token_of = lambda *_, **__: "another"
    assert models.refresh()
    assert figures(client)["drift_alarm", "km"] == 0.0


# Processes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roster() -> dict[str, Any]:
    """Tables of a school, as columns."""
    tables = make_county(50, terms=2, seed=1)
    return {"tables": {name: columns_of(frame) for name, frame in tables.items() if len(frame)}, "lang": "en"}


class Load:
    """Clients that send rosters until they are told to stop, each again and again until it is acknowledged."""

    def __init__(self, service: Running, roster: dict[str, Any], clients: int = 2) -> None:
        self.acknowledged: list[dict[str, Any]] = []
        self.refused: list[int] = []
        self._service, self._roster, self._stop = service, roster, threading.Event()
        self._threads = ThreadPoolExecutor(clients)
        self._running = [self._threads.submit(self._send) for _ in range(clients)]

    def _send(self) -> None:
        body = json.dumps(self._roster)
        with httpx2.Client(base_url=self._service.url, timeout=60, trust_env=False) as http:
            while not self._stop.is_set():
                headers = {"content-type": "application/json", "idempotency-key": token_hex(8)}
                while True:  # a roster that was begun is sent until it is acknowledged
                    try:
                        answer = http.post("/score", content=body, headers=headers)
                    except httpx2.TransportError:
                        time.sleep(0.1)
                        continue
                    if answer.status_code == 200:
                        told = answer.json()
                        self.acknowledged.append({name: told[name] for name in ("run_id", "scored", "rows_in")})
                        break
                    assert answer.status_code == 503, answer.text
                    assert "retry-after" in answer.headers, answer.text
                    self.refused.append(answer.status_code)
                    time.sleep(0.1)

    def wait_for(self, more: int) -> None:
        """Wait until so many more rosters are acknowledged."""
        enough = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= enough or any(one.done() for one in self._running), 240)
        for one in self._running:
            if one.done():
                one.result()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads.shutdown()
        for one in self._running:
            one.result()


def assert_all_is_kept(store: str, load: Load) -> None:
    """Every acknowledged run is there once, with all its scores and its line in the audit, and nothing is corrupt."""
    database = Database(store)
    with database.reading() as session:
        scores = dict(session.execute(select(Score.run_id, func.count()).group_by(Score.run_id)).all())
        scored = dict(session.execute(select(Run.id, Run.scored)).all())
        audited = session.execute(
            select(AuditLine.run_id, func.count()).where(AuditLine.data_digest.is_not(None), AuditLine.students > 0)
            .group_by(AuditLine.run_id)
        ).all()  # fmt: skip
        if database.is_sqlite:
            assert session.scalar(text("pragma integrity_check")) == "ok"
    for run in load.acknowledged:
        assert scores[run["run_id"]] == scored[run["run_id"]] == run["scored"] > 0
    assert len(scored) == len({run["run_id"] for run in load.acknowledged}) == len(load.acknowledged)
    assert dict(audited) == {run["run_id"]: 1 for run in load.acknowledged}
    assert verify(database).ok
    database.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_or_a_connection_that_is_killed_under_load_loses_nothing(
    kind: str, roster: dict[str, Any], tmp_path: Path
) -> None:
    shared = tmp_path / "figures"
    shared.mkdir()
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(shared)}
    with new_store(kind) as store:
        with running(tmp_path, store=store, workers=2, environ=environ) as service, Load(service, roster) as load:
            load.wait_for(3)
            victim = service.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda: victim not in service.workers() and len(service.workers()) == 2)
            load.wait_for(3)
            if kind == "postgresql":
                kill_connections(store, load)
            assert service.http.get("/health/ready").status_code == 200
            assert_figures_are_those_of_all(service, victim, len(load.acknowledged), shared)
        assert_all_is_kept(store, load)
    for line in service.lines():
        assert "Traceback" not in json.dumps(line)


def kill_connections(store: str, load: Load) -> None:
    kill = text(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    database, killed = Database(store), 0
    for _ in range(30):
        with database.reading() as session:
            killed += session.scalar(kill) or 0
        time.sleep(0.1)
    load.wait_for(3)
    assert killed > 3
    database.close()


def assert_figures_are_those_of_all(service: Running, victim: int, least: int, shared: Path) -> None:
    """What the dead have counted is kept, their present state is not."""
    told = figures(service.http)
    assert told["requests_total", "/score", "200"] >= least
    assert told["model_stale",] == 0.0
    assert list(shared.glob(f"counter_{victim}.db"))
    assert not list(shared.glob(f"gauge_live*_{victim}.db"))


class Disk:
    """A folder that can be filled up: a file system in memory or, where none is mounted, files that may not grow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
        self.mounted = shutil.which("mount") is not None and subprocess.run(mount, capture_output=True).returncode == 0

    def fill(self, service: Running) -> None:
        if not self.mounted:
            return self._limit(service, max(file.stat().st_size for file in self.folder.iterdir()))
        with (self.folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"\0" * 4096)
        return None

    def make_room(self, service: Running) -> None:
        (self.folder / "filler").unlink() if self.mounted else self._limit(service, resource.RLIM_INFINITY)

    def _limit(self, service: Running, size: int) -> None:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_the_service_goes_on_when_there_is_room_again(
    roster: dict[str, Any], tmp_path: Path
) -> None:
    with closing(Disk(tmp_path / "disk")) as disk:
        store = f"sqlite:///{disk.folder}/store.db"
        with running(tmp_path, store=store) as service, Load(service, roster) as load:
            load.wait_for(3)
            disk.fill(service)
            until(lambda: len(load.refused) > 3)
            assert service.http.get("/health/live").status_code == 200
            disk.make_room(service)
            load.wait_for(3)
        assert_all_is_kept(store, load)


def test_what_was_purged_is_nowhere_in_the_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    prepare(database)
    with database.writing() as session:
        for run_id, expires in (("old", "2022-01-01"), ("new", "2999-01-01")):
            told = dict.fromkeys(("subject", "role", "purpose", "model_version", "model_digest", "data_digest"), "x")
            counts = dict.fromkeys(("rows_in", "scored", "refused"), 1)
            session.add(
                Run(id=run_id, at=datetime.now(UTC), as_of="2021-07-01", expires=expires, lang="zh", **told, **counts)
            )
            session.flush()
            row = {
                "run_id": run_id,
                "position": 1,
                "rank": 1,
                "student_id": f"STUDENT-{run_id}",
                "pseudonym": "P",
                "risk": 0.5,
            }
            session.add(Score(**row, band="high", reasons=[[0, 0.5]], gaps=[]))
            session.add(Wordings(run_id=run_id, number=0, told=[{"text": f"REASON-{run_id}"}]))
    with closing(Database(str(database.url))) as service:  # which goes on, and holds its connections
        assert len(kept.runs(service, Principal("auditor", "auditor"))) == 2
        assert kept.purge(database, "2022-07-01") == 1
        database.close()
        held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"STUDENT-new" in held and b"REASON-new" in held
    assert b"STUDENT-old" not in held and b"REASON-old" not in held


# Stopping, and uploads that hold their places ----------------------------------------------------------


def begin(service: Running, body: bytes, declared: int) -> socket.socket:
    """Send a request up to a part of its body."""
    host, port = service.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=60)
    head = (
        f"POST /score HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {declared}\r\n\r\n"
    )
    line.sendall(head.encode() + body)
    return line


@pytest.mark.slow
def test_uploads_that_dawdle_hold_their_places_and_a_stop_answers_what_has_begun(folder: Path, tmp_path: Path) -> None:
    body = json.dumps({"rows": ROWS}).encode()
    environ = {"DROPOUT_RISK_MAX_WAITING": "2"}
    store = f"sqlite:///{tmp_path}/store.db"
    with ExitStack() as stack, running(tmp_path, store=store, model=folder, environ=environ) as service:
        slow: list[socket.socket] = []

        def ask() -> int:
            headers = {"content-type": "application/json"}
            return service.http.post("/score", content=body, headers=headers).status_code

        def another_makes_it_full() -> bool:
            slow.append(stack.enter_context(closing(begin(service, body[:10], len(body)))))
            return ask() == 503

        until(another_makes_it_full)
        assert len(slow) >= 3
        for line in slow[1:]:
            line.close()
        until(lambda: ask() == 200)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: any("hutting down" in line["message"] for line in service.lines()))
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{service.url}/health/live", trust_env=False)
        slow[0].sendall(body[10:])
        answer = b""
        while piece := slow[0].recv(65536):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b'"scored":2' in answer
        service.stop()
    with closing(sqlite3.connect(tmp_path / "store.db")) as kept:
        assert kept.execute("select count(*) from runs").fetchone()[0] >= 2
