"""Measuring in the window: lines with profiles, the area of the parameters, a step; drawn, dragged and undone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu
from pytestqt.qtbot import QtBot

from toposcope.core.estimate import EstimateSettings
from toposcope.core.jobs import Progress, Report
from toposcope.core.marks import Line, Marks
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.core.surface import Area, Parameter, Profile, SurfaceSettings
from toposcope.ui.controllers import measuring
from toposcope.ui.main_window import MainWindow
from toposcope.ui.views import canvas as canvas_module
from toposcope.ui.views import measure_panel, profile_view
from toposcope.ui.views.axes import NumberAxis
from window_fakes import FAKES, Make, make_result, make_stack

RISE_UM = 10 / 63
"""By which the surface of `make_result` rises from column to column; its pixels are half a micrometre wide."""
RAW = SurfaceSettings(form="none")
NO_KEY = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def window(qtbot: QtBot, make: Make) -> MainWindow:
    return opened(qtbot, make)


def opened(qtbot: QtBot, make: Make, **fakes: object) -> MainWindow:
    made = make(**{**FAKES, **fakes})
    made.open(Path("any"))
    qtbot.waitUntil(lambda: ready(made))
    return made


def ready(window: MainWindow) -> bool:
    state = window.session.state
    return state.run is not None and not state.jobs and window.picture.canvas.picture("left") is not None


def stepped(stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
    """Return a result of two levels, 3 um apart, on a tilted plane."""
    result = make_result(stack, settings)
    rows, columns = np.indices(stack.shape)
    depth = 12 + 0.01 * rows + 0.02 * columns + 3.0 * (columns >= 32)
    return replace(result, depth=depth.astype(np.float32), valid=np.ones(stack.shape, bool))


def drag(
    qtbot: QtBot,
    window: MainWindow,
    start: tuple[float, float],
    end: tuple[float, float],
    key: Qt.KeyboardModifier = NO_KEY,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Drag with the left button from one pixel (row, column) to another, as a hand does; `meanwhile` before its end."""
    canvas, left = window.picture.canvas, Qt.MouseButton.LeftButton

    def place(share: float) -> QPoint:
        row, column = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        return canvas.mapFromScene(canvas._box.mapViewToScene(QPointF(column, row)))

    qtbot.mouseMove(canvas.viewport(), place(0.0))
    qtbot.mousePress(canvas.viewport(), left, key, place(0.0))
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        qtbot.mouseMove(canvas.viewport(), place(share))
        qtbot.wait(15)
    if meanwhile is not None:
        meanwhile()
        qtbot.mouseMove(canvas.viewport(), place(0.9))
        qtbot.wait(15)
    qtbot.mouseRelease(canvas.viewport(), left, key, place(1.0))


def measured(window: MainWindow) -> bool:
    return not window.measuring.runner.busy and window.measuring.measured is not None


