"""Asks which of a file's stacks to open: positions with thumbnails, channel, time, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPainter, QPixmap, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from toposcope.ui.images import image_of
from toposcope.ui.pyramid import Picture

THUMBNAIL: Final = QSize(84, 64)
PICTURE: Final = QSize(300, 240)
SHOWN_FACTS: Final = ("frames", "positions", "pixel size", "objective", "in focus", "note")


class Question(Protocol):
    """One thing that a file leaves open, as the readers ask it."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def options(self) -> tuple[str, ...]: ...


class OpenDialog(QDialog):
    """Asks which position, channel and time point of a file to open.

    ``lookRequested`` asks for a look at what is chosen, by the names of the questions; it is answered by
    `show_look` or `show_problem`. ``chosen`` in the beginning is what ``start`` says, else the first of each.
    """

    lookRequested = Signal(object)  # dict of names and places

    def __init__(
        self,
        text: str,
        questions: Sequence[Question],
        start: Mapping[str, int] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("What to open")
        self._start = dict(start or {})
        self._boxes: dict[str, QComboBox] = {}
        self._pictured: set[int] = set()
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        words = QLabel(text)
        words.setWordWrap(True)
        layout.addWidget(words)
        middle = QHBoxLayout()
        middle.setSpacing(14)
        layout.addLayout(middle, 1)
        self._series = QListWidget()
        self._series.setIconSize(THUMBNAIL)
        self._series.setMinimumWidth(220)
        self._series.setAccessibleName("Positions")
        self._series.setUniformItemSizes(True)
        self._series.hide()
        middle.addWidget(self._series, 2)
        right = QVBoxLayout()
        middle.addLayout(right, 3)
        self._picture = QLabel("Looking …")
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._picture.setMinimumSize(PICTURE)
        self._picture.setProperty("role", "muted")
        right.addWidget(self._picture, 1)
        self._form = QFormLayout()
        right.addLayout(self._form)
        self._facts = QLabel()
        self._facts.setWordWrap(True)
        self._facts.setTextFormat(Qt.TextFormat.RichText)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._facts.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._facts.setMinimumHeight(90)
        self._facts.setAlignment(Qt.AlignmentFlag.AlignTop)
        right.addWidget(self._facts)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout.addWidget(self._buttons)
        for question in questions:
            self._ask(question)
        if self._series.count():
            self._series.setFocus()
        elif self._boxes:
            next(iter(self._boxes.values())).setFocus()
        self._series.currentRowChanged.connect(self._on_series)
        self._series.itemActivated.connect(lambda _: self.accept())
        self.resize(640 if self._series.count() else 420, 520)

    def _ask(self, question: Question) -> None:
        """Show a question as a list of positions or as a box."""
        start = min(self._start.get(question.name, 0), len(question.options) - 1)
        if question.name == "series":
            self._series.show()
            empty = QPixmap(THUMBNAIL)
            empty.fill(Qt.GlobalColor.transparent)
            for option in question.options:
                item = QListWidgetItem(option)
                item.setToolTip(option)
                item.setIcon(QIcon(empty))
                item.setSizeHint(QSize(0, THUMBNAIL.height() + 8))
                self._series.addItem(item)
            self._series.setCurrentRow(start)
            return
        box = QComboBox()
        box.addItems(list(question.options))
        box.setCurrentIndex(start)
        box.setAccessibleName(question.label)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(20)
        box.currentIndexChanged.connect(lambda _: self._look())
        label = QLabel(f"&{question.label[:1].upper()}{question.label[1:]}")
        label.setBuddy(box)
        self._form.addRow(label, box)
        self._boxes[question.name] = box

    def chosen(self) -> dict[str, int]:
        """Return the place of each answer in its options, by the names of the questions."""
        answers = {name: box.currentIndex() for name, box in self._boxes.items()}
        if self._series.count():
            answers["series"] = max(0, self._series.currentRow())
        return answers

    @property
    def positions(self) -> int:
        """How many positions there are to choose from; 0 where that is no question."""
        return self._series.count()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()

    def show_look(
        self,
        answers: Mapping[str, int],
        questions: Sequence[Question],
        picture: Picture,
        rows: Sequence[tuple[str, str]],
    ) -> None:
        """Take a look at what ``answers`` choose: its middle slice (h, w, 3), facts, and what else is to be chosen."""
        pixmap = QPixmap.fromImage(image_of(picture))
        series = answers.get("series", 0)
        item = self._series.item(series)
        if item is not None and series not in self._pictured:
            self._pictured.add(series)
            item.setIcon(QIcon(_padded(_framed(pixmap, THUMBNAIL), THUMBNAIL)))
        if series != self.chosen().get("series", 0):
            return
        for question in questions:
            known = self._boxes.get(question.name)
            if question.name == "series" or (known is not None and _options(known) == question.options):
                continue
            if known is not None:
                self._form.removeRow(known)
                del self._boxes[question.name]
            self._ask(question)
        for name in [name for name in self._boxes if name not in {question.name for question in questions}]:
            self._form.removeRow(self._boxes.pop(name))  # this position has only one
        if self._is_chosen(answers):
            self._picture.setPixmap(_framed(pixmap, PICTURE))
            self._facts.setText("<br>".join(_fact(*row) for row in rows if row[0] in SHOWN_FACTS))

    def show_problem(self, answers: Mapping[str, int], text: str) -> None:
        """Say why there is no look at what ``answers`` choose."""
        if self._is_chosen(answers):
            self._picture.setText("No picture")
            self._facts.setText(_escaped(text))

    def _is_chosen(self, answers: Mapping[str, int]) -> bool:
        """Whether these answers stand there now, as far as they are still asked for."""
        chosen = self.chosen()
        return all(chosen[name] == place for name, place in answers.items() if name in chosen)

    def _on_series(self) -> None:
        self._picture.setText("Looking …")
        self._facts.clear()  # those of another one
        self._look()

    def _look(self) -> None:
        self.lookRequested.emit(self.chosen())


def _framed(pixmap: QPixmap, size: QSize) -> QPixmap:
    return pixmap.scaled(size, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)


def _padded(pixmap: QPixmap, size: QSize) -> QPixmap:
    """Return the pixmap in the middle of ``size``, so that the words beside all of them begin in one line."""
    padded = QPixmap(size)
    padded.fill(Qt.GlobalColor.transparent)
    painter = QPainter(padded)
    painter.drawPixmap((size.width() - pixmap.width()) // 2, (size.height() - pixmap.height()) // 2, pixmap)
    painter.end()
    return padded


def _options(box: QComboBox) -> tuple[str, ...]:
    return tuple(box.itemText(k) for k in range(box.count()))


def _fact(title: str, text: str) -> str:
    return f"<b>{_escaped(title.capitalize())}</b>&nbsp; {_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
