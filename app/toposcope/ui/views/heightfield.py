"""A height map drawn by the graphics card: our own vispy visual.

The mesh is a flat grid that never changes; its vertices fetch their height from a float texture. So new
heights cost one upload, and the grid may be much coarser than the map: colour, light and holes are
computed for each fragment from the textures at full resolution. Needs GLSL 1.20 with vertex texture
fetch and ``r32f`` textures (OpenGL 2.1 with ARB_texture_rg), which Mesa's llvmpipe offers too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import cmap
import numpy as np
from numpy.typing import NDArray
from vispy import gloo
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

from toposcope.ui.views.surface_data import PreparedSurface

Colouring = Literal["texture", "height", "plain"]

COLOURINGS: Final[dict[Colouring, tuple[float, float, float]]] = {
    "texture": (1.0, 0.0, 0.0),
    "height": (0.0, 1.0, 0.0),
    "plain": (0.0, 0.0, 1.0),
}

VERTEX = """
attribute vec2 a_uv;             // 0..1 over the map
uniform sampler2D u_height;
uniform vec2 u_texel;            // size of a texel in texture coordinates
uniform vec2 u_cell;             // size of a mesh cell in texture coordinates
uniform vec2 u_extent;           // world size in x and y
uniform float u_low;
uniform float u_z_scale;
varying vec2 v_uv;
varying float v_height;

void main() {
    // the grid's corners lie in the centres of the outermost texels
    v_uv = a_uv * (1.0 - u_texel) + 0.5 * u_texel;

    // a coarse grid must not pick single noisy texels: average over the cell
    vec2 d = max(u_cell - u_texel, 0.0) / 3.0;
    v_height = 0.0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            v_height += texture2D(u_height, v_uv + d * vec2(float(j), float(i))).r / 9.0;

    vec3 p = vec3((a_uv.x - 0.5) * u_extent.x, (0.5 - a_uv.y) * u_extent.y, (v_height - u_low) * u_z_scale);
    gl_Position = $transform(vec4(p, 1.0));
}
"""

FRAGMENT = """
uniform sampler2D u_height;
uniform sampler2D u_valid;
uniform sampler2D u_confidence;
uniform sampler2D u_image;
uniform sampler2D u_map;
uniform vec2 u_texel;
uniform float u_side;            // texels along the longer side, which is 1 in the world
uniform float u_z_scale;
uniform vec2 u_levels;           // heights at the ends of the colour map
uniform vec3 u_colouring;        // share of picture, colour map and plain grey
uniform vec3 u_light;            // unit vector towards the light
uniform vec3 u_eye;              // unit vector towards the viewer
uniform float u_ambient;
uniform float u_cut;             // 0, or the height that counts as a step
uniform float u_least;           // 0, or the confidence below which heights are hidden
varying vec2 v_uv;
varying float v_height;

float height(vec2 uv) { return texture2D(u_height, uv).r; }

float lit(vec3 normal) {
    // a weaker lamp beside the viewer's head keeps walls that face away from the light readable
    float lamps = 0.75 * max(dot(normal, u_light), 0.0) + 0.25 * max(dot(normal, u_eye), 0.0);
    return u_ambient + (1.0 - u_ambient) * lamps;
}

