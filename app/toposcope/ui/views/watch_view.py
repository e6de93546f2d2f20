"""The watch window: slices as they come into a folder, the depth so far, and sharpness against focus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QIcon
from PySide6.QtWidgets import (
    QDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.advising import SweepAdvice
from toposcope.core.growing import SharpnessCurve
from toposcope.core.stack import MIN_FRAMES
from toposcope.ui import theme
from toposcope.ui.pyramid import Picture, make_pyramid
from toposcope.ui.session import Message
from toposcope.ui.views.message_bar import MessageBar
from toposcope.ui.views.scrolled import scrolled
from toposcope.ui.views.sweep_widgets import (
    UNKNOWN_DEPTH,
    AdviceLabel,
    SharpnessPlot,
    SliceFilm,
    TitledCanvas,
    draw_with_dots,
    icon_of,
    narrow_label,
    number_box,
    of_peak,
    sweep_layout,
)

PANEL_WIDTH: Final = 240
NO_SLICE: Final = "Newest slice: each appears once it is written"


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A slice in the strip: its name, and its position in words."""

    name: str
    place: str


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the watch window shows, beside pictures and the curve. ``waiting`` files are being written.

    ``step_um`` is 0 where slices are only counted; it counts where ``takes_step``: nothing else tells positions.
    """

    folder: Path | None = None
    watching: bool = False
    rows: tuple[WatchRow, ...] = ()
    status: str = ""
    count: str = ""
    waiting: int = 0
    following: bool = False
    problem: str | None = None
    message: Message | None = None
    step_um: float = 0.0
    takes_step: bool = True
    advice: SweepAdvice | None = None

    @property
    def n(self) -> int:
        """Number of slices so far."""
        return len(self.rows)


class WatchDialog(QDialog):
    """Shows the state of a watch and asks for everything by signals."""

    useRequested = Signal()
    stopRequested = Signal()
    stepEdited = Signal(float)  # µm
    messageClosed = Signal()
    offerChosen = Signal(object)  # Offer

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Watch a folder")
        self.resize(1180, 760)
        self.setMinimumSize(QSize(720, 480))
        self._icons: dict[str, QIcon] = {}
        self._rows: tuple[WatchRow, ...] = ()
        self._icons_are_new = False
        self._make_widgets()
        self._lay_out()
        self.apply_theme()
        self.film.setFocus()  # not the step, which nobody should type into by chance

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
        self._step = number_box(0.0, 1e5, " µm", 3, "")
        self._step.setMinimumWidth(120)
        self._step.valueChanged.connect(self.stepEdited)
        self._step_label = QLabel("&Step")
        self._step_label.setBuddy(self._step)
        self._advice = AdviceLabel()
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
        head.addWidget(self._step_label)
        head.addWidget(self._step)
        head.addWidget(self._stop)
        head.addWidget(self._use)
        middle = QHBoxLayout()
        middle.addWidget(sweep_layout((self.newest, self.depth_map), (self.film, self.plot), (430, 250)), 1)
        group = QGroupBox("Next sweep")
        QVBoxLayout(group).addWidget(self._advice)
        group.setMinimumWidth(PANEL_WIDTH)
        panel = QWidget()
        column = QVBoxLayout(panel)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(group)
        column.addStretch(1)
        self._panel = scrolled(panel)
        middle.addWidget(self._panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.addLayout(head)
        layout.addWidget(self.message_bar)
        layout.addLayout(middle, 1)

    def set_state(self, state: WatchState) -> None:
        """Show a state; tells nobody."""
        self._status.setText(state.status)
        self._status.setToolTip(state.status)  # a small window cuts it off
        writing = f"   {state.waiting} file{'s' * (state.waiting != 1)} being written" if state.waiting else ""
        self._where.setText(f"{state.folder or ''}{writing}")
        self._where.setToolTip(str(state.folder or ""))
        self._use.setEnabled(state.n >= MIN_FRAMES)
        self._stop.setEnabled(state.watching)
        self.message_bar.set_message(state.message)
        self._panel.setVisible(state.advice is not None)
        self._advice.set_advice(state.advice)
        self._show_step(state)
        if state.rows != self._rows or self._icons_are_new:
            self._fill_film(state.rows)

    def _show_step(self, state: WatchState) -> None:
        self._step.setEnabled(state.takes_step)
        self._step.setSpecialValueText("unknown" if state.takes_step else "from the files")
        self._step.setToolTip(
            "Distance in z from slice to slice. Nothing in the folder tells it; without it slices are counted"
            if state.takes_step
            else "The files, or their names, tell where each slice lies"
        )
        value = state.step_um if state.takes_step else 0.0
        if self._step.value() != value:
            with QSignalBlocker(self._step):
                self._step.setValue(value)

    def _fill_film(self, rows: tuple[WatchRow, ...]) -> None:
        known = [row.name for row in self._rows]
        self._rows, self._icons_are_new = rows, False
        if known == [row.name for row in rows]:  # they only moved: the film stays where it was scrolled to
            for k, row in enumerate(rows):
                self.film.item(k).setText(row.place)
                self.film.item(k).setIcon(self._icons.get(row.name, QIcon()))
            return
        self.film.clear()
        for row in rows:
            item = self.film.add(self._icons.get(row.name, QIcon()), row.place, row.name)
            if row.name not in known:
                self.film.scrollToItem(item)

    def add_thumbnails(self, pictures: dict[str, Picture]) -> None:
        """Take thumbnails (h, w, 3) by name; they show with the next state."""
        self._icons |= {name: icon_of(picture) for name, picture in pictures.items()}
        self._icons_are_new = self._icons_are_new or bool(pictures)

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
        words = "slice" if unit_symbol == "slices" else f"focus position ({unit_symbol})"
        self.plot.set_across(f"{words} · bold: whole frame, faint: its regions")

    def clear(self) -> None:
        """Begin anew."""
        self._icons, self._rows, self._icons_are_new = {}, (), False
        self.film.clear()
        for picture, title in ((self.newest, NO_SLICE), (self.depth_map, UNKNOWN_DEPTH)):
            picture.canvas.set_picture("left", None)
            picture.set_title(title)
        self._whole.setData([], [])
        self._parts.setData([], [])
        self.plot.set_across("focus position", values=False)

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
        event.accept()  # a dialog's own way is to call reject, which leads here

    def reject(self) -> None:
        """Escape closes the window, and with it the watch."""
        self.close()
