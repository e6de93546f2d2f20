"""Pieces that the windows for sweeps share: a film of slices, pictures with titles, sharpness against focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFrame,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.advising import Proposal, SweepAdvice
from toposcope.core.curve import format_length
from toposcope.core.pictures import colour_map
from toposcope.ui import theme
from toposcope.ui.images import image_of
from toposcope.ui.pyramid import Picture, make_pyramid
from toposcope.ui.views.axes import NumberAxis
from toposcope.ui.views.canvas import Canvas
from toposcope.ui.views.elided_label import ElidedLabel

THUMBNAIL: Final = QSize(72, 54)
THUMBNAIL_SIDE: Final = 2 * THUMBNAIL.width()
"""Longer side of the pictures for them, in pixels: twice as many for screens of fine pixels."""
UNKNOWN_DEPTH: Final = "Depth: not known yet"
_UNKNOWN_GREY: Final = 60
_MARGIN: Final = 1.08  # of the highest sharpness: so far the axis goes


class SliceFilm(QListWidget):
    """Thumbnails of slices in one row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setIconSize(THUMBNAIL)
        self.setFixedHeight(THUMBNAIL.height() + 34)
        self.setFrameShape(QFrame.Shape.NoFrame)

    def add(self, icon: QIcon, place: str, tip: str = "") -> QListWidgetItem:
        """Add a slice at the right end."""
        item = QListWidgetItem(icon, place)
        item.setToolTip(tip)
        self.addItem(item)
        return item


class AdviceLabel(QLabel):
    """What a better sweep would be, for reading and copying."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setAlignment(Qt.AlignmentFlag.AlignTop)

    def set_advice(self, advice: Proposal | SweepAdvice | None) -> None:
        """Show advice, a paragraph for each reason; None for nothing."""
        self.setText("" if advice is None else advice.text.replace("\n", "\n\n"))


class TitledCanvas(QWidget):
    """A canvas under a line of words, which are cut off where there is no room."""

    def __init__(self, title: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.canvas = narrow_label(title), Canvas(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.title)
        column.addWidget(self.canvas, 1)

    def set_title(self, text: str, role: str = "") -> None:
        """Write the line; ``role`` colours it as the theme says."""
        self.title.setText(text)
        self.title.setToolTip(text)
        set_role(self.title, role)

    def show_depth(self, depth: NDArray[np.float32], unit_symbol: str, more: str = "") -> None:
        """Show depth (H, W) in colours, grey where it is NaN, with its range and ``more`` words in the title."""
        known = depth[np.isfinite(depth)]
        if not known.size:
            self.canvas.set_picture("left", make_pyramid(np.full((*depth.shape, 3), _UNKNOWN_GREY, np.uint8)))
            self.set_title(UNKNOWN_DEPTH)
            return
        low, high = (float(value) for value in np.quantile(known, (0.005, 0.995)))
        coloured = colour_map(depth, "viridis", low, max(high, low + 1e-6))
        self.canvas.set_picture("left", make_pyramid(np.ascontiguousarray(coloured)))
        grain = max(high - low, 1e-6) / 10  # large coordinates of small heights lose no digits
        words = (format_length(low, "(dark) to", grain), format_length(high, unit_symbol, grain))
        share = 100 * known.size / depth.size
        self.set_title(f"Depth {words[0]} {words[1]}, {share:.0f} % known{', ' if more else ''}{more}")


class SharpnessPlot(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph ships no types
    """Sharpness against focus position, each line as a share of its own peak."""

    def __init__(self) -> None:
        super().__init__(axisItems={"bottom": NumberAxis("bottom")})
        self.setMinimumHeight(110)
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLabel("left", "sharpness")
        item.setYRange(0, _MARGIN, padding=0)

    def set_across(self, text: str, values: bool = True) -> None:
        """Write under the axis what lies across; without ``values`` while nothing does yet."""
        self.getPlotItem().setLabel("bottom", text)
        self.getPlotItem().getAxis("bottom").setStyle(showValues=values)

    def add_line(self, **how: Any) -> pg.PlotDataItem:
        """Add a line; the first one lies lowest."""
        return self.getPlotItem().plot(**how)

    def apply_theme(self) -> None:
        """Take the colours of the theme for ground and axes."""
        c = theme.colours()
        self.setBackground(c.base)
        for name in ("bottom", "left"):
            axis = self.getPlotItem().getAxis(name)
            axis.setPen(c.grid)
            axis.setTextPen(c.text)


def draw_with_dots(line: pg.PlotDataItem, colour: QColor | str) -> None:
    """Draw a line so that its points are seen."""
    line.setPen(pg.mkPen(colour, width=2))
    line.setSymbol("o")
    line.setSymbolSize(5)
    line.setSymbolBrush(colour)
    line.setSymbolPen(None)


def of_peak(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., n) curves as shares of their highest values; nothing stays 0."""
    shares: NDArray[np.float64] = values / np.maximum(values.max(axis=-1, keepdims=True), 1e-12)
    return shares


def sweep_layout(pictures: Sequence[TitledCanvas], below: Sequence[QWidget], heights: tuple[int, int]) -> QSplitter:
    """Put pictures side by side over the widgets ``below``, the last of which takes the room that is left."""
    beside = QSplitter(Qt.Orientation.Horizontal)
    for picture in pictures:
        beside.addWidget(picture)
    lower = QWidget()
    column = QVBoxLayout(lower)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(3)
    for widget in below:
        column.addWidget(widget, 1 if isinstance(widget, SharpnessPlot) else 0)
    whole = QSplitter(Qt.Orientation.Vertical)
    whole.addWidget(beside)
    whole.addWidget(lower)
    whole.setSizes(list(heights))
    whole.setChildrenCollapsible(False)
    return whole


def narrow_label(text: str = "", role: str = "") -> ElidedLabel:
    """Return a label of one line that asks for no width."""
    label = ElidedLabel(text)
    if role:
        label.setProperty("role", role)
    return label


def set_role(label: QLabel, role: str) -> None:
    """Let the theme draw a label otherwise from now on."""
    if (label.property("role") or "") != role:
        label.setProperty("role", role)
        label.style().unpolish(label)
        label.style().polish(label)


def icon_of(picture: Picture) -> QIcon:
    """Return a contiguous picture (h, w) or (h, w, 3) as an icon."""
    return QIcon(QPixmap.fromImage(image_of(picture)))


def number_box(low: float, high: float, suffix: str, decimals: int, tip: str) -> QDoubleSpinBox:
    """Return a field for a number, which tells of it when it is typed to the end."""
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(decimals)
    box.setSuffix(suffix)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)  # half-typed numbers are none
    box.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    return box
