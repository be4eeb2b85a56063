"""Find the row of each student id of an Arrow column, without sorting and without an object per id."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dropout_risk.errors import ColumnsError, TableError

if TYPE_CHECKING:
    from dropout_risk.attendance.kernel import Keys

Int32s = npt.NDArray[np.int32]
Kind = Literal["text", "whole numbers"]

ROOM = 16
"""Bytes that a text buffer has at least, so that eight of them can always be seen as one number."""

LONGEST = 2**31 - 1 - ROOM
"""Bytes of text whose places an int32 can say."""


@dataclass(frozen=True)
class StudentIndex:
    """The students that are asked for, by id.

    Attributes
    ----------
    ids : Index
        In the order of the rows.
    kind : str
        Whether ids are text or whole numbers.
    """

    ids: pd.Index
    kind: Kind
    _known: "Keys"
    _slots: npt.NDArray[np.int64]
    _seen: list[tuple[Any, Int32s]] = field(default_factory=list)  # the last dictionary and its rows

    @classmethod
    def of(cls, ids: pd.Index) -> "StudentIndex":
        """Return the index of `ids`.

        Raises
        ------
        TableError
            When an id is missing or stands twice.
        """
        from dropout_risk.attendance.kernel import index_keys

        column = _as_arrow(ids)
        if column.null_count:
            raise TableError(f"{column.null_count:,} of the students have no student_id; leave them out or fill it in.")
        known, kind = keys_of(column)
        slots = np.full(1 << max(4, (2 * len(ids) - 1).bit_length()), -1, np.int64)
        repeated = index_keys(known, slots)
        if repeated >= 0:
            raise TableError(f"student_id {ids[repeated]} stands twice among the students; keep one row for each.")
        return cls(ids, kind, known, slots)

    def rows_of(self, column: pa.Array) -> Int32s:
        """Return the row of each id of `column`: -1 for another student, -2 where there is no id.

        Raises
        ------
        ColumnsError
            When ids are text here and numbers there.
        """
        from dropout_risk.attendance.kernel import NO_ID, find_rows

        if pa.types.is_dictionary(column.type):
            return np.append(self._rows_of_values(column.dictionary), np.int32(NO_ID))[numbers_of(column.indices, -1)]
        ids, kind = keys_of(column)
        if kind != self.kind and len(self.ids) and len(column) > column.null_count:
            raise ColumnsError(
                f"student_id is {kind} in the attendance and {self.kind} among the students; give both the same type."
            )
        row = np.empty(len(column), np.int32)
        find_rows(ids, self._known, self._slots, row)
        if column.null_count:
            row[column.is_null().to_numpy(zero_copy_only=False)] = NO_ID
        return row

    def _rows_of_values(self, values: pa.Array) -> Int32s:
        """Return the rows of a dictionary's values; batches that share one look it up once."""
        for known, rows in self._seen[-1:]:
            if len(known) == len(values) and known.buffers() and _addresses(known) == _addresses(values):
                return rows
        rows = self.rows_of(values)
        self._seen[:] = [(values, rows)]
        return rows


def _addresses(values: pa.Array) -> list[int]:
    return [values.offset, *(0 if buffer is None else buffer.address for buffer in values.buffers())]


def _as_arrow(ids: pd.Index) -> pa.Array:
    try:
        column = pa.array(ids, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ColumnsError(
            f"The student_id of the students is neither all text nor all whole numbers: {error}."
        ) from error
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def keys_of(column: pa.Array) -> tuple["Keys", Kind]:
    """Return the bytes of a column of ids, as they lie in its buffers where that is possible.

    Raises
    ------
    ColumnsError
        When ids are neither text nor whole numbers, or one batch holds more than 2 GB of them.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return keys_of(column.dictionary_decode())
    if pa.types.is_null(kind):
        return keys_of(column.cast(pa.string()))
    if pa.types.is_integer(kind):
        column = column if kind == pa.int64() else column.cast(pa.int64())
        return _number_keys(column), "whole numbers"
    if pa.types.is_large_string(kind) or pa.types.is_string(kind):
        return _text_keys(column), "text"
    if pa.types.is_string_view(kind):
        return _text_keys(column.cast(pa.large_string())), "text"
    raise ColumnsError(f"student_id holds {kind}; ids have to be text or whole numbers.")


def _number_keys(column: pa.Array) -> "Keys":
    values = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    values = values[8 * column.offset : 8 * (column.offset + len(column))]
    return _keys(values, np.arange(0, 8 * len(column) + 1, 8, dtype=np.int32))


def _text_keys(column: pa.Array) -> "Keys":
    wide = pa.types.is_large_string(column.type)
    _, places, text = column.buffers()
    found = np.frombuffer(places or bytes(8), np.int64 if wide else np.int32)
    starts: npt.NDArray[Any] = found[column.offset :][: len(column) + 1]
    if not len(starts):
        starts = np.zeros(1, np.int32)
    values = np.frombuffer(text or b"", np.uint8)
    if wide:
        values = values[starts[0] : starts[-1]]
        if len(values) > LONGEST:
            raise ColumnsError("One batch holds more than 2 GB of student ids; hand in smaller batches.")
        starts = (starts - starts[0]).astype(np.int32)
    return _keys(values, starts)


def _keys(text: npt.NDArray[np.uint8], starts: Int32s) -> "Keys":
    from dropout_risk.attendance.kernel import Keys

    if len(text) < ROOM:
        text = np.append(text, np.zeros(ROOM, np.uint8))
    words = np.ndarray((len(text) - 7,), np.uint64, text, strides=(1,))
    for part in (words, text, starts):
        part.flags.writeable = False  # one kind of array, one compiled function
    return Keys(words, text, starts)


def numbers_of(column: pa.Array, missing: int) -> Int32s:
    """Return an integer or date column as int32, with `missing` where it has no value."""
    if pa.types.is_date32(column.type):
        column = column.view(pa.int32())
    if column.type != pa.int32():
        column = column.cast(pa.int32())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(missing, pa.int32()))
    return np.asarray(column.to_numpy(zero_copy_only=True))
