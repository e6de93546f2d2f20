"""Progress and cancellation, which are one thing.

A long function takes ``report`` and calls it between steps. Whoever started the function may make
``report`` raise `Cancelled`; nothing else ever needs to be asked.

>>> token = CancelToken()
>>> depth = estimate(stack, settings, report=token.guard(print))   # doctest: +SKIP
>>> token.cancel()                                                 # from another thread
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


class Cancelled(Exception):  # noqa: N818  being cancelled is no error
    """Raised inside ``report`` when the work is no longer wanted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come: ``fraction`` in 0..1 and what it is doing, in a few words."""

    fraction: float
    text: str = ""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report to nobody; never cancels."""


def part(report: Report, begin: float, end: float) -> Report:
    """Return a report for a sub-task that covers ``begin``..``end`` of the whole."""

    def inner(progress: Progress) -> None:
        report(Progress(begin + (end - begin) * progress.fraction, progress.text))

    return inner


class CancelToken:
    """Switch that stops a job at its next report. Safe to use from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was asked to stop."""
        return self._event.is_set()

    def guard(self, report: Report = silent) -> Report:
        """Return a report that raises `Cancelled` once `cancel` was called."""

        def guarded(progress: Progress) -> None:
            if self._event.is_set():
                raise Cancelled
            report(progress)

        return guarded
