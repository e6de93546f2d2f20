"""The OpenGL half of the 3D view: the canvas with surface, pins and frame. Knows no buttons.

Imported only where OpenGL was found, since vispy loads the system's library when it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtWidgets import QWidget
from vispy import app, gloo, scene
from vispy.visuals.transforms import MatrixTransform, STTransform

from toposcope.core.words import number
from toposcope.ui.opengl import is_software
from toposcope.ui.views.heightfield import HeightField
from toposcope.ui.views.surface_data import Camera, PreparedSurface, prepare_surface

Pin = tuple[int, float, float, str]
"""Number, row, column and colour of a pin."""

TILE: Final = 1024  # logical pixels; keeps a screenshot's buffers small whatever its size
SAMPLES: Final = 2  # a screenshot's pixels are averages of 2 x 2, smooth on every OpenGL
CELLS_STILL: Final = (512, 1024)  # mesh on software OpenGL and on a graphics card
CELLS_MOVING: Final = (160, 512)
HALF_LETTER: Final = 4.2  # logical pixels that half a letter of the lengths takes, digits and units on the mean
CELLS_PICTURE: Final = 1024

_STALK: Final = 0.055  # length of a pin, as a share of the view's height


class SurfaceScene:
    """Canvas with everything on it. The camera is ours; vispy only draws.

    ``native`` is the widget to lay out.
    """

    def __init__(self) -> None:
        app.use_app("pyside6")
        self._software = is_software()
        # multisampling triples the time of a frame where the processor draws
        config = {} if self._software else {"samples": 4}
        self._canvas = scene.SceneCanvas(keys=None, size=(640, 480), config=config)
        # vispy would draw the whole scene once more for each click, to find what was hit
        for event in (self._canvas.events.mouse_press, self._canvas.events.mouse_wheel):
            event.disconnect(self._canvas._process_mouse_event)
        self.native: QWidget = self._canvas.native
        self._view = scene.Node(parent=self._canvas.scene)  # in logical pixels, as the canvas
        self._view.transform = STTransform()
        self._world = scene.Node(parent=self._view)
        self._world.transform = MatrixTransform()
        self._field = HeightField(parent=self._world)
        self._frame = scene.visuals.Line(connect="segments", parent=self._world, antialias=False)
        self._frame_text = scene.visuals.Text("", font_size=9, parent=self._view)
        self._stalks = scene.visuals.Line(connect="segments", width=2, parent=self._world)
        # pins behind the surface shine through faintly
        self._ghosts = scene.visuals.Markers(parent=self._world)
        self._heads = scene.visuals.Markers(parent=self._world)
        self._numbers = scene.visuals.Text("", font_size=8, bold=True, parent=self._world)
        for order, node in enumerate(
            (self._field, self._frame, self._stalks, self._ghosts, self._heads, self._numbers, self._frame_text)
        ):
            node.order = order
        self._ghosts.set_gl_state("translucent", depth_test=False)
        self._heads.set_gl_state("translucent", depth_test=True)
        for text in (self._numbers, self._frame_text):
            text.set_gl_state("translucent", depth_test=False)
        self._surface: PreparedSurface | None = None
        self._exaggeration = 1.0
        self._camera = Camera()
        self._light = (315.0, 45.0, 0.3)
        self._pins: tuple[Pin, ...] = ()
        self._framed = True
        self._ink = "#888888"
        self._moving = False
        self._hide_overlays()
        self._canvas.events.resize.connect(lambda _: self._place(*self.size))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas in logical pixels."""
        width, height = self._canvas.size
        return max(1, int(width)), max(1, int(height))

    @property
    def field(self) -> Any:
        """The height field itself, for its colours."""
        return self._field

    def close(self) -> None:
        """Give the OpenGL objects back."""
        self._canvas.close()

    def set_surface(self, surface: PreparedSurface) -> None:
        """Show ``surface``, averaged down if this OpenGL's textures are too small for it."""
        self._canvas.set_current()
        limit = int(gloo.gl.glGetParameter(gloo.gl.GL_MAX_TEXTURE_SIZE))
        if max(surface.heights.shape) > limit:
            holed = np.where(surface.valid > 0, surface.heights, np.float32(np.nan))
            certain = None if surface.confidence is None else surface.confidence.astype(np.float32) / np.float32(255)
            small = prepare_surface(holed, surface.texture, max_side=limit, confidence=certain)
            surface = replace(small, shape=surface.shape, pixel=surface.pixel, unit_symbol=surface.unit_symbol)
        self._surface = surface
        self._field.set_surface(surface)
        self._field.visible = True
        self._place(*self.size)

    def clear(self) -> None:
        """Show nothing."""
        self._surface = None
        self._field.visible = False
        self._hide_overlays()
        self._canvas.update()

    def set_camera(self, camera: Camera, moving: bool = False) -> None:
        """Look from ``camera``; while ``moving``, a coarser mesh keeps the picture fluent."""
        self._camera = camera
        self._use_mesh(moving)
        self._place(*self.size)

    def set_exaggeration(self, exaggeration: float) -> None:
        """Stretch heights by this factor."""
        self._exaggeration = exaggeration
        self._field.set_exaggeration(exaggeration)
        self._place(*self.size)

    def set_light(self, azimuth: float, elevation: float, ambient: float) -> None:
        """Light from ``azimuth`` (degrees clockwise from the top of the screen) and ``elevation``."""
        self._light = (azimuth, elevation, ambient)
        self._place(*self.size)

    def set_pins(self, pins: Sequence[Pin]) -> None:
        """Stick these pins into the surface; pins in voids are not shown."""
        self._pins = tuple(pins)
        self._place(*self.size)

    def set_framed(self, on: bool) -> None:
        """Show or hide the frame with the dimensions."""
        self._framed = on
        self._place(*self.size)

    def set_colours(self, background: str, ink: str) -> None:
        """Set the ground behind the surface and the colour of the frame."""
        self._canvas.bgcolor = background
        self._ink = ink
        self._place(*self.size)

    def render(self, width: int, height: int, camera: Camera, transparent: bool = False) -> NDArray[np.uint8]:
        """Return a picture of any size, (height, width, 4) RGBA, whatever the size of the window.

        It is drawn in tiles at twice the size and averaged, so that edges are smooth. Pins and
        writing grow with the picture.
        """
        ground = (*self._canvas.bgcolor.rgb, 0.0 if transparent else 1.0)
        bottom, dense = self._canvas.physical_size[1], SAMPLES / self._canvas.pixel_scale
        shown, moving, self._camera = self._camera, self._moving, camera
        picture = np.empty((height, width, 4), np.uint8)
        try:
            self._field.set_mesh(CELLS_PICTURE)
            self._place(width * dense, height * dense, dense * max(1.0, height / 900))
            for y in range(0, height, TILE):
                for x in range(0, width, TILE):
                    w, h = min(TILE, width - x), min(TILE, height - y)
                    # Draw the tile by moving the scene: vispy's own `region` is forgotten at the second
                    # call. A buffer's rows count upwards from the lower edge of the canvas.
                    self._view.transform.translate = (
                        -x * dense,
                        (bottom - (y + h) * SAMPLES) / self._canvas.pixel_scale,
                    )
                    tile = self._canvas.render(size=(w * SAMPLES, h * SAMPLES), bgcolor=ground)
                    picture[y : y + h, x : x + w] = cv2.resize(tile, (w, h), interpolation=cv2.INTER_AREA)
        finally:
            self._view.transform.translate = (0.0, 0.0)
            self._camera = shown
            self._use_mesh(moving, force=True)
            self._place(*self.size)
        return picture

    def _use_mesh(self, moving: bool, force: bool = False) -> None:
        if moving != self._moving or force:
            self._moving = moving
            self._field.set_mesh((CELLS_MOVING if moving else CELLS_STILL)[not self._software])

    def _hide_overlays(self) -> None:
        for node in (self._frame, self._frame_text, self._stalks, self._ghosts, self._heads, self._numbers):
            node.visible = False

    def _place(self, width: float, height: float, scale: float = 1.0) -> None:
        """Place camera, light and overlays for a view of this size; ``scale`` enlarges pins and writing."""
        self._world.transform.matrix = self._camera.matrix(width, height).T  # vispy multiplies rows
        azimuth, elevation, ambient = self._light
        self._field.set_light(self._camera.light(azimuth, elevation), self._camera.axes[2], ambient)
        if self._surface is None:
            return
        self._place_frame(self._surface, width, height, scale)
        self._place_pins(self._surface, scale)
        self._canvas.update()

    def _place_pins(self, surface: PreparedSurface, scale: float) -> None:
        feet = [(pin, surface.to_world(pin[1], pin[2], self._exaggeration)) for pin in self._pins]
        standing = [(pin, foot) for pin, foot in feet if foot is not None]
        for node in (self._stalks, self._ghosts, self._heads, self._numbers):
            node.visible = bool(standing)
        if not standing:
            return
        foot = np.array([at for _, at in standing])
        head = foot + np.array([0.0, 0.0, _STALK * self._camera.span])
        colours = np.array([(*_rgb(pin[3]), 1.0) for pin, _ in standing])
        faint = colours * (1.0, 1.0, 1.0, 0.35)
        self._stalks.set_data(
            np.stack([foot, head], axis=1).reshape(-1, 3), color=np.repeat(colours, 2, axis=0), width=2 * scale
        )
        self._ghosts.set_data(head, face_color=faint, edge_width=0, size=17 * scale)
        self._heads.set_data(head, face_color=colours, edge_color="black", edge_width=scale, size=17 * scale)
        self._numbers.text = [str(pin[0]) for pin, _ in standing]
        self._numbers.pos = head
        self._numbers.font_size = 8 * scale
        self._numbers.color = [("black" if np.dot(c[:3], (0.3, 0.6, 0.1)) > 0.4 else "white") for c in colours]

    def _place_frame(self, surface: PreparedSurface, width: float, height: float, scale: float) -> None:
        """Draw the outline of the floor and one upright edge; write their lengths beside them."""
        self._frame.visible = self._framed
        self._frame_text.visible = False
        if not self._framed:
            return
        low, high = surface.bounds(self._exaggeration)
        floor = np.array([[low[0], low[1], 0], [high[0], low[1], 0], [high[0], high[1], 0], [low[0], high[1], 0]])
        back = self._camera.axes[2]
        near_x, near_y = (high[0] if back[0] > 0 else low[0]), (high[1] if back[1] > 0 else low[1])
        foot = floor[int(np.argmin(self._camera.project(floor, width, height)[:, 0]))]
        upright = np.array([foot, (foot[0], foot[1], high[2])])
        self._frame.set_data(np.concatenate([floor[[0, 1, 1, 2, 2, 3, 3, 0]], upright]), color=self._ink, width=scale)
        rows, columns = surface.shape
        edges = (
            (_length(columns, surface), np.array([[low[0], near_y, 0], [high[0], near_y, 0]])),
            (_length(rows, surface), np.array([[near_x, low[1], 0], [near_x, high[1], 0]])),
            # without a known height there is none to tell
            *(
                []
                if surface.empty
                else [(f"{number(surface.high - surface.low, 3)} {surface.unit_symbol}".strip(), upright)]
            ),
        )
        centre = self._camera.project((low + high) / 2, width, height)
        texts, places = [], []
        for text, edge in edges:
            (x0, y0), (x1, y1) = self._camera.project(edge, width, height)
            length = np.hypot(x1 - x0, y1 - y0)
            if length < 12:  # seen end-on
                continue
            middle = np.array([x0 + x1, y0 + y1]) / 2
            outwards = np.array([y1 - y0, x0 - x1]) / length
            outwards *= np.copysign(1.0, outwards @ (middle - centre))
            room = scale * (12 + 3.5 * len(text) * abs(outwards[0]))
            texts.append(text)
            place = middle + outwards * room
            half = scale * HALF_LETTER * len(text)  # a label at the edge of the view moves in as far as it must
            place[0] = np.clip(place[0], min(half, width / 2), max(width - half, width / 2))
            places.append(place)
        self._frame_text.visible = bool(texts)
        if texts:
            self._frame_text.text = texts
            self._frame_text.pos = np.array(places, dtype=np.float32)
            self._frame_text.color = self._ink
            self._frame_text.font_size = 9 * scale


def _length(pixels: int, surface: PreparedSurface) -> str:
    if surface.pixel is None:
        return f"{pixels} px"
    return f"{number(pixels * surface.pixel)} {surface.unit_symbol}"


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue
