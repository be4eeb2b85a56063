"""Stores for tests: a new file of SQLite, and a new database of a real PostgreSQL."""

import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from dropout_risk.store.database import Database

SERVER = os.environ.get("DROPOUT_RISK_TEST_POSTGRESQL", "postgresql+psycopg://root@127.0.0.1:5432/test")
KINDS = ("sqlite", "postgresql")

HOW_TO = (
    "No PostgreSQL answers at {server} and none could be started here: name one in DROPOUT_RISK_TEST_POSTGRESQL, or "
    "install it (on Debian: apt-get install postgresql)."
)


@contextmanager
def new_store(kind: str, options: str = "") -> Iterator[str]:
    """Give the address of a store of this kind without tables; it is gone afterwards.

    With `options` PostgreSQL makes it.
    """
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/store.db"
        return
    server = postgresql()
    name = f"dropout_risk_{token_hex(4)}"
    run(server, f"create database {name} {options}")
    try:
        yield server.rpartition("/")[0] + f"/{name}"
    finally:
        run(server, f"drop database {name} with (force)")


def run(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@contextmanager
def lost_commits(database: Database, *, kept: bool, most: float = math.inf) -> Iterator[None]:
    """Lose the answer of the database to commits, `most` of them, which it has carried out or not."""
    dialect: Any = database.engine.dialect
    really, lost = dialect.do_commit, []

    def lose(connection: Any) -> None:
        if len(lost) >= most:
            return really(connection)
        lost.append(connection)
        (really if kept else dialect.do_rollback)(connection)
        raise dialect.dbapi.OperationalError("the connection is lost")

    dialect.do_commit = lose
    try:
        yield
    finally:
        dialect.do_commit = really


@cache
def postgresql() -> str:
    """Return the address of a server that runs; where none does, one is started with the system's own programs."""
    try:
        run(SERVER, "select 1")
    except SQLAlchemyError:
        return _started()
    return SERVER


def _started() -> str:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if shutil.which("initdb") is None else [None]
    if not programs:
        pytest.skip(HOW_TO.format(server=SERVER.rpartition("@")[2]))
    folder = programs[-1]
    initdb, pg_ctl = (str(folder / name) if folder else name for name in ("initdb", "pg_ctl"))
    data = tempfile.mkdtemp(prefix="dropout-risk-postgresql-")
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        pytest.skip(HOW_TO.format(server=SERVER.rpartition("@")[2]))
    subprocess.run([initdb, "-D", data, "-U", "root", "--auth=trust"], check=True, capture_output=True)
    port = 54321
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    subprocess.run([pg_ctl, "-D", data, "-w", "-o", options, "-l", f"{data}/log", "start"], check=True)
    return f"postgresql+psycopg://root@127.0.0.1:{port}/postgres"
