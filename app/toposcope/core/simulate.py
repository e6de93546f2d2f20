"""Write rendered focal stacks with known depth: `toposcope simulate`.

>>> files = simulate(Path("dome"), SimulateSettings("dome"))                    # doctest: +SKIP
>>> stack = open_stack(files["stack"])                                          # doctest: +SKIP
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toposcope.core.export import made_folder, together, write_bytes, write_float_tiff, write_image
from toposcope.core.jobs import Progress, Report, silent
from toposcope.errors import SettingsError


@dataclass(frozen=True, slots=True)
class SimulateSettings:
    """What to render: ``slices`` None keeps the scene's own; ``picture`` is jpg, png or tif."""

    scene: str = "sample"
    seed: int | None = None
    slices: int | None = None
    picture: str = "jpg"


def scene_titles() -> dict[str, str]:
    """Return the scenes that can be rendered: name and a few words."""
    from dffnets.synthetic.gallery import EXHIBITS

    return {card.name: card.title for card in EXHIBITS.values()}


def simulate(
    directory: Path | str, settings: SimulateSettings = SimulateSettings(), report: Report = silent
) -> dict[str, Path]:
    """Render a scene and write its stack, its true depth and its all-in-focus picture.

    Returns
    -------
    ``stack`` the folder to open: frames, and ``stack.json`` that names them; ``true_depth`` in it, a
    float32 TIFF in the stack's unit; ``all_in_focus`` in it

    Raises
    ------
    SettingsError
        If the scene or picture format is unknown, or fewer than 3 slices are asked for.
    OutputError
        If the folder cannot be written.
    """
    from dffnets.synthetic import render_stack
    from dffnets.synthetic.gallery import EXHIBITS

    card = EXHIBITS.get(settings.scene)
    if card is None:
        raise SettingsError(f"there is no scene '{settings.scene}'. Choose one of: {', '.join(EXHIBITS)}.")
    if settings.picture not in ("jpg", "png", "tif"):
        raise SettingsError(f"frames cannot be written as '{settings.picture}'. Choose jpg, png or tif.")
    if settings.slices is not None and settings.slices < 3:
        raise SettingsError(f"{settings.slices} slices are too few; depth from focus needs at least 3.")
    seed = 7 if settings.seed is None else settings.seed
    exhibit = card.make(seed)
    positions = exhibit.positions
    if settings.slices is not None:
        places = np.linspace(0, len(positions) - 1, settings.slices)
        positions = np.interp(places, np.arange(len(positions)), positions)
    folder = made_folder(directory)
    count = len(positions)
    rendered = render_stack(
        exhibit.scene,
        exhibit.lens,
        positions,
        exhibit.sensor,
        light=exhibit.light,
        seed=seed,
        on_slice=lambda i: report(Progress(i / count, f"slice {i + 1} of {count}")),
    )
    digits = max(2, len(str(count - 1)))
    names = [f"{settings.scene}_{i:0{digits}d}.{settings.picture}" for i in range(count)]
    facts: dict[str, Any] = {
        "name": settings.scene,
        "frames": names,
        "positions": [round(float(position), 4) for position in positions],
        "unit": exhibit.unit,
        "kind": exhibit.kind,
    }
    if exhibit.pixel_um is not None:
        facts |= {"pixel_size": exhibit.pixel_um, "pixel_unit": "um"}
    truth, sharp = folder / "true_depth.tif", folder / "true_all_in_focus.jpg"
    # far below what any method resolves, and a third of the size
    grain = np.float32(2.0 ** np.floor(np.log2(np.diff(np.sort(exhibit.positions)).min() / 200)))
    depth = np.round(rendered.depth / grain) * grain
    with together():
        for frame, name in zip(rendered.frames, names, strict=True):
            _write_frame(frame, folder / name)
        write_bytes(folder / "stack.json", (json.dumps(facts, indent=1) + "\n").encode())
        write_float_tiff(depth, truth, exhibit.unit, exhibit.pixel_um, "true depth", compressed=True)
        _write_frame(rendered.all_in_focus, sharp)
    report(Progress(1.0, "written"))
    return {"stack": folder, "true_depth": truth, "all_in_focus": sharp}


def _write_frame(frame: NDArray[Any], path: Path) -> None:
    if path.suffix != ".jpg":
        write_image(frame, path)
        return
    buffer = io.BytesIO()
    # full colour resolution: colour edges are texture too
    Image.fromarray(frame).save(buffer, "JPEG", quality=90, subsampling=0, optimize=True)
    write_bytes(path, buffer.getvalue())
