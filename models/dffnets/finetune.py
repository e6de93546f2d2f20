"""Adapt a trained network to an instrument by stacks without truth, labelled by another method.

The claim is that of FAD (Yan et al., IJCAI 2025, section 4.5): labels of a classical method on the user's own
stacks, and a network of which only the biases are tuned, after BitFit (Ben Zaken et al., ACL 2022). The
paper says no more than that; loss, masks, schedule and stop are ours.

*Biases* are exactly those: of convolutions, linear and recurrent layers, and the shifts of normalisations. Not
their scales; running statistics stay as they are, since the network runs as in prediction. All else is
bit for bit the base.

One step: two augmentations of the same crops (slices in reverse, some of the slices, gamma, noise).
The first is held against the labels, weighed by their confidence and only where they agree with the
network within some slices, more as it learns; against what the network says of the second (both
should be the same); against the rule that a curve has one peak; and, if asked, against the slices themselves
(`dffnets.reblur`). What comes out is a small file of the tuned tensors, which `dffnets.shipped.load_network`
lays over the base.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from dffnets import losses, reblur
from dffnets.layers import expected_position
from dffnets.predict import GreyStack, forward, statistics
from dffnets.shipped import WeightsCard, load_network
from dffnets.training import write

Variant = Literal["bias", "bias+head", "full"]
VARIANTS: Final[tuple[Variant, ...]] = ("bias", "bias+head", "full")

HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "light": ("score.0.",),
    "fad": ("score.0.",),
    "dffwild": ("depth.score.2.",),
    "dualfocus": ("score.2.",),
    "focdepthformer": ("query.", "key."),
}
"""Beginnings of the names of the layers that give the last scores."""

RATES: Final[Mapping[Variant, float]] = {"bias": 3e-3, "bias+head": 1e-3, "full": 5e-5}
"""Learning rates: smaller where more can be spoilt. Seen on 24 stacks of the foreign microscope of
``tests/benchmarks/adaptation.py --develop``, biases of the light network: RMSE .131 by 3e-3 in 100 steps, .132 in 200;
.133 by 1e-2 in 120; base .166; by the truth in place of labels .128. What did not matter there (.130 to .132): no
agreement mask, labels of less confidence, labels filled in everywhere, squared errors, re-blur."""

SLOWER: Final[Mapping[str, float]] = {"focdepthformer": 0.25}
"""Factors of those rates for networks that take less. Seen there on 3 stacks: 3e-3 spoils FocDepthFormer (RMSE .225
to .228 in 100 steps), 8e-4 does not (on 8 others .160 to .159 in 60)."""

FEW_STACKS: Final = 4
"""With fewer stacks, a part of each is held out in place of whole stacks."""

LARGEST_WINDOW: Final = 192
"""Side in pixels of the windows in which the held-out part is looked at."""

CLIPPED: Final = 3.0
"""Slices above which a disagreement on the held-out part counts no more: such labels are wrong as often as not."""

CONTEXT: Final = 32
"""Pixels around each of those windows that the network sees, too."""

LEAST_GAIN: Final = 0.01
"""Share by which the held-out disagreement must fall before an adapted state is preferred to the base."""

MEASURED: Final = 128
MEASURED_SLICES: Final = 9
"""Side of the window in which a stack's blur is measured, and the slices that are looked at for it, at most."""

WINDOWS: Final = 24
"""Windows of the held-out part that are looked at, at most."""

SAVE_SECONDS: Final = 10.0
"""A kill loses no more than that much work."""

DELTA: Final = "dffnets.delta"
"""Value of ``format`` in the metadata of files that hold tuned tensors only."""


