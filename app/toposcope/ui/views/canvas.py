"""The canvas: one or two pictures to zoom and pan, pins on them, a scale bar over them.

Points are ``(row, column)`` in pixels of the full-size picture; pixel centres lie at whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QImage, QMouseEvent, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import QGraphicsItem, QLabel, QStyleOptionGraphicsItem, QWidget

from toposcope.core.marks import Line, Mark, Marks, Pin
from toposcope.core.surface import Area
from toposcope.ui import theme
from toposcope.ui.images import wrapped
from toposcope.ui.pyramid import Picture, Pyramid
from toposcope.ui.session import Tool

Where = Literal["left", "right"]
MAX_ZOOM: Final = 64.0
"""Screen pixels per picture pixel."""
LEAST_DRAWN: Final = 2.0
"""Pixels that a line, or the diagonal of an area, must have to have been meant."""
AREA_NAMES: Final = ("Area", "A", "B")
"""What is written at the evaluated area and at the two of a step."""
_NEAR: Final = 1e-6
"""Pixels that rounding may come to."""
PEN_PX: Final = 2.0
CHOSEN_PX: Final = 4.0
"""Widths of the pens of lines and areas, and of the one that is chosen, in screen pixels."""


class PyramidItem(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph ships no types
    """Draws the visible part of the pyramid level that fits the zoom."""

    def __init__(self) -> None:
        super().__init__()
        self.setFlag(QGraphicsItem.GraphicsItemFlag.ItemUsesExtendedStyleOption)
        self._pyramid: Pyramid | None = None
        self._images: dict[int, QImage] = {}
        self._clip: tuple[float, float] = (-math.inf, math.inf)

    def set_pyramid(self, pyramid: Pyramid | None) -> None:
        """Show another picture."""
        if pyramid is None or self._pyramid is None or pyramid.shape != self._pyramid.shape:
            self.prepareGeometryChange()
        self._pyramid, self._images = pyramid, {}
        self.update()

    def set_clip(self, left: float, right: float) -> None:
        """Draw only the columns between ``left`` and ``right``."""
        self._clip = (left, right)
        self.update()

    @property
    def pyramid(self) -> Pyramid | None:
        """What is shown."""
        return self._pyramid

    def boundingRect(self) -> QRectF:
        if self._pyramid is None:
            return QRectF()
        height, width = self._pyramid.shape
        return QRectF(-0.5, -0.5, width, height)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        if self._pyramid is None:
            return
        ratio = painter.device().devicePixelRatioF() if painter.device() is not None else 1.0
        zoom = abs(painter.worldTransform().m11()) * ratio
        _, picture = self._pyramid.level_for(zoom)
        bounds = self.boundingRect()
        left, right = max(self._clip[0], bounds.left()), min(self._clip[1], bounds.right())
        if right <= left:
            return
        # one picture pixel more than exposed, so that smooth scaling has its neighbours at the seams
        target = option.exposedRect.adjusted(-2, -2, 2, 2) & QRectF(left, bounds.top(), right - left, bounds.height())
        across, down = picture.shape[1] / bounds.width(), picture.shape[0] / bounds.height()
        source = QRectF(
            (target.left() + 0.5) * across, (target.top() + 0.5) * down, target.width() * across, target.height() * down
        )
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, zoom < 3)
        painter.drawImage(target, self._image(picture), source)

    def _image(self, picture: Picture) -> QImage:
        """Wrap a level, which the pyramid keeps alive, without a copy."""
        key = picture.shape[1]
        if key not in self._images:
            self._images[key] = wrapped(picture)
        return self._images[key]


class PinItem(pg.TargetItem):  # type: ignore[misc]
    """A numbered pin that can be dragged and clicked."""

    clicked = Signal(int)
    menuRequested = Signal(int, QPointF)

    def __init__(self, pin: Pin, colour: str) -> None:
        super().__init__(
            pos=(pin.column, pin.row),
            size=15,
            symbol="o",
            movable=True,
            pen=pg.mkPen("#000000", width=1),
            brush=pg.mkBrush(colour),
            hoverPen=pg.mkPen("#ffffff", width=2),
            hoverBrush=pg.mkBrush(colour),
            label=str(pin.number),
            labelOpts={"offset": QPointF(9, -9), "color": "#ffffff", "fill": (0, 0, 0, 150), "anchor": (0, 0.5)},
        )
        self.number = pin.number
        self.dragging = False
        self.setZValue(10)
        self.setToolTip(f"Pin {pin.number}: drag to move, Delete removes it")

    def set_chosen(self, chosen: bool) -> None:
        """Draw the ring of the chosen pin in white."""
        self.setPen(pg.mkPen("#ffffff" if chosen else "#000000", width=2.4 if chosen else 1))

    def mouseDragEvent(self, event: Any) -> None:
        self.dragging = event.button() == Qt.MouseButton.LeftButton and not event.isFinish()
        super().mouseDragEvent(event)

    def mouseClickEvent(self, event: Any) -> None:
        event.accept()
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(self.number)
        elif event.button() == Qt.MouseButton.RightButton:
            self.menuRequested.emit(self.number, event.screenPos())


class LineItem(pg.LineSegmentROI):  # type: ignore[misc]
    """A numbered line whose ends, or which as a whole, can be dragged."""

    moved = Signal(int, object, object, bool)  # number, ends as (row, column), whether the drag has ended
    clicked = Signal(int)
    menuRequested = Signal(int, QPointF)

    def __init__(self, line: Line, colour: str) -> None:
        ends = [(column, row) for row, column in (line.start, line.end)]
        super().__init__(
            ends,
            pen=pg.mkPen(colour, width=PEN_PX),
            hoverPen=pg.mkPen("#ffffff", width=3),
            handlePen=pg.mkPen("#ffffff", width=1.5),
            handleHoverPen=pg.mkPen("#ffffff", width=3),
            rotatable=False,
            resizable=False,
        )
        self.line, self.colour = line, colour
        self.setZValue(8)
        self.setToolTip(f"Line {line.number}: drag an end, or the whole line; Delete removes it")
        self._label = pg.TextItem(str(line.number), color="#ffffff", fill=(0, 0, 0, 150), anchor=(0, 1))
        self._label.setParentItem(self)
        self._place_label()
        self.sigRegionChanged.connect(lambda: self._tell(False))
        self.sigRegionChangeFinished.connect(lambda: self._tell(True))

    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return both ends as (row, column)."""
        first, second = (self.mapToParent(handle.pos()) for handle in self.getHandles())
        return (first.y(), first.x()), (second.y(), second.x())

    def mouseClickEvent(self, event: Any) -> None:
        event.accept()
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(self.line.number)
        elif event.button() == Qt.MouseButton.RightButton:
            self.menuRequested.emit(self.line.number, event.screenPos())

    def _tell(self, finished: bool) -> None:
        self._place_label()
        start, end = self.ends()
        self.line = replace(self.line, start=start, end=end)
        self.moved.emit(self.line.number, start, end, finished)

    def _place_label(self) -> None:
        self._label.setPos(self.getHandles()[0].pos())


