"""An evaluation as people read it on a terminal: a verdict, then compact tables, in Chinese or English."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.audit import AUDIT
from dropout_risk.descriptions import RULE_LABELS, Lang
from dropout_risk.evaluation import Evaluation
from dropout_risk.intervals import NOT_RECORDED, Interval
from dropout_risk.metrics import capacity_key

Table = list[list[str]]


def evaluation_text(evaluation: Evaluation, lang: Lang = "en") -> str:
    """Return a readable report; its first line says whether the model beats every simple rule.

    Parameters
    ----------
    evaluation : Evaluation
    lang : {"en", "zh"}

    Returns
    -------
    str

    Raises
    ------
    SettingsError
        When there are no texts in that language.

    Examples
    --------
    >>> from dropout_risk.evaluation import evaluate
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.beta(1, 9, 2000)
    >>> found = evaluate(rng.random(2000) < risk, risk, rules={"random": rng.random(2000)}, n_boot=50)
    >>> print(evaluation_text(found).splitlines()[0])
    At a capacity of 10 % the model finds ... % of the students who left and beats every simple rule; ...
    """
    verdict = evaluation.verdict(lang)  # raises where there are no texts in the language
    texts = _TEXTS[lang]
    key = capacity_key(evaluation.headline)
    counts = texts["rows"].format(
        rows=evaluation.n_rows,
        base=_percent(evaluation.base_rate, ".1f"),
        left_out=evaluation.n_left_out,
        confidence=_percent(evaluation.confidence),
        n_boot=evaluation.n_boot,
        groups=evaluation.n_groups,
    )
    blocks = [
        [verdict, counts],
        [texts["beside"].format(share=f"{key} %"), *_aligned(_rule_table(evaluation, lang))],
        [texts["models"], *_aligned(_model_table(evaluation, lang))],
        _titled(texts["per_term"], _part_table(evaluation.per_term, key, lang)),
        _titled(texts["per_place"], _part_table(evaluation.per_place, key, lang)),
        _titled(texts["per_group"].format(share=f"{key} %"), _group_table(evaluation.per_group, lang)),
        [texts["legend"], *_tie_notes(evaluation, lang)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _rule_table(found: Evaluation, lang: Lang) -> Table:
    key = capacity_key(found.headline)
    table = [_TEXTS[lang]["rule_columns"].split("|")]
    for name, figures in {"model": found.metrics, **found.rules}.items():
        recall, precision = (figures[f"{metric}_at_{key}"].times(100) for metric in ("recall", "precision"))
        difference = "" if name == "model" else f"{found.differences[name][f'recall_at_{key}'].times(100):+z.0f}"
        table.append([_label(name, lang), f"{recall:.0f}", f"{precision:.0f}", difference])
    return table


def _model_table(found: Evaluation, lang: Lang) -> Table:
    names = ("auc", "average_precision", "ece", "log_loss")
    table = [_TEXTS[lang]["model_columns"].split("|")]
    table.append([_label("model", lang), *(f"{found.metrics[name]:.3f}" for name in names), ""])
    for peer, figures in found.peers.items():
        values = [_number(figures[name].value) for name in names]
        table.append([peer, *values, f"{found.differences[peer]['average_precision']:+z.3f}"])
    return table


def _part_table(parts: pd.DataFrame, key: str, lang: Lang) -> Table:
    """Return the table of terms or places, each with a list of its own."""
    head = _TEXTS[lang]["part_columns"].format(key=key).split("|")
    table = []
    for row in parts.to_dict("records"):
        name = _level(row[parts.columns[0]], None, lang)
        if row["suppressed"]:
            table.append([name, _TEXTS[lang]["hidden"], "", "", "", ""])
            continue
        recall = _interval(row, f"recall_at_{key}").times(100)
        counts = [f"{row[column]:,.0f}" for column in ("rows", "events")]
        table.append([name, *counts, f"{recall:.0f}", _number(row["auc"]), _number(row["ece"])])
    return [head, *table] if table else []


def _group_table(groups: pd.DataFrame, lang: Lang) -> Table:
    table = []
    for row in groups.to_dict("records"):
        column = AUDIT[row["column"]].label(lang) if row["column"] in AUDIT else row["column"]
        name = [column, _level(row["level"], row["column"], lang)]
        if row["suppressed"]:
            table.append([*name, _TEXTS[lang]["hidden"], "", "", "", "", ""])
            continue
        recall, alarms = (_interval(row, figure).times(100) for figure in ("recall", "false_alarm_share"))
        gap = _interval(row, "calibration_gap").times(100)
        counts = [f"{row[figure]:,.0f}" for figure in ("rows", "events", "listed")]
        table.append([*name, *counts, f"{recall:.0f}", f"{alarms:.0f}", f"{gap:+z.1f}"])
    return [_TEXTS[lang]["group_columns"].split("|"), *table] if table else []


def _tie_notes(found: Evaluation, lang: Lang) -> list[str]:
    key = capacity_key(found.headline)
    cuts = {name: lists[key] for name, lists in found.ties.items()}
    return [
        _TEXTS[lang]["ties"].format(
            name=_label(name, lang),
            ties=cut.ties,
            share=f"{key} %",
            worst=_percent(cut.recall_worst),
            best=_percent(cut.recall_best),
        )
        for name, cut in cuts.items()
        if cut.recall_best - cut.recall_worst > 0.005
    ]


def _label(name: str, lang: Lang) -> str:
    return RULE_LABELS[name][lang] if name in RULE_LABELS else name


def _level(level: str, column: str | None, lang: Lang) -> str:
    if level == NOT_RECORDED:
        return _TEXTS[lang]["missing"]
    return AUDIT[column].level_label(level, lang) if column in AUDIT else level


def _interval(row: Mapping[Any, Any], name: str) -> Interval:
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _percent(share: float, form: str = ".0f") -> str:
    return _number(100 * share, form) + " %"


def _number(value: float, form: str = ".3f") -> str:
    return "?" if np.isnan(value) else format(value, form)


def _titled(title: str, table: Table) -> list[str]:
    return [title, *_aligned(table)] if table else []


def _aligned(table: Table) -> list[str]:
    """Return the rows as lines whose columns line up; Chinese characters are two places wide."""
    widths = [max(_width(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ("  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(row, widths, strict=True)) for row in table)
    return [line.rstrip() for line in lines]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


_TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "rows": "{rows:,} students, {base} left; {left_out:,} without risk or outcome are not counted. "
        "Brackets: {confidence} interval from {n_boot} resamples of {groups:,} groups.",
        "beside": "At the same capacity ({share}):",
        "rule_columns": "ranked by|finds, % of those who left|of the listed left, %|model minus it, points",
        "models": "Ranking and calibration:",
        "model_columns": "|AUC|AP|ECE|log-loss|AP: model minus it",
        "per_term": "Per term, each with a list of its own:",
        "per_place": "Per place, each with a list of its own:",
        "part_columns": "|students|left|recall@{key}, %|AUC|ECE",
        "per_group": "Per group, under one list for all ({share}):",
        "group_columns": "column|group|students|left|listed|recall, %|false alarms, %|risk − outcome, points",
        "legend": "recall: share of the students who left that are listed; false alarms: share of the students listed "
        "who stayed; risk − outcome: mean risk minus the share who left.",
        "ties": "{name}: {ties:,} students share the score at the cut of {share}; depending on who of them is "
        "listed, it finds {worst} to {best} of the students who left.",
        "hidden": "too few to show",
        "missing": "not recorded",
    },
    "zh": {
        "rows": "共 {rows:,} 名学生，{base} 离校；另有 {left_out:,} 名没有风险或结果，不计入。"
        "方括号内为 {confidence} 区间，由 {groups:,} 个组重抽样 {n_boot} 次得到。",
        "beside": "名额相同时（{share}）：",
        "rule_columns": "排序依据|找到离校学生的 %|名单中离校的 %|本模型多找到（百分点）",
        "models": "排序与校准：",
        "model_columns": "|AUC|AP|ECE|对数损失|AP：本模型减它",
        "per_term": "分学期，各学期单独列名单：",
        "per_place": "分县（市、区），各地单独列名单：",
        "part_columns": "|学生|离校|召回@{key}（%）|AUC|ECE",
        "per_group": "分群体，全体共用一份名单（{share}）：",
        "group_columns": "类别|群体|学生|离校|列入名单|召回（%）|误报（%）|风险与结果之差（百分点）",
        "legend": "召回：离校学生中列入名单的比例；误报：列入名单的学生中未离校的比例；"
        "风险与结果之差：平均风险减去实际离校比例。",
        "ties": "{name}：在 {share} 的截断处有 {ties:,} 名学生分数相同；视其中谁列入名单，"
        "可找到 {worst} 至 {best} 的离校学生。",
        "hidden": "人数太少，不显示",
        "missing": "未记录",
    },
}
