"""Training on a real Dask cluster of two workers, against training on one machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropout_risk.bulk.partitions import find_partitions
from dropout_risk.bundle import load_bundle, save_bundle
from dropout_risk.dask_training import _Columns, _fold, _load, _outside, train_on_dask
from dropout_risk.engines import Engine, engine
from dropout_risk.errors import ColumnsError, DropoutRiskError, InputError, SettingsError, TableError
from dropout_risk.metrics import log_loss, roc_auc
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.synthetic import make_county
from dropout_risk.tables import write_tables

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

SETTINGS = {"n_estimators": 60, "n_bags": 3}


def history(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    village = rng.integers(0, 80, n)
    frame = pd.DataFrame({"absent": rng.poisson(3, n), "km": rng.gamma(2, 2, n), "boards": rng.random(n) < 0.3})
    frame["road"] = rng.choice(["mud", "gravel", "asphalt"], n)
    frame.loc[rng.random(n) < 0.1, "km"] = np.nan
    frame.loc[rng.random(n) < 0.05, "road"] = None
    score = 0.5 * frame["absent"] + 1.2 * (frame["road"] == "mud") + 0.5 * np.sin(village) - 4
    left = (rng.random(n) < 1 / (1 + np.exp(-score))).astype(int)
    return frame.assign(village=village, left=left, student=[f"s{i}" for i in range(n)])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Engine]:
    with engine("dask", workers=2) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    rows = history(9_000, 0)
    for number, start in enumerate(range(0, 9_000, 3_000)):
        part = rows.iloc[start : start + 3_000]
        part.to_parquet(folder / f"part-{number}.parquet", index=False, row_group_size=500)
    return folder


def test_as_good_as_on_one_machine_and_a_plain_bundle(cluster: Engine, folder: Path, tmp_path: Path) -> None:
    wanted = DropoutRiskClassifier(**SETTINGS, monotone={"absent": 1})
    bundle = train_on_dask(folder, cluster, label="left", group="village", drop=["student"], settings=wanted)
    rows, test = history(9_000, 0), history(4_000, 1)
    names = ["absent", "km", "boards", "road"]
    rows, test = (frame.assign(road=frame["road"].astype("category")) for frame in (rows, test))
    central = DropoutRiskClassifier(**SETTINGS, monotone={"absent": 1})
    central.fit(rows[names], rows["left"], groups=rows["village"])
    X = test[bundle.model.feature_names]
    mine, theirs = bundle.model.predict_proba(X)[:, 1], central.predict_proba(test[names])[:, 1]
    assert abs(roc_auc(test["left"], mine) - roc_auc(test["left"], theirs)) < 0.01
    assert abs(log_loss(test["left"], mine) - log_loss(test["left"], theirs)) < 0.005
    assert abs(mine.mean() - test["left"].mean()) < 0.01
    assert bundle.data["rows"] == 9_000 and bundle.data["events"] == rows["left"].sum()
    assert abs(bundle.metrics["held_out"]["auc"] - roc_auc(test["left"], mine)) < 0.03
    values, base = bundle.model.contributions(X)
    np.testing.assert_allclose(values.sum(axis=1) + base, bundle.model.decision_function(X), rtol=0, atol=1e-9)
    more = bundle.model.predict_proba(X.assign(absent=X["absent"] + 3))[:, 1]
    assert (more >= mine - 1e-12).all()  # the constraint went to the cluster
    back = load_bundle(save_bundle(bundle, tmp_path / "bundle"))
    assert (back.model.predict_proba(X)[:, 1] == mine).all()
    kept = " ".join(path.read_text("utf-8") for path in (tmp_path / "bundle").iterdir())
    assert not any(word in kept for word in ("127.0.0.1", "machines:", "distributed"))  # nothing of the cluster
    assert bundle.model.kind_reason_ in kept
    assert bundle.model.medians_.loc["all", "absent"] == rows["absent"].median()
    assert bundle.model.modes_.loc["all", "road"] == rows["road"].mode().iloc[0]


def test_files_that_are_ordered_teach_as_much(cluster: Engine, tmp_path: Path) -> None:
    """A file a county: no worker sees all levels, nor all values of a number, by itself."""
    rng = np.random.default_rng(0)
    county = np.sort(rng.integers(0, 12, 6_000))
    effect = rng.permutation(np.linspace(-2, 2, 12))[county]
    rows = pd.DataFrame({"county": np.char.mod("c%02d", county), "post": 20.0 * county + rng.gamma(2, 2, 6_000)})
    rows = rows.assign(left=(rng.random(6_000) < 1 / (1 + np.exp(1 - effect))).astype(int))
    for number in range(4):
        rows.iloc[1_500 * number : 1_500 * (number + 1)].to_parquet(tmp_path / f"{number}.parquet", index=False)
    wanted = DropoutRiskClassifier(n_estimators=30, n_bags=2)
    for unused in ("post", "county"):
        bundle = train_on_dask(tmp_path, cluster, label="left", drop=[unused], settings=wanted)
        assert bundle.metrics["held_out"]["auc"] > roc_auc(rows["left"], effect) - 0.01, unused


def test_groups_never_cross(cluster: Engine, folder: Path, tmp_path: Path) -> None:
    columns = _Columns("left", "village", ("absent",), ())
    partitions = find_partitions(folder, None)
    parts = [_load(one, columns=columns, levels={}, n_bags=3) for one in partitions]
    fold = pd.Series(np.concatenate([one.fold for one in parts]))
    assert (fold.groupby(history(9_000, 0)["village"]).nunique() == 1).all()  # the same in every partition
    assert set(fold) == {0, 1, 2}
    known = {"s01": 2, "s02": 1, "s03": 3, "s04": 3, "42": 2, "里": 1}
    assert {name: _fold(name, 4) for name in known} == known  # the same in every process, unlike hash()
    for one in parts:
        assert len(_outside(one, 1)[1]) == (one.fold != 1).sum()
    rng = np.random.default_rng(1)
    place = rng.integers(0, 60, 3_000)  # known from its own rows only: who learns from the group knows it
    left = (rng.random(3_000) < rng.choice([0.05, 0.95], 60)[place]).astype(int)
    rows = pd.DataFrame({"village": place, "place": rng.permutation(60)[place], "left": left})
    rows.to_parquet(tmp_path / "rows.parquet", index=False, row_group_size=300)
    wanted = DropoutRiskClassifier(n_estimators=20, num_leaves=31, max_depth=-1, n_bags=3)
    across = train_on_dask(tmp_path, cluster, label="left", drop=["village"], settings=wanted)
    within = train_on_dask(tmp_path, cluster, label="left", group="village", settings=wanted)
    assert across.metrics["held_out"]["auc"] > 0.8  # as good as it gets: 0.9
    assert within.metrics["held_out"]["auc"] < 0.65


def test_odd_but_honest_files(cluster: Engine, tmp_path: Path) -> None:
    """Gaps among booleans, a boolean label, a file in which a column has no value, one without rows, two groups."""
    rows = history(3_000, 0).assign(left=lambda frame: frame["left"] == 1, village=lambda frame: frame["village"] % 2)
    rows["boards"] = rows["boards"].astype(object).where(rows.index % 7 > 0, None)
    parts = [rows.iloc[:1_500], rows.iloc[1_500:].assign(road=None, km=None), rows.head(0)]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"{number}.parquet", index=False)
    wanted = DropoutRiskClassifier(n_estimators=5, n_bags=4)
    bundle = train_on_dask(tmp_path, cluster, label="left", group="village", drop=["student"], settings=wanted)
    assert len(bundle.model.boosters_) == 2  # as many as there are groups
    assert bundle.model.categories_ == {"road": ["asphalt", "gravel", "mud"]}
    assert bundle.model.medians_.loc["all", "absent"] == rows["absent"].median()


def test_only_a_dask_cluster_and_a_flat_table(cluster: Engine, tmp_path: Path) -> None:
    with engine("local", workers=1) as here, pytest.raises(SettingsError, match="needs a Dask cluster"):
        train_on_dask(tmp_path, here, label="left")
    write_tables(make_county(60, terms=2, seed=1), tmp_path / "county")
    with pytest.raises(SettingsError, match="holds a county's tables"):
        train_on_dask(tmp_path / "county", cluster, label="left")


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        (lambda rows: rows, {"label": "gone"}, ColumnsError, "There is no column 'gone'"),
        (lambda rows: rows, {"group": "school"}, ColumnsError, "There is no column 'school'"),
        (lambda rows: rows.assign(day=pd.Timestamp("2020-01-01")), {}, ColumnsError, "'day' is timestamp"),
        (lambda rows: rows.assign(left=rows["left"] * 2), {}, InputError, "values of left are not 0 or 1"),
        (lambda rows: rows.assign(village=None), {}, InputError, "rows have no village"),
        (lambda rows: rows.head(500), {}, InputError, "fewer than the 1,000 rows and 100 events"),
        (lambda rows: rows.assign(left=rows["left"].map({0: "no", 1: "yes"})), {}, ColumnsError, "'left' is text"),
        (lambda rows: rows.assign(village=7), {}, InputError, "too few groups to hold any out"),
        (lambda rows: rows.assign(km=np.inf), {}, ColumnsError, "Column 'km' of rows.parquet has 1500 infinite"),
        (lambda rows: rows, {"drop": []}, ColumnsError, "identifiers or free text; name them in drop: student"),
        (lambda rows: rows.rename(columns={"road": "Name"}), {}, ColumnsError, "'Name' is never a feature"),
        (lambda rows: rows, {"drop": ["student", "left"]}, ColumnsError, "'left' is named twice"),
        (lambda rows: rows[["left", "village", "student"]], {}, ColumnsError, "no column left to learn from"),
        (lambda rows: rows, {"settings": DropoutRiskClassifier(n_bags=1)}, SettingsError, "n_bags=1 has to be"),
        (lambda rows: rows, {"settings": DropoutRiskClassifier(small_data="logistic")}, SettingsError, "one machine"),
    ],
)
def test_what_cannot_be_learned_from_is_told(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    options: dict[str, object],
    error: type[DropoutRiskError],
    words: str,
    cluster: Engine,
    tmp_path: Path,
) -> None:
    change(history(1_500, 0)).to_parquet(tmp_path / "rows.parquet", index=False)
    with pytest.raises(error, match=words):
        train_on_dask(
            tmp_path / "rows.parquet", cluster, **{"label": "left", "group": "village", "drop": ["student"], **options}
        )


def test_a_source_that_is_not_there(cluster: Engine, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file or folder"):
        train_on_dask(tmp_path / "nothing", cluster, label="left")
