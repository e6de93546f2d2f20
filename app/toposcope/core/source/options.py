"""What a user may ask for when a stack is opened, and what a file may ask back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from toposcope.core.calibration import Kind, Side, Unit
from toposcope.core.stack import PartName
from toposcope.errors import CalibrationError, StackError

Order = Literal["name", "time"]
_LENGTHS: Final[dict[str, tuple[float, Unit]]] = {
    "nm": (1e-3, "um"),
    "um": (1.0, "um"),
    "micron": (1.0, "um"),
    "microns": (1.0, "um"),
    "micrometer": (1.0, "um"),
    "micrometre": (1.0, "um"),
    "mm": (1.0, "mm"),
    "cm": (10.0, "mm"),
    "m": (1.0, "m"),
}


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to read a stack; what is given here wins over all that files say.

    ``order`` sorts a folder by natural name order or by EXIF time, ``reverse`` turns that around.
    ``skip`` leaves frames out, by name or by 0-based place in reading order; ``skip_broken`` leaves
    out those that cannot be read, and says so in the stack's notes. ``positions`` are one a frame in
    reading order (of all frames, or of those that are left), ``positions_file`` holds the same as
    text, ``z_step`` is an equal step; ``unit`` is theirs, and what other positions are shown in.
    ``only`` names the files of a folder that make up the series; lists of positions may be longer then, as
    while a microscope still writes it: the first ones count.
    ``series``, ``channel`` and ``time`` answer a `ChoiceNeeded`: 0-based places in its options.
    """

    order: Order = "name"
    reverse: bool = False
    skip: tuple[str | int, ...] = ()
    skip_broken: bool = False
    only: tuple[str, ...] | None = None
    positions: tuple[float, ...] | None = None
    positions_file: Path | None = None
    z_step: float | None = None
    unit: Unit | None = None
    kind: Kind | None = None
    near: Side | None = None
    pixel_um: float | None = None
    series: int | None = None
    channel: int | None = None
    time: int | None = None

    def choosing(self, answers: Mapping[str, int | None] | Mapping[PartName, int]) -> OpenOptions:
        """Return the options with other ``series``, ``channel`` or ``time``, by these names; None leaves open."""
        changes: dict[str, Any] = {str(name): place for name, place in answers.items()}
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that a file leaves open: the option ``name`` takes a place in ``options``."""

    name: PartName
    label: str
    options: tuple[str, ...]


class ChoiceNeeded(StackError):  # noqa: N818  it is a question more than an error
    """The file holds several stacks; open it again with one of ``choices`` each."""

    def __init__(self, text: str, choices: tuple[Choice, ...]) -> None:
        super().__init__(text)
        self.choices = choices


def length_unit(name: str) -> tuple[float, Unit] | None:
    """Return factor and unit for a unit as people and programs write it, None if it is no length.

    >>> length_unit("nm")
    (0.001, 'um')
    """
    word = name.strip().replace("\\u00B5", "u").replace("µ", "u").replace("μ", "u").lower()
    return _LENGTHS.get(word)


def parse_length(text: str) -> tuple[float, Unit]:
    """Read a number with its unit.

    >>> parse_length("2.5um")
    (2.5, 'um')
    >>> parse_length("250 nm")
    (0.25, 'um')

    Raises
    ------
    CalibrationError
        If it is no number followed by nm, um, mm, cm or m.
    """
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*", text)
    found = match and length_unit(match[2])
    if not match or not found:
        raise CalibrationError(f"{text!r} is no length; write a number and nm, um, mm, cm or m, such as 2.5um.")
    return float(match[1]) * found[0], found[1]
