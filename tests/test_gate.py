"""The release gate: each condition at its bound, what it says, and that nothing missing makes it fall over."""

import copy
import json
import math
from dataclasses import asdict

import pytest
from assessment_sample import full_assessment, null_assessment
from hypothesis import given, settings
from hypothesis import strategies as st
from release_builder import FAULTS, assessment, sound

from dropout_risk.audit import AUDIT
from dropout_risk.card import model_card
from dropout_risk.errors import SettingsError
from dropout_risk.features import RULES
from dropout_risk.figures import figures
from dropout_risk.gate import COUNTY_RULES, DEFAULT_GATE, Gate, check_release, leak_alarms
from dropout_risk.gate_text import JUDGED, LABELS, TEXTS

LANGS = ("zh", "en")
LEVELS = [(column, level) for column, levels in JUDGED.items() for level in levels]


def with_change(path, value):
    """Return the sound assessment with another value at `path`."""
    changed = sound()
    *way, last = path.split("/")
    part = changed
    for name in way:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[int(last) if isinstance(part, list) else last] = value
    return changed


def with_group(column, level, **cell):
    changed = sound()
    for row in changed["evaluation"]["per_group"]:
        if (row["column"], row["level"]) == (column, level):
            row |= cell
    return changed


def failed(assessment, gate=DEFAULT_GATE):
    return [condition.name for condition in check_release(assessment, gate).failed]


def condition(assessment, name, gate=DEFAULT_GATE):
    return next(one for one in check_release(assessment, gate).conditions if one.name == name)


# Each condition at its bound -------------------------------------------------------------------------


def test_a_sound_model_passes_every_condition_and_says_its_figures():
    verdict = check_release(sound())
    assert verdict.passed and not verdict.failed
    assert [one.name for one in verdict.conditions] == list(LABELS)
    assert [one.figure for one in verdict.conditions] == [200, 0.3, 0.05, 0.005, pytest.approx(1), 1, 0.96, 0]


METRICS = "evaluation/metrics"


@pytest.mark.parametrize(
    ("name", "path", "holds", "breaks"),
    [
        ("evidence", "evaluation/rows", 2500, 2400),
        ("unseen_places", "held_out/evaluation/metrics/recall_at_10/low", 0.1001, 0.1),
        ("rules", "evaluation/differences/school_mean/recall_at_10/low", 1e-6, 0.0),
        ("calibration", f"{METRICS}/ece/value", 0.02, 0.0201),
        ("coverage", "coverage/share", 0.9, 0.8999),
        ("leak", f"{METRICS}/auc/value", 0.95, 0.9501),
        ("leak", "drivers/features/1/gain_share", 0.6, 0.601),
        ("leak", "oracle", {"auc_difference": {"low": 0.0}}, {"auc_difference": {"low": 0.001}}),
    ],
)
def test_a_condition_holds_at_its_bound_and_breaks_beyond_it(name, path, holds, breaks):
    assert failed(with_change(path, holds)) == []
    assert failed(with_change(path, breaks)) == [name]


@pytest.mark.parametrize(("ratio", "holds"), [(1.25, True), (1.26, False), (0.8, True), (0.79, False)])
def test_risks_may_be_a_quarter_too_high_or_too_low_on_the_whole(ratio, holds):
    changed = sound()
    for row in changed["evaluation"]["calibration"]:
        row["mean_risk"] *= ratio
    changed["evaluation"]["calibration"].append({"column": "all", "level": "all", "suppressed": True})
    changed["evaluation"]["calibration"].append(
        {"column": "sex", "level": "male", "rows": 9, "mean_risk": 1, "observed": 0}
    )
    found = condition(changed, "risk_level")
    assert found.passed == holds and found.figure == pytest.approx(ratio)
    assert holds or ("too high" if ratio > 1 else "too low") in found.en


@pytest.mark.parametrize(
    ("recall", "high", "holds"),
    [(0.4, 0.41, True), (0.399, 0.41, False), (0.39, 0.55, True), (0.2, None, False), (0.1, 0.3, False)],
)
@pytest.mark.parametrize(("column", "level"), LEVELS)
def test_a_group_fails_when_it_is_below_the_share_and_not_by_chance(column, level, recall, high, holds):
    found = condition(with_group(column, level, recall=recall, recall_high=high), "subgroups")
    assert found.passed == holds
    for lang in LANGS:
        assert JUDGED[column][level][lang] in asdict(found)[lang]
    assert found.figure == pytest.approx(recall / 0.5)


