"""A sentence above the picture that stays until it is closed, with ways out of the trouble."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QWidget

from toposcope.ui import theme
from toposcope.ui.session import Message


class MessageBar(QFrame):
    """Shows one message; its text can be selected, its details copied."""

    offerChosen = Signal(object)  # Offer
    closeRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._message: Message | None = None
        self._icon = QLabel()
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._copy = QPushButton("Copy details")
        self._copy.clicked.connect(self._on_copy)
        self._close = QToolButton()
        self._close.setAutoRaise(True)
        self._close.setToolTip("Close this message")
        self._close.clicked.connect(self.closeRequested)
        self._offers = QHBoxLayout()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setSpacing(10)
        layout.addWidget(self._icon)
        layout.addWidget(self._text, 1)
        layout.addLayout(self._offers)
        layout.addWidget(self._copy)
        layout.addWidget(self._close)
        self._show()

    def set_message(self, message: Message | None) -> None:
        """Show this message; None hides the bar."""
        if message == self._message:  # what the user is about to press stays
            return
        self._message = message
        self._show()

    def _show(self) -> None:
        message = self._message
        self.setVisible(message is not None)
        while (item := self._offers.takeAt(0)) is not None:
            if (button := item.widget()) is not None:
                button.hide()  # it goes when the loop comes round
                button.deleteLater()
        if message is None:
            return
        c = theme.colours()
        name, colour = {
            "info": ("info", c.accent),
            "warning": ("warning", c.warning),
            "error": ("warning-octagon", c.error),
        }[message.level]
        self._icon.setPixmap(theme.icon(name, colour).pixmap(22, 22))
        self._close.setIcon(theme.icon("x"))
        self._text.setText(message.text)
        self.setStyleSheet(f"MessageBar {{ background: {c.alternate}; border-left: 4px solid {colour}; }}")
        for offer in message.offers:
            button = QPushButton(offer.label)
            button.clicked.connect(lambda _=False, o=offer: self.offerChosen.emit(o))
            self._offers.addWidget(button)
        self._copy.setVisible(bool(message.details))

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        self._show()

    def _on_copy(self) -> None:
        if self._message is not None:
            QGuiApplication.clipboard().setText(f"{self._message.text}\n\n{self._message.details}")
