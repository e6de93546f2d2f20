"""A list to choose from whose title ends in an ellipsis where there is no room for it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

MARGIN = 2
"""Pixels that the style leaves between the title and the edges of its place."""


class ElidedComboBox(QComboBox):
    """A combo box for long names: where Qt would cut the title in the middle of a letter, it ends in an ellipsis."""

    def shown_title(self) -> str:
        """Return the title as it is drawn."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        kind, place = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(kind, option, place, self).width() - 2 * MARGIN
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_title()
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
