"""The report: whole in both languages, one file without the world, the very figures of the JSON, nobody in it."""

import copy
import json
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd
import pytest
from assessment_sample import full_assessment, listing, null_assessment
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk.errors import MissingExtraError, SettingsError
from dropout_risk.evaluation import evaluate
from dropout_risk.report import charts, render, render_report, words, write_report
from dropout_risk.report.figures import Estimate, report_figures
from dropout_risk.report.svg import MARKERS, round_up, spread, ticks
from dropout_risk.report.texts import TEXTS
from dropout_risk.targets import target_list

LANGS = ("zh", "en")
CJK = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
VOID = {"meta", "br"}
HOSTILE = "<script>alert('1')</script>&\"]]>"
VARIANTS = {
    "full": lambda lang: render_report(full_assessment(), lang=lang, listing=listing()),
    "null": lambda lang: render_report(null_assessment(), lang=lang),
    "empty": lambda lang: render_report({}, lang=lang, listing={}),
}


@pytest.fixture(scope="module")
def pages():
    return {(variant, lang): make(lang) for variant, make in VARIANTS.items() for lang in LANGS}


class Page(HTMLParser):
    """Collects elements and attributes, and insists that every element is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.shown = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.open:
            self.shown.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.shown).split())


def seen(page):
    return Page(page).text.replace("\u00a0", " ")


def pictures(page):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S)]


# Language


def test_every_text_has_both_languages_and_the_same_gaps():
    def gaps(text):
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for key, pair in TEXTS.items():
        assert set(pair) == set(LANGS), key
        assert pair["zh"].strip() and pair["en"].strip(), key
        assert gaps(pair["zh"]) == gaps(pair["en"]), key
        assert not CJK.search(pair["en"]), key
        assert CJK.search(pair["zh"]) or key in {"metric_auc", "word_auc", "bin_cell"}, key


def test_no_text_is_idle(monkeypatch):
    used = set()

    class Recorder(dict):
        def __getitem__(self, key):
            used.add(key)
            return super().__getitem__(key)

    monkeypatch.setattr(words, "TEXTS", Recorder(TEXTS))
    for make in VARIANTS.values():
        make("en")
    odd = full_assessment()
    odd["evaluation"]["differences"]["random"]["recall_at_10"] = {"value": -0.1, "low": -0.2, "high": -0.05}
    odd["evaluation"]["differences"]["last_grades"]["recall_at_10"] = {"value": 0.0, "low": -0.2, "high": 0.2}
    odd["evaluation"]["metrics"]["ece"] = {"value": 0.01, "low": None, "high": None}
    odd["missing"] = odd["missing"] * 3
    odd["held_out"]["unit"] = "school"
    odd["reasons"][0]["band"] = "low"
    render_report(odd, lang="en", listing={**listing(), "basis": "risks alone"})
    assert {key for key in TEXTS if not key.startswith("peer_")} <= used


@pytest.mark.parametrize("variant", VARIANTS)
def test_english_has_no_chinese(pages, variant):
    assert not CJK.search(pages[variant, "en"])
    assert '<html lang="en">' in pages[variant, "en"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_chinese_has_no_english_sentence(pages, variant):
    page = unescape(pages[variant, "zh"])
    assert '<html lang="zh-CN">' in page
    for pair in TEXTS.values():
        for piece in re.split(r"\{[a-z_]+\}", pair["en"]):
            assert len(piece) < 12 or piece not in page or piece in pair["zh"], piece
    written = re.sub(r"[^a-zA-Z ]", "|", seen(pages[variant, "zh"]))
    assert not re.search(r"[a-z]+ [a-z]+ [a-z]+", written)


def test_an_unknown_language_is_refused():
    with pytest.raises(SettingsError, match="'fr'.*zh, en"):
        render_report({}, lang="fr")


# One safe file


def test_pages_are_well_formed(pages):
    for text in pages.values():
        page = Page(text)
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids))
        links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
        assert links == [f"#{name}" for name in ids]


def test_pages_need_nothing_else(pages):
    for text in pages.values():
        page = Page(text)
        names = {name for _, attrs in page.elements for name in attrs}
        assert not names & {"src", "srcset", "action", "data", "poster", "background", "style", "onload", "onclick"}
        assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "img", "base"}
        assert not re.search(r"url\(|@import|https?:|//[a-z]", text)
        csp = [attrs for tag, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"]
        assert [one["content"] for one in csp] == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_pictures_are_read_aloud_and_stand_beside_a_table(pages):
    for lang in LANGS:
        found = pictures(pages["full", lang])
        assert len(found) > 20
        for svg in found:
            assert svg.get("role") == "img" and svg.get("aria-label")
            assert svg.find("title").text == svg.get("aria-label") and svg.find("desc").text
        tags = [tag for tag, _ in Page(pages["full", lang]).elements]
        assert tags.count("details") == tags.count("figure") - 1  # the table of the rules stands above its picture


def test_text_of_pictures_stays_within_them(pages):
    for lang in LANGS:
        for svg in pictures(pages["full", lang]):
            width, height = (float(svg.get(side)) for side in ("width", "height"))
            for text in svg.iter("text"):
                x, y, size = (float(text.get(name)) for name in ("x", "y", "font-size"))
                wide = sum(1.0 if CJK.match(letter) else 0.5 for letter in text.text or "") * size
                left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor")]
                assert left >= -3 and left + wide <= width + 16, text.text
                assert size <= y <= height, text.text


def test_hostile_names_are_only_text():
    bad = full_assessment()
    bad["evaluation"]["verdict"] = {"zh": HOSTILE, "en": HOSTILE}
    bad["evaluation"]["per_place"][0]["place"] = HOSTILE
    bad["evaluation"]["per_group"].append({**bad["evaluation"]["per_group"][0], "column": HOSTILE, "level": HOSTILE})
    bad["evaluation"]["rules"][HOSTILE] = bad["evaluation"]["rules"]["random"]
    bad["drivers"]["features"][0] |= {"zh": HOSTILE, "en": HOSTILE}
    bad["reasons"][0]["reasons"]["en"][0]["text"] = HOSTILE
    bad["data"]["terms"] = [HOSTILE]
    bad["notes"] = [{"zh": HOSTILE, "en": HOSTILE}]
    worth = listing()
    worth["places"][0]["place"] = HOSTILE
    for lang in LANGS:
        page = render_report(bad, lang=lang, listing=worth)
        parsed = Page(page)
        assert "<script" not in page
        assert not {"script"} & {tag for tag, _ in parsed.elements}
        assert parsed.text.count(HOSTILE) >= 7


@pytest.mark.slow
def test_the_same_figures_give_the_same_bytes(tmp_path, pages):
    assert {key: VARIANTS[key[0]](key[1]) for key in pages} == pages
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from assessment_sample import full_assessment, listing\n"
        "from dropout_risk.report import write_report\n"
        "write_report(full_assessment(), sys.argv[2], listing=listing())"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / seed)]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed})
    for name in ("report.zh.html", "report.en.html", "report.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


# Figures


def test_the_page_is_made_of_the_json_alone(tmp_path, pages):
    files = write_report(full_assessment(), tmp_path / "term" / "list.html", listing=listing())
    assert [path.name for path in files] == ["list.zh.html", "list.en.html", "list.json"]
    assert sorted(path.name for path in (tmp_path / "term").iterdir()) == sorted(path.name for path in files)
    found = json.loads(files[-1].read_text("utf-8"))
    for lang, path in zip(LANGS, files, strict=False):
        assert path.read_text("utf-8") == pages["full", lang]
        assert render_report(found, lang=lang, listing=found["listing"]) == pages["full", lang]


def test_figures_of_the_json_are_shown(pages):
    found = report_figures(full_assessment(), listing())
    metrics = found["evaluation"]["metrics"]
    text = seen(pages["full", "en"])
    recall = metrics["recall_at_10"]
    assert f"{100 * recall['value']:.1f} % of all who left were on the list" in text
    assert f"95 % interval: {100 * recall['low']:.1f} % to {100 * recall['high']:.1f} %" in text
    for cell in found["evaluation"]["per_group"]:
        if not cell["suppressed"]:
            assert f"{100 * cell['recall']:.1f} ({100 * cell['recall_low']:.1f} to" in text
    for name in found["evaluation"]["rules"]:
        value = found["evaluation"]["differences"][name]["recall_at_10"]["value"]
        assert f"{100 * value:+.1f} (" in text
    assert "97 % of the 10,113 students who need a score got one (9,812). The other 412 rows of the roster" in text
    assert "about 127 of them would leave (95 % interval: 78 to 186)" in text


def test_the_verdict_and_the_alarm_stand_first(pages):
    verdict = full_assessment()["evaluation"]["verdict"]
    for lang in LANGS:
        body = pages["full", lang].split("<body>")[1]
        title = TEXTS["title"][lang]
        first = f"{title} {verdict[lang]} {TEXTS['alarm_first'][lang].split('{')[0].strip()}"
        assert seen(f"<body>{body.split('</body>')[0]}</body>").startswith(first)
    assert "alarm_first" not in pages["null", "en"] and 'class="alarm"' not in pages["null", "en"]


def test_a_rule_that_finds_more_is_said_to(pages):
    assert "the model is worse" not in seen(pages["full", "en"])
    worse = full_assessment()
    worse["evaluation"]["differences"]["absence_rule"]["recall_at_10"] = {"value": -0.1, "low": -0.2, "high": -0.05}
    assert "Absence rate 30.2 (25.2 to 35.2) 7.9 (6.9 to 8.9) −10.0 (−20.0 to −5.0) the model is worse" in seen(
        render_report(worse, lang="en")
    )


def test_missing_parts_are_told_and_leave_no_empty_picture(pages):
    for lang in LANGS:
        text = seen(pages["null", lang])
        told = [key for key in TEXTS if key.endswith("_none")]
        assert len(told) > 10
        for key in told:
            assert TEXTS[key][lang] in text, key
        assert not pictures(pages["null", lang])


def test_suppressed_figures_are_nowhere(tmp_path):
    secret = 98765.4321
    assessment = full_assessment()
    for part in ("per_group", "calibration", "per_place", "per_term"):
        for cell in assessment["evaluation"][part]:
            if cell["suppressed"]:
                cell |= dict.fromkeys(("rows", "events", "recall", "recall_at_10", "mean_risk", "observed"), secret)
    for path in write_report(assessment, tmp_path):
        assert "98765" not in path.read_text("utf-8").replace(",", "")
    assert seen((tmp_path / "report.en.html").read_text("utf-8")).count("too few to show") > 8


def test_no_student_is_in_the_files(tmp_path):
    for path in write_report(full_assessment(), tmp_path, listing=listing()):
        assert not re.search("student-4711|student-0815|student_id", path.read_text("utf-8"))


def numbers_in(value, path=()):
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in numbers_in(item, (*path, key))]
    if isinstance(value, list):
        return [found for key, item in enumerate(value) for found in numbers_in(item, (*path, key))]
    return [path] if isinstance(value, float | int) and not isinstance(value, bool) else []


def small_assessment():
    """Return the full assessment with fewer rows of each kind, for tests that draw it many times."""
    assessment = full_assessment()
    for swarm in assessment["drivers"]["beeswarm"]:
        del swarm["points"][12:]
    for part, kept in (("per_group", 8), ("calibration", 30), ("precision_recall", 50)):
        del assessment["evaluation"][part][kept:]
    return assessment


SAMPLE = {"assessment": small_assessment(), "listing": listing()}
NUMBERS = numbers_in(SAMPLE)


@pytest.mark.slow
@given(paths=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=40), gone=st.sampled_from([None, math.nan, "cut"]))
@settings(max_examples=40)
def test_any_figure_may_be_unknown(paths, gone):
    given_ = copy.deepcopy(SAMPLE)
    for path in paths:
        part = given_
        for key in path[:-1]:
            part = part[key]
        if gone == "cut" and isinstance(part, dict):
            part.pop(path[-1], None)
        else:
            part[path[-1]] = None if gone == "cut" else gone
    page = render_report(given_["assessment"], lang="en", listing=given_["listing"])
    assert not re.search(r"\b(nan|None|inf)\b", seen(page))
    assert not re.search(r"=\"[^\"]*\bnan\b", page)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [*full_assessment(), *(f"evaluation.{name}" for name in full_assessment()["evaluation"])]
)
def test_any_part_may_be_missing(part):
    outer, _, inner = part.partition(".")
    for value in ("cut", None):
        assessment = small_assessment()
        holder, key = (assessment["evaluation"], inner) if inner else (assessment, outer)
        holder.pop(key)
        if value is None:
            holder[key] = None
        assert seen(render_report(assessment, lang="zh")).count("12") > 1


def test_real_figures_of_one_small_world():
    rng = np.random.default_rng(3)
    risk = rng.beta(1, 12, 900)
    left = (rng.random(900) < risk).astype(float)
    by = pd.DataFrame({"poverty": rng.choice(["none", "registered"], 900), "shoe": rng.choice(list("abc"), 900)})
    school, term = rng.integers(0, 12, 900), rng.integers(0, 3, 900)
    found = evaluate(
        left, risk, groups=school, term=term, place=rng.integers(0, 2, 900), by=by, n_boot=20,
        rules={"random": rng.random(900), "own_rule": rng.random(900)}, peers={"random_forest": risk**1.1},
    )  # fmt: skip
    scores = pd.DataFrame({"student_id": [f"kid{i}" for i in range(900)], "school_id": school, "risk": risk})
    chosen = target_list(scores.assign(county_id="X"), capacity=90)
    assessment = {"evaluation": found.to_dict()}
    for lang in LANGS:
        page = render_report(assessment, lang=lang, listing=chosen.to_dict())
        text = seen(page)
        assert found.verdict(lang).replace("\u00a0", " ") in text
        assert "own_rule" in text and "shoe" in text and "kid" not in text
        assert len(pictures(page)) > 6


def test_without_jinja2_the_command_is_named(monkeypatch):
    render._template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'dropout-risk[report]'")):
        render_report({}, lang="en")


# Pictures


def percent(value):
    return f"{100 * value:g} %"


def test_bars_are_as_long_as_their_values():
    cells = [0.1, 0.25, 0.4]
    svg = ET.fromstring(
        charts.bars(
            [charts.Bar(f"row {value}", cells=[Estimate(value, value - 0.05, value + 0.05)]) for value in cells],
            [charts.Panel("share (%)", percent, high=0.5)], title="t", description="d",
        )
    )  # fmt: skip
    lengths = [float(rect.get("width")) for rect in svg.iter("rect")]
    assert np.allclose(np.array(lengths) / lengths[0], np.array(cells) / cells[0], rtol=0.01)


def test_lines_go_through_their_points():
    line = charts.Curve("model", [(0.0, 0.0), (0.1, 0.4), (0.2, 0.6)])
    shown = charts.curves([line], title="t", description="d", x_title="x", y_title="y", show=percent)
    d = ET.fromstring(shown).find(".//path[@fill='none']").get("d")
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, point.split())) for point in d[1:].split("L")]
    assert (x1 - x0) == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y1) / (y0 - y2) == pytest.approx(0.4 / 0.6, abs=0.01)


def test_names_stand_at_the_ends_of_their_lines():
    ends = {"model": 0.6, "near": 0.58, "far": 0.1}
    lines = [charts.Curve(name, [(0.0, 0.0), (0.3, end)]) for name, end in ends.items()]
    svg = ET.fromstring(charts.curves(lines, title="t", description="d", x_title="x", y_title="y", show=percent))
    names = {text.text: float(text.get("y")) - 5 for text in svg.iter("text") if text.text in ends}
    paths = reversed(svg.findall(".//path[@fill='none']"))  # the model is drawn last, on top
    at = {name: float(path.get("d").split()[-1]) for name, path in zip(ends, paths, strict=True)}
    assert names["model"] == pytest.approx(at["model"], abs=0.2)
    assert names["far"] == pytest.approx(at["far"], abs=0.2)
    assert names["near"] == pytest.approx(names["model"] + 21, abs=0.2)


def test_lines_differ_without_colour():
    dashes = [dash for _, dash in charts.LINES]
    assert len(set(dashes)) == len(dashes) == len(MARKERS) == len(set(MARKERS))


def test_heat_runs_from_light_to_dark():
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    found = [luminance(colour) for colour in charts.HEAT]
    assert all(dark < 0.8 * light for light, dark in zip(found, found[1:], strict=False))
    assert 1.05 / (found[0] + 0.05) > 2.5  # the lightest is still seen on white


def test_every_student_is_a_dot():
    points = [(0.01 * (i % 9), None if i % 5 == 0 else i / 50) for i in range(50)]
    shown = charts.beeswarm(
        [charts.Swarm("a", points)], title="t", description="d", x_title="x", legend=("low", "high", "none")
    )
    legend_dots, legend_crosses = len(charts.HEAT), 1
    assert shown.count("h0") == 40 + legend_dots
    crosses = [line for line in ET.fromstring(shown).iter("line") if line.get("stroke-width") == "2"]
    assert len(crosses) == 2 * (10 + legend_crosses)


def test_reliability_stands_on_the_diagonal_where_risks_come_true():
    bins = [(risk, Estimate(risk, 0.8 * risk, 1.2 * risk), 100) for risk in (0.01, 0.04, 0.09, 0.2)]
    shown = charts.reliability(
        [charts.Reliability("all", bins)],
        title="t",
        description="d",
        x_title="x",
        y_title="y",
        show=percent,
        large=True,
    )
    svg = ET.fromstring(shown)
    diagonal = svg.find(".//line[@stroke-dasharray='6 4']")
    x1, y1, x2, y2 = (float(diagonal.get(end)) for end in ("x1", "y1", "x2", "y2"))
    dots = list(svg.iter("circle"))
    assert len(dots) == len(bins)
    for dot in dots:
        part = (float(dot.get("cx")) - x1) / (x2 - x1)
        assert float(dot.get("cy")) == pytest.approx(y1 + part * (y2 - y1), abs=0.3)


@given(wanted=st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_spread_labels_keep_their_distance(wanted):
    places = spread(wanted, 20, 0, 300)
    assert all(0 <= place <= 300 for place in places)
    in_order = sorted(places)
    assert all(b - a >= 20 - 1e-6 for a, b in zip(in_order, in_order[1:], strict=False))
    assert [places[i] for i in sorted(range(len(wanted)), key=lambda i: wanted[i])] == in_order


@given(low=st.floats(-50, 0), wide=st.floats(0.001, 1000), count=st.integers(3, 8))
def test_ticks_lie_on_the_axis(low, wide, count):
    found = ticks(low, low + wide, count)
    assert found == sorted(set(found))
    assert all(low - 1e-6 * wide <= value <= low + wide * (1 + 1e-6) + 1e-9 for value in found)
    assert 1 <= len(found) <= 2 * count + 2


@given(st.floats(1e-6, 1e6))
def test_round_ends_hold_the_value(value):
    assert value * (1 - 1e-6) <= round_up(value) <= 2.01 * value


# In a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(path, *options):
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=3000", "--enable-logging=stderr",
               "--v=0", *options, path.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
@pytest.mark.parametrize("lang", LANGS)
def test_the_page_opens_and_prints_without_a_word_on_the_console(tmp_path, lang):
    from PIL import Image

    page = tmp_path / f"report.{lang}.html"
    write_report(full_assessment(), tmp_path, langs=[lang], listing=listing())
    assert browse(page, "--window-size=1060,4000", f"--screenshot={tmp_path / 'page.png'}") == []
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.size == (1060, 4000)
        colours = shot.convert("RGB").getcolors(maxcolors=1 << 24)
    white = sum(count for count, colour in colours if colour == (255, 255, 255))
    assert len(colours) > 100 and 0.5 < white / (1060 * 4000) < 0.97
    assert browse(page, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}") == []
    boxes = re.findall(rb"/MediaBox \[([^\]]*)\]", (tmp_path / "page.pdf").read_bytes())
    assert len(boxes) > 8
    assert all(np.allclose([float(side) for side in box.split()], [0, 0, 595, 842], atol=1) for box in boxes)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_the_page_may_fetch_and_run_nothing(tmp_path):
    """The console speaks when something foreign gets in, so its silence above means something."""
    page = tmp_path / "report.html"
    bad = '<img src="https://example.invalid/x.png"><script>document.title = "run"</script>'
    page.write_text(render_report({}, lang="en").replace("</body>", f"{bad}</body>"), encoding="utf-8")
    told = browse(page, f"--screenshot={tmp_path / 'page.png'}")
    assert len(told) >= 2 and all("Content Security Policy" in line for line in told)
