"""Time points in the window: the slider, and all of them as a batch."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QPushButton, QSlider
from pytestqt.qtbot import QtBot

from toposcope.core.estimate import METHODS, EstimateSettings
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.marks import Pin
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError
from toposcope.ui.controllers.estimating import EstimatingController
from toposcope.ui.controllers.opening import OpeningController
from toposcope.ui.controllers.times import TimesController
from toposcope.ui.resolve import TimeState, resolve
from toposcope.ui.session import Session
from toposcope.ui.views.picture_view import PictureView
from window_fakes import make_result, private_preferences


class Setup:
    """The controllers on a file with four time points of 5 frames, and an estimation that fails where it is told to."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.session, undo = Session(), QUndoStack()
        self.fails: set[int] = set()
        self.stop_at: int | None = None
        self.estimated: list[int] = []
        self.folder: Path | None = folder / "out"
        self.proposed: list[Path] = []
        self.opening = OpeningController(self.session, undo, private_preferences(folder), open_stack, lambda *_: None)
        self.estimating = EstimatingController(self.session, undo, self.estimate, METHODS)
        self.times = TimesController(self.session, self.opening, self.estimating, self.estimate, self._ask)
        self.opening.open(file, OpenOptions(time=1))

    def estimate(self, stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        time = stack.part("time")
        assert time is not None
        if not settings.keep_volume:
            self.estimated.append(time.chosen)
            if time.chosen == self.stop_at:
                self.times.cancel()
            report(Progress(0.5, "measuring"))
            if time.chosen in self.fails:
                raise FrameError("slice 2 is damaged.", 1, "slice 2")
        return make_result(stack, settings)

    def _ask(self, proposed: Path) -> Path | None:
        self.proposed.append(proposed)
        return self.folder

    @property
    def time(self) -> int:
        stack = self.session.state.opened
        part = stack.part("time") if stack is not None else None
        return -1 if part is None else part.chosen


@pytest.fixture
def setup(qtbot: QtBot, tmp_path: Path) -> Iterator[Setup]:
    file = tmp_path / "four.ome.tif"
    frames = np.random.default_rng(0).integers(0, 255, (4, 5, 48, 64), np.uint8)
    tifffile.imwrite(file, frames, ome=True, photometric="minisblack", metadata={"axes": "TZYX", "PhysicalSizeZ": 2.0})
    made = Setup(tmp_path, file)
    qtbot.waitUntil(lambda: made.session.state.run is not None and not made.session.state.jobs)
    yield made
    for runner in (
        made.opening.runner,
        made.opening.looking,
        made.estimating.runner,
        made.times.runner,
        made.times.batch,
    ):
        runner.shutdown()


def settled(setup: Setup, time: int) -> bool:
    return setup.time == time and setup.session.state.run is not None and not setup.session.state.jobs


def test_another_time_keeps_what_belongs_to_all(qtbot: QtBot, setup: Setup) -> None:
    pin = Pin(1, 5, 6, 0)
    setup.session.set(
        mode="confidence", pins=(pin,), ranges={"depth": (1.0, 2.0)}, skipped=frozenset({2}), slice_index=3
    )
    setup.times.show(3)
    qtbot.waitUntil(lambda: settled(setup, 3))
    state = setup.session.state
    assert (state.mode, state.pins, state.skipped, state.slice_index) == ("confidence", (pin,), frozenset({2}), 3)
    assert resolve(state).times == TimeState(4, 3, "time point 4", 0, False)
    setup.times.step(1)  # beyond the end is the end
    assert settled(setup, 3)
    setup.times.step(-2)
    qtbot.waitUntil(lambda: settled(setup, 1))
    setup.opening.retry()  # reads the time that is looked at again
    qtbot.waitUntil(lambda: settled(setup, 1))


def test_all_times_are_stored_and_the_slider_shows_them(qtbot: QtBot, setup: Setup, tmp_path: Path) -> None:
    setup.fails = {2}
    setup.times.run()
    assert "times" in setup.session.state.jobs
    qtbot.waitUntil(lambda: "times" not in setup.session.state.jobs)
    assert setup.proposed == [tmp_path / "four-times"]
    assert sorted(setup.estimated) == [0, 1, 2, 3]
    assert setup.session.state.times_done == {0, 1, 3}
    message = setup.session.state.message
    assert message is not None
    assert message.level == "warning"
    assert "3 of 4 time points are done" in message.text
    assert "time point 3: slice 2 is damaged." in message.text
    assert (tmp_path / "out" / "times.csv").is_file()
    setup.times.show(3)
    qtbot.waitUntil(lambda: settled(setup, 3))
    run = setup.session.state.run
    assert run is not None
    assert run.result.volume is None  # it was read, not computed
    assert run.inputs == setup.session.state.inputs
    shutil.rmtree(tmp_path / "out" / "time_001")
    setup.times.show(0)
    qtbot.waitUntil(lambda: settled(setup, 0))
    assert setup.session.state.run is not None
    assert setup.session.state.run.result.volume is not None  # it was gone, so it was computed
    # what failed is all that is left to do
    setup.fails, setup.estimated = set(), []
    setup.times.run()
    qtbot.waitUntil(lambda: "times" not in setup.session.state.jobs)
    assert sorted(setup.estimated) == [0, 2]
    assert setup.session.state.message is not None
    assert "All 4 time points are done" in setup.session.state.message.text


def test_a_batch_that_is_stopped_keeps_what_is_done(qtbot: QtBot, setup: Setup) -> None:
    setup.stop_at = 2
    setup.times.run()
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    assert setup.session.state.times_done == {0, 1}
    assert setup.session.state.message is not None
    assert "Stopped; 2 time points are done" in setup.session.state.message.text
    assert not setup.session.state.jobs


def test_no_folder_no_batch_and_another_file_forgets(qtbot: QtBot, setup: Setup, tmp_path: Path) -> None:
    setup.folder = None
    setup.times.run()
    assert not setup.session.state.jobs
    setup.folder = tmp_path / "out"
    setup.times.run()
    qtbot.waitUntil(lambda: len(setup.session.state.times_done) == 4)
    other = tmp_path / "plain.tif"
    tifffile.imwrite(other, np.zeros((4, 48, 64), np.uint8), photometric="minisblack")
    setup.opening.close()
    assert setup.session.state.times_done == frozenset()
    assert resolve(setup.session.state).times is None
    setup.times.show(2)
    setup.times.step(1)
    setup.times.run()
    assert setup.session.state.opened is None


def test_a_folder_that_cannot_be_written_is_told(qtbot: QtBot, setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    setup.times.run()
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    assert setup.session.state.message is not None
    assert "a file stands in its place" in setup.session.state.message.text


def test_a_time_that_cannot_be_opened_is_told(qtbot: QtBot, setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "four.ome.tif").unlink()
    setup.times.show(2)
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    assert setup.session.state.message is not None
    assert "does not exist" in setup.session.state.message.text
    assert setup.time == 1


def test_row_of_times_shows_and_asks(qtbot: QtBot) -> None:
    view = PictureView()
    qtbot.addWidget(view)
    view.set_times(None)
    slider = next(slider for slider in view.findChildren(QSlider) if slider.accessibleName() == "Time point")
    assert not slider.isVisibleTo(view)
    view.set_times(TimeState(12, 3, "time point 4 (30 s)", 5, True))
    assert slider.isVisibleTo(view)
    assert view._time_caption.text() == "time point 4 (30 s) · 5 of 12 stored"
    with qtbot.waitSignal(view.timeRequested) as caught:
        slider.setValue(7)
    assert caught.args == [7]
    button = next(button for button in view.findChildren(QPushButton) if button.text() == "All times …")
    with qtbot.waitSignal(view.allTimesRequested):
        button.click()


def test_results_of_a_batch_before_keep_their_settings_while_another_runs(qtbot: QtBot, setup: Setup) -> None:
    setup.times.run()
    qtbot.waitUntil(lambda: "times" not in setup.session.state.jobs)
    before = setup.session.state.inputs
    setup.session.set(settings=EstimateSettings("sml"))
    assert setup.session.state.inputs != before
    waiting = threading.Event()
    estimate = setup.times._estimate

    def held(stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        waiting.wait(20)
        return estimate(stack, settings, report)

    setup.times._estimate = held
    try:
        setup.times.run()
        setup.times.show(3)
        qtbot.waitUntil(lambda: setup.time == 3 and setup.session.state.run is not None)
        run = setup.session.state.run
        assert run is not None
        assert run.inputs == before
    finally:
        waiting.set()
        qtbot.waitUntil(lambda: "times" not in setup.session.state.jobs)
