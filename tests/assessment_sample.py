"""An assessment made by hand, with every part filled or with every part that may be missing left out.

The figures are made up but hang together: curves rise, intervals hold their value, shares sum to one.
"""

import math

RULES = ("absence_rule", "school_mean", "poverty_list", "last_grades", "random")
PEERS = ("logistic_regression", "hist_gradient_boosting", "lightgbm_defaults")
POWER = dict(zip(("model", *RULES), (0.30, 0.52, 0.44, 0.78, 0.70, 1.0), strict=True))
"""A ranking that finds share ** power of those who left."""

BASE_RATE = 0.026
GRID = (0.01, 0.02, 0.03, 0.05, 0.075, 0.10, 0.125, 0.15, 0.20, 0.25, 0.30)

LEVELS = {
    "poverty": ("none", "near_poor", "registered"),
    "distance": ("0-2", "2-5", "5-10", "over_10"),
    "sex": ("female", "male"),
    "boarding": ("day", "boarder"),
    "left_behind": ("none", "one_parent", "both_parents", "not recorded"),
    "disability": ("no", "yes"),
    "age_for_grade": ("on_age", "one_over", "two_or_more_over"),
    "reporting": ("complete", "partial", "poor"),
    "grade": tuple("123456789"),
}
SUPPRESSED = {("disability", "yes"), ("grade", "1"), ("grade", "2")}


def interval(value, spread=0.05):
    return {"value": value, "low": value - spread, "high": value + spread}


def metrics(power, *, probability=True):
    found = {"auc": interval(1 / (1 + power), 0.02), "average_precision": interval(0.05 / power, 0.015)}
    for share in (0.05, 0.10, 0.20):
        recall = share**power
        found[f"recall_at_{100 * share:g}"] = interval(recall)
        found[f"precision_at_{100 * share:g}"] = interval(recall * BASE_RATE / share, 0.01)
    losses = {"brier": interval(0.023, 0.002), "log_loss": interval(0.1, 0.01), "ece": interval(0.004, 0.002)}
    return found | (losses if probability else {})


def differences(ours, theirs):
    return {
        name: interval(ours[name]["value"] - theirs[name]["value"], 0.04 if "_at_" in name else 0.003)
        for name in theirs
    }


def per_group():
    rows = []
    for place, (column, levels) in enumerate(LEVELS.items()):
        for number, level in enumerate(levels):
            if (column, level) in SUPPRESSED:
                rows.append({"column": column, "level": level, "suppressed": True} | {"recall": None, "rows": None})
                continue
            recall, size = 0.38 + 0.05 * number + 0.01 * place, 4800 // (number + 1)
            spread = 0.03 + 0.03 * number
            gap = 0.001 * (number - 1)
            rows.append(
                {
                    "column": column, "level": level, "suppressed": False, "rows": size,
                    "events": round(size * 0.02 * (number + 1)), "base_rate": 0.02 * (number + 1),
                    "mean_risk": 0.02 * (number + 1) + gap,
                    "calibration_gap": gap, "calibration_gap_low": gap - 0.004, "calibration_gap_high": gap + 0.004,
                    "listed": 0.1 * size, "selection_rate": 0.1, "precision": 0.12,
                    "false_alarm_share": 0.92 - 0.05 * number, "false_alarm_share_low": 0.89 - 0.05 * number,
                    "false_alarm_share_high": 0.95 - 0.05 * number, "false_positive_rate": 0.09,
                    "recall": recall, "recall_low": recall - spread, "recall_high": recall + spread,
                }
            )  # fmt: skip
    return rows


