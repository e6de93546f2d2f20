"""What the window is working on: one frozen `State`, and a `Session` that tells when it changes.

::

    view signal → controller → session.set(...) → changed(old, new) ┬→ resolve() → ViewState → setters of views
                                                                    └→ controllers start or stop background work
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from PySide6.QtCore import QObject, Signal

from toposcope.core.calibration import Sourced
from toposcope.core.editing import CalibrationEdit
from toposcope.core.estimate import EstimateSettings
from toposcope.core.height_map import HeightMap
from toposcope.core.jobs import Progress
from toposcope.core.marks import Mark, Marks, Pin
from toposcope.core.project import Project
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions
from toposcope.core.stack import FocalStack
from toposcope.core.surface import SurfaceSettings
from toposcope.ui.adapt_state import AdaptState

LayerKind = Literal["slice", "all_in_focus", "depth", "confidence", "peaks", "sweep", "difference"]
Kinds = tuple[LayerKind, LayerKind]
"""What is shown of A and of B."""
Mode = Literal["slice", "all_in_focus", "depth", "confidence", "peaks", "sweep", "compare", "difference"]
"""What the centre of the window shows: one layer, or two of them side by side."""
Tool = Literal["pin", "line", "area", "step"]
"""What a click, or a drag, in the picture makes."""
Subject = Literal["nothing", "stack", "height map", "result"]
"""What is open: a stack; or heights that were measured, or a result that was stored, by themselves."""

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
KEPT_RUNS: Final = 4
"""Results kept for comparison, at most."""
KEPT_BYTES: Final = 2_000_000_000
"""Memory that they may hold together; the two newest are kept in any case."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One picture that can be shown: a slice of the stack, or a picture of the result of a run."""

    kind: LayerKind
    index: int = 0
    """The slice, or the number of the run."""
    against: int = 0
    """The number of the run that a difference is taken from."""
    channel: int | None = None
    """Another channel than that of the stack, for the all-in-focus picture."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a result depends on, beside the files: to tell whether it is out of date."""

    edit: CalibrationEdit
    skipped: frozenset[int]
    settings: EstimateSettings


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A result in the history.

    ``reduction`` is above 1 for a preview at reduced size, ``facts`` says what it is. ``measured`` are the heights
    of an instrument, ``stored`` is a result that was read from its files: no settings of the session made them.
    """

    number: int
    title: str
    result: DepthResult
    inputs: Inputs
    reduction: int = 1
    facts: str = ""
    measured: bool = False
    stored: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StoredResult:
    """A result that is open without its stack: the folder it lies in."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, for users."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Origin:
    """Where what is open was read from, and how."""

    paths: tuple[Path, ...]
    reading: OpenOptions


@dataclass(frozen=True, slots=True)
class Job:
    """A running piece of work that the user may cancel."""

    title: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Offer:
    """A way out that a message offers: ``action`` is a name that the controllers know."""

    label: str
    action: Literal[
        "skip_frame",
        "open_without",
        "skip_all",
        "retry",
        "run",
        "run_method",
        "open",
        "open_made_from",
        "lay_over",
        "compare_stored",
        "as_a",
        "without_volume",
        "adapt_go_on",
        "adapt_discard",
        "adapt_use",
        "find_stack",
        "save_project_as",
        "bring_back",
    ]
    value: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence for the user that stays until it is closed; ``details`` can be copied."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    details: str = ""
    offers: tuple[Offer, ...] = ()


