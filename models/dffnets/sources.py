"""What a training draws its stacks from: random scenes, measured shapes, public data sets.

>>> source = Source("ddff12", share=0.3, root=Path("data/ddff12"), split="dfv-train")
>>> supply = supply_of(source, Path("pool"), seed=1, stacks=8000)
>>> supply.fill(crop=96)                                                       # doctest: +SKIP
>>> stacks = list(supply.read())                                               # doctest: +SKIP

All stacks lie in the pool. Random scenes are shared by all trainings of a seed; any other source has a folder of
its own there, with shards and a list of what they were made of. They are made once: while the original is away,
as a drive may be, a training runs on what lies in the pool, and where the original has changed they are made anew.
Only random scenes do without the libraries that read pictures.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from dffnets.synthetic.pool import SHARD, fill_pool, fill_shards, load_stacks, read_pool, save_stacks, shard_path

if TYPE_CHECKING:  # OpenCV and the readers of files are loaded by the sources that need them
    from dffnets.data import Sample, Samples
    from dffnets.synthetic.pairs import Geometry
    from dffnets.synthetic.random_scenes import TrainingStack

RANDOM, PAIRS = "random", "pairs"
"""Names of the rendered sources; every other name is that of a data set."""
CONTENTS = "contents.json"
SAMPLES = 10
"""Samples of a data set that are converted into one file; some readers render, and need ten seconds for each."""
SHAPES = 40
"""Most measured shapes that the stacks of one shard are drawn from, since a process holds them all in memory."""
TRIES = 10
"""Seeds tried for a stack until a shape shows enough."""

ShardReport = Callable[[int, int], None]
"""Hears shards done and shards in all; whatever it raises stops the work."""


class TrainError(ValueError):
    """A training cannot begin, or cannot go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where stacks of a training come from, and how often they are drawn.

    ``name`` is ``random`` (scenes of `dffnets.synthetic.random_scenes`), ``pairs`` (the folder ``root`` of
    RGB-D pairs and measured surfaces, see `dffnets.synthetic.pairs`) or that of a data set (``split`` of the
    files below ``root``, see `dffnets.data`). ``share`` counts beside those of the other sources, among those that
    have stacks with as many slices as the batch. ``stacks`` are rendered, for 0 as many as the training's
    ``pool_stacks``. ``options`` go to the reader of the data set, and truth below ``least_confidence`` counts as
    unknown. ``about`` tells what a folder of pairs holds and under which licence, where its files do not.
    """

    name: str = RANDOM
    share: float = 1.0
    root: Path | None = None
    split: str = ""
    stacks: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    least_confidence: float = 0.0
    about: str = ""


@dataclass(frozen=True)
class Supply(ABC):
    """The stacks of one source in a pool; ``stacks`` is how many are rendered unless the source says it."""

    source: Source
    pool: Path
    seed: int
    stacks: int

    allowed: ClassVar[tuple[str, ...]] = ()
    """Entries that mean something here, beside name and share."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the source is called in messages."""

    def check(self) -> None:
        """Refuse a source that cannot be used, before any work.

        Raises
        ------
        TrainError
            If an entry is missing, wrong or without meaning, or the files are not there.
        """
        for name in ("root", "split", "stacks", "options", "least_confidence", "about"):
            value = getattr(self.source, name)
            if name not in self.allowed and value:
                raise TrainError(f"the source {self.source.name!r} knows no {name!r}. Leave it out.")
            if name in ("root", "split") and name in self.allowed and not value:
                what = "the folder of its files" if name == "root" else "which part of it to train on"
                raise TrainError(f"the source {self.source.name!r} lacks {name!r}: {what}.")
        if not 0 < self.source.share < float("inf"):
            raise TrainError(
                f"the share of the source {self.source.name!r} is {self.source.share}; it must be above 0."
            )
        if self.source.stacks < 0:
            raise TrainError(f"the source {self.source.name!r} has {self.source.stacks} stacks; it must be 0 or more.")

    @abstractmethod
    def is_full(self) -> bool:
        """Whether nothing is left to render or convert."""

    @abstractmethod
    def fill(self, crop: int, workers: int = 0, report: ShardReport | None = None) -> None:
        """Render or convert what is missing, in ``workers`` processes (default: one a core).

        What is done is kept when ``report`` stops it.

        Raises
        ------
        TrainError
            If files cannot be used, or a sample is smaller than ``crop`` pixels.
        """

    @abstractmethod
    def read(self) -> Iterator[TrainingStack]:
        """Yield all stacks, in their order; those of data sets stay in their files until they are used."""

    @abstractmethod
    def describe(self) -> str:
        """Return what the stacks are and under which licence, in one line without a full stop."""


