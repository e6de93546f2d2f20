"""A focal stack: frames, focus positions and what is known of the optics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import (
    UNIT_SYMBOLS,
    Floats,
    Kind,
    Objective,
    Side,
    Sourced,
    Unit,
    focus_coordinate,
)
from toposcope.core.jobs import Report
from toposcope.errors import CalibrationError, StackError

Plane = NDArray[Any]
"""One frame in its own bit depth: (H, W) grey or (H, W, 3) RGB; uint8, uint16 or float32."""

Roi = tuple[slice, slice]
"""Rows and columns, in pixels of the full frame, with plain non-negative bounds."""

MIN_FRAMES = 3


class FrameSource(Protocol):
    """Where frames come from: one plane at a time, in native bit depth.

    ``n`` frames of ``shape`` (H, W) with ``channels`` 1 (grey) or 3 (RGB) and ``dtype`` uint8,
    uint16 or float32 (float frames lie in 0..1). ``names`` says what the user calls each frame.
    Reading is thread-safe.
    """

    @property
    def n(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def channels(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def names(self) -> Sequence[str]: ...

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        """Return frame ``i``, or its part ``roi``, reduced by ``scale`` (1, 2, 4 or 8).

        Reduced frames are area averages of shape ceil(H / scale), ceil(W / scale). ``roi`` is
        given in full-resolution pixels and needs ``scale`` 1.

        Raises `FrameError` when the frame cannot be read, now or any more.
        """
        ...

    def tags(self, i: int) -> FrameTags:
        """Return what travels with frame ``i`` into a fused image."""
        ...

    def file(self, i: int) -> Path | None:
        """Return the file that frame ``i`` comes from, None where there is none."""
        ...

    def close(self) -> None:
        """Release files; reading afterwards raises `FrameError`."""
        ...


@dataclass(frozen=True, slots=True)
class FrameTags:
    """EXIF block and ICC profile of a frame, as bytes ready for writing; None where absent."""

    exif: bytes | None = None
    icc: bytes | None = None


@dataclass(frozen=True)
class ArraySource:
    """Frames held in memory: (N, H, W) grey or (N, H, W, 3) RGB."""

    frames: NDArray[Any]
    frame_names: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return int(self.frames.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.frames.shape[1]), int(self.frames.shape[2])

    @property
    def channels(self) -> int:
        return 1 if self.frames.ndim == 3 else int(self.frames.shape[3])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.frames.dtype

    @property
    def names(self) -> Sequence[str]:
        return self.frame_names or tuple(f"frame {i + 1}" for i in range(self.n))

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        plane: Plane = self.frames[i] if roi is None else self.frames[i][roi]
        return reduce_plane(plane, scale)

    def tags(self, i: int) -> FrameTags:
        return FrameTags()

    def file(self, i: int) -> Path | None:
        return None

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True)
class DerivedSource:
    """Frames made from those of another source: as they are there, but for what a subclass changes."""

    source: FrameSource

    @property
    def n(self) -> int:
        return self.source.n

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    @property
    def names(self) -> Sequence[str]:
        return self.source.names

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        return self.source.read(i, roi, scale)

    def tags(self, i: int) -> FrameTags:
        return self.source.tags(i)

    def file(self, i: int) -> Path | None:
        return self.source.file(i)

    def close(self) -> None:
        self.source.close()


@dataclass(frozen=True)
class SelectedSource(DerivedSource):
    """Some frames of another source, in another order."""

    indices: tuple[int, ...]

    @property
    def n(self) -> int:
        return len(self.indices)

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.source.names[i] for i in self.indices)

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        return self.source.read(self.indices[i], roi, scale)

    def tags(self, i: int) -> FrameTags:
        return self.source.tags(self.indices[i])

    def file(self, i: int) -> Path | None:
        return self.source.file(self.indices[i])


@dataclass(frozen=True)
class ReducedSource(DerivedSource):
    """Another source at 1/2, 1/4 or 1/8 of its size: what a preview works on."""

    scale: int

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.source.shape
        return -(-height // self.scale), -(-width // self.scale)

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        within = min(8 // self.scale, scale)  # what the other source can reduce by beside our own
        plane = reduce_plane(self.source.read(i, None, self.scale * within), scale // within)
        return plane if roi is None else plane[roi]

    def file(self, i: int) -> Path | None:
        return None  # no file holds these pixels, and a preview need not be made again


PartName = Literal["series", "channel", "time"]
"""What a file may hold several of: positions or scenes, channels, time points."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which of several things in a file a stack is: the place ``chosen`` in ``options``.

    ``name`` is the option that chooses it, ``label`` what users call it.
    """

    name: PartName
    label: str
    options: tuple[str, ...]
    chosen: int

    @property
    def text(self) -> str:
        """The chosen one, in words."""
        return self.options[self.chosen]


Reopen = Callable[[Mapping[PartName, int], Report], "FocalStack"]
"""Opens another stack of the same file: places in the options of the parts that are to differ."""


@dataclass(frozen=True, repr=False)
class FocalStack:
    """A checked focal stack. Make one with `FocalStack.create`, which sorts and checks.

    ``positions`` (N,) float64 ascend strictly, in ``unit``. ``kind`` says whether they are heights
    (microscope) or distances (camera), ``near`` which end is nearer to the lens. ``pixel_um`` is the
    side of a pixel on the object, None where unknown. ``void`` (H, W) bool is True outside the field
    of view that all frames share; None means that every pixel is seen by every frame. ``parts`` tell
    which series, channel and time point it is of a file that holds several; ``reopen`` opens another one of
    them with the same options, by the names of the parts, None where there are no others.
    """

    source: FrameSource
    positions: Sourced[Floats]
    unit: Unit
    kind: Sourced[Kind]
    near: Sourced[Side]
    pixel_um: Sourced[float] | None = None
    name: str = "stack"
    path: Path | None = None
    void: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    objective: Sourced[Objective] | None = None
    parts: tuple[Part, ...] = ()
    reopen: Reopen | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        low, high = self.positions.value[[0, -1]]
        height, width = self.shape
        return f"<FocalStack {self.name}: {self.n} frames of {height} x {width}, {low:g} to {high:g} {self.unit}>"

    @classmethod
    def create(
        cls,
        source: FrameSource,
        positions: Sourced[Floats] | None = None,
        unit: Unit = "index",
        kind: Sourced[Kind] | None = None,
        near: Sourced[Side] | None = None,
        pixel_um: Sourced[float] | None = None,
        name: str = "stack",
        path: Path | None = None,
        notes: tuple[str, ...] = (),
        objective: Sourced[Objective] | None = None,
        parts: tuple[Part, ...] = (),
    ) -> FocalStack:
        """Check the parts, sort the frames by position and return the stack.

        Without ``positions`` the frames are numbered 0..N-1 in their order, unit ``index``.

        Raises
        ------
        StackError
            If there are fewer than 3 frames.
        CalibrationError
            If positions are not N finite, distinct numbers, or the pixel size is not above 0.
        """
        if source.n < MIN_FRAMES:
            raise StackError(
                f"{name} holds {source.n} image{'s' if source.n != 1 else ''}; depth from focus needs at "
                f"least {MIN_FRAMES}. Choose the folder or file that holds the whole series."
            )
        if positions is None:
            positions, unit = Sourced(np.arange(source.n, dtype=np.float64), "frame order", guessed=True), "index"
        values = np.asarray(positions.value, dtype=np.float64)
        if values.shape != (source.n,):
            raise CalibrationError(
                f"{name} has {source.n} frames but {values.size} focus positions ({positions.origin}). "
                "Give one position for each frame."
            )
        if not np.isfinite(values).all():
            bad = source.names[int(np.flatnonzero(~np.isfinite(values))[0])]
            raise CalibrationError(
                f"the focus position of {bad} is not a number ({positions.origin}). "
                "Give a finite position for each frame."
            )
        order = np.argsort(values, kind="stable")
        ascending = values[order]
        same = np.flatnonzero(np.diff(ascending) == 0)
        if same.size:
            first, second = (source.names[int(order[same[0] + k])] for k in (0, 1))
            raise CalibrationError(
                f"{first} and {second} have the same focus position {ascending[same[0]]:g} ({positions.origin}). "
                "Leave one of them out, or give positions of your own."
            )
        if pixel_um is not None and not (np.isfinite(pixel_um.value) and pixel_um.value > 0):
            raise CalibrationError(
                f"the pixel size is {pixel_um.value:g} um ({pixel_um.origin}); it must be a number above 0."
            )
        if not np.array_equal(order, np.arange(source.n)):
            source = SelectedSource(source, tuple(int(i) for i in order))
        kind = kind or _guessed_kind(ascending, unit)
        if near is None:
            known = unit != "index"
            side: Side = "low" if kind.value == "camera" else "high"
            near = Sourced(side, "kind of the stack" if known else "guessed", guessed=not known)
        stack = cls(
            source,
            replace(positions, value=ascending),
            unit,
            kind,
            near,
            pixel_um,
            name,
            path,
            None,
            notes,
            objective,
            parts,
        )
        focus_coordinate(ascending, unit, kind.value)  # refuses impossible distances now, not later
        return stack

    @property
    def n(self) -> int:
        """Number of frames."""
        return self.source.n

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.source.shape

    def part(self, name: PartName) -> Part | None:
        """Return which series, channel or time point it is, None where the file holds only one."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def coordinate(self) -> Floats:
        """Focus coordinate of each frame: (N,) float64, 0..1, in which blur is linear."""
        return focus_coordinate(self.positions.value, self.unit, self.kind.value)

    @property
    def unit_symbol(self) -> str:
        """The unit as it is written for users."""
        return UNIT_SYMBOLS[self.unit]

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        """Return frame ``i`` in its own bit depth; see `FrameSource.read`."""
        return self.source.read(i, roi, scale)

    def subset(self, indices: Sequence[int]) -> FocalStack:
        """Return the stack of some of its frames (ascending indices)."""
        kept = tuple(sorted(indices))
        if len(kept) < MIN_FRAMES:
            raise StackError(
                f"only {len(kept)} of {self.n} frames are left; depth from focus needs at least {MIN_FRAMES}."
            )
        return replace(
            self,
            source=SelectedSource(self.source, kept),
            positions=replace(self.positions, value=self.positions.value[list(kept)]),
        )

    def reduced(self, scale: int) -> FocalStack:
        """Return the stack at 1/``scale`` of its size (1, 2, 4 or 8), for previews."""
        if scale == 1:
            return self
        void = None if self.void is None else reduce_plane(self.void.astype(np.uint8), scale) > 0
        pixel = self.pixel_um and replace(self.pixel_um, value=self.pixel_um.value * scale)
        return replace(self, source=ReducedSource(self.source, scale), void=void, pixel_um=pixel)

    def close(self) -> None:
        """Release the files."""
        self.source.close()


