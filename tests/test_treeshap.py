"""Compiled contributions against LightGBM's own, and against Shapley's definition where LightGBM gives up."""

import itertools
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk import jit
from dropout_risk.errors import BundleError, ColumnsError, InputError, SettingsError
from dropout_risk.treeshap import compile_boosters

ODD = [
    math.nan, 0.0, -0.0, 5e-324, -5e-324, 1e-36, -1e-36, 1e-35, float(np.float32(1e-35)), 2e-35, math.inf, -math.inf,
    1e308, -1.0, -0.5, 0.5, 1.0, 2.9, 31.0, 32.0, 300.0, 2.0**31, 2.0**32 + 3, 2.0**40,
]  # fmt: skip
"""Values that a quick implementation reads differently from LightGBM."""


def train(X, y, *, rounds=8, categories=(), **settings):
    parameters = {
        "objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_in_bin": 1,
        "min_sum_hessian_in_leaf": 0, "min_data_per_group": 1, "cat_smooth": 1, "deterministic": True, **settings,
    }  # fmt: skip
    return lgb.train(parameters, lgb.Dataset(X, y, categorical_feature=list(categories)), rounds)


def sample(seed=0, n=400, n_features=5, missing=0.1, zeros=0.2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features)).round(2)
    X[rng.random(X.shape) < zeros] = 0.0
    y = X @ rng.normal(size=n_features) + X[:, 0] * X[:, -1] + rng.normal(size=n) > 0
    X[rng.random(X.shape) < missing] = np.nan
    return X, y


def difficult_rows(booster, X, rng, n=60):
    """Rows of the training data in which every second value is odd, or stands on a threshold or beside one."""
    thresholds = [float(t) for t in re.findall(r"[^ =]+", " ".join(re.findall(r"\nthreshold=(.*)", text_of(booster))))]
    edges = [side for t in thresholds[:200] for side in (t, np.nextafter(t, np.inf), np.nextafter(t, -np.inf))]
    rows = X[rng.integers(0, len(X), n)]
    odd = rng.choice(np.array(ODD + edges), rows.shape)
    return np.where(rng.random(rows.shape) < 0.5, odd, rows)


def text_of(booster):
    return booster.model_to_string()


