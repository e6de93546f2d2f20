"""The watch window: slices as they come into a folder, the depth so far, and sharpness against focus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QIcon, QImage, QPixmap
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.growing import SharpnessCurve
from toposcope.core.pictures import colour_map
from toposcope.core.stack import MIN_FRAMES
from toposcope.ui import theme
from toposcope.ui.pyramid import Picture, make_pyramid
from toposcope.ui.session import Message
from toposcope.ui.views.canvas import Canvas
from toposcope.ui.views.message_bar import MessageBar

THUMBNAIL: Final = QSize(72, 54)


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A slice in the strip: its name, and its position in words."""

    name: str
    place: str


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the watch window shows, beside pictures and the curve. ``waiting`` files are being written."""

    folder: Path | None = None
    watching: bool = False
    rows: tuple[WatchRow, ...] = ()
    n: int = 0
    status: str = ""
    count: str = ""
    waiting: int = 0
    following: bool = False
    problem: str | None = None
    message: Message | None = None


class WatchDialog(QDialog):
    """Shows the state of a watch and asks for everything by signals."""

    useRequested = Signal()
    stopRequested = Signal()
    messageClosed = Signal()
    offerChosen = Signal(object)  # Offer

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Watch a folder")
        self.resize(1180, 760)
        self.setMinimumSize(QSize(720, 480))
        self._icons: dict[str, QIcon] = {}
        self._rows: tuple[WatchRow, ...] = ()
        self._make_widgets()
        self._lay_out()
        self.apply_theme()

    def _make_widgets(self) -> None:
        self.message_bar = MessageBar()
        self.message_bar.closeRequested.connect(self.messageClosed)
        self.message_bar.offerChosen.connect(self.offerChosen)
        self._status = QLabel()
        self._status.setProperty("role", "heading")
        self._status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._where = QLabel()
        self._where.setProperty("role", "muted")
        self._where.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._use = QPushButton("Use now")
        self._use.setToolTip("Open the slices so far as a stack, and compute its depth with all care")
        self._use.clicked.connect(self.useRequested)
        self._stop = QPushButton("Stop")
        self._stop.setToolTip("Watch no longer; the files stay as they are")
        self._stop.clicked.connect(self.stopRequested)
        for button in (self._use, self._stop):
            button.setAutoDefault(False)
        self.newest, self.depth_map = Canvas(self), Canvas(self)
        self._newest_title, self._depth_title = QLabel(), QLabel()
        for title in (self._newest_title, self._depth_title):
            title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.film = QListWidget()
        self.film.setViewMode(QListView.ViewMode.IconMode)
        self.film.setFlow(QListView.Flow.LeftToRight)
        self.film.setWrapping(False)
        self.film.setMovement(QListView.Movement.Static)
        self.film.setIconSize(THUMBNAIL)
        self.film.setFixedHeight(THUMBNAIL.height() + 34)
        self.film.setFrameShape(QFrame.Shape.NoFrame)
        self.plot = pg.PlotWidget()
        self.plot.setMinimumHeight(110)
        item = self.plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLabel("left", "sharpness")
        item.setYRange(0, 1.08, padding=0)
        self._parts = item.plot(connect="finite")
        self._whole = item.plot()

    def _lay_out(self) -> None:
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self._status)
        words.addWidget(self._where)
        head = QHBoxLayout()
        head.addLayout(words, 1)
        head.addWidget(self._stop)
        head.addWidget(self._use)
        pictures = QSplitter(Qt.Orientation.Horizontal)
        for title, canvas in ((self._newest_title, self.newest), (self._depth_title, self.depth_map)):
            side = QWidget()
            column = QVBoxLayout(side)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(3)
            column.addWidget(title)
            column.addWidget(canvas, 1)
            pictures.addWidget(side)
        below = QWidget()
        column = QVBoxLayout(below)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.film)
        column.addWidget(self.plot, 1)
        middle = QSplitter(Qt.Orientation.Vertical)
        middle.addWidget(pictures)
        middle.addWidget(below)
        middle.setSizes([430, 250])
        middle.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.addLayout(head)
        layout.addWidget(self.message_bar)
        layout.addWidget(middle, 1)

    def set_state(self, state: WatchState) -> None:
        """Show a state; tells nobody."""
        self._status.setText(state.status)
        writing = f"   {state.waiting} file{'s' * (state.waiting != 1)} being written" if state.waiting else ""
        self._where.setText(f"{state.folder or ''}{writing}")
        self._where.setToolTip(str(state.folder or ""))
        self._use.setEnabled(state.n >= MIN_FRAMES)
        self._stop.setEnabled(state.watching)
        self.message_bar.set_message(state.message)
        if state.rows != self._rows:
            self._fill_film(state.rows)

    def _fill_film(self, rows: tuple[WatchRow, ...]) -> None:
        new = {row.name for row in rows} - {row.name for row in self._rows}
        self._rows = rows
        self.film.clear()
        for row in rows:
            item = QListWidgetItem(self._icons.get(row.name, QIcon()), row.place)
            item.setToolTip(row.name)
            self.film.addItem(item)
            if row.name in new:
                self.film.scrollToItem(item)

    def add_thumbnails(self, pictures: dict[str, Picture]) -> None:
        """Take thumbnails (h, w, 3) by name; they show with the next state."""
        for name, picture in pictures.items():
            height, width = picture.shape[:2]
            image = QImage(picture.data, width, height, picture.strides[0], QImage.Format.Format_RGB888)
            self._icons[name] = QIcon(QPixmap.fromImage(image.copy()))
        if pictures:
            self._rows = ()

    def show_newest(self, picture: Picture) -> None:
        """Show the slice that came last."""
        self.newest.set_picture("left", make_pyramid(picture))
        self._newest_title.setText("Newest slice")

    def show_depth(self, depth: NDArray[np.float32], unit_symbol: str) -> None:
        """Show the depth so far, grey where it is not sure yet."""
        known = depth[np.isfinite(depth)]
        if not known.size:
            self.depth_map.set_picture("left", make_pyramid(np.full((*depth.shape, 3), 60, np.uint8)))
            self._depth_title.setText("Depth: not known yet")
            return
        low, high = (float(value) for value in np.quantile(known, (0.005, 0.995)))
        coloured = colour_map(depth, "viridis", low, max(high, low + 1e-6))
        self.depth_map.set_picture("left", make_pyramid(np.ascontiguousarray(coloured)))
        share = 100 * known.size / depth.size
        text = f"Depth so far: {low:.4g} (dark) to {high:.4g} {unit_symbol}, known for {share:.0f} %, not aligned"
        self._depth_title.setText(text)
        self._depth_title.setToolTip(text)

    def show_curve(self, curve: SharpnessCurve, unit_symbol: str) -> None:
        """Show how sharp the frame is at each position, and its regions in faint lines."""
        self._whole.setData(curve.z, curve.whole / max(float(curve.whole.max()), 1e-12))
        parts = curve.regions.reshape(-1, len(curve.z))
        parts = parts / np.maximum(parts.max(axis=1, keepdims=True), 1e-12)
        # one line with gaps is quicker than many
        gaps = np.full((len(parts), 1), np.nan)
        across = np.hstack([np.tile(curve.z, (len(parts), 1)), gaps]).ravel()
        self._parts.setData(across, np.hstack([parts, gaps]).ravel())
        words = "slice" if unit_symbol == "slices" else f"position / {unit_symbol}"
        self.plot.getPlotItem().setLabel("bottom", f"{words}   (bold: whole frame, faint: its regions)")

    def clear(self) -> None:
        """Begin anew."""
        self._icons, self._rows = {}, ()
        self.film.clear()
        self.newest.set_picture("left", None)
        self.depth_map.set_picture("left", None)
        self._newest_title.setText("Newest slice: none yet")
        self._depth_title.setText("Depth: not known yet")
        self._whole.setData([], [])
        self._parts.setData([], [])

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        c = theme.colours()
        self._use.setIcon(theme.icon("play"))
        self._stop.setIcon(theme.icon("stop-circle"))
        self.plot.setBackground(c.base)
        for name in ("bottom", "left"):
            axis = self.plot.getPlotItem().getAxis(name)
            axis.setPen(c.grid)
            axis.setTextPen(c.text)
        self._whole.setPen(pg.mkPen(c.accent, width=2))
        self._whole.setSymbol("o")
        self._whole.setSymbolSize(5)
        self._whole.setSymbolBrush(c.accent)
        self._whole.setSymbolPen(None)
        faint = pg.mkColor(c.muted)
        faint.setAlpha(90)
        self._parts.setPen(pg.mkPen(faint, width=1))
        for view in (self.newest, self.depth_map, self.message_bar):
            view.apply_theme()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.stopRequested.emit()
        super().closeEvent(event)

    def reject(self) -> None:
        """Escape closes the window, and with it the watch."""
        self.close()
