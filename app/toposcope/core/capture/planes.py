"""Slices on the disk as they are taken: a folder that becomes an OME-TIFF when the last one is there.

::

    scan.slices/                beside scan.ome.tif
        capture.json            the plan, and what is known of the microscope: written once, first
        slice_0000.tif ...      one a slice, with its position in its description: written when it is taken
        stack.json              names and positions of those that are there: the folder opens as a stack at any time

Each file is there whole or not at all, and is on the disk before the stage moves on. Nothing but `PlaneStore.finish`
and `PlaneStore.discard` takes a slice away.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from toposcope.core.capture.microscope import Optics
from toposcope.core.capture.ome import PlaneFacts, SweepFacts, write_ome_tiff
from toposcope.core.export.writing import made_folder, whole_file
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.plan import SweepPlan
from toposcope.core.source.options import OpenOptions
from toposcope.core.source.tiff import open_tiff
from toposcope.core.stack import Plane
from toposcope.errors import CaptureError, OutputError, StackError, ToposcopeError

SUFFIXES: Final = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
FOLDER_SUFFIX: Final = ".slices"
_PLAN, _STACK = "capture.json", "stack.json"
_VERSION: Final = 1


def target_path(path: Path) -> Path:
    """Return the OME-TIFF that is meant by ``path``: itself, or the one that a folder of slices becomes.

    Raises
    ------
    OutputError
        If its name ends like no TIFF.
    """
    name = path.name
    if name.endswith(FOLDER_SUFFIX):
        return path.with_name(name.removesuffix(FOLDER_SUFFIX) + ".ome.tif")
    if not name.lower().endswith(SUFFIXES):
        raise OutputError(f"{name} names no TIFF. Let the name end in .ome.tif.")
    return path


def slices_folder(path: Path) -> Path:
    """Return the folder that holds the slices of ``path`` until they are all there."""
    stem = path.name
    for suffix in SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    return path.with_name(stem + FOLDER_SUFFIX)


class PlaneStore:
    """The slices of one sweep. Make one with `create` or `open`.

    ``path`` is the OME-TIFF, ``folder`` where slices lie until then, ``planes`` the facts of those that are there.
    """

    def __init__(self, path: Path, plan: SweepPlan, facts: SweepFacts, planes: Mapping[int, PlaneFacts]) -> None:
        self.path, self.plan, self.facts = path, plan, facts
        self.folder = slices_folder(path)
        self.planes = dict(planes)

    @classmethod
    def create(cls, path: Path, plan: SweepPlan, facts: SweepFacts) -> PlaneStore:
        """Begin a sweep that shall become ``path``.

        Raises
        ------
        OutputError
            If the folder cannot be made, holds slices of a sweep that was not ended, or ``path`` is there already.
        """
        path = target_path(path)
        folder = slices_folder(path)
        if any(folder.glob("slice_*.tif")):
            raise OutputError(
                f"{folder.name} holds the slices of a sweep that was not ended. Go on with it, or move or delete that "
                "folder first.",
                option="--resume",
            )
        if path.exists():
            raise OutputError(f"{path.name} is there already, and no sweep takes its place. Choose another name.")
        store = cls(path, plan, facts, {})
        made_folder(folder)
        content = {"version": _VERSION, "target": path.name, "plan": asdict(plan), "microscope": asdict(facts)}
        _write(folder / _PLAN, (json.dumps(content, indent=1) + "\n").encode())
        return store

    @classmethod
    def open(cls, path: Path) -> PlaneStore:
        """Open the slices of a sweep that was not ended; ``path`` is the OME-TIFF to be, or the folder.

        A slice that cannot be read whole counts as missing.

        Raises
        ------
        CaptureError
            If there are none, or they belong to no sweep that can go on.
        """
        path = target_path(path)
        folder = slices_folder(path)
        if not folder.is_dir():
            raise CaptureError(
                f"there is no sweep to go on with: {folder.name} does not exist"
                + (f", and {path.name} is there whole." if path.is_file() else ".")
            )
        try:
            content = json.loads((folder / _PLAN).read_text("utf-8"))
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']}")
            path = path.with_name(Path(content["target"]).name)
            plan = SweepPlan(**content["plan"])
            about = content["microscope"]
            facts = SweepFacts(**{**about, "optics": Optics(**about["optics"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ToposcopeError) as error:
            raise CaptureError(
                f"{folder.name} cannot be gone on with: its {_PLAN} is missing or damaged. Open the folder as a stack "
                "to use the slices that are there."
            ) from error
        planes = {}
        for i in range(plan.n):
            found = _plane_facts(folder / _file_name(i))
            if found is not None:
                planes[i] = found
        return cls(path, plan, facts, planes)

    @property
    def missing(self) -> tuple[int, ...]:
        """The slices that are still to be taken, in the order in which they are."""
        return tuple(i for i in self.plan.order if i not in self.planes)

    def add(self, i: int, plane: Plane, facts: PlaneFacts) -> None:
        """Put slice ``i`` on the disk; one that is there already stays as it is.

        Raises
        ------
        OutputError
            If permission or space is lacking; the slices before it are kept.
        """
        if i in self.planes:
            return
        buffer = io.BytesIO()
        about = json.dumps({"toposcope": "slice", "index": i, **asdict(facts)})
        kind = "rgb" if plane.ndim == 3 else "minisblack"
        tifffile.imwrite(buffer, np.ascontiguousarray(plane), photometric=kind, description=about, metadata=None)
        _write(self.folder / _file_name(i), buffer.getvalue())
        self.planes[i] = facts
        self._write_stack()

    def read(self, i: int) -> Plane:
        """Return slice ``i``, checked against what was taken.

        Raises
        ------
        CaptureError
            If it is damaged.
        """
        name = _file_name(i)
        try:
            plane: Plane = tifffile.imread(self.folder / name)
        except Exception as error:
            raise CaptureError(f"{name} in {self.folder.name} cannot be read any more: {error}.") from error
        if zlib.crc32(np.ascontiguousarray(plane).data) != self.planes[i].crc:
            raise CaptureError(f"{name} in {self.folder.name} is damaged. Delete it, and go on to take it anew.")
        return plane

    def taken(self) -> Iterator[tuple[int, Plane, float]]:
        """Yield index, pixels and position of the slices that are there, in the order in which they are taken."""
        for i in self.plan.order:
            if i in self.planes:
                yield i, self.read(i), self.planes[i].z_um

    def finish(self, report: Report = silent) -> Path:
        """Make the OME-TIFF of the slices that are there, read it back, and take the folder away.

        Raises
        ------
        OutputError
            If it cannot be written, does not read back as it was taken, or something else bears its name. The folder
            then stays.
        """
        indices = sorted(self.planes, key=lambda i: self.planes[i].z_um)
        planes = [self.planes[i] for i in indices]
        name = self.folder.name.removesuffix(FOLDER_SUFFIX)
        if self.path.exists():  # it was made, and the computer went off before the folder was gone; or it is another's
            try:
                self._check(planes, report)
            except OutputError as error:
                raise OutputError(
                    f"{self.path.name} is there already and holds something else. Move it away, then go on with the "
                    f"sweep: its slices are kept in {self.folder.name}."
                ) from error
            self.discard()
            return self.path
        write_ome_tiff(self.path, name, lambda k: self.read(indices[k]), self.facts, planes, part(report, 0, 0.7))
        self._check(planes, part(report, 0.7, 1))
        self.discard()
        return self.path

    def _check(self, planes: list[PlaneFacts], report: Report) -> None:
        """Read the OME-TIFF back with the reader that will open it."""
        complaint = f"{self.path.name} does not read back as it was taken"
        try:
            found = open_tiff(self.path, OpenOptions())
            heights = None if found.positions_um is None else found.positions_um.value
            wanted = np.array([plane.z_um for plane in planes])
            if (
                heights is None
                or heights.shape != wanted.shape
                or not np.allclose(heights, wanted, rtol=1e-6, atol=1e-6)
            ):
                raise OutputError(f"{complaint}: positions differ. The slices are kept in {self.folder.name}.")
            for k, plane in enumerate(planes):
                report(Progress(k / len(planes), f"reading slice {k + 1} of {len(planes)} back"))
                if zlib.crc32(np.ascontiguousarray(found.source.read(k)).data) != plane.crc:
                    raise OutputError(f"{complaint}: slice {k + 1} differs. The slices are kept in {self.folder.name}.")
        except StackError as error:
            raise OutputError(f"{complaint}: {error} The slices are kept in {self.folder.name}.") from error

    def discard(self) -> None:
        """Take the folder and its slices away."""
        for file in (*self.folder.glob("slice_*.tif"), self.folder / _STACK, self.folder / _PLAN):
            with suppress(OSError):
                file.unlink()
        with suppress(OSError):
            self.folder.rmdir()  # something of the user's in it stays

    def _write_stack(self) -> None:
        """Write what makes the folder a stack."""
        indices = sorted(self.planes, key=lambda i: self.planes[i].z_um)
        content: dict[str, Any] = {
            "name": self.folder.name.removesuffix(FOLDER_SUFFIX),
            "frames": [_file_name(i) for i in indices],
            "positions": [self.planes[i].z_um for i in indices],
            "unit": "um",
            "kind": "microscope",
        }
        if self.facts.near is not None:
            content["near"] = self.facts.near
        if self.facts.optics.pixel_um is not None:
            content |= {"pixel_size": self.facts.optics.pixel_um, "pixel_unit": "um"}
        _write(self.folder / _STACK, (json.dumps(content, indent=1) + "\n").encode())


def _file_name(i: int) -> str:
    return f"slice_{i:04d}.tif"


def _write(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk."""
    with whole_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _plane_facts(path: Path) -> PlaneFacts | None:
    """Return what a slice on the disk says of itself, None where there is no whole one."""
    if not path.is_file():
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            about = json.loads(tiff.pages.first.description)
            facts = PlaneFacts(**{key: about[key] for key in ("z_um", "exposure_ms", "seconds", "crc")})
            whole = zlib.crc32(np.ascontiguousarray(tiff.pages.first.asarray()).data) == facts.crc
    except Exception:  # noqa: BLE001  tifffile may raise anything; what cannot be read is taken anew
        return None
    return facts if whole else None