class Map(Protocol):
    """What is known of each pixel of a stack: (H, W) numbers, sliced like an array (on disk will do)."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]: ...


class TuneError(ValueError):
    """The network cannot be adapted; the text says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledStack:
    """One stack and what another method says of it.

    ``frames`` (N, H, W) grey, any scale, may be memory-mapped: only crops are read. ``positions`` (N,) in 0..1,
    ascending. ``depth`` (H, W) focus coordinate in 0..1, and ``confidence`` (H, W) 0..1, 0 where there is
    no label.
    """

    name: str
    frames: GreyStack
    positions: NDArray[np.float32]
    depth: Map
    confidence: Map


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """How to adapt.

    ``variant`` what is tuned: biases, those and the layers of the last scores, or everything.
    ``steps`` at most; ``patience`` checks without progress on the held-out part end it earlier, and a check
    comes every ``check_every`` steps. ``learning_rate`` 0 means that of `RATES` and `SLOWER`. ``confidence`` of
    labels that count. ``agreement`` slices within which label and network must agree, at the first and last step.
    ``consistency``, ``one_peak`` and ``reblur`` weigh the terms that need no label. ``slices`` most of a stack that
    one step sees. ``held_out`` share of the stacks, or of each stack. ``device`` and ``seed`` as usual.
    """

    variant: Variant = "bias"
    steps: int = 300
    check_every: int = 20
    patience: int = 6
    batch: int = 2
    crop: int = 96
    slices: int = 12
    learning_rate: float = 0.0
    confidence: float = 0.4
    agreement: tuple[float, float] = (1.5, 4.0)
    consistency: float = 0.3
    one_peak: float = 0.3
    reblur: float = 0.0
    held_out: float = 0.2
    device: str = "cpu"
    seed: int = 0


Line = dict[str, float]
"""What is told after a step: ``step``, ``fraction``, ``seconds``, ``loss``, ``kept`` (share of sure labels that
agree); after a check also ``held_out``: mean disagreement with the held-out labels in slices, and ``best``."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What came of it: ``delta`` the file, None where the base is better; ``before`` and ``after`` the disagreement
    with the held-out labels in slices; ``steps`` done; ``curve`` the lines with a check, ``seconds``."""  # noqa: D205, D209

    delta: Path | None
    before: float
    after: float
    steps: int
    seconds: float
    curve: tuple[Line, ...] = field(default=())


def bias_terms(network: nn.Module) -> list[str]:
    """Return the names of the bias terms: whose last part is a bias (``bias``, ``bias_ih_l0``, ``in_proj_bias``)."""
    return [name for name, _ in network.named_parameters() if "bias" in name.rpartition(".")[2]]


def tuned_terms(network: nn.Module, name: str, variant: Variant) -> list[str]:
    """Return the names of the parameters that a variant tunes, in the network's own order.

    Raises
    ------
    TuneError
        If nobody has said which layers are the last of this network.
    """
    every = [one for one, _ in network.named_parameters()]
    if variant == "full":
        return every
    chosen = set(bias_terms(network))
    if variant == "bias+head":
        if name not in HEADS:
            raise TuneError(f"the last layer of {name} is not known. Choose the variant bias or full.")
        chosen |= {one for one in every if one.startswith(HEADS[name])}
    return [one for one in every if one in chosen]


