"""What is printed and written: the right words in the right language, strict JSON, whole files or none."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trained_county import junior, trained

from dropout_risk.console import print_listing, to_json, write_listing, yield_sentence
from dropout_risk.errors import SettingsError
from dropout_risk.pipeline import Listing, support_list
from dropout_risk.targets import target_list

CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
CAPACITY = 12


@pytest.fixture(scope="module")
def listings() -> dict[str, Listing]:
    return {lang: support_list(junior(), trained().bundle, capacity=CAPACITY, lang=lang) for lang in ("zh", "en")}


def of_one_language(text: str, lang: str) -> bool:
    """Whether there are no sentences of the other language in a text."""
    return not CHINESE.search(text) if lang == "en" else bool(CHINESE.search(text)) and not ENGLISH.search(text)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_list_is_printed_in_one_language(listings, lang, capsys):
    print_listing(listings[lang], lang)
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    frame, churn = listings[lang].targets.frame, listings[lang].churn
    for line, row in zip(lines[:CAPACITY], frame.itertuples(), strict=True):
        assert row.student_id in line and f"{row.risk:.1%}" in line and row.school_id in line
        assert row.reason_1 in line
    assert all(any(student in line for line in lines[CAPACITY:]) for student in churn.frame["student_id"])
    mixed = [line for line in lines if line and not of_one_language(line, lang)]
    assert not mixed, "\n".join(mixed)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_first_term_has_no_changes_to_print(listings, lang, capsys):
    print_listing(replace(listings[lang], churn=None), lang)
    assert len(capsys.readouterr().out.splitlines()) == CAPACITY


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_worth_of_a_list_is_said_with_its_own_figures(listings, lang):
    targets = listings[lang].targets
    sentence, overall = yield_sentence(targets, lang), targets.overall
    assert of_one_language(sentence, lang)
    assert "  " not in sentence and "nan" not in sentence
    numbers = re.findall(r"\d[\d,.]*", sentence)
    for figure in (overall["listed"], overall["students"]):
        assert f"{figure:,}" in numbers
    for figure in (overall["expected"], overall["low"], overall["high"], overall["missed"]):
        assert f"{figure:.0f}" in numbers
    assert f"{overall['one_more']:.1f}" in sentence


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_nothing_is_said_of_one_more_worker_where_all_are_listed(lang):
    everybody = support_list(junior(), trained().bundle, capacity=10_000, lang=lang).targets
    sentence = yield_sentence(everybody, lang)
    assert "nan" not in sentence
    assert ("worker" if lang == "en" else "帮扶人员") not in sentence


def test_a_list_is_written_with_its_changes_and_its_draw(listings, tmp_path):
    listing = listings["zh"]
    path = tmp_path / "new" / "list.csv"
    written = write_listing(listing, path)
    assert [one.name for one in written] == ["list.csv", "list.changes.csv", "list.draw.json"]
    assert sorted(path.parent.iterdir()) == sorted(written), "a temporary file is left"
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    frame = listing.targets.frame
    assert [row["student_id"] for row in rows] == frame["student_id"].tolist()
    assert set(rows[0]) == set(frame.columns)
    np.testing.assert_allclose([float(row["risk"]) for row in rows], frame["risk"], rtol=1e-12)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "a spreadsheet would not show the Chinese text"
    assert any(CHINESE.search(row["reason_1"]) for row in rows)
    changes = pd.read_csv(written[1], dtype={"student_id": str})
    assert changes["student_id"].tolist() == listing.churn.frame["student_id"].tolist()
    assert set(changes["change"]) <= {"new", "gone"}
    assert json.loads(written[2].read_text("utf-8")) == json.loads(to_json(listing.targets.to_lottery_record()))
    assert {"method", "seed", "place", "students"} == set(json.loads(written[2].read_text("utf-8")))


def test_in_the_first_term_no_changes_are_written(listings, tmp_path):
    written = write_listing(replace(listings["en"], churn=None), tmp_path / "list.csv")
    assert [one.name for one in written] == ["list.csv", "list.draw.json"]


@pytest.mark.parametrize("name", ["list.xlsx", "list", "list.json"])
def test_another_form_of_list_is_refused_before_anything_is_written(listings, tmp_path, name):
    with pytest.raises(SettingsError, match=r"\.csv"):
        write_listing(listings["en"], tmp_path / "folder" / name)
    assert not list(tmp_path.iterdir())


def test_the_draw_is_kept_whatever_it_decided(tmp_path):
    """Everybody has the same risk: the draw decides, and the file says who drew what."""
    listing = support_list(junior(), trained().bundle, capacity=CAPACITY, lang="en")
    rows = pd.DataFrame({"student_id": [f"s{n}" for n in range(40)], "county_id": "990101", "risk": 0.1})
    tied = replace(listing, targets=target_list(rows, capacity=10, seed=5), churn=None)
    (draw,) = (path for path in write_listing(tied, tmp_path / "list.csv") if path.suffix == ".json")
    kept = json.loads(Path(draw).read_text("utf-8"))
    assert kept["seed"] == 5 and len(kept["students"]) == 40
    listed = {student["student_id"] for student in kept["students"] if student["listed"]}
    lowest = sorted(kept["students"], key=lambda student: student["draw"])[:10]
    assert listed == {student["student_id"] for student in lowest} == set(tied.targets.frame["student_id"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_is_strict(value):
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": value})
    assert to_json({"名": "王", "when": pd.Timestamp("2020-01-01")}).startswith('{\n  "名": "王"')
