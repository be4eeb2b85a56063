"""All that a service needs to start anew on an empty machine, in one folder: store, model, settings, versions."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

from dropout_risk.bundle import save_bundle
from dropout_risk.errors import SettingsError, StoreError
from dropout_risk.registry import load_model
from dropout_risk.service.settings import SETTINGS_FILE, Settings
from dropout_risk.store.audit import Verdict, verify
from dropout_risk.store.database import Database, back_up
from dropout_risk.store.migrations import existing
from dropout_risk.tables import atomic_path

SUMS = "SHA256SUMS"


def back_up_service(settings: Settings, out: Path) -> Verdict:
    """Copy what a service holds into a new folder, while it goes on; the folder appears whole or not at all.

    It holds ids and risks of children, and nobody but its owner may read it.

    Parameters
    ----------
    settings
        Of the service: where its store and its model are. The file that they were read from is copied, too.
    out
        The folder: ``store.db`` or, of PostgreSQL, ``store.dump``; ``audit.json`` with the head of the audit;
        ``model``, the one in use; ``settings.toml``; ``versions.txt``; `SUMS` of all these.

    Returns
    -------
    Verdict
        What a check of the audit has found; its head is in the copy.

    Raises
    ------
    SettingsError
        If `out` is there already.
    StoreError
        If there is no store, or it cannot be copied.
    RegistryError, BundleError
        If the model cannot be had.
    """
    if out.exists():
        raise SettingsError(f"{out} exists; give another name, such as one with the day in it.")
    with atomic_path(out) as folder, closing(Database(settings.store)) as database:
        folder.mkdir(mode=0o700)
        verdict = _copy_store(existing(database), folder)
        save_bundle(load_model(settings.model, tracking_uri=settings.tracking_uri), folder / "model")
        (folder / "audit.json").write_text(json.dumps(verdict.to_dict(), indent=1) + "\n", "utf-8")
        (folder / "versions.txt").write_text(_versions(), "utf-8")
        if file := os.environ.get(SETTINGS_FILE):
            shutil.copyfile(file, folder / "settings.toml")
        (folder / SUMS).write_text(_sums(folder), "utf-8")
    return verdict


def _copy_store(database: Database, folder: Path) -> Verdict:
    """Copy a store, and check an audit whose lines are all in the copy: others may be written meanwhile."""
    if not database.is_sqlite:
        verdict = verify(database)
        _dump(database, folder / "store.dump")
        return verdict
    back_up(database, folder / "store.db")
    with closing(Database(f"sqlite:///{folder}/store.db")) as copy:
        verdict = verify(copy)
        copy.write_through()
    for left in folder.glob("store.db-*"):
        left.unlink()
    return verdict


def _dump(database: Database, out: Path) -> None:
    """Copy a store in PostgreSQL by its own program; the password stays out of the list of processes."""
    url = database.url.set(drivername="postgresql", password=None)
    words = ["pg_dump", "--format=custom", "--no-owner", f"--file={out}", f"--dbname={url.render_as_string()}"]
    secret = {} if database.url.password is None else {"PGPASSWORD": database.url.password}
    try:
        done = subprocess.run(words, env={**os.environ, **secret}, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise StoreError(
            "The store is in PostgreSQL, and its program pg_dump is not installed here (on Debian: postgresql-client)."
        ) from None
    if done.returncode:
        raise StoreError(f"pg_dump could not copy the store: {(done.stderr.strip().splitlines() or ['no reason'])[0]}.")


def _versions() -> str:
    """Return the version of Python and of every package, as `pip install -r` takes them."""
    held = sorted({f"{one.metadata['Name']}=={one.version}" for one in distributions()}, key=str.casefold)
    return "\n".join([f"# Python {sys.version.split()[0]}", *held, ""])


def _sums(folder: Path) -> str:
    """Return the digest of each file, as `sha256sum -c` takes them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files)
