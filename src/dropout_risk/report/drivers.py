"""What the risks rest on, what the reasons look like, and what the data lacks."""

from collections.abc import Sequence

from dropout_risk.report import charts
from dropout_risk.report.charts import Bar, Panel, Swarm
from dropout_risk.report.figures import Estimate, Figures
from dropout_risk.report.page import Block, Examples, Heading, Picture, Section, Table, Text
from dropout_risk.report.svg import round_up
from dropout_risk.report.words import Words

MAX_GROUPS = 15
MAX_ROWS = 15
"""Longer tables of features end in a line that points to the JSON file."""


def drivers(figures: Figures, words: Words) -> Section:
    """Return what moves the risks: kinds of information, then feature by feature and student by student."""
    found: Figures = figures.get("drivers") or {}
    blocks: list[Block] = []
    if kinds := found.get("groups"):
        blocks += [Text(words("drivers_lead")), _kinds(kinds[:MAX_GROUPS], words)]
    if swarm := [feature for feature in found.get("beeswarm") or [] if _points(feature)]:
        blocks += [Heading(words("beeswarm")), Text(words("beeswarm_lead"))]
        blocks.append(_beeswarm(swarm, found.get("features") or [], words))
    return Section("drivers", words("drivers"), blocks or [Text(words("drivers_none"), "missing")])


def _kinds(kinds: Sequence[Figures], words: Words) -> Picture:
    title = words("driver_groups")
    bars = [Bar(words.pick(kind), cells=[Estimate.of(kind, "share")]) for kind in kinds]
    most = max((bar.cells[0].value for bar in bars if bar.cells[0]), default=1.0)
    panel = Panel(words("driver_share"), words.percent, high=min(1.0, round_up(most)))
    svg = charts.bars(bars, [panel], title=title, description=words("drivers_lead"), heading=words("kind"))
    rows = [[words.pick(kind), words.share(kind.get("share"))] for kind in kinds]
    return Picture(title, [svg], Table([words("kind"), words("driver_share")], rows))


def _points(feature: Figures) -> list[tuple[float, float | None]]:
    return [(point[0], point[1]) for point in feature.get("points") or [] if point[0] is not None]


def _beeswarm(swarm: Sequence[Figures], features: Sequence[Figures], words: Words) -> Picture:
    known = {feature["feature"]: feature for feature in features}
    rows = []
    for one in swarm:
        points = _points(one)
        feature = known.get(one["feature"], {})
        low = _mean([c for c, place in points if place is not None and place <= 1 / 3])
        high = _mean([c for c, place in points if place is not None and place > 2 / 3])
        rows.append(
            [
                words.pick(feature, one["feature"]),
                words.number(feature.get("mean_abs")),
                words.percent(feature.get("gain_share")),
                words.number(low, 2, signed=True),
                words.number(high, 2, signed=True),
            ]
        )
    svg = charts.beeswarm(
        [Swarm(words.pick(known.get(one["feature"]), one["feature"]), _points(one)) for one in swarm],
        title=words("beeswarm"),
        description=words("beeswarm_lead"),
        x_title=words("beeswarm_axis"),
        legend=(words("low_value"), words("high_value"), words("not_recorded")),
    )
    columns = [words(name) for name in ("feature", "mean_abs", "gain_share", "low_third", "high_third")]
    return Picture("", [svg], Table(columns, rows))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def reasons(figures: Figures, words: Words) -> Section:
    """Return examples of reasons, told as the list tells them."""
    found: Sequence[Figures] = figures.get("reasons") or []
    if not found:
        return Section("reasons", words("reasons"), [Text(words("reasons_none"), "missing")])
    examples = [
        {
            "band": words.band(example.get("band")),
            "risk": words("risk_is", risk=words.percent(example.get("risk"))),
            "reasons": [_reason(reason, words) for reason in (example.get("reasons") or {}).get(words.lang) or []],
        }
        for example in found
    ]
    return Section("reasons", words("reasons"), [Text(words("reasons_lead")), Examples(examples)])


def _reason(reason: Figures, words: Words) -> dict[str, str]:
    changeable = reason.get("changeable")
    mark = "" if changeable is None else words("changeable" if changeable else "context")
    measure = reason.get("measure")
    return {
        "label": str(reason.get("label") or ""),
        "text": str(reason.get("text") or ""),
        "mark": mark,
        "measure": words("measure_is", measure=measure) if measure else "",
    }


def gaps(figures: Figures, words: Words) -> Section:
    """Return how much of the roster was scored, and which values are missing."""
    blocks = [*_coverage(figures.get("coverage"), words), Heading(words("missing"))]
    missing = [row for row in figures.get("missing") or [] if row.get("share")]
    if not missing:
        return Section("gaps", words("gaps"), [*blocks, Text(words("missing_none"))])
    bars = [
        Bar(words.pick(row), cells=[Estimate.of(row, "share"), Estimate.of(row, "share_listed")])
        for row in missing[:MAX_ROWS]
    ]
    ends = [cell.value for bar in bars for cell in bar.cells if cell]
    panels = [
        Panel(words(name), words.percent, high=min(1.0, round_up(max(ends, default=1.0))))
        for name in ("missing_all", "missing_listed")
    ]
    rows = [
        [words.pick(row), words.share(row.get("share")), words.share(row.get("share_listed"))]
        for row in missing[:MAX_ROWS]
    ]
    table = Table([words("feature"), words("missing_all"), words("missing_listed")], rows)
    title, lead = words("missing"), words("missing_lead")
    svg = charts.bars(bars, panels, title=title, description=lead, heading=words("feature"))
    blocks += [Text(lead), Picture("", [svg], table)]
    if len(missing) > MAX_ROWS:
        blocks.append(Text(words("more_rows", n=len(missing) - MAX_ROWS)))
    return Section("gaps", words("gaps"), blocks)


def _coverage(coverage: Figures | None, words: Words) -> list[Block]:
    if not coverage or coverage.get("share") is None:
        return [Text(words("coverage_none"), "missing")]
    causes: Sequence[Figures] = coverage.get("causes") or []
    scored = coverage.get("scored") or 0
    missed = sum(cause.get("rows") or 0 for cause in causes if cause.get("needed", True))
    sentence = words(
        "coverage_sentence",
        share=words.percent(coverage["share"]),
        scored=words.count(scored),
        should=words.count(scored + missed),
    )
    if not causes:
        return [Text(sentence, "lead")]
    rest = words("coverage_rest", rest=words.count((coverage.get("rows_in") or 0) - scored))
    rows = [
        [words.pick(cause), words.count(cause.get("rows")), words("yes" if cause.get("needed", True) else "no")]
        for cause in causes
    ]
    return [
        Text(f"{sentence}{'' if words.lang == 'zh' else ' '}{rest}", "lead"),
        Table([words("cause"), words("rows"), words("score_needed")], rows),
    ]
