"""A whole measurement: prepared surface, parameters, profiles and steps, for reading and as files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from toposcope import __version__
from toposcope.core.export import made_folder, together, write_bytes, write_float_tiff
from toposcope.core.height_map.model import HeightMap
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.result import DepthResult
from toposcope.core.surface.areal import areal_parameters
from toposcope.core.surface.model import Area, Parameter, Surface
from toposcope.core.surface.preparing import SurfaceSettings, prepared
from toposcope.core.surface.profile import Profile, profile_along, profile_csv, profile_parameters
from toposcope.core.surface.step import Step, step_height
from toposcope.errors import SettingsError

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, in pixels of the whole surface.

    ``area`` None takes all of it; ``lines`` are the ends of profiles, (row, column) each, ``width_px`` parallel lines
    wide; ``numbers`` (of lines) are those that users know them by, 1, 2 ... where none are given; ``steps`` are pairs
    of areas, of which the second is measured over the first.
    """

    settings: SurfaceSettings = field(default_factory=SurfaceSettings)
    area: Area | None = None
    lines: tuple[tuple[Point, Point], ...] = ()
    width_px: int = 1
    steps: tuple[tuple[Area, Area], ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def line_numbers(self) -> tuple[int, ...]:
        """The number of each line."""
        return self.numbers or tuple(range(1, len(self.lines) + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What was measured by a plan; points of profiles are those of the whole surface.

    ``origin`` says what was measured, for machines.
    """

    plan: Plan
    surface: Surface
    parameters: tuple[Parameter, ...]
    profiles: tuple[Profile, ...]
    profile_parameters: tuple[tuple[Parameter, ...], ...]
    steps: tuple[Step, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known_share(self) -> float:
        """The share of the prepared surface that is known."""
        return float(np.isfinite(self.surface.z_um).mean())

    def facts(self) -> dict[str, Any]:
        """Return everything for machines: plain numbers, None where one is not defined."""
        plan = self.plan
        return {
            "toposcope": __version__,
            **self.origin,
            "shape": list(self.surface.shape),
            "pixel_um": self.surface.pixel_um,
            "known_share": self.known_share,
            "settings": asdict(plan.settings),
            "area": plan.area and asdict(plan.area),
            "operations": list(self.surface.operations),
            "parameters": _values(self.parameters),
            "units": {one.name: one.unit for one in self.parameters},
            "profiles": [
                {
                    "number": number,
                    "start": list(profile.start),
                    "end": list(profile.end),
                    "length_um": profile.length_um,
                    "width_px": plan.width_px,
                    "parameters": _values(parameters),
                }
                for number, profile, parameters in zip(
                    plan.line_numbers, self.profiles, self.profile_parameters, strict=True
                )
            ],
            "steps": [
                {"a": asdict(a), "b": asdict(b), **asdict(step)}
                for (a, b), step in zip(plan.steps, self.steps, strict=True)
            ],
        }


def measured_facts(source: DepthResult | HeightMap, name: str) -> dict[str, Any]:
    """Return what was measured, for machines: the ``origin`` of a measurement. ``name`` is what users call it."""
    if isinstance(source, HeightMap):
        size = source.pixel_x_um
        more: dict[str, Any] = {"format": source.format, "instrument": source.instrument or None}
    else:
        size, near = source.pixel_um, source.near
        more = {
            "near": {"value": near.value, "origin": near.origin, "guessed": near.guessed},
            "provenance": asdict(source.provenance),
        }
    return {"measured": name, "pixel": size and {"origin": size.origin, "guessed": size.guessed}, **more}


def measure(
    surface: Surface, plan: Plan, origin: Mapping[str, Any] | None = None, report: Report = silent
) -> Measurement:
    """Measure a surface by a plan.

    Profiles and steps are taken from the prepared surface; what lies outside of the area is void to profiles.

    Raises
    ------
    SettingsError
        If an area, or the end of a profile, lies outside, a setting is out of its range or does not suit the area.
    StackError
        If too little is known.
    """
    for area in (*([plan.area] if plan.area else []), *(area for pair in plan.steps for area in pair)):
        _check_area(area, surface.shape)
    for point in (point for line in plan.lines for point in line):
        _check_point(point, surface.shape)
    ready = prepared(surface, plan.settings, plan.area, part(report, 0.0, 0.5))
    parameters = areal_parameters(ready, part(report, 0.5, 0.9))
    report(Progress(0.9, "profiles and steps"))
    profiles = [profile_on(ready, plan, line) for line in plan.lines]
    steps = [step_on(ready, plan, pair) for pair in plan.steps]
    of_profiles = tuple(profile_parameters(profile) for profile in profiles)
    report(Progress(1.0, "measured"))
    return Measurement(plan, ready, parameters, tuple(profiles), of_profiles, tuple(steps), origin or {})


def profile_on(ready: Surface, plan: Plan, line: tuple[Point, Point]) -> Profile:
    """Return the profile between two points of the whole surface; ``ready`` is what was prepared of the plan's area."""
    down, right = (plan.area.top, plan.area.left) if plan.area else (0, 0)
    start, end = ((row - down, column - right) for row, column in line)
    return replace(profile_along(ready, start, end, plan.width_px), start=line[0], end=line[1])


def step_on(ready: Surface, plan: Plan, pair: tuple[Area, Area]) -> Step:
    """Return the step between two areas of the whole surface; ``ready`` is what was prepared of the plan's area.

    Raises
    ------
    SettingsError
        If one of them reaches out of the plan's area, or both overlap.
    StackError
        If too little is known to tell their slope.
    """
    down, right = (plan.area.top, plan.area.left) if plan.area else (0, 0)
    moved = [Area(one.top - down, one.left - right, one.bottom - down, one.right - right) for one in pair]
    if plan.area:
        for area, one in zip(pair, moved, strict=True):
            if one.clipped(ready.shape) != one:
                raise SettingsError(
                    f"the area of a step, {area.text}, reaches out of the measured area, {plan.area.text}. Choose "
                    "it within."
                )
    return step_height(ready, moved[0], moved[1])


def _check_area(area: Area, shape: tuple[int, int]) -> None:
    if area.clipped(shape) != area or 0 in area.shape:
        raise SettingsError(f"the area, {area.text}, reaches out of the surface, {_size(shape)}. Choose it within.")


def _check_point(point: Point, shape: tuple[int, int]) -> None:
    if not all(0 <= at <= n - 1 for at, n in zip(point, shape, strict=True)):
        raise SettingsError(
            f"the profile's end at row {point[0]:g}, column {point[1]:g} lies outside of the surface, {_size(shape)}. "
            "Choose it within."
        )


def _size(shape: tuple[int, int]) -> str:
    return f"rows 0 to {shape[0] - 1}, columns 0 to {shape[1] - 1}"


def _values(parameters: Iterable[Parameter]) -> dict[str, float | None]:
    return {one.name: one.value if math.isfinite(one.value) else None for one in parameters}


def parameters_csv(measurement: Measurement) -> str:
    """Return all numbers as CSV text: ``of,name,value,unit,title``; values are empty where not defined.

    ``of`` is the surface, or a profile or step by its number.
    """
    lines: list[Sequence[str]] = [["of", "name", "value", "unit", "title"]]

    def add(of: str, parameters: Iterable[Parameter]) -> None:
        for one in parameters:
            value = f"{one.value:.9g}" if math.isfinite(one.value) else ""
            lines.append([of, one.name, value, one.unit, one.title])

    add("surface", measurement.parameters)
    for k, parameters in zip(measurement.plan.line_numbers, measurement.profile_parameters, strict=True):
        add(f"profile {k}", parameters)
    for k, step in enumerate(measurement.steps, 1):
        add(f"step {k}", step_parameters(step))
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def step_parameters(step: Step) -> tuple[Parameter, ...]:
    """Return the numbers of a step, to be listed beside those of surfaces and profiles."""
    return (
        Parameter("height", "the second area over the first", step.height_um, "µm", "step"),
        Parameter("tilt", "slope that both have in common", step.tilt_deg, "°", "step"),
        Parameter("residual 1", "root mean square deviation from the first plane", step.residual_um[0], "µm", "step"),
        Parameter("residual 2", "root mean square deviation from the second plane", step.residual_um[1], "µm", "step"),
    )


def write_measurement(measurement: Measurement, folder: Path | str, report: Report = silent) -> dict[str, Path]:
    """Write parameters.csv, profile_1.csv ..., surface.tif and measure.json: all or none.

    ``folder`` is made where missing. surface.tif holds float32 heights in µm, NaN in voids. Profiles that an earlier
    measurement has written there, and this one has not, go. Returns the files by what they hold.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    folder = made_folder(folder)
    surface = measurement.surface
    files = {"parameters": folder / "parameters.csv"}
    numbers = measurement.plan.line_numbers
    files |= {f"profile_{k}": folder / f"profile_{k}.csv" for k in numbers}
    files |= {"surface": folder / "surface.tif", "measurement": folder / "measure.json"}
    facts = {**measurement.facts(), "files": {what: path.name for what, path in files.items()}}
    former = _written_profiles(files["measurement"])
    with together():
        report(Progress(0.0, "writing"))
        write_bytes(files["parameters"], parameters_csv(measurement).encode("utf-8-sig"))
        for k, profile in zip(numbers, measurement.profiles, strict=True):
            write_bytes(files[f"profile_{k}"], profile_csv(profile).encode("utf-8-sig"))
        heights = surface.z_um.astype(np.float32)
        write_float_tiff(heights, files["surface"], "um", surface.pixel_um, "surface")
        text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_bytes(files["measurement"], text.encode())
    for name in former - {path.name for path in files.values()}:
        with suppress(OSError):
            (folder / name).unlink()
    report(Progress(1.0, "written"))
    return files


def _written_profiles(file: Path) -> set[str]:
    """Return the names of the profiles that the measurement in ``file`` has written; none if there is none."""
    try:
        names = json.loads(file.read_text("utf-8"))["files"].values()
        return {name for name in names if re.fullmatch(r"profile_\d+\.csv", name)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
