"""The one way from a path to a focal stack."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from toposcope.core.calibration import Floats, Kind, Sourced
from toposcope.core.height_map.formats import HEIGHT_MAP_SUFFIXES, START_BYTES, height_map_format
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.result import RESULT_NAME
from toposcope.core.source.calibrating import Calibration, Frames, calibrate
from toposcope.core.source.container import Container, ContainerSource, choose
from toposcope.core.source.folder import (
    FRAME_SUFFIXES,
    file_kind,
    list_folder,
    make_source,
    of_one_kind,
    order_by_time,
    read_headers,
    unread_format,
)
from toposcope.core.source.image_file import ImageHeader, Unreadable, access_problem, is_device, system_path
from toposcope.core.source.micro_manager import image_folders, ndtiff_folder, open_images, open_ndtiff
from toposcope.core.source.naming import natural_key
from toposcope.core.source.options import ChoiceNeeded, OpenOptions
from toposcope.core.source.readers import open_container, reader_of
from toposcope.core.source.scaled import to_unit_range
from toposcope.core.source.sidecar import SIDECAR_NAME, Sidecar, read_sidecar
from toposcope.core.source.tiff import open_tiff
from toposcope.core.stack import MIN_FRAMES, FocalStack, FrameSource, SelectedSource
from toposcope.errors import CalibrationError, FrameError, IsResultError, SettingsError, StackError

_RESULT_MAPS = ("depth.tif", "confidence.tif")
"""Files that lie in every folder with a stored result."""
_NOTHING = Sidecar()
_PLAIN = OpenOptions()


def open_stack(
    path: Path | str | Sequence[Path | str], options: OpenOptions = _PLAIN, report: Report = silent
) -> FocalStack:
    """Open a folder of images, a multi-page TIFF, or a list of image files as a focal stack.

    ::

        open_stack("scan_07")                                  # a folder; stack.json in it is read
        open_stack("scan.ome.tif", OpenOptions(channel=1))     # the second channel
        open_stack([a, b, c], OpenOptions(z_step=2.5, unit="um"))

    Headers are read, pixels are not (float frames excepted, whose range stands in no header). Planes
    are read one at a time afterwards, in their own bit depth, and no file stays open between reads.
    Every value of the stack carries its origin; what a reader passed over stands in ``notes``.

    Raises
    ------
    StackError
        If it holds no stack of at least 3 frames.
    FrameError
        If one frame is broken or differs from the others; ``skip`` or ``skip_broken`` go on without.
    ChoiceNeeded
        If a file holds several stacks.
    CalibrationError
        If positions are duplicate, not finite, or do not fit the frames.
    SettingsError
        If an option names a frame or a choice that is not there.
    """
    stack = _open(path, options, report)
    if not stack.parts:
        return stack
    return replace(stack, reopen=lambda answers, report: open_stack(path, options.choosing(answers), report))


def _open(path: Path | str | Sequence[Path | str], options: OpenOptions, report: Report) -> FocalStack:
    paths = [Path(path)] if isinstance(path, str | Path) else list(dict.fromkeys(Path(one) for one in path))
    if not paths:
        raise StackError("no files were given; choose a folder, or all images of the series.")
    if any("\0" in str(one) for one in paths):
        raise StackError("the path holds a character that no file name may hold.")
    for one in paths:
        if is_device(one):
            raise StackError(f"{one.name} is no file and no folder.")
    paths = [one.parent if one.name == SIDECAR_NAME and not _is_folder(one) else one for one in paths]
    folders = [one for one in paths if _is_folder(one)]
    if len(folders) == 1 and set(paths) <= set(folders):
        try:
            return _open_folder(folders[0], options, report)
        except ChoiceNeeded:
            raise
        except StackError as error:
            # frames beside a result open all the same; only what does not is taken for the result
            is_frame = isinstance(error, FrameError) and error.name not in _RESULT_MAPS
            if is_frame or (came_from := _result_source(folders[0])) is None:
                raise
            raise _is_result(folders[0], came_from) from error
    if len(paths) > 1 and all(_is_result_path(one) for one in paths):
        raise StackError(
            "only one result can be opened at a time. Open it by itself, and hold another one against it by "
            "Compare ▸ With a stored result, or use `toposcope compare`."
        )
    if folders:
        raise StackError(
            "folders and files, or several folders, were given; open one folder, or the files of one series."
        )
    if len(paths) == 1:
        return _open_file(paths[0], options, report)
    if all(one.suffix.lower() in HEIGHT_MAP_SUFFIXES for one in paths):
        raise StackError(
            "only one height map can be opened at a time. Open it by itself, and hold another one against it by "
            "Compare ▸ With a height map, or use `toposcope compare`."
        )
    ordered, notes = of_one_kind(sorted(paths, key=lambda one: (natural_key(one.name), str(one))))
    return _open_images(
        ordered, paths[0].resolve().parent.name or "stack", paths[0].parent, _NOTHING, notes, options, report
    )


def _is_folder(path: Path) -> bool:
    return os.path.isdir(system_path(path))


def _is_result_path(path: Path) -> bool:
    """Whether ``path`` is a folder with a result, or the result.json in it."""
    return path.name == RESULT_NAME or os.path.isfile(system_path(path / RESULT_NAME))


def _is_result(folder: Path, came_from: str) -> IsResultError:
    there = f" ({came_from})" if came_from else ""
    return IsResultError(
        f"{folder.name} holds a result, not the photographs that it was made from. Open those{there}; the "
        "window shows the result, `toposcope info`, `compare` and `export` take it.",
        folder,
    )


def _result_source(folder: Path) -> str | None:
    """Return what the result in ``folder`` was made from, "" where it does not tell; None where there is no result."""
    path = Path(system_path(folder / RESULT_NAME))
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(facts, dict) and "toposcope" not in facts:
            return None  # another program's
        return str(facts["provenance"]["source"])
    except (OSError, ValueError, KeyError, TypeError):
        # damaged, but with the maps of a result beside it: whoever reads the result says what is wrong
        maps = all(os.path.lexists(system_path(folder / name)) for name in _RESULT_MAPS)
        return "" if maps and os.path.isfile(path) else None


def _open_folder(folder: Path, options: OpenOptions, report: Report) -> FocalStack:
    data_set = None if options.only is not None else _data_set(folder, options, report)
    if data_set is not None:
        return data_set
    listing = list_folder(folder)
    sidecar = read_sidecar(listing.sidecar) if listing.sidecar else _NOTHING
    files, notes = listing.files, listing.notes
    if options.only is not None:
        files, sidecar = chosen_files(folder, sidecar, options.only)
    elif sidecar.frames is not None:
        notes = ()  # what else lies there was left out on purpose
        by_name = {path.name: path for path in files}
        missing = [name for name in sidecar.frames if not os.path.isfile(system_path(folder / name))]
        if missing:
            raise CalibrationError(f"{SIDECAR_NAME} names the frame {missing[0]}, which is not in the folder.")
        files = tuple(by_name.get(name, folder / name) for name in sidecar.frames)
    name = sidecar.name or folder.resolve().name or str(folder)
    if len(files) == 1 and files[0].suffix.lower() in (".tif", ".tiff"):
        return _open_tiff(files[0], sidecar, name, notes, options, report)
    if files and all("_mmstack" in file.name.lower() for file in files):  # the first names all that belong to it
        return _open_tiff(files[0], sidecar, name, notes, options, report)
    return _open_images(files, name, folder, sidecar, notes, options, report)


def _data_set(path: Path, options: OpenOptions, report: Report) -> FocalStack | None:
    """Open a data set of Micro-Manager that ``path`` is or belongs to, None if it is none."""
    try:
        ndtiff = ndtiff_folder(path)
        if ndtiff is not None:
            return _open_container(open_ndtiff(ndtiff), path, options, report)
        folders = image_folders(path)
        if folders and SIDECAR_NAME not in {one.name for one in folders[0].iterdir()}:
            return _open_container(open_images(folders), path, options, report)
    except Unreadable as error:
        raise StackError(f"{path.name} {error}.") from error
    except OSError as error:
        raise StackError(f"{path.name} {access_problem(error)}.") from error
    return None


def _open_container(container: Container, path: Path, options: OpenOptions, report: Report) -> FocalStack:
    try:
        return _container_stack(container, path, options, report)
    except BaseException:
        container.close()
        raise


def _container_stack(container: Container, path: Path, options: OpenOptions, report: Report) -> FocalStack:
    chosen = choose(path.name, container, options)
    first = chosen.places[0]
    heights: Sourced[Floats] | None = None
    more: tuple[str, ...] = ()
    if not chosen.along_time:
        try:
            heights, more = container.positions_um(first.scene, first.channel, first.time)
        except Unreadable as error:
            raise StackError(f"{path.name} {error}.") from error
    names = tuple(f"slice {k + 1}" for k in range(len(chosen.places)))
    source: FrameSource = ContainerSource(container, chosen, path.name, names)
    order = tuple(range(len(names)))[:: -1 if options.reverse else 1]
    skipped = _skipped(tuple(names[k] for k in order), options)
    places = tuple(place for place in range(len(order)) if place not in skipped)
    broken: tuple[str, ...] = ()
    if options.skip_broken:
        places, broken = _whole_planes(source, order, places, report)
    kept = tuple(order[place] for place in places)
    calibration = calibrate(
        Frames(tuple(names[k] for k in order), places, order),
        options,
        _NOTHING,
        None if heights is None else Sourced(heights.value[list(kept)], heights.origin, heights.guessed),
        chosen.scene.pixel_um,
        Sourced("microscope", container.origin),
        None,
        read_names=False,
    )
    if kept != tuple(range(len(names))):
        source = SelectedSource(source, kept)
    source, scaled = to_unit_range(source, report)
    notes = (*broken, *chosen.notes, *more, *calibration.notes, *scaled)
    name, objective = path.name.split(".")[0] or path.name, chosen.scene.objective
    return calibration.of(source, name, path, notes=notes, objective=objective, parts=chosen.parts)


def _whole_planes(
    source: FrameSource, order: tuple[int, ...], places: tuple[int, ...], report: Report
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the places of the planes that can be read, and notes on the others; each is read once."""
    good, notes = [], []
    for k, place in enumerate(places):
        report(Progress(k / len(places), f"looking at {source.names[order[place]]}"))
        try:
            source.read(order[place])
        except FrameError as error:
            notes.append(f"{error} Left out")
        else:
            good.append(place)
    if not good:
        raise StackError("none of the slices can be read.")
    return tuple(good), tuple(notes)


