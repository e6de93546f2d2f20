"""Adapt a network to the user's own instrument: labels by another method, biases tuned, a small file.

>>> tuned = adapt([Path("scan_01"), Path("scan_02")], Path("mine.safetensors"))       # doctest: +SKIP
>>> estimate(stack, EstimateSettings("fad", weights=tuned.weights))                    # doctest: +SKIP

Two parts, which a window may also call one after the other: `label_stack` aligns a stack and asks the
labelling method; its frames, labels and their confidence lie in a folder, from which they are read crop by
crop, so that memory does not grow with the number of stacks. `adapt` does so for all stacks, then lets
`dffnets.finetune` learn. Whatever stops it, the same call goes on from there: the work lies beside the
output, in a folder that ends in ``.tuning``, until it is done.

torch is imported inside the functions.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dffnets.shipped import WeightsCard, WeightsError, shipped_cards
from toposcope import __version__
from toposcope.core.align import ALIGN_MODES, AlignMode, align
from toposcope.core.calibration import to_coordinate
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.export import write_bytes
from toposcope.core.jobs import Cancelled, Progress, Report, part, silent
from toposcope.core.networks import chosen_device
from toposcope.core.scales import UNKNOWN, MeanPosition
from toposcope.core.scratch import SPARE
from toposcope.core.settings import checked, setting
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import FocalStack, to_grey
from toposcope.errors import OutputError, SettingsError, StackError, ToposcopeError

if TYPE_CHECKING:
    from dffnets.finetune import LabelledStack

WORK_SUFFIX: Final = ".tuning"

TRYING: Final = 0.02
"""Share of the progress that it takes to open every stack once."""

LABELLING: Final = 0.4
"""Share of the progress that labelling takes."""

NOTHING_SURE: Final = 0.01
"""Share of sure labels below which a stack is left out."""

SPARSE: Final = 0.05
"""Share of sure labels, over all stacks, below which there is a warning."""

AT_ENDS: Final = 0.7
"""Share of the sure labels at the first or last slice above which a stack is left out."""

AT_ODDS: Final = 0.15
"""Share of held-out labels within 1.5 slices of the network below which the two are not to be reconciled."""

DOUBTFUL: Final = 0.5
"""And below which there is a warning."""

OVERFITS: Final = 20
"""Stacks below which there is a warning before all weights are tuned."""

LEVELS: Final = np.round(np.arange(0.05, 0.951, 0.05), 2)
"""Least confidences for which it is kept how many sure labels lie at the ends of the sweep."""

PREVIEW_SAMPLES: Final = 2.5e6
"""Values of a stack that a preview looks at: some seconds of a CPU."""

PREVIEW_TILE: Final = 256

OnLine = Callable[[dict[str, Any]], None]
"""Takes what happened: ``stage`` is ``labels`` (``stack``, ``sure``, ``problem``) or ``step`` (see
`dffnets.finetune.Line`, and ``seconds_left``)."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How to adapt; what forms show."""

    variant: str = setting(
        "bias",
        "Tune",
        "biases only, which cannot do much harm; the layers of the last scores, too; or all weights",
        choices=("bias", "bias+head", "full"),
    )
    steps: int = setting(
        300, "Steps", "at most; it ends earlier when the held-out part gets no better", minimum=1, maximum=100_000
    )
    confidence: float = setting(0.4, "Least confidence", "of labels that count", minimum=0.05, maximum=0.95, step=0.05)
    held_out: float = setting(
        0.2, "Held out", "share of the stacks that is not learnt from but judges", minimum=0.05, maximum=0.5, step=0.05
    )
    crop: int = setting(
        96, "Crop", "side of the squares that are learnt from", minimum=32, maximum=512, step=32, unit="px"
    )
    reblur: float = setting(
        0.0,
        "Re-blur",
        "weight of the rule that depth and sharp picture, blurred as far as measured, must give the slices back",
        minimum=0.0,
        maximum=10.0,
        step=0.1,
    )
    seed: int = setting(0, "Seed", "of everything that is drawn at random", minimum=0, maximum=2**31 - 1)


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """What to adapt, by which labels, on which machine.

    ``base`` a network that is shipped; ``labels`` another method, with its own settings ``label_options``
    (None: usual); ``align``, ``device`` and ``threads`` as in `EstimateSettings`.
    """

    base: str = "fad"
    labels: str = "tft"
    label_options: Any = None
    options: TuneOptions = TuneOptions()
    align: AlignMode = "auto"
    device: str = "auto"
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one stack, in ``folder``.

    ``sure`` share of the pixels whose label is sure enough; ``problem`` why the stack teaches nothing, in
    a sentence, or None.
    """

    name: str
    folder: Path
    sure: float
    problem: str | None

    def depth(self) -> NDArray[np.float32]:
        """Return the labels, (H, W) focus coordinate in 0..1, NaN where there is none."""
        return np.load(self.folder / "depth.npy")  # type: ignore[no-any-return]

    def confidence(self) -> NDArray[np.float32]:
        """Return their confidence, (H, W) in 0..1."""
        return np.load(self.folder / "confidence.npy")  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it.

    ``weights`` the file, None where the base is the better one; ``before`` and ``after`` the mean disagreement
    with the held-out labels in slices, of the base and of the best state; ``notes`` sentences to be read.
    """

    weights: Path | None
    before: float
    after: float
    steps: int
    seconds: float
    labels: tuple[Labels, ...]
    notes: tuple[str, ...]
    curve: tuple[dict[str, float], ...]


