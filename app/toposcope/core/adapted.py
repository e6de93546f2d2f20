"""Networks that were adapted to the user's own instrument, or trained: kept in one folder, each a method of its own.

>>> networks = AdaptedNetworks()
>>> [network.title for network in networks.all()]                        # doctest: +SKIP
['FAD, my scope']
>>> estimate(stack, EstimateSettings("my-scope"))                        # doctest: +SKIP

A network is two files: ``KEY.safetensors`` with what adapting changed (some kilobytes), or with all weights that
`toposcope train` made, never touched again, so that the hash in a result's provenance stays true; and ``KEY.json``
with the name that the user gave it. The key is what the command line and stored settings call it; it stays when the
name changes.

Nothing here loads torch: only headers of files are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from dffnets.shipped import WeightsCard, shipped_cards
from toposcope.core.export.writing import made_folder, write_bytes
from toposcope.core.jobs import Report
from toposcope.core.method import EstimateSettings, MethodCard
from toposcope.core.networks import NetworkSettings, run_network
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.errors import OutputError, SettingsError

FOLDER_VARIABLE: Final = "TOPOSCOPE_ADAPTED"
"""Environment variable that names another folder, such as one that a laboratory shares."""

SUFFIX: Final = ".safetensors"
LONGEST_TITLE: Final = 60
KEPT_SECONDS: Final = 24 * 3600.0
"""How long a removed network can be brought back."""

_LARGEST_HEADER: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Adapted:
    """One adapted network.

    ``name`` is what its user calls it, ``title`` what lists show ("FAD, my scope"). ``trouble`` says in a
    sentence why it cannot run here, None when it can. ``stacks`` are the names of those that it learned from;
    ``before`` and ``after`` its disagreement with held-out labels in slices, None where the file does not say.
    ``steps`` are those of the training that made it, None for one that was adapted.
    """

    key: str
    name: str
    path: Path
    base: str
    base_title: str
    trouble: str | None = None
    labels: str = ""
    stacks: tuple[str, ...] = ()
    before: float | None = None
    after: float | None = None
    steps: int | None = None

    @property
    def title(self) -> str:
        """What lists of methods show."""
        return f"{self.base_title}, {self.name}"

    @property
    def about(self) -> str:
        """Say in a line what it learned from, and what that brought."""
        if self.steps is not None:
            return f"what looks like the stacks it was trained on; {self.steps} steps"
        count = len(self.stacks)
        named = ", ".join(self.stacks[:3]) + (" …" if count > 3 else "")
        learnt = f"adapted to {count} stack{'s' if count > 1 else ''} ({named})" if count else "adapted"
        gain = (
            f"; held-out labels {self.before:.2f} → {self.after:.2f} slices off" if self.before and self.after else ""
        )
        return f"what looks like the stacks it is {learnt}{gain}"

    def card(self) -> MethodCard:
        """Return it as a method."""
        (base,) = (card for card in shipped_cards() if card.name == self.base)
        labels = f", labels by {self.labels}" if self.labels else ""
        made = "trained" if self.steps is not None else "adapted"
        source = f"{base.title} {made} here{labels}; network: {base.paper}"
        return MethodCard(
            self.key, self.title, source, self.about, NetworkSettings, partial(_run, base, self), by_network=True
        )


def _run(
    base: WeightsCard, network: Adapted, stack: FocalStack, settings: EstimateSettings, report: Report
) -> DepthResult:
    if settings.weights is not None:
        raise SettingsError(f"{network.key} has weights of its own. Leave the others out, or choose {base.name}.")
    return run_network(base, stack, replace(settings, weights=network.path), report)


def adapted_folder() -> Path:
    """Return the folder of the adapted networks: in the user's data folder, or what `FOLDER_VARIABLE` names."""
    import platformdirs

    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("Toposcope", appauthor=False) / "adapted"


def weights_file(given: Path) -> Path:
    """Return the file of weights that was given; the name of an adapted network stands for its file.

    Raises
    ------
    SettingsError
        If ``given`` is neither a file, nor looks like one, nor the name of an adapted network.
    """
    return given if given.exists() or given.suffix else AdaptedNetworks().find(str(given)).path


