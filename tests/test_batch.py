"""Scores of Arrow batches against those of the frames that people see."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from trained_county import junior, trained

from dropout_risk.batch import INFINITE, NO_ID, BatchScorer, batch_scorer, identity_of
from dropout_risk.bundle import Bundle, load_bundle, save_bundle
from dropout_risk.county import newest_day
from dropout_risk.errors import BundleError, ColumnsError, SettingsError
from dropout_risk.flat import FlatTable, score_flat, train_flat
from dropout_risk.pipeline import roster_features, score


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return trained().bundle


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_bundle(bundle, tmp_path_factory.mktemp("batch") / "bundle"))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return roster_features(junior(), newest_day(junior()))


def batch_of(rows: pd.DataFrame) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(rows, preserve_index=False)


def flat_table(n: int = 1_500) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    road = pd.Categorical(rng.choice(["mud", "gravel", "asphalt"], n))
    table = pd.DataFrame({"who": [f"k{i}" for i in range(n)], "absent": rng.poisson(3, n), "road": road})
    table["boards"], table["km"] = rng.random(n) < 0.3, rng.gamma(2, 2, n)
    table.loc[::7, "km"] = np.nan
    chance = 1 / (1 + np.exp(3.5 - 0.5 * table["absent"] - (table["road"] == "mud")))
    return table.assign(left=(rng.random(n) < chance).astype(int), village=rng.integers(0, 40, n))


@pytest.fixture(scope="module")
def flat_bundle() -> Bundle:
    table = FlatTable.of(flat_table(), label="left", group="village", drop=["who"])
    return train_flat(table).bundle


def assert_same_scores(batch: pa.RecordBatch, expected: pd.DataFrame, reasons: list[list], key: str) -> None:
    """Compare a scored batch with the frame and the reasons that `score` gives."""
    found = batch.to_pandas().set_index(key)
    for (name, row), told in zip(expected.set_index(key).iterrows(), reasons, strict=True):
        mine = found.loc[name]
        assert mine["risk"] == pytest.approx(row["risk"], abs=1e-12)
        assert mine["band"] == row["band"]
        for place, reason in enumerate(told, start=1):
            assert mine[f"reason_{place}"] == reason.feature
            assert mine[f"contribution_{place}"] == pytest.approx(reason.contribution, rel=1e-5, abs=1e-6)
            value = reason.value if isinstance(reason.value, float) else np.nan
            assert mine[f"value_{place}"] == pytest.approx(value, rel=1e-6, nan_ok=True)
        assert all(pd.isna(mine[f"reason_{place}"]) for place in range(len(told) + 1, 4))


@pytest.mark.slow
def test_a_batch_gives_the_scores_and_reasons_of_the_county(bundle: Bundle, folder: str, rows: pd.DataFrame) -> None:
    scores = score(junior(), bundle, reasons=3)
    batch = batch_scorer(folder, bundle, reasons=3)(batch_of(rows))
    assert_same_scores(batch, scores.frame, scores.reasons, "student_id")
    assert batch.column("refused").null_count == len(rows)


@pytest.mark.slow
def test_the_models_kinds_give_the_same(flat_bundle: Bundle, tmp_path: Path) -> None:
    table = flat_table()
    table["road"] = table["road"].astype(str).where(table.index % 11 > 0, "ice")  # a level never learned
    scores = score_flat(table, flat_bundle, reasons=3)
    folder = str(save_bundle(flat_bundle, tmp_path / "bundle"))
    scorer = batch_scorer(folder, flat_bundle, reasons=3, identity=("who",))
    frame = scores.frame.assign(who=table["who"].to_numpy()[scores.frame["row"] - 1])
    assert flat_bundle.model.kind_ == "boosted"
    for form in (table, table.assign(road=table["road"].astype("category"))):
        assert_same_scores(scorer(batch_of(form)), frame, scores.reasons, "who")


@pytest.mark.slow
def test_a_logistic_model_gives_the_same(tmp_path: Path) -> None:
    table = flat_table(400)
    bundle = train_flat(FlatTable.of(table, label="left", group="village", drop=["who"])).bundle
    assert bundle.model.kind_ == "logistic"
    scores = score_flat(table, bundle, reasons=3)
    scorer = batch_scorer(str(save_bundle(bundle, tmp_path / "b")), bundle, reasons=3, identity=("who",))
    frame = scores.frame.assign(who=table["who"].to_numpy()[scores.frame["row"] - 1])
    assert_same_scores(scorer(batch_of(table)), frame, scores.reasons, "who")


def test_the_answer_depends_on_nothing_but_the_row(bundle: Bundle, folder: str, rows: pd.DataFrame) -> None:
    scorer = batch_scorer(folder, bundle)
    whole = scorer(batch_of(rows)).to_pandas()
    mixed = rows.sample(frac=1, random_state=1)[list(reversed(rows.columns))]
    parts = [scorer(batch_of(mixed.iloc[start : start + 7])).to_pandas() for start in range(0, 70, 7)]
    expected = whole.set_index("student_id").loc[mixed["student_id"].iloc[:70]].reset_index()
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), expected, check_exact=True)


def test_rows_that_cannot_be_scored_are_refused_and_the_others_are_not_touched(
    bundle: Bundle, folder: str, rows: pd.DataFrame
) -> None:
    scorer = batch_scorer(folder, bundle, lang="en")
    spoilt = rows.copy()
    spoilt.loc[3, "absence_rate"], spoilt.loc[5, "student_id"] = np.inf, None
    found, whole = scorer(batch_of(spoilt)).to_pandas(), scorer(batch_of(rows)).to_pandas()
    assert found["refused"].notna().to_numpy().nonzero()[0].tolist() == [3, 5]
    assert found.loc[3, "refused"] == INFINITE["en"].format(column="absence_rate")
    assert found.loc[5, "refused"] == NO_ID["en"].format(column="student_id")
    assert found.loc[[3, 5], ["risk", "band", "reason_1", "contribution_1"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.drop([3, 5]), whole.drop([3, 5]), check_exact=True)


def test_no_rows_give_no_rows(bundle: Bundle, folder: str, rows: pd.DataFrame) -> None:
    scorer = batch_scorer(folder, bundle)
    assert scorer(batch_of(rows.iloc[:0])).num_rows == 0
    assert scorer(batch_of(rows.iloc[:0])).schema == scorer(batch_of(rows)).schema


def test_every_column_that_does_not_fit_is_named(bundle: Bundle, folder: str, rows: pd.DataFrame) -> None:
    scorer = batch_scorer(folder, bundle)
    spoilt = rows.drop(columns=["school_leaving_rate", "siblings"]).assign(distance_km="far")
    with pytest.raises(ColumnsError) as caught:
        scorer(batch_of(spoilt))
    assert "lacks columns that are needed: school_leaving_rate, siblings" in str(caught.value)
    assert "cannot be made up from the rows of one partition" in str(caught.value)
    assert "'distance_km' is large_string, but the model learned numbers" in str(caught.value)


@pytest.mark.slow
def test_it_travels_without_the_model_and_checks_the_one_it_finds(
    bundle: Bundle, flat_bundle: Bundle, folder: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    scorer = batch_scorer(folder, bundle, reasons=2)
    assert len(pickle.dumps(scorer)) < 1_000
    (tmp_path / "scorer").write_bytes(pickle.dumps(scorer))
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    code = (
        "import pickle, sys, pyarrow.parquet as pq; scorer = pickle.load(open(sys.argv[1], 'rb'));"
        "batch = pq.read_table(sys.argv[2]).combine_chunks().to_batches()[0];"
        "print(sum(scorer(batch)['risk'].to_pylist()).hex()); assert 'mlflow' not in sys.modules"
    )
    words = [sys.executable, "-c", code, tmp_path / "scorer", tmp_path / "rows.parquet"]
    there = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert there == sum(scorer(batch_of(rows))["risk"].to_pylist()).hex()
    other = str(save_bundle(flat_bundle, tmp_path / "other"))
    with pytest.raises(BundleError, match="not 000000000000 that this run began with"):
        BatchScorer(other, "0" * 64)(batch_of(rows))


def test_settings_that_make_no_sense(bundle: Bundle, folder: str) -> None:
    with pytest.raises(SettingsError, match="reasons=0 has to be between 1 and 8"):
        batch_scorer(folder, bundle, reasons=0)
    with pytest.raises(ColumnsError, match="no column 'student_id'.*--id COLUMN.*It has: a, b"):
        identity_of(pa.schema([("a", pa.int8()), ("b", pa.int8())]))
    assert identity_of(pa.schema([("school_id", pa.string()), ("a", pa.int8())]), "a") == ("a", "school_id")


def test_the_model_is_read_once_in_a_process(bundle: Bundle, folder: str) -> None:
    scorer = batch_scorer(folder, bundle)
    scorer.warm_up()
    assert load_bundle(folder).digest == scorer.digest
    assert "absence_rate" in scorer.columns
