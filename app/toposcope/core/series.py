"""A time series of stacks: the depth of each time point, one folder each, and a table of all.

A series that was stopped goes on where it stopped, as long as file and settings are the same:
``series.json`` in the folder says what the results there were made with.

>>> stack = open_stack("growth.nd2", OpenOptions(channel=0, time=0))     # doctest: +SKIP
>>> series = estimate_times(stack, EstimateSettings(), Path("growth"))   # doctest: +SKIP
>>> series.table                                                         # doctest: +SKIP
PosixPath('growth/times.csv')
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from toposcope import __version__
from toposcope.core.alike import STATED
from toposcope.core.calibration import Sourced
from toposcope.core.estimate import estimate
from toposcope.core.export import made_folder, together, write_bytes, write_result
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.method import EstimateSettings
from toposcope.core.outcome import outcome_of, settings_facts, table_number, titled, write_json
from toposcope.core.result import DepthResult
from toposcope.core.source.sidecar import SIDECAR_NAME
from toposcope.core.stack import FocalStack
from toposcope.errors import CalibrationError, StackError

SERIES_NAME: Final = "series.json"
TABLE_NAME: Final = "times.csv"
COLUMNS: Final = (
    "time",
    "label",
    "folder",
    "depth_min",
    "depth_median",
    "depth_max",
    "unit",
    "known_share",
    "seconds",
    "problem",
)
Prepare = Callable[[FocalStack], FocalStack]
WriteMore = Callable[[FocalStack, DepthResult, Path, Report], None]
Estimate = Callable[[FocalStack, EstimateSettings, Report], DepthResult]


@dataclass(frozen=True, slots=True)
class TimeRow:
    """What came of one time point: its depth in the stack's unit, or the ``problem`` that kept it.

    ``seconds`` is what its estimation took. ``is_old`` tells a result that was there already.
    """

    time: int
    label: str
    folder: Path | None
    low: float | None = None
    median: float | None = None
    high: float | None = None
    known_share: float = 0.0
    unit: str = ""
    seconds: float = 0.0
    is_old: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The results of all time points, and the table of them."""

    rows: tuple[TimeRow, ...]
    table: Path

    @property
    def failed(self) -> tuple[TimeRow, ...]:
        """Time points without a result."""
        return tuple(row for row in self.rows if row.folder is None)


def time_labels(stack: FocalStack) -> tuple[str, ...]:
    """Return the time points of the file that ``stack`` is from; empty where it holds one."""
    times = stack.part("time")
    return times.options if times is not None and stack.reopen is not None else ()


def time_folder(folder: Path, time: int, count: int) -> Path:
    """Return where the result of time point ``time`` (from 0) of ``count`` lies in ``folder``."""
    return folder / f"time_{time + 1:0{max(3, len(str(count)))}}"


def estimate_times(
    stack: FocalStack,
    settings: EstimateSettings,
    folder: Path,
    report: Report = silent,
    image: str | None = None,
    prepare: Prepare = lambda stack: stack,
    also: str = "",
    more: WriteMore | None = None,
    estimate: Estimate = estimate,
) -> Series:
    """Estimate the depth of all time points of the file that ``stack`` is from, and write the results.

    Parameters
    ----------
    folder : gets ``time_001`` ... with a result each, ``times.csv`` and ``series.json``
    image : format of the all-in-focus pictures, see `write_result`
    prepare : makes of an opened stack what is estimated
    also : what the results depend on beside file and settings, such as what ``prepare`` does
    more : writes further files of a time point into its folder

    A time point that cannot be read is left out and told in its row. When it is stopped, results that
    are done stay, and the next call goes on with the rest.

    Raises
    ------
    StackError
        If the file holds one time point only.
    OutputError
        If the folder cannot be written to.
    """
    labels = time_labels(stack)
    if not labels or stack.reopen is None:
        raise StackError(f"{stack.name} holds one time point only.")
    settings = replace(settings, keep_volume=False)
    made_folder(folder)
    made_with = _made_with(stack, settings, image, also)
    done = _done(folder, made_with)
    rows: list[TimeRow] = []
    for time, label in enumerate(labels):
        share = titled(part(report, time / len(labels), (time + 1) / len(labels)), f"{label}: ")
        share(Progress(0.0, "opening"))
        target = time_folder(folder, time, len(labels))
        row = _old_row(time, label, target) if time in done else None
        if row is None:
            done.discard(time)
            try:
                row = _new_row(stack, time, label, settings, target, image, prepare, more, estimate, share)
            except (StackError, CalibrationError) as error:
                row = TimeRow(time, label, None, problem=str(error))
            else:
                done.add(time)
            write_json(folder / SERIES_NAME, {"made_with": made_with, "done": sorted(done)})
        rows.append(row)
        write_bytes(folder / TABLE_NAME, times_csv(rows).encode())
    report(Progress(1.0, "done"))
    return Series(tuple(rows), folder / TABLE_NAME)


