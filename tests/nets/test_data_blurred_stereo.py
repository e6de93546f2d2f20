"""FlyingThings3D_FS and Middlebury_FS, whose lists name files by the paths of another machine."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from dffnets.data import DataError, open_data_set, to_training_stack

TRUTH = np.array([[10, 55, 100, 120, 0, -3]] * 4, np.float32)
ELSEWHERE = "/home/somebody/data/Barron2015_Gen"


def write_scene(archive: Path, below: str, scene: str, ending: str = "exr") -> str:
    """Write 15 frames, a sharp picture and the truth; return the line that names them."""
    folder = archive / below / scene
    folder.mkdir(parents=True)
    names = [f"{k:02d}.png" for k in range(15)] + ["AiF.png"]
    for k, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((4, 6, 3), 10 * k, np.uint8))
    if ending == "exr":
        OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Y": TRUTH}).write(str(folder / "disp.exr"))
    else:
        (folder / "disp.pfm").write_bytes(b"Pf\n6 4\n-1\n" + TRUTH[::-1].astype("<f4").tobytes())
    prefix = f"{ELSEWHERE}/{archive.name}/{below}/{scene}"
    return " ".join(f"{prefix}/{name}" for name in [*names, f"disp.{ending}"])


@pytest.mark.parametrize("ending", ["exr", "pfm"])
def test_flying_things_are_found_below_their_list(tmp_path: Path, ending: str) -> None:
    archive = tmp_path / "FlyingThings3D_FS"
    lines = [write_scene(archive, "train/TRAIN", scene, ending) for scene in ("0001", "0000")]
    (archive / "train" / "flyingthings3d_FS_path.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    samples = open_data_set("flying_things_3d", archive, "train")
    assert samples.names == ["0001", "0000"]
    sample = samples[1]
    np.testing.assert_allclose(sample.positions, 10 + 90 * np.arange(15) / 14)
    np.testing.assert_array_equal(sample.frames[:, 0, 0, 0], 10 * np.arange(15))
    assert (sample.kind, sample.unit) == ("disparity", "px")
    np.testing.assert_array_equal(sample.valid[0], [True] * 4 + [False] * 2)
    np.testing.assert_array_equal(sample.depth[0, :4], TRUTH[0, :4])
    np.testing.assert_array_equal(sample.in_sweep()[0], [True] * 3 + [False] * 3)
    assert to_training_stack(sample).depth[0, :3].tolist() == [0, 0.5, 1]


def test_middlebury_is_focused_up_to_sixty_pixels(tmp_path: Path) -> None:
    line = write_scene(tmp_path, "focal_stack", "Motorcycle")
    (tmp_path / "focal_stack" / "Middlebury_path.txt").write_text(line, encoding="utf-8")
    samples = open_data_set("middlebury", tmp_path, "test")
    assert samples.names == ["Motorcycle"]
    np.testing.assert_allclose(samples[0].positions, 10 + 50 * np.arange(15) / 14)
    np.testing.assert_array_equal(samples[0].in_sweep()[0], [True, True, False, False, False, False])


def test_nothing_outside_the_archive_is_read(tmp_path: Path) -> None:
    archive, other = tmp_path / "deep" / "er" / "Middlebury_FS", tmp_path / "other"
    write_scene(other, "focal_stack", "Motorcycle")
    (archive / "focal_stack").mkdir(parents=True)
    absolute = " ".join(str(path) for path in sorted((other / "focal_stack" / "Motorcycle").iterdir()))
    (archive / "focal_stack" / "Middlebury_path.txt").write_text(absolute, encoding="utf-8")
    with pytest.raises(DataError, match=r"00\.png, named in .*, is not below"):
        open_data_set("middlebury", archive, "test")[0]


def test_a_line_that_is_too_short_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "focal_stack").mkdir()
    (tmp_path / "focal_stack" / "Middlebury_path.txt").write_text("a.png b.png\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1 of .* names 2 files; needed are 15 frames"):
        open_data_set("middlebury", tmp_path, "test")


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "focal_stack").mkdir()
    (tmp_path / "focal_stack" / "Middlebury_path.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no samples"):
        open_data_set("middlebury", tmp_path, "test")
