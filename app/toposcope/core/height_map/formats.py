"""Which files are height maps, and who reads them. Knows no other part of the engine that reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toposcope.core.packages import Package

PACKAGE: Final = Package("SurfaceTopography", "SurfaceTopography", "surf-io")
START_BYTES: Final = 64
"""Bytes at the beginning of a file that tell what it is."""


@dataclass(frozen=True, slots=True)
class HeightMapFormat:
    """A format of height maps.

    ``reader`` is its name in `PACKAGE`, empty for the two that are read here. ``marks`` are the beginnings of
    its files where others use the suffix, too; none where the suffix tells.
    """

    title: str
    reader: str = ""
    marks: tuple[bytes, ...] = (b"",)

    @property
    def is_built_in(self) -> bool:
        """Whether it is read without any extra."""
        return not self.reader


_WSXM: Final = (b"WSxM file copyright",)
_SURF: Final = (b"DIGITAL SURF", b"DSCOMPRESSED")

FORMATS: Final[dict[str, HeightMapFormat]] = {
    ".x3p": HeightMapFormat("ISO 25178-72 X3P"),
    ".gwy": HeightMapFormat("Gwyddion GWY"),
    ".al3d": HeightMapFormat("Alicona AL3D", "al3d"),
    ".bcrf": HeightMapFormat("BCR", "bcr"),
    ".dat": HeightMapFormat(
        "Zygo MetroPro DAT", "metropro", (b"\x88\x1b\x03\x6f", b"\x88\x1b\x03\x70", b"\x88\x1b\x03\x71")
    ),
    ".datx": HeightMapFormat("Zygo DATX", "datx"),
    ".frt": HeightMapFormat("FRT MicroProf", "frt", (b"FRTM",)),
    ".hfm": HeightMapFormat("Gemini HFM", "xyz", (b"X;Y;valid",)),
    ".ibw": HeightMapFormat("Igor IBW", "ibw", (b"\x05\x00", b"\x02\x00")),
    ".mnt": HeightMapFormat("MountainsMap MNT", "mnt"),
    ".nms": HeightMapFormat("NanoFocus NMS", "nms"),
    ".opd": HeightMapFormat("Wyko OPD", "opd"),
    ".opdx": HeightMapFormat("Bruker OPDx", "opdx"),
    ".os3d": HeightMapFormat("Digital Metrology OS3D", "os3d"),
    ".plu": HeightMapFormat("Sensofar PLU", "plu"),
    ".plux": HeightMapFormat("Sensofar PLUx", "plux"),
    ".pro": HeightMapFormat("Digital Surf profile", "sur", _SURF),
    ".sdf": HeightMapFormat("SDF", "sdf", (b"aISO-", b"bISO-", b"aBCR-", b"bBCR-")),
    ".spm": HeightMapFormat("Bruker SPM", "di", (b"\\*File list",)),
    ".stp": HeightMapFormat("WSxM STP", "wsxm", _WSXM),
    ".sur": HeightMapFormat("Digital Surf SUR", "sur"),
    ".tmd": HeightMapFormat("GelSight TMD", "tmd", (b"Binary TrueMap Data",)),
    ".top": HeightMapFormat("WSxM TOP", "wsxm", _WSXM),
    ".vk4": HeightMapFormat("Keyence VK4", "vk"),
    ".vk6": HeightMapFormat("Keyence VK6", "vk"),
    ".vk7": HeightMapFormat("Keyence VK7", "vk"),
    ".zon": HeightMapFormat("Keyence ZON", "zon"),
}
"""All formats by suffix."""

HEIGHT_MAP_SUFFIXES: Final = tuple(FORMATS)


def height_map_format(path: Path, start: bytes) -> HeightMapFormat | None:
    """Return the format of a file that begins with ``start``, None if it is no height map."""
    found = FORMATS.get(path.suffix.lower())
    return found if found is not None and any(start.startswith(mark) for mark in found.marks) else None


def reader_lines() -> list[str]:
    """Say which height maps can be read and what is missing for the rest, for reading."""
    built_in = [f"{one.title} ({suffix})" for suffix, one in FORMATS.items() if one.is_built_in]
    others = [f"{one.title} ({suffix})" for suffix, one in FORMATS.items() if not one.is_built_in]
    installed = PACKAGE.is_installed
    lines = [
        f"{'built in':<14}height maps: {', '.join(built_in)}",
        f"{'installed' if installed else 'missing':<14}height maps by {PACKAGE.name}: {', '.join(others)}",
    ]
    return lines if installed else [*lines, f"{'to install':<14}{PACKAGE.install_line}"]
