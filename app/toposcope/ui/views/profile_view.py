"""The profiles of the lines that are drawn over the picture, and what lies between two upright cursors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QContextMenuEvent, QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QSpinBox,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.surface import Parameter, Profile
from toposcope.core.words import measured
from toposcope.ui import theme
from toposcope.ui.views.axes import NumberAxis
from toposcope.ui.views.plot_rows import ChipRow, RowList, hint, read_out

EMPTY_TEXT: Final = "Draw a line over the picture (Ctrl+Shift+L) to see the profile of the surface along it."
WAITING_TEXT: Final = "The profiles appear here, once the depth is computed and measured."
KEY_TEXT: Final = "Drag the upright lines: the table tells what lies between them. Wheel to zoom, right click for more."
SHOWN: Final = ("Pz", "Pa", "Pq")
"""Parameters that are told of each profile; all of them are copied."""
NO_BREAK: Final = "\u00a0"
"""A space that keeps a name, its number and the unit on one line."""
CURSORS: Final = (0.25, 0.75)
"""Where the cursors stand in the beginning, in shares of the longest line."""
MAX_WIDTH_PX: Final = 999
"""Parallel lines that a profile may be the mean of, at most."""


class LineProfile(NamedTuple):
    """A profile to draw: number of its line, colour as ``#rrggbb``, and what was found of it; ``width_px`` lines."""

    line: int
    colour: str
    profile: Profile
    parameters: tuple[Parameter, ...]
    width_px: int = 1


