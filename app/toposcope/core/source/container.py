"""Files and data sets that hold many planes: positions, channels and times with a z axis each.

What a reader of a maker's format brings is a `Container`; which of its stacks is opened is chosen
here, in the same way for all of them, and `ContainerSource` hands out its planes one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from xml.etree import ElementTree

import numpy as np

from toposcope.core.calibration import Floats, Objective, Sourced
from toposcope.core.source.image_file import Unreadable, as_unreadable, size_problem
from toposcope.core.source.options import Choice, ChoiceNeeded, OpenOptions
from toposcope.core.stack import MIN_FRAMES, FrameTags, Part, PartName, Plane, Roi, reduce_plane
from toposcope.errors import FrameError, SettingsError, StackError

MOST_PLACES: Final = 1_000_000
"""Slices, times, channels or positions, at most."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: ``samples`` is 1 (grey) or 3 (RGB), ``dtype`` that of its frames."""

    name: str
    dtype: np.dtype[Any]
    samples: int = 1
    emission_nm: float | None = None

    @property
    def label(self) -> str:
        """Name and wavelength, for users."""
        if not self.emission_nm or f"{self.emission_nm:g}" in self.name:
            return self.name
        return f"{self.name} ({self.emission_nm:g} nm)"


@dataclass(frozen=True, slots=True)
class Scene:
    """One position of the stage: ``planes`` along z in each of its channels, at each of its times.

    ``shape`` is rows and columns; ``times`` are labels. ``objective`` and ``notes`` are for users.
    """

    name: str
    shape: tuple[int, int]
    planes: int
    channels: tuple[Channel, ...]
    times: tuple[str, ...] = ("time point 1",)
    pixel_um: Sourced[float] | None = None
    objective: Sourced[Objective] | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_stack(self) -> bool:
        """Whether there are slices enough, along z or in time."""
        return self.planes >= MIN_FRAMES or (self.planes == 1 and len(self.times) >= MIN_FRAMES)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plane lies in a container, all counted from 0."""

    scene: int
    channel: int
    time: int
    z: int


class Container(Protocol):
    """An open file, or data set of several. Only one thread calls it at a time.

    ``origin`` is the name of the format as origins show it. Whatever a method raises that is not
    `Unreadable` counts as damage of the file.
    """

    @property
    def origin(self) -> str: ...
    @property
    def scenes(self) -> tuple[Scene, ...]: ...

    def positions_um(self, scene: int, channel: int, time: int) -> tuple[Sourced[Floats] | None, tuple[str, ...]]:
        """Return heights (planes,) in micrometres, None where the file tells none, and notes."""
        ...

    def read(self, place: Place, roi: Roi | None) -> Plane:
        """Return a plane, or its part ``roi``: grey or RGB, in the dtype of its channel."""
        ...

    def file(self, place: Place) -> Path:
        """Return the file that the plane lies in."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """The stack that was chosen in a container.

    ``places`` are its slices. ``parts`` tells what it was chosen from.
    """

    scene: Scene
    channel: Channel
    places: tuple[Place, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    @property
    def along_time(self) -> bool:
        """Whether the slices are time points, since there is no z axis."""
        return len({place.time for place in self.places}) > 1


def choose(name: str, container: Container, options: OpenOptions) -> Chosen:
    """Choose scene, channel and time of the container ``name`` by ``options``.

    Raises
    ------
    ChoiceNeeded
        If options leave something open.
    StackError
        If it holds no stack.
    SettingsError
        If an option names what is not there.
    """
    usable = [k for k, scene in enumerate(container.scenes) if scene.has_stack]
    if not usable:
        raise StackError(_nothing(name, container.scenes))
    names = tuple(container.scenes[k].name for k in usable)
    k = picked(name, "series", options.series, names)
    first = container.scenes[usable[k or 0]]
    alike = all(_inner(container.scenes[j]) == _inner(first) for j in usable)
    questions = [] if k is not None else [Choice("series", "Position", names)]
    parts = [Part("series", "Position", names, k)] if k is not None and len(names) > 1 else []
    labels = unique(tuple(channel.label for channel in first.channels))
    along_time = first.planes == 1
    if k is not None or alike:
        inner: list[tuple[PartName, str, tuple[str, ...], int | None]]
        inner = [("channel", "Channel", labels, options.channel)]
        if not along_time:
            inner.append(("time", "Time point", first.times, options.time))
        for part, label, choices, answer in inner:
            chosen = picked(name, part, answer, choices)
            if chosen is None:
                questions.append(Choice(part, label, choices))
            elif len(choices) > 1:
                parts.append(Part(part, label, choices, chosen))
    if questions:
        raise needed(name, questions)
    c, t = (next((one.chosen for one in parts if one.name == part), 0) for part in ("channel", "time"))
    scene = usable[k or 0]
    notes = list(first.notes)
    if len(usable) < len(container.scenes):
        notes.append(f"{len(container.scenes) - len(usable)} further positions hold no stack and are left out")
    if along_time:
        places = tuple(Place(scene, c, time, 0) for time in range(len(first.times)))
        notes.append(f"it has no z axis; its {len(places)} time points are taken as slices")
    else:
        places = tuple(Place(scene, c, t, z) for z in range(first.planes))
    channel = first.channels[c]
    problem = size_problem(first.shape)
    if problem:
        raise StackError(f"{name} {problem}.")
    return Chosen(first, channel, places, tuple(parts), tuple(notes))


def picked(file: str, name: PartName, answer: int | None, options: Sequence[str]) -> int | None:
    """Return the place that ``answer`` chooses among ``options``, 0 if there is only one, None if it is open."""
    if answer is None:
        return 0 if len(options) == 1 else None
    if not 0 <= answer < len(options):
        raise SettingsError(
            f"{file} has {len(options)} to choose from as {name}, 0 to {len(options) - 1}; not {answer}."
        )
    return answer


def needed(file: str, questions: Sequence[Choice]) -> ChoiceNeeded:
    """Return the question which of several stacks is meant."""
    wanted = " and the ".join(f"{one.label.lower()} ({listed(one.options)})" for one in questions)
    return ChoiceNeeded(f"{file} holds several stacks; choose the {wanted}.", tuple(questions))


def listed(names: Sequence[str]) -> str:
    """Return names one after the other; of many the first ones and the last."""
    return ", ".join(names) if len(names) <= 6 else ", ".join((*names[:4], "...", names[-1]))


def unique(labels: Sequence[str]) -> tuple[str, ...]:
    """Number labels that are there more than once."""
    return tuple(
        label if list(labels).count(label) == 1 else f"{label} [{list(labels[: k + 1]).count(label)}]"
        for k, label in enumerate(labels)
    )


def _inner(scene: Scene) -> tuple[Any, ...]:
    return scene.times, tuple(channel.label for channel in scene.channels), scene.planes == 1


def _nothing(name: str, scenes: Sequence[Scene]) -> str:
    if not scenes:
        return f"{name} holds no images."
    best = max(scenes, key=lambda scene: scene.planes)
    slices = "one slice" if best.planes == 1 else f"{best.planes} slices"
    more = [
        f"{len(many)} {word}"
        for many, word in ((best.channels, "channels"), (best.times, "time points"), (scenes, "positions"))
        if len(many) > 1
    ]
    where = f" in each of its {' and '.join(more)}" if more else ""
    return f"{name} holds {slices}{where}; depth from focus needs at least {MIN_FRAMES} along z."


@dataclass(frozen=True, eq=False)
class ContainerSource:
    """The slices of a stack in a container; see `FrameSource`. The container stays open until `close`."""

    container: Container
    chosen: Chosen
    title: str
    names: tuple[str, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closed: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def n(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int]:
        return self.chosen.scene.shape

    @property
    def channels(self) -> int:
        return self.chosen.channel.samples

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.chosen.channel.dtype

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        with self._lock:
            try:
                if self._closed.is_set():
                    raise Unreadable("cannot be read any more: the file was closed")
                plane = guarded_read(self.container, self.chosen.places[i], roi)
                wanted = (
                    self.shape
                    if roi is None
                    else tuple(len(range(*part.indices(side))) for part, side in zip(roi, self.shape, strict=True))
                )
                if plane.shape[:2] != wanted or plane.dtype != self.dtype:
                    raise Unreadable(f"has {plane.shape[1]} x {plane.shape[0]} pixels of another kind than the others")
            except Unreadable as error:
                raise FrameError(f"{self.names[i]} of {self.title} {error}.", i, self.names[i]) from error
        return reduce_plane(np.ascontiguousarray(plane), scale)

    def tags(self, i: int) -> FrameTags:
        return FrameTags()

    def file(self, i: int) -> Path | None:
        return self.container.file(self.chosen.places[i])

    def close(self) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                self.container.close()


def guarded_read(container: Container, place: Place, roi: Roi | None = None) -> Plane:
    """Read a plane; whatever the reader's library raises becomes `Unreadable`."""
    with as_unreadable("is damaged and cannot be decoded"):
        return container.read(place, roi)


