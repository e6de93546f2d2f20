"""Makers' files: planes, calibration with its origin, what is asked, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from core.source.conftest import make_frames
from core.source.microscope_files import (
    write_images_2,
    write_images_14,
    write_lif,
    write_ndtiff,
    write_oib,
    write_oif,
)
from dffnets.extras import install_line
from toposcope.core.source import ChoiceNeeded, OpenOptions, czi, describe, open_stack, reader_list
from toposcope.core.source.container import checked_sizes, time_names
from toposcope.core.source.image_file import Unreadable
from toposcope.core.source.readers import PHOTOGRAPHS, READERS
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError, MissingPartError, SettingsError, StackError


def pixels(stack: FocalStack) -> np.ndarray:
    return np.stack([stack.read(i) for i in range(stack.n)])


def hyperstack(times: int = 2, planes: int = 4, channels: int = 2, dtype: str = "uint16") -> np.ndarray:
    """Return (T, Z, C, H, W) that differ everywhere."""
    frames = make_frames(times * planes * channels, (18, 23), dtype=dtype)
    return frames.reshape(times, planes, channels, 18, 23)


# ---- CZI: written by the library where it is there, and through a stand-in of it


class Rectangle(NamedTuple):
    x: int
    y: int
    w: int
    h: int


CZI_XML = """<?xml version="1.0"?><ImageDocument><Metadata><Information>
<Image><ObjectiveSettings><RefractiveIndex>1.33</RefractiveIndex><ObjectiveRef Id="Objective:2"/></ObjectiveSettings>
<Dimensions><Channels>
<Channel Id="Channel:0" Name="LED555"><EmissionWavelength>568</EmissionWavelength></Channel>
<Channel Id="Channel:1" Name="Bright"/></Channels>
<T><Positions><List><Offsets>0 60.5</Offsets></List></Positions></T>
<Z><StartPosition>-1.5</StartPosition><Positions>{z}</Positions></Z>
<S><Scenes><Scene Index="0" Name="P1"/><Scene Index="1" Name="P2"/></Scenes></S></Dimensions></Image>
<Instrument><Objectives><Objective Id="Objective:1" Name="spare"/>
<Objective Id="Objective:2" Name="Plan-Apochromat 50x/1.2"><LensNA>1.2</LensNA>
<NominalMagnification>50</NominalMagnification></Objective></Objectives></Instrument></Information>
<Scaling><Items><Distance Id="X"><Value>9.0E-08</Value></Distance><Distance Id="Y"><Value>9.0E-08</Value></Distance>
<Distance Id="Z"><Value>3.2E-07</Value></Distance></Items></Scaling></Metadata></ImageDocument>"""
CZI_Z = "<List><Offsets>0 0.32 0.64 0.96</Offsets></List>"


class StandInReader:
    """What of pylibCZIrw's CziReader is used, with the frames (S, T, Z, C, H, W[, 3]) from ``path``."""

    def __init__(self, filepath: str) -> None:
        with np.load(filepath) as data:
            self._frames, self.raw_metadata = data["frames"], str(data["xml"])
        self.closed = False

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self._frames.shape[4:6]
        return int(width), int(height)

    @property
    def total_bounding_box(self) -> dict[str, tuple[int, int]]:
        _, times, planes, channels = self._frames.shape[:4]
        width, height = self._size
        return {"T": (0, times), "Z": (0, planes), "C": (0, channels), "X": (-7, width - 7), "Y": (3, height + 3)}

    @property
    def scenes_bounding_rectangle(self) -> dict[int, Rectangle]:
        if len(self._frames) == 1:
            return {}
        return {s: Rectangle(-7 + 100 * s, 3, *self._size) for s in range(len(self._frames))}

    @property
    def total_bounding_rectangle(self) -> Rectangle:
        return Rectangle(-7, 3, *self._size)

    def get_channel_pixel_type(self, channel_index: int) -> str:
        kinds = {("u1", 6): "Gray8", ("u2", 6): "Gray16", ("f4", 6): "Gray32Float", ("u1", 7): "Bgr24"}
        return kinds[self._frames.dtype.str[1:], self._frames.ndim]

    def read(self, roi: tuple[int, ...], plane: dict[str, int], scene: int | None) -> np.ndarray:
        assert not self.closed
        frame = self._frames[scene or 0, plane["T"], plane["Z"], plane["C"]]
        x, y = roi[0] + 7 - 100 * (scene or 0), roi[1] - 3
        part = frame[y : y + roi[3], x : x + roi[2]]
        return part[..., None] if part.ndim == 2 else part[..., ::-1]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stand_in_czi(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the stand-in in the library's place; return what writes its files."""
    module = types.ModuleType("pylibCZIrw")
    module.czi = types.SimpleNamespace(CziReader=StandInReader)  # type: ignore[attr-defined]
    module.__spec__ = importlib.util.spec_from_loader("pylibCZIrw", None)
    monkeypatch.setitem(sys.modules, "pylibCZIrw", module)
    monkeypatch.setattr(czi, "_check_structure", lambda path: None)  # the stand-in's files are none

    def write(path: Path, frames: np.ndarray, z: str = CZI_Z, xml: str = CZI_XML) -> None:
        with open(path, "wb") as file:
            np.savez(file, frames=frames, xml=np.array(xml.replace("{z}", z)))

    return write


def test_czi_planes_choices_and_facts(tmp_path: Path, stand_in_czi: Callable[..., None]) -> None:
    frames = np.stack([hyperstack(), hyperstack() // 2])
    path = tmp_path / "a.czi"
    stand_in_czi(path, frames)
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path)
    assert {choice.name: choice.options for choice in caught.value.choices} == {
        "series": ("P1", "P2"),
        "channel": ("LED555 (568 nm)", "Bright"),
        "time": ("time point 1 (0 s)", "time point 2 (60.5 s)"),
    }
    for scene in range(2):
        for channel in range(2):
            stack = open_stack(path, OpenOptions(series=scene, channel=channel, time=1))
            assert_array_equal(pixels(stack), frames[scene, 1, :, channel])
            assert_array_equal(stack.read(2, (slice(2, 9), slice(5, 23))), frames[scene, 1, 2, channel, 2:9, 5:23])
            assert stack.read(1, scale=4).shape == (5, 6)
    assert_allclose(stack.positions.value, [-1.5, -1.18, -0.86, -0.54])
    assert (stack.positions.origin, stack.unit, stack.kind.value) == ("CZI Z positions", "um", "microscope")
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.09)
    assert stack.objective is not None
    assert stack.objective.value.text == "Plan-Apochromat 50x/1.2, 50x, NA 1.2, n 1.33"
    assert stack.objective.origin == "CZI ObjectiveSettings"
    facts = describe(stack)
    assert {name: part["chosen"] for name, part in facts["parts"].items()} == {"series": 1, "channel": 1, "time": 1}
    assert facts["objective"]["value"]["na"] == 1.2
    json.dumps(facts, allow_nan=False)
    assert stack.part("time") is not None
    assert stack.source.file(0) == path
    stack.close()
    stack.close()
    with pytest.raises(FrameError, match=r"slice 1 of a\.czi cannot be read any more"):
        stack.read(0)


def test_czi_steps_by_scaling_where_positions_are_not_told_and_colour_is_rgb(
    tmp_path: Path, stand_in_czi: Callable[..., None]
) -> None:
    frames = make_frames(4, (18, 23), channels=3)[None, None, :, None]
    path = tmp_path / "a.czi"
    stand_in_czi(path, frames, z="")
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames[0, 0, :, 0])
    assert (stack.positions.origin, stack.source.channels) == ("CZI Scaling", 3)
    assert_allclose(stack.positions.value, [0, 0.32, 0.64, 0.96])
    stand_in_czi(path, frames, z="<Interval><Start>5</Start><Increment>-2</Increment></Interval>")
    stack = open_stack(path, OpenOptions(skip=("slice 2",)))
    assert_allclose(stack.positions.value, [-1, 1, 5])
    assert_array_equal(stack.read(0), frames[0, 0, 3, 0])
    stand_in_czi(path, frames, z="<Interval><Start>0</Start><Increment>400</Increment></Interval>")
    assert "Z positions step 1.25e+03 times as far as Scaling says" in open_stack(path).notes[0]


