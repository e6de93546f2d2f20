"""Other channels, sharp everywhere by the depth of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal

from scenes import Scene, tilted_plane
from toposcope.core.channels import channel_names, fuse_by_depth, fuse_channel, fuse_channels, slice_index
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.export import write_channels
from toposcope.core.jobs import Cancelled, CancelToken, Progress
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.errors import OutputError, StackError
from window_fakes import make_result, make_stack


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tilted_plane(encoding="uint16")


@pytest.fixture(scope="module")
def path(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as channel "red", and as channel "slices" frames that say which slice they are."""
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    numbers = np.broadcast_to(1000 * np.arange(len(frames), dtype=np.uint16)[:, None, None], frames.shape)
    path = tmp_path_factory.mktemp("channels") / "two.ome.tif"
    metadata = {"axes": "ZCYX", "PhysicalSizeZ": 2.0, "PhysicalSizeX": 0.5, "Channel": {"Name": ["red", "slices"]}}
    tifffile.imwrite(path, np.stack([frames, numbers], 1), ome=True, photometric="minisblack", metadata=metadata)
    return path


@pytest.fixture(scope="module")
def opened(path: Path) -> tuple[FocalStack, DepthResult]:
    stack = open_stack(path, OpenOptions(channel=0))
    return stack, estimate(stack, EstimateSettings(align="none"))


def test_another_channel_is_taken_from_the_slices_that_the_depth_names(
    opened: tuple[FocalStack, DepthResult],
) -> None:
    stack, result = opened
    assert channel_names(stack) == ("red", "slices")
    picture = fuse_channel(stack, result, 1)
    assert picture.dtype == np.uint16
    # a picture of slice numbers is the depth itself: 2 um and 1000 grey values a slice
    known = result.valid
    assert_allclose(picture[known], result.depth[known] / 2.0 * 1000, atol=1.0)
    assert picture[~known].size == 0 or picture[~known].min() > 0


def test_all_channels_are_fused_with_the_own_one_as_it_is(opened: tuple[FocalStack, DepthResult]) -> None:
    stack, result = opened
    shares: list[float] = []

    def report(progress: Progress) -> None:
        shares.append(progress.fraction)

    red, slices = fuse_channels(stack, result, report)
    assert (red.name, slices.name) == ("red", "slices")
    assert_array_equal(red.picture, result.all_in_focus)
    assert shares == sorted(shares)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        fuse_channels(stack, result, token.guard())


def test_frames_that_were_left_out_are_left_out_of_all_channels(path: Path) -> None:
    stack = open_stack(path, OpenOptions(channel=0))
    worked = stack.subset([i for i in range(stack.n) if i != 4])
    result = estimate(worked, EstimateSettings(align="none"))
    picture = fuse_channel(worked, result, 1)
    assert not np.isin(picture, [4000]).sum() > 0.01 * picture.size
    assert_allclose(picture[result.valid], result.depth[result.valid] / 2.0 * 1000, atol=1.0)


def test_alignment_of_the_depth_is_that_of_all_channels() -> None:
    frames = np.zeros((5, 48, 64), np.uint8)
    frames[:, 10:20, 30:40] = 200
    result = make_result(make_stack(), needed=True)  # every frame lies 3 pixels to the right
    from toposcope.core.align import AlignedSource

    assert result.alignment is not None
    fused = fuse_by_depth(AlignedSource(ArraySource(frames), result.alignment.motions), result)
    assert fused[15, 28] == 200
    assert fused[15, 38] == 0


def test_depth_as_numbers_of_slices_has_no_holes() -> None:
    result = make_result(make_stack())
    index = slice_index(result)
    assert np.isfinite(index).all()
    assert_allclose(index[1], np.linspace(0, 4, 64), atol=1e-4)
    blind = make_result(make_stack())
    blind.depth[:], blind.valid[:] = np.nan, False
    assert (slice_index(blind) == 2).all()


def test_colour_channels_are_fused_in_colour() -> None:
    frames = np.zeros((5, 48, 64, 3), np.uint8)
    frames[..., 1] = 50 * np.arange(5, dtype=np.uint8)[:, None, None]
    result = make_result(make_stack())
    fused = fuse_by_depth(ArraySource(frames), result)
    assert fused.shape == (48, 64, 3)
    assert_allclose(fused[5, :, 1], np.linspace(0, 200, 64), atol=0.6)


def test_a_file_with_one_channel_is_told() -> None:
    stack = make_stack()
    with pytest.raises(StackError, match="tiny holds one channel only"):
        fuse_channels(stack, make_result(stack))
    with pytest.raises(StackError, match="tiny holds one channel only"):
        fuse_channel(stack, make_result(stack), 1)
    assert channel_names(stack) == ()


def test_channels_are_written_as_one_ome_tiff(opened: tuple[FocalStack, DepthResult], tmp_path: Path) -> None:
    stack, result = opened
    pictures = fuse_channels(stack, result)
    path = tmp_path / "all.ome.tif"
    write_channels(pictures, path, 0.5)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "CYX"
        assert 'Name="slices"' in (tiff.ome_metadata or "")
        assert 'PhysicalSizeX="0.5"' in (tiff.ome_metadata or "")
        assert_array_equal(tiff.asarray(), np.stack([one.picture for one in pictures]))
    with pytest.raises(OutputError, match=r"ends with \.ome\.tif"):
        write_channels(pictures, tmp_path / "all.tif")
