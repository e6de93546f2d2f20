"""What the sweep lacks, in plain words; a click shows where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from toposcope.core.sweep import SweepNote
from toposcope.ui import theme
from toposcope.ui.rendering import LACK_COLOURS, LACK_TITLES
from toposcope.ui.session import Subject

EMPTY_TEXT: Final = "Advice for the next sweep appears here, once the depth is computed."
HEIGHT_MAP_TEXT: Final = "A height map has no slices, so there is no sweep to give advice on."
NOT_KEPT_TEXT: Final = "Where it is was not kept with the result."


class SweepPanel(QScrollArea):
    """Lists the advice for the next sweep, gravest first."""

    mapRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self._notes: tuple[SweepNote, ...] | None = None
        self._subject: Subject = "stack"
        self.set_notes(None)

    def set_notes(self, notes: Sequence[SweepNote] | None, subject: Subject = "stack", has_map: bool = True) -> None:
        """Show these notes; None while there is no result, or a height map, which no sweep was made for.

        ``has_map`` says whether there is a map of where it lacks something.
        """
        self._subject, self._has_map = subject, has_map
        self._notes = None if notes is None else tuple(notes)
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(10)
        if notes is None:
            layout.addWidget(_words(HEIGHT_MAP_TEXT if subject == "height map" else EMPTY_TEXT, muted=True))
        elif not notes:
            layout.addWidget(_words("This sweep lacks nothing: the surface lies inside it, with steps fine enough."))
        for note in notes or ():
            layout.addWidget(self._row(note))
        if notes:
            button = QPushButton(theme.icon("map-trifold"), "  Show where")
            button.setToolTip("Show the sweep map in the picture (Ctrl+6)" if has_map else NOT_KEPT_TEXT)
            button.setEnabled(has_map)
            button.clicked.connect(self.mapRequested)
            layout.addWidget(button)
        layout.addStretch(1)
        self.setWidget(page)

    def apply_theme(self) -> None:
        """Take icons of the theme."""
        self.set_notes(self._notes, self._subject, self._has_map)

    def text(self) -> str:
        """Return the notes as text, for the clipboard."""
        return "\n".join(note.text for note in self._notes or ())

    def _row(self, note: SweepNote) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        chip = QLabel()
        chip.setFixedSize(10, 10)
        chip.setStyleSheet("background: rgb({}, {}, {}); border-radius: 2px;".format(*LACK_COLOURS[note.lack]))
        layout.addWidget(chip, 0, Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(1)
        title = QLabel(LACK_TITLES[note.lack])
        title.setProperty("role", "heading")
        words.addWidget(title)
        words.addWidget(_words(note.text[:1].upper() + note.text[1:]))
        layout.addLayout(words, 1)
        return row


def _words(text: str, muted: bool = False) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if muted:
        label.setProperty("role", "muted")
    return label
