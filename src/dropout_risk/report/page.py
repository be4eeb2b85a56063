"""What a page is made of: sections, and the blocks within them, ready for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Text:
    """A paragraph; `style` is ``plain``, ``lead``, ``missing`` (why a part is not there) or ``alarm``."""

    text: str
    style: str = "plain"
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Verdict:
    """The one sentence that decides."""

    text: str
    kind: ClassVar[str] = "verdict"


@dataclass(frozen=True)
class Tiles:
    """Large figures: (figure, what it is, its interval)."""

    items: Sequence[tuple[str, str, str]]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Table:
    """A table; the first `words` columns hold words, the others figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: int = 1
    first_strong: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """One or more SVGs, `across` side by side, and their figures as a table unless it stands above.

    Right below a heading it has no title of its own.
    """

    title: str
    svgs: Sequence[str]
    table: Table | None = None
    note: str = ""
    across: int = 1
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and what it is."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Bullets:
    """Short statements, one below the other."""

    items: Sequence[str]
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True)
class Examples:
    """Made-up students: band, risk, and reasons with text, label, mark and measure."""

    items: Sequence[Mapping[str, Any]]
    kind: ClassVar[str] = "examples"


Block = Text | Heading | Verdict | Tiles | Table | Picture | Facts | Bullets | Examples


@dataclass(frozen=True)
class Section:
    """A numbered part of the report."""

    key: str
    title: str
    blocks: Sequence[Block]
