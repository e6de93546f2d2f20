"""Run every method over every stack, each method in its own process, and average what came out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from toposcope.core.adapted import weights_file
from toposcope.core.align import AlignMode
from toposcope.core.estimate import METHODS, EstimateSettings, find_method
from toposcope.core.evaluate.cases import Case, TruthUnit, read_map
from toposcope.core.evaluate.scoring import MEASURES, Answer, ErrorUnit, Map, Score, Voids, score
from toposcope.core.evaluate.worker import NoAnswer, Worker, WorkerDied
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.networks import check_weights, chosen_device
from toposcope.core.own import is_own, own_file
from toposcope.core.provenance import file_hash
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
    """A method with its own settings and weights, under the name of its rows; make one with `contender`.

    One with ``maps`` is no method: another program has made the depth maps, in ``map_unit``; it is their path, with
    ``{stack}`` for the name of each stack. ``sha256`` is that of the file of weights, or of a method of the user's,
    before it was used; "" where there is none.
    """

    name: str
    method: str
    given: Mapping[str, Any]
    weights: Path | None = None
    sha256: str = ""
    maps: str = ""
    map_unit: TruthUnit = "stack"

    @property
    def is_plain(self) -> bool:
        """Whether the name says it all: the method itself, as it is shipped."""
        return self.name == self.method and not self.given and self.weights is None


@dataclass(frozen=True, slots=True)
class Row:
    """One contender on one stack: ``figures`` by the names of `FIGURES`, or why there are none.

    ``method`` is the contender's name; ``peak_bytes`` the largest resident memory of its process so far,
    interpreter and libraries included, 0 where it did not answer.
    """

    method: str
    stack: str
    groups: tuple[str, ...]
    figures: Mapping[str, float]
    problem: str | None = None
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Mean:
    """One contender on one group of stacks: the mean of the figures of each, undefined ones left out.

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
    contenders: tuple[Contender, ...]

    @property
    def problems(self) -> tuple[Row, ...]:
        """The rows without figures."""
        return tuple(row for row in self.rows if row.problem is not None)


OnScore = Callable[[str, Case, Answer, Score], None]
OnRow = Callable[[int, Row], None]


def default_methods() -> tuple[str, ...]:
    """Return what is compared unless methods are named: well-known classical ones, the hybrid, and all networks."""
    return (*CLASSICAL, *(card.name for card in METHODS.values() if card.by_network))


def contender(
    method: str, given: Mapping[str, Any] | None = None, name: str | None = None, weights: Path | None = None
) -> Contender:
    """Return a method with some of its settings (numbers may be text), all of them checked.

    Parameters
    ----------
    name : what its rows are called, so that one method can stand there several times; by default its own name
    weights : a file of other weights for a network, or the name of an adapted one

    Raises
    ------
    SettingsError
        If there is no such method, a setting is unknown or out of its range, or the weights do not fit.
    """
    card = find_method(method)
    card.checked(given or {})
    file = None if weights is None else weights_file(weights)
    if file is not None:
        check_weights(card.name, file)
    used = own_file(card.name) if is_own(card.name) else file
    sha256 = "" if used is None else file_hash(used)
    return Contender(name or card.name, card.name, dict(given or {}), file, sha256)


def stored_maps(name: str, maps: str, unit: TruthUnit = "stack") -> Contender:
    """Return what another program has found, as a contender: a file of depth for each stack.

    Parameters
    ----------
    maps : path of a TIFF, .npy or .pfm file, with ``{stack}`` for the name of the stack
    unit : what its numbers are; see `cases.TruthFile`
    """
    return Contender(name, "", {}, maps=maps, map_unit=unit)


def evaluate(
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    settings: EvaluateSettings = EvaluateSettings(),
    report: Report = silent,
    on_score: OnScore | None = None,
    done: Mapping[tuple[str, int], Row] | None = None,
    on_row: OnRow | None = None,
) -> Comparison:
    """Run every contender over every case.

    Each contender has a process of its own, which first answers for a tiny stack, so that seconds do not
    count the loading of libraries, and largest memory is the method's own; one runs at a time. Truth is
    read and errors are taken outside of it. A stack on which a method fails has a row that says why.

    Parameters
    ----------
    on_score : called with (name, case, answer, score), whose maps are not kept
    done : rows of an earlier run by contender and number of the case, which are taken as they are
    on_row : called with the number of the case and its row as soon as that is known

    Raises
    ------
    SettingsError
        If nothing is to be compared, two contenders have one name, errors in the stacks' own units cannot
        be averaged, or the device is not there.
    Cancelled
        From ``report``, which is called several times a second.
    """
    if not cases or not contenders:
        raise SettingsError("there is nothing to compare: give at least one stack and one method.")
    names = [one.name for one in contenders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"two methods are called {twice!r}. Give one another name, such as other={twice}.")
    symbol = _unit_symbol(cases, settings)
    if settings.device not in ("auto", "cpu"):
        chosen_device(settings.device)  # refused once, rather than for every stack
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="toposcope-evaluate-") as scratch:
        for m, one in enumerate(contenders):
            share = part(report, m / len(contenders), (m + 1) / len(contenders))
            found = {k: row for (name, k), row in (done or {}).items() if name == one.name}
            if one.maps:
                _read(one, cases, found, settings, share, on_score)
            else:
                _run(one, cases, found, settings, Path(scratch), share, on_score, on_row)
            rows += [found[k] for k in range(len(cases))]
    report(Progress(1.0, "done"))
    return Comparison(tuple(rows), tuple(_means(rows)), settings, symbol, tuple(contenders))


