"""`toposcope info`, `depth`, `curve` and `demo`: from a stack to its depth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
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
    add_method,
    add_stack,
    check_folder,
    estimate_settings,
    estimated,
    opened,
    paths,
    written_lines,
)
from toposcope.core.jobs import Report, part
from toposcope.errors import OutputError, SettingsError

if TYPE_CHECKING:  # numpy and OpenCV are loaded by the command that needs them
    from toposcope.core.advising import SweepAdvice
    from toposcope.core.curve import FocusCurve
    from toposcope.core.project import Project
    from toposcope.core.result import DepthResult
    from toposcope.core.stack import FocalStack

DEMO_FOLDER = Path("toposcope-output")
_ADVISED = ("cut_low", "cut_high", "coarse_step", "idle_slices", "over_exposed")
"""What a sweep lacks that its advisor speaks of, too."""
_RESULT_STEMS = ("depth", "confidence", "all_in_focus", "all_in_focus_channels.ome", "surface_3d")


def add_info(commands: Commands) -> None:
    """Add `toposcope info`."""
    text = "say what a stack or a height map is, and where each value comes from"
    info = add_command(commands, "info", _info, text)
    add_stack(info, projects=True)
    info.add_argument("--frames", action="store_true", help="list the frames with their positions, too")
    info.add_argument(
        "--list-readers", action=ListAction, text=reader_list, help="list the formats that can be opened, and stop"
    )


def reader_list() -> str:
    """Return what can be opened, for reading."""
    from toposcope.core.source import reader_list

    return reader_list()


def add_depth(commands: Commands) -> None:
    """Add `toposcope depth`."""
    depth = add_command(commands, "depth", _depth, "compute depth, confidence and an all-in-focus picture")
    add_stack(depth, projects=True)
    add_method(depth, unless="a project")
    depth.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    depth.add_argument(
        "--image", choices=("tif", "png", "jpg"), help="format of the all-in-focus picture (default: that of the stack)"
    )
    depth.add_argument(
        "--all-channels",
        action="store_true",
        help="write the all-in-focus picture of every channel by this depth, too, as all_in_focus_channels.ome.tif",
    )
    depth.add_argument(
        "--all-times",
        action="store_true",
        help="do all time points of the file, each in a folder of its own, with a table; goes on where it was stopped",
    )
    depth.add_argument("--pictures", action="store_true", help="draw depth.png and surface_3d.png, too")


def add_curve(commands: Commands) -> None:
    """Add `toposcope curve`."""
    curve = add_command(commands, "curve", _curve, "print the focus curve of pixels as CSV, with a verdict in words")
    add_stack(curve, projects=True)
    add_method(curve, unless="a project")
    curve.add_argument(
        "--at",
        action="append",
        type=_pixel,
        metavar="ROW,COL",
        help="pixel; may be given several times (default: the pins of a project)",
    )
    curve.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the CSV here instead")
    curve.add_argument("--picture", type=Path, metavar="PNG", help="draw the curve of the first pixel, too")


def add_demo(commands: Commands) -> None:
    """Add `toposcope demo`."""
    demo = add_command(
        commands, "demo", _demo, "show what Toposcope does, in a folder of pictures; on the sample stack"
    )
    demo.add_argument("stack", nargs="*", metavar="STACK", help="another stack")
    demo.add_argument(
        "-o", "--output", type=Path, default=DEMO_FOLDER, metavar="OUT", help="folder (default: %(default)s)"
    )


def _pixel(text: str) -> tuple[int, int]:
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no pixel; write ROW,COL such as 120,64") from None
    return row, column


def _info(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.height_map import is_height_map
    from toposcope.core.source import ChoiceNeeded, describe
    from toposcope.errors import IsResultError

    named = paths(options.stack)
    if isinstance(named, Path) and is_height_map(named):
        return _height_map_answer(named, report)
    while True:  # a file may ask for the series first, then for its channel and time
        try:
            with opened(options, report) as stack:
                facts = describe(stack)
            break
        except ChoiceNeeded as question:
            for choice in question.choices:
                setattr(options, choice.name, 0)
        except IsResultError as found:
            return _stored_answer(found.folder)
    lines = _stack_lines(facts)
    if (project := getattr(options, "project", None)) is not None:
        lines = [*_project_lines(named, project), *lines]
        facts["project"] = {
            "method": project.method,
            "contents": project.contents,
            "paths": list(map(str, project.paths)),
        }
    if options.frames:
        positions = facts["positions"]["value"]
        lines += [f"{position:>14g}  {name}" for position, name in zip(positions, facts["names"], strict=True)]
    return Answer("\n".join(lines), facts)


def _project_lines(path: Path | list[Path], project: Project) -> list[str]:
    """Say what a project is, beside its stack."""
    rows = [("project", str(path)), ("method", project.method)]
    rows += [("with", project.contents)] if project.contents else []
    return [f"{name:<12}{text}" for name, text in rows]


def _height_map_answer(path: Path, report: Report) -> Answer:
    from toposcope.core.height_map import described, read_height_map

    rows, facts = described(read_height_map(path, report))
    return Answer("\n".join(f"{name:<12}{text}" for name, text in rows), facts)


def _stored_answer(folder: Path) -> Answer:
    """Say what a stored result is; for machines as its result.json has it, with whole paths."""
    from toposcope.core.export import read_result
    from toposcope.core.result import RESULT_NAME
    from toposcope.core.source import describe_result, fact_rows

    result = read_result(folder)
    facts = json.loads((folder / RESULT_NAME).read_text(encoding="utf-8"))
    facts["files"] = {name: str(folder / file) for name, file in facts["files"].items()}
    made_from = describe_result(result)
    rows = [
        ("result", str(folder)),
        ("made from", made_from["name"]),
        *((label.lower(), text) for label, text in made_from["parts"].items()),
        *fact_rows(made_from),
        *_result_rows(result, facts),
    ]
    return Answer("\n".join(f"{name:<12}{text}" for name, text in rows), facts)


def _depth(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.export import together

    check_folder(options.output)
    if options.all_times:
        return _all_times(options, report)
    with opened(options, part(report, 0, 0.02)) as stack:
        _spare_frames(stack, options.output)
        if options.all_channels:
            _check_channels(stack)
        result = estimated(options, stack, part(report, 0.02, 0.9))
        with together():
            files = _write(result, options.output, options.image, part(report, 0.9, 0.95))
            if options.all_channels:
                files |= _write_channels(stack, result, options.output, part(report, 0.95, 1))
            if options.pictures:
                files |= write_pictures(result, options.output)
    return result_answer(stack, result, files)


def _curve(options: argparse.Namespace, report: Report) -> Answer:
    with opened(options, part(report, 0, 0.02)) as stack:
        project: Project | None = getattr(options, "project", None)
        if options.at is None:
            options.at = [(pin.row, pin.column) for pin in project.pins] if project is not None else []
        if not options.at:
            raise SettingsError("no pixel is named whose curve is wanted. Give one with --at ROW,COL.")
        _check_pixels(options.at, stack)
        result = estimated(options, stack, part(report, 0.02, 1), keep_volume=True)
        try:
            return _curves_answer(options, result)
        finally:
            if result.volume is not None:
                result.volume.close()


def _demo(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.estimate import EstimateSettings, estimate
    from toposcope.core.resources import sample_path
    from toposcope.core.source import open_stack

    check_folder(options.output)
    stack = open_stack(paths(options.stack) if options.stack else sample_path(), report=part(report, 0, 0.02))
    try:
        result = estimate(stack, EstimateSettings(keep_volume=True), part(report, 0.02, 0.85))
        try:
            files = _write(result, options.output, None, part(report, 0.85, 0.9))
            files |= write_pictures(result, options.output)
            files |= _write_best_curve(result, options.output)
        finally:
            if result.volume is not None:
                result.volume.close()
    finally:
        stack.close()
    return result_answer(stack, result, files)


def _check_pixels(pixels: Sequence[tuple[int, int]], stack: FocalStack) -> None:
    height, width = stack.shape
    for row, column in pixels:
        if not (0 <= row < height and 0 <= column < width):
            raise SettingsError(
                f"pixel {row},{column} lies outside of {stack.name}: "
                f"rows go from 0 to {height - 1}, columns from 0 to {width - 1}."
            )


def _spare_frames(stack: FocalStack, folder: Path) -> None:
    """Refuse a folder where results would take the place of the frames that they are made from."""
    for i in range(stack.source.n):
        path = stack.source.file(i)
        if path and path.stem in _RESULT_STEMS and path.resolve().parent == folder.resolve():
            raise OutputError(f"{path} would be written over by its own result. Choose another folder with -o.")


def _write(result: DepthResult, folder: Path, image: str | None, report: Report) -> dict[str, Path]:
    from toposcope.core.export import write_result

    return write_result(result, folder, image, report)


def _all_times(options: argparse.Namespace, report: Report) -> Answer:
    """Do a time series; exit code 3 where some of its time points failed."""
    from toposcope.core.series import estimate_times, time_labels
    from toposcope.core.source import describe

    if options.time is None:
        options.time = 0  # a look at the first one; all are done
    with opened(options, part(report, 0, 0.01)) as stack:
        if not time_labels(stack):
            raise SettingsError(f"{stack.name} holds one time point only. Leave --all-times out.")
        if options.all_channels:
            _check_channels(stack)

        def more(worked: FocalStack, result: DepthResult, folder: Path, report: Report) -> None:
            if options.all_channels:
                _write_channels(worked, result, folder, report)
            if options.pictures:
                write_pictures(result, folder)

        project: Project | None = getattr(options, "project", None)
        laid = "" if project is None else f", {project.edit}, {project.left_out}"
        series = estimate_times(
            stack,
            estimate_settings(options),
            options.output,
            part(report, 0.01, 1),
            options.image,
            prepare=(lambda one: one) if project is None else project.laid_over,
            also=f"all channels {options.all_channels}, pictures {options.pictures}{laid}",
            more=more,
        )
        described = _stack_lines(describe(stack))
    old = sum(row.is_old for row in series.rows)
    done = len(series.rows) - len(series.failed)
    text = [
        *described,
        f"{'times':<12}{done} of {len(series.rows)} done{f', {old} of them before' if old else ''}",
        written_lines({"table": series.table}),
    ]
    facts = {
        "times": [{**asdict(row), "folder": None if row.folder is None else str(row.folder)} for row in series.rows],
        "files": {"table": str(series.table)},
    }
    complaints = tuple(f"{row.label}: {row.problem}" for row in series.failed)
    code = DONE if not series.failed else FAILED if not done else SOME_FAILED
    return Answer("\n".join(text), facts, complaints, code)


def _check_channels(stack: FocalStack) -> None:
    """Refuse a file with one channel before minutes are spent on its depth."""
    from toposcope.core.channels import channel_names

    if not channel_names(stack):
        raise SettingsError(f"{stack.name} holds one channel only. Leave --all-channels out.")


def _write_channels(stack: FocalStack, result: DepthResult, folder: Path, report: Report) -> dict[str, Path]:
    from toposcope.core.channels import fuse_channels
    from toposcope.core.export import write_channels

    path = folder / "all_in_focus_channels.ome.tif"
    pixel_um = result.pixel_um.value if result.pixel_um else None
    write_channels(fuse_channels(stack, result, report), path, pixel_um)
    return {"all_in_focus_channels": path}


def write_pictures(result: DepthResult, folder: Path) -> dict[str, Path]:
    """Draw the depth with its colour bar and the surface in 3D; return the files by what they show."""
    from toposcope.core.export import write_image
    from toposcope.core.pictures import map_picture, surface_picture

    pixel_um = result.pixel_um.value if result.pixel_um else None
    depth = map_picture(result.depth, result.unit_symbol, "position of best focus", pixel_um=pixel_um)
    surface = surface_picture(result.heights(), result.all_in_focus, result.pixel_pitch, result.unit_symbol)
    files = {"depth_picture": folder / "depth.png", "surface_picture": folder / "surface_3d.png"}
    write_image(depth, files["depth_picture"])
    write_image(surface, files["surface_picture"])
    return files


def _write_best_curve(result: DepthResult, folder: Path) -> dict[str, Path]:
    """Draw the focus curve of the pixel that is known best."""
    import numpy as np

    from toposcope.core.curve import curve_at
    from toposcope.core.export import write_image
    from toposcope.core.pictures import curve_picture

    row, column = np.unravel_index(int(np.nanargmax(result.confidence)), result.shape)
    path = folder / "curve.png"
    write_image(curve_picture(curve_at(result, int(row), int(column))), path)
    return {"curve_picture": path}


def _curves_answer(options: argparse.Namespace, result: DepthResult) -> Answer:
    from toposcope.core.curve import curve_at
    from toposcope.core.export import curves_csv, write_curves_csv, write_image
    from toposcope.core.pictures import curve_picture

    curves = [curve_at(result, row, column) for row, column in options.at]
    verdicts = [f"# row {curve.row}, column {curve.column}: {curve.verdict.text}" for curve in curves]
    if options.picture:
        write_image(curve_picture(curves[0]), options.picture)
    if options.output:
        write_curves_csv(curves, options.output)
    else:
        verdicts.append(curves_csv(curves).rstrip())
    method = {"method": result.provenance.method, "settings": dict(result.provenance.settings)}
    return Answer("\n".join(verdicts), {**method, "curves": [_curve_facts(curve) for curve in curves]})


def _curve_facts(curve: FocusCurve) -> dict[str, Any]:
    return {
        "row": curve.row,
        "column": curve.column,
        "unit": curve.unit_symbol,
        "depth": _number(curve.depth),
        "depth_from": curve.origin,
        "peak": _number(curve.position),
        "width": _number(curve.width),
        "verdict": {"shape": curve.verdict.shape, "text": curve.verdict.text},
        "peaks": [{"position": peak.position, "probability": peak.probability} for peak in curve.peaks],
        "positions": curve.positions.tolist(),
        "probability": curve.probability.tolist(),
        "measure": None if curve.measure is None else curve.measure.tolist(),
    }


def _number(value: float) -> float | None:
    """Return a number that JSON knows: NaN becomes null."""
    return float(value) if value == value else None


def _stack_lines(facts: dict[str, Any]) -> list[str]:
    """Say what a stack is, one line a fact."""
    from toposcope.core.source import fact_rows

    rows = [
        ("stack", facts["name"]),
        *((part["label"].lower(), _part_text(part)) for part in facts["parts"].values()),
        *fact_rows(facts),
    ]
    return [f"{name:<12}{text}" for name, text in rows]


def _part_text(part: dict[str, Any]) -> str:
    """Say which of several series, channels or time points it is, and name the others."""
    chosen, options = part["chosen"], part["options"]
    if len(options) > 8:
        return f"{chosen} {options[chosen]}, of all from 0 {options[0]} to {len(options) - 1} {options[-1]}"
    others = ", ".join(f"{k} {option}" for k, option in enumerate(options) if k != chosen)
    return f"{chosen} {options[chosen]}; also there: {others}"


def _result_rows(
    result: DepthResult, facts: dict[str, Any], told_elsewhere: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Return how a result came about and what it holds, for users; ``facts`` are those of its result.json."""
    from toposcope.core.calibration import typical_step
    from toposcope.core.curve import format_length

    depth, unit = facts["depth"], result.unit_symbol
    spread = ""
    if result.valid.any():
        resolution = typical_step(result.positions.value) / 10
        low, high = (format_length(depth[end], unit, resolution) for end in ("min", "max"))
        spread = f"{low.removesuffix(unit).rstrip()} to {high}, "
    return [
        ("method", f"{result.provenance.method}, {result.provenance.seconds:.1f} s"),
        ("alignment", result.alignment.text if result.alignment else "not wanted"),
        ("depth", f"{spread}known for {100 * depth['known_share']:.1f} % of the pixels"),
        *(("sweep", note.text) for note in result.sweep.notes if note.lack not in told_elsewhere),
    ]


def result_answer(
    stack: FocalStack, result: DepthResult, files: dict[str, Path], advice: SweepAdvice | None = None
) -> Answer:
    """Say what was computed and where it is; for machines as result.json has it, with whole paths.

    ``advice`` for a better sweep takes the place of what the result says of the same.
    """
    from toposcope.core.source import describe, describe_result

    # the alignment may have guessed anew which side is near
    described = describe(stack) | {"near": describe_result(result)["near"]}
    facts = json.loads(files["result"].read_text(encoding="utf-8"))
    rows = _result_rows(result, facts, () if advice is None else _ADVISED)
    notes = any(name == "sweep" for name, _ in rows)
    lines = advice.text.splitlines() if advice is not None and (advice.reasons or not notes) else []
    text = [
        *_stack_lines(described),
        *(f"{name:<12}{line}" for name, line in rows),
        *(f"{'next sweep':<12}{line}" for line in lines),
        written_lines(files),
    ]
    facts["files"] = {name: str(path) for name, path in files.items()}
    if advice is not None:
        facts["proposal"] = asdict(advice) | {"slices": advice.n}
    return Answer("\n".join(text), facts)
