"""How a height map is to be laid over the heights that are shown."""

from __future__ import annotations

from typing import Final

from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QWidget,
)

from toposcope.core.height_map import MIRROR_WORDS, Level, Mirror, Place

LEVEL_TITLES: Final[dict[Level, str]] = {
    "plane": "Remove offset and tilt",
    "offset": "Remove an offset only",
    "none": "As measured",
}
PLACE_TITLES: Final = {
    "auto": "Find it: the same field, or by the shape",
    "same": "Middle on middle",
    "at": "Upper left corner at",
}


class HeightsDialog(QDialog):
    """Asks where a height map lies and at which level; what is chosen in the beginning suits most."""

    def __init__(self, name: str, over: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Compare with a height map")
        words = QLabel(f"{name} is laid over {over}, and subtracted from it.")
        words.setWordWrap(True)
        words.setMinimumWidth(340)
        self.level_box = QComboBox()
        for level, title in LEVEL_TITLES.items():
            self.level_box.addItem(title, level)
        self.mirror_box = QComboBox()
        self.mirror_box.addItem("As it is", "none")
        for mirror, title in MIRROR_WORDS.items():
            self.mirror_box.addItem(title[:1].upper() + title[1:], mirror)
        self.place_box = QComboBox()
        for place, title in PLACE_TITLES.items():
            self.place_box.addItem(title, place)
        self.row_box, self.column_box = _pixels("row "), _pixels("column ")
        self._corner = QWidget()
        row = QHBoxLayout(self._corner)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.row_box)
        row.addWidget(self.column_box)
        self.place_box.currentIndexChanged.connect(lambda _: self._show_corner())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Compare")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form = QFormLayout(self)
        form.addRow(words)
        form.addRow("Level", self.level_box)
        form.addRow("Turn", self.mirror_box)
        form.addRow("Place", self.place_box)
        form.addRow("", self._corner)
        form.addRow(buttons)
        self._show_corner()

    @property
    def level(self) -> Level:
        """What is removed by least squares before."""
        level: Level = self.level_box.currentData()
        return level

    @property
    def mirror(self) -> Mirror:
        """How it is turned before."""
        mirror: Mirror = self.mirror_box.currentData()
        return mirror

    @property
    def place(self) -> Place:
        """Where the height map lies, in pixels of what it is laid over."""
        place = self.place_box.currentData()
        if place == "at":
            return self.row_box.value(), self.column_box.value()
        return "same" if place == "same" else "auto"

    def _show_corner(self) -> None:
        self._corner.setEnabled(self.place_box.currentData() == "at")


def _pixels(prefix: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(-99_999, 99_999)
    box.setDecimals(1)
    box.setPrefix(prefix)
    return box
