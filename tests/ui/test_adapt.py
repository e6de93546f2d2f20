"""Adapting a network in the window: from dropped folders to a method, pause, cancel, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from pytestqt.qtbot import QtBot

from adapted_files import QUICK, delta, written
from dffnets import finetune as ft
from dffnets.shipped import WeightsError
from toposcope.core.source import ChoiceNeeded, OpenOptions
from toposcope.core.source.options import Choice
from toposcope.core.stack import ArraySource, FocalStack, Part
from toposcope.core.tuning import Labels, TuneOptions, TuneSettings
from toposcope.ui import theme
from toposcope.ui.controllers.adapting import Adapting
from toposcope.ui.main_window import MainWindow
from window_fakes import Make, make_stack


@pytest.fixture
def make(make: Make) -> Make:
    """Give a function that shows a window which adapts by ``settings``."""

    def made(settings: TuneSettings = QUICK, **functions: Any) -> MainWindow:
        window = make(**functions)
        window.session.set(adapt=replace(window.session.state.adapt, settings=settings))
        return window

    return made


def drop(window: MainWindow, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    left = Qt.MouseButton.LeftButton
    event = QDropEvent(QPointF(20, 20), Qt.DropAction.CopyAction, data, left, Qt.KeyboardModifier.NoModifier)
    window.adapt.dropEvent(event)


def ready(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until it is known of all stacks whether they can be read."""
    qtbot.waitUntil(lambda: all(one.facts or one.problem for one in window.session.state.adapt.stacks), timeout=20_000)


def until(qtbot: QtBot, done: Callable[[], bool], seconds: int = 120) -> None:
    qtbot.waitUntil(done, timeout=1000 * seconds)


@pytest.mark.usefixtures("any_gain")
def test_from_dropped_folders_to_a_method(qtbot: QtBot, make: Make, stacks: list[Path]) -> None:
    window = make()
    state = lambda: window.session.state.adapt  # noqa: E731
    window.actions_by_name["adapt"].trigger()
    assert window.docks["adapt"].isVisible()  # without an open stack
    drop(window, *stacks)
    ready(qtbot, window)
    assert [one.facts for one in state().stacks] == ["7 × 96 × 96"] * 2
    view = resolve_view(window)
    assert view.can_start
    assert view.can_look

    # a look at the labels before any time is spent: labels and the network, side by side
    window.adapt._look.click()
    until(qtbot, lambda: all(one.sure is not None for one in state().stacks) and not state().looking)
    until(qtbot, lambda: window.adapt.picture_shown() == (True, True))
    assert resolve_view(window).stacks[0].facts.endswith(" % sure")
    assert [tag.full for tag in window.adapt._canvas._names.values()] == ["Labels", "Base"]
    assert not window.adapt._pair.isVisible()  # there is nothing to choose from yet
    assert "below a confidence of 0.4" in resolve_view(window).caption
    seen = window.adapting._seen[state().stacks[0].source, "labels"]
    look, picture = seen.look, seen.pyramid.finest
    unsure = ~((look.confidence >= 0.4) & np.isfinite(look.depth))
    assert unsure.any()
    assert np.all(np.ptp(picture[unsure].astype(int), axis=1) == 0)  # the photograph, grey
    assert np.mean(np.ptp(picture[~unsure].astype(int), axis=1) > 0) > 0.95  # colours

    # what all weights would do is said before, not after
    assert resolve_view(window).why_not == ""
    window.adapting.edit(replace(state().settings, options=replace(state().settings.options, variant="full")))
    assert "All weights learn from 2 stacks: they easily learn these by heart" in resolve_view(window).why_not
    assert resolve_view(window).can_start
    window.adapting.edit(replace(state().settings, options=replace(state().settings.options, variant="bias")))

    # the mask follows the confidence, the labels are not made anew
    before = state().stacks[0].sure
    window.adapting.edit(replace(state().settings, options=replace(state().settings.options, confidence=0.8)))
    until(qtbot, lambda: state().stacks[0].sure != before and not state().looking)
    assert (state().stacks[0].sure or 0) < (before or 0)
    window.adapting.edit(replace(state().settings, options=replace(state().settings.options, confidence=0.4)))
    until(qtbot, lambda: state().stacks[0].sure == before and not state().looking)

    window.adapt._name.setText("")
    qtbot.keyClicks(window.adapt._name, "Zeiss 50x")
    window.actions_by_name["adapt_start"].trigger()
    assert state().phase == "running"
    assert not resolve_view(window).editable
    assert window.session.state.jobs["adapt"].title == "Adapting Zeiss 50x"
    until(qtbot, lambda: state().phase == "idle")
    assert state().outcome is not None
    assert state().outcome.key == "zeiss-50x", state().outcome
    assert [step for step, _ in window.adapt.curves.checks] == [0, 4]
    assert [step for step, _ in window.adapt.curves.losses] == [1, 2, 3, 4]
    assert window.adapt.curves._base.isVisible()
    assert state().pair == ("base", "adapted")
    until(qtbot, lambda: (state().stacks[0].source, "adapted") in window.adapting._seen)
    assert window.adapt.picture_shown() == (True, True)

    # it is a method among the others now
    box = window.method._method
    assert box.findText("Light network, Zeiss 50x") == box.count() - 1
    window.adapt._use.click()
    assert window.session.state.settings.method == "zeiss-50x"
    assert box.currentText() == "Light network, Zeiss 50x"
    window.open(stacks[1])
    until(qtbot, lambda: window.session.state.run is not None and window.session.state.run.reduction == 1)
    run = window.session.state.run
    assert run is not None
    assert "Light network, Zeiss 50x" in run.title
    assert run.result.provenance.method == "zeiss-50x"


