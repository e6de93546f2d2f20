"""The focus volume: probabilities, in memory and on disk."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from toposcope.core import volume as volume_module
from toposcope.core.peak import encode
from toposcope.core.volume import MeasureVolume, probabilities
from toposcope.errors import OutputError

SHAPE = (6, 30, 42)


def measures() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(1e-5, 1e-3, SHAPE).astype(np.float32)


def filled(scratch: Path | None = None) -> MeasureVolume:
    volume = MeasureVolume(SHAPE, scratch)
    for i, plane in enumerate(measures()):
        volume.add(i, [encode(plane[:16]), encode(plane[16:])], plane)
    volume.settle(2e-4, 2e-5)
    return volume


@pytest.fixture(params=["memory", "disk"])
def volume(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MeasureVolume]:
    if request.param == "disk":
        monkeypatch.setattr(volume_module, "IN_MEMORY", 100)
    made = filled(tmp_path)
    yield made
    made.close()


def test_measures_come_back(volume: MeasureVolume) -> None:
    assert_allclose(volume.measure(17, 40), measures()[:, 17, 40], rtol=1e-3)


def test_probabilities_follow_their_formula_and_sum_to_1(volume: MeasureVolume) -> None:
    m = measures()[:, 3, 5].astype(np.float64)
    shares = np.maximum(m - 2e-4, 0) + 2e-5
    assert_allclose(volume.probability(3, 5), shares / shares.sum(), rtol=5e-3)
    assert_allclose(sum(volume.plane(i) for i in range(6)), 1, rtol=1e-5)


def test_planes_and_pixels_agree(volume: MeasureVolume) -> None:
    planes = np.stack([volume.plane(i) for i in range(6)])
    assert planes.shape == volume.shape
    for row, column in ((0, 0), (29, 40), (12, 7)):
        assert_allclose(planes[:, row, column], volume.probability(row, column), rtol=1e-5)


def test_noise_has_no_preferred_slice_and_a_peak_has() -> None:
    noise = probabilities(np.array([0.9, 1.0, 1.1, 0.95], dtype=np.float32)[:, None], 1.1, 0.1)
    assert_allclose(noise, 0.25)
    peak = probabilities(np.array([0.9, 30.0, 1.1, 0.95], dtype=np.float32)[:, None], 1.1, 0.1)
    assert peak[1] > 0.98


def test_scratch_file_vanishes_with_the_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(volume_module, "IN_MEMORY", 100)
    made = filled(tmp_path)
    if os.name == "posix":
        assert not list(tmp_path.iterdir())  # unlinked at once: not even a crash leaves it behind
    made.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(io.UnsupportedOperation, match="closed"):
        made.measure(0, 0)


def test_large_volume_is_kept_at_reduced_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(volume_module, "IN_MEMORY", 6 * 15 * 21 * 2)
    monkeypatch.setattr(volume_module, "ON_DISK", 0)
    made = filled(tmp_path)
    assert made.scale == 2
    assert made.shape == SHAPE
    assert_allclose(made.measure(29, 41), measures()[:, 28:30, 40:42].mean(axis=(1, 2)), rtol=1e-3)
    assert_allclose(made.measure(10, 10), measures()[:, 10:12, 10:12].mean(axis=(1, 2)), rtol=1e-3)
    assert_allclose(sum(made.plane(i) for i in range(6)), 1, rtol=1e-4)
    assert made.plane(0).shape == SHAPE[1:]


def test_full_disk_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(volume_module, "IN_MEMORY", 10)
    monkeypatch.setattr(volume_module, "_SPARE", 1 << 60)
    with pytest.raises(OutputError, match=r"need .* GB of disk, 0\.0 GB are free"):
        MeasureVolume(SHAPE, tmp_path)


def test_missing_scratch_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(volume_module, "IN_MEMORY", 10)
    with pytest.raises(OutputError, match="nowhere"):
        MeasureVolume(SHAPE, tmp_path / "nowhere")
