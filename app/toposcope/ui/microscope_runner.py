"""The microscope's own thread: live pictures, moves and sweeps, one after the other.

::

    connect_to / move_to / set_exposure / sweep     main thread, put into a queue
        └─ thread: command → answer by a signal; no command and live → the next picture, ten a second at most

A picture is not sent before the one before it was shown (`shown`), so that a slow window is never flooded.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from toposcope.core.advising import Proposal, SweepAdvisor
from toposcope.core.capture import (
    Microscope,
    Optics,
    PlaneStore,
    SharpnessTrace,
    SweepOutcome,
    live_scale,
    run_sweep,
)
from toposcope.core.growing import GrowingDepth, SharpnessCurve
from toposcope.core.jobs import Cancelled, CancelToken, PauseSwitch, Progress
from toposcope.core.pictures import display_range, to_display
from toposcope.core.stack import Plane, reduce_plane
from toposcope.core.sweep import saturated
from toposcope.errors import ToposcopeError
from toposcope.ui.pyramid import Picture
from toposcope.ui.workers import throttled

INTERVAL: Final = 0.1
"""Seconds between two live pictures."""
MOVE_TIMEOUT: Final = 20.0
CLOSE_TIMEOUT: Final = 30.0
"""Seconds that a sweep has to bring the stage back when the window is closed."""
DARK: Final = 0.25
"""Of white: frames that do not reach it are shown brighter than they are."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What was connected."""

    name: str
    optics: Optics
    limits_um: tuple[float, float] | None
    exposure_ms: float
    z_um: float
    white: int


@dataclass(frozen=True, slots=True, eq=False)
class LivePicture:
    """A frame for the screen: ``saturated`` is the share of pixels at the camera's white."""

    picture: Picture
    z_um: float
    saturated: float
    curve: SharpnessCurve


@dataclass(frozen=True, slots=True, eq=False)
class SliceTaken:
    """A slice that is on the disk, and what is known since: ``depth`` (H, W) in micrometres, perhaps reduced.

    ``complete`` says why the sweep looks complete, None while it does not.
    """

    index: int
    picture: Picture
    z_um: float
    saturated: float
    depth: NDArray[np.float32]
    curve: SharpnessCurve
    complete: str | None


@dataclass(frozen=True, slots=True)
class Swept:
    """The end of a sweep, with a proposal for the next one where there is one."""

    outcome: SweepOutcome
    proposal: Proposal | None


