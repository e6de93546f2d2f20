"""The dialog that asks which stack of a file to open."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QDialogButtonBox, QListWidget
from pytestqt.qtbot import QtBot

from toposcope.core.source import Choice
from toposcope.core.stack import Part
from toposcope.ui.views.open_dialog import THUMBNAIL, OpenDialog

POSITIONS = Choice("series", "Position", ("P1", "P2", "P3"))
CHANNELS = Choice("channel", "Channel", ("DAPI", "GFP"))
TIMES = Choice("time", "Time point", ("t 1", "t 2", "t 3"))
PICTURE = np.full((60, 80, 3), 90, np.uint8)
ROWS = [("frames", "5 of 80 × 60"), ("near side", "high"), ("objective", "50x, NA 0.8 (CZI <b>)")]


def shown(qtbot: QtBot, *questions: Any, start: dict[str, int] | None = None) -> tuple[OpenDialog, list[Any]]:
    dialog = OpenDialog("a.czi holds several stacks.", questions, start)
    qtbot.addWidget(dialog)
    asked: list[Any] = []
    dialog.lookRequested.connect(asked.append)
    dialog.show()
    qtbot.waitExposed(dialog)
    return dialog, asked


def has_picture(positions: QListWidget, row: int) -> bool:
    image = positions.item(row).icon().pixmap(THUMBNAIL).toImage()
    return image.pixelColor(image.width() // 2, image.height() // 2).alpha() > 0


def boxes(dialog: OpenDialog) -> list[tuple[str, ...]]:
    return [tuple(box.itemText(k) for k in range(box.count())) for box in dialog.findChildren(QComboBox)]


def test_what_is_chosen_is_returned_and_looked_at(qtbot: QtBot) -> None:
    dialog, asked = shown(qtbot, POSITIONS, CHANNELS, TIMES)
    assert asked == [{"series": 0, "channel": 0, "time": 0}]
    dialog.findChildren(QComboBox)[1].setCurrentIndex(2)
    assert dialog.chosen() == {"series": 0, "channel": 0, "time": 2}
    positions = dialog.findChild(QListWidget)
    assert isinstance(positions, QListWidget)
    qtbot.keyClick(positions, Qt.Key.Key_Down)
    assert asked[-1] == dialog.chosen() == {"series": 1, "channel": 0, "time": 2}
    assert dialog.positions == 3


def test_keyboard_is_enough(qtbot: QtBot) -> None:
    dialog, _ = shown(qtbot, CHANNELS)
    dialog.activateWindow()
    (box,) = dialog.findChildren(QComboBox)
    qtbot.waitUntil(box.hasFocus)
    qtbot.keyClick(box, Qt.Key.Key_Down)
    qtbot.keyClick(box, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.result() == 1)
    assert dialog.chosen() == {"channel": 1}


def test_looks_show_picture_facts_and_what_else_is_to_be_chosen(qtbot: QtBot) -> None:
    dialog, _ = shown(qtbot, POSITIONS)
    positions = dialog.findChild(QListWidget)
    assert isinstance(positions, QListWidget)
    dialog.show_look({"series": 0}, (Part("series", "Position", POSITIONS.options, 0),), PICTURE, ROWS)
    assert has_picture(positions, 0)
    assert not has_picture(positions, 1)
    assert boxes(dialog) == []
    assert dialog._picture.pixmap().width() == 300
    assert "5 of 80 × 60" in dialog._facts.text()
    assert "near side" not in dialog._facts.text().lower()
    assert "&lt;b&gt;" in dialog._facts.text()
    # another position has channels and times of its own
    positions.setCurrentRow(1)
    parts = (Part("channel", "Channel", CHANNELS.options, 0), Part("time", "Time point", TIMES.options, 0))
    dialog.show_look({"series": 1}, parts, PICTURE, ROWS)
    assert boxes(dialog) == [CHANNELS.options, TIMES.options]
    assert dialog.chosen() == {"series": 1, "channel": 0, "time": 0}
    # a late look at one that is no longer chosen brings its thumbnail and nothing else
    dialog.show_look({"series": 2}, (), PICTURE, [("frames", "other")])
    assert has_picture(positions, 2)
    assert "other" not in dialog._facts.text()
    assert boxes(dialog) == [CHANNELS.options, TIMES.options]
    positions.setCurrentRow(2)
    dialog.show_look({"series": 2, "channel": 0, "time": 0}, (), PICTURE, ROWS)
    assert dialog.chosen() == {"series": 2}


def test_a_stack_that_cannot_be_looked_at_says_why_and_can_be_opened_all_the_same(qtbot: QtBot) -> None:
    dialog, _ = shown(qtbot, CHANNELS, start={"channel": 1})
    assert dialog.chosen() == {"channel": 1}
    dialog.show_problem({"channel": 0}, "not this one")
    assert dialog._facts.text() == ""
    dialog.show_problem({"channel": 1}, "slice 3 is damaged.")
    assert dialog._facts.text() == "slice 3 is damaged."
    buttons = dialog.findChild(QDialogButtonBox)
    assert isinstance(buttons, QDialogButtonBox)
    assert buttons.button(QDialogButtonBox.StandardButton.Open).isEnabled()
