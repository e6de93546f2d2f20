"""What the window would do as a command: read by the command line's own parser, it is the same again."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toposcope.cli import build_parser
from toposcope.cli.batching import _wished
from toposcope.cli.options import estimate_settings, open_options
from toposcope.core.command_line import batch_command, depth_command, quoted
from toposcope.core.estimate import EstimateSettings, find_method
from toposcope.core.export import ExportOptions
from toposcope.core.source import OpenOptions
from toposcope.errors import SettingsError

OUT = Path("out put")


def parsed(command: Sequence[str]) -> argparse.Namespace:
    assert command[0] == "toposcope"
    return build_parser().parse_args(command[1:])


readings = st.builds(
    OpenOptions,
    order=st.sampled_from(("name", "time")),
    reverse=st.booleans(),
    skip=st.lists(st.sampled_from(("frame one.png", "it's.tif")) | st.integers(0, 99), max_size=2).map(tuple),
    skip_broken=st.booleans(),
    z_step=st.none() | st.sampled_from((2.5, -0.125, 1e-3)),
    unit=st.sampled_from(("um", "mm", "m")),
    kind=st.sampled_from((None, "microscope", "camera")),
    near=st.sampled_from((None, "low", "high")),
    pixel_um=st.none() | st.sampled_from((0.5, 0.0625)),
    channel=st.none() | st.integers(0, 3),
)


@given(readings)
def test_reading_comes_back(reading: OpenOptions) -> None:
    options = parsed(depth_command([Path("a b")], OUT, EstimateSettings(), reading))
    assert open_options(options) == reading
    assert (options.stack, options.output) == (["a b"], OUT)


@pytest.mark.parametrize("method", ["default", "sml", "light"])
def test_method_comes_back(method: str) -> None:
    card = find_method(method)
    options = card.checked({"window": 5} if method == "sml" else {})
    settings = EstimateSettings(method, options, align="none", threads=2, device="cpu")
    assert estimate_settings(parsed(depth_command([Path("a")], OUT, settings))) == settings
    told = batch_command([Path("a"), Path("b c")], OUT, settings, OpenOptions(pixel_um=0.5), ("ply",), anew=True)
    read = parsed(told)
    assert _wished(read) == (settings, OpenOptions(pixel_um=0.5), OpenOptions())
    assert (read.stack, read.to, read.again) == (["a", "b c"], ["ply"], True)
    assert parsed(shlex.split(quoted(told))).stack == ["a", "b c"]


def test_defaults_say_nothing() -> None:
    command = depth_command([Path("scan")], Path("out"), EstimateSettings(keep_volume=True))
    assert command == ["toposcope", "depth", "scan", "-o", "out"]


def test_options_of_formats_come_back() -> None:
    options = ExportOptions(max_points=5000)
    told = parsed(batch_command([Path("a")], OUT, EstimateSettings(), formats=("stl",), export_options=options))
    assert told.export_set == [("max_points", "5000")]


def test_positions_typed_one_by_one_fit_in_no_command() -> None:
    with pytest.raises(SettingsError, match="one by one"):
        depth_command([Path("a")], OUT, EstimateSettings(), OpenOptions(positions=(0.0, 1.0, 3.0)))