def finished_times(
    stack: FocalStack, settings: EstimateSettings, folder: Path, image: str | None = None, also: str = ""
) -> dict[int, Path]:
    """Return the folders of the time points that `estimate_times` would not do again, by their numbers."""
    count = len(time_labels(stack))
    made_with = _made_with(stack, replace(settings, keep_volume=False), image, also)
    folders = {time: time_folder(folder, time, count) for time in sorted(_done(folder, made_with)) if time < count}
    return {time: target for time, target in folders.items() if _old_row(time, "", target) is not None}


def _new_row(
    stack: FocalStack,
    time: int,
    label: str,
    settings: EstimateSettings,
    target: Path,
    image: str | None,
    prepare: Prepare,
    more: WriteMore | None,
    estimate: Estimate,
    report: Report,
) -> TimeRow:
    if stack.reopen is None:
        raise StackError(f"{stack.name} holds one time point only.")
    opened = stack.reopen({"time": time}, part(report, 0.0, 0.02))
    try:
        worked = prepare(opened)
        result = estimate(worked, settings, part(report, 0.02, 0.9))
        with together():
            write_result(result, target, image, part(report, 0.9, 0.95))
            if more is not None:
                more(worked, result, target, part(report, 0.95, 1.0))
    finally:
        opened.close()
    row = _old_row(time, label, target)
    if row is None:
        raise StackError(f"the result in {target} was changed while it was written.")
    return replace(row, is_old=False)


def _old_row(time: int, label: str, target: Path) -> TimeRow | None:
    """Return what the result in ``target`` says, None if there is none that can be read."""
    one = outcome_of(target)
    if one is None:
        return None
    known = (one.low, one.median, one.high, one.known_share, one.unit, one.seconds)
    return TimeRow(time, label, target, *known, is_old=True)


def _made_with(stack: FocalStack, settings: EstimateSettings, image: str | None, also: str) -> dict[str, Any]:
    """Return all that the results depend on, to tell whether those in a folder are still good."""
    file = stack.source.file(0)
    stamp: list[int] = []
    if file is not None and os.path.exists(file):
        there = os.stat(file)
        stamp = [there.st_size, there.st_mtime_ns]
    told = {
        "toposcope": __version__,
        "source": str(stack.path and stack.path.resolve()),
        "stamp": stamp,
        "parts": {one.name: one.chosen for one in stack.parts if one.name != "time"},
        "typed": [
            [one.origin, np.asarray(one.value).tolist()]
            for one in (stack.positions, stack.kind, stack.near, stack.pixel_um)
            if one is not None and not _is_of_the_file(one)
        ],
        "unit": stack.unit,
        "frames": list(stack.source.names),
        "settings": settings_facts(settings),
        "image": image,
        "also": also,
    }
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return plain


def _is_of_the_file(value: Sourced[Any]) -> bool:
    """Whether a value comes from the file, which may tell another one for each time point."""
    return not value.origin.startswith((*STATED, SIDECAR_NAME))


def _done(folder: Path, made_with: dict[str, Any]) -> set[int]:
    """Return the time points whose results lie in ``folder`` and were made in the same way."""
    try:
        told = json.loads((folder / SERIES_NAME).read_text(encoding="utf-8"))
        return {int(time) for time in told["done"]} if told["made_with"] == made_with else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def times_csv(rows: Sequence[TimeRow]) -> str:
    """Return the table of a series: a line a time point, lengths in the unit of its depth."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        depths = [table_number(value) for value in (row.low, row.median, row.high)]
        known = [f"{row.known_share:.4f}", f"{row.seconds:.2f}"] if row.folder else ["", ""]
        writer.writerow(
            [row.time, row.label, row.folder.name if row.folder else "", *depths, row.unit, *known, row.problem]
        )
    return text.getvalue()
