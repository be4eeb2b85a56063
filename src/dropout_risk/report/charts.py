"""The pictures of the report: curves by capacity, reliability, bars with intervals, a beeswarm.

Every picture says the same without colour: lines differ in dash and marker and carry their names, values are
written beside their bars, and the colours of the beeswarm run from light to dark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dropout_risk.report.figures import Estimate
from dropout_risk.report.svg import (
    BLUE,
    GRID,
    INK,
    MARKERS,
    SOFT,
    Canvas,
    Point,
    Scale,
    fitted,
    round_up,
    spread,
    text_width,
    ticks,
)

WIDTH = 880

BAND = "#d3def2"
BAR = "#8fabd8"

LINES = (
    (BLUE, "none"),
    ("#b8490f", "8 4"),
    ("#00755a", "2 3"),
    ("#7d3f98", "10 3 2 3"),
    ("#7a5b00", "14 4"),
    ("#6b7280", "1 4"),
    ("#9c2d4f", "5 2 1 2 1 2"),
)
"""Colour and dash of each line: told apart with any kind of colour vision, and on a grey printer."""

HEAT = ("#d98824", "#b7774f", "#8a5f70", "#53467a", "#14285a")
"""From low to high values: orange to blue, and from light to dark."""

HALO = {"stroke": "#fff", "paint_order": "stroke", "stroke_width": "4"}
"""Keeps text readable where a line passes behind it."""

Show = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """One line of a chart, with an interval around it where there is one.

    Attributes
    ----------
    label
        Written at the end of the line.
    points
        (x, y) in order of x.
    band
        (x, low, high) in order of x, or empty.
    """

    label: str
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart.

    Attributes
    ----------
    label, note
        The name, and what stands small beside it (how many students).
    cells
        One figure per panel; None where it is not known.
    instead
        Written in place of the figures, for a row that may not be shown.
    strong
        Whether the row stands out.
    """

    label: str
    note: str = ""
    cells: Sequence[Estimate | None] = ()
    instead: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Panel:
    """One column of a bar chart.

    Attributes
    ----------
    title
        What is measured, with its unit.
    show
        How a value is written.
    low, high
        Ends of the axis; with `low` below zero the values are points around zero.
    reference
        Where a dashed line stands, such as the figure of all students, and its name.
    """

    title: str
    show: Show
    low: float = 0.0
    high: float = 1.0
    reference: tuple[float, str] | None = None


@dataclass(frozen=True)
class Swarm:
    """One feature of a beeswarm: (contribution, percentile of the value from 0 to 1, or None) per student."""

    label: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Reliability:
    """Mean risk, share who left and its interval, number of students: one entry per bin, lowest risk first."""

    label: str
    bins: Sequence[tuple[float, Estimate, int]]


def curves(
    lines: Sequence[Curve],
    *,
    title: str,
    description: str,
    x_title: str,
    y_title: str,
    show: Show,
    mark: tuple[float, str] | None = None,
) -> str:
    """Draw lines whose names stand at their right ends.

    Parameters
    ----------
    lines
        The first is the model's and stands out.
    title, description
        For those who cannot see the picture.
    x_title, y_title
        With units.
    show
        How the values of both axes are written.
    mark
        An x value to point at, and its name.

    Returns
    -------
    str
        SVG.
    """
    key = min(260.0, max(text_width(line.label) for line in lines) + 52)
    canvas = Canvas(WIDTH, 430, title=title, description=description)
    x_high = max(x for line in lines for x, _ in line.points)
    y_high = round_up(max([y for line in lines for _, y in line.points] + [h for c in lines for *_, h in c.band]))
    x = Scale(0, x_high, 62, WIDTH - key - 14)
    y = Scale(0, y_high, 370, 42)
    canvas.y_axis(y, [(value, show(value)) for value in ticks(0, y_high)], (x.start, x.end), title=y_title)
    canvas.x_axis(x, [(value, show(value)) for value in ticks(0, x_high, 6)], (y.end, y.start), title=x_title)
    for line in lines:
        edge = [(x(at), y(high)) for at, _, high in line.band] + [(x(at), y(low)) for at, low, _ in reversed(line.band)]
        if edge:
            canvas.area(edge, fill=BAND)
    if mark:
        canvas.line(x(mark[0]), y.end, x(mark[0]), y.start, stroke=INK, stroke_dasharray="3 3")
        canvas.text(x(mark[0]) + 6, y.start - 8, mark[1], size=13)
    for place, line in reversed(list(enumerate(lines))):
        _curve(canvas, [(x(a), y(b)) for a, b in line.points], place)
    ends = spread([y(line.points[-1][1]) for line in lines], 21, y.end, y.start)
    for place, (line, at) in enumerate(zip(lines, ends, strict=True)):
        left = WIDTH - key
        colour, dash = LINES[place % len(LINES)]
        canvas.line(left, at, left + 34, at, stroke=colour, stroke_width=3 if place == 0 else 2, stroke_dasharray=dash)
        canvas.marker(MARKERS[place % len(MARKERS)], left + 17, at, colour=colour)
        weight = "bold" if place == 0 else "normal"
        canvas.text(left + 42, at + 5, fitted(line.label, key - 46), font_weight=weight, fill=colour)
    return canvas.markup()


