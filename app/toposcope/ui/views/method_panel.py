"""The method panel: which method, its settings, alignment, run and cancel, and earlier results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from PySide6.QtCore import QEvent, QPoint, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from toposcope.ui import theme
from toposcope.ui.forms import SettingsForm
from toposcope.ui.resolve import MethodState, RunRow
from toposcope.ui.session import State
from toposcope.ui.views.scrolled import scrolled

SHOWN_RESULTS: Final = 3
"""Results that there is always room for."""


class Card(Protocol):
    """What the panel shows of a method."""

    @property
    def title(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def good_at(self) -> str: ...
    @property
    def settings(self) -> type: ...


class MethodPanel(QWidget):
    """Chooses how depth is found. The forms are made from the methods' cards."""

    settingsEdited = Signal(object)  # EstimateSettings
    automaticToggled = Signal(bool)
    runRequested = Signal()
    cancelRequested = Signal()
    resultRequested = Signal(int)
    sideRequested = Signal(str, int)  # "A" or "B", number of the run

    def __init__(self, methods: Mapping[str, Card], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._methods = dict(methods)
        self._settings = State().settings
        self._running = False
        self._method = QComboBox()
        for name, card in methods.items():
            self._method.addItem(card.title, name)
        self._method.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._method.setMinimumContentsLength(12)
        self._about = _text(muted=True)
        self._source = _text(muted=True)
        self._forms = {name: SettingsForm(card.settings) for name, card in methods.items()}
        self._align = QComboBox()
        self._align.addItem("Automatic", "auto")
        self._align.addItem("Learned", "learned")
        self._align.addItem("None", "none")
        self._align.setToolTip(
            "Automatic measures first and aligns if needed; Learned does so by a network, which is less exact and "
            "knows no rotation; None takes the frames as they are"
        )
        self._align.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._align.setMinimumContentsLength(12)
        self._automatic = QCheckBox("Compute after each change")
        self._run = QPushButton()
        self._outdated = _text()
        self._outdated.setProperty("role", "warning")
        self._outdated.setText("Something has changed since this result was made.")
        self._facts = _text(muted=True)
        self._heading = QLabel("Results")
        self._results = QListWidget()
        # one row a result: the end of a long title says whether it is A or B
        self._results.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._results.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._results.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self._results.customContextMenuRequested.connect(self._on_menu)
        self._build()
        self.set_runs((), None)
        self.set_state(MethodState(self._settings, True, False, False, False, ""))

    def _build(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Method", self._method)
        layout.addLayout(form)
        layout.addWidget(self._about)
        layout.addWidget(self._source)
        self._form_layout = QVBoxLayout()
        for one in self._forms.values():
            self._form_layout.addWidget(one)
        layout.addLayout(self._form_layout)
        align = QFormLayout()
        align.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        align.addRow("Alignment", self._align)
        layout.addLayout(align)
        layout.addWidget(self._automatic)
        row = QHBoxLayout()
        row.addWidget(self._run, 1)
        layout.addLayout(row)
        layout.addWidget(self._outdated)
        layout.addWidget(self._facts)
        layout.addStretch(1)
        self._heading.setProperty("role", "heading")
        results = QVBoxLayout()
        results.setContentsMargins(10, 4, 10, 6)
        results.setSpacing(3)
        results.addWidget(self._heading)
        results.addWidget(self._results)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        # the results stay in view, however long the settings are
        outer.addWidget(scrolled(content), 1)
        outer.addLayout(results)
        self._method.activated.connect(self._on_edited)
        self._align.activated.connect(self._on_edited)
        for one in self._forms.values():
            one.changed.connect(self._on_edited)
        self._automatic.toggled.connect(self.automaticToggled)
        self._run.clicked.connect(lambda: (self.cancelRequested if self._running else self.runRequested).emit())
        self._results.itemClicked.connect(lambda item: self.resultRequested.emit(item.data(Qt.ItemDataRole.UserRole)))

    def apply_theme(self) -> None:
        """Take icons of the theme."""
        self._show_run_button()

    def set_methods(self, methods: Mapping[str, Card]) -> None:
        """Offer other methods; forms of those that stay keep what they show."""
        self._methods = dict(methods)
        for name in [name for name in self._forms if name not in methods]:
            self._forms.pop(name).deleteLater()
        for name, card in methods.items():
            if name not in self._forms:
                self._forms[name] = form = SettingsForm(card.settings)
                form.changed.connect(self._on_edited)
                form.setVisible(False)
                self._form_layout.addWidget(form)
        self._method.clear()
        for name, card in methods.items():
            self._method.addItem(card.title, name)
        self._method.setCurrentIndex(self._method.findData(self._settings.method))

    def set_state(self, state: MethodState) -> None:
        """Show these settings, and what the button does now."""
        self._settings, self._running = state.settings, state.running
        name = state.settings.method
        self._method.setCurrentIndex(self._method.findData(name))
        for key, form in self._forms.items():
            form.setVisible(key == name and not form.is_empty)
        if name in self._methods:
            card = self._methods[name]
            self._forms[name].set_value(state.settings.options)
            self._about.setText(card.good_at)
            self._source.setText(card.source)
        else:
            self._about.setText(f"{name} is not here any more: it was removed. Choose another method.")
            self._source.setText("")
        self._align.setCurrentIndex(self._align.findData(state.settings.align))
        self._automatic.blockSignals(True)
        self._automatic.setChecked(state.automatic)
        self._automatic.blockSignals(False)
        self._run.setEnabled(state.can_run or state.running)
        self._outdated.setVisible(state.outdated)
        self._facts.setText(state.facts)
        self._facts.setVisible(bool(state.facts))
        self._show_run_button()

    def set_runs(self, runs: Sequence[RunRow], shown: int | None, kept: str = "") -> None:
        """Show the results that there are, the newest on top; ``kept`` says how many, and what they hold."""
        self._results.clear()
        self._heading.setText(f"Results · {kept}" if kept else "Results")
        self._results.setVisible(bool(runs))
        self._heading.setVisible(bool(runs))
        for run in reversed(runs):
            sides = " and ".join(run.sides)
            item = QListWidgetItem(f"{run.title}   ({sides})" if sides else run.title)
            item.setData(Qt.ItemDataRole.UserRole, run.number)
            item.setToolTip(f"{run.title}\nClick to show it; the right button makes it A or B of a comparison")
            self._results.addItem(item)
            if run.number == shown:
                self._results.setCurrentItem(item)
        self._fit_results()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._fit_results()

    def _on_menu(self, at: QPoint) -> None:
        item = self._results.itemAt(at)
        if item is None:
            return
        number = item.data(Qt.ItemDataRole.UserRole)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Show it", lambda: self.resultRequested.emit(number))
        menu.addAction("Compare as A", lambda: self.sideRequested.emit("A", number))
        menu.addAction("Compare as B", lambda: self.sideRequested.emit("B", number))
        menu.popup(self._results.viewport().mapToGlobal(at))

    def _fit_results(self) -> None:
        """Give the list room for all results that are kept."""
        row = max(self._results.sizeHintForRow(0), self._results.fontMetrics().height())
        self._results.setFixedHeight(max(SHOWN_RESULTS, self._results.count()) * row + 2 * self._results.frameWidth())

    def _show_run_button(self) -> None:
        c = theme.colours()
        if self._running:
            self._run.setText("  Cancel")
            self._run.setIcon(theme.icon("stop-circle", c.error))
            self._run.setToolTip("Stop the computation (Esc)")
        else:
            self._run.setText("  Compute depth")
            self._run.setIcon(theme.icon("play", c.good))
            self._run.setToolTip("Compute the depth with these settings (Ctrl+R)")

    def _on_edited(self) -> None:
        name = self._method.currentData()
        form = self._forms[name]
        options = None if form.is_empty else form.value()
        self.settingsEdited.emit(replace(self._settings, method=name, options=options, align=self._align.currentData()))


def _text(muted: bool = False) -> QLabel:
    """Return a wrapping label whose text can be selected."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if muted:
        label.setProperty("role", "muted")
    return label
