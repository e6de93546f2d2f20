"""Makers' formats of height maps, by the package SurfaceTopography."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toposcope.core.calibration import Sourced
from toposcope.core.height_map.formats import HeightMapFormat
from toposcope.core.height_map.limits import checked_shape
from toposcope.core.height_map.model import HeightMap
from toposcope.core.height_map.units import micrometres
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source.container import positive
from toposcope.core.source.image_file import Unreadable, system_path


def read_instrument(path: Path, form: HeightMapFormat, report: Report = silent) -> HeightMap:
    """Read the first height map of a file of one of the formats that the package knows.

    Its reader is named, so that a file that only looks like another is never given to one that was not meant.

    Raises
    ------
    Unreadable
        If it holds no height map, or does not tell the unit of its heights.
    """
    report(Progress(0.0, "loading what reads instruments' files"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks of its own
        from SurfaceTopography.IO import open_topography

        report(Progress(0.4, "reading heights"))
        reader = open_topography(system_path(path), format=form.reader)
        channels = list(reader.channels)
        surfaces = [k for k, channel in enumerate(channels) if _is_surface(channel)]
        if not surfaces:
            lines = [channel for channel in channels if int(getattr(channel, "dim", 0) or 0) == 1]
            if lines:
                count = int(np.prod(lines[0].nb_grid_pts))
                raise Unreadable(f"holds a profile, one line of {count} heights; a height map is needed")
            raise Unreadable("holds no heights; a height map is needed")
        channel = channels[surfaces[0]]
        columns, rows = (int(n) for n in channel.nb_grid_pts)
        checked_shape((rows, columns), path.stat().st_size)
        sized = channel.physical_sizes is not None
        more: dict[str, Any] = {} if sized else {"physical_sizes": (float(columns), float(rows))}
        surface = reader.topography(channel_index=surfaces[0], **more)
        report(Progress(0.8, "reading heights"))
        heights = np.ma.filled(np.ma.asarray(surface.heights(), dtype=np.float64), np.nan)
        unit, sizes, info = surface.unit, surface.physical_sizes, getattr(surface, "info", {}) or {}
    scale = micrometres(unit)
    if scale is None:
        told = f"'{unit}', which is no length" if unit else "not told"
        raise Unreadable(f"cannot be taken: the unit of its heights is {told}; save it as X3P or GWY with its unit")
    z = np.ascontiguousarray(heights.T) * scale  # the package counts columns first
    if z.ndim != 2:
        raise Unreadable("holds no heights on an even grid; a height map is needed")
    checked_shape((z.shape[0], z.shape[1]))
    z[~np.isfinite(z)] = np.nan
    x: Sourced[float] | None = None
    y: Sourced[float] | None = None
    if sized:
        sides = [positive(size) for size in sizes]
        x, y = (
            None if side is None else Sourced(side * scale / n, form.title)
            for side, n in zip(sides, z.shape[::-1], strict=True)
        )
    notes = []
    if len(surfaces) > 1:
        notes.append(f"the file holds {len(surfaces)} height maps; the first is read, {str(channel.name)[:60]}")
    return HeightMap(z, x, y, form.title, _instrument(info), path, tuple(notes))


def _is_surface(channel: Any) -> bool:
    kind = getattr(channel, "data_kind", None)
    is_height = kind is None or str(getattr(kind, "value", kind)) == "height"
    return is_height and int(getattr(channel, "dim", 0) or 0) == 2


def _instrument(info: Any) -> str:
    about = info.get("instrument") if isinstance(info, Mapping) else None
    if not isinstance(about, Mapping):
        return ""
    words = [str(about[key]).strip() for key in ("vendor", "name", "software") if about.get(key)]
    return ", ".join(dict.fromkeys(words))[:200]
