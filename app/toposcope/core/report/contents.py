"""What a report consists of, whatever it is written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class About:
    """What a user says of a measurement: its title (empty: the name of what was measured), who measured, a note."""

    title: str = ""
    author: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph: ``plain``, ``small`` beneath what it explains, or a ``command`` for the shell."""

    text: str
    kind: Literal["plain", "small", "command"] = "plain"


@dataclass(frozen=True, slots=True)
class Items:
    """A list, with numbers where the order counts."""

    items: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts under ``head`` (empty: none).

    A row of one text is a heading over those that follow. ``columns`` say of each column what it holds: ``n`` a
    number, ``u`` its unit, ``k`` a short name, ``c`` signs of a fixed width, ``t`` text, which takes the room that is
    left. ``marked`` rows want attention: guesses.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: str
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture: ``png`` of so many pixels, which shows what ``caption`` says."""

    png: bytes
    width_px: int
    height_px: int
    caption: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two figures beside each other: narrow ones, which would leave most of a page white."""

    left: Figure
    right: Figure


@dataclass(frozen=True, slots=True)
class Kept:
    """Blocks that belong on one page of paper."""

    blocks: tuple[Text | Items | Table | Figure, ...]


Block: TypeAlias = Text | Items | Table | Figure | Pair | Kept


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a report; ``together`` where it is better begun on a new page than cut."""

    title: str
    blocks: tuple[Block, ...]
    together: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. ``facts`` stand beneath the title: pairs of name and text; ``foot`` on every page of paper."""

    title: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    note: str
    sections: tuple[Section, ...]
    foot: str
