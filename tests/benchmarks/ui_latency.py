"""How late the window answers: idle, while labels are made, and while a network is adapted on all cores.

    python tests/benchmarks/ui_latency.py [--seconds 20] [--base fad] [--limit 50]

An event is posted every 10 ms by a clock of its own, as mouse and keyboard do; its latency is the time until the
window has worked it off. Meanwhile a user looks at another stack: slices are turned, the picture is zoomed, pins
are set. Returns 1 where the 99th percentile while training exceeds the limit. Needs no screen.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QSettings, QTimer

from toposcope.core.resources import sample_path
from toposcope.core.simulate import SimulateSettings, simulate
from toposcope.core.tuning import TuneOptions, TuneSettings
from toposcope.ui.app import make_application
from toposcope.ui.main_window import MainWindow
from toposcope.ui.preferences import Preferences

INTERVAL = 0.01
STROLL_MS = 80


class _Probe(QEvent):
    def __init__(self) -> None:
        super().__init__(QEvent.Type.User)
        self.posted = time.perf_counter()


class Clock(QObject):
    """Posts events from a thread, and notes how long each of them waits."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL):
            QCoreApplication.postEvent(self, _Probe())

    def event(self, event: QEvent) -> bool:
        if isinstance(event, _Probe):
            self.latencies.append(1000 * (time.perf_counter() - event.posted))
            return True
        return super().event(event)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def strolling(window: MainWindow) -> Callable[[], None]:
    """Return what a user does who looks at a stack: a slice further, another zoom, the cursor, a pin now and then."""
    count = itertools.count()

    def stroll() -> None:
        k = next(count)
        stack = window.session.state.stack
        if stack is None:
            return
        height, width = stack.shape
        window.show_slice(k % stack.n)
        window.session.set(cursor=(k * 7 % height, k * 11 % width))
        window.picture.canvas.zoom_by(1.1 if k // 10 % 2 else 1 / 1.1)
        if k % 25 == 0:
            window.pins.remove_all()
            window.pins.add(k * 13 % height, k * 17 % width)

    return stroll


def measured(window: MainWindow, seconds: float, until: Callable[[], bool] | None = None) -> np.ndarray:
    """Return latencies in milliseconds over ``seconds``, or for as long as it takes until ``until``."""
    application = QCoreApplication.instance()
    assert application is not None
    clock, timer = Clock(), QTimer(interval=STROLL_MS)
    timer.timeout.connect(strolling(window))
    timer.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (until and until()):
        application.processEvents()
        time.sleep(0.0005)
    timer.stop()
    clock.stop()
    application.processEvents()
    return np.array(clock.latencies)


def wait(done: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        QCoreApplication.processEvents()
        time.sleep(0.002)
        if time.monotonic() > end:
            raise SystemExit("the window did not get as far as it should")


def line(name: str, latencies: np.ndarray, more: str = "") -> None:
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99))
    print(
        f"{name:<10} p50 {p50:6.1f}  p95 {p95:6.1f}  p99 {p99:6.1f}  max {latencies.max():6.1f} ms, "
        f"{len(latencies)} events{more}",
        flush=True,
    )


def write_stacks(folder: Path) -> list[Path]:
    paths = [folder / "dome", folder / "sample"]
    for path in paths:
        simulate(path, SimulateSettings(path.name, slices=12))
    return paths


def main() -> int:
    """Print the latencies; return 1 when they are above the limit while training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--base", default="fad")
    parser.add_argument("--limit", type=float, default=50.0, help="of the 99th percentile, in ms")
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TOPOSCOPE_ADAPTED"] = str(folder / "adapted")
        make_application()
        settings = QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)
        window = MainWindow(preferences=Preferences(settings))
        window.show()
        window.session.set(automatic=False)
        window.open(sample_path())
        wait(lambda: bool(window.session.state.full_runs) and not window.session.state.jobs)
        window.session.set(mode="slice")
        try:
            return _measure_all(window, write_stacks(folder), options)
        finally:
            window.close()


def _measure_all(window: MainWindow, stacks: list[Path], options: argparse.Namespace) -> int:
    adapting = window.adapting
    tuning = TuneSettings(options.base, options=TuneOptions(steps=100_000), threads=os.cpu_count() or 1)
    window.session.set(adapt=replace(window.session.state.adapt, settings=tuning))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.base}", flush=True)
    line("idle", measured(window, options.seconds))
    adapting.add(stacks)
    wait(lambda: all(entry.facts for entry in window.session.state.adapt.stacks))
    window.show_adapt()
    adapting.start()
    begun = lambda: bool(window.adapt.curves.losses)  # noqa: E731
    line("labelling", measured(window, 600, begun), ", until the first step")
    steps = len(window.adapt.curves.losses)
    latencies = measured(window, options.seconds)
    steps = len(window.adapt.curves.losses) - steps
    line("training", latencies, f", {steps / options.seconds:.2f} steps a second")
    asked = time.monotonic()
    adapting.cancel()
    wait(lambda: window.session.state.adapt.phase == "idle")
    print(f"cancelled within {time.monotonic() - asked:.1f} s", flush=True)
    return int(np.percentile(latencies, 99) > options.limit)


if __name__ == "__main__":
    sys.exit(main())