@dataclass(frozen=True, slots=True)
class Region:
    """Rows and columns of one stack: to learn from, or to look at."""

    stack: int
    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def divide(shapes: Sequence[tuple[int, int]], share: float, seed: int) -> tuple[list[Region], list[Region]]:
    """Return the regions to learn from, and those held out.

    Whole stacks from `FEW_STACKS` on, drawn by ``seed``; else the last rows or columns of each stack, across
    its longer side.
    """
    whole = [Region(k, slice(0, h), slice(0, w)) for k, (h, w) in enumerate(shapes)]
    if len(shapes) >= FEW_STACKS:
        count = max(1, round(share * len(shapes)))
        chosen = set(np.random.default_rng((seed, 1)).permutation(len(shapes))[:count].tolist())
        return [r for r in whole if r.stack not in chosen], [r for r in whole if r.stack in chosen]
    learnt, held = [], []
    for k, (h, w) in enumerate(shapes):
        if h >= w:
            cut = h - max(1, round(share * h))
            parts = Region(k, slice(0, cut), slice(0, w)), Region(k, slice(cut, h), slice(0, w))
        else:
            cut = w - max(1, round(share * w))
            parts = Region(k, slice(0, h), slice(0, cut)), Region(k, slice(0, h), slice(cut, w))
        learnt.append(parts[0])
        held.append(parts[1])
    return learnt, held


Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class Crops:
    """Draws crops and their two augmentations; one generator, whose state a checkpoint keeps."""

    def __init__(
        self, stacks: Sequence[LabelledStack], regions: Sequence[Region], config: TuneConfig, card: WeightsCard
    ) -> None:
        self.stacks, self.regions, self.config = stacks, regions, config
        self.random = np.random.default_rng((config.seed, 2))
        self._scales: dict[int, tuple[float, float]] = {}
        self._slopes: dict[int, float] = {}
        smallest = min(min(region.size) for region in regions)
        self.crop = min(config.crop, card.largest_tile, smallest) // card.multiple * card.multiple
        if not self.crop:
            raise TuneError(
                f"the smallest part to learn from has {smallest} pixels; {card.title} needs {card.multiple}. "
                "Leave small stacks out."
            )

    def scale(self, k: int) -> tuple[float, float]:
        """Return mean and deviation of stack ``k``, which is read whole the first time."""
        if k not in self._scales:
            self._scales[k] = statistics(self.stacks[k].frames)
        return self._scales[k]

    def slope(self, k: int) -> float:
        """Return the blur of stack ``k`` in pixels per unit of its coordinate, by its labels, the first time measured.

        On the surest of the windows of `MEASURED` pixels, and on `MEASURED_SLICES` slices at most; 0 where no label
        is sure, which leaves the stack out of re-blur.
        """
        if k not in self._slopes:
            stack = self.stacks[k]
            windows = _windows([region for region in self.regions if region.stack == k], MEASURED)
            best = max(windows, key=lambda one: float(stack.confidence[one.rows, one.columns].sum()))
            window = (best.rows, best.columns)
            n = stack.frames.shape[0]
            kept = np.unique(np.linspace(0, n - 1, min(n, MEASURED_SLICES)).round().astype(int))
            mean, deviation = self.scale(k)
            cut = np.stack([np.asarray(stack.frames[slice(i, i + 1), *window])[0] for i in kept]).astype(np.float32)
            sure = np.where(stack.confidence[window] >= self.config.confidence, stack.confidence[window], 0)
            arrays = (
                (cut - np.float32(mean)) / np.float32(deviation + 1e-4),
                stack.positions[kept],
                np.nan_to_num(stack.depth[window]),
                sure,
            )
            tensors = [torch.from_numpy(np.array(array, dtype=np.float32)) for array in arrays]
            self._slopes[k] = reblur.measure_slope(*tensors) if sure.any() else 0.0
        return self._slopes[k]

    def batch(self) -> Batch:
        """Return two augmentations and their common labels.

        Frames (B, 3, N, h, w) and positions (B, N) of the first, the same of the second, whose slices run the
        other way; depth and confidence (B, h, w) for the first; (B,) the slice step of the whole stack, and (B,)
        the blur in pixels per unit of those positions, 0 where nothing asks for it.
        """
        n = min(self.config.slices, *(self.stacks[r.stack].frames.shape[0] for r in self.regions))
        n = int(self.random.integers(max(3, min(5, n)), n + 1))
        drawn = [self._draw(n) for _ in range(self.config.batch)]
        parts = [torch.stack(part) for part in zip(*drawn, strict=True)]
        return tuple(part.to(self.config.device) for part in parts)  # type: ignore[return-value]

    def _draw(self, n: int) -> tuple[Tensor, ...]:
        random = self.random
        best = (-1.0, self.regions[0], 0, 0)
        for _ in range(8):  # a place with labels, if there is one
            region = self.regions[int(random.integers(len(self.regions)))]
            top, left = (int(random.integers(side - self.crop + 1)) for side in region.size)
            top, left = top + region.rows.start, left + region.columns.start
            sure = self.stacks[region.stack].confidence[top : top + self.crop, left : left + self.crop]
            share = float((sure >= self.config.confidence).mean())
            if share > best[0]:
                best = (share, region, top, left)
            if share > 0.3:
                break
        _, region, top, left = best
        stack = self.stacks[region.stack]
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        kept = self._subset(stack.frames.shape[0], n)
        mean, deviation = self.scale(region.stack)
        cut = np.stack([np.asarray(stack.frames[slice(i, i + 1), window[0], window[1]])[0] for i in kept])
        cut = (cut.astype(np.float32) - np.float32(mean)) / np.float32(deviation + 1e-4)
        positions = stack.positions[kept].astype(np.float32)
        low, span = positions[0], positions[-1] - positions[0]
        depth = (stack.depth[window].astype(np.float32) - low) / span
        sure = stack.confidence[window].astype(np.float32)
        sure = np.where((sure >= self.config.confidence) & (depth >= 0) & (depth <= 1), sure, 0)  # also drops NaN
        depth = np.nan_to_num(depth)
        positions = (positions - low) / span
        turns = int(random.integers(8))
        cut, depth, sure = (_turned(part, turns) for part in (cut, depth, sure))
        if random.random() < 0.5:  # up and down are alike
            cut, positions, depth = cut[::-1], 1 - positions[::-1], 1 - depth
        first, second = self._look(cut), self._look(cut)[::-1]
        step = 1 / (stack.frames.shape[0] - 1) / float(span)
        blur = np.float32(self.slope(region.stack) * span if self.config.reblur else 0)
        arrays = (first, positions, second, 1 - positions[::-1], depth, sure, np.float32(step), blur)
        tensors = [torch.from_numpy(np.array(array, dtype=np.float32)) for array in arrays]
        for k in (0, 2):
            tensors[k] = tensors[k].expand(3, -1, -1, -1)
        return tuple(tensors)

    def _subset(self, available: int, n: int) -> list[int]:
        """Return n ascending slices: evenly spread over the stack, a run, or any."""
        kind = self.random.random()
        if kind < 0.5:
            return np.linspace(0, available - 1, n).round().astype(int).tolist()  # type: ignore[no-any-return]
        if kind < 0.75:
            first = int(self.random.integers(available - n + 1))
            return list(range(first, first + n))
        return sorted(int(k) for k in self.random.choice(available, n, replace=False))

    def _look(self, cut: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the crop as another camera would show it: contrast, a gamma about its grey values, noise."""
        random = self.random
        if random.random() < 0.5:  # a gamma on standardised values: brightness 4 deviations below the mean is black
            bright = np.maximum(cut / 8 + 0.5, 1e-3)
            cut = (8 * (bright ** np.float32(random.uniform(0.8, 1.25)) - 0.5)).astype(np.float32)
        cut = cut * np.float32(random.uniform(0.8, 1.25)) + np.float32(random.uniform(-0.2, 0.2))
        if random.random() < 0.5:
            noise = random.standard_normal(cut.shape, dtype=np.float32)
            cut = cut + np.float32(random.uniform(0, 0.1)) * noise
        return cut


def _turned(array: NDArray[np.float32], turns: int) -> NDArray[np.float32]:
    """Return one of the eight ways to lay (..., H, W) down."""
    array = np.rot90(array, turns & 3, (-2, -1))
    return array[..., ::-1] if turns > 3 else array


def disagreement(
    network: nn.Module,
    card: WeightsCard,
    stacks: Sequence[LabelledStack],
    regions: Sequence[Region],
    config: TuneConfig,
    scale: Callable[[int], tuple[float, float]],
    breathe: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Return how far the network is from the labels of ``regions``, and the share of them that agree.

    The mean of the absolute differences in slices, each at most `CLIPPED`, weighed by the labels' confidence; and
    the share within 1.5 slices. Labels below the confidence do not count; NaN without any. ``scale`` gives mean
    and deviation of a stack. ``breathe`` is called between windows; whatever it raises stops the work.
    """
    off = near = weight = 0.0
    for region in _windows(regions, min(LARGEST_WINDOW, card.largest_tile) - 2 * CONTEXT):
        breathe()
        stack = stacks[region.stack]
        window = (region.rows, region.columns)
        sure = np.where(stack.confidence[window] >= config.confidence, stack.confidence[window], 0)
        if not sure.any():
            continue
        mean, deviation = scale(region.stack)
        rows, columns = (
            slice(max(one.start - CONTEXT, 0), one.stop + CONTEXT) for one in window
        )  # what lies around is seen, not asked about
        cut = (np.asarray(stack.frames[slice(None), rows, columns]).astype(np.float32) - mean) / (deviation + 1e-4)
        frames = torch.from_numpy(cut.astype(np.float32)).to(config.device)
        positions = torch.from_numpy(stack.positions.astype(np.float32)).to(config.device)
        probability = forward(network, frames, positions, card.multiple, False)
        top, left = region.rows.start - rows.start, region.columns.start - columns.start
        depth = expected_position(probability[None], positions[None])[0].cpu().numpy()
        depth = depth[top : top + sure.shape[0], left : left + sure.shape[1]]
        slices = np.abs(np.where(sure > 0, depth - stack.depth[window], 0)) * (len(stack.positions) - 1)
        off += float((sure * np.minimum(slices, CLIPPED)).sum())
        near += float((sure * (slices < 1.5)).sum())
        weight += float(sure.sum())
    return (off / weight, near / weight) if weight else (math.nan, math.nan)


def _windows(regions: Sequence[Region], side: int) -> list[Region]:
    """Return windows of ``side`` and less that cover the regions, or `WINDOWS` of them, evenly taken."""
    found = [
        Region(
            region.stack,
            slice(top, min(top + side, region.rows.stop)),
            slice(left, min(left + side, region.columns.stop)),
        )
        for region in regions
        for top in range(region.rows.start, region.rows.stop, side)
        for left in range(region.columns.start, region.columns.stop, side)
    ]
    if len(found) > WINDOWS:
        found = [found[k] for k in np.linspace(0, len(found) - 1, WINDOWS).round().astype(int)]
    return found


def loss_of(network: nn.Module, batch: Sequence[Tensor], config: TuneConfig, within: float) -> tuple[Tensor, Tensor]:
    """Return the loss of one step, and the share of sure labels that agree with the network.

    ``within`` slices of the whole stack agree. Label terms: absolute error and 0.3 times the cross entropy.
    """
    frames, positions, other, turned, depth, sure, step, blur = batch
    probability = network(frames, positions)[-1]
    found = expected_position(probability, positions)
    agrees = ((found.detach() - depth).abs() <= within * step[:, None, None]).float()
    mask = sure * agrees
    loss = losses.absolute_error(probability, positions, depth, mask)
    loss = loss + 0.3 * losses.cross_entropy(probability, positions, depth, mask)
    everywhere = torch.ones_like(depth)
    if config.one_peak:
        loss = loss + config.one_peak * losses.focal_variation(probability, everywhere)
    if config.consistency:
        with torch.no_grad():
            again = 1 - expected_position(network(other, turned)[-1], turned)
        loss = loss + config.consistency * losses.masked_mean((found - again).abs(), everywhere)
    if config.reblur:
        grey = frames[:, 0]
        changes = (grey - grey.mean(1, keepdim=True)).square().mean((1, 2, 3)).clamp(min=1e-6)
        off = reblur.inconsistency(grey, positions, found, blur).mean((1, 2)) / changes
        loss = loss + config.reblur * losses.masked_mean(off, blur > 0)
    return loss, mask.sum() / sure.sum().clamp(min=1e-6)


def finetune(
    card: WeightsCard,
    stacks: Sequence[LabelledStack],
    folder: Path,
    config: TuneConfig = TuneConfig(),
    report: Callable[[Line], None] | None = None,
    about: Mapping[str, Any] | None = None,
) -> TuneResult:
    """Adapt the network of ``card``; go on from the checkpoint in ``folder`` if there is one.

    ``report`` is called after every step, and between the windows of a check; whatever it raises stops the
    work, which the same call takes up again exactly. ``folder`` then holds ``checkpoint.safetensors``, and
    ``best.safetensors`` with the best state so far as soon as it is better than the base. ``about`` goes into
    the card of the file.

    Raises
    ------
    TuneError
        If there is no stack, none of their held-out labels is sure, or the network has nothing to tune.
    """
    if not stacks:
        raise TuneError("there is no stack to learn from. Give at least one.")
    folder.mkdir(parents=True, exist_ok=True)
    network = load_network(card).to(config.device).requires_grad_(False)
    names = tuned_terms(network, card.name, config.variant)
    tuned = {name: parameter for name, parameter in network.named_parameters() if name in set(names)}
    if not tuned:
        raise TuneError(f"{card.title} has no biases to tune. Choose the variant full.")
    for parameter in tuned.values():
        parameter.requires_grad_(True)
    learnt, held = divide([(s.depth.shape[0], s.depth.shape[1]) for s in stacks], config.held_out, config.seed)
    crops = Crops(stacks, learnt, config, card)
    rate = config.learning_rate or RATES[config.variant] * SLOWER.get(card.name, 1.0)
    optimiser = torch.optim.Adam(tuned.values(), rate, betas=(0.9, 0.99))
    run = _Run(folder, card, config, tuned, optimiser, crops, dict(about or {}))
    run.restore()
    began = time.monotonic() - run.seconds

    def tell(line: Line) -> None:
        nonlocal began
        run.seconds = (now := time.monotonic()) - began
        if report:
            place = {"step": float(run.step), "fraction": run.step / config.steps, "seconds": run.seconds}
            try:
                report({**place, **line})
            finally:  # whoever makes a pause makes it in there
                began += time.monotonic() - now

    try:
        while True:
            if run.is_check_due():
                off, near = disagreement(network, card, stacks, held, config, crops.scale, lambda: tell({}))
                if math.isnan(off):
                    raise TuneError(
                        "none of the held-out labels is sure enough to tell whether adapting helps. "
                        "Lower the confidence that labels need, or give more stacks."
                    )
                run.note({"step": float(run.step), "held_out": off, "agreeing": near, **run.last})
                run.save()
                tell({**run.curve[-1], "best": run.best})
            if run.step >= config.steps or run.waited >= config.patience:
                break
            done = run.step / config.steps
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (run.step + 1) / 10) * (0.5 + 0.5 * math.cos(math.pi * done))
            within = config.agreement[0] + (config.agreement[1] - config.agreement[0]) * done
            loss, kept = loss_of(network, crops.batch(), config, within)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(tuned.values(), 1.0)
            optimiser.step()
            run.step += 1
            run.last = {"loss": float(loss.detach()), "kept": float(kept)}
            if time.monotonic() - run.saved > SAVE_SECONDS:
                run.save()
            tell(run.last)
    except BaseException:
        run.seconds = time.monotonic() - began
        if run.curve:
            run.save()
        raise
    before = run.curve[0]["held_out"]
    delta = run.best_path if run.best < (1 - LEAST_GAIN) * before else None
    return TuneResult(delta, before, run.best, run.step, run.seconds, tuple(run.curve))


