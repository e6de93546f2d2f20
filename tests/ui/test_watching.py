"""The watch window, on a folder that fills while it is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

import scenes
from toposcope.core import watching as core_watching
from toposcope.core.jobs import Cancelled, CancelToken, Progress, silent
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.watching import FolderWatch
from toposcope.ui.controllers import watching
from toposcope.ui.controllers.watching import WatchingController
from toposcope.ui.engine import Engine
from toposcope.ui.main_window import MainWindow
from toposcope.ui.views.watch_view import WatchDialog, WatchRow
from window_fakes import private_preferences, quick_estimate


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_MS", 20)
    monkeypatch.setattr(core_watching, "QUIET_S", 0.4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    path.mkdir()
    return path


def quick_watch(folder: Path, taken: Callable[..., object]) -> FolderWatch:
    return FolderWatch(folder, taken=taken, settle_s=0.05)


def put(folder: Path, i: int, n: int = 15, prefix: str = "a") -> None:
    frame = scenes.tilted_plane(n=n, noise=0.004).stack.read(i)
    (folder / f"{prefix}_z{2 * i}um.png").write_bytes(cv2.imencode(".png", frame)[1].tobytes())


@pytest.fixture
def controller(qtbot: QtBot) -> Iterator[WatchingController]:
    dialog = WatchDialog()
    qtbot.addWidget(dialog)
    made = WatchingController(dialog, quick_watch)
    dialog.show()
    yield made
    made.shutdown()


def test_strip_picture_depth_and_curve_grow_with_each_slice(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    dialog = controller._dialog
    controller.start(folder)
    qtbot.waitUntil(lambda: "aiting for the first slice" in controller.state.status, timeout=10_000)
    assert not dialog._use.isEnabled()
    for i in range(5):
        put(folder, i)
        qtbot.waitUntil(lambda n=i + 1: controller.state.n == n, timeout=10_000)
        assert dialog.film.count() == i + 1
        assert not dialog.film.item(i).icon().isNull()
    assert dialog.film.item(2).text() == "4 µm"
    assert "5 slices, newest 0 s ago; sharpness still rises" in controller.state.status
    assert dialog._status.toolTip() == controller.state.status
    assert "% known, not aligned" in dialog.depth_map.title.text()
    x, y = dialog._whole.getData()
    np.testing.assert_array_equal(x, [0, 2, 4, 6, 8])
    assert y.max() == 1
    assert dialog._use.isEnabled()


def test_newest_slice_is_in_view_though_it_is_the_lowest_and_stays_so_when_slices_only_move(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    dialog = controller._dialog
    dialog.resize(dialog.minimumSize())
    film, bar = dialog.film, dialog.film.horizontalScrollBar()

    def is_in_view(k: int) -> bool:
        return film.viewport().rect().contains(film.visualItemRect(film.item(k)).center())

    for i in range(2, 15):
        put(folder, i)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.n == 13, timeout=10_000)
    assert is_in_view(12)
    assert not is_in_view(0)
    put(folder, 1)  # downwards
    qtbot.waitUntil(lambda: controller.state.n == 14, timeout=10_000)
    assert is_in_view(0)
    bar.setValue(bar.maximum() // 2)
    before = bar.value()
    dialog.set_state(replace(controller.state, rows=tuple(WatchRow(r.name, "?") for r in controller.state.rows)))
    assert film.item(0).text() == "?"
    assert bar.value() == before > 0


def test_complete_sweep_offers_its_depth_and_opens_as_a_stack(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    opened: list[tuple[Path, OpenOptions]] = []
    controller.openRequested.connect(lambda path, options: opened.append((path, options)))
    for i in range(15):
        put(folder, i)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.message is not None, timeout=20_000)
    message = controller.state.message
    assert message is not None
    assert message.text.startswith("The sweep looks complete: ")
    controller._dialog.message_bar.offerChosen.emit(message.offers[0])
    ((path, options),) = opened
    stack = open_stack(path, options)
    assert stack.n == 15
    np.testing.assert_array_equal(stack.positions.value, 2.0 * np.arange(15))
    assert not controller.state.watching


def test_files_that_cannot_be_read_are_named(qtbot: QtBot, controller: WatchingController, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.message is not None, timeout=10_000)
    assert told(controller).startswith("broken.png ")
    assert told(controller).endswith(". It is tried again.")
    controller._dialog._stop.click()
    assert told(controller).endswith(". It is left out.")
    assert controller.state.status == "Stopped. No slice has come."
    controller.start(folder)
    qtbot.waitUntil(lambda: told(controller).endswith(". It is tried again."), timeout=10_000)
    (folder / "broken.png").unlink()
    put(folder, 0)
    qtbot.waitUntil(lambda: controller.state.message is None, timeout=10_000)


def test_closed_message_about_a_file_comes_back_for_another_file_only(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    (folder / "one.png").write_bytes(b"no image")
    controller.start(folder)
    qtbot.waitUntil(lambda: "one.png" in told(controller), timeout=10_000)
    controller._dialog.message_bar.closeRequested.emit()
    (folder / "two.png").write_bytes(b"no image, too")
    qtbot.waitUntil(lambda: "two.png" in told(controller), timeout=10_000)
    assert "one.png" not in told(controller)
    controller._dialog.message_bar.closeRequested.emit()
    controller._dialog._stop.click()
    assert controller.state.message is None


def told(controller: WatchingController) -> str:
    return "" if controller.state.message is None else controller.state.message.text


def unplug(qtbot: QtBot, controller: WatchingController, folder: Path) -> Path:
    """Watch a folder with one slice until it goes, and return where it went."""
    put(folder, 0)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.n == 1, timeout=10_000)
    away = folder.rename(folder.with_name("away"))
    qtbot.waitUntil(lambda: controller.state.problem is not None, timeout=10_000)
    return away


def test_folder_that_goes_is_told_and_forgotten_when_it_is_back(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    away = unplug(qtbot, controller, folder)
    assert told(controller).endswith("Waiting for it to come back.")
    assert controller.state.n == 1
    away.rename(folder)
    qtbot.waitUntil(lambda: controller.state.problem is None, timeout=10_000)
    assert controller.state.message is None


def test_folder_that_goes_is_not_waited_for_after_stop(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    unplug(qtbot, controller, folder)
    controller._dialog._stop.click()
    assert told(controller).endswith("is gone: it was moved, renamed or deleted.")


def test_folder_that_is_not_there_is_one_sentence(qtbot: QtBot, controller: WatchingController, tmp_path: Path) -> None:
    controller.start(tmp_path / "nowhere")
    qtbot.waitUntil(lambda: not controller.state.watching, timeout=10_000)
    assert "is no folder" in str(controller.state.message)


def test_second_sweep_is_told_and_watched_after_the_first_is_used(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    opened: list[Any] = []
    controller.openRequested.connect(lambda path, options: opened.append(options))
    for prefix in ("1", "2"):
        for i in range(4):
            put(folder, i, prefix=prefix)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.following, timeout=10_000)
    assert "begins another sweep" in str(controller.state.message)
    controller.use()
    assert len(opened[0].only) == 4
    qtbot.waitUntil(lambda: controller.state.n == 4, timeout=10_000)
    assert [row.name[0] for row in controller.state.rows] == ["2"] * 4


def test_stop_and_closing_end_the_watch(qtbot: QtBot, controller: WatchingController, folder: Path) -> None:
    controller.start(folder)
    controller._dialog._stop.click()
    assert not controller.state.watching
    put(folder, 0)
    qtbot.wait(150)
    assert controller.state.n == 0
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.n == 1, timeout=10_000)
    controller._dialog.close()
    assert not controller.state.watching
    assert not controller._dialog.isVisible()
    controller._dialog.show()
    controller._dialog.reject()
    assert not controller._dialog.isVisible()


def put_plain(folder: Path, i: int, n: int = 15) -> None:
    frame = scenes.tilted_plane(n=n, noise=0.004).stack.read(i)
    (folder / f"a_{i:02d}.png").write_bytes(cv2.imencode(".png", frame)[1].tobytes())


def test_step_places_slices_that_were_only_counted(qtbot: QtBot, controller: WatchingController, folder: Path) -> None:
    opened: list[OpenOptions] = []
    controller.openRequested.connect(lambda path, options: opened.append(options))
    dialog = controller._dialog
    for i in range(4):
        put_plain(folder, i)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.n == 4, timeout=10_000)
    assert dialog._step.isEnabled()
    assert dialog._step.text() == "unknown"
    assert dialog.film.item(3).text() == "slice 3"
    dialog._step.setValue(2.5)
    qtbot.waitUntil(lambda: dialog.film.item(3).text() == "7.5 µm", timeout=10_000)
    np.testing.assert_array_equal(dialog._whole.getData()[0], [0, 2.5, 5, 7.5])
    assert not dialog.film.item(3).icon().isNull()
    put_plain(folder, 4)
    qtbot.waitUntil(lambda: controller.state.n == 5, timeout=10_000)
    assert dialog.film.item(4).text() == "10 µm"
    dialog._step.setValue(0.5)
    controller.use()  # at once: what is opened must know the new step
    qtbot.waitUntil(lambda: bool(opened), timeout=10_000)
    np.testing.assert_array_equal(open_stack(folder, opened[0]).positions.value, [0, 0.5, 1, 1.5, 2])
    assert not controller.state.watching
    dialog._step.setValue(4)  # after the end, too
    qtbot.waitUntil(lambda: dialog.film.item(4).text() == "16 µm", timeout=10_000)
    put_plain(folder, 5)
    dialog._step.setValue(3)
    qtbot.waitUntil(lambda: dialog.film.item(4).text() == "12 µm", timeout=10_000)
    assert controller.state.n == 5  # nothing is looked for any more
    dialog._step.setValue(0)
    qtbot.waitUntil(lambda: dialog.film.item(4).text() == "slice 4", timeout=10_000)


def test_step_is_not_asked_for_where_files_tell_positions(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    dialog = controller._dialog
    controller.set_step(7.0)
    for i in range(3):
        put(folder, i)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.n == 3, timeout=10_000)
    assert not dialog._step.isEnabled()
    assert dialog._step.text() == "from the files"
    assert dialog.film.item(1).text() == "2 µm"
    assert controller.state.step_um == 7.0  # for a folder that needs it


def test_advice_comes_when_slices_end_and_goes_when_more_come(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    dialog = controller._dialog
    for i in range(5, 14):
        put(folder, i)
    controller.start(folder)
    qtbot.waitUntil(lambda: controller.state.n == 9, timeout=10_000)
    assert not dialog._panel.isVisible()
    qtbot.waitUntil(dialog._panel.isVisible, timeout=10_000)
    text = dialog._advice.text()
    assert "of the texture is sharpest in the bottom slice: the surface goes on below it. Put the bottom at" in text
    assert "Proposed: " in text
    assert controller.state.watching
    put(folder, 4)
    qtbot.waitUntil(lambda: controller.state.n == 10, timeout=10_000)
    assert not dialog._panel.isVisible()
    dialog._stop.click()
    qtbot.waitUntil(dialog._panel.isVisible, timeout=10_000)
    assert dialog._advice.text() != text
    assert controller.state.status.startswith("Stopped. 10 slices")


def test_message_of_the_end_stays_beside_notes_and_goes_when_the_sweep_goes_on(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    for i in range(14):
        put(folder, i)
    controller.start(folder)
    qtbot.waitUntil(lambda: told(controller).startswith("The sweep looks complete: "), timeout=20_000)
    (folder / "broken.png").write_bytes(b"no image")
    qtbot.waitUntil(lambda: told(controller).startswith("broken.png is text"), timeout=10_000)  # a sign of life
    qtbot.waitUntil(lambda: told(controller).startswith("The sweep looks complete: "), timeout=10_000)
    assert "\nbroken.png is text" in told(controller)
    assert controller.state.message is not None
    assert controller.state.message.offers
    controller._dialog.message_bar.closeRequested.emit()
    assert controller.state.message is None
    put(folder, 14)
    qtbot.waitUntil(lambda: controller.state.n == 15, timeout=10_000)
    qtbot.waitUntil(lambda: told(controller).startswith("The sweep looks complete: "), timeout=20_000)
    assert "broken" not in told(controller)
    (folder / "broken.png").unlink()
    (folder / "a_z28um.png").write_bytes(b"")  # as if the last slice were written anew: the sweep goes on
    qtbot.waitUntil(lambda: told(controller) == "" or "written anew" in told(controller), timeout=10_000)
    assert "complete" not in told(controller)


def test_closed_problem_does_not_come_back_until_it_is_another(
    qtbot: QtBot, controller: WatchingController, folder: Path
) -> None:
    unplug(qtbot, controller, folder)
    controller._dialog.message_bar.closeRequested.emit()
    looks: list[object] = []
    controller.runner.returned.connect(looks.append)
    qtbot.waitUntil(lambda: len(looks) > 2, timeout=10_000)
    assert controller.state.message is None


def test_what_a_look_took_in_before_it_was_broken_off_is_shown(folder: Path) -> None:
    for i in range(5):
        put(folder, i)
    task = watching._Task(folder, 0.0)
    watching.look(task, quick_watch, silent)
    time.sleep(0.1)
    token = CancelToken()

    def stop_at_the_fourth(progress: Progress) -> None:
        if progress.text == "reading a_z6um.png":
            token.cancel()

    with pytest.raises(Cancelled):
        watching.look(task, quick_watch, lambda progress: (stop_at_the_fourth(progress), token.guard()(progress))[0])
    seen = watching.look(task, quick_watch, silent, placed=True)
    assert [row.name for row in seen.rows] == ["a_z0um.png", "a_z2um.png", "a_z4um.png"]
    assert set(seen.thumbnails) == {row.name for row in seen.rows}
    assert seen.curve is not None
    assert len(seen.curve.z) == 3
    assert seen.depth is not None


def test_window_stays_quick_while_slices_are_read(
    qtbot: QtBot, controller: WatchingController, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop turns while a look takes long, because it runs in a thread."""
    before = FolderWatch.look

    def slow(self: FolderWatch, *arguments: Any) -> Any:
        time.sleep(0.5)
        return before(self, *arguments)

    monkeypatch.setattr(FolderWatch, "look", slow)
    turns: list[float] = []
    timer = QTimer(interval=10)
    timer.timeout.connect(lambda: turns.append(time.monotonic()))
    controller.start(folder)
    timer.start()
    qtbot.waitUntil(lambda: "first slice" in controller.state.status, timeout=10_000)
    timer.stop()
    assert len(turns) > 10


def test_main_window_opens_what_was_watched(qtbot: QtBot, folder: Path, tmp_path: Path) -> None:
    window = MainWindow(Engine(estimate=quick_estimate, watch_folder=quick_watch), private_preferences(tmp_path))
    qtbot.addWidget(window)
    for i in range(5):
        put(folder, i)
    controller = window.watch(folder)
    qtbot.waitUntil(lambda: controller.state.n == 5, timeout=10_000)
    controller.use()
    qtbot.waitUntil(lambda: window.session.state.stack is not None, timeout=20_000)
    stack = window.session.state.stack
    assert stack is not None
    assert stack.n == 5
    qtbot.waitUntil(lambda: bool(window.session.state.full_runs), timeout=20_000)
    window.close()
    window.shutdown()
