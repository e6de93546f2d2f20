"""The capture window, with a small simulated microscope in its own thread."""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from dffnets.extras import install_line
from toposcope.core.capture import Fault, Optics, SimulatedMicroscope, planes, sweeping
from toposcope.core.capture.simulated import relief
from toposcope.core.stack import Plane
from toposcope.errors import CaptureError
from toposcope.ui import theme
from toposcope.ui.capture_state import CaptureState, resolve_capture
from toposcope.ui.controllers.capturing import CapturingController, next_name
from toposcope.ui.engine import Engine
from toposcope.ui.main_window import MainWindow
from toposcope.ui.microscope_runner import Connection
from toposcope.ui.views.capture_view import CaptureDialog, framed
from window_fakes import private_preferences, quick_estimate

SCENE = relief(height=48, width=64, low_um=4, high_um=12)
LIGHT: OrderedDict[int, Any] = OrderedDict()


def small(kind: type[SimulatedMicroscope] = SimulatedMicroscope, **changes: Any) -> SimulatedMicroscope:
    how = {"start_um": 9.0, "sleep": lambda seconds: time.sleep(0.001)} | changes
    microscope = kind(SCENE, **how)
    microscope._light = OrderedDict(LIGHT)
    return microscope


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes.os, "fsync", lambda descriptor: None)


Make = Callable[..., CapturingController]


@pytest.fixture
def make(qtbot: QtBot) -> Iterator[Make]:
    """Give a controller with its window; the microscope is ``small()`` unless told otherwise."""
    theme.apply("dark")
    made: list[CapturingController] = []

    def build(microscope: SimulatedMicroscope | Callable[[Path | None], Any] | None = None) -> CapturingController:
        dialog = CaptureDialog()
        qtbot.addWidget(dialog)
        one = small() if microscope is None else microscope
        connect = one if callable(one) else lambda configuration: one
        controller = CapturingController(dialog, connect)
        made.append(controller)
        dialog.show()
        return controller

    yield build
    for controller in made:
        controller.shutdown()


def connected(qtbot: QtBot, controller: CapturingController) -> CapturingController:
    controller.connect_microscope()
    qtbot.waitUntil(lambda: controller.state.connection is not None, timeout=20_000)
    return controller


def planned(qtbot: QtBot, controller: CapturingController, path: Path) -> CapturingController:
    connected(qtbot, controller)
    dialog = controller._dialog
    dialog._bottom.setValue(2)
    dialog._top.setValue(14)
    dialog._step.setValue(2)
    controller.choose_path(path)
    return controller


def ended(qtbot: QtBot, controller: CapturingController) -> None:
    qtbot.waitUntil(lambda: not controller.state.running, timeout=30_000)


# what follows from a state


def connection(**changes: Any) -> Connection:
    return replace(Connection("Stand", Optics(0.4, 20, 0.5, objective="20x"), (0.0, 100.0), 10.0, 9.0, 255), **changes)


def test_nothing_can_be_done_without_a_microscope() -> None:
    view = resolve_capture(CaptureState())
    assert (view.can_connect, view.can_use, view.can_start, view.can_go_on) == (True, False, False, False)
    assert view.connection == "Not connected"


def test_a_sweep_needs_a_file_and_a_plan_that_makes_sense() -> None:
    state = CaptureState(connection=connection(), bottom_um=2, top_um=14, step_um=2, na=0.4, pixel_um=0.5)
    view = resolve_capture(state)
    assert not view.can_start
    assert view.plan.startswith("7 slices, 2 µm apart, about ")
    assert view.connection == "Stand · 20x · stage 0 to 100 µm"
    assert "Depth of field 4.69 µm" in view.proposed_step
    assert resolve_capture(replace(state, path=Path("a.ome.tif"))).can_start
    wrong = resolve_capture(replace(state, path=Path("a.ome.tif"), top_um=200))
    assert not wrong.can_start
    assert wrong.plan_is_wrong
    assert wrong.plan == "The sweep from 2 to 200 µm leaves the range of the stage, 0 to 100 µm."


def test_while_it_runs_only_pause_and_abort_are_left() -> None:
    view = resolve_capture(
        CaptureState(connection=connection(), bottom_um=2, top_um=14, step_um=2, path=Path("a.tif"), running=True)
    )
    assert (view.can_connect, view.can_use, view.can_start) == (False, False, False)
    assert view.pause_label == "Pause"


