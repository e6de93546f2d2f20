"""The one door: from a stack to its depth, by any method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from toposcope.core.adapted import AdaptedNetworks
from toposcope.core.align import ALIGN_MODES
from toposcope.core.classical import classical_methods
from toposcope.core.jobs import Report, silent
from toposcope.core.method import EstimateSettings, MethodCard
from toposcope.core.networks import network_methods
from toposcope.core.own import is_own, own_method
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.errors import SettingsError

__all__ = ["METHODS", "EstimateSettings", "MethodCard", "estimate", "find_method"]

METHODS: Mapping[str, MethodCard] = {card.name: card for card in (*classical_methods(), *network_methods())}


def estimate(stack: FocalStack, settings: EstimateSettings | None = None, report: Report = silent) -> DepthResult:
    """Return the depth of ``stack`` by the method that ``settings`` name.

    >>> result = estimate(open_stack("scan_07"))                               # doctest: +SKIP
    >>> result = estimate(stack, EstimateSettings("sml", keep_volume=True))    # doctest: +SKIP
    >>> result.depth[120, 340], result.unit, result.confidence[120, 340]       # doctest: +SKIP

    Raises
    ------
    SettingsError
        If the method or one of its settings is unknown or out of range.
    FrameError
        If a frame cannot be read.
    OutputError
        If ``keep_volume`` needs a scratch file and there is no room for it.
    """
    settings = settings or EstimateSettings()
    card = find_method(settings.method)
    if settings.align not in ALIGN_MODES:
        raise SettingsError(f"align is {settings.align!r}; choose one of {', '.join(ALIGN_MODES)}.")
    if settings.threads < 0:
        raise SettingsError(f"threads is {settings.threads}; give 0 (all cores) or more.")
    return card.run(stack, replace(settings, method=card.name, options=card.checked(settings.options)), report)


def find_method(name: str) -> MethodCard:
    """Return the method ``name``: one of `METHODS`, an adapted network by its key or name, or ``FILE.py:CARD``.

    Raises
    ------
    SettingsError
        If there is none, or it cannot run here.
    """
    if name in METHODS:
        return METHODS[name]
    if is_own(name):
        return own_method(name)
    networks = AdaptedNetworks()
    try:
        network = networks.find(name)
    except SettingsError:
        known = ", ".join([*METHODS, *(one.key for one in networks.all())])
        raise SettingsError(f"there is no method {name!r}; known are {known}.") from None
    if network.trouble is not None:
        raise SettingsError(network.trouble)
    return network.card()