@dataclass(frozen=True, eq=False)
class State:
    """Everything the window knows, in one frozen value.

    ``opened`` is the stack as it was read, ``stack`` the same with ``edit`` applied; ``height_map`` is what is open
    instead of a stack, its heights as a result being the first run, and so is ``stored``; ``origin`` says where it was
    read from, ``project`` is the file that all this is saved in, ``saved`` what it holds; ``skipped`` and
    ``slice_index`` count the frames of the stack. ``pair`` are the numbers of the runs A and B, ``compared``
    what is shown of them side by side (None: what suits them), ``split`` where the line between them stands,
    0..1 of the width. ``channel`` is what the all-in-focus picture shows, None for that of the stack. ``ranges``
    holds the colour limits of layers that the user set. ``marks`` are measured on the surface that ``surface`` says
    how to prepare, profiles as means of ``profile_width`` parallel lines; ``chosen_mark`` is the one that was
    touched last. ``times_done`` are the time points with a stored result.
    """

    opened: FocalStack | None = None
    stack: FocalStack | None = None
    height_map: HeightMap | None = None
    stored: StoredResult | None = None
    origin: Origin | None = None
    project: Path | None = None
    saved: Project | None = None
    edit: CalibrationEdit = field(default_factory=CalibrationEdit)
    skipped: frozenset[int] = frozenset()
    settings: EstimateSettings = field(default_factory=lambda: EstimateSettings(keep_volume=True))
    automatic: bool = True
    runs: tuple[Run, ...] = ()
    shown_run: int | None = None
    mode: Mode = "slice"
    pair: tuple[int, int] = (0, 0)
    compared: Kinds | None = None
    split: float = 0.5
    slice_index: int = 0
    channel: int | None = None
    aligned: bool = True
    colour_map: str = "viridis"
    ranges: Mapping[LayerKind, tuple[float, float]] = field(default_factory=dict)
    pins: tuple[Pin, ...] = ()
    chosen_pin: int | None = None
    tool: Tool = "pin"
    marks: Marks = field(default_factory=Marks)
    chosen_mark: Mark | None = None
    profile_width: int = 1
    surface: SurfaceSettings = field(default_factory=SurfaceSettings)
    cursor: tuple[int, int] | None = None
    times_done: frozenset[int] = frozenset()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    message: Message | None = None
    adapt: AdaptState = field(default_factory=AdaptState)

    @property
    def subject(self) -> FocalStack | HeightMap | StoredResult | None:
        """What is open, as it was read."""
        return self.opened or self.height_map or self.stored

    @property
    def subject_kind(self) -> Subject:
        """Which kind of thing is open."""
        if self.opened is not None:
            return "stack"
        return "height map" if self.height_map is not None else "result" if self.stored is not None else "nothing"

    @property
    def shown_height_map(self) -> HeightMap | None:
        """The height map that is open, while it is what is shown; None while another one laid over it is."""
        return self.height_map if self.runs and self.run is self.runs[0] else None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns of pictures at full size, None while nothing is open."""
        if self.stack is not None:
            return self.stack.shape
        return self.run.result.shape if self.run is not None else None

    @property
    def pixel_um(self) -> Sourced[float] | None:
        """The side of a pixel at full size, None where it is not known."""
        if self.stack is not None:
            return self.stack.pixel_um
        return self.run.result.pixel_um if self.run is not None else None

    @property
    def run(self) -> Run | None:
        """The result that is shown now."""
        return self.run_of(self.shown_run)

    def run_of(self, number: int | None) -> Run | None:
        """Return the run with this number, None when there is none (any more)."""
        return next((run for run in self.runs if run.number == number), None)

    @property
    def full_runs(self) -> tuple[Run, ...]:
        """The results at full size, the oldest first."""
        return tuple(run for run in self.runs if run.reduction == 1)

    @property
    def inputs(self) -> Inputs:
        """What the next run would depend on."""
        return Inputs(self.edit, self.skipped, self.settings)


class Session(QObject):
    """Holds the `State`. The only place where it changes.

    >>> session = Session()
    >>> session.set(mode="depth", slice_index=3)     # one change, told once
    >>> session.state.mode
    'depth'
    """

    changed = Signal(object, object)  # State before, State now

    def __init__(self, state: State | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = self._told = state or State()
        self._telling = False

    @property
    def state(self) -> State:
        """The state now."""
        return self._state

    def set(self, **changes: Any) -> None:
        """Change fields of the state, all at once.

        A listener may call this again: that change is told after everybody heard of this one, so
        that all hear the same story in the same order.
        """
        self._state = replace(self._state, **changes)
        if self._telling:
            return
        self._telling = True
        try:
            while self._told is not self._state:
                before, self._told = self._told, self._state
                self.changed.emit(before, self._told)
        finally:
            self._telling = False

    def set_job(self, name: str, job: Job | None) -> None:
        """Tell how far a piece of work is; None when it has ended."""
        jobs = {key: value for key, value in self._state.jobs.items() if key != name}
        if job is not None:
            jobs[name] = job
        if jobs != self._state.jobs:
            self.set(jobs=jobs)

    def say(self, text: str, level: Literal["info", "warning", "error"] = "info", *offers: Offer) -> None:
        """Show a message."""
        self.set(message=Message(text, level, offers=offers))
