"""The mean of the weights of several runs, of which each began from the one before or from the same weights.

    python -m dffnets.averaging OUT RUN RUN ... [--shares 1,1]

OUT becomes a folder as a run leaves it, with the log and the data of the last RUN. Such means often err less than any
of the runs (Wortsman et al., "Model soups", ICML 2022); runs that began from different random weights have no mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open

from dffnets.training import DATA_NAME, TrainError, read_tensors, write

WEIGHTS = "weights.safetensors"


def average_runs(output: Path, runs: Sequence[Path], shares: Sequence[float] | None = None) -> Path:
    """Write the mean of the weights of ``runs`` into the folder ``output``, and return the file.

    ``shares`` (default: equal) are those of the runs, of any positive sum. The file tells how it came about.

    Raises
    ------
    TrainError
        If the runs are of different networks, or of networks built differently, or shares and runs do not match.
    """
    shares = shares or [1.0] * len(runs)
    if len(shares) != len(runs) or len(runs) < 2 or min(shares) <= 0:
        raise TrainError(f"{len(runs)} runs and {len(shares)} shares make no mean. Give two runs or more.")
    abouts = []
    for run in runs:
        with safe_open(run / WEIGHTS, "pt") as file:
            abouts.append(file.metadata() or {})
    kinds = {(about.get("network"), about.get("options")) for about in abouts}
    if len(kinds) > 1:
        raise TrainError("the runs are of different networks, which have no mean. Give runs of one network.")
    every = [read_tensors(run / WEIGHTS) for run in runs]
    weight = [share / sum(shares) for share in shares]
    mean = {}
    for name, last in every[-1].items():
        if last.dtype.is_floating_point:
            parts = [share * tensors[name].double() for share, tensors in zip(weight, every, strict=True)]
            mean[name] = torch.stack(parts).sum(0).half()
        else:
            mean[name] = last
    output.mkdir(parents=True, exist_ok=True)
    steps = [int(about["iteration"]) for about in abouts]
    write(output / WEIGHTS, mean, abouts[-1] | {"mean": json.dumps({"shares": weight, "iterations": steps})})
    for name in ("log.jsonl", DATA_NAME):
        shutil.copyfile(runs[-1] / name, output / name)
    return output / WEIGHTS


def main() -> None:
    """Average what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--shares", type=lambda text: [float(part) for part in text.split(",")])
    arguments = parser.parse_args()
    print(average_runs(arguments.output, arguments.runs, arguments.shares))  # noqa: T201


if __name__ == "__main__":
    main()