def test_czi_float_frames_and_times_for_slices(tmp_path: Path, stand_in_czi: Callable[..., None]) -> None:
    frames = np.float32([[[[make_frames(1)[0]]], [[make_frames(1)[0] + 3.0]], [[make_frames(1)[0] * 2.0]]]])
    path = tmp_path / "a.czi"
    stand_in_czi(path, frames)
    stack = open_stack(path)
    assert (stack.n, stack.source.dtype, stack.unit) == (3, np.float32, "index")
    assert pixels(stack).min() == 0
    assert pixels(stack).max() == 1
    assert stack.notes[0] == "it has no z axis; its 3 time points are taken as slices"


def test_czi_without_enough_slices_is_refused_and_so_are_wrong_choices(
    tmp_path: Path, stand_in_czi: Callable[..., None]
) -> None:
    path = tmp_path / "a.czi"
    stand_in_czi(path, hyperstack(planes=2)[None])
    with pytest.raises(
        StackError, match=r"2 slices in each of its 2 channels and 2 time points; .* at least 3 along z"
    ):
        open_stack(path)
    stand_in_czi(path, hyperstack()[None])
    with pytest.raises(SettingsError, match="2 to choose from as channel, 0 to 1; not 2"):
        open_stack(path, OpenOptions(channel=2, time=0))
    stand_in_czi(path, hyperstack()[None], xml='<!DOCTYPE a [<!ENTITY b "c">]><ImageDocument/>')
    with pytest.raises(StackError, match="not safe to read"):
        open_stack(path)