def calibration():
    rows = []
    columns = {"all": ("all",)} | {name: levels for name, levels in LEVELS.items() if name != "grade"}
    for column, levels in columns.items():
        for number, level in enumerate(levels):
            if (column, level) in SUPPRESSED:
                rows.append({"column": column, "level": level, "bin": 1, "suppressed": True, "rows": None})
                continue
            bins = 10 if column == "all" else 5
            for place in range(bins):
                risk = 0.002 * math.exp(4.4 * place / (bins - 1))
                seen = risk * (1.12 if place % 2 else 0.9) * (1 + 0.08 * number)
                rows.append(
                    {
                        "column": column, "level": level, "bin": place + 1, "suppressed": False,
                        "rows": 960 // (number + 1), "mean_risk": risk, "observed": seen,
                        "low": seen * 0.75, "high": seen * 1.3 + 0.001,
                    }
                )  # fmt: skip
    return rows


def per_unit(name, levels):
    rows = []
    for number, level in enumerate(levels):
        if number == 1 and name == "place":
            rows.append({name: level, "suppressed": True})
            continue
        found = {key: value["value"] for key, value in metrics(0.33 + 0.05 * number).items()}
        bounds = {
            f"{key}_{end}": value[end]
            for key, value in metrics(0.33 + 0.05 * number).items()
            for end in ("low", "high")
        }
        rows.append(
            {name: level, "suppressed": False, "rows": 3200, "events": 83, "base_rate": BASE_RATE, **found, **bounds}
        )
    return rows


def yield_curve():
    rows = []
    for name, power in POWER.items():
        for share in GRID:
            recall = share**power
            rows.append(
                {
                    "name": name, "share": share, "listed": round(9600 * share), "hits": recall * 250,
                    "precision": recall * BASE_RATE / share, "recall": recall,
                    "recall_low": max(recall - 0.06, 0), "recall_high": min(recall + 0.06, 1),
                }
            )  # fmt: skip
    return rows


def precision_recall():
    return [
        {"name": name, "recall": step / 40, "precision": BASE_RATE + 0.5 * (1 - power) ** 3 * (1 - step / 40) ** 2}
        for name, power in POWER.items()
        for step in range(1, 41)
    ]


def evaluation():
    ours = metrics(POWER["model"])
    rules = {name: metrics(POWER[name], probability=False) for name in RULES}
    peers = {name: metrics(0.30 + 0.02 * number) for number, name in enumerate(PEERS)}
    return {
        "rows": 9600,
        "left_out": 212,
        "groups": 48,
        "base_rate": BASE_RATE,
        "shares": [0.05, 0.10, 0.20],
        "n_boot": 400,
        "confidence": 0.95,
        "verdict": {
            "zh": "名额为全体学生的 10 % 时，模型找到 50 % 的离校学生，多于每一种简单规则；"
            "最接近的是“按学校往期流失率”。",
            "en": "With room for 10 % of the students the model finds 50 % of those who left, more than every simple "
            "rule; the nearest is the leaving rate of the school.",
        },
        "metrics": ours,
        "rules": rules,
        "peers": peers,
        "differences": {name: differences(ours, theirs) for name, theirs in {**rules, **peers}.items()},
        "ties": {"model": {"10": {"ties": 14, "recall_worst": 0.49, "recall_best": 0.51}}},
        "per_term": per_unit("term", ("2020-2021-1", "2020-2021-2", "2021-2022-1")),
        "per_place": per_unit("place", ("C01", "C02", "C03")),
        "per_group": per_group(),
        "calibration": calibration(),
        "yield_curve": yield_curve(),
        "precision_recall": precision_recall(),
    }


NAMES = {
    "absence_rate": ("本学期缺勤率", "Absence rate this term"),
    "score_level": ("成绩位置", "Level of marks"),
    "years_over_age": ("超龄年数", "Years over age for grade"),
    "school_leaving_rate": ("学校往期流失率", "Leaving rate of the school so far"),
    "edge_day_gap": ("周一周五缺勤差", "Extra absence on Mondays and Fridays"),
    "distance_km": ("上学距离", "Distance to school"),
}


