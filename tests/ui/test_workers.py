"""Background work: newest wins, cancel, errors, throttled progress, clean shutdown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from PySide6.QtCore import QThread
from pytestqt.qtbot import QtBot

from toposcope.core.jobs import Progress, Report
from toposcope.errors import StackError
from toposcope.ui.workers import LatestRunner


@pytest.fixture
def runner(qtbot: QtBot) -> Iterator[LatestRunner]:
    made = LatestRunner("test")
    yield made
    made.shutdown()


def _until_cancelled(report: Report) -> str:
    for _ in range(10_000):
        report(Progress(0.1))
        time.sleep(0.001)
    return "never cancelled"


def test_answer_arrives_in_the_main_thread(qtbot: QtBot, runner: LatestRunner) -> None:
    threads: list[QThread] = []
    runner.returned.connect(lambda _: threads.append(QThread.currentThread()))
    with qtbot.waitSignal(runner.returned) as caught:
        runner.start(lambda report: threading.current_thread().name)
    assert caught.args is not None
    assert caught.args[0].startswith("toposcope-test")
    assert threads == [QThread.currentThread()]
    assert not runner.busy


def test_newest_request_wins(qtbot: QtBot, runner: LatestRunner) -> None:
    answers: list[object] = []
    runner.returned.connect(answers.append)
    cancelled: list[bool] = []
    runner.cancelled.connect(lambda: cancelled.append(True))
    runner.start(_until_cancelled)
    runner.start(lambda report: "second")
    with qtbot.waitSignal(runner.returned):
        runner.start(lambda report: "third")
    qtbot.wait(20)
    assert answers == ["third"]
    assert not cancelled


def test_late_answer_of_deaf_work_is_dropped(qtbot: QtBot, runner: LatestRunner) -> None:
    release = threading.Event()
    answers: list[object] = []
    runner.returned.connect(answers.append)
    runner.start(lambda report: release.wait(5) and "deaf")
    with qtbot.waitSignal(runner.returned):
        runner.start(lambda report: "newest")
        release.set()
    assert answers == ["newest"]


def test_cancel_is_quick_and_no_error(qtbot: QtBot, runner: LatestRunner) -> None:
    failures: list[object] = []
    runner.failed.connect(failures.append)
    runner.start(_until_cancelled)
    qtbot.waitUntil(lambda: runner.busy)
    with qtbot.waitSignal(runner.cancelled):  # the work would go on for 10 seconds, twice as long as this waits
        runner.cancel()
    assert not failures
    assert not runner.busy


def test_cancelling_work_that_has_not_begun(qtbot: QtBot, runner: LatestRunner) -> None:
    release, begun = threading.Event(), threading.Event()

    def first(report: Report) -> None:
        begun.set()
        release.wait(5)

    runner.start(first)
    assert begun.wait(5)
    runner.start(lambda report: "second")  # waits for the deaf first
    with qtbot.waitSignal(runner.cancelled):
        runner.cancel()
    release.set()


def test_exception_is_handed_over_whole(qtbot: QtBot, runner: LatestRunner) -> None:
    def work(report: Report) -> None:
        raise StackError("scan_07 holds 1 image")

    with qtbot.waitSignal(runner.failed) as caught:
        runner.start(work)
    assert caught.args is not None
    assert isinstance(caught.args[0], StackError)
    with qtbot.waitSignal(runner.returned):  # and the runner goes on
        runner.start(lambda report: 1)


def test_progress_is_throttled_and_the_end_always_told(qtbot: QtBot, runner: LatestRunner) -> None:
    told: list[float] = []
    runner.progressed.connect(lambda progress: told.append(progress.fraction))

    def work(report: Report) -> None:
        for i in range(500):
            report(Progress(i / 500))
            time.sleep(0.0004)
        report(Progress(1.0))

    with qtbot.waitSignal(runner.returned, timeout=10_000):
        runner.start(work)
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert len(told) < 100


def test_drop_is_silent(qtbot: QtBot, runner: LatestRunner) -> None:
    heard: list[object] = []
    for signal in (runner.returned, runner.failed, runner.cancelled):
        signal.connect(lambda *args: heard.append(args))
    runner.start(_until_cancelled)
    runner.drop()
    qtbot.wait(50)
    assert not heard
    assert not runner.busy


def test_shutdown_while_busy_leaves_no_thread(qtbot: QtBot) -> None:
    runner = LatestRunner("closing")
    runner.start(_until_cancelled)
    runner.shutdown()
    assert not [t for t in threading.enumerate() if "closing" in t.name]
    runner.start(lambda report: 1)  # refused
    assert not runner.busy


def test_of_a_stream_of_followers_the_running_and_the_newest_are_answered(qtbot: QtBot, runner: LatestRunner) -> None:
    answers: list[int] = []
    runner.returned.connect(answers.append)
    gates = [threading.Event() for _ in range(8)]

    def work(i: int, report: Report) -> int:
        assert gates[i].wait(30)
        return i

    for i in range(4):  # quicker than the work
        runner.follow(partial(work, i))
    gates[0].set()
    qtbot.waitUntil(lambda: answers == [0])
    for i in range(4, 8):  # while 3 is at work
        runner.follow(partial(work, i))
    gates[3].set()
    qtbot.waitUntil(lambda: answers == [0, 3])
    gates[7].set()
    qtbot.waitUntil(lambda: not runner.busy)
    assert answers == [0, 3, 7]
