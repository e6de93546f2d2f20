"""Results as files, read back by other readers than our own."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageCms

from toposcope.core.align import Alignment, Motion
from toposcope.core.calibration import Objective, Sourced
from toposcope.core.curve import FocusCurve, Peak, Verdict
from toposcope.core.export import (
    FORMATS,
    ExportOptions,
    curves_csv,
    export,
    file_names,
    pins_csv,
    read_result,
    stack_of,
    together,
    whole_file,
    write_depth_png16,
    write_depth_tiff,
    write_glb,
    write_image,
    write_ply,
    write_result,
    write_stl,
)
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.result import DepthResult, Provenance
from toposcope.core.stack import FrameTags
from toposcope.core.sweep import SweepNote, SweepReport
from toposcope.errors import OutputError, SettingsError, StackError

SETTINGS = {"window": 9, "folder": Path("x"), "gain": float("nan")}


def result(depth: NDArray[np.float32] | None = None, dtype: Any = np.uint8, **changes: Any) -> DepthResult:
    """Return a small result: a slope from 10 to 20 um with a void corner, pixels of 0.5 um."""
    if depth is None:
        depth = np.linspace(10, 20, 12 * 9, dtype=np.float32).reshape(9, 12)
        depth[:2, :3] = np.nan
    rng = np.random.default_rng(0)
    picture = rng.random((*depth.shape, 3))
    picture = picture.astype(np.float32) if dtype == np.float32 else (picture * np.iinfo(dtype).max).astype(dtype)
    made = DepthResult(
        depth=depth,
        confidence=rng.random(depth.shape, dtype=np.float32),
        valid=np.isfinite(depth),
        all_in_focus=picture,
        tags=FrameTags(),
        positions=Sourced(np.arange(10.0, 21.0, 2.5), "stack.json"),
        unit="um",
        kind=Sourced("microscope", "stack.json"),
        near=Sourced("high", "kind of the stack"),
        pixel_um=Sourced(0.5, "stack.json"),
        alignment=Alignment((Motion(np.eye(2, 3)),) * 5, 2, False, "steady"),
        volume=None,
        sweep=SweepReport(
            (SweepNote("cut_high", "1 % of the peaks lie at the last slice.", 0.01),), np.zeros((9, 12), "u1")
        ),
        provenance=Provenance(
            "0.1.0",
            "default",
            {"window": 9, "folder": Path("x"), "gain": float("nan")},
            "scan",
            ("a.png",),
            1.5,
            {"a.png": "ab"},
        ),
    )
    return replace(made, **changes)


def curve(row: int, measure: bool = True) -> FocusCurve:
    return FocusCurve(
        row,
        7,
        np.array([0.0, 2.5, 5.0]),
        np.array([0.2, 0.5, 0.3], np.float32),
        np.array([1.0, 4.0, 2.0], np.float32) if measure else None,
        (Peak(2.6, 1.0, 1),),
        2.625,
        float("nan"),
        2.5,
        np.zeros((2, 2)),
        Verdict("clear", 'one clear peak at "2.6 µm", surely'),
        "µm",
    )


def test_depth_tiff_is_read_back_bit_by_bit(tmp_path: Path) -> None:
    made = result()
    write_depth_tiff(made, tmp_path / "depth.tif")
    values = tifffile.imread(tmp_path / "depth.tif")
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, made.depth)
    with Image.open(tmp_path / "depth.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), made.depth)


def test_depth_tiff_carries_what_imagej_reads(tmp_path: Path) -> None:
    write_depth_tiff(result(), tmp_path / "depth.tif")
    with tifffile.TiffFile(tmp_path / "depth.tif") as file:
        facts = file.imagej_metadata
        assert facts is not None
        assert facts["unit"] == "um"
        assert (facts["cf"], facts["c0"], facts["c1"], facts["vunit"]) == (0, 0, 1, "um")
        assert facts["min"] == pytest.approx(float(np.nanmin(result().depth)))
        x, y = (file.pages.first.tags[name].value for name in ("XResolution", "YResolution"))
    assert x[1] / x[0] == pytest.approx(0.5)
    assert y[1] / y[0] == pytest.approx(0.5)


def test_depth_without_a_pixel_size_claims_none(tmp_path: Path) -> None:
    write_depth_tiff(result(pixel_um=None, unit="index"), tmp_path / "depth.tif")
    with tifffile.TiffFile(tmp_path / "depth.tif") as file:
        facts = file.imagej_metadata
        assert facts is not None
        assert "unit" not in facts
        assert "vunit" not in facts


@settings(max_examples=30)
@given(arrays(np.float32, (5, 4), elements=st.floats(-1e4, 1e6, width=32) | st.just(float("nan"))))
def test_16_bit_depth_is_right_to_half_a_step(tmp_path_factory: Any, depth: NDArray[np.float32]) -> None:
    path = tmp_path_factory.mktemp("png") / "depth16.png"
    beside = write_depth_png16(result(depth), path)
    with Image.open(path) as image:
        values, texts = np.asarray(image).astype(np.float64), dict(image.info)
    facts = json.loads(beside.read_text())
    np.testing.assert_array_equal(values == 0, np.isnan(depth))
    known = values > 0
    read = facts["offset"] + facts["scale"] * values[known]
    np.testing.assert_allclose(read, depth[known], atol=0.51 * facts["scale"] + 1e-9)
    assert float(texts["Scale"]) == facts["scale"]
    assert float(texts["Offset"]) == facts["offset"]
    assert texts["Unit"] == "um"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_keep_bit_depth_and_colours(tmp_path: Path, dtype: Any, suffix: str, channels: int) -> None:
    picture = result(dtype=dtype).all_in_focus
    picture = picture[..., 0] if channels == 1 else picture
    path = tmp_path / f"picture{suffix}"
    write_image(picture, path, pixel_um=0.5)
    np.testing.assert_array_equal(independent_reading(path), picture)


def independent_reading(path: Path) -> NDArray[Any]:
    if path.suffix == ".tif":
        return tifffile.imread(path)
    import cv2

    plane = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert plane is not None
    return plane[..., ::-1] if plane.ndim == 3 else plane


def test_float_pictures_stay_float_in_tiff_and_become_16_bit_in_png(tmp_path: Path) -> None:
    picture = result(dtype=np.float32).all_in_focus
    for suffix in (".tif", ".png"):
        write_image(picture, tmp_path / f"p{suffix}")
    np.testing.assert_array_equal(independent_reading(tmp_path / "p.tif"), picture)
    values = independent_reading(tmp_path / "p.png")
    assert values.dtype == np.uint16
    np.testing.assert_allclose(values / 65535, picture, atol=0.51 / 65535)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("headed", [True, False])
def test_pictures_inherit_exif_and_colour_profile(tmp_path: Path, suffix: str, headed: bool) -> None:
    exif = Image.Exif()
    exif[271], exif[272] = "Lens & Co", "M 42"
    block = exif.tobytes()
    assert block.startswith(b"Exif\x00\x00")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / f"picture{suffix}"
    write_image(result().all_in_focus, path, FrameTags(block if headed else block[6:], icc))
    with Image.open(path) as image:
        image.load()
        assert image.info["icc_profile"] == icc
        assert image.getexif()[271] == "Lens & Co"
        assert image.getexif()[272] == "M 42"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"II", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\0" + bytes(70_000)]
)
def test_odd_exif_does_not_stop_a_picture(tmp_path: Path, suffix: str, exif: bytes) -> None:
    picture = np.full((16, 16, 3), 100, np.uint8)
    write_image(picture, tmp_path / f"p{suffix}", FrameTags(exif))
    np.testing.assert_allclose(independent_reading(tmp_path / f"p{suffix}"), picture, atol=1)


def test_jpeg_of_16_bit_is_8_bit(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), 257 * 100, np.uint16)
    write_image(flat, tmp_path / "p.jpg")
    with Image.open(tmp_path / "p.jpg") as image:
        np.testing.assert_allclose(np.asarray(image), 100, atol=1)


def test_png_states_the_pixel_size(tmp_path: Path) -> None:
    write_image(result().all_in_focus, tmp_path / "p.png", pixel_um=25.4)
    with Image.open(tmp_path / "p.png") as image:
        assert image.info["dpi"] == pytest.approx((1000, 1000), rel=1e-4)


def test_unknown_picture_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"p\.xyz .*\.tif, \.png or \.jpg"):
        write_image(result().all_in_focus, tmp_path / "p.xyz")


def read_ply(path: Path) -> tuple[NDArray[Any], NDArray[np.int32], list[str]]:
    content = path.read_bytes()
    head, body = content.split(b"end_header\n", 1)
    lines = head.decode("ascii").splitlines()
    counts = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("element")}
    vertex = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "u1", 3)])
    vertices = np.frombuffer(body, vertex, counts["vertex"])
    face = np.dtype([("n", "u1"), ("corners", "<i4", 3)])
    faces = np.frombuffer(body, face, counts.get("face", 0), offset=vertices.nbytes)
    assert len(body) == vertices.nbytes + faces.nbytes
    assert (faces["n"] == 3).all()
    return vertices, faces["corners"], lines


def read_stl(path: Path) -> NDArray[Any]:
    content = path.read_bytes()
    (count,) = struct.unpack_from("<I", content, 80)
    assert len(content) == 84 + 50 * count
    return np.frombuffer(content, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("a", "<u2")]), count, 84)


def test_mesh_lies_where_the_depth_says(tmp_path: Path) -> None:
    made = result()
    write_ply(made, tmp_path / "s.ply")
    vertices, faces, lines = read_ply(tmp_path / "s.ply")
    assert "comment unit um" in lines
    rows, columns = np.nonzero(made.valid)
    np.testing.assert_allclose(vertices["x"], columns * 0.5)
    np.testing.assert_allclose(vertices["y"], (8 - rows) * 0.5)
    np.testing.assert_allclose(vertices["z"], made.depth[made.valid] - 10, rtol=1e-6)  # the sweep begins at 10 um
    np.testing.assert_array_equal(vertices["rgb"], made.all_in_focus[made.valid])
    assert faces.min() == 0
    assert faces.max() == len(vertices) - 1


def test_voids_are_holes_and_all_else_is_closed(tmp_path: Path) -> None:
    write_ply(result(), tmp_path / "s.ply")
    _, faces, _ = read_ply(tmp_path / "s.ply")
    # 8 x 11 squares of two triangles; the void of 2 x 3 touches 2 x 3 squares, whose corner square keeps one triangle
    assert len(faces) == 2 * 8 * 11 - 2 * 2 * 3 + 1


@pytest.mark.parametrize("name", ["ply", "stl"])
def test_triangles_face_the_lens(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"s.{name}"
    export(result(), name, path)
    if name == "stl":
        facets = read_stl(path)
        corners = facets["corners"]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        np.testing.assert_allclose(facets["normal"], normal / np.linalg.norm(normal, axis=1)[:, None], atol=1e-5)
    else:
        vertices, faces, _ = read_ply(path)
        places = np.stack([vertices[axis] for axis in "xyz"], axis=1)[faces]
        normal = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    assert (normal[:, 2] > 0).all()


def test_camera_distances_turn_into_heights_towards_the_lens(tmp_path: Path) -> None:
    far = result(kind=Sourced("camera", "x"), near=Sourced("low", "x"))
    write_ply(far, tmp_path / "s.ply")
    vertices, _, _ = read_ply(tmp_path / "s.ply")
    np.testing.assert_allclose(vertices["z"], 20 - far.depth[far.valid], atol=1e-5)


def test_steep_steps_can_be_cut_open(tmp_path: Path) -> None:
    depth = np.full((6, 6), 10, np.float32)
    depth[:, 3:] = 18  # 3.2 slices of 2.5 um
    for cut, triangles in ((0.0, 50), (4.0, 50), (3.0, 40)):
        write_ply(result(depth), tmp_path / "s.ply", cut_steps=cut)
        assert len(read_ply(tmp_path / "s.ply")[1]) == triangles


def test_without_a_pixel_size_heights_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    write_ply(result(pixel_um=None), tmp_path / "s.ply")
    vertices, _, lines = read_ply(tmp_path / "s.ply")
    assert np.ptp(vertices["z"]) == pytest.approx(12 / 4, rel=1e-5)
    assert any("no pixel size known" in line for line in lines)


def test_large_maps_are_thinned_and_keep_their_size(tmp_path: Path) -> None:
    depth = np.tile(np.linspace(10, 20, 200, dtype=np.float32), (160, 1))
    write_ply(result(depth), tmp_path / "s.ply", max_points=2500)
    vertices, _, _ = read_ply(tmp_path / "s.ply")
    assert 1200 < len(vertices) <= 2500
    assert np.ptp(vertices["x"]) == pytest.approx(0.5 * 199, rel=0.03)
    assert np.isin(vertices["z"], depth - np.float32(10)).all()  # every height is one that was measured


def test_points_need_no_triangles(tmp_path: Path) -> None:
    export(result(), "points", tmp_path / "p.ply")
    vertices, faces, lines = read_ply(tmp_path / "p.ply")
    assert len(vertices) == 9 * 12 - 6
    assert len(faces) == 0
    assert not any("face" in line for line in lines)


def read_glb(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the mesh as trimesh reads it, and what the node tells."""
    scene = trimesh.load(path)
    (mesh,) = scene.geometry.values()
    (extras,) = (edge[2]["metadata"] for edge in scene.graph.to_edgelist() if edge[2].get("geometry"))
    return mesh, extras


