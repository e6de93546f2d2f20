"""`toposcope train`: configurations in words, a run that can be taken up again, the plot of its log."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from command_runs import Run, sentence
from dffnets import losses, training
from dffnets.data import CARDS
from dffnets.predict import best_device
from dffnets.sources import Source
from dffnets.synthetic.pool import fill_pool
from dffnets.training import TrainConfig, read_tensors
from toposcope import cli
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.training import HELP, LOSSES, SOURCE_HELP, example, log_picture, read_config, train_from
from toposcope.errors import SettingsError

TINY = """
network = "light"
output = "out"
iterations = 3
batch = 2
crop = 32
counts = [4, 5]
precision = "float32"
pool_stacks = 50
validation_stacks = 2
checkpoint_minutes = 0.0
threads = 1
[options]
width = 4
"""


SOURCES = 'network = "light"\noutput = "x"\n[[sources]]\n'


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pool")
    fill_pool(directory, 1, 50, size=48, workers=1)
    return directory


@pytest.fixture
def tiny(pool: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(f"pool = {json.dumps(str(pool))}{TINY}")
    return path


def test_training_leaves_weights_log_and_plot(run: Run, tiny: Path) -> None:
    done = run("train", tiny, "--json", "-q")
    assert done.code == cli.DONE, done.err
    files = {name: Path(path) for name, path in done.facts["files"].items()}
    assert set(files) == {"weights", "log", "plot"}
    assert done.facts["last"]["iteration"] == 3
    assert 0 < done.facts["last"]["rmse"] < 1
    with Image.open(files["plot"]) as plot:
        assert plot.size == (1200, 896)
    again = run("train", tiny, "-q")
    assert again.code == cli.DONE, "a run that is done has nothing left to do"
    assert "trained     3 steps in" in again.out
    assert f"validation  RMSE {done.facts['last']['rmse']:.4f} of the range" in again.out


def test_a_run_that_goes_on_otherwise_says_so(run: Run, tiny: Path) -> None:
    first = run("train", tiny, "--iterations", 1, "--json", "-q").facts
    assert (first["went_on_from"], first["changed"]) == (0, {})
    tiny.write_text(tiny.read_text().replace("batch = 2", "batch = 3"))
    done = run("train", tiny, "-q")
    assert done.code == cli.DONE, done.err
    assert "went on     from step 1\n" in done.out
    assert "changed     batch: 2 before, 3 from there\n" in done.out
    assert "iterations" not in done.out
    assert run("train", tiny, "--iterations", 4, "--json", "-q").facts["changed"] == {}


def test_options_win_over_the_file(run: Run, tiny: Path, tmp_path: Path) -> None:
    done = run("train", tiny, "--iterations", 1, "--output", tmp_path / "other", "--json", "-q")
    assert done.code == cli.DONE, done.err
    assert done.facts["last"]["iteration"] == 1
    assert (tmp_path / "other" / "weights.safetensors").exists()


def test_an_interrupted_training_goes_on(tiny: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []

    def stop(progress: Progress) -> None:
        heard.append(progress)
        if progress.text.startswith("step 2"):
            raise Cancelled

    with pytest.raises(Cancelled, match="the same command goes on"):
        train_from(tiny, report=stop)
    assert 0 < heard[-1].fraction < 1
    train_from(tiny)
    train_from(tiny, {"output": tmp_path / "whole"})
    whole, halves = (read_tensors(tmp_path / name / "weights.safetensors") for name in ("whole", "out"))
    assert all(torch.equal(tensor, halves[name]) for name, tensor in whole.items())


def test_checkpoint_of_another_network_is_refused(tiny: Path) -> None:
    train_from(tiny, {"iterations": 1})
    with pytest.raises(SettingsError, match="checkpoint of another network"):
        train_from(tiny, {"options": {"width": 5}})


def test_checkpoint_of_another_optimiser_is_refused(tiny: Path) -> None:
    train_from(tiny, {"iterations": 1})
    with pytest.raises(SettingsError, match="checkpoint of a run by Muon"):
        train_from(tiny, {"optimiser": "adamw"})


def test_more_slices_than_any_stack_has_are_refused(tiny: Path) -> None:
    with pytest.raises(SettingsError, match="counts holds 99, but the longest training stack has"):
        train_from(tiny, {"counts": (5, 99)})


def test_weights_to_begin_from_are_read_before_the_work(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "nonsense.safetensors").write_bytes(b"nothing")
    with pytest.raises(SettingsError, match="cannot be read as weights"):
        read_config(tiny, {"initial": tmp_path / "nonsense.safetensors"})
    train_from(tiny, {"iterations": 1})
    with pytest.raises(SettingsError, match="weights of light that do not fit light with these options"):
        read_config(tiny, {"initial": tmp_path / "out" / "weights.safetensors", "options": {"width": 5}})
    with pytest.raises(SettingsError, match="with which dffwild cannot begin"):
        read_config(tiny, {"initial": tmp_path / "out" / "weights.safetensors", "network": "dffwild", "options": {}})


def test_auto_is_the_fastest_device(tiny: Path) -> None:
    assert read_config(tiny, {"device": "auto"}).device == best_device()


def test_example_holds_every_entry_and_can_be_used(run: Run, tmp_path: Path) -> None:
    done = run("train", "--example")
    assert done.code == cli.DONE
    assert done.out == example()
    values = tomllib.loads(done.out)
    assert set(values) == {field.name for field in fields(TrainConfig)} - {"initial", "validation"}
    path = tmp_path / "example.toml"
    path.write_text(done.out)
    read = read_config(path)
    assert read == TrainConfig("light", tmp_path / "training", pool=tmp_path / "pool")


def test_example_shows_a_source_of_each_kind(tmp_path: Path) -> None:
    usual, others = example().split("# Others", 1)
    shown = [line.removeprefix("# ") for line in others.splitlines() if " = " in line or "[[" in line]
    (tmp_path / "example.toml").write_text("\n".join([usual, *shown]))
    config = TrainConfig.read(tmp_path / "example.toml")
    random, pairs, data_set = config.sources
    assert config.validation == (Source("ddff12", root=tmp_path / "data/ddff12", split=CARDS["ddff12"].splits[-1]),)
    assert random == Source()
    assert pairs == Source("pairs", 0.5, tmp_path / "measured", stacks=2000, about="scans of our own, CC0")
    assert data_set == Source("ddff12", 0.5, tmp_path / "data/ddff12", "train")


def test_a_data_set_is_trained_on(run: Run, tiny: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    folder = tmp_path / "fs_6"
    folder.mkdir()
    for k in range(5):
        Image.fromarray(rng.integers(0, 255, (40, 56, 3), np.uint8)).save(folder / f"000000_{k}All.tif")
    depth = np.full((40, 56), 0.2, np.float16)
    OpenEXR.File({"type": OpenEXR.scanlineimage}, {"R": depth}).write(str(folder / "000000Dpt.exr"))
    tiny.write_text(f"{tiny.read_text()}\n[[sources]]\nname = 'fs_6'\nroot = 'fs_6'\nsplit = 'train'\n")
    heard: list[Progress] = []
    train_from(tiny, report=heard.append)
    assert any("making stacks of fs_6 train, part 1 of 1" in progress.text for progress in heard)
    fractions = [progress.fraction for progress in heard]
    assert fractions == sorted(fractions)
    assert "DefocusNet fs_6 (FoD500), split train" in (tmp_path / "out" / "data.txt").read_text("utf-8")
    done = run("train", tiny, "--output", tmp_path / "other", "--json", "-q")
    assert done.code == cli.DONE, done.err
    # measured on a split of its own: photographs only
    (tmp_path / "held").mkdir()
    shutil.copytree(folder, tmp_path / "held" / "test")
    measured = tmp_path / "measured.toml"
    measured.write_text(f"{tiny.read_text()}\n[[validation]]\nname = 'fs_6'\nroot = 'held'\nsplit = 'test'\n")
    done = run("train", measured, "--output", tmp_path / "measured", "-q")
    assert done.code == cli.DONE, done.err
    assert re.search(r"validation  RMSE 0\.\d{4} of the range \(macro 0\.\d{4}\)", done.out)
    large = tmp_path / "large.toml"
    large.write_text(tiny.read_text().replace("crop = 32", "crop = 144"))
    done = run("train", large, "--output", tmp_path / "large", "-q")
    assert done.code == cli.USAGE
    assert "56 x 40 pixels, which is less than the crop of 144" in sentence(done)


def test_a_run_whose_loss_is_no_number_fails_in_one_sentence(
    run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_of = training.loss_of
    monkeypatch.setattr(training, "loss_of", lambda *arguments: loss_of(*arguments) * float("nan"))
    done = run("train", tiny, "-q")
    assert done.code == cli.FAILED
    assert "no finite number" in sentence(done)


def test_every_entry_and_every_loss_is_explained() -> None:
    assert set(HELP) == {field.name for field in fields(TrainConfig)}
    assert set(SOURCE_HELP) == {field.name for field in fields(Source)}
    terms = {
        name.removesuffix("_error")
        for name, function in inspect.getmembers(losses, inspect.isfunction)
        if "valid" in inspect.signature(function).parameters and name != "masked_mean"
    }
    assert terms == set(LOSSES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('network = "light"', "does not say 'output'"),
        ('network = "lite"\noutput = "x"', "no network 'lite'; there are light"),
        ('network = "light"\noutput = "x"\niteration = 5', "unknown entry 'iteration'; known are network, output"),
        ('network = "light"\noutput = "x"\niterations = "many"', "iterations is 'many'; it must be a whole number"),
        ('network = "light"\noutput = "x"\ncounts = 5', "counts is 5; it must be a list of whole numbers"),
        ('network = "light"\noutput = "x"\ncounts = [2]', "at least 3 slices"),
        ('network = "light"\noutput = "x"\nprecision = "half"', "it must be 'float32' or 'bfloat16'"),
        ('network = "light"\noutput = "x"\niterations = 0', "it must be above 0"),
        ('network = "light"\noutput = "x"\npool_seed = 900001', "that of the validation set"),
        ('network = "light"\noutput = "x"\ninitial = "no.safetensors"', "there is no file"),
        ('network = "light"\noutput = "x"\ndevice = "tpu"', "there is no tpu device here"),
        ('network = "light"\noutput = "x"\nminutes = -1.0', "minutes is -1.0; it must be 0 or more"),
        ('network = "light"\noutput = "x"\nmacro_share = 1.0', "macro_share is 1.0; it must be above 0 and below 1"),
        ('network = "light"\noutput = "x"\ncrop = 50', "light needs a multiple of 16 up to 128"),
        ('network = "light"\noutput = "x"\n[options]\nwidth = "wide"', "light cannot be built with its options"),
        ('network = "light"\noutput = "x"\n[loss]\nabsolute = 0', "without one nothing is learnt"),
        ('network = "light"\noutput = "x"\n[loss]\nspatial_variation = 1', "which only dualfocus predicts"),
        ('network = "light"\noutput = "x"\n[options]\nwidht = 3', "has no option 'widht'; its options are width"),
        ('network = "light"\noutput = "x"\n[loss]\nabsolut = 1', "no loss 'absolut'; there are absolute"),
        ('network = "light"\noutput = "x"\nsources = []', "sources is []; it must be a list of tables"),
        ('network = "light"\noutput = "x"\nsources = "random"', "sources is 'random'; it must be a list of tables"),
        (f"{SOURCES}folder = 'x'", "a source has the unknown entry 'folder'; known are name, share, root"),
        (f"{SOURCES}share = 'half'", "share of a source is 'half'; it must be a number"),
        (f"{SOURCES}share = 0", "the share of the source 'random' is 0; it must be above 0"),
        (f"{SOURCES}name = 'kitti'", "there is no source 'kitti'; there are random, pairs, ddff12"),
        (f"{SOURCES}name = 'pairs'\nroot = 'nowhere'", "of pairs. Check the path"),
        (f"{SOURCES}name = 'fs_6'\nroot = 'nowhere'\nsplit = 'val'", "has no split 'val'; choose one of: train, test"),
        (f"{SOURCES}name = 'fs_6'\nroot = 'nowhere'\nsplit = 'test'", "there is no folder"),
        ("network = light", "is no valid TOML"),
    ],
)
def test_wrong_configurations_are_refused_in_words(run: Run, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    done = run("train", path, "-q")
    assert done.code == cli.USAGE
    assert words in sentence(done)


def test_missing_configuration_is_one_sentence(run: Run, tmp_path: Path) -> None:
    done = run("train", tmp_path / "nowhere.toml", "-q")
    assert done.code == cli.USAGE
    assert "nowhere.toml cannot be read" in sentence(done)


def test_log_is_drawn_from_its_first_line_on() -> None:
    line = {"iteration": 1.0, "minutes": 0.5, "loss": 0.4, "rmse": 0.3, "rmse_micro": 0.2, "rmse_macro": float("nan")}
    assert log_picture([line]).shape == (896, 1200, 3)
    later = line | {"minutes": 1.0, "rmse": 0.1, "unimodal": 0.9}
    assert (log_picture([line, later]) != log_picture([line])).any()


def test_networks_are_trained_without_the_program(tiny: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['training', {str(tiny)!r}]\n"
        "runpy.run_module('dffnets.training', run_name='__main__')\n"
        "assert not {'toposcope', 'PySide6'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["iteration"] == 3
