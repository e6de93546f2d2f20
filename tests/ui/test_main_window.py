"""The window from end to end, with the real engine on a small rendered stack, and its error paths."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QMenu, QPushButton, QTabBar
from pytestqt.qtbot import QtBot

from scenes import hemisphere
from toposcope.core.source import OpenOptions
from toposcope.core.source.folder import FolderSource
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError
from toposcope.ui import main_window, theme
from toposcope.ui.actions import COMMANDS
from toposcope.ui.main_window import MainWindow
from toposcope.ui.session import Offer
from toposcope.ui.views.dialogs import ShortcutsDialog
from window_fakes import FAKES, Make, SlowEstimate, fake_curve, make_stack, quick_estimate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rendered hemisphere on disk, in a folder with a name that is not ASCII."""
    stack = hemisphere(noise=0.002).stack
    where = tmp_path / "Größe 深度"
    where.mkdir()
    for i in range(stack.n):
        plane = np.asarray(stack.read(i))
        pixels = plane if plane.ndim == 2 else plane[..., ::-1]
        (where / f"img{i}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    positions = ", ".join(f"{v:.6g}" for v in stack.positions.value)
    (where / "stack.json").write_text(
        f'{{"positions": [{positions}], "unit": "um", "kind": "microscope", "pixel_size": 0.5, "pixel_unit": "um"}}'
    )
    return where


def _full(window: MainWindow) -> bool:
    run = window.session.state.run
    return run is not None and run.reduction == 1 and not window.session.state.jobs


def _fake(make: Make, **functions: object) -> MainWindow:
    """Return a window whose engine needs no files."""
    return make(**{**FAKES, **functions})


def test_from_a_folder_to_depth_pins_undo_and_export(qtbot: QtBot, make: Make, folder: Path, tmp_path: Path) -> None:
    window = make()
    assert window.session.state.stack is None
    window.open(folder)
    qtbot.waitUntil(lambda: _full(window), timeout=60_000)
    state, scene = window.session.state, hemisphere(noise=0.002)
    assert state.message is None
    assert state.mode == "depth"
    assert window.windowTitle() == "Größe 深度 – Toposcope"
    run = state.run
    assert run is not None
    known = scene.inner & run.result.valid
    step = float(np.median(np.diff(run.result.positions.value)))
    assert known.mean() > 0.5
    assert np.median(np.abs(run.result.depth - scene.depth)[known]) < 0.25 * step

    # the picture is there, and a click in it makes a pin with a curve
    canvas = window.picture.canvas
    qtbot.waitUntil(lambda: window.picture.range_bar.isVisible())
    row, column = (int(v) for v in np.argwhere(known)[len(np.argwhere(known)) // 2])
    at = canvas.mapFromScene(canvas._box.mapViewToScene(QPointF(column, row)))
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    qtbot.waitUntil(lambda: len(window.pins.curves) == 1)
    _, curve = window.pins.curves[0]
    assert abs(curve.position - scene.depth[curve.row, curve.column]) < 1.5 * step
    window.actions_by_name["copy_pins"].trigger()
    assert QGuiApplication.clipboard().text().startswith("pin\tx / px")

    # export goes beside the stack unless told otherwise
    assert window.export_panel.folder() == folder.parent / f"{folder.name}-depth"
    window.export_panel.set_folder(tmp_path / "out")
    window.export_panel.set_formats(["depth", "pins", "ply"])
    window.actions_by_name["export"].trigger()
    qtbot.waitUntil(
        lambda: (tmp_path / "out" / "surface.ply").exists() and not window.session.state.jobs, timeout=20_000
    )
    written = tifffile.imread(tmp_path / "out" / "depth.tif")
    np.testing.assert_array_equal(written, run.result.depth)

    window.undo.undo()
    qtbot.waitUntil(lambda: window.pins.curves == ())
    assert window.session.state.pins == ()
    window.close()
    assert window.preferences.recent == (folder,)


def test_titles_of_tabs_are_whole_in_a_small_window(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.resize(920, 640)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    bar = next(bar for bar in window.findChildren(QTabBar) if bar.tabText(0) == "Method")
    assert [bar.tabText(i) for i in range(bar.count())] == ["Method", "Advice", "Measure", "Export", "Adapt"]
    for i in range(bar.count()):
        assert bar.tabRect(i).width() >= bar.fontMetrics().horizontalAdvance(bar.tabText(i)) + 2 * theme.TAB_PADDING


def test_no_frame_is_read_in_the_gui_thread(
    qtbot: QtBot, make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers, read = set(), FolderSource.read

    def noted(self: FolderSource, *arguments: Any) -> Any:
        readers.add(threading.current_thread())
        return read(self, *arguments)

    monkeypatch.setattr(FolderSource, "read", noted)
    window = make()
    window.open(folder)
    qtbot.waitUntil(lambda: _full(window) and not window.frames.runner.busy, timeout=60_000)
    assert readers
    assert threading.main_thread() not in readers


def test_skipping_a_frame_computes_again_and_undo_goes_back(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.estimating._calm.setInterval(5)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.show_slice(3)
    window.strip.toggle(1)
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2)
    run = window.session.state.run
    assert run is not None
    assert len(run.result.positions.value) == 4
    assert window.curves._slice == 2  # the cursor stands on the same frame, now the third that counts
    window.actions_by_name["next_slice"].trigger()
    window.undo.undo()
    assert window.session.state.skipped == frozenset()
    assert window.session.state.shown_run == window.session.state.runs[0].number  # its result is still there
    assert len(window.session.state.runs) == 2
    assert window.curves._slice == window.session.state.slice_index


def test_error_while_opening_is_shown_and_the_stack_stays(qtbot: QtBot, make: Make, folder: Path) -> None:
    window = make(estimate=quick_estimate)
    window.open(folder)
    qtbot.waitUntil(lambda: _full(window), timeout=20_000)
    stack = window.session.state.stack
    window.open(folder / "img0.png")
    qtbot.waitUntil(lambda: window.session.state.message is not None, timeout=20_000)
    assert window.message_bar.isVisible()
    assert window.session.state.message is not None
    assert "img0.png" in window.session.state.message.text
    assert window.session.state.stack is stack
    empty = folder.parent / "empty"
    empty.mkdir()
    window.open(empty)
    qtbot.waitUntil(lambda: "empty" in (window.session.state.message.text if window.session.state.message else ""))
    window.message_bar.closeRequested.emit()
    assert not window.message_bar.isVisible()


def test_truncated_frame_is_named_and_can_be_skipped(qtbot: QtBot, make: Make, folder: Path) -> None:
    broken = folder / "img3.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    (folder / "stack.json").unlink()
    window = make()
    window.open(folder)
    qtbot.waitUntil(lambda: window.session.state.message is not None, timeout=30_000)
    message = window.session.state.message
    assert message is not None
    assert "img3.png" in message.text
    offer = next(offer for offer in message.offers if offer.action == "open_without")
    window.message_bar.offerChosen.emit(offer)
    qtbot.waitUntil(lambda: _full(window), timeout=60_000)
    run = window.session.state.run
    assert run is not None
    assert "img3.png" not in run.result.provenance.frames


def test_a_frame_of_the_next_stack_is_not_left_out_of_the_open_one(qtbot: QtBot, make: Make) -> None:
    asked: list[OpenOptions] = []

    def opener(path: Path, options: OpenOptions, report: object) -> FocalStack:
        asked.append(options)
        if path.name == "next" and not options.skip:
            raise FrameError("img_02.png is cut short", 2, "img_02.png")
        return make_stack(name=path.name)

    window = _fake(make, open_stack=opener)
    window.open(Path("first"))
    qtbot.waitUntil(lambda: window.session.state.stack is not None)
    assert window.session.state.stack is not None
    assert "img_02.png" in window.session.state.stack.source.names
    window.open(Path("next"))
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    window.message_bar.offerChosen.emit(message.offers[0])
    qtbot.waitUntil(lambda: window.windowTitle().startswith("next"))
    assert asked[-1].skip == ("img_02.png",)
    assert window.session.state.skipped == frozenset()


def test_drop_of_several_files_opens_them_together(qtbot: QtBot, make: Make) -> None:
    asked: list[object] = []

    def opener(path: object, options: object, report: object) -> object:
        asked.append(path)
        return make_stack()

    window = _fake(make, open_stack=opener)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(f"/data/img_{i}.png") for i in range(3)])
    event = QDropEvent(
        QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    qtbot.waitUntil(lambda: _full(window))
    assert asked == [[Path("/data/img_0.png"), Path("/data/img_1.png"), Path("/data/img_2.png")]]


def test_running_job_is_shown_and_escape_stops_it(qtbot: QtBot, make: Make) -> None:
    slow = SlowEstimate()
    window = _fake(make, estimate=slow)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: "depth" in window.session.state.jobs and bool(slow.calls))
    assert window.status._progress.isVisible()
    window.actions_by_name["cancel"].trigger()
    qtbot.waitUntil(lambda: not window.session.state.jobs)
    assert not window.status._progress.isVisible()
    assert window.session.state.run is None


def test_interface_answers_while_the_engine_works(qtbot: QtBot, make: Make) -> None:
    def busy(stack: object, settings: object, report: object) -> object:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:  # big calls that let go of the interpreter, as the engine's are
            cv2.GaussianBlur(np.ones((800, 800), dtype=np.float32), (0, 0), 5)
        return quick_estimate(make_stack(), window.session.state.settings)

    window = _fake(make, estimate=busy)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: "depth" in window.session.state.jobs)
    answers = 0
    while not _full(window) and answers < 400:
        qtbot.wait(5)
        answers += 1
    assert _full(window)
    assert answers >= 5, "a window that waits for the engine answers once"


def test_comparison_of_two_results(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.estimating._calm.setInterval(5)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.method._method.setCurrentIndex(window.method._method.findData("tenengrad"))
    window.method._method.activated.emit(0)
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2)
    first, second = window.session.state.runs
    assert window.session.state.pair == (first.number, second.number)
    window.actions_by_name["mode_compare"].trigger()
    qtbot.waitUntil(lambda: window.picture.canvas.picture("right") is not None)
    names = window.picture.canvas._names
    assert (names["left"].full, names["right"].full) == ("A  Depth · 1  Default", "B  Depth · 2  Tenengrad")

    # by keys and menu as by mouse
    acts = window.actions_by_name
    acts["swap_sides"].trigger()
    assert names["left"].full == "A  Depth · 2  Tenengrad"
    acts["next_a"].trigger()
    assert names["left"].full == "A  Depth · 1  Default"
    acts["next_b"].trigger()
    assert window.session.state.pair == (first.number, second.number)
    acts["next_show"].trigger()
    assert names["right"].full == "B  Confidence · 2  Tenengrad"
    acts["line_left"].trigger()
    assert window.session.state.split == pytest.approx(0.48)
    width = window.session.state.stack.shape[1] if window.session.state.stack else 0
    assert window.picture.canvas._split.value() == pytest.approx(0.48 * width - 0.5)
    for _ in range(60):
        acts["line_right"].trigger()
    assert window.session.state.split == 1
    menu = QMenu(window)
    window._fill_side_menu(menu, "B")
    assert [(action.text(), action.isChecked()) for action in menu.actions()] == [
        ("1  Default", False),
        ("2  Tenengrad", True),
    ]
    menu.actions()[0].trigger()
    assert window.session.state.pair == (first.number, first.number)
    window._fill_show_menu(menu)
    menu.actions()[0].trigger()
    assert names["left"].full == "A  Depth · 1  Default"
    window.method.sideRequested.emit("B", second.number)

    # the difference, with its numbers
    acts["mode_difference"].trigger()
    qtbot.waitUntil(lambda: window.picture._statistics.isVisible())
    assert window.picture._statistics.text().startswith("Mean 0.00 µm")
    window.picture.limitsRequested.emit((-5.0, 5.0))
    qtbot.waitUntil(lambda: window.picture.range_bar.limits == (-5.0, 5.0))


def test_the_second_method_is_one_click_away(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.actions_by_name["mode_difference"].trigger()
    page = window.picture._page
    assert page.isVisible()
    assert page._button.text() == window.actions_by_name["run_other"].text() == "Run Hybrid"
    qtbot.mouseClick(page._button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2)
    qtbot.waitUntil(lambda: window.picture._statistics.isVisible())
    assert [run.title for run in window.session.state.runs] == ["1  Default", "2  Hybrid"]
    assert window.undo.undoText() == "change the method"
    assert window.actions_by_name["run_other"].text() == "Run Light network"
    settings = window.session.state.settings
    window.method.settingsEdited.emit(replace(settings, align="none"))
    assert window.undo.undoText() == "change the settings"  # of the same method
    window.method.settingsEdited.emit(replace(settings, method="sml", options=None))
    assert window.undo.undoText() == "change the method"


def test_the_line_is_dragged_and_stays_there(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.actions_by_name["mode_compare"].trigger()
    qtbot.waitUntil(lambda: window.picture.canvas.picture("right") is not None)
    window.picture.canvas.splitMoved.emit(0.25)
    assert window.session.state.split == 0.25
    window.actions_by_name["mode_depth"].trigger()
    window.actions_by_name["mode_compare"].trigger()
    assert window.picture.canvas._split.value() == pytest.approx(0.25 * 64 - 0.5)


def test_colour_limits_reach_the_picture_and_go_back(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window) and window.picture.range_bar.isVisible())
    window.picture.limitsRequested.emit((12.0, 13.0))
    qtbot.waitUntil(lambda: window.picture.range_bar.limits == (12.0, 13.0))
    window.picture.limitsRequested.emit(None)
    qtbot.waitUntil(lambda: window.picture.range_bar.limits[1] > 19)


def test_slices_follow_keys_wheel_and_curve(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.picture.canvas.setFocus()
    at = window.session.state.slice_index
    window.actions_by_name["next_slice"].trigger()
    assert (window.session.state.slice_index, window.session.state.mode) == (at + 1, "slice")
    window.picture.canvas.scrubbed.emit(-2)
    assert window.session.state.slice_index == at - 1
    window.curves.sliceRequested.emit(0)
    assert window.session.state.slice_index == 0
    window.actions_by_name["previous_slice"].trigger()
    assert window.session.state.slice_index == 0
    window.actions_by_name["last_slice"].trigger()
    assert window.session.state.slice_index == 4


def test_layout_theme_and_recent_are_remembered(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    window = _fake(make, open_stack=lambda path, options, report: make_stack(path=tmp_path))
    window.open(tmp_path)
    qtbot.waitUntil(lambda: _full(window))
    window.docks["curves"].hide()
    window.resize(792, 640)
    window.set_theme("light")
    assert theme.colours().name == "light"
    window.close()
    again = _fake(make)
    assert again.preferences.theme == "light"
    assert again.preferences.recent == (tmp_path,)
    assert (again.width(), again.height()) == (792, 640)
    assert not again.docks["frames"].isVisible()  # the start page shows no empty panels
    again.open(tmp_path)
    qtbot.waitUntil(lambda: _full(again))
    assert again.docks["frames"].isVisible()
    assert not again.docks["curves"].isVisible()


def test_everything_in_the_menus_has_a_working_command(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    names = [command.name for command in COMMANDS if not isinstance(command, str)]
    keys = [key for command in COMMANDS if not isinstance(command, str) for key in command.keys]
    assert len(set(keys)) == len(keys)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    talking = {"open_folder", "open_files", "guide", "shortcuts", "about", "quit", "open_sample", "full_screen"}
    talking |= {"adapt_folder", "adapt_files", "adapt_bring_in", "watch", "save_project", "save_project_as", "like"}
    for name in names:
        assert name in window.actions_by_name
        if name not in talking:
            window.actions_by_name[name].trigger()
    dialog = ShortcutsDialog(window._groups, window)
    qtbot.addWidget(dialog)
    assert window.session.state.message is None or window.session.state.message.level != "error"


def test_closing_while_everything_runs_leaves_nothing(qtbot: QtBot, make: Make) -> None:
    slow = SlowEstimate()
    window = _fake(make, estimate=slow)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: bool(slow.calls))
    begin = time.monotonic()
    window.close()  # the guards of conftest look for threads
    assert time.monotonic() - begin < 3


def test_offer_to_go_on_without_curves(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.message_bar.offerChosen.emit(Offer("Compute without focus curves", "without_volume"))
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2)
    run = window.session.state.run
    assert run is not None
    assert run.result.volume is None
    window.pins.add(3, 3)
    assert not window.actions_by_name["mode_peaks"].isEnabled()


def test_notes_go_by_themselves_and_errors_stay(qtbot: QtBot, make: Make) -> None:
    window = _fake(make, open_stack=lambda path, options, report: make_stack(notes=("mask.png left out",)))
    window._note_timer.setInterval(30)
    heard: list[str] = []
    window.session.changed.connect(lambda b, now: heard.append(now.message.text) if now.message else None)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window) and window.session.state.message is None)
    assert "mask.png left out" in heard
    window.session.say("the disk is full", "error")
    qtbot.wait(80)
    assert window.message_bar.isVisible()


def test_one_click_skips_all_frames_that_cannot_be_read(qtbot: QtBot, make: Make, folder: Path) -> None:
    (folder / "stack.json").unlink()
    for name in ("img1.png", "img3.png"):
        (folder / name).write_bytes(b"no picture")
    window = make(estimate=quick_estimate, curve_at=fake_curve)
    window.open(folder)
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    buttons = {button.text(): button for button in window.message_bar.findChildren(QPushButton)}
    assert "Skip it and go on" in buttons
    qtbot.mouseClick(buttons["Skip all that cannot be read"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.session.state.stack is not None)
    assert window.session.state.stack is not None
    assert not {"img1.png", "img3.png"} & set(window.session.state.stack.source.names)
    message = window.session.state.message
    assert message is not None
    assert "img1.png" in message.text
    assert "img3.png" in message.text


def test_sample_opens_without_remarks_and_is_no_recent_file(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    stack = make_stack(path=tmp_path, notes=("true_depth.tif left out",))
    window = _fake(make, open_stack=lambda path, options, report: stack, sample_path=lambda: tmp_path)
    heard: list[object] = []
    window.session.changed.connect(lambda b, now: heard.append(now.message) if now.message else None)
    window.open_sample()
    qtbot.waitUntil(lambda: _full(window))
    assert not heard
    assert window.preferences.recent == ()


def test_cursor_over_the_surface_is_read_out_too(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.surface.pointHovered.emit(3, 63)
    assert "depth 20 µm" in window.status._readout.text()
    window.surface.pointHovered.emit(-1, -1)
    assert window.status._readout.text() == ""
    window.surface.pointPicked.emit(5, 6)
    assert [(pin.row, pin.column) for pin in window.session.state.pins] == [(5, 6)]


def test_numbers_of_the_curves_stay_when_the_theme_changes(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.pins.add(3, 4)
    qtbot.waitUntil(lambda: len(window.pins.curves) == 1)
    window.set_theme("light")
    axis = window.curves._item.getAxis("left")
    assert axis.autoSIPrefixScale == 1
    window.set_theme("dark")


def test_keys_move_the_line_while_the_picture_has_the_focus(qtbot: QtBot, make: Make) -> None:
    window = _fake(make)
    window.open(Path("any"))
    qtbot.waitUntil(lambda: _full(window))
    window.actions_by_name["mode_compare"].trigger()
    canvas = window.picture.canvas
    window.activateWindow()  # without a window manager nobody else does
    canvas.setFocus()
    qtbot.waitUntil(lambda: canvas.hasFocus())
    qtbot.keyClick(canvas, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert window.session.state.split == pytest.approx(0.48)
    qtbot.keyClick(canvas, Qt.Key.Key_Home, Qt.KeyboardModifier.ShiftModifier)
    assert window.session.state.split == 0.5


def test_no_tab_bar_is_left_where_no_panels_are(qtbot: QtBot, make: Make) -> None:
    """Qt leaves those of an earlier arrangement of the panels where they were."""
    window = _fake(make)

    def bars() -> list[list[str]]:
        found = window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
        shown = [bar for bar in found if bar.isVisible() and window.rect().intersects(bar.geometry())]
        return sorted([bar.tabText(i) for i in range(bar.count())] for bar in shown)

    usual = [["Focus curves", "Profiles"], ["Method", "Advice", "Measure", "Export", "Adapt"]]
    for _ in range(2):
        window.open(Path("any"))
        qtbot.waitUntil(lambda: _full(window))
        qtbot.waitUntil(lambda: bars() == usual)
        window.actions_by_name["reset_layout"].trigger()
        qtbot.waitUntil(lambda: bars() == usual)
        window.opening.close()
        qtbot.waitUntil(lambda: bars() == [])


def test_file_dialogs_offer_what_readers_read() -> None:
    for pattern in ("*.jpg *.JPG", "*.dng *.DNG", "*.cr3 *.CR3", "*.heic *.HEIC", "*.avif *.AVIF", "*.czi *.CZI"):
        assert pattern in main_window.FILE_FILTER
        assert pattern in main_window.STACK_FILTER
