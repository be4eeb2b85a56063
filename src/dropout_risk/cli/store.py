"""The verbs that look after the service's store: keys, the audit, migrations, what has expired."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dropout_risk.cli import options
from dropout_risk.console import answer, say, to_json
from dropout_risk.errors import MissingExtraError, SettingsError, StoreError

if TYPE_CHECKING:
    from dropout_risk.access import Upkeep
    from dropout_risk.store.database import Database
    from dropout_risk.store.keys import NewKey
    from dropout_risk.store.schema import Key

keys = typer.Typer(help="Make, list, replace and revoke the keys of the service.", no_args_is_help=True)
audit = typer.Typer(help="Check and read who has seen whose data.", no_args_is_help=True)
store = typer.Typer(
    help="Bring the service's database to this version, or clear what has expired.", no_args_is_help=True
)

Url = Annotated[
    str | None, typer.Option("--store", help="Address of the store; default: that of the service's settings.")
]
Role = Annotated[str, typer.Option(help="school, county, province, auditor or admin.")]
Scope = Annotated[
    list[str] | None, typer.Option(help="Id of a school or county; again for more. For a province, 51* works too.")
]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")]


@contextmanager
def _opened(url: str | None, *, ready: bool = True, new: bool = False, quiet: bool = False) -> Iterator["Database"]:
    """Give the store, ready for this version unless asked otherwise; one that is not there is made if it may be new."""
    try:
        from dropout_risk.service.settings import load_settings
        from dropout_risk.store.database import Database
        from dropout_risk.store.migrations import existing, prepare
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "sqlalchemy", "serve") from error
    database = Database(url or load_settings().store)
    try:
        if new and not quiet and not database.exists():
            say(f"A new store is made: {database.shown}")
        if ready:
            prepare(database) if new else existing(database)
        yield database
    finally:
        database.close()


def _note(database: "Database", action: "Upkeep", what: str, *, students: int = 0) -> None:
    """Write down what was done here."""
    from dropout_risk.store.audit import kept_up
    from dropout_risk.store.runs import note

    note(database, kept_up(action, what, students=students))


# Keys ------------------------------------------------------------------------------------------------


@keys.command("create")
def create_key(
    role: Role,
    scope: Scope = None,
    label: Annotated[str, typer.Option(help="What people call it, such as the office; never a child's name.")] = "",
    days: Annotated[int, typer.Option(help="How many days it counts.", min=1, max=3650)] = 365,
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a key and show it, once: only its hash is kept."""
    from dropout_risk.access import Role as Roles

    with _opened(url, new=True, quiet=as_json) as database:
        from dropout_risk.store.keys import create

        made = create(database, cast(Roles, role), scope or (), label=label, days=days)
        places = ", ".join(scope or ()) or "-"
        _note(database, "create_key", f"The key {made.id} was made: role {role}, scope {places}.")
    _show_new(made, as_json)


