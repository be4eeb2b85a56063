"""The first pages: the verdict, what the list is worth, what else could be done with the same room."""

from collections.abc import Sequence
from typing import Any

from dropout_risk.report import charts
from dropout_risk.report.charts import Bar, Curve, Panel
from dropout_risk.report.figures import Estimate, Figures, headline_key, rows_with
from dropout_risk.report.listing import listing_blocks
from dropout_risk.report.page import Block, Heading, Picture, Section, Table, Text, Tiles, Verdict
from dropout_risk.report.svg import round_up
from dropout_risk.report.words import Words

LOSSES = ("brier", "log_loss", "ece")

TELLING_TIES = 0.005
"""Ties that move what the list finds by less than this are not worth a sentence."""

TABLE_SHARES = (0.01, 0.02, 0.03, 0.05, 0.10, 0.15, 0.20, 0.30)
"""Sizes of the list in the table beside the yield curve; the picture shows all."""


def first_lines(figures: Figures, words: Words) -> list[Block]:
    """Return what stands above everything else: the verdict, and the alarms that forbid to trust it."""
    evaluation: Figures = figures.get("evaluation") or {}
    alarms = [words("alarm_first", alarm=words.pick(alarm)) for alarm in figures.get("alarms") or []]
    verdict = words.pick(evaluation.get("verdict"), words("no_verdict"))
    return [Verdict(verdict), *(Text(alarm, "alarm") for alarm in alarms)]


def worth(figures: Figures, words: Words) -> Section:
    """Return the value of the list at the headline capacity, and of the list at hand."""
    evaluation: Figures = figures.get("evaluation") or {}
    blocks: list[Block] = []
    if evaluation.get("metrics"):
        blocks.append(Text(words("worth_lead", share=f"{headline_key(evaluation)}\u00a0%"), "lead"))
        blocks.append(_tiles(evaluation, words))
        blocks += _ties(evaluation, words)
    else:
        blocks.append(Text(words("no_verdict"), "missing"))
    if figures.get("listing"):
        blocks += listing_blocks(figures["listing"], words)
    return Section("worth", words("worth"), blocks)


def _tiles(evaluation: Figures, words: Words) -> Tiles:
    key, confidence = headline_key(evaluation), evaluation.get("confidence")
    precision = Estimate.of(evaluation["metrics"].get(f"precision_at_{key}"))
    recall = Estimate.of(evaluation["metrics"].get(f"recall_at_{key}"))
    items = [
        (words.people(precision.value if precision else None), words("tile_precision"),
         words.interval(precision, words.people, confidence)),
        (words.percent(recall.value if recall else None), words("tile_recall"),
         words.interval(recall, words.percent, confidence)),
        (words.people(evaluation.get("base_rate")), words("tile_random"), ""),
    ]  # fmt: skip
    rows, base_rate = evaluation.get("rows"), evaluation.get("base_rate")
    if recall and rows and base_rate is not None:
        missed = 1 - recall.value
        text = words("tile_missed", share=words.percent(missed))
        items.append((words.count(missed * rows * base_rate), text, ""))
    return Tiles(items)


def _ties(evaluation: Figures, words: Words) -> list[Block]:
    cut: Figures = ((evaluation.get("ties") or {}).get("model") or {}).get(headline_key(evaluation)) or {}
    if not cut.get("ties") or not rows_with([cut], "recall_worst", "recall_best"):
        return []
    if cut["recall_best"] - cut["recall_worst"] <= TELLING_TIES:
        return []
    ends = {"worst": words.percent(cut["recall_worst"]), "best": words.percent(cut["recall_best"])}
    return [Text(words("ties_note", n=words.count(cut["ties"]), **ends))]


def baselines(figures: Figures, words: Words) -> Section:
    """Return the model beside the simple rules and the standard models, at the same capacity."""
    evaluation: Figures = figures.get("evaluation") or {}
    share = f"{headline_key(evaluation)}\u00a0%"
    blocks: list[Block] = [Text(words("baselines_lead", share=share))]
    blocks += _rules(evaluation, words) if evaluation.get("rules") else [Text(words("baselines_none"), "missing")]
    blocks.append(Heading(words("peers")))
    blocks.append(_peers(evaluation, words) if evaluation.get("peers") else Text(words("peers_none"), "missing"))
    return Section("baselines", words("baselines"), blocks)


def _rules(evaluation: Figures, words: Words) -> list[Block]:
    key = headline_key(evaluation)
    recall, precision = f"recall_at_{key}", f"precision_at_{key}"
    found = {"model": evaluation.get("metrics") or {}, **evaluation["rules"]}
    bars, rows = [], []
    for name, metrics in found.items():
        both = [Estimate.of(metrics.get(metric)) for metric in (recall, precision)]
        bars.append(Bar(words.ranking(name), cells=both, strong=name == "model"))
        difference = Estimate.of((evaluation.get("differences") or {}).get(name, {}).get(recall))
        beside = (
            ["", ""] if name == "model" else [words.with_range(difference, words.points), _in_words(difference, words)]
        )
        rows.append([words.ranking(name), *(words.with_range(one, words.share) for one in both), *beside])
    columns = [words("rule"), words("found_share"), words("precision_share"), words("minus_it"), words("judgement")]
    panels = [_panel(words(title), bars, i, words) for i, title in enumerate(("found_share", "precision_share"))]
    title = words("baselines_picture")
    described = words("lines_described", names=words.joined(bar.label for bar in bars))
    table = Table(columns, rows, first_strong=True)
    picture = charts.bars(bars, panels, title=title, description=described, heading=words("rule"))
    return [table, Picture(title, [picture])]


