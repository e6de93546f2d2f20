"""Adapting networks: exactly the biases, exactly where it stopped, and no file that fits nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from dffnets import finetune as ft
from dffnets.finetune import Crops, LabelledStack, Line, TuneConfig, TuneError, bias_terms, finetune, tuned_terms
from dffnets.registry import CARDS, create_network
from dffnets.shipped import WeightsCard, WeightsError, load_network, shipped_cards
from dffnets.synthetic.random_scenes import Canvas, random_stack, solid
from dffnets.synthetic.torus import render

(LIGHT,) = (card for card in shipped_cards() if card.name == "light")
LONGER = TuneConfig(steps=40, check_every=10, crop=48, slices=6, learning_rate=1e-2, agreement=(9.0, 9.0))
QUICK = TuneConfig(steps=4, check_every=2, crop=32, slices=5, learning_rate=1e-2)


def labelled(seed: int, size: int = 64, count: int = 6) -> LabelledStack:
    stack = random_stack((5, seed), "micro", count, size)
    depth = stack.depth.float().numpy()
    sure = np.where((depth >= 0) & (depth <= 1), 0.9, 0).astype(np.float32)
    return LabelledStack(f"stack {seed}", stack.frames.numpy(), stack.positions.numpy(), depth, sure)


@pytest.fixture(scope="module")
def stacks() -> list[LabelledStack]:
    return [labelled(k) for k in range(2)]


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let adapting begin from a light network whose biases are off, so that there is something to gain."""

    def load(card: WeightsCard) -> nn.Module:
        network = load_network(card)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name in bias_terms(network):
                    parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        return network

    monkeypatch.setattr(ft, "load_network", load)


def tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


# -- what is tuned -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARDS)
def test_biases_are_those_of_convolutions_linear_layers_and_normalisations(name: str) -> None:
    network = create_network(name)
    expected: set[int] = set()
    for module in network.modules():
        for part, parameter in module.named_parameters(recurse=False):
            is_scale = isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm)
            if part.startswith("bias") and not (is_scale and part == "weight"):
                expected.add(id(parameter))
    own = dict(network.named_parameters())
    assert {id(own[one]) for one in bias_terms(network)} == expected
    assert not any(one.endswith("weight") for one in bias_terms(network))
    share = sum(own[one].numel() for one in bias_terms(network)) / sum(p.numel() for p in own.values())
    assert 0 < share < 0.006


@pytest.mark.parametrize("name", CARDS)
def test_head_is_the_layer_of_the_last_scores(name: str) -> None:
    network = create_network(name)
    added = set(tuned_terms(network, name, "bias+head")) - set(tuned_terms(network, name, "bias"))
    assert added
    assert all(one.startswith(ft.HEADS[name]) for one in added)
    assert len(tuned_terms(network, name, "full")) == len(list(network.parameters()))


def test_a_head_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TuneError, match="last layer of other is not known"):
        tuned_terms(create_network("light"), "other", "bias+head")


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.name)
def test_all_but_the_biases_stays_bit_for_bit(card: WeightsCard, stacks: list[LabelledStack], tmp_path: Path) -> None:
    worse = [replace(stack, depth=np.clip(stack.depth + 0.1, 0, 1)) for stack in stacks]
    config = replace(QUICK, steps=1, check_every=1, consistency=0.0)
    result = finetune(card, worse, tmp_path, config)
    assert result.steps == 1
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        tuned = {n.removeprefix("tuned."): file.get_tensor(n) for n in file.keys() if n.startswith("tuned.")}
    base = tensors(load_network(card))
    assert set(tuned) == set(bias_terms(load_network(card)))
    assert any(not torch.equal(tuned[name], base[name]) for name in tuned)


