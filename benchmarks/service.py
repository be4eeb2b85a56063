"""Measure the service under load, beside a bare app on ready-made features and beside MLflow's own server.

Ours takes raw records, checks them, builds the features, scores, explains, keeps the run with its line in the audit,
and answers with five reasons each. They come twice: as a school exports what it knows (its register of the term with a
line a student, its mark sheets with a line a student and exam), and as an office keeps them (one record a day and a
mark, with the day on which each became known); both give the same risks. The bare app is what one writes
in an hour: FastAPI over `Booster.predict(pred_contrib=True)`, on ready-made features. `mlflow models serve` gives
predictions only, on the same features. All run the same model, with as many processes each, on loopback, one after the
other; clients share the cores with them. Rosters of 50,000 come as Parquet files. At the end another model is put in
use again and again while rosters come in, and requests that fail are counted.

    python benchmarks/service.py [--full] [--seconds N] [--clients N] [--workers N] [--json FILE]
"""

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import psutil
from accuracy import library_version
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

LIBRARIES = ("fastapi", "uvicorn", "lightgbm", "numba", "sqlalchemy", "mlflow")
REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = REPOSITORY / "models" / "demo"
BARE_MODEL = "BARE_MODEL"
OURS, OURS_DAILY = "ours, from a school's exports", "ours, from a record a day and mark"
BARE, MLFLOW = "bare app, on features", "mlflow models serve, prediction only"
JSON = "application/json"
PATIENCE = 120.0
"""Seconds that a server may take to get ready."""
FEWEST = 20
"""Requests of a measurement, however long they take; fewer for the largest rosters."""


# What is sent ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A request and how many students it is about."""

    students: int
    body: bytes
    kind: str = JSON


def county(n: int) -> Any:
    """Return the tables of `n` students: one term of daily attendance, marks of two."""
    from dropout_risk.schema import Tables
    from dropout_risk.synthetic import make_county

    tables = make_county(n, terms=2, seed=3)
    since = tables["terms"]["start"].max()
    recent = tables["attendance"][tables["attendance"]["date"] >= since]
    return Tables({name: recent if name == "attendance" else frame for name, frame in tables.items()})


def one_student(tables: Any) -> Any:
    """Return the tables of one student who is at risk now, and of its school."""
    from dropout_risk.features import build_features
    from dropout_risk.schema import Tables

    student = build_features(tables, tables["terms"]["end"].max()).index[0]
    of = {name: frame[frame["student_id"] == student] for name, frame in tables.items() if "student_id" in frame}
    schools = tables["schools"][tables["schools"]["school_id"].isin(of["enrolments"]["school_id"])]
    return Tables({**dict(tables.items()), **of, "schools": schools})


def as_exported(tables: Any) -> Sent:
    """Return what a school knows on the last day of the term, in the shapes in which it exports it."""
    from dropout_risk.registers import lines_of_days, lines_of_marks

    today = tables["terms"]["end"].max()
    known = {name: _known_on(today, frame) for name, frame in tables.items()}
    days = lines_of_days(known["attendance"].assign(recorded_at=known["attendance"]["date"]))
    sheets = {"attendance": days.drop(columns="recorded_at"), "grades": lines_of_marks(known["grades"])}
    return as_columns(known | sheets, students=students_in(tables))


def _known_on(day: Any, frame: Any) -> Any:
    """Return what was recorded by a day, and not when: exports do not tell it."""
    if "recorded_at" not in frame:
        return frame
    return frame[~(frame["recorded_at"] > day)].drop(columns="recorded_at")


def as_columns(tables: Any, students: int | None = None) -> Sent:
    """Return a roster as columns in JSON."""
    from dropout_risk.client import columns_of

    told = {name: columns_of(frame) for name, frame in tables.items() if len(frame)}
    body = json.dumps({"tables": told, "lang": "en"}, ensure_ascii=False, separators=(",", ":"))  # as the client does
    return Sent(students or students_in(tables), body.encode())


def as_parquet(tables: Any) -> Sent:
    """Return a roster as a form of Parquet files."""
    edge, form = token_hex(16), io.BytesIO()
    form.write(f'--{edge}\r\ncontent-disposition: form-data; name="lang"\r\n\r\nen\r\n'.encode())
    for name, frame in tables.items():
        head = f'content-disposition: form-data; name="file"; filename="{name}.parquet"'
        form.write(f"--{edge}\r\n{head}\r\n\r\n".encode() + frame.to_parquet(index=False) + b"\r\n")
    form.write(f"--{edge}--\r\n".encode())
    return Sent(students_in(tables), form.getvalue(), f"multipart/form-data; boundary={edge}")


