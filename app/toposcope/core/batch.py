"""Many stacks, one after another: one result folder each, a table of all, and going on where it was stopped.

::

    find_stacks(paths) ──> plan_batch ──> run_batch ──┬─> FOLDER/scan_01 ...  one result a stack, see `write_result`
                        (refuses here)                ├─> FOLDER/batch.csv    the table, anew after each stack
                                                      └─> FOLDER/batch.json   what the results were made with

A stack that fails is told in its row and stops none of the others. A result is up to date, and is not made again, as
long as the files of its stack hold the same, and calibration, settings and version are the same.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from toposcope import __version__
from toposcope.core.calibration import UNIT_SYMBOLS
from toposcope.core.estimate import estimate, find_method
from toposcope.core.export import (
    FORMATS,
    ExportOptions,
    export,
    find_format,
    made_folder,
    read_result,
    together,
    write_bytes,
    write_result,
)
from toposcope.core.jobs import Cancelled, Progress, Report, part, silent
from toposcope.core.method import EstimateSettings
from toposcope.core.outcome import Outcome, outcome_of, settings_facts, table_number, write_json
from toposcope.core.provenance import file_hash, input_hashes
from toposcope.core.result import RESULT_NAME, DepthResult
from toposcope.core.series import Estimate, WriteMore
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.source.finding import Found, Source
from toposcope.core.stack import FocalStack
from toposcope.core.words import duration, number
from toposcope.errors import CalibrationError, OutputError, SettingsError

BATCH_NAME: Final = "batch.json"
TABLE_NAME: Final = "batch.csv"
COLUMNS: Final = (
    "stack",
    "state",
    "folder",
    "seconds",
    "void_share",
    "depth_min",
    "depth_median",
    "depth_max",
    "unit",
    "problem",
    "path",
)
RowState = Literal["waiting", "running", "done", "up to date", "failed"]
LONGEST_NAME: Final = 40
"""Letters of a stack's name that progress tells."""
NO_ROOM: Final = 4 << 20
"""Free bytes of a disk that is full."""
_WITH_RESULT: Final = ("result", "depth", "confidence")
"""Formats that every result has anyway."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A stack, its ``name`` in the table and its result ``folder``."""

    source: Source
    name: str
    folder: Path


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch does; `plan_batch` makes one.

    ``fallback`` is how stacks are read as far as neither they nor ``Source.reading`` tell anything. ``image`` is the
    format of the all-in-focus pictures (see `write_result`), ``formats`` are exports into each result folder. ``anew``
    does what is up to date again, too.
    """

    items: tuple[BatchItem, ...]
    folder: Path
    settings: EstimateSettings = field(default_factory=EstimateSettings)
    fallback: OpenOptions = field(default_factory=OpenOptions)
    image: str | None = None
    formats: tuple[str, ...] = ()
    export_options: ExportOptions = field(default_factory=ExportOptions)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class BatchRow:
    """What came of a stack.

    ``outcome`` is its result, None while there is none of this batch. ``problem`` says why not, or what is missing
    beside it; ``details`` is where in the program that came from. The exception itself is not kept: it would keep the
    pictures that were being worked on.
    """

    item: BatchItem
    state: RowState = "waiting"
    outcome: Outcome | None = None
    problem: str = ""
    details: str = field(default="", compare=False, repr=False)

    @property
    def void_share(self) -> float | None:
        """Share of the pixels without depth."""
        return None if self.outcome is None else 1 - self.outcome.known_share


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a batch, and their table; ``table_problem`` says why the table could not be written."""

    rows: tuple[BatchRow, ...]
    table: Path
    table_problem: str = ""

    @property
    def failed(self) -> tuple[BatchRow, ...]:
        """Stacks without a result of this batch."""
        return tuple(row for row in self.rows if row.state == "failed")

    @property
    def incomplete(self) -> tuple[BatchRow, ...]:
        """Stacks with a result, but without something that should lie beside it."""
        return tuple(row for row in self.rows if row.state != "failed" and row.problem)


