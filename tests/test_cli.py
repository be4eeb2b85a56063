"""The command line from outside: what goes in, what is printed, written and returned."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Run, run_command
from trained_county import junior, trained

from dropout_risk import __version__
from dropout_risk.bundle import load_bundle, save_bundle
from dropout_risk.cli import app
from dropout_risk.registry import load_model, log_model
from dropout_risk.tables import write_tables

CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")


@pytest.fixture
def run() -> Callable[..., Run]:
    return run_command


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small county on disk, and a bundle trained on it beside it."""
    folder = tmp_path_factory.mktemp("county")
    write_tables(junior().as_read, folder / "data")
    return folder


@pytest.fixture(scope="module")
def bundle(county: Path) -> Path:
    return save_bundle(trained().bundle, county / "bundle")


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


def test_the_version_is_that_of_the_package() -> None:
    assert run_command("--version").out == f"{__version__}\n"


def test_every_verb_has_help() -> None:
    verbs = {command.callback.__name__: command.callback.__doc__ for command in app.registered_commands}
    assert set(verbs) == {
        "demo",
        "synth",
        "validate",
        "train",
        "evaluate",
        "features",
        "score",
        "targets",
        "promote",
        "serve",
        "backup",
    }
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


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def training(county: Path) -> Run:
    """One quick training from the command line, with its report and its run, kept in the folder of the county."""
    words = ["train", county / "data", "--quick", *runs_of(county), "--json"]
    words += ["--out", county / "own", "--report", county / "report", "--created", "2026-11-22"]
    return shell(*words, cwd=county)


def runs_of(folder: Path) -> list[str]:
    return ["--tracking-uri", f"sqlite:///{folder / 'runs.db'}"]


def shell(*words: object, cwd: Path) -> Run:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "dropout_risk.cli", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False)
    return Run(done.returncode, done.stdout, done.stderr)