@pytest.mark.parametrize(("name", "rate"), [("light", 3e-3), ("focdepthformer", 7.5e-4)])
def test_networks_that_take_less_learn_slower(
    name: str, rate: float, stacks: list[LabelledStack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    class Spy(torch.optim.Adam):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim, "Adam", Spy)
    (card,) = (one for one in shipped_cards() if one.name == name)
    finetune(card, stacks, tmp_path, replace(QUICK, steps=1, check_every=1, learning_rate=0.0))
    assert rates == [pytest.approx(rate / 10)]  # the first of ten steps of warming up


@pytest.mark.usefixtures("spoilt")
def test_reblur_joins_in(stacks: list[LabelledStack], tmp_path: Path) -> None:
    results = [
        finetune(LIGHT, stacks, tmp_path / str(weight), replace(LONGER, steps=10, reblur=weight))
        for weight in (0.0, 1.0)
    ]
    assert results[1].after < results[1].before
    assert results[0].curve[-1]["held_out"] != results[1].curve[-1]["held_out"]


@pytest.mark.usefixtures("spoilt")
def test_delta_over_the_base_changes_nothing_else(stacks: list[LabelledStack], tmp_path: Path) -> None:
    result = finetune(LIGHT, stacks, tmp_path, LONGER, about={"labels": "the truth"})
    assert result.delta is not None
    assert result.after < result.before
    assert result.delta.stat().st_size < 20_000
    base, adapted = tensors(load_network(LIGHT)), tensors(load_network(LIGHT, result.delta))
    changed = {name for name in base if not torch.equal(base[name], adapted[name])}
    assert changed
    assert changed <= set(bias_terms(load_network(LIGHT)))
    with safe_open(result.delta, "pt") as file:
        about = file.metadata()
    assert about["base"] == LIGHT.sha256
    assert about["network"] == "light"
    assert about["labels"] == "the truth"
    assert json.loads(about["stacks"]) == ["stack 0", "stack 1"]
    assert json.loads(about["settings"])["steps"] == 40
    assert json.loads(about["curve"])[0]["step"] == 0


@pytest.mark.usefixtures("spoilt")
def test_a_delta_of_another_base_is_refused(stacks: list[LabelledStack], tmp_path: Path) -> None:
    delta = finetune(LIGHT, stacks, tmp_path, LONGER).delta
    assert delta is not None
    with pytest.raises(WeightsError, match=r"was adapted from other weights of Light network .* Adapt again"):
        load_network(replace(LIGHT, sha256="0" * 64), delta)
    other = next(card for card in shipped_cards() if card.name != "light")
    with pytest.raises(WeightsError, match="holds weights of light"):
        load_network(other, delta)


# -- the loop ---------------------------------------------------------------------------------------------------


class StopError(Exception):
    pass


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(stop: int, stacks: list[LabelledStack], tmp_path: Path) -> None:
    config = replace(QUICK, steps=6)

    def stopped(line: Line) -> None:
        if line["step"] == stop:
            raise StopError

    whole = finetune(LIGHT, stacks, tmp_path / "whole", config)
    with pytest.raises(StopError):
        finetune(LIGHT, stacks, tmp_path / "parts", config, stopped)
    parts = finetune(LIGHT, stacks, tmp_path / "parts", config)
    assert parts.curve == whole.curve
    files = [tmp_path / name / "checkpoint.safetensors" for name in ("whole", "parts")]
    for name in (opened := [safe_open(file, "pt") for file in files])[0].keys():
        assert torch.equal(*(file.get_tensor(name) for file in opened)), name


def test_every_step_is_told(stacks: list[LabelledStack], tmp_path: Path) -> None:
    lines: list[Line] = []
    finetune(LIGHT, stacks, tmp_path, QUICK, lines.append)
    steps = [line["step"] for line in lines if "held_out" not in line and "loss" in line]
    assert steps == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "held_out" in line] == [0, 2, 4]
    assert all(math.isfinite(line["loss"]) for line in lines if "loss" in line)
    assert lines[-1]["fraction"] == 1


def test_another_run_in_the_same_folder_is_refused(stacks: list[LabelledStack], tmp_path: Path) -> None:
    finetune(LIGHT, stacks, tmp_path, QUICK)
    with pytest.raises(TuneError, match="holds an adaptation of another base, of other stacks or with other settings"):
        finetune(LIGHT, stacks, tmp_path, replace(QUICK, seed=1))