def _panel(title: str, bars: Sequence[Bar], place: int, words: Words) -> Panel:
    cells = [bar.cells[place] for bar in bars]
    ends = [value for cell in cells if cell for value in (cell.value, cell.high) if value is not None]
    return Panel(title, words.percent, high=min(1.0, round_up(max(ends, default=1.0))))


def _in_words(difference: Estimate | None, words: Words) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return words("interval_unknown")
    return words("better" if difference.low > 0 else "worse" if difference.high < 0 else "unclear")


def _peers(evaluation: Figures, words: Words) -> Table:
    key = headline_key(evaluation)
    names = ("auc", "average_precision", f"recall_at_{key}", f"precision_at_{key}", "ece", "log_loss")
    rows = []
    for peer, metrics in {"model": evaluation.get("metrics") or {}, **evaluation["peers"]}.items():
        shown = [words.number((metrics.get(name) or {}).get("value")) for name in names]
        difference = Estimate.of((evaluation.get("differences") or {}).get(peer, {}).get("average_precision"))
        rows.append(
            [words.ranking(peer), *shown, "" if peer == "model" else words.with_range(difference, words.signed)]
        )
    columns = [words("model_column"), *map(words.metric, names), words("ap_difference")]
    return Table(columns, rows, first_strong=True)


def yield_curve(figures: Figures, words: Words) -> Section:
    """Return what lists of other lengths find: the model, the rules and chance."""
    evaluation: Figures = figures.get("evaluation") or {}
    points = rows_with(evaluation.get("yield_curve"), "share", "recall")
    if not points:
        return Section("yield", words("yield"), [Text(words("yield_none"), "missing")])
    lines = [
        Curve(
            words.ranking(name),
            [(0.0, 0.0), *((row["share"], row["recall"]) for row in rows)],
            _band(rows) if name == "model" else (),
        )
        for name, rows in _by_name(points).items()
    ]
    share = float(headline_key(evaluation)) / 100
    picture = charts.curves(
        lines,
        title=words("yield_picture"),
        description=words("lines_described", names=words.joined(line.label for line in lines)),
        x_title=words("share_listed"),
        y_title=words("found_share"),
        show=words.percent,
        mark=(share, words("your_room", share=words.percent(share))),
    )
    table = _yield_table(points, words)
    note = Text(words("yield_lead"))
    return Section("yield", words("yield"), [note, Picture(words("yield_picture"), [picture], table)])


def _band(rows: Sequence[Figures]) -> list[tuple[float, float, float]]:
    known = rows_with(rows, "recall_low", "recall_high")
    return [(row["share"], row["recall_low"], row["recall_high"]) for row in known]


def _by_name(points: Sequence[Figures]) -> dict[str, list[Figures]]:
    """Return the points of each ranking, the model's first."""
    found: dict[str, list[Figures]] = {"model": []}
    for row in points:
        found.setdefault(row["name"], []).append(row)
    return {name: rows for name, rows in found.items() if rows}


def _yield_table(points: Sequence[Figures], words: Words) -> Table:
    by_name = {name: {round(row["share"], 4): row for row in rows} for name, rows in _by_name(points).items()}
    shares = [share for share in TABLE_SHARES if any(share in rows for rows in by_name.values())]
    first = next(iter(by_name.values()))
    rows = [
        [
            words.percent(share),
            words.count(first.get(share, {}).get("listed")),
            *(words.share(found.get(share, {}).get("recall")) for found in by_name.values()),
        ]
        for share in shares
    ]
    columns = [words("room"), words("listed"), *map(words.ranking, by_name)]
    return Table(columns, rows, caption=words("found_share"))


def precision_recall(figures: Figures, words: Words) -> Section:
    """Return precision against recall, for the model and the rules."""
    evaluation: Figures = figures.get("evaluation") or {}
    points = rows_with(evaluation.get("precision_recall"), "recall", "precision")
    if not points:
        return Section("pr", words("pr"), [Text(words("pr_none"), "missing")])
    by_name = _by_name(points)
    lines = [
        Curve(words.ranking(name), [(r["recall"], r["precision"]) for r in rows]) for name, rows in by_name.items()
    ]
    picture = charts.curves(
        lines,
        title=words("pr_picture"),
        description=words("lines_described", names=words.joined(line.label for line in lines)),
        x_title=words("found_share"),
        y_title=words("precision_share"),
        show=words.percent,
    )
    grid = [share / 10 for share in range(1, 11)]
    rows = [[words.percent(at), *(words.share(_nearest(found, at)) for found in by_name.values())] for at in grid]
    table = Table([words("word_recall"), *map(words.ranking, by_name)], rows, caption=words("precision_share"))
    return Section("pr", words("pr"), [Text(words("pr_lead")), Picture(words("pr_picture"), [picture], table)])


def _nearest(rows: Sequence[Figures], recall: float) -> float | None:
    """Return the precision at the first point that finds at least so many."""
    reached: list[Any] = [row["precision"] for row in rows if row["recall"] >= recall - 1e-9]
    return reached[0] if reached else None
