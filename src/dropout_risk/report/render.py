"""From figures to files: the page through its template, and the JSON beside it."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dropout_risk.descriptions import Lang
from dropout_risk.errors import MissingExtraError, SettingsError
from dropout_risk.report.drivers import drivers, gaps, reasons
from dropout_risk.report.figures import Figures, report_figures
from dropout_risk.report.method import checks, method
from dropout_risk.report.page import Section
from dropout_risk.report.quality import groups, places, reliability
from dropout_risk.report.words import Words
from dropout_risk.report.worth import baselines, first_lines, precision_recall, worth, yield_curve
from dropout_risk.tables import atomic_path

if TYPE_CHECKING:
    from jinja2 import Template

LANGS: tuple[Lang, ...] = ("zh", "en")

SECTIONS: tuple[Callable[[Figures, Words], Section], ...] = (
    worth,
    baselines,
    yield_curve,
    precision_recall,
    reliability,
    places,
    groups,
    drivers,
    reasons,
    gaps,
    checks,
    method,
)
"""In the order in which a county office would ask."""


def render_report(assessment: Figures, *, lang: Lang, listing: Figures | None = None) -> str:
    """Return the report as one HTML page that needs nothing else: no script, no network, no font file.

    Parameters
    ----------
    assessment : mapping
        From `Assessment.to_dict`. A part that is None is told as missing, with what to do about it.
    lang : {"zh", "en"}
    listing : mapping, optional
        From `TargetList.to_dict`: what the list at hand is worth. Its students do not appear.

    Returns
    -------
    str
        The same figures give the same page, byte for byte.

    Raises
    ------
    SettingsError
        If there are no texts in the language.
    MissingExtraError
        If jinja2 is not installed.

    Examples
    --------
    >>> page = render_report({"evaluation": {}}, lang="en")
    >>> page[:15], "No verdict" in page
    ('<!DOCTYPE html>', True)
    """
    return _page(report_figures(assessment, listing), lang)


def report_files(
    assessment: Figures, langs: Sequence[Lang] = LANGS, listing: Figures | None = None, *, stem: str = "report"
) -> dict[str, str]:
    """Return the files of the report, name -> text: a page for each language, and the figures as JSON.

    Parameters
    ----------
    assessment, listing
        As in `render_report`.
    langs : sequence of {"zh", "en"}
    stem : str
        First part of the names.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> list(report_files({"evaluation": {}}))
    ['report.zh.html', 'report.en.html', 'report.json']
    """
    figures = report_figures(assessment, listing)
    pages = {f"{stem}.{lang}.html": _page(figures, lang) for lang in langs}
    return pages | {f"{stem}.json": json.dumps(figures, ensure_ascii=False, indent=1, allow_nan=False) + "\n"}


def write_report(
    assessment: Figures,
    path: str | Path,
    langs: Sequence[Lang] = LANGS,
    listing: Figures | None = None,
) -> list[Path]:
    """Write the report in each language, and its figures as JSON; each file is there whole or not at all.

    Parameters
    ----------
    assessment, listing
        As in `render_report`.
    path : str or Path
        A folder, which gets ``report.zh.html``, ``report.en.html`` and ``report.json``; or the name of a file
        ending in ``.html``, whose stem takes the place of ``report``.
    langs : sequence of {"zh", "en"}

    Returns
    -------
    list of Path
        One page per language, then the JSON.

    Raises
    ------
    SettingsError
        If there are no texts in a language.
    MissingExtraError
        If jinja2 is not installed.

    Examples
    --------
    >>> import tempfile
    >>> [path.name for path in write_report({"evaluation": {}}, tempfile.mkdtemp(), langs=["zh"])]
    ['report.zh.html', 'report.json']
    """
    path = Path(path)
    folder, stem = (path.parent, path.stem) if path.suffix == ".html" else (path, "report")
    texts = report_files(assessment, langs, listing, stem=stem)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with atomic_path(folder / name) as fresh:
            fresh.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _page(figures: Figures, lang: Lang) -> str:
    if lang not in LANGS:
        raise SettingsError(f"There is no report in {lang!r}: choose one of {', '.join(LANGS)}.")
    words = Words(lang)
    sections = [section(figures, words) for section in SECTIONS]
    return _template().render(
        words=words,
        first=first_lines(figures, words),
        sections=sections,
        facts=_first_facts(figures, words),
    )


def _first_facts(figures: Figures, words: Words) -> list[str]:
    """Return what stands below the title: the day, and how many students the figures rest on."""
    data: Figures = figures.get("data") or {}
    evaluation: Figures = figures.get("evaluation") or {}
    facts = [words("as_of", date=data["as_of"])] if data.get("as_of") else []
    rows, base_rate = evaluation.get("rows"), evaluation.get("base_rate")
    if rows is not None:
        facts.append(words("judged_on", n=words.count(rows)))
    if rows is not None and base_rate is not None:
        facts.append(words("left_count", n=words.count(rows * base_rate), share=words.percent(base_rate)))
    return facts


@cache
def _template() -> "Template":
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError.of("jinja2", "report") from error
    environment = Environment(
        loader=PackageLoader("dropout_risk.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
