"""Depth: preview, full result, history, out of date, cancel, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtGui import QUndoStack
from pytestqt.qtbot import QtBot

from toposcope.core.editing import CalibrationEdit
from toposcope.core.estimate import METHODS, EstimateSettings
from toposcope.core.jobs import Report
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError, OutputError
from toposcope.ui.controllers.estimating import EstimatingController
from toposcope.ui.session import KEPT_RUNS, Session
from window_fakes import FakeVolume, SlowEstimate, make_result, make_stack, quick_estimate


class Setup:
    def __init__(self) -> None:
        self.session = Session()
        self.undo = QUndoStack()
        self.controllers: list[EstimatingController] = []

    def make(self, estimate: Any) -> EstimatingController:
        controller = EstimatingController(self.session, self.undo, estimate, METHODS)
        controller._calm.setInterval(5)
        self.controllers.append(controller)
        return controller

    def open(self, stack: FocalStack) -> None:
        self.session.set(opened=stack, stack=stack, runs=(), shown_run=None, mode="slice")

    @property
    def shown(self) -> int:
        run = self.session.state.run
        return run.reduction if run else 0


@pytest.fixture
def setup(qtbot: QtBot) -> Iterator[Setup]:
    made = Setup()
    yield made
    for controller in made.controllers:
        controller.runner.shutdown()


def test_small_stack_gets_its_full_result_at_once(qtbot: QtBot, setup: Setup) -> None:
    setup.make(quick_estimate)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    state = setup.session.state
    assert state.mode == "depth"
    assert state.run is not None
    assert state.run.title == "1  Default"
    assert "98 %" in state.run.facts or "97.9 %" in state.run.facts
    assert state.pair == (state.run.number, state.run.number)
    assert not state.jobs


def test_large_stack_shows_a_preview_first(qtbot: QtBot, setup: Setup) -> None:
    sizes: list[tuple[int, int]] = []

    def estimate(stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
        sizes.append(stack.shape)
        return make_result(stack, settings)

    seen: list[int] = []
    setup.session.changed.connect(lambda before, now: seen.append(now.run.reduction if now.run else 0))
    setup.make(estimate)
    setup.open(make_stack(5, (1000, 1400)))
    qtbot.waitUntil(lambda: setup.shown == 1)
    assert sizes == [(500, 700), (1000, 1400)]
    assert 2 in seen
    assert len(setup.session.state.runs) == 1  # the preview went, and gave its volume back


def test_view_stays_where_the_user_looks(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate()
    setup.make(slow)
    setup.open(make_stack())
    setup.session.set(mode="compare")
    slow.released = True
    qtbot.waitUntil(lambda: setup.shown == 1)
    assert setup.session.state.mode == "compare"


def test_change_of_inputs_computes_again_once(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate(released=True)
    setup.make(slow)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    setup.session.set(skipped=frozenset({0}))
    setup.session.set(skipped=frozenset({0, 1}))
    qtbot.waitUntil(lambda: len(setup.session.state.runs) == 2)
    assert [n for n, _ in slow.calls] == [5, 3]
    run = setup.session.state.run
    assert run is not None
    assert run.inputs == setup.session.state.inputs


def test_undone_before_it_was_computed_needs_nothing(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate(released=True)
    controller = setup.make(slow)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    controller._calm.setInterval(50)
    setup.session.set(skipped=frozenset({0}))
    setup.session.set(skipped=frozenset())
    qtbot.wait(120)
    assert len(slow.calls) == 1


def test_nothing_runs_by_itself_when_that_is_off(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate(released=True)
    controller = setup.make(slow)
    setup.session.set(automatic=False)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    stack = setup.session.state.stack
    setup.session.set(edit=CalibrationEdit(pixel_um=2.0), stack=replace(stack, name="other"))
    qtbot.wait(60)
    assert len(slow.calls) == 1
    controller.run()
    qtbot.waitUntil(lambda: len(slow.calls) == 2)


def test_newest_settings_win(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate()
    controller = setup.make(slow)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: len(slow.calls) == 1)
    setup.session.set(settings=EstimateSettings("tenengrad", keep_volume=True))
    controller.run()
    qtbot.waitUntil(lambda: len(slow.calls) == 2)
    slow.released = True
    qtbot.waitUntil(lambda: setup.shown == 1)
    qtbot.wait(30)
    assert [run.inputs.settings.method for run in setup.session.state.runs] == ["tenengrad"]


def test_cancel_leaves_what_is_shown(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate()
    controller = setup.make(slow)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: bool(slow.calls) and "depth" in setup.session.state.jobs)
    controller.cancel()
    qtbot.waitUntil(lambda: "depth" not in setup.session.state.jobs)
    assert setup.session.state.run is None
    assert setup.session.state.message is None


def test_history_is_bounded_and_gives_volumes_back(qtbot: QtBot, setup: Setup) -> None:
    controller = setup.make(quick_estimate)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    first = setup.session.state.runs[0]
    seen = {first.number: first}
    for i in range(KEPT_RUNS + 1):
        number = setup.session.state.shown_run
        setup.session.set(settings=EstimateSettings(list(METHODS)[i], keep_volume=True), automatic=False)
        controller.run()
        qtbot.waitUntil(lambda: setup.session.state.shown_run != number)  # noqa: B023
        seen |= {run.number: run for run in setup.session.state.runs}
    assert len(setup.session.state.runs) == KEPT_RUNS
    kept = {run.number for run in setup.session.state.runs}
    assert kept == {1, 4, 5, 6}  # A stays, then the oldest go
    assert setup.session.state.pair == (1, 6)
    for number, run in seen.items():
        assert isinstance(run.result.volume, FakeVolume)
        assert run.result.volume.closed == (number not in kept)
    titles = [run.title for run in setup.session.state.runs]
    assert len(set(titles)) == KEPT_RUNS


def test_a_second_method_keeps_the_first_and_going_back_computes_nothing(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate(released=True)
    controller = setup.make(slow)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    controller.run_method("light")
    assert setup.undo.undoText() == "change the method"
    qtbot.waitUntil(lambda: len(setup.session.state.runs) == 2)
    assert [run.title for run in setup.session.state.runs] == ["1  Default", "2  Light network"]
    assert setup.session.state.pair == (1, 2)
    setup.undo.undo()
    assert setup.session.state.settings.method == "default"
    assert setup.session.state.shown_run == 1
    setup.undo.redo()
    assert setup.session.state.shown_run == 2
    qtbot.wait(60)
    assert len(slow.calls) == 2


def test_a_result_in_another_unit_is_no_longer_what_new_ones_are_held_against(qtbot: QtBot, setup: Setup) -> None:
    controller = setup.make(quick_estimate)
    stack = make_stack()
    setup.open(stack)
    qtbot.waitUntil(lambda: setup.shown == 1)
    setup.session.set(stack=replace(stack, unit="mm"), edit=CalibrationEdit(unit="mm"), automatic=False)
    controller.run()
    qtbot.waitUntil(lambda: len(setup.session.state.runs) == 2)
    assert setup.session.state.pair == (1, 2)  # nothing else is there
    controller.run_method("light")
    qtbot.waitUntil(lambda: len(setup.session.state.runs) == 3)
    assert setup.session.state.pair == (2, 3)


def test_a_preview_of_the_next_stack_keeps_nothing_of_the_last(qtbot: QtBot, setup: Setup) -> None:
    setup.make(quick_estimate)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.shown == 1)
    setup.open(make_stack(5, (1000, 1400)))
    qtbot.waitUntil(lambda: setup.shown == 1)
    (run,) = setup.session.state.runs
    assert setup.session.state.pair == (run.number, run.number)


def test_a_new_stack_drops_the_work_on_the_old_one(qtbot: QtBot, setup: Setup) -> None:
    slow = SlowEstimate()
    setup.make(slow)
    setup.open(make_stack(5))
    qtbot.waitUntil(lambda: len(slow.calls) == 1)
    setup.open(make_stack(7))
    qtbot.waitUntil(lambda: len(slow.calls) == 2)
    slow.released = True
    qtbot.waitUntil(lambda: setup.shown == 1)
    run = setup.session.state.run
    assert run is not None
    assert len(run.result.positions.value) == 7


def test_broken_frame_and_full_disk_offer_ways_out(qtbot: QtBot, setup: Setup) -> None:
    errors: list[Exception] = [FrameError("img_02.png is gone", 2, "img_02.png"), OutputError("no room")]

    def estimate(stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
        if errors:
            raise errors.pop(0)
        return make_result(stack, settings)

    controller = setup.make(estimate)
    setup.open(make_stack())
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    message = setup.session.state.message
    assert message is not None
    assert [offer.action for offer in message.offers] == ["skip_frame", "run"]
    setup.session.set(message=None)
    controller.run()
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    message = setup.session.state.message
    assert message is not None
    assert [offer.action for offer in message.offers] == ["run", "without_volume"]
    controller.run_without_volume()
    qtbot.waitUntil(lambda: setup.shown == 1)
    run = setup.session.state.run
    assert run is not None
    assert run.result.volume is None


def test_too_few_frames_are_refused_with_a_sentence(qtbot: QtBot, setup: Setup) -> None:
    controller = setup.make(quick_estimate)
    setup.session.set(automatic=False)
    setup.open(make_stack(4))
    qtbot.waitUntil(lambda: setup.shown == 1)
    setup.session.set(skipped=frozenset({0, 1}))
    controller.run()
    assert setup.session.state.message is not None
    assert "only 2 of 4" in setup.session.state.message.text.lower()