def test_glb_lies_flat_with_its_heights_upward_and_tells_its_scale(tmp_path: Path) -> None:
    made = result()
    write_glb(made, tmp_path / "s.glb")
    mesh, extras = read_glb(tmp_path / "s.glb")
    assert (extras["scale"], extras["enlarged"], extras["pixel_um"]) == ("metres", 1e5, 0.5)  # 6 um become 0.6 m
    um = mesh.vertices / 1e5 * 1e6
    rows, columns = np.nonzero(made.valid)
    np.testing.assert_allclose(um[:, 0], (columns - 5.5) * 0.5, atol=1e-4)
    np.testing.assert_allclose(um[:, 2], (rows - 4) * 0.5, atol=1e-4)
    np.testing.assert_allclose(um[:, 1], made.depth[made.valid] - np.nanmin(made.depth), atol=1e-4)
    assert len(mesh.faces) == 2 * 8 * 11 - 2 * 2 * 3 + 1
    assert (mesh.face_normals[:, 1] > 0).all()
    # the slope rises by a 107th of 10 um with each column, and by 12 times that with each row
    normal = np.array([-10 / 107, 0.5, -120 / 107])
    np.testing.assert_allclose(mesh.vertex_normals, np.tile(normal / np.linalg.norm(normal), (102, 1)), atol=1e-5)


