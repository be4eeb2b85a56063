"""Measure what a refit learns from terms in which children were helped, and what the treatments repair.

Synthetic worlds of junior schools: from the fourth of eight terms on a county helps those at the top of a list
as far as its data goes, and help takes log-odds off. Models learn from terms 1-7 and score the eighth, where
each child's true risk *without* help is known. Ways to learn:

    before    rows from before the first help only
    audit     all rows as they are: the naive refit
    exclude   without the rows of helped children
    weight    the same, and similar children who were not helped stand in for them
    unhelped  all rows, with the outcomes that there would have been without help (nobody has these)

    python benchmarks/help_effect.py [--worlds N] [--students N] [--share X] [--effect X] [--json FILE]
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from dropout_risk.asof import Terms
from dropout_risk.cohort import Cohorts, cohorts
from dropout_risk.features import MONOTONE, build_features
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.schema import Tables
from dropout_risk.support import check_help, effective_rows, frozen_splits, learning_weights
from dropout_risk.synthetic import make_county

WAYS = ("before", "audit", "exclude", "weight", "unhelped")
TERMS, FIRST_HELP = 8, 3
LISTED = 0.10
FIGURES = {
    "average_precision": "average precision",
    "recall_at_10": "true cases on the 10 % list",
    "top_decile": "risk shown / true risk, top tenth",
    "all": "risk shown / true risk, all",
    "log_loss": "log-loss",
    "frozen_log_loss": "log-loss, frozen term",
    "frozen_top_decile": "risk shown / share that left, top tenth, frozen term",
    "effective_rows": "effective rows",
}


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    rows = []
    for seed in range(1, options.worlds + 1):
        world = make_world(seed, options)
        rows += [{"seed": seed, "way": way, **world.judge(way)} for way in WAYS]
        print(f"world {seed} of {options.worlds}", file=sys.stderr, flush=True)
    found = pd.DataFrame(rows).set_index(["seed", "way"])
    print(f"{options.worlds} worlds, {options.students} pupils, help reaches 85 % of {options.share:.0%}, ", end="")
    print(f"log-odds - {options.effect}\n\nMean over worlds:\n{table(found)}")
    print(f"\nMinus 'before', mean and standard error over worlds:\n{differences(found)}")
    if options.json:
        options.json.write_text(json.dumps(found.reset_index().to_dict("records"), indent=1), encoding="utf-8")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--students", type=int, default=4000)
    parser.add_argument("--share", type=float, default=0.20, help="share of the roll that is picked")
    parser.add_argument("--effect", type=float, default=2.0, help="log-odds that help takes off")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    return parser.parse_args(arguments)


@dataclass(frozen=True, eq=False)
class World:
    """One county: the rows to learn from, and the last term with its truth."""

    learned: Cohorts
    touched: np.ndarray
    y_unhelped: np.ndarray
    X_last: pd.DataFrame
    risk_last: np.ndarray
    leaves_last: np.ndarray

    def judge(self, way: str) -> dict[str, float]:
        """Return the figures of one way to learn."""
        X, y, groups, term = self.learned
        y = self.y_unhelped if way == "unhelped" else y
        weight = self.weights(way)
        model = new_model().fit(X, y, groups=groups, term=term, sample_weight=weight)
        risk = model.predict_proba(self.X_last)[:, 1]
        return {
            "average_precision": float(average_precision_score(self.leaves_last, risk)),
            "recall_at_10": recall(risk, self.risk_last),
            "top_decile": top_ratio(risk, self.risk_last),
            "all": float(risk.mean() / self.risk_last.mean()),
            "log_loss": log_loss(risk, self.risk_last),
            **self.judge_frozen(y, weight),
            "effective_rows": effective_rows(weight),
        }

    def judge_frozen(self, y: np.ndarray, weight: np.ndarray) -> dict[str, float]:
        """Return the figures of the last term before the first help, scored by models of other schools."""
        X, _, groups, term = self.learned
        risk = np.full(len(y), np.nan)
        for train, test in frozen_splits(term, self.touched, groups=groups, n_splits=3):
            model = new_model().fit(
                X.iloc[train], y[train], groups=groups[train], term=term[train], sample_weight=weight[train]
            )
            risk[test] = model.predict_proba(X.iloc[test])[:, 1]
        tested = ~np.isnan(risk)
        return {
            "frozen_log_loss": log_loss(risk[tested], y[tested]),
            "frozen_top_decile": top_ratio(risk[tested], y[tested]),
        }

    def weights(self, way: str) -> np.ndarray:
        """Return the weight of each row."""
        if way == "before":
            return 1.0 - self.touched
        X, _, groups, term = self.learned
        treatment = "audit" if way == "unhelped" else way
        return learning_weights(
            X, self.learned.helped, self.touched, treatment=treatment, groups=groups, term=term
        )  # fmt: skip


def new_model() -> DropoutRiskClassifier:
    """Return the untrained model of a county."""
    return DropoutRiskClassifier(monotone=MONOTONE)


def make_world(seed: int, options: argparse.Namespace) -> World:
    """Simulate one county and build its rows."""
    county = make_county(
        options.students, terms=TERMS, counties=2, grades=(7, 9), shift=0.5, seed=seed, daily=False,
        help_from=FIRST_HELP, help_share=options.share, help_effect=options.effect,
    )  # fmt: skip
    terms = Terms.of(county)
    learned = cohorts(county, as_of=terms.ends[:-1].to_list())
    X_last, truth = last_term(county, terms)
    return World(
        learned=learned,
        touched=check_help(county).touched(learned.window_end),
        y_unhelped=np.where(saved(county, learned), 1, learned.y),
        X_last=X_last,
        risk_last=truth["risk_without_help"].to_numpy(),
        leaves_last=truth["leaves_without_help"].to_numpy(dtype=bool),
    )


def last_term(county: Tables, terms: Terms) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features and truth of everybody at risk at the end of the last term."""
    X = build_features(county, terms.ends[-1])
    oracle: Any = county.oracle
    truth = oracle[oracle["term"] == terms.names[-1]].set_index("student_id").reindex(X.index)
    there = truth["risk_without_help"].notna()
    return X[there], truth[there]


