"""What the window would do, as a command line for scripts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from shlex import quote

from toposcope.core.estimate import find_method
from toposcope.core.export import ExportOptions
from toposcope.core.method import EstimateSettings
from toposcope.core.source import OpenOptions
from toposcope.core.surface import Area, Plan, SurfaceSettings
from toposcope.errors import SettingsError

_PLAIN = OpenOptions()


def depth_command(
    paths: Sequence[Path], output: Path, settings: EstimateSettings, reading: OpenOptions = _PLAIN
) -> list[str]:
    """Return the arguments of `toposcope depth` for a stack, the program's name first.

    Raises
    ------
    SettingsError
        If positions were typed in one by one, which no command line holds.
    """
    named = [str(path) for path in paths]
    return ["toposcope", "depth", *named, "-o", str(output), *method_arguments(settings), *reading_arguments(reading)]


def batch_command(
    paths: Sequence[Path],
    output: Path,
    settings: EstimateSettings,
    reading: OpenOptions = _PLAIN,
    formats: Sequence[str] = (),
    export_options: ExportOptions | None = None,
    anew: bool = False,
) -> list[str]:
    """Return the arguments of `toposcope batch`; as `depth_command`."""
    found = [
        "toposcope",
        "batch",
        *(str(path) for path in paths),
        "-o",
        str(output),
        *method_arguments(settings),
        *reading_arguments(reading),
    ]
    for name in formats:
        found += ["--to", name]
    for one in fields(ExportOptions) if export_options is not None else ():
        value = getattr(export_options, one.name)
        if value != one.default:
            found += ["--export-set", f"{one.name}={value}"]
    return [*found, "--again"] if anew else found


def measure_command(result: Path, plan: Plan) -> list[str]:
    """Return the arguments of `toposcope measure` for a stored result or a height map, the program's name first."""
    found, settings = ["toposcope", "measure", str(result)], plan.settings
    if plan.area is not None:
        found += ["--area", _corners(plan.area)]
    found += ["--outliers"] if settings.outliers else []
    if settings.form != SurfaceSettings().form:
        found += ["--form", settings.form]
    for name, value in (("--s-filter", settings.s_um), ("--l-filter", settings.l_um)):
        found += [name, f"{_plain(value)}um"] if value else []
    for line in plan.lines:
        found += ["--profile", ":".join(f"{_plain(row)},{_plain(column)}" for row, column in line)]
    if plan.lines and plan.width_px != 1:
        found += ["--profile-width", str(plan.width_px)]
    for first, second in plan.steps:
        found += ["--step", _corners(first), _corners(second)]
    return found


def _corners(area: Area) -> str:
    return f"{area.top},{area.left}:{area.bottom - 1},{area.right - 1}"


def _plain(value: float) -> str:
    """Return a number in full digits and without an exponent."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def quoted(arguments: Sequence[str]) -> str:
    """Return arguments as one line for the shell of this system."""
    if sys.platform == "win32":
        return subprocess.list2cmdline(arguments)
    return " ".join(quote(one) for one in arguments)


def method_arguments(settings: EstimateSettings) -> list[str]:
    """Return method, settings and machine as options, as far as they are not the defaults."""
    card, plain = find_method(settings.method), EstimateSettings()
    options, usual = card.checked(settings.options), card.checked()
    found = [] if settings.method == plain.method else ["--method", settings.method]
    for one in fields(card.settings):
        value = getattr(options, one.name)
        if value != getattr(usual, one.name):
            found += ["--set", f"{one.name}={value}"]
    for name in ("align", "device", "threads", "weights"):
        value = getattr(settings, name)
        if value != getattr(plain, name):
            found += [f"--{name}", str(value)]
    return found


def reading_arguments(reading: OpenOptions) -> list[str]:
    """Return how a stack is read as options.

    Raises
    ------
    SettingsError
        If positions were typed in one by one, or only some files of a folder are meant.
    """
    if reading.positions is not None:
        raise SettingsError(
            "positions that were typed in one by one fit in no command line. Write them into a text file, one a line, "
            "and add --positions FILE yourself."
        )
    if reading.only is not None:
        raise SettingsError("a folder of which only some files are meant fits in no command line.")
    found: list[str] = []
    unit = reading.unit
    if reading.order != _PLAIN.order:
        found += ["--order", reading.order]
    for name in ("reverse", "skip_broken"):
        found += [f"--{name.replace('_', '-')}"] if getattr(reading, name) else []
    for frame in reading.skip:
        found += ["--skip", str(frame)]
    if reading.positions_file is not None:
        found += ["--positions", str(reading.positions_file)]
    if reading.z_step is not None:
        own = unit if unit not in (None, "index") else "um"
        found += ["--z-step", f"{reading.z_step:.10g}{own}"]
        unit = None if unit == own else unit
    if unit is not None:
        found += ["--unit", unit]
    for name in ("kind", "near", "series", "channel", "time"):
        value = getattr(reading, name)
        if value is not None:
            found += [f"--{name}", str(value)]
    if reading.pixel_um is not None:
        found += ["--pixel-size", f"{reading.pixel_um:.10g}um"]
    return found
