"""Which reader opens what: makers' formats through optional packages, and what is refused with a word why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toposcope.core.height_map.formats import reader_lines
from toposcope.core.packages import Package
from toposcope.core.source.container import Container
from toposcope.core.source.heif_file import HEIC_PACKAGE, HEIC_SUFFIXES
from toposcope.core.source.image_file import Unreadable
from toposcope.core.source.raw_file import RAW_PACKAGE, RAW_SUFFIXES
from toposcope.core.source.sentences import one_sentence

EXTRA: Final = "microscopy"


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader of one maker's format: its files, the package that it needs, and how to open."""

    title: str
    suffixes: tuple[str, ...]
    package: Package
    open: Callable[[Path], Container]


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
    Reader("Zeiss CZI", (".czi",), Package("pylibCZIrw", "pylibCZIrw", EXTRA), _czi),
    Reader("Nikon ND2", (".nd2",), Package("nd2", "nd2", EXTRA), _nd2),
    Reader("Leica LIF", (".lif", ".lof", ".xlef", ".xlif"), Package("liffile", "liffile", EXTRA), _lif),
    Reader("Olympus OIF and OIB", (".oif", ".oib"), Package("oiffile", "oiffile", EXTRA), _oif),
)


@dataclass(frozen=True, slots=True)
class Photographs:
    """Files with one photograph each that a package reads; a stack is a folder of them.

    ``kind`` is the format as `ImageHeader` calls it.
    """

    kind: str
    title: str
    suffixes: tuple[str, ...]
    package: Package


PHOTOGRAPHS: Final = (
    Photographs("raw", "camera RAW", RAW_SUFFIXES, RAW_PACKAGE),
    Photographs("heic", "HEIC photographs", HEIC_SUFFIXES, HEIC_PACKAGE),
)

BUILT_IN: Final = (
    "folders of JPEG, PNG, TIFF, BMP, WebP and AVIF images",
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
    # the only package with errors of its own is that of OIF, whose pixels lie in a folder beside the file
    apart = "cannot be opened: files that belong to it are missing beside it"
    with one_sentence(path, reader.title, reader.package, apart):
        try:
            return reader.open(path)
        except MemoryError as error:  # opening reads no pixels
            raise Unreadable("is damaged: it asks for more memory than there is") from error


def reader_list() -> str:
    """Return what can be opened and what is missing for the rest, for reading."""
    lines = [f"{'built in':<14}{what}" for what in BUILT_IN]
    for reader in READERS:
        state = "installed" if reader.package.is_installed else "missing"
        lines.append(f"{state:<14}{reader.title} ({', '.join(reader.suffixes)}), by {reader.package.name}")
    for one in PHOTOGRAPHS:
        state = "installed" if one.package.is_installed else "missing"
        lines.append(f"{state:<14}folders of {one.title} ({', '.join(one.suffixes)}), by {one.package.name}")
    packages = [one.package for one in (*READERS, *PHOTOGRAPHS)]
    missing = dict.fromkeys(package.install_line for package in packages if not package.is_installed)
    lines += [f"{'to install':<14}{line}" for line in missing]
    return "\n".join([*lines, *reader_lines()])