class _Run:
    """What a checkpoint keeps, and the best state so far."""

    def __init__(
        self,
        folder: Path,
        card: WeightsCard,
        config: TuneConfig,
        tuned: dict[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
        crops: Crops,
        about: dict[str, Any],
    ) -> None:
        self.path, self.best_path = folder / "checkpoint.safetensors", folder / "best.safetensors"
        self.card, self.config, self.tuned, self.optimiser, self.crops = card, config, tuned, optimiser, crops
        self.about = about
        self.step, self.waited, self.seconds, self.best = 0, 0, 0.0, math.inf
        self.curve: list[Line] = []
        self.last: Line = {}
        self.state = {name: parameter.detach().clone() for name, parameter in tuned.items()}
        self.saved = time.monotonic()
        self._key = json.dumps([card.sha256, asdict(config), [stack.name for stack in crops.stacks]])

    def is_check_due(self) -> bool:
        """Whether the held-out part is to be looked at before the next step."""
        due = self.step % self.config.check_every == 0 or self.step >= self.config.steps
        return due and not (self.curve and self.curve[-1]["step"] == self.step)

    def note(self, line: Line) -> None:
        """Take in a check: keep the state if it is the best, count if it is not."""
        self.curve.append(line)
        if line["held_out"] < self.best:
            self.best, self.waited = line["held_out"], 0
            self.state = {name: parameter.detach().clone() for name, parameter in self.tuned.items()}
            if self.step:
                write(self.best_path, self.state, self._card())
        else:
            self.waited += 1

    def _card(self) -> dict[str, str]:
        return {
            "format": DELTA,
            "network": self.card.name,
            "base": self.card.sha256,
            "variant": self.config.variant,
            "stacks": json.dumps([stack.name for stack in self.crops.stacks]),
            "settings": json.dumps(asdict(self.config)),
            "curve": json.dumps(self.curve),
            **{name: value if isinstance(value, str) else json.dumps(value) for name, value in self.about.items()},
        }

    def save(self) -> None:
        """Write all that is needed to go on exactly here."""
        tensors: dict[str, Tensor] = {f"tuned.{name}": parameter for name, parameter in self.tuned.items()}
        tensors |= {f"best.{name}": value for name, value in self.state.items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
        state = {
            "step": self.step,
            "waited": self.waited,
            "seconds": self.seconds,
            "best": self.best,
            "curve": self.curve,
            "last": self.last,
            "random": self.crops.random.bit_generator.state,
            "key": self._key,
        }
        write(self.path, tensors, {"state": json.dumps(state)})
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Take up a checkpoint, if there is one of the same run."""
        if not self.path.exists():
            return
        with safe_open(self.path, "pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        if state["key"] != self._key:
            raise TuneError(
                f"{self.path.parent} holds an adaptation of another base, of other stacks or with other settings. "
                "Remove it, or choose another place for the result."
            )
        with torch.no_grad():
            for name, parameter in self.tuned.items():
                parameter.copy_(tensors[f"tuned.{name}"])
        self.state = {name: tensors[f"best.{name}"].to(self.config.device) for name in self.tuned}
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                moments.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step, self.waited, self.seconds, self.best = (state[k] for k in ("step", "waited", "seconds", "best"))
        self.curve, self.last = state["curve"], state["last"]
        self.crops.random.bit_generator.state = state["random"]