def strict(text: str) -> dict:
    """Read JSON as a strict reader does: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.slow
def test_train_writes_a_bundle_and_says_how_good_it_is(training: Run, county: Path) -> None:
    assert training.code == 0, training.err
    figures = strict(training.out)
    assert {"auc", "average_precision", "ece", "log_loss", "recall_at_10"} <= set(figures["metrics"])
    assert set(figures["metrics"]["auc"]) == {"value", "low", "high"}
    assert {"absence_rule", "school_mean", "last_grades", "random", "logistic_regression"} <= set(figures["peers"])
    assert figures["validation"]["en"].startswith("out of time")
    assert figures["model"]["created"] == "2026-11-22"
    assert figures["run"] and "version 1 of dropout-risk, alias challenger" in training.err
    bundle = load_bundle(county / "own")
    assert bundle.kind == "county" and bundle.created == "2026-11-22"
    assert bundle.metrics["evaluation"]["metrics"] == figures["metrics"]
    parts = {"held_out", "sensitive", "stability", "coverage", "missing", "drivers", "reasons", "help", "oracle"}
    assert parts | {"alarms", "notes", "data"} <= set(figures)


@pytest.mark.slow
def test_train_writes_a_report_in_both_languages(training: Run, county: Path) -> None:
    files = {path.name for path in (county / "report").iterdir()}
    assert files == {"report.zh.html", "report.en.html", "report.json"}
    for name in files:
        assert f"Report written to {county / 'report' / name}." in training.err
    figures = strict((county / "report" / "report.json").read_text("utf-8"))
    recall = f"{100 * strict(training.out)['metrics']['recall_at_10']['value']:.1f}"
    for lang in ("zh", "en"):
        page = (county / "report" / f"report.{lang}.html").read_text("utf-8")
        assert recall in page and "<svg" in page
    assert "evaluation" in json.dumps(figures)


@pytest.mark.slow
def test_progress_goes_to_standard_error_alone(training: Run) -> None:
    assert "… read and check" in training.err and "… final fit" in training.err
    assert "…" not in training.out


def test_score_counts_every_row(run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path) -> None:
    done = run("score", county / "data", "--model", bundle, "--out", tmp_path / "s.csv", "--as-of", "2020-01-17")
    assert done.code == 0, done.err
    scores, refused = pd.read_csv(tmp_path / "s.csv"), pd.read_csv(tmp_path / "s.refused.csv")
    enrolments = pd.read_csv(county / "data" / "enrolments.csv")
    assert len(scores) + len(refused) == (enrolments["term"] == "2019-2020-1").sum()
    assert f"{len(scores) + len(refused):,} rows in = {len(scores):,} scored + {len(refused):,} refused." in done.err
    assert scores["risk"].between(0, 1).all() and scores["risk"].is_monotonic_decreasing
    assert not list(tmp_path.glob(".*")), "a temporary file is left"


@pytest.mark.slow
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


@pytest.mark.parametrize("engine", ["local", pytest.param("dask", marks=pytest.mark.slow)])
def test_features_are_scored_into_a_folder(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path, engine: str
) -> None:
    made = run("features", county / "data", "--out", tmp_path / "features.parquet", "--as-of", "2020-01-17")
    assert made.code == 0, made.err
    assert made.out.strip() == str(tmp_path / "features.parquet")
    words = ["score", tmp_path / "features.parquet", "--model", bundle, "--out", tmp_path / "scores"]
    words += ["--engine", engine, "--workers", 2]
    done = run(*words)
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "scores")
    scores = pd.read_parquet(tmp_path / "scores" / "scores")
    assert f"{len(scores):,} rows in = {len(scores):,} scored + 0 refused." in done.err
    assert "write: " in done.err
    one = json.loads(run("score", county / "data", "--model", bundle, "--as-of", "2020-01-17", "--json").out)
    risk = scores.set_index("student_id")["risk"]
    assert all(risk[student["student_id"]] == pytest.approx(student["risk"]) for student in one["students"])
    assert json.loads(run(*words, "--json").out)["scored"] == len(scores)  # all is done already
    assert run(*words, "--reasons", 2).code == 2


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_targets_keeps_to_the_capacity(run: Callable[..., Run], county: Path, bundle: Path) -> None:
    done = run("targets", county / "data", "--model", bundle, "--workers", 3, "--per-worker", 4, "--json")
    assert done.code == 0, done.err
    listed = strict(done.out)
    assert len(listed["students"]) == 12 == listed["places"][0]["listed"]
    assert {rule["name"] for rule in listed["rules"]} >= {"absence_rule", "school_mean", "poverty_list", "last_grades"}
    assert listed["basis"] == "backtest"
    per_school = run("targets", county / "data", "--model", bundle, "--capacity", 2, "--per", "school", "--json")
    assert all(place["listed"] <= 2 for place in json.loads(per_school.out)["places"])
    assert "12 of" in run("targets", county / "data", "--model", bundle, "--capacity", 12).err


@pytest.mark.slow
def test_targets_per_township_with_a_floor(run: Callable[..., Run], county: Path, bundle: Path) -> None:
    """Every township has its capacity, every school its floor."""
    words = ["targets", county / "data", "--model", bundle, "--per", "township", "--json"]
    schools = pd.read_csv(county / "data" / "schools.csv", dtype=str)
    per_township = schools.groupby("township_id").size()
    found = strict(run(*words, "--capacity", 2 * per_township.max(), "--floor", 2).out)
    assert {place["place"] for place in found["places"]} <= set(per_township.index)
    assert all(place["listed"] == 2 * per_township.max() for place in found["places"])
    listed = pd.DataFrame(found["students"])
    assert (listed.groupby("school_id").size() >= 2).all()
    everybody = strict(run(*words, "--capacity", 10_000).out)["students"]
    assert set(listed["school_id"]) == {student["school_id"] for student in everybody}
    refused = run(*words, "--capacity", 1, "--floor", 2)
    assert refused.code == 2 and "A floor of 2 per school does not fit" in refused.err


@pytest.mark.slow
def test_targets_writes_the_list_the_changes_and_the_draw(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path
) -> None:
    words = ["targets", county / "data", "--model", bundle, "--capacity", 9, "--seed", 4]
    done = run(*words, "--out", tmp_path / "list.csv")
    assert done.code == 0, done.err
    names = ["list.csv", "list.changes.csv", "list.draw.json"]
    assert done.out.splitlines() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    as_json = strict(run(*words, "--json").out)
    written = pd.read_csv(tmp_path / "list.csv", dtype={"student_id": str})
    assert written["student_id"].tolist() == [student["student_id"] for student in as_json["students"]]
    assert strict((tmp_path / "list.draw.json").read_text("utf-8")) == as_json["lottery"]
    assert as_json["lottery"]["seed"] == 4
    changes = pd.read_csv(tmp_path / "list.changes.csv", dtype={"student_id": str})
    assert changes["student_id"].tolist() == [student["student_id"] for student in as_json["churn"]["students"]]
    for name in names:
        (tmp_path / name).unlink()
    refused = run(*words, "--out", tmp_path / "list.xlsx")
    assert refused.code == 2 and ".csv" in refused.err and not list(tmp_path.iterdir())


@pytest.fixture
def capacities(county: Path, tmp_path: Path) -> Callable[[dict], Path]:
    """Write a file of capacities: columns as given, `place` being the schools with students unless given."""
    enrolments = pd.read_csv(county / "data" / "enrolments.csv", dtype=str)
    schools = sorted(enrolments.loc[enrolments["term"] == "2020-2021-2", "school_id"].unique())

    def write(columns: dict) -> Path:
        path = tmp_path / "capacities.csv"
        pd.DataFrame({"place": schools, **columns}).to_csv(path, index=False)
        return path

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "per_worker"), [("students", 1), ("workers", 3)])
def test_a_file_gives_each_place_its_capacity(
    run: Callable[..., Run], county: Path, bundle: Path, capacities: Callable[[dict], Path], kind: str, per_worker: int
) -> None:
    path = capacities({kind: [1, 2, 3, 1, 2]})
    words = ["targets", county / "data", "--model", bundle, "--per", "school", "--capacities", path, "--json"]
    done = run(*words, *(["--per-worker", per_worker] if kind == "workers" else []))
    assert done.code == 0, done.err
    assert [place["listed"] for place in strict(done.out)["places"]] == [per_worker * n for n in (1, 2, 3, 1, 2)]


@pytest.mark.slow
def test_every_fault_of_a_capacities_file_is_named(
    run: Callable[..., Run], county: Path, bundle: Path, capacities: Callable[[dict], Path]
) -> None:
    words = ["targets", county / "data", "--model", bundle, "--per", "school", "--capacities"]
    failed = run(*words, capacities({"workers": ["2", "two", "-1", "1.5", ""]}))
    assert failed.code == 2
    for row, value in ((3, "two"), (4, "-1"), (5, "1.5")):
        assert f"row {row} holds" in failed.err and value in failed.err
    assert "row 6" in failed.err and "row 2 " not in failed.err
    twice = run(*words, capacities({"place": ["a", "b", "a", "b", "c"], "students": 1}))
    assert "row 4 repeats a" in twice.err and "row 5 repeats b" in twice.err
    for columns in ({"workers": 1, "students": 2}, {"helpers": 3}):
        failed = run(*words, capacities(columns))
        assert failed.code == 2 and "one of workers and students" in failed.err
    none = run(*words, capacities({"students": [0, 1, 1, 0, 1]}))
    assert none.code == 2 and none.err.count(" is 0") == 2
    some = capacities({"students": 1})
    some.write_text("\n".join(some.read_text("utf-8").splitlines()[:3]) + "\n", "utf-8")
    missing = run(*words, some)
    assert missing.code == 2 and missing.err.count("has no capacity") == 3
    assert run(*words, "nowhere.csv").code == 2


@pytest.mark.slow
def test_a_place_code_keeps_its_leading_zero(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in (county / "data").iterdir():
        if path.name == "schools.csv":
            schools = pd.read_csv(path, dtype=str)
            schools.assign(county_id="051001").to_csv(data / path.name, index=False)
        else:
            (data / path.name).write_bytes(path.read_bytes())
    own = tmp_path / "capacities.csv"
    own.write_text("place,students\n051001,7\n", "utf-8")
    done = run("targets", data, "--model", bundle, "--capacities", own, "--json")
    assert done.code == 0, done.err
    assert len(strict(done.out)["students"]) == 7


VERBS = {
    "score": ["score", "DATA", "--model", "BUNDLE"],
    "targets": ["targets", "DATA", "--model", "BUNDLE", "--capacity", 8],
    "targets of the first term": ["targets", "DATA", "--model", "BUNDLE", "--capacity", 8, "--as-of", "2020-01-17"],
    "evaluate": ["evaluate", "--table", "FLAT", "--label", "y", "--group", "village", "--drop", "fold,part,year"],
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_answer_is_in_one_language(
    run: Callable[..., Run], county: Path, bundle: Path, flat: Path, verb: str, lang: str
) -> None:
    places = {"DATA": county / "data", "BUNDLE": bundle, "FLAT": flat}
    done = run(*(places.get(str(word), word) for word in VERBS[verb]), "--lang", lang)
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if line.strip()]
    assert len(lines) > 5
    wrong = CHINESE if lang == "en" else ENGLISH
    mixed = [line for line in lines if wrong.search(line)]
    assert not mixed, "\n".join(mixed)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_json_of_every_verb_is_strict(
    run: Callable[..., Run], county: Path, bundle: Path, flat: Path, verb: str
) -> None:
    places = {"DATA": county / "data", "BUNDLE": bundle, "FLAT": flat}
    done = run(*(places.get(str(word), word) for word in VERBS[verb]), "--json")
    assert done.code == 0, done.err
    assert strict(done.out)


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--fold", "fold"), ("--split", "part"), ("--time", "year"), ()])
def test_train_on_a_flat_table(run: Callable[..., Run], flat: Path, how: tuple[str, ...]) -> None:
    roles = {"fold", "part", "year"} - set(how)
    done = run(
        "train", "--table", flat, "--label", "y", "--group", "village", "--baseline", "rule",
        "--drop", ",".join(sorted(roles)), "--no-track", "--json", *how,
    )  # fmt: skip
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert figures["metrics"]["auc"]["value"] > 0.75 and figures["run"] is None
    for peer in ("baseline", "logistic_regression", "hist_gradient_boosting", "lightgbm_defaults"):
        assert set(figures["peers"][peer]["auc"]) == {"value", "low", "high"}


@pytest.mark.slow
def test_evaluate_keeps_nothing_but_the_report(
    run: Callable[..., Run], flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    words = ["evaluate", "--table", flat, "--label", "y", "--group", "village", "--drop", "fold,part,year,rule"]
    own = run(*words, "--report", tmp_path / "report")
    assert own.code == 0 and "the model" in own.out.lower(), own.err
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.zh.html",
        "report.en.html",
        "report.json",
    }
    assert not list(Path.cwd().iterdir()), "evaluate keeps no model and logs nothing"


@pytest.mark.slow
def test_evaluate_a_county(run: Callable[..., Run], county: Path, tmp_path: Path) -> None:
    zh = run("evaluate", county / "data", "--lang", "zh", "--quick", "--report", tmp_path)
    assert zh.code == 0 and zh.out.startswith("名额为 10 % 时，模型"), zh.err
    assert not [line for line in zh.out.splitlines() if ENGLISH.search(line)]
    assert (tmp_path / "report.zh.html").stat().st_size > 10_000
    as_json = strict(run("evaluate", county / "data", "--quick", "--json").out)
    assert as_json["metrics"]["auc"]["value"] > 0.5


@pytest.mark.slow
def test_a_model_from_elsewhere_is_set_to_a_county(
    run: Callable[..., Run], county: Path, bundle: Path, tmp_path: Path
) -> None:
    words = ["train", county / "data", "--from", bundle, "--no-track"]
    done = run(*words, "--out", tmp_path / "b", "--created", "2026-11-22")
    assert done.code == 0, done.err
    assert done.out.startswith("This model learned elsewhere") and "95 % interval" in done.out
    own = load_bundle(tmp_path / "b")
    assert own.kind == "county" and own.created == "2026-11-22"
    assert run(*words, "--lang", "zh").out.startswith("本模型由其他地区的数据训练")
    scored = run("score", county / "data", "--model", tmp_path / "b", "--json")
    assert strict(scored.out)["scored"] > 100
    listed = run("targets", county / "data", "--model", tmp_path / "b", "--capacity", 5, "--json")
    assert strict(listed.out)["basis"] == "risks alone"


@pytest.mark.slow
def test_a_model_from_elsewhere_answers_in_json_too(run: Callable[..., Run], county: Path, bundle: Path) -> None:
    done = run("train", county / "data", "--from", bundle, "--no-track", "--json")
    assert done.code == 0, done.err
    assert {"rows", "events", "expected", "slope", "shift", "cases_low", "cases_high"} <= set(strict(done.out))


@pytest.mark.slow
def test_flat_bundle_scores_a_flat_table(run: Callable[..., Run], flat: Path, tmp_path: Path) -> None:
    words = ["--table", flat, "--label", "y", "--drop", "fold,part,year,rule,village", "--no-track"]
    assert run("train", *words, "--out", tmp_path / "b").code == 0
    done = run("score", "--table", flat, "--model", tmp_path / "b", "--json")
    assert done.code == 0, done.err
    scored = json.loads(done.out)
    assert scored["rows_in"] == scored["scored"] == 1200
    assert "absent" in scored["students"][0]["reasons"][0]["text"]


@pytest.mark.slow
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
        (["train", "DATA", "--treatment", "ignore", "--no-track"], "no treatment 'ignore'"),
        (["train", "DATA", "--deployed-on", "2020-09-01", "--no-track"], "table interventions has no support"),
        (["train", "DATA", "--from", "nowhere", "--no-track"], "nowhere"),
        (["train", "--table", "FLAT", "--label", "y", "--from", "BUNDLE"], "--from keeps a trained model"),
        (["train", "DATA", "--table", "FLAT"], "not both"),
        (["targets", "DATA", "--model", "BUNDLE", "--capacity", 5, "--as-of", "2001-01-01"], "before the first term"),
        (["targets", "--model", "BUNDLE", "--capacity", 5], "Give a folder of tables"),
        (["promote", "--override"], "--override --why TEXT"),
        (["promote", "--override", "--why", "  "], "--override --why TEXT"),
        (["promote", "--why", "because"], "--override --why TEXT"),
        (["promote", "--gate", "no-gate.toml"], "no-gate.toml"),
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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model registry that holds one challenger, the small county's model."""
    folder = tmp_path_factory.mktemp("registry")
    log_model(trained().bundle, tracking_uri=f"sqlite:///{folder / 'runs.db'}")
    yield folder
    assert not list(folder.glob("mlruns")), "MLflow wrote outside its store"


