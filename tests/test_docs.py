"""Documents cannot drift: generated pages are fresh, commands exist, examples run, links lead somewhere."""

import re
import runpy
import shutil
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
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in commands.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_in_documents_exist(page: Path) -> None:
    known = options_of_verbs()
    for verb, rest in re.findall(r"dropout-risk (\w+)(.*)$", page.read_text("utf-8"), flags=re.M):
        if verb in known:
            options = set(re.findall(r"(?<![-\w])--[a-z-]+", rest.partition("`")[0]))
            assert options <= known[verb] | {"--help"}, f"{page.name}: dropout-risk {verb}"


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
