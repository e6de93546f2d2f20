"""Calibration that lies beside the frames: ``stack.json`` and lists of positions."""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toposcope.core.calibration import KINDS, MICROMETRES, UNITS, Kind, Side, Unit
from toposcope.core.source.options import length_unit, parse_length
from toposcope.errors import CalibrationError

SIDECAR_NAME: Final = "stack.json"
MAX_BYTES: Final = 16 * 2**20
_KEYS: Final = (
    "positions",
    "z_step",
    "unit",
    "kind",
    "near",
    "pixel_size",
    "pixel_unit",
    "frames",
    "name",
    "description",
)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The content of a ``stack.json``; None where it says nothing.

    ``frames`` names the frames that belong to the stack, in reading order.
    """

    positions: tuple[float, ...] | None = None
    z_step: float | None = None
    unit: Unit | None = None
    kind: Kind | None = None
    near: Side | None = None
    pixel_um: float | None = None
    frames: tuple[str, ...] | None = None
    name: str | None = None


def read_sidecar(path: Path) -> Sidecar:
    """Read a ``stack.json`` and check every entry.

    ::

        {"positions": [0, 2.5, 5], "unit": "um", "kind": "microscope", "pixel_size": 0.5, "pixel_unit": "um"}

    Further entries: ``z_step`` in place of ``positions``, ``near`` ("low" or "high": which end of the
    positions is nearer to the lens), ``frames`` (file names that belong to the stack, in order),
    ``name`` and ``description`` (free text).

    Raises
    ------
    CalibrationError
        If it cannot be read, or an entry is unknown, of the wrong kind or contradicts another.
    """
    text = _text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path.name} is no valid JSON: {_short(error)}. Correct it, or remove it.") from error
    if not isinstance(content, dict):
        raise CalibrationError(
            f'{path.name} must hold one JSON object such as {{"unit": "um", "positions": [0, 2.5]}}.'
        )
    for key in content:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}."
            raise CalibrationError(f"{path.name} holds the unknown entry {key[:60]!r}; {hint}")
    if "positions" in content and "z_step" in content:
        raise CalibrationError(f"{path.name} gives both positions and z_step; leave one of them out.")
    if "positions" in content and "unit" not in content:
        raise CalibrationError(f'{path.name} gives positions without a unit; add "unit": one of {_or(UNITS)}.')
    unit = _one_of(path, content, "unit", UNITS)
    if "z_step" in content and unit in (None, "index"):
        raise CalibrationError(f'{path.name} gives z_step without a unit of length; add "unit": "um", "mm" or "m".')
    positions = content.get("positions")
    if positions is not None:
        if not isinstance(positions, list) or not positions:
            raise CalibrationError(f"{path.name}: positions must be a list of numbers, one for each frame.")
        positions = tuple(_finite(path, f"position {k + 1}", value) for k, value in enumerate(positions))
    z_step = _finite(path, "z_step", content["z_step"]) if "z_step" in content else None
    if z_step == 0:
        raise CalibrationError(f"{path.name}: z_step must not be 0.")
    return Sidecar(
        positions=positions,
        z_step=z_step,
        unit=unit,
        kind=_one_of(path, content, "kind", KINDS),
        near=_one_of(path, content, "near", ("low", "high")),
        pixel_um=_pixel_um(path, content),
        frames=_strings(path, content, "frames"),
        name=str(content["name"])[:200] if content.get("name") else None,
    )


@dataclass(frozen=True, slots=True)
class PositionList:
    """Positions from a text file: in reading order, or by the names of frames where it gives them."""

    values: tuple[float, ...]
    names: tuple[str, ...] | None
    unit: Unit | None


def read_positions_file(path: Path) -> PositionList:
    """Read focus positions from text: one a line, ``12.5``, ``12.5um`` or ``frame name, 12.5um``.

    Empty lines and lines that begin with # are passed over; columns may be divided by comma,
    semicolon or tab, and a heading line is passed over.

    Raises
    ------
    CalibrationError
        If a line holds no position, or lines differ in kind or unit.
    """
    values: list[float] = []
    names: list[str] = []
    units: set[Unit | None] = set()
    for k, line in enumerate(_text(path).splitlines()):
        cells = [cell.strip().strip('"') for cell in line.replace(";", ",").replace("\t", ",").split(",")]
        cells = [cell for cell in cells if cell]
        if not cells or cells[0].startswith("#"):
            continue
        try:
            value, unit = _position(cells[-1])
        except CalibrationError as error:
            if not values and not any(character.isdigit() for character in cells[-1]):
                continue  # a heading
            raise CalibrationError(f"line {k + 1} of {path.name}: {error}") from error
        values.append(value)
        units.add(unit)
        if len(cells) > 1:
            names.append(cells[0])
    if not values:
        raise CalibrationError(f"{path.name} holds no positions; write one number a line.")
    if names and len(names) != len(values):
        raise CalibrationError(f"{path.name} gives names on some lines only; give them on all, or on none.")
    if len(units) > 1:
        raise CalibrationError(f"{path.name} mixes units; write all positions in the same unit.")
    return PositionList(tuple(values), tuple(names) or None, units.pop())


def _position(cell: str) -> tuple[float, Unit | None]:
    try:
        value = float(cell)
    except ValueError:
        return parse_length(cell)
    if not math.isfinite(value):
        raise CalibrationError(f"{cell!r} is not a finite number.")
    return value, None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CalibrationError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_BYTES:
        raise CalibrationError(f"{path.name} is larger than {MAX_BYTES >> 20} MB; that is no list of positions.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path.name} is no UTF-8 text. Save it as UTF-8, or remove it.") from error


def _pixel_um(path: Path, content: dict[str, Any]) -> float | None:
    if "pixel_size" not in content:
        if "pixel_unit" in content:
            raise CalibrationError(f"{path.name} gives pixel_unit without pixel_size.")
        return None
    size = _finite(path, "pixel_size", content["pixel_size"])
    name = content.get("pixel_unit", "um")
    found = length_unit(name) if isinstance(name, str) else None
    if found is None:
        raise CalibrationError(f"{path.name}: pixel_unit must be nm, um, mm, cm or m, not {_shown(name)}.")
    if size <= 0:
        raise CalibrationError(f"{path.name}: pixel_size must be above 0, not {size:g}.")
    return size * found[0] * MICROMETRES[found[1]]


def _strings(path: Path, content: dict[str, Any], key: str) -> tuple[str, ...] | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise CalibrationError(f"{path.name}: {key} must be a list of file names.")
    if len(set(value)) != len(value):
        raise CalibrationError(f"{path.name}: {key} names a file twice.")
    return tuple(value)


def _one_of(path: Path, content: dict[str, Any], key: str, allowed: tuple[Any, ...]) -> Any:
    value = content.get(key)
    if value is not None and value not in allowed:
        raise CalibrationError(f"{path.name}: {key} must be {_or(allowed)}, not {_shown(value)}.")
    return value


def _finite(path: Path, what: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise CalibrationError(f"{path.name}: {what} must be a finite number, not {_shown(value)}.")


def _or(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words[:-1]) + f' or "{words[-1]}"'


def _shown(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 10**15 else "a huge number"
    return text if len(text) <= 40 else text[:40] + "..."


def _short(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
