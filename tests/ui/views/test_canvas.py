"""The canvas: what is drawn where, pins, zoom, split, scale bar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from toposcope.core.marks import Pin
from toposcope.ui.pyramid import Picture, make_pyramid
from toposcope.ui.views.canvas import Canvas, scale_bar


@pytest.fixture
def canvas(qtbot: QtBot) -> Canvas:
    made = Canvas()
    qtbot.addWidget(made)
    made.resize(420, 320)
    with qtbot.waitExposed(made):
        made.show()
    return made


def _quarters(height: int = 300, width: int = 400) -> Picture:
    """Return red, green, blue, white quarters."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    h, w = height // 2, width // 2
    picture[:h, :w, 0] = picture[:h, w:, 1] = picture[h:, :w, 2] = 255
    picture[h:, w:] = 255
    return picture


def _at(canvas: Canvas, row: float, column: float) -> QPoint:
    """Return where a pixel lies on the widget."""
    return canvas.mapFromScene(canvas._box.mapViewToScene(QPointF(column, row)))


def _colour(canvas: Canvas, row: float, column: float) -> tuple[int, int, int]:
    QApplication.processEvents()
    image = canvas.grab().toImage()
    ratio = image.devicePixelRatio()
    at = _at(canvas, row, column)
    colour = QColor(image.pixel(round(at.x() * ratio), round(at.y() * ratio)))
    return colour.red(), colour.green(), colour.blue()


def test_picture_lies_the_right_way_round(canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    assert _colour(canvas, 70, 90) == (255, 0, 0)
    assert _colour(canvas, 70, 300) == (0, 255, 0)
    assert _colour(canvas, 200, 90) == (0, 0, 255)
    assert _colour(canvas, 200, 300) == (255, 255, 255)


def test_coarse_level_covers_the_same_place(canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters(3001, 4001)))  # odd: levels are rounded up
    assert canvas.zoom < 0.2
    for row, column, colour in ((1450, 1950, (255, 0, 0)), (1550, 2050, (255, 255, 255))):
        assert _colour(canvas, row, column) == colour


def test_zoomed_in_pixels_stay_where_they_are(canvas: Canvas) -> None:
    picture = np.zeros((300, 400), dtype=np.uint8)
    picture[120, 250] = 255
    canvas.set_picture("left", make_pyramid(picture))
    canvas.zoom_by(20)
    canvas._box.setRange(xRange=(245, 255), yRange=(115, 125), padding=0)
    assert _colour(canvas, 120.3, 250.3) == (255, 255, 255)
    assert _colour(canvas, 120, 251) == (0, 0, 0)


def test_split_shows_one_picture_on_each_side(canvas: Canvas) -> None:
    red, blue = _quarters() * 0, _quarters() * 0
    red[..., 0], blue[..., 2] = 255, 255
    canvas.set_picture("left", make_pyramid(red))
    canvas.set_picture("right", make_pyramid(blue))
    canvas.set_split(True, ("A", "B"))
    assert _colour(canvas, 150, 100) == (255, 0, 0)
    assert _colour(canvas, 150, 300) == (0, 0, 255)
    canvas._split.setValue(350)
    assert _colour(canvas, 150, 300) == (255, 0, 0)
    canvas.set_split(False)
    assert _colour(canvas, 150, 390) == (255, 0, 0)


def test_click_asks_for_a_pin_at_the_pixel(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    with qtbot.waitSignal(canvas.pinRequested) as caught:
        qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=_at(canvas, 40, 333))
    assert caught.args is not None
    assert np.allclose(caught.args, (40, 333), atol=1.01)
    with qtbot.assertNotEmitted(canvas.pinRequested):
        qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(2, 2))


def test_dragging_a_pin_tells_each_place_and_the_end(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    canvas.set_pins((Pin(1, 150, 200, 0),), 1)
    heard: list[tuple[int, int, int, bool]] = []
    canvas.pinMoved.connect(lambda *args: heard.append(args))
    view = canvas.viewport()
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=_at(canvas, 150, 200))
    for k in range(1, 9):
        qtbot.mouseMove(view, _at(canvas, 150 - 10 * k, 200 + 10 * k))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=_at(canvas, 70, 280))
    assert heard
    number, row, column, finished = heard[-1]
    assert number == 1
    assert abs(row - 70) <= 3
    assert abs(column - 280) <= 3
    assert finished
    assert [h[3] for h in heard].count(True) == 1


