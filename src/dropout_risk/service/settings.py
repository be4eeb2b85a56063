"""What can be set for the service: a TOML file, and over it the environment."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dropout_risk.errors import SettingsError

PREFIX = "DROPOUT_RISK_"
"""Every setting is also read from the environment: this, and its name in capitals; with ``_FILE`` after it, from the
file that is named, as containers and systemd hand over secrets."""

SETTINGS_FILE = f"{PREFIX}SETTINGS"
"""The environment variable that names the TOML file."""


WEAK_PASSWORDS = frozenset(
    {"", "change-me", "changeme", "password", "postgres", "secret", "dropout-risk", "admin", "test"}
)
"""Passwords that stand in examples; a database on another machine is not opened with one of them."""
_THIS_MACHINE = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the service.

    Attributes
    ----------
    model
        The folder of a bundle, relative to the working directory, or ``models:/<name>@<alias>`` in MLflow.
    tracking_uri
        The MLflow store for a model in MLflow; None: as `registry.load_model` finds it.
    poll_seconds
        How often the service looks whether the model has changed.
    store
        Address of the database of keys, runs and audit: ``sqlite:///file.db`` or ``postgresql://…``.
    access
        ``keys``: every request needs a key or a token. ``local``: requests from this machine need none; for trials.
    oidc_issuer, oidc_audience, oidc_keys
        Issuer and audience of bearer tokens, and the address (https) or file of the issuer's keys (JWKS); tokens are
        accepted when all three are given.
    cors_origins
        Web pages of other origins that may call the service, separated by commas; none unless it is said.
    max_body_bytes
        Largest request body that is read.
    max_students
        Most students that one request may bring.
    max_waiting
        How many requests may wait for a core; more are answered 503 at once.
    max_seconds
        How long a request may take to come in, and how long it may wait.
    min_coverage
        Share of the model's features that must be recorded for a student to get a score.
    max_attendance_age_days
        How many days before the as-of date a school's newest attendance record may lie.
    drift_alarm
        Population stability index from which the scores of a feature group count as drifted.

    Raises
    ------
    SettingsError
        If a value cannot be used; all of them are named.

    Examples
    --------
    >>> Settings(max_students=500).store
    'sqlite:///dropout-risk.db'
    """

    model: str = "models/demo"
    tracking_uri: str | None = None
    poll_seconds: int = 30
    store: str = field(default="sqlite:///dropout-risk.db", repr=False)  # its password is not for logs
    access: str = "keys"
    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_keys: str | None = None
    cors_origins: str | None = None
    max_body_bytes: int = 50_000_000
    max_students: int = 50_000
    max_waiting: int = 16
    max_seconds: int = 120
    min_coverage: float = 0.3
    max_attendance_age_days: int = 60
    drift_alarm: float = 0.25

    def __post_init__(self) -> None:
        if wrong := list(self._wrong_values()):
            raise SettingsError(f"The service cannot start with these settings: {'; '.join(wrong)}.")

    def _wrong_values(self) -> Iterator[str]:
        given = vars(self)  # a TOML file can hold any type
        if not isinstance(given["model"], str) or not given["model"]:
            yield f"model is {given['model']!r}, not the folder of a bundle or models:/name@alias"
        for name in ("tracking_uri", "oidc_issuer", "oidc_audience", "oidc_keys", "cors_origins"):
            if not isinstance(given[name], str | None):
                yield f"{name} is {given[name]!r}, not a text"
        for name in ("poll_seconds", "max_body_bytes", "max_students", "max_waiting", "max_seconds"):
            if type(given[name]) is not int or given[name] < 1:
                yield f"{name} is {given[name]!r}, not a whole number of at least 1"
        if type(days := given["max_attendance_age_days"]) is not int or days < 1:
            yield f"max_attendance_age_days is {days!r}, not a whole number of at least 1"
        for name in ("min_coverage", "drift_alarm"):
            if isinstance(given[name], bool) or not isinstance(given[name], int | float) or not 0 <= given[name] <= 1:
                yield f"{name} is {given[name]!r}, not a share from 0 to 1"
        if given["access"] not in ("keys", "local"):
            yield f"access is {given['access']!r}, neither keys nor local"
        told = [given[name] is not None for name in ("oidc_issuer", "oidc_audience", "oidc_keys")]
        if any(told) and not all(told):
            yield "of oidc_issuer, oidc_audience and oidc_keys only some are given; give all three or none"
        if not isinstance(given["store"], str) or not given["store"]:
            yield f"store is {given['store']!r}, not the address of a database"
        elif is_weakly_guarded(given["store"]):
            yield "store is a database on another machine with a password that stands in examples; choose your own"


def is_weakly_guarded(address: str) -> bool:
    """Return whether a database on another machine has no password, or one that everybody knows.

    Examples
    --------
    >>> is_weakly_guarded("postgresql://risk:change-me@db/risk"), is_weakly_guarded("sqlite:///dropout-risk.db")
    (True, False)
    """
    parts = urlsplit(address)
    beside = dict(parse_qsl(parts.query))  # host and password may stand there as well
    hosts = [parts.hostname or "", *beside.get("host", "").split(",")]
    elsewhere = [host for host in hosts if host not in _THIS_MACHINE and not host.startswith("/")]
    if not parts.scheme.startswith("postgres") or not elsewhere:
        return False
    return (beside.get("password") or unquote(parts.password or "")).lower() in WEAK_PASSWORDS


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the TOML file that ``DROPOUT_RISK_SETTINGS`` names, and of the environment.

    Parameters
    ----------
    environ
        The environment; None: that of this process. What it sets wins over the file.

    Raises
    ------
    SettingsError
        If the file cannot be read, a name in it is unknown or a value cannot be used.

    Examples
    --------
    >>> load_settings({"DROPOUT_RISK_MODEL": "models:/dropout-risk@champion"}).model
    'models:/dropout-risk@champion'
    """
    given = os.environ if environ is None else environ
    file = given.get(SETTINGS_FILE)
    values = _read_file(Path(file)) if file else {}
    return Settings(**{**values, **_from_environment(given)})


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise SettingsError(f"The settings file {path} is not proper TOML: {error}.") from error
    values.pop("gate", None)  # the release gate reads it
    known = [setting.name for setting in fields(Settings)]
    if unknown := sorted(set(values) - set(known)):
        raise SettingsError(
            f"The settings file {path} has unknown settings: {', '.join(unknown)}; the settings are {', '.join(known)}."
        )
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in the environment; a number that is none stays text, for `Settings` to refuse."""
    found: dict[str, Any] = {}
    for setting in fields(Settings):
        name = PREFIX + setting.name.upper()
        text = environ.get(name) or _read_secret(environ.get(f"{name}_FILE"))
        if text:
            found[setting.name] = _read(text, setting.type)
    return found


def _read_secret(file: str | None) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, ValueError):
        raise SettingsError(f"The file {file}, which holds a setting, cannot be read.") from None


def _read(text: str, kind: Any) -> Any:
    if kind is int and text.isdecimal():
        return int(text)
    with suppress(ValueError):
        return float(text) if kind is float else text
    return text