def _run(
    one: Contender,
    cases: Sequence[Case],
    rows: dict[int, Row],
    settings: EvaluateSettings,
    scratch: Path,
    report: Report,
    on_score: OnScore | None,
    on_row: OnRow | None,
) -> None:
    """Add the rows of one contender that are missing, by the numbers of their cases."""
    wish = _estimate_settings(one, settings)

    def add(k: int, row: Row) -> None:
        rows[k] = row
        if on_row is not None:
            on_row(k, row)

    while missing := [k for k in range(len(cases)) if k not in rows]:
        # once, unless the process dies of a stack: then another goes on behind it
        with Worker(wish, scratch) as worker:
            for k in missing:
                case = cases[k]

                def told(progress: Progress, k: int = k) -> None:
                    text = f"{one.name}, stack {k + 1} of {len(cases)}: {progress.text}"
                    report(Progress((k + progress.fraction) / len(cases), text))

                try:
                    with case.ready():
                        answer, peak = worker.answer(case, told)
                        add(k, _row(one.name, case, answer, peak, settings, on_score))
                except WorkerDied as error:
                    add(k, Row(one.name, case.name, case.groups, {}, str(error)))
                    break
                except (NoAnswer, StackError) as error:
                    add(k, Row(one.name, case.name, case.groups, {}, str(error)))


def _read(
    one: Contender,
    cases: Sequence[Case],
    rows: dict[int, Row],
    settings: EvaluateSettings,
    report: Report,
    on_score: OnScore | None,
) -> None:
    """Add the rows of stored maps, by the numbers of their cases."""
    for k, case in enumerate(cases):
        report(Progress(k / len(cases), f"{one.name}, stack {k + 1} of {len(cases)}: reading its depth"))
        try:
            with case.ready():
                rows[k] = _row(one.name, case, _stored(one, case), 0, settings, on_score)
        except (StackError, OSError, ValueError) as error:
            rows[k] = Row(one.name, case.name, case.groups, {}, str(error))


def _stored(one: Contender, case: Case) -> Answer:
    path = Path(one.maps.replace("{stack}", case.name))
    if not path.is_file():
        raise StackError(f"there is no {path}.")
    stack = case.open()
    try:
        positions, unit, kind = stack.positions.value, stack.unit, stack.kind.value
    finally:
        stack.close()
    depth = read_map(path, one.map_unit, positions, unit, kind)
    known = np.isfinite(depth)
    return Answer(np.where(known, depth, np.nan), known, None, None, positions, unit, kind, math.nan, math.nan)


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
        weights=one.weights,
    )


def _row(
    name: str, case: Case, found: Answer, peak_bytes: int, settings: EvaluateSettings, on_score: OnScore | None
) -> Row:
    def unscored(why: str) -> Row:
        return Row(name, case.name, case.groups, {}, why, peak_bytes)

    try:
        truth = case.truth()
    except (OSError, ValueError) as error:
        return unscored(f"its true depth cannot be read: {error}")
    if truth.shape != found.depth.shape:
        return unscored(f"the depth has the shape {found.depth.shape}, the truth {truth.shape}")
    result = score(found, truth, settings.voids, settings.unit)
    if not result.scored:
        return unscored(_why_unscored(found, truth, case.symbol))
    if on_score is not None:
        on_score(name, case, found, result)
    figures = {
        **result.errors,
        "known": result.known,
        "unimodal": result.unimodal,
        "one_peak": result.one_peak,
        "scored": result.scored,
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
    }
    return Row(name, case.name, case.groups, figures, peak_bytes=peak_bytes)


def _why_unscored(found: Answer, truth: Map, symbol: str) -> str:
    known = truth[np.isfinite(truth)]
    if not known.size:
        return "its true depth is not known at any pixel."
    low, high = found.positions[[0, -1]]
    return (
        f"its true depth, {known.min():.4g} to {known.max():.4g} {symbol}, lies outside of the sweep, "
        f"{low:.4g} to {high:.4g} {symbol}. Is it in another unit, or in slices (--truth-unit)?"
    )


def _means(rows: Sequence[Row]) -> Iterable[Mean]:
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    peaks: dict[str, int] = {}
    for row in rows:
        peaks[row.method] = max(peaks.get(row.method, 0), row.peak_bytes)
    for group in groups:
        for method in peaks:
            chosen = [row for row in rows if row.method == method and group in row.groups]
            good = [row.figures for row in chosen if row.problem is None]
            means = {name: _mean([figures[name] for figures in good]) for name in FIGURES}
            yield Mean(method, group, len(chosen), len(chosen) - len(good), means, peaks[method] or None)


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