def label_stack(stack: FocalStack, folder: Path, settings: TuneSettings, report: Report = silent) -> Labels:
    """Align ``stack``, label it by ``settings.labels``, and leave frames and labels in ``folder``.

    Labels at the first and the last slice are none: the sweep may end before the peak.

    Raises
    ------
    SettingsError
        If the method or its settings are wrong.
    FrameError
        If a frame cannot be read.
    StackError
        If the stack has more slices than networks take.
    OutputError
        If there is no room for the frames.
    """
    from dffnets.predict import MAX_SLICES

    if stack.n > MAX_SLICES:
        raise StackError(f"{stack.name} has {stack.n} slices; the networks take up to {MAX_SLICES}. Leave it out.")
    aligned, _ = align(stack, settings.align, part(report, 0.0, 0.2))
    wish = EstimateSettings(
        settings.labels, settings.label_options, align="none", threads=settings.threads, device=settings.device
    )
    result = estimate(aligned, wish, part(report, 0.2, 0.8))
    depth = to_coordinate(result.depth, stack.positions.value, stack.unit, stack.kind.value).astype(np.float32)
    sure = np.where(np.isfinite(depth), result.confidence, 0).astype(np.float32)
    place = aligned.coordinate
    margins = 0.5 * (place[1] - place[0]), 1 - 0.5 * (place[-1] - place[-2])
    ends = np.isfinite(depth) & ((depth < margins[0]) | (depth > margins[1]))
    at_ends = [float(ends[above].mean()) if (above := sure >= level).any() else 0.0 for level in LEVELS]
    sure[ends] = 0
    _write_frames(aligned, folder, part(report, 0.8, 1.0))
    _save(folder / "depth.npy", depth)
    _save(folder / "confidence.npy", sure)
    _write_facts(folder, {"name": stack.name, "coordinate": place.tolist(), "at_ends": at_ends}, sure, settings)
    return read_labels(folder)


def judged(folder: Path, settings: TuneSettings) -> Labels:
    """Judge the labels in ``folder`` again, by another least confidence."""
    _write_facts(folder, _facts(folder), np.load(folder / "confidence.npy", mmap_mode="r"), settings)
    return read_labels(folder)


def _write_facts(folder: Path, facts: dict[str, Any], sure: NDArray[np.float32], settings: TuneSettings) -> None:
    """Write what is known of a stack; the last of its files, which says that all is there."""
    level = settings.options.confidence
    share = float((sure >= level).mean())
    # what is wrong with a stack shows at a usual level: above it labels are few whatever they are of
    usual = min(level, TuneOptions().confidence)
    at_ends = float(np.interp(usual, LEVELS, facts["at_ends"]))
    problem = _problem(facts["name"], float((sure >= usual).mean()), at_ends)
    if problem is None and share < NOTHING_SURE:
        problem = (
            f"{facts['name']} has labels of a confidence of {level:g} or more for {100 * share:.1f} % of its pixels "
            "only. Lower the least confidence."
        )
    facts = facts | {"sure": share, "problem": problem}
    write_bytes(folder / "stack.json", json.dumps(facts).encode())


def _facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "stack.json").read_text("utf-8"))
    return facts


