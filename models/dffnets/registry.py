"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from dffnets.nets.dffwild import DepthFromFocusInTheWild
from dffnets.nets.dualfocus import DualFocus
from dffnets.nets.fad import FrequencyAwareDepth
from dffnets.nets.focdepthformer import FocDepthFormer
from dffnets.nets.light import LightNetwork


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """One network: what it is, where it comes from, and how it is built.

    ``multiple`` is what rows and columns must divide by; `dffnets.predict` pads to it. ``largest_tile`` is the
    side in pixels above which the network is out of what it was trained on: attention looks at whole tiles.
    """

    name: str
    title: str
    paper: str
    good_at: str
    multiple: int
    build: Callable[..., nn.Module]
    largest_tile: int = 2048


CARDS: Mapping[str, NetworkCard] = {
    card.name: card
    for card in (
        NetworkCard(
            "light",
            "Light network",
            "Toposcope's own",
            "faint texture, noise and fine structures; where the default leaves holes",
            16,
            LightNetwork,
        ),
        NetworkCard(
            "fad",
            "FAD",
            "Yan et al., Frequency-Aware Deep Depth from Focus, IJCAI 2025",
            "faint texture and noise, as light; more exact on even surfaces, slower",
            16,
            FrequencyAwareDepth,
        ),
        NetworkCard(
            "dffwild",
            "Depth from Focus in the Wild",
            "Won and Jeon, Learning Depth from Focus in the Wild, ECCV 2022",
            "comparing; a start for training on photographs of your own",
            32,
            DepthFromFocusInTheWild,
        ),
        NetworkCard(
            "dualfocus",
            "DualFocus",
            "Woo and Lee, DualFocus, NeurIPS 2025",
            "focus curves with one peak",
            16,
            DualFocus,
        ),
        NetworkCard(
            "focdepthformer",
            "FocDepthFormer",
            "Kang et al., FocDepthFormer, 2024",
            "comparing; a start for training on scenes of one kind",
            16,
            FocDepthFormer,
            largest_tile=128,
        ),
    )
}


def create_network(name: str, **options: object) -> nn.Module:
    """Return a new network, with random weights.

    Raises
    ------
    KeyError
        If no network has that name; the text lists those that exist.
    """
    if name not in CARDS:
        raise KeyError(f"there is no network {name!r}; there are {', '.join(CARDS)}.")
    return CARDS[name].build(**options)