@dataclass(frozen=True, slots=True)
class AdaptedNetworks:
    """The networks in ``folder``, which is made when something is put there."""

    folder: Path = field(default_factory=adapted_folder)

    def all(self) -> tuple[Adapted, ...]:
        """Return all networks by name; one that cannot run here says why."""
        try:
            paths = sorted(self.folder.glob(f"*{SUFFIX}"))
        except OSError:  # a shared folder that is not there now
            return ()
        found = (self._read(path) for path in paths)
        return tuple(sorted(found, key=lambda network: (network.name.casefold(), network.key)))

    def find(self, name: str) -> Adapted:
        """Return the network with this key, or else with this name.

        Raises
        ------
        SettingsError
            If there is none.
        """
        networks = self.all()
        for matches in (
            [network for network in networks if network.key == name],
            [network for network in networks if name.casefold() in (network.name.casefold(), network.title.casefold())],
        ):
            if matches:
                return matches[0]
        if not networks:
            raise SettingsError(f"there is no adapted network {name!r}, nor any other. `toposcope finetune` makes one.")
        known = ", ".join(network.key for network in networks)
        raise SettingsError(f"there is no adapted network {name!r}; there are {known}.")

    def cards(self) -> dict[str, MethodCard]:
        """Return those that can run as methods, by key."""
        return {network.key: network.card() for network in self.all() if network.trouble is None}

    def new_key(self, name: str) -> str:
        """Return a free key made of ``name``, which no method has either.

        Raises
        ------
        SettingsError
            If there can be no network of this name; see `checked_name`.
        """
        from toposcope.core.estimate import METHODS

        plain = unicodedata.normalize("NFKD", checked_name(name)).encode("ascii", "ignore").decode().lower()
        stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "network"
        taken = {network.key for network in self.all()} | set(METHODS)
        with suppress(OSError):
            taken |= {path.name.partition(".")[0] for path in self.folder.iterdir()}
        return next(key for key in (stem, *(f"{stem}-{k}" for k in range(2, 10_000))) if key not in taken)

    def path(self, key: str) -> Path:
        """Return where the file of ``key`` lies."""
        return self.folder / f"{key}{SUFFIX}"

    def adopt(self, key: str, name: str) -> Adapted:
        """Give the file of ``key``, which lies in the folder, its name."""
        made_folder(self.folder)
        write_bytes(self.folder / f"{key}.json", json.dumps({"name": checked_name(name)}).encode())
        return self._read(self.path(key))

    def bring_in(self, path: Path, name: str = "") -> Adapted:
        """Take in a file that a training, or somebody else's adapting, made; it is copied.

        Raises
        ------
        SettingsError
            If it is no such file, or was made from other weights than those that are here.
        OutputError
            If it cannot be copied.
        """
        network = _described(path, "", name or path.stem)
        if network.trouble is not None:
            raise SettingsError(network.trouble)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() in {card.sha256 for card in shipped_cards()}:
            raise SettingsError(f"{path.name} is what {network.base_title} runs with already.")
        same = [one for one in self.all() if one.path.read_bytes() == content]
        if same:
            raise SettingsError(f"{path.name} is there already: it is {same[0].title}.")
        name = self._free_name(checked_name(name or _safe_name(_usual_name(path))))
        key = self.new_key(name)
        made_folder(self.folder)
        write_bytes(self.path(key), content)
        return self.adopt(key, name)

    def rename(self, key: str, name: str) -> Adapted:
        """Call a network by another name; its key stays.

        Raises
        ------
        SettingsError
            If another one has this name, or it is no good name.
        """
        network = self.find(key)
        name = checked_name(name)
        self.check_free(name, network.key)
        return self.adopt(network.key, name)

    def check_free(self, name: str, but: str = "") -> None:
        """Refuse a name that another network than ``but`` has.

        Raises
        ------
        SettingsError
            If it is taken.
        """
        if any(one.name.casefold() == name.strip().casefold() and one.key != but for one in self.all()):
            raise SettingsError(f"there is a network called {name.strip()} already. Choose another name.")

    def export(self, key: str, path: Path) -> Path:
        """Copy the file of a network to ``path``, to be shared; `bring_in` takes it in elsewhere.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        network = self.find(key)
        if path.suffix != SUFFIX:
            raise OutputError(f"{path.name} must end in {SUFFIX}, such as {path.stem or network.key}{SUFFIX}.")
        write_bytes(path, network.path.read_bytes())
        return path

    def remove(self, key: str) -> Adapted:
        """Take a network away; `restore` brings it back for a day."""
        network = self.find(key)
        bin_ = made_folder(self._bin)
        for path in self._files(network.key):
            _move(path, bin_ / path.name)
        return network

    def restore(self, key: str) -> Adapted:
        """Bring back a network that was removed.

        Raises
        ------
        SettingsError
            If it is gone for good.
        """
        files = [self._bin / path.name for path in self._files(key, there=False)]
        if not files[0].exists():
            raise SettingsError(f"{key} was removed for good.")
        for path in files:
            if path.exists():
                _move(path, self.folder / path.name)
        return self.find(key)

    def empty_bin(self) -> None:
        """Delete what was removed more than a day ago."""
        with suppress(OSError):
            for path in self._bin.iterdir():
                if time.time() - path.stat().st_ctime > KEPT_SECONDS:
                    path.unlink(missing_ok=True)

    @property
    def _bin(self) -> Path:
        return self.folder / ".removed"

    def _files(self, key: str, there: bool = True) -> list[Path]:
        files = [self.path(key), self.folder / f"{key}.json"]
        return [path for path in files if path.exists()] if there else files

    def _free_name(self, name: str) -> str:
        taken = {one.name.casefold() for one in self.all()}
        return next(one for one in (name, *(f"{name} {k}" for k in range(2, 10_000))) if one.casefold() not in taken)

    def _read(self, path: Path) -> Adapted:
        name = path.stem
        with suppress(OSError, ValueError, KeyError, TypeError):
            name = checked_name(json.loads(path.with_suffix(".json").read_text("utf-8"))["name"])
        return _described(path, path.stem, name)


def checked_name(name: str) -> str:
    """Return a name without blanks at its ends.

    Raises
    ------
    SettingsError
        If it is empty, too long, or holds signs that no file name may have.
    """
    name = " ".join(str(name).split())
    if not name:
        raise SettingsError("the network needs a name, such as my scope.")
    if len(name) > LONGEST_TITLE:
        raise SettingsError(f"the name has {len(name)} letters; up to {LONGEST_TITLE} fit. Choose a shorter one.")
    if wrong := sorted({sign for sign in name if sign in '/\\:*?"<>|' or not sign.isprintable()}):
        raise SettingsError(f"the name {name} holds {' '.join(wrong)}, which file names may not have. Leave that out.")
    return name


def _usual_name(path: Path) -> str:
    """Return the name of a file, or of its folder where it is called as every training calls its weights."""
    return path.resolve().parent.name if path.stem == "weights" else path.stem


def _safe_name(stem: str) -> str:
    return re.sub(r'[/\\:*?"<>|]', " ", stem)[:LONGEST_TITLE].strip() or "network"


def _move(source: Path, target: Path) -> None:
    try:
        shutil.move(source, target)
        os.utime(target)
    except OSError as error:
        raise OutputError(f"{source} cannot be moved: {error.strerror or error}.") from error


def read_header(path: Path) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """Return metadata, and dtype and shape by name of the tensors, of a safetensors file. Loads no tensor.

    Raises
    ------
    SettingsError
        If it is no such file.
    """
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= _LARGEST_HEADER:
                raise ValueError("no header")
            header = json.loads(file.read(size))
        return header.pop("__metadata__", {}), {name: tuple(one["shape"]) for name, one in header.items()}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}. Give a {SUFFIX} file.") from error
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path.name} is no file of weights. Give a {SUFFIX} file of `toposcope finetune` or `toposcope train`."
        ) from error


def _described(path: Path, key: str, name: str) -> Adapted:
    """Return what a file says of itself, and whether it fits the networks that are here."""
    nothing = Adapted(key, name, path, "", "Unknown")
    try:
        meta, shapes = read_header(path)
    except SettingsError as error:
        return replace(nothing, trouble=str(error))
    is_whole = "base" not in meta
    if is_whole and not {"network", "options"} <= meta.keys():
        return replace(
            nothing,
            trouble=f"{path.name} holds no network that was adapted or trained: it does not say of which one its "
            "weights are. Give a file of `toposcope finetune` or `toposcope train`.",
        )
    card = next((card for card in shipped_cards() if card.name == meta.get("network")), None)
    if card is None:
        return replace(nothing, trouble=f"{path.name} is of the network {meta.get('network')}, which is not here.")
    network = replace(nothing, base=card.name, base_title=card.title, **_learnt(meta))
    if is_whole:
        iteration = meta.get("iteration", "")
        return replace(network, steps=int(iteration) if iteration.isdigit() else 0)
    if meta["base"] != card.sha256:
        return replace(
            network,
            trouble=f"{path.name} was adapted from other weights of {card.title} than those that are here "
            f"({meta['base'][:8]}, here {card.sha256[:8]}). Adapt again from these.",
        )
    with suppress(SettingsError):
        _, own = read_header(card.path)
        if wrong := [tensor for tensor, shape in shapes.items() if own.get(tensor) != shape]:
            return replace(
                network,
                trouble=f"{path.name} does not fit {card.title}: {wrong[0]} is none of its tensors. Adapt again.",
            )
    return network


def _learnt(meta: Mapping[str, str]) -> dict[str, Any]:
    """Return what the metadata say of the adapting; damaged parts count as absent."""
    found: dict[str, Any] = {"labels": meta.get("labels", "")}
    with suppress(ValueError, TypeError):
        found["stacks"] = tuple(str(name) for name in json.loads(meta.get("stacks", "[]")))
    with suppress(ValueError, TypeError, KeyError, IndexError):
        curve = [float(line["held_out"]) for line in json.loads(meta.get("curve", "[]"))]
        found |= {"before": curve[0], "after": min(curve)}
    return found
