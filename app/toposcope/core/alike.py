"""Other stacks computed and read like one that is known: by its result, or by what is open in the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from dffnets.shipped import shipped_cards
from toposcope.core.calibration import MICROMETRES, TYPED, Floats, Sourced
from toposcope.core.editing import CalibrationEdit
from toposcope.core.estimate import find_method
from toposcope.core.export import read_result
from toposcope.core.method import EstimateSettings
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions
from toposcope.core.source.naming import natural_key
from toposcope.core.stack import FocalStack
from toposcope.errors import SettingsError

STATED: Final = (TYPED, "positions file")
"""How the origins of values begin that a user stated for this very stack."""
_PLACES: Final = frozenset({"positions", "positions_file", "z_step"})
_EVEN: Final = 1e-6
"""Of a step: steps that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Calibrating:
    """How to read other stacks like one: what a user typed holds for all, what its files ``told`` only as a fallback.

    A guess is neither.
    """

    typed: OpenOptions = field(default_factory=OpenOptions)
    told: OpenOptions = field(default_factory=OpenOptions)

    @property
    def all(self) -> OpenOptions:
        """Both, to hold for all stacks."""
        return over(self.typed, self.told)


@dataclass(frozen=True, slots=True)
class Like:
    """Method, settings and calibration of a stored result, for other stacks."""

    settings: EstimateSettings
    calibrating: Calibrating


def like_result(path: Path, chosen: str | None = None, weights: Path | None = None) -> Like:
    """Return how the result in ``path`` was made; ``chosen`` is another method, whose settings are its own.

    Raises
    ------
    StackError
        If there is no result.
    SettingsError
        If its method is not here, or it was made with weights that the result does not tell where to find.
    """
    result = read_result(path)
    told = result.provenance.settings
    name = result.provenance.method
    calibrating = calibrating_like(result)
    if chosen is not None and chosen != name:
        return Like(EstimateSettings(chosen, align=told.get("align", "auto"), weights=weights), calibrating)
    try:
        find_method(name)
    except SettingsError as error:
        raise SettingsError(
            f"{path} was made by {name}, which is not here: {error} Choose a method yourself."
        ) from error
    if weights is None:
        _refuse_other_weights(path, name, told)
    return Like(replace(settings_like(result), weights=weights), calibrating)


def settings_like(result: DepthResult) -> EstimateSettings:
    """Return how a result was estimated; with which weights it does not tell.

    Raises
    ------
    SettingsError
        If its method, or a setting of it, is not known here.
    """
    provenance = result.provenance
    card = find_method(provenance.method)
    known = {one.name for one in fields(card.settings)}
    options = card.checked({key: value for key, value in provenance.settings.items() if key in known})
    return EstimateSettings(card.name, options, align=provenance.settings.get("align", "auto"))


def calibrating_like(one: FocalStack | DepthResult) -> Calibrating:
    """Return how to read other stacks like ``one``."""
    names = one.source.names if isinstance(one, FocalStack) else one.provenance.frames
    groups: dict[bool, dict[str, Any]] = {True: {}, False: {}}

    def take(value: Sourced[Any] | None, **options: Any) -> None:
        if value is not None and not value.guessed:
            groups[value.origin.startswith(STATED)] |= options

    if one.unit != "index":
        take(one.positions, unit=one.unit, **_positions(one.positions.value, names))
    take(one.kind, kind=one.kind.value)
    take(one.near, near=one.near.value)
    if one.pixel_um is not None:
        take(one.pixel_um, pixel_um=one.pixel_um.value)
    return Calibrating(OpenOptions(**groups[True]), OpenOptions(**groups[False]))


def edit_like(stack: FocalStack, like: Calibrating) -> CalibrationEdit:
    """Return what to lay over ``stack`` to calibrate it like another.

    That is all that was typed there, and what files told there where those of ``stack`` tell nothing. A list of
    positions for another number of frames is left out.
    """
    told = like.told
    if not stack.positions.guessed:
        told = replace(told, unit=None, positions=None, z_step=None)
    told = replace(
        told,
        kind=told.kind if stack.kind.guessed else None,
        near=told.near if stack.near.guessed else None,
        pixel_um=told.pixel_um if stack.pixel_um is None else None,
    )
    wished = over(like.typed, told)
    positions = wished.positions
    if wished.z_step is not None:
        positions = tuple(float(value) for value in wished.z_step * np.arange(stack.n))
    elif positions is not None and len(positions) != stack.n:
        wished, positions = replace(wished, unit=None), None
    return CalibrationEdit(positions, wished.unit, wished.kind, wished.near, wished.pixel_um)


def typed_like(edit: CalibrationEdit) -> Calibrating:
    """Return how to read other stacks with what was typed over one; evenly spaced positions become a step."""
    places: dict[str, Any] = {}
    if edit.positions is not None:
        step = _even_step(np.asarray(edit.positions))
        places = {"positions": edit.positions} if step is None else {"z_step": step}
    return Calibrating(
        OpenOptions(unit=edit.unit, kind=edit.kind, near=edit.near, pixel_um=edit.pixel_um or None, **places)
    )


def over(stated: OpenOptions, under: OpenOptions) -> OpenOptions:
    """Return how to read where ``stated`` wins over ``under``; positions are of one of them, in the unit stated."""
    plain = OpenOptions()
    values = {one.name: getattr(stated, one.name) for one in fields(OpenOptions)}
    changes = {name: value for name, value in values.items() if value != getattr(plain, name)}
    if not _PLACES.isdisjoint(changes) or stated.unit == "index":
        under = replace(under, unit=None, positions=None, positions_file=None, z_step=None)
    elif stated.unit is not None and under.unit in MICROMETRES:
        factor = MICROMETRES[under.unit] / MICROMETRES[stated.unit]
        changes["z_step"] = None if under.z_step is None else under.z_step * factor
        if under.positions is not None:
            changes["positions"] = tuple(value * factor for value in under.positions)
    return replace(under, **changes)


def _positions(values: Floats, names: tuple[str, ...] | Any) -> dict[str, Any]:
    """Return (N,) ascending positions as a step where they have one, in the order in which frames are read."""
    is_turned = list(names) == sorted(names, key=natural_key, reverse=True)
    step = _even_step(values)
    if step is not None:
        return {"z_step": -step if is_turned else step}
    return {"positions": tuple(float(value) for value in (values[::-1] if is_turned else values))}


def _even_step(values: Floats) -> float | None:
    """Return the step between (N,) values, below 0 where they fall, None where it is not always the same."""
    steps = np.diff(values)
    step = float(steps.mean())
    return round(step, 9) if np.allclose(steps, step, rtol=0, atol=_EVEN * abs(step)) else None


def _refuse_other_weights(path: Path, method: str, told: Mapping[str, Any]) -> None:
    card = next((card for card in shipped_cards() if card.name == method), None)
    if card is not None and told.get("weights", card.sha256) != card.sha256:
        raise SettingsError(
            f"{path} was made by {method} with other weights than those that are shipped, and does not tell where they "
            "lie. Name them, too.",
            option="--weights FILE",
        )
