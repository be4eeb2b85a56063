"""A data scientist's own table: roles, splits, what is refused, and what is never a feature."""

import numpy as np
import pandas as pd
import pytest

from dropout_risk.errors import ColumnsError, SettingsError, TableError
from dropout_risk.flat import FlatTable, score_flat, train_flat


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 900
    table = pd.DataFrame(
        {
            "absent": rng.poisson(2, n).astype(float),
            "work": rng.choice(["none", "farm", "shop"], n),
            "poor": rng.random(n) < 0.3,
            "village": rng.integers(0, 45, n),
            "year": rng.integers(2010, 2014, n),
        }
    )
    table["fold"] = table["village"] % 3
    table["part"] = np.where(table["village"] < 30, "train", "test")
    table["rule"] = (table["absent"] > 3).astype(int)
    table["y"] = (rng.random(n) < 1 / (1 + np.exp(3 - 0.8 * table["absent"]))).astype(int)
    table.loc[::9, "absent"] = np.nan
    return table


ROLES = {"label": "y", "group": "village", "baseline": "rule", "drop": ["year", "fold", "part"]}


def without(*names: str) -> dict[str, object]:
    return {**ROLES, "drop": [name for name in ("year", "fold", "part") if name not in names]}


def test_roles_are_never_features(frame: pd.DataFrame) -> None:
    table = FlatTable.of(frame, **without("fold"), fold="fold")
    assert list(table.X.columns) == ["absent", "work", "poor"]
    assert isinstance(table.X["work"].dtype, pd.CategoricalDtype)
    assert table.baseline is not None and len(table.baseline) == len(frame)


def test_every_row_is_tested_once_by_a_model_of_other_folds(frame: pd.DataFrame) -> None:
    table = FlatTable.of(frame, **without("fold"), fold="fold")
    tested = np.concatenate([test for _, test in table.splits])
    assert sorted(tested) == list(range(len(frame)))
    for train, test in table.splits:
        assert not set(frame["fold"].iloc[train]) & set(frame["fold"].iloc[test])


def test_split_and_time_keep_their_order(frame: pd.DataFrame) -> None:
    (named,) = FlatTable.of(frame, **without("part"), split="part").splits
    assert set(frame["part"].iloc[named[1]]) == {"test"}
    for train, test in FlatTable.of(frame, **without("year"), time="year").splits:
        assert frame["year"].iloc[train].max() < frame["year"].iloc[test].min()


def test_a_group_on_both_sides_is_not_learned_from(frame: pd.DataFrame) -> None:
    frame["fold"] = np.arange(len(frame)) % 3  # every village is in every fold
    table = FlatTable.of(frame, **without("fold"), fold="fold")
    for train, test in table.splits:
        assert not set(frame["village"].iloc[train]) & set(frame["village"].iloc[test])
    assert any("groups that are also in the test part" in note for note in table.notes)


def test_rows_without_a_label_are_counted(frame: pd.DataFrame) -> None:
    frame["y"] = frame["y"].astype(float)
    frame.loc[:9, "y"] = np.nan
    table = FlatTable.of(frame, **ROLES)
    assert len(table.y) == len(frame) - 10
    assert "10 of 900 rows have no label" in table.notes[0]


@pytest.mark.parametrize(
    ("change", "roles", "error", "sentence"),
    [
        ({}, {"fold": "fold", "split": "part"}, SettingsError, "Choose one of"),
        ({"姓名": "王小明"}, {}, ColumnsError, "'姓名' is never a feature"),
        ({"religion": 1}, {}, ColumnsError, "'religion' is never a feature"),
        ({"note": lambda f: [f"text {i}" for i in range(len(f))]}, {}, ColumnsError, "looks like an identifier"),
        ({"seen": pd.Timestamp("2020-01-01")}, {}, ColumnsError, "holds dates"),
        ({"y": 1}, {}, TableError, "holds only 1"),
        ({"y": "left"}, {}, TableError, "neither 0 nor 1"),
        ({"fold": 1}, {"fold": "fold"}, SettingsError, "at least two folds"),
        ({"part": "train"}, {"split": "part"}, SettingsError, "train and test"),
        ({"year": 2010}, {"time": "year"}, SettingsError, "one time only"),
        ({}, {"group": "y"}, ColumnsError, "named as label and group"),
        ({"village": 1}, {}, SettingsError, "one group only"),
    ],
)
def test_what_cannot_be_used_is_told(
    frame: pd.DataFrame, change: dict, roles: dict, error: type[Exception], sentence: str
) -> None:
    for name, value in change.items():
        frame[name] = value(frame) if callable(value) else value
    with pytest.raises(error, match=sentence):
        FlatTable.of(frame, **{**without(*roles.values()), **roles})


def test_all_faults_of_columns_are_told_at_once(frame: pd.DataFrame) -> None:
    with pytest.raises(ColumnsError) as caught:
        FlatTable.of(frame.assign(phone="1", address="x"), label="nowhere", drop=["gone"])
    assert all(word in str(caught.value) for word in ("nowhere", "gone", "phone", "address"))


def test_shuffled_columns_and_extra_ones_score_the_same(frame: pd.DataFrame) -> None:
    bundle = train_flat(FlatTable.of(frame, **ROLES)).bundle
    scores = score_flat(frame, bundle, lang="en")
    other = score_flat(frame[frame.columns[::-1]].assign(extra=1), bundle, lang="en")
    pd.testing.assert_frame_equal(scores.frame, other.frame, check_exact=True)
    assert sorted(scores.frame["row"]) == list(range(1, len(frame) + 1))
    with pytest.raises(ColumnsError, match="absent, work"):
        score_flat(frame.drop(columns=["absent", "work"]), bundle)
