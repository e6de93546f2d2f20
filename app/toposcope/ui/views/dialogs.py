"""Small dialogs: shortcuts, and about."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from PySide6.QtCore import Qt, qVersion
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from toposcope import __version__
from toposcope.ui import theme


class ShortcutsDialog(QDialog):
    """Lists all commands with their keys."""

    def __init__(self, groups: Sequence[tuple[str, Sequence[QAction]]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts")
        self.resize(520, 620)
        rows = [
            (title, action.text().replace("&", "").rstrip(" …"), action.shortcuts())
            for title, actions in groups
            for action in actions
            if action.shortcuts()
        ]
        table = QTableWidget(len(rows) + len(MOUSE), 3, self)
        table.setHorizontalHeaderLabels(["Menu", "Command", "Keys"])
        for i, (group, text, keys) in enumerate(rows):
            words = (group, text, "  or  ".join(key.toString(key.SequenceFormat.NativeText) for key in keys))
            for j, word in enumerate(words):
                table.setItem(i, j, QTableWidgetItem(word))
        for i, words in enumerate(MOUSE, start=len(rows)):
            for j, word in enumerate(words):
                table.setItem(i, j, QTableWidgetItem(word))
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.verticalHeader().setVisible(False)
        table.setShowGrid(False)
        table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        table.resizeColumnToContents(2)
        layout = QVBoxLayout(self)
        layout.addWidget(table)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)


MOUSE = (
    ("Mouse", "Set a pin", "Click"),
    ("Mouse", "Move a pin", "Drag it"),
    ("Mouse", "Pan", "Drag the picture"),
    ("Mouse", "Next or previous slice (slice picture)", "Wheel"),
    ("Mouse", "Zoom", "Ctrl + wheel, or wheel on maps"),
    ("Mouse", "Automatic colour limits", "Double-click the colour bar"),
)


class AboutDialog(QDialog):
    """Says what this is, which versions run, and on what."""

    def __init__(self, device: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About Toposcope")
        self._facts = about_text(device)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        title = QLabel(f"<b style='font-size:x-large'>Toposcope {__version__}</b>")
        layout.addWidget(title)
        words = QLabel("Turns focal stacks into depth: height maps, all-in-focus pictures, surfaces and focus curves.")
        words.setWordWrap(True)
        layout.addWidget(words)
        facts = QLabel(self._facts)
        facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        facts.setProperty("role", "muted")
        layout.addWidget(facts)
        layout.addWidget(QLabel("Free software under the MIT licence."))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = QPushButton(theme.icon("copy"), "Copy")
        copy.setToolTip("Copy the versions, for a bug report")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._facts))
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)


def about_text(device: str) -> str:
    """Return versions and device, one a line."""
    lines = [f"Toposcope {__version__}", f"Device: {device}", f"System: {platform.platform()}"]
    lines += [f"Python {platform.python_version()}", f"Qt {qVersion()}"]
    for package in ("PySide6_Essentials", "numpy", "opencv-python-headless", "pyqtgraph", "vispy", "torch"):
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package}: not installed")
    return "\n".join(lines)
