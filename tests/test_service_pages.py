"""The page of one student: complete in both languages, safe, without scripts, and one sheet of paper."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dropout_risk.descriptions import Lang
from dropout_risk.service import pages

REASON = {
    "group": "attendance",
    "label": "出勤",
    "feature": "absence_rate",
    "contribution": 1.29,
    "value": 0.667,
    "median": 0.0,
    "text": "本学期缺勤率 66.7 %（同年级中位数 0 %）",
    "changeable": True,
    "measure": "家访了解缺勤原因，班主任逐日跟进",
}


def told(**changes: Any) -> dict[str, Any]:
    entry = {
        "run_id": "r",
        "at": "2022-07-09T08:00:00+00:00",
        "as_of": "2022-07-08",
        "expires": "2023-01-13",
        "model_version": "ecf7cbf532e8",
        "risk": 0.094,
        "band": "high",
        "rank": 1,
        "reasons": [REASON | {"contribution": 1.29 - place / 5, "changeable": place % 2 == 0} for place in range(5)],
        "data_gaps": ["成绩变化", "住校"],
    }
    return {
        "pseudonym": "P-f336e4611cb113ef",
        "student_id": None,
        "school_id": "S001",
        "county_id": "513425",
        "class_id": "3",
        "grade": 7,
        "expired": False,
        "latest": entry,
        "history": [entry] * 6,
        "disclaimer": "风险只是提供帮助的理由，绝不是结论；由人作出决定。",
        **changes,
    }


def test_both_languages_have_the_same_words() -> None:
    zh, en = pages._WORDS["zh"], pages._WORDS["en"]
    assert zh.keys() == en.keys()
    assert not any(re.search(r"[一-鿿]", word) for word in en.values())


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_says_what_is_known(lang: Lang) -> None:
    page = pages.student_page(told(), lang)
    for said in (
        "P-f336e4611cb113ef",
        "S001",
        "9 %",
        "家访了解缺勤原因",
        "成绩变化",
        "2023-01-13",
        "ecf7cbf532e8",
        "绝不是结论",
    ):
        assert said in page
    assert pages._WORDS[lang]["high"] in page
    assert pages._WORDS[lang]["expired"] not in page
    assert pages._WORDS[lang]["expired"] in pages.student_page(told(expired=True), lang)


def test_the_page_asks_nobody_and_runs_nothing() -> None:
    page = pages.student_page(told(class_id="<script>alert(1)</script>", grade=None), "zh")
    assert "<script" not in page
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert "&lt;script&gt;" in page


def test_who_has_no_reason_gets_no_empty_table() -> None:
    latest = told()["latest"] | {"reasons": [], "data_gaps": [], "risk": 0.004, "band": "low"}
    page = pages.student_page(told(latest=latest, history=[latest]), "en")
    assert "Nothing raises the risk noticeably." in page
    assert "&lt;1 %" in page
    assert "Scores so far" not in page


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_is_one_sheet_of_paper(lang: Lang, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium fonts-noto-cjk")
    (tmp_path / "page.html").write_text(pages.student_page(told(), lang), "utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-pdf-header-footer",
        f"--user-data-dir={tmp_path}/own",
    ]
    done = subprocess.run(
        [browser, *options, f"--print-to-pdf={tmp_path}/page.pdf", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes())) == 1
