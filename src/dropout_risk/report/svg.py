"""Small pieces of SVG: a canvas, scales, axes and markers, as plain text that a browser sets in its own fonts.

The text stays text: it can be searched, read aloud and printed sharp, and Chinese needs no font in the file.
"""

import math
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

INK = "#1a1f27"
SOFT = "#59626f"
GRID = "#dfe3e8"
BLUE = "#0b3d91"

Point = tuple[float, float]

MARKERS = ("circle", "square", "triangle", "diamond", "cross", "plus", "ring")
"""Shapes that are told apart without colour."""


@dataclass(frozen=True)
class Scale:
    """Places the values `low` to `high` between the pixels `start` and `end`.

    With `root`, distances follow the square root of the value, which gives small shares more room.

    Examples
    --------
    >>> Scale(0, 10, 100, 200)(5)
    150.0
    >>> Scale(0, 1, 0, 100, root=True)(0.25)
    50.0
    """

    low: float
    high: float
    start: float
    end: float
    root: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`; values beyond the ends stay at the ends."""
        inside = min(max(value, self.low), self.high)
        part = (self._bent(inside) - self._bent(self.low)) / (self._bent(self.high) - self._bent(self.low))
        return self.start + part * (self.end - self.start)

    def _bent(self, value: float) -> float:
        return math.sqrt(value) if self.root else value


class Canvas:
    """One SVG picture with a title and a description for those who cannot see it.

    Parameters
    ----------
    width, height
        In pixels; the page may scale the picture.
    title, description
        Read aloud in place of the picture.

    Examples
    --------
    >>> canvas = Canvas(100, 20, title="A line", description="From left to right.")
    >>> canvas.line(0, 10, 100, 10)
    >>> 'role="img"' in canvas.markup()
    True
    """

    def __init__(self, width: float, height: float, *, title: str, description: str) -> None:
        self.width = width
        self.height = height
        shape = {"viewBox": f"0 0 {_number(width)} {_number(height)}", "width": _number(width)}
        self._root = ET.Element("svg", {**shape, "height": _number(height), "role": "img", "aria-label": title})
        ET.SubElement(self._root, "title").text = title
        ET.SubElement(self._root, "desc").text = description

    def add(self, shape: str, text: str | None = None, /, **attributes: str | float) -> None:
        """Add an element, with text in it or none; underscores in the names of attributes become hyphens."""
        plain = {name.replace("_", "-"): _number(value) for name, value in attributes.items()}
        ET.SubElement(self._root, shape, plain).text = text

    def line(self, x1: float, y1: float, x2: float, y2: float, *, stroke: str = INK, **more: str | float) -> None:
        """Add a straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, **more)

    def rect(self, x: float, y: float, width: float, height: float, *, fill: str, **more: str | float) -> None:
        """Add a filled rectangle."""
        self.add("rect", x=x, y=y, width=max(width, 0), height=max(height, 0), fill=fill, **more)

    def curve(self, points: Sequence[Point], *, stroke: str, **more: str | float) -> None:
        """Add a line through all points."""
        self.add("path", d=_through(points), fill="none", stroke=stroke, stroke_linejoin="round", **more)

    def area(self, points: Sequence[Point], *, fill: str, **more: str | float) -> None:
        """Add a filled area within all points."""
        self.add("path", d=_through(points) + "Z", fill=fill, **more)

    def dots(self, points: Iterable[Point], *, size: float, colour: str) -> None:
        """Add many round dots as one element."""
        d = "".join(f"M{_number(x)} {_number(y)}h0" for x, y in points)
        if d:
            self.add("path", d=d, stroke=colour, stroke_width=size, stroke_linecap="round")

    def marker(self, shape: str, x: float, y: float, *, colour: str, size: float = 4.5) -> None:
        """Add one of `MARKERS` with its middle at (x, y)."""
        outlines: dict[str, list[Point]] = {
            "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
            "triangle": [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
            "diamond": [(0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)],
        }
        strokes: dict[str, list[tuple[Point, Point]]] = {
            "cross": [((-1, -1), (1, 1)), ((-1, 1), (1, -1))],
            "plus": [((-1.2, 0), (1.2, 0)), ((0, -1.2), (0, 1.2))],
        }
        if shape in outlines:
            self.area([(x + size * dx, y + size * dy) for dx, dy in outlines[shape]], fill=colour)
        elif shape in strokes:
            for (ax, ay), (bx, by) in strokes[shape]:
                ends = (x + size * ax, y + size * ay, x + size * bx, y + size * by)
                self.line(*ends, stroke=colour, stroke_width=2)
        else:
            fill = "#fff" if shape == "ring" else colour
            self.add("circle", cx=x, cy=y, r=size, fill=fill, stroke=colour, stroke_width=1.5)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: float = 14,
        fill: str = INK,
        **more: str | float,
    ) -> None:
        """Add text whose baseline starts, ends or has its middle at (x, y)."""
        self.add("text", text, x=x, y=y, text_anchor=anchor, font_size=size, fill=fill, **more)

    def x_axis(self, scale: Scale, ticks: Sequence[tuple[float, str]], y: Point, *, title: str = "") -> None:
        """Add an axis at the bottom of the band `y` (top, bottom), with grid lines up to its top."""
        top, bottom = y
        for value, label in ticks:
            at = scale(value)
            self.line(at, top, at, bottom, stroke=GRID)
            self.line(at, bottom, at, bottom + 5, stroke=SOFT)
            self.text(at, bottom + 20, label, anchor="middle", size=13, fill=SOFT)
        self.line(scale.start, bottom, scale.end, bottom, stroke=SOFT)
        if title:
            self.text((scale.start + scale.end) / 2, bottom + 42, title, anchor="middle")

    def y_axis(self, scale: Scale, ticks: Sequence[tuple[float, str]], x: Point, *, title: str) -> None:
        """Add an axis at the left of the band `x` (left, right); its title stands above it, upright."""
        left, right = x
        for value, label in ticks:
            at = scale(value)
            self.line(left, at, right, at, stroke=GRID)
            self.text(left - 8, at + 4.5, label, anchor="end", size=13, fill=SOFT)
        self.line(left, scale.start, left, scale.end, stroke=SOFT)
        self.text(2, scale.end - 14, title)

    def markup(self) -> str:
        """Return the picture as SVG."""
        return ET.tostring(self._root, encoding="unicode")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values from `low` to `high`, about `count` of them.

    Examples
    --------
    >>> ticks(0, 0.4)
    [0.0, 0.1, 0.2, 0.3, 0.4]
    >>> ticks(-2, 2, 4)
    [-2, -1, 0, 1, 2]
    """
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = min((unit * n for n in (1, 2, 2.5, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [round(step * n, 10) + 0.0 for n in range(first, last + 1)]
    return [int(value) for value in values] if step >= 1 and step == int(step) else values


def round_up(value: float) -> float:
    """Return the next round number at or above `value`, an end for an axis.

    Examples
    --------
    >>> round_up(0.31), round_up(0.07), round_up(0.0)
    (0.4, 0.08, 1.0)
    """
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(round(unit * n, 10) for n in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if unit * n >= value * (1 - 1e-9))


def text_width(text: str, size: float = 14) -> float:
    """Return about how wide a text is set: Chinese characters are square, others half as wide or a little more."""
    return size * sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.53 for character in text)


def fitted(text: str, width: float, size: float = 14) -> str:
    """Return the text, cut with an ellipsis where it would be wider than `width`.

    Examples
    --------
    >>> fitted("a long name of a column", 80), fitted("短", 80)
    ('a long na…', '短')
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places near the wanted ones, in their order, at least `gap` apart and within bounds.

    Examples
    --------
    >>> spread([50, 52, 10], 15, 0, 100)
    [50, 65, 10]
    >>> spread([90, 95], 15, 0, 100)
    [85, 100]
    """
    places = list(wanted)
    order = sorted(range(len(places)), key=lambda i: wanted[i])
    floor = low
    for i in order:
        places[i] = max(places[i], floor)
        floor = places[i] + gap
    ceiling = high
    for i in reversed(order):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def _through(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
