"""Documents cannot drift: generated pages are fresh, commands exist, examples run, links lead somewhere."""

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from dropout_risk.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [path for path in ROOT.rglob("*.md") if not {".venv", "demo-output", ".pytest_cache"} & set(path.parts)]
README = (ROOT / "README.md").read_text("utf-8")


def test_table_reference_is_fresh() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_tables.py"))["page"]()
    assert (ROOT / "docs/reference/tables.md").read_text("utf-8") == page, "run: python docs/make_tables.py"


def test_readme_shows_every_verb() -> None:
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert verbs <= set(re.findall(r"dropout-risk (\w+)", README))


def options_of_verbs() -> dict[str, set[str]]:
    """Return the options of each verb; those of a group are named by both words, as `keys create`."""
    group = typer.main.get_command(app)
    verbs = dict(group.commands)  # type: ignore[attr-defined]
    for name, verb in list(verbs.items()):
        verbs |= {f"{name} {inner}": command for inner, command in getattr(verb, "commands", {}).items()}
    return {
        name: {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, verb in verbs.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_in_documents_exist(page: Path) -> None:
    known = options_of_verbs()
    for verb, inner, rest in re.findall(r"dropout-risk (\w+)(?: (\w+))?(.*)$", page.read_text("utf-8"), flags=re.M):
        name = f"{verb} {inner}" if f"{verb} {inner}" in known else verb
        if name in known:
            options = set(re.findall(r"(?<![-\w])--[a-z-]+", rest.partition("`")[0]))
            assert options <= known[name] | {"--help"}, f"{page.name}: dropout-risk {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.slow
def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of the README, on small data in the places that they name."""
    from dropout_risk.synthetic import make_county
    from dropout_risk.tables import write_tables

    write_tables(make_county(600, terms=4, seed=5), tmp_path / "data" / "synthetic")
    shutil.copy(_own_table(tmp_path), tmp_path / "own.csv")
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.S):
        exec(compile(block, "README.md", "exec"), space)
    assert "chosen" in space and "table" in space


def _own_table(folder: Path) -> Path:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"absent": rng.poisson(2, 600), "village": rng.integers(0, 30, 600)})
    frame["rule"] = (frame["absent"] > 3).astype(int)
    frame["left"] = (rng.random(600) < 1 / (1 + np.exp(3 - frame["absent"]))).astype(int)
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    return path


def mask(text: str) -> list[str]:
    """Lines without their figures: a processor may round the last digit otherwise."""
    return [re.sub(r"[\d.,+−–-]+", "#", line).rstrip() for line in text.splitlines()]


@pytest.mark.no_cover
@pytest.mark.slow
def test_readme_shows_the_real_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo-output")])
    shown = re.search(r"prints:\n\n```text\n(.*?)```", README, flags=re.S)
    assert done.exit_code == 0 and shown
    head = mask(shown[1])[:8]
    assert mask(done.stdout)[:8] == head


@pytest.mark.slow
def test_readme_shell_runs(tmp_path: Path) -> None:
    """The lines for the service, as they stand, on a free port."""
    (block,) = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
    for name in ("data", "models"):
        shutil.copytree(ROOT / name, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n" + block.replace("8000", str(port))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    scored = json.loads((tmp_path / "data/synthetic/scores.json").read_text("utf-8"))
    assert scored["rows_in"] == scored["scored"] + scored["refused_count"] > scored["scored"] > 2_000
    listed = json.loads(re.findall(r'^(?:\{.*?\})?(\{"run_id".*?\})\d* lines', done.stdout, flags=re.M | re.S)[0])
    assert len(listed["students"]) == 15
    assert "3 lines, all as they were written" in done.stdout
