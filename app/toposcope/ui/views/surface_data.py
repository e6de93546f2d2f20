"""What the 3D view shows, without any OpenGL: the prepared surface, the camera, and picking.

One world for all parts: the longer side of the map is 1, x grows with the column, y against the row
(the view from the top is the picture itself), z is height towards the lens, 0 at ``low``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Preset = Literal["top", "front", "side", "isometric", "fit"]

MAX_SIDE: Final = 4096  # texels; more than any screen shows, and every desktop GPU takes it
RELIEF: Final = 0.25  # height of an uncalibrated surface at exaggeration 1, as a share of its longer side
STEP_CUT: Final = 0.04  # share of the height range that counts as a step when steps are cut


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSurface:
    """A height map made ready for upload; see `prepare_surface`.

    ``heights`` (h, w) float32 without NaN: voids carry the nearest known height, so that no
    interpolation near a hole goes wrong. ``valid`` (h, w) uint8, 255 where known, 0 in voids.
    ``texture`` (h, w, 3) uint8 or None. ``shape`` (H, W) is that of the original map, whose pixels
    were averaged to texels when it was very large. ``pixel`` is the side of an *original* pixel in
    the unit of height, None when unknown. ``low`` and ``high`` bound the heights without the
    outermost 0.2 % at each end, which are often outliers; ``reach`` is the least and the greatest of
    all. ``confidence`` (h, w) is 255 where the height is certain, or None. ``empty`` where no height is known.
    """

    heights: NDArray[np.float32]
    valid: NDArray[np.uint8]
    texture: NDArray[np.uint8] | None
    shape: tuple[int, int]
    pixel: float | None
    low: float
    high: float
    reach: tuple[float, float]
    unit_symbol: str
    confidence: NDArray[np.uint8] | None = None
    empty: bool = False

    @property
    def z_scale(self) -> float:
        """World height of one unit of height, at exaggeration 1."""
        if self.pixel is None:
            return RELIEF / (self.high - self.low)
        return 1.0 / (self.pixel * float(max(self.shape)))

    @property
    def extent(self) -> tuple[float, float]:
        """World size in x and y, from the centre of the first pixel to that of the last."""
        h, w = self.heights.shape
        return (w - 1) / max(h, w), (h - 1) / max(h, w)

    def to_texel(self, row: float, column: float) -> tuple[float, float]:
        """Return texel coordinates of pixel coordinates of the original."""
        (h, w), (rows, columns) = self.heights.shape, self.shape
        return (row + 0.5) * h / rows - 0.5, (column + 0.5) * w / columns - 0.5

    def to_pixel(self, row: float, column: float) -> tuple[float, float]:
        """Return pixel coordinates of the original, within the map, of texel coordinates."""
        (h, w), (rows, columns) = self.heights.shape, self.shape
        r, c = (row + 0.5) * rows / h - 0.5, (column + 0.5) * columns / w - 0.5
        return min(max(r, 0.0), rows - 1.0), min(max(c, 0.0), columns - 1.0)

    def to_world(self, row: float, column: float, exaggeration: float) -> Floats | None:
        """Return where pixel (row, column) of the original lies on the surface, None in a void."""
        h, w = self.heights.shape
        r, c = self.to_texel(row, column)
        if not (-0.5 <= r <= h - 0.5 and -0.5 <= c <= w - 0.5):
            return None
        height, valid = _sample(self, np.array([r]), np.array([c]))
        if valid[0] < 0.5:
            return None
        side = max(h, w)
        z = (height[0] - self.low) * self.z_scale * exaggeration
        return np.array([(c - (w - 1) / 2) / side, ((h - 1) / 2 - r) / side, z])

    def bounds(self, exaggeration: float) -> Floats:
        """Return (2, 3) lowest and highest world coordinates, outliers left out."""
        x, y = self.extent
        top = (self.high - self.low) * self.z_scale * exaggeration
        return np.array([[-x / 2, -y / 2, 0.0], [x / 2, y / 2, top]])


def prepare_surface(
    heights: NDArray[np.float32],
    texture: NDArray[np.uint8] | None = None,
    pixel: float | None = None,
    unit_symbol: str = "",
    max_side: int = MAX_SIDE,
    confidence: NDArray[np.float32] | None = None,
) -> PreparedSurface:
    """Make a height map ready for the 3D view. Pure, and meant for a worker thread when maps are big.

    Parameters
    ----------
    heights : (H, W) float32, NaN in voids; grows towards the lens
    texture : (H, W, 3) uint8 RGB of the same field, or None
    pixel : side of a pixel in the unit of height, None when either is not calibrated
    max_side : longer maps are averaged down by a whole factor; a texel whose pixels are mostly void
        becomes void
    confidence : (H, W) in 0..1, by which the view can hide uncertain heights
    """
    h, w = heights.shape
    step = -(-max(h, w) // max_side)
    known = np.isfinite(heights)
    if step > 1:
        size = (-(-w // step), -(-h // step))
        share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(np.where(known, heights, np.float32(0)), size, interpolation=cv2.INTER_AREA)
        known = share >= 0.5
        heights = np.divide(total, np.maximum(share, np.float32(1e-6)), dtype=np.float32)
        if texture is not None:
            texture = np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if confidence is not None:
            confidence = np.asarray(cv2.resize(confidence, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    low, high = 0.0, 1.0
    if known.any():
        stride = max(1, round((heights.size / 1e6) ** 0.5))  # a million values tell the range well enough
        sample = heights[::stride, ::stride][known[::stride, ::stride]]
        sample = sample if sample.size else heights[known]
        low, high = (float(v) for v in np.percentile(sample, (0.2, 99.8)))
    if not high > low:  # a flat map: any range will do, but not an empty one
        high = low + max(abs(low), 1.0) * 1e-3
    heights = _fill_nearest(heights.astype(np.float32, copy=False), known)
    return PreparedSurface(
        heights=heights,
        valid=np.where(known, np.uint8(255), np.uint8(0)),
        texture=None if texture is None else np.ascontiguousarray(texture),
        shape=(h, w),
        pixel=pixel,
        low=low,
        high=high,
        reach=(float(heights.min()), float(heights.max())),
        unit_symbol=unit_symbol,
        confidence=None if confidence is None else np.round(255 * np.clip(confidence, 0, 1)).astype(np.uint8),
        empty=not known.any(),
    )


def _fill_nearest(heights: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return ``heights`` with the nearest known height in each void; 0 when nothing is known."""
    if known.all():
        return np.ascontiguousarray(heights)
    if not known.any():
        return np.zeros_like(heights)
    _, labels = cv2.distanceTransformWithLabels(
        np.where(known, np.uint8(0), np.uint8(1)), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(int(labels.max()) + 1, np.float32)
    nearest[labels[known]] = heights[known]  # each known pixel has a label of its own
    return np.where(known, heights, nearest[labels])


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that orbits ``target``, with the z axis upright on the screen.

    ``azimuth`` 0 looks along +y (north), growing as the camera walks to the right; ``elevation`` 90
    looks straight down. ``span`` is the world height that the view shows at the target. ``fov``, the
    vertical angle of view, is 0 for a parallel projection. Angles in degrees.
    """

    azimuth: float = -30.0
    elevation: float = 40.0
    span: float = 1.0
    fov: float = 25.0
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def axes(self) -> Floats:
        """Right, up and backward (from the target to the eye) in the world, as rows (3, 3)."""
        a, e = np.radians((self.azimuth, self.elevation))
        right = np.array([np.cos(a), np.sin(a), 0.0])
        back = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
        return np.stack([right, np.cross(back, right), back])

    def matrix(self, width: float, height: float, radius: float = 2.0) -> Floats:
        """Return (4, 4): homogeneous world columns to pixels of a ``width`` x ``height`` view.

        z maps to -1..1 over the scene, which lies within ``radius`` of the world's origin.
        """
        axes = self.axes
        view = np.eye(4)
        view[:3, :3] = axes
        view[:3, 3] = -axes @ self.target
        reach = radius + float(np.linalg.norm(self.target))
        pixels = height / self.span
        projection = np.zeros((4, 4))
        projection[0, 0], projection[1, 1] = pixels, -pixels
        if self.fov == 0:
            projection[2, 2] = -1.0 / reach
            projection[0, 3], projection[1, 3], projection[3, 3] = width / 2, height / 2, 1.0
            return projection @ view
        distance = self.span / 2 / np.tan(np.radians(self.fov / 2))
        view[2, 3] -= distance
        # the near plane keeps some distance, for the sake of the depth buffer
        near, far = max(distance - reach, 0.01 * distance), distance + reach
        projection[0, 0] *= distance
        projection[1, 1] *= distance
        projection[0, 2], projection[1, 2], projection[3, 2] = -width / 2, -height / 2, -1.0
        projection[2, 2], projection[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
        return projection @ view

    def project(self, points: Floats, width: float, height: float) -> Floats:
        """Return (..., 2) pixels (x, y) of world ``points`` (..., 3)."""
        m = self.matrix(width, height)
        p = points @ m[:, :3].T + m[:, 3]
        xy: Floats = p[..., :2] / p[..., 3:]
        return xy

    def ray(self, x: float, y: float, width: float, height: float) -> tuple[Floats, Floats]:
        """Return origin and unit direction of the line of sight through pixel (x, y)."""
        right, up, back = self.axes
        scale = self.span / height
        at = np.asarray(self.target) + right * (x - width / 2) * scale + up * (height / 2 - y) * scale
        if self.fov == 0:
            return at + back * 1e3, -back
        eye = np.asarray(self.target) + back * (self.span / 2 / np.tan(np.radians(self.fov / 2)))
        direction = at - eye
        return eye, direction / np.linalg.norm(direction)

    def light(self, azimuth: float, elevation: float) -> tuple[float, float, float]:
        """Return the world direction towards a light that moves along with the viewer.

        ``azimuth`` is counted clockwise from the top of the screen. The light keeps its place on the
        screen because eyes take it to come from above: with light from below, pits look like bumps.
        """
        a, e = np.radians((azimuth - self.azimuth, elevation))
        return float(np.sin(a) * np.cos(e)), float(np.cos(a) * np.cos(e)), float(np.sin(e))

    def orbited(self, azimuth: float, elevation: float) -> Camera:
        """Return the camera after a turn by these angles; it never goes over the top or below -10 degrees."""
        turned = (self.azimuth + azimuth + 180.0) % 360.0 - 180.0
        return replace(self, azimuth=turned, elevation=float(np.clip(self.elevation + elevation, -10.0, 90.0)))

    def panned(self, dx: float, dy: float, height: float) -> Camera:
        """Return the camera after the scene was drawn by (dx, dy) pixels across a view ``height`` high."""
        right, up, _ = self.axes
        moved = np.asarray(self.target) + (up * dy - right * dx) * self.span / height
        moved = np.clip(moved, -1.5, 1.5)  # the surface must not get lost
        return replace(self, target=(float(moved[0]), float(moved[1]), float(moved[2])))

    def zoomed(self, factor: float) -> Camera:
        """Return the camera with everything ``factor`` times as large."""
        return replace(self, span=float(np.clip(self.span / factor, 2e-3, 10.0)))

    def zoomed_at(self, factor: float, x: float, y: float, width: float, height: float) -> Camera:
        """Return the zoomed camera under which pixel (x, y) keeps showing the same place."""
        zoomed = self.zoomed(factor)
        share = 1.0 - self.span / zoomed.span
        return zoomed.panned((x - width / 2) * share, (y - height / 2) * share, height)

    def fitted(self, bounds: Floats, width: float, height: float, room: float = 16.0) -> Camera:
        """Return the camera moved and zoomed so that ``bounds`` (2, 3) fill the view.

        ``room`` pixels are left free at each side, half as many above and below; less in a small view.
        """
        free = (width - 2 * min(room, width / 7), height - min(room, height / 5))
        corners = np.array([[bounds[i, 0], bounds[j, 1], bounds[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        middle = bounds.mean(axis=0)
        camera = replace(self, target=(float(middle[0]), float(middle[1]), float(middle[2])))
        for _ in range(8):  # in perspective the span changes the projection; this settles in a few rounds
            xy = camera.project(corners, width, height)
            camera = replace(camera, span=camera.span * max(*(np.ptp(xy, axis=0) / free), 0.05))
            xy = camera.project(corners, width, height)
            off = (xy.min(axis=0) + xy.max(axis=0)) / 2 - (width / 2, height / 2)
            camera = camera.panned(-off[0], -off[1], height)
        return camera

    def preset(self, name: Preset) -> Camera:
        """Return the camera turned to a standard view; measuring views are parallel projections."""
        match name:
            case "top":
                return replace(self, azimuth=0.0, elevation=90.0, fov=0.0)
            case "front":
                return replace(self, azimuth=0.0, elevation=0.0, fov=0.0)
            case "side":
                return replace(self, azimuth=90.0, elevation=0.0, fov=0.0)
            case "isometric":
                return replace(self, azimuth=-30.0, elevation=40.0, fov=25.0)
            case "fit":
                return self


def pick(
    surface: PreparedSurface,
    exaggeration: float,
    origin: Floats,
    direction: Floats,
    cut: float = 0.0,
    least: float = 0.0,
) -> tuple[float, float] | None:
    """Return the pixel (row, column) of the original where a line of sight meets the surface.

    The line goes on through voids, through heights less certain than ``least``, and where ``cut`` is
    above 0 through walls that rise by more than it a texel. None when it meets nothing. Exact to a
    small part of a texel.
    """
    h, w = surface.heights.shape
    side, z_scale = max(h, w), surface.z_scale * exaggeration
    x, y = surface.extent
    z = (np.array(surface.reach) - surface.low) * z_scale
    low, high = np.array([-x / 2, -y / 2, z[0] - 1e-9]), np.array([x / 2, y / 2, z[1] + 1e-9])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - origin) / direction, (high - origin) / direction
    # a line parallel to a face gives NaN only when it lies in that face: then the other axes decide
    enter, leave = float(np.nanmax(np.fmin(a, b))), float(np.nanmin(np.fmax(a, b)))
    enter = max(enter, 0.0)
    if not enter <= leave:
        return None

    def gap(t: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
        """Return rows, columns and height above the surface along the line, and where it is known."""
        p = origin + t[:, None] * direction
        r, c = (h - 1) / 2 - p[:, 1] * side, (w - 1) / 2 + p[:, 0] * side
        height, valid = _sample(surface, r, c)
        known = valid >= 0.5
        if least > 0 and surface.confidence is not None:
            known &= _bilinear(surface.confidence, r, c) >= 255 * least
        if cut > 0:
            east, west, south, north = (
                _sample(surface, r + i, c + j)[0] for i, j in ((0, 1), (0, -1), (1, 0), (-1, 0))
            )
            known &= np.maximum(np.abs(east - west), np.abs(south - north)) <= 2 * cut
        return r, c, p[:, 2] - (height - surface.low) * z_scale, known

    crossed = float(np.hypot(direction[0], direction[1])) * (leave - enter) * side  # texels
    t = np.linspace(enter, leave, int(2 * crossed) + 16)
    r, c, above, known = gap(t)
    changes = np.flatnonzero((np.signbit(above[:-1]) != np.signbit(above[1:])) & known[:-1] & known[1:])
    if not changes.size:
        return None
    k = int(changes[0])
    r, c, above, _ = gap(np.linspace(t[k], t[k + 1], 33))
    k = int(np.flatnonzero(np.signbit(above[:-1]) != np.signbit(above[1:]))[0])
    f = above[k] / (above[k] - above[k + 1])
    return surface.to_pixel(float(r[k] + f * (r[k + 1] - r[k])), float(c[k] + f * (c[k + 1] - c[k])))


def _sample(surface: PreparedSurface, r: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Return heights and validity (0..1) at texel positions."""
    return _bilinear(surface.heights, r, c), _bilinear(surface.valid, r, c) / 255.0


def _bilinear(values: NDArray[Any], r: Floats, c: Floats) -> Floats:
    """Return ``values`` at texel positions, as the graphics card finds them."""
    h, w = values.shape
    r, c = np.clip(r, 0, h - 1), np.clip(c, 0, w - 1)
    r0, c0 = np.minimum(r.astype(np.intp), max(h - 2, 0)), np.minimum(c.astype(np.intp), max(w - 2, 0))
    r1, c1 = np.minimum(r0 + 1, h - 1), np.minimum(c0 + 1, w - 1)
    fr, fc = r - r0, c - c0
    top = values[r0, c0] * (1 - fc) + values[r0, c1] * fc
    bottom = values[r1, c0] * (1 - fc) + values[r1, c1] * fc
    blend: Floats = top * (1 - fr) + bottom * fr
    return blend
