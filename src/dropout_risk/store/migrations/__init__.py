"""Bring a store to the version of this package, or back: Alembic, run from Python."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dropout_risk.errors import StoreError
from dropout_risk.store.database import Database


def upgrade(database: Database, revision: str = "head") -> None:
    """Make the tables of a new store, or bring an older one to `revision`; what it holds is kept.

    Several processes may call it at once: one does it, the others wait and find it done.
    """
    with database.turn() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take a store back to an older `revision` (``base`` for none): columns that did not exist then are lost."""
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
    found = revision_of(database)
    if found is None:
        upgrade(database)
    elif found != newest():
        raise StoreError(
            f"The store is at revision {found}, this version of dropout-risk works with {newest()}: make a backup, "
            "then run `dropout-risk store upgrade`."
        )


def _config(connection: object = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
