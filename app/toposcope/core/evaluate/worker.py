"""One method in a process of its own, whose largest memory is then the method's."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from toposcope.core.curve import peak_counts
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.evaluate.cases import Case
from toposcope.core.evaluate.scoring import Answer, turning_points
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.errors import ToposcopeError

Message = tuple[Any, ...]
"""What the process sends: ("progress", Progress), ("failed", sentence), ("answer", Answer, peak bytes so
far) with maps replaced by the names of files."""

PAUSE: Final = 0.1
"""Seconds between two messages of progress, and between two looks at whether the work is still wanted."""

_MAPS: Final = ("depth", "known", "peaks", "standing")


class NoAnswer(Exception):  # noqa: N818  one of many answers is missing, nothing more
    """The method failed on a stack; the text says why."""


class WorkerDied(NoAnswer):
    """The process of the method ended, perhaps for want of memory."""


class Worker:
    """A process that runs one method over the stacks that it is given; use it in a ``with`` block.

    A fresh process, so that its memory is that of the method (interpreter and libraries included) and
    not of whatever ran before. Maps come back through files in ``folder``: sent through a pipe, they
    would be copied, and count as memory of the method.
    """

    def __init__(self, settings: EstimateSettings, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._folder = folder
        self._process = context.Process(
            target=_work, args=(theirs, settings, folder), name=f"evaluate {settings.method}", daemon=True
        )
        with _interrupts_blocked():
            self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._connection.close()
        self._process.close()

    def answer(self, case: Case, report: Report) -> tuple[Answer, int]:
        """Return what the method says of a stack, and the largest memory of the process so far, in bytes.

        ``report`` is called several times a second, also while the process is silent.

        Raises
        ------
        NoAnswer
            If the method failed; the text says why.
        WorkerDied
            If the process ended: another one is needed.
        """
        now = Progress(0.0, "starting")
        try:
            self._connection.send(case.open)
            while True:
                report(now)
                if not self._connection.poll(PAUSE):
                    continue
                message: Message = self._connection.recv()
                if message[0] == "progress":
                    now = message[1]
                elif message[0] == "failed":
                    raise NoAnswer(message[1])
                else:
                    return self._whole(message[1]), message[2]
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join()
            raise WorkerDied(
                f"its process ended with code {self._process.exitcode}; the machine may have too little memory."
            ) from error

    def _whole(self, answer: Answer) -> Answer:
        maps: dict[str, Any] = {}
        for name in _MAPS:
            file = getattr(answer, name)
            maps[name] = None if file is None else np.load(self._folder / file, allow_pickle=False)
        return replace(answer, **maps)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process that is started in the block never see Ctrl-C, which its parent answers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, settings: EstimateSettings, folder: Path) -> None:
    """Estimate the stacks that are asked for until nobody asks; the main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger().addHandler(logging.NullHandler())
    with suppress(Exception):  # what is wrong with the method is said of each stack below
        _warm_up(settings)
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # whoever asked is gone
        while True:
            opened: Callable[[], FocalStack] = connection.recv()
            try:
                answer = answer_of(opened(), settings, _Teller(connection))
            except (BrokenPipeError, ConnectionResetError, EOFError):
                raise
            except ToposcopeError as error:
                connection.send(("failed", str(error)))
            except Exception as error:  # noqa: BLE001  one stack must not take the others with it
                connection.send(("failed", f"{type(error).__name__}: {error}"))
            else:
                connection.send(("answer", _filed(answer, folder), peak_bytes()))


class _Teller:
    """A report that sends now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._last = connection, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= PAUSE:
            self._last = now
            self._connection.send(("progress", progress))


def _filed(answer: Answer, folder: Path) -> Answer:
    """Return ``answer`` with its maps in files, and their names in place of the maps."""
    names: dict[str, Any] = {}
    for name in _MAPS:
        values = getattr(answer, name)
        names[name] = None if values is None else f"{name}.npy"
        if values is not None:
            np.save(folder / names[name], values)
    return replace(answer, **names)


def _warm_up(settings: EstimateSettings) -> None:
    """Estimate a tiny stack, so that loading libraries is not counted as the first stack's time."""
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    estimate(FocalStack.create(ArraySource(frames)), replace(settings, keep_volume=False, align="none"))


def answer_of(stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> Answer:
    """Estimate ``stack``, close it, and return what the method says of it; curves where the settings keep them."""
    try:
        begin, cpu = time.perf_counter(), time.process_time()
        result = estimate(stack, settings, part(report, 0, 0.9 if settings.keep_volume else 1))
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    finally:
        stack.close()
    peaks = standing = None
    if result.volume is not None:
        try:
            peaks = turning_points(result.volume, report=part(report, 0.9, 0.95))
            standing = peak_counts(result.volume, part(report, 0.95, 1))
        finally:
            result.volume.close()
    return Answer(
        depth=result.depth,
        known=result.valid & (result.confidence > 0),
        peaks=peaks,
        standing=standing,
        positions=result.positions.value,
        unit=result.unit,
        kind=result.kind.value,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had, in bytes.

    On Linux from /proc: getrusage, which others have, counts the parent's memory there as well.
    """
    if sys.platform.startswith("linux"):
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _peak_working_set()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peak_working_set() -> int:
    """Ask Windows; 0 where it does not answer."""
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", ctypes.c_ulong),
            ("faults", ctypes.c_ulong),
            *((name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "page", "peak_page")),
        ]

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009  it exists on Windows only
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)
    return int(counters.peak) if ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb) else 0
