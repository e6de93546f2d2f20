"""Throw broken files at the readers: ``python fuzz.py SEED COUNT MEGABYTES``.

Run as a program of its own by ``test_fuzz.py``, so that a crash in a decoder is seen and not
shared, and so that memory can be bounded for it alone. Prints one line of JSON.
"""

from __future__ import annotations

import faulthandler
import io
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from toposcope.core.source import ChoiceNeeded, OpenOptions, describe, open_stack
from toposcope.errors import ToposcopeError

N, HEIGHT, WIDTH = 4, 40, 56
HANG_SECONDS = 25
EXTREMES = (0, 1, 2, 3, 7, 8, 127, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def picture(channels: int = 1, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = 0.5 + 0.3 * np.sin(rows / 3 + seed) * np.cos(columns / 4) + 0.1 * rng.random((HEIGHT, WIDTH))
    full = waves * (255 if dtype == "uint8" else 65535 if dtype == "uint16" else 1.0)
    plane = full.astype(dtype)
    return plane if channels == 1 else np.stack([plane, plane[::-1], plane[:, ::-1]], axis=-1)


def encoded(mode: str, form: str, **options: object) -> bytes:
    image = Image.fromarray(picture(3 if mode not in ("L", "I;16") else 1, "uint16" if mode == "I;16" else "uint8"))
    if mode not in ("I;16",):
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(channels: int = 1, dtype: str = "uint8", **options: object) -> bytes:
    file = io.BytesIO()
    frames = np.stack([picture(channels, dtype, seed) for seed in range(N)])
    if options.pop("planar", False):
        frames = np.moveaxis(frames, -1, 1)
        options["planarconfig"] = "separate"
    separate = options.pop("separate", False)
    options.setdefault("photometric", "minisblack")
    with tifffile.TiffWriter(
        file,
        bigtiff=bool(options.pop("bigtiff", False)),
        ome=bool(options.pop("ome", False)),
        imagej=bool(options.pop("imagej", False)),
        byteorder=options.pop("byteorder", None),
    ) as writer:
        for part in frames if separate else [frames]:
            writer.write(part, **options)
    return file.getvalue()


def exif() -> bytes:
    block = Image.Exif()
    block[274], block[306], block[271] = 6, "2026:01:02 03:04:05", "Maker"
    return block.tobytes()


def images() -> dict[str, bytes]:
    """Return single images that are mutated and put among good frames."""
    return {
        "grey.jpg": encoded("L", "JPEG", quality=85, exif=exif()),
        "colour.jpg": encoded("RGB", "JPEG", quality=90),
        "progressive.jpg": encoded("RGB", "JPEG", progressive=True, exif=exif(), icc_profile=b"\0" * 200),
        "cmyk.jpg": encoded("CMYK", "JPEG"),
        "grey.png": encoded("L", "PNG"),
        "sixteen.png": encoded("I;16", "PNG"),
        "colour.png": encoded("RGB", "PNG", exif=exif()),
        "alpha.png": encoded("RGBA", "PNG"),
        "palette.png": encoded("P", "PNG"),
        "colour.bmp": encoded("RGB", "BMP"),
        "palette.bmp": encoded("P", "BMP"),
        "colour.webp": encoded("RGB", "WEBP", exif=exif()),
    }


def stacks() -> dict[str, bytes]:
    """Return stacks in one TIFF each that are mutated and opened."""
    micro = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeZ": 2.5, "Plane": {"PositionZ": [3.0, 2.0, 1.0, 0.0]}}
    return {
        "plain.tif": tiff(),
        "pages.tif": tiff(separate=True, metadata=None),
        "shaped.tif": tiff(separate=True),
        "big.tif": tiff(bigtiff=True, dtype="uint16"),
        "motorola.tif": tiff(dtype="uint16", byteorder=">", metadata=None),
        "colour.tif": tiff(3, photometric="rgb", metadata=None),
        "planar.tif": tiff(3, photometric="rgb", planar=True, metadata=None),
        "deflate.tif": tiff(compression="zlib", predictor=True, metadata=None),
        "lzw.tif": tiff(dtype="uint16", compression="lzw", metadata=None),
        "jpeg.tif": tiff(3, photometric="ycbcr", compression="jpeg", metadata=None),
        "tiles.tif": tiff(tile=(16, 16), compression="zlib", metadata=None),
        "float.tif": tiff(dtype="float32", metadata=None),
        "imagej.tif": tiff(imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "spacing": 2.5, "unit": "um"}),
        "ome.ome.tif": tiff(ome=True, metadata=micro),
        "packed.ome.tif": tiff(ome=True, metadata=micro, compression="zlib"),
    }


STACK_NAMES = frozenset(stacks())
SIDECAR = json.dumps(
    {
        "positions": [0.0, 2.5, 5.0, 7.5],
        "unit": "um",
        "kind": "microscope",
        "near": "high",
        "pixel_size": 0.5,
        "pixel_unit": "um",
        "frames": [f"frame_{k}.png" for k in range(N)],
    }
).encode()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one to four things done to them."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not changed:
            break
        # half of the blows go to the header, where they hurt most
        reach = len(changed) if rng.random() < 0.5 else min(len(changed), 400)
        place = int(rng.integers(reach))
        kind = int(rng.integers(7))
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place] = int(rng.integers(256))
        elif kind == 2:
            size = int(rng.choice([1, 2, 4, 8]))
            value = int(rng.choice(EXTREMES)) % 256**size
            changed[place : place + size] = value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
        elif kind == 3:
            del changed[int(rng.integers(len(changed))) :]
        elif kind == 4:
            del changed[place : place + int(rng.integers(1, 64))]
        elif kind == 5:
            start, size = int(rng.integers(len(changed))), int(rng.integers(1, 64))
            changed[place:place] = changed[start : start + size]
        else:
            start, size = int(rng.integers(len(changed))), int(rng.integers(1, 32))
            changed[place : place + size] = changed[start : start + size]
    return bytes(changed)