def test_no_gain_keeps_the_base(stacks: list[LabelledStack], tmp_path: Path) -> None:
    result = finetune(LIGHT, stacks, tmp_path, replace(QUICK, learning_rate=1e-9))
    assert result.delta is None
    assert result.before == pytest.approx(result.after, rel=1e-3)


def test_patience_ends_a_run_that_gets_no_better(stacks: list[LabelledStack], tmp_path: Path) -> None:
    config = replace(QUICK, steps=50, check_every=1, patience=2, learning_rate=1.0)
    assert finetune(LIGHT, stacks, tmp_path, config).steps < 10


def test_labels_that_are_never_sure_are_refused(stacks: list[LabelledStack], tmp_path: Path) -> None:
    unsure = [replace(stack, confidence=0.1 * stack.confidence) for stack in stacks]
    with pytest.raises(TuneError, match="none of the held-out labels is sure enough"):
        finetune(LIGHT, unsure, tmp_path, QUICK)
    with pytest.raises(TuneError, match="there is no stack"):
        finetune(LIGHT, [], tmp_path, QUICK)


# -- its parts ------------------------------------------------------------------------------------------------------


def test_many_stacks_are_held_out_whole_and_few_in_part() -> None:
    learnt, held = ft.divide([(40, 50)] * 10, 0.2, 0)
    assert len(held) == 2
    assert len({r.stack for r in learnt} | {r.stack for r in held}) == 10
    assert not {r.stack for r in learnt} & {r.stack for r in held}
    learnt, held = ft.divide([(40, 50), (60, 30)], 0.2, 0)
    assert [r.size for r in held] == [(40, 10), (12, 30)]
    for mine, other in zip(learnt, held, strict=True):
        assert mine.columns.stop <= other.columns.start or mine.rows.stop <= other.rows.start


def test_crops_never_touch_what_is_held_out() -> None:
    learnt, (held,) = ft.divide([(64, 64)], 0.2, 0)
    frames = np.zeros((6, 64, 64), np.uint8)
    frames[:, held.rows, held.columns] = 255
    crops = Crops([replace(labelled(0), frames=frames)], learnt, QUICK, LIGHT)
    crops._look = lambda cut: cut  # type: ignore[method-assign]
    for _ in range(20):
        assert float(crops.batch()[0].std()) == 0


def test_the_second_look_is_the_first_turned_round(stacks: list[LabelledStack]) -> None:
    crops = Crops(stacks, ft.divide([(64, 64)] * 2, 0.2, 0)[0], QUICK, LIGHT)
    crops._look = lambda cut: cut  # type: ignore[method-assign]
    for _ in range(5):
        frames, positions, other, turned, depth, sure, step, blur = crops.batch()
        torch.testing.assert_close(other, frames.flip(2))
        torch.testing.assert_close(turned, 1 - positions.flip(1))
        assert (positions.diff(dim=1) > 0).all()
        assert positions[:, 0].abs().max() < 1e-6
        assert frames.shape[:2] == (2, 3)
        assert ((depth >= 0) & (depth <= 1))[sure > 0].all()
        assert (step >= 1 / 5 - 1e-6).all()  # six slices; of fewer, a step is a larger share
        assert (blur == 0).all()  # nothing asks for it