def _open_file(path: Path, options: OpenOptions, report: Report) -> FocalStack:
    try:
        with open(system_path(path), "rb") as file:
            start = file.read(START_BYTES)
        kind = file_kind(path)
    except Unreadable as error:
        raise StackError(f"{path.name} {error}.") from error
    except FileNotFoundError as error:
        raise StackError(f"{path} does not exist.") from error
    except OSError as error:
        raise StackError(f"{path.name} {access_problem(error)}.") from error
    if path.name == RESULT_NAME and (came_from := _result_source(path.parent)) is not None:
        raise _is_result(path.parent, came_from)
    data_set = (
        None if path.suffix.lower() not in (".tif", ".tiff", ".index", ".txt") else _data_set(path, options, report)
    )
    if data_set is not None:
        return data_set
    if kind == "tiff":
        return _open_tiff(path, _NOTHING, path.name.split(".")[0] or path.name, (), options, report)
    if path.suffix.lower() in FRAME_SUFFIXES:
        (header,) = read_headers([path], silent)
        if isinstance(header, Unreadable):
            raise FrameError(f"{path.name} {header}.", 0, path.name)
        if header.pages >= MIN_FRAMES:
            return _open_pages(header, path.stem, _NOTHING, (), options)
        raise StackError(
            f"{path.name} is one image; depth from focus needs a series of at least {MIN_FRAMES}. "
            "Open its folder, or all images of the series together."
        )
    reader = reader_of(path)
    if reader is not None:
        return _open_container(open_container(reader, path), path, options, report)
    surface = height_map_format(path, start)
    if surface is not None:
        raise StackError(
            f"{path.name} is a height map ({surface.title}), not a focal stack: its heights have been measured "
            "already, and there are no slices to find depth in. Open it by itself in the window, or use it with "
            "`toposcope info`, `compare` and `export`."
        )
    advice = unread_format(path.suffix)
    if advice:
        raise StackError(f"{path.name} cannot be opened: {advice}")
    raise StackError(
        f"{path.name} is of no format that is read here. Open a folder of JPEG, PNG, TIFF, BMP, WebP, HEIC, AVIF "
        "or camera RAW images, a multi-page TIFF, or a microscope's CZI, ND2, LIF, OIF or OIB."
    )