def supply_of(source: Source, pool: Path, seed: int, stacks: int) -> Supply:
    """Return the supply for a source; nothing is read or checked yet."""
    kind = {RANDOM: RandomScenes, PAIRS: Pairs}.get(source.name, DataSet)
    return kind(source, pool, seed, source.stacks or stacks)


class RandomScenes(Supply):
    """Scenes drawn at random and rendered."""

    allowed = ("stacks",)
    title = "random scenes"

    def is_full(self) -> bool:
        return all(shard_path(self.pool, self.seed, k).exists() for k in range(-(-self.stacks // SHARD)))

    def fill(self, crop: int, workers: int = 0, report: ShardReport | None = None) -> None:
        fill_pool(self.pool, self.seed, self.stacks, workers=workers, report=report)

    def read(self) -> Iterator[TrainingStack]:
        return read_pool(self.pool, self.seed, self.stacks)

    def describe(self) -> str:
        return f"stacks rendered by dffnets.synthetic.random_scenes (grey, seed {self.seed}, {self.stacks:,} of them)"


class Made(Supply):
    """Stacks made from files: a folder of shards in the pool, and the list of what they were made of."""

    @property
    def root(self) -> Path:
        """Where the files lie; `check` has seen to it that this is said."""
        return self.source.root or Path()

    @property
    def folder(self) -> Path:
        """Where the shards lie: another folder for other files, split, options or seed."""
        source = self.source
        key = [source.name, str(self.root.resolve()), source.split, source.options, source.least_confidence, self._seed]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
        return self.pool / f"{source.name}-{source.split or self.root.name}-{digest}"

    @property
    def _seed(self) -> int | None:
        return None

    @abstractmethod
    def contents(self) -> dict[str, Any]:
        """Return what there is to make stacks from, as JSON keeps it; raises `TrainError` if it cannot be used."""

    @abstractmethod
    def shards(self, contents: dict[str, Any]) -> int:
        """Return how many shards are made of it."""

    @abstractmethod
    def write(self, shard: int) -> None:
        """Make one shard; called in a process of its own."""

    def is_full(self) -> bool:
        contents = self._wanted()
        return contents == self._stored() and not self._missing(contents)

    def fill(self, crop: int, workers: int = 0, report: ShardReport | None = None) -> None:
        contents = self._wanted()
        if contents != self._stored():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob("*.safetensors"):
                path.unlink()
            partial = self.folder / f"{CONTENTS}.part"
            partial.write_text(json.dumps(contents, ensure_ascii=False), "utf-8")
            partial.replace(self.folder / CONTENTS)
        if missing := self._missing(contents):
            self.check_crop(crop)
            fill_shards(self.write, missing, self.shards(contents), workers, report)

    def check_crop(self, crop: int) -> None:
        """Refuse stacks smaller than the crop before they are made, where it can be told."""

    def read(self) -> Iterator[TrainingStack]:
        for shard in range(self.shards(self._wanted())):
            yield from load_stacks(self.path(shard))

    def path(self, shard: int) -> Path:
        """Return the file of one shard."""
        return self.folder / f"{shard:05d}.safetensors"

    def _missing(self, contents: dict[str, Any]) -> list[int]:
        return [k for k in range(self.shards(contents)) if not self.path(k).exists()]

    def _stored(self) -> dict[str, Any] | None:
        try:
            stored: dict[str, Any] = json.loads((self.folder / CONTENTS).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return stored

    def _wanted(self) -> dict[str, Any]:
        # what was made once is enough while the original is away
        stored = None if self.root.exists() else self._stored()
        return stored if stored is not None and not self._missing(stored) else self.contents()


class Pairs(Made):
    """Stacks rendered from the measured shapes of a folder."""

    allowed = ("root", "stacks", "about")

    @property
    def title(self) -> str:
        return f"pairs of {self.root.name}"

    @property
    def _seed(self) -> int:
        return self.seed

    def check(self) -> None:
        super().check()
        self._wanted()

    def contents(self) -> dict[str, Any]:
        from dffnets.synthetic.pairs import geometry_names

        if not self.root.is_dir():
            raise TrainError(f"there is no folder {self.root} of pairs. Check the path.")
        names = geometry_names(self.root)
        if not names:
            raise TrainError(
                f"{self.root} holds no pairs; it should hold NAME_rgb.png + NAME_depth.tif + NAME.json, "
                "or NAME_height_um.tif."
            )
        licences: dict[str, str] = {name: self._licence(name) for name in names}
        if not self.source.about and (silent := [name for name in names if not licences[name]]):
            raise TrainError(
                f"{silent[0]}.json in {self.root} names no 'licence'. Say in 'about' what the folder holds and under "
                "which licence: the card of the weights tells it."
            )
        used = (path for path in self.root.iterdir() if path.suffix in (".json", ".png", ".tif"))
        files = sorted([path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in used)
        return {"shapes": names, "licences": sorted(set(licences.values()) - {""}), "files": files}

    def _licence(self, name: str) -> str:
        try:
            return str(json.loads((self.root / f"{name}.json").read_text("utf-8")).get("licence", ""))
        except (OSError, ValueError, AttributeError):
            return ""

    def shards(self, contents: dict[str, Any]) -> int:
        return -(-self.stacks // SHARD)

    def write(self, shard: int) -> None:
        from dffnets.synthetic.pairs import PairError, geometry_names, read_geometry

        torch.set_num_threads(1)  # the processes share the cores among themselves
        names = geometry_names(self.root)
        rng = np.random.default_rng((self.seed, shard))
        chosen = sorted(int(k) for k in rng.choice(len(names), min(SHAPES, len(names)), replace=False))
        try:
            shapes = [read_geometry(self.root, names[k]) for k in chosen]
        except PairError as error:
            raise TrainError(f"{self.root}: {error}") from error
        save_stacks(self.path(shard), [self._render(shard * SHARD + k, shapes) for k in range(SHARD)])

    def _render(self, number: int, shapes: list[Geometry]) -> TrainingStack:
        from dffnets.synthetic.pairs import PairError, pair_stack

        for attempt in range(TRIES):
            try:
                return pair_stack((self.seed, number, attempt), shapes)
            except PairError as error:
                last = error
        raise TrainError(f"{self.root}: {last}") from last

    def read(self) -> Iterator[TrainingStack]:
        return islice(super().read(), self.stacks)

    def describe(self) -> str:
        contents = self._wanted()
        licences = f"licences: {', '.join(contents['licences'])}" if contents["licences"] else ""
        what = "; ".join(part for part in (self.source.about.rstrip("."), licences) if part)
        return (
            f"stacks rendered by dffnets.synthetic.pairs from {len(contents['shapes'])} measured shapes of the folder "
            f"{self.root.name} (seed {self.seed}, {self.stacks:,} of them; {what})"
        )


class DataSet(Made):
    """A split of a public data set, converted."""

    allowed = ("root", "split", "options", "least_confidence")

    @property
    def title(self) -> str:
        return f"{self.source.name} {self.source.split}"

    def check(self) -> None:
        from dffnets.data import CARDS

        if self.source.name not in CARDS:
            known = ", ".join((RANDOM, PAIRS, *CARDS))
            raise TrainError(f"there is no source {self.source.name!r}; there are {known}.")
        super().check()
        card = CARDS[self.source.name]
        if self.source.split not in card.splits:
            raise TrainError(
                f"{card.title} has no split {self.source.split!r}; choose one of: {', '.join(card.splits)}."
            )
        known_options = list(inspect.signature(card.reader).parameters)[2:]
        if unknown := [name for name in self.source.options if name not in known_options]:
            listed = ", ".join(known_options) or "none"
            raise TrainError(f"{card.title} has no option {unknown[0]!r}; its options are {listed}.")
        self._wanted()

    def _open(self) -> Samples:
        from dffnets.data import DataError, open_data_set

        try:
            return open_data_set(self.source.name, self.root, self.source.split, **self.source.options)
        except DataError as error:
            raise TrainError(str(error)) from error
        except TypeError as error:  # what the reader does not check itself
            raise TrainError(f"{self.source.name} cannot be opened with these options ({error}).") from error

    def contents(self) -> dict[str, Any]:
        return {"samples": self._open().names}

    def shards(self, contents: dict[str, Any]) -> int:
        return -(-len(contents["samples"]) // SAMPLES)

    def check_crop(self, crop: int) -> None:
        height, width = self._stack(self._open(), 0).depth.shape
        if min(height, width) < crop:
            raise TrainError(
                f"the stacks of {self.title} have {width} x {height} pixels, which is less than the crop of {crop}. "
                "Choose a smaller crop."
            )

    def write(self, shard: int) -> None:
        """See `Made`; stacks without any truth within the sweep are left out."""
        torch.set_num_threads(1)
        samples = self._open()
        numbers = range(shard * SAMPLES, min((shard + 1) * SAMPLES, len(samples)))
        stacks = (self._stack(samples, k) for k in numbers)
        save_stacks(self.path(shard), [s for s in stacks if ((s.depth >= 0) & (s.depth <= 1)).any()])

    def _stack(self, samples: Samples, number: int) -> TrainingStack:
        from dffnets.data import DataError, to_training_stack

        try:
            sample: Sample = samples[number]
            return to_training_stack(sample, self.source.least_confidence)
        except DataError as error:
            raise TrainError(str(error)) from error

    def describe(self) -> str:
        from dffnets.data import CARDS

        card = CARDS[self.source.name]
        return f"{card.title}, split {self.source.split} ({card.paper}; licence: {card.licence})"