def assert_exact(booster, rows, text=None, **options):
    tables = compile_boosters([text or text_of(booster)], **options)
    expected = booster.predict(rows, pred_contrib=True)
    values, base = tables.contributions(rows)
    np.testing.assert_allclose(values, expected[:, :-1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(base, expected[:, -1], rtol=0, atol=1e-9)
    raw = booster.predict(rows, raw_score=True)
    np.testing.assert_allclose(values.sum(axis=1) + base, raw, rtol=0, atol=1e-9)
    np.testing.assert_allclose(tables.scores(rows), raw, rtol=0, atol=1e-9)
    return tables


def edited(text, key, new):
    """Return the model text after `new` of each list of numbers under `key`."""
    return re.sub(rf"(\n{key}=)(.+)", lambda hit: hit[1] + " ".join(map(str, new(hit[2].split()))), text)


def load(text):
    """Return the booster of an edited text; LightGBM crashes when lengths of trees are wrong, but can do without."""
    return lgb.Booster(model_str=re.sub(r"\ntree_sizes=.*", "", text))


@pytest.mark.slow
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 7),
    n_categories=st.sampled_from([0, 0, 1, 2]),
    levels=st.sampled_from([2, 9, 70]),
    rounds=st.integers(1, 15),
    num_leaves=st.sampled_from([2, 3, 8, 31, 64]),
    max_depth=st.sampled_from([-1, 1, 3, 5]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    boosting=st.sampled_from(["gbdt", "dart"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    budget=st.sampled_from([2**27, 2**27, 3_000, 0]),
)
def test_random_models_equal_lightgbm(
    seed, n_features, n_categories, levels, rounds, num_leaves, max_depth, use_missing, zero_as_missing, boosting,
    dtype, budget,
):  # fmt: skip
    X, y = sample(seed, n=250, n_features=n_features)
    rng = np.random.default_rng(seed)
    categories = range(min(n_categories, n_features))
    for column in categories:
        X[:, column] = rng.integers(0, levels, len(X))
        y = y ^ (X[:, column] % 3 == 0)
    booster = train(
        X, y, rounds=rounds, categories=categories, num_leaves=num_leaves, max_depth=max_depth, boosting=boosting,
        use_missing=use_missing, zero_as_missing=zero_as_missing, max_cat_to_onehot=4, seed=seed % 1000,
    )  # fmt: skip
    with np.errstate(over="ignore"):
        rows = difficult_rows(booster, X, rng).astype(dtype)
    assert_exact(booster, rows, budget=budget)


@pytest.mark.parametrize("missing", [0, 1, 2], ids=["none", "zero", "nan"])
@pytest.mark.parametrize("default_left", [0, 1], ids=["right", "left"])
def test_every_kind_of_missing_value_and_both_defaults(missing, default_left):
    X, y = sample(1)
    trained = train(X, y)
    text = edited(text_of(trained), "decision_type", lambda old: [4 * missing + 2 * default_left] * len(old))
    assert_exact(load(text), difficult_rows(trained, X, np.random.default_rng(0), 200), text)


def test_kinds_of_missing_values_may_differ_from_split_to_split():
    X, y = sample(2)
    kinds = itertools.cycle([0, 2, 4, 6, 8, 10, 2])
    trained = train(X, y, num_leaves=15)
    text = edited(text_of(trained), "decision_type", lambda old: [next(kinds) for _ in old])
    assert_exact(load(text), difficult_rows(trained, X, np.random.default_rng(0), 200), text)


@pytest.mark.parametrize("kind", [0, 4, 6, 8, 10])
def test_thresholds_among_the_values_that_are_read_as_zero(kind):
    X, y = sample(3)
    tiny = itertools.cycle(["0", "-0", "1e-36", "-1e-36", "5e-324", "1e-35", "1.0000000180025095e-35", "0.5", "inf"])
    text = edited(text_of(train(X, y)), "threshold", lambda old: [next(tiny) for _ in old])
    text = edited(text, "decision_type", lambda old: [kind] * len(old))
    assert_exact(load(text), np.random.default_rng(0).choice(ODD, (300, X.shape[1])), text)


def test_categories_unseen_negative_missing_broken_and_beyond_the_integers():
    rng = np.random.default_rng(4)
    X = np.column_stack([rng.integers(0, 40, 2_000), rng.integers(0, 3, 2_000), rng.normal(size=2_000)]).astype(float)
    booster = train(X, (X[:, 0] % 3 == 0) ^ (X[:, 1] == 1) ^ (X[:, 2] > 0), categories=[0, 1], num_leaves=15)
    odd = [*ODD, *range(-2, 45), 0.999, -0.999, -1.001, 38.5, 63, 64, 2**31 - 1, 2**31 - 0.5, -(2.0**31), -(2.0**33)]
    rows = np.array(list(itertools.product(odd, [0, 1, 2, np.nan, 7], [-1, 1, np.nan])))
    assert "num_cat=0" not in text_of(booster).split("Tree=1")[0]
    assert_exact(booster, rows)


def test_a_feature_may_be_a_category_in_one_booster_and_a_number_in_another():
    rng = np.random.default_rng(5)
    X = np.column_stack([rng.integers(0, 12, 800), rng.normal(size=800)]).astype(float)
    y = (X[:, 0] % 3 == 0) ^ (X[:, 1] > 0)
    pair = [train(X, y, categories=[0]), train(X, y)]
    rows = difficult_rows(pair[1], X, rng, 200)
    values, _ = compile_boosters([text_of(one) for one in pair]).contributions(rows)
    expected = sum(one.predict(rows, pred_contrib=True)[:, :-1] for one in pair)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def test_more_cuts_than_one_byte_can_count():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(4_000, 2))
    y = np.sin(90 * X[:, 0]) + X[:, 1]
    booster = train(X, y, rounds=12, objective="regression", num_leaves=200, max_bin=2_000)
    rows = difficult_rows(booster, X, rng, 2_000)
    assert np.diff(assert_exact(booster, rows).layout.cut_start).max() > 2 * 255


def test_more_categories_than_one_byte_can_count():
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.integers(0, 700, 6_000), rng.normal(size=6_000)]).astype(float)
    booster = train(X, (X[:, 0] % 7 < 3) ^ (X[:, 1] > 1), categories=[0], rounds=30, max_bin=800)
    assert_exact(booster, difficult_rows(booster, X, rng, 500))


