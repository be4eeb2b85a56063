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
    from dropout_risk.adaptation import Adaptation as Adaptation
    from dropout_risk.adaptation import adapt as adapt
    from dropout_risk.assessment import Assessment as Assessment
    from dropout_risk.attendance import attendance_features as attendance_features
    from dropout_risk.audit import AUDIT as AUDIT
    from dropout_risk.audit import audit_columns as audit_columns
    from dropout_risk.backtest import Backtest as Backtest
    from dropout_risk.batch import BatchScorer as BatchScorer
    from dropout_risk.batch import batch_scorer as batch_scorer
    from dropout_risk.bulk import score_in_bulk as score_in_bulk
    from dropout_risk.bundle import Bundle as Bundle
    from dropout_risk.bundle import load_bundle as load_bundle
    from dropout_risk.bundle import save_bundle as save_bundle
    from dropout_risk.capacity import Capacity as Capacity
    from dropout_risk.churn import Churn as Churn
    from dropout_risk.churn import compare_lists as compare_lists
    from dropout_risk.cohort import Cohorts as Cohorts
    from dropout_risk.cohort import cohorts as cohorts
    from dropout_risk.county import check_county as check_county
    from dropout_risk.county import load_county as load_county
    from dropout_risk.dask_training import train_on_dask as train_on_dask
    from dropout_risk.descriptions import FEATURES as FEATURES
    from dropout_risk.descriptions import RULE_LABELS as RULE_LABELS
    from dropout_risk.engines import engine as engine
    from dropout_risk.errors import DropoutRiskError as DropoutRiskError
    from dropout_risk.evaluation import Evaluation as Evaluation
    from dropout_risk.evaluation import cross_scores as cross_scores
    from dropout_risk.evaluation import evaluate as evaluate
    from dropout_risk.evaluation_summary import evaluation_text as evaluation_text
    from dropout_risk.explanation import Explanation as Explanation
    from dropout_risk.explanation import explain as explain
    from dropout_risk.features import build_features as build_features
    from dropout_risk.features import rule_scores as rule_scores
    from dropout_risk.flat import FlatTable as FlatTable
    from dropout_risk.flat import train_flat as train_flat
    from dropout_risk.gate import Gate as Gate
    from dropout_risk.gate import check_release as check_release
    from dropout_risk.hazards import fit_outlook as fit_outlook
    from dropout_risk.hazards import outlook as outlook
    from dropout_risk.hazards import rise as rise
    from dropout_risk.labels import PRESETS as PRESETS
    from dropout_risk.labels import label_outcomes as label_outcomes
    from dropout_risk.model import DropoutRiskClassifier as DropoutRiskClassifier
    from dropout_risk.pipeline import Listing as Listing
    from dropout_risk.pipeline import roster_features as roster_features
    from dropout_risk.pipeline import score as score
    from dropout_risk.pipeline import support_list as support_list
    from dropout_risk.reasons import Reason as Reason
    from dropout_risk.reference import Reference as Reference
    from dropout_risk.reference import build_reference as build_reference
    from dropout_risk.registry import load_model as load_model
    from dropout_risk.registry import log_model as log_model
    from dropout_risk.registry import promote as promote
    from dropout_risk.report import write_report as write_report
    from dropout_risk.schema import Tables as Tables
    from dropout_risk.split import TermSplit as TermSplit
    from dropout_risk.synthetic import make_county as make_county
    from dropout_risk.tables import make_tables as make_tables
    from dropout_risk.tables import read_tables as read_tables
    from dropout_risk.tables import write_tables as write_tables
    from dropout_risk.targets import TargetList as TargetList
    from dropout_risk.targets import target_list as target_list
    from dropout_risk.training import Training as Training
    from dropout_risk.training import adapt_county as adapt_county
    from dropout_risk.training import train as train
    from dropout_risk.validation import Report as Report
    from dropout_risk.validation import validate as validate

__version__ = "0.1.0"

__all__ = [
    "AUDIT",
    "Adaptation",
    "Assessment",
    "Backtest",
    "BatchScorer",
    "Bundle",
    "Capacity",
    "Churn",
    "Cohorts",
    "DropoutRiskClassifier",
    "DropoutRiskError",
    "Evaluation",
    "Explanation",
    "FEATURES",
    "FlatTable",
    "Gate",
    "Listing",
    "PRESETS",
    "RULE_LABELS",
    "Reason",
    "Reference",
    "Report",
    "Tables",
    "TargetList",
    "TermSplit",
    "Training",
    "__version__",
    "adapt",
    "adapt_county",
    "attendance_features",
    "audit_columns",
    "batch_scorer",
    "build_features",
    "build_reference",
    "check_county",
    "check_release",
    "cohorts",
    "compare_lists",
    "cross_scores",
    "engine",
    "evaluate",
    "evaluation_text",
    "explain",
    "fit_outlook",
    "label_outcomes",
    "load_bundle",
    "load_county",
    "load_model",
    "log_model",
    "make_county",
    "make_tables",
    "outlook",
    "promote",
    "read_tables",
    "rise",
    "roster_features",
    "rule_scores",
    "save_bundle",
    "score",
    "score_in_bulk",
    "support_list",
    "target_list",
    "train",
    "train_flat",
    "train_on_dask",
    "validate",
    "write_report",
    "write_tables",
]

_HOME = {
    "AUDIT": "audit",
    "Adaptation": "adaptation",
    "Assessment": "assessment",
    "Backtest": "backtest",
    "BatchScorer": "batch",
    "Bundle": "bundle",
    "Capacity": "capacity",
    "Churn": "churn",
    "Cohorts": "cohort",
    "DropoutRiskClassifier": "model",
    "DropoutRiskError": "errors",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "FEATURES": "descriptions",
    "FlatTable": "flat",
    "Gate": "gate",
    "Listing": "pipeline",
    "PRESETS": "labels",
    "RULE_LABELS": "descriptions",
    "Reason": "reasons",
    "Reference": "reference",
    "Report": "validation",
    "Tables": "schema",
    "TargetList": "targets",
    "TermSplit": "split",
    "Training": "training",
    "adapt": "adaptation",
    "adapt_county": "training",
    "attendance_features": "attendance",
    "audit_columns": "audit",
    "batch_scorer": "batch",
    "build_features": "features",
    "build_reference": "reference",
    "check_county": "county",
    "check_release": "gate",
    "cohorts": "cohort",
    "compare_lists": "churn",
    "cross_scores": "evaluation",
    "engine": "engines",
    "evaluate": "evaluation",
    "evaluation_text": "evaluation_summary",
    "explain": "explanation",
    "fit_outlook": "hazards",
    "label_outcomes": "labels",
    "load_bundle": "bundle",
    "load_county": "county",
    "load_model": "registry",
    "log_model": "registry",
    "make_county": "synthetic",
    "make_tables": "tables",
    "outlook": "hazards",
    "promote": "registry",
    "read_tables": "tables",
    "rise": "hazards",
    "roster_features": "pipeline",
    "rule_scores": "features",
    "save_bundle": "bundle",
    "score": "pipeline",
    "score_in_bulk": "bulk",
    "support_list": "pipeline",
    "target_list": "targets",
    "train": "training",
    "train_flat": "flat",
    "train_on_dask": "dask_training",
    "validate": "validation",
    "write_report": "report",
    "write_tables": "tables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
