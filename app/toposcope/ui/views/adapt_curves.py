"""The curves of an adaptation: how far the network is from held-out labels, and the loss it learns by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from toposcope.ui import theme

HEIGHT: Final = 116
SHOWN: Final = 1000
"""Points of the loss that are drawn, at most."""


class AdaptCurves(QWidget):
    """Two plots over the same steps; the dashed line is the network as it was."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self._plots = [pg.PlotWidget(), pg.PlotWidget()]
        for plot, title in zip(self._plots, ("Held-out labels, slices off", "Loss"), strict=True):
            plot.setFixedHeight(HEIGHT)
            plot.setMenuEnabled(False)
            plot.setMouseEnabled(False, False)
            plot.hideButtons()
            plot.setTitle(title, size="8pt")
            plot.getAxis("left").setWidth(44)
            layout.addWidget(plot)
        self._plots[1].setXLink(self._plots[0])
        # what there is so far must not jump about with every step
        self._held = self._plots[0].plot([], [], symbol="o", symbolSize=5)
        self._base = pg.InfiniteLine(angle=0, movable=False)
        self._base.setVisible(False)
        self._plots[0].addItem(self._base)
        self._best = pg.ScatterPlotItem(size=10)
        self._plots[0].addItem(self._best)
        self._raw = self._plots[1].plot([], [])
        self._calm = self._plots[1].plot([], [])
        self.checks: tuple[tuple[float, float], ...] = ()
        self.losses: tuple[tuple[float, float], ...] = ()
        self.apply_theme()

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        c = theme.colours()
        for plot in self._plots:
            plot.setBackground(c.base)
            plot.setTitle(plot.plotItem.titleLabel.text, size="8pt", color=c.muted)
            for name in ("left", "bottom"):
                plot.getAxis(name).setPen(c.grid)
                plot.getAxis(name).setTextPen(c.muted)
        self._held.setPen(pg.mkPen(c.accent, width=2))
        self._held.setSymbolBrush(c.accent)
        self._held.setSymbolPen(None)
        self._base.setPen(pg.mkPen(c.muted, width=1.5, style=Qt.PenStyle.DashLine))
        self._best.setPen(pg.mkPen(c.good, width=2))
        self._best.setBrush(pg.mkBrush(None))
        self._raw.setPen(pg.mkPen(c.grid, width=1))
        self._calm.setPen(pg.mkPen(c.warning, width=2))

    def set_curves(
        self, checks: Sequence[tuple[float, float]], losses: Sequence[tuple[float, float]], steps: int
    ) -> None:
        """Show checks and losses as (step, value); the first check is the network as it was."""
        self.checks, self.losses = tuple(checks), tuple(losses)
        held = np.array(self.checks, dtype=np.float64).reshape(-1, 2)
        self._held.setData(held[:, 0], held[:, 1])
        self._base.setVisible(len(held) > 0)
        if len(held):
            self._base.setValue(held[0, 1])
            best = int(np.argmin(held[:, 1]))
            self._best.setData(held[best : best + 1, 0], held[best : best + 1, 1])
        else:
            self._best.setData([], [])
        loss = np.array(self.losses, dtype=np.float64).reshape(-1, 2)
        loss = loss[:: max(1, len(loss) // SHOWN)]
        self._raw.setData(loss[:, 0], loss[:, 1])
        calm = smoothed(loss[:, 1])
        self._calm.setData(loss[:, 0], calm)
        last = max([*held[-1:, 0], *loss[-1:, 0], 1.0])
        # patience ends most adaptations early: room for a third more, never more than all steps
        self._plots[0].setXRange(0, min(max(steps, 1), max(20.0, last * 4 / 3)), padding=0.02)


def smoothed(values: np.ndarray, width: int = 15) -> np.ndarray:
    """Return a moving mean over ``width`` values, over fewer at the ends."""
    if len(values) < 2:
        return values
    kernel = np.ones(min(width, len(values)))
    weights = np.convolve(np.ones(len(values)), kernel, "same")
    return np.convolve(values, kernel, "same") / weights
