"""A result as a folder: maps, picture and ``result.json``, which says how they came to be; and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from toposcope.core.align import Alignment, Motion
from toposcope.core.calibration import KINDS, UNITS, Objective, Side, Sourced
from toposcope.core.export.writing import write_bytes
from toposcope.core.result import RESULT_NAME, DepthResult, Provenance
from toposcope.core.stack import FrameTags, Plane
from toposcope.core.sweep import SweepNote, SweepReport
from toposcope.errors import StackError

VERSION: Final = 1
"""Of the layout of ``result.json``; grows when a reader of today would misread it."""
_ANEW: Final = "Copy the whole folder again, or compute the depth anew."


def result_facts(result: DepthResult, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``result.json`` holds: calibration with origins, provenance, alignment, advice and file names."""
    known = result.depth[result.valid]
    provenance, alignment = result.provenance, result.alignment
    return {
        "toposcope": provenance.version,
        "layout": VERSION,
        "files": dict(files),
        "shape": list(result.shape),
        "unit": result.unit,
        "depth": {
            "min": float(known.min()) if known.size else None,
            "median": float(np.median(known)) if known.size else None,
            "max": float(known.max()) if known.size else None,
            "known_share": float(result.valid.mean()),
        },
        "calibration": {
            "positions": _sourced(result.positions, result.positions.value.tolist()),
            "kind": _sourced(result.kind),
            "near": _sourced(result.near),
            "pixel_um": result.pixel_um and _sourced(result.pixel_um),
            "objective": result.objective and _sourced(result.objective, asdict(result.objective.value)),
        },
        "provenance": {
            "method": provenance.method,
            "settings": dict(provenance.settings),
            "source": provenance.source,
            "parts": dict(provenance.parts),
            "frames": list(provenance.frames),
            "inputs_sha256": dict(provenance.inputs),
            "seconds": provenance.seconds,
        },
        "alignment": alignment
        and {
            "text": alignment.text,
            "needed": alignment.needed,
            "reference": alignment.reference,
            "motions": [
                {"matrix": motion.matrix.tolist(), "gain": motion.gain, "registered": motion.registered}
                for motion in alignment.motions
            ],
        },
        "sweep": [{"lack": note.lack, "text": note.text, "share": note.share} for note in result.sweep.notes],
    }


