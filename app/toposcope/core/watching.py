"""A folder in which a microscope writes a sweep: what is there whole, and the depth so far.

::

    watch = FolderWatch(folder)
    while (why := watch.ended()) is None:
        news = watch.look()               # never reads a file that is still being written
        show(watch.growing, news)
        time.sleep(0.5)
    result = estimate(watch.stack())

Looks are cheap and may come as often as wished. A file counts as whole when neither its size nor its
time stamp changed for a moment and it opens, its end included. Time is measured by a clock that never jumps.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.advising import SweepAdvice, SweepAdvisor
from toposcope.core.calibration import MICROMETRES, UNIT_SYMBOLS, Kind, Unit
from toposcope.core.growing import GrowingDepth
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.source.calibrating import Frames
from toposcope.core.source.folder import FolderSource, frame_shape, list_folder, order_by_time, read_headers
from toposcope.core.source.image_file import ImageHeader, Unreadable, access_problem, system_path
from toposcope.core.source.naming import natural_key, positions_from_names
from toposcope.core.source.opening import calibrate_headers, chosen_files, open_stack
from toposcope.core.source.options import OpenOptions
from toposcope.core.source.raw_file import developed_alike
from toposcope.core.source.sidecar import SIDECAR_NAME, Sidecar, read_sidecar
from toposcope.core.stack import MIN_FRAMES, FocalStack, Plane
from toposcope.errors import CalibrationError, SettingsError, StackError, ToposcopeError

SETTLE_S: Final = 1.0
"""A file that did not change for so many seconds is taken to be written."""

QUIET_S: Final = 5.0
"""A sweep that looks complete has ended when nothing new came for so many seconds, or three times the usual pause."""

PREVIEW_PIXELS: Final = 2e6
"""The growing depth is kept at a size of at most so many pixels."""

_RETRY_S: Final = 30.0  # the longest pause before a file that cannot be read is tried again
_REVISITED: Final = 0.1  # of the step: a slice so near to an earlier one belongs to another sweep
_TIFF: Final = (".tif", ".tiff")

Stamp = tuple[int, int]
"""Size and time of change of a file; told apart, never put in order, since clocks jump."""


@dataclass(frozen=True, slots=True)
class Left:
    """A file that is no slice of the sweep, or not yet, and why, in words that go on from its name."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class News:
    """What a look at the folder found.

    ``arrived`` are new slices and ``changed`` tells whether the preview differs from that before; ``waiting``
    are files still being written, ``broken`` those that cannot be read and are tried again, ``left`` those that are
    left out. ``notes`` are sentences for the user that were not told before, ``problem`` one that says why the folder
    cannot be looked at, None while it can.
    """

    arrived: tuple[str, ...] = ()
    changed: bool = False
    waiting: tuple[str, ...] = ()
    broken: tuple[Left, ...] = ()
    left: tuple[Left, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(slots=True)
class _File:
    """What is known of a file: ``stamp`` (size, time of change) since ``since``; ``header`` once it was whole.

    ``former`` is the header that it had before it was written anew.
    """

    stamp: Stamp
    since: float
    header: ImageHeader | None = None
    former: ImageHeader | None = None
    why: str = ""
    retry: float = 0.0
    pause: float = 0.5

    def is_whole(self) -> bool:
        """Whether the file was found whole as it is now."""
        return self.header is not None


@dataclass(frozen=True, slots=True)
class _Placed:
    """Positions of slices; ``named`` and ``stepped`` tell whether names or a step of the user's say so."""

    z: tuple[float, ...]
    unit: Unit = "index"
    kind: Kind = "microscope"
    named: bool = False
    stepped: bool = False
    note: str = ""


@dataclass(slots=True)
class _Sweep:
    """The sweep so far: names of its slices in order of arrival, with the stamps of their files then."""

    names: list[str] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    growing: GrowingDepth = field(default_factory=GrowingDepth)
    z: list[float] = field(default_factory=list)
    unit: Unit = "index"
    kind: Kind = "microscope"
    named: bool = False  # whether the positions come from the names of the files
    stepped: bool = False  # whether they come from `FolderWatch.set_step`
    advisor: SweepAdvisor = field(default_factory=SweepAdvisor)
    advised: tuple[Any, SweepAdvice | None] | None = None  # the slices that the advice is for, and the advice
    prints: dict[int, str] = field(default_factory=dict)  # which slice has which pixels, by their CRC
    refused: dict[str, tuple[Stamp, str]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)  # files that are called otherwise than the slices
    following: str | None = None  # the slice that begins the next sweep
    pages: str | None = None  # the file, where the slices are pages of one
    developed: ImageHeader | None = None  # the first slice, where it is camera RAW, with its white balance
    seen: tuple[Stamp, bool] | None = None  # that file when it was read last, and whether it was whole


class FolderWatch:
    """Follows a folder while slices come, and keeps the depth so far.

    Slices are image files, in any order, or the pages of one TIFF that grows. Files that were written
    anew count anew; files that cannot be read are named and tried again; the folder itself may go and
    come back. A slice at a position that the sweep already holds begins another sweep, which waits for
    `next_sweep`. For use from one thread at a time.

    Parameters
    ----------
    folder : must not be where results are written
    options : as for `open_stack`; frames to skip by name
    slices : number of slices of a sweep, 0 where it is not known
    fresh : whether files that are there at the first look are passed over
    taken : called with the name of each slice that is taken in and its pixels, reduced by `reduction`
    settle_s : see `SETTLE_S`
    now : a clock in seconds, for tests

    Raises
    ------
    StackError
        If the folder does not exist at the beginning.
    SettingsError
        If ``slices`` are too few, or frames are skipped by number.
    """

    def __init__(
        self,
        folder: Path,
        options: OpenOptions | None = None,
        slices: int = 0,
        fresh: bool = False,
        taken: Callable[[str, Plane], object] | None = None,
        settle_s: float = SETTLE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not os.path.isdir(system_path(folder)):
            raise StackError(f"{folder} is no folder; make it first, or choose the folder that the slices come into.")
        if 0 < slices < MIN_FRAMES:
            count = f"{slices} slice{'s' * (slices != 1)}"
            raise SettingsError(f"a sweep of {count} is too short; depth from focus needs {MIN_FRAMES}.")
        options = options or OpenOptions()
        if any(isinstance(one, int) for one in options.skip):
            raise SettingsError("slices of a sweep that still grows are skipped by name, not by number.")
        self.folder, self.slices = folder, slices
        self._options, self._taken, self._settle_s, self._now = options, taken, settle_s, now
        self._files: dict[str, _File] = {}
        # files of sweeps before, as they were then, and what is never taken
        self._past: dict[str, Stamp | None] = {name: None for name in options.skip if isinstance(name, str)}
        self._fresh = fresh
        self._sweep = _Sweep()
        self._times: list[float] = []
        self._active = now()
        self._told: set[str] = set()
        self._range: tuple[float, float] | None = None
        self._step_um: float | None = None
        self._step_is_new = False
        self.reduction = 1

    # what is known

    @property
    def growing(self) -> GrowingDepth:
        """The depth so far, at 1/`reduction` of the size."""
        return self._sweep.growing

    @property
    def n(self) -> int:
        """Number of slices of the sweep so far."""
        return len(self._sweep.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The slices so far, by ascending position."""
        order = sorted(range(self.n), key=self._sweep.z.__getitem__)
        return tuple(self._sweep.names[k] for k in order)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Their positions, (n,) ascending, in `unit`."""
        return np.array(sorted(self._sweep.z))

    @property
    def unit(self) -> Unit:
        """Unit of the positions; ``index`` while only the order is known."""
        return self._sweep.unit

    @property
    def unit_symbol(self) -> str:
        """The unit as it is written for users."""
        return UNIT_SYMBOLS[self.unit]

    @property
    def takes_step(self) -> bool:
        """Whether nothing but a step tells positions, so that `set_step` counts."""
        return self._options.unit != "index" and (self._sweep.unit == "index" or self._sweep.stepped)

    @property
    def newest(self) -> str | None:
        """The slice that came last."""
        return self._sweep.names[-1] if self._sweep.names else None

    @property
    def newest_s(self) -> float:
        """Seconds since the last slice came, or since the watch began."""
        return self._now() - (self._times[-1] if self._times else self._active)

    @property
    def idle_s(self) -> float:
        """Seconds since anything changed in the folder."""
        return self._now() - self._active

    @property
    def following(self) -> str | None:
        """The slice that begins another sweep, None while there is none."""
        return self._sweep.following

    @property
    def quiet_s(self) -> float:
        """How long nothing must come until a sweep that looks complete has ended, in seconds."""
        pauses = np.diff(self._times)
        return max(QUIET_S, 3 * float(np.median(pauses))) if pauses.size else QUIET_S

    def ended(self, idle_s: float | None = None) -> str | None:
        """Return why the sweep has ended, as a sentence; None while it goes on.

        ``idle_s`` ends a sweep of any kind when nothing came for so many seconds.
        """
        if self.slices and self.n >= self.slices:
            return f"All {self.slices} slices came."
        if self.following is not None:
            return f"{self.following} begins another sweep."
        if not self.n:
            return None
        # in step with the pauses between slices: a file that is being written is a sign of life
        if self.is_quiet and not self.slices and (why := self.growing.looks_complete):
            return why
        if idle_s is not None and self.idle_s >= idle_s:
            return f"Nothing new came for {idle_s:g} s."
        return None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing changed for so long that no further slice is to be expected."""
        return self.n > 0 and self.idle_s >= self.quiet_s

    def advice(self) -> SweepAdvice | None:
        """Return what a better sweep would be, by the slices so far; None for too few of them."""
        sweep = self._sweep
        positions = dict(zip(sweep.names, sweep.z, strict=True))
        asked = positions, sweep.unit, sweep.kind, sweep.stepped
        if sweep.advised is None or sweep.advised[0] != asked:  # it is asked for again and again, and takes a second
            sweep.advised = asked, self._advise(positions)
        return sweep.advised[1]

    def _advise(self, positions: dict[str, float]) -> SweepAdvice | None:
        sweep, missing = self._sweep, self._missing
        advice = sweep.advisor.advise(positions, sweep.unit, sweep.kind, self.reduction > 1)
        if advice is None or not missing:
            return advice
        counted = sweep.unit == "index" or sweep.stepped or self._options.z_step is not None
        result = (
            "what lies beyond is placed a step too near, for slices are counted"
            if counted
            else "depth is less sure there"
        )
        return replace(advice, reasons=(f"Missing: {missing}; {result}. Look for the rest.", *advice.reasons))

    def status(self) -> str:
        """Say how far the sweep is: "12 slices; sharpness still rises"."""
        if not self.n:
            return "waiting for the first slice"
        count = f"{self.n} slice{'s' * (self.n != 1)}" + (f" of {self.slices}" if self.slices else "")
        gap = f"; {self._missing} missing" if self._missing else ""
        return f"{count}{gap}; {self._sharpness_text()}"

    @property
    def _missing(self) -> str:
        """Which files are missing, in words; pages of one file are never."""
        return "" if self._sweep.pages is not None else missing_counters(self._sweep.names)

    def _sharpness_text(self) -> str:
        if self.n < MIN_FRAMES:
            return "too few to tell anything"
        if self.growing.looks_complete:
            return "the sweep looks complete"
        if self.growing.sharpness().still_rises:
            return "sharpness still rises"
        if self.growing.region_rises:
            return "parts of the picture still get sharper towards an end"
        return "past the sharpest slice"

    # looking

    def set_step(self, step_um: float | None) -> None:
        """Let `place`, or the next look, put slices at equal steps, where neither files nor options tell positions."""
        if step_um is not None and not (math.isfinite(step_um) and step_um != 0):
            raise SettingsError(f"the step between slices is {step_um:g} µm; give a number other than 0.")
        if step_um != self._step_um:
            self._step_um, self._step_is_new = step_um, True

    def place(self) -> News:
        """Put the slices where a new step says, without a look at the folder."""
        notes: list[str] = []
        return News(changed=self._step_is_new and self._place_again(notes), notes=tuple(notes))

    def look(self, report: Report = silent) -> News:
        """Look at the folder, and take in the slices that are whole."""
        try:
            listed = self._list()
        except OSError as error:
            return News(problem=f"The folder {self.folder} {access_problem(error)}.")
        waiting, candidates = self._look_at_files(listed)
        if self._fresh:
            self._past |= {name: file.stamp for name, file in self._files.items()}
            self._files, self._fresh = {}, False
            return News()
        notes: list[str] = []
        moved = self._step_is_new and self._place_again(notes)
        paged = self._paged(candidates)
        if self._sweep.pages is None and set(paged) & set(self._sweep.names):
            self._sweep, self._range = _Sweep(), None  # what began as one image grows by pages
        if self._sweep.pages is not None or (paged and not self._sweep.names):
            arrived, changed = self._take_pages(paged, notes, report)
            others = [name for name in candidates if name not in paged]
        else:
            arrived, changed = self._take_files([n for n in candidates if n not in paged], listed, notes, report)
            others = paged
        broken = tuple(Left(name, file.why) for name, file in self._files.items() if file.why)
        left = [Left(name, why) for name, (_, why) in self._sweep.refused.items() if name in listed]
        left += [Left(name, "is called otherwise than the slices before it") for name in self._sweep.odd]
        kind = "is one image beside a file with many slices" if self._sweep.pages else "holds many slices"
        left += [Left(name, kind) for name in others]
        notes += [f"{one.name} {one.why}: left out." for one in left]
        notes = [note for note in dict.fromkeys(notes) if note not in self._told]
        self._told.update(notes)
        return News(tuple(arrived), changed or moved, tuple(waiting), broken, tuple(left), tuple(notes))

    def _list(self) -> dict[str, Stamp]:
        """Return the files that may be slices, with their stamps."""
        try:
            # of pairs of RAW and JPEG those are followed of which the first one came
            files = list_folder(self.folder, self._sweep.names[0] if self._sweep.names else None).files
        except StackError:  # there is no image yet
            files = ()
        listed = {}
        for path in files:
            try:
                found = os.stat(system_path(path))
            except OSError:
                continue  # it went between the two looks
            stamp = (found.st_size, found.st_mtime_ns)
            if path.name not in self._past or self._past[path.name] not in (None, stamp):
                listed[path.name] = stamp
        # last of all: files of a folder that goes meanwhile are not gone from it
        os.scandir(system_path(self.folder)).close()
        return listed

    def _look_at_files(self, listed: dict[str, Stamp]) -> tuple[list[str], list[str]]:
        """Return the names of files that are being written, and of those that are whole or grow by pages."""
        now, waiting, candidates = self._now(), [], []
        for name in [name for name in self._files if name not in listed]:
            del self._files[name]
            self._active = now
        for name, stamp in listed.items():
            file = self._files.get(name)
            if file is None or file.stamp != stamp:
                self._files[name] = file = _File(stamp, now, former=self._header(name))
                self._active = now
            settled = now - file.since >= self._settle_s
            if not file.is_whole() and settled and now >= file.retry:
                self._open(name, file, now)
            if file.is_whole():
                candidates.append(name)
            elif not file.why:
                waiting.append(name)
                if self._sweep.pages in (name, None) and self._grows(name):
                    candidates.append(name)
        return waiting, candidates

    def _open(self, name: str, file: _File, now: float) -> None:
        """Look whether a file is whole; where it is not, it is tried again later."""
        (header,) = read_headers([self.folder / name], silent)
        if isinstance(header, Unreadable):
            file.why = str(header)
            file.pause = min(2 * file.pause, _RETRY_S)
            file.retry = now + file.pause
        else:
            file.header, file.why = header, ""

    def _grows(self, name: str) -> bool:
        """Whether a file that is being written holds several whole pages already."""
        if Path(name).suffix.lower() not in _TIFF:
            return False
        (header,) = read_headers([self.folder / name], silent)
        return isinstance(header, ImageHeader) and header.pages >= MIN_FRAMES

    def _paged(self, candidates: Sequence[str]) -> list[str]:
        """Return the files that hold many slices each."""
        files = [(name, self._files[name].header) for name in candidates]
        return [name for name, header in files if header is None or header.pages >= MIN_FRAMES]

    def _take_files(
        self, candidates: list[str], listed: dict[str, Stamp], notes: list[str], report: Report
    ) -> tuple[list[str], bool]:
        """Bring the sweep to what the folder holds; return new slices and whether the preview changed."""
        sweep = self._sweep
        whole = {name: header for name in candidates if (header := self._files[name].header) is not None}
        known = list(sweep.names)
        gone = [name for name in known if name not in listed]
        anew = [n for n, s in zip(known, sweep.stamps, strict=True) if n in whole and self._files[n].stamp != s]
        if gone or anew:
            there = [name for name in gone if os.path.exists(system_path(self.folder / name))]
            notes += [f"{name} is left out: another format of the same frame is there." for name in there]
            notes += [f"{name} is gone from the folder." for name in gone if name not in there]
            notes += [f"{name} was written anew." for name in anew]
            self._sweep = sweep = _Sweep()
            self._range = None
        sweep.refused = {n: r for n, r in sweep.refused.items() if n in whole and self._files[n].stamp == r[0]}
        new = [n for n in whole if n not in sweep.names and n not in sweep.refused]
        # those that were there before come first, in the order in which they came
        new.sort(key=lambda name: (known.index(name) if name in known else len(known), natural_key(name)))
        wanted = self._header(sweep.names[0]) if sweep.names else None
        kind = _kind(wanted) if wanted else Counter(map(_kind, whole.values())).most_common(1)[0][0] if whole else None
        arrived, sweep.odd = [], []
        for k, name in enumerate(new):
            report(Progress(k / len(new), f"reading {name}"))
            if sweep.following is not None or (self.slices and len(sweep.names) >= self.slices):
                break
            if _kind(whole[name]) != kind:
                self._refuse(name, "is of another size or kind than the slices before it")
            elif self._is_called_otherwise(name):
                sweep.odd.append(name)
            elif self._revisits(name):
                sweep.following = name
            elif self._add(name, notes):
                arrived.append(name)
        if len(sweep.odd) >= MIN_FRAMES and positions_from_names(sweep.odd) is not None:
            sweep.following = sweep.following or sweep.odd[0]
        arrived = [name for name in arrived if name not in known]
        if arrived:
            self._times.append(self._now())
        return arrived, bool(arrived or gone or anew)

    def _refuse(self, name: str, why: str) -> None:
        self._sweep.refused[name] = (self._files[name].stamp, why)

    def _add(self, name: str, notes: list[str]) -> bool:
        """Take a slice into the sweep and return whether that went."""
        sweep, file = self._sweep, self._files[name]
        if file.header is None:
            return False
        names = [*sweep.names, name]
        placed = self._placed(names)
        z = list(placed.z)
        if placed.note:
            notes.append(placed.note)
        source = FolderSource((self._like_first(file.header),), (name,), True)
        if not sweep.names:
            self._choose_size(source.shape)
        try:
            plane = self._preview(source.read(0, scale=self.reduction))
        except ToposcopeError as error:  # it changed since it was looked at
            file.header, file.why = None, str(error).removeprefix(f"{name} ").rstrip(".")
            file.retry = self._now() + file.pause
            return False
        if (twin := self._twin(plane)) is not None:
            self._refuse(name, f"is pixel by pixel {twin} once more")
            return False
        if not sweep.growing.move(z[:-1]) and not self._grow_again(z[:-1]):
            return False
        try:
            measured = sweep.growing.add(plane, z[-1])
        except StackError as error:
            self._refuse(name, f"does not fit: {str(error).rstrip('.')}")
            return False
        sweep.names.append(name)
        sweep.prints[zlib.crc32(np.ascontiguousarray(plane).data)] = name
        sweep.advisor.add(plane, name, measured)
        if self._taken is not None:
            self._taken(name, plane)
        sweep.stamps.append(file.stamp)
        self._put(placed)
        return True

    def _twin(self, plane: Plane) -> str | None:
        """Return the slice that holds the very same pixels: noise never repeats, so one is a copy of the other."""
        return (
            None if plane.min() == plane.max() else self._sweep.prints.get(zlib.crc32(np.ascontiguousarray(plane).data))
        )

    def _put(self, placed: _Placed) -> None:
        """Let the slices of the sweep lie where they were placed."""
        sweep = self._sweep
        sweep.z, sweep.unit, sweep.kind = list(placed.z), placed.unit, placed.kind
        sweep.named, sweep.stepped = placed.named, placed.stepped

    def _place_again(self, notes: list[str]) -> bool:
        """Put all slices where a new step says; return whether any of them moved."""
        sweep = self._sweep
        if not sweep.names:
            self._step_is_new = False
            return False
        try:
            placed = self._placed_pages() if sweep.pages is not None else self._placed(sweep.names)
        except ToposcopeError:  # the file is away, or being written anew
            sweep.seen = None
            return False
        if list(placed.z) == sweep.z and placed.unit == sweep.unit:
            self._step_is_new = False
            return False
        if not sweep.growing.move(placed.z) and (sweep.pages is not None or not self._grow_again(placed.z)):
            sweep.seen = None
            return False  # the next look tries again
        self._step_is_new = False
        notes += [placed.note] * bool(placed.note)
        self._put(placed)
        return True

    def _grow_again(self, z: Sequence[float]) -> bool:
        """Read all slices once more, since their positions lie in another order; return whether that went."""
        growing = GrowingDepth()
        try:
            for name, position in zip(self._sweep.names, z, strict=True):
                header = self._files[name].header
                if header is None:  # it is being written anew
                    return False
                source = FolderSource((self._like_first(header),), (name,), True)
                growing.add(self._preview(source.read(0, scale=self.reduction)), position)
        except ToposcopeError:
            return False
        self._sweep.growing = growing
        return True

    def _choose_size(self, shape: tuple[int, int]) -> None:
        self.reduction = next((s for s in (1, 2, 4) if shape[0] * shape[1] <= PREVIEW_PIXELS * s * s), 8)

    def _preview(self, plane: Plane) -> Plane:
        """Return a plane as the preview takes it: float frames in about 0..1, by the range of the first."""
        if plane.dtype != np.float32:
            return plane
        if self._range is None:
            seen = plane[np.isfinite(plane)]
            low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
            self._range = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1)
        low, high = self._range
        unit: Plane = np.nan_to_num((plane - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0).astype(np.float32)
        return unit

    def _placed(self, names: Sequence[str]) -> _Placed:
        """Return the positions of slices as `open_stack` will find them by `stack_options`."""
        trouble, sidecar = "", Sidecar()
        try:
            if os.path.exists(system_path(self.folder / SIDECAR_NAME)):
                sidecar = read_sidecar(self.folder / SIDECAR_NAME)
        except CalibrationError as error:
            trouble = f"{error} "
        files, chosen = chosen_files(self.folder, sidecar, names)
        if len(files) < len(names):  # the list of frames does not hold all that came
            files, chosen = chosen_files(self.folder, replace(sidecar, frames=None, positions=None), names)
            trouble = f"{SIDECAR_NAME} does not name all slices. "
        ordered, sidecar = [path.name for path in files], chosen
        headers = [header for name in ordered if (header := self._header(name)) is not None]
        reading = ordered
        try:
            order = order_by_time(headers, ordered) if self._options.order == "time" else list(range(len(ordered)))
            if self._options.reverse:
                order.reverse()
            reading = [ordered[k] for k in order]
            frames = Frames(tuple(reading), tuple(range(len(order))), tuple(order), partial=True)
            found = calibrate_headers([headers[k] for k in order], frames, self._options, sidecar)
            if found.positions is not None:
                by_name = dict(zip(reading, found.positions.value, strict=True))
                z = [float(by_name[name]) for name in names]
                if len(set(z[:-1])) == len(z) - 1:
                    kind = "microscope" if found.kind is None else found.kind.value
                    named = found.positions.origin.startswith("file name")
                    note = trouble and f"{trouble}Positions come from the {found.positions.origin} for now."
                    return _Placed(tuple(z), found.unit, kind, named, note=note)
                trouble = f"Several slices have the same position ({found.positions.origin}). "
        except ToposcopeError as error:
            trouble = f"{error} "
        places, options = [float(reading.index(name)) for name in names], self._stepped()
        if options is None:
            return _Placed(tuple(places), note=trouble and f"{trouble}Slices are counted for now.")
        step, note = options.z_step or 1.0, trouble and f"{trouble}The step tells their positions for now."
        return _Placed(tuple(place * step for place in places), options.unit or "um", stepped=True, note=note)

    def _stepped(self) -> OpenOptions | None:
        """Return the options with the step of `set_step`, in their unit; None where there is none."""
        unit = self._options.unit or "um"
        if self._step_um is None or unit == "index":
            return None
        return replace(self._options, z_step=self._step_um / MICROMETRES[unit], unit=unit)

    def _like_first(self, header: ImageHeader) -> ImageHeader:
        """Return the header of a slice that is developed as the first one is."""
        first = self._header(self._sweep.names[0]) if self._sweep.names else None
        if first is None or header.format != "raw":
            return header
        if self._sweep.developed is None or self._sweep.developed.path != first.path:
            self._sweep.developed = developed_alike([first], [first.path.name])[0][0]
        return replace(header, development=self._sweep.developed.development)

    def _header(self, name: str) -> ImageHeader | None:
        file = self._files.get(name)
        return None if file is None else file.header or file.former

    def _revisits(self, name: str) -> bool:
        """Whether a slice lies where the sweep was already, so that it begins another one."""
        names = [*self._sweep.names, name]
        z = self._stated(names)
        if z is None or len(names) <= MIN_FRAMES:
            return False
        before = np.array(z[:-1])
        steps = np.diff(np.sort(before))
        step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
        return bool(np.abs(before - z[-1]).min() <= _REVISITED * step)

    def _is_called_otherwise(self, name: str) -> bool:
        """Whether names told the positions of all slices, and this one is not built like them."""
        names = self._sweep.names
        return self._sweep.named and len(names) >= MIN_FRAMES and positions_from_names([*names, name]) is None

    def _stated(self, names: Sequence[str]) -> list[float] | None:
        """Return what the files or their names say of positions, equal ones included."""
        headers = [self._header(name) for name in names]
        heights = [header.z.value for header in headers if header is not None and header.z is not None]
        if len(heights) == len(names):
            return heights
        named = positions_from_names(names)
        return None if named is None else [float(value) for value in named.values]

    # a file with many pages

    def _take_pages(self, files: list[str], notes: list[str], report: Report) -> tuple[list[str], bool]:
        """Bring the sweep to what a TIFF holds by now."""
        if self._sweep.pages is None:
            self._sweep.pages = min(files, key=natural_key)
        name = self._sweep.pages
        file, seen = self._files.get(name), self._sweep.seen
        if file is None or (seen is not None and seen[0] != file.stamp and file.stamp[0] <= seen[0][0]):
            if self._sweep.names:
                notes.append(f"{name} is gone from the folder." if file is None else f"{name} was written anew.")
            changed = bool(self._sweep.names)
            self._sweep, self._range = _Sweep(pages=name if file else None), None
            return [], changed
        arrived: list[str] = []
        before = list(self._sweep.z)
        if name in files and seen != (file.stamp, file.is_whole()):
            try:
                with closing(self._open_pages(name, part(report, 0.0, 0.3))) as stack:
                    arrived = self._add_pages(stack, file, part(report, 0.3, 1.0))
            except ToposcopeError as error:
                if file.is_whole():
                    notes.append(str(error))
            self._sweep.seen = (file.stamp, file.is_whole())
        more = [other for other in files if other != name]
        if more and not arrived and file.is_whole():
            self._sweep.following = min(more, key=natural_key)
        if arrived:
            self._times.append(self._now())
        return arrived, bool(arrived) or self._sweep.z[: len(before)] != before

    def _open_pages(self, name: str, report: Report) -> FocalStack:
        how: dict[str, Any] = {"only": (name,), "skip": (), "skip_broken": True}
        stack = open_stack(self.folder, replace(self._options, **how), report)
        options = self._stepped()
        self._sweep.stepped = stack.unit == "index" and options is not None
        if options is None or not self._sweep.stepped:
            return stack
        stack.close()
        return open_stack(self.folder, replace(options, **how), report)

    def _placed_pages(self) -> _Placed:
        """Return where the pages of the sweep lie now, as `_placed` does for files."""
        sweep = self._sweep
        name = sweep.pages or ""
        with closing(self._open_pages(name, silent)) as stack:
            at = dict(zip(stack.source.names, stack.positions.value.tolist(), strict=True))
            if any(name not in at for name in sweep.names):
                raise StackError(f"{name} lost pages since it was read.")
            z = tuple(float(at[name]) for name in sweep.names)
            return _Placed(z, stack.unit, stack.kind.value, stepped=sweep.stepped)

    def _add_pages(self, stack: FocalStack, file: _File, report: Report) -> list[str]:
        """Take in the pages that are whole, and not the last one of a file that is still being written."""
        sweep = self._sweep
        names, z = list(stack.source.names), [float(value) for value in stack.positions.value]
        at = dict(zip(names, z, strict=True))
        usable = sorted(names, key=natural_key)
        if not file.is_whole():
            usable = usable[:-1]
        if self.slices:
            usable = usable[: self.slices]
        if any(name not in at for name in sweep.names) or not sweep.growing.move([at[n] for n in sweep.names]):
            pages, stepped, self._range = sweep.pages, sweep.stepped, None
            self._sweep = sweep = _Sweep(pages=pages, stepped=stepped)
        if not sweep.names:
            self._choose_size(stack.shape)
        arrived = []
        for k, name in enumerate(one for one in usable if one not in sweep.names):
            report(Progress(k / len(usable), f"reading {name}"))
            try:
                plane = self._preview(stack.read(names.index(name), scale=self.reduction))
                measured = sweep.growing.add(plane, at[name])
            except ToposcopeError:  # not whole after all: the next look will tell
                break
            sweep.names.append(name)
            sweep.advisor.add(plane, name, measured)
            if self._taken is not None:
                self._taken(name, plane)
            arrived.append(name)
        sweep.stamps = [file.stamp] * len(sweep.names)
        sweep.z, sweep.unit, sweep.kind = [at[name] for name in sweep.names], stack.unit, stack.kind.value
        return arrived

    # what comes of it

    def stack(self, report: Report = silent) -> FocalStack:
        """Open the slices of the sweep as a focal stack, as `open_stack` does.

        Raises
        ------
        StackError
            If there are too few slices, or what `open_stack` raises.
        """
        if self.n < MIN_FRAMES:
            raise StackError(
                f"{self.n} slice{'s' * (self.n != 1)} came; depth from focus needs at least {MIN_FRAMES}. "
                "Wait for more of them."
            )
        return open_stack(self.folder, self.stack_options(), report)

    def stack_options(self) -> OpenOptions:
        """Return the options that open the folder with the slices of the sweep alone."""
        sweep = self._sweep
        options = (self._stepped() if sweep.stepped else None) or self._options
        if sweep.pages is not None:
            return replace(options, only=(sweep.pages,), skip=(), skip_broken=True)
        return replace(options, only=tuple(sorted(sweep.names, key=natural_key)), skip=())

    def next_sweep(self) -> None:
        """Begin the next sweep, which leaves out the files of this one."""
        sweep = self._sweep
        used = [sweep.pages] if sweep.pages is not None else sweep.names
        self._past |= {name: self._files[name].stamp for name in used if name in self._files}
        self._files = {name: file for name, file in self._files.items() if name not in used}
        self._sweep, self._times, self._range = _Sweep(), [], None
        self._active = self._now()


def missing_counters(names: Sequence[str]) -> str:
    """Return which slices are missing by the counters in their names, in words; empty where none is.

    >>> missing_counters(["img_01.tif", "img_02.tif", "img_04.tif"])
    'img_03.tif'
    """
    if len(names) < 3:
        return ""
    parts = [re.split(r"(\d+)", name) for name in sorted(names, key=natural_key)]
    if len({len(part) for part in parts}) != 1:
        return ""
    columns = list(zip(*parts, strict=True))
    varying = [k for k, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return ""
    k = varying[0]
    if any(part[k - 1].endswith((".", ",")) or (part[k + 1] in (".", ",") and k + 2 < len(part)) for part in parts):
        return ""  # decimals are no counters
    counters = [int(part[k]) for part in parts]
    steps = [b - a for a, b in itertools.pairwise(counters)]
    step = Counter(steps).most_common(1)[0][0]
    if step < 1:
        return ""
    width = len(parts[0][k]) if len({len(part[k]) for part in parts}) == 1 else 0
    missing = [a + step * m for a, b in itertools.pairwise(counters) for m in range(1, math.ceil((b - a) / step))]
    named = ["".join((*parts[0][:k], f"{counter:0{width}d}", *parts[0][k + 1 :])) for counter in missing[:3]]
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return ", ".join(named) + more


def _kind(header: ImageHeader) -> tuple[tuple[int, int], int, np.dtype[Any]]:
    return frame_shape(header, True), header.channels, header.dtype
