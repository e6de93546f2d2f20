"""Fixtures for tests of the window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from toposcope.ui import theme
from toposcope.ui.engine import Engine
from toposcope.ui.main_window import MainWindow
from window_fakes import Make, private_preferences


@pytest.fixture
def make(qtbot: QtBot, tmp_path: Path) -> Iterator[Make]:
    """Give a function that shows a window, with these functions in place of the engine's."""
    theme.apply("dark")
    windows: list[MainWindow] = []

    def made(**functions: Any) -> MainWindow:
        window = MainWindow(replace(Engine(), **functions), private_preferences(tmp_path))
        qtbot.addWidget(window)
        windows.append(window)
        with qtbot.waitExposed(window):
            window.show()
        return window

    yield made
    for window in windows:
        window.shutdown()
