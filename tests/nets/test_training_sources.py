"""Sources of a training: how stacks are made, kept, drawn and cut; what is refused; what the card says."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from torch import Tensor

from dffnets import sources, training
from dffnets.data import open_data_set, to_training_stack
from dffnets.shipping import ship
from dffnets.sources import Source, TrainError, supply_of
from dffnets.synthetic.pool import fill_pool, load_stacks, read_pool, save_stacks
from dffnets.synthetic.random_scenes import TrainingStack
from dffnets.training import (
    Sampler,
    TrainConfig,
    data_text,
    fill,
    held_out_stacks,
    load,
    read_tensors,
    train,
    validate,
)

HEIGHT, WIDTH = 40, 52


def write_fs6(folder: Path, count: int, depth_m: float = 0.3) -> Path:
    """Write scenes of five frames whose depth is ``depth_m`` but for the upper quarter, which lies beyond the sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    depth = np.full((HEIGHT, WIDTH), depth_m, np.float16)
    depth[: HEIGHT // 4] = 9
    for number in range(count):
        for k in range(5):
            frame = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            tifffile.imwrite(folder / f"{number:06d}_{k:02d}All.tif", frame)
        header = {"type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"R": depth, "G": depth, "B": depth}).write(str(folder / f"{number:06d}Dpt.exr"))
    return folder


def write_pairs(folder: Path, licence: str = "CC0") -> Path:
    """Write one picture with a disparity that rises to the right, and one measured surface."""
    folder.mkdir()
    tifffile.imwrite(folder / "ramp_depth.tif", np.tile(np.linspace(0, 1, 40, dtype=np.float32), (40, 1)))
    cv2.imwrite(str(folder / "ramp_rgb.png"), np.full((40, 40, 3), 128, np.uint8))
    tifffile.imwrite(folder / "dome_height_um.tif", np.hypot(*np.indices((40, 40))).astype(np.float32))
    for name in ("ramp", "dome"):
        (folder / f"{name}.json").write_text(
            json.dumps({"kind": "disparity"} | ({"licence": licence} if licence else {}))
        )
    return folder


def in_this_process(
    write: Callable[[int], object], missing: Sequence[int], shards: int, workers: int = 0, report: object = None
) -> None:
    for shard in missing:
        write(shard)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pool")
    fill_pool(directory, 1, 50, size=48, workers=1)
    return directory


@pytest.fixture
def own_pool(pool: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pool, tmp_path / "pool"))


@pytest.fixture
def fs6(tmp_path: Path) -> Source:
    return Source("fs_6", 1.0, write_fs6(tmp_path / "fs_6", 3), "train")


def config(pool: Path, output: Path, *drawn: Source, **changes: object) -> TrainConfig:
    base = TrainConfig(
        "light",
        output,
        options={"width": 4},
        iterations=4,
        batch=2,
        crop=32,
        counts=(4, 5),
        pool=pool,
        pool_stacks=50,
        validation_stacks=2,
        workers=1,
        sources=drawn or (Source(),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def ramp_stack(periodic: bool, n: int = 5, height: int = 40, width: int = 60) -> TrainingStack:
    """Return a stack whose depth rises evenly from corner to corner, and whose frames show it as grey values."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    depth = (rows + columns) / (height + width)
    frames = (255 * depth).to(torch.uint8).expand(n, -1, -1)
    return TrainingStack(frames, depth.half(), torch.linspace(0, 1, n), "macro", periodic)


def flat_stack(level: float, kind: str = "macro", n: int = 5, size: int = 32) -> TrainingStack:
    frames = torch.full((n, size, size), 7, dtype=torch.uint8)
    depth = torch.full((size, size), level, dtype=torch.float16)
    return TrainingStack(frames, depth, torch.linspace(0, 1, n), kind)  # type: ignore[arg-type]


# -- drawing and cutting


def test_pictures_of_data_sets_are_cut_and_not_rolled(pool: Path, tmp_path: Path) -> None:
    settings = config(pool, tmp_path, counts=(5,))
    whole, rolled = (Sampler([ramp_stack(periodic)], settings) for periodic in (False, True))
    seen = set()
    for _ in range(40):
        frames, _, depth = whole._augment(whole.stacks[0], 5)
        assert depth.shape == (32, 32)
        assert frames.shape == (5, 32, 32)
        for axis in (0, 1):  # a seam would be a jump
            torch.testing.assert_close(
                depth.diff(dim=axis).abs(), torch.full_like(depth.diff(dim=axis), 0.01), atol=2e-3, rtol=0
            )
        seen.add(round(100 * float(depth.mean())))
    assert len(seen) > 10, "crops come from everywhere"
    jumps = [rolled._augment(ramp_stack(True, height=40, width=40), 5)[2].diff(dim=0).abs().max() for _ in range(10)]
    assert max(jumps) > 0.3, "on a torus they may cross the border"


def test_every_place_of_a_picture_is_reached(pool: Path, tmp_path: Path) -> None:
    height, width = 34, 36
    stack = ramp_stack(False, height=height, width=width)
    number = torch.arange(height * width).reshape(height, width) / (height * width)
    stack = replace(stack, depth=number)
    sampler = Sampler([stack], config(pool, tmp_path, counts=(5,)))
    found = torch.cat([sampler._augment(stack, 5)[2].flatten() for _ in range(300)])
    found = torch.cat([found, 1 - found])  # near and far may have changed places
    for corner in number[[0, 0, -1, -1], [0, -1, 0, -1]]:
        assert (found - corner).abs().min() < 1e-5


def test_sources_are_drawn_by_their_shares(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = (1.0, 5.0, 4.0)
    # the first has many more stacks, the second is known in few crops only: shares hold all the same
    groups = [[flat_stack(0.5)] * 50, [flat_stack(0.5), *[flat_stack(-1.0)] * 3], [flat_stack(0.5, "micro")]]
    stacks = [replace(stack) for group in groups for stack in group]
    origins = [k for k, group in enumerate(groups) for _ in group]
    drawn_from = tuple(Source(share=share) for share in shares)
    sampler = Sampler(stacks, config(pool, tmp_path, *drawn_from, counts=(5,), batch=1000), origins)
    augment, counts, number = (
        sampler._augment,
        [0, 0, 0],
        {id(s): origin for s, origin in zip(stacks, origins, strict=True)},
    )

    def counted(stack: TrainingStack, n: int) -> tuple[Tensor, Tensor, Tensor]:
        counts[number[id(stack)]] += bool(stack.depth[0, 0] > 0)
        return augment(stack, n)

    monkeypatch.setattr(sampler, "_augment", counted)
    sampler.batch()
    for count, share in zip(counts, shares, strict=True):
        assert abs(count / 1000 - share / 10) < 5 * math.sqrt(0.25 / 1000)


def test_a_source_with_few_slices_leaves_longer_batches_to_the_others(pool: Path, tmp_path: Path) -> None:
    stacks = [flat_stack(0.25, n=5), flat_stack(0.5, n=9)]
    sampler = Sampler(stacks, config(pool, tmp_path, Source(), Source(), counts=(5, 9)), [0, 1])
    assert set(sampler._chances(9)) == {1}
    assert set(sampler._chances(5)) == {0, 1}
    with pytest.raises(TrainError, match="have 5 slices at most, but counts begins at 9"):
        Sampler(stacks, config(pool, tmp_path, Source("fs_6", split="train"), Source(), counts=(9,)), [0, 1])


def test_a_single_source_is_drawn_as_ever(pool: Path, tmp_path: Path) -> None:
    """The stacks drawn are those of a plain loop over one generator: no draw is spent on the choice of a source."""
    stacks = list(read_pool(pool, 1, 50))
    settings = config(pool, tmp_path, Source(share=0.3), counts=(5,), batch=3)
    sampler, plain = Sampler(stacks, settings), Sampler(stacks, settings)
    is_macro = plain.is_macro
    share = np.where(is_macro, 0.55, 0.45) / np.where(is_macro, is_macro.sum(), (~is_macro).sum())
    expected: list[Tensor] = []
    assert plain.random.choice((5,)) == 5
    while len(expected) < 3:
        depth = plain._augment(stacks[int(plain.random.choice(np.arange(50), p=share / share.sum()))], 5)[2]
        if ((depth >= 0) & (depth <= 1)).float().mean() > 0.35:
            expected.append(depth)
    assert torch.equal(sampler.batch()[2], torch.stack(expected))


def test_the_search_for_known_pixels_ends(pool: Path, tmp_path: Path) -> None:
    sampler = Sampler([flat_stack(-1.0)], config(pool, tmp_path))
    with pytest.raises(
        TrainError, match=r"none of 1,000 crops of random scenes had a known depth .* 35 % of its pixels"
    ):
        sampler.batch()


def test_stacks_smaller_than_the_crop_are_refused(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainError, match="a stack of random scenes has 32 x 32 pixels, which is less than the crop of 48"
    ):
        Sampler([flat_stack(0.5)], config(pool, tmp_path, crop=48))


# -- making and keeping


def test_stacks_without_a_torus_are_read_back(tmp_path: Path) -> None:
    stacks = [ramp_stack(False), ramp_stack(False, n=7)]
    save_stacks(tmp_path / "a.safetensors", stacks)
    for stack, again in zip(stacks, load_stacks(tmp_path / "a.safetensors"), strict=True):
        assert not again.periodic
        assert torch.equal(stack.frames, again.frames)
        assert torch.equal(stack.depth, again.depth)


def test_a_data_set_is_converted_once(tmp_path: Path, fs6: Source) -> None:
    told: list[tuple[int, int]] = []
    supply = supply_of(fs6, tmp_path / "pool", 1, 50)
    assert not supply.is_full()
    supply.fill(32, 1, lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)
    assert supply.is_full()
    assert fs6.root is not None
    expected = [to_training_stack(sample) for sample in open_data_set("fs_6", fs6.root, "train")]
    for stack, again in zip(expected, supply.read(), strict=True):
        assert torch.equal(stack.frames, again.frames)
        assert torch.equal(stack.depth, again.depth)
        assert not again.periodic
    write_fs6(fs6.root, 12)
    assert not supply.is_full(), "there is more of it now"
    supply.fill(32, 1)
    assert len(list(supply.read())) == 12
    shutil.rmtree(fs6.root)
    supply.check()
    assert supply.is_full(), "what is in the pool is enough"
    assert len(list(supply.read())) == 12


def test_a_stopped_conversion_keeps_what_is_done(tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818  stands for a cancellation
        pass

    def stop(done: int, total: int) -> None:
        if done:
            raise Stop

    supply = supply_of(Source("fs_6", 1.0, write_fs6(tmp_path / "fs_6", 31), "train"), tmp_path / "pool", 1, 50)
    with pytest.raises(Stop):
        supply.fill(32, 1, stop)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "pool").rglob("*.safetensors")}
    assert done
    supply.fill(32, 1)
    assert len(list(supply.read())) == 31
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())


def test_samples_without_truth_are_left_out(own_pool: Path, tmp_path: Path) -> None:
    beyond = Source("fs_6", 1.0, write_fs6(tmp_path / "fs_6", 2, depth_m=5.0), "train")
    settings = config(own_pool, tmp_path / "out", beyond)
    fill(settings)
    with pytest.raises(TrainError, match="fs_6 train holds no stack with a known depth within its sweep"):
        load(settings)


def test_measured_shapes_are_rendered_into_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SHARD", 2)
    monkeypatch.setattr(sources, "fill_shards", in_this_process)
    supply = supply_of(Source("pairs", 1.0, write_pairs(tmp_path / "shapes"), stacks=3), tmp_path / "pool", 7, 50)
    supply.check()
    supply.fill(32)
    stacks = list(supply.read())
    assert len(stacks) == 3
    assert all(stack.periodic and stack.depth.shape == (128, 128) for stack in stacks)
    other = supply_of(replace(supply.source, stacks=1), tmp_path / "other", 7, 50)
    other.fill(32)
    assert torch.equal(next(other.read()).frames, stacks[0].frames), "the same seed gives the same stack"
    (tmp_path / "shapes" / "ramp.json").write_text('{"kind": "depth", "licence": "CC0"}')
    assert not supply.is_full(), "a file has changed"


# -- runs


def test_a_run_on_several_sources_goes_on_exactly_where_it_stopped(own_pool: Path, tmp_path: Path, fs6: Source) -> None:
    class Stop(Exception):  # noqa: N818  stands for a kill
        pass

    def stop(line: dict[str, float]) -> None:
        if line["iteration"] == 2:
            raise Stop

    drawn = Source(share=0.5), fs6
    train(config(own_pool, tmp_path / "whole", *drawn))
    with pytest.raises(Stop):
        train(config(own_pool, tmp_path / "halves", *drawn, checkpoint_minutes=0.0), stop)
    train(config(own_pool, tmp_path / "halves", *drawn))
    whole, halves = (read_tensors(tmp_path / name / "weights.safetensors") for name in ("whole", "halves"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, halves[name]), name


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_leaves_the_checkpoint(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    train(config(pool, tmp_path, iterations=2))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert set(before) == {"checkpoint.safetensors", "weights.safetensors"}
    loss_of = training.loss_of
    monkeypatch.setattr(training, "loss_of", lambda *arguments: loss_of(*arguments) * bad)
    with pytest.raises(TrainError, match="at step 3 the loss or its gradient is no finite number"):
        train(config(pool, tmp_path, iterations=4))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before


def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(network: torch.nn.Module, outputs: list[Tensor], *_: object) -> Tensor:
        return (outputs[-1].sum() * 0).abs().sqrt()  # finite, but its slope is 0 * infinity

    monkeypatch.setattr(training, "loss_of", steep)
    with pytest.raises(TrainError, match=r"no finite number \(loss 0.0\)"):
        train(config(pool, tmp_path, checkpoint_minutes=0.0))
    assert not list(tmp_path.glob("*.safetensors"))


def test_auto_is_a_device_that_is_there(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "best_device", lambda: "cpu")
    assert train(config(pool, tmp_path, iterations=1, device="auto")).exists()


# -- refusals and the card


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source("kitti"), "there is no source 'kitti'; there are random, pairs, ddff12"),
        (Source("fs_6"), "'fs_6' lacks 'root'"),
        (Source("fs_6", root=Path("nowhere")), "'fs_6' lacks 'split'"),
        (Source("fs_6", root=Path("nowhere"), split="val"), "has no split 'val'; choose one of: train, test"),
        (Source("fs_6", root=Path("nowhere"), split="train"), "there is no folder nowhere"),
        (Source("fs_6", root=Path("nowhere"), split="train", options={"crop": 1}), "has no option 'crop'"),
        (Source("fs_6", root=Path("nowhere"), split="train", stacks=5), "knows no 'stacks'"),
        (Source("smartphone", root=Path(), split="train", options={"frames": "x"}), "cannot be opened with these"),
        (Source("pairs"), "'pairs' lacks 'root'"),
        (Source("pairs", root=Path("nowhere")), "there is no folder nowhere of pairs"),
        (Source("pairs", root=Path(__file__).parent), "holds no pairs"),
        (Source(split="train"), "knows no 'split'"),
        (Source(share=0.0), "it must be above 0"),
        (Source(share=math.inf), "it must be above 0"),
        (Source(stacks=-1), "it must be 0 or more"),
    ],
)
def test_sources_that_cannot_be_used_are_refused_at_the_door(tmp_path: Path, source: Source, words: str) -> None:
    with pytest.raises(TrainError, match=words):
        train(config(tmp_path / "pool", tmp_path / "out", source))
    assert not (tmp_path / "pool").exists()


def test_samples_smaller_than_the_crop_are_refused_before_the_work(tmp_path: Path, fs6: Source) -> None:
    with pytest.raises(TrainError, match="fs_6 train have 52 x 40 pixels, which is less than the crop of 48"):
        fill(config(tmp_path / "pool", tmp_path / "out", fs6, crop=48))


def test_pairs_of_unknown_licence_need_a_word(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "shapes", licence="")
    silent = Source("pairs", root=folder)
    with pytest.raises(TrainError, match=r"ramp.json in .* names no 'licence'. Say in 'about'|dome.json in"):
        supply_of(silent, tmp_path / "pool", 1, 50).check()
    supply = supply_of(replace(silent, about="scans of our own, CC BY 4.0."), tmp_path / "pool", 1, 50)
    supply.check()
    assert supply.describe().endswith(
        "2 measured shapes of the folder shapes (seed 1, 50 of them; scans of our own, CC BY 4.0)"
    )


def test_the_card_lists_all_data_with_licences(own_pool: Path, tmp_path: Path, fs6: Source) -> None:
    train(config(own_pool, tmp_path / "run", Source(share=3.0), fs6, iterations=1))
    card = ship(tmp_path / "run", folder=tmp_path)
    assert card.data == (
        "75 % stacks rendered by dffnets.synthetic.random_scenes (grey, seed 1, 50 of them); "
        "25 % DefocusNet fs_6 (FoD500), split train (Maximov et al., Focus on Defocus, CVPR 2020; "
        "licence: not stated (the code is MIT))"
    )
    pairs = Source("pairs", root=write_pairs(tmp_path / "shapes"), about="a ramp and a dome")
    said = data_text(config(own_pool, tmp_path / "run", pairs))
    assert "from 2 measured shapes of the folder shapes" in said
    assert said.endswith("a ramp and a dome; licences: CC0)")


def test_the_card_of_random_scenes_is_as_ever(pool: Path, tmp_path: Path) -> None:
    scenes = "stacks rendered by dffnets.synthetic.random_scenes (grey, seed 1, 50 of them)"
    plain = f"{scenes}: no photographs, no third-party data"
    train(config(pool, tmp_path / "run", iterations=1))
    assert ship(tmp_path / "run", folder=tmp_path).data == plain
    (tmp_path / "run" / "data.txt").unlink()  # as runs left it that knew no other source
    assert ship(tmp_path / "run", folder=tmp_path).data == plain


def test_sources_are_read_from_toml_with_paths_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'network = "light"\noutput = "out"\n[[sources]]\nshare = 2\n'
        '[[sources]]\nname = "smartphone"\nroot = "phone"\nsplit = "train"\noptions = {register = true}\n'
    )
    read = TrainConfig.read(path)
    phone = Source("smartphone", 1.0, tmp_path / "phone", "train", options={"register": True})
    assert read.sources == (Source(share=2), phone)
    path.write_text('network = "light"\noutput = "out"\n[[sources]]\nfolder = "x"\n')
    with pytest.raises(TrainError, match="unknown entry 'folder'; known are name, share, root"):
        TrainConfig.read(path)


# -- what the log is measured on


class Undecided(torch.nn.Module):
    """Gives every slice the same probability."""

    def forward(self, frames: Tensor, positions: Tensor) -> list[Tensor]:
        assert frames.shape[-2] % 16 == frames.shape[-1] % 16 == 0
        batch, _, n, height, width = frames.shape
        return [torch.full((batch, n, height, width), 1 / n)]


def test_the_log_is_measured_on_a_split_of_any_size(own_pool: Path, tmp_path: Path) -> None:
    held_out = Source("fs_6", root=write_fs6(tmp_path / "held" / "test", 7).parent, split="test")
    settings = config(own_pool, tmp_path / "out", validation=(held_out,), validation_stacks=4)
    fill(settings)
    stacks = held_out_stacks(settings)
    assert [stack.depth.shape for stack in stacks] == [(HEIGHT, WIDTH)] * 4
    found = validate(Undecided(), stacks, settings)
    # in 1/distance the slices of 0.1, 0.15, 0.3, 0.7 and 1.5 m lie at 0 to 1, and the truth at 0.3 m
    place = (1 / 0.1 - 1 / np.array([0.1, 0.15, 0.3, 0.7, 1.5])) / (1 / 0.1 - 1 / 1.5)
    assert found["rmse"] == pytest.approx(abs(place.mean() - place[2]), abs=2e-3)
    assert found["rmse_macro"] == found["rmse"]
    assert "rmse_micro" not in found  # there are photographs only
    train(settings)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1].keys() >= {"rmse", "rmse_macro", "unimodal"}


def test_stacks_without_a_truth_do_not_count(pool: Path, tmp_path: Path) -> None:
    found = validate(Undecided(), [flat_stack(0.25), flat_stack(-1.0)], config(pool, tmp_path))
    assert found["rmse"] == pytest.approx(0.25)


def test_what_is_trained_on_validates_nothing(pool: Path, tmp_path: Path) -> None:
    root = write_fs6(tmp_path / "fs_6", 3)
    trained = Source("fs_6", root=root, split="train")
    with pytest.raises(TrainError, match="fs_6 train is trained on"):
        train(config(pool, tmp_path / "out", trained, validation=(Source("fs_6", root=root, split="train"),)))
    with pytest.raises(TrainError, match=r"cannot be measured on 'random': \[\[validation\]\] takes splits"):
        train(config(pool, tmp_path / "out", validation=(Source(),)))
    with pytest.raises(TrainError, match="no split 'all'"):
        train(config(pool, tmp_path / "out", validation=(Source("fs_6", root=root, split="all"),)))
    assert not (tmp_path / "out").exists()
