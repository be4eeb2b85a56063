"""Bring a store to the version of this package, or back: Alembic, run from Python."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dropout_risk.errors import SettingsError, StoreError
from dropout_risk.store.database import Database


def upgrade(database: Database, revision: str = "head") -> None:
    """Make the tables of a new store, or bring an older one to `revision`; what it holds is kept.

    Several processes may call it at once: one does it, the others wait and find it done.

    Raises
    ------
    StoreError
        If a later version of this package has made the store.
    """
    _known(revision_of(database))
    with database.turn() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take a store back to an older `revision` (``base`` for none): columns that did not exist then are lost.

    Raises
    ------
    SettingsError
        If there is no such revision before the one that the store is at.
    """
    before = _before(_known(revision_of(database)))
    if revision not in before:
        ways = ", ".join(before)
        raise SettingsError(f"The store cannot go back to {revision}; from where it is it can go to {ways}.")
    with database.turn() as connection:
        command.downgrade(_config(connection), revision)


def revision_of(database: Database) -> str | None:
    """Return the revision that a store is at, None for one without tables."""
    with database.reading() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def newest() -> str:
    """Return the revision that this package works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def prepare(database: Database) -> None:
    """Make the tables where there are none; refuse a store of another version.

    Raises
    ------
    StoreError
        If the store is of another version: it may be large, so a person says when it is changed.
    """
    found = _known(revision_of(database))
    if found is None:
        upgrade(database)
    elif found != newest():
        raise StoreError(
            f"The store is at revision {found}, this version of dropout-risk works with {newest()}: make a backup, "
            "then run `dropout-risk store upgrade`."
        )


def existing(database: Database) -> Database:
    """Return a store that has tables; one that is only looked at is never made.

    Raises
    ------
    StoreError
        If there is none, or it is of another version.
    """
    if not database.exists() or revision_of(database) is None:
        raise StoreError(
            f"There is no store at {database.shown}. Give the address of the one that is meant (--store, or the "
            "settings of the service); `dropout-risk keys create` and the service make a new one."
        )
    prepare(database)
    return database


def _before(revision: str | None) -> list[str]:
    """Return the revisions that a store can go back to, the nearest first."""
    if revision is None:
        return ["base"]
    script = ScriptDirectory.from_config(_config())
    return [*(one.revision for one in script.iterate_revisions(revision, "base") if one.revision != revision), "base"]


def _known(revision: str | None) -> str | None:
    """Return a revision that this package knows; refuse another."""
    revisions = {one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in revisions:
        raise StoreError(
            f"The store is at revision {revision}, which this version of dropout-risk does not know: a later one has "
            "changed it. Install that version, or go back to a backup."
        )
    return revision


def _config(connection: object = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
