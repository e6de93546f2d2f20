from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pyqtgraph as pg
import pytest
from numpy.testing import assert_allclose
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from toposcope.core.curve import FocusCurve, Peak, Verdict
from toposcope.core.volume import Origin
from toposcope.ui import theme
from toposcope.ui.views.curve_view import (
    COMPARED_KEY_TEXT,
    EMPTY_TEXT,
    KEY_TEXT,
    NOT_KEPT_TEXT,
    CurveView,
    PinCurve,
    scaled_measure,
)

POSITIONS = np.array([0.0, 1.0, 2.5, 4.0, 5.0, 7.0, 8.0, 9.5, 11.0, 12.0])  # uneven on purpose


def curve(at: float = 5.0, other: float | None = None, depth: float = 5.2, row: int = 3) -> FocusCurve:
    probability = np.exp(-0.5 * ((POSITIONS - at) / 1.5) ** 2)
    peaks = [Peak(at, 0.8, int(np.argmin(np.abs(POSITIONS - at))))]
    if other is not None:
        probability += 0.5 * np.exp(-0.5 * ((POSITIONS - other) / 1.0) ** 2)
        peaks.append(Peak(other, 0.2, int(np.argmin(np.abs(POSITIONS - other)))))
    scale = probability.sum()
    probability /= scale
    x = np.linspace(at - 2, at + 2, 21)
    return FocusCurve(
        row=row,
        column=4,
        positions=POSITIONS,
        probability=probability.astype(np.float32),
        measure=(0.02 + 7 * probability).astype(np.float32),
        peaks=tuple(peaks),
        position=at,
        width=3.5,
        depth=depth,
        fit=np.stack([x, np.exp(-0.5 * ((x - at) / 1.5) ** 2) / scale], axis=1),
        verdict=Verdict("clear", f"one clear peak at {at:g} µm"),
        unit_symbol="µm",
    )


@pytest.fixture
def view(qtbot: QtBot) -> CurveView:
    view = CurveView()
    qtbot.addWidget(view)
    view.resize(900, 260)
    view.show()
    return view


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ("neighbours", "depth 5.20 µm · width"),
        ("mean", "depth 5.20 µm, mean of all slices · width"),
        ("measure", "depth 5.20 µm, peak of the measure · width"),
        ("both", "depth 5.20 µm, between mean and peak of the measure · width"),
    ],
)
def test_a_pin_tells_where_its_depth_comes_from(view: CurveView, origin: Origin, text: str) -> None:
    view.set_curves([(1, "#ff0000", replace(curve(), origin=origin))])
    assert view._rows[0].details.text().startswith(text)


def test_positions_of_another_stack_or_unit_ask_for_no_slice(view: CurveView) -> None:
    asked: list[int] = []
    view.sliceRequested.connect(asked.append)
    view.set_curves([(1, "#ff0000", curve())])
    view.set_slice(5)
    one = curve()
    view.set_curves([(1, "#ff0000", replace(one, positions=one.positions / 10, unit_symbol="mm"))])
    assert asked == []
    assert view._cursor.value() == 0.7  # the same slice at its new position
    view.set_axis("slice")
    assert (asked, view._cursor.value()) == ([], 5)


def test_cursor_and_read_out_name_a_slice_alike(qtbot: QtBot, view: CurveView) -> None:
    view.set_curves([(1, "#ff0000", curve())])
    view.set_slice(5)
    assert view._cursor.label.format == "7 µm · 6 of 10"
    view.resize(300, 200)
    qtbot.waitUntil(lambda: view._cursor.label.format == "7 µm")  # all of it would be cut
    view.resize(900, 300)
    qtbot.waitUntil(lambda: view._cursor.label.format == "7 µm · 6 of 10")
    counted = replace(curve(), positions=np.arange(10.0), unit_symbol="slices")
    view.set_curves([(1, "#ff0000", counted)])
    view.set_slice(5)
    assert view._cursor.label.format == "slice 5 · 6 of 10"
    view._on_mouse_moved(view._item.vb.mapViewToScene(QPointF(5.0, 0.1)))
    assert view._read_out.text().startswith("slice 5 · 6 of 10   pin 1:")


def test_empty_it_says_what_to_do(view: CurveView) -> None:
    assert view._stack.currentWidget() is view._empty
    assert view._empty.text() == EMPTY_TEXT
    view.set_curves([(1, "#ff0000", curve())])
    assert view._stack.currentIndex() == 1
    view.set_curves([])
    assert view._stack.currentIndex() == 0
    assert view.table() == ""