def test_a_plane_that_cannot_be_read_is_told_and_left_out_when_asked(
    tmp_path: Path, stand_in_czi: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.czi"
    frames = hyperstack(1, 5, 1)[None]
    stand_in_czi(path, frames, z="")
    whole = StandInReader.read

    def broken(self: StandInReader, roi: Any, plane: dict[str, int], scene: int | None) -> np.ndarray:
        if plane["Z"] == 2:
            raise RuntimeError("CRC")
        return whole(self, roi, plane, scene)

    monkeypatch.setattr(StandInReader, "read", broken)
    stack = open_stack(path)
    with pytest.raises(FrameError, match=r"slice 3 of a\.czi is damaged and cannot be decoded") as caught:
        stack.read(2)
    assert (caught.value.index, caught.value.name) == (2, "slice 3")
    stack = open_stack(path, OpenOptions(skip_broken=True))
    assert_array_equal(pixels(stack), frames[0, 0, [0, 1, 3, 4], 0])
    assert_allclose(stack.positions.value, np.array([0, 1, 3, 4]) * 0.32)
    assert "slice 3 of a.czi is damaged" in stack.notes[0]


def test_czi_of_the_library_itself(tmp_path: Path) -> None:
    library = pytest.importorskip("pylibCZIrw.czi", reason="pylibCZIrw is not installed")
    path = tmp_path / "a.czi"
    frames = hyperstack()
    with library.create_czi(str(path)) as document:
        for (t, z, c), _ in np.ndenumerate(frames[..., 0, 0]):
            document.write(frames[t, z, c][..., None], plane={"T": t, "Z": z, "C": c}, location=(40, 7))
        document.write_metadata("a", channel_names={0: "one", 1: "two"}, scale_x=5e-7, scale_y=5e-7, scale_z=2e-6)
    stack = open_stack(path, OpenOptions(channel=1, time=0))
    assert_array_equal(pixels(stack), frames[0, :, 1])
    assert_array_equal(stack.read(3, (slice(2, 9), slice(5, 20))), frames[0, 3, 1, 2:9, 5:20])
    assert_allclose(stack.positions.value, [0, 2, 4, 6])
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.5)
    assert stack.part("channel") is not None
    stack.close()
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(StackError, match=r"a\.czi is damaged: its header contradicts itself"):
        open_stack(path)


