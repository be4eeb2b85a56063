"""Whether the risks hold what they say, and for whom: reliability, terms and places, groups of students."""

from collections.abc import Sequence

from dropout_risk.intervals import MIN_CELL_EVENTS, MIN_CELL_ROWS
from dropout_risk.report import charts
from dropout_risk.report.charts import Bar, Panel, Reliability
from dropout_risk.report.figures import Estimate, Figures, headline_key
from dropout_risk.report.page import Block, Heading, Picture, Section, Table, Text
from dropout_risk.report.svg import round_up
from dropout_risk.report.words import Words

MAX_LINES = 6
"""More levels than this would make a small reliability picture unreadable; the table has all."""

MAX_BARS = 30
"""More rows than this fit on no page; the table has all."""


def reliability(figures: Figures, words: Words) -> Section:
    """Return the risk given against the share who left, for all students and by group."""
    evaluation: Figures = figures.get("evaluation") or {}
    groups = _bins(evaluation.get("calibration") or [], words)
    overall = groups.pop("all", [])
    if not overall:
        return Section("reliability", words("reliability"), [Text(words("reliability_none"), "missing")])
    confidence = words.percent(evaluation.get("confidence"))
    blocks: list[Block] = [Text(words("reliability_lead", confidence=confidence))]
    if ece := Estimate.of((evaluation.get("metrics") or {}).get("ece")):
        inside = words.interval(ece, words.share, evaluation.get("confidence"))
        blocks.append(Text(words("ece_sentence", ece=words.share(ece.value), range=inside)))
    blocks.append(_reliability_picture({"all": overall}, words))
    small = {name: found for name, found in groups.items() if 0 < len(found) <= MAX_LINES}
    if small:
        blocks += [Heading(words("reliability_groups")), _reliability_picture(small, words)]
    return Section("reliability", words("reliability"), blocks)


def _bins(rows: Sequence[Figures], words: Words) -> dict[str, list[Reliability]]:
    """Return for each audit column one series per value, without suppressed cells."""
    found: dict[str, dict[str, list[tuple[float, Estimate, int]]]] = {}
    for row in rows:
        seen = Estimate.of({**row, "value": row.get("observed")})
        if not row.get("suppressed") and seen and row.get("mean_risk") is not None:
            series = found.setdefault(row["column"], {}).setdefault(row["level"], [])
            series.append((row["mean_risk"], seen, row.get("rows") or 0))
    return {
        column: [
            Reliability(words.level(column, level), sorted(bins, key=lambda b: b[0])) for level, bins in levels.items()
        ]
        for column, levels in found.items()
    }


def _reliability_picture(columns: dict[str, list[Reliability]], words: Words) -> Picture:
    whole = "all" in columns
    svgs = []
    for column, groups in columns.items():
        name = words("reliability_picture") if whole else words("reliability_by", column=words.column(column))
        svgs.append(
            charts.reliability(
                groups,
                title=name,
                description=words("lines_described", names=words.joined(group.label for group in groups))
                if not whole else words("root_note"),
                x_title=words("mean_risk"),
                y_title=words("observed") if whole else words.column(column),
                show=words.percent,
                large=whole,
                counts=words("rows") if whole else "",
                perfect=words("perfect") if whole else "",
            )
        )  # fmt: skip
    table = _bin_table(columns["all"][0], words) if whole else _bins_table(columns, words)
    title = words("reliability_picture") if whole else ""
    note = words("root_note") if whole else f"{words('mean_risk')} → {words('observed')} ↑"
    return Picture(title, svgs, table, note=note, across=1 if whole else 3)


def _bin_table(group: Reliability, words: Words) -> Table:
    rows = [
        [str(place), words.count(n), words.share(risk), words.with_range(seen, words.share)]
        for place, (risk, seen, n) in enumerate(group.bins, start=1)
    ]
    return Table([words("bin"), words("rows"), words("mean_risk"), words("observed")], rows)


def _bins_table(columns: dict[str, list[Reliability]], words: Words) -> Table:
    """Return one row per group; a cell holds a bin."""
    every = [(column, group) for column, groups in columns.items() for group in groups]
    most = max(len(group.bins) for _, group in every)
    rows = []
    for column, group in every:
        cells = [words("bin_cell", risk=words.share(r), seen=words.share(seen.value)) for r, seen, _ in group.bins]
        name = words("cell", column=words.column(column), level=group.label)
        rows.append([name, *cells, *[""] * (most - len(cells))])
    heads = [words("bin_number", n=place + 1) for place in range(most)]
    return Table([words("group"), *heads], rows, caption=words("bins_caption"))