def checked_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the number of places along each axis.

    Raises
    ------
    Unreadable
        If they are none, or more than any recording has: then the file is damaged.
    """
    for axis, size in sizes.items():
        if not 1 <= size <= MOST_PLACES:
            raise Unreadable(f"is damaged: it says that it has {size} places along {axis}")
    return {axis: int(size) for axis, size in sizes.items()}


def safe_xml(text: str) -> ElementTree.Element:
    """Parse XML that declares no entities of its own.

    Raises
    ------
    Unreadable
        If it does, which can fill the memory, or is no XML.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Unreadable("has metadata with entities, which are not safe to read")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  entities are refused above
    except ElementTree.ParseError as error:
        raise Unreadable("has damaged metadata") from error


def number(text: Any) -> float | None:
    """Return the finite number that ``text`` is, None if it is none."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def positive(text: Any) -> float | None:
    """Return the number above 0 that ``text`` is, None if it is none."""
    value = number(text)
    return value if value is not None and value > 0 else None


def stepped(count: int, step_um: float | None, origin: str) -> Sourced[Floats] | None:
    """Return ``count`` equal steps, None without a step other than 0."""
    return Sourced(np.arange(count, dtype=np.float64) * step_um, origin) if step_um and count > 1 else None


def distinct(values: Sequence[float | None]) -> Floats | None:
    """Return the values if all are there and differ, else None."""
    known = [value for value in values if value is not None]
    return np.array(known, np.float64) if len(known) == len(values) == len(set(known)) else None


def time_names(count: int, seconds: Sequence[float | None] | None = None) -> tuple[str, ...]:
    """Return names of time points, with the ``seconds`` when they began where all are told."""
    if seconds is None or len(seconds) != count or None in seconds:
        return tuple(f"time point {k + 1}" for k in range(count))
    return tuple(f"time point {k + 1} ({second:g} s)" for k, second in enumerate(seconds))


def frame_dtype(stored: Any) -> np.dtype[Any]:
    """Return the dtype of frames of pixels stored as ``stored``: 8 and 16 bit are kept, all else is float32."""
    stored = np.dtype(stored)
    return stored.newbyteorder("=") if stored in (np.uint8, np.uint16) else np.dtype(np.float32)
