"""The model card: every part of the assessment is on it, and what is missing is said to be missing."""

import re

import pytest
from assessment_sample import full_assessment, null_assessment
from release_builder import assessment

from dropout_risk.card import NOT_RECORDED, model_card, release_lines
from dropout_risk.figures import figures
from dropout_risk.gate import check_release


def content(metrics, **more):
    return {
        "kind": "county",
        "created": "2026-11-22",
        "preset": "default",
        "horizon": 1,
        "bands": {"high": 0.2, "raised": 0.1, "watch": 0.05},
        "metrics": metrics,
        "data": {"rows": 400, "digest": "d1"},
        "versions": {"lightgbm": "4.7.0"},
        "format": 1,
        "features": ["absence_rate", "poverty"],
        "categories": {"poverty": ["无", "低保"]},
        "model": "boosted model. Enough rows.",
    } | more


def section(card, title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", card, flags=re.M | re.S)[1]


@pytest.fixture(scope="module")
def full():
    return model_card(content(full_assessment()))


def test_the_card_begins_with_a_summary_in_chinese(full):
    assert full.splitlines()[:3] == [
        "# Model card: county model of 2026-11-22",
        "",
        "A risk is a reason to help, never a verdict.",
    ]
    assert full.index("## 摘要") < full.index("## Use")
    summary = section(full, "摘要")
    for words in (
        "用途：",
        "不得用于：处罚",
        "局限：",
        "主要数字：",
        full_assessment()["evaluation"]["verdict"]["zh"],
        "97.0 %",
    ):
        assert words in summary
    assert check_release(full_assessment()).summary("zh") in summary
    assert "风险是帮助的理由，不是结论" in summary


def test_the_model_stands_beside_every_rule_and_peer_at_the_same_capacity(full):
    told = full_assessment()["evaluation"]
    table = section(full, "Figures at the same capacity")
    assert told["verdict"]["en"] in table and full_assessment()["validation"]["en"] in table
    ours = told["metrics"]["recall_at_10"]
    assert (
        f"| **model** | {100 * ours['value']:.1f} % ({100 * ours['low']:.1f} % to {100 * ours['high']:.1f} %) |"
        in table
    )
    for name in ("absence rate", "poverty register only", "drawn by lot", "logistic regression"):
        assert f"| {name} |" in table
    difference = told["differences"]["absence_rule"]["recall_at_10"]
    assert f"{100 * difference['value']:+.1f} ({100 * difference['low']:+.1f} to" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_groups_show_their_figures_and_small_ones_show_nothing(full):
    groups = section(full, "Groups")
    rows = full_assessment()["evaluation"]["per_group"]
    for row in rows:
        [line] = [line for line in groups.splitlines() if line.startswith(f"| {row['column']} | {row['level']} |")]
        assert ("too few to show" in line) == row["suppressed"]
        if row["suppressed"]:
            assert not re.search(r"\d", line.split("|", 3)[3])
        else:
            assert f"{100 * row['recall']:.1f} % ({100 * row['recall_low']:.1f} %" in line
            assert f"| {row['rows']:,} | {row['events']:,} |" in line


def test_every_other_part_of_the_assessment_is_on_the_card(full):
    told = full_assessment()
    coverage, driver, missing = told["coverage"], told["drivers"]["features"][0], told["missing"][0]
    given = told["help"]
    for title, words in {
        "Training data and labels": ["preset `default`", told["data"]["digest"], ", ".join(told["data"]["terms"])],
        "Calibration": ["calibration error 0.", "| mean risk |"],
        "Places never seen in training": [f"{told['held_out']['places']} counties", "AUC"],
        "Coverage": [
            f"{coverage['rows_in']:,} rows of the roster, {coverage['scored']:,} scored: ",
            f"{100 * coverage['share']:.1f} % of those that need a score",
            *(f"- {cause['rows']:,}: {cause['en']}" for cause in coverage["causes"]),
        ],
        "Missing values": [f"| {missing['en']} | {100 * missing['share']:.1f} % |"],
        "What moves the risks": [f"| {driver['en']} | {driver['mean_abs']:.3f} | {100 * driver['gain_share']:.1f} % |"],
        "With and without sensitive inputs": ["`, `".join(told["sensitive"]["left_out"]), "recall at 10 %"],
        "Stability of the list": [f"{100 * told['stability']['refit']['kept']:.1f} % of the list stays"],
        "Learning from help": [
            f"`{given['treatment']}`",
            f"{given['helped']:,} of {given['rows']:,}",
            "| recall_at_10 |",
        ],
        "Leak alarms": [told["alarms"][0]["en"]],
        "Notes": [told["notes"][0]["en"]],
        "Bands": ["`high` from 0.2, `raised` from 0.1, `watch` from 0.05"],
        "Features": ["boosted model. Enough rows.", "`poverty`: one of 无, 低保"],
        "Limits": ["A low risk is no proof that all is well"],
        "Loading": ["load_bundle", "Format 1; lightgbm 4.7.0"],
    }.items():
        for word in words:
            assert word in section(full, title), title


def test_the_gate_stands_on_the_card_condition_by_condition(full):
    gate = section(full, "Release gate at the time of training")
    for one in check_release(full_assessment()).conditions:
        assert f"- {'passed' if one.passed else 'FAILED'}: {one.en}" in gate


def test_what_was_not_judged_is_said_to_be_missing():
    card = model_card(content(null_assessment()))
    for title in (
        "Groups",
        "Places never seen in training",
        "Coverage",
        "Stability of the list",
        "What moves the risks",
    ):
        assert NOT_RECORDED in section(card, title)
    assert "No help is recorded" in section(card, "Learning from help")
    assert "None was raised" in section(card, "Leak alarms")
    assert "None" not in section(card, "Figures at the same capacity") and "nan" not in card


@pytest.mark.parametrize(
    "metrics", [{}, {"auc": 0.8}, {"validation": "out of time", "metrics": {"auc": {"value": 0.8}}}]
)
def test_old_figures_still_give_a_card(metrics):
    card = model_card(content(metrics))
    assert "A risk is a reason to help" in card and ("0.8" in section(card, "Figures")) == bool(metrics)
    assert "FAILED: How the model was judged" in card


def test_a_bar_in_the_name_of_a_level_does_not_break_the_table():
    told = full_assessment()
    told["evaluation"]["per_group"][0] |= {"level": "a|b\nc"}
    assert "| poverty | a\\|b c |" in section(model_card(content(told)), "Groups")


def test_a_release_and_the_reason_for_an_override_are_on_the_card_in_full():
    why = "First model of the county.\nThe list is checked by hand: 人工复核。"
    release = {
        "version": "3",
        "promoted_at": "2026-11-22T08:00:00Z",
        "promoted_from": "2",
        "override_why": why,
        "gate": check_release(full_assessment()).to_dict(),
        "comparison": {"zh": "在同一份数据上", "en": "On the same data, recall"},
    }
    told = section(model_card(content(full_assessment(), release=release)), "Release")
    assert "Version 3 became the champion on 2026-11-22T08:00:00Z, in the place of version 2." in told
    assert all(f"  > {line}" in told for line in why.splitlines())
    assert "was overridden" in told and "- On the same data, recall" in told and "FAILED" in told
    assert "there was none before" in release_lines({"version": "1"})[0]
    assert "overridden" not in "".join(release_lines({"version": "1"}))


def test_the_figures_for_tracking_are_those_that_people_compare():
    found = {name: (value, interval) for name, value, interval in figures(full_assessment())}
    told = full_assessment()["evaluation"]
    assert found["recall_at_10"] == (told["metrics"]["recall_at_10"]["value"], told["metrics"]["recall_at_10"])
    assert found["differences/absence_rule/recall_at_10"][1] == told["differences"]["absence_rule"]["recall_at_10"]
    assert found["groups/sex/female/recall_at_10"][1].keys() == {"low", "high"}
    assert found["held_out/auc"] and found["coverage/share"] and found["alarms"][0] == 1
    hidden = [f"groups/{row['column']}/{row['level']}/" for row in told["per_group"] if row["suppressed"]]
    assert hidden and not [name for name in found if name.startswith((*hidden, "yield"))]
    assert len(found) * 3 < 400


@pytest.mark.slow
def test_a_card_of_a_really_judged_model_holds_its_figures():
    made = assessment()
    card = model_card(content(made))
    assert "May be released" in card and "可以发布" in section(card, "摘要")
    recall = made["evaluation"]["metrics"]["recall_at_10"]["value"]
    assert f"| **model** | {100 * recall:.1f} %" in card