def test_glb_shows_each_pixel_in_the_picture_s_colour(tmp_path: Path) -> None:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.linspace(0, 255, 128), np.linspace(0, 255, 96)[:, None]
    depth = np.full((96, 128), 15, np.float32)
    write_glb(result(depth, all_in_focus=picture), tmp_path / "s.glb", max_points=1000)
    mesh, _ = read_glb(tmp_path / "s.glb")
    assert mesh.visual.material.baseColorTexture.size == (128, 96), "the picture is not thinned"
    assert len(mesh.vertices) <= 1000
    # x in um and z, from the middle of the first pixel, name the pixel
    column, row = (mesh.vertices[:, 0] - mesh.vertices[:, 0].min()), mesh.vertices[:, 2] - mesh.vertices[:, 2].min()
    at = np.rint(np.column_stack([row, column]) / 0.5e-6 / 1e4).astype(int)
    colours = mesh.visual.to_color().vertex_colors[:, :2].astype(int)
    np.testing.assert_allclose(colours, picture[at[:, 0], at[:, 1], :2], atol=4)  # JPEG


@pytest.mark.parametrize(
    ("pixel_um", "true_size", "width"), [(0.5, True, 5.5e-6), (None, False, 0.11), (80, False, 0.88)]
)
def test_size_of_a_glb(tmp_path: Path, pixel_um: float | None, true_size: bool, width: float) -> None:
    made = result(pixel_um=Sourced(pixel_um, "x") if pixel_um else None)
    export(made, "glb", tmp_path, ExportOptions(true_size=true_size))
    mesh, extras = read_glb(tmp_path / "surface.glb")
    assert np.ptp(mesh.vertices[:, 0]) == pytest.approx(width, rel=1e-5)
    assert ("no pixel size known" in extras["scale"]) == (pixel_um is None)


