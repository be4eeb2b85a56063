"""Scores from models that have not seen the row, and figures that say honestly what they are worth."""

import dataclasses
import json
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from dropout_risk.errors import SettingsError
from dropout_risk.evaluation import Interval, cross_scores, evaluate
from dropout_risk.evaluation_summary import evaluation_text
from dropout_risk.intervals import CALIBRATION, MIN_CELL_EVENTS, MIN_CELL_ROWS, NOT_RECORDED, PER_GROUP
from dropout_risk.metrics import bin_chances, bootstrap, calibration_error, draw_groups, measure


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
        place=np.where(school < 40, "530102", "530103"),
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
    found = evaluate(y, risk, groups=["only"] * 300, rules={"same": risk}, by=pd.DataFrame({"all": ["same"] * 300}))
    assert found.verdict().endswith("not to be told apart from chance with one group only).")
    bounds = ["recall_low", "recall_high", "false_alarm_share_low", "calibration_gap_high"]
    assert found.per_group[bounds].isna().all(axis=None)
    assert found.calibration[["low", "high"]].isna().all(axis=None)
    assert found.yield_curve[["recall_low", "recall_high"]].isna().all(axis=None)
    assert "nan" not in evaluation_text(found)


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
    assert [row["place"] for row in plain["per_place"]] == ["530102", "530103"]
    assert plain["verdict"] == {"zh": found.verdict("zh"), "en": found.verdict("en")}
    assert [len(plain[name]) for name in ("yield_curve", "precision_recall", "calibration")] == [90, 300, 10 + 5 * 5]
    hidden = [row for row in plain["per_group"] if row["suppressed"]]
    assert [row["level"] for row in hidden] == ["big", "tiny", "not recorded"]  # the rest of the big one is small
    assert {row["recall"] for row in hidden} == {None}
    alone = evaluate([0, 0, 1], [0.1, 0.2, 0.3], groups=[1, 1, 1]).to_dict()
    assert alone["metrics"]["auc"] == {"value": 1.0, "low": None, "high": None}


def test_the_verdict_is_the_first_line(found):
    first, _, *rest = evaluation_text(found).splitlines()
    assert first == found.verdict()
    names = [line.split("  ")[0] for line in rest]
    assert names.index("model") < names.index("absent") < names.index("coin") < names.index("twin")
    assert any(line.startswith("absent: ") and "share the score at the cut" in line for line in rest)
    assert any("too few to show" in line for line in rest)


def test_the_verdict_of_a_clear_win_names_the_nearest_rule():
    y, risk, school = simulate()
    blurred = risk + np.random.default_rng(0).normal(0, 0.3, 3000)
    found = evaluate(y, risk, groups=school, rules={"coin": np.arange(3000.0), "blurred": blurred}, n_boot=50)
    recall = found.metrics["recall_at_10"].times(100)
    assert found.verdict().startswith(
        f"At a capacity of 10 % the model finds {recall.value:.0f} [{recall.low:.0f}–{recall.high:.0f}] % of the "
        "students who left and beats every simple rule; the nearest: “blurred” finds "
    )
    assert found.verdict("zh").startswith("名额为 10 % 时，模型找到")
    assert "coin" not in found.verdict()


def test_the_verdict_names_every_rule_that_is_as_good_or_better():
    y, risk, school = simulate()
    noise = np.random.default_rng(0).random(3000)
    rules = {"absence_rule": risk, "random": noise, "twin": noise * 7}
    verdict = evaluate(y, noise, groups=school, rules=rules, n_boot=50).verdict()
    assert "the model does not beat every simple rule" in verdict
    assert "“absence rate” finds" in verdict
    assert "the rule finds more)" in verdict
    assert "“drawn by lot” finds 12 % (difference +0 [+0, +0] points, no clear difference)" in verdict
    chinese = evaluate(y, noise, groups=school, rules=rules, n_boot=50).verdict("zh")
    assert "模型并未优于每一条简单规则" in chinese
    assert "“按缺勤率”找到" in chinese
    assert "规则找到的更多" in chinese
    assert "no simple rule was given" in evaluate(y, risk, n_boot=5).verdict()


