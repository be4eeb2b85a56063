"""What the release gate says, in Chinese and English, and which groups it judges.

Values and the functions that fill them in; the conditions are in `gate`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Lang = Literal["zh", "en"]
Text = Mapping[Lang, str]

JUDGED: dict[str, dict[str, dict[Lang, str]]] = {
    # Both sexes: neither is the disadvantaged one everywhere.
    "sex": {"female": {"zh": "女生", "en": "girls"}, "male": {"zh": "男生", "en": "boys"}},
    "poverty": {
        "near_poor": {"zh": "边缘易致贫户学生", "en": "near-poor students"},
        "registered": {"zh": "建档立卡或低保户学生", "en": "registered poor students"},
    },
    "left_behind": {
        "one_parent": {"zh": "父母一方外出的学生", "en": "students with one parent away"},
        "both_parents": {"zh": "父母双方外出的学生", "en": "students with both parents away"},
    },
    "disability": {"yes": {"zh": "残疾学生", "en": "students with a disability"}},
    "boarding": {"boarder": {"zh": "住校生", "en": "boarders"}},
    "distance": {
        "5-10": {"zh": "家校距离5至10公里的学生", "en": "students 5 to 10 km from school"},
        "over_10": {"zh": "家校距离10公里以上的学生", "en": "students over 10 km from school"},
    },
    "age_for_grade": {
        "one_over": {"zh": "超龄一岁的学生", "en": "students one year over age"},
        "two_or_more_over": {"zh": "超龄两岁及以上的学生", "en": "students two or more years over age"},
    },
    # The model sees less of students whose school reports little: they are the first to be overlooked.
    "reporting": {
        "partial": {"zh": "考勤上报不全学校的学生", "en": "students of schools with partial attendance reports"},
        "poor": {"zh": "考勤上报很少学校的学生", "en": "students of schools with poor attendance reports"},
    },
}
"""Audit column -> level -> how it is called: the groups that the gate judges.