void main() {
    // Without mipmaps a texture drawn smaller than it is would sparkle: widen all
    // look-ups to the fragment's own footprint.
    vec2 foot = clamp(fwidth(v_uv), u_texel, 16.0 * u_texel);

    if (texture2D(u_valid, v_uv).r < 0.5) discard;
    if (u_least > 0.0 && texture2D(u_confidence, v_uv).r < u_least) discard;
    float h = height(v_uv);
    if (u_cut > 0.0) {
        // a wall within the map, or one that only the mesh has made
        vec2 x = vec2(u_texel.x, 0.0), y = vec2(0.0, u_texel.y);
        float jump = 0.5 * max(abs(height(v_uv + x) - height(v_uv - x)), abs(height(v_uv + y) - height(v_uv - y)));
        if (max(jump, abs(h - v_height)) > u_cut) discard;
    }

    // slope by Sobel's 3 x 3 differences
    vec2 dx = vec2(foot.x, 0.0), dy = vec2(0.0, foot.y);
    float nw = height(v_uv - dx - dy), n = height(v_uv - dy), ne = height(v_uv + dx - dy);
    float w = height(v_uv - dx), e = height(v_uv + dx);
    float sw = height(v_uv - dx + dy), s = height(v_uv + dy), se = height(v_uv + dx + dy);
    vec2 rise = vec2((ne + 2.0 * e + se) - (nw + 2.0 * w + sw), (nw + 2.0 * n + ne) - (sw + 2.0 * s + se));
    vec2 run = 8.0 * foot / (u_texel * u_side);
    vec3 normal = normalize(vec3(-rise * u_z_scale / run, 1.0));

    vec3 image = 0.25 * (texture2D(u_image, v_uv - 0.25 * foot).rgb + texture2D(u_image, v_uv + 0.25 * foot).rgb
        + texture2D(u_image, v_uv + vec2(-0.25, 0.25) * foot).rgb
        + texture2D(u_image, v_uv + vec2(0.25, -0.25) * foot).rgb);
    float level = clamp((h - u_levels.x) / (u_levels.y - u_levels.x), 0.0, 1.0);
    vec3 mapped = texture2D(u_map, vec2((level * 255.0 + 0.5) / 256.0, 0.5)).rgb;
    vec3 base = u_colouring.x * image + u_colouring.y * mapped + u_colouring.z * vec3(0.75);

    // Level ground keeps the colour of picture and colour bar; slopes get lighter or darker than it.
    vec3 colour = base * min(lit(normal) / max(lit(vec3(0.0, 0.0, 1.0)), 0.15), 1.6);
    if (!gl_FrontFacing) colour = 0.35 * colour + 0.06;      // the inside, seen through a hole
    gl_FragColor = vec4(min(colour, 1.0), 1.0);
}
"""


class HeightFieldVisual(Visual):  # type: ignore[misc]  # vispy has no types
    """A prepared surface as a lit relief with its voids as holes."""

    def __init__(self) -> None:
        Visual.__init__(self, vcode=VERTEX, fcode=FRAGMENT)
        self._draw_mode = "triangles"
        self.set_gl_state("opaque", depth_test=True, cull_face=False)
        self._surface: PreparedSurface | None = None
        self._meshes: dict[tuple[int, int], tuple[gloo.VertexBuffer, gloo.IndexBuffer]] = {}
        self._cells = 0
        self._exaggeration = 1.0
        nothing = np.zeros((2, 2, 1), np.float32)
        self._height = gloo.Texture2D(
            nothing, format="luminance", internalformat="r32f", interpolation="linear", wrapping="clamp_to_edge"
        )
        self._valid = gloo.Texture2D(nothing.astype(np.uint8), interpolation="linear", wrapping="clamp_to_edge")
        self._confidence = gloo.Texture2D(nothing.astype(np.uint8), interpolation="linear", wrapping="clamp_to_edge")
        self._image = gloo.Texture2D(
            np.full((2, 2, 3), 190, np.uint8), interpolation="linear", wrapping="clamp_to_edge"
        )
        self._map = gloo.Texture2D(np.zeros((1, 256, 3), np.uint8), interpolation="linear", wrapping="clamp_to_edge")
        program = self.shared_program
        program["u_height"], program["u_valid"], program["u_confidence"] = self._height, self._valid, self._confidence
        program["u_image"], program["u_map"] = self._image, self._map
        program["u_cut"] = program["u_least"] = 0.0
        self.set_colouring("texture")
        self.set_colour_map("viridis")
        self.set_light((-0.5, 0.5, 0.7071), (0.0, 0.0, 1.0), 0.3)

    def set_surface(self, surface: PreparedSurface) -> None:
        """Upload heights, holes and texture."""
        self._surface = surface
        h, w = surface.heights.shape
        self._height.set_data(surface.heights[..., None])
        self._valid.set_data(surface.valid[..., None])
        certain = surface.confidence if surface.confidence is not None else np.full((2, 2), 255, np.uint8)
        self._confidence.set_data(certain[..., None])
        image = surface.texture if surface.texture is not None else np.full((2, 2, 3), 190, np.uint8)
        self._image.set_data(image)
        program = self.shared_program
        program["u_texel"] = (1.0 / w, 1.0 / h)
        program["u_side"] = float(max(h, w))
        program["u_extent"] = surface.extent
        program["u_low"] = surface.low
        self.set_levels(surface.low, surface.high)
        self.set_exaggeration(self._exaggeration)
        self.set_mesh(self._cells or 256)

    def set_mesh(self, cells: int) -> None:
        """Use a grid of ``cells`` along the longer side (never finer than the map)."""
        self._cells = cells
        if self._surface is None:
            return
        h, w = self._surface.heights.shape
        cell = max(max(h, w) / cells, 1.0)
        nx, ny = max(2, round((w - 1) / cell) + 1), max(2, round((h - 1) / cell) + 1)
        if (nx, ny) not in self._meshes:
            if len(self._meshes) > 4:  # sizes of earlier surfaces
                self._meshes.clear()
            uv, triangles = grid(nx, ny)
            self._meshes[nx, ny] = gloo.VertexBuffer(uv), gloo.IndexBuffer(triangles)
        self.shared_program["a_uv"], self._index_buffer = self._meshes[nx, ny]
        self.shared_program["u_cell"] = (1.0 / (nx - 1), 1.0 / (ny - 1))
        self.update()

    def set_exaggeration(self, exaggeration: float) -> None:
        """Stretch heights by this factor."""
        self._exaggeration = exaggeration
        if self._surface is not None:
            self.shared_program["u_z_scale"] = self._surface.z_scale * exaggeration
            self.update()

    def set_levels(self, low: float, high: float) -> None:
        """Set the heights at the ends of the colour map."""
        self.shared_program["u_levels"] = (low, high)
        self.update()

    def set_colouring(self, colouring: Colouring) -> None:
        """Colour by the picture, by height, or plain grey."""
        self.shared_program["u_colouring"] = COLOURINGS[colouring]
        self.update()

    def set_colour_map(self, name: str) -> None:
        """Use the colour map that `cmap` knows as ``name``."""
        colours = np.round(cmap.Colormap(name).lut(256)[None, :, :3] * 255).astype(np.uint8)
        self._map.set_data(np.ascontiguousarray(colours))
        self.update()

    def set_light(self, towards: Sequence[float], eye: Sequence[float], ambient: float) -> None:
        """Light from direction ``towards``, seen from ``eye`` (unit vectors); ``ambient`` 0..1 fills shadows."""
        self.shared_program["u_light"] = towards
        self.shared_program["u_eye"] = eye
        self.shared_program["u_ambient"] = ambient
        self.update()

    def set_cut(self, jump: float) -> None:
        """Leave out walls where the height changes by more than ``jump`` a texel; 0 keeps all."""
        self.shared_program["u_cut"] = jump
        self.update()

    def set_least(self, confidence: float) -> None:
        """Leave out heights less certain than ``confidence`` (0..1); 0 keeps all."""
        self.shared_program["u_least"] = confidence
        self.update()

    def _prepare_transforms(self, view: Any) -> None:
        view.view_program.vert["transform"] = view.get_transform()

    def _prepare_draw(self, view: Any) -> bool:
        return self._surface is not None

    def _compute_bounds(self, axis: int, view: Any) -> tuple[float, float] | None:
        if self._surface is None:
            return None
        low, high = self._surface.bounds(self._exaggeration)[:, axis]
        return float(low), float(high)


HeightField = create_visual_node(HeightFieldVisual)


def grid(nx: int, ny: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return vertices (nx * ny, 2) over the unit square, row by row, and triangles (2 (nx-1) (ny-1), 3).

    Triangles run counter-clockwise as seen from above, where v grows downwards.
    """
    u, v = np.meshgrid(np.linspace(0, 1, nx, dtype=np.float32), np.linspace(0, 1, ny, dtype=np.float32))
    first = (np.arange(ny - 1, dtype=np.uint32)[:, None] * np.uint32(nx) + np.arange(nx - 1, dtype=np.uint32)).ravel()
    below = first + np.uint32(nx)
    triangles = np.stack([first, below, first + 1, first + 1, below, below + 1], axis=-1).reshape(-1, 3)
    return np.stack([u, v], axis=-1).reshape(-1, 2), triangles.astype(np.uint32)
