"""What can be set for the service: a TOML file, and over it the environment."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dropout_risk.errors import SettingsError

PREFIX = "DROPOUT_RISK_"
"""Every setting is also read from the environment: this, and its name in capitals."""

SETTINGS_FILE = f"{PREFIX}SETTINGS"
"""The environment variable that names the TOML file."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the service.

    Attributes
    ----------
    model
        The folder of a bundle, relative to the working directory, or ``models:/<name>@<alias>`` in MLflow.
    tracking_uri
        The MLflow store for a model in MLflow; None: as `registry.load_model` finds it.
    max_body_bytes
        Largest request body that is read.
    max_students
        Most students that one request may bring.

    Raises
    ------
    SettingsError
        If a value cannot be used; all of them are named.

    Examples
    --------
    >>> Settings(max_students=500)
    Settings(model='models/demo', tracking_uri=None, max_body_bytes=50000000, max_students=500)
    """

    model: str = "models/demo"
    tracking_uri: str | None = None
    max_body_bytes: int = 50_000_000
    max_students: int = 50_000

    def __post_init__(self) -> None:
        if wrong := list(self._wrong_values()):
            raise SettingsError(f"The service cannot start with these settings: {'; '.join(wrong)}.")

    def _wrong_values(self) -> Iterator[str]:
        given = vars(self)  # a TOML file can hold any type
        if not isinstance(given["model"], str) or not given["model"]:
            yield f"model is {given['model']!r}, not the folder of a bundle or models:/name@alias"
        if not isinstance(given["tracking_uri"], str | None):
            yield f"tracking_uri is {given['tracking_uri']!r}, not the address of an MLflow store"
        for name in ("max_body_bytes", "max_students"):
            if type(given[name]) is not int or given[name] < 1:
                yield f"{name} is {given[name]!r}, not a whole number of at least 1"


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
        text = environ.get(PREFIX + setting.name.upper(), "")
        if text:
            found[setting.name] = int(text) if setting.type is int and text.isdecimal() else text
    return found
