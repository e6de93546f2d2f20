"""The mean of the weights of several runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dffnets.averaging import average_runs
from dffnets.registry import create_network
from dffnets.shipping import ship
from dffnets.training import DATA_NAME, TrainError, read_tensors, write


def run(folder: Path, seed: int, steps: int, network: str = "light") -> Path:
    """Leave random weights as a training would."""
    torch.manual_seed(seed)
    folder.mkdir()
    half = {k: v.half() if v.dtype.is_floating_point else v for k, v in create_network(network).state_dict().items()}
    config = {"batch": 2, "crop": 64, "counts": [5, 9], "device": "cpu", "threads": 1, "precision": "float32"}
    about = {"network": network, "options": "{}", "iteration": str(steps), "config": json.dumps(config)}
    write(folder / "weights.safetensors", half, about)
    (folder / "log.jsonl").write_text(json.dumps({"iteration": steps, "minutes": 5.0}) + "\n", "utf-8")
    (folder / DATA_NAME).write_text("rendered stacks\n", "utf-8")
    return folder


def test_weights_are_averaged_by_their_shares_and_say_so(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", 1, 600), run(tmp_path / "b", 2, 7_000)
    path = average_runs(tmp_path / "mean", [first, second], [1, 3])
    a, b, mean = (read_tensors(folder / "weights.safetensors") for folder in (first, second, tmp_path / "mean"))
    for name, value in mean.items():
        expected = 0.25 * a[name] + 0.75 * b[name] if value.dtype.is_floating_point else b[name]
        torch.testing.assert_close(value, expected, rtol=2e-3, atol=1e-4)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["mean"]) == {"shares": [0.25, 0.75], "iterations": [600, 7000]}
    card = ship(tmp_path / "mean", folder=tmp_path)
    assert card.training == (
        "the mean of the weights of 2 runs (25 % after 600, 75 % after 7,000 steps), the last with 7,000 steps of 2 "
        "crops of 64 x 64 pixels, 5 to 9 slices, 5 minutes on one CPU core in float32"
    )
    assert card.data == "rendered stacks"


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    first, other = run(tmp_path / "a", 1, 10), run(tmp_path / "b", 1, 10, "dualfocus")
    with pytest.raises(TrainError, match="different networks"):
        average_runs(tmp_path / "mean", [first, other])
    with pytest.raises(TrainError, match="1 runs and 1 shares"):
        average_runs(tmp_path / "mean", [first])
    with pytest.raises(TrainError, match="2 runs and 1 shares"):
        average_runs(tmp_path / "mean", [first, first], [1])
    assert not (tmp_path / "mean").exists()
