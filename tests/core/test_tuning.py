"""Adapting a network to stacks on disk: labels, resume, and every guard rail in a sentence."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

import scenes
from adapted_files import LIGHT, QUICK, written
from dffnets import finetune as ft
from dffnets.shipped import load_network
from toposcope.core import tuning
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.core.tuning import TuneOptions, adapt, label_stack
from toposcope.errors import SettingsError, StackError


@pytest.fixture
def gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let adapting begin from biases that are off, so that there is something to gain in four steps."""

    def load(card: Any) -> torch.nn.Module:
        network = load_network(card)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name in ft.bias_terms(network):
                    parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
        return network

    monkeypatch.setattr(ft, "load_network", load)
    monkeypatch.setattr(ft, "LEAST_GAIN", 0.0)


def flat(name: str, tmp_path: Path) -> Path:
    noise = np.random.default_rng(1).normal(128, 4, (7, 96, 96)).clip(0, 255).astype(np.uint8)
    return written(tmp_path / name, FocalStack.create(ArraySource(noise)))


def beyond(name: str, tmp_path: Path) -> Path:
    """Return a stack whose sweep stops before the surface comes into focus."""
    sharp = scenes.tilted_plane(n=3, size=96).all_in_focus
    grey = sharp if sharp.ndim == 2 else sharp[..., 0]
    frames = np.stack([cv2.GaussianBlur(grey, (0, 0), 1.5 + k) for k in range(7)])
    return written(tmp_path / name, FocalStack.create(ArraySource(frames.astype(np.uint8))))


# -- labels ------------------------------------------------------------------------------------------------------


def test_labels_are_the_depth_and_lie_on_disk(tmp_path: Path) -> None:
    scene = scenes.tilted_plane(n=9, size=96, noise=0.02)
    labels = label_stack(scene.stack, tmp_path / "a", QUICK)
    assert labels.problem is None
    assert labels.sure > 0.5
    sure = labels.confidence() >= 0.4
    slices = labels.depth() * (scene.stack.n - 1)
    assert np.abs(slices - scene.index)[sure].mean() < 0.15
    frames = np.load(tmp_path / "a" / "frames.npy", mmap_mode="r")
    assert isinstance(frames, np.memmap)
    assert frames.dtype == np.uint8
    assert frames.shape == (scene.stack.n, *scene.stack.shape)


def test_no_label_lies_at_an_end_of_the_sweep(tmp_path: Path) -> None:
    scene = scenes.tilted_plane(n=9, size=96)
    labels = label_stack(scene.stack, tmp_path / "a", QUICK)
    slices = labels.depth()[labels.confidence() > 0] * (scene.stack.n - 1)
    assert slices.min() >= 0.5 - 1e-3
    assert slices.max() <= scene.stack.n - 1.5 + 1e-3


def test_fine_frames_stay_fine(tmp_path: Path) -> None:
    label_stack(scenes.tilted_plane(n=5, size=64, encoding="uint16").stack, tmp_path / "a", QUICK)
    assert np.load(tmp_path / "a" / "frames.npy", mmap_mode="r").dtype == np.uint16


