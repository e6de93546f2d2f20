"""The capture window: what the camera sees, what is known of depth so far, the autofocus curve and the sweep."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.growing import REGIONS, SharpnessCurve
from toposcope.core.words import number
from toposcope.ui import theme
from toposcope.ui.capture_state import CaptureState, CaptureView
from toposcope.ui.pyramid import Picture, make_pyramid
from toposcope.ui.rendering import thumbnail
from toposcope.ui.views.message_bar import MessageBar
from toposcope.ui.views.scrolled import scrolled
from toposcope.ui.views.sweep_widgets import (
    THUMBNAIL_SIDE,
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
    set_role,
    sweep_layout,
)

WHITE_WARNING: Final = 0.002
"""Share of white pixels from which on the live view says so."""
CONFIGURATION_FILTER: Final = "Micro-Manager configuration (*.cfg);;All files (*)"
STACK_FILTER: Final = "OME-TIFF (*.ome.tif)"


class CaptureDialog(QDialog):
    """Shows the state of a capture and asks for everything by signals."""

    sourceChosen = Signal(str, object)  # simulated or configuration, Path or None
    connectRequested = Signal()
    liveToggled = Signal(bool)
    moveRequested = Signal(float)  # to z in micrometres
    moveByRequested = Signal(float)
    sharpestRequested = Signal()
    exposureEdited = Signal(float)  # ms
    planEdited = Signal(object)  # changed fields of the state by name
    endRequested = Signal(str)  # top or bottom: take it from the stage
    stepRequested = Signal()
    pathChosen = Signal(object)  # Path
    startRequested = Signal()
    resumeRequested = Signal()
    pauseRequested = Signal()
    abortRequested = Signal()
    applyRequested = Signal()
    openRequested = Signal()
    openUnfinishedRequested = Signal()
    regionChosen = Signal(object)  # (row, column) of the regions, None for the whole picture
    curveForgotten = Signal()
    messageClosed = Signal()
    closeRefused = Signal()  # the sweep runs

    def __init__(self, folder: Callable[[], str] = lambda: "", parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Capture")
        self._folder = folder
        self._state: CaptureState | None = None
        self._shape: tuple[int, int] | None = None
        self._filling = False
        self.resize(1240, 800)
        self.setMinimumSize(QSize(760, 520))
        self._make_pictures()
        self._make_connection()
        self._make_stage()
        self._make_sweep()
        self._lay_out()
        self.apply_theme()

    # building

    def _make_pictures(self) -> None:
        self._camera = TitledCanvas("Camera: not connected")
        self._depth = TitledCanvas("Depth: builds up with each slice")
        self.live, self.depth_map = self._camera.canvas, self._depth.canvas
        self.live.setToolTip("Click a part of the picture to follow its sharpness; click it again for the whole")
        self.live.pinRequested.connect(self._on_clicked)
        self.film = SliceFilm()
        self.plot = SharpnessPlot()
        self._whole, self._part = self.plot.add_line(), self.plot.add_line()
        self._here = pg.InfiniteLine(0.0, angle=90)
        self._ends = pg.LinearRegionItem(movable=False)
        self._ends.setZValue(-10)
        for line in (self._ends, self._here):
            line.setVisible(False)
            self.plot.getPlotItem().addItem(line, ignoreBounds=True)
        self._curve_text = narrow_label(role="muted")
        self._sharpest = QPushButton("Go to the sharpest")
        self._sharpest.setToolTip("Move the stage to where this curve is highest")
        self._sharpest.clicked.connect(self.sharpestRequested)
        self._forget = QPushButton("Begin anew")
        self._forget.setToolTip("Forget the curve, after the light or the place has changed")
        self._forget.clicked.connect(self.curveForgotten)

    def _make_connection(self) -> None:
        self.message_bar = MessageBar()
        self.message_bar.closeRequested.connect(self.messageClosed)
        self._source = QComboBox()
        self._source.addItem("Simulated microscope", "simulated")
        self._source.addItem("Micro-Manager configuration …", "configuration")
        self._source.activated.connect(self._on_source)
        self._connect = QPushButton("Connect")
        self._connect.clicked.connect(self.connectRequested)
        self._connection = narrow_label(role="muted")
        self._live_box = QCheckBox("Live")
        self._live_box.setToolTip("Show what the camera sees")
        self._live_box.toggled.connect(lambda on: None if self._filling else self.liveToggled.emit(on))

    def _make_stage(self) -> None:
        self._z = _length(-1e6, 1e6, "Where the stage is; type where it shall go")
        self._z.editingFinished.connect(self._on_z_typed)
        self._jump = _length(0.01, 1e5, "How far the arrows move the stage")
        self._jump.setValue(1.0)
        self._up, self._down = QToolButton(), QToolButton()
        self._up.setToolTip("Move to greater z")
        self._down.setToolTip("Move to less z")
        for button, sign in ((self._up, 1), (self._down, -1)):
            button.setAutoRepeat(True)
            button.setAutoRepeatInterval(150)
            button.clicked.connect(lambda _=False, s=sign: self.moveByRequested.emit(s * self._jump.value()))
        self._exposure = number_box(0.001, 600_000.0, " ms", 3, "How long each picture is exposed")
        self._exposure.valueChanged.connect(lambda value: None if self._filling else self.exposureEdited.emit(value))
        self._na = number_box(
            0.0, 1.7, "", 3, "Numerical aperture of the objective: the depth of field follows from it"
        )
        self._na.setSpecialValueText("unknown")
        self._na.setSingleStep(0.05)
        self._pixel = number_box(0.0, 1000.0, " µm", 4, "Side of a pixel on the object")
        self._pixel.setSpecialValueText("unknown")
        self._na.valueChanged.connect(lambda value: self._edit(na=value))
        self._pixel.valueChanged.connect(lambda value: self._edit(pixel_um=value))

    def _make_sweep(self) -> None:
        self._top = _length(-1e6, 1e6, "Greatest z of the sweep")
        self._bottom = _length(-1e6, 1e6, "Least z of the sweep")
        self._step = _length(0.001, 1e5, "At most this from slice to slice")
        self._top.valueChanged.connect(lambda value: self._edit(top_um=value))
        self._bottom.valueChanged.connect(lambda value: self._edit(bottom_um=value))
        self._step.valueChanged.connect(lambda value: self._edit(step_um=value))
        self._settle = number_box(0.0, 60.0, " s", 2, "How long to wait after each move, until nothing shakes any more")
        self._settle.valueChanged.connect(lambda value: self._edit(settle_s=value))
        self._set_top, self._set_bottom = QPushButton("Here"), QPushButton("Here")
        self._set_top.setToolTip("Take the top from where the stage is now")
        self._set_bottom.setToolTip("Take the bottom from where the stage is now")
        self._set_top.clicked.connect(lambda: self.endRequested.emit("top"))
        self._set_bottom.clicked.connect(lambda: self.endRequested.emit("bottom"))
        self._propose = QPushButton("Propose")
        self._propose.clicked.connect(self.stepRequested)
        self._plan = QLabel()
        self._plan.setWordWrap(True)
        self._path = QLineEdit()
        self._path.setReadOnly(True)
        self._path.setPlaceholderText("Where the stack shall lie")
        self._browse = QToolButton()
        self._browse.setToolTip("Choose a file")
        self._browse.clicked.connect(self._on_browse)
        self._start, self._go_on = QPushButton("Start the sweep"), QPushButton("Go on with it")
        self._go_on.setToolTip("Take the slices that are missing")
        self._pause, self._abort = QPushButton("Pause"), QPushButton("Abort")
        self._abort.setToolTip("Stop; the slices are kept, and the stage goes back to where it was")
        for button, signal in (
            (self._start, self.startRequested),
            (self._go_on, self.resumeRequested),
            (self._pause, self.pauseRequested),
            (self._abort, self.abortRequested),
        ):
            button.clicked.connect(signal)
            button.setAutoDefault(False)
        self._progress = QProgressBar()
        self._progress.setRange(0, 1000)
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._advice = AdviceLabel()
        self._apply = QPushButton("Apply the proposal")
        self._apply.setToolTip("Fill in the proposed sweep")
        self._apply.clicked.connect(self.applyRequested)
        self._open = QPushButton("Open the stack")
        self._open.clicked.connect(self.openRequested)
        self._open_unfinished = QPushButton("Open the unfinished sweep")
        self._open_unfinished.clicked.connect(self.openUnfinishedRequested)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        for widget, stretch in ((self._source, 0), (self._connect, 0), (self._connection, 1), (self._live_box, 0)):
            head.addWidget(widget, stretch)
        words = _row(self._curve_text, self._forget, self._sharpest)
        left = sweep_layout((self._camera, self._depth), (self.film, self.plot, words), (430, 270))
        middle = QHBoxLayout()
        middle.addWidget(left, 1)
        panel = scrolled(self._panel())
        panel.setFixedWidth(330)
        middle.addWidget(panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.addLayout(head)
        layout.addWidget(self.message_bar)
        layout.addLayout(middle, 1)
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)  # Return belongs to the fields

    def _panel(self) -> QWidget:
        panel = QWidget()
        column = QVBoxLayout(panel)
        column.setContentsMargins(6, 0, 6, 0)
        stage, form = _group("Stage and camera")
        form.addRow("Position z", _row(self._z, self._down, self._up))
        form.addRow("Arrows", self._jump)
        form.addRow("Exposure", self._exposure)
        form.addRow("Aperture NA", self._na)
        form.addRow("Pixel", self._pixel)
        sweep, form = _group("Sweep")
        form.addRow("Top", _row(self._top, self._set_top))
        form.addRow("Bottom", _row(self._bottom, self._set_bottom))
        form.addRow("Step", _row(self._step, self._propose))
        form.addRow("Settle", self._settle)
        form.addRow(self._plan)
        form.addRow("File", _row(self._path, self._browse))
        form.addRow(_row(self._start, self._go_on))
        form.addRow(_row(self._pause, self._abort))
        form.addRow(self._progress)
        form.addRow(self._status)
        self._after, form = _group("Next")
        form.addRow(self._advice)
        form.addRow(self._apply)
        form.addRow(self._open)
        form.addRow(self._open_unfinished)
        for group in (stage, sweep, self._after):
            column.addWidget(group)
        column.addStretch(1)
        return panel

    # showing

    def set_state(self, state: CaptureState, view: CaptureView) -> None:
        """Show a state and what follows from it; tells nobody."""
        self._state = state
        self._filling = True
        try:
            self._fill(state, view)
        finally:
            self._filling = False
        self._show_curve(state.curve, state.region)
        self._here.setVisible(math.isfinite(state.z_um))
        if math.isfinite(state.z_um):
            self._here.setValue(state.z_um)
        self._ends.setVisible(state.connection is not None and state.top_um > state.bottom_um)
        self._ends.setRegion((state.bottom_um, max(state.top_um, state.bottom_um)))
        self._show_x_range(state)

    def _fill(self, state: CaptureState, view: CaptureView) -> None:
        file = state.configuration
        self._source.setItemText(1, "Micro-Manager configuration …" if file is None else f"Micro-Manager: {file.name}")
        self._source.setCurrentIndex(self._source.findData(state.source))
        self._connect.setText(view.connect_label)
        self._connect.setEnabled(view.can_connect)
        self._source.setEnabled(view.can_connect)
        self._connection.setText(view.connection)
        self._connection.setToolTip(view.connection)
        self._live_box.setEnabled(view.can_use)
        self._live_box.setChecked(state.live)
        for box, value in (
            (self._exposure, state.exposure_ms),
            (self._na, state.na),
            (self._pixel, state.pixel_um),
            (self._top, state.top_um),
            (self._bottom, state.bottom_um),
            (self._step, state.step_um),
            (self._settle, state.settle_s),
        ):
            box.setEnabled(view.can_use)
            if box.value() != value:
                box.setValue(value)
        self._z.setEnabled(view.can_use)
        if math.isfinite(state.z_um) and not self._z.hasFocus() and self._z.value() != state.z_um:
            self._z.setValue(state.z_um)
        for button in (self._up, self._down, self._jump, self._set_top, self._set_bottom, self._propose, self._browse):
            button.setEnabled(view.can_use)
        self._sharpest.setEnabled(view.can_use and state.curve is not None)
        self._forget.setEnabled(view.can_use and state.curve is not None)
        self._propose.setToolTip(view.proposed_step or "Type the numerical aperture first")
        self._plan.setText(view.plan)
        set_role(self._plan, "warning" if view.plan_is_wrong else "muted")
        self._path.setText("" if state.path is None else state.path.name)
        self._path.setToolTip("" if state.path is None else str(state.path))
        self._start.setEnabled(view.can_start and not view.can_go_on)
        self._start.setToolTip("" if state.path is not None else "Choose a file first")
        self._go_on.setVisible(view.can_go_on)
        self._go_on.setEnabled(view.can_go_on)
        self._pause.setText(view.pause_label)
        for widget in (self._pause, self._abort, self._progress):
            widget.setVisible(state.running)
        self._progress.setValue(0 if state.progress is None else round(1000 * state.progress.fraction))
        self._status.setText(view.status)
        self._status.setVisible(bool(view.status))
        self._advice.set_advice(state.proposal)
        self._advice.setVisible(state.proposal is not None)
        self._apply.setVisible(state.proposal is not None and bool(state.proposal.reasons))
        self._open.setVisible(view.can_open)
        self._open.setText(view.open_label)
        self._open.setToolTip(f"The sweep taken last: {state.result}")
        self._open_unfinished.setVisible(view.can_open_unfinished)
        self._open_unfinished.setToolTip(f"What there is of it: {state.unfinished}")
        offers = view.can_open or view.can_open_unfinished
        self._after.setVisible(offers or (state.proposal is not None and not state.running))
        self.message_bar.set_message(state.message)
        pixel_um = state.pixel_um or None
        self.live.set_pixel(pixel_um)
        self.depth_map.set_pixel(pixel_um)

    def show_live(self, picture: Picture, saturated: float, region: tuple[int, int] | None) -> None:
        """Show what the camera sees; the chosen region is framed."""
        self._shape = picture.shape[0], picture.shape[1]
        self.live.set_picture("left", make_pyramid(framed(picture, region)))
        white = f"   {100 * saturated:.1f} % white: expose less" if saturated > WHITE_WARNING else ""
        self._camera.set_title(f"Camera{white}", "warning" if white else "")

    def show_slice(
        self,
        picture: Picture,
        z_um: float,
        saturated: float,
        depth: NDArray[np.float32],
        region: tuple[int, int] | None,
    ) -> None:
        """Add a slice to the film and show the depth that is known since."""
        self.show_live(picture, saturated, region)
        small, _ = thumbnail(picture, (0, 255), THUMBNAIL_SIDE)
        self.film.scrollToItem(self.film.add(icon_of(small), f"{number(z_um)} µm"))
        self._depth.show_depth(depth, "µm")

    def clear_film(self) -> None:
        """Begin a new film."""
        self.film.clear()
        self.depth_map.set_picture("left", None)
        self._depth.set_title(UNKNOWN_DEPTH)

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        c = theme.colours()
        self._up.setIcon(theme.icon("arrow-up"))
        self._down.setIcon(theme.icon("arrow-down"))
        self._browse.setIcon(theme.icon("folder-open"))
        self._start.setIcon(theme.icon("play"))
        self._abort.setIcon(theme.icon("stop-circle"))
        self._sharpest.setIcon(theme.icon("crosshair"))
        draw_with_dots(self._whole, c.accent)
        draw_with_dots(self._part, c.pins[1])
        self._here.setPen(pg.mkPen(c.muted, width=1, style=Qt.PenStyle.DashLine))
        ground = pg.mkColor(c.accent)
        ground.setAlpha(28)
        self._ends.setBrush(ground)
        for line in self._ends.lines:
            line.setPen(pg.mkPen(c.muted))
        for view in (self.live, self.depth_map, self.plot, self.message_bar):
            view.apply_theme()

    def _show_curve(self, curve: SharpnessCurve | None, region: tuple[int, int] | None) -> None:
        if curve is None or not len(curve.z):
            self._whole.setData([], [])
            self._part.setData([], [])
            text = "Move the stage to see where the picture is sharpest."
            self._curve_text.setText(text)
            self._curve_text.setToolTip(text)
            return
        self._whole.setData(curve.z, of_peak(curve.whole))
        text = "Blue: whole"
        if region is not None and region[0] < curve.regions.shape[0] and region[1] < curve.regions.shape[1]:
            self._part.setData(curve.z, of_peak(curve.regions[region]))
            text += " · orange: frame"
        else:
            self._part.setData([], [])
            text += " · click into the picture to follow a part"
        text += " · dashed: stage"
        self._curve_text.setText(text)
        self._curve_text.setToolTip(f"{text} · shaded: sweep")

    def _show_x_range(self, state: CaptureState) -> None:
        places = [state.z_um] if math.isfinite(state.z_um) else []
        if state.connection is not None:
            places += [state.bottom_um, state.top_um]
        if state.curve is not None and len(state.curve.z):
            places += [float(state.curve.z[0]), float(state.curve.z[-1])]
        self.plot.set_across("z (µm)", values=bool(places))
        if places:
            low, high = min(places), max(places)
            self.plot.setXRange(low, max(high, low + 1), padding=0.04)

    # asking

    def _edit(self, **changes: Any) -> None:
        if not self._filling:
            self.planEdited.emit(changes)

    def _on_source(self, index: int) -> None:
        source = self._source.itemData(index)
        if source != "configuration":
            self.sourceChosen.emit(source, None)
            return
        name, _ = QFileDialog.getOpenFileName(
            self, "Configuration of the microscope", self._folder(), CONFIGURATION_FILTER
        )
        if name:
            self.sourceChosen.emit(source, Path(name))
        elif self._state is not None:
            self._source.setCurrentIndex(self._source.findData(self._state.source))

    def _on_browse(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self,
            "Where the stack shall lie",
            str(Path(self._folder()) / "scan.ome.tif"),
            STACK_FILTER,
            options=QFileDialog.Option.DontConfirmOverwrite,  # what is there is never replaced
        )
        if name:
            path = Path(name)
            self.pathChosen.emit(path if path.suffix else path.with_name(f"{path.name}.ome.tif"))

    def _on_z_typed(self) -> None:
        if self._state is None or self._filling:
            return
        if abs(self._z.value() - self._state.z_um) > 0.5 * 10.0 ** -self._z.decimals():  # else nobody typed
            self.moveRequested.emit(self._z.value())

    def _on_clicked(self, row: int, column: int) -> None:
        if self._shape is None or self._state is None:
            return
        region = row * REGIONS // self._shape[0], column * REGIONS // self._shape[1]
        self.regionChosen.emit(None if region == self._state.region else region)

    def reject(self) -> None:
        self.close()  # by Esc, too, which else passes closeEvent by

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._state is not None and self._state.running:
            self.closeRefused.emit()
            event.ignore()
            return
        if self._state is not None and self._state.live:
            self.liveToggled.emit(False)  # nobody looks
        event.accept()  # a dialog's own way is to call reject, which leads here


def framed(picture: Picture, region: tuple[int, int] | None) -> Picture:
    """Return a picture with the chosen region framed; the picture itself is left alone."""
    if region is None:
        return picture
    height, width = picture.shape[:2]
    top, bottom = (region[0] * height // REGIONS, (region[0] + 1) * height // REGIONS - 1)
    left, right = (region[1] * width // REGIONS, (region[1] + 1) * width // REGIONS - 1)
    colour: Picture = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture.copy()
    cv2.rectangle(colour, (left, top), (right, bottom), (240, 169, 58), max(1, width // 300))
    return colour


def _length(low: float, high: float, tip: str) -> QDoubleSpinBox:
    box = number_box(low, high, " µm", 2, tip)
    box.setStepType(QDoubleSpinBox.StepType.DefaultStepType)
    return box


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for k, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if k == 0 else 0)
    return row


def _group(title: str) -> tuple[QGroupBox, QFormLayout]:
    group = QGroupBox(title)
    form = QFormLayout(group)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return group, form
