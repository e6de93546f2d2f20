from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toposcope.core.source.sidecar import read_positions_file, read_sidecar
from toposcope.errors import CalibrationError


def written(path: Path, content: Any) -> Path:
    file = path / "stack.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_all_entries_are_read(tmp_path: Path) -> None:
    content = {
        "positions": [0, 2.5, 5],
        "unit": "um",
        "kind": "microscope",
        "near": "low",
        "pixel_size": 500,
        "pixel_unit": "nm",
        "frames": ["a.png", "b.png", "c.png"],
        "name": "Käfer",
        "description": "anything",
    }
    sidecar = read_sidecar(written(tmp_path, content))
    assert sidecar.positions == (0.0, 2.5, 5.0)
    assert (sidecar.unit, sidecar.kind, sidecar.near) == ("um", "microscope", "low")
    assert sidecar.pixel_um == pytest.approx(0.5)
    assert sidecar.frames == ("a.png", "b.png", "c.png")
    assert sidecar.name == "Käfer"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_bytes(b'\xef\xbb\xbf{"kind": "camera"}')
    assert read_sidecar(file).kind == "camera"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no valid JSON"),
        ("{", "no valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "one JSON object"),
        ({"postions": [1, 2, 3]}, "unknown entry 'postions'; did you mean 'positions'"),
        ({"colour": "red"}, "unknown entry 'colour'; known are positions"),
        ({"positions": [1, 2, 3]}, "without a unit"),
        ({"positions": [1, 2, 3], "unit": "miles"}, 'unit must be "um", "mm", "m" or "index", not "miles"'),
        ({"positions": [1, "2", 3], "unit": "um"}, 'position 2 must be a finite number, not "2"'),
        ({"positions": [1, True, 3], "unit": "um"}, "position 2 must be a finite number, not true"),
        ('{"positions": [1, NaN, 3], "unit": "um"}', "position 2 must be a finite number, not NaN"),
        ('{"positions": [1, 1e999, 3], "unit": "um"}', "position 2 must be a finite number"),
        ({"positions": [1, 10**400, 3], "unit": "um"}, "position 2 must be a finite number, not a huge number"),
        ({"positions": {}, "unit": "um"}, "must be a list of numbers"),
        ({"positions": [], "unit": "um"}, "must be a list of numbers"),
        ({"positions": [1, 2, 3], "z_step": 1, "unit": "um"}, "both positions and z_step"),
        ({"z_step": 1}, "z_step without a unit of length"),
        ({"z_step": 0, "unit": "um"}, "z_step must not be 0"),
        ({"kind": "telescope"}, 'kind must be "microscope" or "camera", not "telescope"'),
        ({"kind": ["camera"]}, "kind must be"),
        ({"near": "left"}, 'near must be "low" or "high"'),
        ({"pixel_size": 0}, "pixel_size must be above 0"),
        ({"pixel_size": "0.5um"}, "pixel_size must be a finite number"),
        ({"pixel_size": 1, "pixel_unit": "inch"}, "pixel_unit must be nm, um, mm, cm or m"),
        ({"pixel_size": 1, "pixel_unit": 3}, "pixel_unit must be"),
        ({"pixel_unit": "um"}, "pixel_unit without pixel_size"),
        ({"frames": "a.png"}, "frames must be a list of file names"),
        ({"frames": ["a", "a"]}, "names a file twice"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        read_sidecar(written(tmp_path, content))
    assert words in str(caught.value)
    assert "stack.json" in str(caught.value)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_bytes('{"name": "Käfer"}'.encode("latin-1"))
    with pytest.raises(CalibrationError, match="no UTF-8 text"):
        read_sidecar(file)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["positions", "unit", "kind", "near", "pixel_size", "pixel_unit", "z_step", "frames", "name"]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    file = written(tmp_path_factory.getbasetemp(), content)
    with suppress(CalibrationError):
        read_sidecar(file)


@pytest.mark.parametrize(
    ("text", "values", "names", "unit"),
    [
        ("0\n2.5\r\n5\n", (0.0, 2.5, 5.0), None, None),
        ("# heights\n\n0um\n2.5 µm\n5um\n", (0.0, 2.5, 5.0), None, "um"),
        ("file;z\na.png;1mm\nb.png;2mm\n", (1.0, 2.0), ("a.png", "b.png"), "mm"),
        ('"a.png",1\n"b.png",2e3\n', (1.0, 2000.0), ("a.png", "b.png"), None),
        ("position\n7223525.79\n208.13\n", (7223525.79, 208.13), None, None),
    ],
)
def test_lists_of_positions_are_read(
    tmp_path: Path, text: str, values: tuple[float, ...], names: tuple[str, ...] | None, unit: str | None
) -> None:
    file = tmp_path / "z.txt"
    file.write_bytes(text.encode())
    listed = read_positions_file(file)
    assert listed.values == pytest.approx(values)
    assert (listed.names, listed.unit) == (names, unit)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no positions"),
        ("z\n", "holds no positions"),
        ("1\ntwo\n3\n", "line 2 of z.txt"),
        ("1\nnan\n3\n", "line 2 of z.txt: 'nan' is not a finite number"),
        ("1um\n2mm\n", "mixes units"),
        ("a.png, 1\n2\n", "names on some lines only"),
    ],
)
def test_bad_lists_of_positions_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "z.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError) as caught:
        read_positions_file(file)
    assert words in str(caught.value)


def test_a_missing_list_of_positions_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"z\.txt cannot be read: No such file"):
        read_positions_file(tmp_path / "z.txt")
