"""One method in a process of its own, whose largest memory is then the method's."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Sequence
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
"""What a worker sends: ("progress", number of the case, fraction, text), ("answer", number, Answer,
peak bytes so far) with maps replaced by the names of files, ("failed", number, sentence)."""

PAUSE: Final = 0.1
"""Seconds between two messages of progress, and between two looks at whether the work is still wanted."""

_MAPS: Final = ("depth", "known", "peaks", "standing")


class Worker:
    """A process that runs one method over cases, and tells of each; use it in a ``with`` block.

    A fresh process, so that its memory is that of the method (interpreter and libraries included) and
    not of whatever ran before. Maps come back through files in ``folder``: sent through a pipe, they
    would be copied, and count as memory of the method.
    """

    def __init__(self, settings: EstimateSettings, cases: Sequence[tuple[int, Case]], folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        self._folder = folder
        opens = [(number, case.open) for number, case in cases]
        self._process = context.Process(
            target=_work, args=(theirs, settings, opens, folder), name=f"evaluate {settings.method}", daemon=True
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

    def messages(self) -> Iterator[Message | None]:
        """Yield what the process sends until it ends, None whenever it has been silent for a moment."""
        while True:
            if not self._connection.poll(PAUSE):
                yield None
                continue
            try:
                message: Message = self._connection.recv()
            except (EOFError, OSError):
                return
            if message[0] == "answer":
                message = (*message[:2], self._whole(message[2]), *message[3:])
            yield message

    def _whole(self, answer: Answer) -> Answer:
        maps: dict[str, Any] = {}
        for name in _MAPS:
            file = getattr(answer, name)
            maps[name] = None if file is None else np.load(self._folder / file, allow_pickle=False)
            if file is not None:
                (self._folder / file).unlink()
        return replace(answer, **maps)

    def cause_of_death(self) -> str:
        """Say how the process ended, once its messages have."""
        self._process.join()
        return f"its process ended with code {self._process.exitcode}; the machine may have too little memory."


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


def _work(connection: Connection, settings: EstimateSettings, opens: Sequence[tuple[int, Any]], folder: Path) -> None:
    """Estimate each stack; the main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger().addHandler(logging.NullHandler())
    with suppress(BrokenPipeError, EOFError):  # whoever asked is gone
        with suppress(Exception):  # what is wrong with the method is said of each stack below
            _warm_up(settings)
        for number, opened in opens:
            report = _Teller(connection, number)
            try:
                answer = answer_of(opened(), settings, report)
            except (BrokenPipeError, EOFError):
                raise
            except ToposcopeError as error:
                connection.send(("failed", number, str(error)))
            except Exception as error:  # noqa: BLE001  one stack must not take the others with it
                connection.send(("failed", number, f"{type(error).__name__}: {error}"))
            else:
                connection.send(("answer", number, _filed(answer, folder, number), peak_bytes()))


class _Teller:
    """A report that sends now and then."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection, self._number, self._last = connection, number, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= PAUSE:
            self._last = now
            self._connection.send(("progress", self._number, progress.fraction, progress.text))


def _filed(answer: Answer, folder: Path, number: int) -> Answer:
    """Return ``answer`` with its maps in files, and their names in place of the maps."""
    names: dict[str, Any] = {}
    for name in _MAPS:
        values = getattr(answer, name)
        names[name] = None if values is None else f"{name}_{number}.npy"
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
