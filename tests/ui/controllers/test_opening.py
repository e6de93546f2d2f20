"""Opening: questions, ways out, recent files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PySide6.QtGui import QUndoStack
from pytestqt.qtbot import QtBot

from toposcope.core.jobs import Report
from toposcope.core.source import Choice, ChoiceNeeded, OpenOptions, open_stack
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError, StackError
from toposcope.ui.controllers.opening import OpeningController, problem
from toposcope.ui.session import Session
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
        self.answer: tuple[int, ...] | None = None
        self.controller = OpeningController(self.session, self.undo, self.preferences, self.opener, self._ask)

    def _ask(self, text: str, choices: Sequence[Any]) -> tuple[int, ...] | None:
        self.questions.append((text, choices))
        return self.answer


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Setup]]:
    setups: list[Setup] = []
    yield setups
    for setup in setups:
        setup.controller.runner.shutdown()


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
    question = ChoiceNeeded("cells.tif holds 2 channels", (Choice("channel", "channel", ("DAPI", "GFP")),))
    setup = Setup(tmp_path, question, make_stack())
    made.append(setup)
    setup.answer = (1,)
    setup.controller.open(tmp_path / "cells.tif")
    qtbot.waitUntil(lambda: setup.session.state.stack is not None)
    assert setup.questions[0][0] == "cells.tif holds 2 channels"
    assert setup.opener.asked[1][1].channel == 1


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
    assert offered == [("skip_frame", "img_3.png"), ("skip_all", None), ("retry", None)]
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
