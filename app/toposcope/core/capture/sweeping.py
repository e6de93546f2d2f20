"""Run a sweep: move, expose, write, one slice after the other, and lose nothing whatever fails.

::

    run_sweep ── for each slice that is missing: move → settle → expose (again, if the frame is lost) → on the disk
        │  Cancelled, CaptureError, OutputError ─→ what was taken stays in the folder
        └─ always: exposure and stage back to where they were, and a word if that cannot be
"""

from __future__ import annotations

import shutil
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from toposcope.core.capture.microscope import Microscope, Optics
from toposcope.core.capture.ome import PlaneFacts, SweepFacts
from toposcope.core.capture.planes import PlaneStore
from toposcope.core.curve import format_position
from toposcope.core.jobs import Cancelled, Progress, Report, part, silent
from toposcope.core.plan import SweepPlan
from toposcope.core.stack import Plane
from toposcope.core.words import number
from toposcope.errors import CaptureError, OutputError, StageError

TRIES: Final = 3
"""How often a frame is asked for before the camera counts as gone."""
ARRIVED: Final = 0.25
"""The stage has arrived when it is nearer than this part of a step."""

Ended = Literal["done", "aborted", "fault"]
OnSlice = Callable[[int, Plane, float], None]
"""Takes index, pixels and position in micrometres of a slice that is on the disk."""


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """How a sweep ended. ``text`` says it in a sentence or two.

    ``path`` is the OME-TIFF when it is done, else None: then the slices lie in ``folder``. ``taken`` of ``planned``
    slices are there. ``error`` is what stopped a sweep that ended by a fault. ``notes`` tell what went wrong and was
    mended.
    """

    ended: Ended
    text: str
    folder: Path
    path: Path | None
    taken: int
    planned: int
    error: Exception | None = None
    notes: tuple[str, ...] = ()


def begin_sweep(microscope: Microscope, plan: SweepPlan, path: Path, optics: Optics | None = None) -> PlaneStore:
    """Check a plan against the microscope and make the folder for its slices; ``optics`` win over the microscope's own.

    Raises
    ------
    SettingsError
        If the plan leaves the range of the stage.
    OutputError
        If the folder cannot be made, or holds a sweep that was not ended.
    """
    plan.check_limits(microscope.z_limits_um)
    begun = datetime.now().astimezone().isoformat(timespec="seconds")
    facts = SweepFacts(microscope.name, optics or microscope.optics, begun, microscope.white, microscope.near)
    return PlaneStore.create(path, plan, facts)


def run_sweep(
    microscope: Microscope,
    store: PlaneStore,
    report: Report = silent,
    on_slice: OnSlice | None = None,
) -> SweepOutcome:
    """Take the slices that ``store`` misses and make its OME-TIFF when all are there.

    What goes wrong is told by the outcome, not raised, since what was taken is as important. The stage and the
    exposure are brought back in any case. ``on_slice`` may fail: the sweep goes on without it. A `PauseSwitch` around
    ``report`` holds the sweep before its next slice.
    """
    run = _Run(microscope, store, on_slice)
    error: Exception | None = None
    path: Path | None = None
    ended: Ended = "done"
    back = ""
    try:
        try:
            run.take(part(report, 0, 0.9))
        finally:
            back = run.bring_back()
        path = store.finish(part(report, 0.9, 1))
    except Cancelled:
        ended = "aborted"
    except (CaptureError, OutputError) as problem:
        ended, error = "fault", problem
    text = _sentence(store, ended, error, back)
    return SweepOutcome(
        ended, text, store.folder, path, len(store.planes), store.plan.n, error, tuple(dict.fromkeys(run.notes))
    )


def _sentence(store: PlaneStore, ended: Ended, error: Exception | None, back: str) -> str:
    plan, taken = store.plan, len(store.planes)
    if ended == "done":
        return (
            f"{taken} slices from {number(plan.bottom_um)} to {number(plan.top_um)} µm are in {store.path.name}. {back}"
        )
    kept = f"{taken} of {plan.n} slices are kept in {store.folder.name}" if taken else "no slice was taken yet"
    if ended == "aborted":
        return f"stopped: {kept}. {back}"
    return f"{str(error).rstrip('.')}. {kept[0].upper()}{kept[1:]}. {back}"


