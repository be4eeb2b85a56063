"""The command line from outside: what goes in, what is printed, written and returned."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from dropout_risk.bundle import load_bundle
from dropout_risk.cli import app, main


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    def call(*words: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["dropout-risk", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small county on disk, and a bundle trained on it beside it."""
    from dropout_risk.synthetic import make_county
    from dropout_risk.tables import write_tables

    folder = tmp_path_factory.mktemp("county")
    write_tables(make_county(700, terms=4, seed=3), folder / "data")
    return folder


@pytest.fixture(scope="module")
def bundle(county: Path) -> Path:
    from dropout_risk.bundle import save_bundle
    from dropout_risk.pipeline import load_county, train

    return save_bundle(train(load_county(county / "data")).bundle, county / "bundle")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    n = 1200
    frame = pd.DataFrame(
        {
            "absent": rng.poisson(2, n),
            "km": rng.gamma(2, 2, n).round(1),
            "work": rng.choice(["none", "farm", "shop"], n),
            "village": rng.integers(0, 40, n),
            "fold": rng.integers(0, 40, n) % 4,
            "year": rng.integers(2001, 2006, n),
        }
    )
    frame["fold"] = frame["village"] % 4
    frame["part"] = np.where(frame["village"] < 30, "train", "test")
    frame["rule"] = (frame["absent"] > 3).astype(int)
    frame["y"] = (rng.random(n) < 1 / (1 + np.exp(3.5 - 0.8 * frame["absent"]))).astype(int)
    path = tmp_path / "own.csv"
    frame.to_csv(path, index=False)
    return path


def test_every_verb_has_help() -> None:
    verbs = {command.callback.__name__: command.callback.__doc__ for command in app.registered_commands}
    assert set(verbs) == {"demo", "synth", "validate", "train", "evaluate", "score", "targets", "promote", "serve"}
    assert all(verbs.values())


def test_synth_is_the_same_twice(run: Callable[..., Run], tmp_path: Path) -> None:
    for name in "ab":
        assert run("synth", tmp_path / name, "--students", 200, "--terms", 2).code == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "attendance.parquet" in files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.slow
def test_synth_rebuilds_the_county_of_the_repository(run: Callable[..., Run], tmp_path: Path) -> None:
    kept = Path(__file__).parent.parent / "data" / "synthetic"
    assert run("synth", tmp_path / "again").code == 0
    files = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert files == sorted(path.name for path in kept.iterdir() if path.name != "README.md")
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (kept / name).read_bytes(), name
    assert sum(path.stat().st_size for path in kept.iterdir()) < 5e6


def test_validate_good_and_bad(run: Callable[..., Run], county: Path, tmp_path: Path) -> None:
    assert run("validate", county / "data").code == 0
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in (county / "data").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    lines = (broken / "enrolments.csv").read_text("utf-8-sig").splitlines()
    header = lines[0].split(",")
    row = lines[4].split(",")
    row[header.index("grade")] = "23"
    lines[4] = ",".join(row)
    (broken / "enrolments.csv").write_text("\n".join(lines), "utf-8")
    found = run("validate", broken)
    assert found.code == 2
    assert "enrolments.csv, row 5, column grade" in found.out and "23" in found.out
    as_json = run("validate", broken, "--json")
    assert json.loads(as_json.out)["problems"][0]["row"] == 5


def test_train_writes_a_bundle_and_says_how_good_it_is(run: Callable[..., Run], county: Path, tmp_path: Path) -> None:
    done = run("train", county / "data", "--out", tmp_path / "b", "--no-track", "--json")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert {"auc", "average_precision", "ece", "log_loss", "recall_at_10"} <= set(figures["metrics"])
    assert set(figures["metrics"]["auc"]) == {"value", "low", "high"}
    assert {"absence_rule", "school_mean", "logistic_regression"} <= set(figures["peers"])
    assert figures["validation"].startswith("out of time")
    assert load_bundle(tmp_path / "b").kind == "county"


def test_score_counts_every_row(run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path) -> None:
    done = run("score", county / "data", "--model", bundle, "--out", tmp_path / "s.csv", "--as-of", "2020-01-17")
    assert done.code == 0, done.err
    scores, refused = pd.read_csv(tmp_path / "s.csv"), pd.read_csv(tmp_path / "s.refused.csv")
    enrolments = pd.read_csv(county / "data" / "enrolments.csv")
    assert len(scores) + len(refused) == (enrolments["term"] == "2019-2020-1").sum()
    assert f"{len(scores) + len(refused):,} rows in = {len(scores):,} scored + {len(refused):,} refused." in done.err
    assert scores["risk"].between(0, 1).all() and scores["risk"].is_monotonic_decreasing
    assert not list(tmp_path.glob(".*")), "a temporary file is left"


