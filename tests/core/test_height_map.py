"""Height maps of instruments: round trips, files made by hand, hostile files, places by formula, stand-ins."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import math
import os
import re
import struct
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dffnets.extras import install_line
from surfaces import field, hills
from toposcope.core.calibration import Sourced
from toposcope.core.compare import compare_heights, write_difference
from toposcope.core.export import HEIGHT_MAP_FORMATS, export, write_gwy, write_x3p
from toposcope.core.height_map import (
    HEIGHT_MAP_SUFFIXES,
    HeightMap,
    as_result,
    described,
    from_result,
    is_height_map,
    lay_over,
    level_to,
    mirrored,
    parse_place,
    read_height_map,
    reader_lines,
    squared,
)
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.source import open_stack, reader_list
from toposcope.errors import CalibrationError, MissingPartError, OutputError, SettingsError, StackError
from window_fakes import make_result, make_stack

NAN = math.nan
DATA = Path(__file__).parents[2] / "../shared/data/microscope_formats"
WRITERS: dict[str, Callable[[HeightMap, Path], None]] = {"x3p": write_x3p, "gwy": write_gwy}


def ramp(**changes: Any) -> HeightMap:
    """Four rows of six, rising to the right and more so downwards, with two voids; pixels 0.5 wide, 0.25 high."""
    z = 10.0 * np.arange(4)[:, None] + np.arange(6)[None, :]
    z[0, 0] = z[2, 5] = NAN
    made = HeightMap(z, Sourced(0.5, "test"), Sourced(0.25, "test"), "formula", "Ramp & <co>")
    return replace(made, **changes)


# ---- our own formats


@pytest.mark.parametrize("name", ["x3p", "gwy"])
def test_heights_come_back_with_voids_pixels_and_orientation(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name}"
    WRITERS[name](ramp(), path)
    back = read_height_map(path)
    assert_allclose(back.z_um, ramp().z_um, rtol=1e-14)
    assert back.z_um.dtype == np.float64
    assert back.pixels_um == pytest.approx((0.25, 0.5))
    assert (back.instrument, back.title) == (("Ramp & <co>", "") if name == "x3p" else ("", "Ramp & <co>"))
    assert back.path == path
    assert back.range_um == pytest.approx((1.0, 35.0))
    assert back.range_um is back.range_um  # worked out once: it takes half a second on a large map
    assert [note for note in back.notes if "mask" not in note] == []


@pytest.mark.parametrize("name", ["x3p", "gwy"])
def test_a_result_that_was_exported_gives_its_heights_again(name: str, tmp_path: Path) -> None:
    result = make_result(make_stack())
    (path,) = export(result, name, tmp_path)
    back = read_height_map(path)
    assert np.isnan(back.z_um).sum() == (~result.valid).sum() > 0
    assert_array_equal(back.z_um.astype(np.float32), result.heights())  # the same to the last bit
    assert result.pixel_um is not None
    assert back.pixels_um == pytest.approx((result.pixel_um.value,) * 2)


@given(
    st.integers(2, 9),
    st.integers(2, 9),
    st.floats(1e-4, 1e3),
    st.floats(-1e6, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_round_trips_keep_any_surface(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, pixel: float, level: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    z = level + rng.normal(size=(rows, columns))
    z[rng.random((rows, columns)) < 0.2] = NAN
    z[-1, -1] = level
    made = HeightMap(z, Sourced(pixel, "test"), Sourced(2 * pixel, "test"), "formula")
    folder = tmp_path_factory.mktemp("trip")
    for name, write in WRITERS.items():
        write(made, folder / f"a.{name}")
        back = read_height_map(folder / f"a.{name}")
        assert_allclose(back.z_um, z, rtol=1e-13, atol=1e-12)
        assert back.pixels_um == pytest.approx((2 * pixel, pixel))


def test_results_without_a_scale_are_not_written_as_surfaces(tmp_path: Path) -> None:
    result = make_result(make_stack())
    with pytest.raises(CalibrationError, match="counted in slices"):
        export(replace(result, unit="index"), "x3p", tmp_path)
    with pytest.raises(OutputError, match="needs a pixel size"):
        export(replace(result, pixel_um=None), "gwy", tmp_path)
    nothing = ramp(z_um=np.full((3, 3), NAN))
    with pytest.raises(OutputError, match="no pixel has a known height"):
        write_gwy(nothing, tmp_path / "a.gwy")
    assert list(tmp_path.iterdir()) == []


def test_cameras_results_are_written_with_heights_towards_the_lens(tmp_path: Path) -> None:
    result = make_result(make_stack())
    near = replace(result, near=Sourced("low", "test"), unit="mm")
    (path,) = export(near, "x3p", tmp_path)
    expected = (float(result.positions.value[-1]) - result.depth.astype(np.float64)) * 1e3
    assert_allclose(read_height_map(path).z_um, expected, rtol=1e-5)


# ---- X3P that others write


def x3p(
    path: Path,
    data: bytes,
    shape: tuple[int, int] = (2, 3),
    kind: str = "D",
    z: str = "",
    folder: str = "",
    more: str = "",
    edit: Callable[[str], str] = lambda xml: xml,
    parts: dict[str, bytes] | None = None,
) -> Path:
    xml = f"""<?xml version="1.0"?><q:ISO5436_2 xmlns:q="http://www.opengps.eu/2008/ISO5436_2"><Record1>
