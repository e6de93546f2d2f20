"""What a report of a measurement says: the document, from what was measured and how."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from toposcope import __version__
from toposcope.core.alike import calibrating_like, over, settings_like
from toposcope.core.calibration import Sourced
from toposcope.core.command_line import depth_command, measure_command, quoted
from toposcope.core.height_map import HeightMap, described
from toposcope.core.height_map.model import METHOD, shaded, squared
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.pictures import PRINT, View, surface_drawing
from toposcope.core.provenance import file_hash
from toposcope.core.report.contents import About, Block, Document, Figure, Items, Kept, Pair, Section, Table, Text
from toposcope.core.report.drawings import (
    figure,
    height_figure,
    picture_figure,
    places_of,
    profile_picture,
    step_names,
)
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions, describe_result
from toposcope.core.stack import Plane
from toposcope.core.surface import PARAMETER_GROUPS, Measurement, Parameter, Profile, Step, Surface, fineness_text
from toposcope.core.words import measured, number, percent
from toposcope.errors import SettingsError

KIND: Final = "Surface measurement report"
SURFACE_VIEW: Final = View(width=1300, height=800)
GLANCE: Final = ("Sa", "Sq", "Sz")
"""Parameters that are told on the first page already."""
PACKAGES: Final = ("numpy", "scipy", "opencv-python-headless")
"""Packages whose versions may matter to the last digit."""
SPIKES: Final = "spikes left out"
"""How the operation begins that has found some."""
NARROW: Final = 0.75
"""Share of its height that a figure is wide at most, where another one finds room beside it."""
NAMED: Final = 24
"""Most files that a command line names one by one."""
_PLAIN: Final = OpenOptions()


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What is told of: see `measurement_report`."""

    source: DepthResult | HeightMap
    whole: Surface
    found: Measurement
    name: str
    file: Path | None
    reading: OpenOptions
    paths: tuple[Path, ...]
    colours: str

    @property
    def result(self) -> DepthResult | None:
        """The result of a focus stack; None for heights that an instrument has measured."""
        source = self.source
        return source if isinstance(source, DepthResult) and source.provenance.method != METHOD else None


@dataclass(frozen=True, slots=True)
class _Fact:
    """A value of the calibration with its origin; ``matters`` says to what, should it be wrong."""

    name: str
    value: str
    origin: str
    guessed: bool
    matters: str

    @property
    def said(self) -> str:
        """Where the value comes from; a guess is called one."""
        reason = self.origin.removeprefix("guessed").strip()
        return (f"Guess: {reason}" if reason else "Guess") if self.guessed else self.origin


def measurement_report(
    source: DepthResult | HeightMap,
    whole: Surface,
    found: Measurement,
    about: About,
    name: str,
    file: Path | None = None,
    reading: OpenOptions = _PLAIN,
    paths: Sequence[Path] = (),
    colours: str = "viridis",
    at: datetime | None = None,
    report: Report = silent,
) -> Document:
    """Return the report of a measurement.

    Parameters
    ----------
    source : what was measured
    whole : its heights before anything was done to them, and before the area was cut out
    found : what was measured on them
    about : what the user says of it
    name : what users call the source
    file : the stored result's ``result.json`` or the height map's file; None for a result that was never stored
    reading, paths : how the stack was read, and from which files, as far as that is known
    colours : colour map of the heights
    at : date of the report, now by default
    """
    told = _Told(source, whole, found, name, file, reading, tuple(paths), colours)
    facts = _calibration(source)
    date = at or datetime.now().astimezone()
    zone = f"{date:%z}"
    when = f"{date:%Y-%m-%d, %H:%M}" + (f" (UTC{zone[:3]}:{zone[3:5]})" if zone else "")
    title = about.title.strip() or name
    heading = [("Measured", name), ("Measured by", about.author.strip()), ("Date of this report", when)]
    report(Progress(0.0, "report"))
    sections = [
        Section("Results", tuple(_glance(found)), together=True),
        Section("What was measured", (_subject(told),), together=True),
        Section("Calibration", tuple(_calibration_blocks(facts)), together=True),
        Section("What was done to the surface", tuple(_operations(told)), together=True),
        Section("Pictures", tuple(_paired(_pictures(told, report)))),
        Section("Parameters of the surface", tuple(_parameters(found))),
    ]
    if found.profiles:
        sections.append(Section("Profiles", tuple(_profiles(found, report))))
    if found.steps:
        sections.append(Section("Steps", tuple(_steps(found)), together=True))
    if caveats := tuple(_caveats(told, facts)):
        sections.append(Section("What to keep in mind", (Items(caveats),)))
    sections.append(Section("To make it again", tuple(_again(told))))
    report(Progress(1.0, "report"))
    return Document(
        title,
        KIND,
        tuple((key, text) for key, text in heading if text),
        about.note.strip(),
        tuple(sections),
        f"{title} · {date:%Y-%m-%d}",
    )


