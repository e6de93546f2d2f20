"""`toposcope batch`: many stacks, one after another, into one folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toposcope.cli.estimating import write_pictures
from toposcope.cli.options import (
    DONE,
    FAILED,
    SOME_FAILED,
    Answer,
    Commands,
    add_command,
    add_method,
    add_reading,
    assignment,
    check_folder,
    each_path,
    open_options,
    sentence,
    written_lines,
)
from toposcope.core.jobs import Cancelled, Report, part

if TYPE_CHECKING:  # numpy and OpenCV are loaded by the command that needs them
    from toposcope.core.batch import Batch, BatchPlan, BatchRow
    from toposcope.core.method import EstimateSettings
    from toposcope.core.result import DepthResult
    from toposcope.core.source import OpenOptions
    from toposcope.core.source.finding import Found
    from toposcope.core.stack import FocalStack

TITLES = ("stack", "state", "seconds", "voids", "depth, or what went wrong")
"""Of the columns that are printed."""


def add_batch(commands: Commands) -> None:
    """Add `toposcope batch`."""
    text = "compute the depth of many stacks, each into a folder of its own, with a table; goes on when called again"
    batch = add_command(commands, "batch", _batch, text)
    batch.add_argument(
        "stack",
        nargs="+",
        metavar="STACK",
        help="folders of images, files with many pages or planes, or folders that hold such; each one a stack",
    )
    batch.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder for all results")
    batch.add_argument(
        "--again", action="store_true", help="do all stacks, also those whose results are up to date from before"
    )
    batch.add_argument(
        "--like",
        type=Path,
        metavar="RESULT",
        help="method, settings, alignment and calibration of a stored result, or of a project; what is typed wins, "
        "and what its files told of its calibration counts where a stack tells nothing",
    )
    batch.add_argument(
        "--image",
        choices=("tif", "png", "jpg"),
        help="format of the all-in-focus pictures (default: that of the stack)",
    )
    batch.add_argument("--pictures", action="store_true", help="draw depth.png and surface_3d.png of each, too")
    batch.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="FORMAT",
        help="write each result in this format, too, as `toposcope export` does; may be given several times",
    )
    batch.add_argument(
        "--export-set",
        action="append",
        default=[],
        type=assignment,
        metavar="NAME=VALUE",
        help="option of the formats (toposcope export --list-formats)",
    )
    add_method(batch, unless="--like")
    add_reading(batch)


def _batch(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.batch import run_batch
    from toposcope.core.source.finding import each_position, find_stacks

    check_folder(options.output)
    named = each_path(options.stack)
    found = find_stacks(named, part(report, 0, 0))
    found = each_position(found, open_options(options), part(report, 0, 0))
    plan = _plan(options, found, named)
    if not options.quiet:
        for one in found.left_out:
            print(f"left out: {one}", file=sys.stderr, flush=True)
    rows: dict[int, BatchRow] = {}

    def more(stack: FocalStack, result: DepthResult, folder: Path, report: Report) -> None:
        if options.pictures:
            write_pictures(result, folder)

    try:
        batch = run_batch(
            plan, report, rows.__setitem__, more, f"pictures {options.pictures}" * options.pictures, sentence=sentence
        )
    except (Cancelled, KeyboardInterrupt) as stop:
        done = sum(row.state in ("done", "up to date") for row in rows.values())
        raise Cancelled(
            f"interrupted: {done} of {len(plan.items)} stacks are done. The same command goes on with the rest."
        ) from stop
    if options.debug:
        for row in batch.rows:
            if row.details:
                print(row.details, file=sys.stderr)
    return _answer(batch, found)


def _plan(options: argparse.Namespace, found: Found, named: Sequence[Path]) -> BatchPlan:
    from toposcope.core.batch import plan_batch
    from toposcope.core.export import ExportOptions
    from toposcope.core.settings import checked

    settings, reading, fallback = _wished(options)
    return plan_batch(
        found,
        options.output,
        settings,
        reading,
        fallback,
        options.image,
        options.to,
        checked(ExportOptions, dict(options.export_set), "export"),
        options.again,
        named,
    )


def _wished(options: argparse.Namespace) -> tuple[EstimateSettings, OpenOptions, OpenOptions]:
    """Return how to compute, how stacks are read, and how where they tell nothing; by the options and --like."""
    from toposcope.core.adapted import weights_file
    from toposcope.core.alike import Like, like_result, over
    from toposcope.core.estimate import EstimateSettings, find_method
    from toposcope.core.project import is_project, like_project
    from toposcope.core.source import OpenOptions

    typed, weights = open_options(options), options.weights and weights_file(options.weights)
    like: Like | None = None
    if options.like is not None:
        like = (like_project if is_project(options.like) else like_result)(options.like, options.method, weights)
        settings = like.settings
    else:
        settings = EstimateSettings(options.method or "default", weights=weights)
    card = find_method(settings.method)
    given = (
        {} if settings.options is None else {name: getattr(settings.options, name) for name in _names(card.settings)}
    )
    settings = replace(
        settings,
        method=card.name,
        options=card.checked(given | dict(options.set)),
        align=options.align or settings.align,
        threads=options.threads,
        device=options.device,
    )
    if like is None:
        return settings, typed, OpenOptions()
    return settings, over(typed, like.calibrating.typed), like.calibrating.told


def _names(settings: type) -> list[str]:
    from dataclasses import fields

    return [one.name for one in fields(settings)]


def _answer(batch: Batch, found: Found) -> Answer:
    """Tell what came of all stacks; exit code 3 where some failed or lack something, 1 where all failed."""
    done = [row for row in batch.rows if row.state == "done"]
    old = [row for row in batch.rows if row.state == "up to date"]
    counts = [f"{len(done)} done"] if done or not old else []
    counts += [f"{len(old)} up to date from before (--again does them anew)"] if old else []
    counts += [f"{len(batch.failed)} failed"] if batch.failed else []
    text = [*_table(batch.rows), f"{'stacks':<12}{', '.join(counts)}", written_lines({"table": batch.table})]
    facts: dict[str, Any] = {
        "done": len(done),
        "up_to_date": len(old),
        "failed": len(batch.failed),
        "stacks": [_row_facts(row) for row in batch.rows],
        "left_out": list(found.left_out),
        "files": {"table": str(batch.table)},
    }
    complaints = []
    if batch.failed:
        complaints.append(f"{len(batch.failed)} of {len(batch.rows)} stacks failed; the table tells why.")
    if batch.incomplete:
        complaints.append(f"{len(batch.incomplete)} results lack a format that was asked for; the table tells why.")
    if batch.table_problem:
        complaints.append(batch.table_problem)
    code = DONE
    if batch.failed or batch.incomplete or batch.table_problem:
        code = FAILED if len(batch.failed) == len(batch.rows) else SOME_FAILED
    return Answer("\n".join(text), facts, tuple(complaints), code)


def _row_facts(row: BatchRow) -> dict[str, Any]:
    one = row.outcome
    return {
        "stack": row.item.name,
        "paths": [str(path.absolute()) for path in row.item.source.paths],
        "state": row.state,
        "folder": None if one is None else str(one.folder),
        "seconds": None if one is None else one.seconds,
        "void_share": row.void_share,
        "depth": None if one is None else {"min": one.low, "median": one.median, "max": one.high},
        "unit": None if one is None else one.unit,
        "problem": row.problem or None,
    }


def _table(rows: Sequence[BatchRow]) -> list[str]:
    """Return the table for reading, in columns."""
    lines = [TITLES, *(_cells(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(4)]
    return [
        f"{name:<{widths[0]}}  {state:<{widths[1]}}  {seconds:>{widths[2]}}  {voids:>{widths[3]}}  {rest}"
        for name, state, seconds, voids, rest in lines
    ]


def _cells(row: BatchRow) -> tuple[str, str, str, str, str]:
    from toposcope.core.batch import depth_text, short_name
    from toposcope.core.words import percent

    one, name = row.outcome, short_name(row.item.name)
    if one is None:
        return name, row.state, "", "", row.problem
    rest = f"{depth_text(one)}; {row.problem}" if row.problem else depth_text(one)
    return name, row.state, f"{one.seconds:.1f}", percent(1 - one.known_share), rest