<Revision>ISO5436 - 2000</Revision><FeatureType>SUR</FeatureType><Axes>
<CX><AxisType>I</AxisType><DataType>D</DataType><Increment>2e-06</Increment></CX>
<CY><AxisType>I</AxisType><DataType>D</DataType><Increment>3e-06</Increment></CY>
<CZ><AxisType>A</AxisType><DataType>{kind}</DataType>{z}</CZ></Axes></Record1><Record3>
<MatrixDimension><SizeX>{shape[1]}</SizeX><SizeY>{shape[0]}</SizeY><SizeZ>1</SizeZ></MatrixDimension>
<DataLink><PointDataLink>bindata/data.bin</PointDataLink>{more}</DataLink></Record3></q:ISO5436_2>"""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}main.xml", edit(xml))
        archive.writestr(f"{folder}bindata/data.bin", data)
        for name, content in (parts or {}).items():
            archive.writestr(name, content)
    return path


SIX = np.arange(6, dtype="<f8") * 1e-6


def test_numbers_in_floating_point_are_metres_as_they_stand(tmp_path: Path) -> None:
    made = read_height_map(x3p(tmp_path / "a.x3p", SIX.tobytes(), z="<Increment>1e-06</Increment>"))
    assert_allclose(made.z_um, [[0, 1, 2], [3, 4, 5]])
    assert made.pixels_um == pytest.approx((3.0, 2.0))


def test_whole_numbers_are_scaled_and_their_invalid_points_are_bits(tmp_path: Path) -> None:
    data = np.arange(6, dtype="<i2").tobytes()
    z = "<Increment>5e-07</Increment><Offset>1e-05</Offset>"
    link = "<ValidPointsLink>bindata/valid.bin</ValidPointsLink>"
    path = x3p(tmp_path / "a.x3p", data, kind="I", z=z, more=link, parts={"bindata/valid.bin": bytes([0b111101])})
    assert_allclose(read_height_map(path).z_um, [[10, NAN, 11], [11.5, 12, 12.5]])


def test_the_folder_in_the_zip_may_have_any_name(tmp_path: Path) -> None:
    path = x3p(tmp_path / "a.x3p", SIX.tobytes(), folder="sample/", parts={"__MACOSX/main.xml": b"rubbish"})
    assert_allclose(read_height_map(path).z_um, [[0, 1, 2], [3, 4, 5]])


def test_a_wrong_checksum_is_told(tmp_path: Path) -> None:
    right = hashlib.md5(SIX.tobytes(), usedforsecurity=False).hexdigest()
    for digest, notes in ((right.upper(), 0), ("0" * 32, 1)):
        more = f"<MD5ChecksumPointData>{digest}</MD5ChecksumPointData>"
        assert len(read_height_map(x3p(tmp_path / "a.x3p", SIX.tobytes(), more=more)).notes) == notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": SIX.tobytes()[:-3]}, "cut off or damaged"),
        ({"shape": (10**9, 10**9)}, "too large"),
        ({"shape": (10**5, 2)}, "holds 48 bytes, and its heights need 1600000"),
        ({"shape": (1, 6)}, "holds a profile, one line of 6 heights"),
        ({"edit": lambda xml: xml.replace("SUR", "PRF")}, "holds a profile"),
        ({"edit": lambda xml: xml.replace("SUR", "PCL")}, "cloud of points"),
        ({"edit": lambda xml: xml.replace("<AxisType>I", "<AxisType>A", 1)}, "uneven distances"),
        ({"edit": lambda xml: xml.replace("<SizeX>3", "<SizeX>-3")}, "places along an axis"),
        ({"edit": lambda xml: xml.replace("<SizeX>3", "<SizeX>nan")}, "places along an axis"),
        ({"edit": lambda xml: xml[:200]}, "damaged metadata"),
        ({"edit": lambda xml: f"<!DOCTYPE a [<!ENTITY b 'c'>]>{xml}"}, "entities"),
        ({"edit": lambda xml: xml.replace("bindata/data.bin", "../../etc/passwd")}, "lacks the part"),
        ({"edit": lambda xml: xml.replace("<PointDataLink>bindata/data.bin</PointDataLink>", "")}, "as text"),
        ({"kind": "Q"}, "unknown type 'Q'"),
    ],
)
def test_damaged_and_hostile_x3p_get_one_sentence(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = x3p(tmp_path / "a.x3p", **{"data": SIX.tobytes(), **change})
    with pytest.raises(StackError, match=words) as caught:
        read_height_map(path)
    assert str(caught.value).startswith("a.x3p ")
    assert "\n" not in str(caught.value)


def patched(path: Path, part: str, *, local: tuple[int, int], central: tuple[int, int]) -> None:
    """Set 16-bit fields (offset, value) in both of the headers that a zip has of a part."""
    content, name = bytearray(path.read_bytes()), part.encode()
    for at, (offset, value) in ((content.index(name) - 30, local), (content.rindex(name) - 46, central)):
        struct.pack_into("<H", content, at + offset, value)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("local", "central", "words"),
    [
        ((6, 0x01), (8, 0x01), r"^a\.x3p is locked with a password"),
        ((6, 0x41), (8, 0x41), r"^a\.x3p is locked with a password"),
        ((6, 0x40), (8, 0x40), r"^a\.x3p is packed in a way that cannot be read"),  # strong encryption alone
        ((8, 99), (10, 99), r"^a\.x3p is packed in a way that cannot be read"),  # an unknown compression
        ((4, 99), (6, 99), r"^a\.x3p is packed in a way that cannot be read"),  # a zip of the future
    ],
)
def test_x3p_that_is_locked_or_packed_anew_says_so(
    local: tuple[int, int], central: tuple[int, int], words: str, tmp_path: Path
) -> None:
    path = x3p(tmp_path / "a.x3p", SIX.tobytes())
    patched(path, "bindata/data.bin", local=local, central=central)
    with pytest.raises(StackError, match=words):
        read_height_map(path)


@pytest.mark.parametrize("name", ["x3p", "gwy"])
def test_no_byte_that_is_cut_or_changed_lets_a_strange_error_out(name: str, tmp_path: Path) -> None:
    whole = tmp_path / f"a.{name}"
    WRITERS[name](ramp(), whole)
    content, hurt = whole.read_bytes(), tmp_path / f"hurt.{name}"
    for cut in range(0, len(content), 7):
        hurt.write_bytes(content[:cut])
        with pytest.raises(StackError):
            read_height_map(hurt)
    rng = np.random.default_rng(1)
    for at in rng.integers(4, len(content), 300):
        hurt.write_bytes(content[:at] + bytes([content[at] ^ int(rng.integers(1, 256))]) + content[at + 1 :])
        try:
            assert read_height_map(hurt).z_um.size > 0
        except StackError:
            pass


# ---- GWY that others write


def item(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + value


def thing(name: str, *items: bytes) -> bytes:
    body = b"".join(items)
    return name.encode() + b"\0" + struct.pack("<I", len(body)) + body


def gwy_field(values: Any, unit: str, xy: str = "m", count: int | None = None) -> bytes:
    values = np.asarray(values, "<f8")
    rows, columns = values.shape
    return thing(
        "GwyDataField",
        item("data", "D", struct.pack("<I", values.size if count is None else count) + values.tobytes()),
        item("xres", "i", struct.pack("<i", columns)),
        item("yres", "i", struct.pack("<i", rows)),
        item("xreal", "d", struct.pack("<d", columns * 2e-6)),
        item("yreal", "d", struct.pack("<d", rows * 3e-6)),
        item("si_unit_xy", "o", thing("GwySIUnit", item("unitstr", "s", xy.encode() + b"\0"))),
        item("si_unit_z", "o", thing("GwySIUnit", item("unitstr", "s", unit.encode() + b"\0"))),
    )


def gwy(path: Path, *items: bytes) -> Path:
    path.write_bytes(b"GWYP" + thing("GwyContainer", *items))
    return path


def test_the_first_channel_with_heights_is_read(tmp_path: Path) -> None:
    path = gwy(
        tmp_path / "a.gwy",
        item("/0/data", "o", gwy_field(np.ones((2, 2)), "V")),
        item("/10/data", "o", gwy_field(np.full((2, 2), 9e-9), "m")),
        item("/2/data", "o", gwy_field([[1, 2], [3, 4]], "nm")),
        item("/2/data/title", "s", b"Topography\0"),
        item("/2/mask", "o", gwy_field([[0, 0], [1, 0]], "")),
        item("/meta", "S", struct.pack("<I", 2) + b"a\0b\0"),
        item("/fields", "O", struct.pack("<I", 1) + thing("GwyThing")),
        item("/some", "q", bytes(8)),
    )
    made = read_height_map(path)
    assert_allclose(made.z_um, [[0.001, 0.002], [NAN, 0.004]])
    assert made.pixels_um == pytest.approx((3.0, 2.0))
    assert (made.title, made.instrument) == ("Topography", "")
    assert ("title", "Topography") in described(made)[0]
    assert "3 channels" in made.notes[0]
    assert "masks" in made.notes[1]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "no data field"),
        ([item("/0/data", "o", gwy_field(np.ones((2, 2)), "V"))], "holds no heights"),
        ([item("/0/data", "o", gwy_field(np.ones((1, 4)), "m"))], "holds a profile"),
        ([item("/0/data", "o", gwy_field(np.ones((2, 2)), "m", count=1 << 31))], "longer than what is left"),
        ([item("/0/data", "Z", b"")], "unknown type"),
        ([b"no end"], "has no end"),
        (
            [
                item("/0/data", "o", gwy_field(np.ones((2, 2)), "m")),
                item("/0/mask", "o", gwy_field(np.ones((3, 2)), "m")),
            ],
            "another size",
        ),
    ],
)
def test_damaged_and_hostile_gwy_get_one_sentence(items: list[bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=words):
        read_height_map(gwy(tmp_path / "a.gwy", *items))


def test_lateral_units_that_are_no_length_leave_the_pixel_unknown(tmp_path: Path) -> None:
    made = read_height_map(gwy(tmp_path / "a.gwy", item("/0/data", "o", gwy_field(np.ones((2, 2)), "m", xy="s"))))
    assert made.pixels_um is None
    assert ("pixel", "not known: the file does not tell") in described(made)[0]


# ---- makers' formats, by a stand-in for the package


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a package in place that "reads" what the test puts into the dict."""
    told: dict[str, Any] = {"format": None}

    def open_topography(path: str, format: str) -> Any:  # noqa: A002
        told["format"] = format
        if "error" in told:
            raise told["error"]
        return types.SimpleNamespace(
            channels=told["channels"], topography=lambda channel_index, **more: told["surface"](**more)
        )

    parent, child = types.ModuleType("SurfaceTopography"), types.ModuleType("SurfaceTopography.IO")
    parent.__spec__ = importlib.machinery.ModuleSpec("SurfaceTopography", None)
    child.open_topography = open_topography  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "SurfaceTopography", parent)
    monkeypatch.setitem(sys.modules, "SurfaceTopography.IO", child)
    return told


