"""Calibration typed over what the files say, with undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.editing import CalibrationEdit
from toposcope.errors import ToposcopeError
from toposcope.ui.commands import push
from toposcope.ui.controllers.opening import problem
from toposcope.ui.resolve import calibrated, calibration
from toposcope.ui.session import Session
from toposcope.ui.views.calibration_panel import CalibrationPanel

AskPositions = Callable[[tuple[str, ...], tuple[float, ...], str], tuple[float, ...] | None]


class CalibratingController(QObject):
    """Takes the edits of the calibration panel. ``ask`` shows the dialog for all positions."""

    def __init__(
        self,
        session: Session,
        undo: QUndoStack,
        panel: CalibrationPanel,
        ask: AskPositions,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._undo, self._panel, self._ask = session, undo, panel, ask
        panel.stepEdited.connect(self.set_step)
        panel.unitEdited.connect(lambda unit: self._edit("unit", unit=unit))
        panel.kindEdited.connect(lambda kind: self._edit("optics", kind=kind))
        panel.nearEdited.connect(lambda near: self._edit("near side", near=near))
        panel.pixelEdited.connect(lambda pixel_um: self._edit("pixel size", pixel_um=pixel_um))
        panel.positionsRequested.connect(self.ask_positions)
        panel.resetRequested.connect(self.reset)

    def set_step(self, step: float) -> None:
        """Put the frames at equal steps, from where the first one lies."""
        stack = self._session.state.stack
        if stack is None:
            return
        first = float(stack.positions.value[0])
        positions = tuple(float(v) for v in first + step * np.arange(stack.n))
        # a step without a unit means micrometres to whoever types one
        unit = "um" if stack.unit == "index" else None
        changes: dict[str, Any] = {"positions": positions}
        self._edit("step", **changes, **({"unit": unit} if unit else {}))

    def ask_positions(self) -> None:
        """Let the user type the position of every frame."""
        stack = self._session.state.stack
        if stack is None:
            return
        values = tuple(float(v) for v in stack.positions.value)
        positions = self._ask(tuple(stack.source.names), values, stack.unit_symbol)
        if positions is not None and positions != values:
            self._edit("positions", positions=positions)

    def reset(self) -> None:
        """Go back to what the files say."""
        self._apply("calibration", CalibrationEdit())

    def _edit(self, name: str, **changes: Any) -> None:
        self._apply(name, replace(self._session.state.edit, **changes))

    def _apply(self, name: str, edit: CalibrationEdit) -> None:
        state = self._session.state
        if state.opened is None or edit == state.edit:
            return
        try:
            changes = calibrated(state, edit)
        except ToposcopeError as error:
            self._session.set(message=problem(error))
            # the fields go back to what holds
            if state.stack is not None:
                self._panel.set_calibration(calibration(state.stack, state.edit, state.run))
            return
        push(self._undo, self._session, f"change {name}", message=None, **changes)
