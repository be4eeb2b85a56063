"""Splits that respect time: train on what was known, test on the term that came after."""

from collections.abc import Iterator
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from dropout_risk.errors import SettingsError

Rows = npt.NDArray[np.intp]


class TermSplit(BaseCrossValidator):
    """Split stacked terms by time: each test term is scored by what was known at its end.

    A row of term `i` holds what was known at the end of term `i`; whether the student left is seen
    during the next `horizon` terms, so it is known when term ``i + horizon`` is over. The test term
    `T` is scored at its own end, so the rows to learn from are those with ``i <= T - horizon - gap``.
    With five terms, `x` for train, `T` for test and a dot for rows that are left out::

        horizon=1, gap=0        horizon=2, gap=0        horizon=1, gap=1
        0 1 2 3 4               0 1 2 3 4               0 1 2 3 4
        x T                     x . T                   x . T
        x x T                   x x . T                 x x . T
        x x x T                 x x x . T               x x x . T
        x x x x T

    Parameters
    ----------
    n_splits : "auto" or int
        How many test terms: ``"auto"`` takes every term that has enough terms before it, a number the
        last so many of them.
    gap : int
        Terms left out between train and test besides those that `horizon` asks for, for outcomes that
        reach the office late.
    min_train_terms : int
        Number of terms with rows that a train part must have.
    horizon : int
        Number of terms after the as-of date in which the outcome is watched.
    hold_out_groups : bool
        Whether the groups of the test rows (schools, students) are taken out of the train part.
        Off, a student of the test term stays in train with earlier terms, as in daily use; on, the
        split tells how the model does for groups that it has never seen.

    See Also
    --------
    dropout_risk.model.DropoutRiskClassifier : Deals whole groups when it calibrates.

    Examples
    --------
    >>> import numpy as np
    >>> term = np.array(["2024-1", "2024-1", "2024-2", "2025-1", "2025-1"])
    >>> for train, test in TermSplit().split(np.zeros((5, 1)), term=term):
    ...     print(train, test)
    [0 1] [2]
    [0 1 2] [3 4]

    Anything of scikit-learn that takes a splitter takes the list of splits:

    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = np.zeros((5, 1)), np.array([0, 1, 0, 1, 0])
    >>> splits = list(TermSplit(2).split(X, term=term))
    >>> cross_val_score(DummyClassifier(), X, y, cv=splits)
    array([1. , 0.5])
    """

    # With metadata routing on, `cross_validate(..., params={"term": term})` reaches `split`.
    __metadata_request__split = {"groups": True, "term": True}

    def __init__(
        self,
        n_splits: int | Literal["auto"] = "auto",
        *,
        gap: int = 0,
        min_train_terms: int = 1,
        horizon: int = 1,
        hold_out_groups: bool = False,
    ) -> None:
        self.n_splits = n_splits
        self.gap = gap
        self.min_train_terms = min_train_terms
        self.horizon = horizon
        self.hold_out_groups = hold_out_groups

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None, *, term: Any = None) -> int:
        """Return how many pairs `split` yields.

        Parameters
        ----------
        X, y, groups
            Not used; present because scikit-learn passes them.
        term : array-like of shape (n_samples,)
            Term of each row; only needed when `n_splits` is ``"auto"``.

        Returns
        -------
        int
            Number of test terms.

        Raises
        ------
        SettingsError
            When `term` is needed and missing, or cannot be split.

        Examples
        --------
        >>> TermSplit().get_n_splits(term=[1, 1, 2, 3])
        2
        """
        if self.n_splits != "auto":
            self._check_settings()
            return self.n_splits
        return len(self._test_terms(self._term_index(term)))

    def split(
        self, X: Any = None, y: Any = None, groups: Any = None, *, term: Any = None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Yield the train rows and the test rows of each test term, oldest first.

        Parameters
        ----------
        X, y : array-like of shape (n_samples, ...), optional
            Only their length is looked at.
        groups : array-like of shape (n_samples,), optional
            Unit that `hold_out_groups` keeps apart.
        term : array-like of shape (n_samples,)
            Term of each row: numbers, dates or text in sorted order, or an ordered pandas categorical,
            whose categories are the calendar (a term without rows still takes up time).

        Yields
        ------
        train, test : ndarray of int
            Positions of rows, in ascending order.

        Raises
        ------
        SettingsError
            When a setting makes no sense, or the terms do not allow a split.
        """
        index = self._term_index(term, X=X, y=y)
        group = self._group_code(groups, len(index))
        for tested in self._test_terms(index):
            test = index == tested
            train = index <= tested - self.horizon - self.gap
            if self.hold_out_groups:
                train &= ~np.isin(group, group[test])
            if not train.any():
                raise SettingsError(
                    "After the groups of the test term are taken out no row is left to learn from: every "
                    "group of the earlier terms is in the test term too. Set hold_out_groups=False, or pass "
                    "a larger unit as groups."
                )
            yield np.flatnonzero(train), np.flatnonzero(test)

    def _check_settings(self) -> None:
        lowest = {"gap": 0, "min_train_terms": 1, "horizon": 1}
        if self.n_splits != "auto":
            lowest["n_splits"] = 1
        problems = [
            f"{name}={getattr(self, name)!r} has to be a whole number of at least {bound}."
            for name, bound in lowest.items()
            if not _is_whole(getattr(self, name)) or getattr(self, name) < bound
        ]
        if problems:
            raise SettingsError("TermSplit: " + " ".join(problems))

    def _term_index(self, term: Any, **others: Any) -> npt.NDArray[np.int64]:
        """Return each row's place in the calendar, after every check of the arguments."""
        self._check_settings()
        if term is None:
            raise SettingsError("TermSplit needs the term of each row: split(X, y, groups, term=term).")
        labels = pd.Series(term).reset_index(drop=True)
        problems = [
            f"{name} has {len(values)} rows but term has {len(labels)}; pass one term for each row."
            for name, values in others.items()
            if values is not None and len(values) != len(labels)
        ]
        if (empty := np.flatnonzero(labels.isna())).size:
            problems.append(
                f"{empty.size} rows have no term (first: row {empty[0]}, counted from 0); "
                "leave them out or fill them in."
            )
        if problems:
            raise SettingsError(" ".join(problems))
        if isinstance(labels.dtype, pd.CategoricalDtype) and labels.cat.ordered:
            return labels.cat.codes.to_numpy().astype(np.int64)
        try:
            return np.unique(labels.to_numpy(), return_inverse=True)[1].astype(np.int64)
        except TypeError:
            raise SettingsError(
                "The terms cannot be put in order because they mix numbers and text; write all of them in one way."
            ) from None

    def _group_code(self, groups: Any, n_rows: int) -> npt.NDArray[np.int64]:
        if not self.hold_out_groups:
            return np.empty(0, dtype=np.int64)
        if groups is None or len(groups) != n_rows:
            given = "none were passed" if groups is None else f"{len(groups)} were passed for {n_rows} rows"
            raise SettingsError(f"hold_out_groups=True needs the group of each row; {given}.")
        codes = pd.factorize(pd.Series(groups))[0]
        if (empty := np.flatnonzero(codes < 0)).size:
            raise SettingsError(
                f"{empty.size} rows have no group (first: row {empty[0]}, counted from 0); "
                "hold_out_groups=True cannot tell where they belong."
            )
        return codes.astype(np.int64)

    def _test_terms(self, index: npt.NDArray[np.int64]) -> list[int]:
        """Return the test terms, oldest first: those with enough terms known before them."""
        present = np.unique(index)
        known = np.searchsorted(present, present - self.horizon - self.gap, side="right")
        tested = cast(list[int], present[known >= self.min_train_terms].tolist())
        wanted = 1 if self.n_splits == "auto" else self.n_splits
        if len(tested) < wanted:
            raise SettingsError(
                f"The rows cover {present.size} terms, which gives {len(tested)} test terms, but {wanted} "
                f"are asked for (horizon={self.horizon}, gap={self.gap}, "
                f"min_train_terms={self.min_train_terms}). Add earlier terms, or ask for less."
            )
        return tested if self.n_splits == "auto" else tested[-self.n_splits :]


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
