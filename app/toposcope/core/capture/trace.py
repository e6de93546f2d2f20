"""Sharpness of the live picture against z, while somebody turns the focus."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.focus import tenengrad
from toposcope.core.growing import REGIONS, WINDOW, SharpnessCurve, sharpness_of
from toposcope.core.peak import gaussian_top
from toposcope.core.stack import Plane, reduce_plane, to_grey

MAX_PIXELS: Final = 1 << 20
"""Larger frames are measured at a reduced size: ten a second must do."""
MAX_POINTS: Final = 2000


def live_scale(plane: Plane) -> int:
    """Return by how much a frame is reduced (1, 2, 4, 8) where it only has to be quick."""
    pixels = plane.shape[0] * plane.shape[1]
    return next((scale for scale in (1, 2, 4) if pixels <= MAX_PIXELS * scale * scale), 8)


class SharpnessTrace:
    """The autofocus curve of a live view: the newest sharpness at each z, of the frame and of its regions.

    Positions nearer to each other than ``resolution_um`` count as one. At most `MAX_POINTS` are kept; the oldest go.
    """

    def __init__(self, resolution_um: float = 0.05) -> None:
        self._resolution = resolution_um
        self._points: dict[int, tuple[float, float, NDArray[np.float64]]] = {}

    def add(self, plane: Plane, z_um: float) -> None:
        """Take in a frame, (H, W) or (H, W, 3), that was exposed at ``z_um``."""
        self.add_measure(tenengrad(to_grey(reduce_plane(plane, live_scale(plane))), WINDOW), z_um)

    def add_measure(self, measure: NDArray[np.float32], z_um: float) -> None:
        """Take in what `GrowingDepth.add` has measured of a frame at its `live_scale`."""
        key = round(z_um / self._resolution)
        self._points.pop(key, None)  # the newest stands last
        self._points[key] = (z_um, *sharpness_of(measure))
        while len(self._points) > MAX_POINTS:
            del self._points[next(iter(self._points))]

    def clear(self) -> None:
        """Forget all: the light, the exposure or the place has changed."""
        self._points.clear()

    def curve(self) -> SharpnessCurve:
        """Return what is known, by ascending z; empty without frames."""
        points = sorted(self._points.values(), key=lambda point: point[0])
        if not points:
            return SharpnessCurve(np.empty(0), np.empty(0), np.empty((REGIONS, REGIONS, 0)))
        z, whole, regions = zip(*points, strict=True)
        return SharpnessCurve(np.array(z), np.array(whole), np.stack(regions, axis=2))


def sharpest_z(curve: SharpnessCurve, region: tuple[int, int] | None = None) -> float | None:
    """Return the z at which the frame, or a region (row, column) of it, is sharpest; None for an empty curve.

    The peak of a Gaussian through the sharpest point and its two neighbours, within these.
    """
    values = curve.whole if region is None else curve.regions[region]
    if not len(values):
        return None
    best = int(values.argmax())
    if best in (0, len(values) - 1) or values[best - 1 : best + 2].min() <= 0:
        return float(curve.z[best])
    near = curve.z[best - 1 : best + 2]
    top, bend = gaussian_top(near, np.log(values[best - 1 : best + 2]))
    return float(np.clip(top, near[0], near[2]) if bend < 0 else near[1])