def _open_tiff(
    path: Path, sidecar: Sidecar, name: str, notes: tuple[str, ...], options: OpenOptions, report: Report
) -> FocalStack:
    found = open_tiff(path, options)
    names = found.source.names
    order = tuple(range(len(names)))[:: -1 if options.reverse else 1]
    rest = f"slice {len(names) + 1}"
    is_cut = found.is_cut and not options.skip_broken and rest not in options.skip
    if found.is_cut:
        options = replace(options, skip=tuple(one for one in options.skip if one != rest))
    skipped = _skipped(tuple(names[k] for k in order), options)
    more = list(notes)
    places = []
    for place, k in enumerate(order):
        if place in skipped:
            continue
        problem = found.broken[k]
        if problem and not options.skip_broken:
            raise FrameError(f"{names[k]} of {path.name} {problem}. Skip it to go on without.", place, names[k])
        if problem:
            more.append(f"{names[k]} {problem}: left out")
        else:
            places.append(place)
    if is_cut:
        raise FrameError(
            f"{path.name} is cut short after slice {len(names)}: more pages should follow. "
            "Copy the file again, or skip what is missing.",
            len(names),
            rest,
        )
    if found.is_cut:
        more.append(f"the file is cut short: what follows slice {len(names)} is missing")
    kept = [order[place] for place in places]
    positions = found.positions_um
    calibration = calibrate(
        Frames(tuple(names[k] for k in order), tuple(places), order, options.only is not None),
        options,
        sidecar,
        None if positions is None else Sourced(positions.value[kept], positions.origin, positions.guessed),
        found.pixel_um,
        Sourced("microscope", found.origin, guessed=found.origin == "TIFF"),
        None,
        read_names=False,
    )
    own = calibration.positions
    # what the file says of its positions holds for no others
    near = found.near if own is not None and positions is not None and own.origin == positions.origin else None
    source: FrameSource = found.source if kept == list(range(len(names))) else SelectedSource(found.source, tuple(kept))
    source, scaled = to_unit_range(source, report)
    notes = (*more, *found.notes, *calibration.notes, *scaled)
    calibration = replace(calibration, near=calibration.near or near)
    return calibration.of(source, name, path, notes=notes, objective=found.objective, parts=found.parts)


