"""The application: Qt set up once, then the window."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt, QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from toposcope import __version__

if TYPE_CHECKING:
    from toposcope.ui.main_window import MainWindow

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def run(path: Path | None = None) -> int:
    """Open the window, on the stack at ``path`` if given, and return the exit code when it is closed."""
    app = make_application()
    from toposcope.ui.main_window import MainWindow
    from toposcope.ui.preferences import Preferences

    window = MainWindow(preferences=Preferences())
    sys.excepthook = _shown_in(window)
    window.show()
    if path is not None:
        QTimer.singleShot(0, lambda: window.open(path))
    try:
        return app.exec()
    finally:
        window.shutdown()
        sys.excepthook = sys.__excepthook__


def make_application() -> QApplication:
    """Return the application, made and dressed once for the whole process."""
    # without it vispy's view goes black when its dock is floated (vispy issue 1759)
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        app = QApplication(sys.argv[:1])
    app.setApplicationName("Toposcope")
    app.setOrganizationName("Toposcope")
    app.setApplicationVersion(__version__)
    app.setDesktopFileName("toposcope")
    app.setWindowIcon(QIcon(str(files("toposcope_resources") / "icons" / "toposcope.png")))
    from toposcope.ui import theme
    from toposcope.ui.preferences import Preferences

    theme.apply(Preferences().theme)
    return app


def _shown_in(window: MainWindow) -> Hook:
    """Return an exception hook that tells the user, and the terminal."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt) or not isinstance(error, Exception):
            sys.__excepthook__(kind, error, trace)
            return
        traceback.print_exception(kind, error, trace)
        from toposcope.ui.controllers.opening import problem

        window.session.set(message=problem(error))

    return hook