class _Run:
    """The state of one sweep while it runs."""

    def __init__(self, microscope: Microscope, store: PlaneStore, on_slice: OnSlice | None) -> None:
        self._microscope, self._store, self._on_slice = microscope, store, on_slice
        self.notes: list[str] = []
        self._home: float | None = None
        self._exposure: float | None = None
        self._moved = False
        self._last: int | None = None  # CRC of the frame before
        self._alike: tuple[tuple[int, ...], np.dtype[Any]] | None = None  # what all frames must be

    def take(self, report: Report) -> None:
        """Take all slices that are missing."""
        microscope, store, plan = self._microscope, self._store, self._store.plan
        todo = store.missing
        if not todo:
            return
        report(Progress(0.0, "asking where the stage is"))
        self._home = microscope.z_um()
        if plan.exposure_ms is not None:
            self._exposure = microscope.exposure_ms
            microscope.set_exposure(plan.exposure_ms)
        start = time.monotonic()
        # a sweep that goes on keeps its clock ascending, whatever the clock on the wall did meanwhile
        before = max((facts.seconds for facts in store.planes.values()), default=0.0)
        positions = plan.positions_um
        done = len(store.planes)
        previous: int | None = None
        for k, i in enumerate(todo):
            text = f"slice {done + k + 1} of {plan.n} at {format_position(positions[i], 'µm', plan.pitch_um)}"
            report(Progress((done + k) / plan.n, text))
            if previous is None or abs(i - previous) > 1:  # come from the same side after a gap, too
                self._move(plan.approach_um(float(positions[i]), microscope.z_limits_um))
            z_um = self._arrive(float(positions[i]))
            if plan.settle_s:
                time.sleep(plan.settle_s)
            plane = self._frame(i)
            crc = zlib.crc32(plane.data)
            self._check_frame(i, plane)
            if k == 0:
                self._check_room(plane, len(todo))
            seconds = before + time.monotonic() - start
            store.add(i, plane, PlaneFacts(z_um, microscope.exposure_ms, seconds, crc))
            self._last, previous = crc, i
            self._tell(i, plane, z_um)

    def bring_back(self) -> str:
        """Bring exposure and stage back to where they were; return a sentence about it."""
        microscope = self._microscope
        if self._exposure is not None:
            with suppress(CaptureError):
                microscope.set_exposure(self._exposure)
        if self._home is None or not self._moved:
            return "The stage was not moved."
        home = format_position(self._home, "µm", self._store.plan.pitch_um)
        try:
            microscope.move_to(self._home, self._store.plan.timeout_s)
        except CaptureError as error:
            try:
                where = f"it says {format_position(microscope.z_um(), 'µm', self._store.plan.pitch_um)}"
            except CaptureError:
                where = "it does not say where it is"
            return f"The stage could not be brought back to {home}; {where} ({str(error).rstrip('.')})."
        return f"The stage is back at {home}."

    def _move(self, z_um: float) -> None:
        self._moved = True
        self._microscope.move_to(z_um, self._store.plan.timeout_s)

    def _arrive(self, z_um: float) -> float:
        """Move to a slice and return where the stage says that it is."""
        self._move(z_um)
        there = self._microscope.z_um()
        pitch = self._store.plan.pitch_um
        if not abs(there - z_um) <= ARRIVED * pitch:
            raise StageError(
                f"the stage was sent to {format_position(z_um, 'µm', pitch)} but says that it is at "
                f"{format_position(there, 'µm', pitch)}. Look whether it is blocked, or at its end."
            )
        return there

    def _frame(self, i: int) -> Plane:
        """Expose one frame, again where it is lost or is the one before once more."""
        for attempt in range(1, TRIES + 1):
            try:
                plane: Plane = np.ascontiguousarray(self._microscope.snap())
            except StageError:
                raise
            except CaptureError as error:
                if attempt == TRIES:
                    raise
                self.notes.append(f"slice {i + 1} was exposed again: {str(error).rstrip('.')}.")
                continue
            # noise never repeats: the same picture twice is an old one; an evenly black or white one may
            is_old = zlib.crc32(plane.data) == self._last and plane.min() != plane.max()
            if not is_old:
                return plane
            if attempt < TRIES:
                self.notes.append(f"slice {i + 1} was exposed again: the camera sent the picture of the slice before.")
        self.notes.append(
            f"slice {i + 1} is pixel by pixel the picture of the slice before it: look whether the camera is alive."
        )
        return plane

    def _check_frame(self, i: int, plane: Plane) -> None:
        """Refuse a frame that fits no stack, or not to those before it."""
        if plane.dtype not in (np.uint8, np.uint16) or plane.ndim not in (2, 3) or not plane.size:
            raise CaptureError(
                f"the camera sends frames of shape {plane.shape} and type {plane.dtype}; grey or RGB of 8 or 16 bit is "
                "needed. Change its pixel type."
            )
        if self._alike is None:
            known = next(iter(self._store.planes), None)
            first = plane if known is None else self._store.read(known)
            self._alike = first.shape, first.dtype
        if (plane.shape, plane.dtype) != self._alike:
            shape, dtype = self._alike
            raise CaptureError(
                f"slice {i + 1} is of shape {plane.shape}, {plane.dtype}, those before it of {shape}, {dtype}: "
                "binning, region or pixel type of the camera was changed. Change it back."
            )

    def _check_room(self, plane: Plane, count: int) -> None:
        """Refuse a sweep that the disk has no room for: slices first, then the OME-TIFF beside them."""
        needed = plane.nbytes * (count + self._store.plan.n) + 2**20
        free = shutil.disk_usage(self._store.folder).free
        if needed > free:
            raise OutputError(
                f"the sweep needs {needed / 2**20:.0f} MB, and {free / 2**20:.0f} MB are free on the disk of "
                f"{self._store.folder.name}. Free some space, or choose another disk."
            )

    def _tell(self, i: int, plane: Plane, z_um: float) -> None:
        if self._on_slice is None:
            return
        try:
            self._on_slice(i, plane, z_um)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001  a preview that fails must not cost the sweep
            self._on_slice = None
            self.notes.append(f"the preview stopped ({type(error).__name__}: {error}); the sweep did not.")