def channel(shape: tuple[int, ...] = (3, 2), sizes: tuple[float, ...] | None = (6.0, 8.0), **changes: Any) -> Any:
    facts = {"name": "Height", "dim": len(shape), "nb_grid_pts": shape, "physical_sizes": sizes, "data_kind": "height"}
    return types.SimpleNamespace(**{**facts, **changes})


def surface(values: Any, unit: str | None = "nm", sizes: Any = (6.0, 8.0)) -> Callable[..., Any]:
    info = {"instrument": {"vendor": "Maker", "name": "Model"}}

    def make(**more: Any) -> Any:
        return types.SimpleNamespace(
            heights=lambda: values, unit=unit, physical_sizes=more.get("physical_sizes", sizes), info=info
        )

    return make


def big(path: Path) -> Path:
    path.write_bytes(bytes(4000))
    return path


def test_makers_formats_are_turned_to_rows_and_micrometres(package: dict[str, Any], tmp_path: Path) -> None:
    columns_first = np.ma.masked_equal(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, -9.0]]), -9.0)
    package |= {
        "channels": [channel((7,), (7.0,)), channel(data_kind="phase"), channel(), channel(name="Second")],
        "surface": surface(columns_first),
    }
    made = read_height_map(big(tmp_path / "a.SUR"))
    assert package["format"] == "sur"
    assert_allclose(made.z_um, np.array([[1, 3, 5], [2, 4, NAN]]) * 1e-3)
    assert made.pixels_um == pytest.approx((4e-3, 2e-3))
    assert (made.format, made.instrument) == ("Digital Surf SUR", "Maker, Model")
    assert made.notes == ("the file holds 2 height maps; the first is read, Height",)


