"""Files of data sets, written here by their specification and read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import OpenEXR
import pytest
import tifffile

from dffnets.data import files
from dffnets.data.sample import DataError
from dffnets.extras import install_line


def write_pfm(path: Path, rows: np.ndarray, byte_order: str = "<") -> None:
    """Write (H, W) or (H, W, 3) from the bottom row up, as the format wants."""
    magic = b"Pf" if rows.ndim == 2 else b"PF"
    scale = b"-1.0" if byte_order == "<" else b"1.0"
    header = magic + b"\n%d %d\n" % (rows.shape[1], rows.shape[0]) + scale + b"\n"
    path.write_bytes(header + rows[::-1].astype(f"{byte_order}f4").tobytes())


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_pfm_comes_back_top_row_first(tmp_path: Path, byte_order: str) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5
    write_pfm(tmp_path / "a.pfm", rows, byte_order)
    np.testing.assert_array_equal(files.read_map(tmp_path / "a.pfm"), rows)


def test_first_channel_of_a_colour_pfm_counts(tmp_path: Path) -> None:
    rows = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    write_pfm(tmp_path / "a.pfm", rows)
    np.testing.assert_array_equal(files.read_pfm(tmp_path / "a.pfm"), rows[..., 0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("names", ["RGB", "Y", "Z", "Q"])
def test_exr_gives_its_first_channel(tmp_path: Path, names: str, dtype: type) -> None:
    rows = np.array([[0.5, 1.25], [3, 1e4]], dtype)
    planes = {name: rows * (1 + k) for k, name in enumerate(names)}
    OpenEXR.File({"type": OpenEXR.scanlineimage}, planes).write(str(tmp_path / "a.exr"))
    read = files.read_map(tmp_path / "a.exr")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, rows.astype(np.float32))


def test_other_maps_keep_their_values(tmp_path: Path) -> None:
    deep = np.array([[0, 1, 40_000]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    np.testing.assert_array_equal(files.read_map(tmp_path / "a.png"), deep)
    cv2.imwrite(str(tmp_path / "colour.png"), np.array([[[1, 2, 3]]], np.uint8))  # blue, green, red
    np.testing.assert_array_equal(files.read_map(tmp_path / "colour.png"), [[3]])
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0.25, -7]], np.float32))
    np.testing.assert_array_equal(files.read_map(tmp_path / "a.tif"), [[0.25, -7]])


def test_pictures_are_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ä.png"), np.array([[[10, 20, 30]]], np.uint8))  # blue, green, red
    np.testing.assert_array_equal(files.read_picture(tmp_path / "ä.png"), [[[30, 20, 10]]])


@pytest.mark.parametrize("ending", ["exr", "pfm", "tif", "png", "jpg"])
def test_broken_and_missing_files_are_refused_by_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"broken.{ending}"
    for content in (b"", b"not what it says"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"broken\.{ending}"):
            files.read_map(path)
    path.unlink()
    with pytest.raises(DataError, match=rf"broken\.{ending} cannot be read"):
        files.read_map(path)
    with pytest.raises(DataError, match=rf"broken\.{ending}"):
        files.read_picture(path)


def test_a_pfm_that_is_cut_short_says_so(tmp_path: Path) -> None:
    write_pfm(tmp_path / "a.pfm", np.zeros((4, 4), np.float32))
    (tmp_path / "a.pfm").write_bytes((tmp_path / "a.pfm").read_bytes()[:-8])
    with pytest.raises(DataError, match="cut short: 56 of 64 bytes"):
        files.read_map(tmp_path / "a.pfm")


def test_frames_of_unequal_size_are_refused(tmp_path: Path) -> None:
    for name, width in (("a", 3), ("b", 4)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((2, width, 3), np.uint8))
    with pytest.raises(DataError, match=r"b\.png is 4 x 2 pixels, the first frame 3 x 2"):
        files.read_pictures([tmp_path / "a.png", tmp_path / "b.png"], "Some set")


def test_missing_keys_are_answered_with_those_there_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stack"] = [1]
    with (
        files.open_hdf5(tmp_path / "a.h5") as file,
        pytest.raises(DataError, match=r"a\.h5 holds stack; needed is 'disp'"),
    ):
        files.hdf5_dataset(file, tmp_path / "a.h5", "disp")


def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(DataError, match=r"a\.h5 is not an HDF5 file"), files.open_hdf5(tmp_path / "a.h5"):
        pass


@pytest.mark.parametrize("module", ["h5py", "OpenEXR"])
def test_a_missing_extra_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    def absent(name: str, *rest: Any) -> None:
        raise ImportError(name)

    monkeypatch.setattr(files.importlib, "import_module", absent)
    read = {"h5py": lambda: files.open_hdf5(Path("a.h5")).__enter__(), "OpenEXR": lambda: files.read_exr(Path("a.exr"))}
    with pytest.raises(DataError, match=f"{module}, which is not installed.*{re.escape(install_line('datasets'))}"):
        read[module]()


def test_grey_values_are_rounded_and_kept_within_a_byte() -> None:
    assert files.to_bytes(np.array([-3.0, 0.4, 0.6, 254.6, 300.0])).tolist() == [0, 0, 1, 255, 255]
