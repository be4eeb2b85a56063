"""Reasons: true of the number that is shown, in both languages, for every feature and for any flat table."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from county_builder import AUTUMN, SPRING, term_end
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from dropout_risk.cohort import cohorts
from dropout_risk.descriptions import FEATURES, GROUPS, MEASURES
from dropout_risk.errors import InputError, SettingsError
from dropout_risk.explanation import Explanation, explain, largest_groups
from dropout_risk.features import MONOTONE
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.reasons import in_language

LANGS = ("zh", "en")


@pytest.fixture(scope="module")
def training(county):
    return cohorts(county, as_of=[term_end(AUTUMN), term_end(SPRING)])


@pytest.fixture(scope="module", params=["boosted", "logistic"])
def explained(request, training):
    """A model of either kind with its explanation of the rows it learned from."""
    X, y, groups, term = training
    settings = {"monotone": MONOTONE, "n_estimators": 30, "small_data": request.param}
    model = DropoutRiskClassifier(**settings).fit(X, y, groups=groups, term=term)
    assert model.kind_ == request.param
    rows = X.iloc[::7]
    return model, rows, explain(model, rows)


# --- the numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "lang"), [("zh", "en"), ("en", "zh"), ("en", "en")])
def test_reasons_that_were_kept_read_in_another_language_as_if_told_in_it(explained, said, lang):
    _, _, explanation = explained
    kept, told = (json.loads(json.dumps([[r.to_dict() for r in own] for own in explanation.reasons(9, one)]))
                  for one in (said, lang))  # fmt: skip
    assert [in_language(own, lang) for own in kept] == told
    assert sum(map(len, told)) > len(told)


def test_a_reason_about_an_unknown_column_stays_as_it_was_told():
    kept = {"group": "shoe", "feature": "shoe", "text": "shoe: 38", "contribution": 1.0, "value": 38.0, "median": 37.0}
    assert in_language([kept], "en") == [kept]


@pytest.mark.slow
def test_contributions_add_up_to_the_log_odds(explained):
    model, X, explanation = explained
    total = explanation.values.sum(axis=1) + explanation.base_value
    np.testing.assert_allclose(total, model.decision_function(X), rtol=0, atol=1e-9)
    assert explanation.values.shape == X.shape
    assert explanation.values.dtype == np.float64


def test_the_risk_is_the_one_the_model_predicts(explained):
    model, X, explanation = explained
    np.testing.assert_allclose(explanation.risk, model.predict_proba(X)[:, 1], rtol=0, atol=1e-12)


def test_each_row_is_explained_by_itself(explained):
    model, X, explanation = explained
    alone = explain(model, X.iloc[[5]])
    np.testing.assert_allclose(alone.values[0], explanation.values[5], rtol=0, atol=1e-12)
    told_alone, told = (e.reasons(lang="en")[row] for e, row in ((alone, 0), (explanation, 5)))
    assert [reason.text for reason in told_alone] == [reason.text for reason in told]


def test_the_comparison_is_that_of_the_grade(explained, training):
    _, X, explanation = explained
    for position in (0, len(X) // 2, len(X) - 1):
        peers = training.X[training.X["grade"] == X["grade"].iloc[position]]
        pd.testing.assert_series_equal(
            explanation.medians.iloc[position].astype("float64"), peers.median(), check_names=False
        )


def test_an_unknown_grade_is_compared_with_all(explained, training):
    model, X, _ = explained
    row = X.iloc[[0]].assign(grade=np.nan)
    medians = explain(model, row).medians.iloc[0].astype("float64")
    pd.testing.assert_series_equal(medians, training.X.median(), check_names=False)


# --- the reasons --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 5, 99])
def test_reasons_are_the_groups_that_raise_the_risk_the_strongest_first(explained, k):
    _, _, explanation = explained
    columns = pd.Series(range(len(explanation.feature_names)), explanation.feature_names)
    for row, reasons in enumerate(explanation.reasons(k=k, lang="en")):
        totals = {
            group: explanation.values[row, [columns[f.name] for f in FEATURES.values() if f.group == group]].sum()
            for group in GROUPS
        }
        raising = sorted((total for total in totals.values() if total > 0), reverse=True)
        assert [reason.contribution for reason in reasons] == pytest.approx(raising[:k], abs=1e-12)
        for reason in reasons:
            assert reason.contribution == pytest.approx(totals[reason.group], abs=1e-12)
            members = {f.name: explanation.values[row, columns[f.name]] for f in FEATURES.values()
                       if f.group == reason.group}  # fmt: skip
            assert members[reason.feature] == max(members.values())


def test_groups_are_told_apart_completely(explained):
    """All groups together carry the whole of the log-odds."""
    _, _, explanation = explained
    everything = explanation.reasons(k=99)
    for row in range(len(explanation.values)):
        positive = sum(reason.contribution for reason in everything[row])
        whole = explanation.values[row].sum()
        assert positive >= whole - 1e-9


def test_a_reason_says_what_to_do_about_it(explained):
    _, X, explanation = explained
    for lang in LANGS:
        for row, reasons in enumerate(explanation.reasons(lang=lang)):
            for reason in reasons:
                feature = FEATURES[reason.feature]
                assert reason.label == GROUPS[reason.group][lang]
                assert reason.changeable == feature.changeable
                own = X[reason.feature].iloc[row]
                missing = np.isnan(own)
                assert (reason.value is None) == missing
                assert missing or reason.value == own
                assert reason.measure == MEASURES["record" if missing else feature.measure][lang]


@pytest.mark.parametrize(("options", "told"), [({"k": 0}, "1 or more"), ({"lang": "fr"}, "zh or en")])
def test_senseless_requests_are_refused(explained, options, told):
    with pytest.raises(SettingsError, match=told):
        explained[2].reasons(**options)


def test_a_reason_is_plain_data(explained):
    import json

    reason = next(reasons[0] for reasons in explained[2].reasons() if reasons)
    assert json.loads(json.dumps(reason.to_dict(), allow_nan=False)) == reason.to_dict()


def test_columns_in_another_order_are_refused(explained):
    model, X, _ = explained
    with pytest.raises(InputError, match="same order"):
        explain(model, X[X.columns[::-1]])


# --- the sentences ------------------------------------------------------------------------------------


def told(name, value, median, lang):
    """Return the reason when `name` has `value` in a grade with `median`, and nothing else raises the risk."""
    data, medians = (pd.DataFrame([dict.fromkeys(FEATURES, np.nan) | {name: v}]) for v in (value, median))
    values = np.where(data.columns == name, 1.0, 0.0)[None, :]
    (reasons,) = Explanation(values, -3.0, data, medians).reasons(lang=lang)
    (reason,) = reasons
    return reason


VALUES = {
    "number": [0.0, 7.25, 120.0],
    "whole": [0.0, 9.0, 31.0],
    "percent": [0.0, 0.004, 0.125, 1.0],
    "points": [-0.25, -0.0001, 0.0, 0.004, 0.31],
    "percentile": [0.005, 0.5, 0.995],
    "yes_no": [0.0, 1.0],
    "poverty": [0.0, 1.0, 2.0, 0.5],
    "away": [0.0, 1.0, 2.0],
}


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_has_a_sentence_with_and_without_its_numbers(name, lang):
    feature = FEATURES[name]
    for value in VALUES[feature.show]:
        for median in (value, np.nan):
            text = told(name, value, median, lang).text
            assert not re.search(r"nan|None|[{}]|(?<![\d.])-0(?![\d.])", text), text
            assert bool(re.search("[一-鿿]", text)) == (lang == "zh"), text
    missing = told(name, np.nan, np.nan, lang)
    assert missing.text == (f"没有登记：{feature.zh}" if lang == "zh" else f"not recorded: {feature.en.lower()}")
    assert missing.value is None
    assert missing.measure == MEASURES["record"][lang]


@pytest.mark.parametrize("lang", LANGS)
def test_a_missing_comparison_is_called_unknown(lang):
    for name, feature in FEATURES.items():
        template = feature.sentence_zh if lang == "zh" else feature.sentence_en
        text = told(name, VALUES[feature.show][0], np.nan, lang).text
        assert ({"zh": "未知", "en": "unknown"}[lang] in text) == ("{median}" in template)


@pytest.mark.parametrize(
    ("name", "value", "median", "text"),
    [
        ("absent_days_20", 9, 0, "absent 9 of the last 20 school days; median of the grade: 0"),
        ("absence_rate", 0.125, 0.0026, "absent on 12.5 % of the reported days this term; median of the grade: 0.3 %"),
        ("distance_km", 6.25, 3.0, "lives 6.2 km from school; median of the grade: 3"),
        ("poverty_level", 2, 0, "poverty status of the household: registered poor; most of the grade: none"),
        ("score_level", 0.084, 0.5, "marks above 8 % of the county's grade; median: 50"),
        ("mother_away", 1, 0, "the mother lives away: yes; most of the grade: no"),
    ],
)
def test_sentences_read_as_people_say_them(name, value, median, text):
    assert told(name, value, median, "en").text == text


def test_the_chinese_sentence_of_the_same():
    text = told("absent_days_20", 9, 0, "zh").text
    assert text == "最近20个上课日缺勤 9 天（同年级中位数 0 天）"


def test_a_small_change_of_absence_is_not_told_as_none():
    """Recorded absence is about 0.3 % in the whole country: tenths of a point are the news."""
    assert "+0 " not in told("absence_change", 0.004, 0.0, "en").text


def test_students_who_share_value_and_comparison_read_the_same_sentence_and_each_has_its_own_contribution():
    data = pd.DataFrame(np.nan, range(4), list(FEATURES)).assign(distance_km=[3.0, 7.25, 3.0, 0.0])
    values = np.zeros(data.shape)
    values[:, list(FEATURES).index("distance_km")] = [0.5, 0.75, 1.0, 0.0]
    first, second, third, nothing = Explanation(values, -3.0, data, data.assign(distance_km=2.0)).reasons(lang="en")
    assert [first[0].text, second[0].text] == [
        "lives 3 km from school; median of the grade: 2",
        "lives 7.2 km from school; median of the grade: 2",
    ]
    assert third[0].text == first[0].text
    assert [reason.contribution for (reason,) in (first, second, third)] == [0.5, 0.75, 1.0]
    assert nothing == []


@given(
    values=npst.arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 24)), elements=st.floats(-9, 9)),
    seed=st.integers(0, 99),
    k=st.integers(1, 5),
)
def test_the_groups_of_a_row_are_the_same_to_the_last_bit_however_many_rows_come_with_it(values, seed, k):
    owner = np.random.default_rng(seed).integers(0, 3, values.shape[1])
    owner = np.unique(owner, return_inverse=True)[1]
    lead, totals = largest_groups(values, owner, k)
    for row, own in enumerate(values.tolist()):
        sums, first = {}, {}
        for feature, group in enumerate(owner.tolist()):
            sums[group] = sums[group] + own[feature] if group in sums else own[feature]
            if group not in first or own[feature] > own[first[group]]:
                first[group] = feature
        expected = sorted(sums, key=lambda group: (-sums[group], group))[:k]
        assert totals[row].tolist() == [sums[group] for group in expected]
        assert lead[row].tolist() == [first[group] for group in expected]
        alone = largest_groups(values[[row]], owner, k)
        assert (alone[0].tolist(), alone[1].tolist()) == ([lead[row].tolist()], [totals[row].tolist()])


def test_reasons_can_be_compared_and_counted():
    reasons = [told("distance_km", value, 2.0, "en") for value in (3.0, 3.0, 4.0)]
    assert reasons[0] == reasons[1] != reasons[2]
    assert len(set(reasons)) == 2


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_has_no_sign(zero):
    assert "lives 0 km" in told("distance_km", zero, zero, "en").text


# --- flat tables --------------------------------------------------------------------------------------


def flat_table(rows=600):
    rng = np.random.default_rng(4)
    X = pd.DataFrame(
        {
            "tardies": rng.poisson(2, rows).astype(float),
            "lives_with": pd.Categorical(rng.choice(["parents", "grandparents", "alone"], rows)),
            "repeats": rng.random(rows) < 0.2,
            "房租": rng.gamma(2, 100, rows),
        }
    )
    X.loc[::9, "tardies"] = np.nan
    X.loc[4::11, "lives_with"] = np.nan
    log_odds = X["tardies"].fillna(4) / 2 + 2 * (X["lives_with"] == "alone") + X["repeats"] - 3
    return X, (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int)


@pytest.mark.parametrize("kind", ["boosted", "logistic"])
def test_any_flat_table_has_reasons(kind):
    X, y = flat_table()
    model = DropoutRiskClassifier(small_data=kind, n_estimators=30).fit(X, y)
    explanation = explain(model, X)
    np.testing.assert_allclose(
        explanation.values.sum(axis=1) + explanation.base_value, model.decision_function(X), rtol=0, atol=1e-9
    )
    for lang in LANGS:
        reasons = [reason for row in explanation.reasons(lang=lang) for reason in row]
        assert {reason.feature for reason in reasons} == set(X.columns)
        for reason in reasons:
            assert reason.group == reason.label == reason.feature
            assert reason.changeable is None
            assert reason.measure == ""
            assert reason.feature in reason.text
            assert not re.search("nan|None", reason.text), reason.text
    alone = [
        reason
        for row, reasons in enumerate(explanation.reasons(lang="en"))
        for reason in reasons
        if reason.feature == "lives_with" and X["lives_with"].iloc[row] == "alone"
    ]
    assert alone
    assert {reason.value for reason in alone} == {"alone"}
    assert alone[0].median in set(X["lives_with"].cat.categories)


@pytest.mark.parametrize(
    ("name", "levels"),
    [("migrant", ["yes", "no"]), ("grade", ["seventh", "eighth"]), ("distance_km", ["near", "far"])],
)
def test_a_flat_table_may_use_a_name_of_ours_for_something_else(name, levels):
    X, y = flat_table()
    X = X.assign(**{name: pd.Categorical(np.where(y, levels[0], levels[1]))})
    model = DropoutRiskClassifier(small_data="logistic").fit(X, y)
    texts = [r.text for row in explain(model, X).reasons(k=9, lang="en") for r in row if r.feature == name]
    assert texts
    assert all(levels[0] in text or levels[1] in text for text in texts)


def test_a_flat_column_called_like_a_group_stays_by_itself():
    X, y = flat_table()
    rng = np.random.default_rng(0)
    X = X[["tardies"]].assign(absence_rate=rng.random(len(X)), attendance=y + rng.random(len(X)))
    model = DropoutRiskClassifier(small_data="logistic").fit(X, y)
    explanation = explain(model, X)
    for row, reasons in enumerate(explanation.reasons(k=9, lang="en")):
        own = {reason.feature: reason.contribution for reason in reasons}
        if "attendance" in own:
            assert own["attendance"] == pytest.approx(explanation.values[row, 2], abs=1e-12)


# --- SHAP's own plots ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what shap and matplotlib say to each other
@pytest.mark.parametrize("lang", LANGS)
def test_shap_draws_waterfall_and_beeswarm(explained, tmp_path, lang):
    import matplotlib

    matplotlib.use("Agg")
    import shap
    from matplotlib import pyplot

    _, X, explanation = explained
    drawn = explanation.to_shap(lang)
    assert drawn.feature_names == [FEATURES[name].label(lang) for name in X.columns]
    np.testing.assert_array_equal(drawn.values, explanation.values)
    np.testing.assert_allclose(
        drawn.base_values + drawn.values.sum(axis=1), np.log(explanation.risk / (1 - explanation.risk))
    )
    for number, draw in enumerate([lambda: shap.plots.waterfall(drawn[0], show=False),
                                   lambda: shap.plots.beeswarm(drawn, show=False),
                                   lambda: shap.plots.bar(drawn, show=False)]):  # fmt: skip
        draw()
        picture = tmp_path / f"{number}.png"
        pyplot.savefig(picture)
        pyplot.close("all")
        assert picture.stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_shap_draws_a_flat_table_with_categories(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import shap
    from matplotlib import pyplot

    X, y = flat_table()
    model = DropoutRiskClassifier(small_data="logistic").fit(X, y)
    drawn = explain(model, X).to_shap("en")
    shap.plots.waterfall(drawn[0], show=False)
    pyplot.close("all")
    shap.plots.beeswarm(drawn, show=False)
    pyplot.close("all")
