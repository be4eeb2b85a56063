"""Files that schools export, as a form or as one Parquet file: checked for size before they are read."""

import re
import tempfile
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from dropout_risk.errors import TableError
from dropout_risk.schema import Tables
from dropout_risk.tables import READ_SUFFIXES, read_tables
from dropout_risk.workbooks import MAX_UNPACKED_BYTES

SETTINGS = ("as_of", "lang", "reasons", "term")
"""What may be said beside the files, as fields of the form or in the address."""

MAX_FILES = 20
MAX_FIELDS = 20


@dataclass(frozen=True)
class Form:
    """A form: its files by name, and its other fields."""

    files: Mapping[str, bytes]
    fields: Mapping[str, str]


async def read_form(headers: Headers, body: bytes) -> Form:
    """Take a multipart form apart.

    Raises
    ------
    HTTPException
        If it is none, or has too many parts.
    TableError
        If a file has no name, or two have the same.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        if not parser.ended:
            raise MultiPartException("it ends in the middle, so that a file may be missing; send it again")

    parser = _Parser(headers, stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        said = getattr(error, "message", "it has no boundary").rstrip(".")
        raise HTTPException(400, f"The form cannot be read: {said}. Send it as multipart/form-data.") from None
    try:
        return await _taken_apart(form)
    finally:
        await form.close()


class _Parser(MultiPartParser):
    """Parser that also tells whether the last boundary has come; without it the last file is lost in silence."""

    ended = False

    def on_end(self) -> None:
        """Note that the last boundary has come."""
        self.ended = True


async def _taken_apart(form: FormData) -> Form:
    files: dict[str, bytes] = {}
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            own = Path((value.filename or "").replace("\\", "/")).name.strip(". ~$")
            if not own or not own.isprintable() or len(own.encode()) > 200:
                raise TableError("A file of the form has no name that can be used; send it with its own file name.")
            if own in files:
                raise TableError(f"{own}: two files of the form have this name; rename one.")
            files[own] = await value.read()
        else:
            fields[name] = value
    return Form(files, fields)


def tables_of(files: Mapping[str, bytes], *, term: str | None = None) -> Tables:
    """Read uploaded files as `tables.read_tables` reads a folder of them.

    Raises
    ------
    TableError
        If a file is of another kind, unpacks to too much, or cannot be read; all such files are named.
    """
    faults = [fault for name, content in files.items() if (fault := _fault_of(name, content))]
    if not files:
        faults.append("The form has no file; send a roster, or the tables, as CSV, Excel or Parquet files.")
    if faults:
        raise TableError("\n".join(faults))
    with tempfile.TemporaryDirectory(prefix="dropout-risk-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        path = Path(folder) / next(iter(files)) if len(files) == 1 else Path(folder)
        try:
            return read_tables(path, term=term)
        except TableError as error:
            raise TableError(str(error).replace(f"{folder}/", "").replace(folder, "the form")) from None


def _fault_of(name: str, content: bytes) -> str | None:
    suffix = Path(name).suffix.lower()
    if suffix not in READ_SUFFIXES:
        return f"{name}: files of this kind are not read; send {', '.join(READ_SUFFIXES)}."
    if not content:
        return f"{name}: the file is empty."
    if suffix == ".parquet":
        return _fault_of_parquet(name, content)
    return None


def _fault_of_parquet(name: str, content: bytes) -> str | None:
    try:
        meta = pq.read_metadata(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError):
        return f"{name}: the Parquet file is damaged or not one; write it again."
    unpacked = sum(meta.row_group(place).total_byte_size for place in range(meta.num_row_groups))
    # Values that are written once for many rows are written out when they are read.
    cells = meta.num_rows * meta.num_columns
    if max(unpacked, 8 * cells) > MAX_UNPACKED_BYTES:
        return f"{name}: the file holds {cells:,} values, which is too much for one request; send it in parts."
    return None


def settings_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings among the fields of a form, for `ScoreRequest` to check; a number that is none stays text."""
    settings: dict[str, Any] = {name: value for name, value in fields.items() if value != ""}
    if re.fullmatch("[0-9]{1,3}", count := settings.get("reasons", "")):
        settings["reasons"] = int(count)
    return settings