def czi_bytes(**changes: int) -> bytes:
    """Return the frame of a CZI: header, directory of two tiles, metadata; ``changes`` are what is wrong with it."""
    told = {"allocated": 512, "part": 0, "directory": 544, "metadata": 1200, "count": 2, "tile": 700, "axes": 4}
    told |= changes
    entry = struct.pack("<2siqiiB5xi", b"DV", 1, told["tile"], 0, 0, 0, told["axes"])
    entry += b"".join(struct.pack("<4siifi", axis, 0, 1, 0.0, 1) for axis in (b"X", b"Y", b"C", b"Z"))
    header = struct.pack(
        "<16sqqiiii16s16siqqiq", b"ZISRAWFILE", told["allocated"], 80, 1, 0, 0, 0, b"", b"", told["part"],
        told["directory"], told["metadata"], 0, 0,
    )  # fmt: skip
    directory = struct.pack("<16sqqi", b"ZISRAWDIRECTORY", 400, 400, told["count"]).ljust(32 + 128, b"\0") + 2 * entry
    metadata = struct.pack("<16sqq", b"ZISRAWMETADATA", 64, 64)
    return (header.ljust(544, b"\0") + directory).ljust(1200, b"\0") + metadata.ljust(200, b"\0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"allocated": 5000}, "its header contradicts itself"),
        ({"part": 1}, "one part of several files"),
        ({"directory": 0}, "its directory is missing"),
        ({"directory": 800}, "its directory is missing"),
        ({"metadata": 1 << 40}, "its directory is missing"),
        ({"count": 1 << 30}, "more tiles than it can hold"),
        ({"count": 12}, "names tiles that are not there|too short"),
        ({"tile": 1 << 40}, "names tiles that are not there"),
        ({"axes": -3}, "names tiles that are not there"),
    ],
)
def test_a_damaged_czi_is_refused_before_the_library_sees_it(
    tmp_path: Path, changes: dict[str, int], words: str
) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(czi_bytes())
    czi._check_structure(path)
    path.write_bytes(czi_bytes(**changes))
    with pytest.raises(Unreadable, match=words):
        czi._check_structure(path)
    path.write_bytes(czi_bytes()[:100])
    with pytest.raises(Unreadable, match="is no CZI file, or is damaged"):
        czi._check_structure(path)


def test_sizes_beyond_any_recording_are_damage() -> None:
    assert checked_sizes({"Z": 5}) == {"Z": 5}
    for size in (0, -1, 1 << 31):
        with pytest.raises(Unreadable, match=f"it says that it has {size} places along T"):
            checked_sizes({"Z": 5, "T": size})


# ---- ND2: through a stand-in of the library, which cannot write


class Record(types.SimpleNamespace):
    """Stands for the library's own records."""