class AreaItem(pg.ROI):  # type: ignore[misc]
    """A rectangle of whole pixels that can be dragged, and resized at its corners."""

    moved = Signal(object, bool)  # Area, whether the drag has ended

    def __init__(self, area: Area, name: str, bounds: QRectF, dashed: bool) -> None:
        super().__init__(
            (area.left - 0.5, area.top - 0.5),
            (area.right - area.left, area.bottom - area.top),
            pen=pg.mkPen("#ffffff", width=PEN_PX, style=Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine),
            hoverPen=pg.mkPen("#ffffff", width=3),
            handlePen=pg.mkPen("#ffffff", width=1.5),
            handleHoverPen=pg.mkPen("#ffffff", width=3),
            maxBounds=bounds,
            rotatable=False,
            resizable=False,  # but by its corners
        )
        for corner, opposite in (((0, 0), (1, 1)), ((1, 1), (0, 0)), ((0, 1), (1, 0)), ((1, 0), (0, 1))):
            self.addScaleHandle(corner, opposite)
        self.area = area
        self._reach = bounds.adjusted(_NEAR, _NEAR, -_NEAR, -_NEAR)  # rounding must not lead out of the bounds
        self.setZValue(7)
        self._label = pg.TextItem(name, color="#ffffff", fill=(0, 0, 0, 150), anchor=(0, 1))
        self._label.setParentItem(self)
        self.setToolTip(f"{name}: drag to move, its corners to resize")
        self.sigRegionChanged.connect(lambda: self._tell(False))
        self.sigRegionChangeFinished.connect(lambda: self._tell(True))

    def hoverEvent(self, event: Any) -> None:
        """Take drags only: a click in an area is one on the picture."""
        self.setMouseHover(not event.isExit() and event.acceptDrags(Qt.MouseButton.LeftButton))

    def movePoint(
        self, handle: Any, pos: Any, modifiers: Any = None, finish: bool = True, coords: str = "parent"
    ) -> None:
        """Move a corner; beyond the bounds it goes along them, where pyqtgraph would leave it behind."""
        at, reach = self.mapSceneToParent(pos) if coords == "scene" else pos, self._reach
        at = QPointF(min(max(at.x(), reach.left()), reach.right()), min(max(at.y(), reach.top()), reach.bottom()))
        super().movePoint(handle, at, modifiers, finish, "parent")

    def _tell(self, finished: bool) -> None:
        place, size = self.pos(), self.size()
        top, bottom = sorted(round(at + 0.5) for at in (place.y(), place.y() + size.y()))
        left, right = sorted(round(at + 0.5) for at in (place.x(), place.x() + size.x()))
        self.area = Area(top, left, max(bottom, top + 1), max(right, left + 1))
        self.moved.emit(self.area, finished)


