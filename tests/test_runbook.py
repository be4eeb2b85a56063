"""Whoever follows the runbook gets what it promises; the files beside the service fit the service."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from running_service import DEMO, SOURCES, free_port
from stores import new_store

from dropout_risk.access import Principal
from dropout_risk.bundle import load_bundle
from dropout_risk.cli import app
from dropout_risk.client import columns_of
from dropout_risk.errors import SettingsError
from dropout_risk.registry import log_model, promote
from dropout_risk.service.metrics import Metrics
from dropout_risk.service.settings import Settings, load_settings
from dropout_risk.store import keys, runs
from dropout_risk.store.audit import Access
from dropout_risk.store.database import Database
from dropout_risk.store.migrations import prepare
from dropout_risk.synthetic import make_county

ROOT = Path(__file__).parents[1]
RUNBOOK = (ROOT / "docs/how-to/runbook.md").read_text("utf-8")
SERVE = ROOT / "serve"
NAMES = {setting.name for setting in fields(Settings)}


def blocks(kind: str, page: str = RUNBOOK) -> str:
    """Return the commands of a page's blocks of one kind, as one script."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", page, flags=re.M | re.S)
    return "set -euxo pipefail\n" + "\n".join(found)


def follow(script: str, folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a script as a person would type it, with the commands of this installation."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, words in {"python": "", "dropout-risk": " -m dropout_risk.cli"}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n', "utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PYTHONPATH": SOURCES,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
        **environ,
    }
    end = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    return subprocess.run(
        ["bash", "-c", end + script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine on which a service is to run: two versions of a model in MLflow, settings, a roster."""
    folder = tmp_path_factory.mktemp("machine")
    uri, bundle = f"sqlite:///{folder}/mlflow.db", load_bundle(DEMO)
    for version in (bundle, replace(bundle, created="2026-11-23")):
        log_model(version, tracking_uri=uri)
        promote(tracking_uri=uri, override_why="a test")
    told = 'model = "models:/dropout-risk@champion"\nstore = "sqlite:///dropout-risk.db"\npoll_seconds = 1\n'
    (folder / "settings.toml").write_text(told, "utf-8")
    tables = make_county(60, terms=2, seed=1)
    roster = {"tables": {name: columns_of(frame) for name, frame in tables.items() if len(frame)}}
    (folder / "roster.json").write_text(json.dumps(roster), "utf-8")
    (folder / "roster").mkdir()
    for name, frame in tables.items():
        frame.to_csv(folder / f"roster/{name}.csv", index=False, date_format="%Y-%m-%d")
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Operation with range is deprecated:DeprecationWarning")
def test_who_follows_the_runbook_gets_what_it_promises(machine: Path) -> None:
    for program in ("curl", "tar", "sha256sum", "bash"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    # One process starts sooner than two; what several do is tested with the operation of the service.
    script = blocks("sh").replace("8000", str(free_port())).replace("--workers 2", "--workers 1")
    assert script.count("dropout-risk ") > 15
    done = follow(script, machine)
    log = (machine / "service.log").read_text("utf-8")
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}\n{log[-2000:]}"
    before = (machine / "before.csv").read_bytes()
    assert before.count(b"\n") > 20 and b"P-" in before
    assert (machine / "new-machine/after.csv").read_bytes() == before
    assert '"status":"ready"' in done.stdout
    for line in log.splitlines():
        json.loads(line)


@pytest.mark.slow
def test_the_requests_of_the_readme_are_answered(machine: Path, tmp_path: Path) -> None:
    tables = make_county(60, terms=2, seed=1)
    (tmp_path / "export").mkdir()
    for name, frame in tables.items():
        frame.to_csv(tmp_path / "export" / f"{name}.csv", index=False, date_format="%Y-%m-%d")
    shutil.copy(machine / "roster.json", tmp_path)
    script = blocks("sh", (SERVE / "README.md").read_text("utf-8")).replace("8000", str(free_port()))
    done = follow(script, tmp_path, DROPOUT_RISK_MODEL=str(DEMO))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    answer, targets = (json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in ("answer", "targets"))
    assert answer["scored"] > 20 and len(targets["students"]) == 5
    assert "<html" in (tmp_path / "student.html").read_text("utf-8")
    scores = (tmp_path / "scores.csv").read_text("utf-8-sig").splitlines()
    assert len(scores) == answer["scored"] + 1
    assert (tmp_path / "scores.xlsx").read_bytes().startswith(b"PK")
    assert json.loads((tmp_path / "model.json").read_text("utf-8"))["kind"] == "county"


@pytest.mark.slow
def test_a_store_in_postgresql_is_copied_and_put_back(tmp_path: Path) -> None:
    if shutil.which("pg_dump") is None or shutil.which("pg_restore") is None:
        pytest.skip("the client programs of PostgreSQL are not installed (on Debian: postgresql-client)")
    with new_store("postgresql") as full, new_store("postgresql") as empty:
        database = Database(full)
        prepare(database)
        key = keys.create(database, "school", ["S1"])
        who = Principal(key.id, "school", ("S1",))
        for _ in range(3):
            runs.note(database, Access(who, "read_runs", who.may("read_runs")))
        pseudonym = runs.pseudonyms(database)("S1")
        script = 'dropout-risk backup "$BACKUP"\n' + blocks("sh postgresql")
        told = {
            "DROPOUT_RISK_STORE": full,
            "DROPOUT_RISK_MODEL": str(DEMO),
            "BACKUP": "backup",
            "EMPTY_STORE": empty.replace("+psycopg", ""),
        }
        done = follow(script, tmp_path, **told)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "3 lines, all as they were written" in done.stdout
        restored = Database(empty)
        assert keys.Doorkeeper(restored).admit(key.token).scope == ("S1",)
        assert runs.pseudonyms(restored)("S1") == pseudonym
        for one in (database, restored):
            one.close()


def test_the_figures_of_the_alarms_exist() -> None:
    known = {line.split()[2] for line in Metrics().text().decode().splitlines() if line.startswith("# TYPE")}
    rows = RUNBOOK.partition("## What to do on each alarm")[2].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| ")]
    named = {name for cell in cells for name in re.findall(r"`([a-z]+_[a-z_]+)(?:\{.*?\})?`", cell)}
    assert len(named) > 6
    assert {f"dropout_risk_{name}" for name in named} <= known


# Files beside the service ------------------------------------------------------------------------------


def test_every_setting_stands_in_the_example() -> None:
    text = (SERVE / "settings.example.toml").read_text("utf-8").partition("[gate]")[0]
    assert set(re.findall(r"^(?:# )?([a-z_]+) = ", text, flags=re.M)) == NAMES
    assert load_settings({"DROPOUT_RISK_SETTINGS": str(SERVE / "settings.example.toml")}) == Settings()
    uncommented = re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.M)
    last = {line.split(" = ")[0]: line for line in uncommented.splitlines() if re.match(r"[a-z_]+ = ", line)}
    assert set(last) == NAMES  # each can be taken as it is


def test_a_setting_may_come_from_a_file_for_secrets(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://risk:long-enough@db/risk\n", "utf-8")
    assert load_settings({"DROPOUT_RISK_STORE_FILE": str(file)}).store == "postgresql://risk:long-enough@db/risk"
    given = {"DROPOUT_RISK_STORE_FILE": str(file), "DROPOUT_RISK_STORE": "sqlite:///own.db"}
    assert load_settings(given).store == "sqlite:///own.db"
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({"DROPOUT_RISK_STORE_FILE": str(tmp_path / "nothing")})
    file.write_text("postgresql://risk:change-me@db/risk\n", "utf-8")
    with pytest.raises(SettingsError, match="choose your own") as refused:
        load_settings({"DROPOUT_RISK_STORE_FILE": str(file)})
    assert "change-me" not in str(refused.value)


def settings_in(names: Any) -> set[str]:
    return {
        name.removeprefix("DROPOUT_RISK_").removesuffix("_FILE").lower()
        for name in names
        if name.startswith("DROPOUT_RISK_") and name != "DROPOUT_RISK_SETTINGS"
    }


def test_the_composition_starts_with_chosen_passwords_only_and_opens_no_door_to_the_outside() -> None:
    made = yaml.safe_load((SERVE / "compose.yaml").read_text("utf-8"))
    services = made["services"]
    assert set(services) == {"service", "store", "mlflow"}
    service = services["service"]
    assert settings_in(service["environment"]) <= NAMES
    for name, one in services.items():
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name
        assert "no-new-privileges:true" in one["security_opt"]
        assert not any("PASSWORD" in key and not key.endswith("_FILE") for key in one.get("environment", {})), name
        used = {volume.split(":")[0] for volume in one.get("volumes", [])}
        assert used <= set(made["volumes"]), name
        assert set(one.get("secrets", [])) <= set(made["secrets"]), name
    assert all(not (SERVE / secret["file"]).exists() for secret in made["secrets"].values()), "no secret is shipped"
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8")
    assert (SERVE / service["build"]["context"] / service["build"]["dockerfile"]).samefile(SERVE / "Dockerfile")


def test_what_the_composition_lays_over_the_image_can_be_written_under_every_engine() -> None:
    image = (SERVE / "Dockerfile").read_text("utf-8")
    composition = yaml.safe_load((SERVE / "compose.yaml").read_text("utf-8"))["services"]
    service = composition["service"]
    # Podman takes no owner of a folder in memory, and lays an empty /run over a container that is read only.
    laid = dict(folder.split(":") for folder in service["tmpfs"])
    assert set(laid.values()) == {"mode=1777"} and not any(folder.startswith("/run") for folder in laid)
    (figures,) = re.findall(r"PROMETHEUS_MULTIPROC_DIR=(\S+)", image)
    assert figures in laid and f"install -d -m 1777 {figures}" in image  # some engines keep the mode of the image
    kept = {volume.split(":")[1] for one in (service, composition["mlflow"]) for volume in one["volumes"]}
    (owned,) = re.findall(r"install -d -o dropout-risk -g dropout-risk -m 0700 (.+?) *\\$", image, flags=re.M)
    assert kept <= set(owned.split())


def test_the_images_can_come_from_another_registry() -> None:
    image, composition = ((SERVE / name).read_text("utf-8") for name in ("Dockerfile", "compose.yaml"))
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", image.partition("FROM")[0], flags=re.M)
    services = yaml.safe_load(composition)["services"]
    arguments = {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{base}}}", "PIP_INDEX_URL": "${PIP_INDEX_URL:-}"}
    assert services["service"]["build"]["args"] == arguments
    assert "\nARG PIP_INDEX_URL\n" in image.partition("pip install")[0]
    assert services["store"]["image"].startswith("${POSTGRES_IMAGE:-postgres:")
    assert "UTF8" in services["store"]["environment"]["POSTGRES_INITDB_ARGS"]


def test_the_unit_names_settings_and_paths_that_exist() -> None:
    lines = (SERVE / "dropout-risk.service").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[Unit]", "[Service]", "[Install]"]
    assert all(re.match(r"\[\w+\]$|#|$|[A-Z][A-Za-z]+=", line) for line in lines)
    given = [line.lstrip("#").removeprefix("Environment=").split("=")[0] for line in lines if "Environment=" in line]
    assert settings_in(given) <= NAMES and "DROPOUT_RISK_SETTINGS" in given
    made = {line.partition("=")[2] for line in lines if re.match(r"(State|Cache|Runtime)Directory=", line)}
    assert made == {"dropout-risk"}
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert_is_a_command(command.split("bin/dropout-risk ")[1].split())


def test_systemd_itself_finds_no_fault_in_the_unit_and_little_that_it_could_do() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = str(SERVE / "dropout-risk.service")
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True).stderr.splitlines()
    assert [line for line in said if "dropout-risk" in line and "is not executable" not in line] == []
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
    told = subprocess.run(words, capture_output=True, text=True)
    if "unrecognized option" in told.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert told.returncode == 0, told.stdout[-300:]


def test_the_image_is_slim_and_its_user_is_nobody_special() -> None:
    text = (SERVE / "Dockerfile").read_text("utf-8")
    assert [line.split()[1] for line in text.splitlines() if line.startswith("FROM")] == ["${PYTHON_IMAGE}"] * 2
    assert "ARG PYTHON_IMAGE=python:3.12-slim\n" in text
    last = text.rpartition("FROM ")[2]
    assert last.index("USER dropout-risk") < last.index("dropout_risk.precompile") < last.index("\nCMD")
    assert "libgomp1" in last and "HEALTHCHECK" in last
    assert settings_in(re.findall(r"DROPOUT_RISK_[A-Z_]+", text)) <= NAMES
    command = json.loads(re.findall(r"^CMD (\[.*\])$", text, flags=re.M)[-1])
    assert_is_a_command(command[1:])
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.M):
        assert all((ROOT / one).exists() for one in source.split()), source


def assert_is_a_command(words: list[str]) -> None:
    group = typer.main.get_command(app)
    verb = group.commands[words[0]]  # type: ignore[attr-defined]
    verb.make_context(words[0], words[1:])
