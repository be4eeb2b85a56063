"""The model card: one page from the same figures as the report, the gate and the run in MLflow.

English, with a summary in Chinese at the top. Whatever was not judged is said to be missing, not left out.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dropout_risk.descriptions import RULE_LABELS
from dropout_risk.figures import figures, headline_percent, is_flat, mapping_of, number_of, part_of, rows_of
from dropout_risk.gate import check_release
from dropout_risk.gate_text import percent, points

Lines = list[str]

TOP_FEATURES = 10

NOT_RECORDED = "Not recorded for this model."


def model_card(content: Mapping[str, Any]) -> str:
    """Return the text of ``MODEL_CARD.md``.

    Parameters
    ----------
    content : mapping
        ``kind, created, preset, horizon, bands, metrics, data, versions`` as in a bundle, ``format``, ``features``
        (names), ``categories`` (feature -> levels), ``model`` (kind and why), and, where there is one, ``release``.
        ``metrics`` is an assessment (`Assessment.to_dict`) or, in old bundles, figures of any kind.

    Returns
    -------
    str
        The same content gives the same text.

    Examples
    --------
    >>> names = ("preset", "bands", "metrics", "data", "versions", "features", "categories", "model")
    >>> content = dict.fromkeys(names, {}) | {"kind": "flat", "created": "2026-11-22", "horizon": 1, "format": 1}
    >>> card = model_card(content)
    >>> card.splitlines()[0]
    '# Model card: flat model of 2026-11-22'
    """
    metrics = content["metrics"]
    judged: dict[str, Lines] = (
        {title: section(metrics) or [NOT_RECORDED] for title, section in _JUDGED.items()}
        if mapping_of(metrics, "evaluation")
        else {"Figures": _bare_figures(metrics)}
    )
    sections = {
        "摘要": _summary(content),
        "Use": _use(content),
        "Training data and labels": _data(content),
        **judged,
        "Release gate at the time of training": _gate(metrics),
        **({"Release": release_lines(content["release"])} if content.get("release") else {}),
        "Bands": _bands(content["bands"]),
        "Features": _features(content),
        "Limits": _LIMITS,
        "Loading": _loading(content),
    }
    head = (
        f"# Model card: {content['kind']} model of {content['created']}\n\nA risk is a reason to help, never a verdict."
    )
    return "\n\n".join([head, *(f"## {title}\n" + "\n".join(lines) for title, lines in sections.items())]) + "\n"


def release_lines(release: Mapping[str, Any]) -> Lines:
    """Return how a version was released, as lines of Markdown.

    Parameters
    ----------
    release : mapping
        As `Bundle.release`: ``version, promoted_at, promoted_from, gate, override_why, comparison``.

    Examples
    --------
    >>> release_lines({"version": "2", "promoted_at": "2026-11-22T08:00:00Z", "promoted_from": "1"})[0]
    '- Version 2 became the champion on 2026-11-22T08:00:00Z, in the place of version 1.'
    """
    instead = release.get("promoted_from")
    place = f"in the place of version {instead}" if instead else "there was none before"
    lines = [f"- Version {release.get('version')} became the champion on {release.get('promoted_at')}, {place}."]
    if why := release.get("override_why"):
        lines += ["- The release gate did not hold and was overridden. The reason given:", ""]
        lines += [f"  > {line}" for line in str(why).splitlines()] + [""]
    if comparison := part_of(release, "comparison", "en"):
        lines.append(f"- {comparison}")
    conditions = rows_of(release, "gate", "conditions")
    return lines + [f"- {'passed' if one.get('passed') else 'FAILED'}: {one.get('en')}" for one in conditions]


# Parts that every bundle has -------------------------------------------------------------------------


def _summary(content: Mapping[str, Any]) -> Lines:
    metrics = content["metrics"]
    evaluation = part_of(metrics, "evaluation")
    rows, base_rate = number_of(evaluation, "rows"), number_of(evaluation, "base_rate")
    error, covered = number_of(evaluation, "metrics", "ece", "value"), number_of(metrics, "coverage", "share")
    numbers = [
        str(part_of(evaluation, "verdict", "zh") or ""),
        f"检验学生 {rows:,.0f} 名，其中离校 {percent(base_rate)}。"
        if rows is not None and base_rate is not None
        else "",
        f"校准误差 {error:.4f}。" if error is not None else "",
        f"名册中应评分的学生有 {percent(covered)} 得到评分。" if covered is not None else "",
    ]
    return [
        f"- 用途：提示学校和县级教育部门，哪些在校学生可能在今后 {content['horizon']} 个学期内离校，以便有人上门了解、"
        "倾听并及时帮助。风险是帮助的理由，不是结论；每名学生如何帮助由人决定。",
        "- 不得用于：处罚、招生、分班、学校或教师排名，以及对学生的任何自动决定。",
        "- 局限：风险低不等于没有问题；风险只对所评学期、对与训练数据同样完整的记录有效；理由说明分数从何而来，"
        "不说明学生为何离校；用于其他地区或年份之前，须先在当地检验。",
        f"- 主要数字：{''.join(numbers) or '本模型没有记录完整的检验结果，见下文英文部分。'}",
        f"- 训练时的发布条件：{check_release(metrics).summary('zh')}",
    ]


def _use(content: Mapping[str, Any]) -> Lines:
    return [
        "For: telling schools and county offices which enrolled students may leave school within the next",
        f"{content['horizon']} term(s), so that somebody visits, listens and helps in time. A person decides about "
        "every student.",
        "",
        "Not for: penalties, admission, placement, rankings of schools or teachers, or any automatic decision about a",
        "student; other places or years than those evaluated below, before they were evaluated there.",
    ]


def _data(content: Mapping[str, Any]) -> Lines:
    described = {**content["data"], **mapping_of(content["metrics"], "data")}
    described.pop("profile", None)  # for machines, which compare later data with it
    given = {name: value for name, value in sorted(described.items()) if value not in (None, [], {})}
    lines = [
        f"- {name}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in given.items()
    ]
    return [
        *(lines or ["- not recorded"]),
        "",
        f"Labels: preset `{content['preset'] or 'none'}`. Whether help was given, names, numbers of identity papers, "
        "addresses, ethnicity",
        "and religion are no features.",
    ]


def _bare_figures(metrics: Mapping[str, Any]) -> Lines:
    """Return the figures of a bundle from before there were assessments."""
    return [
        f"- {name}: {value:.4g}{_range(interval)}"
        for name, value, interval in figures(metrics)
        if not name.startswith(("rules/", "peers/", "differences/"))
        and (interval or "/" not in name)  # bare numbers further down are details of the evaluation
        or (name.startswith("differences/") and name.endswith("/recall_at_10"))
    ] or ["- not recorded"]


def _range(interval: Mapping[str, Any]) -> str:
    low, high = number_of(interval, "low"), number_of(interval, "high")
    return "" if low is None or high is None else f" (95% interval {low:.4g} to {high:.4g})"


def _gate(metrics: Mapping[str, Any]) -> Lines:
    verdict = check_release(metrics)
    lines = [f"- {'passed' if one.passed else 'FAILED'}: {one.en}" for one in verdict.conditions]
    return ["With the default settings. " + verdict.summary("en"), "", *lines]


def _bands(bands: Mapping[str, float]) -> Lines:
    cuts = ", ".join(f"`{name}` from {cut:g}" for name, cut in sorted(bands.items(), key=lambda item: -item[1]))
    return [f"{cuts}; `low` below that. The cut-offs are a setting for the size of the work, not a diagnosis."]


def _features(content: Mapping[str, Any]) -> Lines:
    levels = content["categories"]
    names = [
        f"- `{name}`" + (f": one of {', '.join(map(str, levels[name][:20]))}" if name in levels else "")
        for name in content["features"]
    ]
    return [*([f"Learned by: {content['model']}", ""] if content["model"] else []), *names]


_LIMITS = [
    "- A low risk is no proof that all is well: some students who leave show none of these signs.",
    "- A risk holds for the term it was made for, and for records as complete as those of the training data.",
    "- Reasons say what moved the score, not what causes a student to leave.",
    "- Groups can be served unequally well: read the evaluation by group before use and after every term.",
]


def _loading(content: Mapping[str, Any]) -> Lines:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(content["versions"].items()))
    return [
        "```python",
        "from dropout_risk import load_bundle",
        'bundle = load_bundle("folder")   # checks every file against SHA256SUMS, executes nothing',
        "```",
        f"Check by hand: `sha256sum -c SHA256SUMS`. Format {content['format']}; {versions}.",
    ]


# Parts of an assessment ------------------------------------------------------------------------------


def _capacity(metrics: Mapping[str, Any]) -> Lines:
    evaluation = metrics["evaluation"]
    key = headline_percent(evaluation)
    recall, precision = f"recall_at_{key}", f"precision_at_{key}"
    rows = [["**model**", *_row(part_of(evaluation, "metrics"), recall, precision), ""]]
    for part in ("rules", "peers"):
        for name, found in mapping_of(evaluation, part).items():
            label = RULE_LABELS[name]["en"] if name in RULE_LABELS else name.replace("_", " ")
            difference = _interval(part_of(evaluation, "differences", name, recall), points)
            rows.append([label, *_row(found, recall, precision), difference])
    header = ["list by", f"recall at {key} %", f"precision at {key} %", "average precision", "AUC", "model minus it"]
    return [
        *_sentences(part_of(evaluation, "verdict", "en"), part_of(metrics, "validation", "en")),
        "Everybody at the same capacity, the same students, the same resampled groups; recall is the share of the "
        "students who left that are listed; the difference is in points of recall.",
        "",
        *_table(header, rows),
    ]


def _row(found: Any, recall: str, precision: str) -> list[str]:
    shares = [_interval(part_of(found, name), percent) for name in (recall, precision)]
    return shares + [_interval(part_of(found, name), _decimal) for name in ("average_precision", "auc")]


def _calibration(metrics: Mapping[str, Any]) -> Lines:
    evaluation = metrics["evaluation"]
    overall = ", ".join(
        f"{name} {_interval(part_of(evaluation, 'metrics', key), _decimal)}"
        for key, name in {"ece": "calibration error", "brier": "Brier score", "log_loss": "log-loss"}.items()
    )
    bins = [
        [_count(row, "rows"), *(_share(row, name) for name in ("mean_risk", "observed", "low", "high"))]
        for row in rows_of(evaluation, "calibration")
        if row.get("column") == "all" and not row.get("suppressed")
    ]
    return [f"{overall}.", "", *_table(["students", "mean risk", "share that left", "low", "high"], bins)]


def _groups(metrics: Mapping[str, Any]) -> Lines:
    key = headline_percent(metrics["evaluation"])
    rows = []
    for row in rows_of(metrics, "evaluation", "per_group"):
        name = [str(row.get("column")), str(row.get("level"))]
        if row.get("suppressed"):
            rows.append([*name, "too few to show", "", "", "", "", ""])
            continue
        counts = [_count(row, "rows"), _count(row, "events"), _share(row, "selection_rate")]
        bounds = [_interval(_bounds(row, figure), form) for figure, form in _GROUP_FIGURES.items()]
        rows.append([*name, *counts, *bounds])
    if not rows:
        return ["The table has no audit columns."] if is_flat(metrics) else []
    header = ["column", "group", "students", "left", "listed", "recall", "listed who stayed", "mean risk minus left"]
    return [f"Under one list of {key} % for all.", "", *_table(header, rows)]


def _bounds(row: Mapping[str, Any], figure: str) -> dict[str, Any]:
    return {"value": row.get(figure), "low": row.get(f"{figure}_low"), "high": row.get(f"{figure}_high")}


def _held_out(metrics: Mapping[str, Any]) -> Lines:
    held_out = mapping_of(metrics, "held_out")
    evaluation = mapping_of(held_out, "evaluation")
    if not evaluation:
        return []
    key = headline_percent(evaluation)
    names = {f"recall_at_{key}": f"recall at {key} %", "auc": "AUC", "average_precision": "average precision"}
    shown = [f"{name} {_interval(part_of(evaluation, 'metrics', metric), _decimal)}" for metric, name in names.items()]
    unit = "counties" if held_out.get("unit") == "county" else "schools"
    return [f"{_count(held_out, 'places')} {unit}, each judged by models that know none of its students: "
            f"{', '.join(shown)}."]  # fmt: skip


def _coverage(metrics: Mapping[str, Any]) -> Lines:
    coverage = part_of(metrics, "coverage")
    if number_of(coverage, "share") is None:
        return []
    causes = [f"- {_count(row, 'rows')}: {row.get('en')}" for row in rows_of(coverage, "causes")]
    first = (
        f"{_count(coverage, 'rows_in')} rows of the roster, {_count(coverage, 'scored')} scored: "
        f"{_share(coverage, 'share')} of those that need a score. The others:"
    )
    return [first, *causes]


def _missing(metrics: Mapping[str, Any]) -> Lines:
    rows = [
        [str(row.get("en")), _share(row, "share"), _share(row, "share_listed")] for row in rows_of(metrics, "missing")
    ]
    return _table(["feature", "not recorded", "among the listed"], rows)


def _drivers(metrics: Mapping[str, Any]) -> Lines:
    groups = [f"{row.get('en')} {_share(row, 'share')}" for row in rows_of(metrics, "drivers", "groups")]
    rows = [
        [str(row.get("en")), _decimal(number_of(row, "mean_abs")), _share(row, "gain_share")]
        for row in rows_of(metrics, "drivers", "features")[:TOP_FEATURES]
    ]
    if not groups and not rows:
        return []
    header = ["feature", "mean contribution (log-odds)", "share of the gain"]
    return [f"Shares of the contributions: {', '.join(groups)}.", "", *_table(header, rows)]


def _sensitive(metrics: Mapping[str, Any]) -> Lines:
    sensitive = mapping_of(metrics, "sensitive")
    if not sensitive:
        return []
    key = headline_percent(metrics["evaluation"])
    names = sensitive.get("left_out")
    left_out = ", ".join(f"`{name}`" for name in (names if isinstance(names, list) else []))
    shown = [
        f"{label} {_interval(part_of(sensitive, 'differences', name), _signed)}"
        for name, label in {f"recall_at_{key}": f"recall at {key} %", "average_precision": "average precision"}.items()
    ]
    return [f"Without {left_out}: the full model minus the one without them, {', '.join(shown)}."]


def _stability(metrics: Mapping[str, Any]) -> Lines:
    stability = part_of(metrics, "stability")
    kept = {"refit": "after a refit with another seed", "late_attendance": "when attendance of some schools comes late"}
    shown = [
        f"- {percent(share)} of the list stays {label}."
        for name, label in kept.items()
        if (share := number_of(stability, name, "kept")) is not None
    ]
    return shown


def _help(metrics: Mapping[str, Any]) -> Lines:
    given = mapping_of(metrics, "help")
    if not given:
        return ["No help is recorded in the training data: risks are those without this system, as far as is known."]
    key = headline_percent(metrics["evaluation"])
    names = sorted({str(name) for part in ("helped", "not_helped") for name in mapping_of(given, "figures", part)})
    chosen = [name for name in names if name in (f"recall_at_{key}", "auc", "average_precision", "ece", "base_rate")]
    rows = [
        [name, *(_interval(part_of(given, "figures", part, name), _decimal) for part in ("helped", "not_helped"))]
        for name in chosen or names
    ]
    return [
        f"Treatment of helped students in learning: `{given.get('treatment')}`; {_count(given, 'helped')} of "
        f"{_count(given, 'rows')} rows were helped after the as-of date.",
        "",
        *_table(["figure", "helped", "not helped"], rows),
        *_frozen(given),
    ]


def _frozen(given: Mapping[str, Any]) -> Lines:
    """Return how the way of learning does on the last term before help, the same rows for every later model."""
    shown, left = (number_of(given, "frozen", "top_tenth", name) for name in ("mean_risk", "observed"))
    if shown is None or left is None:
        return []
    return [
        "",
        f"Frozen benchmark, {_count(mapping_of(given, 'frozen'), 'rows')} students of the last term before help: in "
        f"the tenth with the highest risks the mean risk was {100 * shown:.1f} % and {100 * left:.1f} % left.",
    ]


def _alarms(metrics: Mapping[str, Any]) -> Lines:
    return [f"- {row.get('en')}" for row in rows_of(metrics, "alarms")] or ["None was raised in training."]


def _notes(metrics: Mapping[str, Any]) -> Lines:
    return [f"- {row.get('en')}" for row in rows_of(metrics, "notes")] or ["None."]


_JUDGED: dict[str, Callable[[Mapping[str, Any]], Lines]] = {
    "Figures at the same capacity": _capacity,
    "Calibration": _calibration,
    "Groups": _groups,
    "Places never seen in training": _held_out,
    "Coverage": _coverage,
    "Missing values": _missing,
    "What moves the risks": _drivers,
    "With and without sensitive inputs": _sensitive,
    "Stability of the list": _stability,
    "Learning from help": _help,
    "Leak alarms": _alarms,
    "Notes": _notes,
}


# Forms of figures ------------------------------------------------------------------------------------


def _sentences(*texts: Any) -> Lines:
    return [line for text in texts if isinstance(text, str) and text for line in (text, "")]


def _interval(figure: Any, form: Callable[[float], str]) -> str:
    value, low, high = (number_of(figure, end) for end in ("value", "low", "high"))
    if value is None:
        return "–"
    return form(value) if low is None or high is None else f"{form(value)} ({form(low)} to {form(high)})"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


_GROUP_FIGURES: dict[str, Callable[[float], str]] = {
    "recall": percent,
    "false_alarm_share": percent,
    "calibration_gap": _signed,
}


def _share(row: Any, name: str) -> str:
    value = number_of(row, name)
    return "–" if value is None else percent(value)


def _count(row: Any, name: str) -> str:
    value = number_of(row, name)
    return "–" if value is None else f"{value:,.0f}"


def _table(header: list[str], rows: Iterable[list[str]]) -> Lines:
    lines = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in rows]
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *lines] if lines else []


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