def test_scattered_pixels_are_no_mesh(tmp_path: Path) -> None:
    depth = np.full((9, 12), np.nan, np.float32)
    depth[::2, ::2] = 15
    with pytest.raises(OutputError, match="Export points instead"):
        write_glb(result(depth), tmp_path / "s.glb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_ply, write_stl, write_glb])
def test_nothing_known_is_no_surface(tmp_path: Path, write: Callable[..., None]) -> None:
    with pytest.raises(OutputError, match="no pixel has a known depth"):
        write(result(np.full((9, 12), np.nan, np.float32)), tmp_path / "s.out")
    assert not list(tmp_path.iterdir())


def test_curves_are_read_by_a_csv_reader(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(curves_csv([curve(3), curve(5, measure=False)]))))
    assert len(lines) == 6
    assert lines[1] == {
        "pin": "1",
        "row": "3",
        "column": "7",
        "slice": "2",
        "position": "2.5",
        "unit": "µm",
        "probability": "0.5",
        "measure": "4",
    }
    assert lines[4]["measure"] == ""
    (pin,) = csv.DictReader(io.StringIO(pins_csv([curve(3)])))
    assert pin["verdict"] == 'one clear peak at "2.6 µm", surely'
    assert (pin["depth"], pin["width"]) == ("2.5", "")


