"""Every figure against scikit-learn, enumeration, or the slow obvious way of computing it."""

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk import metrics
from dropout_risk.errors import SettingsError
from dropout_risk.metrics import (
    at_capacity,
    average_precision,
    bin_chances,
    bootstrap,
    bootstrap_listed,
    bootstrap_ratio,
    brier,
    calibration_error,
    draw_groups,
    list_length,
    listing_chance,
    log_loss,
    measure,
    measure_listed,
    precision_recall,
    roc_auc,
)

ONE_SCORE = {"auc": roc_auc, "average_precision": average_precision}
ONE_RISK = {"brier": brier, "log_loss": log_loss, "ece": calibration_error}


@st.composite
def samples(draw, max_size=25):
    """Labels, risks on a coarse grid (many ties, 0 and 1 included) and weights, some of them zero."""
    n = draw(st.integers(1, max_size))
    y = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    risk = [k / 8 for k in draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))]
    weight = draw(st.lists(st.sampled_from([0, 1, 2, 3, 0.5]), min_size=n, max_size=n))
    return np.array(y), np.array(risk), np.array(weight, dtype=float)


def simulate(n=600, n_groups=30, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, n_groups, n)
    risk = np.clip(rng.beta(1, 6, n) + 0.1 * (group % 3 == 0), 0, 1)
    y = (rng.random(n) < risk).astype(int)
    return y, np.round(risk, 1) if ties else risk, group


def slow_calibration_error(y, risk, bins=10):
    parts = np.array_split(np.argsort(risk, kind="stable"), bins)
    return sum(abs(y[part].mean() - risk[part].mean()) * len(part) for part in parts if len(part)) / len(y)


@settings(deadline=None)
@given(samples())
def test_ranking_figures_equal_scikit_learn(sample):
    y, risk, weight = sample
    for w in (None, weight):
        counted = y if w is None else y[w > 0]
        if len(set(counted)) == 2:
            assert roc_auc(y, risk, weight=w) == pytest.approx(sk.roc_auc_score(y, risk, sample_weight=w))
        else:
            assert math.isnan(roc_auc(y, risk, weight=w))
        if counted.any():
            expected = sk.average_precision_score(y, risk, sample_weight=w)
            assert average_precision(y, risk, weight=w) == pytest.approx(expected)
        else:
            assert math.isnan(average_precision(y, risk, weight=w))


@settings(deadline=None)
@given(samples())
def test_losses_equal_scikit_learn(sample):
    y, risk, weight = sample
    for w in (None, weight):
        if w is None or w.sum() > 0:
            expected = sk.log_loss(y, risk, sample_weight=w, labels=[0, 1])
            assert log_loss(y, risk, weight=w) == pytest.approx(expected)
            assert brier(y, risk, weight=w) == pytest.approx(np.average((y - risk) ** 2, weights=w))
        else:
            assert math.isnan(log_loss(y, risk, weight=w))


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**31))
def test_calibration_error_without_ties_is_that_of_array_split(n, bins, seed):
    rng = np.random.default_rng(seed)
    risk, y = rng.random(n), rng.integers(0, 2, n)
    assert calibration_error(y, risk, bins=bins) == pytest.approx(slow_calibration_error(y, risk, bins))


@settings(deadline=None)
@given(samples())
def test_a_whole_weight_is_as_good_as_repeated_rows(sample):
    y, risk, weight = sample
    times = np.ceil(weight).astype(int)
    for figure in (ONE_SCORE | ONE_RISK).values():
        weighted = figure(y, risk, weight=times)
        repeated = figure(np.repeat(y, times), np.repeat(risk, times))
        assert weighted == pytest.approx(repeated, nan_ok=True)


@settings(deadline=None)
@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(sample, random):
    y, risk, _ = sample
    shuffled = random.sample(range(len(y)), len(y))
    before = measure(y, risk, capacities=(0.1, 0.5))
    after = measure(y[shuffled], risk[shuffled], capacities=(0.1, 0.5))
    assert after == pytest.approx(before, nan_ok=True)


def test_one_risk_for_all_is_calibrated_when_it_is_the_base_rate():
    assert calibration_error(np.repeat([0, 1], [75, 25]), np.full(100, 0.25)) == pytest.approx(0)