def test_a_clear_win_over_one_rule_does_not_hide_a_draw_with_another():
    y, risk, school = simulate()
    found = evaluate(y, risk, groups=school, rules={"coin": np.arange(3000.0), "same": risk * 7}, n_boot=50)
    assert found.better_than("coin", "recall_at_10")
    assert "does not beat every simple rule" in found.verdict()
    assert "coin" not in found.verdict()


def test_chinese_text_lines_up(found):
    lines = evaluation_text(found, "zh").splitlines()
    assert lines[0] == found.verdict("zh")
    head = next(i for i, line in enumerate(lines) if "对数损失" in line)

    def width(text):
        return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)

    column = width(lines[head].split("AP")[0])
    for line in lines[head + 1 : head + 4]:
        cut = next(i for i in range(len(line) + 1) if width(line[:i]) == column)
        assert line[cut - 1] == " "
        assert line[cut] == "0"
    with pytest.raises(SettingsError, match="no texts in 'fr'"):
        evaluation_text(found, "fr")
    with pytest.raises(SettingsError, match="no texts in 'fr'"):
        found.verdict("fr")


def test_texts_in_both_languages_show_the_same_numbers(found):
    def numbers(lang):
        return sorted(re.findall(r"\d+(?:\.\d+)?", evaluation_text(found, lang)))

    assert numbers("en") == numbers("zh")


def test_places_each_have_a_list_of_their_own(found):
    y, risk, school = simulate()
    here = (school < 40) & (np.arange(3000) >= 20)
    row = found.per_place.set_index("place").loc["530102"]
    assert row["rows"] == here.sum()
    assert row["recall_at_20"] == pytest.approx(measure(y[here], risk[here], capacities=[0.2])["recall_at_20"])
    assert list(found.per_place)[1:] == list(found.per_term)[1:]


def test_the_yield_curve_passes_through_the_headline_and_counts_heads(found):
    y, risk, _ = simulate()
    curve = found.yield_curve.set_index(["name", "share"])
    assert set(curve.index.get_level_values("name")) == {"model", "absent", "coin"}
    ours = found.metrics["recall_at_10"]
    at = curve.loc[("model", 0.10)]
    assert at[["recall", "recall_low", "recall_high"]].tolist() == [ours.value, ours.low, ours.high]
    ranked = y[20:][np.argsort(-risk[20:])]
    for share in (0.01, 0.07, 0.30):
        row = curve.loc[("model", share)]
        listed = int(2980 * share)
        assert (row["listed"], row["hits"]) == (listed, pytest.approx(ranked[:listed].sum()))
        assert row["precision"] == pytest.approx(ranked[:listed].mean())
        assert row["recall_low"] <= row["recall"] <= row["recall_high"]


def test_calibration_has_deciles_for_all_and_quintiles_for_each_group(found):
    y, risk, _ = simulate()
    y, risk = y[20:], risk[20:]
    everybody = found.calibration[found.calibration["column"] == "all"]
    assert everybody["bin"].tolist() == list(range(1, 11))
    parts = np.array_split(np.argsort(risk), 10)
    shown = everybody[~everybody["suppressed"]]
    for _, row in shown.iterrows():
        part = parts[row["bin"] - 1]
        assert row["rows"] == len(part)
        assert row[["mean_risk", "observed"]].tolist() == pytest.approx([risk[part].mean(), y[part].mean()])
        assert row["low"] <= row["observed"] <= row["high"]
    gap = (shown["rows"] * (shown["mean_risk"] - shown["observed"]).abs()).sum() / shown["rows"].sum()
    if not everybody["suppressed"].any():
        assert gap == pytest.approx(calibration_error(y, risk))
    women = found.calibration[found.calibration["level"] == "female"]
    assert women["bin"].tolist() == [1, 2, 3, 4, 5]


def test_the_interval_of_a_bin_is_that_of_resampled_schools():
    y, risk, school = simulate()
    table = evaluate(y, risk, groups=school, n_boot=200, seed=5).calibration
    inside = bin_chances(risk, 10)[:, 9] == 1
    rates = []
    for counts in draw_groups(school, n_boot=200, seed=5).counts:
        weight = counts[school] * inside
        rates.append(weight @ y / weight.sum())
    assert table.loc[9, ["low", "high"]].tolist() == pytest.approx(np.quantile(rates, [0.025, 0.975]).tolist())