def test_with_more_groups_judged_a_low_figure_is_more_easily_chance():
    low = with_group("sex", "female", recall=0.37, recall_high=0.46)
    assert condition(low, "subgroups", Gate(judged=("sex",))).passed is False
    assert condition(low, "subgroups").passed is True


def test_only_disadvantaged_groups_are_judged_and_both_sexes():
    changed = sound()
    changed["evaluation"]["per_group"].append(
        {"column": "poverty", "level": "none", "suppressed": False, "recall": 0.1, "recall_high": 0.2}
    )
    assert failed(changed) == []


def test_groups_that_are_too_small_are_named_as_not_judged():
    text = condition(with_group("disability", "yes", suppressed=True, recall=None), "subgroups")
    assert text.passed
    assert "Not judged, too few or not recorded: students with a disability" in text.en
    assert "未判断（人数太少或没有记录）：残疾学生" in text.zh


def test_every_rule_that_is_not_beaten_is_named():
    changed = sound()
    changed["evaluation"]["differences"]["poverty_list"]["recall_at_10"] = {"value": 0.02, "low": -0.01, "high": 0.05}
    del changed["evaluation"]["differences"]["random"]
    found = condition(changed, "rules")
    assert "poverty register only (+2.0 points, -1.0 to +5.0)" in found.en and "drawn by lot (not compared" in found.en
    assert "absence rate" not in found.en and found.figure == -0.01


def test_a_rule_that_was_left_out_is_missed_in_a_county_but_not_in_a_flat_table():
    changed = sound()
    for part in ("rules", "differences"):
        changed["evaluation"][part] = {"baseline": sound()["evaluation"][part]["random"]}
    assert failed(changed) == ["rules"]
    changed["data"]["preset"] = None
    assert failed(changed) == []
    for part in ("rules", "differences"):
        changed["evaluation"][part] = {"random": sound()["evaluation"][part]["random"]}
    assert failed(changed) == ["rules"]  # to beat a draw says nothing


def test_rows_dealt_at_random_are_no_evidence():
    changed = sound()
    changed["evaluation"] |= {"per_term": [], "groups": 10_000}
    assert failed(changed) == ["evidence"]
    assert "--group or --time" in condition(changed, "evidence").en
    changed["evaluation"]["groups"] = 40
    assert failed(changed) == []


def test_a_flat_table_without_audit_columns_is_not_judged_by_group():
    changed = sound()
    changed["data"], changed["held_out"] = {"rows": 900, "preset": None}, None
    changed["evaluation"]["per_group"] = []
    verdict = check_release(changed)
    assert verdict.passed
    assert condition(changed, "subgroups").en == "Not judged: the table has no audit columns."
    assert "不作判断" in condition(changed, "unseen_places").zh


def test_graduates_are_no_cause_of_low_coverage():
    causes = [
        {"zh": "已毕业。", "en": "has graduated.", "rows": 300, "needed": False},
        {"zh": "没有年级。", "en": "the grade is missing.", "rows": 120, "needed": True},
        {"zh": "没有学校。", "en": "the school is missing.", "rows": 130},
    ]
    found = condition(with_change("coverage", {"share": 0.7, "causes": causes}), "coverage")
    assert "the school is missing. (130 rows)" in found.en and "没有学校。（130 行）" in found.zh


def test_the_settings_of_the_gate_are_those_that_count():
    strict = Gate(max_ece=0.001, min_coverage=0.99, worst_group_share=1, auc_ceiling=0.7, min_events=1000)
    assert failed(with_group("sex", "male", recall=0.45, recall_high=0.46), strict) == [
        "evidence", "calibration", "subgroups", "coverage", "leak",
    ]  # fmt: skip
    assert failed(sound(), Gate(metric="recall_at_5")) == ["unseen_places", "rules"]


# What is missing -------------------------------------------------------------------------------------