class MicroscopeRunner(QObject):
    """Owns a microscope and the thread that uses it. Every request is answered by a signal."""

    connected = Signal(object)  # Connection
    failed = Signal(str, object)  # what was asked for, the exception
    pictured = Signal(object)  # LivePicture
    moved = Signal(float)  # z in micrometres, where the stage says it is
    exposed = Signal(float)  # ms
    progressed = Signal(object)  # Progress of the sweep
    sliceTaken = Signal(object)  # SliceTaken
    swept = Signal(object)  # Swept

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._commands: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._microscope: Microscope | None = None
        self._live = False
        self._shown = threading.Event()
        self._shown.set()
        self._trace = SharpnessTrace()
        self._token = CancelToken()
        self._switch = PauseSwitch()
        self._thread: threading.Thread | None = None
        self._closed = False

    # asked for by the main thread

    def connect_to(self, make: Callable[[], Microscope]) -> None:
        """Connect what ``make`` returns, instead of what was connected before; `connected` follows."""
        self._ask("connect", lambda: self._connect(make))

    def set_live(self, on: bool) -> None:
        """Send pictures while nothing else is to be done."""
        self._live = on
        self._ask("live", lambda: None)  # wakes the thread

    def shown(self) -> None:
        """Say that the last picture was shown; the next one may come."""
        self._shown.set()

    def move_to(self, z_um: float) -> None:
        """Move the stage; `moved` follows."""
        self._ask("move", lambda: self._move(z_um))

    def set_exposure(self, exposure_ms: float) -> None:
        """Expose the pictures that follow so long; `exposed` follows."""
        self._ask("exposure", lambda: self._expose(exposure_ms))

    def forget_curve(self) -> None:
        """Begin the autofocus curve anew."""
        self._ask("curve", self._trace.clear)

    def sweep(self, begin: Callable[[Microscope], PlaneStore]) -> None:
        """Take the slices that the store of ``begin`` misses; `swept` follows in any case, or `failed`."""
        self._token, self._switch = CancelToken(), PauseSwitch()
        token, switch = self._token, self._switch
        self._ask("sweep", lambda: self._sweep(begin, token, switch))

    def pause(self, on: bool) -> None:
        """Hold the sweep before its next slice, or let it go on."""
        (self._switch.pause if on else self._switch.resume)()

    def abort(self) -> None:
        """Stop the sweep; what was taken is kept, and the stage goes back."""
        self._token.cancel()

    def shutdown(self) -> None:
        """Stop whatever runs, let the microscope go and end the thread."""
        if self._closed:
            return
        self._closed = True
        self._live = False
        self._token.cancel()
        self._shown.set()
        if self._thread is not None:
            self._commands.put(None)
            self._thread.join(CLOSE_TIMEOUT)  # a driver that hangs must not hold the window

    def _ask(self, what: str, command: Callable[[], None]) -> None:
        if self._closed:
            return
        self._commands.put((what, command))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="toposcope-microscope", daemon=True)
            self._thread.start()

    # in the thread

    def _run(self) -> None:
        due = 0.0
        while True:
            is_live = self._live and self._microscope is not None
            try:
                command = self._commands.get(timeout=max(0.0, due - time.monotonic()) if is_live else None)
            except queue.Empty:
                due = time.monotonic() + INTERVAL
                if self._shown.wait(INTERVAL):
                    self._guarded("live", self._picture)
                continue
            if command is None:
                break
            self._guarded(*command)
        self._let_go()

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  handed over whole: the window shows it
            self._live = self._live and what != "live"  # else the same complaint comes ten times a second
            self.failed.emit(what, error)

    def _connect(self, make: Callable[[], Microscope]) -> None:
        self._let_go()
        microscope = make()
        try:
            connection = Connection(
                microscope.name,
                microscope.optics,
                microscope.z_limits_um,
                microscope.exposure_ms,
                microscope.z_um(),
                microscope.white,
            )
        except Exception:
            with suppress(ToposcopeError):  # why it does not answer says more than that it does not close
                microscope.close()
            raise
        self._microscope = microscope
        step = connection.optics.proposed_step_um
        self._trace = SharpnessTrace(step / 20 if step else 0.05)
        self.connected.emit(connection)

    def _let_go(self) -> None:
        if self._microscope is not None:
            with suppress(ToposcopeError):
                self._microscope.close()
            self._microscope = None

    def _ready(self) -> Microscope:
        if self._microscope is None:
            raise ToposcopeError("no microscope is connected. Connect one first.")
        return self._microscope

    def _picture(self) -> None:
        microscope = self._ready()
        z_um = microscope.z_um()
        plane = microscope.snap()
        self._trace.add(plane, z_um)
        self._shown.clear()
        self.pictured.emit(
            LivePicture(
                _for_screen(plane, microscope.white),
                z_um,
                float(saturated(plane, microscope.white).mean()),
                self._trace.curve(),
            )
        )

    def _move(self, z_um: float) -> None:
        microscope = self._ready()
        microscope.move_to(z_um, MOVE_TIMEOUT)
        self.moved.emit(microscope.z_um())

    def _expose(self, exposure_ms: float) -> None:
        microscope = self._ready()
        microscope.set_exposure(exposure_ms)
        self._trace.clear()
        self.exposed.emit(microscope.exposure_ms)

    def _sweep(self, begin: Callable[[Microscope], PlaneStore], token: CancelToken, switch: PauseSwitch) -> None:
        microscope = self._ready()
        store = begin(microscope)
        growing, advisor = GrowingDepth(), SweepAdvisor(microscope.white)
        self._trace.clear()

        def take(i: int, plane: Plane, z_um: float) -> None:
            small = reduce_plane(plane, live_scale(plane))
            measured = growing.add(small, z_um)
            self._trace.add_measure(measured, z_um)  # the live view goes on with it
            advisor.add(plane, z_um, measured if small.shape == plane.shape else None)
            picture = _for_screen(small, microscope.white)
            white, curve = float(saturated(plane, microscope.white).mean()), self._trace.curve()
            complete = growing.looks_complete
            self.sliceTaken.emit(SliceTaken(i, picture, z_um, white, growing.depth(), curve, complete))

        report = token.guard(throttled(self.progressed.emit))
        with suppress(Cancelled):  # told by run_sweep
            for i, plane, z_um in store.taken():  # a sweep that goes on shows what it had, too
                report(Progress(len(store.planes) / store.plan.n, "looking at what is there"))
                take(i, plane, z_um)
        outcome = run_sweep(microscope, store, switch.guard(report), take)
        proposal = None
        if outcome.ended == "done":
            exposure, optics = store.plan.exposure_ms or microscope.exposure_ms, store.facts.optics
            proposal = advisor.propose(store.plan, exposure, microscope.z_limits_um, optics.depth_of_field_um)
        with suppress(ToposcopeError):
            self.moved.emit(microscope.z_um())
        self.swept.emit(Swept(outcome, proposal))


def _for_screen(plane: Plane, white: int) -> Picture:
    """Return a frame as 8 bit, reduced where it is large."""
    small = reduce_plane(plane, live_scale(plane))
    if small.dtype == np.uint8:
        return small
    _, high = display_range(small)
    # from black to the camera's white, so that exposure and blur are seen as they are, unless that is too dark to see
    return to_display(small, 0.0, float(white) if high > DARK * white else high)