def test_an_overstated_risk_shows_as_a_gap_of_its_group():
    y, risk, school = simulate()
    girls = np.arange(3000) % 2 == 0
    told = np.where(girls, np.minimum(1, 2 * risk), risk)
    by = pd.DataFrame({"sex": np.where(girls, "female", "male")})
    cells = evaluate(y, told, groups=school, by=by, n_boot=100).per_group.set_index("level")
    assert cells.loc["female", "calibration_gap_low"] > 0.03
    assert cells.loc["male", "calibration_gap_low"] < 0 < cells.loc["male", "calibration_gap_high"]
    gap = told[girls].mean() - y[girls].mean()
    assert cells.loc["female", "calibration_gap"] == pytest.approx(gap)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(0, 60)), min_size=1, max_size=7), st.integers(0, 9))
def test_suppressed_cells_never_leak(sizes, seed):
    """Neither shown, nor left over when everything shown is taken from the whole."""
    rng = np.random.default_rng(seed)
    cell = np.repeat([f"cell {i}" for i in range(len(sizes))], [rows for rows, _ in sizes])
    y = np.concatenate([np.arange(rows) < events for rows, events in sizes]).astype(float)
    cell[rng.random(len(cell)) < 0.03] = None
    found = evaluate(y, rng.random(len(y)), term=cell, place=cell, by=pd.DataFrame({"cell": cell}), n_boot=3)
    plain = found.to_dict()
    for table in (plain["per_term"], plain["per_place"], plain["per_group"]):
        check_no_leak(table, rows=len(y), events=y.sum())
    check_no_leak([row for row in plain["calibration"] if row["column"] == "all"], rows=len(y), events=y.sum())
    for group in plain["per_group"]:
        bins = [row for row in plain["calibration"] if row["column"] == "cell" and row["level"] == group["level"]]
        if group["suppressed"]:
            assert all(row["suppressed"] for row in bins)
        check_no_leak(bins, rows=group["rows"], events=group["events"])


def check_no_leak(table, *, rows, events):
    shown, hidden = ([row for row in table if row["suppressed"] is flag] for flag in (False, True))
    for row in hidden:
        names = {"term", "place", "column", "level", "bin", "suppressed"}
        assert all(value is None for name, value in row.items() if name not in names)
    for row in shown:
        rate = row["observed"] if "observed" in row else row["base_rate"]
        assert row["rows"] >= MIN_CELL_ROWS
        assert row["rows"] * rate >= MIN_CELL_EVENTS - 1e-6
    if shown and hidden:
        left_rows = rows - sum(row["rows"] for row in shown)
        left_events = events - sum(row["rows"] * (row.get("observed") or row["base_rate"]) for row in shown)
        assert len(hidden) > 1
        assert left_rows >= MIN_CELL_ROWS
        assert left_events >= MIN_CELL_EVENTS - 1e-6


def test_the_text_of_a_suppressed_cell_holds_no_number():
    y = np.r_[np.tile([1, 0], 100), np.ones(3), np.zeros(4)]
    by = pd.DataFrame({"cell": ["one"] * 120 + ["two"] * 80 + ["tiny"] * 7})
    found = evaluate(y, np.linspace(0, 1, 207), by=by, n_boot=5)
    bins = found.calibration.groupby("level")["suppressed"].all()
    assert bins.to_dict() == {"all": False, "one": False, "tiny": True, "two": True}
    text = evaluation_text(found)
    lines = [line for line in text.splitlines() if line.startswith("cell")]
    assert [line.split()[1] for line in lines if "too few" in line] == ["tiny", "two"]
    assert not any(character.isdigit() for line in lines if "too few" in line for character in line)