PARTS = {
    "validation": ["evidence"],
    "held_out": ["unseen_places"],
    "coverage": ["coverage"],
    "drivers": ["leak"],
    "evaluation/rules": ["rules"],
    "evaluation/differences": ["rules"],
    "evaluation/metrics": ["calibration", "subgroups", "leak"],
    "evaluation/per_group": ["subgroups"],
    "evaluation/calibration": ["risk_level"],
    "evaluation/base_rate": ["evidence"],
}


@pytest.mark.parametrize(("path", "names"), PARTS.items())
@pytest.mark.parametrize("empty", [None, {}, []])
def test_what_is_missing_fails_its_conditions_and_says_what_to_run(path, names, empty):
    verdict = check_release(with_change(path, empty))
    assert [one.name for one in verdict.failed] == names
    for one in verdict.failed:
        assert "dropout-risk train" in one.en and "dropout-risk train" in one.zh


@pytest.mark.parametrize("old", [{}, {"validation": "out of time"}, {"metrics": {"auc": 0.8}, "per_group": []}])
def test_figures_of_an_old_bundle_fail_everything(old):
    assert failed(old) == list(LABELS)


def test_the_assessments_of_other_tests_can_be_judged():
    assert len(check_release(full_assessment()).conditions) == len(LABELS)
    assert "rules" in failed(null_assessment())


NUMBERS = {
    "evaluation/rows": "evidence",
    "held_out/evaluation/metrics/recall_at_10/low": "unseen_places",
    "evaluation/differences/random/recall_at_10/low": "rules",
    "evaluation/metrics/ece/value": "calibration",
    "evaluation/metrics/recall_at_10/value": "subgroups",
    "coverage/share": "coverage",
    "evaluation/metrics/auc/value": "leak",
}


@pytest.mark.parametrize(("path", "name"), NUMBERS.items())
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 10**400, True, "0.99", [1]])
def test_what_is_no_number_passes_no_condition(path, name, value):
    verdict = check_release(with_change(path, value))
    assert name in [one.name for one in verdict.failed]
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_figures_beyond_all_measure_can_still_be_written_down():
    verdict = check_release(with_change("evaluation/metrics/recall_at_10/value", 5e-324))
    json.dumps(verdict.to_dict(), allow_nan=False)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "low", "rows", "column", "recall", "zh", "share", "auc"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def places_in(part, path=()):
    entries = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, inner in entries:
        yield (*path, name)
        yield from places_in(inner, (*path, name))


def holds(part, name):
    """Whether the way is still there: an earlier change may have taken it."""
    if isinstance(part, list):
        return isinstance(name, int) and name < len(part)
    return isinstance(part, dict) and name in part


WHOLE = {**full_assessment(), **sound()}
PLACES = list(places_in(WHOLE))


@settings(max_examples=150)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), junk), min_size=1, max_size=4), rest=st.booleans())
def test_no_assessment_makes_the_gate_the_card_or_the_figures_fall_over(changes, rest):
    broken = copy.deepcopy(WHOLE if rest else sound())
    for (*way, last), value in changes:
        part = broken
        for name in way:
            part = part[name] if holds(part, name) else None
        if holds(part, last):
            part[last] = value
    verdict = check_release(broken)
    assert [one.name for one in verdict.conditions] == list(LABELS)
    json.dumps(verdict.to_dict(), allow_nan=False)
    assert verdict.to_text("zh") and verdict.to_text("en")
    names = ("preset", "bands", "data", "versions", "features", "categories", "model")
    assert model_card(
        dict.fromkeys(names, {}) | {"kind": "flat", "created": "", "horizon": 1, "format": 1, "metrics": broken}
    )
    assert all(math.isfinite(value) for _, value, _ in figures(broken))


# Texts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [sound(), {}, full_assessment(), null_assessment()], ids=["sound", "{}", "full", "null"]
)
def test_both_languages_say_the_same_figures_without_gaps(made):
    verdict = check_release(made)
    for one in verdict.conditions:
        for text in (one.zh, one.en):
            assert text and not {"{", "}"} & set(text) and "None" not in text
        assert any("\u4e00" <= character <= "\u9fff" for character in one.zh)
        assert not any("\u4e00" <= character <= "\u9fff" for character in one.en)
    assert len(verdict.to_text("zh").splitlines()) == len(verdict.to_text("en").splitlines()) == 1 + len(LABELS)