def write_result_json(result: DepthResult, path: Path | str, files: Mapping[str, str]) -> None:
    """Write ``result.json``; ``files`` names what lies beside it: depth, confidence, all_in_focus."""
    facts = _plain(result_facts(result, files))
    write_bytes(path, (json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_result(path: Path | str) -> DepthResult:
    """Read a result that `write_result` wrote: a folder, or the ``result.json`` in it.

    What is not kept in files is None: focus volume and the map of the sweep's lacks.

    Raises
    ------
    StackError
        If there is no result, or it is damaged.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise StackError(f"{path} does not exist. Choose a folder that `toposcope depth` has written.")
    path = path / RESULT_NAME if os.path.isdir(path) else path
    facts = _read_facts(path)
    try:
        if facts["layout"] > VERSION:
            raise StackError(
                f"{path} was written by a newer Toposcope ({facts['toposcope']}). Open it with that version."
            )
        files = {name: path.parent / Path(file).name for name, file in facts["files"].items()}
        depth = _map(files["depth"])
        calibration, provenance = facts["calibration"], facts["provenance"]
        unit, kind, near = facts["unit"], _value(calibration["kind"]), _value(calibration["near"])
        positions = _value(calibration["positions"])
        positions = replace(positions, value=np.asarray(positions.value, np.float64))
        if unit not in UNITS or kind.value not in KINDS or near.value not in get_args(Side):
            raise ValueError(f"unit {unit!r}, kind {kind.value!r} or near side {near.value!r}")
        picture = _picture(files["all_in_focus"])
        confidence = _map(files["confidence"])
        if not depth.shape == confidence.shape == picture.shape[:2]:
            raise ValueError("depth, confidence and picture differ in size")
        notes = tuple(SweepNote(note["lack"], note["text"], note["share"]) for note in facts["sweep"])
        return DepthResult(
            depth,
            confidence,
            np.isfinite(depth),
            picture,
            FrameTags(),
            positions,
            unit,
            kind,
            near,
            calibration["pixel_um"] and _value(calibration["pixel_um"]),
            facts["alignment"] and _alignment(facts["alignment"]),
            None,
            SweepReport(notes, None),
            Provenance(
                facts["toposcope"],
                provenance["method"],
                provenance["settings"],
                provenance["source"],
                tuple(provenance["frames"]),
                provenance["seconds"],
                provenance["inputs_sha256"],
                provenance.get("parts", {}),
            ),
            _objective(calibration.get("objective")),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else f"a value is not as it should be ({error})"
        raise StackError(f"{path} is damaged or no result of Toposcope: {what}. {_ANEW}") from error


def stack_of(result: DepthResult, folder: Path) -> Path | None:
    """Return where the stack lies that the result stored in ``folder`` was made from, None where it is not found.

    It is looked for where it was, and beside the result, should both have been moved.
    """
    was = Path(result.provenance.source)
    frames = result.provenance.frames
    for place in (was, folder.parent / was.name):
        if place.is_file() or (place.is_dir() and frames and (place / frames[0]).exists()):
            return place.absolute()
    return None


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StackError(
            f"there is no {path.name} in {path.parent}. Choose a folder that `toposcope depth` has written."
        ) from error
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StackError(f"{path} is damaged or no result of Toposcope: {error}. {_ANEW}") from error
    if not isinstance(facts, dict):
        raise StackError(f"{path} is no result of Toposcope: it holds a {type(facts).__name__}, not an object.")
    return facts


def _map(path: Path) -> NDArray[np.float32]:
    values = _opened(path, lambda: tifffile.imread(path))
    if values.ndim != 2:
        raise StackError(f"{path} holds {values.ndim} dimensions; a map has 2.")
    return np.asarray(values, np.float32)


def _picture(path: Path) -> Plane:
    if path.suffix.lower() in (".tif", ".tiff"):
        return _opened(path, lambda: tifffile.imread(path))
    if path.suffix.lower() == ".png":
        import imagecodecs  # keeps 16-bit colour, which Pillow does not

        return _opened(path, lambda: np.asarray(imagecodecs.png_decode(path.read_bytes())))

    def pixels() -> Plane:
        with Image.open(path) as image:
            return np.asarray(image if image.mode == "L" else image.convert("RGB"))

    return _opened(path, pixels)


def _opened(path: Path, read: Any) -> Plane:
    try:
        plane: Plane = read()
    except FileNotFoundError as error:
        raise StackError(f"{path} is missing, which is a part of this result. {_ANEW}") from error
    except Exception as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StackError(f"{path} cannot be read: {why}. {_ANEW}") from error
    return plane


def _sourced(value: Sourced[Any], plain: Any = None) -> dict[str, Any]:
    return {"value": value.value if plain is None else plain, "origin": value.origin, "guessed": value.guessed}


def _value(facts: Mapping[str, Any]) -> Sourced[Any]:
    return Sourced(facts["value"], facts["origin"], facts["guessed"])


def _alignment(facts: Mapping[str, Any]) -> Alignment:
    motions = [
        Motion(np.array(one["matrix"], np.float64).reshape(2, 3), one["gain"], one["registered"])
        for one in facts["motions"]
    ]
    return Alignment(tuple(motions), range(len(motions))[facts["reference"]], facts["needed"], facts["text"])


def _objective(facts: Mapping[str, Any] | None) -> Sourced[Objective] | None:
    return Sourced(Objective(**facts["value"]), facts["origin"], facts["guessed"]) if facts else None


def _plain(value: Any) -> Any:
    """Return what JSON knows: NaN and infinity become null, numpy's numbers Python's, all else its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
