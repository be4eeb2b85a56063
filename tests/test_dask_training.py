"""Training on a real Dask cluster of two workers, against training on one machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropout_risk.bundle import load_bundle, save_bundle
from dropout_risk.dask_training import _fold, train_on_dask
from dropout_risk.engines import Engine, engine
from dropout_risk.errors import ColumnsError, DropoutRiskError, InputError, SettingsError, TableError
from dropout_risk.metrics import log_loss, roc_auc
from dropout_risk.model import DropoutRiskClassifier

pytest.importorskip("distributed")
# LightGBM builds its Dask estimators and scikit-learn's checks of them warn; nothing of it is ours.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:lightgbm")]

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
    assert b"dask" not in (tmp_path / "bundle/model.json").read_bytes()
    usual = bundle.model.medians_.loc["all"]
    assert (
        usual["absent"] == rows["absent"].median()
        and bundle.model.modes_.loc["all", "road"] == (rows["road"].mode().iloc[0])
    )


def test_groups_never_cross() -> None:
    folds = {name: {_fold(name, 4) for _ in range(3)} for name in range(400)}
    assert all(len(found) == 1 for found in folds.values())
    sizes = np.bincount([next(iter(found)) for found in folds.values()], minlength=4)
    assert sizes.min() > 60


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        (lambda rows: rows, {"label": "gone"}, ColumnsError, "There is no column 'gone'"),
        (lambda rows: rows, {"group": "school"}, ColumnsError, "There is no column 'school'"),
        (lambda rows: rows.assign(day=pd.Timestamp("2020-01-01")), {}, ColumnsError, "'day' is timestamp"),
        (lambda rows: rows.assign(left=rows["left"] * 2), {}, InputError, "values of left are not 0 or 1"),
        (lambda rows: rows.assign(village=None), {}, InputError, "rows have no village"),
        (lambda rows: rows.head(500), {}, InputError, "fewer than the 1,000 rows and 100 events"),
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
