"""The one way from a file to a height map."""

from __future__ import annotations

import os
from pathlib import Path

from toposcope.core.height_map.formats import (
    FORMATS,
    INSTALL_LINE,
    PACKAGE,
    START_BYTES,
    HeightMapFormat,
    height_map_format,
    is_installed,
)
from toposcope.core.height_map.gwy import read_gwy
from toposcope.core.height_map.instruments import read_instrument
from toposcope.core.height_map.model import HeightMap
from toposcope.core.height_map.x3p import read_x3p
from toposcope.core.jobs import Cancelled, Progress, Report, silent
from toposcope.core.source.image_file import Unreadable, access_problem, is_device, system_path
from toposcope.errors import MissingPartError, StackError, ToposcopeError


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
    try:
        if form is FORMATS[".x3p"]:
            return read_x3p(path, report)
        if form is FORMATS[".gwy"]:
            return read_gwy(path, report)
        if not is_installed():
            raise MissingPartError(
                f"{path.name} is a height map ({form.title}), which is read by the package {PACKAGE}; it is not "
                f"installed. Type: {INSTALL_LINE}"
            )
        return read_instrument(path, form, report)
    except Unreadable as error:
        raise StackError(f"{path.name} {error}.") from error
    except (ToposcopeError, Cancelled, MemoryError):
        raise
    except ImportError as error:  # not the file's fault: something that the package needs is missing or does not fit
        raise MissingPartError(
            f"{path.name} is a height map ({form.title}), which is read by the package {PACKAGE}; it is installed, "
            f"but cannot be used: {error}. Type: {INSTALL_LINE}"
        ) from error
    except OSError as error:
        if error.errno is None:  # a library's own
            raise StackError(f"{path.name} is no {form.title} file that can be read, or is damaged.") from error
        raise StackError(f"{path.name} {access_problem(error)}.") from error
    except Exception as error:  # libraries may raise anything
        raise StackError(f"{path.name} is no {form.title} file that can be read, or is damaged.") from error


def _format(path: Path) -> HeightMapFormat:
    if "\0" in str(path):
        raise StackError("the path holds a character that no file name may hold.")
    if is_device(path) or os.path.isdir(system_path(path)):
        raise StackError(f"{path.name} is no file. Choose a height map, such as X3P or GWY.")
    try:
        with open(system_path(path), "rb") as file:
            start = file.read(START_BYTES)
    except FileNotFoundError as error:
        raise StackError(f"{path} does not exist.") from error
    except OSError as error:
        raise StackError(f"{path.name} {access_problem(error)}.") from error
    form = height_map_format(path, start)
    if form is None:
        raise StackError(
            f"{path.name} is no height map of a format that is known here. Save it as X3P or GWY, which every program "
            "for surfaces writes."
        )
    return form
