"""What an empty window shows: three ways to begin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from toposcope.ui import theme
from toposcope.ui.resolve import short_path

LAST_PX: Final = 400
"""Width of what was done last, on its button; longer names are cut in their middle."""


class StartPage(QWidget):
    """Offers to open a folder, a file or the sample, and what was open before."""

    folderRequested = Signal()
    filesRequested = Signal()
    sampleRequested = Signal()
    recentRequested = Signal(object)  # Path
    lastRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        title = QLabel("Open a focal stack to see its depth", alignment=Qt.AlignmentFlag.AlignCenter)
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * 1.7)
        title.setFont(font)
        hint = QLabel(
            "Drop a folder of photographs, a multi-page TIFF or several files anywhere in this window.\n"
            "JPEG, PNG, TIFF, HEIC, camera RAW and microscopes' files such as CZI and ND2; grey or colour.\n"
            "Height maps such as X3P and GWY, stored results and projects, too.",
            alignment=Qt.AlignmentFlag.AlignCenter,
        )
        hint.setProperty("role", "muted")
        self._buttons = (
            self._button("Open folder …", "Ctrl+O", self.folderRequested),
            self._button("Open files …", "Ctrl+Shift+O", self.filesRequested),
            self._button("Try the sample", "a small stack with known depth", self.sampleRequested),
        )
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addStretch(1)
        for button in self._buttons:
            row.addWidget(button)
        row.addStretch(1)
        self._last = QPushButton()
        self._last.setToolTip("With its calibration, method, pins and lines, saved or not")
        self._last.setMinimumHeight(38)
        self._last.clicked.connect(self.lastRequested)
        self._heading = QLabel("Recent")
        self._heading.setProperty("role", "heading")
        self._recent = QListWidget()
        self._recent.setFixedWidth(520)
        self._recent.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._recent.setCursor(Qt.CursorShape.PointingHandCursor)
        self._recent.setSpacing(2)
        self._recent.itemActivated.connect(self._on_activated)
        self._recent.itemClicked.connect(self._on_activated)
        layout = QVBoxLayout(self)
        layout.setSpacing(14)
        layout.addStretch(2)
        for widget in (self._picture, title, hint):
            layout.addWidget(widget)
        layout.addLayout(row)
        layout.addWidget(self._last, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addSpacing(12)
        layout.addWidget(self._heading, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self._recent, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(3)
        self.set_recent(())
        self.set_last("")
        self.apply_theme()

    def _button(self, text: str, tip: str, signal: object) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setMinimumSize(QSize(150, 38))
        button.clicked.connect(signal)
        return button

    def apply_theme(self) -> None:
        """Take icons of the theme."""
        c = theme.colours()
        self._picture.setPixmap(theme.icon("stack", c.accent).pixmap(72, 72))
        for button, name in zip(self._buttons, ("folder-open", "image", "sparkle"), strict=True):
            button.setIcon(theme.icon(name))
        self._last.setIcon(theme.icon("arrow-counter-clockwise"))

    def set_last(self, text: str) -> None:
        """Offer to go on with what was done last; nothing is offered where ``text`` is empty."""
        shown = self._last.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, LAST_PX)
        self._last.setText(f"Go on with {shown}".replace("&", "&&"))  # a button underlines what follows a single one
        self._last.setVisible(bool(text))

    def set_recent(self, paths: Sequence[Path]) -> None:
        """Show what was open before."""
        self._recent.clear()
        for path in paths:
            item = QListWidgetItem(f"{path.name}    {short_path(path.parent, 56)}")
            item.setToolTip(str(path))
            item.setData(Qt.ItemDataRole.UserRole, path)
            self._recent.addItem(item)
        row = self._recent.sizeHintForRow(0) + 2 * self._recent.spacing()
        self._recent.setFixedHeight(min(len(paths), 7) * row + 6)
        self._recent.setVisible(bool(paths))
        self._heading.setVisible(bool(paths))

    def _on_activated(self, item: QListWidgetItem) -> None:
        self.recentRequested.emit(item.data(Qt.ItemDataRole.UserRole))
