"""Projects in the window: saved, opened, kept without being saved, and what becomes of changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from toposcope.core.editing import CalibrationEdit
from toposcope.core.marks import Marks, Pin
from toposcope.core.project import Project, View, read_project, write_project
from toposcope.core.source import OpenOptions
from toposcope.core.surface import Area
from toposcope.errors import StackError
from toposcope.ui.controllers import opening, projects
from toposcope.ui.main_window import MainWindow
from window_fakes import FAKES, Make, make_stack


def show(make: Make, **functions: Any) -> MainWindow:
    """Return a window that asks nobody when it is closed with changes."""
    window = make(**FAKES | functions)
    window._ask_unsaved = lambda name: "discard"  # type: ignore[method-assign]
    return window


def full(window: MainWindow) -> bool:
    run = window.session.state.run
    return run is not None and run.reduction == 1 and not window.session.state.jobs


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Return a folder that the fake engine takes for a stack of five frames."""
    folder = tmp_path / "scan"
    folder.mkdir()
    return folder


def work_on(qtbot: QtBot, window: MainWindow, scan: Path) -> None:
    """Open a stack and do a little of everything on it."""
    window.open(scan)
    qtbot.waitUntil(lambda: full(window))
    window.pins.add(10, 20)
    window.pins.add(30, 40)
    window.measuring.add_line((5.0, 5.0), (20.0, 30.0))
    window.measuring.add_area(Area(2, 3, 40, 50))
    window.calibrating.set_step(4.0)
    window.strip.skipRequested.emit(4, True)
    window._set_settings(replace(window.session.state.settings, method="sml", options=None))
    window._set_colour_map("magma")
    window.session.set(mode="confidence")
    qtbot.waitUntil(lambda: full(window) and window.session.state.run.inputs == window.session.state.inputs)  # type: ignore[union-attr]


def save(qtbot: QtBot, window: MainWindow, path: Path) -> None:
    """Save the project and wait for it."""
    window.projects.save(path)
    qtbot.waitUntil(lambda: window.session.state.project == path)


def worked(window: MainWindow) -> tuple[Any, ...]:
    """Return what `work_on` did, as the window has it."""
    s = window.session.state
    return s.pins, s.marks, s.edit, s.skipped, s.settings.method, s.colour_map, s.mode