def _problem(name: str, share: float, at_ends: float) -> str | None:
    if at_ends > AT_ENDS:
        return (
            f"{name} is out of focus everywhere: {100 * at_ends:.0f} % of its sure labels lie at the first or the last "
            "slice, so the sweep ends before it comes into focus."
        )
    if share < NOTHING_SURE:
        return (
            f"{name} has sure labels for {100 * share:.1f} % of its pixels only: it is out of focus everywhere, or has "
            "no texture."
        )
    return None


def _write_frames(stack: FocalStack, folder: Path, report: Report) -> None:
    """Write the grey frames of a stack as frames.npy, (N, H, W) in 8 or 16 bits."""
    shape = (stack.n, *stack.shape)
    is_fine = stack.source.dtype != np.uint8
    dtype, white = (np.uint16, 65535) if is_fine else (np.uint8, 255)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize + 8 * int(np.prod(stack.shape))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free - SPARE
        if size > free:
            raise OutputError(
                f"the frames of {stack.name} need {size / 1e9:.1f} GB in {folder.parent}, "
                f"{max(free, 0) / 1e9:.1f} GB are free. Free some, or put the result on another disk."
            )
        frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", dtype, shape)
        for i in range(stack.n):
            report(Progress(i / stack.n, f"keeping slice {i + 1} of {stack.n}"))
            frames[i] = np.rint(np.clip(to_grey(stack.read(i)), 0, 1) * white)
        frames.flush()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}. Choose another place for the result."
        ) from error


def _save(path: Path, values: NDArray[np.float32]) -> None:
    try:
        np.save(path, values)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Choose another place for the result."
        ) from error


def read_labels(folder: Path) -> Labels:
    """Return the labels that `label_stack` left in ``folder``."""
    facts = _facts(folder)
    return Labels(facts["name"], folder, facts["sure"], facts["problem"])