def _open_pages(
    header: ImageHeader, name: str, sidecar: Sidecar, notes: tuple[str, ...], options: OpenOptions
) -> FocalStack:
    """Open a photograph that holds several images, one slice each."""
    names = tuple(f"slice {k + 1}" for k in range(header.pages))
    order = tuple(range(header.pages))[:: -1 if options.reverse else 1]
    skipped = _skipped(tuple(names[k] for k in order), options)
    places = tuple(place for place in range(header.pages) if place not in skipped)
    headers = [replace(header, page=order[place]) for place in places]
    frames = Frames(tuple(names[k] for k in order), places, order)
    kind = _camera_kind(headers)
    calibration = calibrate(frames, options, sidecar, None, None, kind, None, read_names=False)
    source, _, more = make_source(headers, [names[order[place]] for place in places], options)
    return calibration.of(source, name, header.path, notes=(*notes, *more, *calibration.notes))


def _open_images(
    files: Sequence[Path],
    name: str,
    path: Path,
    sidecar: Sidecar,
    notes: tuple[str, ...],
    options: OpenOptions,
    report: Report,
) -> FocalStack:
    names = _unique_names(files)
    headers = read_headers(files, part(report, 0.0, 0.5))
    for header in headers:
        if isinstance(header, ImageHeader) and header.pages >= MIN_FRAMES:
            if len(headers) == 1:
                return _open_pages(header, name, sidecar, notes, options)
            raise StackError(
                f"{header.path.name} is a stack of its own ({header.pages} slices). "
                "Open that file; a folder is opened as a series of single images."
            )
    order = order_by_time(headers, names) if options.order == "time" else list(range(len(files)))
    if options.reverse:
        order.reverse()
    names = tuple(names[k] for k in order)
    skipped = _skipped(names, options)
    places = [place for place in range(len(order)) if place not in skipped]
    if not places:
        raise StackError("all frames are skipped.")
    try:
        source, good, more = make_source(
            [headers[order[place]] for place in places], [names[place] for place in places], options
        )
    except FrameError as error:
        raise FrameError(str(error), places[error.index], error.name) from error
    frames = Frames(names, tuple(places[k] for k in good), tuple(order), options.only is not None)
    calibration = calibrate_headers(source.headers, frames, options, sidecar)
    ranged, scaled = to_unit_range(source, part(report, 0.5, 1.0))
    return calibration.of(ranged, name, path, notes=(*notes, *more, *calibration.notes, *scaled))