def drivers():
    groups = {
        "attendance": ("出勤", "Attendance", 0.41),
        "age": ("超龄", "Age for grade", 0.22),
        "learning": ("学业", "Learning", 0.19),
        "school": ("学校环境", "School", 0.11),
        "distance": ("上学路程", "Way to school", 0.07),
    }
    features = [
        {"feature": name, "zh": zh, "en": en, "mean_abs": 0.5 / (place + 1), "gain_share": 0.4 / (place + 1)}
        for place, (name, (zh, en)) in enumerate(NAMES.items())
    ]
    return {
        "groups": [{"group": name, "zh": zh, "en": en, "share": share} for name, (zh, en, share) in groups.items()],
        "features": features,
        "beeswarm": [
            {"feature": name, "points": [swarm_point(place, number) for number in range(300)]}
            for place, name in enumerate(NAMES)
        ],
    }


def swarm_point(place, number):
    percentile = (number * 7 % 300 + 1) / 300
    wobble = 0.15 * math.sin(number * 12.9898)
    contribution = (1.4 * percentile**3 - 0.35 + wobble) / (0.6 * place + 1) * (-1 if place == 1 else 1)
    return [round(contribution, 4), None if number % 29 == 0 else round(percentile, 3)]


def reasons():
    told = {
        "zh": [
            ("本学期缺勤率 18 %（同年级中位数 2 %）", "出勤", True, "家访了解缺勤原因，班主任逐日跟进"),
            ("比同年级适龄大 2 岁（同年级中位数 0）", "超龄", False, "结对帮扶，讨论适合其年龄的学习出路"),
            ("成绩超过全县同年级 12 % 的学生（中位数 50）", "学业", True, "安排学业辅导，制定适合本人的学习计划"),
        ],
        "en": [
            ("absent on 18 % of the reported days this term; median of the grade: 2 %", "Attendance", True,
             "visit the home, ask what keeps the child away, follow up day by day"),
            ("2 years over the age of the grade; median of the grade: 0", "Age for grade", False,
             "pair the child with a mentor and discuss paths that suit the age"),
            ("marks above 12 % of the county's grade; median: 50", "Learning", True,
             "arrange tutoring and a study plan that fits this child"),
        ],
    }  # fmt: skip
    keys = ("text", "label", "changeable", "measure")
    told = {
        lang: [dict(zip(keys, one, strict=True)) | {"contribution": 0.5} for one in rows] for lang, rows in told.items()
    }
    return [
        {"band": band, "risk": risk, "reasons": told}
        for band, risk in (("high", 0.31), ("raised", 0.14), ("watch", 0.07))
    ]


def full_assessment():
    """Return an assessment in which every part is filled."""
    unseen = {**evaluation(), "metrics": metrics(0.38)}
    return {
        "validation": {
            "zh": "按时间外推：最近 3 个学期，每个学期都由只用更早学期训练的模型评分",
            "en": "out of time: each of the last 3 terms scored by models trained on the terms before",
        },
        "data": {
            "rows": 21400, "events": 561, "terms": ["2019-2020-1", "2020-2021-1", "2021-2022-1"], "counties": 3,
            "schools": 48, "as_of": "2022-01-14", "preset": "default", "horizon": 1, "digest": "sha256:5d41402abc4b",
        },
        "evaluation": evaluation(),
        "held_out": {"unit": "county", "places": 3, "evaluation": unseen},
        "sensitive": {
            "left_out": ["poverty_level", "mother_away"],
            "differences": differences(metrics(0.30), metrics(0.31)),
        },
        "stability": {
            "share": 0.10,
            "refit": {"kept": 0.913},
            "late_attendance": {"kept": 0.958, "kept_of_school": 0.79, "students": 412, "days": 28},
        },
        "coverage": {
            "rows_in": 10224, "scored": 9812, "share": 9812 / 10113,
            "causes": [
                {"zh": "没有出生日期", "en": "no date of birth", "rows": 301, "needed": True},
                {"zh": "已毕业。", "en": "has graduated.", "rows": 111, "needed": False},
            ],
        },
        "missing": [
            {"feature": name, "zh": zh, "en": en, "share": 0.31 / (place + 1), "share_listed": 0.44 / (place + 1)}
            for place, (name, (zh, en)) in enumerate(NAMES.items())
        ],
        "drivers": drivers(),
        "reasons": reasons(),
        "help": {
            "treatment": "exclude", "helped": 640, "rows": 21400, "since": "2021-03-01",
            "figures": {
                "helped": {"recall_at_10": interval(0.31, 0.12), "auc": interval(0.71, 0.06)},
                "not_helped": {"recall_at_10": interval(0.51), "auc": interval(0.77, 0.02)},
            },
            "judged": {"helped": 410, "not_helped": 9300},
            "effective_rows": 20311.4,
            "frozen": {
                "rows": 7100, "term": "2020-2021-1", "metrics": {"recall_at_10": interval(0.44)},
                "top_tenth": {"mean_risk": 0.121, "observed": 0.118},
            },
        },
        "oracle": {
            "auc_difference": interval(-0.021, 0.01),
            "average_precision_difference": interval(-0.044, 0.02),
        },
        "alarms": [
            {
                "kind": "gain", "feature": "left_on", "figure": 0.81, "ceiling": 0.6,
                "zh": "特征“离校登记日”占训练增益的 81 %，上限 60 %。",
                "en": "The feature “left_on” carries 81 % of the gain; the ceiling is 60 %.",
            }
        ],
        "notes": [{"zh": "2019-2020-2 学期没有已知结果。", "en": "The term 2019-2020-2 has no known outcome."}],
    }  # fmt: skip


