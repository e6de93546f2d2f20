"""Shipped files, found the same way in a checkout, an installed wheel and a frozen build."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from toposcope.errors import MissingPartError


def resource_path(*parts: str) -> Path:
    """Return the path of a shipped file or folder.

    The package is never zipped: wheels are unpacked and frozen builds keep it as a folder, so that
    its parts have paths.

    Raises
    ------
    MissingPartError
        If it is not there.
    """
    path = Path(str(files("toposcope_resources").joinpath(*parts)))
    if not path.exists():
        raise MissingPartError(f"{'/'.join(parts)} is missing from this installation of Toposcope. Install it again.")
    return path


def sample_path() -> Path:
    """Return the folder of the sample stack, ready for `open_stack`."""
    return resource_path("sample")


def sample_truth_path() -> Path:
    """Return the sample's true depth, a float32 TIFF in micrometres."""
    return resource_path("sample", "true_depth.tif")
