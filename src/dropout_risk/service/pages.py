"""Pages to print, without scripts and without the network."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, Template, select_autoescape

from dropout_risk.descriptions import Lang

_WORDS: dict[Lang, dict[str, str]] = {
    "zh": {
        "title": "一对一帮扶参考",
        "risk": "下学期离校风险",
        "of_100": "同样情况的 100 名学生中约有",
        "leave": "名离校",
        "band": "分档",
        "high": "高",
        "raised": "较高",
        "watch": "关注",
        "low": "低",
        "school": "学校",
        "class": "班级",
        "grade": "年级",
        "as_of": "评分日期",
        "expires": "有效期至",
        "expired": "本评分已过期，请重新评分。",
        "model": "模型版本",
        "why": "风险升高的原因",
        "measure": "可以做什么",
        "given": "这一事实本身无法改变",
        "none": "没有明显升高风险的因素。",
        "gaps": "没有记录的信息（不等于“没有问题”）",
        "history": "历次评分",
        "notes": "谈话与帮扶记录",
        "student": "学生",
    },
    "en": {
        "title": "For one-to-one support",
        "risk": "Risk of leaving school next term",
        "of_100": "Of 100 students like this one about",
        "leave": "leave",
        "band": "Band",
        "high": "high",
        "raised": "raised",
        "watch": "watch",
        "low": "low",
        "school": "School",
        "class": "Class",
        "grade": "Grade",
        "as_of": "As of",
        "expires": "Counts until",
        "expired": "This score has expired; score again.",
        "model": "Model",
        "why": "What raises the risk",
        "measure": "What can be done",
        "given": "the fact itself cannot be changed",
        "none": "Nothing raises the risk noticeably.",
        "gaps": "Not on record (which does not mean that all is well)",
        "history": "Scores so far",
        "notes": "Notes on talks and support",
        "student": "Student",
    },
}


def student_page(told: Mapping[str, Any], lang: Lang) -> str:
    """Return the page of one student.

    Parameters
    ----------
    told
        A `StudentAnswer` as plain values.
    lang
        Language of the page, and of what is told.
    """
    return _template().render(told=told, words=_WORDS[lang], lang="zh-CN" if lang == "zh" else "en")


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("dropout_risk.service", "."), autoescape=select_autoescape(["j2"]))
    return environment.get_template("student.html.j2")