def test_makers_formats_without_a_pixel_size_say_so(package: dict[str, Any], tmp_path: Path) -> None:
    package |= {"channels": [channel(sizes=None)], "surface": surface(np.ones((3, 2)))}
    assert read_height_map(big(tmp_path / "a.plu")).pixels_um is None


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"channels": [channel((9600,), (1.0,))]}, "holds a profile, one line of 9600 heights"),
        ({"channels": []}, "holds no heights"),
        ({"channels": [channel((10**6, 10**6))]}, "more than its 4000 bytes can hold"),
        ({"channels": [channel()], "surface": surface(np.ones((3, 2)), None)}, "unit of its heights is not told"),
        ({"channels": [channel()], "surface": surface(np.ones((3, 2)), "V")}, "'V', which is no length"),
        ({"error": ValueError("deep inside")}, "is no Sensofar PLU file that can be read, or is damaged"),
        ({"error": OSError("its own")}, "is no Sensofar PLU file that can be read, or is damaged"),
    ],
)
def test_what_the_package_cannot_give_is_one_sentence(
    package: dict[str, Any], told: dict[str, Any], words: str, tmp_path: Path
) -> None:
    package |= told
    with pytest.raises(StackError, match=words):
        read_height_map(big(tmp_path / "a.plu"))