def test_names_of_further_sweeps_count_up(tmp_path: Path) -> None:
    first = tmp_path / "scan.ome.tif"
    assert next_name(first).name == "scan-2.ome.tif"
    (tmp_path / "scan-2.ome.tif").touch()
    (tmp_path / "scan-3.slices").mkdir()
    assert next_name(first).name == "scan-4.ome.tif"
    assert next_name(tmp_path / "scan-2.ome.tif").name == "scan-4.ome.tif"


# the window


def test_connecting_shows_what_the_camera_sees(qtbot: QtBot, make: Make) -> None:
    controller = connected(qtbot, make())
    dialog = controller._dialog
    qtbot.waitUntil(lambda: dialog.live.picture() is not None, timeout=20_000)
    assert dialog._live_box.isChecked()
    assert dialog._z.value() == 9.0
    assert dialog._na.value() == 0.4
    assert dialog._step.value() == 2.3
    assert dialog._bottom.value() < 9 < dialog._top.value()
    dialog._live_box.setChecked(False)
    qtbot.waitUntil(lambda: not controller.state.live)
    LIGHT.update(controller.runner._microscope._light)  # type: ignore[union-attr]


def test_the_stage_goes_where_it_is_sent_and_ends_are_taken_from_it(qtbot: QtBot, make: Make) -> None:
    controller = connected(qtbot, make())
    dialog = controller._dialog
    dialog._z.setValue(13.5)
    dialog._z.editingFinished.emit()
    qtbot.waitUntil(lambda: controller.state.z_um == 13.5, timeout=20_000)
    dialog._set_top.click()
    dialog._jump.setValue(4)
    dialog._down.click()
    qtbot.waitUntil(lambda: controller.state.z_um == 9.5, timeout=20_000)
    dialog._down.click()
    qtbot.waitUntil(lambda: controller.state.z_um == 5.5, timeout=20_000)
    dialog._set_bottom.click()
    assert (controller.state.bottom_um, controller.state.top_um) == (5.5, 13.5)
    controller.move_to(1e6)
    qtbot.waitUntil(lambda: controller.state.z_um == 200.0, timeout=20_000)  # its limit


def test_the_step_is_proposed_from_what_is_typed(qtbot: QtBot, make: Make) -> None:
    controller = connected(qtbot, make())
    dialog = controller._dialog
    dialog._na.setValue(0.25)
    dialog._propose.click()
    assert controller.state.step_um == 5.4  # (0.55 / 0.25² + 0.5 / 0.25) / 2
    dialog._na.setValue(0)
    dialog._propose.click()
    assert controller.state.message is not None
    assert "numerical aperture" in controller.state.message.text


def test_the_curve_follows_the_stage_and_leads_to_the_sharpest_place(qtbot: QtBot, make: Make) -> None:
    controller = connected(qtbot, make())
    for z_um in (14.0, 12.0, 10.0, 8.0, 6.0, 4.0):
        controller.move_to(z_um)
        qtbot.waitUntil(
            lambda z=z_um: controller.state.curve is not None and z in controller.state.curve.z, timeout=20_000
        )
    dialog = controller._dialog
    dialog.live.pinRequested.emit(12, 56)  # the raised square, at 9.76 um
    assert controller.state.region == (1, 4)
    assert len(dialog._part.getData()[0]) >= 6
    dialog._sharpest.click()
    qtbot.waitUntil(lambda: abs(controller.state.z_um - 9.76) < 1.0, timeout=20_000)
    dialog.live.pinRequested.emit(12, 56)
    assert controller.state.region is None
    dialog._forget.click()
    assert controller.state.curve is None or len(controller.state.curve.z) <= 1


def test_a_sweep_from_the_first_click_to_the_stack_in_the_window(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theme.apply("dark")
    microscope = small()
    engine = replace(Engine(), connect_microscope=lambda configuration: microscope, estimate=quick_estimate)
    window = MainWindow(engine, private_preferences(tmp_path))
    qtbot.addWidget(window)
    window.show()
    try:
        window.actions_by_name["capture"].trigger()
        controller, dialog = window.capturing, window.capture_dialog
        assert controller is not None
        dialog._connect.click()
        qtbot.waitUntil(lambda: controller.state.connection is not None, timeout=20_000)
        dialog._bottom.setValue(2)
        dialog._top.setValue(14)
        dialog._step.setValue(2)
        assert not dialog._start.isEnabled()
        chosen = str(tmp_path / "scan")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments, **options: (chosen, ""))
        dialog._browse.click()
        assert dialog._path.text() == "scan.ome.tif"
        dialog._start.click()
        assert controller.state.running
        ended(qtbot, controller)
        assert dialog.film.count() == 7
        assert dialog.film.item(0).text() == "2 µm"
        assert dialog.depth_map.picture() is not None
        assert "% known" in dialog._depth.title.text()
        assert controller.state.message is not None
        assert controller.state.message.text.startswith("7 slices from 2 to 14 µm are in scan.ome.tif.")
        assert microscope.z_um() == 9.0
        assert dialog._path.text() == "scan-2.ome.tif"
        dialog._open.click()
        qtbot.waitUntil(lambda: window.session.state.stack is not None, timeout=20_000)
        stack = window.session.state.stack
        assert stack is not None
        assert stack.positions.value.tolist() == [2, 4, 6, 8, 10, 12, 14]
        assert stack.positions.origin == "OME PositionZ"
    finally:
        window.shutdown()
    assert microscope._closed