def resolve_view(window: MainWindow) -> Any:
    from toposcope.ui.resolve import resolve

    return resolve(window.session.state, window.methods).adapt


def test_pause_go_on_and_cancel(qtbot: QtBot, make: Make, stacks: list[Path]) -> None:
    window = make(replace(QUICK, options=TuneOptions(steps=100_000, crop=64)))
    state = lambda: window.session.state.adapt  # noqa: E731
    window.adapting.add(stacks)
    ready(qtbot, window)
    window.adapting.start()
    until(qtbot, lambda: len(window.adapt.curves.losses) >= 3)
    assert state().seconds_left is not None
    assert "left, at most" in resolve_view(window).left
    window.actions_by_name["adapt_start"].trigger()
    assert state().phase == "paused"
    assert resolve_view(window).left == "paused"
    qtbot.wait(800)  # the step that was under way ends
    steps = len(window.adapting._lines)
    qtbot.wait(600)
    assert len(window.adapting._lines) == steps
    assert window.actions_by_name["adapt_start"].text() == "&Go on"
    window.actions_by_name["adapt_start"].trigger()
    until(qtbot, lambda: len(window.adapting._lines) > steps + 1)
    window.adapting.pause()  # a paused one can be cancelled, too
    began, lines = time.monotonic(), len(window.adapting._lines)
    window.actions_by_name["adapt_cancel"].trigger()
    assert state().phase in ("stopping", "idle")
    until(qtbot, lambda: state().phase == "idle", 20)
    assert len(window.adapting._lines) <= lines + 2
    assert time.monotonic() - began < 20
    (line,) = resolve_view(window).unfinished
    assert "stopped at step" in line.text
    assert "Nothing is lost" in line.text
    assert window.session.state.jobs == {}
    # the same name again is refused in a sentence
    window.adapting.start()
    assert state().outcome is not None
    assert "is unfinished. Go on with it, discard it" in state().outcome.text
    # and it goes on where it was
    step = state().unfinished[0].step
    window.adapting.go_on(line.key)
    until(qtbot, lambda: len(window.adapt.curves.losses) >= 1)
    assert window.adapt.curves.losses[0][0] == step + 1
    assert window.adapt.curves.checks[0][0] == 0  # the curve of before is there again
    window.adapting.cancel()
    until(qtbot, lambda: state().phase == "idle", 20)
    window._confirm = lambda question: False  # type: ignore[method-assign]
    window.adapting._confirm = lambda question: False
    window.adapting.discard(line.key)
    assert len(state().unfinished) == 1
    window.adapting._confirm = lambda question: True
    window.adapting.discard(line.key)
    assert state().unfinished == ()


