"""Answers at several sizes: which is believed, where finer ones add their detail, and whose curve is shown."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dffnets.synthetic.random_scenes import random_stack
from dffnets.tiling import Tile
from toposcope.core.calibration import Sourced
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.networks import NetworkSettings
from toposcope.core.scales import Answer, MeanPosition, ProbabilityVolume, ScaledVolume, factors_for, merge
from toposcope.core.stack import ArraySource, FocalStack

N = 11
PLACE = np.linspace(0, 1, N, dtype=np.float32)
Maps = NDArray[np.float32]


def answer(factor: int, mean: Maps, spread: Maps | float) -> Answer:
    """An answer whose curves are Gaussians about ``mean``; both in shares of the sweep."""
    curves = np.exp(-0.5 * ((PLACE[:, None, None] - mean) / spread) ** 2).astype(np.float32)
    curves /= curves.sum(0)
    whole = Tile(0, mean.shape[0], 0, mean.shape[1])
    positions = MeanPosition(mean.shape, PLACE)
    positions.add(whole, curves)
    volume = ProbabilityVolume((N, *mean.shape))
    volume.add(whole.slices, curves)
    return Answer(factor, positions, volume)


def halo(size: int = 32) -> tuple[Answer, Answer]:
    """A slanted surface: the coarse answer is right everywhere, the fine one has detail, and an unsure halo."""
    slant = np.broadcast_to(np.linspace(0.3, 0.5, size, dtype=np.float32), (size, size)).copy()
    coarse = slant.reshape(size // 2, 2, size // 2, 2).mean((1, 3))
    detailed = slant + 0.02 * (-1.0) ** np.arange(size, dtype=np.float32)
    detailed[:8], spread = 0.9, np.full((size, size), 0.08, np.float32)
    spread[:8] = 0.2
    return answer(2, coarse, 0.08), answer(1, detailed, spread)


@pytest.mark.parametrize(
    ("shape", "name", "expected"),
    [
        ((1536, 2048), "automatic", (8, 4, 2, 1)),
        ((3000, 256), "automatic", (2, 1)),
        ((255, 4000), "automatic", (1,)),
        ((128, 128), "automatic", (1,)),
        ((1536, 2048), "full", (1,)),
        ((40, 40), "eighth", (8,)),
    ],
)
def test_sizes_that_are_looked_at(shape: tuple[int, int], name: str, expected: tuple[int, ...]) -> None:
    assert factors_for(shape, name) == expected


def test_a_halo_is_left_to_the_coarse_answer_and_detail_comes_from_the_fine_one() -> None:
    coarse, fine = halo()
    merged = merge([coarse, fine], (32, 32), PLACE)
    assert merged.factor == 2
    assert [float(weight[:8].mean()) for weight in merged.weights] == [1, 0]
    assert [float(weight[13:].mean()) for weight in merged.weights] == [0, 1]
    np.testing.assert_allclose(merged.mean[:8], coarse.positions.enlarged((32, 32)).mean[:8])
    np.testing.assert_allclose(merged.mean[13:], fine.positions.mean[13:])
    np.testing.assert_allclose(merged.relative_spread[13:], fine.positions.relative_spread()[13:])


def test_a_finer_answer_that_agrees_everywhere_is_taken_even_if_less_sure() -> None:
    flat = np.full((32, 32), 0.5, np.float32)
    merged = merge([answer(2, flat[::2, ::2], 0.05), answer(1, flat + 0.02, 0.1)], (32, 32), PLACE)
    assert merged.factor == 1
    np.testing.assert_allclose(merged.mean, 0.52, atol=1e-3)


def test_the_fine_answer_alone_is_taken_where_it_is_surer() -> None:
    flat = np.full((32, 32), 0.5, np.float32)
    fine = answer(1, flat, 0.05)
    merged = merge([answer(2, flat[::2, ::2] + 0.2, 0.1), fine], (32, 32), PLACE)
    assert merged.factor == 1
    assert merged.answers == (fine,)
    assert merged.volume() is fine.volume


def test_detail_fades_where_both_come_to_disagree() -> None:
    """The fine answer leaves the coarse one by up to two slices; what is put together has no step of its own."""
    coarse = np.full((16, 64), 0.3, np.float32)
    fine = np.broadcast_to(np.linspace(0.3, 0.5, 128, dtype=np.float32), (32, 128)).copy()
    merged = merge([answer(2, coarse, 0.08), answer(1, fine, 0.12)], (32, 128), PLACE)
    slices = 10 * merged.mean[16]
    assert slices[25] == pytest.approx(10 * fine[16, 25], abs=0.01)  # 0.4 slices off: agreed
    assert slices[-1] == pytest.approx(3, abs=0.01)
    assert np.abs(np.diff(slices)).max() < 5 * 2 / 127  # the fine answer itself changes by 2 / 127 a pixel
    share = np.asarray(merged.weights[1][16], np.float64)
    # a pixel on, where it is least within reach
    assert share[40:50] == pytest.approx((1.0 - 2 * np.arange(41, 51) / 127) / 0.5, abs=0.02)


def test_no_rim_is_left_where_the_fine_answer_goes_over_to_a_halo() -> None:
    fine = np.full((32, 128), 0.3, np.float32)
    fine[:, 60:] = 0.9
    fine[:, 58:60] = [0.32, 0.345]  # agrees in passing
    spread = np.where(fine > 0.31, 0.2, 0.08).astype(np.float32)
    merged = merge([answer(2, np.full((16, 64), 0.3, np.float32), 0.08), answer(1, fine, spread)], (32, 128), PLACE)
    assert 10 * np.ptp(merged.mean) < 0.25  # nearly half a slice if each pixel were asked alone


def test_what_the_fine_answer_does_not_know_adds_nothing() -> None:
    """A flat curve has its mean in the middle of the sweep, where the coarse answer happens to be."""
    spread = np.full((32, 32), 0.08, np.float32)
    spread[:8] = 5.0
    middle = np.full((32, 32), 0.5, np.float32)
    merged = merge([answer(2, middle[::2, ::2], 0.08), answer(1, middle, spread)], (32, 32), PLACE)
    assert merged.relative_spread.max() < 0.5
    assert [float(weight[:8].mean()) for weight in merged.weights] == [1, 0]


def test_void_has_no_say() -> None:
    """Both disagree everywhere; the fine one is unsure in the void only, so it is believed if that does not count."""
    spread = np.full((32, 32), 0.05, np.float32)
    void = np.zeros((32, 32), bool)
    void[:12] = True
    spread[void] = 0.3

    def believed(void: NDArray[np.bool_] | None) -> int:
        coarse = answer(2, np.full((16, 16), 0.3, np.float32), 0.07)
        return merge([coarse, answer(1, np.full((32, 32), 0.6, np.float32), spread)], (32, 32), PLACE, void).factor

    assert believed(None) == 2
    assert believed(void) == 1
    assert believed(np.ones_like(void)) == 1  # nothing known at all: the finest


def test_mean_of_every_curve_is_the_mean_position() -> None:
    coarse, fine = halo()
    merged = merge([coarse, fine], (32, 32), PLACE)
    volume = merged.volume()
    assert isinstance(volume, ScaledVolume)
    assert volume.shape == (N, 32, 32)
    for row, column in [(0, 0), (0, 31), (3, 16), (7, 30), (8, 8), (31, 31), (20, 1)]:
        curve = volume.probability(row, column)
        assert curve.sum() == pytest.approx(1, abs=1e-5)
        assert curve @ PLACE == pytest.approx(merged.mean[row, column], abs=2e-3)
        planes = [volume.plane(i)[row, column] for i in range(N)]
        np.testing.assert_allclose(planes, curve, atol=2e-3)
    assert volume.measure(0, 0) is None
    volume.close()


def test_one_reduced_size_alone_fills_the_whole_picture() -> None:
    only = answer(4, np.full((5, 7), 0.4, np.float32), 0.1)
    merged = merge([only], (19, 27), PLACE)
    assert merged.mean.shape == (19, 27)
    np.testing.assert_allclose(merged.mean, only.positions.mean[0, 0], rtol=1e-5)
    volume = merged.volume()
    assert volume is not None
    assert volume.probability(18, 26) @ PLACE == pytest.approx(merged.mean[18, 26], abs=2e-3)


def test_large_shapes_are_seen_better_at_automatic_size() -> None:
    """A rendered scene whose shapes are four times as large as any that the network has learnt from."""
    scene = random_stack((99, 0), "macro", 7, 256, scale=4)
    positions = Sourced(scene.positions.numpy().astype(np.float64), "rendered")
    stack = FocalStack.create(ArraySource(scene.frames.numpy()), positions, "um")
    truth = scene.depth.float().numpy()
    known = (truth >= 0) & (truth <= 1)

    def found(scale: str) -> tuple[float, int]:
        settings = EstimateSettings("light", NetworkSettings(scale=scale, fill=True), align="none", keep_volume=False)
        result = estimate(stack, settings)
        error = float(np.sqrt(np.mean((result.depth - truth)[known] ** 2)))
        return error, int(result.provenance.settings["reduced_by"])

    (full, reduced_by), automatic = found("full"), found("automatic")
    assert reduced_by == 1
    assert automatic[1] == 2
    assert automatic[0] < 0.7 * full