def test_a_line_that_is_drawn_has_its_profile(qtbot: QtBot, window: MainWindow) -> None:
    assert window.profiles._empty.text() == profile_view.EMPTY_TEXT
    window.measuring.prepare(RAW)
    window.actions_by_name["draw_line"].trigger()
    assert window.session.state.tool == "line"
    drag(qtbot, window, (20, 10), (20, 50))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 1)
    (line,) = window.session.state.marks.lines
    assert_allclose((line.start, line.end), ((20, 10), (20, 50)), atol=0.6)
    assert window.session.state.tool == "pin"  # drawn once, pins are set again
    assert window.docks["profiles"].isVisible()
    (one,) = window.profiles._profiles
    columns = line.start[1] + one.profile.distance_um / 0.5 * np.sign(line.end[1] - line.start[1])
    assert_allclose(one.profile.z_um, columns * RISE_UM, atol=1e-5)
    # between the cursors, a quarter and three quarters along
    across, left, right = window.profiles.at_cursors(one.profile)
    assert across == pytest.approx(one.profile.length_um / 2)
    assert left == pytest.approx(20 * RISE_UM, abs=RISE_UM)
    assert right == pytest.approx(40 * RISE_UM, abs=RISE_UM)
    row = window.profiles._rows[0]
    assert row.heading.text().startswith("Δ height 3.")
    heights = [float(text.strip().removesuffix("µm")) for text in row.details.text().split(" · ")[0].split("→")]
    assert heights == pytest.approx([left, right], abs=1e-3)
    # a plane is flat once it is levelled
    window.measuring.prepare(SurfaceSettings(form="plane"))
    qtbot.waitUntil(lambda: bool(np.nanmax(np.abs(window.profiles._profiles[0].profile.z_um)) < 1e-5))
    # all of it goes by undo, and comes back
    window.undo.undo()
    qtbot.waitUntil(lambda: bool(np.nanmax(window.profiles._profiles[0].profile.z_um) > 1))
    window.undo.undo()
    qtbot.waitUntil(lambda: window.profiles._profiles == ())
    window.undo.redo()
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 1)


def test_an_end_of_a_line_and_a_whole_line_can_be_dragged(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    window.measuring.add_line((40.0, 10.0), (40.0, 40.0))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 2)
    drag(qtbot, window, (20, 40), (10, 55))
    first = window.session.state.marks.lines[0]
    assert_allclose((first.start, first.end), ((20, 10), (10, 55)), atol=0.8)
    qtbot.waitUntil(lambda: window.profiles._profiles[0].profile.length_um > 20)
    drag(qtbot, window, (40, 25), (30, 30))
    second = window.session.state.marks.lines[1]
    assert_allclose((second.start, second.end), ((30, 15), (30, 45)), atol=0.8)
    window.undo.undo()  # one step for the whole drag
    assert_allclose(window.session.state.marks.lines[1].start, (40, 10))
    window.undo.undo()
    assert_allclose(window.session.state.marks.lines[0].end, (20, 40))
    qtbot.waitUntil(lambda: window.profiles._profiles[0].profile.length_um == pytest.approx(15))
    # what is drawn is not taken for a drag of what lies there
    window.actions_by_name["draw_area"].trigger()
    drag(qtbot, window, (20, 10), (44, 60))
    area = window.session.state.marks.area
    assert area is not None
    assert_allclose((area.top, area.left, area.bottom, area.right), (20, 10, 45, 61), atol=1)
    assert window.session.state.marks.lines[0].start == (20.0, 10.0)
    window.profiles.lineRemoveRequested.emit(1)
    assert [line.number for line in window.session.state.marks.lines] == [2]
    window.measuring.add_line((5.0, 5.0), (9.0, 9.0))
    assert [line.number for line in window.session.state.marks.lines] == [1, 2]  # the number that was free


def test_a_cursor_over_a_void_is_named(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_line((0.0, 10.0), (0.0, 50.0))  # the first row is void
    window.measuring.add_line((0.0, 10.0), (20.0, 10.0))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 2)
    first, second = window.profiles._cursors
    first.setValue(0.0)
    second.setValue(8.0)
    row = window.profiles._rows[1]
    assert row.heading.text() == "No height at the left cursor; they are 8.000 µm apart"
    assert row.details.text().startswith("void\u00a0→")