def students_in(tables: Any) -> int:
    """Return how many students are enrolled in the newest term."""
    rows = tables["enrolments"]
    return int((rows["term"] == tables["terms"].loc[tables["terms"]["end"].idxmax(), "term"]).sum())


def as_features(tables: Any) -> Sent:
    """Return the features of the same students, ready-made, in the order of the boosters."""
    from dropout_risk.bundle import load_bundle
    from dropout_risk.features import build_features
    from dropout_risk.reference import Reference

    bundle = load_bundle(MODEL)
    assert not bundle.model.categories_, "the bare app takes numbers only"
    reference = Reference.from_dict(bundle.reference) if bundle.reference else None
    features = build_features(tables, tables["terms"]["end"].max(), reference=reference)
    X = features[sorted(bundle.model.feature_names)].astype(float)
    split = {"columns": list(X.columns), "data": X.astype(object).where(X.notna(), None).to_numpy().tolist()}
    return Sent(len(X), json.dumps({"dataframe_split": split}).encode())


# The servers -----------------------------------------------------------------------------------------


def bare_app() -> Any:
    """Return the app that one writes in an hour: risks and the five largest contributions of each student."""
    import lightgbm as lgb
    from fastapi import FastAPI
    from pydantic import BaseModel

    folder = Path(os.environ[BARE_MODEL])
    boosters = [lgb.Booster(model_str=file.read_text("utf-8")) for file in sorted(folder.glob("booster_*.txt"))]
    calibration = json.loads((folder / "model.json").read_text("utf-8"))["calibration"]

    class Split(BaseModel):
        columns: list[str]
        data: list[list[float | None]]

    class Body(BaseModel):
        dataframe_split: Split

    app = FastAPI()

    @app.get("/ping")
    def ping() -> str:
        return "pong"

    @app.post("/invocations")
    def score(body: Body) -> list[dict[str, Any]]:
        X, names = np.array(body.dataframe_split.data, dtype=float), body.dataframe_split.columns
        parts = np.mean([one.predict(X, pred_contrib=True, num_threads=1) for one in boosters], axis=0)
        log_odds = calibration["slope"] * parts.sum(axis=1) + calibration["intercept"]
        risks = 1 / (1 + np.exp(-log_odds))
        largest = np.argsort(-np.abs(parts[:, :-1]), axis=1)[:, :5]
        return [
            {"risk": risk, "reasons": [{"feature": names[j], "contribution": row[j]} for j in best]}
            for risk, row, best in zip(risks.tolist(), parts.tolist(), largest.tolist(), strict=True)
        ]

    return app


@dataclass(frozen=True)
class Server:
    """How one of the servers is started and asked."""

    words: list[str]
    path: str
    ready: str
    environ: dict[str, str] = field(default_factory=dict)


def servers(folder: Path, workers: int) -> dict[str, Callable[[int], Server]]:
    """Return the servers by name, each for a port."""
    here, python = str(Path(__file__).parent), sys.executable
    count = ["--workers", str(workers)]
    store = {"DROPOUT_RISK_STORE": f"sqlite:///{folder}/store.db", "DROPOUT_RISK_MODEL": str(folder / "model")}
    registry = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return {
        OURS: lambda port: Server(
            [python, "-m", "dropout_risk.cli", "serve", "--no-keys", "--port", str(port), *count],
            "/score", "/health/ready", {**store, "DROPOUT_RISK_POLL_SECONDS": "1"},
        ),
        BARE: lambda port: Server(
            [python, "-m", "uvicorn", "service:bare_app", "--factory", "--app-dir", here, "--port", str(port),
             "--log-level", "warning", *count],
            "/invocations", "/ping", {BARE_MODEL: str(MODEL)},
        ),
        MLFLOW: lambda port: Server(
            [python, "-m", "mlflow", "models", "serve", "-m", "models:/dropout-risk/1", "--env-manager", "local",
             "--port", str(port), *count],
            "/invocations", "/ping", registry,
        ),
    }  # fmt: skip


@contextmanager
def started(make: Callable[[int], Server]) -> Iterator[tuple[Server, int, psutil.Process]]:
    """Run a server until the end of the block; give it with its port and its first process."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = make(port)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    sources = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(REPOSITORY / "src")]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": sources, **server.environ}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            server.words, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            begun = time.perf_counter()
            while not _answers(port, server.ready):
                if process.poll() is not None or time.perf_counter() - begun > PATIENCE:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(server.words)} does not get ready:\n{log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield server, port, psutil.Process(process.pid)
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)


def processor_seconds(process: psutil.Process) -> float:
    """Return what a process and all that it has started have taken of the cores."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def _answers(port: int, path: str) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


