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


class PauseSwitch:
    """Switch that holds a job at its next report until it is to go on. Safe to use from any thread.

    >>> switch = PauseSwitch()
    >>> adapt(stacks, output, report=switch.guard(token.guard()))      # doctest: +SKIP
    >>> switch.pause()                                                 # from another thread
    """

    def __init__(self) -> None:
        self._going = threading.Event()
        self._going.set()

    def pause(self) -> None:
        """Hold the job."""
        self._going.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._going.set()

    @property
    def is_paused(self) -> bool:
        """Whether the job is held, or will be at its next report."""
        return not self._going.is_set()

    def guard(self, report: Report = silent) -> Report:
        """Return a report that waits while the job is held; ``report`` hears so, and may still cancel it."""

        def guarded(progress: Progress) -> None:
            report(progress)
            while not self._going.wait(0.05):
                report(Progress(progress.fraction, "paused"))

        return guarded