@pytest.fixture
def registry_run(run: Callable[..., Run], store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run a verb in the folder of the model registry, on it."""
    monkeypatch.chdir(store)
    return lambda *words: run(*words, *runs_of(store))


@pytest.mark.slow
def test_the_gate_stops_a_model_of_a_small_county(registry_run: Callable[..., Run]) -> None:
    """58 students left there: too few to say that the model beats any rule. Exit code 5, and nothing is moved."""
    refused = registry_run("promote")
    assert refused.code == 5, refused.err
    assert refused.out == "" and "Traceback" not in refused.err
    failed = [line for line in refused.err.splitlines() if "FAILED" in line]
    assert failed and all(re.search(r"\d|not", line) for line in failed), "a condition without its figure"
    missing = registry_run("score", "nowhere", "--model", "models:/dropout-risk@champion")
    assert missing.code == 3, "the refused model became the champion"


@pytest.mark.slow
def test_an_override_needs_a_reason_and_keeps_it(registry_run: Callable[..., Run], store: Path, county: Path) -> None:
    assert registry_run("promote", "--override").code == 2
    why = "试点县，人工复核名单"
    done = registry_run("promote", "--override", "--why", why, "--json")
    assert done.code == 0, done.err
    promoted = strict(done.out)
    assert promoted["version"] == "1" and promoted["overridden"]
    model = "models:/dropout-risk@champion"
    scored = registry_run("score", county / "data", "--model", model, "--json")
    assert strict(scored.out)["scored"] > 100
    champion = load_model(model, tracking_uri=f"sqlite:///{store / 'runs.db'}")
    assert champion.release["override_why"] == why
    assert why in champion.card()


@pytest.mark.slow
def test_gate_settings_that_a_small_county_meets(registry_run: Callable[..., Run], tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[gate]\nmin_eventz = 3\nmin_coverage = 7\n", "utf-8")
    wrong = registry_run("promote", "--version", 1, "--gate", gate)
    assert wrong.code == 2 and "min_eventz" in wrong.err and "min_coverage" in wrong.err


@pytest.mark.slow
def test_train_track_promote_score(training: Run, run: Callable[..., Run], county: Path, tmp_path: Path) -> None:
    """Three processes hand the model on through the registry; what else it holds does not get in the way."""
    assert training.code == 0, training.err
    uri = runs_of(county)
    promoted = shell("promote", *uri, "--override", "--why", "a test", cwd=tmp_path)
    assert promoted.out.splitlines()[-1] == "Version 1 of dropout-risk is the champion now."
    done = shell("score", county / "data", "--model", "models:/dropout-risk@champion", *uri, "--json", cwd=tmp_path)
    assert json.loads(done.out)["scored"] > 100
    own = tmp_path / "own.csv"
    frame = pd.DataFrame({"absent": np.arange(300) % 7, "y": (np.arange(300) % 7 > 4).astype(int)})
    frame.to_csv(own, index=False)
    flat = run("train", "--table", own, "--label", "y", *uri)
    assert "version 1 of dropout-risk-flat, alias challenger" in flat.err, flat.err
    again = run("promote", *uri)
    assert again.code == 3 and "Traceback" not in again.err


@pytest.mark.slow
def test_demo(run: Callable[..., Run], county: Path, tmp_path: Path) -> None:
    done = run("demo", "--data", county / "data", "--out", tmp_path / "out", "--capacity", 5)
    assert done.code == 0, done.err
    assert "At the same capacity" in done.out and "   1. S" in done.out and "5 of" in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "bundle", "scores.csv", "scores.refused.csv", "targets.csv", "targets.changes.csv", "targets.draw.json",
        "report.zh.html", "report.en.html", "report.json",
    }  # fmt: skip
    again = run("demo", "--data", county / "data", "--out", tmp_path / "out", "--capacity", 5)
    assert again.out == done.out


@pytest.mark.slow
def test_the_demo_bundle_of_the_repository_scores(run: Callable[..., Run], county: Path) -> None:
    demo_bundle = Path(__file__).parent.parent / "models" / "demo"
    done = run("score", county / "data", "--model", demo_bundle, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scored"] > 100
