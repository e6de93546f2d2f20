"""Which reader opens what: makers' formats through optional packages, and what is refused with a word why."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toposcope.core.height_map.formats import reader_lines
from toposcope.core.source.container import Container
from toposcope.core.source.image_file import Unreadable, access_problem
from toposcope.errors import MissingPartError, StackError, ToposcopeError

EXTRA: Final = "microscopy"
INSTALL_LINE: Final = f'python -m pip install "toposcope[{EXTRA}]"'


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader of one maker's format: its files, the package that it needs (module and name), and how to open."""

    title: str
    suffixes: tuple[str, ...]
    module: str
    package: str
    open: Callable[[Path], Container]

    @property
    def is_installed(self) -> bool:
        """Whether the package that it needs is there."""
        return importlib.util.find_spec(self.module) is not None


def _czi(path: Path) -> Container:
    from toposcope.core.source.czi import CziContainer

    return CziContainer(path)


def _nd2(path: Path) -> Container:
    from toposcope.core.source.nd2_file import Nd2Container

    return Nd2Container(path)


def _lif(path: Path) -> Container:
    from toposcope.core.source.lif import LifContainer

    return LifContainer(path)


def _oif(path: Path) -> Container:
    from toposcope.core.source.oif import OifContainer

    return OifContainer(path)


READERS: Final = (
    Reader("Zeiss CZI", (".czi",), "pylibCZIrw", "pylibCZIrw", _czi),
    Reader("Nikon ND2", (".nd2",), "nd2", "nd2", _nd2),
    Reader("Leica LIF", (".lif", ".lof", ".xlef", ".xlif"), "liffile", "liffile", _lif),
    Reader("Olympus OIF and OIB", (".oif", ".oib"), "oiffile", "oiffile", _oif),
)

BUILT_IN: Final = (
    "folders of JPEG, PNG, TIFF, BMP and WebP images",
    "TIFF: plain, OME, ImageJ, Micro-Manager, MetaMorph STK, Zeiss LSM, Olympus FluoView and SIS",
    "Micro-Manager folders of single images (metadata.txt), and NDTiff data sets",
)


def reader_of(path: Path) -> Reader | None:
    """Return the reader of a maker's format by the suffix of ``path``."""
    suffix = path.suffix.lower()
    return next((reader for reader in READERS if suffix in reader.suffixes), None)


def open_container(reader: Reader, path: Path) -> Container:
    """Open a file by its reader.

    Raises
    ------
    MissingPartError
        If the package that reads it is not installed, or not whole; the text names the line that installs it.
    StackError
        If the file cannot be read.
    """
    if not reader.is_installed:
        raise MissingPartError(
            f"{path.name} is {reader.title}, which is read by the package {reader.package}; it is not installed. "
            f"Type: {INSTALL_LINE}"
        )
    try:
        return reader.open(path)
    except Unreadable as error:
        raise StackError(f"{path.name} {error}.") from error
    except ToposcopeError:
        raise
    except ImportError as error:  # not the file's fault: something that the package needs is missing or does not fit
        raise MissingPartError(
            f"{path.name} is {reader.title}, which is read by the package {reader.package}; it is installed, but "
            f"cannot be used: {error}. Type: {INSTALL_LINE}"
        ) from error
    except OSError as error:
        if error.errno is None:  # the package's own: the folder of an OIF is not beside it
            raise StackError(f"{path.name} cannot be opened: files that belong to it are missing beside it.") from error
        raise StackError(f"{path.name} {access_problem(error)}.") from error
    except Exception as error:  # the libraries may raise anything
        raise StackError(f"{path.name} is no {reader.title} file that can be read, or is damaged.") from error


def reader_list() -> str:
    """Return what can be opened and what is missing for the rest, for reading."""
    lines = [f"{'built in':<14}{what}" for what in BUILT_IN]
    for reader in READERS:
        state = "installed" if reader.is_installed else "missing"
        lines.append(f"{state:<14}{reader.title} ({', '.join(reader.suffixes)}), by {reader.package}")
    if not all(reader.is_installed for reader in READERS):
        lines.append(f"{'to install':<14}{INSTALL_LINE}")
    return "\n".join([*lines, *reader_lines()])
