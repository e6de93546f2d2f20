"""Each panel with a small real widget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QListWidget,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from toposcope.core.compare import compare
from toposcope.core.editing import CalibrationEdit
from toposcope.core.estimate import METHODS, EstimateSettings
from toposcope.core.jobs import Progress
from toposcope.core.sweep import SweepNote
from toposcope.ui import theme
from toposcope.ui.rendering import render_difference, render_values
from toposcope.ui.resolve import SHOWS, Comparison, FrameRow, Hint, MethodState, RunRow, SliceState, calibration
from toposcope.ui.session import Job, Message, Offer
from toposcope.ui.views.calibration_panel import CalibrationPanel, PositionsDialog, parse_positions
from toposcope.ui.views.dialogs import AboutDialog, about_text
from toposcope.ui.views.elided_box import ElidedComboBox
from toposcope.ui.views.elided_label import ElidedLabel
from toposcope.ui.views.export_panel import ExportPanel
from toposcope.ui.views.film_strip import FilmStrip, check_box
from toposcope.ui.views.message_bar import MessageBar
from toposcope.ui.views.method_panel import MethodPanel
from toposcope.ui.views.picture_view import PictureView
from toposcope.ui.views.range_bar import RangeBar, bar_marks
from toposcope.ui.views.scrolled import scrolled
from toposcope.ui.views.start_page import StartPage
from toposcope.ui.views.status import StatusView
from toposcope.ui.views.sweep_panel import SweepPanel
from window_fakes import make_result, make_stack


def _rows(n: int, skipped: tuple[int, ...] = ()) -> tuple[FrameRow, ...]:
    return tuple(FrameRow(f"img_{i}.png", f"{2.5 * i:g} µm", i in skipped) for i in range(n))


def _texts(widget: QLabel | object) -> str:
    return " | ".join(label.text() for label in widget.findChildren(QLabel))  # type: ignore[attr-defined]


# film strip


@pytest.fixture
def strip(qtbot: QtBot) -> FilmStrip:
    made = FilmStrip()
    qtbot.addWidget(made)
    made.resize(240, 400)
    with qtbot.waitExposed(made):
        made.show()
    return made


def test_only_frames_in_view_ask_for_thumbnails(qtbot: QtBot, strip: FilmStrip) -> None:
    with qtbot.waitSignal(strip.thumbnailsRequested) as caught:
        strip.set_frames(_rows(5000))
    assert caught.args is not None
    assert caught.args[0][0] == 0
    assert 5 <= len(caught.args[0]) <= 8
    with qtbot.waitSignal(strip.thumbnailsRequested) as caught:
        strip.set_current(4000)
    assert caught.args is not None
    assert 4000 in caught.args[0]
    assert len(caught.args[0]) < 10


def test_bars_are_relative_to_the_sharpest_frame(strip: FilmStrip) -> None:
    from toposcope.ui.views.film_strip import SHARPNESS

    strip.set_frames(_rows(3))
    picture = np.zeros((54, 72, 3), dtype=np.uint8)
    strip.set_thumbnails({0: (picture, 2.0), 1: (picture, 8.0)})
    model = strip.frames
    assert [model.data(model.index(i), SHARPNESS) for i in range(3)] == [0.25, 1.0, None]
    strip.set_frames(_rows(3, skipped=(1,)))  # the same frames: thumbnails stay
    assert model.data(model.index(1), Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Unchecked
    assert set(model.thumbnails) == {0, 1}


def test_the_box_leaves_a_frame_out_and_the_row_shows_it(qtbot: QtBot, strip: FilmStrip) -> None:
    strip.set_frames(_rows(4, skipped=(2,)))
    row = strip.visualRect(strip.frames.index(1))
    with qtbot.waitSignal(strip.skipRequested) as caught:
        qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=check_box(row).center())
    assert caught.args == [1, True]
    with qtbot.waitSignal(strip.frameRequested) as shown:
        qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(100, row.center().y()))
    assert shown.args == [1]
    strip.set_current(2)
    with qtbot.waitSignal(strip.skipRequested) as caught:
        qtbot.keyClick(strip, Qt.Key.Key_Space)
    assert caught.args == [2, False]


# calibration


def test_calibration_shows_values_origins_and_guesses(qtbot: QtBot) -> None:
    panel = CalibrationPanel()
    qtbot.addWidget(panel)
    panel.set_calibration(calibration(make_stack(), CalibrationEdit()))
    texts = _texts(panel)
    assert "10 to 20 µm, step 2.5" in texts
    assert "file name" in texts
    assert "stack.json" in texts
    assert "Guess: from the unit" in texts  # the kind was not stated
    step, pixel = panel.findChildren(QDoubleSpinBox)
    assert (step.text(), pixel.text()) == ("2.5", "0.5 µm")


def test_leaving_a_field_unchanged_is_no_edit(qtbot: QtBot) -> None:
    panel = CalibrationPanel()
    qtbot.addWidget(panel)
    panel.set_calibration(calibration(make_stack(), CalibrationEdit()))
    step, pixel = panel.findChildren(QDoubleSpinBox)
    with qtbot.assertNotEmitted(panel.stepEdited), qtbot.assertNotEmitted(panel.pixelEdited):
        step.editingFinished.emit()
        pixel.editingFinished.emit()
    with qtbot.waitSignal(panel.stepEdited) as caught:
        step.setValue(3.0)
        step.editingFinished.emit()
    assert caught.args == [3.0]
    with qtbot.waitSignal(panel.unitEdited) as caught:
        unit = next(box for box in panel.findChildren(QComboBox) if box.findData("mm") >= 0)
        unit.setCurrentIndex(unit.findData("mm"))
        unit.activated.emit(unit.currentIndex())
    assert caught.args == ["mm"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1\n2\n", "2 positions are given, 3 are needed"),
        ("1\n2\nthree", "Line 3, “three”, is not a number"),
        ("1\n2\nnan", "not a finite number"),
        ("1\n2\n1", "1 is given twice"),
        ("1\n2.5\n1e3", ""),
        ("1,5\n2,5\n3,5", ""),
        ("1.5 µm\n2.5 um\n3.5 µm", ""),
        ("3\t2\t1", ""),
    ],
)
def test_typed_positions_are_checked(text: str, problem: str) -> None:
    values, found = parse_positions(text, 3)
    assert problem in found
    assert bool(found) == bool(problem)
    assert len(values) == (0 if problem else 3)


def test_positions_dialog_says_what_is_wrong(qtbot: QtBot) -> None:
    dialog = PositionsDialog(("a", "b", "c"), (1.0, 2.0, 3.0), "µm", None)
    qtbot.addWidget(dialog)
    assert not dialog.problem
    assert dialog.positions() == (1.0, 2.0, 3.0)
    dialog.set_text("1\n2")
    assert "3 are needed" in _texts(dialog)


# method, sweep, export


def _method(**changes: object) -> MethodState:
    settings = EstimateSettings("sml", METHODS["sml"].settings(window=21), keep_volume=True)
    state = MethodState(settings, automatic=True, can_run=True, running=False, outdated=False, facts="steady")
    return replace(state, **changes)  # type: ignore[arg-type]


def test_method_panel_shows_and_edits_settings(qtbot: QtBot) -> None:
    panel = MethodPanel(METHODS)
    qtbot.addWidget(panel)
    panel.show()
    panel.set_state(_method())
    assert METHODS["sml"].good_at in _texts(panel)
    with qtbot.waitSignal(panel.settingsEdited) as caught:
        panel._forms["sml"].changed.emit(None)
    assert caught.args is not None
    assert caught.args[0].options.window == 21
    panel._method.setCurrentIndex(panel._method.findData("variance"))
    with qtbot.waitSignal(panel.settingsEdited) as caught:
        panel._method.activated.emit(panel._method.currentIndex())
    assert caught.args is not None
    assert caught.args[0].method == "variance"
    assert caught.args[0].keep_volume


def test_run_button_runs_or_cancels(qtbot: QtBot) -> None:
    panel = MethodPanel(METHODS)
    qtbot.addWidget(panel)
    panel.set_state(_method())
    button = panel.findChild(QPushButton)
    assert button is not None
    with qtbot.waitSignal(panel.runRequested), qtbot.assertNotEmitted(panel.cancelRequested):
        button.click()
    panel.set_state(_method(running=True))
    assert "Cancel" in button.text()
    with qtbot.waitSignal(panel.cancelRequested), qtbot.assertNotEmitted(panel.runRequested):
        button.click()


def test_history_shows_the_newest_first(qtbot: QtBot) -> None:
    panel = MethodPanel(METHODS)
    qtbot.addWidget(panel)
    panel.set_runs([RunRow(3, "1  Default"), RunRow(7, "2  Tenengrad")], 3)
    results = panel.findChild(QListWidget)
    assert results is not None
    assert [results.item(i).text() for i in range(2)] == ["2  Tenengrad", "1  Default"]
    assert results.currentRow() == 1
    with qtbot.waitSignal(panel.resultRequested) as caught:
        results.itemClicked.emit(results.item(0))
    assert caught.args == [7]


def test_advice_is_shown_and_copied_in_words(qtbot: QtBot) -> None:
    panel = SweepPanel()
    qtbot.addWidget(panel)
    assert "appears here" in _texts(panel)
    panel.set_notes([])
    assert "lacks nothing" in _texts(panel)
    panel.set_notes([SweepNote("cut_low", "8 % of the texture is sharpest in the first slice.", 0.08)])
    assert "Peak at the first slice" in _texts(panel)
    assert panel.text() == "8 % of the texture is sharpest in the first slice."
    with qtbot.waitSignal(panel.mapRequested):
        panel.findChild(QPushButton).click()


@dataclass(frozen=True)
class Card:
    name: str
    title: str
    file_name: str


def test_export_needs_a_result_a_format_and_a_folder(qtbot: QtBot, tmp_path: Path) -> None:
    panel = ExportPanel([Card("depth", "Depth", "depth.tif"), Card("ply", "Surface", "surface.ply")], None, ["depth"])
    qtbot.addWidget(panel)
    button = next(b for b in panel.findChildren(QPushButton) if "Export" in b.text())
    assert not button.isEnabled()
    panel.set_folder(tmp_path / "größe")
    assert not button.isEnabled()
    panel.set_able(True)
    assert button.isEnabled()
    panel.set_formats([])
    assert not button.isEnabled()
    panel.set_formats(["ply", "depth"])
    with qtbot.waitSignal(panel.exportRequested) as caught:
        button.click()
    assert caught.args == [("depth", "ply"), tmp_path / "größe", None]
    panel.set_written([tmp_path / "depth.tif"])
    assert "Wrote depth.tif" in _texts(panel)


# the rest


def test_message_offers_ways_out_and_copies_details(qtbot: QtBot) -> None:
    bar = MessageBar()
    qtbot.addWidget(bar)
    assert bar.isHidden()
    offer = Offer("Skip it and go on", "skip_frame", "img_3.png")
    bar.set_message(Message("img_3.png is truncated.", "error", "trace", (offer,)))
    assert not bar.isHidden()
    buttons = {b.text(): b for b in bar.findChildren(QPushButton)}
    with qtbot.waitSignal(bar.offerChosen) as caught:
        buttons["Skip it and go on"].click()
    assert caught.args == [offer]
    buttons["Copy details"].click()
    assert QGuiApplication.clipboard().text() == "img_3.png is truncated.\n\ntrace"
    bar.set_message(Message("img_3.png is truncated.", "error", "trace", (offer,)))
    assert bar.findChildren(QPushButton) == list(buttons.values())  # whoever is pressing one lets go on the same
    bar.set_message(None)
    assert bar.isHidden()


def test_status_shows_a_job_only_while_it_runs(qtbot: QtBot) -> None:
    status = StatusView()
    qtbot.addWidget(status)
    status.set_job(Job("Depth", Progress(0.5, "measuring slice 3 of 9")))
    assert not status._progress.isHidden()
    assert status._progress.value() == 500
    assert status._job.toolTip() == "Depth: measuring slice 3 of 9"
    status.set_job(Job("Depth", Progress(0.0)))
    assert status._progress.maximum() == 0  # runs without an end
    status.set_job(None)
    assert status._progress.isHidden()


def test_start_page_shows_long_names_by_their_ends(qtbot: QtBot) -> None:
    page = StartPage()
    qtbot.addWidget(page)
    page.set_last("R&D (12:05)")
    assert page._last.text() == "Go on with R&&D (12:05)"
    page.set_last("A name " + 40 * "that goes on " + "and ends (12:05)")
    assert page._last.text().startswith("Go on with A name")
    assert page._last.text().endswith("ends (12:05)")
    assert page._last.sizeHint().width() < 560


def test_start_page_lists_recent_paths(qtbot: QtBot, tmp_path: Path) -> None:
    page = StartPage()
    qtbot.addWidget(page)
    recent = page.findChild(QListWidget)
    assert recent is not None
    assert recent.isHidden()
    page.set_recent([tmp_path / "scan_07"])
    assert "scan_07" in recent.item(0).text()
    with qtbot.waitSignal(page.recentRequested) as caught:
        recent.itemClicked.emit(recent.item(0))
    assert caught.args == [tmp_path / "scan_07"]


def test_range_bar_handles(qtbot: QtBot) -> None:
    bar = RangeBar()
    qtbot.addWidget(bar)
    bar.resize(104, 300)
    bar.show()
    values = np.linspace(0, 100, 10_000, dtype=np.float32).reshape(100, 100)
    bar.set_scale(render_values(values, (100, 100), "viridis", (20.0, 80.0), "µm").scale)
    assert bar.limits == (20, 80)
    assert bar.value_at(bar.y_of(37.0)) == pytest.approx(37.0)

    def drag(begin: float, end: float) -> tuple[float, float]:
        with qtbot.waitSignal(bar.limitsRequested) as caught:
            qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(40, round(bar.y_of(begin))))
            qtbot.mouseMove(bar, QPoint(40, round(bar.y_of(end))))
            qtbot.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=QPoint(40, round(bar.y_of(end))))
        assert caught.args is not None
        return bar.limits

    low, high = drag(20, 40)
    assert low == pytest.approx(40, abs=0.5)
    assert high == 80
    low, high = drag(60, 50)  # between the handles: both
    assert high - low == pytest.approx(40, abs=0.6)
    assert low == pytest.approx(30, abs=1)
    low, high = drag(low, 500)  # cannot pass the other
    assert low < high
    with qtbot.waitSignal(bar.limitsRequested) as caught:
        qtbot.mouseDClick(bar, Qt.MouseButton.LeftButton, pos=QPoint(40, 150))
    assert caught.args == [None]


def test_picture_view_shows_modes_scale_and_comparison(qtbot: QtBot) -> None:
    view = PictureView()
    qtbot.addWidget(view)
    view.resize(700, 500)
    view.show()
    view.set_modes("slice", frozenset({"slice", "compare"}))
    assert not view._modes["depth"].isEnabled()
    with qtbot.waitSignal(view.modeRequested) as caught:
        view._modes["compare"].click()
    assert caught.args == ["compare"]
    values = np.linspace(0, 9, 400, dtype=np.float32).reshape(20, 20)
    depth = render_values(values, (20, 20), "viridis", None, "µm")
    view.set_modes("depth", frozenset({"slice", "depth", "compare"}))
    view.set_picture("left", depth)
    assert view.range_bar.isVisible()
    view.set_modes("compare", frozenset({"slice", "depth", "compare"}))
    shown = _comparison()
    view.set_comparison(shown)
    assert view.canvas._names["right"].text() == "B  Depth · 2  Light network"
    assert not view._strip.isVisible()
    with qtbot.waitSignal(view.pairRequested) as caught:
        view._sides[0].setCurrentIndex(1)
        view._sides[0].activated.emit(1)
    assert caught.args == [2, 2]
    with qtbot.waitSignal(view.pairRequested) as caught:
        view._swap.click()
    assert caught.args == [2, 1]
    with qtbot.waitSignal(view.showRequested) as caught:
        view._show.setCurrentIndex(1)
        view._show.activated.emit(1)
    assert caught.args == [("confidence", "confidence")]
    assert not view._slice_row.isVisible()
    view.set_comparison(replace(shown, show=("slice", "depth")))
    assert view._slice_row.isVisible()
    with qtbot.assertNotEmitted(view.sliceRequested):
        view.set_slices(SliceState(9, 4, "5 / 9"))
    assert "5 / 9" in _texts(view)


def test_modes_are_a_list_where_no_title_fits(qtbot: QtBot) -> None:
    window = QWidget()  # docks squeeze the picture below its own least width
    qtbot.addWidget(window)
    window.resize(1000, 500)
    view = PictureView(window)
    view.resize(900, 400)
    window.show()
    view.set_modes("depth", frozenset({"slice", "depth", "compare"}))
    buttons, modes = view._modes, view._mode_list
    assert buttons["depth"].isVisible()
    assert not modes.isVisible()
    view.resize(300, 400)
    qtbot.waitUntil(modes.isVisible)
    assert not buttons["depth"].isVisible()
    assert modes.currentText() == "Depth"
    with qtbot.waitSignal(view.modeRequested) as caught:
        modes.activated.emit(modes.findData("compare"))
    assert caught.args == ["compare"]
    view.resize(900, 400)
    qtbot.waitUntil(buttons["depth"].isVisible)


def _comparison(**changes: Any) -> Comparison:
    rows = (RunRow(1, "1  Default", "A"), RunRow(2, "2  Light network", "B"))
    names = ("A  Depth · 1  Default", "B  Depth · 2  Light network")
    made = Comparison("compare", rows, 1, 2, SHOWS, SHOWS[0][0], names, 0.5, None, True, None)
    return replace(made, **changes)


def test_one_result_is_shown_with_a_hint_and_a_difference_of_it_is_only_a_hint(qtbot: QtBot) -> None:
    view = PictureView()
    qtbot.addWidget(view)
    view.resize(700, 500)
    view.show()
    hint = Hint("There is only one result yet.", Offer("Run Light network", "run_method", "light"))
    view.set_modes("compare", frozenset({"compare", "difference"}))
    view.set_comparison(_comparison(hint=hint, ready=False, results=_comparison().results[:1], b=1))
    assert view._strip.isVisible()
    assert view.canvas.isVisible()
    assert not view._sides[0].isEnabled()
    with qtbot.waitSignal(view.offerChosen) as caught:
        view._strip._button.click()
    assert caught.args == [hint.offer]
    view.set_modes("difference", frozenset({"compare", "difference"}))
    view.set_comparison(_comparison(mode="difference", hint=hint, ready=False))
    assert not view._strip.isVisible()
    assert not view.canvas.isVisible()
    label = view._page._text
    assert label.fontMetrics().horizontalAdvance(label.text()) < label.width()  # no word is cut
    with qtbot.waitSignal(view.offerChosen):
        view._page._button.click()
    view.set_comparison(_comparison(mode="difference"))
    assert view.canvas.isVisible()
    with qtbot.waitSignal(view.numbersRequested):
        view._numbers.click()


def test_statistics_stand_under_a_difference_and_only_there(qtbot: QtBot) -> None:
    view = PictureView()
    qtbot.addWidget(view)
    view.resize(500, 400)
    view.show()
    stack = make_stack()
    found = compare(make_result(stack), make_result(stack))
    view.set_picture("left", render_difference(found, stack.shape))
    assert view._statistics.isVisible()
    assert view._statistics.text().startswith("Mean 0.00 µm")
    view.set_picture("left", render_values(found.values, stack.shape, "viridis", None, "µm"))
    assert not view._statistics.isVisible()


def test_handles_of_a_centred_bar_keep_the_same_distance_from_zero(qtbot: QtBot) -> None:
    bar = RangeBar()
    qtbot.addWidget(bar)
    bar.resize(104, 300)
    bar.show()
    values = np.linspace(-9, 9, 400, dtype=np.float32).reshape(20, 20)
    depth = replace(make_result(make_stack(shape=(20, 20))), depth=values, valid=np.isfinite(values))
    zero = replace(depth, depth=np.zeros_like(values))
    scale = render_difference(compare(depth, zero), (20, 20), (-4.0, 4.0)).scale
    bar.set_scale(scale)
    asked: list[tuple[float, float]] = []
    bar.limitsRequested.connect(asked.append)
    for begin, end in ((4.0, 2.0), (-2.0, -6.0), (0.0, 3.0)):
        qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(40, round(bar.y_of(begin))))
        qtbot.mouseMove(bar, QPoint(40, round(bar.y_of(end))))
        qtbot.mouseRelease(bar, Qt.MouseButton.LeftButton)
    assert all(low == -high for low, high in asked)
    assert [round(high) for _, high in asked] == [2, 6, 6]  # between the handles there is nothing to shift


def test_results_are_made_a_or_b_with_the_right_button(qtbot: QtBot) -> None:
    panel = MethodPanel(METHODS)
    qtbot.addWidget(panel)
    panel.resize(300, 500)
    with qtbot.waitExposed(panel):
        panel.show()
    panel.set_runs(_comparison().results, 2, "2 of 4 kept, 41 MB")
    assert panel._heading.text() == "Results · 2 of 4 kept, 41 MB"
    assert [panel._results.item(i).text() for i in (0, 1)] == ["2  Light network   (B)", "1  Default   (A)"]
    panel._on_menu(panel._results.visualItemRect(panel._results.item(1)).center())
    menu = panel.findChild(QMenu)
    with qtbot.waitSignal(panel.sideRequested) as caught:
        next(action for action in menu.actions() if action.text() == "Compare as B").trigger()
    assert caught.args == ["B", 1]
    menu.close()


def test_about_box_names_versions_and_copies_them(qtbot: QtBot) -> None:
    dialog = AboutDialog("CPU, 2 cores")
    qtbot.addWidget(dialog)
    next(b for b in dialog.findChildren(QPushButton) if b.text() == "Copy").click()
    text = QGuiApplication.clipboard().text()
    assert text == about_text("CPU, 2 cores")
    assert "numpy 2" in text
    assert "Device: CPU, 2 cores" in text


def test_three_results_are_in_view_in_a_low_dock_with_long_settings(qtbot: QtBot) -> None:
    panel = MethodPanel(METHODS)
    qtbot.addWidget(panel)
    panel.set_state(MethodState(EstimateSettings(), True, True, False, True, "a fact\n" * 6))
    panel.set_runs([RunRow(i, f"{i}  Default") for i in (1, 2, 3)], 3)
    panel.resize(300, 340)
    with qtbot.waitExposed(panel):
        panel.show()
    shown = panel._results
    last = shown.visualItemRect(shown.item(2))
    assert last.height() > 0
    assert shown.viewport().visibleRegion().contains(last.center())
    assert shown.viewport().rect().contains(last)
    assert panel.rect().contains(shown.geometry())


@pytest.mark.parametrize("name", ["dark", "light"])
def test_no_calibration_field_is_cut_in_the_narrowest_dock(qtbot: QtBot, name: theme.ThemeName) -> None:
    theme.apply(name)
    panel = CalibrationPanel()
    area = scrolled(panel)
    qtbot.addWidget(area)
    panel.set_calibration(calibration(make_stack(), CalibrationEdit()))
    area.resize(1, 150)
    with qtbot.waitExposed(area):
        area.show()
    assert area.width() >= 230
    for field in (*panel.findChildren(QComboBox), *panel.findChildren(QDoubleSpinBox)):
        right = field.mapTo(area.viewport(), field.rect().topRight()).x()
        assert right < area.viewport().width(), field
        text = field.text() if isinstance(field, QDoubleSpinBox) else field.currentText()
        assert field.width() >= field.fontMetrics().horizontalAdvance(text) + 20  # and its arrows


def test_the_wheel_scrolls_a_panel_and_changes_only_what_was_clicked(qtbot: QtBot) -> None:
    content = QWidget()
    column = QVBoxLayout(content)
    choice = QComboBox()
    choice.addItems(["one", "two", "three"])
    column.addWidget(choice)
    area = scrolled(content)
    qtbot.addWidget(area)
    area.resize(200, 120)
    with qtbot.waitExposed(area):
        area.show()
    number = QDoubleSpinBox()  # a form that comes later
    column.insertWidget(1, number)
    for _ in range(20):
        column.addWidget(QLabel("line"))
    bar = area.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 100)

    def turn(field: QWidget) -> None:
        QTest.wheelEvent(area.windowHandle(), QPointF(field.mapTo(area, QPoint(5, 5))), QPoint(0, -120))

    area.setFocus()  # a window gives it to its first field
    for field in (choice, number):
        bar.setValue(0)
        turn(field)
        assert (choice.currentIndex(), number.value()) == (0, 0)
        assert bar.value() > 0
    area.activateWindow()
    bar.setValue(0)
    choice.setFocus()
    qtbot.waitUntil(choice.hasFocus)
    turn(choice)
    assert choice.currentIndex() == 1


# long names


def test_a_label_of_one_line_ends_in_an_ellipsis_where_it_does_not_fit(qtbot: QtBot) -> None:
    label, plain = ElidedLabel("Depth 1.14 (dark) to 10.17 slices, 48 % known"), QLabel()
    for one in (label, plain):
        qtbot.addWidget(one)
        one.resize(120, 20)
    assert label.shown_text().startswith("Depth 1.14")
    assert label.shown_text().endswith("…")
    plain.setText(label.shown_text())
    assert label.grab().toImage() == plain.grab().toImage()
    label.resize(900, 20)
    assert label.shown_text() == label.text()


def test_a_long_title_ends_in_an_ellipsis_where_it_does_not_fit(qtbot: QtBot) -> None:
    box, plain = ElidedComboBox(), QComboBox()
    for one in (box, plain):
        qtbot.addWidget(one)
        one.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        one.setMinimumContentsLength(6)
    box.addItems(["2  a very long name of a height map.x3p", "2  a.x3p"])
    box.resize(130, 28)
    title = box.shown_title()
    assert title.startswith("2  a very")
    assert title.endswith("…")
    assert box.fontMetrics().horizontalAdvance(title) <= 130
    # drawn as a list whose title is that
    plain.addItem(title)
    plain.resize(130, 28)
    assert box.grab().toImage() == plain.grab().toImage()
    box.setCurrentIndex(1)
    assert box.shown_title() == "2  a.x3p"
    assert box.currentText() == "2  a.x3p"


@pytest.mark.parametrize(("least", "most"), [(12.6, 97.2), (-3.2, 3.2), (0.0, 1.0), (0.002, 0.0031)])
@pytest.mark.parametrize("length", [100, 160, 230, 650])
def test_a_short_colour_bar_still_has_a_scale(least: float, most: float, length: int) -> None:
    marks = bar_marks(least, most, length)
    assert len(marks) > 2
    assert length * (marks[1] - marks[0]) / (most - least) >= 16  # they do not run into each other


def test_undo_keys_in_a_number_are_for_what_is_being_typed(qtbot: QtBot) -> None:
    panel = CalibrationPanel()
    qtbot.addWidget(panel)
    panel.set_calibration(calibration(make_stack(), CalibrationEdit()))

    def is_taken() -> bool:
        event = QKeyEvent(QEvent.Type.ShortcutOverride, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        event.ignore()
        QApplication.sendEvent(panel._step, event)
        return event.isAccepted()

    assert not is_taken()
    panel._step.selectAll()
    QTest.keyClicks(panel._step, "5")
    assert is_taken()
    QTest.keyClick(panel._step, Qt.Key.Key_Return)
    assert not is_taken()  # the window undoes the change of the step