def test_shift_keeps_a_line_to_45_degrees(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["draw_line"].trigger()
    drag(qtbot, window, (20, 10), (23, 50), Qt.KeyboardModifier.ShiftModifier)
    (line,) = window.session.state.marks.lines
    assert line.start[0] == pytest.approx(line.end[0], abs=1e-6)


def test_clicks_set_no_pin_while_a_tool_is_in_the_hand_and_esc_puts_it_down(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["draw_line"].trigger()
    assert window.measure._hint.text() == measure_panel.HINTS["line"]
    canvas = window.picture.canvas
    at = canvas.mapFromScene(canvas._box.mapViewToScene(QPointF(30, 20)))
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert window.session.state.pins == ()
    assert window.session.state.marks == Marks()  # a click is no line
    window.actions_by_name["cancel"].trigger()
    assert window.session.state.tool == "pin"
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert len(window.session.state.pins) == 1


def test_parameters_are_those_of_the_area(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["measure"].trigger()
    window.measuring.prepare(RAW)
    qtbot.waitUntil(lambda: measured(window) and window.measuring.measured.asked.settings == RAW)  # type: ignore[union-attr]
    found = {one.name: one.value for one in window.measuring.measured.parameters}  # type: ignore[union-attr]
    assert found["Sz"] == pytest.approx(10, abs=1e-4)
    assert window.measure._area.text() == "the whole picture"
    window.session.set(tool="area")
    window.picture.canvas.areaDrawn.emit(Area(10, 8, 30, 29))
    qtbot.waitUntil(lambda: measured(window) and window.measuring.measured.asked.marks.area is not None)  # type: ignore[union-attr]
    found = {one.name: one for one in window.measuring.measured.parameters}  # type: ignore[assignment,union-attr]
    # 21 columns of a plane: half the range is Sp, the mean distance from the middle of 21 even steps is Sa
    assert found["Sz"].value == pytest.approx(20 * RISE_UM, abs=1e-4)  # type: ignore[attr-defined]
    assert found["Sa"].value == pytest.approx(RISE_UM * 110 / 21, abs=1e-4)  # type: ignore[attr-defined]
    assert window.measure._area.text() == "10.50 × 10.00 µm (21 × 20 px) from row 10, column 8"
    rows = [window.measure._table.topLevelItem(k) for k in range(window.measure._table.topLevelItemCount())]
    assert "Sa" in [row.text(0) for row in rows if row is not None]
    window.actions_by_name["copy_measured"].trigger()
    copied = QGuiApplication.clipboard().text()
    assert "Sz\t3.17" in copied
    assert copied.startswith("# area: rows 10 to 29, columns 8 to 28")
    window.actions_by_name["measure_whole"].trigger()
    qtbot.waitUntil(lambda: measured(window) and window.measuring.measured.asked.marks.area is None)  # type: ignore[union-attr]
    window.undo.undo()
    assert window.session.state.marks.area == Area(10, 8, 30, 29)


def test_the_height_of_a_step_between_two_areas(qtbot: QtBot, make: Make) -> None:
    window = opened(qtbot, make, estimate=stepped)
    window.actions_by_name["draw_step"].trigger()
    drag(qtbot, window, (5, 4), (40, 26))
    assert window.session.state.tool == "step"  # the other area is still to be drawn
    assert window.measure._step.text() == "one more area to draw"
    drag(qtbot, window, (5, 38), (40, 60))
    assert window.session.state.tool == "pin"
    qtbot.waitUntil(lambda: window.measure._step.text().startswith("B lies"))
    assert window.measure._step.text().startswith("B lies 3.000 µm above A")
    # areas that overlap are refused in a sentence, beside what is measured
    window.measuring.move_area(2, Area(5, 10, 40, 40), finished=True)
    qtbot.waitUntil(lambda: "overlap" in window.measure._step.text())
    window.measuring.remove_step()
    assert window.measure._step.text() == "no areas are drawn"


def test_without_a_pixel_size_the_panel_says_what_is_needed(qtbot: QtBot, make: Make) -> None:
    window = opened(qtbot, make, open_stack=lambda path, options, report: make_stack(pixel_um=None))
    window.actions_by_name["measure"].trigger()
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    qtbot.waitUntil(lambda: "size of its pixels" in window.measure._problem.text())
    assert window.measure._problem.isVisible()
    assert "size of its pixels" in window.profiles._empty.text()
    assert window.session.state.message is None


def test_a_filter_that_does_not_suit_is_told_in_the_panel(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["measure"].trigger()
    window.measuring.prepare(SurfaceSettings(l_um=500.0))
    qtbot.waitUntil(lambda: "wider than the area" in window.measure._problem.text())
    window.undo.undo()
    qtbot.waitUntil(lambda: not window.measure._problem.isVisible())
    assert window.measure._table.isVisible()


def test_nothing_is_measured_that_nobody_asks_for(qtbot: QtBot, window: MainWindow) -> None:
    assert window.measuring._asked is None
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    qtbot.waitUntil(lambda: measured(window))
    assert window.measuring.measured is not None
    assert window.measuring.measured.parameters == ()  # their panel is not seen
    window.actions_by_name["measure"].trigger()
    qtbot.waitUntil(lambda: bool(window.measuring.measured and window.measuring.measured.parameters))


def test_what_is_measured_is_saved_as_the_command_line_saves_it(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    window.session.set(tool="area")
    window.measuring.add_area(Area(5, 5, 45, 60))
    folder = tmp_path / "measured"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments, **options: (str(folder), ""))
    window.actions_by_name["save_measured"].trigger()
    qtbot.waitUntil(lambda: (folder / "measure.json").exists() and not window.session.state.jobs)
    facts = json.loads((folder / "measure.json").read_text("utf-8"))
    assert facts["area"] == {"top": 5, "left": 5, "bottom": 45, "right": 60}
    assert facts["profiles"][0]["end"] == [20.0, 40.0]
    assert {path.name for path in folder.iterdir()} == {
        "measure.json",
        "parameters.csv",
        "profile_1.csv",
        "surface.tif",
    }


def test_marks_go_with_their_stack_and_wear_the_theme(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 1)
    dark = window.profiles._profiles[0].colour
    window.set_theme("light")
    assert window.profiles._profiles[0].colour != dark
    assert window.picture.canvas._lines[1].colour == window.profiles._profiles[0].colour
    window.open(Path("another"))
    qtbot.waitUntil(lambda: window.session.state.marks == Marks() and ready(window))
    assert window.picture.canvas._lines == {}
    assert window.profiles._profiles == ()


def test_copied_profiles_are_read_by_a_spreadsheet(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.prepare(RAW)
    window.session.set(marks=Marks((Line(1, (0.0, 10.0), (4.0, 10.0), 0),)))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 1)
    window.actions_by_name["copy_profiles"].trigger()
    head, titles, *rows = QGuiApplication.clipboard().text().splitlines()
    assert head.startswith("# line 1: row 0.0, column 10.0 to row 4.0, column 10.0, 2 µm; Pa ")
    assert titles == "distance 1 (µm)\theight 1 (µm)"
    assert rows[0] == "0\t"  # the first row is void
    assert [float(cell) for cell in rows[1].split("\t")] == pytest.approx([0.5, 10 * RISE_UM], abs=1e-5)


def test_the_panel_says_how_fine_a_focus_sweep_can_tell(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["measure"].trigger()
    qtbot.waitUntil(lambda: window.measure._fineness.isVisible())
    assert "16 pixels, 8.000 µm" in window.measure._fineness.text()
    window.measuring.prepare(SurfaceSettings(s_um=8.0))
    qtbot.waitUntil(lambda: not window.measure._fineness.isVisible())
    window.undo.undo()
    qtbot.waitUntil(lambda: window.measure._fineness.isVisible())
    (run,) = window.session.state.runs
    window.session.set(runs=(replace(run, measured=True),))  # heights of an instrument, laid over the stack
    assert not window.measure._fineness.isVisible()


def test_a_line_without_heights_says_why(qtbot: QtBot) -> None:
    view = profile_view.ProfileView()
    qtbot.addWidget(view)
    nowhere = Profile(np.linspace(0, 8, 9), np.full(9, np.nan), (0, 0), (0, 8))
    view.set_profiles([profile_view.LineProfile(1, "#ff0000", nowhere, ())])
    assert view._rows[0].heading.text() == "No height along this line"
    assert view._rows[0].details.text() == "length 8.000 µm · it lies outside the area, or over voids only"


def test_axes_have_the_minus_of_all_numbers() -> None:
    assert NumberAxis("left").tickStrings([-2.0, 0.0, 2.0], 1.0, 2.0) == ["−2", "0", "2"]


def test_what_goes_wrong_is_said_once_and_not_tried_for_ever(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def exhausted(*arguments: object) -> None:
        calls.append(arguments)
        raise MemoryError

    monkeypatch.setattr(measuring, "areal_parameters", exhausted)
    window.actions_by_name["measure"].trigger()
    qtbot.waitUntil(lambda: "not enough memory" in window.measure._problem.text())
    qtbot.wait(100)
    assert len(calls) == 1
    assert window.session.state.message is not None
    monkeypatch.undo()
    window.actions_by_name["measure"].trigger()  # asked for again, it is tried again
    qtbot.waitUntil(lambda: bool(measured(window) and window.measuring.measured.parameters))  # type: ignore[union-attr]


def test_numbers_of_something_else_are_dimmed_and_go_when_measuring_is_stopped(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.actions_by_name["measure"].trigger()
    qtbot.waitUntil(lambda: window.measure._table.isVisible() and window.measure._table.isEnabled())

    def endless(surface: object, settings: object, area: object, report: Report) -> None:
        while True:
            report(Progress(0.5))
            time.sleep(0.001)

    monkeypatch.setattr(measuring, "prepared", endless)
    window.measuring.prepare(RAW)
    assert not window.measure._table.isEnabled()  # they are those of a levelled surface
    window.actions_by_name["cancel"].trigger()
    qtbot.waitUntil(lambda: window.measure._problem.text() == measuring.STOPPED)
    assert not window.measure._table.isVisible()
    assert window.measuring.table() == ""
    assert not window.session.state.jobs
    monkeypatch.undo()
    window.actions_by_name["measure"].trigger()
    qtbot.waitUntil(lambda: window.measure._table.isVisible() and window.measure._table.isEnabled())


def test_no_step_is_told_that_is_not_measured(qtbot: QtBot, make: Make) -> None:
    window = opened(qtbot, make, estimate=stepped)
    window.session.set(marks=Marks(step=(Area(5, 4, 40, 26), Area(5, 38, 40, 60))))
    qtbot.waitUntil(lambda: "3.000 µm above A" in window.measure._step.text())
    window.measuring.prepare(SurfaceSettings(l_um=5000.0))
    qtbot.waitUntil(lambda: window.measure._step.text() == "not measured")


def test_a_line_that_is_dragged_out_of_the_picture_comes_back_as_it_was(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_line((20.0, 10.0), (30.0, 40.0))
    window.picture.canvas.zoom_by(0.5)
    drag(qtbot, window, (25, 25), (70, 25))
    (line,) = window.session.state.marks.lines
    assert_allclose((line.start, line.end), ((37, 10), (47, 40)), atol=0.6)
    window.measuring.move_line(1, line.start, (-9.0, 80.0), finished=True)  # an end comes to the border
    assert window.session.state.marks.lines[0].end == (0.0, 63.0)


@pytest.mark.parametrize("tool", ["line", "area", "step"])
def test_a_drawing_that_is_given_up_leaves_nothing(qtbot: QtBot, window: MainWindow, tool: str) -> None:
    canvas = window.picture.canvas
    window.actions_by_name[f"draw_{tool}"].trigger()
    shown = []

    def give_up() -> None:
        shown.append(canvas._rubber.isVisible())
        window.actions_by_name["cancel"].trigger()

    drag(qtbot, window, (10, 10), (30, 40), meanwhile=give_up)
    assert shown == [True]
    assert not canvas._rubber.isVisible()
    assert window.session.state.marks == Marks()


def test_a_parameter_that_is_not_defined_is_copied_as_an_empty_cell(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["measure"].trigger()
    qtbot.waitUntil(lambda: bool(measured(window) and window.measuring.measured.parameters))  # type: ignore[union-attr]
    assert window.measuring.measured is not None
    one = Parameter("Str", "texture aspect ratio", float("nan"), "", "spatial")
    window.measuring.measured = replace(window.measuring.measured, parameters=(one,))
    assert window.measuring.table().splitlines()[-1] == "Str\t\t\ttexture aspect ratio"


def test_delete_removes_what_was_touched_last(qtbot: QtBot, window: MainWindow) -> None:
    canvas, delete = window.picture.canvas, window.actions_by_name["remove_chosen"]
    assert not delete.isEnabled()
    window.pins.add(5, 5)
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    window.measuring.add_line((40.0, 10.0), (40.0, 40.0))
    broad = [number for number, item in canvas._lines.items() if item.pen.widthF() == canvas_module.CHOSEN_PX]
    assert broad == [2]
    at = canvas.mapFromScene(canvas._box.mapViewToScene(QPointF(25, 20)))
    qtbot.mouseMove(canvas.viewport(), at)
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert window.session.state.chosen_mark == ("line", 1)
    delete.trigger()
    assert [line.number for line in window.session.state.marks.lines] == [2]
    assert len(window.session.state.pins) == 1
    window.session.set(tool="area")
    canvas.areaDrawn.emit(Area(10, 8, 30, 29))
    window.session.set(tool="step")
    canvas.areaDrawn.emit(Area(12, 10, 20, 20))
    assert window.session.state.chosen_mark == ("area", 1)
    delete.trigger()
    assert window.session.state.marks.step == ()
    assert window.session.state.marks.area is not None
    canvas.areaMoved.emit(0, Area(11, 8, 31, 29), True)
    canvas.pinChosen.emit(1)  # a pin that is touched is what is chosen, chosen before or not
    delete.trigger()
    assert window.session.state.pins == ()
    assert window.session.state.marks.area == Area(11, 8, 31, 29)
    canvas.areaMoved.emit(0, Area(10, 8, 30, 29), True)
    delete.trigger()
    assert window.session.state.marks.area is None
    for _ in range(2):
        window.undo.undo()
    assert window.session.state.marks.area == Area(11, 8, 31, 29)


def test_profiles_may_be_the_mean_over_parallel_lines(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
        result = make_result(stack, settings)
        depth = np.random.default_rng(0).normal(15, 1, stack.shape).astype(np.float32)
        return replace(result, depth=depth, valid=np.ones(stack.shape, bool))

    window = opened(qtbot, make, estimate=noisy)
    window.measuring.prepare(RAW)
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 1)
    window.profiles._width.setValue(9)
    assert window.session.state.profile_width == 9
    qtbot.waitUntil(lambda: window.profiles._profiles[0].width_px == 9)
    assert window.session.state.run is not None
    wanted = window.session.state.run.result.depth[16:25, 10:41].astype(float).mean(axis=0) - 10  # the lowest slice
    assert_allclose(window.profiles._profiles[0].profile.z_um, wanted, atol=1e-6)
    assert "mean over 9 lines" in window.profiles.table()
    folder = tmp_path / "measured"
    window.measuring.save(folder)
    qtbot.waitUntil(lambda: (folder / "measure.json").exists())
    assert json.loads((folder / "measure.json").read_text("utf-8"))["profiles"][0]["width_px"] == 9
    window.undo.undo()
    assert window.profiles._width.value() == 1
    qtbot.waitUntil(lambda: window.profiles._profiles[0].width_px == 1)


def test_the_panel_names_the_result_that_is_measured(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["measure"].trigger()
    assert not window.measure._result.isVisible()
    for number in (2, 3):
        window.estimating.run()
        qtbot.waitUntil(lambda number=number: ready(window) and len(window.session.state.runs) == number)
    window.actions_by_name["mode_compare"].trigger()
    assert window.measure._result.isVisible()
    assert window.measure._result.text() == "3  Default (B)"
    window.session.set(shown_run=window.session.state.runs[0].number)
    assert window.measure._result.text().startswith("1  Default")


def test_files_of_profiles_have_the_numbers_of_their_lines(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    for row in (10.0, 20.0, 30.0):
        window.measuring.add_line((row, 10.0), (row, 40.0))
    window.measuring.remove_line(1)
    folder = tmp_path / "measured"
    window.measuring.save(folder)
    qtbot.waitUntil(lambda: (folder / "measure.json").exists())
    assert sorted(path.name for path in folder.glob("profile_*")) == ["profile_2.csv", "profile_3.csv"]
    assert (folder / "profile_3.csv").read_text("utf-8-sig").splitlines()[1].split(",")[2] == "30"


def waves(number: int, height_um: float = 1.0) -> profile_view.LineProfile:
    x = np.linspace(0, 100, 401)
    return profile_view.LineProfile(number, "#ff0000", Profile(x, height_um * np.sin(x), (0, 0), (0, 400)), ())


def test_zooming_into_profiles_stays_while_a_line_is_dragged_and_cursors_come_along(qtbot: QtBot) -> None:
    view = profile_view.ProfileView()
    qtbot.addWidget(view)
    view.set_profiles([waves(1)])
    view._item.setXRange(60, 70, padding=0)
    assert not any(60 <= cursor.value() <= 70 for cursor in view._cursors)
    view.bring_cursors()
    assert [cursor.value() for cursor in view._cursors] == pytest.approx([62.5, 67.5])
    view.set_profiles([waves(1, 1000.0)])
    view._item.getViewBox().updateAutoRange()  # else at the next painting
    left, right = view._item.viewRange()[0]
    assert (left, right) == pytest.approx((60, 70))
    low, high = view._item.viewRange()[1]
    assert low < -990 < 990 < high  # heights that are others are seen
    view.set_profiles([waves(1), waves(2)])
    view._item.getViewBox().updateAutoRange()
    assert view._item.viewRange()[0][1] >= 100  # with another line, all is shown


def test_long_profiles_are_drawn_by_segments(qtbot: QtBot) -> None:
    view = profile_view.ProfileView()
    qtbot.addWidget(view)
    view.set_profiles([waves(1)])
    assert all(curve.opts["segmentedLineMode"] == "on" for curve in view._drawn)


@pytest.mark.parametrize("way", ["cancel", "undo"])
def test_a_drag_that_is_given_up_leaves_things_where_they_were(qtbot: QtBot, window: MainWindow, way: str) -> None:
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    window.measuring.add_line((40.0, 10.0), (40.0, 40.0))
    before = window.session.state.marks
    give_up = window.actions_by_name["cancel"].trigger if way == "cancel" else window.undo.undo
    drag(qtbot, window, (20, 25), (30, 35), meanwhile=give_up)
    first = window.session.state.marks.lines[0]
    assert (first.start, first.end) == ((20.0, 10.0), (20.0, 40.0))
    assert window.measuring._dragged is None
    if way == "cancel":
        assert window.session.state.marks == before
        assert window.undo.undoText() == "line 2"


def test_a_corner_that_is_pulled_out_of_the_picture_comes_to_its_border(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_area(Area(10, 10, 31, 41))
    window.picture.canvas.zoom_by(0.5)
    drag(qtbot, window, (30.5, 40.5), (80, 100))
    assert window.session.state.marks.area == Area(10, 10, 48, 64)


def test_keys_do_not_turn_a_drag_into_another(qtbot: QtBot, window: MainWindow) -> None:
    # pyqtgraph turns and scales what is dragged with Alt or Shift, unless it is told not to
    window.measuring.add_line((20.0, 10.0), (30.0, 40.0))
    window.measuring.add_area(Area(10, 10, 31, 41))
    canvas = window.picture.canvas
    assert not any(item.rotatable or item.resizable for item in (canvas._lines[1], canvas._areas[0]))


def test_profiles_are_copied_side_by_side(qtbot: QtBot) -> None:
    view = profile_view.ProfileView()
    qtbot.addWidget(view)
    short = Profile(np.array([0.0, 0.5]), np.array([1.0, np.nan]), (0, 0), (0, 1))
    long = Profile(np.array([0.0, 0.5, 1.0]), np.array([4.0, 5.0, 6.0]), (0, 0), (0, 2))
    view.set_profiles([profile_view.LineProfile(k, "#ff0000", one, ()) for k, one in ((1, short), (3, long))])
    assert view.table().splitlines()[2:] == [
        "distance 1 (µm)\theight 1 (µm)\tdistance 3 (µm)\theight 3 (µm)",
        "0\t1\t0\t4",
        "0.5\t\t0.5\t5",
        "\t\t1\t6",
    ]


def test_a_click_in_an_area_is_one_on_the_picture(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_area(Area(5, 5, 40, 60))
    window.session.set(tool="step")
    window.measuring.add_area(Area(10, 10, 20, 30))
    window.session.set(tool="pin")
    canvas = window.picture.canvas
    at = canvas.mapFromScene(canvas._box.mapViewToScene(QPointF(20, 15)))
    qtbot.mouseMove(canvas.viewport(), at)
    qtbot.wait(30)
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    (pin,) = window.session.state.pins
    assert (pin.row, pin.column) == (15, 20)
    canvas.set_pins((), None)  # it lies under the mouse
    qtbot.mouseMove(canvas.viewport(), at + QPoint(8, 8))
    qtbot.wait(30)
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.RightButton, pos=at + QPoint(8, 8))
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    texts = [action.text().replace("&", "") for action in menu.actions()]
    assert texts[:3] == ["Set a pin here", "Measure the whole picture", "Remove the areas of the step"]
    menu.actions()[2].trigger()
    menu.close()
    assert window.session.state.marks.step == ()


def test_lines_that_wait_for_a_depth_do_not_ask_to_be_drawn(qtbot: QtBot, window: MainWindow) -> None:
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    qtbot.waitUntil(lambda: len(window.profiles._profiles) == 1)
    window.session.set(runs=(), shown_run=None)
    assert window.profiles._profiles == ()
    assert window.profiles._empty.text() == profile_view.WAITING_TEXT
    window.measuring.remove_all()
    assert window.profiles._empty.text() == profile_view.EMPTY_TEXT


def test_cursors_that_a_short_line_has_pushed_together_part_again(qtbot: QtBot) -> None:
    view = profile_view.ProfileView()
    qtbot.addWidget(view)
    short = Profile(np.linspace(0, 5, 21), np.zeros(21), (0, 0), (0, 20))
    view.set_profiles([waves(1)])
    view.set_profiles([profile_view.LineProfile(1, "#ff0000", short, ())])
    assert [cursor.value() for cursor in view._cursors] == pytest.approx([1.25, 3.75])


def test_lengths_of_the_area_are_those_of_the_result_not_of_a_later_calibration(
    qtbot: QtBot, window: MainWindow
) -> None:
    window.session.set(automatic=False)
    window.measuring.add_area(Area(10, 8, 30, 29))
    window.calibration.pixelEdited.emit(5.0)
    assert window.session.state.pixel_um is not None
    assert window.session.state.pixel_um.value == 5.0
    assert window.measure._area.text() == "10.50 × 10.00 µm (21 × 20 px) from row 10, column 8"
    assert "8.000 µm" in window.measure._fineness.text()
    window.estimating.run()
    qtbot.waitUntil(lambda: window.measure._area.text().startswith("105.0 × 100.0 µm"))
