"""Why a student is new on the list or gone from it, and how much of the list stays."""

import json

import numpy as np
import pandas as pd
import pytest

from dropout_risk.churn import CAUSES, compare_lists
from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.explanation import Explanation


def scored(listed, **risks):
    """Return scores by student; `listed` names who is on the list."""
    frame = pd.DataFrame({"student_id": list(risks), "risk": list(risks.values())})
    return frame.assign(listed=frame["student_id"].isin(list(listed)))


def explained(students, names, values, data):
    """Return contributions and features, one row a student."""
    frame = pd.DataFrame(np.atleast_2d(data), columns=names, index=list(students), dtype="float64")
    return Explanation(np.atleast_2d(np.array(values, dtype=float)), -3.0, frame, frame)


def of(churn, student):
    return churn.frame.set_index("student_id").loc[student]


def test_every_cause():
    before = scored("bcef", b=0.30, c=0.40, e=0.35, f=0.32, a=0.05, d=0.20)
    now = scored("abdn", a=0.50, b=0.30, d=0.18, n=0.45, e=0.10, f=0.32)
    churn = compare_lists(now, before)
    causes = churn.frame.set_index("student_id")["cause"].to_dict()
    assert causes == {
        "n": "entered", "a": "risk_rose", "d": "moved_up", "c": "left", "e": "risk_fell", "f": "displaced",
    }  # fmt: skip
    assert set(causes.values()) == set(CAUSES)
    assert churn.frame["change"].tolist() == ["new"] * 3 + ["gone"] * 3
    assert churn.frame["student_id"].tolist() == ["a", "n", "d", "c", "f", "e"]
    assert (churn.kept, churn.new, churn.gone, churn.share_kept) == (1, 3, 3, 0.25)


def test_the_counts_by_sets_of_ids():
    rng = np.random.default_rng(0)
    names = np.array([f"s{i:03d}" for i in range(200)])
    lists = []
    for _ in range(2):
        rows = pd.DataFrame({"student_id": rng.permutation(names)[:150], "risk": rng.random(150)})
        lists.append(rows.assign(listed=rows["risk"].rank() > 100))
    now, before = lists
    on_now, on_before = (set(rows.loc[rows["listed"], "student_id"]) for rows in lists)
    churn = compare_lists(now, before)
    assert churn.kept == len(on_now & on_before)
    by_change = {change: set(rows["student_id"]) for change, rows in churn.frame.groupby("change")}
    assert by_change == {"new": on_now - on_before, "gone": on_before - on_now}
    shuffled = compare_lists(now.sample(frac=1, random_state=1), before.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled.frame, churn.frame)


def test_the_group_that_moved_most_is_named_with_its_strongest_feature():
    names = ["absence_rate", "absence_change", "score_level", "poverty_level"]
    before = explained("a", names, [[0.0, 0.1, 0.2, 0.0]], [[0.02, 0.0, 0.5, 0.0]])
    now = explained("a", names, [[0.9, 0.2, 0.6, 0.5]], [[0.15, 0.13, 0.3, 0.0]])
    churn = compare_lists(scored("a", a=0.4), scored("", a=0.05), explained_now=now, explained_before=before)
    row = of(churn, "a")
    assert (row["group"], row["feature"]) == ("attendance", "absence_rate")
    assert row["en"].startswith("the risk rose from 5.0 % to 40.0 %, most of it through attendance: ")
    assert row["en"].endswith("was 2 % and is 15 %")
    assert "风险由 5.0 % 升至 40.0 %，主要来自“出勤”" in row["zh"]
    assert row["zh"].endswith("由 2 % 变为 15 %")


def test_a_fall_names_what_fell_most():
    names = ["absence_rate", "score_level"]
    before = explained("ab", names, [[0.9, 0.2], [0, 0]], [[0.2, 0.1], [0, 0]])
    now = explained("a", names, [[0.8, -0.5]], [[0.2, np.nan]])
    row = of(compare_lists(scored("", a=0.1), scored("a", a=0.3), explained_now=now, explained_before=before), "a")
    assert (row["cause"], row["group"]) == ("risk_fell", "learning")
    assert row["en"].endswith("is not recorded")
    assert row["zh"].endswith("变为 未登记")


def test_a_value_that_did_not_change_is_not_called_a_change():
    names = ["boarding"]
    before, now = (explained("a", names, [[value]], [[1.0]]) for value in (0.0, 0.5))
    row = of(compare_lists(scored("a", a=0.3), scored("", a=0.1), explained_now=now, explained_before=before), "a")
    assert "is yes as before" in row["en"]
    assert "仍为 是" in row["zh"]


def test_columns_of_a_flat_table_are_named_as_they_are():
    before, now = (explained("a", ["km walked"], [[value]], [[value]]) for value in (0.0, 0.5))
    row = of(compare_lists(scored("a", a=0.3), scored("", a=0.1), explained_now=now, explained_before=before), "a")
    assert row["en"].endswith("through km walked: km walked was 0 and is 0.5")


def test_the_cause_of_leaving_the_roll_is_told_when_known():
    left = {"a": {"zh": "已登记为辍学", "en": "is recorded as having left school"}}
    churn = compare_lists(scored("", x=0.1), scored("ab", a=0.3, b=0.2), left=left)
    assert of(churn, "a")["en"] == "has no score this term: is recorded as having left school"
    assert of(churn, "a")["zh"] == "本学期没有评分：已登记为辍学"
    assert of(churn, "b")["en"] == "has no score this term"


def test_risks_that_print_alike_did_not_move():
    churn = compare_lists(scored("a", a=0.20003), scored("", a=0.2))
    assert of(churn, "a")["cause"] == "moved_up"
    assert "the list had 0 students and has 1" in of(churn, "a")["en"]


@pytest.mark.parametrize("last", [scored("", a=0.2), scored("")])
def test_an_empty_last_list_has_no_share(last):
    churn = compare_lists(scored("a", a=0.2), last)
    assert np.isnan(churn.share_kept)
    data = json.loads(json.dumps(churn.to_dict(), allow_nan=False))
    assert data["share_kept"] is None
    assert data["students"][0]["group"] is None


def test_the_same_list_has_no_churn():
    scores = scored("a", a=0.3, b=0.1)
    churn = compare_lists(scores, scores)
    assert churn.share_kept == 1
    assert churn.frame.empty


def test_all_faults_are_named_at_once():
    good = scored("a", a=0.2, b=0.1)
    with pytest.raises(ColumnsError, match="this term's scores lack listed; last term's scores lack risk"):
        compare_lists(good.drop(columns="listed"), good.drop(columns="risk"))
    with pytest.raises(InputError, match="repeat 2 students; last term's scores have 1 students without a risk"):
        compare_lists(pd.concat([good, good]), good.assign(risk=[np.nan, 0.1]))
    one, other = (explained("a", [name], [[0.1]], [[1.0]]) for name in ("siblings", "boarding"))
    with pytest.raises(SettingsError, match="same model"):
        compare_lists(good, good, explained_now=one, explained_before=other)