def _glance(found: Measurement) -> Iterator[Block]:
    known = {one.name: one for one in found.parameters}
    chosen = [(f"{known[key].name}, {known[key].title}", known[key].text) for key in GLANCE if key in known]
    for (a, b), step in zip(step_names(found.plan), found.steps, strict=True):
        chosen.append((f"Step, {b} over {a}", f"{measured(step.height_um)} µm"))
    for start in range(0, len(chosen), 4):
        row = chosen[start : start + 4]
        yield Table(tuple(key for key, _ in row), (tuple(text for _, text in row),), "t" * len(row))


def _subject(told: _Told) -> Table:
    source, result = told.source, told.result
    if isinstance(source, HeightMap):
        rows = [(key.capitalize(), text) for key, text in described(source)[0] if key not in ("pixel", "heights")]
        return Table((), tuple((key, text) for key, text in rows), "kt")
    if result is None:
        height, width = source.shape
        return Table((), (("Height map", told.name), ("Size", f"{width} × {height} pixels")), "kt")
    facts, provenance = describe_result(result), result.provenance
    parts = [(key.capitalize(), text) for key, text in provenance.parts.items()]
    colour = "colour" if facts["channels"] == 3 else "grey"
    settings = _settings(provenance.settings)
    rows = [
        ("Focal stack", Path(provenance.source).name or provenance.source),
        *parts,
        ("Frames", f"{facts['frames']} of {facts['width']} × {facts['height']}, {colour}, {facts['bits']} bit"),
        ("Method", provenance.method + (f"; {settings}" if settings else "")),
        ("Alignment", result.alignment.text if result.alignment else "not wanted"),
        ("Known", f"depth of {100 * float(result.valid.mean()):.1f} % of the pixels"),
        ("Computed by", f"Toposcope {provenance.version}"),
    ]
    return Table((), tuple(rows), "kt")


def _settings(settings: Mapping[str, Any]) -> str:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return number(value) if isinstance(value, float) else str(value)

    return ", ".join(f"{key} {text(value)}" for key, value in settings.items() if key not in ("align", "weights"))


def _calibration(source: DepthResult | HeightMap) -> list[_Fact]:
    across = "lengths across, slopes and volumes"
    if isinstance(source, HeightMap):
        x, y = source.pixel_x_um, source.pixel_y_um
        sides = [(("Pixel size" if source.is_square else "Pixel width"), x)]
        sides += [] if source.is_square else [("Pixel height", y)]
        found = [_Fact(key, f"{number(one.value, 6)} µm", one.origin, one.guessed, across) for key, one in sides if one]
        return [*found, _Fact("Heights", "as the file tells them", source.format, False, "")]
    size = source.pixel_um
    pixel = [_Fact("Pixel size", f"{number(size.value, 6)} µm", size.origin, size.guessed, across)] if size else []
    if source.provenance.method == METHOD:
        return [*pixel, _Fact("Heights", "as the file tells them", source.positions.origin, False, "")]
    facts, unit = describe_result(source), source.unit_symbol
    low, high = facts["range"]
    step = "unequal steps" if facts["step"] is None else f"step {number(facts['step'], 6)} {unit}"
    places = f"{number(low, 6)} to {number(high, 6)} {unit}, {step}"
    is_microscope = source.kind.value == "microscope"
    kind = "microscope: positions are heights" if is_microscope else "camera: positions are distances from the lens"

    def fact(name: str, value: str, of: Sourced[Any], matters: str) -> _Fact:
        return _Fact(name, value, of.origin, of.guessed, matters)

    found = [
        fact("Focus positions", places, source.positions, "all heights"),
        fact("Kind of stack", kind, source.kind, "how positions become heights"),
        fact("Near side", f"{source.near.value} positions", source.near, "which way is up: hills may be valleys"),
        *pixel,
    ]
    if source.objective is not None:
        found.append(fact("Objective", source.objective.value.text, source.objective, "nothing that is measured here"))
    return found


def _calibration_blocks(facts: Sequence[_Fact]) -> Iterator[Block]:
    rows = tuple((one.name, one.value, one.said) for one in facts)
    marked = frozenset(place for place, one in enumerate(facts) if one.guessed)
    yield Table(("", "Value", "Origin"), rows, "ktt", marked)
    if marked:
        yield Text("Marked values were stated by nobody: they are guesses.", "small")


