"""The batch window: stacks found, done in the background, stopped, gone on with, and opened."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QTableWidgetSelectionRange
from pytestqt.qtbot import QtBot

from command_runs import write_stack
from scenes import tilted_plane
from toposcope.core.batch import BatchItem, BatchRow
from toposcope.core.estimate import METHODS, EstimateSettings
from toposcope.core.export import FORMATS, read_result
from toposcope.core.jobs import Report
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.source.finding import Source
from toposcope.core.stack import FocalStack
from toposcope.ui.batch_state import BatchState, cells, reading_words
from toposcope.ui.controllers.batch import BatchController, WhenClosed
from toposcope.ui.session import Session
from toposcope.ui.views.batch_view import BatchDialog
from window_fakes import Make, SlowEstimate, make_result


@dataclass
class Quick:
    """An estimation in no time, and the stacks that it was asked for."""

    stacks: list[FocalStack] = field(default_factory=list)

    def __call__(self, stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
        assert not settings.keep_volume
        self.stacks.append(stack)
        return make_result(stack, settings)


@dataclass
class Window:
    """A batch window with its controller, and what it asked for."""

    dialog: BatchDialog
    control: BatchController
    session: Session
    estimate: Any
    answer: WhenClosed = "stay"
    opened: list[Any] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)

    def add(self, qtbot: QtBot, *paths: Path) -> None:
        self.control.add(list(paths))
        qtbot.waitUntil(lambda: not self.control.state.looking, timeout=10_000)

    def run(self, qtbot: QtBot) -> list[str]:
        self.dialog._start.click()
        qtbot.waitUntil(lambda: not self.control.state.busy, timeout=20_000)
        return self.states()

    def states(self) -> list[str]:
        return [row.state for row in self.control.state.rows]

    def choose(self, place: int) -> None:
        # selectRow asks which keys are held down, as those of a test before may seem to be
        self.dialog.table.setRangeSelected(QTableWidgetSelectionRange(place, 0, place, 4), True)

    def text(self, place: int, column: int) -> str:
        item = self.dialog.table.item(place, column)
        assert item is not None
        return item.text().strip()


@pytest.fixture
def stacks(tmp_path: Path) -> list[Path]:
    scene = tilted_plane(n=4, size=32)
    (tmp_path / "in").mkdir()
    return [write_stack(scene, tmp_path / "in" / f"scan_{k}") for k in (1, 2, 3)]


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    session, estimate = Session(), Quick()
    dialog = BatchDialog(tuple(FORMATS.values()))
    qtbot.addWidget(dialog)
    made: Window
    control = BatchController(session, dialog, METHODS, lambda *given: made.estimate(*given), lambda: made.answer)
    made = Window(dialog, control, session, estimate)
    control.openRequested.connect(made.opened.append)
    control.copyRequested.connect(made.copied.append)
    dialog.show()
    yield made
    control.shutdown()


def test_empty_window_says_what_to_do(window: Window) -> None:
    assert window.dialog._count.text() == "No stacks yet"
    assert not window.dialog._start.isEnabled()
    assert window.dialog._start.toolTip() == "Add stacks first"
    assert not window.dialog._shared.isEnabled()


def test_stacks_of_a_folder_are_done_and_opened(
    qtbot: QtBot, window: Window, stacks: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "in" / "overview.jpg").write_bytes(b"")
    window.add(qtbot, tmp_path / "in")
    state = window.control.state
    assert [row.item.name for row in state.rows] == ["scan_1", "scan_2", "scan_3"]
    assert state.folder == str(tmp_path / "in-depth")
    assert state.message is not None
    assert "overview.jpg" in state.message.text
    window.control._on_session(window.session.state, replace(window.session.state))
    item = next(
        window.dialog._list.item(k)
        for k in range(window.dialog._list.count())
        if window.dialog._list.item(k).data(Qt.ItemDataRole.UserRole) == "stl"
    )
    item.setCheckState(Qt.CheckState.Checked)
    assert window.run(qtbot) == ["done"] * 3
    out = tmp_path / "in-depth"
    assert {path.name for path in (out / "scan_2").iterdir()} >= {"depth.tif", "result.json", "surface.stl"}
    rows = list(csv.DictReader((out / "batch.csv").read_text("utf-8").splitlines()))
    assert [row["state"] for row in rows] == ["done"] * 3
    assert window.text(0, 1) == "done"
    assert window.text(0, 4).endswith(" µm")
    assert window.dialog._doing.text() == f"3 done. The table batch.csv is in {out}."
    assert window.session.state.message is not None
    assert window.session.state.message.text.startswith("The batch has ended: 3 done.")
    window.dialog.table.cellDoubleClicked.emit(1, 0)
    assert window.opened == [out / "scan_2"]
    assert window.run(qtbot) == ["up to date"] * 3
    window.dialog._anew.click()
    assert window.run(qtbot) == ["done"] * 3
    assert len(window.estimate.stacks) == 6


def test_what_failed_can_be_read(qtbot: QtBot, window: Window, stacks: list[Path]) -> None:
    (stacks[1] / "frame2.png").write_bytes(b"no picture")
    window.add(qtbot, *stacks)
    assert window.run(qtbot) == ["done", "failed", "done"]
    assert window.text(1, 4).startswith("frame2.png")
    assert window.dialog._only_failed.isVisible()
    window.dialog._only_failed.click()
    assert [window.dialog.table.isRowHidden(k) for k in range(3)] == [True, False, True]
    window.choose(1)
    assert window.dialog._problem.isVisible()
    assert window.dialog._problem.text().startswith("scan_2: frame2.png")
    window.dialog._skip.click()
    assert window.run(qtbot) == ["up to date", "done", "up to date"]
    assert not window.dialog._only_failed.isVisible()
    assert not window.dialog.table.isRowHidden(0)


def test_stopping_keeps_what_is_done(qtbot: QtBot, window: Window, stacks: list[Path]) -> None:
    slow, quick = SlowEstimate(), window.estimate

    def second_is_slow(stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
        which = slow if stack.name == "scan_2" else quick
        result: DepthResult = which(stack, settings, report)
        return result

    window.estimate = second_is_slow
    window.add(qtbot, *stacks)
    window.dialog._start.click()
    qtbot.waitUntil(lambda: window.control.state.index == 1, timeout=10_000)
    assert window.states() == ["done", "running", "waiting"]
    assert window.text(1, 1).startswith("running ")
    assert "2 of 3: scan_2, " in window.dialog._doing.text()
    assert "batch" in window.session.state.jobs
    assert not window.dialog._folder.isEnabled()
    window.control.add([stacks[0]])
    assert window.control.state.message is not None
    window.dialog._cancel.click()
    qtbot.waitUntil(lambda: not window.control.state.busy, timeout=10_000)
    assert window.states() == ["done", "waiting", "waiting"]
    assert window.dialog._doing.text() == "Stopped; 1 of 3 are done. Start goes on with the rest."
    assert "batch" not in window.session.state.jobs
    slow.released = True
    assert window.run(qtbot) == ["up to date", "done", "done"]


def test_list_takes_each_stack_once_and_gives_it_back(
    qtbot: QtBot, window: Window, stacks: list[Path], tmp_path: Path
) -> None:
    window.control.add([tmp_path / "in"])
    window.control.add([stacks[0]])  # while the folder is still looked into
    qtbot.waitUntil(lambda: not window.control.state.looking, timeout=10_000)
    assert len(window.control.state.rows) == 3
    window.choose(1)
    window.dialog.remove_chosen()
    assert [row.item.name for row in window.control.state.rows] == ["scan_1", "scan_3"]
    assert window.dialog.table.rowCount() == 2
    window.add(qtbot, tmp_path / "nowhere")
    assert window.run(qtbot) == ["done", "done", "failed"]


def test_positions_of_a_file_are_rows(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    path = tmp_path / "plate.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name in ("left", "right"):
            frames = np.zeros((3, 16, 16), np.uint8)
            writer.write(frames, photometric="minisblack", metadata={"axes": "ZYX", "Name": name})
    window.add(qtbot, path)
    assert [row.item.name for row in window.control.state.rows] == ["plate_left", "plate_right"]
    window.dialog._copy.click()
    assert shlex.split(window.copied[0])[2:4] == [str(path), "-o"]
    assert window.run(qtbot) == ["done", "done"]
    window.control.remove([0])
    window.dialog._copy.click()
    assert len(window.copied) == 1
    assert window.control.state.message is not None
    assert "some are not here" in window.control.state.message.text


def test_folders_are_dropped(qtbot: QtBot, window: Window, stacks: list[Path]) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in stacks[:2]])
    event = QDropEvent(
        QPointF(30, 30),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dialog.dropEvent(event)
    qtbot.waitUntil(lambda: len(window.control.state.rows) == 2, timeout=10_000)


def test_nothing_found_is_said(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    window.add(qtbot, tmp_path / "empty")
    assert window.control.state.message is not None
    assert window.control.state.message.level == "warning"
    assert not window.control.state.rows


def test_results_among_the_stacks_are_refused(qtbot: QtBot, window: Window, stacks: list[Path], tmp_path: Path) -> None:
    window.add(qtbot, tmp_path / "in")
    window.dialog.folderEdited.emit(str(tmp_path / "in" / "results"))
    assert window.run(qtbot) == ["waiting"] * 3
    assert window.control.state.message is not None
    assert "would lie in" in window.control.state.message.text
    assert not window.estimate.stacks


def test_calibration_of_the_window_holds_for_all_if_wished(
    qtbot: QtBot, window: Window, stacks: list[Path], tmp_path: Path
) -> None:
    for stack in stacks[1:]:
        (stack / "stack.json").unlink()
    stack = open_stack(stacks[0])
    window.session.set(opened=stack, stack=stack)
    assert window.control.state.calibration == "step 2 µm, pixel 0.5 µm, microscope"
    window.add(qtbot, *stacks)
    window.run(qtbot)
    assert [stack.unit for stack in window.estimate.stacks] == ["um", "index", "index"]
    window.estimate.stacks.clear()
    window.dialog._shared.click()
    assert window.run(qtbot) == ["done"] * 3
    assert [stack.unit for stack in window.estimate.stacks] == ["um"] * 3
    result = read_result(tmp_path / "in-depth" / "scan_3")
    assert result.pixel_um is not None
    assert result.pixel_um.value == 0.5
    window.session.set(opened=None, stack=None)
    assert not window.control.state.shared


def test_method_is_that_of_the_window(qtbot: QtBot, window: Window, stacks: list[Path], tmp_path: Path) -> None:
    settings = EstimateSettings("sml", METHODS["sml"].checked({"window": 5}), align="none")
    window.session.set(settings=settings)
    assert window.dialog._method.text() == ", ".join([METHODS["sml"].title, "window 5", "not aligned"])
    window.add(qtbot, tmp_path / "in")
    window.dialog._copy.click()
    out = tmp_path / "in-depth"
    wanted = ["toposcope", "batch", str(tmp_path / "in"), "-o", str(out), "--method", "sml", "--set", "window=5"]
    assert shlex.split(window.copied[0]) == [*wanted, "--align", "none"]
    window.control.remove([0])
    window.dialog._copy.click()
    assert shlex.split(window.copied[1])[2:4] == [str(stacks[1]), str(stacks[2])]


def test_uneven_positions_cannot_be_copied_and_that_is_said(qtbot: QtBot, window: Window, stacks: list[Path]) -> None:
    facts = json.loads((stacks[0] / "stack.json").read_text())
    (stacks[0] / "stack.json").write_text(json.dumps(facts | {"positions": [0, 1, 3, 4]}))
    stack = open_stack(stacks[0])
    window.session.set(opened=stack, stack=stack)
    window.add(qtbot, *stacks)
    window.dialog._shared.click()
    window.dialog._copy.click()
    assert not window.copied
    assert window.control.state.message is not None
    assert "one by one" in window.control.state.message.text


@pytest.mark.parametrize("answer", ["go on", "stop", "stay"])
def test_closing_asks_while_a_batch_runs(qtbot: QtBot, window: Window, stacks: list[Path], answer: WhenClosed) -> None:
    window.estimate, window.answer = SlowEstimate(), answer
    window.add(qtbot, *stacks)
    window.dialog._start.click()
    qtbot.waitUntil(lambda: window.control.state.index == 0, timeout=10_000)
    window.dialog.reject()
    assert window.dialog.isVisible() == (answer == "stay")
    assert window.control.state.phase == ("stopping" if answer == "stop" else "running")
    window.estimate.released = True
    qtbot.waitUntil(lambda: not window.control.state.busy, timeout=10_000)
    window.dialog.show()
    window.dialog.reject()
    assert not window.dialog.isVisible()


def test_many_rows_with_long_names_are_shown_quickly(window: Window) -> None:
    """A row that did not change is not touched."""
    name = "position 7 of the wafer after the second polish " * 3
    rows = tuple(BatchRow(BatchItem(Source((Path(f"/data/{name}{k}"),)), f"{name}{k}", Path())) for k in range(200))
    state = BatchState(rows=rows, phase="running", index=3, share=0.25)
    window.dialog.set_state(state)
    assert window.dialog.table.rowCount() == 200
    touched: list[int] = []
    fill = window.dialog._fill
    window.dialog._fill = lambda place, *given: (touched.append(place), fill(place, *given))[1]  # type: ignore[method-assign,assignment]
    window.dialog.set_state(replace(state, index=4, share=0.5))
    assert touched == [3, 4]


def test_words_of_a_row() -> None:
    item = BatchItem(Source((Path("/data/scan"),)), "scan", Path())
    assert cells(BatchRow(item), 0.0) == ("scan", "", "", "", "")
    assert cells(BatchRow(item, "running"), 0.34)[1] == "running 34 %"
    assert cells(BatchRow(item, "failed", None, "it is cut short."), 0.0)[4] == "it is cut short."
    assert reading_words(OpenOptions(z_step=-2.5, unit="um")) == "step 2.5 µm, downwards"
    assert reading_words(OpenOptions()) == ""


# -- in the main window ----------------------------------------------------------------------------------------------


def test_batch_of_the_main_window(
    qtbot: QtBot, make: Make, stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowEstimate()
    window = make(estimate=slow)
    window.actions_by_name["batch"].trigger()
    assert window.batch is not None
    control = window.batch
    control.add(stacks)
    qtbot.waitUntil(lambda: len(control.state.rows) == 3, timeout=10_000)
    window.batch_dialog._start.click()
    qtbot.waitUntil(lambda: control.state.index == 0, timeout=10_000)
    asked: list[str] = []
    monkeypatch.setattr(window, "_confirm", lambda question: bool(asked.append(question)))
    window.close()
    assert asked
    assert window.isVisible()
    window.set_theme("light")
    assert window.status._job.toolTip().startswith("Batch: 1 of 3: scan_1")
    window.status.cancelRequested.emit()
    qtbot.waitUntil(lambda: not control.state.busy, timeout=10_000)
    slow.released = True
    window.batch_dialog._start.click()
    qtbot.waitUntil(lambda: control.state.rows[2].state == "done", timeout=20_000)
    qtbot.waitUntil(lambda: not control.state.busy, timeout=10_000)
    window.batch_dialog.table.cellDoubleClicked.emit(2, 0)
    qtbot.waitUntil(lambda: window.session.state.stored is not None, timeout=10_000)
    assert window.show_batch() is control
    assert window.close()


def test_command_line_of_the_open_stack_is_copied(qtbot: QtBot, make: Make, stacks: list[Path], tmp_path: Path) -> None:
    window = make(estimate=SlowEstimate(released=True))
    action = window.actions_by_name["copy_command"]
    assert not action.isEnabled()
    bare = tmp_path / "bare"
    shutil.copytree(stacks[0], bare)
    (bare / "stack.json").unlink()
    window.open(bare)
    qtbot.waitUntil(lambda: window.session.state.stack is not None and not window.session.state.jobs, timeout=10_000)
    assert action.isEnabled()
    window.session.set(skipped=frozenset({1}))
    action.trigger()
    clipboard = QGuiApplication.clipboard().text()
    assert shlex.split(clipboard) == [
        "toposcope",
        "depth",
        str(bare),
        "-o",
        str(tmp_path / "bare-depth"),
        "--skip",
        "frame1.png",
    ]
