"""Align the frames of a stack: scale, shift, rotation and brightness.

Refocusing changes the magnification, and stages and hands drift. `align` registers each frame
against the next and the next but one (`toposcope.core.registration`), solves the chain of these
measurements in one weighted least-squares fit and expresses it against one reference frame: the one
with the smallest field of view, so that nothing has to be invented at the borders of the others.

>>> aligned, alignment = align(stack)                              # doctest: +SKIP
>>> alignment.text                                                 # doctest: +SKIP
'magnification changes by 16 %, drift 2.2 %: aligned to pcb_009.jpg'
>>> apply(stack, preview_alignment.scaled(4))                      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import Side, Sourced
from toposcope.core.chain import Poses, components, solve, solve_gains
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.registration import SMALLEST, Pair, Pyramid, corner_error, corners_of, matrix_of, pyramid, register
from toposcope.core.stack import DerivedSource, FocalStack, Plane, Roi, to_grey
from toposcope.core.words import percent
from toposcope.errors import SettingsError

Floats = NDArray[np.float64]

AlignMode = Literal["auto", "learned", "none"]
"""``auto`` measures first and warps only if that is needed; ``learned`` does so by a network, which knows scale
and shift alone and is less exact; ``none`` takes frames as they are."""
ALIGN_MODES: Final[tuple[AlignMode, ...]] = get_args(AlignMode)

TELLING_ZOOM: Final = 0.015
"""Change of magnification (of its logarithm) over the sweep that tells which side is near."""
STEADY_PX: Final = 0.3
"""Corner motion, in full-resolution pixels, that is left alone."""
STEADY_GAIN: Final = 0.01
"""Brightness change (of its logarithm) that is left alone."""
MOST_GAIN: Final = 1.4
"""Brightness change (of its logarithm: a factor of 4) above which it is light that comes and goes with
the focus, as in transmitted light, and no exposure."""
DIM: Final = 0.25
"""Frames whose brightest places stay below this are brightened for measuring: 12-bit data in 16 bits."""
ENOUGH_PIXELS: Final = 700_000
"""Motion is measured on frames reduced as far as this many pixels remain, by 4 at most."""
LONGEST_LINK: Final = 2
"""Frames are registered against the next, up to the one so many places further."""
SIGNIFICANT: Final = 3.0
"""Motion below so many standard errors is taken for chance."""
CREDIBLE: Final = 5.0
"""A turn over the sweep counts if it is so many times the shear over the sweep."""
LIMIT_PX: Final = 3.0
"""Standard error of a pair at the corners, in measured pixels, above which the pair says nothing."""
LEAST_CORRELATION: Final = 0.1
"""Correlation of a pair below which the pair says nothing."""
MOST_MAGNIFICATION: Final = 1.3
MOST_ROTATION_DEG: Final = 10.0
MOST_SHIFT: Final = 0.3
"""Motions of a pair beyond these (shift as a share of the width) are mistakes."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How one frame lies against the reference frame.

    ``matrix`` (2, 3) float64 maps pixel (column, row) of the reference to pixel (column, row) of
    the frame: a similarity (scale, rotation, shift). ``gain`` multiplies the frame's values to give
    the reference's brightness. ``registered`` is False when the frame could not be registered; it
    then carries its neighbours' motion and is reported.
    """

    matrix: Floats
    gain: float = 1.0
    registered: bool = True

    @property
    def magnification(self) -> float:
        """How much larger the frame shows the scene than the reference does."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def rotation_deg(self) -> float:
        """Rotation of the frame against the reference, in degrees, positive from x to y."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def is_still(self) -> bool:
        """Whether the frame lies exactly on the reference."""
        return np.array_equal(self.matrix, STILL)

    def scaled(self, factor: float) -> Motion:
        """Return the motion between frames ``factor`` times as large."""
        return replace(self, matrix=rescale_matrix(self.matrix, factor))


STILL: Final[Floats] = np.eye(2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Motions of all frames, (N) in the order of the stack, against frame ``reference``.

    ``needed`` is False when the stack was found steady and is not warped; ``text`` says in words
    what was found ("magnification changes by 16 %, drift 2.2 %: aligned to pcb_009.jpg").
    """

    motions: tuple[Motion, ...]
    reference: int
    needed: bool
    text: str

    def scaled(self, factor: float) -> Alignment:
        """Return the alignment of frames ``factor`` times as large: 4 from a preview at 1/4."""
        return replace(self, motions=tuple(motion.scaled(factor) for motion in self.motions))