Under one list for all, a group whose members rarely leave has fewer of its leavers above the cut by nature:
children of families that are not poor, of the right age, who live near the school. A low recall there says nothing
about fairness, so only the disadvantaged levels are judged, and both sexes.
"""

LABELS: dict[str, dict[Lang, str]] = {
    "evidence": {"zh": "检验依据", "en": "evidence"},
    "unseen_places": {"zh": "未见过的地方", "en": "unseen places"},
    "rules": {"zh": "优于简单规则", "en": "better than simple rules"},
    "calibration": {"zh": "校准误差", "en": "calibration error"},
    "risk_level": {"zh": "风险高低", "en": "level of risk"},
    "subgroups": {"zh": "群体召回率", "en": "recall of groups"},
    "coverage": {"zh": "评分覆盖率", "en": "coverage"},
    "leak": {"zh": "信息泄漏", "en": "leak alarms"},
}
"""The conditions in their order, and how people call them."""

TEXTS: dict[str, dict[Lang, str]] = {
    "passed": {
        "zh": "可以发布：{total} 项条件全部满足。",
        "en": "May be released: all {total} conditions hold.",
    },
    "failed": {
        "zh": "不能发布：{total} 项条件中有 {n} 项未满足（{names}）。",
        "en": "May not be released: fails {n} of {total} conditions ({names}).",
    },
    "evidence": {
        "zh": "在模型未见过的学期或分组上检验，其中离校学生 {events} 名（至少需 {least} 名）。",
        "en": "Judged on terms or groups it had not seen, with {events} students who left (at least {least}).",
    },
    "random_rows": {
        "zh": "检验数据为随机拆分（离校学生 {events} 名），同校学生可能同时出现在训练和检验中，结果偏好；"
        "请用 --group 或 --time 指定分组或时间后重新训练：dropout-risk train。",
        "en": "Judged on rows dealt at random ({events} students who left): children of one place are on both sides, "
        "which flatters; train again and name --group or --time: dropout-risk train.",
    },
    "no_evidence": {
        "zh": "没有记录模型在未见过的学生上检验的结果；请重新训练：dropout-risk train。",
        "en": "How the model was judged on students it had not seen is not recorded; train again: dropout-risk train.",
    },
    "flat_places": {
        "zh": "不作判断：自有表格中没有县和学校。",
        "en": "Not judged: a flat table has no counties or schools.",
    },
    "no_places": {
        "zh": "没有记录模型在训练时未见过的县或学校里、名额 {percent} % 时的召回率及其区间；"
        "请用至少两所学校的数据重新训练：dropout-risk train。",
        "en": "Its recall at {percent} % in counties or schools never seen in training is not recorded, or has no "
        "interval; train again with the data of two schools or more: dropout-risk train.",
    },
    "places": {
        "zh": "在训练时未见过的{unit}里，{percent} % 的名额找到 {value} 的离校学生，区间下限 {low}"
        "（须高于随机抽取的 {percent} %）。",
        "en": "In {unit} never seen in training, a list of {percent} % finds {value} of the students who left, "
        "at least {low} by the interval (more than the {percent} % of a random list).",
    },
    "no_rules": {
        "zh": "没有记录与简单规则的比较；请重新训练，自有表格请用 --baseline 指定规则：dropout-risk train。",
        "en": "No comparison with a simple rule is recorded; train again, a flat table with --baseline: "
        "dropout-risk train.",
    },
    "unbeaten": {
        "zh": "{metric}没有明显高于：{rules}（差值区间下限须大于 0）。",
        "en": "In {metric} not clearly better than: {rules} (the lower bound of the difference has to be above 0).",
    },
    "beaten": {
        "zh": "{metric}高于每一种简单规则（{n} 种），差值区间下限最小为 {low} 个百分点（须大于 0）。",
        "en": "In {metric} better than every simple rule ({n}); the smallest lower bound of a difference is {low} "
        "points (above 0).",
    },
    "recall": {"zh": "名额 {percent} % 时的召回率", "en": "recall at {percent} %"},
    "precision": {"zh": "名额 {percent} % 时的精确率", "en": "precision at {percent} %"},
    "compared": {
        "zh": "{rule}（相差 {value} 个百分点，区间 {low} 至 {high}）",
        "en": "{rule} ({value} points, {low} to {high})",
    },
    "not_compared": {
        "zh": "{rule}（没有比较结果，请重新训练：dropout-risk train）",
        "en": "{rule} (not compared, or without an interval; train again: dropout-risk train)",
    },
    "calibration": {
        "zh": "预测风险与实际离校比例平均相差 {error}（至多 {most}）。",
        "en": "Risks differ from the shares that left by {error} on average (at most {most}).",
    },
    "no_calibration": {
        "zh": "没有记录预测风险与实际离校比例的对照；请重新训练：dropout-risk train。",
        "en": "No comparison of the risks with the shares that left is recorded; train again: dropout-risk train.",
    },
    "no_level": {
        "zh": "没有记录预测风险总量与实际离校人数的对照，或各组人数都太少、不予显示；"
        "请用更多数据重新训练：dropout-risk train。",
        "en": "No comparison of the sum of the risks with the students who left is recorded, or every bin of it is too "
        "small to be shown; train again with more data: dropout-risk train.",
    },
    "level_fits": {
        "zh": "预测的离校人数为实际的 {ratio} 倍（须在 {least} 至 {most} 之间）。",
        "en": "The risks add up to {ratio} times the students who left (between {least} and {most}).",
    },
    "level_high": {
        "zh": "风险总体偏高：预测的离校人数为实际的 {ratio} 倍（须在 {least} 至 {most} 之间）；请检查校准所用的数据。",
        "en": "The risks are too high on the whole: they add up to {ratio} times the students who left "
        "(between {least} and {most}); check the data of the calibration.",
    },
    "level_low": {
        "zh": "风险总体偏低：预测的离校人数为实际的 {ratio} 倍（须在 {least} 至 {most} 之间）；请检查校准所用的数据。",
        "en": "The risks are too low on the whole: they add up to {ratio} times the students who left (between {least} "
        "and {most}); check the data of the calibration.",
    },
    "flat_groups": {
        "zh": "不作判断：表中没有可供检查的群体列。",
        "en": "Not judged: the table has no audit columns.",
    },
    "no_groups": {
        "zh": "没有可判断的群体召回率：没有记录，或各群体人数都太少；请用更多学期的数据重新训练：dropout-risk train。",
        "en": "No group's recall can be judged: none is recorded, or all groups are too small; train again with more "
        "terms: dropout-risk train.",
    },
    "groups_failed": {
        "zh": "离校学生被找到得太少的群体：{failed}。最低的是{group}，召回率 {recall}，为总体 {overall} 的 {ratio}"
        "（至少 {least}），差距大于偶然。共判断 {n} 个群体。{unjudged}",
        "en": "Groups of whose leavers too few are found: {failed}. Lowest are {group} with a recall of {recall}, "
        "{ratio} of the {overall} among all (at least {least}), more than chance explains. "
        "{n} groups judged.{unjudged}",
    },
    "groups_noisy": {
        "zh": "召回率最低的是{group}：{recall}，为总体 {overall} 的 {ratio}（至少 {least}），"
        "但人数少，在所判断的 {n} 个群体中可能出于偶然，请持续关注。{unjudged}",
        "en": "Lowest recall: {group} with {recall}, {ratio} of the {overall} among all (at least {least}), but they "
        "are few, and among {n} judged groups chance explains it; keep an eye on them.{unjudged}",
    },
    "groups_fit": {
        "zh": "召回率最低的是{group}：{recall}，为总体 {overall} 的 {ratio}（至少 {least}）；"
        "共判断 {n} 个群体。{unjudged}",
        "en": "Lowest recall: {group} with {recall}, {ratio} of the {overall} among all (at least {least}); {n} groups "
        "judged.{unjudged}",
    },
    "unjudged": {
        "zh": "未判断（人数太少或没有记录）：{groups}。",
        "en": " Not judged, too few or not recorded: {groups}.",
    },
    "coverage": {
        "zh": "名册中应评分的学生有 {share} 得到评分（至少 {least}）。{cause}",
        "en": "{share} of the students on the roster who need a score got one (at least {least}).{cause}",
    },
    "cause": {
        "zh": "未评分的主要原因：{cause}（{rows} 行）",
        "en": " Commonest cause of no score: {cause} ({rows} rows)",
    },
    "no_coverage": {
        "zh": "没有记录名册中有多少学生得到评分；请重新训练：dropout-risk train。",
        "en": "How much of the roster got a score is not recorded; train again: dropout-risk train.",
    },
    "no_alarm": {
        "zh": "AUC 为 {auc}（至多 {auc_ceiling}）；增益占比最大的特征是{feature}，{share}（至多 {gain_ceiling}）。",
        "en": "AUC {auc} (at most {auc_ceiling}); the feature with the largest share of the gain is {feature} with "
        "{share} (at most {gain_ceiling}).",
    },
    "alarms": {"zh": "{alarms}", "en": "{alarms}"},
    "no_leak_figures": {
        "zh": "没有记录 AUC 和各特征的增益占比，无法判断是否泄漏；请重新训练：dropout-risk train。",
        "en": "AUC and shares of the gain are not recorded, so a leak cannot be ruled out; train again: "
        "dropout-risk train.",
    },
    "alarm_auc": {
        "zh": "AUC 为 {figure}，高于上限 {ceiling}，好得可疑。{suspect}",
        "en": "The AUC of {figure} is above the ceiling of {ceiling}, too good to be true. {suspect}",
    },
    "alarm_gain": {
        "zh": "仅“{feature}”一项就占模型增益的 {share}（至多 {ceiling}）；"
        "请检查它是否在评分日期之后才登记，或就是结果本身。",
        "en": "{feature} alone carries {share} of the gain (at most {ceiling}); check whether it is recorded after the "
        "as-of date, or is the outcome itself.",
    },
    "alarm_oracle": {
        "zh": "在合成数据上模型优于真实风险（差值区间下限 {figure}，至多 0），诚实的模型做不到。{suspect}",
        "en": "On synthetic data the model is above the true risk (lower bound of the difference {figure}, at most 0), "
        "which no honest model is. {suspect}",
    },
    "comparison": {
        "zh": "在同一份数据上，{metric}：第 {new} 版为 {ours}，第 {old} 版为 {other}。",
        "en": "On the same data, {metric}: version {new} {ours}, version {old} {other}.",
    },
    "refused": {
        "zh": "{name} 第 {version} 版没有发布，其他一切照旧。{verdict}\n"
        "请消除原因后重新训练，或说明理由后仍然发布（--override --why）。",
        "en": "Version {version} of {name} was not released and all is as it was. {verdict}\n"
        "Remove the cause and train again, or release it all the same and say why (--override --why).",
    },
    "suspect": {
        "zh": "请先检查“{feature}”（占增益 {share}）。",
        "en": "Check {feature} first ({share} of the gain).",
    },
    "no_suspect": {
        "zh": "请先检查增益最大的特征。",
        "en": "Check the feature with the largest gain first.",
    },
}
"""Every sentence by its key."""


def say(key: str, **facts: Any) -> Text:
    """Return the sentence `key` in both languages.

    Parameters
    ----------
    key : str
        A key of `TEXTS`.
    **facts
        What is filled in; a mapping has a form for each language.

    Examples
    --------
    >>> say("suspect", feature={"zh": "缺勤率", "en": "absence rate"}, share="70.0 %")["en"]
    'Check absence rate first (70.0 % of the gain).'
    """
    return {
        lang: text.format(**{name: fact[lang] if isinstance(fact, Mapping) else fact for name, fact in facts.items()})
        for lang, text in TEXTS[key].items()
    }


def join(texts: Sequence[Text], *, zh: str = "、", en: str = ", ") -> Text:
    """Return texts one after another, with the separator of each language.

    Examples
    --------
    >>> join([{"zh": "女生", "en": "girls"}, {"zh": "男生", "en": "boys"}])
    {'zh': '女生、男生', 'en': 'girls, boys'}
    """
    return {"zh": zh.join(text["zh"] for text in texts), "en": en.join(text["en"] for text in texts)}


def percent(share: float) -> str:
    """Return a share as text.

    Examples
    --------
    >>> percent(0.905)
    '90.5 %'
    """
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """Return a difference of shares in percentage points.

    Examples
    --------
    >>> points(-0.021)
    '-2.1'
    """
    return f"{100 * share:+.1f}"
