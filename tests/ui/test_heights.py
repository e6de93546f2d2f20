"""Height maps in the window: opened by themselves, and compared with a result; what has no slices says so."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QLabel
from pytestqt.qtbot import QtBot

from surfaces import field
from toposcope.core.export import write_gwy, write_x3p
from toposcope.core.height_map import HeightMap, from_result, read_height_map
from toposcope.core.jobs import Progress, Report
from toposcope.ui.controllers import heights, opening
from toposcope.ui.main_window import MainWindow
from toposcope.ui.views import curve_view, film_strip, sweep_panel
from toposcope.ui.views.heights_dialog import HeightsDialog
from window_fakes import FAKES, Make, make_result, make_stack


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    made = field((40, 60), (0.5, 0.5))
    made.z_um[5:8, 20:30] = np.nan
    path = tmp_path / "groove.x3p"
    write_x3p(replace(made, z_um=made.z_um + 70_000.0), path)
    return path


@pytest.fixture
def make(make: Make) -> Make:
    return lambda: make(**FAKES)


def opened(window: MainWindow) -> bool:
    state = window.session.state
    return state.height_map is not None and not state.jobs and window.picture.canvas.picture("left") is not None


def with_map(qtbot: QtBot, make: Make, path: Path) -> MainWindow:
    window = make()
    window.open(path)
    qtbot.waitUntil(lambda: opened(window))
    return window


def with_depth(qtbot: QtBot, make: Make) -> MainWindow:
    window = make()
    window.open(Path("any"))
    qtbot.waitUntil(lambda: window.session.state.run is not None and not window.session.state.jobs)
    return window


def test_a_height_map_is_shown_with_what_it_has(qtbot: QtBot, make: Make, measured: Path) -> None:
    window = make()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(measured))])
    event = QDropEvent(
        QPointF(50, 50),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    qtbot.waitUntil(lambda: opened(window))
    state, acts = window.session.state, window.actions_by_name
    assert state.run is not None
    assert state.message is None
    assert window.windowTitle() == "groove.x3p – Toposcope"
    assert window._pages.currentWidget() is window.picture
    assert window.preferences.recent == (measured,)
    # heights from the lowest one, voids and pixel kept
    truth = read_height_map(measured).z_um
    assert_allclose(state.run.result.heights(), truth - np.nanmin(truth), atol=1e-4)
    assert window._view_state is not None
    assert window._view_state.pixel_um == pytest.approx(0.5)
    assert window.picture._modes["depth"].text() == "Height"
    assert [mode for mode, button in window.picture._modes.items() if button.isEnabled()] == ["depth"]
    # what needs slices says that there are none
    assert window.curves._empty.text() == curve_view.HEIGHT_MAP_TEXT
    assert window.strip._empty_text == film_strip.HEIGHT_MAP_TEXT
    assert sweep_panel.HEIGHT_MAP_TEXT in [label.text() for label in window.sweep.findChildren(QLabel)]
    assert window.calibration._range.text() == "None: a height map has no slices"
    assert window.calibration._pixel.value() == pytest.approx(0.5)
    assert "ISO 25178-72 X3P" in window.method._facts.text()
    for name in ("run", "next_slice", "aligned", "mode_slice", "mode_compare", "save_numbers"):
        assert not acts[name].isEnabled(), name
    for name in ("export", "compare_heights", "save_picture", "copy_picture", "close_stack", "reopen", "zoom_fit"):
        assert acts[name].isEnabled(), name
    # what is under the cursor, and pins as numbers
    window.session.set(cursor=(10, 12))
    assert f"height {truth[10, 12] - np.nanmin(truth):.5g} µm" in window.status._readout.text()
    window.session.set(cursor=(6, 25))
    assert "not measured here" in window.status._readout.text()
    window.pins.add(10, 12)
    acts["copy_pins"].trigger()
    cells = QGuiApplication.clipboard().text().splitlines()[1].split("\t")
    assert cells[:5] == ["1", "12", "10", "6", "5"]
    assert float(cells[5]) == pytest.approx(truth[10, 12] - np.nanmin(truth), rel=1e-4)
    acts["run"].trigger()
    assert window.session.state.jobs == {}


def test_a_height_map_is_exported_in_formats_that_show_heights(
    qtbot: QtBot, make: Make, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = with_map(qtbot, make, measured)
    panel = window.export_panel
    assert panel.folder() == tmp_path / "groove-converted"
    panel.set_formats(["result", "gwy", "stl", "picture_png"])
    assert panel.formats() == ("stl", "gwy")
    panel.request()
    qtbot.waitUntil(lambda: panel._said.text().startswith("Wrote"), timeout=20_000)
    back = read_height_map(tmp_path / "groove-converted" / "groove.gwy")
    assert_allclose(back.z_um, read_height_map(measured).z_um, rtol=1e-12)
    assert (tmp_path / "groove-converted" / "groove.stl").stat().st_size > 84
    # the picture, with its colour bar
    asked: list[str] = []

    def choose(parent: Any, title: str, name: str, kinds: str) -> tuple[str, str]:
        asked.append(Path(name).name)
        return str(tmp_path / "a.png"), kinds.partition(";;")[0]

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    window.actions_by_name["save_picture"].trigger()
    qtbot.waitUntil(lambda: (tmp_path / "a.png").exists())
    assert asked == ["groove-heights.png"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 60


def test_stacks_and_height_maps_take_each_others_place(qtbot: QtBot, make: Make, measured: Path) -> None:
    window = with_depth(qtbot, make)
    window.surface.set_colour("plain")
    window.open(measured)
    qtbot.waitUntil(lambda: opened(window))
    assert window.session.state.stack is None
    assert window.strip.frames.rows == ()
    assert window.surface.colouring == "height"
    assert not window.actions_by_name["next_show"].isEnabled()
    window.open(Path("any"))
    qtbot.waitUntil(lambda: window.session.state.stack is not None and not window.session.state.jobs)
    state = window.session.state
    assert state.height_map is None
    assert [run.measured for run in state.runs] == [False]
    assert window.picture._modes["depth"].text() == "Depth"
    assert window.curves._empty.text() == curve_view.EMPTY_TEXT
    assert window.surface.colouring == "plain"  # as the user chose it
    assert "result" in window.export_panel.formats()
    window.open(measured)
    qtbot.waitUntil(lambda: opened(window))
    window.actions_by_name["reopen"].trigger()
    qtbot.waitUntil(lambda: window.session.state.shown_run == -3 and opened(window))
    window.actions_by_name["close_stack"].trigger()
    assert window._pages.currentWidget() is window.start_page
    assert window.session.state.subject is None


def test_nothing_of_the_stack_before_is_left_in_the_calibration(qtbot: QtBot, make: Make, measured: Path) -> None:
    window = with_depth(qtbot, make)
    window.resize(920, 640)
    panel = window.calibration
    fields = (panel._step, panel._unit, panel._kind, panel._near, panel._edit)
    assert all(field.isVisibleTo(panel) for field in fields)
    window.open(measured)
    qtbot.waitUntil(lambda: opened(window))
    assert not any(field.isVisibleTo(panel) for field in fields)
    titles = {label.text() for label in panel.findChildren(QLabel) if label.isVisibleTo(panel)} - {""}
    assert titles == {"Positions", "None: a height map has no slices", "Pixel", "X3P increment"}
    window.open(Path("any"))
    qtbot.waitUntil(lambda: window.session.state.stack is not None and not window.session.state.jobs)
    assert all(field.isVisibleTo(panel) for field in fields)
    assert (panel._step.text(), panel._unit.currentData()) == ("2.5", "um")


def test_results_of_height_maps_have_numbers_of_their_own(
    qtbot: QtBot, make: Make, measured: Path, tmp_path: Path
) -> None:
    window = with_map(qtbot, make, measured)
    read = read_height_map(measured)
    for k in range(2, 7):
        path = tmp_path / f"{k}.gwy"
        write_gwy(replace(read, z_um=read.z_um + k), path)
        window.heights.compare(path)
        qtbot.waitUntil(lambda k=k: window.session.state.runs[-1].title == f"{k}  {k}.gwy", timeout=20_000)
    # the oldest ones give way, but never what all are laid over
    assert [run.title for run in window.session.state.runs] == ["1  groove.x3p", "4  4.gwy", "5  5.gwy", "6  6.gwy"]
    # the one that is shown may be the oldest
    window.session.set(shown_run=window.session.state.runs[1].number)
    window.heights.compare(tmp_path / "2.gwy")
    qtbot.waitUntil(lambda: window.session.state.runs[-1].title == "7  2.gwy", timeout=20_000)
    assert window.session.state.run is window.session.state.runs[0]


def test_a_damaged_height_map_is_one_sentence_and_loses_nothing(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    window = with_depth(qtbot, make)
    before = window.session.state.stack
    (tmp_path / "bad.gwy").write_bytes(b"GWYPGwyContainer\0")
    window.open(tmp_path / "bad.gwy")
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    state = window.session.state
    assert state.message is not None
    assert state.message.text.startswith("bad.gwy is cut off or damaged")
    assert state.stack is before
    assert state.jobs == {}


def endless(path: Path, report: Report) -> HeightMap:
    """Read until it is cancelled."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        report(Progress(0.3, "reading"))
        time.sleep(0.002)
    raise AssertionError("never cancelled")