def places(figures: Figures, words: Words) -> Section:
    """Return the same figures by term, by place, and for places that the model never saw."""
    evaluation: Figures = figures.get("evaluation") or {}
    share = f"{headline_key(evaluation)}\u00a0%"
    blocks: list[Block] = [Text(words("places_lead", share=share))]
    for part, unit in (("per_term", "term"), ("per_place", "county")):
        blocks.append(Heading(words(part)))
        rows: Sequence[Figures] = evaluation.get(part) or []
        key = "term" if part == "per_term" else "place"
        blocks += _by_unit(rows, key, words(unit), words(part), evaluation, words) if rows else [
            Text(words(f"{part}_none"), "missing")
        ]  # fmt: skip
    blocks.append(Heading(words("held_out")))
    blocks += _held_out(figures.get("held_out"), evaluation, words)
    return Section("places", words("places"), blocks)


def _by_unit(
    rows: Sequence[Figures], key: str, heading: str, title: str, evaluation: Figures, words: Words
) -> list[Block]:
    capacity = headline_key(evaluation)
    names = (f"recall_at_{capacity}", f"precision_at_{capacity}")
    table = Table(
        [heading, words("rows"), words("events"), *map(words.metric, (*names, "auc", "ece"))],
        [
            [str(row.get(key)), words("too_few"), *[""] * 5]
            if row.get("suppressed")
            else [
                str(row.get(key)),
                words.count(row.get("rows")),
                words.count(row.get("events")),
                *(words.with_range(Estimate.of(row, name), words.percent) for name in names),
                words.number(row.get("auc")),
                words.number(row.get("ece")),
            ]
            for row in rows
        ],
    )
    if len(rows) > MAX_BARS:
        return [table]
    bars = [_bar(str(row.get(key)), row, names, words) for row in rows]
    panels = [
        Panel(words(axis), words.percent, high=_reach(bars, place), reference=_overall(evaluation, name, words))
        for place, (axis, name) in enumerate(zip(("found_share", "precision_share"), names, strict=True))
    ]
    picture = charts.bars(bars, panels, title=title, description=words("places_described"), heading=heading)
    return [Picture("", [picture], table)]


def _bar(label: str, row: Figures, names: Sequence[str], words: Words) -> Bar:
    if row.get("suppressed"):
        return Bar(label, instead=words("too_few"))
    note = words("group_n", rows=words.count(row.get("rows")), events=words.count(row.get("events")))
    return Bar(label, note, [Estimate.of(row, name) for name in names])


def _reach(bars: Sequence[Bar], place: int) -> float:
    cells = [bar.cells[place] for bar in bars if bar.cells]
    ends = [value for cell in cells if cell for value in (cell.value, cell.high) if value is not None]
    return min(1.0, round_up(max(ends, default=1.0)))


def _overall(evaluation: Figures, name: str, words: Words) -> tuple[float, str] | None:
    whole = Estimate.of((evaluation.get("metrics") or {}).get(name))
    return None if whole is None else (whole.value, words("all_students", value=words.percent(whole.value)))


def _held_out(held_out: Figures | None, evaluation: Figures, words: Words) -> list[Block]:
    if not held_out or not held_out.get("evaluation"):
        return [Text(words("held_out_none"), "missing")]
    unseen: Figures = held_out["evaluation"]
    key = headline_key(evaluation)
    unit = words(f"unit_{held_out.get('unit', 'school')}")
    lead = words("held_out_lead", places=words.count(held_out.get("places")), unit=unit)
    rows = [
        [
            words.metric(name),
            *(
                words.with_range(Estimate.of((found.get("metrics") or {}).get(name)), show)
                for found in (evaluation, unseen)
            ),
        ]
        for name, show in (
            (f"recall_at_{key}", words.percent),
            (f"precision_at_{key}", words.percent),
            ("average_precision", words.number),
            ("auc", words.number),
            ("ece", words.number),
        )
    ]
    return [Text(lead), Table([words("figure"), words("seen_places"), words("unseen_places")], rows)]