@dataclass(frozen=True, slots=True)
class BatchProgress(Progress):
    """Progress of a batch: ``share`` of stack number ``index`` is done; ``seconds_left`` of all, None while unknown."""

    index: int = 0
    share: float = 0.0
    seconds_left: float | None = None


OnRow = Callable[[int, BatchRow], object]


def plan_batch(
    found: Found,
    folder: Path,
    settings: EstimateSettings | None = None,
    reading: OpenOptions | None = None,
    fallback: OpenOptions | None = None,
    image: str | None = None,
    formats: Sequence[str] = (),
    export_options: ExportOptions | None = None,
    anew: bool = False,
    named: Sequence[Path] = (),
) -> BatchPlan:
    """Check what is wished before time is spent, and say where each result goes.

    Stacks have the result folders that an earlier batch into ``folder`` gave them, the others are named after
    themselves; where two are called the same, the folder above joins the name.

    Parameters
    ----------
    found : the stacks, see `find_stacks`
    reading : how all stacks are read, None as each says
    named : folders in which stacks were looked for

    Raises
    ------
    SettingsError
        If there is no stack, a stack is there twice, results would lie among stacks, or method, setting or format are
        unknown.
    OutputError
        If ``folder`` cannot be made, is a file, or may not be written to.
    """
    settings = replace(settings or EstimateSettings(), keep_volume=False)
    card = find_method(settings.method)
    settings = replace(settings, method=card.name, options=card.checked(settings.options))
    for name in formats:
        if find_format(name).needs == "curves":
            raise SettingsError(f"a batch has no pins, so it cannot write {FORMATS[name].file_name}. Leave {name} out.")
    if not found.sources:
        told = f": {'; '.join(found.left_out[:3])}" if found.left_out else ""
        raise SettingsError(f"no stack was found{told}. Name folders of images, files of stacks, or folders of these.")
    _refuse_twice(found.sources)
    folder = Path(folder)
    for one in named:
        _refuse_inside(folder, one)
    sources = [source if reading is None else _read_as(source, reading) for source in found.sources]
    items = _items(sources, folder)
    for item in items:
        _refuse_own_stack(item)
    try:
        with tempfile.TemporaryFile(dir=made_folder(folder)):
            pass
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error.strerror}. Choose another folder.") from error
    wished = tuple(name for name in dict.fromkeys(formats) if name not in _WITH_RESULT)
    options = export_options or ExportOptions()
    return BatchPlan(items, folder, settings, fallback or OpenOptions(), image, wished, options, anew)


def run_batch(
    plan: BatchPlan,
    report: Report = silent,
    on_row: OnRow | None = None,
    more: WriteMore | None = None,
    also: str = "",
    estimate: Estimate = estimate,
    sentence: Callable[[Exception], str] = str,
    now: Callable[[], float] = time.monotonic,
) -> Batch:
    """Do all stacks of a plan, one at a time.

    ``on_row`` hears of each row that changes. ``more`` writes further files of a stack into its folder, and ``also``
    says what the results depend on beside all that the plan tells, such as what ``more`` does.
    ``sentence`` says what went wrong with a stack. ``now`` is a clock in seconds.

    Raises
    ------
    OutputError
        If the disk is full, or the folder is gone.
    Cancelled
        From ``report``; results that are done stay, and the same plan goes on with the rest.
    """
    work = _Work(plan, report, on_row, more, also, estimate, sentence, now)
    try:
        for index in range(len(plan.items)):
            work.do(index)
    except BaseException:
        work.stop()
        raise
    report(Progress(1.0, "done"))
    return Batch(tuple(work.rows), plan.folder / TABLE_NAME, work.table_problem)


