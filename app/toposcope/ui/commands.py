"""Undoable edits: each is a change of fields of the session's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtGui import QUndoCommand, QUndoStack

from toposcope.ui.session import Session


class ChangeState(QUndoCommand):
    """Sets fields of the state, and sets them back."""

    def __init__(self, session: Session, text: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        super().__init__(text)
        self._session, self._before, self._after = session, dict(before), dict(after)

    def redo(self) -> None:
        self._session.set(**self._after)

    def undo(self) -> None:
        self._session.set(**self._before)


def push(undo: QUndoStack, session: Session, text: str, /, **changes: Any) -> None:
    """Make ``changes`` to the state, so that they can be undone."""
    before = {name: getattr(session.state, name) for name in changes}
    undo.push(ChangeState(session, text, before, changes))
