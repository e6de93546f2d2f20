"""What stands beside a plot: rows with a coloured chip, what is told of it, and a cross; and the words under it."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QScrollArea, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from toposcope.ui import theme

LIGHT: Final = 110
"""Lightness of a chip from which its number is black, of 255."""


class RowList(QScrollArea):
    """Rows below each other, scrolled up and down where there are many."""

    def __init__(self) -> None:
        super().__init__()
        rows = QWidget()
        self._box = QVBoxLayout(rows)
        self._box.setContentsMargins(4, 4, 4, 4)
        self._box.setSpacing(8)
        self._box.addStretch(1)
        self.setWidget(rows)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def add(self, row: QWidget) -> None:
        """Put a row below the others."""
        self._box.insertWidget(self._box.count() - 1, row)


def read_out(text: str) -> QLabel:
    """Return the line below a plot, which must not widen its dock, however long it gets."""
    label = QLabel(text)
    label.setProperty("role", "muted")
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setWordWrap(True)
    label.setMinimumWidth(1)
    return label


def hint(text: str) -> QLabel:
    """Return what stands in the middle of a plot that has nothing to show."""
    label = QLabel(text)
    label.setAlignment(Qt.AlignmentFlag.AlignCenter)
    label.setProperty("role", "muted")
    label.setWordWrap(True)
    return label


class ChipRow(QWidget):
    """Tells of a pin or a line of this ``number``; ``what`` is the word for it."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.number = 0
        self.chip, self.heading, self.details = QLabel(), QLabel(), QLabel()
        self.chip.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.chip.setFixedHeight(20)
        self.chip.setMinimumWidth(20)
        for label in (self.heading, self.details):
            label.setWordWrap(True)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details.setProperty("role", "muted")
        self.remove = QToolButton()
        self.remove.setText("×")
        self.remove.setAutoRaise(True)
        self.remove.setToolTip(f"Remove this {what}")
        self.remove.setAccessibleName(f"Remove this {what}")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(1)
        grid.addWidget(self.chip, 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self.heading, 0, 1)
        grid.addWidget(self.remove, 0, 2, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self.details, 1, 1, 1, 2)
        grid.setColumnStretch(1, 1)

    def set_chip(self, number: int, name: str, colour: str, hollow: bool = False) -> None:
        """Show the number as ``name``, on a chip of ``colour``, or in a ring of it."""
        self.number = number
        ink = "#000000" if QColor(colour).lightness() > LIGHT else "#ffffff"
        look = f"background: {colour}; color: {ink};"
        if hollow:
            look = f"background: transparent; color: {theme.colours().text}; border: 2px solid {colour};"
        self.chip.setText(name)
        self.chip.setStyleSheet(f"{look} border-radius: 10px; font-weight: 600;")
        self.chip.setMinimumWidth(30 if len(name) > 1 else 20)