def chosen_files(folder: Path, sidecar: Sidecar, only: Sequence[str]) -> tuple[tuple[Path, ...], Sidecar]:
    """Return the files called ``only`` in reading order, and what the sidecar says of them."""
    if sidecar.frames is None:
        return tuple(folder / name for name in sorted(only, key=natural_key)), sidecar
    kept = [k for k, name in enumerate(sidecar.frames) if name in set(only)]
    positions = sidecar.positions
    if positions is not None and len(positions) == len(sidecar.frames):
        positions = tuple(positions[k] for k in kept)
    frames = tuple(sidecar.frames[k] for k in kept)
    return tuple(folder / name for name in frames), replace(sidecar, frames=frames, positions=positions)


def calibrate_headers(
    headers: Sequence[ImageHeader], frames: Frames, options: OpenOptions, sidecar: Sidecar
) -> Calibration:
    """Bring together what single images and all around them say of positions and sizes; see `calibrate`.

    ``headers`` are those of the kept frames of ``frames``.
    """
    heights = [header.z for header in headers]
    distances = [header.distance_m for header in headers]
    sizes = [header.pixel_um for header in headers]
    from_file: Sourced[Floats] | None = None
    values = [height.value for height in heights if height is not None]
    if len(set(values)) == len(heights) and heights[0] is not None:
        from_file = Sourced(np.array(values), heights[0].origin, heights[0].guessed)
    return calibrate(
        frames,
        options,
        sidecar,
        from_file,
        sizes[0] if all(size == sizes[0] for size in sizes) else None,
        _camera_kind(headers),
        None if None in distances else np.array(distances, dtype=np.float64),
        read_names=True,
    )


def _camera_kind(headers: Sequence[ImageHeader]) -> Sourced[Kind] | None:
    """Return that distances are meant, where EXIF names a camera."""
    camera = Counter(header.camera for header in headers if header.camera).most_common(1)
    return Sourced("camera", f"EXIF ({camera[0][0]})", guessed=True) if camera else None


def _unique_names(files: Sequence[Path]) -> tuple[str, ...]:
    """Name frames by their files, with the folder where two are called the same."""
    times = Counter(path.name for path in files)
    return tuple(path.name if times[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in files)


def _skipped(names: Sequence[str], options: OpenOptions) -> set[int]:
    """Return the places of the frames to skip."""
    skipped = set()
    for one in options.skip:
        if isinstance(one, int):
            if not 0 <= one < len(names):
                raise SettingsError(f"there is no frame {one} to skip; there are {len(names)}, counted from 0.")
            skipped.add(one)
        elif one in names:
            skipped.add(names.index(one))
        else:
            raise SettingsError(f"there is no frame {one!r} to skip; the first is called {names[0]!r}.")
    return skipped
