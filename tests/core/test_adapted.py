"""Adapted networks on disk: kept, renamed, shared, removed; and adaptations that survive a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import scenes
from adapted_files import LIGHT, QUICK, delta
from dffnets import finetune as ft
from dffnets.registry import create_network
from dffnets.training import write
from toposcope.core import adaptation
from toposcope.core.adaptation import Plan, carry_out, discard, look_at, unfinished
from toposcope.core.adapted import AdaptedNetworks, read_header
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.jobs import Cancelled, CancelToken, PauseSwitch, Progress
from toposcope.core.source.finding import Source
from toposcope.core.tuning import TuneSettings, network_preview, preview_step
from toposcope.errors import OutputError, SettingsError, StackError


@pytest.fixture
def networks() -> AdaptedNetworks:
    return AdaptedNetworks()


def plan_of(stacks: list[Path], settings: TuneSettings = QUICK, key: str = "mine") -> Plan:
    return Plan(key, "Mine", tuple(Source((path,)) for path in stacks), settings)


# -- the collection ------------------------------------------------------------------------------------------------


def test_what_is_brought_in_is_a_method(networks: AdaptedNetworks, tmp_path: Path) -> None:
    assert networks.all() == ()
    shared = delta(tmp_path / "Lab 2.safetensors")
    network = networks.bring_in(shared)
    assert (network.key, network.name, network.title) == ("lab-2", "Lab 2", "Light network, Lab 2")
    assert network.trouble is None
    assert network.stacks == ("scan_1", "scan_2")
    assert "2 stacks (scan_1, scan_2); held-out labels 0.80 → 0.50 slices off" in network.card().good_at
    assert shared.exists()
    stack = scenes.tilted_plane(n=5, size=64).stack
    plain = estimate(stack, EstimateSettings("light", align="none"))
    for name in ("lab-2", "Lab 2", "light network, lab 2"):
        ours = estimate(stack, EstimateSettings(name, align="none"))
        assert ours.provenance.method == "lab-2"
        assert ours.provenance.settings["network"] == "light"
        assert not np.array_equal(ours.depth, plain.depth)
    given = estimate(stack, EstimateSettings("light", align="none", weights=shared))
    assert np.array_equal(ours.depth, given.depth, equal_nan=True)
    assert ours.provenance.settings["weights"] == given.provenance.settings["weights"]
    with pytest.raises(SettingsError, match="lab-2 has weights of its own"):
        estimate(stack, EstimateSettings("lab-2", weights=shared))


def test_a_new_name_changes_neither_key_nor_file(networks: AdaptedNetworks, tmp_path: Path) -> None:
    network = networks.bring_in(delta(tmp_path / "a.safetensors"))
    before = network.path.read_bytes()
    assert networks.rename("a", "  Zeiss   50x, Größe ").name == "Zeiss 50x, Größe"
    assert networks.find("zeiss 50x, größe").key == "a"
    assert network.path.read_bytes() == before
    networks.bring_in(delta(tmp_path / "b.safetensors", 0.02))
    with pytest.raises(SettingsError, match="called ZEISS 50x, Größe already"):
        networks.rename("b", "ZEISS 50x, Größe")
    for wrong, words in (
        ("", "needs a name"),
        ("a/b", r"holds /, which"),
        ("x" * 61, "61 letters"),
        ("a\x07b", "holds"),
    ):
        with pytest.raises(SettingsError, match=words):
            networks.rename("a", wrong)


def test_keys_are_free_and_no_methods(networks: AdaptedNetworks) -> None:
    assert networks.new_key("Größe 深度") == "groe"
    assert networks.new_key("深度") == "network"
    assert networks.new_key("Light") == "light-2"
    networks.folder.mkdir()
    (networks.folder / "my-scope.tuning").mkdir()
    assert networks.new_key("My scope!") == "my-scope-2"


def test_export_gives_the_very_file(networks: AdaptedNetworks, tmp_path: Path) -> None:
    shared = delta(tmp_path / "a.safetensors")
    networks.bring_in(shared)
    copy = networks.export("a", tmp_path / "out.safetensors")
    assert copy.read_bytes() == shared.read_bytes()
    with pytest.raises(OutputError, match=r"must end in .safetensors"):
        networks.export("a", tmp_path / "out.txt")
    with pytest.raises(OutputError, match="does not exist"):
        networks.export("a", tmp_path / "nowhere" / "out.safetensors")
    with pytest.raises(SettingsError, match="is there already: it is Light network, a"):
        networks.bring_in(copy)


def test_the_removed_can_be_brought_back_for_a_day(
    networks: AdaptedNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.bring_in(delta(tmp_path / "a.safetensors"), "Mine")
    networks.remove("mine")
    assert networks.all() == ()
    with pytest.raises(SettingsError, match="no method 'mine'"):
        estimate(scenes.tilted_plane(n=5, size=64).stack, EstimateSettings("mine"))
    networks.empty_bin()
    assert networks.restore("mine").name == "Mine"
    networks.remove("mine")
    tomorrow = time.time() + 25 * 3600
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    networks.empty_bin()
    with pytest.raises(SettingsError, match="mine was removed for good"):
        networks.restore("mine")


def test_what_was_trained_is_brought_in_and_is_a_method(networks: AdaptedNetworks, tmp_path: Path) -> None:
    options = {"width": 4}
    about = {"network": "light", "options": json.dumps(options), "iteration": "20"}
    weights = tmp_path / "mine" / "weights.safetensors"
    weights.parent.mkdir()
    write(weights, dict(create_network("light", **options).state_dict()), about)
    network = networks.bring_in(weights)
    assert (network.key, network.title, network.trouble) == ("mine", "Light network, mine", None)
    assert network.card().good_at == "what looks like the stacks it was trained on; 20 steps"
    assert network.card().source.startswith("Light network trained here")
    stack = scenes.tilted_plane(n=5, size=64).stack
    ours = estimate(stack, EstimateSettings("mine", align="none"))
    assert ours.provenance.method == "mine"
    assert not np.array_equal(ours.depth, estimate(stack, EstimateSettings("light", align="none")).depth)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": "0" * 64}, r"adapted from other weights of Light network .* \(00000000, here"),
        ({"network": "magic"}, "of the network magic, which is not here"),
        ({"base": ""}, "holds no network that was adapted or trained"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_a_sentence(
    change: dict[str, str], words: str, networks: AdaptedNetworks, tmp_path: Path
) -> None:
    path = delta(tmp_path / "a.safetensors", **change)
    with pytest.raises(SettingsError, match=words):
        networks.bring_in(path)
    networks.folder.mkdir(exist_ok=True)
    (networks.folder / "a.safetensors").write_bytes(path.read_bytes())  # put there by hand, or of an older version
    (network,) = networks.all()
    assert network.trouble is not None
    assert networks.cards() == {}
    with pytest.raises(SettingsError, match=words):
        estimate(scenes.tilted_plane(n=5, size=64).stack, EstimateSettings("a"))


def test_other_files_are_refused_in_a_sentence(networks: AdaptedNetworks, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("some text that is long enough to look like a header " * 3)
    (tmp_path / "empty.safetensors").write_bytes(b"")
    save_file(
        {"nothing.bias": np.zeros(3, np.float32)},
        tmp_path / "odd.safetensors",
        {"network": "light", "base": LIGHT.sha256},
    )
    for name, words in (
        ("text", "no file of weights"),
        ("empty", "no file of weights"),
        ("missing", "cannot be read: No such file"),
        ("odd", "does not fit Light network: nothing.bias"),
    ):
        with pytest.raises(SettingsError, match=words):
            networks.bring_in(tmp_path / f"{name}.safetensors")
    with pytest.raises(SettingsError, match="is what Light network runs with already"):
        networks.bring_in(LIGHT.path)
    assert networks.all() == ()


# -- adaptations ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("any_gain")
def test_a_plan_becomes_a_method_and_leaves_nothing_else(networks: AdaptedNetworks, stacks: list[Path]) -> None:
    labels = look_at(Source((stacks[0],)), QUICK, networks)
    stamp = (labels.folder / "frames.npy").stat().st_ino
    seen: list[int] = []

    def watch(progress: Progress) -> None:
        place = networks.folder / "mine.tuning" / "stack-000" / "frames.npy"
        if place.exists():
            seen.append(place.stat().st_ino)

    tuned, network = carry_out(plan_of(stacks), networks, watch)
    assert set(seen) == {stamp}  # labels that were looked at are not made twice
    assert network is not None
    assert network.title == "Light network, Mine"
    assert network.stacks == ("scan_0", "scan_1")
    assert tuned.weights == network.path
    assert {path.name for path in networks.folder.iterdir()} <= {"mine.safetensors", "mine.json", ".labels"}
    assert unfinished(networks) == ()
    stack = scenes.tilted_plane(n=5, size=64).stack
    assert estimate(stack, EstimateSettings("mine", align="none")).valid.any()


def test_no_gain_leaves_no_network(
    networks: AdaptedNetworks, stacks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ft, "LEAST_GAIN", 1.0)
    tuned, network = carry_out(plan_of(stacks), networks)
    assert network is None
    assert any("base stays selected" in note for note in tuned.notes)
    assert networks.all() == ()
    assert unfinished(networks) == ()


def stop_at(words: str) -> Callable[[Progress], None]:
    def stop(progress: Progress) -> None:
        if words in progress.text:
            raise Cancelled

    return stop


def test_what_was_cancelled_is_found_goes_on_exactly_or_is_discarded(
    networks: AdaptedNetworks, stacks: list[Path], tmp_path: Path
) -> None:
    settings = replace(QUICK, label_options=METHODS["tft"].settings(scales=3))
    plan = plan_of(stacks, settings)
    with pytest.raises(Cancelled):
        carry_out(plan, networks, stop_at("step 2 of"))
    (found,) = unfinished(networks)
    assert found.plan == plan
    assert found.step == 2
    assert not found.running
    assert found.curve[0]["step"] == 0
    told: list[str] = []
    parts, _ = carry_out(found.plan, networks, lambda progress: told.append(progress.text))
    assert not any("step 1 of" in text for text in told)
    whole, _ = carry_out(plan_of(stacks, settings, "other"), AdaptedNetworks(tmp_path / "other"))
    assert parts.curve == whole.curve
    with pytest.raises(Cancelled):
        carry_out(plan_of(stacks, key="third"), networks, stop_at("step 1 of"))
    discard(unfinished(networks)[0].plan, networks)
    assert unfinished(networks) == ()
    assert not (networks.folder / "third.tuning").exists()


def test_a_plan_that_can_come_to_nothing_is_forgotten(networks: AdaptedNetworks, tmp_path: Path) -> None:
    flat = np.full((64, 64), 128, np.uint8)
    folder = tmp_path / "flat"
    folder.mkdir()
    for i in range(5):
        cv2.imwrite(str(folder / f"{i}.png"), flat)
    with pytest.raises(StackError, match="no stack teaches anything"):
        carry_out(plan_of([folder]), networks)
    assert unfinished(networks) == ()
    assert adaptation.has_labels(Source((folder,)), QUICK, networks)
    adaptation.drop_labels(networks, [])
    assert adaptation.has_labels(Source((folder,)), QUICK, networks)  # perhaps of another window
    adaptation.drop_labels(networks, [(Source((folder,)), QUICK)])
    assert not adaptation.has_labels(Source((folder,)), QUICK, networks)


def test_two_processes_do_not_adapt_the_same(networks: AdaptedNetworks, stacks: list[Path]) -> None:
    plan = plan_of(stacks)

    def meanwhile(progress: Progress) -> None:
        if "step 1 of" in progress.text:
            (found,) = unfinished(networks)
            assert found.running
            with pytest.raises(SettingsError, match="another Toposcope is adapting mine now"):
                discard(plan, networks)
            raise Cancelled

    with pytest.raises(Cancelled):
        carry_out(plan, networks, meanwhile)
    assert not unfinished(networks)[0].running


def test_a_pause_holds_and_counts_as_no_work(networks: AdaptedNetworks, stacks: list[Path]) -> None:
    switch, token = PauseSwitch(), CancelToken()
    lines: list[dict[str, Any]] = []
    waited: list[float] = []

    def report(progress: Progress) -> None:
        if "step 2 of" in progress.text and not waited:
            switch.pause()
            waited.append(time.monotonic())
        if switch.is_paused and time.monotonic() - waited[0] > 1.0:
            switch.resume()
            waited.append(time.monotonic() - waited[0])

    before = time.monotonic()
    tuned, _ = carry_out(plan_of(stacks), networks, switch.guard(token.guard(report)), lines.append)
    assert waited[1] >= 1.0
    assert tuned.seconds <= time.monotonic() - before - 1.0
    switch.pause()
    token.cancel()
    with pytest.raises(Cancelled):  # also while it is paused
        switch.guard(token.guard())(Progress(0.5))


KILLED = """
import sys
from pathlib import Path
from toposcope.core.adaptation import Plan, carry_out
from toposcope.core.source.finding import Source
from toposcope.core.adapted import AdaptedNetworks
from toposcope.core.tuning import TuneOptions, TuneSettings
settings = TuneSettings("light", options=TuneOptions(steps=100000, crop=64), align="none", device="cpu")
plan = Plan("mine", "Mine", tuple(Source((Path(p),)) for p in sys.argv[1:]), settings)
carry_out(plan, AdaptedNetworks(), on_line=lambda line: print(line["stage"], line.get("step"), flush=True))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows knows no kill -9")
def test_a_kill_loses_seconds_only(
    networks: AdaptedNetworks, stacks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, stacks)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        steps = 0
        for line in process.stdout:
            stage, step = line.split()
            steps = int(float(step)) if stage == "step" else 0
            if steps >= 21:  # one check later than the first
                break
        assert unfinished(networks)[0].running
        process.send_signal(signal.SIGKILL)
    (found,) = unfinished(networks)
    assert not found.running
    assert 20 <= found.step <= steps + 5
    assert [line["step"] for line in found.curve][:2] == [0, 20]
    going: list[float] = []

    def stop(line: dict[str, Any]) -> None:
        if line["stage"] == "step":
            going.append(line["step"])
            raise Cancelled

    with pytest.raises(Cancelled):
        carry_out(found.plan, networks, on_line=stop)
    assert going[0] == found.step + 1


