"""The picture that is shown, written to a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from toposcope.core.compare import COLOURS
from toposcope.core.pictures import VOID, colour_map, colour_table
from toposcope.ui.engine import Engine
from toposcope.ui.main_window import NUMBERS_FILTER, PICTURE_FILTER, MainWindow
from toposcope.ui.rendering import PEAK_LEGEND
from window_fakes import fake_curve, make_stack, private_preferences, quick_estimate

SHAPE = (300, 400)


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    engine = replace(
        Engine(),
        open_stack=lambda path, options, report: make_stack(shape=SHAPE),
        estimate=quick_estimate,
        curve_at=fake_curve,
        peak_counts=lambda volume, report: np.ones(SHAPE, dtype=np.uint8),
    )
    window = MainWindow(engine, private_preferences(tmp_path))
    qtbot.addWidget(window)
    with qtbot.waitExposed(window):
        window.show()
    window.open(Path("any"))
    qtbot.waitUntil(
        lambda: (
            window.session.state.run is not None
            and window.session.state.run.reduction == 1
            and not window.session.state.jobs
        )
    )
    yield window
    window.shutdown()


def _save(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, path: Path, kind: str = "") -> str:
    """Save under ``path`` and return the name that was proposed."""
    proposed: list[str] = []

    def choose(parent: object, title: str, name: str, kinds: str) -> tuple[str, str]:
        proposed.append(name)
        assert kinds == PICTURE_FILTER
        return str(path), kind

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    window.actions_by_name["save_picture"].trigger()
    qtbot.waitUntil(lambda: "picture" not in window.session.state.jobs)
    return proposed[0]


def test_depth_is_saved_pixel_by_pixel_with_colours_as_chosen(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window.session.set(mode="depth", colour_map="magma", ranges={"depth": (12.0, 18.0)})
    name = _save(window, qtbot, monkeypatch, tmp_path / "out.png")
    assert Path(name).name == "tiny-depth.png"
    assert window.preferences.folder == str(tmp_path)
    run = window.session.state.run
    assert run is not None
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    height, width = SHAPE
    assert picture.shape[0] > height
    assert picture.shape[1] > width  # the colour bar stands beside
    margin = 15
    map_part = picture[margin : margin + height, margin : margin + width]
    expected = colour_map(run.result.depth, "magma", 12.0, 18.0)
    upper = slice(0, height // 2)  # the scale bar lies in the lower left corner
    np.testing.assert_array_equal(map_part[upper], expected[upper])
    assert (map_part[height // 2 :] != expected[height // 2 :]).any()


def test_slice_is_saved_as_it_is(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window.session.set(mode="slice", slice_index=3)
    _save(window, qtbot, monkeypatch, tmp_path / "frame", "TIFF (*.tif *.tiff)")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frame.tif")), make_stack(shape=SHAPE).read(3))


@pytest.mark.parametrize("mode", ["all_in_focus", "confidence", "peaks", "sweep"])
def test_every_picture_can_be_saved(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    window.session.set(mode=mode)
    qtbot.waitUntil(lambda: not window.session.state.jobs)
    _save(window, qtbot, monkeypatch, tmp_path / "out.jpg")
    picture = np.asarray(Image.open(tmp_path / "out.jpg"))
    assert picture.shape[:2] >= SHAPE
    assert window.session.state.message is None


def test_classes_are_saved_with_their_legend(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window.session.set(mode="peaks")
    qtbot.waitUntil(lambda: not window.session.state.jobs)
    _save(window, qtbot, monkeypatch, tmp_path / "out.png")
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    beside = picture[:, 15 + SHAPE[1] + 5 :]
    one_peak = dict(PEAK_LEGEND)["One peak"]
    assert (beside == one_peak).all(axis=-1).sum() > 100


def _second_result(window: MainWindow, qtbot: QtBot) -> None:
    window.estimating.run_method("tenengrad")
    qtbot.waitUntil(lambda: len(window.session.state.runs) == 2 and not window.session.state.jobs)


def test_both_sides_are_saved_as_they_are_seen(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _second_result(window, qtbot)
    window.session.set(mode="compare", compared=("all_in_focus", "depth"), split=0.25)
    name = _save(window, qtbot, monkeypatch, tmp_path / "out.png")
    assert Path(name).name == "tiny-compare.png"
    first, second = (run.result for run in window.session.state.runs)
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    height, width = SHAPE
    top = 15 + 24  # below the names
    shown = picture[top : top + height // 2, 15 : 15 + width]
    left, right = slice(0, width // 4 - 2), slice(width // 4 + 2, None)
    np.testing.assert_array_equal(shown[:, left, 0], first.all_in_focus[: height // 2, left])
    low, high = window.picture.range_bar.limits
    expected = colour_map(second.depth, "viridis", low, high)[: height // 2]
    np.testing.assert_array_equal(shown[:, right], expected[:, right])
    assert (picture[:top] > 150).any()  # names
    assert (picture[top : top + height, 15 + width + 16 :] > 200).any()  # colour bar
    window.actions_by_name["copy_picture"].trigger()
    qtbot.waitUntil(lambda: not window.session.state.jobs)
    copied = QGuiApplication.clipboard().image()
    assert (copied.height(), copied.width()) == picture.shape[:2]


def test_difference_is_saved_drawn_and_as_numbers(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not window.actions_by_name["save_numbers"].isEnabled()
    _second_result(window, qtbot)
    window.session.set(mode="difference")
    _save(window, qtbot, monkeypatch, tmp_path / "out.png")
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    top = 15 + 24
    pale = tuple(colour_table(COLOURS)[128])
    assert tuple(picture[top, 60]) == VOID
    assert tuple(picture[top + 20, 60]) == pale
    assert picture.shape[0] > top + SHAPE[0] + 24  # statistics below
    chosen: list[str] = []

    def choose(parent: object, title: str, name: str, kinds: str) -> tuple[str, str]:
        chosen.append(name)
        return str(tmp_path / "numbers"), NUMBERS_FILTER

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    window.actions_by_name["save_numbers"].trigger()
    qtbot.waitUntil(lambda: (tmp_path / "numbers.tif").exists() and not window.session.state.jobs)
    assert Path(chosen[0]).name == "tiny-difference.tif"
    first, second = (run.result for run in window.session.state.runs)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "numbers.tif"), first.depth - second.depth)


def test_what_cannot_be_written_is_said_in_a_sentence(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _save(window, qtbot, monkeypatch, tmp_path / "out.bmp")
    qtbot.waitUntil(lambda: window.session.state.message is not None)
    message = window.session.state.message
    assert message is not None
    assert message.text.startswith("out.bmp names no picture format")
    assert not message.details
