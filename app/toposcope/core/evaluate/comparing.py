"""Run every method over every stack, each method in its own process, and average what came out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from toposcope.core.align import AlignMode
from toposcope.core.estimate import METHODS, EstimateSettings, find_method
from toposcope.core.evaluate.cases import Case
from toposcope.core.evaluate.scoring import MEASURES, Answer, ErrorUnit, Map, Score, Voids, score
from toposcope.core.evaluate.worker import NoAnswer, Worker, WorkerDied
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.networks import chosen_device
from toposcope.errors import SettingsError, StackError

CLASSICAL: Final = ("default", "sml", "tenengrad", "rdf")
"""The classical methods that are compared unless others are named."""

FIGURES: Final = (*MEASURES, "known", "unimodal", "one_peak", "scored", "seconds", "cpu_seconds")
"""The figures of one row: errors, shares of pixels, seconds a stack."""


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """How methods are compared.

    ``voids`` and ``unit``: see `scoring.score`. ``curves`` keeps the focus curves, as the window does,
    and counts their peaks: seconds and memory are then those of an estimation that keeps them.
    ``align``, ``device`` and ``threads`` as in `EstimateSettings`; truth fits the frames as they are, so
    they are not aligned unless asked.
    """

    voids: Voids = "filled"
    unit: ErrorUnit = "share"
    curves: bool = True
    align: AlignMode = "none"
    device: str = "auto"
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Contender:
    """A method with its own settings; make one with `contender`."""

    method: str
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one stack: ``figures`` by the names of `FIGURES`, or why there are none."""

    method: str
    stack: str
    groups: tuple[str, ...]
    figures: Mapping[str, float]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Mean:
    """One method on one group of stacks: the mean of the figures of each, undefined ones left out.

    ``peak_bytes`` is the largest resident memory of the method's process over all stacks of the run,
    interpreter and libraries included; None where the method answered for none.
    """

    method: str
    group: str
    stacks: int
    failed: int
    figures: Mapping[str, float]
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an evaluation found; ``unit_symbol`` that of the errors."""

    rows: tuple[Row, ...]
    means: tuple[Mean, ...]
    settings: EvaluateSettings
    unit_symbol: str
    given: Mapping[str, Mapping[str, Any]]

    @property
    def problems(self) -> tuple[Row, ...]:
        """The rows without figures."""
        return tuple(row for row in self.rows if row.problem is not None)


OnScore = Callable[[str, Case, Answer, Score], None]


def default_methods() -> tuple[str, ...]:
    """Return what is compared unless methods are named: well-known classical ones, the hybrid, and all networks."""
    return (*CLASSICAL, *(card.name for card in METHODS.values() if card.by_network))


def contender(method: str, given: Mapping[str, Any] | None = None) -> Contender:
    """Return a method with some of its settings (numbers may be text), all of them checked.

    Raises
    ------
    SettingsError
        If there is no such method, or a setting is unknown or out of its range.
    """
    card = find_method(method)
    card.checked(given or {})
    return Contender(card.name, dict(given or {}))


def evaluate(
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    settings: EvaluateSettings = EvaluateSettings(),
    report: Report = silent,
    on_score: OnScore | None = None,
) -> Comparison:
    """Run every contender over every case.

    Each contender has a process of its own, which first answers for a tiny stack, so that seconds do not
    count the loading of libraries, and largest memory is the method's own; one runs at a time. Truth is
    read and errors are taken outside of it. A stack on which a method fails has a row that says why.
    ``on_score(method, case, answer, score)`` sees each pair of maps, which are not kept.

    Raises
    ------
    SettingsError
        If nothing is to be compared, errors in the stacks' own units cannot be averaged, or the device is
        not there.
    Cancelled
        From ``report``, which is called several times a second.
    """
    if not cases or not contenders:
        raise SettingsError("there is nothing to compare: give at least one stack and one method.")
    symbol = _unit_symbol(cases, settings)
    if settings.device not in ("auto", "cpu"):
        chosen_device(settings.device)  # refused once, rather than for every stack
    rows: list[Row] = []
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="toposcope-evaluate-") as scratch:
        for m, one in enumerate(contenders):
            share = part(report, m / len(contenders), (m + 1) / len(contenders))
            found, peaks[one.method] = _run(one, cases, settings, Path(scratch), share, on_score)
            rows += found
    report(Progress(1.0, "done"))
    given = {one.method: one.given for one in contenders}
    return Comparison(tuple(rows), tuple(_means(rows, peaks)), settings, symbol, given)


def _run(
    one: Contender,
    cases: Sequence[Case],
    settings: EvaluateSettings,
    scratch: Path,
    report: Report,
    on_score: OnScore | None,
) -> tuple[list[Row], int]:
    """Return the rows of one contender, and the largest memory that it took."""
    rows: list[Row] = []
    largest = 0
    wish = _estimate_settings(one, settings)
    while len(rows) < len(cases):  # once, unless the process dies of a stack: then another goes on behind it
        with Worker(wish, scratch) as worker:
            for k in range(len(rows), len(cases)):
                case = cases[k]

                def told(progress: Progress, k: int = k) -> None:
                    text = f"{one.method}, stack {k + 1} of {len(cases)}: {progress.text}"
                    report(Progress((k + progress.fraction) / len(cases), text))

                try:
                    with case.ready():
                        answer, peak = worker.answer(case, told)
                        largest = max(largest, peak)
                        rows.append(_row(one.method, case, answer, settings, on_score))
                except WorkerDied as error:
                    rows.append(Row(one.method, case.name, case.groups, {}, str(error)))
                    break
                except (NoAnswer, StackError) as error:
                    rows.append(Row(one.method, case.name, case.groups, {}, str(error)))
    return rows, largest


def _estimate_settings(one: Contender, settings: EvaluateSettings) -> EstimateSettings:
    card = find_method(one.method)
    can_fill = any(field.name == "fill" for field in fields(card.settings))
    given = {"fill": True, **one.given} if can_fill and settings.voids == "filled" else one.given
    return EstimateSettings(
        method=one.method,
        options=card.checked(given),
        align=settings.align,
        keep_volume=settings.curves,
        threads=settings.threads,
        device=settings.device if card.by_network else "auto",
    )


def _row(method: str, case: Case, found: Answer, settings: EvaluateSettings, on_score: OnScore | None) -> Row:
    try:
        truth = case.truth()
    except (OSError, ValueError) as error:
        return Row(method, case.name, case.groups, {}, f"its true depth cannot be read: {error}")
    if truth.shape != found.depth.shape:
        text = f"the depth has the shape {found.depth.shape}, the truth {truth.shape}"
        return Row(method, case.name, case.groups, {}, text)
    result = score(found, truth, settings.voids, settings.unit)
    if not result.scored:
        return Row(method, case.name, case.groups, {}, _why_unscored(found, truth, case.symbol))
    if on_score is not None:
        on_score(method, case, found, result)
    figures = {
        **result.errors,
        "known": result.known,
        "unimodal": result.unimodal,
        "one_peak": result.one_peak,
        "scored": result.scored,
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
    }
    return Row(method, case.name, case.groups, figures)


def _why_unscored(found: Answer, truth: Map, symbol: str) -> str:
    known = truth[np.isfinite(truth)]
    if not known.size:
        return "its true depth is not known at any pixel."
    low, high = found.positions[[0, -1]]
    return (
        f"its true depth, {known.min():.4g} to {known.max():.4g} {symbol}, lies outside of the sweep, "
        f"{low:.4g} to {high:.4g} {symbol}. Is it in another unit, or in slices (--truth-unit slices)?"
    )


def _means(rows: Sequence[Row], peaks: Mapping[str, int]) -> Iterable[Mean]:
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    methods = list(dict.fromkeys(row.method for row in rows))
    for group in groups:
        for method in methods:
            chosen = [row for row in rows if row.method == method and group in row.groups]
            good = [row.figures for row in chosen if row.problem is None]
            means = {name: _mean([figures[name] for figures in good]) for name in FIGURES}
            yield Mean(method, group, len(chosen), len(chosen) - len(good), means, peaks.get(method) or None)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def _unit_symbol(cases: Sequence[Case], settings: EvaluateSettings) -> str:
    if settings.unit == "share":
        return "shares of the swept range"
    symbols = list(dict.fromkeys(case.symbol for case in cases))
    if len(symbols) > 1:
        raise SettingsError(
            f"the stacks are in {' and '.join(symbols)}, which have no common mean. "
            "Evaluate them apart, or take errors as shares of the range (--unit share)."
        )
    return symbols[0]