def test_a_missing_package_names_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=f"SurfaceTopography.*{re.escape(install_line('surf-io'))}"):
        read_height_map(big(tmp_path / "a.al3d"))
    lines = "\n".join(reader_lines())
    assert "missing       height maps by SurfaceTopography: Alicona AL3D (.al3d)" in lines
    assert install_line("surf-io") in lines
    assert "ISO 25178-72 X3P (.x3p), Gwyddion GWY (.gwy)" in reader_list()
    path = tmp_path / "a.x3p"
    write_x3p(ramp(), path)
    assert read_height_map(path).shape == (4, 6)  # needs no extra


def test_a_package_that_is_not_whole_is_not_the_fault_of_the_file(package: dict[str, Any], tmp_path: Path) -> None:
    package |= {"error": ModuleNotFoundError("No module named 'xmltodict'")}
    words = r"installed, but cannot be used: No module named 'xmltodict'\. Type: .*toposcope\[surf-io\]"
    with pytest.raises(MissingPartError, match=words):
        read_height_map(big(tmp_path / "a.plu"))


# ---- telling them from others


def test_what_is_no_height_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.stp").write_bytes(b"ISO-10303-21;\nHEADER;")
    assert not is_height_map(tmp_path / "a.stp")
    assert not is_height_map(tmp_path / "none.x3p")
    assert not is_height_map(tmp_path / "a\0.x3p")
    (tmp_path / "folder.x3p").mkdir()
    assert not is_height_map(tmp_path / "folder.x3p")
    for name, words in (
        ("a.stp", "no height map of a format"),
        ("none.x3p", "does not exist"),
        ("folder.x3p", "no file"),
    ):
        with pytest.raises(StackError, match=words):
            read_height_map(tmp_path / name)
    (tmp_path / "a.x3p").write_bytes(b"PK\x03\x04 not a zip")
    assert is_height_map(tmp_path / "a.x3p")
    with pytest.raises(StackError, match="no whole zip"):
        read_height_map(tmp_path / "a.x3p")
    assert len(HEIGHT_MAP_SUFFIXES) == len({suffix.lower() for suffix in HEIGHT_MAP_SUFFIXES}) > 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.x3p")
    assert not is_height_map(tmp_path / "a.x3p")
    with pytest.raises(StackError, match="is no file"):
        read_height_map(tmp_path / "a.x3p")


def test_stacks_are_opened_without_waiting_for_what_only_places_need() -> None:
    code = "import sys, toposcope.core.source; print([name for name in sys.modules if name.startswith('scipy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_several_at_once_are_no_stack(tmp_path: Path) -> None:
    paths = [tmp_path / "a.x3p", tmp_path / "b.x3p"]
    for path in paths:
        write_x3p(ramp(), path)
    with pytest.raises(StackError, match="only one height map can be opened at a time"):
        open_stack(paths)


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.x3p"
    write_x3p(ramp(), path)

    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        read_height_map(path, stop)


# ---- what it is, and what it passes for


def test_facts_are_those_of_the_map() -> None:
    rows, facts = described(ramp())
    assert ("size", "6 × 4 pixels, 3 × 1 µm") in rows
    assert ("pixel", "0.5 µm wide, 0.25 µm high   (test)") in rows
    assert ("void", "8.3 % not measured") in rows
    assert any(name == "heights" and "a range of 34 µm" in text for name, text in rows)
    assert (facts["min_um"], facts["max_um"], facts["shape"]) == (1.0, 35.0, [4, 6])
    assert facts["void_share"] == pytest.approx(2 / 24)
    nothing, facts = described(ramp(z_um=np.full((2, 2), NAN)))
    assert ("heights", "none: nothing was measured") in nothing
    assert facts["min_um"] is None


def test_as_a_result_it_keeps_small_heights_on_a_great_offset() -> None:
    z = 76_000.0 + np.array([[0.0, 0.001, 0.002], [0.003, NAN, 0.005]])
    made = as_result(ramp(z_um=z, pixel_y_um=Sourced(0.5, "test")))
    assert_allclose(made.heights(), [[0, 0.001, 0.002], [0.003, NAN, 0.005]], atol=1e-9)
    assert made.valid.sum() == 5
    assert_array_equal(made.all_in_focus == 0, ~made.valid)
    assert made.pixel_pitch == 0.5
    with pytest.raises(StackError, match="nothing was measured"):
        as_result(ramp(z_um=np.full((2, 2), NAN)))


