"""What file names say: their order, and focus positions written into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats, Unit
from toposcope.core.source.options import length_unit

_NUMBER: Final = re.compile(
    r"(?P<z>(?<![a-z])z[ _=]?)?"
    r"(?P<sign>(?:(?<=[_ =(z])|^)[+-])?"
    r"(?<![\d.])(?P<digits>\d+(?:[.,]\d+)?)(?![.,]?\d)"
    r"(?:[ ]?(?P<unit>µm|μm|um|microns?|nm|mm|cm|m)(?![a-z]))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class NamedPositions:
    """Focus positions found in file names; ``unit`` is None where the names state none."""

    values: Floats
    unit: Unit | None
    is_z: bool


@dataclass(frozen=True, slots=True)
class _Number:
    value: float
    unit: str
    is_z: bool
    is_decimal: bool


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return the key that sorts ``img2`` before ``img10``, whatever the case of letters.

    Digits and other text take turns in the list, so that only like is compared with like.
    """
    stem = PurePath(name).stem.casefold()
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", stem))], name


def positions_from_names(names: Sequence[str]) -> NamedPositions | None:
    """Find the focus positions in the names of frames, where all names are built alike.

    A position is a number with a unit of length (``scan_z12.5um.tif``) or else a decimal number
    (``image_1_0.35.jpg``) that is not the same in all names. Whole numbers without a unit are
    counters and no positions. A number after a free-standing ``z`` is preferred. None is returned
    when there is no such number, or more than one kind of it.

    >>> positions_from_names(["a_z0um.png", "a_z2.5um.png"]).values
    array([0. , 2.5])
    """
    rows, skeletons = [], set()
    for name in names:
        stem = PurePath(name).stem
        rows.append([_number(match) for match in _NUMBER.finditer(stem)])
        skeletons.add(_NUMBER.sub(lambda match: f"{match['z'] or ''}#{match['unit'] or ''}", stem).casefold())
    if len(skeletons) != 1:
        return None
    columns = [column for column in zip(*rows, strict=True) if len({number.value for number in column}) > 1]
    for wanted in (
        [column for column in columns if column[0].unit and column[0].is_z],
        [column for column in columns if column[0].unit],
        [column for column in columns if column[0].is_z and any(number.is_decimal for number in column)],
        [column for column in columns if any(number.is_decimal for number in column)],
    ):
        if len(wanted) == 1:
            return _positions(wanted[0])
        if wanted:
            return None
    return None


def _number(match: re.Match[str]) -> _Number:
    value = float(match["digits"].replace(",", ".")) * (-1 if match["sign"] == "-" else 1)
    return _Number(value, match["unit"] or "", bool(match["z"]), "." in match["digits"] or "," in match["digits"])


def _positions(column: Sequence[_Number]) -> NamedPositions:
    factor, unit = length_unit(column[0].unit) or (1.0, None)
    return NamedPositions(np.array([number.value * factor for number in column]), unit, column[0].is_z)
