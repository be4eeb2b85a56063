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

EXPLAIN = f"""{MAIN_JOB}
explanation = dr.explain(training.bundle.model, dr.build_features(county.tables, "2020-07-10"))
"""


def bare(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_main_job_runs() -> None:
    run = bare(MAIN_JOB)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "3\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("import dropout_risk as dr; dr.promote(tracking_uri='sqlite:///nowhere.db')", "track"),
        (f"{EXPLAIN}explanation.to_shap()", "plot"),
        ("from dropout_risk.cli import main; sys.argv = ['dropout-risk', 'serve']; main()", "serve"),
    ],
)  # fmt: skip
def test_what_needs_an_extra_names_it(code: str, extra: str) -> None:
    run = bare(code)
    assert run.returncode != 0
    assert f"pip install 'dropout-risk[{extra}]'" in run.stderr
