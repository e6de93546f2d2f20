"""Surfaces that are seen through others: each found whole, opaque ones left as they are."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import scenes
from toposcope.core.calibration import Sourced
from toposcope.core.estimate import EstimateSettings, estimate, find_method
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.layers import outer_peaks
from toposcope.core.result import DepthResult

N, SIZE = 15, 128
FILM = 0.7 * (N - 1)
"""Slice of the film; the ground's is the truth of the scene."""


class Volume:
    """A focus volume of given curves (N, H, W)."""

    def __init__(self, curves: NDArray[np.float32]) -> None:
        self.curves = curves

    @property
    def shape(self) -> tuple[int, int, int]:
        n, height, width = self.curves.shape
        return n, height, width

    def plane(self, i: int) -> NDArray[np.float32]:
        return self.curves[i]


@lru_cache
def seen(layer: str, method: str = "default", noise: float = 0.01, name: str = "film") -> DepthResult:
    stack = getattr(scenes, name)(size=SIZE, n=N, noise=noise).stack
    return estimate(stack, EstimateSettings(method, find_method(method).checked({"layer": layer}), align="none"))


def slices(result: DepthResult) -> NDArray[np.float64]:
    return np.interp(result.depth, result.positions.value, np.arange(N)) + 0 * result.depth


def share_on(result: DepthResult, truth: Any) -> float:
    """Return the share of the known pixels that lie within half a slice of a surface."""
    return float(np.mean(np.abs(slices(result) - truth)[result.valid] < 0.5))


@pytest.mark.parametrize("method", ["default", "tenengrad", "tft"])
def test_both_surfaces_of_a_film_are_found(method: str) -> None:
    ground = scenes.film(size=SIZE, n=N, noise=0.01).index
    strongest, nearest, farthest = (seen(layer, method) for layer in ("strongest", "nearest", "farthest"))
    assert 0.2 < share_on(strongest, FILM) < 0.8, "the strongest peaks are a patchwork of both"
    assert share_on(nearest, FILM) > 0.98
    assert share_on(farthest, ground) > 0.98
    assert nearest.valid.mean() > 0.9
    assert farthest.valid.mean() > 0.9
    thickness = slices(nearest) - slices(farthest)
    assert np.nanmedian(np.abs(thickness - (FILM - ground))) < 0.1


def test_near_and_far_follow_the_side_of_the_lens() -> None:
    scene = scenes.film(size=SIZE, n=N, noise=0.01)
    turned = replace(scene.stack, near=Sourced("low", "test"))
    options = find_method("default").checked({"layer": "nearest"})
    assert share_on(estimate(turned, EstimateSettings("default", options, align="none")), scene.index) > 0.98


@pytest.mark.parametrize("name", ["tilted_plane", "hemisphere", "textureless_patches"])
@pytest.mark.parametrize("layer", ["nearest", "farthest"])
def test_opaque_surfaces_stay_as_they_are(name: str, layer: str) -> None:
    usual, other = seen("strongest", name=name), seen(layer, name=name)
    assert np.mean(usual.valid != other.valid) < 0.01
    both = usual.valid & other.valid
    assert np.mean(np.abs(slices(usual) - slices(other))[both] > 0.1) < 0.01


def test_confidence_of_the_weaker_peak_is_lower() -> None:
    strongest, nearest = seen("strongest"), seen("nearest")
    changed = strongest.valid & nearest.valid & (np.abs(slices(strongest) - slices(nearest)) > 2)
    assert changed.mean() > 0.1
    assert np.mean(nearest.confidence[changed]) < 0.9 * np.mean(strongest.confidence[changed])


def test_nothing_is_kept_of_the_curves_unless_it_is_wanted(tmp_path: Path) -> None:
    assert seen("nearest").volume is None
    stack = scenes.film(size=SIZE, n=N, noise=0.01).stack
    options = find_method("default").checked({"layer": "nearest"})
    kept = estimate(stack, EstimateSettings("default", options, "none", True, tmp_path))
    assert kept.volume is not None
    np.testing.assert_array_equal(kept.depth, seen("nearest").depth)
    kept.volume.close()
    assert not list(tmp_path.iterdir())


def curves(*values: list[float]) -> Volume:
    """Return a volume of one row with a pixel for each curve."""
    return Volume(np.array(values, np.float32).T[:, None, :])


def test_outer_peaks_are_placed_by_a_gaussian() -> None:
    x = np.arange(12)
    two = np.exp(-0.5 * ((x - 2.7) / 0.8) ** 2) * 0.5 + np.exp(-0.5 * ((x - 8.2) / 0.8) ** 2)
    one = np.exp(-0.5 * ((x - 5.4) / 1.1) ** 2)
    flat, at_first, at_last = np.ones(12), np.exp(-x / 1.5), np.exp((x - 11) / 1.5)
    volume = curves(*(list(values) for values in (two, one, flat, at_first, at_last)))
    up, down = outer_peaks(volume, False), outer_peaks(volume, True)  # type: ignore[arg-type]  as far as it is needed
    np.testing.assert_allclose(up.index[0], [2.7, 5.4, np.nan, 0, 11], atol=0.02)
    np.testing.assert_allclose(down.index[0], [8.2, 5.4, np.nan, 0, 11], atol=0.02)
    np.testing.assert_allclose(up.height[0, [0, 1]], [0.5, 1], atol=0.05)
    np.testing.assert_allclose(down.height[0, [0, 1]], 1, atol=0.01)


def test_ripples_are_no_surfaces() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(20)
    clean = np.exp(-0.5 * ((x - 12.3) / 1.5) ** 2)
    noisy = [list(np.maximum(clean + 0.02 * rng.normal(size=20), 0)) for _ in range(200)]
    found = outer_peaks(curves(*noisy), False).index[0]  # type: ignore[arg-type]
    assert np.mean(np.abs(found - 12.3) < 0.5) > 0.99


def test_layers_can_be_stopped() -> None:
    def stop(progress: Progress) -> None:
        if progress.text == "finding the layers":
            raise Cancelled("stopped")

    stack = scenes.film(size=64, n=N).stack
    options = find_method("default").checked({"layer": "farthest"})
    with pytest.raises(Cancelled):
        estimate(stack, EstimateSettings("default", options, align="none"), stop)
