"""The 3D view: the surface, the buttons around it, and what the mouse does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cmap
import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent, QMouseEvent, QNativeGestureEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSlider,
    QStackedWidget,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

from toposcope.core.jobs import Report, silent
from toposcope.core.words import number
from toposcope.errors import MissingPartError
from toposcope.ui import theme
from toposcope.ui.opengl import opengl_problem
from toposcope.ui.turntable import Turntable
from toposcope.ui.views.surface_data import STEP_CUT, Camera, PreparedSurface, Preset, pick, prepare_surface

if TYPE_CHECKING:
    from toposcope.ui.views.heightfield import Colouring
    from toposcope.ui.views.surface_scene import Pin, SurfaceScene

__all__ = ["SurfaceView", "prepare_surface"]

EMPTY_TEXT: Final = "No surface yet: open a stack, and its depth will stand here in 3D."
CLICK_REACH: Final = 4  # pixels that a click may shake
LEAST: Final = 0.1  # heights that are little more than guesses stand about as pillars
STILL_MS: Final = 250  # the fine mesh comes back after this rest

_COLOURINGS: Final[tuple[tuple[Colouring, str], ...]] = (
    ("texture", "Picture"),
    ("height", "Height"),
    ("plain", "Plain"),
)
_PRESETS: Final[tuple[tuple[Preset, str, str, str], ...]] = (
    ("top", "Top", "1", "From the top: the picture itself"),
    ("front", "Front", "2", "From the front: heights to scale, no perspective"),
    ("side", "Side", "3", "From the side: heights to scale, no perspective"),
    ("isometric", "3D", "4", "From above, at an angle"),
)


class SurfaceView(QWidget):
    """Surface in 3D, with pins, light, exaggeration and colour.

    Drag: turn. Right or middle drag, or Shift and drag: move. Wheel: zoom to the cursor. Click: pick.
    Arrow keys, + and -, Home and 1 to 4 do the same from the keyboard.

    Without OpenGL it shows what is missing in place of the surface; every method may still be called.
    """

    pointPicked = Signal(int, int)  # row and column of the pixel that was clicked
    pointHovered = Signal(int, int)  # row and column under the cursor; (-1, -1) when off the surface
    screenshotRequested = Signal()
    turntableRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._surface: PreparedSurface | None = None
        self._camera = Camera()
        self._exaggeration = 1.0
        self._colour_mode: Colouring = "texture"
        self._fitted = False  # the view shows all, until the user moves it
        self._press: QPointF | None = None
        self._last = QPointF()
        self._dragged = False
        self._scene: SurfaceScene | None = None
        self._problem = opengl_problem()
        self._still = QTimer(self, singleShot=True, interval=STILL_MS)
        self._still.timeout.connect(self._on_still)

        self._bar_plot = pg.GraphicsLayoutWidget()
        self._bar = pg.ColorBarItem(values=(0.0, 1.0), width=14, interactive=False, colorMapMenu=False)
        self._bar_plot.addItem(self._bar)
        self._bar_plot.ci.setContentsMargins(2, 8, 2, 8)
        self._bar_plot.setFixedWidth(86)
        self._tools = self._make_tools()

        self._message = QLabel(self._problem or EMPTY_TEXT)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setMargin(24)
        self._message.setProperty("role", "muted")
        self._message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._message)
        if self._problem is None:
            self._make_scene()
        row = QHBoxLayout()
        row.setSpacing(0)
        row.addWidget(self._pages, 1)
        row.addWidget(self._bar_plot)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._tools)
        column.addLayout(row, 1)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.set_colour("texture", "viridis")
        self.set_least_confidence(LEAST)
        self._show_page()
        self.apply_theme()

    # setters, called by a controller

    @property
    def problem(self) -> str | None:
        """What is missing for the 3D view, None when it works."""
        return self._problem

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Width and height of the view itself, in logical pixels."""
        return self._size()

    def set_surface(
        self,
        heights: NDArray[np.float32],
        texture: NDArray[np.uint8] | None = None,
        pixel: float | None = None,
        unit_symbol: str = "",
    ) -> None:
        """Show a height map: `prepare_surface` and `set_prepared` in one, for maps of a few megapixels."""
        self.set_prepared(prepare_surface(heights, texture, pixel, unit_symbol))

    def set_prepared(self, surface: PreparedSurface | None) -> None:
        """Show a surface that a worker prepared, or None for nothing.

        The camera stays where it is when the surface has the shape of the one before, as the full
        result has after its preview.
        """
        before, self._surface = self._surface, surface
        if self._scene is not None:
            if surface is None:
                self._scene.clear()
            else:
                self._scene.set_surface(surface)
                self._on_cut(self._cut_action.isChecked())
        if surface is not None:
            self._least_button.setEnabled(surface.confidence is not None)
            self._bar.setLevels((surface.low, surface.high))
            self._bar.getAxis("right").setLabel(f"height ({surface.unit_symbol})" if surface.unit_symbol else "height")
            self._exaggeration_slider.setRange(-100, 300 if surface.pixel is not None else 100)
            if before is None or not _alike(before, surface):
                self.set_exaggeration(1.0)
                self.set_view("isometric")
        self._show_page()

    @property
    def colouring(self) -> Colouring:
        """What the surface is coloured by."""
        return self._colour_mode

    def set_colour(self, mode: Colouring, colour_map_name: str | None = None) -> None:
        """Colour by ``"texture"`` (the picture), ``"height"`` or ``"plain"``."""
        if colour_map_name is not None:
            self._bar.setColorMap(cmap.Colormap(colour_map_name).to_pyqtgraph())
        if self._scene is not None:
            self._scene.field.set_colouring(mode)
            if colour_map_name is not None:
                self._scene.field.set_colour_map(colour_map_name)
        self._colour_mode = mode
        index = [name for name, _ in _COLOURINGS].index(mode)
        self._colour_actions.actions()[index].setChecked(True)
        self._bar_plot.setVisible(mode == "height" and self._surface is not None)

    def set_colour_map(self, name: str) -> None:
        """Take another colour map for heights; what the surface is coloured by stays."""
        self.set_colour(self._colour_mode, name)

    def set_exaggeration(self, exaggeration: float) -> None:
        """Stretch heights; 1 is true to scale where the stack is calibrated."""
        self._exaggeration = exaggeration
        self._exaggeration_slider.blockSignals(True)
        self._exaggeration_slider.setValue(round(100 * np.log10(exaggeration)))
        self._exaggeration_slider.blockSignals(False)
        self._exaggeration_button.setText(f"×{number(exaggeration, 3)}")
        if self._scene is not None:
            self._scene.set_exaggeration(exaggeration)
            self._camera = self._fit(self._camera, self._size())
            self._look(moving=False)

    def set_light(self, azimuth: float, elevation: float, ambient: float = 0.3) -> None:
        """Light from ``azimuth`` (degrees clockwise from the top of the screen), ``elevation`` above ground."""
        for slider, value in zip(self._light_sliders, (azimuth, elevation, 100 * ambient), strict=True):
            slider.blockSignals(True)
            slider.setValue(round(value))
            slider.blockSignals(False)
        if self._scene is not None:
            self._scene.set_light(azimuth, elevation, ambient)

    def set_pins(self, pins: Sequence[Pin]) -> None:
        """Stick numbered pins (number, row, column, colour) into the surface."""
        if self._scene is not None:
            self._scene.set_pins(pins)

    def set_view(self, preset: Preset) -> None:
        """Turn to a standard view that shows the whole surface; ``"fit"`` keeps the direction."""
        self._camera = self._camera.preset(preset)
        self._fitted = True
        self._camera = self._fit(self._camera, self._size())
        self._look(moving=False)

    def set_framed(self, on: bool) -> None:
        """Show or hide the frame with the dimensions."""
        self._frame_action.setChecked(on)

    def set_cut(self, on: bool) -> None:
        """Leave the walls at steep steps out, which no camera has seen."""
        self._cut_action.setChecked(on)

    def set_least_confidence(self, confidence: float) -> None:
        """Hide heights less certain than ``confidence`` (0..1); 0 shows all."""
        self._least_slider.setValue(round(100 * confidence))

    def apply_theme(self) -> None:
        """Take the colours of the theme, after it was changed."""
        c = theme.colours()
        self._bar_plot.setBackground(c.window)
        axis = self._bar.getAxis("right")
        axis.setPen(pg.mkPen(c.grid))
        axis.setTextPen(pg.mkPen(c.text))
        axis.enableAutoSIPrefix(False)
        for button, name in self._icons:
            button.setIcon(theme.icon(name))
        theme.dress_tool_bar(self._tools)
        if self._scene is not None:
            self._scene.set_colours(c.base, c.muted)

    # what the user gets out of it

    def screenshot(self, width: int, height: int, transparent: bool = False) -> NDArray[np.uint8]:
        """Return the view as (height, width, 4) RGBA at any size, larger than the window too.

        A view that shows the whole surface is fitted anew to the shape of the picture.

        Raises
        ------
        MissingPartError
            Where there is no OpenGL.
        """
        return self._render(self._fit(self._camera, (width, height)), width, height, transparent)

    def turntable(
        self, path: Path, frames: int = 72, size: tuple[int, int] = (640, 480), report: Report = silent
    ) -> Turntable:
        """Start writing one turn of the surface to a GIF, a frame at a time beside the user's work.

        Returns the running job; it tells by its signals when it is done.

        Raises
        ------
        MissingPartError
            Where there is no OpenGL.
        """
        if self._scene is None:
            raise MissingPartError(self._problem or "The 3D view has no OpenGL.")
        # all of it must stay in the picture at each angle
        around = (self._fit(self._camera.orbited(angle, 0.0), size) for angle in range(0, 360, 15))
        camera = replace(max(around, key=lambda c: c.span), azimuth=self._camera.azimuth)
        turntable = Turntable(
            lambda angle: self._render(camera.orbited(angle, 0.0), *size), path, frames, report, parent=self
        )
        turntable.start()
        return turntable

    def _render(self, camera: Camera, width: int, height: int, transparent: bool = False) -> NDArray[np.uint8]:
        if self._scene is None:
            raise MissingPartError(self._problem or "The 3D view has no OpenGL.")
        return self._scene.render(width, height, camera, transparent)

    # making

    def _make_scene(self) -> None:
        from toposcope.ui.views.surface_scene import SurfaceScene  # vispy loads OpenGL when it is imported

        self._scene = SurfaceScene()
        native = self._scene.native
        native.setMouseTracking(True)
        native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        native.setMinimumSize(QSize(120, 90))
        native.installEventFilter(self)
        self._pages.addWidget(native)
        self.destroyed.connect(self._scene.close)

    def _make_tools(self) -> QToolBar:
        bar = QToolBar()
        bar.setIconSize(QSize(18, 18))
        # ten buttons must fit a dock; their tooltips say that they open
        bar.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self._icons: list[tuple[QAction | QToolButton, str]] = []

        def action(icon: str, tip: str, checkable: bool = False) -> QAction:
            made = QAction(self)
            made.setToolTip(tip)
            made.setCheckable(checkable)
            self._icons.append((made, icon))
            bar.addAction(made)
            return made

        def popup(icon: str, tip: str) -> tuple[QToolButton, QMenu]:
            made = QToolButton()
            made.setToolTip(tip)
            made.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
            made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            menu = QMenu(made)
            made.setMenu(menu)
            if icon:
                self._icons.append((made, icon))
            bar.addWidget(made)
            return made, menu

        action("frame-corners", "Show the whole surface (Home)").triggered.connect(lambda: self.set_view("fit"))
        _, menu = popup("cube", "Standard views (1, 2, 3, 4)")
        for name, label, key, tip in _PRESETS:
            made = menu.addAction(f"{label}\t{key}", partial(self.set_view, name))
            made.setToolTip(tip)
        menu.setToolTipsVisible(True)

        _, menu = popup("palette", "Colour the surface by the picture, by its height, or not at all")
        self._colour_actions = QActionGroup(self)
        for mode, label in _COLOURINGS:
            made = menu.addAction(label, partial(self.set_colour, mode))
            made.setCheckable(True)
            self._colour_actions.addAction(made)

        self._exaggeration_button, menu = popup("", "How much the heights are stretched")
        self._exaggeration_slider = QSlider(Qt.Orientation.Horizontal)
        self._exaggeration_slider.setRange(-100, 300)  # hundredths of a decade
        self._exaggeration_slider.setMinimumWidth(220)
        self._exaggeration_slider.valueChanged.connect(lambda v: self.set_exaggeration(10 ** (v / 100)))
        panel = QWidget()
        QFormLayout(panel).addRow("Stretch heights", self._exaggeration_slider)
        _add_panel(menu, panel)
        menu.addAction("×1: true to scale when calibrated", lambda: self.set_exaggeration(1.0))
        menu.addAction("A good height: a quarter of the width", self._exaggerate_well)

        _, menu = popup("sun", "Light: direction, height and shadows")
        self._light_sliders = self._fill_light_menu(menu)
        self._least_button, menu = popup("funnel", "Hide uncertain heights: only these are shown")
        self._fill_least_menu(menu)
        bar.addSeparator()
        self._frame_action = action("bounding-box", "Frame with the dimensions", checkable=True)
        self._frame_action.setChecked(True)
        self._frame_action.toggled.connect(self._on_framed)
        self._cut_action = action("scissors", "Cut the surface at steep steps, whose walls no camera has seen", True)
        self._cut_action.toggled.connect(self._on_cut)
        bar.addSeparator()
        action("camera", "Save this view as a picture…").triggered.connect(self.screenshotRequested)
        action("film-strip", "Save a turn around the surface as a GIF…").triggered.connect(self.turntableRequested)
        return bar

    def _fill_light_menu(self, menu: QMenu) -> list[QSlider]:
        panel = QWidget()
        form = QFormLayout(panel)
        sliders = []
        for label, low, high, value in (("Direction", 0, 359, 315), ("Height", 5, 90, 45), ("Shadow fill", 0, 100, 30)):
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setRange(low, high)
            slider.setValue(value)
            slider.setMinimumWidth(180)
            slider.valueChanged.connect(self._on_light_moved)
            form.addRow(label, slider)
            sliders.append(slider)
        _add_panel(menu, panel)
        return sliders

    def _fill_least_menu(self, menu: QMenu) -> None:
        panel = QWidget()
        form = QFormLayout(panel)
        self._least_slider = QSlider(Qt.Orientation.Horizontal)
        self._least_slider.setRange(0, 100)
        self._least_slider.setMinimumWidth(180)
        self._least_label = QLabel("Show all")
        self._least_label.setMinimumWidth(170)
        form.addRow(self._least_label, self._least_slider)
        self._least_slider.valueChanged.connect(self._on_least_moved)
        _add_panel(menu, panel)

    def _show_page(self) -> None:
        shown = self._scene is not None and self._surface is not None
        self._pages.setCurrentIndex(1 if shown else 0)
        self._tools.setEnabled(shown)
        self._bar_plot.setVisible(shown and self._colour_mode == "height")

    # answers to the tools

    def _on_light_moved(self) -> None:
        azimuth, elevation, fill = (slider.value() for slider in self._light_sliders)
        if self._scene is not None:
            self._scene.set_light(azimuth, elevation, fill / 100)

    def _on_least_moved(self, percent: int) -> None:
        self._least_label.setText(f"Hide below {percent} % confidence" if percent else "Show all")
        self._least_button.setText(f"≥ {percent} %" if percent else "")
        if self._scene is not None:
            self._scene.field.set_least(percent / 100)

    def _on_framed(self, on: bool) -> None:
        if self._scene is not None:
            self._scene.set_framed(on)
            self._on_resized()

    def _on_cut(self, on: bool) -> None:
        if self._scene is not None:
            self._scene.field.set_cut(self._cut() if on else 0.0)

    def _cut(self) -> float:
        """Return the height that counts as a step."""
        return 0.0 if self._surface is None else STEP_CUT * (self._surface.high - self._surface.low)

    def _exaggerate_well(self) -> None:
        if self._surface is not None:
            true = (self._surface.high - self._surface.low) * self._surface.z_scale
            wanted = 0.25 / true
            self.set_exaggeration(float(f"{wanted:.1g}"))
            self.set_view("fit")

    # mouse and keyboard; taken from the canvas before vispy sees them

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        match event:
            case QWheelEvent():
                at = event.position()
                self._zoom(1.15 ** (event.angleDelta().y() / 120), at)
            case QNativeGestureEvent() if event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture:
                self._zoom(1.0 + event.value(), event.position())
            case QMouseEvent():
                self._on_mouse(event)
            case QKeyEvent() if event.type() == QEvent.Type.KeyPress:
                return self._on_key(event)
            case QResizeEvent():
                QTimer.singleShot(0, self._on_resized)  # the canvas learns its size after this
                return False
            case _:
                if event.type() == QEvent.Type.Leave:
                    self.pointHovered.emit(-1, -1)
                return False
        return True

    def _on_mouse(self, event: QMouseEvent) -> None:
        at = event.position()
        match event.type():
            case QEvent.Type.MouseButtonPress:
                self._press, self._last, self._dragged = at, at, False
            case QEvent.Type.MouseMove if self._press is not None and event.buttons():
                self._dragged = self._dragged or (at - self._press).manhattanLength() > CLICK_REACH
                if self._dragged:
                    self._drag(at - self._last, event)
                    self._last = at
            case QEvent.Type.MouseMove:
                found = self.pixel_at(at.x(), at.y())
                self.pointHovered.emit(*(found or (-1, -1)))
            case QEvent.Type.MouseButtonRelease:
                clicked = self._press is not None and not self._dragged
                if clicked and event.button() == Qt.MouseButton.LeftButton:
                    found = self.pixel_at(at.x(), at.y())
                    if found is not None:
                        self.pointPicked.emit(*found)
                self._press = None
            case _:
                pass

    def _drag(self, by: QPointF, event: QMouseEvent) -> None:
        turning = event.buttons() == Qt.MouseButton.LeftButton and not event.modifiers()
        self._fitted = False
        if turning:
            self._camera = self._camera.orbited(-0.4 * by.x(), 0.4 * by.y())
        else:
            self._camera = self._camera.panned(by.x(), by.y(), self._size()[1])
        self._look(moving=True)

    def _zoom(self, factor: float, at: QPointF) -> None:
        self._fitted = False
        self._camera = self._camera.zoomed_at(factor, at.x(), at.y(), *self._size())
        self._look(moving=True)

    def _on_key(self, event: QKeyEvent) -> bool:
        key = Qt.Key(event.key())
        turn = {Qt.Key.Key_Left: (5, 0), Qt.Key.Key_Right: (-5, 0), Qt.Key.Key_Up: (0, 5), Qt.Key.Key_Down: (0, -5)}
        presets: dict[Qt.Key, Preset] = {Qt.Key.Key_Home: "fit"}
        presets |= {Qt.Key(ord(digit)): name for name, _, digit, _ in _PRESETS}
        width, height = self._size()
        if key in turn:
            self._fitted = False
            a, e = turn[key]
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self._camera = self._camera.panned(4.0 * a, 4.0 * e, height)
            else:
                self._camera = self._camera.orbited(a, e)
            self._look(moving=True)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self._zoom(1 / 1.2 if key == Qt.Key.Key_Minus else 1.2, QPointF(width / 2, height / 2))
        elif key in presets:
            self.set_view(presets[key])
        else:
            return False
        return True

    def pixel_at(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the pixel (row, column) of the map under point (x, y) of the canvas, None off the surface."""
        if self._surface is None:
            return None
        cut = self._cut() if self._cut_action.isChecked() else 0.0
        sight = self._camera.ray(x, y, *self._size())
        found = pick(self._surface, self._exaggeration, *sight, cut, self._least_slider.value() / 100)
        return None if found is None else (round(found[0]), round(found[1]))

    def _fit(self, camera: Camera, size: tuple[int, int]) -> Camera:
        """Return ``camera`` fitted to a view of this size, unless the user has moved it."""
        if not self._fitted or self._surface is None:
            return camera
        framed = self._frame_action.isChecked()
        room = 84.0 * max(1.0, size[1] / 900) if framed else 16.0  # for what is written beside the frame
        return camera.fitted(self._surface.bounds(self._exaggeration), *size, room)

    def _size(self) -> tuple[int, int]:
        return (1, 1) if self._scene is None else self._scene.size

    def _look(self, moving: bool) -> None:
        if self._scene is not None:
            self._scene.set_camera(self._camera, moving)
            if moving:
                self._still.start()

    def _on_resized(self) -> None:
        self._camera = self._fit(self._camera, self._size())
        self._look(moving=False)

    def _on_still(self) -> None:
        self._look(moving=False)


def _add_panel(menu: QMenu, panel: QWidget) -> None:
    entry = QWidgetAction(menu)
    entry.setDefaultWidget(panel)
    menu.addAction(entry)


def _alike(a: PreparedSurface, b: PreparedSurface) -> bool:
    """Whether two surfaces fill the same room, so that one camera suits both."""
    sides = [abs(p - q) for p, q in zip(a.extent, b.extent, strict=True)]
    return max(sides) < 0.03 and (a.pixel is None) == (b.pixel is None)
