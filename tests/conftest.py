"""Fixtures that every test may use, and guards that watch over all of them."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # `python3 installer test` chooses a real screen

import gc
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication, QWidget

# a loaded machine is no reason to call a law broken
hypothesis.settings.register_profile("toposcope", deadline=None)
hypothesis.settings.load_profile("toposcope")


@pytest.fixture(scope="session")
def qapp_cls() -> type[QApplication]:
    """Share OpenGL contexts, which must be asked for before pytest-qt makes the application."""
    from PySide6.QtCore import QCoreApplication, Qt
    from PySide6.QtWidgets import QApplication

    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    return QApplication


@pytest.fixture(autouse=True)
def _skip_without_opengl(request: pytest.FixtureRequest) -> None:
    """Skip tests marked ``gl`` where Qt gives no OpenGL context."""
    if request.node.get_closest_marker("gl") is None:
        return
    application = request.getfixturevalue("qapp")
    from PySide6.QtGui import QOpenGLContext

    # offscreen borrows GLX from any X server that happens to run, and then draws nothing
    if application.platformName() == "offscreen" or not QOpenGLContext().create():
        pytest.skip(f"no OpenGL on the Qt platform '{application.platformName()}'; see `python3 installer test`")


@pytest.fixture(autouse=True)
def _own_adapted_networks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's adapted networks out of the tests, and theirs out of the user's folder."""
    name = f"adapted-{next(_COUNTER)}"
    monkeypatch.setenv("TOPOSCOPE_ADAPTED", str(tmp_path_factory.getbasetemp() / name))


_COUNTER = itertools.count()


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Give folders of two small stacks to adapt to."""
    from adapted_files import two_stacks

    return two_stacks(tmp_path_factory.mktemp("stacks"))


@pytest.fixture
def any_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any adaptation count as a gain."""
    from adapted_files import take_any_gain

    take_any_gain(monkeypatch)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    left: list[threading.Thread] = []
    while time.monotonic() < deadline:
        # dummies stand for threads of Qt, which are watched by Qt itself
        left = [t for t in threading.enumerate() if t not in before and not isinstance(t, threading._DummyThread)]
        if not left:
            return
        time.sleep(0.02)
    pytest.fail(f"threads left running: {[thread.name for thread in left]}")


@pytest.fixture(autouse=True)
def _no_file_is_left_open() -> Iterator[None]:
    """Fail a test that leaves a file open."""
    if not sys.platform.startswith("linux"):
        yield  # listing open files works otherwise there
        return
    before = _open_files()
    yield
    if _open_files() - before:
        gc.collect()
    left = _open_files() - before
    if left:
        pytest.fail(f"files left open: {sorted(left)}")


# libraries keep fonts, devices and shader caches open for good: only files that a test may own are counted
_OWN = {
    ".avif",
    ".dng",
    ".heic",
    ".tif",
    ".tiff",
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".webp",
    ".json",
    ".csv",
    ".ply",
    ".stl",
    ".npy",
    ".bin",
    ".raw",
}


def _open_files() -> set[str]:
    paths = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own descriptor is closed by now
            paths.add(os.readlink(descriptor))
    return {path for path in paths if Path(path).suffix in _OWN}


@pytest.fixture(autouse=True)
def _no_window_is_left() -> Iterator[None]:
    """Fail a test that leaves a window behind; `qtbot.addWidget` takes care of one."""
    before = set(_windows())
    yield
    left = {address: widget for address, widget in _windows().items() if address not in before}
    if left:
        gc.collect()
        left = {address: widget for address, widget in _windows().items() if address not in before}
    if left:
        pytest.fail(f"windows left: {[repr(widget) for widget in left.values()]}")


def _windows() -> dict[int, QWidget]:
    """Return the top-level widgets by address, menus that are not shown excepted (pyqtgraph keeps those)."""
    widgets = sys.modules.get("PySide6.QtWidgets")
    application = widgets and widgets.QApplication.instance()
    if widgets is None or application is None:
        return {}
    from PySide6.QtCore import QEvent
    from shiboken6 import getCppPointer

    application.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    return {
        getCppPointer(widget)[0]: widget
        for widget in widgets.QApplication.topLevelWidgets()
        if widget.isVisible() or not isinstance(widget, widgets.QMenu)
    }
