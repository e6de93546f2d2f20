"""Pins, pictures, thumbnails, calibration and export, each with fake views."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import tifffile
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QComboBox
from pytestqt.qtbot import QtBot

from toposcope.core.align import AlignedSource
from toposcope.core.compare import Difference, compare
from toposcope.core.curve import FocusCurve
from toposcope.core.editing import CalibrationEdit
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.marks import Pin
from toposcope.core.result import DepthResult
from toposcope.core.stack import ArraySource, FocalStack, Part, Plane, Roi
from toposcope.errors import CalibrationError, FrameError, OutputError
from toposcope.ui.controllers.calibrating import CalibratingController
from toposcope.ui.controllers.exporting import ExportingController, proposed_folder
from toposcope.ui.controllers.frames import FramesController, make_thumbnails
from toposcope.ui.controllers.pictures import PictureCache, PicturesController, frame_of
from toposcope.ui.controllers.pins import PinsController
from toposcope.ui.rendering import Rendered, render_frame
from toposcope.ui.resolve import ChannelChoice, PictureRequest, resolve
from toposcope.ui.session import Layer, Session, State
from toposcope.ui.views.calibration_panel import CalibrationPanel
from toposcope.ui.views.curve_view import CurveView, PinCurve, PinDepth
from toposcope.ui.views.export_panel import ExportPanel
from toposcope.ui.views.film_strip import FilmStrip
from toposcope.ui.views.picture_view import PictureView
from window_fakes import FakeVolume, fake_curve, make_run, make_stack, state_of


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Runners to shut down after the test."""
    runners: list[Any] = []
    yield runners
    for runner in runners:
        runner.shutdown()


# pins


@pytest.fixture
def pins(qtbot: QtBot, closing: list[Any]) -> tuple[Session, QUndoStack, MagicMock, PinsController]:
    stack = make_stack()
    session, undo, view = Session(state_of(stack, make_run(stack))), QUndoStack(), MagicMock(spec=CurveView)
    controller = PinsController(session, undo, view, fake_curve)
    closing.append(controller.runner)
    return session, undo, view, controller


Pinned = tuple[Session, QUndoStack, MagicMock, PinsController]


def _numbers(view: MagicMock) -> list[int]:
    return [one.pin for one in view.set_curves.call_args.args[0]] if view.set_curves.call_args else []


def test_a_pin_brings_its_curve_and_undo_takes_both(qtbot: QtBot, pins: Pinned) -> None:
    session, undo, view, controller = pins
    controller.add(3, 4)
    qtbot.waitUntil(lambda: _numbers(view) == [1])
    _, colour, curve, _, _ = view.set_curves.call_args.args[0][0]
    assert colour.startswith("#")
    assert (curve.row, curve.column) == (3, 4)
    controller.add(5, 6)
    qtbot.waitUntil(lambda: _numbers(view) == [1, 2])
    undo.undo()
    qtbot.waitUntil(lambda: _numbers(view) == [1])
    undo.undo()
    assert _numbers(view) == []
    undo.redo()
    assert [pin.number for pin in session.state.pins] == [1]


def test_a_drag_is_one_step_to_undo(qtbot: QtBot, pins: Pinned) -> None:
    session, undo, view, controller = pins
    controller.add(3, 4)
    for k in range(1, 20):
        controller.move(1, 3 + k, 4 + k, False)
    controller.move(1, 23, 24, True)
    assert (session.state.pins[0].row, session.state.pins[0].column) == (23, 24)
    qtbot.waitUntil(lambda: view.set_curves.called and view.set_curves.call_args.args[0][0].curve.row == 23)
    assert undo.count() == 2
    undo.undo()
    assert session.state.pins[0] == Pin(1, 3, 4, 0)
    undo.redo()
    assert session.state.pins[0].row == 23


