"""`toposcope compare`: the difference of two stored results, or of heights that an instrument has measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from toposcope.cli.options import Answer, Commands, add_command, check_folder, written_lines
from toposcope.core.jobs import Report, part
from toposcope.errors import SettingsError

if TYPE_CHECKING:
    from toposcope.core.height_map import HeightMap
    from toposcope.core.result import DepthResult


def add_compare(commands: Commands) -> None:
    """Add `toposcope compare`."""
    text = "subtract two results of `toposcope depth`, or height maps that an instrument has measured: A less B"
    parser = add_command(commands, "compare", _compare, text)
    what = "folder of a result, its result.json, or a height map such as X3P or GWY"
    parser.add_argument("a", type=Path, metavar="A", help=what)
    parser.add_argument("b", type=Path, metavar="B", help="what is taken from it, of the same kinds")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder for difference.tif (numbers), difference.png (drawn) and difference.json (statistics)",
    )
    _add_heights(parser)


def _add_heights(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with a height map (it is laid over the result, or B over A)")
    group.add_argument(
        "--level",
        choices=("none", "offset", "plane"),
        help="what is removed by least squares before: nothing, an offset, or offset and tilt (default: plane)",
    )
    group.add_argument(
        "--mirror",
        choices=("none", "rows", "columns", "both"),
        help="turn it first: mirrored top to bottom (rows), left to right (columns), or by 180° (both) (default: none)",
    )
    group.add_argument(
        "--place",
        metavar="PLACE",
        help="where it lies: auto (the same field, else found by its shape), same (middle on middle), or ROW,COL of "
        "its upper left corner in pixels of the other (default: auto)",
    )


def _compare(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.compare import compare, compare_heights, write_difference
    from toposcope.core.height_map import HeightMap, parse_place
    from toposcope.core.result import DepthResult

    check_folder(options.output)
    place = parse_place(options.place or "auto")
    a, b = (read_heights(path, part(report, 0.1 * i, 0.1 * i + 0.1)) for i, path in enumerate((options.a, options.b)))
    steps = part(report, 0.2, 0.8)
    if isinstance(a, DepthResult) and isinstance(b, DepthResult):
        if options.level or options.place or options.mirror:
            raise SettingsError(
                "--level, --place and --mirror are for height maps; two results are compared as they lie."
            )
        found = compare(a, b, steps)
    else:
        found = compare_heights(a, b, options.level or "plane", place, steps, options.mirror or "none")
    names = tuple(
        one.name if isinstance(one, HeightMap) else result_name(path, one)
        for path, one in ((options.a, a), (options.b, b))
    )
    option = f" (--mirror {found.better})" if found.better != "none" else ""
    files = write_difference(found, options.output, (names[0], names[1]))
    sides = dict(zip("ab", names, strict=True))
    text = [
        *(f"{letter.upper():<12}{name}" for letter, name in sides.items()),
        *([f"{'laid over':<12}{found.note}{option}"] if found.note else []),
        f"{'A − B':<12}{found.text}",
        written_lines(files),
    ]
    paths = {name: str(path) for name, path in files.items()}
    return Answer("\n".join(text), {**sides, **found.facts(), "files": paths})


def read_heights(path: Path, report: Report) -> DepthResult | HeightMap:
    """Read a stored result, or a height map of an instrument."""
    from toposcope.core.export import read_result
    from toposcope.core.height_map import is_height_map, read_height_map

    return read_height_map(path, report) if is_height_map(path) else read_result(path)


def result_name(path: Path, result: DepthResult) -> str:
    """Return what tells a stored result from another: "scan_07: default"."""
    folder = (path if path.is_dir() else path.parent).resolve().name
    return f"{folder}: {result.provenance.method}" if folder else result.provenance.method
