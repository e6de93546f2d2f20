"""Background work: one thread per kind of work, and the newest request wins.

The cycle of a request::

    start(work)            main thread   number += 1; the job before it is told to stop
      └─ work(report)      worker        report(...) raises Cancelled once a newer request came
           └─ answer       main thread   dropped if its number is old, else one of
                                         returned / failed / cancelled
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Literal

from PySide6.QtCore import QObject, Qt, Signal, Slot

from toposcope.core.jobs import Cancelled, CancelToken, Progress, Report

Work = Callable[[Report], Any]
PROGRESS_INTERVAL: Final = 0.05
"""Seconds between two progress signals: 20 a second is all that an eye can use."""

NICE: Final = 5
"""How far background work that takes minutes steps back, 0 to 19."""

_Kind = Literal["progressed", "returned", "failed", "cancelled"]


class LatestRunner(QObject):
    """Runs functions in one background thread; only the newest request is answered.

    >>> runner = LatestRunner("depth")                              # doctest: +SKIP
    >>> runner.returned.connect(show)                               # doctest: +SKIP
    >>> runner.start(lambda report: estimate(stack, settings, report))  # doctest: +SKIP
    """

    progressed = Signal(object)  # Progress, at most 20 a second
    returned = Signal(object)  # whatever the work returned
    failed = Signal(object)  # the exception
    cancelled = Signal()  # asked for by cancel(); a newer request is silent
    busyChanged = Signal(bool)
    _answered = Signal(int, str, object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"toposcope-{name}")
        self._number = 0
        self._token = CancelToken()
        self._future: Future[None] | None = None
        self._next: Work | None = None
        self._busy = False
        self._closed = False
        # queued, so that an answer never arrives inside start()
        self._answered.connect(self._on_answered, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """Whether the newest request has not been answered yet."""
        return self._busy

    def start(self, work: Work) -> None:
        """Run ``work(report)`` in the background instead of whatever was asked before."""
        if self._closed:
            return
        self._token.cancel()
        self._next = None
        if self._future is not None:
            self._future.cancel()  # it may not have begun
        self._number += 1
        self._token = CancelToken()
        self._future = self._executor.submit(self._run, self._number, self._token, work)
        self._set_busy(True)

    def follow(self, work: Work) -> None:
        """Run ``work`` when the running one is answered, instead of what was to follow before.

        For drags: with `start` a stream of requests quicker than the work would leave none answered.
        """
        if self._busy:
            self._next = work
        else:
            self.start(work)

    def cancel(self) -> None:
        """Ask the running work to stop; `cancelled` follows at its next report."""
        self._token.cancel()
        self._next = None
        if self._busy and self._future is not None and self._future.cancel():
            self._answered.emit(self._number, "cancelled", None)

    def drop(self) -> None:
        """Stop the running work and say nothing about it."""
        self._token.cancel()
        self._next = None
        self._number += 1
        self._set_busy(False)

    def shutdown(self) -> None:
        """Stop the work, wait for its thread and refuse further requests."""
        self._closed = True
        self.drop()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, number: int, token: CancelToken, work: Work) -> None:
        report = token.guard(throttled(lambda progress: self._answered.emit(number, "progressed", progress)))
        try:
            answer = work(report)
        except Cancelled:
            self._answered.emit(number, "cancelled", None)
        except Exception as error:  # noqa: BLE001  handed over whole: the window shows it
            self._answered.emit(number, "failed", error)
        else:
            kind: _Kind = "cancelled" if token.is_cancelled else "returned"
            self._answered.emit(number, kind, answer)

    @Slot(int, str, object)
    def _on_answered(self, number: int, kind: _Kind, answer: object) -> None:
        if number != self._number:
            return
        if kind == "progressed":
            self.progressed.emit(answer)
            return
        follower, self._next = self._next, None
        if follower is None:
            self._set_busy(False)
        else:
            self.start(follower)
        if kind == "returned":
            self.returned.emit(answer)
        elif kind == "failed":
            self.failed.emit(answer)
        else:
            self.cancelled.emit()

    def _set_busy(self, busy: bool) -> None:
        if busy != self._busy:
            self._busy = busy
            self.busyChanged.emit(busy)


def nicely() -> None:
    """Let the calling thread, and those that it starts, step back behind the user's own work; on Linux only.

    torch's threads are children of the one that computes. Elsewhere priorities belong to whole processes.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            usual = os.getpriority(os.PRIO_PROCESS, os.getpid())  # of the first thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, usual + NICE))


def throttled(report: Report) -> Report:
    """Return a report that passes on at most 20 calls a second, and always the last one."""
    last = -PROGRESS_INTERVAL

    def inner(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_INTERVAL or progress.fraction >= 1:
            last = now
            report(progress)

    return inner
