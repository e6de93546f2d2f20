"""Methods of one's own: a focus measure, or a network, from a function in a file of the user's.

::

    # mine.py
    def measure(grey, options):                       # (h, w) float32, 0 to 1
        return cv2.blur(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (options.window,) * 2)

    card = measure_method(measure, reach=1)

It is then ``mine.py:card`` wherever a method is named, such as ``toposcope depth scan --method mine.py:card`` or
``EstimateSettings("mine.py:card")``, and has all that the methods of the program have: sub-slice peaks, voids,
confidence, curves, the all-in-focus picture, the comparison with others.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dffnets.tiling import Tile
from toposcope.core.classical import WindowSettings, measured_card
from toposcope.core.jobs import Progress, Report
from toposcope.core.method import EstimateSettings, MethodCard
from toposcope.core.networks import by_probability
from toposcope.core.result import DepthResult
from toposcope.core.scales import Answer, MeanPosition, ProbabilityVolume
from toposcope.core.scan import Recipe
from toposcope.core.settings import setting
from toposcope.core.stack import FocalStack
from toposcope.errors import SettingsError

Grey = NDArray[np.float32]

_SPEC: Final = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")


def measure_method(
    measure: Callable[[Grey, Any], Grey],
    *,
    reach: int,
    power: int = 1,
    settings: type[WindowSettings] = WindowSettings,
    title: str = "Own measure",
    good_at: str = "",
) -> MethodCard:
    """Return a method that takes the slice where ``measure`` is greatest, between the slices, as the depth.

    Parameters
    ----------
    measure : called as ``measure(grey, options)`` with some rows of a frame, (h, w) float32 from 0 to 1, by
        several threads at once; returns (h, w) float32, at least 0, larger where sharper
    reach : pixels that have a say in the measure of a pixel, beyond half of ``options.window``
    power : 2 where the measure grows with the square of contrast, 1 where it grows with contrast
    settings : frozen dataclass, `WindowSettings` or one that adds fields to it by `toposcope.core.settings.setting`
    """

    def recipe(options: WindowSettings) -> Recipe:
        def checked(grey: Grey) -> Grey:
            found = np.asarray(measure(grey, options), np.float32)
            if found.shape != grey.shape:
                raise SettingsError(
                    f"the measure returned the shape {found.shape} for {grey.shape} pixels; it must return one number "
                    "for each."
                )
            return found

        return Recipe(checked, options.window // 2 + reach, power)

    return measured_card("own", title, "own", good_at, settings, recipe)


@dataclass(frozen=True, slots=True)
class ProbabilitySettings:
    """Settings of methods that `probability_method` makes; a class of one's own adds fields to it."""

    exact: bool = setting(
        False, "Exact peaks", "take the peak of the default's focus measure where it agrees with this method"
    )
    fill: bool = setting(False, "Fill voids", "give pixels that the method does not know its mean position")


def probability_method(
    predict: Callable[[Grey, Grey, Any], NDArray[Any]],
    *,
    settings: type[ProbabilitySettings] = ProbabilitySettings,
    title: str = "Own network",
    good_at: str = "",
) -> MethodCard:
    """Return a method that takes the mean of the slices, weighed by what ``predict`` says of each, as the depth.

    Parameters
    ----------
    predict : called as ``predict(frames, place, options)`` with the aligned stack in grey, (N, H, W) float32, from
        0 to 1 unless the files hold floats; and with the places of the slices, (N,) float32 from 0 to 1, in the
        coordinate in which blur grows evenly. Returns (N, H, W), at least 0; what a pixel has in all slices is
        scaled to 1, and where that is 0 or no number the pixel is void. Whether it works on a GPU is its own affair.
    settings : frozen dataclass, `ProbabilitySettings` or one that adds fields to it
    """
    return MethodCard("own", title, "own", good_at, settings, partial(_run, predict))