def test_every_part_of_a_curve_lies_where_it_belongs(view: CurveView) -> None:
    shown = curve(at=5.0, other=9.5)
    view.set_curves([(1, "#ff0000", shown)])
    drawn = view._drawn[0]
    x, y = drawn.probability.getData()
    assert_allclose(x, POSITIONS)
    assert_allclose(y, shown.probability)
    assert drawn.depth.value() == pytest.approx(5.2)
    ends, half = drawn.width.getData()
    assert_allclose(ends, (5 - 1.75, 5 + 1.75))
    assert_allclose(half, (shown.fit[:, 1].max() + shown.probability.min()) / 2)
    others_x, _ = drawn.others.getData()
    assert_allclose(others_x, [9.5])


def test_void_and_flat_pixels_are_drawn_without_peak(view: CurveView) -> None:
    flat = replace(
        curve(),
        depth=np.nan,
        width=np.nan,
        position=np.nan,
        peaks=(),
        fit=np.empty((0, 2)),
        measure=None,
        verdict=Verdict("flat", "flat: no texture here"),
    )
    view.set_curves([(1, "#ff0000", flat)])
    drawn = view._drawn[0]
    assert not any(item.isVisible() for item in (drawn.depth, drawn.width, drawn.others, drawn.fit, drawn.measure))
    assert drawn.probability.isVisible()
    assert "void" in view._rows[0].details.text()


def test_each_pin_has_its_row_with_number_verdict_and_colour(view: CurveView) -> None:
    view.set_curves([(3, "#00ff00", curve()), (8, "#0000ff", curve(9.0, row=77))])
    first, second = view._rows[:2]
    assert first.chip.text() == "3"
    assert "#00ff00" in first.chip.styleSheet()
    assert second.heading.text() == "One clear peak at 9 µm"
    assert "row 77" in second.details.text()
    assert first.heading.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
    view.set_curves([(8, "#0000ff", curve(9.0))])
    assert view._rows[0].chip.text() == "8"
    assert not view._rows[1].isVisible()


def test_the_cross_asks_to_remove_its_pin(view: CurveView, qtbot: QtBot) -> None:
    view.set_curves([(3, "#00ff00", curve()), (8, "#0000ff", curve(9.0))])
    with qtbot.waitSignal(view.pinRemoveRequested, timeout=1000) as asked:
        qtbot.mouseClick(view._rows[1].remove, Qt.MouseButton.LeftButton)
    assert asked.args == [8]


def test_setting_the_slice_is_silent_and_dragging_is_not(view: CurveView, qtbot: QtBot) -> None:
    view.set_curves([(1, "#ff0000", curve())])
    with qtbot.assertNotEmitted(view.sliceRequested):
        view.set_slice(3)
    assert view._cursor.value() == pytest.approx(4.0)
    with qtbot.waitSignal(view.sliceRequested, timeout=1000) as asked:
        view._cursor.setValue(7.4)
    assert asked.args == [5]
    view._snap_cursor()
    assert view._cursor.value() == pytest.approx(7.0)  # on the slice, not between


def test_a_click_in_the_plot_asks_for_the_nearest_slice(view: CurveView, qtbot: QtBot) -> None:
    view.set_curves([(1, "#ff0000", curve())])
    view.set_slice(0)
    at = view._item.vb.mapViewToScene(QPointF(10.6, 0.05))
    point = view._plot.mapFromScene(at)
    with qtbot.waitSignal(view.sliceRequested, timeout=1000) as asked:
        qtbot.mouseClick(view._plot.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(point.x(), point.y()))
    assert asked.args == [8]


def test_arrow_keys_step_through_the_slices(view: CurveView, qtbot: QtBot) -> None:
    view.set_curves([(1, "#ff0000", curve())])
    view.set_slice(8)
    asked: list[int] = []
    view.sliceRequested.connect(asked.append)
    for _ in range(3):
        qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert asked == [9, 8]  # there is no slice after the last


