"""What a user marks on a picture: pins, lines and areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toposcope.core.surface import Area, Plan, SurfaceSettings

Mark = tuple[Literal["line", "area"], int]
"""A line by its number, or an area by its place: 0 the evaluated one, 1 and 2 those of a step."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A marked pixel of the full-size picture. ``colour`` counts through the colours that pins have."""

    number: int
    row: int
    column: int
    colour: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line whose profile is measured; its ends are (row, column) in the full-size picture."""

    number: int
    start: tuple[float, float]
    end: tuple[float, float]
    colour: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What is measured on the surface: lines, the area that parameters are of (None: all), and the two of a step."""

    lines: tuple[Line, ...] = ()
    area: Area | None = None
    step: tuple[Area, ...] = ()

    def plan(self, settings: SurfaceSettings, width_px: int) -> Plan:
        """Return what they ask to be measured, profiles as means of ``width_px`` lines."""
        steps = ((self.step[0], self.step[1]),) if len(self.step) == 2 else ()
        lines = tuple((line.start, line.end) for line in self.lines)
        return Plan(settings, self.area, lines, width_px, steps, tuple(line.number for line in self.lines))

    def fit(self, shape: tuple[int, int]) -> bool:
        """Whether all of them lie within a picture of ``shape`` (H, W)."""
        ends = [end for line in self.lines for end in (line.start, line.end)]
        areas = (*([self.area] if self.area is not None else []), *self.step)
        corners = [(one.top, one.left) for one in areas] + [(one.bottom - 1, one.right - 1) for one in areas]
        return all(0 <= row <= shape[0] - 1 and 0 <= column <= shape[1] - 1 for row, column in (*ends, *corners))

    def has(self, mark: Mark) -> bool:
        """Whether there is such a line or area."""
        kind, number = mark
        if kind == "line":
            return any(line.number == number for line in self.lines)
        return self.area is not None if number == 0 else number <= len(self.step)
