"""Forms made from settings dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox
from pytestqt.qtbot import QtBot

from toposcope.core.estimate import METHODS
from toposcope.core.settings import setting
from toposcope.ui.forms import SettingsForm


@dataclass(frozen=True)
class Example:
    window: int = setting(9, "Window", "side of the square", minimum=1, maximum=31, odd=True, unit="px")
    sigma: float = setting(0.05, "Noise", "standard deviation", minimum=0.0, maximum=1.0, step=0.01)
    fill: bool = setting(False, "Fill", "fill small voids")
    kind: str = setting("soft", "Kind", "of edges", choices=("soft", "hard"))


def test_form_shows_what_the_metadata_say(qtbot: QtBot) -> None:
    form = SettingsForm(Example)
    qtbot.addWidget(form)
    window = form.findChild(QSpinBox)
    assert window is not None
    assert (window.minimum(), window.maximum(), window.suffix()) == (1, 31, " px")
    assert window.singleStep() == 2
    assert window.toolTip() == "side of the square"
    assert form.value() == Example()


def test_an_edit_makes_new_settings(qtbot: QtBot) -> None:
    form = SettingsForm(Example)
    qtbot.addWidget(form)
    with qtbot.waitSignals([form.changed] * 4):
        form.findChild(QSpinBox).setValue(12)  # even: taken as the next odd number
        form.findChild(QDoubleSpinBox).setValue(0.25)
        form.findChild(QCheckBox).setChecked(True)
        form.findChild(QComboBox).setCurrentIndex(1)
    assert form.value() == Example(13, 0.25, True, "hard")


def test_setting_a_value_is_no_edit(qtbot: QtBot) -> None:
    form = SettingsForm(Example)
    qtbot.addWidget(form)
    with qtbot.assertNotEmitted(form.changed):
        form.set_value(Example(21, 0.5, True, "hard"))
    assert form.value() == Example(21, 0.5, True, "hard")
    form.set_value(None)
    assert form.value() == Example()


def test_form_of_nothing_is_empty(qtbot: QtBot) -> None:
    @dataclass(frozen=True)
    class Nothing:
        pass

    form = SettingsForm(Nothing)
    qtbot.addWidget(form)
    assert form.is_empty
    with pytest.raises(TypeError, match="no dataclass"):
        SettingsForm(int)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_has_a_form_that_gives_its_defaults(qtbot: QtBot, name: str) -> None:
    form = SettingsForm(METHODS[name].settings)
    qtbot.addWidget(form)
    assert form.value() == METHODS[name].settings()