class StandInNd2:
    """What of nd2.ND2File is used, with frames (P, T, Z, C, H, W[, 3])."""

    def __init__(self, path: str) -> None:
        with np.load(path) as data:
            self._frames = data["frames"]
            told = json.loads(str(data["told"]))
        self._told = told
        positions, times, planes, channels, height, width = self._frames.shape[:6]
        self.sizes = {
            axis: size
            for axis, size in zip("PTZCYX", (positions, times, planes, channels, height, width), strict=True)
            if size > 1
        }
        if self._frames.ndim == 7:
            self.sizes["S"] = 3
        self.dtype = self._frames.dtype
        names = told.get("points", [])
        loops = [
            Record(type="XYPosLoop", parameters=Record(points=[Record(name=name) for name in names])),
            Record(type="ZStackLoop", parameters=Record(stepUm=told["step"], bottomToTop=told.get("up", True))),
        ]
        self.experiment = loops if names else loops[1:]
        self.loop_indices = tuple(
            {"P": p, "T": t, "Z": z} for p in range(positions) for t in range(times) for z in range(planes)
        )
        lens = Record(
            objectiveName="Plan Apo 60x",
            objectiveMagnification=60.0,
            objectiveNumericalAperture=0.95,
            immersionRefractiveIndex=1.0,
        )
        volume = Record(axesCalibrated=(True, True, True), axesCalibration=(0.17, 0.17, 0.5))
        self.metadata = Record(
            channels=[
                Record(channel=Record(name=f"dye {c}", emissionLambdaNm=525.0), microscope=lens, volume=volume)
                for c in range(channels)
            ]
        )
        self.closed = False

    def frame_metadata(self, number: int) -> Record:
        if "stage" not in self._told:
            raise ValueError("no metadata")
        z = self._told["stage"][number % self._frames.shape[2]]
        return Record(channels=[Record(position=Record(stagePositionUm=Record(x=0, y=0, z=z)))])

    def read_frame(self, number: int) -> np.ndarray:
        frames = self._frames.reshape(-1, *self._frames.shape[3:])
        frame = frames[number][..., ::-1] if self._frames.ndim == 7 else frames[number]
        return frame.squeeze()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stand_in_nd2(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    module = types.ModuleType("nd2")
    module.ND2File = StandInNd2  # type: ignore[attr-defined]
    module.__spec__ = importlib.util.spec_from_loader("nd2", None)
    monkeypatch.setitem(sys.modules, "nd2", module)

    def write(path: Path, frames: np.ndarray, **told: Any) -> None:
        with open(path, "wb") as file:
            np.savez(file, frames=frames, told=np.array(json.dumps({"step": 0.5, **told})))

    return write


def test_nd2_planes_choices_and_facts(tmp_path: Path, stand_in_nd2: Callable[..., None]) -> None:
    frames = np.stack([hyperstack(), hyperstack() // 3])
    path = tmp_path / "a.nd2"
    stand_in_nd2(path, frames, points=["left", None], stage=[10.0, 10.51, 11.0, 11.52])
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path)
    assert {choice.name: choice.options for choice in caught.value.choices} == {
        "series": ("left", "position 2"),
        "channel": ("dye 0 (525 nm)", "dye 1 (525 nm)"),
        "time": ("time point 1", "time point 2"),
    }
    stack = open_stack(path, OpenOptions(series=1, channel=1, time=1))
    assert_array_equal(pixels(stack), frames[1, 1, :, 1])
    assert_array_equal(stack.read(2, (slice(2, 9), slice(5, 23))), frames[1, 1, 2, 1, 2:9, 5:23])
    assert_allclose(stack.positions.value, [10.0, 10.51, 11.0, 11.52])
    assert stack.positions.origin == "ND2 stage positions"
    assert stack.pixel_um is not None
    assert (stack.pixel_um.value, stack.pixel_um.origin) == (0.17, "ND2 calibration")
    assert stack.objective is not None
    assert stack.objective.value.text == "Plan Apo 60x, 60x, NA 0.95, n 1"


def test_nd2_step_where_the_stage_stands_still_and_colour(tmp_path: Path, stand_in_nd2: Callable[..., None]) -> None:
    path = tmp_path / "a.nd2"
    frames = hyperstack(1, 4, 1)[None]
    stand_in_nd2(path, frames, up=False, stage=[7.0, 7.001, 7.002, 7.003])
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames[0, 0, ::-1, 0])  # taken from the top to the bottom
    assert (stack.positions.origin, stack.positions.value[0]) == ("ND2 z step", -1.5)
    assert "stage positions step 0.002 times as far" in stack.notes[0]
    colour = make_frames(3, (18, 23), channels=3)[None, None, :, None]
    stand_in_nd2(path, colour)
    stack = open_stack(path)
    assert_array_equal(pixels(stack), colour[0, 0, :, 0])
    assert_allclose(stack.positions.value, [0, 0.5, 1])


# ---- LIF


def test_time_points_tell_when_they_began_where_all_are_known() -> None:
    assert time_names(2, [0.0, 18000.5]) == ("time point 1 (0 s)", "time point 2 (18000.5 s)")  # five hours
    for unknown in (None, [0.0], [0.0, None]):
        assert time_names(2, unknown) == ("time point 1", "time point 2")


@pytest.fixture
def liffile() -> None:
    pytest.importorskip("liffile", reason="liffile is not installed")


@pytest.mark.usefixtures("liffile")
def test_lif_planes_choices_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.lif"
    first, second, third = hyperstack(2, 4, 2), hyperstack(1, 5, 1, "uint8"), hyperstack(1, 1, 1, "uint8")
    write_lif(path, {"scan": first, "again": second, "overview": third})
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path)
    (choice,) = caught.value.choices
    assert (choice.name, choice.options) == ("series", ("scan", "again"))
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path, OpenOptions(series=0))
    assert {choice.name: choice.options for choice in caught.value.choices} == {
        "channel": ("Green", "Red"),
        "time": ("time point 1 (0 s)", "time point 2 (30 s)"),
    }
    for time in range(2):
        for channel in range(2):
            stack = open_stack(path, OpenOptions(series=0, channel=channel, time=time))
            assert_array_equal(pixels(stack), first[time, :, channel])
            stack.close()
    assert_allclose(stack.positions.value, [0, 2, 4, 6])
    assert (stack.positions.origin, stack.kind.origin) == ("LIF z axis", "LIF")
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.5)
    assert stack.objective is not None
    assert stack.objective.value.text == "HC PL FLUOTAR 20x, 20x, NA 0.8, n 1"
    other = open_stack(path, OpenOptions(series=1))
    assert_array_equal(pixels(other), second[0, :, 0])
    assert "1 further positions hold no stack and are left out" in other.notes
    other.close()


