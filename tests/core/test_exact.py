"""Exact peaks within the answer of a network."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import scenes
from dffnets.synthetic.random_scenes import random_stack
from toposcope.core.calibration import Sourced
from toposcope.core.curve import curve_at
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.exact import AGREES, DISAGREES, SURE, MeasuredVolume, take_peaks
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.refine import DepthMap
from toposcope.core.result import DepthResult
from toposcope.core.scales import ProbabilityVolume
from toposcope.core.scratch import ScratchArray
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.core.volume import MeasureVolume

Maps = NDArray[np.float32]


def flat(value: float, size: int = 12) -> Maps:
    return np.full((size, size), value, np.float32)


@pytest.mark.parametrize(
    ("apart", "share"), [(0.0, 1.0), (AGREES, 1.0), ((AGREES + DISAGREES) / 2, 0.5), (DISAGREES, 0.0), (4.0, 0.0)]
)
def test_peaks_count_as_far_as_they_agree(apart: float, share: float) -> None:
    for sign in (1, -1):
        index, confidence, taken = take_peaks(flat(5.0), flat(0.6), DepthMap(flat(5.0 + sign * apart), flat(0.9)))
        assert_allclose(index, 5.0 + sign * share * apart, atol=1e-5)
        assert_allclose(confidence, 0.6 + share * 0.3, atol=1e-5)
        assert_allclose(taken, share, atol=1e-5)


def test_unsure_peaks_count_in_part_and_never_lower_the_confidence() -> None:
    index, confidence, _ = take_peaks(flat(5.0), flat(0.6), DepthMap(flat(5.4), flat(SURE / 2)))
    assert_allclose(index, 5.2, atol=1e-5)
    assert_allclose(confidence, 0.6)


def test_voids_of_either_side_stay_what_the_network_says() -> None:
    peaks, known = DepthMap(flat(5.4), flat(0.9)), flat(0.6)
    peaks.index[:6], peaks.confidence[:6] = np.nan, 0
    known[:, :6] = 0
    index, confidence, taken = take_peaks(flat(5.0), known, peaks)
    assert_allclose(index[:6], 5.0)
    assert_allclose(index[:, :6], 5.0)
    assert (confidence[:, :6] == 0).all()
    assert (taken[:6] == 0).all()
    assert (taken[:, :6] == 0).all()
    assert_allclose(index[8:, 6:], 5.4, atol=1e-5)


def test_a_peak_that_agrees_by_chance_among_noise_is_not_taken() -> None:
    scattered = np.random.default_rng(0).uniform(0, 20, (12, 12)).astype(np.float32)
    scattered[6, 6] = 5.1
    index, _, _ = take_peaks(flat(5.0), flat(0.6), DepthMap(scattered, flat(1.0)))
    assert_allclose(index[6, 6], 5.0)


def by(method: str, stack: FocalStack, keep_volume: bool = False, **options: object) -> DepthResult:
    settings = METHODS[method].checked(options)
    return estimate(stack, EstimateSettings(method, settings, align="none", keep_volume=keep_volume))


def test_on_texture_the_hybrid_is_as_exact_as_the_default() -> None:
    scene = scenes.tilted_plane(noise=0.01)
    error = {
        method: np.nanmean(np.abs(by(method, scene.stack).depth - scene.depth)[scene.inner])
        for method in ("default", "light", "hybrid")
    }
    assert error["hybrid"] < 1.05 * error["default"] < 0.6 * error["light"]


@pytest.mark.parametrize("network", ["light", "fad", "dualfocus"])
def test_any_network_becomes_more_exact_on_texture(network: str) -> None:
    scene = scenes.tilted_plane(n=9)
    plain, exact = (
        np.nanmean(np.abs(by(network, scene.stack, exact=exact).depth - scene.depth)[scene.inner])
        for exact in (False, True)
    )
    assert exact < 0.6 * plain


def test_where_texture_is_faint_the_hybrid_keeps_to_the_network() -> None:
    made = random_stack((4711, 2), "macro", 9, 96)
    positions = Sourced(made.positions.numpy().astype(np.float64), "rendered")
    stack = FocalStack.create(ArraySource(made.frames.numpy()), positions, "um")
    truth = made.depth.numpy()
    inside = (truth >= 0) & (truth <= 1)
    error = {
        method: np.sqrt(np.mean((by(method, stack, fill=True).depth - truth)[inside] ** 2))
        for method in ("default", "light", "hybrid")
    }
    assert error["hybrid"] < 0.6 * error["default"]
    assert error["hybrid"] < 1.1 * error["light"]


def test_curves_are_the_network_s_and_measures_the_default_s() -> None:
    scene = scenes.tilted_plane(n=9)
    hybrid, network, default = (by(method, scene.stack, keep_volume=True) for method in ("hybrid", "light", "default"))
    for row, column in ((40, 40), (70, 90)):
        curve = curve_at(hybrid, row, column)
        assert_allclose(curve.probability, curve_at(network, row, column).probability)
        assert curve.measure is not None
        assert_allclose(curve.measure, curve_at(default, row, column).measure)
    assert hybrid.volume is not None
    assert hybrid.volume.shape == (9, *scene.stack.shape)
    assert_allclose(sum(hybrid.volume.plane(i) for i in range(9)), 1, atol=5e-3)
    assert hybrid.provenance.settings["network"] == "light"
    for result in (hybrid, network, default):
        assert result.volume is not None
        result.volume.close()


def test_a_curve_tells_where_its_depth_comes_from_and_what_it_holds() -> None:
    scene = scenes.tilted_plane(n=9)
    hybrid, network, default = (by(method, scene.stack, keep_volume=True) for method in ("hybrid", "light", "default"))
    curves = [curve_at(result, 70, 90) for result in (hybrid, network, default)]
    assert [curve.origin for curve in curves] == ["measure", "mean", "neighbours"]
    # so it is: the peak of the measure, to which the default adds no more than its smoothing, and not the mean
    assert abs(curves[0].depth - curves[2].position) < 0.1 * np.diff(scene.stack.positions.value)[0]
    mean = float(np.sum(curves[1].probability * curves[1].positions))
    assert_allclose(curves[1].depth, mean, atol=0.05)
    held = [result.volume.memory for result in (hybrid, network, default) if result.volume is not None]
    assert held[2] == 2 * 9 * np.prod(scene.stack.shape)
    assert held[1] >= held[2]
    assert held[0] == held[1] + held[2] + np.prod(scene.stack.shape)  # both volumes, and how much of each was taken
    for result in (hybrid, network, default):
        assert result.volume is not None
        result.volume.close()


def test_a_depth_of_two_parts_is_said_to_lie_between() -> None:
    measured = MeasureVolume((3, 1, 3))
    volume = MeasuredVolume(ProbabilityVolume((3, 1, 3)), measured, np.array([[0.0, 0.4, 1.0]], np.float32))
    assert [volume.origin(0, column) for column in range(3)] == ["mean", "both", "measure"]
    volume.close()
    assert volume.memory == 3


@pytest.mark.parametrize("word", ["measuring slice 4", "finding the peaks", "Light network", "fusing"])
def test_cancelled_anywhere_all_scratch_is_given_back(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    open_now: set[int] = set()
    for kind in (MeasureVolume, ScratchArray):  # frames, measures, and the answers of the network
        made, close = kind.__init__, kind.close
        monkeypatch.setattr(kind, "__init__", lambda one, *how, made=made: (made(one, *how), open_now.add(id(one)))[0])
        monkeypatch.setattr(kind, "close", lambda one, close=close: (close(one), open_now.discard(id(one)))[0])

    def stop(progress: Progress) -> None:
        if word in progress.text:
            assert open_now
            raise Cancelled

    with pytest.raises(Cancelled):
        estimate(scenes.tilted_plane(n=9).stack, EstimateSettings("hybrid", align="none", keep_volume=True), stop)
    assert not open_now