def test_a_saved_project_comes_back_as_it_was(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    assert window.windowTitle() == "work[*] – tiny – Toposcope"
    assert not window.isWindowModified()
    assert window.preferences.recent[0] == tmp_path / "work.toposcope"
    before = worked(window)
    assert before[3] == {4}
    window.close()

    calls: list[tuple[str, int]] = []

    def estimate(stack: Any, settings: Any, report: Any) -> Any:
        calls.append((settings.method, stack.n))
        return FAKES["estimate"](stack, settings, report)

    again = show(make, estimate=estimate)
    again.open(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: full(again))
    assert worked(again) == before
    assert {call for call in calls if call[1] > 2} == {("sml", 4)}, "computed with its own settings from the start"
    np.testing.assert_allclose(again.session.state.stack.positions.value, 10 + 4.0 * np.arange(5))  # type: ignore[union-attr]
    assert not again.isWindowModified()


def test_frames_left_out_of_a_turned_stack_come_back(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    window.open(scan)
    qtbot.waitUntil(lambda: full(window))
    window.calibrating.set_step(-2.0)
    window.strip.skipRequested.emit(0, True)
    left_out = window.session.state.stack.source.names[0]  # type: ignore[union-attr]
    save(qtbot, window, tmp_path / "work.toposcope")
    window.close_stack()
    window.open(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: full(window))
    state = window.session.state
    assert [state.stack.source.names[i] for i in state.skipped] == [left_out] == ["img_04.png"]  # type: ignore[union-attr]
    assert not window.isWindowModified()


def test_changes_are_marked_and_looking_about_is_none(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    window.session.set(mode="slice", slice_index=1, ranges={"depth": (10.0, 12.0)})
    assert not window.isWindowModified()
    window.pins.add(1, 1)
    assert window.isWindowModified()
    window.undo.undo()
    assert not window.isWindowModified()
    window.pins.add(2, 2)
    window.actions_by_name["save_project"].trigger()
    qtbot.waitUntil(lambda: not window.isWindowModified())
    assert [(pin.row, pin.column) for pin in read_project(tmp_path / "work.toposcope").pins][-1] == (2, 2)


@pytest.mark.parametrize(("answer", "leaves", "pins"), [("save", True, 3), ("discard", True, 2), ("stay", False, 2)])
def test_changes_are_asked_about_before_they_are_left(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, answer: str, leaves: bool, pins: int
) -> None:
    path = tmp_path / "work.toposcope"
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, path)
    asked: list[str] = []
    window._ask_unsaved = lambda name: asked.append(name) or answer  # type: ignore[method-assign,assignment,func-returns-value]
    window.pins.add(1, 1)
    window.close_stack()
    assert asked == ["work.toposcope"]
    assert (window.session.state.subject is None) == leaves
    assert len(read_project(path).pins) == pins
    window.session.set(project=None)  # nothing is asked where nothing was saved
    window.close()
    assert len(asked) == 1


def test_the_window_stays_open_when_it_is_asked_to(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    window.pins.add(1, 1)
    window._ask_unsaved = lambda name: "stay"  # type: ignore[method-assign]
    assert not window.close()
    assert window.isVisible()
    window._ask_unsaved = lambda name: "discard"  # type: ignore[method-assign]
    assert window.close()


def test_save_as_asks_for_a_name_and_gives_it_its_ending(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = show(make)
    assert not window.actions_by_name["save_project"].isEnabled()
    window.open(scan)
    qtbot.waitUntil(lambda: full(window))
    proposed: list[str] = []

    def answer(parent: Any, title: str, name: str, kinds: str) -> tuple[str, str]:
        proposed.append(name)
        return str(tmp_path / "my work v1.2"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    window.actions_by_name["save_project"].trigger()
    qtbot.waitUntil(lambda: (tmp_path / "my work v1.2.toposcope").exists())
    assert proposed == [str(tmp_path / "tiny.toposcope")]


def test_a_project_that_cannot_be_written_says_so(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    window.projects.save(tmp_path / "nowhere" / "work.toposcope")
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    assert "does not exist" in message.text
    assert [offer.action for offer in message.offers] == ["save_project_as"]
    assert window.session.state.project is None


def test_work_is_kept_without_being_saved(qtbot: QtBot, make: Make, scan: Path) -> None:
    window = show(make)
    assert not window.start_page._last.isVisible()
    work_on(qtbot, window, scan)
    before = worked(window)
    window.close()  # sooner than the timer would have kept it
    again = show(make)
    assert again.start_page._last.isVisible()
    assert again.start_page._last.text().startswith("Go on with tiny (")
    again.start_page._last.click()
    qtbot.waitUntil(lambda: full(again))
    assert worked(again) == before
    assert again.session.state.project is None


def test_a_kill_loses_only_the_last_seconds(qtbot: QtBot, make: Make, scan: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    window.projects._calm.setInterval(1)
    window.pins.add(7, 8)
    qtbot.waitUntil(lambda: (window.preferences.last_work or scan).is_file())
    last = window.preferences.last_work
    assert last is not None
    qtbot.waitUntil(lambda: read_project(last).pins == window.session.state.pins)


def test_the_next_stack_does_not_take_the_place_of_work_on_the_one_before(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path
) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    before = worked(window)
    (tmp_path / "other").mkdir()
    window.open(tmp_path / "other")
    qtbot.waitUntil(lambda: full(window) and not window.session.state.pins)
    window.open(scan)
    qtbot.waitUntil(lambda: full(window) and window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    expected = "2 pins, 1 line, 1 area, 1 frame left out, calibration."
    assert message.text == f"There was more here last time: {expected}"
    assert window.session.state.pins == ()
    window.message_bar.offerChosen.emit(message.offers[0])
    assert worked(window)[:6] == before[:6]
    qtbot.waitUntil(lambda: full(window))
    window.undo.undo()
    assert window.session.state.pins == ()
    assert window.session.state.edit == CalibrationEdit()


def test_kept_work_of_a_project_goes_on_as_that_project(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    window.pins.add(1, 1)
    window._ask_unsaved = lambda name: "discard"  # type: ignore[method-assign]
    window.close()
    again = show(make)
    assert again.start_page._last.text().startswith("Go on with work (")
    again.open_last()
    qtbot.waitUntil(lambda: full(again))
    assert again.session.state.project == tmp_path / "work.toposcope"
    assert again.isWindowModified()
    assert len(again.session.state.pins) == 3


def test_kept_work_of_a_project_that_is_damaged_comes_back(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path
) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    window.pins.add(1, 1)
    window.close()
    (tmp_path / "work.toposcope").write_text("{")
    again = show(make)
    again.open_last()
    qtbot.waitUntil(lambda: full(again))
    assert len(again.session.state.pins) == 3
    assert again.isWindowModified()


def test_another_stack_is_set_up_like_a_project(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    before = worked(window)
    (tmp_path / "other").mkdir()
    window.open(tmp_path / "other")
    qtbot.waitUntil(lambda: full(window) and window.session.state.origin.paths == (tmp_path / "other",))  # type: ignore[union-attr]
    window._set_settings(replace(window.session.state.settings, method="default", options=None))
    window.likeness.take(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: window.session.state.settings.method == "sml")
    state = window.session.state
    assert state.marks == before[1]
    assert state.pins == ()
    assert state.project is None
    np.testing.assert_allclose(np.diff(state.stack.positions.value), 4.0)  # type: ignore[union-attr]
    window.undo.undo()
    state = window.session.state
    assert (state.settings.method, state.marks, state.edit) == ("default", Marks(), CalibrationEdit())


def test_setting_up_like_a_turned_stack_leaves_the_same_frames_out(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path
) -> None:
    write_project(Project((scan,), edit=CalibrationEdit((8.0, 6.0, 4.0, 2.0, 0.0), "um")), tmp_path / "a.toposcope")
    window = show(make)
    window.open(scan)
    qtbot.waitUntil(lambda: full(window))
    window.strip.skipRequested.emit(0, True)
    window.likeness.take(tmp_path / "a.toposcope")
    qtbot.waitUntil(lambda: window.session.state.edit != CalibrationEdit())
    state = window.session.state
    assert [state.stack.source.names[i] for i in state.skipped] == ["img_00.png"]  # type: ignore[union-attr]
    assert state.skipped == {4}


def test_what_was_typed_stays_when_files_are_read_again(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    before, opened = worked(window), window.session.state.opened
    window.actions_by_name["reopen"].trigger()
    qtbot.waitUntil(lambda: window.session.state.opened is not opened and full(window))
    assert worked(window) == before
    assert not window.isWindowModified()
    assert not window.preferences.work_folder.exists(), "it goes on, so there is nothing to keep yet"


def test_a_file_of_that_name_is_not_replaced_unasked(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    (tmp_path / "work.toposcope").write_text("precious")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments: (str(tmp_path / "work"), ""))
    asked: list[str] = []
    window._confirm = lambda question: bool(asked.append(question))  # type: ignore[method-assign,func-returns-value]
    window.save_project_as()
    assert asked == ["work.toposcope is there already. Replace it?"]
    assert (tmp_path / "work.toposcope").read_text() == "precious"


def test_missing_frames_are_looked_for_where_the_user_says(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(Project((tmp_path / "gone",), method="sml"), tmp_path / "work.toposcope")
    opened: list[Path] = []

    def open_stack(path: Path, options: OpenOptions, report: Any) -> Any:
        opened.append(path)
        return make_stack()

    window = show(make, open_stack=open_stack)
    window.open(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    assert "gone is gone" in message.text.replace(str(tmp_path) + "/", "")
    assert opened == []
    (tmp_path / "moved").mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *arguments: str(tmp_path / "moved"))
    window.message_bar.offerChosen.emit(message.offers[0])
    qtbot.waitUntil(lambda: full(window))
    assert opened == [tmp_path / "moved"]
    assert window.session.state.settings.method == "sml"
    assert window.isWindowModified(), "saving it tells the new place"


def project_with(**changes: Any) -> Callable[[Path], Project]:
    return lambda scan: replace(Project((scan,)), **changes)


@pytest.mark.parametrize(
    ("project", "text"),
    [
        (project_with(method="mine"), "no method 'mine'"),
        (project_with(edit=CalibrationEdit((1.0, 2.0), "um")), "5 frames but 2 focus positions"),
        (project_with(left_out=("img_00.png", "img_01.png", "img_02.png")), "2 of 5 frames are left"),
    ],
)
def test_what_does_not_fit_is_told_and_the_rest_opens(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, project: Callable[[Path], Project], text: str
) -> None:
    made = replace(project(scan), pins=(Pin(1, 3, 4, 0), Pin(2, 900, 4, 1)))
    write_project(made, tmp_path / "work.toposcope")
    window = show(make)
    window.open(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: full(window))
    message = window.session.state.message
    assert message is not None
    assert message.level == "warning"
    assert text in message.text
    assert "pins of the project that lie outside" in message.text
    assert [pin.number for pin in window.session.state.pins] == [1]


def test_broken_frames_of_a_project_can_be_skipped(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    write_project(Project((scan,), OpenOptions(skip=("a.png",)), method="sml"), tmp_path / "work.toposcope")
    asked: list[OpenOptions] = []

    def open_stack(path: Path, options: OpenOptions, report: Any) -> Any:
        asked.append(options)
        if len(options.skip) < 2:
            raise StackError("one is broken")
        return make_stack()

    window = show(make, open_stack=open_stack)
    window.open(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    window.opening.skip_frame("b.png")
    qtbot.waitUntil(lambda: full(window))
    assert asked[-1].skip == ("a.png", "b.png")
    assert window.session.state.settings.method == "sml"


def test_a_stored_result_and_its_lines_are_a_project_too(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    from toposcope.core.export import write_result
    from window_fakes import make_result

    write_result(make_result(make_stack()), tmp_path / "scan-depth")

    window = make()
    window.open(tmp_path / "scan-depth")
    qtbot.waitUntil(lambda: full(window))
    window.measuring.add_line((5.0, 5.0), (20.0, 30.0))
    save(qtbot, window, tmp_path / "lines.toposcope")
    lines = window.session.state.marks
    window.close_stack()
    assert window.session.state.marks == Marks()
    window.open(tmp_path / "lines.toposcope")
    qtbot.waitUntil(lambda: full(window))
    assert window.session.state.stored is not None
    assert window.session.state.marks == lines


def test_saving_gives_the_next_stack_no_project(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, wanted = Event(), tmp_path / "work.toposcope"

    def slow(project: Project, path: Path) -> None:
        assert path != wanted or going.wait(20)
        write_project(project, path)

    window = show(make)
    work_on(qtbot, window, scan)
    (tmp_path / "other").mkdir()
    window.opening.open(tmp_path / "other")
    monkeypatch.setattr(projects, "write_project", slow)
    window.projects.save(wanted)
    qtbot.waitUntil(lambda: full(window) and not window.session.state.pins)
    going.set()
    qtbot.waitUntil(lambda: window.preferences.recent[:1] == (wanted,))
    assert window.session.state.project is None
    assert len(read_project(wanted).pins) == 2


def test_what_is_being_saved_is_saved_before_the_window_closes(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, tmp_path / "work.toposcope")
    window._ask_unsaved = lambda name: pytest.fail("it is saved")  # type: ignore[method-assign]
    window.pins.add(1, 1)
    started: list[Any] = []
    monkeypatch.setattr(window.projects.runner, "start", started.append)  # which does not come to it any more
    window.save_project()
    assert started
    assert window.close()
    assert len(read_project(tmp_path / "work.toposcope").pins) == 3


def test_unsaved_changes_are_offered_when_the_project_is_opened(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "work.toposcope"
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, path)
    window.pins.add(1, 1)
    window.projects._calm.setInterval(1)
    window.close()

    again = show(make)
    again.projects._calm.setInterval(1)
    seen = Event()

    def settings_of(project: Project) -> Any:
        assert seen.wait(20)
        return opening.settings_of(project)

    monkeypatch.setattr(projects, "settings_of", settings_of)  # a look that takes its time
    again.open(path)
    qtbot.waitUntil(lambda: full(again) and not again.projects._calm.isActive() and not again.projects.keeper.busy)
    kept = again.preferences.last_work
    assert kept is not None
    assert len(read_project(kept).pins) == 3, "stays while it is looked for"
    seen.set()
    qtbot.waitUntil(lambda: again.session.state.message is not None)
    message = again.session.state.message
    assert message is not None
    expected = "3 pins, 1 line, 1 area, 1 frame left out, calibration."
    assert message.text == f"Last time there were changes here that were not saved: {expected}"
    assert not again.isWindowModified()
    qtbot.waitUntil(lambda: not again.projects._calm.isActive() and not again.projects.keeper.busy)
    assert len(read_project(kept).pins) == 3, "stays while it is offered"
    again.message_bar.offerChosen.emit(message.offers[-1])
    assert len(again.session.state.pins) == 3
    assert again.session.state.project == path
    assert again.isWindowModified()
    again.undo.undo()
    assert len(again.session.state.pins) == 2
    assert not again.isWindowModified()


def test_a_project_as_it_was_saved_offers_nothing(qtbot: QtBot, make: Make, scan: Path, tmp_path: Path) -> None:
    path = tmp_path / "work.toposcope"
    window = show(make)
    work_on(qtbot, window, scan)
    save(qtbot, window, path)
    window.close_stack()
    window.open(path)
    qtbot.waitUntil(lambda: full(window) and not window.projects.looker.busy)
    assert window.session.state.message is None


@pytest.mark.parametrize("in_between", ["the same", "a project"])
def test_work_is_offered_when_the_same_stack_is_opened_once_more(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, in_between: str
) -> None:
    write_project(Project((scan,), pins=(Pin(1, 3, 4, 0),)), tmp_path / "work.toposcope")
    window = show(make)
    window.projects._calm.setInterval(1)
    work_on(qtbot, window, scan)
    before = worked(window)
    if in_between == "a project":
        window.open(tmp_path / "work.toposcope")
        qtbot.waitUntil(lambda: full(window) and len(window.session.state.pins) == 1)
        qtbot.waitUntil(lambda: not window.projects._calm.isActive() and not window.projects.keeper.busy)
    window.open(scan)
    qtbot.waitUntil(lambda: full(window) and window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    assert window.session.state.pins == ()
    window.message_bar.offerChosen.emit(message.offers[0])
    assert worked(window)[:6] == before[:6]
    assert window.session.state.project is None


def test_work_on_a_stored_result_is_offered_beside_its_stack(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path
) -> None:
    from toposcope.core.export import write_result
    from window_fakes import make_result

    write_result(make_result(replace(make_stack(), path=scan)), tmp_path / "scan-depth")
    window = make()
    window.open(tmp_path / "scan-depth")
    qtbot.waitUntil(lambda: full(window))
    window.measuring.add_line((5.0, 5.0), (20.0, 30.0))
    lines = window.session.state.marks
    window.close_stack()
    window.open(tmp_path / "scan-depth")
    qtbot.waitUntil(lambda: full(window) and not window.projects.looker.busy)
    message = window.session.state.message
    assert message is not None
    assert message.text.endswith("There was more here last time: 1 line.")
    assert message.offers[-1].action == "bring_back"
    window.message_bar.offerChosen.emit(message.offers[-1])
    assert window.session.state.marks == lines
    window.undo.undo()
    assert window.session.state.marks == Marks()


def test_two_projects_make_no_stack(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    window = show(make)
    window.open([tmp_path / "a.toposcope", tmp_path / "b.toposcope"])
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    assert message.text == "a.toposcope is a project, which is no frame of a stack. Open it alone."


@pytest.mark.parametrize("mode", ["compare", "difference"])
def test_a_project_of_two_results_shows_the_one_that_it_brings(
    qtbot: QtBot, make: Make, scan: Path, tmp_path: Path, mode: str
) -> None:
    write_project(Project((scan,), view=View(mode)), tmp_path / "work.toposcope")
    window = show(make)
    window.open(tmp_path / "work.toposcope")
    qtbot.waitUntil(lambda: full(window))
    assert window.session.state.mode == "depth"