def test_the_proposal_fills_in_a_better_sweep(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    controller = planned(qtbot, make(), tmp_path / "a.ome.tif")
    dialog = controller._dialog
    dialog._bottom.setValue(8)
    dialog._top.setValue(20)
    dialog._step.setValue(1.5)
    controller.start()
    ended(qtbot, controller)
    assert "the surface goes on below it" in dialog._advice.text()
    assert dialog._apply.isVisibleTo(dialog)
    dialog._apply.click()
    assert controller.state.bottom_um < 4
    assert dialog._bottom.value() == controller.state.bottom_um
    dialog._start.click()
    ended(qtbot, controller)
    assert (tmp_path / "a-2.ome.tif").is_file()


def test_a_sweep_begun_at_once_is_exposed_as_was_typed(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    """The click on Start takes the focus from the exposure, and comes before the camera has answered."""

    class Slow(SimulatedMicroscope):
        def set_exposure(self, exposure_ms: float) -> None:
            time.sleep(0.15)
            super().set_exposure(exposure_ms)

    controller = planned(qtbot, make(small(Slow)), tmp_path / "a.ome.tif")
    dialog = controller._dialog
    for exposure_ms in (21.0, 22.0, 23.0):  # answers that come late undo nothing
        dialog._exposure.setValue(exposure_ms)
    qtbot.waitUntil(lambda: controller._exposures_asked == 1, timeout=20_000)
    assert dialog._exposure.value() == 23.0
    dialog._exposure.setValue(24.0)
    dialog._start.click()
    ended(qtbot, controller)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert (tiff.ome_metadata or "").count('ExposureTime="24"') == 7
    assert controller.state.exposure_ms == 24.0


def test_an_exposure_that_the_camera_refuses_is_told_and_taken_back(qtbot: QtBot, make: Make) -> None:
    class Stubborn(SimulatedMicroscope):
        def set_exposure(self, exposure_ms: float) -> None:
            raise CaptureError("the camera exposes 10 ms only.")

    controller = connected(qtbot, make(small(Stubborn)))
    controller._dialog._exposure.setValue(50.0)
    qtbot.waitUntil(lambda: controller.state.message is not None, timeout=20_000)
    assert controller.state.message is not None
    assert controller.state.message.text == "The camera exposes 10 ms only."
    assert controller._dialog._exposure.value() == 10.0


def test_abort_keeps_the_slices_and_the_sweep_can_go_on(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    microscope = small(sleep=lambda seconds: time.sleep(0.05))
    controller = planned(qtbot, make(microscope), tmp_path / "a.ome.tif")
    dialog = controller._dialog
    dialog._start.click()
    qtbot.waitUntil(lambda: controller.state.taken >= 2, timeout=20_000)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert "Abort it first" in controller.state.message.text  # type: ignore[union-attr]
    dialog._abort.click()
    ended(qtbot, controller)
    taken = controller.state.taken
    assert controller.state.message is not None
    assert dialog.isVisible()
    assert f"{taken} of 7 slices are kept in a.slices" in controller.state.message.text
    assert controller.state.message.text.endswith("The stage is back at 9.0 µm.")
    assert not dialog._start.isEnabled()
    assert dialog._open.text() == "Open what there is"
    assert dialog._open_unfinished.isHidden()
    controller.choose_path(tmp_path / "b.ome.tif")
    assert dialog._open.text() == "Open what there is"
    controller.choose_path(tmp_path / "a.ome.tif")
    dialog._go_on.click()
    ended(qtbot, controller)
    assert controller.state.result == tmp_path / "a.ome.tif"
    assert dialog.film.count() == 7


def test_the_sweep_taken_last_stays_to_be_opened_whatever_is_chosen_for_the_next(
    qtbot: QtBot, make: Make, tmp_path: Path
) -> None:
    controller = planned(qtbot, make(), tmp_path / "a.ome.tif")
    dialog, opened = controller._dialog, list[Path]()
    controller.openRequested.connect(opened.append)
    dialog._start.click()
    ended(qtbot, controller)
    controller.choose_path(tmp_path / "b.ome.tif")
    assert dialog._open.isVisible()
    (tmp_path / "c.slices").mkdir()
    (tmp_path / "c.slices" / "slice_0000.tif").write_bytes(b"")
    controller.choose_path(tmp_path / "c.ome.tif")
    dialog._open.click()
    dialog._open_unfinished.click()
    assert opened == [tmp_path / "a.ome.tif", tmp_path / "c.slices"]
    dialog._go_on.click()  # c cannot: its folder tells no plan
    ended(qtbot, controller)
    assert controller.state.message is not None
    assert dialog._open.isVisible()
    assert dialog._open.text() == "Open the stack"
    assert controller.state.result == tmp_path / "a.ome.tif"


def test_a_pause_holds_the_sweep(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    microscope = small(sleep=lambda seconds: time.sleep(0.02))
    controller = planned(qtbot, make(microscope), tmp_path / "a.ome.tif")
    dialog = controller._dialog
    dialog._start.click()
    qtbot.waitUntil(lambda: controller.state.taken >= 1, timeout=20_000)
    dialog._pause.click()
    assert dialog._pause.text() == "Go on"
    qtbot.waitUntil(lambda: dialog._status.text() == "Paused", timeout=20_000)
    taken = controller.state.taken
    qtbot.wait(200)
    assert controller.state.taken == taken
    dialog._pause.click()
    ended(qtbot, controller)
    assert controller.state.taken == 7


def test_an_unplugged_camera_is_told_once_and_can_come_back(qtbot: QtBot, make: Make) -> None:
    microscope = small()
    controller = connected(qtbot, make(microscope))
    qtbot.waitUntil(lambda: controller.state.curve is not None, timeout=20_000)
    microscope.faults.append(Fault("unplugged", 0))
    qtbot.waitUntil(lambda: not controller.state.live, timeout=20_000)
    assert controller.state.message is not None
    assert controller.state.message.text == ("The camera does not answer: it may be unplugged. Look at its cable.")
    microscope.faults.clear()
    frames = microscope.frames
    controller._dialog._live_box.setChecked(True)
    qtbot.waitUntil(lambda: microscope.frames > frames, timeout=20_000)


def test_a_fault_in_the_sweep_is_one_message_and_the_sweep_goes_on(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    microscope = small()
    controller = planned(qtbot, make(microscope), tmp_path / "a.ome.tif")
    controller.set_live(False)
    qtbot.wait(50)
    microscope.faults.append(Fault("unplugged", microscope.frames + 3))
    controller.start()
    ended(qtbot, controller)
    message = controller.state.message
    assert message is not None
    assert message.level == "error"
    assert message.text.startswith("The camera does not answer")
    assert "3 of 7 slices are kept in a.slices" in message.text
    microscope.faults.clear()
    controller.resume()
    ended(qtbot, controller)
    assert (tmp_path / "a.ome.tif").is_file()


@pytest.mark.parametrize("way", ["close", "reject"])
def test_the_window_closes_by_its_cross_and_by_escape(make: Make, way: str) -> None:
    dialog = make()._dialog
    getattr(dialog, way)()
    assert not dialog.isVisible()


def test_a_microscope_that_cannot_be_connected_is_told_of(qtbot: QtBot, make: Make) -> None:
    def connect(configuration: Path | None) -> SimulatedMicroscope:
        broken = small()
        broken.close()
        return broken

    controller = make(connect)
    controller.connect_microscope()
    qtbot.waitUntil(lambda: controller.state.message is not None, timeout=20_000)
    assert controller.state.message is not None
    assert controller.state.message.text == "The stage is not connected. Connect the microscope first."
    assert controller.state.connection is None
    assert controller._dialog._connect.isEnabled()


def test_a_configuration_must_be_chosen(make: Make) -> None:
    controller = make()
    controller.choose("configuration")
    controller.connect_microscope()
    assert controller.state.message is not None
    assert "configuration file" in controller.state.message.text


def test_a_configuration_is_loaded_or_its_extra_named(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "stand.cfg"
    configuration.write_text("# empty")
    monkeypatch.setitem(sys.modules, "pymmcore_plus.experimental.unicore", None)
    controller = make(Engine().connect_microscope)
    dialog = controller._dialog
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: (str(configuration), ""))
    dialog._source.setCurrentIndex(1)
    dialog._source.activated.emit(1)
    assert controller.state.configuration == configuration
    assert dialog._source.currentText() == "Micro-Manager: stand.cfg"
    dialog._connect.click()
    qtbot.waitUntil(lambda: controller.state.message is not None, timeout=20_000)
    assert controller.state.message is not None
    assert controller.state.message.text.endswith(f"Type: {install_line('capture')}")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: ("", ""))
    dialog._source.activated.emit(1)
    assert controller.state.source == "configuration"  # as it was


def test_the_microscope_is_remembered(qtbot: QtBot, tmp_path: Path) -> None:
    theme.apply("dark")
    for expected in (None, tmp_path / "stand.cfg"):
        window = MainWindow(preferences=private_preferences(tmp_path))
        qtbot.addWidget(window)
        try:
            controller = window.show_capture()
            assert controller.state.configuration == expected
            assert controller.state.source == ("simulated" if expected is None else "configuration")
            window.capture_dialog.sourceChosen.emit("configuration", tmp_path / "stand.cfg")
            window.capture_dialog.pathChosen.emit(tmp_path / "there" / "scan.ome.tif")
            assert window.preferences.folder == str(tmp_path / "there")
            window.preferences.save()
        finally:
            window.close()


def test_a_failure_that_nobody_foresaw_leaves_the_slices_to_go_on_with(
    qtbot: QtBot, make: Make, tmp_path: Path
) -> None:
    class Odd(SimulatedMicroscope):
        def move_to(self, z_um: float, timeout_s: float = 10.0) -> None:
            if z_um == 8.0 and self.moves < 10:
                raise ZeroDivisionError("a fault of ours")
            super().move_to(z_um, timeout_s)

    microscope = small(Odd)
    controller = planned(qtbot, make(microscope), tmp_path / "a.ome.tif")
    controller.start()
    ended(qtbot, controller)
    message = controller.state.message
    assert message is not None
    assert "should not (ZeroDivisionError: a fault of ours)" in message.text
    assert controller.state.unfinished is not None
    assert microscope.z_um() == 9.0
    microscope.moves = 10
    controller.resume()
    ended(qtbot, controller)
    assert (tmp_path / "a.ome.tif").is_file()


def test_settling_is_waited_for(qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = planned(qtbot, make(), tmp_path / "a.ome.tif")
    controller._dialog._settle.setValue(0.05)
    waited: list[float] = []
    monkeypatch.setattr(sweeping.time, "sleep", waited.append)
    controller.start()
    ended(qtbot, controller)
    assert waited.count(0.05) >= 7  # after the move to each slice


def test_a_name_that_is_taken_is_left_alone(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.ome.tif").write_bytes(b"mine")
    controller = planned(qtbot, make(), tmp_path / "a.ome.tif")
    assert controller.state.path == tmp_path / "a-2.ome.tif"
    assert controller.state.message is not None
    assert controller.state.message.text == "a.ome.tif is there already; the sweep will be called a-2.ome.tif."
    controller.choose_path(tmp_path / "a.png")
    assert "names no TIFF" in controller.state.message.text


def test_a_slow_camera_does_not_hold_up_the_window(qtbot: QtBot, make: Make) -> None:
    class Slow(SimulatedMicroscope):
        def snap(self) -> Plane:
            time.sleep(1.0)
            return super().snap()

    controller = connected(qtbot, make(small(Slow)))
    gaps, last = [], [time.monotonic()]

    def tick() -> None:
        now = time.monotonic()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer(interval=10)
    timer.timeout.connect(tick)
    timer.start()
    qtbot.waitUntil(lambda: controller.state.curve is not None, timeout=20_000)
    timer.stop()
    assert len(gaps) > 20
    assert np.median(gaps) < 0.1
    assert max(gaps) < 0.9


def test_white_pixels_are_told_of(qtbot: QtBot, make: Make) -> None:
    controller = connected(qtbot, make())
    controller._dialog._exposure.setValue(200)
    qtbot.waitUntil(lambda: "white: expose less" in controller._dialog._camera.title.text(), timeout=20_000)


def test_the_themes_dress_the_window(make: Make) -> None:
    dialog = make()._dialog
    for name in ("light", "dark"):
        theme.apply(name)  # type: ignore[arg-type]
        dialog.apply_theme()
    assert dialog.grab().width() > 0


def test_framing_leaves_the_picture_alone() -> None:
    picture = np.zeros((50, 50), np.uint8)
    assert framed(picture, None) is picture
    shown = framed(picture, (1, 4))
    assert shown.shape == (50, 50, 3)
    assert not picture.any()
    rows, columns = np.nonzero(shown.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, 40, 49)


def test_an_empty_state_has_no_place() -> None:
    assert math.isnan(CaptureState().z_um)