# -- adapting ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gain")
def test_the_file_that_is_written_runs_as_weights_of_the_base(stacks: list[Path], tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    output = tmp_path / "mine.safetensors"
    tuned = adapt(stacks, output, QUICK, on_line=lines.append)
    assert tuned.weights == output
    assert tuned.after < tuned.before
    assert output.stat().st_size < 20_000
    assert not list(tmp_path.glob("*.tuning"))
    assert [line["stage"] for line in lines][:2] == ["labels", "labels"]
    assert [line["step"] for line in lines if "loss" in line and "held_out" not in line] == [1, 2, 3, 4]
    with safe_open(output, "pt") as file:
        about = file.metadata()
    assert about["base"] == LIGHT.sha256
    assert about["labels"] == "tft"
    assert json.loads(about["stacks"]) == ["scan_0", "scan_1"]
    stack = scenes.tilted_plane(n=5, size=64).stack
    result = estimate(stack, EstimateSettings("light", align="none", weights=output))
    assert result.valid.any()
    with pytest.raises(SettingsError, match="holds weights of light"):
        estimate(stack, EstimateSettings("fad", align="none", weights=output))


def test_no_gain_writes_nothing_and_says_so(
    stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ft, "LEAST_GAIN", 1.0)
    tuned = adapt(stacks, tmp_path / "mine.safetensors", QUICK)
    assert tuned.weights is None
    assert not list(tmp_path.iterdir())
    assert any("held-out part got no better by 100 %" in note and "base stays selected" in note for note in tuned.notes)


@pytest.mark.parametrize("words", ["labels, stack 2", "step 2"])
def test_what_was_stopped_goes_on(words: str, stacks: list[Path], tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if words in progress.text:
            raise Cancelled

    output = tmp_path / "mine.safetensors"
    with pytest.raises(Cancelled, match="the same command goes on from there"):
        adapt(stacks, output, QUICK, stop)
    first = tmp_path / "mine.tuning" / "stack-000" / "frames.npy"
    before = first.stat().st_mtime_ns
    told: list[str] = []

    def listen(progress: Progress) -> None:
        told.append(progress.text)
        if first.exists():
            assert first.stat().st_mtime_ns == before

    parts = adapt(stacks, output, QUICK, listen)
    whole = adapt(stacks, tmp_path / "other.safetensors", QUICK)
    assert parts.curve == whole.curve
    if words == "step 2":
        assert not any("step 1 " in text for text in told)


def test_unfinished_work_of_another_kind_is_refused(stacks: list[Path], tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if "step 1" in progress.text:
            raise Cancelled

    output = tmp_path / "mine.safetensors"
    with pytest.raises(Cancelled):
        adapt(stacks, output, QUICK, stop)
    with pytest.raises(SettingsError, match="holds unfinished work on other stacks or with other settings"):
        adapt(stacks[:1], output, QUICK)
    with pytest.raises(SettingsError, match="holds unfinished work on other stacks or with other settings"):
        adapt(stacks, output, QUICK, reading=OpenOptions(skip=(0,)))


def test_a_call_that_came_to_nothing_does_not_stand_in_the_way_of_a_better_one(
    stacks: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "mine.safetensors"
    texts: list[str] = []
    with pytest.raises(StackError, match="nowhere does not exist"):
        adapt([*stacks, tmp_path / "nowhere"], output, QUICK, lambda progress: texts.append(progress.text))
    assert not any("labels" in text for text in texts)  # told before any time was spent
    assert list(tmp_path.glob("*.tuning")) == []
    with pytest.raises(StackError, match="no stack teaches anything"):
        adapt([flat("bad", tmp_path)], output, QUICK)
    assert list(tmp_path.glob("*.tuning")) == []


def test_what_was_done_outlives_a_disk_that_is_gone(stacks: list[Path], tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if "labels, stack 2" in progress.text:
            raise Cancelled

    output = tmp_path / "mine.safetensors"
    with pytest.raises(Cancelled):
        adapt(stacks, output, QUICK, stop)
    away = stacks[1].rename(stacks[1].with_name("away"))
    with pytest.raises(StackError, match="does not exist"):
        adapt(stacks, output, QUICK)
    assert (tmp_path / "mine.tuning" / "stack-000" / "stack.json").exists()
    away.rename(stacks[1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
def test_more_stacks_than_a_process_may_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    first = written(tmp_path / "s00", scenes.tilted_plane(n=7, size=64, noise=0.02).stack)
    stacks = [first, *(shutil.copytree(first, tmp_path / f"s{k:02d}") for k in range(1, 12))]
    open_now = len(list(Path("/dev/fd").iterdir()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(ft, "LEAST_GAIN", 1.0)
    quick = replace(QUICK, options=TuneOptions(steps=1, crop=32))
    adapt(stacks[:1], tmp_path / "warm.safetensors", quick)  # libraries open files of their own the first time
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 30, hard))
    try:
        tuned = adapt(stacks, tmp_path / "mine.safetensors", quick)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(tuned.labels) == 12


def test_a_small_stack_does_not_make_all_crops_small(
    stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = written(tmp_path / "tiny", scenes.tilted_plane(n=7, size=12, noise=0.02).stack)
    crops = []
    made = ft.Crops.__init__
    monkeypatch.setattr(ft.Crops, "__init__", lambda self, *a: (made(self, *a), crops.append(self.crop))[0])
    easy = replace(QUICK, options=replace(QUICK.options, confidence=0.05))
    tuned = adapt([*stacks, tiny], tmp_path / "mine.safetensors", easy)
    assert "tiny has 12 × 12 pixels, too few beside the others for crops of 64. It was left out." in tuned.notes
    assert crops == [64]
    with pytest.raises(StackError, match="the smallest part to learn from has 10 pixels; Light network needs 16"):
        adapt([tiny], tmp_path / "other.safetensors", easy)


# -- guard rails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"), [(flat, "has sure labels for .* % of its pixels only"), (beyond, "is out of focus everywhere")]
)
def test_stacks_that_teach_nothing_are_left_out(
    make: Callable[[str, Path], Path], words: str, stacks: list[Path], tmp_path: Path
) -> None:
    bad = make("bad", tmp_path)
    with pytest.raises(StackError, match=rf"no stack teaches anything\. bad {words}"):
        adapt([bad], tmp_path / "alone.safetensors", QUICK)
    tuned = adapt([*stacks, bad], tmp_path / "mine.safetensors", QUICK)
    assert any(note.startswith("bad ") and note.endswith("It was left out.") for note in tuned.notes)
    assert [one.problem is None for one in tuned.labels] == [True, True, False]


def test_a_confidence_that_no_label_has_is_not_called_out_of_focus(stacks: list[Path], tmp_path: Path) -> None:
    made = tuning.label_stack(open_stack(stacks[0]), tmp_path / "labels", QUICK)
    assert made.problem is None
    strict = tuning.judged(made.folder, replace(QUICK, options=replace(QUICK.options, confidence=0.95)))
    assert strict.sure < tuning.NOTHING_SURE
    assert strict.problem is not None
    assert "has labels of a confidence of 0.95 or more for 0.0 % of its pixels only. Lower" in strict.problem
    assert "focus" not in strict.problem
    assert tuning.judged(made.folder, QUICK) == made


def test_labels_that_contradict_the_network_are_refused(
    stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = tuning._labelled
    monkeypatch.setattr(
        tuning, "_labelled", lambda one: replace(found := labelled(one), depth=(found.depth[:, :] + 0.5) % 1)
    )
    for _ in range(2):  # a second call does not slip past
        with pytest.raises(StackError, match=r"labels by tft and Light network agree .* one of them is wrong"):
            adapt(stacks, tmp_path / "mine.safetensors", QUICK)


def test_sparse_labels_and_full_tuning_are_warned_of() -> None:
    full = replace(QUICK, options=replace(QUICK.options, variant="full"))
    sparse, overfits = tuning.warnings([0.02], full)
    assert "Labels are sparse: sure for 2.0 %" in sparse
    assert "All weights learn from 1 stack" in overfits
    assert tuning.warnings([0.3], QUICK) == []
    assert tuning.warnings([], full) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base": "magic"}, "no network 'magic' to adapt; there are light"),
        ({"labels": "magic"}, "no method 'magic' to label with"),
        ({"labels": "light"}, "light cannot teach itself"),
        ({"align": "perhaps"}, "align is 'perhaps'"),
        ({"options": TuneOptions(steps=0)}, "steps is 0; it must lie between"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        adapt([tmp_path / "missing"], tmp_path / "mine.safetensors", replace(QUICK, **changes))
    assert not list(tmp_path.iterdir())


def test_nothing_to_adapt_to_and_wrong_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(SettingsError, match=r"folder\.safetensors is a folder\. Name a file to write"):
        adapt([tmp_path], tmp_path / "folder.safetensors", QUICK)
    with pytest.raises(SettingsError, match="is given twice, so it would judge what was learnt from it"):
        adapt([tmp_path, tmp_path / ".." / tmp_path.name], tmp_path / "mine.safetensors", QUICK)
    with pytest.raises(SettingsError, match="nothing to adapt to"):
        adapt([], tmp_path / "mine.safetensors", QUICK)
    with pytest.raises(SettingsError, match=r"mine.txt must end in .safetensors"):
        adapt([tmp_path], tmp_path / "mine.txt", QUICK)
