"""Measured shapes as scenes: files, voids, bodies and what lies behind them; and the polygon of an iris."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from dffnets.synthetic.optics import Blades
from dffnets.synthetic.pairs import (
    Geometry,
    PairError,
    behind,
    cliffs,
    fill_voids,
    floating_layers,
    geometry_names,
    mirrored,
    pair_stack,
    read_geometry,
)
from dffnets.synthetic.torus import Layer, frequencies, polygon_transfer, render, transfer

Floats = NDArray[np.float32]
DATA = Path(__file__).parents[2] / "../shared/data"


def write_pair(folder: Path, name: str, values: Floats, kind: str = "depth", picture: Floats | None = None) -> None:
    picture = np.full(values.shape, 128, np.float32) if picture is None else picture
    tifffile.imwrite(folder / f"{name}_depth.tif", values)
    cv2.imwrite(str(folder / f"{name}_rgb.png"), cv2.merge([picture.astype(np.uint8)] * 3))
    (folder / f"{name}.json").write_text(json.dumps({"kind": kind}))


def disc(size: int = 64, radius: float = 14) -> NDArray[np.bool_]:
    rows, columns = np.indices((size, size)) - size / 2
    inside: NDArray[np.bool_] = np.hypot(rows, columns) < radius
    return inside


# -- files


def test_nearness_grows_towards_the_lens_whatever_the_kind(tmp_path: Path) -> None:
    values = np.array([[1, 2], [4, np.nan]], np.float32)
    for kind, expected in (("disparity", values), ("height", values), ("depth", 1 / values)):
        write_pair(tmp_path, kind, values, kind)
        geometry = read_geometry(tmp_path, kind)
        np.testing.assert_allclose(geometry.nearness, expected)
        assert geometry.solid == (kind == "height")
        assert geometry.picture is not None
        np.testing.assert_allclose(geometry.picture, (128 / 255) ** 2.2, rtol=1e-5)


def test_depth_of_nothing_is_unknown(tmp_path: Path) -> None:
    write_pair(tmp_path, "hole", np.array([[0, 2]], np.float32))
    np.testing.assert_array_equal(read_geometry(tmp_path, "hole").nearness, [[np.nan, 0.5]])


def test_pairs_and_surfaces_are_listed(tmp_path: Path) -> None:
    write_pair(tmp_path, "room", np.ones((4, 4), np.float32))
    tifffile.imwrite(tmp_path / "coin_height_um.tif", np.ones((4, 4), np.float32))
    assert geometry_names(tmp_path) == ["coin", "room"]
    assert read_geometry(tmp_path, "coin").picture is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "room.json").unlink(), "room.json does not say"),
        (
            lambda folder: (folder / "room.json").write_text('{"kind": "guess"}'),
            "known are disparity, depth and height",
        ),
        (lambda folder: (folder / "room_rgb.png").unlink(), "room_rgb.png is missing"),
        (lambda folder: (folder / "room_depth.tif").unlink(), "room_depth.tif is missing"),
        (lambda folder: cv2.imwrite(str(folder / "room_rgb.png"), np.zeros((3, 3), np.uint8)), "they must be equal"),
    ],
)
def test_files_that_cannot_be_used_say_why(tmp_path: Path, spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    write_pair(tmp_path, "room", np.ones((4, 4), np.float32))
    spoil(tmp_path)
    with pytest.raises(PairError, match=words):
        read_geometry(tmp_path, "room")


# -- voids


def test_voids_beside_a_foreground_become_background() -> None:
    nearness = np.full((20, 30), 1.0, np.float32)
    nearness[:, 10:18] = 5.0
    shadowed = nearness.copy()
    shadowed[:, 18:23] = np.nan
    np.testing.assert_array_equal(fill_voids(shadowed, farther=True), nearness)


def test_dropouts_of_a_slope_lie_on_the_slope() -> None:
    slope = np.tile(np.linspace(0, 3, 40, dtype=np.float32), (30, 1))
    holed = slope.copy()
    holed[np.random.default_rng(0).random(slope.shape) < 0.2] = np.nan
    holed[:, [0, -1]] = slope[:, [0, -1]]
    np.testing.assert_allclose(fill_voids(holed, farther=False), slope, atol=0.08)
    np.testing.assert_allclose(np.abs(fill_voids(holed, farther=False) - slope).mean(), 0, atol=2e-3)


def test_what_sees_nothing_known_takes_the_nearest() -> None:
    nearness = np.full((9, 9), np.nan, np.float32)
    nearness[0, 0] = 2.0
    assert (fill_voids(nearness, farther=True) == 2).all()
    with pytest.raises(PairError, match="nothing of the depth is known"):
        fill_voids(np.full((3, 3), np.nan, np.float32), farther=True)


# -- bodies


def test_outlines_are_cut_and_slopes_are_not() -> None:
    slope = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    assert cliffs(slope) == []
    above = np.where(disc(), np.float32(1), 0.5 * slope)
    levels = cliffs(above)
    assert len(levels) == 1
    assert 0.5 < levels[0] < 1


def test_behind_a_body_the_nearest_farther_ones_go_on_around_the_torus() -> None:
    label = np.random.default_rng(1).integers(0, 3, (12, 12)).astype(np.intp)
    rows, columns = np.indices(label.shape)
    for body in range(3):
        seen = behind(label, body)
        for row, column in np.ndindex(label.shape):
            away = np.hypot((rows - row + 6) % 12 - 6, (columns - column + 6) % 12 - 6)
            away[label > body] = np.inf
            at = np.unravel_index(seen[row, column], label.shape)
            assert label[at] <= body
            assert away[at] <= away.min() * 1.09 + 1e-9  # chamfer distances are within some per cent


@pytest.mark.parametrize("focus", [0.0, 1.0])
def test_nothing_of_the_foreground_leaks(focus: float) -> None:
    # a checkered disc before even grey: behind the disc there is even grey, whatever the picture showed
    size, slope = 64, 8.0
    front = disc(size)
    checker = ((np.indices((size, size)) // 4).sum(0) % 2).astype(np.float32)
    picture = np.where(front, checker, np.float32(0.3)).astype(np.float32)
    layers, label = floating_layers(front.astype(np.float32), [picture], own=True, spacing=0.1)
    assert (label == front).all()
    ours = render(layers, torch.tensor([focus]), slope, 16.0, 0.5)[0]
    base = torch.exp(-2 * (torch.pi * 0.5 * frequencies(size, torch.device("cpu"))) ** 2)
    lens = base * transfer(torch.tensor(slope * (1 - focus)), 16.0, size)
    cover, light = (
        torch.fft.irfft2(torch.fft.rfft2(torch.from_numpy(p.astype(np.float32))) * lens, s=(size, size))
        for p in (front, front * checker)
    )
    torch.testing.assert_close(ours, light + (1 - cover.clamp(0, 1)) * 0.3, atol=2e-4, rtol=0)


def test_mirror_images_close_on_the_torus() -> None:
    tile = mirrored(np.random.default_rng(0).random((5, 7), np.float32))
    assert tile.shape == (10, 14)
    np.testing.assert_array_equal(tile[0], tile[-1])
    np.testing.assert_array_equal(tile[:, 0], tile[:, -1])


# -- stacks


@pytest.fixture(scope="module")
def geometries() -> list[Geometry]:
    rng = np.random.default_rng(3)
    picture = cv2.GaussianBlur(rng.random((90, 120), np.float32), (0, 0), 0.7)
    nearness = np.full((90, 120), 0.2, np.float32)
    cv2.circle(nearness, (50, 40), 25, 0.9, -1)
    holed = nearness.copy()
    holed[:, 76:80] = np.nan
    hills = cv2.GaussianBlur(rng.standard_normal((70, 70)).astype(np.float32), (0, 0), 9)
    return [
        Geometry("discs", holed, np.asarray(picture, np.float32), solid=False),
        Geometry("hills", np.asarray(hills, np.float32), None, solid=True),
    ]


def test_stack_is_one_as_training_takes_it(geometries: list[Geometry]) -> None:
    kinds = set()
    for k in range(8):
        stack = pair_stack((1, k), geometries, size=64)
        kinds.add(stack.kind)
        n = len(stack.frames)
        assert 5 <= n <= (24 if stack.kind == "micro" else 16)
        assert stack.frames.shape == (n, 64, 64)
        assert stack.frames.dtype == torch.uint8
        assert stack.depth.dtype == torch.float16
        assert (stack.positions.diff() > 0).all()
        assert stack.depth.min() > -0.1
        assert stack.depth.max() < 1.1
        assert stack.frames.float().std() > 1
    assert kinds == {"micro", "macro"}


def test_same_seed_gives_the_same_pair_stack(geometries: list[Geometry]) -> None:
    first, again = (pair_stack((2, 5), geometries, 5, 32) for _ in range(2))
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.depth, again.depth)


def test_sharpest_slices_follow_the_depth(geometries: list[Geometry]) -> None:
    rank = []
    for k in range(10):
        stack = pair_stack((3, k), geometries, 9, 64)
        frames = stack.frames.float().numpy()
        sharpness = np.stack([cv2.blur(cv2.Laplacian(f, cv2.CV_32F) ** 2, (9, 9)) for f in frames])
        found = stack.positions.numpy()[sharpness.argmax(0)]
        rank.append(np.corrcoef(found.ravel(), stack.depth.float().numpy().ravel())[0, 1])
    assert np.median(rank) > 0.6


def test_shape_of_which_nothing_is_known_is_refused() -> None:
    nothing = Geometry("void", np.full((40, 40), np.nan, np.float32), None, solid=True)
    with pytest.raises(PairError, match="void shows no square"):
        pair_stack((1,), [nothing], 5, 32)


@pytest.mark.skipif(not DATA.is_dir(), reason="the collection of pairs is not beside the project")
@pytest.mark.parametrize("folder", ["rgbd", "height_measured"])
def test_measured_shapes_become_stacks(folder: str) -> None:
    names = geometry_names(DATA / folder)
    assert len(names) > 10
    for k, name in enumerate(names):
        stack = pair_stack((4, k), [read_geometry(DATA / folder, name)], 5, 48)
        assert torch.isfinite(stack.depth).all()
        assert stack.frames.float().std() > 0.5


# -- the polygon of an iris


def inside(blades: Blades, reach: float, samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (x, y) that fill the opening for radius ``reach`` evenly."""
    line = (np.arange(samples) + 0.5) / samples * 3.2 - 1.6
    x, y = np.meshgrid(line, line)
    corners, kept = blades.corners(), np.ones(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True):
        kept &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0
    return x[kept] * reach, y[kept] * reach


