"""A panel that scrolls up and down where its dock is too low, and is never cut at the side."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QAbstractSpinBox, QComboBox, QFrame, QScrollArea, QWidget


def scrolled(widget: QWidget) -> QScrollArea:
    """Return ``widget`` in an area that is at least as wide as the widget must be.

    The wheel scrolls it: choices and numbers under the cursor change by the wheel only once they were clicked, so
    that nobody changes a setting by scrolling past it.
    """
    return _Area(widget)


class _Area(QScrollArea):
    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self._content = widget
        self.setWidget(widget)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._fit()
        self._keep_from_wheel()
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # another theme, or another text, needs another width
        if watched is self._content and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.StyleChange):
            self._fit()
            self._keep_from_wheel()  # forms come and go
        changes = isinstance(watched, QComboBox | QAbstractSpinBox) and not watched.hasFocus()
        if event.type() == QEvent.Type.Wheel and changes:
            event.ignore()  # its parent, this area, scrolls
            return True
        return super().eventFilter(watched, event)

    def _keep_from_wheel(self) -> None:
        boxes = (*self._content.findChildren(QComboBox), *self._content.findChildren(QAbstractSpinBox))
        for box in boxes:
            if box.focusPolicy() == Qt.FocusPolicy.WheelFocus:  # Qt's own; any other was set here
                box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                box.installEventFilter(self)

    def _fit(self) -> None:
        bar = self.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(self._content.minimumSizeHint().width() + bar)