def test_opening_can_be_stopped(qtbot: QtBot, make: Make, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "read_height_map", endless)
    window = make()
    window.open(measured)
    qtbot.waitUntil(lambda: "reading" in window.session.state.jobs["open"].progress.text)
    window.actions_by_name["cancel"].trigger()
    qtbot.waitUntil(lambda: window.session.state.jobs == {})
    assert window.session.state.subject is None


def test_the_result_is_compared_with_a_height_map(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = with_depth(qtbot, make)
    made = from_result(make_result(make_stack()))
    tilt = np.linspace(0, 3, made.shape[1])[None, :]
    raised = made.z_um + 500.0 + tilt
    raised[20:25, 30:40] += 2.0
    write_gwy(replace(made, z_um=raised), tmp_path / "confocal.gwy")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: (str(tmp_path / "confocal.gwy"), ""))
    answers = [0, 1]
    monkeypatch.setattr(HeightsDialog, "exec", lambda dialog: answers.pop(0))
    window.actions_by_name["compare_heights"].trigger()
    assert window.session.state.jobs == {}  # cancelled in the dialog
    window.actions_by_name["compare_heights"].trigger()
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2, timeout=20_000)
    qtbot.waitUntil(lambda: window.picture._statistics.isVisible())
    state = window.session.state
    first, second = state.runs
    assert (second.title, second.measured, state.mode) == ("2  confocal.gwy", True, "difference")
    assert state.pair == (first.number, second.number)
    assert state.shown_run == first.number
    # level with the result again, but for the step, which the plane takes a little of
    difference = first.result.depth - second.result.depth
    assert np.nanmedian(difference[22, 31:39]) == pytest.approx(-2.0, abs=0.15)
    assert abs(np.nanmedian(difference)) < 0.1
    assert_array_equal(np.isnan(second.result.depth), ~first.result.valid)
    assert state.message is not None
    assert state.message.text.startswith("confocal.gwy laid over the same field")
    assert window.picture._statistics.text().startswith("Mean 0.0")
    # the readout tells both; a later result keeps A and comes as B; the height map stays
    window.session.set(cursor=(22, 35))
    assert "A − B −" in window.status._readout.text()
    window.actions_by_name["run_other"].trigger()
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 3)
    # showing the height map in 3D does not call it out of date
    window.session.set(shown_run=second.number)
    assert window._view_state is not None
    assert not window._view_state.method.outdated
    assert window._view_state.sweep is None
    assert "Measured by" in window.method._facts.text()


