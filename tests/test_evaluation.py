"""Scores from models that have not seen the row, and figures that say honestly what they are worth."""

import dataclasses
import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from dropout_risk.errors import SettingsError
from dropout_risk.evaluation import Interval, cross_scores, evaluate
from dropout_risk.metrics import bootstrap, draw_groups


def simulate(n=3000, n_groups=60, seed=0):
    """Students of schools that differ, with their true risk."""
    rng = np.random.default_rng(seed)
    school = rng.integers(0, n_groups, n)
    logit = rng.normal(-2.5, 1.0, n) + rng.normal(0, 0.5, n_groups)[school]
    risk = 1 / (1 + np.exp(-logit))
    return (rng.random(n) < risk).astype(float), risk, school


@pytest.fixture(scope="module")
def found():
    """One evaluation with everything in it: 20 rows left out, a good peer, a poor rule, small cells."""
    rng = np.random.default_rng(1)
    y, risk, school = simulate()
    given = risk.copy()
    y[:10], given[10:20] = np.nan, np.nan
    by = pd.DataFrame({"sex": rng.choice(["female", "male"], 3000), "village": ["big"] * 2990 + ["tiny"] * 10})
    by.loc[2985:2989, "village"] = None
    return evaluate(
        y,
        given,
        groups=school,
        term=np.where(np.arange(3000) < 1500, "2024-1", "2024-2"),
        rules={"absent": np.round(risk + rng.normal(0, 0.1, 3000), 1), "coin": rng.random(3000)},
        peers={"twin": risk, "blurred": np.clip(risk + rng.normal(0, 0.1, 3000), 0, 1)},
        by=by,
        n_boot=200,
    )


class Recorder(ClassifierMixin, BaseEstimator):
    """A classifier that gives the mean of the labels it saw, and notes what it was fitted with."""

    seen: list = []

    def __init__(self, note=None):
        self.note = note

    def fit(self, X, y, groups=None, term=None):
        self.classes_ = np.unique(y)
        self.mean_ = np.mean(y)
        self.seen.append((list(X.index), list(groups), term, self.note))
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.mean_, self.mean_], (len(X), 1))


def test_cross_scores_are_those_of_scikit_learn():
    y, risk, school = simulate(500)
    X = np.column_stack([np.log(risk), school])
    splits = list(GroupKFold(4).split(X, y, school))
    expected = cross_val_predict(LogisticRegression(), X, y, cv=splits, method="predict_proba")[:, 1]
    np.testing.assert_allclose(cross_scores(LogisticRegression(), X, y, splits, groups=school), expected)