@keys.command("rotate")
def rotate_key(
    key: KeyId,
    overlap: Annotated[int, typer.Option(help="Days for which the old key still counts.", min=0)] = 7,
    days: Annotated[int, typer.Option(help="How many days the new one counts.", min=1, max=3650)] = 365,
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a key in the place of another, with its role and scope."""
    with _opened(url) as database:
        from dropout_risk.store.keys import rotate

        made = rotate(database, key, overlap_days=overlap, days=days)
        _note(database, "rotate_key", f"The key {made.id} was made in the place of {key}.")
    _show_new(made, as_json)


@keys.command("revoke")
def revoke_key(key: KeyId, url: Url = None, as_json: options.AsJson = False) -> None:
    """Make a key worthless at once."""
    with _opened(url) as database:
        from dropout_risk.store.keys import revoke

        revoke(database, key)
        _note(database, "revoke_key", f"The key {key} was revoked.")
    _say_done(f"The key {key} does not count any more.", as_json, id=key, state="revoked")


@keys.command("list")
def list_keys(url: Url = None, as_json: options.AsJson = False) -> None:
    """List the keys: id, role, scope, since when and until when. The secrets are not kept, so they cannot be shown."""
    with _opened(url) as database:
        from dropout_risk.store.keys import all_keys

        held = [_described(key) for key in all_keys(database)]
    if as_json:
        answer(to_json(held))
        return
    for key in held:
        answer("  ".join(f"{key[name]}" for name in ("id", "state", "role", "scope", "expires", "label")))


def _described(key: "Key") -> dict[str, Any]:
    expired = key.expires <= datetime.now(UTC)
    return {
        "id": key.id,
        "state": "revoked" if key.revoked else "expired" if expired else "counts",
        "role": key.role,
        "scope": ",".join(key.scope) or "-",
        "created": key.created.isoformat(timespec="seconds"),
        "expires": key.expires.isoformat(timespec="seconds"),
        "label": key.label,
        "replaces": key.replaces,
    }


def _show_new(key: "NewKey", as_json: bool) -> None:
    if as_json:
        answer(to_json({"id": key.id, "token": key.token, "expires": key.expires.isoformat(timespec="seconds")}))
        return
    say(f"Key {key.id}, counts until {key.expires.date()}. It is shown this once: hand it over by a safe way.")
    answer(key.token)


def _say_done(sentence: str, as_json: bool, **told: Any) -> None:
    answer(to_json(told) if as_json else sentence)


# The audit -------------------------------------------------------------------------------------------


@audit.command("verify")
def verify_audit(
    head: Annotated[
        str | None, typer.Option(help="A head that an earlier check has shown; it must still be there.")
    ] = None,
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Check that no line of the audit was changed, moved, added or taken out."""
    with _opened(url) as database:
        from dropout_risk.store.audit import verify

        if not as_json:
            say(f"Store: {database.shown}")
        verdict = verify(database, known_head=head)
    if as_json:
        answer(to_json(verdict.to_dict()))
    else:
        for fault in verdict.faults:
            answer(fault)
        if verdict.ok:
            answer(f"{verdict.lines:,} lines, all as they were written. Head (keep it elsewhere): {verdict.head}")
    if not verdict.ok:
        raise StoreError("The audit is not as it was written; keep the database as it is, and tell the auditor.")


@audit.command("show")
def show_audit(
    last: Annotated[int, typer.Option(help="How many lines.", min=1)] = 20,
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the last lines: when, who, what, what for, how many students, allowed or not and why."""
    with _opened(url) as database:
        from dropout_risk.store.audit import lines, verify

        held = [_told(line) for line in lines(database, after=verify(database).lines - last)]
    if as_json:
        answer(to_json(held))
        return
    say("  ".join(_SHOWN))
    for line in held:
        answer("  ".join("-" if line[name] is None else str(line[name]) for name in _SHOWN))


_SHOWN = ("number", "at", "subject", "role", "action", "purpose", "students", "allowed", "why", "run_id")
"""What people see of a line; JSON has the rest as well."""


def _told(line: Any) -> dict[str, Any]:
    kept = {column.key: getattr(line, column.key) for column in line.__table__.columns}
    return {
        **kept,
        "at": line.at.isoformat(timespec="seconds"),
        "allowed": "allowed" if line.allowed else "refused",
    }


# The store -------------------------------------------------------------------------------------------


@store.command("upgrade")
def upgrade_store(url: Url = None, as_json: options.AsJson = False) -> None:
    """Bring the database to the version of this package; what it holds is kept. Make a backup first."""
    with _opened(url, ready=False) as database:
        from dropout_risk.store.migrations import revision_of, upgrade

        upgrade(database)
        found = revision_of(database)
    _say_done(f"The store is at revision {found}.", as_json, revision=found)


@store.command("downgrade")
def downgrade_store(
    revision: Annotated[str, typer.Argument(help="Revision to go back to; base for no tables at all.")],
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Take the database back to an older revision; what that one has no place for is lost."""
    with _opened(url, ready=False) as database:
        from dropout_risk.store.migrations import downgrade, revision_of

        downgrade(database, revision)
        found = revision_of(database)
    _say_done(f"The store is at revision {found or 'base'}.", as_json, revision=found)


@store.command("purge")
def purge_store(
    day: Annotated[str | None, typer.Option(help="Remove what has expired before this day; default: today.")] = None,
    answers_after_days: Annotated[
        int, typer.Option(help="Days for which answers to repeated requests are kept.", min=0)
    ] = 2,
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Remove scores whose term is over, and old answers; runs and the audit, which hold no child, stay."""
    moment = datetime.now(UTC)
    try:
        until = str(datetime.fromisoformat(day).date()) if day else str(moment.date())
    except ValueError:
        raise SettingsError(f"--day {day} is no date; write it as 2026-07-08.") from None
    with _opened(url) as database:
        from dropout_risk.store.runs import purge

        count = purge(database, until, replays_before=moment - timedelta(days=answers_after_days))
        _note(database, "purge", f"Scores that had expired before {until} were removed.", students=count)
    _say_done(
        f"{count:,} scores that had expired before {until} were removed.", as_json, scores=count, expired_before=until
    )


@store.command("backup")
def backup_store(
    out: Annotated[Path, typer.Argument(help="File for the copy; it must not exist.")],
    url: Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy a SQLite store while the service runs. For PostgreSQL use pg_dump."""
    with _opened(url) as database:
        from dropout_risk.store.database import back_up

        back_up(database, out)
    _say_done(f"The store was copied to {out}.", as_json, copy=str(out))
