"""The one way from a file to a height map."""

from __future__ import annotations

import os
from pathlib import Path

from toposcope.core.height_map.formats import FORMATS, PACKAGE, START_BYTES, HeightMapFormat, height_map_format
from toposcope.core.height_map.gwy import read_gwy
from toposcope.core.height_map.instruments import read_instrument
from toposcope.core.height_map.model import HeightMap
from toposcope.core.height_map.x3p import read_x3p
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source.image_file import access_problem, is_device, system_path
from toposcope.core.source.sentences import one_sentence
from toposcope.errors import StackError


def is_height_map(path: Path) -> bool:
    """Whether ``path`` is a file whose name and first bytes are those of a height map. False if it cannot be read."""
    if path.suffix.lower() not in FORMATS:
        return False
    try:
        return not is_device(path) and height_map_format(path, _start(path)) is not None
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False


def read_height_map(path: Path | str, report: Report = silent) -> HeightMap:
    """Read a height map: heights in micrometres, the first row on top, NaN where nothing was measured.

    X3P and GWY are read here, all others by the package of the extra ``surf-io``. Nothing is unpickled.

    Raises
    ------
    StackError
        If it is no height map, damaged, or of a size that cannot be true.
    MissingPartError
        If the package that reads the format is not installed, or not whole; the text names the line that installs it.
    """
    path = Path(path)
    form = _format(path)
    report(Progress(0.0, f"reading {path.name}"))
    with one_sentence(path, form.title, None if form.is_built_in else PACKAGE):
        if form is FORMATS[".x3p"]:
            return read_x3p(path, report)
        if form is FORMATS[".gwy"]:
            return read_gwy(path, report)
        return read_instrument(path, form, report)


def _format(path: Path) -> HeightMapFormat:
    if "\0" in str(path):
        raise StackError("the path holds a character that no file name may hold.")
    if is_device(path) or os.path.isdir(system_path(path)):
        raise StackError(f"{path.name} is no file. Choose a height map, such as X3P or GWY.")
    try:
        form = height_map_format(path, _start(path))
    except FileNotFoundError as error:
        raise StackError(f"{path} does not exist.") from error
    except OSError as error:
        raise StackError(f"{path.name} {access_problem(error)}.") from error
    if form is None:
        raise StackError(
            f"{path.name} is no height map of a format that is known here. Save it as X3P or GWY, which every program "
            "for surfaces writes."
        )
    return form


def _start(path: Path) -> bytes:
    with open(system_path(path), "rb") as file:
        return file.read(START_BYTES)
