"""The renderer against rays, formulas and its own truth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import scenes
from dffnets.synthetic import LayerRenderer, Microscope, Scene, Sensor, Solid, ThinLens, fractal, render_stack
from dffnets.synthetic.optics import transfer
from toposcope.core.stack import to_grey

Floats = NDArray[np.float32]
SIDE, MARGIN = 72, 16
LENS = Microscope(na=0.3, pixel_um=0.6)


def by_rays(scene: Scene, lens: Microscope, focus: float, rays: int = 150, edge: int = cv2.INTER_LINEAR) -> Floats:
    """Render by following one ray per aperture point and pixel through the scene, without any blur.

    The ray through pixel p and aperture point u passes height z at p + u slope (z - focus). It is followed
    downwards and stops where it first meets a body, whose colour is read there. ``edge`` says how: columns
    of one height and colour for scenes with walls, else smoothly between pixels.
    """
    golden = np.pi * (3 - np.sqrt(5))
    radius, angle = np.sqrt((np.arange(rays) + 0.5) / rays), golden * np.arange(rays)
    slope = np.tan(np.arcsin(lens.na)) / lens.pixel_um
    rows, columns = np.indices(scene.canvas, dtype=np.float32)
    total = np.zeros((*scene.canvas, scene.channels), np.float32)
    for u, v in zip(radius * np.cos(angle), radius * np.sin(angle), strict=True):
        light = np.ones((*scene.canvas, 1), np.float32)  # how much of the ray is still on its way
        for solid in reversed(scene.solids):
            surface = np.broadcast_to(np.float32(solid.depth), scene.canvas)
            heights = np.unique(np.linspace(surface.max(), surface.min(), 160))[::-1]
            met = np.zeros(scene.canvas, bool)
            x, y = columns.copy(), rows.copy()
            for height in heights:
                reach = np.float32(slope * (height - focus))
                here_x, here_y = columns + np.float32(u) * reach, rows + np.float32(v) * reach
                free = ~met
                x[free], y[free] = here_x[free], here_y[free]
                inside = read(surface, here_x, here_y, edge) >= height - 1e-4
                if solid.mask is not None:
                    inside &= read(solid.mask, here_x, here_y) > 0
                met |= inside
            cover = met[..., None].astype(np.float32)
            if solid.mask is not None:
                cover *= read(solid.mask, x, y)[..., None]
            seen = read(solid.colour, x, y, edge).reshape(*scene.canvas, -1)
            total += light * cover * seen
            light *= 1 - cover
    blurred = cv2.GaussianBlur(total / rays, (0, 0), lens.sharpest_px)
    return np.asarray(blurred, np.float32).reshape(total.shape)


def read(plane: NDArray[Any], x: Floats, y: Floats, how: int = cv2.INTER_LINEAR) -> Floats:
    return np.asarray(cv2.remap(plane, x, y, how, borderMode=cv2.BORDER_WRAP), np.float32)


def pattern(seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    side = SIDE + 2 * MARGIN
    return (0.5 + 0.15 * fractal((side, side), 1.2, rng, finest=0.25))[..., None].clip(0, 1)


def grid() -> tuple[Floats, Floats]:
    rows, columns = np.indices((SIDE + 2 * MARGIN, SIDE + 2 * MARGIN), dtype=np.float32) - MARGIN
    return rows, columns


def slope_scene() -> Scene:
    rows, _ = grid()
    heights = (8 + 8 * np.sin(2 * np.pi * (rows + MARGIN) / (SIDE + 2 * MARGIN))).astype(np.float32)
    return Scene((Solid(heights, pattern(1)),), MARGIN)


def cliff_scene() -> Scene:
    rows, columns = grid()
    block = (np.abs(rows - SIDE / 2) < 18) & (np.abs(columns - SIDE / 2) < 18)
    colour = pattern(2) * np.where(block, 1.4, 0.5).astype(np.float32)[..., None]
    return Scene((Solid(np.where(block, np.float32(16), np.float32(0)), colour),), MARGIN)


def floating_scene() -> Scene:
    rows, columns = grid()
    disc = np.clip(14 - np.hypot(rows - SIDE / 2, columns - SIDE / 2) + 0.5, 0, 1).astype(np.float32)
    return Scene((Solid(0.0, pattern(3)), Solid(16.0, 0.5 * pattern(4), disc)), MARGIN)


@pytest.mark.parametrize("focus", [0.0, 8.0, 16.0])
@pytest.mark.parametrize(
    ("scene", "edge", "worst"),
    [
        (slope_scene(), cv2.INTER_LINEAR, 0.005),
        (cliff_scene(), cv2.INTER_NEAREST, 0.02),
        (floating_scene(), cv2.INTER_LINEAR, 0.005),
    ],
    ids=["slope", "cliff", "floating"],
)
def test_pictures_agree_with_rays(scene: Scene, edge: int, worst: float, focus: float) -> None:
    # RMSE where white is 1, pictures vary by 0.09 (slope) to 0.22 (cliff) and blur circles reach radii of 8.4 px
    rays = scene.cut(by_rays(scene, LENS, focus, edge=edge))
    ours = scene.cut(LayerRenderer(scene, LENS).light_at(focus))
    assert np.sqrt(np.mean((ours - rays) ** 2)) < worst


def test_rays_notice_what_pasting_does_wrong() -> None:
    """The bounds above mean something: each level blurred for itself and pasted is far worse."""
    scene = cliff_scene()
    rays = scene.cut(by_rays(scene, LENS, 8.0, edge=cv2.INTER_NEAREST))
    levels = [
        LayerRenderer(Scene((Solid(z, scene.solids[0].colour),), MARGIN), LENS).light_at(8.0) for z in (0.0, 16.0)
    ]
    pasted = scene.cut(np.where(scene.depth()[..., None] > 8, levels[1], levels[0]))
    ours = scene.cut(LayerRenderer(scene, LENS).light_at(8.0))
    assert np.mean((pasted - rays) ** 2) > 4 * np.mean((ours - rays) ** 2)


def test_what_is_in_focus_does_not_let_the_background_through() -> None:
    rows, _ = grid()
    slope = (4 + rows / 12).astype(np.float32)
    bright = np.full((*rows.shape, 1), 0.9, np.float32)
    dark = np.full((*rows.shape, 1), 0.1, np.float32)
    hidden = Scene((Solid(-20.0, bright), Solid(slope, dark, np.ones(rows.shape, np.float32))), MARGIN)
    for focus in (4.0, 7.0, 30.0):
        np.testing.assert_allclose(hidden.cut(LayerRenderer(hidden, LENS).light_at(focus)), 0.1, atol=2e-3)


@pytest.mark.parametrize("psf", ["disc", "gaussian"])
def test_transfer_is_that_of_the_spread_function(psf: Any) -> None:
    side, radius, fine = 64, 6.0, 8
    line = (np.arange(side * fine) + 0.5) / fine - side / 2
    distance = np.hypot(line[:, None], line[None])
    spread = (distance < radius).astype(float) if psf == "disc" else np.exp(-2 * (distance / radius) ** 2)
    spectrum = np.abs(np.fft.fft2(spread / spread.sum()))[0, : side // 4]  # cycles per width of the canvas
    frequency = torch.arange(side // 4) / side
    np.testing.assert_allclose(transfer(frequency, radius, psf).abs().numpy(), spectrum, atol=3e-3)


def test_microscope_blurs_by_its_cone() -> None:
    # NA 0.6 in air: tan(asin(0.6)) = 0.75, so 10 um out of focus is a circle of radius 7.5 um
    assert Microscope(na=0.6, pixel_um=0.5).radius_px(np.array([30.0]), 20.0) == pytest.approx(15.0)


def test_thin_lens_blurs_by_the_formula_of_the_circle_of_confusion() -> None:
    # c = A f |z - d| / (z (d - f)) on the sensor, A = f / N
    lens = ThinLens(focal_mm=50, f_number=2, pitch_um=10, far_mm=1000)
    diameter_mm = 25 * 50 * (2000 - 1000) / (2000 * (1000 - 50))
    assert lens.radius_px(np.array([2000.0]), 1000.0) == pytest.approx(diameter_mm / 2 / 0.010)


def test_breathing_is_that_of_the_sensor_distance() -> None:
    lens = ThinLens(focal_mm=100, f_number=4, pitch_um=5, far_mm=600, breathing=True)
    # s = f d / (d - f): 150 mm at 300 mm, 120 mm at 600 mm
    np.testing.assert_allclose(lens.magnifications(np.array([300.0, 600.0])), [1.25, 1.0])


def test_noise_is_that_of_counted_electrons() -> None:
    light = np.full((200, 200), 0.25, np.float32)
    seen = Sensor(full_well=1000, read_noise=5, bits=None).record(light, np.random.default_rng(0))
    assert np.mean(seen) == pytest.approx(0.25, abs=4e-4)
    assert np.var(seen) == pytest.approx((250 + 25) / 1000**2, rel=0.03)


@pytest.mark.parametrize(
    ("bits", "dtype", "white"), [(8, np.uint8, 255), (16, np.uint16, 65535), (None, np.float32, 1)]
)
def test_sensor_keeps_its_bit_depth(bits: Any, dtype: Any, white: float) -> None:
    values = Sensor(bits=bits, gamma=2.0).encode(np.array([0, 0.25, 1, 3], np.float32))
    assert values.dtype == dtype
    np.testing.assert_allclose(values, np.array([0, 0.5, 1, 1]) * white, atol=0.5 if bits else 1e-6)


def test_odd_canvas_and_colour_are_kept() -> None:
    colour = np.random.default_rng(0).random((51, 37, 3), np.float32)
    rendered = render_stack(Scene((Solid(0.0, colour),), margin=4), LENS, [0.0, 1.0, 2.0])
    assert rendered.frames.shape == (3, 43, 29, 3)
    assert rendered.frames.dtype == np.float32
    assert rendered.depth.shape == (43, 29)


def test_same_seed_gives_the_same_stack() -> None:
    sensor = Sensor(full_well=500)
    first, again, other = (render_stack(slope_scene(), LENS, [0.0, 8.0], sensor, seed=s).frames for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ["microscope", "camera"])
@pytest.mark.parametrize("make", [scenes.tilted_plane, scenes.hemisphere, scenes.step, scenes.occlusion])
def test_sharpest_slice_lies_where_the_truth_says(make: Any, kind: str) -> None:
    scene = make(kind=kind, unit="um" if kind == "microscope" else "mm")
    error = (sharpest(scene) - scene.index)[scene.inner]
    assert np.abs(error).mean() < 0.1
    assert abs(error.mean()) < 0.03


def sharpest(scene: scenes.Scene) -> Floats:
    """Return the place of the highest grey-level variance, by a Gaussian through three slices."""
    frames = [to_grey(scene.stack.read(i)) for i in range(scene.stack.n)]
    variance = np.log([cv2.blur(f * f, (9, 9)) - cv2.blur(f, (9, 9)) ** 2 + 1e-7 for f in frames])
    top = variance.argmax(axis=0).clip(1, scene.stack.n - 2)
    before, here, after = (np.take_along_axis(variance, top[None] + k, axis=0)[0] for k in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-6)
    return np.asarray(top + (0.5 * (before - after) / bend).clip(-1, 1), np.float32)


def test_motions_bring_frames_back_to_the_scene() -> None:
    scene, turn = slope_scene(), np.radians(1.0)
    motion = np.array([[1.05 * np.cos(turn), -np.sin(turn), 2.0], [np.sin(turn), 1.05 * np.cos(turn), -1.5]])
    still = render_stack(scene, LENS, [4.0]).frames[0].astype(np.float32)
    moved = render_stack(scene, LENS, [4.0], motions=motion[None])
    back = cv2.warpAffine(
        moved.frames[0].astype(np.float32), moved.motions[0], (SIDE, SIDE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    assert np.abs(back - still)[6:-6, 6:-6].mean() < 0.004
    assert np.abs(moved.frames[0] - still)[6:-6, 6:-6].mean() > 0.02


def test_scene_motion_is_named_pixel_by_pixel() -> None:
    moved = scenes.tilted_plane(size=128, n=5, magnify=0.1, drift=0.03, turn_deg=1.0)
    np.testing.assert_allclose(moved.motions[-1], np.eye(2, 3), atol=1e-12)
    assert np.hypot(*moved.motions[0][:, 0]) == pytest.approx(1.1)
    centre = moved.motions[0] @ (63.5, 63.5, 1)
    assert np.hypot(*(centre - 63.5)) == pytest.approx(0.03 * 128)


def test_noise_of_a_scene_is_what_was_asked_for() -> None:
    clean, noisy = (scenes.step(noise=noise, encoding="float32").stack.read(0) for noise in (0.0, 0.02))
    assert np.std(noisy - clean) == pytest.approx(0.02, rel=0.1)


def test_patches_without_texture_are_marked() -> None:
    scene = scenes.textureless_patches()
    share = 4 * np.pi * 0.14**2
    assert 1 - scene.textured.mean() == pytest.approx(share, rel=0.05)
