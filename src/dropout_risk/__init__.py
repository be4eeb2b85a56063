"""Early warning for school dropout: who may leave next term, why, and whom to help first.

A risk is a reason to help, never a verdict.

The public names are listed in `__all__` and loaded when first used (PEP 562), so that importing the
package costs little more than importing numpy:

>>> import dropout_risk as dr
>>> dr.PRESETS["default"].absence_run
20
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropout_risk.bundle import Bundle as Bundle
    from dropout_risk.bundle import load_bundle as load_bundle
    from dropout_risk.bundle import save_bundle as save_bundle
    from dropout_risk.cohort import Cohorts as Cohorts
    from dropout_risk.cohort import cohorts as cohorts
    from dropout_risk.descriptions import FEATURES as FEATURES
    from dropout_risk.errors import DropoutRiskError as DropoutRiskError
    from dropout_risk.evaluation import Evaluation as Evaluation
    from dropout_risk.evaluation import cross_scores as cross_scores
    from dropout_risk.evaluation import evaluate as evaluate
    from dropout_risk.explanation import Explanation as Explanation
    from dropout_risk.explanation import Reason as Reason
    from dropout_risk.explanation import explain as explain
    from dropout_risk.features import build_features as build_features
    from dropout_risk.features import rule_scores as rule_scores
    from dropout_risk.flat import FlatTable as FlatTable
    from dropout_risk.flat import train_flat as train_flat
    from dropout_risk.labels import PRESETS as PRESETS
    from dropout_risk.labels import label_outcomes as label_outcomes
    from dropout_risk.model import DropoutRiskClassifier as DropoutRiskClassifier
    from dropout_risk.pipeline import check_county as check_county
    from dropout_risk.pipeline import load_county as load_county
    from dropout_risk.pipeline import score as score
    from dropout_risk.pipeline import train as train
    from dropout_risk.reference import Reference as Reference
    from dropout_risk.reference import build_reference as build_reference
    from dropout_risk.registry import load_model as load_model
    from dropout_risk.registry import log_model as log_model
    from dropout_risk.registry import promote as promote
    from dropout_risk.schema import Tables as Tables
    from dropout_risk.split import TermSplit as TermSplit
    from dropout_risk.synthetic import make_county as make_county
    from dropout_risk.tables import make_tables as make_tables
    from dropout_risk.tables import read_tables as read_tables
    from dropout_risk.tables import write_tables as write_tables
    from dropout_risk.targets import TargetList as TargetList
    from dropout_risk.targets import target_list as target_list
    from dropout_risk.validation import Report as Report
    from dropout_risk.validation import validate as validate

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Cohorts",
    "DropoutRiskClassifier",
    "DropoutRiskError",
    "Evaluation",
    "Explanation",
    "FEATURES",
    "FlatTable",
    "PRESETS",
    "Reason",
    "Reference",
    "Report",
    "Tables",
    "TargetList",
    "TermSplit",
    "__version__",
    "build_features",
    "build_reference",
    "check_county",
    "cohorts",
    "cross_scores",
    "evaluate",
    "explain",
    "label_outcomes",
    "load_bundle",
    "load_county",
    "load_model",
    "log_model",
    "make_county",
    "make_tables",
    "promote",
    "read_tables",
    "rule_scores",
    "save_bundle",
    "score",
    "target_list",
    "train",
    "train_flat",
    "validate",
    "write_tables",
]

_HOME = {
    "Bundle": "bundle",
    "Cohorts": "cohort",
    "DropoutRiskClassifier": "model",
    "DropoutRiskError": "errors",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "FEATURES": "descriptions",
    "FlatTable": "flat",
    "PRESETS": "labels",
    "Reason": "explanation",
    "Reference": "reference",
    "Report": "validation",
    "Tables": "schema",
    "TargetList": "targets",
    "TermSplit": "split",
    "build_features": "features",
    "build_reference": "reference",
    "check_county": "pipeline",
    "cohorts": "cohort",
    "cross_scores": "evaluation",
    "evaluate": "evaluation",
    "explain": "explanation",
    "label_outcomes": "labels",
    "load_bundle": "bundle",
    "load_county": "pipeline",
    "load_model": "registry",
    "log_model": "registry",
    "make_county": "synthetic",
    "make_tables": "tables",
    "promote": "registry",
    "read_tables": "tables",
    "rule_scores": "features",
    "save_bundle": "bundle",
    "score": "pipeline",
    "target_list": "targets",
    "train": "pipeline",
    "train_flat": "flat",
    "validate": "validation",
    "write_tables": "tables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