class _Glass(pg.GraphicsObject):  # type: ignore[misc]
    """Lies over everything while something is drawn, so that nothing below is dragged or clicked instead."""

    drawn = Signal(QPointF, QPointF, bool)  # where a drag began and is, in picture coordinates; whether it has ended

    def __init__(self) -> None:
        super().__init__()
        self.setFlag(QGraphicsItem.GraphicsItemFlag.ItemHasNoContents)
        self.setZValue(100)

    def boundingRect(self) -> QRectF:
        return QRectF(-1e6, -1e6, 2e6, 2e6)

    def hoverEvent(self, event: Any) -> None:
        if not event.isExit():
            event.acceptDrags(Qt.MouseButton.LeftButton)
            event.acceptClicks(Qt.MouseButton.LeftButton)

    def mouseClickEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            event.accept()

    def mouseDragEvent(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        event.accept()
        start, now = event.buttonDownPos(), event.pos()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            now = _straight(start, now)
        self.drawn.emit(QPointF(start), QPointF(now), event.isFinish())


class _Box(pg.ViewBox):  # type: ignore[misc]
    """The view box: left drag pans, click pins, the wheel zooms or scrubs."""

    clicked = Signal(float, float)  # x, y in picture coordinates
    menuRequested = Signal(float, float, QPointF)
    scrubbed = Signal(int)

    def __init__(self) -> None:
        super().__init__(lockAspect=True, invertY=True, enableMenu=False, defaultPadding=0.0)
        self.scrubs = False
        self._turned = 0

    def wheelEvent(self, event: Any, axis: int | None = None) -> None:
        if not self.scrubs or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event, axis)
            return
        event.accept()
        self._turned += event.delta()  # touch pads send small steps
        steps = int(self._turned / 120)
        if steps:
            self._turned -= 120 * steps
            self.scrubbed.emit(-steps)

    def mouseClickEvent(self, event: Any) -> None:
        point = self.mapSceneToView(event.scenePos())
        if event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            self.clicked.emit(point.x(), point.y())
        elif event.button() == Qt.MouseButton.RightButton:
            event.accept()
            self.menuRequested.emit(point.x(), point.y(), event.screenPos())