def test_one_feature_split_again_and_again():
    x = np.linspace(0, 1, 600)[:, None]
    booster = train(x, np.sin(40 * x[:, 0]) > 0, num_leaves=60, max_depth=-1)
    assert_exact(booster, np.linspace(-0.1, 1.1, 400)[:, None])


def test_trees_without_a_split_and_models_without_a_tree_that_splits():
    X, y = sample(8)
    constant = train(X, y, min_data_in_leaf=1_000, rounds=1)
    assert constant.dump_model()["tree_info"][0]["num_leaves"] == 1
    assert_exact(constant, X)
    assert_exact(train(X, y, num_leaves=2), X)  # stumps
    assert_exact(train(X, y, num_leaves=2, rounds=1), X)


def deep_booster(n_features=24):
    """Each leaf but the last leaves the path at another feature."""
    rng = np.random.default_rng(9)
    X = (rng.random((30_000, n_features)) < 0.75).astype(float)
    target = np.cumprod(X, axis=1) @ np.arange(n_features, 0, -1.0) ** 2
    return train(X, target, rounds=3, objective="regression", num_leaves=40, min_data_in_leaf=1), X


def test_leaves_with_too_many_features_for_a_table():
    booster, X = deep_booster()
    rows = X[:300]
    tables = compile_boosters([text_of(booster)])
    features = np.diff(tables.layout.factor_start)
    assert features.max() > 16
    values, base = tables.contributions(rows)
    raw = booster.predict(rows, raw_score=True)
    expected = booster.predict(rows, pred_contrib=True)[:, :-1]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9 * np.abs(raw).max())
    np.testing.assert_allclose(values.sum(axis=1) + base, raw, rtol=0, atol=1e-9)


@pytest.mark.parametrize("budget", [2**27, 20_000, 2_000, 0])
def test_the_budget_bounds_the_tables_and_changes_nothing_else(budget):
    X, y = sample(10, n=1_500, n_features=8)
    booster = train(X, y, rounds=20, num_leaves=31)
    tables = assert_exact(booster, X[:200], budget=budget)
    assert tables.layout.entries.nbytes <= min(budget, tables.nbytes)
    assert (len(tables.layout.direct_value) > 0) == (budget < 2**27)


def shapley(booster, row):
    """Shapley's definition over all sets of features; the value of a set is the path-dependent expectation."""
    model = booster.dump_model()
    n = model["max_feature_idx"] + 1

    def cover(node):
        return node.get("internal_count", node.get("leaf_count"))

    def expectation(node, known):
        if "leaf_value" in node:
            return node["leaf_value"]
        left, right = node["left_child"], node["right_child"]
        if node["split_feature"] in known:
            return expectation(left if row[node["split_feature"]] <= node["threshold"] else right, known)
        share = cover(left) / cover(node) if cover(node) else 0.5
        other = cover(right) / cover(node) if cover(node) else 0.5
        return share * expectation(left, known) + other * expectation(right, known)

    def worth(known):
        return sum(expectation(tree["tree_structure"], known) for tree in model["tree_info"])

    phi = np.zeros(n)
    for j in range(n):
        others = [k for k in range(n) if k != j]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for known in itertools.combinations(others, size):
                phi[j] += weight * (worth({*known, j}) - worth(set(known)))
    return phi, worth(set())


@pytest.mark.parametrize("budget", [2**27, 0])
def test_leaves_that_no_training_row_reached(budget):
    X, y = sample(11, missing=0, n_features=4)
    text = edited(text_of(train(X, y, rounds=2, num_leaves=9)), "leaf_count", lambda old: [0, *old[1:-1], 0])
    text = edited(text, "internal_count", lambda old: [*old[:-2], 0, 0])
    booster = load(text)
    tables = compile_boosters([text], budget=budget)
    rows = X[:25]
    values, base = tables.contributions(rows)
    for row, found in zip(rows, values, strict=True):
        phi, expected_base = shapley(booster, row)
        np.testing.assert_allclose(found, phi, rtol=0, atol=1e-12)
        assert base == pytest.approx(expected_base, abs=1e-12)
    np.testing.assert_allclose(tables.scores(rows), booster.predict(rows, raw_score=True), rtol=0, atol=1e-12)


