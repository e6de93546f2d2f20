"""Projects: a piece of work as one small file, which finds its frames and computes the same again.

A project holds what is open and all that was chosen, typed and drawn on it; not the pictures, nor the depth.

>>> write_project(Project((Path("scan_07"),), method="sml"), "scan.toposcope")       # doctest: +SKIP
>>> read_project("scan.toposcope").method                                            # doctest: +SKIP
'sml'
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from toposcope import __version__
from toposcope.core.align import AlignMode
from toposcope.core.alike import Like, calibrating_like, over
from toposcope.core.calibration import MICROMETRES
from toposcope.core.editing import CalibrationEdit, edited_stack, in_unit, without, worked_stack
from toposcope.core.estimate import find_method
from toposcope.core.export import write_bytes
from toposcope.core.jobs import Report, silent
from toposcope.core.marks import Marks, Pin
from toposcope.core.method import EstimateSettings
from toposcope.core.plain import PlainError, from_plain, to_plain
from toposcope.core.result import PROJECT_SUFFIX
from toposcope.core.settings import checked
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import FocalStack
from toposcope.core.surface import SurfaceSettings
from toposcope.errors import MissingStackError, StackError

LAYOUT: Final = 1
"""Of the file; grows when a reader of today would misread it."""
MAX_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class View:
    """How the window showed it: which picture, which slice, in which colours and between which limits."""

    mode: str = "depth"
    slice_index: int = 0
    colour_map: str = "viridis"
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """A piece of work.

    ``paths`` is what is open: one folder or file, or the files of one stack; ``reading`` how it is read. ``edit`` is
    the calibration that was typed, ``left_out`` names frames that are not computed with. ``options`` are the settings
    of ``method`` by name, None for its defaults. Pins, lines and areas are in pixels of the full picture; ``surface``
    and ``profile_width`` say how it is measured. ``file`` is the project that this is an unsaved state of, None in
    projects that somebody saved. ``frames`` names those that typed positions belong to, so that they still find them
    when one is gone.
    """

    paths: tuple[Path, ...]
    reading: OpenOptions = field(default_factory=OpenOptions)
    edit: CalibrationEdit = field(default_factory=CalibrationEdit)
    left_out: tuple[str, ...] = ()
    method: str = "default"
    options: Mapping[str, Any] | None = None
    align: AlignMode = "auto"
    weights: Path | None = None
    pins: tuple[Pin, ...] = ()
    marks: Marks = field(default_factory=Marks)
    profile_width: int = 1
    surface: SurfaceSettings = field(default_factory=SurfaceSettings)
    view: View = field(default_factory=View)
    file: Path | None = None
    frames: tuple[str, ...] = ()

    @property
    def contents(self) -> str:
        """What there is beside the frames, in words; nothing where that is what everybody gets who opens them."""
        lines, areas = len(self.marks.lines), (self.marks.area is not None) + len(self.marks.step)
        counted = ((len(self.pins), "pin"), (lines, "line"), (areas, "area"), (len(self.left_out), "frame left out"))
        told = [f"{n} {what}" if n == 1 else f"{n} {_plural(what)}" for n, what in counted if n]
        told += ["calibration"] if self.edit != CalibrationEdit() else []
        return ", ".join(told)

    def key(self) -> str:
        """Return what tells unsaved states of one project, or of frames without one, from others: a name for files.

        Time points of a series share it, since work goes on from one to the next.
        """
        parts = (self.reading.series, self.reading.channel, self.file and str(self.file))
        return hashlib.sha256(repr((*map(str, self.paths), parts)).encode()).hexdigest()[:20]

    @property
    def target(self) -> Path | list[Path]:
        """What is open, as `open_stack` takes it."""
        return self.paths[0] if len(self.paths) == 1 else list(self.paths)

    def read_by(self, wished: OpenOptions) -> Project:
        """Return the project with what is ``wished`` of the reading; frames to skip come together."""
        skip = (*self.reading.skip, *wished.skip)
        return replace(self, reading=replace(over(wished, self.reading), skip=skip))

    def settings(self, **machine: Any) -> EstimateSettings:
        """Return how to estimate; ``machine`` are fields of `EstimateSettings` that a project does not hold.

        Raises
        ------
        SettingsError
            If the method or one of its settings does not exist here.
        """
        card = find_method(self.method)
        return EstimateSettings(card.name, card.checked(self.options), self.align, weights=self.weights, **machine)

    def laid_over(self, stack: FocalStack) -> FocalStack:
        """Return ``stack`` calibrated as typed and without the frames left out.

        Raises
        ------
        CalibrationError
            If what was typed does not fit.
        StackError
            If too few frames are left.
        """
        calibrated = edited_stack(stack, self.edit_of(stack))
        return worked_stack(calibrated, self.skipped(calibrated))

    def edit_of(self, stack: FocalStack) -> CalibrationEdit:
        """Return what was typed, for the frames that ``stack``, as it was read, has now."""
        positions, names = self.edit.positions, stack.source.names
        if positions is None or len(positions) != len(self.frames) or not set(self.frames).issuperset(names):
            return self.edit
        known = dict(zip(self.frames, positions, strict=True))
        return replace(self.edit, positions=tuple(known[name] for name in names))

    def skipped(self, stack: FocalStack) -> frozenset[int]:
        """Return which frames of ``stack`` are left out."""
        return frozenset(i for i, name in enumerate(stack.source.names) if name in self.left_out)


def _plural(what: str) -> str:
    first, _, rest = what.partition(" ")
    return f"{first}s {rest}".rstrip()


def is_project(path: Path) -> bool:
    """Whether the name is that of a project."""
    return path.suffix.lower() == PROJECT_SUFFIX and not path.is_dir()


def check_alone(paths: Sequence[Path]) -> None:
    """Refuse a project among several files that are to make one stack.

    Raises
    ------
    StackError
        If there is one.
    """
    project = next((path for path in paths if is_project(path)), None)
    if project is not None and len(paths) > 1:
        raise StackError(f"{project.name} is a project, which is no frame of a stack. Open it alone.")


def write_project(project: Project, path: Path | str) -> None:
    """Write a project; its frames are named by where they lie, seen from it and from the root.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(path).absolute()
    told = to_plain(project)
    told["paths"] = [str(one.absolute()) for one in project.paths]
    told["beside"] = [name for one in project.paths if (name := _seen_from(path.parent, one)) is not None]
    head = {"toposcope": __version__, "layout": LAYOUT}
    text = json.dumps(head | told, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))  # names of files may be no UTF-8