def test_pixels_become_square_and_heights_between_are_interpolated() -> None:
    square = squared(field((40, 60), (1.0, 0.5)))
    assert (square.shape, square.pixels_um) == ((80, 60), (0.5, 0.5))
    y, x = (np.arange(80)[:, None] + 0.5) * 0.5, (np.arange(60)[None, :] + 0.5) * 0.5
    assert_allclose(square.z_um[2:-2], hills(y, x)[2:-2], atol=0.01)
    assert "interpolated to 0.5 µm" in square.notes[0]
    assert squared(square) is square


@pytest.mark.parametrize("name", HEIGHT_MAP_FORMATS)
def test_it_is_written_in_every_format_that_shows_heights(name: str, tmp_path: Path) -> None:
    path = tmp_path / "measured.x3p"
    write_x3p(ramp(), path)
    written = export(read_height_map(path), name, tmp_path)
    assert all(one.stat().st_size > 0 for one in written)
    assert written[0].stem.startswith("measured")
    assert_allclose(read_height_map(path).z_um, ramp().z_um)  # the original is untouched
    if name == "x3p":
        assert written[0].name == "measured-converted.x3p"


def test_formats_that_share_a_suffix_do_not_overwrite_each_other(tmp_path: Path) -> None:
    path = tmp_path / "measured.gwy"
    write_gwy(ramp(), path)
    read = read_height_map(path)
    written = [one for name in HEIGHT_MAP_FORMATS for one in export(read, name, tmp_path)]
    assert len(written) == len(set(written)) == len(HEIGHT_MAP_FORMATS) + 1  # depth16 has a file beside it
    assert {"measured.ply", "measured-points.ply"} <= {one.name for one in written}


def test_formats_that_show_no_heights_are_refused(tmp_path: Path) -> None:
    for name in ("picture_png", "curves", "nonsense"):
        with pytest.raises(SettingsError, match=f"cannot be written as '{name}'"):
            export(ramp(), name, tmp_path)


# ---- places and levels, by formula


def test_the_same_grid_is_taken_as_it_is_holes_and_all() -> None:
    measured = field((30, 40), (0.5, 0.5))
    measured.z_um[4:7, 9] = NAN
    placed = lay_over(measured, measured.z_um, 0.5)
    assert_array_equal(placed.z_um, measured.z_um)
    assert (placed.corner, placed.found, placed.text) == (
        (0.0, 0.0),
        False,
        "laid over the same field (correlation 1.00)",
    )


def test_another_pixel_of_the_same_field_gives_the_same_heights() -> None:
    fine, reference = field((240, 320), (0.25, 0.25)), field((60, 80), (1.0, 1.0))
    placed = lay_over(fine, reference.z_um, 1.0)
    assert_allclose(placed.z_um, reference.z_um, atol=0.03)  # means over a pixel against its middle
    coarse = field((30, 40), (2.0, 2.0))
    assert_allclose(lay_over(coarse, reference.z_um, 1.0).z_um[2:-2, 2:-2], reference.z_um[2:-2, 2:-2], atol=0.12)


@pytest.mark.parametrize(
    ("shape", "pixel", "corner"),
    [
        ((70, 90), (0.7, 0.7), (12.3, 21.7)),
        ((150, 100), (0.3, 0.4), (30.1, 55.5)),
        ((120, 160), (1.0, 1.0), (-14.6, -9.2)),
    ],
)
def test_the_place_of_another_field_is_found(
    shape: tuple[int, int], pixel: tuple[float, float], corner: tuple[float, float]
) -> None:
    reference = field((100, 130), (0.9, 0.9))
    reference.z_um[20:30, 40:50] = NAN
    part = field(shape, pixel, corner)
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    tilted = replace(part, z_um=part.z_um + 500.0 + 0.02 * y - 0.01 * x)
    placed = lay_over(tilted, reference.z_um, 0.9)
    assert placed.found
    assert_allclose(np.array(placed.corner) * 0.9, corner, atol=0.05)
    found = compare_heights(reference, tilted)
    assert found.deviation < 0.03
    assert abs(found.mean) < 1e-6
    assert "offset and tilt removed" in found.note


def test_a_place_that_is_said_is_taken() -> None:
    reference, part = field((60, 80), (1.0, 1.0)), field((20, 30), (1.0, 1.0), (10.0, 25.0))
    placed = lay_over(part, reference.z_um, 1.0, (10, 25))
    assert_allclose(placed.z_um[10:30, 25:55], part.z_um, atol=1e-12)
    assert np.isfinite(placed.z_um).sum() == 600
    with pytest.raises(StackError, match="no height of formula lies on the other surface there"):
        lay_over(part, reference.z_um, 1.0, (500, 0))