def test_result_is_read_back(tmp_path: Path) -> None:
    made = result()
    files = write_result(made, tmp_path / "Höhe 高さ" / "out")
    assert set(files) == {"depth", "confidence", "all_in_focus", "result"}
    for where in (files["result"], files["result"].parent):
        read = read_result(where)
        np.testing.assert_array_equal(read.depth, made.depth)
        np.testing.assert_array_equal(read.confidence, made.confidence)
        np.testing.assert_array_equal(read.valid, made.valid)
        np.testing.assert_array_equal(read.all_in_focus, made.all_in_focus)
        np.testing.assert_array_equal(read.positions.value, made.positions.value)
        np.testing.assert_array_equal(read.heights(), made.heights())
        assert (read.unit, read.kind, read.near, read.pixel_um) == (made.unit, made.kind, made.near, made.pixel_um)
        assert read.sweep.notes == made.sweep.notes
        assert read.provenance.inputs == made.provenance.inputs
        assert read.provenance.settings == {"window": 9, "folder": "x", "gain": None}
        assert (read.objective, read.provenance.parts) == (None, {})


def test_the_stack_of_a_result_is_found_where_it_was_or_beside_it(tmp_path: Path) -> None:
    made = result()
    (tmp_path / "now" / "scan").mkdir(parents=True)
    moved = replace(made, provenance=replace(made.provenance, source=str(tmp_path / "then" / "scan")))
    assert stack_of(moved, tmp_path / "now" / "scan-depth") is None  # a folder without its frames
    (tmp_path / "now" / "scan" / made.provenance.frames[0]).touch()
    assert stack_of(moved, tmp_path / "now" / "scan-depth") == tmp_path / "now" / "scan"
    assert stack_of(moved, tmp_path / "elsewhere" / "scan-depth") is None
    (tmp_path / "then").mkdir()
    (tmp_path / "then" / "scan").touch()  # a file of many slices
    assert stack_of(moved, tmp_path / "now" / "scan-depth") == tmp_path / "then" / "scan"


def test_objective_and_part_of_the_file_are_read_back(tmp_path: Path) -> None:
    plain = result()
    lens = Sourced(Objective("Plan", 20.0, 0.5, 1.0), "OME Objective")
    made = replace(plain, objective=lens, provenance=replace(plain.provenance, parts={"channel": "DAPI"}))
    write_result(made, tmp_path)
    read = read_result(tmp_path)
    assert (read.objective, read.provenance.parts) == (lens, {"channel": "DAPI"})


@pytest.mark.parametrize(
    ("dtype", "frame", "image", "name"),
    [
        (np.uint8, "a.JPG", None, "all_in_focus.jpg"),
        (np.uint8, "a.png", None, "all_in_focus.png"),
        (np.uint8, "page 1", None, "all_in_focus.tif"),
        (np.uint16, "a.png", None, "all_in_focus.tif"),
        (np.uint16, "a.png", "png", "all_in_focus.png"),
    ],
)
def test_picture_takes_the_format_of_the_frames(tmp_path: Path, dtype: Any, frame: str, image: Any, name: str) -> None:
    made = result(dtype=dtype)
    made = replace(made, provenance=replace(made.provenance, frames=(frame,)))
    assert write_result(made, tmp_path, image)["all_in_focus"].name == name
    assert read_result(tmp_path).all_in_focus.dtype == dtype


def test_everything_in_result_json_is_json(tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    write_result(result(np.full((9, 12), np.nan, np.float32)), tmp_path)
    facts = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert facts["depth"]["min"] is None
    assert facts["alignment"]["motions"][0]["matrix"] == [[1, 0, 0], [0, 1, 0]]


def damage_json(folder: Path) -> None:
    (folder / "result.json").write_text("{")


def damage_layout(folder: Path) -> None:
    facts = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(facts | {"layout": 99}))


def damage_unit(folder: Path) -> None:
    facts = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(facts | {"unit": "furlong"}))


def damage_list(folder: Path) -> None:
    (folder / "result.json").write_text("[1]")


def damage_depth(folder: Path) -> None:
    (folder / "depth.tif").write_bytes(b"II*\0")


