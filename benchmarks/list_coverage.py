"""Measure whether the interval of a list's true cases holds the true number, on made-up counties.

Each world is one synthetic county with its own seed. A model learns from the early terms, a list is cut at the end of
a later one, and the simulation knows who then left. The 95 % interval of the cases on the list, and of those off it,
should hold the true number in about 95 of 100 worlds, and be narrower than half the estimate to either side.
A half-width cannot be below that of chance alone, which is printed beside it: 1.96 / sqrt(cases), roughly.

    python benchmarks/list_coverage.py [--worlds 100] [--students 6000] [--grades 1 9] [--first-seed 0] [--json FILE]
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dropout_risk.asof import roll, term_ends
from dropout_risk.backtest import Backtest
from dropout_risk.cohort import cohorts
from dropout_risk.evaluation import cross_scores
from dropout_risk.features import MONOTONE, build_features, rule_scores
from dropout_risk.judgement import out_of_time_splits
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.synthetic import make_county
from dropout_risk.targets import target_list

TERMS = 6
"""Terms on record; the list is cut at the end of the last, whose outcome only the simulation knows."""

LONG_LIST = 200


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    found: list[dict[str, Any]] = []
    started = time.perf_counter()
    bar = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("worlds"), *bar, console=Console(stderr=True)) as progress:
        for seed in progress.track(range(options.first_seed, options.first_seed + options.worlds)):
            found += world(options.students, seed, options.sizes, grades=tuple(options.grades))
            if options.json:
                options.json.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    summary = summarise(pd.DataFrame(found))
    Console().print(
        f"{options.worlds} worlds of {options.students} students and {TERMS} terms, seeds from {options.first_seed}; "
        f"{(time.perf_counter() - started) / options.worlds:.1f} s a world"
    )
    Console().print(table(summary))
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=100, help="number of counties")
    parser.add_argument("--students", type=int, default=6000, help="students of a county")
    parser.add_argument("--grades", type=int, nargs=2, default=[1, 9], help="lowest and highest grade")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 400, 600, 1000], help="students listed")
    parser.add_argument("--json", type=Path, help="also write every list's figures to this file")
    return parser.parse_args(arguments)


def world(
    students: int, seed: int, sizes: list[int], *, terms: int = TERMS, grades: tuple[int, int] = (1, 9)
) -> list[dict[str, Any]]:
    """Return what lists of these sizes promised and held, with the backtest and without it."""
    county = make_county(students, terms=terms, grades=grades, seed=seed, daily=False)
    learned = cohorts(county)
    model = DropoutRiskClassifier(monotone=MONOTONE, random_state=seed)
    splits, _ = out_of_time_splits(learned.y, learned.term, groups=learned.groups)
    past = cross_scores(model, learned.X, learned.y, splits, groups=learned.groups, term=learned.term)
    backtest = Backtest.of(learned.y, past, learned.groups, learned.term, rule_scores(learned.X))
    scores, left = last_term(county, model.fit(learned.X, learned.y, groups=learned.groups, term=learned.term))
    rows = []
    for size in sizes:
        for evidence in (backtest, None):
            chosen = target_list(scores, capacity=size, backtest=evidence)
            listed = scores["student_id"].isin(chosen.frame["student_id"]).to_numpy()
            truth = {"expected": left[listed].sum(), "missed": left[~listed].sum()}
            rows += [
                {
                    "seed": seed,
                    "size": size,
                    "basis": chosen.basis,
                    "part": "on the list" if name == "expected" else "off the list",
                    "true": int(count),
                    "estimate": chosen.overall[name],
                    "low": chosen.overall["low" if name == "expected" else f"{name}_low"],
                    "high": chosen.overall["high" if name == "expected" else f"{name}_high"],
                }
                for name, count in truth.items()
            ]
    return rows


def last_term(county: Any, model: Any) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the scores at the end of the last term, and who of them then left."""
    day = term_ends(county)[-1]
    X = build_features(county, day)
    known = county.oracle[county.oracle["term"] == county.oracle["term"].max()].set_index("student_id")
    X = X.loc[X.index.isin(known.index)]
    students = roll(county, day).loc[X.index].reset_index()
    scores = students[["student_id", "school_id", "county_id"]].assign(risk=model.predict_proba(X)[:, 1])
    return scores, known["leaves"].loc[X.index].to_numpy(dtype=bool)


def summarise(found: pd.DataFrame) -> pd.DataFrame:
    """Return for each size, part and basis how often and how tightly the interval holds the truth."""
    half = (found["high"] - found["low"]) / 2 / found["estimate"]
    found = found.assign(
        covered=found["true"].between(found["low"], found["high"]),
        half_width=half,
        narrow=half < 0.5,
        chance=1.96 / np.sqrt(found["estimate"]),
        ratio=found["true"] / found["estimate"],
    )
    grouped = found.groupby(["basis", "part", "size"])
    means = grouped[["true", "estimate", "covered", "half_width", "chance", "narrow", "ratio"]].mean()
    return means.assign(worlds=grouped.size()).reset_index()


def table(summary: pd.DataFrame) -> Table:
    """Return the summary as a table; long lists are marked."""
    shown = Table("basis", "cases", "listed", "true", "estimate", "covered", "half-width", "of chance", "under half")
    for row in summary.itertuples():
        mark = "*" if row.size >= LONG_LIST else ""
        shown.add_row(
            row.basis,
            row.part,
            f"{row.size}{mark}",
            f"{row.true:.1f}",
            f"{row.estimate:.1f}",
            f"{row.covered:.0%} of {row.worlds}",
            f"{row.half_width:.2f}",
            f"{row.chance:.2f}",
            f"{row.narrow:.0%}",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
