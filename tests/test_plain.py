"""Rows of frames as plain values: what is missing is None, whatever holds the column."""

import json

import numpy as np
import pandas as pd
import pytest

from dropout_risk.plain import records

COLUMNS = {
    "text": pd.Series(["a", None], dtype="str"),
    "whole": pd.Series([1, None], dtype="Int64"),
    "number": pd.Series([0.5, np.nan]),
    "single": pd.Series([0.5, np.nan], dtype="float32"),
    "flag": pd.Series([True, None], dtype="boolean"),
    "kind": pd.Series(["a", None], dtype=pd.CategoricalDtype(["a", "b"])),
    "any": pd.Series([np.int64(1), None], dtype=object),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_is_missing_is_none(name: str) -> None:
    first, second = records(COLUMNS[name].to_frame(name))
    assert second == {name: None}
    assert json.loads(json.dumps(first)) == first


def test_cells_that_hold_several_values_are_made_plain() -> None:
    frame = pd.DataFrame({"held": [[np.float64("nan"), 1], {"of": np.int8(2)}]})
    assert records(frame) == [{"held": [None, 1]}, {"held": {"of": 2}}]


def test_no_rows_and_no_columns() -> None:
    assert records(pd.DataFrame({"a": []})) == []
    assert records(pd.DataFrame(index=range(2))) == [{}, {}]