def test_two_height_maps_are_compared_in_the_window(
    qtbot: QtBot, make: Make, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = with_map(qtbot, make, measured)
    other = field((60, 90), (1 / 3, 1 / 3))
    write_gwy(replace(other, z_um=other.z_um + 70_001.5), tmp_path / "other.gwy")
    window.heights.compare(tmp_path / "other.gwy", "none")
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2, timeout=20_000)
    qtbot.waitUntil(lambda: window.picture._statistics.isVisible())
    state = window.session.state
    assert [run.title for run in state.runs] == ["1  groove.x3p", "2  other.gwy"]
    assert window.picture._statistics.text().startswith("Mean −1.500 µm · median −1.500 µm")
    assert "slice" not in window.picture._statistics.text()
    window.actions_by_name["mode_compare"].trigger()
    qtbot.waitUntil(lambda: window.picture.canvas.picture("right") is not None)
    assert window._view_state is not None
    assert window._view_state.comparison.names == ("A  Height · 1  groove.x3p", "B  Height · 2  other.gwy")
    assert all("slice" not in kinds for kinds, _ in window._view_state.comparison.shows)
    window.actions_by_name["next_show"].trigger()
    assert window._view_state.comparison.show == ("all_in_focus", "all_in_focus")
    for kinds, _ in window._view_state.comparison.shows:
        window._show_of_sides(kinds)
        qtbot.waitUntil(lambda: not any(runner.busy for runner in window.pictures.runners.values()))
        view = window._view_state
        assert (view.left is not None and view.left.layer.kind, view.right and view.right.layer.kind) == kinds
        for where in ("left", "right"):
            assert window.picture._shown[where] is not None
    assert window.session.state.message is None or window.session.state.message.level == "info"
    # the numbers, and the one that is shown as a file
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments, **options: (str(tmp_path / "d.tif"), ""))
    window.actions_by_name["save_numbers"].trigger()
    qtbot.waitUntil(lambda: (tmp_path / "d.tif").exists())
    assert np.nanmean(tifffile.imread(tmp_path / "d.tif")) == pytest.approx(-1.5, abs=0.01)
    for number, offset in ((state.runs[1].number, 1.5), (state.runs[0].number, 70_000.0)):
        window.session.set(shown_run=number)
        window.exporting.export(["x3p"], tmp_path / "out")
        qtbot.waitUntil(lambda: window.export_panel._said.text().startswith("Wrote"), timeout=20_000)
        (path,) = (tmp_path / "out").iterdir()
        truth = read_height_map(measured).z_um - 70_000.0
        low = np.nanmin(truth) if offset == 1.5 else 0.0
        assert np.nanmedian(read_height_map(path).z_um - truth) == pytest.approx(offset - low, abs=0.02)
        path.unlink()
        window.export_panel.set_written(())


