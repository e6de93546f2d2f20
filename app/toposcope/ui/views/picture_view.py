"""The centre of the window: what to show, the canvas, the colour bar and the slice slider."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap, QResizeEvent, QStandardItemModel
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.pictures import colour_table
from toposcope.ui import theme
from toposcope.ui.rendering import COLOUR_MAPS, Rendered
from toposcope.ui.resolve import ChannelChoice, Comparison, Hint, SliceState, TimeState
from toposcope.ui.session import MODES, Kinds, Mode, Offer, Subject
from toposcope.ui.views.canvas import Canvas, Where
from toposcope.ui.views.elided_box import ElidedComboBox
from toposcope.ui.views.range_bar import RangeBar

MODE_TITLES: Final[dict[Mode, tuple[str, str]]] = {
    "slice": ("Slice", "The frames as they were taken (1)"),
    "all_in_focus": ("All in focus", "Everything sharp in one picture (2)"),
    "depth": ("Depth", "Where each pixel is sharpest (3)"),
    "confidence": ("Confidence", "How far each depth can be trusted, from 0 to 1 (4)"),
    "peaks": ("Peaks", "How many focus peaks each pixel has (5)"),
    "sweep": ("Sweep", "What the sweep lacks, and where (6)"),
    "compare": ("A | B", "Two results with a line to drag between them (7)"),
    "difference": ("A − B", "Where two results differ, and by how much (8)"),
}
HEIGHT_TITLE: Final = ("Height", "What the instrument has measured, counted from the lowest height (3)")
SHORT_TITLES: Final[dict[Mode, str]] = {
    "all_in_focus": "Sharp",
    "confidence": "Conf.",
    "compare": "A|B",
    "difference": "A−B",
}
"""Titles for narrow windows."""
NARROW: Final = 680
"""Width in pixels below which the titles do not fit."""
TINY: Final = 540
"""Width in pixels below which there is no room for what the menu has as well."""
LIST: Final = 440
"""Width in pixels below which the modes are a list, since no title fits."""


class PictureView(QWidget):
    """Shows one picture, or two of them compared, with everything around it."""

    modeRequested = Signal(str)
    colourMapRequested = Signal(str)
    pairRequested = Signal(int, int)  # numbers of the runs A and B
    showRequested = Signal(object)  # Kinds
    numbersRequested = Signal()
    channelRequested = Signal(int)
    timeRequested = Signal(int)
    allTimesRequested = Signal()
    offerChosen = Signal(object)  # Offer
    sliceRequested = Signal(int)
    limitsRequested = Signal(object)  # (low, high), None for automatic

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas = Canvas(self)
        self.range_bar = RangeBar(self)
        self._modes: dict[Mode, QToolButton] = {}
        self._narrow = self._tiny = False
        self._subject: Subject = "stack"
        self._mode_list = QComboBox()
        self._maps = QComboBox()
        self._channels = ElidedComboBox()
        self._sides = (ElidedComboBox(), ElidedComboBox())
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._caption = QLabel()
        self._time_row, self._time_slider = QWidget(), QSlider(Qt.Orientation.Horizontal)
        self._time_caption, self._all_times = QLabel(), QPushButton("All times …")
        self._comparison: Comparison | None = None
        self._show = ElidedComboBox()
        self._statistics = QLabel()
        self._strip, self._page = HintBar(), HintPage()
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
            self._mode_list.addItem(MODE_TITLES[mode][0], mode)
        self._mode_list.activated.connect(lambda i: self.modeRequested.emit(self._mode_list.itemData(i)))
        self._mode_list.hide()
        top.addWidget(self._mode_list)
        top.addStretch(1)
        self._channels.setToolTip("Channel of the all-in-focus picture; its depth is that of the stack's channel")
        self._channels.setAccessibleName("Channel")
        self._channels.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._channels.setMinimumContentsLength(9)
        self._channels.activated.connect(self.channelRequested)
        self._channels.hide()
        top.addWidget(self._channels)
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
            if letter == "B":
                self._swap = self._tool("Swap A and B (Ctrl+Shift+X)", self._on_swap, row)
            row.addWidget(QLabel(letter))
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(6)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.activated.connect(self._on_side_chosen)
            row.addWidget(box, 2)
        self._show.setToolTip("What is shown of A and of B (Ctrl+Shift+P)")
        self._show.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._show.setMinimumContentsLength(5)
        self._show.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._show.activated.connect(lambda i: self.showRequested.emit(self._shows[i]))
        row.addWidget(self._show, 1)
        self._numbers = self._tool("Save the difference as numbers, a 32-bit TIFF", self.numbersRequested, row)
        self._shows: tuple[Kinds, ...] = ()
        self._strip.offerChosen.connect(self.offerChosen)
        self._page.offerChosen.connect(self.offerChosen)

        shown = QWidget()
        centre = QHBoxLayout(shown)
        centre.setContentsMargins(0, 0, 0, 0)
        centre.setSpacing(0)
        centre.addWidget(self.canvas, 1)
        centre.addWidget(self.range_bar)
        self.range_bar.limitsRequested.connect(self.limitsRequested)
        self._pages = QStackedWidget()
        self._pages.addWidget(shown)
        self._pages.addWidget(self._page)
        self._statistics.setWordWrap(True)
        self._statistics.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._statistics.setContentsMargins(10, 4, 10, 6)
        self._statistics.setMinimumWidth(1)  # long lines wrap instead of widening the window
        self._statistics.hide()

        self._slice_row = QWidget()
        bottom = QHBoxLayout(self._slice_row)
        bottom.setContentsMargins(8, 2, 8, 4)
        self._slider.setToolTip("Slice (wheel, or left and right arrow keys)")
        self._slider.valueChanged.connect(self.sliceRequested)
        self._caption.setMinimumWidth(150)
        self._caption.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        bottom.addWidget(self._slider, 1)
        bottom.addWidget(self._caption)

        times = QHBoxLayout(self._time_row)
        times.setContentsMargins(8, 2, 8, 4)
        heading = QLabel("Time")
        heading.setProperty("role", "muted")
        self._time_slider.setToolTip("Time point (Page Up and Page Down)")
        self._time_slider.setAccessibleName("Time point")
        self._time_slider.valueChanged.connect(self.timeRequested)
        self._time_caption.setMinimumWidth(150)
        self._all_times.setToolTip("Compute the depth of every time point into a folder, with a table")
        self._all_times.clicked.connect(self.allTimesRequested)
        for widget, stretch in ((heading, 0), (self._time_slider, 1), (self._time_caption, 0), (self._all_times, 0)):
            times.addWidget(widget, stretch)
        self._time_row.hide()

        self._wait.setParent(self.canvas)
        self._wait.setStyleSheet("background: rgba(10, 11, 13, 190); color: #f2f4f7; padding: 4px 9px;")
        self._wait.move(10, 10)
        self._wait.hide()

        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(self._compare_row)
        layout.addWidget(self._strip)
        layout.addWidget(self._pages, 1)
        layout.addWidget(self._statistics)
        layout.addWidget(self._slice_row)
        layout.addWidget(self._time_row)

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
        self._swap.setIcon(theme.icon("swap"))
        self._numbers.setIcon(theme.icon("floppy-disk"))
        self._strip.apply_theme()
        self._dress_modes()
        self.canvas.apply_theme()
        self.range_bar.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow, tiny, as_list = (self.width() < least for least in (NARROW, TINY, LIST))
        if (narrow, tiny, as_list) != (self._narrow, self._tiny, self._mode_list.isVisibleTo(self)):
            self._narrow, self._tiny = narrow, tiny
            for button in (self._fit, self._pixels):
                button.setVisible(not tiny)
            for button in self._modes.values():
                button.setVisible(not as_list)
            self._mode_list.setVisible(as_list)
            self._dress_modes()

    def _dress_modes(self) -> None:
        """Give the mode buttons their colours, and titles that fit."""
        c = theme.colours()
        checked = f"QToolButton:checked {{ background: {c.accent}; color: {c.accent_text}; border-radius: 3px; }}"
        padding = 2 if self._tiny else 4 if self._narrow else 8
        for mode, button in self._modes.items():
            title = HEIGHT_TITLE[0] if mode == "depth" and self._subject == "height map" else MODE_TITLES[mode][0]
            button.setText(SHORT_TITLES.get(mode, title) if self._narrow else title)
            button.setStyleSheet(f"QToolButton {{ padding: 4px {padding}px; border: none; }} {checked}")

    def set_modes(self, mode: Mode, available: frozenset[Mode], subject: Subject = "stack") -> None:
        """Show which mode is on and which have something to show; what a height map has is no depth but a height."""
        title, tip = HEIGHT_TITLE if subject == "height map" else MODE_TITLES["depth"]
        self._modes["depth"].setText(title)
        self._modes["depth"].setToolTip(tip)
        self._mode_list.setItemText(MODES.index("depth"), title)
        self._subject = subject
        for name, button in self._modes.items():
            button.setEnabled(name in available)
            button.setChecked(name == mode)
        items = self._mode_list.model()
        for i, name in enumerate(MODES):
            if isinstance(items, QStandardItemModel):
                items.item(i).setEnabled(name in available)
        self._mode_list.setCurrentIndex(MODES.index(mode))
        compare = mode == "compare"
        self._compare_row.setVisible(mode in ("compare", "difference"))
        self._slice_row.setVisible(mode == "slice" and bool(available))
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
        if where == "left":
            text = rendered.statistics if rendered else ""
            self._statistics.setText(text[:1].upper() + text[1:])
            self._statistics.setVisible(bool(text))
        self._show_scale()

    def _show_scale(self) -> None:
        """Show the colour bar of the left side, else of the right, and the legend of both."""
        shown = [rendered for rendered in (self._shown["left"], self._shown["right"]) if rendered is not None]
        scale = next((rendered.scale for rendered in shown if rendered.scale), None)
        self.range_bar.set_scale(scale)
        self.range_bar.setVisible(scale is not None)
        self.canvas.set_legend(tuple(dict.fromkeys(entry for rendered in shown for entry in rendered.legend)))

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

    def set_times(self, times: TimeState | None) -> None:
        """Show which time point is looked at; None where the file holds one."""
        self._time_row.setVisible(times is not None)
        if times is None:
            return
        self._time_slider.blockSignals(True)
        self._time_slider.setRange(0, times.count - 1)
        self._time_slider.setPageStep(max(1, times.count // 10))
        self._time_slider.setValue(times.index)
        self._time_slider.blockSignals(False)
        stored = f" · {times.done} of {times.count} stored" if times.done else ""
        self._time_caption.setText(f"{times.text}{stored}")
        self._time_caption.setToolTip(f"{times.text}, {times.index + 1} of {times.count}{stored}")

    def set_channels(self, choice: ChannelChoice | None) -> None:
        """Show whose all-in-focus picture is shown; None where there is nothing to choose."""
        self._channels.setVisible(choice is not None)
        if choice is None:
            return
        if tuple(self._channels.itemText(k) for k in range(self._channels.count())) != choice.names:
            self._channels.clear()
            self._channels.addItems(choice.names)
        self._channels.setCurrentIndex(choice.shown)

    def set_comparison(self, comparison: Comparison) -> None:
        """Show what can be compared and what is compared now."""
        before, self._comparison = self._comparison, comparison
        if before is None or before.results != comparison.results:
            for box in self._sides:
                box.clear()
                for row in comparison.results:
                    box.addItem(row.title, row.number)
                    box.setItemData(box.count() - 1, row.title, Qt.ItemDataRole.ToolTipRole)
        for box, number in zip(self._sides, (comparison.a, comparison.b), strict=True):
            box.setCurrentIndex(box.findData(number))
            box.setToolTip(box.currentText())
            box.setEnabled(len(comparison.results) > 1)
        self._swap.setEnabled(len(comparison.results) > 1)
        kinds = tuple(kinds for kinds, _ in comparison.shows)
        if kinds != self._shows:
            self._shows = kinds
            self._show.clear()
            self._show.addItems([title for _, title in comparison.shows])
        self._show.setCurrentIndex(self._shows.index(comparison.show) if comparison.show in self._shows else -1)
        compare = comparison.mode == "compare"
        self._show.setVisible(compare)
        self._numbers.setVisible(comparison.mode == "difference")
        self._numbers.setEnabled(comparison.ready)
        self._slice_row.setVisible(self._modes["slice"].isChecked() or (compare and "slice" in comparison.show))
        self._strip.set_hint(comparison.hint if compare else None)
        self._page.set_hint(comparison.hint)
        self._pages.setCurrentIndex(1 if comparison.mode == "difference" and comparison.hint is not None else 0)
        self.canvas.set_split_at(comparison.split)
        if compare:
            self.canvas.set_split(True, comparison.names)

    def _on_side_chosen(self) -> None:
        a, b = (box.currentData() for box in self._sides)
        self.pairRequested.emit(a, b)

    def _on_swap(self) -> None:
        if self._comparison is not None:
            self.pairRequested.emit(self._comparison.b, self._comparison.a)


class _Hints(QWidget):
    """A sentence with a button that leads on."""

    offerChosen = Signal(object)  # Offer

    def __init__(self) -> None:
        super().__init__()
        self._offer: Offer | None = None
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._button = QPushButton()
        self._button.clicked.connect(lambda: self.offerChosen.emit(self._offer))

    def set_hint(self, hint: Hint | None) -> None:
        """Show this hint."""
        self._offer = hint.offer if hint is not None else None
        self._text.setText(hint.text if hint is not None else "")
        self._button.setText(self._offer.label if self._offer is not None else "")
        self._button.setVisible(self._offer is not None)


class HintBar(_Hints):
    """A hint over pictures that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("hint")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 4, 8, 4)
        layout.addWidget(self._text, 1)
        layout.addWidget(self._button)
        self.hide()

    def set_hint(self, hint: Hint | None) -> None:
        super().set_hint(hint)
        self.setVisible(hint is not None)

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        c = theme.colours()
        self.setStyleSheet(f"#hint {{ background: {c.alternate}; border-left: 4px solid {c.accent}; }}")


class HintPage(_Hints):
    """A hint in place of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(12)
        layout.addStretch(1)
        layout.addWidget(self._text)
        layout.addWidget(self._button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)


def _map_icon(name: str) -> QIcon:
    """Return a strip of the colours of a map."""
    table = colour_table(name)
    strip = QImage(table.data, 256, 1, 768, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(strip.scaled(96, 24)))
