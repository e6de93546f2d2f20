"""The pictures in the centre: slices while scrubbing, maps of results, two at a time for A|B.

A slice appears reduced first and whole once the user rests on it; its neighbours are then read
ahead. Everything that was shown stays in a cache of bounded size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from toposcope.core.align import AlignedSource
from toposcope.core.channels import fuse_channel, fuse_channels
from toposcope.core.compare import COLOURS, Difference, write_numbers
from toposcope.core.editing import worked_stack
from toposcope.core.export import write_channels, write_image
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.pictures import Bar, beside_picture, display_range, framed_picture
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack, FrameSource
from toposcope.core.volume import FocusVolume
from toposcope.errors import ToposcopeError
from toposcope.ui.controllers.opening import problem
from toposcope.ui.pyramid import Picture
from toposcope.ui.rendering import Rendered, render_difference, render_frame, render_result
from toposcope.ui.resolve import PictureRequest, paired, side_name
from toposcope.ui.session import Job, Layer, LayerKind, Run, Session, State
from toposcope.ui.views.canvas import Where
from toposcope.ui.views.picture_view import PictureView
from toposcope.ui.workers import LatestRunner, Work

CACHE_BYTES: Final = 1_000_000_000
QUICK_PIXELS: Final = 1.5e6
"""Frames above this many pixels are shown reduced first."""
AHEAD: Final = 2
"""Neighbours read ahead on both sides."""
SLOW: Final[dict[LayerKind, tuple[str, str]]] = {
    "all_in_focus": ("Channel", "Fusing this channel by the depth …"),
    "peaks": ("Peaks", "Counting the peaks of every pixel …"),
    "difference": ("Difference", "Subtracting B from A …"),
}
"""Pictures that may take a while: the name of the job, and what stands over the picture meanwhile."""

Differ = Callable[[DepthResult, DepthResult, Report], Difference]
PeakCounter = Callable[[FocusVolume, Report], NDArray[np.uint8]]
ChannelFuser = Callable[[FocalStack, DepthResult, int, Report], NDArray[Any]]
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """What a worker made, for which request, and whether it is as good as it gets.

    ``limits``, ``peaks`` and ``difference`` are what it had to find out for it, and what later pictures can use.
    """

    key: Key
    rendered: Rendered
    final: bool
    limits: tuple[float, float] | None = None
    peaks: NDArray[np.uint8] | None = None
    difference: Difference | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One side of what is shown, as far as it is needed to draw it for a file."""

    request: PictureRequest
    run: Run | None
    make: Callable[[Report], Rendered]


