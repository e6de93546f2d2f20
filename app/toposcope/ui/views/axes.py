"""Axes of plots."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph as pg

from toposcope.core.words import minus


class NumberAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph ships no types
    """An axis whose negative numbers have the minus sign of all other numbers in the window."""

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """Return the numbers to write at ``values``."""
        return [minus(text) for text in super().tickStrings(values, scale, spacing)]
