"""The focus curves of the pinned pixels, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QColor,
    QContextMenuEvent,
    QFontMetricsF,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QMenu,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.curve import FocusCurve, format_length
from toposcope.core.volume import Origin
from toposcope.ui import theme
from toposcope.ui.resolve import slice_text
from toposcope.ui.session import Subject
from toposcope.ui.views.axes import NumberAxis
from toposcope.ui.views.plot_rows import ChipRow, RowList, hint, read_out

Floats = NDArray[np.float64]
Side = Literal["", "A", "B"]


class PinCurve(NamedTuple):
    """A curve to draw: number of its pin, colour as ``#rrggbb``, and of which of two compared results it is.

    ``apart`` says how far its depth and place are from those of the first pin.
    """

    pin: int
    colour: str
    curve: FocusCurve
    side: Side = ""
    apart: str = ""

    @property
    def name(self) -> str:
        """What the user calls it: "1", or "1A"."""
        return f"{self.pin}{self.side}"


class PinDepth(NamedTuple):
    """What is known at a pin of a result without curves: the depth there, and the rest in smaller letters."""

    pin: int
    colour: str
    text: str
    details: str
    side: Side = ""

    @property
    def name(self) -> str:
        """What the user calls it: "1", or "1A"."""
        return f"{self.pin}{self.side}"


XAxis = Literal["position", "slice"]

EMPTY_TEXT: Final = "Click a pixel in the picture to see its focus curve."
ORIGIN_TEXTS: Final[dict[Origin, str]] = {
    "neighbours": "",
    "mean": ", mean of all slices",
    "measure": ", peak of the measure",
    "both": ", between mean and peak of the measure",
}
"""How a depth comes from its curve, where it is not the peak that is drawn, smoothed."""
HEIGHT_MAP_TEXT: Final = (
    "A height map has no slices, so its pixels have no focus curve. Open a focal stack to see some."
)
STORED_TEXT: Final = "A result is stored without its focus curves. Open the stack that it was made from to see them."
NOT_KEPT_TEXT: Final = "No focus curves are kept with this result. Compute the depth again (Ctrl+R) to have them."
KEY_TEXT: Final = "filled: probability · dotted: measure · dashed: depth · bar: width · ▽ other peaks"
COMPARED_KEY_TEXT: Final = "dots: probability · dotted: measure · upright: depth · bar: width · ▽ other peaks"
LOW: Final = 210
"""Height in pixels below which curves get the room of what explains them."""
# fixed steps, so that the axis stands still while a pin is dragged
_TOPS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


class CurveView(QWidget):
    """Probability and focus measure of each pinned pixel over the focus position.

    Filled line with dots: probability of each slice. Thin dotted line: raw focus measure, scaled to
    the same height. Smooth line: fitted peak, with its full width at half maximum as a bar. Dashed
    line: depth of the depth map. Triangles: other peaks. The slice cursor can be dragged.

    While two results are compared, all lines of A are solid and all lines of B dashed, and the legend
    names them.
    """

    sliceRequested = Signal(int)  # index of the slice that the cursor was moved to
    pinRemoveRequested = Signal(int)  # number of the pin whose cross was clicked

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pins: tuple[PinCurve | PinDepth, ...] = ()
        self._curves: tuple[PinCurve, ...] = ()
        self._positions: Floats = np.empty(0)
        self._unit_symbol = ""
        self._slice = -1  # not known yet
        self._key = KEY_TEXT
        self._axis: XAxis = "position"
        self._drawn: list[_DrawnCurve] = []
        self._rows: list[_PinRow] = []

        self._plot = pg.PlotWidget(axisItems={"bottom": NumberAxis("bottom")})
        self._item = self._plot.getPlotItem()
        self._item.setMenuEnabled(False)
        self._item.hideButtons()
        self._item.setMouseEnabled(x=True, y=False)
        self._item.disableAutoRange()
        self._cursor = pg.InfiniteLine(0.0, movable=True, label="", labelOpts={"position": 0.94, "movable": False})
        self._cursor.setZValue(20)
        self._cursor.setVisible(False)
        self._item.addItem(self._cursor, ignoreBounds=True)
        self._cursor.sigPositionChanged.connect(self._on_cursor_moved)
        self._cursor.sigPositionChangeFinished.connect(self._snap_cursor)
        self._item.vb.sigResized.connect(lambda _: self._label_cursor())
        self._plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._plot.scene().sigMouseClicked.connect(self._on_mouse_clicked)

        self._legend = SideLegend()
        self._read_out = read_out(KEY_TEXT)
        self._plot_side = QWidget()
        column = QVBoxLayout(self._plot_side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._plot, 1)
        column.addWidget(self._legend)
        column.addWidget(self._read_out)

        self._list = RowList()
        self._list.setMinimumWidth(170)

        self._empty = hint(EMPTY_TEXT)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._plot_side)

        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self._stack)
        split.addWidget(self._list)
        self._list.setMaximumWidth(360)
        self._list.hide()
        split.setStretchFactor(0, 5)
        split.setStretchFactor(1, 3)
        split.setSizes([560, 336])
        split.setChildrenCollapsible(False)

        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(split)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumHeight(140)

        self._copy_action = QAction("Copy curves as numbers", self)
        self._copy_action.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
        self._copy_action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._copy_action.triggered.connect(self.copy_numbers)
        self.addAction(self._copy_action)
        self.apply_theme()

    # setters, called by a controller

    def set_kept(self, kept: bool, subject: Subject = "stack") -> None:
        """Say whether the shown result has curves; without a result it may have, without a stack it never has."""
        without: dict[Subject, str] = {"height map": HEIGHT_MAP_TEXT, "result": STORED_TEXT}
        self._empty.setText(without.get(subject, EMPTY_TEXT if kept else NOT_KEPT_TEXT))

    def set_curves(self, pins: Sequence[PinCurve | PinDepth], names: tuple[str, str] = ("", "")) -> None:
        """Show the curves of these pins, and what is known of each in a list; without curves a hint stands beside it.

        ``names`` are those of the results A and B while two are compared.
        """
        self._pins = tuple(one if isinstance(one, PinDepth) else PinCurve(*one) for one in pins)
        self._curves = tuple(one for one in self._pins if isinstance(one, PinCurve))
        self._list.setVisible(bool(self._pins))
        self._legend.set_names(names)
        self._key = COMPARED_KEY_TEXT if any(names) else KEY_TEXT
        self._stack.setCurrentIndex(1 if self._curves else 0)
        if self._curves:
            first = self._curves[0].curve
            self._use_positions(first.positions, first.unit_symbol)
        while len(self._drawn) < len(self._curves):
            self._drawn.append(_DrawnCurve(self._item))
        while len(self._rows) < len(self._pins):
            row = _PinRow("pin")
            row.remove.clicked.connect(lambda _=False, row=row: self.pinRemoveRequested.emit(row.number))
            self._rows.append(row)
            self._list.add(row)
        self._redraw()

    def set_slice(self, i: int) -> None:
        """Move the slice cursor to slice ``i``; tells nobody."""
        self._slice = i
        self._place_cursor()

    def set_axis(self, axis: XAxis) -> None:
        """Draw over focus positions, or over slice numbers (when positions are very uneven)."""
        if axis != self._axis:
            self._axis = axis
            self._use_positions(self._positions, self._unit_symbol, force=True)
            self._redraw()

    def apply_theme(self) -> None:
        """Take the colours of the theme, after it was changed."""
        c = theme.colours()
        self._plot.setBackground(c.base)
        for name in ("left", "bottom"):
            axis = self._item.getAxis(name)
            axis.setPen(pg.mkPen(c.grid))
            axis.setTextPen(pg.mkPen(c.muted))
            if axis.autoSIPrefix:  # said again to a visible label, pyqtgraph scales the numbers all the same
                axis.enableAutoSIPrefix(False)
        self._item.showGrid(x=True, y=True, alpha=0.15)
        self._item.setLabel("left", "probability", color=c.muted)
        self._cursor.setPen(pg.mkPen(c.text, width=1))
        self._cursor.setHoverPen(pg.mkPen(c.accent, width=2))
        self._cursor.label.setColor(c.text)
        self._cursor.label.fill = pg.mkBrush(c.button)
        self._label_axis()
        self._redraw()

    # what the user gets out of it

    def table(self) -> str:
        """Return all curves as tab-separated numbers, with the verdict of each pin on top."""
        if not self._curves:
            return ""
        unit = self._unit_symbol
        lines = [f"# {letter}: {name}" for letter, name in zip("AB", self._legend.names, strict=True) if name]
        lines += [
            f"# pin {one.name}: row {one.curve.row}, column {one.curve.column}, "
            f"depth {one.curve.depth:.7g} {unit}, {one.curve.verdict.text}"
            for one in self._curves
        ]
        for group in _at_same_positions(self._curves):
            head = [f"position ({unit})"]
            columns: list[NDArray[np.floating]] = [group[0].curve.positions]
            for one in group:
                head.append(f"pin {one.name} probability")
                columns.append(one.curve.probability)
                if one.curve.measure is not None:
                    head.append(f"pin {one.name} measure")
                    columns.append(one.curve.measure)
            lines.append("\t".join(head))
            lines += ["\t".join(f"{value:.7g}" for value in row) for row in zip(*columns, strict=True)]
        return "\n".join(lines) + "\n"

    def copy_numbers(self) -> None:
        """Put `table` on the clipboard."""
        if self._curves:
            QGuiApplication.clipboard().setText(self.table())

    def copy_picture(self) -> None:
        """Put the plot on the clipboard as a picture."""
        QGuiApplication.clipboard().setPixmap(self._plot.grab())

    # Qt

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        low = self.height() < LOW
        self._read_out.setWordWrap(not low)
        self._item.showLabel("bottom", not low)
        self._legend.set_short(low)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        menu = QMenu(self)
        menu.addAction(self._copy_action)
        menu.addAction("Copy plot as picture", self.copy_picture)
        menu.addSeparator()
        over_slices = menu.addAction("Draw over slice numbers")
        over_slices.setCheckable(True)
        over_slices.setChecked(self._axis == "slice")
        over_slices.toggled.connect(lambda on: self.set_axis("slice" if on else "position"))
        menu.addAction("Show all positions", self._show_all)
        for action in menu.actions():
            action.setEnabled(bool(self._curves))
        menu.exec(event.globalPos())
        menu.deleteLater()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None or not self._curves:
            super().keyPressEvent(event)
            return
        self._request_slice(self._slice + step)

    # drawing

    def _use_positions(self, positions: Floats, unit_symbol: str, force: bool = False) -> None:
        """Take the positions of the stack as x axis; the view range starts anew when they change."""
        if not force and unit_symbol == self._unit_symbol and np.array_equal(positions, self._positions):
            return
        self._positions, self._unit_symbol = positions, unit_symbol
        self._label_axis()
        self._show_all()
        self._place_cursor()

    def _label_axis(self) -> None:
        by_slice = self._axis == "slice" or self._unit_symbol == "slices"
        text = "slice" if by_slice else f"focus position ({self._unit_symbol})"
        self._item.setLabel("bottom", text, color=theme.colours().muted)

    def _show_all(self) -> None:
        if self._positions.size:
            x = self._x(self._positions)
            # bounds of another stack or unit move the line into them: nobody asked for the slice that is there
            self._cursor.blockSignals(True)
            self._cursor.setBounds((x[0], x[-1]))
            self._cursor.blockSignals(False)
            self._item.setXRange(x[0], x[-1], padding=0.02)

    def _x(self, positions: Any) -> Floats:
        """Map positions to the x axis."""
        if self._axis == "position":
            return np.asarray(positions, dtype=np.float64)
        x: Floats = np.interp(positions, self._positions, np.arange(self._positions.size), left=np.nan, right=np.nan)
        return x

    def _redraw(self) -> None:
        for k, drawn in enumerate(self._drawn):
            if k < len(self._curves):
                drawn.show(self._curves[k], self._x)
            else:
                drawn.hide()
        for k, row in enumerate(self._rows):
            row.setVisible(k < len(self._pins))
            if k < len(self._pins):
                row.show_pin(self._pins[k])
        if self._curves:
            highest = max(_highest(one.curve) for one in self._curves)
            top = next((top for top in _TOPS if top >= 1.05 * highest), 1.05 * highest)
            self._item.setYRange(0.0, top, padding=0.02)
        self._tell(self._key)

    def _tell(self, text: str) -> None:
        self._read_out.setText(text)
        self._read_out.setToolTip(text)  # a line that is cut off can be read all the same

    # the slice cursor: set_slice places it silently; dragging, clicking and keys request a slice,
    # and the controller answers with set_slice

    def _place_cursor(self) -> None:
        shown = 0 <= self._slice < self._positions.size
        self._cursor.setVisible(shown)
        if not shown or self._cursor.moving:
            return
        self._cursor.blockSignals(True)
        self._cursor.setValue(self._x(self._positions)[self._slice])
        self._cursor.blockSignals(False)
        self._label_cursor()

    def _label_cursor(self) -> None:
        """Name the slice beside the cursor; where half of the plot is too narrow for all of it, by its position."""
        if not 0 <= self._slice < self._positions.size:
            return
        text, label = self._slice_text(self._slice), self._cursor.label
        metrics = QFontMetricsF(label.textItem.font())
        if metrics.horizontalAdvance(text) + 2 * label.textItem.document().documentMargin() > self._item.vb.width() / 2:
            text = text.partition(" · ")[0]
        label.setFormat(text)

    def _slice_text(self, i: int) -> str:
        return slice_text(self._positions, self._unit_symbol, i)

    def _on_cursor_moved(self) -> None:
        self._request_slice(self._nearest(float(self._cursor.value())))

    def _snap_cursor(self) -> None:
        self._place_cursor()

    def _nearest(self, x: float) -> int:
        return int(np.argmin(np.abs(self._x(self._positions) - x)))

    def _request_slice(self, i: int) -> None:
        i = min(max(i, 0), self._positions.size - 1)
        if i != self._slice:
            self._slice = i
            self._place_cursor()
            self._label_cursor()
            self.sliceRequested.emit(i)

    def _on_mouse_clicked(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._curves and not event.isAccepted():
            at = self._item.vb.mapSceneToView(event.scenePos())
            if self._item.sceneBoundingRect().contains(event.scenePos()):
                self._request_slice(self._nearest(at.x()))

    def _on_mouse_moved(self, at: QPointF) -> None:
        if not self._curves or not self._item.vb.sceneBoundingRect().contains(at):
            self._tell(self._key)
            return
        i = self._nearest(self._item.vb.mapSceneToView(at).x())
        values = "   ".join(
            f"pin {one.name}: {100 * one.curve.probability[_slice_at(one.curve, self._positions[i])]:.1f} %"
            for one in self._curves
        )
        self._tell(f"{self._slice_text(i)}   {values}")


class _DrawnCurve:
    """The plot items of one pin. They are kept and fed anew: making them takes longer than a frame."""

    def __init__(self, plot: Any) -> None:
        self.probability = pg.PlotDataItem(fillLevel=0.0, symbol="o", symbolSize=4)
        self.measure = pg.PlotCurveItem()
        self.fit = pg.PlotCurveItem()
        self.width = pg.PlotCurveItem()
        self.others = pg.ScatterPlotItem(symbol="t", size=10)
        self.depth = pg.InfiniteLine(0.0)
        self._items = (self.probability, self.measure, self.fit, self.width, self.others, self.depth)
        self._painted = ("", "")
        for item in self._items:
            plot.addItem(item, ignoreBounds=True)

    def hide(self) -> None:
        for item in self._items:
            item.setVisible(False)

    def show(self, one: PinCurve, x: Any) -> None:
        """Draw a curve; ``x`` maps positions to the x axis."""
        curve = one.curve
        if (one.colour, one.side) != self._painted:
            self._paint(one.colour, one.side)
        positions = x(curve.positions)
        self.probability.setData(positions, curve.probability)
        self.probability.setVisible(True)

        scaled = scaled_measure(curve)
        self.measure.setVisible(scaled is not None)
        if scaled is not None:
            self.measure.setData(positions, scaled)

        self.fit.setVisible(len(curve.fit) > 1)
        if len(curve.fit) > 1:
            self.fit.setData(x(curve.fit[:, 0]), curve.fit[:, 1])

        bar = np.isfinite(curve.width) and np.isfinite(curve.position)
        self.width.setVisible(bool(bar))
        if bar:
            top = float(curve.fit[:, 1].max() if len(curve.fit) else curve.probability.max())
            half = (top + float(curve.probability.min())) / 2
            ends = np.clip(
                (curve.position - curve.width / 2, curve.position + curve.width / 2),
                curve.positions[0],
                curve.positions[-1],
            )
            self.width.setData(x(ends), [half, half])

        others = curve.peaks[1:]
        self.others.setVisible(bool(others))
        if others:
            at = [peak.position for peak in others]
            self.others.setData(x(at), np.interp(at, curve.positions, curve.probability))

        self.depth.setVisible(bool(np.isfinite(curve.depth)))
        if np.isfinite(curve.depth):
            self.depth.setValue(float(x(curve.depth)))

    def _paint(self, colour: str, side: Side) -> None:
        self._painted = (colour, side)
        fill, faint = QColor(colour), QColor(colour)
        fill.setAlpha({"": 38, "A": 24, "B": 0}[side])
        faint.setAlpha(150)
        ground = theme.colours().base
        solid, dashed, dotted = Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine
        line = dashed if side == "B" else solid
        upright = solid if side == "A" else dashed
        self.probability.setPen(pg.mkPen(faint, width=1, style=line))
        self.probability.setBrush(fill)
        # hollow squares for B: told from the dots of A without colour
        self.probability.setSymbol("s" if side == "B" else "o")
        self.probability.setSymbolSize(5 if side == "B" else 4)
        self.probability.setSymbolBrush(ground if side == "B" else colour)
        self.probability.setSymbolPen(pg.mkPen(colour, width=1) if side == "B" else None)
        self.measure.setPen(pg.mkPen(faint, width=1, style=Qt.PenStyle.DashDotDotLine if side == "B" else dotted))
        self.fit.setPen(pg.mkPen(colour, width=2, style=line))
        self.width.setPen(pg.mkPen(colour, width=3, cosmetic=True, style=line))
        self.others.setBrush(pg.mkBrush(ground))
        self.others.setPen(pg.mkPen(colour, width=1.5))
        self.depth.setPen(pg.mkPen(colour, width=1.5, style=upright))


class _PinRow(ChipRow):
    """Where a pin is, and its verdict in words."""

    def show_pin(self, one: PinCurve | PinDepth) -> None:
        side = one.side
        self.set_chip(one.pin, one.name, one.colour, hollow=side == "B")
        self.remove.setVisible(side != "B")
        if isinstance(one, PinDepth):
            self.heading.setText(one.text)
            self.details.setText(one.details)
            return
        curve = one.curve
        self.heading.setText(curve.verdict.text[:1].upper() + curve.verdict.text[1:])
        unit = curve.unit_symbol
        fine = float(np.median(np.diff(curve.positions))) / 10
        depth = "depth: void"
        if np.isfinite(curve.depth):
            depth = f"depth {format_length(curve.depth, unit, fine)}{ORIGIN_TEXTS[curve.origin]}"
        width = f" · width {format_length(curve.width, unit, fine)}" if np.isfinite(curve.width) else ""
        where = f" · row {curve.row}, column {curve.column}" if side != "B" else ""  # B is the same pixel as A
        apart = f" · {one.apart}" if one.apart else ""
        self.details.setText(f"{depth}{width}{where}{apart}")


class SideLegend(QWidget):
    """Names A with a solid and B with a dashed line, in two rows where one is too short; hidden without names."""

    LINE: Final = 32
    """Length of a sample line, in pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.names = ("", "")
        self._short = False
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.hide()

    def set_names(self, names: tuple[str, str]) -> None:
        """Show these names; empty ones hide the legend."""
        self.names = names
        self.setVisible(any(names))
        self.setToolTip("\n".join(self._texts()))
        self._fit()
        self.update()

    def set_short(self, short: bool) -> None:
        """Keep to one row, whatever has to be cut off for it."""
        self._short = short
        self._fit()
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics, row = painter.fontMetrics(), self._row()
        left, middle = 4.0, row / 2
        for text, style in zip(self._texts(), (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine), strict=True):
            room = (self.width() // 2 if self._is_cut() else self.width() - int(left)) - self.LINE - 10
            painter.setPen(QPen(QColor(theme.colours().text), 2, style))
            painter.drawLine(QPointF(left, middle), QPointF(left + self.LINE, middle))
            at = QPointF(left + self.LINE + 8, middle + metrics.ascent() / 2 - 1)
            painter.drawText(at, metrics.elidedText(text, Qt.TextElideMode.ElideRight, room))
            if self._is_one_row():
                left = self.width() / 2 if self._is_cut() else left + self.LINE + 28 + metrics.horizontalAdvance(text)
            else:
                middle += row
        painter.end()

    def _texts(self) -> list[str]:
        return [f"{letter}  {name}" for letter, name in zip("AB", self.names, strict=True)]

    def _row(self) -> int:
        return self.fontMetrics().height() + 4

    def _is_one_row(self) -> bool:
        return self._short or not self._is_too_wide()

    def _is_cut(self) -> bool:
        return self._short and self._is_too_wide()

    def _is_too_wide(self) -> bool:
        wide = sum(self.fontMetrics().horizontalAdvance(text) for text in self._texts())
        return wide + 2 * (self.LINE + 28) > self.width()

    def _fit(self) -> None:
        self.setFixedHeight(self._row() if self._is_one_row() else 2 * self._row())


def _at_same_positions(curves: Sequence[PinCurve]) -> list[list[PinCurve]]:
    """Return the curves in groups that share their positions: a result may leave frames out."""
    groups: dict[bytes, list[PinCurve]] = {}
    for one in curves:
        groups.setdefault(one.curve.positions.tobytes(), []).append(one)
    return list(groups.values())


def _slice_at(curve: FocusCurve, position: float) -> int:
    return int(np.argmin(np.abs(curve.positions - position)))


def scaled_measure(curve: FocusCurve) -> NDArray[np.float32] | None:
    """Return the focus measure from its least (0) to its greatest value (the highest probability).

    The measure has a unit of its own that depends on contrast; only its course is compared with the
    probability. None where the method has no measure, or where it does not vary.
    """
    if curve.measure is None:
        return None
    low, high = float(np.nanmin(curve.measure)), float(np.nanmax(curve.measure))
    if not high > low:
        return None
    scaled: NDArray[np.float32] = (curve.measure - low) * np.float32(float(curve.probability.max()) / (high - low))
    return scaled


def _highest(curve: FocusCurve) -> float:
    fit = float(np.nanmax(curve.fit[:, 1])) if len(curve.fit) else 0.0
    return max(float(np.nanmax(curve.probability)), fit)