def lose_depth(folder: Path) -> None:
    (folder / "depth.tif").unlink()


def lose_all(folder: Path) -> None:
    (folder / "result.json").unlink()


def lose_names(folder: Path) -> None:
    facts = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(facts | {"files": {}}))


def damage_names(folder: Path) -> None:
    facts = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(facts | {"files": {"depth": 3}}))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (damage_json, "is damaged or no result of Toposcope"),
        (damage_layout, "newer Toposcope"),
        (damage_unit, "unit 'furlong'"),
        (damage_list, "it holds a list"),
        (damage_depth, "depth.tif cannot be read"),
        (damage_names, "a value is not as it should be"),
        (lose_names, "'depth' is missing. Copy"),
        (lose_depth, "depth.tif is missing, which is a part of this result. Copy"),
        (lose_all, "there is no result.json"),
    ],
)
def test_damaged_results_get_one_sentence(tmp_path: Path, damage: Callable[[Path], None], text: str) -> None:
    write_result(result(), tmp_path)
    damage(tmp_path)
    with pytest.raises(StackError) as caught:
        read_result(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert text in str(caught.value)
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_writes_into_a_folder(tmp_path: Path, name: str) -> None:
    seen: list[float] = []
    files = export(result(), name, tmp_path, report=lambda p: seen.append(p.fraction), curves=[curve(1)])
    assert all(path.stat().st_size > 50 for path in files)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files}
    assert seen == sorted(seen)


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_names_of_files_are_known_before_they_are_written(tmp_path: Path, name: str, dtype: Any) -> None:
    made = result(dtype=dtype)
    written = export(made, name, tmp_path, curves=[curve(2)])
    assert sorted(path.name for path in written) == sorted(file_names(name, made))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file_names(name, made))


def test_unknown_formats_and_missing_pins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no format 'obj'"):
        export(result(), "obj", tmp_path)
    with pytest.raises(OutputError, match="at least one pin"):
        export(result(), "curves", tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone does not exist"):
        export(result(), "depth", tmp_path / "gone" / "depth.tif")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="a file stands in its place"):
        write_result(result(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "depth.tif"
    path.write_text("old")

    def fill_the_disk() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="the disk is full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["depth.tif"]


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="no permission to write there"):
        export(result(), "depth", tmp_path / "depth.tif")
    assert not list(tmp_path.iterdir())


def test_a_cancelled_export_leaves_nothing(tmp_path: Path) -> None:
    def cancel(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        export(result(), "ply", tmp_path / "s.ply", report=cancel)
    assert not list(tmp_path.iterdir())


def test_names_as_long_as_the_disk_allows_are_written(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 250 + ".tif")
    write_depth_tiff(result(), path)
    assert path.exists()
    with pytest.raises(OutputError, match="cannot be written"):
        write_depth_tiff(result(), tmp_path / ("d" * 300 + ".tif"))


def test_options_are_described_for_forms() -> None:
    from toposcope.core.settings import checked

    assert checked(ExportOptions, {"max_points": "5000"}).max_points == 5000


def test_files_written_together_all_come_or_none(tmp_path: Path) -> None:
    write_result(result(), tmp_path, "png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(progress: Progress) -> None:
        if progress.fraction > 0.9:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_result(result(np.full((9, 12), 3, np.float32)), tmp_path, "png", stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with together():
        write_result(result(np.full((9, 12), 3, np.float32)), tmp_path, "png")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before
    assert read_result(tmp_path).depth[0, 0] == 3
    assert {path.name for path in tmp_path.iterdir()} == set(before)


def test_short_writes_of_numpy_are_told_as_lack_of_room(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Free some space"), whole_file(tmp_path / "a"):
        raise OSError("32000 requested and 28572 written")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_square_with_one_void_corner_keeps_its_triangle(tmp_path: Path, corner: tuple[int, int]) -> None:
    depth = np.array([[1, 2], [3, 4]], np.float32)
    depth[corner] = np.nan
    write_stl(result(depth), tmp_path / "a.stl")
    facets = np.frombuffer((tmp_path / "a.stl").read_bytes()[84:], np.uint8).reshape(-1, 50)
    assert len(facets) == 1
    normal = facets[:, :12].copy().view("<f4")[0]
    assert normal[2] > 0
    corners = facets[:, 12:48].copy().view("<f4").reshape(3, 3)
    heights = result(depth).heights()
    assert sorted(corners[:, 2]) == pytest.approx(sorted(heights[np.isfinite(heights)]))