@pytest.mark.usefixtures("liffile")
def test_lif_colour_and_descending_z(tmp_path: Path) -> None:
    path = tmp_path / "a.lif"
    frames = make_frames(4, (18, 23), channels=3)[None]
    write_lif(path, {"scan": frames}, z_um=-1.0)
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames[0, ::-1])
    assert_allclose(stack.positions.value, [-3, -2, -1, 0])
    stack.close()
    path.write_bytes(b"p\0\0\0" + bytes(200))
    with pytest.raises(StackError, match=r"a\.lif is no Leica LIF file that can be read, or is damaged"):
        open_stack(path)


def test_a_package_that_is_not_whole_is_not_the_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "liffile", None)  # its import fails
    monkeypatch.delitem(sys.modules, "toposcope.core.source.lif", raising=False)
    path = tmp_path / "a.lif"
    path.write_bytes(b"p\0\0\0" + bytes(200))
    with pytest.raises(MissingPartError, match=r"liffile; it is installed, but cannot be used: .*\[microscopy\]"):
        open_stack(path)


# ---- OIF and OIB


@pytest.mark.parametrize(("suffix", "write"), [(".oif", write_oif), (".oib", write_oib)])
def test_oif_planes_choices_and_facts(tmp_path: Path, suffix: str, write: Callable[..., None]) -> None:
    pytest.importorskip("oiffile", reason="oiffile is not installed")
    path = tmp_path / f"a{suffix}"
    frames = hyperstack(2, 4, 2)
    write(path, frames, [1000.0, 2500.0, 4500.0, 5000.0])
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path)
    assert {choice.name: choice.options for choice in caught.value.choices} == {
        "channel": ("Dye 1 (500 nm)", "Dye 2 (600 nm)"),
        "time": ("time point 1", "time point 2"),
    }
    stack = open_stack(path, OpenOptions(channel=1, time=1))
    assert_array_equal(pixels(stack), frames[1, :, 1])
    assert_allclose(stack.positions.value, [1, 2.5, 4.5, 5])
    assert stack.positions.origin == "OIF AbsPositionValue"
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.207)
    assert stack.objective is not None
    assert stack.objective.value.text == "UPLSAPO 60X O NA:1.35, 60x, NA 1.35"
    stack.close()