def reduce_plane(plane: Plane, scale: int) -> Plane:
    """Return ``plane`` reduced by ``scale`` by area averaging, dtype kept.

    An uneven side is filled up from its border first: squeezing it would shift the far end by up to
    ``scale`` - 1 pixels against JPEG frames, which are reduced by exactly ``scale``.
    """
    if scale == 1:
        return plane
    below, right = -plane.shape[0] % scale, -plane.shape[1] % scale
    if below or right:
        plane = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = (plane.shape[1] // scale, plane.shape[0] // scale)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def full_scale(dtype: np.dtype[Any]) -> float:
    """Return the value of white: 255, 65535 or 1.0."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def to_grey(plane: Plane) -> NDArray[np.float32]:
    """Return a frame as (H, W) float32 grey in 0..1 (Rec. 601 weights for colour)."""
    grey: Plane = cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY) if plane.ndim == 3 else plane
    if grey.dtype == np.float32:
        return grey
    scaled: NDArray[np.float32] = np.multiply(grey, np.float32(1.0 / full_scale(grey.dtype)), dtype=np.float32)
    return scaled


def _guessed_kind(positions: Floats, unit: Unit) -> Sourced[Kind]:
    """Guess what (N,) ascending ``positions`` are; those at or below 0 are no distances from a lens."""
    if unit not in ("um", "index") and positions[0] <= 0:
        return Sourced("microscope", "guessed from the positions", guessed=True)
    return Sourced("microscope" if unit == "um" else "camera", "guessed from the unit", guessed=True)
