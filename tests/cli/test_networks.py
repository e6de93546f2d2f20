"""`toposcope networks`, and adapted networks as methods of the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scenes
from adapted_files import delta
from command_runs import Run, sentence, write_stack
from toposcope import cli


def test_what_is_added_is_listed_used_renamed_exported_and_removed(run: Run, tmp_path: Path) -> None:
    assert "no adapted networks" in run("networks").out
    shared = delta(tmp_path / "Lab 2.safetensors")
    assert run("networks", "--add", shared).code == cli.DONE
    (facts,) = run("networks", "--json").facts["networks"]
    assert (facts["key"], facts["name"], facts["problem"]) == ("lab-2", "Lab 2", None)
    assert "lab-2: Light network, Lab 2" in run("depth", "--list-methods").out
    stack = write_stack(scenes.tilted_plane(n=5, size=64), tmp_path / "scan")
    done = run("depth", stack, "--method", "lab-2", "-o", tmp_path / "out", "--align", "none", "--json")
    assert done.code == cli.DONE, done.err
    by_weights = run(
        "depth", stack, "--method", "light", "--weights", "lab-2", "-o", tmp_path / "out2", "--align", "none", "--json"
    )
    assert by_weights.code == cli.DONE, by_weights.err
    first, second = (json.loads((tmp_path / out / "result.json").read_text())["provenance"] for out in ("out", "out2"))
    assert first["settings"]["weights"] == second["settings"]["weights"]
    assert first["settings"]["network"] == "light"
    assert (first["method"], second["method"]) == ("lab-2", "light")
    assert run("networks", "--rename", "lab-2", "Jena").code == cli.DONE
    assert run("networks", "--export", "jena", tmp_path / "copy.safetensors").code == cli.DONE
    assert (tmp_path / "copy.safetensors").read_bytes() == shared.read_bytes()
    assert "removed lab-2" in run("networks", "--remove", "Jena").out
    gone = run("depth", stack, "--method", "lab-2", "-o", tmp_path / "out")
    assert gone.code == cli.USAGE
    assert "there is no method 'lab-2'" in sentence(gone)
    assert "brought back lab-2" in run("networks", "--restore", "lab-2").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--remove", "nothing"), "there is no adapted network 'nothing', nor any other"),
        (("--add", "missing.safetensors"), "cannot be read"),
        (("--restore", "nothing"), "was removed for good"),
    ],
)
def test_wrong_wishes_are_told_in_a_sentence(arguments: tuple[str, ...], words: str, run: Run) -> None:
    done = run("networks", *arguments)
    assert done.code == cli.USAGE
    assert words in sentence(done)


@pytest.mark.usefixtures("any_gain")
def test_finetune_by_name_makes_a_method(run: Run, tmp_path: Path) -> None:
    stack = write_stack(scenes.tilted_plane(n=7, size=96, noise=0.02), tmp_path / "scan")
    quick = ("--base", "light", "--steps", 2, "--crop", 64, "--align", "none", "--device", "cpu")
    done = run("finetune", stack, *quick, "--name", "My scope")
    assert done.code == cli.DONE, done.err
    assert "--method my-scope" in done.out
    assert "my-scope: Light network, My scope" in run("networks").out
    again = run("finetune", stack, *quick, "--name", "My scope")
    assert again.code == cli.USAGE
    assert "called My scope already" in sentence(again)
    neither = run("finetune", stack, *quick)
    assert neither.code == cli.USAGE