class OnDisk:
    """An array in a ``.npy`` file of which parts are read.

    It keeps no file open in between, as a memory map does: a hundred stacks have three files each, and some systems
    let a process open 256.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shape: tuple[int, ...] = np.load(path, mmap_mode="r").shape

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        return np.array(np.load(self._path, mmap_mode="r")[index])


def _labelled(labels: Labels) -> LabelledStack:
    from dffnets.finetune import LabelledStack

    frames, depth, confidence = (OnDisk(labels.folder / f"{name}.npy") for name in ("frames", "depth", "confidence"))
    place = np.array(_facts(labels.folder)["coordinate"], np.float32)
    return LabelledStack(labels.name, frames, place, depth, confidence)


def preview_step(labels: Labels) -> int:
    """Return by how much a labelled stack is reduced for `network_preview`: 1, 2, ..."""
    n, height, width = np.load(labels.folder / "frames.npy", mmap_mode="r").shape
    return max(1, math.ceil(math.sqrt(n * height * width / PREVIEW_SAMPLES)))


def network_preview(
    labels: Labels, base: str, weights: Path | None = None, device: str = "auto", report: Report = silent
) -> NDArray[np.float32]:
    """Return what a network says of a labelled stack, at a size that takes seconds.

    (h, w) focus coordinate in 0..1 of every `preview_step`-th pixel, NaN where the network does not know.
    ``weights`` what adapting has learned so far, None for the base.

    Raises
    ------
    SettingsError
        If there is no such network, or the file does not fit it.
    """
    from dffnets.predict import predict_tiles
    from dffnets.shipped import load_network

    cards = {card.name: card for card in shipped_cards()}
    if base not in cards:
        raise SettingsError(f"there is no network {base!r}; there are {', '.join(cards)}.")
    card, step = cards[base], preview_step(labels)
    try:
        network = load_network(card, weights)
    except WeightsError as error:
        raise SettingsError(str(error)) from error
    whole = np.load(labels.folder / "frames.npy", mmap_mode="r")
    size = (-(-whole.shape[2] // step), -(-whole.shape[1] // step))
    frames = np.stack(
        [plane if step == 1 else cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in whole]
    )
    place = np.array(_facts(labels.folder)["coordinate"], np.float32)
    positions = MeanPosition(frames.shape[1:], place)
    tile = min(PREVIEW_TILE, card.largest_tile)
    said = f"what {card.title} sees"
    predict_tiles(
        network,
        frames,
        place,
        positions.add,
        card.multiple,
        chosen_device(device),
        tile,
        tile // 4,
        lambda share: report(Progress(share, said)),
    )
    return np.where(positions.relative_spread() < UNKNOWN, positions.mean, np.float32(np.nan))


def adapt(
    stacks: Sequence[Path | Sequence[Path]],
    output: Path,
    settings: TuneSettings = TuneSettings(),
    report: Report = silent,
    on_line: OnLine | None = None,
    reading: OpenOptions | Sequence[OpenOptions] | None = None,
    keep_work: bool = False,
) -> Tuned:
    """Adapt a network to ``stacks`` and write what it learnt to ``output``.

    Goes on where an earlier call with the same stacks and settings stopped.

    Parameters
    ----------
    stacks : each one what `open_stack` takes
    output : a .safetensors file of some kilobytes, to be given as weights of the base; not written
        when the held-out part got no better
    reading : how the stacks are read, all alike or one for each
    keep_work : leave the folder of the work, for whoever needs the labels

    Raises
    ------
    SettingsError
        If a setting is wrong, or ``output`` has unfinished work of another kind beside it.
    StackError
        If no stack teaches anything, or labels and network contradict each other.
    OutputError
        If the file, or the work beside it, cannot be written.
    Cancelled
        From ``report``; what was done is kept.
    """
    from dffnets.finetune import TuneError

    tell, readings = on_line or (lambda line: None), _readings(reading, len(stacks))
    card = _checked(stacks, output, settings, readings)
    work = output.with_name(output.stem + WORK_SUFFIX)
    _claim(work, stacks, settings, readings)
    labels: list[Labels] = []
    try:
        _try_all(stacks, work, part(report, 0, TRYING), readings)
        labels = _label_all(stacks, work, settings, part(report, TRYING, LABELLING), tell, readings)
        useful = [one for one in labels if one.problem is None]
        notes = [f"{one.problem} It was left out." for one in labels if one.problem]
        if not useful:
            raise StackError(f"no stack teaches anything. {labels[0].problem} Give others, or lower the confidence.")
        useful, small = _large_enough(useful, settings, card)
        notes += small + warnings([one.sure for one in useful], settings)
        tuned = _tune(card, useful, labels, work, output, settings, notes, part(report, LABELLING, 1), tell)
    except Cancelled as error:
        raise Cancelled("interrupted; what was done is kept, and the same command goes on from there.") from error
    except (ToposcopeError, TuneError, WeightsError) as error:
        if not keep_work and not isinstance(error, OutputError) and _is_hopeless(work, bool(labels)):
            shutil.rmtree(work, ignore_errors=True)  # a better call must not be refused for what this one left
        if isinstance(error, ToposcopeError):
            raise
        raise (SettingsError if isinstance(error, WeightsError) else StackError)(str(error)) from error
    if not keep_work:
        shutil.rmtree(work, ignore_errors=True)
    report(Progress(1.0, "done"))
    return tuned


def _checked(
    stacks: Sequence[Path | Sequence[Path]], output: Path, settings: TuneSettings, readings: Sequence[OpenOptions]
) -> WeightsCard:
    """Refuse what would fail later; return the card of the base."""
    cards = {card.name: card for card in shipped_cards()}
    if not stacks:
        raise SettingsError("there is nothing to adapt to: give one stack or more.")
    given: list[tuple[list[Path], OpenOptions]] = []
    for path, reading in zip(stacks, readings, strict=True):
        paths = [one.resolve() for one in ([path] if isinstance(path, Path) else path)]
        if (paths, reading) in given:
            raise SettingsError(f"{paths[0]} is given twice, so it would judge what was learnt from it. Give it once.")
        given.append((paths, reading))
    if settings.base not in cards:
        raise SettingsError(f"there is no network {settings.base!r} to adapt; there are {', '.join(cards)}.")
    if settings.labels not in METHODS:
        raise SettingsError(f"there is no method {settings.labels!r} to label with; known are {', '.join(METHODS)}.")
    if settings.labels == settings.base:
        raise SettingsError(f"{settings.base} cannot teach itself. Label with another method, such as tft.")
    if settings.align not in ALIGN_MODES:
        raise SettingsError(f"align is {settings.align!r}; choose one of {', '.join(ALIGN_MODES)}.")
    checked(TuneOptions, settings.options, "adapting")
    METHODS[settings.labels].checked(settings.label_options)
    chosen_device(settings.device)
    if output.is_dir():
        raise SettingsError(f"{output} is a folder. Name a file to write, such as {output / 'mine.safetensors'}.")
    if output.suffix != ".safetensors":
        raise SettingsError(f"{output.name} must end in .safetensors, such as {output.stem or 'mine'}.safetensors.")
    return cards[settings.base]


def _readings(reading: OpenOptions | Sequence[OpenOptions] | None, count: int) -> Sequence[OpenOptions]:
    if reading is None or isinstance(reading, OpenOptions):
        return [reading or OpenOptions()] * count
    return reading


def _is_hopeless(work: Path, all_labelled: bool) -> bool:
    """Whether nothing in the folder of the work would spare a later call time."""
    if (work / "checkpoint.safetensors").exists():
        return False
    return all_labelled or not any(work.glob("stack-*/stack.json"))


def _claim(
    work: Path, stacks: Sequence[Path | Sequence[Path]], settings: TuneSettings, readings: Sequence[OpenOptions]
) -> None:
    """Take the folder of the work; refuse one that holds work of another kind."""
    paths = [[str(Path(p).resolve()) for p in ([one] if isinstance(one, Path) else one)] for one in stacks]
    asked = asdict(settings) | {"device": None, "threads": None}  # the machine may be another
    read = [asdict(one) for one in readings]
    mine = json.dumps({"stacks": paths, "settings": asked, "reading": read}, sort_keys=True, default=str)
    key = work / "adaptation.json"
    if key.exists() and key.read_text("utf-8") != mine:
        raise SettingsError(
            f"{work} holds unfinished work on other stacks or with other settings. Remove that folder, or name "
            "another output."
        )
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{work} cannot be made: {error.strerror or error}. Choose another output.") from error
    write_bytes(key, mine.encode())


def _try_all(
    stacks: Sequence[Path | Sequence[Path]], work: Path, report: Report, readings: Sequence[OpenOptions]
) -> None:
    """Open all stacks that are to be labelled before time is spent on the first."""
    from dffnets.predict import MAX_SLICES

    for k, path in enumerate(stacks):
        if (work / f"stack-{k:03d}" / "stack.json").exists():
            continue
        report(Progress(k / len(stacks), f"opening stack {k + 1} of {len(stacks)}"))
        stack = open_stack(path, readings[k])
        stack.close()
        if stack.n > MAX_SLICES:
            raise StackError(f"{stack.name} has {stack.n} slices; the networks take up to {MAX_SLICES}. Leave it out.")


def _large_enough(
    useful: Sequence[Labels], settings: TuneSettings, card: WeightsCard
) -> tuple[list[Labels], list[str]]:
    """Return the stacks that at least half a crop fits into, and a note for each of the others.

    One small stack would else make the crops of all small, or end the work.
    """
    from dffnets.finetune import FEW_STACKS

    sizes = [np.load(one.folder / "depth.npy", mmap_mode="r").shape for one in useful]
    share = settings.options.held_out if len(useful) < FEW_STACKS else 0.0
    sides = [min(min(h, w), max(h, w) - round(share * max(h, w))) for h, w in sizes]
    crop = min(settings.options.crop, max(sides))
    least = min(max(crop // 2, card.multiple), max(sides))
    notes = [
        f"{one.name} has {w} × {h} pixels, too few beside the others for crops of {crop}. It was left out."
        for one, side, (h, w) in zip(useful, sides, sizes, strict=True)
        if side < least
    ]
    return [one for one, side in zip(useful, sides, strict=True) if side >= least], notes


def _label_all(
    stacks: Sequence[Path | Sequence[Path]],
    work: Path,
    settings: TuneSettings,
    report: Report,
    tell: OnLine,
    readings: Sequence[OpenOptions],
) -> list[Labels]:
    """Label the stacks that have no labels yet; one that cannot be read is an error."""
    found = []
    for k, path in enumerate(stacks):
        folder, share = work / f"stack-{k:03d}", part(report, k / len(stacks), (k + 1) / len(stacks))
        if (folder / "stack.json").exists():
            share(Progress(1.0, "labels are there"))
            found.append(read_labels(folder))
        else:

            def told(progress: Progress, k: int = k, share: Report = share) -> None:
                share(Progress(progress.fraction, f"labels, stack {k + 1} of {len(stacks)}: {progress.text}"))

            told(Progress(0.0, "opening"))
            stack = open_stack(path, readings[k])
            try:
                found.append(label_stack(stack, folder, settings, told))
            finally:
                stack.close()
        one = found[-1]
        tell({"stage": "labels", "stack": one.name, "sure": one.sure, "problem": one.problem})
    return found


def warnings(sure: Sequence[float], settings: TuneSettings) -> list[str]:
    """Return what to think of before stacks are learned from; ``sure`` shares of sure labels, one a stack."""
    notes = []
    share = sum(sure) / max(1, len(sure))
    if sure and share < SPARSE:
        notes.append(
            f"Labels are sparse: sure for {100 * share:.1f} % of the pixels. Adapting may do little; lower the "
            "confidence, or give stacks with more texture."
        )
    if sure and settings.options.variant == "full" and len(sure) < OVERFITS:
        stacks = f"{len(sure)} stack{'s' if len(sure) > 1 else ''}"
        notes.append(f"All weights learn from {stacks}: they easily learn these by heart. Prefer biases only.")
    return notes


def _tune(
    card: WeightsCard,
    useful: Sequence[Labels],
    labels: Sequence[Labels],
    work: Path,
    output: Path,
    settings: TuneSettings,
    notes: list[str],
    report: Report,
    tell: OnLine,
) -> Tuned:
    import torch

    from dffnets.finetune import LEAST_GAIN, TuneConfig, finetune

    if settings.threads:
        torch.set_num_threads(settings.threads)
    device, options = chosen_device(settings.device), settings.options
    config = TuneConfig(
        variant=options.variant,  # type: ignore[arg-type]
        steps=options.steps,
        confidence=options.confidence,
        held_out=options.held_out,
        crop=options.crop,
        reblur=options.reblur,
        device=device,
        seed=options.seed,
    )
    began: tuple[float, float] | None = None

    def told(line: dict[str, float]) -> None:
        nonlocal began
        began = began or (line["step"], line["seconds"])
        done = line["step"] - began[0]
        left = (line["seconds"] - began[1]) / done * (options.steps - line["step"]) if done else math.nan
        if "held_out" in line and line["step"] == 0:
            _refuse_odds(line["agreeing"], card, settings)
        words = [f"step {line['step']:.0f} of {options.steps}"]
        words += [f"loss {line['loss']:.4f}"] if "loss" in line else []
        words += [f"held-out {line['held_out']:.3f} slices"] if "held_out" in line else []
        words += [f"{left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left"] if left == left else []
        if "loss" in line or "held_out" in line:
            tell({"stage": "step", **line, "seconds_left": None if math.isnan(left) else left})
        report(Progress(line["fraction"], ", ".join(words)))

    about = {"labels": settings.labels, "title": output.stem, "toposcope": __version__}
    try:
        found = finetune(card, [_labelled(one) for one in useful], work, config, told, about)
    except StackError:  # a second call must not go on from here
        (work / "checkpoint.safetensors").unlink(missing_ok=True)
        raise
    if found.curve[0]["agreeing"] < DOUBTFUL:
        text = _agreement(found.curve[0]["agreeing"], card, settings)
        notes.append(f"{text[0].upper()}{text[1:]} only. Look at the labels before you trust the result.")
    if found.delta is None:
        notes.append(
            f"The held-out part got no better by {100 * LEAST_GAIN:g} %: {found.before:.3f} slices from its labels by "
            f"{card.title} as it is, {found.after:.3f} at best after adapting. The base stays selected, and nothing "
            "was written."
        )
    else:
        write_bytes(output, found.delta.read_bytes())
    return Tuned(
        output if found.delta else None,
        found.before,
        found.after,
        found.steps,
        found.seconds,
        tuple(labels),
        tuple(notes),
        found.curve,
    )


def _agreement(agreeing: float, card: WeightsCard, settings: TuneSettings) -> str:
    return (
        f"labels by {settings.labels} and {card.title} agree within 1.5 slices for {100 * agreeing:.0f} % of the sure "
        "held-out pixels"
    )


def _refuse_odds(agreeing: float, card: WeightsCard, settings: TuneSettings) -> None:
    """Refuse labels that contradict the network."""
    if agreeing < AT_ODDS:
        raise StackError(
            f"{_agreement(agreeing, card, settings)}: one of them is wrong about this instrument. Look at both on "
            "one of the stacks, check its positions, and label with another method."
        )