def test_cross_scores_hands_on_the_right_rows():
    X = pd.DataFrame({"absent": range(8)}, index=list("abcdefgh"))
    y = [0, 1, 1, np.nan, 0, 1, 0, 1]
    train = np.array([True, True, True, True, False, False, False, False])
    Recorder.seen.clear()
    estimator, progress = Recorder(note="kept"), []
    risk = cross_scores(
        estimator,
        X,
        y,
        [(train, ~train), ([5, 6], [3])],
        groups=list("ssttuuvv"),
        progress=lambda done, total: progress.append((done, total)),
    )
    assert Recorder.seen == [(["a", "b", "c"], ["s", "s", "t"], None, "kept"), (["f", "g"], ["u", "v"], None, "kept")]
    np.testing.assert_allclose(risk, [np.nan, np.nan, np.nan, 0.5, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert progress == [(1, 2), (2, 2)]
    assert not hasattr(estimator, "mean_")


def test_splits_that_would_flatter_are_refused_all_at_once():
    X, y = np.zeros((6, 1)), [0, 1, 0, 1, 0, 0]
    with pytest.raises(SettingsError) as caught:
        cross_scores(LogisticRegression(), X, y, [([0, 1, 2], [2, 3]), ([4, 5], [3])])
    for part in ("split 1 learns from 1 of the rows", "split 2 learns from students of one outcome", "1 rows are"):
        assert part in str(caught.value)


def test_figures_equal_scikit_learn_on_the_judged_rows(found):
    y, risk, _ = simulate()
    y, risk = y[20:], risk[20:]
    assert (found.n_rows, found.n_left_out, found.n_groups) == (2980, 20, 60)
    assert found.base_rate == pytest.approx(y.mean())
    assert found.metrics["auc"].value == pytest.approx(roc_auc_score(y, risk))
    assert found.metrics["average_precision"].value == pytest.approx(average_precision_score(y, risk))
    listed = np.argsort(-risk)[:298]
    assert found.metrics["recall_at_10"].value == pytest.approx(y[listed].sum() / y.sum())
    assert found.metrics["precision_at_10"].value == pytest.approx(y[listed].mean())
    assert set(found.metrics) - set(found.rules["coin"]) == {"brier", "log_loss", "ece"}
    assert set(found.peers["twin"]) == set(found.metrics)


def test_intervals_hold_their_value_and_are_in_order(found):
    for figures in (found.metrics, *found.rules.values(), *found.peers.values()):
        for figure in figures.values():
            assert figure.low < figure.value < figure.high


def test_an_identical_model_differs_by_exactly_nothing(found):
    assert set(found.differences["twin"].values()) == {Interval(0.0, 0.0, 0.0)}
    for metric in found.metrics:
        assert not found.better_than("twin", metric)
        assert not found.worse_than("twin", metric)


def test_paired_difference_is_narrower_than_its_parts(found):
    difference = found.differences["blurred"]["auc"]
    assert difference.value == pytest.approx(found.metrics["auc"].value - found.peers["blurred"]["auc"].value)
    width, ours, other = (
        figure.high - figure.low for figure in (difference, found.metrics["auc"], found.peers["blurred"]["auc"])
    )
    assert width < 0.9 * np.hypot(ours, other)


def test_better_is_judged_in_the_direction_of_the_figure(found):
    assert found.better_than("blurred")
    assert found.better_than("blurred", "log_loss")
    assert not found.worse_than("blurred", "log_loss")
    y, risk, school = simulate()
    other_way = evaluate(y, np.full(3000, 0.5), groups=school, peers={"true": risk}, n_boot=50)
    assert other_way.worse_than("true", "log_loss")
    assert other_way.worse_than("true", "auc")
    assert not other_way.better_than("true", "log_loss")


@pytest.mark.slow
def test_intervals_cover_the_truth():
    """Over 200 samples of schools, 95 % intervals hold the figure of the whole population about as often."""
    truth = {}
    y, risk, _ = simulate(400_000, n_groups=8000, seed=99)
    truth["auc"] = roc_auc_score(y, risk)
    truth["recall_at_10"] = y[np.argsort(-risk)[:40_000]].sum() / y.sum()
    held = dict.fromkeys(truth, 0)
    for seed in range(200):
        y, risk, school = simulate(1500, seed=seed)
        metrics = evaluate(y, risk, groups=school, n_boot=200).metrics
        for name, value in truth.items():
            held[name] += metrics[name].low <= value <= metrics[name].high
    assert all(180 <= count <= 199 for count in held.values()), held


def test_schools_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    school = np.repeat(np.arange(20), 100)
    y = (rng.random(2000) < np.repeat(rng.beta(0.5, 2, 20), 100)).astype(int)
    risk = np.full(2000, y.mean())
    by_school = evaluate(y, risk, groups=school).metrics["brier"]
    by_row = evaluate(y, risk).metrics["brier"]
    assert by_school.high - by_school.low > 2 * (by_row.high - by_row.low)


def test_one_group_has_no_interval():
    y, risk, _ = simulate(300)
    figure = evaluate(y, risk, groups=["only"] * 300).metrics["auc"]
    assert figure.value > 0.5
    assert np.isnan([figure.low, figure.high]).all()
    assert "nan" not in evaluate(y, risk, groups=["only"] * 300, rules={"same": risk}).to_text()


def test_interval_of_the_calibration_error_is_freed_of_the_bias_of_resampling():
    y, risk, school = simulate()
    raw = bootstrap(y, risk, draws=draw_groups(school))["ece"]
    ece = evaluate(y, risk, groups=school).metrics["ece"]
    assert raw.mean() > 1.1 * ece.value
    assert ece.high == pytest.approx(np.quantile(raw, 0.975) - (raw.mean() - ece.value))
    assert 0 <= ece.low < ece.value


def test_subgroups_share_one_list_and_small_ones_are_hidden(found):
    y, risk, _ = simulate()
    cells = found.per_group.set_index(["column", "level"])
    women = cells.loc[("sex", "female")]
    sexes = cells.loc[[("sex", "female"), ("sex", "male")]]
    assert sexes["listed"].sum() == pytest.approx(298)
    assert sexes["rows"].sum() == 2980
    overall = (sexes["recall"] * sexes["events"]).sum() / sexes["events"].sum()
    assert overall == pytest.approx(found.metrics["recall_at_10"].value)
    assert women["recall_low"] < women["recall"] < women["recall_high"]
    for level in ("tiny", "not recorded"):
        hidden = cells.loc[("village", level)]
        assert hidden["suppressed"]
        assert hidden.drop("suppressed").isna().all()
    assert {"tiny", "not recorded"} <= set(cells.loc["village"].index)


def test_a_subgroup_of_nine_or_with_four_events_is_hidden():
    y = np.r_[np.ones(9), np.ones(4), np.zeros(100), np.ones(5), np.zeros(5)]
    cell = ["nine"] * 9 + ["four events"] * 104 + ["just enough"] * 10
    cells = evaluate(y, np.linspace(0, 1, 123), by=pd.DataFrame({"cell": cell}), n_boot=5).per_group
    assert dict(zip(cells["level"], cells["suppressed"], strict=True)) == {
        "four events": True, "just enough": False, "nine": True,
    }  # fmt: skip


def test_terms_each_have_a_list_of_their_own(found):
    y, risk, _ = simulate()
    first = slice(20, 1500)
    row = found.per_term.set_index("term").loc["2024-1"]
    assert row["auc"] == pytest.approx(roc_auc_score(y[first], risk[first]))
    listed = np.argsort(-risk[first])[:148]
    assert row["recall_at_10"] == pytest.approx(y[first][listed].sum() / y[first].sum())
    assert row["recall_at_10_low"] < row["recall_at_10"] < row["recall_at_10_high"]
    assert found.per_term["rows"].sum() == found.n_rows


def test_ties_of_a_coarse_rule_are_bounded(found):
    cut = found.ties["absent"]["10"]
    assert cut.recall == pytest.approx(found.rules["absent"]["recall_at_10"].value)
    assert cut.recall_worst < cut.recall < cut.recall_best
    assert cut.ties > 0
    assert found.ties["model"]["10"].ties == 0


def test_json_round_trip(found):
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["rows"] == 2980
    assert plain["metrics"]["auc"] == dataclasses.asdict(found.metrics["auc"])
    assert plain["peers"]["blurred"]["ece"]["value"] == found.peers["blurred"]["ece"].value
    assert set(plain["differences"]) == {"absent", "coin", "twin", "blurred"}
    assert [row["term"] for row in plain["per_term"]] == ["2024-1", "2024-2"]
    hidden = [row for row in plain["per_group"] if row["suppressed"]]
    assert [row["recall"] for row in hidden] == [None, None]
    alone = evaluate([0, 0, 1], [0.1, 0.2, 0.3], groups=[1, 1, 1]).to_dict()
    assert alone["metrics"]["auc"] == {"value": 1.0, "low": None, "high": None}


def test_text_begins_with_the_honest_comparison(found):
    first, second, *rest = found.to_text().splitlines()
    recall = found.metrics["recall_at_10"]
    percent = [f"{100 * figure:.0f}" for figure in (recall.value, recall.low, recall.high)]
    assert first.startswith(
        f"At the same capacity (10 %) the model finds {percent[0]} % of the students who left "
        f"[{percent[1]}–{percent[2]}]; the rule absent finds "
    )
    assert "the rule coin finds" in second
    names = [line.split("  ")[0] for line in rest]
    assert names.index("the model") < names.index("twin") < names.index("blurred") < names.index("absent")
    assert any(line.startswith("absent: ") and "share the score at the cut" in line for line in rest)
    assert any("too few to show" in line for line in rest)


def test_text_admits_a_rule_that_is_as_good_or_better():
    y, risk, school = simulate()
    same = evaluate(y, risk, groups=school, rules={"same": risk * 7}, n_boot=50)
    assert same.to_text().splitlines()[0].endswith("difference +0 points [+0, +0], no clear difference.")
    noise = np.random.default_rng(0).random(3000)
    worse = evaluate(y, noise, groups=school, rules={"absent": risk}, n_boot=50)
    assert worse.to_text().splitlines()[0].endswith("the rule finds more.")
    assert "no simple rule was given" in evaluate(y, risk, n_boot=5).to_text()


def test_chinese_text_lines_up(found):
    lines = found.to_text("zh").splitlines()
    assert lines[0].startswith("在同样的名额下（10 %），模型找到")
    head = next(i for i, line in enumerate(lines) if "对数损失" in line)

    def width(text):
        return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)

    column = width(lines[head].split("AP")[0])
    for line in lines[head + 1 : head + 6]:
        cut = next(i for i in range(len(line) + 1) if width(line[:i]) == column)
        assert line[cut - 1] == " "
        assert line[cut] == "0"
    with pytest.raises(SettingsError, match="no texts in 'fr'"):
        found.to_text("fr")


def test_nothing_to_compare_with_is_said(found):
    with pytest.raises(SettingsError, match="not compared with 'xgboost'; it was with: absent, coin, twin"):
        found.better_than("xgboost")
    with pytest.raises(SettingsError, match="'coin' has no 'ece'"):
        found.better_than("coin", "ece")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"risk": [0.1] * 9}, "risk has 9 rows but there are 10 labels"),
        ({"y": [np.nan] * 10}, "no row has both a risk and an outcome"),
        ({"y": ["left"] * 10}, "y holds values that are not numbers"),
        ({"y": [2] * 10}, "neither 0 nor 1"),
        ({"risk": [1.5] * 10}, "outside 0 to 1"),
        ({"groups": [None] + ["a"] * 9}, "groups is missing in 1 rows"),
        ({"groups": ["a"]}, "groups has 1 rows"),
        ({"term": ["a"]}, "term has 1 rows"),
        ({"rules": {"absent": [np.nan] * 10}}, "absent lacks a score for 10 judged rows"),
        ({"peers": {"x": [0.5]}}, "x has 1 rows"),
        ({"peers": {"x": [0.5] * 10}, "rules": {"x": [0.5] * 10}}, "a name of its own"),
        ({"rules": {"model": [0.5] * 10}}, "a name of its own"),
        ({"shares": (0.1, 1.0)}, "a share is 1.0"),
        ({"shares": ()}, "shares is empty"),
        ({"confidence": 95}, "confidence is 95"),
        ({"n_boot": 0}, "n_boot is 0"),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_sentence(change, sentence):
    arguments = {"y": [0, 1] * 5, "risk": [0.1, 0.2] * 5, "n_boot": 3} | change
    with pytest.raises(SettingsError, match=sentence):
        evaluate(arguments.pop("y"), arguments.pop("risk"), **arguments)


def test_audit_columns_of_many_values_are_to_be_cut_into_bands():
    with pytest.raises(SettingsError, match="by column 'km' has 60 values: cut it into at most 50 bands"):
        evaluate([0, 1] * 30, [0.1, 0.2] * 30, by=pd.DataFrame({"km": range(60)}))


def test_nullable_and_categorical_columns_are_taken():
    y = pd.Series([True, False, None] * 20, dtype="boolean")
    by = pd.DataFrame({"poor": pd.Categorical(["yes", "no", None] * 20), "boards": y.fillna(False)})
    found = evaluate(y, pd.Series(np.linspace(0, 1, 60), dtype="Float64"), by=by, n_boot=5)
    assert (found.n_rows, found.n_left_out) == (40, 20)
    assert found.per_group["level"].tolist() == ["no", "yes", "False", "True"]