@settings(deadline=None)
@given(samples(max_size=6), st.integers(1, 7))
def test_ties_at_the_cut_by_enumeration(sample, capacity):
    """Try every order of the students that the scores allow."""
    y, risk, _ = sample
    listed = min(capacity, len(y))
    orders = [
        order
        for order in itertools.permutations(range(len(y)))
        if all(risk[a] >= risk[b] for a, b in itertools.pairwise(order))
    ]
    hits = [y[list(order[:listed])].sum() for order in orders]
    found = at_capacity(y, risk, capacity)
    assert found.listed == listed
    assert found.precision == pytest.approx(np.mean(hits) / listed)
    assert (found.precision_worst, found.precision_best) == pytest.approx((min(hits) / listed, max(hits) / listed))
    if y.any():
        recalls = np.array([np.mean(hits), min(hits), max(hits)]) / y.sum()
        assert (found.recall, found.recall_worst, found.recall_best) == pytest.approx(tuple(recalls))
    else:
        assert math.isnan(found.recall)
    lists = {frozenset(order[:listed]) for order in orders}
    at_cut = np.sort(risk)[-listed]
    assert found.ties == (np.sum(risk == at_cut) if len(lists) > 1 else 0)
    chance = [np.mean([i in order[:listed] for order in orders]) for i in range(len(y))]
    np.testing.assert_allclose(listing_chance(risk, capacity), chance)


@pytest.mark.slow
@settings(deadline=None)
@given(samples(), st.floats(0.01, 0.99))
def test_measure_repeats_the_single_figures(sample, share):
    y, risk, _ = sample
    figures = measure(y, risk, capacities=(share, 3))
    for name, figure in (ONE_SCORE | ONE_RISK).items():
        assert figures[name] == pytest.approx(figure(y, risk), nan_ok=True)
    for capacity in (share, 3):
        found = at_capacity(y, risk, capacity)
        key = metrics.capacity_key(capacity)
        assert figures[f"recall_at_{key}"] == pytest.approx(found.recall, nan_ok=True)
        assert figures[f"precision_at_{key}"] == pytest.approx(found.precision)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("cells", [1, 5000, 2**19])
def test_bootstrap_equals_resampling_the_rows(monkeypatch, ties, cells):
    """Copy the rows of the drawn groups, then measure them: the slow obvious way, whatever the chunks."""
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", cells)
    y, risk, group = simulate(ties=ties)
    draws = draw_groups(group, n_boot=12, seed=3)
    fast = bootstrap(y, risk, draws=draws, capacities=(0.1, 40))
    for replicate, counts in enumerate(draws.counts):
        rows = np.concatenate([np.flatnonzero(draws.codes == g) for g in np.repeat(np.arange(len(counts)), counts)])
        slow = measure(y[rows], risk[rows], capacities=(0.1, 40))
        assert {name: figure[replicate] for name, figure in fast.items()} == pytest.approx(slow)


@pytest.mark.parametrize("cells", [1, 5000, 2**19])
def test_bootstrap_of_a_list_for_all_equals_resampling_the_rows(monkeypatch, cells):
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", cells)
    y, risk, group = simulate(ties=True)
    subgroups = np.column_stack([group < 10, group % 2 == 0, np.zeros(len(y), dtype=bool)])
    draws = draw_groups(group, n_boot=12, seed=3)
    fast = bootstrap_listed(y, risk, draws=draws, capacity=0.15, subgroups=subgroups)
    for replicate, counts in enumerate(draws.counts):
        rows = np.repeat(np.arange(len(y)), counts[draws.codes])
        chance = listing_chance(risk[rows], 0.15)
        for k in (0, 1):
            members = subgroups[rows, k]
            slow = measure_listed(y[rows][members], risk[rows][members], chance[members])
            for name, figures in fast.items():
                assert figures[replicate, k] == pytest.approx(slow[name])
        assert all(math.isnan(figures[replicate, 2]) for figures in fast.values())


@pytest.mark.parametrize("cells", [1, 2**19])
def test_bootstrap_of_ratios_equals_resampling_the_rows(monkeypatch, cells):
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", cells)
    y, risk, group = simulate()
    chances = bin_chances(risk, 4)
    draws = draw_groups(group, n_boot=12, seed=3).select(group < 20)
    y, chances = y[group < 20], chances[group < 20]
    fast = bootstrap_ratio(chances * y[:, None], chances, draws=draws)
    for replicate, counts in enumerate(draws.counts):
        rows = np.repeat(np.arange(len(y)), counts[draws.codes])
        assert fast[replicate] == pytest.approx(y[rows] @ chances[rows] / chances[rows].sum(axis=0))


