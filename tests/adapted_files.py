"""What tests of adapting share: files of adapted networks, stacks on disk, settings that take no time."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import scenes
from dffnets import finetune as ft
from dffnets.shipped import shipped_cards
from toposcope.core.stack import FocalStack
from toposcope.core.tuning import TuneOptions, TuneSettings

(LIGHT,) = (card for card in shipped_cards() if card.name == "light")
QUICK = TuneSettings("light", options=TuneOptions(steps=4, crop=64), align="none", device="cpu")


def delta(path: Path, shift: float = 0.01, **meta: str) -> Path:
    """Write a file as adapting makes it: some biases of the light network, each a little off."""
    weights = {k: v + np.float32(shift) for k, v in load_file(LIGHT.path).items() if k.endswith("bias")}
    about = {
        "format": "dffnets.delta",
        "network": "light",
        "base": LIGHT.sha256,
        "labels": "tft",
        "stacks": json.dumps(["scan_1", "scan_2"]),
        "curve": json.dumps([{"held_out": 0.8}, {"held_out": 0.5}]),
    }
    save_file(dict(list(weights.items())[:4]), path, {k: v for k, v in (about | meta).items() if v})
    return path


def written(folder: Path, stack: FocalStack) -> Path:
    """Write the slices of a stack into a folder of its own."""
    folder.mkdir(parents=True)
    for i in range(stack.n):
        cv2.imwrite(str(folder / f"slice_{i:02d}.png"), stack.read(i))
    return folder


def two_stacks(folder: Path) -> list[Path]:
    """Write two small stacks with noise: a plane and a hemisphere."""
    made = (scenes.tilted_plane(n=7, size=96, noise=0.02), scenes.hemisphere(n=7, size=96, noise=0.02))
    return [written(folder / f"scan_{k}", scene.stack) for k, scene in enumerate(made)]


def take_any_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the first adapted state for better than the base: a few steps need not help."""
    note = ft._Run.note

    def first_state(run: ft._Run, line: ft.Line) -> None:
        run.best = 1e9 if run.step else run.best
        note(run, line)

    monkeypatch.setattr(ft._Run, "note", first_state)
    monkeypatch.setattr(ft, "LEAST_GAIN", -10.0)