def test_closing_the_window_stops_the_work_and_keeps_it(qtbot: QtBot, make: Make, stacks: list[Path]) -> None:
    window = make(replace(QUICK, options=TuneOptions(steps=100_000, crop=64)))
    window.adapting.add(stacks)
    ready(qtbot, window)
    window.adapting.start()
    until(qtbot, lambda: len(window.adapt.curves.losses) >= 2)
    window.adapting.pause()
    window.close()  # tests/conftest.py fails this test if a thread is left
    again = make()
    until(qtbot, lambda: again.session.state.message is not None, 20)
    assert again.session.state.message is not None
    assert "stopped at step" in again.session.state.message.text
    assert [offer.label for offer in again.session.state.message.offers] == ["Go on with it", "Discard …"]
    assert again.session.state.adapt.name == "my instrument 2"


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from PySide6.QtCore import QSettings, QTimer
from toposcope.core.tuning import TuneOptions, TuneSettings
from toposcope.ui.app import make_application
from toposcope.ui.main_window import MainWindow
from toposcope.ui.preferences import Preferences
app = make_application()
window = MainWindow(preferences=Preferences(QSettings(sys.argv[1], QSettings.Format.IniFormat)))
window.show()
settings = TuneSettings("light", options=TuneOptions(steps=100000, crop=64), align="none", device="cpu")
window.session.set(adapt=replace(window.session.state.adapt, settings=settings, name="Killed"))
window.adapting.add([Path(path) for path in sys.argv[2:]])
timer = QTimer(interval=50)
def tick():
    adapt = window.session.state.adapt
    if adapt.phase == "idle" and all(one.facts for one in adapt.stacks):
        window.adapting.start()
    if window.adapt.curves.losses:
        print(int(window.adapt.curves.losses[-1][0]), flush=True)
timer.timeout.connect(tick)
timer.start()
app.exec()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows knows no kill -9")
def test_a_killed_window_goes_on_when_it_is_opened_again(
    qtbot: QtBot, make: Make, stacks: list[Path], tmp_path: Path
) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "other.ini"), *map(str, stacks)]
    reached = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            reached = int(line)
            if reached >= 21:
                break
        process.send_signal(signal.SIGKILL)
    window = make()
    until(qtbot, lambda: window.session.state.message is not None, 20)
    message = window.session.state.message
    assert message is not None
    assert message.text.startswith("Adapting “Killed” stopped at step ")
    (found,) = window.session.state.adapt.unfinished
    assert 20 <= found.step <= reached + 30
    window._on_offer(message.offers[0])
    assert window.docks["adapt"].isVisible()
    until(qtbot, lambda: len(window.adapt.curves.losses) >= 1)
    assert window.adapt.curves.losses[0][0] == found.step + 1
    assert [step for step, _ in window.adapt.curves.checks][:2] == [0, 20]
    window.adapting.cancel()
    until(qtbot, lambda: window.session.state.adapt.phase == "idle", 20)


