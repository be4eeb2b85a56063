"""Reasons and gaps that were kept, in the language of whoever reads them."""

from typing import Any

from dropout_risk.descriptions import Lang
from dropout_risk.reasons import in_language
from dropout_risk.scores import gaps_in_language
from dropout_risk.store.schema import Run


def language_of(run: Run) -> Lang:
    """Return the language in which a roster was scored."""
    return "en" if run.lang == "en" else "zh"


def reasons_of(run: Run, reasons: list[Any], lang: Lang) -> list[Any]:
    """Return the reasons of a score of `run`: as they were told then, or in another language."""
    return reasons if lang == language_of(run) else in_language(reasons, lang)


def gaps_of(run: Run, gaps: list[Any], lang: Lang) -> list[Any]:
    """Return what was not on record for a score of `run`: as it was told then, or in another language."""
    said = language_of(run)
    return gaps if lang == said else gaps_in_language(gaps, said, lang)