# Load ------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What clients have seen: seconds of each answer, and the statuses of those that failed."""

    students: int
    clients: int
    seconds: list[float] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    wall: float = 0.0
    processor: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests per second: ratios go by them, since rows that get no score are no features."""
        return len(self.seconds) / self.wall

    def quantile(self, share: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        return 1e3 * float(np.quantile(self.seconds, share))


def ask(port: int, path: str, sent: Sent) -> tuple[int, bytes]:
    """Send a request and read the whole answer; 0 where there is none.

    Each comes on a connection of its own, as from schools: with few that are kept all may hang on one process.
    """
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        line.request("POST", path, sent.body, {"content-type": sent.kind})
        answer = line.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        line.close()


def load(
    process: psutil.Process,
    port: int,
    path: str,
    sent: Sent,
    *,
    seconds: float,
    clients: int,
    fewest: int,
    meanwhile: Any = None,
) -> Found:
    """Let clients send the request again and again; `meanwhile` runs beside them."""
    found, lock = Found(sent.students, clients), threading.Lock()
    end = [time.perf_counter() + seconds]

    def client(_: int) -> None:
        while time.perf_counter() < end[0] or len(found.seconds) + len(found.failed) < fewest:
            begun = time.perf_counter()
            status, _ = ask(port, path, sent)
            taken = time.perf_counter() - begun
            with lock:
                (found.seconds if status == 200 else found.failed).append(taken if status == 200 else status)

    begun, spent = time.perf_counter(), processor_seconds(process)
    with ThreadPoolExecutor(clients + 1) as threads:
        beside = [threads.submit(meanwhile, lambda: time.perf_counter() < end[0])] if meanwhile else []
        list(threads.map(client, range(clients)))
        for one in beside:
            one.result()
    found.wall, found.processor = time.perf_counter() - begun, processor_seconds(process) - spent
    if not found.seconds:
        raise SystemExit(f"No request to {path} was answered: {sorted(set(found.failed))}.")
    return found


def check(port: int, server: Server, name: str, sent: Sent) -> list[float]:
    """Ask once, and return the risks."""
    status, body = ask(port, server.path, sent)
    if status != 200:
        raise SystemExit(f"{name} answers {status}: {body[:500]!r}")
    told = json.loads(body)
    rows = told["students"] if name == OURS else told["predictions"] if name == MLFLOW else told
    return [row["risk"] for row in rows]


def assert_among(ours: list[float], others: list[float]) -> None:
    """Check that servers give the same risks; ours gives none to students of whom too little is known."""
    ordered = np.sort(others)
    after = np.clip(np.searchsorted(ordered, ours), 1, len(ordered) - 1) if len(ordered) > 1 else np.zeros(1, dtype=int)
    nearest = np.minimum(np.abs(ordered[after] - ours), np.abs(ordered[after - 1] - ours))
    assert len(ours) > 0.7 * len(others) and nearest.max() < 1e-9, "the servers do not give the same risks"


def swap_models(folder: Path, swaps: list[int]) -> Callable[[Callable[[], bool]], None]:
    """Return what puts one model after the other into the folder, as long as there is load."""
    from dropout_risk.bundle import load_bundle, save_bundle

    first = load_bundle(MODEL)
    both = (changed(first, created="2026-11-24"), first)

    def swap(going_on: Callable[[], bool]) -> None:
        while going_on():
            save_bundle(both[len(swaps) % 2], folder, overwrite=True)
            swaps.append(1)
            time.sleep(2.5)

    return swap


def on_features(tables: Any) -> dict[str, Sent]:
    """Return the request of the servers that take features."""
    ready = as_features(tables)
    return {BARE: ready, MLFLOW: ready}


def asked_of(server: str, sent: dict[str, dict[str, Sent]]) -> list[tuple[str, str, Sent]]:
    """Return work, label and request of what a server is asked."""
    labels = (OURS, OURS_DAILY) if server == OURS else (server,)
    return [(work, label, requests[label]) for work, requests in sent.items() for label in labels if label in requests]


# Measuring -------------------------------------------------------------------------------------------


def measure(
    options: argparse.Namespace, folder: Path, progress: Progress
) -> tuple[dict[tuple[str, str], Found], Found, int]:
    """Return what was found by work and server, and under changes of the model, and how many changes there were."""
    from dropout_risk.bundle import load_bundle, save_bundle
    from dropout_risk.registry import log_model

    save_bundle(load_bundle(MODEL), folder / "model")
    log_model(load_bundle(MODEL), tracking_uri=f"sqlite:///{folder}/mlflow.db")
    school = county(500)
    rosters = {"one student": one_student(school), "roster of 500": school}
    sent = {
        name: {OURS: as_exported(tables), OURS_DAILY: as_columns(tables)} | on_features(tables)
        for name, tables in rosters.items()
    }
    if options.full:
        province = county(49_000)  # some move in meanwhile, and 50,000 is the limit
        sent["roster of 50,000"] = {OURS_DAILY: as_parquet(province)} | on_features(province)
    found: dict[tuple[str, str], Found] = {}
    risks: dict[str, list[float]] = {}
    task = progress.add_task("ask", total=sum(map(len, sent.values())) + 1)
    for name, make in servers(folder, options.workers).items():
        with started(make) as (server, port, process):
            for work, label, request in asked_of(name, sent):
                given = check(port, server, name, request)
                assert_among(risks.setdefault(work, given), given)
                many = request.students > 1000
                asked: dict[str, Any] = {"clients": 2 if many else options.clients}
                load(process, port, server.path, request, seconds=1, fewest=2 * options.workers, **asked)
                found[work, label] = load(
                    process, port, server.path, request, seconds=options.seconds, fewest=4 if many else FEWEST, **asked
                )
                progress.advance(task)
            if name == OURS:
                swaps: list[int] = []
                changing = load(
                    process, port, server.path, sent["roster of 500"][OURS],
                    seconds=max(10.0, options.seconds), fewest=FEWEST,
                    clients=options.clients, meanwhile=swap_models(folder / "model", swaps),
                )  # fmt: skip
                progress.advance(task)
    return found, changing, len(swaps)


def table(found: dict[tuple[str, str], Found], options: argparse.Namespace) -> Table:
    """Return the table, ratios first."""
    result = Table(
        title=f"requests under load ({MODEL.relative_to(REPOSITORY)})",
        caption=f"ratio: requests per second divided by those of the {BARE}; {options.workers} processes each, "
        f"{options.seconds:g} s and at least {FEWEST} requests a measurement, on loopback; CPU: time of the cores that "
        "the processes of a server take for a request",
    )
    for column in ("work", "server"):
        result.add_column(column, no_wrap=True)
    columns = (
        "ratio", "p99 / p50", "p50 ms", "p99 ms", "requests/s", "students/s", "CPU ms", "clients", "requests", "failed"
    )  # fmt: skip
    for column in columns:
        result.add_column(column, justify="right", no_wrap=True)
    for (work, name), one in found.items():
        p50, p99 = one.quantile(0.5), one.quantile(0.99)
        result.add_row(
            work, name, f"×{one.per_second / found[work, BARE].per_second:.2f}", f"{p99 / p50:.1f}", f"{p50:,.1f}",
            f"{p99:,.1f}",
            f"{one.per_second:,.1f}", f"{one.students * one.per_second:,.0f}",
            f"{1e3 * one.processor / (len(one.seconds) + len(one.failed)):,.1f}", str(one.clients),
            str(len(one.seconds)), str(len(one.failed)),
        )  # fmt: skip
    return result


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    out = Console(width=max(170, Console().width))
    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    out.print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {libraries}")
    with tempfile.TemporaryDirectory() as name, Progress(console=Console(stderr=True)) as progress:
        found, changing, swaps = measure(options, Path(name), progress)
    order = sorted(found, key=lambda key: [work for work, _ in found].index(key[0]))
    out.print(table({key: found[key] for key in order}, options))
    out.print(
        f"While another model was put in use {swaps} times: {len(changing.seconds)} rosters of {changing.students} "
        f"answered, {len(changing.failed)} failed, p50 {changing.quantile(0.5):,.0f} ms, p99 "
        f"{changing.quantile(0.99):,.0f} ms."
    )
    if options.json:
        told = {f"{work} | {server}": one.__dict__ for (work, server), one in found.items()}
        told["while models change"] = {**changing.__dict__, "swaps": swaps}
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what is not given follows from `--full`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer, and a roster of 50,000")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--clients", type=int, default=4, help="at a time")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of each server")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (30.0 if options.full else 2.0)
    return options


if __name__ == "__main__":
    sys.exit(main())