def _operations(told: _Told) -> Iterator[Block]:
    surface = told.found.surface
    if surface.operations:
        yield Text("In this order; voids have no height, and nothing is filled in for them.")
        yield Items(surface.operations, numbered=True)
    else:
        yield Text("Nothing: these are the heights as they were found.")
    (height, width), (tall, wide) = surface.shape, surface.extent_um
    share = told.found.known_share
    known = "all of it" if share == 1 else f"{100 * share:.1f} % of it; {percent(1 - share)} is void"
    size = f"{width} × {height} pixels, {number(wide, 5)} × {number(tall, 5)} µm"
    yield Table((), (("Measured field", size), ("Known", known)), "kt")


def _paired(figures: Iterable[Figure]) -> Iterator[Block]:
    """Put two narrow figures that follow each other into one row."""
    waiting: Figure | None = None
    for one in figures:
        is_narrow = one.width_px < NARROW * one.height_px
        if waiting is not None and is_narrow:
            yield Pair(waiting, one)
            waiting = None
            continue
        if waiting is not None:
            yield waiting
        waiting = one if is_narrow else None
        if not is_narrow:
            yield one
    if waiting is not None:
        yield waiting


def _pictures(told: _Told, report: Report) -> Iterator[Figure]:
    found, whole = told.found, told.whole
    plan, surface = found.plan, found.surface
    texture, what = _texture(told.source)
    drawn = _drawn(told)
    report(Progress(0.1, "pictures"))
    everywhere = places_of(plan, with_area=True)
    yield picture_figure(texture, whole.pixel_um, everywhere, f"{what} of the whole field{drawn}.")
    report(Progress(0.3, "pictures"))
    area = plan.area if plan.area is not None and plan.area.shape != whole.shape else None
    corner = (area.top, area.left) if area else (0, 0)
    where = "of the measured area " if area else ""
    signs = _drawn(replace(told, found=replace(found, plan=replace(plan, area=None))))
    text = f"Heights {where}after all that was done to the surface, in µm; voids are grey{signs}."
    yield height_figure(surface.z_um, surface.pixel_um, places_of(plan, False, corner), told.colours, text)
    report(Progress(0.45, "pictures"))
    if area is not None:
        text = f"Heights of the whole field as they were found, in µm; voids are grey{drawn}."
        yield height_figure(whole.z_um, whole.pixel_um, everywhere, told.colours, text)
    report(Progress(0.6, "3D view"))
    solid, relief = surface_drawing(
        surface.z_um, None, surface.pixel_um, "µm", SURFACE_VIEW, name=told.colours, inks=PRINT
    )
    yield figure(solid, f"The measured surface in 3D, coloured by height; voids are holes; {relief}.")


def _texture(source: DepthResult | HeightMap) -> tuple[Plane, str]:
    if isinstance(source, HeightMap):
        return shaded(squared(source)), "Shaded relief"
    return source.all_in_focus, "Shaded relief" if source.provenance.method == METHOD else "All-in-focus picture"


def _drawn(told: _Told) -> str:
    """Say what the signs in a picture mean, as far as there are some."""
    plan = told.found.plan
    said = ["the frame is the measured area"] if plan.area is not None else []
    said += ["numbers are profiles, from their start to the arrow"] if plan.lines else []
    said += ["A and B are the areas of the step" + ("s" if len(plan.steps) > 1 else "")] if plan.steps else []
    return f"; {', '.join(said)}" if said else ""


def _parameters(found: Measurement) -> Iterator[Block]:
    rows: list[tuple[str, ...]] = []
    for group, title in PARAMETER_GROUPS.items():
        members = [one for one in found.parameters if one.group == group]
        rows += [(title,)] if members else []
        rows += [(one.name, *_parted(one), one.title) for one in members]
    yield Table(("Name", "Value", "", "Meaning"), tuple(rows), "knut")
    yield Text(
        "ISO 25178-2, with the shares and thresholds of ISO 25178-3. Heights count from the mean of what is known. A "
        "dash: the parameter is not defined here.",
        "small",
    )


def _parted(one: Parameter) -> tuple[str, str]:
    text = measured(one.value)
    return text, one.unit if text != "–" else ""


def _profiles(found: Measurement, report: Report) -> Iterator[Block]:
    plan, titles = found.plan, ""
    together = zip(plan.line_numbers, found.profiles, found.profile_parameters, strict=True)
    for place, (label, profile, parameters) in enumerate(together):
        report(Progress(0.8 + 0.2 * place / len(found.profiles), f"profile {label}"))
        drawn = figure(profile_picture(profile, str(label)), _profile_text(label, profile, plan.width_px))
        names, texts = tuple(one.name for one in parameters), tuple(one.text for one in parameters)
        yield Kept((drawn, Table(names, (texts,), "t" * len(names))))
        titles = ", ".join(f"{one.name} {one.title}" for one in parameters)
    yield Text(
        f"{titles}: ISO 21920-2, of the primary profile over its whole length as one section, less its line of least "
        "squares. They are no R-parameters. Gaps are voids.",
        "small",
    )


