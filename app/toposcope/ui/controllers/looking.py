"""A look at the stacks of a file while the user chooses one: in the background, what is chosen first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QObject, Signal

from toposcope.core.jobs import Report
from toposcope.core.pictures import display_range
from toposcope.core.source import OpenOptions, Preview, fact_rows
from toposcope.core.stack import Part
from toposcope.errors import ToposcopeError
from toposcope.ui.pyramid import Picture
from toposcope.ui.rendering import thumbnail
from toposcope.ui.workers import LatestRunner

SIDE = 300
ALL_UNASKED = 200
"""Files with up to this many positions get all their thumbnails."""


class Previewer(Protocol):
    """The engine's `preview`."""

    def __call__(self, path: Path | Sequence[Path], options: OpenOptions, report: Report) -> Preview: ...


class Looker(QObject):
    """Looks at stacks of one file, one after the other.

    What was asked for last comes first; while nothing is asked for, the other positions get their
    thumbnails. ``looked`` tells answers, parts, the picture (h, w, 3) and rows of facts.
    """

    looked = Signal(object, object, object, object)
    failed = Signal(object, str)

    def __init__(
        self,
        preview: Previewer,
        path: Path | Sequence[Path],
        options: OpenOptions,
        runner: LatestRunner,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._preview, self._path, self._options, self._runner = preview, path, options, runner
        self._seen: set[int] = set()
        self._positions = 0
        self._answers: dict[str, int] = {}
        runner.returned.connect(self._on_returned)
        runner.failed.connect(self._on_failed)

    def look(self, answers: Mapping[str, int], positions: int = 0) -> None:
        """Look at what ``answers`` choose, instead of whatever is looked at; the file has ``positions``."""
        self._positions = positions if positions <= ALL_UNASKED else 0
        self._start(dict(answers))

    def stop(self) -> None:
        """Stop looking, and say nothing more."""
        self._runner.drop()
        self._runner.returned.disconnect(self._on_returned)
        self._runner.failed.disconnect(self._on_failed)

    def _start(self, answers: dict[str, int]) -> None:
        self._answers = answers
        self._seen.add(answers.get("series", 0))
        path, options, preview = self._path, self._options, self._preview

        def work(report: Report) -> tuple[tuple[Part, ...], Picture, list[tuple[str, str]]]:
            found = preview(path, options.choosing(answers), report)
            picture, _ = thumbnail(found.picture, display_range(found.picture), SIDE)
            return found.parts, picture, fact_rows(found.facts)

        self._runner.start(work)

    def _on_returned(self, found: tuple[Any, ...]) -> None:
        self.looked.emit(self._answers, *found)
        self._next()

    def _on_failed(self, error: Exception) -> None:
        known = isinstance(error, ToposcopeError)
        self.failed.emit(self._answers, str(error) if known else f"{type(error).__name__}: {error}")
        self._next()

    def _next(self) -> None:
        """Look at the next position that has no thumbnail, while nothing else is asked for."""
        if self._runner.busy:
            return
        rest = [k for k in range(self._positions) if k not in self._seen]
        if rest:
            self._start({"series": rest[0]})
