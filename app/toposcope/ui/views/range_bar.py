"""The colour bar: the colours of a map, a histogram of its values, and two handles for the limits."""

from __future__ import annotations

import math
from typing import Any, Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPainterPath, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from toposcope.core.pictures import ticks
from toposcope.core.words import number
from toposcope.ui import theme
from toposcope.ui.rendering import Scale

MARGIN: Final = 16
STRIP: Final = 16
HISTOGRAM: Final = 26


class RangeBar(QWidget):
    """Colour bar with unit. Drag a handle to change a limit, double-click for automatic limits."""

    limitsRequested = Signal(object)  # (low, high), or None for automatic

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setToolTip(
            "Drag the handles to set the colour limits, drag between them to shift both, double-click for automatic"
        )
        self._scale: Scale | None = None
        self._held: str = ""
        self._grip = 0.0
        self._limits = (0.0, 1.0)

    def set_scale(self, scale: Scale | None) -> None:
        """Show this scale."""
        self._scale = scale
        if scale is not None and not self._held:
            self._limits = (scale.low, scale.high)
        self.update()

    @property
    def limits(self) -> tuple[float, float]:
        """The colour limits that are shown."""
        return self._limits

    def sizeHint(self) -> QSize:
        return QSize(104, 200)

    def y_of(self, value: float) -> float:
        """Return where ``value`` lies on the widget, in pixels from its top."""
        least, most = self._span()
        return self.height() - MARGIN - (value - least) / (most - least) * (self.height() - 2 * MARGIN)

    def value_at(self, y: float) -> float:
        """Return the value at ``y`` pixels from the top."""
        least, most = self._span()
        share = (self.height() - MARGIN - y) / max(1, self.height() - 2 * MARGIN)
        return least + share * (most - least)

    def _span(self) -> tuple[float, float]:
        if self._scale is None:
            return 0.0, 1.0
        return min(self._scale.least, self._limits[0]), max(self._scale.most, self._limits[1])

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._scale is None or event.button() != Qt.MouseButton.LeftButton:
            return
        y = event.position().y()
        low, high = (self.y_of(v) for v in self._limits)
        near = min((("low", abs(y - low)), ("high", abs(y - high))), key=lambda pair: pair[1])
        self._held = near[0] if near[1] < 12 or not high < y < low else "both"
        self._grip = self.value_at(y)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if not self._held or self._scale is None:
            return
        value = self.value_at(event.position().y())
        least, most = self._scale.least, self._scale.most
        gap = (most - least) / 500
        low, high = self._limits
        if self._scale.centred:
            # both handles keep the same distance from 0, whichever is held
            reach = -value if self._held == "low" else value
            if self._held != "both":
                high = min(max(reach, gap), most)
                low = -high
        elif self._held == "low":
            low = min(max(value, least), high - gap)
        elif self._held == "high":
            high = max(min(value, most), low + gap)
        else:
            shift = min(max(value - self._grip, least - low), most - high)
            low, high = low + shift, high + shift
            self._grip += shift
        self._limits = (low, high)
        self.update()
        self.limitsRequested.emit(self._limits)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._held = ""

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._held = ""
        self.limitsRequested.emit(None)

    def paintEvent(self, event: Any) -> None:
        if self._scale is None:
            return
        c, scale = theme.colours(), self._scale
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top, bottom = self.y_of(self._limits[1]), self.y_of(self._limits[0])
        left = 6 + HISTOGRAM
        self._paint_histogram(painter, left)
        strip = QRectF(left, MARGIN, STRIP, self.height() - 2 * MARGIN)
        painter.fillRect(strip, QColor(*(int(v) for v in scale.lut[0])))
        painter.fillRect(QRectF(left, MARGIN, STRIP, max(0.0, top - MARGIN)), QColor(*(int(v) for v in scale.lut[-1])))
        column = scale.lut[::-1].copy()
        image = QImage(column.data, 1, 256, 3, QImage.Format.Format_RGB888)
        painter.drawImage(QRectF(left, top, STRIP, bottom - top), image)
        painter.setPen(QPen(QColor(c.border), 1))
        painter.drawRect(strip)
        self._paint_ticks(painter, left + STRIP)
        for y in (top, bottom):
            painter.setPen(QPen(QColor(c.window), 1))
            painter.setBrush(QColor(c.text))
            tip = QPointF(left + 1, y)
            painter.drawPolygon(QPolygonF([tip, tip + QPointF(-10, -6), tip + QPointF(-10, 6)]))
            painter.setPen(QPen(QColor(c.text), 1.5))
            painter.drawLine(QPointF(left, y), QPointF(left + STRIP, y))
        painter.end()

    def _paint_histogram(self, painter: QPainter, right: float) -> None:
        scale = self._scale
        if scale is None or scale.histogram.max() <= 0:
            return
        path = QPainterPath(QPointF(right, self.y_of(scale.least)))
        bins = len(scale.histogram)
        for i, share in enumerate(scale.histogram):
            y = self.y_of(scale.least + (i + 0.5) / bins * (scale.most - scale.least))
            # the square root keeps small classes visible beside a large flat ground
            path.lineTo(right - HISTOGRAM * math.sqrt(float(share) / float(scale.histogram.max())), y)
        path.lineTo(right, self.y_of(scale.most))
        colour = QColor(theme.colours().muted)
        colour.setAlpha(110)
        painter.fillPath(path, colour)

    def _paint_ticks(self, painter: QPainter, left: float) -> None:
        c, scale = theme.colours(), self._scale
        if scale is None:
            return
        metrics = painter.fontMetrics()
        painter.setPen(QColor(c.text))
        least, most = self._span()
        for value in bar_marks(least, most, self.height() - 2 * MARGIN):
            y = self.y_of(value)
            painter.drawLine(QPointF(left, y), QPointF(left + 4, y))
            painter.drawText(QPointF(left + 7, y + metrics.ascent() / 2 - 1), number(value, 6))
        if scale.unit:
            painter.setPen(QColor(c.muted))
            painter.drawText(QRectF(0, 0, self.width() - 4, MARGIN - 2), Qt.AlignmentFlag.AlignRight, scale.unit)


def bar_marks(least: float, most: float, length: int) -> list[float]:
    """Return the round numbers to write along a bar of ``length`` pixels.

    They stand closer together where a short bar would have one or two only, which tell no scale.
    """
    marks: list[float] = []
    for room in (50, 32, 20):
        marks = ticks(least, most, max(1, length // room))
        if len(marks) > 2:
            break
    return marks
