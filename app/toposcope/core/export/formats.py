"""Every format that results are written in, behind one door."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from toposcope.core.curve import FocusCurve
from toposcope.core.export.glb import write_glb
from toposcope.core.export.images import (
    pixel_size,
    write_confidence_tiff,
    write_depth_png16,
    write_depth_tiff,
    write_image,
)
from toposcope.core.export.mesh import write_ply, write_stl
from toposcope.core.export.stored import write_result_json
from toposcope.core.export.surfaces import write_gwy, write_x3p
from toposcope.core.export.tables import write_curves_csv, write_pins_csv
from toposcope.core.export.writing import made_folder, together
from toposcope.core.height_map.model import HeightMap, as_result, from_result
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.result import RESULT_NAME, DepthResult
from toposcope.core.settings import setting
from toposcope.errors import OutputError, SettingsError

Needs = Literal["depth", "curves"]
Curves = Sequence[FocusCurve]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What formats may be told; those that it does not concern take no notice."""

    max_points: int = setting(
        2_000_000, "Points at most", "of a 3D mesh; larger maps are thinned evenly", minimum=1000, maximum=100_000_000
    )
    cut_steps: float = setting(
        0.0,
        "Cut at steps",
        "leave out triangles that climb more than so many slices; 0 keeps all",
        minimum=0.0,
        maximum=1000.0,
        unit="slices",
    )
    true_size: bool = setting(
        False, "True size", "of a GLB model; else a power of ten makes it 10 cm to 1 m wide, since viewers clip less"
    )


@dataclass(frozen=True, slots=True)
class FormatCard:
    """One format: ``file_name`` is proposed, ``needs`` says what must be there, ``write`` returns all files.

    ``write_heights`` writes a height map of an instrument with its heights and pixels as they are; None where it is
    written as the result that it passes for, if at all.
    """

    name: str
    title: str
    file_name: str
    needs: Needs
    write: Callable[[DepthResult, Path, ExportOptions, Curves, Report], tuple[Path, ...]]
    write_heights: Callable[[HeightMap, Path, Report], None] | None = None

    @property
    def extension(self) -> str:
        """The suffix of the file, with its dot."""
        return Path(self.file_name).suffix


