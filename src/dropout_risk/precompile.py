"""Make the machine code once, so that nobody waits for the compiler later: ``python -m dropout_risk.precompile``.

The first use of the kernels of SHAP, attendance and exams compiles them, which takes a quarter of a minute; after
that their code is read from disk. An installation, an image or a service does it before anybody asks.
"""

import sys
import time

import lightgbm as lgb
import numpy as np
import pandas as pd

from dropout_risk.attendance import attendance_features
from dropout_risk.placing import draw_grids, place_marks
from dropout_risk.treeshap import compile_boosters


def precompile() -> None:
    """Compile what is not on disk yet, and load what is.

    Examples
    --------
    >>> precompile()
    """
    compile_attendance()
    compile_exams()
    compile_trees()


def compile_trees() -> None:
    """Compile the SHAP kernel, with tables and with leaves that are worked out for each row."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    text = lgb.train(settings, lgb.Dataset(X, X.sum(axis=1) > 0), 2).model_to_string()
    for budget in (2**20, 0):
        tables = compile_boosters([text], budget=budget)
        tables.top(X, 2)
        tables.top(X[:1], 2)


def compile_attendance() -> None:
    """Compile the attendance kernel, with and without days of recording."""
    days = pd.to_datetime(["2019-09-02", "2019-09-03"])
    records = pd.DataFrame({"student_id": "a", "date": days, "code": ["P", "U"]})
    for own in (records, records.assign(recorded_at=days)):
        attendance_features(own, ["a"], as_of=days[1], start=days[0])


def compile_exams() -> None:
    """Compile the kernel of exams."""
    mark, points, grids = np.array([0.5, 0.9]), np.linspace(0, 1, 3), np.empty((1, 3))
    draw_grids(mark, np.array([2]), points, grids)
    place_marks(mark, np.array([0, 0]), grids, np.array([-1, -1]))


def main() -> None:
    """Do it, and say how long it took."""
    start = time.perf_counter()
    precompile()
    sys.stderr.write(f"The machine code is ready ({time.perf_counter() - start:.0f} s).\n")


if __name__ == "__main__":
    main()