def test_pins_come_and_go(canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    canvas.set_pins((Pin(1, 10, 20, 0), Pin(2, 30, 40, 1)), 2)
    assert sorted(canvas._pins) == [1, 2]
    canvas.set_pins((Pin(2, 50, 60, 1),), None)
    assert list(canvas._pins) == [2]
    assert (canvas._pins[2].pos().x(), canvas._pins[2].pos().y()) == (60, 50)


def _wheel(canvas: Canvas, delta: int, modifiers: Qt.KeyboardModifier) -> None:
    at = QPointF(_at(canvas, 150, 200))
    event = QWheelEvent(
        at,
        canvas.mapToGlobal(at),
        QPoint(),
        QPoint(0, delta),
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas.viewport(), event)


def test_wheel_scrubs_slices_and_zooms_with_ctrl(canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    steps: list[int] = []
    canvas.scrubbed.connect(steps.append)
    zoom = canvas.zoom
    canvas.set_scrubbing(True)
    _wheel(canvas, 120, Qt.KeyboardModifier.NoModifier)
    for _ in range(4):
        _wheel(canvas, -30, Qt.KeyboardModifier.NoModifier)  # a touch pad
    assert steps == [-1, 1]
    assert canvas.zoom == pytest.approx(zoom)
    _wheel(canvas, 120, Qt.KeyboardModifier.ControlModifier)
    assert canvas.zoom > zoom
    canvas.set_scrubbing(False)
    _wheel(canvas, -120, Qt.KeyboardModifier.NoModifier)
    assert steps == [-1, 1]


def test_resizing_keeps_the_whole_picture_in_view(canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    canvas.resize(900, 700)
    QApplication.processEvents()
    rect = canvas._box.viewRect()
    assert rect.left() < 0
    assert rect.right() > 399
    assert rect.width() < 400 * 1.25


def test_one_to_one_and_cursor(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters(1200, 1600)))
    canvas.zoom_to_pixels()
    assert canvas.zoom * canvas.devicePixelRatioF() == pytest.approx(1, rel=0.01)
    heard: list[object] = []
    canvas.cursorMoved.connect(heard.append)
    qtbot.mouseMove(canvas.viewport(), _at(canvas, 600, 800))
    qtbot.mouseMove(canvas.viewport(), _at(canvas, 610, 830))
    # a real X server tells of the moved cursor in its own time
    qtbot.waitUntil(lambda: bool(heard) and np.allclose(np.asarray(heard[-1]), (610, 830), atol=1.01), timeout=2000)
    assert isinstance(heard[-1], tuple)


@given(st.floats(1e-3, 100), st.one_of(st.none(), st.floats(1e-3, 1e3)), st.floats(40, 400))
def test_scale_bar_is_round_and_fits(zoom: float, pixel_um: float | None, room: float) -> None:
    length, text = scale_bar(zoom, pixel_um, room)
    assert room / 2.51 <= length <= room * 1.000001
    number, unit = text.split()
    value = float(number) * {"px": 1.0, "nm": 1e-3, "µm": 1.0, "mm": 1e3}[unit]
    assert length == pytest.approx(value / (pixel_um or 1.0) * zoom, rel=1e-3)
    assert number.replace(".", "").replace("e+", "").lstrip("0")[0] in "125"


def test_scale_bar_names_its_unit() -> None:
    assert scale_bar(1.0, 0.5, 150)[1] == "50 µm"
    assert scale_bar(1.0, 20.0, 150)[1] == "2 mm"
    assert scale_bar(10.0, 0.01, 150)[1] == "100 nm"
    assert scale_bar(1.0, None, 150) == (100.0, "100 px")


def test_line_is_set_in_silence_and_dragging_tells(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_picture("left", make_pyramid(_quarters()))
    canvas.set_picture("right", make_pyramid(_quarters()))
    canvas.set_split(True, ("A  " + "long name " * 30, "B  short"))
    with qtbot.assertNotEmitted(canvas.splitMoved):
        canvas.set_split_at(0.25)
    assert canvas._split.value() == pytest.approx(0.25 * 400 - 0.5)
    names = canvas._names
    assert names["left"].text().endswith("…")
    assert names["left"].geometry().right() < names["right"].geometry().left()
    with qtbot.waitSignal(canvas.splitMoved) as caught:
        canvas._split.setValue(1000)  # stays inside
        canvas._split.sigDragged.emit(canvas._split)
    assert caught.args == [1.0]
