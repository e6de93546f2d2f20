"""`toposcope simulate` and `export`: stacks and results as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from toposcope.cli.options import (
    Answer,
    Commands,
    ListAction,
    add_command,
    assignment,
    check_folder,
    count,
    setting_lines,
    written_lines,
)
from toposcope.core.jobs import Report, part
from toposcope.errors import SettingsError


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
        metavar="FILE",
        help="file or folder (default: beside the result); for several formats a folder, which is made if it is not "
        "there",
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
    from toposcope.core.export import FORMATS, ExportOptions, export, made_folder, read_result
    from toposcope.core.height_map import is_height_map, read_height_map
    from toposcope.core.settings import checked

    wishes = checked(ExportOptions, dict(options.set), "export")
    for name in options.to:
        if name in FORMATS and FORMATS[name].needs == "curves":
            raise SettingsError(
                f"a stored result has no focus curves; `toposcope curve` writes {FORMATS[name].file_name}."
            )
    folder: Path | None = options.output if len(options.to) > 1 else None
    if folder is not None:
        _check_several(folder)
    result = (
        read_height_map(options.result, part(report, 0, 0.3))
        if is_height_map(options.result)
        else read_result(options.result)
    )
    if folder is not None:
        made_folder(folder)
    beside = options.result if options.result.is_dir() else options.result.parent
    files: dict[str, Path] = {}
    steps = part(report, 0.3, 1)
    for i, name in enumerate(options.to):
        share = part(steps, i / len(options.to), (i + 1) / len(options.to))
        written = export(result, name, options.output or beside, wishes, share)
        files |= {name if k == 0 else f"{name}_{k}": path for k, path in enumerate(written)}
    return Answer(written_lines(files), {"files": {name: str(path) for name, path in files.items()}})


def _check_several(folder: Path) -> None:
    """Refuse what cannot be the folder of several files; one that is not there yet will be made."""
    if not folder.is_dir() and (folder.exists() or folder.suffix):
        raise SettingsError(
            f"several formats need a folder after -o, and {folder.name} is a file, or named like one. Choose a folder, "
            "or make that one first."
        )
    check_folder(folder)