def test_numbers_are_copied_with_all_digits_that_count(view: CurveView) -> None:
    one, two = curve(), replace(curve(9.0), measure=None)
    view.set_curves([(1, "#ff0000", one), (2, "#00ff00", two)])
    view.copy_numbers()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0].startswith("# pin 1: row 3, column 4, depth 5.2")
    assert lines[2].split("\t") == ["position (µm)", "pin 1 probability", "pin 1 measure", "pin 2 probability"]
    numbers = np.array([[float(cell) for cell in line.split("\t")] for line in lines[3:]])
    assert_allclose(numbers[:, 0], POSITIONS)
    assert_allclose(numbers[:, 1], one.probability, rtol=1e-6)
    assert one.measure is not None
    assert_allclose(numbers[:, 2], one.measure, rtol=1e-6)
    assert_allclose(numbers[:, 3], two.probability, rtol=1e-6)


def test_over_slice_numbers_everything_moves_along(view: CurveView) -> None:
    view.set_curves([(1, "#ff0000", curve(at=7.0, depth=7.5))])
    view.set_slice(5)
    view.set_axis("slice")
    drawn = view._drawn[0]
    assert_allclose(drawn.probability.getData()[0], np.arange(10))
    assert drawn.depth.value() == pytest.approx(5.5)  # half-way between 7 and 8
    assert view._cursor.value() == pytest.approx(5)
    assert_allclose(drawn.fit.getData()[0], np.interp(np.linspace(5, 9, 21), POSITIONS, np.arange(10)))


def test_the_measure_is_scaled_to_the_height_of_the_probability() -> None:
    scaled = scaled_measure(curve())
    assert scaled is not None
    assert scaled.min() == 0
    assert scaled.max() == pytest.approx(curve().probability.max())
    assert scaled_measure(replace(curve(), measure=np.ones(10, np.float32))) is None


def test_hovering_reads_the_nearest_slice_out(view: CurveView) -> None:
    shown = curve()
    view.set_curves([(1, "#ff0000", shown)])
    view._on_mouse_moved(view._item.vb.mapViewToScene(QPointF(5.1, 0.05)))
    assert "5 µm · 5 of 10" in view._read_out.text()
    assert f"{100 * shown.probability[4]:.1f} %" in view._read_out.text()


def test_a_curve_follows_a_dragged_pin_at_frame_rate(view: CurveView) -> None:
    moves = [[(1, theme.DARK.pins[0], curve(2 + 0.1 * k)), (2, theme.DARK.pins[1], curve(9.0))] for k in range(40)]
    view.set_curves(moves[0])
    times = []
    for move in moves:
        begin = time.process_time()
        view.set_curves(move)
        times.append(time.process_time() - begin)
    assert np.median(times) < 0.010  # 2 ms on a quiet machine


def test_colours_follow_the_theme(view: CurveView, qapp: object) -> None:
    theme.apply("light")
    view.apply_theme()
    assert view._plot.backgroundBrush().color().name() == theme.LIGHT.base
    theme.apply("dark")
    view.apply_theme()
    assert view._plot.backgroundBrush().color().name() == theme.DARK.base


def test_legend_is_read_whole_in_a_narrow_dock(qtbot: QtBot) -> None:
    view = CurveView()
    qtbot.addWidget(view)
    view.resize(420, 260)
    view.show()
    view.set_curves([(1, "#ff0000", curve())])
    label = view._read_out
    qtbot.waitUntil(lambda: label.height() > 1)
    text = label.fontMetrics().boundingRect(label.contentsRect(), int(Qt.TextFlag.TextWordWrap), label.text())
    assert text.width() <= label.width()
    assert text.height() <= label.height()
    assert label.fontMetrics().horizontalAdvance(label.text()) > label.width()


NAMES = ("1  Default", "2  Light network")