def test_every_sentence_has_the_same_gaps_in_both_languages():
    gaps = {key: [set(text[lang].split("{")[1:]) for lang in LANGS] for key, text in TEXTS.items()}
    names = {key: [{gap.split("}")[0] for gap in found} for found in both] for key, both in gaps.items()}
    assert [key for key, (zh, en) in names.items() if zh != en] == []


def test_the_summary_names_what_failed():
    verdict = check_release(with_change("coverage/share", 0.5))
    assert verdict.summary("en") == "May not be released: fails 1 of 8 conditions (coverage)."
    assert verdict.summary("zh") == "不能发布：8 项条件中有 1 项未满足（评分覆盖率）。"
    assert "  FAILED  coverage: 50.0 % of the students on the roster who need a score" in verdict.to_text("en")


def test_the_groups_that_are_judged_are_those_of_the_audit_and_the_rules_those_of_the_features():
    assert set(JUDGED) <= set(AUDIT)
    for column, levels in JUDGED.items():
        assert set(levels) <= set(AUDIT[column].levels)
    assert {*COUNTY_RULES} >= {*RULES}


# Leak alarms -----------------------------------------------------------------------------------------


def test_every_alarm_names_the_feature_with_the_largest_gain():
    labels = {"left_on": {"zh": "离校日期", "en": "date of leaving"}}
    oracle = {"auc_difference": {"value": 0.02, "low": 0.01, "high": 0.03}, "average_precision_difference": None}
    alarms = leak_alarms(0.99, {"absence_rate": 0.2, "left_on": 0.8}, oracle, labels=labels)
    assert [alarm.kind for alarm in alarms] == ["auc", "gain", "oracle"]
    for alarm in alarms:
        assert alarm.feature == "left_on" and "date of leaving" in alarm.en and "离校日期" in alarm.zh
        assert alarm.figure > alarm.ceiling
        assert set(alarm.to_dict()) == {"kind", "feature", "figure", "ceiling", "zh", "en"}


def test_without_gains_an_alarm_names_nobody():
    [alarm] = leak_alarms(0.99, {})
    assert alarm.feature is None and "None" not in alarm.en + alarm.zh
    assert leak_alarms(None, {}) == []


def test_equal_gains_name_the_same_feature_in_any_order():
    shares = {"a": 0.5, "b": 0.5}
    assert leak_alarms(0.99, shares) == leak_alarms(0.99, dict(reversed(shares.items())))


# Settings --------------------------------------------------------------------------------------------


def write(folder, text):
    path = folder / "gate.toml"
    path.write_text(text, "utf-8")
    return path


def test_settings_come_from_the_table_gate_and_the_rest_has_defaults(tmp_path):
    path = write(tmp_path, 'model = "x"\n[gate]\nmin_coverage = 1\njudged = ["sex", "poverty"]\nmin_events = 80\n')
    assert Gate.from_toml(path) == Gate(min_coverage=1, judged=("sex", "poverty"), min_events=80)
    assert Gate.from_toml(write(tmp_path, "[gate]\n")) == DEFAULT_GATE


def test_everything_that_is_wrong_with_the_settings_is_said_at_once(tmp_path):
    path = write(
        tmp_path,
        '[gate]\nmetric = "auc"\nmax_ece = "low"\nmin_coverage = 96\nmin_events = 2.5\nmax_risk_ratio = 1\n'
        'judged = ["sex", "religion"]\nworst_group_share = true\nmin_coverge = 0.9\n',
    )
    with pytest.raises(SettingsError) as refused:
        Gate.from_toml(path)
    for name in (
        "metric", "max_ece", "min_coverage", "min_events", "max_risk_ratio", "judged", "worst_group_share",
        "min_coverge", "gate.toml",
    ):  # fmt: skip
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[gates]\n", "no table"),
        ("gate = 3\n", "no table"),
        ("[gate\n", "not proper TOML"),
        ("[gate]\njudged = []", "judged"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Gate.from_toml(write(tmp_path, text))


# Models that were really trained and judged ----------------------------------------------------------


@pytest.mark.slow
def test_a_good_model_passes():
    verdict = check_release(assessment())
    assert verdict.passed, verdict.to_text()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cause"), FAULTS.items())
def test_a_model_with_a_fault_is_stopped_by_name(kind, cause):
    name, words = cause
    found = condition(assessment(kind), name)
    assert not found.passed and words in found.en
