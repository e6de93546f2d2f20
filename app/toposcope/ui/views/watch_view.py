"""The watch window: slices as they come into a folder, the depth so far, and sharpness against focus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QIcon
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.growing import SharpnessCurve
from toposcope.core.stack import MIN_FRAMES
from toposcope.ui import theme
from toposcope.ui.pyramid import Picture, make_pyramid
from toposcope.ui.session import Message
from toposcope.ui.views.message_bar import MessageBar
from toposcope.ui.views.sweep_widgets import (
    UNKNOWN_DEPTH,
    SharpnessPlot,
    SliceFilm,
    TitledCanvas,
    draw_with_dots,
    icon_of,
    narrow_label,
    of_peak,
    sweep_layout,
)


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
        self._status, self._where = narrow_label(role="heading"), narrow_label(role="muted")
        self._use = QPushButton("Use now")
        self._use.setToolTip("Open the slices so far as a stack, and compute its depth with all care")
        self._use.clicked.connect(self.useRequested)
        self._stop = QPushButton("Stop")
        self._stop.setToolTip("Watch no longer; the files stay as they are")
        self._stop.clicked.connect(self.stopRequested)
        for button in (self._use, self._stop):
            button.setAutoDefault(False)
        self.newest, self.depth_map = TitledCanvas(), TitledCanvas()
        self.film = SliceFilm()
        self.plot = SharpnessPlot()
        self._parts, self._whole = self.plot.add_line(connect="finite"), self.plot.add_line()

    def _lay_out(self) -> None:
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self._status)
        words.addWidget(self._where)
        head = QHBoxLayout()
        head.addLayout(words, 1)
        head.addWidget(self._stop)
        head.addWidget(self._use)
        middle = sweep_layout((self.newest, self.depth_map), (self.film, self.plot), (430, 250))
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
            item = self.film.add(self._icons.get(row.name, QIcon()), row.place, row.name)
            if row.name in new:
                self.film.scrollToItem(item)

    def add_thumbnails(self, pictures: dict[str, Picture]) -> None:
        """Take thumbnails (h, w, 3) by name; they show with the next state."""
        self._icons |= {name: icon_of(picture) for name, picture in pictures.items()}
        if pictures:
            self._rows = ()

    def show_newest(self, picture: Picture) -> None:
        """Show the slice that came last."""
        self.newest.canvas.set_picture("left", make_pyramid(picture))
        self.newest.set_title("Newest slice")

    def show_depth(self, depth: NDArray[np.float32], unit_symbol: str) -> None:
        """Show the depth so far, grey where it is not sure yet."""
        self.depth_map.show_depth(depth, unit_symbol, "not aligned")

    def show_curve(self, curve: SharpnessCurve, unit_symbol: str) -> None:
        """Show how sharp the frame is at each position, and its regions in faint lines."""
        self._whole.setData(curve.z, of_peak(curve.whole))
        parts = of_peak(curve.regions.reshape(-1, len(curve.z)))
        # one line with gaps is quicker than many
        gaps = np.full((len(parts), 1), np.nan)
        across = np.hstack([np.tile(curve.z, (len(parts), 1)), gaps]).ravel()
        self._parts.setData(across, np.hstack([parts, gaps]).ravel())
        words = "slice" if unit_symbol == "slices" else f"position / {unit_symbol}"
        self.plot.set_across(f"{words}   (bold: whole frame, faint: its regions)")

    def clear(self) -> None:
        """Begin anew."""
        self._icons, self._rows = {}, ()
        self.film.clear()
        for picture, title in ((self.newest, "Newest slice: none yet"), (self.depth_map, UNKNOWN_DEPTH)):
            picture.canvas.set_picture("left", None)
            picture.set_title(title)
        self._whole.setData([], [])
        self._parts.setData([], [])

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        c = theme.colours()
        self._use.setIcon(theme.icon("play"))
        self._stop.setIcon(theme.icon("stop-circle"))
        draw_with_dots(self._whole, c.accent)
        faint = pg.mkColor(c.muted)
        faint.setAlpha(90)
        self._parts.setPen(pg.mkPen(faint, width=1))
        for view in (self.newest.canvas, self.depth_map.canvas, self.plot, self.message_bar):
            view.apply_theme()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.stopRequested.emit()
        super().closeEvent(event)

    def reject(self) -> None:
        """Escape closes the window, and with it the watch."""
        self.close()
