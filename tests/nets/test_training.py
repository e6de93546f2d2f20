"""Training: the pool, the loop, and going on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import dffnets
from dffnets.registry import CARDS, create_network
from dffnets.shipped import WeightsCard, load_network
from dffnets.shipping import ship
from dffnets.synthetic.pool import fill_pool, read_pool
from dffnets.synthetic.random_scenes import TrainingStack, random_stack
from dffnets.synthetic.validation import SEEDS, HeldOut
from dffnets.training import Sampler, TrainConfig, begin, loss_of, overexposed, read_tensors, train


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pool")
    for seed in (1, 900_001):
        fill_pool(directory, seed, 50, size=48, workers=1)
    return directory


def config(pool: Path, output: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        "light",
        output,
        options={"width": 4},
        iterations=6,
        batch=2,
        crop=32,
        counts=(4, 5),
        precision="float32",
        pool=pool,
        pool_stacks=50,
        validation_stacks=4,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_seed_gives_the_same_stack_and_another_seed_another() -> None:
    first, again, other = random_stack((3, 1), size=48), random_stack((3, 1), size=48), random_stack((3, 2), size=48)
    torch.testing.assert_close(first.frames, again.frames, atol=0, rtol=0)
    assert first.frames.shape != other.frames.shape or not torch.equal(first.frames, other.frames)


@pytest.mark.parametrize("kind", ["micro", "macro"])
def test_frames_are_sharpest_where_the_depth_says(kind: str) -> None:
    sharper = []
    for seed in range(12):
        stack = random_stack((7, seed), kind=kind, count=9, size=96)  # type: ignore[arg-type]
        frames, depth = stack.frames.float(), stack.depth.float()
        detail = (frames[:, 1:, 1:] - frames[:, :-1, :-1]).abs()
        nearest = (stack.positions[:, None, None] - depth[None, 1:, 1:]).abs()
        near, far = nearest < 0.1, nearest > 0.5
        if near.any() and far.any():
            sharper.append(float(detail[near].mean() > detail[far].mean()))
    assert sum(sharper) / len(sharper) > 0.7  # noise drowns the weakest textures, on purpose


def test_files_may_be_read_by_whoever_may_read_any_file_here(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    train(config(pool, tmp_path / "run", iterations=1))
    files = [tmp_path / "run" / "weights.safetensors", *pool.glob("*.safetensors")]
    assert {file.stat().st_mode for file in files} == {(tmp_path / "plain").stat().st_mode}


def test_pool_is_read_back_as_it_was_rendered(pool: Path) -> None:
    stacks = list(read_pool(pool, 1, 50))
    assert len(stacks) == 50
    again = random_stack((1, 17), size=48)
    assert torch.equal(stacks[17].frames, again.frames)
    assert stacks[17].kind == again.kind


def test_batches_hold_sorted_slices_over_the_whole_range(pool: Path, tmp_path: Path) -> None:
    sampler = Sampler(list(read_pool(pool, 1, 50)), config(pool, tmp_path))
    for _ in range(20):
        stack, positions, depth, valid = sampler.batch()
        assert stack.shape[:2] == (2, 3)
        assert stack.shape[2] == positions.shape[1]
        assert stack.shape[-2:] == depth.shape[-2:] == (32, 32)
        assert (positions.diff(dim=1) > 0).all()
        torch.testing.assert_close(positions[:, [0, -1]], torch.tensor([[0.0, 1.0]]).expand(2, -1))
        assert valid.float().mean((1, 2)).min() > 0.35


def test_a_run_may_end_by_the_clock(pool: Path, tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    train(config(pool, tmp_path, iterations=10**6, minutes=0.05, threads=1), told.append)
    assert told[-1]["fraction"] == 1
    assert 1 < told[-1]["iteration"] < 10**5
    assert told[-1]["minutes"] < 0.5


def test_fad_begins_from_weights_of_the_light_network(pool: Path, tmp_path: Path) -> None:
    train(config(pool, tmp_path / "light", options={"width": 16}, iterations=1))
    settings = config(pool, tmp_path / "fad", network="fad", options={}, initial=tmp_path / "light/weights.safetensors")
    light = read_tensors(tmp_path / "light/weights.safetensors")
    assert torch.equal(begin(settings).state_dict()["encode.1.body.0.0.weight"], light["encode.1.body.0.0.weight"])
    with pytest.raises(ValueError, match="with which dffwild cannot begin"):
        begin(replace(settings, network="dffwild"))


@pytest.mark.parametrize("which", ["validation", "test"])
def test_held_out_sets_are_not_trained_on(which: HeldOut, pool: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"that of the {which} set"):
        train(config(pool, tmp_path, pool_seed=SEEDS[which]))


def test_steps_on_one_batch_lower_its_loss(pool: Path, tmp_path: Path) -> None:
    settings = config(pool, tmp_path)
    batch = Sampler(list(read_pool(pool, 1, 50)), settings).batch()
    torch.manual_seed(0)
    network = create_network("light", width=4).train()
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    seen = []
    for _ in range(25):
        loss = loss_of(network, network(batch[0], batch[1]), batch, settings)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < 0.7 * seen[0]


def test_log_has_a_line_for_each_checkpoint(pool: Path, tmp_path: Path) -> None:
    train(config(pool, tmp_path, checkpoint_minutes=0.0))
    lines = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(0 < line["rmse"] < 1 and 0 <= line["unimodal"] <= 1 for line in lines)


def test_an_interrupted_run_goes_on_exactly_where_it_stopped(pool: Path, tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818  stands for a kill
        pass

    def stop(line: dict[str, float]) -> None:
        if line["iteration"] == 3:
            raise Stop

    train(config(pool, tmp_path / "whole"))
    with pytest.raises(Stop):
        train(config(pool, tmp_path / "halves", checkpoint_minutes=0.0), stop)
    train(config(pool, tmp_path / "halves"))
    whole, halves = (read_tensors(tmp_path / name / "weights.safetensors") for name in ("whole", "halves"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, halves[name]), name


def test_configuration_is_read_from_toml_with_paths_beside_it(tmp_path: Path) -> None:
    (tmp_path / "light.toml").write_text('network = "light"\noutput = "out"\ncounts = [5, 6]\n[loss]\nabsolute = 1.0\n')
    read = TrainConfig.read(tmp_path / "light.toml")
    assert read.output == tmp_path / "out"
    assert read.counts == (5, 6)
    assert read.loss == {"absolute": 1.0}


def test_weights_are_shipped_with_a_card_from_the_runs_own_files(pool: Path, tmp_path: Path) -> None:
    train(config(pool, tmp_path / "run", threads=1))
    card = ship(tmp_path / "run", "1,000 steps of something else", tmp_path)
    assert card.options == {"width": 4}
    assert card.training.startswith("1,000 steps of something else, then 6 steps of 2 crops of 32 x 32 pixels, 4 to 5")
    assert "one CPU core in float32" in card.training
    assert WeightsCard(**json.loads((tmp_path / "light.json").read_text("utf-8"))) == card
    network = load_network(card, tmp_path / "light.safetensors")
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    assert all(t.dtype == torch.float16 for t in load_file(tmp_path / "light.safetensors").values() if t.ndim)


@pytest.mark.parametrize("name", list(CARDS))
def test_recipes_train_the_network_they_are_named_after(name: str, tmp_path: Path) -> None:
    copied = tmp_path / f"{name}.toml"
    copied.write_text((Path(dffnets.__file__).parent / "recipes" / copied.name).read_text("utf-8"), "utf-8")
    recipe = TrainConfig.read(copied)
    assert recipe.network == name
    assert recipe.output == tmp_path / name
    assert recipe.pool == tmp_path / "pool"
    create_network(recipe.network, **recipe.options)
    assert recipe.crop % CARDS[name].multiple == 0


def test_overexposure_saturates_the_share_that_is_asked() -> None:
    frames = torch.linspace(0, 0.5, 1001).reshape(7, 11, 13)
    burnt = overexposed(frames, 0.1)
    assert float((burnt == 1).float().mean()) == pytest.approx(0.1, abs=0.002)
    torch.testing.assert_close(burnt[burnt < 1], frames[burnt < 1] / 0.45)
    assert float(overexposed(frames / 10, 0.1).max()) == pytest.approx(0.25)  # never more than five times


@pytest.mark.parametrize(("share", "kind"), [(0.0, "micro"), (1.0, "macro")])
def test_macro_scenes_are_drawn_as_often_as_is_asked(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, kind: str
) -> None:
    sampler = Sampler(list(read_pool(pool, 1, 50)), config(pool, tmp_path, macro_share=share))
    augment, kinds = sampler._augment, []

    def noted(stack: TrainingStack, n: int) -> tuple[Tensor, Tensor, Tensor]:
        kinds.append(stack.kind)
        return augment(stack, n)

    monkeypatch.setattr(sampler, "_augment", noted)
    sampler.batch()
    assert set(kinds) == {kind}