def test_surfaces_that_are_not_alike_are_refused_with_both_fields() -> None:
    rng = np.random.default_rng(5)
    other = HeightMap(rng.normal(size=(50, 50)), Sourced(1.0, "test"), Sourced(1.0, "test"), "noise")
    with pytest.raises(StackError, match="noise shows 50 × 50 µm, the other surface 80 × 60 µm, and no place is found"):
        lay_over(other, field((60, 80), (1.0, 1.0)).z_um, 1.0)


@pytest.mark.parametrize(
    ("mirror", "words"), [("rows", "top to bottom"), ("columns", "left to right"), ("both", "180°")]
)
def test_maps_that_are_mirrored_are_told_and_turned(mirror: Any, words: str) -> None:
    reference = field((60, 80), (1.0, 1.0))
    turned = mirrored(reference, mirror)
    found = compare_heights(reference, turned)
    assert "beware" in found.note
    assert words in found.note
    assert "--" not in found.note
    assert found.better == found.facts()["agrees_better_mirrored"] == mirror
    again = compare_heights(reference, turned, mirror=mirror)
    assert again.deviation < 1e-6
    assert "beware" not in again.note
    assert again.better == "none"
    part = mirrored(field((36, 48), (1.0, 1.0), (12.0, 20.0)), mirror)
    assert compare_heights(reference, part, mirror=mirror).deviation < 0.01


def test_a_mirrored_map_that_is_found_nowhere_is_told_how_it_would_be() -> None:
    rng = np.random.default_rng(8)
    rough = cv2.GaussianBlur(rng.normal(size=(120, 150)), (0, 0), 2.0)
    reference = HeightMap(rough, Sourced(1.0, "test"), Sourced(1.0, "test"), "rough")
    part = mirrored(replace(reference, z_um=rough[30:90, 50:120]), "columns")
    with pytest.raises(StackError, match=r"is found when it is mirrored left to right: turn it so\.$") as caught:
        lay_over(part, rough, 1.0)
    assert caught.value.option == "--mirror columns"
    placed = lay_over(mirrored(part, "columns"), rough, 1.0)
    assert placed.corner == pytest.approx((30, 50), abs=0.01)
    assert "smaller" not in placed.text
    beyond = lay_over(replace(reference, z_um=rough[:, :100]), rough[:, 30:], 1.0)
    assert beyond.corner == pytest.approx((0, -30), abs=0.01)
    assert beyond.text.endswith("70 % of the smaller one lies on the other")


def test_a_surface_that_repeats_itself_is_told() -> None:
    # grooves 40 apart and slow bumps along them, twice the same in the field
    x, y = np.arange(160.0)[None, :], np.arange(90.0)[:, None]
    grooves = np.sin(2 * np.pi * x / 40) * (2 + np.cos(2 * np.pi * y / 45 + 0.4 * np.sin(2 * np.pi * x / 40)))
    placed = lay_over(HeightMap(grooves[10:50, 30:80], Sourced(1.0, "t"), Sourced(1.0, "t"), "part"), grooves, 1.0)
    assert "beware: the surface repeats itself, row" in placed.text
    assert (placed.corner[1] - 30) % 40 == pytest.approx(0, abs=0.05) or (placed.corner[1] - 30) % 40 > 39.95


def test_flat_surfaces_have_no_correlation_to_tell() -> None:
    flat = ramp(z_um=np.zeros((9, 9)), pixel_y_um=Sourced(0.5, "test"))
    assert lay_over(flat, np.ones((9, 9)), 0.5).text == "laid over the same field"


@pytest.mark.parametrize("seed", range(6))
def test_a_few_places_are_never_alike_by_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = HeightMap(rng.normal(size=(30, 30)), Sourced(9.0, "test"), Sourced(9.0, "test"), "noise")
    with pytest.raises(StackError, match="no place is found"):
        lay_over(other, field((48, 64), (0.5, 0.5)).z_um, 0.5)


def test_without_a_pixel_size_only_equal_sizes_are_compared() -> None:
    bare = ramp(pixel_x_um=None, pixel_y_um=None)
    assert_array_equal(lay_over(bare, ramp().z_um, 0.5).z_um, bare.z_um)
    with pytest.raises(CalibrationError, match="formula tells no pixel size, and formula has 6 × 4 pixels where"):
        lay_over(bare, np.ones((9, 9)), 0.5)
    with pytest.raises(CalibrationError, match="the other surface tells no pixel size"):
        lay_over(ramp(), np.ones((9, 9)), None)