# -- looking -------------------------------------------------------------------------------------------------------


def test_labels_are_judged_again_by_another_confidence(networks: AdaptedNetworks, stacks: list[Path]) -> None:
    source = Source((stacks[0],))
    shares = []
    for confidence in (0.1, 0.5, 0.95):
        labels = look_at(source, replace(QUICK, options=replace(QUICK.options, confidence=confidence)), networks)
        assert labels.sure == pytest.approx((labels.confidence() >= confidence).mean())
        shares.append(labels.sure)
    assert shares == sorted(shares, reverse=True)
    assert len(list((networks.folder / ".labels").iterdir())) == 1


def test_a_preview_shows_what_the_network_sees(
    networks: AdaptedNetworks, stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = look_at(Source((stacks[0],)), QUICK, networks)
    seen = network_preview(labels, "light")
    assert preview_step(labels) == 1
    truth = scenes.tilted_plane(n=7, size=96, noise=0.02).index / 6
    assert np.nanmean(np.abs(seen - truth)) < 0.1
    other = network_preview(labels, "light", delta(tmp_path / "d.safetensors", 0.05))
    assert not np.array_equal(seen, other, equal_nan=True)
    monkeypatch.setattr("toposcope.core.tuning.PREVIEW_SAMPLES", 7 * 48 * 48)
    assert preview_step(labels) == 2
    assert network_preview(labels, "light").shape == (48, 48)
    with pytest.raises(SettingsError, match="no network 'magic'"):
        network_preview(labels, "magic")


def test_a_stack_that_cannot_be_labelled_leaves_nothing(networks: AdaptedNetworks, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StackError):
        look_at(Source((tmp_path / "empty",)), QUICK, networks)
    assert not list((networks.folder / ".labels").iterdir())


def test_two_windows_look_at_the_same_stack_at_once(networks: AdaptedNetworks, stacks: list[Path]) -> None:
    source, others = Source((stacks[0],)), []

    def meanwhile(progress: Progress) -> None:
        if not others and progress.fraction > 0.5:
            others.append(None)  # another process is no thread of ours
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(adaptation.os, "getpid", lambda: 1)
                others[0] = look_at(source, QUICK, networks)

    mine = look_at(source, QUICK, networks, meanwhile)
    assert mine == others[0]
    assert np.isfinite(mine.depth()).any()
    assert list((networks.folder / ".labels").iterdir()) == [mine.folder]


def test_headers_are_read_without_tensors() -> None:
    meta, shapes = read_header(LIGHT.path)
    assert shapes == {name: value.shape for name, value in load_file(LIGHT.path).items()}
    assert isinstance(meta, dict)
