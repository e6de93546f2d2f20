"""Opening: questions, ways out, recent files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PySide6.QtGui import QUndoStack
from pytestqt.qtbot import QtBot

from toposcope.core.jobs import Report
from toposcope.core.marks import Pin
from toposcope.core.source import Choice, ChoiceNeeded, OpenOptions, Preview, describe, open_stack
from toposcope.core.stack import FocalStack, Part
from toposcope.errors import FrameError, StackError
from toposcope.ui.controllers.looking import Looker
from toposcope.ui.controllers.opening import OpeningController, problem
from toposcope.ui.session import Session
from toposcope.ui.workers import LatestRunner
from window_fakes import FakeVolume, make_run, make_stack, private_preferences, state_of


class Opener:
    """Opens what the test says, and remembers how it was asked."""

    def __init__(self, *answers: FocalStack | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Path | Sequence[Path], OpenOptions]] = []

    def __call__(self, path: Path | Sequence[Path], options: OpenOptions, report: Report) -> FocalStack:
        self.asked.append((path, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Setup:
    def __init__(self, folder: Path, *answers: FocalStack | Exception) -> None:
        self.session, self.undo, self.opener = Session(), QUndoStack(), Opener(*answers)
        self.preferences = private_preferences(folder)
        self.questions: list[tuple[str, Sequence[Any]]] = []
        self.starts: list[dict[str, int]] = []
        self.answer: dict[str, int] | None = None
        self.controller = OpeningController(self.session, self.undo, self.preferences, self.opener, self._ask)

    def _ask(
        self, text: str, choices: Sequence[Any], start: Mapping[str, int], looker: Looker
    ) -> Mapping[str, int] | None:
        self.questions.append((text, choices))
        self.starts.append(dict(start))
        return self.answer


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Setup]]:
    setups: list[Setup] = []
    yield setups
    for setup in setups:
        setup.controller.runner.shutdown()
        setup.controller.looking.shutdown()


def test_opened_stack_begins_anew(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    old = make_stack()
    setup = Setup(tmp_path, make_stack(9, path=tmp_path / "scan_07", notes=("mask.png was left out",)))
    made.append(setup)
    run = make_run(old)
    setup.session.set(**vars(state_of(old, run, skipped=frozenset({1}), ranges={"depth": (1.0, 2.0)})))
    setup.controller.open([tmp_path / "scan_07"])
    qtbot.waitUntil(lambda: setup.session.state.stack is not None and setup.session.state.stack.n == 9)
    state = setup.session.state
    assert (state.runs, state.pins, state.skipped, state.ranges) == ((), (), frozenset(), {})
    assert state.slice_index == 4
    assert state.message is not None
    assert state.message.text == "mask.png was left out"
    assert isinstance(run.result.volume, FakeVolume)
    assert run.result.volume.closed
    assert setup.preferences.recent == (tmp_path / "scan_07",)
    assert setup.opener.asked[0][0] == tmp_path / "scan_07"  # one dropped path is a path, not a list


def test_several_dropped_files_are_one_stack(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    setup = Setup(tmp_path, make_stack())
    made.append(setup)
    setup.controller.open([tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"])
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    assert len(setup.opener.asked[0][0]) == 3  # type: ignore[arg-type]


def test_questions_of_the_file_are_put_to_the_user(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    question = ChoiceNeeded(
        "cells.tif holds 2 channels; choose the channel (DAPI, GFP).", (Choice("channel", "channel", ("DAPI", "GFP")),)
    )
    setup = Setup(tmp_path, question, make_stack())
    made.append(setup)
    setup.answer = {"channel": 1}
    setup.controller.open(tmp_path / "cells.tif")
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    assert setup.questions[0][0] == "cells.tif holds 2 channels. Which one?"
    assert setup.opener.asked[1][1].channel == 1


def test_what_a_result_was_made_from_is_not_asked_for_again(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    questions = [
        ChoiceNeeded("cells.tif holds 2 positions", (Choice("series", "Position", ("A1", "B1")),)),
        ChoiceNeeded("cells.tif holds 3 time points", (Choice("time", "Time point", ("1", "2", "3")),)),
    ]
    setup = Setup(tmp_path, *questions, make_stack())
    made.append(setup)
    setup.controller.open(tmp_path / "cells.tif", parts={"series": "B1", "time": "3"})
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    assert not setup.questions
    assert (setup.opener.asked[2][1].series, setup.opener.asked[2][1].time) == (1, 2)
    # a file that has changed meanwhile asks
    other = Setup(tmp_path, questions[1], make_stack())
    made.append(other)
    other.controller.open(tmp_path / "cells.tif", parts={"time": "4"})
    qtbot.waitUntil(lambda: bool(other.questions))


@pytest.mark.parametrize(("shape", "pins"), [((48, 64), 1), ((30, 40), 0)])
def test_pins_stay_when_files_are_read_again(
    qtbot: QtBot, tmp_path: Path, made: list[Setup], shape: tuple[int, int], pins: int
) -> None:
    setup = Setup(tmp_path, make_stack(), make_stack(shape=shape), make_stack())
    made.append(setup)
    setup.controller.open(tmp_path / "scan")
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    setup.session.set(pins=(Pin(1, 10, 20, 0),), chosen_pin=1, mode="confidence")
    before = setup.session.state.stack
    setup.controller.reload()
    qtbot.waitUntil(lambda: setup.session.state.stack is not before)
    state = setup.session.state
    assert (len(state.pins), state.mode) == (pins, "confidence" if pins else "slice")
    setup.controller.open(tmp_path / "other")  # another stack has none, of whatever size
    qtbot.waitUntil(lambda: setup.session.state.stack is not state.stack)
    assert setup.session.state.pins == ()


def test_a_question_not_answered_leaves_everything_as_it_is(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    old = make_stack()
    setup = Setup(tmp_path, ChoiceNeeded("cells.tif holds 2 channels", (Choice("channel", "c", ("a", "b")),)))
    made.append(setup)
    setup.session.set(opened=old, stack=old)
    setup.controller.open(tmp_path / "cells.tif")
    qtbot.waitUntil(lambda: bool(setup.questions) and not setup.session.state.jobs)
    assert setup.session.state.stack is old
    assert setup.session.state.message is None


def test_an_error_is_one_sentence_and_loses_nothing(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    old = make_stack()
    setup = Setup(tmp_path, StackError("scan_07 holds 1 image."), make_stack())
    made.append(setup)
    setup.session.set(opened=old, stack=old)
    setup.controller.open(tmp_path)
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    message = setup.session.state.message
    assert message is not None
    assert (message.text, message.level, message.details) == ("scan_07 holds 1 image.", "error", "")
    assert setup.session.state.stack is old


def test_broken_frame_can_be_skipped(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    setup = Setup(tmp_path, FrameError("img_3.png is truncated", 2, "img_3.png"), make_stack())
    made.append(setup)
    setup.controller.open(tmp_path)
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    message = setup.session.state.message
    assert message is not None
    offered = [(o.action, o.value) for o in message.offers]
    assert offered == [("open_without", "img_3.png"), ("skip_all", None), ("retry", None)]
    setup.controller.skip_frame("img_3.png")
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    assert setup.opener.asked[1][1].skip == ("img_3.png",)
    assert setup.session.state.message is None


def test_all_that_cannot_be_read_is_left_out_at_once_and_named(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 255, (32, 40), dtype=np.uint8)
        (folder / f"img_{i}.png").write_bytes(
            b"no picture" if i in (1, 4) else cv2.imencode(".png", pixels)[1].tobytes()
        )
    setup = Setup(tmp_path)
    made.append(setup)
    setup.controller._open_stack = open_stack
    setup.controller.open(folder)
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    assert setup.session.state.stack is None
    setup.controller.skip_all()
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    stack, message = setup.session.state.stack, setup.session.state.message
    assert stack is not None
    assert stack.n == 4
    assert message is not None
    assert "img_1.png" in message.text
    assert "img_4.png" in message.text
    stack.close()


def test_the_only_file_cannot_be_skipped(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    setup = Setup(tmp_path, FrameError("scan.tif is text", 0, "scan.tif"))
    made.append(setup)
    setup.controller.open(tmp_path / "scan.tif")
    qtbot.waitUntil(lambda: setup.session.state.message is not None)
    assert setup.session.state.message is not None
    assert [offer.action for offer in setup.session.state.message.offers] == ["retry"]


def test_unforeseen_errors_carry_details_to_copy() -> None:
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        message = problem(error)
    assert "untouched" in message.text
    assert "Traceback" in message.details
    assert "memory" in problem(MemoryError()).text


def test_closing_goes_back_to_the_start(tmp_path: Path, made: list[Setup]) -> None:
    setup = Setup(tmp_path)
    made.append(setup)
    old = make_stack()
    setup.session.set(**vars(state_of(old, make_run(old))))
    setup.controller.close()
    assert setup.session.state.stack is None
    assert setup.session.state.runs == ()


def test_another_part_of_the_file_is_chosen_from_what_is_open(qtbot: QtBot, tmp_path: Path, made: list[Setup]) -> None:
    parts = (Part("series", "Position", ("P1", "P2"), 1), Part("channel", "Channel", ("DAPI", "GFP"), 0))
    first = make_stack(parts=parts)
    setup = Setup(tmp_path, first, make_stack(7))
    made.append(setup)
    setup.controller.choose_other()
    assert not setup.questions  # nothing is open
    setup.controller.open(tmp_path / "cells.czi", OpenOptions(series=1, channel=0, z_step=2.0))
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    setup.controller.choose_other()  # not answered
    assert setup.session.state.stack is first
    assert setup.starts == [{"series": 1, "channel": 0}]
    assert [choice.options for choice in setup.questions[0][1]] == [("P1", "P2"), ("DAPI", "GFP")]
    setup.answer = {"series": 1, "channel": 0}
    setup.controller.choose_other()  # what is open already
    assert len(setup.opener.asked) == 1
    setup.answer = {"series": 0, "channel": 1}
    setup.controller.choose_other()
    qtbot.waitUntil(lambda: setup.session.state.stack is not first)
    assert setup.opener.asked[1][1] == OpenOptions(series=0, channel=1, z_step=2.0)


class Previewed:
    """Looks at what the test says; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[OpenOptions] = []

    def __call__(self, path: Path | Sequence[Path], options: OpenOptions, report: Report) -> Preview:
        self.asked.append(options)
        if options.series == 2:
            raise StackError("this position is damaged.")
        stack = make_stack(parts=(Part("series", "Position", ("P1", "P2", "P3"), options.series or 0),))
        return Preview(stack.parts, describe(stack), stack.read(2))


def test_looks_come_for_what_is_chosen_first_then_for_the_rest(qtbot: QtBot, tmp_path: Path) -> None:
    previewed, runner = Previewed(), LatestRunner("look")
    looker = Looker(previewed, tmp_path, OpenOptions(z_step=1.0), runner)
    looks: list[tuple[Any, ...]] = []
    problems: list[tuple[Any, ...]] = []
    looker.looked.connect(lambda *found: looks.append(found))
    looker.failed.connect(lambda *found: problems.append(found))
    looker.look({"series": 1, "channel": 0}, positions=3)
    qtbot.waitUntil(lambda: len(looks) == 2 and len(problems) == 1)
    assert [answers["series"] for answers, *_ in looks] == [1, 0]
    assert problems == [({"series": 2}, "this position is damaged.")]
    assert previewed.asked[0] == OpenOptions(z_step=1.0, series=1, channel=0)
    _, parts, picture, rows = looks[0]
    assert parts[0].chosen == 1
    assert picture.shape[2] == 3
    assert dict(rows)["pixel size"] == "0.5 µm (stack.json)"
    looker.look({"series": 0}, positions=3)
    looker.stop()
    runner.shutdown()
    assert len(looks) == 2