def batch_csv(rows: Sequence[BatchRow]) -> str:
    """Return the table of a batch: a line a stack, lengths in the unit of its depth."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        one, path = row.outcome, str(row.item.source.paths[0].absolute())
        state = "waiting" if row.state == "running" else row.state
        told: list[str] = [""] * 7
        if one is not None:
            depths = [table_number(value) for value in (one.low, one.median, one.high)]
            told = [row.item.folder.name, f"{one.seconds:.2f}", f"{1 - one.known_share:.4f}", *depths, one.unit]
        writer.writerow([row.item.name, state, *told, row.problem, path])
    return text.getvalue()


class _Work:
    """A batch on its way."""

    def __init__(
        self,
        plan: BatchPlan,
        report: Report,
        on_row: OnRow | None,
        more: WriteMore | None,
        also: str,
        estimate: Estimate,
        sentence: Callable[[Exception], str],
        now: Callable[[], float],
    ) -> None:
        self._plan, self._report, self._on_row = plan, report, on_row
        self._more, self._also, self._estimate, self._sentence, self._now = more, also, estimate, sentence, now
        self.rows = [BatchRow(item) for item in plan.items]
        self.table_problem = ""
        self._sizes = [_size(item.source) for item in plan.items]
        self._settings = settings_facts(plan.settings)
        self._computed, self._spent = 0.0, 0.0  # bytes of stacks that were computed, and seconds

    def do(self, index: int) -> None:
        """Do one stack, or find that it is done."""
        item, begin = self.rows[index].item, self._now()
        self._set(index, replace(self.rows[index], state="running"))
        try:
            row = self._row(item, self._told(index, begin))
        except Cancelled:
            raise
        except Exception as error:  # whatever it is, the others are done
            problem = self._sentence(error)
            if os.path.isfile(item.folder / RESULT_NAME):
                problem += " The result in its folder is of an earlier batch."
            row = BatchRow(item, "failed", None, problem, "".join(traceback.format_exception(error)))
            if isinstance(error, OutputError) and not _has_room(self._plan.folder):
                self._set(index, row)
                raise  # all others would be computed for nothing
        if row.state == "done":
            self._computed += self._sizes[index]
            self._spent += self._now() - begin
        self._set(index, row)
        self._write_table()

    def stop(self) -> None:
        """Leave the table as it is when a batch ends early."""
        self.rows = [replace(row, state="waiting") if row.state == "running" else row for row in self.rows]
        self._write_table()

    def _row(self, item: BatchItem, report: Report) -> BatchRow:
        """Return the row of a stack: of its result of before, or of a new one."""
        report(Progress(0.0, "opening"))
        stack = _opened(item.source, self._plan.fallback, part(report, 0.0, 0.02))
        try:
            made_with, stamps = _digest(self._made_with(stack)), _stamps(stack)
            known = _known(self._plan.folder).get(stack_key(item.source), {})
            outcome = None if self._plan.anew else _old_outcome(item, known, made_with, stack, stamps, report)
            exports = dict(known.get("exports", {}))
            state: RowState = "up to date"
            result: DepthResult | None = None
            # what an earlier batch wrote beside the result belongs to it, and is written anew with it
            formats = self._plan.formats
            if outcome is None:
                result, state = self._new_result(item, stack, part(report, 0.02, 0.95)), "done"
                formats = tuple(dict.fromkeys((*formats, *(name for name in exports if name in FORMATS))))
                exports = {}
                outcome = outcome_of(item.folder)
                if outcome is None:
                    raise OutputError(f"the result in {item.folder} was changed while it was written.")
            notes: dict[str, Any] = {"folder": item.folder.name, "made_with": made_with, "stamps": stamps}
            notes |= {"result": file_hash(item.folder / RESULT_NAME), "exports": exports}
            self._note(item, notes, known)
            missing = [name for name in formats if not self._is_there(item, exports.get(name))]
            problems: list[str] = []
            if missing:
                result = result or read_result(item.folder)
                problems = self._write_exports(item, result, missing, exports, part(report, 0.95, 1.0))
                state = "done" if len(problems) < len(missing) else state
                self._note(item, notes, known)
        finally:
            stack.close()
        return BatchRow(item, state, outcome, " ".join(problems))

    def _new_result(self, item: BatchItem, stack: FocalStack, report: Report) -> DepthResult:
        made_folder(item.folder)
        try:
            result = self._estimate(stack, self._plan.settings, part(report, 0.0, 0.93))
            with together():
                write_result(result, item.folder, self._plan.image, part(report, 0.93, 0.97))
                if self._more is not None:
                    self._more(stack, result, item.folder, part(report, 0.97, 1.0))
        except BaseException:
            with suppress(OSError):  # an empty folder says nothing
                item.folder.rmdir()
            raise
        return result

    def _write_exports(
        self, item: BatchItem, result: DepthResult, names: Sequence[str], exports: dict[str, Any], report: Report
    ) -> list[str]:
        """Write a result in further formats, note their files in ``exports``, and return what could not be written."""
        problems: list[str] = []
        for k, name in enumerate(names):
            share = part(report, k / len(names), (k + 1) / len(names))
            share(Progress(0.0, f"writing {name}"))
            try:
                paths = export(result, name, item.folder, self._plan.export_options, share)
            except (OutputError, CalibrationError) as error:  # such as no pixel size: the others may do
                exports.pop(name, None)
                problems.append(f"{name} is not written: {error}")
            else:
                exports[name] = {"files": [path.name for path in paths], "options": asdict(self._plan.export_options)}
        return problems

    def _is_there(self, item: BatchItem, written: Any) -> bool:
        """Whether an export that was noted lies in the folder, and was written with the same options."""
        if not isinstance(written, dict) or written.get("options") != asdict(self._plan.export_options):
            return False
        return all(os.path.isfile(item.folder / str(name)) for name in written.get("files", ()))

    def _made_with(self, stack: FocalStack) -> dict[str, Any]:
        """Return all that a result depends on beside the contents of files."""
        pixel = stack.pixel_um
        return {
            "toposcope": __version__,
            **self._settings,
            "parts": {one.name: one.chosen for one in stack.parts},
            "frames": list(stack.source.names),
            "positions": np.asarray(stack.positions.value).tolist(),
            "unit": stack.unit,
            "kind": [stack.kind.value, stack.kind.guessed],
            "near": [stack.near.value, stack.near.guessed],
            "pixel_um": None if pixel is None else pixel.value,
            "image": self._plan.image,
            "also": self._also,
        }

    def _told(self, index: int, begin: float) -> Report:
        """Return the report of one stack, which tells of the whole batch."""
        count, name = len(self.rows), short_name(self.rows[index].item.name)
        whole, before, own = sum(self._sizes), sum(self._sizes[:index]), self._sizes[index]

        def report(progress: Progress) -> None:
            share = min(max(progress.fraction, 0.0), 1.0) if progress.fraction == progress.fraction else 0.0
            left = self._left(whole - before - own * share, share, own * share, self._now() - begin)
            words = f", about {duration(left)} left" if left is not None else ""
            text = f"{index + 1} of {count}: {name}, {progress.text}{words}"
            self._report(BatchProgress((before + own * share) / whole, text, index, share, left))

        return report

    def _left(self, left: float, share: float, own: float, seconds: float) -> float | None:
        """Return about how many seconds ``left`` bytes will take, by what was done in this batch; None at first.

        ``share`` and ``own`` are what is done of the running stack, as a share and in bytes, in ``seconds``.
        """
        if self._computed == 0 and (share < 0.1 or seconds < 2):
            return None
        return left * (self._spent + seconds) / (self._computed + own)

    def _set(self, index: int, row: BatchRow) -> None:
        self.rows[index] = row
        if self._on_row is not None:
            self._on_row(index, row)

    def _note(self, item: BatchItem, facts: dict[str, Any], known: Mapping[str, Any]) -> None:
        """Note what a result was made with; another batch into the same folder may have noted more meanwhile."""
        if facts == known:
            return
        stacks = {**_known(self._plan.folder), stack_key(item.source): facts}
        write_json(self._plan.folder / BATCH_NAME, {"toposcope": __version__, "stacks": stacks})

    def _write_table(self) -> None:
        """Write the table; where it is open in a program that locks it, the next stack tries again."""
        try:
            write_bytes(self._plan.folder / TABLE_NAME, batch_csv(self.rows).encode())
            self.table_problem = ""
        except OutputError as error:
            self.table_problem = str(error)


def short_name(name: str) -> str:
    """Return a name that fits into a line: of a long one, both ends.

    >>> short_name("scan_07")
    'scan_07'
    """
    half = (LONGEST_NAME - 1) // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def depth_text(outcome: Outcome) -> str:
    """Return the range of depth of a result, for reading."""
    if outcome.low is None or outcome.high is None:
        return "all void"
    symbol = UNIT_SYMBOLS[outcome.unit] if outcome.unit in UNIT_SYMBOLS else outcome.unit
    return f"{number(outcome.low)} to {number(outcome.high)} {symbol}"


def _opened(source: Source, fallback: OpenOptions, report: Report) -> FocalStack:
    """Open a stack; what nobody tells of it is as ``fallback`` says."""
    stack = open_stack(source.target, source.reading, report)
    reading = _completed(source.reading, stack, fallback)
    if reading == source.reading:
        return stack
    stack.close()
    return open_stack(source.target, reading, report)


def _completed(reading: OpenOptions, stack: FocalStack, fallback: OpenOptions) -> OpenOptions:
    """Return ``reading`` with what is not known of ``stack``."""
    changes: dict[str, Any] = {}
    if stack.pixel_um is None and fallback.pixel_um is not None:
        changes["pixel_um"] = fallback.pixel_um
    if stack.unit == "index" and reading.unit != "index":
        if fallback.z_step is not None:
            changes |= {"z_step": fallback.z_step, "unit": reading.unit or fallback.unit}
        elif fallback.positions is not None and len(fallback.positions) == stack.n:
            changes |= {"positions": fallback.positions, "unit": reading.unit or fallback.unit}
    if reading.kind is None and stack.kind.guessed and fallback.kind is not None:
        changes["kind"] = fallback.kind
    if reading.near is None and stack.near.guessed and fallback.near is not None:
        changes["near"] = fallback.near
    return replace(reading, **changes)


def _read_as(source: Source, reading: OpenOptions) -> Source:
    """Return a stack that is read in this way; which position of its file it is stays."""
    own = source.reading.series
    return replace(source, reading=reading if own is None else replace(reading, series=own))


def _refuse_twice(sources: Sequence[Source]) -> None:
    seen: dict[str, Source] = {}
    for source in sources:
        other = seen.setdefault(stack_key(source), source)
        if other is not source:
            one, two = other.paths[0], source.paths[0]
            ways = f"as {one} and as {two}" if str(one) != str(two) else f"as {one}"
            raise SettingsError(f"the stack {source.name} is there twice, {ways}. Name each stack once.")


def _refuse_inside(folder: Path, named: Path) -> None:
    """Refuse results in a folder that is looked into for stacks, where the next batch would take them for some."""
    if not os.path.isdir(named):
        return
    out, searched = _real(folder), _real(named)
    again = out == searched and os.path.isfile(out / BATCH_NAME)  # it is left out, as among scans/*
    if not again and out.is_relative_to(searched):
        raise SettingsError(
            f"the results would lie in {named}, where stacks are looked for, and would be taken for some later. Choose "
            f"a folder beside it, such as {searched.with_name(f'{searched.name}-depth')}."
        )


def _refuse_own_stack(item: BatchItem) -> None:
    target = _real(item.folder)
    for path in item.source.paths:
        if os.path.isdir(path) and target.is_relative_to(_real(path)):
            raise SettingsError(
                f"the result of {item.name} would lie in its own stack {path}. Choose a folder for the results that "
                "holds no stacks."
            )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def stack_key(source: Source) -> str:
    """Return what tells stacks apart, by whichever way they are named; asks the disk."""
    place = [] if source.reading.series is None else [f"position {source.reading.series}"]
    return "\n".join([*(os.path.realpath(path) for path in source.paths), *place])


def _items(sources: Sequence[Source], folder: Path) -> tuple[BatchItem, ...]:
    """Give each stack a folder of its own; names differ in more than capitals, for disks that see no difference."""
    known = {key: str(facts.get("folder", "")) for key, facts in _known(folder).items()}
    names = {key: name for key, name in known.items() if name}
    taken = {name.casefold() for name in names.values()}
    plain = [source.name.casefold() for source in sources]
    items = []
    for source in sources:
        key = stack_key(source)
        if key not in names:
            above = source.paths[0].absolute().parent
            above = above.parent if len(source.paths) > 1 else above
            longer = f"{above.name}_{source.name}" if above.name else source.name
            first = source.name if plain.count(source.name.casefold()) == 1 else longer
            tries = (first, longer, *(f"{longer}_{k}" for k in range(2, len(sources) + len(taken) + 3)))
            names[key] = next(one for one in tries if one.casefold() not in taken)
            taken.add(names[key].casefold())
        items.append(BatchItem(source, names[key], folder / names[key]))
    return tuple(items)


def _has_room(folder: Path) -> bool:
    """Whether the folder is still there, and its disk not full."""
    try:
        return os.path.isdir(folder) and shutil.disk_usage(folder).free > NO_ROOM
    except OSError:
        return False


def _size(source: Source) -> float:
    """Return about how many bytes a stack has, at least 1: how long stacks take is told by that."""
    size = 1.0
    for path in source.paths:
        with suppress(OSError):
            if os.path.isdir(path):
                with os.scandir(path) as entries:
                    size += sum(entry.stat().st_size for entry in entries if entry.is_file())
            else:
                size += os.stat(path).st_size
    return size


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _stamps(stack: FocalStack) -> str:
    """Return size and time of change of all files of a stack, as one word."""
    stamps = {}
    for i in range(stack.source.n):
        path = stack.source.file(i)
        if path is not None and str(path) not in stamps:
            with suppress(OSError):
                there = os.stat(path)
                stamps[str(path)] = [there.st_size, there.st_mtime_ns]
    return _digest(stamps) if stamps else ""


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is noted of the results in ``folder``, by the keys of stacks."""
    try:
        stacks = json.loads((folder / BATCH_NAME).read_text(encoding="utf-8"))["stacks"]
        return {key: facts for key, facts in stacks.items() if isinstance(facts, dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _old_outcome(
    item: BatchItem, known: Mapping[str, Any], made_with: str, stack: FocalStack, stamps: str, report: Report
) -> Outcome | None:
    """Return the result of before if it is up to date.

    Files that were not touched since are not read again; those that were, copied say, may hold the same.
    """
    if known.get("made_with") != made_with or known.get("folder") != item.folder.name:
        return None
    outcome = outcome_of(item.folder)
    # another program, or a batch that was killed, may have written another result there
    if outcome is None or known.get("result") != file_hash(item.folder / RESULT_NAME):
        return None
    if stamps and known.get("stamps") == stamps:
        return outcome
    inputs = input_hashes(stack.source, part(report, 0.02, 0.1))
    facts = json.loads((item.folder / RESULT_NAME).read_text(encoding="utf-8"))
    return outcome if inputs and inputs == facts["provenance"].get("inputs_sha256") else None