def _run(
    predict: Callable[[Grey, Grey, Any], NDArray[Any]], stack: FocalStack, settings: EstimateSettings, report: Report
) -> DepthResult:
    if settings.weights is not None:
        raise SettingsError(f"{settings.method} loads its weights itself. Leave others out.")
    if settings.device != "auto":
        raise SettingsError(
            f"{settings.method} chooses its device itself, so {settings.device} cannot be asked for. Leave it at auto."
        )

    def look(frames: NDArray[Any], place: Grey, factor: int, told: Report) -> Answer:
        told(Progress(0.0, f"asking {settings.method}"))
        grey = frames.astype(np.float32)
        if frames.dtype == np.uint16:
            grey /= 65535
        shares = _shares(np.asarray(predict(grey, place, settings.options), np.float32), grey.shape)
        told(Progress(1.0, f"asking {settings.method}"))
        positions = MeanPosition(grey.shape[1:], place)
        positions.add(Tile(0, grey.shape[1], 0, grey.shape[2]), shares)
        volume = None
        if settings.keep_volume:
            volume = ProbabilityVolume((len(place), *grey.shape[1:]), settings.scratch)
            volume.add((slice(None), slice(None)), shares)
        return Answer(factor, positions, volume)

    return by_probability(look, "full", stack, settings, time.monotonic(), {}, report)


def _shares(found: Grey, shape: tuple[int, ...]) -> Grey:
    """Return ``found`` scaled to a sum of 1 over the slices; flat curves, which are unknown, where it says nothing."""
    if found.shape != shape:
        raise SettingsError(
            f"the method returned the shape {found.shape} for a stack of {shape}; it must return one number for each "
            "slice and pixel."
        )
    if found.min() < 0:
        raise SettingsError(f"the method returned {found.min():.3g}; probabilities must be at least 0.")
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = found / found.sum(axis=0)
    return np.where(np.isfinite(shares).all(axis=0), shares, np.float32(1 / shape[0]))


def is_own(name: str) -> bool:
    """Whether ``name`` is that of a method in a file of the user's: ``FILE.py:CARD``."""
    return _SPEC.fullmatch(name) is not None


def own_file(name: str) -> Path:
    """Return the file that holds the method which a user's file calls so.

    Raises
    ------
    SettingsError
        If ``name`` is not that of such a method.
    """
    parts = _SPEC.fullmatch(name)
    if parts is None:
        raise SettingsError(f"{name!r} names no method in a file; write FILE.py:CARD.")
    return Path(parts["file"])


def own_method(name: str) -> MethodCard:
    """Return the method that a file of the user's calls so; runs the file.

    Raises
    ------
    SettingsError
        If the file cannot be run, or holds no method of that name.
    """
    file, wanted = own_file(name), name.rpartition(":")[2]
    try:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}). Check the path.") from error
    module = f"toposcope_own_{sha256[:16]}"
    if module not in sys.modules:
        found = importlib.util.spec_from_file_location(module, file.resolve())
        if found is None or found.loader is None:
            raise SettingsError(f"{file} is no Python file.")
        sys.modules[module] = importlib.util.module_from_spec(found)
        folder = str(file.resolve().parent)
        if folder not in sys.path:
            sys.path.append(folder)  # what lies beside it can be imported, but hides nothing
        try:
            found.loader.exec_module(sys.modules[module])
        except Exception as error:
            del sys.modules[module]
            raise SettingsError(f"{file} cannot be run: {type(error).__name__}: {error}.") from error
    card = getattr(sys.modules[module], wanted, None)
    if not isinstance(card, MethodCard):
        raise SettingsError(
            f"{file} holds no method called {wanted}. Make one by toposcope.core.own.measure_method or "
            "probability_method."
        )
    return replace(card, name=name, run=partial(_noted, card.run, sha256))


def _noted(
    run: Callable[[FocalStack, EstimateSettings, Report], DepthResult],
    sha256: str,
    stack: FocalStack,
    settings: EstimateSettings,
    report: Report,
) -> DepthResult:
    """Run a method, and note the hash of its file in the provenance."""
    result = run(stack, settings, report)
    made = result.provenance
    return replace(result, provenance=replace(made, settings={**made.settings, "code": sha256}))