class ProfileView(QWidget):
    """Height over distance of every line, with two cursors."""

    lineRemoveRequested = Signal(int)  # number of the line whose cross was clicked
    widthRequested = Signal(int)  # parallel lines that a profile is the mean of

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._profiles: tuple[LineProfile, ...] = ()
        self._drawn_lines, self._problem = False, ""
        self._reach = 0.0  # length of the longest line, in micrometres
        self._drawn: list[Any] = []
        self._rows: list[_LineRow] = []
        self._plot = pg.PlotWidget(axisItems={"left": NumberAxis("left")})
        self._item = self._plot.getPlotItem()
        self._item.setMenuEnabled(False)
        self._item.hideButtons()
        self._cursors = tuple(pg.InfiniteLine(0.0, movable=True) for _ in CURSORS)
        for cursor in self._cursors:
            cursor.setZValue(20)
            self._item.addItem(cursor, ignoreBounds=True)
            cursor.sigPositionChanged.connect(self._tell)
        self._read_out = read_out(KEY_TEXT)
        plot_side = QWidget()
        column = QVBoxLayout(plot_side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._plot, 1)
        column.addWidget(self._read_out)
        self._width = QSpinBox()
        self._width.setRange(1, MAX_WIDTH_PX)
        self._width.setSuffix(" px")
        self._width.setKeyboardTracking(False)
        self._width.valueChanged.connect(self.widthRequested)
        label = QLabel("&Width")
        label.setBuddy(self._width)
        for widget in (label, self._width):
            widget.setToolTip("Each profile is the mean over so many parallel lines, a pixel apart")
        width_row = QHBoxLayout()
        width_row.setContentsMargins(4, 4, 4, 0)
        width_row.setSpacing(8)
        width_row.addWidget(label)
        width_row.addWidget(self._width)
        width_row.addStretch(1)
        self._list = RowList()
        row_side = QWidget()
        row_side.setMinimumWidth(170)
        row_side.setMaximumWidth(360)
        beside = QVBoxLayout(row_side)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.setSpacing(0)
        beside.addLayout(width_row)
        beside.addWidget(self._list, 1)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(plot_side)
        split.addWidget(row_side)
        split.setSizes([560, 336])
        split.setStretchFactor(0, 5)
        split.setStretchFactor(1, 3)
        split.setChildrenCollapsible(False)
        self._empty = hint(EMPTY_TEXT)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(split)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._stack)
        self.setMinimumHeight(120)
        self._copy_action = QAction("Copy profiles as numbers", self)
        self._copy_action.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
        self._copy_action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._copy_action.triggered.connect(self.copy_numbers)
        self.addAction(self._copy_action)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.apply_theme()

    def set_drawn(self, drawn: bool) -> None:
        """Whether there are lines, measured or not: without any, the empty view invites to draw one."""
        self._drawn_lines = drawn
        self.set_problem(self._problem)

    def set_problem(self, text: str) -> None:
        """Say why there are no profiles; nothing where nothing is wrong."""
        self._problem = text
        self._empty.setText(text or (WAITING_TEXT if self._drawn_lines else EMPTY_TEXT))

    def set_width(self, width_px: int) -> None:
        """Show how many parallel lines a profile is the mean of."""
        self._width.blockSignals(True)
        self._width.setValue(width_px)
        self._width.blockSignals(False)

    def set_profiles(self, profiles: Sequence[LineProfile]) -> None:
        """Show these profiles; none shows a hint instead."""
        before = self._reach
        another = [one.line for one in self._profiles] != [one.line for one in profiles]
        self._profiles = tuple(profiles)
        self._stack.setCurrentIndex(1 if self._profiles else 0)
        self._reach = max((one.profile.length_um for one in self._profiles), default=0.0)
        while len(self._drawn) < len(self._profiles):
            curve = pg.PlotCurveItem(connect="finite")
            curve.setSegmentedLineMode("on")  # Qt takes seven times as long for one path of thousands of points
            self._drawn.append(curve)
            self._item.addItem(curve)
            row = _LineRow("line")
            row.remove.clicked.connect(lambda _=False, row=row: self.lineRemoveRequested.emit(row.number))
            self._rows.append(row)
            self._list.add(row)
        for k, (curve, row) in enumerate(zip(self._drawn, self._rows, strict=True)):
            shown = k < len(self._profiles)
            curve.setVisible(shown)
            row.setVisible(shown)
            if shown:
                one = self._profiles[k]
                curve.setData(one.profile.distance_um, one.profile.z_um)
                curve.setPen(pg.mkPen(one.colour, width=2))
            else:
                curve.setData([], [])
        if self._reach:
            for cursor in self._cursors:
                cursor.setBounds((0.0, self._reach))
            if not before or len({cursor.value() for cursor in self._cursors}) == 1:  # pushed together by a short line
                for cursor, share in zip(self._cursors, CURSORS, strict=True):
                    cursor.setValue(share * self._reach)
        if another:
            self._item.enableAutoRange()
        else:  # the part that was zoomed into stays; its heights may be others now
            self._item.enableAutoRange("y")
        self._tell()

    def apply_theme(self) -> None:
        """Take the colours of the theme, after it was changed."""
        c = theme.colours()
        self._plot.setBackground(c.base)
        for name, label in (("left", "height (µm)"), ("bottom", "distance (µm)")):
            axis = self._item.getAxis(name)
            axis.setPen(pg.mkPen(c.grid))
            axis.setTextPen(pg.mkPen(c.muted))
            if axis.autoSIPrefix:
                axis.enableAutoSIPrefix(False)
            self._item.setLabel(name, label, color=c.muted)
        self._item.showGrid(x=True, y=True, alpha=0.15)
        for cursor in self._cursors:
            cursor.setPen(pg.mkPen(c.text, width=1))
            cursor.setHoverPen(pg.mkPen(c.accent, width=2))

    def at_cursors(self, profile: Profile) -> tuple[float, float, float]:
        """Return the distance of the cursors, and the heights at the left and the right one, NaN in voids; in µm."""
        left, right = sorted(float(cursor.value()) for cursor in self._cursors)
        return right - left, _height_at(profile, left), _height_at(profile, right)

    def table(self) -> str:
        """Return all profiles as tab-separated numbers side by side, with the parameters of each on top."""
        if not self._profiles:
            return ""
        lines = []
        for one in self._profiles:
            found = ", ".join(f"{item.name} {item.value:.7g} {item.unit}".rstrip() for item in one.parameters)
            (row, column), (last_row, last_column) = one.profile.start, one.profile.end
            where = f"row {row:.1f}, column {column:.1f} to row {last_row:.1f}, column {last_column:.1f}"
            if one.width_px > 1:
                where += f", mean over {one.width_px} lines"
            lines.append(f"# line {one.line}: {where}, {one.profile.length_um:.7g} µm; {found}")
        lines.append("\t".join(f"distance {one.line} (µm)\theight {one.line} (µm)" for one in self._profiles))
        columns = [_cells(one.profile) for one in self._profiles]
        lines += ["\t".join(cells) for cells in zip_longest(*columns, fillvalue="\t")]
        return "\n".join(lines) + "\n"

    def copy_numbers(self) -> None:
        """Put `table` on the clipboard."""
        if self._profiles:
            QGuiApplication.clipboard().setText(self.table())

    def bring_cursors(self) -> None:
        """Put both cursors into the part of the plot that is seen."""
        left, right = self._item.viewRange()[0]
        left, right = max(left, 0.0), min(right, self._reach)
        for cursor, share in zip(self._cursors, CURSORS, strict=True):
            cursor.setValue(left + share * (right - left))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        menu = QMenu(self)
        menu.addAction(self._copy_action)
        menu.addAction("Copy plot as picture", lambda: QGuiApplication.clipboard().setPixmap(self._plot.grab()))
        menu.addSeparator()
        menu.addAction("Show all", self._item.enableAutoRange)
        menu.addAction("Bring the cursors here", self.bring_cursors)
        for action in menu.actions():
            action.setEnabled(bool(self._profiles))
        menu.exec(event.globalPos())
        menu.deleteLater()

    def _tell(self) -> None:
        for row, one in zip(self._rows, self._profiles, strict=False):
            row.show_line(one, *self.at_cursors(one.profile))


