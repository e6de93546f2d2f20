"""Make weights that a training has left into shipped ones, with their card.

    python -m dffnets.shipping RUN [--after "what came before"]

RUN is the output folder of a training. The card says what the run's own files say; its figures are
measured afterwards, by ``tests/benchmarks/networks.py --write-cards``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from dffnets.registry import CARDS, create_network
from dffnets.shipped import FOLDER, WeightsCard
from dffnets.training import DATA_NAME, TrainConfig, data_text

LARGEST = 30_000_000
"""Bytes that a file of weights may have."""


def ship(run: Path, after: str = "", folder: Path = FOLDER) -> WeightsCard:
    """Copy the weights of a training into ``folder`` beside a card made from its log; return the card.

    ``after`` tells what the weights had learnt before this run.

    Raises
    ------
    ValueError
        If the file is larger than 30 MB.
    """
    weights = run / "weights.safetensors"
    with safe_open(weights, "pt") as file:
        about = file.metadata()
    if weights.stat().st_size > LARGEST:
        raise ValueError(f"{weights} has {weights.stat().st_size / 1e6:.0f} MB; shipped weights have 30 at most.")
    config, network = json.loads(about["config"]), CARDS[about["network"]]
    last = json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[-1])
    options = json.loads(about["options"])
    card = WeightsCard(
        name=network.name,
        title=network.title,
        paper=network.paper,
        good_at=network.good_at,
        options=options,
        multiple=network.multiple,
        parameters=sum(p.numel() for p in create_network(network.name, **options).parameters()),
        data=_data(run, config),
        training=f"{f'{after}, then ' if after else ''}{_mean(about)}{int(last['iteration']):,} steps of "
        f"{config['batch']} crops of {config['crop']} x {config['crop']} pixels, {min(config['counts'])} to "
        f"{max(config['counts'])} slices, {last['minutes']:.0f} minutes on {_place(config)} in {config['precision']}",
        figures={},
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        largest_tile=network.largest_tile,
    )
    shutil.copyfile(weights, folder / f"{card.name}.safetensors")
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False)
    (folder / f"{card.name}.json").write_text(text + "\n", "utf-8")
    return card


def _mean(about: dict[str, str]) -> str:
    """Say that weights are the mean of several runs, if they are (`dffnets.averaging`)."""
    if "mean" not in about:
        return ""
    mean = json.loads(about["mean"])
    parts = (f"{100 * share:.0f} % after {n:,}" for share, n in zip(mean["shares"], mean["iterations"], strict=True))
    return f"the mean of the weights of {len(mean['shares'])} runs ({', '.join(parts)} steps), the last with "


def _data(run: Path, config: dict[str, Any]) -> str:
    """Return what the run says that it was trained on; runs that do not say it knew random scenes only."""
    if (run / DATA_NAME).exists():
        return (run / DATA_NAME).read_text("utf-8").strip()
    return data_text(
        TrainConfig(config["network"], run, pool_seed=config["pool_seed"], pool_stacks=config["pool_stacks"])
    )


def _place(config: dict[str, object]) -> str:
    if config["device"] != "cpu":
        return f"one {config['device']} device"
    return "one CPU core" if config["threads"] == 1 else f"{config['threads'] or 'all'} CPU cores"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--after", default="")
    arguments = parser.parse_args()
    print(ship(arguments.run, arguments.after).training)  # noqa: T201
