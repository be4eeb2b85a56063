"""Records of somebody's own flat table, read as the model takes them; a bad cell costs its row."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dropout_risk.descriptions import Lang
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.notes import mask
from dropout_risk.scores import REFUSED_COLUMNS

_MESSAGES: dict[str, dict[Lang, str]] = {
    "not_a_number": {
        "zh": "“{value}”不是有限的数字；请填数字，未知则填 null。",
        "en": "{value} is not a finite number; send a number, or null where it is not known.",
    },
    "not_a_value": {
        "zh": "“{value}”不是单个值；请填文字或数字，未知则填 null。",
        "en": "{value} is not a single value; send a text or a number, or null where it is not known.",
    },
    "new_levels": {
        "zh": "“{columns}”列有 {count} 个取值模型从未见过，按缺失处理。",
        "en": "Column {columns} holds {count} values that the model has never seen; they count as missing.",
    },
    "left_out": {
        "zh": "模型没有学过的列未使用：{columns}。",
        "en": "Columns that the model has not learned were not used: {columns}.",
    },
}


@dataclass(frozen=True, eq=False)
class Rows:
    """Records after reading.

    Attributes
    ----------
    frame
        The rows that can be scored, indexed by their position among the records, from 1.
    refused
        One line for each of the others, columns `REFUSED_COLUMNS`.
    notes
        Sentences about all of them.
    """

    frame: pd.DataFrame
    refused: pd.DataFrame
    notes: tuple[str, ...]


def read_rows(records: Sequence[Mapping[str, Any]], model: DropoutRiskClassifier, *, lang: Lang) -> Rows:
    """Read the cells that `model` needs: numbers as float, categories as levels that it has learned.

    Parameters
    ----------
    records
        As a JSON body carries them. A key that only some of them lack is a missing value there.
    model
        A fitted classifier.
    lang
        Language of messages.

    Returns
    -------
    Rows
        The frame lacks columns that no record has.

    Examples
    --------
    >>> model = DropoutRiskClassifier().fit(pd.DataFrame({"days": range(40)}), [0, 1] * 20)
    >>> rows = read_rows([{"days": 3}, {"days": "many"}, {"days": None}], model, lang="en")
    >>> rows.frame["days"].to_dict(), rows.refused[["row", "column", "value"]].values.tolist()
    ({1: 3.0, 3: nan}, [[2, 'days', 'many']])
    """
    sent = dict.fromkeys(name for record in records for name in record)
    columns: dict[str, list[Any]] = {}
    faults: dict[int, tuple[str, str, str]] = {}
    notes = []
    for name in (name for name in model.feature_names if name in sent):
        cells = [record.get(name) for record in records]
        levels = model.categories_.get(name)
        columns[name], wrong = _read_cells(cells, _as_number if levels is None else _as_one_of(levels))
        for place in wrong:
            shown = mask(str(cells[place]))
            kind = "not_a_number" if levels is None else "not_a_value"
            faults.setdefault(place + 1, (name, shown, _MESSAGES[kind][lang].format(value=shown)))
        if new := _count_new(cells, columns[name], wrong) if levels is not None else 0:
            notes.append(_MESSAGES["new_levels"][lang].format(columns=name, count=new))
    if unknown := [name for name in sent if name not in columns]:
        notes.append(_MESSAGES["left_out"][lang].format(columns=", ".join(unknown)))
    frame = pd.DataFrame(columns, index=pd.RangeIndex(1, len(records) + 1))
    refused = [("rows", None, row, None, *faults[row]) for row in sorted(faults)]
    return Rows(frame.drop(index=list(faults)), pd.DataFrame(refused, columns=REFUSED_COLUMNS), tuple(notes))


def _read_cells(cells: Sequence[Any], read: Callable[[Any], Any]) -> tuple[list[Any], set[int]]:
    """Return the values that `read` finds in `cells`, and the places where it finds none."""
    values: list[Any] = [None] * len(cells)
    wrong = set()
    for place, cell in enumerate(cells):
        try:
            values[place] = read(cell)
        except (TypeError, ValueError, OverflowError):
            wrong.add(place)
    return values, wrong


def _as_number(cell: Any) -> float:
    """Return a JSON value as a number: NaN for null, 1 and 0 for true and false; a text is none."""
    if cell is None:
        return math.nan
    if isinstance(cell, str) or math.isinf(number := float(cell)):
        raise ValueError
    return number


def _as_one_of(levels: Sequence[Any]) -> Callable[[Any], Any]:
    """Return a function that gives the level that equals a JSON value, None for null and for a new value."""
    return {level: level for level in levels}.get


def _count_new(cells: Sequence[Any], values: Sequence[Any], wrong: set[int]) -> int:
    """Count the cells with a value that is none of the levels."""
    return sum(
        cell is not None and value is None and place not in wrong
        for place, (cell, value) in enumerate(zip(cells, values, strict=True))
    )