@given(samples(), st.integers(1, 12))
def test_bins_of_equal_count_by_the_slow_way(sample, bins):
    """Average the bins of `array_split` over every order of the ties, one tie at a time."""
    y, risk, _ = sample
    chances = bin_chances(risk, bins)
    sizes = [len(part) for part in np.array_split(np.arange(len(y)), bins)]
    np.testing.assert_allclose(chances.sum(axis=0), sizes, atol=1e-9)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    bin_of_place = np.repeat(np.arange(bins), sizes)
    for value in set(risk):
        places = bin_of_place[(np.sort(risk) == value)]
        expected = np.bincount(places, minlength=bins) / len(places)
        np.testing.assert_allclose(chances[risk == value], np.tile(expected, (len(places), 1)), atol=1e-12)


@given(samples(), st.integers(1, 12))
def test_the_calibration_error_is_the_mean_gap_of_the_bins(sample, bins):
    y, risk, _ = sample
    chances = bin_chances(risk, bins)
    gaps = np.abs(y @ chances - risk @ chances).sum() / len(y)
    assert gaps == pytest.approx(calibration_error(y, risk, bins=bins))


@pytest.mark.slow
@given(st.integers(1, 250), st.integers(0, 2**31))
def test_precision_at_each_recall_by_walking_down_the_list(n, seed):
    rng = np.random.default_rng(seed)
    score, y = rng.permutation(n), rng.integers(0, 2, n)
    recall, precision = precision_recall(y, score)
    ranks = np.flatnonzero(y[np.argsort(-score)]) + 1  # list length at which each leaver is found
    assert len(recall) == min(len(ranks), 100)
    for found, right in zip(recall, precision, strict=True):
        k = round(found * len(ranks))
        assert found == pytest.approx(k / len(ranks))
        assert right == pytest.approx(k / ranks[k - 1])


def test_precision_recall_points_lie_on_the_curve_of_scikit_learn():
    y, risk, _ = simulate()
    theirs, at, _ = sk.precision_recall_curve(y, risk)
    best = {}
    for r, p in zip(at, theirs, strict=True):
        best[round(r, 9)] = max(p, best.get(round(r, 9), 0))
    recall, precision = precision_recall(y, risk)
    assert [best[round(r, 9)] for r in recall] == pytest.approx(precision.tolist())


def test_a_tie_spreads_the_precision_over_its_rows():
    recall, precision = precision_recall([1, 1, 0, 0], [0.5] * 4)
    assert recall.tolist() == [0.5, 1.0]
    assert precision.tolist() == [0.5, 0.5]


@pytest.mark.slow
@given(samples(), st.floats(0.01, 0.99))
def test_figures_of_a_list_by_counting(sample, share):
    """Without ties a student is listed or not: count the four kinds."""
    y, _, _ = sample
    risk = np.random.default_rng(0).permutation(len(y)) / len(y)
    listed = listing_chance(risk, share) == 1
    hits, alarms = int(y[listed].sum()), int((1 - y[listed]).sum())
    found = measure_listed(y, risk, listing_chance(risk, share))
    assert (found["rows"], found["events"], found["listed"]) == (len(y), y.sum(), listed.sum())
    assert found["selection_rate"] == pytest.approx(listed.mean())
    assert found["calibration_gap"] == pytest.approx(risk.mean() - y.mean())
    assert found["false_alarm_share"] == pytest.approx(alarms / (hits + alarms))
    assert found["precision"] == pytest.approx(hits / (hits + alarms))
    assert found["recall"] == (pytest.approx(hits / y.sum()) if y.any() else pytest.approx(math.nan, nan_ok=True))
    stayed = len(y) - y.sum()
    expected = alarms / stayed if stayed else math.nan
    assert found["false_positive_rate"] == pytest.approx(expected, nan_ok=True)


