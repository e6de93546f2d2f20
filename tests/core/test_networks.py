"""Networks behind the one door."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import scenes
from dffnets.registry import create_network
from dffnets.shipped import WeightsCard, WeightsError, load_network, shipped_cards
from toposcope.core.calibration import Sourced
from toposcope.core.curve import curve_at
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.scales import ProbabilityVolume
from toposcope.core.scratch import ScratchArray
from toposcope.core.settings import checked
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.errors import OutputError, SettingsError, StackError

CARDS = shipped_cards()


@pytest.fixture(params=CARDS, ids=[card.name for card in CARDS])
def card(request: pytest.FixtureRequest) -> WeightsCard:
    return request.param  # type: ignore[no-any-return]


def test_card_tells_the_truth_of_its_weights(card: WeightsCard) -> None:
    network = load_network(card)
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    assert card.path.stat().st_size < 30e6
    assert card.data
    assert card.training
    assert card.figures[card.name]["rmse_all"] < card.figures["sml"]["rmse_all"]


def test_depth_of_a_rendered_dome(card: WeightsCard) -> None:
    scene = scenes.hemisphere(n=11)
    result = estimate(scene.stack, EstimateSettings(card.name, align="none", keep_volume=True))
    error = np.abs(result.depth - scene.depth)[scene.inner & result.valid]
    step = float(np.diff(scene.stack.positions.value)[0])
    assert result.valid[scene.inner].mean() > 0.9
    assert error.mean() < 0.1 * step
    assert result.all_in_focus.shape == scene.stack.read(0).shape
    assert result.provenance.settings["weights"] == card.sha256
    row, column = (side // 2 for side in scene.stack.shape)
    curve = curve_at(result, row, column)
    assert curve.measure is None
    assert curve.probability.sum() == pytest.approx(1, abs=1e-3)
    assert result.volume is not None
    result.volume.close()


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_float_frames_of_any_scale_and_faint_16_bit_ones_keep_their_detail(card: WeightsCard, scale: float) -> None:
    scene = scenes.tilted_plane(n=7)
    step = float(np.diff(scene.stack.positions.value)[0])
    eight = np.stack([scene.stack.read(i) for i in range(7)]).astype(np.float32)
    for frames in (eight * np.float32(scale), (40_000 + 2 * eight).astype(np.uint16)):
        stack = replace(scene.stack, source=ArraySource(frames))
        result = estimate(stack, EstimateSettings(card.name, align="none"))
        assert np.nanmean(np.abs(result.depth - scene.depth)[scene.inner]) < 0.15 * step


def test_voids_are_filled_only_when_asked(card: WeightsCard) -> None:
    frames = np.full((6, 48, 64), 90, np.uint8)  # nothing tells the slices apart
    stack = FocalStack.create(ArraySource(frames), Sourced(np.arange(6.0), "made up"), unit="um")
    plain, filled = (
        estimate(stack, EstimateSettings(card.name, checked(METHODS[card.name].settings, {"fill": fill}), align="none"))
        for fill in (False, True)
    )
    assert filled.valid.all()
    unknown = ~plain.valid
    assert (filled.confidence[unknown] == 0).all()
    np.testing.assert_array_equal(filled.depth[~unknown], plain.depth[~unknown])


def test_more_views_are_told_and_follow_a_turned_picture(card: WeightsCard) -> None:
    scene = scenes.tilted_plane(n=7, size=64)
    frames = np.stack([scene.stack.read(i) for i in range(7)])
    settings = EstimateSettings(card.name, checked(METHODS[card.name].settings, {"views": 8}), align="none")
    upright, turned = (
        estimate(replace(scene.stack, source=ArraySource(np.ascontiguousarray(one))), settings)
        for one in (frames, np.rot90(frames, 1, (1, 2)))
    )
    tolerance = 1e-3 * np.ptp(scene.stack.positions.value)
    np.testing.assert_allclose(turned.depth, np.rot90(upright.depth), atol=tolerance)
    assert upright.provenance.settings["views"] == 8


def test_mean_of_the_curve_is_the_depth(card: WeightsCard) -> None:
    scene = scenes.tilted_plane(n=9)
    result = estimate(scene.stack, EstimateSettings(card.name, align="none", keep_volume=True))
    assert result.volume is not None
    for row, column in ((40, 40), (70, 90)):
        mean = float(result.volume.probability(row, column) @ scene.stack.positions.value)
        assert mean == pytest.approx(float(result.depth[row, column]), abs=0.02 * np.ptp(scene.stack.positions.value))
    planes = sum(result.volume.plane(i) for i in range(scene.stack.n))
    np.testing.assert_allclose(planes, 1, atol=5e-3)
    result.volume.close()


def test_small_tiles_leave_no_seams(card: WeightsCard) -> None:
    scene = scenes.tilted_plane(size=448, n=7, blur_px=1.0)
    depth = [
        estimate(
            scene.stack, EstimateSettings(card.name, checked(METHODS[card.name].settings, {"tile": tile}), align="none")
        ).depth
        for tile in (512, 256)
    ]
    difference = np.abs(depth[0] - depth[1])
    assert np.nanmean(difference) < 1e-3 * np.ptp(scene.stack.positions.value)


def test_cancel_stops_between_tiles(card: WeightsCard) -> None:
    def stop(progress: Progress) -> None:
        if progress.fraction > 0.6:
            raise Cancelled

    with pytest.raises(Cancelled):
        estimate(scenes.tilted_plane(n=9).stack, EstimateSettings(card.name, align="none"), stop)


def test_missing_device_is_refused_in_one_sentence(card: WeightsCard) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(SettingsError, match="no cuda device"):
        estimate(scenes.tilted_plane(n=9).stack, EstimateSettings(card.name, device="cuda"))


def test_weights_of_another_network_are_refused(card: WeightsCard, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"something.weight": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match="holds no weights of the network"):
        load_network(card, other)
    other.write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_network(card, other)


def test_another_file_of_the_same_network_can_be_given(card: WeightsCard, tmp_path: Path) -> None:
    tensors = {name: tensor + 0 for name, tensor in load_network(card).state_dict().items()}
    other = tmp_path / "mine.safetensors"
    save_file(tensors, other, {"mine": "yes"})
    stack = scenes.tilted_plane(n=5).stack
    shipped = estimate(stack, EstimateSettings(card.name, align="none"))
    mine = estimate(stack, EstimateSettings(card.name, align="none", weights=other))
    np.testing.assert_allclose(mine.depth, shipped.depth, rtol=1e-3)
    assert mine.provenance.settings["weights"] == hashlib.sha256(other.read_bytes()).hexdigest() != card.sha256


@pytest.mark.parametrize(
    ("method", "content", "words"),
    [
        ("sml", b"whatever", "sml is no network and takes no weights"),
        (CARDS[0].name, b"broken", "cannot be read as weights"),
        (CARDS[0].name, None, "cannot be read as weights"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_in_one_sentence(
    method: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    if content is not None:
        other.write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        estimate(scenes.tilted_plane(n=5).stack, EstimateSettings(method, align="none", weights=other))


def test_weights_of_a_training_bring_their_options_along(tmp_path: Path) -> None:
    light = next(card for card in CARDS if card.name == "light")
    about = {"network": "light", "options": json.dumps({"width": 4})}
    save_file(create_network("light", width=4).state_dict(), tmp_path / "small.safetensors", about)
    small = load_network(light, tmp_path / "small.safetensors")
    assert sum(p.numel() for p in small.parameters()) < light.parameters
    save_file({}, tmp_path / "fad.safetensors", {"network": "fad", "options": "{}"})
    with pytest.raises(WeightsError, match="holds weights of fad, not of light"):
        load_network(light, tmp_path / "fad.safetensors")


def test_a_changed_file_is_noticed(card: WeightsCard) -> None:
    with pytest.raises(WeightsError, match="not the file that its card describes"):
        load_network(replace(card, sha256="0" * 64))


def test_too_many_slices_are_refused(card: WeightsCard) -> None:
    stack = scenes.tilted_plane(n=9).stack
    many = replace(
        stack,
        source=type(stack.source)(np.repeat(stack.source.frames[:1], 101, axis=0)),  # type: ignore[attr-defined,call-arg]
        positions=replace(stack.positions, value=np.arange(101.0)),
    )
    with pytest.raises(StackError, match="101 slices; the networks take up to 100"):
        estimate(many, EstimateSettings(card.name, align="none"))


def test_listing_the_methods_loads_no_torch() -> None:
    code = "import sys; from toposcope.core.estimate import METHODS; print(len(METHODS), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(METHODS)), "False"]


def test_large_arrays_go_to_a_file_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toposcope.core.scratch.IN_MEMORY", 1000)
    array = ScratchArray((10, 20, 30), np.float16, tmp_path)
    assert isinstance(array.values, np.memmap)
    array.values[3] = 1
    assert array.values.sum() == 600
    array.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="scratch"):
        ScratchArray((10, 20, 30), np.float16, tmp_path / "missing")


def test_volume_undoes_the_rounding_of_its_curves() -> None:
    volume = ProbabilityVolume((5, 4, 6))
    probability = np.random.default_rng(0).dirichlet(np.ones(5), (4, 6)).transpose(2, 0, 1).astype(np.float32)
    volume.add((slice(0, 4), slice(0, 6)), probability)
    assert volume.probability(2, 3).sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(volume.probability(2, 3), probability[:, 2, 3], atol=1e-3)
    assert volume.measure(2, 3) is None
    volume.close()


def test_cards_are_plain_json(card: WeightsCard) -> None:
    assert json.loads(card.path.with_suffix(".json").read_text("utf-8"))["name"] == card.name