def read_project(path: Path | str) -> Project:
    """Read a project and check every entry; its paths are where its frames lie now.

    Frames are looked for where they lay as seen from the project, so that both can move together, and then where they
    were.

    Raises
    ------
    StackError
        If it cannot be read, is damaged, or was written by a newer program.
    SettingsError
        If a setting of the measurement is out of its range.
    """
    path = Path(path).absolute()
    content = _content(path)
    head = {name: content.pop(name, None) for name in ("toposcope", "layout")}
    beside = content.pop("beside", [])
    try:
        if from_plain(int, head["layout"], "layout") > LAYOUT:
            version = from_plain(str, head["toposcope"], "toposcope")
            raise StackError(f"{path.name} was written by a newer Toposcope ({version}). Open it with that version.")
        project: Project = from_plain(Project, content, "the project")
        near = from_plain(tuple[str, ...], beside, "beside")
    except (PlainError, OverflowError) as error:
        raise StackError(f"{path.name} is damaged: {error}. Take a copy of it, or begin the project anew.") from error
    if not project.paths:
        raise StackError(f"{path.name} is damaged: it names no frames. Take a copy of it, or begin the project anew.")
    together = tuple(path.parent / name for name in near)
    if len(together) == len(project.paths) and all(os.path.exists(one) for one in together):
        project = replace(project, paths=tuple(Path(os.path.normpath(one)) for one in together))
    return replace(project, surface=checked(SurfaceSettings, project.surface, "the measurement"))


def check_there(project: Project, name: str) -> None:
    """Refuse a project whose frames are gone.

    Raises
    ------
    MissingStackError
        If one of its paths does not exist; ``name`` is the project's.
    """
    gone = [one for one in project.paths if not os.path.exists(one)]
    if gone:
        raise MissingStackError(
            f"{gone[0]} is gone, which {name} was made on. Put it back, or say where it lies now.", gone[0]
        )


def like_project(path: Path | str, chosen: str | None = None, weights: Path | None = None) -> Like:
    """Return how other stacks are computed and read like that of a project; see `toposcope.core.alike.like_result`.

    Raises
    ------
    StackError, CalibrationError, SettingsError
        As `open_project` and `Project.settings`.
    """
    project = read_project(path)
    check_there(project, Path(path).name)
    stack = open_stack(project.target, project.reading)
    try:
        calibrating = calibrating_like(edited_stack(stack, project.edit))
    finally:
        stack.close()
    if chosen is not None and chosen != project.method:
        return Like(EstimateSettings(chosen, align=project.align, weights=weights), calibrating)
    settings = project.settings()
    return Like(replace(settings, weights=weights or settings.weights), calibrating)


def open_project(
    path: Path | str, report: Report = silent, wished: OpenOptions | None = None
) -> tuple[Project, FocalStack]:
    """Return a project and its stack, calibrated as typed and without the frames left out.

    >>> project, stack = open_project("scan.toposcope")                              # doctest: +SKIP
    >>> result = estimate(stack, project.settings())                                 # doctest: +SKIP

    What is ``wished`` of the reading wins over what the project says.

    Raises
    ------
    StackError
        If the project or its stack cannot be opened; `MissingStackError` where the stack is gone.
    CalibrationError
        If what was typed does not fit the stack.
    """
    path, wished = Path(path), wished or OpenOptions()
    project = read_project(path)
    check_there(project, path.name)
    edit = without(project.edit, wished)
    # what was typed counts in the unit of then, so another one is for what comes of it
    unit = wished.unit if edit.positions is not None and wished.unit in MICROMETRES else None
    project = replace(project.read_by(replace(wished, unit=None) if unit else wished), edit=edit)
    stack = project.laid_over(open_stack(project.target, project.reading, report))
    return project, in_unit(stack, unit) if unit else stack


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StackError(f"{path.name} is too large for a project. Choose a file that Toposcope has saved.")
        content = json.loads(path.read_text("utf-8", "surrogateescape"))
    except FileNotFoundError as error:
        raise StackError(f"{path} does not exist. Choose a project that Toposcope has saved.") from error
    except IsADirectoryError as error:
        raise StackError(f"{path.name} is a folder. Choose a project that Toposcope has saved.") from error
    except OSError as error:
        raise StackError(f"{path.name} cannot be read: {error.strerror}. Check who may read it.") from error
    except (ValueError, RecursionError) as error:
        raise StackError(f"{path.name} is no project of Toposcope, or only a part of one.") from error
    if not isinstance(content, dict) or "layout" not in content:
        raise StackError(f"{path.name} is no project of Toposcope.")
    return content


def _seen_from(folder: Path, path: Path) -> str | None:
    try:
        return Path(os.path.relpath(path.absolute(), folder)).as_posix()
    except ValueError:  # on another drive
        return None