def test_draws_are_whole_groups_with_replacement():
    group = np.repeat(["a", "b", "c", "d"], [1, 2, 3, 4])
    draws = draw_groups(group, n_boot=4000, seed=1)
    assert (draws.counts.sum(axis=1) == 4).all()
    assert draws.codes.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    np.testing.assert_allclose(draws.counts.mean(axis=0), 1, atol=0.06)
    assert np.mean(draws.counts == 0) == pytest.approx(0.75**4, abs=0.02)
    np.testing.assert_array_equal(draws.counts, draw_groups(group, n_boot=4000, seed=1).counts)
    assert (draws.counts != draw_groups(group, n_boot=4000, seed=2).counts).any()


@pytest.mark.slow
def test_replicates_spread_as_new_samples_do():
    """The spread of the replicates of one sample is near the spread of the figure over new samples."""
    over_samples = [measure(*simulate(seed=seed)[:2], capacities=(0.1,)) for seed in range(300)]
    y, risk, group = simulate(seed=1000)
    replicates = bootstrap(y, risk, draws=draw_groups(group, n_boot=400), capacities=(0.1,))
    for name in ("auc", "log_loss", "recall_at_10"):
        spread = np.std([figures[name] for figures in over_samples])
        assert 0.5 * spread < np.std(replicates[name]) < 2 * spread


@pytest.mark.parametrize("y", [[], [0], [1], [0, 0], [1, 1]])
def test_one_class_or_no_rows_is_nan_and_never_an_error(y):
    y, score = np.array(y), np.full(len(y), 0.3)
    figures = measure(y, score, capacities=(0.1, 1))
    assert math.isnan(figures["auc"])
    assert math.isnan(figures["recall_at_10"]) == (not y.any())
    assert math.isnan(figures["log_loss"]) == (not len(y))
    found = at_capacity(y, score, 1)
    assert found.listed == min(1, len(y))
    assert math.isnan(found.precision) == (not len(y))
    assert len(listing_chance(score, 0.5)) == len(y)
    if len(y):
        assert np.isnan(bootstrap(y, score, draws=draw_groups(y, n_boot=3))["auc"]).all()


@pytest.mark.parametrize(
    ("capacity", "n", "length"),
    [(0.1, 100, 10), (0.1, 109, 10), (0.29, 100, 29), (0.1, 3, 1), (0.5, 0, 0), (7, 5, 5), (7, 50, 7)],
)
def test_list_length_never_exceeds_the_capacity(capacity, n, length):
    assert list_length(capacity, n) == length


@pytest.mark.parametrize("capacity", [0, 0.0, 1.0, 1.5, -1, -0.1, float("nan"), True])
def test_senseless_capacity_is_refused(capacity):
    for call in (
        lambda: at_capacity([0, 1], [0.1, 0.2], capacity),
        lambda: measure([0, 1], [0.1, 0.2], capacities=[capacity]),
        lambda: list_length(capacity, 2),
    ):
        with pytest.raises(SettingsError, match="give a share between 0 and 1"):
            call()


def test_every_problem_of_the_input_is_named_at_once():
    with pytest.raises(SettingsError) as caught:
        brier([0, 2, 1], [0.5, float("nan"), 1.5, 0.1])
    for part in ("3 labels but 4 scores", "neither 0 nor 1", "missing or infinite", "outside 0 to 1"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: roc_auc([0, 1], [0.1]), "2 labels but 1 scores"),
        (lambda: roc_auc([0, float("nan")], [0.1, 0.2]), "neither 0 nor 1"),
        (lambda: roc_auc(["no", "yes"], [0.1, 0.2]), "y holds values that are not numbers"),
        (lambda: roc_auc([[0, 1]], [0.1, 0.2]), "one value for each row"),
        (lambda: roc_auc([0, 1], [0.1, 0.2], weight=[1]), "1 weights for 2 labels"),
        (lambda: roc_auc([0, 1], [0.1, 0.2], weight=[1, -1]), "negative"),
        (lambda: calibration_error([0, 1], [0.1, 0.2], bins=0), "bins is 0"),
        (lambda: bin_chances([0.1, 0.2], bins=0), "bins is 0"),
        (lambda: draw_groups([0, 1], n_boot=0), "n_boot is 0"),
        (lambda: bootstrap([0, 1], [0.1, 0.2], draws=draw_groups([0])), "draws are for 1 rows"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(call, sentence):
    with pytest.raises(SettingsError, match=sentence):
        call()