def _depth(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_depth_tiff(result, path)
    return (path,)


def _depth16(
    result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report
) -> tuple[Path, ...]:
    return path, write_depth_png16(result, path)


def _confidence(
    result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report
) -> tuple[Path, ...]:
    write_confidence_tiff(result, path)
    return (path,)


def _picture(
    result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report
) -> tuple[Path, ...]:
    write_image(result.all_in_focus, path, result.tags, pixel_size(result))
    return (path,)


def _ply(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_ply(result, path, options.max_points, options.cut_steps, True, report)
    return (path,)


def _points(
    result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report
) -> tuple[Path, ...]:
    write_ply(result, path, options.max_points, options.cut_steps, False, report)
    return (path,)


def _stl(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_stl(result, path, options.max_points, options.cut_steps, report)
    return (path,)


def _glb(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_glb(result, path, options.max_points, options.cut_steps, options.true_size, report)
    return (path,)


def _x3p(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_x3p(from_result(result), path, report)
    return (path,)


def _gwy(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_gwy(from_result(result), path, report)
    return (path,)


def _curves(
    result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report
) -> tuple[Path, ...]:
    write_curves_csv(curves, path)
    return (path,)


def _pins(result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report) -> tuple[Path, ...]:
    write_pins_csv(curves, path)
    return (path,)


def _result(
    result: DepthResult, path: Path, options: ExportOptions, curves: Curves, report: Report
) -> tuple[Path, ...]:
    if path.name != RESULT_NAME:
        raise OutputError(f"a whole result is written as a folder with {RESULT_NAME} in it, not as {path.name}.")
    return tuple(write_result(result, path.parent, report=report).values())


FORMATS: Final[dict[str, FormatCard]] = {
    card.name: card
    for card in (
        FormatCard("result", "Everything: depth, confidence, picture, provenance", RESULT_NAME, "depth", _result),
        FormatCard("depth", "Depth, 32-bit TIFF with calibration", "depth.tif", "depth", _depth),
        FormatCard("depth16", "Depth, 16-bit PNG with scale and offset", "depth16.png", "depth", _depth16),
        FormatCard("confidence", "Confidence, 32-bit TIFF", "confidence.tif", "depth", _confidence),
        FormatCard("picture_tif", "All-in-focus picture, TIFF, full bit depth", "all_in_focus.tif", "depth", _picture),
        FormatCard("picture_png", "All-in-focus picture, PNG, full bit depth", "all_in_focus.png", "depth", _picture),
        FormatCard("picture_jpg", "All-in-focus picture, JPEG, 8 bit", "all_in_focus.jpg", "depth", _picture),
        FormatCard("ply", "3D mesh with colours, PLY", "surface.ply", "depth", _ply),
        FormatCard("points", "3D points with colours, PLY", "points.ply", "depth", _points),
        FormatCard("stl", "3D mesh, STL", "surface.stl", "depth", _stl),
        FormatCard("glb", "3D model under its picture, GLB", "surface.glb", "depth", _glb),
        FormatCard("x3p", "Height map, X3P (ISO 25178-72)", "surface.x3p", "depth", _x3p, write_x3p),
        FormatCard("gwy", "Height map, GWY (Gwyddion)", "surface.gwy", "depth", _gwy, write_gwy),
        FormatCard("curves", "Focus curves of the pins, CSV", "curves.csv", "curves", _curves),
        FormatCard("pins", "Pins with depth and verdict, CSV", "pins.csv", "curves", _pins),
    )
}
"""All formats by name, in the order in which they are shown."""

HEIGHT_MAP_FORMATS: Final = ("x3p", "gwy", "ply", "points", "stl", "glb", "depth", "depth16")
"""Formats that a height map of an instrument can be written in: those that show heights."""


def find_format(name: str) -> FormatCard:
    """Return the card of a format.

    Raises
    ------
    SettingsError
        If there is no such format.
    """
    if name not in FORMATS:
        raise SettingsError(f"there is no format '{name}'. Choose one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def export(
    result: DepthResult | HeightMap,
    format_name: str,
    path: Path | str,
    options: ExportOptions = ExportOptions(),
    report: Report = silent,
    curves: Curves = (),
) -> tuple[Path, ...]:
    """Write a result, or a height map of an instrument, in one format and return the files.

    >>> export(result, "ply", folder / FORMATS["ply"].file_name)                # doctest: +SKIP

    Height maps go into `HEIGHT_MAP_FORMATS`, under their own name. X3P and GWY keep their heights and pixels as they
    are; the others have square pixels and count heights from the lowest. A file that would take the place of the one
    that was read gets "-converted" in its name.

    Parameters
    ----------
    path : the file, or a folder that is there already, in which the format's usual name is taken
    curves : of the pins, for the formats that need them

    Raises
    ------
    SettingsError
        If there is no such format, or it does not show the heights of a height map.
    OutputError
        If the file cannot be written, or curves are needed and none given.
    """
    if isinstance(result, HeightMap):
        return _export_height_map(result, format_name, Path(path), options, report)
    card = find_format(format_name)
    if card.needs == "curves" and not curves:
        raise OutputError(f"{card.file_name} needs at least one pin. Click a pixel to set one.")
    path = Path(path)
    return card.write(result, path / card.file_name if os.path.isdir(path) else path, options, curves, report)


def _export_height_map(
    height_map: HeightMap, format_name: str, path: Path, options: ExportOptions, report: Report
) -> tuple[Path, ...]:
    if format_name not in HEIGHT_MAP_FORMATS:
        known = ", ".join(HEIGHT_MAP_FORMATS)
        raise SettingsError(f"a height map cannot be written as '{format_name}'. Choose one of: {known}.")
    card = FORMATS[format_name]
    if os.path.isdir(path):
        path = path / _own_name(height_map, card)
    if height_map.path is not None and os.path.exists(path) and os.path.samefile(path, height_map.path):
        path = path.with_name(f"{path.stem}-converted{path.suffix}")
    if card.write_heights is not None:
        card.write_heights(height_map, path, report)
        return (path,)
    return card.write(as_result(height_map), path, options, (), report)


def _own_name(height_map: HeightMap, card: FormatCard) -> str:
    """Return the name of a height map's file in a format: another one for each, though two may share a suffix."""
    if height_map.path is None:
        return card.file_name
    first = next(name for name in HEIGHT_MAP_FORMATS if FORMATS[name].extension == card.extension)
    return f"{height_map.path.stem}{'' if first == card.name else f'-{card.name}'}{card.extension}"


def write_result(
    result: DepthResult, directory: Path | str, image: str | None = None, report: Report = silent
) -> dict[str, Path]:
    """Write a result as a folder: depth.tif, confidence.tif, all_in_focus and, last, result.json; all or none.

    Parameters
    ----------
    image : tif, png or jpg; None takes that of the frames where it holds their bit depth

    Returns
    -------
    The files by what they hold: depth, confidence, all_in_focus, result.
    """
    folder = made_folder(directory)
    image = image or _own_format(result)
    files = {
        "depth": folder / "depth.tif",
        "confidence": folder / "confidence.tif",
        "all_in_focus": folder / f"all_in_focus.{image}",
        "result": folder / RESULT_NAME,
    }
    names = {what: path.name for what, path in files.items() if what != "result"}
    with together():
        report(Progress(0.0, "depth"))
        write_depth_tiff(result, files["depth"])
        report(Progress(0.3, "confidence"))
        write_confidence_tiff(result, files["confidence"])
        report(Progress(0.6, "all-in-focus picture"))
        write_image(result.all_in_focus, files["all_in_focus"], result.tags, pixel_size(result))
        report(Progress(0.95, RESULT_NAME))
        write_result_json(result, files["result"], names)
    return files


def file_names(name: str, result: DepthResult) -> tuple[str, ...]:
    """Return what the files of a format are called that `export` writes into a folder.

    Raises
    ------
    SettingsError
        If there is no such format.
    """
    usual = find_format(name).file_name
    beside = {
        "result": ("depth.tif", "confidence.tif", f"all_in_focus.{_own_format(result)}"),
        "depth16": (str(Path(usual).with_suffix(".json")),),
    }
    return (usual, *beside.get(name, ()))


def _own_format(result: DepthResult) -> str:
    if result.all_in_focus.dtype.itemsize > 1:
        return "tif"
    endings = {Path(name).suffix.lower() for name in result.provenance.frames}
    return "jpg" if endings and endings <= {".jpg", ".jpeg"} else "png" if endings == {".png"} else "tif"