def test_oif_step_of_the_axis_and_missing_files(tmp_path: Path) -> None:
    pytest.importorskip("oiffile", reason="oiffile is not installed")
    path = tmp_path / "a.oif"
    frames = hyperstack(1, 4, 1)
    write_oif(path, frames)
    stack = open_stack(path)
    assert stack.positions.origin == "OIF z axis"
    assert_allclose(stack.positions.value, [-2.25, -1.5, -0.75, 0])
    assert_array_equal(pixels(stack), frames[0, ::-1, 0])
    stack.close()
    (tmp_path / "a.oif.files" / "s_C001Z002.tif").unlink()
    stack = open_stack(path)
    with pytest.raises(FrameError, match="is missing: no image of it is there"):
        pixels(stack)
    stack.close()
    (tmp_path / "a.oif.files").rename(tmp_path / "elsewhere")
    with pytest.raises(StackError, match=r"a\.oif cannot be opened: files that belong to it are missing beside it"):
        open_stack(path)


# ---- Micro-Manager


def test_ndtiff_planes_choices_and_facts(tmp_path: Path) -> None:
    folder = tmp_path / "scan_1"
    frames = hyperstack(2, 4, 2)
    shots = [
        (
            {"position": "Pos1", "channel": ["DAPI", "FITC"][c], "time": t, "z": z - 1},
            frames[t, z, c],
            {"ZPosition_um_Intended": 50 - 2.5 * z, "PixelSizeUm": 0.325},
        )
        for t in range(2)
        for c in range(2)
        for z in range(4)
    ]
    write_ndtiff(folder, shots)
    for path in (folder, folder / "scan_1_NDTiffStack.tif", folder / "NDTiff.index"):
        with pytest.raises(ChoiceNeeded) as caught:
            open_stack(path)
        assert {choice.name: choice.options for choice in caught.value.choices} == {
            "channel": ("DAPI", "FITC"),
            "time": ("time point 1", "time point 2"),
        }
        stack = open_stack(path, OpenOptions(channel=1, time=1))
        assert_array_equal(pixels(stack), frames[1, ::-1, 1])
        assert_allclose(stack.positions.value, [42.5, 45, 47.5, 50])
        assert stack.positions.origin == "NDTiff ZPosition_um_Intended"
        assert stack.pixel_um is not None
        assert (stack.pixel_um.value, stack.pixel_um.origin) == (0.325, "NDTiff PixelSizeUm")
    whole = (folder / "scan_1_NDTiffStack.tif").read_bytes()
    (folder / "scan_1_NDTiffStack.tif").write_bytes(b"II?" + whole[3:])
    with pytest.raises(StackError, match=r"has a damaged file scan_1_NDTiffStack\.tif"):
        open_stack(folder)
    (folder / "scan_1_NDTiffStack.tif").unlink()
    with pytest.raises(StackError, match=r"lacks the file scan_1_NDTiffStack\.tif"):
        open_stack(folder)


