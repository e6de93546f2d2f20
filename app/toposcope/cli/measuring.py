"""`toposcope measure`: levelling, filters, ISO 25178 parameters, profiles and steps of a stored result."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toposcope.cli.comparing import read_heights, result_name
from toposcope.cli.options import Answer, Commands, add_command, check_folder, count, length, written_lines
from toposcope.core.jobs import Report, part
from toposcope.core.words import measured, number
from toposcope.errors import SettingsError

if TYPE_CHECKING:
    from toposcope.core.height_map import HeightMap
    from toposcope.core.result import DepthResult
    from toposcope.core.surface import Area, Measurement, Parameter, Plan, Surface, SurfaceSettings

REPORT_NAME = "report.html"
"""Of a report in the folder of what is measured."""

Corners = tuple[tuple[float, float], tuple[float, float]]


def add_measure(commands: Commands) -> None:
    """Add `toposcope measure`."""
    text = (
        "measure the surface of a result of `toposcope depth`, or a height map: ISO 25178 parameters, profiles, steps"
    )
    parser = add_command(commands, "measure", _measure, text)
    what = "folder of a result, its result.json, or a height map such as X3P or GWY"
    parser.add_argument("result", type=Path, metavar="RESULT", help=what)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder for parameters.csv, profile_1.csv ..., surface.tif (the heights that were measured) and "
        "measure.json (default: nothing is written)",
    )
    parser.add_argument(
        "--like",
        type=Path,
        metavar="PROJECT",
        help="filters, area, lines and step of a project of the window; what is typed here wins",
    )
    group = parser.add_argument_group("what is done before (to a copy: the result stays as it is)")
    group.add_argument(
        "--area",
        type=corners,
        metavar="ROW,COL:ROW,COL",
        help="only these pixels, by two opposite corners (default: all)",
    )
    group.add_argument("--outliers", action="store_true", default=None, help="leave out spikes")
    group.add_argument(
        "--form",
        choices=("none", "plane", "quadratic", "cubic"),
        help="removed by least squares (default: plane)",
    )
    group.add_argument(
        "--s-filter", type=length, metavar="LENGTH", help="remove what is finer, such as 2.5um (default: nothing)"
    )
    group.add_argument(
        "--l-filter", type=length, metavar="LENGTH", help="remove what is coarser, such as 80um (default: nothing)"
    )
    group = parser.add_argument_group("what is measured beside the whole (both may be given several times)")
    group.add_argument(
        "--profile",
        action="append",
        default=[],
        type=corners,
        metavar="ROW,COL:ROW,COL",
        help="heights along a line, and their parameters",
    )
    group.add_argument("--profile-width", type=count, metavar="N", help="mean over so many parallel lines (default: 1)")
    group.add_argument(
        "--step",
        action="append",
        default=[],
        nargs=2,
        type=corners,
        metavar="ROW,COL:ROW,COL",
        help="height of the second area over the first",
    )
    group = parser.add_argument_group("report (one HTML file to read, print and hand on)")
    group.add_argument(
        "--report",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE.html",
        help="write what was measured, how, pictures and numbers; without FILE: report.html in the folder of -o",
    )
    group.add_argument("--title", metavar="TEXT", help="of the report (default: the name of what was measured)")
    group.add_argument("--author", metavar="TEXT", help="who measured")
    group.add_argument("--note", metavar="TEXT", help="what the report shall say besides")


def corners(text: str) -> Corners:
    """Read two points: ROW,COL:ROW,COL."""
    point = r"(-?\d+(?:\.\d*)?),(-?\d+(?:\.\d*)?)"
    match = re.fullmatch(rf"\s*{point}\s*:\s*{point}\s*", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no two pixels; write ROW,COL:ROW,COL such as 10,20:90,140")
    a, b, c, d = (float(part) for part in match.groups())
    return (a, b), (c, d)


def _measure(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.export import made_folder, together
    from toposcope.core.height_map import HeightMap
    from toposcope.core.surface import height_surface, measure, surface_of, write_measurement

    plan = _plan(options)
    if options.output is not None:
        check_folder(options.output)
    page = _report_path(options)
    source = read_heights(options.result, part(report, 0.0, 0.1))
    surface = height_surface(source, part(report, 0.1, 0.2)) if isinstance(source, HeightMap) else surface_of(source)
    found = measure(surface, plan, _origin(options.result, source), part(report, 0.2, 0.7))
    files: dict[str, Path] = {}
    with together():
        if page is not None:
            made_folder(page.parent)
            _write_report(page, options, source, surface, found, part(report, 0.7, 0.9))
            files["report"] = page
        if options.output is not None:
            files |= write_measurement(found, options.output, part(report, 0.9, 1.0))
    text = "\n".join([*_lines(found), *([written_lines(files)] if files else [])])
    return Answer(text, {**found.facts(), "files": {name: str(path) for name, path in files.items()}})


def _report_path(options: argparse.Namespace) -> Path | None:
    """Return where the report goes, None where none is wanted.

    Raises
    ------
    SettingsError
        If the options do not say where, or ask for something else than HTML.
    """
    path: Path | None = options.report
    if path is None:
        for name in ("title", "author", "note"):
            if getattr(options, name) is not None:
                raise SettingsError(f"--{name} is what a report says, and none is asked for. Add --report FILE.html.")
        return None
    if path == Path():
        if options.output is None:
            raise SettingsError("--report needs the name of a file, such as report.html, where there is no folder -o.")
        return Path(options.output) / REPORT_NAME
    if path.suffix.lower() == ".pdf":
        raise SettingsError(
            f"{path.name}: the command line writes reports as HTML; end the name in .html. A browser prints that as "
            "PDF, and so does the window: Measure > Save a report."
        )
    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"a report is an HTML file, and {path.name} is named otherwise. End the name in .html.")
    return path


def _write_report(
    path: Path,
    options: argparse.Namespace,
    source: DepthResult | HeightMap,
    surface: Surface,
    found: Measurement,
    report: Report,
) -> None:
    from toposcope.core.report import About, measurement_report, write_report

    about = About(options.title or "", options.author or "", options.note or "")
    file = _measured_file(options.result)
    name = str(found.origin["measured"])
    write_report(measurement_report(source, surface, found, about, name, file, report=report), path)


def _plan(options: argparse.Namespace) -> Plan:
    """Return what is to be measured: as the options say, and where they say nothing as a project does."""
    from toposcope.core.marks import Marks
    from toposcope.core.project import read_project
    from toposcope.core.surface import SurfaceSettings

    project = read_project(options.like) if options.like is not None else None
    usual = SurfaceSettings() if project is None else project.surface
    plan = Marks().plan(usual, 1) if project is None else project.marks.plan(usual, project.profile_width)
    given: dict[str, Any] = {"settings": _settings(options, usual)}
    if options.area is not None:
        given["area"] = _area(options.area)
    if options.profile_width is not None:
        given["width_px"] = options.profile_width
    if options.profile:
        given |= {"lines": tuple(options.profile), "numbers": ()}
    if options.step:
        given["steps"] = tuple((_area(a), _area(b)) for a, b in options.step)
    return replace(plan, **given)


def _settings(options: argparse.Namespace, usual: SurfaceSettings) -> SurfaceSettings:
    """Return ``usual`` with what the options say."""
    from toposcope.core.calibration import MICROMETRES

    changes: dict[str, Any] = {}
    for name, field, given in (("--s-filter", "s_um", options.s_filter), ("--l-filter", "l_um", options.l_filter)):
        if given:
            changes[field] = value = given[0] * MICROMETRES[given[1]]
            if value < 0:
                raise SettingsError(f"{name} is a length above 0, found {value:g} µm.")
    given = {"form": options.form, "outliers": options.outliers}
    return replace(usual, **changes, **{name: value for name, value in given.items() if value is not None})


def _area(two: Corners) -> Area:
    from toposcope.core.surface import Area

    return Area.of_corners(*two)


def _origin(path: Path, source: DepthResult | HeightMap) -> dict[str, Any]:
    """Return what was measured, for machines: enough to find it again."""
    from toposcope.core.height_map import HeightMap
    from toposcope.core.provenance import file_hash
    from toposcope.core.surface import measured_facts

    file = _measured_file(path)
    name = source.name if isinstance(source, HeightMap) else result_name(path, source)
    return {**measured_facts(source, name), "path": str(path), "sha256": {file.name: file_hash(file)}}


def _measured_file(path: Path) -> Path:
    """Return the file that what was measured was read from."""
    from toposcope.core.result import RESULT_NAME

    return path / RESULT_NAME if path.is_dir() else path


def _lines(found: Measurement) -> list[str]:
    """Return what was found, for reading."""
    height, width = found.surface.shape
    pixel = found.surface.pixel_um
    tall, wide = found.surface.extent_um
    facts = found.facts()
    near = facts.get("near")
    lines = [
        f"{'surface':<12}{facts['measured']}",
        f"{'size':<12}{width} × {height} pixels, {number(wide, 5)} × {number(tall, 5)} µm, "
        f"{100 * found.known_share:.1f} % known",
        f"{'pixel size':<12}{number(pixel, 5)} µm ({facts['pixel']['origin']})",
        *([f"{'near side':<12}{near['value']} positions ({near['origin']})"] if near else []),
    ]
    lines += [f"{'done' if k == 0 else '':<12}{one}" for k, one in enumerate(found.surface.operations)]
    lines += _parameter_lines(found.parameters)
    for k, (profile, parameters) in enumerate(zip(found.profiles, found.profile_parameters, strict=True), 1):
        ends = " to ".join(f"{row:g},{column:g}" for row, column in (profile.start, profile.end))
        lines += [f"profile {k:<4}{ends}, {number(profile.length_um, 5)} µm", *_parameter_lines(parameters)]
    for k, step in enumerate(found.steps, 1):
        a, b = (_length(value) for value in step.residual_um)
        lines.append(
            f"step {k:<7}{_length(step.height_um)}, common tilt {step.tilt_deg:.3g}°; deviations from the planes {a} "
            f"({step.counts[0]} heights) and {b} ({step.counts[1]})"
        )
    return lines


def _parameter_lines(parameters: tuple[Parameter, ...]) -> list[str]:
    from toposcope.core.surface import parameter_rows

    return [f"{name:<12}{text:<18}{title}" for name, text, title in parameter_rows(parameters)]


def _length(value: float) -> str:
    return f"{measured(value)} µm"
