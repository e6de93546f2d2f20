"""Alignment, against stacks whose motion is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import scenes
from dffnets.alignment import Predicted
from toposcope.core import learned_align
from toposcope.core.align import (
    STILL,
    AlignedSource,
    Alignment,
    Motion,
    align,
    apply,
    common_void,
    measure,
    rescale_matrix,
    still_alignment,
)
from toposcope.core.calibration import Sourced
from toposcope.core.chain import components, solve, solve_gains
from toposcope.core.jobs import Cancelled, CancelToken, Progress
from toposcope.core.learned_align import measure_learned
from toposcope.core.registration import Pair, pyramid, register
from toposcope.core.stack import ArraySource, FocalStack, SelectedSource
from toposcope.errors import SettingsError

DATA = Path(__file__).parents[2] / "../shared/data"
MOVING: dict[str, Any] = {"size": 384, "n": 8, "magnify": 0.2, "drift": 0.03, "turn_deg": 1.0, "noise": 0.01}


def similarity(
    scale: float = 1.0, degrees: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    angle = np.deg2rad(degrees)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def between(motions: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    """Return the matrix from frame ``first`` to ``second``, from matrices of a common scene."""
    full = [np.vstack([motions[i], [0, 0, 1]]) for i in (first, second)]
    relative: NDArray[np.float64] = (full[1] @ np.linalg.inv(full[0]))[:2]
    return relative


def corner_rms(found: NDArray[np.float64], true: NDArray[np.float64], shape: tuple[int, int]) -> float:
    corners = np.array([(x, y, 1.0) for x in (0, shape[1] - 1) for y in (0, shape[0] - 1)]).T
    return float(np.sqrt(np.mean(np.sum(((found - true) @ corners) ** 2, axis=0))))


def errors(alignment: Alignment, scene: scenes.Scene) -> NDArray[np.float64]:
    shape = scene.stack.shape
    return np.array(
        [
            corner_rms(motion.matrix, between(scene.motions, alignment.reference, i), shape)
            for i, motion in enumerate(alignment.motions)
        ]
    )


def stack_of(frames: NDArray[Any]) -> FocalStack:
    return FocalStack.create(ArraySource(frames))


@pytest.fixture(scope="module")
def moving() -> tuple[scenes.Scene, Alignment]:
    scene = scenes.hemisphere(**MOVING)
    return scene, measure(scene.stack)


# the truth: rendered motion


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["tilted_plane", "step", "occlusion"])
def test_known_motion_is_found_within_three_tenths_of_a_pixel(scene: str) -> None:
    rendered = getattr(scenes, scene)(**MOVING)
    alignment = measure(rendered.stack)
    assert alignment.needed
    assert all(motion.registered for motion in alignment.motions)
    assert np.sqrt(np.mean(errors(alignment, rendered) ** 2)) < 0.3


def test_reference_has_the_smallest_field_of_view(moving: tuple[scenes.Scene, Alignment]) -> None:
    scene, alignment = moving
    assert np.sqrt(np.mean(errors(alignment, scene) ** 2)) < 0.3
    seen = [np.hypot(matrix[0, 0], matrix[1, 0]) for matrix in scene.motions]
    assert alignment.reference == int(np.argmax(seen))
    assert max(motion.magnification for motion in alignment.motions) == 1.0


def test_text_says_what_was_found(moving: tuple[scenes.Scene, Alignment]) -> None:
    scene, alignment = moving
    assert "magnification changes by 20 %" in alignment.text
    assert scene.stack.source.names[alignment.reference] in alignment.text


def test_few_slices_with_large_steps_are_registered() -> None:
    scene = scenes.step(**{**MOVING, "n": 5})
    assert errors(measure(scene.stack), scene).max() < 0.3


@pytest.mark.slow
def test_steady_stack_is_left_alone_whatever_its_blur() -> None:
    scene = scenes.hemisphere(size=384, n=9, blur_px=2.5, noise=0.01)
    aligned, alignment = align(scene.stack)
    assert not alignment.needed
    assert alignment.text.startswith("steady")
    assert aligned is scene.stack


@pytest.mark.slow
def test_pure_drift_keeps_the_magnification() -> None:
    scene = scenes.hemisphere(**{**MOVING, "magnify": 0.0, "turn_deg": 0.0})
    alignment = measure(scene.stack)
    assert all(motion.magnification == 1 for motion in alignment.motions)
    assert "magnification steady" in alignment.text
    assert errors(alignment, scene).max() < 0.3


def test_brightness_is_evened_out() -> None:
    scene = scenes.tilted_plane(size=256, n=7, encoding="uint16")
    factors = np.array([1, 0.93, 1.05, 0.98, 1.04, 0.9, 1.0])
    frames = np.stack([scene.stack.read(i).astype(np.float64) for i in range(scene.stack.n)])
    flickering = np.rint(frames * 0.9 * factors[:, None, None]).astype(np.uint16)
    aligned, alignment = align(stack_of(flickering))
    found = np.array([motion.gain for motion in alignment.motions])
    assert_allclose(found * factors, factors[alignment.reference], rtol=0.01)
    assert "brightness changes by 17 %" in alignment.text
    means = [float(aligned.read(i).mean()) for i in range(aligned.n)]
    assert np.ptp(means) / np.mean(means) < 0.02
    assert aligned.source.dtype == np.uint16


@pytest.mark.slow
def test_frame_of_something_else_is_reported_and_not_bent() -> None:
    scene = scenes.tilted_plane(**MOVING)
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    other = scenes.tilted_plane(**{**MOVING, "seed": 9}).stack.source.read(3)
    for stranger in (other, np.full_like(frames[3], 120)):
        frames[3] = stranger
        alignment = measure(stack_of(frames))
        assert [i for i, motion in enumerate(alignment.motions) if not motion.registered] == [3]
        assert "frame 4" in alignment.text
        found = errors(alignment, scene)
        assert np.delete(found, 3).max() < 0.3
        assert found[3] < 2  # between its neighbours


def test_stack_without_texture_is_left_alone() -> None:
    noise = np.random.default_rng(0).normal(128, 2, (5, 200, 240)).round().astype(np.uint8)
    for frames in (noise, np.full((5, 200, 240), 77, np.uint8)):
        aligned, alignment = align(stack_of(frames))
        assert not alignment.needed
        assert "no texture" in alignment.text
        assert aligned.void is None


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 3, 500), (3, 5, 7), (3, 17, 200), (4, 33, 33)])
def test_tiny_frames_pass(shape: tuple[int, int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    aligned, _ = align(stack_of(frames))
    assert aligned.read(0).shape == shape[1:]


def test_dim_frames_in_sixteen_bits_align_like_bright_ones() -> None:
    scene = scenes.tilted_plane(size=192, n=5, drift=0.03, noise=0.0)
    bright = np.stack([scene.stack.read(i) for i in range(scene.stack.n)]).astype(np.float32)
    bright = bright / np.float32(bright.max())
    one, other = (
        measure(FocalStack.create(ArraySource((bright * white).round().astype(np.uint16)))) for white in (60000, 3000)
    )
    for motion, dim in zip(one.motions, other.motions, strict=True):
        assert corner_rms(motion.matrix, dim.matrix, scene.stack.shape) < 0.05


@pytest.mark.parametrize("zoom", [1.01, 0.99])
def test_near_side_is_guessed_from_the_magnification_and_only_where_it_is_a_guess(zoom: float) -> None:
    frames = np.zeros((4, 40, 50), dtype=np.uint8)
    motions = tuple(Motion(similarity(zoom**i)) for i in range(4))
    alignment = Alignment(motions, 0, needed=True, text="")
    photographs = FocalStack.create(ArraySource(frames), kind=Sourced("camera", "EXIF"))
    assert apply(photographs, alignment).near.value == ("high" if zoom > 1 else "low")
    assert apply(photographs, alignment).near.guessed
    stated = replace(photographs, near=Sourced("high", "typed in"))
    assert apply(stated, alignment).near == stated.near
    micrographs = FocalStack.create(ArraySource(frames), kind=Sourced("microscope", "OME-TIFF"))
    assert apply(micrographs, alignment).near == micrographs.near


def test_alignment_brings_frames_together(moving: tuple[scenes.Scene, Alignment]) -> None:
    scene, alignment = moving
    aligned = apply(scene.stack, alignment)
    inside = ~common_void(alignment, aligned.shape)
    reference = scene.stack.read(alignment.reference)[inside].astype(float)
    neighbour = alignment.reference + (1 if alignment.reference == 0 else -1)
    before = np.corrcoef(reference, scene.stack.read(neighbour)[inside])[0, 1]
    after = np.corrcoef(reference, aligned.read(neighbour)[inside])[0, 1]
    assert after > 0.9 > before


# the source


def test_reference_is_returned_untouched(moving: tuple[scenes.Scene, Alignment]) -> None:
    scene, alignment = moving
    aligned = apply(scene.stack, alignment)
    assert_array_equal(aligned.read(alignment.reference), scene.stack.read(alignment.reference))


def picture(shape: tuple[int, ...], dtype: type = np.uint8, blur: float = 3) -> NDArray[Any]:
    noise = np.random.default_rng(1).random(shape)
    smooth: NDArray[Any] = cv2.GaussianBlur(noise, (0, 0), blur)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return smooth.astype(np.float32) if dtype is np.float32 else np.rint(smooth * np.iinfo(dtype).max).astype(dtype)


def aligned_source(plane: NDArray[Any], matrix: NDArray[np.float64], gain: float = 1.0) -> AlignedSource:
    motions = (Motion(STILL), Motion(matrix, gain), Motion(STILL))
    return AlignedSource(ArraySource(np.stack([plane] * 3)), motions)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("colour", [(), (3,)])
def test_a_part_is_a_part_of_the_whole(dtype: type, colour: tuple[int, ...]) -> None:
    source = aligned_source(picture((90, 110, *colour), dtype), similarity(0.93, 2, (11.3, -7.6)), 1.1)
    whole = source.read(1)
    assert whole.dtype == dtype
    assert whole.shape == (90, 110, *colour)
    step = 1e-4 if dtype is np.float32 else 2e-3 * np.iinfo(dtype).max + 1
    for roi in ((slice(0, 90), slice(0, 110)), (slice(30, 41), slice(50, 90)), (slice(0, 3), slice(107, 110))):
        part = source.read(1, roi)
        assert part.shape == whole[roi].shape
        assert np.abs(part.astype(float) - whole[roi]).max() <= step
    outside = aligned_source(picture((90, 110, *colour), dtype), similarity(1, 0, (500, -300)))
    assert_array_equal(outside.read(1, (slice(5, 9), slice(5, 9))), outside.read(1)[5:9, 5:9])


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_reduced_reads_show_the_whole_reduced(scale: int) -> None:
    plane = picture((256, 320), blur=2.0 * scale)
    source = aligned_source(plane, similarity(1.04, 1, (-9.0, 5.0)))
    size = (320 // scale, 256 // scale)
    whole, unmoved = (cv2.resize(p, size, interpolation=cv2.INTER_AREA).astype(float) for p in (source.read(1), plane))
    inner = slice(3, -3)
    right = np.abs(source.read(1, scale=scale) - whole)[inner, inner].mean()
    # a slip of half a reduced pixel, as from centres put wrongly, must show
    slipped = cv2.warpAffine(unmoved, similarity(shift=(0.5, 0.5)), size) - unmoved
    assert right < 0.25 * np.abs(slipped)[inner, inner].mean()


def test_bright_places_stay_bright() -> None:
    plane = np.zeros((40, 40), np.uint8)
    plane[10:30, 10:30] = 255
    warped = aligned_source(plane, similarity(1, 0, (0.5, 0.5)), 1.2).read(1)
    assert warped[12:27, 12:27].min() == 255
    assert warped[:8, :8].max() == 0


def test_selected_and_reduced_stacks_compose(moving: tuple[scenes.Scene, Alignment]) -> None:
    scene, alignment = moving
    aligned = apply(scene.stack, alignment)
    part = aligned.subset([1, 3, 6])
    assert_array_equal(part.read(1), aligned.read(3))
    turned = replace(scene.stack, source=SelectedSource(scene.stack.source, tuple(range(scene.stack.n))[::-1]))
    assert measure(turned).reference == scene.stack.n - 1 - alignment.reference


def test_a_preview_finds_nearly_the_same(moving: tuple[scenes.Scene, Alignment]) -> None:
    scene, alignment = moving
    preview = measure(scene.stack.reduced(2)).scaled(2)
    assert preview.reference == alignment.reference
    assert errors(preview, scene).max() < 1
    aligned, _ = align(scene.stack.reduced(2))
    assert aligned.read(0, scale=2).shape == (96, 96)


def test_alignment_of_another_stack_must_have_as_many_frames() -> None:
    stack = stack_of(np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(SettingsError, match=r"5 frames .* has 4"):
        apply(stack, still_alignment(5, "typed in"))


# laws


@given(
    st.floats(0.8, 1.25), st.floats(-5, 5), st.floats(-40, 40), st.floats(-40, 40), st.sampled_from([0.25, 0.5, 2, 4])
)
def test_scaling_back_is_no_change(scale: float, degrees: float, x: float, y: float, factor: float) -> None:
    matrix = similarity(scale, degrees, (x, y))
    assert_allclose(rescale_matrix(rescale_matrix(matrix, factor), 1 / factor), matrix, atol=1e-9)


@given(st.floats(0.8, 1.25), st.floats(-5, 5), st.floats(-30, 30), st.floats(-30, 30))
def test_void_is_where_a_frame_does_not_reach(scale: float, degrees: float, x: float, y: float) -> None:
    matrix = similarity(scale, degrees, (x, y))
    row, column = np.mgrid[0:40, 0:56]
    at = np.einsum("ij,jrc->irc", matrix, np.stack([column, row, np.ones_like(row)]))
    clear = 1e-3  # on the very border rounding decides
    outside = (at[0] < -clear) | (at[1] < -clear) | (at[0] > 55 + clear) | (at[1] > 39 + clear)
    inside = (at[0] > clear) & (at[1] > clear) & (at[0] < 55 - clear) & (at[1] < 39 - clear)
    void = common_void(Alignment((Motion(STILL), Motion(matrix)), 0, True, ""), (40, 56))
    assert void[outside].all()
    assert not void[inside].any()
    lost = common_void(Alignment((Motion(STILL), Motion(matrix, registered=False)), 0, True, ""), (40, 56))
    assert not lost.any()


def test_brighter_frames_lie_the_same() -> None:
    plane = picture((200, 260), np.float32)
    moved = cv2.warpAffine(plane, similarity(1.02, 0.5, (3, -2)), (260, 200), flags=cv2.INTER_CUBIC)
    pairs = [register(pyramid(plane), pyramid(moved * np.float32(factor))) for factor in (1.0, 0.5)]
    assert pairs[0] is not None
    assert pairs[1] is not None
    assert pairs[0].turn == pytest.approx(pairs[1].turn, abs=2e-4)
    assert pairs[1].gain / pairs[0].gain == pytest.approx(2, rel=1e-3)


# the chain


def pair(turn: complex, shift: complex, error: float = 0.01, gain: float = 1.0) -> Pair:
    information = np.diag([(100 / error) ** 2, (100 / error) ** 2, error**-2, error**-2])
    return Pair(turn, shift, information, error, 0.9, gain, 0.0)


def test_chain_is_solved_exactly_and_outvotes_a_wrong_pair() -> None:
    rng = np.random.default_rng(2)
    turns = np.exp(np.linspace(0, 0.1, 9) + 0.01j * np.linspace(0, 1, 9))
    shifts = np.cumsum(rng.normal(0, 1, 9) + 1j * rng.normal(0, 1, 9))
    shifts -= shifts[0]
    links = {}
    for i in range(9):
        for j in range(i + 1, min(9, i + 3)):
            turn = turns[j] / turns[i]
            links[i, j] = pair(turn, shifts[j] - turn * shifts[i])
    links[3, 5] = pair(1.1 + 0.02j, 40 - 9j, error=0.5)
    poses = solve(9, links, (120, 160))
    assert_allclose(poses.turn, turns, atol=1e-4)
    assert_allclose(poses.shift, shifts, atol=0.02)


def test_unmeasured_frames_follow_their_neighbours() -> None:
    step = pair(1.01 + 0j, 2 + 1j)
    links = {(0, 1): step, (1, 2): step, (2, 4): pair(1.0201 + 0j, 2 * (2.01 + 1.005j)), (4, 5): step}
    poses = solve(7, links, (120, 160))
    assert abs(poses.turn[3]) == pytest.approx(1.01**3, abs=1e-3)
    assert abs(poses.turn[5]) < abs(poses.turn[6]) < 1.01**7
    assert list(components(7, links)) == [0, 0, 0, 3, 0, 0, 6]


def test_gains_multiply_along_the_chain() -> None:
    links = {(0, 1): pair(1, 0, gain=1.1), (1, 2): pair(1, 0, gain=0.9)}
    assert_allclose(solve_gains(4, links), [1, 1.1, 0.99, 0.99], rtol=1e-4)


# jobs


def test_progress_is_told_per_frame_and_cancel_stops() -> None:
    stack = scenes.tilted_plane(size=128, n=6).stack
    told: list[Progress] = []
    align(stack, report=told.append)
    assert [progress.fraction for progress in told] == sorted(progress.fraction for progress in told)
    assert len(told) > stack.n
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        align(stack, report=token.guard())


def test_none_takes_frames_as_they_are(moving: tuple[scenes.Scene, Alignment]) -> None:
    stack, alignment = align(moving[0].stack, "none")
    assert stack is moving[0].stack
    assert not alignment.needed


# real stacks


def real(folder: str, step: int = 1) -> FocalStack:
    if not (DATA / folder).is_dir():
        pytest.skip(f"the sample data {folder} are not beside the project")
    files = sorted(path for path in (DATA / folder).iterdir() if path.suffix.lower() in {".jpg", ".png"})
    files = [path for path in files if "mask" not in path.name]
    files.sort(key=lambda path: [int(part) for part in path.stem.split("_") if part.isdigit()])
    planes = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files[::step]]
    return stack_of(np.stack([plane for plane in planes if plane is not None]))


def test_button_on_a_board_grows_by_a_sixth() -> None:
    alignment = measure(real("stacks_real/pcb_button"))
    first, last = alignment.motions[0], alignment.motions[-1]
    assert last.magnification / first.magnification == pytest.approx(1.165, abs=0.015)
    assert alignment.reference == 9
    assert max(abs(motion.rotation_deg) for motion in alignment.motions) < 0.3


def test_rendered_surfaces_are_steady() -> None:
    alignment = measure(real("stacks_with_gt/generated_surface_1", step=4))
    assert not alignment.needed


def test_telecentric_stack_only_drifts() -> None:
    alignment = measure(real("stacks_real_licence_unclear/metal_plates_z-0.2_0.1_1.3"))
    assert alignment.text.startswith("magnification steady")
    places = [motion.matrix[:, 2] for motion in alignment.motions]
    assert np.hypot(*np.ptp(places, axis=0)) / 1024 == pytest.approx(0.008, abs=0.0005)


# the alignment network


def test_learned_alignment_finds_zoom_and_drift() -> None:
    scene = scenes.hemisphere(**{**MOVING, "turn_deg": 0.0})
    aligned, alignment = align(scene.stack, "learned")
    assert alignment.needed
    assert alignment.text.startswith("by the alignment network, magnification changes by")
    assert scene.stack.source.names[alignment.reference] in alignment.text
    assert max(motion.magnification for motion in alignment.motions) == pytest.approx(1.0, abs=2e-3)
    still = still_alignment(scene.stack.n, "")
    before = errors(replace(still, reference=alignment.reference), scene)
    assert np.median(errors(alignment, scene)) < 0.1 * np.median(before)
    assert isinstance(aligned.source, AlignedSource)


def test_learned_alignment_speaks_of_pixels_of_the_full_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    # frames of 800 x 1203 are read at a quarter without the last 3 columns, and shrunk to 168 x 256
    found = np.array([[1.02, 3.0, -1.5], [1.0, 0.0, 0.0], [0.97, 1.0, 2.0]])
    predicted = Predicted(found, 1, np.ones(3), np.ones(3))
    monkeypatch.setattr(learned_align, "_predicted", lambda frames, report: predicted)
    frames = np.random.default_rng(0).integers(0, 255, (3, 800, 1203), np.uint8)
    alignment = measure_learned(stack_of(frames))
    assert alignment.reference == 0
    full = [np.vstack([motion.matrix, [0, 0, 1]]) for motion in alignment.motions]
    middle, to_full = np.array([1200 - 1, 800 - 1]) / 2, np.array([1200 / 256, 800 / 168])
    for i in range(3):
        between_them = (full[i] @ np.linalg.inv(full[1]))[:2]
        scale, *shift = found[i]
        point = np.array([40.0, -25.0]) * to_full
        there = between_them @ np.array([*(middle + point), 1])
        assert_allclose(there, middle + scale * point + np.array(shift) * to_full, atol=1e-6)


def test_frames_that_the_network_makes_worse_follow_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.array([[1.0, 0.0, 0.0], [0.5, 40.0, 9.0], [1.0, 8.0, 0.0]])
    predicted = Predicted(found, 0, np.array([1.0, 0.2, 0.9]), np.array([1.0, 0.6, 0.4]))
    monkeypatch.setattr(learned_align, "_predicted", lambda frames, report: predicted)
    stack = stack_of(np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8))
    alignment = measure_learned(stack)
    assert [motion.registered for motion in alignment.motions] == [True, False, True]
    first, second, third = (motion.matrix[:, 2] for motion in alignment.motions)
    assert_allclose(second, (first + third) / 2)
    assert f"Not registered, too little in common with their neighbours: {stack.source.names[1]}" in alignment.text


def test_motion_that_the_network_may_imagine_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = Predicted(np.array([[1.0, 0.2, 0.0], [1.0, 0.0, 0.0], [1.0, -0.1, 0.0]]), 1, np.ones(3), np.ones(3))
    monkeypatch.setattr(learned_align, "_predicted", lambda frames, report: predicted)
    stack = stack_of(np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8))
    aligned, alignment = align(stack, "learned")
    assert aligned is stack
    assert alignment.text.startswith("by the alignment network, steady")


def test_tiny_frames_are_left_as_they_are_by_the_network() -> None:
    alignment = measure_learned(stack_of(np.zeros((3, 20, 40), np.uint8)))
    assert not alignment.needed
    assert "too small" in alignment.text


def test_cancel_stops_the_network() -> None:
    token = CancelToken()
    told: list[float] = []

    def report(progress: Progress) -> None:
        told.append(progress.fraction)
        if progress.fraction > 0.5:
            token.cancel()

    with pytest.raises(Cancelled):
        measure_learned(scenes.step(n=5, size=96).stack, report=token.guard(report))
    assert told == sorted(told)
