"""Measures the surface: how it is levelled and filtered, its parameters, lines and the height of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.marks import Marks
from toposcope.core.surface import PARAMETER_GROUPS, Area, Parameter, Step, SurfaceSettings, fineness_text
from toposcope.core.words import measured
from toposcope.ui import theme
from toposcope.ui.forms import SettingsForm
from toposcope.ui.session import Tool

EMPTY_TEXT: Final = "The parameters of the surface appear here, once the depth is computed."
TOOLS: Final[dict[Tool, tuple[str, str, str]]] = {
    "line": ("line-segment", "Line", "Draw a line over the picture and see its profile (Ctrl+Shift+L)"),
    "area": ("selection", "Area", "Draw the area that the parameters are of (Ctrl+Shift+M)"),
    "step": ("arrow-line-up", "Step", "Draw two areas and see how much higher the second one lies (Ctrl+Alt+S)"),
}
HINTS: Final[dict[Tool, str]] = {
    "pin": "",
    "line": "Drag from one end of the line to the other; Shift keeps to 45°.",
    "area": "Drag from corner to corner.",
    "step": "Drag over the lower level, then over the upper one.",
}


class MeasurePanel(QWidget):
    """Shows what is measured and asks for everything by signals."""

    settingsEdited = Signal(object)  # SurfaceSettings
    toolRequested = Signal(str)  # Tool
    wholeRequested = Signal()
    stepRemoveRequested = Signal()
    copyRequested = Signal()
    saveRequested = Signal()
    reportRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._form = SettingsForm(SurfaceSettings)
        self._tools: dict[Tool, QToolButton] = {}
        self._hint = _text("", "muted")
        self._result_name, self._result = _text("Result", "muted"), _text("")
        self._area, self._step = _text(""), _text("")
        self._step_areas = ""
        self._whole, self._no_step = QToolButton(), QToolButton()
        for button, tip in ((self._whole, "Measure the whole picture"), (self._no_step, "Remove the two areas")):
            button.setText("×")
            button.setAutoRaise(True)
            button.setToolTip(tip)
            button.setAccessibleName(tip)
        self._operations, self._problem = _text("", "muted"), _text(EMPTY_TEXT, "muted")
        self._fineness = _text("", "muted")
        self._table = QTreeWidget()
        self._table.setColumnCount(3)
        self._table.setHeaderHidden(True)
        self._table.setRootIsDecorated(False)
        self._table.setIndentation(8)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self._table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._copy, self._save = QPushButton("  Copy"), QPushButton("  Save …")
        self._report = QPushButton("  Report …")
        self._copy.setToolTip("Copy the parameters for a spreadsheet")
        self._save.setToolTip("Write parameters, profiles and the prepared surface into a folder")
        self._report.setToolTip("Write a PDF or HTML file to hand on (Ctrl+Alt+R)")
        self._build()
        self.set_tool("pin")
        self.set_result("")
        self.set_marks(Marks(), None)
        self.set_parameters((), ())
        self.set_fineness(None, 0.0)
        self.apply_theme()

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 10)
        layout.setSpacing(6)
        layout.addWidget(_heading("Draw"))
        row = QHBoxLayout()
        row.setSpacing(4)
        for tool, (_, title, tip) in TOOLS.items():
            button = self._tools[tool] = QToolButton()
            button.setText(title)
            button.setToolTip(tip)
            button.setCheckable(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda on, tool=tool: self.toolRequested.emit(tool if on else "pin"))
            row.addWidget(button)
        layout.addLayout(row)
        layout.addWidget(self._hint)
        layout.addWidget(_heading("Prepare the surface"))
        layout.addWidget(self._form)
        layout.addWidget(_heading("Measured"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.addWidget(self._result_name, 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._result, 0, 1)
        for k, (title, label, button) in enumerate(
            (("Area", self._area, self._whole), ("Step", self._step, self._no_step)), 1
        ):
            name = _text(title, "muted")
            grid.addWidget(name, k, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label, k, 1)
            grid.addWidget(button, k, 2, Qt.AlignmentFlag.AlignTop)
        grid.setColumnStretch(1, 1)
        layout.addLayout(grid)
        layout.addWidget(self._problem)
        layout.addWidget(self._table)
        layout.addWidget(self._operations)
        layout.addWidget(self._fineness)
        buttons = QHBoxLayout()
        buttons.addWidget(self._copy, 1)
        buttons.addWidget(self._save, 1)
        buttons.addWidget(self._report, 1)
        layout.addLayout(buttons)
        layout.addStretch(1)
        self._form.changed.connect(self.settingsEdited)
        self._whole.clicked.connect(self.wholeRequested)
        self._no_step.clicked.connect(self.stepRemoveRequested)
        self._copy.clicked.connect(self.copyRequested)
        self._save.clicked.connect(self.saveRequested)
        self._report.clicked.connect(self.reportRequested)

    def apply_theme(self) -> None:
        """Take icons of the theme."""
        for tool, (name, _, _) in TOOLS.items():
            self._tools[tool].setIcon(theme.icon(name))
        self._copy.setIcon(theme.icon("copy"))
        self._save.setIcon(theme.icon("floppy-disk"))
        self._report.setIcon(theme.icon("file-text"))

    def set_settings(self, settings: SurfaceSettings) -> None:
        """Show how the surface is prepared."""
        self._form.set_value(settings)

    def set_able(self, able: bool) -> None:
        """Whether there is a surface to measure."""
        for button in self._tools.values():
            button.setEnabled(able)

    def set_result(self, title: str) -> None:
        """Say which result is measured; nothing where there is one only."""
        self._result.setText(title)
        for label in (self._result_name, self._result):
            label.setVisible(bool(title))

    def set_tool(self, tool: Tool) -> None:
        """Show which tool is on, and how to use it."""
        for name, button in self._tools.items():
            button.setChecked(name == tool)
        self._hint.setText(HINTS[tool])
        self._hint.setVisible(bool(HINTS[tool]))

    def set_marks(self, marks: Marks, pixel_um: float | None) -> None:
        """Tell which area is measured."""
        self._area.setText("the whole picture" if marks.area is None else area_text(marks.area, pixel_um))
        self._whole.setVisible(marks.area is not None)
        self._no_step.setVisible(bool(marks.step))
        self._step_areas = ("no areas are drawn", "one more area to draw", "not measured")[len(marks.step)]
        if len(marks.step) < 2:
            self._step.setText(self._step_areas)

    def set_fineness(self, pixel_um: float | None, s_um: float) -> None:
        """Say how fine the measured depth can be, unless the S-filter says so; None for heights of an instrument."""
        text = fineness_text(pixel_um, s_um)
        self._fineness.setVisible(bool(text))
        self._fineness.setText(text)

    def set_step(self, step: Step | str | None) -> None:
        """Tell how high the step between the two areas is, or why that is not known."""
        if step is None:
            self._step.setText(self._step_areas)
        elif isinstance(step, str):
            self._step.setText(step)
        else:
            apart = ", ".join(f"{name} ± {measured(one)} µm" for name, one in zip("AB", step.residual_um, strict=True))
            higher = f"B lies {measured(abs(step.height_um))} µm {'above' if step.height_um >= 0 else 'below'} A"
            self._step.setText(f"{higher} (tilt {measured(step.tilt_deg)}°; {apart})")

    def set_current(self, current: bool) -> None:
        """Whether the numbers are those of what is chosen; they are dimmed while it is still being measured."""
        for widget in (self._table, self._step, self._operations):
            widget.setEnabled(current)

    def set_parameters(self, parameters: Sequence[Parameter], operations: Sequence[str], problem: str = "") -> None:
        """Show these parameters, or say why there are none."""
        self._table.clear()
        bold = self._table.font()
        bold.setBold(True)
        for group, title in PARAMETER_GROUPS.items():
            members = [one for one in parameters if one.group == group]
            if not members:
                continue
            head = QTreeWidgetItem(self._table, [title])
            head.setFirstColumnSpanned(True)
            head.setFont(0, bold)
            for one in members:
                item = QTreeWidgetItem(self._table, [one.name, one.text, one.title])
                for column in range(3):
                    item.setToolTip(column, f"{one.name}: {one.title}")
        header = self._table.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        rows = self._table.topLevelItemCount()
        height = sum(self._table.sizeHintForRow(k) for k in range(rows)) + 2 * self._table.frameWidth()
        self._table.setFixedHeight(height + 2)
        self._table.setVisible(bool(parameters))
        self._copy.setEnabled(bool(parameters))
        self._save.setEnabled(bool(parameters))
        self._report.setEnabled(bool(parameters))
        self._operations.setText("; ".join(operations))
        self._operations.setVisible(bool(operations) and bool(parameters))
        self._problem.setText(problem or EMPTY_TEXT)
        self._problem.setVisible(not parameters)


def area_text(area: Area, pixel_um: float | None) -> str:
    """Return where an area lies, for users."""
    rows, columns = area.shape
    size = f"{columns} × {rows} px"
    if pixel_um is not None:
        size = f"{measured(columns * pixel_um)} × {measured(rows * pixel_um)} µm ({size})"
    return f"{size} from row {area.top}, column {area.left}"


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", "heading")
    return label


def _text(text: str, role: str = "") -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if role:
        label.setProperty("role", role)
    return label
