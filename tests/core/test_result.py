"""What follows from a result: its scale, and heights that grow towards the lens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenes import tilted_plane
from toposcope.core.calibration import Side, Sourced, Unit, typical_step
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.result import DepthResult


@pytest.fixture(scope="module")
def result() -> DepthResult:
    return estimate(tilted_plane(size=48, n=6).stack, EstimateSettings("tenengrad", align="none"))


@pytest.mark.parametrize(
    ("unit", "pixel_um", "pitch"),
    [("um", 0.5, 0.5), ("mm", 0.5, 5e-4), ("m", 20.0, 2e-5), ("index", 0.5, None), ("um", None, None)],
)
@pytest.mark.parametrize("kind", ["microscope", "camera"])
def test_pixel_pitch_is_in_the_unit_of_the_depth(
    result: DepthResult, unit: Unit, pixel_um: float | None, pitch: float | None, kind: str
) -> None:
    pixel = None if pixel_um is None else Sourced(pixel_um, "typed in")
    scaled = replace(result, unit=unit, pixel_um=pixel, kind=Sourced(kind, "typed in"))
    assert scaled.pixel_pitch == (None if pitch is None else pytest.approx(pitch))


@pytest.mark.parametrize(("near", "sign"), [("high", 1), ("low", -1)])
def test_heights_grow_towards_the_lens_from_the_far_end(result: DepthResult, near: Side, sign: int) -> None:
    heights = replace(result, near=Sourced(near, "typed in")).heights()
    far = result.positions.value[0 if near == "high" else -1]
    np.testing.assert_allclose(heights, sign * (result.depth - far), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(np.isnan(heights), ~result.valid)


def test_one_long_gap_does_not_change_the_typical_step() -> None:
    assert typical_step(np.array([0.0, 2, 4, 6, 50, 52])) == 2.0