def _curve(canvas: Canvas, points: Sequence[Point], place: int) -> None:
    colour, dash = LINES[place % len(LINES)]
    canvas.curve(points, stroke=colour, stroke_width=3 if place == 0 else 1.8, stroke_dasharray=dash)
    step = max(len(points) // 6, 1)
    for x, y in points[max((place * step) // 7, 1) :: step]:
        canvas.marker(MARKERS[place % len(MARKERS)], x, y, colour=colour)


def reliability(
    groups: Sequence[Reliability],
    *,
    title: str,
    description: str,
    x_title: str,
    y_title: str,
    show: Show,
    large: bool = False,
    counts: str = "",
    perfect: str = "",
) -> str:
    """Draw what happened against the risk that was given; on the diagonal both are the same.

    Parameters
    ----------
    groups
        One line each.
    title, description, x_title, y_title
        As in `curves`.
    show
        How the values of both axes are written.
    large
        Whether the first group gets its intervals and counts; else the picture is small and has a legend.
    counts
        Name of the strip that shows how many students each point stands for.
    perfect
        Name of the diagonal.

    Returns
    -------
    str
        SVG. Both axes follow the square root, since most risks are small.
    """
    width = 620 if large else 284
    plot = 380 if large else 205
    below = 136 if large else 58 + 21 * len(groups)
    canvas = Canvas(width, 40 + plot + below, title=title, description=description)
    ends = [max(risk, seen.value, (seen.high or 0) if large else 0) for group in groups for risk, seen, _ in group.bins]
    high = round_up(max(ends))
    x = Scale(0, high, 62 if large else 42, width - 20, root=True)
    y = Scale(0, high, 40 + plot, 40, root=True)
    marks = [(value, show(value)) for value in _root_ticks(high, 7 if large else 4)]
    canvas.y_axis(y, marks, (x.start, x.end), title=y_title)
    canvas.x_axis(x, marks, (y.end, y.start), title=x_title)
    canvas.line(x(0), y(0), x(high), y(high), stroke=SOFT, stroke_dasharray="6 4")
    if perfect:
        canvas.line(x.start + 16, y.end + 20, x.start + 50, y.end + 20, stroke=SOFT, stroke_dasharray="6 4")
        canvas.text(x.start + 58, y.end + 25, perfect, size=13, fill=SOFT)
    for place, group in enumerate(groups):
        colour, dash = LINES[place % len(LINES)]
        dots = [(x(risk), y(seen.value)) for risk, seen, _ in group.bins]
        canvas.curve(dots, stroke=colour, stroke_width=1.4, stroke_dasharray=dash)
        for (left, at), (_, seen, _) in zip(dots, group.bins, strict=True):
            if large and seen.low is not None and seen.high is not None:
                _whisker_upright(canvas, left, y(seen.low), y(seen.high))
            canvas.marker(MARKERS[place % len(MARKERS)], left, at, colour=colour)
    if large:
        _strip(canvas, groups[0], x, counts)
    else:
        _legend(canvas, [group.label for group in groups], y.start + 66)
    return canvas.markup()


def _root_ticks(high: float, count: int) -> list[float]:
    """Return round values whose square roots are spread about evenly."""
    found = [0.0]
    for value in (0.0025, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0):
        if value <= high and value**0.5 - found[-1] ** 0.5 > high**0.5 / (count + 2):
            found.append(value)
    return found


def _whisker_upright(canvas: Canvas, x: float, low: float, high: float) -> None:
    canvas.line(x, low, x, high, stroke_width=1.4)
    for end in (low, high):
        canvas.line(x - 4, end, x + 4, end, stroke_width=1.4)


def _strip(canvas: Canvas, group: Reliability, x: Scale, name: str) -> None:
    bottom = canvas.height - 8
    most = max((rows for *_, rows in group.bins), default=1)
    canvas.text(2, bottom - 46, name, size=13, fill=SOFT)
    canvas.text(x.start - 8, bottom - 28, f"{most:,.0f}", anchor="end", size=13, fill=SOFT)
    canvas.line(x.start, bottom - 34, x.end, bottom - 34, stroke=GRID)
    for risk, _, rows in group.bins:
        tall = 34 * rows / most
        canvas.rect(x(risk) - 4, bottom - tall, 8, tall, fill=BAR)
    canvas.line(x.start, bottom, x.end, bottom, stroke=SOFT)


def _legend(canvas: Canvas, labels: Sequence[str], top: float) -> None:
    for place, label in enumerate(labels):
        colour, dash = LINES[place % len(LINES)]
        at = top + 21 * place
        canvas.line(42, at, 72, at, stroke=colour, stroke_width=1.6, stroke_dasharray=dash)
        canvas.marker(MARKERS[place % len(MARKERS)], 57, at, colour=colour)
        canvas.text(80, at + 5, fitted(label, 196, 13), size=13, fill=colour)


def bars(
    rows: Sequence[Bar],
    panels: Sequence[Panel],
    *,
    title: str,
    description: str,
    heading: str = "",
    width: float = WIDTH,
    aligned_with: Sequence[Bar] = (),
) -> str:
    """Draw rows of bars, or of points around zero, with their intervals; one column of them per panel.

    Parameters
    ----------
    rows
        From top to bottom.
    panels
        From left to right; each row has a cell for each.
    title, description
        As in `curves`.
    heading
        Stands above the names of the rows.
    width
        Of the picture, in pixels.
    aligned_with
        Rows of other pictures, whose names get as much room.

    Returns
    -------
    str
        SVG.
    """
    top, step = 58 if any(panel.reference for panel in panels) else 40, 27
    canvas = Canvas(width, top + step * len(rows) + 34, title=title, description=description)
    names = min(max(0.3 * width, 200.0), max(text_width(row.label) for row in [*rows, *aligned_with]) + 12)
    notes = min(170.0, max(text_width(row.note, 13) for row in [*rows, *aligned_with]) + 16)
    left = max(names + notes, text_width(heading) + 16 if panels[0].title else 0)
    each = (width - left - 36 * (len(panels) - 1)) / len(panels)
    bottom = canvas.height - 30
    canvas.text(2, 22, heading, font_weight="bold")
    for place, panel in enumerate(panels):
        start = left + place * (each + 36)
        scale = Scale(panel.low, panel.high, start, start + each - 52)
        canvas.text(start, 22, fitted(panel.title, each + 20), font_weight="bold")
        marks = [(value, panel.show(value)) for value in ticks(panel.low, panel.high, 4)]
        canvas.x_axis(scale, marks, (top - 4, bottom))
        if panel.low < 0:
            canvas.line(scale(0), top - 4, scale(0), bottom, stroke=SOFT, stroke_width=1.4)
        if panel.reference:
            at, name = scale(panel.reference[0]), panel.reference[1]
            canvas.line(at, top - 8, at, bottom, stroke=INK, stroke_dasharray="4 3")
            canvas.text(at, top - 12, name, size=12, fill=SOFT, anchor="middle")
        for number, row in enumerate(rows):
            _cell(canvas, row, panel, place, scale, top + step * (number + 0.5))
    for number, row in enumerate(rows):
        base = top + step * (number + 0.5) + 5
        canvas.text(2, base, fitted(row.label, names - 8), font_weight="bold" if row.strong else "normal")
        canvas.text(left - 14, base, fitted(row.note, notes), anchor="end", size=13, fill=SOFT)
    return canvas.markup()


def _cell(canvas: Canvas, row: Bar, panel: Panel, place: int, scale: Scale, middle: float) -> None:
    if row.instead:
        canvas.text(scale.start + 6, middle + 5, row.instead, size=13, fill=SOFT, font_style="italic", **HALO)
        return
    cell = row.cells[place]
    if cell is None:
        canvas.text(scale.start + 6, middle + 5, "—", fill=SOFT)
        return
    around_zero = panel.low < 0
    if not around_zero:
        length = scale(cell.value) - scale.start
        canvas.rect(scale.start, middle - 8, length, 16, fill=BLUE if row.strong else BAR)
    if cell.low is not None and cell.high is not None:
        low, high = scale(cell.low), scale(cell.high)
        if row.strong and not around_zero:
            canvas.line(low, middle, high, middle, stroke="#fff", stroke_width=4)
        canvas.line(low, middle, high, middle, stroke_width=1.6)
        for end in (low, high):
            canvas.line(end, middle - 4.5, end, middle + 4.5, stroke_width=1.6)
    if around_zero:
        canvas.marker("diamond", scale(cell.value), middle, colour=BLUE)
    ends = [scale(value) for value in (cell.value, cell.high) if value is not None]
    canvas.text(max(ends) + 7, middle + 5, panel.show(cell.value), size=13, **HALO)


def beeswarm(
    features: Sequence[Swarm],
    *,
    title: str,
    description: str,
    x_title: str,
    legend: tuple[str, str, str],
) -> str:
    """Draw one dot per student and feature: to the right where the feature raises the risk.

    Parameters
    ----------
    features
        The strongest first.
    title, description, x_title
        As in `curves`.
    legend
        Words for a low value, a high value, and a value that was not recorded.

    Returns
    -------
    str
        SVG.
    """
    top, step = 44, 40
    canvas = Canvas(WIDTH, top + step * len(features) + 56, title=title, description=description)
    left = min(280.0, max(text_width(feature.label) for feature in features) + 20)
    found = [contribution for feature in features for contribution, _ in feature.points]
    reach = max(max(found) - min(found), 1e-6) * 0.03
    scale = Scale(min(0.0, *found) - reach, max(0.0, *found) + reach, left, WIDTH - 14)
    bottom = top + step * len(features)
    canvas.x_axis(
        scale, [(value, f"{value:g}".replace("-", "−")) for value in ticks(scale.low, scale.high, 7)],
        (top - 6, bottom), title=x_title,
    )  # fmt: skip
    canvas.line(scale(0), top - 6, scale(0), bottom, stroke=SOFT, stroke_width=1.4)
    for number, feature in enumerate(features):
        middle = top + step * (number + 0.5)
        canvas.line(left, middle + step / 2, scale.end, middle + step / 2, stroke=GRID)
        canvas.text(2, middle + 5, fitted(feature.label, left - 12))
        _swarm(canvas, feature, scale, middle, step / 2 - 4)
    _heat_legend(canvas, legend, scale.end)
    return canvas.markup()


def _swarm(canvas: Canvas, feature: Swarm, scale: Scale, middle: float, room: float) -> None:
    """Stack the dots of each narrow slice away from the middle of the row, alternately up and down."""
    slices: dict[int, list[tuple[float, float | None]]] = {}
    for contribution, percentile in sorted(feature.points, key=lambda point: (point[0], point[1] or 0.0)):
        slices.setdefault(round(scale(contribution) / 3), []).append((scale(contribution), percentile))
    tallest = max(map(len, slices.values()), default=1)
    gap = min(3.4, 2 * room / max(tallest, 1))
    shades: dict[int | None, list[Point]] = {}
    for dots in slices.values():
        for place, (x, percentile) in enumerate(dots):
            offset = (place + 1) // 2 * gap * (1 if place % 2 else -1)
            shade = None if percentile is None else min(int(percentile * len(HEAT)), len(HEAT) - 1)
            shades.setdefault(shade, []).append((x, middle + offset))
    for x, y in shades.pop(None, []):
        canvas.marker("cross", x, y, colour=SOFT, size=2.2)
    for shade in sorted(shade for shade in shades if shade is not None):
        canvas.dots(shades[shade], size=4.6, colour=HEAT[shade])


def _heat_legend(canvas: Canvas, words: tuple[str, str, str], right: float) -> None:
    low, high, missing = words
    x = right - text_width(missing, 13)
    canvas.text(x, 20, missing, size=13)
    canvas.marker("cross", x - 12, 15.5, colour=SOFT, size=3.5)
    x -= 44 + text_width(high, 13)
    canvas.text(x, 20, high, size=13)
    for place, colour in enumerate(reversed(HEAT)):
        canvas.dots([(x - 16 - 17 * place, 15.5)], size=12, colour=colour)
    canvas.text(x - 28 - 17 * (len(HEAT) - 1), 20, low, size=13, anchor="end")