def test_score_refuses_a_broken_row_and_scores_the_rest(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in (county / "data").iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    enrolments = pd.read_csv(data / "enrolments.csv", dtype=str)
    newest = enrolments.index[enrolments["term"] == "2020-2021-2"]
    enrolments.loc[newest[0], "grade"] = "eleven"
    enrolments.to_csv(data / "enrolments.csv", index=False)
    whole = json.loads(run("score", county / "data", "--model", bundle, "--json").out)
    part = json.loads(run("score", data, "--model", bundle, "--json").out)
    assert part["rows_in"] == whole["rows_in"] == part["scored"] + part["refused_count"]
    (bad,) = [row for row in part["refused"] if row["column"] == "grade"]
    assert bad["row"] == newest[0] + 2 and bad["value"] == "eleven" and bad["file"] == "enrolments.csv"


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_scores_in_other_forms(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"scores.{ending}"
    assert run("score", county / "data", "--model", bundle, "--out", path, "--lang", "zh").code == 0
    if ending == "json":
        assert json.loads(path.read_text("utf-8"))["students"][0]["reasons"][0]["label"]
    else:
        assert pd.read_parquet(path)["risk"].between(0, 1).all()


def test_a_school_on_its_own_gets_the_countys_numbers(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path
) -> None:
    enrolments = pd.read_csv(county / "data" / "enrolments.csv", dtype=str)
    newest = enrolments[enrolments["term"] == "2020-2021-2"]
    school = newest["school_id"].value_counts().index[0]
    students = set(newest.loc[newest["school_id"] == school, "student_id"])
    roster = tmp_path / "roster"
    roster.mkdir()
    for path in (county / "data").iterdir():
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            frame[frame["student_id"].isin(students)].to_parquet(roster / path.name)
            continue
        text = pd.read_csv(path, dtype=str)
        if "student_id" in text and path.name != "schools.csv":
            text = text[text["student_id"].isin(students)]
        text.to_csv(roster / path.name, index=False)
    whole = json.loads(run("score", county / "data", "--model", bundle, "--json").out)
    alone = json.loads(run("score", roster, "--model", bundle, "--roster", "--json").out)
    drop = {"rank"}
    expected = {row["student_id"]: {k: v for k, v in row.items() if k not in drop} for row in whole["students"]}
    for row in alone["students"]:
        assert {k: v for k, v in row.items() if k not in drop} == expected[row["student_id"]]
    assert alone["scored"] > 10


def test_targets_keeps_to_the_capacity(run: Callable[..., Run], county: Path, bundle: Path) -> None:
    done = run("targets", county / "data", "--model", bundle, "--workers", 3, "--per-worker", 4, "--json")
    assert done.code == 0, done.err
    listed = json.loads(done.out)
    assert len(listed["students"]) == 12 == listed["places"][0]["listed"]
    per_school = run("targets", county / "data", "--model", bundle, "--capacity", 2, "--per", "school", "--json")
    assert all(place["listed"] <= 2 for place in json.loads(per_school.out)["places"])
    assert "12 of" in run("targets", county / "data", "--model", bundle, "--capacity", 12).err


@pytest.mark.parametrize("how", [("--fold", "fold"), ("--split", "part"), ("--time", "year"), ()])
def test_train_on_a_flat_table(run: Callable[..., Run], flat: Path, how: tuple[str, ...]) -> None:
    roles = {"fold", "part", "year"} - set(how)
    done = run(
        "train", "--table", flat, "--label", "y", "--group", "village", "--baseline", "rule",
        "--drop", ",".join(sorted(roles)), "--no-track", "--json", *how,
    )  # fmt: skip
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert figures["metrics"]["auc"]["value"] > 0.75
    for peer in ("baseline", "logistic_regression", "hist_gradient_boosting", "lightgbm_defaults"):
        assert set(figures["peers"][peer]["auc"]) == {"value", "low", "high"}


def test_evaluate_keeps_nothing(run: Callable[..., Run], county: Path, flat: Path) -> None:
    own = run("evaluate", "--table", flat, "--label", "y", "--group", "village", "--drop", "fold,part,year,rule")
    assert own.code == 0 and "the model" in own.out, own.err
    zh = run("evaluate", county / "data", "--lang", "zh")
    assert zh.code == 0 and "在同样的名额下" in zh.out, zh.err
    as_json = json.loads(run("evaluate", county / "data", "--json").out)
    assert as_json["metrics"]["auc"]["value"] > 0.5


def test_flat_bundle_scores_a_flat_table(run: Callable[..., Run], flat: Path, tmp_path: Path) -> None:
    words = ["--table", flat, "--label", "y", "--drop", "fold,part,year,rule,village", "--no-track"]
    assert run("train", *words, "--out", tmp_path / "b").code == 0
    done = run("score", "--table", flat, "--model", tmp_path / "b", "--json")
    assert done.code == 0, done.err
    scored = json.loads(done.out)
    assert scored["rows_in"] == scored["scored"] == 1200
    assert "absent" in scored["students"][0]["reasons"][0]["text"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train"], "Give a folder of tables"),
        (["train", "nowhere"], "nowhere"),
        (["train", "--table", "FLAT"], "--label"),
        (["train", "--table", "FLAT", "--label", "y", "--fold", "fold", "--time", "year"], "Choose one of"),
        (["train", "--table", "FLAT", "--label", "gone", "--drop", "also_gone"], "gone"),
        (["train", "--table", "FLAT", "--label", "absent"], "neither 0 nor 1"),
        (["score", "nowhere", "--model", "no-bundle"], "no-bundle"),
        (["score", "DATA", "--model", "BUNDLE", "--as-of", "yesterday"], "is not a date"),
        (["score", "DATA", "--model", "BUNDLE", "--as-of", "1999-01-01"], "before the first term"),
        (["score", "--table", "FLAT", "--model", "BUNDLE"], "trained on a county"),
        (["score", "DATA", "--model", "BUNDLE", "--out", "scores.docx"], ".csv, .parquet or .json"),
        (["targets", "DATA", "--model", "BUNDLE"], "Give the capacity once"),
        (["targets", "DATA", "--model", "BUNDLE", "--capacity", 5, "--workers", 2], "Give the capacity once"),
        (["train", "DATA", "--preset", "mars", "--no-track"], "yunnan-2022"),
    ],
)
def test_bad_input_gets_a_sentence(
    run: Callable[..., Run],
    words: list[object],
    sentence: str,
    flat: Path,
    county: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    places = {"FLAT": flat, "DATA": county / "data", "BUNDLE": bundle}
    failed = run(*(places.get(str(word), word) for word in words))
    assert failed.code in (2, 3)
    assert sentence in failed.err
    assert "Traceback" not in failed.err and failed.out == ""
    assert sorted(tmp_path.rglob("*")) == before, "a failed call left a file"


def test_both_gone_columns_are_named_at_once(run: Callable[..., Run], flat: Path) -> None:
    failed = run("train", "--table", flat, "--label", "gone", "--drop", "also_gone")
    assert "'gone'" in failed.err and "'also_gone'" in failed.err


@pytest.mark.slow
def test_train_track_promote_score(county: Path, tmp_path: Path) -> None:
    def shell(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dropout_risk.cli", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    store = f"sqlite:///{tmp_path / 'runs.db'}"
    trained = shell("train", county / "data", "--tracking-uri", store)
    assert trained.returncode == 0, trained.stderr
    assert "alias challenger" in trained.stderr
    promoted = shell("promote", "--tracking-uri", store)
    assert promoted.stdout == "Version 1 of dropout-risk is the champion now.\n"
    model = ["--model", "models:/dropout-risk@champion", "--tracking-uri", store]
    done = shell("score", county / "data", *model, "--json")
    assert json.loads(done.stdout)["scored"] > 100
    own = tmp_path / "own.csv"
    frame = pd.DataFrame({"absent": np.arange(300) % 7, "y": (np.arange(300) % 7 > 4).astype(int)})
    frame.to_csv(own, index=False)
    flat = shell("train", "--table", own, "--label", "y", "--tracking-uri", store)
    assert "version 1 of dropout-risk-flat, alias challenger" in flat.stderr, flat.stderr
    again = shell("promote", "--tracking-uri", store)
    assert again.returncode == 3 and "Traceback" not in again.stderr


@pytest.mark.slow
def test_demo(run: Callable[..., Run], county: Path, tmp_path: Path) -> None:
    done = run("demo", "--data", county / "data", "--out", tmp_path / "out", "--capacity", 5)
    assert done.code == 0, done.err
    assert "At the same capacity" in done.out and "   1. S" in done.out and "5 of" in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "bundle", "scores.csv", "scores.refused.csv", "targets.csv",
    }  # fmt: skip
    again = run("demo", "--data", county / "data", "--out", tmp_path / "out", "--capacity", 5)
    assert again.out == done.out


def test_the_demo_bundle_of_the_repository_scores(run: Callable[..., Run], county: Path) -> None:
    demo_bundle = Path(__file__).parent.parent / "models" / "demo"
    done = run("score", county / "data", "--model", demo_bundle, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scored"] > 100