def test_numbers_of_removed_pins_are_used_again(pins: Pinned) -> None:
    session, undo, _, controller = pins
    for i in range(3):
        controller.add(i, i)
    controller.remove(2)
    assert session.state.chosen_pin == 3
    controller.add(9, 9)
    assert sorted(pin.number for pin in session.state.pins) == [1, 2, 3]
    controller.remove()  # the chosen one
    assert [pin.number for pin in session.state.pins] == [1, 3]
    controller.remove_all()
    assert session.state.pins == ()
    undo.undo()
    assert len(session.state.pins) == 2
    controller.add(-1, 5)
    controller.add(5, 10_000)
    assert len(session.state.pins) == 2


def test_curves_of_pins_that_stay_are_not_read_again(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    session, view = Session(state_of(stack, make_run(stack))), MagicMock(spec=CurveView)
    read: list[tuple[int, int]] = []

    def curve(result: DepthResult, row: int, column: int) -> FocusCurve:
        read.append((row, column))
        return fake_curve(result, row, column)

    controller = PinsController(session, QUndoStack(), view, curve)
    closing.append(controller.runner)
    controller.add(1, 1)
    qtbot.waitUntil(lambda: _numbers(view) == [1])
    controller.add(2, 2)
    qtbot.waitUntil(lambda: _numbers(view) == [1, 2])
    assert read == [(1, 1), (2, 2)]
    session.set(runs=(make_run(stack, 2),), shown_run=2)  # another result: all of them
    qtbot.waitUntil(lambda: len(read) == 4 and not controller.runner.busy)


def test_both_curves_of_a_pin_are_read_while_two_results_are_compared(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    runs = tuple(make_run(stack, number, title=f"{number}  Run") for number in (1, 2, 3))
    session, view = Session(state_of(stack, *runs, pair=(1, 2))), MagicMock(spec=CurveView)
    read: list[DepthResult] = []

    def curve(result: DepthResult, row: int, column: int) -> FocusCurve:
        read.append(result)
        return fake_curve(result, row, column)

    controller = PinsController(session, QUndoStack(), view, curve)
    closing.append(controller.runner)
    controller.add(3, 4)
    controller.add(5, 6)
    qtbot.waitUntil(lambda: _numbers(view) == [1, 2])
    assert view.set_curves.call_args.args[1] == ("", "")
    read.clear()
    session.set(mode="compare")
    qtbot.waitUntil(lambda: _numbers(view) == [1, 1, 2, 2])
    assert [one.side for one in view.set_curves.call_args.args[0]] == ["A", "B", "A", "B"]
    assert view.set_curves.call_args.args[1] == ("1  Run", "2  Run")
    assert {id(result) for result in read} == {id(run.result) for run in runs[:2]}  # that of the third was there
    assert [pin.number for pin, _ in controller.curves] == [1, 2]  # for export: of the shown result alone
    count = len(read)
    session.set(pair=(2, 1))
    assert view.set_curves.call_args.args[1] == ("2  Run", "1  Run")
    session.set(mode="difference")
    session.set(mode="depth")
    qtbot.waitUntil(lambda: _numbers(view) == [1, 2])
    assert len(read) == count  # nothing is read twice


def test_a_result_without_curves_is_compared_all_the_same(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    bare = make_run(stack, 1)
    bare = replace(bare, result=replace(bare.result, volume=None))
    other = make_run(stack, 2)
    session, view = Session(state_of(stack, bare, other, pair=(1, 2), mode="compare")), MagicMock(spec=CurveView)
    controller = PinsController(session, QUndoStack(), view, fake_curve)
    closing.append(controller.runner)
    controller.add(3, 4)
    qtbot.waitUntil(lambda: _numbers(view) == [1, 1])
    depth, drawn = view.set_curves.call_args.args[0]
    assert (depth.side, drawn.side) == ("A", "B")
    assert isinstance(depth, PinDepth)
    assert depth.text == "Depth 10.635 µm"
    assert isinstance(drawn, PinCurve)
    assert view.set_curves.call_args.args[1] == ("1  Default (no curves kept)", "2  Default")


# pictures


class CountingSource(ArraySource):
    """Remembers which frames were read, at which scale."""

    reads: list[tuple[int, int]]

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        self.reads.append((i, scale))
        return super().read(i, roi, scale)


def _counting_stack(n: int, shape: tuple[int, int]) -> tuple[FocalStack, list[tuple[int, int]]]:
    source = CountingSource(np.stack([np.full(shape, i, dtype=np.uint8) for i in range(n)]))
    object.__setattr__(source, "reads", [])
    return FocalStack.create(source), source.reads


def _pictures(session: Session, closing: list[Any]) -> tuple[MagicMock, PicturesController]:
    view = MagicMock(spec=PictureView)
    controller = PicturesController(
        session, view, lambda volume, report: np.ones(volume.shape[1:], dtype=np.uint8), compare
    )
    closing.append(controller)
    return view, controller


def _ask(session: Session, controller: PicturesController) -> None:
    state = resolve(session.state)
    controller.set_requests(state.left, state.right)


def _last(view: MagicMock) -> Rendered:
    rendered: Rendered = view.set_picture.call_args.args[1]
    return rendered


def test_large_slice_appears_reduced_first_and_its_neighbours_are_read_ahead(qtbot: QtBot, closing: list[Any]) -> None:
    stack, reads = _counting_stack(7, (1600, 1600))
    session = Session(State(opened=stack, stack=stack, slice_index=3))
    view, controller = _pictures(session, closing)
    _ask(session, controller)
    qtbot.waitUntil(lambda: view.set_picture.called and _last(view).pyramid.levels[0][0] == 1)
    assert reads[:2] == [(3, 2), (3, 1)]
    assert _last(view).pyramid.shape == (1600, 1600)
    qtbot.waitUntil(lambda: {i for i, scale in reads if scale == 1} == {1, 2, 3, 4, 5})
    qtbot.waitUntil(lambda: not controller.ahead.busy)
    count = len(reads)
    view.set_picture.reset_mock()
    session.set(slice_index=4)
    _ask(session, controller)
    assert _last(view).pyramid.finest[0, 0] == 4  # at once: it was read ahead
    qtbot.waitUntil(lambda: (6, 1) in reads)
    assert len(reads) == count + 1


def test_maps_are_made_once_and_peaks_counted_once(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    session = Session(state_of(stack, make_run(stack), mode="peaks"))
    counted: list[int] = []

    def count(volume: Any, report: Report = silent) -> Any:
        counted.append(1)
        report(Progress(0.5))
        return np.ones(volume.shape[1:], dtype=np.uint8)

    view = MagicMock(spec=PictureView)
    controller = PicturesController(session, view, count, compare)
    closing.append(controller)
    _ask(session, controller)
    qtbot.waitUntil(lambda: view.set_picture.called and bool(_last(view) and _last(view).legend))
    assert not session.state.jobs
    session.set(mode="depth")
    _ask(session, controller)
    qtbot.waitUntil(lambda: bool(_last(view) and _last(view).scale))
    session.set(mode="peaks")
    _ask(session, controller)
    assert _last(view).legend
    assert counted == [1]


class GatedSource(ArraySource):
    """16-bit frames of one grey value, each read of which waits for a gate."""

    def __init__(self, value: int) -> None:
        frames = np.full((4, 20, 30), value, dtype=np.uint16)
        frames[:, 0] = 0
        super().__init__(frames)
        object.__setattr__(self, "gate", threading.Event())
        object.__setattr__(self, "begun", threading.Event())

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        self.begun.set()  # type: ignore[attr-defined]
        assert self.gate.wait(30)  # type: ignore[attr-defined]
        return super().read(i, roi, scale)


def test_a_late_frame_of_a_closed_stack_does_not_set_the_grey_levels_of_the_next(
    qtbot: QtBot, closing: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[int, tuple[float, float]]] = []

    def render(plane: Plane, limits: tuple[float, float], shape: tuple[int, int] | None = None) -> Rendered:
        used.append((int(plane.max()), limits))
        return render_frame(plane, limits, shape)

    monkeypatch.setattr("toposcope.ui.controllers.pictures.render_frame", render)
    sources = [GatedSource(60_000), GatedSource(900)]
    old, new = (FocalStack.create(source) for source in sources)
    session = Session(state_of(old))
    _, controller = _pictures(session, closing)
    _ask(session, controller)
    assert sources[0].begun.wait(30)  # type: ignore[attr-defined]
    session.set(opened=new, stack=new)
    _ask(session, controller)
    sources[0].gate.set()  # type: ignore[attr-defined]
    assert sources[1].begun.wait(30)  # type: ignore[attr-defined]
    session.set(slice_index=1)
    _ask(session, controller)
    sources[1].gate.set()  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: not any(runner.busy for runner in (*controller.runners.values(), controller.ahead)))
    of_new = [limits for value, limits in used if value == 900]
    assert of_new
    assert all(high < 1000 for _, high in of_new), of_new


def test_colour_limits_make_another_picture(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    session = Session(state_of(stack, make_run(stack), mode="depth"))
    view, controller = _pictures(session, closing)
    for ranges in ({}, {"depth": (12.0, 14.0)}):
        session.set(ranges=ranges)
        _ask(session, controller)
        qtbot.waitUntil(lambda: not controller.runners["left"].busy and view.set_picture.called)
    scale = _last(view).scale
    assert scale is not None
    assert (scale.low, scale.high) == (12, 14)


def test_difference_is_made_once_in_the_background_and_drawn_anew(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    first, second = make_run(stack, 1), make_run(stack, 2)
    session = Session(state_of(stack, first, second, mode="difference", pair=(1, 2)))
    made: list[str] = []

    def differ(a: DepthResult, b: DepthResult, report: Report = silent) -> Difference:
        assert (a, b) == (first.result, second.result)
        made.append(threading.current_thread().name)
        return compare(a, b, report)

    view = MagicMock(spec=PictureView)
    controller = PicturesController(session, view, lambda volume, report: np.ones((1, 1), np.uint8), differ)
    closing.append(controller)
    for ranges in ({}, {"difference": (-3.0, 3.0)}):
        session.set(ranges=ranges)
        _ask(session, controller)
        qtbot.waitUntil(lambda: not controller.runners["left"].busy and view.set_picture.called)
    assert _last(view).statistics.startswith("mean 0.0")
    scale = _last(view).scale
    assert scale is not None
    assert scale.high == 3
    assert len(made) == 1
    assert made[0].startswith("toposcope-pictures-left")
    assert not session.state.jobs


def test_depths_side_by_side_have_the_same_colours(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    first, second = make_run(stack, 1), make_run(stack, 2)
    second = replace(second, result=replace(second.result, depth=second.result.depth + np.float32(30)))
    session = Session(state_of(stack, first, second, mode="compare", pair=(1, 2)))
    view, controller = _pictures(session, closing)
    _ask(session, controller)
    qtbot.waitUntil(lambda: not any(runner.busy for runner in controller.runners.values()))
    sides = {call.args[0]: call.args[1] for call in view.set_picture.call_args_list if call.args[1] is not None}
    left, right = sides["left"].scale, sides["right"].scale
    assert (left.low, left.high) == (right.low, right.high)
    assert left.low < 11
    assert left.high > 49
    session.set(mode="depth", shown_run=1)
    _ask(session, controller)
    qtbot.waitUntil(lambda: not controller.runners["left"].busy)
    alone = _last(view).scale
    assert alone is not None
    assert alone.high < 21  # alone it has its own


def test_pictures_side_by_side_have_the_grey_levels_of_the_slices(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()
    frames = np.stack([np.full((48, 64), 1000 * (i + 1), dtype=np.uint16) for i in range(5)])
    frames[:, 0] = 0
    stack = FocalStack.create(ArraySource(frames))
    first, second = make_run(stack, 1), make_run(stack, 2)
    second = replace(second, result=replace(second.result, all_in_focus=np.full((48, 64), 1500, np.uint16)))
    kinds = ("all_in_focus", "all_in_focus")
    session = Session(state_of(stack, first, second, mode="compare", pair=(1, 2), compared=kinds))
    view, controller = _pictures(session, closing)
    _ask(session, controller)
    qtbot.waitUntil(lambda: not any(runner.busy for runner in controller.runners.values()))
    sides = {call.args[0]: call.args[1] for call in view.set_picture.call_args_list if call.args[1] is not None}
    # the middle slice, of value 3000, gives the white
    assert sides["left"].pyramid.finest[9, 9] == 255
    assert abs(int(sides["right"].pyramid.finest[9, 9]) - 128) <= 1


def test_unreadable_slice_is_told_once_and_the_view_goes_on(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack()

    class Broken(ArraySource):
        def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
            raise FrameError("img_02.png is gone", i, "img_02.png")

    broken = FocalStack.create(Broken(np.zeros((3, 8, 8), dtype=np.uint8)))
    session = Session(State(opened=broken, stack=broken))
    view, controller = _pictures(session, closing)
    _ask(session, controller)
    qtbot.waitUntil(lambda: session.state.message is not None)
    session.set(opened=stack, stack=stack, message=None)
    _ask(session, controller)
    qtbot.waitUntil(lambda: view.set_picture.called and view.set_picture.call_args.args[1] is not None)


def test_slices_are_shown_as_they_lie_in_the_maps() -> None:
    stack = make_stack(5)
    moved = make_run(stack, 1)
    assert frame_of(stack, moved, 2) == (stack.source, 2)  # found steady: as it was taken
    from window_fakes import make_result

    result = make_result(stack.subset([0, 2, 3, 4]), needed=True)
    run = replace(moved, result=result, inputs=replace(moved.inputs, skipped=frozenset({1})))
    source, place = frame_of(stack, run, 3)
    assert isinstance(source, AlignedSource)
    assert place == 2
    assert frame_of(stack, run, 1) == (stack.source, 1)  # left out: nobody knows how it lies


def test_cache_forgets_the_oldest() -> None:
    cache = PictureCache(limit=250_000)
    pictures = [render_frame(np.full((300, 300), i, dtype=np.uint8), (0, 255)) for i in range(4)]
    for i in range(3):
        cache.put((i,), pictures[i])
        cache.get((0,))
    assert cache.get((1,)) is None
    assert cache.get((0,)) is pictures[0]
    assert cache.nbytes <= 250_000
    cache.clear()
    assert cache.nbytes == 0


# thumbnails


def test_thumbnails_in_view_come_first_then_the_rest(qtbot: QtBot, closing: list[Any]) -> None:
    stack = make_stack(20)
    session, strip = Session(), MagicMock(spec=FilmStrip)
    controller = FramesController(session, QUndoStack(), strip)
    closing.append(controller.runner)
    session.set(opened=stack, stack=stack)
    controller._on_requested([15, 16])
    made: list[int] = []
    strip.set_thumbnails.side_effect = lambda pictures: made.extend(pictures)
    qtbot.waitUntil(lambda: len(made) >= 14)
    qtbot.waitUntil(lambda: not controller.runner.busy)
    assert set(made) | set(range(6)) >= set(range(20))
    assert made.index(15) < made.index(19) if 19 in made else True


def test_broken_frame_gets_a_sign_instead_of_a_thumbnail() -> None:
    class Broken(ArraySource):
        def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
            if i == 1:
                raise FrameError("gone", i, "b")
            return super().read(i, roi, scale)

    stack = FocalStack.create(Broken(np.random.default_rng(0).integers(0, 255, (3, 40, 60)).astype(np.uint8)))
    made = make_thumbnails(stack, [0, 1, 2], silent)
    assert made[1][1] == 0
    assert made[0][1] > 0


def test_leaving_a_frame_out_can_be_undone(closing: list[Any]) -> None:
    stack = make_stack()
    session, undo = Session(state_of(stack)), QUndoStack()
    controller = FramesController(session, undo, MagicMock(spec=FilmStrip))
    closing.append(controller.runner)
    controller._on_skip_requested(2, True)
    controller._on_skip_requested(3, True)
    assert session.state.skipped == {2, 3}
    assert undo.undoText() == "leave out img_03.png"
    undo.undo()
    assert session.state.skipped == {2}


# calibration


def _calibrating(stack: FocalStack) -> tuple[Session, QUndoStack, MagicMock, CalibratingController]:
    session, undo, panel = Session(state_of(stack)), QUndoStack(), MagicMock(spec=CalibrationPanel)
    controller = CalibratingController(session, undo, panel, lambda names, values, symbol: (3.0, 2.0, 1.0))
    return session, undo, panel, controller


def test_typed_step_moves_the_positions_and_undo_brings_them_back(qtbot: QtBot) -> None:
    session, undo, _, controller = _calibrating(make_stack(3))
    controller.set_step(4.0)
    stack = session.state.stack
    assert stack is not None
    assert stack.positions.value.tolist() == [10, 14, 18]
    assert stack.positions.origin == "typed in"
    undo.undo()
    assert session.state.edit == CalibrationEdit()
    assert session.state.stack is not None
    assert session.state.stack.positions.value.tolist() == [10, 12.5, 15]


def test_a_step_for_unknown_positions_means_micrometres(qtbot: QtBot) -> None:
    session, _, _, controller = _calibrating(FocalStack.create(ArraySource(np.zeros((3, 8, 8), dtype=np.uint8))))
    controller.set_step(2.0)
    assert session.state.stack is not None
    assert session.state.stack.unit == "um"
    assert session.state.stack.positions.value.tolist() == [0, 2, 4]


def test_impossible_calibration_is_refused_and_the_fields_go_back(qtbot: QtBot) -> None:
    session, undo, panel, controller = _calibrating(make_stack(3))
    before = session.state.stack
    controller._edit("positions", positions=(-1.0, 0.0, 1.0), kind="camera", unit="mm")
    assert session.state.message is not None
    assert "above 0" in session.state.message.text
    assert session.state.stack is before
    assert undo.count() == 0
    panel.set_calibration.assert_called_once()


def test_descending_positions_turn_the_stack_around(qtbot: QtBot) -> None:
    session, _, _, controller = _calibrating(make_stack(3))
    controller.ask_positions()
    assert session.state.stack is not None
    assert tuple(session.state.stack.source.names) == ("img_02.png", "img_01.png", "img_00.png")


def test_frames_left_out_stay_so_when_the_stack_is_turned_around(qtbot: QtBot) -> None:
    session, undo, _, controller = _calibrating(make_stack(5))
    session.set(skipped=frozenset({0}))
    controller.set_step(-2.5)
    assert session.state.stack is not None
    assert [session.state.stack.source.names[i] for i in session.state.skipped] == ["img_00.png"]
    assert session.state.skipped == {4}
    undo.undo()
    assert session.state.skipped == {0}


# export


def test_export_writes_all_formats_and_says_so(qtbot: QtBot, tmp_path: Path, closing: list[Any]) -> None:
    stack = make_stack()
    session, panel = Session(state_of(stack, make_run(stack))), MagicMock(spec=ExportPanel)
    threads: list[str] = []

    def export(
        result: DepthResult, name: str, folder: Path, curves: Sequence[FocusCurve], options: Any, report: Report
    ) -> list[Path]:
        threads.append(threading.current_thread().name)
        report(Progress(0.5))
        return [folder / f"{name}.x"]

    controller = ExportingController(session, panel, export, lambda: [])
    closing.append(controller.runner)
    controller.export(("depth", "ply"), tmp_path)
    qtbot.waitUntil(lambda: panel.set_written.called)
    panel.set_written.assert_called_once_with([tmp_path / "depth.x", tmp_path / "ply.x"])
    assert all("export" in name for name in threads)
    assert not session.state.jobs


def test_files_of_others_are_not_replaced_unasked(qtbot: QtBot, tmp_path: Path, closing: list[Any]) -> None:
    stack = make_stack()
    session, panel = Session(state_of(stack, make_run(stack))), MagicMock(spec=ExportPanel)

    def export(
        result: DepthResult, name: str, folder: Path, curves: Sequence[FocusCurve], options: Any, report: Report
    ) -> list[Path]:
        (folder / f"{name}.x").write_text("ours")
        return [folder / f"{name}.x"]

    asked: list[str] = []
    answers = [False, True]

    def confirm(question: str) -> bool:
        asked.append(question)
        return answers.pop(0)

    controller = ExportingController(
        session, panel, export, lambda: [], names=lambda name, result: (f"{name}.x",), confirm=confirm
    )
    closing.append(controller.runner)
    (tmp_path / "ply.x").write_text("of somebody else")
    controller.export(("depth", "ply"), tmp_path)
    assert asked == [f"{tmp_path} holds ply.x already. Replace it?"]
    assert not (tmp_path / "depth.x").exists()
    controller.export(("depth", "ply"), tmp_path)
    qtbot.waitUntil(lambda: panel.set_written.call_count == 1)
    assert (tmp_path / "ply.x").read_text() == "ours"
    controller.export(("depth", "ply"), tmp_path)  # our own may be written anew
    qtbot.waitUntil(lambda: panel.set_written.call_count == 2)
    assert len(asked) == 2


def test_all_files_of_a_format_are_asked_about(tmp_path: Path, closing: list[Any]) -> None:
    stack = make_stack()
    session, panel = Session(state_of(stack, make_run(stack))), MagicMock(spec=ExportPanel)
    asked: list[str] = []
    controller = ExportingController(
        session,
        panel,
        MagicMock(),
        lambda: [],
        names=lambda name, result: (f"{name}.x", f"{name}.json"),
        confirm=lambda question: bool(asked.append(question)),  # type: ignore[func-returns-value]
    )
    closing.append(controller.runner)
    (tmp_path / "depth.json").write_text("of somebody else")
    controller.export(["depth"], tmp_path)
    assert asked == [f"{tmp_path} holds depth.json already. Replace it?"]


def test_export_that_fails_says_why(qtbot: QtBot, tmp_path: Path, closing: list[Any]) -> None:
    stack = make_stack()
    session, panel = Session(state_of(stack, make_run(stack))), MagicMock(spec=ExportPanel)

    def export(*args: Any) -> list[Path]:
        raise OutputError("there is no room on the disk")

    controller = ExportingController(session, panel, export, lambda: [])
    closing.append(controller.runner)
    controller.export(("depth",), tmp_path)
    qtbot.waitUntil(lambda: session.state.message is not None)
    assert session.state.message is not None
    assert session.state.message.text == "There is no room on the disk"
    panel.set_written.assert_not_called()


def test_one_format_that_cannot_be_written_keeps_none_of_the_others_back(
    qtbot: QtBot, tmp_path: Path, closing: list[Any]
) -> None:
    stack = make_stack()
    session, panel = Session(state_of(stack, make_run(stack))), MagicMock(spec=ExportPanel)

    def export(result: DepthResult, name: str, folder: Path, *args: Any) -> list[Path]:
        if name == "x3p":
            raise OutputError("surface.x3p needs a pixel size.")
        if name == "gwy":
            raise CalibrationError("the depths are counted in slices.")
        return [folder / f"{name}.x"]

    controller = ExportingController(session, panel, export, lambda: [])
    closing.append(controller.runner)
    controller.export(("depth", "x3p", "gwy", "pins"), tmp_path)
    qtbot.waitUntil(lambda: session.state.message is not None)
    panel.set_written.assert_called_once_with([tmp_path / "depth.x", tmp_path / "pins.x"])
    assert session.state.message is not None
    assert session.state.message.text == "surface.x3p needs a pixel size. Not written: x3p, gwy; all others are."


def test_results_go_beside_the_stack() -> None:
    assert proposed_folder(Path("/data/scan_07"), "scan_07") == Path("/data/scan_07-depth")
    assert proposed_folder(Path("/data/scan.ome.tif"), "scan") == Path("/data/scan.ome-depth")
    assert proposed_folder(None, "typed").name == "typed-depth"


def test_layers_are_values() -> None:
    assert PictureRequest(Layer("depth", 1), "viridis", None) == PictureRequest(Layer("depth", 1), "viridis", None)
    assert isinstance(FakeVolume((3, 4, 5)).plane(0), np.ndarray)


# channels


def _two_channels() -> FocalStack:
    """Return a stack whose other channel is brighter."""
    parts = (Part("channel", "Channel", ("DAPI", "GFP"), 0),)
    return make_stack(parts=parts, reopen=lambda answers, report: make_stack())


def test_another_channel_is_fused_once_and_shown_in_the_background(qtbot: QtBot, closing: list[Any]) -> None:
    stack = _two_channels()
    run = make_run(stack)
    session = Session(state_of(stack, run, mode="all_in_focus"))
    fused: list[int] = []

    def fuse(of: FocalStack, result: DepthResult, channel: int, report: Report = silent) -> Plane:
        assert (of, result) == (stack, run.result)
        fused.append(channel)
        return np.full(stack.shape, 99, np.uint8)

    view = MagicMock(spec=PictureView)
    count = lambda volume, report: np.ones((1, 1), np.uint8)  # noqa: E731
    controller = PicturesController(session, view, count, compare, None, fuse)
    closing.append(controller)
    _ask(session, controller)
    qtbot.waitUntil(lambda: bool(view.set_picture.called and _last(view)))
    assert fused == []
    session.set(channel=1)
    _ask(session, controller)
    assert "map" in session.state.jobs
    qtbot.waitUntil(lambda: fused == [1] and "map" not in session.state.jobs)
    for channel in (0, 1):
        session.set(channel=channel)
        _ask(session, controller)
    assert fused == [1]
    session.set(mode="depth")
    assert resolve(session.state).channels is None


def test_a_channel_that_cannot_be_fused_gives_way_and_says_why(qtbot: QtBot, closing: list[Any]) -> None:
    stack = _two_channels()
    session = Session(state_of(stack, make_run(stack), mode="all_in_focus", channel=1))

    def fuse(of: FocalStack, result: DepthResult, channel: int, report: Report = silent) -> Plane:
        raise FrameError("slice 2 is damaged.", 1, "slice 2")

    view = MagicMock(spec=PictureView)
    count = lambda volume, report: np.ones((1, 1), np.uint8)  # noqa: E731
    controller = PicturesController(session, view, count, compare, None, fuse)
    closing.append(controller)
    _ask(session, controller)
    qtbot.waitUntil(lambda: session.state.message is not None)
    assert session.state.channel is None
    assert not session.state.jobs


def test_all_channels_are_saved(qtbot: QtBot, closing: list[Any], tmp_path: Path) -> None:
    stack = _two_channels()
    session = Session(state_of(stack, make_run(stack), mode="all_in_focus"))
    _, controller = _pictures(session, closing)
    path = tmp_path / "all.ome.tif"
    with qtbot.waitSignal(controller.saved):
        controller.save_channels(path)
    assert tifffile.imread(path).shape == (2, 48, 64)
    assert not session.state.jobs


def test_channels_are_chosen_where_there_are_several_and_a_full_result(qtbot: QtBot) -> None:
    stack = _two_channels()
    state = state_of(stack, make_run(stack), mode="all_in_focus")
    now = resolve(state)
    assert now.channels == ChannelChoice(("DAPI", "GFP"), 0, None)
    assert now.can_save_channels
    other = resolve(replace(state, channel=1))
    assert other.channels == ChannelChoice(("DAPI", "GFP"), 1, 1)
    assert other.left is not None
    assert other.left.layer.channel == 1
    assert now.title == "tiny, DAPI – Toposcope"
    assert not resolve(state_of(stack, make_run(stack, reduction=4), mode="all_in_focus")).can_save_channels
    assert resolve(state_of(make_stack(), make_run(stack), mode="all_in_focus")).channels is None
    view = PictureView()
    qtbot.addWidget(view)
    view.set_modes("all_in_focus", frozenset({"slice", "all_in_focus"}))
    view.set_channels(other.channels)
    box = next(box for box in view.findChildren(QComboBox) if box.accessibleName() == "Channel")
    assert (box.isVisibleTo(view), box.currentText()) == (True, "GFP")
    with qtbot.waitSignal(view.channelRequested) as caught:
        box.activated.emit(0)
    assert caught.args == [0]
    view.set_channels(None)
    assert not box.isVisibleTo(view)