@pytest.mark.parametrize("count", [5, 6, 7, 8])
def test_polygon_passes_as_much_light_as_the_disc(count: int) -> None:
    x, y = Blades(count, 0.3).corners().T
    assert 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) == pytest.approx(np.pi)


@pytest.mark.parametrize("radius", [0.0, 0.4, 3.0, -7.0])
def test_transform_of_the_polygon_is_the_mean_over_its_points(radius: float) -> None:
    blades, frequency = Blades(5, 0.2), torch.linspace(0, 0.5, 9)
    fx, fy = torch.meshgrid(frequency, frequency, indexing="xy")
    x, y = inside(blades, radius, 700)
    phase = -2j * np.pi * (fx.numpy()[..., None] * x[::7] + fy.numpy()[..., None] * y[::7])
    found = blades.transfer(fx, fy, torch.tensor(radius))
    np.testing.assert_allclose(found.numpy(), np.exp(phase).mean(-1), atol=6e-3)


def test_behind_the_focus_the_iris_stands_on_its_head() -> None:
    before, behind_it = polygon_transfer(torch.tensor([5.0, -5.0]), Blades(5), 32)
    torch.testing.assert_close(before, behind_it.conj())
    assert before.imag.abs().max() > 0.01


@pytest.mark.parametrize("focus", [0.0, 0.4, 1.0])
def test_pictures_through_an_iris_agree_with_points_of_the_aperture(focus: float) -> None:
    """RMSE below 0.004 (white is 1, the picture varies by 0.1) against 900 pinhole pictures, each exact."""
    size, slope, blades = 64, 9.0, Blades(5, 0.2)
    rng = np.random.default_rng(4)
    ground, shape = (cv2.GaussianBlur(rng.random((size, size)), (0, 0), 1.5) for _ in range(2))
    front = cv2.GaussianBlur(disc(size, 18).astype(np.float64), (0, 0), 0.7)
    planes = np.stack([ground, front, front * shape])
    places = np.array([0.0, 1.0, 1.0])[:, None, None] - focus
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    x, y = inside(blades, slope, 40)
    exact = np.zeros((size, size))
    for u, v in zip(x, y, strict=True):  # through each point the lens sees the layers shifted, and sharp
        shift = np.exp(-2j * np.pi * places * (u * fx + v * fy))
        behind_it, cover, light = np.fft.irfft2(np.fft.rfft2(planes) * shift, s=(size, size))
        exact += light + (1 - cover) * behind_it
    exact /= len(x)
    layers = [
        Layer(0.0, torch.ones(size, size), torch.from_numpy(ground.astype(np.float32))),
        Layer(1.0, torch.from_numpy(front.astype(np.float32)), torch.from_numpy(shape.astype(np.float32))),
    ]
    ours = render(layers, torch.tensor([focus]), slope, 16.0, 0.0, blades)[0].numpy()
    assert np.sqrt(np.mean((ours - exact) ** 2)) < 0.004
    round_blur = render(layers, torch.tensor([focus]), slope, 16.0, 0.0)[0].numpy()
    assert np.sqrt(np.mean((ours - exact) ** 2)) < np.sqrt(np.mean((round_blur - exact) ** 2))
