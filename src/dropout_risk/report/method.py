"""Whether the figures can be relied on, and how they were made."""

from collections.abc import Mapping, Sequence

from dropout_risk.report.figures import Estimate, Figures, headline_key
from dropout_risk.report.page import Block, Bullets, Facts, Heading, Section, Table, Text
from dropout_risk.report.words import Words

SHARES = ("recall", "precision")
"""Figures that are told in percent."""


def checks(figures: Figures, words: Words) -> Section:
    """Return what was done to prove the model wrong: stability, sensitive inputs, help, leaks."""
    parts: dict[str, list[Block]] = {
        "stability": _stability(figures.get("stability"), words),
        "sensitive": _sensitive(figures.get("sensitive"), words),
        "help": _help(figures.get("help"), words),
        "oracle": _oracle(figures.get("oracle"), words),
        "alarms": _alarms(figures.get("alarms") or [], words),
    }
    blocks: list[Block] = []
    for name, part in parts.items():
        if part:
            blocks += [Heading(words(name)), *part]
    return Section("checks", words("checks"), blocks)


def _stability(stability: Figures | None, words: Words) -> list[Block]:
    if not stability:
        return [Text(words("stability_none"), "missing")]
    share = words.percent(stability.get("share"))
    told = []
    if refit := stability.get("refit"):
        told.append(words("refit_kept", share=share, kept=words.percent(refit.get("kept"))))
    if late := stability.get("late_attendance"):
        students, days = words.count(late.get("students")), words.count(late.get("days"))
        told.append(words("late_kept", students=students, days=days, kept=words.percent(late.get("kept"))))
        if late.get("kept_of_school") is not None:
            told.append(words("late_kept_of_school", kept=words.percent(late["kept_of_school"])))
    return [Bullets(told)]


def _sensitive(sensitive: Figures | None, words: Words) -> list[Block]:
    if not sensitive:
        return [Text(words("sensitive_none"), "missing")]
    features = words.joined(words.feature(name) for name in sensitive.get("left_out") or [])
    return [Text(words("sensitive_lead", features=features)), _differences(sensitive.get("differences") or {}, words)]


def _differences(differences: Mapping[str, Figures], words: Words) -> Table:
    rows = []
    for name, figure in differences.items():
        in_points = name.startswith(SHARES)
        label = words("in_points", metric=words.metric(name)) if in_points else words.metric(name)
        rows.append([label, words.with_range(Estimate.of(figure), words.points if in_points else words.signed)])
    return Table([words("figure"), words("difference")], rows)


def _help(help_: Figures | None, words: Words) -> list[Block]:
    if not help_:
        return [Text(words("help_none"), "missing")]
    counts = {name: words.count(help_.get(name)) for name in ("rows", "helped")}
    lead = words("help_lead", treatment=words.treatment(help_.get("treatment")), **counts)
    since = words("help_since", date=help_["since"]) if help_.get("since") else ""
    blocks: list[Block] = [Text(lead), *([Text(since)] if since else [])]
    figures: Figures = help_.get("figures") or {}
    helped, others = (figures.get(name) or {} for name in ("helped", "not_helped"))
    if names := list(dict.fromkeys([*others, *helped])):
        rows = [
            [words.metric(name), *(_figure(found.get(name), name, words) for found in (helped, others))]
            for name in names
        ]
        judged: Figures = help_.get("judged") or {}
        heads = [f"{words(name)} ({words.count(judged.get(name))})" for name in ("helped", "not_helped")]
        blocks.append(Table([words("figure"), *heads], rows))
    if help_.get("effective_rows") is not None:
        blocks.append(Text(words("help_effective", n=words.count(help_["effective_rows"]))))
    return [*blocks, *_frozen(help_.get("frozen"), words)]


def _frozen(frozen: Figures | None, words: Words) -> list[Block]:
    if not frozen:
        return []
    top: Figures = frozen.get("top_tenth") or {}
    recall: Figures = (frozen.get("metrics") or {}).get("recall_at_10") or {}
    sentence = words(
        "help_frozen",
        term=frozen.get("term"),
        n=words.count(frozen.get("rows")),
        shown=words.percent(top.get("mean_risk")),
        left=words.percent(top.get("observed")),
        recall=words.percent(recall.get("value")),
    )
    return [Text(sentence)]


def _figure(figure: Figures | float | None, name: str, words: Words) -> str:
    show = words.percent if name.startswith(SHARES) else words.number
    return words.with_range(Estimate.of(figure), show) if isinstance(figure, Mapping | None) else show(figure)


def _oracle(oracle: Figures | None, words: Words) -> list[Block]:
    if not oracle:
        return []
    differences = {name.removesuffix("_difference"): figure for name, figure in oracle.items()}
    return [Text(words("oracle_lead")), _differences(differences, words)]


def _alarms(alarms: Sequence[Figures], words: Words) -> list[Block]:
    if not alarms:
        return [Text(words("alarms_none"))]
    return [Text(words.pick(alarm), "alarm") for alarm in alarms]


def method(figures: Figures, words: Words) -> Section:
    """Return how the figures were made, what the words mean, and where the limits are."""
    evaluation: Figures = figures.get("evaluation") or {}
    blocks: list[Block] = [
        Heading(words("validation")),
        Text(_sentence(words.pick(figures.get("validation"), words("validation_none")))),
    ]
    if evaluation.get("groups") is not None:
        blocks.append(
            Text(
                words(
                    "resampled",
                    groups=words.count(evaluation["groups"]),
                    n_boot=words.count(evaluation.get("n_boot")),
                    confidence=words.percent(evaluation.get("confidence")),
                )
            )
        )
    blocks += [Heading(words("data")), Facts(_data(figures.get("data") or {}, evaluation, words))]
    blocks += [Heading(words("terms_used")), Facts(_glossary(words))]
    limits = [words(f"limit_{name}") for name in ("past", "cause", "missed", "small")]
    blocks += [Heading(words("limits")), Bullets([*limits, words("credo")])]
    if notes := figures.get("notes"):
        blocks += [Heading(words("notes")), Bullets([words.pick(note) for note in notes])]
    return Section("method", words("method"), blocks)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _data(data: Figures, evaluation: Figures, words: Words) -> list[tuple[str, str]]:
    terms = data.get("terms")
    facts = {
        "as_of_date": data.get("as_of"),
        "terms": words.joined(map(str, terms)) if isinstance(terms, Sequence) else terms,
        "data_rows": _how_many(data.get("rows"), words),
        "data_events": _how_many(data.get("events"), words),
        "counties": _how_many(data.get("counties"), words),
        "schools": _how_many(data.get("schools"), words),
        "judged": _how_many(evaluation.get("rows"), words),
        "left_out": _how_many(evaluation.get("left_out"), words),
        "capacity_headline": f"{headline_key(evaluation)}\u00a0%",
        "preset": data.get("preset"),
        "horizon": data.get("horizon"),
        "digest": data.get("digest"),
    }
    return [(words(name), str(fact)) for name, fact in facts.items() if fact not in (None, "")]


def _how_many(value: object, words: Words) -> str:
    if isinstance(value, int | float):
        return words.count(value)
    return words.count(len(value)) if isinstance(value, Sequence) else ""


def _glossary(words: Words) -> list[tuple[str, str]]:
    names = ("recall", "precision", "false_alarm", "ece", "auc", "ap")
    return [(words(f"word_{name}"), words(f"word_{name}_is")) for name in names]