def groups(figures: Figures, words: Words) -> Section:
    """Return who is found and who is listed without need, group by group, under one list for all."""
    evaluation: Figures = figures.get("evaluation") or {}
    rows: Sequence[Figures] = evaluation.get("per_group") or []
    if not rows:
        return Section("groups", words("groups"), [Text(words("groups_none"), "missing")])
    lead = words(
        "groups_lead",
        share=f"{headline_key(evaluation)}\u00a0%",
        confidence=words.percent(evaluation.get("confidence")),
        rows=MIN_CELL_ROWS,
        events=MIN_CELL_EVENTS,
    )
    by_column: dict[str, list[Figures]] = {}
    for row in rows:
        by_column.setdefault(row["column"], []).append(row)
    drawn = {name: cells for name, cells in by_column.items() if len(cells) <= MAX_BARS}
    blocks: list[Block] = [
        Text(lead),
        Picture(words("groups_picture"), _group_bars(drawn, evaluation, words), _group_table(rows, words)),
        Heading(words("gap")),
        Text(words("gap_lead")),
        Picture("", _gaps(drawn, words), _gap_table(rows, words), note=words("gap_axis"), across=2),
    ]
    return Section("groups", words("groups"), blocks)


def _group_bars(by_column: dict[str, list[Figures]], evaluation: Figures, words: Words) -> list[str]:
    names = ("recall", "false_alarm_share")
    key = headline_key(evaluation)
    found = {
        column: [_bar(words.level(column, row["level"]), row, names, words) for row in rows]
        for column, rows in by_column.items()
    }
    every = [bar for bars in found.values() for bar in bars]
    whole = _overall(evaluation, f"recall_at_{key}", words)
    hits = _overall(evaluation, f"precision_at_{key}", words)
    stayed = None if hits is None else (1 - hits[0], words("all_students", value=words.percent(1 - hits[0])))
    panels = [
        Panel(words("recall_axis"), words.percent, high=_reach(every, 0), reference=whole),
        Panel(words("false_alarm_axis"), words.percent, high=_reach(every, 1), reference=stayed),
    ]
    return [
        charts.bars(
            bars, panels, title=words("groups_by", column=words.column(column)),
            description=words("groups_described"), heading=words.column(column),
            aligned_with=every,
        )
        for column, bars in found.items()
    ]  # fmt: skip


def _group_table(rows: Sequence[Figures], words: Words) -> Table:
    columns = (
        "group",
        "rows",
        "events",
        "base_rate",
        "listed",
        "recall_axis",
        "false_alarm_axis",
        "false_positive_rate",
    )
    return Table(
        [words(name) for name in columns],
        [
            [words.cell(row["column"], row["level"]), words("too_few"), *[""] * 6]
            if row.get("suppressed")
            else [
                words.cell(row["column"], row["level"]),
                words.count(row.get("rows")),
                words.count(row.get("events")),
                words.percent(row.get("base_rate")),
                words.count(row.get("listed")),
                words.with_range(Estimate.of(row, "recall"), words.share),
                words.with_range(Estimate.of(row, "false_alarm_share"), words.share),
                words.percent(row.get("false_positive_rate")),
            ]
            for row in rows
        ],
    )


def _gaps(by_column: dict[str, list[Figures]], words: Words) -> list[str]:
    found = {
        column: [
            Bar(words.level(column, row["level"]), instead=words("too_few") if row.get("suppressed") else "",
                cells=[Estimate.of(row, "calibration_gap")])
            for row in rows
        ]
        for column, rows in by_column.items()
    }  # fmt: skip
    every = [bar for bars in found.values() for bar in bars]
    cells = [bar.cells[0] for bar in every]
    ends = [abs(end) for cell in cells if cell for end in (cell.value, cell.low, cell.high) if end is not None]
    reach = round_up(max(ends, default=0.01))
    panel = Panel("", words.points, low=-reach, high=reach)
    return [
        charts.bars(
            bars, [panel], title=words("gap_by", column=words.column(column)), description=words("gap_lead"),
            heading=words.column(column), width=430, aligned_with=every,
        )
        for column, bars in found.items()
    ]  # fmt: skip


def _gap_table(rows: Sequence[Figures], words: Words) -> Table:
    return Table(
        [words("group"), words("mean_risk"), words("base_rate_axis"), words("gap_axis")],
        [
            [words.cell(row["column"], row["level"]), words("too_few"), "", ""]
            if row.get("suppressed")
            else [
                words.cell(row["column"], row["level"]),
                words.share(row.get("mean_risk")),
                words.share(row.get("base_rate")),
                words.with_range(Estimate.of(row, "calibration_gap"), words.points),
            ]
            for row in rows
        ],
    )