def test_a_bag_is_the_weighted_sum_of_its_boosters():
    X, y = sample(12)
    bag = [train(X, y, seed=seed, bagging_fraction=0.6, bagging_freq=1) for seed in range(3)]
    texts = [text_of(one) for one in bag]
    parts = np.array([one.predict(X, pred_contrib=True) for one in bag])
    mean = compile_boosters(texts, scale=0.8 / 3, intercept=-1.5)
    np.testing.assert_allclose(mean.contributions(X)[0], 0.8 * parts.mean(axis=0)[:, :-1], rtol=0, atol=1e-12)
    assert mean.base == pytest.approx(0.8 * parts[:, 0, -1].mean() - 1.5)
    uneven = compile_boosters(texts, scale=[1, 0, -2]).contributions(X)[0]
    np.testing.assert_allclose(uneven, (parts[0] - 2 * parts[2])[:, :-1], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def model():
    X, y = sample(13, n=6_000, n_features=6)
    booster = train(X, y, rounds=12, num_leaves=15)
    return SimpleNamespace(X=X, booster=booster, text=text_of(booster), tables=compile_boosters([text_of(booster)]))


def test_neither_threads_nor_neighbours_change_a_bit(model):
    values, _ = model.tables.contributions(model.X)
    order = np.random.default_rng(0).permutation(len(model.X))
    for threads in (2, 3):
        np.testing.assert_array_equal(model.tables.contributions(model.X, threads=threads)[0], values)
    np.testing.assert_array_equal(model.tables.contributions(model.X[order])[0], values[order])
    for row in (0, 17, 5_999):
        np.testing.assert_array_equal(model.tables.contributions(model.X[row : row + 1])[0][0], values[row])
    np.testing.assert_array_equal(model.tables.scores(model.X, threads=2), model.tables.scores(model.X))


def test_any_form_of_matrix_is_read_alike(model):
    X = np.nan_to_num(model.X[:50]).round()
    expected, _ = model.tables.contributions(X)
    for form in (np.asfortranarray(X), X.tolist(), pd.DataFrame(X), X.astype(int), np.repeat(X, 2, axis=0)[::2]):
        np.testing.assert_array_equal(model.tables.contributions(form)[0], expected)
    assert model.tables.contributions(X[:0])[0].shape == (0, 6)
    assert model.tables.scores(X[:0]).shape == (0,)


def test_top_is_the_largest_contributions_in_order(model):
    values, _ = model.tables.contributions(model.X)
    index, value, scores = model.tables.top(model.X, 4, threads=2)
    order = np.argsort(-values, axis=1, kind="stable")[:, :4]
    assert index.dtype == np.uint8
    np.testing.assert_array_equal(index, order)
    np.testing.assert_array_equal(value, np.take_along_axis(values, order, axis=1))
    np.testing.assert_array_equal(scores, model.tables.scores(model.X))


def test_top_adds_up_groups_of_features_first(model):
    owner = np.array([1, 0, 1, 2, 0, 1])
    values, _ = model.tables.contributions(model.X)
    sums = np.column_stack([values[:, owner == group].sum(axis=1) for group in range(3)])
    index, value, _ = model.tables.top(model.X, 3, owner=owner)
    best = np.argsort(-sums, axis=1, kind="stable")
    np.testing.assert_allclose(value, np.take_along_axis(sums, best, axis=1), rtol=0, atol=1e-12)
    lead = np.column_stack([np.where(owner == group, values, -np.inf).argmax(axis=1) for group in range(3)])
    np.testing.assert_array_equal(index, np.take_along_axis(lead, best, axis=1))


def test_warming_up_compiles_all_that_answers_need(model):
    from dropout_risk.treeshap import kernel

    model.tables.warm_up()
    machine_code = [len(function.signatures) for function in (kernel.explain, kernel.strongest)]
    model.tables.top(model.X, 2, threads=2)
    model.tables.contributions(model.X.astype(np.float32))
    assert [len(function.signatures) for function in (kernel.explain, kernel.strongest)] == machine_code == [1, 1]


def test_many_features_need_wider_numbers():
    rng = np.random.default_rng(14)
    X = rng.normal(size=(300, 260))
    booster = train(X, X[:, 257] > 0, num_leaves=3)
    index, _, _ = compile_boosters([text_of(booster)]).top(X[X[:, 257] > 0], 1)
    assert index.dtype == np.uint16
    assert (index == 257).all()


def refusal(texts, **options):
    with pytest.raises(SettingsError) as caught:
        compile_boosters(texts, **options)
    return str(caught.value)


def test_boosters_of_other_kinds_are_refused_by_name_and_all_at_once():
    X, y = sample(15, missing=0)
    linear = text_of(train(X, y, linear_tree=True))
    forest = text_of(train(X, y, boosting="rf", bagging_fraction=0.5, bagging_freq=1))
    many = text_of(train(X, np.arange(len(y)) % 3, objective="multiclass", num_class=3))
    narrow = text_of(train(X[:, :2], y))
    said = refusal([linear, forest, many, narrow])
    assert "Booster 0 has linear trees" in said
    assert "Booster 1 is a random forest" in said
    assert "Booster 2 is a multiclass model" in said
    assert "different features" in said


def test_settings_that_make_no_sense_are_named(model):
    assert "no boosters" in refusal([])
    assert "2 scales for 1 boosters" in refusal([model.text], scale=[1, 2])
    said = refusal([model.text], scale=math.nan, budget=-1)
    assert "finite" in said and "budget=-1" in said
    for call in (
        lambda: model.tables.scores(model.X, threads=0),
        lambda: model.tables.top(model.X, 0),
        lambda: model.tables.top(model.X, 7),
        lambda: model.tables.top(model.X, 1, owner=[0, 2, 2, 2, 2, 2]),
        lambda: model.tables.top(model.X, 1, owner=[0]),
    ):
        with pytest.raises(SettingsError):
            call()


def test_matrices_that_do_not_fit_are_refused(model):
    with pytest.raises(ColumnsError, match="needs 6 columns"):
        model.tables.scores(model.X[:, :5])
    with pytest.raises(ColumnsError, match="needs 6 columns"):
        model.tables.scores(model.X[0])
    with pytest.raises(InputError, match="numbers"):
        model.tables.scores([["a"] * 6])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("\nend of trees", ""),
        lambda text: re.sub(r"\nTree=3\n.*?\n\n", "\n", text, flags=re.DOTALL),
        lambda text: re.sub(r"\nleaf_count=.*", "", text, count=1),
        lambda text: re.sub(r"(\nleaf_value=)\S+", r"\1nan", text, count=1),
        lambda text: re.sub(r"(\nleaf_value=)\S+", r"\1inf", text, count=1),
        lambda text: re.sub(r"(\nthreshold=)\S+", r"\1?", text, count=1),
        lambda text: re.sub(r"(\nthreshold=)\S+ ", r"\1", text, count=1),
        lambda text: re.sub(r"(\nsplit_feature=)\d+", r"\g<1>99", text, count=1),
        lambda text: re.sub(r"(\nleft_child=)\S+", r"\g<1>0", text, count=1),
        lambda text: re.sub(r"(\nleft_child=)\S+ ", r"\1", text, count=1),
        lambda text: re.sub(r"(\nright_child=)\S+", r"\g<1>500", text, count=1),
        lambda text: re.sub(r"(\ninternal_count=)\d+", r"\g<1>-4", text, count=1),
        lambda text: re.sub(r"(\ndecision_type=)\d+", r"\g<1>1", text, count=1),
        lambda text: re.sub(r"(\nnum_leaves=)\d+", r"\g<1>0", text, count=1),
        lambda text: "",
    ],
)
def test_damaged_texts_are_refused(model, damage):
    with pytest.raises(BundleError, match="damaged"):
        compile_boosters([damage(model.text)])


def test_categorical_splits_that_point_outside_their_sets_are_damage():
    rng = np.random.default_rng(16)
    X = rng.integers(0, 9, (300, 1)).astype(float)
    text = text_of(train(X, X[:, 0] % 2 == 0, categories=[0], max_cat_to_onehot=1))
    for key, new in (("threshold", "7"), ("threshold", "-1"), ("cat_boundaries", "5"), ("cat_boundaries", "0 9")):
        with pytest.raises(BundleError):
            compile_boosters([re.sub(rf"(\n{key}=).+", rf"\g<1>{new}", text)])


def test_importing_loads_neither_numba_nor_lightgbm():
    code = "import sys, dropout_risk.treeshap; print(sorted({'numba', 'lightgbm', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_a_folder_for_the_machine_code_it_is_compiled_in_memory(monkeypatch):
    asked = []

    def njit(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(jit, "numba", SimpleNamespace(njit=njit))
    assert jit.compiled(len) is len
    assert asked == [{"cache": True, "nogil": True}, {"nogil": True}]
