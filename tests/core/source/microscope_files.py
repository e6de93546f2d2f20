"""Makers' files made by hand for the tests: LIF, OIF, OIB, and Micro-Manager's data sets."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

Frames = np.ndarray


# ---- Leica LIF: a header of XML, then the pixels


def lif_image(
    name: str,
    frames: Frames,
    block: str,
    z_um: float = 2.0,
    pixel_um: float = 0.5,
    lens: str = 'NumericalAperture="0.8" Magnification="20" ObjectiveName="HC PL  FLUOTAR 20x" RefractionIndex="1"',
) -> str:
    """Return the XML of an image whose ``frames`` are (T, Z, C, H, W), or (T, Z, H, W, 3) for colour."""
    colour = frames.ndim == 5 and frames.shape[-1] == 3
    times, planes, height, width = (
        (frames.shape[0], frames.shape[1], *frames.shape[2:4]) if colour else (*frames.shape[:2], *frames.shape[3:])
    )
    channels = 3 if colour else frames.shape[2]
    item = frames.dtype.itemsize
    step = item * (3 if colour else 1)
    plane = height * width * step
    inner = plane if colour else plane * channels  # bytes from one z to the next
    dimensions = [
        (1, width, step, pixel_um * 1e-6 * (width - 1)),
        (2, height, step * width, pixel_um * 1e-6 * (height - 1)),
    ]
    if planes > 1:
        dimensions.append((3, planes, inner, z_um * 1e-6 * (planes - 1)))
    if times > 1:
        dimensions.append((4, times, inner * planes, 30.0 * (times - 1)))
    described = "".join(
        f'<DimensionDescription DimID="{code}" NumberOfElements="{count}" Origin="0" Length="{length}" Unit="m" '
        f'BitInc="0" BytesInc="{increment}"/>'
        for code, count, increment, length in dimensions
    )
    colours = ("Red", "Green", "Blue") if colour else ("Green", "Red", "Gray")
    listed = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="{k + 1 if colour else 0}" Resolution="{8 * item}" '
        f'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="{colours[k]}" IsLUTInverted="0" '
        f'BytesInc="{k * (item if colour else plane)}" BitInc="0"/>'
        for k in range(channels)
    )
    return (
        f'<Element Name="{name}" Visibility="1"><Data><Image><ImageDescription><Channels>{listed}</Channels>'
        f"<Dimensions>{described}</Dimensions></ImageDescription>"
        f'<Attachment Name="HardwareSetting"><ATLCameraSettingDefinition {lens}/></Attachment>'
        f'</Image></Data><Memory Size="{frames.nbytes}" MemoryBlockID="{block}"/></Element>'
    )


def write_lif(path: Path, images: Mapping[str, Frames], **options: Any) -> None:
    elements = "".join(
        lif_image(name, frames, f"MemBlock_{k}", **options) for k, (name, frames) in enumerate(images.items())
    )
    text = (
        f'<LMSDataContainerHeader Version="2"><Element Name="{path.name}"><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    data = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text
    for k, frames in enumerate(images.values()):
        block = f"MemBlock_{k}".encode("utf-16-le")
        data += struct.pack("<IIBQBI", 0x70, 0, 0x2A, frames.nbytes, 0x2A, len(block) // 2) + block
        data += np.ascontiguousarray(frames).tobytes()
    path.write_bytes(data)


# ---- Olympus OIF: text, and a TIFF a plane; OIB is the same in a compound file


def oif_files(name: str, frames: Frames, heights_nm: list[float] | None = None) -> dict[str, bytes]:
    """Return the files of an OIF, by name; ``frames`` are (T, Z, C, H, W)."""
    times, planes, channels, height, width = frames.shape
    sections = {
        "ProfileSaveInfo": {"Name": '"OIF"', "Version": '"2.1.2.5"'},
        "Axis Parameter Common": {"AxisOrder": '"XYCZT"'},
        "Reference Image Parameter": {"WidthConvertValue": 0.207, "WidthUnit": '"um"', "ValidBitCounts": 12},
        "Acquisition Parameters Common": {
            "Magnification": 60.0,
            "ObjectiveLens NAValue": 1.35,
            "ObjectiveLens Name": '"UPLSAPO   60X O  NA:1.35"',
        },
    }
    for k, (code, size) in enumerate(zip("XYCZT", (width, height, channels, planes, times), strict=True)):
        sections[f"Axis {k} Parameters Common"] = {"AxisCode": f'"{code}"', "MaxSize": size}
    sections["Axis 3 Parameters Common"] |= {"Interval": -750, "PixUnit": '"nm"'}
    for k in range(5, 8):
        sections[f"Axis {k} Parameters Common"] = {"AxisCode": '"LAP"'[k - 5 + 1], "MaxSize": 0}
    for k in range(channels):
        sections[f"Channel {k + 1} Parameters"] = {"DyeName": f'"Dye {k + 1}"', "EmissionWavelength": 500 + 100 * k}
    files = {name: settings(sections)}
    for t in range(times):
        for z in range(planes):
            for c in range(channels):
                stem = f"{name}.files/s_C{c + 1:03}Z{z + 1:03}" + (f"T{t + 1:03}" if times > 1 else "")
                buffer = io.BytesIO()
                tifffile.imwrite(buffer, frames[t, z, c], photometric="minisblack")
                files[stem + ".tif"] = buffer.getvalue()
                if heights_nm is not None:
                    files[stem + ".pty"] = settings({"Axis 3 Parameters": {"AbsPositionValue": heights_nm[z]}})
    return files


def settings(sections: Mapping[str, Mapping[str, Any]]) -> bytes:
    lines = [
        line
        for name, values in sections.items()
        for line in (f"[{name}]", *(f"{key}={value}" for key, value in values.items()))
    ]
    return b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le")


def write_oif(path: Path, frames: Frames, heights_nm: list[float] | None = None) -> None:
    for name, data in oif_files(path.name, frames, heights_nm).items():
        file = path.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)


def write_oib(path: Path, frames: Frames, heights_nm: list[float] | None = None) -> None:
    inner = oif_files("main.oif", frames, heights_nm)
    info = {"Name": '"OIB"', "Version": '"2.0.0.0"', "MainFileName": "Stream00000"}
    streams = {}
    for k, (name, data) in enumerate(inner.items()):
        info[f"Stream{k:05}"] = name.replace("main.oif.files", "Storage00001")
        streams[f"Stream{k:05}"] = data
    info["Storage00001"] = "main.oif.files"
    streams["OibInfo.txt"] = settings({"OibSaveInfo": info})
    path.write_bytes(compound_file(streams))


def compound_file(streams: Mapping[str, bytes]) -> bytes:
    """Return an OLE compound file with all streams in its root, in whole sectors."""
    end, free, none, sector = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFF, 512
    body: list[bytes] = []
    fat: list[int] = []

    def put(data: bytes) -> int:
        start = len(body)
        chunks = [data[k : k + sector].ljust(sector, b"\0") for k in range(0, len(data), sector)] or [b"\0" * sector]
        body.extend(chunks)
        fat.extend([*range(start + 1, start + len(chunks)), end])
        return start

    def entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
        encoded = name.encode("utf-16-le") + b"\0\0"
        return struct.pack(
            "<64sHBBIII16sIQQIQ", encoded, len(encoded), kind, 1, none, right, child, b"", 0, 0, 0, start, size
        )

    starts = {name: put(data) for name, data in streams.items()}
    entries = [entry("Root Entry", 5, none, 1, end, 0)]
    for k, (name, data) in enumerate(streams.items()):
        right = k + 2 if k + 1 < len(streams) else none
        entries.append(entry(name, 2, right, none, starts[name], len(data)))
    while len(entries) % 4:
        entries.append(struct.pack("<128s", b""))
    directory = put(b"".join(entries))
    count = 1
    while (len(fat) + count) * 4 > count * sector:
        count += 1
    places = [len(body) + k for k in range(count)]
    fat += [0xFFFFFFFD] * count
    fat += [free] * (count * sector // 4 - len(fat))
    header = struct.pack(
        "<8s16sHHHHHHIIIIIIIIII",
        bytes.fromhex("d0cf11e0a1b11ae1"), b"", 0x3E, 3, 0xFFFE, 9, 6, 0, 0, 0, count, directory, 0, 0, end, 0, end, 0,
    )  # fmt: skip
    header += struct.pack("<109I", *places, *[free] * (109 - count))
    return header + b"".join(body) + struct.pack(f"<{len(fat)}I", *fat)


# ---- Micro-Manager


def write_ndtiff(folder: Path, shots: list[tuple[dict[str, Any], Frames, dict[str, Any]]]) -> None:
    """Write an NDTiff data set of (axes, plane, metadata)."""
    folder.mkdir()
    name = f"{folder.name}_NDTiffStack.tif"
    planes = [plane for _, plane, _ in shots]
    tifffile.imwrite(folder / name, np.stack(planes), photometric="rgb" if planes[0].ndim == 3 else "minisblack")
    with tifffile.TiffFile(folder / name) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    index = b""
    with open(folder / name, "ab") as file:
        for k, (axes, plane, told) in enumerate(shots):
            text = json.dumps(told).encode()
            offset = file.seek(0, 2)
            file.write(text)
            kind = 2 if plane.ndim == 3 else 0 if plane.dtype == np.uint8 else 1
            named = json.dumps(axes).encode()
            index += struct.pack("<I", len(named)) + named + struct.pack("<I", len(name)) + name.encode()
            index += struct.pack(
                "<IiiiiIii", start + k * plane.nbytes, plane.shape[1], plane.shape[0], kind, 0, offset, len(text), 0
            )
    (folder / "NDTiff.index").write_bytes(index)


def write_images_14(folder: Path, frames: Frames, heights: list[float], stop_early: bool = False) -> None:
    """Write (T, C, Z, H, W) as Micro-Manager 1.4 does: an image a plane, and metadata."""
    folder.mkdir(parents=True)
    told: dict[str, Any] = {
        "Summary": {
            "MicroManagerVersion": "1.4.23", "ChNames": ["DAPI", "FITC"], "Slices": frames.shape[2],
            "Frames": frames.shape[0], "Channels": frames.shape[1], "z-step_um": 2.5, "PixelSize_um": 0.325,
        }
    }  # fmt: skip
    for (t, c, z), _ in np.ndenumerate(frames[..., 0, 0]):
        name = f"img_{t:09}_{['DAPI', 'FITC'][c]}_{z:03}.tif"
        tifffile.imwrite(folder / name, frames[t, c, z], photometric="minisblack")
        told[f"FrameKey-{t}-{c}-{z}"] = {
            "FileName": name, "Channel": ["DAPI", "FITC"][c], "ZPositionUm": heights[z], "PixelSizeUm": 0.325,
        }  # fmt: skip
    text = json.dumps(told, indent=1)
    (folder / "metadata.txt").write_text(text.rstrip("}").rstrip() + "," if stop_early else text)


def write_images_2(folder: Path, frames: Frames, positions: int = 1) -> None:
    """Write (Z, H, W) at some positions as Micro-Manager 2 does."""
    folder.mkdir()
    told: dict[str, Any] = {"Summary": {"MicroManagerVersion": "2.0", "ChNames": ["BF"], "z-step_um": 1.5}}
    for p in range(positions):
        for z, frame in enumerate(frames):
            name = f"img_channel000_position{p:03}_time000000000_z{z:03}.tif"
            tifffile.imwrite(folder / name, frame + p, photometric="minisblack")
            told[f"Coords-Default/{name}"] = {"position": p, "time": 0, "z": z, "channel": 0}
            told[f"Metadata-Default/{name}"] = {
                "ZPositionUm": 100 - 1.5 * z,
                "PixelSizeUm": 0.65,
                "FileName": f"Default/{name}",
            }
    (folder / "metadata.txt").write_text(json.dumps(told))