def test_two_results_are_told_apart_without_colour(view: CurveView) -> None:
    """A is solid with dots, B dashed with squares; depths, widths and verdicts of both are there."""
    learned = replace(curve(9.0, depth=9.3), measure=None)
    view.set_curves([PinCurve(1, "#ff0000", curve(), "A"), PinCurve(1, "#ff0000", learned, "B")], NAMES)
    first, second = view._drawn[:2]
    solid, dashed = Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine
    for item in ("fit", "width", "probability"):
        assert pg.mkPen(getattr(first, item).opts["pen"]).style() == solid
        assert pg.mkPen(getattr(second, item).opts["pen"]).style() == dashed
    assert (first.depth.pen.style(), second.depth.pen.style()) == (solid, dashed)
    assert (first.depth.value(), second.depth.value()) == (pytest.approx(5.2), pytest.approx(9.3))
    assert (first.probability.opts["symbol"], second.probability.opts["symbol"]) == ("o", "s")
    assert first.measure.isVisible()
    assert not second.measure.isVisible()  # networks have none
    assert [row.chip.text() for row in view._rows[:2]] == ["1A", "1B"]
    assert [row.heading.text() for row in view._rows[:2]] == ["One clear peak at 5 µm", "One clear peak at 9 µm"]
    assert view._rows[0].remove.isVisible()
    assert not view._rows[1].remove.isVisible()
    assert view._legend.isVisible()
    assert view._legend.names == NAMES
    assert view._read_out.text() == COMPARED_KEY_TEXT
    view._on_mouse_moved(view._item.vb.mapViewToScene(QPointF(5.1, 0.05)))
    assert "pin 1A:" in view._read_out.text()
    assert "pin 1B:" in view._read_out.text()


def test_after_a_comparison_the_lines_are_as_before(view: CurveView) -> None:
    view.set_curves([PinCurve(1, "#ff0000", curve(), "A"), PinCurve(1, "#ff0000", curve(9.0), "B")], NAMES)
    view.set_curves([PinCurve(1, "#ff0000", curve()), PinCurve(2, "#ff0000", curve(9.0))])
    first, second = view._drawn[:2]
    assert pg.mkPen(second.fit.opts["pen"]).style() == Qt.PenStyle.SolidLine
    assert first.depth.pen.style() == Qt.PenStyle.DashLine
    assert second.probability.opts["symbol"] == "o"
    assert view._rows[1].remove.isVisible()
    assert not view._legend.isVisible()
    assert view._read_out.text() == KEY_TEXT


def test_numbers_of_results_with_other_frames_are_copied_in_tables_of_their_own(view: CurveView) -> None:
    whole = curve()
    fewer = replace(
        whole, positions=POSITIONS[::2].copy(), probability=whole.probability[::2], measure=None, depth=np.nan
    )
    view.set_curves([PinCurve(1, "#ff0000", whole, "A"), PinCurve(1, "#ff0000", fewer, "B")], NAMES)
    lines = view.table().splitlines()
    assert lines[:2] == ["# A: 1  Default", "# B: 2  Light network"]
    assert lines[2].startswith("# pin 1A: row 3")
    heads = [i for i, line in enumerate(lines) if line.startswith("position")]
    assert lines[heads[0]].split("\t") == ["position (µm)", "pin 1A probability", "pin 1A measure"]
    assert lines[heads[1]].split("\t") == ["position (µm)", "pin 1B probability"]
    assert (heads[1] - heads[0] - 1, len(lines) - heads[1] - 1) == (10, 5)
    view._on_mouse_moved(view._item.vb.mapViewToScene(QPointF(12.0, 0.05)))  # beyond the last frame of B
    assert "pin 1B:" in view._read_out.text()


def test_long_names_take_two_rows_where_one_is_too_short(view: CurveView) -> None:
    long = ("1  Modified Laplacian, window 21, not aligned", "2  Directional Laplacian, dilations 8, window 31")
    view.set_curves([PinCurve(1, "#ff0000", curve(), "A"), PinCurve(1, "#ff0000", curve(9.0), "B")], long)
    legend = view._legend
    legend.resize(1200, legend.height())
    one = legend.height()
    legend.resize(300, legend.height())
    assert legend.height() == 2 * one
    assert long[1] in legend.toolTip()


def test_a_result_without_curves_says_so_in_their_place(qtbot: QtBot) -> None:
    view = CurveView()
    qtbot.addWidget(view)
    view.set_kept(False)
    assert view._empty.text() == NOT_KEPT_TEXT
    view.set_kept(True)
    assert view._empty.text() == EMPTY_TEXT


def test_a_low_plot_keeps_room_for_its_curves(qtbot: QtBot) -> None:
    view = CurveView()
    qtbot.addWidget(view)
    view.resize(362, 140)
    view.show()
    view.set_curves([(1, "#ff0000", curve(), "A"), (1, "#ff0000", curve(), "B")], ("1  Default", "2  A long name"))
    qtbot.waitUntil(lambda: view._item.vb.height() > 45)
    view.resize(362, 320)
    qtbot.waitUntil(lambda: view._item.getAxis("bottom").label.isVisible())
    assert view._read_out.wordWrap()