def null_assessment():
    """Return an assessment in which everything that may be missing is missing."""
    empty = dict.fromkeys(("held_out", "sensitive", "stability", "coverage", "help", "oracle", "drivers", "data"))
    tables = ("per_term", "per_place", "per_group", "calibration", "yield_curve", "precision_recall")
    bare = evaluation() | {"rules": {}, "peers": {}, "differences": {}, "ties": {}} | {name: [] for name in tables}
    lists = {name: [] for name in ("missing", "reasons", "alarms", "notes")}
    return {"validation": None, **empty, **lists, "evaluation": bare}


def listing():
    """Return a target list as `TargetList.to_dict` does, with two places."""

    def place(name, students, capacity):
        return {
            "place": name, "students": students, "capacity": capacity, "listed": capacity,
            "expected": 0.13 * capacity, "low": 0.08 * capacity, "high": 0.19 * capacity,
            "missed": 40.0, "missed_low": 28.0, "missed_high": 55.0, "found": 0.5, "found_low": 0.4, "found_high": 0.6,
            "one_more": 1.4, "one_more_low": 0.0, "one_more_high": 4.0, "one_fewer": 1.6, "one_fewer_low": 0.0,
            "one_fewer_high": 5.0, "ties": 3,
        }  # fmt: skip

    worth = {
        "share": 0.1, "model": 12.9, "model_low": 11.0, "model_high": 14.8, "rule": 7.8, "rule_low": 6.1,
        "rule_high": 9.4, "difference": 5.1, "low": 3.0, "high": 7.2,
    }  # fmt: skip
    places = [place("C01", 3000, 300), place("C02", 6800, 680)]
    return {
        "verdict": {"zh": "这份名单的收获高于每一种简单规则。", "en": "This list reaches more than every simple rule."},
        "basis": "backtest",
        "confidence": 0.95,
        "seed": 7,
        "overall": {
            **place("", 9800, 980), "one_more_place": "C02", "one_fewer_place": "C01",
        },
        "places": places,
        "rules": [
            {"name": "absence_rule", "zh": "按缺勤率", "en": "absence rate", "shared": 402, "worth": worth},
            {"name": "random", "zh": "随机抽取", "en": "drawn by lot", "shared": None, "worth": None},
        ],
        "previous": {"kept": 611, "gone": 240},
        "students": [{"student_id": "student-4711", "risk": 0.4}],
        "lottery": {"students": [{"student_id": "student-0815"}]},
        "notes": [{"zh": "C02 的名额多于学校数。", "en": "C02 has more room than schools."}],
    }  # fmt: skip
