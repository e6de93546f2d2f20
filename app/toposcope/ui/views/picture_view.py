"""The centre of the window: what to show, the canvas, the colour bar and the slice slider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.pictures import colour_table
from toposcope.ui import theme
from toposcope.ui.rendering import COLOUR_MAPS, Rendered
from toposcope.ui.resolve import SliceState
from toposcope.ui.session import MODES, Layer, Mode
from toposcope.ui.views.canvas import Canvas, Where
from toposcope.ui.views.range_bar import RangeBar

MODE_TITLES: Final[dict[Mode, tuple[str, str]]] = {
    "slice": ("Slice", "The frames as they were taken (1)"),
    "all_in_focus": ("All in focus", "Everything sharp in one picture (2)"),
    "depth": ("Depth", "Where each pixel is sharpest (3)"),
    "confidence": ("Confidence", "How far each depth can be trusted, from 0 to 1 (4)"),
    "peaks": ("Peaks", "How many focus peaks each pixel has (5)"),
    "sweep": ("Sweep", "What the sweep lacks, and where (6)"),
    "compare": ("A | B", "Two pictures with a line to drag between them (7)"),
}
SHORT_TITLES: Final[dict[Mode, str]] = {"all_in_focus": "Sharp", "confidence": "Conf.", "compare": "A|B"}
"""Titles for narrow windows."""
NARROW: Final = 610
"""Width in pixels below which the titles do not fit."""


class PictureView(QWidget):
    """Shows one picture, or two of them compared, with everything around it."""

    modeRequested = Signal(str)
    colourMapRequested = Signal(str)
    compareRequested = Signal(object, object)  # Layer, Layer
    sliceRequested = Signal(int)
    limitsRequested = Signal(object)  # (low, high), None for automatic

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas = Canvas(self)
        self.range_bar = RangeBar(self)
        self._modes: dict[Mode, QToolButton] = {}
        self._narrow = False
        self._maps = QComboBox()
        self._sides = (QComboBox(), QComboBox())
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._caption = QLabel()
        self._choices: tuple[tuple[Layer, str], ...] = ()
        self._shown: dict[Where, Rendered | None] = {"left": None, "right": None}
        self._wait = QLabel("Computing this map …")
        self._build()
        self.set_modes("slice", frozenset())
        self.apply_theme()

    def _build(self) -> None:
        top = QHBoxLayout()
        top.setContentsMargins(6, 4, 6, 2)
        top.setSpacing(1)
        group = QButtonGroup(self)
        for mode in MODES:
            button = QToolButton()
            button.setText(MODE_TITLES[mode][0])
            button.setToolTip(MODE_TITLES[mode][1])
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.clicked.connect(lambda _=False, m=mode: self.modeRequested.emit(m))
            group.addButton(button)
            top.addWidget(button)
            self._modes[mode] = button
        top.addStretch(1)
        self._maps.setIconSize(QSize(48, 12))
        for name, title in COLOUR_MAPS.items():
            self._maps.addItem(_map_icon(name), title, name)
        self._maps.setToolTip("Colour map")
        self._maps.activated.connect(lambda i: self.colourMapRequested.emit(self._maps.itemData(i)))
        top.addWidget(self._maps)
        self._fit = self._tool("Show the whole picture (F)", self.canvas.fit, top)
        self._pixels = self._tool("One picture pixel on one screen pixel (0)", self.canvas.zoom_to_pixels, top)

        self._compare_row = QWidget()
        row = QHBoxLayout(self._compare_row)
        row.setContentsMargins(8, 0, 8, 2)
        for letter, box in zip("AB", self._sides, strict=True):
            row.addWidget(QLabel(letter))
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(12)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.activated.connect(self._on_side_chosen)
            row.addWidget(box, 1)

        centre = QHBoxLayout()
        centre.setSpacing(0)
        centre.addWidget(self.canvas, 1)
        centre.addWidget(self.range_bar)
        self.range_bar.limitsRequested.connect(self.limitsRequested)

        self._slice_row = QWidget()
        bottom = QHBoxLayout(self._slice_row)
        bottom.setContentsMargins(8, 2, 8, 4)
        self._slider.setToolTip("Slice (wheel, or left and right arrow keys)")
        self._slider.valueChanged.connect(self.sliceRequested)
        self._caption.setMinimumWidth(150)
        self._caption.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        bottom.addWidget(self._slider, 1)
        bottom.addWidget(self._caption)

        self._wait.setParent(self.canvas)
        self._wait.setStyleSheet("background: rgba(10, 11, 13, 190); color: #f2f4f7; padding: 4px 9px;")
        self._wait.move(10, 10)
        self._wait.hide()

        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(self._compare_row)
        layout.addLayout(centre, 1)
        layout.addWidget(self._slice_row)

    def _tool(self, tip: str, slot: object, row: QHBoxLayout) -> QToolButton:
        button = QToolButton()
        button.setToolTip(tip)
        button.setAutoRaise(True)
        button.clicked.connect(slot)
        row.addWidget(button)
        return button

    def apply_theme(self) -> None:
        """Take icons and colours of the theme."""
        self._fit.setIcon(theme.icon("corners-out"))
        self._pixels.setIcon(theme.icon("magnifying-glass-plus"))
        self._dress_modes()
        self.canvas.apply_theme()
        self.range_bar.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if (self.width() < NARROW) != self._narrow:
            self._narrow = not self._narrow
            self._dress_modes()

    def _dress_modes(self) -> None:
        """Give the mode buttons their colours, and titles that fit."""
        c = theme.colours()
        checked = f"QToolButton:checked {{ background: {c.accent}; color: {c.accent_text}; border-radius: 3px; }}"
        padding = 4 if self._narrow else 8
        for mode, button in self._modes.items():
            title = MODE_TITLES[mode][0]
            button.setText(SHORT_TITLES.get(mode, title) if self._narrow else title)
            button.setStyleSheet(f"QToolButton {{ padding: 4px {padding}px; border: none; }} {checked}")

    def set_modes(self, mode: Mode, available: frozenset[Mode]) -> None:
        """Show which mode is on and which have something to show."""
        for name, button in self._modes.items():
            button.setEnabled(name in available)
            button.setChecked(name == mode)
        compare = mode == "compare"
        self._compare_row.setVisible(compare)
        self._slice_row.setVisible(mode in ("slice", "compare") and bool(available))
        self._maps.setVisible(mode in ("depth", "confidence", "compare"))
        self.canvas.set_scrubbing(mode == "slice")
        if not compare:
            self.canvas.set_split(False)

    def set_picture(self, where: Where, rendered: Rendered | None) -> None:
        """Show a picture on one side."""
        if where == "left":
            self._wait.hide()
        self._shown[where] = rendered
        self.canvas.set_picture(where, rendered.pyramid if rendered else None)
        self._show_scale()

    def _show_scale(self) -> None:
        """Show the colour bar and the legend of the left side, else of the right."""
        shown = [rendered for rendered in (self._shown["left"], self._shown["right"]) if rendered is not None]
        scale = next((rendered.scale for rendered in shown if rendered.scale), None)
        self.range_bar.set_scale(scale)
        self.range_bar.setVisible(scale is not None)
        self.canvas.set_legend(next((rendered.legend for rendered in shown if rendered.legend), ()))

    def set_waiting(self, text: str) -> None:
        """Say that the wanted picture is still being computed."""
        self._wait.setText(text)
        self._wait.adjustSize()
        self._wait.setVisible(bool(text))

    def set_slices(self, slices: SliceState) -> None:
        """Show which slice is looked at."""
        self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, slices.count - 1))
        self._slider.setPageStep(max(1, slices.count // 10))
        self._slider.setValue(slices.index)
        self._slider.blockSignals(False)
        self._caption.setText(slices.text)

    def set_colour_map(self, name: str) -> None:
        """Show which colour map is on."""
        self._maps.setCurrentIndex(self._maps.findData(name))

    def set_comparison(self, choices: Sequence[tuple[Layer, str]], left: Layer, right: Layer, on: bool) -> None:
        """Show what can be compared and what is compared now."""
        self._choices = tuple(choices)
        labels = dict(choices)
        for box, layer in zip(self._sides, (left, right), strict=True):
            box.clear()
            box.addItems([label for _, label in choices])
            index = next((i for i, (choice, _) in enumerate(choices) if choice == layer), -1)
            box.setCurrentIndex(index)
            box.setToolTip(labels.get(layer, ""))
        if on:
            self.canvas.set_split(True, (f"A  {labels.get(left, '')}", f"B  {labels.get(right, '')}"))

    def _on_side_chosen(self) -> None:
        left, right = (self._choices[box.currentIndex()][0] for box in self._sides)
        self.compareRequested.emit(left, right)


def _map_icon(name: str) -> QIcon:
    """Return a strip of the colours of a map."""
    table = colour_table(name)
    strip = QImage(table.data, 256, 1, 768, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(strip.scaled(96, 24)))