def test_ndtiff_missing_shots_tiles_and_colour(tmp_path: Path) -> None:
    folder = tmp_path / "scan_2"
    frames = make_frames(8, (18, 23), channels=3)
    write_ndtiff(folder, [({"row": k // 4, "column": 0, "z": k % 4}, frames[k], {}) for k in range(7)])
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(folder)
    assert caught.value.choices[0].options == ("column 0, row 0", "column 0, row 1")
    assert_array_equal(pixels(open_stack(folder, OpenOptions(series=0))), frames[:4])
    second = open_stack(folder, OpenOptions(series=1))
    with pytest.raises(FrameError, match="slice 4 of scan_2 is missing: the acquisition was stopped"):
        pixels(second)
    left = open_stack(folder, OpenOptions(series=1, skip_broken=True))
    assert_array_equal(pixels(left), frames[4:7])


@pytest.mark.parametrize("stop_early", [False, True])
def test_single_images_of_micro_manager_14(tmp_path: Path, stop_early: bool) -> None:
    frames = hyperstack(2, 2, 4)  # T, C, Z
    for position in ("Pos0", "Pos1"):
        write_images_14(tmp_path / "scan" / position, frames + (position == "Pos1"), [9.0, 6.5, 4.0, 1.5], stop_early)
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(tmp_path / "scan")
    assert {choice.name: choice.options for choice in caught.value.choices} == {
        "series": ("Pos0", "Pos1"),
        "channel": ("DAPI", "FITC"),
        "time": ("time point 1", "time point 2"),
    }
    stack = open_stack(tmp_path / "scan", OpenOptions(series=1, channel=0, time=1))
    assert_array_equal(pixels(stack), frames[1, 0, ::-1] + 1)
    assert_allclose(stack.positions.value, [1.5, 4, 6.5, 9])
    assert stack.positions.origin == "Micro-Manager ZPositionUm"
    single = open_stack(tmp_path / "scan" / "Pos0" / "metadata.txt", OpenOptions(channel=1, time=0))
    assert_array_equal(pixels(single), frames[0, 1, ::-1])
    assert single.source.file(0) == tmp_path / "scan" / "Pos0" / "img_000000000_FITC_003.tif"


def test_single_images_of_micro_manager_2(tmp_path: Path) -> None:
    frames = make_frames(4, dtype="uint16") // 2
    write_images_2(tmp_path / "scan", frames, positions=2)
    stack = open_stack(tmp_path / "scan", OpenOptions(series=1))
    assert_array_equal(pixels(stack), frames[::-1] + 1)
    assert_allclose(stack.positions.value, [95.5, 97, 98.5, 100])
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == 0.65
    (tmp_path / "scan" / "metadata.txt").write_text("{")
    with pytest.raises(StackError, match=r"has a metadata\.txt that names no image that is there"):
        open_stack(tmp_path / "scan")
    (tmp_path / "scan" / "metadata.txt").write_text("nothing")
    with pytest.raises(StackError, match=r"has a damaged metadata\.txt"):
        open_stack(tmp_path / "scan")


# ---- what is missing, and what is no stack


def test_a_missing_package_names_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for reader in READERS:
        path = tmp_path / f"a{reader.suffixes[0]}"
        path.write_bytes(b"x")
        with pytest.raises(MissingPartError) as caught:
            open_stack(path)
        assert reader.package.name in str(caught.value)
        assert str(caught.value).endswith(f"Type: {install_line('microscopy')}")
    listed = reader_list()
    assert listed.count("missing") == len(READERS) + len(PHOTOGRAPHS) + 1  # and the package for height maps
    assert install_line("microscopy") in listed


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.x3p", b"PK\x03\x04"),
        ("a.AL3D", b"AliconaImaging\0"),
        ("a.stp", b"WSxM file copyright UAM"),
        ("a.opdx", b"VCA DATA"),
        ("a.hfm", b"X;Y;valid\r\n"),
    ],
)
def test_height_maps_are_told_from_stacks(tmp_path: Path, name: str, start: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(start + bytes(200))
    with pytest.raises(StackError, match=r"is a height map .*not a focal stack"):
        open_stack(path)


def test_a_suffix_that_others_use_is_not_taken_for_a_height_map(tmp_path: Path) -> None:
    path = tmp_path / "a.stp"
    path.write_bytes(b"ISO-10303-21;\nHEADER;")
    with pytest.raises(StackError, match="is of no format that is read here"):
        open_stack(path)