@pytest.mark.parametrize("left", [0, 1])
def test_students_of_one_outcome_are_judged_as_far_as_that_goes(left):
    y, risk = np.full(200, left), np.linspace(0.01, 0.9, 200)
    by, halves = pd.DataFrame({"sex": ["f", "m"] * 100}), np.repeat(["a", "b"], 100)
    found = evaluate(
        y, risk, groups=np.arange(200) % 20, term=halves, place=halves, by=by, rules={"r": risk}, n_boot=20
    )
    assert np.isnan(found.metrics["auc"].value)
    assert found.metrics["brier"].value > 0
    assert found.per_term["suppressed"].tolist() == [not left] * 2
    assert list(found.per_group) == list(PER_GROUP)
    assert list(found.calibration) == list(CALIBRATION)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))
    for lang in ("en", "zh"):
        assert "nan" not in evaluation_text(found, lang)
    if not left:
        assert found.verdict().startswith("Nobody left among the students judged")
        assert found.precision_recall.empty


def test_a_term_of_one_outcome_leaves_the_others_alone():
    y, risk, school = simulate()
    term = np.repeat(["2023-1", "2023-2", "2024-1", "2024-2"], [500, 400, 700, 1400])
    y[:500], y[1600:] = 0, 1
    found = evaluate(y, risk, groups=school, term=term, n_boot=50).per_term.set_index("term")
    assert found["suppressed"].tolist() == [True, True, False, False]  # the first hides the second
    assert found.loc["2024-1", "auc_low"] < found.loc["2024-1", "auc"] < found.loc["2024-1", "auc_high"]
    assert np.isnan(found.loc["2024-2", "auc"])
    assert found.loc["2024-2", "brier_low"] < found.loc["2024-2", "brier"]


def test_a_place_that_some_replicates_miss_keeps_its_intervals():
    y, risk, school = simulate()
    place = np.where(school < 2, "small", "large")
    row = evaluate(y, risk, groups=school, place=place, n_boot=200).per_place.set_index("place").loc["small"]
    assert row["ece_low"] <= row["ece"] < row["ece_high"]


def test_missing_places_and_terms_are_levels_of_their_own():
    y, risk, school = simulate()
    place = np.where(school < 20, None, "530102")
    found = evaluate(y, risk, groups=school, place=place, n_boot=5)
    assert found.per_place["place"].tolist() == ["530102", NOT_RECORDED]
    assert found.per_term.empty
    assert found.per_group.empty


def test_everything_suppressed_still_gives_the_whole():
    y, risk, school = simulate(400)
    by = pd.DataFrame({"village": np.arange(400) // 8})
    found = evaluate(y, risk, groups=school, by=by, n_boot=20)
    assert found.per_group["suppressed"].all()
    assert list(found.per_group) == list(PER_GROUP)
    assert found.metrics["auc"].value > 0.5
    assert evaluation_text(found).count("too few to show") == 50


def test_the_order_of_the_rows_does_not_matter():
    y, risk, school = simulate()
    by = pd.DataFrame({"half": np.where(risk > 0.08, "upper", "lower")})
    order = np.random.default_rng(0).permutation(3000)
    before = evaluate(y, np.round(risk, 2), groups=school, place=school % 3, by=by, n_boot=20).to_dict()
    after = evaluate(
        y[order], np.round(risk, 2)[order], groups=school[order], place=school[order] % 3, by=by.iloc[order], n_boot=20
    ).to_dict()
    for name in ("per_place", "per_group", "calibration", "yield_curve", "precision_recall"):
        for one, other in zip(before[name], after[name], strict=True):
            assert one == pytest.approx(other)


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
        ({"place": ["a"]}, "place has 1 rows"),
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


def test_a_categorical_of_many_values_is_taken_in_the_order_of_its_categories():
    names = [f"county {i}" for i in range(60)]
    county = pd.Categorical(np.repeat(names, 20), categories=names[::-1], ordered=True)
    found = evaluate(np.tile([0, 1], 600), np.linspace(0, 1, 1200), by=pd.DataFrame({"county": county}), n_boot=3)
    assert found.per_group["level"].tolist() == names[::-1]


def test_nullable_and_categorical_columns_are_taken():
    y = pd.Series([True, False, None] * 20, dtype="boolean")
    by = pd.DataFrame({"poor": pd.Categorical(["yes", "no", None] * 20), "boards": y.fillna(False)})
    found = evaluate(y, pd.Series(np.linspace(0, 1, 60), dtype="Float64"), by=by, n_boot=5)
    assert (found.n_rows, found.n_left_out) == (40, 20)
    assert found.per_group["level"].tolist() == ["no", "yes", "False", "True"]
