"""The surface is written by hand; this pins it to what is there, documented and cheap to import."""

import inspect
import subprocess
import sys
import typing
from types import ModuleType

import pytest

import dropout_risk as dr

OBJECTS = [name for name in dr.__all__ if name != "__version__"]

FIXED = {
    "read_tables", "validate", "make_county", "build_features", "label_outcomes", "cohorts", "TermSplit",
    "DropoutRiskClassifier", "explain", "evaluate", "target_list", "save_bundle", "load_bundle", "log_model",
    "promote", "load_model",
}  # fmt: skip
"""Names that notebooks and benchmarks of others use."""


def test_surface_is_complete_and_sorted() -> None:
    assert dr.__all__ == sorted(dr.__all__)
    assert set(dr.__all__) == {*dr._HOME, "__version__"}
    assert set(dir(dr)) == set(dr.__all__)
    assert set(dr.__all__) >= FIXED


@pytest.mark.parametrize("name", OBJECTS)
def test_public_names_load_and_are_no_modules(name: str) -> None:
    assert not isinstance(getattr(dr, name), ModuleType)


def test_names_for_editors_are_the_names_that_load() -> None:
    source = inspect.getsource(dr)
    for name, home in dr._HOME.items():
        assert f"from dropout_risk.{home} import {name} as {name}\n" in source


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dr.nothing


@pytest.mark.parametrize("name", [n for n in OBJECTS if callable(getattr(dr, n))])
def test_docstrings_are_whole(name: str) -> None:
    thing = getattr(dr, name)
    text = inspect.getdoc(thing) or ""
    assert len(text) > 40, "no docstring"
    if inspect.isfunction(thing):
        assert ">>>" in text, "no example"
        parameters = [p for p in inspect.signature(thing).parameters if p != "self"]
        missing = [p for p in parameters if p not in text]
        assert not missing, f"parameters without a word: {missing}"
        assert typing.get_type_hints(thing, include_extras=True) or not parameters


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    tell = "import sys; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.splitlines()[-1].split())


def test_import_is_light() -> None:
    heavy = {"mlflow", "shap", "dask", "matplotlib", "fastapi", "sqlalchemy", "pyspark"}
    heavy |= {"lightgbm", "sklearn", "scipy", "pandas", "numba", "typer", "rich", "pyarrow"}
    assert not loaded_by("import dropout_risk") & heavy


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"], ["train", "--help"]])
def test_help_is_light(words: list[str]) -> None:
    heavy = {"lightgbm", "sklearn", "scipy", "shap", "pandas", "mlflow", "numba", "pyarrow", "numpy", "fastapi", "dask"}
    code = f"import contextlib, sys; sys.argv = ['dropout-risk', *{words}]\nfrom dropout_risk.cli import main"
    assert not loaded_by(f"{code}\nwith contextlib.suppress(SystemExit):\n    main()") & heavy


@pytest.mark.slow
def test_main_job_needs_no_optional_library() -> None:
    optional = {"mlflow", "shap", "dask", "matplotlib", "fastapi", "sqlalchemy", "pyspark"}
    assert not loaded_by("import dropout_risk.pipeline, dropout_risk.flat, dropout_risk.cli") & optional
