"""From a frame of numbers and categories to one matrix of numbers, refusing what the model did not learn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.errors import ColumnsError

Floats = npt.NDArray[np.float64]


def learn_levels(X: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the levels that occur in each categorical column, sorted, whatever the order of its dtype.

    Examples
    --------
    >>> learn_levels(pd.DataFrame({"road": pd.Categorical(["mud", "asphalt", None]), "km": [1, 2, 3]}))
    {'road': ['asphalt', 'mud']}
    """
    columns = zip(_names(X), (column for _, column in X.items()), strict=True)
    return {
        name: sorted(column.cat.remove_unused_categories().cat.categories.tolist(), key=_by_type)
        for name, column in columns
        if isinstance(column.dtype, pd.CategoricalDtype)
    }


def frame_to_numbers(
    X: pd.DataFrame, levels: Mapping[str, list[Any]], *, expected: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the frame as float64: categories as places among their levels, gaps and unknown levels as NaN.

    Parameters
    ----------
    X : DataFrame of shape (n, n_features)
        Numeric, boolean, nullable and categorical columns.
    levels : mapping of str to list
        What `learn_levels` found in the training rows.
    expected : sequence of str, optional
        The columns that the model learned, in order; any other columns are refused.

    Returns
    -------
    DataFrame of shape (n, n_features)
        With the columns of `X`.

    Raises
    ------
    ColumnsError
        Naming every column that is missing, unknown, out of order or of a kind that cannot be used.

    Examples
    --------
    >>> X = pd.DataFrame({"road": pd.Categorical(["mud", "ice"]), "boards": [True, False]})
    >>> frame_to_numbers(X, {"road": ["asphalt", "mud"]})
       road  boards
    0   1.0     1.0
    1   NaN     0.0
    """
    return pd.DataFrame(frame_to_matrix(X, levels, expected=expected), columns=X.columns)


def frame_to_matrix(
    X: pd.DataFrame, levels: Mapping[str, list[Any]], *, expected: Sequence[str] | None = None
) -> Floats:
    """Return what `frame_to_numbers` does as an array; it may share the memory of the frame.

    Examples
    --------
    >>> frame_to_matrix(pd.DataFrame({"road": pd.Categorical(["mud", "ice"])}), {"road": ["asphalt", "mud"]})
    array([[ 1.],
           [nan]])
    """
    names = _names(X)
    if not levels and names == expected and set(X.dtypes) == {np.dtype(np.float64)}:
        numbers = X.to_numpy()
        if not np.isinf(numbers).any():
            return numbers
    problems = [] if expected is None else _name_problems(names, list(expected))
    if X.columns.has_duplicates:
        twice = X.columns[X.columns.duplicated()].unique()
        problems.append(f"Column names stand more than once: {', '.join(map(str, twice))}.")
    numbers = np.full(X.shape, np.nan)
    for place, name in enumerate(names):
        if expected is None or name in expected:
            try:
                numbers[:, place] = _as_number(X.iloc[:, place], levels.get(name))
            except ColumnsError as error:
                problems.append(f"Column {name!r} {error}")
    if problems:
        raise ColumnsError("\n".join(problems))
    return numbers


def _names(X: pd.DataFrame) -> list[str]:
    """Return the names by which scikit-learn knows the columns."""
    names = X.columns.tolist()
    if all(isinstance(name, str) for name in names):
        return names
    return [f"x{place}" for place in range(X.shape[1])]


def _by_type(level: Any) -> tuple[str, Any]:
    return type(level).__name__, level


def _name_problems(names: list[str], expected: list[str]) -> list[str]:
    """Compare names with those of the training rows, in the words of scikit-learn."""
    if names == expected:
        return []
    unseen, missing = sorted(set(names) - set(expected)), sorted(set(expected) - set(names))
    problems = ["The feature names should match those that were passed during fit."]
    if unseen:
        problems += ["Feature names unseen at fit time:", *(f"- {name}" for name in unseen)]
    if missing:
        problems += ["Feature names seen at fit time, yet now missing:", *(f"- {name}" for name in missing)]
    if not unseen and not missing:
        problems += ["Feature names must be in the same order as they were in fit."]
    return [*problems, "Pass exactly the columns in model.feature_names, in that order."]


def _as_number(column: "pd.Series[Any]", levels: list[Any] | None) -> Floats:
    """Return a column as floats; the text of an error goes on after the column's name."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        if levels is None:
            raise ColumnsError("was a number when the model learned and is a category now; pass the numbers.")
        return _codes(column, levels)
    if levels is not None:
        raise ColumnsError(
            f"was a category when the model learned and is {column.dtype} now; convert it with .astype('category')."
        )
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        raise ColumnsError(
            f"is {column.dtype}, neither number nor category; convert text with .astype('category'), "
            "dates to a number of days, or leave the column out."
        )
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if (infinite := np.flatnonzero(np.isinf(numbers))).size:
        raise ColumnsError(
            f"has {infinite.size} infinite values (first: row {infinite[0]}, counted from 0); "
            "write a number, or leave them empty if they are not known."
        )
    return numbers


def _codes(column: "pd.Series[Any]", levels: list[Any]) -> Floats:
    given = column.cat.categories
    if not all(isinstance(level, str | int | float) for level in levels):
        raise ColumnsError("has levels that are neither text nor numbers; convert them with .astype(str).")
    text, given_text = ({isinstance(level, str) for level in some} for some in (levels, given))
    if text and given_text and text.isdisjoint(given_text):
        raise ColumnsError("has text levels on one side and numbers on the other; write them as for fit.")
    place = pd.Index(levels, dtype=object).get_indexer(given.astype(object)).astype(float)
    return np.append(np.where(place < 0, np.nan, place), np.nan)[column.cat.codes]