def test_the_dialog_asks_for_level_and_place(qtbot: QtBot) -> None:
    dialog = HeightsDialog("a.x3p", "the result 1  Default")
    qtbot.addWidget(dialog)
    assert (dialog.level, dialog.place, dialog.mirror) == ("plane", "auto", "none")
    dialog.mirror_box.setCurrentIndex(1)
    assert dialog.mirror_box.currentText() == "Mirrored top to bottom"
    assert dialog.mirror == "rows"
    assert not dialog.row_box.isEnabled()
    dialog.level_box.setCurrentIndex(2)
    dialog.place_box.setCurrentIndex(2)
    dialog.row_box.setValue(12.5)
    dialog.column_box.setValue(-3.0)
    assert dialog.row_box.isEnabled()
    assert (dialog.level, dialog.place) == ("none", (12.5, -3.0))
    dialog.place_box.setCurrentIndex(1)
    assert dialog.place == "same"


def test_a_height_map_that_does_not_fit_is_one_sentence_and_another_place_is_a_click_away(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = with_depth(qtbot, make)
    rng = np.random.default_rng(2)
    write_x3p(replace(field((30, 30), (9.0, 9.0)), z_um=rng.normal(size=(30, 30))), tmp_path / "other.x3p")
    window.heights.compare(tmp_path / "other.x3p")
    qtbot.waitUntil(lambda: window.session.state.message is not None, timeout=20_000)
    state = window.session.state
    assert state.message is not None
    assert state.message.text.startswith("other.x3p shows 270 × 270 µm, the other surface 32 × 24 µm, and no place")
    assert "--" not in state.message.text
    assert len(state.runs) == 1
    assert state.jobs == {}

    def place_at_the_corner(dialog: HeightsDialog) -> int:
        dialog.place_box.setCurrentIndex(2)
        return 1

    monkeypatch.setattr(HeightsDialog, "exec", place_at_the_corner)
    (offer,) = state.message.offers
    window.message_bar.offerChosen.emit(offer)
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2, timeout=20_000)
    assert window.session.state.runs[1].title == "2  other.x3p"


def test_laying_over_can_be_stopped(qtbot: QtBot, make: Make, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heights, "read_height_map", endless)
    window = with_depth(qtbot, make)
    window.heights.compare(measured)
    qtbot.waitUntil(lambda: window.session.state.jobs["heights"].progress.text == "reading")
    assert not window.actions_by_name["compare_heights"].isEnabled()
    window.actions_by_name["cancel"].trigger()
    qtbot.waitUntil(lambda: window.session.state.jobs == {})
    assert len(window.session.state.runs) == 1
    assert window.actions_by_name["compare_heights"].isEnabled()


def test_without_a_result_there_is_nothing_to_compare_with(qtbot: QtBot, make: Make, measured: Path) -> None:
    window = make()
    assert not window.actions_by_name["compare_heights"].isEnabled()
    window.heights.compare(measured)
    assert window.session.state.jobs == {}