@dataclass(frozen=True)
class AlignedSource(DerivedSource):
    """Another source, each frame warped onto the reference when it is read.

    A read decodes once and warps once (bicubic, borders repeated), then applies the gain, rounding
    and saturating in the frame's own dtype. A frame that lies still is passed through untouched.
    """

    motions: tuple[Motion, ...]

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        motion = self.motions[i]
        if motion.is_still:
            return _brightened(self.source.read(i, roi, scale), motion.gain)
        if roi is None:
            plane = self.source.read(i, None, scale)
            matrix = rescale_matrix(motion.matrix, 1 / _reduction(self.source.shape, plane.shape))
            size = plane.shape[1], plane.shape[0]
        else:
            plane, matrix, size = self._part(i, motion.matrix, roi)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(plane, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if warped.dtype == np.float32:
            np.clip(warped, 0, 1, out=warped)  # bicubic overshoots; integers saturate by themselves
        return _brightened(warped, motion.gain)

    def _part(self, i: int, matrix: Floats, roi: Roi) -> tuple[Plane, Floats, tuple[int, int]]:
        """Read what ``roi`` needs of frame ``i``: the part, the matrix into it, the size (w, h) of the roi."""
        rows, columns = (np.arange(side)[cut] for side, cut in zip(self.shape, roi, strict=True))
        top, left = int(rows[0]), int(columns[0])
        corners = np.array([(x, y, 1) for x in (left, columns[-1]) for y in (top, rows[-1])]) @ matrix.T
        margin = 3  # bicubic looks 2 pixels ahead
        (x0, y0), (x1, y1) = np.floor(corners.min(0)) - margin, np.ceil(corners.max(0)) + margin + 1
        height, width = self.shape
        # a part wholly outside still needs one row or column to repeat
        first = int(np.clip(y0, 0, height - 1)), int(np.clip(x0, 0, width - 1))
        last = int(np.clip(y1, first[0] + 1, height)), int(np.clip(x1, first[1] + 1, width))
        plane = self.source.read(i, (slice(first[0], last[0]), slice(first[1], last[1])))
        shifted = matrix.copy()
        shifted[:, 2] += matrix[:, :2] @ (left, top) - (first[1], first[0])
        return plane, shifted, (columns.size, rows.size)


def _brightened(plane: Plane, gain: float) -> Plane:
    if gain == 1.0:
        return plane
    brighter: Plane = cv2.addWeighted(plane, gain, plane, 0.0, 0.0)  # rounds and saturates in the plane's dtype
    return np.minimum(brighter, 1, dtype=np.float32) if plane.dtype == np.float32 else brighter


def _reduction(full: Sequence[int], reduced: Sequence[int]) -> int:
    """Return by how much a plane was reduced; a source that is itself reduced may stop at 8."""
    return 1 << round(float(np.log2(max(full[:2]) / max(reduced[:2]))))


def rescale_matrix(matrix: Floats, factor: float) -> Floats:
    """Return a pixel-to-pixel matrix for frames ``factor`` times as large.

    Pixel centres lie at whole numbers, so that x becomes factor * x + (factor - 1) / 2.
    """
    rescaled = matrix.copy()
    half = (factor - 1) / 2
    rescaled[:, 2] = factor * matrix[:, 2] + half - matrix[:, :2] @ (half, half)
    return rescaled


def align(stack: FocalStack, mode: AlignMode = "auto", report: Report = silent) -> tuple[FocalStack, Alignment]:
    """Measure how the frames lie and return the stack aligned, with what was found.

    Motion is measured on reduced frames; nothing is warped before frames of the returned stack are
    read, and nothing at all when the stack is found steady. ``void`` of the returned stack marks
    what not all registered frames see. Reports once a frame; `Cancelled` surfaces there.

    Raises
    ------
    FrameError
        If a frame cannot be read.
    SettingsError
        If the network's weights are missing or damaged.
    """
    if mode == "none":
        return stack, still_alignment(stack.n, "frames taken as they are")
    if mode == "learned":
        from toposcope.core.learned_align import measure_learned

        alignment = measure_learned(stack, report)
    else:
        alignment = measure(stack, report)
    return apply(stack, alignment), alignment


def still_alignment(n: int, text: str) -> Alignment:
    """Return the alignment of ``n`` frames that are left as they are."""
    return Alignment(tuple(Motion(STILL) for _ in range(n)), n // 2, needed=False, text=text)


def apply(stack: FocalStack, alignment: Alignment) -> FocalStack:
    """Return ``stack`` aligned by motions measured before, perhaps on another stack.

    Raises
    ------
    SettingsError
        If the alignment is one of another number of frames.
    """
    if len(alignment.motions) != stack.n:
        raise SettingsError(
            f"the alignment was measured on {len(alignment.motions)} frames and {stack.name} has {stack.n}. "
            "Use an alignment of a stack with the same number of frames."
        )
    if not alignment.needed:
        return stack
    void = common_void(alignment, stack.shape)
    if stack.void is not None:
        void |= stack.void
    source = AlignedSource(stack.source, alignment.motions)
    near = near_side(stack, alignment)
    return replace(stack, source=source, void=void if void.any() else None, near=near)


def near_side(stack: FocalStack, alignment: Alignment) -> Sourced[Side]:
    """Return which side is near, guessed anew from the magnification where it was a mere guess.

    A lens that is focused nearer stands farther from the sensor and draws the picture larger. A camera
    that travels on a rail does the opposite, and telecentric optics show nothing, so it stays a guess.
    """
    zoom = [motion.magnification for motion in alignment.motions]
    if not stack.near.guessed or stack.kind.value != "camera" or not alignment.needed:
        return stack.near
    if abs(np.log(zoom[-1] / zoom[0])) < TELLING_ZOOM:
        return stack.near
    return Sourced("high" if zoom[-1] > zoom[0] else "low", "frames magnify towards it", guessed=True)


def common_void(alignment: Alignment, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (H, W) bool: True where the reference shows what some registered frame does not.

    Frames that could not be registered do not count: their place is a guess.
    """
    height, width = shape
    row = np.arange(height, dtype=np.float64)
    low, high = np.zeros(height), np.full(height, width - 1.0)
    slack = 1e-6  # a still frame covers everything, whatever the rounding
    for motion in alignment.motions:
        if not motion.registered:
            continue
        for (a, b, c), limit in zip(motion.matrix, (width - 1, height - 1), strict=True):
            # 0 <= a x + b row + c <= limit, solved for x
            rest = b * row + c
            if abs(a) < 1e-12:
                low = np.where((rest < -slack) | (rest > limit + slack), np.inf, low)
                continue
            ends = np.sort(np.stack([(-slack - rest) / a, (limit + slack - rest) / a]), axis=0)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    column = np.arange(width)
    void: NDArray[np.bool_] = (column < low[:, None]) | (column > high[:, None])
    return void


def measure(stack: FocalStack, report: Report = silent) -> Alignment:
    """Measure the motion of all frames of a stack, without warping any."""
    if min(stack.shape) < SMALLEST:
        return still_alignment(stack.n, "frames are too small to measure motion: left as they are")
    links, texture, shape = _links(stack, report)
    if not links:
        return still_alignment(
            stack.n,
            "no texture that neighbouring frames have in common: motion cannot be measured, frames left as they are",
        )
    registered = _main_component(stack.n, links, texture)
    links = {ends: pair for ends, pair in links.items() if registered[list(ends)].all()}
    reduction = _reduction(stack.shape, shape)
    poses = solve(stack.n, links, shape)
    if not _turns(poses, links, registered, shape, reduction):
        poses = solve(stack.n, links, shape, turning=False)
    reference = _reference(poses, registered, shape, reduction)
    gains = solve_gains(stack.n, links)
    gains /= gains[reference]
    change = np.ptp(np.log(gains[registered]))
    if not STEADY_GAIN <= change <= MOST_GAIN or not _flickers(links):
        gains[:] = 1.0
    moves = _moves(poses, reference, registered, shape, reduction)
    motions = []
    for i in range(stack.n):
        still = not moves or i == reference
        turn, shift = _between(poses, reference, i)
        matrix = STILL if still else rescale_matrix(matrix_of(turn, shift, shape), reduction)
        motions.append(Motion(matrix, float(gains[i]), bool(registered[i])))
    needed = moves or bool((gains != 1.0).any())
    steps = [_between(poses, reference, i) for i in np.flatnonzero(registered)]
    most = max(corner_motion(turn, shift, shape) for turn, shift in steps) * reduction
    text = found_text(stack, tuple(motions), reference, moves, most)
    return Alignment(tuple(motions), reference, needed, text)


def _links(stack: FocalStack, report: Report) -> tuple[dict[tuple[int, int], Pair], Floats, tuple[int, int]]:
    """Register each frame against the next ones: the pairs that hold, texture (N,), measured shape."""
    scale = next((s for s in (4, 2) if stack.shape[0] * stack.shape[1] >= ENOUGH_PIXELS * s * s), 1)
    frames: dict[int, Pyramid] = {}
    links: dict[tuple[int, int], Pair] = {}
    texture = np.zeros(stack.n)
    factor = np.float32(1)
    for j in range(stack.n):
        report(Progress(j / stack.n, f"aligning {stack.source.names[j]}"))
        grey = to_grey(stack.read(j, scale=scale))
        if j == 0:
            brightest = float(np.percentile(grey, 99.9))
            factor = np.float32(0.5 / brightest if 0 < brightest < DIM else 1)
        frames[j] = pyramid(grey * factor if factor != 1 else grey)
        frames.pop(j - LONGEST_LINK - 1, None)
        texture[j] = frames[j].texture
        for i in range(j - 1, max(-1, j - LONGEST_LINK - 1), -1):
            pair = register(frames[i], frames[j], _guesses(links, i, j))
            if pair is not None and _is_plausible(pair, frames[j].shape):
                links[i, j] = pair
    report(Progress(1.0, "aligned"))
    return links, texture, frames[stack.n - 1].shape


def _guesses(links: dict[tuple[int, int], Pair], i: int, j: int) -> list[tuple[complex, complex]]:
    """Return where frame ``j`` may lie against ``i``: by way of a frame between, or as the pair before."""
    guesses = [(1 + 0j, 0j)]
    for k in range(i + 1, j):
        if (i, k) in links and (k, j) in links:
            one, two = links[i, k], links[k, j]
            guesses.append((two.turn * one.turn, two.turn * one.shift + two.shift))
    if (i - 1, j - 1) in links:
        guesses.append((links[i - 1, j - 1].turn, links[i - 1, j - 1].shift))
    return guesses


def _is_plausible(pair: Pair, shape: tuple[int, int]) -> bool:
    return (
        pair.error < LIMIT_PX
        and pair.correlation > LEAST_CORRELATION
        and abs(np.log(abs(pair.turn))) < np.log(MOST_MAGNIFICATION)
        and abs(np.degrees(np.angle(pair.turn))) < MOST_ROTATION_DEG
        and abs(pair.shift) < MOST_SHIFT * shape[1]
    )


def _main_component(n: int, links: dict[tuple[int, int], Pair], texture: Floats) -> NDArray[np.bool_]:
    """Return (N,) bool: the frames that hang together and hold the most texture."""
    label = components(n, links)
    registered: NDArray[np.bool_] = label == np.argmax(np.bincount(label, weights=texture, minlength=n))
    return registered


def _flickers(links: dict[tuple[int, int], Pair]) -> bool:
    """Whether the brightness changes all over the picture, as exposure does and defocus does not."""
    change = np.array([abs(np.log(pair.gain)) for pair in links.values()])
    return bool((change > [2 * pair.gain_spread for pair in links.values()]).any())


def _between(poses: Poses, first: int | np.integer[Any], second: int | np.integer[Any]) -> tuple[complex, complex]:
    """Return the similarity from frame ``first`` to frame ``second``."""
    turn = complex(poses.turn[second] / poses.turn[first])
    return turn, complex(poses.shift[second] - turn * poses.shift[first])


def _turns(
    poses: Poses,
    links: dict[tuple[int, int], Pair],
    registered: NDArray[np.bool_],
    shape: tuple[int, int],
    reduction: int,
) -> bool:
    """Whether magnification or rotation change by more than is left alone, more than chance and credibly.

    Slanted light and uneven blur mock a turn, but mock a shear as well, which no refocusing makes.
    """
    mocked = CREDIBLE * abs(sum(pair.shear for (i, j), pair in links.items() if j == i + 1))
    radius = reduction * float(np.hypot(*shape)) / 2
    away = np.abs(poses.turn - np.median(poses.turn.real[registered]))
    error = np.sqrt(np.trace(poses.covariance[range(away.size), range(away.size), :2, :2], axis1=1, axis2=2))
    spread = float(np.abs(poses.turn[registered][:, None] - poses.turn[registered]).max())
    real = (away > STEADY_PX / radius) & (away > SIGNIFICANT * error) & (spread > mocked)
    return bool(real[registered].any())


def corner_motion(turn: complex, shift: complex, shape: tuple[int, int]) -> float:
    """Return how far corners move, root mean square, in pixels of frames of ``shape``."""
    return float(np.sqrt(np.mean(np.abs((turn - 1) * corners_of(shape) + shift) ** 2)))


def _reference(poses: Poses, registered: NDArray[np.bool_], shape: tuple[int, int], reduction: int) -> int:
    """Return the registered frame with the smallest field of view; among equals the most central."""
    magnification = np.where(registered, np.abs(poses.turn), 0)
    tie = STEADY_PX / (reduction * float(np.hypot(*shape)) / 2)
    equals = np.flatnonzero(magnification >= magnification.max() * (1 - tie))
    frames = np.flatnonzero(registered)
    farthest = [max(corner_motion(*_between(poses, r, i), shape) for i in frames) for r in equals]
    return int(equals[np.argmin(farthest)])


def _moves(poses: Poses, reference: int, registered: NDArray[np.bool_], shape: tuple[int, int], reduction: int) -> bool:
    """Whether any registered frame lies off the reference by more than is left alone and more than chance."""
    for i in np.flatnonzero(registered):
        motion = corner_motion(*_between(poses, reference, i), shape)
        c = poses.covariance
        covariance = c[i, i] + c[reference, reference] - c[i, reference] - c[reference, i]
        if motion * reduction > STEADY_PX and motion > SIGNIFICANT * corner_error(covariance, shape):
            return True
    return False


def found_text(stack: FocalStack, motions: tuple[Motion, ...], reference: int, moves: bool, most: float) -> str:
    """Say in words what was found; ``most`` is how far corners are off, in pixels, where nothing moves."""
    held = [i for i, motion in enumerate(motions) if motion.registered]
    width = stack.shape[1]
    found: list[str] = []
    if moves:
        zoom = [motions[i].magnification for i in held]
        change = max(zoom) / min(zoom) - 1
        found.append(f"magnification changes by {percent(change)}" if change > 1e-5 else "magnification steady")
        centre = np.array([(stack.shape[1] - 1) / 2, (stack.shape[0] - 1) / 2, 1])
        places = [motions[i].matrix @ centre for i in held]
        drift = float(np.hypot(*np.ptp(places, axis=0)))
        found.append(f"drift {percent(drift / width)} of the width ({drift:.1f} px)")
        rotation = float(np.ptp([motions[i].rotation_deg for i in held]))
        if rotation > 0.02:
            found.append(f"rotation {rotation:.2f}°")
    else:
        found.append(f"steady: frames lie within {max(most, 0.1):.1f} px of each other")
    gains = [motions[i].gain for i in held]
    if max(gains) != min(gains):
        found.append(f"brightness changes by {percent(max(gains) / min(gains) - 1)}")
    text = ", ".join(found) + (f": aligned to {stack.source.names[reference]}" if moves else "")
    lost = [stack.source.names[i] for i, motion in enumerate(motions) if not motion.registered]
    if lost:
        names = ", ".join(lost[:4]) + (f" and {len(lost) - 4} more" if len(lost) > 4 else "")
        text += f". Not registered, too little in common with their neighbours: {names}"
        text += "; they follow their neighbours' motion" if moves else ""
    return text