def _profile_text(label: int, profile: Profile, width_px: int) -> str:
    (top, left), (bottom, right) = profile.start, profile.end
    mean = f", mean over {width_px} lines" if width_px > 1 else ""
    return (
        f"Profile {label}: from row {top:.5g}, column {left:.5g} to row {bottom:.5g}, column {right:.5g}; "
        f"{number(profile.length_um, 5)} µm long{mean}."
    )


def _steps(found: Measurement) -> Iterator[Block]:
    for (a, b), (first, second), step in zip(step_names(found.plan), found.plan.steps, found.steps, strict=True):
        rows = (
            (
                "Height",
                f"{b} lies {measured(abs(step.height_um))} µm {'above' if step.height_um >= 0 else 'below'} {a}",
            ),
            ("Common tilt", f"{measured(step.tilt_deg)}°"),
            (f"Area {a}", f"{first.text}; {_deviation(step, 0)}"),
            (f"Area {b}", f"{second.text}; {_deviation(step, 1)}"),
        )
        yield Kept((Table((), rows, "kt"),))
    yield Text(
        "Two planes of one slope by least squares (after ISO 5436-1), and their distance along z; the deviations, root "
        "mean square, tell how even the areas are.",
        "small",
    )


def _deviation(step: Step, place: int) -> str:
    return f"{step.counts[place]} heights deviate by {measured(step.residual_um[place])} µm from the plane"


def _caveats(told: _Told, facts: Sequence[_Fact]) -> Iterator[str]:
    for one in facts:
        if one.guessed:
            reason = one.said.removeprefix("Guess").removeprefix(": ")
            because = f" ({reason})" if reason else ""
            yield f"{one.name}, {one.value}: a guess{because}. On it depends {one.matters}. State it to be sure."
    result, found = told.result, told.found
    if result is not None:
        fineness = fineness_text(found.surface.pixel_um, found.plan.settings.s_um)
        yield from [fineness] if fineness else []
        for note in result.sweep.notes:
            yield f"{note.text[:1].upper()}{note.text[1:]}"
        lost = sum(not one.registered for one in result.alignment.motions) if result.alignment else 0
        if lost:
            yield f"{lost} of {len(result.provenance.frames)} frames could not be aligned with the others."
    if found.known_share < 1:
        yield f"{percent(1 - found.known_share)} of the measured field is void: all numbers are of the rest."
    if any(one.startswith(SPIKES) for one in found.surface.operations):
        yield "Spikes were left out: peaks and pits of a few pixels may be among them."
    elif not found.plan.settings.outliers:
        yield "Sz, Sp and Sv are made by single pixels: a spike that was not left out is in them."


def _again(told: _Told) -> Iterator[Block]:
    commands, remark = _commands(told)
    if commands:
        yield Text("\n".join(quoted(one) for one in commands), "command")
    if remark:
        yield Text(remark, "small")
    result = told.result
    rows = [("Report", f"Toposcope {__version__}, Python {platform.python_version()}")]
    rows += [("Depth", f"Toposcope {result.provenance.version}")] if result is not None else []
    packages = []
    for package in PACKAGES:
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # in a bundle
            continue
    rows += [("With", ", ".join(packages))] if packages else []
    yield Table(("Versions", ""), tuple(rows), "kt")
    hashes = {told.file.name: file_hash(told.file)} if told.file is not None else {}
    if result is not None:
        hashes |= result.provenance.inputs
        weights = result.provenance.settings.get("weights")
        hashes |= {f"weights of {result.provenance.method}": str(weights)} if weights else {}
    if hashes:
        yield Table(("Input", "SHA-256"), tuple(hashes.items()), "tc")


def _commands(told: _Told) -> tuple[list[list[str]], str]:
    """Return the command lines that make it again, and what is to be said of them."""
    plan, result, file = told.found.plan, told.result, told.file
    if result is None:
        return ([measure_command(file, plan)], "") if file is not None else ([], "")
    stored = file.parent if file is not None else None
    source = Path(result.provenance.source)
    folder = stored if stored is not None else Path(f"{source.stem or source.name}-depth")
    commands = [measure_command(folder, plan)]
    try:
        reading = over(calibrating_like(result).typed, told.reading)
        sources = told.paths if 0 < len(told.paths) <= NAMED else (source,)
        commands.insert(0, depth_command(sources, folder, settings_like(result), reading))
    except SettingsError as error:
        return commands, f"How the depth itself was computed fits in no command line: {error}"
    several = ""
    if told.reading == _PLAIN and result.provenance.parts:
        names = ", ".join(f"{key} {text}" for key, text in result.provenance.parts.items())
        several = f" The file holds several stacks: choose {names} by its number (toposcope info tells it)."
    count = len(result.provenance.frames)
    return commands, f"The first line must find the same {count} frames, those of the hashes below.{several}"