class Answer(nn.Module):
    """Says the same of every pixel: all its probability on one slice."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, frames: Tensor, positions: Tensor) -> list[Tensor]:
        probability = torch.zeros(frames.shape[0], *frames.shape[2:])
        probability[:, self.place] = 1
        return [probability]


def test_labels_far_from_the_network_have_no_say() -> None:
    positions = torch.linspace(0, 1, 5)[None]
    depth = torch.full((1, 8, 8), 0.75)
    depth[:, :, 4:] = 0.25  # two slices from what the network says
    sure = torch.ones(1, 8, 8)
    batch = (torch.zeros(1, 3, 5, 8, 8), positions, torch.zeros(1, 3, 5, 8, 8), positions, depth, sure)
    config = replace(QUICK, consistency=0.0, one_peak=0.0)
    loss, kept = ft.loss_of(Answer(3), (*batch, torch.tensor([0.25]), torch.zeros(1)), config, 1.5)
    assert float(kept) == 0.5
    assert float(loss) < 1e-2
    loss, kept = ft.loss_of(Answer(3), (*batch, torch.tensor([0.25]), torch.zeros(1)), config, 2.5)
    assert float(kept) == 1
    assert float(loss) > 0.25


def rendered(slope: float) -> LabelledStack:
    """Return a stack of a textured plane whose blur grows by ``slope`` pixels a sweep, with its true labels."""
    canvas = Canvas(np.random.default_rng(7), 64, torch.device("cpu"))
    plane = torch.full((64, 64), 0.5)
    layers = solid(plane, torch.ones_like(plane), 0.4 + 0.1 * canvas.noise(1.0), 0.5, 0.5, 1)
    positions = torch.linspace(0, 1, 13)
    frames = render(layers, positions, slope, 16.0, 0.6).numpy()
    return LabelledStack("plane", frames, positions.numpy(), plane.numpy(), np.ones((64, 64), np.float32))


@pytest.mark.parametrize("slope", [20.0, 40.0])
def test_blur_is_measured_on_the_stack_and_told_by_the_crop(slope: float) -> None:
    stack = rendered(slope)
    crops = Crops([stack], [ft.Region(0, slice(0, 64), slice(0, 64))], replace(QUICK, reblur=1.0), LIGHT)
    assert crops.slope(0) == pytest.approx(slope, rel=0.12)
    for _ in range(10):  # a part of the sweep spans less of the coordinate, so blur grows less over it
        *_, step, blur = crops.batch()
        torch.testing.assert_close(blur, crops.slope(0) / (12 * step))


def test_a_stack_without_sure_labels_has_no_say_by_reblur() -> None:
    stack = replace(rendered(20.0), confidence=np.zeros((64, 64), np.float32))
    crops = Crops([stack], [ft.Region(0, slice(0, 64), slice(0, 64))], replace(QUICK, reblur=1.0), LIGHT)
    batch = crops.batch()
    assert (batch[-1] == 0).all()
    config = replace(QUICK, consistency=0.0, one_peak=0.0, reblur=1.0)
    assert float(ft.loss_of(Answer(0), batch, config, 1.5)[0]) == 0


def test_reblur_punishes_a_depth_that_does_not_give_the_slices_back() -> None:
    stack = rendered(20.0)
    frames = torch.from_numpy(stack.frames)[None, None].expand(-1, 3, -1, -1, -1)
    positions, nothing = torch.from_numpy(stack.positions)[None], torch.zeros(1, 64, 64)
    batch = (frames, positions, frames, positions, nothing, nothing, torch.tensor([1 / 12]), torch.tensor([20.0]))
    config = replace(QUICK, consistency=0.0, one_peak=0.0, reblur=1.0)
    off = [float(ft.loss_of(Answer(place), batch, config, 1.5)[0]) for place in (3, 6, 9)]
    assert off[1] < 0.1
    assert min(off[0], off[2]) > 3 * off[1]
    assert float(ft.loss_of(Answer(3), batch, replace(config, reblur=0.0), 1.5)[0]) == 0


def test_disagreement_is_told_in_slices() -> None:
    stack = LabelledStack(
        "flat",
        np.random.default_rng(0).random((5, 48, 48), dtype=np.float32),
        np.linspace(0, 1, 5, dtype=np.float32),
        np.full((48, 48), 0.5, np.float32),
        np.ones((48, 48), np.float32),
    )
    _, held = ft.divide([(48, 48)], 0.2, 0)
    for place, expected, near in ((2, 0.0, 1.0), (3, 1.0, 1.0), (4, 2.0, 0.0)):
        off, share = ft.disagreement(Answer(place), LIGHT, [stack], held, QUICK, lambda k: (0.5, 0.3))
        assert off == pytest.approx(expected, abs=1e-4)
        assert share == near
