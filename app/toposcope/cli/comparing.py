"""`toposcope compare`: the difference of two stored results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from toposcope.cli.options import Answer, Commands, add_command, check_folder, written_lines
from toposcope.core.jobs import Report, part

if TYPE_CHECKING:
    from toposcope.core.result import DepthResult


def add_compare(commands: Commands) -> None:
    """Add `toposcope compare`."""
    parser = add_command(commands, "compare", _compare, "subtract two results of `toposcope depth`: A less B")
    parser.add_argument("a", type=Path, metavar="RESULT_A", help="folder of a result, or its result.json")
    parser.add_argument("b", type=Path, metavar="RESULT_B", help="the result that is taken from it")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder for difference.tif (numbers), difference.png (drawn) and difference.json (statistics)",
    )


def _compare(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.compare import compare, write_difference
    from toposcope.core.export import read_result

    check_folder(options.output)
    results = [read_result(path) for path in (options.a, options.b)]
    found = compare(results[0], results[1], part(report, 0.2, 0.8))
    names = (result_name(options.a, results[0]), result_name(options.b, results[1]))
    files = write_difference(found, options.output, names)
    sides = dict(zip("ab", names, strict=True))
    text = [
        *(f"{letter.upper():<12}{name}" for letter, name in sides.items()),
        f"{'A - B':<12}{found.text}",
        written_lines(files),
    ]
    paths = {name: str(path) for name, path in files.items()}
    return Answer("\n".join(text), {**sides, **found.facts(), "files": paths})


def result_name(path: Path, result: DepthResult) -> str:
    """Return what tells a stored result from another: "scan_07: default"."""
    folder = (path if path.is_dir() else path.parent).resolve().name
    return f"{folder}: {result.provenance.method}" if folder else result.provenance.method