def test_networks_are_brought_in_renamed_exported_removed_and_brought_back(
    qtbot: QtBot, make: Make, tmp_path: Path
) -> None:
    window = make(open_stack=lambda path, options, report: make_stack())
    shared = delta(tmp_path / "From Jena.safetensors")
    drop(window, shared)
    box = window.method._method
    assert box.findText("Light network, From Jena") >= 0
    assert window.adapt.network() == "from-jena"
    window.adapting.rename("from-jena", "Jena")
    assert box.findText("Light network, Jena") >= 0
    assert window.undo.undoText() == "rename From Jena"
    window.undo.undo()
    assert box.findText("Light network, From Jena") >= 0
    window.undo.redo()
    window.adapting.export("from-jena", tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == shared.read_bytes()
    window.adapting.use("from-jena")
    assert window.session.state.settings.method == "from-jena"
    window.adapting.remove_network("from-jena")
    assert box.findText("Light network, Jena") < 0
    assert "was removed" in window.method._about.text()
    window.undo.undo()
    assert box.currentText() == "Light network, Jena"
    assert window.session.state.message is not None
    window.adapting.rename("from-jena", "a/b")
    assert "which file names may not have" in window.session.state.message.text
    wrong = delta(tmp_path / "other.safetensors", base="0" * 64)
    drop(window, wrong)
    assert "was adapted from other weights of Light network" in window.session.state.message.text
    assert len(window.session.state.adapt.networks) == 1


def test_what_cannot_be_read_or_teaches_nothing_is_told(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    window = make()
    state = lambda: window.session.state.adapt  # noqa: E731
    noise = np.random.default_rng(1).normal(128, 4, (7, 96, 96)).clip(0, 255).astype(np.uint8)
    flat = written(tmp_path / "flat", FocalStack.create(ArraySource(noise)))
    (tmp_path / "broken.tif").write_bytes(b"no TIFF at all")
    (tmp_path / "empty").mkdir()
    drop(window, flat, tmp_path / "broken.tif", tmp_path / "empty")
    ready(qtbot, window)
    lines = resolve_view(window).stacks
    assert [line.warns for line in lines] == [False, True, True]
    assert lines[1].facts == "cannot be read"
    assert "broken.tif" in lines[1].tip
    window.adapting.label()
    until(qtbot, lambda: state().stacks[0].sure is not None and not state().looking)
    assert resolve_view(window).stacks[0].facts.endswith("left out")
    assert resolve_view(window).caption.startswith("flat has sure labels for")  # its name, as it is
    assert not resolve_view(window).can_start
    assert "None of the stacks teaches anything" in resolve_view(window).why_not
    window.adapting.remove((1, 2))
    assert len(state().stacks) == 1
    window.adapting.remove((0,))
    assert "Give one stack or more" in resolve_view(window).why_not


def test_labels_are_told_of_the_stacks_that_they_are_of(
    qtbot: QtBot, make: Make, stacks: list[Path], tmp_path: Path
) -> None:
    window = make(replace(QUICK, options=TuneOptions(steps=100_000, crop=64)))
    state = lambda: window.session.state.adapt  # noqa: E731
    (tmp_path / "broken.tif").write_bytes(b"no TIFF at all")
    drop(window, tmp_path / "broken.tif", *stacks)
    ready(qtbot, window)
    assert resolve_view(window).why_not == "1 of 3 stacks is left out: see what is said of them."
    window.adapting.start()
    until(qtbot, lambda: len(window.adapt.curves.losses) >= 1)
    assert [one.sure is None for one in state().stacks] == [True, False, False]
    assert [one.unreadable for one in state().stacks] == [True, False, False]
    # what is dropped now is not lost without a word
    assert state().busy
    drop(window, tmp_path / "other")
    assert window.session.state.message is not None
    assert "Add others afterwards" in window.session.state.message.text
    assert len(state().stacks) == 3
    window.adapting.cancel()
    until(qtbot, lambda: state().phase == "idle", 20)
    (line,) = resolve_view(window).unfinished
    assert "(Light network, 2 stacks)" in line.text


def test_stacks_that_were_added_or_removed_come_back_by_undo(
    qtbot: QtBot, make: Make, stacks: list[Path], tmp_path: Path
) -> None:
    window = make(open_stack=lambda path, options, report: make_stack(path=Path(str(path))))
    names = lambda: [one.source.name for one in window.session.state.adapt.stacks]  # noqa: E731
    window.adapting.add([stacks[0], stacks[1], stacks[0]])
    assert names() == ["scan_0", "scan_1"]
    ready(qtbot, window)
    assert window.undo.undoText() == "add 2 stacks to learn from"
    window.adapt._list.setCurrentRow(0)
    window.adapt._button("trash").click()
    assert names() == ["scan_1"]
    assert window.undo.undoText() == "remove scan_0"
    window.undo.undo()
    assert names() == ["scan_0", "scan_1"]
    assert all(one.facts for one in window.session.state.adapt.stacks)
    window.undo.undo()
    assert names() == []
    window.undo.redo()
    window.undo.redo()
    assert names() == ["scan_1"]
    # two of the same name are told apart
    window.adapting.add([tmp_path / "monday" / "scan_1", tmp_path / "monday" / "scan_2"])
    assert [line.name for line in resolve_view(window).stacks] == [
        f"{stacks[1].parent.name} ▸ scan_1",
        "monday ▸ scan_1",
        "scan_2",
    ]


def test_progress_stays_in_sight_when_a_picture_appears_above_it(qtbot: QtBot, make: Make, stacks: list[Path]) -> None:
    window = make()
    window.adapting.add(stacks)
    ready(qtbot, window)
    stack = make_stack()
    window.session.set(opened=stack, stack=stack, automatic=False)  # with all panels around it
    window.resize(920, 640)
    window.show_adapt()
    adapt = window.session.state.adapt
    window.session.set(adapt=replace(adapt, phase="running"))
    qtbot.wait(300)
    assert not window.adapt._doing.visibleRegion().isEmpty()
    sure = tuple(replace(one, sure=0.5) for one in adapt.stacks)
    window.session.set(adapt=replace(adapt, phase="running", stacks=sure))
    assert window.adapt._canvas.isVisibleTo(window.adapt)
    qtbot.wait(300)
    assert not window.adapt._doing.visibleRegion().isEmpty()
    window.session.set(adapt=adapt)


def test_the_list_marks_only_the_stack_that_is_looked_at(qtbot: QtBot, make: Make, stacks: list[Path]) -> None:
    window = make()
    window.adapting.add(stacks)
    ready(qtbot, window)
    adapt = window.session.state.adapt
    one, other = adapt.stacks
    # both change at once: what is known of a stack, and which is looked at
    window.session.set(adapt=replace(adapt, chosen=1, stacks=(replace(one, sure=0.5), other)))
    assert [index.row() for index in window.adapt._list.selectedIndexes()] == [1]


def test_looking_can_be_stopped_and_goes_on_when_the_mask_is_moved(
    qtbot: QtBot, make: Make, stacks: list[Path]
) -> None:
    window = make()
    state = lambda: window.session.state.adapt  # noqa: E731
    window.adapting.add(stacks)
    ready(qtbot, window)
    window.adapt._look.click()
    assert len(state().labelling) == 2
    assert window.adapt._look.text().strip() == "Stop looking"
    window.adapt._look.click()
    until(qtbot, lambda: not state().looking, 20)
    assert state().labelling == ()
    assert state().stacks[1].sure is None
    assert window.adapt._look.text().strip() == "Look at the labels"
    assert window.adapt._look.isEnabled()
    # the mask is moved before all labels are made: they are made all the same
    window.adapt._look.click()
    until(qtbot, lambda: state().stacks[0].sure is not None)
    window.adapting.edit(replace(state().settings, options=replace(state().settings.options, confidence=0.5)))
    until(qtbot, lambda: state().stacks[1].sure is not None and not state().labelling)
    # a picture of one stack that is being made is no reason not to look at the others
    window.session.set(adapt=replace(state(), looking="scan_0: looking through the network …"))
    assert not resolve_view(window).can_look  # there are no others
    window.session.set(adapt=replace(state(), stacks=(state().stacks[0], replace(state().stacks[1], sure=None))))
    assert resolve_view(window).can_look
    # a stack that is taken out meanwhile does not take the others with it
    window.adapting.edit(replace(state().settings, align="auto"))
    assert [one.sure for one in state().stacks] == [None, None]
    until(qtbot, window.adapt._look.isEnabled, 20)
    window.adapt._look.click()
    assert len(state().labelling) == 2
    window.adapting.remove((0,))
    until(qtbot, lambda: state().stacks[0].sure is not None and not state().labelling)
    assert not window.adapt._look.text().strip().startswith("Stop")


def test_a_picture_is_made_again_where_its_labels_have_moved_meanwhile(
    qtbot: QtBot, make: Make, stacks: list[Path]
) -> None:
    asked: list[Path] = []

    def preview(labels: Labels, *others: Any) -> np.ndarray:
        asked.append(labels.folder)
        if len(asked) == 1:  # as if an adaptation had begun while the network was loaded
            raise FileNotFoundError(labels.folder / "frames.npy")
        return labels.depth()

    window = make(adapting=Adapting(preview=preview))
    window.adapting.add(stacks[:1])
    ready(qtbot, window)
    window.adapting.label()
    until(qtbot, lambda: window.adapt.picture_shown() == (True, True))
    assert window.session.state.message is None
    assert len(asked) == 2


@pytest.mark.usefixtures("any_gain")
def test_a_picture_is_made_again_where_the_adaptation_ends_meanwhile(
    qtbot: QtBot, make: Make, stacks: list[Path], tmp_path: Path
) -> None:
    asked: list[Path] = []

    def preview(labels: Labels, base: str, weights: Path | None, device: str, report: object) -> Any:
        if weights is not None:
            asked.append(weights)
            if len(asked) == 1:  # as if its best state so far had been read, whose folder is gone by now
                window.adapting._through = tmp_path / "best.safetensors"
                raise WeightsError("best.safetensors is missing.")
        return labels.depth()

    window = make(adapting=Adapting(preview=preview))
    window.adapting.add(stacks)
    ready(qtbot, window)
    window.adapting.label()
    until(qtbot, lambda: all(one.sure is not None for one in window.session.state.adapt.stacks))
    window.adapting.start()
    until(qtbot, lambda: window.session.state.adapt.phase == "idle")
    source = window.session.state.adapt.stacks[0].source
    until(qtbot, lambda: (source, "adapted") in window.adapting._seen, 30)
    assert len(asked) == 2
    message = window.session.state.message
    assert message is None or message.level == "info"


def test_a_file_with_several_stacks_asks_which(qtbot: QtBot, make: Make) -> None:
    choice = Choice("channel", "Channel", ("DAPI", "GFP"))
    opened: list[int | None] = []

    def open_stack(path: Path, options: OpenOptions, report: object) -> FocalStack:
        opened.append(options.channel)
        if options.channel is None:
            raise ChoiceNeeded("two.tif holds 2 channels.", (choice,))
        return make_stack(path=Path(path))

    window = make(open_stack=open_stack)
    window.adapting._ask = lambda text, choices, start, looker: {"channel": 1}
    window.adapting.add([Path("/data/two.tif")])
    ready(qtbot, window)
    (entry,) = window.session.state.adapt.stacks
    assert opened == [None, 1]
    assert entry.source.reading.channel == 1
    assert entry.facts == "5 × 64 × 48"
    window.adapting._ask = lambda text, choices, start, looker: None
    window.adapting.add([Path("/data/three.tif")])
    ready(qtbot, window)
    assert window.session.state.adapt.stacks[1].problem == "two.tif holds 2 channels."
    # the open stack is taken as it was opened, and only once
    assert not window.actions_by_name["adapt_open_stack"].isEnabled()
    part = Part("channel", "Channel", ("DAPI", "GFP"), 1)
    stack = make_stack(path=Path("/data/four.tif"), parts=(part,))
    window.session.set(opened=stack, stack=stack)
    window.actions_by_name["adapt_open_stack"].trigger()
    ready(qtbot, window)
    assert window.session.state.adapt.stacks[2].source.reading.channel == 1
    assert not window.actions_by_name["adapt_open_stack"].isEnabled()


def test_a_failure_is_told_and_leaves_the_window_usable(
    qtbot: QtBot, make: Make, stacks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ft, "LEAST_GAIN", 1.0)
    window = make()
    state = lambda: window.session.state.adapt  # noqa: E731
    window.adapting.add(stacks)
    ready(qtbot, window)
    window.adapting.start()
    until(qtbot, lambda: state().phase == "idle")
    assert state().outcome is not None
    assert state().outcome.level == "warning"
    assert "The base stays selected" in state().outcome.text
    assert window.adapt._outcome.grab().toImage().pixelColor(1, 10).name() == theme.colours().warning
    assert state().outcome.key == ""
    assert "there is no After to show" in resolve_view(window).caption  # though some state was a little better
    assert window.session.state.settings.method == "default"
    # a name that is not possible
    window.adapting.rename_result("a:b")
    window.adapting.start()
    assert state().phase == "idle"
    assert "which file names may not have" in state().outcome.text
    # labels and network at odds: refused by the engine in a sentence
    monkeypatch.setattr("toposcope.core.tuning.AT_ODDS", 1.1)
    window.adapting.rename_result("odd")
    window.adapting.start()
    until(qtbot, lambda: state().phase == "idle" and state().outcome is not None)
    assert "one of them is wrong about this instrument" in state().outcome.text
    assert state().unfinished == ()
    assert resolve_view(window).can_start


def test_escape_stops_an_adaptation_only_when_nothing_else_runs(qtbot: QtBot, make: Make, stacks: list[Path]) -> None:
    window = make(replace(QUICK, options=TuneOptions(steps=100_000, crop=64)))
    window.adapting.add(stacks)
    ready(qtbot, window)
    window.adapting.start()
    until(qtbot, lambda: len(window.adapt.curves.losses) >= 1)
    from toposcope.core.jobs import Progress
    from toposcope.ui.session import Job

    window.session.set_job("depth", Job("Depth", Progress(0.5)))
    window._on_cancel()
    assert window.session.state.adapt.phase == "running"
    window.session.set_job("depth", None)
    window._on_cancel()
    until(qtbot, lambda: window.session.state.adapt.phase == "idle", 20)
