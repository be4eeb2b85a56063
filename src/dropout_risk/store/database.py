"""Connect to SQLite or PostgreSQL: sessions that read, and sessions that write one after the other."""

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.orm import Session

from dropout_risk.errors import MissingExtraError, SettingsError, StoreError
from dropout_risk.tables import atomic_path

DEFAULT_URL = "sqlite:///dropout-risk.db"
WAIT_SECONDS = 30
"""How long one writer waits for another."""
_LOCK = 0x6472_6F70
"""Number of the lock under which writers of PostgreSQL take turns, as those of SQLite do by themselves."""
_TAKE_TURN = text("select pg_advisory_xact_lock(:lock)")

_SQLITE = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # what is removed is written over, for it tells of children
    # A roster of 500 changes a thousand pages, for its students stand all over the indexes of a store that has grown:
    # room for them in memory (kB), and a log (pages) that takes several rosters before it is moved into the file.
    "cache_size=-8000",
    "wal_autocheckpoint=4000",
)

_SILENT = "dropout_risk"
"""Under which name the database library would log."""


class UnknownOutcomeError(StoreError):
    """The store was lost while it was told to keep something: whether it has done so is not known."""

    title = "It is not known whether this was kept"


class Database:
    """A store by its address.

    Parameters
    ----------
    url
        ``sqlite:///file.db`` (nothing to install) or ``postgresql://user:password@host/name``.

    Raises
    ------
    SettingsError
        If the address is of neither kind.
    MissingExtraError
        If the driver of PostgreSQL is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from dropout_risk.store.migrations import upgrade
    >>> database = Database(f"sqlite:///{tempfile.mkdtemp()}/store.db")
    >>> upgrade(database)
    >>> with database.reading() as session:
    ...     session.execute(text("select count(*) from keys")).scalar()
    0
    >>> database.close()
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self.url = _read_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        try:
            self.engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        except ModuleNotFoundError as error:
            raise MissingExtraError.of(error.name or "psycopg", "postgres") from error

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.url.render_as_string(hide_password=True)

    def exists(self) -> bool:
        """Return whether there is a file; PostgreSQL is asked, and does not make what is not there."""
        return not self.is_sqlite or Path(str(self.url.database)).exists()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the store."""
        with _told(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give the one session that writes: all of it is kept at the end, or nothing."""
        with self.turn() as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    @contextmanager
    def turn(self) -> Iterator[Connection]:
        """Wait until no other process is writing, and give the transaction that writes.

        Raises
        ------
        StoreError
            If it fails; nothing of it is kept then.
        UnknownOutcomeError
            If it fails in the very moment in which it is to be kept: an answer that is lost may have been yes.
        """
        with (
            _told(),
            self.engine.connect().execution_options(immediate=True) as connection,
            connection.begin() as transaction,
        ):
            if not self.is_sqlite:
                connection.execute(_TAKE_TURN, {"lock": _LOCK})
            yield connection
            with _not_known(connection):
                transaction.commit()

    def add(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows by the hundred, in the way in which the driver is quickest; their values are handed on as they are.

        To ready them one by one, as for other statements, costs more than to keep them.
        """
        if not rows:
            return
        names = ", ".join(columns)
        if self.is_sqlite:
            marks = ", ".join("?" * len(columns))
            connection.exec_driver_sql(f"insert into {table} ({names}) values ({marks})", list(rows))
            return
        cursor: Any = connection.connection.cursor()
        with _told_of_driver(), cursor, cursor.copy(f"copy {table} ({names}) from stdin") as copy:
            for row in rows:
                copy.write_row(row)

    def write_through(self) -> None:
        """Empty SQLite's log into its file: what was removed stands in neither of them from then on."""
        if self.is_sqlite:
            with _told(), closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _read_url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise SettingsError(
            "The address of the store cannot be read; give sqlite:///file.db or postgresql://…"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql") or (
        url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
    ):
        raise SettingsError(
            f"The store {url.render_as_string(hide_password=True)} is neither a file of SQLite (sqlite:///file.db) "
            "nor a database of PostgreSQL (postgresql://user:password@host/name)."
        )
    return url


def _silent(url: URL, **options: Any) -> Engine:
    """Return an engine that logs no statement and no row at any level: both hold ids of students."""
    logging.getLogger(f"sqlalchemy.engine.Engine.{_SILENT}").setLevel(logging.WARNING)
    return create_engine(url, logging_name=_SILENT, hide_parameters=True, **options)


def _postgresql(url: URL) -> Engine:
    """Return an engine that speaks UTF-8 to a database of any encoding: one in SQL_ASCII would give bytes for texts."""
    return _silent(url, pool_pre_ping=True, connect_args={"client_encoding": "utf8"})


def _sqlite(url: URL) -> Engine:
    """Return an engine on a file: readers do not wait for the writer (WAL), and what is told as kept is on the disk.

    Connections stay open, as many as are used at a time: to open one, and to empty the log when the last one is
    closed, takes longer than to write a line of the audit.
    """
    engine = _silent(url, connect_args={"timeout": WAIT_SECONDS}, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for setting in _SQLITE:
            connection.execute(f"PRAGMA {setting}")
        record.info["file"] = _file_at(url)

    @event.listens_for(engine, "checkout")
    def is_still_there(connection: Any, record: Any, _: Any) -> None:
        """Let go of a file in whose place another was put: what is written to it would be lost."""
        if record.info["file"] != _file_at(url):
            raise InvalidatePoolError

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _file_at(url: URL) -> tuple[int, int] | None:
    """Return what tells the file of a store from any other."""
    try:
        found = os.stat(str(url.database))
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the database raises into one sentence; the statement, which may hold an id, stays out of it."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(_REFUSED.format(kind=_kind(error))) from error


@contextmanager
def _told_of_driver() -> Iterator[None]:
    """Do the same where PostgreSQL's driver is used by itself."""
    from psycopg import Error

    try:
        yield
    except Error as error:
        raise StoreError(_REFUSED.format(kind=type(error).__name__)) from error


_REFUSED = (
    "The store does not answer or refuses ({kind}); nothing of what was being written was kept. Try again, and tell "
    "whoever runs the service if it goes on."
)


@contextmanager
def _not_known(connection: Connection) -> Iterator[None]:
    """Turn what the database raises while it is told to keep something into one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        connection.invalidate()  # its transaction may be open still, and would be so for whoever got it next
        raise UnknownOutcomeError(
            f"The store was lost while this was being kept ({_kind(error)}); whether it was kept is not known. Look "
            "whether it is there before you do it again, and tell whoever runs the service if it goes on."
        ) from error


def _kind(error: SQLAlchemyError) -> str:
    return type(getattr(error, "orig", None) or error).__name__


def back_up(database: Database, out: Path) -> None:
    """Copy a SQLite store as it is at one moment, while others go on writing; the copy appears whole or not at all.

    Raises
    ------
    SettingsError
        If the store is in PostgreSQL, which has its own tools, or `out` exists.
    """
    if not database.is_sqlite:
        raise SettingsError("This store is in PostgreSQL; copy it with pg_dump.")
    if out.exists():
        raise SettingsError(f"{out} exists; give another name for the copy.")
    with (
        atomic_path(out) as fresh,
        closing(sqlite3.connect(fresh)) as copy,
        closing(sqlite3.connect(str(database.url.database))) as source,
    ):
        source.backup(copy)
