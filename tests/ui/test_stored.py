"""Stored results in the window: opened by themselves, and beside what is open; what they lack says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PySide6.QtWidgets import QFileDialog, QPushButton
from pytestqt.qtbot import QtBot

from toposcope.core.estimate import EstimateSettings
from toposcope.core.export import write_result
from toposcope.core.jobs import Report
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import FocalStack
from toposcope.ui.main_window import MainWindow
from toposcope.ui.views import curve_view, film_strip
from window_fakes import FAKES, Make, make_result, make_stack

SETTINGS = EstimateSettings(keep_volume=False)


@pytest.fixture
def make(make: Make) -> Make:
    def opened(path: Path, options: OpenOptions, report: Report) -> FocalStack:
        return make_stack() if path.name == "scan" else open_stack(path, options, report)

    return lambda: make(**{**FAKES, "open_stack": opened})


def stored(folder: Path, stack: FocalStack | None = None, higher: float = 0.0) -> Path:
    """Write the result of a stack called scan that lies beside ``folder``."""
    result = make_result(stack or make_stack(), SETTINGS)
    made = replace(result.provenance, source=str(folder.parent / "scan"))
    write_result(replace(result, depth=result.depth + np.float32(higher), provenance=made), folder)
    return folder


def shown(window: MainWindow) -> bool:
    state = window.session.state
    return state.run is not None and not state.jobs and window.picture.canvas.picture("left") is not None


@pytest.mark.parametrize("name", ["", "result.json"])
def test_a_stored_result_is_shown_with_what_it_has(qtbot: QtBot, make: Make, tmp_path: Path, name: str) -> None:
    folder = stored(tmp_path / "scan-depth")
    window = make()
    window.open(folder / name)
    qtbot.waitUntil(lambda: shown(window))
    state, acts = window.session.state, window.actions_by_name
    assert state.run is not None
    assert window.windowTitle() == "scan-depth – Toposcope"
    assert window.preferences.recent == (folder,)
    assert_allclose(state.run.result.depth, make_result(make_stack()).depth)
    modes = [mode for mode, button in window.picture._modes.items() if button.isEnabled()]
    assert modes == ["all_in_focus", "depth", "confidence", "compare", "difference"]
    for mode in ("all_in_focus", "confidence", "compare", "depth", "difference"):
        acts[f"mode_{mode}"].trigger()
        qtbot.waitUntil(lambda: window.session.state.mode == mode)  # noqa: B023  waited for at once
        assert window.picture._page.isVisible() == (mode == "difference")  # which says how to have one
    assert "hold another one, or a height map, against it" in window.picture._page._text.text()
    # what was not kept says so; what the calibration was can be read, not changed
    window.pins.add(10, 20)
    window.pins.add(10, 60)
    assert window.curves._empty.text() == curve_view.STORED_TEXT
    assert window.curves._empty.isVisible()
    assert [row.heading.text() for row in window.curves._rows] == ["Depth 13.175 µm", "Depth 19.524 µm"]
    assert window.curves._rows[1].details.text().endswith("row 10, column 60 · +6.349 µm against pin 1, 20 µm away")
    assert all(row.isVisible() for row in window.curves._rows)
    assert window.strip._empty_text == film_strip.STORED_TEXT
    assert window.calibration._range.text() == "10 to 20 µm, step 2.5"
    assert window.calibration._pixel.value() == pytest.approx(0.5)
    assert not window.calibration.isEnabled()
    assert "12 % of the texture" in window.sweep.text()
    (where,) = [button for button in window.sweep.findChildren(QPushButton) if "Show where" in button.text()]
    assert not where.isEnabled()
    assert f"Made from: {tmp_path / 'scan'}" in window.method._facts.text()
    assert not window.method._outdated.isVisible()
    for wanted in ("run", "next_slice", "mode_slice", "mode_sweep", "mode_peaks", "run_other", "adapt_open_stack"):
        assert not acts[wanted].isEnabled(), wanted
    for wanted in ("export", "compare_heights", "compare_stored", "save_picture", "close_stack", "reopen"):
        assert acts[wanted].isEnabled(), wanted
    # without its stack there is nothing to offer; the next stack has all of its own again
    assert state.message is None
    window.open(tmp_path / "scan")
    qtbot.waitUntil(lambda: window.session.state.stored is None and shown(window))
    assert window.calibration.isEnabled()
    assert window.strip._empty_text == ""


def test_a_stored_result_is_exported_in_all_formats_but_curves(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    window = make()
    window.open(stored(tmp_path / "scan-depth"))
    qtbot.waitUntil(lambda: shown(window))
    panel = window.export_panel
    offered = [card.name for card in window.engine.formats if card.needs == "depth"]
    items = [panel._list.item(i) for i in range(panel._list.count())]
    assert len([item for item in items if not item.isHidden()]) == len(offered) < len(items)
    assert panel.folder() == tmp_path / "scan-depth-export"
    panel.exportRequested.emit(["ply", "depth"], panel.folder(), None)
    qtbot.waitUntil(lambda: (tmp_path / "scan-depth-export" / "depth.tif").exists() and not window.session.state.jobs)


def test_formats_that_need_curves_are_offered_where_there_are_some(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    window = make()
    window.open(tmp_path / "scan")
    qtbot.waitUntil(lambda: shown(window))
    items = [window.export_panel._list.item(i) for i in range(window.export_panel._list.count())]
    assert not any(item.isHidden() for item in items)
    run = window.session.state.run
    assert run is not None
    window.session.set(runs=(replace(run, result=replace(run.result, volume=None)),))
    assert len([item for item in items if item.isHidden()]) == len(
        [card for card in window.engine.formats if card.needs != "depth"]
    )


def test_its_stack_is_one_click_away_where_it_is_still_there(qtbot: QtBot, make: Make, tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "img_00.png").touch()
    window = make()
    window.open(stored(tmp_path / "scan-depth"))
    qtbot.waitUntil(lambda: shown(window))
    message = window.session.state.message
    assert message is not None
    assert not window._note_timer.isActive()  # an offer stays until it is answered
    (offer,) = message.offers
    window.message_bar.offerChosen.emit(offer)
    qtbot.waitUntil(lambda: window.session.state.stack is not None and shown(window))
    assert window.session.state.stored is None


def test_a_stored_result_beside_the_shown_one(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make()
    window.open(tmp_path / "scan")
    qtbot.waitUntil(lambda: shown(window))
    path = stored(tmp_path / "last-week", higher=1.5) / "result.json"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *arguments: (str(path), ""))
    window.actions_by_name["compare_stored"].trigger()
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2)
    qtbot.waitUntil(lambda: window.picture._statistics.isVisible())
    state = window.session.state
    assert (state.runs[1].title, state.mode) == ("2  last-week", "difference")
    assert "Mean −1.50 µm" in window.picture._statistics.text()
    # looked at by itself, it is not told to be out of date: no settings of the window made it
    window.session.set(shown_run=state.runs[1].number)
    assert not window.method._outdated.isVisible()
    # one of other frames is refused, with the reason
    path = stored(tmp_path / "other", make_stack(shape=(30, 40))) / "result.json"
    window.actions_by_name["compare_stored"].trigger()
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    assert "different sizes, 64 × 48 and 40 × 30 pixels" in message.text
    assert len(window.session.state.runs) == 2