def _cells(profile: Profile) -> list[str]:
    """Return distance and height, tab-separated, of each point; no height where void."""
    pairs = zip(profile.distance_um, profile.z_um, strict=True)
    return [f"{x:.7g}\t{'' if math.isnan(z) else f'{z:.7g}'}" for x, z in pairs]


def _height_at(profile: Profile, distance_um: float) -> float:
    """Return the height of the sample that is nearest to a distance; NaN beyond the line's end."""
    if distance_um > profile.length_um or not profile.z_um.size:
        return math.nan
    return float(profile.z_um[int(np.argmin(np.abs(profile.distance_um - distance_um)))])


class _LineRow(ChipRow):
    """What lies between the cursors on a line, and its parameters."""

    def show_line(self, one: LineProfile, across_um: float, left_um: float, right_um: float) -> None:
        """Tell of a line, and of its heights at the left and the right cursor, ``across_um`` apart."""
        self.set_chip(one.line, str(one.line), one.colour)
        if not np.isfinite(one.profile.z_um).any():
            self.heading.setText("No height along this line")
            length = measured(one.profile.length_um)
            self.details.setText(f"length {length} µm · it lies outside the area, or over voids only")
            return
        void = [side for side, height in (("left", left_um), ("right", right_um)) if math.isnan(height)]
        if void:
            where = f"the {void[0]} cursor" if len(void) == 1 else "either cursor"
            self.heading.setText(f"No height at {where}; they are {measured(across_um)} µm apart")
        else:
            self.heading.setText(f"Δ height {measured(right_um - left_um)} µm over {measured(across_um)} µm")
        heights = " → ".join("void" if math.isnan(one) else f"{measured(one)} µm" for one in (left_um, right_um))
        found = {item.name: item for item in one.parameters}
        told = [f"{name} {found[name].text}" for name in SHOWN if name in found]
        details = [heights, f"length {measured(one.profile.length_um)} µm", *told]
        self.details.setText(" · ".join(text.replace(" ", NO_BREAK) for text in details))