class PictureCache:
    """Pictures by key; the least recently used ones go when the bytes are used up."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit, self._pictures = limit, OrderedDict[Key, Rendered]()
        self.nbytes = 0

    def get(self, key: Key) -> Rendered | None:
        """Return a picture if it is here."""
        if key in self._pictures:
            self._pictures.move_to_end(key)
        return self._pictures.get(key)

    def put(self, key: Key, rendered: Rendered) -> None:
        """Keep a picture."""
        self.drop(key)
        self._pictures[key] = rendered
        self.nbytes += rendered.pyramid.nbytes
        while self.nbytes > self._limit and len(self._pictures) > 1:
            self.drop(next(iter(self._pictures)))

    def drop(self, key: Key) -> None:
        """Forget a picture."""
        if (old := self._pictures.pop(key, None)) is not None:
            self.nbytes -= old.pyramid.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._pictures.clear()
        self.nbytes = 0


class PicturesController(QObject):
    """Shows the pictures that the view state asks for, and writes the one that is shown to a file."""

    saved = Signal(object)  # Path
    copied = Signal(object)  # Picture

    def __init__(
        self,
        session: Session,
        view: PictureView,
        peak_counts: PeakCounter,
        differ: Differ,
        parent: QObject | None = None,
        fuse: ChannelFuser = fuse_channel,
    ) -> None:
        super().__init__(parent)
        self._session, self._view, self._peak_counts, self._differ = session, view, peak_counts, differ
        self._fuse = fuse
        self.cache = PictureCache()
        self._quick = PictureCache(CACHE_BYTES // 4)
        self._peaks: dict[object, NDArray[np.uint8]] = {}  # by number of the run
        self._difference: tuple[tuple[int, int], Difference] | None = None  # the last one, and of which runs
        self._requests: dict[Where, PictureRequest | None] = {"left": None, "right": None}
        self._keys: dict[Where, Key | None] = {"left": None, "right": None}
        self._limits: tuple[float, float] | None = None
        self.runners: dict[Where, LatestRunner] = {}
        self._add_runner("left")
        self._add_runner("right")
        self.ahead = LatestRunner("ahead", self)
        self.ahead.returned.connect(self._on_read_ahead)
        self.writer = LatestRunner("save-picture", self)
        self.writer.returned.connect(self._on_written)
        self.writer.failed.connect(self._on_not_saved)
        self.writer.cancelled.connect(lambda: session.set_job("picture", None))
        session.changed.connect(self._on_changed)

    def _add_runner(self, where: Where) -> None:
        runner = self.runners[where] = LatestRunner(f"pictures-{where}", self)
        runner.returned.connect(lambda made: self._on_made(where, made))
        runner.failed.connect(lambda error: self._on_failed(where, error))
        runner.progressed.connect(lambda progress: self._on_progressed(where, progress))

    def set_requests(self, left: PictureRequest | None, right: PictureRequest | None) -> None:
        """Show these pictures as soon as they are ready."""
        wanted: dict[Where, PictureRequest | None] = {"left": left, "right": right}
        for where, request in wanted.items():
            before = self._requests[where]
            # the same slice lies elsewhere once a run brings another alignment: that shows in the key
            key = self._key(request, self._session.state) if request else None
            if request != before or key != self._keys[where]:
                self._requests[where], self._keys[where] = request, key
                # only the colours change, as while a handle of the colour bar is dragged
                self._fetch(where, recoloured=bool(before and request and before.layer == request.layer))

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:
            for runner in (*self.runners.values(), self.ahead):
                runner.drop()
            self.cache.clear()
            self._quick.clear()
            self._peaks.clear()
            self._limits = self._difference = None
            self._requests = {"left": None, "right": None}
            self._keys = {"left": None, "right": None}
            self._view.set_picture("left", None)
            self._view.set_picture("right", None)
        elif now.runs != before.runs:
            # what was found out of results that are gone would stay for as long as the stack is open
            there = {run.number for run in now.runs}
            self._peaks = {number: counts for number, counts in self._peaks.items() if number in there}
            if self._difference is not None and not there.issuperset(self._difference[0]):
                self._difference = None

    def _fetch(self, where: Where, recoloured: bool = False) -> None:
        request, state = self._requests[where], self._session.state
        runner = self.runners[where]
        if not recoloured:
            runner.drop()
        if where == "left":  # maps that may take a while are shown there only
            self.ahead.drop()
            self._set_slow_job(None)
        if request is None or state.shape is None:
            self._view.set_picture(where, None)
            return
        key = self._key(request, state)
        if (rendered := self.cache.get(key)) is not None:
            self._view.set_picture(where, rendered)
            self._read_ahead(where)
            return
        if (quick := self._quick.get(key)) is not None:
            self._view.set_picture(where, quick)
        work = self._work(request, key, state, final=quick is not None)
        if work is not None:
            (runner.follow if recoloured else runner.start)(work)

    def _key(self, request: PictureRequest, state: State) -> Key:
        layer = request.layer
        if layer.kind == "slice":
            run = state.run if state.aligned else None
            return "slice", (layer.index, run.number if run and _is_moved(run) else 0)
        if layer.kind == "difference":
            return layer.kind, (layer.index, layer.against), request.limits
        if layer.kind == "all_in_focus":
            return layer.kind, (layer.index, layer.channel), bool(request.shared)
        if layer.kind in ("depth", "confidence"):
            # limits that were set suit any neighbour
            shared = frozenset(request.shared) if request.limits is None else frozenset()
            return layer.kind, layer.index, request.colour_map, request.limits, shared
        return layer.kind, layer.index

    def _work(self, request: PictureRequest, key: Key, state: State, final: bool) -> Work | None:
        stack, shape, run = state.stack, state.shape, state.run_of(request.layer.index)
        if shape is None:
            return None
        if request.layer.kind == "slice":
            return self._slice_work(request.layer.index, key, state, final)
        if run is None:
            return None
        if request.layer.kind == "difference":
            return self._difference_work(request, key, state, final)
        if request.layer.channel is not None and stack is not None:
            return self._channel_work(run, request.layer.channel, key, stack)
        if request.layer.kind == "all_in_focus" and request.shared and stack is not None:
            return self._fused_work(run, key, stack)
        kind = request.layer.kind
        others = [state.run_of(number) for number in request.shared if number != run.number]
        beside = others[0].result if others and others[0] is not None else None
        peaks = self._peaks.get(run.number)
        if kind == "peaks" and peaks is None and run.result.volume is not None:
            self._set_slow_job(kind, Progress(0.0))

        quick = kind in ("depth", "confidence") and not final
        scale = quick_scale(run.result.shape) if quick else 1

        def work(report: Report) -> _Made:
            counts = peaks
            if kind == "peaks" and counts is None and run.result.volume is not None:
                counts = self._peak_counts(run.result.volume, report)
            rendered = render_result(run.result, kind, shape, request.colour_map, request.limits, counts, scale, beside)
            return _Made(key, rendered, scale == 1, peaks=counts)

        return work

    def _fused_work(self, run: Run, key: Key, stack: FocalStack) -> Work:
        """Make an all-in-focus picture with the grey levels of the slices, as all that is compared has them."""
        known = self._limits

        def work(report: Report) -> _Made:
            limits = known or frame_limits(stack)
            return _Made(key, render_frame(run.result.all_in_focus, limits, stack.shape), True, limits)

        return work

    def _channel_work(self, run: Run, channel: int, key: Key, stack: FocalStack) -> Work:
        """Make the all-in-focus picture of another channel by the depth of ``run``."""
        fuse = self._fuse
        if self.cache.get(key) is None:
            self._set_slow_job("all_in_focus", Progress(0.0))

        def work(report: Report) -> _Made:
            picture = fuse(stack, run.result, channel, report)
            return _Made(key, render_frame(picture, display_range(picture), stack.shape), True)

        return work

    def _difference_work(self, request: PictureRequest, key: Key, state: State, final: bool) -> Work | None:
        layer = request.layer
        first, second = state.run_of(layer.index), state.run_of(layer.against)
        if first is None or second is None or state.shape is None:
            return None
        shape, subtract = state.shape, self._subtraction(first, second)
        scale = 1 if final else quick_scale(shape)
        if self._known_difference(first, second) is None:
            self._set_slow_job("difference", Progress(0.0))

        def work(report: Report) -> _Made:
            found = subtract(report)
            return _Made(key, render_difference(found, shape, request.limits, scale), scale == 1, difference=found)

        return work

    def _known_difference(self, first: Run, second: Run) -> Difference | None:
        of, found = self._difference or ((0, 0), None)
        return found if of == (first.number, second.number) else None

    def _subtraction(self, first: Run, second: Run) -> Callable[[Report], Difference]:
        """Return what gives the difference of two runs, in a worker: it is not made twice."""
        known = self._known_difference(first, second)
        return lambda report: known or self._differ(first.result, second.result, report)

    def _slice_work(self, index: int, key: Key, state: State, final: bool) -> Work | None:
        stack, run = state.stack, state.run if state.aligned else None
        if stack is None:
            return None
        source, place = frame_of(stack, run, index)
        scale = 1 if final else quick_scale(stack.shape)
        known = self._limits

        def work(report: Report) -> _Made:
            report(Progress(0.0))
            limits = known or frame_limits(stack)
            plane = source.read(place, scale=scale)
            report(Progress(0.5))
            return _Made(key, render_frame(plane, limits, stack.shape), scale == 1, limits)

        return work

    def _on_made(self, where: Where, made: _Made) -> None:
        self._set_slow_job(None)
        self._keep(made)
        if made.final or made.key[0] == "slice":
            (self.cache if made.final else self._quick).put(made.key, made.rendered)
        request, state = self._requests[where], self._session.state
        # the same layer in older colours is worth showing while newer ones are made
        if request is None or self._key(request, state)[:2] != made.key[:2]:
            return
        self._view.set_picture(where, made.rendered)
        if self._key(request, state) != made.key:
            return
        if made.final:
            self._read_ahead(where)
        elif (work := self._work(request, made.key, state, final=True)) is not None:
            self.runners[where].start(work)

    def _read_ahead(self, where: Where) -> None:
        """Read the neighbours of the slice that is looked at."""
        request, state = self._requests[where], self._session.state
        if where != "left" or request is None or request.layer.kind != "slice" or state.stack is None:
            return
        n, i = state.stack.n, request.layer.index
        for step in (s * k for k in range(1, AHEAD + 1) for s in (1, -1)):
            if not 0 <= i + step < n:
                continue
            neighbour = PictureRequest(Layer("slice", i + step), request.colour_map, None)
            key = self._key(neighbour, state)
            if self.cache.get(key) is None and (work := self._slice_work(i + step, key, state, final=True)):
                self.ahead.start(work)
                return

    def _keep(self, made: _Made) -> None:
        """Keep what was found out; a late answer about a closed stack never comes here."""
        if made.limits is not None:
            self._limits = made.limits
        if made.peaks is not None:
            self._peaks[made.key[1]] = made.peaks
        if made.difference is not None and isinstance(made.key[1], tuple):
            self._difference = made.key[1], made.difference

    def _on_read_ahead(self, made: _Made) -> None:
        self._keep(made)
        self.cache.put(made.key, made.rendered)
        self._read_ahead("left")

    def _on_progressed(self, where: Where, progress: Progress) -> None:
        request = self._requests[where]
        if request is not None and request.layer.kind in SLOW and "map" in self._session.state.jobs:
            self._set_slow_job(request.layer.kind, progress)

    def _set_slow_job(self, kind: LayerKind | None, progress: Progress | None = None) -> None:
        title, text = SLOW[kind] if kind is not None else ("", "")
        self._view.set_waiting(text)
        self._session.set_job("map", Job(title, progress) if progress is not None else None)

    def _on_failed(self, where: Where, error: Exception) -> None:
        self._set_slow_job(None)
        request = self._requests[where]
        other = request is not None and request.layer.channel is not None
        # a channel that cannot be shown gives way to that of the stack
        self._session.set(message=problem(error), channel=None if other else self._session.state.channel)

    def save(self, path: Path) -> None:
        """Write what is shown at full size: both sides of A|B, and all that explains the colours."""
        drawing = self._drawing()
        if drawing is None:
            return
        draw, pixel_um = drawing

        def write(report: Report) -> Path:
            write_image(draw(report), path, pixel_um=pixel_um)
            return path

        self._write(f"Saving {path.name}", write)

    def copy(self) -> None:
        """Give what is shown as `save` would write it; `copied` tells when it is ready."""
        if (drawing := self._drawing()) is not None:
            self._write("Copying the picture", drawing[0])

    def save_numbers(self, path: Path) -> None:
        """Write the difference of A and B as float32 TIFF."""
        first, second = paired(self._session.state)
        if first is None or second is None or first is second:
            return
        subtract = self._subtraction(first, second)

        def write(report: Report) -> Path:
            write_numbers(subtract(report), path)
            return path

        self._write(f"Saving {path.name}", write)

    def save_channels(self, path: Path) -> None:
        """Write the all-in-focus pictures of all channels as one OME-TIFF."""
        state = self._session.state
        stack, run = state.stack, state.run
        if stack is None or run is None or run.reduction > 1:
            return
        pixel_um = stack.pixel_um.value if stack.pixel_um else None

        def write(report: Report) -> Path:
            write_channels(fuse_channels(stack, run.result, report), path, pixel_um)
            return path

        self._write(f"Saving {path.name}", write)

    def _write(self, title: str, work: Work) -> None:
        self._session.set(message=None)
        self._session.set_job("picture", Job(title, Progress(0.0)))
        self.writer.start(work)

    def _drawing(self) -> tuple[Callable[[Report], Picture], float | None] | None:
        """Return what draws the picture that is shown, in a worker, and its pixel size; None for no picture."""
        state = self._session.state
        sides = [self._side(where, state) for where in ("left", "right") if self._requests[where] is not None]
        shown = [side for side in sides if side is not None]
        pixel, shape, split = state.pixel_um, state.shape, state.split
        if not shown or shape is None:
            return None
        names = _heading(shown, state)
        pixel_um = pixel.value if pixel else None

        def draw(report: Report) -> Picture:
            made = [side.make(part(report, i / len(shown), (i + 1) / len(shown))) for i, side in enumerate(shown)]
            return drawn(made, [side.request for side in shown], names, split, shape, pixel_um)

        return draw, pixel_um

    def _side(self, where: Where, state: State) -> _Side | None:
        request = self._requests[where]
        if request is None:
            return None
        key = self._key(request, state)
        known, work = self.cache.get(key), self._work(request, key, state, final=True)
        if work is None:
            return None
        run = state.run_of(request.layer.index) if request.layer.kind != "slice" else None

        def make(report: Report) -> Rendered:
            rendered: Rendered = known or work(report).rendered
            return rendered

        return _Side(request, run, make)

    def _on_written(self, answer: Path | Picture) -> None:
        self._session.set_job("picture", None)
        if isinstance(answer, Path):
            self.saved.emit(answer)
        else:
            self.copied.emit(answer)

    def _on_not_saved(self, error: Exception) -> None:
        self._session.set_job("picture", None)
        self._session.set(message=problem(error))

    def cancel(self) -> None:
        """Stop what takes long, maps that have to be computed and writing."""
        self.writer.cancel()
        if "map" in self._session.state.jobs:
            for runner in self.runners.values():
                runner.cancel()
            self._set_slow_job(None)
            self._session.set(channel=None, mode="depth")

    def shutdown(self) -> None:
        """Stop all threads."""
        for runner in (*self.runners.values(), self.ahead, self.writer):
            runner.shutdown()


def _heading(sides: Sequence[_Side], state: State) -> tuple[str, str]:
    """Return what is written over the left and over the right end of a picture for a file."""
    kinds, runs = [side.request.layer.kind for side in sides], [side.run for side in sides]
    if len(sides) == 2:
        return side_name("A", kinds[0], runs[0]), side_name("B", kinds[1], runs[1])
    if kinds[0] == "difference" and runs[0] is not None:
        other = state.run_of(sides[0].request.layer.against)
        return f"A  {runs[0].title}", f"−  B  {other.title if other else ''}"
    return "", ""


def drawn(
    made: Sequence[Rendered],
    requests: Sequence[PictureRequest],
    names: tuple[str, str],
    split: float,
    shape: tuple[int, int],
    pixel_um: float | None,
) -> Picture:
    """Return what is shown as a picture for a file: pixel by pixel, with all that explains its colours beside it.

    ``made`` are the picture that is shown or the two sides of A|B, which the line parts at ``split`` (0..1 of
    the width); ``shape`` (H, W) is the full size, ``pixel_um`` the side of a pixel there.
    """
    if len(made) == 2:
        left, right = (_at_size(one.pyramid.finest, shape) for one in made)
        picture = beside_picture(left, right, split)
    else:
        picture = made[0].pyramid.finest
    shown = next(((one.scale, request) for one, request in zip(made, requests, strict=True) if one.scale), None)
    legend = tuple(dict.fromkeys(entry for one in made for entry in one.legend))
    if len(made) == 1 and shown is None and not legend:
        return picture  # a photograph explains itself
    bar = None
    if shown is not None:
        scale, request = shown
        name = COLOURS if request.layer.kind == "difference" else request.colour_map
        bar = Bar(name, scale.low, scale.high, scale.unit or "confidence")
    return framed_picture(
        picture,
        [names] if any(names) else [],
        bar,
        legend,
        made[0].statistics[:1].upper() + made[0].statistics[1:],
        pixel_um and pixel_um * shape[1] / picture.shape[1],
    )


def _at_size(picture: Picture, shape: tuple[int, int]) -> Picture:
    """Return a picture at full size, where it is a preview with larger pixels."""
    if picture.shape[:2] == shape:
        return picture
    return np.asarray(cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def quick_scale(shape: tuple[int, int]) -> int:
    """Return the reduction (1, 2, 4 or 8) at which a picture of ``shape`` is made in a few milliseconds."""
    return next((s for s in (1, 2, 4) if shape[0] * shape[1] <= QUICK_PIXELS * s * s), 8)


def frame_limits(stack: FocalStack) -> tuple[float, float]:
    """Return the values to show as black and white, the same for all slices of a stack."""
    if stack.source.dtype == np.uint8:
        return 0.0, 255.0
    return display_range(stack.read(stack.n // 2, scale=1 if min(stack.shape) < 512 else 4))


def frame_of(stack: FocalStack, run: Run | None, index: int) -> tuple[FrameSource, int]:
    """Return where to read slice ``index``: as it lies in the maps of ``run``, or as it was taken.

    A frame that the run left out has no motion and is shown as it was taken.
    """
    if run is None or not _is_moved(run) or index in run.inputs.skipped:
        return stack.source, index
    alignment = run.result.alignment
    try:
        worked = worked_stack(stack, run.inputs.skipped)
    except ToposcopeError:
        return stack.source, index
    if alignment is None or len(alignment.motions) != worked.n:
        return stack.source, index
    motions = alignment.scaled(run.reduction).motions
    return AlignedSource(worked.source, motions), index - sum(i < index for i in run.inputs.skipped)


def _is_moved(run: Run) -> bool:
    return run.result.alignment is not None and run.result.alignment.needed
