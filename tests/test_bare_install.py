"""Without any extra the main job runs, and what needs an extra says which command installs it."""

import subprocess
import sys

import pytest

BLOCK = """
import sys
for name in ("mlflow", "shap", "matplotlib", "fastapi", "uvicorn", "openpyxl"):
    sys.modules[name] = None  # importing it raises ImportError
"""

MAIN_JOB = """
import dropout_risk as dr
county = dr.check_county(dr.make_county(300, terms=3, seed=1))
training = dr.train(county, peers={})
scores = dr.score(county, training.bundle, lang="en")
chosen = dr.target_list(scores.frame, capacity=3)
print(len(chosen.frame))
"""

PICTURE = """
explanation = dr.explain(training.bundle.model, dr.build_features(county.tables, "2020-07-10"))
print("explained")
explanation.to_shap()
"""


def bare(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def assert_names(extra: str, run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode != 0
    assert f"pip install 'dropout-risk[{extra}]'" in run.stderr


@pytest.mark.slow
def test_main_job_runs_and_its_picture_names_an_extra() -> None:
    run = bare(MAIN_JOB + PICTURE)
    assert run.stdout == "3\nexplained\n", run.stderr
    assert_names("plot", run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("import dropout_risk as dr; dr.promote(tracking_uri='sqlite:///nowhere.db')", "track"),
        ("from dropout_risk.cli import main; sys.argv = ['dropout-risk', 'serve']; main()", "serve"),
    ],
)
def test_what_needs_an_extra_names_it(code: str, extra: str) -> None:
    assert_names(extra, bare(code))
