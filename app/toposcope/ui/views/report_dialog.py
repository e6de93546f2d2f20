"""What a report of a measurement shall say besides: title, who measured, a note."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QLocale
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QWidget,
)

from toposcope.core.report import About
from toposcope.ui.report_pdf import PAPERS, Paper


class ReportDialog(QDialog):
    """Asks for what only the user knows. ``name`` is the title where none is typed, ``author`` who measured last."""

    def __init__(self, name: str, author: str, paper: Paper, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Save a report")
        self.setMinimumWidth(460)
        self.title_box, self.author_box = QLineEdit(), QLineEdit(author)
        self.title_box.setPlaceholderText(name)
        self.note_box = QPlainTextEdit()
        self.note_box.setTabChangesFocus(True)
        self.note_box.setFixedHeight(96)
        self.paper_box = QComboBox()
        self.paper_box.addItems(list(PAPERS))
        self.paper_box.setCurrentText(paper)
        self.paper_box.setToolTip("Of a PDF; HTML suits both")
        words = QLabel("What was measured and how, pictures, parameters, profiles and steps: one PDF or HTML file.")
        words.setWordWrap(True)
        words.setProperty("role", "muted")
        form = QFormLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.setVerticalSpacing(8)
        form.addRow(words)
        form.addRow("&Title", self.title_box)
        form.addRow("&Measured by", self.author_box)
        form.addRow("&Note", self.note_box)
        form.addRow("&Paper", self.paper_box)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        save = QPushButton("&Save …")
        save.setDefault(True)
        buttons.addButton(save, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)

    @property
    def about(self) -> About:
        """What was typed."""
        return About(self.title_box.text().strip(), self.author_box.text().strip(), self.note_box.toPlainText().strip())

    @property
    def paper(self) -> Paper:
        """The paper of a PDF."""
        return cast("Paper", self.paper_box.currentText())


def usual_paper() -> Paper:
    """Return the paper that is usual where the user lives."""
    us = QLocale.MeasurementSystem.ImperialUSSystem
    return "Letter" if QLocale.system().measurementSystem() == us else "A4"
