"""Arrows run one way: a module imports only modules of lower layers, wherever the import stands."""

import ast
from pathlib import Path

import pytest

import dropout_risk

PACKAGE = Path(dropout_risk.__file__).parent

LAYERS = [
    {"errors", "jit"},
    {
        "schema",
        "descriptions",
        "metrics",
        "calibration",
        "figures",
        "plain",
        "placing",
        "treeshap",
        "engines",
        "access",
        "profile",
        "words",
    },
    {"arrays", "written", "notes", "reasons"},
    {
        "asof",
        "columns",
        "logistic",
        "split",
        "peers",
        "coercion",
        "workbooks",
        "synthetic",
        "backtest",
        "capacity",
        "gate_text",
        "id_numbers",
    },
    {"registers", "sizes", "headers"},
    {"sheets"},
    {"checks", "tables", "attendance", "model", "intervals", "gate"},
    {"validation", "labels", "targets", "card", "precompile", "applicability"},
    {"reference", "explanation", "evaluation", "bundle", "client"},
    {"features", "registry", "adaptation", "churn", "support", "batch"},
    {"audit", "pyfunc_model", "county"},
    {"cohort", "evaluation_summary", "scores"},
    {"hazards", "judgement", "store"},
    {"assessment"},
    {"stability"},
    {"training", "pipeline"},
    {"flat", "bulk"},
    {"console", "service", "report", "dask_training"},
    {"cli"},
]
"""From the ground up; modules of one layer do not import each other."""

HEAVY_HOMES = {
    "mlflow": {"registry", "pyfunc_model"},
    "shap": {"explanation"},
    "matplotlib": set(),
    "jinja2": {"report", "service"},
    "numba": {"jit"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "dask": {"engines", "dask_training"},
    "distributed": {"engines"},
    "pyspark": {"engines"},
    "fastapi": {"service"},
    "uvicorn": {"cli"},
    "httpx2": {"client"},
}
"""The only modules that may import a heavy optional library."""


def unit(path: Path) -> str:
    """The module, or for a sub-package the package: its parts are one unit."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            parts = [node.module or ""]
            if node.module == "dropout_risk":
                parts = [f"dropout_risk.{alias.name}" for alias in node.names if alias.name != "__version__"]
            found += parts
    return found


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_module_has_a_layer() -> None:
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted({unit(path) for path in MODULES})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    own = unit(path)
    for name in imports(path):
        if name.startswith("dropout_risk."):
            target = name.split(".")[1]
            assert target == own or level[target] < level[own], f"{own} imports {target}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_homes(path: Path) -> None:
    for name in imports(path):
        homes = HEAVY_HOMES.get(name.split(".")[0])
        assert homes is None or unit(path) in homes, f"{unit(path)} imports {name}"
