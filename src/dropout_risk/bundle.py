"""The bundle: a fitted model in a folder of text files that can be checked and read without executing anything.

It holds everything needed to score later: the boosters as LightGBM text, and JSON. Every file has a sha256 in
``SHA256SUMS``, all of them are checked before anything is parsed (LightGBM aborts the process on some damaged
texts), and the bundle's own digest is the sha256 of ``SHA256SUMS``. Digests prove that a bundle is whole, not
who made it: take models from people you trust.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from importlib.metadata import version as installed_version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.card import model_card
from dropout_risk.errors import BundleError, InputError, SettingsError
from dropout_risk.model import DropoutRiskClassifier

FORMAT = 1
"""Format of the bundles that this version writes; it reads this one and every earlier one.

To bump it: raise the number; in `_parse`, fill in what the earlier formats lack; save a bundle with the
last release and keep it in the tests as one that must load; say so in the changelog. A new file or a new
key needs a bump only when a reader that ignores it would give another risk.
"""

BANDS: dict[str, float] = {"high": 0.20, "raised": 0.10, "watch": 0.05}
"""Lowest risk of each band unless told otherwise; what is under all of them is ``low``."""

SUMS, CONTENT, REFERENCE, CARD = "SHA256SUMS", "bundle.json", "reference.json", "MODEL_CARD.md"
BACKTEST, OUTLOOK = "backtest.json", "outlook_"
MAX_FILES, MAX_FILE_BYTES = 100, 64 * 2**20

_FIELDS = ("kind", "created", "preset", "horizon", "bands", "metrics", "data", "versions")
_SUM_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9_.-]*)\n", re.ASCII)
_PINNED = ("dropout-risk", "lightgbm", "numpy", "pandas", "scikit-learn")


def installed_versions() -> dict[str, str]:
    """Return the installed versions of this package and of the libraries that its numbers depend on.

    Returns
    -------
    dict of str to str
        Distribution name -> version.

    Examples
    --------
    >>> list(installed_versions())
    ['dropout-risk', 'lightgbm', 'numpy', 'pandas', 'scikit-learn']
    """
    return {name: installed_version(name) for name in _PINNED}


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A fitted model with all that is needed to score, explain and judge it later.

    Parameters
    ----------
    model : DropoutRiskClassifier
        The fitted model.
    kind : {"county", "flat"}
        ``county``: features built from the canonical tables; ``flat``: somebody's own table.
    created : str
        Day of training, as ISO date. It is given, not read from a clock: equal content, equal bytes.
    preset : str, optional
        Rule preset of the labels.
    horizon : int
        How many terms ahead the risk looks.
    bands : mapping of str to float
        Lowest risk, in (0, 1), of the bands ``high``, ``raised`` and ``watch``.
    reference : mapping
        Reference values of the county (aggregates, no rows), as far as features need them.
    metrics : mapping
        How the model was judged: an assessment as `Assessment.to_dict` makes it. Bundles of the first version
        hold figures of any kind here; those load, but no gate lets them pass.
    data : mapping
        The training data in brief: rows, events, terms, as-of date, digest; no names.
    versions : mapping of str to str
        The libraries at training.
    outlook : DropoutRiskClassifier, optional
        A second model, for the terms after the next. Scores do not depend on it.
    backtest : mapping
        What past lists were worth (`Backtest.to_dict`): counts, no rows.
    release : mapping
        How this version was released, when it comes from a registry. It is no part of the files nor the digest: a
        model is what it is, whoever released it.

    Raises
    ------
    SettingsError
        If a value is out of range or cannot be written as JSON.

    Examples
    --------
    >>> bundle = Bundle(model=DropoutRiskClassifier(), kind="flat", created="2026-11-22")
    >>> bundle.band_of([0.31, 0.10, 0.04]).tolist()
    ['high', 'raised', 'low']
    """

    model: DropoutRiskClassifier
    kind: Literal["county", "flat"]
    created: str
    preset: str | None = None
    horizon: int = 1
    bands: Mapping[str, float] = field(default_factory=lambda: dict(BANDS))
    reference: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    outlook: DropoutRiskClassifier | None = None
    backtest: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    _files: Mapping[str, bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        problems = []
        for name in ("bands", "reference", "metrics", "data", "versions", "backtest", "release"):
            try:  # A plain copy: later changes from outside cannot reach in, and loading gives the same.
                object.__setattr__(self, name, json.loads(_to_json(dict(getattr(self, name)))))
            except (TypeError, ValueError) as error:
                problems.append(f"{name} cannot be written as JSON ({error}); use None where no figure is")
        problems += self._wrong_settings()
        if problems:
            raise SettingsError("This bundle cannot be kept: " + "; ".join(problems) + ".")

    def _wrong_settings(self) -> Iterator[str]:
        if self.kind not in ("county", "flat"):
            yield f"kind is {self.kind!r}, not 'county' or 'flat'"
        if self.horizon < 1:
            yield f"horizon is {self.horizon}, but a risk looks at least 1 term ahead"
        try:
            date.fromisoformat(self.created)
        except ValueError:
            yield f"created is {self.created!r}, not an ISO date such as 2026-11-22"
        cuts = [1.0, *(self.bands.get(name, 0.0) for name in BANDS), 0.0]
        if set(self.bands) != set(BANDS) or any(upper <= lower for upper, lower in pairwise(cuts)):
            yield "bands must hold 1 > high > raised > watch > 0"

    def band_of(self, risk: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Return the band of each risk.

        Parameters
        ----------
        risk : array-like of float
            Risks in [0, 1].

        Returns
        -------
        ndarray of str, same shape
            ``high``, ``raised``, ``watch`` or ``low``; a risk on a cut-off is in the band above it.

        Raises
        ------
        InputError
            If a risk is missing or not in [0, 1].
        """
        risks = np.asarray(risk, dtype=np.float64)
        if not np.all((risks >= 0) & (risks <= 1)):  # also true of NaN
            raise InputError("A band needs a risk between 0 and 1; score the missing rows first.")
        return np.array(self.band_names)[self.band_places(risks)]

    @property
    def band_names(self) -> list[str]:
        """The bands, lowest risks first."""
        return ["low", *reversed(BANDS)]

    def band_places(self, risks: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Return the place of each risk's band in `band_names`; risks are not checked."""
        return np.searchsorted([self.bands[name] for name in reversed(BANDS)], risks, side="right")

    @cached_property
    def digest(self) -> str:
        """The sha256, in hex, of the ``SHA256SUMS`` of this bundle: the model's exact identity."""
        return _sha256(self.to_files()[SUMS])

    @property
    def version_label(self) -> str:
        """First 12 digits of the digest, for people."""
        return self.digest[:12]

    def card(self) -> str:
        """Return the model card: what the model is for, how it was judged and, from a registry, how it was released."""
        return model_card(
            {name: getattr(self, name) for name in (*_FIELDS, "release")}
            | {"format": FORMAT, "features": self.model.feature_names, "categories": self.model.categories_}
            | {"model": f"{self.model.kind_} model. {self.model.kind_reason_}"}
        )

    def with_release(self, release: Mapping[str, Any]) -> "Bundle":
        """Return the same bundle, of the same digest, with the record of its release."""
        return replace(self, release=release)._read_from(self.to_files())

    def _read_from(self, files: Mapping[str, bytes]) -> "Bundle":
        """Take over the files that it was read from: saved again, also by a later version, it is the same bundle."""
        object.__setattr__(self, "_files", files)
        return self

    def to_files(self) -> dict[str, bytes]:
        """Return the bundle's files: name -> content; equal content gives equal bytes."""
        if self._files is not None:
            return dict(self._files)
        texts = self.model.to_files()
        texts[CONTENT] = _to_json({"format": FORMAT} | {name: getattr(self, name) for name in _FIELDS})
        parts = {REFERENCE: self.reference, BACKTEST: self.backtest}
        texts |= {name: _to_json(part) for name, part in parts.items() if part}
        if self.outlook is not None:
            texts |= {f"{OUTLOOK}{name}": text for name, text in self.outlook.to_files().items()}
        texts[CARD] = replace(self, release={}).card()
        files = {name: texts[name].encode() for name in sorted(texts)}
        sums = "".join(f"{_sha256(content)}  {name}\n" for name, content in files.items())
        return files | {SUMS: sums.encode()}


def save_bundle(bundle: Bundle, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a bundle into a new folder; the folder appears whole or not at all.

    Parameters
    ----------
    bundle : Bundle
        What to keep.
    folder : path
        The folder to make; those above it are made as needed.
    overwrite : bool
        Whether a bundle that is already there is replaced. The new one is written beside it, then the two
        change places: a reader sees the old one, the new one or, for an instant, none, and never a mixture.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SettingsError
        If the folder exists and `overwrite` is false, or holds something else than a bundle.
    BundleError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> model = DropoutRiskClassifier().fit(np.arange(40.0)[:, None], np.arange(40) > 20)
    >>> bundle = Bundle(model=model, kind="flat", created="2026-11-22")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = save_bundle(bundle, Path(folder) / "county-2026")
    ...     load_bundle(kept).digest == bundle.digest
    True
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise SettingsError(f"{folder} exists already; choose another folder, or allow it to be overwritten.")
    if folder.exists() and not _is_replaceable(folder):
        raise SettingsError(f"{folder} holds other things than a bundle and is not overwritten.")
    files = bundle.to_files()
    fresh = folder.absolute().with_name(f".{folder.name}.{secrets.token_hex(6)}")
    try:
        fresh.mkdir(parents=True)
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        _swap(fresh, folder)
    except OSError as error:
        raise BundleError(f"{folder} could not be written ({error.strerror}); all is as it was.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _is_replaceable(folder: Path) -> bool:
    """Whether `folder` is empty or a bundle: a slip in a path must not delete anything else."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    entries = list(folder.iterdir())
    names = {entry.name for entry in entries if entry.is_file()}
    return len(names) == len(entries) and (not names or {SUMS, CONTENT} <= names)


def _swap(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`; where that fails, what was there comes back."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = fresh.with_name(f"{fresh.name}.old")
    folder.rename(old)
    try:
        fresh.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle after checking the digest of each of its files.

    Parameters
    ----------
    folder : path
        A folder that `save_bundle` wrote.

    Returns
    -------
    Bundle
        With bit-identical predictions.

    Raises
    ------
    BundleError
        If a file is missing, added, changed or too large, or a later version wrote the bundle. The text
        names every such file.

    Examples
    --------
    >>> load_bundle("models/nowhere")
    Traceback (most recent call last):
    dropout_risk.errors.BundleError: models/nowhere is no folder; give the folder of a saved bundle.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder; give the folder of a saved bundle.")
    try:
        files, problems = _read_files(folder)
    except OSError as error:
        raise BundleError(f"The bundle {folder} cannot be read ({error.strerror}).") from error
    if problems := problems or _check_sums(files):
        raise BundleError(f"The bundle {folder} is damaged: {'; '.join(problems)}. Fetch or save it again.")
    return _parse(files, folder)


def folder_token(folder: str | Path) -> str:
    """Return the digest of a bundle as its folder claims it, without reading the rest: enough to see a change.

    Raises
    ------
    BundleError
        If `folder` holds no bundle.
    """
    try:
        return _sha256((Path(folder) / SUMS).read_bytes())
    except OSError as error:
        raise BundleError(f"{folder} is no folder of a saved bundle ({error.strerror}); give one.") from error


def _read_files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return every file of `folder`, read once and within the limits, and what is wrong with the rest."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if len(entries) > MAX_FILES:
        return {}, [f"it holds {len(entries)} entries, the limit is {MAX_FILES}"]
    problems = []
    files = {}
    for entry in entries:
        if not entry.is_file(follow_symlinks=False):
            problems.append(f"{entry.name} is not a plain file")
        elif entry.stat().st_size > MAX_FILE_BYTES:
            problems.append(f"{entry.name} is over {MAX_FILE_BYTES >> 20} MiB")
        else:
            files[entry.name] = Path(entry.path).read_bytes()
    return files, problems


def _check_sums(files: Mapping[str, bytes]) -> list[str]:
    """Return what keeps `files` from being exactly those of ``SHA256SUMS``."""
    if SUMS not in files:
        return [f"{SUMS} is missing"]
    lines = files[SUMS].decode("ascii", errors="replace").splitlines(keepends=True)
    matches = [_SUM_LINE.fullmatch(line) for line in lines]
    sums = {match[2]: match[1] for match in matches if match}
    if not sums or len(sums) < len(lines):
        return [f"{SUMS} is no list of digests and plain file names"]
    return [
        *(f"{name} is missing" for name in {CONTENT, *sums} - set(files)),
        *(f"{name} is not in {SUMS}" for name in files if name not in sums and name != SUMS),
        *(
            f"{name} does not match its digest in {SUMS}"
            for name, digest in sums.items()
            if name in files and _sha256(files[name]) != digest
        ),
    ]


def _parse(files: dict[str, bytes], folder: Path) -> Bundle:
    try:
        texts = {name: content.decode() for name, content in files.items()}
        content = json.loads(texts.pop(CONTENT))
        _refuse_future(content, folder)
        second = {name.removeprefix(OUTLOOK): text for name, text in texts.items() if name.startswith(OUTLOOK)}
        bundle = Bundle(
            model=DropoutRiskClassifier.from_files(texts),
            reference=json.loads(texts.get(REFERENCE, "{}")),
            outlook=DropoutRiskClassifier.from_files(second) if second else None,
            backtest=json.loads(texts.get(BACKTEST, "{}")),
            **{name: content[name] for name in _FIELDS},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"The bundle {folder} cannot be read: {error!r}. Save it again.") from error
    return bundle._read_from(files)


def _refuse_future(content: Mapping[str, Any], folder: Path) -> None:
    if content["format"] > FORMAT:
        raise BundleError(
            f"The bundle {folder} has format {content['format']}, written by dropout-risk "
            f"{content['versions']['dropout-risk']}; this is dropout-risk {installed_version('dropout-risk')}, "
            f"which reads formats up to {FORMAT}: upgrade it (pip install -U dropout-risk)."
        )


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def data_digest(frame: pd.DataFrame) -> str:
    """Return the sha256 of a table's content: the same wherever and however the same values are held.

    Parameters
    ----------
    frame : DataFrame
        Rows and columns in their order; the order counts. Named index levels count as columns, an unnamed
        index does not.

    Returns
    -------
    str
        64 hex digits. They do not depend on the process, the machine or the dtype backend: `int64`,
        `Int64`, whole `float64` and Arrow numbers are alike, as are `str`, `object` and categories. Times
        count to the microsecond.

    Examples
    --------
    >>> import pandas as pd
    >>> plain = pd.DataFrame({"km": [1, None], "town": ["a", "b"]})
    >>> data_digest(plain) == data_digest(plain.astype({"km": "Int64", "town": "category"}))
    True
    """
    named = [level for level, name in enumerate(frame.index.names) if name is not None]
    table = frame.reset_index(level=named, allow_duplicates=True) if named else frame
    total = hashlib.sha256(f"{table.shape}".encode())
    for position, name in enumerate(table.columns):
        kind, content = _canonical(table.iloc[:, position])
        header = json.dumps([str(name), kind, [len(part) for part in content]])
        total.update(header.encode())
        for part in content:
            total.update(part)
    return total.hexdigest()


def _canonical(column: "pd.Series[Any]") -> tuple[str, list[bytes]]:
    """Return the kind of a column, and bytes that say which values are missing and what the others are."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    missing = np.packbits(column.isna().to_numpy(dtype=bool)).tobytes()
    present = column.dropna()
    if present.empty:
        return "empty", []
    inferred = pd.api.types.infer_dtype(present)
    if inferred == "integer" and max(abs(int(present.min())), abs(int(present.max()))) > 2**53:
        inferred = "code"  # a float64 cannot tell such numbers apart
    if inferred in {"boolean", "integer", "floating", "mixed-integer-float"}:
        numbers = present.to_numpy(dtype="<f8") + 0.0  # + 0.0: there is one zero
        return "number", [missing, numbers.tobytes()]
    if inferred in {"datetime64", "datetime", "date"}:
        times = pd.to_datetime(present, utc=True).dt.as_unit("us")
        return "time", [missing, times.astype("int64").to_numpy(dtype="<i8").tobytes()]
    texts = [str(value).encode("utf-8", "surrogatepass") for value in present]
    return "text", [missing, np.array([len(text) for text in texts], "<i8").tobytes(), b"".join(texts)]