def use(path: Path, options: OpenOptions) -> None:
    """Do with a stack what the program does."""
    for _ in range(2):
        try:
            stack = open_stack(path, options)
        except ChoiceNeeded as question:
            options = replace(options, **{choice.name: 0 for choice in question.choices})
        else:
            break
    else:
        return
    json.dumps(describe(stack), allow_nan=False)
    for i in range(min(stack.n, 6)):
        plane = stack.read(i)
        assert plane.shape[:2] == stack.shape, (plane.shape, stack.shape)
        assert plane.dtype == stack.source.dtype in (np.uint8, np.uint16, np.float32)
        assert plane.ndim == (2 if stack.source.channels == 1 else 3)
        small = stack.read(i, scale=4)
        assert small.shape[:2] == tuple(-(-side // 4) for side in stack.shape)
        stack.source.tags(i)


def throw(k: int, seed: int, folder: Path, files: dict[str, bytes]) -> str:
    """Make the ``k``-th broken file and use it; return what came of it."""
    rng = np.random.default_rng([seed, k])
    names = list(files)
    name = names[k % len(names)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    options = OpenOptions(skip_broken=bool(rng.random() < 0.3))
    if name == "stack.json":
        for number in range(N):
            (folder / f"frame_{number}.png").write_bytes(files["grey.png"])
        (folder / name).write_bytes(mutated(files[name], rng))
        path = folder
    elif name in STACK_NAMES:
        path = folder / name
        path.write_bytes(mutated(files[name], rng))
    else:
        suffix = Path(name).suffix
        for number in range(N):
            (folder / f"frame_{number}{suffix}").write_bytes(files[name])
        (folder / f"frame_1{suffix}").write_bytes(mutated(files[name], rng))
        path = folder
    try:
        use(path, options)
    except ToposcopeError as error:
        text = str(error)
        assert 10 < len(text) < 1000, text
        return type(error).__name__
    return "read"


def main(seed: int, count: int, report: Callable[[str], object] = print) -> None:
    single = io.BytesIO()
    tifffile.imwrite(single, picture(), metadata=None)
    files = {**images(), "single.tif": single.getvalue(), **stacks(), "stack.json": SIDECAR}
    outcomes: Counter[str] = Counter()
    slowest, worst = 0.0, ""
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as base:
        for k in range(count):
            start = time.process_time()
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)  # says where it hangs
            try:
                outcomes[throw(k, seed, Path(base) / "case", files)] += 1
            except BaseException as error:  # the very thing that is looked for
                failures.append(f"case {k} of seed {seed} ({list(files)[k % len(files)]}): {error!r:.300}")
                if isinstance(error, KeyboardInterrupt):
                    raise
            faulthandler.cancel_dump_traceback_later()
            seconds = time.process_time() - start
            if seconds > slowest:
                slowest, worst = seconds, f"case {k}"
    report(json.dumps({"outcomes": outcomes, "slowest_s": slowest, "worst": worst, "failures": failures[:20]}))


if __name__ == "__main__":
    if sys.platform != "win32":
        import resource

        limit = int(sys.argv[3]) << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    main(int(sys.argv[1]), int(sys.argv[2]))
