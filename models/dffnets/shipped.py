"""The weights that are shipped: one safetensors file a network, and a card that says what they are.

Cards are JSON, so that a program can list the networks without loading torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent / "weights"
ORDER = ("light", "fad", "dffwild", "dualfocus", "focdepthformer")
"""How lists show the networks."""


class WeightsError(ValueError):
    """Weights cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """What shipped weights are.

    ``name`` of the network in the registry; ``title``, ``paper`` and ``good_at`` for users; ``options``
    that the network is built with; ``multiple`` that rows and columns must divide by; ``parameters``
    how many; ``data`` what it was trained on, with licence; ``training`` how long and how; ``figures``
    as measured, beside classical methods on the same stacks; ``sha256`` of the file; ``task`` that the
    weights are for: ``depth``, or ``alignment`` of frames; ``largest_tile`` that the network is good for,
    in pixels: where attention looks at a whole tile, tiles must not be larger than those of training.
    """

    name: str
    title: str
    paper: str
    good_at: str
    options: Mapping[str, Any]
    multiple: int
    parameters: int
    data: str
    training: str
    figures: Mapping[str, Any]
    sha256: str
    task: Literal["depth", "alignment"] = "depth"
    largest_tile: int = 2048

    @property
    def path(self) -> Path:
        """The weights file."""
        return (FOLDER if self.task == "depth" else FOLDER / self.task) / f"{self.name}.safetensors"


def shipped_cards(task: Literal["depth", "alignment"] = "depth") -> list[WeightsCard]:
    """Return the cards of all shipped weights for a task: the learned default first, then the papers' by merit."""
    folder = FOLDER if task == "depth" else FOLDER / task
    cards = [WeightsCard(**json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    return sorted(cards, key=lambda card: ORDER.index(card.name) if card.name in ORDER else len(ORDER))


def load_network(card: WeightsCard, path: Path | None = None) -> nn.Module:
    """Return the network of ``card`` with its weights, or with those of another file of the same network.

    A file that a training has written tells the options that its network is built with; any other must fit
    those of the card. A file of `dffnets.finetune` holds some tensors only, which are laid over the base.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or holds the weights of another network.
    """
    from dffnets.registry import create_network

    about = {} if path is None else _metadata(path)
    name = about.get("network", card.name)
    if name != card.name:
        raise WeightsError(f"{path} holds weights of {name}, not of {card.name}. Choose that method, or another file.")
    if path is not None and "base" in about:
        return _over_base(card, path, about)
    options = json.loads(about["options"]) if "options" in about else card.options
    return filled(create_network(card.name, **options), card, path)


def _over_base(card: WeightsCard, path: Path, about: Mapping[str, str]) -> nn.Module:
    """Return the network of ``card`` with the tensors of ``path`` in place of its own."""
    from safetensors import SafetensorError, safe_open

    if about["base"] != card.sha256:
        raise WeightsError(
            f"{path.name} was adapted from other weights of {card.title} than those that are here "
            f"({about['base'][:8]}, here {card.sha256[:8]}). Adapt again from these."
        )
    network = load_network(card)
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    own = network.state_dict()
    if wrong := [name for name in found if name not in own or own[name].shape != found[name].shape]:
        raise WeightsError(f"{path.name} does not fit {card.title}: {wrong[0]} is none of its tensors. Adapt again.")
    network.load_state_dict(found, strict=False)
    return network.eval()


def _metadata(path: Path) -> Mapping[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} cannot be read as weights ({error}). Give a .safetensors file.")


def filled(network: nn.Module, card: WeightsCard, path: Path | None = None) -> nn.Module:
    """Return ``network`` with the weights of ``card``, or with those of another file; raises as `load_network`."""
    from safetensors import SafetensorError, safe_open

    file = path or card.path
    if path is None and not (file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == card.sha256):
        raise WeightsError(f"{file.name} is missing, or not the file that its card describes. Install Toposcope again.")
    expected = network.state_dict()
    try:
        with safe_open(file, "pt") as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, error) from error
    missing, unexpected = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    wrong = [name for name in expected.keys() & found.keys() if expected[name].shape != found[name].shape]
    if missing or unexpected or wrong:
        said = [
            f"{what} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for what, names in (("lacks", missing), ("has besides", unexpected), ("has other sizes of", sorted(wrong)))
            if names
        ]
        raise WeightsError(f"{file.name} holds no weights of the network {card.title}: it {'; '.join(said)}.")
    network.load_state_dict(found)
    return network.eval()