def saved(county: Tables, learned: Cohorts) -> np.ndarray:
    """Return which rows would have left without help and did not."""
    oracle: Any = county.oracle
    truth = oracle.set_index(["term", "student_id"]).reindex(learned.X.index)
    return (truth["leaves_without_help"].eq(True) & truth["leaves"].eq(False)).to_numpy()


def listed(risk: np.ndarray) -> np.ndarray:
    """Return the positions of the highest risks."""
    return np.argsort(-risk, kind="stable")[: round(LISTED * len(risk))]


def recall(risk: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the expected cases that the list holds."""
    return float(truth[listed(risk)].sum() / truth.sum())


def top_ratio(risk: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean risk shown over the mean truth of those on the list."""
    top = listed(risk)
    return float(risk[top].mean() / truth[top].mean())


def log_loss(risk: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected log-loss; `truth` may be a probability."""
    return float(-(truth * np.log(risk) + (1 - truth) * np.log(1 - risk)).mean())


def table(found: pd.DataFrame) -> str:
    """Return the mean of every figure by way."""
    means = found.groupby("way", sort=False).mean().T
    return means.set_axis(pd.Index(FIGURES.values(), name="")).to_string(float_format="{:,.3f}".format)


def differences(found: pd.DataFrame) -> str:
    """Return each way minus `before`, paired by world."""
    by_way = found.drop(columns="effective_rows").unstack("way").swaplevel(axis=1)
    rows = {}
    for way in WAYS[1:]:
        gap = by_way[way] - by_way["before"]
        error = gap.std() / np.sqrt(len(gap))
        rows[way] = [f"{mean:+.3f} ({e:.3f})" for mean, e in zip(gap.mean(), error, strict=True)]
    names = [label for name, label in FIGURES.items() if name != "effective_rows"]
    return pd.DataFrame(rows, index=pd.Index(names)).to_string()


if __name__ == "__main__":
    sys.exit(main())
