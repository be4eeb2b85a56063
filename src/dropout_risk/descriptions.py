"""What every feature means to people: group, labels, sentences, direction, and the support it points to.

Values only. The builders are in `features`, the sentences are filled in `explain`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["attendance", "learning", "poverty", "distance", "family", "age", "school", "stage"]
Lang = Literal["zh", "en"]

GROUPS: dict[str, dict[str, str]] = {
    "attendance": {"zh": "出勤", "en": "Attendance"},
    "learning": {"zh": "学业", "en": "Learning"},
    "poverty": {"zh": "家庭经济", "en": "Poverty"},
    "distance": {"zh": "上学路程", "en": "Way to school"},
    "family": {"zh": "家庭照护", "en": "Family"},
    "age": {"zh": "超龄", "en": "Age for grade"},
    "school": {"zh": "学校环境", "en": "School"},
    "stage": {"zh": "学段与时段", "en": "Grade and season"},
}
"""Groups of features as people talk about them."""

MEASURES: dict[str, dict[str, str]] = {
    "home_visit": {
        "zh": "家访了解缺勤原因，班主任逐日跟进",
        "en": "visit the home, ask what keeps the child away, follow up day by day",
    },
    "reporting": {
        "zh": "补齐考勤上报，先核实学生是否在校",
        "en": "complete the attendance reports; first check that the child is at school",
    },
    "tutoring": {
        "zh": "安排学业辅导，制定适合本人的学习计划",
        "en": "arrange tutoring and a study plan that fits this child",
    },
    "subsidy": {
        "zh": "核对资助政策是否应享尽享",
        "en": "check that every subsidy the family is entitled to is paid",
    },
    "transport": {
        "zh": "协调校车、寄宿床位或交通补助",
        "en": "find a school bus, a boarding place or a transport allowance",
    },
    "guardian": {
        "zh": "联系监护人，落实日常照护人",
        "en": "talk with the guardians and name an adult who looks after the child day to day",
    },
    "belonging": {
        "zh": "结对帮扶，讨论适合其年龄的学习出路",
        "en": "pair the child with a mentor and discuss paths that suit the age",
    },
    "school_plan": {
        "zh": "纳入学校层面的控辍保学支持计划",
        "en": "include the school in a support plan of its own",
    },
    "return_plan": {
        "zh": "放假前约定返校，开学第一周逐人确认到校",
        "en": "agree on the return before the holiday and confirm arrival in the first week",
    },
    "record": {"zh": "补登缺失的信息", "en": "complete the missing record"},
}
"""The support menu: what a reason leads to."""


RULE_LABELS: dict[str, dict[Lang, str]] = {
    "model": {"zh": "本模型", "en": "model"},
    "absence_rule": {"zh": "按缺勤率", "en": "absence rate"},
    "school_mean": {"zh": "按学校往期流失率", "en": "leaving rate of the school"},
    "poverty_list": {"zh": "仅按困难家庭名册", "en": "poverty register only"},
    "last_grades": {"zh": "按最近成绩（低者优先）", "en": "last marks, lowest first"},
    "random": {"zh": "随机抽取", "en": "drawn by lot"},
}
"""What the model and each simple rule that ranks the same students are called."""


@dataclass(frozen=True)
class Feature:
    """One feature as people see it.

    Attributes
    ----------
    name, group, zh, en, unit
        Column name, group, labels and unit of the value.
    sign
        +1 or -1 where the risk may only rise or only fall with the value (a monotone constraint), else 0.
    changeable
        Whether school or county can change it; otherwise it is context.
    measure
        Key of `MEASURES`.
    sentence_zh, sentence_en
        With ``{value}`` and ``{median}``: the student's own value and the comparison.
    show
        Key of `SHOWN`: how a number is written.
    """

    name: str
    group: Group
    zh: str
    en: str
    unit: str
    sign: Literal[-1, 0, 1]
    changeable: bool
    measure: str
    sentence_zh: str
    sentence_en: str
    show: str = "number"

    def label(self, lang: Lang) -> str:
        """Return the label in `lang`."""
        return self.zh if lang == "zh" else self.en


def _plain(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.3g}"


def _words(words: Mapping[int, tuple[str, str]]) -> Callable[[float, Lang], str]:
    return lambda value, lang: words[round(min(max(value, min(words)), max(words)))][lang == "en"]


SHOWN: dict[str, Callable[[float, Lang], str]] = {
    "number": lambda value, lang: _plain(value),
    "whole": lambda value, lang: f"{value:.0f}",
    "percent": lambda value, lang: f"{_plain(100 * value)} %",
    "points": lambda value, lang: _plain(round(100 * value, 1) + 0.0) if value <= 0 else f"+{_plain(100 * value)}",
    "percentile": lambda value, lang: f"{100 * value:.0f}",
    "yes_no": _words({0: ("否", "no"), 1: ("是", "yes")}),
    "poverty": _words(
        {0: ("非困难户", "none"), 1: ("边缘易致贫户", "near-poor"), 2: ("建档立卡或低保", "registered poor")}
    ),
    "away": _words({0: ("无", "none"), 1: ("一方", "one"), 2: ("双方", "both")}),
}
"""How a value is written, by the name used in `Feature.show`."""

FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("absence_rate", "attendance", "本学期缺勤率", "Absence rate this term", "share of reported days",
                1, True, "home_visit", "本学期缺勤率 {value}（同年级中位数 {median}）",
                "absent on {value} of the reported days this term; median of the grade: {median}", "percent"),
        Feature("absent_days_20", "attendance", "最近20个上课日缺勤天数", "Days absent of the last 20", "days",
                1, True, "home_visit", "最近20个上课日缺勤 {value} 天（同年级中位数 {median} 天）",
                "absent {value} of the last 20 school days; median of the grade: {median}", "whole"),
        Feature("unexcused_rate", "attendance", "旷课率", "Absence without leave", "share of reported days",
                1, True, "home_visit", "本学期旷课占 {value}（同年级中位数 {median}）",
                "absent without leave on {value} of the days; median of the grade: {median}", "percent"),
        Feature("longest_absence", "attendance", "最长连续缺勤", "Longest run of absence", "school days",
                1, True, "home_visit", "本学期最长连续缺勤 {value} 天（同年级中位数 {median} 天）",
                "longest run of absence {value} school days; median of the grade: {median}", "whole"),
        Feature("absence_run_now", "attendance", "当前连续缺勤", "Absent in a row right now", "school days",
                1, True, "home_visit", "目前已连续缺勤 {value} 天（同年级中位数 {median} 天）",
                "absent for {value} school days in a row right now; median of the grade: {median}", "whole"),
        Feature("absence_change", "attendance", "缺勤率较上学期变化", "Change of absence on last term",
                "share of reported days", 1, True, "home_visit",
                "缺勤率较本人上学期变化 {value} 个百分点（同年级中位数 {median}）",
                "absence changed by {value} points on the own last term; median of the grade: {median}",
                "points"),
        Feature("edge_day_gap", "attendance", "周一周五缺勤差", "Extra absence on Mondays and Fridays",
                "share of reported days", 0, True, "home_visit",
                "周一、周五缺勤率比其他日子高 {value} 个百分点（同年级中位数 {median}）",
                "absence on Mondays and Fridays is {value} points above other days; median of the grade: {median}",
                "points"),
        Feature("late_rate", "attendance", "迟到早退率", "Late or left early", "share of reported days",
                1, True, "home_visit", "迟到早退占 {value}（同年级中位数 {median}）",
                "late or left early on {value} of the days; median of the grade: {median}", "percent"),
        Feature("not_reported_rate", "attendance", "考勤未上报率", "Days not reported", "share of school days",
                0, True, "reporting", "{value} 的上课日没有考勤记录（同年级中位数 {median}）",
                "no attendance was reported on {value} of the school days; median of the grade: {median}",
                "percent"),
        Feature("score_level", "learning", "成绩位置", "Level of marks", "percentile in county and grade",
                -1, True, "tutoring", "成绩超过全县同年级 {value} % 的学生（中位数 {median}）",
                "marks above {value} % of the county's grade; median: {median}", "percentile"),
        Feature("score_lowest", "learning", "最弱学科位置", "Weakest subject", "percentile in county and grade",
                -1, True, "tutoring", "最弱学科超过全县同年级 {value} % 的学生（中位数 {median}）",
                "weakest subject above {value} % of the county's grade; median: {median}", "percentile"),
        Feature("score_trend", "learning", "成绩变化", "Change of marks", "percentile points",
                -1, True, "tutoring", "成绩位置较上学期变化 {value} 个百分位（同年级中位数 {median}）",
                "marks moved by {value} percentile points on last term; median of the grade: {median}", "points"),
        Feature("exams_missed", "learning", "缺考次数", "Exams missed", "exams",
                1, True, "tutoring", "本学期缺考 {value} 次（同年级中位数 {median} 次）",
                "exams missed this term: {value}; median of the grade: {median}", "whole"),
        Feature("poverty_level", "poverty", "家庭经济困难程度", "Poverty status", "level 0-2",
                1, False, "subsidy", "家庭经济状况：{value}（同年级多数为 {median}）",
                "poverty status of the household: {value}; most of the grade: {median}", "poverty"),
        Feature("distance_km", "distance", "上学距离", "Distance to school", "km",
                1, False, "transport", "家校距离 {value} 公里（同年级中位数 {median} 公里）",
                "lives {value} km from school; median of the grade: {median}"),
        Feature("travel_minutes", "distance", "上学路上时间", "Travel time to school", "minutes",
                1, True, "transport", "单程上学 {value} 分钟（同年级中位数 {median} 分钟）",
                "travels {value} minutes to school; median of the grade: {median}", "whole"),
        Feature("boarding", "distance", "住校", "Boards at school", "yes/no",
                0, True, "transport", "住校：{value}（同年级多数为 {median}）",
                "boards at school: {value}; most of the grade: {median}", "yes_no"),
        Feature("parents_away", "family", "父母外出", "Parents away", "number of parents",
                1, False, "guardian", "外出父母：{value}（同年级多数为 {median}）",
                "parents who live away: {value}; most of the grade: {median}", "away"),
        Feature("mother_away", "family", "母亲外出", "Mother away", "yes/no",
                1, False, "guardian", "母亲在外：{value}（同年级多数为 {median}）",
                "the mother lives away: {value}; most of the grade: {median}", "yes_no"),
        Feature("siblings", "family", "兄弟姐妹数", "Siblings", "children",
                0, False, "guardian", "兄弟姐妹 {value} 人（同年级中位数 {median} 人）",
                "{value} siblings; median of the grade: {median}", "whole"),
        Feature("migrant", "family", "随迁子女", "Child of migrant workers", "yes/no",
                0, False, "guardian", "随迁子女：{value}（同年级多数为 {median}）",
                "child of migrant workers: {value}; most of the grade: {median}", "yes_no"),
        Feature("years_over_age", "age", "超龄年数", "Years over age for grade", "years",
                1, False, "belonging", "比同年级适龄大 {value} 岁（同年级中位数 {median}）",
                "{value} years over the age of the grade; median of the grade: {median}", "whole"),
        Feature("school_leaving_rate", "school", "学校往期流失率", "Leaving rate of the school so far",
                "share per term", 1, False, "school_plan", "所在学校往期每学期流失率 {value}（中位数 {median}）",
                "{value} of the school's students left per term so far; median: {median}", "percent"),
        Feature("school_absence_rate", "school", "学校缺勤率", "Absence rate of the school",
                "share of reported days", 0, False, "school_plan", "所在学校缺勤率 {value}（中位数 {median}）",
                "absence rate of the school {value}; median: {median}", "percent"),
        Feature("school_poverty_share", "school", "学校困难学生比例", "Poor students in the school", "share",
                0, False, "school_plan", "所在学校困难家庭学生占 {value}（中位数 {median}）",
                "{value} of the school's students are registered poor; median: {median}", "percent"),
        Feature("school_size", "school", "学校规模", "Students in the school", "students",
                0, False, "school_plan", "所在学校有 {value} 名学生（中位数 {median}）",
                "the school has {value} students; median: {median}", "whole"),
        Feature("grade", "stage", "年级", "Grade", "grade 1-9",
                0, False, "return_plan", "就读 {value} 年级（各年级流失情况不同）",
                "is in grade {value} (grades differ in how many leave)", "whole"),
        Feature("before_summer", "stage", "暑假前", "Before the summer holiday", "yes/no",
                0, False, "return_plan", "临近暑假：{value}（各学期流失情况不同）",
                "the summer holiday comes next: {value} (terms differ in how many leave)", "yes_no"),
    )
}  # fmt: skip
"""Every feature of the county pipeline, in the order of the columns."""

SENSITIVE = frozenset({"poverty_level", "parents_away", "mother_away", "siblings", "migrant", "school_poverty_share"})
"""Features about the family's means and situation: every assessment also judges a model without them."""
