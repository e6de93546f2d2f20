"""`toposcope simulate` and `export`: stacks and results as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toposcope.cli.options import (
    DONE,
    FAILED,
    SOME_FAILED,
    Answer,
    Commands,
    ListAction,
    add_command,
    assignment,
    check_folder,
    count,
    setting_lines,
    with_option,
    written_lines,
)
from toposcope.core.jobs import Report, part
from toposcope.errors import CalibrationError, OutputError, SettingsError

if TYPE_CHECKING:
    from toposcope.core.export import FormatCard


def add_simulate(commands: Commands) -> None:
    """Add `toposcope simulate`."""
    parser = add_command(commands, "simulate", _simulate, "render a focal stack with known depth")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder for the stack")
    parser.add_argument("--scene", default="sample", metavar="NAME", help="what to render (default: %(default)s)")
    parser.add_argument("--slices", type=count, metavar="N", help="number of frames (default: that of the scene)")
    parser.add_argument("--seed", type=int, help="another number gives another texture and noise")
    parser.add_argument("--format", choices=("jpg", "png", "tif"), default="jpg", help="of the frames")
    parser.add_argument("--list-scenes", action=ListAction, text=scene_list, help="list the scenes, and stop")


def scene_list() -> str:
    """Return all scenes, for reading."""
    from toposcope.core.simulate import scene_titles

    return "\n".join(f"{name:<14}{title}" for name, title in scene_titles().items())


def _simulate(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.simulate import SimulateSettings, simulate

    check_folder(options.output)
    settings = SimulateSettings(options.scene, options.seed, options.slices, options.format)
    files = simulate(options.output, settings, report)
    return Answer(written_lines(files), {"files": {name: str(path) for name, path in files.items()}})


def add_export(commands: Commands) -> None:
    """Add `toposcope export`."""
    parser = add_command(
        commands, "export", _export, "write a result of `toposcope depth`, or a height map, in another format"
    )
    what = "folder of a result, its result.json, or a height map such as X3P or GWY"
    parser.add_argument("result", type=Path, metavar="RESULT", help=what)
    parser.add_argument(
        "--to",
        required=True,
        action="append",
        metavar="FORMAT",
        help="such as ply, stl, depth16; may be given several times",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a folder, which is made if it is not there, or, for one format, a file: a name with a suffix, such as "
        "form.stl (default: the folder of the result)",
    )
    parser.add_argument(
        "--set", action="append", default=[], type=assignment, metavar="NAME=VALUE", help="option of the format"
    )
    parser.add_argument(
        "--list-formats", action=ListAction, text=format_list, help="list the formats and their options, and stop"
    )


def format_list() -> str:
    """Return all formats that a stored result can be written in, for reading."""
    from dataclasses import fields

    from toposcope.core.export import FORMATS, ExportOptions

    lines = [f"{card.name:<14}{card.title}" for card in FORMATS.values() if card.needs == "depth"]
    return "\n".join([*lines, *setting_lines(fields(ExportOptions))])


def _export(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.export import ExportOptions, export, find_format, made_folder, read_result
    from toposcope.core.height_map import is_height_map, read_height_map
    from toposcope.core.settings import checked

    wishes = checked(ExportOptions, dict(options.set), "export")
    cards = [find_format(name) for name in options.to]
    for card in cards:
        if card.needs == "curves":
            raise SettingsError(f"a stored result has no focus curves; `toposcope curve` writes {card.file_name}.")
    output: Path | None = options.output
    is_folder = output is not None and _names_folder(output, cards)
    if output is not None and is_folder:
        check_folder(output)
    result = (
        read_height_map(options.result, part(report, 0, 0.3))
        if is_height_map(options.result)
        else read_result(options.result)
    )
    if output is not None and is_folder:
        made_folder(output)
    beside = options.result if options.result.is_dir() else options.result.parent
    files: dict[str, Path] = {}
    failed: dict[str, str] = {}
    steps = part(report, 0.3, 1)
    for i, card in enumerate(cards):
        share = part(steps, i / len(cards), (i + 1) / len(cards))
        try:
            written = export(result, card.name, output or beside, wishes, share)
        except (OutputError, CalibrationError) as error:  # such as no pixel size: the others may do
            if len(cards) == 1:
                raise
            failed[card.name] = with_option(error)
            continue
        files |= {card.name if k == 0 else f"{card.name}_{k}": path for k, path in enumerate(written)}
    facts: dict[str, Any] = {"files": {name: str(path) for name, path in files.items()}}
    if failed:
        facts["failed"] = failed
    complaints = tuple(f"{name} is not written: {text}" for name, text in failed.items())
    return Answer(written_lines(files), facts, complaints, (SOME_FAILED if files else FAILED) if failed else DONE)


def _names_folder(output: Path, cards: Sequence[FormatCard]) -> bool:
    """Whether ``output`` is a folder, there or to be made; names with a suffix are files, if they suit the format."""
    from toposcope.core.export import FORMATS

    if output.is_dir() or not (output.exists() or output.suffix):
        return True
    if len(cards) > 1:
        raise SettingsError(
            f"several formats need a folder after -o, and {output.name} is a file, or named like one. Choose a folder, "
            "or make that one first."
        )
    suffix = {".tiff": ".tif", ".jpeg": ".jpg"}.get(output.suffix.lower(), output.suffix.lower())
    (card,) = cards
    # a suffix that is of no format, such as .txt, is the user's to choose
    if suffix != card.extension and any(suffix == other.extension for other in FORMATS.values()):
        raise SettingsError(
            f"{card.name} writes {card.extension} files, and {output.name} is named otherwise. Name it "
            f"{output.stem}{card.extension}, or name a folder."
        )
    return False
