"""The calibration panel: each value with its origin, guesses marked, all of them editable."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.calibration import UNIT_SYMBOLS, UNITS, Sourced
from toposcope.ui.resolve import Calibration

KIND_TITLES: Final = {"microscope": "Microscope: heights", "camera": "Camera: distances"}
NEAR_TITLES: Final = {"high": "High positions", "low": "Low positions"}


class CalibrationPanel(QWidget):
    """Shows and edits what is known of positions, unit, optics and pixel size."""

    stepEdited = Signal(float)
    unitEdited = Signal(str)
    kindEdited = Signal(str)
    nearEdited = Signal(str)
    pixelEdited = Signal(float)  # micrometres, 0 for not known
    positionsRequested = Signal()
    resetRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._calibration: Calibration | None = None
        self._origins: dict[str, QLabel] = {}
        self._of_slices: list[QWidget] = []
        self._step = _number(6, 1e-6, 1e9)
        self._unit = _box({unit: UNIT_SYMBOLS[unit] for unit in UNITS})
        self._kind = _box(KIND_TITLES)
        self._near = _box(NEAR_TITLES)
        self._pixel = _number(5, 0.0, 1e7)
        self._pixel.setSuffix(" µm")
        self._pixel.setSpecialValueText("not known")
        self._range = QLabel()
        self._range.setWordWrap(True)
        self._range.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._lens_title, self._lens = QLabel("Objective"), QLabel()
        self._lens.setWordWrap(True)
        self._lens.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._edit = QPushButton("Edit …")
        self._edit.setToolTip("Type or paste the focus position of every frame")
        self._reset = QPushButton("Back to what the files say")
        self._build()
        self.set_calibration(None)

    def _build(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(10, 8, 10, 8)
        grid.setVerticalSpacing(1)
        grid.setHorizontalSpacing(8)
        positions = QHBoxLayout()
        positions.addWidget(self._range, 1)
        positions.addWidget(self._edit)
        step = QHBoxLayout()
        step.addWidget(self._step, 1)
        step.addWidget(self._unit)
        rows: tuple[tuple[str, str, QWidget | QHBoxLayout, str], ...] = (
            ("positions", "Positions", positions, "Where the focus was for each frame"),
            ("step", "Step", step, "Distance between frames, and the unit of all positions"),
            ("kind", "Optics", self._kind, "Whether positions are heights or distances from the lens"),
            ("near", "Near the lens", self._near, "Which end of the positions is nearer to the lens"),
            ("pixel", "Pixel", self._pixel, "Side of a pixel on the object; 0 if not known"),
        )
        for row, (name, title, editor, tip) in enumerate(rows):
            label = QLabel(title)
            label.setToolTip(tip)
            grid.addWidget(label, 2 * row, 0)
            if isinstance(editor, QHBoxLayout):
                grid.addLayout(editor, 2 * row, 1)
            else:
                editor.setToolTip(tip)
                grid.addWidget(editor, 2 * row, 1)
            origin = QLabel()
            origin.setWordWrap(True)
            origin.setProperty("role", "muted")
            origin.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            origin.setContentsMargins(0, 0, 0, 6)
            grid.addWidget(origin, 2 * row + 1, 1)
            self._origins[name] = origin
            if name in ("step", "kind", "near"):
                self._of_slices += [label, origin]
        self._of_slices += [self._edit, self._step, self._unit, self._kind, self._near]
        grid.addWidget(self._lens_title, 10, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._lens, 10, 1)
        origin = QLabel()
        origin.setProperty("role", "muted")
        origin.setContentsMargins(0, 0, 0, 6)
        grid.addWidget(origin, 11, 1)
        self._origins["objective"] = origin
        grid.addWidget(self._reset, 12, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setRowStretch(13, 1)
        self._step.editingFinished.connect(self._on_step_edited)
        self._pixel.editingFinished.connect(self._on_pixel_edited)
        self._unit.activated.connect(lambda: self.unitEdited.emit(self._unit.currentData()))
        self._kind.activated.connect(lambda: self.kindEdited.emit(self._kind.currentData()))
        self._near.activated.connect(lambda: self.nearEdited.emit(self._near.currentData()))
        self._edit.clicked.connect(self.positionsRequested)
        self._reset.clicked.connect(self.resetRequested)

    def set_calibration(
        self, calibration: Calibration | None, measured: Sourced[float] | None = None, editable: bool = True
    ) -> None:
        """Show this calibration; None while no stack is open. ``measured`` is the pixel of a height map instead."""
        self._calibration = calibration
        self.setEnabled(calibration is not None and editable)
        for widget in self._of_slices:  # what a stack before had must not seem to be that of a height map
            widget.setVisible(calibration is not None)
        if calibration is None:
            self._range.setText("No stack is open" if measured is None else "None: a height map has no slices")
            self._show_lens(False)
            for label in self._origins.values():
                label.clear()
            self._pixel.setValue(0.0)
            if measured is not None:
                self._pixel.setValue(measured.value)
                self._say("pixel", measured.origin, False)
            self._reset.setVisible(False)
            return
        c = calibration
        self._range.setText(c.positions.text)
        self._step.setValue(c.step)
        self._unit.setCurrentIndex(self._unit.findData(c.unit))
        self._kind.setCurrentIndex(self._kind.findData(c.kind.value))
        self._near.setCurrentIndex(self._near.findData(c.near.value))
        self._pixel.setValue(c.pixel_um)
        self._say("positions", c.positions.origin, c.positions.guessed)
        self._say("step", c.unit_stated.origin, c.unit_stated.guessed)
        self._say("kind", c.kind.origin, c.kind.guessed)
        self._say("near", c.near.origin, c.near.guessed)
        self._say("pixel", c.pixel.origin, c.pixel.guessed)
        self._show_lens(c.objective is not None)
        if c.objective is not None:
            self._lens.setText(c.objective.text)
            self._say("objective", c.objective.origin, c.objective.guessed)
        self._reset.setVisible(c.edited)

    def _show_lens(self, on: bool) -> None:
        """Show the objective where the files tell of one."""
        for label in (self._lens_title, self._lens, self._origins["objective"]):
            label.setVisible(on)

    def _say(self, name: str, origin: str, guessed: bool) -> None:
        """Show where a value came from; a guess is told from a fact by colour and by word."""
        label = self._origins[name]
        reason = origin.removeprefix("guessed").strip()
        label.setText((f"Guess: {reason}" if reason else "Guess") if guessed else origin)
        label.setProperty("role", "warning" if guessed else "muted")
        label.style().unpolish(label)
        label.style().polish(label)

    def _on_step_edited(self) -> None:
        # leaving the field without a change is no edit
        if self._calibration and not math.isclose(self._step.value(), self._calibration.step, rel_tol=1e-4):
            self.stepEdited.emit(self._step.value())

    def _on_pixel_edited(self) -> None:
        if self._calibration and not math.isclose(self._pixel.value(), self._calibration.pixel_um, abs_tol=1e-5):
            self.pixelEdited.emit(self._pixel.value())


class PositionsDialog(QDialog):
    """Asks for the focus position of every frame, one a line."""

    def __init__(self, names: tuple[str, ...], values: tuple[float, ...], symbol: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Focus positions")
        self._count = len(names)
        layout = QVBoxLayout(self)
        text = QLabel(
            f"One focus position a line, {self._count} in all, in {symbol}. The first line belongs to {names[0]}, "
            f"the last to {names[-1]}. A column copied from a table may be pasted."
        )
        text.setWordWrap(True)
        layout.addWidget(text)
        self._edit = QPlainTextEdit("\n".join(f"{value:.10g}" for value in values))
        self._edit.setMinimumSize(280, 320)
        layout.addWidget(self._edit, 1)
        self._problem = QLabel()
        self._problem.setWordWrap(True)
        self._problem.setProperty("role", "error")
        layout.addWidget(self._problem)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout.addWidget(self._buttons)
        self._edit.textChanged.connect(self._check)
        self._check()

    def set_text(self, text: str) -> None:
        """Put ``text`` in the field."""
        self._edit.setPlainText(text)

    @property
    def problem(self) -> str:
        """What is wrong with the text now; empty when nothing is."""
        return parse_positions(self._edit.toPlainText(), self._count)[1]

    def positions(self) -> tuple[float, ...]:
        """Return the positions, () while there is a problem."""
        return parse_positions(self._edit.toPlainText(), self._count)[0]

    def _check(self) -> None:
        self._problem.setText(self.problem)
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not self.problem)


def parse_positions(text: str, count: int) -> tuple[tuple[float, ...], str]:
    """Read ``count`` positions, one a line; the problem in words, or "" when there is none."""
    lines = [line.strip() for line in text.replace(";", "\n").replace("\t", "\n").splitlines() if line.strip()]
    values: list[float] = []
    for number, line in enumerate(lines, start=1):
        try:
            # a comma is a decimal point in half of the world
            values.append(float(line.replace(",", ".").rstrip("µu m")))
        except ValueError:
            return (), f"Line {number}, “{line[:30]}”, is not a number."
        if not math.isfinite(values[-1]):
            return (), f"Line {number}, “{line[:30]}”, is not a finite number."
    if len(values) != count:
        return (), f"{len(values)} positions are given, {count} are needed."
    _, first = np.unique(values, return_index=True)
    if len(first) < count:
        twice = next(i for i in range(count) if i not in first)
        return (), f"{values[twice]:g} is given twice (line {twice + 1}); each position must be different."
    return tuple(values), ""


def _box(titles: dict[str, str]) -> QComboBox:
    box = QComboBox()
    for value, title in titles.items():
        box.addItem(title, value)
    return box


def _number(decimals: int, low: float, high: float) -> QDoubleSpinBox:
    box = _ShortSpinBox()
    box.setDecimals(decimals)
    box.setRange(low, high)
    box.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    box.setKeyboardTracking(False)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumWidth(70)
    return box


class _ShortSpinBox(QDoubleSpinBox):
    """A number without the zeros behind it: 2.5, not 2.500000.

    Undo and redo are for what is being typed; once it is taken over they are the window's.
    """

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            undo, redo = QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo
            if (event.matches(undo) or event.matches(redo)) and not self.lineEdit().isModified():
                event.ignore()
                return True
        return super().event(event)

    def textFromValue(self, value: float) -> str:
        return f"{value:.{self.decimals()}f}".rstrip("0").rstrip(".")
