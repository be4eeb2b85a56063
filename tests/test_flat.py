"""A data scientist's own table: roles, splits, what is refused, and what is never a feature."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from dropout_risk.errors import ColumnsError, SettingsError, TableError
from dropout_risk.flat import FlatTable, score_flat, train_flat
from dropout_risk.metrics import at_capacity
from dropout_risk.training import Training


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
    assert any("groups that are also in the test part" in note["en"] for note in table.notes)
    assert any("也出现在测试部分" in note["zh"] for note in table.notes)


def test_rows_without_a_label_are_counted(frame: pd.DataFrame) -> None:
    frame["y"] = frame["y"].astype(float)
    frame.loc[:9, "y"] = np.nan
    table = FlatTable.of(frame, **ROLES)
    assert len(table.y) == len(frame) - 10
    assert table.unlabelled == 10
    assert "10 of 900 rows have no label" in table.notes[0]["en"]
    assert "900 行中有 10 行没有结果标签" in table.notes[0]["zh"]


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


@pytest.mark.slow
def test_shuffled_columns_and_extra_ones_score_the_same(frame: pd.DataFrame) -> None:
    bundle = train_flat(FlatTable.of(frame, **ROLES)).bundle
    scores = score_flat(frame, bundle, lang="en")
    other = score_flat(frame[frame.columns[::-1]].assign(extra=1), bundle, lang="en")
    pd.testing.assert_frame_equal(scores.frame, other.frame, check_exact=True)
    assert sorted(scores.frame["row"]) == list(range(1, len(frame) + 1))
    with pytest.raises(ColumnsError, match="absent, work"):
        score_flat(frame.drop(columns=["absent", "work"]), bundle)


@pytest.mark.parametrize(
    ("roles", "en", "zh"),
    [
        ({"fold": "fold"}, "pooled over the 3 folds of fold", "按“fold”列的 3 折合并"),
        ({"split": "part"}, "rows marked test in part", "“part”列标为 test 的行"),
        ({"time": "year"}, "out of time by year: each of the last 3", "按“year”列的时间外推：最近 3 期"),
        ({}, "5 folds of groups", "按组分成 5 折"),
        ({"group": None}, "5 random folds of rows: too kind", "随机分成 5 折"),
    ],
)
def test_how_rows_were_split_is_said_in_both_languages(frame: pd.DataFrame, roles: dict, en: str, zh: str) -> None:
    table = FlatTable.of(frame, **{**without(*roles.values()), **roles})
    assert table.validation["en"].startswith(en)
    assert table.validation["zh"].startswith(zh)


@pytest.fixture(scope="module")
def module_frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 1200
    frame = pd.DataFrame(
        {
            "absent": rng.poisson(2, n).astype(float),
            "work": rng.choice(["none", "farm", "shop"], n),
            "poor": rng.random(n) < 0.3,
            "grade": rng.choice(["A", "B", "C"], n),
            "village": rng.integers(0, 40, n),
        }
    )
    frame["y"] = (rng.random(n) < 1 / (1 + np.exp(2.5 - 0.8 * frame["absent"] + frame["poor"]))).astype(int)
    frame.loc[::9, "absent"] = np.nan
    frame.loc[::7, "work"] = None
    return frame


@pytest.fixture(scope="module")
def trained(module_frame: pd.DataFrame) -> Training:
    return train_flat(FlatTable.of(module_frame, label="y", group="village"), created=date(2026, 11, 22))


def test_the_assessment_of_a_flat_table_has_every_part_of_the_contract(trained: Training) -> None:
    made = trained.bundle.metrics
    assert made == trained.assessment.to_dict()
    json.dumps(made, allow_nan=False)
    assert [made[name] for name in ("held_out", "sensitive", "stability", "help", "oracle")] == [None] * 5
    assert made["coverage"] == {"rows_in": 1200, "scored": 1200, "share": 1.0, "causes": []}
    assert made["data"]["rows"] == 1200
    assert made["evaluation"]["per_group"] == []
    assert {row["feature"] for row in made["missing"]} == {"absent", "work"}
    assert sum(row["share"] for row in made["drivers"]["groups"]) == pytest.approx(1)
    assert made["reasons"] and all(one["reasons"]["zh"] and one["reasons"]["en"] for one in made["reasons"])


def test_the_columns_of_a_flat_table_are_called_by_their_names(trained: Training) -> None:
    """Its `grade` is a letter and no school grade: nothing that the package knows of its own `grade` may be said."""
    made = trained.bundle.metrics
    for row in [*made["drivers"]["features"], *made["missing"]]:
        assert row["zh"] == row["en"] == row["feature"]
    assert {row["group"] for row in made["drivers"]["groups"]} == {"absent", "work", "poor", "grade"}
    assert all(row["zh"] == row["en"] == row["group"] for row in made["drivers"]["groups"])


@pytest.mark.slow
def test_a_column_from_after_the_outcome_raises_the_alarm_that_names_it(module_frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(5)
    leaky = module_frame.assign(days_gone=np.where(module_frame["y"] == 1, 60.0, 1.0) + rng.normal(0, 6, 1200))
    made = train_flat(FlatTable.of(leaky, label="y", group="village")).assessment.to_dict()
    assert {alarm["kind"] for alarm in made["alarms"]} == {"auc", "gain"}
    for alarm in made["alarms"]:
        assert alarm["feature"] == "days_gone"
        assert alarm["figure"] > alarm["ceiling"]
        assert "days_gone" in alarm["zh"] and "days_gone" in alarm["en"]


def test_an_honest_table_raises_no_alarm_about_its_accuracy(trained: Training) -> None:
    assert "auc" not in {alarm["kind"] for alarm in trained.assessment.to_dict()["alarms"]}


@pytest.mark.slow
def test_the_baseline_is_judged_and_never_learned(frame: pd.DataFrame) -> None:
    table = FlatTable.of(frame, **ROLES)
    found = train_flat(table)
    assert "rule" not in found.bundle.model.feature_names
    assert set(found.evaluation.rules) == {"baseline"}
    tested = table.trial.tested
    by_hand = at_capacity(table.y[tested], frame["rule"].to_numpy(dtype=float)[tested], 0.1)
    assert found.evaluation.rules["baseline"]["recall_at_10"].value == pytest.approx(by_hand.recall)


def test_a_county_bundle_scores_no_flat_table(frame: pd.DataFrame, trained: Training) -> None:
    county = replace(trained.bundle, kind="county")
    with pytest.raises(SettingsError, match="trained on a county's tables"):
        score_flat(frame, county)