def test_levels_are_removed_by_least_squares() -> None:
    rows, columns = np.arange(12.0)[:, None], np.arange(9.0)[None, :]
    bent = rows**2 + 0 * columns
    tilted = bent - 7.0 + 2.0 * rows - 3.0 * columns
    tilted[3, 3] = NAN
    levelled, text = level_to(bent, tilted, "plane")
    known = np.isfinite(tilted)
    assert_allclose(levelled[known], bent[known], atol=1e-9)
    assert np.isnan(levelled[3, 3])
    assert "tilt" in text
    moved, _ = level_to(bent, bent + 4.0, "offset")
    assert_allclose(moved, bent, atol=1e-12)
    same, text = level_to(bent, tilted, "none")
    assert same is tilted
    assert text == ""


@pytest.mark.parametrize(("text", "place"), [("auto", "auto"), ("same", "same"), ("3,-4.5", (3.0, -4.5))])
def test_places_are_read(text: str, place: object) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "here", "1", "1,2,3", "nan,1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no place"):
        parse_place(text)


# ---- differences


def test_a_result_less_its_own_export_is_nothing(tmp_path: Path) -> None:
    result = make_result(make_stack())
    (path,) = export(result, "gwy", tmp_path)
    for one, other in ((result, read_height_map(path)), (read_height_map(path), result)):
        found = compare_heights(one, other, "none")
        assert np.abs(found.values[result.valid]).max() < 1e-5
        assert_array_equal(np.isnan(found.values), ~result.valid)
        assert (found.unit, found.step, found.known) == ("um", 2.5, pytest.approx(47 / 48))
        assert "beyond one slice step (2.5 µm)" in found.text


def test_the_sign_is_that_of_a_less_b_whichever_stays() -> None:
    result = make_result(make_stack())
    higher = replace(from_result(result), z_um=from_result(result).z_um + 4.0)
    assert compare_heights(result, higher, "none").mean == pytest.approx(-4.0, abs=1e-5)
    assert compare_heights(higher, result, "none").mean == pytest.approx(4.0, abs=1e-5)
    assert compare_heights(higher, result, "offset").mean == pytest.approx(0.0, abs=1e-5)


def test_two_height_maps_have_no_slices_to_count_in(tmp_path: Path) -> None:
    one = field((40, 50), (1.0, 1.0))
    found = compare_heights(one, replace(one, z_um=one.z_um - 0.25), "none")
    assert "slice" not in found.text
    assert "mean 0.25" in found.text
    assert math.isnan(found.step)
    assert found.facts()["step"] is None
    files = write_difference(found, tmp_path / "out", ("a", "b"))
    assert all(path.stat().st_size for path in files.values())


def test_results_counted_in_slices_cannot_be_compared_with_heights() -> None:
    result = make_result(make_stack())
    with pytest.raises(CalibrationError, match="Give the step in the calibration") as caught:
        compare_heights(replace(result, unit="index"), ramp())
    assert "--z-step" in caught.value.option


# ---- real files


@pytest.mark.skipif(not DATA.is_dir(), reason="the collection of instruments' files is not beside the project")
@pytest.mark.parametrize(
    ("name", "shape", "pixels", "span", "voids"),
    [
        ("surftopo_x3p-2.x3p", (650, 650), (0.314582, 0.127657), (-0.314421, 0.239916), 0),
        ("x3ptools_csafe-logo.x3p", (419, 741), (0.645, 0.645), (0.207843, 0.827451), 0),
        ("x3ptools_sample-land.x3p", (256, 918), (2.58, 2.58), (-79.47348, 52.49858), 25292),
        ("surftopo_al3d-1.al3d", (296, 200), (0.438027, 0.438027), (76323.2037, 76358.1544), 0),
        ("surftopo_stp-1.stp", (256, 256), (2.34375e-3, 2.34375e-3), (-0.862931e-3, 12.837876e-3), 0),
    ],
)
def test_real_height_maps(
    name: str, shape: tuple[int, int], pixels: tuple[float, float], span: tuple[float, float], voids: int
) -> None:
    if not name.endswith(".x3p"):
        pytest.importorskip("SurfaceTopography", reason="SurfaceTopography is not installed")
    made = read_height_map(DATA / name)
    assert made.shape == shape
    assert made.pixels_um == pytest.approx(pixels, rel=1e-5)
    assert made.range_um == pytest.approx(span, rel=1e-5)
    assert np.isnan(made.z_um).sum() == voids
    with pytest.raises(StackError, match="is a height map"):
        open_stack(DATA / name)


@pytest.mark.skipif(not DATA.is_dir(), reason="the collection of instruments' files is not beside the project")
@pytest.mark.parametrize(("name", "count"), [("surftopo_hfm-1.hfm", 9600), ("surftopo_opdx-3.opdx", 3001)])
def test_real_profiles_are_refused(name: str, count: int) -> None:
    pytest.importorskip("SurfaceTopography", reason="SurfaceTopography is not installed")
    with pytest.raises(StackError, match=f"holds a profile, one line of {count} heights"):
        read_height_map(DATA / name)
