"""What past lists were worth, and whether an interval built on it holds the truth."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropout_risk.backtest import LEVEL_SD, SCHOOL_SD, Backtest, Forecast
from dropout_risk.errors import BundleError, SettingsError


def past(n=6000, *, terms=3, schools=30, term_sd=0.0, school_sd=0.0, seed=0):
    """Return y, risk, groups, term of a model whose terms and schools miss by shocks of these spreads, in logs."""
    rng = np.random.default_rng(seed)
    risk = rng.beta(0.6, 8, n)
    term, school = np.arange(n) % terms, np.arange(n) // terms % schools
    shock = np.exp(rng.normal(0, term_sd, terms)[term] + rng.normal(0, school_sd, (terms, schools))[term, school])
    return (rng.random(n) < risk * shock).astype(int), risk, school, term


# --- the sums -----------------------------------------------------------------------------------------------


def test_the_sums_by_the_slow_obvious_way():
    y, risk, school, term = past(600, schools=6, seed=4)
    rule = np.round(risk, 2)  # many ties
    backtest = Backtest.of(y, risk, school, term, {"rule": rule}, shares=(0.1, 0.3))
    frame = pd.DataFrame({"y": y, "risk": risk, "school": school, "term": term, "rule": rule})
    for s, share in enumerate((0.1, 0.3)):
        for t, rows in frame.groupby("term"):
            k = int(share * len(rows))
            top = rows.nlargest(k, "risk")
            mine = backtest.model[backtest.term == t, s].sum(axis=0)
            assert mine == pytest.approx([k, top["risk"].sum(), top["y"].sum()])
            cut = rows["rule"].nlargest(k).min()
            above, tied = rows[rows["rule"] > cut], rows[rows["rule"] == cut]
            hits = above["y"].sum() + tied["y"].mean() * (k - len(above))
            assert backtest.rules["rule"][backtest.term == t, s].sum(axis=0) == pytest.approx([k, hits])
    whole = frame.groupby(["term", "school"]).agg(rows=("y", "size"), expected=("risk", "sum"), hits=("y", "sum"))
    cells = pd.DataFrame(backtest.roster[:, :3], columns=whole.columns).sort_values(list(whole.columns))
    np.testing.assert_allclose(cells, whole.sort_values(list(whole.columns)))
    np.testing.assert_allclose(backtest.roster[:, 4], backtest.roster[:, 1] ** 2)  # one group a block


def test_rows_without_a_risk_are_left_out():
    y, risk, school, term = past(900)
    holes = np.where(term == 0, np.nan, risk)
    known = term > 0
    mine = Backtest.of(y, holes, school, term, {"rule": risk})
    other = Backtest.of(y[known], risk[known], school[known], term[known], {"rule": risk[known]})
    assert mine.to_dict() == other.to_dict()
    with pytest.raises(SettingsError, match="No row has"):
        Backtest.of(y, np.full(900, np.nan))


def test_columns_of_other_lengths_are_all_named():
    with pytest.raises(SettingsError, match=r"groups has 2 rows; rule has 1 rows"):
        Backtest.of([0, 1, 0], [0.1, 0.2, 0.3], groups=["a", "b"], rules={"rule": [1.0]})


def test_no_name_and_no_row_is_kept():
    y, risk, school, term = past(3000, schools=40)
    names = np.array([f"school-{number}" for number in school])
    text = json.dumps(Backtest.of(y, risk, names, term, {"rule": risk}).to_dict(), allow_nan=False)
    assert "school" not in text
    assert len(text) < 40_000


def test_many_groups_are_dealt_into_blocks_without_losing_their_clustering():
    y, risk, _, term = past(60_000)
    school = np.arange(60_000) // 3 % 2000
    backtest = Backtest.of(y, risk, school, term)
    assert backtest.blocks == 500
    assert backtest.roster[:, 0].sum() == 60_000
    by_school = pd.Series(risk).groupby([term, school]).sum()
    assert backtest.roster[:, 4].sum() == pytest.approx((by_school**2).sum())


def test_json_there_and_back():
    y, risk, school, term = past(2000)
    backtest = Backtest.of(y, risk, school, term, {"rule": np.round(risk, 1)})
    data = json.loads(json.dumps(backtest.to_dict(), allow_nan=False))
    again = Backtest.from_dict(data)
    assert again.to_dict() == data
    np.testing.assert_allclose(again.model, backtest.model, atol=0.001)


@pytest.mark.parametrize("fault", ["roster", "rules", "short", "empty", "text"])
def test_a_damaged_backtest_is_refused(fault):
    data = Backtest.of(*past(500)).to_dict()
    if fault in ("roster", "rules"):
        del data[fault]
    elif fault == "short":
        data["model"] = data["model"][1:]
    elif fault == "empty":
        data |= {"term": [], "block": [], "roster": [], "model": []}
    else:
        data["term"] = ["x"]
    with pytest.raises(BundleError, match="train again"):
        Backtest.from_dict(data)


# --- the rules ----------------------------------------------------------------------------------------------


def test_a_rule_is_compared_at_the_nearest_length_and_paired():
    y, risk, school, term = past(9000, school_sd=0.8, seed=2)
    nearly = risk * (1 + 0.02 * np.random.default_rng(1).random(9000))
    backtest = Backtest.of(y, risk, school, term, {"nearly": nearly, "lot": np.random.default_rng(2).random(9000)})
    worth = backtest.worth(0.11)
    top = pd.DataFrame({"y": y, "risk": risk, "term": term}).sort_values("risk").groupby("term").tail(300)
    assert worth["lot"].share == 0.10
    assert worth["lot"].model == pytest.approx(100 * top["y"].mean())
    assert worth["lot"].low > 0
    # Nearly the same list: the difference is known far better than either figure.
    assert worth["nearly"].high - worth["nearly"].low < (worth["nearly"].model_high - worth["nearly"].model_low) / 4
    assert worth["nearly"].low <= 0 <= worth["nearly"].high


# --- the spreads --------------------------------------------------------------------------------------------


def test_without_heterogeneity_the_spreads_fall_to_what_is_assumed_or_below():
    backtests = [Backtest.of(*past(12_000, schools=60, seed=seed)) for seed in range(12)]
    assert np.mean([backtest.level_spread()[0] for backtest in backtests]) < 1.4 * LEVEL_SD
    assert np.mean([np.sqrt(backtest.school_variance()) for backtest in backtests]) < 0.8 * SCHOOL_SD


@pytest.mark.no_cover
@pytest.mark.slow
def test_shocks_of_schools_and_terms_are_seen():
    backtests = [Backtest.of(*past(30_000, schools=60, school_sd=0.5, seed=seed)) for seed in range(8)]
    assert 0.35 < np.mean([np.sqrt(backtest.school_variance()) for backtest in backtests]) < 0.65
    moved = [Backtest.of(*past(60_000, terms=8, schools=40, term_sd=0.3, seed=seed)) for seed in range(8)]
    assert 0.14 < np.mean([backtest.level_spread()[0] for backtest in moved]) < 0.35


def test_what_a_school_has_in_every_term_is_no_shock():
    def lasting(seed):
        rng = np.random.default_rng(seed)
        y, risk, school, term = past(30_000, schools=60, seed=seed)
        return Backtest.of(rng.random(30_000) < risk * np.exp(rng.normal(0, 0.5, 60))[school], risk, school, term)

    assert np.mean([np.sqrt(lasting(seed).school_variance()) for seed in range(8)]) < SCHOOL_SD


# --- the forecast -------------------------------------------------------------------------------------------


def exact(risks):
    """Return the distribution of the number of cases, by adding one child after the other."""
    chances = np.array([1.0])
    for risk in risks:
        chances = np.convolve(chances, [1 - risk, risk])
    return chances


@pytest.mark.parametrize("n", [1, 3, 40])
def test_risks_alone_give_the_exact_distribution(n):
    risk = np.random.default_rng(n).beta(1, 3, n)
    _, cases = Forecast(n_draws=40_000).simulate(risk, np.ones(n, dtype=bool))
    drawn = np.bincount(cases[0].astype(int), minlength=n + 1) / 40_000
    np.testing.assert_allclose(drawn, exact(risk), atol=0.012)
    assert (cases[1] == 0).all()


def test_shocks_of_schools_have_the_variance_that_was_asked_for():
    backtest = Backtest.of(*past(60_000, schools=60, school_sd=0.5, seed=3))
    risk, listed = np.full(4000, 0.2), np.arange(4000) < 2000
    few, many = (Forecast(backtest, n_draws=20_000).simulate(risk, listed, np.arange(4000) % k)[1] for k in (2, 1000))
    relative = [cases.var(axis=1) / cases.mean(axis=1) ** 2 for cases in (few, many)]
    between = np.log1p(backtest.school_variance()) * (1 / 2 - 1 / 1000)
    np.testing.assert_allclose(relative[0] - relative[1], between, rtol=0.25)
    # List and rest of one school share its shocks.
    assert np.corrcoef(few)[0, 1] > np.corrcoef(many)[0, 1] + 0.2


def test_a_model_that_promised_double_is_corrected():
    y, risk, school, term = past(30_000)
    backtest = Backtest.of(y, np.minimum(2 * risk, 1), school, term)
    new, listed = np.full(3000, 0.2), np.arange(3000) < 300
    expected, _ = Forecast(backtest).simulate(new, listed)
    assert expected[0] / 60 == pytest.approx(0.55, abs=0.07)
    assert expected[1] / 540 == pytest.approx(0.55, abs=0.07)


@pytest.mark.parametrize(("n", "terms", "schools"), [(300, 1, 1), (900, 3, 1), (2000, 1, 20), (40, 1, 1), (900, 3, 3)])
def test_a_small_backtest_still_gives_an_interval_wider_than_chance(n, terms, schools):
    y, risk, school, term = past(n, terms=terms, schools=schools, seed=5)
    backtest = Backtest.of(y, risk, school, term, {"rule": risk})
    new, listed = np.full(400, 0.2), np.arange(400) < 200
    chance, backed = (
        Forecast(evidence, seed=1).simulate(new, listed, np.arange(400) % 8)[1][0] for evidence in (None, backtest)
    )
    assert 1.05 * chance.std() < backed.std() < 5 * chance.std()
    assert all(np.isfinite(value) for value in vars(backtest.worth(0.1)["rule"]).values())


@pytest.mark.parametrize("outcome", [0, 1])
def test_a_backtest_of_one_class_holds(outcome):
    _, risk, school, term = past(600, seed=5)
    backtest = Backtest.of(np.full(600, outcome), risk, school, term, {"rule": risk})
    _, cases = Forecast(backtest).simulate(np.full(100, 0.2), np.arange(100) < 50, np.zeros(100))
    assert np.isfinite(cases).all()
    assert (cases[0].mean() < 10) == (outcome == 0)


def test_the_same_seed_gives_the_same_draws():
    backtest = Backtest.of(*past(900))
    risk, listed = np.full(100, 0.2), np.arange(100) < 20
    first, again, other = (Forecast(backtest, seed=seed).simulate(risk, listed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.no_cover
@pytest.mark.slow
@pytest.mark.parametrize("school_sd", [0.0, 0.4])
def test_the_interval_holds_the_truth_when_terms_and_schools_differ(school_sd):
    """Worlds in which a new term draws its own level and every school its own shock, as the past terms did."""
    covered, widths = [], []
    for seed in range(150):
        y, risk, school, term = past(16_000, terms=4, term_sd=0.06, school_sd=school_sd, seed=seed)
        old, new = term < 3, term == 3
        backtest = Backtest.of(y[old], risk[old], school[old], term[old])
        order = np.argsort(np.argsort(-risk[new]))
        listed = order < 400
        _, cases = Forecast(backtest, seed=seed).simulate(risk[new], listed, school[new])
        for part, truth in enumerate((y[new][listed].sum(), y[new][~listed].sum())):
            low, high = np.quantile(cases[part], [0.025, 0.975], method="inverted_cdf")
            covered.append(low <= truth <= high)
            widths.append((high - low) / 2 / cases[part].mean())
    assert np.mean(covered) > 0.92
    assert np.mean(widths) < 0.5


@pytest.mark.no_cover
@pytest.mark.slow
def test_the_benchmark_runs_and_its_intervals_hold_on_a_few_counties():
    path = Path(__file__).parents[1] / "benchmarks" / "list_coverage.py"
    if not path.is_file():
        pytest.skip("the benchmarks are not part of this distribution")
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rows = [row for seed in range(2) for row in benchmark.world(1500, seed, [200], terms=4)]
    summary = benchmark.summarise(pd.DataFrame(rows)).set_index(["basis", "part"])
    assert len(summary) == 4
    assert summary.loc["backtest", "covered"].mean() >= 0.5  # all worlds is what the benchmark is for
    assert (summary["half_width"] < 1).all()