class Canvas(pg.GraphicsView):  # type: ignore[misc]
    """Shows pictures and pins; asks for everything else by signals."""

    pinRequested = Signal(int, int)  # row, column
    pinMoved = Signal(int, int, int, bool)  # number, row, column, whether the drag has ended
    pinChosen = Signal(int)
    pinMenuRequested = Signal(int, QPointF)  # number, global position
    menuRequested = Signal(int, int, QPointF)  # row, column, global position
    cursorMoved = Signal(object)  # (row, column), None outside the picture
    scrubbed = Signal(int)
    splitMoved = Signal(float)  # share of the width that is left of the line
    lineDrawn = Signal(object, object)  # both ends as (row, column)
    areaDrawn = Signal(object)  # Area
    lineMoved = Signal(int, object, object, bool)  # number, ends, whether the drag has ended
    lineChosen = Signal(int)
    lineMenuRequested = Signal(int, QPointF)  # number, global position
    areaMoved = Signal(int, object, bool)  # 0, or 1 and 2 of a step; Area, whether the drag has ended

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # partial repaints leave seams where a smoothly scaled picture is drawn in parts
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)
        self.setMinimumSize(QSize(160, 120))
        self._box = _Box()
        self.setCentralWidget(self._box)
        self._items: dict[Where, PyramidItem] = {"left": PyramidItem(), "right": PyramidItem()}
        for item in self._items.values():
            self._box.addItem(item, ignoreBounds=True)
        self._split = pg.InfiniteLine(angle=90, movable=True)
        self._split.setZValue(5)
        self._split.setVisible(False)
        self._box.addItem(self._split, ignoreBounds=True)
        self._share = 0.5
        self._split.sigPositionChanged.connect(self._on_split_moved)
        self._split.sigDragged.connect(self._on_split_dragged)
        self._pins: dict[int, PinItem] = {}
        self._lines: dict[int, LineItem] = {}
        self._areas: dict[int, AreaItem] = {}
        self._tool: Tool = "pin"
        self._rubber = pg.PlotCurveItem(pen=pg.mkPen("#ffffff", width=1.5, style=Qt.PenStyle.DashLine))
        self._rubber.setZValue(12)
        self._rubber.hide()
        self._box.addItem(self._rubber, ignoreBounds=True)
        self._glass = _Glass()
        self._glass.hide()
        self._glass.drawn.connect(self._on_drawn)
        self._box.addItem(self._glass, ignoreBounds=True)
        self._shape: tuple[int, int] | None = None
        self._fitted = True
        self._cursor: tuple[int, int] | None = None
        self._scale_bar = _ScaleBar(self)
        self._names = {"left": _Tag(self), "right": _Tag(self)}
        self._legend = _Tag(self)
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._box.clicked.connect(self._on_clicked)
        self._box.menuRequested.connect(self._on_menu_requested)
        self._box.scrubbed.connect(self.scrubbed)
        self._box.sigRangeChangedManually.connect(self._on_zoomed_by_hand)
        self._box.sigRangeChanged.connect(self._on_range_changed)
        self.apply_theme()

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        c = theme.colours()
        self.setBackground(c.base)
        self._split.setPen(pg.mkPen(c.accent, width=2))
        self._split.setHoverPen(pg.mkPen("#ffffff", width=3))

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns of the full-size picture."""
        return self._shape

    def picture(self, where: Where = "left") -> Pyramid | None:
        """Return what is shown."""
        return self._items[where].pyramid

    def set_picture(self, where: Where, pyramid: Pyramid | None) -> None:
        """Show a picture on one side, or (left) alone; None takes it away."""
        self._items[where].set_pyramid(pyramid)
        if pyramid is not None and where == "left" and pyramid.shape != self._shape:
            self._shape = pyramid.shape
            self._box.setLimits(minXRange=self.width() / MAX_ZOOM)
            self._split.setBounds((-0.5, pyramid.shape[1] - 0.5))
            self.set_split_at(self._share)
            self.fit()
        if pyramid is None and where == "left":
            self._shape = None

    def set_split(self, on: bool, names: tuple[str, str] = ("", "")) -> None:
        """Show two pictures with a line between them, or one."""
        self._split.setVisible(on)
        self._items["right"].setVisible(on)
        for where, name in zip(("left", "right"), names, strict=True):
            self._names[where].full = name
            self._names[where].setVisible(on and bool(name))
        self._on_split_moved()
        self._place_overlays()

    def set_split_at(self, share: float) -> None:
        """Move the line to ``share`` (0..1) of the width; tells nobody."""
        self._share = share
        if self._shape is not None and not self._split.moving:
            self._split.setValue(share * self._shape[1] - 0.5)

    def set_legend(self, entries: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
        """Show what the colours of a map of classes mean; nothing for an empty sequence."""
        rows = "".join(
            f'<tr><td><span style="color:rgb{colour};font-size:large">■</span></td><td>&nbsp;{text}</td></tr>'
            for text, colour in entries
        )
        self._legend.setText(f'<table cellspacing="0">{rows}</table>')
        self._legend.setVisible(bool(entries))
        self._legend.adjustSize()
        self._place_overlays()

    def set_scrubbing(self, on: bool) -> None:
        """Whether the plain wheel turns through slices; with Ctrl it always zooms."""
        self._box.scrubs = on

    def set_pixel(self, pixel_um: float | None) -> None:
        """Tell the side of a pixel in micrometres, None where unknown."""
        self._scale_bar.pixel_um = pixel_um
        self._scale_bar.update()

    def set_pins(self, pins: Sequence[Pin], chosen: int | None) -> None:
        """Show these pins."""
        colours = theme.colours().pins
        wanted = {pin.number: pin for pin in pins}
        for number in list(self._pins):
            if number not in wanted:
                self._box.removeItem(self._pins.pop(number))
        for pin in pins:
            item = self._pins.get(pin.number)
            if item is None:
                item = self._pins[pin.number] = PinItem(pin, colours[pin.colour % len(colours)])
                self._box.addItem(item, ignoreBounds=True)
                item.sigPositionChanged.connect(self._on_pin_moved)
                item.sigPositionChangeFinished.connect(self._on_pin_dropped)
                item.clicked.connect(self.pinChosen)
                item.menuRequested.connect(self.pinMenuRequested)
            elif not item.dragging:
                item.blockSignals(True)
                item.setPos(pin.column, pin.row)
                item.blockSignals(False)
            item.set_chosen(pin.number == chosen)

    def set_tool(self, tool: Tool) -> None:
        """Choose what a drag of the left button does: pan the picture, or draw a line or an area."""
        self._tool = tool
        self._glass.setVisible(tool != "pin")
        self._rubber.hide()
        if tool == "pin":
            self.viewport().unsetCursor()
        else:
            self.viewport().setCursor(Qt.CursorShape.CrossCursor)

    def set_marks(self, marks: Marks, chosen: Mark | None = None) -> None:
        """Show these lines and areas, the chosen one by a broad pen."""
        colours = theme.colours().pins
        wanted = {line.number: line for line in marks.lines}
        for number, item in list(self._lines.items()):
            if wanted.get(number) != item.line:
                self._take_away(self._lines.pop(number))
        for line in marks.lines:
            if line.number not in self._lines:
                item = self._lines[line.number] = LineItem(line, colours[line.colour % len(colours)])
                self._box.addItem(item, ignoreBounds=True)
                item.moved.connect(self.lineMoved)
                item.clicked.connect(self.lineChosen)
                item.menuRequested.connect(self.lineMenuRequested)
        self._set_areas(marks)
        for kind, items in (("line", self._lines), ("area", self._areas)):
            for number, item in items.items():
                width = CHOSEN_PX if (kind, number) == chosen else PEN_PX
                if item.pen.widthF() != width:  # to set it takes the colour of what is under the mouse away
                    pen = pg.mkPen(item.pen)
                    pen.setWidthF(width)
                    item.setPen(pen)

    def _take_away(self, item: LineItem | AreaItem) -> None:
        item.blockSignals(True)  # it may be under the mouse, which goes on to drag it
        self._box.removeItem(item)

    def _set_areas(self, marks: Marks) -> None:
        named = dict(enumerate((marks.area, *marks.step)))
        areas = {place: area for place, area in named.items() if area is not None}
        for place, item in list(self._areas.items()):
            if areas.get(place) != item.area:
                self._take_away(self._areas.pop(place))
        for place, area in areas.items():
            if place not in self._areas and self._shape is not None:
                height, width = self._shape
                item = AreaItem(area, AREA_NAMES[place], QRectF(-0.5, -0.5, width, height), dashed=place == 0)
                self._areas[place] = item
                self._box.addItem(item, ignoreBounds=True)
                item.moved.connect(lambda area, finished, place=place: self.areaMoved.emit(place, area, finished))

    def fit(self) -> None:
        """Show the whole picture."""
        self._fitted = True
        if self._shape is not None:
            height, width = self._shape
            self._box.setRange(QRectF(-0.5, -0.5, width, height), padding=0.01)

    def zoom_to_pixels(self) -> None:
        """Show one picture pixel on one screen pixel, about the centre of the view."""
        self.zoom_by(1 / max(self.zoom * self.devicePixelRatioF(), 1e-9))

    def zoom_by(self, factor: float) -> None:
        """Magnify by ``factor`` about the centre of the view."""
        self._fitted = False
        self._box.scaleBy((1 / factor, 1 / factor))

    @property
    def zoom(self) -> float:
        """Logical screen pixels per picture pixel."""
        width = self._box.viewRect().width()
        return float(self._box.width() / width) if width > 0 else 1.0

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if hasattr(self, "_legend") and not self.closed:  # the base class resizes before our parts exist
            if self._fitted:
                self.fit()
            self._place_overlays()

    def close(self) -> bool:
        """Close the widget; pyqtgraph's own way replaces the viewport and crashes while items are held."""
        for items in (self._pins, self._lines, self._areas):
            items.clear()
        return bool(QWidget.close(self))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        point = self._box.mapSceneToView(self.mapToScene(event.position().toPoint()))
        self._set_cursor(self._pixel(point.x(), point.y()))

    def leaveEvent(self, event: Any) -> None:
        super().leaveEvent(event)
        self._set_cursor(None)

    def _set_cursor(self, pixel: tuple[int, int] | None) -> None:
        if pixel != self._cursor:
            self._cursor = pixel
            self.cursorMoved.emit(pixel)

    def _pixel(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the pixel (row, column) at view coordinates, None outside."""
        if self._shape is None:
            return None
        row, column = math.floor(y + 0.5), math.floor(x + 0.5)
        return (row, column) if 0 <= row < self._shape[0] and 0 <= column < self._shape[1] else None

    def _nearest_pixel(self, item: PinItem) -> tuple[int, int]:
        height, width = self._shape or (1, 1)
        point = item.pos()
        row, column = math.floor(point.y() + 0.5), math.floor(point.x() + 0.5)
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    def _on_clicked(self, x: float, y: float) -> None:
        if (pixel := self._pixel(x, y)) is not None:
            self.pinRequested.emit(*pixel)

    def _on_drawn(self, start: QPointF, now: QPointF, finished: bool) -> None:
        """Show what is being drawn; tell when it is done and not too small to have been meant."""
        if self._shape is None or self._tool == "pin":  # put down in the middle of a drag
            return
        height, width = self._shape
        (x0, y0), (x1, y1) = (
            (min(max(at.x(), 0.0), width - 1.0), min(max(at.y(), 0.0), height - 1.0)) for at in (start, now)
        )
        if self._tool == "line":
            self._rubber.setData([x0, x1], [y0, y1])
        else:
            self._rubber.setData([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0])
        self._rubber.setVisible(not finished)
        if finished and math.hypot(x1 - x0, y1 - y0) >= LEAST_DRAWN:
            if self._tool == "line":
                self.lineDrawn.emit((y0, x0), (y1, x1))
            else:
                self.areaDrawn.emit(Area.of_corners((round(y0), round(x0)), (round(y1), round(x1))))

    def _on_menu_requested(self, x: float, y: float, where: QPointF) -> None:
        row, column = self._pixel(x, y) or (-1, -1)
        self.menuRequested.emit(row, column, where)

    def _on_pin_moved(self, item: PinItem) -> None:
        self.pinMoved.emit(item.number, *self._nearest_pixel(item), False)

    def _on_pin_dropped(self, item: PinItem) -> None:
        item.dragging = False
        self.pinMoved.emit(item.number, *self._nearest_pixel(item), True)

    def _on_split_moved(self) -> None:
        at = self._split.value() if self._split.isVisible() else math.inf
        self._items["left"].set_clip(-math.inf, at)
        self._items["right"].set_clip(at, math.inf)

    def _on_split_dragged(self) -> None:
        if self._shape is not None:
            self.splitMoved.emit((self._split.value() + 0.5) / self._shape[1])

    def _on_zoomed_by_hand(self) -> None:
        self._fitted = False

    def _on_range_changed(self) -> None:
        self._scale_bar.zoom = self.zoom
        self._scale_bar.update()

    def _place_overlays(self) -> None:
        self._scale_bar.setGeometry(10, self.height() - 46, min(260, self.width() - 20), 38)
        for tag in self._names.values():
            tag.fit(self.width() // 2 - 16)
        self._names["left"].move(10, 10)
        self._names["right"].move(self.width() - self._names["right"].width() - 10, 10)
        self._legend.move(self.width() - self._legend.width() - 10, self.height() - self._legend.height() - 10)


def _straight(start: QPointF, now: QPointF) -> QPointF:
    """Return ``now`` turned about ``start`` to the nearest multiple of 45 degrees."""
    angle = round(math.atan2(now.y() - start.y(), now.x() - start.x()) / (math.pi / 4)) * math.pi / 4
    length = math.hypot(now.x() - start.x(), now.y() - start.y())
    return QPointF(start.x() + length * math.cos(angle), start.y() + length * math.sin(angle))


class _Tag(QLabel):
    """Text over the picture on a dark ground, readable on anything."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet("background: rgba(10, 11, 13, 190); color: #f2f4f7; padding: 3px 7px; border-radius: 3px;")
        self.full = ""
        self.hide()

    def fit(self, room: int) -> None:
        """Show as much of the full text as fits into ``room`` pixels."""
        self.setText(self.fontMetrics().elidedText(self.full, Qt.TextElideMode.ElideRight, max(40, room - 16)))
        self.adjustSize()


class _ScaleBar(QWidget):
    """A bar of a round length at the lower left."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.pixel_um: float | None = None
        self.zoom = 0.0

    def paintEvent(self, event: Any) -> None:
        canvas = self.parent()
        if not isinstance(canvas, Canvas) or canvas.shape is None or self.zoom <= 0:
            return
        length, text = scale_bar(self.zoom, self.pixel_um, self.width() * 0.6)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(self.font())
        font.setBold(True)
        painter.setFont(font)
        wide = max(length, painter.fontMetrics().horizontalAdvance(text))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(10, 11, 13, 150))
        painter.drawRoundedRect(QRectF(0, 0, wide + 16, self.height()), 3, 3)
        painter.setPen(QColor("#ffffff"))
        painter.drawText(QRectF(8, 2, wide, 20), Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(QPen(QColor("#ffffff"), 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
        begin = 8 + (wide - length) / 2
        painter.drawLine(QPointF(begin, 28), QPointF(begin + length, 28))
        painter.end()


def scale_bar(zoom: float, pixel_um: float | None, room: float) -> tuple[float, str]:
    """Return the length of a scale bar in screen pixels and its text.

    ``zoom`` is screen pixels per picture pixel, ``room`` the greatest length in screen pixels. The
    length stands for 1, 2 or 5 times a power of ten, in micrometres (or mm, nm), or in pixels.
    """
    per_screen = (pixel_um or 1.0) / zoom
    longest = room * per_screen
    power = 10.0 ** math.floor(math.log10(longest))
    value = next(m * power for m in (5, 2, 1) if m * power <= longest * (1 + 1e-9))
    if pixel_um is None:
        text = f"{value:g} px"
    elif value >= 1000:
        text = f"{value / 1000:g} mm"
    elif value < 1:
        text = f"{value * 1000:g} nm"
    else:
        text = f"{value:g} µm"
    return value / per_screen, text
